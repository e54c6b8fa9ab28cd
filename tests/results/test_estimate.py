"""Estimates: ratios and functions by the delta method, tables, kept samples."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

import fermiac as fm
from fermiac._base import store
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
    table = str(estimate.summary()).splitlines()
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


def test_intervals_of_independent_points_are_students() -> None:
    x = np.array([1.0, 2.0, 4.0, 8.0, 9.0])
    e = fm.Sample.from_arrays(x).expect(lambda x: np.hstack([x, 2 * x]))
    np.testing.assert_allclose(e.df, [4.0, 4.0], rtol=1e-12)
    low, high = e.interval(0.9)
    expected = stats.t.interval(0.9, 4, loc=x.mean(), scale=stats.sem(x))
    np.testing.assert_allclose([low[0], high[0]], expected, rtol=1e-12)
    np.testing.assert_allclose([low[1], high[1]], 2 * np.array(expected), rtol=1e-12)


def test_intervals_of_few_points_cover() -> None:
    # With normal quantiles the coverage of 5 normal points would be 0.88.
    x = fm.random.Stream(0).normal((4000, 5))
    hits = 0
    for row in x:
        low, high = fm.Sample.from_arrays(row).expect(row).interval(0.95)
        hits += low <= 0 <= high
    assert abs(hits / 4000 - 0.95) < 5 * np.sqrt(0.95 * 0.05 / 4000)


def test_degrees_of_freedom_of_the_error_models() -> None:
    x = fm.random.Stream(0).normal((200, 1))
    weights = 0.3 * x[:, 0]
    weighted = fm.Sample.from_arrays(x, weights)
    e = weighted.expect(lambda x: x[:, 0])
    assert e.df == pytest.approx(weighted.ess - 1)
    controlled = fm.Sample.from_arrays(x, gradients=-x).expect(
        lambda x: np.sin(x[:, 0]), controls="stein"
    )
    assert controlled.df == pytest.approx(200 - 3)
    chains = fm.Sample.from_arrays(fm.random.Stream(0).normal((4, 500, 1)))
    e = chains.expect(lambda x: x[:, 0])
    assert e.df == pytest.approx(min(e.ess, 2000) - 1)
    law = fm.distributions.Normal()
    prior = fm.distributions.Uniform(-5.0, 5.0)
    assert fm.nested.sample(law, prior, n_live=50, rng=0).expect(lambda x: x[:, 0]).df == 49
    plain = fm.importance.expect(lambda x: x[:, 0], law, n=500, method="mc", rng=0)
    assert plain.df == 499
    z = replace(plain, df=float("inf"))
    low, high = z.interval(0.95)
    assert (high - low) / 2 == pytest.approx(1.959963984540054 * z.stderr, rel=1e-12)


def test_functions_of_estimates_have_the_least_degrees_of_freedom() -> None:
    e = fm.Sample.from_arrays(np.arange(30.0)).expect(lambda x: np.hstack([x + 1, x**2, x]))
    e = replace(e, df=np.array([5.0, 9.0, 7.0]))
    assert e.ratio(1, 2).df == 7.0
    np.testing.assert_array_equal(e.transform(lambda m: [m[0], m[1] + m[2]]).df, [5.0, 7.0])


def test_intervals_refuse_what_has_none(tmp_path: Path) -> None:
    e = fm.Sample.from_arrays(np.arange(30.0)).expect(lambda x: x[:, 0] * 1j)
    with pytest.raises(ArgumentError, match="complex"):
        e.interval()
    e = fm.Sample.from_arrays(np.arange(30.0)).expect(lambda x: x[:, 0])
    for prob in (0, 1, "a", [0.5], np.nan):
        with pytest.raises(ArgumentError, match="prob"):
            e.interval(prob)  # type: ignore[arg-type]
    e.save(tmp_path / "e.safetensors")
    assert fm.Estimate.load(tmp_path / "e.safetensors").interval() == e.interval()


def test_files_with_the_former_name_of_the_degrees_of_freedom_are_read(tmp_path):
    e = replace(fm.Sample.from_arrays([1.0, 2.0, 4.0]).expect(lambda x: x[:, 0]), df=7.0)
    path = tmp_path / "old.fermiac"
    tensors: store.Tensors = {}
    node = store.encode(e, tensors)
    node["fields"]["dof"] = node["fields"].pop("df")
    store.write(path, "result", node, tensors)
    assert fm.Estimate.load(path).df == 7.0
