"""Conversions of Gaussian differential privacy, against 100-digit arithmetic."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from plans import on_threads

from fermiac.errors import ArgumentError
from fermiac.privacy import gdp_delta, gdp_epsilon, gdp_mu


def exact(epsilon: float, mu: float) -> mpmath.mpf:
    """The textbook formula with enough digits for its cancellation."""
    digits = 40 + 2 * int(math.log10(1 + epsilon / mu + 1 / mu))
    with mpmath.workdps(digits):
        e, m = mpmath.mpf(epsilon), mpmath.mpf(mu)
        return mpmath.ncdf(m / 2 - e / m) - mpmath.exp(e) * mpmath.ncdf(-m / 2 - e / m)


def test_published_values() -> None:
    found = gdp_epsilon(1e-5, mu=[0.5, 1, 2])
    np.testing.assert_allclose(found, [1.9930914044, 4.3771780957, 9.9972561464], rtol=3e-11)


@pytest.mark.parametrize("mu", [1e-6, 1e-3, 0.1, 0.24, 0.3, 1.0, 3.0, 20.0, 150.0])
def test_delta_to_the_last_digits_and_back(mu: float) -> None:
    for a in (-3.0, -1.0, 0.0, 0.1, 0.5, 1.2, 1.3, 2.0, 5.0, 15.0, 30.0, 37.0):
        epsilon = mu * (a + mu / 2)
        if epsilon < 0:
            continue
        wanted = exact(epsilon, mu)
        delta = gdp_delta(epsilon, mu=mu)
        if wanted < 1e-300:
            assert delta < 1.1e-300
            continue
        assert abs(delta / wanted - 1) < 5e-15
        # The condition of the inverses: how far a rounding of delta moves them.
        with mpmath.workdps(50):
            tail = mpmath.exp(epsilon) * mpmath.ncdf(-mu / 2 - epsilon / mu)
            slack = float(wanted / tail) if epsilon else 1.0
            gain = float(wanted / (mpmath.npdf(epsilon / mu - mu / 2) * mu))
        if epsilon:
            assert abs(gdp_epsilon(delta, mu=mu) - epsilon) < 2e-14 * (epsilon + slack)
        assert abs(gdp_mu(epsilon, delta=delta) / mu - 1) < 2e-14 * (1 + gain)


def test_tiny_deltas_and_large_epsilons() -> None:
    for mu in (0.01, 1.0, 30.0, 140.0):
        for delta in (1e-300, 1e-100, 1e-12):
            epsilon = gdp_epsilon(delta, mu=mu)
            assert abs(exact(epsilon, mu) / mpmath.mpf(delta) - 1) < 2e-12
    assert gdp_epsilon(1e-300, mu=140.0) > 1e4
    mu = gdp_mu(1e4, delta=[1e-300, 1e-5, 0.5])
    for m, delta in zip(mu, (1e-300, 1e-5, 0.5), strict=True):
        assert abs(exact(1e4, m) / mpmath.mpf(delta) - 1) < 1e-12


def test_ends() -> None:
    assert gdp_delta(0.0, mu=0.0) == 0
    assert gdp_delta(3.0, mu=0.0) == 0
    assert gdp_delta(math.inf, mu=1.0) == 0
    assert gdp_delta(1.0, mu=math.inf) == 1
    assert gdp_delta(0.0, mu=1e6) == 1
    assert gdp_delta(1e8, mu=1e-3) == 0
    assert gdp_epsilon(0.0, mu=1.0) == math.inf
    assert gdp_epsilon(0.0, mu=0.0) == 0
    assert gdp_epsilon(1.0, mu=5.0) == 0
    assert gdp_epsilon(0.5, mu=0.0) == 0
    assert gdp_epsilon(gdp_delta(0.0, mu=0.7), mu=0.7) == 0
    assert gdp_epsilon(0.3, mu=math.inf) == math.inf
    assert gdp_mu(2.0, delta=0.0) == 0
    assert gdp_mu(2.0, delta=1.0) == math.inf
    assert gdp_mu(math.inf, delta=0.3) == math.inf
    assert gdp_mu(0.0, delta=1e-12) == pytest.approx(1e-12 * math.sqrt(2 * math.pi), rel=1e-14)


def test_monotone() -> None:
    epsilon = np.linspace(0, 8, 2001)
    for mu in (0.05, 0.3, 1.0, 4.0):
        assert (np.diff(gdp_delta(epsilon, mu=mu)) <= 0).all()
    mu = np.geomspace(1e-3, 50, 3001)
    for e in (0.0, 0.2, 3.0):
        assert (np.diff(gdp_delta(e, mu=mu)) >= -1e-15).all()


def test_shapes_and_threads(thread_counts: tuple[int, ...]) -> None:
    delta, mu = np.geomspace(1e-9, 0.5, 700)[:, None], np.array([0.3, 2.0])
    first = on_threads(1, gdp_epsilon, delta, mu=mu)
    assert first.shape == (700, 2)
    for n in thread_counts:
        assert (on_threads(n, gdp_epsilon, delta, mu=mu) == first).all()
    assert first[123, 1] == gdp_epsilon(float(delta[123, 0]), mu=2.0)
    assert isinstance(gdp_mu(1.0, delta=0.1), float)
    assert gdp_mu([], delta=0.1).shape == (0,)


@pytest.mark.parametrize(
    ("call", "arguments", "text"),
    [
        (gdp_delta, (-1.0, 1.0), "epsilon: -1 was given"),
        (gdp_delta, (1.0, [1.0, -2.0]), "mu: -2 was given"),
        (gdp_delta, (math.nan, 1.0), "NaN"),
        (gdp_delta, (True, 1.0), "booleans"),
        (gdp_delta, ("1", 1.0), "number"),
        (gdp_delta, (["1"], 1.0), "text"),
        (gdp_delta, (1j, 1.0), "numbers are needed"),
        (gdp_epsilon, (1.5, 1.0), "delta: 1.5 was given"),
        (gdp_mu, (1.0, -0.1), "delta: -0.1 was given"),
        (gdp_mu, ([1.0, 2.0], [0.1, 0.2, 0.3]), "broadcast"),
        (gdp_mu, (np.ma.masked_less([1.0, 2.0], 1.5), 0.1), "masked"),
    ],
)
def test_refusals(call, arguments, text) -> None:
    first, second = arguments
    name = "delta" if call is gdp_mu else "mu"
    with pytest.raises(ArgumentError, match=text):
        call(first, **{name: second})


@pytest.mark.parametrize("call", [gdp_delta, gdp_epsilon, gdp_mu])
def test_arguments_cannot_be_swapped(call) -> None:
    with pytest.raises(TypeError, match="positional"):
        call(0.5, 0.1)
