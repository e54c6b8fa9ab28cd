"""Denoising Langevin Gibbs: chains over points and noise levels."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.plan import PlanLike, alone, plan_of
from fermiac._base.progress import Report, reporter
from fermiac._base.tensors import to_numpy
from fermiac._base.validate import RngLike, key_of, labels, whole
from fermiac.diagnostics.convergence import mcse
from fermiac.errors import ArgumentError, FermiacWarning
from fermiac.runs.checkpoint import RunCheckpoint
from fermiac.runs.executor import ExecutorLike
from fermiac.runs.loop import run_and_warn
from fermiac.runs.parts import keeps_state
from fermiac.score.arguments import as_model, range_findings, refuse_on_device
from fermiac.score.executor_model import evaluated_model
from fermiac.score.gibbs_chains import Chains, CoreChains
from fermiac.score.gibbs_moves import LevelEstimate, LevelRegression, OUStep, Step
from fermiac.score.gibbs_parts import chains_in_parts
from fermiac.score.gibbs_result import LangevinGibbs, findings
from fermiac.score.gibbs_run import KIND, GibbsLoop, identity_of
from fermiac.score.gibbs_settings import GibbsSettings, settings_of
from fermiac.score.integration import event_of, integrate
from fermiac.score.integrator import Integrator
from fermiac.score.methods import FixedName
from fermiac.score.model import Model
from fermiac.score.noise import PROBE
from fermiac.score.schedules import karras
from fermiac.score.split import Split

if TYPE_CHECKING:
    from fermiac.score.network import ScoreModel

__all__ = ["extension", "langevin_gibbs", "run_chains", "steps_too_few", "warnings_of"]

Array = NDArray[np.float64]
#: Draws to denoise again, as a share and at most, and the most coordinates to compare.
_SHARE, _MOST_DRAWS, _MOST_COORDINATES = 1 / 16, 4096, 64
#: The fewest draws of a chain from which an error is estimated.
_MIN_DRAWS = 4
#: A warning needs a shift above this many standard errors of the average, and this many of its own.
_HARMFUL, _CLEAR = 1.0, 4.0
#: Levels below this many times the end count as the end.
_NEAR = 1.05
#: The draw of the noise; other draws of its purpose are the signs of traces.
_DRAW = 1


def steps_too_few(result: LangevinGibbs, model: Model, settings: GibbsSettings) -> str | None:
    """Return a warning if the error of the integrator exceeds the standard errors of a sample.

    Noise of the level of a draw is added to some draws, which gives points as in the chains. They
    are denoised with the steps of the run and with twice as many. A warning is due if the average
    of a coordinate or of its square changes by more than its standard error.
    """
    draws, sigma = result.draws, np.asarray(result.stats["sigma"])
    n_chains, n_draws, dim = draws.shape
    if n_draws < _MIN_DRAWS:
        return None
    # Use fewer draws if the denoiser needs paths of noise, which are expensive.
    most = _MOST_DRAWS // 8 if settings.denoiser.needs_noise else _MOST_DRAWS
    n = min(max(int(n_chains * n_draws * _SHARE), 16), most, n_chains * n_draws)
    # The draws are spread over all chains and windows.
    which = np.linspace(0, n_chains * n_draws - 1, n).astype(int)
    x, s = draws.reshape(-1, dim)[which], sigma.reshape(-1)[which]
    y = x + s[:, None] * _core.score_noise(settings.key, PROBE, 0, n, _DRAW, dim, 0)[0]
    seen = np.unique(np.linspace(0, dim - 1, min(dim, _MOST_COORDINATES)).astype(int))
    # Leave out levels near the end, where steps are short, and sums that overflow (damaged files).
    far = (s > _NEAR * settings.sigma_end) & np.isfinite(y).all(axis=1)
    moved = np.zeros((2, n, len(seen)))
    if far.any():
        few, many = (_denoised(model, settings, y[far], s[far], k)[:, seen] for k in (1, 2))
        moved[:, far] = few - many, few**2 - many**2
    shift = moved.mean(axis=1)
    noise = moved.std(axis=1, ddof=1) / np.sqrt(n)
    errors = np.array([[_error(draws[..., j] ** p) for j in seen] for p in (1, 2)])
    clear = np.abs(shift) > _CLEAR * noise
    # If no chain moves the error is 0.
    size = np.divide(np.abs(shift), errors, out=np.zeros_like(errors), where=clear & (errors > 0))
    power, at = np.unravel_index(np.argmax(size), size.shape)
    if not size[power, at] > _HARMFUL:
        return None
    name = (result.names or [f"x[{j}]" for j in range(dim)])[seen[at]]
    what = f"{name}²" if power else name
    return (
        f"denoiser: twice the steps would move the average of {what} by {-shift[power, at]:.2g}, "
        f"{size[power, at]:.1f} times its standard error, which does not include this; raise "
        f"n_denoise "
        f"above {settings.n_denoise}, or take a denoiser of higher order"
    )


def _error(values: Array) -> float:
    return float(mcse(values))


def _denoised(model: Model, settings: GibbsSettings, y: Array, sigma: Array, factor: int) -> Array:
    """Return the points denoised with `factor` times the steps of the run."""
    end, n = settings.sigma_end, factor * settings.n_denoise
    grids = [karras(n, end, level, settings.rho, final="zero") for level in sigma]
    # Both numbers of steps have the same noise.
    paths = (end, float(sigma.max())) if settings.denoiser.needs_noise else False
    denoised = integrate(
        model,
        y,
        np.stack(grids),
        settings.denoiser,
        rng=settings.key,
        brownian=paths,
        plan=alone(progress=False),
    )
    return np.asarray(to_numpy(denoised), dtype=np.float64)


#: Windows of a run: each has addresses of 32 bits.
_MOST = 2**31


@public
def langevin_gibbs(
    model: Model,
    dim: int | Sequence[int] | None = None,
    *,
    n_chains: int = 64,
    n_draws: int = 100,
    n_warmup: int = 50,
    levels: int | ArrayLike | None = None,
    level_weights: ArrayLike | None = None,
    sigma_range: tuple[float, float] | None = None,
    step: Literal["ou"] | Step = OUStep(0.3),  # noqa: B008  # it cannot change
    warmup_step: Literal["ou"] | Step | None = None,
    metropolis: Literal["auto", "exact", "score"] | None = "auto",
    noise_predictor: str | LevelEstimate | LevelRegression | Callable[[Any], Any] = "auto",
    level_draw: Literal["sample", "argmax"] = "sample",
    n_skip: int = 10,
    select: str = "random",
    denoiser: FixedName | Integrator = "unipc2",
    n_denoise: int = 20,
    tweedie_step: float | None = None,
    init: ArrayLike | None = None,
    sigma0: ArrayLike | None = None,
    n_init: int | None = None,
    init_noise: float | None = None,
    init_integrator: FixedName | Integrator | None = None,
    names: Sequence[str] | None = None,
    rng: RngLike = None,
    first_chain: int = 0,
    plan: PlanLike | None = None,
) -> LangevinGibbs:
    r"""Draw from the law of a score model by chains over points and noise levels.

    The state of a chain is a noisy point and its noise level. A sweep moves the point, then draws
    the level given the point; at high levels the chain crosses between modes. Every few sweeps a
    copy of the point is denoised by an integrator from its level down. That level is mostly much
    lower than the first level of an integrator from pure noise, so that a draw costs few calls of
    the model [1]_.

    Parameters
    ----------
    model : Model
        The denoiser.
    dim : int or sequence of int, optional
        The coordinates of a point, or its shape; by default the model's. Draws are rows of numbers.
    n_chains : int, default 64
        The number of chains. A batched model is called for all of them at once.
    n_draws : int, default 100
        The number of draws of each chain.
    n_warmup : int, default 50
        The number of sweeps before the first draw.
    levels : int or array_like, shape (L,), optional
        The noise levels, or their number, evenly in log σ over `sigma_range`; by default those of
        the classifier, or 100.
    level_weights : array_like, shape (L,), optional
        The target probabilities of the levels, in the same order, up to a factor; equal by default.
    sigma_range : tuple of float, optional
        The lowest and the highest level; by default the model's.
    step : OUStep, ScaledStep or LangevinStep, default OUStep(0.3)
        The move of the points; ``"ou"`` stands for the default.
    warmup_step : OUStep, ScaledStep or LangevinStep, optional
        The move in the warm-up; `step` by default.
    metropolis : {"auto", "exact", "score"} or None, default "auto"
        The correction of moves. ``"exact"`` accepts them by the log-density of the model, so that
        the law of the chains is exact. ``"score"`` estimates the change of the log-density from the
        score at both ends, which is exact for a linear score [2]_; the result is marked as biased.
        Both need a second call of the model in every sweep. ``"auto"`` is ``"exact"`` if the
        log-density is known, and None otherwise: for most networks a second sweep gains more than a
        second call.
    noise_predictor : str, LevelEstimate, LevelRegression or callable, default "auto"
        The law of the level given a point. ``"exact"`` uses the log-densities of the point at all
        levels. A classifier of `train_noise_classifier`, or any callable, takes points (n, d) and
        returns logits (n, L), in the order of `levels`. A `LevelRegression` gives mean and standard
        deviation. ``"tweedie"`` or a `LevelEstimate` uses the distance to the denoised point, in
        256 or more dimensions. ``"auto"`` is ``"exact"`` if the log-density is known, and
        ``"tweedie"`` otherwise.
    level_draw : {"sample", "argmax"}, default "sample"
        Whether levels are drawn, or the most likely one is taken, as in the public code of [1]_.
        The latter is not a draw from the law, but almost equivalent with thousands of coordinates.
        It needs ``"exact"`` or a classifier.
    n_skip : int, default 10
        The number of sweeps for each draw.
    select : {"random", "last", "min"}, default "random"
        The state of these sweeps that is denoised. ``"min"``, the published choice, takes the state
        with the lowest level, including the state before the sweeps. It is cheaper to denoise well.
        But it conditions on the path of the levels, so the point given its level is not exactly a
        noisy data point.
    denoiser : str or Integrator, default "unipc2"
        The integrator that denoises the state, on a Karras grid from its level to the lowest of
        `levels`, and to 0.
    n_denoise : int, default 20
        Steps of that integrator, including the last one. Few steps shift averages, especially of
        squares, by more than the standard errors of the chains. After the run some draws are
        denoised again in twice the steps, and a `FermiacWarning` and ``bias`` report a shift.
    tweedie_step : float, optional
        A level s at which the denoised point is denoised once more, as if it had noise of level s.
    init : array_like, shape (n_chains, d), optional
        The starting points of the chains. By default an integrator denoises noise of the highest
        level, and some noise is added.
    sigma0 : float or array_like, shape (n_chains,), optional
        The starting levels; drawn by default.
    n_init : int, optional
        The number of steps of the integrator of the starting points, 20 by default; not with
        `init`.
    init_noise : float, optional
        The standard deviation of the noise added to the starting points, at least 0; 0.5 by
        default. Not with `init`.
    init_integrator : str or Integrator, optional
        The integrator of the starting points, "dpmpp_2m" by default; not with `init`.
    names : sequence of str, optional
        Names of the coordinates.
    rng : int, SeedSequence, Generator or None
        The seed. The noise of a chain depends only on the seed, the chain and the sweep.
    first_chain : int, default 0
        The number of the first chain. Parts of a large call that are computed separately then have
        the chains of the large call.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``, ``part``); see
        `fermiac.Plan`. ``part``: (i, n) computes the chains of part i of n, counted from 0, for
        independent jobs. `fermiac.merge` of the parts has the chains of the whole call, without a
        state for `extend`. ``store``: a folder for the state of all chains. The same call resumes
        from it, also with more draws. With an executor or a part the folder has files of finished
        chains instead, which parts can share; these need `rng`.

    Returns
    -------
    LangevinGibbs
        A `Sample` of chains, with statistics of the levels.

    Raises
    ------
    ArgumentError
        If an argument is outside of its domain, or the levels are not determined, or cannot be
        drawn.
    TargetError
        If an output of the model or of the predictor cannot be used.
    CheckpointError
        If the file belongs to another run.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` has the draws that all chains have finished.

    Warns
    -----
    ConvergenceWarning
        If the levels drift, if the chains disagree on them or are stuck at an end of them, or if
        chains do not move.

    Notes
    -----
    The chains have the law :math:`\pi(\sigma) p_\sigma(x)`, up to the list in `LangevinGibbs.bias`.
    A sweep calls the model once, or twice with a correction. In few dimensions an integrator from
    noise is as good; the method gains in many dimensions with small budgets.

    In d dimensions a sweep changes log σ by about 1/√(2 d). A chain therefore takes thousands of
    sweeps to cross the levels, and seldom changes the mode. In a short run the shares of the modes
    are those of the starting points: many chains with few draws are better than few chains with
    many draws.

    The published algorithm is ``step=LangevinStep(eta), metropolis=None, level_draw="argmax",
    select="min"``. Its steps have one size for all levels: near σ² = η / 4 they add too much
    noise, and the levels drift upwards from sweep to sweep.

    For models that run in Rust, results have the same bits on any number of threads, and after a
    resume.

    References
    ----------
    .. [1] B. Kim, J. C. Ye, "Denoising MCMC for accelerating diffusion-based generative models",
       2022, arXiv:2209.14593.
    .. [2] G. Alain, Y. Bengio, "What regularized auto-encoders learn from the data-generating
       distribution", Journal of Machine Learning Research, 2014, arXiv:1211.4246.

    Examples
    --------
    >>> import fermiac as fm
    >>> m = fm.score.GaussianMixture([0.3, 0.7], [[-2.0], [2.0]], [0.25, 0.25])
    >>> r = fm.score.langevin_gibbs(
    ...     m, sigma_range=(0.05, 20.0), n_draws=200, n_skip=20, rng=0
    ... )
    >>> r.draws.shape
    (64, 200, 1)
    >>> e = r.expect(lambda x: x)
    >>> bool(abs(e.mean[0] - 0.8) < 5 * e.stderr[0])
    True
    """
    where = plan_of(plan, "executor", "store", "part")
    start = time.perf_counter()
    model = as_model(model)
    event = event_of(model, dim)
    model, size = model._shaped(event), math.prod(event)
    n_draws = whole("n_draws", n_draws, 1, _MOST)
    kept = RunCheckpoint.of(where, KIND) if keeps_state(where) else None
    settings = settings_of(
        model,
        size,
        key=key_of(rng) if kept is None else kept.key(rng),
        n_chains=n_chains,
        n_warmup=n_warmup,
        levels=levels,
        level_weights=level_weights,
        sigma_range=sigma_range,
        step=step,
        warmup_step=warmup_step,
        metropolis=metropolis,
        noise_predictor=noise_predictor,
        level_draw=level_draw,
        n_skip=n_skip,
        select=select,
        denoiser=denoiser,
        n_denoise=n_denoise,
        tweedie_step=tweedie_step,
        init=init,
        sigma0=sigma0,
        n_init=n_init,
        init_noise=init_noise,
        init_integrator=init_integrator,
        first_chain=first_chain,
    )
    own = labels(names, size)
    if kept is None and (where.part is not None or where.store is not None):
        if model.runs_on_device:
            refuse_on_device(part=where.part, store=where.store)
        split = Split(where, rng)
        in_parts = partial(
            chains_in_parts,
            run_chains,
            model,
            settings,
            n_draws,
            split,
            names=own,
            identity=identity_of(settings),
        )
        return run_and_warn(in_parts, warnings_of)
    if kept is not None:
        kept.begin(identity_of(settings))
    run = partial(
        run_chains,
        model,
        settings,
        n_draws,
        n_threads=where.n_threads,
        executor=where.executor,
        progress=where.progress,
        names=own,
        checkpoint=kept,
        start=start,
    )
    return run_and_warn(run, warnings_of)


def extension(
    result: LangevinGibbs, n_draws: int, n_threads: int | None, progress: bool | Report | None
) -> Callable[[], LangevinGibbs]:
    """Return a call that continues the chains of a result."""
    origin = getattr(result, "_origin", None)
    if origin is None or result.state is None:
        raise ArgumentError(
            "extend: the result cannot be continued: its model or the state of its chains is lost "
            "in files, in derived results, and in a pickle if the model cannot be pickled; give "
            "the model again: langevin_gibbs with the same arguments, rng=result.seed and a larger "
            "n_draws repeats the chains and goes on (and goes on from the end if both calls have "
            "the same store)"
        )
    model, settings = origin
    done = result.draws.shape[1]
    total = done + whole("n_draws", n_draws, 1, _MOST - done)
    return partial(
        run_chains,
        model,
        settings,
        total,
        n_threads=n_threads,
        progress=progress,
        names=result.names,
        before=result,
        start=time.perf_counter(),
    )


def run_chains(
    model: Model,
    settings: GibbsSettings,
    n_draws: int,
    *,
    n_threads: int | None,
    progress: bool | Report | None,
    executor: ExecutorLike | None = None,
    **how: Any,
) -> LangevinGibbs:
    """Make the chains, on the device of the model or in the core, and run them."""
    how = {"start": time.perf_counter(), **how}
    workers = resolve_threads(n_threads)
    total = n_draws * settings.n_chains
    with reporter(progress, "langevin_gibbs", "draws") as report:
        if model.runs_on_device:
            refuse_on_device(executor=executor)
            if settings.first_chain:
                refuse_on_device(first_chain=settings.first_chain)
            from fermiac.score import device_gibbs

            on_device: Chains = device_gibbs.run(cast("ScoreModel", model), settings)
            return GibbsLoop(on_device, settings, model, n_draws, report=report, **how).run()
        with evaluated_model(
            model,
            settings.dim,
            executor=executor,
            log=None,
            identity=dict,
            n_threads=workers,
            report=report,
            total=total,
        ) as (spec, shown):
            if executor is not None and model.has_log_density:
                # Workers denoise; the log-density is evaluated here.
                spec = (*spec[:2], model._log_density, None)
            chains = CoreChains(spec, settings, total, workers)
            return GibbsLoop(chains, settings, model, n_draws, report=shown, **how).run()


def warnings_of(result: LangevinGibbs) -> list[tuple[type[FermiacWarning], str]]:
    """Return the warnings of a result; with the model, also those about its steps."""
    found = findings(result)
    model, settings = result._origin  # type: ignore[attr-defined]
    if settings.from_range:
        # Chains forget their starts, but must reach all modes at the highest level.
        found += range_findings(model, float(settings.levels[0]), settings.dim, 2.0)
    too_few = steps_too_few(result, model, settings)
    if too_few is not None:
        object.__setattr__(result, "bias", (*result.bias, too_few))
        found.append((FermiacWarning, too_few))
    return found
