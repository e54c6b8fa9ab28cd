"""Rewards of clean points, and soft values of noisy points."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.ask import ask, real_answer
from fermiac._base.tensors import is_tensor, to_numpy
from fermiac._base.validate import shown
from fermiac.errors import ArgumentError, TargetError
from fermiac.score.noise import TRAIN
from fermiac.targets.torch_modules import evaluating

__all__ = ["PosteriorMean", "Regression", "Reward", "UserValue", "Value", "checked", "host"]

Array = NDArray[np.float64]
#: The most random features of the built-in regression.
_FEATURES = 256
#: The ridge, relative to the sum of squares of a feature.
_RIDGE = 1e-4
#: The most coordinates whose squares are features.
_SQUARES = 64


class Reward:
    """A reward of clean points, for arrays and for tensors."""

    def __init__(self, function: Any, event: tuple[int, ...], name: str = "reward") -> None:
        if not callable(function):
            raise ArgumentError(
                f"{name}: {shown(function)} was given; a callable that takes points, (n, d), and "
                "gives (n,) is needed"
            )
        self._function, self._event, self._name = function, event, name

    def __call__(self, points: Any, *more: Any) -> Array:
        """Return the rewards, (n,), in double precision."""
        taken = self._taken(points)
        torch = sys.modules.get("torch")
        with evaluating(self._function), nullcontext() if torch is None else torch.no_grad():
            got = ask(self._function, (taken, *more), f"the {self._name}")
        return checked(self._name, got, len(points))

    def _taken(self, points: Any) -> Any:
        """Return points in their shape; for a module, as a tensor of its type."""
        points = points.reshape(len(points), *self._event)
        torch = sys.modules.get("torch")
        if torch is None or not isinstance(self._function, torch.nn.Module):
            return points
        own = next(self._function.parameters(), None)
        tensor = torch.as_tensor(points)
        return tensor if own is None else tensor.to(own)


def checked(name: str, got: Any, n: int, minus_infinity: bool = False) -> Array:
    """Return the values of a user's function, (n,) finite numbers, or minus infinity if allowed."""
    # A copy, as it may be the same array each time.
    array = real_answer(got, name, (n,), (n, 1)).copy()
    good = np.isfinite(array) | (minus_infinity & (array == -np.inf))
    if not good.all():
        row = int(np.argmin(good))
        raise TargetError(
            f"{name} gave {array[row]} in row {row}; finite numbers are needed; where a "
            "reward forbids points, give them a low one"
        )
    return array


class Value(Protocol):
    """The soft value of a noisy point, in the unit of the reward."""

    #: Whether it needs the denoised points.
    needs_denoised: bool

    def __call__(self, y: Any, sigma: float, denoised: Any, level: int) -> Array:
        """Return the values, (n,), of points at level number `level`."""


class PosteriorMean:
    """The reward of the mean of the data behind a point."""

    needs_denoised = True

    def __init__(self, reward: Reward) -> None:
        self._reward = reward

    def __call__(self, y: Any, sigma: float, denoised: Any, level: int) -> Array:
        """Return the reward of the denoised points."""
        return self._reward(denoised)


class UserValue:
    """A function of the points and their level."""

    needs_denoised = False

    def __init__(self, function: Callable[[Any, float], Any], event: tuple[int, ...]) -> None:
        self._function = Reward(function, event, "value")

    def __call__(self, y: Any, sigma: float, denoised: Any, level: int) -> Array:
        """Return the value of the noisy points at their level."""
        return self._function(y, sigma)


class Regression:
    """The mean reward behind a point, by a regression at every level.

    The pairs are clean points with their rewards, and the same points with noise.
    """

    needs_denoised = False

    def __init__(
        self, points: Any, rewards: Array, key: int, regressor: Callable[..., Any] | None
    ) -> None:
        self._x = np.asarray(to_numpy(points), dtype=np.float64)
        self._rewards, self._key = rewards, key
        self._regressor = regressor
        self._level = -1
        self._fitted: Reward | None = None

    def __call__(self, y: Any, sigma: float, denoised: Any, level: int) -> Array:
        """Return the fitted mean reward at the noisy points."""
        if level != self._level or self._fitted is None:
            self._fitted, self._level = self._fit(sigma, level), level
        got = self._fitted(to_numpy(y))
        # A mean of rewards lies within their range, but a fit may leave it far from its points.
        return np.clip(got, self._rewards.min(), self._rewards.max())

    def _fit(self, sigma: float, level: int) -> Reward:
        n, d = self._x.shape
        noise = _core.score_noise(self._key, TRAIN, 0, n, 1 + level, d, 0)[0]
        noisy = self._x + sigma * noise
        if self._regressor is None:
            return Reward(_ridge(noisy, self._rewards, self._key), (d,), "regressor")
        return Reward(ask(self._regressor, (noisy, self._rewards), "regressor"), (d,), "regressor")


def _ridge(x: Array, rewards: Array, key: int) -> Callable[[Array], Array]:
    """Return a ridge regression on the coordinates, their squares and random ramps of them."""
    n, d = x.shape
    centre, scale = x.mean(axis=0), x.std(axis=0) + 1e-12
    n_ramps = min(_FEATURES, n // 8)
    # The addresses follow those of the points.
    draws = _core.score_noise(key, TRAIN, n, n_ramps, 0, d + 1, 0)[0]
    slopes, offsets = draws[:, :d] / np.sqrt(d), draws[:, d]

    def features(points: Array) -> Array:
        u = (points - centre) / scale
        parts = [np.ones((len(u), 1)), u]
        if d <= _SQUARES:
            parts.append(u**2)
        parts.append(np.maximum(u @ slopes.T + offsets, 0.0))
        return np.hstack(parts)

    design = features(x)
    gram = design.T @ design
    gram[np.diag_indices_from(gram)] += _RIDGE * n
    weights = np.linalg.solve(gram, design.T @ rewards)
    return lambda points: features(points) @ weights


def host(values: Any) -> Any:
    """Return an array of values that may be a tensor."""
    return to_numpy(values) if is_tensor(values) else values
