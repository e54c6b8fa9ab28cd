"""Ensembles: laws, moves, forms of targets, threads, suspended states, arguments."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from chain_runs import LAWS, Array, draws, go, record, sampler
from forms import DENSITIES, MEAN, SD, law, points

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning, TargetError

DE = fm.mcmc.DE

KERNELS = {
    "difference": DE(),
    "wide difference": DE(factor=1.0, spread=0.3, jump=0.5),
    "snooker": DE(snooker=1.0),
    "mixture": DE(snooker=0.4),
}


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_law_is_left_as_it_is(kernel: str, name: str) -> None:
    # Small ensembles of walkers that start independently, so that they stay independent.
    start = LAWS[name]()
    x0 = start.sample(1000 * 8, seed=1)
    out = draws(KERNELS[kernel], start.target, x0, 2, key=2, n_points=8)
    x = out["draws"][:, -1]
    assert np.abs(start.scores(x)).max() < 5
    assert (x != x0).any(axis=1).mean() > 0.2
    np.testing.assert_allclose(out["log_densities"][:, -1], start.target.log_density(x), rtol=1e-12)
    accepted, rate = out["stats"][:, :, 1], out["stats"][:, :, 0]
    z = (accepted - rate).mean() / (accepted - rate).std() * np.sqrt(rate.size)
    assert abs(z) < 5


def test_statistics_are_those_of_the_ensemble() -> None:
    target, x0 = LAWS["gaussian"]().target, points(12)
    out = draws(KERNELS["mixture"], target, x0, 300, n_points=12)
    assert out["stats"].shape == (1, 300, 3)
    moved = (np.diff(out["draws"], axis=1) != 0).any(axis=2).mean(axis=0)
    np.testing.assert_allclose(out["stats"][0, 1:, 1], moved)
    counts = np.bincount(out["stats"][0, :, 2].astype(int), minlength=2)
    shares = np.array([0.6, 0.4])
    assert (np.abs(counts - 300 * shares) < 5 * np.sqrt(300 * shares * (1 - shares))).all()


def test_moves_do_not_depend_on_affine_coordinates() -> None:
    start = LAWS["gaussian"]()
    x0 = start.sample(12, seed=4)
    turn = np.array([[2.0, 0.0, 1.0], [0.5, -8.0, 0.0], [0.0, 4.0, 0.25]])
    back = np.linalg.inv(turn)
    bent = fm.targets.as_target(lambda y: start.target.log_density(y @ back.T), 3)
    for kernel in KERNELS.values():
        one = draws(kernel, start.target, x0, 30, n_points=12)["draws"]
        two = draws(kernel, bent, x0 @ turn.T, 30, n_points=12)["draws"]
        if kernel is KERNELS["snooker"] or kernel is KERNELS["mixture"]:
            continue  # Projections are not invariant.
        np.testing.assert_allclose(two, one @ turn.T, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kernel", ["difference", "mixture"])
@pytest.mark.parametrize("make", DENSITIES)
def test_forms_of_targets_and_drivers_give_the_same_chain(make: Any, kernel: str) -> None:
    x0 = points(400)

    def run(target: Any, driver: str = "auto", n_threads: int = 1) -> Any:
        return draws(
            KERNELS[kernel],
            target,
            x0,
            20,
            n_points=400,
            driver=driver,
            n_threads=n_threads,
        )

    target = make()
    reference = run(fm.targets.as_target(law()))
    found = run(target)
    np.testing.assert_allclose(found["draws"], reference["draws"], rtol=1e-6, atol=1e-9)
    for driver in ["lock"] if target.form == "torch" else ["free", "lock"]:
        for n_threads in (1, 2, 3):
            again = run(target, driver, n_threads)
            for part in ("draws", "log_densities", "stats"):
                np.testing.assert_array_equal(again[part], found[part])


@pytest.mark.parametrize("kernel", KERNELS.values())
def test_a_run_goes_on_from_any_question(kernel: Any) -> None:
    target, x0 = LAWS["gaussian"]().target, points(16)
    whole = draws(kernel, target, x0, 30, key=7, n_points=8)
    chains, oracles = sampler(kernel, target, x0, 7, n_points=8)
    out = record(chains, 30, x0)
    while not go(chains, oracles, 30, out, "lock", budget=0.0):
        words = chains.save()
        chains, oracles = sampler(kernel, target, x0, 7, n_points=8)
        chains.load(words)
    for part in ("draws", "log_densities", "stats"):
        np.testing.assert_array_equal(out[part], whole[part])


def test_each_half_is_one_batch() -> None:
    sizes = []

    def density(x: Array) -> Array:
        sizes.append(len(x))
        return -0.5 * (x**2).sum(axis=1)

    s = fm.mcmc.sample(
        density, 2, kernel=DE(), n_chains=10, n_warmup=4, n_draws=3, rng=0, check=False
    )
    assert s.draws.shape == (10, 3, 2)
    assert sizes[-14:] == [5] * 14
    assert sum(sizes) == s.n_evals
    assert s.settings["ensemble"] is True
    assert s.settings["kernel"] == "DE"


def test_a_posterior() -> None:
    s = fm.mcmc.sample(law(), kernel=KERNELS["mixture"], n_chains=20, n_draws=4000, rng=3)
    time = fm.diagnostics.autocorr_time(s.draws)
    error = SD * np.sqrt(time / (20 * 4000))
    assert (np.abs(s.draws.mean(axis=(0, 1)) - MEAN) < 5 * error).all()


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: DE(factor=0.0), "factor"),
        (lambda: DE(spread=-1.0), "spread"),
        (lambda: DE(jump=1.0), "jump"),
        (lambda: DE(jump=True), "jump"),
        (lambda: DE(factor="2"), "factor"),
        (lambda: DE(factor=np.nan), "factor"),
        (lambda: DE(snooker=1.5), "snooker"),
        (lambda: DE(snooker="all"), "snooker"),
    ],
)
def test_bad_arguments(make: Any, named: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{named}: "):
        make()


def test_too_few_walkers_and_flat_starts() -> None:
    def run(kernel: Any, n_chains: int, init: Any = None, dim: int = 3) -> Any:
        return fm.mcmc.sample(
            lambda x: -0.5 * (x**2).sum(axis=1),
            dim,
            kernel=kernel,
            n_chains=n_chains,
            n_warmup=0,
            n_draws=2,
            init=init,
            rng=0,
        )

    for n_chains in (4, 7, 1):
        with pytest.raises(ArgumentError, match=f"n_chains: {n_chains} walkers .* 6 at least"):
            run(DE(), n_chains)
    with pytest.raises(ArgumentError, match=r"n_chains: 4 walkers .* 6 at least"):
        run(DE(snooker=0.1), 4, dim=1)
    assert run(DE(), 4, dim=1).draws.shape == (4, 2, 1)
    x = np.random.default_rng(0).normal(size=(8, 3))
    flat = x.copy()
    flat[:, 2] = flat[:, 0] - 2 * flat[:, 1] + 3
    same = np.ones((8, 3))
    constant = x.copy()
    constant[:, 1] = 5.0
    for bad in (flat, same, constant, [1.0, 2.0, 3.0]):
        with pytest.raises(ArgumentError, match="init: the 8 walkers lie in a hyperplane"):
            run(DE(), 8, bad)
    flat[:, 2] += 1e-6 * x[:, 2]
    run(DE(), 8, flat)
    run(DE(), 8, x * [1e-12, 1.0, 1e12] + [0.0, 1e3, 0.0])


def test_a_start_without_density_is_an_error() -> None:
    target = fm.targets.as_target(lambda x: np.where(x[:, 0] > 0, 0.0, -np.inf), 2)
    x0 = np.array([[1.0, 0.0], [2.0, 1.0], [-1.0, 0.0], [1.0, 2.0]])
    with pytest.raises(TargetError, match="the density is 0"):
        draws(DE(), target, x0, 1, n_points=4)


@pytest.mark.parametrize(("name", "n_draws"), [("difference", 1000), ("mixture", 1500)])
def test_errors_of_averages_hold(name: str, n_draws: int) -> None:
    target = fm.distributions.Normal([0.0, 0.0])
    pulls, tails = [], []
    for seed in range(40):
        s = fm.mcmc.sample(
            target, kernel=KERNELS[name], init=target, n_chains=16, n_warmup=100,
            n_draws=n_draws, rng=seed,
        )  # fmt: skip
        e = s.expect(lambda x: np.column_stack([x, x**2]))
        pulls.append((e.mean - [0.0, 0.0, 1.0, 1.0]) / e.stderr)
        at, error = s.quantile([0.1], return_stderr=True)
        tails.append((at[0] + 1.2815515655446004) / error[0])
    # Of two coordinates each, that are independent.
    for z in (np.array(pulls)[:, :2], np.array(pulls)[:, 2:], np.array(tails)):
        assert abs(np.mean(np.abs(z) < 2) - 0.9545) < 4 * np.sqrt(0.9545 * 0.0455 / z.size)
        assert abs(z.mean()) < 4 / np.sqrt(z.size)


def test_errors_count_that_walkers_follow_each_other() -> None:
    rng = np.random.default_rng(5)
    common, own = rng.normal(size=(1, 4000, 1)), rng.normal(size=(10, 4000, 1))
    x = np.sqrt(0.2) * common + np.sqrt(0.8) * own
    s = replace(fm.Sample.from_arrays(x), settings={"ensemble": True})
    # Var of the mean: (0.2 + 0.8 / 10) / 4000.
    e = s.expect(lambda p: p[:, 0])
    assert e.stderr == pytest.approx(np.sqrt(0.28 / 4000), rel=0.1)
    assert e.ess == pytest.approx(4000 / 0.28, rel=0.2)
    with pytest.warns(ConvergenceWarning, match="all 40000 values"):
        constant = s.expect(lambda p: np.ones(len(p)))
    assert constant.mean == 1.0
    assert constant.stderr < 1e-15


def test_summaries_show_times_in_place_of_rhat() -> None:
    law = fm.distributions.Normal([0.0, 0.0])
    s = fm.mcmc.sample(law, kernel=DE(), n_chains=16, n_draws=1000, rng=0)
    assert s.warnings == ()
    lines = str(s.summary()).splitlines()
    time = fm.diagnostics.autocorr_time(s.draws)
    assert lines[0].startswith(
        f"Sample of 16 walkers × 1000 draws in 2 dimensions: τ ≤ {time.max():.3g}"
    )
    assert lines[1].split()[-3:] == ["ess_mean", "ess_tail", "tau"]
    e = s.expect(lambda x: x)
    for line, tau, ess in zip(lines[2:4], time, e.ess, strict=True):
        assert line.split()[-1] == f"{tau:.1f}"
        assert line.split()[-3] == f"{ess:.0f}"
    assert lines[4].startswith("16 walkers × 1000 draws after 1000 of warm-up")
    assert "R-hat" not in str(s.summary()) + repr(s)
    wide = replace(fm.Sample.from_arrays(np.tile(s.draws, 25)), settings=s.settings)
    assert f"the largest tau is {time.max():.1f} (x[" in str(wide.summary())


def test_short_runs_and_still_walkers_are_warned_of() -> None:
    law = fm.distributions.Normal([0.0, 0.0])
    with pytest.warns(ConvergenceWarning, match="300 draws of a walker are fewer than 50 auto"):
        s = fm.mcmc.sample(law, kernel=DE(), n_chains=16, n_draws=300, rng=0)
    assert len(s.warnings) == 1
    with pytest.warns(ConvergenceWarning, match="300 draws of a walker are fewer than 50 auto"):
        s.expect(lambda x: x)
    x = np.random.default_rng(0).normal(size=(100, 400, 2))
    x[:3] = x[:3, :1]
    still = replace(fm.Sample.from_arrays(x), settings={"ensemble": True})
    assert "3 of 100 walkers never moved" in str(still.summary())


def test_rules_that_stop_ensembles() -> None:
    law = fm.distributions.Normal([0.0, 0.0])

    def run(**more: Any) -> Any:
        stop = fm.mcmc.StopWhen(every=100, **more)
        return fm.mcmc.sample(law, kernel=DE(), n_chains=16, n_draws=2000, stop=stop, rng=0)

    with pytest.raises(ArgumentError, match=r"^stop: R-hat .* StopWhen\(rhat=None\)"):
        run()
    s = run(rhat=None, ess=50)
    time = fm.diagnostics.autocorr_time(s.draws).max()
    assert 50 * time <= s.draws.shape[1] < 2000
    with pytest.warns(
        ConvergenceWarning, match=r"ESS of \d+ instead of 50000, .* time of .* must be 50"
    ):
        run(rhat=None, ess=50_000)


def test_what_is_made_of_ensembles(tmp_path: Any) -> None:
    law = fm.distributions.Normal([0.0, 0.0])
    one, two = (
        fm.mcmc.sample(law, kernel=DE(), n_chains=16, n_draws=1000, rng=seed) for seed in (0, 1)
    )
    assert all(a.shape == (16, 1000) and (a == a[0]).all() for a in one.stats.values())
    both = one.merge(two)
    assert both.draws.shape == (32, 1000, 2)
    assert "32 walkers" in repr(both)
    chains = fm.mcmc.sample(law, kernel=fm.mcmc.MALA(), n_chains=16, n_draws=1000, rng=2)
    with pytest.raises(ArgumentError, match="the coupling of chains of sample 1"):
        one.merge(chains)
    one.save(tmp_path / "run.safetensors")
    assert fm.mcmc.Chains.load(tmp_path / "run.safetensors").summary() == one.summary()
    shifted = one.reweight(lambda x: -0.5 * ((x - 0.1) ** 2).sum(axis=1))
    e = shifted.expect(lambda x: x)
    assert (np.abs(e.mean - 0.1) < 5 * e.stderr).all()
    assert len(fm.mcmc.extend(one, 500).draws[0]) == 1500


@pytest.mark.parametrize("kernel", [DE(), DE(snooker=0.5)])
def test_ensembles_are_no_parts_of_other_kernels(kernel: Any) -> None:
    law = fm.distributions.Normal([0.0, 0.0])
    for whole in (
        fm.mcmc.Gibbs([("x", kernel)], blocks={"x": [0, 1]}),
        fm.mcmc.Cycle([fm.mcmc.RWM(), kernel]),
        fm.mcmc.Mixture([(kernel, 1.0)]),
        fm.mcmc.Tempered(kernel, reference=law),
        fm.mcmc.Tempered(fm.mcmc.Cycle([kernel]), reference=law),
    ):
        with pytest.raises(ArgumentError, match=r"^kernel: .*moves several points"):
            fm.mcmc.sample(law, kernel=whole, n_chains=8, n_draws=2, rng=0)


def test_several_ensembles_do_not_depend_on_each_other() -> None:
    def run(n_chains: int, **given: Any) -> Any:
        return fm.mcmc.sample(law(), kernel=DE(**given), n_chains=n_chains, n_draws=300, rng=2)

    with pytest.warns(ConvergenceWarning):  # both are short
        one, some = run(8), run(24, n_walkers=8)
    np.testing.assert_array_equal(some.draws[:8], one.draws)
    assert (some.stats["accepted"][8:16] == some.stats["accepted"][8]).all()
    assert (some.stats["accepted"][8] != some.stats["accepted"][0]).any()
    assert some.settings["n_walkers"] == 8


def test_errors_of_several_ensembles_are_calibrated() -> None:
    pulls = []
    for seed in range(40):
        s = fm.mcmc.sample(
            law(), kernel=DE(n_walkers=8), n_chains=32, n_warmup=200, n_draws=1200, rng=seed
        )
        e = s.expect(lambda x: x)
        pulls.append((e.mean - MEAN) / e.stderr)
    assert 0.85 < (np.abs(pulls) < 2).mean() <= 1.0
    assert 0.8 < np.std(pulls) < 1.25


def test_several_ensembles_check_their_walkers() -> None:
    for n_walkers in (1, 0, 2.5, "8"):
        with pytest.raises(ArgumentError, match="n_walkers"):
            DE(n_walkers=n_walkers)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="n_chains: 20 given with ensembles of n_walkers=8"):
        fm.mcmc.sample(law(), kernel=DE(n_walkers=8), n_chains=20, rng=0)
    flat = points(16)
    flat[8:, 0] = 1.0
    with pytest.raises(ArgumentError, match="the 8 walkers lie in a hyperplane"):
        fm.mcmc.sample(law(), kernel=DE(n_walkers=8), n_chains=16, init=flat, rng=0)
