"""Base class of the score models, and checks of their points and levels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.calls import users_level
from fermiac._base.tensors import is_tensor, like, to_numpy
from fermiac._base.validate import all_finite, numbers, shown, whole
from fermiac.errors import ArgumentError, FermiacWarning, TargetError
from fermiac.targets.torch_modules import import_torch

__all__ = ["SLACK", "Model", "event_shape_of", "points_of", "reserve", "rows_of"]

Array = NDArray[np.float64]

#: The relative tolerance at the ends of a range: the ends of a grid are computed and rounded.
SLACK = 1e-9


class Model:
    """Base class of the score models.

    A model gives, for a point y = x + s z, where x is data and z standard normal noise, the mean of
    the data behind it, D(y, s) = E[x | y]. The score of the noisy law is (D - y) / s².

    Attributes
    ----------
    dim : int or None
        Coordinates of a point; None for a network that takes any number.
    sigma_range : tuple of float or None
        The levels at which the model can be evaluated; None for any level.

    Examples
    --------
    >>> import fermiac as fm
    >>> m = fm.score.Gaussian([0.0], [[1.0]])
    >>> isinstance(m, fm.score.Model), m.denoise([[1.0]], 1.0)
    (True, array([[0.5]]))
    """

    dim: int | None = None
    sigma_range: tuple[float, float] | None = None

    #: Whether whole loops run in torch on the device of the model.
    runs_on_device: bool = False
    #: Whether levels beyond `sigma_range` are moved to its ends, with a warning.
    clamp: bool = False
    #: Whether rows must come all together and in their order, call by call.
    _needs_order: bool = False
    #: Whether a value depends on those of the run before it.
    _needs_run: bool = False
    #: The distance between the farthest modes of the data, if it is known.
    _diameter: float = 0.0

    #: How another process makes the model anew, if a factory made it: a function, its arguments.
    _origin: tuple[Callable[..., Any], tuple[Any, ...]] | None = None

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._origin or super().__reduce_ex__(protocol)

    @property
    def _event(self) -> tuple[int, ...] | None:
        """The shape of a point, or None if the model takes any."""
        return None if self.dim is None else (self.dim,)

    def _likely_event(self) -> tuple[int, ...] | None:
        """Return the shape of a point, also from the layers of a network; None if it is unknown."""
        return self._event

    # Implemented by the models: checked, C-contiguous (n, d) and (1,) or (n,) to (n, d) or (n,).
    def _denoise(self, y: Array, sigma: Array) -> Array:
        raise NotImplementedError(
            f"{type(self).__name__} defines no _denoise(self, y, sigma), which every score model "
            "needs: for points (n, d) and levels (1,) or (n,) it gives E[x | y], (n, d)"
        )

    def _score(self, y: Array, sigma: Array) -> Array:
        if not (sigma > 0).all():
            raise ArgumentError(
                f"sigma: 0 was given; {type(self).__name__} has no score without noise"
            )
        denoised = _sound("denoised points", self._denoise(y, sigma), y.shape, sigma)
        return (denoised - y) / np.square(sigma)[:, None]

    def _shaped(self, event: tuple[int, ...]) -> Model:
        """Return the model for points of this shape; most models take rows of numbers."""
        return self

    def _begun(self) -> Model:
        """Return the model at the start of a run, with its memory empty; most have none."""
        return self

    def _kept(self) -> Array | None:
        """Return the memory of a run."""
        return None

    def _restore(self, kept: Array | None) -> None:
        """Restore the memory of a run that continues."""

    def _plus_plus(self, grid: Array) -> Model:
        """Return the model whose Euler steps along a grid are those of CFG++."""
        raise ArgumentError(
            f"integrator: cfg_pp was given for a {type(self).__name__}; it is the rule of guided "
            "models: make one with fermiac.score.guided, or leave it out"
        )

    def _held(self) -> AbstractContextManager[None]:
        """Return a context in which many calls of the model share their preparation."""
        return nullcontext()

    def _to_device(self, y: Array) -> Any:
        """Return points as a tensor on the device of the model."""
        raise NotImplementedError

    def _home(self) -> tuple[Any, Any]:
        """Return the device and the type of its points as tensors."""
        return "cpu", import_torch().float64

    def _sampling_range(self) -> tuple[float, float]:
        """Return the default range of levels of a sampler."""
        if self.sigma_range is None:
            raise ArgumentError(
                "sigma_range: not given, and the model does not say; give (lowest, highest) level: "
                "the highest large against the data, the lowest below what is to be resolved"
            )
        return self.sigma_range

    @property
    def has_log_density(self) -> bool:
        """Whether `log_density` can be called."""
        return False

    def _log_density(self, y: Array, sigma: Array) -> Array:
        raise ArgumentError(
            f"model: {type(self).__name__} has no log-density; see `log_likelihood` for "
            "that of the probability-flow equation"
        )

    @property
    def has_trace(self) -> bool:
        """Whether the model provides the trace of its derivative."""
        return False

    def _with_trace(self, y: Array, sigma: Array) -> tuple[Array, Array]:
        """Return D and tr ∂D/∂y."""
        raise ArgumentError(f"model: {type(self).__name__} has no derivative")

    @property
    def has_vjp(self) -> bool:
        """Whether the model provides the products of its derivative with vectors."""
        return False

    def _vjp(self, y: Array, sigma: Array, vectors: Array) -> Array:
        """Return (∂D/∂y)ᵀ v for a vector v of each row, (n, d)."""
        raise ArgumentError(f"model: {type(self).__name__} has no derivative")

    def _core(self, dim: int) -> Any:
        """Return the model in its form for the bindings: a handle, or callables."""
        return (
            self._denoise,
            dim,
            self._log_density if self.has_log_density else None,
            self._with_trace if self.has_trace else None,
        )

    def denoise(self, y: Any, sigma: ArrayLike) -> Any:
        """Return the mean of the data behind noisy points, E[x | x + s z = y].

        Parameters
        ----------
        y : array_like or torch.Tensor, shape (n, d)
            Noisy points.
        sigma : float or array_like, shape (n,)
            Their noise levels.

        Returns
        -------
        ndarray or torch.Tensor, shape (n, d)
            A tensor if a tensor was given.

        Raises
        ------
        ArgumentError
            If a shape does not fit, a point is not finite, or a level is negative, not finite or
            beyond `sigma_range`.
        TargetError
            If the model gives another shape, or a number that is not finite.
        """
        points, levels = self._asked(y, sigma)
        given = self._denoise(points, levels)
        return like(y, _sound("denoised points", given, points.shape, levels))

    def score(self, y: Any, sigma: ArrayLike) -> Any:
        """Return the score of the noisy law, the gradient of its log-density.

        Parameters
        ----------
        y : array_like or torch.Tensor, shape (n, d)
            Noisy points.
        sigma : float or array_like, shape (n,)
            Their noise levels.

        Returns
        -------
        ndarray or torch.Tensor, shape (n, d)

        Raises
        ------
        ArgumentError
            As for `denoise`, and if a level is 0 and the model has no score there.
        TargetError
            As for `denoise`.
        NumericalError
            If a level is 0 and the law of the data has no density.
        """
        points, levels = self._asked(y, sigma)
        return like(y, _sound("scores", self._score(points, levels), points.shape, levels))

    def log_density(self, y: Any, sigma: ArrayLike) -> Any:
        """Return the log-density of the noisy law.

        Parameters
        ----------
        y : array_like or torch.Tensor, shape (n, d)
            Noisy points.
        sigma : float or array_like, shape (n,)
            Their noise levels.

        Returns
        -------
        ndarray or torch.Tensor, shape (n,)

        Raises
        ------
        ArgumentError
            As for `denoise`, and if the model has no log-density.
        TargetError
            As for `denoise`; a log-density may be -inf.
        """
        points, levels = self._asked(y, sigma)
        given = self._log_density(points, levels)
        return like(y, _sound("log-densities", given, points.shape[:1], levels, -np.inf))

    def _asked(self, y: Any, sigma: ArrayLike) -> tuple[Array, Array]:
        points = rows_of("y", y, self.dim)
        return points, self._levels(sigma, len(points))

    def _levels(self, sigma: ArrayLike, n: int) -> Array:
        levels = numbers("sigma", to_numpy(sigma))
        if levels.shape not in ((), (1,), (n,)):
            raise ArgumentError(
                f"sigma: shape {levels.shape} was given; a number or shape ({n},), one for each "
                "row, is needed"
            )
        bad = ~((levels >= 0) & np.isfinite(levels))
        if bad.any():
            raise ArgumentError(
                f"sigma: {levels[bad].flat[0]} was given; noise levels are finite and not negative"
            )
        return self._within(np.ascontiguousarray(levels.reshape(-1)))

    def _within(self, levels: Array, name: str = "sigma") -> Array:
        """Return levels within `sigma_range`; 0, no noise at all, always passes."""
        if self.sigma_range is None or not levels.size:
            return levels
        low, high = self.sigma_range
        out = (levels > high * (1 + SLACK)) | ((levels < low * (1 - SLACK)) & (levels > 0))
        if not out.any():
            return levels
        first = levels[out].flat[0]
        text = f"{name}: {first:g} lies outside of the model's range from {low:g} to {high:g}"
        if not self.clamp:
            raise ArgumentError(f"{text}; stay inside, or make the model with clamp=True")
        warnings.warn(f"{text}; it was moved to its end", FermiacWarning, stacklevel=users_level())
        moved = np.clip(levels, low, high)
        return np.where(levels > 0, moved, 0.0)


def _sound(
    what: str, given: Any, shape: tuple[int, ...], levels: Array, least: float = np.nan
) -> Array:
    """Return the values of a model, which must have this shape and be finite, or `least`."""
    array = np.asarray(given)
    if array.shape != shape or array.dtype.kind not in "iuf":
        raise TargetError(
            f"model: it gave {what} of shape {array.shape} and type {array.dtype}; numbers of "
            f"shape {shape} are needed"
        )
    good = np.isfinite(array) | (array == least)
    if not good.all():
        row = int(np.argwhere(~good)[0, 0])
        level = levels[0] if levels.size == 1 else levels[row]
        raise TargetError(
            f"model: it gave {what} that are not finite, the first in row {row} at level {level:g}"
        )
    return np.ascontiguousarray(array, dtype=np.float64)


def event_shape_of(given: Any) -> tuple[int, ...]:
    """Return the shape of a point from the argument ``event_shape=``."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ArgumentError(
            f"event_shape: {shown(given)} was given; a tuple of sizes is needed, as (3, 8, 8)"
        )
    event = tuple(whole("event_shape", size, 1, 2**31) for size in given)
    if not event:
        raise ArgumentError("event_shape: () was given; one size at least is needed")
    return event


def points_of(name: str, value: Any) -> Any:
    """Return points of shape (n, *event): a tensor unchanged, anything else as an array."""
    given = value if is_tensor(value) else numbers(name, value)
    if given.ndim < 2 or 0 in given.shape[1:]:
        raise ArgumentError(
            f"{name}: shape {tuple(given.shape)} was given; (n, d) or (n, *event) is needed"
        )
    return given


def reserve(n: int, dim: int) -> None:
    """Raise MemoryError if (n, d) numbers do not fit into memory; the core would abort."""
    try:
        np.empty((n, dim))
    except ValueError as error:
        raise MemoryError(f"no array has {n} rows of {dim} numbers") from error


def rows_of(name: str, value: Any, dim: int | None) -> Array:
    """Return points of shape (n, d) as C-contiguous float64."""
    array = np.ascontiguousarray(numbers(name, to_numpy(value)))
    if array.ndim != 2 or (dim is not None and array.shape[1] != dim) or array.shape[1] == 0:
        needed = "(n, d)" if dim is None else f"(n, {dim})"
        raise ArgumentError(f"{name}: shape {array.shape} was given; {needed} is needed")
    if not all_finite(array):
        row, column = np.argwhere(~np.isfinite(array))[0]
        raise ArgumentError(
            f"{name}: {array[row, column]} was given in row {row}; finite numbers are needed; "
            "leave such rows out"
        )
    return array
