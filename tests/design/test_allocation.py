"""Allocation of a budget: closed forms, bounds, optimality, arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.design import allocate
from fermiac.errors import ArgumentError


def test_reference_values() -> None:
    a = allocate([1.0, 2.0], 1000)
    np.testing.assert_allclose(a.sizes, [386.48821, 613.51179], atol=5e-6)
    assert a.cost == pytest.approx(1000)
    m = allocate([1.0, 2.0], 1000, objective="minimax")
    np.testing.assert_allclose(m.sizes, [200, 800], rtol=1e-10)
    assert m.value == pytest.approx(1 / np.sqrt(200))


def test_neyman() -> None:
    w, s, cost = np.array([0.5, 0.3, 0.2]), np.array([3.0, 1.0, 7.0]), np.array([1.0, 4.0, 2.0])
    a = allocate((w * s) ** 2, 500, exponent=1, cost=cost)
    known = w * s / np.sqrt(cost)
    np.testing.assert_allclose(a.sizes, 500 * known / (cost @ known), rtol=1e-10)


def test_no_other_allocation_is_better() -> None:
    st = fm.random.Stream(1)
    scale, power, cost = st.exponential(6), 0.3 + st.uniform(6), 0.5 + st.uniform(6)
    offset, weights = st.uniform(6), 0.5 + st.uniform(6)
    more: Any = {"exponent": power, "cost": cost, "offset": offset, "weights": weights}
    for objective in ("sum", "minimax"):
        best = allocate(scale, 300, objective=objective, lower=5, upper=100, **more)
        # The task with the largest loss may be at its upper bound before the budget is spent.
        assert best.cost == pytest.approx(300, rel=1e-9) or objective == "minimax"
        assert best.cost <= 300 * (1 + 1e-12)
        assert ((best.sizes >= 5) & (best.sizes <= 100)).all()
        for i in range(200):
            other = np.clip(best.sizes * np.exp(0.1 * fm.random.Stream(2, i).normal(6)), 5, 100)
            other = np.clip(other * 300 / (cost @ other), 5, 100)
            if cost @ other > 300 * (1 + 1e-12):
                continue
            losses = weights * (scale * other**-power + offset)
            value = losses.sum() if objective == "sum" else losses.max()
            assert value >= best.value * (1 - 1e-9)


def test_bounds_take_all_of_the_budget_or_none() -> None:
    a = allocate([1.0, 1.0], 1000, upper=[100, 200])
    np.testing.assert_allclose(a.sizes, [100, 200])
    assert a.cost == 300
    b = allocate([1.0, 100.0], 10, lower=[4, 0])
    assert b.sizes[0] == 4
    assert b.sizes[1] == pytest.approx(6)
    huge = allocate([1e-200, 1e200], 1e6)
    assert huge.cost == pytest.approx(1e6)


def test_files(tmp_path: Path) -> None:
    a = allocate([1.0, 2.0, 3.0], 100)
    a.save(tmp_path / "a.safetensors")
    loaded = fm.load(tmp_path / "a.safetensors")
    assert isinstance(loaded, fm.design.Allocation)
    assert loaded.to_dict() == a.to_dict()
    assert a.summary()["task[1]"]["size"] == a.sizes[1]
    assert "3 tasks" in repr(a)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": [1.0, -1.0]}, "scale"),
        ({"scale": 1.0}, "scale"),
        ({"scale": []}, "scale"),
        ({"budget": 0.0}, "budget"),
        ({"exponent": 0.0}, "exponent"),
        ({"exponent": [1.0]}, "exponent"),
        ({"offset": np.inf}, "offset"),
        ({"cost": 0.0}, "cost"),
        ({"weights": [1.0, np.nan]}, "weights"),
        ({"lower": 600.0}, "smallest sizes cost"),
        ({"lower": 5.0, "upper": 4.0}, "upper bound"),
        ({"upper": 0.0}, "upper"),
        ({"objective": "mean"}, "objective"),
    ],
)
def test_arguments(arguments: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        allocate(**{"scale": [1.0, 2.0], "budget": 1000.0, **arguments})
