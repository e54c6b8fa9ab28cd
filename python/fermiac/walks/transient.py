"""Whether an average has settled: what the first part of a walk had of it, against the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from fermiac.errors import ConvergenceWarning, FermiacWarning

if TYPE_CHECKING:
    from fermiac.walks.result import Walk

__all__ = ["Marks", "early_average", "early_average_of_sums", "joined_marks", "unsettled"]

Array = NDArray[np.float64]

#: Steps after which visits are marked: this, and twice and four times it, and so on.
_FIRST = 64
#: Differences of so many standard deviations are no chance.
_SIGNIFICANT = 3.0


class Marks:
    """Visits of all nodes, or sums of a function, at the last two powers of two of the steps."""

    def __init__(self, kept: Mapping[str, NDArray[Any]] | None = None) -> None:
        self._kept: list[tuple[int, NDArray[Any]]] = []
        if kept is not None:
            self._kept = list(zip(kept["steps"].tolist(), kept["totals"], strict=True))

    @staticmethod
    def after(counted: int) -> int:
        """The first mark beyond so many steps."""
        return max(_FIRST, 1 << int(counted).bit_length())

    @staticmethod
    def are_at(counted: int) -> bool:
        """Whether there is one at this step."""
        return counted >= _FIRST and counted & (counted - 1) == 0

    def put(self, counted: int, totals: NDArray[Any]) -> None:
        """Mark what all walkers together have."""
        self._kept = [*self._kept[-1:], (counted, totals)]

    def put_sums(self, counted: int, sums: Array | None, values: Array) -> None:
        """Mark the sums (walkers, k) of so many steps and of values (walkers, steps, k) after."""
        mark = self.after(counted)
        while mark <= counted + values.shape[1]:
            here = values[:, : mark - counted].sum(axis=(0, 1))
            self.put(mark, here if sums is None else here + sums.sum(axis=0))
            mark *= 2

    def arrays(self) -> dict[str, NDArray[Any]] | None:
        """For a result, and for a checkpoint."""
        if not self._kept:
            return None
        steps, totals = zip(*self._kept, strict=True)
        return {"steps": np.array(steps), "totals": np.stack(totals)}


def joined_marks(
    all_marks: Sequence[Mapping[str, NDArray[Any]] | None],
) -> dict[str, NDArray[Any]] | None:
    """The marks of several walks together, if they were made at the same steps."""
    given = [marks for marks in all_marks if marks is not None]
    if len(given) < len(all_marks) or len({marks["steps"].tobytes() for marks in given}) > 1:
        return None
    return {"steps": given[0]["steps"], "totals": np.sum([m["totals"] for m in given], axis=0)}


def _early(walk: Walk) -> tuple[int, NDArray[Any]] | None:
    """Steps that count, at most half of all, and what all walkers had in them."""
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
    walk: Walk, nodes: NDArray[Any], values: Array, ratios: Array | None
) -> tuple[int, Array] | None:
    """The steps of the first part of a walk, and the averages over them."""
    early = _early(walk)
    if early is None:
        return None
    steps, visits = early
    weights = visits[nodes].astype(np.float64)
    if ratios is not None:
        weights *= ratios
    return (steps, weights @ values / weights.sum()) if weights.sum() > 0 else None


def early_average_of_sums(walk: Walk) -> tuple[int, Array] | None:
    """The same of the function that a walk without visits was given."""
    early = _early(walk)
    return None if early is None else (early[0], early[1] / (early[0] * walk.n_walkers))


def _times(walk: Walk, steps: int) -> float:
    """The variance of averages over the first steps, over that of all of them, at most.

    A history makes up for all that it knows, so that sums over n steps have a variance of the order
    of n, those after m steps one of the order of n + 2 m, and those of `tsaw` a constant one.
    """
    n, settings = walk._n_counted, walk.settings
    times = n / steps
    if settings["kernel"] == "tsaw":
        return times**2
    if walk._alpha == 0.0:
        return times
    before = 2.0 * settings["burn_in"] / settings["thin"]
    return float(times**2 * (before + steps) / (before + n))


def unsettled(
    walk: Walk, early: tuple[int, Array], mean: Array, stderr: Array
) -> list[tuple[type[FermiacWarning], str]]:
    """What is to be said of averages that still move.

    A bias of the start falls with 1 / n, and more walkers make the error small without it. The
    difference of an early average and the whole one has at most the variances of both together:
    with history they know little of each other.
    """
    kernel = walk.settings["kernel"]
    if kernel in ("tsaw", "rotor") and not walk.settings["burn_in"]:
        text = (
            f"with kernel={kernel!r} the bias of the start falls no faster than the spread of the "
            "walkers, which does not hold it; give a burn_in=, a twentieth of the steps for "
            "instance, after which it is gone"
        )
        return [(ConvergenceWarning, text)]
    if kernel == "rotor":  # rotors go in circles, which no variance describes
        return []
    steps, before = early
    if not np.isfinite(stderr).all():
        return []
    moved = before - mean
    chance = stderr * np.sqrt(1.0 + _times(walk, steps))
    # An error that few replicas tell may be small by chance.
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
