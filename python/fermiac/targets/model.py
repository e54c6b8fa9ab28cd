"""Models of other libraries as log-densities: names, shapes, transforms, likelihoods, priors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.validate import real_numbers, shown
from fermiac._base.variables import Variables
from fermiac.errors import ArgumentError
from fermiac.targets.density import LogDensity

__all__ = ["ModelTarget"]

Array = NDArray[np.float64]
Support = list[tuple[float, float]]


class ModelTarget(LogDensity):
    """The posterior of a model of PyMC, Stan or NumPyro, on its unconstrained space.

    `from_pymc`, `from_stan` and `from_numpyro` make it, and so does every method that gets such a
    model. Its points are unconstrained. `constrain` maps them to the named parameters of the model
    and its deterministic quantities, which the results of methods contain.

    Attributes
    ----------
    dim : int
        The number of unconstrained coordinates, those of the points at which it is evaluated.
    constrained_dim : int
        The number of coordinates of a constrained point: parameters and deterministic quantities.
    names : tuple of str
        The names of the constrained coordinates, ``theta[0]`` for the first of a vector.
    shapes : mapping of str to tuple of int
        The shape of each variable of a constrained point.
    free_names : tuple of str
        The names of the unconstrained coordinates, made from those of their variables.
    coords : mapping of str to tuple
        The labels along each named dimension of the model.
    dims : mapping of str to tuple of str
        The dimensions of the variables and observations, as far as the model names them.
    observed_data : mapping of str to ndarray
        The observations by name.
    initial_point : ndarray, shape (dim,)
        The unconstrained point around which chains start by default.
    has_gradient : bool
        True.
    form : str
        ``"native"`` for machine code, ``"python"`` for functions that the interpreter must call.

    Examples
    --------
    >>> import pymc as pm  # doctest: +SKIP
    >>> import fermiac as fm
    >>> with pm.Model() as model:  # doctest: +SKIP
    ...     sigma = pm.HalfNormal("sigma")
    ...     pm.Normal("y", 0.0, sigma, observed=[0.1, -0.3, 0.4])
    >>> target = fm.targets.from_pymc(model)  # doctest: +SKIP
    >>> target.names, target.constrain([[0.0]])  # doctest: +SKIP
    (('sigma',), array([[1.]]))
    """

    #: The library, for messages.
    library: ClassVar[str] = "model"

    _autodiff = True

    def __init__(
        self,
        density: LogDensity,
        *,
        variables: Variables,
        free: Variables,
        label: str,
        initial_point: Array,
        radius: float,
        support: Support | None = None,
        pointwise: Callable[[], Mapping[str, tuple[int, ...]]] = dict,
        observed_data: Mapping[str, Any] | None = None,
        coords: Mapping[str, Sequence[Any]] | None = None,
        dims: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._density = density
        self.variables = variables
        self._free = free
        self._label = label
        self._shapes_by_observation = pointwise
        self.initial_point = initial_point
        self._radius = radius
        self._bounds = support or [(-math.inf, math.inf)] * variables.dim
        self.dim = density.dim
        self.has_gradient = density.has_gradient
        self.form = density.form
        self.names = variables.names
        arrays = {str(k): np.asarray(v) for k, v in (observed_data or {}).items()}
        self.observed_data = {k: v for k, v in arrays.items() if v.dtype.kind in "biuf"}
        named = {*variables.shapes, *self.observed_data}
        self.dims = {str(k): tuple(v) for k, v in (dims or {}).items() if k in named}
        used = {dim for axes in self.dims.values() for dim in axes}
        self.coords = {str(k): tuple(v) for k, v in (coords or {}).items() if k in used}

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of each variable of a constrained point."""
        return self.variables.shapes

    @property
    def constrained_dim(self) -> int:
        """Coordinates of a constrained point."""
        return self.variables.dim

    @property
    def free_names(self) -> tuple[str, ...]:
        """The names of the unconstrained coordinates."""
        return self._free.names

    @property
    def log_likelihood_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of the log-likelihood of each observed variable; empty if there is none."""
        return self._pointwise.shapes

    @cached_property
    def _pointwise(self) -> Variables:
        return Variables(dict(self._shapes_by_observation()))

    @property
    def _handle(self) -> Any:
        return self._density._handle

    @property
    def _space(self) -> str:
        """The transforms, in the form of settings and checkpoints."""
        return f"of the {self.library} model"

    def _evaluate(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
        return self._density._evaluate(x, with_gradient)

    def _constrained_support(self) -> Support:
        """Return the bounds of every constrained coordinate, as far as they are known."""
        return list(self._bounds)

    def constrain(self, x: ArrayLike) -> Array:
        """Map unconstrained points to parameters and deterministic quantities.

        Parameters
        ----------
        x : array_like of shape (..., dim)

        Returns
        -------
        ndarray of shape (..., constrained_dim)

        Raises
        ------
        ArgumentError
            If the shape is wrong.
        TargetError
            If the model cannot be evaluated at a point.
        """
        points, lead = self._rows("x", x, self.dim)
        return self._constrained(points).reshape(*lead, self.constrained_dim)

    def unconstrain(self, x: ArrayLike | Mapping[str, ArrayLike]) -> Array:
        """Map parameters to unconstrained points.

        Parameters
        ----------
        x : array_like of shape (..., constrained_dim), or mapping of str to array_like
            Constrained points, whose deterministic quantities are not used; or the parameters by
            name, each of shape (...) followed by its own.

        Returns
        -------
        ndarray of shape (..., dim)

        Raises
        ------
        ArgumentError
            If the shape is wrong, a parameter is missing, or a point lies outside its bounds.
        """
        needed = Variables({name: self.shapes[name] for name in self._parameters})
        if isinstance(x, Mapping):
            joined = needed.join({k: v for k, v in x.items() if k not in self._deterministics}, "x")
            lead = joined.shape[:-1]
            points = joined.reshape(-1, needed.dim)
        else:
            rows, lead = self._rows("x", x, self.constrained_dim)
            chosen = self.variables.split(rows)
            points = needed.join({name: chosen[name] for name in needed.shapes})
        with np.errstate(all="ignore"):
            z = self._unconstrained(points, needed)
        if not np.isfinite(z).all():
            row, k = np.argwhere(~np.isfinite(z))[0]
            raise ArgumentError(
                f"x: the unconstrained point of row {row} is {z[row, k]} in {self.free_names[k]}; "
                "parameters inside their bounds are needed"
            )
        return z.reshape(*lead, self.dim)

    def log_likelihood(self, x: ArrayLike) -> dict[str, Array]:
        """Return the log-likelihood of each observation.

        Parameters
        ----------
        x : array_like of shape (..., dim)
            Unconstrained points.

        Returns
        -------
        dict of str to ndarray
            Arrays of shape (...) followed by that of the observed variable. Their sum is the
            log-density without the prior and the potentials.

        Raises
        ------
        ArgumentError
            If the shape is wrong, or the model has no likelihood by observation.
        """
        if not self._pointwise.dim:
            raise ArgumentError(f"log_likelihood: {self!r} has no log-likelihood by observation")
        points, lead = self._rows("x", x, self.dim)
        values = self._by_observation(points).reshape(*lead, self._pointwise.dim)
        return self._pointwise.split(values)

    def prior_transform(self, u: ArrayLike) -> Array:
        """Map points of the unit cube to unconstrained points that follow the prior.

        Parameters
        ----------
        u : array_like of shape (..., dim)
            Points of the open unit cube.

        Returns
        -------
        ndarray of shape (..., dim)

        Raises
        ------
        ArgumentError
            If the shape is wrong, or the prior of a variable has no map from the unit cube; the
            message names it.
        """
        points, lead = self._rows("u", u, self.dim)
        return self._from_cube(points).reshape(*lead, self.dim)

    @property
    def likelihood(self) -> LogDensity:
        """The log-likelihood as a function of unconstrained points, with the model's potentials.

        Raises
        ------
        ArgumentError
            If the model does not separate it from the prior.
        """
        return self._likelihood()

    @property
    def _labelled(self) -> dict[str, Any]:
        """The fields of a sample of the model that name its parts."""
        shapes = {**{k: v.shape for k, v in self.observed_data.items()}, **self.shapes}
        return {
            "names": self.names,
            "coords": self.coords,
            # Dimensions that do not fit, for example of transposed data, are omitted.
            "dims": {k: v for k, v in self.dims.items() if len(v) == len(shapes[k])},
            "observed_data": self.observed_data,
        }

    # The parts that depend on the library.

    #: The names of the parameters; all other variables are deterministic.
    _parameters: tuple[str, ...] = ()

    @property
    def _deterministics(self) -> set[str]:
        return set(self.shapes) - set(self._parameters)

    def _constrained(self, x: Array) -> Array:
        raise NotImplementedError

    def _unconstrained(self, x: Array, parameters: Variables) -> Array:
        raise NotImplementedError

    def _by_observation(self, x: Array) -> Array:
        raise NotImplementedError

    def _from_cube(self, u: Array) -> Array:
        raise NotImplementedError

    def _likelihood(self) -> LogDensity:
        raise NotImplementedError

    def _rows(self, name: str, x: ArrayLike, dim: int) -> tuple[Array, tuple[int, ...]]:
        points = real_numbers(name, x)
        if points.ndim == 0 or points.shape[-1] != dim:
            raise ArgumentError(
                f"{name}: an array of shape {points.shape} given; points of {dim} "
                f"coordinate{'s' if dim > 1 else ''} are needed, shape (..., {dim})"
            )
        return np.ascontiguousarray(points.reshape(-1, dim)), points.shape[:-1]

    def __copy__(self) -> ModelTarget:
        return self

    def __deepcopy__(self, memo: object) -> ModelTarget:
        return self

    def __repr__(self) -> str:
        return f"<{self.library} model {shown(self._label)}, dim={self.dim}>"
