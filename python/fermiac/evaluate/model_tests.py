"""Tests of two models or more: on the same examples, and on the scores of resampled splits."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.exponents import exponents, scaled
from fermiac._base.validate import choice, numbers, positive, require, taken
from fermiac.errors import ArgumentError, FermiacWarning
from fermiac.results.provenance import provenance
from fermiac.results.result import Finding, Result, warn
from fermiac.results.summary import Summary, of_figures
from fermiac.results.unseen import all_equal, equal_finding

__all__ = ["ModelTest", "cochran_q", "five_by_two_cv", "mcnemar", "resampled_ttest"]

Array = NDArray[np.float64]
McNemarMethod: TypeAlias = Literal["mid-p", "exact", "chi2"]
FiveByTwo: TypeAlias = Literal["f", "t"]
ResampledMethod: TypeAlias = Literal["corrected", "plain"]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ModelTest(Result):
    """A test of models.

    Attributes
    ----------
    name, method : str
        The test, and its variant.
    statistic : float
        Its statistic.
    pvalue : float
        Its p-value, two-sided.
    df : float
        The degrees of freedom of its reference law; infinite if it has none.

    Examples
    --------
    >>> import fermiac as fm
    >>> t = fm.evaluate.mcnemar([[794, 86], [150, 570]], method="exact")
    >>> t.statistic, f"{t.pvalue:.4g}"
    (86.0, '3.716e-05')
    """

    name: str
    method: str
    statistic: float
    pvalue: float
    df: float

    _layout: ClassVar[fit.Layout] = {
        "name": fit.text(),
        "method": fit.text(),
        "statistic": fit.real,
        "pvalue": fit.real,
        "df": fit.real,
    }

    def _headline(self) -> str:
        law = "" if math.isinf(self.df) else f", df {self.df:.6g}"
        return (
            f"ModelTest: {self.name} = {self.statistic:.6g}, p = {self.pvalue:.4g} "
            f"({self.method}{law})"
        )

    def summary(self) -> Summary:
        """Return the statistic and the p-value."""
        foot = [f"warning: {w}" for w in self.warnings]
        return of_figures(self._figures(), [self._first_line()], foot=foot)


def _flags(name: str, x: ArrayLike) -> Array:
    given = taken(name, x)
    if given.dtype.kind not in "biuf" or not np.isin(given, (0, 1)).all() or given.size == 0:
        raise ArgumentError(f"{name}: 0 and 1 (or False and True) are needed")
    return given.astype(np.float64)


@public
def mcnemar(
    table: ArrayLike, right: ArrayLike | None = None, *, method: McNemarMethod = "mid-p"
) -> ModelTest:
    """Test whether two models are right equally often on the same examples [1]_.

    Parameters
    ----------
    table : array_like, shape (2, 2), or (n,) with `right`
        Counts of examples: both right, only the first right, only the second right, both wrong, as
        [[both, first], [second, neither]]. With `right`: whether the first model was right about
        each of n examples.
    right : array_like, shape (n,), optional
        Whether the second model was right about each of them.
    method : {"mid-p", "exact", "chi2"}, default "mid-p"
        The binomial test with half of the probability of the observed count [2]_, the exact one,
        which is conservative, or the chi-squared approximation without correction.

    Returns
    -------
    ModelTest

    Raises
    ------
    ArgumentError
        If the table does not hold counts, or the vectors are not boolean (or 0 and 1) and of the
        same length.

    References
    ----------
    .. [1] Q. McNemar, "Note on the sampling error of the difference between correlated proportions
       or percentages", Psychometrika, 1947, doi:10.1007/BF02295996.
    .. [2] M. W. Fagerland, S. Lydersen, P. Laake, "The McNemar test for binary matched-pairs data:
       mid-p and asymptotic are better than exact conditional", BMC Medical Research Methodology,
       2013, doi:10.1186/1471-2288-13-91.

    Examples
    --------
    >>> import fermiac as fm
    >>> t = fm.evaluate.mcnemar([[794, 86], [150, 570]])
    >>> f"{t.pvalue:.4g}"
    '2.893e-05'
    >>> right_a, right_b = (
    ...     [True, True, False, True, True],
    ...     [True, False, False, False, True],
    ... )
    >>> fm.evaluate.mcnemar(right_a, right_b).pvalue
    0.25
    """
    from scipy.special import bdtr, chdtrc

    began = time.perf_counter()
    chosen = choice("method", method, ("mid-p", "exact", "chi2"))
    if right is not None:
        first, second = _flags("table", table), _flags("right", right)
        if first.ndim != 1 or first.shape != second.shape:
            raise ArgumentError(
                f"right: vectors of shapes {first.shape} and {second.shape} given; whether each "
                "model was right is needed for the same examples, twice (n,)"
            )
        both, only, examples = float(first @ second), float(first.sum()), float(first.size)
        other = float(second.sum())
        table = [[both, only - both], [other - both, examples - only - other + both]]
    counts = numbers("table", table)
    if counts.shape != (2, 2):
        raise ArgumentError(f"table: an array of shape {counts.shape} given; (2, 2) is needed")
    good = (counts >= 0) & (counts <= 2**53) & (counts == np.floor(counts))
    require("table", counts, good, "whole numbers from 0 to 2**53 are needed")
    b, c = float(counts[0, 1]), float(counts[1, 0])
    n, least = b + c, min(b, c)
    df = math.inf
    if chosen == "chi2":
        statistic = (b - c) ** 2 / n if n else 0.0
        pvalue, df = float(chdtrc(1, statistic)), 1.0
    else:
        statistic = least
        below = float(bdtr(least, int(n), 0.5)) if n else 1.0
        pvalue = min(2 * below, 1.0)
        if chosen == "mid-p":
            before = float(bdtr(least - 1, int(n), 0.5)) if least > 0 else 0.0
            pvalue = min(below + before, 1.0)
    return ModelTest(
        name="McNemar",
        method=chosen,
        statistic=statistic,
        pvalue=pvalue,
        df=df,
        **provenance({"method": chosen}, began),
    )


@public
def cochran_q(right: ArrayLike) -> ModelTest:
    """Test whether several models are right equally often on the same examples [1]_.

    Parameters
    ----------
    right : array_like, shape (n, k)
        Whether each of k models was right about each of n examples: 0 and 1.

    Returns
    -------
    ModelTest
        With a chi-squared law of k - 1 degrees of freedom.

    Raises
    ------
    ArgumentError
        If there are fewer than two models or no example, or a number other than 0 and 1.

    References
    ----------
    .. [1] W. G. Cochran, "The comparison of percentages in matched samples", Biometrika, 1950,
       doi:10.1093/biomet/37.3-4.256.

    Examples
    --------
    >>> import fermiac as fm
    >>> rows = ["110", "111", "100", "110", "010", "111", "100", "110", "111", "000"]
    >>> q = fm.evaluate.cochran_q([[int(c) for c in row] for row in rows])
    >>> round(q.statistic, 10), round(q.pvalue, 6)
    (7.0, 0.030197)
    """
    from scipy.special import chdtrc

    began = time.perf_counter()
    x = _flags("right", right)
    if x.ndim != 2 or x.shape[1] < 2:
        raise ArgumentError(
            f"right: an array of shape {x.shape} given; (n, k) is needed, with two models at least"
        )
    k = x.shape[1]
    models, examples = x.sum(0), x.sum(1)
    spread = float((examples * (k - examples)).sum())
    # Without examples on which the models differ the statistic is 0.
    q = (k - 1) * k * float(((models - models.mean()) ** 2).sum()) / spread if spread else 0.0
    return ModelTest(
        name="Cochran's Q",
        method="chi2",
        statistic=q,
        pvalue=float(chdtrc(k - 1, q)),
        df=float(k - 1),
        **provenance({}, began),
    )


def _of_splits(
    test: tuple[str, str],
    d: Array,
    above: float,
    below: float,
    df: float,
    began: float,
    found: Sequence[Finding] = (),
) -> ModelTest:
    """Return the test of a ratio: of F for `method` "f", else of t.

    It has no value where the differences `d`, whose spread is below the fraction bar, are equal
    along the last axis.
    """
    from scipy.special import fdtrc, stdtr

    name, method = test
    value = math.nan
    if all_equal(d.T).all():
        found = [*found, equal_finding(d.size, "the differences", "splits")]
    else:
        value = above / below
    result = ModelTest(
        name=name,
        method=method,
        statistic=value,
        pvalue=float(fdtrc(10, df, value) if method == "f" else 2 * stdtr(df, -abs(value))),
        df=df,
        warnings=tuple(text for _, text in found),
        **provenance({"method": method}, began),
    )
    warn(list(found), result)
    return result


@public
def resampled_ttest(
    differences: ArrayLike,
    *,
    test_train_ratio: float | None = None,
    method: ResampledMethod = "corrected",
) -> ModelTest:
    """Test whether two learners are equally good, by scores of random splits [1]_.

    Parameters
    ----------
    differences : array_like, shape (k,)
        The score of the first learner minus that of the second, for each of k splits.
    test_train_ratio : float, optional
        The number of test examples divided by that of training examples: 1/9 for ten folds. It is
        required unless ``method="plain"``.
    method : {"corrected", "plain"}, default "corrected"
        ``"plain"`` is the t-test for independent scores, for comparison.

    Returns
    -------
    ModelTest
        With k - 1 degrees of freedom.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.

    Warns
    -----
    FermiacWarning
        If ``method="plain"``: the scores of splits are not independent.
    ConvergenceWarning
        If all differences are equal: the test then has no value, and its p-value is NaN.

    Notes
    -----
    Training sets of random splits overlap, so scores are correlated, and the plain t-test rejects
    equal learners far too often. The variance is therefore multiplied by 1 / k + n_test / n_train
    instead of 1 / k.

    References
    ----------
    .. [1] C. Nadeau, Y. Bengio, "Inference for the generalization error", Machine Learning, 2003,
       doi:10.1023/A:1024068626366.

    Examples
    --------
    >>> import fermiac as fm
    >>> d = [0.02, 0.01, 0.03, -0.01, 0.02, 0.04, 0.0, 0.01, 0.03, 0.02]
    >>> t = fm.evaluate.resampled_ttest(d, test_train_ratio=1 / 9)
    >>> t.df, 0.01 < t.pvalue < 0.1
    (9.0, True)
    """
    began = time.perf_counter()
    d = numbers("differences", differences)
    if d.ndim != 1 or d.size < 2 or not np.isfinite(d).all():
        raise ArgumentError(
            f"differences: an array of shape {d.shape} given; two finite numbers at least are "
            "needed, of shape (k,)"
        )
    chosen = choice("method", method, ("corrected", "plain"))
    if chosen == "plain":
        ratio = 0.0
        if test_train_ratio is not None:
            raise ArgumentError("test_train_ratio: given, but method='plain' does not use it")
    elif test_train_ratio is None:
        raise ArgumentError(
            "test_train_ratio: None given; the ratio of test to training examples is needed, such "
            "as 1/9 for ten folds"
        )
    else:
        ratio = positive("test_train_ratio", test_train_ratio)
    d = scaled(d, exponents(d))
    error = math.sqrt((1 / d.size + ratio) * float(d.var(ddof=1)))
    found: list[Finding] = []
    if chosen == "plain":
        text = (
            "a plain t-test treats the scores of splits as independent, and rejects equal learners "
            "far too often; give test_train_ratio="
        )
        found.append((FermiacWarning, text))
    test = ("Nadeau-Bengio" if chosen == "corrected" else "plain", chosen)
    return _of_splits(test, d, float(d.mean()), error, float(d.size - 1), began, found)


@public
def five_by_two_cv(differences: ArrayLike, *, method: FiveByTwo = "f") -> ModelTest:
    """Test whether two learners are equally good, by five repetitions of two folds.

    Parameters
    ----------
    differences : array_like, shape (5, 2)
        The score of the first learner minus that of the second, for each fold of each repetition.
    method : {"f", "t"}, default "f"
        The F test of all ten differences [2]_, or the t test of the first [1]_.

    Returns
    -------
    ModelTest

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.

    Warns
    -----
    ConvergenceWarning
        If the differences of each repetition are equal: the test then has no value, and its p-value
        is NaN.

    References
    ----------
    .. [1] T. G. Dietterich, "Approximate statistical tests for comparing supervised classification
       learning algorithms", Neural Computation, 1998, doi:10.1162/089976698300017197.
    .. [2] E. Alpaydin, "Combined 5 x 2 cv F test for comparing supervised classification learning
       algorithms", Neural Computation, 1999, doi:10.1162/089976699300016007.

    Examples
    --------
    >>> import fermiac as fm
    >>> d = [[0.02, 0.01], [0.03, -0.01], [0.02, 0.04], [0.0, 0.01], [0.03, 0.02]]
    >>> round(fm.evaluate.five_by_two_cv(d).statistic, 4)
    2.1304
    """
    began = time.perf_counter()
    chosen = choice("method", method, ("f", "t"))
    d = numbers("differences", differences)
    if d.shape != (5, 2) or not np.isfinite(d).all():
        raise ArgumentError(
            f"differences: an array of shape {d.shape} given; finite numbers of shape (5, 2) are "
            "needed"
        )
    d = scaled(d, exponents(d))
    spread = float(((d - d.mean(1, keepdims=True)) ** 2).sum())
    if chosen == "t":
        below = math.sqrt(spread / 5)
        return _of_splits(("5x2cv t", "t"), d, float(d[0, 0]), below, 5.0, began)
    return _of_splits(("5x2cv F", "f"), d, float((d**2).sum()), 2 * spread, 5.0, began)
