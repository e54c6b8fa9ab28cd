"""The Dirichlet law and that of correlation matrices: densities, draws, maps and chains."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.stats as st

import fermiac as fm
from fermiac import _core
from fermiac import distributions as d
from fermiac.errors import ArgumentError

LAWS = [
    d.Dirichlet([2.0, 3.5, 1.0]),
    d.Dirichlet([0.3, 0.7]),
    d.LKJ(2, 0.7),
    d.LKJ(4, 1.0),
    d.LKJ(5, 2.5),
]


@pytest.mark.parametrize("a", [[2.0, 3.5, 1.0], [0.3, 0.7], [30.0, 200.0, 1e-3, 5.0]])
def test_dirichlet_laws_agree_with_scipy(a):
    law, reference = d.Dirichlet(a), st.dirichlet(a)
    x = law.sample(30, rng=1)
    x = x[(x > 0).all(axis=1)]
    x = np.clip(x, 1e-12, None)
    x /= x.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        law.log_density(x), [reference.logpdf(row) for row in x], rtol=1e-11, atol=1e-11
    )
    np.testing.assert_allclose(law.mean, reference.mean(), rtol=1e-13)
    np.testing.assert_allclose(law.variance, reference.var(), rtol=1e-13)
    assert d.as_law(reference) == law
    _, slopes = _core.LogDensity.law(law._handle).log_density_gradient(x, 1)
    np.testing.assert_allclose(slopes, (np.array(a) - 1.0) / x, rtol=1e-13)


def test_points_off_the_simplex_have_no_density():
    law = d.Dirichlet([1.0, 2.0, 3.0])
    points = np.array([[0.2, 0.3, 0.6], [-0.1, 0.5, 0.6], [0.5, 0.5, 0.1], [1.2, -0.1, -0.1]])
    np.testing.assert_array_equal(law.log_density(points), [-np.inf] * 4)
    assert np.isnan(law.log_density([0.2, np.nan, 0.5]))
    assert np.isfinite(law.log_density(np.float32([0.2, 0.3, 0.5])))
    assert law._support() == [(0.0, 1.0)] * 3


def lkj_by_hand(size, eta, factor):
    """Return the log-density of a Cholesky factor, normalised by the product of beta functions."""
    from scipy.special import betaln

    total = 0.0
    for k in range(1, size):
        total += (size - k - 1 + 2 * eta - 2) * np.log(factor[k, k])
    # The density of correlation matrices, over its Jacobian.
    log_c = 0.0
    for k in range(1, size):
        b = eta + (size - 1 - k) / 2
        log_c += (2 * eta - 2 + size - k) * (size - k) * np.log(2) + (size - k) * betaln(b, b)
    return total - log_c


@pytest.mark.parametrize(("size", "eta"), [(2, 0.7), (2, 1.0), (3, 1.0), (4, 2.5), (6, 0.5)])
def test_lkj_laws_have_the_published_constant(size, eta):
    law = d.LKJ(size, eta)
    x = law.sample(10, rng=3)
    want = [lkj_by_hand(size, eta, factor) for factor in law.cholesky(x)]
    # By hand the diagonal loses digits where it is small.
    np.testing.assert_allclose(law.log_density(x), want, rtol=1e-10, atol=1e-10)
    diagonals = np.diagonal(law.correlation(x), axis1=1, axis2=2)
    np.testing.assert_allclose(diagonals, 1.0, rtol=1e-14)


@pytest.mark.parametrize("law", [d.LKJ(2, 0.7), d.LKJ(4, 1.0), d.LKJ(5, 2.5)])
def test_lkj_correlations_have_their_beta_law(law):
    # Every correlation has the law of 2 B - 1 with B ~ Beta(b, b), b = eta + size/2 - 1.
    size, eta = law._values["size"], law._values["eta"]
    b = eta + size / 2 - 1
    u = np.random.default_rng(1).random((20_000, law.dim))
    for x in (law.sample(20_000, rng=2), law.from_unit(u)):
        correlation = law.correlation(x)
        for i, j in zip(*np.tril_indices(size, -1), strict=True):
            p = st.beta(b, b).cdf(0.5 + 0.5 * correlation[:, i, j])
            assert st.kstest(p, "uniform").statistic < 2.5 / np.sqrt(len(p)), (i, j)
        z = (x**2).mean(axis=0) - law.variance
        assert (np.abs(z) < 5 * (x**2).std(axis=0) / np.sqrt(len(x))).all()
    # The log-determinant is a sum of independent logarithms of beta variates: by its mean.
    from scipy.special import digamma

    ln_det = np.log1p(-(np.asarray(x) ** 2).sum(axis=1)) if size == 2 else None
    if ln_det is not None:
        want = digamma(eta) - digamma(eta + 0.5)
        assert abs(ln_det.mean() - want) < 5 * ln_det.std() / np.sqrt(len(x))


@pytest.mark.parametrize("a", [[2.0, 3.5, 1.0], [0.3, 0.7], [1e-3, 1e-3, 1.0]])
def test_dirichlet_coordinates_have_their_beta_laws(a):
    law = d.Dirichlet(a)
    u = np.random.default_rng(1).random((20_000, law.dim))
    for x in (law.sample(20_000, rng=2), law.from_unit(u)):
        np.testing.assert_allclose(x.sum(axis=1), 1.0, rtol=1e-14)
        for j, own in enumerate(a):
            if min(own, sum(a) - own) < 0.01:
                assert abs(x[:, j].mean() - law.mean[j]) < 5 * np.sqrt(law.variance[j] / len(x))
                continue
            statistic = st.kstest(x[:, j], st.beta(own, sum(a) - own).cdf).statistic
            assert statistic < 2.5 / np.sqrt(len(x))


def test_gradients_of_lkj_laws():
    law = d.LKJ(4, 1.7)
    x = 0.7 * law.sample(9, rng=5)
    _, slopes = _core.LogDensity.law(law._handle).log_density_gradient(x, 1)
    for j in range(law.dim):
        step = np.zeros(law.dim)
        step[j] = 1e-6
        rise = law.log_density(x + step) - law.log_density(x - step)
        np.testing.assert_allclose(slopes[:, j], rise / 2e-6, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("eta", [0.5, 1.5, 3.0])
def test_factors_outside_have_no_density(eta):
    law = d.LKJ(3, eta)
    outside = [[1.1, 0.0, 0.0], [0.0, 0.8, 0.8]]
    np.testing.assert_array_equal(law.log_density(outside), [-np.inf, -np.inf])
    assert np.isnan(law.log_density([np.nan, 0.0, 0.0]))
    assert law._support() == [(-1.0, 1.0)] * 3


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_they_are_frozen_and_keyed(law):
    twin = pickle.loads(pickle.dumps(law))
    assert twin == law
    assert hash(twin) == hash(law)
    np.testing.assert_array_equal(law.sample(5000, rng=3), twin.sample(5000, rng=3))
    # A row of a batch has the bits that it has alone.
    x = law.sample(19, rng=4)
    np.testing.assert_array_equal(law.log_density(x), [law.log_density(row[None])[0] for row in x])
    corners = law.from_unit(np.array([[0.0] * law.dim, [1.0] * law.dim]))
    assert np.isfinite(corners).all()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: d.Dirichlet([1.0]), "two or more"),
        (lambda: d.Dirichlet(1.0), r"shape \(\)"),
        (lambda: d.Dirichlet([1.0, 0.0]), "^concentration: 0"),
        (lambda: d.Dirichlet([1.0, np.nan]), "^concentration: NaN"),
        (lambda: d.Dirichlet([1e308, 1e308]), "^concentration: inf"),
        (lambda: d.LKJ(1), "^size: 1"),
        (lambda: d.LKJ(10**9), "^size: "),
        (lambda: d.LKJ(3, 0.0), "^eta: 0"),
        (lambda: d.LKJ(3, np.inf), "^eta: inf"),
        (lambda: d.LKJ(3).cholesky([0.1, 0.2]), r"shape \(2,\)"),
        (lambda: d.LKJ(3).from_unit([[0.1, 0.2, 1.5]]), "^u: 1.5"),
    ],
)
def test_wrong_arguments_are_refused(make, text):
    with pytest.raises(ArgumentError, match=text):
        make()


def test_chains_draw_them_by_their_transforms():
    of = d.Dirichlet([2.0, 3.0, 5.0])
    s = fm.mcmc.sample(of, transforms=fm.targets.transforms.simplex(3), n_draws=2000, rng=0)
    e = s.expect(lambda x: np.hstack([x, x**2]))
    want = np.concatenate([of.mean, of.variance + of.mean**2])
    assert (np.abs(e.mean - want) < 5 * e.stderr).all()
    of = d.LKJ(3, 2.0)
    s = fm.mcmc.sample(of, transforms=fm.targets.transforms.cholesky_corr(3), n_draws=2000, rng=0)
    e = s.expect(lambda x: np.hstack([x, x**2]))
    want = np.concatenate([of.mean, of.variance])
    assert (np.abs(e.mean - want) < 5 * e.stderr).all()
    with pytest.raises(ArgumentError, match=r"points of a simplex .*NUTS.*simplex\(k\)"):
        fm.mcmc.sample(d.Dirichlet([2.0, 3.0]))
    with pytest.raises(ArgumentError, match="points of a simplex"):
        fm.importance.expect(lambda x: x, d.Dirichlet([2.0, 3.0]))
    e = fm.importance.expect(lambda x: x, d.Dirichlet([2.0, 3.0]), method="mc", n=4000, rng=0)
    assert (np.abs(e.mean - [0.4, 0.6]) < 5 * e.stderr).all()


def test_evidence_draws_from_a_dirichlet_law_alone():
    law, target = d.Dirichlet([2.0, 2.0, 2.0]), d.Dirichlet([3.0, 2.0, 2.0])
    z = fm.importance.evidence(target.log_density, law, scheme="snis", n=4000, rng=0)
    assert abs(z.log_evidence) < 5 * z.log_evidence_stderr
    with pytest.raises(ArgumentError, match=r"points of a simplex .*'amis'.*'snis'"):
        fm.importance.evidence(target.log_density, law)
