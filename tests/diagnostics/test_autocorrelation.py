"""Autocorrelation times: autoregressions, the definition, short runs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning

Array = NDArray[np.float64]


def windowed_time(x: Array, window: float) -> float:
    """The autocorrelation time by its definition, lag by lag."""
    total, n = -1.0, x.shape[1]
    centred = x - x.mean(axis=1, keepdims=True)
    for lag in range(n):
        products = (centred[:, : n - lag] * centred[:, lag:]).sum(axis=1)
        total += 2.0 * np.mean(products / (centred**2).sum(axis=1))
        if lag >= window * total:
            break
    return total


@pytest.mark.parametrize("coefficient", [0.0, 0.5, 0.9, 0.95])
def test_autocorrelation_times_of_autoregressions(coefficient: float) -> None:
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(6, 20_000, 2))
    x = np.empty_like(noise)
    x[:, 0] = noise[:, 0] / np.sqrt(1 - coefficient**2)
    for t in range(1, x.shape[1]):
        x[:, t] = coefficient * x[:, t - 1] + noise[:, t]
    time = fm.diagnostics.autocorr_time(x)
    exact = (1 + coefficient) / (1 - coefficient)
    # Var τ / τ² is about (4 M + 2) / N of window M (Sokal).
    error = exact * np.sqrt((4 * 5 * exact + 2) / x[:, :, 0].size)
    assert (np.abs(time - exact) < 5 * error + 0.02 * exact).all()
    for window in (2.0, 5.0):
        found = fm.diagnostics.autocorr_time(1e8 * x[:, :5000, 0] + 3e9, window=window)
        assert found == pytest.approx(windowed_time(x[:, :5000, 0], window), rel=1e-6)


def test_short_runs_and_still_walkers_are_told() -> None:
    x = np.cumsum(np.random.default_rng(1).normal(size=(4, 500)), axis=1)
    with pytest.warns(ConvergenceWarning, match="500 draws of a walker are fewer than 50"):
        fm.diagnostics.autocorr_time(x)
    moving = np.random.default_rng(1).normal(size=(4, 500))
    assert fm.diagnostics.autocorr_time(moving) < 2
    still = moving.copy()
    still[0] = 1.0
    with pytest.warns(ConvergenceWarning):
        assert fm.diagnostics.autocorr_time(still) > 20
    with pytest.warns(fm.errors.FermiacWarning, match="at least 4 draws"):
        assert np.isnan(fm.diagnostics.autocorr_time(moving[:, :3]))
    for bad in (np.full((2, 10), np.nan), np.zeros(()), "text"):
        with pytest.raises(ArgumentError, match=r"^x: "):
            fm.diagnostics.autocorr_time(bad)
    with pytest.raises(ArgumentError, match=r"^window: "):
        fm.diagnostics.autocorr_time(moving, window=0.0)
