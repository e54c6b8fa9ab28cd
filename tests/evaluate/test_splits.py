"""Splits: every example is tested once, strata and groups hold, scikit-learn's splits and use."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError, MemoryLimitError
from fermiac.evaluate import splits


def _is_partition(found: list[tuple[Any, Any]], n: int) -> None:
    assert np.sort(np.concatenate([test for _, test in found])).tolist() == list(range(n))
    for train, test in found:
        assert sorted([*train, *test]) == list(range(n))


@pytest.mark.parametrize(("n", "k"), [(10, 10), (23, 5), (100, 7), (2, 2)])
def test_folds_are_a_partition_of_even_parts(n: int, k: int) -> None:
    for shuffle in (True, False):
        found = splits.k_fold(n, k, shuffle=shuffle, rng=3)
        _is_partition(found, n)
        sizes = [len(test) for _, test in found]
        assert max(sizes) - min(sizes) <= 1
    assert all((np.diff(test) == 1).all() for _, test in splits.k_fold(n, k, shuffle=False))


def test_strata_are_divided_evenly() -> None:
    y = np.repeat(["a", "b", "c"], [31, 12, 4])
    found = splits.k_fold(47, 4, strata=y, rng=0)
    _is_partition(found, 47)
    for label in "abc":
        counts = [(y[test] == label).sum() for _, test in found]
        assert max(counts) - min(counts) <= 1
    for train, test in splits.random(47, 20, test_share=0.25, strata=y, rng=0):
        assert len(test) == 12
        assert sorted([*train, *test]) == list(range(47))
        for label, count in (("a", 31), ("b", 12), ("c", 4)):
            assert abs((y[test] == label).sum() - count * 12 / 47) < 1


def test_groups_stay_together() -> None:
    groups = fm.random.Stream(1).integers(11, 200)
    found = splits.k_fold(200, 4, groups=groups, rng=0)
    _is_partition(found, 200)
    for train, test in found:
        assert not set(groups[train]) & set(groups[test])
    assert min(len(test) for _, test in found) >= 30


def test_random_splits_have_each_example_equally_often() -> None:
    found = splits.random(20, 2000, test_share=0.25, strata=np.arange(20) % 2, rng=0)
    often = np.bincount(np.concatenate([test for _, test in found]), minlength=20)
    assert np.abs(often - 500).max() < 5 * np.sqrt(500 * 0.75)


def test_time_series_are_those_of_scikit_learn() -> None:
    selection = pytest.importorskip("sklearn.model_selection")
    for n, k, gap, size, most in ((20, 3, 0, None, None), (37, 5, 2, 4, None), (37, 4, 1, None, 6)):
        theirs = selection.TimeSeriesSplit(k, gap=gap, test_size=size, max_train_size=most)
        ours = splits.time_series(n, k, gap=gap, n_test=size, most_train=most)
        for (a, b), (c, d) in zip(ours, theirs.split(np.zeros(n)), strict=True):
            assert a.tolist() == c.tolist()
            assert b.tolist() == d.tolist()


def test_out_of_bag() -> None:
    found = splits.out_of_bag(50, 300, rng=0)
    for train, test in found:
        assert len(train) == 50
        assert set(train) | set(test) == set(range(50))
        assert not set(train) & set(test)
    share = np.mean([len(test) / 50 for _, test in found])
    assert share == pytest.approx((1 - 1 / 50) ** 50, abs=0.01)
    assert all(len(test) for _, test in splits.out_of_bag(2, 100, rng=0))


def test_nested_splits() -> None:
    y = np.arange(60) % 3
    for train, test, inner in splits.nested(60, 3, 4, strata=y, rng=1):
        assert (np.bincount(y[test]) == 20 // 3).any()
        _is_partition(inner, len(train))


def test_repeats_and_seeds() -> None:
    first = splits.five_by_two(30, rng=5)
    assert len(first) == 10
    for r in range(5):
        (a, b), (c, d) = first[2 * r : 2 * r + 2]
        assert a.tolist() == np.sort(d).tolist()
        assert sorted(b) == c.tolist()
    again = splits.five_by_two(30, rng=5)
    assert all((a == c).all() for (a, _), (c, _) in zip(first, again, strict=True))
    assert (first[0][0] != first[2][0]).any()


def test_pinned_values() -> None:
    assert splits.k_fold(6, 2, rng=7)[0][1].tolist() == [0, 2, 5]
    assert splits.random(8, 1, test_share=0.4, rng=7)[0][1].tolist() == [1, 2, 5]
    assert splits.out_of_bag(6, 1, rng=7)[0][0].tolist() == [4, 4, 5, 1, 2, 3]


def test_scikit_learn_takes_them() -> None:
    selection = pytest.importorskip("sklearn.model_selection")
    from sklearn.dummy import DummyClassifier

    y = np.arange(40) % 2
    cv = splits.k_fold(40, 5, strata=y, rng=0)
    scores = selection.cross_val_score(DummyClassifier(), np.zeros((40, 1)), y, cv=cv)
    assert scores.tolist() == [0.5] * 5


@pytest.mark.parametrize(
    ("call", "arguments", "more"),
    [
        (splits.k_fold, (1,), {}),
        (splits.k_fold, (10, 11), {}),
        (splits.k_fold, (10, 1), {}),
        (splits.k_fold, (10.5, 2), {}),
        (splits.k_fold, (10, 2), {"strata": [1, 2]}),
        (splits.k_fold, (4, 2), {"strata": [1, 2, 1, 2], "groups": [1, 1, 2, 2]}),
        (splits.k_fold, (4, 3), {"groups": [1, 1, 2, 2]}),
        (splits.k_fold, (4, 2), {"shuffle": False, "repeats": 2}),
        (splits.k_fold, (4, 2), {"shuffle": 1}),
        (splits.k_fold, (4, 2), {"rng": -1}),
        (splits.random, (10, 2), {"test_share": 1.0}),
        (splits.time_series, (5, 5), {}),
        (splits.time_series, (10, 3), {"gap": 4}),
        (splits.out_of_bag, (10, 0), {}),
        (splits.nested, (10, 2, 9), {}),
    ],
)
def test_wrong_arguments(call: Any, arguments: Any, more: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        call(*arguments, **more)


def test_sizes_beyond_memory() -> None:
    for call in (splits.k_fold, splits.out_of_bag, splits.random, splits.time_series):
        with pytest.raises(MemoryLimitError):
            call(2**31 - 1, 100)
