"""Sampled permutations: in this process, or in blocks; see `fermiac.runs.replicates`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.config import resolve_threads
from fermiac._base.progress import Report
from fermiac.errors import ArgumentError, TargetError
from fermiac.runs.parts import computed
from fermiac.runs.replicates import Drawing, Replicates, block_size, drawn

__all__ = ["Called", "CoreDesign", "Draws", "Sums", "exceedances"]

Array = NDArray[np.float64]
#: The kind, blocks, size of the first group in each block and other variable, for the core.
CoreDesign = tuple[str, list[int], list[int], Array | None]


class Sums:
    """The sums of permuted columns, one row for each permutation."""

    def __init__(self, design: CoreDesign, x: Array | None, columns: list[Array], key: int) -> None:
        self._target = (*design[:3], x, columns)
        self._key = key

    def __call__(
        self, start: int, stop: int, n_threads: int | None = None, report: Report | None = None
    ) -> Array:
        """Return permutations from a start to a stop."""
        kind, blocks, firsts, x, columns = self._target
        workers = resolve_threads(n_threads)
        sums = [
            _core.resample_permute(
                kind, blocks, firsts, x, y, start, stop - start, self._key, workers,
                report if i == 0 else None,
            )
            for i, y in enumerate(columns)
        ]  # fmt: skip
        return np.stack(sums, axis=1)


class Called:
    """The values of a callable statistic, one row for each permutation."""

    def __init__(
        self,
        f: Callable[..., Any],
        design: CoreDesign,
        y: Array,
        first: int,
        batch: int,
        key: int,
    ) -> None:
        self._target = f
        self._kind, self._blocks, self._firsts, self._other = design
        self._y, self._first, self._batch, self._key = y, first, batch, key
        self._place = np.arange(len(y), dtype=float)
        # The observed assignment: the first observations of each block are in the first group.
        self._inside = np.zeros(len(y), bool)
        if self._kind == "groups":
            for a, size in zip(self._blocks, self._firsts, strict=False):
                self._inside[a : a + size] = True

    def observed(self) -> float:
        """Return the statistic of the data."""
        row = np.ones((1, len(self._y))) if self._kind == "signs" else self._place[None]
        if self._kind == "groups":
            row = self._assigned(row)
        return float(self._values(row)[0])

    def __call__(
        self, start: int, stop: int, n_threads: int | None = None, report: Report | None = None
    ) -> Array:
        """Return permutations from a start to a stop."""
        workers, n = resolve_threads(n_threads), stop - start
        kind, x = ("signs", None) if self._kind == "signs" else ("pairs", self._place)
        null = np.empty((n, 1))
        for done in range(0, n, self._batch):
            now = min(self._batch, n - done)
            flat = _core.resample_coefficients(
                kind, self._blocks, self._firsts, x, start + done, now, self._key, workers
            )
            rows = flat.reshape(now, -1)
            if self._kind == "groups":
                rows = self._assigned(rows)
            null[done : done + now, 0] = self._values(rows)
            if report is not None:
                report(done + now, n)
        return null

    def _assigned(self, rows: Array) -> Array:
        """Return the observations of the first group, then those of the second, in each row."""
        return np.concatenate([rows[:, self._inside], rows[:, ~self._inside]], axis=1)

    def _values(self, rows: Array) -> Array:
        if self._kind == "signs":
            arguments: tuple[Array, ...] = (rows * self._y,)
        elif self._kind == "pairs":
            assert self._other is not None
            arguments = (
                self._other[rows.astype(np.int64)],
                np.broadcast_to(self._y, rows.shape),
            )
        else:
            z = self._y[rows.astype(np.int64)]
            arguments = (z[:, : self._first], z[:, self._first :])
        values = self._target(*arguments)
        try:
            array = np.asarray(values, np.float64)
        except Exception as error:
            raise TargetError(
                f"statistic: it returned a {type(values).__name__}; values of shape "
                f"({len(rows)},) are needed"
            ) from error
        if array.shape != (len(rows),) or np.isnan(array).any():
            raise TargetError(
                f"statistic: it returned values of shape {array.shape}"
                + (" with NaN" if array.shape == (len(rows),) else "")
                + f" for a batch of {len(rows)} permutations; numbers of shape ({len(rows)},) "
                "are needed (for instance by axis=1)"
            )
        return array


class Draws(NamedTuple):
    """How permutations are drawn."""

    n: int
    key: int
    workers: int
    report: Report | None
    how: Drawing
    #: Returns the digest of the call.
    call: Callable[[], str]

    def rows(self, work: Sums | Called, batch: int = 1) -> Array | Replicates:
        """Return a row for each permutation; those of a part as they are."""
        n, key, how = self.n, self.key, self.how
        if how.is_plain:
            return work(0, n, self.workers, self.report)
        made = drawn(
            work, n, how, seed=key, call=self.call, report=self.report, multiple=batch,
        )  # fmt: skip
        return made if how.plan.part is not None else made.array

    def require_drawn(self) -> None:
        """Refuse a part of a test whose law is known."""
        if self.how.plan.part is not None:
            raise ArgumentError(
                "part: given, but no permutations are sampled, as the law is known; leave it out, "
                "or give exact=False"
            )


class _Counts:
    """Counts of permutations for many columns at once, as the work of a block."""

    progress: Any = None

    def __init__(self, arguments: tuple[Any, ...], n: int, size: int, key: int) -> None:
        self._target, self._n, self._size, self._key = arguments, n, size, key

    def __call__(self, unit: int) -> Any:
        """Return the counts of a block, and the largest statistics of its permutations."""
        first = unit * self._size
        n = min(self._size, self._n - first)
        own = (first, n, self._key, resolve_threads(None))
        return _core.resample_exceedances(*(*self._target, *own))


def exceedances(draws: Draws, arguments: tuple[Any, ...]) -> Any:
    """Return the counts of all permutations for many columns; see `_core.resample_exceedances`."""
    n, how = draws.n, draws.how
    kept = {"part": how.plan.part, "store": how.plan.store, "replicates": how.replicates}
    for name, given in kept.items():
        if given is not None:
            raise ArgumentError(
                f"{name}: given with several columns, adjust= or a studentised mean of signs; "
                "their permutations are counted and not kept, and an executor divides them"
            )
    if how.plan.executor is None:
        own = (0, n, draws.key, draws.workers, draws.report)
        return _core.resample_exceedances(*(*arguments, *own))
    size = block_size(n)
    units = range(-(-n // size))

    def tick(done: int) -> None:
        if draws.report is not None and done < len(units):
            draws.report(min(done * size, n), n)

    work = _Counts(arguments, n, size, draws.key)
    counts: list[Any] = []
    maxima = np.empty(n)
    blocks: Any = computed(
        work,
        units,
        executor=how.plan.executor,
        store=None,
        tick=tick,
        name="blocks of permutations",
    )
    for unit, (*own, largest) in blocks:
        maxima[unit * size : unit * size + len(largest)] = largest
        # Sums of whole numbers do not depend on their order.
        counts = own if not counts else [a + b for a, b in zip(counts, own, strict=True)]
    return (*counts, maxima)
