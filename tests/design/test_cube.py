"""The steps of the cube method: means, totals, the boundary."""

from __future__ import annotations

import numpy as np

import fermiac as fm
from fermiac.design.cube import _direction, _moved, balanced

X = np.asarray(fm.random.Stream(1).normal((6, 2)))
PI = np.array([0.2, 0.5, 0.7, 0.4, 0.9, 0.3])


def test_a_step_keeps_means_and_totals() -> None:
    rows = np.column_stack([PI, X]) / PI[:, None]
    direction = _direction(rows[:4, :3])
    assert direction is not None
    up, down = _moved(PI[:4], direction, 0.0), _moved(PI[:4], direction, 1.0)
    for new in (up, down):
        assert ((new >= 0) & (new <= 1)).all()
        assert ((new == 0) | (new == 1)).any()
        np.testing.assert_allclose(new @ rows[:4, :3], PI[:4] @ rows[:4, :3], atol=1e-12)
    # The chance at which the step turns around makes the mean of both ends the start.
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        forward = (_moved(PI[:4], direction, middle) == up).all()
        low, high = (middle, high) if forward else (low, middle)
    np.testing.assert_allclose(low * up + (1 - low) * down, PI[:4], atol=1e-12)


def test_no_direction_keeps_as_many_totals_as_units() -> None:
    rows = np.column_stack([PI, X])[:3] / PI[:3, None]
    assert _direction(rows) is None
    twice = _direction(rows[:, [0, 0, 1]])
    assert twice is not None
    np.testing.assert_allclose(twice @ rows[:, :2], 0, atol=1e-12)


def test_certain_units_are_taken() -> None:
    pi = np.array([1.0, 0.5, 1e-300, 0.5, 1.0])
    for seed in range(20):
        taken = balanced(pi, pi[:, None], fm.random.Stream(seed))
        assert {0, 4} <= set(taken.tolist())
        assert len(taken) == 3
        assert 2 not in taken
