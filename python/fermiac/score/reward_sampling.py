"""Sampling towards a reward without its gradient: candidates, and particles with weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.config import resolve_threads, threads
from fermiac._base.progress import Report, finish, reporter
from fermiac._base.validate import RngLike, choice, key_of, labels, numbers, positive, whole, yes
from fermiac.errors import ArgumentError, TargetError
from fermiac.results.result import warn
from fermiac.score.arguments import as_model, range_of
from fermiac.score.guided import Guided, collapse, log_normalizer_of
from fermiac.score.integration import event_of
from fermiac.score.model import Model
from fermiac.score.noise import CHOICE, INTEGRATE, START, TRAIN
from fermiac.score.rewards import PosteriorMean, Regression, Reward, UserValue, Value, host
from fermiac.score.schedules import schedule_of
from fermiac.targets.torch_target import import_torch

__all__ = ["Aim", "Paths", "State", "svdd"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Aim:
    """What is drawn, and how."""

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
        """Coordinates of a point."""
        return math.prod(self.event)


@dataclass(frozen=True)
class State:
    """All points after a step; a new one takes its place at once, so that Ctrl-C finds it whole."""

    y: Any
    denoised: Any
    values: Array
    #: The logarithm of the potential that the weight contains so far.
    potentials: Array
    log_weights: Array
    #: The logarithm of what resampling has taken out of the weights.
    log_total: float
    ancestors: Ints
    n_resamplings: int = 0
    ess: tuple[float, ...] = ()
    candidate_ess: tuple[float, ...] = ()


class Paths:
    """Points on their way down the levels."""

    def __init__(self, aim: Aim, grid: Array) -> None:
        self._aim, self._grid = aim, grid
        self._tensors = aim.model.runs_on_device
        self._value: Value | None = None
        self.state: State | None = None
        self.n_evals = 0

    def base(self, n: int, reward: Reward) -> tuple[Any, Array]:
        """Points that nothing guides, with rewards: what regressions are fitted to."""
        # The draws of the fits lie below, in the purpose that all of them share.
        first, d = len(self._grid) + 1, self._aim.dim
        y = self._grid[0] * self._normals(TRAIN, n, first, d)
        for i in range(len(self._grid) - 1):
            mean, spread = self._kernel(i, y, self._denoised(y, i))
            y = mean + spread * self._normals(TRAIN, n, first + 1 + i, d)
        clean = self._denoised(y, len(self._grid) - 1)
        return clean, reward(clean)

    def begin(self, value: Value) -> None:
        """Draw the starting points."""
        aim, s = self._aim, float(self._grid[0])
        self._value = value
        z = self._normals(START, aim.n, 0, aim.dim)
        y = s * z
        denoised = self._denoised(y, 0)
        values = value(y, s, denoised, 0)
        potentials = self._potentials(values)
        log_weights = potentials.copy()
        if aim.correct:
            log_weights += aim.model.log_density(y, s) - _log_normal(z, s)
        state = State(
            y, denoised, values, potentials, log_weights, 0.0, np.arange(aim.n, dtype=np.int64)
        )
        self.state = replace(state, ess=(_ess(log_weights),))

    def step(self, i: int) -> None:
        """From level i to the next: candidates, a choice among them, and resampling."""
        aim, state, value = self._aim, self.state, self._value
        assert state is not None
        assert value is not None
        n, m, d = aim.n, aim.n_candidates, aim.dim
        s, to = float(self._grid[i]), float(self._grid[i + 1])
        mean, spread = self._kernel(i, state.y, state.denoised)
        z = self._normals(INTEGRATE, n, i, m * d).reshape(n, m, d)
        candidates = (mean[:, None, :] + spread * z).reshape(n * m, d)
        denoised = self._denoised(candidates, i + 1) if value.needs_denoised else None
        values = value(candidates, to, denoised, i + 1)
        potentials = self._potentials(values)
        scores = potentials.reshape(n, m)
        if aim.correct:
            step = (candidates.reshape(n, m, d) - state.y[:, None, :]) / np.sqrt(s**2 - to**2)
            ratio = aim.model.log_density(candidates, to).reshape(n, m)
            ratio += _log_normal(step, np.sqrt(s**2 - to**2)) - _log_normal(z, spread)
            scores = scores + ratio - aim.model.log_density(state.y, s)[:, None]
        uniforms = _core.score_noise(aim.key, CHOICE, 0, n, i, 0, 1)[1][:, 0]
        chosen, log_mean, effective = _choose(
            values.reshape(n, m) if aim.alpha == 0 else scores, uniforms, aim.alpha == 0
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
        ess = _ess(new.log_weights)
        if aim.particles and ess < aim.ess_threshold * n and n > 1:
            new = self._resampled(new, i)
        self.state = replace(new, ess=(*new.ess, ess))

    def end(self, reward: Reward) -> tuple[State, Array]:
        """The rewards of the clean points take the place of the values."""
        state = self.state
        assert state is not None
        rewards = reward(state.denoised)
        log_weights = state.log_weights + self._potentials(rewards) - state.potentials
        ended = replace(state, log_weights=log_weights, ess=(*state.ess, _ess(log_weights)))
        return replace(ended, values=rewards), rewards

    def _resampled(self, state: State, i: int) -> State:
        aim = self._aim
        weights, log_mean = _core.normalize_weights(state.log_weights)
        # An address beyond those of the points.
        word = _core.score_noise(aim.key, CHOICE, aim.n, 1, i, 0, 1)[1][0, 0]
        rows = _core.resample_indices(weights, aim.n, "systematic", int(word * 2.0**53))
        return replace(
            state,
            y=self._take(state.y, rows),
            denoised=self._take(state.denoised, rows),
            values=state.values[rows],
            potentials=state.potentials[rows],
            log_weights=np.zeros(aim.n),
            log_total=state.log_total + log_mean,
            ancestors=state.ancestors[rows],
            n_resamplings=state.n_resamplings + 1,
        )

    def _potentials(self, values: Array) -> Array:
        alpha = self._aim.alpha
        return values / alpha if alpha > 0 else np.zeros_like(values)

    def _kernel(self, i: int, y: Any, denoised: Any) -> tuple[Any, float]:
        """The mean and the standard deviation of a step."""
        s, to = self._grid[i], self._grid[i + 1]
        spread = np.sqrt(s**2 - to**2)
        if self._aim.base == "ancestral":
            spread *= to / s
        return denoised + float(to / s) ** 2 * (y - denoised), float(spread)

    def _denoised(self, y: Any, i: int) -> Any:
        """What the model says at level i."""
        s = self._grid[i : i + 1]
        self.n_evals += len(y)
        model = self._aim.model
        if self._tensors:
            torch = import_torch()
            out = model._denoise_tensor(y, torch.as_tensor(s, dtype=y.dtype, device=y.device))
            whole_numbers = bool(torch.isfinite(out).all())
        else:
            out = model._denoise(np.ascontiguousarray(y), s)
            whole_numbers = bool(np.isfinite(out).all())
        if not whole_numbers:
            row = int(np.argmin(np.isfinite(host(out)).all(axis=1)))
            raise TargetError(
                f"model: it gave a number that is not finite for row {row} at level {s[0]:g}; "
                "check the network, or choose levels on which it was trained"
            )
        return out

    def _normals(self, purpose: int, n: int, draw: int, count: int) -> Any:
        z = _core.score_noise(self._aim.key, purpose, 0, n, draw, count, 0)[0]
        return self._aim.model._to_device(z) if self._tensors else z

    def _take(self, points: Any, rows: Ints) -> Any:
        if not self._tensors:
            return points[rows]
        return points[import_torch().as_tensor(rows, device=points.device)]


def _choose(scores: Array, uniforms: Array, best: bool) -> tuple[Ints, Array, float]:
    """One of each row in proportion to exp(scores): which, the log of their mean, their ESS."""
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


def _log_normal(z: Array, spread: float) -> Array:
    """The log-density of N(0, spread² I) at spread z."""
    scale = math.log(math.sqrt(2 * math.pi) * spread)
    return np.asarray(-0.5 * np.square(z).sum(axis=-1) - z.shape[-1] * scale)


def _ess(log_weights: Array) -> float:
    return float(1 / np.sum(_core.normalize_weights(log_weights)[0] ** 2))


def svdd(
    model: Model,
    reward: Callable[[Any], Any],
    n: int,
    dim: int | Sequence[int] | None = None,
    *,
    alpha: float = 1.0,
    n_candidates: int | None = None,
    mode: str = "candidates",
    value: str | Callable[[Any, float], Any] = "posterior_mean",
    n_steps: int | None = None,
    schedule: str | ArrayLike | Callable[[int, float, float], ArrayLike] = "karras",
    sigma_range: tuple[float, float] | None = None,
    base: str = "ancestral",
    correct: bool = False,
    ess_threshold: float = 0.5,
    n_fit: int = 2000,
    regressor: Callable[[Array, Array], Callable[[Array], ArrayLike]] | None = None,
    names: Sequence[str] | None = None,
    rng: RngLike = None,
    n_threads: int | None = None,
    progress: bool | Report | None = None,
) -> Guided:
    r"""Draw points of a score model towards a reward, without its gradient.

    The points aimed at have the density :math:`p(x)\,e^{r(x)/\alpha}`, p being the model's own law
    and r the reward, which may be any function. At each noise level every point draws a few
    candidates from the step of the model, and goes on with one of them, chosen by its soft value
    :math:`v_s(y) = \alpha \log E[e^{r(x)/\alpha} \mid y]` [1]_. As particles, the points also
    carry weights and are resampled, which makes up for what the values and the number of candidates
    lack [2]_; the proposals are the steps of the model, not moved along a gradient as there.

    Parameters
    ----------
    model : Model
        The score model.
    reward : callable
        Takes clean points, (n, d) or (n, *shape), gives finite numbers (n,). A ``torch.nn.Module``
        gets tensors of its own type, and everything gets tensors from a model that runs on a
        device.
    n : int
        Points to draw.
    dim : int or sequence of int, optional
        Coordinates of a point, or its shape, where the model does not say. The reward gets points
        of this shape; the sample holds them as rows.
    alpha : float, default 1.0
        The temperature: the smaller, the more the reward counts. At 0 the best candidate is
        taken, with ``mode="candidates"`` only.
    n_candidates : int, optional
        Candidates of a point at each step: 10 by default, and 1 for particles.
    mode : {"candidates", "particles"}, default "candidates"
        Independent points that count equally, with a bias (see the notes); or weighted particles
        that are resampled, with a bias of order 1/n and errors that are known.
    value : {"posterior_mean", "regression"} or callable, default "posterior_mean"
        The soft value: the reward of the denoised point, r(E[x | y]), which asks the model at
        every candidate; a regression of the rewards on noisy points at each level, which asks it
        at the chosen ones only; or a function of (y, sigma) that gives (n,).
    n_steps : int, default 100
        Steps, the one to level 0 included, which takes the mean of the data behind the points.
    schedule : str, callable or array_like, default "karras"
        Where the levels lie: a name or a function, as of `fermiac.score.sample`, or the falling
        levels themselves, which say the number of steps and the range as well. A last step goes to
        level 0, whether they end with it or not.
    sigma_range : tuple of float, optional
        The lowest and the highest level; by default those of the model.
    base : {"ancestral", "euler_maruyama"}, default "ancestral"
        The step: drawn as if the data behind a point were at their mean, or with the noise of the
        whole step.
    correct : bool, default False
        Weigh particles for what the finite steps of the model miss, so that its own law is met
        for any number of steps. Needs a model that knows its log-density.
    ess_threshold : float, default 0.5
        Particles are resampled when their effective sample size falls below this share of `n`; at
        0 never.
    n_fit : int, default 2000
        Points, drawn without a reward, that a regression is fitted to.
    regressor : callable, optional
        Takes noisy points (n_fit, d) and rewards (n_fit,), gives a function from points to
        predictions. By default least squares with a ridge on the coordinates, their squares and
        256 random ramps.
    names : sequence of str, optional
        Names of the coordinates.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself.
    n_threads : int, optional
        Worker threads; see `fermiac.set_num_threads`. Never changes the result.
    progress : bool or callable, optional
        Show a bar (by default on a terminal only), or call this with (done, total) steps.

    Returns
    -------
    Guided
        A `fermiac.Sample` with ``rewards``, ``log_normalizer`` and its standard error,
        ``ess_history``, ``candidate_ess``. Its ``n_evals`` counts points given to the model.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.
    TargetError
        If the reward, a value or the model gives a wrong shape or a number that is not finite.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` is a `Guided` of the denoised points at the level that
        was reached, or None.

    Warns
    -----
    WeightWarning
        If the particles descend from fewer than ten effective starting points.

    Notes
    -----
    Candidates are biased. One of M is chosen, which for a finite M favours high values less than it
    should; and r(E[x | y]) is not the soft value, below which it lies for a linear or a convex
    reward, by Jensen's inequality. Neither biases particles, whose weights only get more uneven by
    them: the mean of :math:`e^{v/\alpha}` over the candidates, over that of the point before, is
    a factor of the weight, and at the end the reward stands in for the value. What remains is that
    the finite steps of the model do not draw from its law: ``"ancestral"`` ones give too narrow
    modes, ``"euler_maruyama"`` ones too wide ones (for standard normal data, levels from 20 to
    0.01 and no reward, the variances are 0.93 and 1.07 with 100 steps, 0.993 and 1.007 with 1000).
    Weights correct for that as well if asked; theirs are more even with ``"euler_maruyama"``,
    whose steps reach all that the true ones do.

    With alpha small against the range of the rewards that the model knows, all weight falls on few
    particles; candidates still follow the reward then. Errors of averages know of what happened to
    the particles that are left: where all of a mode died out, the average of its indicator is 0
    with an error of 0.

    References
    ----------
    .. [1] X. Li, Y. Zhao, C. Wang, G. Scalia, G. Eraslan, S. Nair, T. Biancalani, S. Ji, A. Regev,
       S. Levine, M. Uehara, "Derivative-free guidance in continuous and discrete diffusion models
       with soft value-based decoding", 2024.
    .. [2] L. Wu, B. Trippe, C. Naesseth, D. Blei, J. Cunningham, "Practical and asymptotically
       exact conditional sampling in diffusion models", Advances in Neural Information Processing
       Systems, 2023.

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
    start = time.perf_counter()
    aim = _aim(model, n, dim, alpha, mode, n_candidates, base, correct, ess_threshold, key_of(rng))
    grid = _levels(model, n_steps, schedule, sigma_range)
    wanted = labels(names, aim.dim)
    judged = Reward(reward, aim.event)
    n_fit = whole("n_fit", n_fit, 16, 2**32)
    if not callable(value):
        choice("value", value, ("posterior_mean", "regression"))
    if regressor is not None and value != "regression":
        raise ArgumentError("regressor: given without value='regression'; leave it out")
    if regressor is not None and not callable(regressor):
        raise ArgumentError(
            f"regressor: {regressor!r:.60} was given; a callable that takes points and rewards, "
            "and gives a function of points, is needed"
        )
    settings = {
        "alpha": aim.alpha,
        "n_candidates": aim.n_candidates,
        "mode": mode,
        "value": "callable" if callable(value) else value,
        "base": base,
        "correct": aim.correct,
        "ess_threshold": aim.ess_threshold,
    }

    def result(state: State, clean: Any, rewards: Array, status: str) -> Guided:
        return _result(
            aim,
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
        threads(resolve_threads(n_threads)),
        aim.model._held(),
        reporter(progress, "svdd", "steps") as report,
    ):
        paths = Paths(aim, grid[:-1])
        n_steps = len(grid) - 1
        try:
            if value == "regression":
                valued: Value = Regression(*paths.base(n_fit, judged), aim.key, regressor)
            else:
                valued = UserValue(value, aim.event) if callable(value) else PosteriorMean(judged)
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
    found = collapse(made)
    object.__setattr__(made, "warnings", tuple(text for _, text in found))
    warn(found, made)
    return made


def _aim(
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
) -> Aim:
    as_model(model)
    event = event_of(model, dim)
    model = model._shaped(event)
    particles = choice("mode", mode, ("candidates", "particles")) == "particles"
    choice("base", base, ("ancestral", "euler_maruyama"))
    # Zero stands for the best candidate.
    alpha = 0.0 if alpha == 0 else positive("alpha", alpha)
    correct = yes("correct", correct)
    if particles and alpha == 0:
        raise ArgumentError(
            "alpha: 0 was given for particles, whose weights would all be 0 but one; give a "
            "positive number, or mode='candidates'"
        )
    if correct and not particles:
        raise ArgumentError("correct: only particles have weights to correct; leave it out")
    if correct and not (model.has_log_density and not model.runs_on_device):
        raise ArgumentError(
            f"correct: {type(model).__name__} does not know its log-density; leave it out"
        )
    default = 1 if particles else 10
    count = default if n_candidates is None else whole("n_candidates", n_candidates, 1, 2**20)
    share = numbers("ess_threshold", ess_threshold)
    if share.ndim or not 0 <= share <= 1:
        raise ArgumentError(
            f"ess_threshold: {ess_threshold!r:.60} was given; a share from 0 to 1 is needed"
        )
    n = whole("n", n, 1, 2**40)
    return Aim(model, n, event, alpha, count, particles, base, correct, float(share), key)


def _levels(
    model: Model,
    n_steps: int | None,
    schedule: str | ArrayLike | Callable[[int, float, float], ArrayLike],
    sigma_range: tuple[float, float] | None,
) -> Array:
    """The noise levels of a call, falling, those of the step to 0 included."""
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
    aim: Aim, state: State, draws: Array, rewards: Array, *, sigmas: Array, **fields: Any
) -> Guided:
    log_normalizer, stderr = float("nan"), float("nan")
    if aim.alpha > 0:
        log_normalizer, stderr = log_normalizer_of(
            state.log_total, state.log_weights, state.ancestors
        )
    model = "particles" if state.n_resamplings else "weighted"
    return Guided(
        seed=aim.key,
        version=_core.__version__,
        isa=_core.isa_level,
        draws=np.ascontiguousarray(draws, dtype=np.float64),
        log_weights=state.log_total + state.log_weights if aim.particles else None,
        error_model=model if aim.particles else "iid",
        rewards=rewards,
        log_normalizer=log_normalizer,
        log_normalizer_stderr=stderr,
        ess_history=np.array(state.ess) if aim.alpha > 0 else np.empty(0),
        candidate_ess=np.array(state.candidate_ess),
        sigmas=sigmas,
        ancestors=state.ancestors,
        n_resamplings=state.n_resamplings,
        mode="particles" if aim.particles else "candidates",
        **fields,
    )
