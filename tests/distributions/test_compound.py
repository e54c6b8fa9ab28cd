"""Products and mixtures of laws, built in and foreign."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats as st
from law_checks import Triangular, check_mean_and_covariance

from fermiac import distributions as d
from fermiac.errors import TargetError

COV = np.array([[2.0, 0.6, -0.2], [0.6, 1.0, 0.1], [-0.2, 0.1, 0.5]])


MEAN = np.array([0.5, -1.0, 2.0])


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
