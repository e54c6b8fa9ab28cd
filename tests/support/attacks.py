"""Scores and counts of attacks: with known epsilon, with ties, in clusters, at random."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def laplace(epsilon: float, n: int, seed: int) -> tuple[Array, Array]:
    """Scores of an epsilon-private mechanism that loses all of it at thresholds from 1 on."""
    rng = np.random.default_rng(seed)
    scale = 1.0 / epsilon if epsilon else 1.0
    return (epsilon > 0) + rng.laplace(0, scale, n), rng.laplace(0, scale, n)


def tied(seed: int, n: int = 40) -> tuple[Array, Array]:
    """Scores of n members and n + 7 non-members, many of them equal."""
    rng = np.random.default_rng(seed)
    return np.round(rng.normal(0.7, 1, n), 1), np.round(rng.normal(0, 1, n + 7), 1)


def clustered(seed: int, models: int = 60, each: int = 8) -> tuple[Array, Array, Any]:
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.arange(models), each)
    shift = rng.normal(0, 1.5, models)[ids]
    return shift + rng.normal(1, 1, ids.size), shift + rng.normal(0, 1, ids.size), (ids, ids)


def ratios(direction: str, x: Any, y: Any, delta: Any) -> Any:
    """e^epsilon by its definition."""
    with np.errstate(all="ignore"):
        forward, reverse = (1 - delta - x) / y, (1 - delta - y) / x
        again, back = (x - delta) / (1 - y), (y - delta) / (1 - x)
    which = {
        "both": (forward, reverse, again, back),
        "attack": (forward, reverse),
        "forward": (forward,),
        "reverse": (reverse,),
    }[direction]
    return np.maximum.reduce([np.where(np.isnan(r), 0, r) for r in which])


def counts(n: int, seed: int, most: float = 1e8) -> Array:
    """Quadruples over many orders of magnitude, zeros among them, shape (4, n)."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 5, (4, n))
    large = np.floor(np.exp(rng.uniform(0, math.log(most), (4, n))))
    return np.where(rng.random((4, n)) < 0.3, small, large).astype(np.float64)


def deltas(n: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(n) < 0.5, 0.0, 10 ** rng.uniform(-10, -1, n))
