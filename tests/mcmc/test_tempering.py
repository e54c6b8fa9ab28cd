"""Parallel tempering: modes, evidence, ladders, the same bits for every driver, errors."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gibbs_help import Run, conditional
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.targets import as_target

mcmc = fm.mcmc
Array = NDArray[np.float64]
WARMUP = (500, 75, 25, 100)
WIDE = fm.distributions.Normal(0.0, 25.0)
LOG_Z = 0.5 * np.log(2 * np.pi)


def log_density(x: Array) -> Array:
    """0.3 N(-20, 1) + 0.7 N(20, 1), times √(2π)."""
    a, b = (np.log(w) - 0.5 * (x[:, 0] - m) ** 2 for w, m in ((0.3, -20), (0.7, 20)))
    return np.logaddexp(a, b)


def gradient(x: Array) -> Array:
    share = 0.5 - 0.5 * np.tanh(0.5 * (np.log(0.7 / 0.3) + 40 * x[:, 0]))
    return (20 * (1 - 2 * share) - x[:, 0])[:, None]


TARGET = as_target(log_density, 1, gradient)


def finished(run: Run, stats: Any) -> Any:
    """What `log_evidence` takes."""
    return SimpleNamespace(
        seed=0,
        version="",
        isa="",
        settings={},
        n_evals=run.sampler.n_evals[0],
        wall_time=0.0,
        stats=stats,
    )


@pytest.mark.parametrize("inner", [mcmc.RWM(), mcmc.MALA(), mcmc.Cycle(["rwm", "rwm"])])
def test_both_modes_and_the_evidence_are_found(inner: Any) -> None:
    kernel = mcmc.Tempered(inner, reference=WIDE, n_temperatures=6)
    start = np.random.default_rng(1).normal(size=(8, 1))
    run = Run(kernel, start, TARGET, warmup=WARMUP, key=3)
    run.go(500, n_threads=2)
    draws, values, stats = run.go(1500, n_threads=2)
    right = (draws[..., 0] > 0).astype(float)
    error = float(fm.diagnostics.mcse(right, kind="mean"))
    assert abs(right.mean() - 0.7) < 5 * error
    assert error < 0.03
    centred = np.abs(draws[..., 0]) - 20
    assert abs(centred.mean()) < 5 * float(fm.diagnostics.mcse(centred, kind="mean"))
    np.testing.assert_array_equal(values.ravel(), log_density(draws.reshape(-1, 1)))
    z = mcmc.log_evidence(finished(run, stats))
    assert isinstance(z, fm.Estimate)
    assert abs(z.mean - LOG_Z) < 5 * z.stderr
    assert z.stderr < 0.1
    # The warm-up has made the pairs alike, and then left the ladder alone.
    rates = [np.nanmean(stats[f"swap_rate.{j}"]) for j in range(5)]
    assert max(rates) - min(rates) < 0.15
    assert (stats["round_trips"][:, -1] > 20).all()
    assert all((stats[f"beta.{j}"] == stats[f"beta.{j}"][:, :1]).all() for j in range(6))
    # Even and odd pairs take turns.
    tried = ~np.isnan(np.stack([stats[f"swap_rate.{j}"][0] for j in range(5)], axis=1))
    assert (tried[::2] == tried[0]).all()
    assert (tried[1::2] == ~tried[0]).all()


def test_a_plain_kernel_does_not_find_them() -> None:
    start = np.full((4, 1), -20.0)
    assert (Run(mcmc.RWM(), start, TARGET, warmup=WARMUP).go(1500)[0] < 0).all()


@pytest.mark.parametrize("inner", [mcmc.RWM(), mcmc.MALA(), mcmc.Cycle([mcmc.MALA(), mcmc.RWM()])])
def test_the_same_bits_however_it_runs(inner: Any) -> None:
    law = fm.distributions.MultivariateNormal(np.zeros(3), np.eye(3) + 0.5)
    wide = fm.distributions.Normal(np.zeros(3), np.full(3, 3.0))
    kernel = mcmc.Tempered(inner, reference=wide, n_temperatures=4)
    warmup = (50, 10, 30, 10)
    start = law.sample(3, rng=1)
    whole = Run(kernel, start, as_target(law), warmup=warmup)
    draws, values, stats = whole.go(80, driver="lock")
    for threads in (1, 3):
        again = Run(kernel, start, as_target(law), warmup=warmup).go(
            80, driver="free", n_threads=threads
        )
        np.testing.assert_array_equal(again[0], draws)
    first = Run(kernel, start, as_target(law), warmup=warmup)
    part = first.go(23)[0]
    second = Run(kernel, np.zeros((3, 3)), as_target(law), warmup=warmup)
    second.sampler.load(first.sampler.save())
    second.done = 23
    rest = second.go(57)
    np.testing.assert_array_equal(np.concatenate([part, rest[0]], axis=1), draws)
    for name in stats:
        np.testing.assert_array_equal(rest[2][name], stats[name][:, 23:])
    np.testing.assert_allclose(values.ravel(), law.log_density(draws.reshape(-1, 3)), rtol=1e-12)


def test_each_transition_asks_once_at_each_temperature() -> None:
    start = np.zeros((2, 1))
    for inner in (mcmc.RWM(scale=1.0), mcmc.MALA(step_size=1.0)):
        run = Run(mcmc.Tempered(inner, reference=WIDE, n_temperatures=5), start, TARGET)
        # The reference, whose points are independent draws, has no start to evaluate.
        run.go(1)
        assert run.sampler.n_evals == (2 * (5 * 2 - 1), 0)
        run.go(20)
        assert run.sampler.n_evals == (2 * (5 * 22 - 1), 0)


def test_a_reference_of_transformed_parameters_is_the_user_s() -> None:
    # x > 0 with density exp(-x) has the evidence 1, whatever the transform.
    kernel = mcmc.Tempered(mcmc.RWM(), reference=fm.distributions.Gamma(2.0, 2.0), n_temperatures=4)
    target = fm.targets.transformed(as_target(lambda x: -x[:, 0], 1), {0: "log"})
    run = Run(kernel, np.zeros((6, 1)), target, warmup=WARMUP)
    run.go(500)
    draws, _, stats = run.go(1000)
    x = np.exp(draws[..., 0])
    assert abs(x.mean() - 1) < 5 * float(fm.diagnostics.mcse(x, kind="mean"))
    z = mcmc.log_evidence(finished(run, stats))
    assert abs(z.mean) < 5 * z.stderr
    s = mcmc.sample(target, kernel=kernel, n_draws=20, n_warmup=20, rng=1)
    assert s.draws.shape == (4, 20, 1)


def test_given_temperatures_stay() -> None:
    kernel = mcmc.Tempered(mcmc.RWM(), reference=WIDE, betas=[1, 0.3, 0.05])
    run = Run(kernel, np.zeros((2, 1)), TARGET, warmup=WARMUP)
    run.go(500)
    stats = run.go(10)[2]
    assert [stats[f"beta.{j}"][0, 0] for j in range(3)] == [1, 0.3, 0.05]
    with pytest.raises(ArgumentError, match=r"0\.05"):
        mcmc.log_evidence(finished(run, stats))
    with pytest.raises(ArgumentError, match="no statistics"):
        mcmc.log_evidence(finished(run, {}))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"reference": WIDE, "n_temperatures": 1}, "n_temperatures"),
        ({"reference": WIDE, "betas": [1, 0.5, 0.5]}, "descend"),
        ({"reference": WIDE, "betas": [0.9, 0]}, "descend"),
        ({"reference": WIDE, "betas": [1.0]}, "descend"),
        ({"reference": fm.distributions.Normal(np.zeros(2))}, "dim"),
        ({"reference": lambda x: -(x[:, 0] ** 2)}, "no gradient"),
    ],
)
def test_bad_arguments_are_refused(arguments: Any, text: str) -> None:
    def run() -> None:
        kernel = mcmc.Tempered(mcmc.MALA(), **arguments)
        mcmc.sample(TARGET, kernel=kernel, n_draws=1, rng=0)

    with pytest.raises(ArgumentError, match=text):
        run()


def test_what_cannot_be_tempered_is_refused() -> None:
    tempered = mcmc.Tempered(mcmc.RWM(), reference=WIDE)
    with pytest.raises(ArgumentError, match="nor tempered"):
        mcmc.Tempered(tempered, reference=WIDE)
    exact = mcmc.Tempered(mcmc.Conditional(conditional(0)), reference=WIDE)
    with pytest.raises(ArgumentError, match="parts beside"):
        mcmc.sample(TARGET, kernel=exact, rng=0)
    block = mcmc.Gibbs([("x", tempered), ("y", mcmc.RWM())], blocks={"x": 0, "y": 1})
    with pytest.raises(ArgumentError, match="whole points"):
        mcmc.sample(fm.targets.banana(), kernel=block, rng=0)


def test_a_tempered_kernel_is_part_of_a_cycle() -> None:
    kernel = mcmc.Cycle([mcmc.Tempered(mcmc.MALA(), reference=WIDE, n_temperatures=6), mcmc.RWM()])
    run = Run(kernel, np.zeros((6, 1)), TARGET, warmup=WARMUP, key=2)
    run.go(500)
    draws, values, _ = run.go(1000)
    right = (draws[..., 0] > 0).astype(float)
    assert abs(right.mean() - 0.7) < 5 * float(fm.diagnostics.mcse(right, kind="mean"))
    np.testing.assert_array_equal(values.ravel(), log_density(draws.reshape(-1, 1)))
