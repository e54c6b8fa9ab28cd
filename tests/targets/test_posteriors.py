"""Built-in log-densities: values, gradients, evidences, independence of the batch, pickling."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose
from numpy.typing import NDArray

import fermiac as fm
from fermiac import distributions as laws
from fermiac import targets
from fermiac.errors import ArgumentError, TargetError
from fermiac.targets import LogDensity

Array = NDArray[np.float64]

RNG = np.random.default_rng(20250101)
# 83 observations: no whole number of blocks of eight, nor of panels.
X = RNG.normal(size=(83, 4))
BETA = np.array([0.4, -1.0, 0.5, 0.0, 2.0])
ETA = BETA[0] + X @ BETA[1:]
BINARY = (RNG.random(83) < 1 / (1 + np.exp(-ETA))).astype(float)
COUNTS = RNG.poisson(np.exp(0.3 * ETA)).astype(float)
REAL = ETA + 0.7 * RNG.normal(size=83)
OFFSET = RNG.normal(size=83)
SD = np.array([3.0, 1.0, 0.5, 2.0, 1.5])
MEAN = np.array([0.1, 0.2, -0.3, 0.0, 1.0])
EFFECT = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
ERROR = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])


def predictor(b: Array) -> Array:
    return b[:, :1] + b[:, 1:5] @ X.T


def prior(b: Array) -> Array:
    return scipy.stats.norm.logpdf(b[:, :5], MEAN, SD).sum(axis=1)


def logistic(b: Array) -> Array:
    odds = predictor(b) + OFFSET
    return prior(b) - np.logaddexp(0.0, np.where(BINARY == 1, -odds, odds)).sum(axis=1)


def poisson(b: Array) -> Array:
    mean = np.exp(predictor(b) + OFFSET)
    return prior(b) + scipy.stats.poisson.logpmf(COUNTS, mean).sum(axis=1)


def linear_known(b: Array) -> Array:
    return prior(b) + scipy.stats.norm.logpdf(REAL, predictor(b), 0.7).sum(axis=1)


def linear_unknown(b: Array) -> Array:
    sigma = np.exp(b[:, 5:])
    noise = scipy.stats.halfnorm.logpdf(sigma[:, 0], scale=2.0) + b[:, 5]
    return prior(b) + noise + scipy.stats.norm.logpdf(REAL, predictor(b), sigma).sum(axis=1)


def schools(x: Array, centered: bool) -> Array:
    mu, tau = x[:, :1], np.exp(x[:, 1:2])
    theta = x[:, 2:] if centered else mu + tau * x[:, 2:]
    value = scipy.stats.norm.logpdf(x[:, 0], 0, 5) + x[:, 1]
    value += scipy.stats.halfcauchy.logpdf(tau[:, 0], scale=5)
    spread = scipy.stats.norm.logpdf(x[:, 2:], mu, tau) if centered else None
    value += (scipy.stats.norm.logpdf(x[:, 2:]) if spread is None else spread).sum(axis=1)
    return value + scipy.stats.norm.logpdf(EFFECT, theta, ERROR).sum(axis=1)


def rosenbrock(x: Array) -> Array:
    # Two blocks of three coordinates, the first of which they share.
    value = scipy.stats.norm.logpdf(x[:, 0], 0.5, np.sqrt(1 / 0.6))
    for before, at in ((0, 1), (1, 2), (0, 3), (3, 4)):
        value += scipy.stats.norm.logpdf(x[:, at], x[:, before] ** 2, np.sqrt(1 / 4.0))
    return value


def banana(x: Array) -> Array:
    bent = x[:, 1] + 0.03 * (x[:, 0] ** 2 - 100.0)
    value = scipy.stats.norm.logpdf(x[:, 0], 0, 10) + scipy.stats.norm.logpdf(bent)
    return value + scipy.stats.norm.logpdf(x[:, 2:]).sum(axis=1)


def funnel(x: Array) -> Array:
    value = scipy.stats.norm.logpdf(x[:, 0], 0, 3)
    return value + scipy.stats.norm.logpdf(x[:, 1:], 0, np.exp(x[:, :1] / 2)).sum(axis=1)


# An autoregression of the second order on 21 coordinates: its precision has two diagonals below.
STEPS = np.eye(21) - 0.5 * np.eye(21, k=-1) + 0.3 * np.eye(21, k=-2)
PRECISION = STEPS.T @ STEPS * 1.7
LEVEL = np.linspace(-1, 2, 21)

COV = np.array([[2.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 0.5]])
CENTRE = np.array([1.0, -2.0, 0.5])
MIXED = laws.Mixture(
    [0.3, 0.7], [laws.MultivariateNormal(CENTRE, COV), laws.MultivariateT(3.0, -CENTRE, COV)]
)
PRODUCT = laws.Product(
    [laws.Gamma(2.5, 0.5), laws.MultivariateNormal(CENTRE, COV), laws.Beta(3, 2)]
)


def mixed(x: Array) -> Array:
    return np.logaddexp(
        np.log(0.3) + scipy.stats.multivariate_normal.logpdf(x, CENTRE, COV),
        np.log(0.7) + scipy.stats.multivariate_t.logpdf(x, -CENTRE, COV, df=3.0),
    )


def product(x: Array) -> Array:
    value = scipy.stats.gamma.logpdf(x[:, 0], 2.5, scale=0.5)
    value = value + scipy.stats.multivariate_normal.logpdf(x[:, 1:4], CENTRE, COV)
    return value + scipy.stats.beta.logpdf(x[:, 4], 3, 2)


def of_law(law: laws.Law) -> LogDensity:
    return targets.law_density(law)


def columns(logpdf: Callable[..., Any], **parameters: Any) -> Callable[[Array], Array]:
    return lambda x: logpdf(x, **parameters).sum(axis=1)


GLM = {"prior_sd": SD, "prior_mean": MEAN}

# name: (target, the same in NumPy and SciPy, points: low, high)
CASES: dict[str, tuple[LogDensity, Callable[[Array], Array], Any, Any]] = {
    "logistic": (
        targets.logistic_regression(X, BINARY, offset=OFFSET, **GLM),
        logistic,
        -2.0,
        2.0,
    ),
    "poisson": (targets.poisson_regression(X, COUNTS, offset=OFFSET, **GLM), poisson, -1.0, 1.0),
    "linear_known": (
        targets.linear_regression(X, REAL, noise_sd=0.7, **GLM),
        linear_known,
        -2.0,
        2.0,
    ),
    "linear_unknown": (
        targets.linear_regression(X, REAL, noise_scale=2.0, **GLM),
        linear_unknown,
        -2.0,
        2.0,
    ),
    "schools": (targets.eight_schools(), lambda x: schools(x, False), -3.0, 3.0),
    "schools_centered": (targets.eight_schools(True), lambda x: schools(x, True), -3.0, 3.0),
    "banana": (targets.banana(4, 0.03), banana, -8.0, 8.0),
    "funnel": (targets.funnel(5), funnel, -4.0, 4.0),
    "rosenbrock": (
        targets.rosenbrock(2, 3, mean=0.5, a=0.3, b=2.0),
        rosenbrock,
        -2.0,
        2.0,
    ),
    "gaussian": (
        targets.gaussian(LEVEL, precision=PRECISION),
        lambda x: scipy.stats.multivariate_normal.logpdf(x, LEVEL, np.linalg.inv(PRECISION)),
        -4.0,
        4.0,
    ),
    "normal": (
        of_law(laws.Normal([1.0, 2.0], [0.5, 3.0])),
        columns(scipy.stats.norm.logpdf, loc=[1.0, 2.0], scale=[0.5, 3.0]),
        -5.0,
        5.0,
    ),
    "log_normal": (
        of_law(laws.LogNormal([0.3, 1.0], [0.5, 2.0])),
        columns(scipy.stats.lognorm.logpdf, s=[0.5, 2.0], scale=np.exp([0.3, 1.0])),
        0.05,
        9.0,
    ),
    "uniform": (
        of_law(laws.Uniform(-1.0, 3.0)),
        columns(scipy.stats.uniform.logpdf, loc=-1.0, scale=4.0),
        -0.9,
        2.9,
    ),
    "student_t": (
        of_law(laws.StudentT([2.0, 7.5], 1.0, 0.5)),
        columns(scipy.stats.t.logpdf, df=[2.0, 7.5], loc=1.0, scale=0.5),
        -9.0,
        9.0,
    ),
    "gamma": (
        of_law(laws.Gamma([0.5, 1.0, 1.7, 30.0], 0.7)),
        columns(scipy.stats.gamma.logpdf, a=[0.5, 1.0, 1.7, 30.0], scale=0.7),
        0.1,
        30.0,
    ),
    "beta": (
        of_law(laws.Beta([0.5, 1.0, 1.0, 3.0, 200.0], [0.7, 1.0, 3.0, 2.5, 90.0])),
        columns(scipy.stats.beta.logpdf, a=[0.5, 1, 1, 3.0, 200.0], b=[0.7, 1, 3.0, 2.5, 90.0]),
        0.05,
        0.95,
    ),
    "exponential": (
        of_law(laws.Exponential(2.5)),
        columns(scipy.stats.expon.logpdf, scale=2.5),
        0.1,
        20.0,
    ),
    "multivariate_normal": (
        of_law(laws.MultivariateNormal(CENTRE, COV)),
        lambda x: scipy.stats.multivariate_normal.logpdf(x, CENTRE, COV),
        -4.0,
        4.0,
    ),
    "multivariate_t": (
        of_law(laws.MultivariateT(3.0, CENTRE, COV)),
        lambda x: scipy.stats.multivariate_t.logpdf(x, CENTRE, COV, df=3.0),
        -9.0,
        9.0,
    ),
    "mixture": (of_law(MIXED), mixed, -4.0, 4.0),
    "product": (
        of_law(PRODUCT),
        product,
        np.array([0.1, -3, -3, -3, 0.05]),
        np.array([4.0, 3, 3, 3, 0.95]),
    ),
}


def points(name: str, n: int) -> Array:
    target, _, low, high = CASES[name]
    return np.random.default_rng(7).uniform(low, high, size=(n, target.dim))


def differences(f: Callable[[Array], Array], x: Array, step: float) -> Array:
    """Gradients by central differences of the sixth order."""
    columns = []
    for j in range(x.shape[1]):
        e = np.zeros(x.shape[1])
        e[j] = step
        d1, d2, d3 = (f(x + k * e) - f(x - k * e) for k in (1, 2, 3))
        columns.append((45 * d1 - 9 * d2 + d3) / (60 * step))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("name", CASES)
def test_values_agree_with_independent_formulas(name: str) -> None:
    target, formula, _, _ = CASES[name]
    x = points(name, 301)
    assert_allclose(target.log_density(x), formula(x), rtol=2e-13, atol=2e-12)


@pytest.mark.parametrize("name", CASES)
def test_gradients_agree_with_differences(name: str) -> None:
    target, formula, _, _ = CASES[name]
    x = points(name, 60)
    assert target.has_gradient
    values, gradients = target.log_density_and_gradient(x)
    assert np.array_equal(values, target.log_density(x))
    expected = differences(formula, x, 1e-3)
    scale = np.abs(values)[:, None] + np.abs(expected)
    # Sixth-order differences with a step of 1e-3: rounding is some 1e-13 of the value over it.
    assert np.all(np.abs(gradients - expected) <= 2e-9 * (1.0 + scale))


@pytest.mark.parametrize("name", CASES)
def test_a_row_depends_on_nothing_but_the_row(name: str, thread_counts: tuple[int, ...]) -> None:
    target = CASES[name][0]
    x = points(name, 4113)
    values, gradients = target.log_density_and_gradient(x)
    for start, n in [(0, 1), (3, 1), (5, 3), (6, 4), (11, 9), (40, 16), (4090, 23)]:
        part = slice(start, start + n)
        v, g = target.log_density_and_gradient(x[part])
        assert np.array_equal(v, values[part])
        assert np.array_equal(g, gradients[part])
        assert np.array_equal(target.log_density(x[part]), values[part])
    assert target.log_density(x[:0]).shape == (0,)
    for n_threads in thread_counts:
        v, g = target._handle.log_density_gradient(x, n_threads)
        assert np.array_equal(v, values)
        assert np.array_equal(g, gradients)


@pytest.mark.parametrize("name", CASES)
def test_targets_are_values(name: str) -> None:
    target = CASES[name][0]
    copy = pickle.loads(pickle.dumps(target))
    assert copy == target
    assert hash(copy) == hash(target)
    assert repr(copy) == repr(target)
    assert copy.names == target.names
    x = points(name, 5)
    assert np.array_equal(copy.log_density(x), target.log_density(x))
    others = [other for key, (other, *_) in CASES.items() if key != name]
    assert target not in others
    with pytest.raises(AttributeError, match="frozen"):
        target.dim = 3


def test_reprs_are_short() -> None:
    assert repr(targets.logistic_regression(X, BINARY)) == (
        "logistic_regression(<83 x 4 array>, <83 array>)"
    )
    assert repr(CASES["linear_known"][0]).endswith("noise_sd=0.7)")
    assert repr(targets.eight_schools(True)) == "eight_schools(True)"


def test_names_are_those_of_the_coordinates() -> None:
    for target, *_ in CASES.values():
        assert target.names is None or len(target.names) == target.dim
    assert targets.eight_schools(True).names is not None
    plain = targets.poisson_regression(X, COUNTS, intercept=False)
    assert plain.names == ("beta[0]", "beta[1]", "beta[2]", "beta[3]")
    assert CASES["linear_unknown"][0].names[-1] == "log_sigma"  # type: ignore[index]


def test_densities_are_normalised() -> None:
    # The trapezoidal rule converges at once for what is smooth and vanishes at the ends.
    a, b = np.linspace(-9, 9, 1201), np.linspace(-80, 80, 6401)
    grid = np.stack(np.meshgrid(a, b), axis=-1).reshape(-1, 2)
    bent = targets.rosenbrock(mean=0.2, a=0.7, b=0.9)
    for target in (targets.banana(2, 0.5, 1.0), targets.funnel(2, 0.8), bent):
        total = np.exp(target.log_density(grid)).sum() * (a[1] - a[0]) * (b[1] - b[0])
        assert_allclose(total, 1.0, atol=1e-9)
        assert target.log_evidence == 0.0


def test_large_gaussians_agree_with_the_law() -> None:
    for d in (1, 7, 8, 9, 31, 150):
        root = np.random.default_rng(d).normal(size=(d, d)) / np.sqrt(d)
        law = laws.MultivariateNormal(np.arange(d) / 7, root @ root.T + np.eye(d))
        x = np.random.default_rng(1).normal(size=(13, d))
        values, gradients = targets.law_density(law).log_density_and_gradient(x)
        assert_allclose(values, law.log_density(x), rtol=1e-13)
        assert_allclose(gradients, -np.linalg.solve(law.cov, (x - law.mean).T).T, rtol=1e-9)
        for i in range(13):
            v, g = targets.law_density(law).log_density_and_gradient(x[i : i + 1])
            assert v[0] == values[i]
            assert np.array_equal(g[0], gradients[i])


def test_gaussians_take_a_precision_in_either_form() -> None:
    bands = np.zeros((4, 21))
    for k in range(4):
        bands[k, : 21 - k] = PRECISION.diagonal(-k)
        # What lies beyond the matrix is not read.
        bands[k, 21 - k :] = np.nan
    dense = CASES["gaussian"][0]
    assert targets.gaussian(LEVEL, precision=bands, banded=True) == dense
    assert repr(dense) == "gaussian(<21 array>, <3 x 21 array>, banded=True)"
    diagonal = targets.gaussian(1.0, precision=np.diag([1.0, 4.0]))
    assert_allclose(diagonal.log_density([[1.0, 1.0]]), np.log(2) - np.log(2 * np.pi))
    # No covariance of this size is ever made.
    n = 100_000
    bands = np.stack([np.full(n, 1.81), np.full(n, -0.9)])
    walk = targets.gaussian(0.0, precision=bands, banded=True)
    x = np.random.default_rng(4).normal(size=(1, n))
    value, slopes = walk.log_density_and_gradient(x)
    product = 1.81 * x
    product[:, 1:] -= 0.9 * x[:, :-1]
    product[:, :-1] -= 0.9 * x[:, 1:]
    assert_allclose(slopes, -product, rtol=1e-9, atol=1e-12)
    centre = walk.log_density(np.zeros((1, n)))
    assert_allclose(value - centre, -0.5 * (x * product).sum(), rtol=1e-11)
    # ln det P of a tridiagonal matrix by its pivots, which soon are 1.
    pivots = [1.81]
    while len(pivots) < 200:
        pivots.append(1.81 - 0.81 / pivots[-1])
    assert_allclose(centre, 0.5 * np.log(pivots).sum() - n * 0.5 * np.log(2 * np.pi), rtol=1e-13)


def test_banana_has_the_moments_that_it_states() -> None:
    z = np.random.default_rng(3).normal(size=(200_000, 2))
    x = np.stack([10 * z[:, 0], z[:, 1] - 0.1 * 100 * (z[:, 0] ** 2 - 1)], axis=1)
    error = np.sqrt(1 + 2 * 0.1**2 * 1e4)
    assert abs(x[:, 1].mean()) < 5 * error / np.sqrt(len(x))
    # The transported draws have the density: E[log p] = -entropy of the two normals.
    values = targets.banana().log_density(x)
    entropy = 2 * 0.5 * np.log(2 * np.pi * np.e) + np.log(10)
    assert abs(values.mean() + entropy) < 5 * values.std() / np.sqrt(len(x))


def test_evidence_of_linear_regression_is_that_of_the_observations() -> None:
    target = CASES["linear_known"][0]
    design = np.column_stack([np.ones(83), X])
    cov = 0.7**2 * np.eye(83) + design @ np.diag(SD**2) @ design.T
    truth = scipy.stats.multivariate_normal.logpdf(REAL, design @ MEAN, cov)
    assert_allclose(target.log_evidence, truth, rtol=1e-12)
    # Fewer observations than coefficients.
    few = targets.linear_regression(X[:3], REAL[:3], noise_sd=0.7, **GLM)
    truth = scipy.stats.multivariate_normal.logpdf(REAL[:3], (design @ MEAN)[:3], cov[:3, :3])
    assert_allclose(few.log_evidence, truth, rtol=1e-12)
    assert CASES["logistic"][0].log_evidence is None
    assert CASES["linear_unknown"][0].log_evidence is None


def test_a_nan_is_an_error_that_names_its_row() -> None:
    for target, *_ in (CASES["logistic"], CASES["funnel"], CASES["schools"], CASES["gamma"]):
        x = np.full((9, target.dim), 0.5)
        x[7, 1] = np.nan
        with pytest.raises(TargetError, match="row 7"):
            target.log_density(x)
        with pytest.raises(TargetError, match="row 7"):
            target.log_density_and_gradient(x)


def test_laws_are_zero_outside_their_support() -> None:
    law = laws.Product([laws.Gamma(2.0), laws.Uniform(0.0, 1.0)])
    values, _ = targets.law_density(law).log_density_and_gradient(
        [[-1.0, 0.5], [1.0, 2.0], [1.0, 0.5]]
    )
    assert np.array_equal(np.isfinite(values), [False, False, True])
    part = laws.Mixture([1, 1], [laws.Uniform(0.0, 1.0), laws.Exponential(1.0)])
    _, gradient = targets.law_density(part).log_density_and_gradient([[2.0]])
    assert_allclose(gradient, [[-1.0]])


def test_laws_without_a_handle_have_no_gradient() -> None:
    target = targets.law_density(scipy.stats.gumbel_r(1.0, 2.0))
    assert target.form == "python"
    assert not target.has_gradient
    x = np.array([[0.3], [2.0]])
    assert_allclose(target.log_density(x), scipy.stats.gumbel_r.logpdf(x[:, 0], 1.0, 2.0))
    with pytest.raises(ArgumentError, match="no gradient"):
        target.log_density_and_gradient(x)
    assert np.array_equal(pickle.loads(pickle.dumps(target)).log_density(x), target.log_density(x))
    assert targets.law_density(scipy.stats.norm(1.0, 2.0)).has_gradient
    with pytest.raises(ArgumentError, match="law"):
        targets.law_density("normal")


def test_eight_schools_have_the_published_posterior() -> None:
    # With μ and the effects integrated out, what is left is a quadrature over ln τ.
    centered = targets.eight_schools(True)
    log_tau = np.linspace(-8.0, 6.0, 1401)
    tau = np.exp(log_tau)
    variances = ERROR**2 + tau[:, None] ** 2
    precision = 1 / 25 + (1 / variances).sum(axis=1)
    centre = (EFFECT / variances).sum(axis=1) / precision
    # At any (μ, θ): the joint density less that of (μ, θ) given τ.
    mu = centre
    spread = 1 / (1 / ERROR**2 + 1 / tau[:, None] ** 2)
    theta = spread * (EFFECT / ERROR**2 + mu[:, None] / tau[:, None] ** 2)
    joint = centered.log_density(np.column_stack([mu, log_tau, theta]))
    given = 0.5 * np.log(precision / (2 * np.pi)) - 0.5 * np.log(2 * np.pi * spread).sum(axis=1)
    weight = np.exp(joint - given - (joint - given).max())
    weight /= weight.sum()
    assert_allclose(weight @ centre, 4.396821, atol=2e-5)
    assert_allclose(weight @ tau, 3.597705, atol=2e-3)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: targets.logistic_regression(X[:, 0], BINARY), "x: an array of shape"),
        (lambda: targets.logistic_regression(X, BINARY[:5]), r"y: .*\(83,\)"),
        (lambda: targets.logistic_regression(X, COUNTS + 2), "0 or 1"),
        (lambda: targets.logistic_regression(X, BINARY, prior_sd=[1.0, 2.0]), "prior_sd"),
        (lambda: targets.logistic_regression(X, BINARY, prior_sd=0.0), "above 0"),
        (lambda: targets.logistic_regression(X, BINARY, prior_mean=np.nan), "prior_mean"),
        (lambda: targets.logistic_regression(X, BINARY, offset=[1.0]), "offset"),
        (lambda: targets.logistic_regression(X * np.inf, BINARY), "x: .*finite"),
        (lambda: targets.poisson_regression(X, COUNTS - 0.5), "whole numbers"),
        (lambda: targets.poisson_regression(X, COUNTS - 1), "whole numbers"),
        (lambda: targets.linear_regression(X, REAL, noise_sd=0.0), "noise_sd"),
        (lambda: targets.linear_regression(X, REAL, noise_scale=-1.0), "noise_scale"),
        (lambda: targets.banana(1), "dim"),
        (lambda: targets.banana(2, np.nan), "curvature"),
        (lambda: targets.funnel(2.5), "dim"),  # type: ignore[arg-type]
        (lambda: targets.funnel(3, 0.0), "scale"),
        (lambda: targets.funnel(3).log_density([[1.0, 2.0]]), r"\(n, 3\)"),
        (lambda: targets.rosenbrock(0), "n_blocks"),
        (lambda: targets.rosenbrock(2, True), "block_size"),
        (lambda: targets.rosenbrock(mean=np.inf), "mean"),
        (lambda: targets.rosenbrock(b=0.0), "b: .*above 0"),
        (lambda: targets.gaussian(0.0, precision=[1.0, 2.0]), r"precision: .*\(d, d\)"),
        (lambda: targets.gaussian(0.0, precision=np.ones((3, 2)), banded=True), "w < d"),
        (lambda: targets.gaussian([0.0], precision=np.eye(2)), "mean: .*one for each"),
        (lambda: targets.gaussian(np.nan, precision=np.eye(2)), "mean: .*finite"),
        (lambda: targets.gaussian(0.0, precision=[[1.0, 0.5], [0.4, 1.0]]), "symmetric"),
        (lambda: targets.gaussian(0.0, precision=np.full((2, 2), np.nan)), "symmetric"),
        (lambda: targets.gaussian(0.0, precision=np.ones((2, 2))), "positive definite: pivot 1"),
        (lambda: targets.gaussian(0.0, precision=[[np.inf, 1.0]], banded=True), "pivot 0"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_arguments_are_checked(call: Callable[[], Any], match: str) -> None:
    with pytest.raises(ArgumentError, match=match):
        call()


def test_a_density_is_exported_with_the_package() -> None:
    assert isinstance(fm.targets.funnel(2), fm.targets.BuiltinDensity)
    assert isinstance(fm.targets.funnel(2), fm.targets.LogDensity)
