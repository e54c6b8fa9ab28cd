"""Polynomial controls: orthonormal functions, exact parts of the variance."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr

from fermiac.errors import NumericalError
from fermiac.importance.polynomials import (
    FUNCTIONS,
    TAIL_DEGREE,
    Basis,
    fold_coefficients,
    ranked_terms,
)
from fermiac.random import sobol

Array = NDArray[np.float64]


def functions(bounded: bool, u: Array) -> Array:
    """All functions of one coordinate at uniform numbers, one row each."""
    count = FUNCTIONS if bounded else 1 + TAIL_DEGREE
    basis = Basis([bounded], [((0, k),) for k in range(count)])
    return basis.crossed(u[:, None], u[:, None], [], False, np.eye(count))[0].T


def test_functions_of_a_bounded_coordinate_are_orthonormal() -> None:
    u = (np.arange(2**16) + 0.5) / 2**16
    values = functions(True, u)
    assert values.shape == (FUNCTIONS, u.size)
    np.testing.assert_allclose(values @ values.T / u.size, np.eye(FUNCTIONS), atol=1e-6)


def test_functions_of_an_unbounded_coordinate_are_orthonormal() -> None:
    z = np.linspace(-8, 8, 4001)
    weights = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    values = functions(False, ndtr(z))
    np.testing.assert_allclose((values * weights) @ values.T, np.eye(len(values)), atol=1e-8)


def test_regressions_leave_out_each_part() -> None:
    u = sobol(3000, 2, 0)
    y = (1 + 2 * u[:, :1] - u[:, 1:]) ** 2
    basis = Basis([True] * 2, ranked_terms(np.ones(2), [True] * 2, 20))
    grams = np.array([basis.gram(u[k::3], y[k::3]) for k in range(3)])
    left, coefficients = fold_coefficients(grams, 20, 1, [3, 20])
    assert left.shape == (2, 1)
    assert coefficients.shape == (2, 3, 20, 1)
    assert left[1, 0] < 1e-9 < left[0, 0]
    for fold in coefficients[1]:
        np.testing.assert_allclose(basis.crossed(u, u, [], False, fold)[0], y, atol=1e-5)
    with pytest.raises(NumericalError):
        fold_coefficients(np.zeros_like(grams), 20, 1, [3])


def test_terms_are_in_order_of_their_worth() -> None:
    terms = ranked_terms(np.array([0.5, 1e-9, 0.5]), [True, True, False], 100)
    assert terms[0] == ()
    assert terms[1:3] == (((0, 1),), ((2, 1),))
    assert len(set(terms)) == len(terms) == 100
    # Products with an unbounded coordinate stay of low degree.
    assert max(sum(e for _, e in t) for t in terms if any(i == 2 for i, _ in t)) == 3
    assert all(len(t) <= 3 for t in terms)


@pytest.mark.parametrize("bounded", [True, False])
def test_parts_of_the_variance_are_exact(bounded: bool) -> None:
    basis = Basis((bounded,) * 3, ((), ((0, 1),), ((1, 2),), ((0, 1), (1, 1)), ((0, 1), (2, 1))))
    beta = np.array([7.0, 1.0, 2.0, 3.0, 4.0])[:, None]
    parts = basis.variances(beta[None], [(0,), (1,), (2,)])
    assert parts.whole[0, 0] == 1 + 4 + 9 + 16
    np.testing.assert_array_equal(parts.first[0, :, 0], [1, 4, 0])
    np.testing.assert_array_equal(parts.total[0, :, 0], [26, 13, 16])
    assert parts.pairs[0, 0, 1, 0] == 9
    together = basis.variances(beta[None], [(0, 1), (2,)])
    np.testing.assert_array_equal(together.first[0, :, 0], [14, 0])
    u = sobol(2**14, 3, 0)
    values = basis.crossed(u, u, [], False, beta)[0]
    assert values.mean() == pytest.approx(7.0, abs=0.02)
    assert values.var() == pytest.approx(30.0, rel=0.02)
