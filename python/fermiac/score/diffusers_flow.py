"""The process of a flow scheduler of diffusers: its times, levels and grids of steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.tensors import to_numpy
from fermiac._base.validate import choice, numbers, positive, real, shown, whole, yes
from fermiac.errors import ArgumentError
from fermiac.score.diffusers_steps import Plan, asked_levels, column
from fermiac.score.flow_times import FlowTimes
from fermiac.score.integrator import Integrator
from fermiac.score.parametrisation import Parametrisation

__all__ = ["FlowProcess", "flow_arguments", "is_flow"]

Array = NDArray[np.float64]

#: Settings of a flow scheduler with the same name and meaning here.
_SAME = (
    "num_train_timesteps",
    "use_dynamic_shifting",
    "base_shift",
    "max_shift",
    "base_image_seq_len",
    "max_image_seq_len",
    "shift_terminal",
    "time_shift_type",
)
#: Settings of schedulers of this library only.
_OWN = ("integrator", "threshold")
#: Settings that would change results and are not known here, with advice.
_REFUSED = {
    "invert_sigmas": "give the network the time 1 - t, and the negative of its output",
    "stochastic_sampling": "give integrator='ancestral'",
    "use_karras_sigmas": "give sigmas= to set_timesteps",
    "use_exponential_sigmas": "give sigmas= to set_timesteps",
    "use_beta_sigmas": "give sigmas= to set_timesteps",
}


@dataclass(frozen=True)
class FlowProcess:
    """The process x_t = (1 - t) x + t z, and the times t at which steps on it begin.

    Its levels are t / (1 - t).
    """

    n_times: int
    shift: float = 1.0
    dynamic: bool = False
    kind: str = "exponential"
    terminal: float | None = None

    def __post_init__(self) -> None:
        """Refuse settings outside of their domains."""
        positive("shift", self.shift)
        yes("use_dynamic_shifting", self.dynamic)
        choice("time_shift_type", self.kind, ("exponential", "linear"))
        if self.terminal is not None:
            needed = "a time above 0 and below 1 is needed"
            real("shift_terminal", self.terminal, needed, lambda t: 0 < t < 1)

    @cached_property
    def parametrisation(self) -> Parametrisation:
        """The meaning of the output of the network."""
        return Parametrisation("flow", "flow", time_scale=float(self.n_times))

    def __len__(self) -> int:
        return self.n_times

    def sigmas(self) -> Array:
        """Return all times from 1 on, and 0."""
        return np.append(np.linspace(1.0, 1.0 / len(self), len(self)), 0.0)

    def plan(self, integrator: Integrator, n: Any, sigmas: Any, timesteps: Any, mu: Any) -> Plan:
        """Return the steps for a number of them, or for times."""
        if n is not None:
            times = self.shifted(self.even(whole("num_inference_steps", n, 1, 10**6)), mu)
        elif isinstance(sigmas, FlowTimes):
            times = sigmas.times
        else:
            times = self._given(sigmas, timesteps, mu)
        times = times if times[-1] == 0 else np.append(times, 0.0)
        grid = _levels_of("sigmas", times)
        if (np.diff(times) >= 0).any():
            raise ArgumentError("sigmas: the times do not fall from step to step")
        asked = [1.0] if grid[0] == np.inf else []
        rest = grid[len(asked) :]
        if len(rest) > 1:
            asked += [float(s / (1.0 + s)) for s in asked_levels(integrator, rest)]
        # Rounded to single precision, as schedulers of diffusers have them.
        rounded = np.array(asked, dtype=np.float32) * np.float32(len(self))
        return Plan(grid, rounded.astype(np.float64), times)

    def _given(self, sigmas: Any, timesteps: Any, mu: Any) -> Array:
        name = "sigmas" if timesteps is None else "timesteps"
        given = numbers(name, to_numpy(sigmas if timesteps is None else timesteps))
        times = given if timesteps is None else given / len(self)
        if times.ndim != 1 or not times.size or times[0] == 0:
            raise ArgumentError(
                f"{name}: {shown(given.tolist(), 40)} was given; falling times from at most 1 are "
                "needed"
            )
        _levels_of(name, times)
        # A last 0 is no step, and is not stretched.
        return self.shifted(times[:-1] if times[-1] == 0 else times, mu)

    def levels(self, name: str, times: Array) -> Array:
        """Return the levels at times, as the network takes them."""
        return _levels_of(name, times / len(self))

    def noised(self, x: Any, noise: Any, times: Array) -> Any:
        """Return points with the noise of times, one for each."""
        self.levels("timesteps", times)
        t = column(times / len(self), x)
        return (1.0 - t) * x + t * noise

    def factor(self, mu: Any) -> float:
        """Return the factor by which levels are multiplied."""
        if not self.dynamic:
            if mu is not None:
                raise ArgumentError(
                    f"mu: {shown(mu)} was given to a scheduler with one shift; make it with "
                    "use_dynamic_shifting=True, or leave mu out"
                )
            return float(self.shift)
        if mu is None:
            raise ArgumentError(
                "mu: use_dynamic_shifting=True needs it in every call of set_timesteps; pipelines "
                "compute it from the size of an image"
            )
        if self.kind == "linear":
            return positive("mu", mu)
        return math.exp(
            real("mu", mu, "a number from -500 to 500 is needed", lambda x: abs(x) < 500)
        )

    def even(self, n_steps: int) -> Array:
        """Return evenly spaced times before the shift, as diffusers spaces them."""
        low = 1.0 / self.n_times
        if not self.dynamic:
            # Its lowest time is a shifted one, which is shifted again with the others.
            low = self.shifted_by(self.shift, np.array([low]))[0]
        return np.linspace(1.0, low, n_steps)

    def shifted(self, times: Array, mu: Any) -> Array:
        """Return the shifted times, stretched to the last one."""
        moved = self.shifted_by(self.factor(mu), times)
        if self.terminal is None or moved[-1] == self.terminal:
            return moved
        if moved[-1] == 1:
            raise ArgumentError("shift_terminal: one step has no last time; take two or more")
        return np.asarray(1.0 - (1.0 - moved) * (1.0 - self.terminal) / (1.0 - moved[-1]))

    @staticmethod
    def shifted_by(factor: float, times: Array) -> Array:
        """Return times whose levels are multiplied by a factor."""
        return np.asarray(factor * times / (1.0 + (factor - 1.0) * times))


def _levels_of(name: str, times: Array) -> Array:
    """Return the levels t / (1 - t) of falling times; infinity for time 1."""
    if ((times < 0) | (times > 1) | ~np.isfinite(times)).any():
        bad = times[(times < 0) | (times > 1) | ~np.isfinite(times)][0]
        raise ArgumentError(
            f"{name}: {bad:g} was given; times of a flow reach from 1 (noise) to 0 (data). A level "
            "s is the time s / (1 + s)"
        )
    with np.errstate(divide="ignore"):
        return np.asarray(times / (1.0 - times))


def is_flow(config: Mapping[str, Any]) -> bool:
    """Return whether a configuration is that of a scheduler of flow models."""
    return (
        config.get("prediction_type") == "flow_prediction"
        or bool(config.get("use_flow_sigmas"))
        or (config.get("shift") is not None and "beta_schedule" not in config)
    )


def flow_arguments(config: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the configuration of a flow scheduler, overridden by `more`."""
    for name, advice in _REFUSED.items():
        if config.get(name):
            raise ArgumentError(
                f"config: {name}={shown(config[name], 40)} is not known here; {advice}"
            )
    known = {name: config[name] for name in (*_SAME, *_OWN) if name in config}
    shift = config.get("flow_shift") if config.get("use_flow_sigmas") else None
    known["shift"] = config.get("shift", 1.0) if shift is None else shift
    known["prediction_type"] = "flow_prediction"
    return {**known, **more}
