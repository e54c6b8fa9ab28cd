"""Areas under ROC curves: reference values, ties, coverage, level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning, FermiacWarning
from fermiac.evaluate import auc, auc_difference

Y = [1, 1, 1, 1, 0, 0, 0, 0, 0]
FIRST = [0.9, 0.8, 0.35, 0.6, 0.1, 0.4, 0.35, 0.7, 0.2]
SECOND = [0.7, 0.9, 0.3, 0.5, 0.6, 0.4, 0.1, 0.3, 0.55]


def test_reference_values() -> None:
    a = auc(Y, np.stack([FIRST, SECOND], axis=1))
    np.testing.assert_allclose(a.auc, [0.825, 0.725], rtol=1e-14)
    known = [[0.02270833, 0.01401042], [0.01401042, 0.03895833]]
    np.testing.assert_allclose(a.cov, known, atol=5e-9)
    d = auc_difference(Y, FIRST, SECOND)
    assert d.statistic == pytest.approx(0.5451730205, abs=1e-10)
    assert d.pvalue == pytest.approx(0.5856345253, abs=1e-10)
    assert d.lower < d.difference < d.upper


def test_ties_and_covariance_against_brute_force() -> None:
    stream = fm.random.Stream(2)
    y = np.asarray(stream.uniform(60) < 0.4)
    s = np.floor(stream.uniform(60) * 6)
    wins = (s[y][:, None] > s[~y]) + 0.5 * (s[y][:, None] == s[~y])
    a = auc(y, s)
    n, m = wins.shape
    assert a.auc == pytest.approx(wins.mean(), rel=1e-14)
    variance = wins.mean(1).var(ddof=1) / n + wins.mean(0).var(ddof=1) / m
    assert a.stderr == pytest.approx(np.sqrt(variance), rel=1e-12)
    ours = fm.resample.bootstrap((s[y], s[~y]), "auc", n_resamples=20, rng=0)
    assert ours.estimate == pytest.approx(a.auc, rel=1e-14)


def test_intervals_hold() -> None:
    held = 0
    for key in range(400):
        stream = fm.random.Stream(key)
        s = np.concatenate([stream.normal(30) + 1.1902, stream.normal(30)])  # an area of 0.8
        a = auc(np.repeat([1, 0], 30), s)
        held += a.lower <= 0.8 <= a.upper
    assert 0.92 < held / 400 < 0.98


def test_equal_models_are_rejected_at_the_level() -> None:
    rejected = 0
    y = np.repeat([1, 0], 50)
    for key in range(600):
        stream = fm.random.Stream(key)
        common = y + stream.normal(100)
        s1, s2 = common + stream.normal(100), common + stream.normal(100)
        rejected += auc_difference(y, s1, s2).pvalue <= 0.05
    # The standard error of a level of 0.05 in 600 data sets is 0.009.
    assert 0.02 < rejected / 600 < 0.08


def test_separated_classes() -> None:
    with pytest.warns(FermiacWarning, match="overlap"):
        a = auc([1, 1, 1, 0, 0, 0], [4, 5, 6, 1, 2, 3])
    assert (a.auc, a.upper) == (1.0, 1.0)
    assert a.lower == pytest.approx(0.025 ** (1 / 3))
    with pytest.warns(ConvergenceWarning, match="contributions to the difference are equal"):
        d = auc_difference(Y, FIRST, np.array(FIRST) * 2)
    assert d.difference == 0.0
    assert np.isnan([d.statistic, d.pvalue]).all()


@pytest.mark.parametrize(
    ("y", "s"),
    [
        ([1, 0], [1.0, 2.0]),
        ([1, 1, 0, 2], [1.0, 2.0, 3.0, 4.0]),
        ([1, 1, 0, 0], [1.0, 2.0, 3.0]),
        ([1, 1, 0, 0], [1.0, 2.0, 3.0, np.nan]),
        ([1, 1, 1, 1], [1.0, 2.0, 3.0, 4.0]),
        ("text", [1.0]),
    ],
)
def test_wrong_arguments(y: Any, s: Any) -> None:
    with pytest.raises(ArgumentError):
        auc(y, s)
    with pytest.raises(ArgumentError):
        auc_difference(y, s, s)


def test_two_labels_of_any_type() -> None:
    names, columns = np.array(["no", "yes"]), np.stack([FIRST, SECOND], axis=1)
    plain, difference = auc(Y, columns), auc_difference(Y, FIRST, SECOND)
    assert plain.settings["positive"] == 1
    for labels, later in (
        (names[Y], "yes"),
        (names[Y].astype(object), "yes"),
        (np.array(Y) == 1, True),
        (np.array(Y) - 3, -2),
        ([0.5 * y for y in Y], 0.5),
    ):
        a, d = auc(labels, columns), auc_difference(labels, FIRST, SECOND)
        np.testing.assert_array_equal(
            [a.auc, a.lower, a.upper], [plain.auc, plain.lower, plain.upper]
        )
        assert (d.difference, d.pvalue) == (difference.difference, difference.pvalue)
        assert a.settings["positive"] == d.settings["positive"] == later
    other = auc(names[Y], FIRST, positive="no")
    assert (other.settings["positive"], other.n_positive) == ("no", 5)
    assert other.auc == pytest.approx(1 - auc(Y, FIRST).auc)
    assert auc_difference(names[Y], FIRST, SECOND, positive="no").difference == pytest.approx(-0.1)


@pytest.mark.parametrize(
    ("labels", "positive", "text"),
    [
        (["a", "b", "c", "a", "b", "c", "a", "b", "c"], None, r"3 labels \('a', 'b', 'c'\) given"),
        (np.array(["no", "yes"])[Y], "maybe", "'maybe' given, .* among the labels 'no', 'yes'"),
        (Y, 2, "2 given, which is not among the labels 0, 1"),
        (np.ones(9), None, "9 positives and 0 negatives"),
        ([None, *Y[1:]], None, "cannot be compared"),
        ([np.nan, *Y[1:]], None, "NaN given"),
    ],
)
def test_bad_labels(labels: Any, positive: Any, text: str) -> None:
    for call in (lambda: auc(labels, FIRST, positive=positive),
                 lambda: auc_difference(labels, FIRST, SECOND, positive=positive)):  # fmt: skip
        with pytest.raises(ArgumentError, match=text):
            call()
