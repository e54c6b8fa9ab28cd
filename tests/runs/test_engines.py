"""Engines without a package of their own: pools, and executors made for the tests."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import worker_targets as targets
from clock import until
from executor_help import expect, same, spawned

import fermiac as fm
from fermiac.errors import ArgumentError, WorkerError
from fermiac.runs import dispatch, engines, silence, worker
from fermiac.runs.cutting import n_shards
from fermiac.runs.dispatch import Dispatch, Sharding
from fermiac.runs.engines import engine_of


class MapOnly:
    """What has a method `map` alone, as the pools of schwimmbad."""

    size = 2

    def map(self, f: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(f, items))


class ForgetsOne(MapOnly):
    def map(self, f: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return super().map(f, items)[:-1]


def test_no_engine_is_imported() -> None:
    code = (
        "import sys, fermiac as fm; fm.executor.Sharded; print([m for m in ('dask', 'distributed', "
        "'ray', 'joblib', 'loky', 'parsl', 'submitit', 'mpi4py', 'multiprocessing.pool') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def pool() -> Iterator[Any]:
    with multiprocessing.get_context("spawn").Pool(2) as made:
        yield made


def test_a_pool_of_multiprocessing(pool: Any) -> None:
    assert fm.executor.Sharded(pool).n_workers == 2
    assert same(expect(targets.moments, plan=pool), expect(targets.moments))
    assert same(expect(targets.Large(), plan=pool), expect(targets.Large()))
    with pytest.raises(RuntimeError, match="too high") as caught:
        expect(targets.FailsAbove(2.0), plan=pool)
    assert "raised in a worker of Pool, rows " in "\n".join(caught.value.__notes__)


def test_a_pool_of_threads_shares_the_target() -> None:
    lock = threading.Lock()

    def locked(x: Any) -> Any:
        with lock:
            return targets.moments(x)

    with ThreadPool(2) as threads:
        assert same(expect(locked, plan=threads), expect(targets.moments))
    with pytest.raises(WorkerError, match="it must stay open until the run has ended"):
        expect(locked, plan=threads)


def test_an_object_with_map_alone() -> None:
    assert fm.executor.Sharded(MapOnly()).n_workers == 2
    assert same(expect(targets.moments, plan=MapOnly()), expect(targets.moments))
    with pytest.raises(RuntimeError, match="gave no result for 1 of"):
        expect(targets.moments, plan=ForgetsOne())


def module_ray(initialised: bool) -> Any:
    """The part of ray that is used, with threads for its workers."""
    ray: Any = ModuleType("ray")
    ray.threads = ThreadPoolExecutor(2)
    ray.puts = 0

    class Reference:
        def __init__(self, future: Future[Any]) -> None:
            self._future = future

        def future(self) -> Future[Any]:
            return self._future

    def put(value: Any) -> Any:
        ray.puts += 1
        return value

    def remote(function: Any) -> Any:
        class Remote:
            @staticmethod
            def remote(*args: Any) -> Reference:
                return Reference(ray.threads.submit(function, *args))

        return Remote

    ray.put, ray.remote = put, remote
    ray.is_initialized = lambda: initialised
    ray.cluster_resources = lambda: {"CPU": 2.0}
    ray.cancel = lambda reference: reference._future.cancel()
    return ray


def test_the_module_ray() -> None:
    with pytest.raises(ArgumentError, match=r"call ray\.init\(\) first"):
        expect(targets.moments, plan=module_ray(False))
    ray = module_ray(True)
    assert repr(fm.executor.Sharded(ray)) == "Sharded(ray, n_workers=2, rows=None)"
    assert same(expect(targets.moments, plan=ray), expect(targets.moments))
    assert ray.puts == 0
    assert same(expect(targets.Large(), plan=ray), expect(targets.Large()))
    assert ray.puts == 1
    ray.threads.shutdown()


def test_jobs_are_not_for_single_points() -> None:
    kind = type("Executor", (), {"__module__": "submitit.core.core"})
    with pytest.raises(ArgumentError, match="starts a job for every task, which takes seconds"):
        expect(targets.moments, plan=kind())


class Spy(Executor):
    """Counts how often the work itself is sent."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self._max_workers = executor._max_workers  # type: ignore[attr-defined]
        self.sent = self.calls = 0

    def submit(self, f: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.calls += 1
        self.sent += args[0][1] is not None
        return self.executor.submit(f, *args, **kwargs)


def test_a_large_target_is_sent_to_workers_that_ask(tmp_path: Path) -> None:
    with spawned(2) as executor:
        spy = Spy(executor)
        got = expect(targets.Heavy(5, tmp_path), plan=fm.executor.Sharded(spy, rows=50))
        assert same(got, expect(targets.moments))
    assert spy.calls > 50
    # An answer may reach a worker that has the work by now; it is then sent again.
    assert spy.sent <= 4
    assert len(list(tmp_path.iterdir())) <= 2


class Weighed(ProcessPoolExecutor):
    """Weighs what goes to its processes."""

    heaviest = 0

    def submit(self, f: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.heaviest = max(self.heaviest, len(pickle.dumps((f, args))))
        return super().submit(f, *args, **kwargs)


def test_processes_of_this_machine_read_a_large_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loads").mkdir()
    (tmp_path / "files").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "files"))
    with Weighed(2, multiprocessing.get_context("spawn")) as executor:
        got = expect(targets.Heavy(5, tmp_path / "loads"), plan=executor)
    assert same(got, expect(targets.moments))
    assert executor.heaviest < 200_000
    assert len(list((tmp_path / "loads").iterdir())) <= 2
    assert not list((tmp_path / "files").iterdir())


class Virtual(Executor):
    """Workers that take some time and no processor; their number may change."""

    def __init__(self, n_workers: int, seconds: float, tells: bool) -> None:
        self.n, self.seconds = n_workers, seconds
        self.waiting: list[Any] = []
        self.busy = self.most = self.widest = 0
        self.lock = threading.Lock()
        if tells:
            type(self)._max_workers = property(lambda self: self.n)  # type: ignore[attr-defined]

    def submit(self, f: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        with self.lock:
            self.waiting.append((future, args[0][-1]))
            self.widest = max(self.widest, len(self.waiting) + self.busy)
            self._start()
        return future

    def _start(self) -> None:
        while self.waiting and self.busy < self.n:
            self.busy += 1
            self.most = max(self.most, self.busy)
            self._begin(*self.waiting.pop(0))

    def _begin(self, future: Future[Any], args: Any) -> None:
        seconds = self.seconds * (args[1] - args[0])
        timer = threading.Timer(seconds, self._end, (future, seconds, args))
        timer.daemon = True
        timer.start()

    def _end(self, future: Future[Any], seconds: float, args: Any) -> None:
        future.set_result((worker.DONE, "a", seconds, args))
        with self.lock:
            self.busy -= 1
            self._start()


class Told(Virtual):
    pass


class Growing(Virtual):
    """One worker, and eight after some shards have ended."""

    n_ended = 0

    def _end(self, *what: Any) -> None:
        self.n_ended += 1
        self.n = 8 if self.n_ended > 10 else 1
        super()._end(*what)


def dispatched(
    executor: Executor, n: int, plan: Sharding | None = None, align: int = 1, **settings: Any
) -> Any:
    """The shards of a range of units, in order."""
    work = Dispatch(
        engine_of(executor), plan or Sharding(), targets.moments, lambda done: None, **settings
    )
    shards = [(a, b) for a, b, _ in work(n, lambda a, b: (a, b), lambda *_: None, align)]
    shards.sort()
    assert [a for a, _ in shards[1:]] == [b for _, b in shards[:-1]]
    assert (shards[0][0], shards[-1][1]) == (0, n)
    return shards


def test_workers_that_are_not_told_are_found() -> None:
    executor = Virtual(40, 0.02, tells=False)
    dispatched(executor, 600, Sharding(rows=1))
    assert executor.most == 40
    assert executor.widest <= 256


def test_workers_that_come_get_work() -> None:
    executor = Growing(1, 0.02, tells=True)
    dispatched(executor, 400, Sharding(rows=2))
    assert executor.most == 8
    assert 10 < executor.n_ended


def test_shards_of_whole_calls_start_small_and_are_aligned() -> None:
    shards = dispatched(Told(4, 1e-6, tells=True), 6400, whole=True, align=64)
    assert all(a % 64 == 0 for a, _ in shards)
    assert 4 <= len(shards) <= 80


def test_numbers_of_shards() -> None:
    # Cheap batches are not cut, however many workers there are.
    assert n_shards(1e-3, 10_000, 1e-3, False) == 2
    # Work that keeps everybody busy is cut finely, and no finer than the coordinator can hand out.
    assert n_shards(1e6, 10, 1e-3, False) == 200
    assert n_shards(1e6, 10_000, 1e-3, False) == 50_000
    assert n_shards(float("inf"), 4, 1e-3, False) == 80
    # Between the two, each shard takes as long as the coordinator needs for all of them, twice.
    few = n_shards(65_536 * 0.1, 10_000, 1e-3, False)
    assert few == pytest.approx(np.sqrt(6553.6 / 2e-3), rel=1e-2)
    # Whole calls: a shard a worker where they are short, 10 s or 2 W s where they are long.
    assert n_shards(8.0, 16, 1e-3, True) == 16
    assert n_shards(1000.0, 16, 1e-3, True) == 100
    assert n_shards(1e9, 10_000, 2.4e-3, True) == 200_000


def test_an_executor_that_never_tells_of_an_end() -> None:
    class Silent(Future):  # type: ignore[type-arg]
        def add_done_callback(self, fn: Any) -> None:
            pass

    class Quiet(Executor):
        def submit(self, f: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            future = Silent()
            future.set_result(f(*args, **kwargs))
            return future

    got = expect(targets.moments, method="mc", plan=Quiet())
    assert same(got, expect(targets.moments, method="mc"))


class Silent(Executor):
    """Keeps some tasks for itself: a worker that never answers."""

    def __init__(self, keeps: int) -> None:
        self.left, self.threads = keeps, ThreadPoolExecutor(1)
        self._max_workers = 2

    def submit(self, f: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.left:
            self.left -= 1
            return Future()
        return self.threads.submit(f, *args)


def test_shards_without_a_word_are_made_again() -> None:
    silent = Silent(keeps=1)
    shards = fm.executor.Sharded(silent, patience=0.3)
    assert same(expect(targets.moments, plan=shards), expect(targets.moments))
    silent.left = 10**6
    with pytest.raises(WorkerError, match=r"TimeoutError: no result in 0\.2 s") as caught:
        expect(targets.moments, plan=fm.executor.Sharded(silent, patience=0.2, retries=2))
    assert "was lost 3 times in a row with rows" in str(caught.value)
    assert 10**6 - silent.left >= 3
    silent.threads.shutdown()
    with pytest.raises(ArgumentError, match="patience"):
        fm.executor.Sharded(silent, patience=0.0)


def of_parsl(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> engines.Engine:
    engine = engines._Parsl(executor)
    monkeypatch.setattr(engine, "forgets", lambda: True)
    monkeypatch.setattr(silence, "_PROBE", 0.1)
    return engine


def twice(a: int, b: int) -> tuple[int, int]:
    return 2 * a, 2 * b


def ranges(a: int, b: int) -> tuple[int, int]:
    return a, b


def test_the_first_shard_is_sent_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the time of a shard is known, and the other lost ones are sent again."""
    silent = Silent(keeps=3)
    engine = of_parsl(silent, monkeypatch)
    monkeypatch.setattr(silence, "_PATIENCE", 0.3)
    run = dispatch.Dispatch(engine, Sharding(n_workers=2, rows=1), twice, lambda done: None)
    found = sorted(run(7, ranges, lambda *_: None))
    assert found == [(i, i + 1, (2 * i, 2 * i + 2)) for i in range(7)]
    silent.threads.shutdown()


class Counted(Executor):
    """A pool of one thread that counts its tasks and cancels none of them, as Parsl's."""

    def __init__(self) -> None:
        self.n, self.threads = 0, ThreadPoolExecutor(1)
        self._max_workers = 1

    def submit(self, f: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.n += 1
        future: Future[Any] = Future()
        inner = self.threads.submit(f, *args)
        inner.add_done_callback(lambda done: future.set_result(done.result()))
        monkey: Any = future
        monkey.cancel = lambda: False
        return future


#: The executor of the next test, which workers of this process see.
COUNTED = Counted()


def slow(a: int, b: int) -> int:
    if a == 0:
        until(lambda: COUNTED.n >= 6 + 2, "two copies of the first shard")
    return a


def test_a_slow_first_shard_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = COUNTED
    engine = of_parsl(counted, monkeypatch)
    ended: list[int] = []
    run = dispatch.Dispatch(engine, Sharding(rows=1, retries=0), slow, ended.append)
    found = list(run(6, ranges, lambda *_: None))
    counted.threads.shutdown()
    assert sorted(found) == [(i, i + 1, i) for i in range(6)]
    assert counted.n >= 6 + 2
    assert max(ended) <= 6


def test_copies_of_the_first_shard_are_sent_ever_later(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(silence, "time", SimpleNamespace(monotonic=lambda: now))
    watch = silence.Silence(of_parsl(Counted(), monkeypatch), None, True)
    copied = []
    for tick in range(1, 1000):
        now = 0.001 * tick
        if watch.advice(now, 0, 0.0, 6) == "copy":
            copied.append(now)
    np.testing.assert_allclose(copied, [0.1, 0.3, 0.7], atol=0.01)


@pytest.mark.parametrize(("kind", "has_workers"), [("plain", 0), ("parsl", 0), ("parsl", 2)])
def test_a_long_silence_is_warned_of(
    kind: str, has_workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once: without workers, or where a lost worker may stop the others before any result."""
    silent = Silent(keeps=1)
    engine = engines._Parsl(silent) if kind == "parsl" else engines._Futures(silent)
    monkeypatch.setattr(engine, "n_workers", lambda: None if kind == "parsl" else has_workers)
    monkeypatch.setattr(engine, "forgets", lambda: has_workers > 0)
    monkeypatch.setattr(silence, "_SILENT", 0.2)
    ticks = 0

    def tick(done: int) -> None:
        nonlocal ticks
        ticks += 1
        if ticks > 10:
            raise KeyboardInterrupt

    silent.left = 10**6
    run = dispatch.Dispatch(engine, Sharding(rows=1), np.sum, tick)
    what = "has had no worker" if not has_workers else r"patience=seconds"
    with pytest.warns(fm.errors.FermiacWarning, match=what) as caught, suppress(KeyboardInterrupt):
        list(run(3, lambda a, b: (np.zeros(b - a),), lambda *_: None))
    assert len(caught) == 1
    # With a patience, or with workers that answer for themselves, there is nothing to say.
    ticks = 0
    monkeypatch.setattr(engine, "n_workers", lambda: 2)
    monkeypatch.setattr(engine, "forgets", lambda: True)
    patient = Sharding(rows=1, patience=1e3 if kind == "parsl" else None)
    run = dispatch.Dispatch(engine, patient, np.sum, tick)
    with suppress(KeyboardInterrupt):
        list(run(3, lambda a, b: (np.zeros(b - a),), lambda *_: None))
    assert ticks > 10
    silent.threads.shutdown()
