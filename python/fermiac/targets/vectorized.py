"""A function of one point as a function of a batch, for those who know what it costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import ArgumentError, TargetError

__all__ = ["vectorize"]


def vectorize(f: Callable[[NDArray[np.float64]], Any]) -> Callable[[Any], NDArray[Any]]:
    """Make a batched function of a function of one point.

    The function is called in a Python loop: a microsecond or more for every point, on one thread,
    whatever the number of cores. A function that takes the (n, d) array whole with NumPy's
    operations is commonly ten to a hundred times faster, and a built-in integrand faster still.

    Parameters
    ----------
    f : callable
        Takes one point, an array of shape (d,); gives a number, or k numbers.

    Returns
    -------
    callable
        Takes an array of shape (n, d); gives (n,) or (n, k). It can be pickled if `f` can.

    Raises
    ------
    ArgumentError
        If `f` is not callable. The function that is returned raises it for an array that is not
        of shape (n, d), and `TargetError` if `f` gives something else than a number or one list
        of numbers, equally long for all points. What `f` itself raises passes through.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> f = fm.targets.vectorize(lambda x: max(x[0], x[1]))
    >>> f(np.array([[1.0, 2.0], [4.0, 3.0]]))
    array([2., 4.])
    """
    if not callable(f):
        raise ArgumentError(
            f"f: {type(f).__name__} given; a function of one point, an array of shape (d,), is "
            "needed"
        )
    return _Vectorized(f)


class _Vectorized:
    """Calls a function point by point."""

    __slots__ = ("_f",)

    def __init__(self, f: Callable[[NDArray[np.float64]], Any]) -> None:
        self._f = f

    def __repr__(self) -> str:
        return f"vectorize({self._f!r})"

    def __call__(self, x: Any) -> NDArray[Any]:
        points = np.asarray(x, dtype=np.float64)
        if points.ndim != 2:
            raise ArgumentError(
                f"x: an array of shape {points.shape} given; points as rows, shape (n, d), are "
                "needed"
            )
        results = []
        for i, point in enumerate(points):
            try:
                results.append(self._f(point))
            except BaseException as error:
                error.add_note(f"raised by the function given to vectorize at point {i}: {point}")
                raise
        try:
            values = np.asarray(results) if results else np.empty(0)
        except ValueError as error:
            raise TargetError(
                "the function given to vectorize gave results of different shapes; it must give a "
                "number, or the same number of them, for every point"
            ) from error
        if values.dtype.kind not in "biufc" or values.ndim > 2:
            raise TargetError(
                f"the function given to vectorize gave {type(results[0]).__name__} of shape "
                f"{values.shape[1:]} and type {values.dtype}; it must give a number or one list "
                "of numbers for a point"
            )
        return values
