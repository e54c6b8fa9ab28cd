"""The linear law of a token driven by a walk: modes, limits, and the recursion at finite n."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from fermiac.errors import ArgumentError
from fermiac.walks import poisson
from fermiac.walks.kernels import HistoryKernel
from fermiac.walks.markov_chains import Chain, NodeChain

__all__ = ["Modes", "limit", "modes_of", "recursion"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Modes:
    """Independent modes of the visit measure, each a row.

    Mode k decays at the rate 1 + alpha `pull`, and is driven by noise of the strength `noise`. It
    acts on the token through the row `force`.
    """

    pull: Array
    noise: Array
    force: Array


def modes_of(chain: Chain, gradients: Array, kernel: HistoryKernel, method: str) -> Modes:
    """Return the modes: of the spectrum, or one for each parameter if all have the same pull."""
    if kernel.by_modes and isinstance(chain, NodeChain):
        values, force = poisson.modes(chain, gradients, method)
        felt = np.abs(force).max(axis=1) > 1e-15 * np.abs(force).max(initial=0.0)
        values, force = values[felt], force[felt]
        return Modes(1 + values, np.maximum(1 + values, 0.0) / (1 - values), force)
    # The history acts equally on all modes, so d combinations of them suffice for the token.
    strength, directions = linalg.eigh(poisson.base_covariance(chain, gradients, method))
    force = (directions * np.sqrt(np.maximum(strength, 0.0))).T
    return Modes(np.ones(len(force)), np.ones(len(force)), force)


def limit(
    chain: Chain,
    gradients: Array,
    drift: Array,
    alpha: float,
    exponents: tuple[float, float, float],
    kernel: HistoryKernel,
    method: str,
) -> Array:
    """Return the limit of the covariance of (theta_n - theta*) / beta_n^(1/2)."""
    a, b, c = exponents
    if a != b:
        if b < a:
            force = poisson.base_covariance(chain, gradients, method)
        elif kernel.by_modes and isinstance(chain, NodeChain):
            force = poisson.fast_covariance(chain, gradients, alpha, method)
        else:
            force = poisson.base_covariance(chain, gradients, method) / (1 + alpha) ** 2
        return _lyapunov(_slowed(drift, b, c), force)
    # One time scale: the triangular joint system is solved block by block.
    modes = modes_of(chain, gradients, kernel, method)
    e = 1.0 if b == 1.0 else 0.0
    rate = 1 + alpha * modes.pull
    own = modes.noise / (2 * rate - e)
    # The covariance of each mode with the token, divided by c, is a column x: (rate - e - c drift)
    # x = source.
    source = modes.force * (modes.noise - alpha * modes.pull * own)[:, None]
    left = (rate - e)[:, None, None] * np.eye(len(drift)) - c * drift
    cross = np.linalg.solve(left, source[:, :, None])[:, :, 0]
    felt = -alpha * (modes.pull[:, None] * modes.force).T @ cross
    force = (modes.noise[:, None] * modes.force).T @ modes.force + felt + felt.T
    return _lyapunov(_slowed(drift, b, c), force)


def _slowed(drift: Array, b: float, c: float) -> Array:
    return drift + np.eye(len(drift)) / (2 * c) if b == 1.0 else drift


def _lyapunov(drift: Array, force: Array) -> Array:
    value = linalg.solve_continuous_lyapunov(drift, -force)
    return np.asarray(0.5 * (value + value.T))


def recursion(
    modes: Modes,
    drift: Array,
    start: Array,
    alpha: float,
    exponents: tuple[float, float, float],
    times: NDArray[np.int64],
) -> Array:
    """Return second moments of theta_n - theta* at increasing times, by the linear recursion.

    The state is the second moment s of the token, its covariance x with the modes, and the diagonal
    second moments y of the modes. Large steps of the modes are implicit, since explicit steps would
    oscillate and grow.
    """
    a, b, c = exponents
    rate = 1 + alpha * modes.pull
    pull = -alpha * (modes.pull[:, None] * modes.force).T
    noise_x = (modes.noise[:, None] * modes.force).T
    noise_s = noise_x @ modes.force
    stiffness = float(np.linalg.norm(drift, 2))
    eye = np.eye(len(drift))
    s: Array = np.multiply.outer(start, start)
    x: Array = np.zeros(pull.shape)
    y: Array = np.zeros(len(rate))
    result = np.empty((len(times), *s.shape))
    done = 0
    for n in range(int(times[-1]) + 1):
        while done < len(times) and times[done] == n:
            result[done] = 0.5 * (s + s.T)
            done += 1
        gamma, beta = (n + 2.0) ** -a, c * (n + 2.0) ** -b
        implicit = gamma * (1 + 2 * alpha) > 0.5 or beta * stiffness > 1.0
        if implicit:
            s = s + beta**2 * noise_s
            x = x + beta * gamma * noise_x
            y = y + gamma**2 * modes.noise
            keep = 1 / (1 + gamma * rate)
            move = np.linalg.inv(eye - beta * drift)
            push = beta * (move @ pull) * keep
        else:
            keep = 1 - gamma * rate
            move = eye + beta * drift
            push = beta * pull
        moved = move @ x
        cross = moved @ push.T
        pushed = push * y
        s = move @ s @ move.T + cross + cross.T + pushed @ push.T
        x = (moved + pushed) * keep
        y = keep**2 * y
        if not implicit:
            s += beta**2 * noise_s
            x += beta * gamma * noise_x
            y += gamma**2 * modes.noise
    return result


def check_stable(drift: Array, b: float, c: float) -> None:
    """Refuse a drift that is too weak for the error to settle."""
    slowest = -float(linalg.eigvals(drift).real.max())
    needed = 1 / (2 * c) if b == 1.0 else 0.0
    if not slowest > needed:
        steps = f"; with b = 1, c must be above {1 / (2 * slowest):.3g}" if slowest > 0 else ""
        raise ArgumentError(
            f"hessian: its smallest eigenvalue is {slowest:.3g}; one above {needed:.3g} is needed, "
            f"or the error does not settle at the rate of the steps{steps}"
        )


def as_drift(hessian: Any, mu: Array, dim: int) -> Array:
    """Return minus the mean Hessian."""
    mean = np.tensordot(mu, hessian, axes=1) if hessian.ndim == 3 else hessian
    return np.asarray(-mean.reshape(dim, dim))
