"""The public function of the bootstrap."""

from __future__ import annotations

import time

from numpy.typing import ArrayLike

from fermiac._base.calls import public
from fermiac._base.progress import Report
from fermiac._base.validate import RngLike, choice, key_of, positive, probability, whole, yes
from fermiac.errors import ArgumentError
from fermiac.resample.callables import Function, StatisticFunction
from fermiac.resample.data import SCHEMES, Labels, OnNan, SchemeName, take
from fermiac.resample.intervals import METHODS, MethodName
from fermiac.resample.problem import Problem
from fermiac.resample.result import Bootstrap
from fermiac.resample.statistics import Statistic, StatisticName, resolved

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
    scheme: SchemeName = "iid",
    weights: bool = False,
    batch: int | None = None,
    exact: bool | None = None,
    tolerance: float | None = None,
    on_nan: OnNan = "raise",
    rng: RngLike = None,
    n_threads: int | None = None,
    progress: bool | Report | None = None,
) -> Bootstrap:
    """Return a statistic with its standard error and confidence interval, by the bootstrap [1]_.

    Parameters
    ----------
    x : array_like, shape (n,) or (n, d), or tuple of them
        The observations, on the first axis. A tuple has several samples: independent ones, or with
        ``paired=True`` columns of the same observations.
    statistic : str, Statistic or callable, default "mean"
        The statistic. Of one sample: ``"mean"``, ``"var"``, ``"sd"``, ``"median"``, ``"iqr"``,
        ``"mad"``, ``"trimmed_mean"``, ``"skewness"``, ``"kurtosis"``, `Quantile`, `TrimmedMean`;
        each column is an output. For pairs ``(x, y)``: ``"pearson"``, ``"spearman"``, ``"cov"``,
        ``"ratio_of_means"``. For pairs (truth, guess) of 0 and 1: ``"accuracy"``, ``"precision"``,
        ``"recall"``, ``"f1"``, ``"mcc"``, ``"kappa"``. For two samples ``(a, b)``:
        ``"mean_difference"``, ``"mean_ratio"``, ``"cohen_d"``, ``"welch_t"``, and ``"auc"``, the
        probability that an observation of a is above one of b. A callable takes a batch of
        resamples, ``f(batch)`` with shape (b, n) or (b, n, d), with one argument per sample, and
        returns (b,) or (b, k).
    n_resamples : int, default 9999
        The number of resamples. None are drawn if the law of the statistic is known.
    method : str, default "auto"
        ``"percentile"``; ``"basic"``; ``"normal"``; ``"expanded"`` [2]_, the percentile interval
        widened for few observations; ``"bca"`` [3]_; ``"studentised"``, from the standard error of
        each resample on a scale that stabilises the variance (log for variances, artanh for
        correlations, logit for areas); ``"order"``, between order statistics, for quantiles [4]_
        [5]_; ``"wilson"`` [6]_, for means of zeros and ones and for accuracies. ``"auto"`` takes
        ``"order"`` for quantiles, ``"wilson"`` for proportions, ``"studentised"`` if its coverage
        is good, and ``"bca"`` otherwise.
    prob : float, default 0.95
        The confidence of the interval, above 0 and below 1.
    paired : bool, default False
        Whether the samples are columns of the same observations; implied by statistics of pairs.
    strata : array_like, shape (n,), optional
        A label for each observation: resamples have as many observations of each label as the data.
        For several independent samples, a tuple of labels.
    clusters : array_like, shape (n,), optional
        A label for each observation: observations of one label are drawn together.
    scheme : {"iid", "bayesian"}, default "iid"
        Draws with replacement, or weights n E / ΣE with exponential numbers E, whose percentile
        interval is a credible interval [7]_.
    weights : bool, default False
        Whether a callable takes the data and weights, ``f(x, w)`` with w of shape (b, n), instead
        of resamples. The Bayesian bootstrap of a callable needs it.
    batch : int, optional
        The number of resamples in one call of a callable. Default: as many as fit into the cache.
    exact : bool, optional
        False draws resamples even if the law is known; True raises an error if it is not known. By
        default the law is used if it is known.
    tolerance : float, optional
        Draw until the Monte Carlo error of both ends is at most this, in units of the statistic.
    on_nan : {"raise", "omit"}, default "raise"
        The treatment of NaN: an error, or the observation is left out.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
    n_threads : int, optional
        Worker threads; see `fermiac.set_num_threads`. Never changes the result.
    progress : bool or callable, optional
        True for a progress bar, or a function of (done, total).

    Returns
    -------
    Bootstrap

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or data and statistic do not fit.
    TargetError
        If a callable returns values of another shape.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` has the replicates so far, or is None.

    Warns
    -----
    FermiacWarning
        If the interval is in doubt because of fewer than ten observations, a statistic that never
        changes, resamples in which it is undefined, or an infinite end.
    HeavyTailWarning
        If the data seem to lack the moments that the statistic needs.

    Notes
    -----
    The law of a resampled mean, of a difference of means and of a quantile is computed without
    resamples: by convolution of the data, or from the joint law of two order statistics. Each
    replicate has its own random stream. Results therefore do not depend on the number of threads,
    and `Bootstrap.extend` can continue them.

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
    """
    began = time.perf_counter()
    chosen = resolved(statistic)
    name = choice("method", method, METHODS)
    kind = choice("scheme", scheme, SCHEMES)
    level = probability("prob", prob)
    n = whole("n_resamples", n_resamples, 1, 2**40)
    weighted = yes("weights", weights)
    rows = None if batch is None else whole("batch", batch, 1, 2**31)
    known = None if exact is None else yes("exact", exact)
    limit = None if tolerance is None else positive("tolerance", tolerance)
    key = key_of(rng)
    data = take(x, statistic=chosen, paired=paired, strata=strata, clusters=clusters, on_nan=on_nan)
    if chosen is not None:
        for argument, value in (("weights", weighted or None), ("batch", rows)):
            if value is not None:
                raise ArgumentError(
                    f"{argument}: {value} given with the statistic {chosen.name!r}; it is for "
                    "callables"
                )
        problem = Problem(data, chosen, kind, known)
    else:
        if kind == "bayesian" and not weighted:
            raise ArgumentError(
                "weights: False given for scheme='bayesian' and a callable; weights=True is "
                "needed, and a callable of data and weights"
            )
        function, first = Function.of(statistic, weighted, rows, data)
        problem = Problem(data, function, kind, known, first)
    picked = problem.choose(name)
    if known and picked not in ("order", "wilson") and problem.needs_replicates(picked):
        raise ArgumentError(
            f"exact: True given, but the law of {problem.name!r} with the method {picked!r} is not "
            "known; give another method, or leave exact= out"
        )
    settings = {
        "statistic": problem.name,
        "n_resamples": n,
        "method": name,
        "prob": level,
        "scheme": kind,
        "weights": weighted,
        "exact": known,
        "tolerance": limit,
    }
    return problem.run(
        n_total=n,
        start=None,
        prob=level,
        method=name,
        key=key,
        n_threads=n_threads,
        progress=progress,
        began=began,
        settings=settings,
        tolerance=limit,
    )
