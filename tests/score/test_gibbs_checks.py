"""The check of the steps that denoise, and level weights."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError, FermiacWarning

# What chains of this length say of themselves.
pytestmark = pytest.mark.filterwarnings("ignore:(the effective|R-hat|the chains)")

MODES = fm.score.GaussianMixture([0.3, 0.7], [[-2.0], [2.0]], [0.1, 0.1])
SQUARE = 4.1
HOW: dict[str, Any] = {"sigma_range": (0.02, 10.0), "n_chains": 512, "rng": 0}


@pytest.mark.parametrize("denoiser", ["dpmpp_2m", "dpmpp_2m_sde"])
def test_few_steps_are_told(denoiser: str) -> None:
    with pytest.warns(FermiacWarning, match=r"denoiser: twice the steps.*x\[0\]².*n_denoise"):
        r = fm.score.langevin_gibbs(MODES, n_denoise=5, denoiser=denoiser, **HOW)
    e = r.expect(lambda x: x**2)
    assert abs(e.mean[0] - SQUARE) > 5 * e.stderr[0]
    assert r.is_biased
    assert r.bias[0].startswith("denoiser")


@pytest.mark.parametrize("seed", range(3))
def test_the_default_is_within_its_errors(seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "the (chains|effective)")
        r = fm.score.langevin_gibbs(MODES, **(HOW | {"rng": seed}))
    assert not r.is_biased
    e = r.expect(lambda x: x**2)
    assert abs(e.mean[0] - SQUARE) < 4 * e.stderr[0]


def test_names_and_coordinates_without_error() -> None:
    with pytest.warns(FermiacWarning, match=r"the average of b²"):
        fm.score.langevin_gibbs(
            fm.score.GaussianMixture([0.3, 0.7], [[0.0, -2.0], [0.0, 2.0]], [0.1, 0.1]),
            n_denoise=4,
            denoiser="dpmpp_2m",
            names=["a", "b"],
            **HOW,
        )


class Classifier:
    """Exact logits of its own levels, rising."""

    levels = np.geomspace(0.05, 10.0, 12)

    def __call__(self, x: Any) -> Any:
        return MODES.level_log_density(x, self.levels)


def test_weights_follow_the_levels_that_were_given() -> None:
    given = Classifier.levels[::-1]
    weights = np.arange(1.0, 13.0)
    how = HOW | {"level_weights": weights, "n_draws": 40, "n_denoise": 1}
    del how["sigma_range"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FermiacWarning)
        exact = fm.score.langevin_gibbs(MODES, levels=given, **how)
        r = fm.score.langevin_gibbs(MODES, levels=given, noise_predictor=Classifier(), **how)
    np.testing.assert_allclose(r.level_weights, weights / weights.sum())
    np.testing.assert_allclose(r.level_weights, exact.level_weights)
    shares = r.level_histogram().shares
    assert np.abs(shares - weights / weights.sum()).max() < 0.03


def test_weights_need_a_law_over_the_levels() -> None:
    predictor = fm.score.LevelRegression(lambda x: np.zeros((len(x), 2)))
    with pytest.raises(ArgumentError, match="level_weights"):
        fm.score.langevin_gibbs(
            MODES, levels=[1.0, 0.5], level_weights=[1, 2], noise_predictor=predictor
        )
