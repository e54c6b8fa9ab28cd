"""The comparison of a batch of two points with the two single points.

A function of one point may accept a batch without an error, where a function of batches is needed:
``a, b = theta`` unpacks two points as well as two coordinates. At the first call of a Python
function a batch of two points is therefore compared with two batches of one point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.validate import shown
from fermiac.errors import CheckpointError, TargetError, WorkerError

__all__ = ["SINGLE", "Compared", "all_equal", "compare_rows", "is_single"]

Array = NDArray[np.float64]
Parts = list[NDArray[Any]]

#: Differences up to this share of the largest value are rounding: in double precision, and for
#: values that single precision holds. Mixed rows differ by far more.
_DOUBLE, SINGLE = 1e-6, 1e-3
_ADVICE = (
    "the values of a row must depend on that row alone. For a function of one point: "
    "fermiac.targets.vectorize(f)"
)
_OFF = "; check=False leaves this comparison out"


class _WrongShape(ValueError):
    """A function returned a value of a wrong shape."""


class Compared:
    """A function of batches whose rows are compared at its first call; see `compare_rows`."""

    __slots__ = ("_done", "_f", "_what")

    def __init__(self, f: Callable[[Array], Any], what: str) -> None:
        self._f = f
        self._what = what
        self._done = False

    def __call__(self, x: Array) -> Any:
        """Return the values of the function; its rows are compared at the first call."""
        if not self._done and len(x):
            compare_rows(self._f, x, self._what)
            self._done = True
        return self._f(x)

    def __reduce__(self) -> tuple[Any, ...]:
        return Compared, (self._f, self._what)

    def __repr__(self) -> str:
        return repr(self._f)


def compare_rows(
    f: Callable[[Array], Any],
    x: Array,
    what: str,
    *,
    parts: int = 0,
    constant: bool = False,
    can_be_off: bool = False,
) -> None:
    """Raise an error if the values of two points depend on whether they are in one batch.

    Parameters
    ----------
    f : callable (n, d) -> (n, ...)
        A function that is called with two rows of `x`, then with each of the two. If it fails, it
        is also called with `x` and with a single point of shape (d,). If the values differ, it is
        called with the two rows once more.
    x : ndarray of shape (n, d)
        The batch of the first call, with at least one row. If all rows are equal, two equal rows
        are used.
    what : str
        The function, for messages.
    parts : int
        The length of the tuple that `f` returns; 0 if it returns one array.
    constant : bool
        Whether the value may be one constant array without a row for each point.
    can_be_off : bool
        Whether the caller has an argument ``check``, for messages.

    Raises
    ------
    TargetError
        If the values differ by more than rounding and are not random (the same two rows give the
        same values again), or if `f` fails on two points but not on one. If `f` fails on all
        batches and on a single point, or returns a wrong shape for `x`, nothing is raised here,
        since the following call fails with a better message.
    """
    differs = np.flatnonzero((x != x[0]).any(axis=1))
    two = x[[0, int(differs[0]) if differs.size else 0]]
    off = _OFF if can_be_off else ""

    def attempt(points: Array) -> Parts | Exception:
        try:
            return _parts(f(points.copy()), len(points), parts, constant)
        except (CheckpointError, WorkerError):
            raise
        except Exception as error:
            return error

    pair, alone = attempt(two), [attempt(two[:1]), attempt(two[1:])]
    fine = [one for one in alone if not isinstance(one, Exception)]
    if not isinstance(pair, Exception) and len(fine) == 2:
        if all(_same(pair, one, i) for i, one in enumerate(fine)):
            return
        again = attempt(two)
        if isinstance(again, Exception) or not all_equal(pair, again):
            return  # they are random
        raise TargetError(
            f"{what} gave {_text(pair)} for a batch of two points, and {_text(fine[0])} and "
            f"{_text(fine[1])} for the same points alone, x = {_points(two)}; {_ADVICE}{off}"
        )
    wrong = any(isinstance(one, _WrongShape) for one in (pair, *alone))
    if wrong and isinstance(attempt(x), _WrongShape):
        return
    if len(fine) == 2:
        assert isinstance(pair, Exception)
        raise TargetError(
            f"{what} gave {_text(fine[0])} and {_text(fine[1])} for two points alone, x = "
            f"{_points(two)}, and failed on a batch of the two: {_failure(pair)}; {_ADVICE}{off}"
        ) from pair
    try:
        single = _parts(f(two[0].copy()), None, parts, constant)
    except (CheckpointError, WorkerError):
        raise
    except Exception:
        return
    if not isinstance(pair, Exception) and _same(pair, [one[None] for one in single], 0):
        return
    cause = pair if isinstance(pair, Exception) else None
    gave = f"failed on a batch of two points: {_failure(cause)}"
    if not isinstance(pair, Exception):
        gave = f"gave {_text(pair)} for a batch of two points"
    raise TargetError(
        f"{what} is a function of one point: it gave {_text(single)} for the array of shape "
        f"{two[0].shape}, x = {_points(two[:1])}, and {gave}; {_ADVICE}{off}"
    ) from cause


def _parts(y: Any, n: int | None, parts: int, constant: bool) -> Parts:
    """Return the values as arrays with `n` rows, or those of a single point."""
    if parts and not (isinstance(y, tuple | list) and len(y) == parts):
        raise _WrongShape(f"it gave {shown(y)} where {parts} arrays are needed")
    # Copies, as the function may give the same arrays again.
    arrays = [np.array(part) for part in (y if parts else (y,))]
    for array in arrays:
        if array.dtype.kind not in "biufc":
            raise _WrongShape(f"it gave an array of type {array.dtype}")
        if n is None:
            if array.ndim > 1 or not array.size:
                raise _WrongShape(f"it gave an array of shape {array.shape}")
        elif not constant and (array.ndim == 0 or len(array) != n):
            # Commonly a squeezed array, for one point.
            if n == 1 and array.ndim == 0:
                continue
            raise _WrongShape(f"it gave an array of shape {array.shape} for {n} points")
    return [np.atleast_1d(a.astype(float) if a.dtype.kind == "b" else a) for a in arrays]


def _same(pair: Parts, one: Parts, row: int) -> bool:
    """Return whether row `row` of a batch of two has the values of a batch of one."""
    for both, single in zip(pair, one, strict=True):
        mine = both if both.shape == single.shape else both[row : row + 1]
        if mine.size != single.size:
            return False
        a, b = mine.ravel(), single.ravel()
        known = np.isfinite(a) & np.isfinite(b)
        # Infinities and NaN must be the same.
        if not np.array_equal(a[~known], b[~known], equal_nan=True):
            return False
        values = np.concatenate([both[np.isfinite(both)], b[known]])
        if not known.any():
            continue
        limit = (SINGLE if is_single(values) else _DOUBLE) * np.abs(values).max()
        if not (np.abs(a[known] - b[known]) <= limit).all():
            return False
    return True


def is_single(values: NDArray[Any]) -> bool:
    """Return whether single precision holds all the values."""
    if values.dtype.kind == "c":
        values = np.concatenate([values.real, values.imag])
    with np.errstate(over="ignore"):
        return bool((values.astype(np.float32) == values).all())


def all_equal(a: Sequence[NDArray[Any]], b: Sequence[NDArray[Any]]) -> bool:
    """Return whether two evaluations gave the same values."""
    return all(np.array_equal(p, q, equal_nan=True) for p, q in zip(a, b, strict=True))


def _text(values: Parts) -> str:
    texts = [np.array2string(v, precision=6, threshold=8).replace("\n", "") for v in values]
    return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"


def _points(x: Array) -> str:
    rows = [np.array2string(row, precision=6, threshold=6).replace("\n", "") for row in x]
    return " and ".join(rows)


def _failure(error: Exception | None) -> str:
    text = (str(error).splitlines() or [""])[0][:200]
    return text if isinstance(error, _WrongShape) else f"{type(error).__name__}: {text}"
