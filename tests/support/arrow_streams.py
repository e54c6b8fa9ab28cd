"""A producer of Arrow streams by the C data interface, for tests without a library of Arrow."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from fermiac._base import arrow

#: What each capsule owns, by its address: a capsule in use keeps its table alive.
_OWNED: dict[int, Any] = {}


@ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
def _free(capsule: int) -> None:
    _OWNED.pop(capsule)


_FORMATS = {"int32": "i", "float64": "g", "uint8": "C", "int64": "l", "float32": "f", "bool": "b"}


class ArrowTable:
    """Columns as a stream of batches.

    `offset` rows lie before those of each batch. `null` is a column and a row without a value. A
    stream that `breaks` fails after its first batch.
    """

    def __init__(
        self,
        table: dict[str, Any],
        batch: int = 10**9,
        offset: int = 0,
        null: tuple[str, int] | None = None,
        breaks: bool = False,
        repeats: int = 1,
    ) -> None:
        n = len(next(iter(table.values())))
        self._spans = [(a, min(a + batch, n)) for a in range(0, n, batch)] * repeats
        self._table, self._offset, self._null, self._breaks = table, offset, null, breaks
        self._next = self.released = self.made = 0
        self._alive: dict[int, Any] = {}
        self._keep: list[Any] = []

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        stream = arrow._Stream()
        kinds = dict(arrow._Stream._fields_)
        stream.get_schema = kinds["get_schema"](self._schema)
        stream.get_next = kinds["get_next"](self._batch)
        why = ctypes.create_string_buffer(b"it broke")
        stream.get_last_error = kinds["get_last_error"](lambda _: ctypes.addressof(why))
        new = ctypes.pythonapi.PyCapsule_New
        new.restype = ctypes.py_object
        new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, type(_free)]
        capsule = new(ctypes.addressof(stream), name := b"arrow_array_stream", _free)
        _OWNED[id(capsule)] = (self, stream, why, name)
        return capsule

    def _schema(self, _: Any, out: Any) -> int:
        children = []
        for name, values in self._table.items():
            child = arrow._Schema()
            child.format = _FORMATS.get(str(values.dtype), "u").encode()
            child.name = name.encode()
            children.append(ctypes.pointer(child))
        array = (ctypes.POINTER(arrow._Schema) * len(children))(*children)
        self._keep += [children, array]
        out[0].format, out[0].n_children, out[0].children = b"+s", len(children), array
        return 0

    def _batch(self, _: Any, out: Any) -> int:
        if self._breaks and self._next:
            return 5
        out[0].release = type(out[0].release)()
        if self._next == len(self._spans):
            return 0
        a, b = self._spans[self._next]
        self._next += 1
        self.made += 1
        mark, kept = self.made, []
        children = []
        for name, values in self._table.items():
            child = arrow._Array()
            child.length, child.offset = b - a, self._offset
            buffers = self._buffers(values[a:b])
            valid = None
            if self._null is not None and self._null[0] == name and a <= self._null[1] < b:
                bits = np.ones(self._offset + b - a, dtype=bool)
                bits[self._offset + self._null[1] - a] = False
                valid = np.packbits(bits, bitorder="little")
            child.null_count = 0 if valid is None else 1
            arrays = [valid, *buffers]
            child.n_buffers = len(arrays)
            child.buffers = (ctypes.c_void_p * len(arrays))(
                *(None if x is None else x.ctypes.data for x in arrays)
            )
            kept += [arrays, child]
            children.append(ctypes.pointer(child))
        pointers = (ctypes.POINTER(arrow._Array) * len(children))(*children)

        def release(_: Any) -> None:
            self.released += 1
            # The callback is in use until it returns.
            self._alive = {mark: self._alive.get(mark)}

        out[0].length, out[0].n_children, out[0].children = b - a, len(children), pointers
        out[0].release = callback = dict(arrow._Array._fields_)["release"](release)
        self._alive[mark] = (kept, children, pointers, callback)
        return 0

    def _buffers(self, values: Any) -> list[Any]:
        pad = self._offset
        if values.dtype == bool:
            bits = np.concatenate([np.zeros(pad, dtype=bool), values])
            return [np.packbits(bits, bitorder="little")]
        if values.dtype != object:
            return [np.concatenate([np.zeros(pad, values.dtype), values])]
        texts = [text.encode() for text in values]
        ends = np.cumsum([0] * (pad + 1) + [len(text) for text in texts], dtype=np.int32)
        return [ends, np.frombuffer(b"".join(texts), np.uint8)]
