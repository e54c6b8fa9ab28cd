"""Targets in all their forms: the methods that take them, what is accepted, what is refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
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
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError

Array = NDArray[np.float64]


# Forms × methods. `builtin` rounds differently from the others, which share their arithmetic.


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
    e = fm.importance.expect(make(), law(), n=40_000, rng=2, n_threads=1)
    assert e.mean.shape == (2,)
    assert np.all(np.abs(e.mean - MOMENTS) < 5 * e.stderr)
    for n_threads in thread_counts[1:]:
        again = fm.importance.expect(make(), law(), n=40_000, rng=2, n_threads=n_threads)
        np.testing.assert_array_equal(again.mean, e.mean)
        np.testing.assert_array_equal(again.cov, e.cov)


@pytest.mark.parametrize("make", INTEGRANDS)
def test_expect_has_the_same_bits_in_all_forms(make: Make) -> None:
    e = fm.importance.expect(make(), law(), n=20_000, rng=5)
    same = fm.importance.expect(moments, law(), n=20_000, rng=5)
    np.testing.assert_array_equal(e.mean, same.mean)
    np.testing.assert_array_equal(e.stderr, same.stderr)


def start() -> Any:
    """A law that is wider than the density, and elsewhere."""
    return fm.distributions.Normal(np.zeros(DIM), 4.0)


@pytest.mark.parametrize("scheme", ["amis", "pmc", "snis"])
@pytest.mark.parametrize("make", DENSITIES)
def test_evidence(make: Make, scheme: str, thread_counts: tuple[int, ...]) -> None:
    options: Any = {"n": 20_000, "scheme": scheme, "gradient": True, "rng": 3}
    z = fm.importance.evidence(make(), start(), n_threads=1, **options)
    assert abs(z.log_evidence) < 5 * z.log_evidence_stderr
    np.testing.assert_allclose(z.sample.gradients, slope(z.sample.draws), rtol=1e-13)
    for n_threads in thread_counts[1:]:
        again = fm.importance.evidence(make(), start(), n_threads=n_threads, **options)
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
def test_evidence_by_workers_and_from_a_checkpoint(make: Make, tmp_path: Path) -> None:
    options: Any = {"n": 10_000, "rng": 7}
    local = fm.importance.evidence(make(), start(), **options)
    with ThreadPoolExecutor(3) as pool:
        shared = fm.importance.evidence(make(), start(), executor=pool, **options)
    logged = tmp_path / "run.safetensors"
    first = fm.importance.evidence(make(), start(), checkpoint=logged, **options)
    replayed = fm.importance.evidence(make(), start(), checkpoint=logged, **options)
    for other in (shared, first, replayed):
        assert other.log_evidence == local.log_evidence
        np.testing.assert_array_equal(other.sample.draws, local.sample.draws)
        np.testing.assert_array_equal(other.sample.log_weights, local.sample.log_weights)


@pytest.mark.parametrize("make", DENSITIES)
def test_a_log_density_is_an_integrand(make: Make) -> None:
    # E log p = minus the entropy.
    e = fm.importance.expect(make(), law(), n=20_000, rng=1)
    entropy = float(np.sum(scipy.stats.norm(MEAN, SD).entropy()))
    assert abs(e.mean + entropy) < 5 * e.stderr
    assert np.ndim(e.mean) == 0


@pytest.mark.parametrize("make", DENSITIES)
def test_points_are_checked(make: Make) -> None:
    target = make()
    for wrong in (np.zeros((4, DIM + 1)), np.zeros(DIM), np.zeros((2, DIM), complex), "text"):
        with pytest.raises(ArgumentError, match="x: "):
            target.log_density(wrong)
    assert target([[0] * DIM]).shape == (1,)
    with pytest.raises(ArgumentError, match=f"dim: 7 given .* dimension {DIM}"):
        fm.targets.as_target(target, 7)
    assert fm.targets.as_target(target, DIM) is target
    with pytest.raises(ArgumentError, match="gradient: given"):
        fm.targets.as_target(target, DIM, gradient=slope)


@pytest.mark.parametrize("make", DENSITIES)
def test_expect_checks_the_dimension(make: Make) -> None:
    with pytest.raises(ArgumentError, match="equal dimension"):
        fm.importance.expect(make(), fm.distributions.Normal(), n=1000, rng=0)


# Python functions.


def pair(x: Array) -> tuple[Array, Array]:
    return formula(x), slope(x)


def test_a_function_that_gives_a_pair() -> None:
    target, x = fm.targets.as_target(pair, DIM, gradient=True), points(10)
    values, gradients = target.log_density_and_gradient(x)
    np.testing.assert_array_equal(values, formula(x))
    np.testing.assert_array_equal(gradients, slope(x))
    np.testing.assert_array_equal(target.log_density(x), formula(x))
    again = pickle.loads(pickle.dumps(target))
    np.testing.assert_array_equal(again.log_density_and_gradient(x)[1], gradients)
    assert repr(target).endswith("3, gradient=True)")


def test_the_gradient_sees_points_that_the_function_has_not_spoilt() -> None:
    def spoils(x: Array) -> Array:
        values = formula(x)
        x[:] = np.nan
        return values

    target, x = fm.targets.as_target(spoils, DIM, gradient=slope), points(10)
    np.testing.assert_array_equal(target.log_density_and_gradient(x.copy())[1], slope(x))


@pytest.mark.parametrize(
    ("f", "gradient", "message"),
    [
        (lambda x: x[:, :1], None, r"shape \(200, 1\) .* must be \(200,\); squeeze it"),
        (lambda x: x, None, r"shape \(200, 3\) .* sum over the last axis"),
        (lambda x: 1.0, None, "vectorize"),
        (lambda x: x[0], None, "vectorize"),
        (lambda x: (x[:, 0], -x), None, "gradient=True"),
        (lambda x: x[:5, 0], None, r"shape \(5,\) for a batch of shape \(200, 3\)"),
        (lambda x: x[:, 0] * 1j, None, "complex"),
        (lambda x: ["a"] * len(x), None, "must hold numbers"),
        (lambda x: formula(x), True, r"gave a ndarray of shape \(200,\) where gradient=True"),
        (formula, lambda x: x[:, 0], r"gradient .* shape \(200,\) .* must be \(200, 3\)"),
        (formula, lambda x: x.T, r"must be \(200, 3\); transpose it"),
        (formula, lambda x: x * 1j, "the gradient of the log-density gave complex"),
    ],
)
def test_what_python_functions_give_is_checked(
    f: Callable[[Array], Any], gradient: Any, message: str
) -> None:
    target = fm.targets.as_target(f, DIM, gradient=gradient)
    call = target.log_density if gradient is None else target.log_density_and_gradient
    with pytest.raises(TargetError, match=message):
        call(points(200))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_that_may_not_be_is_named(bad: float) -> None:
    def f(x: Array) -> Array:
        values = np.full(len(x), -np.inf)
        values[137] = bad
        return values

    with pytest.raises(TargetError, match=rf"log-density is {bad} at row 137 of the batch"):
        fm.targets.as_target(f, DIM).log_density(points(200))


def test_gradients_must_be_finite_where_the_density_is_not_0() -> None:
    def f(x: Array) -> Array:
        return np.where(np.arange(len(x)) < 100, -np.inf, 0.0)

    def gradient(x: Array) -> Array:
        slopes = np.zeros(x.shape)
        slopes[[50, 137], 1] = np.nan
        return slopes

    target = fm.targets.as_target(f, DIM, gradient=gradient)
    with pytest.raises(TargetError, match="nan in coordinate 1 at row 137"):
        target.log_density_and_gradient(points(200))


@pytest.mark.parametrize("which", ["value", "gradient"])
def test_exceptions_pass_through_with_a_note(which: str) -> None:
    def fail(x: Array) -> Array:
        raise KeyError("mine")

    f, gradient = (fail, slope) if which == "value" else (formula, fail)
    with pytest.raises(KeyError) as caught:
        fm.targets.as_target(f, DIM, gradient=gradient).log_density_and_gradient(points(200))
    assert caught.value.args == ("mine",)
    (note,) = caught.value.__notes__
    assert "log-density on a batch of 200 points of dimension 3" in note
    assert ("gradient" in note) == (which == "gradient")


# What as_target takes.


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
