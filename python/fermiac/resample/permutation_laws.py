"""Scores of permutation statistics, and their exact laws."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.errors import ArgumentError
from fermiac.resample.laws import spacing
from fermiac.resample.tilted import log_upper_tail

__all__ = ["LogTails", "Problem", "exact_tails", "problem_of"]

Array = NDArray[np.float64]
Core = tuple[str, list[int], list[int], Array | None]
#: The largest numbers of enumerated outcomes, of signs for the method of meeting in the middle, and
#: of terms of the shift algorithm.
_MOST_OUTCOMES, _MOST_SIGNS, _MOST_SHIFTS = 10**6, 40, 4 * 10**8
#: The largest number of observations of two samples for the method of meeting in the middle.
_MOST_IN_GROUPS = 40
#: Outcomes beyond the observed one that are counted: of signs, and of groups.
_MOST_CHOICES, _MOST_GROUPS = 10**6, 10**7
#: The fewest distinct values of a sum that counts as smooth, if they are not on a lattice.
_DISTINCT = 25
#: The share of the scale below which a difference is rounding.
_SAME = 1e-12
#: Factors that may make values whole.
_FACTORS = (1.0, 2.0, 10.0, 20.0, 100.0, 1000.0, 10_000.0, 100_000.0)
#: Probabilities above this are accurate although the least terms of the law underflow.
_TINY = 1e-250


class LogTails(NamedTuple):
    """The shares of permutations at or above and at or below the observed statistic."""

    upper: float
    lower: float
    log_upper: float
    log_lower: float
    method: str


@dataclass(frozen=True)
class Problem:
    """A statistic as a sum Σ c y over random coefficients c."""

    kind: str
    #: The other variable of pairs.
    x: Array | None
    y: Array
    first: int
    observed: float
    #: The largest difference that counts as equal.
    near: float
    #: The statistic as it is shown: (sum - shift) · factor.
    shift: float
    factor: float
    #: The mean and the standard deviation of the sum over permutations.
    centre: float
    sd: float

    @property
    def shown(self) -> float:
        """The observed statistic."""
        return (self.observed - self.shift) * self.factor

    def show(self, sums: Array) -> Array:
        """Convert sums to statistics."""
        return (sums - self.shift) * self.factor


def problem_of(kind: str, name: str, core: Core, y: Array, first: int) -> Problem:
    """Return the sum of scores whose permutations are those of a named statistic."""
    from scipy.stats import rankdata

    _, blocks, firsts, other = core
    n = y.size
    if kind == "signs":
        return _of_signs(y, name)
    if kind == "pairs":
        assert other is not None
        x = rankdata(other) if name == "spearman" else other
        y = rankdata(y) if name == "spearman" else y
        x, y = x - x.mean(), y - y.mean()
        root = math.sqrt(float(x @ x) * float(y @ y))
        if root == 0:
            raise ArgumentError("x: constant values given; a correlation needs others")
        scale = float(np.abs(x) @ np.abs(y))
        return Problem(kind, x, y, 0, float(x @ y), _SAME * scale, 0.0, 1 / root, 0.0,
                       root / math.sqrt(n - 1))  # fmt: skip
    if first < 1 or n - first < 1:
        raise ArgumentError("x: an empty sample given")
    scores = y
    if name == "rank":
        scores = rankdata(y)
    elif name == "ansari_bradley":
        ranks = rankdata(y)
        flat = np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)).astype(float)
        # Equal values have the mean of their scores.
        order, starts = np.argsort(y, kind="stable"), np.unique(ranks, return_inverse=True)[1]
        placed = np.empty(n)
        placed[order] = flat
        scores = (np.bincount(starts, placed) / np.bincount(starts))[starts]
    elif name == "median":
        scores = (y > np.median(y)).astype(float)
    inside = np.zeros(n, bool)
    for a, m in zip(blocks, firsts, strict=False):
        inside[a : a + m] = True
    # Sums about a value near the data lose fewer digits.
    middle = float(np.round(scores.mean())) if name == "mean" else 0.0
    values = scores - middle
    observed, total, m = float(values[inside].sum()), float(values.sum()), first
    shift, factor = (m * total / n, n / (m * (n - m))) if name == "mean" else (0.0, 1.0)
    variance = 0.0
    centre = 0.0
    for a, b, k in zip(blocks, blocks[1:], firsts, strict=False):
        part, size = values[a:b], b - a
        centre += k * float(part.mean())
        if size > 1:
            variance += k * (size - k) / size * float(part.var(ddof=1))
    near = _SAME * float(np.abs(values).sum())
    return Problem(kind, None, values, m, observed, near, shift, factor, centre,
                   math.sqrt(variance))  # fmt: skip


def _of_signs(y: Array, name: str) -> Problem:
    from scipy.stats import rankdata

    n = y.size
    if name == "rank":
        kept = y[y != 0]
        if kept.size == 0:
            raise ArgumentError("x: zeros alone given; other values are needed")
        y = np.sign(kept) * rankdata(np.abs(kept))
        # The sum of the ranks of positive values is (Σ ±r + Σ r) / 2.
        shift, factor = -float(np.abs(y).sum()), 0.5
    else:
        shift, factor = 0.0, 1 / n
    observed = float(y.sum())
    return Problem("signs", None, y, 0, observed, _SAME * float(np.abs(y).sum()), shift, factor,
                   0.0, math.sqrt(float(y @ y)))  # fmt: skip


def _whole(values: Array) -> tuple[NDArray[np.int64], float] | None:
    """Return integer scores and their unit, for multiples of 1, 1/2 or a power of 0.1."""
    largest = float(np.abs(values).max())
    for factor in _FACTORS:
        scaled = values * factor
        if largest * factor >= 2**31:
            return None
        whole = np.round(scaled)
        if (np.abs(scaled - whole) <= 1e-15 * largest * factor).all():
            scores = whole.astype(np.int64)
            unit = int(np.gcd.reduce(scores)) or 1
            return scores // unit, unit / factor
    return None


def _spaced(values: Array) -> tuple[NDArray[np.int64], float] | None:
    """Return integer scores and their unit, which is any number; see `spacing`."""
    unit = spacing(values)
    return None if unit is None else (np.rint(values / unit).astype(np.int64), unit)


def exact_tails(problem: Problem, plain: bool) -> LogTails | None:
    """Return the exact tails of a statistic, or None if its law is unknown or too large."""
    if problem.kind == "signs":
        return _sign_tails(problem)
    if not plain:
        return None
    n = problem.y.size
    if problem.kind == "pairs":
        if math.factorial(min(n, 20)) > _MOST_OUTCOMES:
            return None
        return _plain(problem, 0)
    m = min(problem.first, n - problem.first)
    # The number itself may have millions of digits.
    if _log_groups(n, m) < 2 * math.log(_MOST_OUTCOMES) and math.comb(n, m) <= _MOST_OUTCOMES:
        return _plain(problem, problem.first)
    if n <= _MOST_IN_GROUPS:
        upper, lower = _core.resample_tails(
            "middle", None, problem.y, problem.first, problem.observed, problem.near
        )
        return _of(upper, lower, "enumeration")
    lattice, base = _whole(problem.y), 0.0
    if lattice is None:
        base = float(problem.y.min())
        lattice = _spaced(problem.y - base)
    if lattice is None:
        return _group_tails(problem, 0.0)
    scores, unit = lattice
    flip = problem.first > n - problem.first
    low = scores - scores.min()
    largest = int(np.sort(low)[n - m :].sum())
    if n * m * largest > _MOST_SHIFTS:
        return _group_tails(problem, unit)
    law = _core.resample_rank_law(low.tolist(), m)
    sum_ = problem.observed - base * problem.first
    at = round(sum_ / unit) - int(scores.min()) * problem.first
    if flip:
        at = int(low.sum()) - at
    upper, lower = float(law[at:].sum()), float(law[: at + 1].sum())
    if flip:
        upper, lower = lower, upper
    return _of(upper, lower, "shift")


def _log_groups(n: int, m: int) -> float:
    """Return the logarithm of the number of groups of `m` of `n`."""
    from scipy.special import gammaln

    return float(gammaln(n + 1) - gammaln(m + 1) - gammaln(n - m + 1))


def _group_tails(problem: Problem, unit: float) -> LogTails | None:
    """Return the tails of the sum of a group, None if its law is not smooth.

    All sums differ by multiples of `unit` if it is not 0.
    """
    y = problem.y
    if not unit and np.unique(y).size < _DISTINCT:
        return None
    above = problem.observed >= problem.centre
    y = np.ascontiguousarray(y if above else -y)
    size = problem.observed if above else -problem.observed
    tail, method = _small_group_tail(y, problem.first, size, problem.near, unit)
    if tail is None:
        return None
    small = math.exp(min(tail, 0.0))
    beyond = small
    if unit and method == "series":
        # The other tail also has the outcomes that are equal to the observed one.
        more, _ = _small_group_tail(y, problem.first, size + unit, problem.near, unit)
        beyond = small if more is None else math.exp(more)
    large = min(max(1.0 - beyond, small), 1.0)
    pair = (small, large) if above else (large, small)
    logs = (tail, math.log(large)) if above else (math.log(large), tail)
    return LogTails(pair[0], pair[1], logs[0], logs[1], method)


def _small_group_tail(
    y: Array, first: int, size: float, near: float, unit: float
) -> tuple[float | None, str]:
    """Return ln P(sum of a group >= size) and the method that gave it."""
    log_all = _log_groups(y.size, first)
    log_count = _core.resample_log_groups_above(y, first, size, unit)
    if log_count is not None and log_count > math.log(_MOST_GROUPS):
        return log_count - log_all, "series"
    falling = np.sort(y)[::-1].copy()
    budget = float(falling[:first].sum()) - size + near
    count = _core.resample_group_choices(falling, first, budget, _MOST_GROUPS)
    return None if count is None else math.log(count) - log_all, "counting"


def _plain(problem: Problem, first: int) -> LogTails:
    kind = "groups" if problem.kind == "independent" else "pairs"
    upper, lower = _core.resample_tails(
        kind, problem.x, problem.y, first, problem.observed, problem.near
    )
    return _of(upper, lower, "enumeration")


def _of(upper: float, lower: float, method: str) -> LogTails:
    upper, lower = min(upper, 1.0), min(lower, 1.0)
    logs = [math.log(p) if p > 0 else -math.inf for p in (upper, lower)]
    return LogTails(upper, lower, logs[0], logs[1], method)


def _sign_tails(problem: Problem) -> LogTails | None:
    d = np.abs(problem.y[problem.y != 0])
    if d.size == 0:
        return _of(1.0, 1.0, "enumeration")
    if d.size <= _MOST_SIGNS:
        upper, lower = _core.resample_tails(
            "signs", None, np.ascontiguousarray(d), 0, problem.observed, problem.near
        )
        return _of(upper, lower, "enumeration")
    lattice = _whole(d) or _spaced(d)
    step = 0.0
    if lattice is not None:
        scores, unit = lattice
        step = unit
        if d.size * int(scores.sum()) <= _MOST_SHIFTS:
            law = _core.resample_rank_law(scores.tolist(), None)
            at = (round(problem.observed / unit) + int(scores.sum())) // 2
            upper, lower = float(law[at:].sum()), float(law[: at + 1].sum())
            if min(upper, lower) > _TINY:
                return _of(upper, lower, "shift")
    size = abs(problem.observed)
    tail, method = _small_tail(d, size, problem.near, step)
    if tail is None:
        return None
    small = math.exp(tail)
    # The other tail also has the outcomes equal to the observed one, which are negligible there.
    large = min(max(1.0 - small, small), 1.0)
    pair = (small, large) if problem.observed >= 0 else (large, small)
    logs = (tail, math.log(large)) if problem.observed >= 0 else (math.log(large), tail)
    return LogTails(pair[0], pair[1], logs[0], logs[1], method)


def _small_tail(d: Array, size: float, near: float, step: float) -> tuple[float | None, str]:
    """Return ln P(Σ ±d >= size) and the method that gave it.

    Sums on a lattice are `step` times integers of one parity. A smooth law approximates theirs if
    it starts half a gap below.
    """
    costs = np.sort(2 * d)
    count = _core.resample_choices(costs, float(d.sum()) - size + near, _MOST_CHOICES)
    if count is not None:
        return math.log(count) - d.size * math.log(2), "counting"
    return log_upper_tail(d, max(size - step, 0.0)), "series"
