"""The training of a proposal for rare events: the walk, design points, and refinements."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac.distributions.law import subkey
from fermiac.importance.failure import design
from fermiac.importance.failure import fit as fitting
from fermiac.importance.failure.proposal import Axis, Component, Proposal, Slab, finite
from fermiac.importance.failure.space import LimitState
from fermiac.importance.failure.walk import SHARE, Level, Walk, start_points, steps
from fermiac.random import Stream, sobol
from fermiac.special import gammainccinv, ndtr, ndtri

__all__ = ["Event", "Region", "Training"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: A failure point whose weight is more than this many times the mean gets its own region.
HEAVY_WEIGHT = 50.0
#: The same during training, where there are fewer points.
_HEAVY_IN_TRAINING = 15.0
#: Numbers of the points of one stage at most.
_MOST_NUMBERS = 2**23
#: The weight of points of subset simulation in the pool, because points of a chain are correlated.
_CHAIN_SHARE = 0.3
_MOST_STAGES = 5
#: The forecast c.o.v. of one point at or below which no larger mixtures are tried. The fixed shares
#: alone give 0.45.
_GOOD = 0.75
#: The largest numbers of points of a stage and of a level; more points do not improve fits.
MOST_STAGE, MOST_LEVEL = 16_384, 32_768
#: A region is known if the cosine between its direction and that of a failure point is larger.
_KNOWN = 0.7
#: Dimensions up to which a single failure point gets a component.
_MOST_FORCED = 20
#: The distances between which a design point is used: at the origin its direction is noise, and
#: beyond 38 standard deviations probabilities underflow.
_NEAREST, _FARTHEST = 1e-3, 38.0
#: The share of a step beyond a design point, where g must fail.
_BEYOND = 0.02
#: The smallest number of failure points of which a half is left for the choice of components.
_ENOUGH = 40
#: The number of design points whose mirror images are searched.
_MOST_OPPOSITE = 3
#: New regions that probes are followed to, for one event.
_MOST_NEW = 12
#: The number of points of the tail beyond a design point, the largest difference of its mass from
#: that of a walk in combined errors, and the smallest relevant share of the estimate.
_TAIL, _TAILS_APART, _MATTERS = 256, 3.0, 0.05
#: The probability that sets the radius of probes if there is no walk.
_USUAL_LEAST = 1e-6
#: The share of the budget that is left to the final sample at least.
FINAL_SHARE = 0.35


@dataclass(frozen=True)
class Event:
    """Failure: column `column` of g is at most `threshold`."""

    column: int
    threshold: float


@dataclass(frozen=True)
class Region:
    """A region of failure of one event, by its design point in standard normal space."""

    event: int
    point: Array


@dataclass
class Training:
    """The failure points so far, and the proposal that is fitted to them.

    Parameters
    ----------
    g : LimitState
        The function, or its surrogate.
    events : list of Event
    n : int
        The budget of evaluations, the final sample included.
    key : int
    gradient : callable, optional
        Gradients of a column in standard normal space: (u, column) -> (d,).
    """

    g: LimitState
    events: list[Event]
    n: int
    key: int
    gradient: Callable[[Array, int], Array] | None = None
    walks: list[Walk] = field(default_factory=list)
    designs: list[tuple[int, design.Design]] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)
    proposal: Proposal | None = None
    #: The forecast c.o.v. of one weighted point of the proposal.
    forecast: float = math.inf
    #: Failure points, and the values of g there.
    u: Array = field(default_factory=lambda: np.empty((0, 0)))
    values: Array = field(default_factory=lambda: np.empty((0, 0)))
    #: Laws that the points were drawn from: levels of walks, and proposals with their sizes.
    levels: list[tuple[int, Level]] = field(default_factory=list)
    drawn: list[tuple[Proposal, int]] = field(default_factory=list)
    n_from_law: int = 0
    #: The first points, drawn from the law.
    first: tuple[Array, Array] | None = None

    def __post_init__(self) -> None:
        self.u = np.empty((0, self.g.dim))
        #: Whether a failure point is for the fit of components; the others are for the choice.
        self.fold = np.empty(0, bool)
        self.values = np.empty((0, max(e.column for e in self.events) + 1))
        #: The highest threshold of each column of g.
        self._thresholds = np.full(self.values.shape[1], -np.inf)
        for e in self.events:
            self._thresholds[e.column] = max(self._thresholds[e.column], e.threshold)
        #: Components that the next fits include whatever their weights.
        self._forced: list[Component] = []
        #: Failure in directions that are new to the walks: events and points.
        self._met: list[tuple[int, Array]] = []
        #: The sum of the densities of all laws at the failure points, and the number of these laws.
        self._density = np.empty(0)
        self._laws = (0, 0)
        #: By event, the largest difference of masses beyond a design point; see `compare_tails`.
        self.tail_errors: dict[int, float] = {}
        self._stream = Stream(subkey(self.key, 4))

    @property
    def columns(self) -> list[int]:
        """The columns of g that events are of."""
        return sorted({e.column for e in self.events})

    @property
    def budget(self) -> int:
        """The evaluations that are left before those of the final sample."""
        return int((1 - FINAL_SHARE) * self.n) - self.g.n_evals

    def walk(self, n_level: int, budget: int) -> None:
        """Walk down every column of g, and once more with larger levels if the budget allows it."""
        assert self.first is not None
        columns = self.columns
        for i, column in enumerate(columns):
            before = self.g.n_evals
            size = n_level if len(columns) == 1 else max(n_level // len(columns), 60)
            own = budget // len(columns)
            walked = self._walk(column, size, own, 2 * i + 1, self.first, i == 0)
            left = own - (self.g.n_evals - before)
            # The size of a second walk: its first level costs a full level, the others a share of
            # it.
            again = int(left / (1 + (1 - SHARE) * (len(walked.levels) - 1)))
            again = min(again, MOST_LEVEL, max(_MOST_NUMBERS // self.g.dim, 100))
            if walked.reached and again >= size // 2 and len(walked.levels) > 1:
                first = start_points(self.g, again, subkey(self.key, 1), 2 * i + 2)
                self.n_from_law += again
                self._walk(column, again, left - again, 2 * i + 2, first, True)

    def _walk(self, column: int, size: int, budget: int, index: int, first: Any, new: bool) -> Walk:
        """Walk down a column of g; `new` says that the first level is not that of another walk."""
        lowest = min(e.threshold for e in self.events if e.column == column)
        walked = Walk(column)
        self.walks.append(walked)
        for _ in steps(walked, self.g, lowest, size, budget, subkey(self.key, 1), index, first):
            level = walked.levels[-1]
            # Several columns share the first level.
            if len(walked.levels) > 1 or new:
                self.levels.append((column, level))
                # Points of a chain are correlated, so they belong to one group.
                self.store(level.u, level.values, np.arange(len(level.u)) % level.chains)
        return walked

    def second_opinion(self, j: int) -> tuple[float, float]:
        """Return the probability of an event and its coefficient of variation, by the walks."""
        e = self.events[j]
        found = [w.estimate(e.threshold) for w in self.walks if w.column == e.column]
        sizes = [len(w.levels[-1].u) for w in self.walks if w.column == e.column]
        total = sum(sizes)
        mean = sum(n * p for n, (p, _) in zip(sizes, found, strict=True)) / total
        if mean == 0:
            return 0.0, math.inf
        square = sum((n * p * cov) ** 2 for n, (p, cov) in zip(sizes, found, strict=True) if p > 0)
        return mean, math.sqrt(square) / (total * mean)

    def unseen(self, j: int) -> float:
        """Return a bound on the probability of regions that no level met, for an event."""
        e = self.events[j]
        parts = [w.unseen(e.threshold) for w in self.walks if w.column == e.column]
        together = 1 / sum(1 / p for p in parts)
        # A common event is looked for by all points that were drawn from the law.
        return min(together, 3 / max(self.n_from_law, 1))

    def compare_tails(self, budget: int) -> dict[int, tuple[float, float]]:
        """Return both masses beyond a design point, for each event for which they disagree.

        The first is from a sample of the normal tail there, the second from the walk. If few
        chains reached a region, the error from the walk is too small. `tail_errors` are the
        differences beyond the noise of the sample.
        """
        apart: dict[int, tuple[float, float]] = {}
        begin = self.g.n_evals
        for i, (j, found) in enumerate(self.designs[:_MOST_NEW]):
            if self.g.n_evals - begin + _TAIL > budget:
                break
            e = self.events[j]
            bound = found.distance - 0.1 / max(found.distance, 1.0)
            slab = Slab(found.direction[:, None], [Axis("tail", bound)])
            tail = Proposal(self.g.dim, 0.0, np.ones(1), (slab,))
            u = np.concatenate(list(tail.nets(_TAIL, subkey(self.key, 7), range(i, i + 1))))
            share = float(np.mean(self.g(u)[:, e.column] <= e.threshold))
            if share * _TAIL < 10:
                continue
            sampled = float(ndtr(-bound)) * share
            walk = next(w for w in reversed(self.walks) if w.column == e.column)
            walked, cov = walk.estimate(e.threshold, (found.direction, bound))
            if max(sampled, walked) < _MATTERS * self.second_opinion(j)[0]:
                continue
            noise = math.sqrt((1 - share) / (share * _TAIL))
            seen = abs(sampled - walked) - noise * sampled
            self.tail_errors[j] = max(self.tail_errors.get(j, 0.0), seen)
            spread = math.hypot(noise, max(cov, 0.05))
            # If the walk has no point there, its level bounds the mass that it missed.
            if walked == 0:
                wrong = sampled > walk.unseen(e.threshold) / _CHAIN_SHARE
            else:
                wrong = abs(math.log(sampled / walked)) > _TAILS_APART * spread
            if wrong:
                apart[j] = sampled, walked
        return apart

    def store(self, u: Array, values: Array, group: NDArray[np.int64] | None = None) -> None:
        """Store the points at which some event holds; those of one group stay together."""
        kept = (values[:, : len(self._thresholds)] <= self._thresholds).any(axis=1)
        group = np.arange(len(u)) if group is None else group
        self.fold = np.concatenate([self.fold, group[kept] % 2 == 0])
        self.u = np.concatenate([self.u, u[kept]])
        self.values = np.concatenate([self.values, values[kept][:, : len(self._thresholds)]])

    def failed(self, values: Array) -> Flags:
        """Return which events hold, shape (n, J)."""
        return np.stack([values[:, e.column] <= e.threshold for e in self.events], axis=1)

    def measure(self) -> Array:
        """Return the probability that each failure point stands for, by balance weights."""
        old = len(self._density)
        known_levels, known_drawn = self._laws
        # Only the missing terms are added: new laws at old points, and all laws at new points.
        density = np.concatenate([self._density, np.zeros(len(self.u) - old)])
        for rows, levels, drawn in (
            (slice(0, old), self.levels[known_levels:], self.drawn[known_drawn:]),
            (slice(old, None), self.levels, self.drawn),
        ):
            for column, level in levels:
                share = 1.0 if level.threshold == math.inf else _CHAIN_SHARE
                inside = self.values[rows, column] <= level.threshold
                density[rows] += share * len(level.u) / level.probability * inside
            for proposal, n in drawn:
                log_ratio = np.minimum(proposal.log_ratio(self.u[rows]), 700.0)
                density[rows] += n * np.exp(log_ratio)
        self._density, self._laws = density, (len(self.levels), len(self.drawn))
        with np.errstate(divide="ignore"):
            measure: Array = np.where(density > 0, 1 / density, 0.0)
        return measure

    def chosen(self) -> list[int]:
        """Return a few events that components are fitted to: of each column, spread evenly."""
        most = 8
        if len(self.events) <= most:
            return list(range(len(self.events)))
        return sorted({round(x) for x in np.linspace(0, len(self.events) - 1, most)})

    def find_regions(self, budget: int) -> None:
        """Find the regions of failure of the chosen events."""
        self.regions = []
        chosen = self.chosen()
        measure = self.measure()
        for j in chosen:
            e = self.events[j]
            holds = self.values[:, e.column] <= e.threshold
            if not holds.any():
                continue
            for point in design.regions_of(
                self.g,
                e.column,
                e.threshold,
                self.u[holds],
                measure[holds],
                max(budget // len(chosen), 0),
            ):
                self.regions.append(Region(j, point))

    def find_designs(self, budget: int, n_iterations: int = 5) -> None:
        """Search for design points, from the origin and from the point of each region."""
        starts: list[tuple[int, Array]] = []
        for j in self.chosen():
            starts.append((j, np.zeros(self.g.dim)))
            starts += [(r.event, r.point) for r in self.regions if r.event == j]
        begin = self.g.n_evals
        for j, start in starts:
            left = budget - (self.g.n_evals - begin)
            e = self.events[j]
            found = design.search(
                self.g,
                e.column,
                e.threshold,
                start,
                self._gradient_of(e.column),
                n_iterations,
                left,
            )
            if found is not None and _NEAREST < found.distance < _FARTHEST:
                self.designs.append((j, found))
                if not start.any():
                    self._check_new_region(j, found)

    def probe(self, n: int, budget: int) -> None:
        """Look for regions that the walks lost, on a sphere with almost no mass outside."""
        events = self.chosen()
        opinions = (self.second_opinion(j)[0] for j in events) if self.walks else ()
        least = min(opinions, default=_USUAL_LEAST)
        dim = self.g.dim
        square = 2 * float(gammainccinv(dim / 2, max(least, 1e-12) / 100))
        z = np.asarray(ndtri(sobol(n, dim, subkey(self.key, 5))))
        z *= math.sqrt(square) / np.sqrt((z * z).sum(axis=1, keepdims=True))
        values = self.g(z)
        begin = self.g.n_evals
        for j in events:
            e = self.events[j]
            known = self.u[self.values[:, e.column] <= e.threshold]
            known = known / np.maximum(np.sqrt((known * known).sum(axis=1, keepdims=True)), 1e-300)
            met = z[values[:, e.column] <= e.threshold] / math.sqrt(square)
            # Compare by cosines with known failure points.
            if len(known) and len(met):
                met = met[(met @ known[:2000].T).max(axis=1) < _KNOWN]
            for _ in range(_MOST_NEW):
                if not len(met) or self.g.n_evals - begin > budget:
                    break
                direction = met[0]
                left = budget - (self.g.n_evals - begin)
                followed = direction
                if self._follow(j, direction * math.sqrt(square), left):
                    followed = self.designs[-1][1].direction
                    self._met.append((j, self.designs[-1][1].point))
                else:
                    point = self._pulled_back(j, direction, math.sqrt(square))
                    self._force(point)
                    self._met.append((j, point))
                # Neighbours of the probe, and of the point that it led to, are in the same region.
                met = met[(met @ direction < _KNOWN) & (met @ followed < _KNOWN)]

    def _follow(self, j: int, start: Array, budget: int) -> bool:
        """Search for a design point from a probe; return whether it fails and is near the probe."""
        e = self.events[j]
        found = design.search(
            self.g, e.column, e.threshold, start, self._gradient_of(e.column), 4, budget
        )
        if found is None or not _NEAREST < found.distance < _FARTHEST:
            return False
        if not self._fails_beyond(j, found):
            return False
        self.designs.append((j, found))
        self._force(found.point)
        return True

    def _pulled_back(self, j: int, direction: Array, radius: float) -> Array:
        """Return the point of a ray at which failure begins, by bisection in two calls."""
        e = self.events[j]
        low, high = 0.0, radius
        for _ in range(2):
            at = np.linspace(low, high, 10)[1:-1]
            holds = self.g(at[:, None] * direction)[:, e.column] <= e.threshold
            # Outwards from the last point that does not fail.
            last = int(np.flatnonzero(~holds)[-1]) if not holds.all() else -1
            edges = [low, *at.tolist(), high]
            low, high = edges[last + 1], edges[last + 2]
        return high * direction

    def _gradient_of(self, column: int) -> Callable[[Array], Array] | None:
        of_column = self.gradient
        return None if of_column is None else lambda u: of_column(u, column)

    def _fails_beyond(self, j: int, found: design.Design) -> bool:
        """Return whether an event holds a little beyond a design point; it costs an evaluation."""
        e = self.events[j]
        beyond = found.point * (1 + _BEYOND / max(found.distance, 1.0))
        return float(self.g(beyond[None])[0, e.column]) <= e.threshold

    def _is_new(self, j: int, direction: Array) -> bool:
        """Return whether no failure point of an event lies in about this direction."""
        e = self.events[j]
        u = self.u[self.values[:, e.column] <= e.threshold]
        norms = np.maximum(np.sqrt((u * u).sum(axis=1)), 1e-300)
        return not len(u) or float(((u @ direction) / norms).max()) < _KNOWN

    def _check_new_region(self, j: int, found: design.Design) -> None:
        """Give a design point a component if the walk knows no failure in its direction."""
        if self._fails_beyond(j, found) and self._is_new(j, found.direction):
            self._force(found.point)
            self._met.append((j, found.point))

    def look_opposite(self, budget: int) -> None:
        """Search design points from the mirror images of known ones."""
        begin = self.g.n_evals
        for j, found in self.designs[:_MOST_OPPOSITE]:
            left = budget - (self.g.n_evals - begin)
            if not self._follow(j, -found.point, left):
                continue
            new = self.designs[-1][1]
            if self._is_new(j, new.direction):
                self._met.append((j, new.point))

    def known_points(self) -> list[tuple[int, Array]]:
        """Return events and failure points, at least one of each region, nearest first."""
        found = [(r.event, r.point) for r in self.regions] + self._met
        return sorted(found, key=lambda pair: float(np.linalg.norm(pair[1])))

    def lost_regions(self, budget: int) -> dict[int, float]:
        """Return the smallest distance of a lost region, for each event with such a region.

        A failure point in a new direction is in a known region if an arc of failure joins them.
        """
        lost: dict[int, float] = {}
        begin = self.g.n_evals
        for j, point in self._met:
            e = self.events[j]
            known = self.u[self.values[:, e.column] <= e.threshold]
            length = float(np.linalg.norm(point))
            if len(known) and length > 0:
                norms = np.maximum(np.sqrt((known * known).sum(axis=1)), 1e-300)
                nearest = known[int(np.argmax(known @ point / norms))]
                if self.g.n_evals - begin > budget or design.is_joined(
                    self.g, e.column, e.threshold, point, nearest
                ):
                    continue
            lost[j] = min(lost.get(j, math.inf), length)
        return lost

    def _force(self, point: Array) -> None:
        """Give a point its own components in the next fits."""
        length = max(float(np.linalg.norm(point)), 1e-3)
        direction = (point / length)[:, None]
        self._forced.append(Slab(direction, [Axis("tail", length - 0.5 / max(length, 1.0))]))
        self._forced.append(Slab(direction, [Axis("normal", length, 0.5)]))
        del self._forced[:-24]

    def fit(self) -> None:
        """Fit the proposal to all failure points."""
        measure = self.measure()
        failed = self.failed(self.values)
        components: list[Component] = []
        for j, d in self.designs:
            if not failed[:, j].any():
                components.append(Slab(d.direction[:, None], [Axis("normal", d.distance)]))
        if not len(self.u):
            self.proposal = self._without_points(components)
            return
        judges = ~self.fold
        enough = failed[judges].sum(axis=0) >= _ENOUGH
        if not enough.all():
            judges = np.ones(len(self.fold), bool)
        share = len(judges) / judges.sum()
        heavy: dict[int, list[Component]] = {}
        self.proposal = self.proposal or Proposal(self.g.dim)
        for sizes in fitting.SIZES:
            for j in self.chosen():
                some, spread = self._candidates(j, failed[:, j], measure, sizes)
                components += some
                heavy[j] = spread or heavy.get(j, [])
            fitted, second = fitting.best_proposal(
                self.g.dim,
                self.u[judges],
                measure[judges] * share,
                failed[judges],
                components,
                [c for of_event in heavy.values() for c in of_event],
                self._forced,
            )
            # A fit that failed leaves the proposal before it, or the law.
            if finite(fitted):
                self.proposal, self.forecast = fitted, fitting.forecast(second)
            if self.forecast <= _GOOD:
                break

    def _candidates(
        self, j: int, holds: Flags, measure: Array, sizes: Sequence[int]
    ) -> tuple[list[Component], list[Component]]:
        """Return components of mixtures of these sizes for an event, and heavy-tailed ones."""
        # Components look too good at the points to which they were fitted. One half of the points
        # is for the fit, the other half for the choice.
        if min((holds & self.fold).sum(), (holds & ~self.fold).sum()) >= _ENOUGH:
            holds = holds & self.fold
        if not holds.any():
            return [], []
        near = [(d.direction, d.distance) for k, d in self.designs if k == j and sizes[0] == 1]
        return fitting.candidates(self.u[holds], measure[holds], near, self._stream, sizes)

    def _without_points(self, components: Sequence[Component]) -> Proposal:
        parts = [*components, *self._forced]
        if not parts:
            return Proposal(self.g.dim)
        shares = np.full(len(parts), (1 - fitting.BASE) / len(parts))
        return Proposal(self.g.dim, fitting.BASE, shares, tuple(parts))

    def heavy_points(self) -> list[Array]:
        """Return at most one failure point for each event that the proposal hardly covers."""
        assert self.proposal is not None
        found = []
        if not len(self.u):
            return []
        measure = self.measure()
        log_ratio = self.proposal.log_ratio(self.u)
        failed = self.failed(self.values)
        for j in range(len(self.events)):
            holds = failed[:, j] & (measure > 0)
            if holds.sum() < 20:
                continue
            mass, log = measure[holds], log_ratio[holds]
            # The mean weight of failure points under the proposal: P / q(F).
            mean = math.log(mass.sum()) - _log_sum(np.log(mass) + log)
            worst = int(np.argmin(log))
            if -log[worst] > math.log(_HEAVY_IN_TRAINING) + mean:
                found.append(self.u[holds][worst])
        return found

    def refine(self, n_stage: int) -> None:
        """Draw stages from the proposal and fit it again, until nothing heavy is found."""
        for stage in range(_MOST_STAGES):
            if n_stage > self.budget:
                break
            assert self.proposal is not None
            before = self.forecast
            n = min(n_stage, MOST_STAGE, max(_MOST_NUMBERS // self.g.dim, 100))
            replicate = len(self.drawn)
            u = np.concatenate(
                list(self.proposal.nets(n, subkey(self.key, 2), range(replicate, replicate + 1)))
            )
            values = self.g(u)
            self.n_from_law += round(self.proposal.base * n)
            self.drawn.append((self.proposal, n))
            self.store(u, values)
            hits = self.failed(values).mean(axis=0)
            self._forced = [] if stage else self._forced
            self.fit()
            heavy = self.heavy_points()
            self.stages.append({"n_evals": n, "hits": hits, "forecast": self.forecast})
            # In many dimensions the direction of a single point is mostly noise.
            for point in heavy[:3] if self.g.dim <= _MOST_FORCED else ():
                self._force(point)
            if heavy:
                self.fit()
            good = self.forecast <= _GOOD or (not heavy and self.forecast > 0.8 * before)
            if stage and good:
                break


def _log_sum(x: Array) -> float:
    top = float(x.max())
    return top + math.log(float(np.exp(x - top).sum()))
