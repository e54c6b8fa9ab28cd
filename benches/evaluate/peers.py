"""Tests and intervals of mlxtend and scikit-learn, for `benches.evaluate.calibrate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mlxtend.evaluate import (
    bootstrap_point632_score,
    cochrans_q,
    combined_ftest_5x2cv,
    mcnemar,
    paired_ttest_5x2cv,
    paired_ttest_kfold_cv,
    paired_ttest_resampled,
)
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.utils import resample

Array = NDArray[np.float64]


class Learner(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A learner of `benches.evaluate.calibrate` as a classifier of scikit-learn."""

    def __init__(self, learn: Any, first: int = 0, last: int | None = None) -> None:
        #: The learner, and the features that it sees.
        self.learn, self.first, self.last = learn, first, last

    def fit(self, x: Array, y: Any) -> Learner:
        """Fit the learner."""
        self.classes_ = np.unique(y)
        self.model_ = self.learn(x[:, self.first : self.last], y)
        return self

    def predict(self, x: Array) -> Any:
        """Return classes."""
        return self.model_(x[:, self.first : self.last])


def _right(model: Any, x: Array, y: Any) -> float:
    """Return the accuracy; the scorer of the tests."""
    return float((model.predict(x) == y).mean())


def two_learners(
    name: str, learn: Any, half: int, examples: Callable[[int], Any]
) -> Callable[[int], float]:
    """Return a test of mlxtend that fits a learner to either half of the features."""
    call, more = {
        "resampled": (paired_ttest_resampled, {"num_rounds": 30, "test_size": 0.3}),
        "ten folds": (paired_ttest_kfold_cv, {"cv": 10, "shuffle": True}),
        "5x2cv t": (paired_ttest_5x2cv, {}),
        "5x2cv F": (combined_ftest_5x2cv, {}),
    }[name]

    def pvalue(key: int) -> float:
        x, y = examples(key)
        pair = Learner(learn, 0, half), Learner(learn, half)
        return float(call(*pair, x, y, scoring=_right, random_seed=key, **more)[1])

    return pvalue


def mcnemar_pvalue(table: Any, **more: bool) -> float:
    """Return the p-value of McNemar's test in mlxtend."""
    return float(mcnemar(np.array(table), **more)[1])


def cochran_pvalue(right: Any) -> float:
    """Return the p-value of Cochran's test in mlxtend."""
    return float(cochrans_q(np.ones(len(right)), *right.T.astype(float))[1])


def area(y: Array, s: Array, key: int, count: int) -> tuple[float, float]:
    """Return the percentile interval of the area in resamples of scikit-learn."""
    found = []
    for i in range(count):
        labels, scores = resample(y, s, random_state=key * count + i)
        if 0 < labels.sum() < len(labels):
            found.append(roc_auc_score(labels, scores))
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def point632(
    learn: Any, x: Array, y: Any, key: int, method: str, count: int
) -> tuple[float, float]:
    """Return the percentile interval of the errors in mlxtend's resamples, as its manual does."""
    scores = bootstrap_point632_score(
        Learner(learn), x, y, n_splits=count, method=method, random_seed=key
    )
    low, high = np.percentile(1 - scores, [2.5, 97.5])
    return float(low), float(high)


def folds(learn: Any, x: Array, y: Any, k: int = 10) -> tuple[float, float]:
    """Return the mean error of k folds of scikit-learn and 1.96 standard errors on each side."""
    errors = 1 - cross_val_score(Learner(learn), x, y, cv=k)
    half = 1.96 * errors.std(ddof=1) / np.sqrt(k)
    return float(errors.mean() - half), float(errors.mean() + half)
