"""Padding of batches to few sizes, for functions that are compiled for each size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["padded"]

#: Larger batches are cut into parts of this size.
_MOST = 4096


def padded(f: Callable[[Any], Any]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return a batched function that calls `f` with 1, 2, 4, 8, ... or 4096 rows.

    Missing rows are copies of the last row. The value of `f`, an array (n, ...), is cut to the
    given rows and converted to float64.
    """

    def call(x: NDArray[np.float64]) -> NDArray[np.float64]:
        parts = [_padded(f, x[i : i + _MOST]) for i in range(0, len(x), _MOST)]
        if not parts:
            return _padded(f, np.zeros((1, *x.shape[1:])))[:0]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    return call


def _padded(f: Callable[[Any], Any], x: NDArray[np.float64]) -> NDArray[np.float64]:
    n = len(x)
    missing = (1 << (n - 1).bit_length()) - n
    if missing:
        x = np.concatenate([x, np.repeat(x[-1:], missing, axis=0)])
    return np.array(f(x), dtype=np.float64)[:n]
