"""Graph files: a folder with three NumPy arrays and a JSON file of facts."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fermiac._base import layout as fit
from fermiac._base import store
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.folders import check, facts, mapped, prefer_huge_pages, uncache
from fermiac._base.validate import choice, path_of, yes
from fermiac.errors import ArgumentError, CheckpointError
from fermiac.walks.graph import VALIDATE, Graph

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["describe", "open_csr", "opened", "replaced", "saved"]

_FORMAT = "fermiac-graph"
#: Folders of version 1 have no digests.
_VERSION = 2
_META = "graph.json"
_CONTENT: fit.Layout = {
    "n_nodes": fit.whole(1, 2**32),
    "n_entries": fit.whole(0, 2**62),
    "directed": fit.flag,
    "weighted": fit.flag,
    "known": fit.record(
        {},
        {
            "sorted": fit.flag,
            "symmetric": fit.flag,
            "repeated": fit.flag,
            "loops": fit.whole(0, 2**62),
        },
        rest=False,
    ),
}


def opened(folder: str | PathLike[str], validate: str = "sample") -> Graph:
    """Open the graph in a folder."""
    choice("validate", validate, VALIDATE)
    place = Path(path_of("folder", folder))
    try:
        meta = store.parsed((place / _META).read_text(encoding="utf-8"), place / _META)
        if not isinstance(meta, dict) or meta.get("format") != _FORMAT:
            raise ValueError(f"{_META} is of another format")
        fit.require(meta, {"version": fit.whole(1)})
        if meta["version"] > _VERSION:
            raise ValueError(f"it was written by a newer version, format {meta['version']}")
        fit.require(meta, _CONTENT)
        names = ["indptr", "indices"] + ["weights"] * meta["weighted"]
        has_digests = meta["version"] > 1
        if has_digests:
            check(place, meta.get("files"), names, "none")
        arrays = [mapped(place / f"{name}.npy") for name in names]
        for array in arrays:
            prefer_huge_pages(array, validate)
        if has_digests:
            check(place, meta.get("files"), names, validate)
        lengths = [meta["n_nodes"] + 1] + [meta["n_entries"]] * (len(names) - 1)
        kinds = [("int64",), ("uint32", "uint64"), ("float32", "float64")]
        for name, array, length, known in zip(names, arrays, lengths, kinds, strict=False):
            if array.shape != (length,) or array.dtype.name not in known:
                raise ValueError(f"{name}.npy does not fit: {array.dtype}, {array.shape}")
        directed, known_facts = meta["directed"], dict(meta["known"])
    except CheckpointError:
        raise
    except (OSError, EOFError, ValueError, fit.Misfit) as error:
        raise CheckpointError(
            f"{os.fspath(folder)}: no graph can be opened there: {error}"
        ) from error
    if known_facts.pop("symmetric", False):
        known_facts["asymmetry"] = None
    starts, ids, weights = (*(np.asarray(array) for array in arrays), None)[:3]
    where = os.path.abspath(path_of("folder", folder))
    try:
        graph = Graph._of(starts, ids, weights, directed, None, where, **known_facts)
        if validate != "none":
            graph._core.survey(validate == "full", False, resolve_threads(None))
    except ArgumentError as error:
        raise CheckpointError(f"{where}: the graph is damaged: {error}") from error
    return graph


@public
def open_csr(folder: str | PathLike[str], *, validate: str = "sample") -> Graph:
    """Open a graph of `write_csr`, whose arrays stay on the disk; `Graph.open` does the same.

    Parameters
    ----------
    folder : str or path-like
        The folder.
    validate : {"full", "sample", "none"}, default "sample"
        The part that is checked; see `Graph.open`.

    Returns
    -------
    Graph
        The graph.

    Raises
    ------
    CheckpointError
        If the folder has no such graph, or its files do not fit together.

    Examples
    --------
    >>> import os, tempfile
    >>> import fermiac as fm
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "ring")
    ...     made = fm.walks.write_csr(
    ...         path, fm.walks.graphs.erdos_renyi_edges(100, 300, rng=0), 100
    ...     )
    ...     graph = fm.walks.open_csr(path)
    ...     graph.n_nodes, graph.n_edges
    (100, 300)
    """
    return opened(folder, validate)


def saved(graph: Graph, folder: str | PathLike[str], overwrite: bool = False) -> None:
    """Write a graph to a folder."""
    with replaced(folder, overwrite) as place:
        np.save(place / "indptr.npy", graph.indptr)
        np.save(place / "indices.npy", graph.indices)
        if graph.weights is not None:
            np.save(place / "weights.npy", graph.weights)
        known = {name: v for name, v in graph._known.items() if name != "asymmetry"}
        known["symmetric"] = "asymmetry" in graph._known and graph.is_symmetric
        describe(
            place,
            n_nodes=graph.n_nodes,
            n_entries=len(graph.indices),
            directed=graph.directed,
            weighted=graph.weights is not None,
            known=known,
        )


def describe(folder: Path, **meta: Any) -> None:
    """Write the file of facts next to the arrays."""
    files = facts(folder, sorted(file.stem for file in folder.glob("*.npy")))
    content = {"format": _FORMAT, "version": _VERSION, **meta, "files": files}
    text = json.dumps(content, indent=1)
    (folder / _META).write_text(text + "\n", encoding="utf-8")


@contextmanager
def replaced(folder: str | PathLike[str], overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder that atomically replaces the final one."""
    final = Path(os.path.abspath(path_of("folder", folder)))
    if not yes("overwrite", overwrite) and final.exists():
        raise CheckpointError(
            f"{final}: it exists; overwrite=True replaces the graph that is there"
        )
    if final.exists() and not (final / _META).is_file():
        raise CheckpointError(f"{final}: it holds no graph, and is not replaced")
    try:
        place = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}.", suffix=".tmp"))
    except OSError as error:
        raise CheckpointError(f"{final}: {error}") from error
    try:
        yield place
        for path in place.iterdir():
            uncache(path)
        place.chmod(0o777 & ~_umask())
        if final.exists():
            # The old graph is only removed after the new one is in place.
            aside = place.with_suffix(".old")
            final.rename(aside)
            place.rename(final)
            shutil.rmtree(aside)
        else:
            place.rename(final)
    except BaseException as error:
        shutil.rmtree(place, ignore_errors=True)
        if isinstance(error, OSError) and not isinstance(error, CheckpointError):
            raise CheckpointError(f"{final}: it could not be written: {error}") from error
        raise


def _umask() -> int:
    """Return the file mode mask of the process."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
