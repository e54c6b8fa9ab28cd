"""Grids of noise levels: published values, what they are even in, searched ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import score_models as models
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError
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


class Mixture(fm.score.Model):
    dim = 2

    def _denoise(self, y: Array, sigma: Array) -> Array:
        return models.mixture(y, sigma)


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


@pytest.mark.parametrize("final", ["min", "zero"])
def test_searched_levels_come_closer(final: str) -> None:
    n = 5
    arguments: dict[str, Any] = {"integrator": "heun", "final": final}
    probes = models.probes(64)
    grid = fm.score.searched(
        Mixture(), n, (models.LOW, models.HIGH), probes=probes, n_trials=150, **arguments
    )
    assert (grid[0], grid.shape) == (models.HIGH, (n + 1,))
    assert grid[-1 if final == "min" else -2] == models.LOW
    assert (np.diff(grid) < 0).all()
    before = fm.score.karras(n, models.LOW, models.HIGH, final=final)
    rms = []
    for levels in (before, grid):
        # Probes that the search has not seen.
        end = fm.score.integrate(Mixture(), models.probes(256)[64:], levels, "heun")
        truth = models.solution()[64:]
        if final == "zero":
            truth = models.mixture(truth, models.LOW)
        rms.append(float(np.sqrt(np.square(end - truth).sum(axis=1).mean())))
    assert rms[1] < 0.8 * rms[0], rms


def test_searched_with_a_loss_of_ones_own() -> None:
    """The product of steps in log s is largest, and the loss smallest, where all are equal."""

    def loss(levels: Array) -> float:
        return float(1 / np.prod(np.log(levels[:-1] / levels[1:])))

    grid = fm.score.searched(Mixture(), 4, (0.1, 10.0), "ancestral", loss=loss, n_trials=1000)
    np.testing.assert_allclose(grid, fm.score.exponential(4, 0.1, 10.0), rtol=0.05)


def test_searched_keeps_a_start_that_nothing_betters() -> None:
    start = fm.score.karras(4, 0.1, 10.0)

    def loss(levels: Array) -> float:
        return 1 + float(np.abs(levels - start).sum())

    grid = fm.score.searched(Mixture(), 4, (0.1, 10.0), loss=loss)
    np.testing.assert_array_equal(grid, start)
    one = fm.score.searched(Mixture(), 1, (0.1, 10.0))
    np.testing.assert_array_equal(one, [10.0, 0.1])
    two = fm.score.searched(Mixture(), 2, (0.1, 10.0), final="zero")
    np.testing.assert_array_equal(two, [10.0, 0.1, 0.0])


def test_searches_are_told_of_and_leave_what_they_have() -> None:
    def loss(levels: Array) -> float:
        return float(np.abs(levels - fm.score.exponential(3, 0.1, 10.0)).sum())

    seen: list[tuple[int, int]] = []
    whole = fm.score.searched(
        Mixture(), 3, (0.1, 10.0), loss=loss, n_trials=40, progress=lambda *a: seen.append(a)
    )
    assert seen[0] == (1, 40)
    assert seen[-1] == (40, 40)
    run = fm.score.start("searched", Mixture(), 3, (0.1, 10.0), loss=loss, n_trials=40)
    np.testing.assert_array_equal(run.result(), whole)

    def stop(done: int, total: int) -> None:
        if done == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        fm.score.searched(Mixture(), 3, (0.1, 10.0), loss=loss, n_trials=40, progress=stop)
    best = caught.value.partial_result  # type: ignore[attr-defined]
    assert loss(whole) <= loss(best) < loss(fm.score.karras(3, 0.1, 10.0))


@pytest.mark.parametrize(
    "given", [np.nan, -1.0, "small", [1.0], None], ids=["nan", "negative", "text", "list", "none"]
)
def test_losses_that_are_none(given: Any) -> None:
    with pytest.raises(TargetError, match=r"^loss: it gave"):
        fm.score.searched(Mixture(), 3, (0.1, 10.0), loss=lambda levels: given)


def test_errors_of_a_loss_tell_where() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        fm.score.searched(Mixture(), 2, (0.1, 10.0), loss=lambda levels: 1 / 0)
    assert caught.value.__notes__[0].startswith("raised by the loss of levels [10.0, ")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"probes": [[1.0, np.inf]]}, "^probes: inf was given in row 0"),
        ({"probes": np.ones((2, 5))}, r"^probes: shape \(2, 5\)"),
        ({"probes": "all"}, "^probes: "),
        ({"probes": np.empty((0, 2))}, "^probes: no point"),
        ({"probes": 3, "loss": lambda levels: 1.0}, "^probes: given with a loss"),
        ({"model": 3}, "^model: int given"),
        ({"n_steps": 0}, "^n_steps: 0"),
        ({"sigma_range": (1.0, 0.5)}, "^sigma_range: "),
        ({"integrator": "ancestral"}, "^integrator: .* draws noise"),
        ({"probes": np.ones(3)}, r"^probes: shape \(3,\)"),
        ({"probes": 0}, "^probes: 0"),
        ({"loss": 3}, "^loss: 3"),
        ({"n_trials": 0}, "^n_trials: 0"),
        ({"start": lambda n, low, high: np.ones(n + 1)}, "index 1 is 1 after 1"),
    ],
    ids=[
        "infinite",
        "size",
        "text",
        "empty",
        "two",
        "model",
        "steps",
        "range",
        "noise",
        "probes",
        "none",
        "loss",
        "trials",
        "start",
    ],
)
def test_searches_that_are_refused(given: dict[str, Any], text: str) -> None:
    arguments = {"model": Mixture(), "n_steps": 3, "sigma_range": (0.1, 10.0), **given}
    with pytest.raises(ArgumentError, match=text):
        fm.score.searched(**arguments)
