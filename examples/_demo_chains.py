"""Markov chains on two posteriors, with each density built in, as a C pointer and in NumPy."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

import _demo_schools as schools
import fermiac as fm

Array = NDArray[np.float64]
Pair = Callable[[Array], tuple[Array, Array]]

#: Posterior means of the intercept and of the first four coefficients, and their standard errors,
#: by importance sampling with four million draws, as in `benches/mcmc/problems.py`.
REFERENCE: Array = np.array([0.20579, -0.47135, -0.47381, -0.45835, -0.55054])
REFERENCE_STDERR: Array = np.array([0.00032, 0.00069, 0.00044, 0.00070, 0.00070])
MEASUREMENTS = ("radius", "texture", "perimeter", "area")


class Regression(NamedTuple):
    """Standardised measurements after a column of ones, (569, 31), and labels, 1 for benign."""

    x: Array
    y: Array


class Form(NamedTuple):
    """One form of a density, as arguments of `fermiac.mcmc.sample`."""

    name: str
    target: fm.targets.LogDensity


class Run(NamedTuple):
    """The draws with one form, the CPU seconds, and the smallest bulk ESS of a coordinate."""

    form: str
    sample: Any
    seconds: float
    ess: float


def load(path: Path) -> Regression:
    """Read the tumours of the Wisconsin study."""
    with np.load(path) as data:
        raw = data["values"] / 10.0 ** data["decimals"]
        benign = 1.0 - data["malignant"]
    standardised = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    return Regression(np.column_stack([np.ones(len(raw)), standardised]), benign)


def regression_pair(data: Regression) -> Pair:
    """Return log-density and gradient of the regression in NumPy, with coefficients ~ N(0, 1)."""
    x, y = data

    def pair(beta: Array) -> tuple[Array, Array]:
        predictor = beta @ x.T
        value = predictor @ y - np.logaddexp(0.0, predictor).sum(axis=1)
        return value - 0.5 * (beta**2).sum(axis=1), (y - expit(predictor)) @ x - beta

    return pair


def schools_pair(z: Array) -> tuple[Array, Array]:
    """Return log-density and gradient of the eight schools: (mu, log tau, eight effects)."""
    mu, log_tau, eta = z[:, 0], z[:, 1], z[:, 2:]
    tau = np.exp(log_tau)
    pull = (schools.EFFECT - mu[:, None] - tau[:, None] * eta) / schools.ERROR**2
    ratio = (tau / schools.SCALE) ** 2
    gradient = np.empty_like(z)
    gradient[:, 0] = pull.sum(axis=1) - mu / schools.SCALE**2
    gradient[:, 1] = tau * (pull * eta).sum(axis=1) + 1 - 2 * ratio / (1 + ratio)
    gradient[:, 2:] = tau[:, None] * pull - eta
    return schools.python_log_density(z), gradient


def schools_pointer() -> fm.targets.LogDensity:
    """Return the density compiled by numba, which threads call without the interpreter."""
    import numba

    effect, error, scale = schools.EFFECT, schools.ERROR, schools.SCALE
    # The constant of the log-density: its value at the origin less the terms added below.
    at_origin = -0.5 * float(((effect / error) ** 2).sum()) - float(np.log1p(scale**-2.0))
    constant = float(schools.python_log_density(np.zeros((1, 10)))[0]) - at_origin
    signature = numba.types.intc(
        numba.types.CPointer(numba.types.double),
        numba.types.intp,
        numba.types.intp,
        numba.types.CPointer(numba.types.double),
        numba.types.CPointer(numba.types.double),
        numba.types.voidptr,
    )

    @numba.cfunc(signature)  # type: ignore[untyped-decorator]
    def log_density(points, n, d, out, gradients, user):  # type: ignore[no-untyped-def]
        z = numba.carray(points, (n, d))
        g = numba.carray(gradients, (n, d))
        values = numba.carray(out, (n,))
        for i in range(n):
            mu, tau = z[i, 0], np.exp(z[i, 1])
            ratio = (tau / scale) ** 2
            value = constant - 0.5 * (mu / scale) ** 2 - np.log1p(ratio) + z[i, 1]
            g[i, 0] = -mu / scale**2
            g[i, 1] = 1 - 2 * ratio / (1 + ratio)
            for j in range(8):
                eta = z[i, 2 + j]
                residual = (effect[j] - mu - tau * eta) / error[j]
                pull = residual / error[j]
                value -= 0.5 * (residual**2 + eta**2)
                g[i, 0] += pull
                g[i, 1] += tau * pull * eta
                g[i, 2 + j] = tau * pull - eta
            values[i] = value
        return 0

    return fm.targets.native(log_density, 10, gradient=True)


def regression_pointer(data: Regression) -> fm.targets.LogDensity:
    """Return the compiled density of the regression."""
    import numba

    x, y = data
    n_rows, dim = x.shape
    signature = numba.types.intc(
        numba.types.CPointer(numba.types.double),
        numba.types.intp,
        numba.types.intp,
        numba.types.CPointer(numba.types.double),
        numba.types.CPointer(numba.types.double),
        numba.types.voidptr,
    )

    @numba.cfunc(signature)  # type: ignore[untyped-decorator]
    def log_density(points, n, d, out, gradients, user):  # type: ignore[no-untyped-def]
        beta = numba.carray(points, (n, d))
        g = numba.carray(gradients, (n, d))
        values = numba.carray(out, (n,))
        for i in range(n):
            value = 0.0
            for k in range(dim):
                value -= 0.5 * beta[i, k] ** 2
                g[i, k] = -beta[i, k]
            for r in range(n_rows):
                predictor = 0.0
                for k in range(dim):
                    predictor += beta[i, k] * x[r, k]
                tail = np.exp(-abs(predictor))
                value += y[r] * predictor - max(predictor, 0.0) - np.log1p(tail)
                p = 1 / (1 + tail) if predictor > 0 else tail / (1 + tail)
                for k in range(dim):
                    g[i, k] += (y[r] - p) * x[r, k]
            values[i] = value
        return 0

    return fm.targets.native(log_density, dim, gradient=True)


def forms(builtin: fm.targets.LogDensity, pointer: Callable[[], Any], pair: Pair) -> list[Form]:
    """Return one density in three forms, or two without numba."""
    made = [Form("built in", builtin)]
    try:
        made.append(Form("C pointer (numba)", pointer()))
    except ImportError:
        pass
    return [*made, Form("NumPy", fm.targets.as_target(pair, builtin.dim, gradient=True))]


def run(form: Form, seed: int) -> Run:
    """Run chains with default settings on one thread, so that times are comparable."""
    # Domains are imported on first use, which is not to be timed.
    draw = fm.mcmc.sample
    start = time.process_time()
    sample = draw(form.target, rng=seed, plan=fm.Plan(n_threads=1, progress=False))
    seconds = time.process_time() - start
    return Run(form.name, sample, seconds, float(np.min(fm.diagnostics.ess(sample.draws))))


def line(run: Run) -> str:
    """Return a line of the table of forms."""
    s = run.sample
    rhat = float(np.max(fm.diagnostics.rhat(s.draws)))
    return (
        f"  {run.form:<20}{run.ess:>9,.0f}{rhat:>9.4f}{s.n_evals:>13,}"
        f"{1000 * run.ess / s.n_evals:>13.0f}{1000 * run.seconds:>12.0f}"
        f"{run.ess / run.seconds:>14,.0f}"
    )


HEAD = (
    f"  {'form':<20}{'bulk ESS':>9}{'R-hat':>9}{'gradients':>13}{'ESS per 1000':>13}"
    f"{'CPU ms':>12}{'ESS per CPU s':>14}"
)
