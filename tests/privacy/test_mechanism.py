"""Mechanisms that answer queries: ranges, forms of queries, refusals, texts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from forms import INTEGRANDS, Make, moments, points
from plans import planned

from fermiac.errors import ArgumentError, RangeError, TargetError
from fermiac.privacy import GaussianAnswers, SplitAnswers, Thresholdout


def test_means_may_be_rounded_beyond_an_end() -> None:
    mean = float(np.mean([0.1] * 3))
    assert mean > 0.1
    t = Thresholdout(None, 100, budget=1, value_range=(0.0, 0.1), rng=0)
    assert t.query_means(mean, 0.1).value == 0.1
    with pytest.raises(RangeError, match="holdout_mean"):
        t.query_means(0.1, 0.1001)


def test_blind_tells_nothing() -> None:
    t = Thresholdout(None, 10_000, budget=2, rng=0, blind=True)
    seen = [t.query_means(0.9, 0.1), t.query_means(0.5, 0.5), t.query_means([0.5], [0.5])]
    assert [a.source for a in seen] == [None] * 3
    assert t.remaining is None
    assert [a.source for a in t.history] == [None] * 3
    # The seed would give the noise, and with it the sources.
    assert t.seed is None
    assert "holdout'" not in repr(seen)


def data(n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    return rng.random((n, 2)), rng.random((n, 2))


@pytest.mark.parametrize("make", INTEGRANDS)
def test_queries_in_all_forms(make: Make) -> None:
    both = points(600)
    train, hold = both[:300], both[300:]
    options = {"budget": 50, "value_range": (-500.0, 500.0), "rng": 3}
    wanted = Thresholdout(None, 300, **options).query_means(
        *(np.asarray(moments(part)).mean(axis=0) for part in (train, hold))
    )
    answer = Thresholdout(train, hold, **options).query(make())
    np.testing.assert_allclose(answer.value, wanted.value, rtol=1e-12)
    assert answer.source == wanted.source
    single = Thresholdout(train, hold, **options).query(lambda x: x[:, 0])
    assert isinstance(single.value, float)
    assert single.source == "train"


def test_refusals() -> None:
    train, hold = data()
    t = Thresholdout(train, hold, budget=3, rng=0)
    with pytest.raises(RangeError, match="declared range"):
        t.query(lambda x: 2 + x[:, 0])
    with pytest.raises(RangeError, match="holdout_mean"):
        t.query_means(0.5, 1.5)
    with pytest.raises(TargetError, match="on train that are not finite"):
        t.query(lambda x: np.full(len(x), np.nan))
    with pytest.raises(TargetError):
        t.query(lambda x: x[:5, 0])
    with pytest.raises(TargetError, match="complex"):
        t.query(lambda x: x[:, 0] + 1j)
    with pytest.raises(ArgumentError, match="f: "):
        t.query(3)
    with pytest.raises(ArgumentError, match="shape"):
        t.query_means([0.5], [0.5, 0.6])
    assert t.history == ()
    assert t.remaining == 3
    with pytest.raises(ArgumentError, match="no data"):
        Thresholdout(None, 100, budget=3, rng=0).query(lambda x: x[:, 0])
    for wrong in (
        {"budget": 0},
        {"budget": True},
        {"budget": 2.5},
        {"budget": None},
        {"sigma": 0.0},
        {"threshold": -1.0},
        {"noise": "uniform"},
        {"noise": (1.0, 2.0)},
        {"value_range": (1.0, 0.0)},
        {"on_exhausted": "stop"},
        {"noise_source": 3},
        {"rng": -1},
        {"n_threads": 0},
    ):
        with pytest.raises(ArgumentError, match=next(iter(wrong))):
            Thresholdout(train, hold, **planned(**{"budget": 3, **wrong}))
    with pytest.raises(ArgumentError, match="holdout"):
        Thresholdout(train, hold[:, :1], budget=3)
    with pytest.raises(ArgumentError, match="train"):
        Thresholdout([], hold, budget=3)
    with pytest.raises(ArgumentError, match="tau"):
        t.certificate(1.5)
    with pytest.raises(ArgumentError, match="budget"):
        SplitAnswers(np.zeros(3), budget=5)
    with pytest.raises(ArgumentError, match="rho"):
        GaussianAnswers(100, rho=0.0, budget=3)
    with pytest.raises(ArgumentError, match="noise_source"):
        Thresholdout(None, 10, budget=1, noise_source=lambda kind, scale: math.nan)


def test_texts_say_what_is_left_unless_blind() -> None:
    means = (0.9, 0.5)
    shown, blind = (Thresholdout(None, 10_000, budget=3, blind=b, rng=0) for b in (False, True))
    for t in (shown, blind):
        t.query_means(*means)
    assert repr(shown) == "Thresholdout: 2 of 3 left"
    assert repr(blind) == "Thresholdout: blind"
    free = Thresholdout(None, 100, budget=None, noise="gaussian", rng=0)
    assert repr(free) == "Thresholdout: without a budget"
