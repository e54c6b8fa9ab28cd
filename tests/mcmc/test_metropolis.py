"""Metropolis kernels: acceptance rates, biases, step sizes, drivers, and checkpoints."""

from __future__ import annotations

import numpy as np
import pytest
from chain_runs import draws, go, record, sampler
from forms import DENSITIES, MEAN, SD, Make
from mcmc_chains import TARGETS, Chains, law_is_kept, normal_target
from numpy.typing import NDArray

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


KERNELS = {
    "MALA": fixed(fm.mcmc.MALA, 0.8),
    "truncated": fixed(fm.mcmc.MALA, 0.9, truncate=0.7),
    "OBABO": fixed(fm.mcmc.UnderdampedLangevin, 0.7, metropolis=True),
    "BAOAB": fixed(fm.mcmc.UnderdampedLangevin, 0.6, splitting="BAOAB", metropolis=True),
    "ABOBA": fixed(fm.mcmc.UnderdampedLangevin, 0.6, splitting="ABOBA", metropolis=True),
}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_corrected_kernels_keep_the_law(kernel: fm.mcmc.Kernel, name: str) -> None:
    law_is_kept(kernel, name)


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
        (fm.mcmc.MALA, {"step_size": 0}, "step_size"),
        (fm.mcmc.MALA, {"target_accept": 1.0}, "target_accept"),
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


Slice, EllipticalSlice, RWM = fm.mcmc.Slice, fm.mcmc.EllipticalSlice, fm.mcmc.RWM


def test_the_acceptance_of_a_random_walk_is_the_closed_form() -> None:
    target = fm.targets.law_density(fm.distributions.Normal())
    x0 = np.random.default_rng(0).normal(size=(20_000, 1))
    out = draws(RWM(scale=2.4), target, x0, 1)
    rate = out["stats"][:, 0, 0]
    z = (rate.mean() - 0.4422841) / (rate.std() / np.sqrt(len(rate)))
    assert abs(z) < 5
    moved = out["stats"][:, 0, 1]
    assert abs(moved.mean() - 0.4422841) < 5 * np.sqrt(0.25 / len(moved))


@pytest.mark.parametrize(("dim", "wanted"), [(1, 0.44), (3, 0.35), (8, 0.234)])
def test_a_random_walk_learns_scale_and_covariance(dim: int, wanted: float) -> None:
    half = np.random.default_rng(5).normal(size=(dim, dim + 2))
    cov = half @ half.T * 10.0
    target = fm.targets.law_density(fm.distributions.MultivariateNormal(np.zeros(dim), cov))
    s = fm.mcmc.sample(target, kernel=RWM(), n_warmup=4000, n_draws=2000, rng=1)
    error = fm.diagnostics.mcse(s.draws)
    assert (np.abs(s.draws.mean(axis=(0, 1))) < 5 * error).all()
    chains, oracles = sampler(RWM(), target, s.draws[:, -1], warmup=(4000, 100, 2900, 1000))
    out = record(chains, 4000, s.draws[:, -1])
    go(chains, oracles, 4000, out)
    learned = np.array(chains.adaptation()["inverse_metrics"][0]).reshape(dim, dim)
    whitened = np.linalg.solve(np.linalg.cholesky(cov), learned)
    spectrum = np.linalg.eigvals(np.linalg.solve(np.linalg.cholesky(cov), whitened.T))
    assert ((spectrum.real > 0.6) & (spectrum.real < 1.7)).all()
    assert abs(out["stats"][:, 3500:, 0].mean() - wanted) < 0.04
