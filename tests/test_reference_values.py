"""The stored known answers agree with the closed forms and quadratures that define them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference_values as ref


def test_gaussian_moments_are_double_factorials() -> None:
    expected = [math.prod(range(1, 2 * j, 2)) for j in range(1, 11)]
    np.testing.assert_array_equal(ref.GAUSSIAN_MOMENTS, expected)


@pytest.mark.parametrize("family", sorted(ref.GENZ))
def test_genz_constants_match_their_closed_forms(family: str) -> None:
    closed = ref.genz_integral(family, ref.GENZ_A, ref.GENZ_W)
    assert closed == pytest.approx(ref.GENZ[family], rel=1e-13)


def test_cantilever_constants_match_the_product_rule() -> None:
    moments = ref.cantilever_moments()
    assert moments.mean == pytest.approx(ref.CANTILEVER_MEAN, rel=1e-11)
    assert moments.second_moment == pytest.approx(ref.CANTILEVER_SECOND_MOMENT, rel=1e-11)
    variance = moments.second_moment - moments.mean**2
    assert variance == pytest.approx(ref.CANTILEVER_VARIANCE, rel=1e-10)
    np.testing.assert_allclose(moments.first_order, ref.CANTILEVER_SOBOL, rtol=0, atol=1e-10)


def test_beam_means_match_a_plain_sample() -> None:
    laws, means = ref.beam_laws()
    assert laws.shape == (100, 9)
    rng = np.random.default_rng(20)
    n = 200_000
    sigma = np.sqrt(np.log1p(np.array([0.08, 0.08, 0.06]) ** 2))
    for law, mean in zip(laws[::20], means[::20], strict=True):
        positive = law[:3] * np.exp(sigma * rng.standard_normal((n, 3)) - sigma**2 / 2)
        wt, wl, tl = law[6:]
        correlation = np.array([[1.0, wt, wl], [wt, 1.0, tl], [wl, tl, 1.0]])
        z = rng.standard_normal((n, 3)) @ np.linalg.cholesky(correlation).T
        y = ref.cantilever_deflection(np.hstack([positive, law[3:6] * (1.0 + 0.1 * z)]))
        assert abs(y.mean() - mean) < 5.0 * y.std() / math.sqrt(n)


def test_oring_constants_match_the_quadrature() -> None:
    temperature, distress = ref.oring_launches()
    assert temperature.shape == (23,)
    assert distress.sum() == 7
    posterior = ref.oring_posterior()
    assert posterior.log_evidence == pytest.approx(ref.ORING_LOG_EVIDENCE, rel=1e-11)
    np.testing.assert_allclose(posterior.mean, ref.ORING_MEAN, rtol=1e-10)
    np.testing.assert_allclose(posterior.cov, ref.ORING_COV, rtol=1e-10)
    np.testing.assert_allclose(posterior.distress, ref.ORING_DISTRESS, rtol=1e-10)


def test_oring_evidence_matches_a_plain_sample_of_the_prior() -> None:
    n = 400_000
    ab = ref.ORING_PRIOR_SD * np.random.default_rng(4).standard_normal((n, 2))
    likelihood = np.exp(ref.oring_log_likelihood(ab) - ref.ORING_LOG_EVIDENCE)
    assert abs(likelihood.mean() - 1.0) < 5.0 * likelihood.std() / math.sqrt(n)


def test_moments_criterion_of_plain_monte_carlo() -> None:
    # E[(x^20 / I)^2] dominates; the stored sum must contain it and little else.
    tail = math.prod(range(1, 40, 2)) / math.prod(range(1, 20, 2)) ** 2 / 20_000
    assert tail < ref.MOMENTS_CRITERION_MC < 1.5 * tail
