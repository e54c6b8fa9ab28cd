"""Functions of arrays as score models: shapes, levels, refused arguments."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from score_networks import (
    DIM,
    MEAN,
    TABLE,
    VARIANCE,
    denoised,
    log_density,
    noisy,
)

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError
from fermiac.score import ScoreModel

Array = NDArray[np.float64]


def exact(x: Array, s: Array) -> Array:
    return denoised(x, s[:, None])


def test_all_names_are_there() -> None:
    assert "ScoreModel" in fm.score.__all__


def test_points_without_noise_are_their_own_means() -> None:
    def network(x: Array, s: Array) -> Array:
        assert (s > 0).all()
        return exact(x, s)

    model = ScoreModel(network, "x0")
    y, s = noisy(9)
    s[[0, 4]] = 0.0
    ours = model.denoise(y, s)
    np.testing.assert_array_equal(ours[[0, 4]], y[[0, 4]])
    np.testing.assert_allclose(ours[1:4], denoised(y[1:4], s[1:4, None]))
    np.testing.assert_array_equal(model.denoise(y, 0.0), y)
    np.testing.assert_array_equal(model.denoise(y, np.zeros(9)), y)
    with pytest.raises(ArgumentError, match="has no score without noise"):
        model.score(y, s)


def test_no_points_need_no_call() -> None:
    def never(x: Array, s: Array) -> Array:
        raise AssertionError

    model = ScoreModel(never, dim=3)
    assert model.denoise(np.zeros((0, 3)), 1.0).shape == (0, 3)
    assert model.score(np.zeros((0, 3)), np.zeros(0)).shape == (0, 3)


@pytest.mark.parametrize("integrator", ["euler", "dpmpp_3m_sde", "rk4", "unipc3"])
def test_conditions_of_rows_meet_their_rows(integrator: str) -> None:
    labels = np.arange(5000) % 3

    def network(x: Array, s: Array) -> Array:
        # One for each row: fails where a call has some of the rows.
        assert len(x) == len(labels)
        return np.repeat(labels[:, None], 2, axis=1)

    model = ScoreModel(network, "x0", sigma_range=(0.01, 10.0))
    for n_threads in (1, 2):
        y0 = np.random.default_rng(0).normal(size=(5000, 2))
        ends = fm.score.integrate(
            model, y0, [10.0, 1.0, 0.1, 0.0], integrator, rng=0, plan=fm.Plan(n_threads=n_threads)
        )
        np.testing.assert_allclose(ends, np.repeat(labels[:, None], 2, 1), atol=1e-12)


def test_batches_change_nothing() -> None:
    sizes: list[int] = []

    def network(x: Array, s: Array) -> Array:
        sizes.append(len(x))
        return exact(x, s)

    y, s = noisy(40)
    whole = ScoreModel(network, "x0", max_batch=4096).denoise(y, s)
    np.testing.assert_array_equal(ScoreModel(network, "x0", max_batch=7).denoise(y, s), whole)
    assert sizes == [40, 7, 7, 7, 7, 7, 5]


def test_events_have_their_shape() -> None:
    def network(x: Array, s: Array) -> Array:
        assert x.shape[1:] == (2, 1, 2)
        assert x.dtype == np.float32
        assert s.shape == (len(x),)
        return exact(x.reshape(-1, 4), s).reshape(x.shape)

    model = ScoreModel(network, "x0", event_shape=(2, 1, 2), dtype="float32")
    assert (model.dim, model.event_shape, model.form) == (4, (2, 1, 2), "array")
    y, s = noisy(6)
    flat = model.denoise(y, s)
    np.testing.assert_allclose(flat, denoised(y, s[:, None]), rtol=1e-4, atol=1e-5)
    assert flat.dtype == np.float64
    np.testing.assert_array_equal(model.denoise(y.reshape(6, 2, 1, 2), s).reshape(6, 4), flat)


def test_points_may_have_a_shape_that_the_model_was_not_told() -> None:
    def network(x: Array, s: Array) -> Array:
        assert x.shape[1:] in ((2, 1, 2), (4,))
        return exact(x.reshape(-1, 4), s).reshape(x.shape)

    y, s = noisy(6)
    shaped = y.reshape(6, 2, 1, 2)
    for dim in (None, 4):
        model = ScoreModel(network, "x0", dim=dim, log_density=log_density)
        np.testing.assert_array_equal(
            model.denoise(shaped, s), model.denoise(y, s).reshape(6, 2, 1, 2)
        )
        np.testing.assert_array_equal(model.score(shaped, s), model.score(y, s).reshape(6, 2, 1, 2))
        np.testing.assert_array_equal(model.log_density(shaped, s), log_density(y, s))
        assert model.denoise(shaped[:0], 1.0).shape == (0, 2, 1, 2)
    told = ScoreModel(network, "x0", event_shape=(2, 1, 2), log_density=log_density)
    np.testing.assert_array_equal(told.log_density(shaped, s), log_density(y, s))
    inner = ScoreModel(fm.score.Gaussian(np.zeros(4), 1.0))
    np.testing.assert_allclose(inner.denoise(shaped, 1.0), 0.5 * shaped)
    for wrong in (ScoreModel(network, "x0", dim=3), told):
        with pytest.raises(ArgumentError, match=r"dim: 3 was given|\(n, 4\) is needed"):
            wrong.denoise(np.zeros((6, 4, 1, 2)), s)
    with pytest.raises(ArgumentError, match="rows of different lengths"):
        told.denoise([[1.0], [1.0, 2.0]], 1.0)


@pytest.mark.parametrize(
    ("give", "message"),
    [
        (lambda y: np.where(np.arange(len(y)) == 2, np.nan, 0.0), "gave nan in row 2"),
        (lambda y: np.full(len(y), np.inf), "gave inf in row 0"),
        (lambda y: ["a"] * len(y), "it must hold numbers"),
        (lambda y: None, "gave None"),
    ],
    ids=["nan", "infinity", "text", "none"],
)
def test_log_densities_that_are_refused(give: Any, message: str) -> None:
    model = ScoreModel(exact, "x0", log_density=lambda y, s: give(y))
    with pytest.raises(TargetError, match=message):
        model.log_density(np.zeros((5, 4)), 1.0)
    none = ScoreModel(exact, "x0", log_density=lambda y, s: np.full(len(y), -np.inf))
    assert (none.log_density(np.zeros((5, 4)), 1.0) == -np.inf).all()


def test_a_model_passes_through() -> None:
    inner = ScoreModel(exact, "x0", sigma_range=(0.1, 9.0), dim=4, log_density=log_density)
    outer = ScoreModel(inner)
    y, s = noisy(5, 0.2, 8.0)
    np.testing.assert_array_equal(outer.denoise(y, s), inner.denoise(y, s))
    np.testing.assert_array_equal(outer.score(y, s), inner.score(y, s))
    np.testing.assert_array_equal(outer.log_density(y, s), log_density(y, s))
    assert (outer.form, outer.dim, outer.sigma_range) == ("model", 4, (0.1, 9.0))
    assert not outer.has_trace
    assert repr(outer) == f"<score model: {inner!r}>"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prediction": "v", "kind": "vp"}, "prediction: 'v' was given, where the model is"),
        ({"kind": "flow"}, "kind: 'flow' was given, where the model is a score model"),
        ({"prediction": "x0", "kind": "edm", "sigma_data": 0.5}, "sigma_data: 0.5 was given"),
        ({"time": np.log}, "time: "),
        ({"time_scale": 1.0}, "time_scale: "),
        ({"dtype": "banana"}, "dtype: 'banana' was given"),
        ({"device": "cpu"}, "device: "),
        ({"devices": ["cpu"]}, "devices: "),
        ({"max_batch": 3}, "max_batch: "),
        ({"dim": 5}, "dim: points of 5 coordinates .* have 2"),
        ({"dim": 5, "event_shape": (5,)}, "event_shape: points of 5 coordinates .* have 2"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_model_that_passes_through_knows_its_own(options: dict[str, Any], message: str) -> None:
    inner = fm.score.Gaussian([0.0, 0.0], 1.0)
    assert ScoreModel(inner, dim=2, event_shape=(2, 1)).event_shape == (2, 1)
    with pytest.raises(ArgumentError, match=message):
        ScoreModel(inner, **options)


def test_a_log_density_may_be_given() -> None:
    y, s = noisy(5)
    model = ScoreModel(exact, "x0", log_density=log_density)
    assert model.has_log_density
    np.testing.assert_array_equal(model.log_density(y, s), log_density(y, s))
    np.testing.assert_array_equal(model.log_density(y, 2.0), log_density(y, np.full(5, 2.0)))
    assert not ScoreModel(exact, "x0").has_log_density
    with pytest.raises(ArgumentError, match="has no log-density"):
        ScoreModel(exact, "x0").log_density(y, s)
    with pytest.raises(TargetError, match=r"shape \(\) for a batch of shape \(5, 4\)"):
        ScoreModel(exact, "x0", log_density=lambda y, s: 0.0).log_density(y, s)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prediction": "v"}, "prediction: 'v' was given with kind='ve'"),
        ({"prediction": "v", "kind": "edm"}, "give kind='vp'"),
        ({"prediction": "flow"}, "give kind='flow'"),
        ({"prediction": "edm", "kind": "vp"}, "give kind='edm'"),
        ({"prediction": "noise"}, "'noise' was given; one of 'eps'"),
        ({"kind": "cosine"}, "'cosine' was given; one of 've'"),
        ({"sigma_range": (1.0, 0.1)}, "sigma_range: .* two levels are needed"),
        ({"sigma_range": (0.1, np.inf)}, "sigma_range"),
        ({"kind": "edm", "sigma_data": -1.0}, "sigma_data: -1"),
        ({"kind": "vp", "beta_range": (1.0, 0.5)}, "beta_range: .* two numbers are needed"),
        ({"sigma_data": 0.5}, "sigma_data: given with kind='ve'"),
        ({"beta_range": (0.1, 20.0)}, "beta_range: given with kind='ve'"),
        (
            {"kind": "vp", "alphas_cumprod": TABLE, "beta_range": (0.1, 20.0)},
            "beta_range: given with alphas_cumprod=",
        ),
        (
            {"kind": "vp", "alphas_cumprod": TABLE, "discrete": True, "time": np.log},
            "discrete: given with time=",
        ),
        ({"time": np.log, "time_scale": 2.0}, "time_scale: given with time="),
        ({"alphas_cumprod": TABLE}, "alphas_cumprod: given with kind='ve'"),
        ({"kind": "vp", "alphas_cumprod": TABLE[::-1]}, "does not fall"),
        ({"kind": "vp", "alphas_cumprod": [0.5]}, "two numbers at least"),
        ({"kind": "vp", "discrete": True}, "give alphas_cumprod="),
        ({"time": 3.0}, "time: float was given"),
        ({"time_scale": 0.0}, "time_scale"),
        ({"dim": 3, "event_shape": (2, 2)}, "has 4 coordinates"),
        ({"dim": 0}, "dim"),
        ({"max_batch": 0}, "max_batch"),
        ({"dtype": "int32"}, "a floating-point type is needed"),
        ({"dtype": "nonsense"}, "a floating-point type is needed"),
        ({"on_device": True}, "it is for torch modules"),
        ({"on_device": "yes"}, "on_device"),
        ({"clamp": 1}, "clamp"),
        ({"log_density": 1.0}, "log_density: float"),
        ({"user_data": 1}, "user_data: given without a C function"),
        ({"event_shape": 3}, "event_shape: 3 was given; a tuple of sizes"),
        ({"event_shape": ()}, "event_shape: .* one size at least"),
        ({"devices": []}, "one device at least"),
        ({"devices": 3}, "devices: 3 was given; a list is needed"),
        ({"devices": ["cpu"], "device": "cpu"}, "give one of them"),
    ],
    ids=lambda value: value.replace(" ", "-")[:24] if isinstance(value, str) else "",
)
def test_arguments_that_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        ScoreModel(exact, **options)


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ArgumentError, match="model: str was given"):
        ScoreModel("network")


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda x, s: x[:, :2], r"shape \(3, 2\) for points of shape \(3, 4\)"),
        (lambda x, s: 1j * x, "complex128; it must give real numbers"),
        (lambda x, s: None, "object; it must give real numbers"),
        (lambda x, s: np.where(x > -99, x, x) * np.array([1, 1, 1, np.nan]), "row 0 at level 2"),
    ],
    ids=["shape", "complex", "none", "nan"],
)
def test_outputs_that_are_refused(network: Any, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        ScoreModel(network).denoise(np.ones((3, 4)), [2.0, 2.0, 2.0])


def test_it_can_be_pickled_and_shown() -> None:
    model = ScoreModel(exact, "x0", sigma_range=(0.1, 1.0))
    y, s = noisy(4, 0.2, 0.9)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.denoise(y, s), model.denoise(y, s))
    assert repr(again) == "<score model: x0 of kind ve by exact, float64 arrays>"
    assert (MEAN.shape, VARIANCE) == ((DIM,), 0.7)
