"""Table of distances with few evaluations: chains over noise levels and integrators from noise.

``python -m benches.score.table`` prints the table: the sliced Wasserstein distance of 4,000 draws
to as many of the law itself, a mixture of eight balls in 16 dimensions; between two sets of the
law it is about 0.04. A draw of the chains costs the sweeps of a window and the evaluations of the
integrator that denoises its choice (a sweep with Metropolis's correction costs two); beside it
stands what it costs with the start and the warm-up of the chains. Chains seldom change their ball
in so few sweeps: with 250 of them instead of 1,000 the distance moves by 0.03 from seed to seed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]

DIM, K = 16, 8
RANGE = 0.02, 20.0
N_DRAWS, N_PROJECTIONS = 4000, 64
N_CHAINS, N_WINDOWS, N_WARMUP, N_START = 1000, 16, 50, 20
#: Sweeps of a window, and evaluations that denoise its choice.
BUDGETS = ((2, 1), (2, 4), (5, 5), (10, 10))
N_SEEDS = 3


def balls() -> tuple[Array, Array, Array]:
    """Return weights, means and standard deviations of the law."""
    units = np.random.default_rng(7).standard_normal((K, DIM))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    weights = np.arange(1.0, K + 1)
    return weights / weights.sum(), 3.2 * units, 0.1 + 0.05 * (np.arange(K) % 3)


def law() -> Any:
    """Return the mixture as a score model."""
    weights, means, sd = balls()
    return fm.score.GaussianMixture(weights, means, sd**2)


def draws(n: int, seed: int) -> Array:
    """Return draws of the law itself."""
    weights, means, sd = balls()
    rng = np.random.default_rng(seed)
    which = rng.choice(K, n, p=weights)
    return means[which] + sd[which, None] * rng.standard_normal((n, DIM))


def sliced_w2(x: Array, seed: int = 1) -> float:
    """Return the root mean square sliced Wasserstein distance to as many draws of the law."""
    axes = np.random.default_rng(0).standard_normal((x.shape[1], N_PROJECTIONS))
    axes /= np.linalg.norm(axes, axis=0)
    far = np.sort(x @ axes, axis=0) - np.sort(draws(len(x), 10_000 + seed) @ axes, axis=0)
    return math.sqrt(np.mean(far * far))


def from_noise(n_evals: int, integrator: str, seed: int, n: int = N_DRAWS) -> Array:
    """Return draws of an integrator with one evaluation a step, from the highest level."""
    return np.asarray(
        fm.score.sample(
            law(), n, DIM, n_steps=n_evals, integrator=integrator, sigma_range=RANGE, rng=seed
        ).draws
    )


def chains(
    n_sweeps: int, n_denoise: int, name: str, seed: int, n_windows: int = N_WINDOWS
) -> Array:
    """Return draws of chains."""
    with warnings.catch_warnings():
        # A few windows are too few for the levels of chains to agree, and are said to be.
        warnings.simplefilter("ignore", fm.errors.ConvergenceWarning)
        run = fm.score.langevin_gibbs(
            law(),
            DIM,
            n_chains=N_CHAINS,
            n_draws=n_windows,
            n_warmup=N_WARMUP,
            n_skip=n_sweeps,
            n_denoise=n_denoise,
            n_init=N_START,
            levels=np.geomspace(RANGE[1], RANGE[0], 100),
            rng=seed,
            plan=fm.Plan(n_threads=1, progress=False),
            **settings_of(name),
        )
    every = np.asarray(run.draws).reshape(-1, DIM)
    return every[:: max(1, len(every) // N_DRAWS)]


def settings_of(name: str) -> dict[str, Any]:
    """The move of the chains in a column of the table."""
    ou, plain = fm.score.OUStep(0.3), fm.score.LangevinStep(0.1)
    settings: dict[str, dict[str, Any]] = {
        "published": {"step": plain, "level_draw": "argmax", "select": "min"},
        "Langevin": {"step": plain},
        "OU": {"step": ou},
        "OU, Metropolis": {"step": ou, "metropolis": "exact"},
    }
    return {"metropolis": None, **settings[name]}


STEPS = {
    "published": "as published, η = 0.1",
    "Langevin": "η = 0.1",
    "OU": "OU, c = 0.3",
    "OU, Metropolis": "OU, c = 0.3, Metropolis",
}
HEAD = ("evaluations a draw", "with start", "noise, Euler", "noise, 2M", *STEPS.values())


def table() -> str:
    """Return the table in Markdown."""
    lines = [f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
    for n_sweeps, n_denoise in BUDGETS:
        n = n_sweeps + n_denoise
        started = n + (N_START + N_WARMUP) / N_WINDOWS
        words = [f"{n_sweeps} + {n_denoise}", f"{started:.1f}"]
        words += [_mean(partial(from_noise, n, name)) for name in ("euler", "dpmpp_2m")]
        words += [_mean(partial(chains, n_sweeps, n_denoise, name)) for name in STEPS]
        lines.append(f"| {' | '.join(words)} |")
    return "\n".join(lines)


def _mean(made: Callable[[int], Array]) -> str:
    far = [sliced_w2(made(seed), seed) for seed in range(N_SEEDS)]
    return f"{sum(far) / len(far):.3f}"


if __name__ == "__main__":
    print(table())
