"""Line sampling: failure along parallel lines, and a random check of each line.

A point of standard normal space is a point of the plane across an important direction, and a place
along it. The failures of a line are taken to be all places beyond a root, whose mass is known. One
random place of each line is evaluated as well: what g says there, less what the root says, is
weighted and added, so that lines with other failures leave the estimate unbiased.
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
#: Lines whose masses are kept at most.
_MOST_KEPT = 2**18
#: Evaluations of the search of a root at most.
MOST_STEPS = 9
#: The relative error of the mass beyond a root that ends a search, and the least of an estimate.
PRECISE = 1e-6
#: Roots are not searched where the mass beyond is this share of that beyond the design point.
_FAR = 1e-5
#: The longest step of a search, and the place below which all of a line fails.
_STEP, _LEAST = 1.5, -8.0


@dataclass
class Lines:
    """The sums over lines, of R replicates of Sobol' points.

    Parameters
    ----------
    g : LimitState
    events : list of Event
        Of one column.
    direction : ndarray, shape (d,)
        A unit vector.
    distance : float
        That of failure along the direction.
    key : int
    """

    g: LimitState
    events: list[Event]
    direction: Array
    distance: float
    key: int
    #: Lines of each replicate.
    done: int = 0
    sums: Array = field(init=False)

    def __post_init__(self) -> None:
        events = len(self.events)
        self.sums = np.zeros((_REPLICATES, events))
        #: Squares, and the largest, of the values of the lines.
        self.squares, self.largest = np.zeros(events), np.zeros(events)
        #: Sums of what the checks add.
        self.surprises = np.zeros(events)
        #: The masses beyond the roots, for their diagnosis.
        self.masses: list[Array] = []
        self._slope = -1.0
        w = self.direction.copy()
        w[0] += math.copysign(1.0, w[0])
        self._mirror = w / np.linalg.norm(w)

    def run(self, budget: int) -> None:
        """Draw lines, and twice as many again while the budget allows for them."""
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
            # A little more than the first half may have taken.
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
        # All at once, so that an interrupt leaves equal replicates.
        self.sums += sums
        self.done = stop

    def _take(self, v: Array) -> Array:
        """Return the sums over lines, one for each row of uniform numbers."""
        across = np.zeros((len(v), self.g.dim))
        across[:, 1:] = ndtri(v[:, 2:])
        across -= 2 * np.outer(across @ self._mirror, self._mirror)
        # A third of the checks are places of the law, the others lie about the design point and
        # about its mirror image.
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
        """Return which failure points do not lie beyond the root of their line."""
        along = points @ self.direction
        across = points - along[:, None] * self.direction
        # A point on the boundary itself is not missed.
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
        """Return where failure begins on each line; infinite where it does not.

        A secant through the last two places; a step that leaves the bracket is replaced by its
        middle.
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
            # Towards failure from outside, and away from it from within. A step of nearly nothing
            # goes a little farther, to the other side of a root if there is one.
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
            # The best that is known, also for lines that take all steps.
            root = np.where(exact, c, np.where(bounded | fails, new, np.inf))
            roots[active] = np.where(beyond, np.inf, np.where(under, -np.inf, root))
            at[active] = new
            active = active[~(settled | narrow | exact | beyond | under)]
            if not active.size:
                break
        return roots
