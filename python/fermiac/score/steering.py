"""Weighted particles: tilted laws, powers and products of the laws of score models."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.ask import ask
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads, threads
from fermiac._base.plan import Plan, PlanLike, plan_of
from fermiac._base.progress import finish, reporter
from fermiac._base.validate import (
    RngLike,
    choice,
    labels,
    numbers,
    positive,
    probability,
    real,
    shown,
    whole,
    yes,
)
from fermiac.errors import ArgumentError
from fermiac.results.result import warn
from fermiac.score.arguments import as_model, range_findings, range_of
from fermiac.score.class_gradients import checked_rows
from fermiac.score.executor_model import sharded_model
from fermiac.score.guided_result import Guided, collapse, log_normalizer_of, step_findings
from fermiac.score.integration import event_of
from fermiac.score.model import Model
from fermiac.score.particles import Cloud, Moves, Run, denoised_at, log_normal
from fermiac.score.rewards import checked
from fermiac.score.schedules import ScheduleName, schedule_of

__all__ = [
    "STEPS_BIAS",
    "Schedule",
    "Tilted",
    "has_exact_weights",
    "levels_of",
    "noise_of",
    "run_particles",
    "sample_power",
    "steer",
]

Array = NDArray[np.float64]
Carried = Mapping[str, Array]
Potential = Callable[[Array, Array, float], ArrayLike]
Schedule = str | ArrayLike | Callable[[int, float, float], ArrayLike]

STEPS_BIAS = (
    "the steps of the model are weighted as if they had its own law, which is accurate only for "
    "many short steps; a model with a log-density has exact weights"
)


def levels_of(
    model: Model, n_steps: int, schedule: Schedule, sigma_range: tuple[float, float] | None
) -> Array:
    """Return the decreasing levels of a call, of which the last is 0."""
    if isinstance(schedule, str) or callable(schedule):
        steps = whole("n_steps", n_steps, 2, 10**6)
        grid = schedule_of(schedule, steps, *range_of(model, sigma_range), True)
    else:
        grid = np.atleast_1d(numbers("schedule", schedule))
        if grid.ndim == 1 and grid.size and grid[-1] != 0:
            grid = np.append(grid, 0.0)
    if grid.ndim != 1 or grid.size < 3 or not np.isfinite(grid).all() or (np.diff(grid) >= 0).any():
        raise ArgumentError(
            f"schedule: {shown(grid.tolist())} was given; two or more positive, finite, falling "
            "levels are needed"
        )
    return model._within(grid)


class Tilted(Moves):
    """Particles of a law times the exponential of a potential."""

    def __init__(
        self,
        model: Model,
        potential: Callable[[Array, Array, float], Array],
        gradient: Callable[[Array, Array, float], Array] | None,
        *,
        proposal: Model | None = None,
        kind: str = "difference",
        base: str = "ancestral",
        correct: bool = False,
        noise: float = 1.0,
    ) -> None:
        self.model, self.n_evals = model, 0
        #: The noise of a step, where 1 is that of the reverse process. More noise makes a step a
        #: Langevin move of the tilted law as well; its proposal then needs the law's own score.
        self._c = noise if correct and gradient is not None and proposal is None else 1.0
        self._potential, self._gradient = potential, gradient
        self._proposal, self._kind = proposal, kind
        self._ancestral, self._correct = base == "ancestral", correct

    def replace_models(self, replaced: Callable[[Model], Model]) -> None:
        """Replace the models that denoise points."""
        self.model = replaced(self.model)
        if self._proposal is not None:
            self._proposal = replaced(self._proposal)

    def begin(self, z: Array, s: float) -> tuple[Array, Array, dict[str, Array]]:
        """Return points of pure noise, weighted by their potentials."""
        y = s * z
        denoised = self._denoised(y, s)
        value = self._potential(y, denoised, s)
        carried = {"denoised": denoised, "value": value}
        log_weights = self._factor(value, {}, carried)
        if self._gradient is not None:
            carried["slope"] = self._gradient(y, denoised, s)
        if self._correct:
            carried["density"] = self._log_density(y, s)
            log_weights = log_weights + carried["density"] - log_normal(z, s)
        return y, log_weights, carried

    def step(
        self, s: float, to: float, y: Array, carried: Carried, z: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return the points of the next level; at 0 the denoised ones."""
        denoised = carried["denoised"]
        if to == 0:
            value = self._potential(denoised, denoised, 0.0)
            last = {"denoised": denoised, "value": value}
            spent = carried["spent"] if "spent" in carried else carried["value"]
            return denoised, _gained(value, spent), last
        variance = s**2 - to**2
        spread = math.sqrt(self._c * variance) * (to / s if self._ancestral else 1.0)
        mean = denoised + (to / s) ** 2 * (y - denoised)
        start = mean
        if self._proposal is not None:
            led = denoised_at(self._proposal, y, s)
            self.n_evals += len(y)
            start = led + (to / s) ** 2 * (y - led)
        if self._gradient is not None:
            start = start + variance * carried["slope"]
        # A Langevin move of the tilted law adds noise, and half of that variance times the score.
        more = 0.5 * (self._c - 1.0) * variance
        if more:
            start = start + more * ((denoised - y) / s**2 + carried["slope"])
        moved = start + spread * z
        now = self._denoised(moved, to)
        value = self._potential(moved, now, to)
        made = {"denoised": now, "value": value}
        factor = self._factor(value, carried, made)
        if self._gradient is not None:
            made["slope"] = self._gradient(moved, now, to)
        if self._correct:
            made["density"] = self._log_density(moved, to)
            away, back = y - moved, math.sqrt(self._c * variance)
            if more:
                away = away - more * ((now - moved) / to**2 + made["slope"])
            factor = factor + made["density"] - carried["density"]
            factor = factor + log_normal(away / back, back) - log_normal(z, spread)
        elif start is not mean:
            factor = factor + log_normal((moved - mean) / spread, spread) - log_normal(z, spread)
        return moved, factor, made

    def _factor(self, value: Array, before: Carried, made: dict[str, Array]) -> Array:
        """Return the factor of the weights of a level, for the kind of combination."""
        if self._kind == "difference":
            return _gained(value, before["value"]) if before else value
        if self._kind == "max":
            reached = np.maximum(before["reached"], value) if before else value
        else:
            reached = before["reached"] + value if before else value
        made["reached"] = reached
        made["spent"] = (before["spent"] if before else 0.0) + reached
        return reached

    def _denoised(self, y: Array, s: float) -> Array:
        self.n_evals += len(y)
        return denoised_at(self.model, y, s)

    def _log_density(self, y: Array, s: float) -> Array:
        return np.asarray(self.model._log_density(np.ascontiguousarray(y), np.array([s])))


def _gained(value: Array, before: Array) -> Array:
    """Return the difference; 0 for particles that were excluded before, and have no weight."""
    excluded = before == -np.inf
    return np.where(excluded, 0.0, value - np.where(excluded, 0.0, before))


class _Power(Moves):
    """Particles of a product of powers of laws.

    Let g be the score of the product at a level, and a the decrease of the squared level. A step is
    y + a (1 + c) g / 2 + √(c a) z: the reverse stochastic equation for c = 1, with an additional
    Langevin move of the product for larger c.
    """

    def __init__(self, models: Sequence[Model], exponents: Array, exact: bool, c: float) -> None:
        self.model, self._models = models[0], models
        self._exponents, self._exact, self._c = exponents, exact, c
        self._total = float(exponents.sum())
        self.n_evals = 0

    def laws(self) -> Sequence[Model]:
        """Return the models of the laws."""
        return self._models

    def replace_models(self, replaced: Callable[[Model], Model]) -> None:
        """Replace the models that denoise points."""
        self._models = [replaced(model) for model in self._models]
        self.model = self._models[0]

    def begin(self, z: Array, s: float) -> tuple[Array, Array, dict[str, Array]]:
        """Return noise of variance s² / Σw, weighted towards the product at the first level."""
        spread = s / math.sqrt(self._total)
        y = spread * z
        total, squares = self._scores(y, s)
        if self._exact:
            density = self._log_density(y, s)
            return y, density - log_normal(z, spread), {"density": density, "score": total}
        # Without densities every law counts as N(0, s²) at the highest level.
        d = z.shape[1]
        own = -0.5 * d * self._total * math.log(2 * math.pi * s**2)
        log_weight = own + 0.5 * d * math.log(2 * math.pi * spread**2)
        return y, np.full(len(y), log_weight), {"score": total, "squares": squares}

    def step(
        self, s: float, to: float, y: Array, carried: Carried, z: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return the next points, and the factors of their weights."""
        total, c = carried["score"], self._c if to > 0 else 1.0
        if not self._exact:
            variance = s**2 - to**2
            # Near the product's own noise, of variance s² / Σw.
            c /= max(1.0, self._total)
            factor = 0.5 * variance * (np.square(total).sum(axis=1) - carried["squares"])
            if to == 0:
                return y + variance * total, factor, {}
            moved = y + 0.5 * variance * (1 + c) * total + math.sqrt(c * variance) * z
            now, squares = self._scores(moved, to)
            return moved, factor, {"score": now, "squares": squares}
        # The noise of the product has the variance s² / Σw, so steps are accurate if they are far
        # below it.
        variance = (s**2 - to**2) / self._total
        spread = math.sqrt(c * variance)
        moved = y + 0.5 * variance * (1 + c) * total + spread * z
        density = self._log_density(moved, to)
        made = {"density": density}
        away = y - moved
        if to > 0:
            made["score"] = self._scores(moved, to)[0]
            away = away - 0.5 * variance * (c - 1) * made["score"]
        back = log_normal(away / spread, spread) - log_normal(z, spread)
        return moved, density - carried["density"] + back, made

    def _scores(self, y: Array, s: float) -> tuple[Array, Array]:
        """Return Σ w ∇ and Σ w |∇|² of the scores ∇ of the laws."""
        total, squares = np.zeros_like(y), np.zeros(len(y))
        for w, model in zip(self._exponents, self._models, strict=True):
            slope = (denoised_at(model, y, s) - y) / s**2
            total += w * slope
            squares += w * np.square(slope).sum(axis=1)
        self.n_evals += len(y) * len(self._models)
        return total, squares

    def _log_density(self, y: Array, s: float) -> Array:
        points, level = np.ascontiguousarray(y), np.array([s])
        parts = [
            w * model._log_density(points, level)
            for w, model in zip(self._exponents, self._models, strict=True)
        ]
        return np.asarray(sum(parts))


def noise_of(grid: Array) -> float:
    """Return the noise of steps with Langevin moves: more would be unstable with long steps."""
    return min(max(len(grid) / 15, 1.0), 4.0)


def run_particles(
    moves: Moves,
    grid: Array,
    shape: tuple[int, int],
    *,
    label: str,
    names: Sequence[str] | None,
    ess_threshold: float,
    rng: RngLike,
    plan: Plan,
    identity: Mapping[str, Any],
    settings: Mapping[str, Any],
    bias: Sequence[str],
    mode: str = "particles",
    weighted: bool = True,
    finished: Callable[[Array], Mapping[str, Any]] = lambda draws: {},
    coarse: Guided | None = None,
    extra: int = 0,
) -> Guided:
    """Run particles, and return them as a sample.

    `finished` returns further fields of the result for the draws. `coarse` is a run with fewer
    steps, by which the error of the steps is judged, and `extra` are evaluations before this run.
    """
    start = time.perf_counter()
    share = probability("ess_threshold", ess_threshold, zero=True, one=True)
    wanted = labels(names, shape[1])
    laws = moves.laws()
    run = Run(moves, grid, shape, share, rng, plan, {"method": label, **identity})

    def result(cloud: Cloud, status: str) -> Guided:
        total, stderr = float("nan"), float("nan")
        if weighted:
            total, stderr = log_normalizer_of(cloud.log_total, cloud.log_weights, cloud.ancestors)
        draws = cloud.y if status == "complete" else cloud.carried.get("denoised", cloud.y)
        fields = {"rewards": cloud.carried.get("value", np.zeros(shape[0])), **finished(draws)}
        kind = "particles" if cloud.n_resamplings else "weighted"
        return Guided(
            seed=run.key,
            version=_core.__version__,
            isa=_core.isa_level,
            draws=np.ascontiguousarray(draws),
            log_weights=cloud.log_total + cloud.log_weights if weighted else None,
            error_model=kind if weighted else "iid",
            log_normalizer=total,
            log_normalizer_stderr=stderr,
            ess_history=np.array(cloud.ess) if weighted else np.empty(0),
            sigmas=grid,
            ancestors=cloud.ancestors,
            n_resamplings=cloud.n_resamplings,
            mode=mode,
            bias=tuple(bias),
            names=wanted,
            n_evals=moves.n_evals + extra,
            settings={**settings, "ess_threshold": share},
            status=status,
            wall_time=time.perf_counter() - start,
            **fields,
        )

    with (
        threads(workers := resolve_threads(plan.n_threads)),
        ExitStack() as stack,
        moves.model._held(),
        reporter(plan.progress, label, "steps") as report,
    ):
        if plan.executor is not None:
            moves.replace_models(
                lambda model: stack.enter_context(
                    sharded_model(model, shape[1], plan.executor, workers)
                )
            )
        try:
            cloud = run.run(report)
        except KeyboardInterrupt as stop:
            at = run.cloud
            stop.partial_result = None if at is None else result(at, "interrupted")  # type: ignore[attr-defined]
            raise
        made = result(cloud, "complete")
        finish(report, run.n_steps, made)
    high = float(grid[0])
    found = collapse(made)
    if coarse is not None:
        stderr, more = step_findings(made, coarse, (len(grid) - 1, len(coarse.sigmas) - 1))
        object.__setattr__(made, "log_normalizer_stderr", stderr)
        found += more
    found += [f for law in laws for f in range_findings(law, high, shape[1])]
    warn(list(dict.fromkeys(found)), made)
    return made


def has_exact_weights(correct: bool | None, models: Sequence[Model]) -> bool:
    """Return whether weights are exact, which needs the log-densities of all models."""
    known = all(model.has_log_density for model in models)
    if correct is None:
        return known
    if yes("correct", correct) and not known:
        raise ArgumentError(
            "correct: True was given for a model without a log-density; leave it out, and take "
            "many steps"
        )
    return correct


@public
def steer(
    model: Model,
    potential: Potential,
    n: int,
    dim: int | Sequence[int] | None = None,
    *,
    gradient: Potential | None = None,
    proposal: Model | None = None,
    kind: Literal["difference", "max", "sum"] = "difference",
    n_steps: int = 100,
    schedule: ScheduleName | Schedule = "karras",
    sigma_range: tuple[float, float] | None = None,
    base: Literal["ancestral", "euler_maruyama"] | None = None,
    correct: bool | None = None,
    ess_threshold: float = 0.5,
    names: Sequence[str] | None = None,
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> Guided:
    r"""Draw weighted particles of a score model times the exponential of a potential.

    The target is :math:`p(x)\,e^{g(x, x, 0)}`, where g is the potential. Particles at an
    intermediate noise level s are weighted by :math:`g(y, D(y, s), s)`, and resampled when their
    effective sample size is small [1]_. The target does not depend on the potential at levels above
    0.

    Parameters
    ----------
    model : Model
        The score model.
    potential : callable
        The potential g: a function of noisy points y (n, d), their denoised points (n, d) and the
        level, which returns (n,) numbers below infinity. Minus infinity excludes a particle
        permanently.
    n : int
        The number of particles.
    dim : int or sequence of int, optional
        Coordinates of a point, if the model does not determine it.
    gradient : callable, optional
        The gradient of g by y, including its dependence through the denoised point: a function of
        the same arguments that returns (n, d). Steps then follow it, and the weights account for
        this [2]_. Euler-Maruyama steps with exact weights also have Langevin moves, as in
        `sample_power`.
    proposal : Model, optional
        A model whose steps the particles take, for instance one of `guided`; the weights account
        for it.
    kind : {"difference", "max", "sum"}, default "difference"
        The weights at intermediate levels: the exponential of the potential, of its largest value
        so far, or of the sum so far over the levels [1]_.
    n_steps : int, default 100
        Steps, including the one to level 0, which takes the mean of the data behind the points.
    schedule : str, callable or array_like, default "karras"
        The schedule of the levels, as for `fermiac.score.svdd`.
    sigma_range : tuple of float, optional
        The lowest and the highest level; by default those of the model.
    base : {"ancestral", "euler_maruyama"}, optional
        The step of the model: drawn as if the data behind a point were at their mean, or with the
        noise of the whole step. The second is the default if the weights are exact.
    correct : bool, optional
        Use weights that are exact for steps of any length, from the log-density of the model; by
        default if it has one.
    ess_threshold : float, default 0.5
        Particles are resampled if their effective sample size falls below this share of `n`.
    names : sequence of str, optional
        Names of the coordinates.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``); see `fermiac.Plan`.
        ``store``: a folder for the particles between levels, from which the same call resumes.

    Returns
    -------
    Guided
        The particles and their weights; `rewards` are their potentials, `log_normalizer` the
        logarithm of :math:`E\,e^{g(x, x, 0)}`. Without exact weights `bias` says so.

    Raises
    ------
    ArgumentError
        If an argument is invalid.
    TargetError
        If a function returns another shape, NaN or infinity, or all weights are 0.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` has the particles so far, denoised.

    Warns
    -----
    WeightWarning
        If the particles descend from too few starting points for their errors.

    References
    ----------
    .. [1] R. Singhal et al., "A general framework for inference-time scaling and steering of
       diffusion models", 2025, arXiv:2501.06848.
    .. [2] L. Wu, B. L. Trippe, C. A. Naesseth, D. M. Blei, J. P. Cunningham, "Practical and
       asymptotically exact conditional sampling in diffusion models", 2023, arXiv:2306.17775.

    Examples
    --------
    Standard normal data and the potential 2x: the target is N(2, 1), and :math:`E\,e^{2x} = e^2`.

    >>> import fermiac as fm
    >>> normal = fm.score.Gaussian([0.0], 1.0)
    >>> s = fm.score.steer(normal, lambda y, x, sigma: 2 * x[:, 0], 4000, n_steps=40, rng=0)
    >>> e = s.expect(lambda x: x)
    >>> bool(abs(e.mean[0] - 2) < 5 * e.stderr[0]), s.bias
    (True, ())
    """
    where = plan_of(plan, "executor", "store")
    model = as_model(model)
    event = event_of(model, dim)
    model = model._shaped(event)
    d = math.prod(event)
    count = whole("n", n, 1, 2**40)
    for name, given in (("potential", potential), ("gradient", gradient)):
        if not callable(given) and (name == "potential" or given is not None):
            raise ArgumentError(
                f"{name}: {shown(given)} was given; a function of noisy points, denoised points "
                "and their level is needed"
            )
    led = None if proposal is None else as_model(proposal)._shaped(event)
    if led is not None and led.dim not in (None, d):
        raise ArgumentError(f"proposal: a model of {led.dim} coordinates was given; {d} are needed")
    exact = has_exact_weights(correct, [model])
    wanted = _base(base, exact)
    choice("kind", kind, ("difference", "max", "sum"))
    grid = levels_of(model, n_steps, schedule, sigma_range)
    moves = Tilted(
        model,
        lambda y, x, s: checked(
            "potential", _called("potential", potential, y, x, s), len(y), minus_infinity=True
        ),
        None
        if gradient is None
        else lambda y, x, s: checked_rows(
            "gradient", _called("gradient", gradient, y, x, s), y.shape
        ),
        proposal=led,
        kind=kind,
        base=wanted,
        correct=exact,
        noise=1.0 if wanted == "ancestral" else noise_of(grid),
    )
    settings = {"kind": kind, "base": wanted, "correct": exact, "guided": gradient is not None}
    return run_particles(
        moves,
        grid,
        (count, d),
        label="steer",
        names=names,
        ess_threshold=ess_threshold,
        rng=rng,
        plan=where,
        identity=settings,
        settings=settings,
        bias=() if exact else (STEPS_BIAS,),
    )


def _called(name: str, function: Potential, y: Array, x: Array, s: float) -> ArrayLike:
    given: ArrayLike = ask(
        function, (y, x, s), f"the {name}", f"on a batch of {len(y)} points at level {s:g}"
    )
    return given


def _base(base: str | None, exact: bool) -> str:
    if base is None:
        return "euler_maruyama" if exact else "ancestral"
    return choice("base", base, ("ancestral", "euler_maruyama"))


@public
def sample_power(
    model: Model | Sequence[Model],
    unconditional: Model | None,
    w: ArrayLike,
    n: int,
    dim: int | Sequence[int] | None = None,
    *,
    n_steps: int = 100,
    schedule: ScheduleName | Schedule = "karras",
    sigma_range: tuple[float, float] | None = None,
    noise: float | None = None,
    correct: bool | None = None,
    ess_threshold: float = 0.5,
    names: Sequence[str] | None = None,
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> Guided:
    r"""Draw weighted particles of products of powers of the laws of score models.

    With two models the target is :math:`p_c^w\,p_u^{1-w}`, from which classifier-free guidance does
    not draw. With one model and None it is :math:`p^w`; with a list of models and one exponent for
    each, :math:`\prod_i p_i^{w_i}`. Particles take the steps of the weighted sum of scores, and
    weights correct for the difference [1]_.

    Parameters
    ----------
    model : Model or sequence of Model
        The conditional model, the only model, or the sequence of all factors.
    unconditional : Model or None
        The model with the exponent 1 - w; None for a power or a product.
    w : float or array_like
        The exponent; for a product one for each model. The sum must be positive, and the product
        must have a finite integral.
    n : int
        The number of particles.
    dim : int or sequence of int, optional
        Coordinates of a point, if the models do not determine it.
    n_steps : int, default 100
        Steps, including the one to level 0.
    schedule, sigma_range, ess_threshold, names, rng
        As for `steer`.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``); see `fermiac.Plan`.
        ``store``: a folder for the particles between levels, from which the same call resumes.
    noise : float, optional
        The variance c of the noise of a step, in units of that of the reverse stochastic equation.
        A value above 1 adds Langevin moves of the product to the steps, at no cost, which makes the
        weights more even. The default is a fifteenth of `n_steps`, between 1 and 4.
    correct : bool, optional
        Use weights that are exact for steps of any length, from the log-densities of the models; by
        default if they have them. Otherwise the weights have an error of the order of the steps.

    Returns
    -------
    Guided
        The particles and their weights. `log_normalizer` is the logarithm of the integral of the
        product. Without exact weights `bias` says so.

    Raises
    ------
    ArgumentError, TargetError, KeyboardInterrupt
        As for `steer`.
    NumericalError
        If a law has no density at level 0.

    Warns
    -----
    WeightWarning
        As for `steer`.

    Notes
    -----
    Let :math:`w_i` be the exponents, :math:`\nabla_i` the scores, and a the step in the square of
    the level. Without log-densities, particles move by :math:`\tfrac12 a (1 + c) \sum_i
    w_i\nabla_i` and noise of variance c a, and gain the log-weight :math:`\tfrac12 a(\|\sum_i
    w_i\nabla_i\|^2 - \sum_i w_i\|\nabla_i\|^2)`; for guidance it is :math:`\tfrac12
    w(w-1)\,a\,\|\nabla_c - \nabla_u\|^2`.

    References
    ----------
    .. [1] M. Skreta et al., "Feynman-Kac correctors in diffusion: annealing, guidance, and product
       of experts", 2025, arXiv:2503.02819.

    Examples
    --------
    N(0, 1) N(1, 1) is N(1/2, 1/2) up to a factor, the density of N(0, 2) at 1:

    >>> import fermiac as fm
    >>> laws = [fm.score.Gaussian([0.0], 1.0), fm.score.Gaussian([1.0], 1.0)]
    >>> s = fm.score.sample_power(laws, None, [1.0, 1.0], 4000, n_steps=50, rng=0)
    >>> e = s.expect(lambda x: x)
    >>> bool(abs(e.mean[0] - 0.5) < 5 * e.stderr[0])
    True
    >>> bool(abs(s.log_normalizer + 1.5155) < 5 * s.log_normalizer_stderr)
    True
    """
    where = plan_of(plan, "executor", "store")
    models, exponents = _factors(model, unconditional, w)
    event = event_of(models[0], dim)
    for each in models[1:]:
        event_of(each, event)
    models = [each._shaped(event) for each in models]
    d = math.prod(event)
    count = whole("n", n, 1, 2**40)
    exact = has_exact_weights(correct, models)
    if sigma_range is None and (isinstance(schedule, str) or callable(schedule)):
        ranges = [each._sampling_range() for each in models]
        sigma_range = (min(r[0] for r in ranges), max(r[1] for r in ranges))
    grid = levels_of(models[0], n_steps, schedule, sigma_range)
    for each in models[1:]:
        grid = each._within(grid)
    c = noise_of(grid) if noise is None else positive("noise", noise)
    settings = {"exponents": exponents.tolist(), "correct": exact, "noise": c}
    return run_particles(
        _Power(models, exponents, exact, c),
        grid,
        (count, d),
        label="sample_power",
        names=names,
        ess_threshold=ess_threshold,
        rng=rng,
        plan=where,
        identity=settings,
        settings=settings,
        bias=()
        if exact
        else (
            "the weights, without log-densities, have an error of the order of the steps; more of "
            "them reduce it",
        ),
    )


def _factors(model: Any, unconditional: Any, w: Any) -> tuple[list[Model], Array]:
    """Return the models and their exponents."""
    if isinstance(model, (list, tuple)):
        if unconditional is not None:
            raise ArgumentError(
                "unconditional: given with a list of models; put it into the list, or leave it out"
            )
        models = [as_model(each) for each in model]
        exponents = np.atleast_1d(numbers("w", w))
        if not models or exponents.shape != (len(models),):
            raise ArgumentError(
                f"w: shape {exponents.shape} was given for {len(models)} models; one exponent for "
                "each is needed"
            )
    elif unconditional is None:
        models, exponents = [as_model(model)], np.array([_exponent(w)])
    else:
        scale = _exponent(w)
        models, exponents = [as_model(model), as_model(unconditional)], np.array([scale, 1 - scale])
    total = float(exponents.sum())
    if not (np.isfinite(exponents).all() and 0 < total < math.inf):
        raise ArgumentError(
            f"w: {shown(w)} was given, exponents with the sum {total:g}; finite ones with a "
            "positive sum are needed"
        )
    return models, exponents


def _exponent(w: Any) -> float:
    return real("w", w, "a finite number is needed", math.isfinite)
