"""A normal law as every kind of network, in NumPy and torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MEAN = np.array([0.5, -1.0, 2.0, 0.25])
VARIANCE = 0.7
DIM = len(MEAN)
BETAS = (0.1, 20.0)
SIGMA_DATA = 0.6
#: The table of denoising diffusion models: β from 1e-4 to 0.02 in 1000 steps.
TABLE = np.cumprod(1.0 - np.linspace(1e-4, 0.02, 1000))

#: (prediction, kind, options) of all that go together.
FORMS: list[Any] = [
    (prediction, kind, options)
    for kind, options in (
        ("ve", {}),
        ("vp", {"beta_range": BETAS}),
        ("vp", {"alphas_cumprod": TABLE}),
        ("flow", {}),
        ("edm", {"sigma_data": SIGMA_DATA}),
    )
    for prediction in ("eps", "x0", "score", "v", "flow", "edm")
    if {"v": "vp", "flow": "flow", "edm": "edm"}.get(prediction, kind) == kind
]
IDS = [f"{p}-{k}{'-table' if 'alphas_cumprod' in o else ''}" for p, k, o in FORMS]


def denoised(y: Any, s: Any) -> Any:
    """The mean of the data behind y; s is a column."""
    mean = MEAN if isinstance(y, np.ndarray) else y.new_tensor(MEAN)
    return (s * s * mean + VARIANCE * y) / (s * s + VARIANCE)


def score(y: Any, s: Any) -> Any:
    return (MEAN - y) / (s * s + VARIANCE)


def log_density(y: Array, s: Array) -> Array:
    variance = s**2 + VARIANCE
    square = ((y - MEAN) ** 2).sum(axis=1) / variance
    return -0.5 * (square + DIM * np.log(2 * np.pi * variance))


def level_of(kind: str, options: dict[str, Any], t: Any) -> tuple[Any, Any]:
    """The level and a at a network's time."""
    xp: Any = np
    if not isinstance(t, np.ndarray):
        import torch as xp
    if kind == "ve":
        return t, 1.0
    if kind == "edm":
        return xp.exp(4.0 * t), 1.0
    if kind == "flow":
        return t / (1.0 - t), 1.0 - t
    if "alphas_cumprod" in options:
        nodes = np.log(np.sqrt((1.0 - TABLE) / TABLE))
        log_s = np.interp(np.asarray(t), np.arange(len(TABLE)), nodes)
        s = np.exp(log_s) if xp is np else xp.exp(t.new_tensor(log_s))
        return s, (1.0 + s * s) ** -0.5
    low, high = BETAS
    log_a = -0.25 * t * t * (high - low) - 0.5 * t * low
    return xp.sqrt(xp.expm1(-2.0 * log_a)), xp.exp(log_a)


def network(prediction: str, kind: str, options: dict[str, Any]) -> Any:
    """What such a network computes: from x_t and t to its prediction."""

    def normal(x: Any, t: Any) -> Any:
        s, a = level_of(kind, options, t)
        s = s[:, None]
        a = a if isinstance(a, float) else a[:, None]
        b = a * s
        if kind == "edm":
            y = x * (s * s + SIGMA_DATA**2) ** 0.5
            x = y
        else:
            y = x / a
        d = denoised(y, s)
        if prediction == "x0":
            return d
        if prediction == "eps":
            return (x - a * d) / b
        if prediction == "score":
            return (a * d - x) / b**2
        eps = (y - d) / s
        if prediction == "v":
            return a * eps - b * d
        if prediction == "flow":
            return eps - d
        total = s * s + SIGMA_DATA**2
        return (d - SIGMA_DATA**2 / total * y) * total**0.5 / (s * SIGMA_DATA)

    return normal


def noisy(n: int, low: float = 0.02, high: float = 30.0) -> tuple[Array, Array]:
    """Points with levels from low to high."""
    rng = np.random.default_rng(5)
    s = np.exp(rng.uniform(np.log(low), np.log(high), n))
    x = MEAN + np.sqrt(VARIANCE) * rng.normal(size=(n, DIM))
    return x + s[:, None] * rng.normal(size=(n, DIM)), s
