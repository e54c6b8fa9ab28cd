"""Methods of the privacy posteriors: quantiles, intervals, moments, draws, texts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from attacks import counts, deltas

import fermiac as fm

POSTERIOR = fm.privacy.epsilon_posterior


def test_quantiles_invert_the_distribution_function() -> None:
    n, delta = counts(10_000, 1), deltas(10_000, 2)
    q = np.random.default_rng(3).uniform(0, 1, 10_000)
    p = POSTERIOR(*n, delta=delta)
    x = p.ppf(q)
    assert np.isfinite(x).all()
    error = np.abs(p.cdf(x) - q)
    inside = x > 0
    assert error[inside].max() < 1e-11
    assert (p.prob_zero[~inside] >= q[~inside]).all()
    few = POSTERIOR(*n[:, :1000], delta=delta[:1000])
    upper = few.isf(q[:1000])
    error = np.abs(few.sf(upper) - q[:1000])
    assert error[upper > 0].max() < 1e-11


def test_small_tails_keep_their_digits() -> None:
    p = POSTERIOR([400, 100, 1e6], [100, 0, 10], [100, 0, 20], [400, 100, 1e6], delta=1e-5)
    for q in (1e-20, 1e-100, 1e-300):
        np.testing.assert_allclose(p.sf(p.isf(q)), q, rtol=1e-10)
    assert np.isfinite(p.logsf(5000.0)).all()


def test_nodes_are_close_enough() -> None:
    n, delta = counts(2000, 4), deltas(2000, 5)
    x = POSTERIOR(*n, delta=delta).ppf(np.random.default_rng(6).uniform(0, 1, 2000))
    assert np.abs(POSTERIOR(*n, delta=delta).check(x)).max() < 1e-11


@pytest.mark.parametrize("direction", ["both", "attack", "forward", "reverse"])
def test_draws_agree(direction: str) -> None:
    n = np.array([[40, 10, 10, 40], [3, 0, 2, 7], [1000, 20, 15, 900], [30, 31, 29, 30]]).T
    p = POSTERIOR(*n, delta=[0.0, 0.05, 1e-5, 0.01], direction=direction)
    size = 250_000
    draws = p.sample(size, rng=1)
    assert draws.shape == (size, 4)
    for x in (0.0, 0.5, 1.5, 4.0):
        share, f = (draws <= x).mean(axis=0), p.cdf(x)
        # At 0 a double cannot tell an atom from values that round to it.
        error = np.sqrt(f * (1 - f) / size) + 1e-6
        assert (np.abs(share - f) < 5 * error).all()
    for value, moment in ((draws, p.mean), ((draws - p.mean) ** 2, p.variance)):
        assert (np.abs(value.mean(0) - moment) < 5 * value.std(0) / math.sqrt(size)).all()


@pytest.mark.parametrize("kind", ["equal", "hpd", "lower", "upper"])
def test_intervals_have_their_probability(kind: str) -> None:
    n = counts(40, 13, 1e5)
    p = POSTERIOR(*n, delta=deltas(40, 14))
    low, high = p.interval(0.8, kind=kind)
    below = np.where(low > 0, p.cdf(low), 0.0)
    inside = np.where(np.isinf(high), 1.0, p.cdf(np.minimum(high, 1e300))) - below
    atom = p.prob_zero >= 0.1
    good = ~atom if kind in ("equal", "lower") else high > 0
    np.testing.assert_allclose(inside[good], 0.8, rtol=0, atol=1e-9)
    if kind == "hpd":
        equal = p.interval(0.8)
        assert ((high - low) <= (equal[1] - equal[0]) * (1 + 1e-9)).all()
        both = low > 0
        np.testing.assert_allclose(p.pdf(low)[both], p.pdf(high)[both], rtol=1e-6)


def test_moments_where_the_density_has_several_humps() -> None:
    """No members at all: one rate is known and the other one is not."""
    p = POSTERIOR(0, 124_623, 0, 7_966_487)
    draws = p.sample(400_000, rng=4)
    assert abs(draws.mean() - p.mean) < 5 * draws.std() / math.sqrt(400_000)
    assert p.pdf(p.mode) >= p.pdf(np.linspace(1e-3, 8, 200)).max()


def test_batch_equals_single_rows_on_any_threads(thread_counts: tuple[int, ...]) -> None:
    n, delta = counts(200, 15), deltas(200, 16)
    n[:, 100:] = n[:, :100]  # repeated rows
    delta[100:] = delta[:100]
    found = [POSTERIOR(*n, delta=delta, plan=fm.Plan(n_threads=k)) for k in thread_counts]
    for query in (lambda p: p.ppf(0.3), lambda p: p.cdf(1.0), lambda p: p.pdf(0.7)):
        first, *others = [query(p) for p in found]
        for other in others:
            np.testing.assert_array_equal(first, other)
        single = np.array([query(POSTERIOR(*n[:, i], delta=delta[i])) for i in range(200)])
        np.testing.assert_array_equal(first, single)


def test_arrays_are_copied() -> None:
    tp, delta, prior = np.array([40.0, 50.0]), np.array([0.0, 0.1]), np.ones((2, 2))
    p = POSTERIOR(tp, 10, 10, 40, delta=delta, prior=prior)
    d = fm.privacy.delta_posterior(tp, 10, 10, 40, epsilon=delta)
    expected = POSTERIOR([40, 50], 10, 10, 40, delta=[0, 0.1], prior="uniform").median
    tp[:], delta[:], prior[:] = 400, 0.3, 7
    np.testing.assert_array_equal(p.median, expected)
    assert d.epsilon[1] == 0.1


def test_draws_are_not_those_of_a_users_stream() -> None:
    fnr, fpr = POSTERIOR(40, 10, 10, 40).sample_rates(5, rng=1)
    for index, draws in enumerate((fnr, fpr)):
        a, b = ((10.5, 40.5), (10.5, 40.5))[index]
        assert not np.isin(fm.random.Stream(1, index).beta(a, b, 5), draws).any()


def test_refused_queries() -> None:
    p = POSTERIOR(40, 10, 10, 40)
    for call in (lambda: p.ppf(1.1), lambda: p.isf(-0.1), lambda: p.interval(2.0)):
        with pytest.raises(fm.errors.ArgumentError, match=r"in \[0, 1\]"):
            call()
    with pytest.raises(fm.errors.ArgumentError, match="kind"):
        p.interval(0.9, kind="shortest")
    rows = fm.privacy.epsilon_posterior(np.arange(50.0, 60.0), 40, 50, 60)
    for kind in ("equal", "hpd", "lower", "upper"):
        with pytest.raises(fm.errors.ArgumentError, match="do not broadcast"):
            rows.interval(np.full(8, 0.5), kind=kind)
    with pytest.raises(fm.errors.ArgumentError, match="NaN"):
        p.cdf(math.nan)
    with pytest.raises(fm.errors.ArgumentError, match="a picture shows one"):
        POSTERIOR([40, 50], 10, 10, 40).plot()
    with pytest.raises(fm.errors.ArgumentError, match="epsilon"):
        fm.privacy.delta_posterior(40, 10, 10, 40, epsilon=-1)


def test_texts_and_files(tmp_path: Any) -> None:
    p = POSTERIOR(400, 100, 100, 400, delta=1e-5)
    assert repr(p).startswith("EpsilonPosterior: 1.42241, 90 % interval 1.28491 to 1.56898")
    assert len(repr(p).splitlines()) <= 6
    assert "1.42409" in str(p.summary())
    many = POSTERIOR([40, 400], 10, 10, 40, prior=((1, 1), (2, 8)))
    assert "shape (2,)" in repr(many)
    for k, result in enumerate((p, many, p.mu_posterior(), p.delta_posterior([0.5, 1.0]))):
        result.save(tmp_path / f"{k}.safetensors")
        again = fm.load(tmp_path / f"{k}.safetensors")
        assert type(again) is type(result)
        np.testing.assert_array_equal(again.median, result.median)
