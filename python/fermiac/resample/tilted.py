"""Tiny p-values of sign flips, by a tilted Fourier series.

Let S be the sum of d with random signs. Under a tilt θ with Σ d tanh(θ d) = t the observed sum t is
the mean of S, and P(S >= t) = exp(K(θ) - θ t) E[exp(-θ (S - t)); S >= t] with K(θ) = Σ ln cosh(θ
d). The expectation is of the order of the inverse of the tilted standard deviation, so the series
has a small relative error.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["log_upper_tail"]

Array = NDArray[np.float64]
#: The largest number of terms of the series, and the width of the circle in tilted sds.
_TERMS, _WIDTH = 4096, 24.0
#: The share of the sum that no longer counts, and the blocks below it that end the series.
_NOTHING, _QUIET = 1e-6, 2
#: Terms of a block.
_BLOCK = 64


def log_upper_tail(d: Array, t: float) -> float | None:
    """Return ln P(Σ ±d >= t) for t >= 0, None if the series does not converge.

    The sum must have a smooth law. Near the largest sum, where the tail has few outcomes, and for
    sums on a coarse lattice, outcomes must be counted instead.
    """
    d = np.abs(d[d != 0])
    if t >= d.sum():
        return None
    theta = _tilt(d, t)
    if theta is None:
        return None
    x = theta * d
    tilted = d * np.tanh(x)
    variance = float(((d - tilted) * (d + tilted)).sum())
    if variance <= 0:
        return None
    width = _WIDTH * math.sqrt(variance)
    ln_cosh = np.abs(x) + np.log1p(np.exp(-2 * np.abs(x))) - math.log(2)
    scale = float(ln_cosh.sum()) - theta * t
    found = _log_expectation(d, np.tanh(x), theta, t, width)
    return None if found is None else scale + found


def _tilt(d: Array, t: float) -> float | None:
    """Return θ with Σ d tanh(θ d) = t, by Newton's method within a bracket."""
    low, high = 0.0, 1.0 / float(d.max())
    while float((d * np.tanh(high * d)).sum()) < t:
        low, high = high, 2 * high
        if high * float(d.min()) > 350:
            return None
    if t == 0:
        return 0.0
    theta = 0.5 * (low + high)
    for _ in range(100):
        th = np.tanh(theta * d)
        excess = float((d * th).sum()) - t
        if excess > 0:
            high = theta
        else:
            low = theta
        slope = float((d * d * (1 - th * th)).sum())
        step = theta - excess / slope if slope > 0 else math.nan
        new = step if low < step < high else 0.5 * (low + high)
        if abs(new - theta) <= 1e-15 * theta:
            break
        theta = new
    return theta


def _log_expectation(d: Array, tanh: Array, theta: float, t: float, width: float) -> float | None:
    """Return ln E[exp(-θ Y); Y >= 0] for Y = S - t under the tilt, on a circle of this width.

    exp(-θ y) on [0, width/2) has the Fourier coefficients (1 - exp(-(θ + iw) width/2)) / (θ + iw) /
    width; the law of Y has the coefficients of its characteristic function.
    """
    half = 0.5 * width

    def factor(w: Array) -> NDArray[np.complex128]:
        rate = theta + 1j * w
        return np.asarray((1 - np.exp(-rate * half)) / rate / width)

    total = -math.expm1(-theta * half) / theta / width if theta > 0 else 0.5
    quiet = 0
    for first in range(1, _TERMS + 1, _BLOCK):
        w = np.arange(first, first + _BLOCK, dtype=np.float64) * (2 * math.pi / width)
        angles = np.outer(w, d)
        cos, sin = np.cos(angles), np.sin(angles)
        # ln of the product of cos + i tanh sin, and its phase.
        size = 0.5 * np.log(np.maximum(cos**2 + (tanh * sin) ** 2, 1e-300)).sum(1)
        phase = np.arctan2(tanh * sin, cos).sum(1) - w * t
        value = np.exp(size) * np.exp(1j * phase)
        terms = 2 * (value * factor(w)).real
        total += float(terms.sum())
        # The remaining terms are as small as this block, with alternating signs.
        quiet = quiet + 1 if float(np.abs(terms).sum()) < _NOTHING * abs(total) else 0
        if quiet == _QUIET:
            return math.log(total) if total > 0 else None
    return None
