"""Device loops as on a GPU, emulated on a CPU: single precision, device noise, late checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from score_networks import DIM, MEAN, VARIANCE, denoised, log_density, network

from fermiac.errors import TargetError
from fermiac.score import (
    LevelEstimate,
    LevelRegression,
    ScoreModel,
    integrate,
    karras,
    langevin_gibbs,
)

pytestmark = pytest.mark.torch
Array = NDArray[np.float64]

GRID = karras(12, 0.02, 12.0, final="zero")


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Torch, where a CPU is taken for a device of another kind."""
    library = pytest.importorskip("torch")
    from fermiac.score import device_gibbs, device_program
    from fermiac.score.noise import DeviceNoise
    from fermiac.score.torch_network import TorchNetwork

    def noise(net: Any, key: int, first: int, shape: tuple[int, int]) -> Any:
        return DeviceNoise(key, first, shape, library.device(net.device), net.accumulator)

    single = property(lambda self: self.dtype if self.dtype.itemsize == 8 else library.float32)
    monkeypatch.setattr(TorchNetwork, "accumulator", single)
    for module in (device_gibbs, device_program):
        monkeypatch.setattr(module, "noise_for", noise)
    plain = device_program.FiniteCheck.__init__

    def waits(self: Any, *given: Any) -> None:
        plain(self, *given)
        self._waits = True

    monkeypatch.setattr(device_program.FiniteCheck, "__init__", waits)
    return library


def exact(x: Any, s: Any) -> Any:
    assert x.dtype == s.dtype
    return denoised(x, s[:, None])


def model(torch: Any, f: Any = exact, prediction: str = "x0", kind: str = "ve", **more: Any) -> Any:
    return ScoreModel(f, prediction, kind, dtype=torch.float32, on_device=True, **more)


def starts(n: int = 500) -> Array:
    return 12.0 * np.random.default_rng(3).normal(size=(n, DIM))


@pytest.mark.parametrize("kind", ["ve", "vp", "edm", "flow"])
@pytest.mark.parametrize("rows", [False, True])
def test_points_in_single_precision(torch: Any, kind: str, rows: bool) -> None:
    grid = GRID * np.linspace(0.9, 1.1, 500)[:, None] if rows else GRID
    options = {"sigma_data": 0.6} if kind == "edm" else {}
    f = network("eps", kind, options)
    given = (0.001, 100.0)
    near = integrate(
        model(torch, f, "eps", kind, sigma_range=given, **options), starts(), grid, "heun"
    )
    far = integrate(ScoreModel(exact_arrays, "x0"), starts(), grid, "heun")
    np.testing.assert_allclose(near, far, rtol=2e-3, atol=2e-3)


def exact_arrays(x: Array, s: Array) -> Array:
    return denoised(x, s[:, None])


@pytest.mark.parametrize("name", ["ancestral", "dpmpp_2m_sde"])
def test_noise_is_made_ahead(torch: Any, name: str) -> None:
    whole = integrate(model(torch), starts(), GRID, name, rng=1)
    parts = [
        integrate(model(torch), starts()[at : at + 200], GRID, name, rng=1, first_row=at)
        for at in (0, 200, 400)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert np.abs(whole.mean(axis=0) - MEAN).max() < 5 * np.sqrt(VARIANCE / 500) + 0.05


def test_a_number_that_is_not_finite_is_named_later(torch: Any) -> None:
    def broken(x: Any, s: Any) -> Any:
        d = exact(x, s)
        if s[0] < 1.0:
            d[7] = float("nan")
        return d

    first = int(np.argmax(GRID < 1.0)) + 1
    with pytest.raises(TargetError, match=f"step {first}, row 7: function"):
        integrate(model(torch, broken), starts(20), GRID, "euler")
    with pytest.raises(TargetError, match="chain 7: function"):
        chains(torch, broken, n_chains=9, init=np.zeros((9, DIM)), sigma0=0.5)


def chains(torch: Any, f: Any = exact, **how: Any) -> Any:
    given = {"n_chains": 150, "n_draws": 20, "n_warmup": 10, "levels": 20, "n_denoise": 8}
    m = model(torch, f, sigma_range=(0.1, 10.0), log_density=log_density, dim=DIM)
    return langevin_gibbs(m, DIM, rng=5, **(given | how))


def regression(x: Array) -> Array:
    mean = 0.5 * np.log(((x - MEAN) ** 2).mean(axis=1))
    return np.stack([mean, np.full(len(x), 0.3)], axis=1)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"metropolis": "score", "select": "min", "tweedie_step": 0.1},
        {"noise_predictor": LevelEstimate(force=True), "select": "last"},
        {"noise_predictor": LevelRegression(regression, nearest=True)},
    ],
    ids=["exact", "score", "estimate", "regression"],
)
@pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")
def test_chains_in_single_precision(torch: Any, how: dict[str, Any]) -> None:
    found = chains(torch, **how)
    assert found.draws.dtype == np.float64
    assert np.isfinite(found.draws).all()
    assert found.level_counts.sum() == 150 * 20 * found.settings["n_skip"]
    means = found.draws.mean(axis=1)
    z = (means.mean(axis=0) - MEAN) / (means.std(axis=0) / np.sqrt(150))
    assert np.abs(z).max() < 5
