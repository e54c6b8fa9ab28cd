"""The base classes of laws: shapes, frozen values, draws by key, errors."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import scipy.stats as st
from law_checks import Triangular

import fermiac as fm
from fermiac import _core
from fermiac import distributions as d
from fermiac.errors import ArgumentError

COV = np.array([[2.0, 0.6, -0.2], [0.6, 1.0, 0.1], [-0.2, 0.1, 0.5]])


MEAN = np.array([0.5, -1.0, 2.0])


def test_shapes_of_points():
    law = d.Normal()
    scalar = law.log_density(0.5)
    assert np.ndim(scalar) == 0
    np.testing.assert_array_equal(law.log_density([0.5, 0.5]), [scalar, scalar])
    assert law.log_density(np.zeros((4, 1))).shape == (4,)
    assert law.log_density(np.zeros((2, 4, 1))).shape == (2, 4)
    assert law.log_density(np.zeros((0, 1))).shape == (0,)
    plane = d.Normal([0.0, 0.0])
    assert np.ndim(plane.log_density([0.0, 1.0])) == 0
    assert plane.log_density(np.zeros((5, 6, 2))).shape == (5, 6)
    # Strided and integer input is taken; so is what numpy converts.
    np.testing.assert_array_equal(
        law.log_density(np.arange(10)[::3]), law.log_density([0, 3, 6, 9])
    )
    assert law.cdf(np.zeros((2, 3))).shape == (2, 3)
    assert np.ndim(law.ppf(0.5)) == 0
    for bad in (np.zeros(3), 0.0, np.zeros((2, 3))):
        with pytest.raises(ArgumentError, match="shape"):
            plane.log_density(bad)
    with pytest.raises(ArgumentError, match="numbers"):
        law.log_density("text")


def test_a_subclass_draws_by_its_map():
    x = Triangular().sample(20_000, rng=5)
    assert st.kstest(x[:, 0], lambda x: np.clip(x, 0, 1) ** 2).statistic < 2.5 / np.sqrt(len(x))
    assert Triangular._handle is None
    assert Triangular()._support() == [(-np.inf, np.inf)]
    assert d.as_law(law := Triangular()) is law


class Bare(d.Law):
    """Neither a density nor draws."""

    dim = 2


def test_a_subclass_that_defines_too_little_says_so():
    with pytest.raises(NotImplementedError, match="Bare must define log_density"):
        Bare().log_density(np.zeros((1, 2)))
    with pytest.raises(ArgumentError, match="Bare has no map"):
        Bare().sample(3, rng=0)


def test_draws_are_a_function_of_the_key():
    law = d.Mixture([1, 1], [d.MultivariateNormal(MEAN, COV), d.Normal([0.0, 0.0, 0.0])])
    x = law.sample(10_000, rng=9)
    np.testing.assert_array_equal(law.sample(10_000, rng=9), x)
    assert not np.array_equal(law.sample(10_000, rng=10), x)
    # Whole chunks of 4096 do not depend on what comes after them.
    np.testing.assert_array_equal(law.sample(4096, rng=9), x[:4096])
    seed = np.random.SeedSequence(3)
    np.testing.assert_array_equal(
        law.sample(5, rng=seed), law.sample(5, rng=int(seed.generate_state(1, np.uint64)[0]))
    )
    assert not np.array_equal(law.sample(5), law.sample(5))
    assert law.sample(0, rng=0).shape == (0, 3)


LAWS = [
    d.Normal(1.0, 2.0),
    d.LogNormal(),
    d.Uniform([0.0, 1.0], [2.0, 3.0]),
    d.StudentT(3.0, scale=[1.0, 2.0]),
    d.Gamma(2.0),
    d.Beta(1.0, 2.0),
    d.Exponential(3.0),
    d.MultivariateNormal(MEAN, COV),
    d.MultivariateT(3.0, MEAN, COV),
    d.Product([d.Normal(), d.MultivariateNormal(MEAN, COV)]),
    d.Mixture([1.0, 2.0], [d.Normal(), d.StudentT(3.0)]),
]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
def test_laws_are_frozen_values(law):
    for twin in (pickle.loads(pickle.dumps(law)), copy.deepcopy(law)):
        assert twin == law
        assert hash(twin) == hash(law)
        np.testing.assert_array_equal(twin.sample(5, rng=1), law.sample(5, rng=1))
    assert sum(law == other for other in LAWS) == 1
    assert law != "law"
    text = repr(law)
    assert text.startswith(type(law).__name__ + "(")
    assert "\n" not in text
    assert len(text) < 200
    with pytest.raises(AttributeError, match="frozen"):
        law.dim = 3
    with pytest.raises(AttributeError, match="frozen"):
        del law.dim


def test_equality_looks_at_the_parameters():
    assert d.Normal(0.0, 1.0) == d.Normal()
    assert d.Normal(0.0, 1.0) != d.Normal(0.0, 2.0)
    assert d.Normal(0.0) != d.Gamma(1.0)
    a = d.Mixture([1, 1], [d.Normal(), d.Normal(1.0)])
    assert a == d.Mixture([2, 2], [d.Normal(), d.Normal(1.0)])
    assert a != d.Mixture([1, 1], [d.Normal(), d.Normal(2.0)])


def test_a_law_does_not_follow_the_array_it_was_made_from():
    mean = MEAN.copy()
    law = d.MultivariateNormal(mean, COV)
    mean[0] = 7.0
    np.testing.assert_array_equal(law.mean, MEAN)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: d.Normal(0.0, -1.0), "sd: -1 was given"),
        (lambda: d.Normal(np.nan), "mean: NaN"),
        (lambda: d.Normal("a"), "mean: 'a' was given"),
        (lambda: d.Normal([0.0, 1.0], [1.0, 2.0, 3.0]), "broadcast"),
        (lambda: d.Normal(np.zeros((2, 2))), r"shape \(2, 2\)"),
        (lambda: d.Normal([]), r"shape \(0,\)"),
        (lambda: d.LogNormal(0.0, 0.0), "sigma: 0"),
        (lambda: d.Uniform(1.0, 1.0), "high: 1"),
        (lambda: d.StudentT(0.0), "df: 0"),
        (lambda: d.Gamma(-1.0), "shape: -1"),
        (lambda: d.Beta(1.0, np.inf), "b: inf"),
        (lambda: d.Exponential([1.0, 0.0]), "scale: 0"),
        (lambda: d.MultivariateNormal([0, 0], [[1, 2], [2, 1]]), "cov: .*pivot 1"),
        (lambda: d.MultivariateNormal([0, 0], [[1, 0.5], [0, 1]]), "symmetric"),
        (lambda: d.MultivariateNormal([0, 0], np.eye(3)), r"cov: shape \(3, 3\)"),
        (lambda: d.MultivariateT(-2.0, [0.0], [[1.0]]), "df: -2"),
        (lambda: d.MultivariateT([1.0, 2.0], [0.0], [[1.0]]), "df: an array"),
        (lambda: d.Mixture([1.0], [d.Normal(), d.Normal()]), "2 laws"),
        (lambda: d.Mixture([1.0, -1.0], [d.Normal(), d.Normal()]), "weights"),
        (lambda: d.Mixture([1.0, 1.0], [d.Normal(), d.Normal([0, 1])]), r"\[1, 2\]"),
        (lambda: d.Mixture([], []), "at least one"),
        (lambda: d.Product([]), "at least one"),
        (lambda: d.Product(3), "laws: 3 was given"),
        (lambda: d.Product([d.Normal(), 3]), r"laws\[1\]: int"),
        (lambda: d.Normal().sample(-1), "n: -1"),
        (lambda: d.Normal().sample(2.5), r"n: a float, 2\.5"),
        (lambda: d.Normal().sample(True), "n: the bool True"),
        (lambda: d.Normal().ppf(1.5), r"q: 1\.5"),
        (lambda: d.Normal().ppf(np.nan), "q: nan"),
        (lambda: d.Normal([0.0, 1.0]).from_unit([[0.5, -0.5]]), r"u: -0\.5"),
        (lambda: d.Normal([0.0, 1.0]).from_unit([[0.5]]), r"shape \(1, 1\)"),
        (lambda: d.Mixture([1.0], [d.Normal()]).from_unit([[0.5]]), "no map"),
    ],
)
def test_wrong_arguments_are_named(make, text):
    with pytest.raises(ArgumentError, match=text):
        make()


@pytest.mark.parametrize(
    "law",
    [
        d.Normal(1.0, 2.0),
        d.Gamma([2.0, 3.0]),
        d.Truncated(d.Normal(), 0.0),
        d.Dirichlet([1.0, 2.0]),
        d.LKJ(3),
        d.Poisson(3.0),
        d.MultivariateNormal(MEAN, COV),
        d.Product([d.Normal(), d.Poisson(2.0)]),
        d.Mixture([1, 1], [d.Normal(), d.Normal(3.0)]),
        Triangular(),
        d.as_law(st.gamma(2.0, loc=1.0)),
    ],
)
def test_the_names_of_scipy_are_other_names(law):
    x = law.rvs(20, random_state=3)
    np.testing.assert_array_equal(x, law.sample(20, rng=3))
    np.testing.assert_array_equal(law.logpdf(x), law.log_density(x))
    np.testing.assert_array_equal(law.pdf(x), np.exp(law.log_density(x)))
    assert law.rvs().shape == (1, law.dim)


def test_distribution_functions_of_all_laws():
    mixture = d.Mixture([1, 3], [d.Normal(), d.Normal(3.0)])
    x = np.array([[-1.0, 0.5], [2.0, np.inf]])
    want = 0.25 * st.norm.cdf(x) + 0.75 * st.norm.cdf(x - 3.0)
    np.testing.assert_allclose(mixture.cdf(x), want, rtol=1e-13)
    np.testing.assert_allclose(Triangular().ppf([0.25, 1.0]), [0.5, 1.0])
    assert np.ndim(Triangular().ppf(0.25)) == 0
    with pytest.raises(ArgumentError, match=r"^q: 2"):
        Triangular().ppf(2.0)
    for law in (d.Dirichlet([1.0, 2.0]), d.MultivariateNormal(MEAN, COV), d.LKJ(3)):
        with pytest.raises(ArgumentError, match="has no distribution function"):
            law.cdf(0.5)
        with pytest.raises(ArgumentError, match="ppf is of one coordinate"):
            law.ppf(0.5)
    with pytest.raises(ArgumentError, match="has no map"):
        mixture.ppf(0.5)


@pytest.mark.parametrize(
    "law",
    [
        d.Product([d.Weibull(1.5), d.Gumbel(), d.Logistic(), d.Laplace(), d.HalfCauchy()]),
        d.Truncated(d.Normal([0.0, 1.0]), 0.5),
        d.Dirichlet([0.5, 2.0, 3.0]),
        d.LKJ(4, 1.5),
        d.GaussianCopula([d.Chi2(3.0), d.InverseGamma(2.0)], [[1.0, 0.4], [0.4, 1.0]]),
        d.Product([d.Poisson(3.0), d.Binomial(9, 0.2), d.NegativeBinomial(2.0, 0.4)]),
    ],
    ids=repr,
)
def test_the_number_of_threads_changes_no_bit(law):
    x = law.sample(20_000, rng=2)
    density = _core.LogDensity.law(law._handle)
    one = density.log_density(x, 1)
    np.testing.assert_array_equal(density.log_density(x, 8), one)
    np.testing.assert_array_equal(law.log_density(x), one)
    if density.has_gradient:
        values, slopes = density.log_density_gradient(x, 1)
        again, moved = density.log_density_gradient(x, 8)
        np.testing.assert_array_equal(values, one)
        np.testing.assert_array_equal(again, one)
        np.testing.assert_array_equal(moved, slopes)
    runs = [
        fm.importance.expect(np.tanh, law, method="mc", n=20_000, rng=1, plan=fm.Plan(n_threads=n))
        for n in (1, 8)
    ]
    np.testing.assert_array_equal(runs[0].mean, runs[1].mean)


@pytest.mark.parametrize("degree", [1, 3])
def test_polynomials_of_a_law_are_orthonormal_under_it(degree: int) -> None:
    law = fm.distributions.Product(
        [
            fm.distributions.Exponential(2.0),
            fm.distributions.StudentT(3.0),
            fm.distributions.Uniform(-1.0, 4.0),
        ]
    )
    # Gauss quadrature is exact for products of them; the second coordinate has none.
    x, of_x = np.polynomial.laguerre.laggauss(8)
    z, of_z = np.polynomial.legendre.leggauss(8)
    grid = np.array([[2.0 * a, 0.3, 1.5 + 2.5 * b] for a in x for b in z])
    weights = np.array([a * b / 2 for a in of_x for b in of_z])
    p = law.polynomials(grid, degree)
    # Those of one coordinate, and products of two.
    assert p.shape == (64, {1: 2, 3: 6 + 3}[degree])
    np.testing.assert_allclose(weights @ p, 0, atol=1e-12)
    np.testing.assert_allclose(p.T @ (weights[:, None] * p), np.eye(p.shape[1]), atol=1e-12)


def test_polynomials_refuse_what_they_cannot_do() -> None:
    normal = fm.distributions.Normal(np.zeros(3))
    for degree in (0, 21, 1.5):
        with pytest.raises(fm.errors.ArgumentError, match="degree"):
            normal.polynomials(np.zeros((2, 3)), degree)  # type: ignore[arg-type]
    with pytest.raises(fm.errors.ArgumentError, match="degree: 20 given: it makes more than"):
        fm.distributions.Normal(np.zeros(200)).polynomials(np.zeros((1, 200)), 20)
    with pytest.raises(fm.errors.ArgumentError, match="not known"):
        fm.distributions.StudentT(3.0).polynomials([0.5])
    assert normal.polynomials(np.zeros((0, 3)), 2).shape == (0, 9)
