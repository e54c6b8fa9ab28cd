"""The call that integrates functions over a box."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import finish, reporter
from fermiac._base.validate import choice, real, real_numbers, shown, whole, yes
from fermiac._base.variables import Params, Variables
from fermiac.errors import ArgumentError, WorkerError
from fermiac.importance.integral import to_integral
from fermiac.importance.sampler import Sampler
from fermiac.importance.settings import expectation_names
from fermiac.random import RngLike, key_of
from fermiac.results import Estimate
from fermiac.runs.checkpoint import Log
from fermiac.runs.shards import evaluation
from fermiac.targets import BuiltinIntegrand, NativeTarget
from fermiac.targets.conversion import adapted, as_integrand, compared

__all__ = ["integrate"]

IntegralMethod: TypeAlias = Literal[
    "auto", "sobol", "map", "mixture", "rotated", "stratified", "mc"
]
_METHODS = ("auto", "sobol", "map", "mixture", "rotated", "stratified", "mc")
#: Axes and replicates at most.
_MOST_AXES = 1 << 16
_MOST_REPLICATES = 1 << 12


@public
def integrate(
    f: Callable[..., ArrayLike] | BuiltinIntegrand | NativeTarget,
    bounds: ArrayLike,
    n: int = 100_000,
    *,
    dim: int | None = None,
    params: Params | None = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    method: IntegralMethod = "auto",
    rtol: float | None = None,
    atol: float | None = None,
    points: Literal["sobol", "random"] = "sobol",
    scramble: Literal["linear", "owen"] = "linear",
    n_replicates: int | None = None,
    sampler: Sampler | None = None,
    pilot_fraction: float | None = None,
    combine: Literal["mean", "median"] = "mean",
    controls: Literal["own", "polynomial"] = "own",
    covariance: Literal["full", "diag"] = "full",
    on_nan: Literal["raise", "zero"] = "raise",
    names: Sequence[str] | None = None,
    keep_draws: bool = False,
    check: bool = True,
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> Estimate:
    r"""Integrate one function, or several, over a box.

    A pilot trains samplers. The estimate comes from new Sobol' points of the best of them, and its
    error from the spread of independently scrambled replicates of these points.

    Parameters
    ----------
    f : callable or target of `fermiac.targets`
        Takes a batch of points, shape (n, d), and returns shape (n,), or (n, K) for K functions. It
        may be complex. It is called with up to 16384 points at a time, on the calling thread;
        built-in and native integrands (a numba cfunc, for instance) run on all threads.
    bounds : array_like, shape (d, 2)
        The lower and the upper bound of every axis, each finite or infinite; or one pair for all
        axes, with `dim`.
    n : int, default 100_000
        The largest number of evaluations of `f`, including the pilot; at least 20 (d + 1).
    dim : int, optional
        The number of axes, if `bounds` is one pair.
    params, args, kwargs
        The parameters that `f` takes by name, and its further arguments; see
        `fermiac.targets.as_target`.
    method : {"auto", "sobol", "map", "mixture", "rotated", "stratified", "mc"}, default "auto"
        ``"sobol"``: Sobol' points of the box. ``"map"``: a smooth map of every axis that puts
        points where f is large, as in vegas. ``"mixture"``: a mixture of Student-t densities, for
        peaks and correlated coordinates. ``"rotated"``: a map of every principal axis.
        ``"stratified"``: hypercubes of the map with adapted numbers of random points, as in vegas+,
        for rough integrands. ``"mc"``: random points of the box. ``"auto"``: the method with the
        best forecast.
    rtol, atol : float, optional
        Stop as soon as the half-width of the 95 % interval of every estimate is at most the larger
        of `atol` and `rtol` times its absolute value; `n` is then an upper limit. The rule does not
        apply to an estimate from zeros alone.
    points : {"sobol", "random"}, default "sobol"
        The uniform numbers from which the points are made.
    scramble : {"linear", "owen"}, default "linear"
        The scramble of Sobol' points; see `fermiac.random.sobol`.
    n_replicates : int, optional
        The number of replicates, at least 2. By default it is 8 to 15; 16 to 31 if fewer than 4096
        points are left for the final sample; and 64 for random points.
    sampler : Sampler, optional
        The sampler of an earlier run, from `Estimate.sampler`. By default it is not trained
        further.
    pilot_fraction : float, optional
        The share of `n` for the pilot, from 0 to 0.9; by default 0.2, or 0 with a `sampler`. The
        pilot has at most 262144 points, and 32768 with a tolerance. With a `sampler` it trains the
        sampler further.
    combine : {"mean", "median"}, default "mean"
        The estimate is the mean or the median of the replicates. The median converges faster for
        smooth integrands [5]_ with the linear scramble, for which only few replicates have a large
        error.
    controls : {"own", "polynomial"}, default "own"
        ``"polynomial"`` fits a polynomial to `f` and integrates the difference, to which the
        integral of the polynomial is added. It is for finite bounds, smooth functions and random
        points; Sobol' points gain little. See Notes.
    covariance : {"full", "diag"}, default "full"
        Compute the J x J covariance of the estimates, or only the J variances.
    on_nan : {"raise", "zero"}, default "raise"
        NaN and infinities from `f` stop the run with an error that names the first point, or count
        as 0 with a warning.
    names : sequence of str, optional
        Names of the J integrals.
    keep_draws : bool, default False
        Keep the final sample, as `Estimate.sample`; with random points only.
    check : bool, default True
        Compare a batch of two points with the two points alone at the first call of an `f`
        in Python, at the cost of three calls that are not counted; see
        `fermiac.targets.as_target`.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``); see `fermiac.Plan`.
        ``store``: a folder for a file with the values of `f`, from which the same call
        resumes.

    Returns
    -------
    Estimate
        ``mean``, ``stderr``, ``interval``, ``cov``, ``n_replicates``, ``df``, ``converged`` (with a
        tolerance), ``method`` (the method that was chosen), ``sampler``, ``stages`` with the
        forecasts, and ``summary()``.

    Raises
    ------
    ArgumentError
        For an argument outside its domain.
    TargetError
        If `f` gives a wrong shape or type, a NaN or an infinity.
    CheckpointError
        If a file in the store is damaged, belongs to another run, or cannot be written.
    WorkerError
        If a worker of the executor dies twice on the same points, or is not like the driver.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` is an `Estimate` from the complete replicates, or None. A
        `WorkerError` has one as well.

    Warns
    -----
    ConvergenceWarning
        If the final sample contradicts the pilot, or the uniform points of the sampler contradict
        the others, by more than 4 standard errors; if a tolerance was not met; or if `f` is 0 at
        most points, and regions that no point met may contribute more than two standard errors and
        5 % of an estimate.
    WeightWarning
        If the tail of the weighted values is too heavy for the error bar: k-hat is above 0.5, and
        one point contributes more than a tenth of the variance and moves the estimate by more than
        half of 1/sqrt(n). Also, with Sobol' points, if the values look unbounded.
    HeavyTailWarning
        If a single point contributes more than a tenth of an estimate, or one replicate is more
        than 5 standard deviations of the others from their mean.

    Notes
    -----
    The estimate is :math:`\hat I = \frac1R \sum_r \frac1P \sum_i [v(X_{ri}) - \beta_r c(X_{ri})]`
    with :math:`v = f / q`, where q is the density of the sampler. The control :math:`c = q_1 / q -
    1`, where q_1 is the trained part of q, has mean 0. Its coefficient in a replicate comes from a
    regression on the other replicates, so the estimate is unbiased. One point in eight is drawn
    from the uniform law (on infinite axes from an image of it), which bounds v. The control
    compensates for the loss of precision if the training is good. The points of the pilot never
    enter the estimate.

    With ``controls="polynomial"`` a tenth of `n` is used to fit products of Legendre polynomials of
    one or two coordinates, up to a total degree of at most 6. There are at most a tenth as many
    products as points of the fit, and at most 512. The fit is a regression of the values, centred
    at the means of 8 replicates [6]_. Each replicate is predicted from the others, which chooses
    the degree for each integral. A polynomial is used only if it halves both the squared errors of
    the predicted replicate means and those of the values. The points of the fit do not enter the
    estimate, which stays unbiased. It is not used with strata, or for more than 256 integrals.

    The errors are reliable if the points met all of the mass. A region that is missed both by the
    uniform points and by the trained sampler is not detected.

    References
    ----------
    .. [1] G. P. Lepage, "A new algorithm for adaptive multidimensional integration", Journal of
       Computational Physics, 1978, doi:10.1016/0021-9991(78)90004-9.
    .. [2] G. P. Lepage, "Adaptive multidimensional integration: VEGAS enhanced", Journal of
       Computational Physics, 2021, arXiv:2009.05112.
    .. [3] A. B. Owen, "On dropping the first Sobol' point", 2020, arXiv:2008.08051.
    .. [4] A. Owen, Y. Zhou, "Safe and effective importance sampling", Journal of the American
       Statistical Association, 2000, doi:10.1080/01621459.2000.10473909.
    .. [5] Z. Pan, A. B. Owen, "Super-polynomial accuracy of one dimensional randomized nets using
       the median of means", Mathematics of Computation, 2023, arXiv:2111.12676.
    .. [6] F. J. Hickernell, C. Lemieux, A. B. Owen, "Control variates for quasi-Monte Carlo",
       Statistical Science, 2005, doi:10.1214/088342304000000468.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> def f(x):
    ...     return np.exp(-(x**2).sum(axis=1))
    >>> e = fm.importance.integrate(f, [(-np.inf, np.inf)] * 3, n=20_000, rng=0)
    >>> bool(abs(e.mean - np.pi**1.5) < 5 * e.stderr)
    True

    It stops when a tolerance is met:

    >>> e = fm.importance.integrate(f, (0, 1), dim=3, rtol=1e-4, rng=0)
    >>> e.converged, e.n_evals < 100_000
    (True, True)
    """
    where = plan_of(plan, "executor", "store")
    start_time = time.perf_counter()
    n = whole("n", n, 1, 2**62)
    box = _box(bounds, dim, sampler)
    choice("method", method, _METHODS)
    choice("points", points, ("sobol", "random"))
    choice("scramble", scramble, ("linear", "owen"))
    choice("combine", combine, ("mean", "median"))
    choice("controls", controls, ("own", "polynomial"))
    if controls == "polynomial" and not np.isfinite(box).all():
        raise ArgumentError(
            "controls: 'polynomial' given for infinite bounds, where polynomials have no integral; "
            "give finite bounds, or controls='own'"
        )
    choice("covariance", covariance, ("full", "diag"))
    choice("on_nan", on_nan, ("raise", "zero"))
    _consistent(method, points, scramble, combine, sampler)
    tolerance = _tolerance(rtol, atol)
    if tolerance is not None and method == "stratified":
        raise ArgumentError(
            "method: 'stratified' given with rtol or atol, whose strata are for one size; use "
            "'map' with points='random'"
        )
    kept = yes("keep_draws", keep_draws)
    if kept and points == "sobol" and method not in ("mc", "stratified"):
        raise ArgumentError(
            "keep_draws: True given with points='sobol', whose points are not independent, so that "
            "averages over them have no error; use points='random', or keep Estimate.sampler"
        )
    replicates = None
    if n_replicates is not None:
        replicates = whole("n_replicates", n_replicates, 2, _MOST_REPLICATES)
    fraction = 0.0 if sampler is not None else 0.2
    if pilot_fraction is not None:
        fraction = real(
            "pilot_fraction",
            pilot_fraction,
            "a number from 0 to 0.9 is needed",
            lambda share: 0 <= share <= 0.9,
        )
    coordinates = () if params is None else Variables.of_params(params).names
    labels = expectation_names(names)

    def first(outputs: int, is_complex: bool) -> None:
        # At the first values of f, before the budget is spent.
        if labels is not None and len(labels) != outputs:
            raise ArgumentError(f"names: {len(labels)} given for {outputs} integrals")

    log = Log.of(where)
    key = log.seed if rng is None and log is not None and log.seed is not None else key_of(rng)
    shared = {
        "n": n,
        "method": method,
        "points": points,
        "scramble": scramble,
        "n_replicates": replicates,
        "pilot_fraction": fraction,
        "on_nan": on_nan,
    }
    options = {
        **shared,
        "tolerance": tolerance,
        "polynomials": controls == "polynomial",
        "sampler": None if sampler is None else sampler._made,
        "keep_draws": kept,
        "key": key,
    }
    public = {
        **shared,
        "rtol": rtol,
        "atol": atol,
        "combine": combine,
        "controls": controls,
        "covariance": covariance,
    }
    d = len(box)
    f = adapted(f, d, params, args, kwargs)
    if yes("check", check):
        f = compared(f)
    as_integrand(f, d, first)  # raises before a file is made
    workers = resolve_threads(where.n_threads)
    with (
        reporter(where.progress, "integrate", "evaluations") as shown_bar,
        evaluation(
            f,
            executor=where.executor,
            log=log,
            identity=lambda: _identity(key, box, public, sampler),
            n_threads=workers,
            report=shown_bar,
            total=n,
            integrand=True,
        ) as (evaluated, report),
    ):
        target = as_integrand(evaluated, d, first)
        raw, error = _core.importance_integrate(
            target.handle,
            [(low, high) for low, high in box.tolist()],
            options,
            lambda: bool(target.complex),
            workers,
            report,
        )
        estimate = None
        stopped = isinstance(error, KeyboardInterrupt | WorkerError)
        if raw is not None and (error is None or stopped):
            took = time.perf_counter() - start_time
            settings = {**public, "bounds": box}
            estimate = to_integral(
                raw,
                settings,
                key,
                bool(target.scalar),
                target.complex,
                labels,
                stopped,
                took,
                coordinates,
            )
        if error is not None:
            if stopped:
                error.partial_result = estimate  # type: ignore[attr-defined]
            raise error
        finish(report, n, estimate)
    return cast(Estimate, estimate)


def _box(bounds: Any, dim: int | None, sampler: Any) -> NDArray[np.float64]:
    """Return the bounds as an array of shape (d, 2)."""
    if sampler is not None and not isinstance(sampler, Sampler):
        raise ArgumentError(
            f"sampler: {shown(sampler)} given; a fermiac.importance.Sampler is needed"
        )
    if sampler is not None and sampler.kind == "components":
        raise ArgumentError(
            "sampler: it is from expect or evidence, which has no region; train one by integrate"
        )
    box = real_numbers("bounds", bounds)
    if dim is not None:
        dim = whole("dim", dim, 1, _MOST_AXES)
        if box.shape == (2,):
            box = np.tile(box, (dim, 1))
        elif box.ndim == 0 or len(box) != dim:
            raise ArgumentError(f"dim: {dim} given for bounds of shape {box.shape}")
    if box.ndim != 2 or box.shape[1] != 2 or not 1 <= len(box) <= _MOST_AXES:
        raise ArgumentError(
            f"bounds: an array of shape {box.shape} given; one pair (low, high) for each axis is "
            f"needed, for 1 to {_MOST_AXES} axes, or one pair with dim="
        )
    bad = ~(box[:, 0] < box[:, 1])
    if bad.any():
        j = int(np.argmax(bad))
        raise ArgumentError(
            f"bounds: axis {j} runs from {box[j, 0]} to {box[j, 1]}; low < high is needed"
        )
    if sampler is not None:
        trained = np.array(sampler._bounds())
        same = trained.shape == box.shape and bool(
            np.allclose(trained, box, rtol=1e-12, atol=0, equal_nan=False)
        )
        if not same:
            raise ArgumentError(
                f"sampler: it was trained for the bounds {shown(trained.tolist())}; "
                f"{shown(box.tolist())} given"
            )
    return box


def _consistent(method: str, points: str, scramble: str, combine: str, sampler: Any) -> None:
    if sampler is not None and method != "auto":
        raise ArgumentError(f"method: {method!r} given with a sampler, which has one; leave it out")
    if combine == "median" and (scramble != "linear" or points != "sobol"):
        raise ArgumentError(
            "combine: 'median' given without linear scrambling; the median of replicates gains "
            "nothing with nested scrambling or random points: use scramble='linear' and "
            "points='sobol', or combine='mean'"
        )


def _tolerance(rtol: Any, atol: Any) -> tuple[float, float] | None:
    if rtol is None and atol is None:
        return None
    both = [
        0.0
        if given is None
        else real(name, given, "a number of at least 0 is needed", lambda x: 0 <= x < np.inf)
        for name, given in (("rtol", rtol), ("atol", atol))
    ]
    if both == [0.0, 0.0]:
        raise ArgumentError("rtol: 0 given without a positive atol; no error is 0: raise one")
    return both[0], both[1]


def _identity(
    key: int, box: NDArray[np.float64], public: Mapping[str, Any], sampler: Sampler | None
) -> dict[str, Any]:
    """Return the identity of a run: a flat mapping with types of JSON."""
    trained = None if sampler is None else repr([part.tolist() for part in _parts(sampler)])
    return {
        "version": _core.__version__,
        "isa": _core.isa_level,
        "method": "importance.integrate",
        "seed": key,
        "dim": len(box),
        **{f"setting {name}": value for name, value in public.items()},
        "bounds": repr(box.tolist()),
        "sampler": trained,
    }


def _parts(sampler: Sampler) -> list[NDArray[Any]]:
    return [sampler.knots, sampler.centre, sampler.axes, sampler.means, sampler.covariances]
