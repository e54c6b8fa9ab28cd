"""A small graph, walks on it, and what makes two of them one."""

from __future__ import annotations

from typing import Any

import numpy as np
from plans import planned

import fermiac as fm

CLIQUE = [[i, j] for i in range(5) for j in range(i)]
#: Two cliques of 5 with a path of 2 between them.
EDGES = np.array([*CLIQUE, *[[i + 7, j + 7] for i, j in CLIQUE], [4, 5], [5, 6], [6, 7]])
BARBELL = fm.walks.as_graph(EDGES)
BELOW = (np.arange(12) < 6).astype(float)
WEIGHTS = np.random.default_rng(3).uniform(0.5, 2.0, 12)


def walk(graph: Any = BARBELL, *args: Any, **how: Any) -> fm.walks.WalkResult:
    """Walk from the first step on, with a history unless another kernel is given."""
    given = {"n_steps": 500, "n_walkers": 16, "rng": 1, "burn_in": 0, **how}
    if not args:
        given.setdefault("kernel", "hdt")
    return fm.walks.walk(graph, *args, **planned(**given))


def same(a: fm.walks.WalkResult, b: fm.walks.WalkResult) -> None:
    np.testing.assert_array_equal(a.visits, b.visits)
    np.testing.assert_array_equal(a.walker_visits.toarray(), b.walker_visits.toarray())
    assert a.acceptance == b.acceptance
    if a.paths is not None:
        np.testing.assert_array_equal(a.paths, b.paths)


#: Walks of all kinds.
KERNELS: list[dict[str, Any]] = [
    {"kernel": "none", "base": "mhda"},
    {"kernel": "hdt", "base": "mhda", "weights": WEIGHTS},
    {"kernel": "hdt", "base": "mhrw", "step_exponent": 0.7},
    {"kernel": "srrw", "base": "srw"},
    {"kernel": "srrw", "base": "mhrw", "step_exponent": 0.8, "alpha": ("linear", 0, 5, 300)},
    {"kernel": "tsaw", "base": "mhrw"},
    {"kernel": "none", "base": "nbrw"},
    {"kernel": "hdt", "base": fm.walks.MTM(3, "sqrt"), "weights": WEIGHTS},
    {"kernel": "none", "base": fm.walks.Node2Vec(0.5, 2.0), "restart": 0.1},
    {"kernel": "rotor", "base": "srw"},
    {"kernel": "hdt", "base": "mhrw", "history": "shared_sync"},
    {"kernel": "srrw", "base": "srw", "history": "shared_sync", "step_exponent": 0.8},
    {"kernel": "hdt", "base": "mhrw", "memory_size": 4},
]


def named(how: dict[str, Any]) -> str:
    return "-".join(str(v) for v in how.values() if isinstance(v, str | int))
