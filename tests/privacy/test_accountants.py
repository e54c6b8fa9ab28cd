"""Upper bounds of accountants beside posteriors: stubs, and the accountants where installed."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import log_ndtr

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.privacy import compare, epsilon_upper


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Epsilon of mu-Gaussian differential privacy (Dong, Roth and Su, 2022)."""

    def excess(e: float) -> float:
        first, second = log_ndtr(mu / 2 - e / mu), log_ndtr(-mu / 2 - e / mu)
        return math.exp(first) - math.exp(e + second) - delta

    return brentq(excess, 0.0, 100.0, xtol=1e-14, rtol=1e-14)


@dataclass
class Curve:
    asked: list = field(default_factory=list)

    def get_epsilon_for_delta(self, delta):
        self.asked.append(delta)
        return gaussian_epsilon(1.0, delta)


class Accountant:
    def get_epsilon(self, target_delta):
        return np.float64(gaussian_epsilon(1.0, target_delta) + 0.5)


class Compositions:
    def compute_delta(self, epsilon, num_self_compositions):
        raise AssertionError

    def compute_epsilon(self, delta, num_self_compositions):
        assert type(num_self_compositions) is list
        e = gaussian_epsilon(math.sqrt(sum(num_self_compositions)), delta)
        return (e - 0.1, e, e + 0.1)


class Exponential:
    """Epsilon with the law of an exponential variable, of scales in the shape of `delta`."""

    def __init__(self, delta, scale):
        self.delta, self.scale = delta, np.asarray(scale)

    def ppf(self, q):
        return -self.scale * np.log1p(-q)

    def prob_above(self, epsilon):
        assert np.all(np.isfinite(epsilon))
        return np.exp(-np.asarray(epsilon) / self.scale)


@pytest.mark.parametrize(
    ("source", "more", "expected"),
    [
        (3, {}, 3.0),
        (np.float32(0.5), {}, 0.5),
        (0.0, {}, 0.0),
        (math.inf, {}, math.inf),
        ((1.0, 2.0, 3.5), {}, 3.5),
        ([1, 2, math.inf], {}, math.inf),
        (Curve(), {}, gaussian_epsilon(1, 1e-5)),
        (Accountant(), {}, gaussian_epsilon(1, 1e-5) + 0.5),
        (Compositions(), {"compositions": 4}, gaussian_epsilon(2, 1e-5) + 0.1),
        (Compositions(), {"compositions": np.array([4, 5])}, gaussian_epsilon(3, 1e-5) + 0.1),
        (lambda delta: 10 * delta, {}, 1e-4),
        (lambda delta: (0, 1, -math.log(delta)), {}, math.log(1e5)),
        (lambda delta: -0.25, {}, 0.0),
    ],
)
def test_sources(source, more, expected):
    value = epsilon_upper(source, 1e-5, **more)
    assert type(value) is float
    assert value == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (True, "source: the bool True"),
        ("4.0", "source: '4.0'"),
        (None, "source: a NoneType"),
        (-0.5, "-0.5 was given; an epsilon of 0 or more"),
        (math.nan, "source: nan"),
        ((1.0, 2.0), "2 numbers were given"),
        ((3.0, 2.0, 1.0), "in this order"),
        ((1.0, 2.0, "3"), "source: '3'"),
        (1j, "source: a complex"),
        (Curve, "source: the class Curve"),
        (object(), "source: a object"),
        (lambda delta: None, "source: None"),
        (lambda delta: math.nan, "source: nan"),
        (Compositions(), "compositions: not given; Compositions"),
        # Its delta is its own, and may be another one.
        (SimpleNamespace(delta=1e-6, compute_epsilon=lambda n: (1, 2, 3)), "source: a Simple"),
    ],
)
def test_sources_that_are_not_understood(source, message):
    with pytest.raises(ArgumentError, match=message):
        epsilon_upper(source, 1e-5)


@pytest.mark.parametrize("delta", [-1e-9, 1.0, math.nan, True, "0", None, [1e-5]])
def test_delta_is_checked(delta):
    with pytest.raises(ArgumentError, match="delta: "):
        epsilon_upper(1.0, delta)


def test_what_an_accountant_raises_passes_through():
    def source(delta):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        epsilon_upper(source, 1e-5)


def test_compare():
    found = compare(Exponential(1e-5, 0.5), 4.0)
    assert found.epsilon_upper == 4.0
    assert found.epsilon_lower == pytest.approx(-0.5 * math.log(0.95), rel=1e-14)
    assert found.gap == found.epsilon_upper - found.epsilon_lower
    assert found.prob_above == pytest.approx(math.exp(-8.0), rel=1e-14)
    assert (found.delta, found.prob) == (1e-5, 0.95)
    assert repr(found).splitlines() == [
        "EpsilonGap: 3.97435, from 0.0256466 (probability 0.95) to 4 at delta 1e-05",
        "  probability of more: 0.000335",
    ]
    assert found.settings == {"prob": 0.95, "compositions": None}


def test_a_broken_promise_is_a_negative_gap():
    found = compare(Exponential(0.0, 100.0), 0.5, prob=0.9)
    assert found.gap == pytest.approx(0.5 + 100 * math.log(0.9))
    assert found.gap < 0
    assert found.prob_above > 0.9


def test_an_accountant_that_promises_nothing():
    found = compare(Exponential(0.0, 1.0), lambda delta: math.inf)
    assert found.gap == math.inf
    assert found.prob_above == 0.0


def test_posteriors_in_an_array_ask_once_per_delta():
    curve = Curve()
    deltas = np.array([[1e-5], [1e-3], [1e-5]])
    found = compare(Exponential(deltas, np.array([1.0, 2.0])), curve)
    assert sorted(curve.asked) == [1e-5, 1e-3]
    each = np.array([gaussian_epsilon(1, d) for d in (1e-5, 1e-3, 1e-5)])
    lower = -np.array([1.0, 2.0]) * np.log(0.95)
    for values in (found.epsilon_upper, found.epsilon_lower, found.prob_above, found.delta):
        assert values.shape == (3, 2)
    np.testing.assert_allclose(found.gap, each[:, None] - lower, rtol=1e-12)
    np.testing.assert_allclose(found.prob_above, np.exp(-each[:, None] / [1.0, 2.0]), rtol=1e-12)
    assert repr(found).startswith("EpsilonGap: 6 gaps, from ")


@pytest.mark.parametrize("prob", [0.0, 1.0, math.nan, True, "0.9"])
def test_prob_is_checked(prob):
    with pytest.raises(ArgumentError, match="prob: "):
        compare(Exponential(0.0, 1.0), 1.0, prob=prob)


def test_a_posterior_that_is_none():
    with pytest.raises(ArgumentError, match="posterior: a float without delta"):
        compare(1.0, 1.0)


def test_gaps_are_saved(tmp_path):
    found = compare(Exponential(1e-5, [0.5, 1.0]), 4.0)
    found.save(tmp_path / "gap")
    again = fm.load(tmp_path / "gap")
    assert isinstance(again, fm.privacy.EpsilonGap)
    np.testing.assert_array_equal(again.gap, found.gap)
    assert repr(again) == repr(found)


def test_dp_accounting():
    dp = pytest.importorskip("dp_accounting")
    pld = pytest.importorskip("dp_accounting.pld.privacy_loss_distribution")
    rdp = pytest.importorskip("dp_accounting.rdp")
    exact = gaussian_epsilon(1.0, 1e-5)
    assert exact == pytest.approx(4.3771780957, abs=5e-11)
    assert dp.get_epsilon_gaussian(1.0, 1e-5) == pytest.approx(exact, abs=1e-11)
    curve = epsilon_upper(pld.from_gaussian_mechanism(1.0), 1e-5)
    assert exact <= curve < exact + 1e-3
    accountant = rdp.RdpAccountant()
    accountant.compose(dp.GaussianDpEvent(1.0))
    assert curve < epsilon_upper(accountant, 1e-5) < exact + 0.5
    assert compare(Exponential(1e-5, 1.0), accountant).gap > 4


def test_prv_accountant():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prv = pytest.importorskip("prv_accountant")
        accountant = prv.PRVAccountant(
            prvs=[prv.GaussianMechanism(1.0)],
            max_self_compositions=[4],
            eps_error=0.01,
            delta_error=1e-10,
        )
        once, four = (epsilon_upper(accountant, 1e-5, compositions=k) for k in (1, 4))
    for mu, found in ((1.0, once), (2.0, four)):
        exact = gaussian_epsilon(mu, 1e-5)
        assert exact <= found < exact + 0.05
