"""Intervals of samples: equal tails and the shortest, weighted or not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import fermiac as fm
from fermiac.errors import ArgumentError


def test_equal_tails_are_quantiles() -> None:
    s = fm.Sample.from_arrays(fm.random.Stream(0).normal((500, 2)))
    low, high = s.interval(0.8)
    np.testing.assert_array_equal([low, high], s.quantile([0.1, 0.9]))


def test_the_shortest_interval_of_known_laws() -> None:
    n = 200_000
    x = fm.random.Stream(1).uniform(n)
    s = fm.Sample.from_arrays(np.column_stack([-np.log(x), stats.norm.ppf(x)]))
    low, high = s.interval(0.9, kind="hdi")
    # The width of the shortest interval is flat about its minimum, which its ends feel.
    np.testing.assert_allclose(low, [0.0, -1.645], atol=0.06)
    np.testing.assert_allclose(high, [np.log(10), 1.645], atol=0.06)


def test_it_is_the_shortest_of_all_between_points() -> None:
    x = np.sort(fm.random.Stream(2).normal(50) ** 2)
    w = fm.random.Stream(3).uniform(50)
    w /= w.sum()
    reached = np.cumsum(w)
    best = min(
        (x[j] - x[i], x[i], x[j])
        for i in range(50)
        for j in range(i, 50)
        if reached[j] - reached[i] >= 0.7
    )
    s = fm.Sample.from_arrays(x, np.log(w))
    low, high = s.interval(0.7, kind="hdi")
    np.testing.assert_array_equal([low[0], high[0]], best[1:])


def test_arviz_agrees() -> None:
    arviz = pytest.importorskip("arviz")
    x = fm.random.Stream(4).normal((4, 250))
    hdi = arviz.hdi(x.ravel(), hdi_prob=0.9) if arviz.__version__ < "1" else None
    if hdi is None:
        pytest.skip("this version has other arguments")
    low, high = fm.Sample.from_arrays(x[..., None]).interval(0.9, kind="hdi")
    np.testing.assert_allclose([low[0], high[0]], hdi, rtol=1e-12)


def test_few_points_and_no_weight() -> None:
    s = fm.Sample.from_arrays([3.0, 1.0, 2.0])
    low, high = s.interval(0.99, kind="hdi")
    assert (low[0], high[0]) == (1.0, 3.0)
    s = fm.Sample.from_arrays([3.0, 1.0, 2.0, 1e9], [0.0, 0.0, 0.0, -np.inf])
    assert s.interval(0.6, kind="hdi")[1][0] <= 3.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"prob": 0}, "prob"), ({"prob": np.nan}, "prob"), ({"kind": "lower"}, "kind")],
)
def test_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        fm.Sample.from_arrays([1.0, 2.0]).interval(**arguments)  # type: ignore[arg-type]
