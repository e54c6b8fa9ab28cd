"""Walks in files: indices that lie outside of their arrays are refused before they are used."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac import _core
from fermiac.errors import ArgumentError, CheckpointError

RING = np.column_stack([np.arange(9), (np.arange(9) + 1) % 9])
#: Arrays of a saved walk, a place in each, and what is put there.
HOSTILE = [
    ("_state.nodes", 3, 2_000_000_000, "a number that is not below 9"),
    ("_state.nodes", -1, 9, "a number that is not below 9"),
    ("_state.nodes", 0, -1, "a number below 0"),
    ("_state.nodes", 1, 0, "those of one walker do not ascend"),
    ("_state.indptr", -1, 10**12, "entries is"),
    ("_state.indptr", 1, 10**6, "numbers that fall"),
    ("_state.indptr", 0, -5, "a number below 0"),
    ("positions", 0, 9, "positions: a number that is not below 9"),
    ("_degrees", 2, -1, "_degrees: a number below 0"),
]


def changed(path: Path, name: str, at: int, value: int) -> None:
    """Change a number of a file, and make its digest right."""
    text, tensors = _core.store_read(str(path), "result")
    for found, kind, shape, data in tensors:
        if found != name:
            continue
        # Nodes of 32 bits are bytes for the format.
        dtype = np.int64 if kind == "I64" else np.int32
        data.view(dtype).reshape(-1)[at] = value
        assert shape[0] == 4 if name == "_state.indptr" else shape
    _core.store_write(str(path), "result", text, tensors)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("walk") / "walk"
    fm.walks.walk(RING, "srrw", "srw", burn_in=0, n_steps=300, n_walkers=3, rng=0).save(path)
    return path.read_bytes()


@pytest.mark.parametrize(("name", "at", "value", "why"), HOSTILE)
def test_indices_of_files_are_checked(
    saved: bytes, tmp_path: Path, name: str, at: int, value: int, why: str
) -> None:
    path = tmp_path / "walk"
    path.write_bytes(saved)
    assert fm.load(path).visits.sum() == 900
    changed(path, name, at, value)
    with pytest.raises(CheckpointError, match=why):
        fm.load(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"n_walkers",3', '"n_walkers",4000000000'),
        ('"n_nodes":9', '"n_nodes":1152921504606846976'),
        ('"record","visits"', '"record","path"'),
        ('"kernel","srrw"', '"kernel","other"'),
        ('"burn_in",0', '"burn_in","0"'),
        ('"indptr",{', '"indptr2",{'),
    ],
)
def test_settings_of_files_are_checked(saved: bytes, tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "walk"
    path.write_bytes(saved)
    text, tensors = _core.store_read(str(path), "result")
    assert old in text
    _core.store_write(str(path), "result", text.replace(old, new), tensors)
    with pytest.raises(CheckpointError, match="it is damaged"):
        fm.load(path)


def test_a_state_with_changed_numbers_goes_on_or_is_refused(tmp_path: Path) -> None:
    path, kept = tmp_path / "state.safetensors", fm.Plan(store=tmp_path)

    def run(n: int) -> Any:
        return fm.walks.walk(
            RING, "srrw", "srw", n_steps=n, burn_in=5, n_walkers=3, rng=0, plan=kept
        )

    run(100)
    good, refused = path.read_bytes(), 0
    kind = "walk (checkpoint format 2)"
    for which, value in itertools.product(range(20), (2**63, 9, 0)):
        path.write_bytes(good)
        text, tensors = _core.store_read(str(path), kind)
        data = tensors[which % len(tensors)][3]
        data[-8:].view(np.uint64)[:1] = value
        _core.store_write(str(path), kind, text, tensors)
        try:
            run(150)
        except CheckpointError:
            refused += 1
    assert refused > 10


def test_a_walk_that_could_not_be_read_is_not_saved(tmp_path: Path) -> None:
    walk = fm.walks.walk(RING, "srrw", "srw", n_steps=100, n_walkers=3, rng=0)
    walk.positions[0] = 9
    with pytest.raises(ArgumentError, match="positions: a number that is not below 9"):
        walk.save(tmp_path / "walk")
    assert not (tmp_path / "walk").exists()
