"""Tests of the convergence of averages: of histories, and of the first part against the whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from fermiac._base import layout as fit
from fermiac.errors import ConvergenceWarning, FermiacWarning
from fermiac.walks.visits import LateArrays

if TYPE_CHECKING:
    from fermiac.walks.result import WalkResult
    from fermiac.walks.walk_data import WalkData

__all__ = [
    "MARKS",
    "SUMS",
    "Marks",
    "early_average",
    "early_average_of_sums",
    "far_from",
    "joined_marks",
    "later",
    "remaining",
    "unsettled",
    "young",
]

Array = NDArray[np.float64]
#: Computes visits when they are first needed.
Late = Callable[[], NDArray[Any]]

#: Visits are marked after this many steps, twice and four times as many, and so on.
_FIRST = 64
#: Differences of so many standard deviations are significant.
_SIGNIFICANT = 3.0
#: Differences of this many standard deviations count as a bias, and are added to the error.
_NOTABLE = 2.0
#: The share of the law that a walker may miss, if its history must cover the law.
_MISSED = 0.05
#: With Metropolis' acceptance the bias is of the order of the error until alpha times the relative
#: spread of the visits to a node is below this.
_QUIET = 0.12

#: Layouts of the sums of a function over the steps of each walker, and of marks of a walk.
SUMS = fit.array("f", "walkers", "outputs")
MARKS = fit.record(
    {
        "steps": fit.array("iu", "marks", low=1, rising=True),
        "totals": fit.either(
            fit.array("iu", "marks", "nodes"),
            fit.array("f", "marks", "walkers", "outputs"),
            fit.array("f", "marks", "outputs"),  # of earlier versions: all walkers together
        ),
    },
    own=("marks",),
)


class Marks:
    """Visits of all nodes, or sums of a function, after the last two powers of two of steps."""

    def __init__(self, kept: Mapping[str, NDArray[Any]] | None = None) -> None:
        self._kept: list[tuple[int, NDArray[Any] | Late]] = []
        if kept is not None:
            self._kept = list(zip(kept["steps"].tolist(), kept["totals"], strict=True))

    @staticmethod
    def after(counted: int) -> int:
        """Return the step of the first mark after a number of steps."""
        return max(_FIRST, 1 << int(counted).bit_length())

    @staticmethod
    def are_at(counted: int) -> bool:
        """Return whether there is a mark at this step."""
        return counted >= _FIRST and counted & (counted - 1) == 0

    def put(self, counted: int, totals: NDArray[Any] | Late) -> None:
        """Add the visits of all walkers, or what computes them, or the sums of each walker."""
        self._kept = [*self._kept[-1:], (counted, totals)]

    def put_sums(self, counted: int, sums: Array | None, values: Array) -> None:
        """Add the marks within values (walkers, steps, k) that follow sums (walkers, k)."""
        mark = self.after(counted)
        while mark <= counted + values.shape[1]:
            here = values[:, : mark - counted].sum(axis=1)
            self.put(mark, here if sums is None else here + sums)
            mark *= 2

    def arrays(self) -> dict[str, NDArray[Any]] | None:
        """Return the marks as arrays, for checkpoints and for results of walks that go on."""
        if not self._kept:
            return None
        steps, totals = zip(*self._kept, strict=True)
        known = [each() if callable(each) else each for each in totals]
        self._kept = list(zip(steps, known, strict=True))
        return {"steps": np.array(steps), "totals": np.stack(known)}

    def late(self) -> Mapping[str, NDArray[Any]] | None:
        """Return the marks for results of walks that have ended."""
        if not any(callable(totals) for _, totals in self._kept):
            return self.arrays()
        kept = Marks()
        kept._kept = self._kept
        return LateArrays(("steps", "totals"), lambda: kept.arrays() or {})


def joined_marks(
    all_marks: Sequence[Mapping[str, NDArray[Any]] | None],
) -> dict[str, NDArray[Any]] | None:
    """Return the joint marks of several walks, if they are at the same steps."""
    given = [marks for marks in all_marks if marks is not None]
    if len(given) < len(all_marks) or len({marks["steps"].tobytes() for marks in given}) > 1:
        return None
    totals = [marks["totals"] for marks in given]
    if len({array.ndim for array in totals}) > 1:
        return None
    each = totals[0].ndim == 3
    together = np.concatenate(totals, axis=1) if each else np.sum(totals, axis=0)
    return {"steps": given[0]["steps"], "totals": together}


def _early(walk: WalkResult) -> tuple[int, NDArray[Any]] | None:
    """Return the steps of the first part, at most half of all, and its visits or sums."""
    n = walk._n_counted
    if walk.paths is not None:
        half = n // 2
        if half == 0 or walk._avoided is not None:
            return None
        counts = np.bincount(walk.paths[:, :half].reshape(-1), minlength=walk.n_nodes)
        return half, counts.astype(np.uint64)
    if walk._marks is None:
        return None
    steps, totals = walk._marks["steps"], walk._marks["totals"]
    some = np.flatnonzero(steps <= n // 2)
    return (int(steps[some[-1]]), totals[some[-1]]) if len(some) else None


def early_average(
    walk: WalkResult, nodes: NDArray[Any], values: Array, ratios: Array | None
) -> tuple[int, Array] | None:
    """Return the steps of the first part of a walk, and the averages over them."""
    early = _early(walk)
    if early is None:
        return None
    steps, visits = early
    weights = visits[nodes].astype(np.float64)
    if ratios is not None:
        weights *= ratios
    return (steps, weights @ values / weights.sum()) if weights.sum() > 0 else None


def early_average_of_sums(walk: WalkResult) -> tuple[int, Array] | None:
    """Return the same for the function of a walk without recorded visits."""
    early = _early(walk)
    if early is None:
        return None
    steps, sums = early
    return steps, (sums.sum(axis=0) if sums.ndim == 2 else sums) / (steps * walk.n_walkers)


def _times(walk: WalkResult, steps: int) -> float:
    """Return a bound of the ratio of the variances of averages over the first and over all steps.

    With a history, sums over n steps have a variance of the order of n, and sums over the n steps
    after a burn-in of m steps one of the order of n + 2 m. Sums of superefficient kernels have a
    constant variance.
    """
    n, settings = walk._n_counted, walk.settings
    times = n / steps
    if walk._kernel.is_superefficient:
        return times**2
    if walk._alpha == 0.0:
        return times
    before = 2.0 * settings["burn_in"] / settings["thin"]
    return float(times**2 * (before + steps) / (before + n))


def young(walk: WalkData) -> list[tuple[type[FermiacWarning], str]]:
    """Return a warning if the averages contain steps of histories that had not settled."""
    needed = walk.settling
    if walk.burn_in < needed:
        each = walk.n_steps * _sharing(walk) / walk.n_nodes
        text = (
            f"the histories of the walkers had not settled: that takes about {needed} steps, and "
            f"the average begins after {walk.burn_in} of {walk.n_steps} ({each:.3g} per node). It "
            "is biased towards nodes that are reached first, and the standard error does not "
            f"include this bias; use n_steps={2 * needed} or more with burn_in='auto', or "
            "kernel='none'"
        )
        return [(ConvergenceWarning, text)]
    missed = _missed(walk) if needed else 0.0
    if missed > _MISSED:
        text = (
            f"after the burn-in a walker met only {1.0 - missed:.0%} of the graph, by the weights "
            "of its nodes: walks mix slowly here, each history covers only a part of the graph, "
            "and the error does not include the resulting bias; take more steps, or kernel='none'"
        )
        return [(ConvergenceWarning, text)]
    if not walk.settings.get("kinked") or walk.n_replicas < 2:
        return []
    noise = _noise(walk)
    if noise is not None and noise <= _QUIET:
        return []
    told = "unknown without visits" if noise is None else f"{noise:.2g}"
    text = (
        f"the history is still noisy (alpha times the spread of the visits to a node is {told} "
        f"and should be below {_QUIET}): with Metropolis acceptance averages may have a bias of "
        "the order of their standard error, which does not include it; use kernel='srrw', "
        "base='barker' or more steps"
    )
    return [(ConvergenceWarning, text)]


def _missed(walk: WalkData) -> float:
    """Return the mean share of the law at nodes that a walker did not visit; 0 if unknown."""
    if walk.record == "none" or walk._shares_history:
        return 0.0
    visits = walk._visits
    met = walk._shares()[visits.nodes[visits.counts > 0]].sum()
    return max(1.0 - float(met) / visits.n_walkers, 0.0)


def _sharing(walk: WalkData) -> int:
    """Return the number of walkers that fill one history."""
    return walk.n_walkers // walk.n_replicas


def _noise(walk: WalkData) -> float | None:
    """Return alpha times the root mean square of the relative spread of whole histories."""
    if walk.record == "none":
        return None
    law = walk._shares()[walk._reachable]
    counted = float(np.sqrt(law @ walk._spread**2))
    share = walk.burn_in / walk.n_steps
    # Visits after a burn-in have a larger spread than all visits.
    return walk._alpha * counted * (1.0 - share) / math.sqrt(1.0 + share)


def remaining(walk: WalkResult, early: tuple[int, Array], mean: Array, stderr: Array) -> Array:
    """Return the remaining bias of averages, as far as the first part of the walk shows it.

    If the bias falls like 1 / n, it is the difference between the first part and the whole, divided
    by the ratio of their lengths minus 1. Only the part of the squared difference that exceeds
    chance counts. For kernels without randomness the bias is the only error, and four times the
    whole difference is a bound, since the bias falls more slowly if walks mix slowly.
    """
    steps, before = early
    moved = before - mean
    if walk._kernel.is_deterministic:
        return 4.0 * moved
    if not np.isfinite(stderr).all():
        return np.zeros_like(mean)
    if walk._kernel.is_superefficient:
        # Their bias always has the order of the spread, and the difference has the order of both.
        return moved * (steps / walk._n_counted)
    chance = _limit(walk, _NOTABLE) * stderr * np.sqrt(1.0 + _times(walk, steps))
    excess = np.sqrt(np.maximum(moved**2 - chance**2, 0.0))
    return np.asarray(np.copysign(excess, moved) / (walk._n_counted / steps - 1))


def later(
    walk: WalkResult, early: tuple[int, Array], mean: Array, stderr: Array
) -> tuple[Array, Array]:
    """Return the averages after the first part of a walk, and their errors.

    Without a history the variances of the sums over both parts add up to that over the whole walk.
    """
    steps, before = early
    n, sign = walk._n_counted, 1.0 if walk._avoids else -1.0
    times = np.sqrt(n**2 + sign * steps**2 * _times(walk, steps)) / (n - steps)
    return (n * mean - steps * before) / (n - steps), stderr * times


def far_from(walk: WalkResult, mean: Array, right: Array, stderr: Array, least: Any = 4.0) -> Any:
    """Return whether averages differ from known ones by more than `least` errors.

    The number of errors is that of one average; with several the limits rise.
    """
    limits = -stdtrit(max(walk.n_replicas - 1, 1), ndtr(-np.asarray(least)) / mean.size)
    # Known averages have errors of rounding.
    return np.abs(mean - right) > limits * stderr + 1e-12 * (np.abs(mean) + np.abs(right))


def _limit(walk: WalkResult, deviations: float) -> float:
    """Return true standard deviations in estimated ones, which are noisy for few replicas."""
    return float(stdtrit(max(walk.n_replicas - 1, 1), ndtr(deviations)))


def unsettled(
    walk: WalkResult, early: tuple[int, Array], mean: Array, stderr: Array
) -> list[tuple[type[FermiacWarning], str]]:
    """Return a warning if averages have not converged.

    The bias of the start falls like 1 / n; more walkers reduce the error, but not the bias. The
    variance of the difference between an early average and that of the whole walk is at most the
    sum of both variances: with history they are nearly independent.
    """
    kernel = walk._kernel
    if kernel.is_superefficient and not walk.settings["burn_in"]:
        text = (
            f"with kernel={kernel.name!r} the bias of the start falls no faster than the spread of "
            "the walkers, and the standard error does not include it; pass burn_in=, for instance "
            "a twentieth of the steps"
        )
        return [(ConvergenceWarning, text)]
    if kernel.is_deterministic:  # no variance describes them
        return []
    steps, before = early
    if not np.isfinite(stderr).all():
        return []
    moved = before - mean
    chance = stderr * np.sqrt(1.0 + _times(walk, steps))
    far = np.abs(moved) > _limit(walk, _SIGNIFICANT) * np.maximum(chance, 1e-12 * np.abs(mean))
    if not far.any():
        return []
    worst = int(np.argmax(np.where(far, np.abs(moved) / np.maximum(stderr, 1e-300), 0.0)))
    left = moved[worst] / (walk._n_counted / steps - 1)
    which = "" if len(mean) == 1 else f" (average {worst} of {len(mean)})"
    text = (
        f"the average has not settled: after {steps} steps of each walker it was "
        f"{before[worst]:.6g}, after {walk._n_counted} it is {mean[worst]:.6g}{which}; a bias of "
        f"about {left:.2g} remains, {abs(left) / max(stderr[worst], 1e-300):.2g} times the "
        "standard error; use more steps rather than more walkers, or a longer burn_in="
    )
    return [(ConvergenceWarning, text)]
