"""Eleven ordinary posteriors: each as one compiled function of a point, and in JAX.

All data are synthetic but those of eight schools. A compiled function writes the gradient and
returns the log-density, without its constant where that is immaterial; both forms have the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from benches.mcmc.problem import Answers, Array, Problem
from benches.mcmc.problems import eight_schools, standard_normal

__all__ = ["EXACT", "TARGETS", "target"]

#: Returns the log-density of a point in JAX.
Jax = Callable[[], Callable[[Any], Any]]


#: The standard deviations of the diagonal normal.
SCALES = np.geomspace(0.01, 100.0, 150)


def _compiled(name: str, dim: int, scalar: Callable[..., Any], jax: Jax) -> Problem:
    """Return a problem whose forms all call the compiled function, but for that in JAX."""

    def pair(x: Array) -> tuple[Array, Array]:
        both: tuple[Array, Array] = made.compiled_pair(np.ascontiguousarray(x))
        return both

    unknown = Answers(lambda x: x[..., :1], np.array([np.nan]))
    made = Problem(name, dim, lambda x: pair(x)[0], pair, scalar, jax, None, unknown)
    return made


def _diagonal() -> Problem:
    """Independent normals with standard deviations from 0.01 to 100."""
    precision = 1.0 / SCALES**2

    def scalar(x, g):  # type: ignore[no-untyped-def]
        total = 0.0
        for i in range(150):
            slope = precision[i] * x[i]
            g[i] = -slope
            total += slope * x[i]
        return -0.5 * total

    return _compiled("diagonal normal", 150, scalar, lambda: lambda x: -0.5 * (precision @ (x * x)))


def _student() -> Problem:
    """Independent Student t with four degrees of freedom."""

    def scalar(x, g):  # type: ignore[no-untyped-def]
        total = 0.0
        for i in range(100):
            square = 1.0 + 0.25 * x[i] * x[i]
            total += math.log(square)
            g[i] = -1.25 * x[i] / square
        return -2.5 * total

    def jax() -> Callable[[Any], Any]:
        import jax.numpy as jnp

        return lambda x: -2.5 * jnp.log(1.0 + 0.25 * x * x).sum()

    return _compiled("Student t4", 100, scalar, jax)


def _autoregression() -> Problem:
    """A stationary autoregression of order 1 with coefficient 0.9: a tridiagonal precision."""
    rho, scale = 0.9, 1.0 / (1.0 - 0.9**2)

    def scalar(x, g):  # type: ignore[no-untyped-def]
        total = x[0] * x[0]
        g[0] = -x[0]
        for i in range(1, 100):
            step = x[i] - rho * x[i - 1]
            total += scale * step * step
            g[i] = -scale * step
            g[i - 1] += rho * scale * step
        return -0.5 * total

    def jax() -> Callable[[Any], Any]:
        def f(x: Any) -> Any:
            steps = x[1:] - rho * x[:-1]
            return -0.5 * (x[0] * x[0] + scale * (steps @ steps))

        return f

    return _compiled("AR(1) normal", 100, scalar, jax)


def _dense(name: str) -> Problem:
    """A normal law of mean 0, with a product of the whole precision matrix in each gradient."""
    precision = np.linalg.inv(_covariance(name))
    dim = len(precision)

    def scalar(x, g):  # type: ignore[no-untyped-def]
        g[:] = 0.0
        for i in range(dim):
            row, at = precision[i], x[i]
            for j in range(dim):
                g[j] -= row[j] * at
        total = 0.0
        for i in range(dim):
            total += x[i] * g[i]
        return 0.5 * total

    return _compiled(
        f"{name} Gaussian", dim, scalar, lambda: lambda x: -0.5 * (x @ (precision @ x))
    )


@cache
def _covariance(name: str) -> Array:
    """Return that of 150 random points, or of random directions with deviations from 0.01 to 1."""
    if name == "correlated":
        points = np.random.default_rng(1).standard_normal((150, 100))
        return np.asarray(points.T @ points / 150.0)
    basis = np.linalg.qr(np.random.default_rng(2).standard_normal((150, 150)))[0]
    return np.asarray((basis * np.geomspace(0.01, 1.0, 150) ** 2) @ basis.T)


def _volatility() -> Problem:
    """Stochastic volatility of 300 returns, with standardised innovations.

    h_1 = m + s z_1 (1 - r²)^-½, h_t = m + r (h_(t-1) - m) + s z_t, y_t ~ N(0, exp h_t). Coordinates
    m ~ N(0, 5²), a with r = tanh a and (1 + r) / 2 ~ Beta(20, 1.5), log s with s ~ N⁺(0, 0.5²), z.
    """
    n = 300
    rng = np.random.default_rng(3)
    h = np.empty(n)
    h[0] = 0.2 / math.sqrt(1.0 - 0.95**2) * rng.standard_normal()
    for t in range(1, n):
        h[t] = 0.95 * h[t - 1] + 0.2 * rng.standard_normal()
    squares = (np.exp(0.5 * (h - 1.0)) * rng.standard_normal(n)) ** 2

    def scalar(x, g):  # type: ignore[no-untyped-def]
        m, r, s = x[0], math.tanh(x[1]), math.exp(x[2])
        root = 1.0 / math.sqrt(1.0 - r * r)
        share = 0.5 * (1.0 + r)
        value = -0.02 * m * m + 20.0 * math.log(share) + 1.5 * math.log(1.0 - share)
        value += x[2] - 2.0 * s * s
        u = np.empty(n)  # (h_t - m) / s
        u[0] = root * x[3]
        for t in range(1, n):
            u[t] = r * u[t - 1] + x[3 + t]
        for t in range(n):
            at = m + s * u[t]
            pull = 0.5 * squares[t] * math.exp(-at)
            value -= 0.5 * at + pull + 0.5 * x[3 + t] * x[3 + t]
            g[3 + t] = pull - 0.5
        g_m, g_r, g_s, back = -0.04 * m, 0.0, 0.0, 0.0
        for t in range(n - 1, -1, -1):
            slope = g[3 + t]
            g_m += slope
            g_s += slope * u[t]
            back = slope + r * back
            if t > 0:
                g_r += s * back * u[t - 1]
                g[3 + t] = s * back - x[3 + t]
            else:
                g_r += s * back * x[3] * r * root * root * root
                g[3] = s * back * root - x[3]
        g[0] = g_m
        g[1] = g_r * (1.0 - r * r) + 40.0 * (1.0 - share) - 3.0 * share
        g[2] = g_s * s + 1.0 - 4.0 * s * s
        return value

    def jax() -> Callable[[Any], Any]:
        import jax
        import jax.numpy as jnp

        def join(a: Any, b: Any) -> Any:
            return a[0] * b[0], b[0] * a[1] + b[1]

        def f(x: Any) -> Any:
            m, r, s, z = x[0], jnp.tanh(x[1]), jnp.exp(x[2]), x[3:]
            share = 0.5 * (1.0 + r)
            prior = -0.02 * m * m + 20.0 * jnp.log(share) + 1.5 * jnp.log(1.0 - share)
            prior += x[2] - 2.0 * s * s - 0.5 * (z @ z)
            added = z.at[0].mul(1.0 / jnp.sqrt(1.0 - r * r))
            u = jax.lax.associative_scan(join, (jnp.full(n, r), added))[1]
            h = m + s * u
            return prior - 0.5 * (h + squares * jnp.exp(-h)).sum()

        return f

    return _compiled("stochastic volatility", n + 3, scalar, jax)


def _radon() -> Problem:
    """Radon in 919 houses of 59 counties: varying intercepts in their non-centred form.

    y ~ N(m + t z_county + b floor, s²). Coordinates m ~ N(0, 2²), b ~ N(0, 1), log t and log s with
    t, s ~ N⁺(0, 1), z ~ N(0, 1).
    """
    n, counties = 919, 59
    rng = np.random.default_rng(4)
    county = np.sort(np.concatenate([np.arange(counties), rng.integers(0, counties, n - counties)]))
    floor = (rng.random(n) < 0.17).astype(float)
    y = 1.5 + 0.33 * rng.standard_normal(counties)[county] - 0.65 * floor
    y = y + 0.73 * rng.standard_normal(n)

    def scalar(x, g):  # type: ignore[no-untyped-def]
        m, b, t, s = x[0], x[1], math.exp(x[2]), math.exp(x[3])
        precision = 1.0 / (s * s)
        value = -0.125 * m * m - 0.5 * b * b + x[2] - 0.5 * t * t + x[3] - 0.5 * s * s
        for j in range(counties):
            value -= 0.5 * x[4 + j] * x[4 + j]
            g[4 + j] = 0.0
        squares, g_m, g_b, g_t = 0.0, 0.0, 0.0, 0.0
        for i in range(n):
            j = 4 + county[i]
            rest = y[i] - m - t * x[j] - b * floor[i]
            squares += rest * rest
            g[j] += rest
            g_b += rest * floor[i]
        for j in range(4, 4 + counties):
            g_m += g[j]
            g_t += g[j] * x[j]
            g[j] = precision * t * g[j] - x[j]
        g[0] = precision * g_m - 0.25 * m
        g[1] = precision * g_b - b
        g[2] = precision * g_t * t + 1.0 - t * t
        g[3] = precision * squares - n + 1.0 - s * s
        return value - 0.5 * precision * squares - n * x[3]

    def jax() -> Callable[[Any], Any]:
        import jax.numpy as jnp

        def f(x: Any) -> Any:
            m, b, t, s, z = x[0], x[1], jnp.exp(x[2]), jnp.exp(x[3]), x[4:]
            prior = -0.125 * m * m - 0.5 * b * b + x[2] - 0.5 * t * t + x[3] - 0.5 * s * s
            rest = y - (m + t * z)[county] - b * floor
            return prior - 0.5 * (z @ z) - 0.5 * (rest @ rest) / (s * s) - n * x[3]

        return f

    return _compiled("radon", counties + 4, scalar, jax)


def _logistic() -> Problem:
    """1000 rows and 24 correlated predictors, as in the German credit data, and an intercept."""
    rng, n, dim = np.random.default_rng(5), 1000, 25
    mixing = np.linalg.cholesky(0.6 * np.eye(24) + 0.4)
    design = np.column_stack([np.ones(n), rng.standard_normal((n, 24)) @ mixing.T])
    slopes = np.concatenate([[-0.5], 0.5 * rng.standard_normal(24)])
    seen = (rng.random(n) < 1.0 / (1.0 + np.exp(-(design @ slopes)))).astype(float)
    columns = np.ascontiguousarray(design.T)

    def scalar(x, g):  # type: ignore[no-untyped-def]
        odds, value = np.zeros(n), 0.0
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

        def f(x: Any) -> Any:
            odds = design @ x
            return seen @ odds - jnp.logaddexp(0.0, odds).sum() - 0.5 * (x @ x)

        return f

    return _compiled("logistic regression", dim, scalar, jax)


TARGETS: dict[str, Callable[[], Problem]] = {
    "iid normal, d = 199": lambda: standard_normal(199),
    "diagonal normal, d = 150": _diagonal,
    "stochastic volatility, d = 303": _volatility,
    "iid Student t4, d = 100": _student,
    "iid normal, d = 1000": lambda: standard_normal(1000),
    "radon, d = 63": _radon,
    "AR(1) normal, d = 100": _autoregression,
    "eight schools, d = 10": lambda: eight_schools(False),
    "logistic regression, d = 25": _logistic,
    "correlated Gaussian, d = 100": lambda: _dense("correlated"),
    "rotated Gaussian, d = 150": lambda: _dense("rotated"),
}


#: Means, 5 % quantiles and second moments of a coordinate with scale 1.
NORMAL, STUDENT = (0.0, -1.6448536269514722, 1.0), (0.0, -2.1318467863266495, 2.0)
#: The scales of the coordinates, and these values of one, where they are known.
EXACT: dict[str, tuple[Callable[[], Array | float], tuple[float, float, float]]] = {
    "iid normal, d = 199": (lambda: 1.0, NORMAL),
    "diagonal normal, d = 150": (lambda: SCALES, NORMAL),
    "iid Student t4, d = 100": (lambda: 1.0, STUDENT),
    "iid normal, d = 1000": (lambda: 1.0, NORMAL),
    "AR(1) normal, d = 100": (lambda: 1.0, NORMAL),
    "correlated Gaussian, d = 100": (lambda: np.sqrt(np.diag(_covariance("correlated"))), NORMAL),
    "rotated Gaussian, d = 150": (lambda: np.sqrt(np.diag(_covariance("rotated"))), NORMAL),
}


@cache
def target(name: str) -> Problem:
    """Return the target of this name, made once."""
    return TARGETS[name]()
