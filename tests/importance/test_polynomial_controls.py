"""Polynomials that are subtracted from an integrand: exact cases, no loss, honest errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from benches.importance import integrals
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError

Array = NDArray[np.float64]
METHODS = ("auto", "sobol", "map", "mixture", "rotated", "mc")


def integrate(f: Any, bounds: Any, **settings: Any) -> fm.Estimate:
    return fm.importance.integrate(f, bounds, **{"rng": 0, "controls": "polynomial", **settings})


def cubic(x: Array) -> Array:
    return 2.0 + x[:, 0] * x[:, 1] ** 2 - 3 * x[:, 2] ** 3


def note(e: fm.Estimate) -> str:
    """Return what the stages say of the polynomials."""
    return next(s["purpose"] for s in e.stages if s["purpose"].startswith("polynomials"))


@pytest.mark.parametrize("method", METHODS)
def test_a_polynomial_is_exact(method: str) -> None:
    bounds = [(0.0, 1.0), (-1.0, 2.0), (1.0, 3.0)]
    # The volume is 6; the means are 1/2 · 1 and 10.
    truth = 6 * (2.0 + 0.5 - 30.0)
    e = integrate(cubic, bounds, n=20_000, method=method)
    assert note(e).startswith("polynomials of degree ")
    assert abs(e.mean / truth - 1) < 1e-12
    assert e.stderr < 1e-10 * abs(truth)


def test_several_outputs_have_degrees_of_their_own() -> None:
    def f(x: Array) -> Array:
        return np.stack([x[:, 0] * x[:, 1], np.zeros(len(x)), np.floor(9 * x.sum(axis=1))], axis=1)

    with pytest.warns(fm.errors.FermiacWarning, match="f was 0"):
        e = integrate(f, (0, 1), dim=2, n=20_000, method="sobol")
    assert note(e).endswith(", 0, 0")
    assert abs(e.mean[0] - 0.25) < 1e-12
    assert e.mean[1] == 0
    assert e.mean[2] == pytest.approx(8.5, abs=0.01)


def test_complex_values_and_a_tolerance() -> None:
    e = integrate(lambda x: np.exp(1j * x[:, 0]), (0, 1), dim=2, rtol=1e-6, n=100_000)
    truth = -1j * (np.exp(1j) - 1)
    assert e.converged
    assert abs(e.mean - truth) < 1e-6 * abs(truth)


# The integrand is 0 at most points, which some runs say.
@pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")
@pytest.mark.parametrize("points", ["sobol", "random"])
@pytest.mark.parametrize("method", ["sobol", "map"])
def test_a_rough_integrand_loses_no_more_than_the_points_of_the_fit(
    method: str, points: str
) -> None:
    problem = integrals.genz("discontinuous", 4)
    squares = np.zeros(2)
    for seed in range(40):
        for k, controls in enumerate(("own", "polynomial")):
            settings = {"method": method, "points": points, "controls": controls}
            e = integrate(problem.f, problem.bounds, n=8000, rng=seed, **settings)
            squares[k] += (e.mean / problem.truth - 1) ** 2
    # The fit takes a tenth of the points, and nets have powers of two of them.
    assert squares[1] < 1.7 * squares[0]


def test_a_smooth_integrand_gains_and_its_errors_hold() -> None:
    def f(x: Array) -> Array:
        return np.exp(x[:, 0] + x[:, 1]) + np.cos(2 * x[:, 2] * x[:, 3])

    # The mean of cos(2 x y), by the series of the cosine.
    truth = (math.e - 1) ** 2 + sum(
        (-1) ** k * 4**k / math.factorial(2 * k) / (2 * k + 1) ** 2 for k in range(20)
    )
    held, squares = [], np.zeros(2)
    for seed in range(60):
        e, plain = (
            integrate(f, (0, 1), dim=4, n=20_000, rng=seed, method="mc", controls=controls)
            for controls in ("polynomial", "own")
        )
        squares += [(e.mean - truth) ** 2, (plain.mean - truth) ** 2]
        low, high = e.interval(0.95)
        held.append(low <= truth <= high)
    assert squares[0] < squares[1] / 10_000
    # 0.95 less 4 standard errors of 60 runs.
    assert np.mean(held) > 0.83


def test_threads_and_forms_give_the_same_bits(thread_counts: tuple[int, ...]) -> None:
    built_in = fm.targets.genz("gaussian", np.full(3, 2.0), np.full(3, 0.5))
    means = {
        float(integrate(f, (0, 1), dim=3, n=30_000, plan=fm.Plan(n_threads=n)).mean)
        for n in thread_counts
        for f in (built_in, lambda x: built_in(x))
    }
    assert len(means) == 1


def test_little_budget_and_strata_do_without() -> None:
    assert note(integrate(cubic, (0, 1), dim=3, n=100)) == "polynomials: none"
    e = integrate(cubic, (0, 1), dim=3, n=20_000, method="stratified")
    assert not any(s["purpose"].startswith("polynomials") for s in e.stages)


def test_infinite_bounds_and_other_words_are_refused() -> None:
    with pytest.raises(ArgumentError, match="controls: 'polynomial' given for infinite bounds"):
        integrate(cubic, [(0, 1), (0, 1), (0, np.inf)])
    with pytest.raises(ArgumentError, match="controls: 'polynomials'"):
        integrate(cubic, (0, 1), dim=3, controls="polynomials")
