"""What a native function gets as its last argument: an address, and what keeps it valid."""

from __future__ import annotations

import ctypes
import sys
from _ctypes import CFuncPtr
from typing import Any

import numpy as np

from fermiac.errors import ArgumentError

__all__ = ["user_data_of"]

_POINTERS = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_wchar_p, ctypes._Pointer, CFuncPtr)


def user_data_of(data: Any) -> tuple[int, Any]:
    """An address, and what must live as long as it is used."""
    if isinstance(data, int) and not isinstance(data, bool):
        if not 0 <= data <= sys.maxsize * 2 + 1:
            raise ArgumentError(f"user_data: {data} given, which is no address")
        return data, None
    if isinstance(data, _POINTERS):
        return ctypes.cast(data, ctypes.c_void_p).value or 0, data
    if isinstance(data, ctypes.Array | ctypes.Structure | ctypes.Union):
        return ctypes.addressof(data), data
    if type(data).__module__ == "_cffi_backend" and "CData" in type(data).__name__:
        return _of_cffi(data), data
    if isinstance(data, np.integer):
        # It is a buffer of eight bytes as well, and which of both is meant cannot be told.
        raise ArgumentError(
            f"user_data: {type(data).__name__} given; int(value) is an address, "
            "numpy.array([value]) a buffer"
        )
    if isinstance(data, np.ndarray):
        if data.dtype.hasobject or not data.flags.c_contiguous:
            raise ArgumentError(
                f"user_data: an array of shape {data.shape}, strides {data.strides} and type "
                f"{data.dtype} given; numbers in C order are needed: numpy.ascontiguousarray(a)"
            )
        return data.ctypes.data, data
    try:
        view = np.frombuffer(data, dtype=np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise ArgumentError(
            f"user_data: {type(data).__name__} given; an address (int), a ctypes or cffi pointer, "
            "or a buffer is needed"
        ) from error
    return view.ctypes.data, view


def _of_cffi(data: Any) -> int:
    import _cffi_backend

    ffi = _cffi_backend.FFI()
    kind = ffi.typeof(data)
    if kind.kind in ("struct", "union"):
        data = ffi.addressof(data)
    elif kind.kind not in ("pointer", "array", "function"):
        raise ArgumentError(
            f"user_data: cffi data of type '{kind.cname}' given; a pointer, an array or a "
            "structure is needed"
        )
    return int(ffi.cast("uintptr_t", data))
