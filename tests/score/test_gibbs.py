"""Chains over noise levels: bits that stay, predictors, resumes, results, errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from score_gibbs_help import Mixture, Point, points_of, posterior

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError, ConvergenceWarning, TargetError
from fermiac.score import (
    LangevinStep,
    LevelEstimate,
    LevelRegression,
    OUStep,
    ScaledStep,
    langevin_gibbs,
)

PARTS = ([0.3, 0.7], [[-2.0, 0.0, 1.0], [2.0, 1.0, 0.0]], [0.2, 0.1])
EXACT, PLAIN = fm.score.GaussianMixture(*PARTS), Mixture(*PARTS)
LEVELS = np.geomspace(10.0, 0.1, 15)
HOW = {"levels": LEVELS, "n_chains": 70, "n_draws": 6, "n_warmup": 8, "n_skip": 3, "rng": 17}
NOISY = fm.score.DPMSolver(2, eta=1.0)
# Short runs disagree on their levels, and few steps denoise them.
pytestmark = [
    pytest.mark.filterwarnings("ignore:the chains do not agree"),
    pytest.mark.filterwarnings("ignore:denoiser. twice the steps"),
]


def same(a, b):
    np.testing.assert_array_equal(a.draws, b.draws)
    for name in a.stats:
        np.testing.assert_array_equal(a.stats[name], b.stats[name])
    np.testing.assert_array_equal(a.level_counts, b.level_counts)
    np.testing.assert_array_equal(a.passages, b.passages)
    assert a.calls == b.calls
    assert a.n_evals == b.n_evals


@pytest.mark.parametrize("denoiser", ["dpmpp_2m", NOISY], ids=["2m", "sde"])
def test_threads_and_chains_beside_change_no_bit(denoiser):
    one = langevin_gibbs(EXACT, **HOW, denoiser=denoiser, n_threads=1)
    same(langevin_gibbs(EXACT, **HOW, denoiser=denoiser, n_threads=3), one)
    few = langevin_gibbs(EXACT, **(HOW | {"n_chains": 5}), denoiser=denoiser)
    np.testing.assert_array_equal(few.draws, one.draws[:5])


@pytest.mark.parametrize("metropolis", [None, "exact", "score"])
@pytest.mark.parametrize("select", ["random", "min", "last"])
def test_a_function_gives_what_the_core_gives(metropolis, select):
    how = HOW | {"metropolis": metropolis, "select": select, "tweedie_step": 0.2}
    a, b = langevin_gibbs(EXACT, **how), langevin_gibbs(PLAIN, **how)
    np.testing.assert_allclose(a.draws, b.draws, rtol=1e-9, atol=1e-10)
    np.testing.assert_array_equal(a.stats["sigma"], b.stats["sigma"])


def test_calls_are_counted():
    m = Mixture(*PARTS)
    r = langevin_gibbs(m, **HOW, metropolis="exact", n_denoise=4, tweedie_step=0.2)
    assert r.calls == {"start": 20, "warmup": 16, "sweeps": 36, "denoise": 30}
    # The check of the denoiser asks a few more.
    assert r.n_evals == 70 * 102 < m.n_rows < 70 * 110
    assert r.calls_per_draw == 11
    assert r.calls_per_draw_in_all == 17
    r = langevin_gibbs(m, **HOW, metropolis=None, init=np.zeros((70, 3)), sigma0=0.5, n_denoise=5)
    assert r.calls == {"start": 0, "warmup": 8, "sweeps": 18, "denoise": 30}


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


def test_runs_that_were_killed_go_on_with_the_same_bits(tmp_path):
    whole = langevin_gibbs(EXACT, **(HOW | {"n_draws": 12}))
    path = tmp_path / "run"
    langevin_gibbs(EXACT, **(HOW | {"n_draws": 5}), checkpoint=path)
    longer = HOW | {"n_draws": 12, "rng": None}
    same(langevin_gibbs(EXACT, **longer, checkpoint=path), whole)
    same(langevin_gibbs(EXACT, **longer, checkpoint=path), whole)
    with pytest.raises(CheckpointError, match="more than the 3"):
        langevin_gibbs(EXACT, **(longer | {"n_draws": 3}), checkpoint=path)
    with pytest.raises(CheckpointError, match="its n_skip is 3"):
        langevin_gibbs(EXACT, **(longer | {"n_skip": 4}), checkpoint=path)
    other = fm.score.GaussianMixture([0.5, 0.5], *PARTS[1:])
    with pytest.raises(CheckpointError, match="other numbers"):
        langevin_gibbs(other, **longer, checkpoint=path)


def test_an_interrupt_leaves_whole_windows(tmp_path):
    how = HOW | {"n_draws": 400}

    class Stops(Mixture):
        def _denoise(self, y, sigma):
            if self.n_rows > 70 * 200:
                raise KeyboardInterrupt
            return super()._denoise(y, sigma)

    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt) as caught:
        langevin_gibbs(Stops(*PARTS), **how, checkpoint=path)
    partial = caught.value.partial_result
    n = partial.draws.shape[1]
    assert partial.status == "interrupted"
    assert 0 < n < 400
    whole = langevin_gibbs(PLAIN, **(HOW | {"n_draws": n + 3}))
    np.testing.assert_array_equal(partial.draws, whole.draws[:, :n])
    same(langevin_gibbs(PLAIN, **(HOW | {"n_draws": n + 3}), checkpoint=path), whole)
    # Before there is a window nothing is left.
    early = Stops(*PARTS)
    early.n_rows = 70 * 190
    with pytest.raises(KeyboardInterrupt) as caught:
        langevin_gibbs(early, **how, checkpoint=tmp_path / "early")
    assert caught.value.partial_result is None
    assert not (tmp_path / "early").exists()


def test_results_go_on():
    whole = langevin_gibbs(EXACT, **(HOW | {"n_draws": 9}))
    r = langevin_gibbs(EXACT, **HOW).extend(3)
    same(r, whole)
    assert r.status == "complete"


def test_results_are_saved_merged_and_averaged(tmp_path):
    r = langevin_gibbs(EXACT, **HOW, names=["a", "b", "c"])
    r.save(tmp_path / "r")
    back = fm.load(tmp_path / "r")
    assert isinstance(back, fm.score.LangevinGibbs)
    same(back, r)
    assert back.bias == r.bias
    assert back.names == ("a", "b", "c")
    with pytest.raises(ArgumentError, match="does not know its run"):
        back.extend(2)
    with pytest.warns(ConvergenceWarning):
        merged = r.merge(langevin_gibbs(EXACT, **(HOW | {"rng": 18}), names=["a", "b", "c"]))
    assert merged.draws.shape == (140, 6, 3)
    text = r.summary()
    assert "mean log σ" in text
    assert "model calls for a draw" in text
    assert np.isfinite([r.log_sigma_mcse, r.log_sigma_rhat, r.log_sigma_ess]).all()
    one = langevin_gibbs(EXACT, **(HOW | {"n_draws": 1, "n_chains": 1}))
    assert np.isnan([one.log_sigma_mcse, one.log_sigma_rhat, one.log_sigma_ess]).all()


def test_handles_and_executors():
    run = fm.score.start("langevin_gibbs", EXACT, **HOW)
    whole = langevin_gibbs(EXACT, **HOW)
    same(run.result(timeout=60), whole)
    with ThreadPoolExecutor(2) as pool:
        far = langevin_gibbs(PLAIN, **HOW, executor=pool)
    np.testing.assert_array_equal(far.draws, langevin_gibbs(PLAIN, **HOW).draws)
    seen = []
    langevin_gibbs(EXACT, **HOW, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (420, 420)


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
        ({"step": 0.3}, "OUStep, ScaledStep or LangevinStep"),
        ({"warmup_step": "ou"}, "warmup_step"),
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
