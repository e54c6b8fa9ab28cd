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


def mixture() -> Any:
    """The mixture of the documentation, an exact model."""
    return fm.score.GaussianMixture(
        [0.5, 0.3, 0.2],
        [[0.0, 0.0], [3.0, 1.0], [-2.0, 3.0]],
        [np.diag([0.25, 0.25]), [[0.36, 0.12], [0.12, 0.16]], np.diag([0.09, 0.64])],
    )


def end_error(model: Any, levels: Array, integrator: str) -> float:
    y0 = 10 * fm.random.Stream(77).normal((2000, 2))
    tight = fm.score.Adaptive("dop853", rtol=1e-8, atol=1e-8)
    truth = fm.score.integrate(model, y0, [10.0, 0.05], tight)
    end = fm.score.integrate(model, y0, levels, integrator)
    return float(np.sqrt(np.square(end - truth).sum(axis=1).mean()))


@pytest.mark.parametrize("method", ["simplex", "dynamic"])
def test_both_errors_are_told_and_hold_elsewhere(method: Any) -> None:
    model = mixture()
    found = fm.score.searched(model, 6, (0.05, 10.0), "euler", method=method, rng=0)
    assert isinstance(found, fm.score.Searched)
    assert found.error == found.error_found < 0.9 * found.error_start
    assert found.n_trials > 5
    before = fm.score.karras(6, 0.05, 10.0)
    for levels, error in ((found, found.error_found), (before, found.error_start)):
        # Errors of both estimates are a few percent.
        assert end_error(model, levels, "euler") == pytest.approx(error, rel=0.2)
    other = found.copy()
    assert other.error == found.error
    assert (2 * found)[0] == 20.0


def test_unseen_probes_keep_a_better_start() -> None:
    """With two probes the levels fit those, and are worse elsewhere."""
    model, kept = mixture(), []
    for key in range(4):
        found = fm.score.searched(
            model, 10, (0.05, 10.0), probes=2, n_check=2000, n_trials=300, rng=key
        )
        start = fm.score.karras(10, 0.05, 10.0)
        worse = found.error_found > found.error_start
        np.testing.assert_array_equal(np.array_equal(found, start), worse)
        kept.append(worse)
    assert any(kept)
    unchecked = fm.score.searched(
        model, 10, (0.05, 10.0), probes=2, n_check=0, n_trials=300, rng=int(np.argmax(kept))
    )
    assert not np.array_equal(unchecked, start)
    assert np.isnan(unchecked.error)


@pytest.mark.parametrize("final", ["min", "zero"])
def test_dynamic_programmes_take_many_steps(final: Any) -> None:
    model = mixture()
    found = fm.score.searched(
        model, 30, (0.05, 10.0), "euler", method="dynamic", final=final, probes=256, rng=0
    )
    assert (found.shape, found[0]) == ((31,), 10.0)
    assert found[-1 if final == "min" else -2] == 0.05
    assert (np.diff(found) < 0).all()
    assert found.error_found < found.error_start
    given = fm.score.searched(
        model, 5, (0.05, 10.0), "euler", method="dynamic", probes=models.probes(64)
    )
    assert np.isnan(given.error)


def test_the_cheapest_path_is_that_of_enumeration() -> None:
    from itertools import combinations, pairwise

    from fermiac.score.schedule_search import _shortest

    rng = np.random.default_rng(0)
    costs = np.triu(rng.random((8, 8)), 1)
    costs[costs == 0] = np.inf
    for carried in (1.0, 1.3):

        def total(rows: Any, carried: float = carried) -> float:
            steps = [costs[a, b] for a, b in pairwise(rows)]
            return float(sum(carried ** (2 - k) * c for k, c in enumerate(steps)))

        paths = [(0, *inner, 7) for inner in combinations(range(1, 7), 2)]
        assert tuple(_shortest(costs, 3, carried)) == min(paths, key=total)


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
        Mixture(),
        3,
        (0.1, 10.0),
        loss=loss,
        n_trials=40,
        plan=fm.Plan(progress=lambda *a: seen.append(a)),
    )
    assert seen[0] == (1, 40)
    assert seen[-1] == (40, 40)
    run = fm.score.start("searched", Mixture(), 3, (0.1, 10.0), loss=loss, n_trials=40)
    np.testing.assert_array_equal(run.result(), whole)

    def stop(done: int, total: int) -> None:
        if done == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        fm.score.searched(
            Mixture(), 3, (0.1, 10.0), loss=loss, n_trials=40, plan=fm.Plan(progress=stop)
        )
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
        ({"n_check": -1}, "^n_check: -1"),
        ({"n_check": np.eye(2)}, "^n_check: "),
        ({"n_check": 5, "loss": lambda levels: 1.0}, "^n_check: given with a loss"),
        ({"method": "dynamic", "loss": lambda levels: 1.0}, "^method: 'dynamic'"),
        ({"method": "align"}, "^method: 'align'"),
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
        "check",
        "checks",
        "check of a loss",
        "programme of a loss",
        "method",
        "trials",
        "start",
    ],
)
def test_searches_that_are_refused(given: dict[str, Any], text: str) -> None:
    arguments = {"model": Mixture(), "n_steps": 3, "sigma_range": (0.1, 10.0), **given}
    with pytest.raises(ArgumentError, match=text):
        fm.score.searched(**arguments)
