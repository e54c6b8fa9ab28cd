"""Microcanonical kernels: exact adjusted ones, the bias of the others, adaptation, bits."""

from __future__ import annotations

import numpy as np
import pytest
from forms import DENSITIES, MEAN, SD, Make
from mcmc_chains import TARGETS, Chains, law_is_kept, normal_target
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]

FIXED = fm.mcmc.MCLMC(step_size=1.0, length=2.5, adjusted=True, metric="unit")


@pytest.mark.parametrize("name", TARGETS)
def test_adjusted_trajectories_keep_the_law(name: str) -> None:
    law_is_kept(FIXED, name)


def test_adjusted_trajectories_keep_the_law_in_a_metric() -> None:
    metric = np.array([[3.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.4]])
    law_is_kept(fm.mcmc.MCLMC(step_size=1.2, length=2.0, adjusted=True, metric=metric), "normal")


def test_small_steps_keep_the_law_without_adjustment() -> None:
    # The bias is of the fourth order of the step size.
    law_is_kept(fm.mcmc.MCLMC(step_size=0.1, length=1.0, metric="unit"), "normal", steps=8)


def test_a_step_is_that_of_the_minimal_norm_integrator() -> None:
    target = fm.targets.banana(2, curvature=0.2, scale=1.0)
    chains = Chains(
        fm.mcmc.MCLMC(step_size=0.4, length=1e300, metric="unit"), target, [[0.3, -0.2]], rng=1
    )
    x, stats = chains.run(3)
    # Without refreshment the first step tells the direction; the second must follow from it.
    b = 0.1931833275037836

    def slope(x: Array) -> Array:
        return target._evaluate(x[None].copy(), True)[1][0]

    def kick(u: Array, g: Array, t: float) -> tuple[Array, float]:
        size = np.linalg.norm(g)
        e, delta = g / size, t * size / (len(u) - 1)
        grown = np.cosh(delta) + (e @ u) * np.sinh(delta)
        bent = (u + e * (np.sinh(delta) + (e @ u) * (np.cosh(delta) - 1))) / grown
        return bent, (len(u) - 1) * np.log(grown)

    def step(x: Array, u: Array) -> tuple[Array, Array, float]:
        start, gain = x, 0.0
        for share, drift in [(b, 0.2), (1 - 2 * b, 0.2), (b, 0.0)]:
            u, more = kick(u, slope(x), 0.4 * share)
            x, gain = x + drift * u, gain + more
        return x, u, float(gain - target(x[None])[0] + target(start[None])[0])

    angles = np.linspace(0, 2 * np.pi, 20_001)[:-1]
    ends = [step(np.array([0.3, -0.2]), np.array([np.cos(a), np.sin(a)])) for a in angles[::50]]
    near = angles[::50][np.argmin([np.linalg.norm(end - x[0, 0]) for end, _, _ in ends])]
    for width in 2.0 * 10.0 ** -np.arange(2, 12):
        tries = near + width * np.linspace(-1, 1, 41)
        ends = [step(np.array([0.3, -0.2]), np.array([np.cos(a), np.sin(a)])) for a in tries]
        near = tries[np.argmin([np.linalg.norm(end - x[0, 0]) for end, _, _ in ends])]
    at, u, error = step(np.array([0.3, -0.2]), np.array([np.cos(near), np.sin(near)]))
    errors = chains.stat(stats, "energy_error")[0]
    for i in range(3):
        assert np.allclose(at, x[0, i], atol=1e-7)
        assert abs(error - errors[i]) < 1e-7
        at, u, error = step(at, u)


def autoregressive(dim: int) -> tuple[object, Array]:
    i = np.arange(dim)
    sd = np.exp(np.cos(i))
    return normal_target(0.9 ** np.abs(i[:, None] - i) * np.outer(sd, sd)), sd


@pytest.mark.parametrize("dim", [2, 10, 100])
def test_defaults_have_a_small_bias(dim: int) -> None:
    target, sd = autoregressive(dim)
    s = fm.mcmc.sample(target, kernel=fm.mcmc.MCLMC(), n_warmup=1000, n_draws=4000, rng=1)
    x = s.draws / sd
    ess = fm.diagnostics.ess(x[..., 0], kind="sd")
    assert ess > 100
    ratio = x.var(axis=(0, 1))
    assert abs(ratio.mean() - 1) < 0.05 + 5 * np.sqrt(2 / ess / min(dim, 4))
    assert s.settings["bias"] == "discretisation"


def test_the_step_size_gives_the_wanted_energy_errors() -> None:
    target, _ = autoregressive(20)
    x0 = np.random.default_rng(1).normal(size=(4, 20))
    chains = Chains(fm.mcmc.MCLMC(), target, x0, n_warmup=1000, rng=1)
    chains.run(1000)
    stats = chains.run(3000)[1]
    squares = (chains.stat(stats, "energy_error") ** 2).mean() / 20
    assert 5e-4 / 3 < squares < 5e-4 * 3
    # All chains have agreed on both.
    assert np.ptp(chains.stat(stats, "step_size")) == np.ptp(chains.stat(stats, "length")) == 0
    length = chains.stat(stats, "length")[0, 0]
    assert 1 < length < 20
    assert abs(length - np.sqrt(20)) > 1e-3


def test_adjusted_trajectories_are_tuned_to_the_wanted_rate() -> None:
    target, sd = autoregressive(10)
    x0 = np.random.default_rng(1).normal(size=(4, 10))
    chains = Chains(fm.mcmc.MCLMC(adjusted=True), target, x0, n_warmup=600, rng=1)
    chains.run(600)
    draws, stats = chains.run(1500)
    assert abs(chains.stat(stats, "acceptance_rate").mean() - 0.9) < 0.08
    x = draws[..., 0] / sd[0]
    ess = fm.diagnostics.ess(x, kind="sd")
    assert abs(x.var() - 1) < 5 * np.sqrt(2 / ess)
    steps = chains.stat(stats, "n_steps")
    mean = chains.stat(stats, "length")[0, 0] / chains.stat(stats, "step_size")[0, 0]
    assert abs(steps.mean() - max(mean, 1)) < 5 * steps.std() / np.sqrt(steps.size) + 1e-12
    assert chains.sampler.n_evals[0] > 2 * steps.sum()


def test_chains_turn_round_where_there_is_no_density() -> None:
    def disc(x: Array) -> tuple[Array, Array]:
        return np.where((x**2).sum(axis=1) < 1, 0.0, -np.inf), np.zeros_like(x)

    target = fm.targets.as_target(disc, 2, gradient=True)
    x0 = np.zeros((40, 2))
    for adjusted in (False, True):
        kernel = fm.mcmc.MCLMC(step_size=0.2, length=0.6, adjusted=adjusted, metric="unit")
        draws, stats = (chains := Chains(kernel, target, x0, rng=4)).run(2000)
        radius = (draws**2).sum(axis=2)
        assert radius.max() < 1
        assert (chains.stat(stats, "diverging") == 1 - chains.stat(stats, "accepted")).all()
        # Uniform on the disc: the squared radius is uniform.
        means = radius[:, 100:].mean(axis=1)
        assert abs(means.mean() - 0.5) < 5 * means.std() / np.sqrt(len(means))


RUNS = {"unadjusted": fm.mcmc.MCLMC(), "adjusted": fm.mcmc.MCLMC(adjusted=True)}
kernels = pytest.mark.parametrize("kernel", RUNS.values(), ids=RUNS)


@kernels
def test_drivers_and_threads_give_the_same_bits(kernel: fm.mcmc.Kernel) -> None:
    target, x0 = fm.targets.banana(3), np.random.default_rng(0).normal(size=(5, 3))

    def run(driver: str, n_threads: int) -> Array:
        chains = Chains(kernel, target, x0, n_warmup=250, rng=9)
        return chains.run(280, driver=driver, n_threads=n_threads)[0]

    first = run("free", 1)
    assert np.isfinite(first).all()
    assert len(np.unique(first[..., 0])) > 100
    for driver, n_threads in [("free", 2), ("free", 3), ("lock", 1), ("lock", 2)]:
        assert np.array_equal(run(driver, n_threads), first)


@kernels
@pytest.mark.parametrize("cut", [1, 130, 260])
def test_what_is_saved_goes_on_as_it_was(kernel: fm.mcmc.Kernel, cut: int) -> None:
    target, x0 = fm.targets.banana(3), np.random.default_rng(0).normal(size=(3, 3))
    whole = Chains(kernel, target, x0, n_warmup=250, rng=9)
    whole.run(cut)
    words = whole.sampler.save()
    draws, stats = whole.run(150)
    other = Chains(kernel, target, x0 + 1, n_warmup=250, rng=1)
    other.sampler.load(words)
    other.done = cut
    again, again_stats = other.run(150)
    assert np.array_equal(draws, again)
    assert np.array_equal(stats, again_stats, equal_nan=True)


@kernels
@pytest.mark.parametrize("make", DENSITIES)
def test_targets_of_all_forms_serve(kernel: fm.mcmc.Kernel, make: Make) -> None:
    s = fm.mcmc.sample(make(), kernel=kernel, n_warmup=200, n_draws=400, rng=0)
    spread = (s.draws.mean(axis=(0, 1)) - MEAN) / SD
    assert np.abs(spread).max() < 0.5


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"step_size": 0}, "step_size"),
        ({"length": -1.0}, "length"),
        ({"length": "L"}, "length"),
        ({"target_accept": 0}, "target_accept"),
        ({"adjusted": 1}, "adjusted"),
    ],
)
def test_what_is_no_kernel_is_refused(options: dict[str, object], what: str) -> None:
    with pytest.raises(fm.errors.ArgumentError, match=what):
        fm.mcmc.MCLMC(**options)  # type: ignore[arg-type]


def test_one_coordinate_is_refused() -> None:
    target = normal_target([[1.0]])
    with pytest.raises(fm.errors.ArgumentError, match="two coordinates"):
        fm.mcmc.sample(target, kernel=fm.mcmc.MCLMC(), rng=0)
