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
        pytest.param(0.7, 0.9, 5.0, "srrw", "mhrw", marks=pytest.mark.calibration),
        pytest.param(0.8, 0.8, 5.0, "srrw", "mhrw", marks=pytest.mark.calibration),
        (1.0, 1.0, 2.0, "srrw", "mhrw"),
        pytest.param(0.9, 0.8, 5.0, "srrw", "mhrw", marks=pytest.mark.calibration),
        # At stronger repellence this target is far from its linear law for long.
        (0.7, 0.9, 1.0, "hdt", "mhrw"),
        (0.7, 0.9, 1.0, "hdt", "mhda"),
    ],
)
@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")
def test_the_error_of_one_parameter_is_that_of_the_theory(
    a: float, b: float, alpha: float, kernel: str, base: str
) -> None:
    g, n = barbell(), 10_000
    centers = np.arange(12.0)
    walk: dict[str, Any] = {"alpha": alpha, "a": a, "b": b, "kernel": kernel, "base": base}
    o = fm.walks.optimize(
        fm.walks.Quadratic(1.0, centers), g, n_steps=n, n_tokens=TOKENS, init=[5.5], rng=7, **walk
    )
    expected = fm.walks.predict(g, 5.5 - centers, 1.0, n, **walk)
    found = ((o.thetas - 5.5) ** 2).mean()
    # The white noise of the theory leaves out what mixing takes of the first steps.
    assert abs(found / expected - 1) < 5 * np.sqrt(2 / TOKENS) + 0.03


def test_the_error_of_several_parameters_is_that_of_the_theory() -> None:
    g, n = barbell(), 10_000
    matrices, centers = quadratic(12, 3, seed=4)
    loss = fm.walks.Quadratic(matrices, centers)
    weights = np.linspace(1.0, 2.0, 12)
    best = loss.minimum(weights)
    slopes = loss.gradient(np.tile(best, (12, 1)), np.arange(12))
    walk: dict[str, Any] = {"alpha": 2.0, "c": 2.0, "weights": weights}
    o = fm.walks.optimize(loss, g, n_steps=n, n_tokens=TOKENS, init=best, rng=8, **walk)
    expected = fm.walks.predict(g, slopes, matrices, n, **walk)
    away = o.thetas - best
    scale = np.sqrt(np.diag(expected))
    found = (away.T @ away / TOKENS) / np.outer(scale, scale)
    correlations = expected / np.outer(scale, scale)
    # The error of an entry of the matrix of moments of normal numbers.
    error = np.sqrt((1.0 + correlations**2) / TOKENS)
    assert (np.abs(found - correlations) < 5 * error + 0.05).all()


def test_repellence_pays_and_momentum_goes_to_the_same_place() -> None:
    g, centers = barbell(), np.arange(12.0)
    loss = fm.walks.Quadratic(1.0, centers)
    call: dict[str, Any] = {"n_steps": 10_000, "n_tokens": 200, "init": [5.5], "rng": 1}
    plain = fm.walks.optimize(loss, g, 0.0, **call)
    bent = fm.walks.optimize(loss, g, 5.0, **call)
    heavy = fm.walks.optimize(loss, g, 5.0, momentum=0.5, average=1000, **call)
    errors = [((o.thetas - 5.5) ** 2).mean() for o in (plain, bent)]
    assert errors[1] < errors[0] / 20
    for o in (plain, bent, heavy):
        assert o.stderr is not None
        assert abs(o.theta[0] - 5.5) < 5 * o.stderr[0]
