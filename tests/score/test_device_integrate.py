"""`integrate` and `sample` with networks whose loop runs in tensors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from score_networks import DIM, MEAN, VARIANCE, denoised, network

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError
from fermiac.score import (
    Langevin,
    PartialSolution,
    ScoreModel,
    Threshold,
    integrate,
    karras,
    sample,
)

pytestmark = pytest.mark.torch
Array = NDArray[np.float64]

GRID = karras(6, 0.05, 12.0, final="zero")


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def exact(x: Any, s: Any) -> Any:
    return denoised(x.reshape(len(x), -1), s[:, None]).reshape(x.shape)


def both(**more: Any) -> tuple[ScoreModel, ScoreModel]:
    """The same network, with its loop in the core and in tensors."""
    f = network("v", "vp", {})
    made = [
        ScoreModel(f, "v", "vp", (0.01, 40.0), device="cpu", on_device=where, **more)
        for where in (False, True)
    ]
    return made[0], made[1]


def starts(n: int = 7) -> Array:
    return 12.0 * np.random.default_rng(3).normal(size=(n, DIM))


@pytest.mark.parametrize("name", fm.score.integrators())
def test_every_integrator_gives_the_points_of_the_core(torch: Any, name: str) -> None:
    core, tensors = both()
    rows = GRID * np.linspace(0.8, 1.2, 7)[:, None]
    for grid in (GRID, rows):
        kept = [
            integrate(m, starts(), grid, name, rng=4, first_row=3, return_trajectory=True)
            for m in (core, tensors)
        ]
        np.testing.assert_allclose(kept[1], kept[0], rtol=1e-9, atol=1e-9)
        assert type(kept[1]) is np.ndarray
        assert kept[1].dtype == np.float64


@pytest.mark.parametrize(
    "options",
    [
        {"brownian": True},
        {"threshold": 1.5},
        {"threshold": Threshold(1.0, 0.9)},
        {"integrator": fm.score.Euler(langevin=Langevin(2, 0.2, "batch"))},
    ],
    ids=["brownian", "static", "dynamic", "langevin"],
)
def test_options_are_those_of_the_core(torch: Any, options: dict[str, Any]) -> None:
    given = {"integrator": "euler_maruyama", "rng": 2} | options
    kept = [integrate(m, starts(), GRID, **given) for m in both()]
    np.testing.assert_allclose(kept[1], kept[0], rtol=1e-9, atol=1e-9)


def test_tensors_come_back_as_they_went(torch: Any) -> None:
    model = ScoreModel(exact, "x0", device="cpu", on_device=True)
    images = torch.tensor(starts(), dtype=torch.float32).reshape(7, 1, 2, 2)
    given = images.clone()
    x = integrate(model, images, GRID, "dpmpp_2m", return_trajectory=True)
    assert x.shape == (len(GRID), 7, 1, 2, 2)
    assert x.dtype == torch.float32
    torch.testing.assert_close(images, given, rtol=0, atol=0)
    flat = ScoreModel(lambda x, s: exact(x, s), "x0", device="cpu", on_device=True)
    rows = integrate(flat, starts(), GRID, "dpmpp_2m")
    np.testing.assert_allclose(x[-1].reshape(7, 4), rows, rtol=1e-4, atol=1e-5)
    arrays = integrate(model, starts().reshape(7, 1, 2, 2), GRID, "dpmpp_2m")
    np.testing.assert_allclose(arrays.reshape(7, 4), rows, rtol=1e-12)


def test_the_network_sees_the_shape_of_the_points(torch: Any) -> None:
    shapes: set[Any] = set()

    def network(x: Any, s: Any) -> Any:
        shapes.add(tuple(x.shape[1:]))
        return exact(x, s)

    for where in (False, True):
        model = ScoreModel(network, "x0", device="cpu", on_device=where)
        integrate(model, starts().reshape(7, 1, 2, 2), GRID)
        assert shapes == {(1, 2, 2)}
        assert model.event_shape is None
    own = ScoreModel(network, "x0", device="cpu", event_shape=(2, 2, 1))
    with pytest.raises(ArgumentError, match=r"the model's have shape \(2, 2, 1\)"):
        integrate(own, starts().reshape(7, 1, 2, 2), GRID)


def test_callbacks_are_told_of_every_step(torch: Any) -> None:
    told: list[list[Any]] = [[], []]
    for m, kept in zip(both(), told, strict=True):

        def callback(step: int, sigma: float, y: Any, kept: list[Any] = kept) -> None:
            kept.append((step, sigma, y.copy()))
            y[:] = 0.0

        integrate(m, starts(), GRID, callback=callback)
    for ours, core in zip(told[1], told[0], strict=True):
        assert ours[:2] == core[:2]
        np.testing.assert_allclose(ours[2], core[2], rtol=1e-9)


def test_a_stopped_call_leaves_what_it_reached(torch: Any) -> None:
    calls = 0

    def stops(x: Any, s: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return exact(x, s)

    model = ScoreModel(stops, "x0", device="cpu", on_device=True)
    with pytest.raises(KeyboardInterrupt) as caught:
        integrate(model, starts(), GRID, "euler")
    reached = caught.value.partial_result  # type: ignore[attr-defined]
    assert isinstance(reached, PartialSolution)
    np.testing.assert_array_equal(reached.sigma, np.full(7, GRID[3]))
    clean = ScoreModel(exact, "x0", device="cpu", on_device=True)
    path = integrate(clean, starts(), GRID, "euler", return_trajectory=True)
    np.testing.assert_array_equal(reached.y, path[3])


def test_what_is_refused(torch: Any) -> None:
    model = both()[1]
    with pytest.raises(TargetError, match="step 1, row 0"):
        integrate(
            ScoreModel(lambda x, s: x * float("nan"), device="cpu", on_device=True), starts(), GRID
        )
    bad = starts()
    bad[2, 1] = np.nan
    with pytest.raises(ArgumentError, match=r"y0: (NaN|nan) was given"):
        integrate(model, bad, GRID)
    with pytest.raises(ArgumentError, match=r"y0: shape \(7, 4\) was given; \(n, 3\)"):
        integrate(ScoreModel(exact, "x0", dim=3, device="cpu", on_device=True), starts(), GRID)
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(ArgumentError, match="whole loop runs on its device"),
    ):
        integrate(model, starts(), GRID, plan=pool)
    assert integrate(model, starts(0), GRID).shape == (0, DIM)
    assert integrate(model, starts(0), GRID, return_trajectory=True).shape == (7 + 0, 0, DIM)


def test_samples_are_tensors_with_the_law_of_the_data(torch: Any) -> None:
    core, model = both(dim=DIM)
    x = sample(model, 3000, n_steps=20, rng=1).draws
    assert isinstance(x, torch.Tensor)
    assert x.dtype == torch.float64
    np.testing.assert_allclose(x, sample(core, 3000, n_steps=20, rng=1).draws, rtol=1e-8, atol=1e-8)
    assert np.abs(x.numpy().mean(axis=0) - MEAN).max() < 5 * np.sqrt(VARIANCE / 3000) + 0.03
    shaped = ScoreModel(exact, "x0", sigma_range=(0.02, 40.0), event_shape=(2, 2), device="cpu")
    assert sample(shaped, 3, rng=0).draws.shape == (3, 2, 2)


def test_progress_is_told(torch: Any) -> None:
    told: list[tuple[int, int]] = []
    plan = fm.Plan(progress=lambda done, total: told.append((done, total)))
    integrate(both()[1], starts(), GRID, plan=plan)
    assert told[-1] == (42, 42)
    assert told == sorted(told)


@pytest.mark.parametrize("on_device", [True, False])
def test_frozen_rows_are_told_of(torch: Any, on_device: bool) -> None:
    def broken(x: Any, s: Any) -> Any:
        out = exact(x, s)
        out[2:4] = np.nan
        return out

    model = ScoreModel(broken, "x0", dtype=torch.float64, on_device=on_device)
    with pytest.warns(fm.errors.FermiacWarning, match="2 of 7 rows were frozen"):
        found = integrate(model, starts(), karras(4, 0.1, 5.0), on_nan="freeze")
    np.testing.assert_array_equal(found[2:4], starts()[2:4])
