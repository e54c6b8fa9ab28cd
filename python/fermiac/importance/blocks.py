"""The final sample of `expect` in blocks of chunks: on workers, in jobs, and in a store.

The sampler is adapted first; jobs without a common store repeat the same adaptation. Blocks are
nodes of the fixed tree in which the core adds all chunks, so that results have the same bits.
"""

from __future__ import annotations

import math
import os
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.validate import shown
from fermiac.errors import ArgumentError, CheckpointError, FermiacWarning
from fermiac.importance.result import to_estimate
from fermiac.results import Estimate, Result, load
from fermiac.results.result import Finding, quiet, warn
from fermiac.results.reweight import PARTS
from fermiac.runs.engines import engine_of
from fermiac.runs.executor import require_executor
from fermiac.runs.parts import Part, Store, computed, part_of
from fermiac.runs.shards import evaluation
from fermiac.targets.callables import law_handle
from fermiac.targets.conversion import as_integrand
from fermiac.targets.factories import Factory, as_factory

if TYPE_CHECKING:
    from fermiac._base.progress import Report
    from fermiac.runs.executor import ExecutorLike

__all__ = ["SHARDS", "Blocks", "PartialEstimate", "ShardsName", "expect_in_blocks", "takes_blocks"]

ShardsName: TypeAlias = Literal["auto", "points", "whole"]
SHARDS: tuple[str, ...] = get_args(ShardsName)

Words = NDArray[np.uint64]

#: The number of points of a chunk in the core.
_CHUNK = 4096
#: The largest number of blocks of a call, and the smallest number of chunks per worker for blocks.
_MOST, _ENOUGH = 2**14, 4


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class PartialEstimate(Result):
    """Sums over some blocks of the final sample of a call of `expect`.

    Attributes
    ----------
    numbers : ndarray of int64, shape (m,)
        The indices of the blocks, in ascending order.
    n_blocks : int
        The number of blocks of the whole call.

    Examples
    --------
    >>> import fermiac as fm
    >>> f, law = fm.targets.powers(2), fm.distributions.Normal()
    >>> parts = [fm.importance.expect(f, law, n=40_000, rng=0, part=(i, 3)) for i in range(3)]
    >>> e = fm.merge(parts).estimate()
    >>> bool(e.mean == fm.importance.expect(f, law, n=40_000, rng=0).mean)
    True
    """

    numbers: NDArray[np.int64]
    n_blocks: int
    _sizes: NDArray[np.int64]
    _words: Words
    #: The adaptation; None in the files of single blocks, since it has a file of its own.
    _prepared: Words | None
    _scalar: bool
    _complex: bool
    _labels: tuple[str, ...] | None
    _coordinates: tuple[str, ...]
    _dim: int
    _n_laws: int

    _layout: ClassVar[fit.Layout] = {
        "numbers": fit.array("iu", "blocks", low=0, rising=True),
        "n_blocks": fit.whole(1),
        "_sizes": fit.array("iu", "blocks", low=0),
        "_words": fit.array("u", "words"),
        "_prepared": fit.maybe(fit.array("u", "prepared")),
        "_scalar": fit.flag,
        "_complex": fit.flag,
        "_labels": fit.maybe(fit.texts),
        "_coordinates": fit.texts,
        "_dim": fit.whole(1),
        "_n_laws": fit.whole(1),
    }

    def _headline(self) -> str:
        return f"PartialEstimate: {len(self.numbers)} of {self.n_blocks} blocks"

    @public
    def merge(self, *others: PartialEstimate) -> PartialEstimate:
        """Join parts of one call.

        Parameters
        ----------
        *others : PartialEstimate
            Other blocks of the same call.

        Returns
        -------
        PartialEstimate
            All blocks of these parts.

        Raises
        ------
        ArgumentError
            If parts are from different calls, or have blocks in common.
        """
        parts = (self, *others)
        for i, part in enumerate(parts):
            if not isinstance(part, PartialEstimate):
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
            **_of_pieces(pieces),
        )

    @public
    def estimate(self) -> Estimate:
        """Return the estimate from the blocks of this part.

        Returns
        -------
        Estimate
            With all blocks it has the bits of the estimate of the undivided call. Whether a block
            is missing does not depend on its values, so the estimate from the others is unbiased.

        Raises
        ------
        ArgumentError
            If there are no blocks, or no file of the adaptation in the folder of a store.

        Warns
        -----
        FermiacWarning
            If blocks are missing. The warnings of `expect` are given as well.
        """
        if self._prepared is None or not len(self.numbers):
            raise ArgumentError(
                "estimate: blocks and their adaptation are needed; merge all files of the folder"
            )
        missing = self._missing()
        result = self._combined(bool(missing))
        warn(missing, result)
        return result

    def _combined(self, interrupted: bool) -> Estimate:
        """Return the estimate of blocks, or of nodes, which have the index of their first block."""
        assert self._prepared is not None
        assert self.seed is not None
        raw = _core.importance_combine(self._prepared, self._blocks(), self._dim, self._n_laws)
        return to_estimate(
            raw,
            {k: v for k, v in self.settings.items() if k != PARTS},
            self.seed,
            self._scalar,
            self._complex,
            self._labels,
            interrupted,
            self.wall_time,
            self._coordinates,
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


def _of_pieces(pieces: Mapping[int, Words]) -> dict[str, Any]:
    """Return the fields for blocks, given by index."""
    numbers = sorted(pieces)
    words = [pieces[number] for number in numbers]
    return {
        "numbers": np.array(numbers, dtype=np.int64),
        "_sizes": np.array([len(one) for one in words], dtype=np.int64),
        "_words": np.concatenate(words) if words else np.empty(0, dtype=np.uint64),
    }


class _Nodes:
    """Blocks that are added on arrival, so that memory does not depend on the size of a call."""

    def __init__(self, prepared: Words) -> None:
        self._prepared = prepared
        self._kept: dict[tuple[int, int], Words] = {}

    def add(self, number: int, words: Words) -> None:
        """Add a block, and join complete pairs of nodes."""
        at = (0, number)
        while (beside := self._kept.pop((at[0], at[1] ^ 1), None)) is not None:
            left, right = (beside, words) if at[1] & 1 else (words, beside)
            words = _core.importance_join(self._prepared, left, right)
            at = (at[0] + 1, at[1] >> 1)
        self._kept[at] = words

    def pieces(self) -> dict[int, Words]:
        """Return the nodes by the index of their first block."""
        return {index << level: words for (level, index), words in self._kept.items()}


def takes_blocks(
    how: str, executor: Any, n: int, adapt_fraction: float, laws: Sequence[Any], together: bool
) -> bool:
    """Return whether the workers of an executor draw the final sample in blocks."""
    if how != "auto":
        return how == "whole"
    if executor is None or together:
        return False
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


class Blocks:
    """A call of `expect` whose final sample is drawn in blocks; each block is a unit of work."""

    progress: bool | Report | None = False

    def __init__(
        self,
        target: Any,
        laws: Sequence[Any],
        options: Mapping[str, Any],
        settings: Mapping[str, Any],
        labels: tuple[str, ...] | None,
        coordinates: tuple[str, ...],
    ) -> None:
        self._target, self._laws, self._options = target, list(laws), dict(options)
        self._settings, self._labels, self._coordinates = dict(settings), labels, coordinates
        self._prepared: Words | None = None
        self._n_chunks = self._size = 0
        self._scalar = self._complex = False

    def integrand(self, target: Any, first: Callable[[int, bool], None] | None = None) -> Any:
        """Return a target for the core."""
        dim = self._laws[0].dim
        return as_integrand(
            target.build(dim) if isinstance(target, Factory) else target, dim, first
        )

    def prepare(self, integrand: Any, n_threads: int, report: Report | None) -> int:
        """Adapt the sampler; return the number of evaluations."""
        handles = [law_handle(law) for law in self._laws]
        words, n_chunks, before = _core.importance_prepare(
            integrand.handle, handles, self._options, n_threads, report
        )
        self._take(words, n_chunks)
        self._scalar = len(self._laws) == 1 and bool(integrand.scalar)
        self._complex = bool(integrand.complex)
        return before

    def _take(self, words: Words, n_chunks: int) -> None:
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

    def result(
        self, pieces: Mapping[int, Words], *, adapted: bool, **given: Any
    ) -> PartialEstimate:
        """Return a result with these blocks, with the adaptation or without."""
        return PartialEstimate(
            seed=self._options["key"],
            version=_core.__version__,
            isa=_core.isa_level,
            settings={**self._settings, PARTS: {"chunks": self._n_chunks}},
            n_blocks=self.n_blocks,
            _prepared=self._prepared if adapted else None,
            _scalar=self._scalar,
            _complex=self._complex,
            _labels=self._labels,
            _coordinates=self._coordinates,
            _dim=self._laws[0].dim,
            _n_laws=len(self._laws),
            **_of_pieces(pieces),
            **given,
        )

    def __call__(self, block: int) -> PartialEstimate:
        """Return the block with this index."""
        begun = time.perf_counter()
        start, stop = block * self._size, min((block + 1) * self._size, self._n_chunks)
        integrand = self.integrand(self._target)
        assert self._prepared is not None
        words = _core.importance_block(
            integrand.handle,
            [law_handle(law) for law in self._laws],
            self._options,
            self._prepared,
            start,
            stop,
            resolve_threads(None),
            self.progress if callable(self.progress) else None,
        )
        took = time.perf_counter() - begun
        return self.result({block: words}, adapted=False, n_evals=0, wall_time=took)


def _known(folder: Store, blocks: Blocks) -> bool:
    """Load the adaptation from a store, if the store has it."""
    path = folder.beside("adaptation")
    if not path.exists():
        return False
    kept = load(path)
    if not isinstance(kept, PartialEstimate) or kept._prepared is None:
        raise CheckpointError(f"store: {shown(os.fspath(path))} is not an adaptation")
    blocks._take(np.asarray(kept._prepared, np.uint64), int(kept.settings[PARTS]["chunks"]))
    blocks._scalar, blocks._complex = kept._scalar, kept._complex
    return True


def expect_in_blocks(
    f: Any,
    laws: Sequence[Any],
    options: Mapping[str, Any],
    settings: Mapping[str, Any],
    first: Callable[[int, bool], None],
    *,
    labels: tuple[str, ...] | None,
    coordinates: tuple[str, ...],
    identity: Callable[[], str],
    part: Part | None,
    store: str | os.PathLike[str] | None,
    executor: ExecutorLike | None,
    target_factory: str | Factory | None,
    n_threads: int,
    report: Report | None,
) -> Estimate | PartialEstimate:
    """Return an estimate, or a part of one, whose final sample is drawn in blocks."""
    begun = time.perf_counter()
    n, target = int(options["n"]), f
    if target_factory is not None and executor is not None:
        target = as_factory(target_factory)
    blocks = Blocks(target, laws, options, settings, labels, coordinates)
    kept = None if store is None else Store(store, identity(), 1)
    if kept is not None:
        kept.begin()
    before = 0
    if kept is None or not _known(kept, blocks):
        # No points are sent to an engine that starts a job for every task.
        takes_points = executor is None or engine_of(require_executor(executor).executor).pointwise
        with evaluation(
            f,
            executor=executor if takes_points else None,
            target_factory=target_factory,
            log=None,
            identity=dict,
            n_threads=n_threads,
            report=report,
            total=n,
            integrand=True,
        ) as (evaluated, shown_report):
            before = blocks.prepare(blocks.integrand(evaluated, first), n_threads, shown_report)
        if kept is not None:
            took = time.perf_counter() - begun
            alone = blocks.result({}, adapted=True, n_evals=before, wall_time=took)
            alone.save(kept.beside("adaptation"))
    units = part_of(part, blocks.n_blocks)
    if kept is not None:
        kept.n_units = blocks.n_blocks
    assert blocks._prepared is not None
    pieces: dict[int, Words] = {}
    nodes = _Nodes(blocks._prepared)
    n_done = 0

    def so_far() -> PartialEstimate:
        # The last block may be shorter.
        evals = min(before + n_done * blocks.points, n)
        found = pieces if part is not None else nodes.pieces()
        took = time.perf_counter() - begun
        return blocks.result(found, adapted=True, n_evals=evals, wall_time=took)

    def tick(count: int) -> None:
        if report is not None and count < len(units):
            report(min(before + count * blocks.points, n), n)

    try:
        made = computed(
            blocks, units, executor=executor, store=kept, tick=tick, name="blocks of points"
        )
        for unit, piece in made:
            assert isinstance(piece, PartialEstimate)
            words = np.asarray(piece._words, np.uint64)
            n_done += 1
            if part is None:
                nodes.add(unit, words)
            else:
                pieces[unit] = words
    except BaseException as error:
        error.partial_result = None  # type: ignore[attr-defined]
        if n_done:
            with quiet():
                partial = so_far()._combined(True)
            error.partial_result = partial  # type: ignore[attr-defined]
        raise
    done = so_far()
    return done if part is not None else done._combined(False)
