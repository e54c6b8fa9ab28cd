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
        (st.weibull_min([1.0, 2.0]), d.Weibull([1.0, 2.0])),
        (st.truncnorm(-1.0, 2.0, 1.0, 3.0), d.Truncated(d.Normal(1.0, 3.0), -2.0, 7.0)),
        (st.poisson(3.0), d.Poisson(3.0)),
        (st.binom(5, 0.3), d.Binomial(5, 0.3)),
        (st.nbinom(n=2.5, p=0.3), d.NegativeBinomial(2.5, 0.3)),
        (st.dirichlet([1.0, 2.0]), d.Dirichlet([1.0, 2.0])),
        (st.multivariate_normal(MEAN, COV), d.MultivariateNormal(MEAN, COV)),
        (st.multivariate_t(MEAN, COV, df=5), d.MultivariateT(5.0, MEAN, COV)),
        (st.multivariate_t(MEAN, COV, df=np.inf), d.MultivariateNormal(MEAN, COV)),
    ],
)
def test_scipy_laws_become_built_in(frozen, law):
    assert d.as_law(frozen) == law


@pytest.mark.parametrize(
    "frozen", [st.genpareto(0.2, scale=2.0), st.gamma(2.0, loc=1.0), st.beta(2, 3, scale=5.0)]
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
        (st.geom(0.3), "discrete distribution geom"),
        (st.poisson(3.0, loc=1), "discrete distribution poisson, moved by loc"),
        (st.genpareto([1.0, 2.0]), "Product"),
        (st.wishart(3, [[1.0]]), "wishart"),
        (st.norm, "with its parameters"),
        ([d.Normal(), d.Normal()], "Product"),
        (lambda x: x, "function was given"),
    ],
)
def test_what_is_no_law_is_refused(obj, text):
    with pytest.raises(ArgumentError, match=rf"^prior: .*{text}"):
        d.as_law(obj, name="prior")


objects = pytest.mark.skipif(
    not hasattr(st, "make_distribution"), reason="distribution objects came with SciPy 1.15"
)


@objects
def test_distribution_objects_become_built_in():
    assert d.as_law(st.Normal(mu=1.0, sigma=2.0)) == d.Normal(1.0, 2.0)
    assert d.as_law(st.Normal()) == d.Normal()
    assert d.as_law(st.Normal(mu=[0.0, 1.0], sigma=1.0)) == d.Normal([0.0, 1.0], 1.0)
    assert d.as_law(st.Uniform(a=1.0, b=3.0)) == d.Uniform(1.0, 3.0)


@objects
@pytest.mark.parametrize(
    "make",
    [
        lambda: st.make_distribution(st.gamma)(a=2.0),
        lambda: 2.0 * st.Normal() + 1.0,
        lambda: st.truncate(st.Normal(), lb=0.5, ub=2.0),
        lambda: st.exp(st.Normal()),
        lambda: st.Mixture([st.Normal(), st.Normal(mu=3.0)], weights=[0.5, 0.5]),
    ],
)
def test_other_distribution_objects_are_wrapped(make):
    obj = make()
    law = d.as_law(obj)
    assert law.dim == 1
    x = law.sample(200, rng=6)
    np.testing.assert_allclose(law.log_density(x), obj.logpdf(x[:, 0]))
    np.testing.assert_allclose(law.cdf(0.7), obj.cdf(0.7))
    np.testing.assert_allclose(law.ppf(0.3), obj.icdf(0.3))
    assert law._support() == [tuple(map(float, obj.support()))]
    np.testing.assert_allclose(law.mean, obj.mean())
    np.testing.assert_allclose(law.variance, obj.variance())
    assert repr(law).startswith("ScipyLaw(")
    assert st.kstest(law.sample(2000, rng=1)[:, 0], obj.cdf).statistic < 2.5 / np.sqrt(2000)


@objects
def test_distribution_objects_that_are_no_laws_are_refused():
    with pytest.raises(ArgumentError, match="arrays of parameters"):
        d.as_law(st.make_distribution(st.gamma)(a=[2.0, 3.0]))
    with pytest.raises(ArgumentError, match="discrete distribution"):
        d.as_law(st.make_distribution(st.geom)(p=0.3))
    with pytest.raises(ArgumentError, match="or a distribution object"):
        d.as_law(st.Normal)


@objects
def test_distribution_objects_are_taken_wherever_frozen_ones_are():
    import fermiac as fm

    law = st.make_distribution(st.gamma)(a=2.0)
    product = d.Product([st.Normal(mu=1.0), law])
    assert product.dim == 2
    np.testing.assert_allclose(product.mean, [1.0, 2.0])
    e = fm.importance.expect(lambda x: x, law, n=2000, rng=0)
    assert abs(e.mean - 2.0) < 5 * e.stderr
    r = fm.nested.sample(lambda x: -x[:, 0], [law], n_live=50, dlogz=0.5, rng=0)
    assert abs(r.log_evidence + np.log(4.0)) < 5 * r.log_evidence_stderr
    s = fm.mcmc.sample(st.Normal(mu=1.0), n_draws=500, init=st.Normal(), rng=0)
    assert abs(s.draws.mean() - 1.0) < 0.3
