"""Integrators over arrays: shapes, forms, threads, executors, interrupts, resumed runs."""

from __future__ import annotations

import itertools
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clock import ctrl_c
from numpy.typing import NDArray
from score_forms import DIM, LEVELS, Numbers, denoise, each, exact, points

import fermiac as fm
from fermiac.errors import ArgumentError, FermiacWarning, TargetError

Array = NDArray[np.float64]


class Broken(Numbers):
    """Row 3 becomes NaN below a level."""

    def _denoise(self, y: Array, sigma: Array) -> Array:
        out = super()._denoise(y, sigma)
        if sigma[0] < 1.0:
            out[3, 1] = np.nan
        return out


@each
def test_threads_blocks_and_parts_give_the_same_bits(integrator: Any) -> None:
    model, y0 = exact(), points(333)
    whole = fm.score.integrate(model, y0, LEVELS, integrator, rng=3, plan=fm.Plan(n_threads=1))
    for n in (2, 3, 8):
        again = fm.score.integrate(model, y0, LEVELS, integrator, rng=3, plan=fm.Plan(n_threads=n))
        np.testing.assert_array_equal(whole, again)
    parts = [
        fm.score.integrate(model, y0[a:b], LEVELS, integrator, rng=3, first_row=a)
        for a, b in ((0, 1), (1, 7), (7, 200), (200, 333))
    ]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    by_row = np.tile(LEVELS, (333, 1))
    same = fm.score.integrate(model, y0, by_row, integrator, rng=3)
    np.testing.assert_allclose(same, whole, rtol=1e-12, atol=1e-12)


@each
def test_forms_agree(integrator: Any) -> None:
    y0 = points()
    ours = fm.score.integrate(exact(), y0, LEVELS, integrator, rng=1)
    theirs = fm.score.integrate(Numbers(), y0, LEVELS, integrator, rng=1)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_euler_is_the_formula() -> None:
    y = y0 = points()
    for s, t in itertools.pairwise(LEVELS):
        y = t / s * y + (1 - t / s) * denoise(y, np.array([s]))
    np.testing.assert_allclose(
        fm.score.integrate(exact(), y0, LEVELS, "euler"), y, rtol=1e-12, atol=1e-13
    )


@each
def test_trajectories_callbacks_and_steps_are_the_same_run(integrator: Any) -> None:
    y0 = points(70)
    seen: list[tuple[int, float, Array]] = []
    path = fm.score.integrate(exact(), y0, LEVELS, integrator, rng=5, return_trajectory=True)
    assert path.shape == (len(LEVELS), 70, DIM)
    np.testing.assert_array_equal(path[0], y0)
    last = fm.score.integrate(
        exact(), y0, LEVELS, integrator, rng=5, callback=lambda *a: seen.append(a)
    )
    np.testing.assert_array_equal(last, path[-1])
    assert [s[0] for s in seen] == list(range(1, len(LEVELS)))
    np.testing.assert_array_equal([s[1] for s in seen], LEVELS[1:])
    run = fm.score.stepper(exact(), y0, LEVELS, integrator, rng=5)
    for k, (_, _, y) in enumerate(seen, 1):
        np.testing.assert_array_equal(y, path[k])
        np.testing.assert_array_equal(run.step(), path[k])
        assert (run.sigma == LEVELS[k]).all()
    assert run.done
    with pytest.raises(ArgumentError, match="done"):
        run.step()


def test_more_points_than_memory_holds_are_an_error() -> None:
    how: dict[str, Any] = {"sigma_range": (0.1, 5.0)}
    for call in (
        lambda: fm.score.sample(exact(), 2**39, **how),
        lambda: fm.score.langevin_gibbs(exact(), n_chains=2**39, **how),
    ):
        with pytest.raises(MemoryError):
            call()


def test_shapes_and_kinds_of_points() -> None:
    y0 = points(12)
    flat = fm.score.integrate(exact(), y0, LEVELS)
    cubes = fm.score.integrate(exact(), y0.reshape(12, 1, 2, 1), LEVELS)
    np.testing.assert_array_equal(cubes.reshape(12, 2), flat)
    np.testing.assert_array_equal(fm.score.integrate(exact(), y0.tolist(), LEVELS), flat)
    ints = fm.score.integrate(exact(), np.array([[1, 2]]), LEVELS)
    np.testing.assert_array_equal(ints, fm.score.integrate(exact(), [[1.0, 2.0]], LEVELS))
    model = Numbers()
    assert fm.score.integrate(model, np.empty((0, DIM)), LEVELS).shape == (0, DIM)
    assert fm.score.sample(model, 0, sigma_range=(0.1, 5.0)).draws.shape == (0, DIM)
    assert model.calls == 0


@pytest.mark.torch
def test_tensors_come_back_as_tensors() -> None:
    torch = pytest.importorskip("torch")
    y0 = points(12)
    for dtype, tolerance in ((torch.float64, 0.0), (torch.float32, 1e-6)):
        x = fm.score.integrate(exact(), torch.tensor(y0, dtype=dtype).reshape(12, 2, 1), LEVELS)
        assert x.dtype == dtype
        assert x.shape == (12, 2, 1)
        expected = fm.score.integrate(
            exact(), torch.tensor(y0, dtype=dtype).double().numpy(), LEVELS
        )
        np.testing.assert_allclose(
            x.numpy().reshape(12, 2), expected, rtol=tolerance, atol=tolerance
        )


@pytest.mark.torch
def test_samples_as_tensors() -> None:
    torch = pytest.importorskip("torch")
    how: dict[str, Any] = {"n_steps": 4, "sigma_range": (0.1, 20.0), "rng": 3}
    array = fm.score.sample(exact(), 12, **how).draws
    assert isinstance(array, np.ndarray)
    tensor = fm.score.sample(exact(), 12, as_tensor=True, **how).draws
    assert tensor.dtype == torch.float64
    np.testing.assert_array_equal(tensor.numpy(), array)

    class Half(torch.nn.Module):
        """E[x | y] of standard normal data, by a module with a parameter."""

        def __init__(self, dtype: Any) -> None:
            super().__init__()
            self.one = torch.nn.Parameter(torch.ones((), dtype=dtype))

        def forward(self, x: Any, s: Any) -> Any:
            return self.one * x / (1 + s**2)[:, None]

    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        model = fm.score.ScoreModel(Half(dtype), prediction="x0", dim=3)
        for wrapped in (model, fm.score.ScoreModel(model)):
            plain = fm.score.sample(wrapped, 12, **how).draws
            tensor = fm.score.sample(wrapped, 12, as_tensor=True, **how).draws
            assert isinstance(plain, np.ndarray)
            assert (tensor.dtype, tensor.device.type) == (dtype, "cpu")
            assert not tensor.requires_grad
            assert torch.equal(tensor, torch.from_numpy(plain).to(dtype))
    path = fm.score.sample(model, 5, as_tensor=True, return_trajectory=True, **how)
    assert path.trajectory.shape == (5, 5, 3)
    assert torch.equal(path.trajectory[-1], path.draws)
    looped = fm.score.ScoreModel(Half(torch.float32), prediction="x0", dim=3, on_device=True)
    assert fm.score.sample(looped, 5, as_tensor=True, **how).draws.dtype == torch.float32
    assert fm.score.sample(model, 0, as_tensor=True, **how).draws.shape == (0, 3)
    with pytest.raises(ArgumentError, match="as_tensor"):
        fm.score.sample(model, 5, as_tensor="yes", **how)


def test_tensors_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"fermiac\[torch\]"):
        fm.score.sample(exact(), 3, sigma_range=(0.1, 5.0), as_tensor=True)


def test_thresholds() -> None:
    y0 = points(50)
    held = fm.score.integrate(exact(), y0, LEVELS, threshold=0.5)
    assert np.abs(held).max() <= 0.5
    y = y0
    for s, t in itertools.pairwise(LEVELS):
        d = denoise(y, np.array([s]))
        q = np.maximum(np.quantile(np.abs(d), 0.7, axis=1, keepdims=True), 0.8)
        y = t / s * y + (1 - t / s) * np.clip(d, -q, q) * 0.8 / q
    ours = fm.score.integrate(
        exact(), y0, LEVELS, "euler", threshold=fm.score.Threshold(0.8, quantile=0.7)
    )
    np.testing.assert_allclose(ours, y, rtol=1e-12, atol=1e-13)


def test_draws_are_those_of_the_law() -> None:
    n = 20_000
    x = fm.score.sample(exact(), n, DIM, 60, "dpmpp_2m", sigma_range=(0.01, 80.0), rng=0).draws
    right = x[:, 0] > -0.6
    share = right.mean()
    assert abs(share - 0.7) < 5 * np.sqrt(0.21 / n) + 0.004
    error = 5 * np.sqrt(0.36 / right.sum()) + 0.01
    assert np.abs(x[right].mean(axis=0) - [1.0, -1.0]).max() < error
    same = fm.score.sample(
        exact(), n, n_steps=60, sigma_range=(0.01, 80.0), rng=0, plan=fm.Plan(n_threads=1)
    )
    np.testing.assert_array_equal(x, same)
    part = fm.score.sample(exact(), 10, n_steps=60, sigma_range=(0.01, 80.0), rng=0, first_row=100)
    np.testing.assert_array_equal(part, x[100:110])


def test_budgets_of_evaluations() -> None:
    for integrator, final, most in (
        ("heun", "zero", 11),
        ("heun", "min", 10),
        ("dpmpp_2m", "zero", 10),
    ):
        model = Numbers()
        fm.score.sample(
            model, 3, integrator=integrator, sigma_range=(0.1, 20.0), final=final, nfe_budget=11
        )
        # One more call judges the highest level.
        assert model.calls <= 12
        assert model.calls >= most
    with pytest.raises(ArgumentError, match="nfe_budget: 1 given; one step"):
        fm.score.sample(
            Numbers(), 3, integrator="heun", sigma_range=(0.1, 5.0), final="min", nfe_budget=1
        )


def test_schedules_by_name_function_and_array() -> None:
    def geometric(n: int, low: float, high: float) -> Array:
        return np.geomspace(high, low, n + 1)

    a = fm.score.sample(
        exact(), 5, n_steps=6, schedule=geometric, sigma_range=(0.1, 9.0), final="min", rng=0
    )
    b = fm.score.sample(
        exact(), 5, n_steps=6, schedule="exponential", sigma_range=(0.1, 9.0), final="min", rng=0
    )
    np.testing.assert_allclose(a, b, rtol=1e-12)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no model": ({"model": denoise}, r"model: function given; a score model"),
    "a level that rises": ({"sigmas": [4.0, 1.0, 2.0]}, r"sigmas.*2"),
    "a level twice": ({"sigmas": [4.0, 1.0, 1.0]}, r"sigmas.*2"),
    "a negative level": ({"sigmas": [4.0, 1.0, -1.0]}, r"sigmas.*2"),
    "zero before the end": ({"sigmas": [4.0, 0.0, 0.0]}, r"sigmas"),
    "an infinite level": ({"sigmas": [np.inf, 1.0]}, r"sigmas.*0"),
    "NaN among the levels": ({"sigmas": [4.0, np.nan]}, r"sigmas: NaN"),
    "a single level": ({"sigmas": [4.0]}, r"sigmas: shape \(1,\)"),
    "grids of other rows": ({"sigmas": np.tile(LEVELS, (3, 1))}, r"sigmas: shape \(3, 9\)"),
    "points without axes": ({"y0": [1.0, 2.0]}, r"y0"),
    "points of other size": ({"y0": [[1.0, 2.0, 3.0]]}, r"y0: shape \(1, 3\).*\(n, 2\)"),
    "NaN among the points": ({"y0": [[1.0, np.nan]]}, r"y0: NaN"),
    "an unknown integrator": ({"integrator": "rk5"}, r"integrator: 'rk5'.*dpmpp_2m"),
    "an unknown policy": ({"on_nan": "skip"}, r"on_nan: 'skip'"),
    "no threshold": ({"threshold": -1.0}, r"threshold"),
    "a bad quantile": (
        {"threshold": fm.score.Threshold(1.0, 1.5)},
        r"threshold: 1.5 was given; a quantile",
    ),
    "no callback": ({"callback": 3}, r"callback: 3"),
    "a negative row": ({"first_row": -1}, r"first_row"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    change, text = REFUSED[case]
    given = {"model": exact(), "y0": points(5), "sigmas": LEVELS, "integrator": "euler", **change}
    model, y0, sigmas = given.pop("model"), given.pop("y0"), given.pop("sigmas")
    with pytest.raises(ArgumentError, match=text):
        fm.score.integrate(model, y0, sigmas, **given)


def test_levels_beyond_the_range_of_a_model() -> None:
    model = Numbers()
    model.sigma_range = (0.1, 10.0)
    with pytest.raises(
        ArgumentError, match=r"20 lies outside of the model's range from 0\.1 to 10"
    ):
        fm.score.integrate(model, points(5), [20.0, 1.0])
    with pytest.raises(ArgumentError, match=r"0\.01 lies outside"):
        model.score(points(5), 0.01)
    fm.score.integrate(model, points(5), [10.0, 0.1, 0.0])
    model.clamp = True
    with pytest.warns(fm.errors.FermiacWarning, match="moved to its end"):
        np.testing.assert_array_equal(
            model.denoise(points(5), 20.0), model.denoise(points(5), 10.0)
        )


def test_models_survive_pickling() -> None:
    y0 = points(5)
    again = pickle.loads(pickle.dumps(exact()))
    np.testing.assert_array_equal(again.score(y0, 0.5), exact().score(y0, 0.5))


@pytest.mark.parametrize("name", ["rk45", "dop853"])
@pytest.mark.parametrize("form", [exact, Numbers], ids=["rust", "numpy"])
def test_steps_of_their_own(tmp_path: Path, name: str, form: Any) -> None:
    y0 = points(40)
    fine = fm.score.integrate(form(), y0, fm.score.karras(2000, 0.05, 8.0), "dpmpp_3s")
    ends = [8.0, 0.05]
    np.testing.assert_allclose(
        fm.score.integrate(form(), y0, ends, name), fine, rtol=1e-4, atol=1e-4
    )
    tight = fm.score.Adaptive(rtol=1e-11, atol=1e-12)
    path = fm.score.integrate(form(), y0, [8.0, 2.0, 0.05, 0.0], tight, return_trajectory=True)
    np.testing.assert_allclose(path[2], fine, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(path[3], denoise(path[2], np.array([0.05])), rtol=1e-12)
    kept = fm.Plan(store=tmp_path)
    whole = fm.score.integrate(form(), y0, ends, name)
    with pytest.raises(KeyboardInterrupt) as caught:
        fm.score.integrate(Numbers(stop_at=30), y0, ends, name, plan=kept)
    assert caught.value.partial_result.sigma.max() <= 8.0  # type: ignore[attr-defined]
    if form is Numbers:
        again = fm.score.integrate(Numbers(), y0, ends, name, plan=kept)
        np.testing.assert_array_equal(again, whole)
    for bad in ({"threshold": 1.0}, {"brownian": True}, {"on_nan": "ignore"}, {"callback": print}):
        with pytest.raises(ArgumentError, match="fixed grid"):
            fm.score.integrate(form(), y0, ends, name, **bad)
    with pytest.raises(ArgumentError, match="fixed grid"):
        fm.score.stepper(form(), y0, ends, name)


@pytest.mark.parametrize("name", ["euler_maruyama", "dpmpp_2s_ancestral", "dpmpp_sde"])
def test_brownian_paths_are_shared_by_grids(name: str) -> None:
    """A grid that refines another sees the same noise: both end close together."""
    y0 = points(200)
    coarse = np.geomspace(8.0, 0.05, 201)
    fine = np.geomspace(8.0, 0.05, 401)
    np.testing.assert_allclose(fine[::2], coarse, rtol=1e-12)

    def end(levels: Array, paths: bool) -> Array:
        x: Array = fm.score.integrate(exact(), y0, levels, name, rng=3, brownian=paths)
        return x

    apart = np.linalg.norm(end(coarse, False) - end(fine, False), axis=1)
    close = np.linalg.norm(end(coarse, True) - end(fine, True), axis=1)
    assert np.median(close) < 0.1 * np.median(apart)
    np.testing.assert_array_equal(
        end(coarse, True),
        np.concatenate(
            [
                fm.score.integrate(
                    exact(), y0[a:b], coarse, name, rng=3, brownian=True, first_row=a
                )
                for a, b in ((0, 3), (3, 200))
            ]
        ),
    )


def test_levels_that_are_all_but_equal_are_refused() -> None:
    close = [5.0, 5.0 * (1 - 2e-16), 1.0, 0.5, 0.2]
    with pytest.raises(ArgumentError, match=r"sigmas: .*no finite coefficients.*index 0"):
        fm.score.integrate(exact(), points(3), close, "deis_log_ab3")
    with pytest.raises(ArgumentError, match=r"sigmas: row 1, .*no finite coefficients"):
        fm.score.integrate(exact(), points(2), [[5.0, 3.0, 1.0, 0.5, 0.2], close], "deis_log_ab3")


@pytest.mark.parametrize("dim", [1, 16])
def test_langevin_steps_keep_the_law(dim: int) -> None:
    """By their level; lengths that depend on the row would let the variance grow."""
    n, model = 20_000, fm.score.Gaussian(np.zeros(dim), 1.0)
    y0 = np.sqrt(101.0) * np.random.default_rng(0).standard_normal((n, dim))
    x = fm.score.integrate(
        model,
        y0,
        fm.score.karras(100, 0.05, 10.0),
        fm.score.Euler(langevin=fm.score.Langevin()),
        rng=0,
    )
    assert abs(x.var() - 1.0025) < 5 * np.sqrt(2 / (n * dim)) + 0.01


def test_numbers_that_are_not_finite() -> None:
    y0 = points(10)
    with pytest.raises(TargetError, match=r"row 3.*coordinate 1 at sigma") as caught:
        fm.score.integrate(Broken(), y0, LEVELS)
    reached = caught.value.partial_result  # type: ignore[attr-defined]
    first = int(np.argmax(LEVELS < 1.0))
    assert f"step {first + 1}," in str(caught.value)
    assert (reached.sigma == LEVELS[first]).all()
    good = fm.score.integrate(Numbers(), y0, LEVELS, return_trajectory=True)
    np.testing.assert_array_equal(reached.y, good[first])
    with pytest.warns(FermiacWarning, match="1 of 10 rows were frozen"):
        frozen = fm.score.integrate(Broken(), y0, LEVELS, on_nan="freeze")
    with pytest.warns(FermiacWarning, match="1 of 10 rows were frozen"):
        told = fm.score.integrate(
            Broken(), y0, LEVELS, on_nan="freeze", callback=lambda *given: None
        )
    np.testing.assert_array_equal(told, frozen)
    rest = np.arange(10) != 3
    np.testing.assert_array_equal(frozen[rest], good[-1][rest])
    np.testing.assert_array_equal(frozen[3], good[first][3])
    assert np.isnan(fm.score.integrate(Broken(), y0, LEVELS, on_nan="ignore")[3]).any()


def test_frozen_rows_say_where_they_stand() -> None:
    y0 = points(10)
    how: dict[str, Any] = {"on_nan": "freeze", "return_trajectory": True}
    with pytest.warns(FermiacWarning, match="1 of 10 rows were frozen"):
        path = fm.score.integrate(Broken(), y0, LEVELS, "heun", **how)
    assert np.isfinite(path).all()
    run = fm.score.stepper(Broken(), y0, LEVELS, "heun", on_nan="freeze")
    run.run()
    still = LEVELS[int(np.argmax((path[:, 3] == path[-1, 3]).all(axis=1)))]
    np.testing.assert_array_equal(run.sigma, np.where(np.arange(10) == 3, still, 0.0))


@pytest.mark.filterwarnings("ignore:.*were frozen")
def test_adaptive_rows_that_freeze_stay_at_all_levels_below() -> None:
    y0 = points(10)

    class Row(Broken):
        """Rows by their place, wherever they are in a batch."""

        def _denoise(self, y: Array, sigma: Array) -> Array:
            out = Numbers._denoise(self, y, sigma)
            out[(y[:, 0] > 0) & (np.broadcast_to(sigma, len(y)) < 1.0)] = np.nan
            return out

    with pytest.warns(FermiacWarning, match="of 10 rows were frozen"):
        path = fm.score.integrate(
            Row(), y0, LEVELS, "rk45", on_nan="freeze", return_trajectory=True
        )
    with pytest.warns(FermiacWarning, match="of 10 rows were frozen"):
        last = fm.score.integrate(Row(), y0, LEVELS, "rk45", on_nan="freeze")
    assert np.isfinite(path).all()
    np.testing.assert_array_equal(path[-1], last)


def test_norms_of_the_batch_are_those_of_the_rows_that_move() -> None:
    how = fm.score.Euler(langevin=fm.score.Langevin(norm="batch"))

    class Half(Numbers):
        def _denoise(self, y: Array, sigma: Array) -> Array:
            out = super()._denoise(y, sigma)
            out[len(y) // 2 :] = np.nan
            return out

    y0 = points(20)
    alone = fm.score.integrate(Numbers(), y0[:10], LEVELS, how, rng=1)
    with pytest.warns(FermiacWarning, match="10 of 20 rows were frozen"):
        beside = fm.score.integrate(Half(), y0, LEVELS, how, rng=1, on_nan="freeze")
    np.testing.assert_allclose(beside[:10], alone, rtol=1e-12)
    np.testing.assert_array_equal(beside[10:], y0[10:])


def test_ctrl_c_ends_a_run_in_rust(tmp_path: Path) -> None:
    model = fm.score.Empirical(np.random.default_rng(0).standard_normal((20_000, 16)))
    y0 = 5.0 * np.random.default_rng(1).standard_normal((2000, 16))
    grid = fm.score.karras(500, 0.01, 5.0)
    seen: list[int] = []
    with ctrl_c(lambda: seen, "a report"), pytest.raises(KeyboardInterrupt) as caught:
        fm.score.integrate(
            model,
            y0,
            grid,
            plan=fm.Plan(n_threads=2, progress=lambda done, total: seen.append(done)),
        )
    reached = caught.value.partial_result  # type: ignore[attr-defined]
    assert reached.y.shape == y0.shape
    assert np.isin(reached.sigma, grid).all()
