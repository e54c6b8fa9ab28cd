"""Walkers of one call on workers, as parts, and from a store: the bits of the call in one piece."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from executor_help import spawned
from plans import planned

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError, FermiacWarning

GRAPH = fm.walks.graphs.grid([12, 12])
VALUES = np.arange(144.0)
CALL: dict[str, Any] = {"n_steps": 1500, "n_walkers": 44, "rng": 3, "f": VALUES}

CALLS: list[dict[str, Any]] = [
    {},
    {"kernel": "hdt", "weights": "degree"},
    {"kernel": "none", "record": "path", "thin": 3},
    {"kernel": "none", "record": "none"},
    {"kernel": "rotor"},
    {"kernel": "tsaw", "init": 7},
    {"kernel": "hdt", "memory_size": 50, "init": list(range(44))},
    {"kernel": "hdt", "step_exponent": 0.8},
]


def walk(**given: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FermiacWarning)
        return fm.walks.walk(given.pop("graph", GRAPH), **{**CALL, **given})


def merge(parts: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FermiacWarning)
        return fm.merge(parts)


def averages(w: Any) -> tuple[Any, ...]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        e = w.expect() if w._f is not None or w.record == "none" else w.expect(VALUES)
    return e.mean, e.stderr, [str(one.message) for one in found]


def assert_same(a: Any, b: Any) -> None:
    for name in ("positions", "paths", "_sums", "draws", "log_weights"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), name)
    for name in ("acceptance", "n_walkers", "kernel", "burn_in", "settling", "warnings"):
        assert getattr(a, name) == getattr(b, name), name
    if a.record != "none":
        for name in ("indptr", "nodes", "counts"):
            np.testing.assert_array_equal(getattr(a._visits, name), getattr(b._visits, name))
    assert (a._marks is None) == (b._marks is None)
    for name in a._marks or {}:
        np.testing.assert_array_equal(a._marks[name], b._marks[name])
    assert averages(a) == averages(b)


@pytest.mark.parametrize("given", CALLS, ids=lambda given: str(given))
def test_parts_workers_and_a_store_give_the_bits_of_the_call(
    given: dict[str, Any], tmp_path: Path
) -> None:
    whole = walk(**given)
    for n in (1, 2, 6):
        parts = [walk(**given, plan=fm.Plan(part=(i, n))) for i in range(n)]
        assert_same(merge(parts[::-1]), whole)
    # Merges of merges, with gaps that others fill.
    pairs = [merge([parts[i], parts[j]]) for i, j in ((0, 4), (5, 2), (1, 3))]
    assert_same(merge(pairs), whole)
    with ThreadPoolExecutor(2) as executor:
        assert_same(walk(**given, plan=executor), whole)
    for i in range(2):
        walk(**given, plan=fm.Plan(store=tmp_path, part=(i, 3)))
    there = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with pytest.warns(FermiacWarning, match="12 of 44 walkers are missing: 32 to 43"):
        fm.merge(tmp_path)
    assert_same(walk(**given, plan=fm.Plan(store=tmp_path)), whole)
    assert all(path.stat().st_mtime_ns == at for path, at in there.items())
    assert len(list(tmp_path.iterdir())) == 6
    assert_same(merge(tmp_path), whole)


def test_a_store_of_one_process_has_a_state(tmp_path: Path) -> None:
    given = {"kernel": "hdt", "burn_in": 100}
    half = walk(**given, n_steps=200, plan=fm.Plan(store=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]
    assert_same(half, walk(**given, n_steps=200))
    with pytest.raises(ArgumentError, match="the same call with this store gives its result"):
        fm.merge(tmp_path)
    # It ends as it has begun, whatever its executor.
    with ThreadPoolExecutor(2) as executor:
        kept = fm.Plan(store=tmp_path, executor=executor)
        assert_same(walk(**given, n_steps=300, plan=kept), walk(**given, n_steps=300))
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]


def test_processes_and_a_graph_by_its_path(tmp_path: Path) -> None:
    GRAPH.save(tmp_path / "graph.csr")
    with spawned(2) as executor:
        there = walk(graph=tmp_path / "graph.csr", plan=executor)
        assert_same(walk(plan=executor, f=VALUES), walk())
    assert_same(there, walk())


def test_later_walkers() -> None:
    given = {"kernel": "hdt", "burn_in": 100}
    whole = walk(**given, n_walkers=24)
    first, second = walk(**given, n_walkers=8), walk(**given, n_walkers=16, first_walker=8)
    np.testing.assert_array_equal(second.positions, whole.positions[8:])
    with pytest.raises(ArgumentError, match="both hold walker 8"):
        second.merge(whole)
    both = second.merge(first, walk(**given, rng=3, n_walkers=8, first_walker=24))
    np.testing.assert_array_equal(both.positions[:24], whole.positions)
    assert both.settings["n_walkers"] == 32


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"first_walker": 4}, "first_walker: 4 given; a multiple of 8 is needed"),
        ({"part": (0, 2), "history": "shared_sync", "kernel": "hdt"}, "history: given with part="),
        ({"part": (0, 2), "stop": fm.walks.StopAtStderr(stderr=0.1)}, "stop: given with part="),
        ({"part": (0, 2), "on_block": print}, "on_block: given with part="),
        ({"part": (0, 7)}, "the call has 6 units alone"),
        ({"part": (0, 2), "kernel": "saw", "f": None}, "self-avoiding walks"),
        ({"first_walker": 8, "kernel": "saw", "f": None, "record": "path"}, "first_walker"),
        ({"part": (0, 2), "store": "x", "rng": None}, "store: given without rng="),
    ],
)
def test_what_cannot_be_cut_is_refused(given: dict[str, Any], match: str) -> None:
    with pytest.raises(ArgumentError, match=match):
        walk(**planned(**given))


def test_another_graph_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    walk(plan=fm.Plan(store=tmp_path, part=(0, 3)))
    walk(plan=fm.Plan(store=tmp_path, part=(0, 3)), graph=fm.walks.graphs.grid([12, 12]))
    for other in ({"graph": fm.walks.graphs.grid([12, 13]), "f": None}, {"f": VALUES + 1.0}):
        with pytest.raises(CheckpointError, match="belongs to another call"):
            walk(plan=fm.Plan(store=tmp_path, part=(0, 3)), **other)
