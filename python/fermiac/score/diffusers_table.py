"""The process of a scheduler of diffusers with a table of β: times, levels, grids of steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.tensors import to_numpy
from fermiac._base.validate import choice, numbers, positive, shown, whole, yes
from fermiac.errors import ArgumentError
from fermiac.score.arguments import level_range
from fermiac.score.diffusers_steps import Plan, asked_levels, column
from fermiac.score.integrator import Integrator
from fermiac.score.parametrisation import Parametrisation
from fermiac.score.schedules import schedule_of

__all__ = ["SPACINGS", "TableProcess", "table_of"]

Array = NDArray[np.float64]

#: The spacings of whole times, in place of a schedule of levels.
SPACINGS = ("linspace", "leading", "trailing")

_BETAS = ("linear", "scaled_linear", "squaredcos_cap_v2")
#: The largest β of the cosine schedule, as published.
_MOST = 0.999
#: The substitute for a last a² of 0, whose level would be infinite.
_NEARLY_ZERO = 2.0**-24

#: The relative tolerance at the ends of the table; tables in single precision differ by less.
_SLACK = 5e-3


class TableProcess:
    """The variance-preserving process with a table of a², and the levels of steps on it.

    Parameters
    ----------
    prediction : str
        The output of the network, as `Parametrisation` has it.
    table : ndarray
        The products of 1 - β.
    schedule, steps_offset, sigma_range, discrete
        As for `fermiac.score.DiffusersScheduler`.
    """

    def __init__(
        self,
        prediction: str,
        table: Array,
        schedule: str | Callable[[int, float, float], ArrayLike] | None,
        steps_offset: int,
        sigma_range: tuple[float, float] | None,
        discrete: bool,
    ) -> None:
        self.parametrisation = Parametrisation(
            prediction, "vp", alphas_cumprod=table, discrete=yes("discrete", discrete)
        )
        self.schedule = "karras" if schedule is None else schedule
        self._offset = whole("steps_offset", steps_offset, 0, len(table) - 1)
        if self._offset and schedule != "leading":
            raise ArgumentError(
                f"steps_offset: given with schedule={shown(self.schedule, 40)}; it is for "
                "'leading' times"
            )
        self._n = len(table)
        self.sigma_range = self._range(sigma_range)
        if isinstance(self.schedule, str) and self.schedule not in SPACINGS:
            # An unknown name is refused now, not in a pipeline.
            schedule_of(self.schedule, 3, *self.sigma_range, True)

    def __len__(self) -> int:
        return self._n

    def _range(self, given: Any) -> tuple[float, float]:
        ends = self.parametrisation.sigma_range()
        assert ends is not None
        if given is None:
            return ends
        if self.schedule in SPACINGS:
            raise ArgumentError(
                f"sigma_range: given with schedule={shown(self.schedule)}, which spreads times "
                "over the table; give a schedule of levels, as 'karras'"
            )
        low, high = level_range("sigma_range", given)
        self._require_inside("sigma_range", np.array([low, high]))
        return low, high

    def _require_inside(self, name: str, levels: Array) -> None:
        _require_levels(name, levels, self.parametrisation.sigma_range())

    def sigmas(self) -> Array:
        """Return the levels of the table from the highest on, and 0."""
        logs = self.parametrisation.log_levels
        assert logs is not None
        return np.append(np.exp(logs[::-1]), 0.0)

    def plan(self, integrator: Integrator, n: Any, sigmas: Any, timesteps: Any, mu: Any) -> Plan:
        """Return the steps for a number of them, or for levels, or for times."""
        if mu is not None:
            raise ArgumentError("mu: given to a scheduler with a table; it is for flow models")
        if n is not None:
            grid = self._scheduled(whole("num_inference_steps", n, 1, 10**6))
        else:
            name = "sigmas" if timesteps is None else "timesteps"
            given = numbers(name, to_numpy(sigmas if timesteps is None else timesteps))
            if given.ndim != 1 or not given.size:
                raise ArgumentError(f"{name}: shape {given.shape} was given; (N,) is needed")
            grid = given if timesteps is None else self.levels(name, given)
            grid = grid if grid[-1] == 0 else np.append(grid, 0.0)
            self._require_inside(name, grid)
        asked = asked_levels(integrator, grid)
        # Levels at the ends may be beyond the table by rounding.
        times = np.clip(self.parametrisation.time(asked), 0, len(self) - 1)
        return Plan(grid, times, grid)

    def _scheduled(self, n: int) -> Array:
        if self.schedule not in SPACINGS:
            grid = schedule_of(self.schedule, n, *self.sigma_range, True)
            self._require_inside("schedule", grid)
            return grid
        times = _spaced(str(self.schedule), n, len(self), self._offset)
        return np.append(self.levels("steps_offset", times), 0.0)

    def levels(self, name: str, times: Array) -> Array:
        """Return the levels at times of the table."""
        logs = self.parametrisation.log_levels
        assert logs is not None
        return _levels_at(name, times, logs)

    def noised(self, x: Any, noise: Any, times: Array) -> Any:
        """Return points with the noise of times, one for each."""
        s = self.levels("timesteps", times)
        root = np.hypot(1.0, s)
        return column(1.0 / root, x) * x + column(s / root, x) * noise


def _spaced(kind: str, n_steps: int, n_times: int, offset: int) -> Array:
    """Return times of the table for a number of steps, strictly decreasing."""
    if n_steps > n_times:
        raise ArgumentError(
            f"num_inference_steps: {n_steps} given for a table of {n_times} times; give no more "
            f"than that, or a schedule of levels, as 'karras', in place of {shown(kind)}"
        )
    if kind == "linspace":
        return np.linspace(n_times - 1, 0, n_steps).round()
    if kind == "trailing":
        return np.linspace(n_times, n_times / n_steps, n_steps).round() - 1.0
    first = float(offset)
    return np.linspace(first + (n_times // n_steps) * (n_steps - 1), first, n_steps)


def _levels_at(name: str, times: Array, log_levels: Array) -> Array:
    """Return the levels at times of a table."""
    last = len(log_levels) - 1
    outside = (times < 0) | (times > last)
    if outside.any():
        raise ArgumentError(
            f"{name}: the time {times[outside].flat[0]:g} was given; those of the table reach from "
            f"0 to {last}"
        )
    levels: Array = np.exp(np.interp(times, np.arange(last + 1), log_levels))
    return levels


def _require_levels(name: str, levels: Array, ends: tuple[float, float] | None) -> None:
    """Refuse levels beyond a table, for which a network has no times."""
    assert ends is not None
    low, high = ends
    outside = (levels > high * (1 + _SLACK)) | ((levels < low * (1 - _SLACK)) & (levels != 0))
    if outside.any():
        raise ArgumentError(
            f"{name}: {levels[outside].flat[0]:g} was given; the levels of the table reach from "
            f"{low:g} to {high:g}, and the network knows no others"
        )


def table_of(
    n: int, start: float, end: float, kind: str, given: ArrayLike | None, zero_snr: bool
) -> Array:
    """Return the table of a², the products of 1 - β."""
    table: Array = np.multiply.accumulate(1.0 - _betas(n, start, end, kind, given))
    if not zero_snr:
        return table
    # The roots are stretched so that the first stays and the last becomes 0.
    roots: Array = np.sqrt(table)
    table = np.square((roots - roots[-1]) * (roots[0] / (roots[0] - roots[-1])))
    table[-1] = min(_NEARLY_ZERO, 0.25 * table[-2])
    return table


def _betas(n: int, start: float, end: float, kind: str, given: ArrayLike | None) -> Array:
    if given is not None:
        betas = numbers("trained_betas", to_numpy(given))
        if betas.ndim != 1 or len(betas) < 2 or not ((betas > 0) & (betas < 1)).all():
            raise ArgumentError(
                f"trained_betas: shape {betas.shape} was given; (T,) is needed, two numbers at "
                "least, between 0 and 1"
            )
        return betas
    n = whole("num_train_timesteps", n, 2, 2**31)
    start, end = positive("beta_start", start), positive("beta_end", end)
    choice("beta_schedule", kind, _BETAS)
    if kind == "linear":
        return np.linspace(start, end, n)
    if kind == "scaled_linear":
        even: Array = np.linspace(start**0.5, end**0.5, n)
        return even**2
    signal: Array = np.cos((np.arange(n + 1) / n + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.minimum(1.0 - signal[1:] / signal[:-1], _MOST)
