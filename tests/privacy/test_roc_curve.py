"""Curves of attack scores: counts, hulls, areas, bootstrap limits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from attacks import tied
from numpy.typing import NDArray
from scipy import stats

import fermiac as fm
from fermiac.errors import ArgumentError, FermiacWarning
from fermiac.privacy import roc

Array = NDArray[np.float64]


# --- curves --------------------------------------------------------------------------------------


def test_counts_are_those_of_brute_force_with_ties() -> None:
    for seed in range(20):
        members, nonmembers = tied(seed)
        members[:3], nonmembers[:2] = [np.inf, -np.inf, -0.0], [np.inf, 0.0]
        c = roc(members, nonmembers)
        pooled = np.unique(np.concatenate([members, nonmembers]))[::-1]
        np.testing.assert_array_equal(c.thresholds[1:], pooled)
        np.testing.assert_array_equal(c.tp[1:], (members >= pooled[:, None]).sum(1))
        np.testing.assert_array_equal(c.fp[1:], (nonmembers >= pooled[:, None]).sum(1))
        assert (c.tp[0], c.fp[0], c.thresholds[0]) == (0, 0, np.inf)
        np.testing.assert_array_equal(c.tpr, c.tp / members.size)
        above = (members[:, None] > nonmembers) + 0.5 * (members[:, None] == nonmembers)
        assert c.auc == pytest.approx(above.mean(), rel=1e-14)
        assert c.auc == pytest.approx(np.trapezoid(c.tpr, c.fpr), rel=1e-13)
        u = stats.mannwhitneyu(members, nonmembers).statistic
        assert c.auc == pytest.approx(u / above.size, rel=1e-13)
        assert c.advantage == pytest.approx((c.tpr - c.fpr).max(), abs=1e-15)
        assert c.accuracy == pytest.approx(0.5 + 0.5 * c.advantage)


def test_the_hull_is_that_of_brute_force() -> None:
    for seed in range(20):
        c = roc(*tied(seed, 15))
        grid = np.linspace(0, 1, 501)
        # The concave envelope: the best of all chords.
        best = np.interp(grid, c.fpr[c.hull], c.tpr[c.hull])
        n = len(c.fpr)
        expected = np.zeros(501)
        for i in range(n):
            for j in range(i, n):
                if c.fpr[i] == c.fpr[j]:
                    at = np.isclose(grid, c.fpr[i], atol=1e-12)
                    expected[at] = np.maximum(expected[at], c.tpr[j])
                    continue
                share = (grid - c.fpr[i]) / (c.fpr[j] - c.fpr[i])
                chord = c.tpr[i] + share * (c.tpr[j] - c.tpr[i])
                inside = (share >= 0) & (share <= 1)
                expected[inside] = np.maximum(expected[inside], chord[inside])
        np.testing.assert_allclose(best[1:], expected[1:], atol=1e-9)
        area = np.trapezoid(c.tpr[c.hull], c.fpr[c.hull])
        assert c.hull_auc == pytest.approx(area, rel=1e-13)
        # Left out are points on straight lines: slopes fall.
        x, y = np.diff(c.fp[c.hull]), np.diff(c.tp[c.hull])
        assert np.all(x[:-1] * y[1:] < y[:-1] * x[1:])


def test_areas_in_closed_form() -> None:
    assert roc([3, 4], [1, 2]).auc == 1.0
    assert roc([1, 2], [3, 4]).auc == 0.0
    assert roc([5.0] * 7, [5.0] * 3).auc == 0.5
    # Normal scores a shift of d apart: Φ(d / √2), and 2 Φ(d / 2) - 1.
    rng, n, d = np.random.default_rng(1), 200_000, 1.3
    c = roc(rng.normal(d, 1, n), rng.normal(0, 1, n))
    assert abs(c.auc - stats.norm.cdf(d / np.sqrt(2))) < 5 * 0.5 / np.sqrt(n)
    assert abs(c.advantage - (2 * stats.norm.cdf(d / 2) - 1)) < 5 / np.sqrt(n)
    at = c.tpr_at_fpr([1e-2, 0.1])
    expected = stats.norm.sf(stats.norm.isf([1e-2, 0.1]) - d)
    np.testing.assert_allclose(at, expected, atol=0.02)


def test_tpr_at_fpr_interpolates_from_the_top_of_a_step() -> None:
    c = roc([9, 8, 5, 4, 1], [7, 6, 3, 2])
    np.testing.assert_allclose(
        c.tpr_at_fpr([0, 0.125, 0.25, 0.5, 0.625]), [0.4, 0.4, 0.4, 0.8, 0.8]
    )
    assert c.tpr_at_fpr(1.0) == 1.0
    assert isinstance(c.tpr_at_fpr(1.0), float)
    # One tie of members and non-members is a slope.
    s = roc([2.0, 1.0], [2.0, 1.0])
    np.testing.assert_allclose(s.tpr_at_fpr([0.0, 0.25, 0.75]), [0.0, 0.25, 0.75])
    np.testing.assert_allclose(s.tpr_at_fpr([0.25, 0.75], interpolate=False), [0.0, 0.5])
    # Rates that are counts over sizes are met exactly.
    n = 100
    c = roc(np.arange(n) + 0.5, np.arange(n))
    np.testing.assert_array_equal(
        c.tpr_at_fpr(c.fp / n, interpolate=False)[1:], [c.tpr[c.fp <= f].max() for f in c.fp[1:]]
    )


# --- bootstrap -----------------------------------------------------------------------------------


def statistic(name: str, members: Array, nonmembers: Array) -> float:
    c = roc(members, nonmembers)
    return {"auc": c.auc, "advantage": c.advantage, "tpr_at_fpr": c.tpr_at_fpr(0.1)}[name]


@pytest.mark.parametrize("name", ["auc", "advantage", "tpr_at_fpr"])
def test_limits_are_those_of_the_formula(name: str) -> None:
    """BCa from the replicates and a jackknife in plain NumPy."""
    members, nonmembers = tied(3)
    fpr = 0.1 if name == "tpr_at_fpr" else None
    b = roc(members, nonmembers).bootstrap(name, n=500, fpr=fpr, prob=0.9, rng=4)
    assert b.estimate == statistic(name, members, nonmembers)
    share = np.mean(b.replicates < b.estimate) + 0.5 * np.mean(b.replicates == b.estimate)
    assert b.bias == pytest.approx(stats.norm.ppf(share), rel=1e-9, abs=1e-12)
    left = [np.array([statistic(name, np.delete(members, i), nonmembers) for i in range(40)])]
    left.append(np.array([statistic(name, members, np.delete(nonmembers, i)) for i in range(47)]))
    u = [(len(x) - 1) * (x.mean() - x) for x in left]
    num = sum((v**3).sum() / len(v) ** 3 for v in u)
    den = sum((v**2).sum() / len(v) ** 2 for v in u)
    a = num / (6 * den**1.5)
    assert b.acceleration == pytest.approx(a, rel=1e-9)
    z = b.bias + stats.norm.ppf([0.05, 0.95])
    at = stats.norm.cdf(b.bias + z / (1 - a * z))
    known = np.quantile(b.replicates, at, method="weibull")
    np.testing.assert_allclose([b.lower, b.upper], known, rtol=1e-9)
    assert b.stderr == pytest.approx(np.std(b.replicates, ddof=1))


@pytest.mark.parametrize("name", ["auc", "advantage"])
def test_replicates_have_the_law_of_scipys(name: str) -> None:
    members, nonmembers = tied(6)
    b = roc(members, nonmembers).bootstrap(name, n=2000, rng=1)
    reference = stats.bootstrap(
        (members, nonmembers),
        lambda x, y: statistic(name, x, y),
        n_resamples=1500,
        vectorized=False,
        paired=False,
        method="BCa",
        rng=np.random.default_rng(2),
    )
    other = reference.bootstrap_distribution
    # Two samples of the same discrete law.
    assert stats.ks_2samp(b.replicates, other).statistic < 5 * 0.5 / np.sqrt(1500 * 2000 / 3500)
    se = np.std(other)
    assert abs(b.replicates.mean() - other.mean()) < 5 * se * np.sqrt(1 / 2000 + 1 / 1500)
    # An end is a quantile at some 2.5 %: of an error of 2.7 standard deviations over √n.
    slack = 5 * 2.7 * se * np.sqrt(1 / 2000 + 1 / 1500)
    low, high = reference.confidence_interval
    assert abs(b.lower - low) < slack
    assert abs(b.upper - high) < slack


def test_coverage_of_the_bootstrap() -> None:
    truth, hits = stats.norm.cdf(1 / np.sqrt(2)), 0
    rng = np.random.default_rng(7)
    for seed in range(200):
        c = roc(rng.normal(1, 1, 80), rng.normal(0, 1, 80))
        b = c.bootstrap("auc", n=400, prob=0.9, rng=seed)
        hits += b.lower <= truth <= b.upper
    assert abs(hits - 180) < 5 * np.sqrt(200 * 0.9 * 0.1) + 6


def test_bits_of_the_bootstrap(thread_counts: tuple[int, ...]) -> None:
    c = roc(*tied(2, 300))
    for name, fpr in [("auc", None), ("advantage", None), ("tpr_at_fpr", 0.05)]:
        runs = [
            c.bootstrap(name, n=300, fpr=fpr, rng=8, plan=fm.Plan(n_threads=k))
            for k in thread_counts
        ]
        for run in runs:
            np.testing.assert_array_equal(run.replicates, runs[0].replicates)
            assert (run.lower, run.upper) == (runs[0].lower, runs[0].upper)
        # A replicate does not depend on how many there are.
        fewer = c.bootstrap(name, n=100, fpr=fpr, rng=8)
        np.testing.assert_array_equal(fewer.replicates, runs[0].replicates[:100])
    assert c.bootstrap(rng=None, n=10).seed is not None


def test_degenerate_bootstraps() -> None:
    c = roc([3.0, 4.0], [1.0, 2.0])
    with pytest.warns(FermiacWarning, match="all 50 replicates") as caught:
        b = c.bootstrap(n=50, rng=1)
    assert (b.lower, b.upper, b.estimate) == (1.0, 1.0, 1.0)
    assert caught[0].message.result is b  # type: ignore[union-attr]
    assert caught[0].filename == __file__
    assert np.isnan(b.acceleration)
    # Both replicates are above the estimate.
    few = roc([3.0, 5.0, 6.0, 8.0], [1.0, 2.0, 4.0, 7.0])
    with pytest.warns(FermiacWarning, match="percentiles"):
        b = few.bootstrap(n=2, prob=0.9, rng=0)
    assert b.bias == -np.inf
    assert (b.lower, b.upper) == (b.replicates.min(), b.replicates.max())
    with pytest.raises(ArgumentError, match="two scores"):
        roc([1.0], [0.0, 2.0]).bootstrap()
    for bad in ({"statistic": "f1"}, {"n": 0}, {"prob": 1.0}, {"fpr": 0.1}, {"rng": -1}):
        with pytest.raises(ArgumentError, match=next(iter(bad))):
            c.bootstrap(**bad)  # type: ignore[arg-type]
    for fpr in (None, 1.0, -0.1, [0.1, 0.2]):
        with pytest.raises(ArgumentError, match="fpr"):
            c.bootstrap("tpr_at_fpr", fpr=fpr)  # type: ignore[arg-type]


def test_counts_beyond_a_machine_word_have_an_advantage() -> None:
    curve = roc([3.0, 5, 6], [1.0, 2, 4])
    assert curve.advantage == 2 / 3
    assert dataclasses.replace(curve, n_members=2**64).advantage < 1e-18
