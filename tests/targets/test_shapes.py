"""Built-in log-densities on hard inputs: dependent columns, wide priors, sharp modes, the far."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from fermiac import distributions as laws
from fermiac import targets

Array = NDArray[np.float64]

RNG = np.random.default_rng(20250101)
X = RNG.normal(size=(83, 4))
BETA = np.array([0.4, -1.0, 0.5, 0.0, 2.0])
ETA = BETA[0] + X @ BETA[1:]
REAL = ETA + 0.7 * RNG.normal(size=83)
COUNTS = RNG.poisson(np.exp(0.3 * ETA)).astype(float)
OFFSET = RNG.normal(size=83)


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


def test_points_too_far_to_tell_have_no_density() -> None:
    far = 1e200
    for target in (targets.funnel(3), targets.banana(3), targets.eight_schools()):
        for sign in (-1.0, 1.0):
            x = np.full((1, target.dim), sign * far)
            values, _ = target.log_density_and_gradient(x)
            assert values[0] == -np.inf
    counts = targets.poisson_regression(X, COUNTS)
    assert counts.log_density([[1e4] * 5])[0] == -np.inf


def test_gradients_near_sharp_modes_keep_their_digits() -> None:
    with mpmath.workdps(40):
        x = 1e6 * (1 + 1e-9)
        slope = (mpmath.mpf(1e6) + 1 - 1) / mpmath.mpf(x) - 1
        _, gradient = targets.law_density(laws.Gamma(1e6 + 1.0)).log_density_and_gradient([[x]])
        assert abs(gradient[0, 0] / float(slope) - 1) < 1e-6
        _, gradient = targets.law_density(
            laws.MultivariateT(2.5, [0.0], [[4.0]])
        ).log_density_and_gradient([[1e180]])
        assert_allclose(gradient[0, 0], -3.5 / 1e180, rtol=1e-12)
        _, gradient = targets.law_density(laws.StudentT(2.5, 0.0, 2.0)).log_density_and_gradient(
            [[-1e180]]
        )
        assert_allclose(gradient[0, 0], 3.5 / 1e180, rtol=1e-12)


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


def test_rosenbrock_has_the_moments_that_it_states() -> None:
    z = np.random.default_rng(3).normal(size=(200_000, 2))
    first = 1.0 + np.sqrt(10.0) * z[:, 0]
    x = np.stack([first, first**2 + np.sqrt(0.1) * z[:, 1]], axis=1)
    assert abs(x[:, 1].mean() - 11.0) < 5 * np.sqrt(240.1 / len(x))
    square = (x[:, 1] - 11.0) ** 2
    assert abs(square.mean() - 240.1) < 5 * square.std() / np.sqrt(len(x))
    # The transported draws have the density: E[log p] = -entropy of the two normals.
    values = targets.rosenbrock().log_density(x)
    entropy = 2 * 0.5 * np.log(2 * np.pi * np.e) + 0.5 * np.log(10.0 * 0.1)
    assert abs(values.mean() + entropy) < 5 * values.std() / np.sqrt(len(x))
