"""Adaptive integration: reference values, error control row by row, and refused arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from score_flow_help import HIGH, LOW, Single, exact_a, model_a, probe_points

from fermiac.errors import ArgumentError, NumericalError, TargetError
from fermiac.score import Adaptive, Model
from fermiac.score.adaptive import integrate_adaptive

Array = NDArray[np.float64]

PAIRS = ("dopri5", "dop853")


def flow(
    model: Model, y: Array, levels: Any, integrator: Adaptive | None = None, **options: Any
) -> dict[str, Any]:
    """Integrate, and raise what ended it."""
    chosen = Adaptive() if integrator is None else integrator
    raw, error = integrate_adaptive(model, y, np.asarray(levels, dtype=float), chosen, **options)
    if error is not None:
        raise error
    assert raw is not None
    return raw


@pytest.fixture(scope="module")
def reference() -> Array:
    """The probe points at the lowest level, to 1e-10."""
    tight = Adaptive("dop853", 1e-12, 1e-12)
    solution: Array = flow(model_a(), probe_points(), [HIGH, LOW], tight)["y"]
    return solution


def test_probe_points_are_those_of_the_table() -> None:
    np.testing.assert_allclose(probe_points()[0], [-6.59218712, -14.76981554], atol=5e-9)


def test_the_solution_is_that_of_the_table(reference: Array) -> None:
    wanted = [
        [-0.28666713, -0.66144127],
        [-2.53445039, 2.65344092],
        [1.03938591, -0.12389489],
    ]
    np.testing.assert_allclose(reference[:3], wanted, atol=1e-7)


@pytest.mark.parametrize("method", PAIRS)
def test_errors_fall_with_the_tolerance(method: str, reference: Array) -> None:
    y = probe_points()
    for rtol in (1e-4, 1e-6, 1e-8):
        found = flow(model_a(), y, [HIGH, LOW], Adaptive(method, rtol, rtol))["y"]
        rms = np.sqrt(np.square(found - reference).mean())
        assert rms < 100 * rtol, (rtol, rms)


@pytest.mark.parametrize("method", PAIRS)
@pytest.mark.parametrize("dim", [1, 3, 40])
def test_one_normal_law_has_its_closed_form(method: str, dim: int) -> None:
    rng = np.random.default_rng(dim)
    model = Single(rng.normal(size=dim), rng.uniform(0.01, 4.0, dim))
    y = 20.0 * rng.normal(size=(9, dim))
    tight = Adaptive(method, 1e-10, 1e-12)
    down = flow(model, y, [20.0, 0.01], tight)["y"]
    np.testing.assert_allclose(down, model.flow(y, 20.0, 0.01), rtol=1e-7, atol=1e-7)
    up = flow(model, down, [0.01, 20.0], tight)["y"]
    np.testing.assert_allclose(up, y, rtol=1e-6, atol=1e-6)


def test_all_levels_are_met_exactly() -> None:
    model, y = Single([1.0, -2.0], [0.3, 2.0]), probe_points(5)
    levels = np.geomspace(10.0, 0.05, 12)
    raw = flow(model, y, levels, Adaptive("dop853", 1e-9, 1e-9), return_trajectory=True)
    assert raw["trajectory"].shape == (5, 12, 2)
    for k, s in enumerate(levels):
        wanted = model.flow(y, 10.0, s)
        np.testing.assert_allclose(raw["trajectory"][:, k], wanted, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(raw["trajectory"][:, 0], y)
    np.testing.assert_array_equal(raw["trajectory"][:, -1], raw["y"])
    np.testing.assert_array_equal(raw["sigma"], 0.05)


def test_a_last_level_of_0_is_the_denoised_point() -> None:
    model, y = model_a(), probe_points(7)
    before = flow(model, y, [HIGH, LOW])
    raw = flow(model, y, [HIGH, LOW, 0.0], return_trajectory=True)
    np.testing.assert_array_equal(raw["y"], model.denoise(before["y"], LOW))
    np.testing.assert_array_equal(raw["trajectory"][:, 1], before["y"])
    np.testing.assert_array_equal(raw["trajectory"][:, 2], raw["y"])
    np.testing.assert_array_equal(raw["sigma"], 0.0)
    np.testing.assert_array_equal(raw["n_evals"], before["n_evals"] + 1)
    at_once = flow(model, before["y"], [LOW, 0.0])
    np.testing.assert_array_equal(at_once["y"], raw["y"])
    np.testing.assert_array_equal(at_once["n_evals"], 1)


@pytest.mark.parametrize("method", PAIRS)
def test_a_row_does_not_depend_on_the_rows_beside_it(method: str) -> None:
    model, y = model_a(), probe_points(20)
    together = flow(model, y, [HIGH, 1.0, LOW], Adaptive(method))
    for part in (slice(3, 4), slice(5, 17), slice(19, None, -1)):
        alone = flow(model, np.ascontiguousarray(y[part]), [HIGH, 1.0, LOW], Adaptive(method))
        for name in ("y", "n_evals", "n_accepted", "n_rejected"):
            np.testing.assert_array_equal(alone[name], together[name][part])
    assert len(set(together["n_evals"])) > 1


def test_rows_may_have_levels_of_their_own() -> None:
    model, y = model_a(), probe_points(4)
    levels = np.array([[10.0, 0.05], [3.0, 0.1], [0.05, 10.0], [1.0, 0.0]])
    raw = flow(model, y, levels)
    for i, own in enumerate(levels):
        alone = flow(model, y[i : i + 1], own)
        np.testing.assert_array_equal(alone["y"][0], raw["y"][i])
    np.testing.assert_array_equal(raw["sigma"], levels[:, 1])


@pytest.mark.parametrize("method", PAIRS)
def test_compiled_models_give_the_same_bits_on_any_threads_and_in_any_batch(method: str) -> None:
    model, y = exact_a(), probe_points()
    chosen = Adaptive(method, 1e-9, 1e-9)
    one = flow(model, y, [HIGH, 1.0, LOW], chosen, trace=(None, 1))
    for n_threads in (2, 8):
        many = flow(model, y, [HIGH, 1.0, LOW], chosen, trace=(None, 1), n_threads=n_threads)
        for name, value in one.items():
            np.testing.assert_array_equal(many[name], value)
    for part in (slice(0, 1), slice(60, 71), slice(255, 100, -1)):
        rows = np.ascontiguousarray(y[part])
        some = flow(model, rows, [HIGH, 1.0, LOW], chosen, trace=(None, 1))
        for name in ("y", "log_change", "n_evals"):
            np.testing.assert_array_equal(some[name], one[name][part])
    in_numpy = flow(model_a(), y, [HIGH, 1.0, LOW], chosen)
    np.testing.assert_allclose(one["y"], in_numpy["y"], atol=1e-7)


@pytest.mark.parametrize("method", PAIRS)
def test_the_model_is_asked_as_often_as_is_counted(method: str) -> None:
    model = model_a()
    raw = flow(model, probe_points(30), [HIGH, 2.0, LOW], Adaptive(method))
    assert model.rows == raw["n_evals"].sum()
    stages = 6 if method == "dopri5" else 11
    least = stages * (raw["n_accepted"] + raw["n_rejected"])
    assert (raw["n_evals"] >= least).all()
    # Rejected steps do not ask for the slope at their end.
    assert (raw["n_evals"] <= least + 2 + raw["n_accepted"] * (method == "dop853")).all()


@pytest.mark.parametrize(("method", "peer"), [("dopri5", "RK45"), ("dop853", "DOP853")])
@pytest.mark.parametrize("tolerance", [1e-5, 1e-8])
def test_it_asks_no_more_than_scipy_for_the_same_error(
    method: str, peer: str, tolerance: float, reference: Array
) -> None:
    model, y = model_a(), probe_points(6)

    def slope(t: float, point: Array) -> Array:
        return np.asarray(point - model._denoise(point[None], np.array([np.exp(t)]))[0])

    evals, ends = 0, []
    for row in y:
        span = (np.log(HIGH), np.log(LOW))
        found = solve_ivp(slope, span, row, peer, rtol=tolerance, atol=tolerance)
        evals += found.nfev
        ends.append(found.y[:, -1])
    raw = flow(model, y, [HIGH, LOW], Adaptive(method, tolerance, tolerance))
    assert raw["n_evals"].sum() < 1.1 * evals
    ours = np.sqrt(np.square(raw["y"] - reference[:6]).mean())
    theirs = np.sqrt(np.square(np.array(ends) - reference[:6]).mean())
    assert ours < 3 * theirs + 1e-11


class Broken(Single):
    """Gives a bad value for points below a level that lie to the right."""

    def __init__(self, bad: float, level: float) -> None:
        super().__init__([0.0, 0.0], [1.0, 1.0])
        self._bad, self._level = bad, level

    def _denoise(self, y: Array, sigma: Array) -> Array:
        out = super()._denoise(y, sigma)
        out[(y[:, 0] > 0) & (sigma < self._level), 1] = self._bad
        return out


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("levels", [[10.0, 0.1], [10.0, 0.6, 0.3, 0.0]])
def test_a_value_that_is_not_finite_is_told_of_with_its_row(
    bad: float, levels: list[float]
) -> None:
    y = np.array([[-1.0, 1.0], [-2.0, 0.5], [3.0, 1.0], [4.0, 1.0]])
    with pytest.raises(TargetError, match=rf"(?i)gave {bad} in coordinate 1 for row 2 at level"):
        flow(Broken(bad, 0.5), y, levels)


@pytest.mark.parametrize("method", PAIRS)
def test_rows_can_be_frozen_where_they_stand(method: str) -> None:
    model, good = Broken(np.nan, 0.5), Broken(np.nan, 0.0)
    y = np.array([[-1.0, 1.0], [3.0, 1.0], [-4.0, 1.0]])
    raw = flow(model, y, [10.0, 0.1, 0.0], Adaptive(method), on_nan="freeze")
    whole = flow(good, y, [10.0, 0.1, 0.0], Adaptive(method))
    np.testing.assert_array_equal(raw["y"][[0, 2]], whole["y"][[0, 2]])
    np.testing.assert_array_equal(raw["sigma"][[0, 2]], 0.0)
    assert 0.5 <= raw["sigma"][1] < 10.0
    wanted = model.flow(y[1:2], 10.0, raw["sigma"][1])
    np.testing.assert_allclose(raw["y"][1:2], wanted, rtol=1e-4)


def test_a_row_that_is_bad_at_once_stays_at_its_start() -> None:
    y = np.array([[1.0, 1.0], [-1.0, 1.0]])
    raw = flow(Broken(np.nan, 20.0), y, [10.0, 0.1, 0.0], on_nan="freeze")
    np.testing.assert_array_equal(raw["y"][0], y[0])
    np.testing.assert_array_equal(raw["sigma"], [10.0, 0.0])


def test_steps_are_limited() -> None:
    with pytest.raises(NumericalError, match=r"row 0 used up its 3 steps at level .* max_steps"):
        flow(model_a(), probe_points(3), [HIGH, LOW], Adaptive(max_steps=3))


def test_a_model_with_a_jump_is_told_of() -> None:
    class Jump(Single):
        def _denoise(self, y: Array, sigma: Array) -> Array:
            return np.where(np.floor(1e3 * sigma)[:, None] % 2 > 0, 5.0, -5.0) * np.ones_like(y)

    with pytest.raises(NumericalError, match=r"used up its 200 steps|vanish"):
        flow(Jump([0.0], [1.0]), np.ones((1, 1)), [10.0, 0.1], Adaptive(max_steps=200))


def test_an_exception_of_the_model_passes_and_says_how_far_rows_came() -> None:
    class Stops(Single):
        calls = 0

        def _denoise(self, y: Array, sigma: Array) -> Array:
            self.calls += 1
            if self.calls > 40:
                raise KeyboardInterrupt
            return super()._denoise(y, sigma)

    model, y = Stops([0.0, 1.0], [1.0, 0.1]), probe_points(3)
    raw, error = integrate_adaptive(model, y, np.array([10.0, 0.01]), Adaptive("dopri5"))
    assert isinstance(error, KeyboardInterrupt)
    assert raw is not None
    assert ((raw["sigma"] < 10.0) & (raw["sigma"] > 0.01)).all()
    for i in range(3):
        wanted = model.flow(y[i : i + 1], 10.0, raw["sigma"][i])
        np.testing.assert_allclose(raw["y"][i : i + 1], wanted, rtol=1e-4, atol=1e-5)


def test_no_rows_need_no_model() -> None:
    model = model_a()
    raw = flow(model, np.empty((0, 2)), [HIGH, LOW], return_trajectory=True)
    assert raw["y"].shape == (0, 2)
    assert raw["n_evals"].shape == (0,)
    assert model.calls == 0


def test_progress_goes_up_to_all_rows() -> None:
    seen: list[tuple[int, int]] = []

    class Slow(Single):
        def _denoise(self, y: Array, sigma: Array) -> Array:
            import time

            time.sleep(0.01)
            return super()._denoise(y, sigma)

    model = Slow([0.0], [1.0])
    flow(model, np.ones((50, 1)), [10.0, 0.01], report=lambda *at: seen.append(at))
    done = [at for at, _ in seen]
    assert done == sorted(done)
    assert 0 < done[-1] <= 50
    assert {total for _, total in seen} == {50}


@pytest.mark.parametrize(
    "levels",
    [
        [10.0],
        [10.0, 10.0],
        [10.0, 1.0, 2.0],
        [1.0, 2.0, 0.0],
        [0.0, 1.0],
        [10.0, -1.0],
        [np.inf, 1.0],
        [10.0, 0.0, 0.0],
        [[10.0, 1.0], [10.0, 1.0]],
    ],
    ids=str,
)
def test_levels_that_are_no_grid_are_refused(levels: Any) -> None:
    with pytest.raises(ArgumentError, match=r"sigmas:"):
        flow(Single([0.0], [1.0]), np.ones((3, 1)), levels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "rk4"}, "method"),
        ({"rtol": 0.0}, "rtol"),
        ({"rtol": 1.0}, "rtol"),
        ({"rtol": np.nan}, "rtol"),
        ({"rtol": [1e-3, 1e-3]}, "rtol"),
        ({"atol": -1.0}, "atol"),
        ({"atol": np.inf}, "atol"),
        ({"max_steps": 0}, "max_steps"),
        ({"max_steps": 1.5}, "max_steps"),
    ],
    ids=str,
)
def test_settings_outside_their_domains_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Adaptive(**options)


def test_an_absolute_tolerance_of_0_is_one() -> None:
    model, y = Single([0.0], [1.0]), np.array([[0.0], [2.0]])
    raw = flow(model, y, [10.0, 0.1], Adaptive(rtol=1e-8, atol=0.0))
    np.testing.assert_allclose(raw["y"], model.flow(y, 10.0, 0.1), rtol=1e-6)
