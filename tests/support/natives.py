"""Native functions that the tests of native targets share: the sum of the coordinates."""

from __future__ import annotations

import ctypes
from _ctypes import CFuncPtr
from typing import Any

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

Array = NDArray[np.float64]
NUMBERS = types.CPointer(types.double)
BATCH = types.intc(NUMBERS, types.intp, types.intp, NUMBERS, types.voidptr)
BATCH_K = types.intc(NUMBERS, types.intp, types.intp, types.intp, NUMBERS, types.voidptr)
SCALAR = types.double(NUMBERS, types.intp, types.voidptr)
C_NUMBERS, C_SIZE = ctypes.POINTER(ctypes.c_double), ctypes.c_ssize_t
C_BATCH = ctypes.CFUNCTYPE(ctypes.c_int, C_NUMBERS, C_SIZE, C_SIZE, C_NUMBERS, ctypes.c_void_p)
C_SCALAR = ctypes.CFUNCTYPE(ctypes.c_double, C_NUMBERS, C_SIZE, ctypes.c_void_p)


class Untyped(CFuncPtr):
    """A function of a C library whose types nobody has said."""

    _flags_ = 1  # FUNCFLAG_CDECL
    _restype_ = ctypes.c_int


@numba.cfunc(BATCH)
def total(x: Any, n: Any, d: Any, out: Any, user: Any) -> int:
    """The sum of the coordinates."""
    for i in range(n):
        out[i] = 0.0
        for j in range(d):
            out[i] += x[i * d + j]
    return 0


def total_of_row(x: Any, d: Any, user: Any) -> float:
    y = 0.0
    for j in range(d):
        y += x[j]
    return y


def total_in_python(x: Any, n: int, d: int, out: Any, user: Any) -> int:
    for i in range(n):
        out[i] = total_of_row(x[i * d : (i + 1) * d], d, user)
    return 0


def totals(x: Array) -> Array:
    """The same, in the same order."""
    return np.add.accumulate(x, axis=1)[:, -1]
