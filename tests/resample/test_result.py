"""Results of resampling: files, extension after loading, tables, other intervals."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError

X = np.asarray(fm.random.Stream(1).exponential(30))
R = fm.resample.bootstrap(np.arange(20.0) ** 1.5, "sd", n_resamples=50, rng=0)


def test_loaded_results_are_extended_to_the_same_bits(tmp_path: Path) -> None:
    levels = np.arange(30) % 3
    for k, (x, statistic, more) in enumerate((
        (X, "mean", {}),
        (X, fm.resample.Quantile(0.3), {"exact": False, "method": "bca"}),
        ((X, X**2), "pearson", {}),
        ((X[:10], X[10:]), "auc", {}),
        (X, "median", {"strata": levels, "exact": False, "method": "percentile"}),
        (np.stack([X, X**2], 1), "sd", {"clusters": levels + 10 * (np.arange(30) // 3)}),
    )):  # fmt: skip
        r = fm.resample.bootstrap(x, statistic, n_resamples=50, rng=1, **more)
        path = tmp_path / f"{k}.safetensors"
        r.save(path)
        again = fm.load(path)
        assert isinstance(again, fm.resample.Bootstrap)
        assert np.array_equal(again.replicates, r.replicates)
        a, b = r.extend(30), again.extend(30)
        assert np.array_equal(a.replicates, b.replicates)
        assert np.array_equal(a.upper, b.upper)
        ours, theirs = r.interval(0.8, "percentile"), again.interval(0.8, "percentile")
        assert np.array_equal(ours.low, theirs.low)


def test_functions_are_not_loaded(tmp_path: Path) -> None:
    r = fm.resample.bootstrap(X, lambda b: b.max(1), n_resamples=50, method="percentile", rng=1)
    r.save(tmp_path / "r.safetensors")
    again = fm.resample.Bootstrap.load(tmp_path / "r.safetensors")
    with pytest.raises(ArgumentError, match="function"):
        again.extend(5)
    with pytest.raises(ArgumentError, match="function"):
        r.transform(np.log).interval()


def test_pickled_results_are_extended() -> None:
    r = fm.resample.bootstrap(X, "mean", n_resamples=50, rng=1)
    again = pickle.loads(pickle.dumps(r))
    assert np.array_equal(again.extend(20).replicates, r.extend(20).replicates)
    r = fm.resample.bootstrap(X, lambda b: b.max(1), n_resamples=50, method="percentile", rng=1)
    assert pickle.loads(pickle.dumps(r)).upper == r.upper


def test_other_intervals() -> None:
    r = fm.resample.bootstrap(X, "mean", n_resamples=500, rng=1)
    assert r.interval() == (r.lower, r.upper)
    assert r.interval(0.5).low > r.lower
    for method in ("percentile", "basic", "expanded", "bca"):
        low, high = r.interval(0.9, method)
        assert low < r.estimate < high
    known = fm.resample.bootstrap(X, "mean", method="percentile", rng=1)
    with pytest.raises(ArgumentError, match="no standard errors"):
        known.interval(0.9, "studentised")
    with pytest.raises(ArgumentError, match="order"):
        r.interval(0.9, "order")
    with pytest.raises(ArgumentError, match="no replicates"):
        known.transform(np.log)


def test_tables_and_texts() -> None:
    r = fm.resample.bootstrap(np.stack([X, X**2], 1), "mean", n_resamples=50, rng=1)
    assert "lower_error" in str(r.summary())
    assert r.summary().names == ("mean[0]", "mean[1]")
    assert repr(r).startswith("Bootstrap: mean = ")
    assert r.to_dict()["n_resamples"] == 50
    p = fm.resample.permutation_test(X - 1)
    assert "exact" in repr(p)
    assert str(p.summary())
    assert "0" in str(fm.resample.jackknife(X, "sd").summary())


@pytest.mark.parametrize("wrong", [0, -1, 1.5, np.nan, np.inf, "many", None, [3], 2**41])
def test_wrong_numbers_of_more_replicates(wrong: Any) -> None:
    with pytest.raises(ArgumentError):
        R.extend(wrong)


@pytest.mark.parametrize(
    "more",
    [
        {"prob": 0.0},
        {"prob": 1.0},
        {"prob": np.nan},
        {"prob": "high"},
        {"prob": [0.9, 0.95]},
        {"method": "order"},
        {"method": "BCA"},
        {"method": 3},
        {"method": None},
    ],
)
def test_wrong_intervals(more: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        R.interval(**more)


@pytest.mark.parametrize(
    "g", [3, "exp", lambda v: 1.0, lambda v: v[:3], lambda v: "text", lambda v: v[:, None, None]]
)
def test_wrong_transforms(g: Any) -> None:
    with pytest.raises(ArgumentError):
        R.transform(g)
