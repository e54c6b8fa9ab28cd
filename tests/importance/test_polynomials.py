"""Polynomial controls: orthonormal functions, exact parts of the variance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from fermiac.importance.polynomials import FUNCTIONS, Basis, Line, ranked_terms
from fermiac.random import sobol


def test_functions_of_a_bounded_coordinate_are_orthonormal() -> None:
    u = (np.arange(2**16) + 0.5) / 2**16
    values = Line(True)(u)
    assert values.shape == (FUNCTIONS, u.size)
    np.testing.assert_allclose(values @ values.T / u.size, np.eye(FUNCTIONS), atol=1e-6)


def test_functions_of_an_unbounded_coordinate_are_orthonormal() -> None:
    z = np.linspace(-12, 12, 4001)
    weights = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    values = Line(False)(np.maximum(ndtr(z), 1e-300), 4)
    inside = z < 8  # beyond, uniform numbers are 1
    gram = (values * weights)[:, inside] @ values[:, inside].T
    np.testing.assert_allclose(gram, np.eye(4), atol=1e-8)


def test_terms_are_in_order_of_their_worth() -> None:
    terms = ranked_terms(np.array([0.5, 1e-9, 0.5]), [True, True, False], 200)
    assert terms[0] == ()
    assert terms[1:3] == (((0, 1),), ((2, 1),))
    assert len(set(terms)) == len(terms) == 200
    # Products with an unbounded coordinate stay of low degree.
    assert max(sum(e for _, e in t) for t in terms if any(i == 2 for i, _ in t)) == 3
    assert all(len(t) <= 3 for t in terms)


@pytest.mark.parametrize("bounded", [True, False])
def test_parts_of_the_variance_are_exact(bounded: bool) -> None:
    basis = Basis((bounded,) * 3, ((), ((0, 1),), ((1, 2),), ((0, 1), (1, 1)), ((0, 1), (2, 1))))
    beta = np.array([7.0, 1.0, 2.0, 3.0, 4.0])[:, None]
    parts = basis.variances(beta, [(0,), (1,), (2,)])
    assert parts.whole[0] == 1 + 4 + 9 + 16
    np.testing.assert_array_equal(parts.first[:, 0], [1, 4, 0])
    np.testing.assert_array_equal(parts.total[:, 0], [26, 13, 16])
    assert parts.pairs[0, 1, 0] == 9
    together = basis.variances(beta, [(0, 1), (2,)])
    np.testing.assert_array_equal(together.first[:, 0], [14, 0])
    u = sobol(2**14, 3, 0)
    values = basis.columns(basis.table(u)).T @ beta
    assert values.mean() == pytest.approx(7.0, abs=0.02)
    assert values.var() == pytest.approx(30.0, rel=0.02)
