"""k-diffusion, diffusers and ODE solvers on the problems of the benchmarks.

A peer is a function that prepares what it needs and returns ``run(seed)``. The loops are those that
the libraries' documentation shows; a peer gets the best model that we can write in its terms. How
they are installed beside NumPy 2, tests/score_peers.py tells: ``pip install torchsde torchdiffeq``,
``pip install --no-deps k-diffusion``, ``pip install diffusers``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from benches.score.problems import TorchBalls, karras, start
from benches.score.table import DIM, RANGE
from numpy.typing import NDArray
from score_peers import k_diffusion_sampling

Array = NDArray[np.float64]
Run = Callable[[int], Any]


def k_diffusion_mixture(
    n: int, n_steps: int, sampler: str = "dpmpp_2m", noise: str | None = None
) -> Run:
    """A sampler on the mixture in float64; `noise`: "tree", "tree of each row", or independent."""
    import torch

    sampling = k_diffusion_sampling()
    sample, model = getattr(sampling, f"sample_{sampler}"), TorchBalls()
    levels = torch.from_numpy(karras(n_steps))

    def run(seed: int) -> Array:
        y = torch.from_numpy(start(n, seed))
        settings: dict[str, Any] = {}
        if noise is not None:
            torch.manual_seed(seed)
            settings["noise_sampler"] = sampling.default_noise_sampler(y)
            if noise.startswith("tree"):
                seeds: Any = [seed * n + i for i in range(n)] if "row" in noise else seed
                settings["noise_sampler"] = sampling.BrownianTreeNoiseSampler(
                    y, RANGE[0], RANGE[1], seeds
                )
        out: Array = sample(model, y, levels, disable=True, **settings).numpy()
        return out

    return run


def k_diffusion_network(module: Any, n: int, n_steps: int) -> Run:
    """2M with a module that predicts noise."""
    import torch

    sample = k_diffusion_sampling().sample_dpmpp_2m
    levels = torch.from_numpy(karras(n_steps)).float()

    def model(y: Any, sigma: Any) -> Any:
        return y - sigma[:, None] * module(y, sigma)

    def run(seed: int) -> Any:
        generator = torch.Generator().manual_seed(seed)
        y = RANGE[1] * torch.randn(n, module.last.out_features, generator=generator)
        with torch.inference_mode():
            return sample(model, y, levels, disable=True)

    return run


def diffusers_network(module: Any, n: int, n_steps: int) -> Run:
    """2M by a scheduler of diffusers on the same levels; its points are a y, a² (1 + s²) = 1."""
    import torch
    from diffusers import DPMSolverMultistepScheduler

    scheduler = DPMSolverMultistepScheduler(solver_order=2, final_sigmas_type="zero")
    levels = torch.from_numpy(karras(n_steps)).float()
    scales = (1.0 + levels**2).sqrt()

    def run(seed: int) -> Any:
        scheduler.set_timesteps(n_steps)
        scheduler.sigmas, scheduler.timesteps = levels, torch.arange(n_steps)
        scheduler.set_begin_index(0)
        generator = torch.Generator().manual_seed(seed)
        x = RANGE[1] * torch.randn(n, module.last.out_features, generator=generator) / scales[0]
        with torch.inference_mode():
            for i, t in enumerate(scheduler.timesteps):
                noise = module(x * scales[i], levels[i].expand(n))
                x = scheduler.step(noise, t, x).prev_sample
        return x

    return run


Likelihood = Callable[[Array], tuple[Array, int]]
"""Returns log-densities of points at the lowest level, and the number of model calls."""


def _prior(y: Array) -> Array:
    squares = np.sum(y * y, axis=1) / RANGE[1] ** 2
    out: Array = -0.5 * squares - DIM * (np.log(RANGE[1]) + 0.5 * np.log(2 * np.pi))
    return out


def scipy_likelihood(rtol: float, atol: float) -> Likelihood:
    """One equation for all points, in log s, by DOP853, with the exact trace."""
    import torch
    from scipy.integrate import solve_ivp

    model = TorchBalls()
    ends = np.log(RANGE)

    def run(x: Array) -> tuple[Array, int]:
        n, calls = len(x), 0

        def slope(u: float, flat: Array) -> Array:
            nonlocal calls
            calls += 1
            y = torch.from_numpy(flat[: n * DIM].reshape(n, DIM))
            denoised, trace = model.with_trace(y, float(np.exp(u)))
            return np.concatenate([(y - denoised).numpy().ravel(), DIM - trace.numpy()])

        begin = np.concatenate([x.ravel(), np.zeros(n)])
        found = solve_ivp(slope, ends, begin, "DOP853", rtol=rtol, atol=atol).y[:, -1]
        return _prior(found[: n * DIM].reshape(n, DIM)) + found[n * DIM :], calls

    return run


def torchdiffeq_likelihood(rtol: float, atol: float, method: str = "dopri5") -> Likelihood:
    """The same equation by torchdiffeq."""
    import torch
    from torchdiffeq import odeint

    model = TorchBalls()
    ends = torch.from_numpy(np.log(RANGE))

    def run(x: Array) -> tuple[Array, int]:
        calls = 0

        def slope(u: Any, state: Any) -> Any:
            nonlocal calls
            calls += 1
            denoised, trace = model.with_trace(state[0], u.exp())
            return state[0] - denoised, DIM - trace

        begin = torch.from_numpy(x), torch.zeros(len(x), dtype=torch.float64)
        with torch.inference_mode():
            y, change = odeint(slope, begin, ends, rtol=rtol, atol=atol, method=method)
        return _prior(y[-1].numpy()) + change[-1].numpy(), calls

    return run


def k_diffusion_likelihood(rtol: float, atol: float) -> Likelihood:
    """The solver of the library itself, in s, with one random probe of the trace per point."""
    import torch

    sampling, model = k_diffusion_sampling(), TorchBalls()

    def denoise(y: Any, sigma: Any) -> Any:
        _, share, shrink = model.shares(y, sigma[0])
        parts = share @ (model.means * (1.0 - shrink)[:, None])
        return parts + y * (share @ shrink)[:, None]

    def run(x: Array) -> tuple[Array, int]:
        torch.manual_seed(0)
        found, info = sampling.log_likelihood(
            denoise, torch.from_numpy(x), *RANGE, rtol=rtol, atol=atol
        )
        return found.detach().numpy(), info["fevals"]

    return run
