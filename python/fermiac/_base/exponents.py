"""Units of data: powers of two that bring numbers to an ordinary size, and results back.

Squares of numbers near the ends of the range of doubles overflow or vanish. Multiplication by a
power of two is exact, so a statistic is computed in a unit of the data's own size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import NumericalError

__all__ = ["exponents", "is_ordinary", "restored", "scaled"]

Array = NDArray[np.float64]
#: Exponents are multiples of this. Data within 2**±50 are used as they are, which keeps their whole
#: numbers and decimals, and eighth powers of all scaled data are within the range of doubles.
_STEP = 100


def exponents(x: Array, axis: int | tuple[int, ...] | None = None) -> Any:
    """Return e, for which x / 2**e is of ordinary size: 0 for most data.

    It is an int, or with an axis an array of the other axes.
    """
    if axis is None:
        # The sum of squares shows in one pass that the largest is between 2**-49 and 2**50.
        if 2.0**-98 * x.size <= np.vdot(x, x) < 2.0**100:
            return 0
        large = max(float(x.max()), -float(x.min()))
        return _STEP * round(math.frexp(large)[1] / _STEP) if math.isfinite(large) else 0
    sizes = np.asarray(np.maximum(x.max(axis), -x.min(axis)))
    found = np.frexp(np.where(np.isfinite(sizes), sizes, 0.0))[1]
    return _STEP * np.rint(found / _STEP).astype(np.int64)


def is_ordinary(e: Any) -> bool:
    """Return whether all exponents are 0."""
    return not e if isinstance(e, int) else not np.asarray(e).any()


def scaled(x: Array, e: Any) -> Array:
    """Return x / 2**e; `x` itself if all exponents are 0."""
    return x if is_ordinary(e) else np.ldexp(x, np.negative(e))


def restored(statistic: str, fields: Mapping[str, Any], e: Any) -> dict[str, Any]:
    """Return the fields of a result times 2**e, the unit of the user's data.

    A field that is out of the range of doubles is an error, as is a standard error that vanishes.
    """
    if is_ordinary(e):
        return dict(fields)
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if value is None:
            found[name] = None
            continue
        with np.errstate(over="ignore", under="ignore"):
            own = np.ldexp(np.asarray(value, np.float64), e)
        large = np.isinf(own) & np.isfinite(value)
        if large.any() or (name == "stderr" and ((own == 0) & (np.asarray(value) != 0)).any()):
            raise NumericalError(
                f"{statistic}: its {name} is too {'large' if large.any() else 'small'} for a "
                "double in the unit of the data; give the data in another unit"
            )
        found[name] = own if own.ndim else float(own)
    return found
