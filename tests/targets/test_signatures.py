"""Pointers of all makes as native targets, and the C signatures that they tell."""

from __future__ import annotations

import ctypes
import os
from typing import Any

import cffi
import numba
import numpy as np
import pytest
import scipy
from forms import DIM, law, points
from natives import (
    C_BATCH,
    C_NUMBERS,
    C_SCALAR,
    C_SIZE,
    SCALAR,
    Untyped,
    total,
    total_in_python,
    total_of_row,
    totals,
)
from numba import types

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.targets.native_pointer import FORMS, form_of

FFI = cffi.FFI()
CAPSULE = ctypes.pythonapi.PyCapsule_New


def capsule(signature: bytes | None, address: int) -> Any:
    new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
        ctypes.cast(CAPSULE, ctypes.c_void_p).value
    )
    return new(address, signature, None)


SIGNATURE = b"int (double const *, Py_ssize_t, Py_ssize_t, double *, void *)"
POINTERS = {
    "numba": total,
    "ctypes": total.ctypes,
    "ctypes callback": C_BATCH(total_in_python),
    "ctypes without types": Untyped(total.address),
    "cffi callback": FFI.callback(FORMS["batch"])(total_in_python),
    "cffi cast": FFI.cast("int (*)(const double *, long, long, double *, void *)", total.address),
    "cffi address": FFI.cast("void *", total.address),
    "low-level callable": scipy.LowLevelCallable(total.ctypes),
    "capsule": capsule(SIGNATURE, total.address),
    "capsule without name": capsule(None, total.address),
    "address": total.address,
}


@pytest.mark.parametrize("pointer", POINTERS.values(), ids=POINTERS)
def test_pointers_of_all_makes(pointer: Any) -> None:
    target, x = fm.targets.native(pointer, DIM), points(5000)
    np.testing.assert_array_equal(target.log_density(x), totals(x))
    np.testing.assert_array_equal(target(x), totals(x))
    assert (target.dim, target.n_outputs, target.has_gradient) == (DIM, 1, False)
    assert target.form == "native"


@pytest.mark.parametrize(
    "pointer",
    [
        numba.cfunc(SCALAR)(total_of_row),
        C_SCALAR(total_of_row),
        FFI.callback("double (double *, intptr_t, void *)")(total_of_row),
        numba.cfunc(SCALAR)(total_of_row).address,
    ],
    ids=["numba", "ctypes", "cffi", "address"],
)
def test_functions_of_one_point(pointer: Any) -> None:
    target, x = fm.targets.native(pointer, DIM, signature="scalar"), points(5000)
    np.testing.assert_array_equal(target.log_density(x), totals(x))


def test_pointers_that_tell_their_signature_need_no_wrapper() -> None:
    x = points(100)
    scalar = numba.cfunc(SCALAR)(total_of_row)
    named = ("numba", "ctypes", "cffi cast", "low-level callable", "capsule")
    for pointer in (scalar, *[POINTERS[name] for name in named]):
        target = fm.targets.as_target(pointer, DIM)
        assert isinstance(target, fm.targets.NativeTarget)
        np.testing.assert_array_equal(target.log_density(x), totals(x))
        e = fm.importance.expect(pointer, law(), n=1000, rng=0)
        assert e.mean == fm.importance.expect(target, law(), n=1000, rng=0).mean
    for gradient in (True, lambda x: x):
        with pytest.raises(ArgumentError, match=r"given for <native target 'total'.* takes none"):
            fm.targets.as_target(total, DIM, gradient=gradient)
    for name in ("capsule without name", "ctypes without types", "cffi address"):
        with pytest.raises(ArgumentError, match="does not tell its signature"):
            fm.targets.as_target(POINTERS[name], DIM)


# Signatures.


@pytest.mark.parametrize(
    ("signature", "form"),
    [
        *((signature, form) for form, signature in FORMS.items()),
        ("int32_t (float64_t *, long)", None),
        ("int(*)(double *, intptr_t, intptr_t, double *, void *)", "batch"),
        ("int (*f)(const double x, long n, long d, double *out, void *)", None),
        ("int32_t(double*,int64_t,ssize_t,double*,struct data *p)", "batch"),
        ("int (const double *, size_t, ptrdiff_t, double *restrict, double *, void *)", "gradient"),
        ("int (double *, long int n, long long int, npy_intp, double *, void *)", "outputs"),
        ("double (const double *x, Py_ssize_t d, void *user)", "scalar"),
        ("double (int, double *, void *)", None),
        ("int (double *, int, int, double *, void *)", None),
        ("int (float *, long, long, float *, void *)", None),
        ("int (double *, long double n, long, double *, void *)", None),
        ("int short (double *, long, long, double *, void *)", None),
        ("int unsigned (double *, long, long, double *, void *)", None),
        ("double complex (double *, long, void *)", None),
        ("double _Complex f(double *, long, void *)", None),
        ("long (double *, long, long, double *, void *)", None),
        ("double (double)", None),
        ("void ()", None),
        ("nonsense", None),
        ("", None),
    ],
)
@pytest.mark.skipif(ctypes.sizeof(ctypes.c_long) != 8, reason="long is the size of a pointer here")
def test_spellings(signature: str, form: str | None) -> None:
    if form is not None:
        assert form_of(signature, list(FORMS)) == form
        return
    with pytest.raises(ArgumentError) as caught:
        form_of(signature, list(FORMS))
    for accepted in FORMS.values():
        assert accepted in str(caught.value)


def wrong(signature: Any, body: Any) -> Any:
    return numba.cfunc(signature)(body)


@pytest.mark.parametrize(
    ("pointer", "arguments", "message"),
    [
        (total, {"gradient": True}, "double \\*out, double \\*grad"),
        (total, {"n_outputs": 2}, "intptr_t k"),
        (total, {"signature": "scalar"}, "that of signature='batch' without gradient"),
        (numba.cfunc(SCALAR)(total_of_row), {}, "that of signature='scalar'"),
        (wrong(types.double(types.double), lambda x: x), {}, r"double \(double\)"),
        (FFI.callback("int (double *, int, int, double *, void *)", lambda *a: 0), {}, "int, int"),
        (FFI.new("double[3]"), {}, r"cffi data of type 'double\[3\]'|type 'double\[3\]'"),
        (FFI.cast("int", 3), {}, "cffi data of type 'int'"),
        (lambda x: x, {}, "pointer: function given; a numba @cfunc"),
        (numba.njit(lambda x: x), {}, "numba.cfunc"),
        (0, {}, "no address"),
        (-5, {}, "no address"),
        (True, {}, "pointer: bool given"),
        (None, {}, "pointer: NoneType given"),
        (total, {"signature": "vector"}, "one of 'batch', 'scalar'"),
        (total, {"gradient": len}, "a native gradient comes from the same call"),
        (total, {"gradient": True, "n_outputs": 2}, "n_outputs: 2 given with a gradient"),
        (total, {"signature": "scalar", "n_outputs": 2}, "only a batch function"),
        (total, {"n_outputs": 0}, "n_outputs: 0"),
        (total, {"dim": 0}, "dim: 0"),
        (
            ctypes.PYFUNCTYPE(ctypes.c_int, C_NUMBERS, C_SIZE, C_SIZE, C_NUMBERS, ctypes.c_void_p)(
                total_in_python
            ),
            {},
            "interpreter's lock",
        ),
    ],
)
def test_arguments(pointer: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        fm.targets.native(pointer, **{"dim": DIM, **arguments})


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_arrays_in_the_types_of_a_ctypes_function_are_pointers(dtype: str) -> None:
    function = Untyped(total.address)
    array = np.ctypeslib.ndpointer(np.dtype(dtype), ndim=1)
    function.argtypes = [array, ctypes.c_ssize_t, ctypes.c_ssize_t, array, ctypes.c_void_p]
    function.restype = ctypes.c_int
    if dtype == "float64":
        x = points(10)
        np.testing.assert_array_equal(fm.targets.native(function, DIM)(x), totals(x))
    else:
        with pytest.raises(ArgumentError, match=r"int32_t \(float32 \*, int64_t"):
            fm.targets.native(function, DIM)


def test_a_function_of_the_c_library_is_no_target() -> None:
    cos = ctypes.CDLL(None).cos if os.name == "posix" else ctypes.cdll.msvcrt.cos
    cos.argtypes, cos.restype = [ctypes.c_double], ctypes.c_double
    with pytest.raises(ArgumentError, match=r"double \(double\)"):
        fm.targets.native(cos, 1, signature="scalar")


def test_types_that_convert_by_a_rule_of_their_own_are_no_pointers() -> None:
    class Converts:
        @classmethod
        def from_param(cls, value: Any) -> Any:
            return value

    function = Untyped(total.address)
    function.argtypes, function.restype = [Converts()], lambda value: value
    with pytest.raises(ArgumentError, match=r"<lambda> \(Converts\)"):
        fm.targets.native(function, DIM)
