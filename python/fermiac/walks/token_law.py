"""The linear law of a token driven by a walk: modes, limits, and the recursion at finite n."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from fermiac.errors import ArgumentError
from fermiac.walks import poisson
from fermiac.walks.transition import Chain, NodeChain

__all__ = ["Modes", "limit", "modes_of", "recursion"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Modes:
    """Independent modes of the visit measure, each a row.

    Mode k decays at the rate 1 + alpha `pull`, by noise of the strength `noise`; the token feels it
    through the row `force`.
    """

    pull: Array
    noise: Array
    force: Array


def modes_of(chain: Chain, gradients: Array, kernel: str, method: str) -> Modes:
    """The modes: those of the spectrum for the self-repellent walk, else as many as parameters."""
    if kernel == "srrw" and isinstance(chain, NodeChain):
        values, force = poisson.modes(chain, gradients, method)
        felt = np.abs(force).max(axis=1) > 1e-15 * np.abs(force).max(initial=0.0)
        values, force = values[felt], force[felt]
        return Modes(1 + values, np.maximum(1 + values, 0.0) / (1 - values), force)
    # The history pulls all modes alike: what the token feels of them has d dimensions.
    strength, directions = linalg.eigh(poisson.base_covariance(chain, gradients, method))
    force = (directions * np.sqrt(np.maximum(strength, 0.0))).T
    return Modes(np.ones(len(force)), np.ones(len(force)), force)


def limit(
    chain: Chain,
    gradients: Array,
    drift: Array,
    alpha: float,
    exponents: tuple[float, float, float],
    kernel: str,
    method: str,
) -> Array:
    """The limit of the covariance of (theta_n - theta*) / beta_n^(1/2)."""
    a, b, c = exponents
    if a != b:
        if b < a:
            force = poisson.base_covariance(chain, gradients, method)
        elif kernel == "srrw" and isinstance(chain, NodeChain):
            force = poisson.fast_covariance(chain, gradients, alpha, method)
        else:
            force = poisson.base_covariance(chain, gradients, method) / (1 + alpha) ** 2
        return _lyapunov(_slowed(drift, b, c), force)
    # One time scale: the joint system, whose triangular form gives it block by block.
    modes = modes_of(chain, gradients, kernel, method)
    e = 1.0 if b == 1.0 else 0.0
    rate = 1 + alpha * modes.pull
    own = modes.noise / (2 * rate - e)
    # Each mode's covariance with the token over c, a column: (rate - e - c drift) x = source.
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
    """Second moments of theta_n - theta* at rising times, by the linear recursion.

    The state is the token's second moment s, its covariance x with the modes, and the modes' own,
    which stays diagonal: y. The modes' steps are implicit while they are large, which explicit ones
    would let oscillate and grow.
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
    """Refuse a drift that does not lead to the solution fast enough."""
    slowest = -float(linalg.eigvals(drift).real.max())
    needed = 1 / (2 * c) if b == 1.0 else 0.0
    if not slowest > needed:
        steps = f"; with b = 1, c must be above {1 / (2 * slowest):.3g}" if slowest > 0 else ""
        raise ArgumentError(
            f"hessian: its smallest eigenvalue is {slowest:.3g}; one above {needed:.3g} is needed, "
            f"or the error does not settle at the rate of the steps{steps}"
        )


def as_drift(hessian: Any, mu: Array, dim: int) -> Array:
    """Minus the mean Hessian."""
    mean = np.tensordot(mu, hessian, axes=1) if hessian.ndim == 3 else hessian
    return np.asarray(-mean.reshape(dim, dim))
