"""Columns of Arrow streams, read through the C data interface; no library of Arrow is needed.

The structures and their meaning are those of https://arrow.apache.org/docs/format/CDataInterface.html
and https://arrow.apache.org/docs/format/CStreamInterface.html.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.validate import shown
from fermiac.errors import ArgumentError

__all__ = ["Stream", "is_stream"]

_Column = NDArray[Any]


class _Schema(ctypes.Structure):
    pass


class _Array(ctypes.Structure):
    pass


class _Stream(ctypes.Structure):
    pass


_Schema._fields_ = [
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_void_p),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.POINTER(ctypes.POINTER(_Schema))),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Schema))),
    ("private_data", ctypes.c_void_p),
]
_Array._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_Array))),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Array))),
    ("private_data", ctypes.c_void_p),
]
_Stream._fields_ = [
    (
        "get_schema",
        ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Stream), ctypes.POINTER(_Schema)),
    ),
    ("get_next", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Stream), ctypes.POINTER(_Array))),
    ("get_last_error", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_Stream))),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Stream))),
    ("private_data", ctypes.c_void_p),
]

#: NumPy's types of the formats of fixed width.
_NUMBERS = {
    "c": "i1", "C": "u1", "s": "<i2", "S": "<u2", "i": "<i4", "I": "<u4", "l": "<i8", "L": "<u8",
    "e": "<f2", "f": "<f4", "g": "<f8",
}  # fmt: skip
#: Formats of text: with offsets of 32 or 64 bits, and as views.
_TEXTS = ("u", "U", "vu")
#: A view of a text has 16 bytes; up to 12 of them are the text itself.
_VIEW, _INLINE = 16, 12


def is_stream(obj: Any) -> bool:
    """Return whether an object gives an Arrow stream."""
    return callable(getattr(type(obj), "__arrow_c_stream__", None))


class Stream:
    """The record batches of an Arrow stream.

    Parameters
    ----------
    source : object
        An object with ``__arrow_c_stream__``, which is used once.
    """

    def __init__(self, source: Any) -> None:
        # The capsule releases the stream once it is not needed any more.
        self._capsule = source.__arrow_c_stream__()
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        address = pointer(self._capsule, b"arrow_array_stream")
        self._stream = ctypes.cast(address, ctypes.POINTER(_Stream))
        schema = _Schema()
        self._call(self._stream.contents.get_schema, schema)
        try:
            if schema.format != b"+s":
                raise ArgumentError(
                    "source: its stream has one column without a name; record batches are needed"
                )
            children = [schema.children[i].contents for i in range(schema.n_children)]
            self._formats = {
                (child.name or b"").decode(): (
                    i, "dictionary" if child.dictionary else (child.format or b"").decode()
                )
                for i, child in enumerate(children)
            }  # fmt: skip
        finally:
            if schema.release:
                schema.release(ctypes.byref(schema))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self._formats)

    def require(self, names: Sequence[str], numbers: bool) -> None:
        """Raise an error unless there are such columns, of numbers or of numbers and texts."""
        for name in names:
            if name not in self._formats:
                raise ArgumentError(
                    f"source: it has no column {shown(name)}, only {shown(list(self.names))}"
                )
            form = self._formats[name][1]
            known = form in _NUMBERS or (not numbers and (form == "b" or form in _TEXTS))
            if not known:
                kinds = "numbers" if numbers else "numbers, truth values and texts"
                raise ArgumentError(
                    f"source: the column {name!r} has the Arrow type {form!r}; {kinds} are "
                    "supported: convert it first"
                )

    def batches(self, names: Sequence[str], rows: int) -> Iterator[dict[str, _Column]]:
        """Yield copies of columns, at most `rows` rows at once."""
        before = 0
        while True:
            array = _Array()
            self._call(self._stream.contents.get_next, array)
            if not array.release:
                return
            with _released(array):
                for start in range(0, array.length, rows):
                    stop = min(start + rows, array.length)
                    yield {name: self._column(array, name, start, stop, before) for name in names}
                before += array.length

    def _column(self, array: _Array, name: str, start: int, stop: int, before: int) -> _Column:
        at, form = self._formats[name]
        child = array.children[at].contents
        first, n = child.offset + array.offset + start, stop - start
        if child.null_count and child.n_buffers and child.buffers[0]:
            valid = _bits(child.buffers[0], first, n)
            if not valid.all():
                row = before + start + int(np.argmin(valid))
                raise ArgumentError(
                    f"source: the column {name!r} has no value in row {row}; remove such rows "
                    "first, or fill them"
                )
        if form == "b":
            return _bits(child.buffers[1], first, n)
        if form in _NUMBERS:
            return _numbers(child.buffers[1], _NUMBERS[form], first, n)
        return _texts(child, form, first, n)

    def _call(self, function: Any, out: ctypes.Structure) -> None:
        if function(self._stream, ctypes.byref(out)) != 0:
            why = self._stream.contents.get_last_error(self._stream)
            text = ctypes.string_at(why).decode(errors="replace") if why else "no reason given"
            raise ArgumentError(f"source: its stream failed: {text}")


@contextmanager
def _released(array: _Array) -> Iterator[None]:
    try:
        yield
    finally:
        array.release(ctypes.byref(array))


def _numbers(address: int | None, dtype: str, first: int, n: int) -> _Column:
    kind = np.dtype(dtype)
    if not address or not n:
        return np.empty(0, kind)
    raw = ctypes.string_at(address + first * kind.itemsize, n * kind.itemsize)
    return np.frombuffer(bytearray(raw), kind)


def _bits(address: int | None, first: int, n: int) -> _Column:
    low = first // 8
    packed = _numbers(address, "u1", low, (first + n + 7) // 8 - low)
    return np.unpackbits(packed, bitorder="little")[first - 8 * low :][:n].astype(bool)


def _texts(child: _Array, form: str, first: int, n: int) -> _Column:
    out = np.empty(n, dtype=object)
    if form != "vu":
        ends = _numbers(child.buffers[1], "<i4" if form == "u" else "<i8", first, n + 1)
        for i in range(n):
            size = int(ends[i + 1] - ends[i])
            out[i] = (
                ctypes.string_at(child.buffers[2] + int(ends[i]), size).decode() if size else ""
            )
        return out
    views = _numbers(child.buffers[1], "u1", _VIEW * first, _VIEW * n).reshape(n, _VIEW)
    words = views.view("<i4")
    for i in range(n):
        size = int(words[i, 0])
        if size <= _INLINE:
            out[i] = views[i, 4 : 4 + size].tobytes().decode()
        else:
            start = child.buffers[2 + int(words[i, 2])] + int(words[i, 3])
            out[i] = ctypes.string_at(start, size).decode()
    return out
