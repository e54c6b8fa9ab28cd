"""Univariate laws against scipy.stats: densities, gradients, quantiles, moments and draws."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import scipy.stats as st

from fermiac import _core
from fermiac import distributions as d
from fermiac.errors import ArgumentError

UNIVARIATE = [
    pytest.param(d.Normal(1.0, 2.0), st.norm(1.0, 2.0), id="normal"),
    pytest.param(d.LogNormal(0.3, 0.6), st.lognorm(0.6, scale=np.exp(0.3)), id="lognormal"),
    pytest.param(d.Uniform(-1.0, 3.0), st.uniform(-1.0, 4.0), id="uniform"),
    pytest.param(d.StudentT(4.5, 1.0, 2.0), st.t(4.5, 1.0, 2.0), id="t"),
    pytest.param(d.Gamma(2.5, 0.7), st.gamma(2.5, scale=0.7), id="gamma"),
    pytest.param(d.Gamma(0.4, 2.0), st.gamma(0.4, scale=2.0), id="gamma-below-1"),
    pytest.param(d.Beta(2.0, 3.5), st.beta(2.0, 3.5), id="beta"),
    pytest.param(d.Beta(0.5, 0.7), st.beta(0.5, 0.7), id="beta-below-1"),
    pytest.param(d.Exponential(2.0), st.expon(scale=2.0), id="exponential"),
    pytest.param(d.Laplace(1.0, 2.0), st.laplace(1.0, 2.0), id="laplace"),
    pytest.param(d.Cauchy(1.0, 2.0), st.cauchy(1.0, 2.0), id="cauchy"),
    pytest.param(d.HalfNormal(2.0), st.halfnorm(scale=2.0), id="half-normal"),
    pytest.param(d.HalfCauchy(2.0), st.halfcauchy(scale=2.0), id="half-cauchy"),
    pytest.param(d.Logistic(1.0, 2.0), st.logistic(1.0, 2.0), id="logistic"),
    pytest.param(d.Weibull(1.7, 2.0), st.weibull_min(1.7, scale=2.0), id="weibull"),
    pytest.param(d.Weibull(0.6, 2.0), st.weibull_min(0.6, scale=2.0), id="weibull-below-1"),
    pytest.param(d.Weibull(1.0, 2.0), st.weibull_min(1.0, scale=2.0), id="weibull-1"),
    pytest.param(d.Gumbel(1.0, 2.0), st.gumbel_r(1.0, 2.0), id="gumbel"),
    pytest.param(d.InverseGamma(3.5, 2.0), st.invgamma(3.5, scale=2.0), id="inverse-gamma"),
    pytest.param(d.InverseGamma(0.5, 2.0), st.invgamma(0.5, scale=2.0), id="inverse-gamma-below-1"),
    pytest.param(d.Chi2(5.0), st.chi2(5.0), id="chi2"),
    pytest.param(d.Triangular(-1.0, 0.5, 3.0), st.triang(0.375, -1.0, 4.0), id="triangular"),
    pytest.param(d.Triangular(0.0, 0.0, 3.0), st.triang(0.0, 0.0, 3.0), id="triangular-falling"),
]


@pytest.mark.parametrize(("law", "reference"), UNIVARIATE)
def test_univariate_laws_agree_with_scipy(law, reference):
    q = np.array([1e-8, 1e-3, 0.1, 0.37, 0.5, 0.9, 0.999])
    x = reference.ppf(q)
    np.testing.assert_allclose(law.log_density(x), reference.logpdf(x), rtol=1e-12, atol=1e-13)
    # Some of scipy's have an absolute error.
    np.testing.assert_allclose(law.cdf(x), reference.cdf(x), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(law.ppf(q), x, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(law.from_unit(q[:, None])[:, 0], law.ppf(q))
    np.testing.assert_allclose(law.mean, reference.mean(), rtol=1e-12)
    np.testing.assert_allclose(law.variance, reference.var(), rtol=1e-12)
    low, high = reference.support()
    assert law._support() == [(low, high)]
    np.testing.assert_array_equal(law.ppf([0.0, 1.0]), [low, high])
    np.testing.assert_array_equal(law.cdf([-np.inf, np.inf]), [0.0, 1.0])
    assert np.isnan(law.log_density(np.nan))
    assert np.isnan(law.cdf(np.nan))
    # The gradient, by central differences of the log-density in scipy.
    inner = x[2:-1]
    _, slopes = _core.LogDensity.law(law._handle).log_density_gradient(inner[:, None], 1)
    step = 1e-6 * inner.clip(1e-2)
    rise = reference.logpdf(inner + step) - reference.logpdf(inner - step)
    np.testing.assert_allclose(slopes[:, 0], rise / (2 * step), rtol=1e-6, atol=1e-6)
    # The frozen law of scipy becomes this one, to rounding of its parameters.
    twin = d.as_law(reference)
    assert type(twin) is type(law)
    np.testing.assert_allclose(twin.ppf(q), law.ppf(q), rtol=1e-12, atol=1e-15)


def test_every_law_of_the_core_has_its_class_and_its_row():
    rows = {type(row.values[0]).__name__ for row in UNIVARIATE}
    assert rows == set(_core.UNIVARIATE_LAWS)
    for name, parameters in _core.UNIVARIATE_LAWS.items():
        assert list(inspect.signature(getattr(d, name)).parameters) == parameters


@pytest.mark.parametrize(("law", "reference"), UNIVARIATE)
def test_univariate_draws_follow_their_law(law, reference):
    x = law.sample(20_000, rng=11)
    assert x.shape == (20_000, 1)
    assert x.dtype == np.float64
    # Kolmogorov's statistic exceeds 2.5/sqrt(n) with probability 8e-6 under the law.
    assert st.kstest(x[:, 0], reference.cdf).statistic < 2.5 / np.sqrt(len(x))


def test_arrays_of_parameters_give_independent_coordinates():
    law = d.Gamma([2.0, 3.0, 4.0], 0.5)
    assert law.dim == 3
    x = law.sample(50, rng=1)
    expected = sum(st.gamma(k, scale=0.5).logpdf(x[:, j]) for j, k in enumerate([2, 3, 4]))
    np.testing.assert_allclose(law.log_density(x), expected, rtol=1e-12, atol=1e-13)
    u = np.random.default_rng(0).random((20, 3))
    np.testing.assert_allclose(law.from_unit(u), st.gamma([2, 3, 4], scale=0.5).ppf(u), rtol=1e-12)
    np.testing.assert_allclose(law.mean, [1.0, 1.5, 2.0])
    np.testing.assert_allclose(law.variance, [0.5, 0.75, 1.0])
    with pytest.raises(ArgumentError, match="has 3"):
        law.cdf(x)
    with pytest.raises(ArgumentError, match="has 3"):
        law.ppf(0.5)


def test_degrees_of_freedom_decide_which_moments_exist():
    assert np.isnan(d.StudentT(1.0).mean)
    assert np.isnan(d.StudentT(0.5).variance)
    assert d.StudentT(1.5).variance == np.inf
    np.testing.assert_array_equal(d.StudentT([1.0, 2.0, 3.0]).variance, [np.nan, np.inf, 3.0])
    assert np.isnan(d.MultivariateT(1.0, [0.0], [[1.0]]).mean).all()
    assert d.MultivariateT(2.0, [0.0], [[1.0]]).variance == np.inf


def test_log_normal_from_moments():
    law = d.LogNormal.from_moments([556.8, 200.0], [0.08, 0.06])
    np.testing.assert_allclose(law.mean, [556.8, 200.0], rtol=1e-13)
    np.testing.assert_allclose(np.sqrt(law.variance) / law.mean, [0.08, 0.06], rtol=1e-12)
    for mean, cv in [(-1.0, 0.1), (1.0, 0.0), (np.nan, 1.0)]:
        with pytest.raises(ArgumentError, match="above 0"):
            d.LogNormal.from_moments(mean, cv)
