"""BCa limits and exact binomial limits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fermiac._base import bca
from fermiac._base.binomial import clopper_pearson


def test_limits_are_those_of_efrons_formula() -> None:
    from scipy.stats import norm

    ordered = np.sort(np.sin(np.arange(999.0)) + np.arange(999) / 999)
    estimate, a, tail = 0.6, 0.03, 0.025
    share = (ordered < estimate).mean() + 0.5 * (ordered == estimate).mean()
    low, high, z0, known = bca.ends(ordered, estimate, a, tail)
    assert known
    assert z0 == pytest.approx(norm.ppf(share))
    for end, z in ((low, norm.ppf(tail)), (high, -norm.ppf(tail))):
        p = norm.cdf(z0 + (z0 + z) / (1 - a * (z0 + z)))
        assert end == pytest.approx(np.quantile(ordered, p, method="weibull"), rel=1e-12)


def test_ties_count_half() -> None:
    assert bca.share_below(np.array([1.0, 2.0, 2.0, 3.0]), 2.0) == 0.5
    assert bca.share_below(np.array([1.0, 2.0, 2.0, 3.0]), 0.0) == 0.0


def test_without_a_correction_the_limits_are_percentiles() -> None:
    ordered = np.arange(1.0, 100.0)
    for estimate, a in ((0.0, 0.0), (200.0, 0.0), (50.0, math.nan)):
        low, high, _, known = bca.ends(ordered, estimate, a, 0.1)
        assert (low, high, known) == (10.0, 90.0, False)


def test_beyond_the_pole_the_end_of_the_replicates_is_taken() -> None:
    assert bca.level(0.0, 1.0, 1.5).p == 1.0
    assert bca.level(0.0, -1.0, -1.5).p == 0.0


def test_exact_limits_of_proportions() -> None:
    from scipy.stats import binom

    x = np.array([0, 3, 81, 100])
    low, high = clopper_pearson(x, 100, 0.025)
    assert (low[0], high[-1]) == (0.0, 1.0)
    np.testing.assert_allclose(binom.sf(x[1:] - 1, 100, low[1:]), 0.025, rtol=1e-9)
    np.testing.assert_allclose(binom.cdf(x[:-1], 100, high[:-1]), 0.025, rtol=1e-9)
