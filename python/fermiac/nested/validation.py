"""Validation of a run by repeats with chains twice as long, until the evidences agree."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fermiac._base import layout as fit
from fermiac._base.validate import shown, whole
from fermiac.errors import ArgumentError, ConvergenceWarning
from fermiac.nested.replicates import seeded_key
from fermiac.nested.result import with_error
from fermiac.nested.run import NestedLoop, longest
from fermiac.nested.samplers import Sampler, Slice
from fermiac.runs.loop import View

if TYPE_CHECKING:
    from fermiac.errors import FermiacWarning
    from fermiac.nested.job import Job
    from fermiac.nested.result import NestedResult
    from fermiac.runs.checkpoint import RunCheckpoint

__all__ = ["Repeats", "as_doublings"]

#: The largest number of doublings by default.
_DOUBLINGS = 4
#: The figures of each run.
_COLUMNS = ("n_slices", "log_evidence", "stderr", "n_evals")
_TREND = "trend"
#: The purposes of the keys of repeats start here.
_REPEATS = 100
#: A change of more standard errors is significant.
_SIGNIFICANT = 2.0
_TINY = 1e-24


def as_doublings(given: bool | int) -> int:
    """Return the largest number of doublings that ``validate`` allows, 0 for no repeats."""
    if isinstance(given, bool):
        return _DOUBLINGS if given else 0
    if not isinstance(given, int | np.integer):
        raise ArgumentError(
            f"validate: {shown(given)} given; True, False, or how often chains may be made twice "
            "as long is needed"
        )
    return whole("validate", given, 0, 20)


def lengthened(sampler: Sampler, n_moves: int) -> Sampler:
    """Return the sampler with twice the moves; slices for rejection, which has no chains."""
    return sampler._with_moves(2 * n_moves) if n_moves else Slice()


class Repeats:
    """A run, and its repeats with longer chains and other random numbers."""

    def __init__(
        self,
        job: Job,
        make: Callable[..., NestedLoop],
        n: int,
        *,
        start: float,
        checkpoint: RunCheckpoint | None,
    ) -> None:
        self._job, self._make, self._n = job, make, n
        self._start, self._checkpoint = start, checkpoint
        trend = None
        if checkpoint is not None and _TREND in checkpoint.stored:
            checkpoint.fit(checkpoint.stored, {_TREND: fit.array("f", "rows", len(_COLUMNS))})
            trend = checkpoint.stored.pop(_TREND)
        self._rows: list[list[float]] = [] if trend is None else trend.tolist()
        self._loop: NestedLoop | None = None

    def run(self) -> NestedResult:
        """Run and repeat until the evidences agree; return the last result."""
        view, best = View(), None
        while True:
            self._loop = loop = self._begun(view)
            try:
                result = loop.run()
            except BaseException as error:
                if best is not None:
                    error.partial_result = best  # type: ignore[attr-defined]
                raise
            best = self._noted(result)
            if not result.converged or self._settled() or len(self._rows) > self._n:
                return best

    def _begun(self, view: View) -> NestedLoop:
        """Return the next loop, to which a resumed checkpoint belongs."""
        job, times = self._job, len(self._rows)
        if times:
            key = seeded_key(job.key, _REPEATS + times)
            job = replace(job, sampler=lengthened(job.sampler, int(self._rows[-1][0])), key=key)
            if self._checkpoint is not None:
                self._checkpoint.beside = {_TREND: np.array(self._rows)}
        start = time.perf_counter() if times else self._start
        evals = int(sum(row[-1] for row in self._rows))
        return self._make(job, start=start, view=view, evals_before=evals)

    def _noted(self, result: NestedResult) -> NestedResult:
        """Add the figures of a run, and attach all figures so far to its result."""
        if self._n:
            n_slices = longest(result.trace)
            log_z, stderr = result.log_evidence, result.log_evidence_stderr
            if result.importance is not None and result.importance.is_fitted:
                # Independent points do not tell if chains are long enough.
                log_z, stderr = result.log_evidence_volumes, result.log_evidence_volumes_stderr
            self._rows.append([n_slices, log_z, stderr, result.n_evals])
            columns = np.array(self._rows).T
            object.__setattr__(result, "validation", dict(zip(_COLUMNS, columns, strict=True)))
        return result

    def _steps(self) -> NDArray[np.float64]:
        """Return the changes of the evidence from run to run, in standard errors."""
        _, log_z, stderr, _ = np.array(self._rows).T
        variance = stderr[1:] ** 2 + stderr[:-1] ** 2
        out: NDArray[np.float64] = np.diff(log_z) / np.sqrt(np.maximum(variance, _TINY))
        return out

    def _settled(self) -> bool:
        """Return whether the evidence changed by less than its error twice in a row."""
        return self._n == 0 or (
            len(self._rows) > 2 and bool(np.all(np.abs(self._steps()[-2:]) < 1))
        )

    def _trends(self) -> bool:
        """Return whether the changes are more than noise.

        Five runs with equal true evidences fail to agree twice in a row with a probability of a
        quarter. Such a failure alone is therefore no sign of a bias.
        """
        _, log_z, stderr, _ = np.array(self._rows).T
        times = np.arange(len(log_z)) - (len(log_z) - 1) / 2
        slope = float(times @ log_z)
        noise = float(np.sqrt(times**2 @ np.maximum(stderr**2, _TINY)))
        return abs(slope) > _SIGNIFICANT * noise or abs(float(self._steps()[-1])) > _SIGNIFICANT

    def findings(self, result: NestedResult) -> list[tuple[type[FermiacWarning], str]]:
        """Return the warnings about the last run, and about changes of the evidence."""
        assert self._loop is not None
        found = self._loop.findings(result)
        if self._n and len(self._rows) > 1 and not self._settled() and self._trends():
            runs = ", ".join(
                f"{n_slices:.0f}: {with_error(log_z, stderr)}"
                for n_slices, log_z, stderr, _ in self._rows
            )
            text = (
                "the evidence still changes when chains are made longer, so it cannot be trusted; "
                f"log Z by the moves of a chain is {runs}. Start from longer chains"
            )
            found.append((ConvergenceWarning, text))
        return found
