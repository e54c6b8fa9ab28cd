"""The checked arguments of an integration, and how far one came that was stopped."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from hashlib import blake2b
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.config import resolve_threads
from fermiac._base.progress import Report
from fermiac._base.tensors import like, to_numpy
from fermiac._base.validate import RngLike, choice, key_of, numbers, positive, whole
from fermiac.errors import ArgumentError
from fermiac.runs.checkpoint import Checkpoint, Log
from fermiac.score.adaptive import Adaptive
from fermiac.score.integrator import real
from fermiac.score.levels import as_model, held, levels_of, refuse_churn, refuse_outside
from fermiac.score.model import Model, points_of, rows_of
from fermiac.score.single_step import Integrator, as_integrator

__all__ = ["Call", "Reached", "Threshold", "as_method"]

Array = NDArray[np.float64]

#: What is done with rows for which a model gives no number.
_NAN_POLICIES = ("raise", "freeze", "ignore")
#: How closely Brownian paths meet a level, in log s.
_TOLERANCE = 1e-5
_ADAPTIVE = {"rk45": Adaptive("dopri5"), "dop853": Adaptive("dop853")}


class Reached(NamedTuple):
    """How far a call came that was stopped: the ``partial_result`` of its exception.

    Attributes
    ----------
    y : ndarray or torch.Tensor
        The points.
    sigma : ndarray, shape (n,)
        The level at which each stands; to go on, integrate from there.
    """

    y: Any
    sigma: Array


class Threshold(NamedTuple):
    """Hold denoised points to a range.

    Parameters
    ----------
    bound : float, default 1.0
        The range of the data is from -bound to bound.
    quantile : float, optional
        With it, each row is clipped to [-q, q], q the quantile of its absolute values but at least
        `bound`, and scaled by bound / q [1]_. Without, each row is clipped to the bound.

    References
    ----------
    .. [1] C. Saharia et al., "Photorealistic text-to-image diffusion models with deep language
       understanding", 2022.
    """

    bound: float = 1.0
    quantile: float | None = None

    def _spec(self) -> tuple[str, float, float]:
        bound = positive("threshold", self.bound)
        if self.quantile is None:
            return "static", bound, 1.0
        quantile = real("threshold", self.quantile)
        if not 0 < quantile <= 1:
            raise ArgumentError(
                f"threshold: a quantile of {quantile!r} given; above 0 and at most 1 is needed"
            )
        return "dynamic", bound, quantile


def as_method(given: object) -> Integrator | Adaptive:
    """Take an integrator of either kind, or its name."""
    if isinstance(given, Adaptive):
        return given
    if isinstance(given, str) and given in _ADAPTIVE:
        return _ADAPTIVE[given]
    try:
        return as_integrator(given)
    except ArgumentError as error:
        raise ArgumentError(f"{error}, or Adaptive, 'rk45' or 'dop853'") from None


class Call:
    """The checked arguments of a call."""

    def __init__(
        self,
        model: Model,
        y0: Any,
        sigmas: ArrayLike,
        integrator: str | Integrator | Adaptive,
        rng: RngLike,
        first_row: int,
        brownian: bool | tuple[float, float],
        threshold: float | Threshold | None,
        on_nan: str,
        n_threads: int | None,
        checkpoint: str | PathLike[str] | Checkpoint | None = None,
    ) -> None:
        model = as_model(model)
        self.given = y0 = points_of("y0", y0)
        self.event = tuple(y0.shape[1:])
        self.model = model._shaped(self.event)
        self.integrator = as_method(integrator)
        self.adaptive = isinstance(self.integrator, Adaptive)
        # Rows that choose their own steps go in the core, wherever the model is.
        self.on_device = self.model.runs_on_device and not self.adaptive
        n = len(y0)
        self.tensor = y0.reshape(n, math.prod(self.event))
        self.grid = self._grid(sigmas, n)
        if isinstance(self.integrator, Adaptive):
            self._adaptive_grid()
        elif self.grid.size:
            # A grid that does not fall is refused, whatever is asked then.
            program = self.program
            if self.integrator.needs_noise:
                refuse_churn("integrator", self.integrator, self.model, program)
        self.log = None if checkpoint is None else Log(checkpoint)
        resumed = None if self.log is None else self.log.seed
        self.key = resumed if rng is None and resumed is not None else key_of(rng)
        self.seeded = rng is not None or resumed is not None
        self.first = whole("first_row", first_row, 0, 2**48)
        if threshold is not None and not isinstance(threshold, Threshold):
            threshold = Threshold(threshold)
        self.threshold = None if threshold is None else threshold._spec()
        self.on_nan = choice("on_nan", on_nan, _NAN_POLICIES)
        self.workers = resolve_threads(n_threads)
        self.brownian = self._paths(brownian)
        if self.adaptive:
            self._refuse("threshold", threshold is not None)
            self._refuse("brownian", brownian is not False)
            self._refuse("on_nan", on_nan == "ignore")
        self.y = np.empty((0, 0)) if self.on_device else rows_of("y0", self.tensor, model.dim)

    def _grid(self, sigmas: ArrayLike, n: int) -> Array:
        grid = np.ascontiguousarray(numbers("sigmas", to_numpy(sigmas)))
        if grid.ndim not in (1, 2) or grid.shape[-1] < 2 or (grid.ndim == 2 and len(grid) != n):
            raise ArgumentError(
                f"sigmas: shape {grid.shape} was given; (N + 1,) with at least one step is needed, "
                f"or ({n}, N + 1) with a grid for each row"
            )
        return held("sigmas", self.model, grid)

    def _adaptive_grid(self) -> None:
        """Refuse a way down that has no level above 0 to end at: it would be one denoising."""
        if self.grid.shape[-1] == 2 and (self.grid[..., 1] == 0).any():
            raise ArgumentError(
                f"sigmas: {self.grid.reshape(-1, 2)[0].tolist()} was given with "
                f"{self.integrator!r}; its steps go on in log s: give a small level above 0 before "
                "the last"
            )

    def _refuse(self, name: str, given: bool) -> None:
        if given:
            raise ArgumentError(
                f"{name}: given with {self.integrator!r}, whose steps have an error to keep; use "
                "an integrator on a fixed grid"
            )

    def _paths(self, given: bool | tuple[float, float]) -> tuple[float, float, float] | None:
        """The ends of Brownian paths, and how closely levels are met in log s."""
        if given is False:
            return None
        if given is True:
            above = self.grid[self.grid > 0]
            if not above.size:
                # No rows, each with a grid of its own.
                return None
            low, high = float(above.min()), float(above.max())
            if low == high:
                raise ArgumentError(
                    f"brownian: True was given with a grid whose only level above 0 is {low:g}; a "
                    "path needs two: give (lowest, highest) level, or leave it out"
                )
            return low, high, _TOLERANCE
        low, high = levels_of("brownian", given)
        return low, high, _TOLERANCE

    @property
    def dim(self) -> int:
        """Coordinates of a row."""
        return int(self.tensor.shape[1])

    @property
    def n_steps(self) -> int:
        """Steps of the grid."""
        return int(self.grid.shape[-1]) - 1

    @cached_property
    def program(self) -> _core.Program:
        """The integrator on the grid."""
        assert isinstance(self.integrator, Integrator)
        return self.integrator._program(self.grid)

    def langevin(self) -> tuple[float, str]:
        """How long Langevin steps are."""
        assert isinstance(self.integrator, Integrator)
        return self.integrator._langevin()

    def settings(self) -> dict[str, Any]:
        """How the core carries it out."""
        return {
            "key": self.key,
            "first": self.first,
            "threshold": self.threshold,
            "on_nan": self.on_nan,
            "langevin": self.langevin(),
            "brownian": self.brownian,
        }

    def shaped(self, y: Array) -> Any:
        """Points as they were given."""
        return like(self.given, y.reshape(*y.shape[:-1], *self.event))

    def identity(self) -> dict[str, Any]:
        """What makes a call the same call."""
        digest = blake2b(self.y.tobytes() + self.grid.tobytes(), digest_size=8).hexdigest()
        return {
            "version": _core.__version__,
            "isa": _core.isa_level,
            "method": "score.integrate",
            "seed": self.key,
            "dim": self.dim,
            "integrator": repr(self.integrator),
            "points and levels": digest,
            "first_row": self.first,
            "brownian": self.brownian,
            "threshold": self.threshold,
            "on_nan": self.on_nan,
        }

    def tell(
        self, callback: Callable[[int, float, Any], object], step: int, sigma: float, y: Any
    ) -> None:
        """Call what a user wants to be called after a step."""
        try:
            callback(step, sigma, y)
        except Exception as error:
            error.add_note(f"raised by the callback after step {step} of {self.n_steps}")
            raise

    def refuse_outside(self, executor: Any, target_factory: Any) -> None:
        """Refuse what a model on its device cannot have."""
        refuse_outside(executor=executor, target_factory=target_factory, checkpoint=self.log)

    def device_run(
        self,
        callback: Callable[[int, float, Any], object] | None,
        return_trajectory: bool,
        report: Report | None,
    ) -> Any:
        """The run in torch, on the device of the model."""
        from fermiac.score.device_integrate import integrate_on_device

        return integrate_on_device(self, callback, return_trajectory, report)
