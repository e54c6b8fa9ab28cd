"""Native targets: C function pointers, called by threads that need no interpreter."""

from __future__ import annotations

import ctypes
import importlib
import pickle
import re
import sys
from _ctypes import CFuncPtr
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.calls import public
from fermiac._base.config import threads_for
from fermiac._base.validate import choice, shown, whole, yes
from fermiac.errors import ArgumentError
from fermiac.targets import numba_adapters
from fermiac.targets.density import LogDensity

__all__ = [
    "FORMS",
    "NativeTarget",
    "form_of",
    "native",
    "pointer_of",
    "user_data_of",
    "wants_numbers",
]

Array = NDArray[np.float64]

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
    "point-gradient": (
        "int64_t (uint64_t n, double *x, double *gradient, double *value, void *user)"
    ),
    "bridgestan": (
        "int (const void *model, bool propto, bool jacobian, const double *x, double *value, "
        "double *gradient, char **message)"
    ),
    "draw": ("int64_t (const double *x, int64_t dim, void *stream, double *block, void *user)"),
    "node": "void (const double *theta, int64_t node, double *out, void *user)",
    "denoiser": (
        "void (const double *y, const double *s, double *out, size_t n, size_t d, void *user)"
    ),
}

_ACCEPTED = (
    "a numba @cfunc, a ctypes or cffi function pointer, a PyCapsule, a scipy.LowLevelCallable or "
    "an address (int)"
)

#: The forms that give a gradient.
_GIVE_GRADIENTS = ("gradient", "point-gradient", "bridgestan")
#: FUNCFLAG_PYTHONAPI of ctypes.
_NEEDS_INTERPRETER = 4
_POINTERS = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_wchar_p, ctypes._Pointer, CFuncPtr)


class NativeTarget(LogDensity):
    """A target given by a C pointer: an integrand, and a log-density if it has one output.

    `fermiac.targets.native` makes such targets. They cannot be pickled, since an address has no
    meaning in another process.

    Attributes
    ----------
    dim : int
        Coordinates of a point.
    n_outputs : int
        Numbers per point.
    has_gradient : bool
        Whether the function returns gradients.
    form : str
        ``"native"``.

    Examples
    --------
    >>> import ctypes
    >>> import fermiac as fm
    >>> numbers, size = ctypes.POINTER(ctypes.c_double), ctypes.c_ssize_t
    >>> @ctypes.CFUNCTYPE(ctypes.c_int, numbers, size, size, numbers, ctypes.c_void_p)
    ... def parabola(x, n, d, out, user):
    ...     for i in range(n):
    ...         out[i] = -0.5 * x[i * d] ** 2
    ...     return 0
    >>> f = fm.targets.native(parabola, dim=1)
    >>> f.form, f.dim, f.has_gradient
    ('native', 1, False)
    """

    __slots__ = ("_density", "_integrand", "_name", "dim", "has_gradient", "n_outputs")

    form = "native"

    def __init__(self, pointer: dict[str, Any]) -> None:
        self.dim = pointer["dim"]
        self.n_outputs = pointer["n_outputs"]
        self.has_gradient = pointer["signature"] in _GIVE_GRADIENTS
        self._name = pointer["name"]
        self._integrand = _core.native_integrand(pointer)
        self._density = _core.native_density(pointer) if self.n_outputs == 1 else None

    @property
    def _handle(self) -> _core.LogDensity:
        if self._density is None:
            raise ArgumentError(
                f"the native target {self._name} gives {self.n_outputs} numbers per point; a "
                "log-density gives one"
            )
        return self._density

    def __call__(self, x: ArrayLike) -> Array:
        """Evaluate the function as an integrand.

        Parameters
        ----------
        x : array_like of shape (n, d)

        Returns
        -------
        ndarray of shape (n,) or, for more than one output, (n, n_outputs)
            The values of the function, NaN and infinities included.

        Raises
        ------
        ArgumentError
            If `x` is not an array of numbers of this shape.
        TargetError
            If the function fails, or refuses a row or leaves it unwritten.
        """
        points = self._points(x)
        return self._integrand(points, threads_for(len(points)))

    def _evaluate(self, x: Array, with_gradient: bool) -> tuple[Array, Array | None]:
        if with_gradient:
            return self._handle.log_density_gradient(x, threads_for(len(x)))
        return self._handle.log_density(x, threads_for(len(x))), None

    def __copy__(self) -> NativeTarget:
        return self

    def __deepcopy__(self, memo: object) -> NativeTarget:
        return self

    def __reduce__(self) -> NoReturn:
        raise pickle.PicklingError(
            f"the native target {self._name} cannot be pickled: its address means nothing in "
            "another process. Let every worker make its own: give "
            "fermiac.targets.factory('module:function') as the target, of a function that returns "
            "it"
        )

    def __repr__(self) -> str:
        outputs = f", n_outputs={self.n_outputs}" if self.n_outputs > 1 else ""
        gradient = ", gradient=True" if self.has_gradient else ""
        return f"<native target {self._name}, dim={self.dim}{outputs}{gradient}>"


@public
def native(
    pointer: Any,
    dim: int,
    signature: str = "batch",
    gradient: bool = False,
    n_outputs: int = 1,
    user_data: Any = None,
    *,
    free_message: Any = None,
    one_at_a_time: bool = False,
) -> NativeTarget:
    r"""Return the target of a C function pointer, which all threads call without the interpreter.

    Parameters
    ----------
    pointer : numba cfunc, ctypes or cffi function pointer, PyCapsule, LowLevelCallable or int
        The function; it is kept alive. If the object has a signature, it is checked. An address,
        and a ctypes function without ``argtypes``, have none. The name of a PyCapsule is its
        signature.
    dim : int
        Coordinates of a point.
    signature : {"batch", "scalar", "point-gradient", "bridgestan"}, default "batch"
        Many points per call; one point per call; one point with its gradient, in the form that
        nutpie uses; or the same in the C interface of BridgeStan, ``bs_log_density_gradient``.
    gradient : bool, default False
        Whether a batch function also returns gradients of the log-density.
    n_outputs : int, default 1
        Numbers per point; a log-density has one.
    user_data : int, ctypes or cffi pointer, or bytes-like, optional
        The last argument of the function, null by default. It is required if the function declares
        it as ``double *``. An int is an address. A buffer (a NumPy array, which must be
        C-contiguous) is kept alive and passed by its address. The user data of a PyCapsule or
        LowLevelCallable are passed unless this is given. For BridgeStan it is the model, the first
        argument.
    free_message : function pointer, optional
        The function that frees messages, ``bs_free_error_msg`` of BridgeStan. Without it there are
        no messages.
    one_at_a_time : bool, default False
        Let only one thread at a time call the function, which then need not be thread-safe.

    Returns
    -------
    NativeTarget
        An integrand for `fermiac.importance.expect`, and a log-density if it has one output.

    Raises
    ------
    ArgumentError
        If the pointer is none of these, or has another signature; the message lists the accepted
        ones.

    Warnings
    --------
    An address cannot be checked: a wrong one, or a wrong `dim` or signature of an address, crashes
    the process. The function must allow simultaneous calls from several threads. It must not write
    to the points (a function of single points may), and no C++ exception may leave it.

    Notes
    -----
    The signatures, where ``intptr_t`` is an integer of the size of a pointer:

    - batch: ``int (const double *x, intptr_t n, intptr_t d, double *out, void *user)``;
    - with gradient: ``int (const double *x, intptr_t n, intptr_t d, double *out, double *grad,
      void *user)``, where ``grad`` has n rows of d numbers and is never null;
    - more outputs: ``int (const double *x, intptr_t n, intptr_t d, intptr_t k, double *out,
      void *user)``, where ``out`` has n rows of k numbers;
    - scalar: ``double (double *x, intptr_t d, void *user)``;
    - point-gradient: ``int64_t (uint64_t n, double *x, double *gradient, double *value,
      void *user)``, of one point of n coordinates;
    - bridgestan: ``int (const void *model, bool propto, bool jacobian, const double *x, double
      *value, double *gradient, char **message)``, called with ``propto`` false and ``jacobian``
      true: constants are kept, and the log-Jacobian of the transforms is part of the value.

    A function of one point with its gradient returns 0 for success. A positive status means that
    the point cannot be evaluated; a negative status stops the run with `TargetError`. For
    BridgeStan every nonzero status means that the point cannot be evaluated, and the message is
    shown if most points fail.

    A batch function returns the status 0 for success. With 1 to 255 the rows in which ``out`` is
    NaN could not be evaluated (all rows, if there is no such row): a log-density counts as -inf
    there, and an integrand fails. Any other status stops the run with `TargetError`. So does an
    unwritten row, for any status.

    An exception in a numba cfunc is printed and ends the call with status 0; the unwritten rows are
    detected and raise `TargetError`. In a function of single points the value would silently be
    0.0, so a numba cfunc with ``signature="scalar"`` is compiled again, as a loop over a batch.
    This is impossible for other pointers. An exception in a scalar callback of ctypes or cffi is
    printed and gives an arbitrary value; an exception in a batch callback is detected only by
    unwritten rows, if there are any. Catch all exceptions in such a callback, and return a negative
    number. With one thread, or few points, a callback may run on the main thread, where Ctrl-C
    raises such an exception.

    A value must depend only on its row, and not on the batch or the thread. The results then have
    the same bits on any number of threads.

    Examples
    --------
    >>> import ctypes, numpy as np, fermiac as fm
    >>> numbers, size = ctypes.POINTER(ctypes.c_double), ctypes.c_ssize_t
    >>> @ctypes.CFUNCTYPE(ctypes.c_int, numbers, size, size, numbers, ctypes.c_void_p)
    ... def parabola(x, n, d, out, user):
    ...     for i in range(n):
    ...         out[i] = -0.5 * x[i * d] ** 2
    ...     return 0
    >>> f = fm.targets.native(parabola, dim=1)
    >>> f.log_density([[1.0], [2.0]])
    array([-0.5, -2. ])
    """
    dim = whole("dim", dim, 1, 2**31)
    n_outputs = whole("n_outputs", n_outputs, 1, 2**31)
    wanted = _wanted(signature, gradient, n_outputs)
    one_at_a_time = yes("one_at_a_time", one_at_a_time)
    freeing = _freeing(free_message, signature)
    found = pointer_of(pointer)
    form = wanted[0] if found.signature is None else form_of(found.signature, wanted)
    address, owner = found.address, pointer
    if form == "scalar" and type(pointer).__name__ == "CFunc":
        owner = _batch_of_scalar(pointer)
        form, address = "batch", owner.address
    data, keep = (found.user_data or 0, None) if user_data is None else user_data_of(user_data)
    if not data and found.signature is not None and wants_numbers(found.signature):
        raise ArgumentError(
            "user_data: not given, and the last argument of the function is a pointer to numbers: "
            f"it would be null.\n    {found.signature}\nGive user_data=, or declare the "
            f"argument as void *; a function that fills gradients takes it besides them,\n"
            f"    {FORMS['gradient']}"
        )
    if signature == "bridgestan" and not data:
        raise ArgumentError("user_data: not given; for BridgeStan it is the address of the model")
    return NativeTarget(
        {
            "address": address,
            "user_data": data,
            "signature": form,
            "dim": dim,
            "n_outputs": n_outputs,
            "free_message": freeing,
            "one_at_a_time": one_at_a_time,
            "name": found.name,
            "owner": (owner, keep, free_message),
        }
    )


def _freeing(free_message: Any, signature: str) -> int:
    """Return the address of the function that frees messages, 0 for none."""
    if free_message is None:
        return 0
    if signature != "bridgestan":
        raise ArgumentError(
            f"free_message: given with signature={signature!r}; only functions of BridgeStan "
            "give messages"
        )
    return pointer_of(free_message).address


def _wanted(signature: str, gradient: bool, n_outputs: int) -> list[str]:
    choice("signature", signature, ("batch", "scalar", "point-gradient", "bridgestan"))
    if not isinstance(gradient, bool | np.bool_):
        raise ArgumentError(
            f"gradient: {shown(gradient)} given; it must be True or False: a native gradient comes "
            f"from the same call,\n    {FORMS['gradient']}"
        )
    if signature == "scalar" and (gradient or n_outputs > 1):
        raise ArgumentError(
            "signature: 'scalar' given with a gradient or several outputs; only a batch function "
            "gives them"
        )
    if signature in ("point-gradient", "bridgestan"):
        if n_outputs > 1:
            raise ArgumentError(
                f"n_outputs: {n_outputs} given with signature={signature!r}, whose function gives "
                "one value"
            )
        return [signature]
    if gradient and n_outputs > 1:
        raise ArgumentError(f"n_outputs: {n_outputs} given with a gradient, which is of one")
    if signature == "scalar":
        return ["scalar"]
    if gradient:
        return ["gradient"]
    return ["batch", "outputs"] if n_outputs == 1 else ["outputs"]


def _batch_of_scalar(scalar: Any) -> Any:
    """Return a loop over points, compiled around the Python function of a numba cfunc.

    An exception in a cfunc of one point turns into the value 0.0. In a loop that numba compiles it
    ends the loop, and the unwritten rows reveal it.

    Parameters
    ----------
    scalar : numba.core.ccallback.CFunc
        double (double *x, intptr_t d, void *user).

    Returns
    -------
    numba.core.ccallback.CFunc
        int (const double *x, intptr_t n, intptr_t d, double *out, void *user).
    """
    # Imported by name: numba has no complete types, and fermiac does not need it.
    numba: Any = importlib.import_module("numba")
    types = numba.types
    pointer_at = numba_adapters.pointer_at(types.CPointer(types.float64))
    options = getattr(getattr(scalar, "_compiler", None), "targetoptions", {})
    kept = {k: options[k] for k in ("fastmath", "error_model", "boundscheck") if k in options}
    evaluate = numba.njit(**kept)(scalar.__wrapped__)
    carray, empty = numba.carray, np.empty

    def batch(x: Any, n: Any, d: Any, out: Any, user: Any) -> int:
        rows, values = carray(x, (n, d)), carray(out, n)
        point = empty(d)  # the scalar signature lets the function write to its point
        pointer = pointer_at(point.ctypes.data)
        for i in range(n):
            for j in range(d):
                point[j] = rows[i, j]
            values[i] = evaluate(pointer, d, user)
        return 0

    batch.__name__ = scalar.__name__
    numbers = types.CPointer(types.float64)
    # The function may read its user data by the type that it declares.
    user_data = scalar._sig.args[2]
    signature = types.intc(numbers, types.intp, types.intp, numbers, user_data)
    return numba.cfunc(signature)(batch)


class Pointer(NamedTuple):
    """A function pointer, with its signature in C if the object has one."""

    address: int
    user_data: int | None
    signature: str | None
    name: str


def pointer_of(obj: Any) -> Pointer:
    """Return the address, the user data and the signature of a function pointer."""
    kind = type(obj)
    if isinstance(obj, int) and not isinstance(obj, bool):
        if not 0 < obj <= sys.maxsize * 2 + 1:
            raise ArgumentError(f"pointer: {obj} given, which is not an address")
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
        # The argument type converts by its own rule.
        return str(getattr(kind, "__name__", type(kind).__name__))
    if issubclass(kind, ctypes.c_void_p) and getattr(kind, "_dtype_", None) is not None:
        # numpy.ctypeslib.ndpointer
        name = kind._dtype_.name
        return "double *" if name == "float64" else f"{name} *"
    if issubclass(kind, ctypes._Pointer):
        return f"{_ctypes_spelling(kind._type_)} *"
    if kind is ctypes.c_double:
        return "double"
    if kind is ctypes.c_bool:
        return "bool"
    if kind is ctypes.c_char_p:
        return "char *"
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
    # A pointer of our own: the functions of ctypes.pythonapi are shared by the whole process.
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    prototype: Callable[..., Any] = ctypes.PYFUNCTYPE(result, *arguments)(address)
    return prototype


def form_of(signature: str, wanted: list[str]) -> str:
    """Return the accepted form that matches a signature; an error lists the forms if none does."""
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
        "point-gradient": "\nThe one given is that of signature='point-gradient'.",
        "bridgestan": "\nThe one given is that of signature='bridgestan'.",
        "draw": "\nThe one given is that of fermiac.mcmc.conditionals.native.",
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
    "uint64_t": 8,
}

#: Words of C types, which are never names of arguments.
_KEYWORDS = frozenset(
    "char short int long unsigned float double complex _Complex void bool _Bool".split()
)


def wants_numbers(signature: str) -> bool:
    """Return whether the last argument, the user data, is declared as a pointer to doubles."""
    parts = _parts(signature)
    return parts is not None and parts[-1] == "double*"


def _normal(signature: str) -> tuple[str, ...] | None:
    """Return result and argument types in one spelling; None if it is not a function."""
    parts = _parts(signature)
    if parts is None or len(parts) < 3:
        return parts
    if parts[-1] == "char**" and parts[1].endswith("*"):
        return (parts[0], "void*", *parts[2:])  # a model may be any pointer
    if parts[-1].endswith("*"):
        return (*parts[:-1], "void*")  # user data, likewise
    return parts


def _parts(signature: str) -> tuple[str, ...] | None:
    match = re.fullmatch(r"\s*([^()]*?)\s*(?:\(\s*\*\s*\w*\s*\))?\s*\(([^()]*)\)\s*", signature)
    if match is None:
        return None
    result, arguments = match.groups()
    return (_type(result), *(_type(a) for a in arguments.split(",")))


def _type(text: str) -> str:
    """Return one type (`double`, `double*`, `i4`, `i8`) without the name of the argument."""
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


def user_data_of(data: Any) -> tuple[int, Any]:
    """Return an address, and the object that must be kept alive for it."""
    if isinstance(data, int) and not isinstance(data, bool):
        if not 0 <= data <= sys.maxsize * 2 + 1:
            raise ArgumentError(f"user_data: {data} given, which is not an address")
        return data, None
    if isinstance(data, ctypes.c_void_p):
        # A cast would leave a cycle, which keeps the object until the garbage is collected.
        return data.value or 0, data
    if isinstance(data, _POINTERS):
        return ctypes.cast(data, ctypes.c_void_p).value or 0, data
    if isinstance(data, ctypes.Array | ctypes.Structure | ctypes.Union):
        return ctypes.addressof(data), data
    if type(data).__module__ == "_cffi_backend" and "CData" in type(data).__name__:
        return _cffi_address(data), data
    if isinstance(data, np.integer):
        # The value is a number and also a buffer of eight bytes, so its meaning is ambiguous.
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


def _cffi_address(data: Any) -> int:
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
