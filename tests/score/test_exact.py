"""Exact score models: published values, 50-digit arithmetic, derivatives, forms, draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpmath import mp, mpf
from numpy.typing import NDArray
from score_exact import COVARIANCES_A, DIGITS, MEANS_A, WEIGHTS_A, case, exact

import fermiac as fm
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
