"""Random numbers of batches of chains: their laws, their streams, and their shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
from gibbs_help import z_scores
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError
from fermiac.random import Stream

mcmc = fm.mcmc


Array = NDArray[np.float64]


N = 4000


LAWS: dict[str, tuple[Any, Any]] = {
    "random": (lambda g: g.random(), scipy.stats.uniform()),
    "uniform": (lambda g: g.uniform(-1, 3), scipy.stats.uniform(-1, 4)),
    "normal": (lambda g: g.normal(2, 3), scipy.stats.norm(2, 3)),
    "standard_normal": (lambda g: g.standard_normal(), scipy.stats.norm()),
    "exponential": (lambda g: g.exponential(2), scipy.stats.expon(scale=2)),
    "gamma": (lambda g: g.gamma(2.5, 3), scipy.stats.gamma(2.5, scale=3)),
    "inverse_gamma": (lambda g: g.inverse_gamma(2.5, 3), scipy.stats.invgamma(2.5, scale=3)),
    "chisquare": (lambda g: g.chisquare(3), scipy.stats.chi2(3)),
    "beta": (lambda g: g.beta(0.5, 2), scipy.stats.beta(0.5, 2)),
    "student_t": (lambda g: g.student_t(4), scipy.stats.t(4)),
    "truncated_middle": (
        lambda g: g.truncated_normal(1, 2, 0, 3),
        scipy.stats.truncnorm(-0.5, 1, 1, 2),
    ),
    "truncated_tail": (
        lambda g: g.truncated_normal(0, 1, 10, np.inf),
        scipy.stats.truncnorm(10, np.inf),
    ),
    "truncated_not": (lambda g: g.truncated_normal(), scipy.stats.norm()),
}


@pytest.mark.parametrize("name", LAWS)
def test_numbers_follow_their_laws(name: str) -> None:
    draw, law = LAWS[name]
    x = draw(mcmc.RowGenerator(3, N))
    assert x.shape == (N,)
    assert scipy.stats.kstest(x, law.cdf).pvalue > 1e-6


@pytest.mark.parametrize(
    ("draw", "law"),
    [
        (lambda g: g.poisson(0.3), scipy.stats.poisson(0.3)),
        (lambda g: g.poisson(400.0), scipy.stats.poisson(400)),
        (lambda g: g.binomial(7, 0.2), scipy.stats.binom(7, 0.2)),
        (lambda g: g.binomial(1000, 0.999), scipy.stats.binom(1000, 0.999)),
        (lambda g: g.integers(3, 9), scipy.stats.randint(3, 9)),
    ],
)
def test_counts_follow_their_laws(draw: Any, law: Any) -> None:
    k = draw(mcmc.RowGenerator(3, N))
    assert k.dtype == np.int64
    u = mcmc.RowGenerator(3, N).random()
    if law.dist.name != "randint":
        np.testing.assert_array_equal(k, law.ppf(u))
    assert abs(k.mean() - law.mean()) < 5 * law.std() / N**0.5
    at = np.unique(k)
    share = (k[:, None] <= at).mean(axis=0)
    assert np.abs(share - law.cdf(at)).max() < 5 * 0.5 / N**0.5


def test_counts_at_the_ends() -> None:
    g = mcmc.RowGenerator(0, 3)
    assert g.binomial(5, [[0.0, 1.0]]).tolist() == [[0, 5]] * 3
    assert g.binomial(0, 0.5).tolist() == [0, 0, 0]
    assert (np.abs(g.poisson(1e12) - 1e12) < 1e7).all()


def test_a_tail_beyond_all_doubles_is_drawn_from() -> None:
    x = mcmc.RowGenerator(1, N).truncated_normal(0.0, 1.0, -np.inf, -50.0)
    # Below -a the excess has about an exponential law of rate a.
    excess = -50 - x
    assert (excess >= 0).all()
    assert (excess < 1).all()
    mean = 1 / 50 - 2 / 50**3
    assert abs(excess.mean() - mean) < 5 * excess.std() / N**0.5
    high = mcmc.RowGenerator(1, N).truncated_normal(0.0, 1.0, 50.0)
    assert abs(high.mean() - 50 - mean) < 5 * high.std() / N**0.5


def test_rows_come_from_their_own_streams_in_order() -> None:
    g = mcmc.RowGenerator(9, 5)
    rows = g.normal(size=(5, 3)), g.gamma(np.full((1, 2), 3.0)), g.integers(10, size=(5, 2))
    for i in range(5):
        stream = Stream(9, i)
        np.testing.assert_array_equal(rows[0][i], stream.normal(3))
        np.testing.assert_array_equal(rows[1][i], stream.gamma(3.0, 2))
        np.testing.assert_array_equal(rows[2][i], stream.integers(10, 2))


def test_parameters_broadcast_as_rows() -> None:
    g = mcmc.RowGenerator(0, 3)
    assert g.normal(np.arange(3.0)).shape == (3,)
    assert g.normal(np.zeros((3, 1)), np.ones((1, 4))).shape == (3, 4)
    assert g.uniform(np.zeros((1, 2))).shape == (3, 2)
    assert g.normal(size=3).shape == (3,)
    assert g.beta(1.0, 2.0, size=(3, 2, 2)).shape == (3, 2, 2)
    assert g.dirichlet([1.0, 2.0]).shape == (3, 2)
    assert set(g.integers(2, 4, size=(3, 50)).ravel()) == {2, 3}
    assert mcmc.RowGenerator(0, 1).normal(np.zeros((1, 4))).shape == (1, 4)
    for call in (
        lambda: g.normal(np.zeros(4)),
        lambda: g.normal(size=4),
        lambda: g.normal(np.zeros(3), size=(3, 3)),
        lambda: g.normal(np.zeros((3, 2)), size=(3, 1)),
    ):
        with pytest.raises(ArgumentError, match="size"):
            call()
    for bad in (
        lambda: g.normal(0, -1),
        lambda: g.gamma(0),
        lambda: g.normal(np.nan),
        lambda: g.normal("a"),  # type: ignore[arg-type]
        lambda: g.integers(0),
        lambda: g.categorical([0.0, 0.0]),
        lambda: g.multivariate_normal(0.0),
        lambda: g.multivariate_normal([0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]]),
        lambda: g.truncated_normal(0, 1, 2, 1),
        lambda: fm.mcmc.RowGenerator(0, []),  # type: ignore[arg-type]
        lambda: fm.mcmc.RowGenerator(0, [3]),  # type: ignore[arg-type]
    ):
        with pytest.raises(ArgumentError):
            bad()


def test_many_numbers_a_row() -> None:
    g = mcmc.RowGenerator(2, N)
    cov = np.array([[2.0, 0.6], [0.6, 0.5]])
    for x in (
        g.multivariate_normal([1.0, 2.0], cov),
        g.multivariate_normal([1.0, 2.0], precision=np.linalg.inv(cov)),
    ):
        assert (z_scores(x, [1, 2], np.sqrt(np.diag(cov))) < 5).all()
        off = (x[:, 0] - 1) * (x[:, 1] - 2)
        assert abs(off.mean() - 0.6) < 5 * off.std() / N**0.5
    p = g.dirichlet(np.tile([1.0, 2.0, 0.01], (N, 1)))
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-14)
    mean = np.array([1.0, 2.0, 0.01]) / 3.01
    assert (z_scores(p, mean, np.sqrt(mean * (1 - mean) / 4.01)) < 5).all()
    k = g.categorical_log(np.tile([np.log(0.25), -np.inf, np.log(0.75)], (N, 1)))
    assert set(k) == {0, 2}
    assert abs((k == 2).mean() - 0.75) < 5 * (0.1875 / N) ** 0.5


def test_numbers_of_a_draw_end_with_it() -> None:
    kept: list[Any] = []

    def draw(x: Array, rng: Any) -> Any:
        kept.append(rng)
        return rng.normal()

    mcmc.sample(None, 1, kernel=mcmc.Conditional(draw), n_draws=1, n_warmup=0, rng=0)
    with pytest.raises(TargetError, match="after it had ended"):
        kept[0].normal()
