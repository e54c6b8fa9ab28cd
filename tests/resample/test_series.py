"""Dependent data: lengths of blocks, sieve, blocks, fixed-b intervals."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, FermiacWarning
from fermiac.resample import (
    Autocorrelation,
    Sieve,
    Stationary,
    block_length,
    bootstrap,
)
from fermiac.resample import series as module

Array = NDArray[np.float64]


def ar(phi: float, n: int, key: int) -> Array:
    """A series of first order."""
    from scipy.signal import lfilter

    e = fm.random.Stream(key).normal(n + 300)
    return np.asarray(lfilter([1.0], [1.0, -phi], e)[300:])


def quietly(*args: Any, **kwargs: Any) -> fm.resample.Bootstrap:
    """The bootstrap of a short series, without its warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FermiacWarning)
        return bootstrap(*args, **kwargs)


def test_lengths_of_blocks_have_their_theoretical_values() -> None:
    # For AR(1) with 1/2 and n = 1000 it is 12.114; it grows as the cubic root of n.
    found = [block_length(ar(0.5, 100_000, key)) for key in range(8)]
    stationary = np.mean([b.stationary for b in found]) / 100 ** (1 / 3)
    assert stationary == pytest.approx(12.114, rel=0.05)


def test_lengths_of_blocks_are_those_of_arch() -> None:
    # For y[t] = 0.6 y[t - 1] + e[t] from 0 with e[t] = sin(7 t²).
    t = np.arange(300.0)
    e = np.sin(7 * t * t)
    y = np.zeros(300)
    for k in range(1, 300):
        y[k] = 0.6 * y[k - 1] + e[k]
    found = block_length(y)
    r = module._autocovariances(y, 40)
    last = module._last_significant(r[:24], 300)
    assert found.stationary == module._of_width(r, 2 * last, 300)
    # optimal_block_length of arch 8.0.0 takes the first small lag where the paper takes the last
    # significant one.
    known = 9.095102679136032
    assert module._of_width(r, 2 * (last + 1), 300) == pytest.approx(known, rel=1e-12)
    both = block_length(np.stack([y, e], axis=1))
    assert np.asarray(both.stationary)[0] == found.stationary
    assert "stationary" in str(both.summary())


def test_lengths_of_odd_series() -> None:
    assert block_length(np.ones(50)).stationary == 1.0
    assert block_length(np.tile([1.0, -1.0], 50)).stationary >= 1.0
    for wrong in (np.ones(5), np.ones((9, 9, 9)), [1.0, np.nan] * 9, "text"):
        with pytest.raises(ArgumentError):
            block_length(wrong)


def test_series_are_worth_fewer_independent_observations() -> None:
    x = ar(0.6, 20_000, 3)
    assert module.effective_size(x) == pytest.approx(20_000 * 0.4 / 1.6, rel=0.1)
    with pytest.warns(FermiacWarning, match="effective sample size"):
        bootstrap(ar(0.9, 100, 5), "mean", scheme="series", n_resamples=99, rng=0)


def test_critical_values_of_a_fixed_bandwidth() -> None:
    # Kiefer and Vogelsang (2005), table 1, Bartlett's kernel with b = 1: their cubic fit.
    for tail, coefficients in (
        (0.05, (1.6449, 2.1859, 0.3142, -0.3427)),
        (0.025, (1.9600, 2.9694, 0.4160, -0.5324)),
    ):
        assert module._fixed_b_tail(sum(coefficients)) == pytest.approx(2 * tail, rel=0.03)


def test_the_variance_of_a_fixed_bandwidth_is_bartletts() -> None:
    x = ar(0.5, 60, 1)
    n, d = x.size, x - x.mean()
    r = np.array([d[k:] @ d[: n - k] for k in range(n)]) / n
    long_run = r[0] + 2 * float(((1 - np.arange(1, n) / n) * r[1:]).sum())
    low, high = module.fixed_b(x, 0.025)
    c = (high - low) / 2 / np.sqrt(long_run / n)
    assert module._fixed_b_tail(c) == pytest.approx(0.05, rel=1e-9)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8])
def test_sieves_hold(phi: float) -> None:
    held = lags = fixed = 0
    n = 100
    for key in range(n):
        x = ar(phi, 100, key + 1)
        common: dict[str, Any] = {
            "n_resamples": 199,
            "rng": key,
            "plan": fm.Plan(n_threads=1),
        }
        r = quietly(x, "mean", scheme="series", **common)
        assert (r.scheme, r.method) == ("sieve", "studentised")
        held += r.lower <= 0 <= r.upper
        a = quietly(x, "autocorrelation", scheme="series", **common)
        lags += a.lower <= phi <= a.upper
        f = quietly(x, "mean", scheme="series", method="fixed_b", **common)
        assert f.exact
        assert f.n_resamples == 0
        fixed += f.lower <= 0 <= f.upper
    # The standard error of a coverage of 0.95 in 100 data sets is 0.022.
    assert 0.88 < held / n
    assert 0.85 < lags / n
    assert 0.83 < fixed / n


def test_sieves_repeat_and_continue(thread_counts: tuple[int, ...]) -> None:
    x = ar(0.5, 150, 2)
    one = bootstrap(x, "mean", scheme="sieve", n_resamples=200, rng=3, plan=fm.Plan(n_threads=1))
    for n in thread_counts:
        other = bootstrap(
            x, "mean", scheme="sieve", n_resamples=200, rng=3, plan=fm.Plan(n_threads=n)
        )
        assert (other.replicates == one.replicates).all()
        assert (other.lower, other.upper) == (one.lower, one.upper)
    short = bootstrap(x, "mean", scheme="sieve", n_resamples=50, rng=3)
    longer = short.extend(150)
    assert (longer.replicates == one.replicates).all()
    assert longer.lower == one.lower
    pinned = [-0.15750813396835273, 0.12722527067669825]
    np.testing.assert_allclose(one.replicates[:2], pinned, rtol=1e-10)


def test_sieves_of_other_statistics() -> None:
    x = ar(0.5, 150, 2)
    common: dict[str, Any] = {"scheme": "sieve", "n_resamples": 150, "rng": 4}
    named = bootstrap(x, "median", **common)
    called = bootstrap(x, lambda b: np.median(b, axis=1), **common)
    assert named.method == "percentile"
    np.testing.assert_allclose(named.replicates, called.replicates, rtol=1e-12)
    means = bootstrap(x, lambda b: b.mean(1), **common)
    np.testing.assert_allclose(
        means.replicates, bootstrap(x, "mean", **common).replicates, rtol=1e-10, atol=1e-12
    )


def test_blocks_have_the_variance_of_the_series(tmp_path: Any) -> None:
    x = ar(0.5, 2000, 7)
    r = bootstrap(x, "mean", scheme="stationary", n_resamples=2000, rng=1)
    # The long-run variance is 4; it is estimated by some tens of blocks.
    assert r.stderr == pytest.approx(np.sqrt(4 / 2000), rel=0.2)
    assert r.method == "studentised"
    assert len(r.scheme_parameters) == 1
    r.save(tmp_path / "r")
    again = fm.resample.Bootstrap.load(tmp_path / "r")
    more = again.extend(100)
    assert (more.replicates == r.extend(100).replicates).all()
    f = bootstrap(x, lambda b: b.mean(1), scheme=again._again().scheme, n_resamples=60, rng=1)
    np.testing.assert_allclose(f.replicates, r.replicates[:60], rtol=1e-12)


def test_standard_errors_of_sums_are_those_of_blocks() -> None:
    x, scheme = ar(0.5, 70, 3), Stationary(6.5)
    r = quietly(x, "mean", scheme=scheme, n_resamples=20_000, method="percentile", rng=1)
    sd = module.of_blocks(6.5, (x - x.mean()) / 70)
    assert r.stderr == pytest.approx(sd, rel=0.03)
    error = sd / np.sqrt(20_000)
    assert abs(r.replicates.mean() - x.mean()) < 5 * error
    t = quietly(x, "mean", scheme=scheme, n_resamples=200, method="studentised", rng=1)
    assert t.replicate_stderrs is not None
    assert np.median(t.replicate_stderrs) == pytest.approx(sd, rel=0.3)
    assert (t.replicates == r.replicates[:200]).all()
    # Replicates without standard errors have the interval that needs none.
    assert r.interval() == r.interval(method="expanded")
    assert t.interval() == (t.lower, t.upper)


def test_studentised_blocks_hold_better() -> None:
    held = {"studentised": 0, "expanded": 0}
    for key in range(150):
        x = ar(0.7, 120, key)
        for method in held:
            r = quietly(
                x,
                "sd",
                scheme="stationary",
                n_resamples=299,
                rng=key,
                plan=fm.Plan(n_threads=1),
                method=method,
            )
            held[method] += r.lower <= np.sqrt(1 / 0.51) <= r.upper
    # 0.81 and 0.87 in 1000 other data sets.
    assert held["studentised"] > held["expanded"]
    assert held["studentised"] > 0.80 * 150


def test_several_series() -> None:
    x = np.stack([ar(0.1, 300, 1), ar(0.2, 300, 2)], axis=1)
    r = bootstrap(x, "mean", scheme="series", n_resamples=200, rng=0)
    assert r.scheme == "stationary"
    assert np.shape(r.lower) == (2,)
    # Series one after the other, each a stratum of its own: no block holds two of them.
    levels = np.repeat([0, 1], 300)
    both = quietly(
        (np.concatenate([x[:, 0], x[:, 1]]), levels + 0.0),
        lambda b, s: np.abs(np.diff(s, axis=1)).sum(1),
        paired=True,
        strata=levels,
        scheme=Stationary(20),
        n_resamples=50,
        method="percentile",
        rng=0,
    )
    assert (both.replicates == 1.0).all()


@pytest.mark.parametrize(
    ("statistic", "more"),
    [
        ("mean", {"scheme": Stationary(101)}),
        ("mean", {"scheme": "sieve", "clusters": np.arange(100) // 2}),
        ("mean", {"scheme": "sieve", "strata": np.arange(100) % 2}),
        ("mean", {"scheme": "series", "method": "bca"}),
        ("median", {"scheme": "sieve", "method": "studentised"}),
        ("median", {"scheme": "sieve", "method": "fixed_b"}),
        ("mean", {"method": "fixed_b"}),
        ("mean", {"scheme": Sieve(60)}),
        ("mean", {"scheme": "nothing"}),
        ("mean", {"scheme": "moving"}),
        ("mean", {"scheme": 3}),
        ("mean", {"scheme": Stationary}),
        ("autocorrelation", {}),
        ("autocorrelation", {"scheme": "stationary"}),
        (Autocorrelation(100), {"scheme": "sieve"}),
        (lambda x, w: (w * x).sum(1), {"scheme": "sieve", "weights": True}),
    ],
)
def test_wrong_arguments(statistic: Any, more: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        bootstrap(ar(0.5, 100, 1), statistic, rng=0, **more)


def test_wrong_settings() -> None:
    for wrong in (0, -1.0, np.nan, "text"):
        with pytest.raises(ArgumentError):
            Stationary(wrong)
    with pytest.raises(ArgumentError):
        Sieve(-1)
    with pytest.raises(ArgumentError):
        bootstrap(np.arange(10.0), "mean", scheme="sieve", rng=0)


@pytest.mark.parametrize(
    "x", [[], 3.0, [1.0] * 7, [1.0] * 9 + [np.nan], [np.inf] * 9, "text", np.ones((9, 2, 2))]
)
def test_wrong_series(x: Any) -> None:
    with pytest.raises(ArgumentError):
        block_length(x)
