"""Bias-corrected and accelerated (BCa) limits from replicates, as Efron (1987) has them.

Ties with the estimate count half. There are no such limits without a finite correction, or if no
left-out observation changes the statistic; callers then give a warning.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Level", "ends", "level", "quantile", "share_below"]

Array = NDArray[np.float64]
#: The share of the range of the replicates below which a difference is rounding.
_SAME = 1e-12


class Level(NamedTuple):
    """The level of a limit among the replicates, and its components."""

    p: float
    #: z0 + z, and 1 - a (z0 + z).
    w: float
    bend: float


def quantile(ordered: Array, p: float) -> float:
    """Return the value at place p (B + 1) of B sorted values, by linear interpolation."""
    place = min(max(p * (ordered.size + 1) - 1, 0.0), ordered.size - 1.0)
    k = int(place)
    low, high = float(ordered[k]), float(ordered[min(k + 1, ordered.size - 1)])
    share = place - k
    if share == 0 or low == high:
        return low
    return low + share * (high - low)


def share_below(ordered: Array, estimate: float) -> float:
    """Return the share of the replicates below the estimate, with half of those equal to it.

    Values that differ by rounding are equal, so that the unit of the data does not matter.
    """
    near = _SAME * float(ordered[-1] - ordered[0])
    below = np.searchsorted(ordered, estimate - near)
    return 0.5 * float(below + np.searchsorted(ordered, estimate + near, "right")) / ordered.size


def level(z0: float, acceleration: float, z: float) -> Level:
    """Return the level of the limit whose normal quantile is `z`."""
    from scipy.special import ndtr

    w = z0 + z
    bend = 1 - acceleration * w
    # Beyond the pole the correction is undefined; the extreme replicate is used.
    return Level(float(ndtr(z0 + w / bend)) if bend > 0 else float(w > 0), w, bend)


def ends(
    ordered: Array, estimate: float, acceleration: float, tail: float
) -> tuple[float, float, float, bool]:
    """Return both limits, z0, and whether the limits are BCa (True) or percentiles (False)."""
    from scipy.special import ndtri

    z0 = float(ndtri(share_below(ordered, estimate)))
    z = float(ndtri(tail))
    known = math.isfinite(z0) and math.isfinite(acceleration)
    low, high = tail, 1 - tail
    if known:
        low, high = (level(z0, acceleration, side).p for side in (z, -z))
    return quantile(ordered, low), quantile(ordered, high), z0, known
