"""What trainings weigh: the levels of noise, how often each comes, and what its error counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.validate import choice, numbers
from fermiac.errors import ArgumentError
from fermiac.special import ndtr, ndtri

__all__ = ["Weight", "law_of", "range_of", "weight_of"]

Array = NDArray[np.float64]
Weight: TypeAlias = "str | Callable[[Array], ArrayLike]"
#: Of the law of levels where nothing is said: mean of log s beside that of the data's scale, sd.
_SHIFT, _SPREAD = -0.5, 1.2


def range_of(points: Array, scale: float) -> tuple[float, float]:
    """Return the range of noise levels for data points of this scale."""
    return 0.01 * scale, max(20 * scale, 2 * float(np.linalg.norm(points, axis=1).max()))


def law_of(
    given: str | tuple[float, float], ends: tuple[float, float], c: float
) -> Callable[[Array], Array]:
    """The map from uniform numbers to levels."""
    low, high = np.log(ends)
    if isinstance(given, str):
        if choice("sigma_law", given, ("log-normal", "log-uniform")) == "log-uniform":
            return lambda u: np.exp(low + u * (high - low))
        mean, sd = np.log(c) + _SHIFT, _SPREAD
    else:
        values = numbers("sigma_law", given)
        if values.shape != (2,) or not np.isfinite(values).all() or values[1] <= 0:
            raise ArgumentError(
                f"sigma_law: {given!r:.60} was given; 'log-normal', 'log-uniform', or a mean and a "
                "positive standard deviation of log s is needed"
            )
        mean, sd = values
    below, above = ndtr((low - mean) / sd), ndtr((high - mean) / sd)
    if not above - below > 1e-6:
        raise ArgumentError(
            f"sigma_law: mean {mean:.3g} and standard deviation {sd:.3g} of log s lie outside of "
            f"the levels from {ends[0]:.3g} to {ends[1]:.3g}"
        )
    return lambda u: np.clip(np.exp(mean + sd * ndtri(below + u * (above - below))), *ends)


def weight_of(given: Weight, c: float) -> Callable[[Array], Array]:
    """Return the weight of the error at each noise level."""
    if callable(given):

        def own(s: Array) -> Array:
            values = numbers("weight", given(s))
            if values.shape != s.shape or not ((values >= 0) & np.isfinite(values)).all():
                raise ArgumentError(
                    f"weight: the function gave shape {values.shape}; a finite number, not "
                    f"negative, for each of {len(s)} levels is needed"
                )
            return values

        return own
    known: dict[str, Callable[[Array], Array]] = {
        "edm": lambda s: (s**2 + c**2) / (s * c) ** 2,
        "eps": lambda s: s**-2,
        "data": np.ones_like,
    }
    return known[choice("weight", given, tuple(known))]
