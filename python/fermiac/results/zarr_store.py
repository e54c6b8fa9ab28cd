"""Samples as groups of Zarr, format 2 without compression: folders of small raw files.

The format is that of https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html, with the names of
dimensions as xarray writes them. Writing it needs no other library.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.folders import forget
from fermiac._base.validate import path_of, shown
from fermiac.errors import ArgumentError, CheckpointError
from fermiac.results.axes import dims_of
from fermiac.results.tables import by_chain, refuse_axes

if TYPE_CHECKING:
    from fermiac.results.sample import Sample

__all__ = ["write_sample"]

#: The bytes of the draws of a section of a chain.
_SECTION = 2**22


def write_sample(sample: Sample, path: str | os.PathLike[str]) -> Path:
    """Write a sample as the groups ``posterior`` and ``sample_stats``; see `Sample.to_zarr`."""
    folder = Path(path_of("path", path)).absolute()
    if folder.exists():
        raise ArgumentError(f"path: {shown(os.fspath(folder))} is there; give another path")
    refuse_axes(sample.variables.shapes, ("chain", "draw"))
    d = sample.draws.shape[-1]
    draws = sample.draws.reshape(-1, sample.draws.shape[-2], d)
    n_chains, n = draws.shape[:2]
    rows = min(max(_SECTION // (8 * d), 1), n)
    known = {"lp": sample.log_densities, "log_weight": sample.log_weights}
    stats = {k: by_chain(sample, v) for k, v in known.items() if v is not None}
    stats |= {
        k.replace("reached_max_depth", "reached_max_tree_depth"): np.asarray(v)
        for k, v in sample.stats.items()
        if np.shape(v)[:2] == (n_chains, n)
    }
    dims = dims_of(sample.variables, sample.dims)
    with _made(folder) as new:
        posterior = _Group(new / "posterior", sample.coords, n_chains, n)
        variables = sample.variables
        for name, shape in variables.shapes.items():
            posterior.array(
                name, (n_chains, n, *shape), (1, rows, *shape), "<f8", dims.get(name, ())
            )
        others = _Group(new / "sample_stats", {}, n_chains, n)
        for name, values in stats.items():
            more = values.shape[2:]
            kind = values.dtype.newbyteorder("<").str
            axes = tuple(f"{name}_dim_{i}" for i in range(len(more)))
            others.array(name, (n_chains, n, *more), (1, rows, *more), kind, axes)
        for chain in range(n_chains):
            for at, start in enumerate(range(0, n, rows)):
                section = np.array(draws[chain, start : start + rows])
                forget(draws)
                for name in variables.shapes:
                    posterior.chunk(name, (chain, at), variables.pick(section, name))
                for name, values in stats.items():
                    others.chunk(name, (chain, at), values[chain, start : start + rows])
                    forget(values)
        _consolidated(new, {"posterior": posterior, "sample_stats": others})
    return folder


@contextmanager
def _made(folder: Path) -> Iterator[Path]:
    """Give a new folder, which has its name once it is complete."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            yield new
            new.chmod(0o755)
            os.replace(new, folder)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
    except OSError as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{folder}: it could not be written: {error}") from error


class _Group:
    """A group with arrays of chains and draws."""

    def __init__(self, folder: Path, coords: Mapping[str, Any], n_chains: int, n: int) -> None:
        self.folder = folder
        self.meta: dict[str, Any] = {".zgroup": {"zarr_format": 2}, ".zattrs": {}}
        self._chunks: dict[str, tuple[int, ...]] = {}
        self._coords = coords
        self._axis("chain", np.arange(n_chains))
        self._axis("draw", np.arange(n))

    def _axis(self, name: str, labels: NDArray[Any]) -> None:
        if f"{name}/.zarray" in self.meta:
            return
        kind = labels.dtype.newbyteorder("<").str
        self._declare(name, labels.shape, labels.shape, kind, (name,))
        (self.folder / name / "0").write_bytes(labels.astype(kind).tobytes())

    def array(
        self,
        name: str,
        shape: tuple[int, ...],
        chunks: tuple[int, ...],
        kind: str,
        dims: tuple[str, ...],
    ) -> None:
        """Declare an array, and the axes of its dimensions that have labels."""
        for dim in dims:
            labels = np.asarray(list(self._coords.get(dim, ())))
            if labels.size and labels.dtype.kind in "iufU":
                self._axis(dim, labels)
        self._declare(name, shape, chunks, kind, ("chain", "draw", *dims))

    def _declare(
        self,
        name: str,
        shape: tuple[int, ...],
        chunks: tuple[int, ...],
        kind: str,
        dims: tuple[str, ...],
    ) -> None:
        if "/" in name or name.startswith("."):
            raise ArgumentError(f"path: the name {shown(name)} cannot be that of a folder")
        self.meta[f"{name}/.zarray"] = {
            "zarr_format": 2,
            "shape": list(shape),
            "chunks": [max(size, 1) for size in chunks],
            "dtype": kind,
            "compressor": None,
            "fill_value": None,
            "filters": None,
            "order": "C",
        }
        self.meta[f"{name}/.zattrs"] = {"_ARRAY_DIMENSIONS": list(dims)}
        self._chunks[name] = chunks
        (self.folder / name).mkdir(parents=True)

    def chunk(self, name: str, at: tuple[int, int], values: NDArray[Any]) -> None:
        """Write a section of a chain; the last section is padded to the size of the others."""
        shape = self._chunks[name][1:]
        kind = self.meta[f"{name}/.zarray"]["dtype"]
        full = np.zeros(shape, dtype=kind)
        full[: len(values)] = values
        index = ".".join(map(str, (*at, *(0 for _ in shape[1:]))))
        (self.folder / name / index).write_bytes(full.tobytes())


def _consolidated(root: Path, groups: Mapping[str, _Group]) -> None:
    """Write the descriptions of all arrays, one by one and together."""
    whole: dict[str, Any] = {".zgroup": {"zarr_format": 2}, ".zattrs": {}}
    for name, group in groups.items():
        whole |= {f"{name}/{key}": value for key, value in group.meta.items()}
        for key, value in group.meta.items():
            (group.folder / key).write_text(json.dumps(value))
        _together(group.folder, group.meta)
    for key in (".zgroup", ".zattrs"):
        (root / key).write_text(json.dumps(whole[key]))
    _together(root, whole)


def _together(folder: Path, meta: Mapping[str, Any]) -> None:
    content = {"zarr_consolidated_format": 1, "metadata": dict(meta)}
    (folder / ".zmetadata").write_text(json.dumps(content))
