"""Integrators against those of k-diffusion and diffusers, if installed."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import score_peers as peers
import score_reference as reference
from score_cases import CASES, CHURN, STOCHASTIC, model, noise, ours
from score_reference import Array, karras

import fermiac as fm

# k-diffusion and diffusers warn of what they are built on.
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]

A = reference.model_a()
HIGH, LOW, TOLERANCE = 10.0, 0.05, 1e-12
STEPS = 5, 10, 20
ENDS = {"ends above zero": False, "ends at zero": True}
N_ROWS = 64


@pytest.fixture(scope="module", autouse=True)
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def sampling() -> Any:
    try:
        return peers.k_diffusion_sampling()
    except ImportError as error:
        pytest.skip(f"no k-diffusion: {error}")


@pytest.fixture(scope="module")
def diffusers() -> Any:
    found = pytest.importorskip("diffusers", exc_type=ImportError)
    try:
        return found.UniPCMultistepScheduler and found
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"no diffusers: {error}")


def grid(n: int, zero: bool = False) -> Array:
    levels = karras(n, LOW, HIGH)
    return np.append(levels, 0.0) if zero else levels


def start() -> Array:
    return reference.probes(N_ROWS)


def found(name: str, levels: Array, rng: int = 0, **settings: Any) -> Array:
    case = (CASES | STOCHASTIC)[name]
    integrator = case.but(**settings) if settings else case.integrator
    return ours(model(A), start(), levels, integrator, rng=rng)


# Ours, their sampler and its settings.
K_DIFFUSION: dict[str, tuple[str, dict[str, Any]]] = {
    "euler": ("euler", {}),
    "heun": ("heun", {}),
    "dpm2": ("dpm_2", {}),
    "dpmpp_2s": ("dpmpp_2s_ancestral", {"eta": 0.0}),
    "dpmpp_2m": ("dpmpp_2m", {}),
    "dpmpp_3m": ("dpmpp_3m_sde", {"eta": 0.0}),
}
LMS = {"euler": 1, "deis_rho_ab1": 2, "deis_rho_ab2": 3, "deis_rho_ab3": 4}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("n", STEPS)
@pytest.mark.parametrize("name", K_DIFFUSION)
def test_k_diffusion_ends_where_we_do(sampling: Any, name: str, n: int, end: str) -> None:
    sampler, settings = K_DIFFUSION[name]
    levels = grid(n, ENDS[end])
    theirs = peers.k_diffusion(sampler, A.denoise, start(), levels, **settings)
    np.testing.assert_allclose(found(name, levels), theirs, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("n", STEPS)
@pytest.mark.parametrize("name", LMS)
def test_linear_multistep_of_k_diffusion_is_adams_bashforth(
    sampling: Any, name: str, n: int
) -> None:
    theirs = peers.k_diffusion("lms", A.denoise, start(), grid(n), order=LMS[name])
    np.testing.assert_allclose(found(name, grid(n)), theirs, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", [name for name in LMS if name != "euler"])
def test_linear_multistep_of_k_diffusion_extrapolates_to_zero(sampling: Any, name: str) -> None:
    """Where our last step denoises, theirs follows its polynomial."""
    theirs = peers.k_diffusion("lms", A.denoise, start(), grid(10, True), order=LMS[name])
    assert 1e-3 < np.abs(found(name, grid(10, True)) - theirs).max() < 0.1


# With the same noise.
NOISY: dict[str, tuple[str, dict[str, Any]]] = {
    "ancestral": ("euler_ancestral", {}),
    "ancestral_half": ("euler_ancestral", {"eta": 0.5}),
    "dpmpp_2m_sde": ("dpmpp_2m_sde", {}),
    "dpmpp_2m_sde_heun": ("dpmpp_2m_sde", {"eta": 0.5, "solver_type": "heun"}),
    "dpmpp_2s_ancestral": ("dpmpp_2s_ancestral", {}),
    "dpmpp_2s_ancestral_half": ("dpmpp_2s_ancestral", {"eta": 0.5}),
    "dpmpp_3m_sde": ("dpmpp_3m_sde", {}),
    "dpmpp_3m_sde_half": ("dpmpp_3m_sde", {"eta": 0.5}),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("n", STEPS)
@pytest.mark.parametrize("name", NOISY)
def test_k_diffusion_with_our_noise(sampling: Any, torch: Any, name: str, n: int, end: str) -> None:
    sampler, settings = NOISY[name]
    levels, draws = grid(n, ENDS[end]), iter(range(n))
    source = noise(29, N_ROWS, 2)

    def next_draw(sigma: Any, to: Any) -> Any:
        return torch.from_numpy(source(next(draws)))

    theirs = peers.k_diffusion(
        sampler, A.denoise, start(), levels, noise_sampler=next_draw, **settings
    )
    np.testing.assert_allclose(found(name, levels, 29), theirs, rtol=0, atol=TOLERANCE)


def in_two_stages(torch: Any) -> Any:
    """Our noise for steps with draws at their middle and at their end."""
    source, draws = noise(29, N_ROWS, 2), itertools.count()
    stages: list[tuple[float, float, Array]] = []

    def next_draw(sigma: Any, to: Any) -> Any:
        z = source(next(draws))
        if len(stages) % 2:
            # The increment over the whole step has that over its first half as a part.
            high, middle, first = stages[-1]
            rho = reference.brownian_correlation(high, middle, float(to))
            z = rho * first + np.sqrt(1 - rho**2) * z
        stages.append((float(sigma), float(to), z))
        return torch.from_numpy(z)

    return next_draw


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("n", STEPS)
@pytest.mark.parametrize(("name", "eta"), [("dpmpp_sde", 1.0), ("dpmpp_sde_half", 0.5)])
def test_k_diffusion_with_our_noise_in_two_stages(
    sampling: Any, torch: Any, name: str, eta: float, n: int, end: str
) -> None:
    levels, next_draw = grid(n, ENDS[end]), in_two_stages(torch)
    theirs = peers.k_diffusion(
        "dpmpp_sde", A.denoise, start(), levels, noise_sampler=next_draw, eta=eta
    )
    np.testing.assert_allclose(found(name, levels, 29), theirs, rtol=0, atol=TOLERANCE)


def test_noise_of_k_diffusion_has_our_correlation(sampling: Any, torch: Any) -> None:
    n, (high, middle, low) = 40_000, (5.0, 2.0, 0.8)
    tree = sampling.BrownianTreeNoiseSampler(
        torch.zeros(n, dtype=torch.float64), 0.05, 10.0, seed=4
    )
    first, whole = (tree(torch.tensor(high), torch.tensor(to)).numpy() for to in (middle, low))
    rho = reference.brownian_correlation(high, middle, low)
    assert abs(np.mean(first * whole) - rho) < 4 * np.sqrt((1 + rho**2) / n)
    # In the variance s² it would be another.
    other = np.sqrt((high**2 - middle**2) / (high**2 - low**2))
    assert abs(other - rho) > 0.07


@pytest.mark.parametrize("end", ENDS)
def test_churn_of_k_diffusion(
    sampling: Any, torch: Any, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    levels, source, steps = grid(10, ENDS[end]), noise(31, N_ROWS, 2), iter(range(11))
    low, high = CHURN["churn_range"]  # type: ignore[misc]
    monkeypatch.setattr(torch, "randn_like", lambda x: torch.from_numpy(source(next(steps))))
    settings = {"s_churn": CHURN["churn"], "s_noise": CHURN["churn_noise"]}
    theirs = peers.k_diffusion(
        "heun", A.denoise, start(), levels, s_tmin=low, s_tmax=high, **settings
    )
    np.testing.assert_allclose(found("heun_churn", levels, 31), theirs, rtol=0, atol=TOLERANCE)


DIFFUSERS: dict[str, tuple[str, dict[str, Any]]] = {
    "unipc2_bh2": ("UniPCMultistepScheduler", {"solver_order": 2}),
    "unipc3_bh2": ("UniPCMultistepScheduler", {"solver_order": 3}),
    "unipc2_bh1": ("UniPCMultistepScheduler", {"solver_order": 2, "solver_type": "bh1"}),
    "unipc3_bh1": ("UniPCMultistepScheduler", {"solver_order": 3, "solver_type": "bh1"}),
    "euler": ("DEISMultistepScheduler", {"solver_order": 1}),
    "deis_log_ab1": ("DEISMultistepScheduler", {"solver_order": 2}),
    "deis_log_ab2": ("DEISMultistepScheduler", {"solver_order": 3}),
}


@pytest.mark.parametrize("final", [False, True], ids=["all of one order", "lower orders last"])
@pytest.mark.parametrize("n", STEPS)
@pytest.mark.parametrize("name", DIFFUSERS)
def test_diffusers_on_our_grid(diffusers: Any, name: str, n: int, final: bool) -> None:
    kind, settings = DIFFUSERS[name]
    settings = {**settings, "lower_order_final": final}
    # Of DEIS, diffusers lowers the order below 15 steps only.
    final = final and (n < 15 or kind.startswith("UniPC"))
    theirs = peers.diffusers_scheduler(kind, A.denoise, start(), grid(n), **settings)
    mine = found(name, grid(n), lower_order_final=final)
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["euler", "heun", "dpm_2", "lms", "dpmpp_2m"])
def test_names_of_k_diffusion_mean_its_samplers(sampling: Any, name: str) -> None:
    theirs = peers.k_diffusion(name, A.denoise, start(), grid(10))
    mine = fm.score.integrate(model(A), start(), grid(10), f"sample_{name}")
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("name", "settings", "tolerance"),
    [
        ("DEISMultistepScheduler", {}, TOLERANCE),
        ("UniPCMultistepScheduler", {}, TOLERANCE),
        # It computes in float32.
        ("DPMSolverMultistepScheduler", {"final_sigmas_type": "sigma_min"}, 1e-5),
    ],
)
def test_names_of_diffusers_mean_its_schedulers(
    diffusers: Any, name: str, settings: dict[str, Any], tolerance: float
) -> None:
    settings = {**settings, "lower_order_final": False}
    theirs = peers.diffusers_scheduler(name, A.denoise, start(), grid(10), **settings)
    mine = fm.score.integrate(model(A), start(), grid(10), name)
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=tolerance)


def test_the_stochastic_scheduler_of_diffusers_with_our_noise(diffusers: Any, torch: Any) -> None:
    pytest.importorskip("torchsde")
    levels = grid(8, True)
    theirs = diffusers.DPMSolverSDEScheduler()
    theirs.set_timesteps(len(levels) - 1)
    # Its own levels are float32.
    pairs = np.concatenate([levels[:1], np.repeat(levels[1:-1], 2), levels[-1:]])
    theirs.sigmas, theirs.noise_sampler = torch.from_numpy(pairs), in_two_stages(torch)
    x = torch.from_numpy(start())
    for i, t in enumerate(theirs.timesteps):
        s = float(theirs.mid_point_sigma or pairs[i])
        predicted = (x.numpy() - A.denoise(x.numpy(), s)) / s
        x = theirs.step(torch.from_numpy(predicted), t, x).prev_sample
    mine = found("dpmpp_sde", levels, 29)
    np.testing.assert_allclose(mine, x.numpy(), rtol=0, atol=TOLERANCE)
    named = ours(model(A), start(), levels, "DPMSolverSDEScheduler", rng=29)
    np.testing.assert_array_equal(named, mine)
