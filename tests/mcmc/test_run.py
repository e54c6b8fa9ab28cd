"""Runs of chains: the same bits for all settings that must not matter, and errors."""

from __future__ import annotations

import re
import signal
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clock import until
from forms import DENSITIES, DIM, MEAN, SD, builtin_density, formula, python_density
from mcmc_help import LAW, assert_same, driver, run
from numpy.typing import NDArray
from plans import planned

import fermiac as fm
from fermiac.errors import (
    ArgumentError,
    BudgetExhausted,
    ConvergenceWarning,
    TargetError,
)
from fermiac.mcmc import checks
from fermiac.mcmc import run as run_module

Array = NDArray[np.float64]
MALA, RWM, StopWhen = fm.mcmc.MALA, fm.mcmc.RWM, fm.mcmc.StopWhen


@pytest.fixture(scope="module")
def whole() -> fm.mcmc.Chains:
    return run()


def test_a_sample_knows_its_run(whole: fm.mcmc.Chains) -> None:
    assert whole.draws.shape == (4, 90, 3)
    assert whole.error_model == "chains"
    assert whole.status == "complete"
    assert whole.seed == 3
    assert whole.settings["kernel"] == "MALA"
    assert whole.settings["n_warmup"] == 120
    np.testing.assert_array_equal(LAW.log_density(whole.draws), whole.log_densities)
    assert whole.gradients is not None
    assert whole.stats["accepted"].dtype == bool
    assert whole.stats["acceptance_rate"].shape == (4, 90)
    # Starts, the searches of the first step size, and one a transition.
    assert 4 * (1 + 210) < whole.n_evals < 4 * (1 + 210 + 20)
    assert whole.adaptation["inverse_metrics"][0].shape == (3, 3)
    assert len({tuple(steps) for steps in whole.adaptation["step_sizes"]}) == 1  # pooled


def test_the_kernel_is_by_default_one_with_gradients() -> None:
    assert_same(run(kernel=None), run(kernel=fm.mcmc.NUTS()))


@pytest.mark.parametrize("name", ["free", "lock"])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_threads_and_drivers_change_nothing(
    whole: fm.mcmc.Chains, name: str, n_threads: int
) -> None:
    with driver(name):
        assert_same(whole, run(plan=fm.Plan(n_threads=n_threads)))


def test_the_checks_use_the_threads_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(run_module, "findings", lambda _: seen.append(fm.get_num_threads()) or [])
    for n in (1, 3):
        fm.mcmc.sample(LAW, n_draws=50, rng=0, plan=fm.Plan(n_threads=n))
    assert seen == [1, 3]


@pytest.mark.parametrize("make", DENSITIES)
def test_all_forms_of_a_target(make: Any) -> None:
    target = make()
    one = run(target, n_chains=3)
    assert_same(one, run(target, n_chains=3, plan=fm.Plan(n_threads=3)))
    # Other roundings make other paths in the end, but not at once.
    first = run(builtin_density(), n_chains=3, n_warmup=0, n_draws=10)
    np.testing.assert_allclose(run(target, n_chains=3, n_warmup=0, n_draws=10).draws, first.draws)


@pytest.mark.parametrize("init", ["jitter", "mode", fm.distributions.Normal(np.zeros(3))])
def test_chains_do_not_know_of_each_other_without_pooling(init: Any) -> None:
    four = run(pool=False, init=init)
    eight = run(pool=False, init=init, n_chains=8)
    np.testing.assert_array_equal(four.draws, eight.draws[:4])
    assert not np.array_equal(run(init=init, n_chains=8).draws[:4], eight.draws[:4])


def test_what_is_kept_and_shown_changes_nothing(whole: fm.mcmc.Chains, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    assert_same(whole, run(plan=fm.Plan(progress=lambda done, total: seen.append((done, total)))))
    assert seen[-1] == (840, 840)
    assert_same(whole, run(plan=fm.Plan(progress=True)))
    plain = run(keep_gradients=False)
    assert plain.gradients is None
    np.testing.assert_array_equal(whole.draws, plain.draws)
    thinned = run(n_draws=30, thin=3)
    np.testing.assert_array_equal(whole.draws[:, 2::3], thinned.draws)
    np.testing.assert_array_equal(whole.stats["accepted"][:, 2::3], thinned.stats["accepted"])
    warm = run(keep_warmup=True)
    assert_same(whole, warm)
    assert warm.warmup_draws is not None
    assert warm.warmup_draws.shape == (4, 120, 3)
    assert warm.warmup_stats["step_size"].shape == (4, 120)
    assert_same(whole, run(path=tmp_path / "run", keep_warmup=True))
    opened = fm.mcmc.open(tmp_path / "run")
    assert opened.warmup_draws is not None
    np.testing.assert_array_equal(opened.warmup_draws, warm.warmup_draws)
    np.testing.assert_array_equal(opened.warmup_stats["step_size"], warm.warmup_stats["step_size"])
    assert_same(whole, run(plan=fm.Plan(max_time=1e6)))


def test_runs_without_warmup_and_of_one_draw() -> None:
    one = run(n_warmup=0, n_draws=1, n_chains=1, kernel=RWM())
    assert one.draws.shape == (1, 1, 3)
    assert one.gradients is None


def test_it_draws_from_its_target() -> None:
    s = fm.mcmc.sample(builtin_density(), kernel=MALA(), n_draws=4000, rng=1)
    for power, exact in ((1, np.array(MEAN)), (2, np.array(MEAN) ** 2 + np.array(SD) ** 2)):
        values = s.draws**power
        z = (values.mean(axis=(0, 1)) - exact) / fm.diagnostics.mcse(values)
        assert np.abs(z).max() < 5


# Constraints.


def test_draws_are_constrained() -> None:
    law = fm.distributions.Product(
        [fm.distributions.Gamma(3.0), fm.distributions.Normal(), fm.distributions.Beta(2.0, 3.0)]
    )
    given: dict[str, Any] = {"names": ["a", "b", "c"], "transforms": {"a": "log", "c": "logit"}}
    s = fm.mcmc.sample(law, kernel=MALA(), n_draws=4000, rng=2, **given)
    assert s.names == ("a", "b", "c")
    assert s.gradients is None
    z = (s.draws.mean(axis=(0, 1)) - [3.0, 0.0, 0.4]) / fm.diagnostics.mcse(s.draws)
    assert np.abs(z).max() < 5
    # What is started from is constrained too.
    start = run(law, init=np.array([2.0, 0.0, 0.5]), n_warmup=0, n_draws=1, **given)
    assert abs(start.draws - [2.0, 0.0, 0.5]).max() < 2.0
    with pytest.raises(ArgumentError, match="coordinate"):
        run(law, init=np.array([-2.0, 0.0, 0.5]), **given)
    assert_same(run(law, init=law, **given), run(law, init=law, plan=fm.Plan(n_threads=3), **given))


def test_a_simplex_has_more_coordinates_than_its_chains(tmp_path: Path) -> None:
    def dirichlet(x: Array) -> Array:
        return np.log(x).sum(axis=1)

    given: dict[str, Any] = {"transforms": {range(3): "simplex"}, "kernel": RWM(), "dim": 3}
    s = run(dirichlet, **given)
    assert s.draws.shape == (4, 90, 3)
    np.testing.assert_allclose(s.draws.sum(axis=-1), 1.0)
    assert_same(s, run(dirichlet, path=tmp_path / "run", **given))
    assert_same(s, fm.mcmc.open(tmp_path / "run"))
    assert np.load(tmp_path / "run" / "unconstrained.npy").shape == (4, 90, 2)


def test_a_transformed_target_keeps_its_space() -> None:
    gamma = fm.distributions.Gamma(3.0)
    target = fm.targets.transformed(fm.targets.law_density(gamma), {0: "log"}, names=["rate"])
    s = run(target)
    assert s.names == ()
    assert s.gradients is not None
    constrained = run(gamma, transforms={0: "log"})
    np.testing.assert_array_equal(target.constrain(s.draws), constrained.draws)
    np.testing.assert_array_equal(s.log_densities, constrained.log_densities)


def begins_like(partial: fm.Sample, whole: fm.Sample) -> bool:
    n = min(partial.draws.shape[1], whole.draws.shape[1])
    return n > 0 and np.array_equal(partial.draws[:, :n], whole.draws[:, :n])


def test_time_may_end_a_run(whole: fm.mcmc.Chains) -> None:
    for limit in (0.2, 2.0, 20.0):  # a busy machine has no draws so soon
        with warnings.catch_warnings(record=True) as caught, suppress(BudgetExhausted):
            warnings.simplefilter("always")
            s = run(n_draws=10**7, plan=fm.Plan(max_time=limit))
            break
    assert s.draws.shape[1] < 10**7
    assert s.status == "interrupted"
    assert s.warnings[0].startswith(f"max_time: the run ended after {limit:g} s with")
    assert [w.message.args[0] for w in caught] == list(s.warnings)
    assert begins_like(s, whole)
    with pytest.raises(BudgetExhausted, match="transitions of warm-up"):
        run(n_warmup=10**7, plan=fm.Plan(max_time=0.05))


def test_ctrl_c_gives_what_there_is(whole: fm.mcmc.Chains) -> None:
    def press(done: int, total: int) -> None:
        if done > 10_000:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        run(n_draws=10**7, plan=fm.Plan(progress=press))
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    assert partial.status == "interrupted"
    assert begins_like(partial, whole)

    def interrupted(x: Array) -> Array:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        run(interrupted, dim=2, kernel=RWM())
    assert caught.value.partial_result is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("keep_warmup", [False, True])
def test_ctrl_c_in_the_warmup_gives_the_points(keep_warmup: bool, tmp_path: Path) -> None:
    calls = 0

    def target(x: Array) -> Array:
        nonlocal calls
        calls += 1
        if calls == 100:
            raise KeyboardInterrupt
        return -0.5 * np.sum(x**2, axis=1)

    def chains(**more: Any) -> fm.mcmc.Chains:
        return run(target, dim=2, kernel=RWM(), n_warmup=200, keep_warmup=keep_warmup, **more)

    kept = fm.Plan(store=tmp_path)
    with pytest.raises(KeyboardInterrupt) as caught:
        chains(plan=kept)
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    assert partial.status == "interrupted"
    assert partial.draws.shape == (4, 1, 2)
    assert "not a sample of the target" in partial.warnings[0]
    assert len(partial.adaptation["step_sizes"]) == 4
    np.testing.assert_array_equal(
        partial.log_densities, -0.5 * np.sum(partial.draws**2, axis=2), strict=True
    )
    resumed = chains(plan=kept)
    assert_same(resumed, chains())
    assert (partial.warmup_draws is not None) == keep_warmup
    if keep_warmup:
        n = partial.warmup_draws.shape[1]
        assert 50 < n < 100
        np.testing.assert_array_equal(partial.warmup_draws, resumed.warmup_draws[:, :n])
        np.testing.assert_array_equal(partial.warmup_draws[:, -1:], partial.draws)


def test_ctrl_c_after_the_last_draw_costs_none(
    whole: fm.mcmc.Chains, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(_sample: Any) -> None:
        raise KeyboardInterrupt

    short = run(n_draws=60)
    monkeypatch.setattr(run_module, "findings", pressed)
    for call in (run, lambda: fm.mcmc.extend(short, 30)):
        with pytest.raises(KeyboardInterrupt) as caught:
            call()
        assert_same(whole, caught.value.partial_result)  # type: ignore[attr-defined]
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning) as told:
            run()
    assert_same(whole, told.value.partial_result)  # type: ignore[attr-defined]


def test_an_exception_of_the_target_leaves_the_draws() -> None:
    calls = 0

    def breaks(x: Array) -> Array:
        nonlocal calls
        calls += 1
        if calls > 190:
            raise LookupError("mine")
        return formula(x)

    with pytest.raises(LookupError, match="mine") as caught:
        run(breaks, dim=DIM, kernel=RWM(), pool=False)
    assert any("4 chains were at transition 1" in note for note in caught.value.__notes__)
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    n = partial.draws.shape[1]
    assert 60 < n < 90
    reference = run(formula, dim=DIM, kernel=RWM(), pool=False)
    np.testing.assert_array_equal(partial.draws, reference.draws[:, :n])


def test_errors_in_a_batch_name_the_chain() -> None:
    def infinite(x: Array) -> Array:
        return np.where(x[:, 0] > 1.5, np.inf, 0.0)

    with pytest.raises(TargetError, match=r"chain 2, transition \d+: the log-density is \+inf"):
        fm.mcmc.sample(
            infinite,
            1,
            kernel=RWM(scale=0.1, metric="unit"),
            init=np.array([[-9.0], [-9.0], [1.4], [-9.0]]),
            rng=0,
        )


def test_failures_at_most_points_are_told() -> None:
    def narrow(x: Array) -> Array:
        return np.where(np.abs(x[:, 0]) < 1e-3, 0.0, np.nan)

    with pytest.warns(ConvergenceWarning, match=r"points the target failed or gave NaN"):
        run(narrow, dim=1, kernel=RWM(scale=1.0, metric="unit"), init=np.zeros(1))


def test_nan_after_the_warm_up_is_counted() -> None:
    def holed(x: Array) -> tuple[Array, Array]:
        outside = np.abs(x[:, 1]) > 2
        values = np.where(outside, -np.inf, -0.5 * (x**2).sum(axis=1))
        holes = np.abs(x[:, 0] - 1) < 0.02
        n_holes[0] += holes.sum()
        return np.where(holes, np.nan, values), -x

    n_holes = [0]
    keywords: Any = {"check_gradient": False, "check": False, "n_draws": 200, "rng": 1}
    with pytest.warns(ConvergenceWarning) as caught:
        s = fm.mcmc.sample(holed, 2, True, n_warmup=100, plan=fm.Plan(progress=False), **keywords)
    text = next(str(w.message) for w in caught if "NaN" in str(w.message))
    found = re.search(
        r"at (\d+) of (\d+) points after the warm-up .* and at (\d+) it was -inf", text
    )
    assert found is not None
    failed, n, outside = map(int, found.groups())
    assert 10 < failed < n_holes[0]
    assert n == s.stats["n_steps"].sum()
    assert 0 < outside < 0.3 * n


def test_walkers_are_judged_by_their_autocorrelation_time() -> None:
    with pytest.warns(ConvergenceWarning, match="fewer than 50 autocorrelation times"):
        s = run(kernel=fm.mcmc.DE(), n_chains=16)
    assert len(s.warnings) == 1


def test_of_many_coordinates_some_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(4, 500, 3))
    x[0, :, 1] += 5.0
    s = fm.mcmc.Chains(
        seed=0,
        version="",
        isa="",
        settings={},
        n_evals=0,
        wall_time=0.0,
        draws=x,
        error_model="chains",
    )
    assert checks.findings(s)[0][1].startswith("R-hat is up to")
    monkeypatch.setattr(checks, "_MOST", 2 * s.n_draws)  # every second one
    assert checks.findings(s) == []


# In the background.


def test_a_handle_shows_what_there_is(whole: fm.mcmc.Chains) -> None:
    handle = fm.mcmc.start("sample", LAW, kernel=MALA(), n_warmup=120, n_draws=10**7, rng=3)
    seen = until(handle.inspect, "draws of the run")
    assert seen.status == "running"
    assert begins_like(seen, whole)
    handle.pause()
    handle.resume()
    partial = handle.abort(timeout=60)
    assert partial.status == "interrupted"
    assert partial.draws.shape[1] >= seen.draws.shape[1]
    assert handle.inspect() is partial
    done = fm.mcmc.start(fm.mcmc.extend, run(n_draws=40), 50)
    assert_same(whole, done.result(60))


def test_workers_of_an_executor() -> None:
    reference = run(python_density())
    with ThreadPoolExecutor(2) as pool:
        shards = fm.executor.Sharded(pool, rows=1)
        assert_same(reference, run(python_density(), plan=shards))
        gamma = fm.distributions.Gamma(3.0)
        assert_same(
            run(gamma, transforms={0: "log"}),
            run(gamma, transforms={0: "log"}, plan=shards),
        )


# Arguments.


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"kernel": "mela"}, "did you mean 'mala'"),
        ({"n_chains": 0}, "n_chains: 0 was given"),
        ({"n_chains": True}, "n_chains: the bool True"),
        ({"n_warmup": -1}, "n_warmup: -1"),
        ({"n_draws": 0}, "n_draws: 0"),
        ({"thin": 0}, "thin: 0"),
        ({"thin": "2"}, "thin: a str"),
        ({"pool": 1}, "pool: 1 given"),
        ({"keep_warmup": "no"}, "keep_warmup: 'no' given"),
        ({"stop": 400}, "stop: 400 given"),
        ({"stop": StopWhen(), "n_chains": 1}, "R-hat compares chains"),
        ({"max_time": 0}, "max_time: 0.0 was given"),
        ({"names": ["a", "b"]}, "3 different names"),
        ({"names": "abc"}, "3 different names"),
        ({"names": ["a", "a", "b"]}, "3 different names"),
        ({"init": "prior"}, "no prior is known here"),
        ({"init": "elsewhere"}, "one of 'jitter', 'mode', 'pathfinder'"),
        ({"init": np.zeros((3, 3))}, r"init: an array of shape \(3, 3\) given"),
        ({"init": np.full(3, np.nan)}, "init: NaN was given"),
        ({"init": np.ma.masked_equal([1.0, 2.0, 3.0], 2.0)}, "masked"),
        ({"init": fm.distributions.Normal()}, "a law of 1 coordinates given; the draws have 3"),
        ({"progress": 3}, "progress: 3 given"),
        ({"path": 3}, "path: 3 was given"),
        ({"store": 3}, "store: 3 was given"),
        ({"n_threads": 0}, "n_threads: 0"),
        ({"rng": -1}, "rng: -1"),
        ({"transforms": {"q": "log"}}, "no coordinate 'q'"),
        ({"names": 5}, "names: 5 given"),
    ],
)
def test_arguments_are_checked(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        run(**planned(**more))


def test_kernels_that_need_a_gradient_say_so() -> None:
    with pytest.raises(ArgumentError, match="MALA needs the gradient"):
        run(formula, dim=DIM)
    with pytest.raises(ArgumentError, match="'mode' climbs along the gradient"):
        run(formula, dim=DIM, kernel=RWM(), init="mode")
