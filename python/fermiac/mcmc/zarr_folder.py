"""The folder of a run that is also a store of Zarr, format 3, while the run fills it.

Arrays of NumPy's format are chunks of Zarr as they are: a shard of the codec ``sharding_indexed``
is a file with an index at its end, which says where in the file each inner chunk lies. The draws of
a section of a chain are contiguous in the array of all chains, so its file needs only the index,
and a second name (a hard link) where Zarr looks for it. The format is that of
https://zarr-specs.readthedocs.io/en/latest/v3/core/ and of its codec ``sharding_indexed``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import CheckpointError

__all__ = ["SUFFIX", "append_index", "discard_store", "is_store", "write_store"]

#: The end of the name of a folder that is also a store of Zarr.
SUFFIX = ".zarr"
_META = "zarr.json"
#: The bytes of a section of a chain.
_SECTION = 2**22
#: The arrays of the store: their group, their name, and the names of their further dimensions.
_ARRAYS = {
    "draws": ("posterior", "x", ("x_dim_0",)),
    "log_densities": ("sample_stats", "lp", ()),
}


def is_store(path: Path) -> bool:
    """Return whether a folder has the name of a store of Zarr, or is one by another name."""
    return path.name.endswith(SUFFIX) or (path / _META).exists()


def _rows(shape: tuple[int, ...]) -> int:
    """Return the draws of a section of a chain, for an array (chains, draws, ...)."""
    return max(min(_SECTION // max(8 * int(np.prod(shape[2:])), 1), shape[1]), 1)


def _n_sections(shape: tuple[int, ...]) -> int:
    return -(-shape[1] // _rows(shape))


def append_index(file: Path, array: NDArray[Any], name: str) -> None:
    """Append the index of the sections to the file of a new array, if it is one of the store."""
    if name not in _ARRAYS:
        return
    shape, row = array.shape, array.strides[1]
    sections = np.arange(_n_sections(shape)) * _rows(shape)
    starts = np.arange(shape[0])[:, None] * shape[1] + sections
    offsets = getattr(array, "offset", 0) + row * starts
    # The last section of a chain reaches into the next chain, beyond the shape of the array.
    length = row * _rows(shape)
    index = np.stack([offsets, np.full_like(offsets, length)], axis=-1).astype("<u8")
    size = file.stat().st_size
    with file.open("r+b") as handle:
        handle.seek(size)
        handle.write(bytes(max(int(offsets[-1, -1]) + length - size, 0)))
        handle.write(index.tobytes())


def write_store(path: Path, arrays: dict[str, NDArray[Any]], n: int, labels: list[str]) -> None:
    """Write the metadata for the first `n` draws of each chain, once there are any.

    Raises
    ------
    CheckpointError
        If the file system has no hard links, or the metadata cannot be written.
    """
    found = {name: array for name, array in arrays.items() if name in _ARRAYS}
    if n == 0 or "draws" not in found:
        return
    try:
        known: dict[str, Any] = {}
        for name, array in found.items():
            group, variable, dims = _ARRAYS[name]
            known |= {
                group: _group({}),
                f"{group}/{variable}": _array(array.shape, n, dims, labels if dims else []),
            }
            chunk = path / group / variable / "c" / "/".join("0" * array.ndim)
            _link(path / f"{name}.npy", chunk)
        for key, meta in known.items():
            _write(path / key / _META, meta)
        inline = {"kind": "inline", "must_understand": False, "metadata": known}
        _write(path / _META, {**_group({}), "consolidated_metadata": inline})
    except OSError as error:
        raise CheckpointError(
            f"{path}: it could not be made a store of Zarr, which needs hard links: {error}; give "
            f"a path= on another file system, or one that does not end in {SUFFIX}"
        ) from error


def discard_store(path: Path) -> None:
    """Remove the store of a run without draws."""
    for group, variable, _ in _ARRAYS.values():
        for file in sorted((path / group / variable).rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        (path / group / _META).unlink(missing_ok=True)
        for folder in (path / group / variable, path / group):
            if folder.is_dir():
                folder.rmdir()
    (path / _META).unlink(missing_ok=True)


def _group(attributes: dict[str, Any]) -> dict[str, Any]:
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}


def _array(
    shape: tuple[int, ...], n: int, dims: tuple[str, ...], labels: list[str]
) -> dict[str, Any]:
    rows = _rows(shape)
    plain = [{"name": "bytes", "configuration": {"endian": "little"}}]
    shards = {
        "chunk_shape": [1, rows, *shape[2:]],
        "codecs": plain,
        "index_codecs": plain,
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [shape[0], n, *shape[2:]],
        "data_type": "float64",
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [shape[0], _n_sections(shape) * rows, *shape[2:]]},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN",
        "codecs": [{"name": "sharding_indexed", "configuration": shards}],
        "attributes": {"names": labels} if labels else {},
        "dimension_names": ["chain", "draw", *dims],
        "storage_transformers": [],
    }


def _link(file: Path, chunk: Path) -> None:
    """Give a file a second name, unless it has it."""
    if chunk.exists() and chunk.samefile(file):
        return
    chunk.parent.mkdir(parents=True, exist_ok=True)
    new = chunk.with_name(".new")
    new.unlink(missing_ok=True)
    os.link(file, new)
    os.replace(new, chunk)


def _write(file: Path, content: dict[str, Any]) -> None:
    new = file.with_name(f".{_META}.tmp")
    new.write_text(json.dumps(content))
    os.replace(new, file)
