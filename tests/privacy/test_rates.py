"""Epsilon, delta and the advantage at given error rates."""

from __future__ import annotations

import numpy as np
import pytest
from attacks import ratios

from fermiac.errors import ArgumentError
from fermiac.privacy import (
    advantage_bound,
    delta_of_rates,
    epsilon_of_rates,
    gdp_bound,
)

DIRECTIONS = ("both", "attack", "forward", "reverse")


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_epsilon_of_rates_is_its_definition(direction: str) -> None:
    rng = np.random.default_rng(1)
    x, y, delta = rng.uniform(size=(3, 5000)) * np.array([[1], [1], [0.2]])
    expected = np.log(np.maximum(1, ratios(direction, x, y, delta)))
    got = epsilon_of_rates(x, y, delta=delta, direction=direction)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)
    # delta at that epsilon is what it was, or less where epsilon is 0.
    back = delta_of_rates(x, y, epsilon=got, direction=direction)
    assert np.all(back <= delta + 1e-13)
    np.testing.assert_allclose(back[got > 0], delta[got > 0], atol=1e-13)


def test_rates_at_their_ends() -> None:
    assert epsilon_of_rates(0.0, 0.0) == np.inf
    assert epsilon_of_rates(0.0, 0.5) == np.inf
    assert epsilon_of_rates(0.0, 1.0) == 0.0
    assert epsilon_of_rates(0.0, 0.5, delta=0.6) == 0.0
    assert delta_of_rates(0.0, 0.5, epsilon=np.inf) == 0.5
    assert isinstance(epsilon_of_rates(0.1, 0.2), float)
    assert advantage_bound(np.inf) == 1.0
    # The best attack that (epsilon, delta) allows has equal rates.
    for epsilon, delta in [(0.5, 0.0), (2.0, 0.01), (8.0, 1e-5)]:
        rate = (1 - delta) / (1 + np.exp(epsilon))
        assert advantage_bound(epsilon, delta=delta) == pytest.approx(1 - 2 * rate, rel=1e-13)
        assert epsilon_of_rates(rate, rate, delta=delta) == pytest.approx(epsilon, rel=1e-12)


def test_bad_rates_are_refused() -> None:
    for fnr, fpr in [(-0.1, 0.5), (0.5, 1.1), (np.nan, 0.5), ("a", 0.5), (True, 0.5)]:
        with pytest.raises(ArgumentError, match=r"fnr|fpr"):
            epsilon_of_rates(fnr, fpr)
    with pytest.raises(ArgumentError, match="epsilon"):
        delta_of_rates(0.1, 0.1, epsilon=-1.0)
    with pytest.raises(ArgumentError, match="epsilon"):
        advantage_bound(np.nan)
    with pytest.raises(ArgumentError, match="delta"):
        gdp_bound(1, 1, 1, 1, delta=0.0)
