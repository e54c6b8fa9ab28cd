"""Files of results and checkpoints: tensors and JSON, without pickle.

The digest of a file detects accidental damage. It is not a signature: a program that can write the
file can also write a matching digest. The contents of a file are therefore checked before use, and
an error is a `CheckpointError`.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, Field, fields
from tokenize import TokenError
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fermiac import _core, errors
from fermiac._base import registry
from fermiac._base.layout import Layout, Misfit, Sizes, layout_of, require
from fermiac._base.validate import path_of
from fermiac.errors import ArgumentError, CheckpointError, FermiacWarning, WarningText

__all__ = [
    "STATE",
    "VALUES",
    "Tensors",
    "decode",
    "decoding",
    "encode",
    "fit",
    "parsed",
    "read",
    "register",
    "write",
]

PathLike: TypeAlias = "str | os.PathLike[str]"
Tensors: TypeAlias = "dict[str, NDArray[Any]]"

#: The files with the state of a run and with the values of its target in the store of a plan.
STATE, VALUES = "state.safetensors", "values.safetensors"
#: Classes whose instances can be saved, by name.
_KINDS: dict[str, type] = {}
#: Result classes that were renamed: the name in old files and the present one.
_RENAMED = {"Nested": "NestedResult", "Optimum": "OptimizeResult", "Walk": "WalkResult"}
#: Fields that were renamed, by class: the name in old files and the present one.
_RENAMED_FIELDS = {
    "Estimate": {"dof": "df"},
    "EpsilonInterval": {"lower": "epsilon_lower", "upper": "epsilon_upper"},
}
#: NumPy types of the file format; others are saved as bytes, with the name of the type in the text.
_NATIVE = {"<f8": "F64", "<i8": "I64", "<u8": "U64", "|u1": "U8"}
#: The accepted names of types; NumPy would parse any other text in a file, too.
_CODE = re.compile(r"\|[biu]1|<[iu][248]|<f(2|4|8|12|16)|<c(8|16)")
_DTYPES = {name: dtype for dtype, name in _NATIVE.items()}
#: The deepest nesting of lists and mappings; results have fewer than ten levels.
_DEEPEST = 100


def write(path: PathLike, kind: str, node: Any, tensors: Tensors) -> None:
    """Write JSON and tensors to a file, as a whole or not at all."""
    out = []
    for name, array in tensors.items():
        # ascontiguousarray would add a dimension to an array without any.
        values = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
        dtype = _NATIVE[values.dtype.str]
        out.append((name, dtype, list(values.shape), values.reshape(-1).view(np.uint8)))
    text = json.dumps(node, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    _core.store_write(path_of("path", path), kind, text, out)


def read(path: PathLike, kind: str) -> tuple[Any, Tensors]:
    """Return the JSON and the tensors of a file."""
    file = path_of("path", path)
    text, stored = _core.store_read(file, kind)
    tensors = {}
    with decoding(file):
        for name, dtype, shape, data in stored:
            array = data.view(_DTYPES[dtype]).reshape(shape)
            array = array.astype(array.dtype.newbyteorder("="), copy=False)
            tensors[name] = np.require(array, None, "A")
    return parsed(text, file), tensors


def parsed(text: str, file: PathLike) -> Any:
    """Return the value of a text in JSON."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: its text is not JSON that is used here ({error})") from None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} in it")


@contextmanager
def decoding(file: PathLike) -> Iterator[None]:
    """Turn errors of a decoder that its checks have missed into a `CheckpointError`."""
    try:
        yield
    except CheckpointError:
        raise
    except Misfit as misfit:
        raise CheckpointError(f"{os.fspath(file)}: it is damaged: {misfit}") from None
    except (
        ArgumentError, ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError,
        SyntaxError, TokenError, TypeError, ValueError,
    ) as error:  # fmt: skip
        raise CheckpointError(
            f"{os.fspath(file)}: it is damaged: {type(error).__name__}: {error}"
        ) from error


def fit(content: Any, layout: Layout, file: PathLike, sizes: Sizes | None = None) -> None:
    """Raise a `CheckpointError` unless the contents of a file match a layout."""
    with decoding(file):
        if not isinstance(content, Mapping):
            raise Misfit(f"a {type(content).__name__} for a mapping")
        require(content, layout, sizes)


def encode(value: Any, tensors: Tensors, where: str = "") -> Any:
    """Return the value as JSON, and add its arrays to `tensors` under their paths in the value.

    Types that JSON lacks become an object whose first key is a tag.
    """
    if isinstance(value, WarningText):
        return {"warning": str(value), "category": value.category.__name__}
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
        given = {f.name: getattr(value, f.name) for f in fields(value) if f.init}
        content = {
            name: encode(item, tensors, f"{where}.{name}".lstrip("."))
            for name, item in given.items()
        }
        try:
            require(given, _layout_of_fields(kind))
        except Misfit as misfit:
            raise ArgumentError(
                f"{where or kind.__name__}: it could not be read again, and is not saved: {misfit}"
            ) from None
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


def decode(node: Any, tensors: Tensors, file: PathLike) -> Any:
    """Return the value that was given to `encode`."""
    with decoding(file):
        return _decode(node, tensors, 0)


def _decode(node: Any, tensors: Tensors, depth: int) -> Any:
    if depth > _DEEPEST:
        raise Misfit(f"more than {_DEEPEST} levels of lists and mappings")
    if isinstance(node, list):
        return [_decode(v, tensors, depth + 1) for v in node]
    if not isinstance(node, dict):
        return node
    tag = next(iter(node), "")
    decoder = _DECODERS.get(tag)
    if decoder is None:
        raise Misfit(f"it holds a {tag!r:.60}, which this version does not know")
    return decoder(node, tensors, depth + 1)


def _items(node: Any, n: int | None = None) -> list[Any]:
    """Return a list of JSON of this length."""
    if not isinstance(node, list) or (n is not None and len(node) != n):
        raise Misfit("a list of another form")
    return node


def _text(node: Any) -> str:
    if not isinstance(node, str):
        raise Misfit(f"a {type(node).__name__} for a text")
    return node


def _decode_float(node: dict[str, Any], tensors: Tensors, depth: int) -> float:
    if node["float"] not in ("nan", "inf", "-inf"):
        raise Misfit("a value that is not a number")
    return float(node["float"])


def _decode_complex(node: dict[str, Any], tensors: Tensors, depth: int) -> complex:
    parts = [_decode(part, tensors, depth) for part in _items(node["complex"], 2)]
    if not all(isinstance(part, float) for part in parts):
        raise Misfit("a value that is not a complex number")
    return complex(*parts)


def _decode_warning(node: dict[str, Any], tensors: Tensors, depth: int) -> WarningText:
    category = getattr(errors, _text(node.get("category")), None)
    if not (isinstance(category, type) and issubclass(category, FermiacWarning)):
        raise Misfit("a warning of an unknown class")
    return WarningText(_text(node["warning"]), category)


def _decode_mapping(node: dict[str, Any], tensors: Tensors, depth: int) -> dict[Any, Any]:
    out = {}
    for pair in _items(node["mapping"]):
        key, value = (_decode(part, tensors, depth) for part in _items(pair, 2))
        out[key] = value
    return out


def _decode_array(node: dict[str, Any], tensors: Tensors, depth: int) -> Any:
    tag = "array" if "array" in node else "number"
    name, code = _text(node[tag]), _text(node.get("dtype"))
    if not _CODE.fullmatch(code):
        raise Misfit(f"{name}: its type is {code!r:.20}")
    dtype = np.dtype(code)
    if name not in tensors:
        raise Misfit(f"{name}: its array is missing")
    array = tensors[name]
    if code not in _NATIVE:
        part = np.dtype("<f8" if code == "<c16" else "|u1")
        last = array.shape[-1] if array.ndim else 0
        if array.dtype != part or last * part.itemsize != dtype.itemsize:
            raise Misfit(f"{name}: {array.dtype}, {array.shape} is not an array of type {code}")
        if dtype.kind == "b" and (array > 1).any():
            raise Misfit(f"{name}: flags that are neither True nor False")
        array = np.ascontiguousarray(array).view(dtype)[..., 0]
    elif array.dtype != dtype:
        raise Misfit(f"{name}: {array.dtype} for {code}")
    if tag == "number" and array.ndim:
        raise Misfit(f"{name}: an array for a number")
    array = array.astype(dtype.newbyteorder("="), copy=False)
    return array if tag == "array" else array[()]


def _decode_result(node: dict[str, Any], tensors: Tensors, depth: int) -> Any:
    name = _text(node["result"])
    kind = _known(name)
    if kind is None:
        raise Misfit(
            f"it holds a {name:.60}, which this process does not know; import the module that "
            "defines it, or update fermiac"
        )
    stored = node.get("fields")
    if not isinstance(stored, dict):
        raise Misfit(f"its {name} has no fields")
    now = _RENAMED_FIELDS.get(kind.__name__, {})
    content: dict[str, Any] = {}
    for key, value in stored.items():
        content[now[key] if key in now else key] = _decode(value, tensors, depth)
    known = {f.name: f for f in fields(kind) if f.init}
    unknown = sorted(content.keys() - known.keys())
    missing = sorted(key for key in known if key not in content and not _has_default(known[key]))
    if unknown or missing:
        what = f"no field {missing[0]!r}" if missing else f"a field {unknown[0]!r:.60} too many"
        raise Misfit(
            f"its {name} has {what} for this version of fermiac; read it with the version that "
            "wrote it"
        )
    whole = {key: content[key] if key in content else _default(f) for key, f in known.items()}
    require(whole, _layout_of_fields(kind))
    return kind(**whole)


def _layout_of_fields(kind: type) -> Layout:
    """Return the checks of the fields that are saved."""
    saved = {f.name for f in fields(kind) if f.init}
    return {name: check for name, check in layout_of(kind).items() if name in saved}


def _has_default(f: Field[Any]) -> bool:
    return f.default is not MISSING or f.default_factory is not MISSING


def _default(f: Field[Any]) -> Any:
    return f.default if f.default_factory is MISSING else f.default_factory()


_DECODERS: dict[str, Callable[[dict[str, Any], Tensors, int], Any]] = {
    "float": _decode_float,
    "complex": _decode_complex,
    "warning": _decode_warning,
    "tuple": lambda node, tensors, depth: tuple(
        _decode(item, tensors, depth) for item in _items(node["tuple"])
    ),
    "mapping": _decode_mapping,
    "array": _decode_array,
    "number": _decode_array,
    "result": _decode_result,
}


def _known(name: str) -> type | None:
    """Return the class of a name or a former name; an unknown name imports all domains."""
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
