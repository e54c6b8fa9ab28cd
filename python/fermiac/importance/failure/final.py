"""The final sample of a proposal: replicates of Sobol' points, and sums over them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from fermiac import _core
from fermiac.importance.failure.proposal import Proposal
from fermiac.importance.failure.space import LimitState, batch_of
from fermiac.importance.failure.training import Event

__all__ = ["Final", "Plan", "controlled", "events_of", "half_width", "plan", "relative"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Weights of failure points that are kept for their diagnosis at most.
_MOST_KEPT = 2**22
#: Points of small replicates that are evaluated together.
_TOGETHER = 16384
#: The most checks of a tolerance; each has the level 0.05 / 12.
MOST_LOOKS = 12
LEVEL = 0.05


@dataclass(frozen=True)
class Plan:
    """The replicates of a final sample, and the sizes 2**m at which its error is checked."""

    n_replicates: int
    powers: tuple[int, ...]

    @property
    def n(self) -> int:
        """The total number of points in all replicates."""
        return self.n_replicates << self.powers[-1]


def plan(n: int, looks: bool) -> Plan:
    """Return 8 to 15 replicates that use at least 8/9 of n points; 16 to 31 of a few points."""
    least = 8 if n >= 4096 else 16
    power = max(int(math.log2(n / least)), 0)
    replicates = max(n >> power, 2)
    first = max(min(power, 6), power - MOST_LOOKS + 1) if looks else power
    return Plan(replicates, tuple(range(first, power + 1)))


@dataclass
class Final:
    """The sums of a final sample over its replicates.

    Parameters
    ----------
    g : LimitState
    events : list of Event
    proposal : Proposal
    plan : Plan
    key : int
    scores : callable, optional
        Returns the derivatives of the log-density of the law at its points, (n, p).
    surrogate : callable, optional
        A cheaper limit state whose indicator is a control variate.
    """

    g: LimitState
    events: list[Event]
    proposal: Proposal
    plan: Plan
    key: int
    scores: Callable[[Array], Array] | None = None
    surrogate: LimitState | None = None
    #: The largest number of failure points that are kept, with their values.
    most_points: int = 0
    #: Points of each replicate that are done, and sums over them: (R, J) and (R, J, p).
    done: NDArray[np.int64] = field(init=False)
    sums: Array = field(init=False)

    def __post_init__(self) -> None:
        r, j = self.plan.n_replicates, len(self.events)
        self.done = np.zeros(r, np.int64)
        self.sums = np.zeros((r, j))
        #: Sums of squares, in units of the square of the largest value.
        self.squares = np.zeros(j)
        self.largest = np.zeros(j)
        self.hits = np.zeros(j, np.int64)
        self.slopes: Array | None = None
        #: For the control: sums of its values, its squares and its products with the indicator.
        self.control = np.zeros((r, j))
        self.control_squares = np.zeros((r, j))
        self.products = np.zeros((r, j))
        self.kept: list[tuple[Array, Flags]] = []
        self._n_kept = 0
        self.points: list[tuple[Array, Array]] = []
        self.looks = 0

    def run(self, enough: Callable[[Final], bool] | None = None) -> bool:
        """Draw the sample in nested parts; return whether `enough` became true before the end."""
        start = 0
        for look, power in enumerate(self.plan.powers):
            self._extend(start, 1 << power)
            start = 1 << power
            self.looks = look + 1
            if enough is not None and enough(self):
                return True
        return False

    def _extend(self, start: int, stop: int) -> None:
        """Extend every replicate to `stop` points."""
        size, most = stop - start, batch_of(max(self.g.dim, len(self.events)))
        together = max(1, min(_TOGETHER, most) // size)
        for first in range(0, self.plan.n_replicates, together):
            group = range(first, min(first + together, self.plan.n_replicates))
            for begin in range(start, stop, most):
                n = min(most, stop - begin)
                parts = self.proposal.nets(n, self.key, group, begin)
                self._take(np.concatenate(list(parts)), group, n)

    def _take(self, u: Array, group: range, n: int) -> None:
        weights = np.exp(-self.proposal.log_ratio(u))
        values = self.g(u)
        failed = self._failed(values)
        v = weights[:, None] * failed
        shape = (len(group), n, len(self.events))
        rows = slice(group.start, group.stop)
        self.sums[rows] += v.reshape(shape).sum(axis=1)
        # In units of the largest value, because squares of 1e-160 underflow.
        largest = np.maximum(self.largest, v.max(axis=0))
        unit = np.where(largest > 0, largest, 1.0)
        self.squares = self.squares * (self.largest / unit) ** 2 + ((v / unit) ** 2).sum(axis=0)
        self.largest = largest
        self.hits += failed.sum(axis=0)
        any_failed = failed.any(axis=1)
        if self._n_kept < _MOST_KEPT:
            self.kept.append((weights[any_failed], failed[any_failed]))
            self._n_kept += int(any_failed.sum()) * len(self.events)
        if self.most_points > 0:
            rows_kept = np.flatnonzero(any_failed)[: self.most_points]
            self.points.append((u[rows_kept], values[rows_kept]))
            self.most_points -= len(rows_kept)
        if self.scores is not None:
            scores = self.scores(self.g.space(u))
            scores[~any_failed] = 0.0
            if self.slopes is None:
                shape_of = (self.plan.n_replicates, len(self.events), scores.shape[1])
                self.slopes = np.zeros(shape_of)
            self.slopes[rows] += np.einsum(
                "rnj,rnp->rjp", v.reshape(shape), scores.reshape(len(group), n, -1)
            )
        if self.surrogate is not None:
            c = weights[:, None] * self._failed(self.surrogate(u))
            self.control[rows] += c.reshape(shape).sum(axis=1)
            self.control_squares[rows] += (c * c).reshape(shape).sum(axis=1)
            self.products[rows] += (c * v).reshape(shape).sum(axis=1)
        self.done[rows] += n

    def _failed(self, values: Array) -> Flags:
        return np.stack([values[:, e.column] <= e.threshold for e in self.events], axis=1)

    def replicates(self) -> Array:
        """Return the means of the replicates that have all points, shape (R, J)."""
        whole = self.done == self.done.max()
        if not self.done.max():
            return np.empty((0, len(self.events)))
        means: Array = self.sums[whole] / self.done[whole, None]
        return means

    def khat(self) -> Array:
        """Return the tail shape of the weights of the failure points of each event."""
        out = np.full(len(self.events), np.nan)
        for j in range(out.size):
            w = np.concatenate([w[f[:, j]] for w, f in self.kept]) if self.kept else np.empty(0)
            if w.size >= 5:
                out[j] = _core.khat(np.ascontiguousarray(w))
        return out


def half_width(means: Array, level: float) -> tuple[Array, Array, float]:
    """Return the means of replicates, their standard errors, and Student's factor."""
    r = len(means)
    factor = float(-stdtrit(r - 1, level / 2))
    scaled, scale = relative(means)
    stderr = scale * (scaled.std(axis=0, ddof=1) / math.sqrt(r))
    return means.mean(axis=0), stderr, factor


def relative(means: Array) -> tuple[Array, Array]:
    """Return replicates in units of their largest, since squares of 1e-160 underflow."""
    scale = np.abs(means).max(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    return means / scale, scale


def controlled(final: Final, mean: Array, stderr: Array) -> tuple[Array, Array]:
    """Return the replicates minus the control, and its coefficients.

    The coefficient of a replicate comes from the points of the others, so that it does not depend
    on the replicate.
    """
    n = final.done[0]
    total_c, total_v = final.control.sum(axis=0), final.sums.sum(axis=0)
    total_cc, total_cv = final.control_squares.sum(axis=0), final.products.sum(axis=0)
    others = n * (len(final.sums) - 1)
    c, v = total_c - final.control, total_v - final.sums
    cc = (total_cc - final.control_squares) / others - (c / others) ** 2
    cv = (total_cv - final.products) / others - (c / others) * (v / others)
    with np.errstate(divide="ignore", invalid="ignore"):
        beta = np.where(cc > 0, cv / cc, 0.0)
    values: Array = final.sums / n - beta * (final.control / n - mean)
    return values, beta


def events_of(columns: int, thresholds: Array) -> list[Event]:
    """Return the events of all columns and thresholds, column by column."""
    return [Event(k, float(t)) for k in range(columns) for t in thresholds]
