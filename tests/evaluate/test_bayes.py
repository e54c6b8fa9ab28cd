"""The posterior of the difference of two learners: the t law, the region, limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from fermiac.errors import ArgumentError
from fermiac.evaluate import correlated_posterior, resampled_ttest

D = np.array([0.02, 0.01, 0.03, -0.01, 0.02, 0.04, 0.0, 0.01, 0.03, 0.02])


def test_it_is_students_t() -> None:
    p = correlated_posterior(D, test_train_ratio=1 / 9, rope=(-0.01, 0.02))
    law = stats.t(9, D.mean(), np.sqrt((1 / 10 + 1 / 9) * D.var(ddof=1)))
    assert p.prob_second == pytest.approx(law.cdf(-0.01))
    assert p.prob_first == pytest.approx(law.sf(0.02))
    assert p.prob_equivalent == pytest.approx(law.cdf(0.02) - law.cdf(-0.01))
    assert p.interval(0.9) == pytest.approx(law.interval(0.9))
    assert "equivalent" in repr(p)


def test_without_a_region_it_is_the_corrected_test() -> None:
    p = correlated_posterior(D, test_train_ratio=1 / 9, rope=0.0)
    assert p.prob_second == pytest.approx(resampled_ttest(D, test_train_ratio=1 / 9).pvalue / 2)
    assert p.prob_first + p.prob_second == pytest.approx(1.0)


def test_constant_differences() -> None:
    for value, field in ((0.0, "prob_equivalent"), (0.5, "prob_first"), (-0.5, "prob_second")):
        p = correlated_posterior([value] * 5, test_train_ratio=0.25)
        assert getattr(p, field) == 1.0


@pytest.mark.parametrize(
    ("d", "more"),
    [
        ([1.0], {}),
        ([1.0, np.inf], {}),
        ([1.0, 2.0], {"rope": -0.1}),
        ([1.0, 2.0], {"rope": (0.1, 0.0)}),
        ([1.0, 2.0], {"rope": (0.1, 0.2, 0.3)}),
        ([1.0, 2.0], {"rope": (0.1, np.inf)}),
        ([1.0, 2.0], {"test_train_ratio": 0.0}),
    ],
)
def test_wrong_arguments(d: Any, more: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        correlated_posterior(d, **{"test_train_ratio": 0.1, **more})
