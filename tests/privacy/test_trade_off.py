"""Trade-off curves: closed forms, conversions, hulls, posterior probabilities, refusals."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy import stats

from fermiac.errors import ArgumentError
from fermiac.privacy import TradeOff, gdp_delta, gdp_epsilon, violation_probability


@pytest.mark.parametrize(("epsilon", "delta"), [(0.0, 0.0), (1.0, 0.0), (2.0, 0.01), (0.3, 0.4)])
def test_the_curve_of_epsilon_and_delta_is_that_of_its_formula(
    epsilon: float, delta: float
) -> None:
    f = TradeOff.from_epsilon(epsilon, delta=delta)
    x = np.linspace(0, 1, 1001)
    lines = 1 - delta - np.exp(epsilon) * x, np.exp(-epsilon) * (1 - delta - x)
    np.testing.assert_allclose(f(x), np.maximum(np.maximum(*lines), 0), atol=1e-12)
    assert f.delta(epsilon) == pytest.approx(delta, abs=1e-14)
    assert f.epsilon(delta) == pytest.approx(epsilon, abs=1e-12)
    np.testing.assert_allclose(f.symmetric()(x), f(x), atol=1e-12)


@pytest.mark.parametrize("mu", [0.0, 0.1, 1.0, 5.0, 40.0])
def test_the_gaussian_curve_is_near_its_formula_and_never_above(mu: float) -> None:
    f = TradeOff.from_gdp(mu)
    x = np.linspace(0.001, 0.999, 997)
    exact = stats.norm.cdf(stats.norm.ppf(1 - x) - mu)
    assert (f(x) <= exact + 1e-14).all()
    np.testing.assert_allclose(f(x), exact, atol=3e-7)
    epsilons = np.linspace(0, 3 * mu, 7)
    deltas = gdp_delta(epsilons, mu=mu)
    assert (f.delta(epsilons) >= deltas - 1e-15).all()
    np.testing.assert_allclose(f.delta(epsilons), deltas, rtol=1e-4, atol=1e-15)
    # Rates below 1e-308 end the curves of large mu.
    expected = gdp_epsilon(1e-5, mu=mu) if mu < 10 else np.inf
    assert f.epsilon(1e-5) == pytest.approx(expected, rel=1e-5)


def test_a_profile_gives_its_pairs_back() -> None:
    epsilons = np.array([0.0, 0.5, 1.0, 3.0])
    deltas = gdp_delta(epsilons, mu=1.0)
    f = TradeOff.from_deltas(epsilons, deltas)
    np.testing.assert_allclose(f.delta(epsilons), deltas, rtol=1e-12)
    # A pair that others imply changes nothing.
    again = TradeOff.from_deltas(np.append(epsilons, 2.0), np.append(deltas, deltas[2]))
    np.testing.assert_allclose(again(f.fpr), f.fnr, atol=1e-15)


def test_points_are_completed_and_made_convex() -> None:
    f = TradeOff([0.1, 0.2, 0.5], [0.5, 0.45, 0.1])
    np.testing.assert_array_equal(f.fpr, [0, 0.1, 0.5, 1])
    np.testing.assert_array_equal(f.fnr, [1, 0.5, 0.1, 0])
    one_sided = TradeOff([0.0, 0.5], [0.8, 0.1])
    both = one_sided.symmetric()
    x = np.linspace(0.01, 0.79, 40)
    np.testing.assert_allclose(both(both(x)), x, atol=1e-12)
    assert (both(one_sided.fpr) <= one_sided.fnr).all()
    # Nothing needs more errors than a coin.
    np.testing.assert_array_equal(TradeOff([0.5], [0.9]).fnr, [1, 0])
    assert pickle.loads(pickle.dumps(f)) == f


def test_violations_have_the_share_of_posterior_draws() -> None:
    claim = TradeOff.from_epsilon(1.0, delta=0.01)
    tp, fp, fn, tn = 340.0, 130.0, 150.0, 360.0
    stream = np.random.default_rng(0)
    fnr = stream.beta(fn + 0.5, tp + 0.5, 10**6)
    fpr = stream.beta(fp + 0.5, tn + 0.5, 10**6)
    share = (fnr < claim(fpr)).mean()
    found = violation_probability(tp, fp, fn, tn, claim=claim)
    assert abs(found - share) < 5 * np.sqrt(share * (1 - share) / 10**6)
    table = violation_probability(table=[[tn, fp], [fn, tp]], layout="sklearn", claim=claim)
    assert table == found
    many = violation_probability([tp, 0.0], fp, [fn, 500.0], tn, claim=claim)
    assert many[0] == found
    assert many[1] < 1e-12


def test_refusals() -> None:
    for arguments, words in (
        (([0.2, 0.1], [0.1, 0.2]), "increasing rates"),
        (([0.1], [1.2]), r"\[0, 1\]"),
        (([0.1, 0.2], [0.1]), "shapes"),
        (([], []), "shapes"),
    ):
        with pytest.raises(ArgumentError, match=words):
            TradeOff(*arguments)
    for call in (
        lambda: TradeOff.from_epsilon(-1.0),
        lambda: TradeOff.from_epsilon(np.inf),
        lambda: TradeOff.from_gdp([1.0, 2.0]),  # type: ignore[arg-type]
        lambda: TradeOff.from_deltas([1.0, 2.0], [0.1]),
        lambda: violation_probability(1, 2, 3, 4, claim=1.0),  # type: ignore[arg-type]
    ):
        with pytest.raises(ArgumentError):
            call()
