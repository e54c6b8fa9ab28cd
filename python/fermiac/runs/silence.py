"""Long silences of an executor: warnings, and shards that count as lost or are sent once more."""

from __future__ import annotations

import math
import time
from typing import Literal, TypeAlias

from fermiac.errors import FermiacWarning
from fermiac.results.result import warn
from fermiac.runs.engines import Engine

__all__ = ["Silence"]

Advice: TypeAlias = Literal["wait", "copy", "give up"]

#: For engines that may lose results: shards count as lost after this many seconds without any
#: result, or this many times the longest shard so far.
_PATIENCE, _TIMES = 120.0, 5.0
#: For the same engines: the seconds without a first result after which the first shard is sent once
#: more, in addition. They are doubled each time, because nothing says how long a shard takes.
_PROBE = 120.0
#: Seconds without any result after which a run warns if its executor has no worker, or may have
#: lost results before their time is known.
_SILENT = 60.0


class Silence:
    """The time without any result in one batch of shards.

    Parameters
    ----------
    engine : Engine
    given : float or None
        The user's patience in seconds.
    has_warned : bool
        Whether the run has warned of a silence.
    """

    def __init__(self, engine: Engine, given: float | None, has_warned: bool) -> None:
        self._engine, self._given = engine, given
        self.has_warned = has_warned
        self._heard = self._copied = time.monotonic()
        self._probe = _PROBE

    def heard(self, now: float) -> None:
        """Begin anew, after a result."""
        self._heard = now

    def patience(self, n_results: int, longest: float) -> float:
        """Return the number of seconds after which shards count as lost.

        Parameters
        ----------
        n_results : int
            The number of results of the run so far.
        longest : float
            The longest time of a shard.
        """
        if self._given is not None:
            return self._given
        if n_results == 0 or not self._engine.may_forget:
            return math.inf
        return max(_PATIENCE, _TIMES * longest)

    def advice(self, now: float, n_results: int, longest: float, n_running: int) -> Advice:
        """Return what to do about the shards in flight, of which none has ended; may warn."""
        engine = self._engine
        if now - self._heard > _SILENT and not self.has_warned:
            self._warn(n_results, n_running)
            return "wait"
        unknown = engine.may_forget and n_results == 0 and self._given is None
        if unknown and now - self._copied > self._probe and engine.forgets():
            self._copied, self._probe = now, 2 * self._probe
            return "copy"
        if now - self._heard > self.patience(n_results, longest):
            self._heard = now
            if self._given is not None or engine.forgets():
                return "give up"
        return "wait"

    def _warn(self, n_results: int, n_running: int) -> None:
        """Warn if nothing can come, or if it is not known whether anything will."""
        self.has_warned = True
        engine, n = self._engine, f"{n_running} shards are submitted"
        said = ""
        if engine.n_workers() == 0 or (engine.may_forget and not engine.forgets()):
            said = (
                f"executor: {engine.name} has had no worker for {_SILENT:.0f} s, and {n}; the run "
                "waits for workers: see whether they wait in a queue or fail to start"
            )
        elif engine.may_forget and self._given is None and n_results == 0:
            said = (
                f"executor: {engine.name} has workers, but none has returned a result for "
                f"{_SILENT:.0f} s, and {n}. If a shard takes longer than that, all is well. If a "
                "worker was killed, the others may wait for ever; the first shard is sent once "
                f"more after {_PROBE:.0f} s. Sharded(executor, patience=seconds), with more "
                "seconds than a shard takes, sends all shards again"
            )
        if said:
            warn([(FermiacWarning, said)], None)
