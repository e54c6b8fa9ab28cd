"""Walks that are made longer, interrupted, killed and resumed: always the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from walk_runs import BARBELL, BELOW, WEIGHTS, same, walk

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError

KERNELS: list[dict[str, Any]] = [
    {"kernel": "none", "base": "mhda"},
    {"kernel": "hdt", "base": "mhda", "weights": WEIGHTS},
    {"kernel": "hdt", "base": "mhrw", "step_exponent": 0.7},
    {"kernel": "srrw", "base": "srw"},
    {"kernel": "srrw", "base": "mhrw", "step_exponent": 0.8, "alpha": ("linear", 0, 5, 300)},
    {"kernel": "tsaw", "base": "mhrw"},
    {"kernel": "none", "base": "nbrw"},
    {"kernel": "hdt", "base": fm.walks.MTM(3, "sqrt"), "weights": WEIGHTS},
    {"kernel": "none", "base": fm.walks.Node2Vec(0.5, 2.0), "restart": 0.1},
    {"kernel": "rotor", "base": "srw"},
    {"kernel": "hdt", "base": "mhrw", "history": "shared_sync"},
    {"kernel": "srrw", "base": "srw", "history": "shared_sync", "step_exponent": 0.8},
    {"kernel": "hdt", "base": "mhrw", "memory_size": 4},
]


def named(how: dict[str, Any]) -> str:
    return "-".join(str(v) for v in how.values() if isinstance(v, str | int))


@pytest.mark.parametrize("record", ["visits", "path"])
@pytest.mark.parametrize("how", KERNELS, ids=named)
def test_a_longer_walk_is_one_walk(how: dict[str, Any], record: str) -> None:
    how = {**how, "record": record, "n_walkers": 19, "burn_in": 60}
    how |= {"thin": 3} if record == "path" else {}
    whole = walk(BARBELL, n_steps=500, **how)
    part = walk(BARBELL, n_steps=97, **how)
    longer = fm.walks.extend(fm.walks.extend(part, 203), 200)
    same(whole, longer)
    assert longer.n_steps == 500
    np.testing.assert_array_equal(longer.positions, whole.positions)
    # What was extended is as it was.
    same(part, walk(BARBELL, n_steps=97, **how))
    same(fm.walks.extend(part, 403), whole)
    prior = {"include_prior": True}
    if record == "visits" and whole.n_replicas > 1 and whole.exact_target:
        assert whole.expect(BELOW, **prior).cov == longer.expect(BELOW, **prior).cov


def test_sums_of_a_longer_walk() -> None:
    how = {"record": "none", "f": BELOW, "n_walkers": 20}
    part = walk(n_steps=150, **how)
    longer = fm.walks.extend(part, 350)
    assert longer.expect().mean == pytest.approx(walk(n_steps=500, **how).expect().mean, rel=1e-13)


def test_what_cannot_be_extended() -> None:
    for w in (walk(keep_state=False), walk().merge(walk(rng=2)), None):
        with pytest.raises(ArgumentError, match="how to go on"):
            fm.walks.extend(w, 10)
    with pytest.raises(ArgumentError, match="n_steps: 0"):
        fm.walks.extend(walk(), 0)


@pytest.mark.parametrize("record", ["visits", "path"])
@pytest.mark.parametrize("how", KERNELS, ids=named)
def test_resumed_walks(tmp_path: Path, how: dict[str, Any], record: str) -> None:
    how = {**how, "record": record, "burn_in": 40, "n_walkers": 20}
    file = tmp_path / "walk.safetensors"
    for n_steps in (41, 300, 500, 500):
        w = walk(BARBELL, n_steps=n_steps, checkpoint=file, **how)
        same(w, walk(BARBELL, n_steps=n_steps, **how))
    again = walk(BARBELL, n_steps=510, checkpoint=file, **{**how, "rng": None})
    assert again.seed == 1
    same(again, walk(BARBELL, n_steps=510, **how))


@pytest.mark.parametrize("at", [30, 64, 200])
def test_interrupted_walks_go_on(tmp_path: Path, at: int) -> None:
    file = tmp_path / "walk.safetensors"
    how: dict[str, Any] = {"burn_in": 50, "f": BELOW, "block_size": 20, "record": "none"}
    done = 50

    def stop(block: Any) -> None:
        nonlocal done
        done += block.shape[1]
        if done >= at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        walk(checkpoint=file, on_block=stop, **how)
    partial = caught.value.partial_result
    assert partial.status == "interrupted"
    assert partial.n_steps == max(done, 70)
    blocks: list[Any] = []
    w = walk(checkpoint=file, on_block=blocks.append, **how)
    whole = walk(on_block=blocks.append, **how)
    np.testing.assert_array_equal(w._sums, whole._sums)
    np.testing.assert_array_equal(w.positions, whole.positions)


def test_progress_can_interrupt() -> None:
    def report(done: int, total: int) -> None:
        assert total == 16 * 10**7
        if done > 10**5:
            raise KeyboardInterrupt

    begun = time.perf_counter()
    with pytest.raises(KeyboardInterrupt) as caught:
        walk(n_steps=10**7, n_threads=1, progress=report)
    partial = caught.value.partial_result
    assert time.perf_counter() - begun < 20
    assert 0 < partial.n_steps < 10**7
    assert partial.visits.sum() == 16 * partial.n_steps
    same(partial, walk(n_steps=partial.n_steps))


def test_ctrl_c() -> None:
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt) as caught:
        walk(n_steps=10**8, n_walkers=64)
    timer.join()
    partial = caught.value.partial_result
    assert partial.visits.sum() == 64 * partial.n_steps > 0


def test_in_the_background() -> None:
    run = fm.walks.start("walk", BARBELL, n_steps=10**8, n_walkers=8, rng=1)
    while run.progress[0] == 0:
        time.sleep(0.01)
    partial = run.abort(timeout=60)
    assert run.state == "aborted"
    assert 0 < partial.n_steps < 10**8
    same(partial, walk(n_steps=partial.n_steps, n_walkers=8))
    assert fm.walks.start(fm.walks.walk, BARBELL, n_steps=10, rng=1).result(60).n_steps == 10


KILLED = """
import sys, numpy as np, fermiac as fm
sys.path.insert(0, {tests!r})
from walk_runs import walk
kept = fm.Checkpoint({file!r}, every=0.05)
walk(n_steps=10**9, record="visits", checkpoint=kept)
"""


def test_killed_walks_go_on(tmp_path: Path) -> None:
    file = tmp_path / "walk.safetensors"
    script = KILLED.format(tests=str(Path(__file__).parents[1] / "support"), file=str(file))
    process = subprocess.Popen([sys.executable, "-c", script])
    try:
        deadline = time.monotonic() + 60
        sizes = set()
        while len(sizes) < 3 and time.monotonic() < deadline:
            if file.exists():
                sizes.add(file.stat().st_mtime_ns)
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(sizes) == 3
    with pytest.raises(CheckpointError, match="more than the 10 of") as caught:
        walk(n_steps=10, checkpoint=file)
    done = int(str(caught.value).split("have made ")[1].split()[0])
    same(walk(n_steps=done + 50, checkpoint=file), walk(n_steps=done + 50))


def test_foreign_checkpoints(tmp_path: Path) -> None:
    file = tmp_path / "walk.safetensors"
    walk(checkpoint=file)
    for how, what in [
        ({"alpha": 4.0}, "its alpha"),
        ({"base": "mhrw"}, "its base"),
        ({"start": 3}, "its start"),
        ({"weights": WEIGHTS}, "its weights"),
        ({"rng": 7}, "its seed"),
        ({"burn_in": 7}, "its burn_in"),
        ({"f": BELOW}, "its f"),
        ({"graph": [[i, (i + 1) % 12] for i in range(12)]}, "its graph"),
    ]:
        with pytest.raises(CheckpointError, match=f"belongs to another run: {what}"):
            walk(**how, checkpoint=file)
    with pytest.raises(ArgumentError, match="start: node 77"):
        walk(start=77, checkpoint=tmp_path / "other")
    assert not (tmp_path / "other").exists()
