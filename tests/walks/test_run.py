"""Walks that are interrupted, killed and resumed: always the same bits."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clock import ctrl_c, until
from walk_runs import BARBELL, BELOW, KERNELS, WEIGHTS, named, same, walk

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError


@pytest.mark.parametrize("record", ["visits", "path"])
@pytest.mark.parametrize("how", KERNELS, ids=named)
def test_resumed_walks(tmp_path: Path, how: dict[str, Any], record: str) -> None:
    how = {**how, "record": record, "burn_in": 40, "n_walkers": 20}
    store = tmp_path / "walk"
    for n_steps in (41, 300, 500, 500):
        w = walk(BARBELL, n_steps=n_steps, store=store, **how)
        same(w, walk(BARBELL, n_steps=n_steps, **how))
    again = walk(BARBELL, n_steps=510, store=store, **{**how, "rng": None})
    assert again.seed == 1
    same(again, walk(BARBELL, n_steps=510, **how))


@pytest.mark.parametrize("at", [30, 64, 200])
def test_interrupted_walks_go_on(tmp_path: Path, at: int) -> None:
    store = tmp_path / "walk"
    how: dict[str, Any] = {"burn_in": 50, "f": BELOW, "block_size": 20, "record": "none"}
    done = 50

    def stop(block: Any) -> None:
        nonlocal done
        done += block.shape[1]
        if done >= at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        walk(store=store, on_block=stop, **how)
    partial = caught.value.partial_result
    assert partial.status == "interrupted"
    assert partial.n_steps == max(done, 70)
    blocks: list[Any] = []
    w = walk(store=store, on_block=blocks.append, **how)
    whole = walk(on_block=blocks.append, **how)
    np.testing.assert_array_equal(w._sums, whole._sums)
    np.testing.assert_array_equal(w.positions, whole.positions)


def test_progress_can_interrupt() -> None:
    def report(done: int, total: int) -> None:
        assert total == 16 * 10**7
        if done > 10**5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        walk(n_steps=10**7, plan=fm.Plan(n_threads=1, progress=report))
    partial = caught.value.partial_result
    assert 0 < partial.n_steps < 10**7
    assert partial.visits.sum() == 16 * partial.n_steps
    same(partial, walk(n_steps=partial.n_steps))


def test_ctrl_c() -> None:
    seen: list[int] = []
    with ctrl_c(lambda: seen, "a report"), pytest.raises(KeyboardInterrupt) as caught:
        walk(
            n_steps=10**9,
            n_walkers=64,
            plan=fm.Plan(progress=lambda done, total: seen.append(done)),
        )
    partial = caught.value.partial_result
    assert partial.n_steps < 10**9
    assert partial.visits.sum() == 64 * partial.n_steps > 0


def test_in_the_background() -> None:
    run = fm.walks.start("walk", BARBELL, "hdt", n_steps=10**8, n_walkers=8, burn_in=0, rng=1)
    until(lambda: run.progress[0], "steps")
    partial = run.abort(timeout=60)
    assert run.state == "aborted"
    assert 0 < partial.n_steps < 10**8
    same(partial, walk(n_steps=partial.n_steps, n_walkers=8))
    assert fm.walks.start(fm.walks.walk, BARBELL, n_steps=10, rng=1).result(60).n_steps == 10


KILLED = """
import sys, numpy as np, fermiac as fm
sys.path.insert(0, {tests!r})
from walk_runs import walk
walk(n_steps=10**9, record="visits", store={store!r}, every=0.05)
"""


def test_killed_walks_go_on(tmp_path: Path) -> None:
    store = tmp_path / "walk"
    script = KILLED.format(tests=str(Path(__file__).parents[1] / "support"), store=str(store))
    process = subprocess.Popen([sys.executable, "-c", script])
    file, written = store / "state.safetensors", set()

    def thrice() -> bool:
        if file.exists():
            written.add(file.stat().st_mtime_ns)
        return len(written) == 3

    try:
        until(thrice, "three files")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with pytest.raises(CheckpointError, match="more than the 10 of") as caught:
        walk(n_steps=10, store=store)
    done = int(str(caught.value).split("have made ")[1].split()[0])
    same(walk(n_steps=done + 50, store=store), walk(n_steps=done + 50))


def test_foreign_stores(tmp_path: Path) -> None:
    store = tmp_path / "walk"
    walk(store=store)
    for how, what in [
        ({"alpha": 4.0}, "its alpha"),
        ({"base": "mhrw"}, "its base"),
        ({"init": 3}, "its init"),
        ({"weights": WEIGHTS}, "its weights"),
        ({"rng": 7}, "its seed"),
        ({"burn_in": 7}, "its burn_in"),
        ({"f": BELOW}, "its f"),
        ({"graph": [[i, (i + 1) % 12] for i in range(12)]}, "its graph"),
    ]:
        with pytest.raises(CheckpointError, match=f"belongs to another run: {what}"):
            walk(**how, store=store)
    with pytest.raises(ArgumentError, match="init: node 77"):
        walk(init=77, store=tmp_path / "other")
    assert not (tmp_path / "other").exists()
