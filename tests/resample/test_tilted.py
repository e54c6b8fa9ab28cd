"""Tiny p-values of sign flips against exact ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fermiac as fm
from fermiac.resample import permutation_test
from fermiac.resample.tilted import log_upper_tail


@pytest.mark.parametrize(("n", "shift", "allowed"), [(30, 0.3, 1e-5), (40, 0.4, 1e-5)])
def test_the_series_is_the_exact_tail(n: int, shift: float, allowed: float) -> None:
    for key in range(6):
        d = fm.random.Stream(key).normal(n) + shift
        known = permutation_test(d, alternative="greater")
        assert known.method == "enumeration"
        if known.statistic > 0 and known.pvalue > 1e-6:
            found = log_upper_tail(np.abs(d), float(d.sum()))
            assert found is not None
            assert math.exp(found) == pytest.approx(known.pvalue, rel=allowed)


def test_tiny_p_values_have_relative_accuracy() -> None:
    d = np.round(np.abs(fm.random.Stream(1).normal(200)) * 100) + 1
    signs = np.where(np.arange(200) % 10 < 9, 1, -1)
    known = permutation_test(d * signs, alternative="greater")
    assert known.method == "shift"
    assert 1e-27 < known.pvalue < 1e-25
    # Whole sums of one parity; the smooth law starts half a gap below.
    found = log_upper_tail(d, float(d @ signs) - 1)
    assert found is not None
    assert found == pytest.approx(known.log_pvalue, abs=1e-4)


def test_few_outcomes_are_counted() -> None:
    d = fm.random.Stream(1).exponential(2000)
    p = permutation_test(d, alternative="greater")
    assert p.method == "counting"
    assert p.log_pvalue == pytest.approx(-2000 * math.log(2), rel=1e-12)
    order = np.argsort(d)
    d[order[0]] *= -1
    p = permutation_test(d, alternative="greater")
    assert p.log_pvalue == pytest.approx(math.log(2) - 2000 * math.log(2), rel=1e-9)


def test_lattices_have_their_own_law() -> None:
    d = np.round(fm.random.Stream(3).normal(60) + 0.2, 1)
    p = permutation_test(d, alternative="greater")
    assert p.method == "shift"
    rough = permutation_test(d, alternative="greater", exact=False, n_resamples=20_000, rng=0)
    assert abs(rough.pvalue - p.pvalue) < 5 * math.sqrt(p.pvalue / 20_000)


def test_sums_in_clusters_are_not_given_to_the_series() -> None:
    d = np.concatenate([[1e3, -1.7e3, 2.22e3], fm.random.Stream(1).normal(60) * 1e-3])
    assert permutation_test(d, n_resamples=99, rng=0).method == "sampled"
