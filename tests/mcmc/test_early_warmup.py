"""Warm-ups of NUTS that end early, the metric of least cost, acceptance after divergences."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcmc_help import assert_same, driver

import fermiac as fm
from fermiac.errors import BudgetExhausted

DIM = 5
SD = np.array([0.1, 0.5, 1.0, 3.0, 20.0])


def slope(x: Any) -> Any:
    return -x / SD**2


def pair(x: Any) -> tuple[Any, Any]:
    return -0.5 * ((x / SD) ** 2).sum(axis=1), slope(x)


def sample(target: Any = None, **keywords: Any) -> fm.mcmc.Chains:
    if target is None:
        target = fm.targets.gaussian(np.zeros(DIM), np.diag(SD**-2.0))
    keywords = {"n_draws": 300, "rng": 4} | keywords
    return fm.mcmc.sample(target, **keywords)


@pytest.fixture(scope="module")
def whole() -> fm.mcmc.Chains:
    return sample(keep_warmup=True)


def test_chains_that_agree_end_the_warm_up(whole: fm.mcmc.Chains) -> None:
    # The windows end at 10, 30, 70 and 150; the step size alone takes 50 more.
    assert whole.settings["n_warmup"] == 200
    assert whole.warmup_draws is not None
    assert whole.warmup_draws.shape == (4, 200, DIM)
    assert whole.warmup_stats["n_steps"].shape == (4, 200)
    # The same as the warm-up of 200 that is asked for, whose windows are the same.
    assert_same(sample(n_warmup=200), sample())
    assert sample(n_warmup=1000).settings["n_warmup"] == 1000


@pytest.mark.parametrize("name", ["free", "lock"])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_it_ends_alike_for_all_drivers_and_threads(
    whole: fm.mcmc.Chains, name: str, n_threads: int
) -> None:
    with driver(name):
        assert_same(whole, sample(plan=fm.Plan(n_threads=n_threads), keep_warmup=True))


def test_it_is_resumed_and_extended(whole: fm.mcmc.Chains, tmp_path: Path) -> None:
    def density(x: Any) -> tuple[Any, Any]:
        nonlocal calls
        calls += 1
        if calls == last:
            raise KeyboardInterrupt
        return pair(x)

    calls, last = 0, -1
    straight = sample(density, dim=DIM, gradient=True, keep_warmup=True)
    total = calls
    for share in (0.2, 0.45, 0.8):
        calls, last = 0, int(share * total)
        keywords: Any = {"plan": fm.Plan(store=tmp_path / f"{share}"), "keep_warmup": True}
        with pytest.raises(KeyboardInterrupt):
            sample(density, dim=DIM, gradient=True, **keywords)
        calls, last = 0, -1
        again = sample(density, dim=DIM, gradient=True, **keywords)
        assert_same(straight, again)
    longer = fm.mcmc.extend(sample(n_draws=200), 100)
    np.testing.assert_array_equal(longer.draws, whole.draws)


def test_it_is_read_from_a_folder(whole: fm.mcmc.Chains, tmp_path: Path) -> None:
    sample(keep_warmup=True, path=tmp_path / "run")
    read = fm.mcmc.open(tmp_path / "run")
    assert read.settings["n_warmup"] == 200
    np.testing.assert_array_equal(read.draws, whole.draws)
    np.testing.assert_array_equal(read.warmup_draws, whole.warmup_draws)


def test_chains_that_disagree_take_the_whole_warm_up() -> None:
    apart = fm.targets.as_target(
        lambda x: np.logaddexp(-0.5 * ((x - 8) ** 2).sum(1), -0.5 * ((x + 8) ** 2).sum(1)),
        2,
        gradient=lambda x: -x + 8 * np.tanh(8 * x.sum(axis=1))[:, None],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keywords in ({"init": [[8.0, 8.0]] * 2 + [[-8.0, -8.0]] * 2}, {"n_chains": 1}):
            s = sample(apart, **keywords, n_draws=50)
            assert s.settings["n_warmup"] == 1000
    alone = sample(pool=False, n_draws=50)
    assert alone.settings["n_warmup"] == 1000
    assert sample(kernel=fm.mcmc.HMC(), n_draws=50).settings["n_warmup"] == 1000


def test_a_warm_up_without_a_draw_may_run_out_of_time() -> None:
    with pytest.raises(BudgetExhausted):
        sample(plan=fm.Plan(max_time=1e-9))


def metric_of(cov: Any) -> np.ndarray[Any, Any]:
    target = fm.targets.gaussian(np.zeros(len(cov)), np.linalg.inv(cov))
    return np.asarray(sample(target, n_draws=10).adaptation["inverse_metrics"][0])


def test_the_metric_is_the_one_of_least_cost() -> None:
    dim = 60
    deviations = np.geomspace(0.1, 10.0, dim)
    metric = metric_of(np.diag(deviations**2))
    assert metric.shape == (dim,)
    np.testing.assert_allclose(metric, deviations**2, rtol=1e-6)
    # A single long direction in many coordinates; core and user see the variances.
    shared = np.full((dim, dim), 0.9) + 0.1 * np.eye(dim)
    assert metric_of(shared).shape == (dim,)
    ar = 0.95 ** np.abs(np.subtract.outer(np.arange(dim), np.arange(dim)))
    dense = metric_of(ar)
    np.testing.assert_allclose(dense, ar, atol=1e-3)  # a ridge of 1e-3 draws is added


def test_divergences_raise_the_acceptance() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schools = fm.targets.eight_schools(centered=True)
        rates, divergences = [], []
        for kernel in (fm.mcmc.NUTS(), fm.mcmc.NUTS(target_accept=0.8)):
            runs = [sample(schools, n_draws=500, rng=seed, kernel=kernel) for seed in range(1, 7)]
            rates.append(np.mean([run.stats["acceptance_rate"] for run in runs]))
            divergences.append(sum(int(run.stats["diverging"].sum()) for run in runs))
    assert rates[0] > max(rates[1] + 0.05, 0.85)
    assert divergences[0] < 0.5 * divergences[1]


def test_energy_errors_raise_the_acceptance_before_there_are_divergences() -> None:
    schools, diverged = fm.targets.eight_schools(), 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(12):
            s = sample(schools, n_draws=1000, rng=seed)
            assert s.stats["acceptance_rate"].mean() > 0.86
            diverged += bool(s.stats["diverging"].any())
    assert diverged <= 6  # at an acceptance of 0.8, 97 % of the runs


def test_an_innocent_target_keeps_its_acceptance() -> None:
    calm = sample(kernel=fm.mcmc.NUTS())
    assert 0.75 < calm.stats["acceptance_rate"].mean() < 0.87


def test_means_and_squares_have_honest_errors() -> None:
    cov = 0.9 ** np.abs(np.subtract.outer(np.arange(20), np.arange(20)))
    target = fm.targets.gaussian(np.zeros(20), np.linalg.inv(cov))
    pulls = []
    for seed in range(40):
        s = sample(target, rng=100 + seed, n_draws=1000)
        e = s.expect(lambda x: np.concatenate([x, x * x], axis=1))
        pulls.append((e.mean - np.repeat([0.0, 1.0], 20)) / e.stderr)
    share = float((np.abs(pulls) < 2).mean())
    assert 0.93 < share < 0.975, share
    assert np.abs(np.mean(pulls, axis=0)).max() * np.sqrt(40) < 4.5


def modes(gap: float, wide: float) -> Any:
    """Normal laws about 8 and -8, the second lower by `gap` and `wide` times as wide."""

    def both(x: Any) -> tuple[Any, Any]:
        high = -0.5 * ((x - 8) ** 2).sum(axis=1)
        low = -gap - 0.5 * ((x + 8) ** 2).sum(axis=1) / wide**2
        total = np.logaddexp(high, low)
        shares = np.exp(np.stack([high, low]) - total)[:, :, None]
        return total, -shares[0] * (x - 8) - shares[1] * (x + 8) / wide**2

    return both


STARTS = np.full((4, DIM), 8.0) * [[1], [-1], [1], [1]]


def apart(target: Any, **keywords: Any) -> fm.mcmc.Chains:
    return sample(target, dim=DIM, gradient=True, **({"init": STARTS} | keywords))


def test_a_chain_at_a_mode_of_negligible_mass_moves_to_the_others(tmp_path: Path) -> None:
    s = apart(modes(60.0, 1.0))
    assert s.settings["moved_chains"] == [1]
    assert s.warnings == ()
    assert (s.draws > 0).all()
    assert float(fm.diagnostics.rhat(s.draws).max()) < 1.02
    with pytest.warns(fm.errors.ConvergenceWarning):
        assert "moved_chains" not in apart(modes(60.0, 1.0), pool=False).settings

    def interrupted(x: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == last:
            raise KeyboardInterrupt
        return modes(60.0, 1.0)(x)

    calls, last = 0, -1
    apart(interrupted)
    total = calls
    for share in (0.2, 0.6):
        calls, last = 0, int(share * total)
        with pytest.raises(KeyboardInterrupt):
            apart(interrupted, plan=fm.Plan(store=tmp_path / f"{share}"))
        calls, last = 0, -1
        assert_same(s, apart(interrupted, plan=fm.Plan(store=tmp_path / f"{share}")))


@pytest.mark.parametrize(
    ("gap", "wide"),
    [
        (10.0, 1.0),  # e^-10 of the mass
        (30.0, 100.0),  # e^-7 of it, with a much lower density
    ],
)
def test_a_chain_at_a_mode_that_matters_stays(gap: float, wide: float) -> None:
    with pytest.warns(fm.errors.ConvergenceWarning):
        s = apart(modes(gap, wide))
    assert "moved_chains" not in s.settings


def test_chains_stay_if_most_of_them_are_at_the_lower_mode() -> None:
    with pytest.warns(fm.errors.ConvergenceWarning):
        s = apart(modes(60.0, 1.0), init=-STARTS)
    assert "moved_chains" not in s.settings
    assert any("R-hat" in text for text in s.warnings)


def test_larger_steps_are_taken_where_they_shorten_trajectories() -> None:
    law = fm.distributions.Normal(np.zeros(199), np.ones(199))
    lengths = []
    for kernel in (fm.mcmc.NUTS(), fm.mcmc.NUTS(target_accept=0.8)):
        runs = [sample(law, n_draws=200, rng=seed, kernel=kernel) for seed in range(1, 4)]
        lengths.append([run.stats["n_steps"].mean() for run in runs])
        assert all(run.stats["acceptance_rate"].mean() > 0.6 for run in runs)
    assert max(lengths[0]) < 8
    assert np.mean(lengths[0]) < np.mean(lengths[1])
