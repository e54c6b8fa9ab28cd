"""Many expectations from one sample: published results, and error bars that hold."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import problems
import pytest
import reference_values as ref
from problems import Array, Problem
from scipy import special

import fermiac as fm


def run(problem: Problem, seeds: range, **settings: Any) -> list[fm.Estimate]:
    with warnings.catch_warnings():
        # Some of these tails are heavy, and said to be; here it is the numbers that count.
        warnings.simplefilter("ignore", fm.errors.FermiacWarning)
        return [fm.importance.expect(problem.f, problem.law, rng=s, **settings) for s in seeds]


def means(estimates: list[fm.Estimate]) -> Array:
    return np.array([e.mean for e in estimates])


def pulls(problem: Problem, estimates: list[fm.Estimate]) -> Array:
    return np.array([(e.mean - problem.truth) / e.stderr for e in estimates])


# --- published results ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["aiscv", "paper"])
def test_gaussian_moments_reach_the_published_criterion(method: str) -> None:
    problem = problems.moments()
    estimates = run(problem, range(50), n=20_000, method=method)
    relative = means(estimates) / problem.truth
    assert np.sum(np.var(relative, axis=0, ddof=1)) < 3e-3
    assert 0.90 <= np.mean(np.abs(pulls(problem, estimates)) < 2) <= 0.99


@pytest.mark.calibration
def test_one_model_under_a_hundred_laws_reaches_the_published_variance() -> None:
    problem = problems.beam()
    estimates = run(problem, range(20), n=20_000, weights="absolute")
    variance = np.sum(np.var(means(estimates), axis=0, ddof=1))
    assert variance < 1.5 * ref.BEAM_VARIANCE_PUBLISHED
    assert 0.90 <= np.mean(np.abs(pulls(problem, estimates)) < 2) <= 0.99
    assert all(e.n_evals == 20_000 for e in estimates)


def test_sobol_indices_reach_the_published_variance() -> None:
    law = fm.distributions.Product([problems.cantilever_law()] * 2)
    problem = Problem(problems.pick_freeze, law, ref.CANTILEVER_SOBOL)
    estimates = run(problem, range(30), n=20_000, weights="absolute")
    indices = [e.transform(problems.sobol) for e in estimates]
    values = means(indices)
    assert np.sum(np.var(values, axis=0, ddof=1)) < 1.5 * ref.CANTILEVER_SOBOL_VARIANCE_PUBLISHED
    error = np.abs(values.mean(axis=0) - problem.truth)
    assert np.all(error < 5 * values.std(axis=0, ddof=1) / np.sqrt(30))
    assert 0.90 <= np.mean(np.abs(pulls(problem, indices)) < 2) <= 0.99


# --- calibrated error bars -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["genz", "oring", "signed_moments"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"controls": "none"},
        pytest.param({"family": "t"}, marks=pytest.mark.calibration),
        pytest.param({"family": "mixture"}, marks=pytest.mark.calibration),
        {"method": "mc"},
    ],
    ids=lambda s: "-".join(map(str, s.values())) or "default",
)
def test_error_bars_are_calibrated(name: str, settings: dict[str, Any]) -> None:
    problem = getattr(problems, name)()
    # Expectations of one run are correlated: it takes many runs for a share to settle.
    seeds = range(30) if settings.get("family") == "mixture" else range(100)
    pull = pulls(problem, run(problem, seeds, n=10_000, **settings))
    assert 0.90 <= np.mean(np.abs(pull) < 2) <= 0.99
    assert np.all(np.abs(pull.mean(axis=0)) < 5 / np.sqrt(len(seeds)))


def test_polynomials_as_controls_are_calibrated_and_never_worse() -> None:
    d = 6
    a, w = np.linspace(0.3, 1.2, d), np.linspace(0.2, 0.8, d)
    sides = math.pi**0.5 / 2 / a * (special.erf(a * (1 - w)) + special.erf(a * w))
    cases = [
        # A smooth function; one of which the polynomials explain little; one that is a polynomial.
        (
            lambda x: np.exp(-((x - w) ** 2) @ a**2),
            fm.distributions.Uniform(np.zeros(d), np.ones(d)),
            np.prod(sides),
            0.1,
        ),
        (
            lambda x: np.prod(x, axis=1),
            fm.distributions.LogNormal(np.zeros(8), 0.3),
            math.exp(8 * 0.045),
            1.05,
        ),
        (
            lambda x: x[:, 0] ** 2 * x[:, 1] + x[:, 1] ** 2,
            fm.distributions.MultivariateNormal(np.zeros(2), [[1.0, 0.6], [0.6, 2.0]]),
            2.0,
            1e-3,
        ),
    ]
    for f, law, truth, gain in cases:
        problem = Problem(f, law, np.array([truth]))
        own = run(problem, range(60), n=8_000)
        with_polynomials = run(problem, range(60), n=8_000, controls="polynomial")
        pull = pulls(problem, with_polynomials)
        assert 0.88 <= np.mean(np.abs(pull) < 2) <= 1.0
        assert np.all(np.abs(pull) < 5)

        def rms(estimates: list[fm.Estimate], truth: float = truth) -> float:
            return float(np.sqrt(np.mean((means(estimates) - truth) ** 2)))

        assert rms(with_polynomials) < gain * rms(own)


def test_polynomials_are_refused_for_laws_that_have_none() -> None:
    laws = [fm.distributions.Normal(), fm.distributions.Normal(1.0)]
    with pytest.raises(fm.errors.ArgumentError, match=r"controls: .* given for 2 laws"):
        fm.importance.expect(lambda x: x[:, 0], laws, controls="polynomial", rng=0)
    t = fm.distributions.StudentT(5.0)
    with pytest.raises(fm.errors.ArgumentError, match="orthogonal polynomials of this law"):
        fm.importance.expect(lambda x: x[:, 0], t, controls="polynomial", rng=0)


@pytest.mark.parametrize("settings", [{}, {"family": "t", "df": 0.5}], ids=["default", "t"])
def test_moments_that_just_exist_have_errors_that_hold(settings: dict[str, Any]) -> None:
    """E |x|^2.5 under a Student-t with 3 degrees of freedom has no variance under the law."""
    problem = problems.student_moments()
    pull = pulls(problem, run(problem, range(100), n=5_000, **settings))
    assert np.all(np.abs(pull) < 4.5)
    assert 0.90 <= np.mean(np.abs(pull) < 2) <= 0.99
    assert np.all(np.abs(pull.mean(axis=0)) < 0.5)


@pytest.mark.calibration
def test_the_share_of_small_pulls_over_all_integrands() -> None:
    """|pull| < 2 for a share in [0.90, 0.99] of the estimates, over 20 seeds x all integrands."""
    inside: list[bool] = []
    for name in ("moments", "genz", "oring", "signed_moments", "beam"):
        problem = getattr(problems, name)()
        pull = pulls(problem, run(problem, range(100, 120), n=20_000))
        inside += list(np.mean(np.abs(pull) < 2, axis=1))
    assert 0.90 <= np.mean(inside) <= 0.99


@pytest.mark.parametrize("name", ["moments", "genz", "signed_moments"])
def test_all_controls_err_less_than_own_controls(name: str) -> None:
    problem = getattr(problems, name)()
    own = run(problem, range(30), n=20_000)
    every = run(problem, range(30), n=20_000, controls="all")
    scale = np.abs(problem.truth) + (problem.truth == 0)

    def error(estimates: list[fm.Estimate]) -> float:
        # The squares of 30 true errors vary by a quarter, those of reported ones hardly.
        return float(np.mean([np.square(e.stderr / scale) for e in estimates]))

    assert error(every) < error(own)
    assert np.mean(np.abs(pulls(problem, every)) < 2) >= 0.90


def test_the_covariance_is_that_of_the_estimates() -> None:
    problem = problems.oring()
    estimates = run(problem, range(120), n=5_000, family="t")
    actual = np.corrcoef(means(estimates)[:, :5].T)
    claimed = np.mean([np.asarray(e.cov)[:5, :5] for e in estimates], axis=0)
    scale = np.sqrt(np.diag(claimed))
    # The standard error of a correlation from 120 runs is at most 0.092.
    assert np.all(np.abs(actual - claimed / np.outer(scale, scale)) < 5 * 0.092)
