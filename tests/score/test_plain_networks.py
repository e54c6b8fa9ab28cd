"""C functions as score models: threads of the core, and the numbers of other forms."""

from __future__ import annotations

import ctypes
import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from score_networks import DIM, MEAN, VARIANCE, denoised, noisy, score

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError
from fermiac.score import ScoreModel, integrate, karras

Array = NDArray[np.float64]

NUMBERS = ctypes.POINTER(ctypes.c_double)
SIGNATURE = ctypes.CFUNCTYPE(
    None, NUMBERS, NUMBERS, NUMBERS, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p
)


def arrays(y: Any, s: Any, out: Any, n: int, d: int) -> tuple[Array, Array, Array]:
    shapes = ((n, d), (n,), (n, d))
    y, s, out = (
        np.ctypeslib.as_array(pointer, shape)
        for pointer, shape in zip((y, s, out), shapes, strict=True)
    )
    return y, s[:, None], out


@SIGNATURE
def data(y: Any, s: Any, out: Any, n: int, d: int, user: Any) -> None:
    points, levels, result = arrays(y, s, out, n, d)
    result[:] = denoised(points, levels)


@SIGNATURE
def noise(y: Any, s: Any, out: Any, n: int, d: int, user: Any) -> None:
    points, levels, result = arrays(y, s, out, n, d)
    result[:] = (points - denoised(points, levels)) / levels


@SIGNATURE
def slope(y: Any, s: Any, out: Any, n: int, d: int, user: Any) -> None:
    points, levels, result = arrays(y, s, out, n, d)
    result[:] = score(points, levels)


@SIGNATURE
def shifted(y: Any, s: Any, out: Any, n: int, d: int, user: int) -> None:
    points, _, result = arrays(y, s, out, n, d)
    result[:] = points + np.ctypeslib.as_array(ctypes.cast(user, NUMBERS), (d,))


@SIGNATURE
def lazy(y: Any, s: Any, out: Any, n: int, d: int, user: Any) -> None:
    points, _, result = arrays(y, s, out, n, d)
    result[: n - 1] = points[: n - 1]


FORMS = {"x0": data, "eps": noise, "score": slope}


@pytest.mark.parametrize("prediction", list(FORMS))
def test_predictions_of_c_functions(prediction: str) -> None:
    model = ScoreModel(FORMS[prediction], prediction, dim=DIM)
    y, s = noisy(50)
    assert model.form == "native"
    for levels in (s, np.array([0.3])):
        column = levels[:, None]
        for given, needed, rtol in (
            (model.denoise(y, levels), denoised(y, column), 1e-11),
            (model.score(y, levels), score(y, column), 1e-8 if prediction == "x0" else 1e-11),
        ):
            np.testing.assert_allclose(given, needed, rtol=rtol, atol=1e-12)
    s[3] = 0.0
    np.testing.assert_array_equal(model.denoise(y, s)[3], y[3])
    assert model.denoise(y[:0], 1.0).shape == (0, DIM)


def test_threads_of_the_core_call_them() -> None:
    native = ScoreModel(data, "x0", dim=DIM)
    arrays = ScoreModel(lambda x, s: denoised(x, s[:, None]), "x0")
    assert not isinstance(native._core(DIM), tuple)
    y0 = 12.0 * np.random.default_rng(0).normal(size=(300, DIM))
    grid = karras(8, 0.05, 12.0, final="zero")
    for method in ("dpmpp_2m", "ancestral"):
        one = integrate(native, y0, grid, method, rng=1, plan=fm.Plan(n_threads=1))
        two = integrate(native, y0, grid, method, rng=1, plan=fm.Plan(n_threads=2))
        np.testing.assert_array_equal(one, two)
        np.testing.assert_allclose(one, integrate(arrays, y0, grid, method, rng=1), rtol=1e-10)


def test_numba_functions_run_without_the_interpreter() -> None:
    numba = pytest.importorskip("numba")
    types = numba.types
    numbers = types.CPointer(types.double)
    mean = MEAN.copy()

    @numba.cfunc(types.void(numbers, numbers, numbers, types.uintp, types.uintp, types.voidptr))
    def normal(y, s, out, n, d, user):  # type: ignore[no-untyped-def]
        for i in range(n):
            v = s[i] * s[i]
            for j in range(d):
                out[i * d + j] = (v * mean[j] + VARIANCE * y[i * d + j]) / (v + VARIANCE)

    y, s = noisy(10_000)
    model = ScoreModel(normal, "x0", dim=DIM)
    np.testing.assert_allclose(model.denoise(y, s), denoised(y, s[:, None]), rtol=1e-12)


def test_user_data_is_kept_and_passed() -> None:
    shift = np.arange(DIM, dtype=float)
    model = ScoreModel(shifted, "x0", dim=DIM, user_data=shift)
    y, s = noisy(5)
    del shift
    np.testing.assert_array_equal(model.denoise(y, s), y + np.arange(DIM))


def test_rows_that_are_left_unwritten_are_found() -> None:
    model = ScoreModel(lazy, "x0", dim=DIM)
    y, s = noisy(5)
    with pytest.raises(TargetError, match="left numbers unwritten, the first of them in row 4"):
        model.denoise(y, s)


def test_what_is_refused() -> None:
    calls: list[dict[str, Any]] = [{"max_batch": 3}, {"dtype": "float32"}, {"time_scale": 2.0}]
    for unused in (*calls, {"device": "cpu"}):
        with pytest.raises(ArgumentError, match="of which a C function, called with y and s"):
            ScoreModel(data, "x0", dim=DIM, **unused)
    with pytest.raises(ArgumentError, match="dim: not given"):
        ScoreModel(data, "x0")
    for prediction, kind in (("v", "vp"), ("x0", "vp"), ("edm", "edm")):
        with pytest.raises(ArgumentError, match="a C function is given y and s"):
            ScoreModel(data, prediction, kind, dim=DIM)
    wrong = ctypes.CFUNCTYPE(ctypes.c_int, NUMBERS, ctypes.c_size_t)(lambda y, n: 0)
    with pytest.raises(ArgumentError, match=r"const double \*s, double \*out, size_t n"):
        ScoreModel(wrong, "x0", dim=DIM)
    with pytest.raises(ArgumentError, match="not an address"):
        ScoreModel(-5, "x0", dim=DIM)
    address = ctypes.cast(data, ctypes.c_void_p).value
    untyped = ctypes.CDLL(None).free
    for nameless in (1, address, untyped):
        with pytest.raises(ArgumentError, match=r"does not tell its signature(.|\n)*double \*out"):
            ScoreModel(nameless, "x0", dim=DIM)
    assert ScoreModel(SIGNATURE(address), "x0", dim=DIM).form == "native"
    model = ScoreModel(data, "x0", dim=DIM)
    with pytest.raises(ArgumentError, match="the C function takes 4"):
        model._core(3)
    with pytest.raises(pickle.PicklingError, match=r"targets\.factory"):
        pickle.dumps(model)
