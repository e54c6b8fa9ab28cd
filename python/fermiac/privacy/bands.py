"""Simultaneous limits of a rate at all thresholds, by equal local levels."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fermiac import special
from fermiac.privacy.checks import Array

__all__ = ["local_level"]

#: The largest number of scores with an exact level; the time grows with its square (0.7 s here).
_MOST = 5_000


@lru_cache(maxsize=64)
def local_level(n: int, alpha: float) -> float:
    """Return the level of the limits at single thresholds that hold at all thresholds together.

    The upper limit of Clopper and Pearson for k of n scores beyond a threshold is the quantile of
    the order statistic k + 1 of n uniform numbers. All limits hold if no order statistic is above
    its quantile, so that the distribution of the first one above it gives the level.

    Notes
    -----
    Let b_i be the quantile of the order statistic i. If i is the first one above its quantile, then
    exactly i - 1 numbers are below b_i. This gives a recursion over i (S. Aldor-Noiman, L. D.
    Brown, A. Buja, W. Rolke, R. A. Stine, "The power to see: a new graphical test of normality",
    The American Statistician, 2013, doi:10.1080/00031305.2013.847865, have the bands).

    For large n the level falls like 1 / (log n log log n) (V. Gontscharuk, S. Landwehr, H. Finner,
    "Goodness of fit tests in terms of local levels with special emphasis on higher criticism
    tests", Bernoulli, 2016, doi:10.3150/14-BEJ694). Above 5,000 scores it is continued by 1 / log²
    n, which falls faster and is thus too small: by 6 % for 20,000 scores.
    """
    if n > _MOST:
        return local_level(_MOST, alpha) * float(np.log(_MOST) / np.log(n)) ** 2
    # In logarithms the probability of a crossing is almost a power of the level.
    low, high = alpha / n, alpha
    level, slope = low**0.6 * high**0.4, 0.7
    last: tuple[float, float] | None = None
    for _ in range(60):
        found = _crossing(n, level)
        excess = float(np.log(found / alpha))
        if excess > 0:
            high = level
        else:
            low = level
            if excess > -1e-3:
                break
        if last is not None and level != last[0]:
            slope = max((excess - last[1]) / np.log(level / last[0]), 0.1)
        last = level, excess
        # Slightly below the root, as the level must not be too high.
        level = float(level * np.exp((-5e-4 - excess) / slope))
        if not low < level < high:
            level = float(np.sqrt(low * high))
    return low


def _crossing(n: int, level: float) -> float:
    """Return the probability that an order statistic is above its quantile of 1 - level."""
    i = np.arange(1.0, n + 1)
    above = np.asarray(special.betaincinv(n - i + 1, i, level))
    below = np.asarray(special.betainccinv(i, n - i + 1, level))
    log_factorials = np.asarray(special.gammaln(np.arange(n + 2) + 1.0))
    with np.errstate(divide="ignore"):
        log_above, log_below = np.log(above), np.log(below)
    first = np.empty(n)
    for k in range(n):
        rest = n - k  # numbers that are not below b_{k + 1} in a first crossing there
        own = log_factorials[n] - log_factorials[k] - log_factorials[rest]
        total = np.exp(own + k * log_below[k] + rest * log_above[k])
        if k:
            between: Array = above[:k] - above[k]
            steps = np.arange(k, 0, -1)
            logs = (
                log_factorials[n - np.arange(k)] - log_factorials[steps] - log_factorials[rest]
                + steps * (np.log(between) - log_above[:k])
                + rest * (log_above[k] - log_above[:k])
            )  # fmt: skip
            total -= first[:k] @ np.exp(logs)
        first[k] = max(total, 0.0)
    return float(first.sum())
