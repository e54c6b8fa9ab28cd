"""Priors of PyMC models as maps of the unit cube: each variable given the ones before."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from fermiac.errors import ArgumentError
from fermiac.targets.pymc_graphs import Graphs

__all__ = ["from_cube"]


def from_cube(graphs: Graphs) -> Any:
    """Return the unconstrained point as a graph of a point of the unit cube.

    Each free variable is the inverse distribution function of its law given the variables before
    it (M. Rosenblatt, "Remarks on a multivariate transformation", Annals of Mathematical
    Statistics, 1952, doi:10.1214/aoms/1177729394). Normal vectors come from independent normal
    numbers, and Dirichlet vectors from beta-distributed shares of the remainder.

    Raises
    ------
    ArgumentError
        If the law of a variable has no such map; the message names both.
    """
    known: dict[Any, Any] = {}
    cube = graphs.split(graphs.point, graphs.free)
    for rv, u in zip(graphs.model.free_RVs, cube, strict=True):
        known[rv] = graphs.replaced([_quantiles(rv, u)], known)[0]
    return graphs.joined([graphs.forward(rv, x, known) for rv, x in known.items()])


def _quantiles(rv: Any, u: Any) -> Any:
    """Return a variable from numbers in the unit interval, in the shape of its free value."""
    law = type(rv.owner.op).__name__
    special = _SPECIAL.get(law)
    try:
        if special is not None:
            return special(rv, u)
        basic: Any = importlib.import_module("pymc.logprob.basic")
        return basic.icdf(rv, u, warn_rvs=False)
    except (NotImplementedError, RuntimeError, ValueError, TypeError) as error:
        raise ArgumentError(
            f"prior: that of {rv.name!r} ({law.removesuffix('RV')}) has no map from the unit cube, "
            "which nested sampling needs; write the variable by others that have one (a normal "
            "one times a scale, for instance), or use fermiac.mcmc.sample or "
            "fermiac.importance.evidence"
        ) from error


def _normal_vector(rv: Any, u: Any) -> Any:
    pt: Any = importlib.import_module("pytensor.tensor")
    mean, cov = rv.owner.op.dist_params(rv.owner)
    normal = _probit(u)
    factor = pt.linalg.cholesky(cov)
    return mean + (factor @ normal[..., None])[..., 0]


def _dirichlet(rv: Any, u: Any) -> Any:
    pt: Any = importlib.import_module("pytensor.tensor")
    (a,) = rv.owner.op.dist_params(rv.owner)
    rest = pt.cumsum(a[..., ::-1], axis=-1)[..., ::-1]
    shares = pt.betaincinv(*pt.broadcast_arrays(a[..., :-1], rest[..., 1:], u))
    left = pt.cumprod(1 - shares, axis=-1)
    before = pt.concatenate([pt.ones_like(left[..., :1]), left[..., :-1]], axis=-1)
    return pt.concatenate([shares * before, left[..., -1:]], axis=-1)


def _probit(u: Any) -> Any:
    pt: Any = importlib.import_module("pytensor.tensor")
    return -(2.0**0.5) * pt.erfcinv(2 * u)


_SPECIAL: dict[str, Callable[[Any, Any], Any]] = {
    "MvNormalRV": _normal_vector,
    "DirichletRV": _dirichlet,
}
