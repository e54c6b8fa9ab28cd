"""Nested sampling of problems with known evidences: every sampler, every bound, every edge."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special, stats

import fermiac as fm
from fermiac.errors import ConvergenceWarning
from nested_problem import Problem
from nested_problems import problem

Array = NDArray[np.float64]
Runs = Sequence[fm.nested.Nested]
N_SEEDS = 12
SHORT = "ignore:chains are too short:fermiac.errors.ConvergenceWarning"


def box(dim: int, low: float = 0.0, high: float = 1.0) -> Any:
    return fm.distributions.Uniform([low] * dim, [high] * dim)


def runs_of(f: Callable[[Array], Any], prior: Any, n: int = N_SEEDS, **how: Any) -> Runs:
    return [
        fm.nested.sample(f, prior, **{"n_live": 100, "n_threads": 1, **how}, rng=seed)
        for seed in range(n)
    ]


def of_problem(p: Problem, **how: Any) -> Runs:
    return runs_of(p.values, p.prior, **{"periodic": p.periodic, **how})


def check(runs: Runs, exact: float, means: Any = None, status: str = "complete") -> None:
    """Evidences without bias and within their errors; means of the posterior without bias."""
    z = np.array([(r.log_evidence - exact) / r.log_evidence_stderr for r in runs])
    assert abs(z.mean()) < 1.0, z
    assert np.abs(z).max() < 5, z
    assert {r.status for r in runs} == {status}
    assert all(r.converged for r in runs)
    if means is not None:
        found = np.array([r._weights() @ r.draws for r in runs])
        error = found.std(axis=0, ddof=1) / math.sqrt(len(runs))
        assert np.abs((found.mean(axis=0) - means) / error).max() < 5, found


def check_errors(runs: Runs, means: Any) -> None:
    """The errors of posterior means are those that they say."""
    found = [r.expect(lambda x: x) for r in runs]
    apart = np.array([(e.mean - means) / e.stderr for e in found])
    assert np.abs(apart).max() < 6, apart
    assert np.abs(apart.mean(axis=0)).max() < 4 / math.sqrt(len(runs)), apart.mean(axis=0)
    assert 0.6 < apart.std() < 1.6, apart.std()


CASES: list[tuple[str, dict[str, Any]]] = [
    *[("gauss5", {"sampler": "unif", "bound": b}) for b in ("single", "multi", "friends")],
    *[("gauss5", {"sampler": "slice", "bound": b}) for b in ("none", "multi")],
    *[("gauss5", {"sampler": "rwalk", "bound": b}) for b in ("single", "friends")],
    ("gauss5", {"sampler": "auto", "batch": 1}),
    ("gauss5", {"sampler": "auto", "batch": 50}),
    ("shells2", {"sampler": "unif", "bound": "none"}),
    ("wedding_cake", {"sampler": "unif"}),
    ("wedding_cake", {"sampler": "unif", "bound": "none", "batch": 50}),
    ("wedding_cake", {"sampler": "slice"}),
    ("wedding_cake", {"sampler": "rwalk"}),
    ("ordered", {"sampler": "auto"}),
    ("ordered", {"sampler": "slice", "batch": 40}),
    ("ordered", {"sampler": "rwalk", "bound": "none"}),
    ("von_mises", {"sampler": "unif"}),
    ("von_mises", {"sampler": "unif", "bound": "friends"}),
    ("von_mises", {"sampler": "slice"}),
    ("von_mises", {"sampler": "rwalk"}),
]
#: With several modes, between which chains do not go.
MODES: list[tuple[str, dict[str, Any]]] = [
    ("eggbox", {"sampler": "unif", "bound": "multi", "n_live": 300}),
    ("eggbox", {"sampler": "unif", "bound": "friends", "n_live": 300}),
    ("eggbox", {"sampler": "slice"}),
    ("eggbox", {"sampler": "auto", "n_live": 200}),
    *[("shells2", {"sampler": "unif", "bound": b}) for b in ("single", "multi", "friends")],
    ("shells2", {"sampler": "slice", "bound": "friends"}),
    ("shells2", {"sampler": "rwalk"}),
]


def named(cases: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    return [pytest.param(n, h, id="-".join(map(str, [n, *h.values()]))) for n, h in cases]


@pytest.mark.parametrize(("name", "how"), named(CASES))
def test_known_evidences(name: str, how: dict[str, Any]) -> None:
    p = problem(name)
    runs = of_problem(p, **how)
    check(runs, p.log_evidence, p.means)
    check_errors(runs, p.means)


# Chains that end near their starts are told of on thin shells, where few live points lie apart.
@pytest.mark.filterwarnings(SHORT)
@pytest.mark.parametrize(("name", "how"), named(MODES))
def test_several_modes(name: str, how: dict[str, Any]) -> None:
    p = problem(name)
    runs = of_problem(p, **how)
    check(runs, p.log_evidence, p.means)
    if how["sampler"] == "unif":
        check_errors(runs, p.means)


@pytest.mark.parametrize("how", [{"n_live": 50}, {"n_live": 64, "batch": 1}, {"batch": 40}], ids=str)
def test_the_error_is_that_of_many_runs(how: dict[str, Any]) -> None:
    """Bias and scatter over sixty runs, with a bound and with chains."""
    law = fm.distributions.Normal([0.3, -0.2, 0.0], [0.5, 0.4, 1.0])
    for sampler in ("unif", fm.nested.Slice(n_slices=12)):
        runs = runs_of(law, box(3, -10.0, 10.0), 60, **{"n_live": 80, **how, "sampler": sampler})
        z = np.array([(r.log_evidence + 3 * math.log(20)) / r.log_evidence_stderr for r in runs])
        assert abs(z.mean()) < 5 / math.sqrt(60), z.mean()
        assert 0.65 < z.std() < 1.5, z.std()
        ranks = np.array([r.rank_z for r in runs])
        assert abs(ranks.mean()) < 5 / math.sqrt(60), ranks.mean()
        assert 0.65 < ranks.std() < 1.5, ranks.std()
