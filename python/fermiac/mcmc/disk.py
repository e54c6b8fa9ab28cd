"""Draws on disk: a folder of .npy files, mapped into memory while a run fills them."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from fermiac._base import layout as fit
from fermiac._base import store
from fermiac._base.folders import facts, forget, mapped
from fermiac._base.validate import path_of
from fermiac.errors import ArgumentError, CheckpointError
from fermiac.mcmc.parquet_folder import discard_tables, inner_of, pyarrow, write_tables
from fermiac.mcmc.zarr_folder import append_index, discard_store, is_store, write_store

__all__ = ["Folder"]

Array = NDArray[np.float64]

_INDEX = "index.json"
_FORMAT = "fermiac mcmc 1"
_CONTENT: fit.Layout = {
    "n_draws": fit.whole(0, 2**62),
    "n_warmup": fit.whole(0, 2**62),
    "n_points": fit.whole(1, 2**62),
    "names": fit.texts,
    "stat_names": fit.texts,
    "origin": fit.text(),
    "settings": fit.record({"n_warmup": fit.whole(0)}),
    "seed": fit.whole(0, 2**64 - 1),
    "status": fit.text("running", "complete", "interrupted"),
}
#: The errors of a file system that cannot allocate room in advance.
_NO_SUCH_CALL = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


class Folder:
    """The folder of a run: a file for each array, and an index with the filled lengths."""

    def __init__(self, path: str | os.PathLike[str], origin: str | None) -> None:
        """Open the folder of a run, which is new or the one of the resumed run."""
        #: The path of the user, and the folder of the arrays, which may be one within.
        self.given = Path(path_of("path", path)).absolute()
        self.path = inner_of(self.given)
        if self.path != self.given:
            pyarrow()
        self.resumed = origin is not None
        #: Whether the folder is also a store of Zarr.
        self.is_store = is_store(self.path)
        self._maps: list[Array] = []
        self._names: list[str] = []
        if self.resumed:
            if read_index(self.path).get("origin") != origin:
                raise CheckpointError(
                    f"{self.path}: its draws are not those of the run that the state belongs "
                    "to; give the path= of that run"
                )
            return
        given = self.given
        if given.exists() and (not given.is_dir() or any(given.iterdir())):
            raise ArgumentError(
                f"path: {given} is there and not an empty folder; give another path, or remove "
                "it; a run is resumed from its store"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"{self.path}: it could not be made: {error}") from error

    def array(self, name: str, shape: tuple[int, ...]) -> Array:
        """Return the array of a name: created, or mapped again and lengthened if necessary."""
        file = self.path / f"{name}.npy"
        try:
            if self.resumed and file.exists():
                found: Array = mapped(file, mode="r+", spare=self.is_store)
                _require_rows(file, found, shape)
                if found.shape != shape:
                    found = self._lengthened(file, found, shape)
            elif self.resumed:
                raise CheckpointError(f"{file}: it is missing, so that the run cannot go on")
            else:
                found = self._made(file, shape)
        except ValueError as error:
            raise CheckpointError(f"{file}: it is damaged: {error}") from error
        except OSError as error:
            if not self.resumed:
                self.discard()
            hint = "; lower n_draws, or give another path" if error.errno == errno.ENOSPC else ""
            raise CheckpointError(f"{file}: it could not be opened: {error}{hint}") from error
        self._maps.append(found)
        self._names.append(name)
        return found

    def _made(self, file: Path, shape: tuple[int, ...]) -> Array:
        made = _made(file, shape)
        if self.is_store:
            append_index(file, made, file.name.lstrip(".").partition(".")[0])
        return made

    def _lengthened(self, file: Path, found: Array, shape: tuple[int, ...]) -> Array:
        """Write a file with another number of slots per chain, and then replace the old one."""
        new = file.with_name(f".{file.name}.tmp")
        made = self._made(new, shape)
        n = min(found.shape[1], shape[1])
        for old, out in zip(found, made, strict=True):
            out[:n] = old[:n]
        made.flush()  # type: ignore[attr-defined]  # a memmap
        os.replace(new, file)
        return made

    def flush(self) -> None:
        """Flush all arrays to the disk."""
        for array in self._maps:
            array.flush()  # type: ignore[attr-defined]  # a memmap

    def forget(self) -> None:
        """Drop the pages of all arrays from memory; the system writes them to the disk."""
        for array in self._maps:
            forget(array)

    def index(self, content: dict[str, Any]) -> None:
        """Write the index, as a whole or not at all; for a finished run with digests."""
        arrays = dict(zip(self._names, self._maps, strict=True))
        n_draws, names = content["n_draws"], content["names"]
        if self.is_store:
            write_store(self.path, arrays, n_draws, names)
        if self.path != self.given:
            write_tables(self.given, arrays, n_draws, names, content["status"] != "running")
        new = self.path / f".{_INDEX}.tmp"
        if content["status"] != "running":
            self.flush()
            content = {**content, "files": facts(self.path, self._names)}
        text = json.dumps({"format": _FORMAT, **content}, allow_nan=False)
        try:
            new.write_text(text)
            os.replace(new, self.path / _INDEX)
        except OSError as error:
            raise CheckpointError(f"{self.path}: its index was not written: {error}") from error

    def discard(self) -> None:
        """Remove the files of a call that failed before its first draw."""
        if self.is_store:
            discard_store(self.path)
        for file in (*self.path.glob("*.npy"), self.path / _INDEX):
            file.unlink(missing_ok=True)
        if self.path != self.given:
            discard_tables(self.given)
        for folder in dict.fromkeys((self.path, self.given)):
            if not any(folder.iterdir()):
                folder.rmdir()


def read_index(path: Path) -> dict[str, Any]:
    """Return the contents of the index of a folder."""
    try:
        content = store.parsed((path / _INDEX).read_text(), path / _INDEX)
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: it could not be read as the folder of a run: there is no {_INDEX} in it; "
            "what was given as path= of fermiac.mcmc.sample is needed"
        ) from None
    except CheckpointError:
        raise
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path / _INDEX}: it could not be read: {error}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise CheckpointError(f"{path / _INDEX}: it is not of a run, or of another version")
    store.fit(content, _CONTENT, path / _INDEX)
    return content


def read_array(path: Path, name: str, shape: tuple[int | str, ...], sizes: fit.Sizes) -> Array:
    """Return a mapped array of this shape; the file may have room for more draws than `sizes`."""
    file = path / f"{name}.npy"
    found = mapped(file, spare=is_store(path))
    with store.decoding(file):
        if found.dtype != np.float64:
            raise fit.Misfit(f"{found.dtype} for float64")
        n = sizes.get("draws") if "draws" in shape else None
        if n is not None and found.ndim > 1 and found.shape[1] >= n:
            found = found[:, :n]
        fit.array("f", *shape)(found, sizes)
    return found


def _require_rows(file: Path, found: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Refuse an array that is not of this run; the number of its slots may differ."""
    parts = [(of[:1], of[2:]) for of in (found.shape, shape)]
    if found.dtype != np.float64 or found.ndim != len(shape) or parts[0] != parts[1]:
        raise CheckpointError(
            f"{file}: it is damaged: {found.dtype}, {found.shape}, for numbers of {shape}"
        )


def _made(file: Path, shape: tuple[int, ...]) -> Array:
    """Return a new array whose space on the disk is allocated now.

    A sparse file would end the process by a signal if the disk is full when its holes are written.
    """
    made: Array = open_memmap(file, mode="w+", dtype=np.float64, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as handle:
            try:
                os.posix_fallocate(handle.fileno(), 0, os.fstat(handle.fileno()).st_size)
            except OSError as error:
                if error.errno not in _NO_SUCH_CALL:
                    file.unlink()
                    raise
    return made
