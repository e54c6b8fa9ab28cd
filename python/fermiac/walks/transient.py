"""Test of convergence of averages: the first part of a walk against the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from fermiac._base import layout as fit
from fermiac.errors import ConvergenceWarning, FermiacWarning

if TYPE_CHECKING:
    from fermiac.walks.result import WalkResult

__all__ = [
    "MARKS",
    "SUMS",
    "Marks",
    "early_average",
    "early_average_of_sums",
    "joined_marks",
    "unsettled",
]

Array = NDArray[np.float64]

#: Visits are marked after this many steps, twice and four times as many, and so on.
_FIRST = 64
#: Differences of so many standard deviations are significant.
_SIGNIFICANT = 3.0

#: Accept the sums of a function over the steps of each walker, and marks of a walk.
SUMS = fit.array("f", "walkers", "outputs")
MARKS = fit.record(
    {
        "steps": fit.array("iu", "marks", low=1, rising=True),
        "totals": fit.either(fit.array("iu", "marks", "nodes"), fit.array("f", "marks", "outputs")),
    },
    own=("marks",),
)


class Marks:
    """Visits of all nodes, or sums of a function, after the last two powers of two of steps."""

    def __init__(self, kept: Mapping[str, NDArray[Any]] | None = None) -> None:
        self._kept: list[tuple[int, NDArray[Any]]] = []
        if kept is not None:
            self._kept = list(zip(kept["steps"].tolist(), kept["totals"], strict=True))

    @staticmethod
    def after(counted: int) -> int:
        """Return the step of the first mark after so many steps."""
        return max(_FIRST, 1 << int(counted).bit_length())

    @staticmethod
    def are_at(counted: int) -> bool:
        """Return whether there is a mark at this step."""
        return counted >= _FIRST and counted & (counted - 1) == 0

    def put(self, counted: int, totals: NDArray[Any]) -> None:
        """Add the mark of all walkers together."""
        self._kept = [*self._kept[-1:], (counted, totals)]

    def put_sums(self, counted: int, sums: Array | None, values: Array) -> None:
        """Add the marks within values (walkers, steps, k) that follow sums (walkers, k)."""
        mark = self.after(counted)
        while mark <= counted + values.shape[1]:
            here = values[:, : mark - counted].sum(axis=(0, 1))
            self.put(mark, here if sums is None else here + sums.sum(axis=0))
            mark *= 2

    def arrays(self) -> dict[str, NDArray[Any]] | None:
        """Return the marks as arrays, for results and checkpoints."""
        if not self._kept:
            return None
        steps, totals = zip(*self._kept, strict=True)
        return {"steps": np.array(steps), "totals": np.stack(totals)}


def joined_marks(
    all_marks: Sequence[Mapping[str, NDArray[Any]] | None],
) -> dict[str, NDArray[Any]] | None:
    """Return the sum of the marks of several walks, if they are at the same steps."""
    given = [marks for marks in all_marks if marks is not None]
    if len(given) < len(all_marks) or len({marks["steps"].tobytes() for marks in given}) > 1:
        return None
    return {"steps": given[0]["steps"], "totals": np.sum([m["totals"] for m in given], axis=0)}


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
    """Return the same for the function of a walk that kept no visits."""
    early = _early(walk)
    return None if early is None else (early[0], early[1] / (early[0] * walk.n_walkers))


def _times(walk: WalkResult, steps: int) -> float:
    """Return a bound of the variance of averages over the first steps, over that of all steps.

    With a history, sums over n steps have a variance of the order of n, sums over the n steps
    after a burn-in of m one of the order of n + 2 m, and sums of superefficient kernels a constant
    one.
    """
    n, settings = walk._n_counted, walk.settings
    times = n / steps
    if walk._kernel.is_superefficient:
        return times**2
    if walk._alpha == 0.0:
        return times
    before = 2.0 * settings["burn_in"] / settings["thin"]
    return float(times**2 * (before + steps) / (before + n))


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
            "the walkers, which does not hold it; give a burn_in=, a twentieth of the steps for "
            "instance, after which it is gone"
        )
        return [(ConvergenceWarning, text)]
    if kernel.is_deterministic:  # no variance describes them
        return []
    steps, before = early
    if not np.isfinite(stderr).all():
        return []
    moved = before - mean
    chance = stderr * np.sqrt(1.0 + _times(walk, steps))
    # The error of few replicas may be small by chance.
    limit = stdtrit(max(walk.n_replicas - 1, 1), ndtr(_SIGNIFICANT))
    far = np.abs(moved) > limit * np.maximum(chance, 1e-12 * np.abs(mean))
    if not far.any():
        return []
    worst = int(np.argmax(np.where(far, np.abs(moved) / np.maximum(stderr, 1e-300), 0.0)))
    left = moved[worst] / (walk._n_counted / steps - 1)
    which = "" if len(mean) == 1 else f" (average {worst} of {len(mean)})"
    text = (
        f"the average has not settled: after {steps} steps of each walker it was "
        f"{before[worst]:.6g}, after {walk._n_counted} it is {mean[worst]:.6g}, with a "
        f"standard error of {stderr[worst]:.2g}{which}, which does not hold what is left, about "
        f"{left:.2g}; take more steps rather than more walkers, or a short burn_in="
    )
    return [(ConvergenceWarning, text)]
