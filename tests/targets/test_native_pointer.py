"""Native targets: pointers of all makes, signatures, user data, statuses, exceptions, threads."""

from __future__ import annotations

import copy
import ctypes
import os
import pickle
import signal
import threading
import time
from typing import Any

import cffi
import numba
import numpy as np
import pytest
import scipy
from child_processes import child, output
from forms import DIM, law, native_density, points
from natives import (
    BATCH,
    C_BATCH,
    C_NUMBERS,
    C_SCALAR,
    C_SIZE,
    NUMBERS,
    SCALAR,
    Untyped,
    total,
    total_in_python,
    total_of_row,
    totals,
)
from numba import types
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError
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
        (0, {}, "not an address"),
        (-5, {}, "not an address"),
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


Array = NDArray[np.float64]


# Python prints an exception that it cannot raise, and pytest makes a warning of that.
unraisable = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@numba.cfunc(BATCH)
def scaled(x: Any, n: Any, d: Any, out: Any, user: Any) -> int:
    factors = numba.carray(user, 2, types.float64)
    for i in range(n):
        out[i] = factors[0] * x[i * d] + factors[1]
    return 0


def test_user_data_arrive_and_live() -> None:
    x, factors = points(10), np.array([2.0, 0.5])
    expected = 2.0 * x[:, 0] + 0.5
    whole = (ctypes.c_double * 2)(*factors)
    FFI.cdef("struct line { double slope, intercept; };", override=True)
    line = FFI.new("struct line *", list(factors))
    for data in (
        factors.copy(),
        factors.tobytes(),
        whole,
        ctypes.cast(whole, C_NUMBERS),
        ctypes.cast(whole, ctypes.c_void_p),
        ctypes.addressof(whole),
        ctypes.cast(whole, ctypes.c_char_p),
        FFI.new("double[2]", list(factors)),
        FFI.buffer(line),
        line,
        line[0],
    ):
        target = fm.targets.native(scaled, DIM, user_data=data)
        np.testing.assert_array_equal(target(x), expected)
    callable_ = scipy.LowLevelCallable(scaled.ctypes, ctypes.cast(whole, ctypes.c_void_p))
    np.testing.assert_array_equal(fm.targets.native(callable_, DIM)(x), expected)


def test_callbacks_are_user_data() -> None:
    callback = C_BATCH(total_in_python)

    @C_BATCH
    def forwards(x: Any, n: int, d: int, out: Any, user: int) -> int:
        return C_BATCH(user)(x, n, d, out, None)

    x = points(10)
    np.testing.assert_array_equal(
        fm.targets.native(forwards, DIM, user_data=callback)(x), totals(x)
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("text", "user_data: str given"),
        (-1, "not an address"),
        (2**64, "not an address"),
        (np.int64(4096), "int64 given; int.value. is an address"),
        (np.zeros((3, 4))[:, 1], r"shape \(3,\), strides \(32,\) .* in C order"),
        (np.zeros((3, 4)).T, "ascontiguousarray"),
        (np.array([None]), "type object given"),
        (FFI.cast("int", 4096), "cffi data of type 'int'"),
    ],
)
def test_what_is_no_user_data(data: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        fm.targets.native(total, DIM, user_data=data)


def test_declared_numbers_are_never_null() -> None:
    pointer = FFI.cast("int (*)(double *, long, long, double *, double *)", total.address)
    for make in (fm.targets.native, fm.targets.as_target):
        with pytest.raises(ArgumentError, match="user_data: not given, and the last"):
            make(pointer, DIM)
    x = points(10)
    np.testing.assert_array_equal(
        fm.targets.native(pointer, DIM, user_data=np.zeros(1))(x), totals(x)
    )


def test_a_function_of_one_point_reads_its_user_data_by_their_type() -> None:
    @numba.cfunc(types.double(NUMBERS, types.intp, NUMBERS))
    def line(x, d, factors):  # type: ignore[no-untyped-def]
        return factors[0] * x[0] + factors[1]

    target = fm.targets.native(line, DIM, "scalar", user_data=np.array([2.0, 0.5]))
    x = points(10)
    np.testing.assert_array_equal(target(x), 2.0 * x[:, 0] + 0.5)


def test_points_that_are_not_aligned_are_copied() -> None:
    x = points(10)
    apart = np.frombuffer(b"." + x.tobytes(), np.uint8)[1:].view(np.float64).reshape(x.shape)
    assert not apart.flags.aligned
    np.testing.assert_array_equal(fm.targets.native(total, DIM).log_density(apart), totals(x))


def test_the_owner_is_kept_alive() -> None:
    def make() -> Any:
        return fm.targets.native(C_BATCH(total_in_python), DIM)

    target, x = make(), points(100)
    [C_BATCH(lambda *a: 1) for _ in range(100)]
    np.testing.assert_array_equal(target(x), totals(x))


@numba.cfunc(BATCH)
def says(x: Any, n: Any, d: Any, out: Any, user: Any) -> int:
    """A status by the third coordinate of any point; 1, nothing or NaN by the first."""
    status = 0
    for i in range(n):
        if x[i * d] < 10.0:
            out[i] = 1.0
        elif x[i * d] > 20.0:
            out[i] = np.nan
        if x[i * d + 2] != 0.0:
            status = int(x[i * d + 2])
    return status


def batch(n: int, first: float = 0.0, row: int = 0, status: int = 0) -> Array:
    x = np.zeros((n, DIM))
    x[row, 0] = first
    x[row, 2] = status
    return x


def test_positive_statuses_refuse_rows() -> None:
    target = fm.targets.native(says, DIM)
    values = target.log_density(batch(10, 25.0, 7, 1))
    np.testing.assert_array_equal(values, np.where(np.arange(10) == 7, -np.inf, 1.0))
    # No NaN: all rows of the call, which is a chunk of 4096.
    values = target.log_density(batch(5000, 0.0, 4999, 200))
    np.testing.assert_array_equal(values, np.where(np.arange(5000) >= 4096, -np.inf, 1.0))
    with pytest.raises(TargetError, match="'says' cannot be evaluated at row 4999 of the batch"):
        target(batch(5000, 25.0, 4999, 200))


@pytest.mark.parametrize("status", [0, 1, 200])
def test_what_is_unwritten_is_an_error_whatever_the_status(status: int) -> None:
    # A callback that an exception has left returns any number, from 1 to 255 as well.
    target = fm.targets.native(says, DIM)
    for call in (target, target.log_density):
        with pytest.raises(TargetError, match="'says' left row 7 of the batch unwritten"):
            call(batch(10, 11.0, 7, status))


@pytest.mark.parametrize("status", [-1, -77, 256, 2**31 - 1])
def test_other_statuses_stop(status: int) -> None:
    target = fm.targets.native(says, DIM)
    for call in (target, target.log_density):
        with pytest.raises(TargetError, match=rf"'says' gave up .* returned {status}\b"):
            call(batch(10, 0.0, 3, status))


@pytest.mark.parametrize("row", [0, 137, 4999, 70_001])
def test_rows_that_are_left_unwritten_are_named(row: int, thread_counts: tuple[int, ...]) -> None:
    target, x = fm.targets.native(says, DIM), batch(80_000, 11.0, row)
    message = rf"the native target 'says' left row {row} of the batch unwritten \(did it raise"
    for n_threads in thread_counts:
        fm.set_num_threads(n_threads)
        try:
            for call in (target, target.log_density):
                with pytest.raises(TargetError, match=message):
                    call(x)
        finally:
            fm.set_num_threads(None)


def test_a_nan_is_not_unwritten() -> None:
    target, x = fm.targets.native(says, DIM), batch(5000, 25.0, 4500)
    assert np.flatnonzero(np.isnan(target(x))).tolist() == [4500]
    with pytest.raises(TargetError, match="log-density is NaN at row 4500 of the batch"):
        target.log_density(x)


@numba.cfunc(BATCH)
def raises(x: Any, n: Any, d: Any, out: Any, user: Any) -> int:
    for i in range(n):
        if x[i * d] > 10.0:
            raise ValueError("too large")
        out[i] = 1.0
    return 0


def raises_at_a_row(x: Any, d: Any, user: Any) -> float:
    if x[0] > 10.0:
        raise ValueError("too large")
    return 1.0


@unraisable
@pytest.mark.parametrize("form", ["batch", "scalar"])
def test_a_numba_function_that_raises_is_an_error(
    form: str, capfd: pytest.CaptureFixture[str]
) -> None:
    function = raises if form == "batch" else numba.cfunc(SCALAR)(raises_at_a_row)
    target = fm.targets.native(function, DIM, signature=form)
    np.testing.assert_array_equal(target(batch(5000)), np.ones(5000))
    name = "raises" if form == "batch" else "raises_at_a_row"
    with pytest.raises(TargetError, match=f"'{name}' left row 4500 of the batch unwritten"):
        target.log_density(batch(5000, 11.0, 4500))
    # By whatever method, and whatever that makes of values that are not finite.
    with pytest.raises(TargetError, match=f"'{name}' left evaluation .* unwritten"):
        fm.importance.expect(
            target, fm.distributions.Normal(np.full(DIM, 8.0)), n=1000, on_nan="zero", rng=0
        )


@unraisable
@pytest.mark.parametrize("make", ["cffi", "ctypes with a status"])
def test_a_python_callback_that_raises_is_an_error(
    make: str, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(*arguments: Any) -> int:
        raise ValueError("mine")

    def caught(*arguments: Any) -> int:
        try:
            return fails()
        except ValueError:
            return -2

    pointer = FFI.callback(FORMS["batch"])(fails) if make == "cffi" else C_BATCH(caught)
    with pytest.raises(TargetError, match="unwritten" if make == "cffi" else "returned -2"):
        fm.targets.native(pointer, DIM).log_density(points(10))


def test_an_integrand_that_refuses_a_row_is_an_error_or_counts_as_zero() -> None:
    @numba.cfunc(BATCH)
    def half(x, n, d, out, user):  # type: ignore[no-untyped-def]
        for i in range(n):
            out[i] = 1.0 if x[i * d] > 0.0 else np.nan
        return 3

    target = fm.targets.native(half, 1)
    normal = fm.distributions.Normal()
    with pytest.raises(TargetError, match="the integrand is refused"):
        fm.importance.expect(target, normal, n=4000, rng=0)
    with pytest.warns(fm.errors.FermiacWarning, match="not finite"):
        e = fm.importance.expect(target, normal, n=4000, on_nan="zero", method="mc", rng=0)
    assert abs(e.mean - 0.5) < 5 * e.stderr


def test_gradients() -> None:
    target = native_density()
    assert target.has_gradient

    @numba.cfunc(types.intc(NUMBERS, types.intp, types.intp, NUMBERS, NUMBERS, types.voidptr))
    def forgets(x, n, d, out, gradient, user):  # type: ignore[no-untyped-def]
        for i in range(n):
            out[i] = -np.inf if x[i * d] < 0.0 else 0.0
            if 0.0 <= x[i * d] < 10.0:
                for j in range(d):
                    gradient[i * d + j] = 0.0
        return 0

    target = fm.targets.native(forgets, DIM, gradient=True)
    # Where the density is 0 the gradient means nothing.
    target.log_density_and_gradient(batch(5000, -1.0, 4500))
    with pytest.raises(TargetError, match="left row 4500 of the batch unwritten"):
        target.log_density_and_gradient(batch(5000, 11.0, 4500))
    np.testing.assert_array_equal(target.log_density(batch(3, -1.0)), [-np.inf, 0.0, 0.0])


def test_a_log_density_has_one_output() -> None:
    @numba.cfunc(types.intc(NUMBERS, *[types.intp] * 3, NUMBERS, types.voidptr))
    def powers(x, n, d, k, out, user):  # type: ignore[no-untyped-def]
        for i in range(n):
            for j in range(k):
                out[i * k + j] = x[i * d] ** (j + 1)
        return 0

    two = fm.targets.native(powers, DIM, n_outputs=2)
    x = points(10)
    np.testing.assert_array_equal(two(x), x[:, :1] ** [1, 2])
    with pytest.raises(ArgumentError, match="gives 2 numbers per point"):
        two.log_density(x)
    with pytest.raises(ArgumentError, match="gives 2 numbers per point"):
        fm.targets.as_target(two, DIM)
    np.testing.assert_array_equal(fm.targets.native(powers, DIM).log_density(x), x[:, 0])
    with pytest.raises(ArgumentError, match=r"native\(f, dim, n_outputs=k\)"):
        fm.targets.as_target(powers, DIM)


def test_workers_call_without_the_interpreter() -> None:
    """Every worker waits for the other one: with the interpreter's lock none would come."""
    barrier = threading.Barrier(2, timeout=30)

    def meet(x: Any, n: int, d: int, out: Any, user: Any) -> int:
        barrier.wait()
        for i in range(n):
            out[i] = 1.0
        return 0

    target = fm.targets.native(C_BATCH(meet), 1)
    fm.set_num_threads(2)
    try:
        assert np.all(target(np.zeros((8192, 1))) == 1.0)
    finally:
        fm.set_num_threads(None)


def test_native_targets_do_not_travel() -> None:
    target = fm.targets.native(total, DIM)
    with pytest.raises(pickle.PicklingError, match=r"targets\.factory\('module:function'\)"):
        pickle.dumps(target)
    assert copy.copy(target) is target
    assert copy.deepcopy([target])[0] is target
    assert repr(target) == "<native target 'total', dim=3>"
    assert repr(native_density()) == "<native target 'normal', dim=3, gradient=True>"


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_gives_the_partial_result(threads: int) -> None:
    code = f"""
        import numba
        from numba import types
        import fermiac as fm
        numbers = types.CPointer(types.double)
        @numba.cfunc(types.intc(numbers, types.intp, types.intp, numbers, types.voidptr))
        def square(x, n, d, out, user):
            for i in range(n):
                out[i] = x[i] ** 2
            return 0
        f, law = fm.targets.native(square, 1), fm.distributions.Normal()
        ready = []
        def report(done, total):
            if not ready:
                ready.append(print("ready", flush=True))
        try:
            fm.importance.expect(
                f, law, n=10**12, method="mc", rng=0,
                plan=fm.Plan(n_threads={threads}, progress=report),
            )
        except KeyboardInterrupt as error:
            e = error.partial_result
            print(e.status, e.mean, e.stderr, e.n_evals)
    """
    process = child(code)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    process.send_signal(signal.SIGINT)
    status, mean, stderr, n_evals = output(process)
    assert status == "interrupted"
    assert abs(float(mean) - 1.0) < 5 * float(stderr)
    assert 0 < int(n_evals) < 10**12


POINT = types.int64(types.uint64, NUMBERS, NUMBERS, NUMBERS, types.voidptr)


@numba.cfunc(POINT)
def parabola_of_point(n: Any, x: Any, gradient: Any, value: Any, user: Any) -> int:
    """The sum of -x²/2; 3 where x[0] > 10, -1 where it is 21, nothing written where it is 31."""
    if x[0] == 31.0:
        return 0
    if x[0] == 21.0:
        return -1
    if x[0] > 10.0:
        return 3
    value[0] = 0.0
    for i in range(n):
        value[0] -= 0.5 * x[i] ** 2
        gradient[i] = -x[i]
        x[i] = 1e9  # allowed: it is a copy
    return 0


C_POINT = ctypes.CFUNCTYPE(
    ctypes.c_int64, ctypes.c_uint64, C_NUMBERS, C_NUMBERS, C_NUMBERS, ctypes.c_void_p
)


@pytest.mark.parametrize(
    "pointer",
    [
        parabola_of_point,
        parabola_of_point.ctypes,
        parabola_of_point.address,
        FFI.cast(
            "int64_t (*)(uint64_t, double *, double *, double *, void *)",
            parabola_of_point.address,
        ),
    ],
    ids=["numba", "ctypes", "address", "cffi"],
)
def test_functions_of_one_point_with_gradients(pointer: Any) -> None:
    target, x = fm.targets.native(pointer, DIM, "point-gradient"), points(5000) % 5.0
    before = x.copy()
    values, slopes = target.log_density_and_gradient(x)
    np.testing.assert_allclose(values, -0.5 * (x**2).sum(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(slopes, -x)
    np.testing.assert_array_equal(x, before)
    assert target.has_gradient
    np.testing.assert_array_equal(target(x), values)


@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")  # short chains
def test_statuses_of_functions_of_one_point() -> None:
    target = fm.targets.as_target(parabola_of_point, 1)
    np.testing.assert_array_equal(target.log_density([[1.0], [11.0]]), [-0.5, -np.inf])
    assert "returned 3" in str(target._complaint)
    with pytest.raises(TargetError, match="gave up: it returned -1"):
        target.log_density([[21.0]])
    with pytest.raises(TargetError, match="unwritten"):
        target.log_density([[31.0]])
    s = fm.mcmc.sample(target, n_chains=2, n_warmup=200, n_draws=200, rng=0)
    for n in (1, 8):
        again = fm.mcmc.sample(
            target, n_chains=2, n_warmup=200, n_draws=200, rng=0, plan=fm.Plan(n_threads=n)
        )
        np.testing.assert_array_equal(again.draws, s.draws)


@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")  # short chains
def test_a_function_that_knows_no_threads_is_called_by_one() -> None:
    inside, most = [], [0]

    @C_POINT
    def slow(n: int, x: Any, gradient: Any, value: Any, user: Any) -> int:
        inside.append(1)
        most[0] = max(most[0], len(inside))
        time.sleep(1e-4)
        value[0], gradient[0] = -0.5 * x[0] ** 2, -x[0]
        inside.pop()
        return 0

    target = fm.targets.native(slow, 1, "point-gradient", one_at_a_time=True)
    fm.mcmc.sample(target, n_chains=4, n_warmup=20, n_draws=20, rng=0, plan=fm.Plan(n_threads=4))
    assert most[0] == 1


C_BRIDGE = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_bool,
    ctypes.c_bool,
    C_NUMBERS,
    C_NUMBERS,
    C_NUMBERS,
    ctypes.POINTER(ctypes.c_char_p),
)


@C_BRIDGE
def bridge(
    model: Any, propto: bool, jacobian: bool, x: Any, value: Any, gradient: Any, message: Any
) -> int:
    """-model x²/2, where the model is the number 4."""
    assert jacobian
    assert not propto
    value[0], gradient[0] = -0.5 * model * x[0] ** 2, -model * x[0]
    return -1 if x[0] > 10 else 0


def test_the_interface_of_bridgestan() -> None:
    target = fm.targets.native(bridge, 1, "bridgestan", user_data=4)
    values, slopes = target.log_density_and_gradient([[2.0], [11.0]])
    np.testing.assert_array_equal(values, [-8.0, -np.inf])
    assert slopes[0, 0] == -8.0
    assert "returned -1" in str(target._complaint)
    for arguments, said in (
        ({"n_outputs": 2}, "one value"),
        ({"free_message": "text"}, "pointer"),
        ({"one_at_a_time": 1}, "True or False"),
    ):
        with pytest.raises(ArgumentError, match=said):
            fm.targets.native(bridge, 1, "bridgestan", user_data=4, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="free_message"):
        fm.targets.native(total, 1, free_message=total)
    with pytest.raises(ArgumentError, match="user_data"):
        fm.targets.native(bridge, 1, "bridgestan")
