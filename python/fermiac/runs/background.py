"""Calls in the background: `start`, and the handle of a started call."""

from __future__ import annotations

import atexit
import contextvars
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from fermiac._base.plan import reporting
from fermiac._base.registry import load_domains
from fermiac._base.validate import shown
from fermiac.errors import ArgumentError
from fermiac.results.result import is_quiet

__all__ = ["Run", "start", "starter", "watch"]

#: Seconds after which a waiting thread lets signals through.
_TICK = 0.1


class _Aborted(KeyboardInterrupt):
    """The exception that ends a run from its progress callback, as Ctrl-C ends a call."""


class Run:
    """A call that runs in the background, made by `fermiac.start`.

    The call runs on its own thread, with all its worker threads. It reacts to the handle when it
    reports progress, ten times a second, but not inside the user's function: `pause` and `abort`
    take effect after the current batch.

    An unfinished run is aborted when the interpreter ends.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Normal()
    >>> run = fm.start(fm.importance.expect, fm.targets.powers(2), law, n=100_000, rng=0)
    >>> run.wait(timeout=60)
    True
    >>> run.state
    'finished'
    >>> e = run.result()
    >>> bool(abs(e.mean - 1) < 5 * e.stderr)
    True
    """

    def __init__(self, verb: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> None:
        self._verb = verb
        self._args = args
        self._kwargs = dict(kwargs)
        self._report, self._kwargs["plan"] = reporting(self._kwargs.get("plan"), self._progress)
        self._lock = threading.Condition()
        self._state = "running"
        self._paused = False
        self._abort = False
        self._counts = (0, 0)
        self._view: Callable[[], Any] | None = None
        self._value: Any = None
        self._error: BaseException | None = None
        self._finished = threading.Event()
        self._since: float | None = time.monotonic()
        self._elapsed = 0.0
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._call,), name=f"fermiac-{verb.__name__}", daemon=True
        )
        _live.add(self)
        self._thread.start()

    def _call(self) -> None:
        _running.set(self)
        try:
            self._value = self._verb(*self._args, **self._kwargs)
            state = "finished"
        except _Aborted as error:
            self._value = getattr(error, "partial_result", None)
            state = "aborted"
        except BaseException as error:
            self._error = error
            state = "failed"
        with self._lock:
            self._stop_clock()
            self._state = state
            self._view = None
            self._finished.set()
            self._lock.notify_all()

    def _progress(self, done: int, total: int) -> None:
        with self._lock:
            self._counts = (done, total)
            if self._held():
                self._state = "paused"
                self._stop_clock()
                self._lock.wait_for(lambda: not self._held())
                self._since = time.monotonic()
                self._state = "running"
            if self._abort and done < total:
                raise _Aborted("the run was aborted by its handle")
        if self._report is not None:
            try:
                self._report(done, total)
            except _Aborted:
                if done < total:
                    raise  # else there is nothing left to abort

    def _held(self) -> bool:
        return self._paused and not self._abort

    def _stop_clock(self) -> None:
        if self._since is not None:
            self._elapsed += time.monotonic() - self._since
            self._since = None

    @property
    def state(self) -> str:
        """``"running"``, ``"paused"``, ``"finished"``, ``"failed"`` or ``"aborted"``."""
        return self._state

    @property
    def progress(self) -> tuple[int, int]:
        """The work done and the total work, in the unit of the call; (0, 0) at the start."""
        return self._counts

    @property
    def elapsed(self) -> float:
        """The seconds of the run so far, without pauses."""
        with self._lock:
            running = 0.0 if self._since is None else time.monotonic() - self._since
            return self._elapsed + running

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the run has ended.

        Ctrl-C ends the waiting but not the run; use `abort` to end the run.

        Parameters
        ----------
        timeout : float, optional
            The largest number of seconds to wait.

        Returns
        -------
        bool
            Whether the run has ended.

        Raises
        ------
        RuntimeError
            If the run itself calls this, for instance its progress callback.
        """
        if self._is_own_thread():
            raise RuntimeError(
                "the run waits for itself: what it calls (its progress callback, its target) may "
                "pause or abort it, but not wait for it"
            )
        limit = None if timeout is None else time.monotonic() + timeout
        # In short pieces, since a lock without a limit cannot be interrupted everywhere.
        while not self._finished.is_set():
            left = _TICK if limit is None else min(_TICK, limit - time.monotonic())
            if left <= 0:
                return False
            self._finished.wait(left)
        return True

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the result.

        Parameters
        ----------
        timeout : float, optional
            The largest number of seconds to wait.

        Returns
        -------
        Result
            The return value of the call; for an aborted run the partial result, or None.

        Raises
        ------
        TimeoutError
            If the run has not ended by then; it continues.
        BaseException
            The exception that the call raised.
        """
        if not self.wait(timeout):
            raise TimeoutError(f"the run has not ended after {timeout} s; it goes on")
        if self._error is not None:
            raise self._error
        return self._value

    def inspect(self) -> Any:
        """Return the result so far while the run continues.

        Returns
        -------
        Result or None
            A copy of the result so far, with ``status="running"``, at most about a second old; for
            chains, the draws that all of them have. None if there is no result yet, or the call has
            none before its end. After the end, the final result.
        """
        view = self._view
        return self._value if view is None else view()

    def pause(self) -> None:
        """Pause the run at its next progress report; `state` is then ``"paused"``.

        The run keeps its memory and worker threads. Nothing happens if it has ended.
        """
        with self._lock:
            self._paused = True

    def resume(self) -> None:
        """Resume a paused run."""
        with self._lock:
            self._paused = False
            self._lock.notify_all()

    def abort(self, timeout: float | None = None) -> Any:
        """End the run and return its partial result.

        If the run itself calls it, for instance in its progress callback, it does not return.

        Parameters
        ----------
        timeout : float, optional
            The largest number of seconds to wait for the current batch.

        Returns
        -------
        Result or None
            The partial result, with ``status="interrupted"``, or None if there was none yet; the
            full result if the run had ended before.

        Raises
        ------
        TimeoutError
            If the current batch takes longer; the run ends after it.
        BaseException
            The exception that the call raised, if it had failed before.
        """
        with self._lock:
            self._abort = True
            self._lock.notify_all()
        if self._is_own_thread():
            raise _Aborted("the run was aborted by its handle")
        return self.result(timeout)

    def _is_own_thread(self) -> bool:
        return threading.current_thread() is self._thread

    def __repr__(self) -> str:
        done, total = self.progress
        share = f", {100 * done // total} % of {total}" if total else ""
        return f"Run of {self._verb.__name__}: {self.state}{share}, {self.elapsed:.3g} s"


#: The run in whose thread the present call is.
_running: contextvars.ContextVar[Run | None] = contextvars.ContextVar("fermiac_run", default=None)


def watch(view: Callable[[], Any]) -> bool:
    """Let the handle of the present call show the value of `view`; return whether one exists."""
    run = _running.get()
    if run is None or run._view is not None or is_quiet():
        return False  # no handle, or that of a call around this one
    run._view = view
    return True


#: Runs to be ended before the interpreter is: a thread must not enter one that is being torn down.
_live: weakref.WeakSet[Run] = weakref.WeakSet()

if hasattr(os, "register_at_fork"):
    # The child has none of the threads of the runs, and their locks may be held forever.
    os.register_at_fork(after_in_child=_live.clear)


@atexit.register
def _abort_all() -> None:
    for run in list(_live):
        with run._lock:
            run._abort = True
            run._lock.notify_all()
    for run in list(_live):
        run._thread.join()


#: The verbs that can be started, by their names beneath `fermiac`: "mcmc.sample".
_VERBS: dict[str, Callable[..., Any]] = {}


def start(verb: Callable[..., Any], *args: Any, **kwargs: Any) -> Run:
    """Start a long call in the background, and return a handle to it.

    Parameters
    ----------
    verb : function
        The function to call, which is one of the long ones: ``expect``, ``evidence`` or
        ``failure_probability`` of `fermiac.importance`, ``sample`` or ``extend`` of
        `fermiac.mcmc` or `fermiac.nested`, ``walk``, ``extend`` or ``optimize`` of
        `fermiac.walks`, or of `fermiac.score` one that samples, integrates, searches or trains.
        The ``start`` of a domain also accepts the name of the function.
    *args, **kwargs
        The arguments of the function. A callable ``progress`` of the plan is called on the thread
        of the run.

    Returns
    -------
    Run
        A handle with ``wait``, ``result``, ``pause``, ``resume``, ``inspect``, ``abort``,
        ``state``, ``progress`` and ``elapsed``.

    Raises
    ------
    ArgumentError
        If `verb` is not a function that can be started. An error in the arguments is raised by
        `Run.result`.

    Examples
    --------
    Take the result of a long run so far:

    >>> import fermiac as fm
    >>> law = fm.distributions.Normal([0.0, 0.0])
    >>> run = fm.start(fm.mcmc.sample, law, kernel=fm.mcmc.MALA(), n_draws=10**7, rng=0)
    >>> run.wait(timeout=0.5)
    False
    >>> partial = run.abort()
    >>> partial.status
    'interrupted'
    """
    if not any(verb is known for known in _VERBS.values()):
        load_domains()
        names = ", ".join(f"fermiac.{name}" for name in sorted(_VERBS))
        raise ArgumentError(f"verb: {shown(verb)} given; one of these functions is needed: {names}")
    return Run(verb, args, kwargs)


def starter(domain: str, *verbs: Callable[..., Any]) -> Callable[..., Run]:
    """Return the function ``start`` of a domain, and register the domain's verbs for `start`."""
    own = {verb.__name__: verb for verb in verbs}
    _VERBS.update({f"{domain}.{name}": verb for name, verb in own.items()})

    def start_verb(verb: str | Callable[..., Any], *args: Any, **kwargs: Any) -> Run:
        found = own.get(verb) if isinstance(verb, str) else verb
        if not any(found is known for known in own.values()):
            names = ", ".join(map(repr, own))
            raise ArgumentError(
                f"verb: {shown(verb)} given; fermiac.{domain} starts {names}, by name or as the "
                "function"
            )
        assert found is not None
        return Run(found, args, kwargs)

    start_verb.__name__ = start_verb.__qualname__ = "start"
    start_verb.__module__ = f"fermiac.{domain}"
    start_verb.__doc__ = f"""Start a function of this domain in the background.

    Parameters
    ----------
    verb : str or callable
        {", ".join(f"``{name!r}``" for name in own)}, or the function itself.
    *args, **kwargs
        The arguments of the function.

    Returns
    -------
    Run
        The handle of the call; see `fermiac.start`.

    Raises
    ------
    ArgumentError
        If `verb` is none of these.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.{domain}.start("no such function")
    Traceback (most recent call last):
        ...
    fermiac.errors.ArgumentError: ...
    """
    return start_verb
