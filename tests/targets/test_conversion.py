"""Targets in all their forms: the methods that take them, what is accepted, what is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from forms import (
    DENSITIES,
    DIM,
    INTEGRANDS,
    MEAN,
    MOMENTS,
    SD,
    Make,
    formula,
    law,
    moments,
    points,
    slope,
)

import fermiac as fm
from fermiac.errors import ArgumentError


@pytest.mark.parametrize("make", DENSITIES)
@pytest.mark.parametrize("n", [0, 1, 7, 5000])
def test_the_log_density(make: Make, n: int) -> None:
    target, x = make(), points(n)
    values = target.log_density(x)
    exact = scipy.stats.norm(MEAN, SD).logpdf(x).sum(axis=1)
    np.testing.assert_allclose(values, exact, rtol=1e-13)
    assert values.dtype == np.float64
    assert isinstance(target, fm.targets.LogDensity)


@pytest.mark.parametrize("make", DENSITIES[1:])
def test_forms_of_equal_arithmetic_give_the_same_bits(make: Make) -> None:
    x = points(5000)
    np.testing.assert_array_equal(make().log_density(x), formula(x))


@pytest.mark.parametrize("make", DENSITIES)
def test_the_gradient(make: Make) -> None:
    target, x = make(), points(5000)
    if not target.has_gradient:
        with pytest.raises(ArgumentError, match="no gradient"):
            target.log_density_and_gradient(x)
        return
    values, gradients = target.log_density_and_gradient(x)
    np.testing.assert_array_equal(values, target.log_density(x))
    np.testing.assert_allclose(gradients, slope(x), rtol=1e-13)


@pytest.mark.parametrize("make", INTEGRANDS)
def test_expect(make: Make, thread_counts: tuple[int, ...]) -> None:
    e = fm.importance.expect(make(), law(), n=40_000, rng=2, plan=fm.Plan(n_threads=1))
    assert e.mean.shape == (2,)
    assert np.all(np.abs(e.mean - MOMENTS) < 5 * e.stderr)
    for n_threads in thread_counts[1:]:
        again = fm.importance.expect(
            make(), law(), n=40_000, rng=2, plan=fm.Plan(n_threads=n_threads)
        )
        np.testing.assert_array_equal(again.mean, e.mean)
        np.testing.assert_array_equal(again.cov, e.cov)


@pytest.mark.parametrize("make", INTEGRANDS)
def test_expect_has_the_same_bits_in_all_forms(make: Make) -> None:
    e = fm.importance.expect(make(), law(), n=20_000, rng=5)
    same = fm.importance.expect(moments, law(), n=20_000, rng=5)
    np.testing.assert_array_equal(e.mean, same.mean)
    np.testing.assert_array_equal(e.stderr, same.stderr)


@pytest.mark.parametrize("make", INTEGRANDS)
def test_integrate(make: Make, thread_counts: tuple[int, ...]) -> None:
    options: Any = {"n": 20_000, "rng": 2}
    e = fm.importance.integrate(make(), (-1, 2), dim=DIM, **options)
    same = fm.importance.integrate(moments, (-1, 2), dim=DIM, **options)
    np.testing.assert_array_equal(e.mean, same.mean)
    np.testing.assert_array_equal(e.stderr, same.stderr)
    for n_threads in thread_counts[1:]:
        again = fm.importance.integrate(
            make(), (-1, 2), dim=DIM, plan=fm.Plan(n_threads=n_threads), **options
        )
        np.testing.assert_array_equal(again.mean, e.mean)


def start() -> Any:
    """A law that is wider than the density, and elsewhere."""
    return fm.distributions.Normal(np.zeros(DIM), 4.0)


@pytest.mark.parametrize("scheme", ["amis", "pmc", "snis"])
@pytest.mark.parametrize("make", DENSITIES)
def test_evidence(make: Make, scheme: str, thread_counts: tuple[int, ...]) -> None:
    options: Any = {"n": 20_000, "scheme": scheme, "gradient": True, "rng": 3}
    z = fm.importance.evidence(make(), start(), plan=fm.Plan(n_threads=1), **options)
    assert abs(z.log_evidence) < 5 * z.log_evidence_stderr
    np.testing.assert_allclose(z.sample.gradients, slope(z.sample.draws), rtol=1e-13)
    for n_threads in thread_counts[1:]:
        again = fm.importance.evidence(
            make(), start(), plan=fm.Plan(n_threads=n_threads), **options
        )
        assert again.log_evidence == z.log_evidence
        np.testing.assert_array_equal(again.sample.draws, z.sample.draws)
        np.testing.assert_array_equal(again.sample.log_weights, z.sample.log_weights)


@pytest.mark.parametrize("make", DENSITIES[1:])
def test_evidence_has_the_same_bits_in_forms_of_equal_arithmetic(make: Make) -> None:
    z = fm.importance.evidence(make(), start(), n=20_000, rng=5)
    same = fm.importance.evidence(formula, start(), n=20_000, rng=5)
    assert z.log_evidence == same.log_evidence
    np.testing.assert_array_equal(z.sample.draws, same.sample.draws)


@pytest.mark.parametrize("make", DENSITIES)
def test_evidence_by_workers_and_from_a_store(make: Make, tmp_path: Path) -> None:
    options: Any = {"n": 10_000, "rng": 7}
    local = fm.importance.evidence(make(), start(), **options)
    with ThreadPoolExecutor(3) as pool:
        shared = fm.importance.evidence(make(), start(), plan=pool, **options)
    kept = fm.Plan(store=tmp_path)
    first = fm.importance.evidence(make(), start(), plan=kept, **options)
    replayed = fm.importance.evidence(make(), start(), plan=kept, **options)
    for other in (shared, first, replayed):
        assert other.log_evidence == local.log_evidence
        np.testing.assert_array_equal(other.sample.draws, local.sample.draws)
        np.testing.assert_array_equal(other.sample.log_weights, local.sample.log_weights)


@pytest.mark.parametrize("make", DENSITIES)
def test_expect_checks_the_dimension(make: Make) -> None:
    with pytest.raises(ArgumentError, match="equal dimension"):
        fm.importance.expect(make(), fm.distributions.Normal(), n=1000, rng=0)


@pytest.mark.parametrize(
    "given", [fm.distributions.Normal(1.0, 2.0), scipy.stats.norm(1.0, 2.0)], ids=["ours", "scipy"]
)
def test_laws_are_log_densities(given: Any) -> None:
    target = fm.targets.as_target(given, 1)
    x = points(100)[:, :1]
    np.testing.assert_allclose(
        target.log_density(x), scipy.stats.norm(1.0, 2.0).logpdf(x[:, 0]), rtol=1e-13
    )
    assert target.dim == 1
    with pytest.raises(ArgumentError, match="dim: 2 given"):
        fm.targets.as_target(given, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3.0, 2), "log_density: float given; a callable"),
        ((formula,), "dim: not given"),
        ((formula, 0), "dim: 0 was given"),
        ((formula, 2.0), "dim: a float"),
        ((formula, 2, "autograd"), "gradient: 'autograd' given"),
        ((formula, 2, False), "gradient: False given"),
    ],
)
def test_what_is_no_log_density(arguments: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        fm.targets.as_target(*arguments)
