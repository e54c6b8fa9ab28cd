"""Denoising Langevin Gibbs in tensors: the chains of the core, and their law."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from score_networks import DIM, MEAN, VARIANCE, denoised, log_density

from fermiac.errors import TargetError
from fermiac.score import (
    LangevinStep,
    LevelEstimate,
    LevelRegression,
    OUStep,
    ScaledStep,
    ScoreModel,
    langevin_gibbs,
)

pytestmark = pytest.mark.torch
Array = NDArray[np.float64]

RANGE = (0.1, 10.0)


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def exact(x: Any, s: Any) -> Any:
    return denoised(x, s[:, None])


def both(network: Any = exact, **more: Any) -> list[ScoreModel]:
    """The same network, with its chains in the core and in tensors."""
    given = {"sigma_range": RANGE, "log_density": log_density, "dim": DIM} | more
    return [
        ScoreModel(network, "x0", device="cpu", on_device=where, **given) for where in (False, True)
    ]


def logits(x: Array) -> Array:
    """The law of the level given a point, for 12 levels."""
    levels = np.geomspace(RANGE[1], RANGE[0], 12)
    return np.stack([log_density(x, np.full(len(x), s)) for s in levels], axis=1)


def regression(x: Array) -> Array:
    mean = 0.5 * np.log(((x - MEAN) ** 2).mean(axis=1))
    return np.stack([mean, np.full(len(x), 0.3)], axis=1)


CASES: dict[str, dict[str, Any]] = {
    "exact": {},
    "uncorrected": {"metropolis": None},
    "score": {"metropolis": "score", "step": ScaledStep(0.4)},
    "langevin": {"step": LangevinStep(0.05), "warmup_step": OUStep(0.6), "levels": 30},
    "argmax": {"level_draw": "argmax"},
    "weights": {"levels": 3, "level_weights": [1.0, 0.0, 2.0]},
    "logits": {"noise_predictor": logits, "levels": 12, "metropolis": None},
    "regression": {"noise_predictor": LevelRegression(regression), "metropolis": "score"},
    "nearest": {"noise_predictor": LevelRegression(regression, nearest=True), "levels": 9},
    "estimate": {"noise_predictor": LevelEstimate(force=True), "metropolis": None},
    "estimate-corrected": {"noise_predictor": LevelEstimate(nearest=True, force=True)},
    "least": {"select": "min", "denoiser": "dpmpp_2m_sde"},
    "last": {"select": "last", "tweedie_step": 0.1, "denoiser": "heun"},
    "one-step": {"n_denoise": 1, "n_skip": 1, "n_warmup": 0},
    "given": {"init": np.arange(20.0).reshape(5, 4) / 10, "sigma0": 2.0},
    "noisy-start": {"init_integrator": "ancestral", "init_noise": 0.9, "n_init": 5},
}


@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")
def test_chains_are_those_of_the_core(torch: Any, case: str) -> None:
    how: dict[str, Any] = {"n_chains": 5, "n_draws": 6, "n_warmup": 4, "levels": 25} | CASES[case]
    core, tensors = (langevin_gibbs(m, DIM, rng=3, **how) for m in both())
    np.testing.assert_allclose(tensors.draws, core.draws, rtol=1e-10, atol=1e-10)
    assert set(tensors.stats) == set(core.stats)
    for name in core.stats:
        np.testing.assert_allclose(tensors.stats[name], core.stats[name], rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(tensors.level_counts, core.level_counts)
    np.testing.assert_array_equal(tensors.passages, core.passages)
    assert dict(tensors.calls) == dict(core.calls)


@pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")
def test_chains_go_on_where_they_stood(torch: Any) -> None:
    model = both()[1]
    whole = langevin_gibbs(model, DIM, n_chains=4, n_draws=9, n_warmup=3, rng=1)
    part = langevin_gibbs(model, DIM, n_chains=4, n_draws=4, n_warmup=3, rng=1).extend(5)
    np.testing.assert_array_equal(part.draws, whole.draws)
    np.testing.assert_array_equal(part.level_counts, whole.level_counts)
    np.testing.assert_array_equal(part.passages, whole.passages)


@pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")
def test_batches_change_nothing(torch: Any) -> None:
    how: dict[str, Any] = {"n_chains": 5, "n_draws": 3, "n_warmup": 2, "rng": 0}
    few, many = (langevin_gibbs(both(max_batch=size)[1], DIM, **how) for size in (2, 4096))
    np.testing.assert_array_equal(few.draws, many.draws)


def test_predictors_may_take_tensors(torch: Any) -> None:
    from fermiac.score.device_gibbs import LevelDraw

    class Settings:
        levels = np.array([4.0, 2.0, 1.0])
        log_prior = np.zeros(3)
        predictor = "logits"
        argmax = True

        @staticmethod
        def predict_tensor(x: Any) -> Any:
            assert isinstance(x, torch.Tensor)
            return x[:, :3].float()

    from fermiac.score.device_program import FiniteCheck

    watch = FiniteCheck(2, torch.device("cpu"))
    draw = LevelDraw(both()[1], Settings(), torch.tensor(Settings.levels), watch)  # type: ignore[arg-type]
    x = torch.tensor([[0.0, 3.0, 1.0, 9.0], [0.0, 3.0, 7.0, 9.0]])
    sigma = draw.draw(x, None, None, torch.tensor([0.5, 0.5]), lambda x, s: x)
    assert sigma.tolist() == [2.0, 1.0]


def test_points_that_are_not_finite_are_named(torch: Any) -> None:
    def broken(x: Any, s: Any) -> Any:
        d = exact(x, s)
        d[3, 1] = float("nan")
        return d

    how: dict[str, Any] = {"n_chains": 5, "n_draws": 2, "n_warmup": 2, "init": np.zeros((5, DIM))}
    how |= {"rng": 0}
    with pytest.raises(TargetError, match=r"chain 3: function gave a .* finite at sigma = 1e0; if"):
        langevin_gibbs(both(broken)[1], DIM, sigma0=1.0, **how)
    for given, told in (
        (np.full((5, 4), np.nan), "chain 0: the law of the level"),
        (np.zeros((5, 3)), "of shape"),
    ):
        with pytest.raises(TargetError, match=told):
            langevin_gibbs(
                both()[1], DIM, noise_predictor=lambda x, given=given: given, levels=4, **how
            )


@pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")
def test_noise_of_a_device_gives_the_same_law(torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from fermiac.score import device_gibbs
    from fermiac.score.noise import DeviceNoise

    def made(network: Any, key: int, first: int, shape: tuple[int, int]) -> Any:
        return DeviceNoise(key, first, shape, torch.device("cpu"), network.accumulator)

    monkeypatch.setattr(device_gibbs, "noise_for", made)
    found = langevin_gibbs(
        both()[1], DIM, n_chains=200, n_draws=40, n_warmup=20, levels=20, n_denoise=8, rng=5
    )
    spread = np.sqrt(VARIANCE)
    z = (found.draws.mean(axis=1) - MEAN).mean(axis=0) / (
        found.draws.mean(axis=1).std(axis=0) / np.sqrt(200)
    )
    assert np.abs(z).max() < 5
    assert np.abs(found.draws.std(axis=(0, 1)) / spread - 1).max() < 0.05
    # Levels have the law that they are given, each as likely as the other.
    logs = found.stats["log_sigma"].mean(axis=1)
    needed = np.log(np.geomspace(*RANGE, 20)).mean()
    assert abs(logs.mean() - needed) < 5 * logs.std() / np.sqrt(200)
