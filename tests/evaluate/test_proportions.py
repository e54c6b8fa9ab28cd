"""Intervals of proportions: reference values, coverage summed exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from fermiac.errors import ArgumentError
from fermiac.evaluate import proportion_interval


def test_reference_values() -> None:
    low, high = proportion_interval(81, 100)
    assert (low, high) == pytest.approx((0.7222115462, 0.8748524849), abs=1e-10)
    for x, n in ((0, 20), (3, 20), (20, 20)):
        for method, theirs in (("wilson", "wilson"), ("clopper-pearson", "exact")):
            known = stats.binomtest(x, n).proportion_ci(0.95, method=theirs)
            assert proportion_interval(x, n, method=method) == pytest.approx(tuple(known))


@pytest.mark.parametrize(
    ("method", "least", "mean"),
    [
        ("clopper-pearson", 0.95, 0.95),
        ("wilson", 0.83, 0.94),
        ("mid-p", 0.92, 0.945),
        ("jeffreys", 0.85, 0.94),
        ("agresti-coull", 0.93, 0.945),
    ],
)
def test_coverage_summed_over_all_counts(method: str, least: float, mean: float) -> None:
    n = 40
    x = np.arange(n + 1)
    low, high = proportion_interval(x, n, method=method)
    p = np.linspace(0.01, 0.99, 197)
    weights = stats.binom.pmf(x, n, p[:, None])
    held = (weights * ((low <= p[:, None]) & (p[:, None] <= high))).sum(1)
    assert held.min() >= least
    assert mean <= held.mean() <= 0.985


def test_ends_of_mid_p() -> None:
    low, high = proportion_interval(7, 30, method="mid-p", prob=0.9)
    for p, tail in ((low, 0.95), (high, 0.05)):
        below = stats.binom.cdf(6, 30, p) + 0.5 * stats.binom.pmf(7, 30, p)
        assert below == pytest.approx(tail, abs=1e-12)


def test_ends_are_in_order_and_symmetric() -> None:
    x = np.arange(11)
    for method in ("wilson", "clopper-pearson", "mid-p", "jeffreys", "agresti-coull"):
        low, high = proportion_interval(x, 10, method=method)
        assert ((low >= 0) & (low <= x / 10 + 1e-12) & (x / 10 <= high + 1e-12) & (high <= 1)).all()
        np.testing.assert_allclose(low, 1 - high[::-1], atol=1e-10)


@pytest.mark.parametrize(
    ("x", "n", "more"),
    [
        (3, 2, {}),
        (-1, 2, {}),
        (0.5, 2, {}),
        (1, 0, {}),
        ([1, 2], [3, 4, 5], {}),
        (1, 2, {"method": "wald"}),
        (1, 2, {"prob": 0.0}),
    ],
)
def test_wrong_arguments(x: Any, n: Any, more: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        proportion_interval(x, n, **more)
