"""Python functions as targets: checks of their values, and `vectorize`."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from forms import (
    DIM,
    formula,
    points,
    slope,
)
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import TargetError

Array = NDArray[np.float64]


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


def test_vectorize_takes_one_point_at_a_time() -> None:
    x = np.random.default_rng(1).normal(size=(50, 3))
    seen: list[tuple[int, ...]] = []

    def f(point: Array) -> float:
        seen.append(point.shape)
        return float(point[0] * point[1] - point[2])

    assert np.array_equal(fm.targets.vectorize(f)(x), x[:, 0] * x[:, 1] - x[:, 2])
    assert seen == [(3,)] * 50
    assert fm.targets.vectorize(lambda p: [p[0], 2 * p[1]])(x).shape == (50, 2)
    assert fm.targets.vectorize(f)(x[:0]).shape == (0,)
    assert fm.targets.vectorize(lambda p: p[0] > 0)(x).dtype == bool
    assert pickle.loads(pickle.dumps(fm.targets.vectorize(max)))(x).tolist() == x.max(1).tolist()


def test_vectorize_names_the_point_that_raised() -> None:
    def f(point: Array) -> float:
        if point[0] > 1.5:
            raise KeyError("mine")
        return 0.0

    with pytest.raises(KeyError, match="mine") as caught:
        fm.targets.vectorize(f)([[1.0], [2.0]])
    assert "at point 1" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    "f",
    [
        lambda p: "text",
        lambda p: None,
        lambda p: [[1.0]],
        lambda p: [1.0] * int(p[0]),
    ],
)
def test_vectorize_refuses_what_is_no_number(f: Callable[[Array], Any]) -> None:
    with pytest.raises(TargetError, match="vectorize"):
        fm.targets.vectorize(f)([[1.0], [2.0]])
