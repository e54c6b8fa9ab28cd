"""Fits of proposals to weighted failure points.

Many components are fitted: Gaussian ones with few directions, normal tails beyond design points,
and polar ones. Their shares then minimise the second moment of the weights over the points, which
is a convex problem. Useless components get a share of 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fermiac.importance.failure.proposal import Axis, Component, Polar, Proposal, Slab, finite
from fermiac.random import Stream

__all__ = ["SIZES", "best_proposal", "candidates", "forecast"]

Array = NDArray[np.float64]

#: The share of the law itself, and that of heavy-tailed components.
BASE = 0.05
HEAVY = 0.12
#: Shares minimise the moment of the weights of this order plus 1. The third moment penalises points
#: that are hardly covered, at little cost in variance.
POWER = 2
#: Points that components are fitted to at most.
_MOST_POINTS = 4000
#: The largest number of points for the choice of shares.
_MOST_JUDGES = 6000
#: Dimensions up to which covariances are fitted.
_MOST_EIGEN = 64
#: Numbers of clusters. Each group is tried only if the groups before were not good enough.
SIZES = ((1,), (2, 4), (8,))
_ITERATIONS = 12
_SHARE_ITERATIONS = 150
#: The change of shares at which the iteration ends.
_SETTLED = 1e-3
#: Components with a smaller share are dropped.
_SMALL = 0.004
_MOST_COMPONENTS = 24
#: The log-ratio by which points are normalised at most, and the largest one beyond it: the powers
#: of densities stay in the range of doubles.
_MOST_TOP, _MOST_ABOVE = 230.0, 500.0
#: The largest number of clusters for which each component gets a heavy-tailed copy.
_MOST_HEAVY = 4


def candidates(
    u: Array,
    weights: Array,
    designs: Sequence[tuple[Array, float]],
    stream: Stream,
    sizes: Sequence[int],
) -> tuple[list[Component], list[Component]]:
    """Return components for weighted failure points, and heavy-tailed ones.

    Parameters
    ----------
    u : ndarray, shape (n, d)
    weights : ndarray, shape (n,)
        Weights of the points; any positive sum.
    designs : sequence of (direction, distance)
        Unit vectors, and the distances of the design points along them.
    stream : Stream
        For the starts of the fits.
    sizes : sequence of int
        Numbers of clusters, one mixture for each.
    """
    if len(u) > _MOST_POINTS:
        kept = np.linspace(0, len(u) - 1, _MOST_POINTS).astype(int)
        u, weights = u[kept], weights[kept]
    total = weights.sum()
    if not total > 0:
        return [], []
    weights = weights / total
    dim = u.shape[1]
    components: list[Component] = []
    heavy: list[Component] = []
    for size in sizes:
        if size > 1 and len(u) < 8 * size:
            break
        members = _mixture(u, weights, size, stream)
        spread: list[Component] = []
        for belongs in members:
            mass = weights * belongs
            if not _is_enough(mass):
                continue
            gaussian = _gaussian(u, mass)
            components.append(gaussian)
            components += _tails(u, mass, belongs)
            if dim > 1:
                components.append(_polar(u, mass))
            if size <= _MOST_HEAVY:
                spread.append(_spread(gaussian))
        heavy = spread or heavy
    for direction, distance in designs:
        components += _design(u, weights, direction, distance)
    return list(filter(finite, components)), list(filter(finite, heavy))


def best_proposal(
    dim: int,
    u: Array,
    measure: Array,
    failed: NDArray[np.bool_],
    components: list[Component],
    heavy: list[Component],
    forced: Sequence[Component] = (),
) -> tuple[Proposal, float]:
    """Return the mixture whose estimates of all events have the least relative variance.

    Parameters
    ----------
    dim : int
    u : ndarray, shape (n, d)
        Points at which at least one event holds.
    measure : ndarray, shape (n,)
        The probability of the law that each point stands for.
    failed : ndarray, shape (n, J)
        Which events hold.
    components, heavy : list of Component
    forced : sequence of Component
        Components that get a share of at least 3 % each, for regions with few points.

    Returns
    -------
    proposal : Proposal
    forecast : float
        The mean of E[w²] / P² over the events.
    """
    if len(u) > _MOST_JUDGES:
        kept = np.linspace(0, len(u) - 1, _MOST_JUDGES).astype(int)
        measure = measure * (len(u) / kept.size)
        u, measure, failed = u[kept], measure[kept], failed[kept]
    events = failed.astype(float)
    sizes = measure @ events
    seen = sizes > 0
    if not seen.any() or not components:
        return Proposal(dim), math.inf
    relative = events[:, seen] / sizes[seen]
    importance = measure * (relative @ (1 / sizes[seen] ** POWER)) / seen.sum()
    everyone = (*components, *heavy, *forced)
    ratios = Proposal(dim, 0.0, np.ones(len(everyone)), everyone).component_ratios(u)
    top = np.clip(ratios.max(axis=1), 0.0, _MOST_TOP)
    scaled = np.exp(np.minimum(ratios - top[:, None], _MOST_ABOVE))
    base = np.exp(-top)
    # The normalisation of the ratios also scales the importance of points.
    second_moment = measure * (relative @ (1 / sizes[seen])) / seen.sum() * base
    importance = importance * base**POWER
    n, n_heavy = len(components), len(heavy)
    fixed = BASE * base
    share_heavy = HEAVY if n_heavy else 0.0
    if n_heavy:
        fixed = fixed + share_heavy / n_heavy * scaled[:, n : n + n_heavy].sum(axis=1)
    each = min(0.03, 0.2 / max(len(forced), 1))
    if forced:
        fixed = fixed + each * scaled[:, n + n_heavy :].sum(axis=1)
    free = 1 - BASE - share_heavy - each * len(forced)
    # The last component is the law, which may get more than its fixed share.
    columns = np.column_stack([scaled[:, :n], base])
    shares = np.full(n + 1, 1 / (n + 1))
    alive = np.arange(n + 1)
    for rounds in (_SHARE_ITERATIONS, 60):
        shares = _shares(columns[:, alive], fixed, free, importance, shares, rounds)
        order = np.argsort(-shares[:-1], kind="stable")[:_MOST_COMPONENTS]
        kept = np.sort(order[shares[order] > _SMALL])
        kept = np.append(kept, len(alive) - 1)
        alive, shares = alive[kept], shares[kept] / shares[kept].sum()
    own = alive[:-1]
    density = fixed + free * (columns[:, alive] @ shares)
    second = float((second_moment / density).sum())
    parts = [components[k] for k in own]
    weights = [free * s for s in shares[:-1]]
    parts += [*heavy, *forced]
    weights += [share_heavy / max(n_heavy, 1)] * n_heavy + [each] * len(forced)
    total = np.array(weights)
    return Proposal(dim, BASE + free * float(shares[-1]), total, tuple(parts)), second


def forecast(second: float) -> float:
    """Return the coefficient of variation of one weighted point from the relative second moment."""
    return math.sqrt(max(second - 1, 0.0))


def _shares(
    columns: Array, fixed: Array, free: float, importance: Array, shares: Array, rounds: int
) -> Array:
    """Return shares that minimise sum(importance / density), by a multiplicative iteration."""
    for _ in range(rounds):
        density = columns @ shares
        density *= free
        density += fixed
        # Products, which take a tenth of the time of a power.
        power = density.copy()
        # Beyond the range of doubles a point is covered so well that it counts for nothing.
        with np.errstate(over="ignore"):
            for _ in range(POWER):
                power *= density
        slope = np.divide(importance, power, out=power) @ columns
        new = shares * slope ** (1 / (POWER + 1))
        new /= new.sum()
        moved = float(np.abs(new - shares).max())
        shares = new
        if moved < _SETTLED:
            break
    return shares


def _is_enough(mass: Array) -> bool:
    """Return whether a fit has enough weight; not so for NaN."""
    return bool(mass.sum() >= 1e-4) and _effective(mass) >= 4


def _effective(mass: Array) -> float:
    return float(mass.sum() ** 2 / (mass @ mass))


def _mixture(u: Array, weights: Array, size: int, stream: Stream) -> list[Array]:
    """Return the memberships of the points in the components of a Gaussian mixture."""
    n = len(u)
    if size == 1:
        return [np.ones(n)]
    # Starts far from each other, as in k-means++, but by the angle and the distance alike.
    centres = [u[int(np.argmin((u * u).sum(axis=1)))]]
    nearest = ((u - centres[0]) ** 2).sum(axis=1)
    for _ in range(size - 1):
        chances = np.cumsum(weights * nearest)
        if not chances[-1] > 0:
            break
        pick = int(np.searchsorted(chances, stream.uniform() * chances[-1]))
        centres.append(u[min(pick, n - 1)])
        nearest = np.minimum(nearest, ((u - centres[-1]) ** 2).sum(axis=1))
    distances = np.stack([((u - c) ** 2).sum(axis=1) for c in centres], axis=1)
    members = (distances.argmin(axis=1)[:, None] == np.arange(len(centres))).astype(float)
    for _ in range(_ITERATIONS):
        parts, logs = [], []
        for k in range(members.shape[1]):
            mass = weights * members[:, k]
            if _is_enough(mass):
                parts.append(_gaussian(u, mass))
                logs.append(math.log(mass.sum()))
        if not parts:
            return [np.ones(n)]
        together = Proposal(u.shape[1], 0.0, np.ones(len(parts)), tuple(parts))
        ratios = together.component_ratios(u) + np.array(logs)
        ratios -= ratios.max(axis=1, keepdims=True)
        members = np.exp(ratios)
        members /= members.sum(axis=1, keepdims=True)
    return list(members.T)


def _moments(u: Array, mass: Array) -> tuple[Array, Array, float]:
    total = mass.sum()
    mean = u.T @ mass / total
    centred = u - mean
    cov = (centred * (mass / total)[:, None]).T @ centred
    return mean, cov, _effective(mass)


def _gaussian(u: Array, mass: Array) -> Slab:
    """Return a Gaussian component with few directions, for weighted points."""
    dim = u.shape[1]
    if dim > _MOST_EIGEN:
        mean = u.T @ mass / mass.sum()
        return Slab(*_along(u, mass, _unit(mean)))
    mean, cov, effective = _moments(u, mass)
    directions, variances = _directions(cov, effective)
    axes = [
        Axis("normal", float(directions[:, j] @ mean), math.sqrt(variances[j]))
        for j in range(len(variances))
    ]
    rest = mean - directions @ (directions.T @ mean)
    length = float(np.linalg.norm(rest))
    if len(variances) < dim and (
        not axes or length > 2 * math.sqrt((dim - len(variances)) / effective)
    ):
        directions = np.column_stack([directions, rest / length])
        axes.append(Axis("normal", length, 1.0))
    return Slab(directions, axes)


def _directions(cov: Array, effective: float) -> tuple[Array, Array]:
    """Return the eigenvectors and eigenvalues that differ from 1 beyond the noise."""
    values, vectors = np.linalg.eigh(cov)
    spread = math.sqrt(len(cov) / max(effective, 1.0))
    low, high = max(1 - spread, 0.0) ** 2, (1 + spread) ** 2
    used = (values < 0.95 * low) | (values > 1.05 * high) if spread < 1 else values < 0.5
    kept = values[used]
    # Shrunk towards 1, like with two additional points of the law.
    shrunk = (effective * np.maximum(kept, 1e-6) + 2) / (effective + 2)
    return vectors[:, used], np.clip(shrunk, 1e-6, 25.0)


def _along(u: Array, mass: Array, direction: Array) -> tuple[Array, list[Axis]]:
    c = u @ direction
    total = mass.sum()
    mean = float(c @ mass / total)
    variance = max(float(((c - mean) ** 2) @ mass / total), 1e-4)
    return direction[:, None], [Axis("normal", mean, math.sqrt(variance))]


def _tails(u: Array, mass: Array, belongs: Array) -> list[Component]:
    """Return components with a normal tail along the mean of a cluster."""
    mean = u.T @ mass / mass.sum()
    length = float(np.linalg.norm(mean))
    if length < 0.5:
        return []
    direction = mean / length
    c = (u @ direction)[belongs > 0.5]
    if not c.size:
        return []
    least = float(c.min())
    some = float(np.quantile(c, 0.02))
    return _with_tails(u, mass, direction, (least - 0.03 / max(abs(least), 1.0), some))


def _with_tails(
    u: Array, mass: Array, direction: Array, bounds: Sequence[float]
) -> list[Component]:
    """Return half-spaces beyond bounds, alone and with a Gaussian law across the direction."""
    directions, axes = _across(u, mass, direction)
    found: list[Component] = []
    for bound in bounds:
        tail = Axis("tail", bound)
        found.append(Slab(direction[:, None], [tail]))
        if axes:
            found.append(Slab(np.column_stack([direction, directions]), [tail, *axes]))
    return found


def _across(u: Array, mass: Array, direction: Array) -> tuple[Array, list[Axis]]:
    """Return the directions across a direction with a Gaussian law other than the standard one."""
    dim = len(direction)
    if dim == 1 or dim > _MOST_EIGEN:
        return np.empty((dim, 0)), []
    across = u - np.outer(u @ direction, direction)
    mean, cov, effective = _moments(across, mass)
    # Variance 1 along the direction, which has its own distribution.
    cov = cov + np.outer(direction, direction)
    directions, variances = _directions(cov, effective)
    aligned = np.abs(direction @ directions) < 0.5
    directions, variances = directions[:, aligned], variances[aligned]
    directions = directions - np.outer(direction, direction @ directions)
    if directions.shape[1]:
        directions = np.linalg.qr(directions)[0]
    axes = [
        Axis("normal", float(directions[:, j] @ mean), math.sqrt(variances[j]))
        for j in range(len(variances))
    ]
    return directions, axes


def _design(u: Array, weights: Array, direction: Array, distance: float) -> list[Component]:
    """Return components at a design point."""
    found: list[Component] = [Slab(direction[:, None], [Axis("normal", distance, 1.0)])]
    near = (u @ direction > 0.5 * distance) & (distance > 0)
    mass = weights * near
    bounds = [distance - below / max(distance, 1.0) for below in (0.03, 0.5)]
    if near.sum() >= 4 and _effective(mass) >= 4:
        return found + _with_tails(u, mass, direction, bounds)
    return found + [Slab(direction[:, None], [Axis("tail", bound)]) for bound in bounds]


def _polar(u: Array, mass: Array) -> Polar:
    """Return a von Mises-Fisher-Nakagami component (Papaioannou, Geyer, Straub 2019)."""
    dim = u.shape[1]
    square = (u * u).sum(axis=1)
    total = mass.sum()
    mean = (u / np.sqrt(np.maximum(square, 1e-300))[:, None]).T @ mass / total
    length = min(float(np.linalg.norm(mean)), 0.999)
    # A uniform direction unless the resultant is beyond its noise.
    if length < 2 / math.sqrt(_effective(mass)):
        kappa = 0.0
    else:
        kappa = length * (dim - length**2) / (1 - length**2)
    axis = _unit(mean)
    second = float(square @ mass / total)
    variance = max(float(((square - second) ** 2) @ mass / total), 1e-3 * second**2, 1e-300)
    shape = min(max(second**2 / variance, 0.5), 1e4)
    return Polar(axis, min(kappa, 1e4), shape, second / shape)


def _unit(vector: Array) -> Array:
    length = float(np.linalg.norm(vector))
    if length > 0:
        return vector / length
    out = np.zeros_like(vector)
    out[0] = 1.0
    return out


def _spread(component: Component) -> Component:
    """Return a heavy-tailed component in the directions of a Gaussian one."""
    assert isinstance(component, Slab)
    return Slab(component.directions, [Axis("t", a.loc, a.scale) for a in component.axes])
