"""Models of PyMC as log-densities, compiled by PyTensor to machine code or for JAX."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.calls import public
from fermiac._base.validate import choice, shown
from fermiac._base.variables import Variables
from fermiac.errors import ArgumentError, FermiacWarning, TargetError
from fermiac.targets.density import LogDensity
from fermiac.targets.model import ModelTarget, Support
from fermiac.targets.pymc_graphs import Compiler, Graphs, Rows
from fermiac.targets.pymc_prior import from_cube

__all__ = ["PyMCTarget", "from_pymc", "is_pymc"]

Array = NDArray[np.float64]
_BACKENDS = ("auto", "numba", "jax", "c")
#: Chains start within this distance of the model's initial point, as in PyMC.
_RADIUS = 1.0
_BOUNDS = {"LogTransform": (0.0, math.inf), "LogOddsTransform": (0.0, 1.0)}
_BOUNDS |= {"SimplexTransform": (0.0, 1.0), "LogExpM1": (0.0, math.inf)}


@public
def from_pymc(model: Any, *, backend: str = "auto") -> PyMCTarget:
    """Return the posterior of a PyMC model as a log-density.

    Parameters
    ----------
    model : pymc.Model or bambi.Model
        A model whose free variables are continuous. Later changes of its data have no effect.
    backend : {"auto", "numba", "jax", "c"}, default "auto"
        The compiler. ``"numba"`` gives machine code, which all threads call without the
        interpreter. ``"jax"`` evaluates batches. ``"c"`` is PyTensor's default mode; the
        interpreter calls it once for each point. ``"auto"`` takes numba, or ``"c"`` with a warning
        if numba is not installed or cannot compile the model.

    Returns
    -------
    ModelTarget
        A target with ``constrain``, ``log_likelihood`` and ``prior_transform``, and the names,
        coordinates and dimensions of the model.

    Raises
    ------
    ArgumentError
        If `model` is not a model, or has a discrete free variable or no free variable.
    ImportError
        If PyMC or the requested backend is not installed.
    TargetError
        If the requested backend cannot compile the model.

    Warns
    -----
    FermiacWarning
        If ``"auto"`` falls back to ``"c"``.

    Notes
    -----
    The log-density is PyMC's own, ``model.logp()``, with the log-Jacobians of its transforms and
    all constants: its integral is the evidence of the model. A point at which it is NaN, or at
    which an operation fails, counts as a point of zero density.

    References
    ----------
    O. Abril-Pla et al., "PyMC: a modern, and comprehensive probabilistic programming framework in
    Python", PeerJ Computer Science, 2023. doi:10.7717/peerj-cs.1516

    Examples
    --------
    >>> import fermiac as fm
    >>> import pymc as pm  # doctest: +SKIP
    >>> with pm.Model() as model:  # doctest: +SKIP
    ...     mu = pm.Normal("mu")
    ...     pm.Normal("y", mu, 1.0, observed=[1.0, 2.0])
    >>> s = fm.mcmc.sample(fm.targets.from_pymc(model), rng=0)  # doctest: +SKIP
    >>> s.names  # doctest: +SKIP
    ('mu',)
    """
    choice("backend", backend, _BACKENDS)
    found = _model_of(model)
    names = [rv.name for rv in found.free_RVs]
    if not names:
        raise ArgumentError("model: one without free variables given; there is nothing to sample")
    for value in found.value_vars:
        if not value.dtype.startswith("float"):
            rv = found.values_to_rvs[value]
            raise ArgumentError(
                f"model: its free variable {rv.name!r} is discrete; there is no gradient by it: "
                "sum it out (pymc_extras.marginalize), or write a Gibbs sampler "
                "(fermiac.mcmc.Gibbs) for it"
            )
    if backend == "auto":
        if find_spec("numba") is None:
            warnings.warn(
                "from_pymc: numba is not installed, and the interpreter calls the model for each "
                "point: pip install numba, or pass backend='jax'",
                FermiacWarning,
                stacklevel=2,
            )
            return PyMCTarget(found, "c")
        try:
            return PyMCTarget(found, "numba")
        except TargetError as error:
            warnings.warn(
                f"from_pymc: {error}; the interpreter calls the model for each point, which is "
                "slow: pass backend='jax' if the model runs there",
                FermiacWarning,
                stacklevel=2,
            )
            return PyMCTarget(found, "c")
    return PyMCTarget(found, backend)


def is_pymc(obj: Any) -> bool:
    """Return whether an object is a model of PyMC or Bambi; nothing is imported."""
    for library in ("pymc", "bambi"):
        kind = getattr(sys.modules.get(library), "Model", None)
        if isinstance(kind, type) and isinstance(obj, kind):
            return True
    return False


class PyMCTarget(ModelTarget):
    """A model of PyMC, made by `from_pymc`.

    Attributes
    ----------
    backend : {"numba", "jax", "c"}
        The compiler of its programs.
    """

    library = "PyMC"

    def __init__(self, model: Any, backend: str) -> None:
        self.backend = backend
        self._model = model
        self._parameters = tuple(rv.name for rv in model.free_RVs)
        start = model.initial_point()
        values = [np.asarray(start[value.name]) for value in model.value_vars]
        initial = np.concatenate([value.ravel().astype(np.float64) for value in values])
        free = Variables(
            {rv: value.shape for rv, value in zip(self._parameters, values, strict=True)}
        )
        self._graphs = graphs = Graphs(model, free)
        self._compiler = Compiler(model, backend)
        self._programs: dict[str, Rows] = {}
        named = graphs.constrained()
        shapes = graphs.shapes(named, initial)
        names = [rv.name for rv in (*model.free_RVs, *model.deterministics)]
        data = {rv.name: _value(model.rvs_to_values[rv]) for rv in model.observed_RVs}
        density = graphs.with_gradient(model.logp())
        super().__init__(
            self._compiler.density(graphs.point, density, "log_density"),
            variables=Variables(dict(zip(names, shapes, strict=True))),
            free=free,
            label=model.name or ", ".join(self._parameters[:3]),
            initial_point=initial,
            radius=_RADIUS,
            support=_support(model, shapes),
            pointwise=lambda: dict(zip(data, self._likelihood_shapes(), strict=True)),
            observed_data=data,
            coords={name: labels for name, labels in model.coords.items() if labels is not None},
            dims={
                name: dims
                for name, dims in model.named_vars_to_dims.items()
                if all(isinstance(dim, str) for dim in dims)
            },
        )
        joined = graphs.joined(named)
        k = self.constrained_dim
        self._programs["constrain"] = self._compiler.rows(graphs.point, joined, k, "constrain")

    def _program(self, name: str, k: int, make: Callable[[], tuple[Any, Any]]) -> Rows:
        """Return the program of a graph of a vector, which is compiled at its first use."""
        if name not in self._programs:
            self._programs[name] = self._compiler.rows(*make(), k, name)
        return self._programs[name]

    def _likelihood_shapes(self) -> list[tuple[int, ...]]:
        return self._graphs.shapes(self._graphs.by_observation(), self.initial_point)

    def _constrained(self, x: Array) -> Array:
        return self._programs["constrain"](x)

    def _unconstrained(self, x: Array, parameters: Variables) -> Array:
        graphs = self._graphs
        return self._program("free", self.dim, lambda: graphs.unconstrained(parameters))(x)

    def _by_observation(self, x: Array) -> Array:
        graphs = self._graphs

        def make() -> tuple[Any, Any]:
            return graphs.point, graphs.joined(graphs.by_observation())

        return self._program("log_likelihood", self._pointwise.dim, make)(x)

    def _from_cube(self, u: Array) -> Array:
        graphs = self._graphs
        return self._program("prior", self.dim, lambda: (graphs.point, from_cube(graphs)))(u)

    def _likelihood(self) -> LogDensity:
        graphs = self._graphs
        joined = graphs.with_gradient(graphs.log_likelihood())
        return self._compiler.density(graphs.point, joined, "log_likelihood")

    def __reduce__(self) -> tuple[Any, ...]:
        return PyMCTarget, (self._model, self.backend)


def _model_of(obj: Any) -> Any:
    """Return the PyMC model of a user's object."""
    if not is_pymc(obj):
        raise ArgumentError(f"model: {shown(obj)} given; a pymc.Model or a bambi.Model is needed")
    if type(obj).__module__.partition(".")[0] != "bambi":
        return obj
    if not obj.built:
        obj.build()
    return obj.backend.model


def _value(variable: Any) -> NDArray[Any]:
    """Return the data of an observed variable."""
    if hasattr(variable, "get_value"):
        return np.array(variable.get_value())
    return np.array(variable.data if hasattr(variable, "data") else variable.eval())


def _support(model: Any, shapes: Sequence[tuple[int, ...]]) -> Support:
    """Return the bounds of every constrained coordinate, as far as transforms define them."""
    bounds = [_bounds(model, rv) for rv in model.free_RVs]
    bounds += [(-math.inf, math.inf)] * len(model.deterministics)
    return [
        pair for pair, shape in zip(bounds, shapes, strict=True) for _ in range(math.prod(shape))
    ]


def _bounds(model: Any, rv: Any) -> tuple[float, float]:
    transform = model.rvs_to_transforms[rv]
    known = _BOUNDS.get(type(transform).__name__)
    if known is not None or not hasattr(transform, "args_fn"):
        return known or (-math.inf, math.inf)
    ends = [getattr(end, "data", None) for end in transform.args_fn(*rv.owner.inputs)]
    try:
        low, high = (
            default if end is None else float(end)
            for end, default in zip(ends, (-math.inf, math.inf), strict=True)
        )
    except (TypeError, ValueError):
        return -math.inf, math.inf
    return low, high
