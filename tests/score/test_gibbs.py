"""Denoising Langevin Gibbs: reproducible bits, states, predictors and failures."""

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
    points_of,
    posterior,
    same,
)

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning, TargetError
from fermiac.score import (
    LevelEstimate,
    LevelRegression,
    langevin_gibbs,
)

NOISY = fm.score.DPMSolver(2, eta=1.0)
# Short runs disagree on their levels, and few steps denoise them.
pytestmark = [
    pytest.mark.filterwarnings("ignore:the chains do not agree"),
    pytest.mark.filterwarnings("ignore:denoiser. twice the steps"),
]


@pytest.mark.parametrize("denoiser", ["dpmpp_2m", NOISY], ids=["2m", "sde"])
def test_threads_and_chains_beside_change_no_bit(denoiser):
    one = langevin_gibbs(EXACT, **HOW, denoiser=denoiser, plan=fm.Plan(n_threads=1))
    same(langevin_gibbs(EXACT, **HOW, denoiser=denoiser, plan=fm.Plan(n_threads=3)), one)
    few = langevin_gibbs(EXACT, **(HOW | {"n_chains": 5}), denoiser=denoiser)
    np.testing.assert_array_equal(few.draws, one.draws[:5])


@pytest.mark.parametrize("metropolis", [None, "exact", "score"])
@pytest.mark.parametrize("select", ["random", "min", "last"])
def test_a_function_gives_what_the_core_gives(metropolis, select):
    how = HOW | {"metropolis": metropolis, "select": select, "tweedie_step": 0.2}
    a, b = langevin_gibbs(EXACT, **how), langevin_gibbs(PLAIN, **how)
    np.testing.assert_allclose(a.draws, b.draws, rtol=1e-9, atol=1e-10)
    np.testing.assert_array_equal(a.stats["sigma"], b.stats["sigma"])


def test_states_that_are_denoised():
    how = HOW | {"n_draws": 40}
    least = langevin_gibbs(EXACT, **how, select="min")
    last = langevin_gibbs(EXACT, **how, select="last")
    any_ = langevin_gibbs(EXACT, **how, select="random")
    for r in (last, any_):
        np.testing.assert_array_equal(r.stats["log_sigma"], least.stats["log_sigma"])
        assert (least.stats["sigma"] <= r.stats["sigma"] * (1 + 1e-12)).all()
    # One of three states, each with the same probability.
    equal = (last.stats["sigma"] == any_.stats["sigma"]).mean()
    assert 1 / 3 - 0.05 < equal < 0.9
    assert set(np.unique(any_.stats["sigma"])) <= set(LEVELS)
    assert least.is_biased
    assert not any_.is_biased


def test_a_perfect_classifier_is_exact():
    exact = langevin_gibbs(PLAIN, **HOW)
    by = posterior(PLAIN, LEVELS)
    logits = langevin_gibbs(PLAIN, **HOW, noise_predictor=by)
    np.testing.assert_allclose(logits.draws, exact.draws, rtol=1e-9)
    # Constants of a row, and the order of the levels, do not matter.
    how = HOW | {"levels": LEVELS[::-1]}
    back = langevin_gibbs(PLAIN, **how, noise_predictor=lambda x: by(x)[:, ::-1] + x[:, :1])
    np.testing.assert_allclose(back.draws, exact.draws, rtol=1e-7)


def test_the_most_likely_level_is_no_draw():
    with pytest.warns(ConvergenceWarning, match="stuck at the lowest level"):
        r = langevin_gibbs(PLAIN, **HOW, level_draw="argmax", select="last")
    best = LEVELS[posterior(PLAIN, LEVELS)(points_of(r)).argmax(axis=1)]
    np.testing.assert_array_equal(r.stats["sigma"][:, -1], best)
    assert "levels" in r.bias[-1]


def test_levels_by_regression():
    def mean(x):
        return np.column_stack([0.1 * x[:, 0], np.zeros(len(x))])

    r = langevin_gibbs(PLAIN, **HOW, noise_predictor=LevelRegression(mean), select="last")
    np.testing.assert_allclose(r.stats["sigma"][:, -1], np.exp(0.1 * points_of(r)[:, 0]))
    r = langevin_gibbs(
        PLAIN, **HOW, noise_predictor=LevelRegression(mean, nearest=True), select="last"
    )
    assert set(np.unique(r.stats["sigma"])) <= set(LEVELS)

    def wide(x):
        return np.column_stack([np.full(len(x), 0.3), np.full(len(x), 0.5)])

    how = HOW | {"n_chains": 400, "n_draws": 20, "n_skip": 1, "n_denoise": 1}
    r = langevin_gibbs(PLAIN, **how, noise_predictor=LevelRegression(wide), metropolis=None)
    logs = np.log(r.stats["sigma"])
    assert abs(logs.mean() - 0.3) < 5 * 0.5 / np.sqrt(logs.size)
    assert abs(logs.std() - 0.5) < 5 * 0.5 / np.sqrt(2 * logs.size)
    with pytest.warns(ConvergenceWarning, match="stuck at the highest level"):
        r = langevin_gibbs(
            PLAIN, **HOW, noise_predictor=LevelRegression(lambda x: 9 + 0 * x[:, :2])
        )
    assert r.stats["sigma"].max() == LEVELS[0]
    with pytest.raises(TargetError, match="deviation"):
        langevin_gibbs(PLAIN, **HOW, noise_predictor=LevelRegression(lambda x: -1 + 0 * x[:, :2]))


def test_levels_from_the_denoised_point():
    how = HOW | {"n_chains": 5, "levels": [2.0, 1.0, 0.5], "select": "last"}
    for metropolis, more in (("score", 1), (None, 1)):
        m = Mixture(*PARTS, known=False)
        r = langevin_gibbs(
            m, **how, metropolis=metropolis, noise_predictor=LevelEstimate(nearest=True, force=True)
        )
        assert m.n_rows == r.n_evals
        assert r.calls["sweeps"] == 18 * (1 + more)
        assert r.calls["start"] == 21
        assert set(np.unique(r.stats["sigma"])) <= {2.0, 1.0, 0.5}
    with pytest.raises(ArgumentError, match="few to read the level"):
        langevin_gibbs(Mixture(*PARTS, known=False), **HOW)
    with pytest.raises(ArgumentError, match=r"relative error of about 0\.41"):
        langevin_gibbs(PLAIN, **HOW, noise_predictor="tweedie")
    r = langevin_gibbs(Point(256), sigma_range=(0.1, 5.0), n_chains=4, n_draws=2, rng=0)
    assert r.settings["predictor"] == "estimate"
    assert r.settings["metropolis"] is None


def test_models_and_classifiers_that_fail():
    class Fails(Mixture):
        def _denoise(self, y, sigma):
            out = super()._denoise(y, sigma)
            out[7, 1] = np.nan
            return out

    how = HOW | {"init": np.zeros((70, 3)), "sigma0": 1.0}
    with pytest.raises(TargetError, match=r"chain 7: .* coordinate 1"):
        langevin_gibbs(Fails(*PARTS), **how)
    with pytest.raises(TargetError, match=r"shape \(70, 2\)"):
        langevin_gibbs(PLAIN, **HOW, noise_predictor=lambda x: x[:, :2])
    with pytest.raises(TargetError, match="chain 0: the law of the level"):
        langevin_gibbs(PLAIN, **HOW, noise_predictor=lambda x: np.full((len(x), 15), np.nan))
    with pytest.raises(ZeroDivisionError):
        langevin_gibbs(PLAIN, **HOW, noise_predictor=lambda x: 1 // 0)
