"""Expectations and evidences of functions of named parameters."""

import numpy as np
import pytest

import fermiac as fm
from fermiac.distributions import Joint, MultivariateNormal, Normal
from fermiac.errors import ArgumentError


def test_integrands_of_named_arguments_have_the_same_bits():
    law = MultivariateNormal(np.zeros(3), np.eye(3))
    named = fm.importance.expect(
        lambda a, b, power: np.column_stack([a**power, (b**power).sum(axis=1)]),
        law,
        n=3000,
        params={"a": (), "b": 2},
        args=(2,),
        keep_draws=True,
        rng=0,
    )
    plain = fm.importance.expect(
        lambda x, power: np.column_stack([x[:, 0] ** power, (x[:, 1:] ** power).sum(axis=1)]),
        law,
        n=3000,
        kwargs={"power": 2},
        rng=0,
    )
    np.testing.assert_array_equal(named.mean, plain.mean)
    np.testing.assert_array_equal(named.stderr, plain.stderr)
    assert named.sample.names == ("a", "b[0]", "b[1]")
    assert (abs(named.mean - [1, 2]) < 5 * named.stderr).all()


def test_a_law_by_names():
    laws = {"a": Normal(1.0, 1.0), "b": lambda a: Normal(a, 2.0)}
    e = fm.importance.expect(lambda a, b: np.column_stack([a, b**2]), laws, n=5000, rng=0)
    assert (abs(e.mean - [1, 1 + 1 + 4]) < 5 * e.stderr).all()
    other = fm.importance.expect(
        lambda b, a: np.column_stack([a, b**2]), Joint(laws), n=5000, rng=0
    )
    np.testing.assert_array_equal(e.mean, other.mean)
    one = fm.importance.expect(
        fm.targets.vectorize(lambda a, b: a * b, params=["a", "b"]), Joint(laws), n=2000, rng=0
    )
    assert abs(one.mean - 2) < 5 * one.stderr


def test_evidence_by_names_with_gradients():
    z = fm.importance.evidence(
        lambda a, b: -0.5 * (a**2 + b**2),
        {"a": Normal(0, 2), "b": Normal(0, 2)},
        n=4000,
        gradient=lambda a, b: (-a, -b),
        rng=0,
    )
    assert abs(z.log_evidence - np.log(2 * np.pi)) < 5 * z.log_evidence_stderr
    assert z.sample.names == ("a", "b")
    np.testing.assert_array_equal(z.sample.gradients, -z.sample.draws)


@pytest.mark.parametrize(
    ("f", "more", "message"),
    [
        (lambda a: a, {}, "f: the function .* does not take 'b'"),
        (lambda a, b, c: a, {}, "it needs 'c'"),
        (fm.targets.powers([[1, 1]]), {"args": (1,)}, "only Python functions"),
        (lambda a, b: a, {"params": ["a", "b", "c"]}, "'c' has no law"),
    ],
)
def test_what_does_not_fit(f, more, message):
    with pytest.raises(ArgumentError, match=message):
        fm.importance.expect(f, {"a": Normal(), "b": Normal()}, **more)
    if not more.get("args"):
        with pytest.raises(ArgumentError, match=message.replace("f:", "log_density:")):
            fm.importance.evidence(f, {"a": Normal(), "b": Normal()}, **more)


def test_params_must_fit_the_law():
    with pytest.raises(ArgumentError, match="params: 1 coordinates"):
        fm.importance.expect(lambda a: a, Normal([0, 0]), params=["a"])


def test_evidence_of_a_posterior_starts_from_its_prior():
    prior = {"a": Normal(0.0, 2.0), "b": Normal(0.0, 2.0)}
    posterior = fm.targets.posterior(lambda a, b: -0.5 * (a + b - 1.0) ** 2, prior)
    z = fm.importance.evidence(posterior, n=5000, rng=0)
    same = fm.importance.evidence(posterior, prior, n=5000, rng=0)
    assert z.log_evidence == same.log_evidence
    assert z.sample.names == ("a", "b")
    exact = -0.5 / 9.0 - np.log(
        3.0
    )  # the density of a + b at 1, with variance 1 + 8, times sqrt(2 pi)
    assert abs(z.log_evidence - exact) < 5 * z.log_evidence_stderr
    with pytest.raises(ArgumentError, match="but posteriors"):
        fm.importance.evidence(lambda x: x[:, 0], n=5000, rng=0)
