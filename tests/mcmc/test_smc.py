"""Sequential Monte Carlo: evidences and posteriors in closed form, the same bits, bad input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError, ConvergenceWarning, TargetError

Array = NDArray[np.float64]
smc = fm.mcmc.smc


def normal(d: int, sd: float = 0.1) -> tuple[Callable[[Array], Array], Any, float]:
    """A normal likelihood about 0.5 under a standard normal prior, and the log-evidence."""

    def log_likelihood(x: Array) -> Array:
        return np.asarray(norm.logpdf(x, 0.5, sd).sum(axis=1))

    log_z = d * float(norm.logpdf(0.5, 0.0, np.sqrt(1 + sd**2)))
    return log_likelihood, fm.distributions.Normal(np.zeros(d), 1.0), log_z


def pair(x: Array) -> Array:
    """Two modes of weights 0.3 and 0.7, 24 standard deviations apart in the diagonal."""
    logs = (np.log(w) - 2 * ((x - m) ** 2).sum(axis=1) for w, m in ((0.3, 3.0), (0.7, -3.0)))
    return np.logaddexp(*logs)


BOX = fm.distributions.Uniform(np.full(2, -10.0), np.full(2, 10.0))


@pytest.mark.parametrize("d", [1, 2, 10])
def test_a_normal_posterior_and_its_evidence(d: int) -> None:
    log_likelihood, prior, log_z = normal(d)
    s = smc(log_likelihood, prior, rng=1)
    assert abs(s.log_evidence - log_z) < 5 * s.log_evidence_stderr
    assert s.log_evidence_stderr < 0.15
    for power, exact in ((1, 0.5 / 1.01), (2, (0.5 / 1.01) ** 2 + 0.01 / 1.01)):
        e = s.expect(lambda x, k=power: x[:, 0] ** k)
        assert abs(e.mean - exact) < 5 * e.stderr
    assert s.warnings == ()
    assert s.draws.shape == (8, 1024, d)
    assert s.n_evals == 8192 * (len(s.stages) + 1)
    low, high = s.log_evidence_interval(0.999)
    assert low < log_z < high


def test_fifty_coordinates() -> None:
    log_likelihood, prior, log_z = normal(50)
    s = smc(log_likelihood, prior, 32_768, n_steps=32, rng=1)
    assert abs(s.log_evidence - log_z) < 5 * s.log_evidence_stderr
    assert s.log_evidence_stderr < 0.2


def test_two_modes_keep_their_weights() -> None:
    s = smc(pair, BOX, rng=2)
    assert abs(s.log_evidence - np.log(np.pi / 2 / 400)) < 5 * s.log_evidence_stderr
    e = s.expect(lambda x: x[:, 0] > 0)
    assert abs(e.mean - 0.3) < 5 * e.stderr
    assert e.stderr < 0.05


def test_evidences_are_calibrated() -> None:
    log_likelihood, prior, log_z = normal(2)
    pulls = []
    for seed in range(60):
        s = smc(log_likelihood, prior, rng=seed)
        pulls.append((s.log_evidence - log_z) / s.log_evidence_stderr)
    # Student's t with 7 degrees of freedom: 0.95 are within 2.36.
    assert 0.85 <= np.mean(np.abs(pulls) < 2.36) <= 1
    assert abs(np.mean(pulls)) < 5 * np.std(pulls) / np.sqrt(60)


def test_chains_that_forget_slowly_are_said() -> None:
    from benches.nested.posteriors import POSTERIORS

    p = POSTERIORS["student8"]()
    with pytest.warns(ConvergenceWarning, match="forget their starts slowly"):
        s = smc(p.values, p.prior, rng=0)
    assert max(stage["between"] for stage in s.stages) > 0.65
    log_likelihood, prior, _ = normal(10)
    s = smc(log_likelihood, prior, rng=0)
    assert s.warnings == ()
    assert max(stage["between"] for stage in s.stages) < 0.3


def test_forms_of_prior_and_likelihood_give_the_same_bits() -> None:
    log_likelihood, prior, _ = normal(2)
    d = fm.distributions
    base = smc(log_likelihood, prior, 1024, rng=3)
    for other in ([d.Normal(0.0, 1.0)] * 2, d.Product([d.Normal(0.0, 1.0)] * 2)):
        np.testing.assert_array_equal(smc(log_likelihood, other, 1024, rng=3).draws, base.draws)
    named = smc(
        lambda a, b: log_likelihood(np.column_stack([a, b])),
        {"a": d.Normal(0.0, 1.0), "b": d.Normal(0.0, 1.0)},
        1024,
        rng=3,
    )
    np.testing.assert_array_equal(named.draws, base.draws)
    assert named.names == ("a", "b")


def test_the_threads_change_no_bit() -> None:
    target = fm.targets.law_density(fm.distributions.MultivariateNormal([0.5, 1.0], np.eye(2)))
    prior = fm.distributions.Normal(np.zeros(2), 2.0)
    one, three = (smc(target, prior, 2048, rng=4, plan=fm.Plan(n_threads=k)) for k in (1, 3))
    np.testing.assert_array_equal(one.draws, three.draws)
    assert one.log_evidence == three.log_evidence


class Stopped(Exception):
    pass


@pytest.mark.parametrize("after", [3, 20, 47])
def test_a_stopped_run_is_resumed(tmp_path: Path, after: int) -> None:
    log_likelihood, prior, _ = normal(2)
    calls = 0

    def fragile(x: Array) -> Array:
        nonlocal calls
        calls += 1
        if calls == after:
            raise Stopped
        return log_likelihood(x)

    keep = fm.Plan(store=tmp_path, every=1e-9)
    with pytest.raises(Stopped) as caught:
        smc(fragile, prior, 1024, check=False, rng=5, plan=keep)
    assert caught.value.partial_result is None  # type: ignore[attr-defined]
    again = smc(log_likelihood, prior, 1024, check=False, rng=5, plan=keep)
    whole = smc(log_likelihood, prior, 1024, check=False, rng=5)
    np.testing.assert_array_equal(again.draws, whole.draws)
    assert again.stages == whole.stages
    assert again.n_evals == whole.n_evals
    with pytest.raises(CheckpointError):
        smc(log_likelihood, prior, 2048, check=False, rng=5, plan=keep)


def test_a_result_is_saved_and_loaded(tmp_path: Path) -> None:
    s = smc(pair, BOX, 1024, rng=6)
    s.save(tmp_path / "s.safetensors")
    again = fm.load(tmp_path / "s.safetensors")
    assert isinstance(again, fm.mcmc.SmcSample)
    assert again.log_evidence == s.log_evidence
    assert again.stages == s.stages
    assert "log Z" in repr(s)


def test_islands_that_disagree_and_nan_are_warned_of() -> None:
    log_likelihood, prior, _ = normal(30, 0.01)
    with pytest.warns(ConvergenceWarning, match="log-evidences of the islands"):
        smc(log_likelihood, prior, 512, rng=7)

    def holes(x: Array) -> Array:
        return np.where(x[:, 0] > 0.5, np.nan, -(x**2).sum(axis=1))

    with pytest.warns(ConvergenceWarning, match="was NaN"):
        smc(holes, fm.distributions.Normal(np.zeros(2), 1.0), 1024, rng=8)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_particles": 100}, "n_particles: 100 given; 256 or more"),
        ({"n_islands": 1}, "n_islands"),
        ({"n_steps": 1}, "n_steps"),
        ({"ess": 1.0}, "ess"),
        ({"prior": []}, "no law was given"),
        ({"prior": fm.distributions.Dirichlet([1.0, 1.0])}, "prior"),
        ({"prior": fm.distributions.Poisson(3.0)}, "prior"),
    ],
)
def test_bad_arguments_are_refused(given: dict[str, Any], message: str) -> None:
    prior = given.pop("prior", BOX)
    with pytest.raises(ArgumentError, match=message):
        smc(pair, prior, **given)


@pytest.mark.parametrize(("value", "message"), [(-np.inf, "it is 0 at all"), (np.inf, r"\+inf")])
def test_likelihoods_that_cannot_be_sampled(value: float, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        smc(lambda x: np.full(len(x), value), BOX, 512, rng=0)
