"""Ranks of learners over data sets: SciPy's values, published critical differences, level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.evaluate import friedman, nemenyi


def test_friedman_is_that_of_scipy_with_ties_too() -> None:
    stream = fm.random.Stream(1)
    for scores in (stream.normal((12, 4)), np.floor(4 * stream.uniform((15, 3)))):
        known = stats.friedmanchisquare(*scores.T)
        ours = friedman(scores, method="chi2")
        assert ours.statistic == pytest.approx(known.statistic)
        assert ours.pvalue == pytest.approx(known.pvalue)
        assert friedman(-scores, method="chi2").statistic == pytest.approx(known.statistic)
        n, k = scores.shape
        f = (n - 1) * known.statistic / (n * (k - 1) - known.statistic)
        assert friedman(scores).statistic == pytest.approx(f)
        assert friedman(scores).pvalue == pytest.approx(stats.f.sf(f, k - 1, (k - 1) * (n - 1)))


def test_friedman_of_ties_and_of_agreement() -> None:
    assert friedman(np.ones((5, 3))).pvalue == 1.0
    assert friedman([[1, 2, 3]] * 5).pvalue == 0.0
    assert friedman([[1, 2, 3]] * 5).statistic == np.inf


def test_critical_differences() -> None:
    # The quantiles of Demšar's table, for 2 to 10 learners at 5 % and 10 %.
    known = {
        0.05: [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164],
        0.10: [1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920],
    }
    for alpha, quantiles in known.items():
        for k, quantile in enumerate(quantiles, 2):
            scores = fm.random.Stream(k).normal((14, k))
            found = nemenyi(scores, alpha=alpha).critical_difference
            assert found / np.sqrt(k * (k + 1) / (6 * 14)) == pytest.approx(quantile, abs=1e-3)


def test_pairs() -> None:
    scores = fm.random.Stream(3).normal((20, 4)) + 2 * np.arange(4)
    c = nemenyi(scores)
    assert c.mean_ranks[3] == c.mean_ranks.min()
    losses = nemenyi(-scores, larger_is_better=False)
    np.testing.assert_array_equal(losses.mean_ranks, c.mean_ranks)
    np.testing.assert_array_equal(c.pvalue, c.pvalue.T)
    assert (np.diag(c.pvalue) == 1).all()
    gaps = np.abs(c.mean_ranks[:, None] - c.mean_ranks)
    off = ~np.eye(4, dtype=bool)
    assert ((gaps > c.critical_difference) == (c.pvalue < 0.05))[off].all()
    assert "critical difference" in repr(c)
    assert "mean_rank" in str(c.summary())


def test_equal_learners_are_rejected_at_the_level() -> None:
    p, least = [], []
    for key in range(500):
        scores = fm.random.Stream(key).normal((20, 4))
        p.append(friedman(scores).pvalue)
        least.append(nemenyi(scores).pvalue.min())
    # Three standard errors of a level of 0.05 in 500 data sets are 0.029.
    assert 0.021 < np.mean(np.array(p) <= 0.05) < 0.079
    assert np.mean(np.array(least) <= 0.05) < 0.079


@pytest.mark.parametrize(
    "scores",
    [[1.0, 2.0], [[1.0, 2.0]], [[1.0], [2.0]], [[1.0, np.nan]] * 3, "text", [[1, "a"]] * 2],
)
def test_wrong_arguments(scores: Any) -> None:
    for call in (friedman, nemenyi):
        with pytest.raises(ArgumentError):
            call(scores)
    with pytest.raises(ArgumentError):
        nemenyi([[1.0, 2.0]] * 3, alpha=1.0)
    with pytest.raises(ArgumentError):
        nemenyi([[1.0, 2.0]] * 3, larger_is_better=1)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError):
        friedman([[1.0, 2.0]] * 3, method="t")  # type: ignore[arg-type]
