"""Points on their way down the noise levels: candidates, choices among them, resampling."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.errors import TargetError
from fermiac.score.rewards import Reward, Value, host
from fermiac.score.rng_domains import CHOICE, INTEGRATE, START, TRAIN
from fermiac.targets.torch_target import import_torch

__all__ = ["Aim", "Paths", "State"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Aim:
    """What is drawn, and how."""

    model: Any
    n: int
    event: tuple[int, ...]
    alpha: float
    n_candidates: int
    particles: bool
    base: str
    correct: bool
    ess_threshold: float
    key: int

    @property
    def dim(self) -> int:
        """Coordinates of a point."""
        return math.prod(self.event)


@dataclass(frozen=True)
class State:
    """All points after a step; a new one takes its place at once, so that Ctrl-C finds it whole."""

    y: Any
    denoised: Any
    values: Array
    #: The logarithm of the potential that the weight contains so far.
    potentials: Array
    log_weights: Array
    #: The logarithm of what resampling has taken out of the weights.
    log_total: float
    ancestors: Ints
    n_resamplings: int = 0
    ess: tuple[float, ...] = ()
    candidate_ess: tuple[float, ...] = ()


class Paths:
    """Points on their way down the levels."""

    def __init__(self, aim: Aim, grid: Array) -> None:
        self._aim, self._grid = aim, grid
        self._tensors = aim.model.runs_on_device
        self._value: Value | None = None
        self.state: State | None = None
        self.n_evals = 0

    def base(self, n: int, reward: Reward) -> tuple[Any, Array]:
        """Points that nothing guides, with rewards: what regressions are fitted to."""
        # The draws of the fits lie below, in the purpose that all of them share.
        first, d = len(self._grid) + 1, self._aim.dim
        y = self._grid[0] * self._normals(TRAIN, n, first, d)
        for i in range(len(self._grid) - 1):
            mean, spread = self._kernel(i, y, self._denoised(y, i))
            y = mean + spread * self._normals(TRAIN, n, first + 1 + i, d)
        clean = self._denoised(y, len(self._grid) - 1)
        return clean, reward(clean)

    def begin(self, value: Value) -> None:
        """Draw the starting points."""
        aim, s = self._aim, float(self._grid[0])
        self._value = value
        z = self._normals(START, aim.n, 0, aim.dim)
        y = s * z
        denoised = self._denoised(y, 0)
        values = value(y, s, denoised, 0)
        potentials = self._potentials(values)
        log_weights = potentials.copy()
        if aim.correct:
            log_weights += aim.model.log_density(y, s) - _log_normal(z, s)
        state = State(
            y, denoised, values, potentials, log_weights, 0.0, np.arange(aim.n, dtype=np.int64)
        )
        self.state = replace(state, ess=(_ess(log_weights),))

    def step(self, i: int) -> None:
        """From level i to the next: candidates, a choice among them, and resampling."""
        aim, state, value = self._aim, self.state, self._value
        assert state is not None
        assert value is not None
        n, m, d = aim.n, aim.n_candidates, aim.dim
        s, to = float(self._grid[i]), float(self._grid[i + 1])
        mean, spread = self._kernel(i, state.y, state.denoised)
        z = self._normals(INTEGRATE, n, i, m * d).reshape(n, m, d)
        candidates = (mean[:, None, :] + spread * z).reshape(n * m, d)
        denoised = self._denoised(candidates, i + 1) if value.needs_denoised else None
        values = value(candidates, to, denoised, i + 1)
        potentials = self._potentials(values)
        scores = potentials.reshape(n, m)
        if aim.correct:
            step = (candidates.reshape(n, m, d) - state.y[:, None, :]) / np.sqrt(s**2 - to**2)
            ratio = aim.model.log_density(candidates, to).reshape(n, m)
            ratio += _log_normal(step, np.sqrt(s**2 - to**2)) - _log_normal(z, spread)
            scores = scores + ratio - aim.model.log_density(state.y, s)[:, None]
        uniforms = _core.score_noise(aim.key, CHOICE, 0, n, i, 0, 1)[1][:, 0]
        chosen, log_mean, effective = _choose(
            values.reshape(n, m) if aim.alpha == 0 else scores, uniforms, aim.alpha == 0
        )
        rows = np.arange(n) * m + chosen
        y = self._take(candidates, rows)
        new = replace(
            state,
            y=y,
            denoised=self._denoised(y, i + 1) if denoised is None else self._take(denoised, rows),
            values=values[rows],
            potentials=potentials[rows],
            log_weights=state.log_weights + log_mean - state.potentials,
            candidate_ess=(*state.candidate_ess, effective),
        )
        ess = _ess(new.log_weights)
        if aim.particles and ess < aim.ess_threshold * n and n > 1:
            new = self._resampled(new, i)
        self.state = replace(new, ess=(*new.ess, ess))

    def end(self, reward: Reward) -> tuple[State, Array]:
        """The rewards of the clean points take the place of the values."""
        state = self.state
        assert state is not None
        rewards = reward(state.denoised)
        log_weights = state.log_weights + self._potentials(rewards) - state.potentials
        ended = replace(state, log_weights=log_weights, ess=(*state.ess, _ess(log_weights)))
        return replace(ended, values=rewards), rewards

    def _resampled(self, state: State, i: int) -> State:
        aim = self._aim
        weights, log_mean = _core.normalize_weights(state.log_weights)
        # An address beyond those of the points.
        word = _core.score_noise(aim.key, CHOICE, aim.n, 1, i, 0, 1)[1][0, 0]
        rows = _core.resample_indices(weights, aim.n, "systematic", int(word * 2.0**53))
        return replace(
            state,
            y=self._take(state.y, rows),
            denoised=self._take(state.denoised, rows),
            values=state.values[rows],
            potentials=state.potentials[rows],
            log_weights=np.zeros(aim.n),
            log_total=state.log_total + log_mean,
            ancestors=state.ancestors[rows],
            n_resamplings=state.n_resamplings + 1,
        )

    def _potentials(self, values: Array) -> Array:
        alpha = self._aim.alpha
        return values / alpha if alpha > 0 else np.zeros_like(values)

    def _kernel(self, i: int, y: Any, denoised: Any) -> tuple[Any, float]:
        """The mean and the standard deviation of a step."""
        s, to = self._grid[i], self._grid[i + 1]
        spread = np.sqrt(s**2 - to**2)
        if self._aim.base == "ancestral":
            spread *= to / s
        return denoised + float(to / s) ** 2 * (y - denoised), float(spread)

    def _denoised(self, y: Any, i: int) -> Any:
        """What the model says at level i."""
        s = self._grid[i : i + 1]
        self.n_evals += len(y)
        model = self._aim.model
        if self._tensors:
            torch = import_torch()
            out = model._denoise_tensor(y, torch.as_tensor(s, dtype=y.dtype, device=y.device))
            whole_numbers = bool(torch.isfinite(out).all())
        else:
            out = model._denoise(np.ascontiguousarray(y), s)
            whole_numbers = bool(np.isfinite(out).all())
        if not whole_numbers:
            row = int(np.argmin(np.isfinite(host(out)).all(axis=1)))
            raise TargetError(
                f"model: it gave a number that is not finite for row {row} at level {s[0]:g}; "
                "check the network, or choose levels on which it was trained"
            )
        return out

    def _normals(self, purpose: int, n: int, draw: int, count: int) -> Any:
        z = _core.score_noise(self._aim.key, purpose, 0, n, draw, count, 0)[0]
        return self._aim.model._to_device(z) if self._tensors else z

    def _take(self, points: Any, rows: Ints) -> Any:
        if not self._tensors:
            return points[rows]
        return points[import_torch().as_tensor(rows, device=points.device)]


def _choose(scores: Array, uniforms: Array, best: bool) -> tuple[Ints, Array, float]:
    """One of each row in proportion to exp(scores): which, the log of their mean, their ESS."""
    n, m = scores.shape
    if best:
        return np.argmax(scores, axis=1), np.zeros(n), 1.0
    top = scores.max(axis=1, keepdims=True)
    weights = np.exp(scores - top)
    reached = np.cumsum(weights, axis=1)
    total = reached[:, -1]
    chosen = (reached <= (uniforms * total)[:, None]).sum(axis=1)
    effective = float(np.mean(total**2 / (weights**2).sum(axis=1)))
    return np.minimum(chosen, m - 1), top[:, 0] + np.log(total / m), effective


def _log_normal(z: Array, spread: float) -> Array:
    """The log-density of N(0, spread² I) at spread z."""
    scale = math.log(math.sqrt(2 * math.pi) * spread)
    return np.asarray(-0.5 * np.square(z).sum(axis=-1) - z.shape[-1] * scale)


def _ess(log_weights: Array) -> float:
    return float(1 / np.sum(_core.normalize_weights(log_weights)[0] ** 2))
