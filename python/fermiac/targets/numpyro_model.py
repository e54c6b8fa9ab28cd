"""Models of NumPyro as log-densities."""

from __future__ import annotations

import functools
import importlib
import math
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.calls import public
from fermiac._base.validate import shown
from fermiac._base.variables import Variables
from fermiac.errors import ArgumentError
from fermiac.targets.density import LogDensity
from fermiac.targets.jax_density import JaxDensity, jax_library
from fermiac.targets.model import ModelTarget, Support
from fermiac.targets.padding import padded

__all__ = ["NumPyroTarget", "from_numpyro", "is_numpyro"]

Array = NDArray[np.float64]
Site = Mapping[str, Any]

#: Chains start within this distance of 0, as in NumPyro.
_RADIUS = 2.0


@public
def from_numpyro(model: Callable[..., Any], *args: Any, **kwargs: Any) -> NumPyroTarget:
    """Return the posterior of a NumPyro model as a log-density.

    Parameters
    ----------
    model : callable
        A function with ``numpyro.sample`` statements, whose latent variables are continuous.
    *args, **kwargs
        The arguments of the model: its data.

    Returns
    -------
    ModelTarget
        A target with ``constrain``, ``log_likelihood`` and ``prior_transform``. JAX evaluates
        batches of points. Plates become dimensions.

    Raises
    ------
    ArgumentError
        If `model` is not callable, has a discrete latent variable or no latent variable.
    ImportError
        If NumPyro is not installed.

    Warns
    -----
    FermiacWarning
        If JAX computes in single precision, its default; see `from_jax`.

    References
    ----------
    D. Phan, N. Pradhan, M. Jankowiak, "Composable effects for flexible and accelerated
    probabilistic programming in NumPyro", arXiv:1912.11554, 2019.

    Examples
    --------
    >>> import fermiac as fm
    >>> import jax, jax.numpy as jnp  # doctest: +SKIP
    >>> import numpyro, numpyro.distributions as dist  # doctest: +SKIP
    >>> jax.config.update("jax_enable_x64", True)  # doctest: +SKIP
    >>> def model(y):
    ...     mu = numpyro.sample("mu", dist.Normal(0.0, 10.0))
    ...     with numpyro.plate("obs", len(y)):
    ...         numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)
    >>> target = fm.targets.from_numpyro(model, jnp.array([1.0, 2.0]))  # doctest: +SKIP
    >>> s = fm.mcmc.sample(target, rng=0)  # doctest: +SKIP
    """
    if not callable(model):
        raise ArgumentError(
            f"model: {shown(model)} given; a function with numpyro.sample statements is needed"
        )
    return NumPyroTarget(model, args, kwargs)


def is_numpyro(obj: Any) -> bool:
    """Return whether an object is a model of NumPyro; nothing is imported.

    It is a model if a handler of NumPyro has made it, or if it is a function whose code uses
    ``sample`` of NumPyro.
    """
    numpyro = sys.modules.get("numpyro")
    if numpyro is None or not callable(obj):
        return False
    messenger = getattr(sys.modules.get("numpyro.primitives"), "Messenger", None)
    while isinstance(obj, functools.partial):
        obj = obj.func
    if isinstance(messenger, type) and isinstance(obj, messenger):
        return getattr(obj, "fn", None) is not None
    obj = getattr(obj, "__wrapped__", obj)
    if not isinstance(obj, types.FunctionType) or "sample" not in obj.__code__.co_names + (
        obj.__code__.co_freevars
    ):
        return False
    names = {*obj.__code__.co_names, *obj.__code__.co_freevars}
    cells = zip(obj.__code__.co_freevars, obj.__closure__ or (), strict=True)
    seen = {name: cell.cell_contents for name, cell in cells if _filled(cell)}
    found = [seen.get(name, obj.__globals__.get(name)) for name in names]
    sample = getattr(numpyro, "sample", None)
    return any(thing is not None and (thing is numpyro or thing is sample) for thing in found)


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


class NumPyroTarget(ModelTarget):
    """A model of NumPyro with its data, made by `from_numpyro`."""

    library = "NumPyro"

    def __init__(
        self, model: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        jax = jax_library()
        try:
            util: Any = importlib.import_module("numpyro.infer.util")
        except ImportError as error:
            raise ImportError("from_numpyro needs NumPyro: pip install 'fermiac[jax]'") from error
        self._model, self._args, self._kwargs = model, args, kwargs
        self._key = jax.random.PRNGKey(0)
        sites = self._traced(model)
        latent = [s for s in sites.values() if _is_latent(s)]
        _check(latent, model)
        info = util.initialize_model(
            self._key, model, model_args=args, model_kwargs=kwargs, validate_grad=False
        )
        z = info.param_info.z
        free = Variables({s["name"]: np.shape(z[s["name"]]) for s in latent})
        self._parameters = tuple(free.shapes)
        numpy = jax.numpy
        self._numpy = numpy

        def unflat(x: Any) -> dict[str, Any]:
            return _split(x, free)

        def log_density(x: Any) -> Any:
            return -info.potential_fn(unflat(x))

        def constrained(x: Any) -> Any:
            values = info.postprocess_fn(unflat(x))
            return numpy.concatenate([numpy.ravel(values[name]) for name in self.shapes])

        shown_sites = [*latent, *(s for s in sites.values() if s["type"] == "deterministic")]
        observed = [s for s in sites.values() if _is_observed(s)]
        dims, coords = _plates([*shown_sites, *observed])
        super().__init__(
            JaxDensity(log_density, free.dim),
            variables=Variables({s["name"]: np.shape(s["value"]) for s in shown_sites}),
            free=free,
            label=getattr(model, "__name__", type(model).__name__),
            initial_point=np.zeros(free.dim),
            radius=_RADIUS,
            support=_support(shown_sites),
            pointwise=lambda: {s["name"]: _likelihood_shape(s) for s in observed},
            observed_data={s["name"]: np.asarray(s["value"]) for s in observed},
            coords=coords,
            dims=dims,
        )
        self._unflat = unflat
        self._map = padded(jax.jit(jax.vmap(constrained)))
        self._jax = jax
        self._util = util
        self._postprocess = info.postprocess_fn

    def _traced(self, model: Callable[..., Any]) -> dict[str, Site]:
        handlers: Any = importlib.import_module("numpyro.handlers")
        seeded = handlers.seed(model, self._key)
        sites: dict[str, Site] = handlers.trace(seeded).get_trace(*self._args, **self._kwargs)
        return sites

    def _substituted(self, values: Mapping[str, Any]) -> dict[str, Site]:
        """Return the trace of the model at values of its latent variables."""
        handlers: Any = importlib.import_module("numpyro.handlers")
        return self._traced(handlers.substitute(self._model, data=dict(values)))

    def _constrained(self, x: Array) -> Array:
        return self._map(x)

    def _unconstrained(self, x: Array, parameters: Variables) -> Array:
        numpy, util = self._numpy, self._util

        def one(row: Any) -> Any:
            values = _split(row, parameters)
            z = util.unconstrain_fn(self._model, self._args, self._kwargs, values)
            return numpy.concatenate([numpy.ravel(z[name]) for name in self._free.shapes])

        return padded(self._jax.vmap(one))(x)

    @functools.cached_property
    def _observations(self) -> Callable[[Array], Array]:
        def one(x: Any) -> Any:
            sites = self._substituted(self._postprocess(self._unflat(x)))
            return self._numpy.concatenate(
                [
                    self._numpy.ravel(_log_probability(sites[name]))
                    for name in self._pointwise.shapes
                ]
            )

        return padded(self._jax.jit(self._jax.vmap(one)))

    def _by_observation(self, x: Array) -> Array:
        return self._observations(x)

    def _likelihood(self) -> LogDensity:
        def one(x: Any) -> Any:
            sites = self._substituted(self._postprocess(self._unflat(x)))
            terms = [_log_probability(site).sum() for site in sites.values() if _is_observed(site)]
            return sum(terms, start=self._numpy.zeros(()))

        return JaxDensity(one, self.dim)

    @functools.cached_property
    def _prior(self) -> Callable[[Array], Array]:
        primitives: Any = importlib.import_module("numpyro.primitives")
        numpy, util, free = self._numpy, self._util, self._free

        class Quantiles(primitives.Messenger):  # type: ignore[misc]
            """A handler that gives latent variables their values at a point of the unit cube."""

            def __init__(self, fn: Any, u: Mapping[str, Any]) -> None:
                super().__init__(fn)
                self.u = u

            def process_message(self, message: dict[str, Any]) -> None:
                if _is_latent(message) and message["value"] is None:
                    message["value"] = _quantiles(message, self.u[message["name"]])

        def one(u: Any) -> Any:
            sites = self._traced(Quantiles(self._model, _split(u, free)))
            values = {name: sites[name]["value"] for name in free.shapes}
            z = util.unconstrain_fn(self._model, self._args, self._kwargs, values)
            return numpy.concatenate([numpy.ravel(z[name]) for name in free.shapes])

        return padded(self._jax.jit(self._jax.vmap(one)))

    def _from_cube(self, u: Array) -> Array:
        return self._prior(u)

    def __reduce__(self) -> tuple[Any, ...]:
        return NumPyroTarget, (self._model, self._args, self._kwargs)


def _split(x: Any, variables: Variables) -> dict[str, Any]:
    """Return the variables of one point in JAX."""
    return {
        name: x[place].reshape(shape)
        for (name, place), shape in zip(
            variables.places.items(), variables.shapes.values(), strict=True
        )
    }


def _is_latent(site: Site) -> bool:
    return bool(site["type"] == "sample" and not site["is_observed"])


def _is_observed(site: Site) -> bool:
    return bool(site["type"] == "sample" and site["is_observed"])


def _check(latent: list[Site], model: Any) -> None:
    if not latent:
        raise ArgumentError(
            f"model: {shown(model)} given, which has no latent variable; there is nothing to sample"
        )
    for site in latent:
        if site["fn"].support is not None and site["fn"].support.is_discrete:
            raise ArgumentError(
                f"model: its latent variable {site['name']!r} is discrete; there is no gradient by "
                "it: sum it out in the model"
            )


def _likelihood_shape(site: Site) -> tuple[int, ...]:
    """Return the shape of the log-likelihood, with one number for each event, such as a vector."""
    shape = np.shape(site["value"])
    return shape[: len(shape) - len(site["fn"].event_shape)]


def _log_probability(site: Site) -> Any:
    value = site["fn"].log_prob(site["value"])
    return value if site["scale"] is None else value * site["scale"]


def _quantiles(site: Site, u: Any) -> Any:
    law = site["fn"]
    inner: Any = getattr(law, "base_dist", law) if type(law).__name__ in _WRAPPERS else law
    try:
        value = inner.icdf(u)
    except (NotImplementedError, AttributeError) as error:
        raise ArgumentError(
            f"prior: that of {site['name']!r} ({type(inner).__name__}) has no map from the unit "
            "cube, which nested sampling needs; write the variable by others that have one (a "
            "normal one times a scale, for instance), or use fermiac.mcmc.sample or "
            "fermiac.importance.evidence"
        ) from error
    if value.shape != law.shape():
        value = value.reshape(law.shape()) if value.size == math.prod(law.shape()) else value
    return value


#: Laws that only shape or mask another one.
_WRAPPERS = ("Independent", "ExpandedDistribution", "MaskedDistribution")


def _plates(
    sites: list[Site],
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[int, ...]]]:
    """Return the dimensions of variables, which come from plates, and their labels."""
    dims: dict[str, tuple[str, ...]] = {}
    coords: dict[str, tuple[int, ...]] = {}
    for site in sites:
        frames = site.get("cond_indep_stack") or []
        shape = np.shape(site["value"])
        events = len(site["fn"].event_shape) if site["type"] == "sample" else 0
        names = [f"{site['name']}_dim_{i}" for i in range(len(shape))]
        used = False
        for frame in frames:
            axis = len(shape) - events + frame.dim
            if 0 <= axis < len(shape) and shape[axis] == frame.size:
                names[axis] = frame.name
                coords[frame.name] = tuple(range(frame.size))
                used = True
        if used:
            dims[site["name"]] = tuple(names)
    return dims, coords


def _support(sites: list[Site]) -> Support:
    """Return the bounds of every constrained coordinate, as far as the laws define them."""
    bounds: Support = []
    for site in sites:
        pair = (-math.inf, math.inf)
        if site["type"] == "sample":
            support = site["fn"].support
            ends = [getattr(support, name, None) for name in ("lower_bound", "upper_bound")]
            try:
                low, high = (
                    default if end is None else float(end)
                    for end, default in zip(ends, pair, strict=True)
                )
                pair = low, high
            except (TypeError, ValueError):
                pass  # bounds that differ, or depend on other variables
        bounds += [pair] * math.prod(np.shape(site["value"]))
    return bounds
