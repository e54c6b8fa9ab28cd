"""Distances of simulated summaries from observed ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.ask import ask
from fermiac._base.validate import numbers, real_numbers, shown
from fermiac.errors import ArgumentError, TargetError

__all__ = ["Distance", "DistanceFunction", "Scale", "observed_of", "scale_of", "spreads"]

Array = NDArray[np.float64]
Scale: TypeAlias = "Literal['mad', 'sd', 'none'] | ArrayLike"
DistanceFunction: TypeAlias = "Callable[[Array, Array], ArrayLike]"
_WORDS = ("mad", "sd", "none")
#: The numbers of a block of a table, between which Ctrl-C is answered.
_BLOCK = 2**20


def observed_of(given: Any) -> Array:
    """Return the observed summaries, shape (k,)."""
    array = numbers("observed", given)
    if array.ndim > 1 or array.size == 0 or not np.isfinite(array).all():
        raise ArgumentError(
            f"observed: {shown(given)} given; finite numbers of shape (k,) are needed, the "
            "summaries of the observation"
        )
    return np.ascontiguousarray(array.reshape(-1))


def scale_of(given: Any, k: int) -> str | Array:
    """Return the word of a scale, or the numbers themselves."""
    if isinstance(given, str):
        if given not in _WORDS:
            raise ArgumentError(
                f"scale: {shown(given)} was given; 'mad', 'sd', 'none' or numbers of shape ({k},) "
                "are needed"
            )
        return given
    array = real_numbers("scale", given)
    if array.shape not in ((), (k,)) or not (np.isfinite(array).all() and (array > 0).all()):
        raise ArgumentError(
            f"scale: {shown(given)} given; positive, finite numbers of shape ({k},) are needed"
        )
    return np.array(np.broadcast_to(array, k))


def spreads(summaries: Array, scale: str | Array) -> Array:
    """Return the numbers that summaries are divided by.

    For ``"mad"`` they are the median absolute deviations, or the standard deviations of summaries
    half of which are equal; constant summaries are not divided.
    """
    if not isinstance(scale, str):
        return scale
    out = np.ones(summaries.shape[1])
    if scale == "none":
        return out
    for j, column in enumerate(summaries.T):
        good = column[np.isfinite(column)]
        if not good.size:
            continue
        size = 0.0
        if scale == "mad":
            size = float(np.median(np.abs(good - np.median(good))))
        size = size or float(good.std())
        out[j] = size if np.isfinite(size) and size > 0 else 1.0
    return out


class Distance:
    """The distance of rows of summaries from the observed ones."""

    def __init__(self, observed: Array, scale: Array, function: Any) -> None:
        if function is not None and not callable(function):
            raise ArgumentError(f"distance: {shown(function)} given; a function is needed")
        self.observed, self.scale, self.function = observed, scale, function

    def __call__(self, summaries: Array) -> Array:
        """Return the distance of each row, infinite for one that is not finite."""
        out = np.empty(len(summaries))
        step = max(1, _BLOCK // summaries.shape[1])
        for at in range(0, len(out), step):
            rows = summaries[at : at + step]
            out[at : at + step] = self._of(rows)
        return out

    def _of(self, rows: Array) -> Array:
        good = np.isfinite(rows).all(1)
        out = np.full(len(rows), np.inf)
        if self.function is None:
            gap = (rows[good] - self.observed) / self.scale
            out[good] = np.sqrt(np.einsum("nk,nk->n", gap, gap))
            return out
        if not good.any():
            return out
        given = ask(self.function, (rows[good], self.observed), "distance")
        try:
            values = np.asarray(given, np.float64)
        except Exception as error:
            raise TargetError(f"distance: it returned {shown(given)}, not numbers") from error
        if values.shape != (int(good.sum()),) or not (values >= 0).all():
            raise TargetError(
                f"distance: it returned {shown(given)} for {int(good.sum())} simulations; numbers "
                "of shape (n,) are needed that are not negative"
            )
        out[good] = values
        return out
