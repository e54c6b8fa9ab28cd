"""Weights of modes and evidences by parallel tempering without arguments, compared with the truth.

Each row repeats `fermiac.mcmc.sample(target, kernel=fermiac.mcmc.Tempered())` with four chains, 300
transitions of warm-up and 1000 draws. In the rows of lattices the explorer is a Gibbs sampler of
`Discrete` blocks, one for each site: a Potts model of three states, whose ordered phases a field
tells apart, and a spin glass of random couplings, whose modes are the two signs of its ground
state. Their weights are sums over all states. `found` is the share of runs with draws in every
mode. The pull of a mode is the error of its weight, and the pull of log Z the error of
`fermiac.mcmc.log_evidence`, in units of the reported standard error; columns show the share of
pulls below 2. With weights, the standard error is the largest of the modes. `Λ` is the sum of the
rejection rates. Calls are evaluations of the target in units of a thousand, those of the pilot
included. A row is right if every run found all modes, and if both shares are at least 0.8, which 20
runs with right errors miss in one of 400 cases. The last line has the shares of all rows together.

`python -m benches.mcmc.modes --out docs/calibration-modes.md` writes the table.
"""

from __future__ import annotations

import argparse
import itertools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]
SIDE = 10 * np.pi


@dataclass(frozen=True)
class Problem:
    """A target with modes of known weights, and the logarithm of its integral."""

    name: str
    target: Any
    #: The index of the mode of each point of an array (..., d).
    owner: Callable[[Array], Array]
    weights: Array
    log_z: float
    options: dict[str, Any]
    explorer: fm.mcmc.Kernel | None = None


def mixture(name: str, means: Array, weights: Array, df: float | None = None) -> Problem:
    """Components of unit scale, normal or Student, each times its weight."""
    d = means.shape[1]

    def both(x: Array) -> tuple[Array, Array]:
        off = x[:, None, :] - means
        squares = (off**2).sum(axis=2)
        if df is None:
            logs, slope = np.log(weights) - 0.5 * squares, np.ones_like(squares)
        else:
            logs = np.log(weights) - 0.5 * (df + d) * np.log1p(squares / df)
            slope = (df + d) / df / (1 + squares / df)
        top = logs.max(axis=1, keepdims=True)
        shares = np.exp(logs - top)
        total = shares.sum(axis=1, keepdims=True)
        pull = (shares / total * slope)[:, :, None]
        return (top + np.log(total))[:, 0], -(pull * off).sum(axis=1)

    log_z = 0.5 * d * math.log(2 * math.pi)
    if df is not None:
        log_z = math.lgamma(df / 2) - math.lgamma((df + d) / 2) + 0.5 * d * math.log(df * math.pi)
    return Problem(
        name,
        fm.targets.as_target(both, d, gradient=True),
        lambda x: ((x[..., None, :] - means) ** 2).sum(axis=-1).argmin(axis=-1),
        weights,
        log_z,
        {},
    )


def eggbox() -> Problem:
    """The eggbox of Feroz, Hobson and Bridges (2009, arXiv:0809.3437), 18 modes in a square."""
    peaks = [(a, b) for a in range(6) for b in range(6) if (a - b) % 2 == 0]
    tops = 2 * np.pi * np.array(peaks, dtype=float)
    # Modes on an edge have half of the mass, those in a corner a quarter.
    inside = np.prod(np.where((tops == 0) | (tops > SIDE - 1e-9), 0.5, 1.0), axis=1)

    def density(x: Array) -> Array:
        there = ((x > 0) & (x < SIDE)).all(axis=1)
        return np.where(there, (2 + np.cos(x[:, 0] / 2) * np.cos(x[:, 1] / 2)) ** 5, -np.inf)

    grid = np.linspace(0, SIDE, 4001)
    values = (2 + np.cos(grid[:, None] / 2) * np.cos(grid / 2)) ** 5
    top = values.max()
    integral = np.trapezoid(np.trapezoid(np.exp(values - top), grid), grid)
    return Problem(
        "eggbox in its square, no gradient",
        fm.targets.as_target(density, 2),
        lambda x: ((x[..., None, :] - tops) ** 2).sum(axis=-1).argmin(axis=-1),
        inside / inside.sum(),
        float(top + math.log(integral)),
        {"transforms": [fm.targets.transforms.bounded(0, SIDE, 2)]},
    )


def lattice(
    name: str,
    shape: tuple[int, int],
    states: Array,
    energy: Callable[[Array, Array], Array],
    owner: Callable[[Array], Array],
) -> Problem:
    """A law on a grid of sites, of `energy(x, bonds)`; its sums are over all states."""
    sites = np.arange(math.prod(shape)).reshape(shape)
    bonds = np.concatenate(
        [
            np.stack([sites[:-1].ravel(), sites[1:].ravel()]),
            np.stack([sites[:, :-1].ravel(), sites[:, 1:].ravel()]),
        ],
        axis=1,
    )
    every = np.array(list(itertools.product(states, repeat=sites.size)))
    logs = energy(every, bonds)
    top = logs.max()
    share = np.exp(logs - top)
    blocks = {f"x{i}": i for i in range(sites.size)}
    return Problem(
        name,
        fm.targets.as_target(lambda x: energy(x, bonds), sites.size),
        owner,
        np.bincount(owner(every), weights=share) / share.sum(),
        float(top + math.log(share.sum())),
        {},
        fm.mcmc.Gibbs([(block, fm.mcmc.Discrete(states)) for block in blocks], blocks=blocks),
    )


def potts() -> Problem:
    """Three states on 3 x 3 sites, well in the ordered phase, with a field on the first."""
    return lattice(
        "Potts, 3 states, 3 x 3 sites",
        (3, 3),
        np.arange(3.0),
        lambda x, bonds: (
            2.0 * (x[:, bonds[0]] == x[:, bonds[1]]).sum(axis=1) + 0.1 * (x == 0).sum(axis=1)
        ),
        lambda x: np.stack([(x == k).sum(axis=-1) for k in range(3)], axis=-1).argmax(axis=-1),
    )


def spin_glass() -> Problem:
    """Signs on 4 x 4 sites with random couplings, and a field that prefers one ground state."""
    shape = (4, 4)
    couplings = 2.0 * np.random.default_rng(0).normal(size=24)
    best: list[Array] = []

    def energy(x: Array, bonds: Array) -> Array:
        pairs: Array = (couplings * x[:, bonds[0]] * x[:, bonds[1]]).sum(axis=1)
        if not best:  # the first call has all states
            best.append(x[pairs.argmax()])
        return pairs + 0.05 * (x * best[0]).sum(axis=1)

    return lattice(
        "spin glass, 4 x 4 sites",
        shape,
        np.array([-1.0, 1.0]),
        energy,
        lambda x: ((x * best[0]).sum(axis=-1) < 0).astype(int),
    )


def problems() -> list[Problem]:
    """The rows: two and eight modes in 10 and 50 dimensions, the eggbox, and two lattices."""
    found = []
    for d in (10, 50):
        pair = np.zeros((2, d))
        pair[:, 0] = -10, 10
        eight = np.random.default_rng(0).normal(size=(8, d)) * (10 if d == 10 else 5)
        uneven = np.array([0.7, 0.3])
        found += [
            mixture(f"two normal, d = {d}", pair, np.array([0.5, 0.5])),
            mixture(f"two normal, 0.7 and 0.3, d = {d}", pair, uneven),
            mixture(f"two Student, df 5, 0.7 and 0.3, d = {d}", pair, uneven, 5.0),
            mixture(f"eight normal, d = {d}", eight, np.full(8, 0.125)),
        ]
    return [*found, eggbox(), potts(), spin_glass()]


def row(problem: Problem, seeds: range) -> tuple[list[str], list[float], list[float]]:
    """Return the cells of a row, and the pulls of the weights and of log Z."""
    pulls: list[float] = []
    z_pulls: list[float] = []
    z_errors: list[float] = []
    errors, rejected, calls, met, warned = [], [], [], 0, 0
    for seed in seeds:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            s = fm.mcmc.sample(
                problem.target,
                kernel=fm.mcmc.Tempered(problem.explorer),
                n_warmup=300,
                keep_gradients=False,
                check_gradient=False,
                rng=seed,
                **problem.options,
            )
        mine = problem.owner(s.draws)
        shares = [(mine == k).astype(float) for k in range(len(problem.weights))]
        met += all(share.any() for share in shares)
        warned += bool(s.warnings)
        each = [float(fm.diagnostics.mcse(share, kind="mean")) for share in shares]
        errors.append(max(each))
        pulls += [
            (share.mean() - w) / error if error > 0 else math.inf
            for share, w, error in zip(shares, problem.weights, each, strict=True)
        ]
        z = fm.mcmc.log_evidence(s)
        z_errors.append(float(z.mean) - problem.log_z)
        z_pulls.append(z_errors[-1] / float(z.stderr))
        n = s.settings["n_temperatures"]
        rejected.append(sum(1 - np.nanmean(s.stats[f"swap_rate.{j}"]) for j in range(n - 1)))
        calls.append(s.n_evals)
    held = float(np.mean(np.abs(pulls) < 2))
    z_held = float(np.mean(np.abs(z_pulls) < 2))
    n = len(seeds)
    right = met == n and min(held, z_held) >= 0.8
    cells = [
        problem.name,
        f"{met / n:.2f}",
        f"{held:.2f}",
        f"{np.mean(errors):.3f}",
        f"{z_held:.2f}",
        f"{np.sqrt(np.mean(np.square(z_errors))):.3f}",
        f"{np.mean(rejected):.2f}",
        f"{np.mean(calls) / 1000:.0f}",
        f"{warned / n:.2f}",
        "yes" if right else "no",
    ]
    return cells, pulls, z_pulls


HEAD = [
    "target",
    "found",
    "weights: pulls below 2",
    "standard error",
    "log Z: pulls below 2",
    "rms error",
    "Λ",
    "calls",
    "warned",
    "right",
]


def main() -> None:
    """Print the table, and write it to a page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--only", default="", help="a word of the names of the rows")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    lines = [f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
    print("\n".join(lines), flush=True)
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    pulls, z_pulls = [], []
    for problem in (p for p in problems() if given.only in p.name):
        cells, of_weights, of_z = row(problem, seeds)
        pulls += of_weights
        z_pulls += of_z
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    shares = [f"{np.mean(np.abs(each) < 2):.3f}" for each in (pulls, z_pulls)]
    lines += [
        "",
        f"Together {shares[0]} of the weights and {shares[1]} of log Z are within 2 errors.",
    ]
    print(lines[-1], flush=True)
    if given.out is not None:
        text = __doc__.partition("\n\n")[2]
        seeds_text = (
            f"Seeds {seeds.start} to {seeds.stop - 1}; constants were chosen on seeds below 1000."
        )
        given.out.write_text(
            f"# Calibration of parallel tempering\n\n{__doc__.splitlines()[0]}\n\n"
            f"{text.strip()}\n\n{seeds_text}\n\n" + "\n".join(lines) + "\n",
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
