"""A numba function of one point as a batch function, whose exceptions can be seen."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

__all__ = ["batch_of_scalar"]


def batch_of_scalar(scalar: Any) -> Any:
    """Compile a loop over the points around the Python function of a numba cfunc.

    An exception that leaves a cfunc of one point turns into the value 0.0. In a loop that numba
    compiles it ends the loop, and the rows that are not written tell.

    Parameters
    ----------
    scalar : numba.core.ccallback.CFunc
        double (double *x, intptr_t d, void *user).

    Returns
    -------
    numba.core.ccallback.CFunc
        int (const double *x, intptr_t n, intptr_t d, double *out, void *user).
    """
    # By name: numba has no complete types, and is not needed to use fermiac.
    numba: Any = importlib.import_module("numba")
    types = numba.types
    extending: Any = importlib.import_module("numba.extending")

    def to_pointer(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(types.float64)(types.uintp), generate

    pointer_at = extending.intrinsic(to_pointer)
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
