"""From given points along given levels: integrators of the reverse equations."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.progress import Report, finish, reporter
from fermiac._base.validate import RngLike, yes
from fermiac.errors import ArgumentError, InternalError
from fermiac.runs.checkpoint import Checkpoint
from fermiac.runs.executor import Sharded
from fermiac.score.adaptive import Adaptive, integrate_adaptive
from fermiac.score.arguments import Call, Reached, Threshold
from fermiac.score.executor_model import asked
from fermiac.score.frozen_rows import tell_frozen
from fermiac.score.model import Model
from fermiac.score.single_step import Integrator
from fermiac.targets.factories import Factory

__all__ = ["integrate"]

Array = NDArray[np.float64]


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
        level; leave the row where it stood at the end of the step before, with a warning of how
        many rows were left; or go on with it.
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
    A last step to level 0 is y = D(y, s) with every integrator; `UniPC` gives D at its prediction,
    which it has asked for. Results of models that run in Rust have the same bits on any number of
    threads and in any split of the rows.

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
        if not len(call.given):
            # No rows ask nothing, wherever they go.
            path = [call.n_steps + 1] if return_trajectory else []
            nothing = call.shaped(np.empty((*path, 0, call.dim)))
            finish(report, 0, nothing)
            return nothing
        if call.on_device:
            return call.device_run(callback, return_trajectory, report)
        return _run(call, callback, return_trajectory, executor, target_factory, report)


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
            y, sigma, path = _adaptive(call, core, call.integrator, keep_path, shown)
        elif callback is not None:
            y, sigma, path = _with_callback(call, core, callback, keep_path, shown)
        else:
            raw, error = _core.score_integrate(
                core, call.program, call.y, call.settings(), keep_path, call.workers, shown
            )
            if error is not None or raw is None:
                raise _stopped(call, error, None if raw is None else raw[:2])
            y, sigma, rows = raw
            path = None if rows is None else np.ascontiguousarray(rows.swapaxes(0, 1))
    result = call.shaped(y if path is None else path)
    finish(shown, total, result)
    tell_frozen(int(np.count_nonzero(sigma != call.grid[..., -1])), len(y))
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
) -> tuple[Array, Array, Array | None]:
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
    path = np.ascontiguousarray(raw["trajectory"].swapaxes(0, 1)) if keep_path else None
    return raw["y"], raw["sigma"], path


def _with_callback(
    call: Call,
    core: Any,
    callback: Callable[[int, float, Any], object],
    keep_path: bool,
    report: Report | None,
) -> tuple[Array, Array, Array | None]:
    """Step by step, with a look at every one."""
    run = _core.ScoreRun(core, call.program, call.y, call.settings())
    y, n = call.y, len(call.y)
    sigma = np.broadcast_to(call.grid[..., 0], n)
    path = [y]
    for step in range(1, call.n_steps + 1):
        try:
            run.step(core, call.workers)
            (y, sigma, _), _ = run.reached()
            if keep_path:
                path.append(y)
            call.tell(callback, step, float(sigma[0]) if n else 0.0, call.shaped(y.copy()))
            if report is not None:
                report(step * n, call.n_steps * n)
        except BaseException as error:
            (y, sigma, _), _ = run.reached()
            error.partial_result = Reached(call.shaped(y), sigma)  # type: ignore[attr-defined]
            raise
    return y, sigma, np.stack(path) if keep_path else None
