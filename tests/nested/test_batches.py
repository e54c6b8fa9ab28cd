"""Chains of a batch on workers, each to its end: the same bits as without an executor."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import forms
import numpy as np
import pytest
from clock import until
from executor_help import spawned
from forms import DIM, formula
from nested_runs import PRIOR, assert_same, run
from numpy.typing import NDArray
from plans import by_units

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning, TargetError, WorkerError
from fermiac.nested import batches

Array = NDArray[np.float64]
# Chains of the tests may be short.
pytestmark = [
    pytest.mark.filterwarnings("ignore:(chains|families) :fermiac.errors.FermiacWarning"),
    pytest.mark.filterwarnings("ignore:the run ended by:fermiac.errors.ConvergenceWarning"),
]
Sharded = fm.executor.Sharded


class Seen:
    """The numbers of chains of the shards that threads of this process have run."""

    def __init__(self) -> None:
        self.chains: list[int] = []
        self.batches: set[bytes] = set()

    def clear(self) -> None:
        self.chains.clear()
        self.batches.clear()


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    noted, call = Seen(), batches._Work.__call__

    def counting(self: Any, kinds: Any, batch: Any, chains: Any, *rest: Any) -> Any:
        noted.chains.append(int(chains[0]))  # their number comes first
        noted.batches.add(batch.tobytes())
        return call(self, kinds, batch, chains, *rest)

    monkeypatch.setattr(batches._Work, "__call__", counting)
    return noted


@pytest.fixture
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(3) as pool:
        yield pool


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    with spawned(2) as pool:
        yield pool


def two_modes(x: Array) -> Any:
    """Two normal laws far apart."""
    return np.logaddexp(formula(x), formula(x + np.array([4.0, 0.0, -6.0])))


def ridge(x: Array) -> Any:
    """A narrow ridge, for which bounds are soon more expensive than chains."""
    total = -0.5 * (x[:, 0] / 3.0) ** 2
    for j in range(1, x.shape[1]):
        total = total - 0.5 * ((x[:, j] - np.sin(x[:, j - 1])) / 0.02) ** 2
    return total


WIDE = fm.distributions.Uniform([-8.0] * 5, [8.0] * 5)
CASES: dict[str, dict[str, Any]] = {
    "slice": {"sampler": "slice", "batch": 20},
    "one-by-one": {"sampler": "slice", "batch": 1, "max_iter": 200},
    "step-out": {"sampler": fm.nested.Slice(n_slices=5, direction="axes", step_out=True)},
    "rwalk": {"sampler": "rwalk", "batch": 30},
    "galilean": {"f": forms.python_density(), "sampler": "galilean"},
    "differences": {"sampler": "galilean", "gradient": "finite", "max_iter": 34},
    "circles": {"sampler": "slice", "periodic": [0], "reflective": [1]},
    "modes": {"f": two_modes, "sampler": "slice", "n_live": 150, "dlogz": 0.1},
    "auto": {"f": ridge, "prior": WIDE, "batch": 16},
    "blobs": {"f": lambda x: (formula(x), x[:, :2] ** 2), "blobs": 2, "sampler": "slice"},
}


SLOW = ("modes", "auto")


@pytest.mark.parametrize("name", CASES)
def test_bits(name: str, threads: Executor, seen: Seen) -> None:
    how = CASES[name]
    local = run(plan=fm.Plan(n_threads=1), **how)
    size = int(how.get("batch", how.get("n_live", 60) // 8))
    for n_shards in (None, 3) if name in SLOW else (None, 1, 3, 16):
        rows = None if n_shards is None else -(-size // n_shards)
        there = run(plan=Sharded(threads, rows=rows), **how)
        assert_same(local, there)
        assert (local.warnings, local.settings) == (there.warnings, there.settings)
        chains = np.isfinite(local.trace["n_moves"]).sum()
        assert len(seen.batches) == chains > 0
        if rows is not None:
            assert max(seen.chains) == rows
            assert len(seen.chains) >= chains * min(n_shards or 0, -(-size // rows))
        seen.clear()
    if name == "auto":  # points of bounds came first
        assert chains < len(local.trace["n_moves"])
    run(plan=by_units(threads, "points"), **how)
    assert not seen.chains


def test_one_barrier_a_batch(threads: Executor, seen: Seen) -> None:
    """By points there is one for each step of the chains."""
    calls: list[int] = []

    def f(x: Array) -> Any:
        calls.append(len(x))
        return formula(x)

    how = {"sampler": fm.nested.Slice(importance=False), "batch": 20}
    local = run(f, plan=fm.Plan(n_threads=1), **how)
    n_steps, n_batches = len(calls), int(np.isfinite(local.trace["n_moves"]).sum())
    assert n_steps > 15 * n_batches
    calls.clear()
    assert_same(local, run(f, plan=Sharded(threads, rows=20), **how))
    assert len(seen.chains) == len(seen.batches) == n_batches


def test_processes(processes: Executor, seen: Seen) -> None:
    how: dict[str, Any] = {"sampler": "slice", "batch": 20}
    local = run(**how)
    assert_same(local, run(plan=processes, **how))
    for n_shards in (1, 3, 16):
        assert_same(local, run(plan=Sharded(processes, rows=-(-20 // n_shards)), **how))

    there: dict[str, Any] = {"plan": by_units(processes)}
    assert_same(local, run(fm.targets.factory("forms:python_density"), **there, **how))
    how = {"sampler": fm.nested.Galilean(n_steps=6), "gradient": "finite", "batch": 20}
    assert_same(run(**how), run(fm.targets.factory("forms:python_function"), **there, **how))


def test_a_prior_that_cannot_be_sent(processes: Executor) -> None:
    """The workers get points, for which they need the likelihood alone."""
    lock = threading.Lock()

    def prior(u: Array) -> Array:
        with lock:
            return 18.0 * u - 8.0

    how: dict[str, Any] = {
        "prior": prior,
        "dim": DIM,
        "sampler": "slice",
        "batch": 30,
        "max_iter": 8,
    }
    assert_same(run(**how), run(plan=processes, **how))
    with pytest.raises(ArgumentError, match="cannot be sent to the workers"):
        run(plan=by_units(processes), **how)


def test_sections_of_long_chains(
    threads: Executor, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chains that take long come back before their ends and are sent again."""
    how: dict[str, Any] = {"sampler": "slice", "batch": 20, "max_iter": 9}
    local = run(**how)
    monkeypatch.setattr("fermiac.runs.dispatch.least_seconds", lambda *_: 1e-9)
    assert_same(local, run(plan=Sharded(threads, rows=5), **how))
    assert len(seen.chains) > 10 * 4 * len(seen.batches) > 0


class DiesOnce:
    """A likelihood that ends the process of one worker at one of its calls."""

    def __init__(self, mark: Path, main: int) -> None:
        self.mark, self.main, self.n = mark, main, 0

    def __call__(self, x: Array) -> Any:
        self.n += 1
        if self.n == 60 and os.getpid() != self.main:
            try:
                self.mark.touch(exist_ok=False)
            except FileExistsError:
                return formula(x)
            os._exit(3)
        return formula(x)


class Gone(Exception):
    """A loss, as an engine might tell of it."""


def test_lost_workers(tmp_path: Path, threads: Executor) -> None:
    how: dict[str, Any] = {"sampler": "slice", "batch": 20}
    target = DiesOnce(tmp_path / "mark", os.getpid())
    with spawned(2) as pool:
        assert_same(run(**how), run(target, plan=pool, **how))
    assert target.mark.exists()
    calls: list[int] = []

    def lost(x: Array) -> Any:
        calls.append(len(x))
        if len(calls) > 500:
            raise Gone
        return formula(x)

    with pytest.raises(WorkerError, match="lost 2 times in a row with chains ") as caught:
        run(lost, plan=Sharded(threads, rows=5, retries=1, lost=[Gone]), **how)
    assert caught.value.partial_result.n_draws >= 60  # type: ignore[attr-defined]


class MapOnly:
    """An executor that has only a method `map`."""

    size = 4

    def map(self, function: Callable[..., Any], items: Any) -> Any:
        return [function(item) for item in items]


class Job:
    """A job of a batch system that has ended."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def done(self) -> bool:
        return True

    def result(self) -> Any:
        return self.value


class Jobs:
    """An executor that starts a job for every task, as that of submitit."""

    def __init__(self) -> None:
        self.rounds: list[int] = []

    def map_array(self, function: Callable[..., Any], items: Any) -> list[Job]:
        self.rounds.append(len(items))
        return [Job(function(item)) for item in items]


Jobs.__name__, Jobs.__module__ = "Executor", "submitit.core.core"


def test_engines_that_take_rounds_of_tasks(seen: Seen) -> None:
    how: dict[str, Any] = {"sampler": "slice", "batch": 20}
    local = run(**how)
    assert_same(local, run(plan=by_units(MapOnly()), **how))
    jobs = Jobs()
    assert_same(local, run(plan=jobs, **how))
    # One for each batch of chains, and few for the points before and after them.
    n_batches = int(np.isfinite(local.trace["n_moves"]).sum())
    assert len(seen.batches) == n_batches
    assert len(jobs.rounds) < 2 * len(local.trace["n_moves"])
    assert max(jobs.rounds) <= 64
    with pytest.raises(ArgumentError, match="'auto' begins with points"):
        run(plan=jobs)
    with pytest.raises(ArgumentError, match="starts a job for every task"):
        run(plan=jobs, sampler="unif")
    with pytest.raises(ArgumentError, match="starts a job for every task"):
        run(plan=by_units(jobs, "points"), sampler="slice")


def interrupts(after: int) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        assert done < total
        if done > after:
            raise KeyboardInterrupt

    return progress


def slow(x: Array) -> Any:
    time.sleep(0.0005)
    return formula(x)


@pytest.mark.parametrize("there", [True, False])
def test_runs_that_are_resumed(there: bool, threads: Executor, tmp_path: Path) -> None:
    """Interrupted in a batch that has some of its chains, and resumed on workers, or here."""
    how: dict[str, Any] = {"sampler": "slice", "batch": 20}
    local = run(slow, **how)
    path = tmp_path / "run"
    shards = Sharded(threads, rows=1)
    for share in (0.3, 0.5, 0.7):
        with pytest.raises(KeyboardInterrupt) as caught:
            run(
                slow, store=path, **how,
                plan=fm.Plan(executor=shards, progress=interrupts(share * local.n_evals)),
            )  # fmt: skip
        partial = caught.value.partial_result  # type: ignore[attr-defined]
        assert partial.status == "interrupted"
        assert share * local.n_evals < partial.n_evals < local.n_evals
    n = len(partial.draws) - 60
    assert np.array_equal(partial.draws[:n], local.draws[:n])
    assert_same(local, run(slow, store=path, plan=threads if there else None, **how))
    # One that was stopped here goes on there.
    with pytest.raises(KeyboardInterrupt):
        run(
            slow,
            store=tmp_path / "b",
            plan=fm.Plan(progress=interrupts(0.5 * local.n_evals)),
            **how,
        )
    assert_same(local, run(slow, store=tmp_path / "b", plan=shards, **how))


def test_a_state_within_a_batch(
    threads: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is written while chains are on their way."""
    how: dict[str, Any] = {"sampler": "slice", "batch": 20, "max_iter": 9}
    local = run(**how)
    written: list[Any] = []
    write = fm._base.store.write
    with monkeypatch.context() as patch:
        patch.setattr("fermiac.runs.checkpoint._SHARE", 1e9)
        patch.setattr("fermiac._base.store.write", lambda *file: written.append(file))
        shards = Sharded(threads, rows=1)
        assert_same(local, run(plan=shards, store=tmp_path / "run", every=1e-9, **how))
    assert len(written) > 40
    for i in np.linspace(1, len(written) - 1, 7).astype(int):
        write(*written[i])
        assert_same(local, run(store=tmp_path / "run", plan=threads if i % 2 else None, **how))


def test_the_end_by_time(threads: Executor) -> None:
    """It does not wait for chains on their way, whose threads end."""
    calls = 0

    def f(x: Array) -> Any:
        nonlocal calls
        calls += 1
        time.sleep(0.01)
        return formula(x)

    slices = fm.nested.Slice(n_slices=10**6)
    with ThreadPoolExecutor(3) as pool:
        part = run(f, plan=fm.Plan(executor=pool, max_time=0.6), sampler=slices)
    # The threads of the pool have ended; one chain to its end takes more than 1e6 calls.
    assert calls < 100_000
    assert (part.status, part.converged) == ("stopped", False)
    assert part.n_draws >= 60
    # Without an executor they are equal.
    how: dict[str, Any] = {"sampler": "slice"}
    limited = fm.Plan(max_time=60.0)
    assert_same(run(plan=limited, **how), run(plan=threads, **how))


class Own(Exception):
    """An exception of a user."""


def test_errors_of_the_likelihood(threads: Executor, tmp_path: Path) -> None:
    calls = threading.local()
    error = Own("mine")

    def fails(x: Array) -> Any:
        calls.n = getattr(calls, "n", 0) + 1
        if calls.n == 100:
            raise error
        return formula(x)

    with pytest.raises(Own) as caught:
        run(fails, plan=threads, sampler="slice", store=tmp_path / "run")
    assert caught.value is error
    assert any("chains" in note for note in error.__notes__)
    assert any("of nested sampling, after" in note for note in error.__notes__)
    assert error.partial_result.n_draws >= 60  # type: ignore[attr-defined]
    assert (tmp_path / "run" / "state.safetensors").exists()
    with pytest.raises(TargetError, match="the log-likelihood is NaN at theta"):
        run(holes, plan=threads, sampler="slice")
    how: dict[str, Any] = {"on_nan": "-inf", "sampler": "slice"}
    with pytest.warns(fm.errors.FermiacWarning, match="NaN"):
        local = run(holes, **how)
    with pytest.warns(fm.errors.FermiacWarning, match="NaN"):
        there = run(holes, plan=threads, **how)
    assert_same(local, there)
    assert local.warnings == there.warnings  # with the number of these points
    # Chains that find no other point end the run, as they do here.
    for more in ({}, {"plan": threads}):
        with pytest.raises(fm.errors.NumericalError, match="found no other point") as stuck:
            run(Forgets(), sampler="slice", **more)
        assert stuck.value.partial_result.n_draws >= 60  # type: ignore[attr-defined]


class Forgets:
    """A likelihood that is low everywhere after some calls."""

    n = 0

    def __call__(self, x: Array) -> Any:
        self.n += 1
        return formula(x) - 1e9 * (self.n > 400)


def holes(x: Array) -> Any:
    """A likelihood that is NaN at some points, away from the first ones."""
    values = formula(x)
    return np.where(np.floor(1e4 * x[:, 0]) % 37 == 0, np.nan, values)


def test_runs_of_several_parts(threads: Executor, seen: Seen) -> None:
    aim = fm.nested.Dynamic(target_ess=600, target_stderr=1.0)
    how: dict[str, Any] = {"sampler": "slice", "dynamic": aim}
    assert_same(run(**how), run(plan=threads, **how))
    assert seen.chains
    seen.clear()
    how = {"sampler": fm.nested.Slice(n_slices=3), "validate": 2}
    a, b = run(**how), run(plan=threads, **how)
    assert_same(a, b)
    np.testing.assert_array_equal(a.validation["n_evals"], b.validation["n_evals"])
    assert seen.chains
    seen.clear()
    short = run(sampler="slice", dlogz=2.0, plan=threads)
    seen.clear()
    longer = short.extend(dlogz=0.5, plan=threads)
    assert seen.chains
    assert_same(longer, run(sampler="slice"), but=("n_evals",))
    late = short.extend(dlogz=0.5, n_live=60, plan=fm.Plan(executor=threads, max_time=1e-9))
    assert not late.converged


def test_a_handle_sees_and_ends_the_run(threads: Executor) -> None:
    job = fm.nested.start(
        "sample", slow, PRIOR, n_live=60, rng=5, sampler=fm.nested.Slice(n_slices=300),
        plan=threads, check=False,
    )  # fmt: skip
    assert until(job.inspect, "a view of the run").status == "running"
    job.abort()
    partial = job.result()
    assert partial.status == "interrupted"
    assert partial.n_draws >= 60


def test_units_without_chains_are_points(threads: Executor, seen: Seen) -> None:
    assert_same(run(sampler="unif"), run(plan=by_units(threads), sampler="unif"))
    assert not seen.chains


@pytest.mark.filterwarnings("ignore:an evaluation of the likelihood:fermiac.errors.FermiacWarning")
def test_a_surrogate_sends_points(threads: Executor, seen: Seen) -> None:
    how: dict[str, Any] = {"surrogate": fm.nested.Surrogate(), "n_live": 60, "sampler": "slice"}
    assert_same(run(**how), run(plan=threads, **how))
    assert not seen.chains


def test_words_of_other_chains_are_refused() -> None:
    """Damaged words of a worker are refused, and change nothing."""
    from fermiac import _core
    from fermiac.nested.job import job_of
    from fermiac.nested.problem import as_likelihood, as_prior
    from fermiac.nested.samplers import Slice

    prior = as_prior(PRIOR, None, None)
    target = as_likelihood(formula, DIM, 0, check=False)
    job = job_of(
        prior=prior, target=target, sampler=Slice(), bound="multi", n_live=60, batch=10,
        dlogz=0.5, likelihood_tol=0.0, max_evals=None, max_iter=None, max_init_blocks=10,
        periodic=(), reflective=(), on_nan="raise", names=None, blobs=(0, ()), key=1,
    )  # fmt: skip
    core = job.make()
    with pytest.raises(fm.errors.InternalError, match="no batch"):
        core.save_batch()
    assert core.run(*job.ports, None, 1, None, True) is None
    assert core.state()["n_chains"] == 10
    assert core.are_pending(0, 10)
    batch, chains = core.save_batch(), core.save_chains(2, 3)
    kinds = ("h" * DIM, "raise")
    before = core.save(*job.ports)
    rng = np.random.default_rng(0)
    for words in (batch, chains):
        for _ in range(200):
            damaged = words.copy()
            damaged[rng.integers(len(words))] ^= np.uint64(1) << np.uint64(rng.integers(64))
            given = (damaged, chains) if words is batch else (batch, damaged)
            try:
                _core.nested_chains(*job.ports, kinds, *given, 0.0)
                if words is chains:
                    job.make().load_chains(*job.ports, 2, damaged, (0, 0, 0.0))
            except (ArgumentError, TargetError, fm.errors.InternalError):
                continue
    for wrong in (chains[:-1], np.append(chains, np.uint64(0)), batch):
        with pytest.raises(ArgumentError):
            core.load_chains(*job.ports, 2, wrong, (0, 0, 0.0))
    for first in (8, 2**62):
        with pytest.raises(ArgumentError, match="none of this batch"):
            core.load_chains(*job.ports, first, chains, (0, 0, 0.0))
    assert np.array_equal(core.save(*job.ports), before)
    made, counts = _core.nested_chains(*job.ports, kinds, batch, chains, None)
    core.load_chains(*job.ports, 2, made, counts)
    assert not core.are_pending(2, 5)
    assert core.are_pending(1, 5)
    assert not core.are_pending(10, 12)
    state = core.state()
    assert state["n_evals"] > 60
    assert counts[:2] == (0, 0)


def test_the_warning_of_a_limit_is_the_same(threads: Executor) -> None:
    how: dict[str, Any] = {"sampler": "slice", "max_evals": 700}
    with pytest.warns(ConvergenceWarning):
        local = run(**how)
    with pytest.warns(ConvergenceWarning):
        there = run(plan=threads, **how)
    assert_same(local, there)
    assert there.n_evals >= 700
