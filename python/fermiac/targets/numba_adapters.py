"""C functions that wrap functions compiled by numba, for `fermiac.targets.native`."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["point_gradient", "pointer_at", "rows"]

#: The wrapper of a function that returns the value and then the gradient in one array. The status
#: is 1 if a number is not finite, 2 after an exception.
_POINT_GRADIENT = """
def evaluate_one(x, gradient, value):
    (found,) = evaluate(x{data})
    here = found[0]
    if not here < inf:
        return 1
    value[0] = here
    if here == -inf:
        gradient[:] = 0.0
        return 0
    for i in range(gradient.size):
        slope = found[i + 1]
        if not isfinite(slope):
            return 1
        gradient[i] = slope
    return 0

evaluate_one = njit(evaluate_one)

def {name}(n, x, gradient, value, user):
    status = 2
    try:
        status = evaluate_one(carray(x, dim), carray(gradient, dim), carray(value, one))
    except Exception:
        status = 2
    return status
"""

#: The same around a function that returns the numbers of a row.
_ROWS = """
def evaluate_one(x, out):
    (found,) = evaluate(x{data})
    out[:] = found

evaluate_one = njit(evaluate_one)

def {name}(x, n, d, k, out, user):
    points, found = carray(x, (n, d)), carray(out, (n, k))
    status = 0
    for i in range(n):
        try:
            evaluate_one(points[i], found[i])
        except Exception:
            found[i, :] = nan
            status = 1
    return status
"""


def point_gradient(
    evaluate: Callable[..., Any], data: Sequence[NDArray[Any]], dim: int, name: str
) -> Any:
    """Return a cfunc of one point with its gradient, of the form ``"point-gradient"``.

    Parameters
    ----------
    evaluate : numba function
        A function of a point (dim,) and the arrays of `data` that returns a tuple of one array, the
        value followed by the gradient.
    data : sequence of ndarray
        Arrays in C order; they are kept as long as the function.
    dim : int
        Coordinates of a point.
    name : str
        The name in messages.
    """
    types = _numba().types
    numbers = types.CPointer(types.double)
    signature = types.int64(types.uint64, numbers, numbers, numbers, types.voidptr)
    return _compiled(_POINT_GRADIENT, signature, evaluate, data, name, {"dim": (dim,), "one": (1,)})


def rows(evaluate: Callable[..., Any], data: Sequence[NDArray[Any]], name: str) -> Any:
    """Return a cfunc of many points with some numbers for each, of the form ``"outputs"``.

    The arguments are as for `point_gradient`, but `evaluate` returns a tuple of one array, the
    numbers of a row.
    """
    types = _numba().types
    numbers = types.CPointer(types.double)
    size = types.intp
    signature = types.intc(numbers, size, size, size, numbers, types.voidptr)
    return _compiled(_ROWS, signature, evaluate, data, name, {})


def pointer_at(kind: Any) -> Any:
    """Return a function for compiled code: from an address to a pointer of this type of numba."""
    extending: Any = importlib.import_module("numba.extending")
    address_type = _numba().types.uintp

    def to_pointer(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return kind(address_type), generate

    return extending.intrinsic(to_pointer)


def _compiled(
    text: str,
    signature: Any,
    evaluate: Callable[..., Any],
    data: Sequence[NDArray[Any]],
    name: str,
    more: dict[str, Any],
) -> Any:
    """Return the function of a text, compiled, with the arrays of `data` as constants."""
    numba = _numba()
    scope: dict[str, Any] = {
        "evaluate": evaluate,
        "njit": numba.njit,
        "carray": numba.carray,
        "at": pointer_at(numba.types.voidptr),
        "isfinite": np.isfinite,
        "inf": np.inf,
        "nan": np.nan,
        **more,
    }
    parts = []
    for i, array in enumerate(data):
        # The arrays stay where they are, and their addresses and shapes become constants.
        scope |= {f"address{i}": np.uintp(array.ctypes.data), f"shape{i}": array.shape}
        scope |= {f"type{i}": array.dtype.type}
        parts.append(f", carray(at(address{i}), shape{i}, type{i})")
    exec(text.format(data="".join(parts), name=name), scope)
    with warnings.catch_warnings():
        # numba warns about functions that it cannot cache, and operations that call the
        # interpreter.
        warnings.simplefilter("ignore")
        made = numba.cfunc(signature)(scope[name])
    made.data = tuple(data)  # kept alive while the function may be called
    return made


def _numba() -> Any:
    # Imported by name: numba has no complete types, and fermiac does not need it.
    return importlib.import_module("numba")
