"""The verb `sample`: a posterior and its evidence by nested sampling."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import reporter
from fermiac._base.validate import choice, positive, shown, yes
from fermiac._base.variables import Params, Variables
from fermiac.errors import ArgumentError
from fermiac.nested.allocation import Dynamic
from fermiac.nested.batches import batched
from fermiac.nested.dynamic import as_dynamic, loop_of
from fermiac.nested.job import BOUNDS, BoundName, job_of
from fermiac.nested.learnt import refuse
from fermiac.nested.problem import Prior, as_blobs, as_likelihood, as_model, as_prior
from fermiac.nested.result import NestedResult
from fermiac.nested.run import KIND
from fermiac.nested.runs import sample_runs
from fermiac.nested.samplers import (
    SAMPLERS,
    Learnt,
    Sampler,
    SamplerName,
    require_gradient,
)
from fermiac.nested.surrogate.options import Surrogate
from fermiac.nested.surrogate.run import run_surrogate
from fermiac.nested.validation import Repeats, as_doublings
from fermiac.random import RngLike, key_of
from fermiac.runs.checkpoint import RunCheckpoint
from fermiac.runs.loop import run_and_warn
from fermiac.runs.shards import evaluated
from fermiac.targets.conversion import Gradient
from fermiac.targets.named import named_law, names_of
from fermiac.targets.posterior_density import PosteriorDensity

if TYPE_CHECKING:
    from fermiac.distributions import Law
    from fermiac.targets.density import LogDensity

__all__ = ["sample"]

#: Arguments of a call with several runs that a single run does not take.
_OF_RUNS = (
    "log_likelihood", "runs", "first_run", "rng", "plan", "where",
)  # fmt: skip
Array = NDArray[np.float64]
Function = Callable[..., ArrayLike]


@public
def sample(
    log_likelihood: LogDensity | Function | Any,
    prior: Law | Function | Sequence[Any] | Mapping[str, Any] | None = None,
    dim: int | None = None,
    *,
    params: Params | None = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    n_live: int = 500,
    batch: int | None = None,
    sampler: SamplerName | Sampler = "auto",
    bound: BoundName = "multi",
    dynamic: bool | Dynamic = False,
    dlogz: float = 0.01,
    likelihood_tol: float = 0.0,
    periodic: Iterable[int | str] | None = (),
    reflective: Iterable[int | str] | None = (),
    names: Sequence[str] | None = None,
    gradient: Gradient = None,
    blobs: int | Sequence[str] | None = None,
    on_nan: Literal["raise", "-inf"] = "raise",
    check: bool = True,
    max_evals: int | None = None,
    max_iter: int | None = None,
    max_init_blocks: int = 1000,
    surrogate: Surrogate | None = None,
    runs: int | None = None,
    first_run: int = 0,
    rng: RngLike = None,
    plan: PlanLike | None = None,
    validate: bool | int = False,
) -> NestedResult:
    r"""Sample a posterior by nested sampling, and integrate its likelihood under the prior.

    A run starts with live points from the prior. In each batch the live points with the lowest
    likelihoods die, and are replaced by new draws from the prior above their level. The dead
    points, weighted by likelihood times prior mass, are a sample of the posterior. The sum of these
    weights is the evidence.

    Parameters
    ----------
    log_likelihood : log-density, torch module, native function or callable
        The log-likelihood, in any form that `fermiac.targets.as_target` accepts. A function takes a
        batch of points, shape (n, d), and returns (n,) values, -inf where the likelihood is 0.
        Constants shift `log_evidence`. With `params`, or a prior by names, it takes the parameters
        by name. A posterior of `fermiac.targets.posterior` gives both likelihood and prior. So does
        a model of PyMC or NumPyro (with its data as `args` and `kwargs`): its points move in its
        unconstrained space, and the draws are its parameters and deterministic quantities.
    prior : law, sequence of laws, mapping, or callable; not for a model or a posterior
        A law with a map from the unit cube (`fermiac.distributions.Uniform`, `Normal`, `Product`,
        ...); a list of laws, also frozen ones of scipy.stats, for the coordinates in order; a
        mapping from names of parameters to their laws, or to functions of the parameters before
        them that return a law for every row (see `fermiac.distributions.Joint`); or a
        function that maps points of the open unit cube, shape (n, d), to parameters of the same
        shape. A dependent prior maps the coordinates one by one, each given those before it.
    dim : int, optional
        The number of parameters d, if neither prior nor likelihood determines it.
    params : mapping or sequence of str, optional
        The parameters that the likelihood takes by name, and their shapes, as in
        `fermiac.targets.as_target`; by default those of a prior by names. The result has the names.
    args : tuple, default ()
        Further arguments of the likelihood and its gradient.
    kwargs : mapping, optional
        Further arguments of them by name.
    n_live : int, default 500
        The number of live points: at least 2 d + 2, and at least 10. The error of log Z falls like
        1/√n_live.
    batch : int, optional
        The number of points that are replaced at a time: n_live / 8 by default, at most half of
        `n_live`. It does not depend on threads. The error of log Z grows by 3 % at an eighth of
        `n_live`, and by 20 % at a half.
    sampler : {"auto", "unif", "slice", "rwalk", "galilean", "learnt"} or Sampler, default "auto"
        The algorithm that draws new points: `Uniform`, `Slice`, `RandomWalk` or `Galilean`; or
        `Learnt`, importance sampling with few evaluations for likelihoods that take more than about
        1 ms, which takes none of the arguments of batches, bounds, runs and stopping rules.
        ``"auto"`` draws from a bound until a point above the level costs 15 times as many calls as
        one from a chain of slices, and then changes to slices. Points of bounds are worth more
        than those of chains, since all of them count in the evidence. If bounds lie mostly outside
        of the prior's range by then, the run starts again with slices.
    bound : {"multi", "single", "friends", "none"}, default "multi"
        The region from which `Uniform` draws: as many ellipsoids as the points require, one
        ellipsoid, balls around all points, or the unit cube. Chains use the ellipsoids to tell
        modes apart.
    dynamic : bool or Dynamic, default False
        After the run, add batches of live points where they gain most, until targets for the
        effective sample size and the error of log Z are reached; see `Dynamic`.
    dlogz : float, default 0.01
        The run ends when the live points can raise log Z by no more than this. A narrow peak on a
        broad one may need as little as 1e-12.
    likelihood_tol : float, default 0
        The run also ends when the log-likelihoods of the live points differ by less than this.
    periodic, reflective : sequences of int or str, or of d booleans, optional
        Periodic axes, and axes at whose ends the likelihood is mirrored, by number or by name.
    names : sequence of str, optional
        Names of the parameters.
    gradient : True, "finite" or callable, optional
        The gradient of a likelihood that is a Python function, for `Galilean`: a function
        (n, d) -> (n, d), or True if the likelihood returns a pair (values, gradients).
        ``"finite"`` takes central differences, at a cost of 2 d + 1 evaluations for each gradient,
        which `n_evals` counts (except those before a resume); see `fermiac.targets.as_target`.
    blobs : int or sequence of str, optional
        The number of further outputs of the likelihood, or their names. A function then returns a
        pair of shapes (n,) and (n, B), and a native function 1 + B numbers for each point.
    on_nan : {"raise", "-inf"}, default "raise"
        The treatment of a log-likelihood of NaN: an error, or an impossible point that is counted.
    check : bool, default True
        Compare a batch of two points with the two points alone at the first call of a target
        or prior in Python, at the cost of three calls that are not counted; see
        `fermiac.targets.as_target`.
    max_evals, max_iter : int, optional
        Limits on the numbers of log-likelihood calls and of batches; with `validate`, for each run.
        They are checked between batches, and do not cut the survey of `Uniform` short, which takes
        up to 18 calls for each live point.
    max_init_blocks : int, default 1000
        The largest number of blocks of `n_live` draws from the prior that may be made to find
        `n_live` points with a likelihood above 0.
    surrogate : Surrogate, optional
        Sample a surrogate of an expensive likelihood, and correct for its errors; see `Surrogate`.
        The limits except `max_time` then apply to the run on the surrogate.
    runs : int, optional
        The number of independent runs, each with `n_live` points, which are merged. The error is
        about that of one run with all points. The workers of an `executor` compute whole runs, and
        do not wait for each other. More runs do not find narrow modes that `n_live` points miss.
    first_run : int, default 0
        With `runs`: the index of the first run. Runs 4 to 7 of a call with 8 runs are those of a
        call with 4 runs and ``first_run=4``, and `fermiac.merge` joins both.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system. Run k of
        several runs has a key derived from the seed and k.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``, ``part``,
        ``max_time``); see `fermiac.Plan`. ``part``: with `runs`: (i, n) makes the runs of part i of
        n, counted from 0, for independent jobs. `fermiac.merge` of the parts has the same bits as
        the whole call. ``store``: a folder for the state of the run, from which the same call,
        also with larger limits, goes on with the bits of a run without a break. With `runs` a
        folder to which each process writes its finished runs. Runs that are already in the folder
        are not made again; `fermiac.merge` of the folder merges them.
    validate : bool or int, default False
        Repeat the run with chains twice as long and other random numbers until log Z changes by
        less than its error twice in a row, at most 4 times or this number of times. The result is
        that of the last run; its `validation` has the figures of all runs. Rejection, which has no
        chains, is compared with chains of slices.

    Returns
    -------
    NestedResult
        ``log_evidence``, ``log_evidence_stderr``, ``information``, ``draws``, ``log_weights``,
        ``n_evals``, ``status``, ``converged``, ``rank_z``, ``warnings``. Its `status` is
        ``"complete"``; ``"plateau"``, if all live points had the same likelihood in the end; or
        ``"stopped"``, if a limit ended the run.

    Raises
    ------
    ArgumentError
        For an argument outside its domain.
    TargetError
        If the likelihood or the prior returns a wrong shape or type, a NaN or +inf, or too few
        draws from the prior have a likelihood above 0.
    NumericalError
        If chains get stuck because the region is narrower than double precision resolves.
    CheckpointError
        If a file in the store is damaged, belongs to another run, or cannot be written.
    WorkerError
        If workers of the executor are lost repeatedly with the same points, or do not match the
        driver.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` is a `NestedResult` of the points so far, or None.

    Warns
    -----
    ConvergenceWarning
        If a limit ended the run; if the ranks of new points are not random; if chains ended near
        their starts; if the families of points disagree about the evidence by more than its error
        (a mode was lost, or its mass drifts); if a bound of ``"unif"`` had to be made much wider
        than its points; if significantly many points just outside of a bound lie above the level;
        if `dynamic` did not reach its targets; if the evidence still changes with the length of
        chains (`validate`); or if the evidences from all points and from prior masses differ by
        more than 4 standard errors.
    WeightWarning
        If the error of the evidence from all points may not hold, so that `log_evidence` is that
        from prior masses; see `ImportanceEvidence.doubts`.
    FermiacWarning
        If the log-likelihood was finite and below -1e200, or NaN with ``on_nan="-inf"``.

    Notes
    -----
    No test proves that chains were long enough: a bias that is the same at all levels leaves the
    ranks of new points uniform. Before you rely on an evidence, compare it with runs with chains of
    twice the length (``validate=True``).

    While points come from bounds, the evidence is estimated from all of them, also those below the
    levels: `log_evidence` is then that of `importance`, with an error that is often 20 times
    smaller than that of `log_evidence_volumes`. A run with chains ends with up to 10 % more
    evaluations at independent points from a density fitted to its posterior, which estimate the
    evidence in the same way; see `ImportanceEvidence`. `draws` are the dead points in either case.

    A bound may cut off a region that contains no live point, such as the neck of a funnel. For ten
    in a hundred proposals a test point is therefore drawn from a bound of 1.25 times the volume
    (for two in a hundred a point just outside the bound, if the run does not keep its points).
    If more of them lie outside the bound and above the level than chance allows, later bounds are
    made wider. Test points count in `n_evals` and in the evidence of `importance`, and never become
    points of the run.

    Where points are drawn from bounds, a survey of the first draws looks for modes that have lost
    their live points; see `Uniform`. A mode that no draw has seen is not detected, and no
    diagnostic shows it; more live points find narrower modes. `NestedResult.unseen_share` tells
    which may have been missed.
    The bits of the result are the same on any number of threads, after a resume, and for a
    likelihood in Rust, Python or C that returns the same bits. A run that is extended to a smaller
    `dlogz` makes its independent points anew, and does not count those before.

    References
    ----------
    .. [1] J. Skilling, "Nested sampling for general Bayesian computation", Bayesian Analysis, 2006,
       doi:10.1214/06-BA127.
    .. [2] J. Buchner, "Nested sampling methods", Statistics Surveys, 2023, doi:10.1214/23-SS144.
    .. [3] A. Fowlie, W. Handley, L. Su, "Nested sampling cross-checks using order statistics",
       Monthly Notices of the Royal Astronomical Society, 2020, doi:10.1093/mnras/staa2345.

    Examples
    --------
    A Gaussian likelihood well inside a uniform prior:

    >>> import numpy as np
    >>> import fermiac as fm
    >>> prior = fm.distributions.Uniform([-10.0, -10.0], [10.0, 10.0])
    >>> r = fm.nested.sample(lambda x: -0.5 * (x**2).sum(axis=1), prior, rng=0)
    >>> exact = np.log(2 * np.pi / 400)
    >>> bool(abs(r.log_evidence - exact) < 5 * r.log_evidence_stderr)
    True
    >>> e = r.expect(lambda x: x[:, 0] ** 2)
    >>> bool(abs(e.mean - 1) < 5 * e.stderr)
    True

    Four independent runs, which the workers of an executor could make:

    >>> def f(x):
    ...     return -0.5 * (x**2).sum(axis=1)
    >>> r = fm.nested.sample(f, prior, n_live=100, runs=4, rng=0)
    >>> parts = [
    ...     fm.nested.sample(f, prior, n_live=100, runs=4, plan=fm.Plan(part=(i, 2)), rng=0)
    ...     for i in (0, 1)
    ... ]
    >>> r.n_live, fm.merge(parts).log_evidence == r.log_evidence
    (400, True)

    Parameters by name, one with a prior that depends on another:

    >>> Normal, Gamma = fm.distributions.Normal, fm.distributions.Gamma
    >>> r = fm.nested.sample(
    ...     lambda tau, theta: -0.5 * ((theta - [1.0, 2.0]) ** 2).sum(axis=1),
    ...     {"tau": Gamma(2.0), "theta": lambda tau: Normal.rows(0.0, tau[:, None])},
    ...     params={"tau": (), "theta": 2},
    ...     rng=0,
    ... )
    >>> r.names
    ('tau', 'theta[0]', 'theta[1]')
    """
    where = plan_of(plan, "executor", "store", "part", "max_time")
    chosen = SAMPLERS.resolve(sampler)
    if isinstance(chosen, Learnt):
        refuse(locals())
    if runs is not None:
        given = {name: value for name, value in locals().items() if name not in _OF_RUNS}
        del given["chosen"]
        return sample_runs(
            log_likelihood,
            given,
            runs=runs,
            first_run=first_run,
            rng=rng,
            plan=where,
        )
    given_runs = {"part": where.part, "first_run": first_run or None}
    for name, value in given_runs.items():
        if value is not None:
            raise ArgumentError(f"{name}: given without runs=, the number of independent runs")
    start = time.perf_counter()
    check = yes("check", check)
    own_names = None
    if isinstance(log_likelihood, PosteriorDensity):
        if prior is not None:
            raise ArgumentError(
                "prior: given with a posterior, which has its own, so that it would count twice; "
                "leave it out, or give posterior.log_likelihood"
            )
        prior, own_names = log_likelihood.prior, log_likelihood.names
        log_likelihood = log_likelihood.log_likelihood
    given = {
        "names": names is not None,
        "params": params is not None,
        "blobs": blobs is not None,
        "gradient": gradient is not None,
        "surrogate": surrogate is not None,
    }
    model = as_model(log_likelihood, prior, args, kwargs, given)
    target: Any
    n_blobs = as_blobs(blobs)
    if model is not None:
        mapped, target, names = Prior.of_model(model), model.likelihood, model.free_names
    else:
        prior, params = named_law(prior, params)
        params = getattr(log_likelihood, "_variables", None) if params is None else params
        known = getattr(log_likelihood, "dim", None)
        if params is not None:
            known = Variables.of_params(params).dim
        mapped = as_prior(prior, dim, known if isinstance(known, int) else None, check)
        target = as_likelihood(
            log_likelihood, mapped.dim, n_blobs[0], gradient, check, params, args, kwargs
        )
        named = names_of(names, params)
        names = own_names if named is None else named
    limit = None if where.max_time is None else positive("max_time", where.max_time)
    doublings = as_doublings(validate)
    if not (surrogate is None or isinstance(surrogate, Surrogate)):
        raise ArgumentError(
            f"surrogate: {shown(surrogate)} given; an object such as "
            "fermiac.nested.Surrogate(tol=0.3) is needed"
        )
    if surrogate is not None and where.store is not None:
        raise ArgumentError("store: given with a surrogate, whose runs cannot be kept yet")
    if surrogate is not None and doublings:
        raise ArgumentError("validate: given with a surrogate; validate the plain run")
    aim = as_dynamic(dynamic)
    require_gradient(chosen, target)
    kept = RunCheckpoint.of(where, KIND)
    job = job_of(
        prior=mapped,
        target=target,
        sampler=chosen,
        bound=choice("bound", bound, BOUNDS),
        n_live=n_live,
        batch=batch,
        dlogz=dlogz,
        likelihood_tol=likelihood_tol,
        max_evals=max_evals,
        max_iter=max_iter,
        max_init_blocks=max_init_blocks,
        periodic=periodic,
        reflective=reflective,
        on_nan=choice("on_nan", on_nan, ("raise", "-inf")),
        names=names if names is not None else getattr(target, "names", None),
        blobs=n_blobs,
        key=key_of(rng) if kept is None else kept.key(rng),
        dynamic=aim,
        model=model,
    )
    workers = resolve_threads(where.n_threads)
    with (
        # A surrogate's workers get points.
        batched(job, None if surrogate is not None else where.executor) as batches,
        reporter(where.progress, "nested", "evaluations") as report,
        evaluated(
            target, where.executor, workers, report,
            integrand=n_blobs[0] > 0, in_jobs=batches is not None,
        ) as (evaluator, report),
    ):  # fmt: skip
        job = job.with_target(evaluator)
        if surrogate is not None:
            return run_surrogate(
                job, surrogate, workers=workers, start=start, max_time=limit, report=report
            )
        if kept is not None:
            kept.begin({**job.identity(), "validate": doublings > 0})
        make = partial(
            loop_of,
            workers=workers, checkpoint=kept, max_time=limit, report=report, batches=batches,
        )  # fmt: skip
        repeats = Repeats(job, make, doublings, start=start, checkpoint=kept)
        result = run_and_warn(repeats.run, repeats.findings)
        # Evaluations for gradients by differences, which the core does not count.
        n_evals = result.n_evals + getattr(evaluator, "_more_evals", 0)
        object.__setattr__(result, "n_evals", n_evals)
        return result
