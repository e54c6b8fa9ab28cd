"""Jobs of multilevel Monte Carlo: paths are drawn where they lower the error most."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.progress import Report
from fermiac.errors import ArgumentError, ConvergenceWarning, TargetError
from fermiac.importance.fidelity_results import Multilevel
from fermiac.importance.level_batches import NUMBERS, REPLICATES, LevelSums
from fermiac.importance.moments import Moments
from fermiac.random import Stream
from fermiac.results.result import Finding
from fermiac.results.unseen import equal_finding

__all__ = ["MultilevelJob"]

Array = NDArray[np.float64]

#: Paths of a batch, which has its own stream, and batches requested at a time.
_BATCH, _BATCHES = 4096, 64
#: Points of a replicate of Sobol' points in a batch. Above the level of the second number batches
#: are smaller, because paths take more coordinates.
_NET, _LONG = 128, 9
#: The share of the squared error that the bias may have.
_THETA = 0.5
#: Levels of the first round, and of the pilot of the randomised form.
_FIRST = 3
#: The largest rate; differences of 0 fall at any.
_FASTEST = 100.0
#: The kurtosis above which variances are in doubt, and the errors by which means may disagree.
_KURTOSIS, _DISAGREE = 100.0, 5.0


class MultilevelJob:
    """The state of one call."""

    def __init__(
        self,
        batches: Callable[[Array], Any],
        settings: dict[str, Any],
        key: int,
        names: tuple[str, ...] | None,
        report: Report | None,
        start: float,
    ) -> None:
        self._evaluate = batches
        self._settings = settings
        self._key = key
        self._names = names
        self._report = report
        self._start = start
        self._levels: list[LevelSums] = []
        self._scalar = True
        self._atol: Array = np.array(settings["atol"])
        self._costs: list[float] = settings["costs"]
        self._alpha, self._beta = settings["alpha"] or 1.0, settings["beta"] or 1.0
        self._raw_alpha = math.inf
        self._converged: bool | None = False
        self._chances: Array | None = None
        self.findings: list[Finding] = []

    @property
    def paths(self) -> int:
        """The paths that were drawn."""
        return sum(one.n for one in self._levels)

    def _draw(self, wanted: Sequence[float]) -> None:
        """Draw paths of the levels until each has the required number."""
        if not all(math.isfinite(n) and n < 2**62 for n in wanted):
            raise ArgumentError(
                f"atol: {self._settings['atol']} given; more than 2**62 paths would be "
                "needed; raise it"
            )
        total = max(self.paths, sum(int(n) for n in wanted))
        for at, n in enumerate(wanted):
            while at < len(self._levels) or at == 0:
                have = self._levels[at].n if at < len(self._levels) else 0
                rows = list(self._rows(at, int(n) - have))
                if not rows:
                    break
                self._take(at, rows)
                if self._report is not None:
                    self._report(min(self.paths, total), total)

    def _rows(self, at: int, missing: int) -> Iterator[tuple[int, int, int]]:
        """Yield some rows of batches that are missing at a level."""
        first = self._levels[at].batches if at < len(self._levels) else 0
        for k in range(_BATCHES):
            if missing <= 0:
                return
            yield at, first + k, min(missing, _BATCH)
            missing -= _BATCH

    def _draw_nets(self, at: int, stop: int) -> None:
        """Draw Sobol' points of a level until each replicate has `stop` points."""
        first = self._levels[at].points if at < len(self._levels) else 0
        if stop * REPLICATES >= 2**62:
            raise ArgumentError(
                f"atol: {self._settings['atol']} given; more than 2**62 paths would be "
                "needed; raise it"
            )
        size = max(_NET >> max(at - _LONG, 0), 1)
        rows = ((at, 0, min(size, stop - k), k) for k in range(first, stop, size))
        while some := list(islice(rows, _BATCHES)):
            self._take(at, some)
            if self._report is not None:
                missing = max(stop - self._levels[at].points, 0) * REPLICATES
                self._report(self.paths, self.paths + missing)

    def _take(self, at: int, rows: Sequence[tuple[int, ...]]) -> None:
        """Evaluate batches and add them to the moments of their level."""
        given = np.asarray(self._evaluate(np.array(rows, np.float64)))
        replicates = REPLICATES if self._settings["points"] == "sobol" else 1
        outputs = (given.shape[1] - 1) // (NUMBERS * replicates)
        if not self._levels:
            self._begin(outputs, bool(given[0, 0]))
        known = len(self._levels[0].difference.mean)
        if outputs != known or (given[:, 0] != self._scalar).any():
            raise TargetError(
                f"level({at}, n, stream) gave {outputs} numbers for a path; earlier batches had "
                f"{known}, in arrays of {1 if self._scalar else 2} axes"
            )
        sums = self._levels[at]
        difference, fine, coarse = sums.difference, sums.fine, sums.coarse
        nothing = np.zeros(outputs)
        for (_, _, n, *_), row in zip(rows, given, strict=True):
            for r, d in enumerate(row[1:].reshape(replicates, NUMBERS, outputs)):
                difference = difference.merged(Moments(n, *d[:4]))
                fine = fine.merged(Moments(n, d[4], d[5], nothing, nothing))
                coarse = coarse.merged(Moments(n, d[6], d[7], nothing, nothing))
                if replicates > 1:
                    sums.sums[r] += n * d[0]
            sums.points += n * (replicates > 1)
        sums.difference, sums.fine, sums.coarse = difference, fine, coarse
        sums.batches += len(rows)

    def _begin(self, outputs: int, scalar: bool) -> None:
        """Set the number of outputs after the first batch."""
        if self._atol.size not in (1, outputs):
            raise ArgumentError(f"atol: {self._atol.size} numbers given for {outputs} outputs")
        if self._names is not None and len(self._names) != outputs:
            raise ArgumentError(f"names: {len(self._names)} given for {outputs} outputs")
        self._scalar = scalar
        self._levels = [LevelSums(outputs) for _ in range(_FIRST)]

    def _scaled(self, errors: float = 1.0) -> tuple[Array, Array]:
        """Return the largest mean and variance of each level, in units of the tolerance.

        One standard error is added to each mean, since a mean that is small by chance would end the
        run.
        """
        noise = [np.sqrt(s.square) for s in self._levels]
        means = [
            float(((np.abs(s.difference.mean) + errors * error) / self._atol).max())
            for s, error in zip(self._levels, noise, strict=True)
        ]
        with np.errstate(over="ignore"):
            spread = [np.sqrt(s.difference.variance) / self._atol for s in self._levels]
            variances = [float((s**2).max()) for s in spread]
        return np.array(means), np.array(variances)

    def _rates(self, errors: float = 1.0) -> tuple[Array, Array]:
        """Estimate the rates, and return means and variances that are not 0 by chance."""
        means, variances = self._scaled(errors)
        for at in range(2, len(means)):
            means[at] = max(means[at], 0.5 * means[at - 1] / 2**self._alpha)
            variances[at] = max(variances[at], 0.5 * variances[at - 1] / 2**self._beta)
        self._raw_alpha = _slope(means[1:])
        if self._settings["alpha"] is None:
            self._alpha = min(max(0.5, self._raw_alpha), _FASTEST)
        if self._settings["beta"] is None:
            self._beta = min(max(0.5, _slope(variances[1:])), _FASTEST)
        return means, variances

    def run(self) -> None:
        """Draw paths and add levels until variance and bias have their shares of the tolerance."""
        start = self._settings["n_start"]
        wanted: list[float] = [start] * _FIRST
        while True:
            self._draw(wanted)
            means, variances = self._rates()
            costs = np.array(self._costs[: len(self._levels)])
            allotted = self._allotted(variances, costs)
            have = np.array([s.n for s in self._levels])
            if (allotted - have > 0.01 * have).any():
                wanted = np.maximum(allotted, have).tolist()
                continue
            self._converged = bool(self._remaining(means) <= math.sqrt(_THETA))
            if self._converged or len(self._levels) > self._settings["max_level"]:
                return
            self._levels.append(LevelSums(len(self._levels[0].difference.mean)))
            longer = np.append(variances, variances[-1] / 2**self._beta)
            costs = np.array(self._costs[: len(self._levels)])
            allotted = self._allotted(longer, costs)
            allotted[-1] = max(allotted[-1], start)
            wanted = np.maximum(allotted, np.append(have, 0)).tolist()

    def run_nets(self) -> None:
        """Double points and add levels until variance and bias are within their shares."""
        least = 1 << max(math.ceil(math.log2(self._settings["n_start"] / REPLICATES)), 1)
        for at in range(_FIRST):
            self._draw_nets(at, least)
        while True:
            with np.errstate(over="ignore"):
                squares = np.array([float((s.square / self._atol**2).max()) for s in self._levels])
            if squares.sum() > 1 - _THETA:
                # A doubling costs as much as all points so far.
                spent = [s.n * c for s, c in zip(self._levels, self._costs, strict=False)]
                at = int(np.argmax(squares / np.array(spent)))
                self._draw_nets(at, 2 * self._levels[at].points)
                continue
            enough = self._remaining(self._rates(0.0)[0]) <= math.sqrt(_THETA)
            self._converged = bool(self._remaining(self._rates()[0]) <= math.sqrt(_THETA))
            if self._converged:
                return
            if enough:
                # Only the noise of the last levels puts the bias in doubt. They may have most of
                # the variance.
                at = len(squares) - 3 + int(np.argmax(squares[-3:] * 4.0 ** np.arange(-2, 1)))
                self._draw_nets(at, 2 * self._levels[at].points)
                continue
            if len(self._levels) > self._settings["max_level"]:
                return
            self._levels.append(LevelSums(len(self._levels[0].difference.mean)))
            self._draw_nets(len(self._levels) - 1, least)

    def _allotted(self, variances: Array, costs: Array) -> Array:
        """Return the numbers of paths that bring the variance to its share, at the least cost."""
        with np.errstate(over="ignore", invalid="ignore"):
            whole = np.sqrt(variances * costs).sum()
            out: Array = np.ceil(np.sqrt(variances / costs) * whole / (1 - _THETA))
        return out

    def _remaining(self, means: Array) -> float:
        """Return the bias that is left, in units of the tolerance."""
        last = means[::-1][:3] * 2.0 ** (-self._alpha * np.arange(min(3, len(means))))
        if len(means) == _FIRST:
            last = last[:2]  # level 0 is no difference
        return float(last.max() / (2**self._alpha - 1))

    def run_randomised(self) -> None:
        """Draw the levels of paths at random, until the variance is that of the tolerance."""
        start = self._settings["n_start"]
        pilot = MultilevelJob(
            self._evaluate, self._settings, self._key, self._names, self._report, self._start
        )
        pilot._draw([start] * _FIRST)
        pilot._levels.append(LevelSums(len(pilot._levels[0].difference.mean)))
        pilot._draw([start] * (_FIRST + 1))
        pilot._rates()
        self._begin(len(pilot._levels[0].difference.mean), pilot._scalar)
        self._alpha, self._beta = pilot._alpha, pilot._beta
        self._raw_alpha = pilot._raw_alpha
        gamma = self._gamma(self._settings["max_level"] + 1)
        if not self._beta > gamma:
            raise ArgumentError(
                f"debias: True given, but the variance falls like 2^(-{self._beta:.2f} l) while "
                f"the cost rises like 2^({gamma:.2f} l), so that variance or cost is infinite; "
                "couple fine and coarse paths more closely, or use debias=False"
            )
        count = self._settings["max_level"] + 1
        falls = 2.0 ** (-(self._beta + gamma) / 2 * np.arange(count))
        # The first levels by their measured variances, the others by the estimated rates.
        seen = [s.difference.variance + s.difference.mean**2 for s in pilot._levels]
        squares = np.array([(x / self._atol**2).max() for x in seen])
        seen_chances = np.sqrt(squares / np.array(self._costs[: len(squares)]))
        if not seen_chances.any():
            seen_chances = falls[: len(squares)]
        floor = seen_chances.max() * falls[: len(squares)] * 0.1
        chances = falls * np.maximum(seen_chances, floor)[-1] / falls[len(squares) - 1]
        chances[: len(squares)] = np.maximum(seen_chances, floor)
        tail = chances[-1] * falls[1] / (1 - falls[1])
        self._chances = chances / (chances.sum() + tail)
        self._levels = [LevelSums(len(pilot._levels[0].difference.mean)) for _ in range(count)]
        # The streams of the pilot's batches are not used again.
        for own, first in zip(self._levels, pilot._levels, strict=False):
            own.batches = first.batches
        n = max(int(min(np.ceil((squares / self._chances[: len(squares)]).sum()), 2.0**61)), start)
        drawn = np.zeros(count, np.int64)
        beyond, total, stream = 0, 0, Stream(self._key, 2**63, 2**32 - 1)
        while True:
            more, lost = _labels(stream, self._chances, n - total)
            drawn, beyond, total = drawn + more, beyond + lost, n
            self._total = total
            self._draw(drawn.tolist())
            spread = np.sqrt(np.diag(self._random_cov())) / self._atol
            if (spread <= 1).all():
                break
            n = max(int(1.02 * n * min(float((spread**2).max()), 4.0)), n + start)
        self._converged = True
        if beyond:
            self._converged = False
            self.findings.append(
                (
                    ConvergenceWarning,
                    f"{beyond} of {total} paths drew a level above max_level = "
                    f"{self._settings['max_level']} and count as 0, so that the estimate is "
                    "biased by about the differences there; raise max_level",
                )
            )

    def _gamma(self, count: int) -> float:
        """Return the rate of the costs of the first levels."""
        return -_slope(np.array(self._costs[1 : max(count, 3)]))

    def _random_mean(self) -> Array:
        assert self._chances is not None
        parts = [
            s.difference.mean * (s.n / p / self._total)
            for s, p in zip(self._levels, self._chances, strict=True)
        ]
        out: Array = np.sum(parts, axis=0)
        return out

    def _random_cov(self) -> Array:
        """Return the variances of the randomised estimate, as a diagonal matrix."""
        assert self._chances is not None
        squares = [
            (s.difference.m2 + s.n * s.difference.mean**2) / p**2
            for s, p in zip(self._levels, self._chances, strict=True)
        ]
        n = self._total
        variance = np.sum(squares, axis=0) / n - self._random_mean() ** 2
        return np.diag(np.maximum(variance, 0.0) / max(n - 1, 1))

    def partial(self) -> Multilevel | None:
        """Return the result so far, None if a level has no paths or levels are random."""
        if self._settings["debias"] or not self._levels:
            return None
        if self._levels[-1].n == 0 and len(self._levels) > 1:
            self._levels.pop()
        if any(s.n < 2 for s in self._levels):
            return None
        self._converged = False
        return self.result("interrupted")

    def result(self, status: str) -> Multilevel:
        """Return the result."""
        levels = [s for s in self._levels if s.n] if self._settings["debias"] else self._levels
        outputs = len(levels[0].difference.mean)
        if self._settings["debias"]:
            mean, cov, bias = self._random_mean(), self._random_cov(), np.zeros(outputs)
        else:
            mean = np.sum([s.difference.mean for s in levels], axis=0)
            cov = np.diag(np.sum([s.square for s in levels], axis=0))
            means, _ = self._rates()
            bias = np.minimum(self._remaining(means), 1e300) * self._atol * np.ones(outputs)
        self._doubts(levels, bias)
        stderr = np.sqrt(np.diag(cov))
        unseen = self._unseen(levels, mean, stderr)
        if unseen is not None:
            stderr = np.where(unseen > 0, unseen, stderr)
            cov = np.diag(stderr**2)
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = [np.where(stderr > 0, s.difference.variance / s.n, 0.0) for s in levels]
            # Welch's degrees of freedom, with the kurtosis of each level.
            noise = np.sum(
                [
                    v**2 * np.maximum(s.difference.kurtosis - 1, 1) / s.n
                    for v, s in zip(spread, levels, strict=True)
                ],
                axis=0,
            )
            df = np.where(noise > 0, 2 * np.diag(cov) ** 2 / noise, np.inf)
            nets = self._settings["points"] == "sobol"
            if nets:
                squares = np.sum([s.square**2 for s in levels], axis=0)
                df = np.where(squares > 0, np.diag(cov) ** 2 * (REPLICATES - 1) / squares, np.inf)
            ess = np.where(stderr > 0, levels[0].fine.variance / stderr**2, np.inf)

        def shape(a: Array) -> Any:
            return float(a.ravel()[0]) if self._scalar else a

        paths = np.array([s.n for s in levels])
        return Multilevel(
            seed=self._key,
            version=_core.__version__,
            isa=_core.isa_level,
            settings=self._settings,
            n_evals=self.paths,
            wall_time=time.perf_counter() - self._start,
            status=status,
            warnings=tuple(text for _, text in self.findings),
            mean=shape(mean),
            stderr=shape(stderr),
            cov=shape(cov),
            ess=shape(ess),
            khat=shape(np.full(outputs, np.nan)),
            names=self._names or tuple(f"E[{k}]" for k in range(outputs)),
            method=self._method(),
            df=shape(np.maximum(df, 1.0)),
            converged=self._converged,
            n_replicates=REPLICATES if nets else None,
            unseen=None if unseen is None else shape(unseen),
            n_paths=paths,
            level_means=np.array([s.difference.mean for s in levels]),
            level_variances=np.array([s.difference.variance for s in levels]),
            level_kurtosis=np.array([s.difference.kurtosis for s in levels]),
            level_costs=np.array(self._costs[: len(levels)]),
            cost=float(paths @ np.array(self._costs[: len(levels)])),
            bias=shape(bias),
            alpha=float(self._alpha),
            beta=float(self._beta),
            gamma=float(self._gamma(len(levels))),
        )

    def _unseen(self, levels: list[LevelSums], mean: Array, stderr: Array) -> Array | None:
        """Return errors by the rule of three of outputs with one value at all paths, or None.

        Constants beside outputs that vary keep their error of 0, unless they are 0, with a warning.
        """
        same = stderr == 0
        if not same.any():
            return None
        self.findings.append(equal_finding(levels[0].n, "the quantity"))
        same &= (mean == 0) | same.all()
        if not same.any():
            return None
        return np.where(same, np.where(mean == 0, 1.0, np.abs(mean)) * (3 / levels[0].n), 0.0)

    def _method(self) -> str:
        if self._settings["debias"]:
            return "randomised multilevel"
        return "multilevel" + (" Sobol'" if self._settings["points"] == "sobol" else "")

    def _doubts(self, levels: list[LevelSums], bias: Array) -> None:
        """Collect the warnings of a result."""

        def say(text: str) -> None:
            self.findings.append((ConvergenceWarning, text))

        random = self._settings["debias"]
        if not self._converged and not random:
            say(
                f"the bias at the finest level {len(levels) - 1} is about {bias.max():.2g}, above "
                f"its share of atol; raise max_level = {self._settings['max_level']} or atol"
            )
        if self._raw_alpha < 0.5 and self._settings["alpha"] is None:
            say(
                f"the means of the differences fall like 2^({-self._raw_alpha:.2f} l) only, too "
                "slowly for the bias to be judged; give alpha= if the rate is known, raise "
                "n_start, or check that the levels converge"
            )
        worst = [float(s.difference.kurtosis.max()) for s in levels]
        at = int(np.argmax(worst))
        if worst[at] > _KURTOSIS:
            say(
                f"the difference of level {at} has the kurtosis {worst[at]:.0f}: few paths make "
                "most of its variance, and the numbers of paths and the error may be too small; "
                "raise n_start, or smooth the quantity"
            )
        for at in range(1, len(levels)):
            below, here = levels[at - 1].fine, levels[at].coarse
            if min(below.n, here.n) < 2:
                continue
            gap = np.abs(here.mean - below.mean)
            error = np.sqrt(below.variance / below.n + here.variance / here.n)
            scale = 1e-9 * (np.abs(here.mean) + np.abs(below.mean))
            if (gap > _DISAGREE * error + scale).any():
                say(
                    f"the coarse values of level {at} have another mean than the fine values of "
                    f"level {at - 1}, by more than {_DISAGREE:.0f} errors, so that the sum over "
                    "levels is wrong; make both the same computation"
                )
                break


def _slope(values: Array) -> float:
    """Return the rate by which values fall from one to the next, in powers of two."""
    found = np.flatnonzero(values > 0)
    if len(found) < 2:
        return math.inf if len(values) > 1 else 1.0
    return float(-np.polyfit(found, np.log2(values[found]), 1)[0])


def _labels(stream: Stream, chances: Array, n: int) -> tuple[NDArray[np.int64], int]:
    """Return how many of n paths draw each level, and how many one beyond the last."""
    edges = np.cumsum(chances)
    counts = np.zeros(len(chances) + 1, np.int64)
    while n > 0:
        some = min(n, 2**20)
        drawn = np.searchsorted(edges, stream.uniform(some), side="right")
        counts += np.bincount(drawn, minlength=len(counts))
        n -= some
    return counts[:-1], int(counts[-1])
