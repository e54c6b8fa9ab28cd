"""Posteriors of a likelihood and a prior: values, gradients, supports, transforms."""

import pickle

import numpy as np
import pytest
import scipy.stats as st

import fermiac as fm
from fermiac.distributions import Gamma, Joint, Normal, Product, Uniform
from fermiac.errors import ArgumentError

Y = np.array([0.3, 1.2, -0.4])
PRIOR = {"mu": Normal(0.0, 2.0), "sigma": Gamma(2.0)}


def log_likelihood(mu, sigma, y=Y):
    assert (sigma > 0).all()  # it is called inside the support alone
    return st.norm(mu[:, None], sigma[:, None]).logpdf(y).sum(axis=1)


def gradient(mu, sigma, y=Y):
    z = (y - mu[:, None]) / sigma[:, None]
    return {"mu": z.sum(axis=1) / sigma, "sigma": ((z**2).sum(axis=1) - len(y)) / sigma}


def test_values_and_gradients_are_sums():
    target = fm.targets.posterior(log_likelihood, PRIOR, gradient)
    x = np.array([[0.5, 1.5], [0.0, -1.0], [-1.0, 0.2]])
    inside = [0, 2]
    values, slopes = target.log_density_and_gradient(x)
    wanted = st.norm(0, 2).logpdf(x[inside, 0]) + st.gamma(2).logpdf(x[inside, 1])
    wanted += log_likelihood(*x[inside].T)
    np.testing.assert_allclose(values[inside], wanted, rtol=1e-12)
    assert values[1] == -np.inf
    given = gradient(*x[inside].T)
    np.testing.assert_allclose(slopes[inside, 0], given["mu"] - x[inside, 0] / 4)
    np.testing.assert_allclose(slopes[inside, 1], given["sigma"] + 1 / x[inside, 1] - 1)
    assert target.names == ("mu", "sigma")
    assert repr(target.transforms) == "(identity(), above(0.0))"
    again = pickle.loads(pickle.dumps(target))
    np.testing.assert_array_equal(again.log_density(x), values)


def test_differences_take_any_prior():
    prior = {"sigma": Gamma(2.0), "mu": lambda sigma: Normal(0.0, sigma)}
    target = fm.targets.posterior(log_likelihood, prior, "finite")
    assert not fm.targets.posterior(log_likelihood, prior, gradient).has_gradient
    assert target.names == ("sigma", "mu")
    x = np.array([[1.5, 0.5]])
    slopes = gradient(x[:, 1], x[:, 0])
    sigma, mu = x[0]
    more = [1 / sigma - 1 - 1 / sigma + mu**2 / sigma**3, -mu / sigma**2]
    _, found = target.log_density_and_gradient(x)
    wanted = np.array([slopes["sigma"][0], slopes["mu"][0]]) + more
    np.testing.assert_allclose(found[0], wanted, atol=1e-8)


def test_priors_of_all_kinds():
    def f(x):
        return -0.5 * (x**2).sum(axis=1)

    x = np.array([[0.5, 0.25]])
    for prior in [
        Product([Normal(), Uniform(0, 2)]),
        [Normal(), Uniform(0, 2)],
        (st.norm(), st.uniform(0, 2)),
    ]:
        target = fm.targets.posterior(f, prior, lambda x: -x)
        wanted = st.norm.logpdf(0.5) - np.log(2) + f(x)
        np.testing.assert_allclose(target.log_density(x), wanted)
        assert target.names is None
    named = fm.targets.posterior(lambda a, b: a - b, [Normal(), Normal()], params=["a", "b"])
    assert named.names == ("a", "b")
    native = fm.targets.posterior(fm.targets.banana(), {"a": Normal(), "b": Normal()})
    assert native.has_gradient
    assert native.names == ("a", "b")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"prior": 3}, "prior: int"),
        ({"prior": {}}, "laws: {}"),
        ({"prior": []}, "at least one"),
        ({"prior": {"mu": Normal()}}, "it needs 'sigma'"),
        ({"prior": {"mu": Normal(), "sgma": Gamma(1.0)}}, "did you mean 'sigma'"),
        ({"gradient": "finit"}, "did you mean 'finite'"),
        ({"params": ["mu"]}, "params"),
    ],
)
def test_refusals(given, message):
    with pytest.raises(ArgumentError, match=message):
        fm.targets.posterior(log_likelihood, **{"prior": [Normal(), Normal()], **given})


def test_shapes_go_to_the_prior():
    target = fm.targets.posterior(
        lambda mu, theta: -0.5 * ((theta - mu[:, None]) ** 2).sum(axis=1),
        {"mu": Normal(), "theta": Normal()},
        params={"theta": 3},
    )
    assert target.names == ("mu", "theta[0]", "theta[1]", "theta[2]")


def test_chains_move_without_bounds():
    target = fm.targets.posterior(log_likelihood, PRIOR, gradient)
    s = fm.mcmc.sample(
        target, kernel=fm.mcmc.NUTS(target_accept=0.95), transforms="auto", n_draws=500, rng=1
    )
    assert s.names == ("mu", "sigma")
    assert s.bounds[1][0] == 0.0
    finite = fm.targets.posterior(log_likelihood, PRIOR, "finite")
    t = fm.mcmc.sample(
        finite, kernel=fm.mcmc.NUTS(target_accept=0.95), transforms="auto", n_draws=500, rng=2
    )
    law = Joint(PRIOR)
    z = fm.importance.evidence(target, law, n=20_000, rng=0).sample
    for other in (t, z):
        a, b = s.expect(lambda x: x), other.expect(lambda x: x)
        assert (abs(a.mean - b.mean) < 5 * np.hypot(a.stderr, b.stderr)).all()
    free = fm.mcmc.sample(Normal([0.0, 0.0]), transforms="auto", kernel="mala", rng=0)
    assert free.gradients is not None  # nothing was transformed
