"""C function pointers of all makes: their address, their user data, and the signature they tell."""

from __future__ import annotations

import ctypes
import re
import sys
from _ctypes import CFuncPtr
from collections.abc import Callable
from typing import Any, NamedTuple

from fermiac.errors import ArgumentError

__all__ = ["FORMS", "Pointer", "form_of", "pointer_of", "wants_numbers"]

#: The accepted C signatures, by the name of their form in the core.
FORMS = {
    "batch": "int (const double *x, intptr_t n, intptr_t d, double *out, void *user)",
    "gradient": (
        "int (const double *x, intptr_t n, intptr_t d, double *out, double *grad, void *user)"
    ),
    "outputs": (
        "int (const double *x, intptr_t n, intptr_t d, intptr_t k, double *out, void *user)"
    ),
    "scalar": "double (double *x, intptr_t d, void *user)",
    "node": "void (const double *theta, int64_t node, double *out, void *user)",
    "denoiser": (
        "void (const double *y, const double *s, double *out, size_t n, size_t d, void *user)"
    ),
}

_ACCEPTED = (
    "a numba @cfunc, a ctypes or cffi function pointer, a PyCapsule, a scipy.LowLevelCallable or "
    "an address (int)"
)


#: FUNCFLAG_PYTHONAPI of ctypes.
_NEEDS_INTERPRETER = 4


class Pointer(NamedTuple):
    """A function pointer, with the signature in C's spelling where the object tells it."""

    address: int
    user_data: int | None
    signature: str | None
    name: str


def pointer_of(obj: Any) -> Pointer:
    """Take a function pointer apart."""
    kind = type(obj)
    if isinstance(obj, int) and not isinstance(obj, bool):
        if not 0 < obj <= sys.maxsize * 2 + 1:
            raise ArgumentError(f"pointer: {obj} given, which is no address")
        return Pointer(obj, None, None, f"at {obj:#x}")
    if kind.__name__ == "CFunc" and kind.__module__.startswith("numba."):
        return _of_ctypes(obj.ctypes, repr(obj.__name__))
    if isinstance(obj, CFuncPtr):
        return _of_ctypes(obj, None)
    if kind.__module__ == "_cffi_backend" and kind.__name__.startswith(("_CData", "__CData")):
        return _of_cffi(obj)
    if kind.__name__ == "LowLevelCallable" and kind.__module__.startswith("scipy."):
        # Its first item is a capsule named by the signature; the class hides it from users.
        return _of_capsule(tuple.__getitem__(obj, 0))
    if kind.__name__ == "PyCapsule":
        return _of_capsule(obj)
    hint = ""
    if kind.__name__ == "CPUDispatcher":
        hint = "; compile the function with numba.cfunc(signature), not with njit"
    elif kind.__module__ == "builtins" and callable(obj) and hasattr(obj, "__self__"):
        hint = "; for a function of a cffi module give ffi.addressof(lib, 'name')"
    raise ArgumentError(f"pointer: {kind.__name__} given; {_ACCEPTED} is needed{hint}")


def _of_ctypes(function: Any, name: str | None) -> Pointer:
    address = ctypes.cast(function, ctypes.c_void_p).value
    if not address:
        raise ArgumentError("pointer: a null ctypes pointer given")
    if function._flags_ & _NEEDS_INTERPRETER:
        raise ArgumentError(
            "pointer: a function of ctypes.PYFUNCTYPE or PyDLL given, which must hold the "
            "interpreter's lock; native targets are called without it: use CFUNCTYPE or CDLL"
        )
    signature = None
    if function.argtypes is not None:
        arguments = ", ".join(_ctypes_spelling(t) for t in function.argtypes)
        signature = f"{_ctypes_spelling(function.restype)} ({arguments})"
    if name is None:
        given = getattr(function, "__name__", None)
        name = repr(given) if given else f"at {address:#x}"
    return Pointer(address, None, signature, name)


def _ctypes_spelling(kind: Any) -> str:
    if kind is None:
        return "void"
    if kind is ctypes.c_void_p:
        return "void *"
    is_type: bool = isinstance(kind, type)
    if not is_type:
        return str(getattr(kind, "__name__", type(kind).__name__))  # converts, by a rule of its own
    if issubclass(kind, ctypes.c_void_p) and getattr(kind, "_dtype_", None) is not None:
        # numpy.ctypeslib.ndpointer
        name = kind._dtype_.name
        return "double *" if name == "float64" else f"{name} *"
    if issubclass(kind, ctypes._Pointer):
        return f"{_ctypes_spelling(kind._type_)} *"
    if kind is ctypes.c_double:
        return "double"
    code = getattr(kind, "_type_", None)
    if isinstance(code, str) and code in "bhilqBHILQ":
        return f"int{8 * ctypes.sizeof(kind)}_t"
    return str(kind.__name__)


def _of_cffi(cdata: Any) -> Pointer:
    import _cffi_backend

    ffi = _cffi_backend.FFI()
    kind = ffi.typeof(cdata)
    if kind.kind == "pointer" and kind.item.kind == "function":
        kind = kind.item
    address = int(ffi.cast("intptr_t", cdata)) if kind.kind in ("function", "pointer") else 0
    if not address:
        raise ArgumentError(f"pointer: cffi data of type '{kind.cname}' given; {_ACCEPTED}")
    if kind.kind == "pointer":
        if kind.cname != "void *":
            raise ArgumentError(f"pointer: cffi pointer of type '{kind.cname}' given; {_ACCEPTED}")
        return Pointer(address, None, None, f"at {address:#x}")
    arguments = ", ".join(a.cname for a in kind.args)
    signature = f"{kind.result.cname} ({arguments}{', ...' if kind.ellipsis else ''})"
    return Pointer(address, None, signature, f"at {address:#x}")


def _of_capsule(capsule: Any) -> Pointer:
    api = ctypes.pythonapi
    name_of = _prototype(api.PyCapsule_GetName, ctypes.c_char_p, ctypes.py_object)
    pointer = _prototype(
        api.PyCapsule_GetPointer, ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p
    )
    context = _prototype(api.PyCapsule_GetContext, ctypes.c_void_p, ctypes.py_object)
    name = name_of(capsule)
    address = pointer(capsule, name)
    signature = None if name is None else name.decode(errors="replace")
    return Pointer(address, context(capsule), signature, f"at {address:#x}")


def _prototype(function: Any, result: Any, *arguments: Any) -> Callable[..., Any]:
    # A pointer of our own: what ctypes.pythonapi hands out is shared by the whole process.
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    prototype: Callable[..., Any] = ctypes.PYFUNCTYPE(result, *arguments)(address)
    return prototype


def form_of(signature: str, wanted: list[str]) -> str:
    """Which of the wanted forms a signature is; an error lists them if it is none."""
    given = _normal(signature)
    for form in wanted:
        if given == _normal(FORMS[form]):
            return form
    lines = "\n".join(f"    {FORMS[form]}" for form in wanted)
    other = next((form for form in FORMS if given == _normal(FORMS[form])), None)
    hint = {
        "scalar": "\nThe one given is that of signature='scalar'.",
        "gradient": "\nThe one given is that of gradient=True.",
        "batch": "\nThe one given is that of signature='batch' without gradient.",
        "outputs": "\nThe one given is that of fermiac.targets.native(f, dim, n_outputs=k).",
        "node": "\nThe one given is that of a loss for fermiac.walks.optimize.",
        "denoiser": "\nThe one given is that of a fermiac.score.ScoreModel.",
    }
    raise ArgumentError(
        f"pointer: the signature of the function is\n    {signature}\nwhere one of these is "
        f"needed (intptr_t may be spelled as any integer of {8 * _POINTER_BYTES} bits):\n{lines}"
        + (hint[other] if other else "")
    )


_POINTER_BYTES = ctypes.sizeof(ctypes.c_void_p)
_SIZES = {
    "int": ctypes.sizeof(ctypes.c_int),
    "long": ctypes.sizeof(ctypes.c_long),
    "long long": ctypes.sizeof(ctypes.c_longlong),
    "int32_t": 4,
    "int64_t": 8,
    **dict.fromkeys(
        ("intptr_t", "ssize_t", "Py_ssize_t", "npy_intp", "ptrdiff_t", "size_t"), _POINTER_BYTES
    ),
}

#: Words that are part of a type, never the name of an argument.
_KEYWORDS = frozenset(
    "char short int long unsigned float double complex _Complex void bool _Bool".split()
)


def wants_numbers(signature: str) -> bool:
    """Whether the last argument, the user data, is declared as a pointer to doubles."""
    parts = _parts(signature)
    return parts is not None and parts[-1] == "double*"


def _normal(signature: str) -> tuple[str, ...] | None:
    """Result and argument types in one spelling; None for what is no function's."""
    parts = _parts(signature)
    if parts is not None and len(parts) > 2 and parts[-1].endswith("*"):
        return (*parts[:-1], "void*")  # user data: any pointer will do
    return parts


def _parts(signature: str) -> tuple[str, ...] | None:
    match = re.fullmatch(r"\s*([^()]*?)\s*(?:\(\s*\*\s*\w*\s*\))?\s*\(([^()]*)\)\s*", signature)
    if match is None:
        return None
    result, arguments = match.groups()
    return (_type(result), *(_type(a) for a in arguments.split(",")))


def _type(text: str) -> str:
    """One type: `double`, `double*`, `i4`, `i8`; the name of an argument is dropped."""
    words = [w for w in re.findall(r"\w+|\*", text) if w not in ("const", "restrict", "signed")]
    stars = "*" * words.count("*")
    named = [w for w in words if w != "*"]
    # Type words first, then perhaps a name: "long long n", "intptr_t n", "double x".
    while len(named) > 1 and " ".join(named) not in _SIZES and named[-1] not in _KEYWORDS:
        named.pop()
    base = " ".join(named)
    if base.endswith(" int") and base[:-4] in _SIZES:
        base = base[:-4]
    return (f"i{_SIZES[base]}" if base in _SIZES else base) + stars
