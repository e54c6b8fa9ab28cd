"""The folder of a run whose draws are also written as files of Parquet, by pyarrow.

Every section of a chain is a file of its own, written when its draws are complete; the last,
shorter section of a chain is written when the run ends. The run fills the arrays of a folder
within, from which it is resumed. The name of that folder begins with an underscore, so that readers
of Parquet pass over it.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.folders import forget
from fermiac.errors import CheckpointError

__all__ = ["INNER", "SUFFIX", "discard_tables", "inner_of", "pyarrow", "write_tables"]

#: The end of the name of a folder with files of Parquet.
SUFFIX = ".parquet"
#: The folder of the arrays.
INNER = "_run"
#: The bytes of the draws of a file.
_SECTION = 2**25


def inner_of(path: Path) -> Path:
    """Return the folder of the arrays of a run."""
    within = path.name.endswith(SUFFIX) or (path / INNER).is_dir()
    return path / INNER if within else path


def pyarrow() -> tuple[Any, Any]:
    """Return pyarrow and its module of Parquet files."""
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise ImportError(
            f"path: files of Parquet need pyarrow: pip install pyarrow; or give a path that does "
            f"not end in {SUFFIX}",
            name="pyarrow",
        ) from error


def write_tables(
    path: Path, arrays: dict[str, NDArray[Any]], n: int, labels: list[str], ended: bool
) -> None:
    """Write the complete sections of `n` draws of each chain, and the rest of a run that has ended.

    Raises
    ------
    CheckpointError
        If a file cannot be written.
    """
    draws, log_densities = arrays.get("draws"), arrays.get("log_densities")
    if draws is None or n == 0:
        return
    rows = max(_SECTION // draws.strides[1], 1)
    names = labels or [f"x[{j}]" for j in range(draws.shape[2])]
    for section in range(-(-n // rows)):
        start, stop = section * rows, min((section + 1) * rows, n)
        if stop - start < rows and not ended:
            continue
        for chain in range(len(draws)):
            file = path / f"chain-{chain:05d}-{section:06d}.parquet"
            if not _has(file, stop - start):
                known = None if log_densities is None else log_densities[chain, start:stop]
                _write(file, chain, start, draws[chain, start:stop], known, names)
                forget(draws)
    if ended:
        # Those of an earlier, longer end.
        last = -(-n // rows)
        for file in path.glob("chain-*.parquet"):
            if int(file.stem.rpartition("-")[2]) >= last:
                file.unlink()


def discard_tables(path: Path) -> None:
    """Remove the files of a run without draws."""
    for file in path.glob("chain-*.parquet"):
        file.unlink()


def _has(file: Path, n_rows: int) -> bool:
    """Return whether a file is there and has so many rows."""
    if not file.exists():
        return False
    try:
        found: int = pyarrow()[1].read_metadata(file).num_rows
    except (OSError, ValueError):  # damaged: written again
        return False
    return found == n_rows


def _write(
    file: Path,
    chain: int,
    start: int,
    draws: NDArray[Any],
    log_densities: NDArray[Any] | None,
    names: list[str],
) -> None:
    arrow, parquet = pyarrow()
    columns = {
        "chain": np.full(len(draws), chain, dtype=np.int64),
        "draw": np.arange(start, start + len(draws), dtype=np.int64),
    }
    for j, name in enumerate(names):
        # A coordinate of the same name does not take the place of the address of a draw.
        columns[f"x.{name}" if name in columns else name] = np.ascontiguousarray(draws[:, j])
    if log_densities is not None and "lp" not in columns:
        columns["lp"] = np.array(log_densities)
    new = file.with_name(f".{file.name}.tmp")
    try:
        parquet.write_table(arrow.table(columns), new)
        os.replace(new, file)
    except OSError as error:
        raise CheckpointError(f"{file}: it could not be written: {error}") from error
