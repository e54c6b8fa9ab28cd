"""Calls of the user's functions: arrays of their own, one form of note, and checked answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.tensors import is_tensor, to_numpy
from fermiac.errors import CheckpointError, TargetError, WorkerError

__all__ = ["array_of", "ask", "own", "real_answer"]

#: The largest array that is copied for a function, in bytes; it gets larger ones read-only. Batches
#: are smaller. Compiled extensions refuse read-only arrays, and torch warns of them.
_COPIED = 2**24
_DOUBLE = np.dtype(np.float64)


def ask(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    what: str,
    on: str | Callable[[], str] | None = None,
    fresh: bool = False,
) -> Any:
    """Return what a user's function gives for arguments.

    Parameters
    ----------
    function : callable
    arguments : tuple
        The arguments by position; `own` of each is passed on.
    what : str
        The function, for the note on its exceptions.
    on : str or callable, optional
        What it was given, for the note; by default the shape of the first argument.
    fresh : bool
        Whether all arrays were made for this call alone. They are passed on as they are.
    """
    try:
        return function(*(arguments if fresh else map(own, arguments)))
    except (CheckpointError, WorkerError):
        raise  # raised by fermiac, not by the user's function
    except BaseException as error:
        told = on() if callable(on) else on or _batch(arguments)
        error.add_note(f"raised by {what} {told}".rstrip())
        raise


def own(value: Any) -> Any:
    """Return arrays as copies that a function may write to, or read-only if they are large.

    Tuples, lists and dictionaries of arrays are copied too, and tensors; other values are the same.
    """
    if isinstance(value, np.ndarray):
        if value.nbytes <= _COPIED:
            return value.copy("K")
        view = value.view()
        view.flags.writeable = False
        return view
    if type(value) in (tuple, list):
        return type(value)(map(own, value))
    if type(value) is dict:
        return {name: own(part) for name, part in value.items()}
    return value.clone() if is_tensor(value) else value


def _batch(arguments: tuple[Any, ...]) -> str:
    shape: Any = getattr(arguments[0], "shape", ()) if arguments else ()
    if len(shape) == 2:
        return f"on a batch of {shape[0]} points of dimension {shape[1]}"
    return f"on an array of shape {tuple(shape)}" if shape else ""


def array_of(y: Any, what: str) -> NDArray[Any]:
    """Return the answer of a user's function as an array of numbers."""
    if y is None:
        raise TargetError(f"{what} gave None; it must return its values")
    if np.ma.is_masked(y):
        raise TargetError(
            f"{what} gave an array with masked values, which would count as if they were not "
            "masked; fill them: return y.filled(...)"
        )
    try:
        values = np.asarray(y if is_tensor(y) and y.is_complex() else to_numpy(y))
    except Exception as error:
        raise TargetError(
            f"{what} gave a {type(y).__name__} that NumPy cannot take as an array: {error}"
        ) from error
    if values.dtype.kind not in "biufc":
        raise TargetError(f"{what} gave an array of type {values.dtype}; it must hold numbers")
    return values


def _fits(given: tuple[int, ...], shape: Any) -> bool:
    return len(given) == len(shape) and all(
        b in (a, "k" if a else a) for a, b in zip(given, shape, strict=True)
    )


def real_answer(
    y: Any,
    what: str,
    *shapes: Any,
    on: str | tuple[int, ...] | Callable[[], str] = "",
    hint: Callable[[Any, Any], str] = lambda given, needed: "",
    finite: bool = False,
) -> NDArray[np.float64]:
    """Return the answer of a user's function as doubles, in the first of the allowed shapes.

    A shape (n, "k") allows any number of columns above 0, which are kept.
    For messages `on` tells what the function was given, by words or by the shape of its batch, and
    `hint` what to do about a wrong shape. `finite` refuses NaN and infinities.
    """
    shape = shapes[0]
    as_needed = type(y) is np.ndarray and y.shape == shape and y.dtype == _DOUBLE
    if as_needed and y.flags.c_contiguous and not finite:
        return y  # type: ignore[no-any-return]
    values = array_of(y, what)
    if values.dtype.kind == "c":
        raise TargetError(f"{what} gave complex numbers; it must be real")
    form = next((one for one in shapes if _fits(values.shape, one)), None)
    if form is None:
        told = on() if callable(on) else on
        told = f"for a batch of shape {told}" if isinstance(told, tuple) else told
        raise TargetError(
            f"{what} gave an array of shape {values.shape}{told and ' ' + told}; it must be "
            f"{' or '.join(map(str, shapes))}{hint(values.shape, shape)}".replace("'k'", "k")
        )
    out = np.ascontiguousarray(values, dtype=np.float64)
    out = out if "k" in form else out.reshape(shape)
    if finite and not np.isfinite(out).all():
        at = int(np.argwhere(~np.isfinite(out))[0, 0])
        raise TargetError(f"{what} gave {out[at]} in row {at}; finite numbers are needed")
    return out
