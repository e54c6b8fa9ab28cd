"""Built-in log-densities: values, gradients, evidences, independence of the batch, pickling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.stats
from density_cases import (
    BETA,
    BINARY,
    CASES,
    COUNTS,
    EFFECT,
    ERROR,
    ETA,
    GLM,
    MEAN,
    OFFSET,
    REAL,
    SD,
    X,
    differences,
    points,
)
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from fermiac import distributions as laws
from fermiac import targets
from fermiac.errors import ArgumentError, TargetError


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


def test_names_are_those_of_the_coordinates() -> None:
    for target, *_ in CASES.values():
        assert target.names is None or len(target.names) == target.dim
    assert targets.eight_schools(True).names is not None
    plain = targets.poisson_regression(X, COUNTS, intercept=False)
    assert plain.names == ("beta[0]", "beta[1]", "beta[2]", "beta[3]")
    assert CASES["linear_unknown"][0].names[-1] == "log_sigma"  # type: ignore[index]


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


Array = NDArray[np.float64]


def exact_evidence(design: Array, y: Array, noise_sd: float, prior_sd: float) -> float:
    with mpmath.workdps(60):
        x, seen = mpmath.matrix(design.tolist()), mpmath.matrix(y.tolist())
        variance, width = mpmath.mpf(noise_sd) ** 2, mpmath.mpf(prior_sd)
        matrix = mpmath.eye(design.shape[1]) + width**2 / variance * (x.T * x)
        along = width / variance * (x.T * seen)
        square = (seen.T * seen)[0] / variance - (along.T * mpmath.lu_solve(matrix, along))[0]
        scale = len(y) * mpmath.log(2 * mpmath.pi * variance)
        return float(-(scale + mpmath.log(mpmath.det(matrix)) + square) / 2)


@pytest.mark.parametrize(("noise_sd", "prior_sd"), [(0.01, 10.0), (0.01, 1e5), (1.0, 1e8)])
def test_evidence_of_dependent_columns_under_wide_priors(noise_sd: float, prior_sd: float) -> None:
    x = np.column_stack([X[:, 0], X[:, 0], X[:, 1]])
    y = 1 + 2 * X[:, 0] + noise_sd * OFFSET
    target = targets.linear_regression(x, y, noise_sd=noise_sd, prior_sd=prior_sd)
    design = np.column_stack([np.ones(83), x])
    assert target.log_evidence is not None
    assert_allclose(target.log_evidence, exact_evidence(design, y, noise_sd, prior_sd), rtol=1e-11)


def test_evidence_of_a_polynomial_in_years() -> None:
    year = 2000 + np.arange(20.0)
    x = np.column_stack([year, year**2, year**3])
    y = 3 + 0.1 * (year - 2010) + 0.1 * np.sin(7 * year)
    for prior_sd in (10.0, 1e3):
        target = targets.linear_regression(x, y, noise_sd=0.1, prior_sd=prior_sd)
        truth = exact_evidence(np.column_stack([np.ones(20), x]), y, 0.1, prior_sd)
        assert target.log_evidence is not None
        assert_allclose(target.log_evidence, truth, rtol=1e-9)


def test_evidence_that_rounding_would_decide_is_not_given() -> None:
    x = np.column_stack([X[:, 0], X[:, 0]])
    for prior_sd in (1e20, 1e200):
        target = targets.linear_regression(x, REAL, noise_sd=1.0, prior_sd=prior_sd)
        assert target.log_evidence is None
        assert np.isfinite(target.log_density(np.ones((1, 3)))).all()


@pytest.mark.parametrize("prior_sd", [1e-160, 1e200])
def test_priors_of_any_width_keep_their_density(prior_sd: float) -> None:
    target = targets.logistic_regression([[0.0]], [1], prior_sd=prior_sd, intercept=False)
    values, gradients = target.log_density_and_gradient([[0.0], [3 * prior_sd]])
    assert_allclose(values, scipy.stats.norm.logpdf([0.0, 3.0]) - np.log([2 * prior_sd] * 2))
    assert_allclose(gradients[:, 0], [0.0, -3.0 / prior_sd])


def test_arrays_of_any_layout_are_taken() -> None:
    raw = np.zeros(8 * 8 + 1, np.uint8)[1:].view(np.float64).reshape(4, 2)
    raw[:] = [1.0, 2.0]
    expected = targets.banana().log_density([[1.0, 2.0]] * 4)
    for x in (raw, raw.astype(">f8"), np.asfortranarray(raw), raw[::-1]):
        assert np.array_equal(targets.banana().log_density(x), expected)
    assert not raw.flags.aligned


def test_linear_regression_keeps_small_residuals() -> None:
    # Residuals of 1e-7 beside observations of 1e3: sums of squares from normal equations fail.
    y = 1e3 * ETA + 1e-7 * np.sign(OFFSET)
    target = targets.linear_regression(X, y, noise_sd=1e-7, prior_sd=1e4)
    with mpmath.workdps(40):
        residuals = [
            mpmath.mpf(float(v))
            - 1000 * mpmath.mpf(BETA[0])
            - sum(
                1000 * mpmath.mpf(b) * mpmath.mpf(float(x))
                for b, x in zip(BETA[1:], row, strict=True)
            )
            for v, row in zip(y, X, strict=True)
        ]
        square = float(sum((r / mpmath.mpf(1e-7)) ** 2 for r in residuals))
    value = target.log_density(1e3 * BETA[None])[0]
    constant = -83 * (0.5 * np.log(2 * np.pi) + np.log(1e-7))
    before = scipy.stats.norm.logpdf(1e3 * BETA, 0, 1e4).sum()
    # One rounding of an observation is a millionth of its residual.
    assert_allclose(value - constant - before, -0.5 * square, rtol=1e-4)


def test_logistic_regression_stays_exact_far_out() -> None:
    x = np.array([[1.0], [-1.0], [2.0]])
    target = targets.logistic_regression(x, [1, 0, 0], prior_sd=1e200, intercept=False)
    constant = scipy.stats.norm.logpdf(0.0, 0.0, 1e200)
    values, gradients = target.log_density_and_gradient([[800.0], [-800.0], [40.0]])
    # All but certain observations add nothing; impossible ones add their odds.
    assert_allclose(values - constant, [-1600.0, -1600.0, -80.0], rtol=1e-15)
    assert_allclose(gradients[:, 0], [-2.0, 2.0, -2.0], rtol=1e-15)


def test_many_observations_do_not_overflow_the_product() -> None:
    # 20 000 factors of 2: a product without the folds would be 2^2500 in every lane.
    n = 20_000
    target = targets.logistic_regression(np.zeros((n, 1)), np.ones(n))
    value = target.log_density([[0.0, 0.0]])[0]
    assert_allclose(value, -n * np.log(2) - np.log(2 * np.pi), rtol=1e-14)


def test_multivariate_t_has_a_density_out_to_the_largest_numbers() -> None:
    target = targets.law_density(laws.MultivariateT(3.0, [0.0, 0.0], np.eye(2)))
    for size in (1e119, 1e121, 1e200, 1e305, 1.7e308):
        values, gradients = target.log_density_and_gradient([[size, -size]])
        with mpmath.workdps(40):
            square = 2 * mpmath.mpf(size) ** 2
            truth = -mpmath.log(2 * mpmath.pi) - 2.5 * mpmath.log1p(square / 3)
            slope = float(-5 * mpmath.mpf(size) / (3 + square))
        assert_allclose(values[0], float(truth), rtol=1e-14)
        assert_allclose(gradients[0], [slope, -slope], rtol=1e-12)


@pytest.mark.parametrize("a", [1e9, 1e12, 1e15, 1e16])
def test_beta_laws_keep_their_digits_near_either_end(a: float) -> None:
    with mpmath.workdps(60):
        for turns in (0.3, 1.0, 4.0):
            # The point of the law on the other side, so that both ask for the same number.
            x = 1.0 - turns / a
            if x == 1.0:
                continue
            rest = 1 - mpmath.mpf(x)
            truth = (a - 1) * mpmath.log(mpmath.mpf(x)) + 2 * mpmath.log(rest)
            truth -= mpmath.log(mpmath.beta(mpmath.mpf(a), 3))
            slope = (mpmath.mpf(a) - 1) / mpmath.mpf(x) - 2 / rest
            for law, at, sign in (
                (laws.Beta(a, 3.0), x, 1),
                (laws.Beta(3.0, a), float(rest), -1),
            ):
                value, gradient = targets.law_density(law).log_density_and_gradient([[at]])
                assert_allclose(value[0], float(truth), rtol=1e-14)
                assert_allclose(gradient[0, 0], sign * float(slope), rtol=1e-8)
