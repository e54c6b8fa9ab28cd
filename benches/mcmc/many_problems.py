"""The densities of `benches.mcmc.many_chains`: each in NumPy, with its gradient, and in JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Many(NamedTuple):
    """A density of batches (n, d) that returns values and gradients, and one of points for JAX."""

    dim: int
    pair: Callable[[Array], tuple[Array, Array]]
    of_point: Callable[[Any, Any], Any]


def logistic_regression(n: int = 1000, d: int = 25) -> Many:
    """Return a logistic regression with normal priors of standard deviation 2."""
    g = np.random.default_rng(1)
    x = g.normal(size=(n, d))
    x[:, 0] = 1.0
    y = (g.uniform(size=n) < 1 / (1 + np.exp(-x @ (0.5 * g.normal(size=d))))).astype(float)

    def pair(b: Array) -> tuple[Array, Array]:
        eta = b @ x.T
        p = 1 / (1 + np.exp(-np.clip(eta, -700, 700)))
        value = eta @ y - np.logaddexp(0, eta).sum(axis=1) - (b**2).sum(axis=1) / 8
        return value, (y - p) @ x - b / 4

    def of_point(jnp: Any, b: Any) -> Any:
        eta = jnp.asarray(x) @ b
        return eta @ jnp.asarray(y) - jnp.logaddexp(0.0, eta).sum() - (b**2).sum() / 8

    return Many(d, pair, of_point)


def _normal(precision: Array) -> Many:
    def pair(x: Array) -> tuple[Array, Array]:
        slope = -x @ precision
        return 0.5 * (x * slope).sum(axis=1), slope

    def of_point(jnp: Any, x: Any) -> Any:
        return -0.5 * x @ (jnp.asarray(precision) @ x)

    return Many(len(precision), pair, of_point)


def correlated_normal(d: int = 100, correlation: float = 0.95) -> Many:
    """Return a normal law with the correlations of an autoregression."""
    i = np.arange(d)
    return _normal(np.linalg.inv(correlation ** np.abs(i[:, None] - i)))


def ill_conditioned_normal(d: int = 50, condition: float = 1e4) -> Many:
    """Return a normal law with variances from 1 to `condition` along random axes."""
    axes, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(d, d)))
    return _normal((axes / np.logspace(0, np.log10(condition), d)) @ axes.T)


def hierarchical(n: int = 40) -> Many:
    """Return a hierarchical model of normal groups in its non-centred form."""
    g = np.random.default_rng(3)
    sd = g.uniform(5, 15, n)
    y = 5 * g.normal(size=n) + sd * g.normal(size=n)

    def pair(x: Array) -> tuple[Array, Array]:
        mu, log_tau, e = x[:, 0], x[:, 1], x[:, 2:]
        tau = np.exp(np.clip(log_tau, -50, 50))[:, None]
        rest = (y - mu[:, None] - tau * e) / sd
        value = -0.5 * ((rest**2).sum(axis=1) + (e**2).sum(axis=1))
        value -= 0.5 * ((mu / 10) ** 2 + (log_tau - 1) ** 2)
        q = rest / sd
        slope = np.empty_like(x)
        slope[:, 0] = q.sum(axis=1) - mu / 100
        slope[:, 1] = (q * tau * e).sum(axis=1) - (log_tau - 1)
        slope[:, 2:] = q * tau - e
        return value, slope

    def of_point(jnp: Any, x: Any) -> Any:
        mu, log_tau, e = x[0], x[1], x[2:]
        rest = (y - mu - jnp.exp(jnp.clip(log_tau, -50, 50)) * e) / sd
        prior = (e**2).sum() + (mu / 10) ** 2 + (log_tau - 1) ** 2
        return -0.5 * ((rest**2).sum() + prior)

    return Many(n + 2, pair, of_point)


def stochastic_volatility(n: int = 100) -> Many:
    """Return a stochastic volatility model of `n` times, in innovations of standard normal law."""
    g = np.random.default_rng(4)
    h = np.empty(n)
    h[0] = -1 + 0.25 / np.sqrt(1 - 0.95**2) * g.normal()
    for t in range(1, n):
        h[t] = -1 + 0.95 * (h[t - 1] + 1) + 0.25 * g.normal()
    y = np.exp(h / 2) * g.normal(size=n)

    def pair(x: Array) -> tuple[Array, Array]:
        mu, a, log_sd, z = x[:, 0], x[:, 1], x[:, 2], x[:, 3:]
        phi, sd = np.tanh(np.clip(a, -15, 15)), np.exp(np.clip(log_sd, -50, 50))
        left = np.maximum(1 - phi**2, 1e-12)
        u = np.empty_like(z)
        u[:, 0] = z[:, 0] / np.sqrt(left)
        for t in range(1, n):
            u[:, t] = phi * u[:, t - 1] + z[:, t]
        of_h = np.clip(mu[:, None] + sd[:, None] * u, -60, 60)
        squares = y**2 * np.exp(-of_h)
        value = -0.5 * (of_h + squares + z**2).sum(axis=1)
        value -= 0.5 * (((mu + 1) / 2) ** 2 + ((a - 1.5) / 0.5) ** 2 + ((log_sd + 1.5) / 0.7) ** 2)
        by_h = 0.5 * (squares - 1)
        by_u = by_h * sd[:, None]
        back = np.empty_like(u)
        back[:, -1] = by_u[:, -1]
        for t in range(n - 2, -1, -1):
            back[:, t] = by_u[:, t] + phi * back[:, t + 1]
        slope = np.empty_like(x)
        slope[:, 0] = by_h.sum(axis=1) - (mu + 1) / 4
        by_phi = (back[:, 1:] * u[:, :-1]).sum(axis=1) + back[:, 0] * z[:, 0] * phi * left**-1.5
        slope[:, 1] = by_phi * left - (a - 1.5) / 0.25
        slope[:, 2] = (by_u * u).sum(axis=1) - (log_sd + 1.5) / 0.49
        slope[:, 3:] = back - z
        slope[:, 3] = back[:, 0] / np.sqrt(left) - z[:, 0]
        return value, slope

    def of_point(jnp: Any, x: Any) -> Any:
        from jax import lax

        mu, a, log_sd, z = x[0], x[1], x[2], x[3:]
        phi, sd = jnp.tanh(jnp.clip(a, -15, 15)), jnp.exp(jnp.clip(log_sd, -50, 50))
        first = z[0] / jnp.sqrt(jnp.maximum(1 - phi**2, 1e-12))

        def next_u(u: Any, z: Any) -> tuple[Any, Any]:
            u = phi * u + z
            return u, u

        _, rest = lax.scan(next_u, first, z[1:])
        of_h = jnp.clip(mu + sd * jnp.concatenate([first[None], rest]), -60, 60)
        prior = ((mu + 1) / 2) ** 2 + ((a - 1.5) / 0.5) ** 2 + ((log_sd + 1.5) / 0.7) ** 2
        return -0.5 * ((of_h + y**2 * jnp.exp(-of_h) + z**2).sum() + prior)

    return Many(n + 3, pair, of_point)


MANY: dict[str, Callable[[], Many]] = {
    "logistic regression, d = 25, 1000 rows": logistic_regression,
    "correlated normal, d = 100": correlated_normal,
    "normal with κ = 10⁴, d = 50": ill_conditioned_normal,
    "hierarchical, non-centred, d = 42": hierarchical,
    "stochastic volatility, d = 103": stochastic_volatility,
}
