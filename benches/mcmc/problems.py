"""Targets of the benchmark: each as a NumPy batch, a scalar function, JAX, and a built-in density.

Every form has the same constants, so all give the same numbers. `answers` are means that are known
beside the draws: closed forms, a quadrature over one coordinate, an importance sample with error.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from benches.mcmc.problem import Answers, Array, Problem
from scipy.special import expit

import fermiac as fm

LOG_2PI = math.log(2.0 * math.pi)


def _moments(x: Array) -> Array:
    return np.concatenate([x, x * x], axis=-1)


def gaussian(dim: int) -> Problem:
    """Correlations 0.9^|i - j|, as a dense matrix in every form."""
    cov = 0.9 ** np.abs(np.subtract.outer(np.arange(dim), np.arange(dim)))
    precision = np.linalg.inv(cov)
    log_norm = 0.5 * (dim * LOG_2PI + float(np.linalg.slogdet(cov)[1]))

    def pair(x: Array) -> tuple[Array, Array]:
        gradient = -(x @ precision)
        return 0.5 * np.einsum("nd,nd->n", x, gradient) - log_norm, gradient

    def scalar(x, g):  # type: ignore[no-untyped-def]
        for j in range(dim):
            g[j] = 0.0
        for i in range(dim):
            row, at = precision[i], x[i]
            for j in range(dim):
                g[j] -= row[j] * at
        total = 0.0
        for i in range(dim):
            total += x[i] * g[i]
        return 0.5 * total - log_norm

    def jax() -> Callable[[Any], Any]:
        import jax.numpy as jnp

        p = jnp.asarray(precision)
        return lambda x: -0.5 * (x @ (p @ x)) - log_norm

    def builtin() -> Any:
        return fm.targets.law_density(fm.distributions.MultivariateNormal(np.zeros(dim), cov))

    exact = np.repeat([0.0, 1.0], dim)
    return Problem(
        f"gaussian {dim}",
        dim,
        lambda x: pair(x)[0],
        pair,
        scalar,
        jax,
        builtin,
        Answers(_moments, exact),
    )


def standard_normal(dim: int) -> Problem:
    """A density at nearly no cost: it shows the cost of the samplers."""
    constant = -0.5 * dim * LOG_2PI

    def values(x: Array) -> Array:
        out: Array = constant - 0.5 * np.einsum("nd,nd->n", x, x)
        return out

    def scalar(x, g):  # type: ignore[no-untyped-def]
        squares = 0.0
        for i in range(dim):
            squares += x[i] * x[i]
            g[i] = -x[i]
        return constant - 0.5 * squares

    def builtin() -> Any:
        return fm.targets.law_density(fm.distributions.Product([fm.distributions.Normal()] * dim))

    return Problem(
        f"standard normal {dim}",
        dim,
        values,
        lambda x: (values(x), -x),
        scalar,
        lambda: lambda x: constant - 0.5 * (x @ x),
        builtin,
        Answers(_moments, np.repeat([0.0, 1.0], dim)),
    )


EFFECTS = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
# mu, tau, theta_1, theta_8: quadrature over tau with the rest integrated in closed form.
SCHOOLS = np.array([4.396821, 3.597705, 6.211884, 4.854253])


def eight_schools(centred: bool) -> Problem:
    """Coordinates mu, log tau, then eta or theta."""
    constant = -math.log(5.0) + math.log(2.0 / (5.0 * math.pi)) - 8.5 * LOG_2PI
    constant -= float(np.log(ERRORS).sum())
    weight = 1.0 / ERRORS**2

    def parts(x: Array) -> tuple[Array, Array, Array, Array, Array]:
        """mu, log tau, tau, standardised effects, residuals over their variances."""
        mu, log_tau = x[:, :1], x[:, 1:2]
        tau = np.exp(log_tau)
        if centred:
            return mu, log_tau, tau, (x[:, 2:] - mu) / tau, (EFFECTS - x[:, 2:]) * weight
        return mu, log_tau, tau, x[:, 2:], (EFFECTS - mu - tau * x[:, 2:]) * weight

    def value_of(mu: Array, log_tau: Array, tau: Array, eta: Array, pull: Array) -> Array:
        value = log_tau - mu * mu / 50.0 - np.log1p(tau * tau / 25.0)
        if centred:
            value = value - 8.0 * log_tau
        squares = eta * eta + pull * pull / weight
        out: Array = constant + value[:, 0] - 0.5 * squares.sum(axis=1)
        return out

    def pair(x: Array) -> tuple[Array, Array]:
        every = parts(x)
        mu, _, tau, eta, pull = every
        gradient = np.empty_like(x)
        prior = 1.0 - 2.0 * tau * tau / (25.0 + tau * tau)
        if centred:
            gradient[:, 2:] = pull - eta / tau
            gradient[:, 0] = (eta / tau).sum(axis=1)
            gradient[:, 1] = (eta * eta).sum(axis=1) - 8.0
        else:
            gradient[:, 2:] = tau * pull - eta
            gradient[:, 0] = pull.sum(axis=1)
            gradient[:, 1] = (tau * eta * pull).sum(axis=1)
        gradient[:, :1] -= mu / 25.0
        gradient[:, 1:2] += prior
        return value_of(*every), gradient

    def scalar(x, g):  # type: ignore[no-untyped-def]
        mu, log_tau = x[0], x[1]
        tau = math.exp(log_tau)
        square = tau * tau
        value = constant + log_tau - mu * mu / 50.0 - math.log1p(square / 25.0)
        g_mu, g_tau = -mu / 25.0, 1.0 - 2.0 * square / (25.0 + square)
        if centred:
            value -= 8.0 * log_tau
            g_tau -= 8.0
        for i in range(8):
            if centred:
                theta = x[2 + i]
                eta = (theta - mu) / tau
            else:
                eta = x[2 + i]
                theta = mu + tau * eta
            left = EFFECTS[i] - theta
            pull = left * weight[i]
            value -= 0.5 * (eta * eta + left * pull)
            if centred:
                g[2 + i] = pull - eta / tau
                g_mu += eta / tau
                g_tau += eta * eta
            else:
                g[2 + i] = tau * pull - eta
                g_mu += pull
                g_tau += tau * eta * pull
        g[0], g[1] = g_mu, g_tau
        return value

    def jax() -> Callable[[Any], Any]:
        import jax.numpy as jnp

        def f(x: Any) -> Any:
            mu, log_tau = x[0], x[1]
            tau = jnp.exp(log_tau)
            theta = x[2:] if centred else mu + tau * x[2:]
            eta = (theta - mu) / tau if centred else x[2:]
            value = log_tau - mu * mu / 50.0 - jnp.log1p(tau * tau / 25.0)
            value -= 8.0 * log_tau if centred else 0.0
            squares = eta * eta + (EFFECTS - theta) ** 2 * weight
            return constant + value - 0.5 * squares.sum()

        return f

    def of(x: Array) -> Array:
        mu, tau = x[..., 0], np.exp(x[..., 1])
        first, last = x[..., 2], x[..., 9]
        if not centred:
            first, last = mu + tau * first, mu + tau * last
        return np.stack([mu, tau, first, last], axis=-1)

    form = "centred" if centred else "non-centred"
    return Problem(
        f"eight schools {form}",
        10,
        lambda x: value_of(*parts(x)),
        pair,
        scalar,
        jax,
        lambda: fm.targets.eight_schools(centred),
        Answers(of, SCHOOLS),
    )


def logistic() -> Problem:
    """Breast cancer, 569 by 30 standardised and an intercept; standard normal priors."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    standard = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    design = np.ascontiguousarray(np.column_stack([np.ones(len(standard)), standard]))
    seen = data.target.astype(np.float64)
    n, dim = design.shape
    constant = -0.5 * dim * LOG_2PI

    def value_of(x: Array, odds: Array) -> Array:
        out: Array = odds @ seen - np.logaddexp(0.0, odds).sum(axis=1) + constant
        return out - 0.5 * np.einsum("nd,nd->n", x, x)

    def values(x: Array) -> Array:
        return value_of(x, x @ design.T)

    def pair(x: Array) -> tuple[Array, Array]:
        odds = x @ design.T
        return value_of(x, odds), (seen - expit(odds)) @ design - x

    columns = np.ascontiguousarray(design.T)

    def scalar(x, g):  # type: ignore[no-untyped-def]
        odds, value = np.zeros(n), constant
        for j in range(dim):
            column, at = columns[j], x[j]
            value -= 0.5 * at * at
            for i in range(n):
                odds[i] += column[i] * at
        for i in range(n):
            small = math.exp(-abs(odds[i]))
            value += seen[i] * odds[i] - max(odds[i], 0.0) - math.log1p(small)
            odds[i] = seen[i] - (1.0 if odds[i] > 0.0 else small) / (1.0 + small)
        for j in range(dim):
            column, total = columns[j], -x[j]
            for i in range(n):
                total += column[i] * odds[i]
            g[j] = total
        return value

    def jax() -> Callable[[Any], Any]:
        import jax.numpy as jnp

        matrix, y = jnp.asarray(design), jnp.asarray(seen)

        def f(x: Any) -> Any:
            odds = matrix @ x
            fit = y @ odds - jnp.logaddexp(0.0, odds).sum()
            return fit - 0.5 * (x @ x) + constant

        return f

    def builtin() -> Any:
        return fm.targets.logistic_regression(standard, seen)

    # Four million draws of a Student t fitted to the posterior.
    answers = Answers(
        lambda x: x[..., :5],
        np.array([0.20579, -0.47135, -0.47381, -0.45835, -0.55054]),
        np.array([0.00032, 0.00069, 0.00044, 0.00070, 0.00070]),
    )
    return Problem("logistic 31", dim, values, pair, scalar, jax, builtin, answers, (design, seen))


def mixture() -> Problem:
    """0.3 N(-2, 1) + 0.7 N(2, 1) in the first of ten coordinates, the rest standard normal."""
    dim, constant = 10, -5.0 * LOG_2PI
    low, high = math.log(0.3), math.log(0.7)

    def values(x: Array) -> Array:
        first = np.logaddexp(low - 2.0 * x[:, 0], high + 2.0 * x[:, 0])
        out: Array = first - 2.0 - 0.5 * np.einsum("nd,nd->n", x, x) + constant
        return out

    def pair(x: Array) -> tuple[Array, Array]:
        gradient = -x
        gradient[:, 0] += 2.0 * np.tanh(2.0 * x[:, 0] + 0.5 * (high - low))
        return values(x), gradient

    def scalar(x, g):  # type: ignore[no-untyped-def]
        squares = 0.0
        for i in range(dim):
            squares += x[i] * x[i]
            g[i] = -x[i]
        left, right = low - 2.0 * x[0], high + 2.0 * x[0]
        small = math.exp(-abs(left - right))
        share = (1.0 - small) / (1.0 + small)
        g[0] += 2.0 * share if right > left else -2.0 * share
        return max(left, right) + math.log1p(small) - 2.0 - 0.5 * squares + constant

    def jax() -> Callable[[Any], Any]:
        import jax.numpy as jnp

        def f(x: Any) -> Any:
            first = jnp.logaddexp(low - 2.0 * x[0], high + 2.0 * x[0])
            return first - 2.0 - 0.5 * (x @ x) + constant

        return f

    def builtin() -> Any:
        one, centre = np.eye(dim), np.zeros(dim)
        centre[0] = 2.0
        laws = [fm.distributions.MultivariateNormal(sign * centre, one) for sign in (-1.0, 1.0)]
        return fm.targets.law_density(fm.distributions.Mixture([0.3, 0.7], laws))

    exact = np.concatenate([[0.8], np.zeros(9), [5.0], np.ones(9)])
    return Problem("mixture 10", dim, values, pair, scalar, jax, builtin, Answers(_moments, exact))


def rosenbrock() -> Problem:
    """x0 ~ N(1, 10) and x1 | x0 ~ N(x0^2, 0.1)."""
    constant = -LOG_2PI

    def values(x: Array) -> Array:
        out: Array = constant - (x[:, 0] - 1.0) ** 2 / 20.0 - 5.0 * (x[:, 1] - x[:, 0] ** 2) ** 2
        return out

    def pair(x: Array) -> tuple[Array, Array]:
        off = 10.0 * (x[:, 1] - x[:, 0] ** 2)
        slope = 2.0 * x[:, 0] * off - (x[:, 0] - 1.0) / 10.0
        return values(x), np.stack([slope, -off], axis=1)

    def scalar(x, g):  # type: ignore[no-untyped-def]
        off, far = x[1] - x[0] * x[0], x[0] - 1.0
        g[0] = 20.0 * x[0] * off - far / 10.0
        g[1] = -10.0 * off
        return constant - far * far / 20.0 - 5.0 * off * off

    def jax() -> Callable[[Any], Any]:
        return lambda x: constant - (x[0] - 1.0) ** 2 / 20.0 - 5.0 * (x[1] - x[0] ** 2) ** 2

    def of(x: Array) -> Array:
        return np.stack([x[..., 0], (x[..., 0] - 1.0) ** 2, x[..., 1]], axis=-1)

    answers = Answers(of, np.array([1.0, 10.0, 11.0]))
    return Problem("rosenbrock 2", 2, values, pair, scalar, jax, None, answers)


def funnel() -> Problem:
    """The funnel of Neal: v ~ N(0, 9) and nine x | v ~ N(0, e^v)."""
    dim, constant = 10, -5.0 * LOG_2PI - math.log(3.0)

    def values(x: Array) -> Array:
        v, rest = x[:, 0], x[:, 1:]
        out: Array = np.exp(-v) * np.einsum("nd,nd->n", rest, rest)
        return constant - 0.5 * (v * v / 9.0 + 9.0 * v + out)

    def pair(x: Array) -> tuple[Array, Array]:
        v, rest = x[:, :1], x[:, 1:]
        gradient = np.empty_like(x)
        gradient[:, 1:] = -np.exp(-v) * rest
        squares = -np.einsum("nd,nd->n", rest, gradient[:, 1:])
        gradient[:, 0] = 0.5 * squares - v[:, 0] / 9.0 - 4.5
        return values(x), gradient

    def scalar(x, g):  # type: ignore[no-untyped-def]
        v = x[0]
        precision, squares = math.exp(-v), 0.0
        for i in range(1, dim):
            squares += x[i] * x[i]
            g[i] = -precision * x[i]
        squares *= precision
        g[0] = 0.5 * squares - v / 9.0 - 4.5
        return constant - 0.5 * (v * v / 9.0 + 9.0 * v + squares)

    def jax() -> Callable[[Any], Any]:
        import jax.numpy as jnp

        def f(x: Any) -> Any:
            v, rest = x[0], x[1:]
            return constant - 0.5 * (v * v / 9.0 + 9.0 * v + jnp.exp(-v) * (rest @ rest))

        return f

    answers = Answers(lambda x: _moments(x[..., :1]), np.array([0.0, 9.0]))
    return Problem(
        "funnel 10", dim, values, pair, scalar, jax, lambda: fm.targets.funnel(dim), answers
    )


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "gaussian 10": lambda: gaussian(10),
    "gaussian 100": lambda: gaussian(100),
    "eight schools non-centred": lambda: eight_schools(False),
    "eight schools centred": lambda: eight_schools(True),
    "logistic 31": logistic,
    "mixture 10": mixture,
    "rosenbrock 2": rosenbrock,
    "funnel 10": funnel,
}


@cache
def problem(name: str) -> Problem:
    """Return the problem of this name, made once."""
    return PROBLEMS[name]()
