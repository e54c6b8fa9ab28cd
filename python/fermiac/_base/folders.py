"""Folders of NumPy files: sizes and digests in an index, and arrays that are mapped into memory.

A digest detects accidental damage, like the digest of a single file. It is no protection against
someone who can write to the folder. A file that becomes shorter while it is mapped ends the process
by a signal (SIGBUS) when the missing part is read: only its own run may write to a folder that is
open.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base import store
from fermiac._base.validate import all_finite
from fermiac.errors import CheckpointError

__all__ = [
    "VERIFY",
    "check",
    "converted",
    "facts",
    "finite_in_sections",
    "forget",
    "is_mapped",
    "mapped",
    "pieces",
    "prefer_huge_pages",
    "sections",
    "uncache",
]

#: How much of the files is compared with their digests: all, some parts of each, or their sizes.
Verify: TypeAlias = Literal["full", "sample", "none"]
VERIFY: tuple[str, ...] = get_args(Verify)
#: The parts of a file that are compared, of 4096 bytes each, the first and the last among them.
_PARTS = 64
#: The bytes of a file that are mapped at once.
_PIECE = 2**25
#: The bytes of a huge page, and the advice that reads all pages of a mapping (Linux).
_HUGE = 2**21
_MADV_POPULATE_READ = 22
#: Files with the limit of the memory of a container.
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")

_FACTS = fit.mapping(
    fit.record({"bytes": fit.whole(0), "digest": fit.text(), "sample": fit.text()}, rest=False)
)


def facts(folder: Path, names: Iterable[str]) -> dict[str, Any]:
    """Return the size and the digests of each array, for the index of a folder."""
    return {
        name: {
            "bytes": (folder / f"{name}.npy").stat().st_size,
            "digest": _core.store_digest(str(folder / f"{name}.npy"), None),
            "sample": _core.store_digest(str(folder / f"{name}.npy"), _PARTS),
        }
        for name in names
    }


def check(folder: Path, known: Any, names: Iterable[str], verify: str) -> None:
    """Compare arrays with their entries in an index.

    Raises
    ------
    CheckpointError
        If the index is damaged or lacks an array, or a size or digest differs.
    """
    with store.decoding(folder):
        fit.require({"files": known}, {"files": _FACTS})
        for name in names:
            if name not in known:
                raise fit.Misfit(f"its index has no entry {name}.npy")
            _compare(folder / f"{name}.npy", known[name], verify)


def _compare(file: Path, known: Mapping[str, Any], verify: str) -> None:
    try:
        size = file.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{file}: it is missing: {error}") from error
    if size != known["bytes"]:
        raise CheckpointError(f"{file}: it is damaged: {size} bytes of {known['bytes']}")
    kind, parts = ("digest", None) if verify == "full" else ("sample", _PARTS)
    if verify != "none" and _core.store_digest(str(file), parts) != known[kind]:
        raise CheckpointError(f"{file}: it is damaged: its digest does not fit its content")


def forget(array: NDArray[Any]) -> None:
    """Drop the pages of a mapped array from the memory of this process; its file keeps them."""
    base = _mapping(array)
    # Changes of a copy-on-write mapping are in no file.
    if base is not None and getattr(base, "mode", "c") != "c" and hasattr(mmap, "MADV_DONTNEED"):
        base._mmap.madvise(mmap.MADV_DONTNEED)


def prefer_huge_pages(array: NDArray[Any], verify: str) -> None:
    """Have a mapped array in huge pages, so that random reads are as fast as from other memory.

    Pages that are cached already stay as they are. Those that `check` reads are therefore fetched
    first. Nothing happens if the array would take more than half of the available memory, since a
    read of a huge page fetches far more than a walk needs; nor where the system knows no such
    pages of files.
    """
    base, advice = _mapping(array), getattr(mmap, "MADV_HUGEPAGE", None)
    if base is None or advice is None or not _HUGE <= array.nbytes <= _available() // 2:
        return
    memory = base._mmap
    with suppress(OSError):
        memory.madvise(advice)
        if verify == "full":
            memory.madvise(_MADV_POPULATE_READ)
        elif verify == "sample":
            for part in range(_PARTS):
                memory[(len(memory) - 1) * part // (_PARTS - 1)]


def _available() -> int:
    """Return the bytes of memory that new pages can have; 0 if the system does not tell."""
    free, limit = 0, sys.maxsize
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    for group in _LIMITS:
        # No number there means that there is no limit.
        with suppress(OSError, ValueError):
            limit = min(limit, int(Path(group).read_text(encoding="ascii")))
    return min(free, limit)


def uncache(file: Path) -> None:
    """Write a file to the disk and drop its cached pages.

    Pages are cached as small ones when they are written; a later mapping can have huge ones.
    """
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())
        if hasattr(os, "posix_fadvise") and file.stat().st_size >= _HUGE:
            with suppress(OSError):
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def is_mapped(array: NDArray[Any]) -> bool:
    """Return whether an array is on the disk, mapped into memory."""
    return _mapping(array) is not None


def _mapping(array: NDArray[Any]) -> Any:
    """Return the mapped array of which an array is a view; None if its numbers are in memory."""
    base: Any = array
    while isinstance(base, np.ndarray):
        if getattr(base, "_mmap", None) is not None:
            return base
        base = base.base
    return None


def pieces(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the rows of a mapped array in pieces, each of which is in memory alone."""
    rows = max(_PIECE // max(array.strides[-2] if array.ndim > 1 else array.itemsize, 1), 1)
    for part in array if array.ndim > 2 else (array,):
        for start in range(0, len(part), rows):
            yield part[start : start + rows]
            forget(array)


def sections(array: NDArray[Any]) -> Iterator[tuple[slice, slice]]:
    """Yield the sections of an array (chains, draws, ...), each of which is in memory alone."""
    per_chain, per_draw = (max(abs(stride), 1) for stride in array.strides[:2])
    chains, rows = max(_PIECE // per_chain, 1), max(_PIECE // per_draw, 1)
    for first in range(0, len(array), chains):
        for start in range(0, array.shape[1], rows):
            yield slice(first, first + chains), slice(start, start + rows)
            forget(array)


def finite_in_sections(array: NDArray[Any]) -> bool:
    """Return whether all numbers of an array (chains, draws, ...) are finite."""
    return all(all_finite(array[section]) for section in sections(array))


def converted(
    array: NDArray[Any], kind: type, convert: Callable[[NDArray[Any]], Any]
) -> NDArray[Any]:
    """Return the numbers of an array (chains, draws, ...) in memory, converted to another type."""
    out: NDArray[Any] = np.empty(array.shape, dtype=kind)
    for section in sections(array):
        out[section] = convert(array[section])
    return out


def mapped(file: Path, mode: str = "r", spare: bool = False) -> NDArray[Any]:
    """Return an array on the disk, mapped; its file has the length that its header announces.

    With `spare` the file may be longer.
    """
    try:
        with store.decoding(file):
            array: NDArray[Any] = open_memmap(file, mode=mode)
    except OSError as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{file}: it is missing or cannot be read: {error}") from error
    if array.dtype.kind not in "iuf":
        raise CheckpointError(f"{file}: it is damaged: {array.dtype}, {array.shape}")
    start = int(getattr(array, "offset", 0))
    more = file.stat().st_size - start - array.nbytes
    if more < 0 or (more > 0 and not spare):
        raise CheckpointError(
            f"{file}: it is damaged: its length is not that of {array.dtype}, {array.shape}"
        )
    return array
