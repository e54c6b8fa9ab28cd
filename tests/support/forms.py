"""One log-density and one integrand in all the forms that a target comes in.

A test of a method that takes targets is parametrised over `DENSITIES` or `INTEGRANDS`; each entry
makes its target when called, so that torch and numba are imported only where they are used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]
Make = Callable[[], Any]

DIM = 3
MEAN = (0.5, -1.0, 2.0)
SD = (1.0, 0.5, 3.0)
LOG_NORM = float(np.sum(np.log(SD)) + 0.5 * DIM * np.log(2.0 * np.pi))


def formula(x: Any) -> Any:
    """The normal log-density, column by column: the same roundings in NumPy, torch and numba."""
    total = 0.0
    for j in range(DIM):
        u = (x[:, j] - MEAN[j]) / SD[j]
        total = total + u * u
    return -0.5 * total - LOG_NORM


def slope(x: Array) -> Array:
    return -((x - MEAN) / SD) / SD


def c_types() -> Any:
    from numba import types

    return types, types.CPointer(types.double)


@cache
def native_density() -> Any:
    import numba

    types, numbers = c_types()
    signature = types.intc(numbers, types.intp, types.intp, numbers, numbers, types.voidptr)

    @numba.cfunc(signature)
    def normal(x, n, d, out, gradient, user):  # type: ignore[no-untyped-def]
        for i in range(n):
            total = 0.0
            for j in range(d):
                u = (x[i * d + j] - MEAN[j]) / SD[j]
                total += u * u
                gradient[i * d + j] = -(u / SD[j])
            out[i] = -0.5 * total - LOG_NORM
        return 0

    return fm.targets.native(normal, DIM, gradient=True)


def torch_density() -> Any:
    return fm.targets.torch(formula, DIM)


def python_function() -> Any:
    """Return the formula, as a worker makes it."""
    return formula


def python_density() -> Any:
    return fm.targets.as_target(formula, DIM, gradient=slope)


def builtin_density() -> Any:
    return fm.targets.as_target(fm.distributions.Normal(np.array(MEAN), np.array(SD)))


def moments(x: Any) -> Any:
    """x0² and x0 x1 x2."""
    out = np.empty((len(x), 2))
    out[:, 0] = x[:, 0] * x[:, 0]
    out[:, 1] = x[:, 0] * x[:, 1] * x[:, 2]
    return out


#: The expectations of `moments` under the law above.
MOMENTS = np.array([MEAN[0] ** 2 + SD[0] ** 2, MEAN[0] * MEAN[1] * MEAN[2]])


@cache
def native_moments() -> Any:
    import numba

    types, numbers = c_types()
    signature = types.intc(numbers, *[types.intp] * 3, numbers, types.voidptr)

    @numba.cfunc(signature)
    def moments(x, n, d, k, out, user):  # type: ignore[no-untyped-def]
        for i in range(n):
            out[i * k] = x[i * d] * x[i * d]
            out[i * k + 1] = x[i * d] * x[i * d + 1] * x[i * d + 2]
        return 0

    return fm.targets.native(moments, DIM, n_outputs=2)


def torch_moments() -> Any:
    import torch

    return fm.targets.torch(
        lambda x: torch.stack([x[:, 0] * x[:, 0], x[:, 0] * x[:, 1] * x[:, 2]], dim=1), DIM
    )


def _parameters(**makes: Make) -> list[Any]:
    marks = {"torch": [pytest.mark.torch]}
    return [pytest.param(make, id=k, marks=marks.get(k, [])) for k, make in makes.items()]


DENSITIES = _parameters(
    builtin=builtin_density, python=python_density, native=native_density, torch=torch_density
)
INTEGRANDS = _parameters(
    builtin=lambda: fm.targets.powers([[2, 0, 0], [1, 1, 1]]),
    python=lambda: moments,
    native=native_moments,
    torch=torch_moments,
)


def law() -> Any:
    return fm.distributions.Normal(np.array(MEAN), np.array(SD))


def points(n: int) -> Array:
    return np.random.default_rng(3).normal(size=(n, DIM)) * SD + MEAN
