"""Scores of attacks whose epsilon is known, and scores with ties."""

from __future__ import annotations

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
