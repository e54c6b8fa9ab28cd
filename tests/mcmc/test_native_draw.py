"""Exact draws of blocks by C functions."""

from __future__ import annotations

import ctypes
import pickle
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from gibbs_help import Run

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError

mcmc, of = fm.mcmc, fm.mcmc.conditionals
NUMBERS = ctypes.POINTER(ctypes.c_double)
DRAW = ctypes.CFUNCTYPE(
    ctypes.c_int64, NUMBERS, ctypes.c_int64, ctypes.c_void_p, NUMBERS, ctypes.c_void_p
)
DRAWS = of.stream_functions()

SOURCE = """
#include "stream.h"

/* A normal number above data[0], by exponential proposals: Robert (1995). */
int64_t tail(const double *x, int64_t dim, fermiac_stream *stream, double *block, void *data) {
    double low = *(const double *)data, excess;
    if (x[dim - 1] < -1e6)
        return 3;
    if (x[dim - 1] < -1e5)
        return 0;
    do {
        excess = stream->exponential(stream) / low;
    } while (2 * stream->exponential(stream) < excess * excess);
    block[0] = low + excess;
    return 0;
}

/* A number of every kind. */
int64_t each(const double *x, int64_t dim, fermiac_stream *stream, double *block, void *data) {
    block[0] = stream->uniform(stream);
    block[1] = stream->normal(stream);
    block[2] = stream->exponential(stream);
    block[3] = stream->gamma(stream, 0.5);
    return dim == 4 ? 0 : -1;
}

/* The mean and the variance of n normal numbers with mean m and sum of squares s about it. */
int64_t mean(const double *x, int64_t dim, fermiac_stream *stream, double *block, void *data) {
    const double *d = data;
    double precision = d[0] / x[1] + d[3], mean = d[0] * d[1] / x[1] / precision;
    block[0] = mean + stream->normal(stream) / __builtin_sqrt(precision);
    return 0;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: Any) -> Any:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    folder: Path = tmp_path_factory.mktemp("native")
    (folder / "stream.h").write_text(of.stream_header())
    (folder / "draws.c").write_text(SOURCE)
    command = [compiler, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", "draws.so", "draws.c"]
    subprocess.run(command, cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "draws.so"))


def test_rejection_in_c_keeps_the_law_on_any_number_of_threads(
    library: Any, thread_counts: tuple[int, ...]
) -> None:
    kernel = of.native(library.tail, np.array([2.0]))
    draws = Run(kernel, np.zeros((100, 1))).go(50)[0]
    law = scipy.stats.truncnorm(2.0, np.inf)
    assert scipy.stats.kstest(draws.ravel(), law.cdf).pvalue > 1e-6
    for n_threads in thread_counts:
        for driver in ("lock", "free"):
            again = Run(kernel, np.zeros((9, 1))).go(50, driver=driver, n_threads=n_threads)[0]
            np.testing.assert_array_equal(again, draws[:9])


def test_numbers_of_a_native_draw_are_those_of_a_python_draw(library: Any) -> None:
    def each(x: Any, rng: Any) -> Any:
        columns = [rng.uniform(), rng.normal(), rng.exponential(), rng.gamma(0.5, 1.0)]
        return np.stack(columns, axis=1)

    start = np.zeros((5, 4))
    native = Run(of.native(library.each), start).go(20)[0]
    np.testing.assert_array_equal(native, Run(mcmc.Conditional(each), start).go(20)[0])


def test_a_native_block_beside_a_conjugate_one(library: Any, tmp_path: Path) -> None:
    y = np.array([4.8, 5.3, 6.1, 4.4, 5.9])
    data = np.array([5.0, y.mean(), 0.0, 0.01])
    variance = of.NormalVariance(y, "m", shape=2.0, scale=1.0)

    def run(mean: Any, n: int = 500, **more: Any) -> Any:
        kernel = mcmc.Gibbs([("m", mean), ("v", variance)], blocks={"m": 0, "v": 1})
        return mcmc.sample(
            None, 2, kernel=kernel, init=[5.0, 1.0], n_draws=n, n_warmup=5, rng=4, **more
        )

    conjugate = run(of.NormalMean(y, "v", prior_mean=0.0, prior_variance=100.0))
    native = of.native(library.mean, data)
    whole = run(native)
    np.testing.assert_allclose(whole.draws, conjugate.draws, rtol=1e-10)
    kept = fm.Plan(store=tmp_path)
    run(native, 300, plan=kept)
    np.testing.assert_array_equal(run(native, plan=kept).draws, whole.draws)
    logs = run(native, transforms={1: "log"})
    np.testing.assert_allclose(logs.draws, whole.draws, rtol=1e-9)


def test_failures_of_native_draws_are_told(library: Any) -> None:
    kernel = of.native(library.tail, np.array([2.0]))

    def run(x: float) -> None:
        mcmc.sample(None, 1, kernel=kernel, init=[x], n_chains=1, n_warmup=0, n_draws=2, rng=0)

    with pytest.raises(TargetError, match=r"chain 0, transition 0.*gave up: it returned 3"):
        run(-2e6)
    with pytest.raises(TargetError, match="unwritten"):
        run(-2e5)

    @DRAW
    def infinite(x: Any, dim: Any, stream: Any, block: Any, data: Any) -> int:
        block[0] = np.inf
        return 0

    with pytest.raises(TargetError, match="finite"):
        mcmc.sample(None, 1, kernel=of.native(infinite), n_warmup=0, n_draws=2, rng=0)

    @DRAW
    def bad_shape(x: Any, dim: Any, stream: Any, block: Any, data: Any) -> int:
        block[0] = DRAWS.gamma(stream, -1.0) + DRAWS.gamma(stream, float("nan"))
        return 0

    with pytest.raises(TargetError, match="finite"):
        mcmc.sample(None, 1, kernel=of.native(bad_shape), n_warmup=0, n_draws=2, rng=0)


def test_what_is_no_draw_is_refused() -> None:
    with pytest.raises(ArgumentError, match="pointer"):
        of.native(lambda x: x)
    with pytest.raises(ArgumentError, match="not an address"):
        of.native(0)
    other = ctypes.CFUNCTYPE(ctypes.c_int, NUMBERS, ctypes.c_int64)
    with pytest.raises(ArgumentError, match=r"double \*block"):
        of.native(other(lambda x, n: 0))
    with pytest.raises(ArgumentError, match=r"conditionals\.native"):
        fm.targets.native(DRAW(lambda *a: 0), 2)
    with pytest.raises(ArgumentError, match="user_data"):
        of.native(DRAW(lambda *a: 0), "text")


def test_a_native_conditional_is_not_pickled() -> None:
    kernel = of.native(DRAW(lambda *a: 0))
    with pytest.raises(pickle.PicklingError, match="address"):
        pickle.dumps(kernel)
    assert "address" not in repr(kernel)
    assert kernel._settings()["kernel"] == "NativeConditional"


def test_numba_draws_from_the_stream() -> None:
    numba = pytest.importorskip("numba")
    types = numba.types
    normal, gamma = DRAWS.normal, DRAWS.gamma
    numbers = types.CPointer(types.double)

    @numba.cfunc(types.int64(numbers, types.int64, types.voidptr, numbers, types.voidptr))
    def draw(x: Any, dim: Any, stream: Any, block: Any, data: Any) -> int:
        block[0] = gamma(stream, 2.5)
        block[1] = normal(stream)
        while block[1] < 0.0:
            block[1] = normal(stream)
        return 0

    draws = Run(of.native(draw), np.zeros((200, 2))).go(20)[0].reshape(-1, 2)
    assert scipy.stats.kstest(draws[:, 0], scipy.stats.gamma(2.5).cdf).pvalue > 1e-6
    assert scipy.stats.kstest(draws[:, 1], scipy.stats.halfnorm().cdf).pvalue > 1e-6
