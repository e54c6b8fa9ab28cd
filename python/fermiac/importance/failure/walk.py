"""Subset simulation: a walk through nested sets, from the whole space down to failure.

The points of a level are drawn from the standard normal law given the set of that level, by
chains that start at the points of the level before (conditional sampling, with a correlation that
adapts to the acceptance).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fermiac.importance.failure.space import LimitState
from fermiac.random import Stream, sobol
from fermiac.special import ndtri

__all__ = ["Level", "Walk", "start_points", "steps"]

Array = NDArray[np.float64]

#: The share of a level that the next set keeps.
SHARE = 0.1
#: The acceptance that the correlation adapts to.
_ACCEPTANCE = 0.44
_MOST_LEVELS = 200
#: The correlation of the estimated shares of neighbouring levels, which have common chains; Au and
#: Beck give bounds of 0 and 1. With 0 the coverage of 95 % intervals over ten levels was 0.87.
_CORRELATION = 0.3


@dataclass
class Level:
    """One level of a walk: points of the normal law given that g is at most `threshold`.

    Attributes
    ----------
    threshold : float
        Infinite for the first level.
    probability : float
        The probability of the set of this level.
    u, values : ndarray, shapes (n, d) and (n, K)
    chains : int
        The chains of the level; point i belongs to chain i modulo `chains`.
    ancestors : ndarray, shape (n,)
        The point of the first level that each point descends from.
    acceptance : float
        NaN for the first level.
    """

    threshold: float
    probability: float
    u: Array
    values: Array
    chains: int
    ancestors: NDArray[np.int64]
    acceptance: float = math.nan
    #: The square of the c.o.v. of `probability`, and that of its last factor alone.
    cov_square: float = 0.0
    last_square: float = 0.0


@dataclass
class Walk:
    """A walk down one column of g."""

    column: int
    levels: list[Level] = field(default_factory=list)
    #: Whether the last level has a share of failures for the lowest threshold.
    reached: bool = False

    def estimate(
        self, threshold: float, beyond: tuple[Array, float] | None = None
    ) -> tuple[float, float]:
        """Return the probability that g is at most a threshold, and its c.o.v.

        With a direction and a bound, the probability that the point lies beyond the bound as well.
        """
        level = self._level_of(threshold)
        below = level.values[:, self.column] <= threshold
        if beyond is not None:
            below &= level.u @ beyond[0] >= beyond[1]
        share, square = _share(below, level.chains)
        if share == 0:
            return 0.0, math.inf
        return level.probability * share, math.sqrt(_joint(level, square))

    def _level_of(self, threshold: float) -> Level:
        """Return the last level whose set has all points below a threshold."""
        return [level for level in self.levels if level.threshold >= threshold][-1]

    def unseen(self, threshold: float) -> float:
        """Return a bound on the probability that the points of a threshold's level missed."""
        level = self._level_of(threshold)
        return 3 * level.probability / len(level.u)


def steps(
    out: Walk,
    g: LimitState,
    lowest: float,
    n_level: int,
    budget: int,
    key: int,
    index: int,
    first: tuple[Array, Array] | None = None,
) -> Iterator[Walk]:
    """Walk down a column of g until a tenth of the points are at most `lowest`.

    Parameters
    ----------
    out : Walk
        The walk that gets the levels; it is yielded after each of them.
    g : LimitState
    lowest : float
        The lowest threshold.
    n_level : int
        Points of a level.
    budget : int
        Evaluations at most.
    key, index : int
        The address of the streams: level j uses the block j of the index.
    first : tuple of ndarray, optional
        The points of the first level and their values, if they are known.
    """
    used = 0
    if first is None:
        first = start_points(g, n_level, key, index)
        used = n_level
    u, values = first
    n_level = min(n_level, len(u))
    ancestors = np.arange(len(u))
    out.levels.append(Level(math.inf, 1.0, u, values, len(u), ancestors))
    yield out
    scale = 1.0  # of the step: sqrt(1 - rho^2) is at most 1
    while len(out.levels) < _MOST_LEVELS:
        level = out.levels[-1]
        column = level.values[:, out.column]
        if np.mean(column <= lowest) >= SHARE:
            out.reached = True
            return
        n_seeds = max(round(SHARE * len(column)), 1)
        threshold = max(float(np.partition(column, n_seeds - 1)[n_seeds - 1]), lowest)
        kept = column <= threshold
        # Where g is flat, no threshold divides the points.
        if not threshold < level.threshold or kept.all() or used >= budget:
            out.reached = bool((column <= lowest).any())
            return
        share, square = _share(kept, level.chains)
        seeds = np.flatnonzero(kept)
        stream = Stream(key, index, len(out.levels))
        # A random order, so that the seeds that are dropped are a random subset.
        if len(seeds) > n_level // 2:
            order = np.argsort(stream.uniform(len(seeds)), kind="stable")
            seeds = np.sort(seeds[order[: max(n_seeds, 1)]])
        n_steps = max(math.ceil(n_level / len(seeds)), 2)
        n_steps = min(n_steps, max((budget - used) // len(seeds) + 1, 2))
        points, new, acceptance, scale = _chains(
            g, level.u[seeds], level.values[seeds], out.column, threshold, n_steps, scale, stream
        )
        used += (n_steps - 1) * len(seeds)
        out.levels.append(
            Level(
                threshold,
                level.probability * share,
                points,
                new,
                len(seeds),
                np.tile(level.ancestors[seeds], n_steps),
                acceptance,
                _joint(level, square),
                square,
            )
        )
        yield out


def start_points(g: LimitState, n: int, key: int, index: int) -> tuple[Array, Array]:
    """Return the quasi-random points of a first level, and their values."""
    u = np.asarray(ndtri(sobol(n, g.dim, key, replicate=index)))
    return u, g(u)


def _chains(
    g: LimitState,
    u: Array,
    values: Array,
    column: int,
    threshold: float,
    n_steps: int,
    scale: float,
    stream: Stream,
) -> tuple[Array, Array, float, float]:
    """Return the states of all chains, step by step, with the acceptance and the scale."""
    states = np.empty((n_steps, *u.shape))
    found = np.empty((n_steps, *values.shape))
    states[0], found[0] = u, values
    # All at once: a call for each step would take longer than its numbers.
    noise = np.asarray(stream.normal((n_steps - 1, *u.shape)))
    accepted = 0.0
    for step in range(1, n_steps):
        across = min(scale, 1.0)
        proposed = noise[step - 1]
        proposed *= across
        proposed += math.sqrt(1 - across**2) * states[step - 1]
        new = g(proposed)
        good = new[:, column] <= threshold
        states[step], found[step] = proposed, new
        refused = np.flatnonzero(~good)
        states[step, refused] = states[step - 1, refused]
        found[step, refused] = found[step - 1, refused]
        rate = float(good.mean())
        accepted += rate
        scale = min(max(scale * math.exp((rate - _ACCEPTANCE) / math.sqrt(step)), 0.01), 2.0)
    points, values = (x.reshape(-1, x.shape[2]) for x in (states, found))
    return points, values, accepted / (n_steps - 1), scale


def _joint(level: Level, square: float) -> float:
    """Return the squared coefficient of variation of the product of a level and the next share."""
    return level.cov_square + square + 2 * _CORRELATION * math.sqrt(level.last_square * square)


def _share(below: NDArray[np.bool_], chains: int) -> tuple[float, float]:
    """Return the share of a level, and its squared coefficient of variation (Au and Beck 2001)."""
    n = below.size
    p = float(below.mean())
    if p in (0.0, 1.0):
        return p, 0.0
    steps = n // chains
    # One row for a step.
    table = below[: steps * chains].reshape(steps, chains).astype(float) - p
    variance = p * (1 - p)
    factor = 0.0
    for lag in range(1, steps):
        correlation = float((table[:-lag] * table[lag:]).mean()) / variance
        factor += 2 * (1 - lag / steps) * correlation
    return p, (1 - p) / (p * n) * (1 + max(factor, 0.0))
