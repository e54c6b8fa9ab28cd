"""Line sampling: failure along parallel lines, and a random check of each line.

A point of standard normal space is split into its part orthogonal to an important direction and its
place along this direction. All places of a line beyond a root count as failures, and their mass is
known. One random place of each line is evaluated as well. The difference between the indicator of g
there and the indicator of the root is weighted and added, which makes the estimate unbiased if a
line has other failures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.importance.failure.space import LimitState, batch_of
from fermiac.importance.failure.training import Event
from fermiac.random import sobol
from fermiac.special import ndtr, ndtri

__all__ = ["MOST_STEPS", "PRECISE", "Lines"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

_REPLICATES = 16
#: The largest number of lines whose masses are kept.
_MOST_KEPT = 2**18
#: The largest number of evaluations of a root search.
MOST_STEPS = 9
#: The relative error of the mass at which a root search ends, and the smallest of an estimate.
PRECISE = 1e-6
#: Roots are not searched where the mass is below this share of that beyond the design point.
_FAR = 1e-5
#: The longest step of a search, and the place below which the whole line counts as failure.
_STEP, _LEAST = 1.5, -8.0


@dataclass
class Lines:
    """Sums over lines, for R replicates of Sobol' points.

    Parameters
    ----------
    g : LimitState
    events : list of Event
        The events, all of one column.
    direction : ndarray, shape (d,)
        A unit vector.
    distance : float
        The distance to failure along the direction.
    key : int
    """

    g: LimitState
    events: list[Event]
    direction: Array
    distance: float
    key: int
    #: The number of lines of each replicate.
    done: int = 0
    sums: Array = field(init=False)

    def __post_init__(self) -> None:
        events = len(self.events)
        self.sums = np.zeros((_REPLICATES, events))
        #: The sums of squares, and the largest, of the values of the lines.
        self.squares, self.largest = np.zeros(events), np.zeros(events)
        #: The sums of the absolute corrections from the checks.
        self.surprises = np.zeros(events)
        #: The masses beyond the roots, for k-hat.
        self.masses: list[Array] = []
        self._slope = -1.0
        w = self.direction.copy()
        w[0] += math.copysign(1.0, w[0])
        self._mirror = w / np.linalg.norm(w)

    def run(self, budget: int) -> None:
        """Draw lines, and double their number while the budget allows it."""
        begin = self.g.n_evals
        most = MOST_STEPS * len(self.events) + 1
        places = np.array([[self.distance], [self.distance - 0.1]])
        values = self.g(places * self.direction)[:, self.events[0].column]
        with np.errstate(over="ignore"):
            slope = float(values[0] - values[1]) / 0.1
        self._slope = slope if math.isfinite(slope) else -1.0
        power = int(math.log2(max(budget / (most * _REPLICATES), 1)))
        self._extend(0, 1 << power)
        while True:
            used = self.g.n_evals - begin
            # The second half may take slightly more than the first.
            if 2.02 * used > budget:
                return
            self._extend(self.done, 2 * self.done)

    def _extend(self, start: int, stop: int) -> None:
        """Extend every replicate to `stop` lines."""
        most = batch_of(max(self.g.dim, len(self.events)))
        sums = np.zeros_like(self.sums)
        for replicate in range(_REPLICATES):
            for begin in range(start, stop, most):
                n = min(most, stop - begin)
                v = sobol(n, self.g.dim + 1, self.key, start=begin, replicate=replicate)
                sums[replicate] += self._take(v)
        # Added together, so that replicates have equal sizes after an interrupt.
        self.sums += sums
        self.done = stop

    def _take(self, v: Array) -> Array:
        """Return the sums over lines, one for each row of uniform numbers."""
        across = np.zeros((len(v), self.g.dim))
        across[:, 1:] = ndtri(v[:, 2:])
        across -= 2 * np.outer(across @ self._mirror, self._mirror)
        # A third of the checks are drawn from the law, the others about the design point and about
        # its mirror image.
        shift = self.distance * (np.floor(3 * v[:, 0]) - 1)
        place = np.asarray(ndtri(v[:, 1])) + shift
        half = 0.5 * self.distance**2
        weights = 3 / (1 + 2 * np.exp(-half) * np.cosh(np.clip(self.distance * place, -700, 700)))
        column = self.events[0].column
        values = self.g(across + place[:, None] * self.direction)[:, column]
        masses, total = np.empty((2, len(v), len(self.events)))
        for j, event in enumerate(self.events):
            roots = self._roots(across, event)
            surprise = (values <= event.threshold).astype(float) - (place >= roots)
            surprise *= weights
            self.surprises[j] += np.abs(surprise).sum()
            masses[:, j] = ndtr(-roots)
            total[:, j] = masses[:, j] + surprise
        self.squares += (total * total).sum(axis=0)
        self.largest = np.maximum(self.largest, np.abs(total).max(axis=0))
        if sum(len(m) for m in self.masses) < _MOST_KEPT:
            self.masses.append(masses)
        sums: Array = total.sum(axis=0)
        return sums

    def missed(self, points: Array, event: Event) -> Flags:
        """Return whether each failure point is not beyond the root of its line."""
        along = points @ self.direction
        across = points - along[:, None] * self.direction
        # A point on the boundary is not missed.
        out: Flags = along < self._roots(across, event) - 1e-2
        return out

    def replicates(self) -> Array:
        """Return the means of the replicates, shape (R, J)."""
        means: Array = self.sums / self.done
        return means

    def khat(self) -> Array:
        """Return the tail shape of the masses of the lines, for each event."""
        masses = np.concatenate(self.masses)
        out = np.full(len(self.events), np.nan)
        for j in range(out.size):
            some = masses[:, j][masses[:, j] > 0]
            if some.size >= 5:
                out[j] = _core.khat(np.ascontiguousarray(some))
        return out

    def _roots(self, across: Array, event: Event) -> Array:
        """Return the place where failure begins on each line, or infinity if there is no failure.

        The search is a secant method. A step that leaves the bracket is replaced by its midpoint.
        """
        far = -float(ndtri(max(_FAR * float(ndtr(-self.distance)), 1e-300)))
        n = len(across)
        low, high = np.full(n, -np.inf), np.full(n, np.inf)
        at = np.full(n, self.distance)
        last, before = np.full(n, np.nan), np.full(n, np.nan)
        slope = np.full(n, self._slope)
        roots = np.full(n, np.inf)
        active = np.arange(n)
        for _ in range(MOST_STEPS):
            c = at[active]
            values = self.g(across[active] + c[:, None] * self.direction)[:, event.column]
            values = values - event.threshold
            fails = values <= 0
            high[active] = np.where(fails, np.minimum(high[active], c), high[active])
            low[active] = np.where(fails, low[active], np.maximum(low[active], c))
            with np.errstate(all="ignore"):
                secant = (values - before[active]) / (c - last[active])
                usable = np.isfinite(secant) & (secant != 0)
                slope[active] = np.where(usable, secant, slope[active])
                step = -values / slope[active]
            # Steps from outside go towards failure, and steps from inside away from it. A very
            # small step is made longer, to cross a nearby root.
            sign = np.where(fails, -1.0, 1.0)
            step = np.where(np.isfinite(step) & (step * sign >= 0), step, sign * _STEP)
            least = 0.5 * PRECISE / np.maximum(np.abs(c), 1.0)
            lower, upper = low[active], high[active]
            bounded = np.isfinite(lower) & np.isfinite(upper)
            step = np.where(~bounded & (np.abs(step) < least), sign * least, step)
            new = c + np.clip(step, -_STEP, _STEP)
            inside = (new > lower) & (new < upper)
            middle = 0.5 * (np.where(bounded, lower, 0.0) + np.where(bounded, upper, 0.0))
            new = np.where(bounded & ~inside, middle, new)
            last[active], before[active] = c, values
            # The mass beyond changes by a factor exp(-c dc).
            settled = bounded & (np.abs(new - c) < 2 * least)
            narrow = upper - lower < 2 * least
            exact = values == 0
            beyond = (new > far) & ~np.isfinite(upper)
            under = (new < _LEAST) & ~np.isfinite(lower)
            # The best value so far, also for lines that use all steps.
            root = np.where(exact, c, np.where(bounded | fails, new, np.inf))
            roots[active] = np.where(beyond, np.inf, np.where(under, -np.inf, root))
            at[active] = new
            active = active[~(settled | narrow | exact | beyond | under)]
            if not active.size:
                break
        return roots
