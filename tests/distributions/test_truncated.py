"""Truncated laws: against 60 digits of mpmath, and far out where a tail has no probability left."""

from __future__ import annotations

import pickle

import mpmath as mp
import numpy as np
import pytest
import scipy.stats as st

from fermiac import _core
from fermiac import distributions as d
from fermiac.errors import ArgumentError

INF = np.inf
Q = [1e-12, 1e-5, 0.01, 0.3, 0.5, 0.77, 0.999, 1 - 1e-9]
INTERVALS = [
    (30.0, 31.0),
    (-31.0, -30.0),
    (40.0, 41.0),
    (100.0, INF),
    (-INF, -60.0),
    (1.0, 1.0 + 1e-9),
    (1.0, 1.001),
    (-1e-7, 1e-7),
    (0.0, INF),
    (0.1, 0.3),
    (-2.0, 3.0),
    (-9.0, 0.1),
    (-0.3, 8.0),
    (-1e-3, 8.0),
]


def normal_truth(low, high, mean, sd):
    """Return the exact log-density and distribution function."""
    a, b = ((mp.mpf(end) - mean) / sd for end in (low, high))

    def mass(a, b):
        if a > 0:
            return (mp.erfc(a / mp.sqrt(2)) - mp.erfc(b / mp.sqrt(2))) / 2
        return mp.ncdf(b) - mp.ncdf(a)

    def z(x):
        return (mp.mpf(float(x)) - mean) / sd

    total = mass(a, b)
    return (
        lambda x: mp.log(mp.npdf(z(x)) / sd / total),
        lambda x: mass(a, z(x)) / total,
    )


@pytest.mark.parametrize("interval", INTERVALS)
def test_truncated_normal_laws_have_all_their_digits(interval):
    with mp.workdps(60):
        for mean, sd in [(0.0, 1.0), (0.25, 0.5)]:
            low, high = (mean + sd * end for end in interval)
            law = d.Truncated(d.Normal(mean, sd), low, high)
            log_density, cdf = normal_truth(low, high, mean, sd)
            x = law.ppf(Q)
            assert ((x >= low) & (x <= high)).all()
            for q, point in zip(Q, x, strict=True):
                want = log_density(point)
                assert abs(law.log_density(point) - want) < 2e-15 * max(1, abs(want))
                share = cdf(point)
                if share > 0:
                    assert abs(law.cdf(point) / share - 1) < 1e-14
                # No nearer point to the quantile but the neighbours, up to a few roundings of q.
                spacing = mp.exp(want) * float(np.spacing(abs(point)))
                assert abs(share - q) < 2 * spacing + 1e-14 * q
        assert law.log_density(np.nextafter(low, -INF)) == -INF
        assert law.log_density(np.nextafter(high, INF)) == -INF


@pytest.mark.parametrize(
    ("law", "reference", "low", "high"),
    [
        (d.Gamma(2.5, 0.7), st.gamma(2.5, scale=0.7), 1.0, 4.0),
        (d.Gamma(0.4, 2.0), st.gamma(0.4, scale=2.0), 0.0, 1.0),
        (d.Beta(2.0, 3.5), st.beta(2.0, 3.5), 0.2, 0.25),
        (d.StudentT(4.5, 1.0, 2.0), st.t(4.5, 1.0, 2.0), -INF, -3.0),
        (d.Exponential(2.0), st.expon(scale=2.0), 3.0, INF),
        (d.Laplace(1.0, 2.0), st.laplace(1.0, 2.0), 0.9, 1.2),
        (d.Cauchy(1.0, 2.0), st.cauchy(1.0, 2.0), 5.0, 700.0),
        (d.HalfCauchy(2.0), st.halfcauchy(scale=2.0), 0.0, 10.0),
        (d.HalfNormal(2.0), st.halfnorm(scale=2.0), 1.0, 10.0),
        (d.Logistic(1.0, 2.0), st.logistic(1.0, 2.0), 4.0, 9.0),
        (d.Weibull(1.7, 2.0), st.weibull_min(1.7, scale=2.0), 1.0, 3.0),
        (d.Gumbel(1.0, 2.0), st.gumbel_r(1.0, 2.0), -1.0, 3.0),
        (d.InverseGamma(3.5, 2.0), st.invgamma(3.5, scale=2.0), 0.2, 0.9),
        (d.Chi2(5.0), st.chi2(5.0), 1.0, 9.0),
        (d.Triangular(-1.0, 0.5, 3.0), st.triang(0.375, -1.0, 4.0), 0.0, 2.0),
        (d.LogNormal(0.3, 0.6), st.lognorm(0.6, scale=np.exp(0.3)), 1.0, 2.0),
        (d.Uniform(-1.0, 3.0), st.uniform(-1.0, 4.0), 0.0, 1.0),
    ],
)
def test_truncated_laws_are_conditional_laws(law, reference, low, high):
    cut = d.Truncated(law, low, high)
    first, mass = reference.cdf(low), reference.cdf(high) - reference.cdf(low)
    x = cut.ppf(Q[1:-1])
    np.testing.assert_allclose(
        cut.log_density(x), reference.logpdf(x) - np.log(mass), rtol=1e-11, atol=1e-12
    )
    np.testing.assert_allclose(cut.cdf(x), (reference.cdf(x) - first) / mass, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(cut.cdf(x), Q[1:-1], rtol=1e-10)
    np.testing.assert_array_equal(cut.ppf([0.0, 1.0]), [low, high])
    np.testing.assert_array_equal(cut.cdf([-1e300, 1e300]), [0.0, 1.0])
    assert np.isnan(cut.cdf(np.nan))
    assert np.isnan(cut.log_density(np.nan))
    assert cut._support() == [(low, high)]
    draws = cut.sample(20_000, rng=11)[:, 0]
    assert ((draws >= low) & (draws <= high)).all()
    assert st.kstest(draws, cut.cdf).statistic < 2.5 / np.sqrt(len(draws))
    if np.isfinite(high - low):
        mean = reference.expect(lambda x: x, lb=low, ub=high, conditional=True)
        square = reference.expect(lambda x: (x - mean) ** 2, lb=low, ub=high, conditional=True)
        np.testing.assert_allclose(cut.mean, mean, rtol=1e-6)
        np.testing.assert_allclose(cut.variance, square, rtol=1e-6)
    inner = x[1:-1]
    _, slopes = _core.LogDensity.law(cut._handle).log_density_gradient(inner[:, None], 1)
    _, whole = _core.LogDensity.law(law._handle).log_density_gradient(inner[:, None], 1)
    np.testing.assert_allclose(slopes, whole, rtol=1e-13, atol=1e-14)


def test_moments_of_truncated_laws():
    # By Mills' ratio: E[X | X > a] = φ(a) / Q(a).
    law = d.Truncated(d.Normal(), 3.0)
    hazard = st.norm.pdf(3.0) / st.norm.sf(3.0)
    np.testing.assert_allclose(law.mean, hazard, rtol=1e-9)
    np.testing.assert_allclose(law.variance, 1.0 + 3.0 * hazard - hazard**2, rtol=1e-7)
    assert d.Truncated(d.Cauchy(), 0.0).mean == INF
    assert np.isnan(d.Truncated(d.Cauchy(), 0.0).variance)
    assert d.Truncated(d.Cauchy(), high=0.0).mean == -INF
    assert np.isfinite(d.Truncated(d.StudentT(1.5), 0.0).mean)
    assert d.Truncated(d.StudentT(1.5), 0.0).variance == INF
    assert np.isnan(d.Truncated(d.Cauchy()).mean)


def test_truncation_is_frozen_in_its_parameters():
    law = d.Truncated(d.Normal([0.0, 1.0], 2.0), [0.0, -1.0], INF)
    assert law.dim == 2
    assert law._support() == [(0.0, INF), (-1.0, INF)]
    twin = pickle.loads(pickle.dumps(law))
    assert twin == law
    assert hash(twin) == hash(law)
    assert law != d.Truncated(d.Normal([0.0, 1.0], 2.0), [0.0, -2.0], INF)
    assert law.mean.shape == law.variance.shape == (2,)
    several = d.Truncated(d.Normal(), [0.0, 1.0, 2.0])
    assert several.dim == 3
    # A truncated law that is truncated again has both bounds.
    twice = d.Truncated(d.Truncated(d.Normal(), 30.0, 40.0), 29.0, 31.0)
    once = d.Truncated(d.Normal(), 30.0, 31.0)
    np.testing.assert_array_equal(twice.log_density([30.5, 31.5]), once.log_density([30.5, 31.5]))
    assert repr(once) == "Truncated(law=Normal(mean=0.0, sd=1.0), low=30.0, high=31.0)"
    # Bounds outside of the support are none.
    x = [0.5, 1.0, 2.0]
    np.testing.assert_array_equal(
        d.Truncated(d.Gamma(2.0), -3.0).log_density(x), d.Gamma(2.0).log_density(x)
    )
    both = d.Product([once, d.Gamma(2.0)])
    np.testing.assert_allclose(
        both.log_density([30.5, 1.0]), once.log_density(30.5) + d.Gamma(2.0).log_density(1.0)
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((d.Normal(), 2.0, 1.0), "^high: 1 was given; a number above low = 2"),
        ((d.Normal(), np.nan, 1.0), "^low: NaN"),
        ((d.Normal(), 0.0, np.nan), "^high: NaN"),
        ((d.Gamma(2.0), -2.0, -1.0), "holds no probability"),
        ((d.Normal(), 1e200, 2e200), "holds no probability"),
        ((d.Normal([0.0, 1.0]), [0.0, 1.0, 2.0]), r"\(3,\)"),
        ((d.Normal(), [[0.0]]), r"\(1, 1\)"),
        ((d.MultivariateNormal([0.0], [[1.0]]), 0.0), "univariate"),
        (("normal", 0.0), "^law: "),
    ],
)
def test_wrong_truncations_are_refused(arguments, text):
    with pytest.raises(ArgumentError, match=text):
        d.Truncated(*arguments)
