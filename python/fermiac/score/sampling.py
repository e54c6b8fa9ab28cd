"""From noise to data: points of the widest level carried down a schedule."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.progress import Report
from fermiac._base.validate import RngLike, choice, key_of, whole
from fermiac.errors import ArgumentError
from fermiac.runs.checkpoint import Checkpoint, Log
from fermiac.runs.executor import Sharded
from fermiac.score.adaptive import Adaptive
from fermiac.score.arguments import Threshold, as_method
from fermiac.score.integration import integrate
from fermiac.score.levels import as_model, range_of
from fermiac.score.model import Model, reserve
from fermiac.score.rng_domains import START
from fermiac.score.schedules import schedule_of
from fermiac.score.single_step import Integrator
from fermiac.targets.factories import Factory

__all__ = ["event_of", "sample", "start_noise"]

Array = NDArray[np.float64]


def sample(
    model: Model,
    n: int,
    dim: int | Sequence[int] | None = None,
    n_steps: int | None = None,
    integrator: str | Integrator | Adaptive = "dpmpp_2m",
    schedule: str | Callable[[int, float, float], ArrayLike] = "karras",
    sigma_range: tuple[float, float] | None = None,
    *,
    final: str = "zero",
    nfe_budget: int | None = None,
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
    """Draw from the law that a score model knows: noise of the highest level, brought down.

    Parameters
    ----------
    model : Model
        What denoises.
    n : int
        How many points.
    dim : int or sequence of int, optional
        Their coordinates, or their shape; by default the model's.
    n_steps : int, default 10
        Steps, the one to level 0 included.
    integrator : str, Integrator or Adaptive, default "dpmpp_2m"
        How; see `integrate`.
    schedule : str or callable, default "karras"
        Where the levels lie: ``"karras"``, ``"exponential"``, ``"polyexponential"``, ``"poly_t"``,
        ``"vp_uniform"``, or a function of (number of steps, lowest, highest level) that gives
        the levels, from the highest to the lowest.
    sigma_range : tuple of float, optional
        The lowest and the highest level; by default the model's.
    final : {"zero", "min"}, default "zero"
        Whether a last step denoises the points of the lowest level, or they are given as they are.
    nfe_budget : int, optional
        Instead of `n_steps`: as many steps as this number of model calls pays for.
    rng : int, SeedSequence, Generator or None
        The seed of the starting points, and of an integrator's noise.
    first_row, brownian, threshold, on_nan, callback, return_trajectory, n_threads
        As of `integrate`.
    executor, target_factory, checkpoint, progress
        As of `integrate`.

    Returns
    -------
    ndarray or torch.Tensor, shape (n, d) or (n, *dim)
        The points; a tensor where the model's loop runs on its device.

    Raises
    ------
    ArgumentError, TargetError, KeyboardInterrupt
        As of `integrate`.

    Notes
    -----
    The starting points are normal with the standard deviation of the highest level: that level must
    be large against the spread of the data, or the draws are too narrow. For few evaluations on
    data of many coordinates see `langevin_gibbs`.

    Examples
    --------
    >>> import fermiac as fm
    >>> m = fm.score.GaussianMixture([0.3, 0.7], [[-2.0], [2.0]], [0.04, 0.04])
    >>> x = fm.score.sample(m, 4000, n_steps=20, sigma_range=(0.01, 50.0), rng=0)
    >>> bool(abs((x > 0).mean() - 0.7) < 0.03)
    True
    """
    model = as_model(model)
    n = whole("n", n, 0, 2**40)
    event = event_of(model, dim)
    method = as_method(integrator)
    low, high = range_of(model, sigma_range)
    zero = choice("final", final, ("zero", "min")) == "zero"
    steps = _steps(method, n_steps, nfe_budget, zero)
    grid = schedule_of(schedule, steps, low, high, zero)
    log = None if checkpoint is None else Log(checkpoint)
    resumed = None if log is None else log.seed
    key = resumed if rng is None and resumed is not None else key_of(rng)
    first = whole("first_row", first_row, 0, 2**48)
    y0: Any = start_noise(key, first, n, math.prod(event)) * grid[0]
    y0 = y0.reshape(n, *event)
    if model.runs_on_device:
        y0 = model._to_device(y0)
    return integrate(
        model,
        y0,
        grid,
        method,
        rng=key,
        first_row=first,
        brownian=brownian,
        threshold=threshold,
        on_nan=on_nan,
        callback=callback,
        return_trajectory=return_trajectory,
        n_threads=n_threads,
        executor=executor,
        target_factory=target_factory,
        checkpoint=checkpoint,
        progress=progress,
    )


def event_of(model: Model, dim: int | Sequence[int] | None) -> tuple[int, ...]:
    """Take `dim` as the shape of a point."""
    if dim is None:
        known = model._event
        if known is None:
            raise ArgumentError("dim: not given, and the model does not say; give the coordinates")
        return known
    sizes = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    event = tuple(whole("dim", size, 1, 2**31) for size in sizes)
    if model.dim is not None and math.prod(event) != model.dim:
        raise ArgumentError(f"dim: {dim!r} was given; the model has {model.dim} coordinates")
    return event


def start_noise(key: int, first: int, n: int, dim: int) -> Array:
    """Normal numbers of the starting points."""
    reserve(n, dim)
    return _core.score_noise(key, START, first, n, 0, dim, 0)[0]


def _steps(
    method: Integrator | Adaptive, n_steps: int | None, budget: int | None, zero: bool
) -> int:
    if budget is None:
        return whole("n_steps", 10 if n_steps is None else n_steps, 1, 10**6)
    if n_steps is not None:
        raise ArgumentError("nfe_budget: given with n_steps; give one of them")
    budget = whole("nfe_budget", budget, 1, 10**9)
    if isinstance(method, Adaptive):
        raise ArgumentError("nfe_budget: given with an adaptive integrator, which has none")
    # A step costs one evaluation or more.
    steps = bisect_right(range(1, budget + 1), budget, key=lambda n: method.n_evals(n, zero))
    if steps == 0:
        raise ArgumentError(
            f"nfe_budget: {budget} given; one step of {method!r} takes {method.n_evals(1, zero)}"
        )
    return steps
