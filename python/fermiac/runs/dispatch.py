"""Work on a range of units, cut into shards for the workers of an engine.

A unit is a row of a batch, a chain, or a replicate. Shards have no side effects, so a lost one can
be repeated. Their sizes follow the cost of the units and never change a result.
"""

from __future__ import annotations

import math
import pickle
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import BrokenExecutor, CancelledError, Future
from dataclasses import dataclass
from hashlib import blake2b
from queue import Empty, SimpleQueue
from typing import Any

from fermiac import _core
from fermiac._base.validate import shown
from fermiac.errors import ArgumentError, WorkerError
from fermiac.runs import worker
from fermiac.runs.cutting import MOST_A_WORKER, least_seconds, n_shards
from fermiac.runs.engines import Engine
from fermiac.runs.silence import Silence

__all__ = ["Dispatch", "Sharding", "Tick"]

#: Called with the units that are done; may raise to end the run.
Tick = Callable[[int], object]

#: Longer pickles are sent to each worker once, and not with every shard.
_SMALL = 1 << 14
#: Seconds between two checks of progress and cancellation.
_TICK = 0.1
#: Seconds between two requests for the number of workers, and between two checks of futures without
#: a notice of their end.
_ASK = 0.5
#: Seconds that a shard waits for a worker without the work, if enough copies of the work are in
#: transit.
_PAUSE = 0.05
#: The number of tasks for the mean time of the coordinator per task, the value before, and the
#: largest value: the time of this process may include work that it does itself.
_MEASURED, _GUESS, _LONGEST = 32, 1e-3, 5e-3
#: The number of first shards for an engine that does not report its number of workers.
_FIRST = 64
#: The largest number of tasks in flight.
_MOST_OUT = 2**16


@dataclass(frozen=True)
class Sharding:
    """The user's settings of an engine; see `fermiac.executor.Sharded`."""

    n_workers: int | None = None
    rows: int | None = None
    retries: int = 3
    lost: tuple[type[BaseException], ...] = ()
    patience: float | None = None


class _Silent(TimeoutError):
    """No result came in the time of the patience."""


class Shard:
    """Some units that a worker is processing."""

    __slots__ = ("attempt", "copies", "losses", "sent", "start", "stop")

    def __init__(self, start: int, stop: int) -> None:
        self.start, self.stop = start, stop
        self.attempt = self.losses = 0
        #: The number of futures of this shard, of which the first result counts.
        self.copies = 0
        #: The number of copies with which the work itself was sent.
        self.sent = 0


class Dispatch:
    """One function on the workers of an engine, for the length of one run.

    Parameters
    ----------
    engine : Engine
    sharding : Sharding
    work : callable
        The function of the arguments of a shard. It is sent to every worker once.
    tick : callable
        See `Tick`.
    unit : str
        The plural name of the units, for messages.
    whole : bool, default False
        Whether shards are parts of a whole call, which may take long, and not points of a batch.
    """

    def __init__(
        self,
        engine: Engine,
        sharding: Sharding,
        work: Callable[..., Any],
        tick: Tick,
        unit: str = "rows",
        whole: bool = False,
    ) -> None:
        if not (whole or engine.pointwise):
            raise ArgumentError(
                f"executor: {engine.name} starts a job for every task, which takes seconds, and "
                "this call sends every batch of points; give it to a call that sends whole runs, "
                "chains or rows, or cut the call yourself into jobs (see the page Past one machine)"
            )
        self._engine, self._sharding, self._tick = engine, sharding, tick
        self._unit, self._whole = unit, whole
        # Threads share the object itself.
        self._work = work if engine.shares_memory else None
        self._pickled = b"" if self._work is not None else _pickle(work)
        self._digest = blake2b(self._pickled, digest_size=16).digest()
        self._is_small = len(self._pickled) <= _SMALL
        # Workers that requested the work, workers that have it, and the number of copies in
        # transit.
        self._asked: set[str] = set()
        self._have: set[str] = set()
        self._answers = 0
        self._workers: int | None = None
        self._asked_at = -math.inf
        self._out = engine.least_out  # if the engine does not report its number of workers
        self._cost = math.nan  # seconds of a unit
        self._longest = 0.0  # seconds of a shard
        self._tasks, self._spent, self._began = 0, 0.0, 0.0
        self._per_task = _GUESS
        self._ticked = time.monotonic()
        self._has_warned = False

    def close(self) -> None:
        """Release the resources of the engine."""
        self._engine.close()

    def __call__(
        self,
        n: int,
        arguments: Callable[[int, int], tuple[Any, ...]],
        check: Callable[[Any, int, int], str | None],
        align: int = 1,
        most: int | None = None,
        more: Callable[[int, int], bool] | None = None,
    ) -> Generator[tuple[int, int, Any]]:
        """Yield (start, stop, value) of every shard, in the order of completion.

        Parameters
        ----------
        n : int
            The number of units.
        arguments : callable
            A function that returns the arguments of the work for the units from a start to a stop.
        check : callable
            A function that returns the defect of a value for these units as text, or None.
        align : int, default 1
            The starts of shards are multiples of this number.
        most : int, optional
            The largest number of units of a shard, unless the user gives one.
        more : callable, optional
            A function that returns whether the units from a start to a stop, whose value was
            yielded, have further work; they are sent again, with new arguments.
        """
        done: SimpleQueue[Future[Any]] = SimpleQueue()
        running: dict[Future[Any], Shard] = {}
        again: list[Shard] = []
        further: deque[Shard] = deque()  # those with more work, in the order of their waiting
        paused: list[tuple[float, Shard]] = []
        at = n_done = 0
        swept = time.monotonic()
        silence = Silence(self._engine, self._sharding.patience, self._has_warned)
        full: tuple[float, float, int] | None = None  # see `_widen`
        self._began = self._clock()
        try:
            while at < n or again or further or paused or running:
                while paused and paused[0][0] <= time.monotonic():
                    again.append(paused.pop(0)[1])
                limit = self._limit()
                while (at < n or again or further) and len(running) + len(paused) < limit:
                    if again:
                        shard = again.pop()
                    elif at >= n:
                        shard = further.popleft()
                    else:
                        stop = min(n, at + self._size(n, align, most))
                        shard, at = Shard(at, stop), stop
                    try:
                        future = self._submit(shard, arguments)
                    except Exception as error:
                        if not self._is_lost(error):
                            raise
                        again.append(self._lost(shard, n, error))
                        continue
                    running[future] = shard
                    future.add_done_callback(done.put)
                    if not done.empty():
                        break  # the sizes of the next follow its time
                self._engine.start()
                if full is None and len(running) >= limit and self._count() is None:
                    full = (time.monotonic(), 0.0, 0)
                ended = _drained(done, self._wait(paused))
                now = time.monotonic()
                if ended or not running:
                    swept = now
                    silence.heard(now)
                else:
                    advice = silence.advice(now, self._tasks, self._longest, len(running))
                    self._has_warned = silence.has_warned
                    if advice == "copy":
                        running |= self._copied(running, arguments, done)
                    elif advice == "give up":
                        seconds = silence.patience(self._tasks, self._longest)
                        again += self._given_up(running, n, seconds)
                        continue
                    if now - swept > _ASK:  # the end of a future may not have been reported
                        swept = now
                        ended = [future for future in running if future.done()]
                if now - self._ticked >= _TICK / 2 or not ended:
                    self._ticked = now
                    self._tick(n_done)
                # In the order of the units: of several failures the first is raised.
                shards = [(running.pop(f), f) for f in ended if f in running]
                if len(shards) > 1:
                    shards.sort(key=lambda pair: pair[0].start)
                for shard, future in shards:
                    if not shard.copies:  # another copy has just given the result
                        continue
                    shard.copies -= 1
                    got = self._result(future, shard, n)
                    if got is None:  # the shard was lost
                        if not shard.copies:
                            again.append(shard)
                        continue
                    if got[0] == worker.ASKS:
                        # The next copies are sent at once; then the workers need time to receive
                        # them.
                        if self._answers + len(self._have) >= len(self._asked):
                            paused.append((time.monotonic() + _PAUSE, shard))
                        else:
                            again.append(shard)
                        continue
                    seconds, value = got[2], got[3]
                    wrong = check(value, shard.start, shard.stop)
                    if wrong is not None:
                        raise self._rubbish(
                            f"a worker gave {shown(value)} for {self._place(shard)} where "
                            f"{wrong} is"
                        )
                    if shard.copies:
                        self._drop(shard, running)
                    self._learn(seconds / (shard.stop - shard.start))
                    self._longest = max(self._longest, seconds)
                    if full is not None:
                        full = self._widen(full, seconds, limit)
                    self._tasks += 1
                    if self._tasks % _MEASURED == 0:
                        self._measure()
                    yield shard.start, shard.stop, value
                    if more is not None and more(shard.start, shard.stop):
                        further.append(shard)
                    else:
                        n_done += shard.stop - shard.start
        finally:
            self._measure()
            for future in running:
                self._engine.cancel(future)

    def n_shards(self, seconds: float) -> int:
        """Return the number of shards for a piece of work, in seconds on one worker."""
        return n_shards(seconds, self._n_busy(), self._per_task, self._whole)

    def least_seconds(self) -> float:
        """Return the least duration in seconds of a shard that is a part of a long call."""
        return least_seconds(self._n_busy(), self._per_task)

    def _n_busy(self) -> int:
        """Return the number of workers now, as far as it is known, and at least 1."""
        count = self._count()
        return max(1, self._out // 2 if count is None else count)

    def _copied(
        self,
        running: dict[Future[Any], Shard],
        arguments: Callable[[int, int], tuple[Any, ...]],
        done: SimpleQueue[Future[Any]],
    ) -> dict[Future[Any], Shard]:
        """Submit another copy of the first shard in flight; its first result counts."""
        shard = min(running.values(), key=lambda shard: shard.start)
        try:
            future = self._submit(shard, arguments)
        except Exception as error:
            if not self._is_lost(error):
                raise
            self._engine.recover(error)
            return {}
        future.add_done_callback(done.put)
        self._engine.start()
        return {future: shard}

    def _drop(self, shard: Shard, running: dict[Future[Any], Shard]) -> None:
        """Forget the other copies of a finished shard."""
        for future in [future for future, one in running.items() if one is shard]:
            del running[future]
            self._engine.cancel(future)
        self._answers -= shard.sent
        shard.sent = shard.copies = 0

    def _given_up(self, running: dict[Future[Any], Shard], n: int, seconds: float) -> list[Shard]:
        """Return all shards in flight for another attempt; their late results are ignored."""
        silent = _Silent(f"no result in {seconds:.3g} s, the patience of this executor")
        shards = [*dict.fromkeys(running.values())]
        for future in running:
            self._engine.cancel(future)
        running.clear()
        for shard in shards:
            self._answers -= shard.sent
            shard.sent = shard.copies = 0
        return [self._lost(shard, n, silent) for shard in shards]

    def _wait(self, paused: list[tuple[float, Shard]]) -> float:
        """Return the largest number of seconds to wait for a shard."""
        return min(_TICK, max(0.0, paused[0][0] - time.monotonic())) if paused else _TICK

    def _clock(self) -> float:
        """Return the processor time of the coordinator, including threads of the engine."""
        return time.thread_time() if self._engine.shares_memory else time.process_time()

    def _measure(self) -> None:
        """Measure the coordinator's time for one shard."""
        now = self._clock()
        self._spent += now - self._began
        self._began = now
        if self._tasks >= _MEASURED:
            self._per_task = min(max(self._spent / self._tasks, 1e-5), _LONGEST)

    def _count(self) -> int | None:
        """Return the number of workers now, if it is known."""
        if self._sharding.n_workers is not None:
            return self._sharding.n_workers
        now = time.monotonic()
        if now - self._asked_at > _ASK:
            self._workers = self._engine.n_workers()
            self._asked_at = time.monotonic()
        return self._workers

    def _limit(self) -> int:
        """Return the largest number of shards that may be submitted at once."""
        count = self._count()
        if self._sharding.n_workers is not None:
            return 2 * self._sharding.n_workers
        if count is None:
            return self._out
        return min(max(self._engine.least_out, 2 * count), _MOST_OUT)

    def _widen(
        self, full: tuple[float, float, int], seconds: float, limit: int
    ) -> tuple[float, float, int] | None:
        """Adapt the number of submitted shards to the apparent number of workers.

        `full` has the time at which the limit was reached, and the seconds and the number of the
        shards that returned since then.
        """
        since, busy, count = full[0], full[1] + seconds, full[2] + 1
        if count < limit:
            return since, busy, count
        working = busy / max(time.monotonic() - since, 1e-9)
        # If workers are busy with a third of the limit, more workers may be available.
        if working > limit / 3:
            self._out = min(2 * limit, _MOST_OUT)
        elif working < limit / 8:
            self._out = max(limit // 2, self._engine.least_out)
        return None

    def _size(self, n: int, align: int, most: int | None) -> int:
        """Return the number of units of the next shard."""
        if self._sharding.rows is not None:
            return max(align, self._sharding.rows // align * align)
        count, workers = self._count(), self._n_busy()
        if math.isnan(self._cost):
            # The first shards measure the cost of a unit. Shards of whole units are small, which
            # costs no time.
            few = 1 if not self._engine.pointwise else MOST_A_WORKER if self._whole else 2
            shards = _FIRST if count is None else few * workers
            if self._sharding.n_workers is None and not self._engine.in_rounds:
                shards = max(shards, self._engine.least_out)  # for workers that come
        else:
            shards = self.n_shards(self._cost * n)
        size = -(-n // (shards * align)) * align
        return size if most is None else min(size, most)

    def _learn(self, cost: float) -> None:
        """Update the seconds per unit."""
        self._cost = cost if math.isnan(self._cost) else 0.8 * self._cost + 0.2 * cost

    def _submit(self, shard: Shard, arguments: Callable[[int, int], tuple[Any, ...]]) -> Any:
        args = arguments(shard.start, shard.stop)
        try:
            if self._work is not None:
                future = self._engine.submit(worker.in_thread, self._work, args)
            else:
                handed = None if self._is_small else self._engine.hand_over(self._pickled)
                pickled = self._enclosed(shard) if handed is None else None
                call = (self._digest, pickled, _core.isa_level, shard.attempt, args)
                more = () if handed is None else (handed,)
                future = self._engine.submit(worker.run, call, *more)
        except BrokenExecutor:
            raise
        except RuntimeError as error:
            if self._is_lost(error):
                raise
            raise WorkerError(
                f"{self._engine.name} takes no work ({error}); it must stay open until the run "
                "has ended"
            ) from error
        shard.attempt += 1
        shard.copies += 1
        if not isinstance(future, Future):
            raise self._rubbish(f"submit gave {shown(future)} where a Future is")
        return future

    def _enclosed(self, shard: Shard) -> bytes | None:
        """Return the pickle of the work if it must go with a shard, else None."""
        if self._is_small:
            return self._pickled
        # One copy for each worker that requested the work.
        if self._answers + len(self._have) >= len(self._asked):
            return None
        shard.sent += 1
        self._answers += 1
        return self._pickled

    def _result(self, future: Future[Any], shard: Shard, n: int) -> tuple[Any, ...] | None:
        """Return the value of a worker, None if it was lost; raise the exception of the work."""
        if shard.sent:
            self._answers -= 1
            shard.sent -= 1
        # Not by `result`, whose KeyboardInterrupt may be that of this process.
        error: BaseException | None
        try:
            error = future.exception()
        except CancelledError as cancelled:
            error = cancelled
        if error is not None:
            if not self._is_lost(error):
                self._note(error, shard, n)
                raise error
            self._lost(shard, n, error)
            return None
        got: Any = future.result()
        if isinstance(got, tuple) and len(got) > 1:
            kind, name = got[:2]
            if kind == worker.DONE and len(got) == 4:
                shard.losses = 0
                self._have.add(name)
                self._asked.add(name)
                return got
            if kind == worker.ASKS and not self._is_small:
                self._have.discard(name)  # the worker may have dropped the work
                self._asked.add(name)
                return got
            if kind == worker.FAILED and isinstance(got[-1], BaseException):
                self._note(got[-1], shard, n)
                raise got[-1]
        raise self._rubbish(
            f"a worker gave {shown(got)} for {self._place(shard)} where a result is"
        )

    def _is_lost(self, error: BaseException) -> bool:
        return isinstance(error, self._sharding.lost) or self._engine.is_lost(error)

    def _lost(self, shard: Shard, n: int, error: BaseException) -> Shard:
        """Prepare another attempt at a shard."""
        shard.losses += 1
        if shard.losses > self._sharding.retries:
            times = "once" if shard.losses == 1 else f"{shard.losses} times in a row"
            kind = type(error).__name__
            advice = (
                "look for its own message: a crash of native code, the system's out-of-memory "
                "killer, os._exit, or a script whose pool is not started under "
                "`if __name__ == '__main__':`"
            )
            if isinstance(error, _Silent):
                kind = "TimeoutError"
                advice = (
                    "give a larger patience= if shards take longer; after the kill of a worker the "
                    "others of its node may wait for ever: start the executor anew, and give "
                    "store= to calls that have it, which then continue"
                )
            raise WorkerError(
                f"a worker of {self._engine.name} was lost {times} with {self._place(shard)} of "
                f"{n} ({kind}: {error}); {advice}"
            ) from error
        self._engine.recover(error)
        # Workers that have the work may be lost, and others request it again.
        self._have.clear()
        self._asked.clear()
        return shard

    def _place(self, shard: Shard) -> str:
        return f"{self._unit} {shard.start} to {shard.stop - 1}"

    def _rubbish(self, what: str) -> WorkerError:
        return WorkerError(
            f"{self._engine.name}: {what} needed; it must run the function that it is given, and "
            "return what that returns"
        )

    def _note(self, error: BaseException, shard: Shard, n: int) -> None:
        error.add_note(f"raised in a worker of {self._engine.name}, {self._place(shard)} of {n}")


def _drained(done: SimpleQueue[Future[Any]], seconds: float) -> list[Future[Any]]:
    """Wait for the first future, and return those that are done."""
    try:
        ended = [done.get(timeout=seconds)]
    except Empty:
        return []
    while not done.empty():  # this thread alone takes from the queue
        ended.append(done.get_nowait())
    return ended


def _pickle(work: Any) -> bytes:
    try:
        from cloudpickle import dumps
    except ImportError:
        from pickle import dumps
    try:
        return bytes(dumps(work, pickle.HIGHEST_PROTOCOL))
    except Exception as error:
        kind = type(getattr(work, "_target", work)).__name__
        raise ArgumentError(
            f"executor: the target, a {kind}, cannot be sent to the workers "
            f"({type(error).__name__}: {error}); define it at the top of a module, or let each "
            "worker make it: give fermiac.targets.factory('module:function') as the target, of a "
            "function that returns it"
        ) from error
