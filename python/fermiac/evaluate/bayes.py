"""Bayesian comparison of two learners, with a region of practical equivalence."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.exponents import exponents, restored, scaled
from fermiac._base.validate import numbers, positive, probability
from fermiac.errors import ArgumentError
from fermiac.results.provenance import provenance
from fermiac.results.result import Result
from fermiac.results.summary import Summary, of_figures

__all__ = ["LearnerPosterior", "correlated_posterior"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class LearnerPosterior(Result):
    """The posterior of the mean difference of two learners: Student's t, shifted and scaled.

    Attributes
    ----------
    mean, scale, df : float
        Its location, its scale and its degrees of freedom.
    prob_second, prob_equivalent, prob_first : float
        The probabilities that the difference is below the region of equivalence, inside it and
        above it.
    rope : ndarray, shape (2,)
        The region of practical equivalence.

    Examples
    --------
    >>> import fermiac as fm
    >>> d = [0.02, 0.01, 0.03, -0.01, 0.02, 0.04, 0.0, 0.01, 0.03, 0.02]
    >>> p = fm.evaluate.correlated_posterior(d, test_train_ratio=1 / 9, rope=0.01)
    >>> round(p.prob_first, 3)
    0.833
    """

    mean: float
    scale: float
    df: float
    prob_second: float
    prob_equivalent: float
    prob_first: float
    rope: Array

    _layout: ClassVar[fit.Layout] = {
        **dict.fromkeys(
            ("mean", "scale", "df", "prob_second", "prob_equivalent", "prob_first"), fit.real
        ),
        "rope": fit.array("f", 2, rising=True),
    }

    def _headline(self) -> str:
        return (
            f"LearnerPosterior: {self.mean:.4g} ± {self.scale:.2g}; first better "
            f"{self.prob_first:.4g}, equivalent {self.prob_equivalent:.4g}, second better "
            f"{self.prob_second:.4g}"
        )

    def interval(self, prob: float = 0.95) -> tuple[float, float]:
        """Return the credible interval of the difference, with equal tails.

        Parameters
        ----------
        prob : float, default 0.95
            Its probability, above 0 and below 1.

        Returns
        -------
        lower, upper : float

        Raises
        ------
        ArgumentError
            If `prob` is outside its domain.
        """
        from scipy.special import stdtrit

        half = -float(stdtrit(self.df, (1 - probability("prob", prob)) / 2)) * self.scale
        return self.mean - half, self.mean + half

    def summary(self) -> Summary:
        """Return the three probabilities."""
        return of_figures(self._figures(), [self._first_line()])


def _region(rope: Any) -> Array:
    """Return the ends of a region, given as two ends or as a half-width."""
    ends = numbers("rope", rope)
    if ends.ndim == 0:
        half = positive("rope", float(ends)) if ends else 0.0
        return np.array([-half, half])
    if ends.shape != (2,) or not np.isfinite(ends).all() or ends[0] > ends[1]:
        raise ArgumentError(
            "rope: a half-width or two finite ends in rising order are needed; an array of shape "
            f"{ends.shape} was given"
        )
    return ends


@public
def correlated_posterior(
    differences: ArrayLike, *, test_train_ratio: float, rope: float | ArrayLike = 0.01
) -> LearnerPosterior:
    """Return the posterior of the mean difference of two learners from scores of splits [1]_ [2]_.

    Parameters
    ----------
    differences : array_like, shape (k,)
        The score of the first learner minus that of the second, for each of k splits. For losses
        give the second minus the first.
    test_train_ratio : float
        The number of test examples divided by that of training examples: 1/9 for ten folds.
    rope : float or (float, float), default 0.01
        The region of practically irrelevant differences: its half-width, or its two ends.

    Returns
    -------
    LearnerPosterior

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.

    Notes
    -----
    The prior is flat, and the correlation of any two scores is r = n_test / (n_test + n_train).
    Then the posterior of the mean difference is Student's t with k - 1 degrees of freedom, centred
    at the mean of the differences. Its squared scale is (1 / k + r / (1 - r)) s². Its tail
    probability beyond 0 is the one-sided p-value of `resampled_ttest`.

    References
    ----------
    .. [1] G. Corani, A. Benavoli, "A Bayesian approach for comparing cross-validated algorithms on
       multiple data sets", Machine Learning, 2015, doi:10.1007/s10994-015-5486-z.
    .. [2] A. Benavoli, G. Corani, J. Demšar, M. Zaffalon, "Time for a change: a tutorial for
       comparing multiple classifiers through Bayesian analysis", Journal of Machine Learning
       Research 18, 2017, arXiv:1606.04316.

    Examples
    --------
    >>> import fermiac as fm
    >>> d = [0.002, 0.001, 0.003, -0.001, 0.002, 0.004, 0.0, 0.001, 0.003, 0.002]
    >>> p = fm.evaluate.correlated_posterior(d, test_train_ratio=1 / 9, rope=0.01)
    >>> p.prob_equivalent > 0.99
    True
    """
    from scipy.special import stdtr

    began = time.perf_counter()
    d = numbers("differences", differences)
    if d.ndim != 1 or d.size < 2 or not np.isfinite(d).all():
        raise ArgumentError(
            f"differences: an array of shape {d.shape} given; at least two finite numbers are "
            "needed, of shape (k,)"
        )
    ratio = positive("test_train_ratio", test_train_ratio)
    ends = _region(rope)
    df, unit = float(d.size - 1), exponents(d)
    d, inside = scaled(d, unit), scaled(ends, unit)
    mean, scale = float(d.mean()), math.sqrt((1 / d.size + ratio) * float(d.var(ddof=1)))
    if scale > 0:
        below, above = (
            float(stdtr(df, (inside[0] - mean) / scale)),
            float(stdtr(df, (mean - inside[1]) / scale)),
        )
    else:
        below, above = float(mean < inside[0]), float(mean > inside[1])
    return LearnerPosterior(
        **restored("posterior", {"mean": mean, "scale": scale}, unit),
        df=df,
        prob_second=below,
        prob_equivalent=max(1.0 - below - above, 0.0),
        prob_first=above,
        rope=ends,
        **provenance({"test_train_ratio": ratio}, began),
    )
