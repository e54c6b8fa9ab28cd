"""Executors that lose workers, or are lost themselves."""

from __future__ import annotations

import os
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import worker_targets as targets
from executor_help import LAW, expect, same, spawned

import fermiac as fm
from fermiac import _core
from fermiac.errors import WorkerError
from fermiac.runs import worker


def test_a_worker_that_dies_once(tmp_path: Path) -> None:
    with spawned(2) as executor:
        f = targets.DiesOnce(tmp_path / "mark")
        assert same(expect(f, plan=executor), expect(targets.moments))
        # The user's own pool is as broken as it is without us.
        with pytest.raises(BrokenProcessPool):
            executor.submit(os.getpid).result()


def test_a_worker_that_always_dies() -> None:
    with (
        spawned(1) as executor,
        pytest.raises(WorkerError, match=r"was lost 2 times in a row with rows \d+ to") as e,
    ):
        expect(targets.dies, plan=fm.executor.Sharded(executor, retries=1))
    assert e.value.partial_result is None
    assert isinstance(e.value.__cause__, BrokenProcessPool)


class Loses(Executor):
    """Gives futures that fail as those of a cluster do that has lost a worker."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error = error
        self.times = times

    def submit(self, f: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.times -= 1
        if self.times >= 0:
            future.set_exception(self.error)
        else:
            future.set_result(f(*args, **kwargs))
        return future


def of_engine(module: str, name: str) -> Exception:
    """An exception as an engine's, whose own need different arguments in every version."""
    return type(name, (Exception,), {"__module__": module})("task")


@pytest.mark.parametrize(
    "error",
    [
        of_engine("distributed.scheduler", "KilledWorker"),
        of_engine("distributed.client", "FutureCancelledError"),
        CancelledError(),
        BrokenProcessPool(),
        of_engine("ray.exceptions", "WorkerCrashedError"),
        of_engine("ray.exceptions", "OwnerDiedError"),
        of_engine("ray.exceptions", "OutOfMemoryError"),
        of_engine("parsl.executors.high_throughput.errors", "WorkerLost"),
        of_engine("parsl.executors.high_throughput.errors", "ManagerLost"),
        of_engine("submitit.core.utils", "UncompletedJobError"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_lost_shards_are_tried_three_times_more(error: Exception) -> None:
    for times in (1, 3):
        assert same(expect(targets.moments, plan=Loses(error, times)), expect(targets.moments))
    with pytest.raises(WorkerError, match="was lost 4 times in a row") as caught:
        expect(targets.moments, plan=Loses(error, 1000))
    assert caught.value.__cause__ is error
    assert not any("the integrand" in note for note in getattr(caught.value, "__notes__", ()))


class BreaksLater(Executor):
    """Refuses work from some submission on, as a broken pool that is not a process pool."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.pool = ThreadPoolExecutor(1)

    def submit(self, f: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.left -= 1
        if self.left < 0:
            raise BrokenProcessPool("no more")
        return self.pool.submit(f, *args, **kwargs)


def test_a_lost_executor_leaves_the_partial_result() -> None:
    executor = BreaksLater(20)
    with pytest.raises(WorkerError) as caught:
        fm.importance.expect(
            targets.moments,
            LAW,
            n=200_000,
            rng=0,
            method="mc",
            plan=fm.executor.Sharded(executor, 2, rows=10_000, unit="points"),
        )
    executor.pool.shutdown()
    partial: Any = caught.value.partial_result
    assert partial.status == "interrupted"
    assert 0 < partial.n_evals < 200_000
    truth = np.array([np.exp(0.5) * 1.3, 0.3, 1.0])
    assert np.all(np.abs(partial.mean - truth) < 5 * partial.stderr)


@pytest.mark.skipif("baseline" not in _core.isa_levels[:-1], reason="this build has no lower level")
def test_a_worker_at_another_level_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERMIAC_ISA", "baseline")
    with (
        spawned(1) as executor,
        pytest.raises(WorkerError, match="runs at the level 'baseline', the driver at"),
    ):
        expect(targets.moments, plan=executor)


def test_a_worker_that_is_interrupted_is_a_worker_lost() -> None:
    executor = Loses(KeyboardInterrupt(), 1)  # type: ignore[arg-type]
    assert same(expect(targets.moments, plan=executor), expect(targets.moments))


def test_points_at_odd_places_of_a_message() -> None:
    buffer = np.zeros(8 * 6 + 1, np.uint8)
    x = buffer[1:].view(np.float64).reshape(3, 2)
    x[:] = 0.5
    x.flags.writeable = False
    assert not x.flags.aligned
    (values,) = worker.Points(fm.targets.powers([[1, 1]]))(x, None)
    np.testing.assert_array_equal(values.ravel(), [0.25] * 3)


def test_losses_that_only_the_user_knows() -> None:
    class Preempted(Exception):
        pass

    error = Preempted("the machine is needed elsewhere")
    with pytest.raises(Preempted):
        expect(targets.moments, plan=Loses(error, 1))
    executor = fm.executor.Sharded(Loses(error, 3), lost=(Preempted,))
    assert same(expect(targets.moments, plan=executor), expect(targets.moments))
    with pytest.raises(WorkerError, match="was lost once with rows"):
        expect(
            targets.moments,
            plan=fm.executor.Sharded(Loses(error, 1), lost=[Preempted], retries=0),
        )
