"""Checked arguments of score calls: models, levels, integrators and the settings of a call."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.ask import ask
from fermiac._base.config import resolve_threads
from fermiac._base.progress import Report
from fermiac._base.tensors import like, to_numpy
from fermiac._base.validate import (
    RngLike,
    choice,
    key_of,
    numbers,
    positive,
    real,
    shown,
    whole,
)
from fermiac.errors import ArgumentError, ConvergenceWarning, FermiacWarning
from fermiac.results.result import Finding
from fermiac.runs.checkpoint import Log
from fermiac.score.adaptive import Adaptive
from fermiac.score.flow_times import FlowTimes
from fermiac.score.integrator import AnyIntegrator, Integrator
from fermiac.score.methods import INTEGRATORS
from fermiac.score.model import SLACK, Model, points_of, rows_of
from fermiac.score.noise import PROBE
from fermiac.targets.factories import Factory

__all__ = [
    "Call",
    "PartialSolution",
    "Threshold",
    "as_model",
    "frozen_findings",
    "level_range",
    "levels_within",
    "range_findings",
    "range_of",
    "refuse_churn",
    "refuse_on_device",
]

Array = NDArray[np.float64]


def as_model(given: object, in_order: bool = False) -> Model:
    """Return the score model that was given, or refuse it.

    Models that need all rows in order, evaluation by evaluation, are refused if the caller does not
    work in this way.
    """
    if isinstance(given, Factory):
        made = given.made()
        if not isinstance(made, Model):
            raise given.error(made, "a score model")
        object.__setattr__(made, "_origin", (as_model, (given, in_order)))
        given = made
    if not isinstance(given, Model):
        raise ArgumentError(
            f"model: {type(given).__name__} given; a score model is needed: one of fermiac.score, "
            "or ScoreModel(...) of a network or function"
        )
    if given._needs_order and not in_order:
        raise ArgumentError(
            "model: it has a scale or a condition for each row, or a momentum, and needs all rows "
            "in their order; integrate, sample and stepper on a fixed grid have them, without an "
            "executor"
        )
    return given


def level_range(name: str, given: Any) -> tuple[float, float]:
    """Return a lowest and a highest level, both above 0."""
    try:
        low, high = given
    except (TypeError, ValueError):
        raise ArgumentError(
            f"{name}: {shown(given)} was given; (lowest, highest) level is needed"
        ) from None
    low, high = positive(name, low), positive(name, high)
    if low >= high:
        raise ArgumentError(
            f"{name}: ({low:g}, {high:g}) given; the lowest level must be below the highest"
        )
    return low, high


def range_of(model: Model, given: tuple[float, float] | None) -> tuple[float, float]:
    """Return the lowest and the highest level of a call, within the range of the model."""
    if given is None:
        low, high = model._sampling_range()
        if low <= 0:
            raise ArgumentError(
                f"sigma_range: not given, and the model's own begins at {low:g}; give (lowest, "
                "highest) level, the lowest above 0"
            )
        return low, high
    low, high = levels_within(
        "sigma_range", model, np.array(level_range("sigma_range", given))
    ).tolist()
    return low, high


def levels_within(name: str, model: Model, levels: Array) -> Array:
    """Return levels, all different, within the range of a model; `name` is the argument."""
    within = model._within(levels, name)
    # The levels of a grid are the last axis.
    if within is not levels and (np.diff(np.sort(within, axis=-1)) == 0).any():
        raise ArgumentError(
            f"{name}: two levels or more lie beyond the model's range on one side, where "
            "clamp=True makes them one; give levels inside, and one beyond at most"
        )
    return within


def refuse_churn(name: str, integrator: Integrator, model: Model, program: _core.Program) -> None:
    """Refuse steps whose added noise exceeds the range of the model."""
    if model.sigma_range is None:
        return
    high = model.sigma_range[1]
    at = [op[3] for op in program.ops if op[0] == "denoise"]
    top = float(program.coefficients[..., at].max(initial=0.0))
    if top > high * (1 + SLACK):
        raise ArgumentError(
            f"{name}: {shown(integrator, 100)} adds noise up to level {top:g}, where the model's "
            f"range ends at {high:g}; give a churn_range that ends at {high / math.sqrt(2):.6g}, "
            "or below"
        )


def refuse_on_device(**given: object) -> None:
    """Refuse arguments that a model on its device does not support, if they were given."""
    for name, value in given.items():
        if value is not None:
            raise ArgumentError(
                f"{name}: given for a model whose whole loop runs on its device; make it with "
                "ScoreModel(..., on_device=False), or leave it out"
            )


def range_findings(model: Model, high: float, dim: int, factor: float = 10.0) -> list[Finding]:
    """Return the warning that noise of the highest level does not hide the data.

    If it does, denoised points of noise are near the mean of the data, which is near 0 on the scale
    of the level: `factor` times their size is below it. They are made at 64 points that are always
    the same. The modes of an exact model must also be closer to each other than the level.
    """
    if model._needs_order or model._needs_run:
        return []
    n = min(64, max(_NUMBERS // dim, 1))
    z = _core.score_noise(0, PROBE, 0, n, 0, dim, 0)[0]
    try:
        with model._held(), np.errstate(all="ignore"):
            made = np.asarray(model._denoise(high * z, np.array([high])))
            size = float(np.sqrt(np.square(made).mean(axis=0)).max())
    except Exception:
        # The run itself has ended well, and its result is not lost in a check.
        return []
    needed = max(factor * size, model._diameter)
    if not high * (1 + SLACK) < needed < np.inf:
        return []
    text = (
        f"sigma_range: its highest level {high:.4g} is not large against the data, so that pure "
        "noise is far from the law there: modes may be missed, and densities are wrong; take about "
        f"{needed:.2g} or more"
    )
    return [(ConvergenceWarning, text)]


def frozen_findings(frozen: int, n: int) -> list[Finding]:
    """Return the warning about rows, out of `n`, with values of the model that are not finite."""
    text = (
        f"{frozen} of {n} rows were frozen on their way, where the model gave a number that is not "
        "finite"
    )
    return [(FermiacWarning, text)] if frozen else []


#: The most numbers of the points at which the highest level is judged.
_NUMBERS = 1 << 20
#: The treatments of rows for which a model gives no finite number.
_NAN_POLICIES = ("raise", "freeze", "ignore")
#: The tolerance with which Brownian paths meet a level, in log s.
_TOLERANCE = 1e-5


class PartialSolution(NamedTuple):
    """The points of a call that was stopped: the ``partial_result`` of its exception.

    Attributes
    ----------
    y : ndarray or torch.Tensor
        The points.
    sigma : ndarray, shape (n,)
        The level of each point. To continue, integrate from there.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> part = fm.score.PartialSolution(np.zeros((2, 1)), np.array([3.0, 3.0]))
    >>> part.y.shape, part.sigma
    ((2, 1), array([3., 3.]))
    """

    y: Any
    sigma: Array


class Threshold(NamedTuple):
    """A range to which denoised points are clipped.

    Parameters
    ----------
    bound : float, default 1.0
        The range of the data is from -bound to bound.
    quantile : float, optional
        If given, each row is clipped to [-q, q] and scaled by bound / q [1]_, where q is this
        quantile of its absolute values but at least `bound`. Otherwise each row is clipped to the
        bound.

    References
    ----------
    .. [1] C. Saharia et al., "Photorealistic text-to-image diffusion models with deep language
       understanding", 2022, arXiv:2205.11487.

    Examples
    --------
    >>> import fermiac as fm
    >>> m = fm.score.Gaussian([0.0], [[1.0]])
    >>> x = fm.score.sample(
    ...     m,
    ...     100,
    ...     n_steps=10,
    ...     sigma_range=(0.01, 10.0),
    ...     threshold=fm.score.Threshold(1.0),
    ...     rng=0,
    ... )
    >>> bool(abs(x.draws).max() <= 1.0)
    True
    """

    bound: float = 1.0
    quantile: float | None = None

    def _spec(self) -> tuple[str, float, float]:
        bound = positive("threshold", self.bound)
        if self.quantile is None:
            return "static", bound, 1.0
        needed = "a quantile above 0 and at most 1 is needed"
        return "dynamic", bound, real("threshold", self.quantile, needed, lambda q: 0 < q <= 1)


class Call:
    """The checked arguments of `integrate` and `stepper`."""

    def __init__(
        self,
        model: Model,
        y0: Any,
        sigmas: ArrayLike,
        integrator: str | AnyIntegrator,
        rng: RngLike,
        first_row: int,
        brownian: bool | tuple[float, float],
        threshold: float | Threshold | None,
        on_nan: str,
        n_threads: int | None,
        log: Log | None = None,
    ) -> None:
        #: The doubts about the result, to which the run adds.
        self.findings: list[Finding] = []
        self.integrator = INTEGRATORS.resolve(integrator)
        self.adaptive = isinstance(self.integrator, Adaptive)
        model = as_model(model, in_order=not self.adaptive)
        self.given = y0 = points_of("y0", y0)
        self.event = tuple(y0.shape[1:])
        self.model = model._shaped(self.event)._begun()
        # Adaptive steps run in the core, wherever the model is.
        self.on_device = self.model.runs_on_device and not self.adaptive
        n = len(y0)
        self.tensor = y0.reshape(n, math.prod(self.event))
        self.grid = self._grid(sigmas, n)
        if isinstance(self.integrator, Integrator) and self.integrator._pairs():
            self.model = self.model._plus_plus(self.grid)
        if isinstance(self.integrator, Adaptive):
            self._adaptive_grid()
        elif self.grid.size:
            # A grid that does not decrease is refused here.
            program, fixed = self.program, self._fixed
            if fixed.needs_noise:
                refuse_churn("integrator", fixed, self.model, program)
        self.log = log
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
        if isinstance(sigmas, FlowTimes):
            raise ArgumentError(
                "sigmas: times of a flow model were given; noise levels are needed: pass .levels"
            )
        grid = np.ascontiguousarray(numbers("sigmas", to_numpy(sigmas)))
        if grid.ndim not in (1, 2) or grid.shape[-1] < 2 or (grid.ndim == 2 and len(grid) != n):
            raise ArgumentError(
                f"sigmas: shape {grid.shape} was given; (N + 1,) with at least one step is needed, "
                f"or ({n}, N + 1) with a grid for each row"
            )
        return levels_within("sigmas", self.model, grid)

    def _adaptive_grid(self) -> None:
        """Refuse a grid with a single level above 0, which would be a single denoising step."""
        if self.grid.shape[-1] == 2 and (self.grid[..., 1] == 0).any():
            raise ArgumentError(
                f"sigmas: {self.grid.reshape(-1, 2)[0].tolist()} was given with "
                f"{shown(self.integrator)}; its steps go on in log s: give a small level above 0 "
                "before the last"
            )

    def _refuse(self, name: str, given: bool) -> None:
        if given:
            raise ArgumentError(
                f"{name}: given with {shown(self.integrator)}, whose steps have an error to keep; "
                "use an integrator on a fixed grid"
            )

    def _paths(self, given: bool | tuple[float, float]) -> tuple[float, float, float] | None:
        """Return the ends of Brownian paths and the tolerance of levels in log s."""
        if given is False:
            return None
        if given is True:
            above = self.grid[self.grid > 0]
            if not above.size:
                # There are no rows.
                return None
            low, high = float(above.min()), float(above.max())
            if low == high:
                raise ArgumentError(
                    f"brownian: True was given with a grid whose only level above 0 is {low:g}; a "
                    "path needs two: give (lowest, highest) level, or leave it out"
                )
            return low, high, _TOLERANCE
        low, high = level_range("brownian", given)
        return low, high, _TOLERANCE

    @property
    def dim(self) -> int:
        """Coordinates of a row."""
        return int(self.tensor.shape[1])

    @property
    def n_steps(self) -> int:
        """Steps of the grid."""
        return int(self.grid.shape[-1]) - 1

    @property
    def n_evals(self) -> int:
        """Evaluations of all rows with fixed steps."""
        zero = bool(self.grid.size) and not self.grid[..., -1].any()
        return len(self.tensor) * self._fixed.n_evals(self.n_steps, zero)

    @property
    def _fixed(self) -> Integrator:
        assert isinstance(self.integrator, Integrator)
        return self.integrator

    @cached_property
    def program(self) -> _core.Program:
        """The program of the integrator on the grid."""
        return self._fixed._program(self.grid)

    def langevin(self) -> tuple[float, str]:
        """Return the relative length and the norm of Langevin steps."""
        return self._fixed._langevin()

    def settings(self) -> dict[str, Any]:
        """Return the settings of the run in the core."""
        return {
            "key": self.key,
            "first": self.first,
            "threshold": self.threshold,
            "on_nan": self.on_nan,
            "langevin": self.langevin(),
            "brownian": self.brownian,
        }

    def shaped(self, y: Array) -> Any:
        """Return points in the shape and the type of the points given."""
        return like(self.given, y.reshape(*y.shape[:-1], *self.event))

    def identity(self) -> dict[str, Any]:
        """Return the settings by which a store identifies the call."""
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

    def report_step(
        self, callback: Callable[[int, float, Any], object], step: int, sigma: float, y: Any
    ) -> None:
        """Call the callback of a user after a step."""
        ask(callback, (step, sigma, y), "the callback", f"after step {step} of {self.n_steps}")

    def refuse_on_device(self, executor: Any) -> None:
        """Refuse arguments that a model on its device does not support."""
        refuse_on_device(executor=executor, store=self.log)

    def device_run(
        self,
        callback: Callable[[int, float, Any], object] | None,
        return_trajectory: bool,
        report: Report | None,
    ) -> Any:
        """Integrate in torch, on the device of the model."""
        from fermiac.score.device_program import integrate_on_device

        return integrate_on_device(self, callback, return_trajectory, report)
