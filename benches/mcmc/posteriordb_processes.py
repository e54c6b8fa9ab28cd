"""Posteriors of posteriordb that are no linear regressions.

Time series, hidden Markov models, Gaussian processes, differential equations, a mixture and a
hierarchy.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from benches.mcmc.posteriordb_models import (
    REAL,
    Data,
    Posterior,
    cauchy,
    log_normal,
    normal,
    plain,
    positive,
)
from numpy.typing import NDArray

import fermiac as fm

__all__ = ["PROCESSES"]

Array = NDArray[np.float64]
bounded, ordered, simplex = (
    fm.targets.transforms.bounded,
    fm.targets.transforms.ordered,
    fm.targets.transforms.simplex,
)


def _numbers(data: Data, name: str) -> Array:
    return np.array(data[name], dtype=float)


def _ar(data: Data) -> Posterior:
    """Return an autoregression of K lags."""
    n_lags, y = data["K"], _numbers(data, "y")
    past = np.column_stack([y[n_lags - k : len(y) - k] for k in range(1, n_lags + 1)])

    def log_density(x: Any) -> Any:
        prior = normal(x[:-1], 0.0, 10.0) + cauchy(x[-1], 2.5)
        return prior + normal(y[n_lags:], x[0] + past @ x[1:-1], x[-1])

    return plain(log_density, [REAL(n_lags + 1), positive()])


def _recursion(start: Any, factor: Any, inputs: Any) -> Any:
    """Return s₀ = start, sₜ = factor sₜ₋₁ + inputsₜ."""

    def step(state: Any, added: Any) -> Any:
        state = factor * state + added
        return state, state

    _, found = jax.lax.scan(step, start, inputs)
    return jnp.concatenate([jnp.reshape(start, 1), found])


def _arma(data: Data) -> Posterior:
    """Return an ARMA(1, 1) with the error before the first observation equal to 0."""
    y = _numbers(data, "y")

    def log_density(x: Any) -> Any:
        mu, phi, theta, sigma = x
        prior = normal(mu, 0.0, 10.0) + normal(x[1:3], 0.0, 2.0) + cauchy(sigma, 2.5)
        errors = _recursion(y[0] - mu - phi * mu, -theta, y[1:] - mu - phi * y[:-1])
        return prior + normal(errors, 0.0, sigma)

    return plain(log_density, [REAL(3), positive()])


def _garch(data: Data) -> Posterior:
    """Return a GARCH(1, 1); the coordinate after α₁ is β₁ / (1 - α₁)."""
    y, first = _numbers(data, "y"), float(data["sigma1"])

    def log_density(x: Any) -> Any:
        mu, level, alpha, share = x
        variances = _recursion(
            jnp.asarray(first**2), (1 - alpha) * share, level + alpha * (y[:-1] - mu) ** 2
        )
        return normal(y, mu, jnp.sqrt(variances)) + jnp.log1p(-alpha)

    return Posterior(
        log_density,
        [REAL(), positive(), bounded(0.0, 1.0, 2)],
        lambda x: x.at[3].multiply(1 - x[2]),
        lambda x: x.at[3].divide(1 - x[2]),
    )


def _eight_schools(data: Data) -> Posterior:
    """Return the standardised effects, their mean and their scale."""
    y, sd = _numbers(data, "y"), _numbers(data, "sigma")

    def log_density(x: Any) -> Any:
        prior = normal(x[:-2], 0.0, 1.0) + normal(x[-2], 0.0, 5.0) + cauchy(x[-1], 5.0)
        return prior + normal(y, x[-2] + x[-1] * x[:-2], sd)

    return Posterior(
        log_density,
        [REAL(len(y) + 1), positive()],
        lambda x: x.at[:-2].set(x[-2] + x[-1] * x[:-2]),
        lambda x: x.at[:-2].set((x[:-2] - x[-2]) / x[-1]),
    )


def _mixture(data: Data) -> Posterior:
    """Return two normal laws with ordered means, two scales and the weight of the first."""
    y = _numbers(data, "y")

    def log_density(x: Any) -> Any:
        weights = jnp.array([x[4], 1 - x[4]])
        prior = normal(x[:4], 0.0, 2.0) + 4 * jnp.sum(jnp.log(weights))
        z = (y[:, None] - x[:2]) / x[2:4]
        return prior + jnp.sum(
            jax.nn.logsumexp(jnp.log(weights) - jnp.log(x[2:4]) - 0.5 * z**2, axis=1)
        )

    return plain(log_density, [ordered(2), positive(2), bounded(0.0, 1.0)])


def _hidden(emissions: Any, transition: Any) -> Any:
    """Return the log-likelihood of a hidden Markov model with two states; both may be the first."""
    logs = jnp.log(transition)

    def step(state: Any, emission: Any) -> Any:
        return jnp.logaddexp(state[0] + logs[0], state[1] + logs[1]) + emission, None

    return jax.nn.logsumexp(jax.lax.scan(step, emissions[0], emissions[1:])[0])


def _from_gaps(x: Any) -> Any:
    """Return x with the second of a pair of positive ordered numbers in place of their gap."""
    return x.at[5::2].add(x[4:-1:2])


def _to_gaps(x: Any) -> Any:
    return x.at[5::2].add(-x[4:-1:2])


def _hmm_example(data: Data) -> Posterior:
    """Return two normal emissions of scale 1 with positive ordered means."""
    y = _numbers(data, "y")

    def log_density(x: Any) -> Any:
        x = _from_gaps(x)
        prior = normal(x[4:], np.array([3.0, 10.0]), 1.0)
        return prior + _hidden(-0.5 * (y[:, None] - x[4:]) ** 2, jnp.reshape(x[:4], (2, 2)))

    blocks = [simplex(2), simplex(2), positive(2)]
    return Posterior(log_density, blocks, _from_gaps, _to_gaps)


def _drive_prior(x: Any, alpha: Array) -> Any:
    transitions = jnp.sum((alpha.ravel() - 1) * jnp.log(x[:4]))
    return transitions + normal(x[4:], np.array([0.0, 3.0, 0.0, 3.0]), 1.0)


def _drive_exponential(data: Data) -> Posterior:
    """Return exponential emissions of two series, with positive ordered rates."""
    u, v, alpha = (_numbers(data, name) for name in ("u", "v", "alpha"))

    def log_density(x: Any) -> Any:
        x = _from_gaps(x)
        rates = jnp.log(x[4:6]) + jnp.log(x[6:8])
        emissions = rates - u[:, None] * x[4:6] - v[:, None] * x[6:8]
        return _drive_prior(x, alpha) + _hidden(emissions, jnp.reshape(x[:4], (2, 2)))

    blocks = [simplex(2), simplex(2), positive(4)]
    return Posterior(log_density, blocks, _from_gaps, _to_gaps)


def _drive_normal(data: Data) -> Posterior:
    """Return normal emissions of two series, with ordered means and known scales."""
    u, v, alpha = (_numbers(data, name) for name in ("u", "v", "alpha"))
    tau, rho = float(data["tau"]), float(data["rho"])

    def log_density(x: Any) -> Any:
        emissions = -0.5 * (((u[:, None] - x[4:6]) / tau) ** 2 + ((v[:, None] - x[6:8]) / rho) ** 2)
        return _drive_prior(x, alpha) + _hidden(emissions, jnp.reshape(x[:4], (2, 2)))

    return plain(log_density, [simplex(2), simplex(2), ordered(2), ordered(2)])


def _factor(x: Array, length: Any, scale: Any, added: Any) -> Any:
    """Return the Cholesky factor of a squared-exponential covariance with a diagonal added."""
    squares = (x[:, None] - x) ** 2
    covariance = scale**2 * jnp.exp(-0.5 * squares / length**2)
    return jnp.linalg.cholesky(covariance + added * jnp.eye(len(x)))


def _gp_prior(x: Any) -> Any:
    """Return a gamma law of shape 25 and rate 4 of the length, and half a normal one of scale 2."""
    return 24 * jnp.log(x[0]) - 4 * x[0] + normal(x[1], 0.0, 2.0)


def _gp(data: Data) -> Posterior:
    """Return the length, the scale and the noise variance of a Gaussian process."""
    x, y = _numbers(data, "x"), _numbers(data, "y")

    def log_density(p: Any) -> Any:
        factor = _factor(x, p[0], p[1], p[2])
        z = jax.scipy.linalg.solve_triangular(factor, y, lower=True)
        prior = _gp_prior(p) + normal(p[2], 0.0, 1.0)
        return prior - 0.5 * jnp.sum(z**2) - jnp.sum(jnp.log(jnp.diagonal(factor)))

    return plain(log_density, [positive(3)])


def _gp_poisson(data: Data) -> Posterior:
    """Return the length, the scale and the standardised values of a log-intensity."""
    x, counts = _numbers(data, "x"), _numbers(data, "k")

    def log_density(p: Any) -> Any:
        f = _factor(x, p[0], p[1], 1e-10) @ p[2:]
        return _gp_prior(p) + normal(p[2:], 0.0, 1.0) + jnp.sum(counts * f - jnp.exp(f))

    def listed(p: Any) -> Any:
        return p.at[2:].set(_factor(x, p[0], p[1], 1e-10) @ p[2:])

    def point(p: Any) -> Any:
        factor = _factor(x, p[0], p[1], 1e-10)
        return p.at[2:].set(jax.scipy.linalg.solve_triangular(factor, p[2:], lower=True))

    return Posterior(log_density, [positive(2), REAL(len(x))], listed, point)


#: The steps of the Runge-Kutta method a year.
_YEAR = 20


def _populations(theta: Any, start: Any, n_years: int) -> Any:
    """Return the logarithms of both populations after 1, 2, ... years: Runge-Kutta of order 4."""
    signs, h = jnp.array([1.0, -1.0]), 1.0 / _YEAR
    # Growth of each population, and the effect of the other one.
    growth, effect = theta[jnp.array([0, 2])], theta[jnp.array([1, 3])]

    def slope(logs: Any) -> Any:
        return signs * (growth - effect * jnp.exp(logs[::-1]))

    def step(logs: Any, _: None) -> Any:
        k1 = slope(logs)
        k2 = slope(logs + 0.5 * h * k1)
        k3 = slope(logs + 0.5 * h * k2)
        k4 = slope(logs + h * k3)
        logs = logs + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return logs, logs

    # Unrolled steps take XLA minutes to compile.
    found = jax.lax.scan(step, jnp.log(start), None, length=n_years * _YEAR)[1]
    return found[_YEAR - 1 :: _YEAR]


def _lotka_volterra(data: Data) -> Posterior:
    """Return the rates of Lotka and Volterra, the first populations and the scales of errors."""
    first, y = _numbers(data, "y_init"), _numbers(data, "y")
    if list(data["ts"]) != list(range(1, len(y) + 1)):
        raise SystemExit("lotka_volterra: observations of the years 1, 2, ... are needed")

    def log_density(x: Any) -> Any:
        theta, start, sigma = x[:4], x[4:6], x[6:]
        prior = normal(theta[::2], 1.0, 0.5) + normal(theta[1::2], 0.05, 0.05)
        prior += log_normal(sigma, -1.0, 1.0) + log_normal(start, np.log(10.0), 1.0)
        logs = _populations(theta, start, len(y))
        return prior + normal(np.log(first), jnp.log(start), sigma) + normal(np.log(y), logs, sigma)

    return plain(log_density, [positive(8)])


#: The diagonal coefficient of Alexander's method of order 3, a root of 6 g³ - 18 g² + 9 g - 1.
_G = 0.43586652150845899941601945
_STAGES = ((0.5 * (1 - _G),), (-(6 * _G**2 - 16 * _G + 1) / 4, (6 * _G**2 - 20 * _G + 5) / 4))
_NODES = (_G, 0.5 * (1 + _G), 1.0)
#: The steps to the first observation, in times that grow as their cubes, and between two others.
_FIRST, _STEPS = 20, 5


def _concentrations(k_a: Any, k_m: Any, v_m: Any, data: Data) -> Any:
    """Return the concentrations at the observations of a drug with saturating elimination.

    Singly diagonally implicit Runge-Kutta steps, which are stable if the elimination is fast. The
    equation of a stage is quadratic.

    R. Alexander, "Diagonally implicit Runge-Kutta methods for stiff O.D.E.'s", SIAM Journal on
    Numerical Analysis, 1977.
    """
    times = _numbers(data, "times")
    grid = [0.0, *times[0] * (np.arange(1, _FIRST + 1) / _FIRST) ** 3]
    for left, right in pairwise(times):
        grid += list(left + (right - left) * np.arange(1, _STEPS + 1) / _STEPS)
    dose, limit = k_a * data["D"] / data["V"], v_m / data["V"]

    def step(y: Any, now: Any) -> Any:
        t, h = now
        slopes: list[Any] = []
        for i, node in enumerate(_NODES):
            known = y + h * sum(
                (a * k for a, k in zip(_STAGES[i - 1] if i else (), slopes, strict=True)), 0.0
            )
            g = h * _G
            known += g * dose * jnp.exp(-k_a * (t + node * h))
            # y + g limit y / (k_m + y) = known
            b = k_m - known + g * limit
            root = jnp.sqrt(b**2 + 4 * known * k_m)
            up = b > 0
            there = jnp.where(up, 2 * known * k_m / jnp.where(up, b + root, 1.0), (root - b) / 2)
            slopes.append(dose * jnp.exp(-k_a * (t + node * h)) - limit * there / (k_m + there))
        return there, there

    edges = np.array(grid)
    _, found = jax.lax.scan(step, jnp.asarray(0.0), (edges[:-1], np.diff(edges)))
    return found[_FIRST - 1 :: _STEPS]


def _compartment(data: Data) -> Posterior:
    """Return the rates of a compartment with Michaelis-Menten elimination, and the error scale."""
    y = np.log(_numbers(data, "C_hat"))
    if data["t0"] != 0:
        raise SystemExit("one_comp_mm_elim_abs: the time of the dose, t0, must be 0")

    def log_density(x: Any) -> Any:
        return cauchy(x, 1.0) + normal(y, jnp.log(_concentrations(x[0], x[1], x[2], data)), x[3])

    return plain(log_density, [positive(4)])


#: The posteriors by the names of their models.
PROCESSES: dict[str, Callable[[Data], Posterior]] = {
    "arK": _ar,
    "arma11": _arma,
    "eight_schools_noncentered": _eight_schools,
    "garch11": _garch,
    "gp_pois_regr": _gp_poisson,
    "gp_regr": _gp,
    "hmm_drive_0": _drive_exponential,
    "hmm_drive_1": _drive_normal,
    "hmm_example": _hmm_example,
    "lotka_volterra": _lotka_volterra,
    "low_dim_gauss_mix": _mixture,
    "one_comp_mm_elim_abs": _compartment,
}
