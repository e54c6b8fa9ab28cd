"""Chains on workers, section by section: the same bits as without an executor, for every kernel."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nested_targets as targets
import numpy as np
import pytest
from mcmc_help import assert_same
from plans import by_units, planned

import fermiac as fm
from fermiac.errors import ConvergenceWarning, FermiacWarning
from fermiac.mcmc import sections
from fermiac.mcmc.stop import StopWhen

pytestmark = pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")


def run(target: Any = targets.bowl, **given: Any) -> Any:
    settings: dict[str, Any] = {"n_chains": 6, "n_draws": 60, "kernel": "nuts", "rng": 3}
    gradient = () if isinstance(target, fm.targets.LogDensity) else (2, targets.slope)
    return fm.mcmc.sample(target, *gradient, **planned(**{**settings, **given}))


def check(a: Any, b: Any) -> None:
    """Assert that two runs are the same to the last bit."""
    assert_same(a, b)
    assert a.warmup_draws is b.warmup_draws or np.array_equal(a.warmup_draws, b.warmup_draws)
    for name in a.warmup_stats:
        np.testing.assert_array_equal(a.warmup_stats[name], b.warmup_stats[name])
    assert a.adaptation["step_sizes"] == b.adaptation["step_sizes"]
    assert (a.n_evals, a.seed, a.warnings, a.status) == (b.n_evals, b.seed, b.warnings, b.status)
    assert a.settings == b.settings


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The transitions of all sections of the test, where they are run by threads."""
    seen: list[int] = []
    call = sections.Work.__call__

    def counting(self: Any, n: int, *rest: Any) -> Any:
        seen.append(n)
        return call(self, n, *rest)

    monkeypatch.setattr(sections.Work, "__call__", counting)
    return seen


def test_pooled_chains_on_threads(counted: list[int]) -> None:
    whole = run(keep_warmup=True)
    assert whole.settings["n_warmup"] < 1000  # the end of the warm-up is decided by all chains
    for n_workers in (1, 2, 8):
        with ThreadPoolExecutor(n_workers) as pool:
            check(run(keep_warmup=True, plan=pool), whole)
            assert counted
            for n_shards in (1, 3):
                counted.clear()
                shards = fm.executor.Sharded(pool, rows=6 // n_shards)
                check(run(keep_warmup=True, plan=shards), whole)
                assert {*counted} == {6 // n_shards}
            counted.clear()
            check(run(keep_warmup=True, plan=by_units(pool, "points")), whole)
            assert not counted


def test_pooled_chains_on_processes() -> None:
    whole = run(keep_warmup=True)
    tempered = {"kernel": fm.mcmc.Tempered(fm.mcmc.RWM(), LAW), "n_warmup": 60, "n_chains": 3}
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        check(run(keep_warmup=True, plan=pool), whole)
        for n_shards in (1, 3):
            shards = fm.executor.Sharded(pool, rows=6 // n_shards)
            check(run(keep_warmup=True, plan=shards), whole)
        target = fm.targets.as_target(fm.targets.factory("nested_targets:make_slope"))
        check(run(target, plan=pool), run())
        check(run(plan=pool, **tempered), run(**tempered))
        # A kernel that cannot be pickled leaves the points for the workers.
        kernel = fm.mcmc.Gibbs(
            [("a", fm.mcmc.RWM()), ("b", fm.mcmc.Conditional(lambda x, rng: rng.normal()))],
            blocks={"a": 0, "b": 1},
        )
        check(run(plan=pool, kernel=kernel), run(kernel=kernel))


LAW = fm.distributions.Normal([0.0, 0.0], 4.0)
KERNELS = [
    fm.mcmc.MALA(),
    fm.mcmc.HMC(),
    fm.mcmc.RWM(),
    fm.mcmc.Slice(),
    fm.mcmc.WALNUTS(),
    fm.mcmc.MCLMC(),
    fm.mcmc.Tempered(fm.mcmc.RWM(), LAW),
    fm.mcmc.Gibbs(
        [("a", fm.mcmc.MALA()), ("b", fm.mcmc.Conditional(lambda x, rng: rng.normal()))],
        blocks={"a": 0, "b": 1},
    ),
    fm.mcmc.DE(),
    fm.mcmc.DE(snooker=0.5, n_walkers=6),
]


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: type(kernel).__name__)
@pytest.mark.parametrize("pool", [True, False], ids=["pooled", "apart"])
def test_kernels(kernel: Any, pool: bool, threads: Any, counted: list[int]) -> None:
    n_chains = 18 if getattr(kernel, "n_walkers", None) else 6
    given = {
        "kernel": kernel, "n_chains": n_chains, "n_warmup": 130, "keep_warmup": True, "thin": 3,
        "pool": pool,
        # Anything that concerns all chains, so that they are not made one by one.
        "stop": StopWhen(ess=10**9, rhat=None, every=40),
    }  # fmt: skip
    whole = run(**given)
    check(run(plan=by_units(threads), **given), whole)
    assert counted


def test_targets(threads: Any, counted: list[int]) -> None:
    gamma = fm.distributions.Gamma([3.0, 2.0])
    for target, given in [
        (fm.targets.banana(), {}),
        (fm.targets.as_target(gamma, 2), {"transforms": "auto"}),
        (fm.targets.as_target(targets.bowl, 2, gradient="finite"), {"transforms": {0: "log"}}),
        (fm.targets.as_target(targets.bowl, 2, gradient="finite"), {}),
    ]:
        whole = run(target, n_warmup=50, **given)
        check(run(target, n_warmup=50, plan=threads, **given), whole)
        assert counted
        counted.clear()


def test_chains_that_have_not_arrived(threads: Any) -> None:
    start = np.zeros((6, 2))
    start[4] = 1e6
    settings = {"init": start, "kernel": fm.mcmc.MALA(step_size=0.1), "n_warmup": 80}
    whole = run(**settings)
    assert "chains 4" in " ".join(whole.warnings)
    check(run(plan=threads, **settings), whole)


def test_runs_that_are_resumed(
    threads: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fermiac.runs.cutting.LEAST_WHOLE", 0.01)
    given = {"n_chains": 3, "keep_warmup": True, "rng": 1}
    whole = run(slow, **given)
    n_warmup = whole.settings["n_warmup"]
    for at in (0.1, 0.97):  # of a warm-up of 1000 transitions, which ends early
        # With a folder of draws the store has the state of all chains.
        kept = {"store": tmp_path / f"{at}", "path": tmp_path / f"{at}-draws"}

        def stops(done: int, total: int, at: float = at) -> None:
            if done > at * total:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt) as caught:
            run(slow, **given, **kept, plan=fm.Plan(executor=threads, progress=stops))
        partial = caught.value.partial_result  # type: ignore[attr-defined]
        assert partial.status == "interrupted"
        n = partial.draws.shape[1]
        if at > 0.5:
            assert 0 < n < 60
            assert np.array_equal(partial.draws, whole.draws[:, :n])
        else:
            made = partial.warmup_draws.shape[1]
            assert 0 < made < n_warmup
            assert np.array_equal(partial.warmup_draws, whole.warmup_draws[:, :made])
        # On other workers, and here.
        again = run(slow, **given, **kept, plan=threads if at > 0.5 else None)
        assert_same(again, whole)
        assert np.array_equal(again.warmup_draws, whole.warmup_draws)
        assert again.adaptation["step_sizes"] == whole.adaptation["step_sizes"]


def test_a_resumed_run_some_of_whose_chains_are_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sections.SectionsOnWorkers, "_length", lambda *_: 2**62)
    given = {"n_chains": 3, "n_warmup": 100, "n_draws": 60}
    whole = run(slow, **given)
    kept = {"store": tmp_path / "state", "path": tmp_path / "draws"}

    def stops(done: int, total: int) -> None:
        if done > total - 3 * 60:
            raise KeyboardInterrupt

    with ThreadPoolExecutor(1) as pool:
        one = fm.executor.Sharded(pool, rows=1)
        with pytest.raises(KeyboardInterrupt):
            run(slow, **given, **kept, plan=fm.Plan(executor=one, progress=stops))
        ends: list[list[int]] = []
        to_goal = sections.SectionsOnWorkers._to_goal

        def watched(self: Any, sampler: Any, goal: int, record: Any) -> Any:
            ends.append([goal - k for k in sections.made(sampler)])
            return to_goal(self, sampler, goal, record)

        monkeypatch.setattr(sections.SectionsOnWorkers, "_to_goal", watched)
        again = run(slow, **given, **kept, plan=one)
    assert 0 in ends[0]
    assert max(ends[0]) > 0
    assert_same(again, whole)


def test_the_result_can_be_continued_and_lie_on_the_disk(threads: Any, tmp_path: Path) -> None:
    whole = run(n_draws=90)
    here = run(plan=threads, path=tmp_path / "x", n_draws=90)
    assert np.array_equal(here.draws, whole.draws)
    assert np.array_equal(fm.mcmc.open(tmp_path / "x").draws, whole.draws)
    law = fm.distributions.Normal([0.0, 1.0])
    part = fm.mcmc.sample(law, rng=1, n_draws=200, plan=threads)
    assert part._state is not None


def test_draws_after_a_short_time(threads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sections of few transitions let all chains move on together."""
    monkeypatch.setattr("fermiac.runs.cutting.LEAST_WHOLE", 0.01)
    seen: list[int] = []
    at = 0

    def stops(done: int, total: int) -> None:
        nonlocal at
        seen.append(done)
        if done > 0.5 * total:
            at = slow.n
            raise KeyboardInterrupt

    slow.n = 0
    with pytest.raises(KeyboardInterrupt) as caught:
        fm.mcmc.sample(
            slow, 2, lambda x: -x, n_chains=4, n_warmup=20, n_draws=160, rng=0,
            plan=fm.Plan(executor=threads, progress=stops),
        )  # fmt: skip
    assert len({*seen}) > 5
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    assert 40 < partial.draws.shape[1] < 160
    # The threads end, and do not go on with a run that has ended: as much again was left.
    threads.shutdown()
    assert slow.n < 1.5 * at


class _Slow:
    n = 0

    def __call__(self, x: Any) -> Any:
        self.n += 1
        time.sleep(0.0005)
        return targets.bowl(x)


slow = _Slow()


class DiesOnce:
    """A log-density that ends the process of one worker at one of its calls."""

    def __init__(self, mark: Path, main: int) -> None:
        self.mark, self.main, self.n = mark, main, 0

    def __call__(self, x: Any) -> Any:
        self.n += 1
        if self.n == 40 and os.getpid() != self.main:
            try:
                self.mark.touch(exist_ok=False)
            except FileExistsError:
                return targets.bowl(x)
            os._exit(3)
        return targets.bowl(x)


def test_a_lost_section_is_repeated(tmp_path: Path) -> None:
    target = DiesOnce(tmp_path / "mark", os.getpid())
    whole = run(check=False)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        check(run(target, check=False, plan=pool), whole)
    assert target.mark.exists()


def test_errors_of_the_target(threads: Any) -> None:
    calls = threading.local()

    def fails(x: Any) -> Any:
        calls.n = getattr(calls, "n", 0) + 1
        if calls.n > 400:
            raise RuntimeError("too late")
        return targets.bowl(x)

    with pytest.raises(RuntimeError, match="too late") as caught:
        run(fails, plan=fm.executor.Sharded(threads, rows=1), check=False)
    notes = caught.value.__notes__
    assert any("chains" in note and "of 6" in note for note in notes)
    assert any("chains were at transition" in note for note in notes)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        warnings.simplefilter("ignore", FermiacWarning)
        timed = fm.Plan(executor=threads, max_time=60.0)
        whole = run(plan=fm.Plan(max_time=60.0))
        check(run(plan=timed), whole)
        check(run(plan=by_units(timed)), whole)


class Walk:
    """A kernel with a memory of its own: its steps shrink."""

    def init(self, target: Any, x0: Any) -> Any:
        self.target, self.scale = target, 2.0
        return x0, target(x0[None])[0]

    def step(self, rng: Any, state: Any) -> Any:
        x, value = state
        self.scale *= 0.99
        y = x + self.scale * rng.normal(len(x))
        there = self.target(y[None])[0]
        moves = np.log(rng.uniform()) < there - value
        return ((y, there), True) if moves else (state, False)


@pytest.mark.parametrize("composed", [False, True])
def test_kernels_with_a_memory_in_python_stay_here(
    composed: bool, threads: Any, counted: list[int]
) -> None:
    kernel: Any = Walk()
    if composed:
        kernel = fm.mcmc.Gibbs([("a", Walk()), ("b", fm.mcmc.RWM())], blocks={"a": 0, "b": 1})
    given = {"kernel": kernel, "n_warmup": 40}
    check(run(plan=threads, **given), run(**given))
    check(run(plan=by_units(threads), **given), run(**given))
    assert not counted


def test_wide_kernels_send_points_to_many_workers(threads: Any, counted: list[int]) -> None:
    kernel = fm.mcmc.Tempered(fm.mcmc.RWM(), LAW)
    whole = run(kernel=kernel, n_warmup=50, n_chains=2)
    check(run(kernel=kernel, n_warmup=50, n_chains=2, plan=threads), whole)
    assert counted
    counted.clear()
    many = fm.executor.Sharded(threads, n_workers=3)
    check(run(kernel=kernel, n_warmup=50, n_chains=2, plan=many), whole)
    check(run(kernel="de", plan=threads), run(kernel="de"))
    assert not counted
    apart = {"kernel": fm.mcmc.DE(n_walkers=8), "n_chains": 24}
    check(run(**apart, plan=threads), run(**apart))
    assert counted
