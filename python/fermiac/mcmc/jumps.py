"""Jumps of a log-density, found by energy errors that do not fall with the step size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fermiac.random import Stream
from fermiac.targets.density import LogDensity

__all__ = ["N_EVALS", "N_STARTS", "share_with_jumps"]

Array = NDArray[np.float64]

#: Trajectories, their length in standard deviations, and the numbers of steps of the two runs.
N_STARTS, _LENGTH, _STEPS = 16, 2.0, (128, 512)
#: An energy error above `_LEAST` that falls by less than a factor `_FALL`, where that of a smooth
#: density falls by 16, shows a jump. Errors above `_UNSTABLE` come from steps that are too long.
_LEAST, _FALL, _UNSTABLE = 0.1, 1.5, 1e3
#: The gradient evaluations of `share_with_jumps`.
N_EVALS = N_STARTS * (sum(_STEPS) + len(_STEPS))


def share_with_jumps(target: LogDensity, draws: Array, key: int) -> float:
    """Return the share of trajectories that meet a jump of the log-density.

    Each trajectory is integrated twice, by leapfrog steps of which the second are four times
    shorter. The energy error of a smooth log-density then falls by a factor of 16; at a jump the
    energy changes by the height of the jump, however short the steps are.

    Parameters
    ----------
    target : LogDensity
        A log-density with a gradient.
    draws : ndarray
        Draws (n, d), from which the starts and the scales of the coordinates are taken.
    key : int
        The key of the momenta.
    """
    starts = draws[np.linspace(0, len(draws) - 1, N_STARTS, dtype=np.int64)]
    scale = draws.std(axis=0)
    momenta = Stream(key).normal(starts.shape)
    coarse, fine = (_energy_error(target, starts, momenta, scale, n) for n in _STEPS)
    with np.errstate(invalid="ignore"):
        jumps = (fine > _LEAST) & (fine < _UNSTABLE) & (coarse < _FALL * fine)
        jumps &= fine < _FALL * coarse
    return float(jumps.mean())


def _energy_error(target: LogDensity, x: Array, p: Array, scale: Array, n: int) -> Array:
    """Return the largest change of the energy along each trajectory of n steps."""
    step = _LENGTH / n
    with np.errstate(all="ignore"):
        value, gradient = _evaluated(target, x)
        start = 0.5 * (p * p).sum(axis=1) - value
        worst = np.zeros(len(x))
        for _ in range(n):
            p = p + 0.5 * step * scale * gradient
            x = x + step * scale * p
            value, gradient = _evaluated(target, x)
            p = p + 0.5 * step * scale * gradient
            error = np.abs(0.5 * (p * p).sum(axis=1) - value - start)
            worst = np.where(np.isnan(error), np.inf, np.maximum(worst, error))
    return worst


def _evaluated(target: LogDensity, x: Array) -> tuple[Array, Array]:
    """Return values and gradients; a trajectory ends, with an infinite error, where they fail."""
    values, gradients = target._tolerantly(x, True)
    assert gradients is not None
    return values, gradients
