"""Tests of the warnings of runs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from benches.nested.problems import problem
from forms import formula
from nested_runs import run
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ConvergenceWarning, FermiacWarning
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


@pytest.mark.filterwarnings("ignore:chains ")
def test_a_bound_that_hardly_bounds() -> None:
    """It is told of, but not where it was left for chains."""
    for sampler, told in (("unif", 1), ("slice", 0)):
        r = run(sampler=sampler)
        state = {"radius_scale": 4.25, "n_coded": 0, "n_nan": 0}
        found = [text for _, text in findings(r, state, None) if "the bound had to be" in text]
        assert len(found) == told
        assert all("4.2 times as wide" in text and "raise n_live" in text for text in found)


def test_warnings_that_are_errors_cost_nothing() -> None:
    with pytest.raises(ConvergenceWarning, match="max_evals") as caught:
        run(max_evals=100)
    assert caught.value.partial_result.status == "stopped"  # type: ignore[attr-defined]


SAMPLER = fm.nested.Uniform(importance=True)


def second_of(result: fm.nested.NestedResult) -> fm.nested.ImportanceEvidence:
    assert result.importance is not None
    return result.importance


def test_two_evidences_that_differ_are_warned_of() -> None:
    r = run(sampler=SAMPLER)
    state = {"radius_scale": 1.0, "n_coded": 0, "n_nan": 0}
    error = math.hypot(r.log_evidence_stderr, second_of(r).log_evidence_stderr)
    for by, warned in ((3.9, False), (-4.1, True), (4.1, True)):
        other = replace(second_of(r), log_evidence=r.log_evidence + by * error)
        found = findings(replace(r, importance=other), state, None)
        assert [kind for kind, text in found if "all points together" in text] == (
            [ConvergenceWarning] if warned else []
        )


def test_chains_that_are_too_short_are_told_of() -> None:
    p = problem("gauss20")
    for sampler in (fm.nested.Slice(n_slices=1), fm.nested.RandomWalk(n_steps=4)):
        with pytest.warns(ConvergenceWarning, match="chains |random ranks|families ") as caught:
            r = fm.nested.sample(p.values, p.prior, rng=0, n_live=100, sampler=sampler)
        assert r.converged
        assert len(r.warnings) == len(caught)
