"""The final sample of a call in blocks of chunks: on workers, in jobs, and in a store.

The sampler is adapted first; jobs without a common store repeat the same adaptation. The points of
a block depend on its number alone, so that results have the bits of the undivided call.
"""

from __future__ import annotations

import math
import os
import pickle
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.validate import shown
from fermiac.errors import ArgumentError, CheckpointError, FermiacWarning
from fermiac.results import Result, load
from fermiac.results.result import Finding, quiet
from fermiac.results.reweight import PARTS
from fermiac.runs.engines import engine_of
from fermiac.runs.executor import require_executor, unit_of
from fermiac.runs.parts import Part, Store, computed, part_of
from fermiac.runs.shards import evaluation

if TYPE_CHECKING:
    from fermiac._base.progress import Report
    from fermiac.runs.executor import ExecutorLike

__all__ = [
    "BLOCK_FIELDS",
    "BlocksOfCall",
    "Pieces",
    "Separate",
    "Words",
    "Work",
    "in_blocks",
    "of_pieces",
    "takes_blocks",
]


Words = NDArray[np.uint64]

#: The number of points of a chunk in the core.
_CHUNK = 4096
#: The largest number of blocks of a call, and the smallest number of chunks per worker for blocks.
_MOST, _ENOUGH = 2**14, 4

#: The layout of the fields of `BlocksOfCall`.
BLOCK_FIELDS: fit.Layout = {
    "numbers": fit.array("iu", "blocks", low=0, rising=True),
    "n_blocks": fit.whole(1),
    "_sizes": fit.array("iu", "blocks", low=0),
    "_words": fit.array("u", "words"),
    "_prepared": fit.maybe(fit.array("u", "prepared")),
}


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class BlocksOfCall(Result):
    """Some blocks of the final sample of a call."""

    numbers: NDArray[np.int64]
    n_blocks: int
    _sizes: NDArray[np.int64]
    _words: Words
    #: The adaptation; None in the files of single blocks, since it has a file of its own.
    _prepared: Words | None

    _layout: ClassVar[fit.Layout] = BLOCK_FIELDS

    def _headline(self) -> str:
        return f"{type(self).__name__}: {len(self.numbers)} of {self.n_blocks} blocks"

    @public
    def merge(self, *others: Self) -> Self:
        """Join parts of one call.

        Parameters
        ----------
        *others : same type
            Other blocks of the same call.

        Returns
        -------
        same type
            All blocks of these parts.

        Raises
        ------
        ArgumentError
            If parts are from different calls, or have blocks in common.
        """
        parts = (self, *others)
        for i, part in enumerate(parts):
            if not isinstance(part, type(self)):
                raise ArgumentError(f"merge: {shown(part)} given; parts of one call are needed")
            if part._call() != self._call():
                raise ArgumentError(f"merge: part {i} is from another call than part 0")
        pieces: dict[int, Words] = {}
        for part in parts:
            for number, words in part._blocks():
                if number in pieces:
                    raise ArgumentError(f"merge: two parts hold block {number} of the call")
                pieces[number] = words
        prepared = next((p._prepared for p in parts if p._prepared is not None), None)
        return replace(
            self,
            n_evals=sum(part.n_evals for part in parts),
            wall_time=math.fsum(part.wall_time for part in parts),
            _prepared=prepared,
            **of_pieces(pieces),
        )

    def _call(self) -> tuple[Any, ...]:
        return self.seed, self.n_blocks, self.settings.get(PARTS), self.version, self.isa

    def _blocks(self) -> list[tuple[int, Words]]:
        ends = np.cumsum(self._sizes)
        if (ends[-1] if len(ends) else 0) != len(self._words):
            raise CheckpointError("the sizes of blocks do not match the number of their words")
        pieces = np.split(self._words, ends[:-1]) if len(ends) else []
        return list(zip(self.numbers.tolist(), pieces, strict=True))

    def _missing(self) -> list[Finding]:
        n = self.n_blocks - len(self.numbers)
        if not n:
            return []
        left = sorted(set(range(self.n_blocks)) - set(self.numbers.tolist()))
        more = ", ..." if n > 10 else ""
        text = f"{n} of {self.n_blocks} blocks are missing: {shown(left[:10], 200)[1:-1]}{more}"
        return [(FermiacWarning, text)]

    def _whole(self, call: str) -> list[Finding]:
        """Return the warning about missing blocks, or raise an error without any block."""
        if self._prepared is None or not len(self.numbers):
            raise ArgumentError(
                f"{call}: blocks and their adaptation are needed; merge all files of the folder"
            )
        return self._missing()


def of_pieces(pieces: Mapping[int, Words]) -> dict[str, Any]:
    """Return the fields for blocks, given by index."""
    numbers = sorted(pieces)
    words = [pieces[number] for number in numbers]
    return {
        "numbers": np.array(numbers, dtype=np.int64),
        "_sizes": np.array([len(one) for one in words], dtype=np.int64),
        "_words": np.concatenate(words) if words else np.empty(0, dtype=np.uint64),
    }


def takes_blocks(executor: Any, n: int, adapt_fraction: float, laws: Sequence[Any]) -> bool:
    """Return whether the workers of an executor draw the final sample in blocks."""
    if executor is None or unit_of(executor) == "points":
        return False
    if unit_of(executor) == "whole":
        return True
    given = require_executor(executor)
    n_workers = given.n_workers or 1
    chunks = n * (1.0 - adapt_fraction) / _CHUNK
    if chunks < _ENOUGH * n_workers:
        return False  # too few for all workers
    try:
        pickle.dumps(laws)
    except Exception:  # pickling of foreign objects can raise any exception
        return False
    return True


class Separate:
    """Blocks that are kept one by one."""

    def __init__(self) -> None:
        self._kept: dict[int, Words] = {}

    def add(self, number: int, words: Words) -> None:
        """Add a block."""
        self._kept[number] = words

    def pieces(self) -> dict[int, Words]:
        """Return the blocks."""
        return self._kept


class Pieces(Protocol):
    """What has arrived of a call."""

    def add(self, number: int, words: Words) -> None:
        """Add a block."""

    def pieces(self) -> dict[int, Words]:
        """Return what there is, by the index of its first block."""


class Work(ABC):
    """A call whose final sample is drawn in blocks; each block is a unit of work."""

    progress: bool | Report | None = False
    #: Whether the target is an integrand.
    integrand: ClassVar[bool]

    def __init__(
        self, target: Any, options: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> None:
        self._target, self._options, self._settings = target, dict(options), dict(settings)
        self._prepared: Words | None = None
        self._n_chunks = self._size = 0

    @abstractmethod
    def prepare(self, evaluated: Any, n_threads: int, report: Report | None) -> int:
        """Adapt the sampler; return the number of evaluations."""

    @abstractmethod
    def result(self, pieces: Mapping[int, Words], *, adapted: bool, **given: Any) -> BlocksOfCall:
        """Return a part with these blocks, with the adaptation or without."""

    @abstractmethod
    def words(self, start: int, stop: int) -> Words:
        """Return some chunks."""

    @abstractmethod
    def gather(self) -> Pieces:
        """Return a collection for the blocks of the whole call."""

    @abstractmethod
    def finished(self, part: Any, interrupted: bool) -> Result:
        """Return the result of the blocks of `gather`."""

    def resume(self, kept: Any) -> None:
        """Take the adaptation of a file."""
        self.take(np.asarray(kept._prepared, np.uint64), int(kept.settings[PARTS]["chunks"]))

    def take(self, words: Words, n_chunks: int) -> None:
        """Take an adaptation."""
        self._prepared, self._n_chunks = words, n_chunks
        # A power of two, so that a block is a node of the tree.
        self._size = 1 << max(-(-n_chunks // _MOST) - 1, 0).bit_length()

    @property
    def n_blocks(self) -> int:
        """The number of blocks of the final sample."""
        return -(-self._n_chunks // self._size)

    @property
    def points(self) -> int:
        """The number of points of a block."""
        return self._size * _CHUNK

    def common(self, pieces: Mapping[int, Words], adapted: bool) -> dict[str, Any]:
        """Return the fields of a part with these blocks."""
        return {
            "seed": self._options["key"],
            "version": _core.__version__,
            "isa": _core.isa_level,
            "settings": {**self._settings, PARTS: {"chunks": self._n_chunks}},
            "n_blocks": self.n_blocks,
            "_prepared": self._prepared if adapted else None,
            **of_pieces(pieces),
        }

    def __call__(self, block: int) -> BlocksOfCall:
        """Return the block with this index."""
        begun = time.perf_counter()
        start, stop = block * self._size, min((block + 1) * self._size, self._n_chunks)
        words = self.words(start, stop)
        took = time.perf_counter() - begun
        return self.result({block: words}, adapted=False, n_evals=0, wall_time=took)


def _known(folder: Store, work: Work) -> bool:
    """Load the adaptation from a store, if the store has it."""
    path = folder.beside("adaptation")
    if not path.exists():
        return False
    kept = load(path)
    if not isinstance(kept, BlocksOfCall) or kept._prepared is None:
        raise CheckpointError(f"store: {shown(os.fspath(path))} is not an adaptation")
    work.resume(kept)
    return True


def in_blocks(
    work: Work,
    target: Any,
    n: int,
    *,
    identity: Callable[[], str],
    part: Part | None,
    store: str | os.PathLike[str] | None,
    executor: ExecutorLike | None,
    n_threads: int,
    report: Report | None,
) -> Any:
    """Return the result of a call of `n` evaluations, or a part of it."""
    begun = time.perf_counter()
    kept = None if store is None else Store(store, identity(), 1)
    if kept is not None:
        kept.begin()
    before = 0
    if kept is None or not _known(kept, work):
        # No points are sent to an engine that starts a job for every task.
        takes_points = executor is None or engine_of(require_executor(executor).executor).pointwise
        with evaluation(
            target,
            executor=executor if takes_points else None,
            log=None,
            identity=dict,
            n_threads=n_threads,
            report=report,
            total=n,
            integrand=work.integrand,
        ) as (evaluated, shown_report):
            before = work.prepare(evaluated, n_threads, shown_report)
        if kept is not None:
            took = time.perf_counter() - begun
            alone = work.result({}, adapted=True, n_evals=before, wall_time=took)
            alone.save(kept.beside("adaptation"))
    units = part_of(part, work.n_blocks)
    if kept is not None:
        kept.n_units = work.n_blocks
    gathered = work.gather() if part is None else Separate()
    n_done = 0

    def so_far() -> BlocksOfCall:
        # The last block may be shorter.
        evals = min(before + n_done * work.points, n)
        took = time.perf_counter() - begun
        return work.result(gathered.pieces(), adapted=True, n_evals=evals, wall_time=took)

    def tick(count: int) -> None:
        if report is not None and count < len(units):
            report(min(before + count * work.points, n), n)

    try:
        made = computed(
            work, units, executor=executor, store=kept, tick=tick, name="blocks of points"
        )
        for unit, piece in made:
            assert isinstance(piece, BlocksOfCall)
            n_done += 1
            gathered.add(unit, np.asarray(piece._words, np.uint64))
    except BaseException as error:
        error.partial_result = None  # type: ignore[attr-defined]
        if n_done:
            with quiet():
                partial = work.finished(so_far(), True)
            error.partial_result = partial  # type: ignore[attr-defined]
        raise
    done = so_far()
    return done if part is not None else work.finished(done, False)
