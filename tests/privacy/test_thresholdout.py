"""Thresholdout: its steps, its noise, its budget and the experiment of its paper."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import BudgetExhausted
from fermiac.privacy import LaplaceAnswers, Thresholdout


class Script:
    """A source of noise that plays a list and writes down what was asked for."""

    def __init__(self, *draws: float) -> None:
        self.draws = list(draws)
        self.asked: list[tuple[str, float]] = []

    def __call__(self, kind: str, scale: float) -> float:
        self.asked.append((kind, scale))
        return self.draws.pop(0)


def test_thresholdout_step_by_step() -> None:
    source = Script(0.01, 0.0, 0.02, 0.03, -0.005, 0.0, 0.5, 9.0, 0.0)
    t = Thresholdout(None, 400, budget=2, threshold=0.1, sigma=0.02, noise_source=source)
    assert t.query_means(0.5, 0.6).source == "train"  # 0.1 against 0.1 + 0.01 + 0.0
    answer = t.query_means(0.3, 0.5)  # 0.2 against 0.1 + 0.01 + 0.02
    assert answer.source == "holdout"
    assert answer.value == 0.53
    assert t.remaining == 1
    answer = t.query_means([0.5, 0.9], [0.58, 0.2])  # 0.08, 0.7 against 0.095, 0.595
    assert answer.source == ("train", "holdout")
    assert answer.value.tolist() == [0.5, 9.2]
    assert t.remaining == 0
    kinds = ["threshold", "test", "test", "answer", "threshold", "test", "test", "answer"]
    assert [kind for kind, _ in source.asked] == [*kinds, "threshold"]


def test_a_users_stop_iteration_passes() -> None:
    def ends(data: object) -> float:
        raise StopIteration

    data = np.zeros((50, 1))
    with pytest.raises(StopIteration):
        Thresholdout(data, data, budget=2, rng=0).query(ends)


def test_scales_are_those_of_the_paper() -> None:
    source = Script(*[0.0] * 5)
    t = Thresholdout(None, 10_000, budget=1, noise_source=source)
    assert t.threshold == 0.04
    assert t.sigma == 0.0025
    t.query_means(0.0, 1.0)
    assert source.asked == [
        ("threshold", 0.005),
        ("test", 0.01),
        ("answer", 0.0025),
        ("threshold", 0.005),
    ]
    source = Script(*[0.0] * 5)
    Thresholdout(
        None, 100, budget=1, sigma=1.0, noise=(3.0, 8.0, 2.0), noise_source=source
    ).query_means(0.0, 1.0)
    assert [scale for _, scale in source.asked] == [3.0, 8.0, 2.0, 3.0]
    source = Script(*[0.0] * 4)
    gaussian = Thresholdout(None, 10_000, budget=None, noise="gaussian", noise_source=source)
    for _ in range(2):
        assert gaussian.query_means(0.0, 1.0).value == 1.0
    assert source.asked == [("test", 0.01), ("answer", 0.01)] * 2
    assert gaussian.remaining is None
    assert gaussian.certificate(0.2) is None
    assert gaussian.epsilon() == math.inf


def test_range_rescales_everything() -> None:
    draws = (0.01, 0.02, 0.03, 0.0)
    plain = Thresholdout(None, 100, budget=3, noise_source=Script(*draws))
    wide = Thresholdout(None, 100, budget=3, noise_source=Script(*draws), value_range=(-10, 30))
    a = plain.query_means(0.1, 0.9)
    b = wide.query_means(-6.0, 26.0)
    assert a.source == b.source == "holdout"
    assert b.value == pytest.approx(40 * a.value - 10)


def test_budget() -> None:
    t = Thresholdout(None, 10_000, budget=2, rng=0)
    answer = t.query_means([0.9] * 3 + [0.5], [0.1] * 3 + [0.5])
    assert answer.source == ("holdout", "holdout", "exhausted", "exhausted")
    assert np.isnan(answer.value[2:]).all()
    assert t.remaining == 0
    strict = LaplaceAnswers(100, epsilon=1.0, budget=1, on_exhausted="raise", rng=0)
    strict.query_means(0.5)
    with pytest.raises(BudgetExhausted, match="fresh data"):
        strict.query_means(0.5)
    assert len(strict.history) == 1
    many = LaplaceAnswers(100, epsilon=1.0, budget=2, on_exhausted="raise", rng=0)
    with pytest.raises(BudgetExhausted) as caught:
        many.query_means([0.5, 0.6, 0.7])
    part = caught.value.partial_result
    assert isinstance(part, fm.privacy.Answer)
    assert isinstance(part.value, np.ndarray)
    assert part.value.tolist() == [a.value for a in many.history]
    assert part.source == ("data", "data")
    with pytest.raises(BudgetExhausted) as caught:
        many.query_means([0.5])
    assert caught.value.partial_result is None


def test_freedman() -> None:
    # Labels without any relation to the features; the variables that look best are voted over.
    runs, n, k = 20, 1000, 100
    rng = np.random.default_rng(6)
    reported = {"standard": [], "laplace": [], "gaussian": []}
    for run in range(runs):
        train, hold = (rng.random((n, n)) < 0.5 for _ in range(2))
        t, h = train.mean(axis=0), hold.mean(axis=0)
        for kind, out in reported.items():
            budget = None if kind == "gaussian" else n + 1
            mechanism = None
            if kind != "standard":
                mechanism = Thresholdout(None, n, budget=budget, noise=kind, rng=run)
            clipped = h if mechanism is None else mechanism.query_means(t, h).value
            margin = 0.5 / math.sqrt(n)
            agree = (t - 0.5) * (clipped - 0.5) > 0
            agree &= np.minimum(np.abs(t - 0.5), np.abs(clipped - 0.5)) > margin
            chosen = np.argsort(np.where(agree, -np.abs(t - 0.5), 0))[: min(k, agree.sum())]
            signs = np.sign(t[chosen] - 0.5)
            votes = ((2.0 * part[:, chosen] - 1) @ signs for part in (train, hold))
            means = [float((0.5 * (1 + np.sign(vote))).mean()) for vote in votes]
            out.append(means[1] if mechanism is None else float(mechanism.query_means(*means)))
    error = 0.5 / math.sqrt(n * runs)
    standard, laplace, gaussian = (np.mean(v) - 0.5 for v in reported.values())
    assert standard > 20 * error
    # A holdout answer has noise of its own: variance 2 sigma² = 1 / (8 n), and 1 / n.
    assert -5 * error * math.sqrt(1.5) < laplace < standard / 3
    assert -5 * error * math.sqrt(5) < gaussian < standard / 3


def test_state_resumes_with_the_same_bits() -> None:
    rng = np.random.default_rng(8)
    t, h = rng.random(200), rng.random(200)
    for noise in ("laplace", "gaussian"):
        whole = Thresholdout(None, 500, budget=150, noise=noise, rng=9)
        first = whole.query_means(t, h)
        half = Thresholdout(None, 500, budget=150, noise=noise, rng=9)
        half.query_means(t[:77], h[:77])
        for again in (pickle.loads(pickle.dumps(half)), copy.deepcopy(half)):
            rest = again.query_means(t[77:], h[77:])
            np.testing.assert_array_equal(rest.value, first.value[77:])
            assert rest.source == first.source[77:]
            assert again.remaining == whole.remaining
    assert whole.seed == 9
    other = Thresholdout(None, 500, budget=150, noise="gaussian", rng=10).query_means(t, h)
    assert (other.value != first.value).any()
