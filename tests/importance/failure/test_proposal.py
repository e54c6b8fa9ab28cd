"""Proposals of rare events: points, densities, tails, polar components, the same bits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from limit_states import Array
from scipy import stats

import fermiac as fm
from fermiac.importance.failure.proposal import Axis, Polar, Proposal, Slab

DIM = 6


def frame(r: int, seed: int = 0) -> Array:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(DIM, r)))[0]


def components() -> tuple[Any, ...]:
    return (
        Slab(frame(2), [Axis("tail", 2.5), Axis("normal", 1.0, 0.4)]),
        Slab(frame(DIM, 1), [Axis("normal", 0.3 * j, 0.5 + 0.2 * j) for j in range(DIM)]),
        Slab(frame(1, 2), [Axis("t", 1.0, 0.5)]),
        Polar(frame(1, 3)[:, 0], 8.0, 12.0, 1.5),
        Polar(frame(1, 4)[:, 0], 0.0, 9.0, 1.2),
    )


def proposal() -> Proposal:
    return Proposal(DIM, 0.2, np.array([0.2, 0.2, 0.1, 0.2, 0.1]), components())


def test_points_have_the_density_that_is_said() -> None:
    q = proposal()
    u = q.sample(200_000, rng=0)
    inverse = np.exp(-q.log_ratio(u))
    # Each density integrates to 1, and weighted points have the moments of the normal law.
    ratios = np.exp(q.component_ratios(u)) * inverse[:, None]
    for values, exact in [(inverse, 1.0), *[(r, 1.0) for r in ratios.T]]:
        assert abs(values.mean() - exact) < 5 * values.std() / math.sqrt(len(u))
    for j in range(DIM):
        values = inverse * u[:, j] ** 2
        assert abs(values.mean() - 1) < 5 * values.std() / math.sqrt(len(u))
    expected = stats.multivariate_normal(np.zeros(DIM)).logpdf(u[:100]) + q.log_ratio(u[:100])
    np.testing.assert_allclose(q.log_density(u[:100]), expected, rtol=1e-12)


@pytest.mark.parametrize("k", range(5))
def test_points_of_a_component_lie_in_its_support(k: int) -> None:
    q = Proposal(DIM, 0.0, np.ones(1), (components()[k],))
    u = q.from_unit(fm.random.sobol(4096, q.unit_dim, 1))
    assert np.isfinite(q.log_ratio(u)).all()


def test_the_law_of_a_tail_far_out() -> None:
    for bound in (5.0, 20.0, 37.0, 60.0):
        q = Proposal(1, 0.0, np.ones(1), (Slab(np.ones((1, 1)), [Axis("tail", bound)]),))
        v = np.array([1e-3, 0.5, 1 - 1e-12])
        u = q.from_unit(np.column_stack([np.full(3, 0.5), v]))[:, 0]
        assert (u >= bound).all()
        if bound < 37:
            exact = stats.norm.isf(v * stats.norm.sf(bound))
            np.testing.assert_allclose(u, exact, rtol=1e-9)
        else:
            np.testing.assert_allclose(u, bound - np.log(v) / bound, rtol=1e-3)


def test_polar_components_of_many_dimensions() -> None:
    for dim, kappa in ((2, 5.0), (3, 50.0), (100, 300.0)):
        axis = np.eye(dim)[0]
        q = Proposal(dim, 0.0, np.ones(1), (Polar(axis, kappa, dim / 2, 2.0),))
        u = q.from_unit(fm.random.sobol(2048, q.unit_dim, 1))
        assert np.isfinite(q.log_ratio(u)).all()
        # The norm is that of the normal law, and the direction lies about the axis.
        square = (u * u).sum(axis=1)
        assert abs(square.mean() / dim - 1) < 0.02
        mean = (u[:, 0] / np.sqrt(square)).mean()
        from scipy.special import ive

        exact = ive(dim / 2, kappa) / ive(dim / 2 - 1, kappa)
        assert abs(mean - exact) < 0.02


def test_threads_and_blocks_do_not_change_bits() -> None:
    one = proposal()
    many = Proposal(DIM, one.base, one.shares, one.components, n_threads=3)
    v = fm.random.sobol(10_000, one.unit_dim, 0)
    u = one.from_unit(v)
    np.testing.assert_array_equal(many.from_unit(v), u)
    np.testing.assert_array_equal(many.log_ratio(u), one.log_ratio(u))
    np.testing.assert_array_equal(one.log_ratio(u[:7]), one.log_ratio(u)[:7])
