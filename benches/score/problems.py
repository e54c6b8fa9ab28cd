"""Problems of the score benchmarks: a mixture in torch, and networks of any cost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from benches.score.table import DIM, RANGE, balls
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Timed(NamedTuple):
    """The result of a call, and its seconds of wall and CPU time."""

    value: Any
    wall: float
    cpu: float


def timed(call: Callable[[], Any]) -> Timed:
    wall, cpu = time.perf_counter(), time.process_time()
    value = call()
    return Timed(value, time.perf_counter() - wall, time.process_time() - cpu)


def karras(n_steps: int, zero: bool = True) -> Array:
    """Return Karras levels for the mixture, rho = 7, and 0."""
    low, high = (end ** (1 / 7) for end in RANGE)
    levels = (high + np.arange(n_steps) / (n_steps - 1) * (low - high)) ** 7
    return np.append(levels, 0.0) if zero else levels


def start(n: int, seed: int = 0) -> Array:
    """Return pure noise of the highest level."""
    return RANGE[1] * np.random.default_rng(seed).standard_normal((n, DIM))


class TorchBalls:
    """The mixture in torch, float64: two thin matrix products per call, the rest in place."""

    def __init__(self) -> None:
        import torch

        weights, means, sd = (torch.from_numpy(a) for a in balls())
        self.torch = torch
        self.log_weights, self.means, self.variances = weights.log(), means, sd**2
        self.squares = (means**2).sum(dim=1)
        self.twice = (-2.0 * means.T).contiguous()

    def shares(self, y: Any, sigma: Any) -> tuple[Any, Any, Any]:
        """Return log-densities of the components at y, responsibilities and shrinkage factors."""
        noisy = self.variances + sigma * sigma
        away = self.torch.addmm(self.squares, y, self.twice)
        away += self.torch.linalg.vecdot(y, y)[:, None]
        away *= -0.5 / noisy
        away += self.log_weights - 0.5 * DIM * (noisy.log() + math.log(2 * math.pi))
        return away, self.torch.softmax(away, dim=1), self.variances / noisy

    def __call__(self, y: Any, sigma: Any) -> Any:
        """Return the denoised points; all rows have one level, as in k-diffusion."""
        _, share, shrink = self.shares(y, sigma if sigma.ndim == 0 else sigma[0])
        denoised = share @ (self.means * (1.0 - shrink)[:, None])
        return denoised.addcmul_(y, (share @ shrink)[:, None])

    def with_trace(self, y: Any, sigma: Any) -> tuple[Any, Any]:
        """Return denoised points, and the trace of their derivative."""
        _, share, shrink = self.shares(y, sigma)
        parts = self.means * (1.0 - shrink)[:, None]
        mean_shrink = share @ shrink
        denoised = share @ parts + y * mean_shrink[:, None]
        # Of each component's denoised point m = parts + shrink y: the mean of |m|².
        cross = self.torch.linalg.vecdot(share @ (shrink[:, None] * parts), y)
        squares = share @ (parts**2).sum(dim=1) + 2.0 * cross
        squares += (share @ shrink**2) * self.torch.linalg.vecdot(y, y)
        spread = squares - self.torch.linalg.vecdot(denoised, denoised)
        return denoised, DIM * mean_shrink + spread / (sigma * sigma)


NETWORK_DIM = 64


def network(width: int, seed: int = 0) -> Any:
    """A perceptron that takes points and log-levels, with random weights, in float32."""
    import torch

    class Denoiser(torch.nn.Module):
        """Return the predicted noise of y = x + s z."""

        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Linear(NETWORK_DIM, width)
            self.level = torch.nn.Linear(1, width)
            self.second = torch.nn.Linear(width, width)
            self.last = torch.nn.Linear(width, NETWORK_DIM)

        def forward(self, y: Any, sigma: Any) -> Any:
            scale = (1.0 + sigma * sigma).rsqrt()[:, None]
            hidden = self.first(y * scale) + self.level(sigma.log()[:, None])
            hidden = torch.nn.functional.silu(hidden)
            hidden = torch.nn.functional.silu(self.second(hidden))
            return y * scale + 0.01 * self.last(hidden)

    torch.manual_seed(seed)
    return Denoiser().eval()
