"""Tests of models: reference values, level."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning, FermiacWarning
from fermiac.evaluate import cochran_q, five_by_two_cv, mcnemar, resampled_ttest


def test_reference_values() -> None:
    table = [[794, 86], [150, 570]]
    assert mcnemar(table, method="exact").pvalue == pytest.approx(3.71593614e-5, rel=1e-8)
    assert mcnemar(table).pvalue == pytest.approx(2.89338952e-5, rel=1e-8)
    assert mcnemar(table, method="chi2").statistic == pytest.approx(64**2 / 236)
    rows = ["110", "111", "100", "110", "010", "111", "100", "110", "111", "000"]
    q = cochran_q([[int(c) for c in row] for row in rows])
    assert q.statistic == pytest.approx(7.0, rel=1e-14)
    assert q.pvalue == pytest.approx(0.0301973834, abs=1e-10)


def test_tables_without_difference() -> None:
    for method in ("mid-p", "exact", "chi2"):
        assert mcnemar([[5, 0], [0, 5]], method=method).pvalue == 1.0
        assert mcnemar([[5, 3], [3, 5]], method=method).pvalue == 1.0
    assert cochran_q([[1, 1], [0, 0]]).pvalue == 1.0


def test_cochran_of_two_models_is_mcnemar() -> None:
    stream = fm.random.Stream(1)
    right = np.asarray(stream.uniform((80, 2)) < [0.7, 0.5], int)
    a, b = right.T
    table = [[(a & b).sum(), (a & ~b & 1).sum()], [(~a & b & 1).sum(), ((1 - a) & (1 - b)).sum()]]
    assert cochran_q(right).pvalue == pytest.approx(mcnemar(table, method="chi2").pvalue)


def test_equal_models_are_rejected_at_the_level() -> None:
    found: dict[str, list[float]] = {"mid-p": [], "exact": [], "cochran": []}
    for key in range(600):
        right = np.asarray(fm.random.Stream(key).uniform((100, 3)) < 0.7)
        a, b = right[:, 0], right[:, 1]
        table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
        for method in ("mid-p", "exact"):
            found[method].append(mcnemar(table, method=method).pvalue)
        found["cochran"].append(cochran_q(right).pvalue)
    level = {name: np.mean(np.array(p) <= 0.05) for name, p in found.items()}
    # Three standard errors of a level of 0.05 in 600 data sets are 0.027.
    assert 0.02 < level["mid-p"] < 0.077
    assert level["exact"] < 0.077
    assert level["exact"] <= level["mid-p"]
    assert 0.02 < level["cochran"] < 0.077


def test_a_plain_t_test_works_and_warns() -> None:
    from scipy.stats import ttest_1samp

    d = [0.02, 0.01, 0.03, -0.01, 0.02]
    with pytest.warns(FermiacWarning, match="far too often"):
        t = resampled_ttest(d, method="plain")
    assert t.pvalue == pytest.approx(ttest_1samp(d, 0.0).pvalue)
    assert t.warnings
    with pytest.raises(ArgumentError, match="such as 1/9"):
        resampled_ttest(d)
    with pytest.raises(ArgumentError, match="plain"):
        resampled_ttest(d, method="plain", test_train_ratio=0.1)


def test_splits() -> None:
    from scipy.stats import ttest_1samp

    d = np.array([0.02, 0.01, 0.03, -0.01, 0.02, 0.04, 0.0, 0.01, 0.03, 0.02])
    t = resampled_ttest(d, test_train_ratio=1 / 9)
    plain = ttest_1samp(d, 0.0)
    assert t.statistic == pytest.approx(plain.statistic / np.sqrt(1 + 10 / 9))
    folds = d.reshape(5, 2)
    spread = ((folds - folds.mean(1, keepdims=True)) ** 2).sum(1)
    f = five_by_two_cv(folds)
    assert f.statistic == pytest.approx((folds**2).sum() / (2 * spread.sum()))
    t = five_by_two_cv(folds, method="t")
    assert t.statistic == pytest.approx(folds[0, 0] / np.sqrt(spread.mean()))


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_equal_differences_have_no_p_value(value: float) -> None:
    calls: list[Callable[[], fm.evaluate.ModelTest]] = [
        lambda: resampled_ttest(np.full(10, value), test_train_ratio=0.1),
        lambda: five_by_two_cv(np.full((5, 2), value) * np.arange(5)[:, None]),
        lambda: five_by_two_cv(np.full((5, 2), value), method="t"),
    ]
    for call in calls:
        with pytest.warns(ConvergenceWarning, match="all 10 values of the differences are equal"):
            t = call()
        assert np.isnan([t.statistic, t.pvalue]).all()
        assert len(t.warnings) == 1


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (mcnemar, [[1, 2]]),
        (mcnemar, [[1, 2], [3, -1]]),
        (mcnemar, [[1, 2], [3, 0.5]]),
        (cochran_q, [[1], [0]]),
        (cochran_q, [[1, 2], [0, 1]]),
        (five_by_two_cv, [1.0, 2.0]),
        (lambda d: resampled_ttest(d, test_train_ratio=0.1), [1.0]),
        (lambda d: resampled_ttest(d, test_train_ratio=-0.1), [1.0, 2.0]),
    ],
)
def test_wrong_arguments(call: Any, argument: Any) -> None:
    with pytest.raises(ArgumentError):
        call(argument)


def _nearest_mean(x: Any, y: Any, new: Any) -> Any:
    a, b = x[y == 0].mean(0), x[y == 1].mean(0)
    return new @ (b - a) > (b - a) @ (a + b) / 2


def test_equal_learners_are_rejected_at_the_level() -> None:
    """Nearest means of either half of ten features: a part of ``benches.evaluate.calibrate``."""
    y = np.arange(200) % 2
    found: dict[str, list[float]] = {"plain": [], "corrected": [], "f": [], "t": []}
    for key in range(120):
        x = fm.random.Stream(key, index=3).normal((200, 10)) + 0.5 * y[:, None]
        differences = []
        for splits in (
            fm.evaluate.splits.random(200, 30, test_share=0.3, rng=key),
            fm.evaluate.splits.five_by_two(200, strata=y, rng=key),
        ):
            differences.append([
                np.subtract(*(
                    (_nearest_mean(x[train, h : h + 5], y[train], x[test, h : h + 5]) == y[test])
                    .mean()
                    for h in (0, 5)
                ))
                for train, test in splits
            ])  # fmt: skip
        many, few = differences
        with pytest.warns(FermiacWarning, match="far too often"):
            found["plain"].append(resampled_ttest(many, method="plain").pvalue)
        found["corrected"].append(resampled_ttest(many, test_train_ratio=3 / 7).pvalue)
        for method in ("f", "t"):
            p = five_by_two_cv(np.reshape(few, (5, 2)), method=method).pvalue  # type: ignore[arg-type]
            found[method].append(p)
    level = {name: np.mean(np.array(p) <= 0.05) for name, p in found.items()}
    # Three standard errors of a level of 0.05 in 120 data sets are 0.06; 5x2cv may have 0.10.
    assert level["corrected"] < 0.11
    assert level["f"] < 0.16
    assert level["t"] < 0.16
    assert level["plain"] > 0.35


def test_mcnemar_of_two_vectors() -> None:
    stream = fm.random.Stream(2)
    a, b = stream.uniform(200) < 0.8, stream.uniform(200) < 0.7
    table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
    for method in ("mid-p", "exact", "chi2"):
        known = mcnemar(table, method=method)
        for first, second in ((a, b), (a.tolist(), b.astype(int)), (a.astype(float), b)):
            t = mcnemar(first, second, method=method)
            assert (t.statistic, t.pvalue) == (known.statistic, known.pvalue)


@pytest.mark.parametrize(
    ("a", "b", "text"),
    [
        ([True, False], [True], r"vectors of shapes \(2,\) and \(1,\)"),
        ([[True, False]], [[True, False]], "vectors of shapes"),
        ([0.5, 1], [True, True], "table: 0 and 1"),
        ([True, True], ["yes", "no"], "right: 0 and 1"),
        ([True, True], [2, 0], "right: 0 and 1"),
        ([], [], "table: 0 and 1"),
    ],
)
def test_bad_vectors(a: Any, b: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        mcnemar(a, b)
