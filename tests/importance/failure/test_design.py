"""Design points and regions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from limit_states import PROBLEMS, normal

from fermiac.importance.failure import design
from fermiac.importance.failure.space import LimitState, NormalMap


def limit_state(name: str) -> LimitState:
    problem = PROBLEMS[name]
    return LimitState(problem.g, NormalMap(normal(problem.dim)), "raise", None)


@pytest.mark.parametrize("gradient", [None, lambda u: np.full(10, -1 / math.sqrt(10))])
def test_the_design_point_of_a_half_space(gradient: Any) -> None:
    g = limit_state("half-space 6")
    found = design.search(g, 0, 0.0, np.zeros(10), gradient, 10, 1000)
    assert found is not None
    assert found.settled
    assert found.distance == pytest.approx(6, rel=1e-6)
    assert g.n_evals < (15 if gradient else 60)


def test_a_shell_is_one_region() -> None:
    g = limit_state("sphere")
    u = np.random.default_rng(0).normal(size=(400, 10))
    u *= 6.5 / np.linalg.norm(u, axis=1, keepdims=True)
    assert len(design.regions_of(g, 0, 0.0, u, np.ones(400), 1000)) == 1
