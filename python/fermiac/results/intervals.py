"""Intervals that contain a given share of a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.validate import choice, probability

if TYPE_CHECKING:
    from fermiac.results.sample import Sample

__all__ = ["KINDS", "interval", "interval_columns", "probabilities"]

Array = NDArray[np.float64]
#: Equal tails, and the shortest interval.
KINDS = ("equal", "hdi")


def probabilities(prob: Any) -> tuple[float, float]:
    """Return the probabilities below the ends of an interval with equal tails."""
    share = probability("prob", prob)
    # The nearest decimal: (1 - 0.9) / 2 is not 0.05.
    tail = round((1 - share) / 2, 15)
    return tail, 1 - tail


def interval(sample: Sample, prob: Any, kind: Any) -> tuple[Array, Array]:
    """Return the ends of `Sample.interval`."""
    ends, kind = probabilities(prob), choice("kind", kind, KINDS)
    if kind == "equal":
        low, high = sample.quantile(ends)
        return low, high
    weights = sample._weights()
    both = np.array([_shortest(x, weights, float(prob)) for x in sample._points.T])
    return both[:, 0], both[:, 1]


def interval_columns(sample: Sample, prob: Any, kind: Any) -> dict[str, Array]:
    """Return columns of a summary: the median between the ends of an interval."""
    ends = probabilities(prob)
    if choice("kind", kind, KINDS) == "hdi":
        low, high = interval(sample, prob, kind)
        return {"hdi_low": low, "50%": sample.quantile(0.5), "hdi_high": high}
    low, median, high = sample.quantile([ends[0], 0.5, ends[1]])
    return {f"{100 * ends[0]:.6g}%": low, "50%": median, f"{100 * ends[1]:.6g}%": high}


def _shortest(x: Array, weights: Array, prob: float) -> tuple[float, float]:
    """Return the shortest interval between two points with a share of the weight between them."""
    used = weights > 0
    x, weights = x[used], weights[used]
    order = _core.sorted_indices(np.ascontiguousarray(x))
    x, reached = x[order], np.cumsum(weights[order])
    reached /= reached[-1]
    last = np.searchsorted(reached, reached + prob * (1 - 1e-12))
    inside = last < x.size
    if not inside.any():
        return float(x[0]), float(x[-1])
    first = np.flatnonzero(inside)
    best = int(np.argmin(x[last[inside]] - x[inside]))
    return float(x[first[best]]), float(x[last[first[best]]])
