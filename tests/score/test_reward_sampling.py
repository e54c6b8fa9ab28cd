"""Guided sampling: exact laws by particles, biases of candidates, and refused arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from score_help import NumpyMixture, two_peaks

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError

Array = NDArray[np.float64]
SLOPE = [0.8]
RANGE = (0.005, 20.0)
#: No levels but those of a schedule.
ALONE: dict[str, Any] = {"n_steps": None, "sigma_range": None}


def reward(x: Array) -> Array:
    return np.asarray(0.8 * x[:, 0])


def exact(alpha: float) -> Any:
    model = two_peaks()
    return lambda y, sigma: model.soft_value(y, sigma, SLOPE, alpha)


def mean_of(alpha: float) -> float:
    weights, means, _ = two_peaks().tilted(SLOPE, alpha)
    return float((weights @ means)[0])


def run(**options: Any) -> Any:
    given: dict[str, Any] = {"n_steps": 20, "sigma_range": RANGE, "rng": 0} | options
    return fm.score.svdd(two_peaks(), given.pop("reward", reward), given.pop("n", 2000), **given)


def test_the_tilted_law_and_its_values_are_those_of_the_literature_of_mixtures() -> None:
    model = two_peaks()
    weights, means, mass = model.tilted(SLOPE, 1.0)
    np.testing.assert_allclose(weights, [0.020172836741, 0.979827163259], rtol=1e-10)
    np.testing.assert_allclose(means[:, 0], [-1.668, 2.592])
    assert mean_of(1.0) == pytest.approx(2.506063715, abs=1e-9)
    y, s = np.array([[0.4]]), np.array([1.0])
    assert model.soft_value(y, 1.0, SLOPE, 1.0)[0] == pytest.approx(1.200824892, abs=1e-9)
    assert 0.8 * model._denoise(y, s)[0, 0] == pytest.approx(0.804654251, abs=1e-9)
    x = model.sample(400_000, rng=1)
    draws = np.exp(reward(x))
    assert abs(draws.mean() - np.exp(mass)) < 5 * draws.std() / np.sqrt(len(x))


# With alpha = 0.3 the other peak has next to no mass.
@pytest.mark.filterwarnings("ignore:all .* are equal:fermiac.errors.ConvergenceWarning")
# The lesser mode rests on few particles, which is told.
@pytest.mark.filterwarnings("ignore:the weighted values:fermiac.errors.WeightWarning")
@pytest.mark.parametrize("alpha", [1.0, 0.3])
@pytest.mark.parametrize("value", ["exact", "posterior_mean", "regression"])
@pytest.mark.parametrize("n_candidates", [1, 3])
def test_particles_meet_the_tilted_law(alpha: float, value: str, n_candidates: int) -> None:
    """Whatever the value and the number of candidates, with 20 steps only, which are corrected."""
    sample = run(
        mode="particles",
        value=exact(alpha) if value == "exact" else value,
        alpha=alpha,
        n_candidates=n_candidates,
        base="euler_maruyama",
        correct=True,
        rng=3,
    )
    _, _, mass = two_peaks().tilted(SLOPE, alpha)
    estimate = sample.expect(lambda x: np.stack([x[:, 0], x[:, 0] > 0], axis=1))
    weights, _, _ = two_peaks().tilted(SLOPE, alpha)
    z = (estimate.mean - [mean_of(alpha), weights[1]]) / np.maximum(estimate.stderr, 1e-4)
    assert np.all(np.abs(z) < 5)
    assert estimate.stderr[0] < 0.2
    assert abs(sample.log_normalizer - mass) < 5 * sample.log_normalizer_stderr
    assert 0 < sample.log_normalizer_stderr < 0.5
    np.testing.assert_allclose(np.log(np.exp(sample.log_weights).mean()), sample.log_normalizer)
    assert sample.ess_history.shape == (21,)
    assert sample.mode == "particles"


def test_finite_steps_are_biased_and_the_weights_can_tell() -> None:
    plain = run(mode="particles", value=exact(1.0), n=4000, n_steps=10)
    estimate = plain.expect(lambda x: x)
    assert estimate.mean[0] < mean_of(1.0) - 5 * estimate.stderr[0]


def test_candidates_are_biased_less_with_more_of_them() -> None:
    means = {}
    for count in (1, 2, 10):
        sample = run(value=exact(1.0), n_candidates=count, n=3000, n_steps=50)
        assert sample.log_weights is None
        assert sample.error_model == "iid"
        means[count] = sample.mean[0]
    own = 0.35 * -1.7 + 0.65 * 2.2
    error = 1.9 / np.sqrt(3000)
    assert abs(means[1] - own) < 5 * error + 0.05  # steps of finite size
    assert means[1] + 5 * error < means[2] < means[10] - 5 * error
    assert mean_of(1.0) - 0.25 < means[10] < mean_of(1.0)


def test_candidates_estimate_the_normaliser_without_bias() -> None:
    """Of the law of the steps: they agree with particles, whatever the value."""
    mild = run(n=4000, n_steps=30)
    particles = run(n=4000, n_steps=30, mode="particles", rng=1)
    error = np.hypot(mild.log_normalizer_stderr, particles.log_normalizer_stderr)
    assert abs(mild.log_normalizer - particles.log_normalizer) < 5 * error


def test_the_best_candidate_is_taken_at_alpha_zero() -> None:
    sample = run(alpha=0, n_candidates=8, n=300)
    assert sample.mean[0] > mean_of(1.0)
    assert np.isnan(sample.log_normalizer)
    assert sample.ess_history.size == 0
    colder = run(alpha=1e-9, n_candidates=8, n=300)
    np.testing.assert_array_equal(sample.draws, colder.draws)


def test_results_depend_on_the_seed_alone() -> None:
    few, many = (run(n=64, plan=fm.Plan(n_threads=k)) for k in (1, 3))
    np.testing.assert_array_equal(few.draws, many.draws)
    other = run(n=64, rng=1)
    assert not np.array_equal(few.draws, other.draws)
    # Candidates of a point depend on no other point.
    np.testing.assert_array_equal(run(n=8).draws, few.draws[:8])


def test_built_in_models_and_those_of_numpy_give_the_same() -> None:
    model = two_peaks()
    built_in = fm.score.GaussianMixture(model.weights, model.means, model.covariances)
    options: dict[str, Any] = {"n_steps": 20, "sigma_range": RANGE, "rng": 0, "mode": "particles"}
    options |= {"correct": True, "base": "euler_maruyama"}
    one, two = (fm.score.svdd(m, reward, 100, **options) for m in (model, built_in))
    np.testing.assert_allclose(one.draws, two.draws, rtol=1e-6)
    assert one.log_normalizer == pytest.approx(two.log_normalizer, rel=1e-8)


def test_evaluations_are_counted() -> None:
    model = two_peaks()
    options: dict[str, Any] = {"n_steps": 7, "sigma_range": RANGE, "rng": 0, "n_candidates": 3}
    sample = fm.score.svdd(model, reward, 5, **options)
    # 64 points judge the highest level, whatever is drawn.
    assert sample.n_evals == model.n_rows - 64 == 5 + 6 * 5 * 3
    cheap = two_peaks()
    sample = fm.score.svdd(cheap, reward, 5, value=exact(1.0), **options)
    assert sample.n_evals == cheap.n_rows - 64 == 5 + 6 * 5


def test_points_have_the_shape_that_is_asked_for() -> None:
    model = NumpyMixture([1.0], [[0.0] * 6], [np.eye(6)])
    shapes = set()

    def seen(x: Array) -> Array:
        shapes.add(x.shape[1:])
        return np.asarray(x.sum(axis=(1, 2)))

    sample = fm.score.svdd(model, seen, 4, (2, 3), n_steps=3, sigma_range=RANGE, rng=0)
    assert shapes == {(2, 3)}
    assert sample.draws.shape == (4, 6)
    np.testing.assert_allclose(sample.rewards, sample.draws.sum(axis=1))


@pytest.mark.parametrize("n_steps", [1, 2, 10])
def test_steps_are_those_of_sample(n_steps: int) -> None:
    """As many calls of the model, on the same levels."""
    levels: list[float] = []

    class Seen(NumpyMixture):
        def _denoise(self, y: Array, sigma: Array) -> Array:
            if len(y) == 3:
                levels.append(float(sigma[0]))
            return super()._denoise(y, sigma)

    model = Seen([1.0], [[0.0]], [[[1.0]]])
    options: dict[str, Any] = {"n_steps": n_steps, "sigma_range": RANGE}
    fm.score.sample(model, 3, integrator="euler", **options)
    assert len(levels) == n_steps
    fm.score.svdd(model, reward, 3, n_candidates=1, **options)
    assert levels[:n_steps] == levels[n_steps:]


@pytest.mark.parametrize("schedule", ["exponential", fm.score.karras])
def test_schedules(schedule: Any) -> None:
    sample = run(schedule=schedule, n=4, n_steps=3)
    assert sample.sigmas.shape == (4,)
    assert np.all(np.diff(sample.sigmas) < 0)
    assert sample.sigmas[-1] == 0
    # The same by its levels, with and without the last.
    for grid in (sample.sigmas, sample.sigmas[:-1].tolist()):
        again = run(schedule=grid, n=4, **ALONE)
        np.testing.assert_array_equal(again.draws, sample.draws)
        np.testing.assert_array_equal(again.sigmas, sample.sigmas)
    assert run(schedule=[10.0], n=4, **ALONE).sigmas.tolist() == [10.0, 0.0]


def test_an_interrupted_run_leaves_what_it_has() -> None:
    calls = []

    def stopping(done: int, total: int) -> None:
        calls.append((done, total))
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        run(n=30, plan=fm.Plan(progress=stopping), mode="particles")
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    assert partial.status == "interrupted"
    assert partial.draws.shape == (30, 1)
    assert partial.candidate_ess.size == 5
    assert calls[-1] == (5, 20)
    done: list[tuple[int, int]] = []
    run(n=3, plan=fm.Plan(progress=lambda *at: done.append(at)))
    assert done[-1] == (20, 20)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -1.0}, "alpha: -1.0"),
        ({"alpha": np.ones(2)}, "alpha: "),
        ({"alpha": 0, "mode": "particles"}, "alpha: 0 was given for particles"),
        ({"mode": "both"}, "mode: 'both'"),
        ({"value": "best"}, "value: 'best'"),
        ({"base": "heun"}, "base: 'heun'"),
        ({"n_candidates": 0}, "n_candidates: 0"),
        ({"n": 0}, "n: 0"),
        ({"dim": 2}, "dim: 2"),
        ({"correct": True}, "only particles have weights"),
        ({"ess_threshold": 2.0}, "ess_threshold: 2.0"),
        ({"ess_threshold": [0.1, 0.2]}, r"ess_threshold: \[0.1, 0.2\]"),
        ({"value": "regression", "regressor": 3}, "regressor: 3 was given; a callable"),
        ({"value": "regression", "regressor": lambda y, r: 3, "n_fit": 16}, "regressor: 3"),
        ({"regressor": np.polyfit}, "regressor: given without value"),
        ({**ALONE, "schedule": [1.0, 2.0]}, "falling levels"),
        ({**ALONE, "schedule": [1.0, -1.0]}, "falling levels"),
        ({**ALONE, "schedule": [0.0]}, "positive, finite"),
        ({**ALONE, "schedule": [[1.0, 0.5]]}, "positive, finite"),
        ({**ALONE, "schedule": [], "n": 4}, "positive, finite"),
        ({**ALONE, "schedule": [np.inf, 1.0]}, "positive, finite"),
        ({**ALONE, "schedule": [1.0], "n_steps": 1}, "n_steps: given with a schedule of levels"),
        ({**ALONE, "schedule": [1.0], "sigma_range": (0.1, 1)}, "sigma_range: given with"),
        ({"n_steps": 0}, "n_steps: 0"),
        ({"sigma_range": (2.0, 1.0)}, "sigma_range"),
        ({"sigma_range": None}, "sigma_range"),
        ({"reward": 3}, "reward: 3"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message.replace("(", r"\(")):
        run(**{"n": 4, **options})


def test_models_that_break_are_told_with_row_and_level() -> None:
    class Broken(NumpyMixture):
        def _denoise(self, y: Array, sigma: Array) -> Array:
            out = super()._denoise(y, sigma)
            if sigma[0] < 1:
                out[1] = np.nan
            return out

    model = Broken([1.0], [[0.0]], [[[1.0]]])
    with pytest.raises(TargetError, match="not finite for row 1 at level"):
        fm.score.svdd(model, reward, 4, n_steps=5, sigma_range=RANGE, rng=0)
