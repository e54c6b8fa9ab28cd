"""Bridge sampling: known integrals, errors that hold, doubtful chains, arguments."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError, ConvergenceWarning, WeightWarning

LOG_2PI = math.log(2 * math.pi)
#: log of the integral of exp(-x²/2 - x⁴/4).
QUARTIC = 0.6602353899


def chains(seed: int, n: int, d: int, rho: float = 0.7, count: int = 4) -> Any:
    """Stationary autoregressive chains of a standard normal law, shape (count, n, d)."""
    noise = fm.random.Stream(seed).normal((n, count, d))
    x = np.empty_like(noise)
    x[0] = noise[0]
    for t in range(1, n):
        x[t] = rho * x[t - 1] + math.sqrt(1 - rho**2) * noise[t]
    return np.ascontiguousarray(x.transpose(1, 0, 2))


def normal(x: Any) -> Any:
    return -0.5 * (x**2).sum(axis=1)


def quartic(x: Any) -> Any:
    return -0.5 * x[:, 0] ** 2 - 0.25 * x[:, 0] ** 4


@pytest.mark.parametrize("kernel", ["slice", "rwm"])
def test_the_quartic_integral(kernel: Any) -> None:
    target = fm.targets.as_target(quartic, 1, lambda x: -x - x**3)
    s = fm.mcmc.sample(target, kernel=kernel, n_draws=4000, rng=0)
    z = fm.importance.bridge(s, quartic, rng=1)
    assert abs(z.log_evidence - QUARTIC) < 4 * z.log_evidence_stderr
    assert z.log_evidence_stderr < 0.02
    assert z.converged
    low, high = z.interval(0.9999)
    assert low < QUARTIC < high


@pytest.mark.parametrize(
    ("d", "n", "rho", "more"),
    [(5, 500, 0.7, {}), (20, 500, 0.7, {}), (5, 500, 0.7, {"family": "t", "n_proposal": 300})],
)
def test_errors_are_calibrated(d: int, n: int, rho: float, more: Any) -> None:
    pulls = []
    for seed in range(1000, 1120):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            z = fm.importance.bridge(
                chains(seed, n, d, rho),
                normal,
                rng=seed,
                check=False,
                plan=fm.Plan(progress=False),
                **more,
            )
        pulls.append((z.log_evidence - d / 2 * LOG_2PI) / z.log_evidence_stderr)
    assert 0.90 <= np.mean(np.abs(pulls) < 2) <= 0.99
    assert abs(np.mean(pulls)) < 5 / math.sqrt(len(pulls))


def test_bounded_supports() -> None:
    """A half-line, its mirror image, an interval and a line."""
    st = fm.random.Stream(3)
    x = np.stack([
        st.gamma(3.0, (4, 2000)),
        1.0 - st.gamma(2.0, (4, 2000)),
        2.0 + st.beta(2.0, 3.0, (4, 2000)),
        st.normal((4, 2000)),
    ], axis=2)  # fmt: skip

    def f(x: Any) -> Any:
        a, b, c, d = x.T
        with np.errstate(all="ignore"):
            inside = 2 * np.log(a) - a + np.log(1 - b) - (1 - b) + np.log(c - 2) + 2 * np.log(3 - c)
            good = (a > 0) & (b < 1) & (c > 2) & (c < 3)
        return np.where(good, inside - 0.5 * d**2, -np.inf)

    known = math.log(2.0) + math.log(1 / 12) + LOG_2PI / 2
    bounds = [(0, np.inf), (-np.inf, 1), (2, 3), (-np.inf, np.inf)]
    z = fm.importance.bridge(x, f, bounds=bounds, rng=0)
    assert abs(z.log_evidence - known) < 4 * z.log_evidence_stderr
    assert z.overlap > 0.9
    # Proposals outside of the support, where the density is 0, are no error either.
    y = fm.importance.bridge(x, f, rng=0)
    assert abs(y.log_evidence - known) < 4 * y.log_evidence_stderr
    assert y.log_evidence_stderr > z.log_evidence_stderr
    # The proposal is a law on the same support.
    q = z.sampler.sample(100, rng=0)
    assert np.isfinite(f(q)).all()


def test_the_bounds_of_a_sample_are_used() -> None:
    prior = {"s": fm.distributions.Gamma(3.0)}
    posterior = fm.targets.posterior(lambda s: -s, prior)  # ∫ s² e^(-2 s) / 2 ds = 1/8
    s = fm.mcmc.sample(posterior, kernel="slice", n_draws=1000, rng=0)
    z = fm.importance.bridge(s, posterior, rng=0)
    assert abs(z.log_evidence + math.log(8)) < 4 * z.log_evidence_stderr
    assert z.sampler.ends == ("half",)


def test_forms_of_draws() -> None:
    x = chains(5, 800, 2, 0.0)
    one = fm.importance.bridge(x[0], normal, rng=0)
    iid = fm.importance.bridge(fm.Sample.from_arrays(x[0]), normal, rng=0)
    assert one.log_evidence_stderr != iid.log_evidence_stderr
    assert iid.rhat == 1.0
    for z in (one, iid):
        assert abs(z.log_evidence - LOG_2PI) < 4 * z.log_evidence_stderr
    law = fm.importance.bridge(x, fm.distributions.Normal([0.0, 0.0]), rng=0)
    assert abs(law.log_evidence) < 4 * law.log_evidence_stderr
    # A constant of the density shifts the answer and nothing else.
    moved = fm.importance.bridge(x[0], lambda v: normal(v) - 1e4, rng=0)
    assert moved.log_evidence + 1e4 == pytest.approx(one.log_evidence, abs=1e-9)
    assert moved.log_evidence_stderr == pytest.approx(one.log_evidence_stderr, rel=1e-9)


def test_the_seed_and_threads(thread_counts: tuple[int, ...]) -> None:
    x = chains(6, 300, 3)
    target = fm.targets.gaussian(np.zeros(3), np.eye(3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        runs = [
            fm.importance.bridge(x, target, rng=4, plan=fm.Plan(n_threads=t)) for t in thread_counts
        ]
        other = fm.importance.bridge(x, target, rng=5)
    assert len({z.log_evidence for z in runs}) == 1
    assert len({z.log_evidence_stderr for z in runs}) == 1
    assert other.log_evidence != runs[0].log_evidence


def test_pinned() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        z = fm.importance.bridge(chains(6, 300, 3), normal, rng=4)
    assert z.log_evidence == pytest.approx(2.761078704927744, rel=1e-9)


def test_store_and_files(tmp_path: Path) -> None:
    x = chains(7, 800, 2, 0.3)
    store = fm.Plan(store=tmp_path / "run")
    calls = []

    def f(v: Any) -> Any:
        calls.append(len(v))
        return normal(v)

    z = fm.importance.bridge(x, f, rng=1, check=False)
    kept = fm.importance.bridge(x, f, rng=1, check=False, plan=store)
    calls.clear()
    again = fm.importance.bridge(x, f, check=False, plan=store)
    assert z.log_evidence == kept.log_evidence == again.log_evidence
    assert sum(calls) < 20  # the points that are compared
    with pytest.raises(CheckpointError, match="n_proposal"):
        fm.importance.bridge(x, f, n_proposal=50, check=False, plan=store)
    z.save(tmp_path / "z.safetensors")
    loaded = fm.load(tmp_path / "z.safetensors")
    assert isinstance(loaded, fm.importance.BridgeEvidence)
    assert loaded.to_dict() == z.to_dict()


def test_an_executor_changes_no_bit() -> None:
    from concurrent.futures import ThreadPoolExecutor

    x = chains(8, 800, 2, 0.3)
    with ThreadPoolExecutor(2) as pool:
        a = fm.importance.bridge(x, normal, rng=1, plan=pool)
    assert a.log_evidence == fm.importance.bridge(x, normal, rng=1).log_evidence


def test_doubts() -> None:
    x = chains(9, 400, 2)
    x[1] += 8.0  # two modes, which the chains do not leave

    def modes(v: Any) -> Any:
        return np.logaddexp(normal(v), normal(v - 8.0))

    with pytest.warns(ConvergenceWarning) as given:
        z = fm.importance.bridge(x, modes, rng=0)
    assert not z.converged
    assert "have not mixed" in str(given[0].message)
    with pytest.warns(ConvergenceWarning) as given:
        fm.importance.bridge(chains(1, 200, 2, 0.95), normal, rng=0)
    assert any("effective sample size" in str(w.message) for w in given)
    # Draws from a shell, which a normal proposal hardly meets.
    u = chains(2, 600, 30, 0.0)
    shell = 50.0 * u / np.linalg.norm(u, axis=2, keepdims=True)
    shell *= 1 + 0.001 * fm.random.Stream(1).normal((4, 600, 1))

    def on_shell(v: Any) -> Any:
        r = np.linalg.norm(v, axis=1)
        return -0.5 * ((r - 50.0) / 0.05) ** 2 - 29 * np.log(r)

    with pytest.warns(WeightWarning, match="carry the estimate"):
        fm.importance.bridge(shell, on_shell, rng=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fit_share": 1.0}, "fit_share"),
        ({"fit_share": 0.999}, "either side of the cut"),
        ({"n_proposal": 2}, "n_proposal"),
        ({"family": "cauchy"}, "family"),
        ({"df": 2.0}, "df"),
        ({"bounds": [(0, 1)]}, "bounds"),
        ({"bounds": [(0, 1), (0, 1)]}, "outside"),
        ({"bounds": [(1, 0), (0, 1)]}, "below the upper"),
    ],
)
def test_arguments(arguments: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        fm.importance.bridge(chains(1, 100, 2), normal, rng=0, **arguments)


def test_samples_that_cannot_be_used() -> None:
    x = chains(1, 100, 2)
    weighted = fm.Sample.from_arrays(x[0], np.zeros(100))
    for given, message in [
        (weighted, "unweighted"),
        (x[0, :, 0], "shape"),
        (x[:, :12], "either side"),
        (x[..., [0, 0]], "singular"),
        (np.zeros((4, 100, 2)), "singular"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            fm.importance.bridge(given, normal, rng=0)
    with pytest.raises(fm.errors.TargetError, match="at a draw"):
        fm.importance.bridge(x, lambda v: np.where(v[:, 0] > 0, normal(v), -np.inf), rng=0)
    with pytest.raises(MemoryError):
        fm.importance.bridge(x, normal, n_proposal=2**40, rng=0)
