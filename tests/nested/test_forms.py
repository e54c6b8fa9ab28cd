"""Tests of bitwise equality over forms of likelihoods and priors, threads and executors."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cache
from typing import Any

import forms
import natives
import numpy as np
import pytest
from executor_help import spawned
from forms import DIM, c_types, formula, native_density
from nested_runs import assert_same, run
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]
# Chains of the tests may be short.
pytestmark = pytest.mark.filterwarnings("ignore:(chains|families) :fermiac.errors.FermiacWarning")
SAMPLERS: list[dict[str, Any]] = [
    {"sampler": "unif"},
    {"sampler": "unif", "bound": "friends"},
    {"sampler": "slice"},
    {"sampler": fm.nested.Slice(n_slices=5, direction="axes", step_out=True)},
    {"sampler": "rwalk"},
    {"sampler": "auto", "batch": 1},
]


def named(how: dict[str, Any]) -> str:
    return "-".join(v if isinstance(v, str) else type(v).__name__ for v in how.values())


@cache
def reference(index: int) -> fm.nested.NestedResult:
    return run(plan=fm.Plan(n_threads=1), **SAMPLERS[index])


each_sampler = pytest.mark.parametrize("index", range(len(SAMPLERS)), ids=map(named, SAMPLERS))


@cache
def point_density() -> Any:
    """A native function of one point."""
    import numba

    @numba.cfunc(natives.SCALAR)
    def normal(x: Any, d: Any, user: Any) -> float:
        total = 0.0
        for j in range(d):
            u = (x[j] - forms.MEAN[j]) / forms.SD[j]
            total += u * u
        return -0.5 * total - forms.LOG_NORM

    return fm.targets.native(normal, DIM, signature="scalar")


@each_sampler
@pytest.mark.parametrize(
    "make",
    [
        *forms.DENSITIES[1:],
        pytest.param(point_density, id="native of one point"),
        pytest.param(lambda: lambda x: formula(x).tolist(), id="list"),
        pytest.param(lambda: fm.targets.vectorize(row), id="vectorize"),
    ],
)
def test_every_form_of_a_likelihood(index: int, make: Any) -> None:
    assert_same(reference(index), run(make(), **SAMPLERS[index]))


@each_sampler
def test_a_likelihood_in_rust(index: int) -> None:
    """Its bits are those of a function that gives its values."""
    law = forms.builtin_density()
    got = run(law, **SAMPLERS[index])
    assert_same(got, run(lambda x: law.log_density(x), **SAMPLERS[index]))
    assert_same(got, run(forms.law(), **SAMPLERS[index]))
    np.testing.assert_allclose(got.log_likelihoods, formula(got.draws), rtol=1e-13)


def row(x: Array) -> float:
    return float(formula(x[None])[0])


@each_sampler
def test_every_number_of_threads(index: int, thread_counts: tuple[int, ...]) -> None:
    """With batches large enough to be split, and few enough points for uneven shares."""
    for make in (forms.builtin_density, native_density, lambda: formula):
        runs = [
            run(make(), plan=fm.Plan(n_threads=n), **{"n_live": 230, **SAMPLERS[index]})
            for n in thread_counts
        ]
        for other in runs[1:]:
            assert_same(runs[0], other)


def corners(u: Array) -> Array:
    """The map of `PRIOR`, with its roundings."""
    low, high = np.full(DIM, -8.0), np.full(DIM, 10.0)
    out: Array = low + (high - low) * u
    return out


@each_sampler
@pytest.mark.parametrize("n_threads", [1, 3])
def test_every_form_of_a_prior(index: int, n_threads: int) -> None:
    how = {**SAMPLERS[index], "plan": fm.Plan(n_threads=n_threads)}
    ours = fm.distributions.Uniform(-8.0, 10.0)
    for prior in (corners, [ours] * DIM, lambda u: corners(u).tolist()):
        assert_same(reference(index), run(prior=prior, dim=DIM, **how))
    assert_same(reference(index), run(native_density(), corners, **how))


def with_blobs(x: Array) -> tuple[Array, Array]:
    return formula(x), np.column_stack([x[:, 0] * x[:, 1], x[:, 2]])


@cache
def native_with_blobs() -> Any:
    import numba

    types, numbers = c_types()

    @numba.cfunc(types.intc(numbers, *[types.intp] * 3, numbers, types.voidptr))
    def table(x, n, d, k, out, user):  # type: ignore[no-untyped-def]
        for i in range(n):
            total = 0.0
            for j in range(d):
                u = (x[i * d + j] - forms.MEAN[j]) / forms.SD[j]
                total += u * u
            out[i * k] = -0.5 * total - forms.LOG_NORM
            out[i * k + 1] = x[i * d] * x[i * d + 1]
            out[i * k + 2] = x[i * d + 2]
        return 0

    return fm.targets.native(table, DIM, n_outputs=3)


@each_sampler
def test_blobs(index: int) -> None:
    how = SAMPLERS[index]
    got = run(with_blobs, blobs=2, **how)
    assert got.blobs is not None
    expected = np.column_stack([got.draws[:, 0] * got.draws[:, 1], got.draws[:, 2]])
    np.testing.assert_array_equal(got.blobs, expected)
    for name in ("draws", "births", "lineages"):
        np.testing.assert_array_equal(getattr(got, name), getattr(reference(index), name))
    one = run(lambda x: (formula(x), x[:, 2]), blobs=1, **how)
    assert one.blobs is not None
    np.testing.assert_array_equal(one.blobs[:, 0], got.blobs[:, 1])


@each_sampler
def test_native_blobs(index: int) -> None:
    how = SAMPLERS[index]
    expected = run(with_blobs, blobs=2, **how)
    for n_threads in (1, 3):
        got = run(native_with_blobs(), blobs=["a", "b"], plan=fm.Plan(n_threads=n_threads), **how)
        assert_same(expected, got)


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with spawned(2) as executor:
        yield executor


@each_sampler
def test_executors(pool: Executor, index: int) -> None:
    how, expected = SAMPLERS[index], reference(index)
    with ThreadPoolExecutor(3) as threads:
        assert_same(expected, run(plan=threads, **how))
        for shards in ({"n_workers": 2}, {"rows": 1}, {"rows": 7}):
            assert_same(expected, run(plan=fm.executor.Sharded(threads, **shards), **how))
        blobs = run(with_blobs, blobs=2, plan=threads, **how)
        assert_same(run(with_blobs, blobs=2, **how), blobs)
    if index in (0, 2):
        assert_same(expected, run(plan=pool, **how))
        factory = fm.targets.factory("forms:native_density")
        assert_same(expected, run(factory, plan=pool, **how))


class Counting:
    """Counts the rows that it is asked for."""

    def __init__(self) -> None:
        self.rows = 0
        self.largest = 0

    def __call__(self, x: Array) -> Any:
        assert x.dtype == np.float64
        assert x.flags.c_contiguous
        assert x.shape[1] == DIM
        self.rows += len(x)
        self.largest = max(self.largest, len(x))
        out = formula(x)
        x[:] = np.nan  # its own copy
        return out


@each_sampler
def test_every_row_is_counted(index: int) -> None:
    counting = Counting()
    got = run(counting, **SAMPLERS[index])
    assert_same(reference(index), got)
    assert counting.rows == got.n_evals
    # In batches: never one point after another.
    assert counting.largest >= 60
