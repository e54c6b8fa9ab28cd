"""Integrals, a rare event, sensitivities and a costly option, each beside an exact answer."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import _demo_pictures as pictures
import fermiac as fm
from _demo_table import Row, Section

Array = NDArray[np.float64]

#: A normal density of five correlated coordinates; the box holds all of it.
PEAK = 0.05**2 * (0.05 * np.eye(5) + 0.95)
#: Values from the integral of the distance to the four branches, by quadrature.
BRANCHES = 2.22279506619e-3
#: First-order indices of the beam by a product rule: FX, FY, E, w, t, L.
BEAM = (0.0235523883, 0.0002957027, 0.0163609491, 0.4280750523, 0.0729426988, 0.4010301125)
INPUTS = ("FX", "FY", "E", "w", "t", "L")
#: A call option: price today, strike, interest, volatility; one year. The price by the formula.
SPOT, STRIKE, INTEREST, VOLATILITY = 100.0, 100.0, 0.05, 0.2
OPTION = 10.450583572185565


def peak(x: Array) -> Array:
    """Return a narrow normal density about the middle of the unit cube, (n, 5) -> (n,)."""
    offset = x - 0.5
    square = np.einsum("ij,ij->i", offset @ np.linalg.inv(PEAK), offset)
    norm = math.sqrt((2 * math.pi) ** 5 * np.linalg.det(PEAK))
    density: Array = np.exp(-0.5 * square) / norm
    return density


def branches(x: Array) -> Array:
    """Return the distance to failure of a series system of four branches, (n, 2) -> (n,)."""
    across, along = x[:, 0] - x[:, 1], (x[:, 0] + x[:, 1]) / math.sqrt(2)
    curved = 3 + 0.1 * across**2 - np.abs(along)
    nearest: Array = np.minimum(curved, 7 / math.sqrt(2) - np.abs(across))
    return nearest


def beam_law() -> Any:
    """Return the law of the inputs of the cantilever beam."""
    forces = [(556.8, 0.08), (453.6, 0.08), (200.0, 0.06)]
    sizes = [0.062, 0.0987, 4.29]
    return fm.distributions.Product(
        [fm.distributions.LogNormal.from_moments(mean, cv) for mean, cv in forces]
        + [fm.distributions.Normal(mean, 0.1 * mean) for mean in sizes]
    )


def option(level: int, n: int, stream: Any) -> tuple[Array, Array | None]:
    """Return the discounted payoffs of n paths in 2**level Euler steps, and in half of them."""
    n_steps = 2**level
    h = 1.0 / n_steps
    fine, coarse, total = np.full(n, SPOT), np.full(n, SPOT), np.zeros(n)
    for step in range(n_steps):
        noise = math.sqrt(h) * stream.normal(n)
        fine = fine * (1 + INTEREST * h + VOLATILITY * noise)
        total = total + noise
        if step % 2:
            coarse = coarse * (1 + INTEREST * 2 * h + VOLATILITY * total)
            total = np.zeros(n)
    discount = math.exp(-INTEREST)
    return (
        discount * np.maximum(fine - STRIKE, 0.0),
        discount * np.maximum(coarse - STRIKE, 0.0) if level else None,
    )


def run(out: Path, seed: int, n_repeats: int) -> Section:
    """Compute the four problems, and repeat the cheap ones for the pulls."""
    seeds = range(n_repeats)
    with warnings.catch_warnings():
        # Regions might hide from the uniform points of any integral whose peak is so narrow.
        warnings.simplefilter("ignore", fm.errors.ConvergenceWarning)
        integral, *peaks = [
            fm.importance.integrate(peak, [(0.0, 1.0)] * 5, n=100_000, rng=s)
            for s in (seed, *seeds)
        ]
    law = fm.distributions.Normal([0.0, 0.0], [1.0, 1.0])
    failure = fm.importance.failure_probability(branches, law, n=20_000, rng=seed)
    indices = fm.importance.sobol_indices(
        fm.targets.cantilever(), beam_law(), n=20_000, names=INPUTS, rng=seed
    )
    price = fm.importance.multilevel(option, atol=0.02, rng=seed)
    walked = failure.subset
    assert walked is not None
    rows = [
        Row("correlated peak, d = 5", integral.mean, integral.stderr, 1.0, integral.n_evals),
        Row("P, sample of the regions", failure.mean, failure.stderr, BRANCHES, failure.n_evals),
        Row("P, walk (second opinion)", walked["mean"], walked["stderr"], BRANCHES,
            failure.n_evals),
        *(
            Row(f"index of {name}", *values, indices.n_evals)
            for name, *values in zip(
                INPUTS, indices.first_order, indices.first_order_stderr, BEAM, strict=True
            )
        ),
        Row("option, multilevel", price.mean, math.hypot(price.stderr, price.bias), OPTION,
            price.n_evals),
    ]  # fmt: skip
    events = [fm.importance.failure_probability(branches, law, n=20_000, rng=s) for s in seeds]
    pulls = [(e.mean - 1) / e.stderr for e in peaks]
    pulls += [(e.mean - BRANCHES) / e.stderr for e in events]
    share = float(np.mean(np.abs(pulls) < 2))
    pictures.failure(out / "branches.png", branches, failure)
    pictures.drawn(out / "beam_indices.png", indices.plot_indices(), "Beam: Sobol' indices", {})
    pictures.drawn(
        out / "option_levels.png", price.plot_multilevel(), "Option: variance and cost by level", {}
    )
    finest = 2.0 ** (len(price.n_paths) - 1)
    plain = float(np.ravel(price.level_variances[0])[0]) / price.stderr**2 * finest
    notes = [
        f"Over {n_repeats} seeds {share:.0%} of the errors of the peak and of the probability lie "
        "within two standard errors. The integral chose the method "
        f"{integral.method!r}; the failure run found {len(failure.regions)} regions.",
        "Known answers: 1 by construction, quadrature for the branches and the indices, the "
        "Black-Scholes formula for the option, whose error includes the bias that was estimated.",
        f"The option took {price.cost:,.0f} steps of paths at {len(price.n_paths)} levels; plain "
        f"Monte Carlo with the finest steps takes {plain:,.0f} for the same standard error.",
    ]
    record = {
        "share_within_two_stderr": share,
        "integral_method": integral.method,
        "regions": [{k: np.asarray(v).tolist() for k, v in r.items()} for r in failure.regions],
        "total_order": indices.total_order.tolist(),
        "paths": price.n_paths.tolist(),
        "warnings": [*integral.warnings, *failure.warnings, *price.warnings],
    }
    title = "Integrals, a rare event, sensitivities and several fidelities"
    return Section(title, rows, notes, record)
