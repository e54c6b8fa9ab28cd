"""Exact score models at the edges: no noise, singular laws, wrong arguments, pickling, tensors."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from fermiac.errors import ArgumentError, NumericalError
from fermiac.score import Empirical, Gaussian, GaussianMixture

PLANE = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 2.0]])


def test_without_noise_a_point_is_denoised_to_itself() -> None:
    model = GaussianMixture([1, 2], [[0.0, 1.0], [3.0, 0.0]], [0.5, 2.0])
    y = np.random.default_rng(1).normal(size=(9, 2))
    np.testing.assert_array_equal(model.denoise(y, 0.0), y)
    denoised, trace = model._with_trace(y, np.zeros(1))
    np.testing.assert_array_equal(denoised, y)
    np.testing.assert_array_equal(trace, 2.0)
    np.testing.assert_allclose(model.jacobian(y, 0.0), np.tile(np.eye(2), (9, 1, 1)))


def test_without_noise_data_are_the_nearest_ones() -> None:
    rng = np.random.default_rng(2)
    data, y = rng.normal(size=(500, 3)), rng.normal(size=(40, 3))
    nearest = np.argmin(((y[:, None] - data) ** 2).sum(2), axis=1)
    model = Empirical(data)
    for s in (0.0, 1e-100, 1e-60, 1e-5):
        np.testing.assert_allclose(model.denoise(y, s), data[nearest], rtol=1e-15)
        np.testing.assert_allclose(
            model.responsibilities(y, s), np.eye(500)[nearest], rtol=0, atol=1e-15
        )
    # Levels by row, some without noise.
    s = np.where(np.arange(40) % 3 == 0, 0.0, 0.5)
    mixed = model.denoise(y, s)
    np.testing.assert_array_equal(mixed[::3], data[nearest[::3]])
    np.testing.assert_array_equal(mixed[1::3], model.denoise(y[1::3], 0.5))
    np.testing.assert_array_equal(model._with_trace(y, np.zeros(1))[1], 0.0)
    # A tie is shared by the weights.
    pair = Empirical([[-1.0], [1.0]], [1, 3])
    np.testing.assert_allclose(pair.denoise([[0.0]], 0.0), [[0.5]])


@pytest.mark.parametrize("turned", [False, True])
def test_a_flat_law_is_projected_on(turned: bool) -> None:
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0] if turned else np.eye(3)
    covariance = turn @ PLANE @ turn.T
    mean = np.array([1.0, 2.0, 3.0])
    model = Gaussian(mean, (covariance + covariance.T) / 2)
    y = np.random.default_rng(4).normal(size=(5, 3))
    across = turn @ np.array([1.0, -1.0, 0.0]) / np.sqrt(2)
    projected = y - ((y - mean) @ across)[:, None] * across
    np.testing.assert_allclose(model.denoise(y, 0.0), projected, rtol=0, atol=1e-13)
    np.testing.assert_allclose(model.denoise(y, 1e-6), projected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(model._with_trace(y, np.zeros(1))[1], 2.0)
    # The dimension of the plane is the limit of the trace.
    np.testing.assert_allclose(model._with_trace(y, np.array([1e-4]))[1], 2.0, rtol=1e-7)
    # A point on the plane stays, whatever full-dimensional component lies over it.
    both = GaussianMixture([1, 1], [mean, mean], np.stack([model.covariance, np.eye(3)]))
    np.testing.assert_allclose(both.denoise(y, 0.0), y, rtol=0, atol=1e-13)
    np.testing.assert_allclose(both.responsibilities(y, 0.0), np.tile([0.0, 1.0], (5, 1)))
    np.testing.assert_allclose(
        both.responsibilities(projected, 0.0), np.tile([1.0, 0.0], (5, 1)), atol=1e-15
    )


def test_a_flat_law_has_no_density() -> None:
    for model in (Empirical([[0.0, 1.0]]), Gaussian([0.0, 0.0], [1.0, 0.0])):
        y = np.ones((4, 2))
        for call in (model.score, model.log_density):
            with pytest.raises(NumericalError, match="no density"):
                call(y, 0.0)
            with pytest.raises(NumericalError, match="no density"):
                call(y, [1.0, 0.5, 0.0, 1.0])
        with pytest.raises(NumericalError, match="no density"):
            model.level_log_density(y, [1.0, 0.0])
        assert np.isfinite(model.score(y, 1e-3)).all()


def test_an_eigenvalue_that_is_all_but_zero_is_zero() -> None:
    axis = np.array([3.0, 4.0, 0.0]) / 5
    flat = np.eye(3) - np.outer(axis, axis)
    model = Gaussian(np.zeros(3), flat - 1e-14 * np.outer(axis, axis))
    with pytest.raises(NumericalError, match="no density"):
        model.score(np.ones((1, 3)), 0.0)
    with pytest.raises(ArgumentError, match="eigenvalue"):
        Gaussian(np.zeros(3), flat - 1e-9 * np.outer(axis, axis))


def test_trace_of_a_known_dimension() -> None:
    model = Gaussian(np.zeros(5), [1.0, 1.0, 0.0, 0.0, 0.0])
    trace = model._with_trace(np.ones((1, 5)), np.array([0.01]))[1]
    assert trace[0] == pytest.approx(2 / 1.0001, rel=1e-14)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (([1.0, -1.0], [[0.0], [1.0]], 1.0), "weight 1 .* is -1"),
        (([0.0, 0.0], [[0.0], [1.0]], 1.0), "largest is 0"),
        (([1.0, np.nan], [[0.0], [1.0]], 1.0), "weights: NaN"),
        (([1.0, np.inf], [[0.0], [1.0]], 1.0), "weights: .*inf"),
        (([1.0], [[0.0], [1.0]], 1.0), r"weights: shape \(1,\)"),
        (([1.0], [0.0], 1.0), r"means: shape \(1,\)"),
        (([1.0], [[np.inf]], 1.0), "means: inf"),
        (([1.0, 1.0], [[0.0], [1.0]], [1.0, 1.0, 1.0]), "covariances: shape"),
        (([1.0, 1.0], [[0.0], [1.0]], [1.0, -0.5]), "variance -0.5 .* component 1"),
        (([1.0], [[0.0, 1.0]], [[1.0, -0.5]]), "variance -0.5"),
        (([1.0], [[0.0, 1.0]], [[[1.0, 0.5], [0.4, 1.0]]]), "not symmetric"),
        (([1.0], [[0.0, 1.0]], [[[1.0, 2.0], [2.0, 1.0]]]), "eigenvalue -"),
        (([1.0], [[0.0]], "full"), "covariances"),
    ],
)
def test_wrong_mixtures_are_refused(arguments: tuple[Any, Any, Any], match: str) -> None:
    with pytest.raises(ArgumentError, match=match):
        GaussianMixture(*arguments)


def test_other_wrong_arguments_are_refused() -> None:
    for wrong in ([], [1.0, 2.0], np.zeros((0, 2)), [[np.nan, 1.0]], [[np.inf, 1.0]]):
        with pytest.raises(ArgumentError, match="data"):
            Empirical(wrong)
    with pytest.raises(ArgumentError, match="one for each point"):
        Empirical([[1.0]], [1.0, 2.0])
    with pytest.raises(ArgumentError, match="covariance: shape"):
        Gaussian([0.0, 1.0], [1.0, 2.0, 3.0])
    model = Gaussian([0.0, 1.0], 1.0)
    for y in ([0.0, 1.0], [[0.0]], [["a", "b"]]):
        with pytest.raises(ArgumentError, match="y: "):
            model.denoise(y, 1.0)
    for s in (-1.0, np.inf, np.nan, [1.0, 2.0], [[1.0]]):
        with pytest.raises(ArgumentError, match="sigma: "):
            model.jacobian([[0.0, 1.0]], s)
    with pytest.raises(ArgumentError, match="levels: "):
        model.level_log_density([[0.0, 1.0]], 1.0)
    with pytest.raises(ArgumentError, match="n: "):
        model.sample(-1)


def test_integers_and_nothing_at_all() -> None:
    model = GaussianMixture([1, 1], [[0, 0], [1, 1]], 1)
    assert model.denoise([[1, 2]], 1).dtype == np.float64
    none = np.empty((0, 2))
    assert model.denoise(none, 1.0).shape == (0, 2)
    assert model.score(none, np.empty(0)).shape == (0, 2)
    assert model.log_density(none, 1.0).shape == (0,)
    assert model.level_log_density(none, [1.0, 2.0]).shape == (0, 2)
    assert model.level_log_density([[0, 1]], []).shape == (1, 0)
    assert model.jacobian(none, 1.0).shape == (0, 2, 2)
    assert model.sample(0).shape == (0, 2)


def test_components_without_weight_say_nothing() -> None:
    model = GaussianMixture([1, 0, 3], [[0.0], [0.5], [1.0]], [0.1, 0.2, 0.3])
    rest = GaussianMixture([1, 3], [[0.0], [1.0]], [0.1, 0.3])
    y = np.linspace(-1, 2, 11)[:, None]
    np.testing.assert_array_equal(model.denoise(y, 0.3), rest.denoise(y, 0.3))
    np.testing.assert_array_equal(
        model.responsibilities(y, 0.3)[:, [0, 2]], rest.responsibilities(y, 0.3)
    )
    assert (model.responsibilities(y, 0.3)[:, 1] == 0).all()
    np.testing.assert_allclose(model.weights, [0.25, 0, 0.75])


def test_models_are_frozen_values() -> None:
    means, variances = np.zeros((2, 3)), np.ones((2, 3))
    models = [
        GaussianMixture([1, 2], means, variances),
        Gaussian(np.zeros(3), np.eye(3)),
        Empirical(np.ones((4, 3)), [1, 2, 3, 4]),
    ]
    shown = [
        "GaussianMixture(k=2, dim=3, diagonal)",
        "Gaussian(dim=3, full)",
        "Empirical(k=4, dim=3)",
    ]
    y = np.random.default_rng(1).normal(size=(7, 3))
    for model, text in zip(models, shown, strict=True):
        again = pickle.loads(pickle.dumps(model))
        assert again == model
        assert hash(again) == hash(model)
        np.testing.assert_array_equal(again.denoise(y, 0.4), model.denoise(y, 0.4))
        assert repr(model) == text
        assert model.dim == 3
        with pytest.raises(AttributeError):
            model.dim = 4
    assert models[0] != GaussianMixture([1, 2], means, 2 * variances)
    # Arrays given are copied, arrays shown cannot be written to.
    means += 1
    assert (models[0].means == 0).all()  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="read-only"):
        models[0].means[0] = 1  # type: ignore[attr-defined]


def test_an_infinite_point_harms_no_other() -> None:
    model = GaussianMixture([1, 1], [[0.0, 0.0], [1.0, 1.0]], 1.0)
    y = np.random.default_rng(3).normal(size=(8, 2))
    spoilt = y.copy()
    spoilt[3] = [np.inf, 0.0]
    clean = np.arange(8) != 3
    # Users are told; on its way an integrator may come to such a point.
    with pytest.raises(ArgumentError, match="y: inf was given in row 3"):
        model.denoise(spoilt, 0.5)
    found = model._denoise(spoilt, np.array([0.5]))
    np.testing.assert_array_equal(found[clean], model.denoise(y, 0.5)[clean])
    assert not np.isfinite(found[3]).all()


def test_many_coordinates() -> None:
    rng = np.random.default_rng(4)
    means, d = rng.normal(size=(10, 3072)), 3072
    model = GaussianMixture(np.ones(10), means, 0.1)
    y, s = model.sample(11, 2.0, rng=1), 2.0
    squares = ((y[:, None] - means) ** 2).sum(2)
    terms = -squares / (2 * 4.1) - np.log(10) - d / 2 * np.log(2 * np.pi * 4.1)
    shares = np.exp(terms - terms.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    truth = (0.1 * y + 4 * (shares @ means)) / 4.1
    np.testing.assert_allclose(model.denoise(y, s), truth, rtol=0, atol=1e-10)
    np.testing.assert_allclose(
        model.log_density(y, s), terms.max(1) - np.log(shares.max(1)), rtol=1e-12
    )


@pytest.mark.torch
def test_a_tensor_gives_a_tensor() -> None:
    torch = pytest.importorskip("torch")
    model = Gaussian([0.0, 1.0], [1.0, 2.0])
    for dtype in (torch.float32, torch.float64):
        y = torch.ones(5, 2, dtype=dtype)
        for found, shape in (
            (model.denoise(y, torch.tensor(0.5)), (5, 2)),
            (model.score(y, 0.5), (5, 2)),
            (model.log_density(y, 0.5), (5,)),
            (model.jacobian(y, 0.5), (5, 2, 2)),
            (model.level_log_density(y, [0.5, 1.0]), (5, 2)),
            (model.responsibilities(y, 0.5), (5, 1)),
        ):
            assert found.dtype == dtype
            assert tuple(found.shape) == shape
        np.testing.assert_allclose(
            model.denoise(y, 0.5).numpy(), model.denoise(y.numpy(), 0.5), rtol=1e-6
        )


def test_shares_add_up_where_densities_are_known_to_few_digits() -> None:
    far = GaussianMixture([0.5, 0.5], [[-1e8], [1e8]], [1.0, 1.0])
    np.testing.assert_array_equal(far.responsibilities([[0.0]], 0.0), [[0.5, 0.5]])
    np.testing.assert_allclose(far.jacobian([[0.0]], 0.0), [[[1.0]]], rtol=1e-12)
    points = Empirical(np.random.default_rng(0).standard_normal((100, 784)))
    middle = points.data[:2].mean(axis=0, keepdims=True)
    for sigma in (1e-2, 1e-4, 1e-6):
        shares = points.responsibilities(middle, sigma)
        np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-12)


def test_draws_that_no_memory_holds_are_an_error() -> None:
    # More than there are addresses, whatever a system promises.
    model = Gaussian(np.zeros(1000), 1.0)
    with pytest.raises(MemoryError):
        model.sample(2**40)
