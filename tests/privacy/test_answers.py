"""Adaptive answers: replays of the algorithms, guarantees, the four forms of queries, resuming."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
from forms import INTEGRANDS, Make, moments, points

import fermiac as fm
from fermiac.errors import ArgumentError, BudgetExhausted, RangeError, TargetError
from fermiac.privacy import GaussianAnswers, LaplaceAnswers, SplitAnswers, Thresholdout


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


def test_means_may_be_rounded_beyond_an_end() -> None:
    mean = float(np.mean([0.1] * 3))
    assert mean > 0.1
    t = Thresholdout(None, 100, budget=1, value_range=(0.0, 0.1), rng=0)
    assert t.query_means(mean, 0.1).value == 0.1
    with pytest.raises(RangeError, match="holdout_mean"):
        t.query_means(0.1, 0.1001)


def test_range_rescales_everything() -> None:
    draws = (0.01, 0.02, 0.03, 0.0)
    plain = Thresholdout(None, 100, budget=3, noise_source=Script(*draws))
    wide = Thresholdout(None, 100, budget=3, noise_source=Script(*draws), value_range=(-10, 30))
    a = plain.query_means(0.1, 0.9)
    b = wide.query_means(-6.0, 26.0)
    assert a.source == b.source == "holdout"
    assert b.value == pytest.approx(40 * a.value - 10)


def test_law_of_the_noise() -> None:
    n = 20_000
    answers = LaplaceAnswers(1000, epsilon=0.1, budget=n, rng=5).query_means(np.full(n, 0.5))
    z = (answers.value - 0.5) / 0.01
    assert abs(z.mean()) < 5 * math.sqrt(2 / n)
    assert abs(np.abs(z).mean() - 1) < 5 / math.sqrt(n)
    assert abs((np.abs(z) > math.log(4)).mean() - 0.25) < 5 * math.sqrt(0.1875 / n)
    answers = GaussianAnswers(1000, rho=0.5, budget=n, rng=5).query_means(np.full(n, 0.5))
    z = (answers.value - 0.5) / 0.001
    assert abs(z.mean()) < 5 / math.sqrt(n)
    assert abs((z**2).mean() - 1) < 5 * math.sqrt(2 / n)


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


def test_blind_tells_nothing() -> None:
    t = Thresholdout(None, 10_000, budget=2, rng=0, blind=True)
    seen = [t.query_means(0.9, 0.1), t.query_means(0.5, 0.5), t.query_means([0.5], [0.5])]
    assert [a.source for a in seen] == [None] * 3
    assert t.remaining is None
    assert [a.source for a in t.history] == [None] * 3
    # The seed would give the noise, and with it the sources.
    assert t.seed is None
    assert "holdout'" not in repr(seen)


def test_privacy_and_composition() -> None:
    t = Thresholdout(None, 10_000, budget=5, sigma=0.01, rng=0)
    assert t.epsilon() == pytest.approx(2 * 5 / (0.01 * 10_000))
    each, delta = 0.001, 1e-6
    many = LaplaceAnswers(1000, epsilon=each, budget=10_000, rng=0)
    assert many.epsilon() == pytest.approx(10)
    expected = each * math.sqrt(2e4 * math.log(1e6)) + 1e4 * each * math.expm1(each)
    assert many.epsilon(delta) == pytest.approx(expected)
    few = LaplaceAnswers(1000, epsilon=5.0, budget=2, rng=0)
    assert few.epsilon(delta) == few.epsilon() == 10
    normal = GaussianAnswers(1000, rho=0.5, budget=4, rng=0)
    assert normal.epsilon(1e-5) == fm.privacy.gdp_epsilon(1e-5, 2.0)


def test_certificates() -> None:
    t = Thresholdout(None, 10**6, budget=3, sigma=0.001, rng=0)
    epsilon, n, tau, beta = 0.006, 10**6, 0.02, 1e-9
    information = epsilon**2 * n / 2 + epsilon * math.sqrt(n * math.log(2 / beta) / 2)
    expected = 2 * math.exp(information - 2 * n * tau**2) + beta
    assert t.certificate(tau, beta) == pytest.approx(expected)
    assert t.certificate(0.001, beta) is None
    normal = GaussianAnswers(100_000, rho=1e-6, budget=20, rng=0)
    p, q = normal.certificate(0.03), 2 * math.exp(-2e5 * 0.0009)
    divergence = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    assert divergence == pytest.approx(100_000 * 20e-6, rel=1e-9)
    assert normal.certificate(0.001) is None
    split = SplitAnswers(np.zeros(1000), budget=10)
    assert split.certificate(0.2) == pytest.approx(20 * math.exp(-8))
    assert split.certificate(0.01) is None


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


def test_split_uses_fresh_rows() -> None:
    rows = np.arange(12.0).reshape(6, 2) / 12
    split = SplitAnswers(rows, budget=3)
    answers = [split.query(lambda x: x) for _ in range(4)]
    np.testing.assert_allclose(answers[1].value, rows[2:4].mean(axis=0))
    assert answers[3].source == ("exhausted", "exhausted")
    assert split.remaining == 0


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
            Thresholdout(train, hold, **{"budget": 3, **wrong})
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
