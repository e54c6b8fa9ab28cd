"""Gaussian copulas: densities by SciPy, ranks of draws, scores far out, gradients and chains."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.stats as st

import fermiac as fm
from fermiac import _core
from fermiac import distributions as d
from fermiac.errors import ArgumentError

R = np.array([[1.0, 0.7, -0.2], [0.7, 1.0, 0.1], [-0.2, 0.1, 1.0]])
LAW = d.GaussianCopula([d.Gamma(2.0, 0.5), d.StudentT(4.0, 1.0), d.Beta(1.5, 3.0)], R)
MARGINALS = [st.gamma(2.0, scale=0.5), st.t(4.0, 1.0), st.beta(1.5, 3.0)]


def test_the_density_is_that_of_the_scores_times_the_marginals():
    x = LAW.sample(50, rng=1)
    z = np.column_stack([st.norm.ppf(m.cdf(x[:, j])) for j, m in enumerate(MARGINALS)])
    want = st.multivariate_normal(np.zeros(3), R).logpdf(z) - st.norm.logpdf(z).sum(axis=1)
    want += sum(m.logpdf(x[:, j]) for j, m in enumerate(MARGINALS))
    np.testing.assert_allclose(LAW.log_density(x), want, rtol=1e-11, atol=1e-11)
    # One row has the bits of a batch.
    np.testing.assert_array_equal(LAW.log_density(x), [LAW.log_density(row) for row in x])
    assert LAW._support() == [(0.0, np.inf), (-np.inf, np.inf), (0.0, 1.0)]
    np.testing.assert_allclose(LAW.mean, [m.mean() for m in MARGINALS], rtol=1e-12)
    np.testing.assert_allclose(LAW.variance, [m.var() for m in MARGINALS], rtol=1e-12)


def test_normal_marginals_give_the_multivariate_normal_law():
    mean, sd = np.array([1.0, -2.0, 0.5]), np.array([0.5, 2.0, 1.0])
    law = d.GaussianCopula([d.Normal(mean, sd)], R)
    twin = d.MultivariateNormal(mean, R * np.outer(sd, sd))
    x = np.vstack([twin.sample(20, rng=0), 60.0 * twin.sample(20, rng=1)])
    np.testing.assert_allclose(law.log_density(x), twin.log_density(x), rtol=1e-13)
    u = np.random.default_rng(0).random((20, 3))
    np.testing.assert_allclose(law.from_unit(u), twin.from_unit(u), rtol=1e-13)


def test_scores_hold_far_out():
    # Exponential and Gumbel marginals whose upper tails underflow long before x is large.
    law = d.GaussianCopula([d.Exponential(), d.Exponential()], [[1.0, 0.5], [0.5, 1.0]])
    for x in (5.0, 50.0, 740.0, 800.0, 5000.0):
        score = -st.norm.ppf(np.exp(-x)) if x < 700 else None
        if score is None:
            from scipy.optimize import brentq

            score = brentq(lambda z, x=x: st.norm.logsf(z) + x, 1.0, 1e3, xtol=1e-12)
        pair = np.array([score, score])
        want = st.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]]).logpdf(pair)
        want += -2 * st.norm.logpdf(score) - 2 * x
        np.testing.assert_allclose(law.log_density([x, x]), want, rtol=1e-10)


def test_draws_have_their_marginals_and_their_rank_correlations():
    u = np.random.default_rng(1).random((20_000, 3))
    for x in (LAW.sample(20_000, rng=5), LAW.from_unit(u)):
        for j, marginal in enumerate(MARGINALS):
            assert st.kstest(x[:, j], marginal.cdf).statistic < 2.5 / np.sqrt(len(x))
        ranks = st.spearmanr(x).statistic
        np.testing.assert_allclose(ranks, 6 / np.pi * np.arcsin(R / 2), atol=5 / np.sqrt(len(x)))
    corners = LAW.from_unit([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    assert not np.isnan(corners).any()


def test_gradients_agree_with_differences():
    x = LAW.sample(20, rng=2)
    values, slopes = _core.LogDensity.law(LAW._handle).log_density_gradient(x, 1)
    np.testing.assert_array_equal(values, LAW.log_density(x))
    for j in range(3):
        step = np.zeros(3)
        step[j] = 1e-6
        rise = LAW.log_density(x + step) - LAW.log_density(x - step)
        np.testing.assert_allclose(slopes[:, j], rise / 2e-6, rtol=1e-5, atol=1e-6)


def test_points_outside_have_no_density():
    np.testing.assert_array_equal(
        LAW.log_density([[-1.0, 0.0, 0.5], [1.0, 0.0, 1.5], [np.inf, 0.0, 0.5]]), [-np.inf] * 3
    )
    assert np.isnan(LAW.log_density([np.nan, 0.0, 0.5]))


def test_it_is_frozen_in_its_parameters():
    twin = pickle.loads(pickle.dumps(LAW))
    assert twin == LAW
    assert hash(twin) == hash(LAW)
    np.testing.assert_array_equal(LAW.sample(5000, rng=3), twin.sample(5000, rng=3))
    assert d.GaussianCopula([d.Normal([0.0, 1.0])], np.eye(2)) != d.GaussianCopula(
        [d.Normal([0.0, 1.0])], [[1.0, 0.1], [0.1, 1.0]]
    )
    np.testing.assert_array_equal(LAW.correlation, R)


def test_chains_and_priors_take_it():
    law = d.GaussianCopula([d.Gumbel(), d.Logistic()], [[1.0, 0.6], [0.6, 1.0]])
    s = fm.mcmc.sample(law, kernel=fm.mcmc.NUTS(target_accept=0.9), n_draws=2000, rng=0)
    e = s.expect(lambda x: x)
    assert (np.abs(e.mean - law.mean) < 5 * e.stderr).all()
    r = fm.nested.sample(lambda x: -0.5 * (x**2).sum(axis=1), law, n_live=50, dlogz=0.5, rng=0)
    assert np.isfinite(r.log_evidence)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (([d.Normal(), d.Normal()], [[1.0, 1.5], [1.5, 1.0]]), "^correlation: "),
        (([d.Normal(), d.Normal()], [[2.0, 0.5], [0.5, 1.0]]), "^correlation: 2 .* diagonal"),
        (([d.Normal(), d.Normal()], [[1.0, 0.5]]), r"^correlation: shape \(1, 2\)"),
        (([d.Normal(), d.Poisson(3.0)], np.eye(2)), "univariate"),
        (([], np.eye(2)), "^laws: none"),
    ],
)
def test_wrong_copulas_are_refused(arguments, text):
    with pytest.raises(ArgumentError, match=text):
        d.GaussianCopula(*arguments)
