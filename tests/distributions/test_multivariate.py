"""The multivariate normal and t laws against scipy.stats."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats as st
from law_checks import check_mean_and_covariance

from fermiac import distributions as d
from fermiac.errors import ArgumentError

COV = np.array([[2.0, 0.6, -0.2], [0.6, 1.0, 0.1], [-0.2, 0.1, 0.5]])


MEAN = np.array([0.5, -1.0, 2.0])


def test_multivariate_normal():
    law, reference = d.MultivariateNormal(MEAN, COV), st.multivariate_normal(MEAN, COV)
    x = reference.rvs(100, random_state=0)
    np.testing.assert_allclose(law.log_density(x), reference.logpdf(x), rtol=1e-12)
    u = np.random.default_rng(1).random((30, 3))
    expected = MEAN + st.norm.ppf(u) @ np.linalg.cholesky(COV).T
    np.testing.assert_allclose(law.from_unit(u), expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(law.mean, MEAN)
    np.testing.assert_array_equal(law.cov, COV)
    np.testing.assert_array_equal(law.variance, np.diag(COV))
    check_mean_and_covariance(law.sample(100_000, rng=3), MEAN, COV)


def test_multivariate_t():
    law, reference = d.MultivariateT(11.0, MEAN, COV), st.multivariate_t(MEAN, COV, 11.0)
    x = reference.rvs(100, random_state=0)
    np.testing.assert_allclose(law.log_density(x), reference.logpdf(x), rtol=1e-12)
    np.testing.assert_allclose(law.variance, np.diag(COV) * 11.0 / 9.0)
    check_mean_and_covariance(law.sample(100_000, rng=3), MEAN, COV * 11.0 / 9.0)
    with pytest.raises(ArgumentError, match="no map"):
        law.from_unit(np.full((1, 3), 0.5))
