"""Intrinsic dimension: normal laws, surfaces, fields that are no gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from score_help import NumpyMixture

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError
from fermiac.score import Model

Array = NDArray[np.float64]
VARIANCES = np.array([1.0, 1.0, 0.0, 0.0, 0.0])


def normal(variances: Any = VARIANCES) -> NumpyMixture:
    return NumpyMixture([1.0], [np.zeros(len(variances))], [np.diag(variances)])


class Coarse(Model):
    """A model that gives nothing but D."""

    def __init__(self, matrix: Array) -> None:
        self.matrix, self.dim = matrix, len(matrix)

    def _denoise(self, y: Array, sigma: Array) -> Array:
        return np.asarray(y @ self.matrix.T)


def test_a_normal_law_at_one_level() -> None:
    model = normal()
    x = model.sample(40, rng=0)
    for method in ("spectrum", "trace"):
        found = fm.score.intrinsic_dimension(model, x, 0.01, method=method, rng=0)
        assert found.dimension == pytest.approx(1.9998000, abs=5e-8)
        assert found.curve == pytest.approx([2 / 1.0001])
        assert found.plateau == (0, 1)
    assert found.spectrum is None


def test_the_spectrum_shows_what_lies_along_the_data() -> None:
    variances = [4.0, 1.0, 0.01, 0.0]
    model = normal(variances)
    found = fm.score.intrinsic_dimension(model, model.sample(10, rng=0), [0.3, 0.05], rng=0)
    np.testing.assert_array_equal(found.sigmas, [0.3, 0.05])
    for level, sigma in enumerate(found.sigmas):
        shares = np.array(variances) / (np.array(variances) + sigma**2)
        np.testing.assert_allclose(found.spectrum[level], np.tile(shares, (10, 1)), atol=1e-12)
        assert found.curve[level] == pytest.approx(shares.sum())
    np.testing.assert_allclose(found.asymmetry, 0, atol=1e-12)


def test_components_of_different_dimensions_are_told_apart() -> None:
    line, plane = np.diag([0.0, 1.0, 0.0]), np.diag([0.0, 1.0, 1.0])
    model = NumpyMixture([0.5, 0.5], [[-5.0, 0, 0], [5.0, 0, 0]], [line, plane])
    x = model.sample(200, rng=0)
    found = fm.score.intrinsic_dimension(model, x, rng=0)
    expected = np.where(x[:, 0] < 0, 1.0, 2.0)
    np.testing.assert_allclose(found.local, expected, atol=0.02)
    assert found.dimension == pytest.approx(expected.mean(), abs=0.02)
    assert found.stderr == pytest.approx(expected.std() / np.sqrt(200), rel=0.05)
    assert found.curve.shape == (16,)
    assert found.sigmas[0] > found.sigmas[-1] > 0


def test_a_bent_line_is_a_line() -> None:
    """A circle of narrow components: at levels below its radius it is one-dimensional."""
    angles = 2 * np.pi * np.arange(60) / 60
    means = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    model = NumpyMixture(np.full(60, 1 / 60), means, np.tile(1e-12 * np.eye(2), (60, 1, 1)))
    found = fm.score.intrinsic_dimension(model, means[::6], np.geomspace(0.1, 0.3, 5), rng=0)
    assert found.dimension == pytest.approx(1.0, abs=0.1)


def test_a_little_noise_fills_the_space_below_it_only() -> None:
    model = normal([1.0, 1.0, 1e-6])
    x = model.sample(30, rng=1)
    above = fm.score.intrinsic_dimension(model, x, np.geomspace(0.005, 0.5, 16), rng=0)
    assert above.dimension == pytest.approx(2.0, abs=0.05)
    below = fm.score.intrinsic_dimension(model, x, np.geomspace(1e-5, 1e-4, 8), rng=0)
    assert below.dimension == pytest.approx(3.0, abs=0.01)


def test_differences_agree_with_derivatives() -> None:
    means, roots = [[-1.0, 0, 0], [1.0, 0, 0]], [np.diag([0.0, 1, 0]), np.diag([0.2, 1, 1])]
    model = NumpyMixture([0.4, 0.6], means, roots)

    class Plain(Model):
        dim = 3

        def _denoise(self, y: Array, sigma: Array) -> Array:
            return model._denoise(y, sigma)

    x = model.sample(20, rng=0)
    exact = fm.score.intrinsic_dimension(model, x, [0.3, 0.1], rng=5)
    near = fm.score.intrinsic_dimension(Plain(), x, [0.3, 0.1], rng=5)
    trace = fm.score.intrinsic_dimension(Plain(), x, [0.3, 0.1], rng=5, method="trace")
    np.testing.assert_allclose(near.spectrum, exact.spectrum, atol=1e-7)
    np.testing.assert_allclose(trace.traces, exact.traces, atol=1e-7)
    assert (exact.n_evals, near.n_evals) == (40, 240)


def test_built_in_models_and_those_of_numpy_give_the_same() -> None:
    means, roots = [[-1.0, 0, 0], [1.0, 0, 0]], [np.diag([0.1, 1, 0]), np.diag([0.2, 1, 1])]
    model = NumpyMixture([0.4, 0.6], means, roots)
    built_in = fm.score.GaussianMixture(model.weights, model.means, model.covariances)
    x = model.sample(20, rng=0)
    one, two = (fm.score.intrinsic_dimension(m, x, [0.3, 0.1], rng=5) for m in (model, built_in))
    np.testing.assert_allclose(one.traces, two.traces, rtol=1e-10)


def test_points_have_the_shape_of_the_data() -> None:
    law = normal([1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    x = law.sample(6, rng=0)
    flat = fm.score.intrinsic_dimension(law, x, 0.01, rng=0)
    shapes = set()

    def denoised(y: Array, s: Array) -> Array:
        shapes.add(y.shape[1:])
        rows = law._denoise(y.reshape(len(y), 6), s)
        return np.asarray(rows.reshape(y.shape))

    network = fm.score.ScoreModel(denoised, "x0")
    shaped = fm.score.ScoreModel(denoised, "x0", event_shape=(2, 3))
    for model in (law, network, shaped):
        found = fm.score.intrinsic_dimension(model, x.reshape(6, 2, 3), 0.01, rng=0)
        np.testing.assert_allclose(found.local, flat.local, atol=1e-6)
    assert shapes == {(2, 3)}
    with pytest.raises(ArgumentError, match=r"x: points of shape \(3, 2\) were given"):
        fm.score.intrinsic_dimension(shaped, x.reshape(6, 3, 2), 0.01)
    with pytest.raises(ArgumentError, match=r"x: shape \(3, 12\) was given"):
        fm.score.intrinsic_dimension(law, x.reshape(3, 3, 4), 0.01)
    with pytest.raises(ArgumentError, match="x: no point"):
        fm.score.intrinsic_dimension(shaped, np.zeros((0, 2, 3)), 0.01)


def test_what_is_no_gradient_shows() -> None:
    turned = np.array([[1.0, 0.5, 0.0], [-0.5, 1.0, 0.0], [0.0, 0.0, 0.0]])
    found = fm.score.intrinsic_dimension(Coarse(turned), np.ones((4, 3)), 0.1, rng=0)
    assert found.dimension == pytest.approx(2.0)
    np.testing.assert_allclose(found.spectrum[0], np.tile([1.0, 1.0, 0.0], (4, 1)), atol=1e-9)
    assert found.asymmetry[0] == pytest.approx(np.sqrt(0.5 / 2.5))


def test_probes_see_many_coordinates() -> None:
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(60, 60)))[0][:, :7]
    found = fm.score.intrinsic_dimension(
        Coarse(axes @ axes.T), rng.normal(size=(200, 60)), 0.1, n_probes=4, rng=0
    )
    assert found.settings["method"] == "trace"
    assert abs(found.dimension - 7) < 5 * found.stderr < 1.5


def test_results_depend_on_the_seed_alone() -> None:
    model = NumpyMixture([0.5, 0.5], [[-1.0, 0], [1.0, 0]], [np.eye(2), np.diag([1.0, 0])])
    x = model.sample(20, rng=0)
    one, two = (
        fm.score.intrinsic_dimension(model, x, rng=1, plan=fm.Plan(n_threads=k)) for k in (1, 3)
    )
    np.testing.assert_array_equal(one.traces, two.traces)
    other = fm.score.intrinsic_dimension(model, x, rng=2)
    assert not np.array_equal(one.traces, other.traces)
    still = [fm.score.intrinsic_dimension(model, x, rng=k, noisy=False) for k in (1, 2)]
    np.testing.assert_array_equal(still[0].traces, still[1].traces)


def test_levels_keep_to_the_range_of_the_model() -> None:
    model = normal()
    model.sigma_range = (0.05, 0.2)
    found = fm.score.intrinsic_dimension(model, model.sample(20, rng=0), rng=0)
    np.testing.assert_allclose(found.sigmas[[0, -1]], [0.2, 0.05])


def test_an_interrupted_run_leaves_the_levels_that_were_done() -> None:
    def stopping(done: int, total: int) -> None:
        assert total == 16
        if done == 5:
            raise KeyboardInterrupt

    model = normal()
    with pytest.raises(KeyboardInterrupt) as caught:
        fm.score.intrinsic_dimension(
            model, model.sample(9, rng=0), plan=fm.Plan(progress=stopping), rng=0
        )
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    assert partial.status == "interrupted"
    assert partial.sigmas.shape == partial.curve.shape == (5,)


def test_results_are_kept(tmp_path: Any) -> None:
    model = normal()
    found = fm.score.intrinsic_dimension(model, model.sample(9, rng=0), rng=0)
    found.save(tmp_path / "dimension.safetensors")
    again = fm.load(tmp_path / "dimension.safetensors")
    np.testing.assert_array_equal(again.traces, found.traces)
    assert repr(again).startswith("intrinsic dimension 1.99")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": None}, "model: NoneType"),
        ({"x": np.zeros((3, 4))}, r"x: shape \(3, 4\)"),
        ({"x": np.zeros((0, 5))}, "x: no point"),
        ({"x": np.full((3, 5), np.inf)}, "x: inf"),
        ({"x": np.zeros((3, 5))}, "the points do not differ"),
        ({"sigma": 0.0}, "sigma: 0"),
        ({"sigma": []}, "sigma: no level"),
        ({"method": "box"}, "method: 'box'"),
        ({"n_probes": 0}, "n_probes: 0"),
        ({"noisy": "no"}, "noisy: 'no' given"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"model": normal(), "x": normal().sample(4, rng=0), "rng": 0}
    with pytest.raises(ArgumentError, match=message):
        fm.score.intrinsic_dimension(**(given | options))


def test_models_too_coarse_for_differences_are_refused() -> None:
    class Single(Coarse):
        def _denoise(self, y: Array, sigma: Array) -> Array:
            return super()._denoise(y, sigma).astype(np.float32).astype(float)

    with pytest.raises(ArgumentError, match="too coarse for differences"):
        fm.score.intrinsic_dimension(Single(np.eye(3)), np.ones((4, 3)) * 7.3, 0.01, rng=0)


def test_derivatives_that_are_not_finite_are_told() -> None:
    class Broken(NumpyMixture):
        def jacobian(self, y: Any, sigma: Any) -> Array:
            return super().jacobian(y, sigma) * np.nan

    model = Broken([1.0], [[0.0, 0.0]], [np.eye(2)])
    with pytest.raises(TargetError, match="not finite for row 0 at level"):
        fm.score.intrinsic_dimension(model, model.sample(3, rng=0), rng=0)
