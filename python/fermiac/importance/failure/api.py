"""The call that estimates the probabilities of rare events: `failure_probability`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.ask import ask, real_answer
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads, threads
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import finish, reporter
from fermiac._base.validate import choice, real, real_numbers, shown, whole, yes
from fermiac._base.variables import Params
from fermiac.distributions import Law
from fermiac.errors import ArgumentError, TargetError, WorkerError
from fermiac.importance.failure.checks import verdict
from fermiac.importance.failure.design import MOST_REGIONS
from fermiac.importance.failure.proposal import Proposal
from fermiac.importance.failure.result import FailureProbability
from fermiac.importance.failure.run import FIXED, METHODS, Outcome, Run
from fermiac.importance.failure.sampler import FailureSampler, failure_sampler
from fermiac.importance.failure.scores import Scores
from fermiac.importance.failure.space import LimitState, NormalMap, require_unit_map
from fermiac.importance.settings import expectation_names, with_dim
from fermiac.random import RngLike, key_of
from fermiac.results.result import texts, warn
from fermiac.runs.checkpoint import Log, identity_of
from fermiac.runs.shards import evaluation
from fermiac.targets import BuiltinIntegrand, NativeTarget
from fermiac.targets.conversion import adapted, as_integrand, compared
from fermiac.targets.named import named_law

__all__ = ["failure_probability"]

Array = NDArray[np.float64]
#: The words of ``method=``.
FailureMethod: TypeAlias = Literal["auto", "subset", "line", "form", "mc"]

#: Evaluations at least, where the method trains anything.
_LEAST = 500
_MOST_EVENTS = 2000


@public
def failure_probability(
    g: Callable[..., ArrayLike] | BuiltinIntegrand | NativeTarget,
    law: Law | Mapping[str, Any] | Any,
    n: int = 10_000,
    *,
    thresholds: ArrayLike = 0.0,
    method: FailureMethod = "auto",
    rtol: float | None = None,
    surrogate: Callable[..., ArrayLike] | BuiltinIntegrand | NativeTarget | None = None,
    gradient: Callable[..., ArrayLike] | None = None,
    sensitivities: bool = False,
    sampler: FailureSampler | None = None,
    params: Params | None = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    on_nan: Literal["raise", "zero"] = "raise",
    names: Sequence[str] | None = None,
    check: bool = True,
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> FailureProbability:
    r"""Estimate the probability of a rare event, P(g(X) <= t).

    Subset simulation goes to lower and lower values of g until failure is common [1]_ [2]_; here it
    is called the walk. Mixtures of Gaussian laws, of normal tails beyond design points, and of von
    Mises-Fisher-Nakagami laws [3]_ are fitted to its failure points, and refined with points of
    their own [4]_. The estimate is unbiased: it comes from a new sample of the mixture, with
    randomised Sobol' points. It is compared with the estimate of the walk.

    Parameters
    ----------
    g : callable or target of `fermiac.targets`
        The limit state. Takes a batch of points, shape (n, d), and returns shape (n,), or (n, K)
        for K limit states: real values that measure how far a point is from failure. With `params`,
        or a `law` that names its coordinates, it takes the parameters by name.
    law : Law, frozen scipy.stats law or mapping
        The law of the points, which needs a map from the unit cube: a univariate law, a product or
        a Gaussian copula of such laws, `fermiac.distributions.MultivariateNormal`, or a law of your
        own that defines ``from_unit``.
    n : int, default 10_000
        The total number of evaluations of `g`; at least 20 (d + 1) and at least 500.
    thresholds : float or array_like of shape (T,), default 0.0
        Failure is g <= threshold. All thresholds and all K outputs are events of one sample: J = K
        T of them, output by output.
    method : {"auto", "subset", "line", "form", "mc"}, default "auto"
        ``"auto"``: the method above. ``"subset"``: subset simulation alone, with a walk as long as
        `n` allows. A twentieth of `n` checks its mass beyond design points and searches far
        directions. ``"line"``: line sampling in the direction of the nearest design point. All
        points of a line beyond one root count as failures, and a random point of each line corrects
        the estimate if this is wrong [6]_. It is best for one region with a nearly flat boundary,
        in any number of dimensions. ``"form"``: importance sampling about the design points that
        are found from the origin. ``"mc"``: plain Monte Carlo. Only the first three have a second
        estimate for comparison.
    rtol : float, optional
        Stop when the half-width of the 95 % interval of every event is at most `rtol` times its
        probability; `n` is then an upper limit. The error is checked each time the number of points
        has doubled, at most 12 times, at levels whose sum is 0.05.
    surrogate : callable or target of `fermiac.targets`, optional
        A cheap function that replaces `g` except in the final sample; its evaluations do not count
        in `n`. The estimate stays unbiased for any surrogate [5]_, and the indicator of the
        surrogate is a control variate. It takes the same points as `g`, without `args` and
        `kwargs`, and runs in this process.
    gradient : callable, optional
        The gradient of `g` with respect to the points, (n, d) -> (n, d), or (n, K, d), for the
        search for design points. Without it the search takes finite differences of `g`. Its calls
        are not counted.
    sensitivities : bool, default False
        Also estimate the derivatives of the probabilities with respect to the parameters of a
        built-in law, from the same sample.
    sampler : FailureSampler, optional
        The sampler of an earlier run (its field `sampler`), which replaces the walk and the fits. A
        twentieth of `n` is used to search for regions that the sampler misses, by design points and
        probes, because g, the threshold or the law may differ. The rest is the final sample. Only
        for ``method="auto"``.
    params, args, kwargs
        The parameters that `g` takes by name, by default those of `law`, and further arguments of
        `g`; see `fermiac.targets.as_target`.
    on_nan : {"raise", "zero"}, default "raise"
        NaN and infinities from `g` stop the run with an error that names the point, or count as no
        failure and give a warning.
    names : sequence of str, optional
        Names of the J events.
    check : bool, default True
        Compare a batch of two points with the two points alone at the first call of a `g` in
        Python, at the cost of three calls that are not counted; see `fermiac.targets.as_target`.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``); see `fermiac.Plan`.
        ``store``: a folder for a file with the values of `g`, from which the same call
        resumes.

    Returns
    -------
    FailureProbability
        ``mean``, ``stderr``, ``interval``, ``beta``, ``converged``, ``regions``, ``levels``,
        ``subset`` (the second estimate), ``sampler``, ``sensitivities``, ``warnings``.

    Raises
    ------
    ArgumentError
        For an argument outside its domain; if the law has no map from the unit cube; if `g` returns
        bools, which do not measure the distance from failure.
    TargetError
        If `g` gives a wrong shape or type, a NaN or an infinity.
    CheckpointError
        If a file in the store is damaged, belongs to another run, or cannot be written.
    WorkerError
        If a worker of the executor dies twice on the same points, or does not match the driver.
    KeyboardInterrupt
        On Ctrl-C. Its ``partial_result`` is a `FailureProbability` from the finished replicates (at
        least four), or from the walk, or None. A `WorkerError` has one as well.

    Warns
    -----
    ConvergenceWarning
        If the two estimates differ by more than 4 errors on the log scale, if a walk alone lost a
        region or reached one with few chains, if a failure point has more than 50 times the mean
        weight, if the bound ``unseen`` is larger than the error allows, if no point failed, or if
        `rtol` was not reached. ``converged`` is then False.
    WeightWarning
        If the weights of failure points have a heavy tail.

    Notes
    -----
    The method works in standard normal space: x = F⁻¹(Φ(u)) by the law's ``from_unit``, which is
    exactly linear for normal laws. For other laws a coordinate beyond 8.2 standard deviations is
    set to 8.2, since Φ(u) rounds to 1 beyond.

    With :math:`r = q / \phi` for the mixture q, the estimate is the mean of
    :math:`1\{g \le t\} / r(U)` over R independent replicates of scrambled Sobol' points of q. The
    error is that of the mean of the replicates, with R - 1 degrees of freedom. The law itself has a
    share of at least 0.05 in q, and heavy-tailed components have 0.12.

    If the walk finds much more probability than the final sample, the sampler missed a region, and
    the estimate is that of the walk. If it finds much less, the walk lost a region, and the
    estimate of the sample is kept. Both cases give a warning. Regions missed by both are not
    detected. ``unseen`` bounds the probability that may hide between the points of the walk,
    provided that its levels lead to the whole failure region.

    References
    ----------
    .. [1] S.-K. Au, J. L. Beck, "Estimation of small failure probabilities in high dimensions by
       subset simulation", Probabilistic Engineering Mechanics, 2001,
       doi:10.1016/S0266-8920(01)00019-4.
    .. [2] I. Papaioannou, W. Betz, K. Zwirglmaier, D. Straub, "MCMC algorithms for subset
       simulation", Probabilistic Engineering Mechanics, 2015,
       doi:10.1016/j.probengmech.2015.06.006.
    .. [3] I. Papaioannou, S. Geyer, D. Straub, "Improved cross entropy-based importance sampling
       with a flexible mixture model", Reliability Engineering and System Safety, 2019,
       doi:10.1016/j.ress.2019.106564.
    .. [4] A. Owen, Y. Zhou, "Safe and effective importance sampling", Journal of the American
       Statistical Association, 2000, doi:10.1080/01621459.2000.10473909.
    .. [5] B. Peherstorfer, T. Cui, Y. Marzouk, K. Willcox, "Multifidelity importance sampling",
       Computer Methods in Applied Mechanics and Engineering, 2016,
       doi:10.1016/j.cma.2015.12.002.
    .. [6] P.-S. Koutsourelakis, H. J. Pradlwarter, G. I. Schueller, "Reliability of structures in
       high dimensions, part I: algorithms and applications", Probabilistic Engineering Mechanics
       19(4), 2004, pages 409-417.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> law = fm.distributions.Normal(np.zeros(2), np.ones(2))
    >>> def g(x):
    ...     return 5.0 - x[:, 0] - x[:, 1]
    >>> p = fm.importance.failure_probability(g, law, n=4000, rng=0)
    >>> bool(abs(p.mean - 2.0347600872e-4) < 5 * p.stderr)
    True
    >>> p.converged, p.n_evals <= 4000
    (True, True)
    """
    where = plan_of(plan, "executor", "store")
    start_time = time.perf_counter()
    chosen = choice("method", method, METHODS)
    choice("on_nan", on_nan, ("raise", "zero"))
    law, params = named_law(law, params)
    law = with_dim(law)
    require_unit_map(law)
    n = whole("n", n, 1, 2**62)
    least = 20 * (law.dim + 1)
    if chosen != "mc":
        least = max(least, _LEAST)
    given = _given(sampler, law.dim, chosen, surrogate)
    if n < least:
        raise ArgumentError(f"n: {n} was given; {least} evaluations at least are needed here")
    levels = _thresholds(thresholds)
    tolerance = _tolerance(rtol, chosen)
    labels = expectation_names(names)
    yes("sensitivities", sensitivities)
    yes("check", check)
    if surrogate is not None and chosen in FIXED:
        raise ArgumentError(
            f"surrogate: given with method={chosen!r}, which trains no sampler; leave it out"
        )
    if gradient is not None and not callable(gradient):
        raise ArgumentError(f"gradient: {type(gradient).__name__} given; a function is needed")
    slope = gradient
    if gradient is not None:
        slope = adapted(gradient, law.dim, params, args, kwargs, "gradient")
    if sensitivities and chosen in ("subset", "line"):
        raise ArgumentError(
            f"sensitivities: given with method={chosen!r}, whose points have no weights under the "
            "law; use method='auto'"
        )
    scores = Scores(law) if sensitivities else None
    log = Log.of(where)
    key = log.seed if rng is None and log is not None and log.seed is not None else key_of(rng)
    settings: dict[str, Any] = {
        "n": n,
        "method": chosen,
        "thresholds": levels,
        "rtol": tolerance,
        "on_nan": on_nan,
        "sensitivities": sensitivities,
        "surrogate": surrogate is not None,
        "gradient": gradient is not None,
        "sampler": sampler is not None,
    }
    identity = settings | {"thresholds": levels.tolist()}
    if sampler is not None:
        identity["sampler"] = sampler._digest()
    limit = _function(g, "g", law.dim, params, args, kwargs, check)
    workers = resolve_threads(where.n_threads)
    with (
        reporter(where.progress, "failure_probability", "evaluations") as shown,
        threads(workers),
        evaluation(
            limit,
            executor=where.executor,
            log=log,
            identity=lambda: identity_of("importance.failure_probability", key, [law], identity),
            n_threads=workers,
            report=shown,
            total=n,
            integrand=True,
        ) as (evaluated, report),
    ):
        space = NormalMap(law)

        def count(done: int) -> None:
            if report is not None:
                report(min(done, n), n)

        state = LimitState(evaluated, space, on_nan, count)
        cheap = None
        if surrogate is not None:
            own = _function(surrogate, "surrogate", law.dim, params, (), None, check)
            cheap = LimitState(own, space, on_nan, None, "surrogate")
        run = Run(
            state,
            levels.reshape(-1),
            chosen,
            n,
            key,
            tolerance,
            _normal_gradient(slope, space),
            cheap,
            scores,
            workers,
            given,
        )

        def result(outcome: Outcome, stopped: bool) -> FailureProbability:
            took = time.perf_counter() - start_time
            return _result(run, outcome, settings, labels, scores, levels, stopped, took)

        state.on_first(lambda k: _check_events(labels, k * levels.size))
        try:
            outcome = run.run()
        except (KeyboardInterrupt, WorkerError) as stop:
            partial = run.partial()
            kept = None if partial is None else result(partial, True)
            stop.partial_result = kept  # type: ignore[union-attr]
            raise
        done = result(outcome, False)
        finish(report, n, done)
    return done


def _thresholds(given: ArrayLike) -> Array:
    levels = real_numbers("thresholds", given)
    if levels.ndim > 1 or not 1 <= levels.size <= _MOST_EVENTS:
        raise ArgumentError(
            f"thresholds: an array of shape {levels.shape} given; one number or a vector of them, "
            f"{_MOST_EVENTS} at most, is needed"
        )
    if not np.isfinite(levels).all():
        raise ArgumentError("thresholds: they hold NaN or infinities; finite numbers are needed")
    return levels


def _tolerance(rtol: float | None, method: str) -> float | None:
    if rtol is None:
        return None
    if method in FIXED:
        raise ArgumentError(
            f"rtol: given with method={method!r}, whose sample has one size; leave it out"
        )
    return real("rtol", rtol, "a number above 0 and below 1 is needed", lambda value: 0 < value < 1)


def _given(sampler: Any, dim: int, method: str, surrogate: Any) -> Proposal | None:
    """Return the mixture of a given sampler."""
    if sampler is None:
        return None
    if not isinstance(sampler, FailureSampler):
        raise ArgumentError(
            f"sampler: {shown(sampler)} given; a fermiac.importance.FailureSampler is needed, such "
            "as the field sampler of a FailureProbability"
        )
    if sampler.dim != dim:
        raise ArgumentError(
            f"sampler: one of {sampler.dim} dimensions was given for a law of {dim}; train one "
            "for this law"
        )
    if method != "auto" or surrogate is not None:
        raise ArgumentError(
            "sampler: given with a surrogate, or a method other than 'auto'; leave these out, "
            "because nothing is trained"
        )
    return sampler._proposal


def _check_events(labels: tuple[str, ...] | None, events: int) -> None:
    if events > _MOST_EVENTS:
        raise ArgumentError(
            f"thresholds: with the outputs of g they make {events} events; {_MOST_EVENTS} at most "
            "share one sample"
        )
    if labels is not None and len(labels) != events:
        raise ArgumentError(f"names: {len(labels)} given for {events} events")


def _function(f: Any, what: str, dim: int, params: Any, args: Any, kwargs: Any, check: bool) -> Any:
    """Return a limit state as a function of batches, with the checks that need no call."""
    if not (callable(f) or hasattr(f, "_integrand")) and not _is_pointer(f, dim):
        raise ArgumentError(
            f"{what}: {type(f).__name__} given; a function from (n, {dim}) to (n,) or (n, K), or a "
            "target of fermiac.targets, is needed"
        )
    out = adapted(f, dim, params, args, kwargs, what)
    out = compared(out, what) if check else out
    as_integrand(out, dim)
    return out


def _is_pointer(f: Any, dim: int) -> bool:
    return adapted(f, dim) is not f


def _normal_gradient(
    gradient: Callable[..., ArrayLike] | None, space: NormalMap
) -> Callable[[Array, int], Array] | None:
    """Return the gradient of a column in standard normal space, at one point."""
    if gradient is None:
        return None

    def of_normal(u: Array, column: int) -> Array:
        x = space(u[None])
        shapes: Any = x.shape, (len(x), "k", x.shape[1])
        given = ask(gradient, (x,), "gradient")
        slopes = real_answer(given, "gradient", *shapes, on=x.shape, finite=True)
        if slopes.ndim == 3 and column >= slopes.shape[1]:
            raise TargetError(f"gradient gave {slopes.shape[1]} columns for more outputs of g")
        return space.gradient(u, slopes[0] if slopes.ndim == 2 else slopes[0, column])

    return of_normal


def _result(
    run: Run,
    outcome: Outcome,
    settings: dict[str, Any],
    labels: tuple[str, ...] | None,
    scores: Scores | None,
    levels: Array,
    interrupted: bool,
    wall_time: float,
) -> FailureProbability:
    """Return the result of a run, after its warnings."""
    scalar = bool(run.g.scalar) and levels.ndim == 0
    names = labels or _names(run.g, levels)
    second = outcome.second
    converged, found = verdict(outcome, names, settings, run.g.n_non_finite)
    if interrupted:
        found = []

    def shape(a: Any) -> Any:
        a = np.asarray(a, np.float64)
        return float(a.ravel()[0]) if scalar else a

    mean, stderr = outcome.mean, outcome.stderr
    beta, beta_stderr = _reliability(mean, stderr)
    slopes = None
    if scores is not None and outcome.slopes is not None:
        slopes = tuple(
            {
                "parameter": name,
                "value": scores.values[i],
                "derivative": shape(outcome.slopes[0][:, i]),
                "stderr": shape(outcome.slopes[1][:, i]),
            }
            for i, name in enumerate(scores.names)
        )
    common: dict[str, Any] = {
        "seed": run.key,
        "version": _core.__version__,
        "isa": _core.isa_level,
        "settings": settings,
        "n_evals": run.g.n_evals,
        "wall_time": wall_time,
        "status": "interrupted" if interrupted else "complete",
        "warnings": texts(found),
    }
    made = FailureProbability(
        **common,
        mean=shape(mean),
        stderr=shape(stderr),
        cov=shape(outcome.cov),
        ess=shape(outcome.ess),
        khat=shape(outcome.khat),
        names=names,
        method=settings["method"],
        stages=_stages(run),
        df=shape(outcome.df),
        n_replicates=outcome.n_replicates,
        converged=converged and not interrupted,
        unseen=shape(outcome.unseen),
        beta=shape(beta),
        beta_stderr=shape(beta_stderr),
        # After an interrupt return at once, without the weights of regions.
        regions=() if interrupted else _regions(run),
        levels=_levels(run),
        subset=None if second is None else {"mean": shape(second[0]), "stderr": shape(second[1])},
        looks=outcome.looks,
        sensitivities=slopes,
        gain=None if outcome.gain is None else shape(outcome.gain),
        sampler=_sampler(run, common),
        n_surrogate_evals=0 if run.surrogate is None else run.surrogate.n_evals,
    )
    warn(found, made)
    return made


def _sampler(run: Run, common: dict[str, Any]) -> FailureSampler | None:
    """Return the sampler of the final sample, if there is one."""
    proposal = None if run.final is None else run.final.proposal
    if proposal is None or not proposal.components:
        return None
    return failure_sampler(proposal, **common)


def _names(g: LimitState, levels: Array) -> tuple[str, ...]:
    outputs = ["g"] if g.scalar else [f"g[{k}]" for k in range(g.n_columns)]
    return tuple(f"P({name} <= {t:g})" for name in outputs for t in levels.reshape(-1))


def _reliability(mean: Array, stderr: Array) -> tuple[Array, Array]:
    """Return -Φ⁻¹(p) and its error by the delta method."""
    from scipy.special import ndtri

    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        beta = -ndtri(np.minimum(mean, 1.0))
        density = np.exp(-0.5 * beta**2) / math.sqrt(2 * math.pi)
        error = np.where(np.isfinite(beta), stderr / density, np.inf)
    return beta, error


def _stages(run: Run) -> tuple[dict[str, Any], ...]:
    training = getattr(run, "training", None)
    if training is None:
        return ()
    return tuple({"stage": i, **stage} for i, stage in enumerate(training.stages))


def _levels(run: Run) -> tuple[dict[str, Any], ...]:
    training = getattr(run, "training", None)
    if training is None or run.surrogate is not None:
        return ()
    return tuple(
        {
            "column": walk.column,
            "walk": i,
            "threshold": level.threshold,
            "probability": level.probability,
            "cov": math.sqrt(level.cov_square),
            "acceptance": level.acceptance,
            "n": len(level.u),
            "n_ancestors": int(np.count_nonzero(np.bincount(level.ancestors))),
        }
        for i, walk in enumerate(training.walks)
        for level in walk.levels
    )


def _regions(run: Run) -> tuple[dict[str, Any], ...]:
    """Return the regions with their weights and design points."""
    training = getattr(run, "training", None)
    if training is None or not training.regions:
        return ()
    found: list[dict[str, Any]] = []
    measure = training.measure()
    for j in sorted({r.event for r in training.regions}):
        e = training.events[j]
        holds = training.values[:, e.column] <= e.threshold
        u, mass = training.u[holds], measure[holds]
        points = np.stack([r.point for r in training.regions if r.event == j][:MOST_REGIONS])
        centres = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-300)
        nearest = (u @ centres.T).argmax(axis=1)
        total = float(mass.sum())
        for k, point in enumerate(points):
            near = [
                d.point
                for i, d in training.designs
                if i == j
                and d.settled
                and d.direction @ centres[k] > 0.8
                and d.distance < 1.05 * float(np.linalg.norm(point))
            ]
            best = min([point, *near], key=lambda p: float(np.linalg.norm(p)))
            square = best**2
            found.append(
                {
                    "event": j,
                    # Without failure points all design points have equal weights.
                    "weight": float(mass[nearest == k].sum()) / total if total else 1 / len(points),
                    "point": run.g.space(best[None])[0],
                    "normal_point": best,
                    "importance": square / max(float(square.sum()), 1e-300),
                }
            )
    return tuple(found)
