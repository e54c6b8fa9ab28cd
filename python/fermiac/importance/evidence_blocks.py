"""The final stage of `evidence` in blocks, whose points follow each other in the sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac.importance.blocks import BLOCK_FIELDS, BlocksOfCall, Separate, Words, Work
from fermiac.importance.result import Evidence, to_evidence
from fermiac.results.result import warn
from fermiac.results.reweight import PARTS
from fermiac.targets.callables import law_handle

if TYPE_CHECKING:
    from fermiac._base.progress import Report
    from fermiac.targets.model import ModelTarget

__all__ = ["EvidenceBlocks", "PartialEvidence"]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class PartialEvidence(BlocksOfCall):
    """Points of some blocks of the final stage of a call of `evidence`.

    Attributes
    ----------
    numbers : ndarray of int64, shape (m,)
        The indices of the blocks, in ascending order.
    n_blocks : int
        The number of blocks of the whole call.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Normal(0.0, 3.0)
    >>> def log_density(x):
    ...     return -0.5 * x[:, 0] ** 2
    >>> plans = [fm.Plan(part=(i, 3)) for i in range(3)]
    >>> parts = [
    ...     fm.importance.evidence(log_density, law, n=20_000, rng=0, plan=plan)
    ...     for plan in plans
    ... ]
    >>> z = fm.merge(parts).evidence()
    >>> whole = fm.importance.evidence(log_density, law, n=20_000, rng=0)
    >>> z.log_evidence == whole.log_evidence
    True
    """

    _names: tuple[str, ...]
    _dim: int

    _layout: ClassVar[fit.Layout] = {
        **BLOCK_FIELDS,
        "_names": fit.texts,
        "_dim": fit.whole(1),
    }

    @public
    def evidence(self) -> Evidence:
        """Return the evidence from the blocks of this part.

        Returns
        -------
        Evidence
            With all blocks it has the bits of the result of the undivided call. Whether a block is
            missing does not depend on its points, so the evidence from the others is unbiased.

        Raises
        ------
        ArgumentError
            If there are no blocks, or no file of the adaptation in the folder of a store.

        Warns
        -----
        FermiacWarning
            If blocks are missing. The warnings of `fermiac.importance.evidence` are given as well.
        """
        missing = self._whole("evidence")
        result = self._combined(bool(missing), None)
        warn(missing, result)
        return result

    def _combined(self, interrupted: bool, model: ModelTarget | None) -> Evidence:
        assert self._prepared is not None
        assert self.seed is not None
        blocks = [words for _, words in self._blocks()]
        raw = _core.importance_evidence_combine(self._prepared, blocks, self._dim)
        settings = {k: v for k, v in self.settings.items() if k != PARTS}
        return to_evidence(
            raw, None, settings, self.seed, self._names, interrupted, self.wall_time, model
        )


class EvidenceBlocks(Work):
    """A call of `evidence`."""

    integrand = False

    def __init__(
        self,
        target: Any,
        law: Any,
        options: Mapping[str, Any],
        settings: Mapping[str, Any],
        names: tuple[str, ...],
    ) -> None:
        super().__init__(target, options, settings)
        self._law, self._names = law, names
        #: The model of the target, in the driver.
        self.model: ModelTarget | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "model": None}

    def prepare(self, evaluated: Any, n_threads: int, report: Report | None) -> int:
        """Adapt the sampler; return the number of evaluations."""
        words, n_chunks, before = _core.importance_evidence_prepare(
            evaluated._handle, law_handle(self._law), self._options, n_threads, report
        )
        self.take(words, n_chunks)
        return before

    def result(
        self, pieces: Mapping[int, Words], *, adapted: bool, **given: Any
    ) -> PartialEvidence:
        """Return a part with these blocks, with the adaptation or without."""
        common = self.common(pieces, adapted)
        return PartialEvidence(**common, _names=self._names, _dim=self._law.dim, **given)

    def words(self, start: int, stop: int) -> Words:
        """Return the points of some chunks."""
        assert self._prepared is not None
        return _core.importance_evidence_block(
            self._target._handle,
            law_handle(self._law),
            self._options,
            self._prepared,
            start,
            stop,
            resolve_threads(None),
            self.progress if callable(self.progress) else None,
        )

    def gather(self) -> Separate:
        """Return a collection for the blocks of the whole call."""
        return Separate()

    def finished(self, part: PartialEvidence, interrupted: bool) -> Evidence:
        """Return the evidence of the blocks of `gather`."""
        return part._combined(interrupted, self.model)
