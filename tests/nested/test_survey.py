"""Tests of the survey of the first draws, which finds modes that have lost their live points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm

DIM = 4
CUBE = fm.distributions.Uniform(np.zeros(DIM), np.ones(DIM))
WIDE, NARROW = np.full(DIM, 0.65), np.array([0.2, 0.8, 0.3, 0.7])


def two_modes(x: NDArray[Any]) -> NDArray[Any]:
    """The log-density of two normal laws of equal mass; the basin of one is 0.3 % of the cube."""
    parts = [
        -0.5 * ((x - at) ** 2).sum(axis=1) / sd**2 - DIM * np.log(sd * np.sqrt(2 * np.pi))
        for at, sd in ((WIDE, 0.06), (NARROW, 0.014))
    ]
    out: NDArray[Any] = np.logaddexp(*parts) - np.log(2)
    return out


def run(seed: int, **given: Any) -> fm.nested.NestedResult:
    return fm.nested.sample(two_modes, CUBE, rng=seed, plan=fm.Plan(n_threads=1), **given)


@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")
@pytest.mark.parametrize(("bound", "n", "n_right"), [("multi", 20, 17), ("friends", 12, 10)])
def test_a_narrow_mode_is_found(bound: str, n: int, n_right: int) -> None:
    """With the survey 2 of 20 and 1 of 12 runs miss half of the evidence, without it 7 and 6."""
    runs = [run(seed, bound=bound) for seed in range(n)]
    errors = np.array([r.log_evidence for r in runs])
    pulls = errors / [r.log_evidence_stderr for r in runs]
    right = np.abs(errors) < 0.1
    assert right.sum() >= n_right, errors
    assert np.abs(pulls[right]).max() < 5
    for r in (r for r, is_right in zip(runs, right, strict=True) if is_right and not r.warnings):
        near = np.abs(r.draws - NARROW).max(axis=1) < 0.1
        share = float(r.weights[near].sum())
        assert 0.2 < share < 0.8, share


@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")
def test_slices_find_modes_that_they_lost() -> None:
    """Chains keep the narrow mode in few of these runs; a search at their end finds it."""
    runs = [run(seed, sampler="slice", n_live=200, dlogz=0.1) for seed in range(12)]
    errors = np.array([r.log_evidence for r in runs])
    pulls = errors / [r.log_evidence_stderr for r in runs]
    right = np.abs(errors) < 0.1
    assert right.sum() >= 10, errors
    assert np.abs(pulls[right]).max() < 5
    n_lost = 0
    for r in runs:
        assert r.importance is not None
        near, also = (
            np.abs(x - NARROW).max(axis=1) < 0.1 for x in (r.draws, r.importance.sample.draws)
        )
        lacks = float(r.importance.sample.weights[also].sum() - r.weights[near].sum())
        is_said = any("chains have lost modes" in str(w) for w in r.warnings)
        n_lost += is_said
        if is_said:
            assert abs(r.importance.lost_share - lacks) < 0.05
        else:
            assert lacks < 0.3, lacks
    assert n_lost >= 5


@pytest.mark.parametrize("periodic", [(), tuple(range(DIM))])
def test_one_mode_costs_few_calls_and_changes_nothing(periodic: tuple[int, ...]) -> None:
    def one_mode(x: NDArray[Any]) -> NDArray[Any]:
        out: NDArray[Any] = 40 * np.cos(2 * np.pi * (x - 0.3)).sum(axis=1)
        return out

    kinds: dict[str, Any] = {"n_live": 200, "rng": 1, "periodic": periodic, "dlogz": 0.1}
    with_survey = fm.nested.sample(one_mode, CUBE, sampler="unif", **kinds)
    # Runs that do not keep their points have no survey.
    plain = fm.nested.Uniform(importance=False)
    without = fm.nested.sample(one_mode, CUBE, sampler=plain, **kinds)
    assert np.array_equal(with_survey.draws, without.draws)


@pytest.mark.filterwarnings("ignore:the run ended by max_iter")
def test_very_many_modes_take_a_bounded_number_of_calls() -> None:
    """Noise in place of a likelihood has a mode near every point."""
    calls: list[int] = []

    def noise(x: NDArray[Any]) -> NDArray[Any]:
        calls.append(len(x))
        out: NDArray[Any] = 5 * np.sin(1e6 * x.sum(axis=1))
        return out

    r = fm.nested.sample(noise, CUBE, n_live=50, rng=2, sampler="unif", check=False, max_iter=40)
    assert r.n_evals == sum(calls)
    second = r.importance
    assert second is not None
    assert 0 < r.n_evals - second.n_evals <= 18 * 50
