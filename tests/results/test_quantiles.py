"""Quantiles of points and chains, and their errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from samples import gaussian, walks

import fermiac as fm


@pytest.mark.parametrize("kind", ["linear", "inverted_cdf"])
def test_quantiles_of_equal_weights_are_those_of_numpy(kind: str) -> None:
    x = fm.distributions.Normal().sample(101, rng=0)
    q = np.array([0.0, 0.05, 0.333, 0.5, 0.99, 1.0])
    want = np.quantile(x, q, axis=0, method=kind)  # type: ignore[call-overload]
    for log_weights in (None, np.full(101, -3.0)):
        s = fm.Sample.from_arrays(x, log_weights)
        np.testing.assert_array_equal(s.quantile(q, kind=kind), want)
    assert fm.Sample.from_arrays(x).quantile(0.5, kind=kind).shape == (1,)


def test_quantiles_of_whole_weights_are_those_of_the_points_repeated() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    counts = rng.integers(0, 6, size=60)
    with np.errstate(divide="ignore"):
        s = fm.Sample.from_arrays(x, np.log(counts))
    q = (np.arange(40) + 0.37) / 40
    repeated = np.repeat(x, counts, axis=0)
    want = np.quantile(repeated, q, axis=0, method="inverted_cdf")
    np.testing.assert_array_equal(s.quantile(q, kind="inverted_cdf"), want)


def test_linear_quantiles_average_the_quantile_function_over_a_window() -> None:
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=30), rng.uniform(size=30)
    s = fm.Sample.from_arrays(x, np.log(w))
    n = float(s.ess)
    for q in (0.0, 0.2, 0.77, 1.0):
        # The inverse of the distribution function at many probabilities.
        p = ((n - 1) * q + (np.arange(20_000) + 0.5) / 20_000) / n
        brute = s.quantile(p, kind="inverted_cdf").mean()
        assert s.quantile(q)[0] == pytest.approx(brute, abs=1e-3)
    # Splitting a point into two of half the weight changes only the window.
    q = np.linspace(0, 1, 50)
    assert np.all(np.diff(s.quantile(q)[:, 0]) >= 0)


def test_errors_of_quantiles_are_calibrated() -> None:
    inside = 0
    for seed in range(200):
        value, error = gaussian(800, seed).quantile([0.1, 0.5, 0.9], return_stderr=True)
        exact = fm.distributions.Normal().ppf([[0.1], [0.5], [0.9]])
        inside += int(np.sum(np.abs(value - exact) < 2 * error))
    assert 0.90 <= inside / 1200 <= 0.99


@pytest.mark.parametrize("kind", ["linear", "inverted_cdf"])
def test_quantiles_beyond_the_sample_have_no_error(kind: str) -> None:
    s = fm.Sample.from_arrays(fm.random.Stream(0).normal((100,)))
    q = [0.001, 0.01, 0.1, 0.9, 0.99, 0.999]
    _, error = s.quantile(q, kind=kind, return_stderr=True)
    np.testing.assert_array_equal(np.isinf(error[:, 0]), [True, True, False, False, True, True])


def test_quantiles_of_chains() -> None:
    x = walks(4, 1000, 2, 0.7)
    s = fm.Sample.from_arrays(x)
    q = [0.0001, 0.1, 0.5]
    value, error = s.quantile(q, return_stderr=True)
    np.testing.assert_allclose(value, np.quantile(x.reshape(-1, 2), q, axis=0))
    assert np.isinf(error[0]).all()
    for k in (1, 2):
        mcse = fm.diagnostics.mcse(x, kind="quantile", prob=q[k])
        np.testing.assert_allclose(error[k], mcse, rtol=1e-12)
    weighted = replace(s, log_weights=np.zeros((4, 1000)))
    np.testing.assert_allclose(weighted.quantile(0.5, return_stderr=True)[1], error[2], rtol=0.2)
    assert s.quantile(0.5).shape == (2,)


def test_no_probability_gives_no_quantile() -> None:
    s = fm.Sample.from_arrays(fm.random.Stream(0).normal((50, 2)))
    assert s.quantile([]).shape == (0, 2)
    assert [a.shape for a in s.quantile([], return_stderr=True)] == [(0, 2), (0, 2)]
