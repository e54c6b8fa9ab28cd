"""Exact score models: published values, 50-digit arithmetic, derivatives, forms, draws."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from mpmath import mp, mpf
from numpy.typing import NDArray
from score_exact import COVARIANCES_A, DIGITS, MEANS_A, WEIGHTS_A, case, exact

import fermiac as fm
from fermiac.errors import ArgumentError, NumericalError
from fermiac.score import Empirical, Gaussian, GaussianMixture

Array = NDArray[np.float64]
FORMS = ("isotropic", "diagonal", "full")
# y, s, log p, score, D.
VALUES_A = [
    ((0.3, -0.2), 0.0, -1.404704112652, (-1.199797253463, 0.800043813870), (0.3, -0.2)),
    (
        (1.5, 0.8),
        0.5,
        -3.720694445869,
        (0.495856686351, -0.740591785109),
        (1.623964171588, 0.614852053723),
    ),
    (
        (-1.0, 2.0),
        2.0,
        -4.031547159863,
        (0.138317377418, -0.228440022382),
        (-0.446730490327, 1.086239910472),
    ),
    (
        (40.0, -30.0),
        10.0,
        -18.709318273816,
        (-0.382670942881, 0.306096721382),
        (1.732905711852, 0.609672138194),
    ),
]


def model_a() -> GaussianMixture:
    return GaussianMixture(WEIGHTS_A, MEANS_A, COVARIANCES_A)


PLANE = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 2.0]])


@pytest.mark.parametrize(("y", "s", "log_p", "score", "denoised"), VALUES_A)
def test_values_in_the_plane(
    y: tuple[float, float],
    s: float,
    log_p: float,
    score: tuple[float, float],
    denoised: tuple[float, float],
) -> None:
    model = model_a()
    assert model.log_density([y], s)[0] == pytest.approx(log_p, rel=1e-12, abs=0)
    np.testing.assert_allclose(model.score([y], s)[0], score, rtol=0, atol=1e-11)
    np.testing.assert_allclose(model.denoise([y], s)[0], denoised, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("y", "mean", "sd", "best"),
    [
        ((1.5, 0.8), -0.335913638, 1.111062241, 43),
        ((6.0, -5.0), 1.672247096, 0.370710782, 11),
    ],
)
def test_posterior_of_the_level(y: tuple[float, float], mean: float, sd: float, best: int) -> None:
    logs = np.linspace(np.log(10), np.log(0.05), 100)
    terms = model_a().level_log_density([y], np.exp(logs))[0]
    p = np.exp(terms - terms.max())
    p /= p.sum()
    assert (p @ logs).item() == pytest.approx(mean, abs=1e-9)
    assert np.sqrt(p @ (logs - p @ logs) ** 2).item() == pytest.approx(sd, abs=1e-9)
    assert int(np.argmax(p)) == best


def relative(found: Array, true: list[Any]) -> float:
    """The largest error relative to the largest true number."""
    with mp.workdps(DIGITS):
        off = max(abs(mpf(float(a)) - b) for a, b in zip(np.ravel(found), true, strict=True))
        return float(off / max(mpf(1), max(abs(b) for b in true)))


@pytest.mark.parametrize("form", [*FORMS, "empirical"])
def test_fifty_digits_agree(form: str) -> None:
    rng = np.random.default_rng(11)
    for _ in range(6):
        weights, means, covariances = case(rng, form)
        model = GaussianMixture(weights, means, covariances)
        low = 0.05 if form == "empirical" else 0.0
        for s in (low, 0.3, 4.0, 80.0):
            y = model.sample(1, s, rng=rng)
            true = exact(weights, means, covariances, y[0], s)
            scale = max(1.0, float(np.abs(model.score(y, s)).max()))
            assert relative(model.log_density(y, s), [true.log_density]) < 5e-14
            assert relative(model.score(y, s) / scale, [x / scale for x in true.score]) < 5e-14
            assert relative(model.denoise(y, s), true.denoised) < 5e-14
            assert relative(model.responsibilities(y, s), true.shares) < 5e-14
            if s > 0:
                denoised, trace = model._with_trace(y, np.array([s]))
                assert relative(denoised, true.denoised) < 5e-14
                assert relative(trace, [true.trace]) < 5e-13


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("s", [0.0, 1.0, 10.0])
def test_far_tails(form: str, s: float) -> None:
    rng = np.random.default_rng(5)
    weights, means, covariances = case(rng, form)
    model = GaussianMixture(weights, means, covariances)
    for far in (40.0, 1e6):
        y = far * rng.normal(size=(1, model.dim))
        true = exact(weights, means, covariances, y[0], s)
        for found, of in (
            (model.log_density(y, s), [true.log_density]),
            (model.score(y, s)[0], true.score),
            (model.denoise(y, s)[0], true.denoised),
        ):
            assert relative(found, of) < 1e-12


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("s", [0.2, 2.0])
def test_derivatives(form: str, s: float) -> None:
    model = GaussianMixture(*case(np.random.default_rng(3), form))
    y = model.sample(20, s, rng=4)
    h = 1e-5
    slopes = np.empty_like(y)
    jacobian = np.empty((20, model.dim, model.dim))
    for j in range(model.dim):
        step = np.zeros(model.dim)
        step[j] = h
        slopes[:, j] = (model.log_density(y + step, s) - model.log_density(y - step, s)) / (2 * h)
        jacobian[:, :, j] = (model.denoise(y + step, s) - model.denoise(y - step, s)) / (2 * h)
    scale = 1 + np.abs(jacobian).max()
    np.testing.assert_allclose(model.score(y, s), slopes, rtol=0, atol=1e-6 / s)
    np.testing.assert_allclose(model.jacobian(y, s), jacobian, rtol=0, atol=1e-6 / s * scale)
    denoised, trace = model._with_trace(y, np.array([s]))
    np.testing.assert_allclose(denoised, model.denoise(y, s), rtol=0, atol=1e-13)
    by_diagonal = np.trace(model.jacobian(y, s), axis1=1, axis2=2)
    np.testing.assert_allclose(trace, by_diagonal, rtol=1e-12)
    # The score and the denoiser are one.
    np.testing.assert_allclose(
        y + s**2 * model.score(y, s), model.denoise(y, s), rtol=0, atol=1e-12
    )


def everything(model: GaussianMixture | Empirical, y: Array, s: Array | float) -> list[Array]:
    per_row = np.broadcast_to(np.asarray(s, float), (len(y),)).copy()
    return [
        model.denoise(y, s),
        model.score(y, s),
        model.log_density(y, s),
        model.responsibilities(y, s),
        model.jacobian(y, s),
        *model._with_trace(y, per_row),
        model.level_log_density(y, [0.3, 1.0, 5.0]),
    ]


def test_forms_agree() -> None:
    rng = np.random.default_rng(8)
    weights, means = rng.uniform(1, 2, 5), rng.normal(size=(5, 3))
    variances = rng.uniform(0.1, 1, 5)
    diagonal = np.repeat(variances[:, None], 3, axis=1)
    full = np.stack([np.diag(v) for v in diagonal])
    # The same law turned, so that no matrix is diagonal, and turned back.
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    axes = diagonal * [1.0, 1.5, 0.5]
    turned_full = turn @ np.stack([np.diag(v) for v in axes]) @ turn.T
    y, s = rng.normal(size=(40, 3)), 0.7
    plain = everything(GaussianMixture(weights, means, variances), y, s)
    for covariances in (diagonal, full):
        for a, b in zip(
            plain, everything(GaussianMixture(weights, means, covariances), y, s), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13)
    straight = GaussianMixture(weights, means, axes)
    turned = GaussianMixture(weights, means @ turn.T, (turned_full + turned_full.mT) / 2)
    np.testing.assert_allclose(
        straight.denoise(y, s) @ turn.T, turned.denoise(y @ turn.T, s), rtol=0, atol=1e-13
    )
    np.testing.assert_allclose(
        straight.log_density(y, s), turned.log_density(y @ turn.T, s), rtol=1e-13
    )
    np.testing.assert_allclose(
        straight._with_trace(y, np.array([s]))[1],
        turned._with_trace(y @ turn.T, np.array([s]))[1],
        rtol=1e-12,
    )


def test_a_normal_law_is_a_mixture_of_one() -> None:
    y = np.random.default_rng(1).normal(size=(9, 2))
    for covariance in (0.5, [0.5, 2.0], [[0.5, 0.3], [0.3, 2.0]]):
        one = Gaussian([1.0, -1.0], covariance)
        many = GaussianMixture([2.0], [[1.0, -1.0]], np.asarray(covariance)[None])
        np.testing.assert_array_equal(one.denoise(y, 0.7), many.denoise(y, 0.7))
        np.testing.assert_array_equal(one.log_density(y, 0.7), many.log_density(y, 0.7))


def test_data_are_a_mixture_without_variance() -> None:
    rng = np.random.default_rng(2)
    data, weights = rng.normal(size=(700, 3)), rng.uniform(0, 1, 700)
    y, s = rng.normal(size=(60, 3)), rng.uniform(0.01, 3, 60)
    found = everything(Empirical(data, weights), y, s)
    for a, b in zip(found, everything(GaussianMixture(weights, data, 0.0), y, s), strict=True):
        np.testing.assert_array_equal(a, b)
    # By the formula, in plain NumPy.
    squares = ((y[:, None] - data) ** 2).sum(2)
    terms = np.log(weights / weights.sum()) - squares / (2 * s[:, None] ** 2)
    shares = np.exp(terms - terms.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    np.testing.assert_allclose(found[0], shares @ data, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found[3], shares, rtol=1e-9, atol=1e-25)
    scatter = np.einsum("nk,nkj->n", shares, (data[None] - (shares @ data)[:, None]) ** 2)
    np.testing.assert_allclose(found[6], scatter / s**2, rtol=1e-10)


@pytest.mark.parametrize("form", [*FORMS, "empirical"])
def test_bits_do_not_depend_on_threads_or_batches(form: str) -> None:
    rng = np.random.default_rng(6)
    if form == "empirical":
        model: GaussianMixture | Empirical = Empirical(rng.normal(size=(300, 5)))
    else:
        model = GaussianMixture(*case(rng, form))
    n = 2001
    s = np.exp(rng.uniform(-2, 3, n))
    y = model.sample(n, s, rng=1)
    before = fm.get_num_threads()
    try:
        fm.set_num_threads(1)
        once = everything(model, y, s)
        for threads in (2, 8):
            fm.set_num_threads(threads)
            for a, b in zip(once, everything(model, y, s), strict=True):
                np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(y, model.sample(n, s, rng=1))
    finally:
        fm.set_num_threads(before)
    for start, end in ((0, 1), (5, 12), (17, 300)):
        for a, b in zip(once, everything(model, y[start:end], s[start:end]), strict=True):
            np.testing.assert_array_equal(a[start:end], b)
    # One level for all rows is the same as that level for each.
    np.testing.assert_array_equal(
        model.denoise(y[:100], 0.37), model.denoise(y[:100], np.full(100, 0.37))
    )


def test_levels_are_those_of_single_calls() -> None:
    rng = np.random.default_rng(9)
    levels = np.exp(np.linspace(-3, 3, 70))
    for form in FORMS:
        model = GaussianMixture(*case(rng, form))
        y = model.sample(37, 1.0, rng=2)
        singly = np.stack([model.log_density(y, s) for s in levels], axis=1)
        np.testing.assert_allclose(model.level_log_density(y, levels), singly, rtol=1e-14)


@pytest.mark.parametrize("form", FORMS)
def test_draws_have_the_law_of_the_model(form: str) -> None:
    weights, means, covariances = case(np.random.default_rng(12), form)
    model, n, s = GaussianMixture(weights, means, covariances), 40_000, 0.6
    k, d = means.shape
    own = covariances if form == "full" else np.zeros((k, d, d))
    if form != "full":
        for c in range(k):
            own[c] = np.diag(np.broadcast_to(covariances[c], (d,)))
    w = weights / weights.sum()
    mean = w @ means
    second = sum(w[c] * (own[c] + np.outer(means[c], means[c])) for c in range(k))
    covariance = second - np.outer(mean, mean) + s**2 * np.eye(d)
    x = model.sample(n, s, rng=3)
    sd = np.sqrt(np.diag(covariance))
    assert (np.abs(x.mean(0) - mean) < 5 * sd / np.sqrt(n)).all()
    off = x - mean
    products = np.einsum("ni,nj->nij", off, off)
    error = products.std(0) / np.sqrt(n)
    assert (np.abs(products.mean(0) - covariance) < 5 * error).all()
    # The average of the score is zero, and its average square Fisher's information.
    score = model.score(x, s)
    assert (np.abs(score.mean(0)) < 5 * score.std(0) / np.sqrt(n)).all()


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
