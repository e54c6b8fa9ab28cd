"""Audits in one run: published values, exact sums of binomial laws, validity by simulation."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from scipy.stats import binom, norm

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.privacy import (
    OneRunAudit,
    audit_one_run,
    audit_one_run_scores,
    gdp_mu,
    guesses_from_scores,
)

#: (canaries, guesses, right ones, delta), epsilon_lower at alpha 0.05, from 50-digit sums.
BOUNDS = [
    ((1000, 1000, 600, 0.0), 0.29746792364935),
    ((1000, 100, 100, 0.0), 3.4929654311523),
    ((1000, 100, 95, 1e-5), 2.1651757997141),
    ((1000, 600, 600, 1e-5), 5.2703994635147),
    ((10000, 200, 190, 1e-5), 2.3525643885601),
    ((1000, 100, 100, 1e-3), 0.80901391895046),
    ((1000, 1000, 500, 1e-5), 0.0),
]


@pytest.mark.parametrize(("arguments", "bound"), BOUNDS)
def test_published_bounds(arguments, bound) -> None:
    m, r, v, delta = arguments
    assert audit_one_run(m, r, v, delta=delta).epsilon_lower == pytest.approx(bound, rel=5e-13)


def test_closed_form() -> None:
    for r, alpha in ((1, 0.2), (7, 0.001), (100, 0.05), (10**7, 0.05)):
        odds = mpmath.expm1(-mpmath.log(alpha) / r)
        bound = max(0.0, -float(mpmath.log(odds)))
        found = audit_one_run(10**7, r, r, alpha=alpha).epsilon_lower
        assert found == pytest.approx(bound, rel=1e-12)


def exact_p_value(m: int, r: int, v: int, epsilon: float, delta: float) -> float:
    """The theorem as it stands, in fractions, with the rounded q of 50 digits."""
    with mpmath.workdps(60):
        scale = 10**50
        q = Fraction(int(mpmath.nint(scale / (1 + mpmath.exp(-mpmath.mpf(epsilon))))), scale)
    mass = [math.comb(r, k) * q**k * (1 - q) ** (r - k) for k in range(r + 1)]
    above = sum(mass[v:], Fraction(0))
    total, widest = Fraction(0), Fraction(0)
    for i in range(1, v + 1):
        total += mass[v - i]
        widest = max(widest, total / i)
    return min(1.0, float(above + 2 * m * Fraction(delta) * widest))


def test_small_cases_against_fractions() -> None:
    rng = np.random.default_rng(1)
    for _ in range(60):
        m = int(rng.integers(1, 60))
        r = int(rng.integers(1, m + 1))
        v = int(rng.integers(0, r + 1))
        epsilon, delta = float(rng.choice([0.0, 0.3, 2.0, 9.0])), float(rng.choice([0, 1e-6, 1e-2]))
        audit = audit_one_run(m, r, v, delta=delta)
        assert audit.p_value(epsilon) == pytest.approx(
            exact_p_value(m, r, v, epsilon, delta), rel=2e-12
        )
        if audit.epsilon_lower > 0:
            assert exact_p_value(m, r, v, audit.epsilon_lower, delta) == pytest.approx(
                0.05, rel=1e-10
            )
        else:
            assert exact_p_value(m, r, v, 0.0, delta) >= 0.05


def test_many_guesses_against_a_full_pass() -> None:
    # All terms in logarithms, by NumPy: slower, and without the early end.
    m, r, v, epsilon, delta = 10**7, 10**6, 900_000, 2.1, 1e-9
    with mpmath.workdps(40):
        start = (
            mpmath.loggamma(r + 1)
            - mpmath.loggamma(v)
            - mpmath.loggamma(r - v + 2)
            - (v - 1) * mpmath.log1p(mpmath.exp(-epsilon))
            - (r - v + 1) * mpmath.log1p(mpmath.exp(epsilon))
        )
        start = float(mpmath.exp(start))
    k = np.arange(v - 1, 0, -1.0)
    mass = start * np.concatenate([[1.0], np.cumprod(k * math.exp(-epsilon) / (r - k + 1))])
    widest = (np.cumsum(mass) / np.arange(1, v + 1)).max()
    audit = audit_one_run(m, r, v, delta=delta)
    plain = audit_one_run(m, r, v)
    slack = audit.p_value(epsilon) - plain.p_value(epsilon)
    assert slack == pytest.approx(2 * m * delta * widest, rel=1e-8)


def test_the_term_of_delta_counts() -> None:
    without = audit_one_run(1000, 100, 95)
    small, large = (audit_one_run(1000, 100, 95, delta=d) for d in (1e-5, 1e-3))
    assert without.epsilon_lower > small.epsilon_lower > large.epsilon_lower > 0
    # It is of the canaries, not of the guesses.
    more = audit_one_run(100_000, 100, 95, delta=1e-5)
    assert more.epsilon_lower == pytest.approx(large.epsilon_lower, rel=1e-12)
    p = small.p_value(1.0) - without.p_value(1.0)
    assert p == pytest.approx(exact_p_value(1000, 100, 95, 1.0, 1e-5) - without.p_value(1.0))


def test_p_values_are_monotone() -> None:
    epsilon = np.linspace(0, 6, 400)
    for delta in (0.0, 1e-5, 1e-4):
        p = audit_one_run(1000, 100, 95, delta=delta).p_value(epsilon)
        below = p < 0.5
        assert (np.diff(p[below]) >= -1e-15).all()
    assert audit_one_run(10, 0, 0).p_value(0.0) == 1
    assert audit_one_run(10, 5, 5).p_value(math.inf) == 1


# The recursion for trade-off curves.
CURVE = [((1000, 100, 95), 3.32330), ((1000, 1000, 600), 0.58354), ((2000, 300, 270), 2.85899)]


@pytest.mark.parametrize(("counts", "bound"), CURVE)
def test_published_curve_bounds(counts, bound) -> None:
    audit = audit_one_run(*counts, delta=1e-5, method="f-dp")
    assert audit.epsilon_lower == pytest.approx(bound, abs=1e-5)
    assert gdp_mu(audit.epsilon_lower, delta=1e-5) == pytest.approx(audit.mu_lower, rel=1e-12)
    assert audit.p_value(audit.epsilon_lower) == pytest.approx(0.05, rel=1e-9)


def excess(m: int, r: int, v: int, mu: float, alpha: float) -> float:
    """The recursion as published."""
    hit, miss = alpha * v / m, alpha * (r - v) / m
    for i in range(v - 1, -1, -1):
        new = max(miss, norm.cdf(norm.ppf(hit) - mu))
        hit = min(1.0, hit + i / (r - i) * (new - miss))
        miss = new
    return hit + miss - r / m


def test_curve_bounds_against_the_plain_recursion() -> None:
    for m, r, v, alpha in ((50, 30, 25, 0.05), (200, 10, 10, 0.2), (40, 40, 30, 0.01)):
        mu = audit_one_run(m, r, v, delta=1e-3, alpha=alpha, method="f-dp").mu_lower
        assert mu > 0
        assert excess(m, r, v, mu * (1 - 1e-9), alpha) > 0 > excess(m, r, v, mu * (1 + 1e-9), alpha)
    none = audit_one_run(40, 40, 20, delta=1e-3, method="f-dp")
    assert none.epsilon_lower == none.mu_lower == 0
    assert audit_one_run(40, 4, 0, delta=1e-3, method="f-dp").p_value(1.0) == 1


def test_valid_under_randomized_response() -> None:
    # Every canary leaks by randomized response, the worst case at delta = 0: V is binomial.
    rng = np.random.default_rng(2)
    m, epsilon, trials = 300, 1.0, 20_000
    right = rng.binomial(m, 1 / (1 + math.exp(-epsilon)), trials)
    bounds = audit_one_run(m, m, right, alpha=0.1).epsilon_lower
    failures = (bounds > epsilon).mean()
    assert failures < 0.1 + 5 * math.sqrt(0.09 / trials)
    assert failures > 0.06  # near its level: the law is discrete
    with_delta = audit_one_run(m, m, right, alpha=0.1, delta=1e-6).epsilon_lower
    assert (with_delta <= bounds).all()


def test_curve_valid_for_gaussian_canaries() -> None:
    # Each canary leaks by N(±mu/2, 1): mu-GDP, guessed by the sign, or by the clearest scores.
    rng = np.random.default_rng(3)
    m, mu, delta, trials = 200, 1.0, 1e-5, 1500
    epsilon = fm.privacy.gdp_epsilon(delta, mu=mu)
    sides = rng.choice([-1.0, 1.0], (trials, m))
    scores = rng.normal(sides * mu / 2)
    order = np.argsort(-np.abs(scores), axis=1)
    right = np.take_along_axis(np.sign(scores) == sides, order, axis=1).cumsum(axis=1)
    for r in (20, 200):
        audit = audit_one_run(m, r, right[:, r - 1], delta=delta, alpha=0.1, method="f-dp")
        assert (audit.mu_lower > mu).mean() < 0.1 + 5 * math.sqrt(0.09 / trials)
        assert (audit.epsilon_lower > epsilon).mean() < 0.1 + 5 * math.sqrt(0.09 / trials)
        assert audit.mu_lower.max() > 0.5


def test_guesses() -> None:
    scores, inside = [5.0, -math.inf, 3.0, 3.0, 9.0], [True, False, True, False, False]
    assert guesses_from_scores(scores, inside, 2) == (2, 1)
    assert guesses_from_scores(scores, inside, 0, 1) == (1, 1)
    assert guesses_from_scores(scores, inside, 0, 0) == (0, 0)
    # Of equal scores the wrong one is guessed.
    assert guesses_from_scores(scores, inside, 3) == (3, 1)
    guesses, right = guesses_from_scores(scores, inside, [[1], [5]], [0])
    assert guesses.tolist() == [[1], [5]]
    assert right.tolist() == [[0], [2]]


def test_ties_and_the_order_of_scores_gain_nothing() -> None:
    inside = np.arange(200) < 100
    guesses, right = guesses_from_scores(np.zeros(200), inside, [50, 150], 50)
    assert (guesses.tolist(), right.tolist()) == ([100, 200], [0, 50])
    assert audit_one_run_scores(np.zeros(200), inside, 30, 30).epsilon_lower == 0.0
    rng = np.random.default_rng(8)
    scores, inside = rng.integers(0, 5, 60).astype(float), rng.random(60) < 0.5
    grid = np.arange(31)
    found = guesses_from_scores(scores, inside, grid[:, None], grid)
    for _ in range(5):
        order = rng.permutation(60)
        again = guesses_from_scores(scores[order], inside[order], grid[:, None], grid)
        assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))


def test_a_grid_pays_for_itself() -> None:
    rng = np.random.default_rng(4)
    inside = rng.random(2000) < 0.5
    scores = rng.normal(3.0 * inside)
    found = audit_one_run_scores(scores, inside, [50, 200, 400], [[50], [300]], delta=1e-6)
    assert found.settings["n_tests"] == 6
    assert found.alpha == 0.05 / 6
    every = [
        audit_one_run(2000, *guesses_from_scores(scores, inside, k, j), delta=1e-6, alpha=0.05 / 6)
        for k in (50, 200, 400)
        for j in (50, 300)
    ]
    assert found.epsilon_lower == max(audit.epsilon_lower for audit in every) > 0
    # Under no leak at all the best of the grid is above 0 for alpha of the runs at most.
    hits = 0
    for _ in range(400):
        inside = rng.random(100) < 0.5
        hits += audit_one_run_scores(rng.normal(size=100), inside, [5, 20, 50]).epsilon_lower > 0
    assert hits / 400 < 0.05 + 5 * math.sqrt(0.05 * 0.95 / 400)


def test_shapes_and_threads(thread_counts: tuple[int, ...]) -> None:
    right, delta = np.arange(60, 101), np.array([[1e-6], [1e-4]])
    for method in ("binomial", "f-dp"):
        first = audit_one_run(
            1000, 100, right, delta=delta, method=method, plan=fm.Plan(n_threads=1)
        )
        assert first.epsilon_lower.shape == (2, 41)
        for n in thread_counts:
            again = audit_one_run(
                1000, 100, right, delta=delta, method=method, plan=fm.Plan(n_threads=n)
            )
            assert (again.epsilon_lower == first.epsilon_lower).all()
        one = audit_one_run(1000, 100, int(right[9]), delta=1e-4, method=method)
        assert one.epsilon_lower == first.epsilon_lower[1, 9]
        assert first.p_value(0.5).shape == (2, 41)
    assert audit_one_run(10, 5, []).epsilon_lower.shape == (0,)


def test_results(tmp_path) -> None:
    audit = audit_one_run(1000, 100, [90, 95], delta=1e-5)
    audit.save(tmp_path / "audit")
    again = OneRunAudit.load(tmp_path / "audit")
    assert (again.p_value(1.0) == audit.p_value(1.0)).all()
    assert (pickle.loads(pickle.dumps(audit)).epsilon_lower == audit.epsilon_lower).all()
    assert repr(audit).startswith("OneRunAudit: 2 lower bounds")
    one = audit_one_run(1000, 100, 95, delta=1e-5)
    assert isinstance(one.epsilon_lower, float)
    assert isinstance(one.n_correct, int)
    assert math.isnan(one.mu_lower)
    assert str(one.summary()) == repr(one)
    assert one.to_dict()["n_guesses"] == 100


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        ((10, 11, 5), {}, "n_guesses: 11 was given, more than n_canaries = 10"),
        ((10, 5, 6), {}, "n_correct: 6 was given, more than n_guesses = 5"),
        ((10, [5, 8], [5, 9]), {}, "n_correct: 9"),
        ((10, 5, -1), {}, "whole numbers"),
        ((10, 5, 2.5), {}, "whole numbers"),
        ((0, 0, 0), {}, "at least one canary"),
        ((10, 5, True), {}, "booleans"),
        ((10, 5, "3"), {}, "number"),
        ((10, 5, math.nan), {}, "NaN"),
        ((10, 5, 3), {"delta": 1.0}, "delta: 1"),
        ((10, 5, 3), {"alpha": 0.0}, "alpha: 0"),
        ((10, 5, 3), {"method": "exact"}, "method"),
        ((10, 5, 3), {"method": "f-dp"}, "delta > 0"),
        ((2**53, 2**52, 5), {}, "n_guesses: 4.5036e"),
        ((10**9, 10**9, 5 * 10**8), {"method": "f-dp", "delta": 1e-5}, "1e\\+07 at most"),
        ((10, [5, 6], [1, 2, 3]), {}, "broadcast"),
    ],
)
def test_refusals(arguments, options, text) -> None:
    with pytest.raises(ArgumentError, match=text):
        audit_one_run(*arguments, **options)


def test_refusals_of_scores() -> None:
    with pytest.raises(ArgumentError, match="NaN"):
        guesses_from_scores([1.0, math.nan], [True, False], 1)
    with pytest.raises(ArgumentError, match="included"):
        guesses_from_scores([1.0, 2.0], [1, 0], 1)
    with pytest.raises(ArgumentError, match="included"):
        guesses_from_scores([1.0, 2.0], [True], 1)
    deep: list = [1.0]
    for _ in range(100):
        deep = [deep]
    with pytest.raises(ArgumentError, match="included"):
        guesses_from_scores([1.0, 2.0], deep, 1)
    with pytest.raises(ArgumentError, match="only 2 canaries"):
        guesses_from_scores([1.0, 2.0], [True, False], 2, 1)
    with pytest.raises(ArgumentError, match="scores"):
        guesses_from_scores([], [], 0)
    with pytest.raises(ArgumentError, match="claim"):
        audit_one_run(10, 5, 4).p_value(-1.0)
    with pytest.raises(ArgumentError, match="alpha"):
        audit_one_run_scores([1.0, 2.0], [True, False], 1, alpha=[0.1])


def test_claims_by_curves_agree_with_those_by_numbers() -> None:
    audit = fm.privacy.audit_one_run([1000, 500], [100, 60], [85, 40], delta=1e-5, method="f-dp")
    for epsilon in (1.0, 2.5):
        mu = fm.privacy.gdp_mu(epsilon, delta=1e-5)
        found = audit.p_value(fm.privacy.TradeOff.from_gdp(mu))
        np.testing.assert_allclose(found, audit.p_value(epsilon), rtol=2e-3)
    # A claim of an attack that is always right is never rejected, and that of none soon.
    assert (audit.p_value(fm.privacy.TradeOff([0.0], [0.0])) == 1).all()
    coin = audit.p_value(fm.privacy.TradeOff.from_epsilon(0.0))
    exact = binom.sf(np.array([84, 39]), [100, 60], 0.5)
    assert (coin >= exact * (1 - 1e-9)).all()
    assert (coin < 10 * exact).all()
