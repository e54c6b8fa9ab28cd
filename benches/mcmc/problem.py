"""A log-density in the forms that samplers take, and the check that all forms agree."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """Functions of draws (..., d) -> (..., k) with known means, and the errors of the means."""

    of: Callable[[Array], Array]
    mean: Array
    mcse: Array | float = 0.0


@dataclass(frozen=True, eq=False)
class Problem:
    """A log-density in all its forms."""

    name: str
    dim: int
    values: Callable[[Array], Array]  # (n, d) -> (n,)
    pair: Callable[[Array], tuple[Array, Array]]  # with the gradients
    scalar: Callable[[Array, Array], float]  # a point, its gradient to fill; numba compiles it
    jax: Callable[[], Callable[[Any], Any]]
    builtin: Callable[[], Any] | None
    answers: Answers
    data: tuple[Array, Array] | None = None  # design and observations

    @cached_property
    def compiled(self) -> Any:
        """The compiled scalar function; as in C, divisions by 0 do not raise.

        Sums may be reordered, as with -ffast-math in C.
        """
        import numba

        fast = {"reassoc", "contract", "nsz"}
        return numba.njit(self.scalar, fastmath=fast, error_model="numpy")

    @cached_property
    def cfunc(self) -> Any:
        """A batch with gradients, as `fermiac.targets.native` takes it."""
        import numba
        from numba import types

        f, numbers = self.compiled, types.CPointer(types.double)

        @numba.cfunc(types.intc(numbers, types.intp, types.intp, numbers, numbers, types.voidptr))
        def batch(x, n, d, out, grad, user):  # type: ignore[no-untyped-def]
            points, values = numba.carray(x, (n, d)), numba.carray(out, n)
            gradients = numba.carray(grad, (n, d))
            for i in range(n):
                values[i] = f(points[i], gradients[i])
            return 0

        return batch

    @cached_property
    def point_cfunc(self) -> Any:
        """The function of one point, as nutpie takes it for compiled models."""
        import numba
        from numba import types

        f, numbers, d = self.compiled, types.CPointer(types.double), self.dim

        @numba.cfunc(types.int64(types.uint64, numbers, numbers, numbers, types.voidptr))
        def point(dim, x, grad, out, user):  # type: ignore[no-untyped-def]
            value = f(numba.carray(x, (d,)), numba.carray(grad, (d,)))
            numba.carray(out, (1,))[0] = value
            return 0 if np.isfinite(value) else 4

        return point

    @cached_property
    def compiled_pair(self) -> Callable[[Array], tuple[Array, Array]]:
        """The compiled function over a batch, as a Python callable."""
        import numba

        f = self.compiled

        @numba.njit
        def pair(x):  # type: ignore[no-untyped-def]
            values, gradients = np.empty(len(x)), np.empty_like(x)
            for i in range(len(x)):
                values[i] = f(x[i], gradients[i])
            return values, gradients

        return pair

    @cached_property
    def native(self) -> Any:
        """The C pointer as a target of fermiac."""
        return fm.targets.native(self.cfunc, self.dim, gradient=True)


def _by_points(p: Problem, x: Array) -> tuple[Array, Array]:
    value, gradient, f = np.empty(len(x)), np.empty_like(x), p.point_cfunc.ctypes
    for i in range(len(x)):
        at = [ctypes.cast(a[i:].ctypes.data, f.argtypes[1]) for a in (x, gradient, value)]
        f(p.dim, *at, None)
    return value, gradient


def check(p: Problem, n: int = 64) -> dict[str, float]:
    """Return the largest relative differences of all forms from NumPy, and from differences."""
    x = np.random.default_rng(3).uniform(-2.0, 2.0, (n, p.dim))
    value, gradient = p.pair(x)
    size, steep = np.abs(value).max(), np.abs(gradient).max()
    step, by_differences = 1e-5, np.empty_like(gradient)
    for j in range(p.dim):
        shift = np.zeros(p.dim)
        shift[j] = step
        by_differences[:, j] = (p.values(x + shift) - p.values(x - shift)) / (2.0 * step)
    found = {"differences": np.abs(by_differences - gradient).max() / steep}
    forms: dict[str, tuple[Array, Array]] = {
        "native": p.native.log_density_and_gradient(x),
    }
    if p.builtin is not None:
        forms["builtin"] = p.builtin().log_density_and_gradient(x)
    forms["point"] = _by_points(p, x)
    try:
        import jax
    except ImportError:
        pass
    else:
        jax.config.update("jax_enable_x64", True)
        each = jax.vmap(jax.value_and_grad(p.jax()))(x)
        forms["jax"] = np.asarray(each[0]), np.asarray(each[1])
    for form, (v, g) in forms.items():
        found[form] = max(np.abs(v - value).max() / size, np.abs(g - gradient).max() / steep)
    return found
