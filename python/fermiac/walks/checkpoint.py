"""Checkpoints of walks: where walkers stand, what they remember, and what was recorded."""

from __future__ import annotations

import time
from hashlib import blake2b
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base import store
from fermiac.errors import CheckpointError
from fermiac.runs.checkpoint import Checkpoint, Kept

if TYPE_CHECKING:
    from fermiac.walks.job import Job
    from fermiac.walks.node_functions import NodeFunction
    from fermiac.walks.run import Course

__all__ = ["Keeper", "identity_of"]

#: Rows of a graph that are compared with those of the run that is resumed.
_ROWS = 64
#: Starts at which the function of a resumed run is compared with what it was.
_VERIFIED = 3


class Keeper(Kept):
    """The checkpoint of a walk."""

    def __init__(self, given: Checkpoint | str | PathLike[str]) -> None:
        super().__init__(given, "walk")

    @property
    def elapsed(self) -> float:
        """Seconds that were spent before this call."""
        return float(self._node.get("elapsed", 0.0))

    def kept(self, job: Job) -> dict[str, NDArray[Any]]:
        """The arrays of the run that is resumed."""
        done = int(self._node["done"])
        if done > job.n_steps:
            raise CheckpointError(
                f"{self.path}: its walkers have made {done} steps, more than the {job.n_steps} of "
                "this call; give n_steps= at least as large as before"
            )
        arrays: dict[str, NDArray[Any]] = store.decode(
            self._node["arrays"], self._tensors, str(self.path)
        )
        self._tensors = {}
        return arrays

    @property
    def done(self) -> int:
        """Steps that the walkers of the run have made."""
        return int(self._node["done"])

    def write(self, course: Course, elapsed: float) -> None:
        """Write the file."""
        start = time.monotonic()
        tensors: store.Tensors = {}
        arrays = store.encode(course.kept(), tensors)
        self.put(start, tensors, elapsed=elapsed, done=course.done, arrays=arrays)


def identity_of(job: Job, f: NodeFunction | None = None) -> dict[str, Any]:
    """What makes a walk the same walk: a flat mapping of JSON's types.

    Not the number of steps: a walk may be made longer. A function is known by its first values.
    """
    settings = job.to_dict()
    del settings["n_steps"]
    graph = job.graph
    some = np.linspace(0, graph.n_nodes - 1, min(_ROWS, graph.n_nodes)).astype(np.int64)
    hasher = blake2b(np.ascontiguousarray(graph.indptr[some]).tobytes(), digest_size=8)
    for node in some.tolist():
        hasher.update(graph.neighbors(node).astype(np.uint64).tobytes())
    return {
        "version": _core.__version__,
        "isa": _core.isa_level,
        "seed": job.key,
        **settings,
        "graph": f"{graph.n_nodes} nodes, {len(graph.indices)} entries, {hasher.hexdigest()}",
        "init": _digest(job.start),
        "law": _digest(None if job.law is None else job.law.table),
        "counts": _digest(job.prior),
        "f": None if f is None else _digest(f.at(job.start[:_VERIFIED])),
    }


def _digest(array: NDArray[Any] | None) -> str | None:
    return None if array is None else blake2b(array.tobytes(), digest_size=8).hexdigest()
