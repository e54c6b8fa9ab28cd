"""Fingerprints of targets and settings, which identify the calls of a store.

A fingerprint covers the code of Python functions, their closures and the module data that they use,
and the fields of objects with the code of their classes. It does not cover compiled code, the code
of other libraries, lists and dictionaries of a module, or files that a function reads.
"""

from __future__ import annotations

import dis
import io
import pickle
from collections.abc import Iterator
from functools import cached_property
from hashlib import blake2b
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np

__all__ = ["fingerprint"]

#: Types of module variables that count: data that is not modified in place.
_DATA = (bool, int, float, complex, str, bytes, np.ndarray, np.generic)
#: Methods by which a class defines its own pickling.
_PICKLING = ("__reduce_ex__", "__reduce__", "__getstate__")
#: Methods whose assignments define an object; fields that other methods assign are ignored.
_MAKERS = ("__init__", "__post_init__", "__setstate__", "__new__")


def fingerprint(*values: Any) -> str:
    """Return a digest of values; those that cannot be pickled count by the name of their type."""
    digest = blake2b(digest_size=16)
    for value in values:
        sink = _Sink()
        try:
            _Pickler(sink).dump(_in_order(value))
        except Exception:  # pickling of foreign objects can raise any exception
            sink = _Sink()
            kind = type(value)
            sink.write(f"{kind.__module__}.{kind.__qualname__}".encode())
        digest.update(sink.digest())
    return digest.hexdigest()


class _Sink(io.RawIOBase):
    """A file that keeps only a digest of the written data."""

    def __init__(self) -> None:
        super().__init__()
        self._digest = blake2b(digest_size=16)

    def writable(self) -> bool:
        """Return True: bytes can be written to it."""
        return True

    def write(self, data: Any) -> int:
        """Add bytes to the digest, and return their number."""
        view = memoryview(data)
        self._digest.update(view)
        return view.nbytes

    def digest(self) -> bytes:
        """Return the digest so far."""
        return self._digest.digest()


class _Described:
    """A placeholder for functions and objects in the digested data; it is never unpickled."""


class _Pickler(pickle.Pickler):
    """Pickles functions and plain objects by content instead of by name."""

    def __init__(self, file: Any) -> None:
        super().__init__(file, 5)
        # Without the memo of the pickler, equal values give equal bytes.
        self.fast = True
        self._seen: set[int] = set()

    def reducer_override(self, obj: Any) -> Any:
        """Return what an object is pickled as, or NotImplemented for the usual way."""
        if isinstance(obj, MethodType):
            return _Described, (obj.__func__, obj.__self__)
        if isinstance(obj, FunctionType):
            if id(obj) in self._seen:
                return _Described, (obj.__qualname__,)
            self._seen.add(id(obj))
            return _Described, tuple(_of_function(obj))
        if isinstance(obj, type) or not _is_plain(obj):
            return NotImplemented
        kind = type(obj)
        if id(obj) in self._seen:
            return _Described, (kind.__qualname__,)
        self._seen.add(id(obj))
        methods = [
            (name, f)
            for base in kind.__mro__
            for name, f in vars(base).items()
            if isinstance(f, FunctionType) and base.__module__.partition(".")[0] != "fermiac"
        ]
        changed = {
            name
            for maker, f in methods
            if maker not in _MAKERS
            for name in _names(f.__code__, "STORE_ATTR")
        }
        changed |= {
            name
            for base in kind.__mro__
            for name, value in vars(base).items()
            if isinstance(value, cached_property)
        }
        fields = {k: _in_order(v) for k, v in sorted(vars(obj).items()) if k not in changed}
        codes = [(name, tuple(_of_code(f.__code__))) for name, f in methods]
        return _Described, (kind.__qualname__, codes, fields)


def _in_order(value: Any) -> Any:
    """Return a set as a sorted list, which is the same in every process."""
    return sorted(map(repr, value)) if isinstance(value, set | frozenset) else value


def _is_plain(obj: Any) -> bool:
    """Whether an object is of a Python class without its own pickling, so its fields define it."""
    kind = type(obj)
    return (
        hasattr(obj, "__dict__")
        and all(getattr(kind, name) is getattr(object, name) for name in _PICKLING)
        and not isinstance(obj, BaseException | dict | list | set | tuple)
        and bool(kind.__flags__ & (1 << 9))  # created by a class statement
    )


def _of_function(f: FunctionType) -> Iterator[Any]:
    yield f.__qualname__
    yield tuple(_of_code(f.__code__))
    yield f.__defaults__
    yield f.__kwdefaults__
    for cell in f.__closure__ or ():
        try:
            value = cell.cell_contents
        except ValueError:  # an empty cell
            continue
        if not isinstance(value, list | dict | set):  # counters and logs
            yield value
    changed = set(_names(f.__code__, "STORE_GLOBAL"))
    for name in sorted(set(_names(f.__code__, "LOAD_GLOBAL")) - changed):
        value = f.__globals__.get(name)
        if isinstance(value, FunctionType) and value.__module__ != f.__module__:
            yield name, value.__module__, value.__qualname__
        elif isinstance(value, (*_DATA, FunctionType)):
            yield name, value


def _of_code(code: CodeType) -> Iterator[Any]:
    """Yield the content of a code object, without file names and line numbers."""
    yield code.co_code
    yield code.co_names
    yield code.co_varnames
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield tuple(_of_code(constant))
        elif isinstance(constant, frozenset):
            yield _in_order(constant)
        else:
            yield repr(constant)


def _names(code: CodeType, operation: str) -> Iterator[str]:
    """Yield the names of an operation in a code object and in the functions inside it."""
    for step in dis.get_instructions(code):
        if step.opname == operation:
            yield step.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant, operation)
