"""Tests of the warnings of runs."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from benches.nested.problems import problem
from forms import formula
from nested_runs import run
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ConvergenceWarning, FermiacWarning, WeightWarning
from fermiac.nested.checks import findings

Array = NDArray[np.float64]


def test_numbers_that_stand_for_impossible() -> None:
    def values(x: Array) -> Array:
        return np.where(x[:, 0] < 0, -1e300, formula(x))

    with pytest.warns(FermiacWarning, match=r"below -1e200 at \d+ points.*give -inf instead"):
        r = run(values, sampler="unif")
    # A plateau like any other: its points die at first, and the run goes on.
    expected = run(lambda x: np.where(x[:, 0] < 0, -np.inf, formula(x)), n_live=200)
    assert r.status == "complete"
    error = np.hypot(r.log_evidence_stderr, expected.log_evidence_stderr)
    assert abs(r.log_evidence - expected.log_evidence) < 5 * error


@pytest.mark.filterwarnings("ignore:the bound had to be made:fermiac.errors.ConvergenceWarning")
def test_a_bound_that_hardly_bounds() -> None:
    """A run that could not leave it is warned; one that kept it since it is cheap is not."""
    p = problem("shells2")
    unif, auto = (
        fm.nested.sample(p.values, p.prior, rng=1006, sampler=sampler)
        for sampler in ("unif", "auto")
    )
    np.testing.assert_array_equal(unif.draws, auto.draws)
    assert len(unif.warnings) == 1
    assert re.search(r"3\.\d times as wide as its points .*='auto' or 'slice'", unif.warnings[0])
    assert not auto.warnings


def told_of_a_cut(result: fm.nested.NestedResult) -> bool:
    state = {"radius_scale": 1.0, "n_coded": 0, "n_nan": 0, "short": "a run with a warning"}
    found = [kind for kind, text in findings(result, state, None) if "the bound cuts" in text]
    assert found in ([], [ConvergenceWarning])
    return bool(found)


FUNNEL = fm.distributions.Uniform([-9.0] + [-20.0] * 6, [9.0] + [20.0] * 6)


@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")
@pytest.mark.parametrize("seed", range(4))
def test_a_bound_that_cuts_off_the_neck_of_a_funnel(seed: int) -> None:
    r = fm.nested.sample(fm.targets.funnel(7), FUNNEL, rng=seed)
    assert told_of_a_cut(r)
    (text,) = (text for text in r.warnings if "the bound cuts off" in text)
    assert "sampler='slice'" in text
    assert "enlarge=" in text
    # At next to no cost, counted in.
    assert 0.01 < r.trace["probes"].sum() / r.n_evals < 0.025
    assert "log Z rests on points outside" in text
    # What it names helps.
    wide = fm.nested.sample(
        fm.targets.funnel(7), FUNNEL, rng=seed, sampler=fm.nested.Uniform(enlarge=3)
    )
    assert wide.trace["missed"].sum() < 0.5 * r.trace["missed"].sum()


@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")
@pytest.mark.parametrize("name", ["gauss5", "eggbox", "shells2", "rosenbrock2"])
def test_a_bound_that_holds_all(name: str) -> None:
    p = problem(name)
    for seed in range(4):
        r = fm.nested.sample(p.values, p.prior, rng=seed, n_live=200)
        assert r.trace["probes"].sum() > 0
        assert not told_of_a_cut(r)


def test_points_outside_of_the_bound_are_compared_with_chance() -> None:
    r = run(n_live=100, sampler="unif")
    n = len(r.trace["probes"])
    assert n > 12

    def with_missed(n_batches: int, each: float, expected: float) -> bool:
        missed = np.where(np.arange(n) < n_batches, each, 0.0)
        trace = {**r.trace, "missed": missed, "expected": np.full(n, expected / n)}
        return told_of_a_cut(replace(r, trace=trace))

    assert not with_missed(0, 0.0, 100.0)
    assert with_missed(5, 1.0, 100.0)
    # By chance; three of them; many of three batches, of which one bound may have left out all.
    assert not with_missed(5, 1.0, 1000.0)
    assert not with_missed(3, 1.0, 0.01)
    assert not with_missed(3, 6.0, 0.01)
    # Runs of chains have none, and neither do results without a trace.
    assert not told_of_a_cut(replace(r, trace={}))


def test_the_test_of_the_bound_changes_no_bit() -> None:
    """The points of a run are those without the probes: they are outside of every sum."""
    seen: list[Array] = []

    def values(x: Array) -> Array:
        seen.append(x.copy())
        return formula(x)

    sampler = fm.nested.Uniform(importance=False)
    r = run(values, n_live=100, sampler=sampler, dlogz=0.01)
    probes = int(r.trace["probes"].sum())
    assert probes >= 32
    assert sum(len(x) for x in seen) == r.n_evals
    # They are batches of their own, none of whose points is a point of the run.
    alone = [x for x in seen if len(x) == 16]
    assert len(alone) * 16 == probes
    kept = {row.tobytes() for row in r.draws}
    assert not any(row.tobytes() in kept for x in alone for row in x)


def test_warnings_that_are_errors_cost_nothing() -> None:
    with pytest.raises(ConvergenceWarning, match="max_evals") as caught:
        run(max_evals=100)
    assert caught.value.partial_result.status == "stopped"  # type: ignore[attr-defined]


def second_of(result: fm.nested.NestedResult) -> fm.nested.ImportanceEvidence:
    assert result.importance is not None
    return result.importance


def test_two_evidences_that_differ_are_warned_of() -> None:
    r = run(n_live=100)
    state = {"radius_scale": 1.0, "n_coded": 0, "n_nan": 0, "short": "a run with a warning"}
    error = math.hypot(r.log_evidence_volumes_stderr, second_of(r).log_evidence_stderr)
    for by, kinds in ((3.9, []), (-4.1, [WeightWarning]), (4.1, [ConvergenceWarning])):
        log_z = r.log_evidence_volumes + by * error
        # The test points agree with it.
        other = replace(second_of(r), log_evidence=log_z, log_evidence_tests=log_z)
        found = findings(replace(r, importance=other), state, None)
        assert [kind for kind, text in found if "all points" in text] == kinds


def test_chains_that_are_too_short_are_told_of() -> None:
    p = problem("gauss20")
    for sampler in (fm.nested.Slice(n_slices=1), fm.nested.RandomWalk(n_steps=4)):
        with pytest.warns(
            ConvergenceWarning, match="chains |ranks of new points|families "
        ) as caught:
            r = fm.nested.sample(p.values, p.prior, rng=0, n_live=100, sampler=sampler)
        assert not r.converged
        assert len(r.warnings) == len(caught)


def test_chains_of_the_last_batches_are_not_told_of() -> None:
    """A run changes to slices after 99.8 % of the posterior, and cannot lengthen them any more."""
    p = problem("shells2")
    r = fm.nested.sample(p.values, p.prior, rng=1002, bound="friends")
    chained = np.isfinite(r.trace["correlation"])
    assert 1 <= chained.sum() <= 3
    assert r.trace["correlation"][chained].max() > 0.6
    assert r.weights[r.births >= r.trace["level"][chained].min()].sum() < 0.01
    assert not r.warnings
