"""Nested sampling of named parameters, with priors by names."""

import numpy as np
import pytest
import scipy.stats as st

import fermiac as fm
from fermiac.distributions import Gamma, Joint, Normal, Uniform
from fermiac.errors import ArgumentError

Y = np.array([1.0, -0.5, 2.0])
PRIOR = {"mu": Normal(0.0, 2.0), "theta": lambda mu: Normal.rows(mu[:, None], 1.0)}


def log_likelihood(theta, mu, y=Y):
    assert theta.shape == (len(mu), 3)
    return st.norm(theta).logpdf(y).sum(axis=1)


def test_evidence_with_a_dependent_prior():
    r = fm.nested.sample(log_likelihood, PRIOR, params={"theta": 3}, rng=0)
    exact = st.multivariate_normal(np.zeros(3), 4.0 + 2.0 * np.eye(3)).logpdf(Y)
    assert abs(r.log_evidence - exact) < 4 * r.log_evidence_stderr
    assert r.names == ("mu", "theta[0]", "theta[1]", "theta[2]")
    law = Joint(PRIOR, shapes={"theta": 3})
    z = fm.importance.evidence(
        lambda theta, mu: log_likelihood(theta, mu) + law.log_density(np.c_[mu, theta]), law, rng=0
    )
    assert abs(z.log_evidence - exact) < 5 * z.log_evidence_stderr
    assert z.sample.names == r.names


@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")
def test_the_bits_are_those_of_points():
    prior = {"a": Uniform(-5, 5), "b": Uniform(-5, 5)}
    given = {"n_live": 60, "max_evals": 3000, "rng": 1}
    named = fm.nested.sample(lambda a, b: -(a**2) - b**2, prior, **given)
    plain = fm.nested.sample(
        lambda x: -(x[:, 0] ** 2) - x[:, 1] ** 2, list(prior.values()), **given
    )
    np.testing.assert_array_equal(named.draws, plain.draws)
    assert named.log_evidence == plain.log_evidence
    assert named.names == ("a", "b")


@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")
def test_blobs_arguments_and_gradients_by_name():
    prior = {"a": Uniform(-5, 5), "b": Uniform(-5, 5)}
    given = {"n_live": 50, "max_evals": 500, "rng": 1}

    def with_blobs(a, b, scale):
        return -scale * (a**2 + b**2), np.column_stack([a + b, a - b])

    r = fm.nested.sample(with_blobs, prior, args=(2.0,), blobs=["sum", "difference"], **given)
    np.testing.assert_allclose(r.blobs[:, 0], r.draws.sum(axis=1))
    fm.nested.sample(
        lambda a, b, scale: -scale * (a**2 + b**2),
        prior,
        gradient=lambda a, b, scale: {"a": -2 * scale * a, "b": -2 * scale * b},
        kwargs={"scale": 2.0},
        sampler="galilean",
        **given,
    )


@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")
def test_a_map_of_the_cube_with_names():
    given = {"n_live": 50, "max_evals": 400, "rng": 1}
    r = fm.nested.sample(
        lambda a, b: -(a**2) - (b**2).sum(axis=1),
        lambda u: 4 * u - 2,
        params={"a": (), "b": 2},
        **given,
    )
    assert r.names == ("a", "b[0]", "b[1]")


@pytest.mark.parametrize(
    ("f", "prior", "more", "message"),
    [
        (lambda a, c: a, {"a": Normal(), "b": Normal()}, {}, "does not take 'b'"),
        (lambda a, bb: a, {"a": Normal(), "b": Normal()}, {}, "did you mean 'bb'"),
        (lambda x: x[:, 0], {"a": Normal(), "b": Normal()}, {}, "as_target"),
        (lambda a: a, {"a": Normal()}, {"names": ["b"]}, "names: given with params"),
        (lambda a: a, {"a": Normal()}, {"params": ["b"]}, "'b' has no law"),
        (lambda a: a, {"a": Normal()}, {"dim": 2}, "dim: 2"),
        (lambda a: a, [Normal(), Normal()], {"params": ["a"]}, "dim: 2 given with params"),
        (lambda a: a, {"a": Normal}, {}, "laws"),
        (lambda a: a, {"a": Gamma(1.0), "b": lambda c: Normal()}, {}, "no parameter before"),
    ],
)
def test_what_does_not_fit(f, prior, more, message):
    with pytest.raises(ArgumentError, match=message):
        fm.nested.sample(f, prior, **more)


@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")
def test_evaluations_for_differences_are_counted():
    calls = []

    def f(a, b):
        calls.append(len(a))
        return -(a**2) - b**2

    prior = {"a": Uniform(-5, 5), "b": Uniform(-5, 5)}
    given = {"n_live": 50, "max_evals": 600, "rng": 1, "sampler": "galilean", "check": False}
    r = fm.nested.sample(f, prior, gradient="finite", **given)
    assert r.n_evals == sum(calls)


def test_a_posterior_brings_its_likelihood_and_its_prior():
    prior = {"a": Normal(0.0, 2.0), "b": Normal(0.0, 2.0)}

    def likelihood(a, b):
        return -0.5 * (a + b - 1.0) ** 2

    posterior = fm.targets.posterior(likelihood, prior)
    r = fm.nested.sample(posterior, n_live=100, rng=0)
    same = fm.nested.sample(likelihood, prior, n_live=100, rng=0)
    assert (r.log_evidence, r.names) == (same.log_evidence, ("a", "b"))
    exact = st.norm.logpdf(1.0, 0.0, 3.0) + 0.5 * np.log(2 * np.pi)
    assert abs(r.log_evidence - exact) < 5 * r.log_evidence_stderr
    with pytest.raises(ArgumentError, match=r"prior: .* would count twice"):
        fm.nested.sample(posterior, prior, rng=0)
    with pytest.raises(ArgumentError, match="dictionary of laws"):
        fm.nested.sample(likelihood, rng=0)


def test_a_posterior_of_points_keeps_its_names():
    posterior = fm.targets.posterior(
        lambda x: -0.5 * (x**2).sum(axis=1), [Normal(0.0, 2.0), Uniform(-1.0, 1.0)]
    )
    r = fm.nested.sample(posterior, n_live=100, names=["a", "b"], rng=0)
    assert r.names == ("a", "b")
