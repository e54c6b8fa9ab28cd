"""Averages over Markov chains: errors, covariances, controls, weights, warnings."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from samples import run, told, variance_of_mean, walks

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning

Array = NDArray[np.float64]


@pytest.mark.parametrize(("chains", "rho"), [(4, 0.8), (4, -0.5), (1, 0.5)])
def test_errors_of_means_are_those_of_autoregressive_chains(chains: int, rho: float) -> None:
    columns, draws = 500, 2000 // chains
    s = fm.Sample.from_arrays(walks(chains, draws, columns, rho, seed=1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        e = s.expect(lambda x: x)
    true = variance_of_mean(chains, draws, rho)
    # The columns are independent: the number of pulls within 2 is binomial.
    within = np.mean(abs(e.mean / e.stderr) < 2)
    assert abs(within - 0.9545) < 5 * np.sqrt(0.9545 * 0.0455 / columns)
    assert abs(np.mean(e.stderr**2) / true - 1) < 0.1
    assert abs(np.mean(e.mean**2 / e.stderr**2) - 1) < 0.1 + 5 * np.sqrt(2 / columns)
    np.testing.assert_allclose(e.stderr, fm.diagnostics.mcse(s.draws), rtol=1e-10)
    np.testing.assert_allclose(e.ess, fm.diagnostics.ess(s.draws, kind="mean"), rtol=1e-10)
    np.testing.assert_allclose(e.stderr, np.sqrt(np.diag(e.cov)), rtol=1e-14)


def test_the_covariance_of_averages() -> None:
    x = walks(4, 2000, 3, 0.7, seed=2)
    y = np.stack([x[..., 0], 0.6 * x[..., 0] + 0.8 * x[..., 1], x[..., 2]], axis=2)
    e = fm.Sample.from_arrays(y).expect(lambda x: x)
    correlation = e.cov / np.outer(e.stderr, e.stderr)
    # About 180 batches.
    for pair, true in {(0, 1): 0.6, (0, 2): 0.0, (1, 2): 0.0}.items():
        assert abs(correlation[pair] - true) < 5 / np.sqrt(180)
    assert np.linalg.eigvalsh(e.cov).min() > 0
    # The mean of the difference, by itself and by the delta method.
    s = fm.Sample.from_arrays(y)
    direct = s.expect(lambda x: x[:, 1] - x[:, 0])
    delta = e.transform(lambda m: m[1] - m[0])
    assert delta.mean == pytest.approx(direct.mean, abs=1e-14)
    assert delta.stderr == pytest.approx(direct.stderr, rel=0.2)


def test_stein_controls_are_exact_for_polynomials_of_a_gaussian() -> None:
    cov = np.array([[1.0, 0.6, 0.0], [0.6, 2.0, -0.3], [0.0, -0.3, 0.5]])
    mean = np.array([3.0, -1.0, 100.0])
    x = mean + walks(4, 500, 3, 0.9, seed=3) @ np.linalg.cholesky(cov).T
    s = fm.Sample.from_arrays(x, gradients=-(x - mean) @ np.linalg.inv(cov))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        e = s.expect(lambda x: np.column_stack([x, x[:, 0] * x[:, 1]]), controls="stein")
    np.testing.assert_allclose(e.mean, [*mean, mean[0] * mean[1] + cov[0, 1]], rtol=1e-11)
    assert np.all(e.stderr < 1e-11)


@pytest.mark.parametrize("controls", ["stein", "given"])
def test_errors_with_controls(controls: str) -> None:
    def f(x: Array) -> Array:
        return np.cos(x[:, 0] + 1)

    true = np.exp(-0.5) * np.cos(1)
    pulls, gains = [], []
    for seed in range(100):
        x = walks(4, 300, 1, 0.6, seed=seed)
        s = fm.Sample.from_arrays(x, gradients=-x)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            e = s.expect(f, controls="stein" if controls == "stein" else x[..., :1])
            gains.append(s.expect(f).stderr / e.stderr)
        pulls.append((e.mean - true) / e.stderr)
    assert abs(np.mean(np.square(pulls)) - 1) < 0.1 + 5 * np.sqrt(2 / 100)
    assert abs(np.mean(pulls)) < 5 / np.sqrt(100)
    assert np.mean(gains) > (2 if controls == "stein" else 1.2)


def test_weighted_chains() -> None:
    """The error accounts for weights and for dependence: chains of N(0, 1), weighted to N(1/2)."""
    pulls, ratios = [], []
    for seed in range(100):
        x = walks(4, 500, 1, 0.8, seed=seed)
        s = fm.Sample.from_arrays(x, log_densities=-(x[..., 0] ** 2) / 2)
        s = replace(s, stats={"diverging": np.zeros((4, 500), bool)})
        t = s.reweight(lambda x: -((x[:, 0] - 0.5) ** 2) / 2)
        assert t.error_model == "chains"
        assert "diverging" in t.stats
        e, _ = told(lambda t=t: t.expect(lambda p: p[:, 0]))
        weights = t.weights.ravel()
        independent = np.sqrt(np.sum((weights * (x.ravel() - e.mean)) ** 2))
        pulls.append((e.mean - 0.5) / e.stderr)
        ratios.append(e.stderr / independent)
    assert abs(np.mean(np.square(pulls)) - 1) < 0.15 + 5 * np.sqrt(2 / 100)
    assert 2 < np.mean(ratios) < 3  # √9 for x itself
    assert "weighted: ESS" in repr(t)
    assert "mcse_mean" in str(t.summary())
    even = replace(s, log_weights=np.zeros((4, 500)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert even.expect(lambda x: x[:, 0]).stderr == pytest.approx(
            s.expect(lambda x: x[:, 0]).stderr, rel=1e-3
        )
    with pytest.raises(ArgumentError, match="give resample=False"):
        t.to_arviz()


def test_complex_and_constant_functions() -> None:
    s = run()
    e = s.expect(lambda x: np.exp(1j * x[:, 0]))
    parts = s.expect(lambda x: np.column_stack([np.cos(x[:, 0]), np.sin(x[:, 0])]))
    assert e.mean == pytest.approx(complex(*parts.mean))
    assert e.stderr == pytest.approx(np.hypot(*parts.stderr))
    with pytest.warns(ConvergenceWarning, match="all 4000 values"):
        constant = s.expect(lambda x: np.full(len(x), 0.1))
    assert constant.mean == pytest.approx(0.1, rel=1e-15)
    assert constant.stderr < 1e-16


def test_what_has_not_converged_is_announced() -> None:
    apart = walks(4, 500, 2, 0.3)
    apart[0, :, 1] += 3
    s = fm.Sample.from_arrays(apart)
    e, (rhat, ess) = told(lambda: s.expect(lambda x: x, names=["a", "b"]))
    assert isinstance(rhat, ConvergenceWarning)
    assert isinstance(ess, ConvergenceWarning)
    assert rhat.result is e
    assert "(b), above 1.01" in str(rhat)
    assert "(b), below 400, that is 100 a chain" in str(ess)
    # A function that controls explain is exact nevertheless.
    gaussian = fm.Sample.from_arrays(apart, gradients=-apart)
    e, given = told(lambda: gaussian.expect(lambda x: x[:, 1], controls="stein"))
    assert abs(e.mean) < 1e-14
    assert given == []
    # R-hat of a single chain compares its halves.
    trend = walks(1, 500, 1, 0.0) + np.linspace(0, 3, 500)[None, :, None]
    _, (rhat, _) = told(lambda: fm.Sample.from_arrays(trend).expect(lambda x: x[:, 0]))
    assert "R-hat" in str(rhat)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fm.Sample.from_arrays(walks(1, 500, 1, 0.0)).expect(lambda x: x[:, 0])


def test_slow_chains_with_right_gradients_have_controls_of_mean_zero() -> None:
    """Errors of independent draws would make the mean of the controls seem far from zero."""
    for seed in range(10):
        x = walks(4, 2000, 1, 0.99, seed=seed)
        s = fm.Sample.from_arrays(x, gradients=-x)
        _, given = told(lambda s=s: s.expect(lambda p: np.exp(p[:, 0]), controls="stein", degree=1))
        assert not any("mean of the controls" in str(w) for w in given)


def test_the_bits_do_not_depend_on_threads(thread_counts: tuple[int, ...]) -> None:
    x = walks(3, 2000, 6, 0.1)
    s = fm.Sample.from_arrays(x, gradients=-x)
    got = [
        s.expect(lambda x: np.sin(x), controls="stein", plan=fm.Plan(n_threads=t))
        for t in thread_counts
    ]
    for e in got[1:]:
        np.testing.assert_array_equal(e.mean, got[0].mean)
        np.testing.assert_array_equal(e.cov, got[0].cov)


def test_scale_does_not_matter() -> None:
    x = walks(4, 500, 1, 0.5)
    ess = fm.Sample.from_arrays(x).expect(lambda x: x[:, 0]).ess
    for scale in (1e-150, 1e150):
        e = fm.Sample.from_arrays(x).expect(lambda x, c=scale: c * x[:, 0])
        assert e.ess == pytest.approx(ess, rel=1e-9)
    tiny = str(fm.Sample.from_arrays(1e-30 * x).summary()).split("\n")[2].split()
    assert float(tiny[6]) == pytest.approx(1e-30 / np.sqrt(ess), rel=0.1)
