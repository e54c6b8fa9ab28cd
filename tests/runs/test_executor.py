"""Executors: the same bits as a local run, and clear errors when workers fail."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import (
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from pathlib import Path
from typing import Any

import dask
import distributed
import numpy as np
import pytest
import worker_targets as targets
from child_processes import child, output
from executor_help import LAW, expect, same, spawned
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError, WorkerError
from fermiac.runs.shards import evaluation
from fermiac.targets.density import LogDensity

Array = NDArray[np.float64]
X = LAW.sample(100, rng=1)


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with spawned(2) as executor:
        yield executor


@pytest.mark.parametrize("f", [targets.moments, targets.wave, fm.targets.powers([[1, 1], [0, 4]])])
def test_a_process_pool_gives_the_bits_of_a_local_run(pool: Executor, f: Any) -> None:
    local = expect(f)
    for n_workers in (1, 2, 3):
        shards = fm.executor.Sharded(pool, n_workers=n_workers)
        assert same(expect(f, plan=shards), local)
    assert same(expect(f, plan=fm.executor.Sharded(pool, rows=97)), local)
    assert same(expect(f, plan=pool), local)


@pytest.mark.parametrize("method", ["mc", "paper"])
def test_every_method_takes_threads(method: str) -> None:
    local = expect(targets.moments, method=method)
    for n_workers in (1, 2, 3):
        with ThreadPoolExecutor(n_workers) as executor:
            assert same(expect(targets.moments, method=method, plan=executor), local)


@pytest.mark.skipif("forkserver" not in multiprocessing.get_all_start_methods(), reason="POSIX")
def test_a_fork_server() -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("forkserver")) as executor:
        assert same(expect(targets.moments, plan=executor), expect(targets.moments))


def test_a_dask_cluster(tmp_path: Path) -> None:
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        executor = client.get_executor()
        assert fm.executor.Sharded(executor).n_workers == 2
        local = expect(lambda x: targets.moments(x) + 1)
        assert same(expect(lambda x: targets.moments(x) + 1, plan=executor), local)
        with pytest.raises(RuntimeError, match="too high") as caught:
            expect(targets.FailsAbove(2.0), plan=executor)
        assert any("rows" in note for note in caught.value.__notes__)
        dies = targets.DiesOnce(tmp_path / "mark")
        assert same(expect(dies, plan=executor), expect(targets.moments))


def test_the_number_of_workers_is_found(pool: Executor) -> None:
    assert fm.executor.Sharded(pool).n_workers == 2
    assert repr(fm.executor.Sharded(pool, 3, 10)) == (
        "Sharded(ProcessPoolExecutor, n_workers=3, rows=10)"
    )


class Counting(Executor):
    """Runs what it is given on one thread and sees how much waits."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(1)
        self.pending: set[Future[Any]] = set()
        self.most = 0

    def submit(self, f: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = self.pool.submit(f, *args, **kwargs)
        self.pending = {p for p in self.pending if not p.done()} | {future}
        self.most = max(self.most, len(self.pending))
        return future


def test_at_most_two_shards_a_worker_are_handed_out() -> None:
    executor = Counting()
    expect(targets.moments, plan=fm.executor.Sharded(executor, n_workers=2, rows=50))
    assert 1 <= executor.most <= 4
    executor.pool.shutdown()


class Rubbish(Executor):
    """Gives something that is not the work's result."""

    def __init__(self, gives: Any, is_future: bool = True) -> None:
        self.gives, self.is_future = gives, is_future

    def submit(self, f: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not self.is_future:
            return self.gives
        future: Future[Any] = Future()
        future.set_result(self.gives)
        return future


@pytest.mark.parametrize(
    "executor",
    [
        Rubbish(None),  # asks for the target, again and again
        Rubbish(3),
        Rubbish("values"),
        Rubbish(()),
        Rubbish((np.zeros(1),)),
        Rubbish((np.array(1.0),)),
        Rubbish(([1.0, 2.0],)),
        Rubbish(None, is_future=False),
        Rubbish([1.0], is_future=False),
    ],
)
def test_an_executor_that_returns_rubbish(executor: Any) -> None:
    with pytest.raises(WorkerError, match=r"Rubbish: .* needed; it must run the function"):
        expect(targets.moments, plan=executor)
    with pytest.raises(WorkerError, match="Rubbish: "):
        fm.nested.sample(
            targets.moments, fm.distributions.Uniform([0.0], [1.0]), n_live=20, rng=0,
            plan=executor,
        )  # fmt: skip


def test_an_executor_may_not_tell_how_many_workers_it_has() -> None:
    executor = Counting()
    assert fm.executor.Sharded(executor).n_workers is None
    expect(targets.moments, plan=executor)
    assert 1 <= executor.most <= 64
    executor.pool.shutdown()


@pytest.mark.filterwarnings("ignore:all .* values of f")
def test_workers_use_one_thread(pool: Executor) -> None:
    assert fm.importance.expect(
        targets.threads_here, LAW, n=500, rng=0, method="mc", plan=pool
    ).mean == pytest.approx(1.0)
    with ThreadPoolExecutor(1) as threads:
        fm.set_num_threads(3)
        try:
            one = expect(targets.threads_here, method="mc", plan=threads)
            assert fm.get_num_threads() == 3
        finally:
            fm.set_num_threads(None)
    assert one.mean == pytest.approx(1.0)


def test_work_is_spread_over_the_processes(pool: Executor) -> None:
    seen = set()
    with evaluated(targets.identity_of_the_process, pool) as f:
        for _ in range(50):
            seen |= set(f(X))
    assert len(seen) == 2
    assert os.getpid() not in seen


def test_a_target_may_write_to_its_batch(pool: Executor) -> None:
    local = expect(targets.writes_to_its_batch)
    assert same(expect(targets.writes_to_its_batch, plan=pool), local)
    with ThreadPoolExecutor(2) as threads:
        assert same(expect(targets.writes_to_its_batch, plan=threads), local)


def test_a_large_target_is_sent_when_it_is_asked_for(pool: Executor) -> None:
    local = expect(targets.Large())
    assert same(expect(targets.Large(), plan=pool), local)


def evaluated(target: Any, executor: Any) -> Any:
    """The target as a method gets it."""
    manager = evaluation(
        target,
        executor=executor,
        log=None,
        identity=dict,
        n_threads=1,
        report=None,
    )

    class Manager:
        def __enter__(self) -> Any:
            return manager.__enter__()[0]

        def __exit__(self, *error: Any) -> Any:
            return manager.__exit__(*error)

    return Manager()


@pytest.mark.parametrize("factory", [None, "worker_targets:make_gaussian"])
def test_log_densities_and_their_gradients(pool: Executor, factory: str | None) -> None:
    target: Any = targets.Gaussian()
    made = target if factory is None else fm.targets.as_target(fm.targets.factory(factory))
    with evaluated(made, pool) as sharded:
        assert isinstance(sharded, LogDensity)
        assert (sharded.dim, sharded.has_gradient) == (2, True)
        np.testing.assert_array_equal(sharded.log_density(X), target.log_density(X))
        values, gradients = sharded.log_density_and_gradient(X)
        np.testing.assert_array_equal(values, target.log_density(X))
        np.testing.assert_array_equal(gradients, -X)


def test_a_target_from_a_factory(pool: Executor) -> None:
    local = expect(targets.make_moments(2.0))
    factory = fm.targets.factory("worker_targets:make_moments", scale=2.0)
    assert repr(factory) == "factory('worker_targets:make_moments', scale=2.0)"
    deep: Any = 2.0
    for _ in range(3000):
        deep = [deep]
    assert repr(fm.targets.factory("worker_targets:make_moments", deep)).endswith("<list>)")
    assert same(expect(factory), local)
    assert same(expect(factory, plan=pool), local)
    # What it makes may have a lock, parameters by name and further arguments.
    locked = fm.targets.factory("worker_targets:make_locked")
    with pytest.raises(ArgumentError, match="cannot be sent"):
        expect(locked.made(), plan=pool)
    named: dict[str, Any] = {"params": ["a", "b"], "args": (2.0,)}
    assert same(expect(locked, plan=pool, **named), expect(locked.made(), **named))
    assert same(expect(locked, **named), expect(locked.made(), **named))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("worker_targets", "module:function"),
        (":f", "module:function"),
        (3, "module:function"),
        ("no_such_module:f", "cannot be found: No module named"),
        ("worker_targets:no_such", "cannot be found: module"),
        ("worker_targets:X", "cannot be found"),
        ("worker_targets:np.pi", "is a float, no function"),
        ("worker_targets:make_nothing", "gave a NoneType; it must give a target"),
    ],
)
def test_factories_that_do_not_work(spec: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        fm.targets.factory(spec)(X)


def test_what_cannot_be_pickled(pool: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = threading.Lock()

    def locked(x: Array) -> Array:
        with lock:
            return x[:, 0]

    with pytest.raises(ArgumentError, match=r"give fermiac\.targets\.factory\('module:function'\)"):
        expect(locked, plan=pool)
    # Threads share it.
    with ThreadPoolExecutor(2) as threads:
        assert same(expect(locked, plan=threads), expect(locked))
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(ArgumentError, match="define it at the top of a module"):
        expect(lambda x: x[:, 0], plan=pool)


@pytest.mark.parametrize("executor", ["pool", 3, map])
def test_what_is_no_executor(executor: Any) -> None:
    with pytest.raises(ArgumentError, match=r"a concurrent\.futures\.Executor is needed, a dask"):
        expect(targets.moments, plan=executor)
    for argument, wrong in [("rows", 0), ("n_workers", 0), ("retries", -1), ("lost", KeyError)]:
        with pytest.raises(ArgumentError, match=argument):
            fm.executor.Sharded(ThreadPoolExecutor(1), **{argument: wrong})
    with pytest.raises(ArgumentError, match="the class ThreadPoolExecutor given"):
        expect(targets.moments, plan=ThreadPoolExecutor)


def test_an_exception_of_the_target(pool: Executor) -> None:
    with pytest.raises(RuntimeError, match="too high") as caught:
        expect(targets.FailsAbove(2.0), plan=pool)
    notes = "\n".join(caught.value.__notes__)
    assert "raised in a worker of ProcessPoolExecutor, rows " in notes
    assert "in worker process " in notes
    # The pool lives on.
    assert same(expect(targets.moments, plan=pool), expect(targets.moments))


def test_an_exception_that_cannot_travel(pool: Executor) -> None:
    with pytest.raises(
        TargetError, match=r"raised Unportable, which cannot be pickled(.|\n)*worker_targets\.py"
    ):
        expect(targets.FailsAbove(2.0, targets.Unportable), plan=pool)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (np.sum, "gave one number for a batch"),
        (np.transpose, "transpose it"),
        (np.abs, None),
    ],
)
def test_shapes_are_checked_in_the_workers(pool: Executor, f: Any, message: str | None) -> None:
    if message is None:
        assert expect(f, plan=pool).mean.shape == (2,)
        return
    with pytest.raises(TargetError, match=message):
        expect(f, plan=pool)


def test_progress_counts_shards() -> None:
    seen: list[tuple[int, int]] = []

    def slow(x: Array) -> Array:
        time.sleep(0.03)
        return x[:, 0]

    with ThreadPoolExecutor(1) as executor:
        fm.importance.expect(
            slow,
            LAW,
            n=4000,
            rng=0,
            method="mc",
            plan=fm.Plan(
                executor=fm.executor.Sharded(executor, rows=400),
                progress=lambda done, total: seen.append((done, total)),
            ),
        )
    assert seen[-1] == (4000, 4000)
    assert seen == sorted(seen)


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_ctrl_c_cancels_what_is_pending(tmp_path: Path) -> None:
    code = """
        import signal, threading
        from concurrent.futures import ThreadPoolExecutor
        import fermiac as fm
        from clock import LIMIT
        calls, pressed = [], threading.Event()
        def f(x):
            calls.append(len(x))
            print("called", flush=True)
            assert pressed.wait(LIMIT)
            return x[:, 0]
        def heard(*_):
            pressed.set()
            raise KeyboardInterrupt
        signal.signal(signal.SIGINT, heard)
        pool = ThreadPoolExecutor(1)
        shards = fm.executor.Sharded(pool, rows=10)
        try:
            law = fm.distributions.Normal()
            fm.importance.expect(f, law, n=10_000, rng=0, plan=shards, check=False)
        except KeyboardInterrupt:
            pool.shutdown()
            print(len(calls))
    """
    process = child(code)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "called"
    process.send_signal(signal.SIGINT)
    assert int(output(process)[-1]) <= 4  # of a thousand


def test_a_pool_that_is_shut_down(pool: Executor) -> None:
    with ThreadPoolExecutor(1) as closed:
        pass
    with pytest.raises(WorkerError, match="it must stay open until the run has ended") as caught:
        expect(targets.moments, plan=closed)
    assert not hasattr(caught.value, "__notes__")

    started = threading.Event()

    def slow(x: Array) -> Array:
        started.set()
        time.sleep(0.05)
        return x[:, 0]

    executor = ThreadPoolExecutor(1)
    shards = fm.executor.Sharded(executor, n_workers=4, rows=10)
    run = fm.importance.start("expect", slow, LAW, n=3000, rng=0, plan=shards)
    assert started.wait(60)
    # What waits in the pool is cancelled, and never said to be done.
    executor.shutdown(wait=True, cancel_futures=True)
    with pytest.raises(WorkerError, match="it must stay open until the run has ended"):
        run.result()


def test_a_buffer_that_the_target_uses_again() -> None:
    local = threading.local()

    def reuses(x: Array) -> Array:
        if not hasattr(local, "buffer"):
            local.buffer = np.empty(10_000)
        return np.multiply(x[:, 0], x[:, 1], out=local.buffer[: len(x)])

    with ThreadPoolExecutor(2) as threads:
        shards = fm.executor.Sharded(threads, rows=20)
        assert same(expect(reuses, plan=shards), expect(lambda x: x[:, 0] * x[:, 1]))
