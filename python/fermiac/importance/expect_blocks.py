"""The final sample of `expect` in blocks: nodes of the tree in which the core adds chunks."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac.importance.blocks import BLOCK_FIELDS, BlocksOfCall, Words, Work, in_blocks
from fermiac.importance.result import to_estimate
from fermiac.results import Estimate
from fermiac.results.result import warn
from fermiac.results.reweight import PARTS
from fermiac.runs.parts import Part
from fermiac.targets.callables import law_handle
from fermiac.targets.conversion import as_integrand

if TYPE_CHECKING:
    from fermiac._base.progress import Report
    from fermiac.runs.executor import ExecutorLike

__all__ = ["PartialEstimate", "expect_in_blocks"]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class PartialEstimate(BlocksOfCall):
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
    >>> parts = [
    ...     fm.importance.expect(f, law, n=40_000, rng=0, plan=fm.Plan(part=(i, 3)))
    ...     for i in range(3)
    ... ]
    >>> e = fm.merge(parts).estimate()
    >>> bool(e.mean == fm.importance.expect(f, law, n=40_000, rng=0).mean)
    True
    """

    _scalar: bool
    _complex: bool
    _labels: tuple[str, ...] | None
    _coordinates: tuple[str, ...]
    _dim: int
    _n_laws: int

    _layout: ClassVar[fit.Layout] = {
        **BLOCK_FIELDS,
        "_scalar": fit.flag,
        "_complex": fit.flag,
        "_labels": fit.maybe(fit.texts),
        "_coordinates": fit.texts,
        "_dim": fit.whole(1),
        "_n_laws": fit.whole(1),
    }

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
        missing = self._whole("estimate")
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


class Blocks(Work):
    """A call of `expect`."""

    integrand = True

    def __init__(
        self,
        target: Any,
        laws: Sequence[Any],
        options: Mapping[str, Any],
        settings: Mapping[str, Any],
        labels: tuple[str, ...] | None,
        coordinates: tuple[str, ...],
    ) -> None:
        super().__init__(target, options, settings)
        self._laws, self._labels, self._coordinates = list(laws), labels, coordinates
        self._scalar = self._complex = False
        #: The check of the first values, in the driver.
        self._first: Callable[[int, bool], None] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_first": None}

    def prepare(self, evaluated: Any, n_threads: int, report: Report | None) -> int:
        """Adapt the sampler; return the number of evaluations."""
        integrand = as_integrand(evaluated, self._laws[0].dim, self._first)
        handles = [law_handle(law) for law in self._laws]
        words, n_chunks, before = _core.importance_prepare(
            integrand.handle, handles, self._options, n_threads, report
        )
        self.take(words, n_chunks)
        self._scalar = len(self._laws) == 1 and bool(integrand.scalar)
        self._complex = bool(integrand.complex)
        return before

    def resume(self, kept: Any) -> None:
        """Take the adaptation of a file."""
        super().resume(kept)
        self._scalar, self._complex = kept._scalar, kept._complex

    def result(
        self, pieces: Mapping[int, Words], *, adapted: bool, **given: Any
    ) -> PartialEstimate:
        """Return a part with these blocks, with the adaptation or without."""
        return PartialEstimate(
            **self.common(pieces, adapted),
            _scalar=self._scalar,
            _complex=self._complex,
            _labels=self._labels,
            _coordinates=self._coordinates,
            _dim=self._laws[0].dim,
            _n_laws=len(self._laws),
            **given,
        )

    def words(self, start: int, stop: int) -> Words:
        """Return the sums of some chunks."""
        assert self._prepared is not None
        return _core.importance_block(
            as_integrand(self._target, self._laws[0].dim).handle,
            [law_handle(law) for law in self._laws],
            self._options,
            self._prepared,
            start,
            stop,
            resolve_threads(None),
            self.progress if callable(self.progress) else None,
        )

    def gather(self) -> _Nodes:
        """Return a collection for the blocks of the whole call."""
        assert self._prepared is not None
        return _Nodes(self._prepared)

    def finished(self, part: PartialEstimate, interrupted: bool) -> Estimate:
        """Return the estimate of the nodes of `gather`."""
        return part._combined(interrupted)


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
    n_threads: int,
    report: Report | None,
) -> Estimate | PartialEstimate:
    """Return an estimate, or a part of one, whose final sample is drawn in blocks."""
    work = Blocks(f, laws, options, settings, labels, coordinates)
    work._first = first
    made: Estimate | PartialEstimate = in_blocks(
        work,
        f,
        int(options["n"]),
        identity=identity,
        part=part,
        store=store,
        executor=executor,
        n_threads=n_threads,
        report=report,
    )
    return made
