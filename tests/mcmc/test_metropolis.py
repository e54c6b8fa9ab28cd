"""Langevin kernels: closed forms of normal laws, exactness of the corrected ones, bits."""

from __future__ import annotations

import numpy as np
import pytest
from forms import DENSITIES, MEAN, SD, Make
from mcmc_chains import TARGETS, Chains, law_is_kept, normal_target
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


@pytest.mark.parametrize(("h", "rate"), [(1.0, 0.9208332), (2.0, 0.7836531)])
def test_mala_accepts_a_normal_law_at_the_known_rate(h: float, rate: float) -> None:
    target, x0 = standard()
    chains = Chains(fixed(fm.mcmc.MALA, np.sqrt(h)), target, x0)
    accepted = chains.stat(chains.run(10)[1], "accepted").mean(axis=1)
    assert abs(accepted.mean() - rate) < 5 * accepted.std() / np.sqrt(N)


def test_a_random_walk_accepts_a_normal_law_at_the_known_rate() -> None:
    target, x0 = standard()
    chains = Chains(fm.mcmc.RWM(scale=2.4, metric="unit"), target, x0)
    accepted = chains.stat(chains.run(10)[1], "accepted").mean(axis=1)
    assert abs(accepted.mean() - 0.4422841) < 5 * accepted.std() / np.sqrt(N)


def variance_is(x: Array, variance: float) -> None:
    assert abs((x**2).mean() / variance - 1) < 5 * np.sqrt(2 / len(x))


def autocorrelation_is(x: Array, y: Array, rho: float) -> None:
    found = (x * y).mean() / np.sqrt((x**2).mean() * (y**2).mean())
    assert abs(found - rho) < 5 * (1 - rho**2) / np.sqrt(len(x))


def test_ula_has_the_known_variance_and_autocorrelation() -> None:
    lam, h = 4.0, 0.3
    target, x0 = standard(lam)
    draws = Chains(fixed(fm.mcmc.ULA, np.sqrt(h)), target, x0).run(15)[0][..., 0]
    variance_is(draws[:, -1], 1 / (lam * (1 - lam * h / 4)))
    autocorrelation_is(draws[:, -2], draws[:, -1], 1 - h * lam / 2)


def test_a_scaled_metric_is_a_change_of_variables() -> None:
    lam = 4.0
    target, x0 = standard(lam)
    kernel = fm.mcmc.ULA(step_size=0.8, metric=[1 / lam])
    draws = Chains(kernel, target, x0).run(15)[0][..., 0]
    variance_is(draws[:, -1], 1 / lam / (1 - 0.8**2 / 4))


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


KERNELS = {
    "MALA": fixed(fm.mcmc.MALA, 0.8),
    "truncated": fixed(fm.mcmc.MALA, 0.9, truncate=0.7),
    "Barker": fixed(fm.mcmc.Barker, 1.2),
    "OBABO": fixed(fm.mcmc.UnderdampedLangevin, 0.7, metropolis=True),
    "BAOAB": fixed(fm.mcmc.UnderdampedLangevin, 0.6, splitting="BAOAB", metropolis=True),
    "ABOBA": fixed(fm.mcmc.UnderdampedLangevin, 0.6, splitting="ABOBA", metropolis=True),
}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_corrected_kernels_keep_the_law(kernel: fm.mcmc.Kernel, name: str) -> None:
    law_is_kept(kernel, name)


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


@pytest.mark.parametrize("kernel", [fm.mcmc.ULA, fm.mcmc.UnderdampedLangevin])
def test_steep_gradients_throw_no_chain_away(kernel: type) -> None:
    # With this step and the density exp(-x⁴) a point beyond 3 is thrown ever farther.
    def quartic(x: Array) -> tuple[Array, Array]:
        return -(x[:, 0] ** 4), -4 * x**3

    target = fm.targets.as_target(quartic, 1, gradient=True)
    x0 = np.full((50, 1), 3.5)
    draws, stats = (chains := Chains(fixed(kernel, 0.6), target, x0)).run(300)
    assert np.isfinite(draws).all()
    assert np.abs(draws).max() < 20
    assert (chains.stat(stats, "accepted") == 0).any()


@pytest.mark.parametrize(
    ("kernel", "rate"),
    [
        (fm.mcmc.MALA(), 0.574),
        (fm.mcmc.Barker(), 0.4),
        (fm.mcmc.UnderdampedLangevin(), 0.9),
        (fm.mcmc.UnderdampedLangevin(metropolis=True), 0.9),
    ],
)
def test_step_sizes_follow_the_wanted_rate(kernel: fm.mcmc.Kernel, rate: float) -> None:
    i = np.arange(10)
    target = normal_target(0.9 ** np.abs(i[:, None] - i) * np.outer(1.0 + i, 1.0 + i))
    x0 = np.random.default_rng(1).normal(size=(4, 10))
    chains = Chains(kernel, target, x0, n_warmup=600, rng=2)
    chains.run(600)
    draws, stats = chains.run(2000)
    assert abs(chains.stat(stats, "acceptance_rate").mean() - rate) < 0.13
    assert abs(draws.var(axis=(0, 1)) / (1.0 + i) ** 2 - 1).max() < 0.35


RUNS = {
    "MALA": fm.mcmc.MALA(),
    "ULA": fm.mcmc.ULA(tamed=True),
    "Barker": fm.mcmc.Barker(),
    "BAOAB": fm.mcmc.UnderdampedLangevin(),
    "ABOBA": fm.mcmc.UnderdampedLangevin(splitting="ABOBA", metropolis=True),
}
kernels = pytest.mark.parametrize("kernel", RUNS.values(), ids=RUNS)


@kernels
def test_drivers_and_threads_give_the_same_bits(kernel: fm.mcmc.Kernel) -> None:
    target, x0 = fm.targets.banana(3), np.random.default_rng(0).normal(size=(5, 3))

    def run(driver: str, n_threads: int) -> Array:
        chains = Chains(kernel, target, x0, n_warmup=120, rng=9)
        return chains.run(150, driver=driver, n_threads=n_threads)[0]

    first = run("free", 1)
    assert np.isfinite(first).all()
    assert len(np.unique(first[..., 0])) > 100
    for driver, n_threads in [("free", 2), ("free", 3), ("lock", 1), ("lock", 2)]:
        assert np.array_equal(run(driver, n_threads), first)


@kernels
@pytest.mark.parametrize("cut", [1, 40, 130])
def test_what_is_saved_goes_on_as_it_was(kernel: fm.mcmc.Kernel, cut: int) -> None:
    target, x0 = fm.targets.banana(3), np.random.default_rng(0).normal(size=(3, 3))
    whole = Chains(kernel, target, x0, n_warmup=120, rng=9)
    whole.run(cut)
    words = whole.sampler.save()
    draws, stats = whole.run(60)
    other = Chains(kernel, target, x0 + 1, n_warmup=120, rng=1)
    other.sampler.load(words)
    other.done = cut
    again, again_stats = other.run(60)
    assert np.array_equal(draws, again)
    assert np.array_equal(stats, again_stats, equal_nan=True)


@kernels
@pytest.mark.parametrize("make", DENSITIES)
def test_targets_of_all_forms_serve(kernel: fm.mcmc.Kernel, make: Make) -> None:
    s = fm.mcmc.sample(make(), kernel=kernel, n_warmup=200, n_draws=400, rng=0)
    spread = (s.draws.mean(axis=(0, 1)) - MEAN) / SD
    assert np.abs(spread).max() < 0.5
    assert s.settings["kernel"] == type(kernel).__name__
    assert (s.settings.get("bias") is None) != (
        type(kernel) is fm.mcmc.ULA or kernel == RUNS["BAOAB"]
    )


@pytest.mark.parametrize(
    ("kernel", "options", "what"),
    [
        (fm.mcmc.Barker, {"step_size": 0}, "step_size"),
        (fm.mcmc.Barker, {"target_accept": 1.0}, "target_accept"),
        (fm.mcmc.UnderdampedLangevin, {"friction": -1}, "friction"),
        (fm.mcmc.UnderdampedLangevin, {"friction": True}, "friction"),
        (fm.mcmc.UnderdampedLangevin, {"splitting": "BAO"}, "splitting"),
        (fm.mcmc.UnderdampedLangevin, {"splitting": "BAB"}, "splitting"),
        (fm.mcmc.UnderdampedLangevin, {"splitting": "baoab"}, "splitting"),
        (fm.mcmc.UnderdampedLangevin, {"splitting": 3}, "splitting"),
        (fm.mcmc.UnderdampedLangevin, {"metropolis": "yes"}, "metropolis"),
    ],
)
def test_what_is_no_kernel_is_refused(kernel: type, options: dict[str, object], what: str) -> None:
    with pytest.raises(fm.errors.ArgumentError, match=what):
        kernel(**options)
