"""Visits of walkers, which are collected when they are first needed."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac import _core
from fermiac.walks import run
from fermiac.walks.visits import LateArrays, Visits

GRAPH = fm.walks.graphs.barabasi_albert(300, 3, rng=0)


def walk(**settings: Any) -> fm.walks.WalkResult:
    how: dict[str, Any] = {"kernel": "srrw", "n_steps": 400, "n_walkers": 12, "rng": 2}
    return fm.walks.walk(GRAPH, **{**how, **settings})


def test_late_arrays_are_made_once() -> None:
    calls = []

    def make() -> Mapping[str, Any]:
        calls.append(1)
        return {"a": np.arange(3), "b": np.ones(2)}

    late = LateArrays(("a", "b"), make)
    assert "a" in late
    assert "c" not in late
    assert len(late) == 2
    assert list(late) == ["a", "b"]
    assert not calls
    with pytest.raises(KeyError):
        late["c"]
    assert not calls
    assert late["a"].tolist() == [0, 1, 2]
    assert late["b"].sum() == 2
    for other in (pickle.loads(pickle.dumps(late)), copy.deepcopy(late)):
        assert type(other) is dict
        assert other["a"].tolist() == [0, 1, 2]
    assert calls == [1]


@pytest.mark.parametrize("part", [None, (0, 1)])
@pytest.mark.parametrize("burn_in", [0, 150])
def test_rows_are_collected_when_they_are_needed(
    burn_in: int, part: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    collect = run.state_of

    def counted(walkers: Any) -> Any:
        calls.append(1)
        return collect(walkers)

    monkeypatch.setattr(run, "state_of", counted)
    w = walk(burn_in=burn_in, plan=fm.Plan(part=part))
    # The visits of a burn-in are those of walkers that go on.
    before = 1 if burn_in else 0
    total = w.visits
    assert total.sum() == 12 * (400 - burn_in)
    assert len(calls) == before
    rows = w.walker_visits
    assert len(calls) == before + 1
    np.testing.assert_array_equal(rows.sum(axis=0), total)
    np.testing.assert_array_equal(rows.sum(axis=1), 400 - burn_in)
    with pytest.warns(fm.errors.ConvergenceWarning, match="not settled"):
        assert w.expect(GRAPH.degrees).stderr > 0.0
    assert len(calls) == before + 1


@pytest.mark.parametrize("burn_in", [0, 150])
def test_results_are_saved_pickled_and_extended_before_rows_are_read(
    burn_in: int, tmp_path: Path
) -> None:
    expected = walk(burn_in=burn_in).walker_visits.toarray()
    path = tmp_path / "walk"
    walk(burn_in=burn_in).save(path)
    for other in (
        fm.load(path),
        pickle.loads(pickle.dumps(walk(burn_in=burn_in))),
        copy.deepcopy(walk(burn_in=burn_in)),
    ):
        np.testing.assert_array_equal(other.walker_visits.toarray(), expected)
        np.testing.assert_array_equal(other.visits, expected.sum(axis=0))
    longer = fm.walks.extend(walk(burn_in=burn_in), 100)
    once = walk(burn_in=burn_in, n_steps=500)
    np.testing.assert_array_equal(longer.walker_visits.toarray(), once.walker_visits.toarray())


def test_walks_that_share_a_graph_share_the_degrees_of_neighbours() -> None:
    other = fm.walks.Graph.from_csr(GRAPH.indptr, GRAPH.indices)
    first, again = walk(), walk()
    fresh = fm.walks.walk(other, "srrw", n_steps=400, n_walkers=12, rng=2)
    np.testing.assert_array_equal(first.visits, again.visits)
    np.testing.assert_array_equal(first.visits, fresh.visits)


def test_pseudo_counts_in_proportion_to_degrees_are_recognised() -> None:
    counts = GRAPH.degrees * (300 / GRAPH.degrees.sum())
    given = walk(base="srw", pseudo_counts=counts)
    named = walk(base="srw", pseudo_counts="degree")
    np.testing.assert_array_equal(given.visits, named.visits)


@pytest.mark.parametrize(("kernel", "base"), [("none", "srw"), ("hdt", "mhrw"), ("srrw", "mhrw")])
@pytest.mark.parametrize("burn_in", [0, 100])
@pytest.mark.parametrize("n_nodes", [300, 4000])
def test_visits_are_those_of_paths(n_nodes: int, burn_in: int, kernel: str, base: str) -> None:
    # Of 4000 nodes, short walks have logs; of 300, tables.
    graph = fm.walks.graphs.random_regular(n_nodes, 6, rng=1)
    how: dict[str, Any] = {"n_walkers": 12, "n_steps": 700, "burn_in": burn_in, "rng": 2}
    counted, paths = (
        fm.walks.walk(graph, kernel, base, record=record, **how) for record in ("visits", "path")
    )
    np.testing.assert_array_equal(counted.visits, paths.visits)
    np.testing.assert_array_equal(counted.draws[:, 0], np.flatnonzero(paths.visits))
    np.testing.assert_allclose(np.exp(counted.log_weights), paths.visits[counted.visited])
    marks = counted._marks
    assert marks is not None
    assert marks["steps"].tolist() == [256, 512]
    for step, totals in zip(marks["steps"], marks["totals"], strict=True):
        early = np.bincount(paths.paths[:, :step].reshape(-1), minlength=n_nodes)
        np.testing.assert_array_equal(totals, early)
    difference = counted.walker_visits - paths.walker_visits
    assert abs(difference).sum() == 0
    # After the visits of each walker, from which sums follow as well.
    again = fm.walks.walk(graph, kernel, base, **how)
    assert again.walker_visits.sum() == 12 * (700 - burn_in)
    np.testing.assert_array_equal(again.visits, counted.visits)


def test_results_are_made_and_copied_before_their_draws_are_read() -> None:
    w = walk()
    copied = copy.deepcopy(w)
    np.testing.assert_array_equal(copied.draws, w.draws)
    np.testing.assert_array_equal(copied.log_weights, w.log_weights)
    assert w.draws is w.draws
    paths = walk(record="path")
    assert paths.log_weights is None
    assert paths.draws.shape == (*paths.paths.shape, 1)


@pytest.mark.parametrize(("kernel", "base"), [("none", "srw"), ("hdt", "mhrw")])
def test_visits_of_a_burn_in_are_collected_from_logs(
    kernel: str, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = fm.walks.graphs.random_regular(4000, 6, rng=1)
    how: dict[str, Any] = {"n_walkers": 12, "burn_in": 300, "rng": 2}
    calls = []
    collect = _core.walkers_visited

    def counted(*given: Any) -> Any:
        calls.append(given[1:])
        return collect(*given)

    monkeypatch.setattr(_core, "walkers_visited", counted)
    w = fm.walks.walk(graph, kernel, base, n_steps=700, **how)
    assert w.visits.sum() == 12 * 400
    assert not calls
    burned = w._burned
    assert burned is not None
    assert calls == [(300,)]
    paths = fm.walks.walk(
        graph, kernel, base, n_steps=700, record="path", **{**how, "burn_in": 0}
    ).paths
    early = Visits.of_paths(paths[:, :300], 4000)
    np.testing.assert_array_equal(burned.matrix().toarray(), early.matrix().toarray())
    assert w._burned is burned
    # Beyond the steps of a log: at the end of the burn-in, and in a walk that goes on.
    longer = fm.walks.walk(graph, kernel, base, n_steps=1100, **how)
    again = fm.walks.extend(w, 400)
    np.testing.assert_array_equal(again.visits, longer.visits)
    np.testing.assert_array_equal(again.walker_visits.toarray(), longer.walker_visits.toarray())
