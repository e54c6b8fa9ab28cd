"""Laws of counts: probabilities by mpmath and SciPy, quantiles, draws, and who refuses them."""

from __future__ import annotations

import inspect
import pickle

import mpmath as mp
import numpy as np
import pytest
import scipy.stats as st

import fermiac as fm
from fermiac import _core
from fermiac import distributions as d
from fermiac.errors import ArgumentError

LAWS = [
    pytest.param(d.Poisson(3.5), st.poisson(3.5), id="poisson"),
    pytest.param(d.Poisson(0.01), st.poisson(0.01), id="poisson-small"),
    pytest.param(d.Poisson(4000.0), st.poisson(4000.0), id="poisson-large"),
    pytest.param(d.Binomial(12, 0.3), st.binom(12, 0.3), id="binomial"),
    pytest.param(d.Binomial(10**6, 1e-3), st.binom(10**6, 1e-3), id="binomial-large"),
    pytest.param(d.NegativeBinomial(2.5, 0.3), st.nbinom(2.5, 0.3), id="negative-binomial"),
    pytest.param(d.NegativeBinomial(0.2, 0.01), st.nbinom(0.2, 0.01), id="negative-binomial-wide"),
    pytest.param(
        d.Categorical([1.0, 0.0, 3.0, 4.0]),
        st.rv_discrete(values=([0, 1, 2, 3], [0.125, 0.0, 0.375, 0.5])),
        id="categorical",
    ),
]


@pytest.mark.parametrize(("law", "reference"), LAWS)
def test_laws_of_counts_agree_with_scipy(law, reference):
    q = np.array([1e-8, 1e-3, 0.1, 0.37, 0.5, 0.9, 0.999, 1 - 1e-9])
    k = reference.ppf(q)
    np.testing.assert_array_equal(law.ppf(q), k)
    np.testing.assert_allclose(law.logpmf(k), reference.logpmf(k), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(law.cdf(k), reference.cdf(k), rtol=1e-9)
    np.testing.assert_array_equal(law.cdf(k + 0.5), law.cdf(k))
    np.testing.assert_array_equal(law.log_density(k + 0.5), [-np.inf] * len(k))
    np.testing.assert_array_equal(law.log_density([-1.0, np.inf, -np.inf]), [-np.inf] * 3)
    np.testing.assert_array_equal(law.cdf([-1.0, -np.inf, np.inf]), [0.0, 0.0, 1.0])
    assert np.isnan(law.log_density(np.nan))
    assert np.isnan(law.cdf(np.nan))
    np.testing.assert_array_equal(law.from_unit(q[:, None])[:, 0], law.ppf(q))
    np.testing.assert_allclose(law.mean, reference.mean(), rtol=1e-12)
    np.testing.assert_allclose(law.variance, reference.var(), rtol=1e-12)
    assert law.ppf(0.0) == reference.support()[0]
    assert law.ppf(1.0) == reference.support()[1]
    assert law._support() == [reference.support()]
    # A count is the quantile of its own distribution function.
    whole = np.unique(law.sample(200, rng=0))
    np.testing.assert_array_equal(law.ppf(law.cdf(whole)), whole)


@pytest.mark.parametrize(("law", "reference"), LAWS)
def test_draws_of_counts_follow_their_law(law, reference):
    n = 20_000
    x = law.sample(n, rng=11)[:, 0]
    assert (x == np.floor(x)).all()
    edges = np.unique(reference.ppf(np.linspace(0.02, 0.98, 25)))
    for edge in edges:
        p = float(reference.cdf(edge))
        z = ((x <= edge).mean() - p) / np.sqrt(p * (1 - p) / n) if 0 < p < 1 else 0.0
        assert abs(z) < 5, edge
    np.testing.assert_array_equal(law.sample(5000, rng=11)[:, 0], x[:5000])


@pytest.mark.parametrize("rate", [1e-5, 0.7, 33.0, 1e4, 1e9])
def test_poisson_probabilities_have_all_their_digits(rate):
    law = d.Poisson(rate)
    with mp.workdps(50):
        for k in {0.0, 1.0, np.floor(rate), np.floor(rate + 3 * np.sqrt(rate)), 2000.0}:
            want = k * mp.log(rate) - rate - mp.loggamma(k + 1)
            assert abs(law.log_density(k) - want) < 1e-14 * max(1, abs(want)), k


@pytest.mark.parametrize(("n", "p"), [(1, 0.3), (40, 1e-9), (1000, 0.999), (10**9, 0.25)])
def test_binomial_probabilities_have_all_their_digits(n, p):
    law = d.Binomial(n, p)
    with mp.workdps(50):
        beyond = min(n, int(n * p + 3 * np.sqrt(n * p * (1 - p))))
        for k in {0, 1, n, n - 1, int(n * p), beyond}:
            q = 1 - mp.mpf(p)
            want = mp.log(mp.binomial(n, k)) + k * mp.log(p) + (n - k) * mp.log(q)
            # The complement of p is rounded to a double.
            slack = 1e-14 * max(1, abs(want)) + 2e-16 * (n - k)
            assert abs(law.log_density(float(k)) - want) < slack, k


@pytest.mark.parametrize(("n", "p"), [(1e-6, 0.5), (0.3, 1e-6), (7.5, 0.4), (1e8, 0.9)])
def test_negative_binomial_probabilities_have_all_their_digits(n, p):
    law = d.NegativeBinomial(n, p)
    with mp.workdps(60):
        size, share = mp.mpf(n), mp.mpf(p)
        for k in {0, 1, 17, int(n * (1 - p) / p), 10**6}:
            want = mp.loggamma(k + size) - mp.loggamma(k + 1) - mp.loggamma(size)
            want += size * mp.log(share) + k * mp.log(1 - share)
            slack = 2e-14 * max(1, abs(want)) + 2e-16 * (k + n)
            assert abs(law.log_density(float(k)) - want) < slack, k


def test_certain_counts():
    for law, sure in [
        (d.Binomial(5, 0.0), 0.0),
        (d.Binomial(5, 1.0), 5.0),
        (d.Binomial(0, 0.3), 0.0),
        (d.NegativeBinomial(2.0, 1.0), 0.0),
        (d.Categorical([0.0, 0.0, 2.0]), 2.0),
    ]:
        assert law.log_density(sure) == 0.0
        assert law.log_density(sure + 1.0) == -np.inf
        np.testing.assert_array_equal(law.sample(20, rng=0), sure)
        assert law.ppf(0.5) == sure
        assert law.cdf(sure) == 1.0
        assert law.cdf(sure - 1.0) == 0.0


def test_huge_counts_have_quantiles():
    for law in (d.Poisson(1e12), d.Binomial(2**53, 0.5), d.NegativeBinomial(1e-3, 1e-9)):
        for q in (1e-3, 0.5, 0.999999):
            k = law.ppf(q)
            assert law.cdf(k) >= q
            assert k == 0.0 or law.cdf(k - 1.0) < q


def test_every_law_of_counts_has_its_class_and_its_row():
    rows = {type(row.values[0]).__name__ for row in LAWS}
    assert rows == {*_core.COUNT_LAWS, "Categorical"}
    for name, parameters in _core.COUNT_LAWS.items():
        assert list(inspect.signature(getattr(d, name)).parameters) == parameters


def test_arrays_of_parameters_give_independent_counts():
    law = d.Binomial([3, 5], 0.5)
    assert law.dim == 2
    np.testing.assert_array_equal(law.mean, [1.5, 2.5])
    np.testing.assert_allclose(law.log_density([1.0, 2.0]), np.log(3 / 8 * 10 / 32), rtol=1e-13)
    with pytest.raises(ArgumentError, match="has 2"):
        law.cdf([1.0])
    with pytest.raises(ArgumentError, match="has 2"):
        law.ppf(0.5)


@pytest.mark.parametrize(("law", "reference"), LAWS)
def test_they_are_frozen(law, reference):
    twin = pickle.loads(pickle.dumps(law))
    assert twin == law
    assert hash(twin) == hash(law)
    assert repr(law).startswith(type(law).__name__)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: d.Poisson(0.0), "^rate: 0"),
        (lambda: d.Poisson(np.inf), "^rate: inf"),
        (lambda: d.Binomial(2.5, 0.5), "^n: 2.5"),
        (lambda: d.Binomial(-1, 0.5), "^n: -1"),
        (lambda: d.Binomial(1e300, 0.5), "^n: 1"),
        (lambda: d.Binomial(3, 1.5), "^p: 1.5"),
        (lambda: d.NegativeBinomial(2.0, 0.0), "^p: 0"),
        (lambda: d.NegativeBinomial(0.0, 0.5), "^n: 0"),
        (lambda: d.Categorical([]), "^p: "),
        (lambda: d.Categorical([-1.0, 2.0]), "^p: -1"),
        (lambda: d.Categorical([0.0, 0.0]), "sum to 0"),
        (lambda: d.Categorical([[1.0]]), r"\(1, 1\)"),
        (lambda: d.Mixture([1, 1], [d.Poisson(2.0), d.Normal()]), "of one kind"),
    ],
)
def test_wrong_counts_are_refused(make, text):
    with pytest.raises(ArgumentError, match=text):
        make()


def test_methods_that_need_a_density_refuse_counts():
    law = d.Poisson(3.0)
    with pytest.raises(ArgumentError, match=r"whole numbers .* NUTS"):
        fm.mcmc.sample(law)
    with pytest.raises(ArgumentError, match=r"whole numbers .* RWM"):
        fm.mcmc.sample(d.Product([law, d.Normal()]), kernel=fm.mcmc.RWM())
    with pytest.raises(ArgumentError, match=r"whole numbers .* method='aiscv' .* method='mc'"):
        fm.importance.expect(lambda x: x, law)
    with pytest.raises(ArgumentError, match=r"whole numbers .* scheme='amis' .* scheme='snis'"):
        fm.importance.evidence(lambda x: x[:, 0], law)


def test_methods_that_need_none_take_counts():
    law = d.Poisson(3.0)
    k = np.arange(60)
    e = fm.importance.expect(lambda x: x, law, method="mc", n=4000, rng=0)
    assert abs(e.mean - 3.0) < 5 * e.stderr
    z = fm.importance.evidence(
        lambda x: law.log_density(x) - 0.5 * (x[:, 0] - 4.0) ** 2, law, scheme="snis", n=4000, rng=0
    )
    want = np.log((st.poisson(3.0).pmf(k) * np.exp(-0.5 * (k - 4.0) ** 2)).sum())
    assert abs(z.log_evidence - want) < 5 * z.log_evidence_stderr
    assert (z.sample.draws == np.floor(z.sample.draws)).all()

    def is_whole(x):
        return (x == np.floor(x)).astype(float)

    both = d.Product([law, d.Binomial(9, 0.3)])
    with pytest.warns(fm.errors.FermiacWarning, match="values of f for .* are equal"):
        mean = fm.importance.expect(is_whole, both, method="mc", n=4000, rng=0).mean
    np.testing.assert_array_equal(mean, 1.0)
    kernel = fm.mcmc.Discrete(np.arange(40.0))
    s = fm.mcmc.sample(law, kernel=kernel, n_draws=2000, rng=0)
    e = s.expect(lambda x: x)
    assert abs(e.mean - 3.0) < 5 * e.stderr
    # A count with a gamma likelihood: the evidence is a sum.
    prior = d.Product([law, d.Normal()])
    r = fm.nested.sample(
        lambda x: -0.5 * (x[:, 0] - 4.0) ** 2 - 0.5 * x[:, 1] ** 2, prior, n_live=200, rng=0
    )
    want -= 0.5 * np.log(2.0)
    assert abs(r.log_evidence - want) < 5 * r.log_evidence_stderr
    assert (r.draws[:, 0] == np.floor(r.draws[:, 0])).all()
    mixture = d.Mixture([1.0, 1.0], [d.Poisson(1.0), d.Poisson(9.0)])
    assert mixture.mean == 5.0
    assert mixture.sample(5, rng=0).shape == (5, 1)
