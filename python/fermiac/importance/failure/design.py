"""Design points: the points of failure that are nearest to the origin."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fermiac.importance.failure.space import LimitState, unit_moves

__all__ = ["Design", "is_joined", "regions_of", "search"]

Array = NDArray[np.float64]

_STEP = 1e-4
#: Regions of one event at most.
MOST_REGIONS = 12
#: Failure points whose directions have a smaller cosine belong to different regions, at first.
_APART = 0.6
_OPPOSITE = -0.9
_MOST_STARTS = 60
#: The largest number of failure points for the search of regions.
_MOST_POINTS = 8000
#: Points of an arc that must all fail for its ends to belong to one region.
_ARC = 7


@dataclass(frozen=True)
class Design:
    """A point on the boundary of failure, and whether the search for it converged."""

    point: Array
    settled: bool

    @property
    def distance(self) -> float:
        """The distance from the origin."""
        return float(np.linalg.norm(self.point))

    @property
    def direction(self) -> Array:
        """The unit vector to the point."""
        return self.point / max(self.distance, 1e-300)


def search(
    g: LimitState,
    column: int,
    threshold: float,
    start: Array,
    gradient: Callable[[Array], Array] | None,
    n_iterations: int,
    budget: int,
) -> Design | None:
    """Search for a design point from a start (Hasofer-Lind-Rackwitz-Fiessler iteration).

    Each step goes to the nearest point of the linearised boundary, and then along the ray to the
    boundary itself by a secant. None if the slope vanishes at the start.
    """
    first = g.n_evals
    if budget < 3 + (g.dim if gradient is None else 0):
        return None
    u = start
    value = float(g(u[None])[0, column]) - threshold
    best: Array | None = None
    settled = False
    for _ in range(n_iterations):
        if g.n_evals - first + (g.dim if gradient is None else 0) + 2 > budget:
            break
        slope = gradient(u) if gradient is not None else _slope(g, column, u, value + threshold)
        with np.errstate(over="ignore", invalid="ignore"):
            square = float(slope @ slope)
        if not math.isfinite(square) or square <= 1e-300:
            break
        new = slope * ((slope @ u - value) / square)
        # The law has no mass beyond this radius.
        length = float(np.linalg.norm(new))
        if length > 40:
            new = new * (40 / length)
        moved = float(np.linalg.norm(new - u))
        u = new
        value = float(g(u[None])[0, column]) - threshold
        u, value = _onto(g, column, threshold, u, value)
        best = u
        if moved < 1e-3 * max(1.0, float(np.linalg.norm(u))):
            settled = abs(value) <= 1e-3 * math.sqrt(square)
            break
    return None if best is None else Design(best, settled)


def _slope(g: LimitState, column: int, u: Array, value: float) -> Array:
    slope = np.empty_like(u)
    for rows, moves in unit_moves(u.size, _STEP):
        values = g(u + moves)[:, column]
        # Values that were not finite are the largest double here.
        with np.errstate(over="ignore"):
            slope[rows] = (values - value) / _STEP
    return slope


def _onto(
    g: LimitState, column: int, threshold: float, u: Array, value: float
) -> tuple[Array, float]:
    """Return the point near u where failure begins on a ray, by one secant step."""
    if not u.any():
        return u, value
    change = 0.02 if value > 0 else -0.02
    at = float(g(u[None] * (1 + change))[0, column]) - threshold
    if at == value:
        return u, value
    factor = 1 + change * value / (value - at)
    if not 0.7 < factor < 1.4:
        return u, value
    moved = u * factor
    new = float(g(moved[None])[0, column]) - threshold
    return (moved, new) if abs(new) < abs(value) else (u, value)


def regions_of(
    g: LimitState, column: int, threshold: float, u: Array, weights: Array, budget: int
) -> list[Array]:
    """Return the nearest failure point of each region, by directions and connecting arcs.

    Parameters
    ----------
    g : LimitState
    column, threshold
        The event.
    u, weights : ndarray
        Failure points and their weights.
    budget : int
        Evaluations at most.
    """
    if len(u) > _MOST_POINTS:
        kept = np.linspace(0, len(u) - 1, _MOST_POINTS).astype(int)
        u, weights = u[kept], weights[kept]
    # In order of the distance, nearest first.
    norms = np.sqrt((u * u).sum(axis=1))
    order = np.argsort(norms, kind="stable")
    u, weights, norms = u[order], weights[order], norms[order]
    left = np.ones(len(u), bool)
    centres: list[Array] = []
    total = weights.sum()
    directions = u / np.maximum(norms, 1e-300)[:, None]
    # In many dimensions most points are far from each other in direction.
    for _ in range(_MOST_STARTS):
        if not left.any() or len(centres) == MOST_REGIONS:
            break
        index = int(left.argmax())
        near = directions @ directions[index] > _APART
        if weights[near & left].sum() >= 1e-3 * total:
            centres.append(u[index])
        left &= ~near
        left[index] = False
    most = int((1 + math.sqrt(1 + 8 * budget / _ARC)) / 2)
    return _joined(g, column, threshold, centres[:most]) + centres[most:]


def _joined(g: LimitState, column: int, threshold: float, centres: list[Array]) -> list[Array]:
    """Join centres whose arc, at the larger of their distances, lies in failure."""
    units = [c / max(float(np.linalg.norm(c)), 1e-300) for c in centres]
    # The arc between opposite directions is not unique; such centres are joined through others.
    pairs = [
        (i, j) for j in range(len(centres)) for i in range(j) if units[i] @ units[j] > _OPPOSITE
    ]
    if not pairs or len(centres[0]) == 1:
        return centres
    points = np.concatenate([_arc(centres[i], centres[j]) for i, j in pairs])
    failed = (g(points)[:, column] <= threshold).reshape(len(pairs), _ARC)
    root = list(range(len(centres)))
    for (i, j), arc in zip(pairs, failed, strict=True):
        if arc.all():
            low, high = sorted((root[i], root[j]))
            root = [low if r == high else r for r in root]
    return [centres[k] for k in sorted(set(root))]


def is_joined(g: LimitState, column: int, threshold: float, a: Array, b: Array) -> bool:
    """Return whether the arc between two failure points lies in failure."""
    if len(a) == 1:
        return bool(a[0] * b[0] > 0)
    return bool((g(_arc(a, b))[:, column] <= threshold).all())


def _arc(a: Array, b: Array) -> Array:
    """Return points of the arc between two directions, a little beyond both."""
    radius = 1.05 * max(float(np.linalg.norm(a)), float(np.linalg.norm(b)))
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    t = (np.arange(_ARC) + 1)[:, None] / (_ARC + 1)
    between = (1 - t) * a + t * b
    length = np.linalg.norm(between, axis=1, keepdims=True)
    points: Array = radius * between / np.maximum(length, 1e-12)
    return points
