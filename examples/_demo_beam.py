"""The beam problem: one deflection model, its expectation under 100 input laws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]


class Beam(NamedTuple):
    """Input laws of (FX, FY, E, w, t, L), and the exact mean deflection under each."""

    laws: Sequence[Any]
    exact: Array


def load(path: Path) -> Beam:
    """Read the design: three lognormal inputs, three correlated normal ones (10 % sd) per law."""
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    laws = []
    for row in table:
        fx, fy, e = row[:3]
        mean, (wt, wl, tl) = row[3:6], row[6:9]
        correlation = np.array([[1.0, wt, wl], [wt, 1.0, tl], [wl, tl, 1.0]])
        cov = 0.01 * correlation * np.outer(mean, mean)
        laws.append(
            fm.distributions.Product(
                [
                    fm.distributions.LogNormal.from_moments(fx, 0.08),
                    fm.distributions.LogNormal.from_moments(fy, 0.08),
                    fm.distributions.LogNormal.from_moments(e, 0.06),
                    fm.distributions.MultivariateNormal(mean, cov),
                ]
            )
        )
    return Beam(laws, table[:, 9])


def deflection(x: Array) -> Array:
    """Return the tip deflection of the cantilever, (n, 6) -> (n,)."""
    fx, fy, e, w, t, length = x.T
    # hypot avoids overflow of the two load terms for very thin sections.
    bent: Array = 4e-9 * length**3 / (e * w * t) * np.hypot(fx / w**2, fy / t**2)
    return bent


def estimate(beam: Beam, n: int, seed: int) -> Any:
    """Return all expectations from one run of n model calls, for the least sum of variances."""
    return fm.importance.expect(deflection, beam.laws, n=n, weights="absolute", rng=seed)


class Separate(NamedTuple):
    """Return plain Monte Carlo estimates, one run for each law."""

    mean: Array
    stderr: Array


def separate(beam: Beam, n: int, seed: int) -> Separate:
    """Return separate estimates with the same budget, n / J model calls for each law."""
    each = n // len(beam.laws)
    keys = np.random.SeedSequence(seed).generate_state(len(beam.laws), np.uint64)
    y = np.array(
        [
            deflection(law.sample(each, rng=int(key)))
            for law, key in zip(beam.laws, keys, strict=True)
        ]
    )
    return Separate(y.mean(axis=1), y.std(axis=1, ddof=1) / np.sqrt(each))
