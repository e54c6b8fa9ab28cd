"""A small graph, walks on it, and what makes two of them one."""

from __future__ import annotations

from typing import Any

import numpy as np

import fermiac as fm

CLIQUE = [[i, j] for i in range(5) for j in range(i)]
#: Two cliques of 5 with a path of 2 between them.
EDGES = np.array([*CLIQUE, *[[i + 7, j + 7] for i, j in CLIQUE], [4, 5], [5, 6], [6, 7]])
BARBELL = fm.walks.as_graph(EDGES)
BELOW = (np.arange(12) < 6).astype(float)
WEIGHTS = np.random.default_rng(3).uniform(0.5, 2.0, 12)


def walk(graph: Any = BARBELL, *args: Any, **how: Any) -> fm.walks.WalkResult:
    return fm.walks.walk(graph, *args, **{"n_steps": 500, "n_walkers": 16, "rng": 1, **how})


def same(a: fm.walks.WalkResult, b: fm.walks.WalkResult) -> None:
    np.testing.assert_array_equal(a.visits, b.visits)
    np.testing.assert_array_equal(a.walker_visits.toarray(), b.walker_visits.toarray())
    assert a.acceptance == b.acceptance
    if a.paths is not None:
        np.testing.assert_array_equal(a.paths, b.paths)
