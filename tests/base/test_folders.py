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


def _advised(monkeypatch: pytest.MonkeyPatch, array: Any, verify: str, free: int) -> list[int]:
    """Return the advice that a mapped array gets while so much memory is available."""
    given: list[int] = []

    class Memory(bytes):
        def madvise(self, advice: int) -> None:
            given.append(advice)

    monkeypatch.setattr(folders, "_available", lambda: free)
    monkeypatch.setattr(folders.mmap, "MADV_HUGEPAGE", 14, raising=False)
    base = type("Base", (), {"_mmap": Memory(b"01")})
    monkeypatch.setattr(folders, "_mapping", lambda _: base)
    folders.prefer_huge_pages(array, verify)
    return given


def test_huge_pages_are_for_files_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.zeros(2**19)
    enough = 2 * array.nbytes
    assert _advised(monkeypatch, array, "sample", enough) == [14]
    assert _advised(monkeypatch, array, "full", enough) == [14, 22]
    assert _advised(monkeypatch, array, "none", enough) == [14]
    assert _advised(monkeypatch, array, "sample", enough - 1) == []
    assert _advised(monkeypatch, array[:1000], "sample", enough) == []


def test_uncached_files_keep_their_content(tmp_path: Path) -> None:
    array = np.arange(2**19, dtype=np.float64)
    np.save(tmp_path / "long.npy", array)
    folders.uncache(tmp_path / "long.npy")
    found = folders.mapped(tmp_path / "long.npy")
    for verify in folders.VERIFY:
        folders.prefer_huge_pages(found, verify)
        assert np.array_equal(found, array)
    folders.prefer_huge_pages(array, "full")  # in memory


def test_available_memory_is_that_of_the_container(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(folders, "_LIMITS", (str(limit),))
    limit.write_text("max\n")
    free = folders._available()
    limit.write_text("12345\n")
    assert folders._available() == min(free, 12345)
