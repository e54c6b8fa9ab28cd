"""Allocations of runs to models of several fidelities, and the forecasts of their variances.

All models run on the leading points of one sequence: model k on the first N_k. The estimate is the
mean of the first model plus a term for each other model. The term is a weight times the difference
of two means of this model: over the points of its parent, and over its own points. If the first
model is every parent, these are approximate control variates; if the parents form a chain in the
order of the correlations, it is multifidelity Monte Carlo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Allocation", "allocate", "coefficients", "mfmc", "variance"]

Array = NDArray[np.float64]

#: The largest correlation, so that no ratio is infinite.
_CLOSEST = 1 - 1e-10
#: The largest ratio of the runs of a model to those of its parent, and steps of the search.
_RATIO, _STEPS = 1e7, 25
#: The number of subsets whose star is optimised, and of models up to which all subsets are tried.
_STARS, _ALL = 3, 10


@dataclass(frozen=True)
class Allocation:
    """Ratios of runs, and the forecast variance.

    Attributes
    ----------
    method : str
        ``"mc"``, ``"mfmc"`` or ``"acv"``.
    models : tuple of int
        The models that are used after the first, parents before children.
    parents : tuple of int
        Their parents.
    ratios : ndarray
        Their numbers of runs divided by that of the first model.
    product : float
        The variance times the cost; divided by a cost it gives the variance at that cost.
    """

    method: str
    models: tuple[int, ...]
    parents: tuple[int, ...]
    ratios: Array
    product: float


def _parts(cov: Array, models: Sequence[int], own: Array, shared: Array) -> tuple[Array, Array]:
    """Return the covariances of the differences, and those with the mean of the first model.

    `own` and `shared` are the numbers of points of each difference, with any leading axes, divided
    by that of the first model.
    """
    m = list(models)

    def inverse(a: Array, b: Array) -> Array:
        return 1 / np.maximum(a[..., :, None], b[..., None, :])

    overlap = inverse(shared, shared) - inverse(shared, own) - inverse(own, shared)
    between = cov[np.ix_(m, m)] * (overlap + inverse(own, own))
    with_first = cov[0, m] * (1 / np.maximum(shared, 1.0) - 1 / np.maximum(own, 1.0))
    return between, with_first


def coefficients(cov: Array, models: Sequence[int], own: Array, shared: Array) -> Array:
    """Return the weights of the differences that minimise the variance."""
    between, with_first = _parts(cov, models, own, shared)
    scale = np.sqrt(np.maximum(np.diagonal(between), 1e-300))
    matrix = between / np.outer(scale, scale) + 1e-12 * np.eye(len(scale))
    out: Array = -np.linalg.solve(matrix, with_first / scale) / scale
    return out


def variance(cov: Array, models: Sequence[int], own: Array, shared: Array) -> Array:
    """Return the variance at one run of the first model, with the best weights."""
    between, with_first = _parts(cov, models, own, shared)
    scale = np.sqrt(np.maximum(np.diagonal(between, axis1=-2, axis2=-1), 1e-300))
    matrix = between / (scale[..., :, None] * scale[..., None, :]) + 1e-12 * np.eye(len(models))
    right = with_first / scale
    removed = (right * np.linalg.solve(matrix, right[..., None])[..., 0]).sum(axis=-1)
    out: Array = np.maximum(cov[0, 0] - removed, (1 - _CLOSEST) * cov[0, 0])
    return out


def mfmc(cov: Array, costs: Array, models: Sequence[int]) -> Allocation | None:
    """Return the optimal allocation of multifidelity Monte Carlo, or None if it does not exist.

    Parameters
    ----------
    cov : ndarray, shape (M, M)
    costs : ndarray, shape (M,)
    models : sequence of int
        The models that are used after the first, by falling correlation.
    """
    squares = cov[0, list(models)] ** 2 / (cov[0, 0] * np.diag(cov)[list(models)])
    squares = np.minimum(squares, _CLOSEST)
    chain = np.concatenate([[1.0], squares, [0.0]])
    falls = chain[:-1] - chain[1:]
    w = costs[[0, *models]]
    if (falls <= 0).any() or (falls[1:] / w[1:] <= falls[:-1] / w[:-1]).any():
        return None
    ratios = np.sqrt(falls[1:] * w[0] / (w[1:] * falls[0]))
    product = cov[0, 0] * np.sqrt(w * falls).sum() ** 2
    return Allocation("mfmc", tuple(models), (0, *models[:-1]), ratios, float(product))


def _star(cov: Array, costs: Array, models: tuple[int, ...]) -> Allocation:
    """Return the allocation with the first model as every parent, by a projected Newton search.

    The search is over the logarithms of the ratios, with differences for the slopes and the
    curvatures along each of them.
    """
    w = costs[list(models)]
    ones = np.ones(len(models))

    def product(x: Array) -> Array:
        ratios = np.exp(x)
        found = variance(cov, models, ratios, np.broadcast_to(ones, ratios.shape))
        out: Array = np.log(found) + np.log(costs[0] + ratios @ w)
        return out

    squares = np.minimum(cov[0, list(models)] ** 2 / (cov[0, 0] * np.diag(cov)[list(models)]), 0.99)
    high, low = np.log(_RATIO), 0.01
    x = np.clip(0.5 * np.log(squares / (1 - squares) * costs[0] / w), 0.1, high)
    value = float(product(x[None])[0])
    h, eye = 1e-3, np.eye(len(x))
    lengths = 0.5 ** np.arange(8)
    for _ in range(_STEPS):
        around = product(np.concatenate([x + h * eye, x - h * eye]))
        up, down = around[: len(x)], around[len(x) :]
        slope, bend = (up - down) / (2 * h), (up + down - 2 * value) / h**2
        step = -slope / np.maximum(bend, 0.05)
        tried = np.clip(x + lengths[:, None] * np.clip(step, -2, 2), low, high)
        values = product(tried)
        best = int(np.argmin(values))
        if not values[best] < value - 1e-9:
            break
        x, value = tried[best], float(values[best])
    return Allocation("acv", models, (0,) * len(models), np.exp(x), float(np.exp(value)))


def allocate(cov: Array, costs: Array, method: str = "auto", pilot: float = np.inf) -> Allocation:
    """Return the allocation with the least forecast variance.

    Parameters
    ----------
    cov : ndarray, shape (M, M)
        The covariance of the models.
    costs : ndarray, shape (M,)
    method : {"auto", "mfmc", "acv", "mc"}
    pilot : float
        The number of points behind the covariance: weights from few points add to the variance.
    """
    plain = Allocation("mc", (), (), np.empty(0), float(cov[0, 0] * costs[0]))
    spread = np.diag(cov) > 0
    if method == "mc" or not spread[0]:
        return plain
    with np.errstate(divide="ignore", invalid="ignore"):
        squares = np.where(spread, cov[0] ** 2 / (cov[0, 0] * np.diag(cov)), 0.0)
    known = [int(k) for k in np.argsort(-squares[1:], kind="stable") + 1 if squares[k] > 1e-12]
    known = known[:_ALL]
    subsets = [s for n in range(1, len(known) + 1) for s in combinations(known, n)]
    found: list[Allocation] = []
    if method in ("auto", "mfmc"):
        found += [one for s in subsets if (one := mfmc(cov, costs, s)) is not None]
    if method in ("auto", "acv") and subsets:
        found += [_star(cov, costs, s) for s in _promising(cov, costs, subsets)]

    def honest(one: Allocation) -> float:
        spare = pilot - len(one.models) - 2
        noise = len(one.models) / spare if spare > 0 else np.inf
        return one.product * (1 + noise)

    best = min(found, key=honest, default=plain)
    return best if honest(best) < plain.product or method in ("mfmc", "acv") else plain


def _promising(cov: Array, costs: Array, subsets: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return the subsets with the least product at a first guess of the ratios."""
    scores: list[tuple[float, tuple[int, ...]]] = []
    for size in range(1, max(map(len, subsets)) + 1):
        same = [s for s in subsets if len(s) == size]
        places = np.array(same)
        scale = np.sqrt(np.diag(cov))[places]
        right = cov[0, places] / scale
        unit = cov[places[:, :, None], places[:, None, :]] / (scale[:, :, None] * scale[:, None])
        solved = np.linalg.solve(unit + 1e-10 * np.eye(size), right[..., None])[..., 0]
        explained = np.minimum((right * solved).sum(axis=1) / cov[0, 0], _CLOSEST)
        # Score a set as a single model with the sum of the costs.
        product = np.sqrt(costs[0] * (1 - explained))
        product += np.sqrt(costs[places].sum(axis=1) * np.maximum(explained, 0.0))
        scores += zip(product.tolist(), same, strict=True)
    scores.sort()
    return [s for _, s in scores[:_STARS]]
