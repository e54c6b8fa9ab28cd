"""Equality of results to the last bit, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

import fermiac as fm


def same(a: Any, b: Any) -> bool:
    """Equal in type and to the last bit, with NaN equal to itself."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray | np.generic):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, fm.Result):
        return same(vars(a), vars(b))
    if type(a).__module__ == "fermiac._core":
        return True  # made from fields that are compared
    return repr(a) == repr(b)
