"""Visits of walkers in sparse rows, and sums over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from fermiac._base import layout as fit

__all__ = ["WALKERS", "LateArrays", "LateVisits", "Visits", "visited"]

Array = NDArray[np.float64]
#: Visited nodes per part.
_PART = 2**22

_ROWS = fit.record(
    {
        "indptr": fit.row_starts("walkers", "entries"),
        "nodes": fit.array("iu", "entries", low=0, below="nodes", bits=32),
        "counts": fit.array("iu", "entries", low=0, bits=32),
    },
    {
        "words": fit.array("u", "words"),
        "logs": fit.either(fit.array("f", "entries"), fit.array("f", 0)),
    },
    own=("entries", "words"),
)


def visited(value: Any, sizes: fit.Sizes) -> None:
    """Accept visits in compressed rows, with ascending nodes in each."""
    _ROWS(value, sizes)
    rising = np.diff(value["nodes"].astype(np.int64)) > 0
    # Nodes need not ascend from one row to the next.
    starts = value["indptr"][1:-1]
    rising[starts[(starts > 0) & (starts <= len(rising))].astype(np.int64) - 1] = True
    if not rising.all():
        raise fit.Misfit("nodes: those of one walker do not ascend")


def _with_places(value: Any, sizes: fit.Sizes) -> None:
    fit.record({"words": fit.anything, "logs": fit.anything})(value, sizes)
    visited(value, sizes)


#: Accepts the state of walkers: words, and their visits where these are counted.
WALKERS: fit.Check = fit.either(
    fit.record({"words": fit.array("u", "words")}, own=("words",), rest=False), _with_places
)


class LateArrays(Mapping[str, NDArray[Any]]):
    """Named arrays that are made when one of them is first read; copies by pickle are plain.

    The visits of each walker take longer to collect than short walks, and are often not needed.
    """

    def __init__(
        self,
        names: Sequence[str],
        make: Callable[[], Mapping[str, NDArray[Any]]],
        totals: Callable[[], NDArray[np.uint64] | None] | None = None,
    ) -> None:
        self._names, self._make, self._add_up = tuple(names), make, totals
        self._made: Mapping[str, NDArray[Any]] | None = None
        self._totals: NDArray[np.uint64] | None = None

    def _arrays(self) -> Mapping[str, NDArray[Any]]:
        if self._made is None:
            self._made = self._make()
            del self._make  # and with it the walkers
            self._add_up = None
        return self._made

    @property
    def totals(self) -> NDArray[np.uint64] | None:
        """The visits of all walkers to each node; None if they are not known without the arrays."""
        if self._totals is None and self._add_up is not None:
            self._totals, self._add_up = self._add_up(), None
        return self._totals

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._names:
            raise KeyError(name)
        return self._arrays()[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __reduce__(self) -> tuple[type, tuple[dict[str, NDArray[Any]]]]:
        return dict, (dict(self),)


@dataclass(frozen=True)
class Visits:
    """The number of visits of each walker to each node, in compressed rows."""

    indptr: NDArray[np.int64]
    nodes: NDArray[Any]
    counts: NDArray[Any]
    n_nodes: int

    @classmethod
    def of_paths(
        cls, paths: NDArray[Any], n_nodes: int, lengths: NDArray[np.int64] | None = None
    ) -> Self:
        """Return the visits of paths (walkers, steps), or of the first `lengths` steps of each."""
        n_walkers, n_steps = paths.shape
        starts = np.arange(n_walkers + 1, dtype=np.int64) * n_steps
        if lengths is not None:
            starts = np.concatenate([[0], np.cumsum(lengths)])
            paths = paths[np.arange(n_steps) < lengths[:, None]]
        kind = np.int32 if n_nodes <= 2**31 else np.int64
        matrix = scipy.sparse.csr_array(
            (
                np.ones(paths.size, dtype=np.uint32),
                paths.reshape(-1).astype(kind),
                starts,
            ),
            shape=(n_walkers, n_nodes),
        )
        matrix.sum_duplicates()
        return cls.of_matrix(matrix)

    @classmethod
    def named(cls, arrays: Mapping[str, NDArray[Any]], n_nodes: int, prefix: str = "") -> Self:
        """Return the visits of named arrays."""
        rows = (arrays[f"{prefix}{name}"] for name in ("indptr", "nodes", "counts"))
        indptr, nodes, counts = rows
        return cls(indptr, nodes, counts, n_nodes)

    @classmethod
    def of_matrix(cls, matrix: Any) -> Self:
        """Return the visits in a sparse matrix."""
        return cls(
            np.asarray(matrix.indptr, dtype=np.int64),
            matrix.indices,
            matrix.data,
            matrix.shape[1],
        )

    def matrix(self) -> Any:
        """Return a sparse matrix, which shares the arrays if possible."""
        # Both arrays need the same type; the larger one is not copied.
        starts = self.indptr.astype(self.nodes.dtype) if self._is_small else self.indptr
        nodes = self.nodes if self._is_small else self.nodes.astype(np.int64, copy=False)
        out = scipy.sparse.csr_array(
            (self.counts, nodes, starts), shape=(self.n_walkers, self.n_nodes)
        )
        out.has_sorted_indices = True
        out.has_canonical_format = True
        return out

    def fields(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name."""
        return {"indptr": self.indptr, "nodes": self.nodes, "counts": self.counts}

    @property
    def _is_small(self) -> bool:
        return len(self.nodes) < 2**31

    @property
    def n_walkers(self) -> int:
        """The number of walkers."""
        return len(self.indptr) - 1

    def minus(self, earlier: Visits) -> Visits:
        """Return the visits after earlier ones."""
        difference = self.matrix() - earlier.matrix()
        difference.eliminate_zeros()
        difference.sort_indices()
        return Visits.of_matrix(difference)

    def plus(self, more: Visits) -> Visits:
        """Return the sum of both."""
        total = self.matrix() + more.matrix()
        total.sort_indices()
        return Visits.of_matrix(total)

    def beside(self, others: list[Visits]) -> Visits:
        """Return the rows of all, one below the other."""
        rows = [self, *others]
        sizes = np.concatenate([np.diff(v.indptr) for v in rows])
        starts = np.concatenate([[0], np.cumsum(sizes)])
        return Visits(
            starts,
            np.concatenate([v.nodes for v in rows]),
            np.concatenate([v.counts for v in rows]),
            self.n_nodes,
        )

    def joined(self, sizes: NDArray[np.int64]) -> Visits:
        """Return the visits with groups of consecutive rows of these sizes added up."""
        n = self.n_walkers
        groups = np.repeat(np.arange(len(sizes)), sizes)
        ones = np.ones(n, dtype=np.uint64)
        total = scipy.sparse.csr_array((ones, (groups, np.arange(n)))) @ self.matrix()
        total.sort_indices()
        return Visits(total.indptr.astype(np.int64), total.indices, total.data, self.n_nodes)

    def _parts(self) -> Iterator[Any]:
        """Yield the rows as matrices of limited size, as SciPy copies in products."""
        row = 0
        while row < self.n_walkers:
            end = int(np.searchsorted(self.indptr, self.indptr[row] + _PART, "right")) - 1
            end = max(end, row + 1)
            at = slice(self.indptr[row], self.indptr[end])
            starts = self.indptr[row : end + 1] - self.indptr[row]
            yield Visits(starts, self.nodes[at], self.counts[at], self.n_nodes).matrix()
            row = end

    def totals(self) -> NDArray[np.uint64]:
        """Return the visits of all walkers to each node."""
        out = np.zeros(self.n_nodes, dtype=np.uint64)
        for part in self._parts():
            out += part.T @ np.ones(part.shape[0], dtype=np.uint64)
        return out

    def sums(self, values: Array) -> Array:
        """Return the sums of values (n_nodes, k) over each walker: (walkers, k)."""
        return np.concatenate([part @ values for part in self._parts()])


class LateVisits:
    """Visits that are collected when they are first needed."""

    def __init__(self, make: Callable[[], Visits]) -> None:
        self._make: Callable[[], Visits] | None = make
        self._made: Visits | None = None

    @classmethod
    def of(cls, made: Visits) -> Self:
        """Return visits that are known."""
        return cls(lambda: made)

    def __call__(self) -> Visits:
        """Return the visits."""
        if self._made is None:
            assert self._make is not None
            # Without the function, the walkers that it knows can go.
            self._made, self._make = self._make(), None
        return self._made
