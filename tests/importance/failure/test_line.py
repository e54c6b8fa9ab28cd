"""Line sampling: flat boundaries, errors, thresholds, other failures, refusals."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from limit_states import BREITUNG, FOUR, PROBLEMS, Problem, half_space, normal
from scipy import stats

import fermiac as fm
from fermiac.errors import ArgumentError

quiet = pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")


def run(problem: Problem, n: int = 20_000, rng: int = 0, **settings: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fm.errors.FermiacWarning)
        return fm.importance.failure_probability(
            problem.g, problem.law, n, rng=rng, check=False, **settings
        )


def test_lines_are_exact_where_the_boundary_is_flat() -> None:
    for beta, dim in ((3, 10), (4, 100), (2, 1)):
        problem = half_space(beta, dim)
        p = run(problem, 10_000, 1, method="line")
        assert p.n_replicates == 16
        assert abs(p.mean / problem.probability - 1) < 1e-6
        assert p.stderr == pytest.approx(1e-6 * p.mean)


def test_the_errors_of_lines_hold() -> None:
    problem = PROBLEMS["paraboloid"]
    runs = [run(problem, 8000, seed, method="line") for seed in range(40)]
    pulls = np.array([(p.mean - problem.probability) / p.stderr for p in runs])
    assert 0.8 <= np.mean(np.abs(pulls) < 2) <= 1.0
    assert np.mean(pulls) < 0.6
    assert all(p.n_evals <= 8000 for p in runs)


def test_lines_with_several_thresholds() -> None:
    levels = [0.0, 0.5, -0.5]
    p = fm.importance.failure_probability(
        half_space(4, 5).g, normal(5), 10_000, thresholds=levels, method="line", rng=0
    )
    np.testing.assert_allclose(p.mean, stats.norm.sf(4 - np.array(levels)), rtol=2e-6)


@quiet
def test_lines_that_meet_other_failures_say_so() -> None:
    for problem in (FOUR, PROBLEMS["parabola"], PROBLEMS["sphere"], BREITUNG):
        for seed in range(4):
            p = run(problem, 20_000, seed, method="line")
            assert not p.converged
            assert p.warnings


def test_lines_need_one_column_and_give_no_sensitivities() -> None:
    with pytest.raises(ArgumentError, match="this method follows one"):
        fm.importance.failure_probability(
            lambda x: np.column_stack([3 - x[:, 0], 3 - x[:, 1]]), normal(2), 3000, method="line"
        )
    with pytest.raises(ArgumentError, match="sensitivities: given with method='line'"):
        run(half_space(3, 3), 3000, 0, method="line", sensitivities=True)
