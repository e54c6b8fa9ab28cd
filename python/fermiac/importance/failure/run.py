"""The runs of `failure_probability`: the budgets and steps of its methods."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fermiac.distributions.law import subkey
from fermiac.errors import ArgumentError
from fermiac.importance.failure import fit as fitting
from fermiac.importance.failure.final import (
    LEVEL,
    MOST_LOOKS,
    Final,
    controlled,
    events_of,
    half_width,
    plan,
    relative,
)
from fermiac.importance.failure.line import MOST_STEPS, PRECISE, Lines
from fermiac.importance.failure.proposal import Axis, Proposal, Slab
from fermiac.importance.failure.space import LimitState, batch_of
from fermiac.importance.failure.training import (
    HEAVY_WEIGHT,
    MOST_LEVEL,
    Region,
    Training,
)
from fermiac.importance.failure.walk import Walk, start_points, steps
from fermiac.random import Stream

__all__ = ["FIXED", "METHODS", "Outcome", "Run"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

METHODS = ("auto", "subset", "line", "form", "mc")
#: Methods with a sample of fixed size, and without a training for which a surrogate could be used.
FIXED = ("mc", "subset", "line")
#: Shares of the budget: a level of the walk, a stage of the training, probes of far regions, all of
#: the walk, and the search of design points.
_LEVEL, _STAGE, _PROBES = 1 / 40, 0.08, 1 / 100
_WALK, _DESIGNS = 0.3, 1 / 20
#: The share of n for the search of lost regions, for a walk alone or a given proposal.
_CHECK = 1 / 20
#: The surrogate's evaluations for its mean, for each point of the final sample.
_SURROGATE = 8
#: The number of failure points that represent the regions of a given proposal.
_KNOWN_POINTS = 4096
#: A usual budget, for the training.
_USUAL = 20_000


@dataclass
class Outcome:
    """The numbers of a run, of shape (J,) for those that belong to the events."""

    mean: Array
    stderr: Array
    cov: Array
    df: Array
    ess: Array
    khat: Array
    unseen: Array
    n_from_law: int
    n_replicates: int | None = None
    looks: int = 1
    #: Whether a tolerance was met; None where there is none.
    met: bool | None = None
    #: Largest weight of a failure point over the mean one, and its share of the estimate.
    heaviest: Array | None = None
    largest_share: Array | None = None
    variance_share: Array | None = None
    n_final: int = 0
    second: tuple[Array, Array] | None = None
    slopes: tuple[Array, Array] | None = None
    gain: Array | None = None
    #: The distance of a region that was lost; infinite if none was found.
    lost: Array | None = None
    #: The share of an estimate from the random checks of lines.
    surprises: Array | None = None
    #: The masses beyond a design point from a sample of the tail and from the walk, if they differ.
    apart: dict[int, tuple[float, float]] = field(default_factory=dict)
    #: Whether the run ended at once: all points failed, or g is constant.
    certain: bool = False


@dataclass
class Run:
    """One run: the state from which results, also partial ones, are made."""

    g: LimitState
    thresholds: Array
    method: str
    n: int
    key: int
    rtol: float | None = None
    gradient: Callable[[Array, int], Array] | None = None
    surrogate: LimitState | None = None
    scores: Callable[[Array], Array] | None = None
    n_threads: int = 1
    #: A proposal of an earlier run.
    given: Proposal | None = None
    training: Training = field(init=False)
    #: The final sample from the proposal.
    final: Final | None = None
    lines: Lines | None = None
    #: The probabilities by the surrogate under the proposal, and their errors.
    control: tuple[Array, Array] | None = None
    #: Whether the walk over the levels is complete.
    walked: bool = False
    #: The numbers of failures of independent points, and the number of these points.
    counts: tuple[Array, int] | None = None
    #: The outcome of a run that ended at once.
    certain: Outcome | None = None
    #: Whether a tolerance was met; None where there is none.
    met: bool | None = None

    def run(self) -> Outcome:
        """Run the method."""
        trained = self.surrogate if self.surrogate is not None else self.g
        # A surrogate is cheap, so the training uses at least the usual budget.
        n = self.n if self.surrogate is None else max(self.n, _USUAL)
        # With a tolerance n is only an upper limit, so the training budget is limited.
        n = n if self.rtol is None else min(n, 2 * _USUAL)
        size = min(max(int(n * _LEVEL), 100), MOST_LEVEL, max(2**23 // self.g.dim, 100))
        if self.method == "mc":
            return self._plain()
        if self.given is not None:
            return self._reuse()
        if self.surrogate is not None:
            self.g.on_first(self._check_surrogate)
        first = start_points(trained, size, subkey(self.key, 1), 0)
        if self.method == "line" and trained.n_columns > 1:
            raise ArgumentError(
                f"method={self.method!r}: g gives {trained.n_columns} numbers for a point, and "
                "this method follows one; use method='auto', or a call for each"
            )
        self.training = Training(
            trained, events_of(trained.n_columns, self.thresholds), n, self.key, self.gradient
        )
        self.training.first = first
        self.training.n_from_law += size
        if self.surrogate is None:
            self.certain = self._certain(first[1])
            if self.certain is not None:
                return self.certain
        if self.method == "subset":
            return self._subset(size)
        if self.method == "line":
            return self._line(size)
        if self.method == "form":
            self._form()
        else:
            self._walk(size)
        return self._final()

    def _check_surrogate(self, columns: int) -> None:
        assert self.surrogate is not None
        if columns != self.surrogate.n_columns:
            raise ArgumentError(
                f"surrogate: it gives {self.surrogate.n_columns} numbers for a point where g gives "
                f"{columns}; as many are needed"
            )

    def _reuse(self) -> Outcome:
        """Sample from a given proposal, and search for regions that it misses."""
        # One evaluation at the origin gives the number of columns.
        columns = self.g(np.zeros((1, self.g.dim))).shape[1]
        t = Training(self.g, events_of(columns, self.thresholds), self.n, self.key, self.gradient)
        t.proposal = self.given
        self.training = t
        check = int(self.n * _CHECK)
        outcome = self._final(check)
        assert self.final is not None
        for u, values in self.final.points:
            t.store(u, values)
        # The evaluations of the final sample must not count for the search of design points.
        t.n = self.g.n_evals + 2 * check
        lost = np.full(len(t.events), np.inf)
        for j, distance in self._search(check).items():
            lost[j] = distance
        return replace(outcome, lost=lost)

    def _certain(self, values: Array) -> Outcome | None:
        """Return the outcome if all first points fail or g is constant at them, or else None."""
        failed = self.training.failed(values)
        constant = (values == values[0]).all()
        if not (failed.all() or constant):
            return None
        mean = failed[0].astype(float)
        n = len(values)
        bound = np.full(mean.size, 3 / n)
        return Outcome(
            mean=mean,
            stderr=bound,
            cov=np.diag(bound**2),
            df=np.full(mean.size, n - 1.0),
            ess=np.where(mean > 0, float(n), 0.0),
            khat=np.full(mean.size, np.nan),
            unseen=bound,
            n_from_law=n,
            n_final=n,
            certain=True,
        )

    def _walk(self, size: int) -> None:
        """Train a proposal on a walk to failure, searches of regions, probes and refinements."""
        t = self.training
        t.walk(size, int(t.n * _WALK))
        self.walked = True
        arcs = t.n // 50
        t.find_regions(arcs)
        t.find_designs(min(int(t.n * _DESIGNS), t.budget))
        probes = 2 ** int(math.log2(max(t.n * _PROBES, 2)))
        if probes < t.budget:
            t.probe(probes, min(t.n // 40, t.budget - probes))
        t.fit()
        t.refine(int(t.n * _STAGE))
        t.find_regions(min(arcs, max(t.budget, 0)))

    def _form(self) -> None:
        """Make a proposal of the half-spaces beyond the design points alone."""
        t = self.training
        t.find_designs(min(t.n // 4, t.budget), n_iterations=30)
        parts = tuple(
            Slab(d.direction[:, None], [Axis("normal", d.distance)]) for _, d in t.designs
        )
        if parts:
            shares = np.full(len(parts), (1 - fitting.BASE) / len(parts))
            t.proposal = Proposal(t.g.dim, fitting.BASE, shares, parts)
        else:
            t.proposal = Proposal(t.g.dim)
        assert t.first is not None
        t.drawn.append((Proposal(t.g.dim), len(t.first[0])))
        t.store(*t.first)
        for j, d in t.designs:
            t.regions.append(Region(j, d.point))

    def _subset(self, size: int) -> Outcome:
        """Run subset simulation twice: to count the levels, and with levels that use the budget."""
        t = self.training
        columns = t.columns
        check = int(self.n * _CHECK)
        share = (self.n - check) // len(columns)
        for i, column in enumerate(columns):
            begin = self.g.n_evals if i else 0
            lowest = min(e.threshold for e in t.events if e.column == column)
            pilot = Walk(column)
            small = max(size // len(columns), 60)
            address = (subkey(self.key, 1), 2 * i + 1)
            for _ in steps(pilot, t.g, lowest, small, share // 4, *address, t.first):
                pass
            left = share - (self.g.n_evals - begin)
            n_level = int(left / (1 + 0.9 * len(pilot.levels)))
            n_level = min(max(n_level, 60), max(2**23 // t.g.dim, 100))
            main = Walk(column)
            t.walks.append(main)
            address = (subkey(self.key, 1), 2 * i + 2)
            t.n_from_law += n_level
            for _ in steps(main, t.g, lowest, n_level, left, *address):
                t.levels.append((column, main.levels[-1]))
                t.store(main.levels[-1].u, main.levels[-1].values, None)
        self.walked = True
        lost, apart = self._second_look(check)
        outcome = self._of_walks()
        # The error is as large as what the second look has seen of it, at least.
        seen = np.zeros(len(t.events))
        for j, error in t.tail_errors.items():
            seen[j] = error
        stderr = np.where(outcome.mean > 0, np.maximum(outcome.stderr, seen), outcome.stderr)
        return replace(
            outcome,
            stderr=stderr,
            cov=np.diag(stderr**2),
            second=(outcome.mean, stderr),
            lost=lost,
            apart=apart,
        )

    def _line(self, size: int) -> Outcome:
        """Sample lines in the direction of the nearest design point."""
        t = self.training
        t.walk(size, int(t.n * _WALK))
        self.walked = True
        if not len(t.u):
            return self._of_walks()
        t.find_regions(min(t.n // 50, t.budget))
        t.find_designs(min(int(t.n * _DESIGNS), t.budget))
        probes = 2 ** int(math.log2(max(t.n * _PROBES, 2)))
        if probes < t.budget:
            t.probe(probes, min(t.n // 40, t.budget - probes))
        points = [d.point for _, d in t.designs] + [r.point for r in t.regions]
        # Only points at or near failure: a search may have ended elsewhere.
        values = self.g(np.stack(points) * (1 + 1e-3))[:, t.events[0].column]
        highest = max(e.threshold for e in t.events)
        near = [p for p, v in zip(points, values, strict=True) if v <= highest and p.any()]
        point = min(near or [t.u[0]], key=lambda p: float(np.linalg.norm(p)))
        distance = max(float(np.linalg.norm(point)), 1e-3)
        self.lines = Lines(self.g, t.events, point / distance, distance, subkey(self.key, 3))
        reserved = 8 * MOST_STEPS * len(t.events)
        self.lines.run(self.n - self.g.n_evals - reserved)
        lost = np.full(len(t.events), np.inf)
        for j, e in enumerate(t.events):
            own = [p for k, p in t.known_points() if k == j][:7]
            if own:
                missed = self.lines.missed(np.stack(own), e)
                lengths = np.linalg.norm(np.stack(own), axis=1)
                lost[j] = lengths[missed].min(initial=np.inf)
        return replace(self._of_lines(), lost=lost)

    def _of_lines(self) -> Outcome:
        t, lines = self.training, self.lines
        assert lines is not None
        means = lines.replicates()
        r, events = len(means), len(t.events)
        mean, stderr, _ = half_width(means, LEVEL)
        none = mean <= 0
        mean = np.where(none, 0.0, mean)
        stderr = np.where(none, 3 / max(t.n_from_law, 1), np.maximum(stderr, PRECISE * mean))
        scaled, scale = relative(means)
        cov = np.atleast_2d(np.cov(scaled.T, ddof=1)) / r * np.outer(scale, scale)
        cov[np.diag_indices(events)] = stderr**2
        n = lines.done * r
        total = np.maximum(lines.sums.sum(axis=0), 1e-300)
        unseen = np.array([t.unseen(j) for j in range(events)])
        walked = self._of_walks()
        return Outcome(
            mean,
            stderr,
            cov,
            np.full(events, r - 1.0),
            np.where(none, 0.0, total**2 / np.maximum(lines.squares, 1e-300)),
            lines.khat(),
            unseen,
            t.n_from_law,
            r,
            largest_share=np.where(none, 0.0, lines.largest / total),
            variance_share=lines.largest**2 / np.maximum(lines.squares, 1e-300),
            n_final=n,
            second=(walked.mean, walked.stderr),
            surprises=lines.surprises / total,
        )

    def _second_look(self, budget: int) -> tuple[Array, dict[int, tuple[float, float]]]:
        """Search for regions that the walks lost, or reached with few chains."""
        t = self.training
        lost = np.full(len(t.events), np.inf)
        end = self.g.n_evals + min(budget, self.n - self.g.n_evals)
        for j, distance in self._search(end - self.g.n_evals).items():
            lost[j] = distance
        return lost, t.compare_tails(end - self.g.n_evals)

    def _search(self, budget: int) -> dict[int, float]:
        """Return the distances of regions in directions without known failure points."""
        t = self.training
        end = self.g.n_evals + budget
        t.find_designs(budget // 4)
        t.look_opposite(budget // 8)
        probes = 2 ** int(math.log2(max(budget / 4, 2)))
        left = end - self.g.n_evals - probes
        if left > 0:
            t.probe(probes, left // 3)
        return t.lost_regions((end - self.g.n_evals) // 4)

    def _of_walks(self) -> Outcome:
        t = self.training
        found = np.array([t.second_opinion(j) for j in range(len(t.events))])
        mean, cov = found[:, 0], found[:, 1]
        none = mean == 0
        bound = 3 / max(t.n_from_law, 1)
        stderr = np.where(none, bound, mean * np.where(none, 1.0, cov))
        unseen = np.array([t.unseen(j) for j in range(len(t.events))])
        with np.errstate(divide="ignore"):
            ess = np.where(none, 0.0, 1 / cov**2)
        return Outcome(
            mean,
            stderr,
            np.diag(stderr**2),
            np.full(mean.size, np.inf),
            ess,
            np.full(mean.size, np.nan),
            np.where(none, bound, unseen),
            t.n_from_law,
            n_final=sum(len(level.u) for w in t.walks for level in w.levels[-1:]),
            second=(mean, stderr),
        )

    def _plain(self) -> Outcome:
        """Count failures of independent points of the law."""
        total = np.zeros(0)
        done = 0
        most = batch_of(max(self.g.dim, self.thresholds.size))
        for index in range(-(-self.n // most)):
            n = min(most, self.n - done)
            u = np.asarray(Stream(subkey(self.key, 3), index).normal((n, self.g.dim)))
            values = self.g(u)
            failed = (values[:, :, None] <= self.thresholds).reshape(n, -1)
            if not total.size:
                j = failed.shape[1]
                total, self._products = np.zeros(j), np.zeros((j, j))
                self._score_sums: tuple[Array, Array] | None = None
            total = total + failed.sum(axis=0)
            self._products += failed.T.astype(float) @ failed
            if self.scores is not None:
                # Sums of the scores over failures, and their squares.
                rows = failed.any(axis=1)
                scores = self.scores(self.g.space(u))
                scores[~rows] = 0.0
                parts = failed.T @ scores, failed.T @ scores**2
                old = self._score_sums
                self._score_sums = parts if old is None else (old[0] + parts[0], old[1] + parts[1])
            done += n
            self.counts = (total, done)
        return self._of_counts()

    def _of_counts(self) -> Outcome:
        assert self.counts is not None
        total, n = self.counts
        mean = total / n
        cov = (self._products / n - np.outer(mean, mean)) / max(n - 1, 1)
        stderr = np.sqrt(np.maximum(np.diag(cov), 0.0))
        certain = (mean == 0) | (mean == 1)
        stderr = np.where(certain, 3 / n, stderr)
        cov[np.diag_indices_from(cov)] = stderr**2
        slopes = None
        if self.scores is not None and self._score_sums is not None:
            first, second = (s / n for s in self._score_sums)
            slopes = first, np.sqrt(np.maximum(second - first**2, 0.0) / max(n - 1, 1))
        return Outcome(
            mean,
            stderr,
            cov,
            np.full(mean.size, float(max(n - 1, 1))),
            total.astype(float),
            np.full(mean.size, np.nan),
            np.full(mean.size, 3 / n),
            n,
            n_final=n,
            slopes=slopes,
        )

    def _final(self, reserved: int = 0) -> Outcome:
        t = self.training
        assert t.proposal is not None
        t.proposal = replace(t.proposal, n_threads=self.n_threads)
        left = self.n - self.g.n_evals - reserved
        self.final = Final(
            self.g,
            t.events,
            t.proposal,
            plan(left, self.rtol is not None),
            subkey(self.key, 3),
            self.scores,
            self.surrogate,
            _KNOWN_POINTS if self.given is not None else 0,
        )
        if self.surrogate is not None:
            self.control = self._surrogate_mean(left)
        if self.rtol is None:
            self.final.run()
        else:
            self.met = self.final.run(self._enough)
        return self._of_final()

    def _surrogate_mean(self, left: int) -> tuple[Array, Array]:
        """Return the probabilities by the surrogate under the proposal, and their errors."""
        t = self.training
        assert self.surrogate is not None
        assert t.proposal is not None
        more = plan(min(_SURROGATE * left, 2**62), False)
        own = Final(self.surrogate, t.events, t.proposal, more, subkey(self.key, 6))
        own.run()
        mean, stderr, _ = half_width(own.replicates(), LEVEL)
        return mean, stderr

    def _enough(self, final: Final) -> bool:
        assert self.rtol is not None
        means, error, _ = self._replicates(final)
        center = means.mean(axis=0)
        _, stderr, factor = half_width(means, LEVEL / MOST_LOOKS)
        met = center > 0
        met &= factor * np.hypot(stderr, error) <= self.rtol * center
        # With few failures the error estimate is unreliable.
        return bool((met & (final.hits >= 20)).all())

    def _replicates(self, final: Final) -> tuple[Array, Array, Array | None]:
        """Return the replicates, the error that they share, and the coefficients of a control."""
        means = final.replicates()
        none = np.zeros(means.shape[1])
        if self.control is None or len(means) < final.plan.n_replicates:
            return means, none, None
        values, beta = controlled(final, self.control[0], none)
        shared = np.abs(beta.mean(axis=0)) * self.control[1]
        # A useless surrogate is not used. A threshold nearer to 1 would make the error too small.
        own, plain = half_width(values, LEVEL)[1], half_width(means, LEVEL)[1]
        useless = np.hypot(own, shared) > math.sqrt(2) * plain
        values, shared = np.where(useless, means, values), np.where(useless, 0.0, shared)
        return values, shared, beta

    def _of_final(self) -> Outcome:
        t, final = self.training, self.final
        assert final is not None
        assert t.proposal is not None
        means, shared, beta = self._replicates(final)
        r, events = len(means), len(t.events)
        mean, stderr, _ = half_width(means, LEVEL)
        stderr = np.hypot(stderr, shared)
        scaled, scale = relative(means)
        cov = np.atleast_2d(np.cov(scaled.T, ddof=1)) / r * np.outer(scale, scale)
        n = int(final.done.sum())
        n_from_law = t.n_from_law + round(t.proposal.base * n)
        gain = None
        if beta is not None:
            plain = half_width(final.replicates(), LEVEL)[1]
            with np.errstate(divide="ignore", invalid="ignore"):
                gain = np.where(stderr > 0, (plain / stderr) ** 2, 1.0)
        nothing = final.hits == 0
        mean = np.where(nothing, 0.0, mean)
        # Without any failure the error is the rule of three for the points from the law.
        stderr = np.where(nothing, 3 / n_from_law, stderr)
        # Replicates that agree in all bits still have a rounding error.
        stderr = np.maximum(stderr, np.where(nothing, 0.0, 4e-16 * np.abs(mean)))
        cov[np.diag_indices(events)] = stderr**2
        total = final.sums.sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            ess = np.where(nothing, 0.0, (total / final.largest) ** 2 / final.squares)
            heaviest = np.where(nothing, 0.0, final.largest * final.hits / total)
            share = np.where(nothing, 0.0, final.largest / total)
            variance = np.where(nothing, 0.0, 1 / final.squares)
        unseen = np.full(events, 3 / n_from_law)
        second = None
        if self.walked and self.surrogate is None:
            second = self._of_walks().mean, self._of_walks().stderr
            walked = np.array([t.unseen(j) for j in range(events)])
            unseen = np.where(nothing, unseen, np.minimum(unseen, walked))
        slopes = None
        if final.slopes is not None:
            whole = final.done == final.done.max()
            each = final.slopes[whole] / final.done[whole, None, None]
            slopes = each.mean(axis=0), each.std(axis=0, ddof=1) / math.sqrt(r)
        return Outcome(
            mean,
            stderr,
            cov,
            np.full(events, r - 1.0),
            ess,
            final.khat(),
            unseen,
            n_from_law,
            r,
            final.looks if self.rtol is None else len(final.plan.powers),
            self.met,
            heaviest,
            share,
            variance,
            n,
            second,
            slopes,
            gain,
        )

    def partial(self) -> Outcome | None:
        """Return the result so far of an interrupted run, or None."""
        if self.counts is not None:
            return self._of_counts()
        if self.lines is not None and self.lines.done:
            return self._of_lines()
        if self.final is not None and len(self.final.replicates()) >= 4:
            return self._of_final()
        if self.walked and self.surrogate is None:
            outcome = self._of_walks()
            if (outcome.mean > 0).any():
                return outcome
        return None


def is_heavy(outcome: Outcome) -> Flags:
    """Return the events of which a failure point has more than 50 times the mean weight."""
    if outcome.heaviest is None:
        return np.zeros(outcome.mean.size, bool)
    heavy: Flags = outcome.heaviest > HEAVY_WEIGHT
    return heavy
