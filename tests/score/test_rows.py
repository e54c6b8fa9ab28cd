"""Rows of a call as parts: the same bits by parts, on workers, and from a store."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nested_targets as targets
import numpy as np
import pytest
from plans import planned

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError, FermiacWarning

MODEL = fm.score.GaussianMixture([0.3, 0.7], [[-2.0, 0.0], [2.0, 1.0]], [0.04, 0.04])


def run(n: int = 3000, **given: Any) -> Any:
    return fm.score.sample(
        MODEL, n, **{"n_steps": 6, "sigma_range": (0.01, 50.0), "rng": 3, **given}
    )


@pytest.mark.parametrize("integrator", ["dpmpp_2m", "euler_ancestral", "heun"])
def test_the_same_bits_by_parts(integrator: str) -> None:
    whole = run(integrator=integrator)
    for n in (1, 3, 16):
        parts = [run(integrator=integrator, plan=fm.Plan(part=(i, n))) for i in range(n)]
        merged = fm.merge(parts[::-1])
        assert isinstance(merged, fm.score.Rows)
        np.testing.assert_array_equal(merged.array, whole)
        assert merged.blocks == ((0, 3000),)
    with pytest.warns(FermiacWarning, match="188 of 3000 rows are missing: 187 to 374"):
        fm.merge([*parts[:1], *parts[2:]])


def test_the_same_bits_on_workers_and_from_a_store(tmp_path: Path) -> None:
    whole = run()
    store = tmp_path / "store"
    with pytest.raises(KeyboardInterrupt) as caught:
        run(plan=fm.Plan(store=store, part=(0, 1), progress=targets.interrupts_after(20)))
    partial: Any = caught.value.partial_result  # type: ignore[attr-defined]
    assert partial.status == "interrupted"
    np.testing.assert_array_equal(partial.array, whole[: len(partial.array)])
    there = len(list(store.iterdir()))
    assert 0 < there < 188
    with ThreadPoolExecutor(2) as threads:
        # Of blocks too the whole call makes its usual result.
        again = run(plan=fm.Plan(executor=threads, store=store))
        np.testing.assert_array_equal(again.draws, whole.draws)
        assert (again.n_evals, again.settings) == (whole.n_evals, whole.settings)
        np.testing.assert_array_equal(run(plan=fm.Plan(executor=threads, part=(0, 1))).array, whole)
    np.testing.assert_array_equal(fm.merge(store).array, whole)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        parts = [run(plan=fm.Plan(executor=pool, part=(i, 2))) for i in range(2)]
    np.testing.assert_array_equal(fm.merge(parts).array, whole)
    for i in range(4):
        run(plan=fm.Plan(store=tmp_path / "array", part=(i, 4)))
    np.testing.assert_array_equal(fm.merge(tmp_path / "array").array, whole)
    with pytest.raises(CheckpointError, match="belongs to another call"):
        run(plan=fm.Plan(store=store), n_steps=7)
    with pytest.raises(CheckpointError, match="belongs to another call"):
        run(plan=fm.Plan(store=store), first_row=7)


def test_the_address_counts_from_the_first_row() -> None:
    whole = run(200, first_row=50)
    np.testing.assert_array_equal(whole, run(250)[50:])
    parts = [run(200, first_row=50, plan=fm.Plan(part=(i, 3))) for i in range(3)]
    np.testing.assert_array_equal(fm.merge(parts).array, whole)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"part": (3, 3)}, "part"),
        ({"n": 3, "part": (0, 4)}, "this part is empty"),
        ({"part": (0, 2), "as_tensor": True}, "as_tensor: given with part="),
        ({"part": (0, 2), "store": "x", "rng": None}, "store: given without rng="),
        ({"n": 0, "part": (0, 1)}, "n: 0 was given"),
    ],
)
def test_hostile_arguments(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        run(**planned(**given))


def test_parts_that_do_not_fit() -> None:
    part = run(plan=fm.Plan(part=(0, 2)))
    with pytest.raises(ArgumentError, match="two parts hold row 0"):
        part.merge(run(plan=fm.Plan(part=(0, 3))))
    with pytest.raises(ArgumentError, match="of another call"):
        part.merge(run(plan=fm.Plan(part=(1, 2)), n_steps=7))
    with pytest.raises(ArgumentError, match="rows of one call are needed"):
        part.merge(3)
