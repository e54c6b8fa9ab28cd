"""Walks: known probabilities, the conditional law, flat functions, first points."""

from __future__ import annotations

import math

import numpy as np
from limit_states import PROBLEMS, normal
from scipy import stats

from fermiac.importance.failure.space import LimitState, NormalMap
from fermiac.importance.failure.walk import Walk, start_points, steps


def limit_state(name: str) -> LimitState:
    problem = PROBLEMS[name]
    return LimitState(problem.g, NormalMap(normal(problem.dim)), "raise", None)


def walk(g: LimitState, n_level: int, budget: int, key: int) -> Walk:
    out = Walk(0)
    for so_far in steps(out, g, 0.0, n_level, budget, key, 0):
        assert so_far is out
    return out


def test_a_walk_gives_the_half_space() -> None:
    g = limit_state("half-space 3")
    found = walk(g, 2000, 20_000, 1)
    assert found.reached
    p, cov = found.estimate(0.0)
    assert abs(math.log(p / stats.norm.sf(3))) < 4 * cov
    assert 0.05 < cov < 0.3
    assert [level.threshold for level in found.levels[1:]] == sorted(
        (level.threshold for level in found.levels[1:]), reverse=True
    )
    for level in found.levels[1:]:
        assert (level.values[:, 0] <= level.threshold).all()
        assert 0.3 < level.acceptance < 0.7
    # Higher thresholds come from the earlier levels.
    p, cov = found.estimate(1.0)
    assert abs(math.log(p / stats.norm.sf(2))) < 4 * cov
    assert found.estimate(-100.0) == (0.0, math.inf)


def test_chains_keep_the_conditional_law() -> None:
    g = limit_state("half-space 3")
    level = walk(g, 20_000, 10**6, 2).levels[-1]
    c = level.u.sum(axis=1) / math.sqrt(10)
    bound = 3 - level.threshold
    exact = stats.truncnorm(bound, np.inf)
    assert abs(c.mean() - exact.mean()) < 0.05 * exact.std()
    across = level.u - c[:, None] / math.sqrt(10)
    assert abs(across.var(axis=0) - 0.9).max() < 0.1


def test_a_walk_ends_where_g_is_flat() -> None:
    g = LimitState(lambda x: np.ones(len(x)), NormalMap(normal(2)), "raise", None)
    found = walk(g, 200, 10_000, 0)
    assert not found.reached
    assert g.n_evals == 200


def test_first_points_are_those_of_the_law() -> None:
    g = limit_state("four branches")
    u, values = start_points(g, 512, 0, 0)
    assert abs(u.mean(axis=0)).max() < 0.05
    assert values.shape == (512, 1)
