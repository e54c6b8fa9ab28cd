"""From given points along given levels: integrators of the reverse equations."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from hashlib import blake2b
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._arguments import choice, numbers, yes
from fermiac._checkpoint import Checkpoint, Log
from fermiac._config import resolve_threads
from fermiac._progress import Report, finish, reporter
from fermiac._rng import RngLike, key_of, positive, whole
from fermiac.errors import ArgumentError, InternalError
from fermiac.executor import Sharded
from fermiac.score._adaptive import Adaptive, integrate_adaptive
from fermiac.score._base import Model, is_tensor, like, rows_of, to_numpy
from fermiac.score._integrators import Integrator, as_integrator
from fermiac.score._outside import asked
from fermiac.targets._factory import Factory

__all__ = ["Call", "Reached", "Threshold", "as_method", "integrate", "levels_of"]

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
        if not 0 < self.quantile <= 1:
            raise ArgumentError(
                f"threshold: a quantile of {self.quantile!r} given; above 0 and at most 1 is needed"
            )
        return "dynamic", bound, float(self.quantile)


def integrate(
    model: Model,
    y0: Any,
    sigmas: ArrayLike,
    integrator: str | Integrator | Adaptive = "dpmpp_2m",
    *,
    rng: RngLike = None,
    first_row: int = 0,
    brownian: bool | tuple[float, float] = False,
    threshold: float | Threshold | None = None,
    on_nan: str = "raise",
    callback: Callable[[int, float, Any], object] | None = None,
    return_trajectory: bool = False,
    n_threads: int | None = None,
    executor: Executor | Sharded | None = None,
    target_factory: str | Factory | None = None,
    checkpoint: str | PathLike[str] | Checkpoint | None = None,
    progress: bool | Report | None = None,
) -> Any:
    """Carry points down a grid of noise levels, to where the data is.

    Points y = x + s z follow the probability-flow equation dy/ds = (y - D(y, s)) / s, or the
    reverse stochastic equation with the same laws, from the first level to the last.

    Parameters
    ----------
    model : Model
        What denoises: `GaussianMixture`, `Empirical`, `ScoreModel`, ...
    y0 : array_like or torch.Tensor, shape (n, d) or (n, *event)
        Points at the first level.
    sigmas : array_like, shape (N + 1,) or (n, N + 1)
        The levels, strictly decreasing; the last may be 0. A grid for each row where there are
        two axes. See `karras` and the other schedules.
    integrator : str, Integrator or Adaptive, default "dpmpp_2m"
        How; `integrators` lists the names. ``"rk45"`` and ``"dop853"`` choose their own steps
        between the levels, each row for itself, to keep a tolerance; see `Adaptive`.
    rng : int, SeedSequence, Generator or None
        The seed, for integrators with noise. The noise of a row depends on the seed, the row and
        the step alone.
    first_row : int, default 0
        The number of the first row, so that parts of a large call, made one by one, get the noise
        that they would get in it.
    brownian : bool or tuple of float, default False
        Take the noise of a row from one Brownian path in the level, the same for all grids between
        the lowest and the highest level that is above 0, or between these two levels: finer
        grids then lead to the same points. It costs some dozens of normal numbers for each.
    threshold : float or Threshold, optional
        Hold denoised points to [-threshold, threshold], or as `Threshold` says.
    on_nan : {"raise", "freeze", "ignore"}, default "raise"
        What to do where the model gives a number that is not finite: fail, naming step, row and
        level; leave the row where it stood at the end of the step before; or go on with it.
    callback : callable, optional
        Called after every step with (step, level, y), step from 1, y a copy of all points, the
        level that of the first row.
    return_trajectory : bool, default False
        Give the points at all levels instead of the last.
    n_threads : int, optional
        Threads for a model that runs in Rust. They do not change the result.
    executor : Executor, optional
        Workers that evaluate the model, each for a part of the rows.
    target_factory : str or Factory, optional
        ``"module:function"`` that makes the model in a worker, where it cannot be pickled.
    checkpoint : path or Checkpoint, optional
        A file that keeps what the model gave; the same call resumes from it.
    progress : bool or callable, optional
        Show a progress bar (by default on a terminal only), or call this with (done, total) rows
        times steps.

    Returns
    -------
    ndarray or torch.Tensor, shape of `y0`
        The points at the last level; with `return_trajectory` shape (N + 1, n, ...). Torch in,
        torch out: on the same device, of the same type.

    Raises
    ------
    ArgumentError
        If an argument is outside of its domain; a grid that does not decrease is named with the
        index.
    TargetError
        If the model gives a wrong shape, or numbers that are not finite.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` is a `Reached` with the points and their levels.

    Notes
    -----
    A last step to level 0 is y = D(y, s) with every integrator. Results of models that run in Rust
    have the same bits on any number of threads and in any split of the rows.

    References
    ----------
    .. [1] Y. Song et al., "Score-based generative modeling through stochastic differential
       equations", 2021.
    .. [2] T. Karras et al., "Elucidating the design space of diffusion-based generative models",
       2022.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> m = fm.score.GaussianMixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], [0.04, 0.04])
    >>> y0 = 10 * np.random.default_rng(0).standard_normal((1000, 2))
    >>> x = fm.score.integrate(m, y0, fm.score.karras(20, 0.02, 10.0), "dpmpp_2m")
    >>> bool(abs(x.var(axis=0) - [1.04, 0.04]).max() < 0.05)
    True
    """
    call = Call(
        model,
        y0,
        sigmas,
        integrator,
        rng,
        first_row,
        brownian,
        threshold,
        on_nan,
        n_threads,
        checkpoint,
    )
    return_trajectory = yes("return_trajectory", return_trajectory)
    if callback is not None:
        if not callable(callback):
            raise ArgumentError(f"callback: {callback!r:.60} given; a function is needed")
        if call.adaptive:
            call._refuse("callback", True)
    with reporter(progress, "integrate", "steps") as report:
        if call.on_device:
            call.refuse_outside(executor, target_factory)
            return call.device_run(callback, return_trajectory, report)
        return _run(call, callback, return_trajectory, executor, target_factory, report)


def levels_of(name: str, given: tuple[float, float]) -> tuple[float, float]:
    """Take a lowest and a highest level."""
    try:
        low, high = given
    except (TypeError, ValueError):
        raise ArgumentError(
            f"{name}: {given!r:.60} given; (lowest, highest) level is needed"
        ) from None
    low, high = positive(name, low), positive(name, high)
    if low >= high:
        raise ArgumentError(
            f"{name}: ({low:g}, {high:g}) given; the lowest level must be below the highest"
        )
    return low, high


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
        if not isinstance(model, Model):
            raise ArgumentError(
                f"model: {type(model).__name__} given; a score model is needed: one of "
                "fermiac.score, or ScoreModel(...) of a network or function"
            )
        self.given = y0
        self.event = tuple(y0.shape[1:]) if is_tensor(y0) else np.shape(y0)[1:]
        self.model = model._shaped(self.event)
        self.integrator = as_method(integrator)
        self.adaptive = isinstance(self.integrator, Adaptive)
        # Rows that choose their own steps go in the core, wherever the model is.
        self.on_device = self.model.runs_on_device and not self.adaptive
        n = len(y0) if np.ndim(y0) else 0
        flat = y0.reshape(n, -1) if is_tensor(y0) else np.reshape(y0, (n, -1)) if n else y0
        self.tensor = flat
        self.grid = self._grid(sigmas, n)
        self.log = None if checkpoint is None else Log(checkpoint)
        resumed = None if self.log is None else self.log.seed
        self.key = resumed if rng is None and resumed is not None else key_of(rng)
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
        self.y = np.empty((0, 0)) if self.on_device else rows_of("y0", self._empty(flat), model.dim)

    def _empty(self, flat: Any) -> Any:
        # No rows have no coordinates that could be counted.
        if len(self.given) or len(self.event) < 1:
            return flat
        return np.empty((0, int(np.prod(self.event))))

    def _grid(self, sigmas: ArrayLike, n: int) -> Array:
        grid = np.ascontiguousarray(numbers("sigmas", to_numpy(sigmas)))
        if grid.ndim not in (1, 2) or grid.shape[-1] < 2 or (grid.ndim == 2 and len(grid) != n):
            raise ArgumentError(
                f"sigmas: shape {grid.shape} was given; (N + 1,) with at least one step is needed, "
                f"or ({n}, N + 1) with a grid for each row"
            )
        return self.model._within(grid.reshape(-1)).reshape(grid.shape)

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
            return float(above.min()), float(above.max()), _TOLERANCE
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

    def program(self) -> _core.Program:
        """The integrator on the grid."""
        assert isinstance(self.integrator, Integrator)
        return self.integrator._program(self.grid)

    def langevin(self) -> tuple[float, bool]:
        """The length of Langevin steps, and whether norms are averaged over the rows."""
        assert isinstance(self.integrator, Integrator)
        return self.integrator._langevin()

    def settings(self) -> dict[str, Any]:
        """How the core carries it out."""
        snr, batch_norm = self.langevin()
        return {
            "key": self.key,
            "first": self.first,
            "threshold": self.threshold,
            "on_nan": self.on_nan,
            "snr": snr,
            "batch_norm": batch_norm,
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

    def refuse_outside(self, executor: Any, target_factory: Any) -> None:
        """Refuse what a model on its device cannot have."""
        for name, value in (
            ("executor", executor),
            ("target_factory", target_factory),
            ("checkpoint", self.log),
        ):
            if value is not None:
                raise ArgumentError(
                    f"{name}: given for a model whose whole loop runs on its device; make it with "
                    "ScoreModel(..., on_device=False), or leave it out"
                )

    def device_run(
        self,
        callback: Callable[[int, float, Any], object] | None,
        return_trajectory: bool,
        report: Report | None,
    ) -> Any:
        """The run in torch, on the device of the model."""
        from fermiac.score._device_integrate import integrate_on_device

        return integrate_on_device(self, callback, return_trajectory, report)


def _run(
    call: Call,
    callback: Callable[[int, float, Any], object] | None,
    keep_path: bool,
    executor: Executor | Sharded | None,
    target_factory: str | Factory | None,
    report: Report | None,
) -> Any:
    total = len(call.y) * call.n_steps
    with asked(
        call.model,
        call.dim,
        executor=executor,
        target_factory=target_factory,
        log=call.log,
        identity=call.identity,
        n_threads=call.workers,
        report=report,
        total=total,
    ) as (core, shown):
        if isinstance(call.integrator, Adaptive):
            y, path = _adaptive(call, core, call.integrator, keep_path, shown)
        elif callback is not None:
            y, path = _with_callback(call, core, callback, keep_path, shown)
        else:
            raw, error = _core.score_integrate(
                core, call.program(), call.y, call.settings(), keep_path, call.workers, shown
            )
            if error is not None or raw is None:
                raise _stopped(call, error, None if raw is None else raw[:2])
            y, _, rows = raw
            path = None if rows is None else np.ascontiguousarray(rows.swapaxes(0, 1))
    result = call.shaped(y if path is None else path)
    finish(shown, total, result)
    return result


def _stopped(
    call: Call, error: BaseException | None, reached: tuple[Array, Array] | None
) -> BaseException:
    """The exception that ended a call, with where the points stand."""
    error = InternalError("a run ended without a result") if error is None else error
    if reached is not None:
        error.partial_result = Reached(call.shaped(reached[0]), reached[1])  # type: ignore[attr-defined]
    return error


def _adaptive(
    call: Call, core: Any, integrator: Adaptive, keep_path: bool, report: Report | None
) -> tuple[Array, Array | None]:
    """With steps that rows choose for themselves."""
    raw, error = integrate_adaptive(
        core,
        call.y,
        call.grid,
        integrator,
        on_nan=call.on_nan,
        return_trajectory=keep_path,
        n_threads=call.workers,
        report=report,
    )
    if error is not None or raw is None:
        raise _stopped(call, error, None if raw is None else (raw["y"], raw["sigma"]))
    return raw["y"], np.ascontiguousarray(raw["trajectory"].swapaxes(0, 1)) if keep_path else None


def _with_callback(
    call: Call,
    core: Any,
    callback: Callable[[int, float, Any], object],
    keep_path: bool,
    report: Report | None,
) -> tuple[Array, Array | None]:
    """Step by step, with a look at every one."""
    run = _core.ScoreRun(core, call.program(), call.y, call.settings())
    y, n = call.y, len(call.y)
    path = [y]
    for step in range(1, call.n_steps + 1):
        try:
            run.step(core, call.workers)
            (y, sigma, _), _ = run.reached()
            if keep_path:
                path.append(y)
            callback(step, float(sigma[0]) if n else 0.0, call.shaped(y.copy()))
            if report is not None:
                report(step * n, call.n_steps * n)
        except BaseException as error:
            (y, sigma, _), _ = run.reached()
            error.partial_result = Reached(call.shaped(y), sigma)  # type: ignore[attr-defined]
            raise
    return y, np.stack(path) if keep_path else None
