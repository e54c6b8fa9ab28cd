"""Digests of folders: accidents within files, and files of another length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fermiac._base import folders
from fermiac.errors import CheckpointError


@pytest.fixture
def folder(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    np.save(tmp_path / "long.npy", np.arange(200_000.0))
    np.save(tmp_path / "short.npy", np.arange(5))
    return tmp_path, folders.facts(tmp_path, ["long", "short"])


def test_files_as_they_were(folder: tuple[Path, dict[str, Any]]) -> None:
    for verify in folders.VERIFY:
        folders.check(*folder, ["long", "short"], verify)


@pytest.mark.parametrize(("at", "seen"), [(-1, ("full", "sample")), (10_000, ("full",))])
def test_changed_bytes(folder: tuple[Path, dict[str, Any]], at: int, seen: tuple[str, ...]) -> None:
    path, known = folder
    data = bytearray((path / "long.npy").read_bytes())
    data[at] ^= 1
    (path / "long.npy").write_bytes(data)
    for verify in folders.VERIFY:
        if verify in seen:
            with pytest.raises(CheckpointError, match="its digest does not fit its content"):
                folders.check(path, known, ["long"], verify)
        else:
            folders.check(path, known, ["long"], verify)


def test_lengths_and_missing_files(folder: tuple[Path, dict[str, Any]]) -> None:
    path, known = folder
    with pytest.raises(CheckpointError, match=r"its index has no entry other\.npy"):
        folders.check(path, known, ["other"], "none")
    with pytest.raises(CheckpointError, match="it is damaged: files: short"):
        folders.check(path, {**known, "short": 3}, ["long"], "none")
    data = (path / "short.npy").read_bytes()
    (path / "short.npy").write_bytes(data[:-8])
    with pytest.raises(CheckpointError, match="160 bytes of 168"):
        folders.check(path, known, ["short"], "none")
    with pytest.raises(CheckpointError, match="damaged"):
        folders.mapped(path / "short.npy")
    (path / "short.npy").write_bytes(data + bytes(8))
    with pytest.raises(CheckpointError, match="its length is not that of"):
        folders.mapped(path / "short.npy")
    (path / "short.npy").unlink()
    with pytest.raises(CheckpointError, match="missing"):
        folders.check(path, known, ["short"], "none")
    with pytest.raises(CheckpointError, match="missing"):
        folders.mapped(path / "short.npy")


def test_arrays_of_objects_are_not_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(CheckpointError):
        folders.mapped(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.array(["text"]))
    with pytest.raises(CheckpointError, match="damaged"):
        folders.mapped(tmp_path / "b.npy")
