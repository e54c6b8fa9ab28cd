"""The public function of the bootstrap."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fermiac._base.calls import public
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.validate import (
    RngLike,
    choice,
    key_of,
    probability,
    shown,
    taken,
    whole,
    yes,
)
from fermiac._base.validate import positive as above_zero
from fermiac.errors import ArgumentError
from fermiac.resample.callables import Function, StatisticFunction
from fermiac.resample.data import Data, Labels, OnNan, take
from fermiac.resample.intervals import METHODS, WITHOUT_DRAWS, MethodName
from fermiac.resample.problem import Problem
from fermiac.resample.result import Bootstrap
from fermiac.resample.run import run
from fermiac.resample.schemes import SCHEMES, Replay, Scheme, SchemeName
from fermiac.resample.several_classes import OfClasses
from fermiac.resample.statistics import Statistic, StatisticName, resolved
from fermiac.runs.replicates import Drawing, Replicates

if TYPE_CHECKING:
    pass

__all__ = ["bootstrap"]


@public
def bootstrap(
    x: ArrayLike | tuple[ArrayLike, ...],
    statistic: StatisticName | Statistic | StatisticFunction = "mean",
    *,
    n_resamples: int = 9999,
    method: MethodName = "auto",
    prob: float = 0.95,
    paired: bool = False,
    strata: Labels = None,
    clusters: Labels = None,
    scheme: SchemeName | Scheme = "iid",
    indices: ArrayLike | None = None,
    positive: Any = None,
    weights: bool = False,
    batch: int | None = None,
    jackknife_groups: int | None = None,
    replicates: Replicates | None = None,
    exact: bool | None = None,
    tolerance: float | None = None,
    on_nan: OnNan = "raise",
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> Bootstrap:  # with part= Replicates; the type is that of all other calls
    """Return a statistic with its standard error and confidence interval, by the bootstrap [1]_.

    Parameters
    ----------
    x : array_like, shape (n,) or (n, d), or tuple of them
        The observations, on the first axis. A tuple has several samples: independent ones, or with
        ``paired=True`` columns of the same observations.
    statistic : str, Statistic or callable, default "mean"
        Of one sample: ``"mean"``, ``"var"``, ``"sd"``, ``"median"``, ``"iqr"``, ``"mad"``,
        ``"trimmed_mean"``, ``"huber"``, ``"skewness"``, ``"kurtosis"``, `Quantile`, `TrimmedMean`,
        `Huber`; each column is an output. Of a series: ``"mean"``, ``"autocorrelation"``,
        `Autocorrelation`. Of pairs ``(x, y)``: ``"pearson"``, ``"spearman"``, ``"kendall"``
        (tau-b), ``"cov"``, ``"ratio_of_means"``, ``"slope_through_origin"`` (Σxy / Σx²). Of
        ``(X, y)``: ``"ols"``, the coefficients of least squares with a constant first, and
        ``"logistic"``, those of a logistic regression, one step of Newton's method from the fit of
        the data. Of pairs (truth, guess) of labels, which are text, booleans or whole numbers:
        ``"accuracy"``, ``"precision"``, ``"recall"``, ``"f1"``, ``"mcc"``, ``"kappa"``. Of (truth,
        probability): ``"brier"``, ``"log_loss"``. Of (outcome, score) or (outcome, score, event):
        ``"concordance"``, the share of comparable pairs whose larger outcome has the larger score.
        Of two samples ``(a, b)``: ``"mean_difference"``, ``"mean_ratio"``, ``"cohen_d"``,
        ``"welch_t"``, ``"auc"``, the probability that an observation of a is above one of b. A
        callable takes a batch of resamples, ``f(batch)`` with shape (b, n) or (b, n, d), several
        for several samples, and returns (b,) or (b, k). A C pointer and a torch module take rows
        with all numbers of a resample; see `fermiac.targets.native` and `fermiac.targets.torch`.
    n_resamples : int, default 9999
        The number of resamples. None are drawn if the law of the statistic is known.
    method : str, default "auto"
        ``"percentile"``; ``"basic"``; ``"expanded"`` [2]_, the percentile interval widened for few
        observations; ``"bca"`` [3]_; ``"studentised"``, from the standard error of each resample on
        a scale that stabilises the variance (log for variances, artanh for correlations, logit for
        areas); ``"order"``, between order statistics, for quantiles [4]_ [5]_; ``"wilson"`` [6]_,
        for means of zeros and ones and for accuracies; ``"fixed_b"`` [8]_, for the mean of a
        series, with Bartlett's kernel and bandwidth n. ``"auto"`` takes ``"order"`` for quantiles,
        ``"wilson"`` for proportions, ``"studentised"`` if it is reliable, and ``"bca"`` otherwise.
        For series it takes ``"studentised"`` for a sieve of means and autocorrelations. For blocks
        it takes ``"studentised"``, with the standard errors of the sums of blocks [9]_, for
        statistics with an influence function, and ``"expanded"`` with the effective sample size for
        others. For `MOutOfN` it takes ``"basic"``, and for all other schemes ``"percentile"``.
    prob : float, default 0.95
        The confidence of the interval, above 0 and below 1.
    paired : bool, default False
        Whether the samples are columns of the same observations; implied by statistics of pairs.
    strata : array_like, shape (n,), optional
        A label for each observation: resamples have as many observations of each label as the data.
        For several independent samples, a tuple of labels.
    clusters : array_like, shape (n,), optional
        A label for each observation: observations of one label are drawn together.
    scheme : str or Scheme, default "iid"
        ``"iid"``, draws with replacement; ``"bayesian"``, weights n E / ΣE of exponential numbers
        E, whose percentile interval is a credible interval [7]_. For observations in the order of
        time: ``"series"``, which is ``"sieve"`` for means and autocorrelations of one series and
        ``"stationary"`` for other statistics; ``"sieve"``, ``"stationary"``, with block lengths
        from the data, or `Sieve`, `Stationary`. Each stratum is then a separate series. `MOutOfN`
        draws fewer observations, and `Parametric` draws from a fitted distribution.
    indices : array_like of int, shape (B, n), optional
        Given resamples, as indices of observations; nothing is drawn.
    positive : label, optional
        For ``"precision"``, ``"recall"`` and ``"f1"``: the class that counts, which all others are
        compared with. Default: of two classes the later one in sorted order; of more, the mean over
        the classes.
    weights : bool, default False
        Whether a callable takes the data and weights, ``f(x, w)`` with w of shape (b, n), instead
        of resamples. The Bayesian bootstrap of a callable needs it.
    batch : int, optional
        The number of resamples in one call of a callable. Default: as many as fit in the cache.
    jackknife_groups : int, optional
        The number of groups, at least 2, for the jackknife of BCa of a callable, which then leaves
        out groups of observations instead of single ones.
    replicates : Replicates, optional
        All replicates of this call, from its parts; none are drawn.
    exact : bool, optional
        False draws resamples even if the law is known; True raises an error if it is not known. By
        default the law is used if it is known.
    tolerance : float, optional
        Draw until the Monte Carlo error of both ends is at most this, in units of the statistic.
    on_nan : {"raise", "omit"}, default "raise"
        The treatment of NaN: an error, or the observation is left out.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``, ``part``); see
        `fermiac.Plan`. ``part``: (i, n): return the replicates of part i of n, counted from 0, for
        independent jobs, as `Replicates`. `fermiac.merge` joins the parts for `replicates`.
        ``store``: a folder for files of finished replicates. The same call resumes from them, and
        its parts can share the folder. It needs `rng`.

    Returns
    -------
    Bootstrap
        With `part`: `Replicates`.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or data and statistic do not fit.
    NumericalError
        If the statistic of huge or tiny data, or its interval, is out of the range of doubles.
    CheckpointError
        If a file of the store is damaged or belongs to another call, or cannot be written.
    TargetError
        If a callable returns values of another shape.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` has the replicates so far, or is None.

    Warns
    -----
    FermiacWarning
        If the interval is in doubt: fewer than ten observations, an effective sample size of a
        series below 15 (80 for blocks), a statistic that never changes, resamples in which it is
        not defined or not unique, an open end.
    HeavyTailWarning
        If the data seem to lack the moments that the statistic needs.

    Notes
    -----
    The distribution of a resampled mean, difference of means or quantile is computed without
    resamples, by convolution of the data or from the joint distribution of two order statistics.
    The same is true of a ratio of means with positive denominators, a slope through the origin and
    Huber's estimate, which are roots of decreasing sums. Replicate b has its own random stream, so
    results do not depend on the number of threads, and `Bootstrap.extend` continues them.

    References
    ----------
    .. [1] B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics, 1979,
       doi:10.1214/aos/1176344552.
    .. [2] T. C. Hesterberg, "What teachers should know about the bootstrap", The American
       Statistician, 2015, doi:10.1080/00031305.2015.1089789.
    .. [3] B. Efron, "Better bootstrap confidence intervals", Journal of the American Statistical
       Association, 1987, doi:10.1080/01621459.1987.10478410.
    .. [4] T. P. Hettmansperger, S. J. Sheather, "Confidence intervals based on interpolated order
       statistics", Statistics & Probability Letters, 1986, doi:10.1016/0167-7152(86)90021-0.
    .. [5] J. Nyblom, "Note on interpolated order statistics", Statistics & Probability Letters,
       1992.
    .. [6] E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
       Journal of the American Statistical Association, 1927, doi:10.1080/01621459.1927.10502953.
    .. [7] D. B. Rubin, "The Bayesian bootstrap", Annals of Statistics, 1981,
       doi:10.1214/aos/1176345338.
    .. [8] N. M. Kiefer, T. J. Vogelsang, "A new asymptotic theory for heteroskedasticity-
       autocorrelation robust tests", Econometric Theory, 2005, doi:10.1017/S0266466605050565.
    .. [9] F. Götze, H. R. Künsch, "Second-order correctness of the blockwise bootstrap for
       stationary observations", Annals of Statistics, 1996, doi:10.1214/aos/1069362303.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.random.Stream(1).exponential(30)
    >>> r = fm.resample.bootstrap(x, "mean", rng=0)
    >>> r.lower < r.estimate < r.upper, r.method
    (True, 'studentised')
    >>> r = fm.resample.bootstrap(x, lambda b: (b**2).mean(axis=1), n_resamples=999, rng=0)
    >>> r.method
    'bca'
    >>> y = fm.random.Stream(2).normal(100)  # in the order of time
    >>> r = fm.resample.bootstrap(y, "mean", scheme="series", rng=0)
    >>> r.scheme, r.method
    ('sieve', 'studentised')
    """
    where = plan_of(plan, "executor", "store", "part")
    began = time.perf_counter()
    chosen = resolved(statistic)
    name = choice("method", method, METHODS)
    kind = SCHEMES.resolve(scheme)
    level = probability("prob", prob)
    n = whole("n_resamples", n_resamples, 1, 2**40)
    weighted = yes("weights", weights)
    rows = None if batch is None else whole("batch", batch, 1, 2**31)
    groups = (
        None if jackknife_groups is None else whole("jackknife_groups", jackknife_groups, 2, 2**31)
    )
    known = None if exact is None else yes("exact", exact)
    limit = None if tolerance is None else above_zero("tolerance", tolerance)
    key = key_of(rng)
    data = take(
        x, statistic=chosen, paired=paired, strata=strata, clusters=clusters, on_nan=on_nan,
        positive=positive,
    )  # fmt: skip
    if chosen is not None and data.classes > 2:
        statistic, chosen = OfClasses(chosen.name, data.classes), None
        weighted = kind.name == "bayesian"
    if indices is not None:
        kind, n = _replay(indices, data, kind, limit)
    if chosen is not None:
        for argument, value in (
            ("weights", weighted or None),
            ("batch", rows),
            ("jackknife_groups", groups),
        ):
            if value is not None:
                raise ArgumentError(
                    f"{argument}: {shown(value)} given with the statistic {chosen.name!r}; it is "
                    "for callables"
                )
        problem = Problem(data, chosen, kind, known)
    else:
        if kind.name == "bayesian" and not weighted:
            raise ArgumentError(
                "weights: False given for scheme='bayesian' and a callable; weights=True is "
                "needed, and a callable of data and weights"
            )
        if kind.name == "parametric" and weighted:
            raise ArgumentError(
                "weights: True given for a parametric scheme, whose samples are not resamples of "
                "the data; a function of batches is needed"
            )
        function, first = Function.of(statistic, weighted, rows, data, groups)
        problem = Problem(data, function, kind, known, first)
    problem = problem.fitted()
    picked = problem.choose(name)
    if known and picked not in WITHOUT_DRAWS and problem.needs_replicates(picked):
        raise ArgumentError(
            f"exact: True given, but the law of {problem.name!r} with the method {picked!r} is not "
            "known; give another method, or leave exact= out"
        )
    settings = {
        "statistic": problem.name,
        "n_resamples": n,
        "method": name,
        "prob": level,
        "scheme": problem.scheme.name,
        "weights": weighted,
        "exact": known,
        "tolerance": limit,
        **data.labels,
    }
    return run(
        problem,
        n_total=n,
        start=None,
        prob=level,
        method=name,
        key=key,
        n_threads=where.n_threads,
        progress=where.progress,
        began=began,
        settings=settings,
        tolerance=limit,
        how=Drawing(where, replicates, rng),
    )


def _replay(given: Any, data: Data, kind: Scheme, tolerance: float | None) -> tuple[Scheme, int]:
    """Return the scheme of given indices, and their number."""
    n = data.units.n
    array = taken("indices", given)
    if array.ndim != 2 or array.shape[1] != n or not len(array) or array.dtype.kind not in "iu":
        raise ArgumentError(
            f"indices: an array of {array.dtype} of shape {array.shape} given; whole numbers of "
            f"shape (B, {n}) are needed"
        )
    if array.min() < 0 or array.max() >= n:
        raise ArgumentError(
            f"indices: numbers from {array.min()} to {array.max()} given; 0 to {n - 1} are needed"
        )
    for argument, other in (
        ("scheme", None if kind.name == "iid" else kind.name),
        ("strata or clusters", None if data.plain else "labels"),
        ("tolerance", tolerance),
    ):
        if other is not None:
            raise ArgumentError(
                f"{argument}: {other} given with indices=, which already are the resamples; leave "
                "it out"
            )
    rows = np.ascontiguousarray(array, np.int64)
    if not data.paired and len(data.samples) > 1:
        edges = np.cumsum([0, *data.sizes])
        for a, b in itertools.pairwise(edges.tolist()):
            if rows[:, a:b].min() < a or rows[:, a:b].max() >= b:
                raise ArgumentError(
                    f"indices: some in columns {a} to {b - 1} are observations of another sample; "
                    f"numbers from {a} to {b - 1} are needed there"
                )
    return Replay("indices", (), rows), len(rows)
