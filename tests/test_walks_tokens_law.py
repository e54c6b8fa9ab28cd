"""The law of tokens: what the theory says of their error, beside many independent ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from token_help import barbell, quadratic

import fermiac as fm

TOKENS = 600


@pytest.mark.parametrize(
    ("a", "b", "alpha", "kernel", "base"),
    [
        (0.7, 0.9, 0.0, "none", "mhrw"),
        (0.7, 0.9, 1.0, "srrw", "mhrw"),
        (0.7, 0.9, 5.0, "srrw", "mhrw"),
        (0.8, 0.8, 5.0, "srrw", "mhrw"),
        (1.0, 1.0, 2.0, "srrw", "mhrw"),
        (0.9, 0.8, 5.0, "srrw", "mhrw"),
        (0.7, 0.9, 5.0, "hdt", "mhrw"),
        (0.7, 0.9, 5.0, "hdt", "mhda"),
    ],
)
@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")
def test_the_error_of_one_parameter_is_that_of_the_theory(
    a: float, b: float, alpha: float, kernel: str, base: str
) -> None:
    g, n = barbell(), 10_000
    centers = np.arange(12.0)
    walk: dict[str, Any] = dict(alpha=alpha, a=a, b=b, kernel=kernel, base=base)
    o = fm.walks.optimize(
        fm.walks.Quadratic(1.0, centers), g, n_steps=n, n_tokens=TOKENS, theta0=[5.5], rng=7, **walk
    )
    expected = fm.walks.predict(g, 5.5 - centers, 1.0, n, **walk)
    found = ((o.thetas - 5.5) ** 2).mean()
    # The white noise of the theory leaves out what mixing takes of the first steps.
    assert abs(found / expected - 1) < 5 * np.sqrt(2 / TOKENS) + 0.03
