"""Log-densities of known normalisation: evidence, moments, far points."""

from __future__ import annotations

import mpmath
import numpy as np
from density_cases import (
    CASES,
    COUNTS,
    LEVEL,
    PRECISION,
    X,
)
from numpy.testing import assert_allclose

from fermiac import distributions as laws
from fermiac import targets


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
