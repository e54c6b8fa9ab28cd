"""Areas under ROC curves with their covariance, by DeLong's method."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.classes import encoded, listing, place_of
from fermiac._base.validate import numbers, probability
from fermiac.errors import ArgumentError, FermiacWarning
from fermiac.results.provenance import provenance
from fermiac.results.result import Finding, Result, warn
from fermiac.results.summary import Summary, of_figures
from fermiac.results.unseen import equal_finding

__all__ = ["AreaDifference", "AreaEstimate", "auc", "auc_difference"]

Array = NDArray[np.float64]
_NUMBERS = fit.either(fit.single("models"), fit.array("f", "models"))


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class AreaEstimate(Result):
    """Areas under the ROC curves of one or several models.

    Attributes
    ----------
    auc : float or ndarray, shape (k,)
        The areas: the share of pairs in which the positive has the larger score; a tie counts half.
    stderr : float or ndarray, shape (k,)
        Their standard errors.
    cov : ndarray, shape (k, k)
        The covariance of the areas.
    lower, upper : float or ndarray, shape (k,)
        The ends of intervals on the logit scale.
    prob : float
        Their confidence.
    n_positive, n_negative : int
        The numbers of both classes.

    Examples
    --------
    >>> import fermiac as fm
    >>> a = fm.evaluate.auc([1, 1, 1, 0, 0, 0, 0], [0.9, 0.8, 0.3, 0.1, 0.4, 0.2, 0.35])
    >>> round(a.auc, 4), a.n_positive
    (0.8333, 3)
    """

    auc: float | Array
    stderr: float | Array
    cov: Array
    lower: float | Array
    upper: float | Array
    prob: float
    n_positive: int
    n_negative: int

    _layout: ClassVar[fit.Layout] = {
        **dict.fromkeys(("auc", "stderr", "lower", "upper"), _NUMBERS),
        "cov": fit.array("f", "models", "models"),
        "prob": fit.real,
        "n_positive": fit.whole(1),
        "n_negative": fit.whole(1),
    }

    def _headline(self) -> str:
        rows = [
            f"{a:.6g} ± {s:.2g} [{low:.4g}, {high:.4g}]"
            for a, s, low, high in zip(
                *(np.atleast_1d(c)[:3] for c in (self.auc, self.stderr, self.lower, self.upper)),
                strict=True,
            )
        ]
        return f"AreaEstimate: {', '.join(rows)} ({100 * self.prob:.6g} %)"

    def summary(self) -> Summary:
        """Return a table: area, standard error, ends."""
        columns = {"auc": self.auc, "stderr": self.stderr, "lower": self.lower, "upper": self.upper}
        table = {name: np.atleast_1d(np.asarray(c, float)) for name, c in columns.items()}
        k = table["auc"].size
        names = ("auc",) if k == 1 else tuple(f"auc[{j}]" for j in range(k))
        foot = [f"{self.n_positive} positives, {self.n_negative} negatives"]
        return Summary(names, table, foot=[*foot, *(f"warning: {w}" for w in self.warnings)])


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class AreaDifference(Result):
    """The difference of the areas of two models on the same examples.

    Attributes
    ----------
    difference : float
        The area of the first model minus that of the second.
    stderr : float
        Its standard error.
    statistic, pvalue : float
        The difference divided by its standard error, and the two-sided normal p-value.
    lower, upper : float
        The ends of its interval.
    prob : float
        Its confidence.
    auc : ndarray, shape (2,)
        Both areas.
    cov : ndarray, shape (2, 2)
        Their covariance.

    Examples
    --------
    >>> import fermiac as fm
    >>> y = [1, 1, 1, 0, 0, 0, 0]
    >>> d = fm.evaluate.auc_difference(y, [9, 8, 3, 1, 4, 2, 3.5], [9, 5, 1, 2, 8, 4, 3])
    >>> round(d.difference, 4)
    0.25
    """

    difference: float
    stderr: float
    statistic: float
    pvalue: float
    lower: float
    upper: float
    prob: float
    auc: Array
    cov: Array

    _layout: ClassVar[fit.Layout] = {
        **dict.fromkeys(
            ("difference", "stderr", "statistic", "pvalue", "lower", "upper", "prob"), fit.real
        ),
        "auc": fit.array("f", 2),
        "cov": fit.array("f", 2, 2),
    }

    def _headline(self) -> str:
        return (
            f"AreaDifference: {self.difference:.6g} ± {self.stderr:.2g}, p = {self.pvalue:.4g} "
            f"[{self.lower:.4g}, {self.upper:.4g}] ({100 * self.prob:.6g} %)"
        )

    def summary(self) -> Summary:
        """Return the difference, its interval and its p-value."""
        foot = [f"warning: {w}" for w in self.warnings]
        return of_figures(self._figures(), [self._first_line()], foot=foot)


def labels_of(y: Any, positive: Any) -> tuple[NDArray[np.bool_], Any]:
    """Return whether each of two labels is the positive one, and that label."""
    labels, (codes,) = encoded("y", [y])
    if codes.ndim != 1 or np.isnan(codes).any() or len(labels) > 2:
        found = "NaN" if np.isnan(codes).any() else f"{len(labels)} labels ({listing(labels)})"
        raise ArgumentError(
            f"y: an array of shape {codes.shape} with {found} given; two labels of shape (n,) are "
            "needed, such as 0 and 1"
        )
    place = place_of(positive, labels)
    flags = codes == place
    if flags.sum() < 2 or (~flags).sum() < 2:
        raise ArgumentError(
            f"y: {int(flags.sum())} positives and {int((~flags).sum())} negatives given; two of "
            "each are needed"
        )
    return flags, labels[place]


def _scores(name: str, s: Any, n: int) -> Array:
    """Return scores as a table with a column for each model."""
    array = numbers(name, s)
    if array.ndim not in (1, 2) or len(array) != n or array.size == 0:
        raise ArgumentError(
            f"{name}: an array of shape {array.shape} given for {n} labels; ({n},) or ({n}, k) is "
            "needed"
        )
    return array.reshape(n, -1)


def _delong(y: NDArray[np.bool_], scores: Array) -> tuple[Array, Array]:
    """Return the areas and their covariance from midranks."""
    from scipy.stats import rankdata

    positive, negative = scores[y], scores[~y]
    n, m = len(positive), len(negative)
    ranks = rankdata(scores, axis=0)
    of_positive = (ranks[y] - rankdata(positive, axis=0)) / m
    of_negative = 1 - (ranks[~y] - rankdata(negative, axis=0)) / n
    cov = np.cov(of_positive, rowvar=False) / n + np.cov(of_negative, rowvar=False) / m
    return of_positive.mean(0), np.asarray(cov).reshape(2 * (scores.shape[1],))


@public
def auc(y: ArrayLike, s: ArrayLike, *, positive: Any = None, prob: float = 0.95) -> AreaEstimate:
    """Return areas under ROC curves with their covariance [1]_, in O(n log n) by midranks [2]_.

    Parameters
    ----------
    y : array_like, shape (n,)
        Two labels, of numbers, booleans or text.
    s : array_like, shape (n,) or (n, k)
        Scores, of one model or of several; larger ones point to the positive label. Ties count
        half.
    positive : label, optional
        The positive label. Default: the later one in sorted order, such as 1, True or "yes".
    prob : float, default 0.95
        The confidence of the intervals, above 0 and below 1.

    Returns
    -------
    AreaEstimate

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or there are not two examples of each class.

    Warns
    -----
    FermiacWarning
        If an area is 0 or 1. Its standard error is 0, and the interval comes from the probability
        that the classes do not overlap.

    Notes
    -----
    The interval is symmetric on the logit scale, with half a win added to the area. For few
    examples the interval of ``fermiac.resample.bootstrap((positive, negative), "auc")`` has better
    coverage.

    References
    ----------
    .. [1] E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, "Comparing the areas under two or more
       correlated receiver operating characteristic curves: a nonparametric approach", Biometrics,
       1988, doi:10.2307/2531595.
    .. [2] X. Sun, W. Xu, "Fast implementation of DeLong's algorithm for comparing the areas under
       correlated receiver operating characteristic curves", IEEE Signal Processing Letters, 2014,
       doi:10.1109/LSP.2014.2337313.

    Examples
    --------
    >>> import fermiac as fm
    >>> y = [1, 1, 1, 1, 0, 0, 0, 0, 0]
    >>> s = [0.9, 0.8, 0.35, 0.6, 0.1, 0.4, 0.35, 0.7, 0.2]
    >>> a = fm.evaluate.auc(y, s)
    >>> round(a.auc, 4), round(a.stderr, 4)
    (0.825, 0.1507)
    """
    from scipy.special import expit, logit, ndtri

    began = time.perf_counter()
    flags, label = labels_of(y, positive)
    scores = _scores("s", s, flags.size)
    level = probability("prob", prob)
    areas, cov = _delong(flags, scores)
    n, m = int(flags.sum()), int((~flags).sum())
    errors = np.sqrt(np.diag(cov))
    tail = round((1 - level) / 2, 15)
    half = (n * m * areas + 0.5) / (n * m + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        width = -ndtri(tail) * np.maximum(errors, 1 / (4 * n * m)) / (half * (1 - half))
    lower, upper = (
        np.clip((expit(logit(half) + sign * width) * (n * m + 1) - 0.5) / (n * m), 0, 1)
        for sign in (-1, 1)
    )
    end = tail ** (1 / min(n, m))
    lower, upper = np.where(areas == 1, end, lower), np.where(areas == 1, 1.0, upper)
    lower, upper = np.where(areas == 0, 0.0, lower), np.where(areas == 0, 1 - end, upper)
    found: list[Finding] = []
    if ((areas == 0) | (areas == 1)).any():
        found.append((
            FermiacWarning,
            "the scores of both classes do not overlap, so that the standard error is 0; the "
            "interval is from the probability of that",
        ))  # fmt: skip
    one = np.ndim(s) == 1
    result = AreaEstimate(
        auc=float(areas[0]) if one else areas,
        stderr=float(errors[0]) if one else errors,
        cov=cov,
        lower=float(lower[0]) if one else lower,
        upper=float(upper[0]) if one else upper,
        prob=level,
        n_positive=n,
        n_negative=m,
        **provenance({"prob": level, "positive": label}, began),
    )
    warn(found, result)
    return result


@public
def auc_difference(
    y: ArrayLike, s1: ArrayLike, s2: ArrayLike, *, positive: Any = None, prob: float = 0.95
) -> AreaDifference:
    """Return the difference of the areas of two models on the same examples, by DeLong's test [1]_.

    Parameters
    ----------
    y : array_like, shape (n,)
        Two labels, of numbers, booleans or text.
    s1, s2 : array_like, shape (n,)
        The scores of both models.
    positive : label, optional
        The positive label. Default: the later one in sorted order, such as 1, True or "yes".
    prob : float, default 0.95
        The confidence of the interval, above 0 and below 1.

    Returns
    -------
    AreaDifference

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or there are not two examples of each class.

    Warns
    -----
    ConvergenceWarning
        If the standard error is 0, as for two models that rank the examples identically; the
        p-value is then NaN.

    Notes
    -----
    The test compares two fitted models on examples that were used to fit neither of them.

    References
    ----------
    .. [1] E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, "Comparing the areas under two or more
       correlated receiver operating characteristic curves: a nonparametric approach", Biometrics,
       1988, doi:10.2307/2531595.

    Examples
    --------
    >>> import fermiac as fm
    >>> y = [1, 1, 1, 1, 0, 0, 0, 0, 0]
    >>> s1 = [0.9, 0.8, 0.35, 0.6, 0.1, 0.4, 0.35, 0.7, 0.2]
    >>> s2 = [0.7, 0.9, 0.3, 0.5, 0.6, 0.4, 0.1, 0.3, 0.55]
    >>> d = fm.evaluate.auc_difference(y, s1, s2)
    >>> round(d.statistic, 6), round(d.pvalue, 6)
    (0.545173, 0.585635)
    """
    from scipy.special import ndtr, ndtri

    began = time.perf_counter()
    flags, label = labels_of(y, positive)
    columns = [_scores(name, s, flags.size) for name, s in (("s1", s1), ("s2", s2))]
    if any(c.shape[1] != 1 for c in columns):
        raise ArgumentError("s1: scores of several models given; one model each is needed")
    level = probability("prob", prob)
    areas, cov = _delong(flags, np.hstack(columns))
    difference = float(areas[0] - areas[1])
    variance = float(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1])
    # A variance this small is rounding error of zero.
    error = math.sqrt(variance) if variance > 1e-15 * float(np.trace(cov)) else 0.0
    found: list[Finding] = []
    if error == 0:
        found.append(equal_finding(flags.size, "the contributions to the difference"))
        z = math.nan
    else:
        z = difference / error
    half = -float(ndtri((1 - level) / 2)) * error
    result = AreaDifference(
        difference=difference,
        stderr=error,
        statistic=z,
        pvalue=float(2 * ndtr(-abs(z))),
        lower=difference - half,
        upper=difference + half,
        prob=level,
        auc=areas,
        cov=cov,
        **provenance({"prob": level, "positive": label}, began),
    )
    warn(found, result)
    return result
