"""Known bounds of the coordinates of a sample, which are stored in its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base import layout as fit

__all__ = ["bounds_of", "bounds_setting", "common_bounds", "with_bounds"]

#: The name of the setting.
_NAME = "bounds"
#: The other settings that methods of samples read.
_NUMBERS = {"n_warmup": fit.whole(0), "seeds": fit.listed(fit.maybe(fit.whole()))}


def bounds_setting(
    support: Sequence[tuple[float, float]] | NDArray[np.float64],
) -> dict[str, Any]:
    """Return the setting for these bounds, by coordinate; none if all are infinite."""
    # Text in JSON has no infinities.
    pairs = [[float(end) if np.isfinite(end) else None for end in ends] for ends in support]
    return {_NAME: pairs} if any(end is not None for ends in pairs for end in ends) else {}


def with_bounds(value: Any, sizes: fit.Sizes) -> None:
    """Accept the settings of a saved sample, if the bounds among them are pairs of numbers.

    The other settings that methods calculate with must be numbers, too.
    """
    fit.record({}, _NUMBERS)(value, sizes)
    pairs = value.get(_NAME, [])
    fit.listed(fit.listed(fit.maybe(fit.real)))(pairs, sizes)
    if any(len(ends) != 2 for ends in pairs):
        raise fit.Misfit("bounds that are no pairs")


def bounds_of(settings: Mapping[str, Any], dim: int) -> NDArray[np.float64]:
    """Return the bounds, shape (d, 2), infinite where none is known."""
    unknown = np.tile([-np.inf, np.inf], (dim, 1))
    pairs = np.asarray(settings.get(_NAME, unknown), dtype=np.float64)
    return np.where(np.isnan(pairs), unknown, pairs) if pairs.shape == (dim, 2) else unknown


def common_bounds(all_settings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the settings of the first sample, without bounds that another one does not have."""
    first = dict(all_settings[0])
    if any(other.get(_NAME) != first.get(_NAME) for other in all_settings):
        first.pop(_NAME, None)
    return first
