"""Log-densities: the base class for all methods, and that of the built-in ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.config import threads_for
from fermiac.distributions.law import Measure
from fermiac.errors import ArgumentError, TargetError
from fermiac.targets.builtin import Built, real_numbers

__all__ = ["BuiltinDensity", "LogDensity"]

Array = NDArray[np.float64]


class LogDensity:
    """A log-density, possibly with its gradient; `fermiac.targets.as_target` makes one.

    Attributes
    ----------
    dim : int
        Coordinates of a point.
    has_gradient : bool
        Whether it has a gradient.
    form : {"builtin", "python", "native", "torch"}
        The form of the target.
    names : tuple of str or None
        The names of the coordinates, if they have names.
    log_evidence : float or None
        The logarithm of the density's integral, if it is known in closed form.

    Examples
    --------
    >>> import fermiac as fm
    >>> f = fm.targets.banana()
    >>> f.dim, f.has_gradient, f.form
    (2, True, 'builtin')
    >>> f.log_density([[0.0, 0.0], [1.0, 2.0]]).shape
    (2,)
    """

    __slots__ = ("_origin",)

    #: How another process makes the target anew, if a factory made it: a function, its arguments.
    _origin: tuple[Callable[..., Any], tuple[Any, ...]]
    dim: int
    has_gradient: bool
    form: str
    names: tuple[str, ...] | None = None
    log_evidence: float | None = None
    #: Evaluations of the target in addition to one for each point.
    _more_evals: int = 0
    #: Whether the gradient comes from automatic differentiation, so that it needs no check.
    _autodiff: bool = False

    def __reduce_ex__(self, protocol: Any) -> Any:
        return getattr(self, "_origin", None) or super().__reduce_ex__(protocol)

    @property
    def _complaint(self) -> str | None:
        """The target's message about the last point that it could not evaluate."""
        return getattr(self._handle, "complaint", None)

    @property
    def _handle(self) -> Any:
        """The argument of the core: a handle, or (evaluate, dim, has_gradient)."""
        return (self._evaluate, self.dim, self.has_gradient)

    def _support(self) -> list[tuple[float, float]]:
        """Return the bounds of every coordinate, as far as they are known."""
        return [(-np.inf, np.inf)] * self.dim

    def _measure(self) -> Measure:
        """Return the reference measure of the density."""
        return "volume"

    def _evaluate(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
        """Return values (n,) and, if wanted, gradients (n, d): C-contiguous float64 arrays.

        Shapes and types are checked here, values by the caller.
        """
        raise NotImplementedError

    def _tolerantly(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
        """Return values and gradients as `_evaluate`, NaN at points at which the target fails.

        It is for checks after a run. Points with a coordinate that is not finite are not evaluated.
        A batch that fails is halved, since one point may fail it.
        """
        values = np.full(len(x), np.nan)
        slopes = np.full(x.shape, np.nan) if with_gradient else None
        batches = [np.flatnonzero(np.isfinite(x).all(axis=1))]
        with np.errstate(all="ignore"):
            while batches:
                rows = batches.pop()
                if not len(rows):
                    continue
                try:
                    values[rows], more = self._evaluate(
                        np.ascontiguousarray(x[rows]), with_gradient
                    )
                except Exception:
                    halves = np.array_split(rows, 2)
                    batches += halves if len(rows) > 1 else []
                    continue
                if slopes is not None and more is not None:
                    slopes[rows] = more
        return values, slopes

    def log_density(self, x: ArrayLike) -> Array:
        """Evaluate a batch of points.

        Parameters
        ----------
        x : array_like of shape (n, d)

        Returns
        -------
        ndarray of shape (n,)
            -inf where the density is 0.

        Raises
        ------
        ArgumentError
            If `x` is not an array of numbers of this shape.
        TargetError
            If the target gives a wrong shape, a NaN or +inf.
        """
        points = self._points(x)
        values, _ = self._evaluate(points, False)
        _settle(points, values, None)
        return values

    __call__ = log_density

    def log_density_and_gradient(self, x: ArrayLike) -> tuple[Array, Array]:
        """Evaluate a batch of points, with gradients.

        Parameters
        ----------
        x : array_like of shape (n, d)

        Returns
        -------
        values : ndarray of shape (n,)
        gradients : ndarray of shape (n, d)
            Undefined where the density is 0.

        Raises
        ------
        ArgumentError
            If `x` is not an array of numbers of this shape, or there is no gradient.
        TargetError
            If the target gives a wrong shape, a NaN or +inf.
        """
        if not self.has_gradient:
            raise ArgumentError(
                "this log-density has no gradient; give one by as_target(f, dim, gradient=g), "
                "gradient=True for a function that returns (value, gradient), or gradient='finite'"
            )
        points = self._points(x)
        values, gradients = self._evaluate(points, True)
        assert gradients is not None
        _settle(points, values, gradients)
        return values, gradients

    @staticmethod
    def _evaluate_handle(
        handle: _core.LogDensity, x: Array, with_gradient: bool
    ) -> tuple[Array, Array | None]:
        threads = threads_for(len(x))
        if with_gradient:
            return handle.log_density_gradient(x, threads)
        return handle.log_density(x, threads), None

    def _points(self, x: ArrayLike) -> Array:
        # A C-contiguous float64 array is not copied: the target gets the array of its caller.
        if (
            type(x) is np.ndarray
            and x.dtype == np.float64
            and x.flags.c_contiguous
            and x.flags.aligned
        ):
            points = x
        else:
            points = real_numbers("x", x)
        if points.ndim != 2 or points.shape[1] != self.dim:
            raise ArgumentError(
                f"x: an array of shape {points.shape} given; points of {self.dim} "
                f"coordinate{'s' if self.dim > 1 else ''} as rows are needed, (n, {self.dim})"
            )
        return points


class BuiltinDensity(Built, LogDensity):
    """A log-density that runs in Rust, on all threads where a method evaluates it.

    Functions of `fermiac.targets` make them (`funnel`, `logistic_regression`, ...). They are
    frozen, equal if they were made by the same function from equal arguments, hashable and
    picklable. The value of a point never depends on the batch that it comes in.

    Attributes
    ----------
    dim : int
        Coordinates of a point.
    has_gradient : bool
        Whether it has a gradient.
    form : str
        ``"builtin"``.
    names : tuple of str or None
        The names of the coordinates, if they have names.
    log_evidence : float or None
        The logarithm of the density's integral, if it is known in closed form.

    Examples
    --------
    >>> import fermiac as fm
    >>> target = fm.targets.funnel(3)
    >>> target
    funnel(3, 3.0)
    >>> target.names
    ('v', 'x[0]', 'x[1]')
    >>> value, gradient = target.log_density_and_gradient([[0.0, 1.0, 2.0]])
    >>> gradient
    array([[ 1.5, -1. , -2. ]])
    """

    __slots__ = (
        "_arguments",
        "_core_handle",
        "_make",
        "dim",
        "has_gradient",
        "log_evidence",
        "names",
    )

    form = "builtin"
    _core_handle: _core.LogDensity

    def __init__(
        self,
        make: Callable[..., LogDensity],
        handle: _core.LogDensity,
        names: tuple[str, ...] | None,
        **arguments: Any,
    ) -> None:
        self._freeze(
            make,
            arguments,
            _core_handle=handle,
            dim=handle.dim,
            has_gradient=handle.has_gradient,
            log_evidence=handle.log_evidence,
            names=names,
        )

    @property
    def _handle(self) -> _core.LogDensity:
        return self._core_handle

    def _support(self) -> list[tuple[float, float]]:
        # The density of a law; others have the whole space.
        law = self._arguments.get("law")
        return super()._support() if law is None else list(law._support())

    def _measure(self) -> Measure:
        law = self._arguments.get("law")
        return super()._measure() if law is None else law._measure()

    def _evaluate(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
        return self._evaluate_handle(self._core_handle, x, with_gradient)


def _settle(x: Array, values: Array, gradients: Array | None) -> None:
    """Apply the rules of the core to a target that is called outside a method."""
    # One pass suffices if all is well: a NaN is the maximum, and not below infinity.
    if len(values) and not np.maximum.reduce(values) < np.inf:
        bad = np.flatnonzero(np.isnan(values) | (values == np.inf))
        raise TargetError(
            f"the log-density is {values[bad[0]]} at row {bad[0]} of the batch, x = "
            f"{x[bad[0]][:6]}; give -inf where the density is 0, and a finite number elsewhere"
        )
    if gradients is not None:
        wrong = ~np.isfinite(gradients) & (values > -np.inf)[:, None]
        if wrong.any():
            row, k = np.argwhere(wrong)[0]
            raise TargetError(
                f"the gradient of the log-density is {gradients[row, k]} in coordinate {k} at row "
                f"{row} of the batch, x = {x[row][:6]}; it must be finite wherever the density is "
                "not 0"
            )
