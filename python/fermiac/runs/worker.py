"""The work on one shard in a worker of an engine."""

from __future__ import annotations

import os
import pickle
import platform
import tempfile
import time
import traceback
import uuid
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.config import threads
from fermiac.errors import ArgumentError, TargetError, WorkerError
from fermiac.targets.callables import as_batch
from fermiac.targets.density import LogDensity

__all__ = ["ASKS", "DONE", "FAILED", "Points", "Stored", "direct", "in_thread", "run"]

Array = NDArray[np.float64]

#: The first entry of the tuple that a worker returns. The second is its name. The others are:
#: for `DONE` the time in seconds and the value of the work;
DONE = "done"
#: for `FAILED` the exception of the work, which some engines would wrap or treat as a lost worker;
FAILED = "failed"
#: for `ASKS` nothing: the work must be sent first.
ASKS = "asks"

#: The last work that this process received, by the digest of its pickle.
_known: OrderedDict[bytes, Callable[..., Any]] = OrderedDict()
_KEPT = 8
#: The name of this process and the process id that it belongs to, which differs after a fork.
_name = ("", 0)


def run(call: tuple[Any, ...], handed: Any = None) -> tuple[Any, ...]:
    """Return the value of the work for one shard, or a request to send the work first.

    Parameters
    ----------
    call : tuple
        A single argument, since each one costs time in an engine. It has the digest of the pickle
        of the work, which is a callable; the pickle or None; the instruction-set level of the
        driver; the number of earlier attempts at the shard, so that an engine that caches results
        does not return a failure again; and the arguments of the work.
    handed : bytes, array of bytes or Stored, optional
        The pickle, if the engine provides it.
    """
    digest, pickled, isa, _, args = call
    try:
        if isa != _core.isa_level:
            raise WorkerError(
                f"{_here()} runs at the level {_core.isa_level!r}, the driver at {isa!r}: their "
                "values could differ in the last bits; set the environment variable FERMIAC_ISA to "
                "the lower level for the driver and all workers"
            )
        work = _known.get(digest)
        if work is None:
            if pickled is None and handed is None:
                return ASKS, _me()
            work = _known[digest] = _loaded(pickled if handed is None else handed)
            while len(_known) > _KEPT:
                _known.popitem(last=False)
        return in_thread(work, args)
    except Exception as error:
        return FAILED, _me(), _portable(error)


def in_thread(work: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the value of the work for one shard, in this process."""
    start = time.perf_counter()
    with threads(1):
        value = work(*args)
    return DONE, _me(), time.perf_counter() - start, value


def _loaded(pickled: Any) -> Callable[..., Any]:
    try:
        given = pickled.read() if isinstance(pickled, Stored) else pickled
        work: Callable[..., Any] = pickle.loads(given)
    except Exception as error:
        raise ArgumentError(
            f"executor: {_here()} cannot load the target ({type(error).__name__}: {error}); the "
            "modules that define it must be importable there; see also "
            "fermiac.targets.factory"
        ) from error
    return work


class Stored:
    """The pickle of some work in a file that all workers of this machine read."""

    def __init__(self, path: str) -> None:
        self._path = path

    @classmethod
    def written(cls, pickled: bytes) -> Stored:
        """Return the pickle in a file of its own."""
        descriptor, path = tempfile.mkstemp(prefix="fermiac-", suffix=".pickle")
        with open(descriptor, "wb") as file:
            file.write(pickled)
        return cls(path)

    def read(self) -> bytes:
        """Return the pickle."""
        with open(self._path, "rb") as file:
            return file.read()

    def remove(self) -> None:
        """Remove the file; workers that have read it keep the work."""
        with suppress(OSError):
            os.unlink(self._path)


class Points:
    """The values of a target at some points, as the work of a shard."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __call__(self, x: Array, with_gradient: bool | None) -> tuple[NDArray[Any], ...]:
        """Return the values; `with_gradient` is None for an integrand, a flag for a density."""
        # Unpickled arrays may be read-only or unaligned, and the user's function may write to its
        # batch.
        return direct(self._target, np.require(x, np.float64, ["C", "A", "W"]), with_gradient)


def direct(target: Any, x: Array, with_gradient: bool | None) -> tuple[NDArray[Any], ...]:
    """Return copies of the values at the rows of `x`, evaluated in this process."""
    # Copies: a function may give the same buffer, refilled, for every piece of a batch.
    if with_gradient is None:
        return (as_batch(target(x), x).copy(),)
    if not isinstance(target, LogDensity):
        raise TargetError(
            f"the target of a worker is a {type(target).__name__}; a log-density as "
            "fermiac.targets makes it is needed (as_target, native, torch)"
        )
    values, gradients = target._evaluate(x, with_gradient)
    return (values.copy(),) if gradients is None else (values.copy(), gradients.copy())


def _portable(error: Exception) -> Exception:
    """Return the exception with its traceback in a note; only its text if it cannot be pickled."""
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return TargetError(
            f"the target raised {type(error).__name__}, which cannot be pickled: {error}\n{text}"
        )
    error.add_note(f"in {_here()}:\n{text}".rstrip())
    return error


def _me() -> str:
    """Return a unique name of this process."""
    global _name
    if _name[1] != os.getpid():
        _name = (uuid.uuid4().hex, os.getpid())
    return _name[0]


def _here() -> str:
    return f"worker process {os.getpid()} on {platform.node()}"
