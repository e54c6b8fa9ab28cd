"""Engines, which run the shards of a call: one interface to all kinds of executors.

Engines are recognised by the modules of their classes, so that none of them is imported here.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from contextlib import suppress
from types import ModuleType
from typing import Any

import numpy as np

from fermiac._base.validate import shown
from fermiac.errors import ArgumentError
from fermiac.runs.worker import Stored

__all__ = ["Engine", "engine_of"]

#: Exceptions of engines that say that a worker was lost, by the package that defines them.
_LOST = {
    "distributed": {"CommClosedError", "FutureCancelledError", "KilledWorker"},
    "parsl": {"ManagerLost", "WorkerLost"},
    "ray": {
        "LocalRayletDiedError",
        "NodeDiedError",
        "ObjectLostError",
        "ObjectReconstructionFailedError",
        "OutOfMemoryError",
        "OwnerDiedError",
        "WorkerCrashedError",
    },
    # Exceptions of the work are returned as values, so these errors mean that a job was lost.
    "submitit": {"FailedJobError", "UncompletedJobError"},
}
#: Seconds between two looks at the jobs of a batch system.
_POLL = 0.2
#: The time limit in seconds for the answer of an engine whether it has workers.
_ANSWER = 10.0
#: The number of jobs of an array of a batch system, which does not report how many run at once.
_JOBS = 64
_NEEDED = (
    "a concurrent.futures.Executor is needed, a dask Client, the module ray after ray.init(), a "
    "multiprocessing.Pool, a joblib.Parallel, a submitit executor, or another object with a method "
    "`map`"
)


class Engine:
    """Runs functions on workers; a subclass for each kind of executor.

    Attributes
    ----------
    given : object
        The user's executor.
    shares_memory : bool
        Whether the workers are threads of this process, which need no copy of the target.
    pointwise : bool
        Whether a task is cheap enough for the points of one batch.
    in_rounds : bool
        Whether the engine takes many tasks at once and waits for all of them.
    least_out : int
        The smallest number of tasks in flight, since engines add workers when tasks wait.
    may_forget : bool
        Whether results may be lost without an error.
    """

    shares_memory = False
    may_forget = False
    pointwise = True
    in_rounds = False
    least_out = 4

    def __init__(self, given: Any) -> None:
        self.given = given

    @property
    def name(self) -> str:
        """The name of the executor's class, for messages."""
        return type(self.given).__name__

    def n_workers(self) -> int | None:
        """Return the present number of workers; None if the engine does not provide it."""
        return None

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Any:
        """Return the future of a call."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the tasks submitted since the last call, if the engine takes rounds of tasks."""

    def cancel(self, future: Any) -> None:
        """Cancel a task that is no longer needed."""
        with suppress(NotImplementedError):  # by Parsl
            future.cancel()

    def hand_over(self, pickled: bytes) -> Any:
        """Return an argument that every worker gets once, or None if workers request it."""
        return None

    def is_lost(self, error: BaseException) -> bool:
        """Return whether the worker failed, and not the work."""
        # Ctrl-C also interrupts the workers, even if the driver only stops waiting for a run.
        if isinstance(error, BrokenExecutor | CancelledError | KeyboardInterrupt):
            return True
        return any(
            base.__name__ in _LOST.get(base.__module__.partition(".")[0], ())
            for base in type(error).__mro__
        )

    def recover(self, error: BaseException) -> None:
        """Restore the engine after a loss."""

    def forgets(self) -> bool:
        """Return whether missing results count as lost, because there are workers."""
        return True

    def close(self) -> None:
        """Release the resources of the run; the user's executor stays open."""


class _Futures(Engine):
    """Any `concurrent.futures.Executor`."""

    def __init__(self, given: Any) -> None:
        super().__init__(given)
        self.executor = given
        self.shares_memory = isinstance(given, ThreadPoolExecutor)

    def n_workers(self) -> int | None:
        """Return the number of workers, or None if it is not known."""
        for attribute in ("_max_workers", "num_workers"):
            n = getattr(self.executor, attribute, None)
            if isinstance(n, int) and n > 0:
                return n
        return None

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Any:
        """Return the future of a call."""
        return self.executor.submit(function, *args)


class _Parsl(_Futures):
    """Parsl's `ParslPoolExecutor`.

    The workers of a node share a queue for results. If one is killed while it writes, the others
    wait for its lock for ever.
    """

    may_forget = True

    def forgets(self) -> bool:
        """Return whether there are still workers, so that a missing result is lost."""
        # In a thread, because the answer itself may be lost.
        found: list[bool] = []

        def ask() -> None:
            with suppress(Exception):  # private names of Parsl may change
                executors = self.executor._dfk.executors.values()
                asked = [getattr(executor, "connected_blocks", None) for executor in executors]
                found.append(any(one is None or bool(one()) for one in asked))

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(_ANSWER)
        return found[0] if found else True


class _Local(_Futures):
    """Processes of this machine, which read the work from a file."""

    _stored: Stored | None = None

    def hand_over(self, pickled: bytes) -> Any:
        """Return the argument in the form that every worker gets once."""
        if self._stored is None:
            with suppress(OSError):  # on a full disk the workers request it instead
                self._stored = Stored.written(pickled)
        return self._stored

    def close(self) -> None:
        """Release what this run holds; the user's executor stays open."""
        if self._stored is not None:
            self._stored.remove()
        self._stored = None


class _Processes(_Local):
    """A process pool of the standard library, which is unusable after its first loss."""

    _own: ProcessPoolExecutor | None = None

    def recover(self, error: BaseException) -> None:
        """Restore the engine after a loss."""
        broken: Any = self.executor
        if not isinstance(error, BrokenExecutor) or not getattr(broken, "_broken", True):
            return  # renewed for the shard before
        self._end()
        self.executor = self._own = ProcessPoolExecutor(
            max_workers=broken._max_workers,
            mp_context=broken._mp_context,
            initializer=broken._initializer,
            initargs=broken._initargs,
            max_tasks_per_child=broken._max_tasks_per_child,
        )

    def _end(self) -> None:
        if self._own is not None:
            self._own.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Release what this run holds; the user's executor stays open."""
        super().close()
        self._end()


class _Loky(_Local):
    """An executor of loky, which is unusable after its first loss, or is reused."""

    _own: Any = None

    def recover(self, error: BaseException) -> None:
        """Restore the engine after a loss."""
        broken = self.executor
        if not isinstance(error, BrokenExecutor) or getattr(broken._flags, "broken", None) is None:
            return
        settings = {
            "max_workers": broken._max_workers,
            "initializer": broken._initializer,
            "initargs": broken._initargs,
        }
        module = sys.modules[type(broken).__module__]
        reusable = getattr(module, "get_reusable_executor", None)
        self._end()
        if reusable is not None:
            self.executor = reusable(**settings)  # one for all of the process, and so not ours
        else:
            self.executor = self._own = type(broken)(**settings)

    def _end(self) -> None:
        if self._own is not None:
            self._own.shutdown(wait=False)

    def close(self) -> None:
        """Release what this run holds; the user's executor stays open."""
        super().close()
        self._end()


class _Dask(_Futures):
    """A client of dask.distributed, or its executor."""

    least_out = 64

    def __init__(self, given: Any, client: Any) -> None:
        super().__init__(given)
        if getattr(client, "asynchronous", False):
            raise ArgumentError(
                "executor: an asynchronous dask Client was given; one that waits for its answers "
                "is needed: Client(..., asynchronous=False)"
            )
        self._client = client
        self._handed: Any = None
        if given is client:
            self.executor = client.get_executor(pure=False)

    def n_workers(self) -> int | None:
        """Return the number of workers, or None if it is not known."""
        return int(sum(self._client.ncores().values()))

    def hand_over(self, pickled: bytes) -> Any:
        """Return the argument in the form that every worker gets once."""
        # The result of a task is computed again when its worker is lost, and workers get it from
        # each other. Scattered data needs existing workers, and is lost with them.
        if self._handed is None or self._handed.status not in ("pending", "finished"):
            import warnings

            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Sending large graph")
                self._handed = self._client.submit(_itself, pickled, pure=False)
        return self._handed

    def recover(self, error: BaseException) -> None:
        """Restore the engine after a loss."""
        if self._handed is not None and self._handed.status not in ("pending", "finished"):
            self._handed = None

    def close(self) -> None:
        """Release what this run holds; the user's executor stays open."""
        self._handed = None


class _Ray(Engine):
    """The module ray, in a process that is connected to a cluster."""

    least_out = 64

    def __init__(self, given: Any) -> None:
        super().__init__(given)
        if not given.is_initialized():
            raise ArgumentError("executor: the module ray was given; call ray.init() first")
        self._functions: dict[Any, Any] = {}
        self._handed: Any = None

    @property
    def name(self) -> str:
        """The name of the executor's class, for messages."""
        return "ray"

    def n_workers(self) -> int | None:
        """Return the number of workers, or None if it is not known."""
        return int(self.given.cluster_resources().get("CPU", 0))

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Any:
        """Return the future of a call."""
        remote = self._functions.get(function)
        if remote is None:
            remote = self._functions[function] = self.given.remote(function)
        reference = remote.remote(*args)
        future = reference.future()
        future._fermiac_reference = reference
        return future

    def cancel(self, future: Any) -> None:
        """Cancel a task that is no longer needed."""
        if not future.done():
            self.given.cancel(future._fermiac_reference)

    def hand_over(self, pickled: bytes) -> Any:
        """Return the argument in the form that every worker gets once."""
        if self._handed is None:
            # As an array, which the tasks of a machine share without a copy.
            self._handed = self.given.put(np.frombuffer(pickled, np.uint8))
        return self._handed

    def recover(self, error: BaseException) -> None:
        """Restore the engine after a loss."""
        self._handed = None

    def close(self) -> None:
        """Release what this run holds; the user's executor stays open."""
        self._handed = None


class _Pool(Engine):
    """`multiprocessing.Pool`, and pools with the same interface."""

    def __init__(self, given: Any) -> None:
        super().__init__(given)
        self.shares_memory = any(
            base.__module__ == "multiprocessing.pool" and base.__name__ == "ThreadPool"
            for base in type(given).__mro__
        )

    def n_workers(self) -> int | None:
        """Return the number of workers, or None if it is not known."""
        n = getattr(self.given, "_processes", None)
        return n if isinstance(n, int) and n > 0 else None

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Any:
        """Return the future of a call."""
        future: Future[Any] = Future()

        def done(value: Any) -> None:
            if future.set_running_or_notify_cancel():
                future.set_result(value)

        def failed(error: BaseException) -> None:
            if future.set_running_or_notify_cancel():
                future.set_exception(error)

        try:
            self.given.apply_async(function, args, callback=done, error_callback=failed)
        except ValueError as error:  # of a pool that is closed
            raise RuntimeError(str(error)) from error
        return future


class _Rounds(Engine):
    """An object that takes many calls at once and waits for them, which is a round of tasks."""

    in_rounds = True
    least_out = 2**16

    def __init__(self, given: Any) -> None:
        super().__init__(given)
        self._waiting: list[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = []
        self._is_running = False
        self._lock = threading.Lock()

    def n_workers(self) -> int | None:
        """Return the number of workers, or None if it is not known."""
        return os.cpu_count() or 1

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Any:
        """Return the future of a call."""
        future: Future[Any] = Future()
        with self._lock:
            self._waiting.append((future, function, args))
        return future

    def start(self) -> None:
        """Start the thread that makes the waiting calls, unless it runs or none waits."""
        with self._lock:
            if self._is_running or not self._waiting:
                return
            self._is_running = True
        # The calling thread stays free for Ctrl-C and for reports.
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        """Run rounds until no task waits."""
        while True:
            with self._lock:
                calls, self._waiting = self._waiting, []
                if not calls:
                    self._is_running = False
                    return
            self._round([call for call in calls if call[0].set_running_or_notify_cancel()])

    def _round(self, calls: list[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]]) -> None:
        left = {i: future for i, (future, _, _) in enumerate(calls)}
        try:
            for i, value in self._values([(i, f, args) for i, (_, f, args) in enumerate(calls)]):
                future = left.pop(i)
                if isinstance(value, BaseException):
                    future.set_exception(value)
                else:
                    future.set_result(value)
            if left:
                n = len(calls)
                raise RuntimeError(f"{self.name} gave no result for {len(left)} of {n} calls")
        except BaseException as error:
            for future in left.values():
                future.set_exception(error)

    def _values(self, calls: list[Any]) -> Iterator[tuple[int, Any]]:
        """Yield the position and the value of every call, in the order of completion."""
        raise NotImplementedError


class _Map(_Rounds):
    """An object that has only a method `map`."""

    def n_workers(self) -> int | None:
        """Return the number of workers, or None if it is not known."""
        n = getattr(self.given, "size", None)
        return n if isinstance(n, int) and n > 0 else super().n_workers()

    def _values(self, calls: list[Any]) -> Iterator[tuple[int, Any]]:
        mapped: Iterable[Any] = getattr(self.given, "imap_unordered", self.given.map)(_call, calls)
        yield from mapped


class _Joblib(_Rounds):
    """`joblib.Parallel`."""

    def n_workers(self) -> int | None:
        """Return the number of workers, or None if it is not known."""
        n = sys.modules["joblib"].effective_n_jobs(self.given.n_jobs)
        return int(n)

    def _values(self, calls: list[Any]) -> Iterator[tuple[int, Any]]:
        # Lists or generators, as the user has set ``return_as``.
        yield from self.given((_call, (call,), {}) for call in calls)


class _Submitit(_Rounds):
    """An executor of submitit: a job array for each round."""

    pointwise = False

    def n_workers(self) -> int | None:
        """Return the number of workers, or None if it is not known."""
        return _JOBS

    def _values(self, calls: list[Any]) -> Iterator[tuple[int, Any]]:
        running = dict(enumerate(self.given.map_array(_call, calls)))
        while running:
            done = [i for i, job in running.items() if job.done()]
            for i in done:
                try:
                    yield running.pop(i).result()
                except Exception as error:
                    yield i, error
            if not done:
                time.sleep(_POLL)


def _call(call: tuple[int, Callable[..., Any], tuple[Any, ...]]) -> tuple[int, Any]:
    """Return the position of a call in its round, and its value."""
    place, function, args = call
    return place, function(*args)


def _itself(value: Any) -> Any:
    return value


def engine_of(given: Any) -> Engine:
    """Return the engine of an argument ``executor=``."""
    kinds = [(base.__module__.partition(".")[0], base.__name__) for base in type(given).__mro__]
    if isinstance(given, Executor):
        if any("loky" in base.__module__.split(".") for base in type(given).__mro__):
            return _Loky(given)
        if isinstance(given, ProcessPoolExecutor):
            return _Processes(given)
        if kinds[0][0] == "parsl":
            return _Parsl(given)
        client = getattr(given, "_client", None) if kinds[0][0] == "distributed" else None
        return _Futures(given) if client is None else _Dask(given, client)
    if isinstance(given, ModuleType) and given.__name__ == "ray":
        return _Ray(given)
    if ("distributed", "Client") in kinds:
        return _Dask(given, given)
    if ("submitit", "Executor") in kinds:
        return _Submitit(given)
    if ("joblib", "Parallel") in kinds:
        return _Joblib(given)
    if isinstance(given, type):
        raise ArgumentError(f"executor: the class {given.__name__} given; {_NEEDED}: call it")
    if callable(getattr(given, "apply_async", None)):
        return _Pool(given)
    if callable(getattr(given, "map", None)) and not isinstance(given, ModuleType):
        return _Map(given)
    raise ArgumentError(f"executor: {shown(given)} given; {_NEEDED}")
