"""Objects as laws: frozen distributions of scipy.stats, and what is refused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.stats as st

from fermiac import distributions as d
from fermiac.errors import ArgumentError

COV = np.array([[2.0, 0.6, -0.2], [0.6, 1.0, 0.1], [-0.2, 0.1, 0.5]])


MEAN = np.array([0.5, -1.0, 2.0])


@pytest.mark.parametrize(
    ("frozen", "law"),
    [
        (st.norm(1.0, scale=2.0), d.Normal(1.0, 2.0)),
        (st.norm(), d.Normal()),
        (st.norm([0.0, 1.0]), d.Normal([0.0, 1.0], 1.0)),
        (st.lognorm(0.5, scale=1.0), d.LogNormal(0.0, 0.5)),
        (st.uniform(loc=1.0, scale=2.0), d.Uniform(1.0, 3.0)),
        (st.t(4.0, 1.0), d.StudentT(4.0, 1.0, 1.0)),
        (st.gamma(a=2.0, scale=3.0), d.Gamma(2.0, 3.0)),
        (st.beta(2.0, 3.0), d.Beta(2.0, 3.0)),
        (st.expon(scale=4.0), d.Exponential(4.0)),
        (st.multivariate_normal(MEAN, COV), d.MultivariateNormal(MEAN, COV)),
        (st.multivariate_t(MEAN, COV, df=5), d.MultivariateT(5.0, MEAN, COV)),
        (st.multivariate_t(MEAN, COV, df=np.inf), d.MultivariateNormal(MEAN, COV)),
    ],
)
def test_scipy_laws_become_built_in(frozen, law):
    assert d.as_law(frozen) == law


@pytest.mark.parametrize(
    "frozen", [st.weibull_min(1.7, scale=2.0), st.gamma(2.0, loc=1.0), st.beta(2, 3, scale=5.0)]
)
def test_other_scipy_laws_are_wrapped(frozen):
    law = d.as_law(frozen)
    assert law.dim == 1
    assert law._handle is None
    x = law.sample(20_000, rng=6)
    assert st.kstest(x[:, 0], frozen.cdf).statistic < 2.5 / np.sqrt(len(x))
    np.testing.assert_array_equal(law.log_density(x), frozen.logpdf(x[:, 0]))
    np.testing.assert_array_equal(law.cdf(x), frozen.cdf(x))
    np.testing.assert_array_equal(law.ppf(0.3), frozen.ppf(0.3))
    assert law._support() == [frozen.support()]
    assert (law.mean, law.variance) == (frozen.mean(), frozen.var())
    assert frozen.dist.name in repr(law)
    twin = pickle.loads(pickle.dumps(law))
    np.testing.assert_array_equal(twin.sample(5, rng=0), law.sample(5, rng=0))


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        (st.poisson(3.0), "discrete distribution poisson"),
        (st.weibull_min([1.0, 2.0]), "Product"),
        (st.dirichlet([1.0, 2.0]), "dirichlet"),
        (st.norm, "frozen"),
        ([d.Normal(), d.Normal()], "Product"),
        (lambda x: x, "function was given"),
    ],
)
def test_what_is_no_law_is_refused(obj, text):
    with pytest.raises(ArgumentError, match=rf"^prior: .*{text}"):
        d.as_law(obj, name="prior")
