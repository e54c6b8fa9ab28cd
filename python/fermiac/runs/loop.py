"""The loop of a long run: slices, progress, checkpoints, limits of time, partial results."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from fermiac._base.progress import Report, annotate, finish
from fermiac.errors import CheckpointError, FermiacError, FermiacWarning, InternalError
from fermiac.results.result import Result, tolerant, warn
from fermiac.runs import background
from fermiac.runs.checkpoint import RunCheckpoint

__all__ = ["Budget", "RunLoop", "View", "run_and_warn"]

R = TypeVar("R", bound=Result)

#: Seconds of a slice of a run that is being inspected, and the age at which a view is renewed.
_TICK, _AGED = 1.0, 0.9
#: Seconds of a slice whose length is counted in steps: longer ones are halved, and those of less
#: than half are doubled.
_SLICE = 0.2
#: Seconds between two reports of progress.
_REPORT = 0.1


class Budget(NamedTuple):
    """The largest numbers of seconds (None for no limit) and of steps of the next slice."""

    seconds: float | None
    steps: int


class View:
    """The result so far of a call, for `fermiac.Run.inspect`.

    Successive loops of one call share one view.
    """

    def __init__(self) -> None:
        self._make: Callable[[], Any] = lambda: None
        self._due = 0.0
        self.watched = background.watch(lambda: self._make())

    def is_due(self) -> bool:
        """Return whether the view is watched and due for an update."""
        return self.watched and time.monotonic() >= self._due

    def show(self, make: Callable[[], Any]) -> None:
        """Show the value of `make`."""
        self._make = make
        self._due = time.monotonic() + _AGED


@dataclass(kw_only=True, eq=False, repr=False)
class RunLoop(ABC, Generic[R]):
    """The loop of a run up to its end; each domain implements its own steps.

    Attributes
    ----------
    start : float
        `time.perf_counter` at the start of the call.
    report : callable, optional
        The progress callback.
    checkpoint : RunCheckpoint, optional
        The file from which the run is resumed, and in which its state is saved.
    max_time : float, optional
        Seconds after which the run ends.
    view : View
        The view of the call.
    earlier : float
        The seconds of earlier calls.
    steps, most_steps : int
        The numbers of steps of the next slice, and of the largest slice.
    total : int
        The total of the progress, in the unit of the call.
    timed_out, stopped : bool
        Whether the run was ended by `max_time`, or by `is_enough`.
    """

    #: Errors after which the state of the run is unknown, and is not written.
    fatal: ClassVar[tuple[type[BaseException], ...]] = (InternalError,)
    #: Whether `advance` makes all reports of progress.
    reports: ClassVar[bool] = False

    start: float
    report: Report | None = None
    checkpoint: RunCheckpoint | None = None
    max_time: float | None = None
    view: View = field(default_factory=View)
    earlier: float = 0.0
    steps: int = 1
    most_steps: int = 2**40
    total: int = field(init=False, default=0)
    timed_out: bool = field(init=False, default=False)
    stopped: bool = field(init=False, default=False)
    _ended_at: float | None = field(init=False, default=None)
    _reported: float = field(init=False, default=-math.inf)
    _first: int = field(init=False, default=0)

    # Methods that a domain implements.

    @abstractmethod
    def advance(self, budget: Budget) -> BaseException | None:
        """Run a slice; return the error that ended it, once the state is settled."""

    @abstractmethod
    def done(self) -> int:
        """Return the progress, in the unit of `total`."""

    @abstractmethod
    def snapshot(self, status: str) -> R | None:
        """Return the result so far, or None if there is none.

        With the status "running" it must share no memory that a later slice changes.
        """

    @abstractmethod
    def state(self) -> Mapping[str, Any]:
        """Return the data for `restore`: arrays, and values of JSON types."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the state of another loop of the same run."""

    @abstractmethod
    def where(self) -> str:
        """Return the position of the run, for a note on a user's error: "after 9 steps"."""

    # Methods that a domain may implement.

    def begin(self) -> None:
        """Prepare the first slice."""

    def settle(self) -> None:
        """Bring the state to the end of a slice after an error."""

    def salvage(self) -> R | None:
        """Return the result so far after a fatal error, if it does not depend on the state."""
        return None

    def on_slice(self) -> None:
        """Finish a slice."""

    def is_enough(self) -> bool:
        """Return whether the run may end after this slice, before it is complete."""
        return False

    def go_on(self) -> bool:
        """Begin a further part of a complete run; return whether there is one."""
        return False

    def is_complete(self) -> bool:
        """Return whether the run is complete."""
        return self.done() >= self.total

    def note(self) -> str:
        """Return the note of a progress bar."""
        return ""

    def show(self) -> None:
        """Renew the view."""
        shown = self.snapshot("running")
        self.view.show(lambda: shown)

    def save(self, status: str) -> None:
        """Write the checkpoint, if there is one."""
        if self.checkpoint is not None:
            self.checkpoint.write(self.state, self.elapsed)

    def discard(self) -> None:
        """Remove the files that a call without progress has made."""
        if self.checkpoint is not None:
            self.checkpoint.discard()

    def time_used(self) -> float:
        """Return the seconds that count for `max_time`."""
        return self.elapsed

    @property
    def is_watched(self) -> bool:
        """Whether the state is needed once a second, by a view or a callback."""
        return self.view.watched or self.report is not None

    # The loop itself.

    @property
    def elapsed(self) -> float:
        """The seconds of the run so far, including earlier calls."""
        end = time.perf_counter() if self._ended_at is None else self._ended_at
        return self.earlier + end - self.start

    def run(self) -> R:
        """Run to the end and make the last report; return the result."""
        result = self.run_to_end()
        finish(self.report, self.total, result)
        return result

    def run_to_end(self) -> R:
        """Run to the end; return the result."""
        self._ended_at, is_ready = None, False
        self._first = self.done()
        try:
            self._resume()
            is_ready = True
            self.begin()
            self.save("running")
            while not self._has_ended():
                self._slice()
            self._ended_at = time.perf_counter()
            self.save("complete")
            return self.result()
        except BaseException as error:
            self._ended_at = self._ended_at or time.perf_counter()
            self._keep(error, is_ready)
            resumed = self.checkpoint is not None and self.checkpoint.resumed
            if self.checkpoint is not None and resumed and isinstance(error, InternalError):
                # The more likely cause is an invalid state in the file that the checks did not
                # detect.
                raise CheckpointError(
                    f"{self.checkpoint.path}: the run could not go on from it: {error}"
                ) from error
            raise

    def result(self) -> R:
        """Return the result of a run that has ended."""
        result = self.snapshot("complete")
        assert result is not None
        return result

    def continue_from(self, state: dict[str, Any], elapsed: float) -> None:
        """Continue from the state of another loop and its time in seconds."""
        self.earlier = elapsed
        self.restore(state)

    def budget(self) -> Budget:
        """Return the budget of the next slice."""
        limits = [_TICK] if self.is_watched else []
        if self.checkpoint is not None:
            limits.append(self.checkpoint.wait())
        if self.max_time is not None:
            limits.append(self.max_time - self.time_used())
        return Budget(max(min(limits), 0.0) if limits else None, self.steps)

    def is_late(self) -> bool:
        """Return whether `max_time` has passed."""
        return self.max_time is not None and self.time_used() >= self.max_time

    def _resume(self) -> None:
        if self.checkpoint is not None and self.checkpoint.stored:
            self.continue_from(self.checkpoint.take(), self.checkpoint.elapsed)

    def decoding(self) -> AbstractContextManager[None]:
        """Return a context that attributes errors to the file of a resumed run."""
        return nullcontext() if self.checkpoint is None else self.checkpoint.decoding()

    def _has_ended(self) -> bool:
        return self.timed_out or self.stopped or (self.is_complete() and not self.go_on())

    def _slice(self) -> None:
        """Run a slice, then report, save and show as due."""
        begun = time.perf_counter()
        error = self.advance(self.budget())
        taken = time.perf_counter() - begun
        if error is not None:
            raise error
        if taken < _SLICE / 2:
            self.steps = min(2 * self.steps, self.most_steps)
        elif taken > _SLICE:
            self.steps = max(self.steps // 2, 1)
        self.on_slice()
        if self.checkpoint is not None and self.checkpoint.wait() == 0:
            self.save("running")
        if self.view.is_due():
            self.show()
        self._tell()
        self.stopped = self.is_enough()
        self.timed_out = self.is_late() and not (self.stopped or self.is_complete())

    def _tell(self) -> None:
        """Report progress."""
        if self.report is None:
            return
        annotate(self.report, self.note())
        done, now = self.done(), time.perf_counter()
        # The report of the whole is left to `finish`.
        if not self.reports and done < self.total and now - self._reported > _REPORT:
            self._reported = now
            self.report(done, self.total)

    def _keep(self, error: BaseException, is_ready: bool) -> None:
        """Save the state when an error ends the run, and attach the partial result to the error."""
        if not isinstance(error, FermiacError | KeyboardInterrupt):
            error.add_note(f"raised {self.where()}")
        partial = getattr(error, "partial_result", None)
        is_known = is_ready and not isinstance(error, self.fatal)
        try:
            if is_known:
                self.settle()
                # First, so that the draws are available even if they cannot be written.
                partial = self.snapshot("interrupted")
            elif is_ready:
                partial = self.salvage()
            if self.done() <= self._first:
                self.discard()
            elif is_known:
                self.save("interrupted")
        except Exception as failure:
            error.add_note(f"and what the run had could not be kept: {failure}")
        error.partial_result = partial  # type: ignore[attr-defined]


def run_and_warn(
    run: Callable[[], R],
    findings: Callable[[R], Iterable[tuple[type[FermiacWarning], str]]],
) -> R:
    """Return the result of `run`, and give the warnings of `findings` about it.

    A public function must call it directly, so that the warnings point to the user's line.
    """
    result = None
    try:
        result = run()
        found = tolerant(findings, result)
        object.__setattr__(result, "warnings", tuple(text for _, text in found))
        warn(found, result)
    except BaseException as error:
        # Ctrl-C during the checks of the result, or a warning turned into an error, keeps the
        # result.
        if result is not None:
            error.partial_result = result  # type: ignore[attr-defined]
        raise
    return result
