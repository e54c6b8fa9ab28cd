"""The starts of the chains, and the check of the gradient at the first one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.ask import ask
from fermiac._base.validate import numbers, shown, suggestion
from fermiac._base.variables import Variables
from fermiac.distributions import Law, as_law
from fermiac.distributions.law import subkey
from fermiac.errors import ArgumentError, TargetError
from fermiac.mcmc import boundaries
from fermiac.mcmc.init_rescue import rescued
from fermiac.mcmc.init_search import approach
from fermiac.random import Stream
from fermiac.targets.density import LogDensity
from fermiac.targets.finite import WITH_GRADIENT
from fermiac.targets.model import ModelTarget
from fermiac.targets.transformed_density import TransformedDensity

if TYPE_CHECKING:
    from fermiac.mcmc.job import Job

__all__ = ["check_gradient", "is_law", "starts"]

Array = NDArray[np.float64]
#: The points of the n-th try; row i is for chain i and does not depend on the number of chains.
Draw = Callable[[int], Array]

#: The most draws of a start, while it has no density.
_TRIES = 100
#: Starts are uniform within this distance of 0, in every coordinate.
_RADIUS = 2.0
_NAMED = ("jitter", "mode", "pathfinder")
#: The steps of the differences that a gradient is compared with, and its largest relative error.
_STEPS = (1e-4, 1e-6)
_TOLERANCE = 1e-4


def starts(init: Any, job: Job) -> tuple[Array, int]:
    """Return the first point of every chain, (n_chains, d), and the number of evaluations.

    Given points are checked; random points are drawn again if the density is 0. Given points and
    points from a law are constrained, as the draws are; the returned points are unconstrained.
    """
    target, space, key = job.target, job.space, job.key
    # Points are for all chains of the call; this job may run only some of them.
    n_chains = job.settings.n_chains if job.n_all is None else job.n_all
    needs_gradient = job.kernel.needs_gradient
    if init is None or isinstance(init, str):
        return _named(init, job)
    if is_law(init):
        law = as_law(init, "init")
        draw = _from_law(law, space, target.dim, n_chains, key)
        x, _, n_evals = _drawn(lambda attempt: draw(attempt)[job.leaders], job, needs_gradient)
        return x, n_evals
    k = job.settings.n_superchains
    points = _called(init, k or n_chains, key) if callable(init) else init
    if isinstance(points, Mapping) and job.model is not None:
        points, space = job.model.unconstrain(points), None
    elif isinstance(points, Mapping):
        points = _by_name(points, job)
    x = np.array(numbers("init", points))
    dim = target.dim if space is None else space.constrained_dim
    if x.ndim == 1:
        x = np.tile(x, (n_chains, 1))
    if k is not None and x.shape == (k, dim):
        x = np.repeat(x, n_chains // k, axis=0)
    if x.shape != (n_chains, dim):
        raise ArgumentError(
            f"init: an array of shape {np.shape(points)} given; one point for every chain, "
            f"({n_chains}, {dim}), or one for all, ({dim},), is needed"
        )
    if k is not None and (x.reshape(k, -1, dim) != x.reshape(k, -1, dim)[:, :1]).any():
        raise ArgumentError(
            f"init: different points given for chains of one superchain; ({k}, {dim}) points, one "
            "for each superchain, are needed"
        )
    x = x[job.rows]
    x = np.ascontiguousarray(x if space is None else space.unconstrain(x))
    values, gradients = target._evaluate(x, needs_gradient)
    bad = np.flatnonzero(~_usable(values, gradients))
    if len(bad):
        i = int(bad[0])
        raise _no_density(
            i,
            x[i],
            values[i],
            None if gradients is None else gradients[i],
            "give points inside the support",
        )
    return x, len(x)


def _named(init: str | None, job: Job) -> tuple[Array, int]:
    target, n_chains = job.target, job.settings.n_chains
    name = "jitter" if init is None else init
    if name == "prior" and job.model is None:
        raise ArgumentError("init: 'prior' given, but no prior is known here; give the law")
    if name not in (*_NAMED, "prior"):
        words = ", ".join(map(repr, _NAMED))
        raise ArgumentError(
            f"init: {shown(init)} given; {suggestion(name, list(_NAMED))}one of {words}, a law, "
            "values by name, an array of points or a callable is needed"
        )
    if name in ("mode", "pathfinder") and not target.has_gradient:
        raise ArgumentError(
            f"init: {name!r} climbs along the gradient, which this log-density does not have; "
            f"{WITH_GRADIENT}; or give another init"
        )
    streams = [_core.Stream.start(job.key, chain) for chain in job.leaders]
    oracles = job.oracles()

    def uniform() -> Array:
        out = np.empty((n_chains, target.dim))
        for stream, row in zip(streams, out, strict=True):
            stream.fill_uniform(row)
        return out

    def jitter(_attempt: int) -> Array:
        out = _RADIUS * (2 * uniform() - 1)
        if job.model is not None:
            # Start near the initial point of the model.
            out = job.model.initial_point + job.model._radius / _RADIUS * out
        job.kernel._place_starts(out, oracles)
        return out

    def prior(_attempt: int) -> Array:
        assert job.model is not None
        return job.model.prior_transform(uniform())

    draw = prior if name == "prior" else jitter
    needs_gradient = job.kernel.needs_gradient or name in ("mode", "pathfinder")
    x, values, n_evals = _drawn(draw, job, needs_gradient)
    if name == "prior" or (name == "jitter" and not job.kernel.needs_density):
        return x, n_evals
    if name == "jitter":
        streams[:] = [_core.Stream.start(job.key, chain) for chain in job.leaders]
        x, more = rescued(target, x, values, jitter)
        return x, n_evals + more
    x, more = approach(target, x, streams, name)
    return x, n_evals + more


def _by_name(values: Mapping[Any, Any], job: Job) -> Array:
    """Return points from the values of parameters."""
    if not job.names:
        raise ArgumentError(
            "init: values by name given, but the parameters have no names; give params= or names="
        )
    arrays = {name: numbers(f"init[{name!r}]", value) for name, value in values.items()}
    return Variables.of_names(job.names).join(arrays, "init")


def is_law(init: Any) -> bool:
    """Return whether starts are drawn from a law, of this library or of SciPy."""
    frozen = type(init).__module__.startswith("scipy.stats") and not isinstance(init, type)
    return isinstance(init, Law) or frozen


def _from_law(
    law: Law, space: TransformedDensity | ModelTarget | None, dim: int, n_chains: int, key: int
) -> Draw:
    needed = dim if space is None else space.constrained_dim
    if law.dim != needed:
        raise ArgumentError(f"init: a law of {law.dim} coordinates given; the draws have {needed}")

    def draw(attempt: int) -> Array:
        x = np.asarray(law.sample(n_chains, rng=subkey(key, attempt)), dtype=np.float64)
        return x if space is None else space.unconstrain(x)

    return draw


def _called(init: Callable[..., Any], n_chains: int, key: int) -> Any:
    try:
        inspect.signature(init).bind(n_chains, None)
    except (TypeError, ValueError):
        return ask(init, (n_chains,), "init", f"for {n_chains} chains")
    return ask(init, (n_chains, Stream(key)), "init", f"for {n_chains} chains")


def _drawn(draw: Draw, job: Job, needs_gradient: bool) -> tuple[Array, Array, int]:
    """Draw the start of each chain, and draw it again if the density is 0.

    Return the starts, the log-densities there, and the number of evaluations.
    """
    target = job.target
    x = np.ascontiguousarray(draw(0))
    left, n_evals = np.arange(len(x)), 0
    known = np.empty(len(x))
    for attempt in range(1, _TRIES + 1):
        n_evals += len(left)
        values, gradients = target._evaluate(x[left], needs_gradient)
        known[left] = values
        bad = ~_usable(values, gradients)
        left = left[bad]
        if not len(left):
            return x, known, n_evals
        if attempt == _TRIES:
            break
        x[left] = draw(attempt)[left]
    said = target._complaint
    advice = "pass init= a law, or points, inside the support"
    if job.space is None:
        known_bounds, _ = boundaries.at_starts(target, job.names)
        advice = known_bounds or advice
    raise _no_density(
        int(left[0]),
        x[left[0]],
        values[bad][0],
        None if gradients is None else gradients[bad][0],
        f"all {_TRIES} random starts had zero density; {advice}"
        f"{f' (last message: {said})' if said else ''}",
    )


def _usable(values: Array, gradients: Array | None) -> NDArray[np.bool_]:
    good = np.isfinite(values)
    if gradients is not None:
        good &= np.isfinite(gradients).all(axis=1)
    return good


def _no_density(
    chain: int, x: Array, value: float, gradient: Array | None, advice: str
) -> TargetError:
    what = f"the log-density is {value}"
    if np.isfinite(value) and gradient is not None:
        j = int(np.flatnonzero(~np.isfinite(gradient))[0])
        what = f"the gradient is {gradient[j]} in coordinate {j}"
    return TargetError(
        f"init: {what} at the start of chain {chain}, x = {_short(x)}; it must be finite: {advice}"
    )


def _short(x: Array) -> str:
    return f"{np.array2string(x[:6], precision=6)}{'' if len(x) <= 6 else ' …'}"


def check_gradient(target: LogDensity, x: Array, used: NDArray[np.bool_]) -> int:
    """Compare the gradient at a point with differences, and return the number of evaluations.

    The slope in one random direction is compared first. Only if it is wrong, all coordinates that
    are `used` are compared; the density need not be smooth in the others.
    """
    direction = np.random.default_rng(0).choice([-1.0, 1.0], size=(1, len(x))) * used
    _, gradients = target._evaluate(x[None], True)
    assert gradients is not None
    gradient = gradients[0]
    off, _ = _differences(target, x, direction, direction @ gradient, gradient)
    n_evals = 1 + 2 * len(_STEPS)
    if not off[0]:
        return n_evals
    each = np.flatnonzero(used)
    off, slopes = _differences(target, x, np.eye(len(x))[each], gradient[each], gradient)
    n_evals += 2 * len(_STEPS) * len(each)
    if off.any():
        i = int(np.argmax(off))
        j = int(each[i])
        raise TargetError(
            f"gradient: it is {gradient[j]:.6g} in coordinate {j} at x = {_short(x)}, where "
            f"finite differences of the log-density give {slopes[i]:.6g}; fix it, or pass "
            "check_gradient=False if the log-density is rounded or random"
        )
    return n_evals


def _differences(
    target: LogDensity, x: Array, directions: Array, claimed: Array, gradient: Array
) -> tuple[NDArray[np.bool_], Array]:
    """Return whether central differences contradict the claimed slopes at every step."""
    scale = np.maximum(np.abs(x), 1.0)
    points = [x + sign * step * scale * directions for step in _STEPS for sign in (1, -1)]
    values, _ = target._evaluate(np.concatenate(points), False)
    ends = values.reshape(len(_STEPS), 2, len(directions))
    steps = np.reshape(_STEPS, (-1, 1))
    with np.errstate(invalid="ignore"):
        slopes = (ends[:, 0] - ends[:, 1]) / (2 * steps)
    wanted = np.sum(directions * scale * gradient, axis=1)
    # Rounding errors of the values, and the size of the terms of a sum that may cancel.
    noise = 16 * np.finfo(float).eps * np.abs(ends).max(axis=1) / steps
    size = np.sum(np.abs(directions * scale * gradient), axis=1)
    with np.errstate(invalid="ignore"):
        off = np.abs(slopes - wanted) > _TOLERANCE * (size + 1e-3) + noise
    # At a bound of the support differences are not finite.
    off &= np.isfinite(slopes)
    each = np.sum(directions * scale, axis=1)
    return off.all(axis=0), slopes[-1] / np.where(each == 0, 1.0, each)
