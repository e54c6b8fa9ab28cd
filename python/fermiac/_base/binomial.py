"""Exact limits of binomial proportions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["clopper_pearson"]


def clopper_pearson(successes: ArrayLike, n: ArrayLike, tail: float) -> tuple[Any, Any]:
    """Return the limits of Clopper and Pearson (1934), with the probability `tail` beyond each."""
    from scipy.special import betaincinv

    x, trials = np.asarray(successes), np.asarray(n)
    with np.errstate(invalid="ignore"):
        low = betaincinv(np.maximum(x, 1), trials - x + 1, tail)
        high = betaincinv(x + 1, np.maximum(trials - x, 1), 1 - tail)
    return np.where(x > 0, low, 0.0), np.where(x < trials, high, 1.0)
