"""Settings of denoising Langevin Gibbs: levels, predictors, and refused arguments."""

from __future__ import annotations

import numpy as np
import pytest
from score_gibbs_help import (
    EXACT,
    HOW,
    LEVELS,
    PARTS,
    PLAIN,
    Mixture,
    Point,
    posterior,
)

from fermiac.errors import ArgumentError, ConvergenceWarning
from fermiac.score import (
    LangevinStep,
    LevelRegression,
    OUStep,
    ScaledStep,
    langevin_gibbs,
)

# Short runs disagree on their levels, and few steps denoise them.
pytestmark = [
    pytest.mark.filterwarnings("ignore:the chains do not agree"),
    pytest.mark.filterwarnings("ignore:denoiser. twice the steps"),
]


def test_a_classifier_brings_its_levels():
    class Classifier:
        levels = LEVELS[np.random.default_rng(0).permutation(len(LEVELS))]

        def __call__(self, x):
            return posterior(PLAIN, self.levels)(x)

    how = {name: value for name, value in HOW.items() if name != "levels"}
    r = langevin_gibbs(PLAIN, **how, noise_predictor=Classifier())
    np.testing.assert_allclose(r.draws, langevin_gibbs(PLAIN, **HOW).draws, rtol=1e-9)
    with pytest.raises(ArgumentError, match="not those of the classifier"):
        langevin_gibbs(PLAIN, **how, levels=[1.0, 2.0], noise_predictor=Classifier())
    with pytest.raises(ArgumentError, match="levels: 20"):
        langevin_gibbs(PLAIN, **how, levels=20, noise_predictor=Classifier())


def test_what_is_wrong_with_levels_is_said():
    how = HOW | {"n_draws": 24, "n_denoise": 1, "levels": np.geomspace(1000, 0.01, 60)}
    with pytest.warns(ConvergenceWarning, match="levels drift"):
        langevin_gibbs(
            Point(300),
            **(how | {"n_warmup": 0}),
            step=ScaledStep(0.6),
            init=np.zeros((70, 300)),
            sigma0=0.5,
        )
    with pytest.warns(ConvergenceWarning, match="stuck at the highest level"):
        langevin_gibbs(Point(300), **(how | {"n_warmup": 200}), step=ScaledStep(1.5))
    with pytest.warns(ConvergenceWarning, match="stand still"):
        langevin_gibbs(
            EXACT,
            **(HOW | {"n_draws": 40, "levels": [0.1]}),
            step=LangevinStep(2000.0),
            init=np.tile([2.0, 1.0, 0.0], (70, 1)),
        )


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"model": 3}, "a score model is needed"),
        ({"n_chains": 0}, "n_chains: 0"),
        ({"n_draws": 0}, "n_draws: 0"),
        ({"n_skip": 0}, "n_skip: 0"),
        ({"n_denoise": 0}, "n_denoise: 0"),
        ({"levels": None, "model": PLAIN}, "sigma_range: not given"),
        ({"levels": [1.0, -1.0]}, "positive, finite levels"),
        ({"levels": [1.0, 1.0]}, "two of them are equal"),
        ({"sigma_range": (0.1, 2.0)}, "given with levels"),
        ({"level_weights": [1.0]}, r"\(15,\) is needed"),
        ({"level_weights": np.zeros(15)}, "all are 0"),
        ({"step": 0.3}, r"OUStep\(0.3\), ScaledStep\(0.1\) or LangevinStep\(0.1\)"),
        ({"warmup_step": "OU"}, r"warmup_step: 'OU' was given; did you mean 'ou'\?"),
        ({"metropolis": "yes"}, "metropolis"),
        ({"noise_predictor": "none"}, "noise_predictor"),
        ({"noise_predictor": 3.0}, "a callable that gives"),
        ({"level_draw": "mode"}, "level_draw"),
        ({"select": "max"}, "select"),
        ({"denoiser": "rk9"}, "^denoiser: 'rk9'"),
        ({"init_integrator": 3}, "^init_integrator: 3"),
        ({"tweedie_step": 0.0}, "tweedie_step"),
        ({"init": np.zeros((3, 3))}, "70 are needed"),
        ({"init": np.zeros((70, 2))}, "init"),
        ({"sigma0": 11.0}, "outside of the levels"),
        ({"sigma0": [1.0, 2.0]}, r"\(70,\)"),
        ({"init_noise": -1.0}, "init_noise"),
        ({"init_noise": np.zeros(3)}, "init_noise"),
        ({"names": ["a"]}, "names"),
        ({"dim": 4}, "dim"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_wrong_arguments(wrong, text):
    how = {"model": EXACT} | HOW | wrong
    with pytest.raises(ArgumentError, match=text):
        langevin_gibbs(**how)


def test_wrong_steps_and_unknown_densities():
    for bad in (0.0, 1.0, -0.1, np.nan, "c"):
        with pytest.raises(ArgumentError, match="c:"):
            OUStep(bad)
    with pytest.raises(ArgumentError, match="eta"):
        LangevinStep(0.0)
    with pytest.raises(ArgumentError, match="predict"):
        LevelRegression(3)
    unknown = Mixture(*PARTS, known=False)
    with pytest.raises(ArgumentError, match="metropolis: 'exact'"):
        langevin_gibbs(unknown, **HOW, metropolis="exact")
    with pytest.raises(ArgumentError, match="noise_predictor: 'exact'"):
        langevin_gibbs(unknown, **HOW, noise_predictor="exact")
