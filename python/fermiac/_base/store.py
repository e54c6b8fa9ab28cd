"""Files of results and checkpoints: tensors and JSON, without pickle."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base import registry
from fermiac.errors import ArgumentError, CheckpointError

__all__ = ["Tensors", "decode", "encode", "read", "register", "write"]

PathLike: TypeAlias = "str | os.PathLike[str]"
Tensors: TypeAlias = "dict[str, NDArray[Any]]"

#: Classes whose instances can be saved, by name.
_KINDS: dict[str, type] = {}
#: Result classes that were renamed: the name in old files and the present one.
_RENAMED = {"Nested": "NestedResult", "Optimum": "OptimizeResult", "Walk": "WalkResult"}
#: NumPy types that the file format has; others are saved as bytes, with their name in the text.
_NATIVE = {"<f8": "F64", "<i8": "I64", "<u8": "U64", "|u1": "U8"}
_DTYPES = {name: dtype for dtype, name in _NATIVE.items()}


def write(path: PathLike, kind: str, node: Any, tensors: Tensors) -> None:
    """Write JSON and tensors to a file, as a whole or not at all."""
    out = []
    for name, array in tensors.items():
        # ascontiguousarray would add a dimension to an array without any.
        values = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
        dtype = _NATIVE[values.dtype.str]
        out.append((name, dtype, list(values.shape), values.reshape(-1).view(np.uint8)))
    text = json.dumps(node, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    _core.store_write(os.fspath(path), kind, text, out)


def read(path: PathLike, kind: str) -> tuple[Any, Tensors]:
    """Return the JSON and the tensors of a file."""
    text, stored = _core.store_read(os.fspath(path), kind)
    tensors = {}
    for name, dtype, shape, data in stored:
        array = data.view(_DTYPES[dtype]).reshape(shape)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        tensors[name] = np.require(array, None, "A")
    try:
        return json.loads(text), tensors
    except ValueError as error:
        raise CheckpointError(f"{os.fspath(path)}: its text is not JSON ({error})") from error


def encode(value: Any, tensors: Tensors, where: str = "") -> Any:
    """Return the value as JSON, and add its arrays to `tensors` under their paths in the value.

    Types that JSON lacks become an object whose first key is a tag.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return _encode_array(value, tensors, where)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, complex):
        return {"complex": [encode(value.real, tensors), encode(value.imag, tensors)]}
    if isinstance(value, list | tuple):
        items = [encode(v, tensors, f"{where}[{i}]") for i, v in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, Mapping):
        pairs = [[encode(k, tensors), encode(v, tensors, f"{where}.{k}")] for k, v in value.items()]
        return {"mapping": pairs}
    kind = type(value)
    if _KINDS.get(_kind(kind)) is kind:
        content = {
            f.name: encode(getattr(value, f.name), tensors, f"{where}.{f.name}".lstrip("."))
            for f in fields(value)
            if f.init
        }
        return {"result": _kind(kind), "fields": content}
    raise ArgumentError(
        f"{where or 'value'}: a {type(value).__name__} cannot be saved; numbers, strings, arrays, "
        "lists, tuples, mappings and results can"
    )


def _encode_array(value: NDArray[Any] | np.generic, tensors: Tensors, where: str) -> Any:
    array = np.asarray(value)
    if array.dtype.kind not in "biufc" or array.dtype.itemsize > 16:
        raise ArgumentError(
            f"{where}: an array of type {array.dtype} cannot be saved; numbers of at most 16 bytes "
            "can"
        )
    dtype = array.dtype.newbyteorder("<").str
    array = np.asarray(array, dtype=dtype, order="C")
    name = where
    while name in tensors:  # two keys of a mapping may be written alike
        name += "'"
    if dtype == "<c16":
        tensors[name] = array.reshape(*array.shape, 1).view("<f8")
    elif dtype in _NATIVE:
        tensors[name] = array
    else:
        tensors[name] = array.reshape(*array.shape, 1).view(np.uint8)
    tag = "number" if isinstance(value, np.generic) else "array"
    return {tag: name, "dtype": dtype}


def decode(node: Any, tensors: Tensors, file: str) -> Any:
    """Return the value that was given to `encode`."""
    if isinstance(node, list):
        return [decode(v, tensors, file) for v in node]
    if not isinstance(node, dict):
        return node
    tag = next(iter(node), "")
    decoder = _DECODERS.get(tag)
    if decoder is None:
        raise CheckpointError(f"{file}: it holds a {tag!r}, which this version does not know")
    return decoder(node, tensors, file)


def _decode_array(node: dict[str, Any], tensors: Tensors, file: str) -> Any:
    dtype = np.dtype(node["dtype"])
    array = tensors[node["array"] if "array" in node else node["number"]]
    if dtype.str != array.dtype.newbyteorder("<").str:
        array = np.ascontiguousarray(array).view(dtype)[..., 0]
    array = array.astype(dtype.newbyteorder("="), copy=False)
    return array if "array" in node else array[()]


def _decode_result(node: dict[str, Any], tensors: Tensors, file: str) -> Any:
    kind = _known(node["result"])
    if kind is None:
        raise CheckpointError(
            f"{file}: it holds a {node['result']}, which this process does not know; import the "
            "module that defines it, or update fermiac"
        )
    content = {name: decode(v, tensors, file) for name, v in node["fields"].items()}
    known = {f.name: f for f in fields(kind) if f.init}
    unknown = sorted(content.keys() - known.keys())
    missing = sorted(
        name
        for name, f in known.items()
        if name not in content and f.default is MISSING and f.default_factory is MISSING
    )
    if unknown or missing:
        what = f"no field {missing[0]!r}" if missing else f"a field {unknown[0]!r} too many"
        raise CheckpointError(
            f"{file}: its {node['result']} has {what} for this version of fermiac; read it with "
            "the version that wrote it"
        )
    return kind(**content)


_DECODERS: dict[str, Callable[[dict[str, Any], Tensors, str], Any]] = {
    "float": lambda node, tensors, file: float(node["float"]),
    "complex": lambda node, tensors, file: complex(*decode(node["complex"], tensors, file)),
    "tuple": lambda node, tensors, file: tuple(decode(node["tuple"], tensors, file)),
    "mapping": lambda node, tensors, file: dict(decode(node["mapping"], tensors, file)),
    "array": _decode_array,
    "number": _decode_array,
    "result": _decode_result,
}


def _known(name: str) -> type | None:
    """Return the class of this name, now or in old files; an unknown name imports all domains."""
    if name not in _KINDS:
        registry.load_domains()
    return _KINDS.get(_RENAMED.get(name, name)) or _KINDS.get(name)


def register(kind: type) -> None:
    """Allow instances of a dataclass to be saved."""
    _KINDS[_kind(kind)] = kind


def _kind(kind: type) -> str:
    """Return the name of a class in files."""
    own = kind.__module__.split(".")[0] == "fermiac"
    return kind.__name__ if own else f"{kind.__module__}:{kind.__qualname__}"
