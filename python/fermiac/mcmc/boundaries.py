"""Boundaries of the support of a density, found by evaluations, and the transforms for them.

Chains that know no boundary reject, or diverge, at each crossing. `at_starts` looks for boundaries
where no random start has a density, and `at_draws` where trajectories left the support. Both name
the transforms that remove the boundaries.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fermiac.random import Stream
from fermiac.targets.density import LogDensity

__all__ = ["at_draws", "at_starts"]

Array = NDArray[np.float64]

#: With more coordinates boundaries are not sought: each takes about 80 evaluations.
_MOST_DIM = 1000
#: Points of each kind that are tried where no start has a density.
_GUESSES = 200
#: Halvings of the interval that holds a boundary: to 2**-40 of its length.
_HALVINGS = 40
#: How far from the starts, and how many standard deviations from draws, a boundary is sought.
_REACH, _DEVIATIONS = 20.0, 6.0
#: A number of two digits this near to a boundary, relative to the distance searched, is meant.
_NEAR = 1e-6
#: The most coordinates that a text names one by one.
_NAMED = 4


def at_starts(target: LogDensity, names: Sequence[str]) -> tuple[str, int]:
    """Return the advice for a density without a usable start, and the number of evaluations.

    Positive points, points of the unit cube and negative points are tried. From the first one with
    a density, all coordinates are searched for boundaries. The advice is empty if none was found.
    """
    if target.dim > _MOST_DIM:
        return "", 0
    stream = Stream(0)
    cube = stream.uniform((_GUESSES, target.dim))
    points = np.concatenate([4 * cube, cube, cube / target.dim, -4 * cube])
    values, _ = target._tolerantly(points, False)
    good = np.flatnonzero(np.isfinite(values))
    if not len(good):
        return "", len(points)
    x = points[good[:2]]
    found, n_evals = _boundaries(target, x, np.full(target.dim, _REACH))
    return _advice(found, names), n_evals + len(points)


def at_draws(target: LogDensity, draws: Array, names: Sequence[str], most: int) -> tuple[str, int]:
    """Return what is known about boundaries near draws (n, d), and the number of evaluations.

    Parameters
    ----------
    target : LogDensity
        The density.
    draws : ndarray
        Draws at which the density is positive, in any order.
    names : sequence of str
        The names of the coordinates, or nothing.
    most : int
        The largest number of evaluations; with fewer than are needed nothing is done.
    """
    if target.dim > _MOST_DIM or most < (4 + 2 * _HALVINGS) * target.dim:
        return "", 0
    x = draws[[len(draws) // 3, 2 * len(draws) // 3]]
    reach = _DEVIATIONS * draws.std(axis=0)
    found, n_evals = _boundaries(target, x, np.where(reach > 0, reach, 1.0))
    return _advice(found, names), n_evals


def _boundaries(
    target: LogDensity, x: Array, reach: Array
) -> tuple[dict[int, tuple[float, float]], int]:
    """Return the lowest and the highest value of each coordinate that ends, and the evaluations.

    A boundary is sought along the axes from the first of the points `x`. It must be the same from
    the second one, if there is one: then it does not depend on the other coordinates.
    """
    dim = len(reach)
    ways = [(j, sign) for j in range(dim) for sign in (-1.0, 1.0)]
    ends = _along(x[0], ways, np.array([sign * reach[j] for j, sign in ways]))
    outside = ~_inside(target, ends)
    n_evals = len(ways)
    ways = [way for way, out in zip(ways, outside, strict=True) if out]
    if not ways:
        return {}, n_evals
    inner, outer = np.zeros(len(ways)), np.array([sign * reach[j] for j, sign in ways])
    for _ in range(_HALVINGS):
        middle = (inner + outer) / 2
        good = _inside(target, _along(x[0], ways, middle))
        inner, outer = np.where(good, middle, inner), np.where(good, outer, middle)
    n_evals += _HALVINGS * len(ways)
    places = [_rounded(x[0, j] + at, reach[j]) for (j, _), at in zip(ways, inner, strict=True)]
    if len(x) > 1:
        beyond = np.tile(x[1], (2, len(ways), 1))
        for i, ((j, sign), place) in enumerate(zip(ways, places, strict=True)):
            margin = 1e-3 * reach[j]
            beyond[:, i, j] = place - sign * margin, place + sign * margin
        good = _inside(target, beyond.reshape(-1, dim)).reshape(2, -1)
        n_evals += 2 * len(ways)
        fixed = good[0] & ~good[1]
    else:
        fixed = np.ones(len(ways), dtype=bool)
    found: dict[int, tuple[float, float]] = {}
    for (j, sign), place, kept in zip(ways, places, fixed, strict=True):
        if kept:
            low, high = found.get(j, (-np.inf, np.inf))
            found[j] = (place, high) if sign < 0 else (low, place)
    return found, n_evals


def _along(x: Array, ways: list[tuple[int, float]], steps: Array) -> Array:
    """Return one point for each way, `x` with one coordinate moved."""
    points = np.tile(x, (len(ways), 1))
    for i, (j, _) in enumerate(ways):
        points[i, j] += steps[i]
    return points


def _inside(target: LogDensity, points: Array) -> NDArray[np.bool_]:
    """Return which points have a density; those at which the target fails have none."""
    return np.isfinite(target._tolerantly(points, False)[0])


def _rounded(place: float, reach: float) -> float:
    """Return the number of two digits that is meant, if one is near."""
    short = float(f"{place:.2g}")
    if abs(place) < _NEAR * reach:
        return 0.0
    return short if abs(short - place) < _NEAR * reach else float(f"{place:.6g}")


def _advice(found: dict[int, tuple[float, float]], names: Sequence[str]) -> str:
    """Return the boundaries in words, with the transforms that remove them."""
    if not found:
        return ""
    kinds: dict[tuple[float, float], list[int]] = {}
    for j, bounds in sorted(found.items()):
        kinds.setdefault(bounds, []).append(j)
    said, given = [], []
    for (low, high), where in kinds.items():
        which = [repr(names[j]) if names else str(j) for j in where]
        more = f" and {len(where) - _NAMED} more" if len(where) > _NAMED + 1 else ""
        many = "s" if len(where) > 1 else ""
        first = which[: _NAMED if more else None]
        listed = ", ".join(first) + more
        if not np.isfinite(high):
            said.append(f"below {low:g} in coordinate{many} {listed}")
            block = "'log'" if low == 0 else f"transforms.above({low:g})"
        elif not np.isfinite(low):
            said.append(f"above {high:g} in coordinate{many} {listed}")
            block = f"transforms.below({high:g})"
        else:
            said.append(f"outside [{low:g}, {high:g}] in coordinate{many} {listed}")
            block = "'logit'" if (low, high) == (0, 1) else f"transforms.bounded({low:g}, {high:g})"
        keys = first
        if len(where) > 1 and where == list(range(where[0], where[-1] + 1)):
            keys = [f"range({where[0]}, {where[-1] + 1})"]
        given += [f"{key}: {block}" for key in keys]
        if more and len(keys) > 1:
            given.append("...")
    of = " (of fermiac.targets.transforms)" if "transforms." in "".join(given) else ""
    return (
        f"the density is 0 {' and '.join(said)}; sample these without bounds, by "
        f"transforms={{{', '.join(given)}}}{of}"
    )
