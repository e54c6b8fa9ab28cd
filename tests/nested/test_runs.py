"""Several runs as one call: the same bits on workers, by parts, and from a store."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nested_targets as targets
import numpy as np
import pytest
from clock import until
from plans import planned

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError, ConvergenceWarning, FermiacWarning

PRIOR = fm.distributions.Uniform([-5.0, -5.0], [5.0, 5.0])
TRUTH = np.log(2 * np.pi / 100)


def runs(n: int = 6, likelihood: Any = targets.bowl, **given: Any) -> Any:
    return fm.nested.sample(likelihood, PRIOR, **{"n_live": 50, "runs": n, "rng": 3, **given})


def same(a: Any, b: Any) -> bool:
    names = ("draws", "log_weights", "births", "lineages", "families")
    numbers = ("log_evidence", "log_evidence_stderr", "n_evals", "rank_z", "seed", "n_live")
    return (
        all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)
        and all(getattr(a, name) == getattr(b, name) for name in numbers)
        and dict(a.settings) == dict(b.settings)
    )


@pytest.fixture(scope="module")
def whole() -> Any:
    return runs()


def test_the_merged_run(whole: Any) -> None:
    assert (whole.n_live, whole.seed) == (300, 3)
    assert abs(whole.log_evidence - TRUTH) < 5 * whole.log_evidence_stderr
    single = fm.nested.sample(targets.bowl, PRIOR, n_live=300, rng=3)
    by_masses = single.log_evidence_volumes_stderr
    assert whole.log_evidence_volumes_stderr == pytest.approx(by_masses, rel=0.3)
    # Bounds about few points fit less well.
    ratio = whole.log_evidence_stderr / single.log_evidence_stderr
    assert 0.7 < ratio < 2
    e = whole.expect(lambda x: x[:, 0] ** 2)
    assert abs(e.mean - 1) < 5 * e.stderr


def test_the_same_bits_on_workers(whole: Any) -> None:
    for n in (1, 2, 8):
        with ThreadPoolExecutor(n) as threads:
            assert same(runs(plan=threads), whole)
            assert same(runs(plan=fm.executor.Sharded(threads, rows=4)), whole)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        assert same(runs(plan=pool), whole)
        assert same(runs(6, fm.targets.factory("nested_targets:make_bowl"), plan=pool), whole)


@pytest.mark.parametrize("n", [1, 3, 6])
def test_the_same_bits_by_parts(whole: Any, n: int) -> None:
    parts = [runs(plan=fm.Plan(part=(i, n))) for i in range(n)]
    assert same(fm.merge(parts), whole)
    assert same(fm.merge(parts[::-1]), whole)
    if n > 2:
        assert same(parts[0].merge(parts[1].merge(*parts[2:])), whole)
        with pytest.raises(ArgumentError, match="both came from the seed"):
            fm.merge([*parts, parts[1]])


def test_the_same_bits_from_a_store(whole: Any, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with pytest.raises(KeyboardInterrupt) as caught:
        runs(plan=fm.Plan(store=store, progress=targets.interrupts_after(2)))
    assert caught.value.partial_result.status == "interrupted"  # type: ignore[attr-defined]
    there = {path.name: path.stat().st_mtime_ns for path in store.iterdir()}
    assert 0 < len(there) < 6
    with pytest.warns(FermiacWarning, match=r"of 6 runs are missing: [\d, ]+; the error"):
        assert fm.merge(store).n_live == 50 * len(there)
    with ThreadPoolExecutor(2) as threads:
        assert same(runs(plan=fm.Plan(executor=threads, store=store)), whole)
    # What was there is not made again.
    assert all((store / name).stat().st_mtime_ns == at for name, at in there.items())
    assert same(fm.merge(store), whole)
    before = {path.name: path.stat().st_mtime_ns for path in store.iterdir()}
    assert same(runs(plan=fm.Plan(store=store)), whole)
    assert before == {path.name: path.stat().st_mtime_ns for path in store.iterdir()}
    with pytest.raises(CheckpointError, match=r"belongs to another call \(its target"):
        runs(plan=fm.Plan(store=store), likelihood=targets.Counts())
    # Jobs of an array that share a store.
    for i in range(4):
        runs(plan=fm.Plan(store=tmp_path / "array", part=(i, 4)))
    assert same(fm.merge(tmp_path / "array"), whole)
    with pytest.raises(CheckpointError, match="belongs to another call"):
        runs(plan=fm.Plan(store=store), n_live=60)
    with pytest.raises(CheckpointError, match="belongs to another call"):
        runs(plan=fm.Plan(store=store), rng=4)


def test_later_runs(whole: Any) -> None:
    first, second = runs(n=2), runs(n=4, first_run=2)
    assert same(fm.merge([second, first]), whole)
    with pytest.raises(ArgumentError, match="both came from the seed"):
        runs(n=3).merge(second)
    with pytest.warns(FermiacWarning, match="1 of 6 runs are missing: 2;"):
        fm.merge([first, runs(n=3, first_run=3)])
    with pytest.raises(ArgumentError, match="first_run: given without runs="):
        runs(n=None, first_run=2)


def test_a_part_is_saved_and_loaded(whole: Any, tmp_path: Path) -> None:
    for i in range(2):
        runs(plan=fm.Plan(part=(i, 2))).save(tmp_path / f"{i}.safetensors")
    assert same(fm.merge(tmp_path), whole)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n": 0}, "runs"),
        ({"part": (6, 6)}, "part"),
        ({"part": (0, 7)}, "this part is empty"),
        ({"part": 3}, "a pair"),
        ({"part": (0.5, 2)}, "part"),
        ({"n": None, "part": (0, 2)}, "given without runs="),
        ({"surrogate": fm.nested.Surrogate()}, "surrogate: given with runs"),
        ({"validate": True}, "validate: given with runs"),
        ({"rng": None, "store": "x"}, "store: given without rng="),
        ({"rng": 0, "store": ""}, "store"),
        ({"executor": 3}, "executor"),
    ],
)
def test_hostile_arguments(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        runs(**planned(**given))


def test_a_handle_ends_a_run_in_the_middle() -> None:
    calls = 0

    def counted(x: Any) -> Any:
        nonlocal calls
        calls += 1
        return targets.slow_bowl(x)

    run = fm.start(
        fm.nested.sample, counted, PRIOR, n_live=50, runs=3, rng=0, plan=fm.Plan(n_threads=1)
    )
    until(lambda: calls > 5, "calls of the likelihood")
    assert run.inspect() is None
    assert run.abort() is None
    assert run.state == "aborted"
    assert calls < 50  # of some hundred


def test_warnings_are_given_once() -> None:
    with pytest.warns(ConvergenceWarning, match="3 of 3 runs gave warnings; the first: ") as seen:
        result = runs(3, max_iter=5)
    assert len(seen) == 1
    assert result.status == "stopped"
    assert seen[0].message.result is result  # type: ignore[union-attr]
