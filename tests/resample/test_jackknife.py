"""The jackknife: reference values, closed forms against leaving out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import worker_targets

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.resample import Quantile, jackknife

MICE = [94.0, 197.0, 16.0, 38.0, 99.0, 141.0, 23.0]
LSAT = [576, 635, 558, 578, 666, 580, 555, 661, 651, 605, 653, 575, 545, 572, 594.0]
GPA = [3.39, 3.3, 2.81, 3.03, 3.44, 3.07, 3, 3.43, 3.36, 3.13, 3.12, 2.74, 2.76, 2.88, 2.96]


def test_reference_values() -> None:
    assert jackknife(MICE, "mean").acceleration == pytest.approx(0.0291205812628, abs=1e-13)
    j = jackknife((LSAT, GPA), "pearson")
    assert j.bias == pytest.approx(-0.006473623046, abs=1e-12)
    assert j.stderr == pytest.approx(0.142518618602, abs=1e-12)
    assert j.acceleration == pytest.approx(-0.075671564938, abs=1e-12)


def _auc(a: Any, b: Any) -> Any:
    return (a[:, :, None] > b[:, None, :]).mean((1, 2)) + 0.5 * (
        a[:, :, None] == b[:, None, :]
    ).mean((1, 2))


@pytest.mark.parametrize(
    ("name", "function", "samples"),
    [
        ("mean", lambda b: b.mean(1), 1),
        ("var", lambda b: b.var(1, ddof=1), 1),
        ("sd", lambda b: b.std(1, ddof=1), 1),
        ("median", lambda b: np.median(b, axis=1), 1),
        (Quantile(0.2), lambda b: np.quantile(b, 0.2, axis=1), 1),
        (Quantile(0.93), lambda b: np.quantile(b, 0.93, axis=1), 1),
        ("mean_difference", lambda a, b: a.mean(1) - b.mean(1), 2),
        ("auc", _auc, 2),
    ],
)
def test_closed_forms_are_those_of_leaving_out(name: Any, function: Any, samples: int) -> None:
    stream = fm.random.Stream(5)
    for n in (11, 12):
        x = np.round(stream.normal(n), 1)
        data = x if samples == 1 else (x[:5] + 0.5, x[5:])
        ours, other = jackknife(data, name), jackknife(data, function)
        np.testing.assert_allclose(ours.values, other.values, rtol=1e-12, atol=1e-13)
        assert ours.stderr == pytest.approx(other.stderr, rel=1e-10)
        assert ours.acceleration == pytest.approx(
            other.acceleration, rel=1e-9, abs=1e-12, nan_ok=True
        )


def test_pairs_and_ratios_of_pairs() -> None:
    stream = fm.random.Stream(5)
    x, y = stream.exponential(14), stream.exponential(14)

    def correlation(a: Any, b: Any) -> Any:
        a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
        return (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))

    for name, function in (
        ("pearson", correlation),
        ("ratio_of_means", lambda a, b: a.mean(1) / b.mean(1)),
    ):
        ours, other = jackknife((x, y), name), jackknife((x, y), function, paired=True)
        np.testing.assert_allclose(ours.values, other.values, rtol=1e-12)


def test_influences_are_derivatives() -> None:
    stream = fm.random.Stream(5)
    x, y = stream.exponential(14), stream.exponential(14)
    one = ("mean", "var", "sd", "skewness", "kurtosis", "trimmed_mean")
    two = ("mean_difference", "mean_ratio", "cohen_d", "welch_t", "auc")
    cases: list[tuple[Any, str]] = [(x, name) for name in one[:-1]]
    cases += [((x, y), name) for name in (*two, "pearson", "cov", "ratio_of_means")]
    for data, name in cases:
        j = jackknife(data, name)
        # The jackknife's influences differ from the derivatives by terms of the order of 1 / n.
        n = len(j.values) if name not in two else 14
        rough = (n - 1) * (j.estimate - j.values)
        assert np.corrcoef(rough, j.influence)[0, 1] > 0.96, name
        sums = [j.influence[:14].sum(), j.influence.sum()]
        assert np.abs(sums).max() < 1e-10 * np.abs(j.influence).max() * 30, name


def test_clusters_are_left_out_together() -> None:
    x = np.arange(12.0) ** 1.5
    groups = np.repeat(np.arange(6), 2)
    j = jackknife(x, "mean", clusters=groups)
    known = [np.delete(x, [2 * k, 2 * k + 1]).mean() for k in range(6)]
    np.testing.assert_allclose(j.values, known, rtol=1e-13)


@pytest.mark.parametrize(
    ("x", "more"),
    [
        ([1.0], {}),
        ([], {}),
        ([1.0, np.nan], {}),
        ([1.0, np.inf], {}),
        ("text", {}),
        (np.ones((3, 3, 3)), {}),
        ([1.0, 2.0], {"statistic": "pearson"}),
        ([1.0, 2.0], {"statistic": "nothing"}),
        ([1.0, 2.0], {"statistic": 3}),
        ([1.0, 2.0], {"clusters": [1]}),
        ([1.0, 2.0], {"clusters": [1, 1]}),
        ([1.0, 2.0, 3.0], {"strata": [1, 1, 2]}),
        ([1.0, 2.0], {"jackknife_groups": 2}),
        ([1.0, 2.0], {"statistic": lambda b: b.mean(1), "jackknife_groups": 1}),
        ([1.0, 2.0], {"on_nan": "keep"}),
        ([1.0, 2.0], {"weights": "yes"}),
        (([1.0, 2.0], [1.0]), {"paired": True}),
    ],
)
def test_wrong_arguments(x: Any, more: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        jackknife(x, **more)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"jackknife_groups": 7},
        {"strata": np.arange(40) % 2},
        {"clusters": np.arange(40) // 3, "weights": True, "statistic": worker_targets.weighted},
    ],
)
def test_the_same_bits_on_workers(more: dict[str, Any]) -> None:
    x = fm.random.Stream(3).exponential(40)
    if "weights" in more:
        x = fm.random.Stream(3).exponential((40, 2))
    given = {"statistic": worker_targets.spread, **more}
    local = fm.resample.jackknife(x, **given)
    with ThreadPoolExecutor(3) as pool:
        for executor in (pool, fm.executor.Sharded(pool, rows=3)):
            there = fm.resample.jackknife(x, plan=executor, **given)
            for name in ("values", "stderr", "bias", "acceleration"):
                np.testing.assert_array_equal(getattr(there, name), getattr(local, name))
            assert there.n_evals == local.n_evals
        assert fm.resample.jackknife(x, plan=pool).values.shape == x.shape
    with pytest.raises(ArgumentError, match="plan: 3 given"):
        fm.resample.jackknife(x, plan=3)
