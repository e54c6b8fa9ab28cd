"""Tiny p-values of sign flips, by a tilted Fourier series.

Under a tilt θ with Σ d tanh(θ d) = t the observed sum t is the mean of the sum S of random signs,
and P(S >= t) = exp(K(θ) - θ t) E[exp(-θ (S - t)); S >= t] with K(θ) = Σ ln cosh(θ d). The
expectation is of the order of one over the tilted standard deviation, so that the series keeps its relative
accuracy.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["log_upper_tail"]

Array = NDArray[np.float64]
#: Terms of the series at most, the width of the circle in tilted standard deviations, and the
#: size of a characteristic function that no longer counts.
_TERMS, _WIDTH, _NOTHING = 4096, 24.0, 1e-18
#: Terms of a block.
_BLOCK = 64


def log_upper_tail(d: Array, t: float) -> float | None:
    """Return ln P(Σ ±d >= t) for t from 0 up, None where the series does not converge.

    The sum must have a smooth law: near the largest sum, where few outcomes make the tail, they are
    for counting, and so are sums on a coarse lattice.
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
    # The tilted sum must be far from its largest value, in its own standard deviations.
    if variance <= 0 or ((d.sum() - t) < 6 * math.sqrt(variance) and variance < 25 * d.max() ** 2):
        return None
    sd = math.sqrt(variance)
    width = _WIDTH * sd
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
    for first in range(1, _TERMS + 1, _BLOCK):
        w = np.arange(first, first + _BLOCK, dtype=np.float64) * (2 * math.pi / width)
        angles = np.outer(w, d)
        cos, sin = np.cos(angles), np.sin(angles)
        # ln of the product of cos + i tanh sin, and its phase.
        size = 0.5 * np.log(np.maximum(cos**2 + (tanh * sin) ** 2, 1e-300)).sum(1)
        phase = np.arctan2(tanh * sin, cos).sum(1) - w * t
        value = np.exp(size) * np.exp(1j * phase)
        total += 2 * float((value * factor(w)).real.sum())
        if size.max() < math.log(_NOTHING):
            return math.log(total) if total > 0 else None
    return None
