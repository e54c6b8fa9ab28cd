"""ChEES: what all chains learn together, its draws, superchains and their judgement."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from mcmc_help import assert_same, driver

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning
from fermiac.mcmc import HMC, NUTS, ChEES, Cycle, Tempered

DIM = 6
SD = np.array([0.1, 0.5, 1.0, 3.0, 20.0, 1.0])


def gaussian() -> Any:
    correlation = 0.8 ** abs(np.arange(DIM)[:, None] - np.arange(DIM))
    return fm.targets.gaussian(np.arange(DIM) * SD, np.linalg.inv(np.outer(SD, SD) * correlation))


def sample(target: Any = None, **more: Any) -> fm.mcmc.Chains:
    given = {"kernel": "chees", "n_chains": 128, "n_draws": 30, "rng": 2} | more
    return fm.mcmc.sample(gaussian() if target is None else target, **given)


@pytest.fixture(scope="module")
def whole() -> fm.mcmc.Chains:
    return sample(n_draws=100, keep_warmup=True)


def test_all_chains_have_common_sizes(whole: fm.mcmc.Chains) -> None:
    assert whole.settings["n_warmup"] <= 200
    for name in ("step_size", "trajectory_length"):
        of = whole.stats[name]
        assert (of == of[0]).all()
    assert (whole.stats["step_size"] == whole.stats["step_size"][0, 0]).all()
    step, length = whole.adaptation["step_sizes"][0]
    assert all(sizes == [step, length] for sizes in whole.adaptation["step_sizes"])
    # Lengths vary evenly about the mean, from 0 to twice the mean.
    lengths = whole.stats["trajectory_length"][0]
    assert lengths.mean() == pytest.approx(length, rel=0.05)
    assert lengths.min() < 0.1 * length
    assert lengths.max() > 1.9 * length
    steps = np.ceil(lengths / step)
    assert (whole.stats["n_steps"] == steps).all()
    # The metric makes this target isotropic, where a mean length near 1 is best.
    assert 0.5 < length < 1.8


def test_the_step_size_gives_the_acceptance_that_is_asked_for() -> None:
    for accept in (0.5, 0.651, 0.8):
        s = sample(kernel=ChEES(target_accept=accept), n_warmup=300, n_draws=64)
        rates = np.maximum(s.stats["acceptance_rate"], 0.05)
        assert (1 / np.mean(1 / rates, axis=0)).mean() == pytest.approx(accept, abs=0.03)


def test_it_draws_from_its_target(whole: fm.mcmc.Chains) -> None:
    mean = whole.expect(lambda x: x)
    assert (abs(mean.mean - np.arange(DIM) * SD) < 5 * mean.stderr).all()
    square = whole.expect(lambda x: (x - np.arange(DIM) * SD) ** 2)
    assert (abs(square.mean - SD**2) < 5 * square.stderr).all()


def test_the_criteria_follow_different_directions() -> None:
    variances = np.r_[100.0, np.ones(29)]
    target = fm.targets.gaussian(np.zeros(30), np.diag(1 / variances))
    lengths = {}
    for criterion in ("chees", "snaper"):
        kernel = ChEES(criterion=criterion, metric="unit")
        s = sample(target, kernel=kernel, n_warmup=200, n_superchains=16)
        lengths[criterion] = s.adaptation["step_sizes"][0][1]
    # A quarter of the longest period is 10 π / 2.
    assert 5 < lengths["snaper"] < 25
    assert lengths["chees"] > 2
    fixed = sample(kernel=ChEES(trajectory_length=2.0, step_size=0.3, jitter=0.0), n_warmup=30)
    assert (fixed.stats["trajectory_length"] == 2.0).all()
    assert (fixed.stats["n_steps"] == 7).all()


def test_threads_and_drivers_change_nothing() -> None:
    reference = sample()
    for who, threads in (("lock", 1), ("free", 2), ("free", 1)):
        with driver(who):
            assert_same(reference, sample(plan=fm.Plan(n_threads=threads)))
    assert_same(reference, fm.mcmc.extend(sample(n_draws=11), 19))


def test_chains_that_are_lost_do_not_decide() -> None:
    # A start far out, which the other chains learn without.
    init = fm.random.Stream(1).normal((128, DIM)) * SD
    init[5] = 1e9
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        s = sample(init=init, n_warmup=200)
    step, length = s.adaptation["step_sizes"][0]
    assert step > 0.3
    assert 0.5 < length < 3


def test_where_it_cannot_be_used() -> None:
    with pytest.raises(ArgumentError, match="pool: False given, but ChEES adapts all chains"):
        sample(pool=False)
    with pytest.raises(ArgumentError, match="cannot be a part of another"):
        sample(kernel=Cycle([ChEES(), "rwm"]))
    with pytest.raises(ArgumentError, match="cannot be a part of another"):
        sample(kernel=Tempered(ChEES(), fm.distributions.Normal(np.zeros(DIM), 30.0)))
    for bad in ({"criterion": "ess"}, {"trajectory_length": 0.0}, {"jitter": 1.5}):
        with pytest.raises(ArgumentError, match=next(iter(bad))):
            ChEES(**bad)  # type: ignore[arg-type]


def test_few_chains_and_no_warm_up() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        one = sample(n_chains=1, n_warmup=300, n_draws=300)
        raw = sample(n_warmup=0, n_draws=3)
    assert one.stats["acceptance_rate"].mean() > 0.5
    assert (raw.stats["step_size"] == 1.0).all()


def starts(**more: Any) -> Any:
    """The starts of 8 chains, which steps of a tiny size keep."""
    given = {"kernel": HMC(n_steps=1, step_size=1e-9), "n_warmup": 0, "n_draws": 1} | more
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return sample(n_chains=8, **given).draws[:, 0]


@pytest.mark.parametrize(
    "init",
    [
        None,
        fm.distributions.Normal(np.zeros(DIM)),
        np.arange(4.0)[:, None] * np.ones(DIM),
        lambda n, rng: rng.normal((n, DIM)),
    ],
)
def test_superchains_share_their_starts(init: Any) -> None:
    x = starts(init=init, n_superchains=4).reshape(4, 2, DIM)
    assert np.allclose(x[:, 0], x[:, 1], atol=1e-5)
    assert len(np.unique(x[:, 0, 0])) == 4
    if init is None:
        parts = [starts(n_superchains=4, pool=False, plan=fm.Plan(part=(i, 2))) for i in (0, 1)]
        both = np.sort(np.concatenate(parts), axis=0)
        assert np.allclose(both, np.sort(x.reshape(8, DIM), axis=0), atol=1e-5)


def test_superchains_are_checked() -> None:
    for k, message in ((3, "divides it"), (8, "divides it"), (1, "n_superchains")):
        with pytest.raises(ArgumentError, match=message):
            starts(n_superchains=k)
    with pytest.raises(ArgumentError, match="one for each superchain"):
        starts(n_superchains=4, init=np.arange(8.0)[:, None] * np.ones(DIM))
    with pytest.raises(ArgumentError, match="depend on each"):
        sample(kernel="de", n_superchains=4)


def test_many_short_chains_are_judged_by_their_superchains(whole: fm.mcmc.Chains) -> None:
    assert whole.settings["n_superchains"] == 16
    assert "nested R-hat ≤ 1.0" in str(whole)
    assert "nested_rhat" in str(whole.summary())
    # Ordinary R-hat would warn of all of these, and every warning is an error here.
    for seed in range(10):
        s = sample(n_chains=256, n_draws=12, rng=seed)
        assert s.warnings == ()
        assert (fm.diagnostics.rhat(s.draws) > 1.03).all()
        s.expect(lambda x: x**2)
    assert "n_superchains" not in sample(n_chains=60, n_draws=400).settings


def test_chains_that_remember_their_starts_are_found() -> None:
    def two(x: Any) -> Any:
        far = np.stack([-0.5 * ((x - m) ** 2).sum(axis=1) for m in (-8.0, 8.0)])
        return np.logaddexp(*far)

    def slope(x: Any) -> Any:
        return -(x - 8 * np.tanh(8 * x.sum(axis=1))[:, None])

    init = np.where(np.arange(16) < 8, -8.0, 8.0)[:, None] * np.ones(2)
    with pytest.warns(ConvergenceWarning, match="nested R-hat is up to"):
        sample(two, dim=2, gradient=slope, init=init, n_superchains=16, n_draws=12)
    slow = NUTS(step_size=0.02, max_depth=1, metric="unit")
    with pytest.warns(ConvergenceWarning, match="nested R-hat is up to"):
        sample(kernel=slow, n_warmup=20, n_draws=12, n_superchains=16)
