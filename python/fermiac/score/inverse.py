"""Draws given an observation: published approximations with their bias, and weighted particles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fermiac._base.calls import public
from fermiac._base.plan import Plan, PlanLike, plan_of
from fermiac._base.validate import RngLike, shown, whole
from fermiac.errors import ArgumentError
from fermiac.results.result import quiet
from fermiac.score.arguments import as_model
from fermiac.score.exact import Gaussian, GaussianMixture
from fermiac.score.guided_result import LEAST_LINES, Guided, is_collapsed
from fermiac.score.integration import event_of
from fermiac.score.inverse_methods import (
    DDRM,
    METHODS,
    InverseMethod,
    Particles,
    PiGDM,
    prior_variance_of,
    pulled,
)
from fermiac.score.model import Model
from fermiac.score.observations import Linear, Observation
from fermiac.score.particles import Moves, digest
from fermiac.score.schedules import ScheduleName
from fermiac.score.steering import (
    STEPS_BIAS,
    Schedule,
    Tilted,
    has_exact_weights,
    levels_of,
    noise_of,
    run_particles,
)

__all__ = ["observed", "posterior"]

Array = NDArray[np.float64]
#: The seed of the particles by which the others are judged; a choice never depends on chance.
_CHECK = 2**64 - 1
MethodName: TypeAlias = Literal["auto", "particles", "pigdm", "ddrm", "daps"]


@public
def posterior(
    model: Model,
    observation: Observation,
    y: Any,
    n: int = 256,
    dim: int | Sequence[int] | None = None,
    *,
    method: MethodName | InverseMethod = "auto",
    n_steps: int = 100,
    schedule: ScheduleName | Schedule = "karras",
    sigma_range: tuple[float, float] | None = None,
    names: Sequence[str] | None = None,
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> Guided:
    r"""Draw from a score model given an observation.

    The target has the density :math:`p(x)\,p(y \mid x)` up to a factor. All methods but
    ``"particles"`` are approximations whose error does not vanish with more steps. `bias` describes
    the error, and the first line of the result says ``biased``. The documentation has its size for
    laws that are known exactly.

    Parameters
    ----------
    model : Model
        The score model of the law p before the observation.
    observation : Linear or Measured
        The law of the observation.
    y : array_like
        The observed data: (m,) for `Linear`, any object that the functions of `Measured` take.
    n : int, default 256
        The number of draws.
    dim : int or sequence of int, optional
        Coordinates of a point; by default those of the model, or the columns of a `Linear`
        observation.
    method : InverseMethod or str, default "auto"
        `Particles`, ``"particles"``; `PiGDM`, ``"pigdm"``; `DDRM`, ``"ddrm"``; `DAPS`, ``"daps"``.
        `PiGDM` needs the derivative of the model, which exact models and torch modules have.
        ``"auto"`` takes particles. If the model has no log-density, and the particles of a `Linear`
        observation descend from too few starting points, it takes the approximation that is least
        biased on exact laws: ``"pigdm"`` with a derivative, ``"ddrm"`` without.
    n_steps : int, default 100
        The number of steps, including the one to level 0.
    schedule, sigma_range, names, rng
        As for `steer`.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``); see `fermiac.Plan`.
        ``store``: a folder for the particles between levels, from which the same call resumes.

    Returns
    -------
    Guided
        The draws, with weights for particles. `residuals` are the observed numbers minus the
        predictions of the draws, `rewards` their log-likelihoods, and `log_evidence` (for
        particles) the log-density of the observation.

    Raises
    ------
    ArgumentError
        If an argument is invalid, a shape does not fit, or the model or the observation lacks
        something that the method needs.
    TargetError
        If a function returns another shape, NaN or infinity, or all weights are 0.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` has the points so far.

    Warns
    -----
    WeightWarning
        If particles descend from too few starting points for their errors.
    ConvergenceWarning
        If the highest level is not large against the data, see `sample`; or if the log evidence
        changes with the number of steps.

    Notes
    -----
    Particles have exact weights if the model has a log-density. Otherwise the error of their log
    evidence is of the order of the length of a step. Half as many particles with half as many steps
    then measure it: `log_evidence_stderr` includes the difference of the two values, or the noise
    of this difference if that is larger. Their evaluations are counted in `n_evals`.

    References
    ----------
    .. [1] J. Song, A. Vahdat, M. Mardani, J. Kautz, "Pseudoinverse-guided diffusion models for
       inverse problems", ICLR, 2023, https://openreview.net/forum?id=9_gsMA8MRKQ.
    .. [2] L. Wu, B. L. Trippe, C. A. Naesseth, D. M. Blei, J. P. Cunningham, "Practical and
       asymptotically exact conditional sampling in diffusion models", 2023, arXiv:2306.17775.

    Examples
    --------
    Standard normal data, observed with noise of variance 1 at 2: the posterior is N(1, 1/2).

    >>> import fermiac as fm
    >>> o = fm.score.Linear([[1.0]], noise=1.0)
    >>> law = fm.score.Gaussian([0.0], 1.0)
    >>> s = fm.score.posterior(law, o, [2.0], 2000, rng=0)
    >>> e = s.expect("x[0]")
    >>> bool(abs(e.mean - 1) < 5 * e.stderr), s.mode, s.bias
    (True, 'particles', ())
    >>> bool(abs(s.log_evidence + 2.2655) < 5 * s.log_evidence_stderr)
    True
    >>> t = fm.score.posterior(law, o, [2.0], 2000, method="pigdm", rng=0)
    >>> bool(abs(t.draws.mean() - 1) < 0.1), t.is_biased
    (True, True)
    """
    where = plan_of(plan, "executor", "store")
    model = as_model(model)
    if dim is None and model._event is None and isinstance(observation, Linear):
        dim = observation.dim
    event = event_of(model, dim)
    model = model._shaped(event)
    d = math.prod(event)
    if not isinstance(observation, Observation):
        raise ArgumentError(
            f"observation: {shown(observation)} was given; fermiac.score.Linear(matrix, noise) or "
            "Measured(...) is needed"
        )
    observation._require(d)
    seen = observation._observed(y)
    count = whole("n", n, 1, 2**40)
    auto = isinstance(method, str) and method == "auto"
    chosen: InverseMethod = Particles() if auto else METHODS.resolve(method)
    chosen._require_derivative(model)
    grid = levels_of(model, n_steps, schedule, sigma_range)
    extra = 0
    if isinstance(chosen, PiGDM | Particles) and not isinstance(model, GaussianMixture | Gaussian):
        ends = float(grid[-2]), float(grid[0])
        variance, extra = prior_variance_of(model, chosen.prior_variance, d, ends)
        chosen = replace(chosen, prior_variance=variance)

    def run(
        chosen: InverseMethod, n: int, grid: Array, rng: RngLike, coarse: Guided | None, plan: Plan
    ) -> Guided:
        weighted = isinstance(chosen, Particles)
        moves, bias = (
            _particles(chosen, model, observation, seen, noise_of(grid))
            if isinstance(chosen, Particles)
            else (chosen._moves(model, observation, seen, d), (chosen.flaw,))
        )

        def finished(draws: Array) -> dict[str, Any]:
            more: dict[str, Any] = {"residuals": observation._residuals(draws, seen)}
            if not weighted:
                more["rewards"] = observation._log_likelihood(draws, seen)
            return more

        identity = {"steps of": repr(chosen), "observation": repr(observation)}
        if isinstance(observation, Linear):
            identity["observed"] = digest(observation.matrix, seen)
        return run_particles(
            moves,
            grid,
            (n, d),
            label="posterior",
            mode=chosen.name,
            weighted=weighted,
            names=names,
            ess_threshold=chosen.ess_threshold if isinstance(chosen, Particles) else 0.0,
            rng=rng,
            identity=identity,
            settings={"method": repr(chosen)},
            bias=bias,
            finished=finished,
            coarse=coarse,
            extra=extra,
            plan=plan,
        )

    coarse = None
    if isinstance(chosen, Particles) and not has_exact_weights(chosen.correct, [model]):
        half = np.append(grid[:-1:2], 0.0)
        if count >= 2 * LEAST_LINES and len(half) > 2:
            with quiet():
                once = replace(where, store=None, progress=False)
                coarse = run(chosen, count // 2, half, _CHECK, None, once)
            extra = coarse.n_evals
        if auto and isinstance(observation, Linear) and (coarse is None or is_collapsed(coarse)):
            coarse = None
            chosen = PiGDM(chosen.prior_variance) if model.has_vjp else DDRM()
    return run(chosen, count, grid, rng, coarse, where)


def _particles(
    chosen: Particles, model: Model, observation: Observation, seen: Any, noise: float
) -> tuple[Moves, tuple[str, ...]]:
    """Return the particles of an observation, and their bias."""
    exact = has_exact_weights(chosen.correct, [model])
    linear = observation if isinstance(observation, Linear) else None
    variance = prior_variance_of(model, chosen.prior_variance, 0)[0]

    def potential(y: Array, x: Array, s: float) -> Array:
        if linear is None:
            return observation._log_likelihood(x, seen)
        # The variance of the data given a noisy point.
        spread = variance * s**2 / (variance + s**2)
        return linear._log_normal(linear._residuals(x, seen), spread)

    gradient = None
    if chosen.twist and linear is not None and model.has_vjp:

        def gradient(y: Array, x: Array, s: float) -> Array:
            return pulled(model, linear, seen, y, x, s, variance)

    base = "euler_maruyama" if exact else "ancestral"
    moves = Tilted(model, potential, gradient, base=base, correct=exact, noise=noise)
    return moves, () if exact else (STEPS_BIAS,)


class _Given(Model):
    """A model whose denoiser follows an observation."""

    #: The reasons for which its points are no draws given the observation.
    bias = (PiGDM.flaw,)

    def __init__(self, model: Model, observation: Linear, seen: Array, variance: float) -> None:
        self._inner, self._o, self._seen, self._variance = model, observation, seen, variance
        self.dim, self.sigma_range = observation.dim, model.sigma_range

    def _sampling_range(self) -> tuple[float, float]:
        return self._inner._sampling_range()

    def _held(self) -> Any:
        return self._inner._held()

    def _denoise(self, y: Array, sigma: Array) -> Array:
        made = np.array(self._inner._denoise(y, sigma), dtype=np.float64)
        levels = np.broadcast_to(sigma, len(y))
        for s in np.unique(levels[levels > 0]).tolist():
            rows = levels == s
            points = y[rows]
            slope = pulled(self._inner, self._o, self._seen, points, made[rows], s, self._variance)
            made[rows] += s**2 * slope
        return made

    def __repr__(self) -> str:
        return f"<{self._inner!r} given {self._o!r}>"


@public
def observed(
    model: Model,
    observation: Linear,
    y: Any,
    *,
    prior_variance: float | None = None,
) -> Model:
    """Return a model that follows a linear observation by `PiGDM`, for all integrators.

    Parameters
    ----------
    model : Model
        The score model before the observation. It needs a derivative: an exact model, or a torch
        module.
    observation : Linear
        The law of the observation.
    y : array_like, shape (m,)
        The observed numbers.
    prior_variance : float, optional
        As for `PiGDM`.

    Returns
    -------
    Model
        A model whose ``bias`` describes the error of its points.

    Raises
    ------
    ArgumentError
        If an argument is invalid, or the model has no derivative.

    References
    ----------
    .. [1] J. Song, A. Vahdat, M. Mardani, J. Kautz, "Pseudoinverse-guided diffusion models for
       inverse problems", ICLR, 2023, https://openreview.net/forum?id=9_gsMA8MRKQ.
    .. [2] A. Pokle, M. J. Muckley, R. T. Q. Chen, B. Karrer, "Training-free linear image inverses
       via flows", 2023, arXiv:2310.04432.

    Examples
    --------
    >>> import fermiac as fm
    >>> o = fm.score.Linear([[1.0, 0.0]], noise=0.5)
    >>> m = fm.score.observed(fm.score.Gaussian([0.0, 0.0], 1.0), o, [2.0])
    >>> x = fm.score.sample(m, 4000, n_steps=30, sigma_range=(0.01, 50.0), rng=0).draws
    >>> bool(abs(x[:, 0].mean() - 1.6) < 0.05 and abs(x[:, 1].mean()) < 0.1)
    True
    """
    model = as_model(model)
    if not isinstance(observation, Linear):
        raise ArgumentError(
            f"observation: {shown(observation)} was given; fermiac.score.Linear(matrix, noise) is "
            "needed"
        )
    observation._require(observation.dim if model.dim is None else model.dim)
    PiGDM()._require_derivative(model)
    seen = observation._observed(y)
    variance = prior_variance_of(model, prior_variance, observation.dim)[0]
    return _Given(model, observation, seen, variance)
