"""Estimates: ratios and functions by the delta method, tables, kept samples."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, NumericalError

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def estimate() -> fm.Estimate:
    law = fm.distributions.Normal(3.0, 2.0)
    return fm.importance.expect(
        fm.targets.powers([1, 2, 3]), law, n=10_000, rng=0, names=["x", "x2", "x3"]
    )


def test_ratio_is_the_delta_method(estimate: fm.Estimate) -> None:
    r = estimate.ratio([1, "x3"], "x")
    m, cov = np.asarray(estimate.mean), np.asarray(estimate.cov)
    np.testing.assert_allclose(r.mean, m[1:] / m[0])
    slopes = np.array([[-m[1] / m[0] ** 2, 1 / m[0], 0], [-m[2] / m[0] ** 2, 0, 1 / m[0]]])
    np.testing.assert_allclose(r.cov, slopes @ cov @ slopes.T, rtol=1e-12)
    assert r.names == ("x2/x", "x3/x")
    single = estimate.ratio(1, 0)
    assert single.mean == r.mean[0]
    assert isinstance(single.stderr, float)
    assert estimate.ratio(0, 0).stderr == 0.0


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_ratios_of_variances_beyond_doubles_are_refused(scale: float) -> None:
    s = fm.Sample.from_arrays(fm.random.Stream(0).normal((500,)))
    e = s.expect(lambda x: scale * np.hstack([1 + x**2, x**2]))
    with pytest.raises(NumericalError, match=r"variance of .* beyond the range of doubles"):
        e.ratio(1, 0)
    with pytest.raises(NumericalError, match="beyond the range of doubles"):
        e.transform(lambda m: m[0] / m[1])
    # Unused estimates do not matter, and values within the range keep their accuracy.
    mixed = s.expect(lambda x: np.hstack([scale * x**2, 1 + x**2, x**2]))
    plain = s.expect(lambda x: np.hstack([1 + x**2, x**2])).ratio(1, 0)
    assert mixed.ratio(2, 1).stderr == pytest.approx(plain.stderr)


def test_ratios_have_calibrated_errors() -> None:
    prior = fm.distributions.Normal()

    def f(x: Array) -> Array:
        likelihood = np.exp(-0.5 * (x[:, 0] - 1) ** 2)
        return np.column_stack([likelihood, x[:, 0] * likelihood])

    pulls = []
    for seed in range(200):
        posterior = fm.importance.expect(f, prior, n=4_000, rng=seed).ratio(1, 0)
        pulls.append((posterior.mean - 0.5) / posterior.stderr)
    # 191 of 200 are expected inside 2 standard errors, with a standard deviation of 2.9.
    assert np.sum(np.abs(pulls) < 2) > 191 - 5 * 2.9
    assert 0.75 < np.std(pulls) < 1.25


def test_transform_agrees_with_its_exact_derivatives(estimate: fm.Estimate) -> None:
    def g(m: Array) -> Array:
        return np.array([m[1] - m[0] ** 2, np.log(m[2]), 5.0])

    def jacobian(m: Array) -> Array:
        return np.array([[-2 * m[0], 1, 0], [0, 0, 1 / m[2]], [0, 0, 0]])

    by_differences = estimate.transform(g, names=["variance", "log", "constant"])
    exact = estimate.transform(g, jacobian=jacobian)
    np.testing.assert_allclose(by_differences.cov, exact.cov, rtol=1e-6, atol=1e-20)
    assert by_differences.stderr[2] == 0.0
    assert by_differences.names == ("variance", "log", "constant")
    assert np.isnan(by_differences.ess[2])
    scalar = estimate.transform(lambda m: m[1] - m[0] ** 2)
    assert isinstance(scalar.mean, float)
    assert abs(scalar.mean - 4.0) < 5 * scalar.stderr


def test_functions_refuse_what_they_cannot_do(estimate: fm.Estimate) -> None:
    with pytest.raises(ArgumentError, match="'y' is not a name; the names are x, x2, x3"):
        estimate.ratio("y", 0)
    with pytest.raises(ArgumentError, match="position 3 given; there are 3"):
        estimate.ratio(3, 0)
    with pytest.raises(ArgumentError, match="finite"):
        estimate.transform(lambda m: np.nan)
    with pytest.raises(ArgumentError, match="one or a vector"):
        estimate.transform(lambda m: np.outer(m, m))
    with pytest.raises(ArgumentError, match=r"shape \(1, 3\)"):
        estimate.transform(lambda m: m[0], jacobian=lambda m: np.ones(2))
    with pytest.raises(ArgumentError, match="one name is needed, one for each output"):
        estimate.transform(lambda m: m[0], names=["a", "b"])


def test_texts(estimate: fm.Estimate) -> None:
    text = repr(estimate)
    assert len(text.splitlines()) <= 6
    assert text.startswith("Estimate: x = 3.")
    assert "±" in text.splitlines()[0]
    table = estimate.summary().splitlines()
    assert table[0].split() == ["name", "mean", "stderr", "relative", "ess", "khat"]
    assert [line.split()[0] for line in table[1:4]] == ["x", "x2", "x3"]
    assert "10000 evaluations, seed 0" in table[4]


def test_kept_samples() -> None:
    laws = [fm.distributions.Normal(0.0, 1.0), fm.distributions.Normal(1.0, 1.0)]
    e = fm.importance.expect(lambda x: x[:, 0], laws, n=4_000, rng=0, keep_draws=True)
    assert e.sample is not None
    n = e.n_evals - e.stages[-1]["used"]
    assert e.sample.draws.shape == (n, 1)
    assert e.sample.log_weights is not None
    assert e.sample.log_weights.shape == (n, 2)
    assert e.sample.dim == 1
    assert np.all(np.asarray(e.sample.ess) > 100)
    assert repr(e.sample).startswith(f"Sample of {n} points in 1 dimension, weighted: ESS")
    assert json.loads(json.dumps(e.sample.to_dict()))["error_model"] == "weighted"
