"""Evaluation of one shard of a batch in a worker of an executor."""

from __future__ import annotations

import os
import pickle
import platform
import traceback
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.config import threads
from fermiac.errors import ArgumentError, TargetError, WorkerError
from fermiac.targets.callables import as_batch
from fermiac.targets.density import LogDensity
from fermiac.targets.factories import Factory

__all__ = ["RETRIED", "WITH_TARGET", "direct", "evaluate", "in_thread"]

Array = NDArray[np.float64]

#: Flags of an attempt.
RETRIED, WITH_TARGET = 1, 2

#: The targets that this process has seen last, by the digest of their pickles.
_targets: OrderedDict[bytes, Any] = OrderedDict()
_KEPT = 8


def evaluate(
    digest: bytes,
    pickled: bytes | None,
    isa: str,
    x: Array,
    with_gradient: bool | None,
    attempt: int,
) -> tuple[NDArray[Any], ...] | None:
    """Return the values at the rows of `x`, or None if the target must be sent first.

    `with_gradient` is None for an integrand, and a flag for a log-density.
    """
    if isa != _core.isa_level:
        raise WorkerError(
            f"{_here()} runs at the level {_core.isa_level!r}, the driver at {isa!r}: their values "
            "could differ in the last bits; set the environment variable FERMIAC_ISA to the lower "
            "level for the driver and all workers"
        )
    target = _targets.get(digest)
    if target is None:
        if pickled is None:
            return None
        try:
            target = pickle.loads(pickled)
        except Exception as error:
            raise ArgumentError(
                f"executor: {_here()} cannot load the target ({type(error).__name__}: {error}); "
                "the modules that define it must be importable there; see also target_factory="
            ) from error
        _targets[digest] = target
        while len(_targets) > _KEPT:
            _targets.popitem(last=False)
    # Unpickled arrays may be read-only, and the user's function may write to its batch.
    try:
        with threads(1):
            return direct(target, np.require(x, np.float64, ["C", "W"]), with_gradient)
    except Exception as error:
        raise _portable(error) from None


def direct(target: Any, x: Array, with_gradient: bool | None) -> tuple[NDArray[Any], ...]:
    """Return copies of the values at the rows of `x`, evaluated in this process."""
    if isinstance(target, Factory):
        target = target.build(x.shape[1])
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


def in_thread(target: Any, x: Array, with_gradient: bool | None) -> tuple[NDArray[Any], ...]:
    """Return the values in a worker that is a thread of the driver."""
    with threads(1):
        return direct(target, x, with_gradient)


def _portable(error: Exception) -> Exception:
    """Return the exception if it can be pickled, else one with its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        text = "".join(traceback.format_exception(error))
        return TargetError(
            f"the target raised {type(error).__name__}, which cannot be pickled: {error}\n{text}"
        )
    error.add_note(f"in {_here()}")
    return error


def _here() -> str:
    return f"worker process {os.getpid()} on {platform.node()}"
