"""The call that estimates many expectations from one sample."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

from numpy.typing import ArrayLike

from fermiac import _core
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import finish, reporter
from fermiac._base.validate import choice, whole, yes
from fermiac._base.variables import Params, Variables
from fermiac.distributions import Law
from fermiac.distributions.law import refuse_points
from fermiac.errors import ArgumentError, WorkerError
from fermiac.importance.blocks import takes_blocks
from fermiac.importance.expect_blocks import expect_in_blocks
from fermiac.importance.outputs import tolerances
from fermiac.importance.result import to_estimate
from fermiac.importance.settings import (
    CONTROLS,
    METHODS,
    MethodName,
    adaptive_settings,
    as_laws,
    drawing,
    expectation_names,
    refuse_product,
)
from fermiac.random import RngLike, key_of
from fermiac.results import Estimate
from fermiac.runs.checkpoint import Log, identity_of
from fermiac.runs.parts import identity_of_call
from fermiac.runs.shards import evaluation
from fermiac.targets import BuiltinIntegrand, NativeTarget
from fermiac.targets.callables import law_handle
from fermiac.targets.conversion import adapted, as_integrand, compared
from fermiac.targets.named import named_law

__all__ = ["expect"]


@public
def expect(
    f: Callable[..., ArrayLike] | BuiltinIntegrand | NativeTarget,
    law: Law | Sequence[Law] | Mapping[str, Any] | Any,
    n: int = 20_000,
    *,
    params: Params | None = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    method: MethodName = "aiscv",
    points: Literal["random", "sobol"] = "random",
    n_replicates: int | None = None,
    sampler: Law | None = None,
    pilot_fraction: float | None = None,
    pool: Literal["final", "all"] = "final",
    rtol: float | None = None,
    atol: float | None = None,
    weights: str | ArrayLike | None = None,
    controls: Literal["own", "all", "polynomial", "none"] | None = None,
    family: Literal["auto", "gaussian", "t", "mixture"] | None = None,
    df: float | None = None,
    n_stages: int | None = None,
    adapt_fraction: float | None = None,
    defensive: float | None = None,
    defensive_base: float | None = None,
    keep_best: bool | None = None,
    fallback: bool | None = None,
    split_signs: bool | None = None,
    diagonal: bool | None = None,
    covariance: Literal["full", "diag"] = "full",
    on_nan: Literal["raise", "zero"] = "raise",
    names: Sequence[str] | None = None,
    keep_draws: bool = False,
    check: bool = True,
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> Estimate:  # with part= a PartialEstimate; the type is that of all other calls
    r"""Estimate the expectations of several functions, or under several laws, from one sample.

    For integrands :math:`\varphi_j` and laws :math:`f_j`, densities are fitted to the products
    :math:`f_j \varphi_j`. Points are drawn from a mixture of these densities, whose components also
    serve as control variates. With perfect fits the variance of every estimate would be 0.

    Parameters
    ----------
    f : callable or target of `fermiac.targets`
        Takes a batch of points, shape (n, d), and returns shape (n,), or (n, K) for K functions. It
        may be complex. With `params`, or a `law` that names its coordinates, it takes the
        parameters by name. It is called with up to 65536 points at a time, on the calling thread;
        built-in and native integrands (a numba cfunc, for instance) run on all threads.
    law : Law, frozen scipy.stats law, mapping, or sequence of laws
        The law of the points. A mapping from names to laws is a `fermiac.distributions.Joint`. With
        several laws, each of the same points, `f` gives one value for all of them (evaluated once)
        or one for each. Laws of independent coordinates make one law by
        `fermiac.distributions.Product`.
    n : int, default 20_000
        The total number of evaluations of `f`, adaptation included; at least 20 (d + 1).
    params, args, kwargs
        The parameters that `f` takes by name, by default those of `law`, and further arguments of
        `f`; see `fermiac.targets.as_target`.
    method : {"aiscv", "paper", "mc"}, default "aiscv"
        ``"aiscv"``: adaptive importance sampling with control variates. ``"paper"``: the same by
        the published rules (each stage scored by its own points, no floor, no share of the law, no
        fallback). ``"mc"``: plain Monte Carlo.
    points : {"random", "sobol"}, default "random"
        The points of the final sample. ``"sobol"``: independent replicates of scrambled Sobol'
        points; the error is from the spread of the replicates. For smooth integrands it is often
        many times smaller at equal `n`. The law needs ``from_unit``, which all built-in laws except
        `fermiac.distributions.Mixture` have.
    n_replicates : int, optional
        The number of replicates of Sobol' points. By default 8 to 15 replicates with a power of two
        points each, or 16 to 31 if fewer than 4096 points are left for the final sample, so that at
        least 8/9 of these points are used.
    sampler : Law, optional
        A sampler that was trained before, such as `Estimate.sampler` of an earlier call. All of
        `n` is then used for the final sample. The share `defensive_base` of it is drawn from the
        law. There are no controls unless `controls` is given.
    pilot_fraction : float, default 0
        The share of `n` for an adaptation that starts at `sampler` and refines it.
    pool : {"final", "all"}, default "final"
        ``"all"`` uses the points of all stages, weighted by the mixture of all samplers in
        proportion to their numbers of points [4]_, without controls. Samplers depend on earlier
        points, so this estimate has a bias of order 1/n, where its standard error is of order
        1/sqrt(n). It is compared with the estimate from the final sample. Use it for very costly
        models; if controls reduce the variance much, ``"final"`` is more accurate.
    rtol, atol : float, optional
        Stop when the half-widths of the 95 % intervals of all estimates are at most
        ``max(atol, rtol * abs(mean))``; `n` is then the limit. The run checks its error each time
        that the final sample has doubled, at most 12 times, and the intervals are simultaneous over
        all these looks.
    weights : {"relative", "absolute"} or array_like, shape (J,), default "relative"
        The sampler minimises a weighted sum of the variances of the estimates. ``"relative"``
        divides each variance by the square of the integral of the absolute value, ``"absolute"``
        adds the variances, and an array gives the weights.
    controls : {"own", "all", "polynomial", "none"}, default "own"
        The control variates of each estimate: its own component; all components (with coefficients
        from a regression on the points of the adaptation; often a much smaller error); all
        components and polynomials; or none. ``"polynomial"`` is for one law of independent normal,
        uniform, exponential, gamma or log-normal coordinates (others are left out), or a
        multivariate normal law. It uses orthonormal polynomials of one or two coordinates up to a
        total degree of 6; their number is at most a tenth of the points of the adaptation. The
        degree for each estimate minimises the residual on held-out points; it may be 0. With a
        `sampler` that is not refined the default is ``"none"``, and a tenth of `n` is drawn from
        the sampler for the coefficients of other controls; the only component is then the law.
    family : {"auto", "gaussian", "t", "mixture"}, default "auto"
        The density fitted to each product: a Gaussian, a Student-t, or a mixture of two Gaussians.
        ``"auto"`` takes Gaussians if the laws are known to have no heavier tails and no function is
        0 at most of their points, else Student-t. Coordinates on a half-line or an interval are
        first mapped to the real line.
    df : float, default 8
        Degrees of freedom of the Student-t, at least 0.1. ``family="auto"`` takes at least d for
        laws without heavier tails, and 3, 1 or 0.5 for others if the weighted values would have no
        variance otherwise (a k-hat above 0.5).
    n_stages : int, default 5
        The largest number of adaptation stages. The adaptation ends earlier once a further stage
        does not pay.
    adapt_fraction : float, default 0.5
        The share of `n` that the adaptation may use, at most a million points or 256 MiB. All other
        points go to the final sample.
    defensive : float, default 0.1
        The share of the sampler that is spread evenly over the components. It keeps the controls
        bounded.
    defensive_base : float, default 0.05
        The share that is drawn from the law itself. It bounds the weights for any tails. The
        default rises to 0.25 if `f` is 0 at most points of the law.
    keep_best : bool, default True
        Compare the last samplers on all points so far, and use the best one. The published rule
        uses the last one.
    fallback : bool, default True
        Sample the law itself if no fitted sampler is forecast to be better.
    split_signs : bool, default True
        Give an integrand that changes sign one component for each sign.
    diagonal : bool, default False
        Fit variances only, without correlations.
    covariance : {"full", "diag"}, default "full"
        Compute the J x J covariance of the estimates, or only the J variances (for J in the
        thousands).
    on_nan : {"raise", "zero"}, default "raise"
        NaN and infinities from `f` stop the run with an error that names the first point, or count
        as 0 with a warning. Points where every law is 0, or its density below exp(-10000) times the
        largest one, are ignored.
    names : sequence of str, optional
        Names of the J expectations, for tables and for `Estimate.ratio`.
    keep_draws : bool, default False
        Keep the final sample, as `Estimate.sample`.
    check : bool, default True
        Compare a batch of two points with the two points alone at the first call of an `f`
        in Python, at the cost of three calls that are not counted; see
        `fermiac.targets.as_target`.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``, ``part``); see
        `fermiac.Plan`. ``part``: (i, n): compute part i, counted from 0, of n parts of the blocks
        of the final sample, and return a `PartialEstimate`. ``fermiac.merge(parts).estimate()`` is
        the estimate of the whole call. Every part repeats the same adaptation, unless it is in
        `store`. ``store``: a folder for files of the adaptation and of finished blocks. The same
        call resumes from them, and its parts can share the folder. It needs `rng`. With
        `keep_draws`, `sampler`, `rtol`, `atol`, Sobol' points or ``pool="all"`` the folder has one
        file with the values of `f` instead. See `fermiac.merge`.

    Returns
    -------
    Estimate
        ``mean``, ``stderr``, ``cov``, ``ess``, ``khat``, ``n_evals``, ``stages``, ``warnings``,
        ``sampler``, ``df``, ``n_replicates``, ``converged``, and the methods ``interval``,
        ``ratio``, ``transform``, ``summary``, ``plot_*``. With `part` a `PartialEstimate`.

    Raises
    ------
    ArgumentError
        For an argument outside its domain.
    TargetError
        If `f` or a law gives a wrong shape or type, a NaN or an infinity.
    CheckpointError
        If a file in the store is damaged, belongs to another run, or cannot be written.
    WorkerError
        If workers of the executor are lost repeatedly with the same points, or do not match the
        driver.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` is an `Estimate` from the part of the final sample that
        was done, or None. A `WorkerError` has one as well.

    Warns
    -----
    WeightWarning
        If the tail of the weighted values is too heavy for the error bar: k-hat is above 0.5, and
        one point contributes more than a tenth of the variance and moves the estimate by more than
        half of 1/sqrt(n). Also if a component could not be fitted.
    FermiacWarning
        If `f` was 0 at every point. The error is then 3/N, with N points drawn from the law.
    HeavyTailWarning
        If a single point contributes more than a tenth of an estimate.
    ConvergenceWarning
        If `f` had one value at every point; the error of an indicator is then 3/N times this value.
        If the stages contradict the final estimate. If `f` is 0 at most points of the law, and
        regions without points may contribute more than two errors and 5 % of an estimate; see
        `Estimate.unseen`. If a tolerance was not met; the warning forecasts the `n` that meets it.
        If the mean weight of the law is not 1. If with ``pool="all"`` the estimate differs by more
        than 3 errors from that of the final sample.

    Notes
    -----
    The estimate is :math:`\hat I_j = \frac1m \sum_i [v_j(X_i) - \beta_j (r_j(X_i) - 1)]` with
    :math:`v_j = f_j \varphi_j / g` and :math:`r_j = g_j / g`, where g is the sampler. If the law
    has a share in g, :math:`f_j / g - 1` is a further control, which makes constants exact. The
    final sample is new, and g and the coefficients are fixed before it is drawn, so the estimates
    are unbiased. Only sums over the final sample are stored, so `n` may be 1e9.

    With ``points="sobol"`` the estimate is the mean of R replicate means. Its error is their
    standard deviation divided by the square root of R, and its intervals are those of Student's t
    with R - 1 degrees of freedom [5]_. The first uniform number of a point also chooses the
    component. Shares of components are rounded to 64ths, so that the points of each component form
    a net.

    References
    ----------
    .. [1] J. Demange-Chryst, F. Bachoc, J. Morio, "Efficient estimation of multiple expectations
       with the same sample by adaptive importance sampling and control variates", Statistics and
       Computing, 2023, arXiv:2212.00568.
    .. [2] A. Owen, Y. Zhou, "Safe and effective importance sampling", Journal of the American
       Statistical Association, 2000, doi:10.1080/01621459.2000.10473909.
    .. [3] A. Vehtari, D. Simpson, A. Gelman, Y. Yao, J. Gabry, "Pareto smoothed importance
       sampling", Journal of Machine Learning Research, 2024, arXiv:1507.02646.
    .. [4] J.-M. Cornuet, J.-M. Marin, A. Mira, C. P. Robert, "Adaptive multiple importance
       sampling", Scandinavian Journal of Statistics, 2012, arXiv:0907.1254.
    .. [5] P. L'Ecuyer, M. K. Nakayama, A. B. Owen, B. Tuffin, "Confidence intervals for randomized
       quasi-Monte Carlo estimators", Winter Simulation Conference, 2023,
       doi:10.1109/WSC60868.2023.10408613.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> law = fm.distributions.Normal()
    >>> f = lambda x: np.hstack([x**2, x**4])
    >>> e = fm.importance.expect(f, law, n=4000, rng=0)
    >>> bool(np.all(abs(e.mean - [1, 3]) < 5 * e.stderr))
    True

    Sobol' points, and the sampler of the first call:

    >>> again = fm.importance.expect(
    ...     f, law, n=4000, points="sobol", sampler=e.sampler, rng=1
    ... )
    >>> bool(np.all(again.stderr < e.stderr)), again.n_replicates
    (True, 31)
    """
    where = plan_of(plan, "executor", "store", "part")
    start_time = time.perf_counter()
    n = whole("n", n, 1, 2**62)
    chosen = METHODS.resolve(method)
    choice("pool", pool, ("final", "all"))
    choice("covariance", covariance, ("full", "diag"))
    choice("on_nan", on_nan, ("raise", "zero"))
    given = {
        "weights": weights,
        "controls": controls,
        "family": family,
        "df": df,
        "n_stages": n_stages,
        "adapt_fraction": adapt_fraction,
        "defensive": defensive,
        "defensive_base": defensive_base,
        "keep_best": keep_best,
        "fallback": fallback,
        "split_signs": split_signs,
        "diagonal": diagonal,
    }
    if sampler is not None and not chosen.defaults:
        raise ArgumentError(
            f"sampler: given with method={chosen.name!r}, which draws from the law; leave one out"
        )
    if pool == "all" and not chosen.defaults:
        raise ArgumentError(
            f"pool: 'all' given with method={chosen.name!r}, which has one stage; leave it out"
        )
    law, params = named_law(law, params)
    laws = as_laws(law)
    tolerance = tolerances(rtol, atol)
    drawn = drawing(laws, points, n_replicates, sampler, pilot_fraction, pool, tolerance)
    if drawn.sampler is not None and adapt_fraction is not None:
        raise ArgumentError(
            "adapt_fraction: given with a sampler; pilot_fraction is the share that refines it"
        )
    if pool == "all":
        if controls is not None and choice("controls", controls, CONTROLS) != "none":
            raise ArgumentError(
                f"controls: {controls!r} given with pool='all'; controls follow the points of the "
                "adaptation so closely that an average over these is biased: use pool='final'"
            )
        given["controls"] = "none"
    settings = adaptive_settings(chosen, given, drawn.keeps)
    if drawn.pilot_fraction > 0:
        settings = {**settings, "adapt_fraction": drawn.pilot_fraction}
    # A sampler that is used as it is, with nothing to fit.
    plain = drawn.keeps and settings["controls"] == "none"
    if chosen.core != "mc":
        for one in laws:
            refuse_points("law", one._measure(), f"method={chosen.name!r}", "give method='mc'")
    coordinates = () if params is None else Variables.of_params(params).names
    labels = expectation_names(names)

    def first(outputs: int, is_complex: bool) -> None:
        # At the first values of f, before the budget is spent.
        j = max(outputs, len(laws))
        if labels is not None and len(labels) != j:
            raise ArgumentError(f"names: {len(labels)} given for {j} expectations")
        if is_complex and not isinstance(settings["weights"], str):
            raise ArgumentError(
                "weights: an array given with a complex f; return its real and imaginary parts as "
                "two functions"
            )

    together = {
        "keep_draws": yes("keep_draws", keep_draws),
        "points": points != "random",
        "sampler": sampler is not None,
        "pool": pool != "final",
        "rtol": tolerance is not None,
    }
    share = 0.0 if chosen.core == "mc" else float(settings["adapt_fraction"])
    of_all = next((name for name, given in together.items() if given), None)
    if where.part is not None and of_all is not None:
        raise ArgumentError(
            f"{of_all}: given with part=, whose blocks are sums over random points of the "
            "final sample; leave it out"
        )
    in_blocks = of_all is None and (
        where.part is not None
        or where.store is not None
        or takes_blocks(where.executor, n, share, laws)
    )
    if where.store is not None and rng is None:
        raise ArgumentError("store: given without rng=, so that no later call finds its blocks")
    log = None if in_blocks else Log.of(where)
    key = key_of(rng)
    options = {
        **settings,
        "n": n,
        "method": "mc" if plain else chosen.core,
        "weights": None if isinstance(settings["weights"], str) else settings["weights"],
        "relative": isinstance(settings["weights"], str) and settings["weights"] == "relative",
        "full_covariance": covariance == "full",
        "on_nan": on_nan,
        "keep_draws": yes("keep_draws", keep_draws),
        "points": points,
        "n_replicates": drawn.n_replicates,
        "tolerance": tolerance,
        "pool": pool,
        # The published rules, and a share that the user set, stand as they are.
        "explore": chosen.explores and defensive_base is None,
        "key": key,
    }
    public = {"n": n, "method": chosen.name, **(settings if chosen.defaults else {})}
    public |= {"covariance": covariance, "on_nan": on_nan, **drawn.public}
    if tolerance is not None:
        public |= {"rtol": rtol, "atol": atol}
    of_run = [*laws] if drawn.sampler is None else [*laws, drawn.sampler]
    f = adapted(f, laws[0].dim, params, args, kwargs)
    whole_f = f
    if yes("check", check):
        f = compared(f)
    as_integrand(f, laws[0].dim, first)  # raises before a file is made
    workers = resolve_threads(where.n_threads)
    if in_blocks:
        with reporter(where.progress, "expect", "evaluations") as watched:
            try:
                done = expect_in_blocks(
                    f,
                    laws,
                    options,
                    public,
                    first,
                    labels=labels,
                    coordinates=coordinates,
                    identity=lambda: identity_of_call(
                        "importance.expect", public, key, whole_f, laws, args, kwargs
                    ),
                    part=where.part,
                    store=where.store,
                    executor=where.executor,
                    n_threads=workers,
                    report=watched,
                )
            except Exception as failure:
                refuse_product(f, laws, failure)
                raise
            finish(watched, n, done)
        return cast(Estimate, done)
    with (
        reporter(where.progress, "expect", "evaluations") as shown,
        evaluation(
            f,
            executor=where.executor,
            log=log,
            identity=lambda: identity_of("importance.expect", key, of_run, public),
            n_threads=workers,
            report=shown,
            total=n,
            integrand=True,
        ) as (evaluated, report),
    ):
        target = as_integrand(evaluated, laws[0].dim, first)
        raw, error = _core.importance_expect(
            target.handle,
            [law_handle(x) for x in laws],
            None if drawn.sampler is None else law_handle(drawn.sampler),
            options,
            lambda: bool(target.complex),
            workers,
            report,
        )
        estimate = None
        stopped = isinstance(error, KeyboardInterrupt | WorkerError)
        if raw is not None and (error is None or stopped):
            scalar = len(laws) == 1 and bool(target.scalar)
            took = time.perf_counter() - start_time
            estimate = to_estimate(
                raw,
                public,
                key,
                scalar,
                target.complex,
                labels,
                stopped,
                took,
                coordinates,
                drawn,
            )
        if error is not None:
            if stopped:
                error.partial_result = estimate  # type: ignore[attr-defined]
            else:
                refuse_product(f, laws, error)
            raise error
        finish(report, n, estimate)
    return cast(Estimate, estimate)
