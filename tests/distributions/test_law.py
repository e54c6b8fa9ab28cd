"""Laws: densities, distribution functions, moments and draws against scipy.stats; errors; forms."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import scipy.stats as st

from fermiac import distributions as d
from fermiac.errors import ArgumentError, TargetError

COV = np.array([[2.0, 0.6, -0.2], [0.6, 1.0, 0.1], [-0.2, 0.1, 0.5]])
MEAN = np.array([0.5, -1.0, 2.0])

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
]


@pytest.mark.parametrize(("law", "reference"), UNIVARIATE)
def test_univariate_laws_agree_with_scipy(law, reference):
    q = np.array([1e-8, 1e-3, 0.1, 0.37, 0.5, 0.9, 0.999])
    x = reference.ppf(q)
    np.testing.assert_allclose(law.log_density(x), reference.logpdf(x), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(law.cdf(x), reference.cdf(x), rtol=1e-12)
    np.testing.assert_allclose(law.ppf(q), x, rtol=1e-12)
    np.testing.assert_array_equal(law.from_unit(q[:, None])[:, 0], law.ppf(q))
    np.testing.assert_allclose(law.mean, reference.mean(), rtol=1e-12)
    np.testing.assert_allclose(law.variance, reference.var(), rtol=1e-12)
    low, high = reference.support()
    assert law._support() == [(low, high)]
    np.testing.assert_array_equal(law.ppf([0.0, 1.0]), [low, high])
    np.testing.assert_array_equal(law.cdf([-np.inf, np.inf]), [0.0, 1.0])
    assert np.isnan(law.log_density(np.nan))
    assert np.isnan(law.cdf(np.nan))


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


def check_mean_and_covariance(x, mean, cov):
    centred = x - mean
    n = len(x)
    z = centred.mean(axis=0) / np.sqrt(np.diag(cov) / n)
    assert np.abs(z).max() < 5
    products = centred[:, :, None] * centred[:, None, :]
    z = (products.mean(axis=0) - cov) / (products.std(axis=0) / np.sqrt(n))
    assert np.abs(z).max() < 5


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


class Triangular(d.Law):
    """Density 2x on the unit interval."""

    dim = 1

    def log_density(self, x):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where((x[:, 0] >= 0) & (x[:, 0] <= 1), np.log(2.0 * x[:, 0]), -np.inf)

    def from_unit(self, u):
        return np.sqrt(u)


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


@pytest.mark.parametrize("foreign", [False, True], ids=["built-in", "foreign"])
def test_product(foreign):
    last = Triangular() if foreign else d.Beta(2.0, 1.0)  # the same law
    law = d.Product([d.MultivariateNormal(MEAN, COV), st.gamma(2.0), last])
    assert law.dim == 5
    assert (law._handle is None) == foreign
    x = law.sample(20_000, rng=2)
    expected = (
        st.multivariate_normal(MEAN, COV).logpdf(x[:, :3])
        + st.gamma(2.0).logpdf(x[:, 3])
        + st.beta(2.0, 1.0).logpdf(x[:, 4])
    )
    np.testing.assert_allclose(law.log_density(x), expected, rtol=1e-11, atol=1e-12)
    check_mean_and_covariance(x[:, :3], MEAN, COV)
    for column, reference in ((3, st.gamma(2.0)), (4, st.beta(2.0, 1.0))):
        assert st.kstest(x[:, column], reference.cdf).statistic < 2.5 / np.sqrt(len(x))
    assert np.abs(np.corrcoef(x.T)[:4, 4]).max() < 5 / np.sqrt(len(x))
    u = np.random.default_rng(2).random((10, 5))
    mapped = law.from_unit(u)
    np.testing.assert_allclose(mapped[:, 3], st.gamma(2.0).ppf(u[:, 3]), rtol=1e-12)
    np.testing.assert_allclose(mapped[:, 4], np.sqrt(u[:, 4]), rtol=1e-12)
    outside = np.array([*MEAN, 1.0, 2.0])
    assert law.log_density(outside) == -np.inf


def test_product_of_univariate_laws():
    law = d.Product([d.Normal([0.0, 1.0], 2.0), d.Exponential(), st.uniform(0, 2)])
    x = law.sample(100, rng=0)
    expected = st.norm([0, 1], 2).logpdf(x[:, :2]).sum(1) - x[:, 2] - np.log(2.0)
    np.testing.assert_allclose(law.log_density(x), expected, rtol=1e-12)
    np.testing.assert_allclose(law.mean, [0.0, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(law.variance, [4.0, 4.0, 1.0, 1.0 / 3.0])
    assert law._support() == [(-np.inf, np.inf)] * 2 + [(0.0, np.inf), (0.0, 2.0)]


@pytest.mark.parametrize("foreign", [False, True], ids=["built-in", "foreign"])
def test_mixture(foreign):
    first = Triangular() if foreign else d.Beta(2.0, 1.0)
    law = d.Mixture([1.0, 0.0, 3.0], [first, d.Normal(50.0), st.norm(2.0, 0.5)])
    assert (law._handle is None) == foreign

    def cdf(x):
        return 0.25 * np.clip(x, 0, 1) ** 2 + 0.75 * st.norm(2.0, 0.5).cdf(x)

    x = law.sample(20_000, rng=4)
    assert st.kstest(x[:, 0], cdf).statistic < 2.5 / np.sqrt(len(x))
    density = 0.25 * st.beta(2.0, 1.0).pdf(x[:, 0]) + 0.75 * st.norm(2.0, 0.5).pdf(x[:, 0])
    np.testing.assert_allclose(np.exp(law.log_density(x)), density, rtol=1e-12)
    # Far out, where the densities themselves underflow.
    far = np.log(0.75) + st.norm(2.0, 0.5).logpdf(100.0)
    np.testing.assert_allclose(law.log_density(100.0), far, rtol=1e-13)
    np.testing.assert_array_equal(law.weights, [0.25, 0.0, 0.75])
    assert law._support() == [(-np.inf, np.inf)]


def test_moments_of_a_mixture():
    law = d.Mixture([1, 3], [d.Normal([0.0, 1.0], 1.0), d.Normal([4.0, 1.0], 2.0)])
    np.testing.assert_allclose(law.mean, [3.0, 1.0])
    np.testing.assert_allclose(law.variance, [0.25 * 10.0 + 0.75 * 5.0, 0.25 + 3.0])
    with pytest.raises(AttributeError, match="mean"):
        _ = d.Mixture([1.0], [Triangular()]).mean


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
        (lambda: d.Product(3), "laws: int"),
        (lambda: d.Product([d.Normal(), 3]), r"laws\[1\]: int"),
        (lambda: d.Normal().sample(-1), "n: -1"),
        (lambda: d.Normal().sample(2.5), r"n: 2\.5"),
        (lambda: d.Normal().sample(True), "n: True"),
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


class WrongShapes(d.Law):
    """Answers in the wrong shape."""

    dim = 1

    def log_density(self, x):
        return np.zeros((len(x), 1))

    def sample(self, n, rng=None):
        return np.zeros(n)


def test_a_part_that_answers_in_the_wrong_shape_is_named():
    law = d.Product([d.Normal(), WrongShapes()])
    with pytest.raises(TargetError, match=r"WrongShapes.log_density gave shape \(4, 1\)"):
        law.log_density(np.zeros((4, 2)))
    with pytest.raises(TargetError, match=r"WrongShapes.sample\(4\) gave shape \(4,\)"):
        law.sample(4, rng=0)
