"""Sampling towards a reward without its gradient: candidates, and particles with weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads, threads
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import finish, reporter
from fermiac._base.validate import (
    RngLike,
    choice,
    key_of,
    labels,
    numbers,
    probability,
    real,
    shown,
    whole,
    yes,
)
from fermiac.errors import ArgumentError, TargetError
from fermiac.results.result import warn
from fermiac.score.arguments import as_model, range_findings, range_of
from fermiac.score.guided_result import Guided, collapse, log_normalizer_of
from fermiac.score.integration import event_of
from fermiac.score.model import Model
from fermiac.score.noise import CHOICE, INTEGRATE, START, TRAIN
from fermiac.score.particles import ess_of, log_normal, resampled_rows
from fermiac.score.rewards import PosteriorMean, Regression, Reward, UserValue, Value, host
from fermiac.score.schedules import schedule_of
from fermiac.targets.torch_target import import_torch

__all__ = ["svdd"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Target:
    """The tilted law of a call, and the settings of its sampler."""

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
        """The number of coordinates of a point."""
        return math.prod(self.event)


@dataclass(frozen=True)
class State:
    """All points after a step, replaced as a whole, so that Ctrl-C never finds half a step."""

    y: Any
    denoised: Any
    values: Array
    #: The logarithm of the potential that is part of the weight so far.
    potentials: Array
    log_weights: Array
    #: The logarithm of the factor that resampling has removed from the weights.
    log_total: float
    ancestors: Ints
    n_resamplings: int = 0
    ess: tuple[float, ...] = ()
    candidate_ess: tuple[float, ...] = ()


class Paths:
    """The points of a run, from level to level."""

    def __init__(self, target: Target, grid: Array) -> None:
        self._target, self._grid = target, grid
        self._tensors = target.model.runs_on_device
        self._value: Value | None = None
        self.state: State | None = None
        self.n_evals = 0

    def base(self, n: int, reward: Reward) -> tuple[Any, Array]:
        """Return points without guidance and their rewards, for the fit of a regression."""
        # The draws of the fits come before, with the same purpose.
        first, d = len(self._grid) + 1, self._target.dim
        y = self._grid[0] * self._normals(TRAIN, n, first, d)
        for i in range(len(self._grid) - 1):
            mean, spread = self._kernel(i, y, self._denoised(y, i))
            y = mean + spread * self._normals(TRAIN, n, first + 1 + i, d)
        clean = self._denoised(y, len(self._grid) - 1)
        return clean, reward(clean)

    def begin(self, value: Value) -> None:
        """Draw the starting points."""
        target, s = self._target, float(self._grid[0])
        self._value = value
        z = self._normals(START, target.n, 0, target.dim)
        y = s * z
        denoised = self._denoised(y, 0)
        values = value(y, s, denoised, 0)
        potentials = self._potentials(values)
        log_weights = potentials.copy()
        if target.correct:
            log_weights += target.model.log_density(y, s) - log_normal(z, s)
        state = State(
            y, denoised, values, potentials, log_weights, 0.0, np.arange(target.n, dtype=np.int64)
        )
        self.state = replace(state, ess=(ess_of(log_weights),))

    def step(self, i: int) -> None:
        """Move from level i to the next: candidates, a choice among them, and resampling."""
        target, state, value = self._target, self.state, self._value
        assert state is not None
        assert value is not None
        n, m, d = target.n, target.n_candidates, target.dim
        s, to = float(self._grid[i]), float(self._grid[i + 1])
        mean, spread = self._kernel(i, state.y, state.denoised)
        z = self._normals(INTEGRATE, n, i, m * d).reshape(n, m, d)
        candidates = (mean[:, None, :] + spread * z).reshape(n * m, d)
        denoised = self._denoised(candidates, i + 1) if value.needs_denoised else None
        values = value(candidates, to, denoised, i + 1)
        potentials = self._potentials(values)
        scores = potentials.reshape(n, m)
        if target.correct:
            step = (candidates.reshape(n, m, d) - state.y[:, None, :]) / np.sqrt(s**2 - to**2)
            ratio = target.model.log_density(candidates, to).reshape(n, m)
            ratio += log_normal(step, np.sqrt(s**2 - to**2)) - log_normal(z, spread)
            scores = scores + ratio - target.model.log_density(state.y, s)[:, None]
        uniforms = _core.score_noise(target.key, CHOICE, 0, n, i, 0, 1)[1][:, 0]
        chosen, log_mean, effective = _choose(
            values.reshape(n, m) if target.alpha == 0 else scores, uniforms, target.alpha == 0
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
        ess = ess_of(new.log_weights)
        if target.particles and ess < target.ess_threshold * n and n > 1:
            new = self._resampled(new, i)
        self.state = replace(new, ess=(*new.ess, ess))

    def end(self, reward: Reward) -> tuple[State, Array]:
        """Return the final state, with rewards of the clean points as values, and the rewards."""
        state = self.state
        assert state is not None
        rewards = reward(state.denoised)
        log_weights = state.log_weights + self._potentials(rewards) - state.potentials
        ended = replace(state, log_weights=log_weights, ess=(*state.ess, ess_of(log_weights)))
        return replace(ended, values=rewards), rewards

    def _resampled(self, state: State, i: int) -> State:
        target = self._target
        rows, log_mean = resampled_rows(target.key, state.log_weights, i)
        return replace(
            state,
            y=self._take(state.y, rows),
            denoised=self._take(state.denoised, rows),
            values=state.values[rows],
            potentials=state.potentials[rows],
            log_weights=np.zeros(target.n),
            log_total=state.log_total + log_mean,
            ancestors=state.ancestors[rows],
            n_resamplings=state.n_resamplings + 1,
        )

    def _potentials(self, values: Array) -> Array:
        alpha = self._target.alpha
        return values / alpha if alpha > 0 else np.zeros_like(values)

    def _kernel(self, i: int, y: Any, denoised: Any) -> tuple[Any, float]:
        """Return the mean and the standard deviation of a step."""
        s, to = self._grid[i], self._grid[i + 1]
        spread = np.sqrt(s**2 - to**2)
        if self._target.base == "ancestral":
            spread *= to / s
        return denoised + float(to / s) ** 2 * (y - denoised), float(spread)

    def _denoised(self, y: Any, i: int) -> Any:
        """Return the denoised points at level i."""
        s = self._grid[i : i + 1]
        self.n_evals += len(y)
        model = self._target.model
        if self._tensors:
            torch = import_torch()
            out = model._denoise_tensor(y, torch.as_tensor(s, dtype=y.dtype, device=y.device))
            all_finite = bool(torch.isfinite(out).all())
        else:
            out = model._denoise(np.ascontiguousarray(y), s)
            all_finite = bool(np.isfinite(out).all())
        if not all_finite:
            row = int(np.argmin(np.isfinite(host(out)).all(axis=1)))
            raise TargetError(
                f"model: it gave a number that is not finite for row {row} at level {s[0]:g}; "
                "check the network, or choose levels on which it was trained"
            )
        return out

    def _normals(self, purpose: int, n: int, draw: int, count: int) -> Any:
        z = _core.score_noise(self._target.key, purpose, 0, n, draw, count, 0)[0]
        return self._target.model._to_device(z) if self._tensors else z

    def _take(self, points: Any, rows: Ints) -> Any:
        if not self._tensors:
            return points[rows]
        return points[import_torch().as_tensor(rows, device=points.device)]


def _choose(scores: Array, uniforms: Array, best: bool) -> tuple[Ints, Array, float]:
    """Choose one of each row with weights exp(scores); return it, log mean weights and the ESS."""
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


@public
def svdd(
    model: Model,
    reward: Callable[[Any], Any],
    n: int,
    dim: int | Sequence[int] | None = None,
    *,
    alpha: float = 1.0,
    n_candidates: int | None = None,
    mode: Literal["candidates", "particles"] = "candidates",
    value: str | Callable[[Any, float], Any] = "posterior_mean",
    n_steps: int | None = None,
    schedule: str | ArrayLike | Callable[[int, float, float], ArrayLike] = "karras",
    sigma_range: tuple[float, float] | None = None,
    base: Literal["ancestral", "euler_maruyama"] = "ancestral",
    correct: bool = False,
    ess_threshold: float = 0.5,
    n_fit: int = 2000,
    regressor: Callable[[Array, Array], Callable[[Array], ArrayLike]] | None = None,
    names: Sequence[str] | None = None,
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> Guided:
    r"""Draw points of a score model towards a reward, without its gradient.

    The target has the density :math:`p(x)\,e^{r(x)/\alpha}`, where p is the law of the model and
    the reward r is any function. At each noise level every point draws a few candidates from the
    step of the model, and continues with one of them, chosen by its soft value :math:`v_s(y) =
    \alpha \log E[e^{r(x)/\alpha} \mid y]` [1]_. As particles, the points also carry weights and are
    resampled, which corrects for approximate values and few candidates [2]_. The proposals are the
    steps of the model, without a gradient.

    Parameters
    ----------
    model : Model
        The score model.
    reward : callable
        A function of clean points, (n, d) or (n, *shape), that returns finite numbers (n,). A
        ``torch.nn.Module`` gets tensors of its own type. If the model runs on a device, all rewards
        get tensors.
    n : int
        The number of points.
    dim : int or sequence of int, optional
        Coordinates of a point, or its shape, if the model does not determine it. The reward gets
        points of this shape; the sample stores them as rows.
    alpha : float, default 1.0
        The temperature: the smaller it is, the more the reward counts. At 0 the best candidate is
        taken, which is possible only with ``mode="candidates"``.
    n_candidates : int, optional
        The number of candidates of a point at each step: 10 by default, and 1 for particles.
    mode : {"candidates", "particles"}, default "candidates"
        Independent points of equal weight, with a bias (see the notes); or weighted particles that
        are resampled, with a bias of order 1/n and known errors.
    value : {"posterior_mean", "regression"} or callable, default "posterior_mean"
        The soft value: the reward of the denoised point, r(E[x | y]), with a call of the model at
        every candidate; a regression of the rewards on noisy points at each level, with calls only
        at the chosen ones; or a function of (y, sigma) that returns (n,).
    n_steps : int, default 100
        Steps, including the one to level 0, which takes the mean of the data behind the points.
    schedule : str, callable or array_like, default "karras"
        The schedule of the levels: a name or a function, as for `fermiac.score.sample`, or the
        decreasing levels themselves, which determine the number of steps and the range. The last
        step always goes to level 0.
    sigma_range : tuple of float, optional
        The lowest and the highest level; by default those of the model.
    base : {"ancestral", "euler_maruyama"}, default "ancestral"
        The step of the model: drawn given that the data behind a point are at their mean, or with
        the noise of the whole step.
    correct : bool, default False
        Correct the weights of particles for the finite steps of the model, so that they represent
        its own law for any number of steps. This needs a model with a log-density.
    ess_threshold : float, default 0.5
        Particles are resampled if their effective sample size falls below this share of `n`; with 0
        they never are.
    n_fit : int, default 2000
        The number of points, drawn without a reward, for the fit of a regression.
    regressor : callable, optional
        A function of noisy points (n_fit, d) and rewards (n_fit,) that returns a function from
        points to predictions. The default is ridge regression on the coordinates, their squares and
        256 random ramps.
    names : sequence of str, optional
        Names of the coordinates.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself.
    plan : Plan or executor, optional
        Where the call runs and what is kept; see `fermiac.Plan`.

    Returns
    -------
    Guided
        A `fermiac.Sample` with ``rewards``, ``log_normalizer`` and its standard error,
        ``ess_history``, ``candidate_ess``. Its ``n_evals`` counts the points of all model calls.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.
    TargetError
        If the reward, a value or the model gives a wrong shape or a number that is not finite.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` is a `Guided` of the denoised points at the level reached,
        or None.

    Warns
    -----
    WeightWarning
        If the particles descend from fewer than ten effective starting points.

    Notes
    -----
    Candidates are biased: a choice among finitely many M favours high values less than it should,
    and r(E[x | y]) is below the soft value for a linear or a convex reward, by Jensen's inequality.
    Neither effect biases particles; they only make their weights more uneven. The mean of
    :math:`e^{v/\alpha}` over the candidates, divided by that of the previous point, is a factor of
    the weight, and at the end the reward replaces the value. The bias of the finite steps of the
    model remains: ``"ancestral"`` steps give too narrow modes, ``"euler_maruyama"`` steps too wide
    ones (for standard normal data, levels from 20 to 0.01 and no reward, the variances are 0.93 and
    1.07 with 100 steps, 0.993 and 1.007 with 1000). With ``correct=True`` the weights correct for
    this, too. The weights are more even with ``"euler_maruyama"``, whose steps cover those of the
    exact process.

    If alpha is small compared with the range of the rewards under the model, few particles have all
    the weight; candidates still follow the reward. Errors of averages are based on the surviving
    particles: if a whole mode died out, the average of its indicator is 0 with an error of 0.

    References
    ----------
    .. [1] X. Li, Y. Zhao, C. Wang, G. Scalia, G. Eraslan, S. Nair, T. Biancalani, S. Ji, A. Regev,
       S. Levine, M. Uehara, "Derivative-free guidance in continuous and discrete diffusion models
       with soft value-based decoding", 2024, arXiv:2408.08252.
    .. [2] L. Wu, B. Trippe, C. Naesseth, D. Blei, J. Cunningham, "Practical and asymptotically
       exact conditional sampling in diffusion models", Advances in Neural Information Processing
       Systems, 2023, arXiv:2306.17775.

    Examples
    --------
    Standard normal data and the reward 2x: the tilted law is N(2, 1), and :math:`E\,e^{2x} = e^2`.

    >>> import fermiac as fm
    >>> normal = fm.score.GaussianMixture([1.0], [[0.0]], [1.0])
    >>> g = fm.score.svdd(
    ...     normal,
    ...     lambda x: 2 * x[:, 0],
    ...     4000,
    ...     mode="particles",
    ...     base="euler_maruyama",
    ...     correct=True,
    ...     n_steps=20,
    ...     sigma_range=(0.01, 20.0),
    ...     rng=0,
    ... )
    >>> e = g.expect(lambda x: x)
    >>> bool(abs(e.mean[0] - 2) < 5 * e.stderr[0])
    True
    >>> bool(abs(g.log_normalizer - 2) < 5 * g.log_normalizer_stderr)
    True
    """
    where = plan_of(plan)
    start = time.perf_counter()
    target = _target_of(
        model, n, dim, alpha, mode, n_candidates, base, correct, ess_threshold, key_of(rng)
    )
    grid = _levels(model, n_steps, schedule, sigma_range)
    wanted = labels(names, target.dim)
    judged = Reward(reward, target.event)
    n_fit = whole("n_fit", n_fit, 16, 2**32)
    if not callable(value):
        choice("value", value, ("posterior_mean", "regression"))
    if regressor is not None and value != "regression":
        raise ArgumentError("regressor: given without value='regression'; leave it out")
    if regressor is not None and not callable(regressor):
        raise ArgumentError(
            f"regressor: {shown(regressor)} was given; a callable that takes points and rewards, "
            "and gives a function of points, is needed"
        )
    settings = {
        "alpha": target.alpha,
        "n_candidates": target.n_candidates,
        "mode": mode,
        "value": "callable" if callable(value) else value,
        "base": base,
        "correct": target.correct,
        "ess_threshold": target.ess_threshold,
    }

    def result(state: State, clean: Any, rewards: Array, status: str) -> Guided:
        return _result(
            target,
            state,
            host(clean),
            rewards,
            names=wanted,
            n_evals=paths.n_evals,
            sigmas=grid,
            settings=settings,
            status=status,
            wall_time=time.perf_counter() - start,
        )

    with (
        threads(resolve_threads(where.n_threads)),
        target.model._held(),
        reporter(where.progress, "svdd", "steps") as report,
    ):
        paths = Paths(target, grid[:-1])
        n_steps = len(grid) - 1
        try:
            if value == "regression":
                valued: Value = Regression(*paths.base(n_fit, judged), target.key, regressor)
            else:
                valued = (
                    UserValue(value, target.event) if callable(value) else PosteriorMean(judged)
                )
            paths.begin(valued)
            for i in range(n_steps - 1):
                paths.step(i)
                if report is not None:
                    report(i + 1, n_steps)
            state, rewards = paths.end(judged)
        except KeyboardInterrupt as stop:
            at = paths.state
            stop.partial_result = (  # type: ignore[attr-defined]
                None if at is None else result(at, at.denoised, at.values, "interrupted")
            )
            raise
        made = result(state, state.denoised, rewards, "complete")
        finish(report, n_steps, made)
    found = collapse(made) + range_findings(target.model, float(grid[0]), target.dim)
    warn(found, made)
    return made


def _target_of(
    model: Any,
    n: int,
    dim: int | Sequence[int] | None,
    alpha: float,
    mode: str,
    n_candidates: int | None,
    base: str,
    correct: bool,
    ess_threshold: float,
    key: int,
) -> Target:
    as_model(model)
    event = event_of(model, dim)
    model = model._shaped(event)
    particles = choice("mode", mode, ("candidates", "particles")) == "particles"
    choice("base", base, ("ancestral", "euler_maruyama"))
    # With 0 the best candidate is taken.
    needed = "0 or a positive, finite number is needed"
    alpha = real("alpha", alpha, needed, lambda a: 0 <= a < math.inf)
    correct = yes("correct", correct)
    if particles and alpha == 0:
        raise ArgumentError(
            "alpha: 0 was given for particles, whose weights would all be 0 but one; give a "
            "positive number, or mode='candidates'"
        )
    if correct and not particles:
        raise ArgumentError("correct: only particles have weights to correct; leave it out")
    if correct and not (model.has_log_density and not model.runs_on_device):
        raise ArgumentError(f"correct: {type(model).__name__} has no log-density; leave it out")
    default = 1 if particles else 10
    count = default if n_candidates is None else whole("n_candidates", n_candidates, 1, 2**20)
    share = probability("ess_threshold", ess_threshold, zero=True, one=True)
    n = whole("n", n, 1, 2**40)
    return Target(model, n, event, alpha, count, particles, base, correct, share, key)


def _levels(
    model: Model,
    n_steps: int | None,
    schedule: str | ArrayLike | Callable[[int, float, float], ArrayLike],
    sigma_range: tuple[float, float] | None,
) -> Array:
    """Return the decreasing noise levels of a call, including 0."""
    if isinstance(schedule, str) or callable(schedule):
        steps = whole("n_steps", 100 if n_steps is None else n_steps, 1, 10**6)
        grid = schedule_of(schedule, steps, *range_of(model, sigma_range), True)
    else:
        for name, given in (("n_steps", n_steps), ("sigma_range", sigma_range)):
            if given is not None:
                raise ArgumentError(
                    f"{name}: given with a schedule of levels, which says it as well; leave it out"
                )
        grid = np.atleast_1d(numbers("schedule", schedule))
        if grid.ndim == 1 and grid.size and grid[-1] != 0:
            grid = np.append(grid, 0.0)
    if grid.ndim != 1 or grid.size < 2 or not np.isfinite(grid).all():
        raise ArgumentError(
            f"schedule: levels of shape {grid.shape} were given; one or more positive, finite "
            "numbers are needed"
        )
    if not (np.diff(grid) < 0).all():
        at = int(np.argmax(np.diff(grid) >= 0))
        raise ArgumentError(
            f"schedule: level {at + 1} is {grid[at + 1]:g} after {grid[at]:g}; falling levels are "
            "needed"
        )
    return model._within(grid)


def _result(
    target: Target, state: State, draws: Array, rewards: Array, *, sigmas: Array, **fields: Any
) -> Guided:
    log_normalizer, stderr = float("nan"), float("nan")
    if target.alpha > 0:
        log_normalizer, stderr = log_normalizer_of(
            state.log_total, state.log_weights, state.ancestors
        )
    model = "particles" if state.n_resamplings else "weighted"
    return Guided(
        seed=target.key,
        version=_core.__version__,
        isa=_core.isa_level,
        draws=np.ascontiguousarray(draws, dtype=np.float64),
        log_weights=state.log_total + state.log_weights if target.particles else None,
        error_model=model if target.particles else "iid",
        rewards=rewards,
        log_normalizer=log_normalizer,
        log_normalizer_stderr=stderr,
        ess_history=np.array(state.ess) if target.alpha > 0 else np.empty(0),
        candidate_ess=np.array(state.candidate_ess),
        sigmas=sigmas,
        ancestors=state.ancestors,
        n_resamplings=state.n_resamplings,
        mode="particles" if target.particles else "candidates",
        **fields,
    )
