"""Tests of errors by simulation and bootstrap against the scatter of runs."""

from __future__ import annotations

from typing import Any

import nested_reference as reference
import numpy as np
import pytest
from nested_help import result_of

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning
from fermiac.nested import NestedResult

GAUSSIAN = reference.gaussian(3, 0.1)


BY = ("lineage", "family")


@pytest.fixture(scope="module")
def run() -> NestedResult:
    return result_of(GAUSSIAN, 1, 200, 25, names=("a", "b", "c"))


@pytest.fixture(scope="module")
def runs() -> list[NestedResult]:
    return [result_of(GAUSSIAN, seed) for seed in range(100)]


def test_the_evidence_and_its_errors(runs: list[NestedResult]) -> None:
    off = np.array([r.log_evidence - GAUSSIAN.log_evidence for r in runs])
    told = np.array([r.log_evidence_stderr for r in runs])
    assert abs(off.mean()) < 5 * off.std() / 10
    # The scatter of 100 runs is known to 7 %.
    assert 0.75 < off.std() / np.sqrt(np.mean(told**2)) < 1.25
    assert np.mean(np.abs(off / told) < 2) >= 0.88
    simulated = runs[0].simulate(2000, rng=0)
    assert simulated.shape == (2000,)
    assert np.std(simulated) == pytest.approx(told[0], rel=0.08)
    assert abs(np.mean(simulated) - runs[0].log_evidence) < 0.5 * told[0]
    np.testing.assert_array_equal(runs[0].log_evidence_samples, runs[0].log_evidence_samples)
    assert np.std(runs[0].log_evidence_samples) == pytest.approx(told[0], rel=0.25)
    spread = [[np.std(r.bootstrap(200, by=by, rng=1)) for r in runs[:10]] for by in BY]
    # Lineages of exact draws scatter as runs do; so do families, whose points know no parents.
    for each in spread:
        assert np.mean(each) == pytest.approx(off.std(), rel=0.25)


def test_errors_of_averages_are_those_of_runs(runs: list[NestedResult]) -> None:
    """E x, E x² and the mean of the log-likelihood, which the prior masses alone decide."""
    truth = np.array([0.0, 0.01, -1.5])
    off, told = [], []
    for r in runs:
        values = np.column_stack([r.draws[:, 0], r.draws[:, 1] ** 2, r.log_likelihoods])
        e = r.expect(values)
        off.append(e.mean - truth)
        told.append(e.stderr)
        assert np.all(e.ess > 50)
    scores = np.array(off) / np.array(told)
    assert np.all(np.abs(scores.mean(axis=0)) < 0.5)
    assert np.all((scores.std(axis=0) > 0.75) & (scores.std(axis=0) < 1.3))
    assert np.all(np.mean(np.abs(scores) < 2, axis=0) >= 0.88)
    # Errors that go together: the covariance is that of runs.
    values = np.column_stack([runs[0].draws[:, 0], -2 * runs[0].draws[:, 0]])
    cov = np.asarray(runs[0].expect(values).cov)
    assert cov[0, 1] == pytest.approx(-2 * cov[0, 0], rel=1e-9)


def test_moments_and_quantiles_use_the_weights(runs: list[NestedResult]) -> None:
    scores = []
    for r in runs:
        assert np.all(np.abs(r.mean) < 0.03)
        np.testing.assert_allclose(np.diag(r.cov), 0.01, rtol=0.4)
        at, error = r.quantile([0.5, 0.841344746], return_stderr=True)
        scores.append(((at - [[0.0], [0.1]]) / error)[:, 0])
    assert np.all(np.mean(np.abs(scores) < np.array(2), axis=0) >= 0.85)
    assert np.all(np.abs(np.mean(scores, axis=0)) < 0.5)


def test_errors_repeat(run: NestedResult) -> None:
    def square(x: Any) -> Any:
        return x[:, 0] ** 2

    assert run.expect(square).stderr == run.expect(square, plan=fm.Plan(n_threads=2)).stderr
    with pytest.warns(fm.errors.ConvergenceWarning, match="are equal"):
        assert run.expect(np.full(run.n_draws, 3.0)).stderr == pytest.approx(0, abs=1e-12)


def test_controls(run: NestedResult) -> None:
    x = run.draws
    e = run.expect(x[:, 0] ** 2 + 0.5 * x[:, 1], controls=x[:, 1])
    plain = run.expect(x[:, 0] ** 2 + 0.5 * x[:, 1])
    alone = run.expect(x[:, 0] ** 2)
    assert e.stderr < 0.5 * plain.stderr
    assert e.stderr == pytest.approx(alone.stderr, rel=0.2)
    with pytest.warns(fm.errors.FermiacWarning, match="standard errors from zero"):
        run.expect(x[:, 0] ** 2 + x[:, 1], controls=x[:, 1] + 0.3)
    with pytest.raises(ArgumentError, match="needs the gradients"):
        run.expect(x[:, 0], controls="stein")


def test_few_lineages() -> None:
    few = result_of(GAUSSIAN, 0, 5, 1)
    with pytest.warns(ConvergenceWarning, match="5 lineages of live points are too few"):
        e = few.expect(lambda x: x[:, 0])
    assert 0.005 < e.stderr < 0.2
