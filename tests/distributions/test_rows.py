"""Laws of rows: formulas against scipy, and against the laws of the core one by one."""

import numpy as np
import pytest
import scipy.stats as st

import fermiac as fm
from fermiac.distributions import Beta, Exponential, Gamma, LogNormal, Normal, StudentT, Uniform
from fermiac.distributions import rows as rows_module
from fermiac.errors import ArgumentError

RNG = np.random.default_rng(3)
A, B, C = (RNG.uniform(0.3, 4.0, size=(40, 3)) for _ in range(3))
M = RNG.normal(size=(40, 3))
CASES = [
    (Normal, (M, A), st.norm(M, A)),
    (LogNormal, (M, A), st.lognorm(A, scale=np.exp(M))),
    (Uniform, (M, M + A), st.uniform(M, A)),
    (StudentT, (A, M, B), st.t(A, M, B)),
    (Gamma, (A, B), st.gamma(A, scale=B)),
    (Beta, (A, B), st.beta(A, B)),
    (Exponential, (A,), st.expon(scale=A)),
]


@pytest.mark.parametrize(("kind", "given", "scipy"), CASES)
def test_densities_and_quantiles_are_those_of_scipy(kind, given, scipy):
    laws = kind.rows(*given)
    u = RNG.uniform(size=(40, 3))
    x = laws.ppf(u)
    np.testing.assert_allclose(x, scipy.ppf(u), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(laws.log_density(x), scipy.logpdf(x), rtol=1e-9, atol=1e-11)
    far = np.where(u > 0.5, 50.0, -50.0)
    np.testing.assert_allclose(laws.log_density(far), scipy.logpdf(far), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("kind", "given", "scipy"), CASES)
def test_they_are_the_laws_of_the_core(kind, given, scipy, monkeypatch):
    laws = kind.rows(*given)
    u = RNG.uniform(size=(40, 3))
    edges = np.array([0.0, 1.0, np.inf, -np.inf, np.nan, 1e-300, -0.0, 0.5])
    x = np.concatenate([laws.ppf(u).ravel(), edges, [u.min(), u.max()]])[:120].reshape(40, 3)
    formulas = laws.log_density(x), laws.ppf(u)
    monkeypatch.setattr(rows_module, "_LOG_DENSITIES", {})
    monkeypatch.setattr(rows_module, "_QUANTILES", {})
    np.testing.assert_allclose(laws.log_density(x), formulas[0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(laws.ppf(u), formulas[1], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("kind", "given", "scipy"), CASES)
def test_bounds_are_those_of_the_law(kind, given, scipy):
    ones = tuple(np.ones(3) * (i + 1) for i in range(len(given)))
    edges = np.array([0.0, 1.0, np.inf, -np.inf, np.nan])[:, None]
    for row in range(5):
        wanted = kind(*(o[0] for o in ones)).log_density(edges[row])
        laws = kind.rows(*(o[0] for o in ones))
        np.testing.assert_array_equal(laws.log_density(edges[row]), wanted)
    low, high = rows_module.support_of(kind.__name__)
    known = kind(*(o[0] for o in ones))._support()[0]
    assert (low, high) in (known, (-np.inf, np.inf))


def test_parameters_of_rows_broadcast():
    mu, tau = np.arange(4.0), np.ones(4)
    x = RNG.normal(size=(4, 3))
    wanted = st.norm(mu[:, None], 1.0).logpdf(x)
    for given in [(mu, tau), (mu[:, None], tau[:, None]), (mu[:, None], 1.0), (mu, tau[:, None])]:
        if given[0].ndim == given[1].ndim if isinstance(given[1], np.ndarray) else True:
            np.testing.assert_allclose(Normal.rows(*given).log_density(x), wanted)
    assert repr(Normal.rows(sd=mu[:, None] + 1, mean=0.0)) == "Normal.rows(mean (), sd (4, 1))"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Normal.rows(np.zeros(3), np.ones(4)), "do not broadcast"),
        (lambda: Normal.rows("a"), "mean"),
        (lambda: Normal.rows(0.0, 1.0, 2.0), "the parameters are mean, sd"),
        (lambda: Normal.rows(mu=1.0), "the parameters are mean, sd"),
        (lambda: Gamma.rows(), "the parameters are shape, scale"),
        (lambda: Normal.rows(np.zeros(3), -np.ones(3)).log_density(np.zeros(3)), "sd"),
        (lambda: Normal.rows(np.nan, np.ones(3)).ppf(np.full(3, 0.5)), "mean"),
        (lambda: Uniform.rows(np.ones(3), 1.0).ppf(np.full(3, 0.5)), "high"),
        (lambda: Normal.rows(np.zeros(3), 1.0).log_density(np.zeros((4, 2))), "first axis"),
    ],
)
def test_parameters_that_do_not_fit(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_arrays_with_two_axes_are_refused_by_the_law_itself():
    with pytest.raises(ArgumentError, match=r"Normal\.rows"):
        fm.distributions.Normal(np.zeros((3, 2)), 1.0)
