"""The bound on the mass that n equal values may have missed, and the warning about it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac.errors import ConvergenceWarning
from fermiac.results.result import Finding

__all__ = ["all_equal", "equal_finding", "unseen"]

#: Values whose range is below this share of their size are equal.
_ROUNDING = 1e-12


def unseen(n: float, prob: float = 0.95) -> float:
    """Return the probability below which a region is that n independent points missed.

    A region of probability p is missed with probability (1 - p)^n; this is the p for which that is
    1 - prob, about 3 / n.
    """
    return -math.expm1(math.log1p(-prob) / n)


def all_equal(values: ArrayLike) -> NDArray[np.bool_]:
    """Return which columns have equal values, shape (n, k) or (n,), up to rounding."""
    values = np.asarray(values)
    low, high = values.min(axis=0), values.max(axis=0)
    # In halves, since the difference may be beyond the range of doubles.
    equal: NDArray[np.bool_] = np.asarray(
        0.5 * high - 0.5 * low <= 0.5 * _ROUNDING * np.maximum(np.abs(low), np.abs(high))
    )
    return equal


def equal_finding(n: float, of: str, region: str = "mass") -> Finding:
    """Return the warning about n equal values of random points, whose spread says nothing."""
    return (
        ConvergenceWarning,
        f"all {n:.0f} values of {of} are equal, which is no evidence that there are no others: a "
        f"region with up to {100 * unseen(n):.2g} % of the {region} may be unseen (with 95 % "
        "confidence); use more points, unless the values are known to be constant",
    )
