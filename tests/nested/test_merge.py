"""Tests of merging and splitting runs."""

from __future__ import annotations

from dataclasses import replace

import nested_reference as reference
import numpy as np
import pytest
from nested_help import result_of
from same_results import same

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.nested import NestedResult

GAUSSIAN = reference.gaussian(3, 0.1)
ARRAYS = (
    "draws unit_draws log_weights log_densities log_likelihoods births lineages families n_alive "
    "log_x log_prior_masses"
).split()


def assert_same_points(a: NestedResult, b: NestedResult) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def test_a_merged_run_is_the_union() -> None:
    a, b = result_of(GAUSSIAN, 1, 100, 10), result_of(GAUSSIAN, 2, 60, 6)
    both = a.merge(b)
    assert both.n_draws == a.n_draws + b.n_draws
    order = np.argsort(np.concatenate([a.log_likelihoods, b.log_likelihoods]), kind="stable")
    np.testing.assert_array_equal(both.draws, np.concatenate([a.draws, b.draws])[order])

    # At every level as many are alive as in both.
    def alive(run: NestedResult, level: float) -> int:
        return int(np.sum((run.births < level) & (run.log_likelihoods >= level)))

    for level in both.log_likelihoods[::97]:
        at = np.searchsorted(both.log_likelihoods, level)
        assert both.n_alive[at] == alive(a, level) + alive(b, level) == alive(both, level)
    # One run more: a smaller error.
    expected = 1 / np.sqrt(a.log_evidence_stderr**-2 + b.log_evidence_stderr**-2)
    assert both.log_evidence_stderr == pytest.approx(expected, rel=0.05)
    low, high = sorted((a.log_evidence, b.log_evidence))
    assert low < both.log_evidence < high
    assert np.unique(both.lineages).size == 160
    assert np.unique(both.families).size == 160
    assert set(both.lineages[np.isin(both.draws[:, 0], b.draws[:, 0])]) == set(range(100, 160))


def test_how_a_merged_run_came_about() -> None:
    a = result_of(GAUSSIAN, 1, names=("a", "b", "c"), warnings=("one",))
    b = result_of(
        GAUSSIAN, 2, names=("a", "b", "c"), status="stopped", converged=False, isa="other",
        warnings=("one", "two"), timings={"total": 1.0},
    )  # fmt: skip
    both = a.merge(b)
    assert (both.seed, both.settings["seeds"], both.settings["n_live"]) == (1, (1, 2), 200)
    assert both.n_evals == a.n_evals + b.n_evals
    assert (both.status, both.converged, both.isa) == ("stopped", False, "mixed")
    assert both.warnings == ("one", "two")
    assert both.wall_time == 1.0
    assert both.timings == {"total": 1.5}
    # Two normal numbers of 0.25.
    assert both.rank_z == pytest.approx(0.5 / np.sqrt(2))
    assert both.names == ("a", "b", "c")
    assert a.merge().log_evidence == a.log_evidence


def test_runs_that_do_not_fit() -> None:
    a, b = result_of(GAUSSIAN, 1), result_of(GAUSSIAN, 2)
    with pytest.raises(ArgumentError, match="the seed 1"):
        a.merge(result_of(GAUSSIAN, 1, 50))
    with pytest.raises(ArgumentError, match="share points"):
        a.merge(replace(a, seed=7, draws=a.draws + 1))
    with pytest.raises(ArgumentError, match="the same points"):
        a.merge(replace(a, seed=7, unit_draws=None))
    with pytest.raises(ArgumentError, match="the names of sample 1"):
        a.merge(result_of(GAUSSIAN, 2, names=("a", "b", "c")))
    with pytest.raises(ArgumentError, match="the coordinates of sample 1"):
        a.merge(result_of(reference.gaussian(2, 0.1), 2))
    with pytest.raises(ArgumentError, match="the error model of sample 1"):
        a.merge(fm.Sample.from_arrays(b.draws, b.log_weights, names=b.names, seed=2))
    with pytest.raises(ArgumentError, match="reweight the result"):
        a.merge(b.reweight(0.5 * b.log_likelihoods))
    with pytest.raises(ArgumentError, match="share points"):
        a.split(2, rng=0)[0].merge(a)


def test_reweighted_runs() -> None:
    a, b = result_of(GAUSSIAN, 1), result_of(GAUSSIAN, 2)
    first = a.merge(b).reweight(lambda x: -0.5 * np.sum(x**2, axis=1) / 0.15**2)
    each = [r.reweight(lambda x: -0.5 * np.sum(x**2, axis=1) / 0.15**2) for r in (a, b)]
    then = each[0].merge(each[1])
    assert_same_points(first, then)
    assert first.log_evidence == then.log_evidence


@pytest.mark.parametrize("problem", [GAUSSIAN, reference.terraces(), reference.half_forbidden()])
@pytest.mark.parametrize("k", [1, 2, 7])
def test_what_was_split_and_merged_is_the_run(problem: reference.Problem, k: int) -> None:
    run = result_of(problem, 3, 50, 7, trace={"level": np.arange(3.0)})
    parts = run.split(k, rng=5)
    assert len(parts) == k
    again = parts[-1].merge(*parts[:-1])
    assert_same_points(run, again)
    for name in ("seed", "settings", "n_evals", "rank_z", "trace", "log_evidence"):
        assert same(getattr(run, name), getattr(again, name)), name
    assert again.wall_time == pytest.approx(run.wall_time)


def test_parts_are_runs() -> None:
    run = result_of(GAUSSIAN, 3, 120, 1)
    parts = run.split(4, rng=5)
    for part in parts:
        assert np.unique(part.lineages).size == part.n_live == 30
        assert part.n_alive[: part.n_draws // 2].tolist() == [30] * (part.n_draws // 2)
        assert abs(part.log_evidence - GAUSSIAN.log_evidence) < 5 * part.log_evidence_stderr
        assert part.log_evidence_stderr == pytest.approx(2 * run.log_evidence_stderr, rel=0.2)
        assert part.seed is None
        assert np.isnan(part.rank_z)
    assert sum(part.n_draws for part in parts) == run.n_draws
    assert sum(part.n_evals for part in parts) == run.n_evals
    # Another deal with another key; the same with the same one.
    assert run.split(4, rng=5)[0].n_draws == parts[0].n_draws
    np.testing.assert_array_equal(run.split(4, rng=5)[2].draws, parts[2].draws)
    assert not np.array_equal(run.split(4, rng=6)[2].lineages, parts[2].lineages)


def test_parts_with_another_run() -> None:
    run, other = result_of(GAUSSIAN, 3, 60), result_of(GAUSSIAN, 4, 40)
    first, _, last = run.split(3, rng=0)
    some = other.merge(first, last)
    # Lineages of both parts stay apart, and so do those of the other run.
    assert np.unique(some.lineages).size == 40 + 20 + 20
    assert some.settings["n_live"] == 80
    assert "part_of" not in some.settings
    swapped = first.merge(other, last)
    assert np.unique(swapped.lineages).size == 80
    np.testing.assert_array_equal(some.log_x, swapped.log_x)


def test_points_are_dealt_with_their_blobs(tmp_path: object) -> None:
    raw = reference.perfect_run(GAUSSIAN, 30, 3, 0)
    raw["blobs"] = raw["draws"].sum(axis=1)[:, None]
    run = result_of(GAUSSIAN, 0, raw=raw)
    first, second = run.split(2, rng=0)
    both = second.merge(first)
    assert both.blobs is not None
    np.testing.assert_array_equal(both.blobs[:, 0], both.draws.sum(axis=1))
    first.save(f"{tmp_path}/part.safetensors")
    loaded = fm.load(f"{tmp_path}/part.safetensors")
    assert isinstance(loaded, NestedResult)
    assert_same_points(loaded.merge(second), run)
    without = replace(first, blobs=None)
    assert without.merge(second).blobs is None


@pytest.mark.parametrize("k", [0, 31])
def test_too_many_parts(k: int) -> None:
    with pytest.raises(ArgumentError, match=f"k: {k} was given"):
        result_of(GAUSSIAN, 0, 30).split(k)
