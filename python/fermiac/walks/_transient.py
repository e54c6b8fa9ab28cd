"""Whether an average has settled: what the first part of a walk had of it, against the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import ConvergenceWarning, FermiacWarning

if TYPE_CHECKING:
    from fermiac.walks._result import Walk

__all__ = ["Marks", "joined_marks", "unsettled"]

Array = NDArray[np.float64]

#: Steps after which visits are marked: this, and twice and four times it, and so on.
_FIRST = 64
#: Differences of so many standard deviations are no chance.
_SIGNIFICANT = 3.0


class Marks:
    """The visits of all nodes at the last two powers of two of the steps that count."""

    def __init__(self, kept: Mapping[str, NDArray[Any]] | None = None) -> None:
        self._kept: list[tuple[int, NDArray[np.uint64]]] = []
        if kept is not None:
            self._kept = list(zip(kept["steps"].tolist(), kept["visits"], strict=True))

    @staticmethod
    def after(counted: int) -> int:
        """The first mark beyond so many steps."""
        return max(_FIRST, 1 << int(counted).bit_length())

    @staticmethod
    def are_at(counted: int) -> bool:
        """Whether there is one at this step."""
        return counted >= _FIRST and counted & (counted - 1) == 0

    def put(self, counted: int, visits: NDArray[np.uint64]) -> None:
        """Mark what was visited."""
        self._kept = [*self._kept[-1:], (counted, visits)]

    def arrays(self) -> dict[str, NDArray[Any]] | None:
        """For a result, and for a checkpoint."""
        if not self._kept:
            return None
        steps, visits = zip(*self._kept, strict=True)
        return {"steps": np.array(steps), "visits": np.stack(visits)}


def joined_marks(
    all_marks: Sequence[Mapping[str, NDArray[Any]] | None],
) -> dict[str, NDArray[Any]] | None:
    """The marks of several walks together, if they were made at the same steps."""
    given = [marks for marks in all_marks if marks is not None]
    if len(given) < len(all_marks) or len({marks["steps"].tobytes() for marks in given}) > 1:
        return None
    return {"steps": given[0]["steps"], "visits": np.sum([m["visits"] for m in given], axis=0)}


def _early(walk: Walk) -> tuple[int, NDArray[np.uint64]] | None:
    """Steps that count, at most half of all, and the visits of all walkers in them."""
    n = walk._n_counted
    if walk.paths is not None:
        half = n // 2
        if half == 0 or walk._avoided is not None:
            return None
        counts = np.bincount(walk.paths[:, :half].reshape(-1), minlength=walk.n_nodes)
        return half, counts.astype(np.uint64)
    if walk._marks is None:
        return None
    steps, visits = walk._marks["steps"], walk._marks["visits"]
    some = np.flatnonzero(steps <= n // 2)
    return (int(steps[some[-1]]), visits[some[-1]]) if len(some) else None


def unsettled(
    walk: Walk, nodes: NDArray[Any], values: Array, ratios: Array | None, mean: Array, stderr: Array
) -> list[tuple[type[FermiacWarning], str]]:
    """What is to be said of averages that still move.

    A bias of the start falls with 1 / n, and more walkers make the error small without it. Of two
    averages, over k and over all n steps, the difference has at most the variance of the second
    times (n / k + 1): with history the two know little of each other.
    """
    early = _early(walk)
    if early is None or not np.isfinite(stderr).all():
        return []
    steps, visits = early
    weights = visits[nodes].astype(np.float64)
    if ratios is not None:
        weights *= ratios
    if not weights.sum() > 0:
        return []
    times = walk._n_counted / steps
    moved = weights @ values / weights.sum() - mean
    chance = stderr * np.sqrt(times + 1)
    far = np.abs(moved) > _SIGNIFICANT * np.maximum(chance, 1e-12 * np.abs(mean))
    if not far.any():
        return []
    worst = int(np.argmax(np.where(far, np.abs(moved) / np.maximum(stderr, 1e-300), 0.0)))
    left = moved[worst] / (times - 1)
    which = "" if len(mean) == 1 else f" (average {worst} of {len(mean)})"
    before, now = mean[worst] + moved[worst], mean[worst]
    text = (
        f"the average has not settled: after {steps} steps of each walker it was {before:.6g}, "
        f"after {walk._n_counted} it is {now:.6g}, with a "
        f"standard error of {stderr[worst]:.2g}{which}, which does not hold what is left, about "
        f"{left:.2g}; take more steps rather than more walkers, or a short burn_in="
    )
    return [(ConvergenceWarning, text)]
