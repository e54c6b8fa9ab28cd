"""What users give as a log-density, in the one form that methods take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import ArgumentError, TargetError
from fermiac.targets._density import LogDensity

__all__ = ["as_target"]

Array = NDArray[np.float64]


class _CallableDensity(LogDensity):
    __slots__ = ("_f", "dim", "has_gradient")

    form = "python"

    def __init__(self, f: Callable[[Array], Any], dim: int) -> None:
        self._f = f
        self.dim = dim
        self.has_gradient = False

    def _evaluate(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
        values = np.asarray(self._f(x))
        if values.shape != (len(x),) or values.dtype.kind not in "biuf":
            raise TargetError(
                f"the log-density gave an array of shape {values.shape} and type {values.dtype} "
                f"for a batch of {len(x)} points; it must be real, of shape ({len(x)},)"
            )
        return np.ascontiguousarray(values, dtype=np.float64), None


def as_target(
    obj: Any, dim: int | None = None, gradient: bool | Callable[[Array], Any] | None = None
) -> LogDensity:
    """Take a log-density, a law or a batched function (n, d) -> (n,) as a target.

    Parameters
    ----------
    obj : LogDensity, Law or callable
    dim : int, optional
        Coordinates of a point.
    gradient : None
        Gradients are not taken here.

    Returns
    -------
    LogDensity

    Raises
    ------
    ArgumentError
        If `obj` is none of these, or has another dimension.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.targets.as_target(lambda x: -x[:, 0] ** 2, 1)([[2.0]])
    array([-4.])
    """
    if gradient is not None:
        raise ArgumentError("gradient: not taken here")
    if isinstance(obj, LogDensity):
        target = obj
    elif hasattr(obj, "log_density") and hasattr(obj, "dim"):
        target = _CallableDensity(obj.log_density, obj.dim)
    elif callable(obj) and dim is not None:
        target = _CallableDensity(obj, dim)
    else:
        raise ArgumentError(f"log_density: {type(obj).__name__} given; a callable is needed")
    if dim is not None and target.dim != dim:
        raise ArgumentError(f"log_density: {target.dim} dimensions where {dim} are needed")
    return target
