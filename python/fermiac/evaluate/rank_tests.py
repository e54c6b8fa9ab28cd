"""Tests of several learners on several data sets, by the ranks of their scores."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.validate import choice, numbers, probability, yes
from fermiac.errors import ArgumentError
from fermiac.evaluate.model_tests import ModelTest
from fermiac.results.provenance import provenance
from fermiac.results.result import Result
from fermiac.results.summary import Summary

__all__ = ["RankComparison", "friedman", "nemenyi"]

Array = NDArray[np.float64]
FriedmanMethod: TypeAlias = Literal["f", "chi2"]
#: The largest number of models in pairwise comparisons.
_MODELS = 1000


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class RankComparison(Result):
    """Comparisons of all pairs of models by their mean ranks.

    Attributes
    ----------
    mean_ranks : ndarray, shape (k,)
        The mean rank of each model over the data sets; the best score has rank 1.
    pvalue : ndarray, shape (k, k)
        The p-values of all pairs, adjusted for their number; 1 on the diagonal.
    critical_difference : float
        The smallest difference of mean ranks that is significant at the level `alpha`.
    alpha : float
        The level.
    n_data_sets : int
        The number of data sets.

    Examples
    --------
    >>> import fermiac as fm
    >>> scores = [[0.9, 0.8, 0.7]] * 8 + [[0.7, 0.8, 0.9]]
    >>> c = fm.evaluate.nemenyi(scores)
    >>> c.mean_ranks.round(2).tolist(), bool(c.pvalue[0, 2] < 0.05)
    ([1.22, 2.0, 2.78], True)
    """

    mean_ranks: Array
    pvalue: Array
    critical_difference: float
    alpha: float
    n_data_sets: int

    _layout: ClassVar[fit.Layout] = {
        "mean_ranks": fit.array("f", "models"),
        "pvalue": fit.array("f", "models", "models"),
        "critical_difference": fit.real,
        "alpha": fit.real,
        "n_data_sets": fit.whole(1),
    }

    def _headline(self) -> str:
        ranks = ", ".join(f"{r:.4g}" for r in self.mean_ranks[:6])
        more = ", …" if self.mean_ranks.size > 6 else ""
        return (
            f"RankComparison: mean ranks {ranks}{more}; critical difference "
            f"{self.critical_difference:.4g} at {self.alpha:.4g}"
        )

    def summary(self) -> Summary:
        """Return the mean ranks, and the smallest p-value of each model."""
        least = np.where(np.eye(self.mean_ranks.size, dtype=bool), 1.0, self.pvalue).min(1)
        names = tuple(f"model[{j}]" for j in range(self.mean_ranks.size))
        columns = {"mean_rank": self.mean_ranks, "least_pvalue": least}
        return Summary(names, columns, foot=[self._first_line()])


def _ranks(scores: ArrayLike, larger_is_better: bool) -> Array:
    """Return the ranks of the models on each data set; 1 is the best."""
    from scipy.stats import rankdata

    table = numbers("scores", scores)
    if table.ndim != 2 or table.shape[1] < 2 or len(table) < 2:
        raise ArgumentError(
            f"scores: an array of shape {table.shape} given; (n, k) is needed, with at least two "
            "data sets and two models"
        )
    if table.shape[1] > _MODELS:
        raise ArgumentError(
            f"scores: {table.shape[1]} models given; at most {_MODELS} can be compared"
        )
    return np.asarray(rankdata(-table if larger_is_better else table, axis=1), np.float64)


@public
def friedman(scores: ArrayLike, *, method: FriedmanMethod = "f") -> ModelTest:
    """Test whether several learners are equally good on several data sets, by ranks [1]_.

    Parameters
    ----------
    scores : array_like, shape (n, k)
        The score of each of k learners on each of n data sets. Tied scores get their mean rank.
        Losses give the same test.
    method : {"f", "chi2"}, default "f"
        The F distribution of Iman and Davenport [2]_, or the chi-squared distribution, which is
        conservative.

    Returns
    -------
    ModelTest
        `df` is k - 1; the second degrees of freedom of F are (k - 1)(n - 1).

    Raises
    ------
    ArgumentError
        If there are fewer than two data sets or learners, or an argument is outside its domain.

    Notes
    -----
    Scores of one learner on several data sets must be independent. Those on folds of one data set
    are dependent: use `resampled_ttest` for them.

    References
    ----------
    .. [1] M. Friedman, "The use of ranks to avoid the assumption of normality implicit in the
       analysis of variance", Journal of the American Statistical Association, 1937,
       doi:10.1080/01621459.1937.10503522.
    .. [2] R. L. Iman, J. M. Davenport, "Approximations of the critical region of the Friedman
       statistic", Communications in Statistics, Theory and Methods, 1980,
       doi:10.1080/03610928008827904.

    Examples
    --------
    >>> import fermiac as fm
    >>> scores = [[0.9, 0.8, 0.7], [0.8, 0.7, 0.6], [0.9, 0.7, 0.8], [0.6, 0.5, 0.4]]
    >>> t = fm.evaluate.friedman(scores, method="chi2")
    >>> round(t.statistic, 10), round(t.pvalue, 6)
    (6.5, 0.038774)
    """
    from scipy.special import chdtrc, fdtrc

    began = time.perf_counter()
    chosen = choice("method", method, ("f", "chi2"))
    ranks = _ranks(scores, True)
    n, k = ranks.shape
    between = n * float(((ranks.mean(0) - (k + 1) / 2) ** 2).sum())
    # The variance within data sets, which ties make smaller; zero if all models tie everywhere.
    spread = float(((ranks - (k + 1) / 2) ** 2).sum()) / (n * (k - 1))
    chi2 = between / spread if spread > 0 else 0.0
    statistic, pvalue = chi2, float(chdtrc(k - 1, chi2))
    if chosen == "f":
        rest = n * (k - 1) - chi2
        # All data sets agree: the F statistic is infinite up to rounding.
        agreed = rest <= 1e-12 * n * (k - 1)
        statistic = math.inf if agreed else (n - 1) * chi2 / rest
        pvalue = 0.0 if agreed else float(fdtrc(k - 1, (k - 1) * (n - 1), statistic))
    return ModelTest(
        name="Friedman",
        method=chosen,
        statistic=float(statistic),
        pvalue=pvalue,
        df=float(k - 1),
        **provenance({"method": chosen}, began),
    )


@public
def nemenyi(
    scores: ArrayLike, *, larger_is_better: bool = True, alpha: float = 0.05
) -> RankComparison:
    """Compare all pairs of learners by their mean ranks over several data sets [1]_ [2]_.

    Parameters
    ----------
    scores : array_like, shape (n, k)
        The score of each of k learners on each of n data sets.
    larger_is_better : bool, default True
        Whether the largest score has rank 1; False for losses.
    alpha : float, default 0.05
        The level of the critical difference, above 0 and below 1.

    Returns
    -------
    RankComparison

    Raises
    ------
    ArgumentError
        If there are fewer than two data sets or learners, or an argument is outside its domain.

    Notes
    -----
    The critical difference is q / √2 times √(k (k + 1) / (6 n)), with q the upper quantile of the
    studentised range of k normal variables. For many data sets the probability of any false
    difference is at most `alpha`. If only a few pairs are of interest, `friedman` of two learners
    at a time with `adjust` has more power, and does not depend on the other learners [3]_.

    References
    ----------
    .. [1] P. B. Nemenyi, "Distribution-free multiple comparisons", Ph.D. thesis, Princeton
       University, 1963.
    .. [2] J. Demšar, "Statistical comparisons of classifiers over multiple data sets", Journal of
       Machine Learning Research 7, 2006.
    .. [3] A. Benavoli, G. Corani, F. Mangili, "Should we really use post-hoc tests based on
       mean-ranks?", Journal of Machine Learning Research 17, 2016, arXiv:1505.02288.

    Examples
    --------
    >>> import fermiac as fm
    >>> scores = fm.random.Stream(1).normal((30, 4))
    >>> c = fm.evaluate.nemenyi(scores)
    >>> round(c.critical_difference, 4)
    0.8563
    """
    from scipy.stats import studentized_range

    began = time.perf_counter()
    level = probability("alpha", alpha)
    ranks = _ranks(scores, yes("larger_is_better", larger_is_better))
    n, k = ranks.shape
    mean = ranks.mean(0)
    error = math.sqrt(k * (k + 1) / (6 * n))
    pvalue = np.ones((k, k))
    for i in range(k):
        # A row at a time, as each value is an integral.
        gaps = np.abs(mean[i] - mean[:i]) / error
        pvalue[i, :i] = np.clip(studentized_range.sf(math.sqrt(2) * gaps, k, np.inf), 0.0, 1.0)
    pvalue = np.minimum(pvalue, pvalue.T)
    quantile = float(studentized_range.ppf(1 - level, k, np.inf))
    return RankComparison(
        mean_ranks=mean,
        pvalue=pvalue,
        critical_difference=quantile / math.sqrt(2) * error,
        alpha=level,
        n_data_sets=n,
        **provenance({"alpha": level}, began),
    )
