"""One log-density in the four forms of a target, each beside the bare call on the same batch.

``OMP_NUM_THREADS=1 pytest benches/targets/bench.py --benchmark-group-by=group``: one thread for
fermiac, NumPy and torch. The density is a correlated Gaussian of ten dimensions. Rows named `bare`
are what the form costs without fermiac: the NumPy function, the torch module under inference mode,
the C function through ctypes. The torch target is called as methods call it, with a batch that it
may keep (its public methods copy the batch first), and in evaluation mode as the bare module is.
extra_info has nanoseconds per evaluation and the largest error against the closed form.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]
DIM = 10
BATCHES = (1, 64, 4096, 65536)
CORRELATION = 0.5
COV = (1.0 - CORRELATION) * np.eye(DIM) + CORRELATION
# Whitening by the inverse Cholesky factor: what the built-in density does as well.
ROOT = np.linalg.inv(np.linalg.cholesky(COV))
BLOCK = 64
LOG_NORM = float(0.5 * DIM * np.log(2.0 * np.pi) - np.log(np.diag(ROOT)).sum())


@cache
def points(n: int) -> Array:
    return np.random.default_rng(1).multivariate_normal(np.zeros(DIM), COV, size=n)


@cache
def exact(n: int) -> Array:
    values: Array = np.atleast_1d(
        scipy.stats.multivariate_normal(np.zeros(DIM), COV).logpdf(points(n))
    )
    return values


def gaussian(x: Array) -> Array:
    z = x @ ROOT.T
    values: Array = -0.5 * np.einsum("nd,nd->n", z, z) - LOG_NORM
    return values


@cache
def cfunc() -> Any:
    import numba
    from numba import types

    numbers = types.CPointer(types.double)
    signature = types.intc(numbers, types.intp, types.intp, numbers, types.voidptr)

    # Coordinate by coordinate over a block of points, so that the compiler can use vector
    # instructions as the core does.
    @numba.cfunc(signature)
    def native_gaussian(x, n, d, out, user):  # type: ignore[no-untyped-def]
        points, values = numba.carray(x, (n, DIM)), numba.carray(out, n)
        columns, z = np.empty((DIM, BLOCK)), np.empty(BLOCK)
        for start in range(0, n, BLOCK):
            rows = min(BLOCK, n - start)
            for i in range(rows):
                for j in range(DIM):
                    columns[j, i] = points[start + i, j]
                values[start + i] = 0.0
            for k in range(DIM):
                factor, column = ROOT[k, 0], columns[0]
                for i in range(rows):
                    z[i] = factor * column[i]
                for j in range(1, k + 1):
                    factor, column = ROOT[k, j], columns[j]
                    for i in range(rows):
                        z[i] += factor * column[i]
                for i in range(rows):
                    values[start + i] += z[i] * z[i]
            for i in range(rows):
                values[start + i] = -0.5 * values[start + i] - LOG_NORM
        return 0

    return native_gaussian


@cache
def module() -> Any:
    import torch

    class Gaussian(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("root", torch.from_numpy(ROOT.copy()))

        def forward(self, x: Any) -> Any:
            z = x @ self.root.T
            return -0.5 * (z * z).sum(1) - LOG_NORM

    return Gaussian()


def bare_numpy(n: int) -> Callable[[], Array]:
    x = points(n)
    return lambda: gaussian(x)


def bare_torch(n: int) -> Callable[[], Array]:
    import torch

    x, f = torch.from_numpy(points(n)), module().eval()

    def call() -> Array:
        with torch.inference_mode():
            values: Array = f(x).numpy()
        return values

    return call


def bare_native(n: int) -> Callable[[], Array]:
    x, out, f = points(n), np.empty(n), cfunc().ctypes
    pointers = [ctypes.cast(a.ctypes.data, f.argtypes[0]) for a in (x, out)]

    def call() -> Array:
        f(pointers[0], n, DIM, pointers[1], None)
        return out

    return call


def of(target: Any) -> Callable[[int], Callable[[], Array]]:
    def make(n: int) -> Callable[[], Array]:
        x, f = points(n), target()
        return lambda: f.log_density(x)

    return make


def of_torch(n: int) -> Callable[[], Array]:
    x, f = points(n), fm.targets.torch(module().eval(), DIM)
    return lambda: f._evaluate(x, False)[0]


def builtin() -> Any:
    return fm.targets.law_density(fm.distributions.MultivariateNormal(np.zeros(DIM), COV))


FORMS: dict[str, Callable[[int], Callable[[], Array]]] = {
    "builtin": of(builtin),
    "native": of(lambda: fm.targets.native(cfunc(), DIM)),
    "native bare": bare_native,
    "python": of(lambda: fm.targets.as_target(gaussian, DIM)),
    "python bare": bare_numpy,
    "torch": of_torch,
    "torch bare": bare_torch,
}


@pytest.mark.parametrize("n", BATCHES)
@pytest.mark.parametrize("form", FORMS)
def bench_log_density(benchmark: Any, form: str, n: int) -> None:
    if form.startswith("torch"):
        pytest.importorskip("torch")
    benchmark.group = f"log-density, d={DIM}, batch={n}"
    call = FORMS[form](n)
    fm.set_num_threads(1)
    try:
        values = benchmark(call)
    finally:
        fm.set_num_threads(None)
    error = float(np.max(np.abs(values - exact(n))))
    benchmark.extra_info["max_error"] = error
    if benchmark.stats is not None:
        benchmark.extra_info["ns_per_evaluation"] = round(1e9 * benchmark.stats.stats.min / n, 2)
    assert error < 1e-12
