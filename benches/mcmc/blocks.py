# ruff: noqa: NPY002 - the functions that numba compiles
"""Gibbs samplers of the benchmark: blocks of fermiac, and the same sweeps as a loop in numba.

Every model has a known mean of every coordinate. A method is a function of a model that returns
``run(seed, sweeps, thin)``, which gives draws (sweeps // thin, d) of one chain.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]
Run = Callable[[int, int, int], Array]
of, mcmc = fm.mcmc.conditionals, fm.mcmc

DATA = np.random.default_rng(11).normal(1.0, 2.0, 50)
SCHOOLS = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
VARIANCES = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]) ** 2
#: The step of MALA within Gibbs, in all methods.
STEP = 0.9


@dataclass(frozen=True)
class Model:
    """A model, its kernels by the names of methods, and the body of its loop."""

    name: str
    dim: int
    init: Array
    means: Array
    kernels: dict[str, Callable[[], Any]]
    loop: Callable[[], Callable[..., Array]]
    #: The log-density with its gradient as a C pointer, if a kernel needs it.
    target: Callable[[], Any] | None = None


def run_of(model: Model, method: str) -> Run:
    """Return a method of a model, compiled."""
    if method == "numba loop":
        loop = model.loop()
        loop(1, 1, 1, model.init)
        return lambda seed, sweeps, thin: loop(sweeps // thin, thin, seed, model.init)
    kernel = model.kernels[method]()
    target = None if model.target is None else model.target()

    def run(seed: int, sweeps: int, thin: int) -> Array:
        s = mcmc.sample(
            target, model.dim, kernel=kernel, init=model.init, n_chains=1, n_warmup=0,
            n_draws=sweeps // thin, thin=thin, rng=seed, plan=fm.Plan(n_threads=1),
            keep_gradients=False,
        )  # fmt: skip
        return s.draws[0]

    return run


def _normal() -> Model:
    """The mean and the variance of 50 normal numbers, with independent priors."""
    n, mean = float(len(DATA)), float(DATA.mean())
    square = float(((DATA - mean) ** 2).sum())

    def blocks() -> Any:
        return mcmc.Gibbs(
            [
                ("m", of.NormalMean(DATA, "v", prior_mean=0.0, prior_variance=100.0)),
                ("v", of.NormalVariance(DATA, "m", shape=1.0, scale=1.0)),
            ],
            blocks={"m": 0, "v": 1},
        )

    def python() -> Any:
        def centre(x: Array, rng: Any) -> Array:
            precision = n / x[:, 1] + 0.01
            return rng.normal(n * mean / x[:, 1] / precision, 1 / np.sqrt(precision))

        def spread(x: Array, rng: Any) -> Array:
            scale = 1 + 0.5 * (square + n * (mean - x[:, 0]) ** 2)
            return rng.inverse_gamma(1 + 0.5 * n, scale)

        return mcmc.Gibbs(
            [("m", mcmc.Conditional(centre)), ("v", mcmc.Conditional(spread))],
            blocks={"m": 0, "v": 1},
        )

    def native() -> Any:
        numba, draw = _draw()
        normal, gamma = of.stream_functions().normal, of.stream_functions().gamma

        @numba.cfunc(draw)
        def centre(x, dim, stream, block, data):  # type: ignore[no-untyped-def]
            precision = n / x[1] + 0.01
            block[0] = n * mean / x[1] / precision + normal(stream) / math.sqrt(precision)
            return 0

        @numba.cfunc(draw)
        def spread(x, dim, stream, block, data):  # type: ignore[no-untyped-def]
            scale = 1 + 0.5 * (square + n * (mean - x[0]) ** 2)
            block[0] = scale / gamma(stream, 1 + 0.5 * n)
            return 0

        return mcmc.Gibbs(
            [("m", of.native(centre)), ("v", of.native(spread))], blocks={"m": 0, "v": 1}
        )

    def loop() -> Callable[..., Array]:
        import numba

        @numba.njit
        def sweeps(draws, thin, seed, init):  # type: ignore[no-untyped-def]
            np.random.seed(seed)
            out = np.empty((draws, 2))
            m, v = init
            for i in range(draws):
                for _ in range(thin):
                    precision = n / v + 0.01
                    m = n * mean / v / precision + np.random.normal() / math.sqrt(precision)
                    scale = 1 + 0.5 * (square + n * (mean - m) ** 2)
                    v = scale / np.random.gamma(1 + 0.5 * n, 1.0)
                out[i, 0], out[i, 1] = m, v
            return out

        return sweeps

    # The mean given v is normal; v is on a grid.
    v = np.exp(np.linspace(-1.0, 4.0, 20_001))
    precision = n / v + 0.01
    centre = n * mean / v / precision
    log = -(1 + 0.5 * n) * np.log(v) - (1 + 0.5 * square) / v - 0.5 * np.log(precision)
    log -= 0.5 * n / v * (mean - centre) ** 2 + 0.5 * 0.01 * centre**2
    p = np.exp(log - log.max())
    means = np.array([p @ centre, p @ v]) / p.sum()
    kernels = {"conjugate blocks": blocks, "numba cfuncs": native, "NumPy functions": python}
    return Model("mean and variance", 2, np.array([1.0, 4.0]), means, kernels, loop)


def _schools() -> Model:
    """Eight schools: theta, mu, tau², with an inverse gamma prior of tau²."""

    def blocks() -> Any:
        return mcmc.Gibbs(
            [
                ("theta", of.NormalMean(SCHOOLS, VARIANCES, prior_mean="mu", prior_variance="v")),
                ("mu", of.NormalMean("theta", "v", prior_mean=0.0, prior_variance=np.inf)),
                ("v", of.NormalVariance("theta", "mu", shape=1.0, scale=20.0)),
            ],
            blocks={"theta": slice(0, 8), "mu": 8, "v": 9},
        )

    def python() -> Any:
        def theta(x: Array, rng: Any) -> Array:
            precision = 1 / VARIANCES + 1 / x[:, 9:]
            mean = (SCHOOLS / VARIANCES + x[:, 8:9] / x[:, 9:]) / precision
            return rng.normal(mean, 1 / np.sqrt(precision))

        def mu(x: Array, rng: Any) -> Array:
            return rng.normal(x[:, :8].mean(axis=1), np.sqrt(x[:, 9] / 8))

        def v(x: Array, rng: Any) -> Array:
            return rng.inverse_gamma(5.0, 20 + 0.5 * ((x[:, :8] - x[:, 8:9]) ** 2).sum(axis=1))

        each = {"theta": theta, "mu": mu, "v": v}
        return mcmc.Gibbs(
            [(name, mcmc.Conditional(draw)) for name, draw in each.items()],
            blocks={"theta": slice(0, 8), "mu": 8, "v": 9},
        )

    def loop() -> Callable[..., Array]:
        import numba

        @numba.njit
        def sweeps(draws, thin, seed, init):  # type: ignore[no-untyped-def]
            np.random.seed(seed)
            out = np.empty((draws, 10))
            x = init.copy()
            for i in range(draws):
                for _ in range(thin):
                    for j in range(8):
                        precision = 1 / VARIANCES[j] + 1 / x[9]
                        mean = (SCHOOLS[j] / VARIANCES[j] + x[8] / x[9]) / precision
                        x[j] = mean + np.random.normal() / math.sqrt(precision)
                    total = 0.0
                    for j in range(8):
                        total += x[j]
                    x[8] = total / 8 + math.sqrt(x[9] / 8) * np.random.normal()
                    squares = 0.0
                    for j in range(8):
                        squares += (x[j] - x[8]) ** 2
                    x[9] = (20 + 0.5 * squares) / np.random.gamma(5.0, 1.0)
                out[i] = x
            return out

        return sweeps

    tau = np.exp(np.linspace(-2.0, 9.0, 40_001))
    v = tau[:, None] ** 2
    weight = 1 / (VARIANCES + v)
    precision = weight.sum(axis=1)
    mu = (weight * SCHOOLS).sum(axis=1) / precision
    log = 0.5 * np.log(weight).sum(axis=1) - 0.5 * np.log(precision) - 2 * np.log(tau)
    log -= 0.5 * (weight * (SCHOOLS - mu[:, None]) ** 2).sum(axis=1) + 20 / tau**2
    p = np.exp(log - log.max())
    theta = (v * SCHOOLS + VARIANCES * mu[:, None]) / (VARIANCES + v)
    means = p @ np.column_stack([theta, mu, v]) / p.sum()
    kernels = {"conjugate blocks": blocks, "NumPy functions": python}
    return Model("eight schools", 10, np.full(10, 5.0), means, kernels, loop)


def _langevin() -> Model:
    """Nine normal coordinates by MALA, and their variance, IG(9, 9), by an exact draw."""

    def target() -> Any:
        import numba
        from numba import types

        numbers = types.CPointer(types.double)

        @numba.cfunc(types.intc(numbers, types.intp, types.intp, numbers, numbers, types.voidptr))
        def density(x, n, d, out, slope, data):  # type: ignore[no-untyped-def]
            for k in range(n):
                at, squares = 10 * k, 0.0
                s = x[at + 9]
                for j in range(9):
                    squares += x[at + j] ** 2
                    slope[at + j] = -x[at + j] / s
                slope[at + 9] = (9 + 0.5 * squares) / s**2 - 14.5 / s
                out[k] = -14.5 * math.log(s) - (9 + 0.5 * squares) / s if s > 0 else -math.inf
            return 0

        return fm.targets.native(density, 10, gradient=True)

    def with_block(block: Any) -> Any:
        kernel = mcmc.MALA(step_size=STEP, metric="unit")
        return mcmc.Gibbs([("x", kernel), ("s", block)], blocks={"x": slice(0, 9), "s": 9})

    def blocks() -> Any:
        return with_block(of.NormalVariance("x", 0.0, shape=9.0, scale=9.0))

    def python() -> Any:
        def draw(x: Array, rng: Any) -> Array:
            return rng.inverse_gamma(13.5, 9 + 0.5 * (x[:, :9] ** 2).sum(axis=1))

        return with_block(mcmc.Conditional(draw))

    def loop() -> Callable[..., Array]:
        import numba

        @numba.njit
        def density(x, slope):  # type: ignore[no-untyped-def]
            squares, s = 0.0, x[9]
            for j in range(9):
                squares += x[j] ** 2
                slope[j] = -x[j] / s
            slope[9] = (9 + 0.5 * squares) / s**2 - 14.5 / s
            return -14.5 * math.log(s) - (9 + 0.5 * squares) / s

        @numba.njit
        def sweeps(draws, thin, seed, init):  # type: ignore[no-untyped-def]
            np.random.seed(seed)
            out = np.empty((draws, 10))
            x, y = init.copy(), init.copy()
            g, h, half = np.empty(10), np.empty(10), 0.5 * STEP**2
            for i in range(draws):
                for _ in range(thin):
                    here = density(x, g)
                    log_ratio = -here
                    for j in range(9):
                        z = np.random.normal()
                        y[j] = x[j] + half * g[j] + STEP * z
                        log_ratio += 0.5 * z * z
                    y[9] = x[9]
                    log_ratio += density(y, h)
                    for j in range(9):
                        back = (x[j] - y[j] - half * h[j]) / STEP
                        log_ratio -= 0.5 * back * back
                    if math.log(np.random.random()) < log_ratio:
                        x[:9] = y[:9]
                    squares = 0.0
                    for j in range(9):
                        squares += x[j] ** 2
                    x[9] = (9 + 0.5 * squares) / np.random.gamma(13.5, 1.0)
                out[i] = x
            return out

        return sweeps

    means = np.append(np.zeros(9), 9 / 8)
    kernels = {"conjugate blocks": blocks, "NumPy functions": python}
    return Model("Langevin within Gibbs", 10, np.ones(10), means, kernels, loop, target)


def _draw() -> tuple[Any, Any]:
    """Return numba and the signature of a native conditional."""
    import numba
    from numba import types

    numbers = types.CPointer(types.double)
    return numba, types.int64(numbers, types.int64, types.voidptr, numbers, types.voidptr)


MODELS: dict[str, Callable[[], Model]] = {
    "mean and variance": cache(_normal),
    "eight schools": cache(_schools),
    "Langevin within Gibbs": cache(_langevin),
}
METHODS = ("conjugate blocks", "numba cfuncs", "NumPy functions", "numba loop")
