"""Schedules: published values, spacing, and refused arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import score_models as models
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.score.schedules import schedule_of

Array = NDArray[np.float64]
LOW, HIGH = 0.01, 60.0
SCHEDULES: dict[str, Callable[..., Array]] = {
    "exponential": fm.score.exponential,
    "karras": fm.score.karras,
    "poly_t": fm.score.poly_t,
    "polyexponential": fm.score.polyexponential,
    "vp_uniform": fm.score.vp_uniform,
}
each = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)


def vp_time(s: Array, low: float = 0.1, high: float = 20.0) -> Array:
    slope = high - low
    time: Array = (np.sqrt(low**2 + 2 * slope * np.log1p(s**2)) - low) / slope
    return time


def test_karras_as_published() -> None:
    grid = fm.score.karras(5, 0.05, 10.0)
    known = [10, 4.557873112293, 1.880706478128, 0.682541135857, 0.208558539063, 0.05]
    np.testing.assert_allclose(grid, known, rtol=0, atol=5e-13)
    np.testing.assert_allclose(fm.score.karras(33, 0.05, 10.0), models.karras(33), rtol=1e-13)


@each
@pytest.mark.parametrize("n", [1, 2, 3, 50, 1000])
def test_ends_and_counts(schedule: Callable[..., Array], n: int) -> None:
    grid = schedule(n, LOW, HIGH)
    assert grid.shape == (n + 1,)
    assert (grid[0], grid[-1]) == (HIGH, LOW)
    assert (np.diff(grid) < 0).all()
    with_zero = schedule(n + 1, LOW, HIGH, final="zero")
    np.testing.assert_array_equal(with_zero, np.append(grid, 0.0))


@each
def test_one_step_to_zero(schedule: Callable[..., Array]) -> None:
    np.testing.assert_array_equal(schedule(1, LOW, HIGH, final="zero"), [HIGH, 0.0])


def test_what_they_are_even_in() -> None:
    def even(values: Array) -> None:
        steps = np.diff(values)
        np.testing.assert_allclose(steps, steps.mean(), rtol=1e-10)

    even(fm.score.karras(20, LOW, HIGH, rho=3.0) ** (1 / 3))
    even(fm.score.karras(20, LOW, HIGH, rho=1.0))
    even(np.log(fm.score.exponential(20, LOW, HIGH)))
    even(vp_time(fm.score.vp_uniform(20, LOW, HIGH)))
    even(vp_time(fm.score.vp_uniform(20, LOW, HIGH, beta_range=(0.5, 9.0)), 0.5, 9.0))
    even(vp_time(fm.score.poly_t(20, LOW, HIGH)) ** 0.5)
    even(vp_time(fm.score.poly_t(20, LOW, HIGH, kappa=3.0)) ** (1 / 3))
    rest = np.log(fm.score.polyexponential(20, LOW, HIGH, rho=2.0) / LOW)
    even(np.sqrt(np.maximum(rest, 0)))


def test_polyexponential_of_one_is_exponential() -> None:
    np.testing.assert_array_equal(
        fm.score.polyexponential(9, LOW, HIGH), fm.score.exponential(9, LOW, HIGH)
    )


def test_small_times_keep_their_accuracy() -> None:
    """Levels of 1e-9 come from times of 1e-17, where exp(∫β) - 1 would be rounded to nothing."""
    grid = fm.score.vp_uniform(4, 1e-9, 2e-9)
    np.testing.assert_allclose(np.diff(grid**2), -0.75e-18, rtol=1e-12)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"n_steps": 0}, "n_steps"),
        ({"n_steps": 2.5}, "n_steps"),
        ({"sigma_min": 0.0}, "sigma_min"),
        ({"sigma_min": 2.0}, "sigma_min"),
        ({"sigma_min": np.nan}, "sigma_min"),
        ({"sigma_max": np.inf}, "sigma_min"),
        ({"sigma_max": "big"}, "sigma_max"),
        ({"rho": 0.0}, "rho"),
        ({"final": "max"}, "final"),
    ],
)
def test_refused(given: dict[str, Any], name: str) -> None:
    for zero in ({}, {"final": "zero"}):
        arguments = {"n_steps": 5, "sigma_min": 0.1, "sigma_max": 1.0, **zero, **given}
        with pytest.raises(ArgumentError, match=f"^{name}: "):
            fm.score.karras(**arguments)


def test_refused_processes() -> None:
    for betas in ((0.0, 1.0), (2.0, 1.0), (1.0, np.inf), 3.0):
        with pytest.raises(ArgumentError, match=r"^beta_range: "):
            fm.score.vp_uniform(5, 0.1, 1.0, beta_range=betas)
    with pytest.raises(ArgumentError, match=r"^kappa: -1 was given"):
        fm.score.poly_t(5, 0.1, 1.0, kappa=-1.0)


def test_levels_that_fall_together_are_refused() -> None:
    with pytest.raises(ArgumentError, match="fall together"):
        fm.score.exponential(10_000, 1.0, 1.0 + 1e-14)


def test_functions_as_schedules() -> None:
    grid = schedule_of(lambda n, low, high: np.linspace(high, low, n + 1), 4, 1.0, 7.0, True)
    np.testing.assert_array_equal(grid, [7.0, 5.0, 3.0, 1.0, 0.0])
    with pytest.raises(ArgumentError, match=r"it gave shape \(2,\); \(4,\) is needed"):
        schedule_of(lambda n, low, high: [high, low], 3, 1.0, 2.0, False)
    with pytest.raises(ArgumentError, match=r"^schedule: 'cosine' was given"):
        schedule_of("cosine", 3, 1.0, 2.0, False)
