"""The executor in tensors against that of the core: integrators, noise, settings, failures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from score_networks import DIM, denoised

from fermiac import _core
from fermiac.errors import TargetError
from fermiac.score import ScoreModel

pytestmark = pytest.mark.torch
Array = NDArray[np.float64]

KEY = 11
GRID = np.array([12.0, 5.0, 2.0, 0.9, 0.4, 0.15, 0.05, 0.0])
LOW = ("low", False, None)
METHODS: list[Any] = [
    ("euler", {}),
    ("heun", {"churn": 0.0, "churn_range": (0.0, 1000000000.0), "churn_noise": 1.0}),
    ("heun", {"churn": 3.0, "churn_range": (0.1, 8.0), "churn_noise": 1.007}),
    ("midpoint", {}),
    ("runge_kutta", {"order": 3}),
    ("runge_kutta", {"order": 4}),
    ("single", {"order": 1}),
    ("single", {"order": 2}),
    ("single", {"order": 3}),
    ("multi", {"order": 2, "eta": 0.0, "sde": "midpoint", "variant": "published"}),
    ("multi", {"order": 3, "eta": 0.0, "sde": "midpoint", "variant": "corrected"}),
    ("multi", {"order": 2, "eta": 1.0, "sde": "midpoint", "variant": "published"}),
    ("multi", {"order": 2, "eta": 0.5, "sde": "heun", "variant": "published"}),
    ("multi", {"order": 3, "eta": 1.0, "sde": "midpoint", "variant": "published"}),
    ("ancestral", {"eta": 1.0}),
    ("single_ancestral", {"eta": 1.0}),
    ("single_sde", {"eta": 1.0}),
    ("single_sde", {"eta": 0.5}),
    ("euler_maruyama", {}),
    ("deis", {"degree": 2, "variable": "sigma", "beta_range": (0.1, 20.0)}),
    ("deis", {"degree": 3, "variable": "log", "beta_range": (0.1, 20.0)}),
    ("deis", {"degree": 1, "variable": "vp_t", "beta_range": (0.1, 20.0)}),
    ("ghvb", {"order": 4, "beta": 0.5}),
    ("heavy_ball", {"order": 2, "beta": 0.8}),
    ("unipc", {"order": 2, "form": "bh2", "corrector": True}),
    ("unipc", {"order": 3, "form": "bh1", "corrector": True}),
    ("unipc", {"order": 3, "form": "bh2", "corrector": False}),
]
IDS = ["-".join([name, *map(str, settings.values())]) for name, settings in METHODS]


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def exact(x: Any, s: Any) -> Any:
    return denoised(x, s[:, None])


def model(network: Any = exact, **more: Any) -> ScoreModel:
    return ScoreModel(network, "x0", dim=DIM, device="cpu", on_device=True, **more)


def starts(n: int = 9) -> Array:
    return 12.0 * np.random.default_rng(3).normal(size=(n, DIM))


def grids(n: int = 9) -> Array:
    """A grid of its own for every row."""
    return GRID * np.linspace(0.7, 1.3, n)[:, None]


def settings(**more: Any) -> dict[str, Any]:
    return {
        "key": KEY,
        "first": 5,
        "threshold": None,
        "on_nan": "raise",
        "langevin": (0.16, "level"),
        "brownian": None,
    } | more


def both(
    method: Any,
    grid: Array,
    y0: Array | None = None,
    options: Any = LOW,
    m: Any = None,
    **more: Any,
) -> tuple[Array, Array]:
    """Paths (N + 1, n, d) by the core and by tensors."""
    import torch

    from fermiac.score.device_program import Rules, noise_for, run_program

    given, y0 = settings(**more), starts() if y0 is None else y0
    m = model() if m is None else m
    program = _core.score_compile(method, options, grid)
    raw, error = _core.score_integrate(m._core(DIM), program, y0, given, True, 1)
    if error is not None:
        raise error
    assert raw is not None
    assert raw[2] is not None
    names = ("threshold", "on_nan", "langevin", "brownian", "key", "first")
    rules = Rules(**{name: given[name] for name in names})
    path, steps = [torch.tensor(y0)], []

    def after_step(step: int, at: int, y: Any) -> None:
        path.append(y)
        steps.append(step)

    noise = noise_for(m.network, KEY, 5, y0.shape)
    last = run_program(m.network, program, path[0], noise, rules, after_step=after_step)
    assert steps == list(range(1, grid.shape[-1]))
    assert last is path[-1]
    return raw[2].swapaxes(0, 1), torch.stack(path).numpy()


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_every_integrator_step_by_step(torch: Any, method: Any) -> None:
    for grid in (GRID, GRID[:-1], grids()):
        core, tensors = both(method, grid)
        np.testing.assert_allclose(tensors, core, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("options", [("rk", False, None), ("low", True, None), ("low", False, 2)])
def test_options_of_integrators(torch: Any, options: Any) -> None:
    for grid in (GRID, grids()):
        core, tensors = both(
            ("multi", {"order": 3, "eta": 0.0, "sde": "midpoint", "variant": "corrected"}),
            grid,
            options=options,
        )
        np.testing.assert_allclose(tensors, core, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("norm", ["level", "row", "batch"])
def test_langevin_steps(torch: Any, norm: str) -> None:
    how = {"options": ("low", False, 2), "langevin": (0.3, norm)}
    core, tensors = both(("euler", {}), GRID, **how)
    np.testing.assert_allclose(tensors, core, rtol=1e-11, atol=1e-11)
    other, _ = both(("euler", {}), GRID, options=("low", False, 2))
    assert not np.allclose(other, core)


def test_brownian_paths(torch: Any) -> None:
    for grid in (GRID, grids()):
        core, tensors = both(("euler_maruyama", {}), grid, brownian=(0.02, 20.0, 1e-5))
        np.testing.assert_allclose(tensors, core, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    "threshold", [("static", 1.5, 1.0), ("dynamic", 0.8, 0.9), ("dynamic", 0.8, 1.0)]
)
def test_thresholds(torch: Any, threshold: Any) -> None:
    core, tensors = both(
        ("multi", {"order": 2, "eta": 0.0, "sde": "midpoint", "variant": "published"}),
        GRID,
        threshold=threshold,
    )
    np.testing.assert_allclose(tensors, core, rtol=1e-11, atol=1e-11)
    free, _ = both(
        ("multi", {"order": 2, "eta": 0.0, "sde": "midpoint", "variant": "published"}), GRID
    )
    assert not np.allclose(free, core)


def broken(x: Any, s: Any) -> Any:
    """Gives NaN for points of row 3's kind from level 2 down, infinities for that of row 6."""
    d = exact(x, s)
    last = (x[:, 0].abs() > 900) & (s <= 2.0)
    d = d.clone()
    d[last, 1] = float("nan")
    first = (x[:, 0] < -900) & (s <= 2.0)
    d[first, 2] = float("inf")
    return d


def far() -> Array:
    y = starts()
    y[3, 0], y[6, 0] = 1e5, -1e5
    return y


@pytest.mark.parametrize("method", METHODS[::5], ids=IDS[::5])
@pytest.mark.parametrize("policy", ["freeze", "ignore"])
@pytest.mark.filterwarnings("ignore:.*were frozen")
def test_rows_that_are_not_finite(torch: Any, method: Any, policy: str) -> None:
    core, tensors = both(method, GRID, far(), m=model(broken), on_nan=policy)
    np.testing.assert_allclose(tensors, core, rtol=1e-11, atol=1e-11)
    assert np.isfinite(tensors).all() == (policy == "freeze")
    good = [i for i in range(9) if i not in (3, 6)]
    clean, _ = both(method, GRID, far())
    np.testing.assert_allclose(tensors[:, good], clean[:, good], rtol=1e-11, atol=1e-11)


def test_a_number_that_is_not_finite_is_named(torch: Any) -> None:
    from fermiac.score.device_program import Rules, noise_for, run_program

    m, y = model(broken), torch.tensor(far())
    noise = noise_for(m.network, KEY, 5, y.shape)
    told = r"step 3, row 3: function gave .* not finite at sigma = 2e0; "
    for grid in (GRID, np.tile(GRID, (9, 1))):
        program = _core.score_compile(("euler", {}), LOW, grid)
        with pytest.raises(TargetError, match=told):
            run_program(m.network, program, y, noise, Rules())


def test_levels_are_told_as_the_core_does() -> None:
    from fermiac.score.device_program import level_text

    levels = [50.0, 0.1, 157.4, 1.0, np.float32(0.1), 2.5e-300]
    assert [level_text(s) for s in levels] == ["5e1", "1e-1", "1.574e2", "1e0", "1e-1", "2.5e-300"]


@pytest.mark.parametrize("every", [1, 3, 100])
def test_devices_are_asked_now_and_then(
    torch: Any, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    from fermiac.score import device_program

    m, y = model(broken), torch.tensor(far())
    monkeypatch.setattr(device_program, "_CHECK_EVERY", every)
    program = _core.score_compile(("euler", {}), LOW, GRID)
    registers = device_program.Registers(program, y, None, device_program.Rules())
    policy = device_program._NanPolicy(m.network, registers, "raise")
    policy.check._waits = True
    calls = 0
    with pytest.raises(TargetError, match="step 3, row 3"):  # noqa: PT012
        for step, at in enumerate(op[3] for op in program.ops if op[0] == "denoise"):
            calls += 1
            level = torch.tensor(registers.levels(at)).expand(9)
            policy.applied(broken(y, level), y, step, at)
        policy.check.settle()
    assert calls == {1: 3, 3: 3, 100: 7}[every]


def test_batches_change_nothing(torch: Any) -> None:
    sizes: list[int] = []

    def counting(x: Any, s: Any) -> Any:
        sizes.append(len(x))
        return exact(x, s)

    for grid in (GRID, grids()):
        _, whole = both(
            ("multi", {"order": 2, "eta": 1.0, "sde": "midpoint", "variant": "published"}),
            grid,
            m=model(counting),
        )
        many = model(counting, max_batch=2)
        _, few = both(
            ("multi", {"order": 2, "eta": 1.0, "sde": "midpoint", "variant": "published"}),
            grid,
            m=many,
        )
        np.testing.assert_array_equal(few, whole)
    assert set(sizes) == {9, 2, 1}


def test_noise_of_a_device_has_the_law_of_the_core(torch: Any) -> None:
    from fermiac.score.device_program import Rules, run_program
    from fermiac.score.noise import DeviceNoise

    n = 4000
    y = torch.tensor(12.0 * np.random.default_rng(0).normal(size=(n, DIM)))
    program = _core.score_compile(
        ("multi", {"order": 2, "eta": 1.0, "sde": "midpoint", "variant": "published"}),
        LOW,
        np.geomspace(12, 0.05, 60),
    )
    noise = DeviceNoise(1, 0, (n, DIM), torch.device("cpu"), torch.float64)
    x = run_program(model().network, program, y, noise, Rules()).numpy()
    # The law of the data with the little noise that is left; the grid's own error is below 0.02.
    from score_networks import MEAN, VARIANCE

    variance = VARIANCE + 0.05**2
    assert np.abs(x.mean(axis=0) - MEAN).max() < 5 * np.sqrt(variance / n) + 0.02
    assert np.abs(x.var(axis=0) / variance - 1).max() < 5 * np.sqrt(2 / n) + 0.02
