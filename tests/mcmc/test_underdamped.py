"""Underdamped Langevin dynamics: covariances of splittings, momenta, and evaluations."""

from __future__ import annotations

import numpy as np
import pytest
from mcmc_chains import Chains, normal_target
from numpy.typing import NDArray
from scipy.linalg import solve_discrete_lyapunov

import fermiac as fm

Array = NDArray[np.float64]


N = 10_000


def standard(lam: float = 1.0, n: int = N, seed: int = 5) -> tuple[object, Array]:
    """A normal law of precision lam, and exact draws of it."""
    x = np.random.default_rng(seed).normal(size=(n, 1)) / np.sqrt(lam)
    return normal_target([[1 / lam]]), x


def fixed(kernel: type, step: float, **options: object) -> fm.mcmc.Kernel:
    return kernel(step_size=step, metric="unit", **options)  # type: ignore[no-any-return]


def variance_is(x: Array, variance: float) -> None:
    assert abs((x**2).mean() / variance - 1) < 5 * np.sqrt(2 / len(x))


def autocorrelation_is(x: Array, y: Array, rho: float) -> None:
    found = (x * y).mean() / np.sqrt((x**2).mean() * (y**2).mean())
    assert abs(found - rho) < 5 * (1 - rho**2) / np.sqrt(len(x))


def stationary(splitting: str, lam: float, h: float, gamma: float) -> tuple[Array, Array]:
    """The stationary covariance of (x, p), and the matrix of a step."""
    step, noise = np.eye(2), np.zeros((2, 2))
    for letter in splitting:
        t = h / splitting.count(letter)
        c = np.exp(-gamma * t)
        part = {
            "A": np.array([[1.0, t], [0.0, 1.0]]),
            "B": np.array([[1.0, 0.0], [-t * lam, 1.0]]),
            "O": np.diag([1.0, c]),
        }[letter]
        step, noise = part @ step, part @ noise @ part.T
        if letter == "O":
            noise[1, 1] += 1 - c * c
    return solve_discrete_lyapunov(step, noise), step


def test_the_covariances_of_splittings_are_the_published_ones() -> None:
    for splitting, expected in [("BAOAB", (0.25, 0.75)), ("OBABO", (1 / 3, 1.0))]:
        covariance, _ = stationary(splitting, 4.0, 0.5, 2.0)
        assert np.allclose(covariance, np.diag(expected), rtol=1e-12, atol=1e-12)
    covariance, step = stationary("BAOAB", 4.0, 0.5, 2.0)
    assert abs((step @ covariance)[0, 0] / covariance[0, 0] - 0.6580301) < 1e-7


@pytest.mark.parametrize("splitting", ["BAOAB", "OBABO", "ABOBA", "OABAO", "AOBOA"])
def test_splittings_have_their_known_covariances(splitting: str) -> None:
    lam, h, gamma = 4.0, 0.5, 2.0
    target, x0 = standard(lam)
    kernel = fixed(fm.mcmc.UnderdampedLangevin, h, splitting=splitting, friction=gamma)
    chains = Chains(kernel, target, x0)
    draws, stats = chains.run(24)
    x = draws[..., 0]
    covariance, step = stationary(splitting, lam, h, gamma)
    variance_is(x[:, -1], covariance[0, 0])
    autocorrelation_is(x[:, -2], x[:, -1], (step @ covariance)[0, 0] / covariance[0, 0])
    # The energy less that of the position is that of the momentum.
    norm = 0.5 * np.log(2 * np.pi / lam)
    kinetic = chains.stat(stats, "energy")[:, -1] - 0.5 * lam * x[:, -1] ** 2 - norm
    assert abs(2 * kinetic.mean() / covariance[1, 1] - 1) < 5 * np.sqrt(2 / N)


def test_one_gradient_a_step_is_enough() -> None:
    target, x0 = standard(n=3)
    for splitting, each in [("BAOAB", 1), ("OBABO", 1), ("ABOBA", 2), ("OABAO", 2)]:
        kernel = fixed(fm.mcmc.UnderdampedLangevin, 0.3, splitting=splitting)
        chains = Chains(kernel, target, x0)
        chains.run(7)
        assert chains.sampler.n_evals[0] == 3 * (7 * each + 1)


def test_without_friction_a_corrected_step_is_a_leapfrog() -> None:
    target, _ = standard()
    kernel = fixed(fm.mcmc.UnderdampedLangevin, 0.5, friction=1e-300, metropolis=True)
    chains = Chains(kernel, target, [[1.0]])
    draws, stats = chains.run(1)
    error = chains.stat(stats, "energy_error")[0, 0]
    x = draws[0, 0, 0]
    # The leapfrog from x = 1 to here, solved for the momentum.
    p = (x - 1) / 0.5 + 0.25
    end = p - 0.25 * (1 + x)
    assert abs(0.5 * (x * x + end * end - 1 - p * p) - error) < 1e-12


def test_a_momentum_turns_round_where_a_step_is_rejected() -> None:
    # Beyond 1 there is no density, and without friction a chain goes on as it came.
    def wall(x: Array) -> tuple[Array, Array]:
        return np.where(np.abs(x[:, 0]) < 1, 0.0, -np.inf), np.zeros_like(x)

    target = fm.targets.as_target(wall, 1, gradient=True)
    for metropolis in (False, True):
        kernel = fixed(fm.mcmc.UnderdampedLangevin, 0.3, friction=1e-300, metropolis=metropolis)
        chains = Chains(kernel, target, [[0.1]], rng=4)
        draws, stats = chains.run(60)
        x, moved = draws[0, :, 0], np.diff(draws[0, :, 0], prepend=0.1)
        accepted = chains.stat(stats, "accepted")[0] == 1
        assert (~accepted).any()
        assert (moved[~accepted] == 0).all()
        assert (np.abs(x) < 1).all()
        steps = moved[accepted]
        assert np.ptp(np.abs(steps)) < 1e-12
        turns = (np.sign(steps[1:]) != np.sign(steps[:-1])).sum()
        assert turns in ((~accepted).sum(), (~accepted).sum() - 1)
