"""Searched noise levels: closer to the exact solution than their start, and refused arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import score_models as models
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError

Array = NDArray[np.float64]


class Mixture(fm.score.Model):
    dim = 2

    def _denoise(self, y: Array, sigma: Array) -> Array:
        return models.mixture(y, sigma)


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
