"""Benchmarks of score integrators and chains: fermiac, k-diffusion, diffusers and ODE solvers.

``pytest benches/score/bench.py --benchmark-group-by=group``. Everyone in a group does the same job.
A row's time is that of the wall; its extra_info has the CPU-seconds of the process, and what the
result is worth: the sliced Wasserstein distance of the draws to the law (`sliced_w2`; two sets of
4,000 draws of the law itself are about 0.04 apart), the error of log-densities, or what a call of a
network costs beside the network (`overhead_us`). Rows named "1 thread" hold torch and fermiac to
one. Peers run where they are installed; tests/score_peers.py and peers.py tell how.
"""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from benches.score import peers as peers
from benches.score import table as table
from benches.score import table_steering as steering
from benches.score.peers import Run
from benches.score.problems import NETWORK_DIM, karras, network, start, timed

import fermiac as fm

HAS_TORCH = importlib.util.find_spec("torch") is not None
# Peers warn of much.
pytestmark = pytest.mark.filterwarnings("ignore")


@contextmanager
def torch_threads(n: int | None) -> Iterator[None]:
    """Limit torch to `n` threads; None sets no limit."""
    if n is None or not HAS_TORCH:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measure(benchmark: Any, run: Run, threads: int | None, rounds: int = 7) -> list[Any]:
    """Time warm rounds of a run, each with its own seed; extra_info has the CPU-seconds."""
    with torch_threads(threads):
        if benchmark.enabled:
            run(1000)
        done: list[Any] = []

        def call() -> None:
            done.append(timed(lambda: run(len(done))))

        benchmark.pedantic(call, rounds=rounds if benchmark.enabled else 1)
    benchmark.extra_info["cpu_seconds"] = short(min(each.cpu for each in done))
    return [each.value for each in done]


def prepared(make: Callable[[], Run]) -> Run:
    try:
        return make()
    except ImportError as error:
        pytest.skip(str(error))


def short(value: float) -> float:
    return float(f"{value:.4g}")


def quality(benchmark: Any, values: list[Any]) -> None:
    """Return the distance of draws from the law, averaged over rounds."""
    far = [table.sliced_w2(np.asarray(v)[: table.N_DRAWS], i) for i, v in enumerate(values)]
    benchmark.extra_info["sliced_w2"] = short(statistics.fmean(far))


def integrated(n: int, n_steps: int, threads: int | None, integrator: Any, **settings: Any) -> Run:
    law, levels = table.law(), karras(n_steps)

    def run(seed: int) -> Any:
        y = start(n, seed)
        return fm.score.integrate(
            law, y, levels, integrator, rng=seed, plan=fm.Plan(n_threads=threads), **settings
        )

    return run


# 2M over a mixture of eight balls: 20 levels and 0, so 20 calls.
MIXTURE: dict[str, tuple[int | None, Callable[[int, int, int | None], Run]]] = {
    "fermiac, 1 thread": (1, lambda n, k, t: integrated(n, k, t, "dpmpp_2m")),
    "fermiac": (None, lambda n, k, t: integrated(n, k, t, "dpmpp_2m")),
    "k-diffusion, 1 thread": (1, lambda n, k, t: peers.k_diffusion_mixture(n, k)),
    "k-diffusion": (None, lambda n, k, t: peers.k_diffusion_mixture(n, k)),
}


@pytest.mark.parametrize("name", MIXTURE)
def bench_mixture(benchmark: Any, name: str) -> None:
    n, n_steps = (10_000, 20) if benchmark.enabled else (100, 5)
    benchmark.group = f"score: 2M on a mixture, n={n} d={table.DIM} K={table.K}, {n_steps} calls"
    threads, make = MIXTURE[name]
    run = prepared(lambda: make(n, n_steps, threads))
    quality(benchmark, measure(benchmark, run, threads, 15))


# The reverse stochastic equation with noise from a Brownian path that other grids share.
BROWNIAN: dict[str, Callable[[int, int], Run]] = {
    "fermiac, a path of each row": lambda n, k: integrated(n, k, 1, "dpmpp_2m_sde", brownian=True),
    "fermiac, independent": lambda n, k: integrated(n, k, 1, "dpmpp_2m_sde"),
    **{
        f"k-diffusion, {noise}": (
            lambda n, k, noise=noise: peers.k_diffusion_mixture(n, k, "dpmpp_2m_sde", noise)
        )
        for noise in ("tree", "tree of each row", "independent")
    },
}


@pytest.mark.parametrize("name", BROWNIAN)
def bench_brownian(benchmark: Any, name: str) -> None:
    n, n_steps = (500, 20) if benchmark.enabled else (20, 5)
    benchmark.group = f"score: 2M SDE on a mixture, n={n} d={table.DIM}, {n_steps} calls, 1 thread"
    run = prepared(lambda: BROWNIAN[name](n, n_steps))
    rounds = 2 if "tree" in name else 10
    quality(benchmark, measure(benchmark, run, 1, rounds))


def our_network(module: Any, n: int, n_steps: int, on_device: bool) -> Run:
    import torch

    model = fm.score.ScoreModel(module, dim=NETWORK_DIM, on_device=on_device)
    levels = karras(n_steps)

    def run(seed: int) -> Any:
        generator = torch.Generator().manual_seed(seed)
        y = levels[0] * torch.randn(n, NETWORK_DIM, generator=generator)
        return fm.score.integrate(model, y, levels, "dpmpp_2m", plan=fm.Plan(n_threads=1))

    return run


NETWORKS: dict[str, Callable[[Any, int, int], Run]] = {
    "fermiac, loop in Rust": lambda module, n, k: our_network(module, n, k, False),
    "fermiac, loop in torch": lambda module, n, k: our_network(module, n, k, True),
    "k-diffusion": peers.k_diffusion_network,
    "diffusers": peers.diffusers_network,
}


@pytest.mark.parametrize("width", [64, 256])
@pytest.mark.parametrize("name", NETWORKS)
def bench_network(benchmark: Any, name: str, width: int) -> None:
    """Record as `overhead_us` the time of a call beyond the bare call of the network."""
    torch = pytest.importorskip("torch")
    n, n_steps = (256, 20) if benchmark.enabled else (8, 3)
    benchmark.group = f"score: 2M on a network of width {width}, n={n} d={NETWORK_DIM}, 1 thread"
    module = network(width)
    run = prepared(lambda: NETWORKS[name](module, n, n_steps))
    y, levels = torch.randn(n, NETWORK_DIM), torch.from_numpy(karras(n_steps)).float()

    def bare() -> None:
        with torch.inference_mode():
            for level in levels[:-1]:
                module(y * level, level.expand(n))

    # By CPU-seconds: who waits for the processor costs nothing.
    alone: list[float] = []
    beside: list[float] = []
    with torch_threads(1):
        for i in range(40 if benchmark.enabled else 1):
            alone.append(timed(bare).cpu)
            beside.append(timed(lambda i=i: run(i)).cpu)
        benchmark.pedantic(run, (0,), rounds=10 if benchmark.enabled else 1)
    # Other work on the machine only adds time, so the least time is the most accurate.
    calls, extra = min(alone), min(beside) - min(alone)
    benchmark.extra_info |= {
        "bare_ms_per_call": short(1e3 * calls / n_steps),
        "overhead_us": short(1e6 * extra / n_steps),
        "overhead_percent": short(100 * extra / calls),
    }


def from_noise(integrator: str) -> Callable[[int, int, int], Run]:
    def make(n_sweeps: int, n_denoise: int, windows: int) -> Run:
        n = table.N_CHAINS * windows
        return lambda seed: table.from_noise(n_sweeps + n_denoise, integrator, seed, n)

    return make


def from_chains(name: str) -> Callable[[int, int, int], Run]:
    def make(n_sweeps: int, n_denoise: int, windows: int) -> Run:
        return lambda seed: table.chains(n_sweeps, n_denoise, name, seed, windows)

    return make


FEW: dict[str, Callable[[int, int, int], Run]] = {
    "from noise, Euler": from_noise("euler"),
    "from noise, 2M": from_noise("dpmpp_2m"),
    **{f"chains, {name}": from_chains(name) for name in table.STEPS},
    "from noise, 2M by k-diffusion": lambda sweeps, k, windows: peers.k_diffusion_mixture(
        table.N_CHAINS * windows, sweeps + k
    ),
}


@pytest.mark.parametrize(
    "budget", table.BUDGETS, ids=[f"{a}+{b} evaluations" for a, b in table.BUDGETS]
)
@pytest.mark.parametrize("name", FEW)
def bench_few_evaluations(benchmark: Any, name: str, budget: tuple[int, int]) -> None:
    windows = table.N_WINDOWS if benchmark.enabled else 1
    benchmark.group = f"score: {sum(budget)} evaluations a draw"
    run = prepared(lambda: FEW[name](*budget, windows))
    quality(benchmark, measure(benchmark, run, None, table.N_SEEDS))


def our_likelihood(rtol: float, atol: float) -> peers.Likelihood:
    law = table.law()

    def run(x: peers.Array) -> tuple[peers.Array, float]:
        found = fm.score.log_likelihood(
            law, x, table.RANGE, rtol=rtol, atol=atol, plan=fm.Plan(n_threads=1)
        )
        return found.log_density, float(np.mean(found.n_row_evals))

    return run


LIKELIHOODS: dict[str, tuple[Callable[[float, float], peers.Likelihood], float]] = {
    "fermiac": (our_likelihood, 1e-6),
    "scipy dop853": (peers.scipy_likelihood, 1e-6),
    "torchdiffeq dopri5": (peers.torchdiffeq_likelihood, 1e-6),
    "k-diffusion, one probe": (peers.k_diffusion_likelihood, 1e-4),
}


@pytest.mark.parametrize("name", LIKELIHOODS)
def bench_likelihood(benchmark: Any, name: str) -> None:
    """Record `rms_error` against a tight solution of the same equation, not the mixture."""
    n = 500 if benchmark.enabled else 5
    benchmark.group = f"score: log-densities of {n} points, d={table.DIM}, 1 thread"
    make, tolerance = LIKELIHOODS[name]
    likelihood: Any = prepared(lambda: make(tolerance, tolerance))  # type: ignore[arg-type,return-value]
    noise = np.random.default_rng(1).standard_normal((n, table.DIM))
    x = table.draws(n, 0) + table.RANGE[0] * noise
    values = measure(benchmark, lambda seed: likelihood(x), 1, 5)
    exact, _ = our_likelihood(1e-11, 1e-11)(x)
    found, calls = values[0]
    benchmark.extra_info |= {
        "rms_error": short(float(np.sqrt(np.mean((found - exact) ** 2)))),
        "calls": calls,
    }


@pytest.mark.parametrize("name", steering.METHODS)
def bench_posterior(benchmark: Any, name: str) -> None:
    """Record the distance of the draws to the exact posterior; exact draws are 0.04 apart here."""
    n = 2000 if benchmark.enabled else 50
    model, o, y = steering.problem(8, 6, 3, "mask", 0.3)
    law, _ = o.posterior_of(model, y)
    benchmark.group = f"score: {n} draws given 3 of 8 numbers, {steering.N_STEPS} steps, 1 thread"
    method, calls = steering.METHODS[name]

    def run(seed: int) -> Any:
        return fm.score.posterior(
            model, o, y, n, method=method, n_steps=steering.N_STEPS, sigma_range=(0.01, 40.0),
            rng=seed, plan=fm.Plan(n_threads=1, progress=False),
        )  # fmt: skip

    last = measure(benchmark, run, 1, 3)[-1]
    *_, away = steering.errors_of(law, last.draws, last._weights(), 0)
    benchmark.extra_info |= {"sliced_w2": short(away), "calls": calls * steering.N_STEPS}


def test_the_mixture_in_torch_is_the_mixture() -> None:
    torch = pytest.importorskip("torch")
    from benches.score.problems import TorchBalls

    y = table.draws(20, 1)
    for level in (0.05, 1.0, 20.0):
        sigma = torch.full((len(y),), level, dtype=torch.float64)
        found = TorchBalls()(torch.from_numpy(y), sigma).numpy()
        np.testing.assert_allclose(found, table.law().denoise(y, level), atol=1e-12)
