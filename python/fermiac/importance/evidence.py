"""The call that estimates the evidence of an unnormalised density."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import finish, reporter
from fermiac._base.validate import choice, labels, real, whole
from fermiac._base.variables import Params
from fermiac.distributions import Law
from fermiac.distributions.law import refuse_points
from fermiac.errors import ArgumentError, WorkerError
from fermiac.importance.blend import blend
from fermiac.importance.blocks import in_blocks, takes_blocks
from fermiac.importance.evidence_blocks import EvidenceBlocks
from fermiac.importance.result import Evidence, to_evidence
from fermiac.importance.settings import drawing, with_dim
from fermiac.importance.start import start_law
from fermiac.random import RngLike, key_of
from fermiac.runs.checkpoint import Log, identity_of
from fermiac.runs.parts import identity_of_call
from fermiac.runs.shards import evaluation
from fermiac.targets import as_target
from fermiac.targets.callables import law_handle
from fermiac.targets.conversion import Gradient
from fermiac.targets.model import ModelTarget
from fermiac.targets.models import is_model
from fermiac.targets.named import named_law, names_of
from fermiac.targets.posterior_density import PosteriorDensity

if TYPE_CHECKING:
    from fermiac.targets.density import LogDensity

__all__ = ["evidence"]

Array = NDArray[np.float64]
Function = Callable[..., ArrayLike]


@public
def evidence(
    log_density: LogDensity | Law | Function | Any,
    law: Law | Any = None,
    n: int = 50_000,
    *,
    gradient: Gradient = None,
    params: Params | None = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    scheme: Literal["amis", "pmc", "snis"] = "amis",
    points: Literal["random", "sobol"] = "random",
    n_replicates: int | None = None,
    sampler: Law | None = None,
    pilot_fraction: float | None = None,
    n_components: int | None = None,
    n_stages: int | None = None,
    family: Literal["t", "gaussian"] = "t",
    df: float = 8.0,
    defensive: float = 0.1,
    names: Sequence[str] | None = None,
    check: bool = True,
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> Evidence:  # with part= a PartialEvidence; the type is that of all other calls
    r"""Estimate the evidence of an unnormalised density, and draw weighted points from it.

    Starting from a law, mixtures are fitted to the weighted points stage by stage. Uneven weights
    are tempered for the fit, so that the sampler can move to a target that is far narrower than the
    law, or lies elsewhere. A final stage takes the rest of the budget, at least half of it, and the
    estimate comes from that stage alone.

    Parameters
    ----------
    log_density : log-density, law, or callable
        The target, in any form that `fermiac.targets.as_target` accepts. A function takes a batch
        of points, shape (n, d), and returns (n,) values, -inf where the density is 0. The density
        need not be normalised; for a posterior it is log-prior plus log-likelihood. With `params`,
        or a `law` that names its coordinates, a Python function takes the parameters by name. The
        target may also be a model of PyMC, Stan or NumPyro: its points are unconstrained, and the
        sample has its parameters and deterministic quantities.
    law : Law, frozen scipy.stats law or mapping
        The law to start from. Its support must contain that of the target; the prior is often
        suitable. A mapping from names to laws is a `fermiac.distributions.Joint`. For a posterior
        of `fermiac.targets.posterior` the default is the prior. For a model it is a law of
        unconstrained points, by default a t law around the mode.
    n : int, default 50_000
        The total number of evaluations of the target; at least 20 (d + 1).
    gradient : None, True, "finite" or callable, default None
        The gradient, as in `fermiac.targets.as_target`; True if the target returns a pair (value,
        gradient) or has its own gradient. The sample then has gradients, for ``sample.expect(f,
        controls="stein")``. They cost one further evaluation of each of its points, or 2 d + 1 with
        ``"finite"``.
    params, args, kwargs
        The parameters that the target takes by name, by default those of `law`, and its further
        arguments; see `fermiac.targets.as_target`. The sample has these names.
    scheme : {"amis", "pmc", "snis"}, default "amis"
        The adaptation of the sampler. ``"amis"``, adaptive multiple importance sampling: fits use
        all points of all stages, weighted by the mixture of all samplers. ``"pmc"``, population
        Monte Carlo: fits use the newest stage, weighted by its own sampler, in the end by one
        Rao-Blackwellised update a stage. ``"snis"``: plain importance sampling from the law.
    points : {"random", "sobol"}, default "random"
        The points of the final stage. ``"sobol"``: independent replicates of scrambled Sobol'
        points; the error is from the spread of the replicates. The law needs ``from_unit``, which
        all built-in laws except `fermiac.distributions.Mixture` have.
    n_replicates : int, optional
        The number of replicates of Sobol' points; by default as in `expect`.
    sampler : Law, optional
        A sampler that was trained before, such as `Evidence.sampler` of an earlier call. All of `n`
        is then used for the final sample. The share `defensive` of it is drawn from the law.
    pilot_fraction : float, default 0
        The share of `n` for an adaptation that starts at `sampler` and refines it.
    n_components : int, optional
        The number of components of the mixture; by default the number from 1 to 5 with the best
        Bayesian information criterion.
    n_stages : int, default 20
        The largest number of adaptation stages. Each takes an equal share of half of the budget,
        but at least 10 (d + 1) and at most 16384 points. Once the fits have reached the target,
        each stage is half as large again as the one before. The adaptation ends earlier once a
        further stage does not pay.
    family : {"t", "gaussian"}, default "t"
        The components.
    df : float, default 8
        Degrees of freedom of Student-t components, above 2.
    defensive : float, default 0.1
        The share of every fitted sampler that is drawn from the law, from 0 to 0.9. No weight then
        exceeds density / law divided by `defensive`.
    names : sequence of str, optional
        Names of the coordinates, for the sample.
    check : bool, default True
        Compare a batch of two points with the two points alone at the first call of a target
        in Python, at the cost of three calls that are not counted; see
        `fermiac.targets.as_target`.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``, ``part``); see
        `fermiac.Plan`. ``part``: (i, n): compute part i, counted from 0, of n parts of the blocks
        of the final stage, and return a `PartialEvidence`. ``fermiac.merge(parts).evidence()`` is
        the result of the whole call. Every part repeats the same adaptation, unless it is in
        `store`. ``store``: a folder for files of the adaptation and of finished blocks. The same
        call resumes from them, and its parts can share the folder. It needs `rng`. With `gradient`,
        `sampler` or Sobol' points the folder has one file with the values of the log-density
        instead. See `fermiac.merge`.

    Returns
    -------
    Evidence
        ``log_evidence``, ``log_evidence_stderr``, ``ess``, ``khat``, ``converged``, ``stages``,
        ``sample``, ``sampler``, ``df``, ``n_replicates``, ``warnings``, and the method
        ``interval``. With `part` a `PartialEvidence`.

    Raises
    ------
    ArgumentError
        For an argument outside its domain.
    TargetError
        If the target or the law gives a wrong shape or type, a NaN or +inf.
    CheckpointError
        If a file in the store is damaged, belongs to another run, or cannot be written.
    WorkerError
        If workers of the executor are lost again and again with the same points, or are not like
        the driver.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` is an `Evidence` from the points that were done, or None.
        It has no gradients. A `WorkerError` has one as well.

    Warns
    -----
    ConvergenceWarning
        If no point with density was found, if the adaptation ended on its way to the target, or if
        the law has mass that doubles cannot resolve at a bound of its support, or if the mean
        weight of the law under a given sampler is not 1.
    WeightWarning
        If k-hat is above 0.5 (or NaN, most weights being 0) and a single point makes more than 5 %
        of the variance, if the ESS of the weights is below 10 (d + 1), or if the weights under a
        given sampler have a k-hat above 0.7.

    Notes
    -----
    The estimate of Z is the mean of the weights :math:`w_i = \tilde p(x_i) / q(x_i)` of the final
    stage. Its sampler q is fixed before its points are drawn, so the estimate is unbiased. The
    components of q are strata of fixed size; the error is that of the strata, by the delta method.
    The published schemes also use the points of the adaptation. Since the fits depend on those
    points, log Z was then too low by 0.8 to 1.7 standard errors in tests in ten dimensions, without
    a gain in precision.

    A fit uses the weights raised to the largest power up to 1 at which their effective sample size
    is at least 10 (d + 1) and a tenth of a stage. Coordinates on a half-line or an interval are
    mapped to the real line. The bits are the same on any number of threads.

    Modes missed by the initial sample are not detected, and their mass is missing. Adaptation
    follows the mass that the first stage finds. A further mode that is narrow compared with the law
    gets almost no points, and is found only by chance. A test had two modes of equal mass in five
    dimensions, with widths 0.5 and 1 under a law of width 4: the narrow mode was missed without a
    warning in more than a third of the runs with the default `n`. Start from a law with mass at
    every suspected mode, for instance a `fermiac.distributions.Mixture` around the maxima of the
    density, and compare runs with several seeds and budgets.

    References
    ----------
    .. [1] J.-M. Cornuet, J.-M. Marin, A. Mira, C. P. Robert, "Adaptive multiple importance
       sampling", Scandinavian Journal of Statistics, 2012, doi:10.1111/j.1467-9469.2011.00756.x.
    .. [2] O. Cappé, R. Douc, A. Guillin, J.-M. Marin, C. P. Robert, "Adaptive importance sampling
       in general mixture classes", Statistics and Computing, 2008, doi:10.1007/s11222-008-9059-x.
    .. [3] A. Owen, Y. Zhou, "Safe and effective importance sampling", Journal of the American
       Statistical Association, 2000, doi:10.1080/01621459.2000.10473909.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> law = fm.distributions.MultivariateNormal(np.zeros(2), 9 * np.eye(2))
    >>> z = fm.importance.evidence(
    ...     lambda x: -0.5 * ((x - 1) ** 2).sum(axis=1), law, n=5000, rng=0
    ... )
    >>> bool(abs(z.log_evidence - np.log(2 * np.pi)) < 5 * z.log_evidence_stderr)
    True

    A wider density with the sampler of the first, and Sobol' points:

    >>> wider = lambda x: -0.4 * ((x - 1) ** 2).sum(axis=1)
    >>> y = fm.importance.evidence(
    ...     wider, law, n=5000, sampler=z.sampler, points="sobol", rng=1
    ... )
    >>> bool(abs(y.log_evidence - np.log(2.5 * np.pi)) < 5 * y.log_evidence_stderr)
    True
    """
    where = plan_of(plan, "executor", "store", "part")
    start = time.perf_counter()
    found = log_density
    if law is None and is_model(log_density):
        found, args, kwargs = as_target(log_density, args=args, kwargs=kwargs), (), None
    model = found if isinstance(found, ModelTarget) else None
    if model is not None and (names is not None or gradient is not None):
        raise ArgumentError(
            f"{'names' if names is not None else 'gradient'}: given with {model!r}, whose sample "
            "has names of its own and constrained draws; leave it out"
        )
    if law is None and isinstance(found, PosteriorDensity):
        law = found.prior
    if law is None:
        if model is None:
            raise ArgumentError(
                "law: not given; the law to start from is needed, for all but posteriors "
                "(fermiac.targets.posterior) and models of PyMC, Stan and NumPyro"
            )
        law = start_law(model)
    law, params = named_law(law, params)
    law = with_dim(law)
    choice("scheme", scheme, ("amis", "pmc", "snis"))
    drawn = drawing([law], points, n_replicates, sampler, pilot_fraction)
    if drawn.sampler is not None and scheme == "snis":
        raise ArgumentError(
            "sampler: given with scheme='snis', which draws from the law; leave one of them out"
        )
    if scheme != "snis":
        refuse_points("law", law._measure(), f"scheme={scheme!r}", "give scheme='snis'")
    target = as_target(
        found, law.dim, gradient, params=params, args=args, kwargs=kwargs, check=check
    )
    named = labels(names_of(names, params), law.dim)
    settings: dict[str, Any] = {
        "n": whole("n", n, 1, 2**62),
        "scheme": scheme,
        "n_components": None
        if n_components is None
        else whole("n_components", n_components, 1, 100),
        "n_stages": 20 if n_stages is None else whole("n_stages", n_stages, 1, 1000),
        "family": choice("family", family, ("t", "gaussian")),
        "df": real("df", df),
        "defensive": real("defensive", defensive),
        **drawn.public,
    }
    first = law
    if drawn.sampler is not None:
        if drawn.keeps:
            settings["scheme"] = "snis"
        share = real(
            "defensive", defensive, "a number from 0 to 0.9 is needed", lambda s: 0 <= s <= 0.9
        )
        first = blend(law, drawn.sampler, share)
    together = {
        "gradient": gradient is not None,
        "points": points != "random",
        "sampler": drawn.sampler is not None,
    }
    if where.part is not None and model is not None:
        raise ArgumentError(
            f"part: given with {model!r}, which the merged parts would not know; leave it out"
        )
    share = 0.0 if scheme == "snis" else 0.5
    of_all = next((name for name, given in together.items() if given), None)
    if where.part is not None and of_all is not None:
        raise ArgumentError(
            f"{of_all}: given with part=, whose blocks are random points of the final "
            "stage alone; leave it out"
        )
    whole_parts = of_all is None and (
        where.part is not None
        or where.store is not None
        or takes_blocks(where.executor, n, share, [law])
    )
    if where.store is not None and rng is None:
        raise ArgumentError("store: given without rng=, so that no later call finds its blocks")
    log = None if whole_parts else Log.of(where)
    key = key_of(rng)
    options = {
        **settings,
        "df": settings["df"] if family == "t" else None,
        "points": points,
        "n_replicates": drawn.n_replicates,
        "adapt_fraction": 0.5 if drawn.sampler is None else drawn.pilot_fraction,
        "key": key,
    }
    workers = resolve_threads(where.n_threads)
    if whole_parts:
        work = EvidenceBlocks(target, law, options, settings, named)
        work.model = model
        with reporter(where.progress, "evidence", "evaluations") as watched:
            done = in_blocks(
                work,
                target,
                settings["n"],
                identity=lambda: identity_of_call(
                    "importance.evidence", settings, key, target, law
                ),
                part=where.part,
                store=where.store,
                executor=where.executor,
                n_threads=workers,
                report=watched,
            )
            finish(watched, settings["n"], done)
        return cast(Evidence, done)
    with (
        reporter(where.progress, "evidence", "evaluations") as bar,
        evaluation(
            target,
            executor=where.executor,
            log=log,
            identity=lambda: identity_of("importance.evidence", key, [first], settings),
            n_threads=workers,
            report=bar,
            total=settings["n"],
        ) as (evaluated, report),
    ):
        raw, error = _core.importance_evidence(
            evaluated._handle, law_handle(first), options, workers, report
        )
        result = None
        stopped = isinstance(error, KeyboardInterrupt | WorkerError)
        if raw is not None and (error is None or stopped):
            gradients = None
            if gradient is not None and error is None:
                try:
                    gradients = _gradients(evaluated, raw["draws"])
                    raw["n_evals"] += len(gradients) + evaluated._more_evals
                except (KeyboardInterrupt, WorkerError) as stop:
                    error, stopped = stop, True
            took = time.perf_counter() - start
            result = to_evidence(
                raw,
                gradients,
                settings,
                key,
                named,
                stopped,
                took,
                model,
                drawn.sampler,
                _mean_weight(law, first) if drawn.keeps else None,
            )
        if error is not None:
            if stopped:
                error.partial_result = result  # type: ignore[attr-defined]
            raise error
        finish(report, settings["n"], result)
    return cast(Evidence, result)


def _mean_weight(law: Law, first: Law) -> Callable[[Array], tuple[float, float]]:
    """Return a function of draws from `first`: the mean weight of `law`, with its error."""

    def of_draws(draws: Array) -> tuple[float, float]:
        logs = np.asarray(law.log_density(draws)) - np.asarray(first.log_density(draws))
        weights = np.exp(np.minimum(logs, 700.0))
        return float(weights.mean()), float(weights.std() / np.sqrt(len(weights)))

    return of_draws


def _gradients(target: LogDensity, draws: Array) -> Array:
    """Return the gradients at the final sample, in batches of the size of the run's."""
    batch = 16 * _core.CHUNK
    parts = range(0, len(draws), batch)
    return np.vstack([target.log_density_and_gradient(draws[i : i + batch])[1] for i in parts])
