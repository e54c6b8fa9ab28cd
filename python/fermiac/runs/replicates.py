"""Replicates of a call in blocks: on workers, in parts of a call, and in a store.

The random stream of a replicate depends on its number alone, so blocks of replicates are the same
wherever they are drawn, and joining them gives the whole call.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.config import resolve_threads, threads
from fermiac._base.plan import Plan
from fermiac._base.progress import Report
from fermiac._base.validate import shown
from fermiac.errors import ArgumentError
from fermiac.results.reweight import PARTS
from fermiac.runs.parts import gathered, part_of, store_of
from fermiac.runs.rows import RowsOfCall

__all__ = ["Drawing", "Replicates", "block_size", "drawn", "first_rows", "given_replicates"]

Array = NDArray[np.float64]

#: The fewest blocks of a call, if it has as many replicates, the most replicates of a block, and
#: the most replicates of a call in blocks.
_BLOCKS, _LARGEST, _MOST = 256, 4096, 2**32


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Replicates(RowsOfCall):
    """Some replicates of a call, with their address.

    Give all replicates of a call to the same call as ``replicates=`` for its result.

    Attributes
    ----------
    array : ndarray, shape (m, ...)
        The replicates: the numbers that the call needs of each.
    blocks : tuple of (int, int)
        Their positions among the replicates of the call, as starts and stops.
    n_rows : int
        The number of replicates of the whole call.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.random.Stream(1).exponential(30)
    >>> plans = [fm.Plan(part=(i, 3)) for i in range(3)]
    >>> parts = [fm.resample.bootstrap(x, "sd", rng=0, plan=plan) for plan in plans]
    >>> r = fm.resample.bootstrap(x, "sd", rng=0, replicates=fm.merge(parts))
    >>> r.upper == fm.resample.bootstrap(x, "sd", rng=0).upper
    True
    """


class Drawing(NamedTuple):
    """Where the replicates of a call are drawn, or those that it was given."""

    plan: Plan = Plan()
    replicates: Any = None
    rng: Any = None

    @property
    def is_plain(self) -> bool:
        """Whether replicates are drawn by this process, all at once."""
        plan = self.plan
        return all(given is None for given in (plan.executor, plan.part, plan.store, self[1]))

    def check(self, adaptive: bool) -> None:
        """Refuse arguments that exclude each other."""
        given = {name: getattr(self.plan, name) for name in ("executor", "part", "store")}
        for name, value in {**given, "executor": None, "replicates": self.replicates}.items():
            if value is not None and adaptive:
                raise ArgumentError(
                    f"{name}: given with tolerance=, which does not fix the number of replicates"
                )
        for name, value in given.items():
            if value is not None and self.replicates is not None:
                raise ArgumentError(
                    f"{name}: given with replicates=, so that none are drawn; leave one out"
                )


def block_size(n: int, multiple: int = 1) -> int:
    """Return the number of replicates of a block of a call; refuse too many replicates."""
    if n > _MOST:
        raise ArgumentError(
            f"executor, part, store: given for {n} replicates; {_MOST} at most are drawn in blocks"
        )
    size = min(1 << max(-(-n // _BLOCKS) - 1, 0).bit_length(), _LARGEST)
    return -(-size // multiple) * multiple


class _Block:
    """A block of replicates, as the work of a unit."""

    progress: bool | Report = False

    def __init__(
        self, work: Callable[[int, int], Array], first: int, n: int, size: int, seed: int, call: str
    ) -> None:
        self._target = work
        self._first, self._n, self._size = first, n, size
        self._seed, self._call = seed, call

    def __call__(self, unit: int) -> Replicates:
        """Return the block with this number."""
        return self.rows(unit * self._size, min((unit + 1) * self._size, self._n))

    def rows(self, start: int, stop: int) -> Replicates:
        """Return some replicates."""
        began = time.perf_counter()
        array = self._target(self._first + start, self._first + stop)
        return Replicates(
            seed=self._seed,
            version=_core.__version__,
            isa=_core.isa_level,
            settings={PARTS: self._call},
            n_evals=0,
            wall_time=time.perf_counter() - began,
            array=np.asarray(array, np.float64),
            blocks=((start, stop),),
            n_rows=self._n,
        )


def drawn(
    work: Callable[[int, int], Array],
    n: int,
    how: Drawing,
    *,
    seed: int,
    call: Callable[[], str],
    report: Report | None,
    first: int = 0,
    multiple: int = 1,
) -> Replicates:
    """Return replicates `first` to `first` + n - 1 of a call, or those of a part.

    If the call was given all replicates, it returns these. An interrupt has the finished replicates
    as its ``partial_result``.

    Parameters
    ----------
    work : callable
        A function of a start and a stop that returns these replicates, one row each. It is pickled
        for an executor.
    n : int
        The number of replicates.
    how : Drawing
    seed : int
        The key of the call.
    call : callable
        A function that returns the digest of the call.
    report : callable, optional
        The progress callback, in replicates.
    first : int, default 0
    multiple : int, default 1
        The sizes of blocks are multiples of this number.
    """
    if how.replicates is not None:
        given_replicates(how.replicates, n, seed, call)
        given: Replicates = how.replicates
        return given
    size = block_size(n, multiple)
    digest = call()
    block = _Block(work, first, n, size, seed, digest)
    plan = how.plan
    workers = resolve_threads(plan.n_threads)
    here = nullcontext() if plan.executor is not None else threads(workers)
    if plan.executor is None and plan.store is None:
        rows = part_of(plan.part, n)
        with here:
            return block.rows(rows.start, rows.stop)
    units = part_of(plan.part, -(-n // size))

    def join(done: dict[int, Replicates]) -> Replicates:
        one, *more = done.values()
        return one.merge(*more)

    def blocks_done(done: int, total: int) -> None:
        if report is not None and done < total:
            report(min(done * size, n), n)

    with here:
        return gathered(
            block, units, join, executor=plan.executor,
            store=store_of(plan.store, how.rng, lambda: digest, -(-n // size)),
            progress=False if report is None else blocks_done,
            label="replicates", name="blocks of replicates",
        )  # fmt: skip


def first_rows(stopped: BaseException) -> Array:
    """Return the first replicates of a call that was interrupted, as far as there are no gaps."""
    made = getattr(stopped, "partial_result", None)
    if not isinstance(made, Replicates) or made.blocks[0][0] != 0:
        return np.empty((0, 0))
    return made.array[: made.blocks[0][1]]


def given_replicates(given: Any, n: int, seed: int, call: Callable[[], str]) -> Array:
    """Return the replicates of the argument ``replicates``: all those of this call."""
    if not isinstance(given, Replicates):
        raise ArgumentError(
            f"replicates: {shown(given)} given; the merged parts of the same call are needed "
            "(fermiac.merge)"
        )
    if given.seed != seed or given.n_rows != n or given.settings.get(PARTS) != call():
        raise ArgumentError(
            f"replicates: {len(given.array)} of another call given; its data, statistic, settings, "
            "seed, version or instruction-set level differ"
        )
    if given.blocks != ((0, n),):
        missing = given._missing()
        raise ArgumentError(f"replicates: {missing[0][1]}")
    return given.array
