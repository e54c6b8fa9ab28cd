"""Integration of points along noise levels, and sampling from noise."""

from __future__ import annotations

import math
import time
import warnings
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.calls import public, users_level
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import Report, finish, reporter
from fermiac._base.store import VALUES
from fermiac._base.tensors import like
from fermiac._base.validate import RngLike, choice, key_of, shown, whole, yes
from fermiac.errors import ArgumentError, FermiacWarning, InternalError
from fermiac.results.result import Finding, is_quiet
from fermiac.runs.checkpoint import Log
from fermiac.runs.executor import ExecutorLike
from fermiac.runs.loop import run_and_warn
from fermiac.runs.parts import keeps_state
from fermiac.score.adaptive import Adaptive, integrate_adaptive
from fermiac.score.arguments import (
    Call,
    PartialSolution,
    Threshold,
    as_model,
    frozen_findings,
    range_findings,
    range_of,
)
from fermiac.score.drawn import Drawn
from fermiac.score.executor_model import evaluated_model
from fermiac.score.integrator import AnyIntegrator, Integrator
from fermiac.score.methods import INTEGRATORS, IntegratorName
from fermiac.score.model import Model, reserve
from fermiac.score.noise import START
from fermiac.score.rows import OF_CALL, Rows, integrate_rows, sample_rows
from fermiac.score.schedules import ScheduleName, schedule_of
from fermiac.score.split import Split
from fermiac.targets.torch_modules import import_torch

__all__ = ["event_of", "integrate", "sample", "start_noise"]

Array = NDArray[np.float64]


@public
def integrate(
    model: Model,
    y0: Any,
    sigmas: ArrayLike,
    integrator: IntegratorName | AnyIntegrator = "dpmpp_2m",
    *,
    rng: RngLike = None,
    first_row: int = 0,
    brownian: bool | tuple[float, float] = False,
    threshold: float | Threshold | None = None,
    on_nan: Literal["raise", "freeze", "ignore"] = "raise",
    callback: Callable[[int, float, Any], object] | None = None,
    return_trajectory: bool = False,
    plan: PlanLike | None = None,
) -> Any:
    """Transport points down a grid of noise levels, from noise towards the data.

    Points y = x + s z follow the probability-flow equation dy/ds = (y - D(y, s)) / s, or the
    reverse stochastic equation with the same laws, from the first level to the last.

    Parameters
    ----------
    model : Model
        The denoiser: `GaussianMixture`, `Empirical`, `ScoreModel`, ...
    y0 : array_like or torch.Tensor, shape (n, d) or (n, *event)
        Points at the first level.
    sigmas : array_like, shape (N + 1,) or (n, N + 1)
        The levels, strictly decreasing; the last may be 0. With two axes, each row has its own
        grid. See `karras` and the other schedules.
    integrator : str, Integrator or Adaptive, default "dpmpp_2m"
        The integrator; `integrators` lists the names, and explains those of other programs.
        ``"rk45"`` and ``"dop853"`` choose their own steps between the levels, separately for each
        row, within a tolerance; see `Adaptive`.
    rng : int, SeedSequence, Generator or None
        The seed, for integrators with noise. The noise of a row depends on the seed, the row and
        the step alone.
    first_row : int, default 0
        The number of the first row. Parts of a large call that are computed separately then get the
        same noise as in the large call.
    brownian : bool or tuple of float, default False
        Take the noise of a row from one Brownian path, a function of the level. The path is the
        same for all grids with the same lowest level above 0 and the same highest level, or for all
        grids between two given levels. Finer grids then lead to the same points. Each increment
        costs a few dozen normal numbers.
    threshold : float or Threshold, optional
        Clip denoised points to [-threshold, threshold], or as specified by a `Threshold`.
    on_nan : {"raise", "freeze", "ignore"}, default "raise"
        The treatment of values of the model that are not finite. ``"raise"`` fails and names the
        step, the row and the level. ``"freeze"`` leaves the row at the end of the previous step,
        with a warning about the number of such rows. ``"ignore"`` continues.
    callback : callable, optional
        A function that is called after every step with (step, level, y): the number of the step
        from 1, the level of the first row, and a copy of all points.
    return_trajectory : bool, default False
        Return the points at all levels instead of those at the last.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``, ``part``); see
        `fermiac.Plan`. ``part``: (i, n) makes the rows of part i of n, counted from 0, for
        independent jobs. `fermiac.merge` of the parts has the rows of the whole call. ``store``: a
        folder for the values of the model, from which the same call resumes. With an executor or a
        part each process writes finished blocks of rows instead, which need `rng`.

    Returns
    -------
    ndarray or torch.Tensor, shape of `y0`
        The points at the last level; with `return_trajectory` of shape (N + 1, n, ...). For a
        tensor the result is a tensor on the same device and of the same type. With `part` a
        `Rows`, whose ``array`` has the points.

    Raises
    ------
    ArgumentError
        If an argument is outside of its domain. The message for a grid that does not decrease
        names the index.
    TargetError
        If the model gives a wrong shape, or numbers that are not finite.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` is a `PartialSolution` with the points and their levels.

    Notes
    -----
    A last step to level 0 is y = D(y, s) with every integrator; `UniPC` takes D at its prediction,
    which has been evaluated already. Results of models that run in Rust have the same bits on any
    number of threads and in any split of the rows.

    References
    ----------
    .. [1] Y. Song et al., "Score-based generative modeling through stochastic differential
       equations", 2021, arXiv:2011.13456.
    .. [2] T. Karras et al., "Elucidating the design space of diffusion-based generative models",
       2022, arXiv:2206.00364.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> m = fm.score.GaussianMixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], [0.04, 0.04])
    >>> y0 = 10 * np.random.default_rng(0).standard_normal((1000, 2))
    >>> x = fm.score.integrate(m, y0, fm.score.karras(20, 0.02, 10.0), "dpmpp_2m")
    >>> bool(abs(x.var(axis=0) - [1.04, 0.04]).max() < 0.05)
    True
    """
    where = plan_of(plan, "executor", "store", "part")
    given = {name: value for name, value in locals().items() if name not in OF_CALL}
    whole_run = (
        keeps_state(where, callback is not None or return_trajectory, VALUES)
        and not as_model(model, in_order=True).runs_on_device
    )
    if where.part is not None or (where.store is not None and not whole_run):
        split = Split(where, rng)
        rows = integrate_rows(integrate, model, y0, sigmas, given, split, first_row)
        return rows if where.part is not None else like(y0, rows.array)
    call = Call(
        model, y0, sigmas, integrator, rng, first_row, brownian, threshold, on_nan, where.n_threads,
        Log.of(where),
    )  # fmt: skip
    made, _ = _run(call, callback, return_trajectory, where.executor, where.progress)
    for category, text in call.findings:
        warnings.warn(text, category, stacklevel=users_level())
    return made


def _run(
    call: Call,
    callback: Callable[[int, float, Any], object] | None,
    keep_path: bool,
    executor: ExecutorLike | None,
    progress: bool | Report | None,
) -> tuple[Any, int]:
    """Return the points at the last level, or at all, and the evaluations of the model."""
    keep_path = yes("return_trajectory", keep_path)
    if callback is not None:
        if not callable(callback):
            raise ArgumentError(f"callback: {shown(callback)} given; a function is needed")
        if call.adaptive:
            call._refuse("callback", True)
    n_evals = 0 if call.adaptive else call.n_evals
    with reporter(progress, "integrate", "steps") as report:
        if call.on_device:
            call.refuse_on_device(executor)
        if not len(call.given):
            # Without rows there is nothing to evaluate.
            path = [call.n_steps + 1] if keep_path else []
            nothing = call.shaped(np.empty((*path, 0, call.dim)))
            finish(report, 0, nothing)
            return nothing, 0
        if call.on_device:
            return call.device_run(callback, keep_path, report), n_evals
        total = len(call.y) * call.n_steps
        with evaluated_model(
            call.model,
            call.dim,
            executor=executor,
            log=call.log,
            identity=call.identity,
            n_threads=call.workers,
            report=report,
            total=total,
        ) as (core, tick):
            rows: Array | None
            if isinstance(call.integrator, Adaptive):
                y, sigma, rows, n_evals = _adaptive(call, core, call.integrator, keep_path, tick)
            elif callback is not None:
                y, sigma, rows = _with_callback(call, core, callback, keep_path, tick)
            else:
                raw, error = _core.score_integrate(
                    core, call.program, call.y, call.settings(), keep_path, call.workers, tick
                )
                if error is not None or raw is None:
                    raise _stopped(call, error, None if raw is None else raw[:2])
                y, sigma, rows = raw
                rows = None if rows is None else np.ascontiguousarray(rows.swapaxes(0, 1))
        result = call.shaped(y if rows is None else rows)
        finish(tick, total, result)
    call.findings += frozen_findings(int(np.count_nonzero(sigma != call.grid[..., -1])), len(y))
    return result, n_evals


def _stopped(
    call: Call, error: BaseException | None, reached: tuple[Array, Array] | None
) -> BaseException:
    """Return the exception that ended a call, with the points reached."""
    error = InternalError("a run ended without a result") if error is None else error
    if reached is not None:
        error.partial_result = PartialSolution(call.shaped(reached[0]), reached[1])  # type: ignore[attr-defined]
    return error


def _adaptive(
    call: Call, core: Any, integrator: Adaptive, keep_path: bool, report: Report | None
) -> tuple[Array, Array, Array | None, int]:
    """Integrate with adaptive steps."""
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
    return raw["y"], raw["sigma"], path, int(raw["n_evals"].sum())


def _with_callback(
    call: Call,
    core: Any,
    callback: Callable[[int, float, Any], object],
    keep_path: bool,
    report: Report | None,
) -> tuple[Array, Array, Array | None]:
    """Integrate step by step, with a callback after each."""
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
            call.report_step(callback, step, float(sigma[0]) if n else 0.0, call.shaped(y))
            if report is not None:
                report(step * n, call.n_steps * n)
        except BaseException as error:
            (y, sigma, _), _ = run.reached()
            error.partial_result = PartialSolution(call.shaped(y), sigma)  # type: ignore[attr-defined]
            raise
    return y, sigma, np.stack(path) if keep_path else None


_Schedule: TypeAlias = ScheduleName | Callable[[int, float, float], ArrayLike]


@public
def sample(
    model: Model,
    n: int,
    dim: int | Sequence[int] | None = None,
    n_steps: int | None = None,
    integrator: IntegratorName | AnyIntegrator = "dpmpp_2m",
    schedule: _Schedule = "karras",
    sigma_range: tuple[float, float] | None = None,
    *,
    final: Literal["zero", "min"] = "zero",
    nfe_budget: int | None = None,
    rng: RngLike = None,
    first_row: int = 0,
    brownian: bool | tuple[float, float] = False,
    threshold: float | Threshold | None = None,
    on_nan: Literal["raise", "freeze", "ignore"] = "raise",
    callback: Callable[[int, float, Any], object] | None = None,
    return_trajectory: bool = False,
    as_tensor: bool = False,
    plan: PlanLike | None = None,
) -> Drawn | Rows:
    """Draw from the law of a score model: integrate noise of the highest level down to the data.

    Parameters
    ----------
    model : Model
        The denoiser.
    n : int
        The number of points.
    dim : int or sequence of int, optional
        The number of coordinates of a point, or its shape; by default the model's.
    n_steps : int, default 10
        Steps, the one to level 0 included.
    integrator : str, Integrator or Adaptive, default "dpmpp_2m"
        The integrator; see `integrate`.
    schedule : str or callable, default "karras"
        The schedule of the levels: ``"karras"``, ``"exponential"``, ``"polyexponential"``,
        ``"poly_t"``, ``"vp_uniform"``, or a function of (number of steps, lowest, highest level)
        that returns the levels, from the highest to the lowest.
    sigma_range : tuple of float, optional
        The lowest and the highest level; by default the model's.
    final : {"zero", "min"}, default "zero"
        Whether a last step denoises the points of the lowest level.
    nfe_budget : int, optional
        The number of model calls; it replaces `n_steps` by the largest number of steps for these
        calls.
    rng : int, SeedSequence, Generator or None
        The seed of the starting points, and of an integrator's noise.
    first_row, brownian, threshold, on_nan, callback, return_trajectory
        As for `integrate`.
    as_tensor : bool, default False
        Return a tensor: of the type and on the device of the network of a torch model, else of
        float64 on the CPU.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``, ``part``); see
        `fermiac.Plan`. ``part``: (i, n) makes the rows of part i of n, counted from 0, for
        independent jobs, such as one for each GPU. `fermiac.merge` of the parts has the rows of the
        whole call. ``store``: as for `integrate`. With `part` or `store` the workers of an
        `executor` make whole blocks.

    Returns
    -------
    Sample
        Independent draws, with their seed and settings. ``draws`` are (n, d) or (n, *dim), a tensor
        with `as_tensor`, or if the loop of the model runs on its device. `numpy.asarray` and
        functions of NumPy take them as an array. With `return_trajectory` the points at all levels
        are ``trajectory``. With `part` a `Rows`, whose ``array`` has the points.

    Raises
    ------
    ArgumentError, TargetError, KeyboardInterrupt
        As for `integrate`.
    ImportError
        With `as_tensor`, if torch is not installed.

    Warns
    -----
    ConvergenceWarning
        If the highest level of `sigma_range` is not large against the data, so that modes may be
        missed.

    Notes
    -----
    The starting points are normal with the standard deviation of the highest level. That level must
    be large compared with the distances of the data from 0 and from each other. It is judged by the
    model at up to 64 points of noise, which `n_evals` does not count and the draws do not depend
    on. For few evaluations in many dimensions see `langevin_gibbs`.

    References
    ----------
    .. [1] T. Karras, M. Aittala, T. Aila, S. Laine, "Elucidating the design space of
       diffusion-based generative models", NeurIPS, 2022, arXiv:2206.00364.

    Examples
    --------
    >>> import fermiac as fm
    >>> m = fm.score.GaussianMixture([0.3, 0.7], [[-2.0], [2.0]], [0.04, 0.04])
    >>> x = fm.score.sample(m, 4000, n_steps=20, sigma_range=(0.01, 50.0), rng=0)
    >>> x.draws.shape, x.seed, bool(abs(x.expect(lambda x: x > 0).mean - 0.7) < 0.03)
    ((4000, 1), 0, True)
    """
    where = plan_of(plan, "executor", "store", "part")
    given = {name: value for name, value in locals().items() if name not in OF_CALL}
    checked = as_model(model, in_order=True)
    event = event_of(checked, dim)
    low, high = range_of(checked, sigma_range)

    def doubts(made: Drawn | Rows) -> list[Finding]:
        found: list[Finding] = [(FermiacWarning, text) for text in made.warnings]
        if is_quiet() or not n:
            return found
        return found + range_findings(checked._shaped(event), high, math.prod(event))

    start = time.perf_counter()
    whole_run = keeps_state(where, not n or callback is not None or return_trajectory, VALUES)
    in_blocks = where.store is not None and (checked.runs_on_device or not whole_run)
    if where.part is not None:
        split = Split(where, rng)
        return run_and_warn(lambda: sample_rows(sample, model, n, given, split, first_row), doubts)
    home = checked._home() if yes("as_tensor", as_tensor) else None
    n = whole("n", n, 0, 2**40)
    method = INTEGRATORS.resolve(integrator)
    zero = choice("final", final, ("zero", "min")) == "zero"
    steps = _steps(method, n_steps, nfe_budget, zero)
    grid = schedule_of(schedule, steps, low, high, zero)
    log = None if in_blocks else Log.of(where)
    resumed = None if log is None else log.seed
    key = resumed if rng is None and resumed is not None else key_of(rng)
    first = whole("first_row", first_row, 0, 2**48)
    settings = {
        "n_steps": steps, "integrator": repr(method), "sigma_range": (low, high), "final": final,
        "schedule": schedule if isinstance(schedule, str) else shown(schedule), "first_row": first,
    }  # fmt: skip
    points: Any
    if in_blocks:
        given["as_tensor"] = False
        rows = sample_rows(sample, model, n, given, Split(where, rng), first_row)
        points, n_evals, texts = rows.array, rows.n_evals, rows.warnings
    else:
        noise = start_noise(key, first, n, math.prod(event))
        noise *= grid[0]
        y0: Any = noise.reshape(n, *event)
        if checked.runs_on_device:
            y0 = checked._to_device(y0)
        call = Call(
            checked, y0, grid, method, key, first, brownian, threshold, on_nan, where.n_threads, log
        )
        points, n_evals = _run(call, callback, return_trajectory, where.executor, where.progress)
        texts = tuple(text for _, text in call.findings)
    if home is not None:
        device, dtype = home
        points = import_torch().as_tensor(points).to(device=device, dtype=dtype)
    made = Drawn(
        seed=key,
        version=_core.__version__,
        isa=_core.isa_level,
        settings=settings,
        n_evals=n_evals,
        wall_time=time.perf_counter() - start,
        warnings=texts,
        draws=points[-1] if return_trajectory else points,
        trajectory=points if return_trajectory else None,
    )
    return run_and_warn(lambda: made, doubts)


def event_of(model: Model, dim: int | Sequence[int] | None) -> tuple[int, ...]:
    """Return the shape of a point, from `dim` or from the model."""
    if dim is None:
        known = model._likely_event()
        if known is None:
            raise ArgumentError(
                "dim: not given, and the model does not say; give dim=, or ScoreModel(..., dim=...)"
            )
        return known
    sizes = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    event = tuple(whole("dim", size, 1, 2**31) for size in sizes)
    if model.dim is not None and math.prod(event) != model.dim:
        raise ArgumentError(f"dim: {shown(dim)} was given; the model has {model.dim} coordinates")
    return event


def start_noise(key: int, first: int, n: int, dim: int) -> Array:
    """Return the normal numbers of the starting points."""
    reserve(n, dim)
    return _core.score_noise(key, START, first, n, 0, dim, 0)[0]


def _steps(method: AnyIntegrator, n_steps: int | None, budget: int | None, zero: bool) -> int:
    if budget is None:
        return whole("n_steps", 10 if n_steps is None else n_steps, 1, 10**6)
    if n_steps is not None:
        raise ArgumentError("nfe_budget: given with n_steps; give one of them")
    budget = whole("nfe_budget", budget, 1, 10**9)
    if not isinstance(method, Integrator):
        raise ArgumentError("nfe_budget: given with an adaptive integrator, which has none")
    # A step costs one evaluation or more.
    steps = bisect_right(range(1, budget + 1), budget, key=lambda n: method.n_evals(n, zero))
    if steps == 0:
        raise ArgumentError(
            f"nfe_budget: {budget} given; one step of {shown(method)} takes "
            f"{method.n_evals(1, zero)}"
        )
    return steps
