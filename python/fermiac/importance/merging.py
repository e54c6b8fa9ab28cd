"""Merging of evidences from independent calls."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from fermiac import _core
from fermiac._base.validate import shown
from fermiac.errors import ArgumentError, ConvergenceWarning
from fermiac.results.merging import disagreement, joined_sampler, provenance, shares
from fermiac.results.result import warn

if TYPE_CHECKING:
    from fermiac.importance.result import Evidence

__all__ = ["merge_evidences"]


def merge_evidences(
    first: Evidence, others: tuple[Evidence, ...], weights: ArrayLike | None
) -> Evidence:
    """Return the evidence of `Evidence.merge`."""
    runs = (first, *others)
    for i, run in enumerate(runs):
        if not isinstance(run, type(first)):
            raise ArgumentError(f"merge: {shown(run)} given; evidences are needed")
        if run.sample.draws.shape[1:] != first.sample.draws.shape[1:]:
            raise ArgumentError(
                f"merge: the points of evidence {i} have the shape {run.sample.draws.shape[1:]}, "
                f"those of evidence 0 {first.sample.draws.shape[1:]}; evidences of one target can "
                "be merged"
            )
    common = provenance("merge", runs)
    share = shares("merge", runs, weights)
    logs = np.array([run.log_evidence for run in runs])
    top = float(logs.max())
    scaled = np.exp(logs - top) if top > -math.inf else np.zeros(len(runs))
    parts = share * scaled
    whole = math.fsum(parts)
    relative = np.array([run.log_evidence_stderr for run in runs])
    error, log_evidence = float(relative.max()), -math.inf
    # A run without mass has no relative error, and does not contribute to the mean.
    relative = np.where(scaled > 0, relative, 0.0)
    if whole > 0:
        log_evidence = top + math.log(whole)
        error = math.sqrt(math.fsum((parts * relative) ** 2)) / whole
    sizes = [run.sample.n_draws for run in runs]
    weighted = []
    for run, part in zip(runs, share, strict=True):
        logw = run.sample.log_weights
        assert logw is not None
        # The mean of all weights becomes the merged evidence.
        weighted.append(
            replace(run.sample, log_weights=logw + math.log(part * sum(sizes) / run.sample.n_draws))
        )
    sample = weighted[0].merge(*weighted[1:]) if others else first.sample
    assert sample.log_weights is not None
    logw = sample.log_weights.reshape(-1)
    w = np.exp(logw - logw.max()) if logw.max() > -math.inf else np.zeros(len(logw))
    squares = math.fsum(w**2)
    ess = math.fsum(w) ** 2 / squares if squares > 0 else 0.0
    means = scaled[:, None]
    errors = np.where(means > 0, means * relative[:, None], np.inf)
    found = disagreement(["log Z"], means, errors)
    missed = int((logs == -math.inf).sum())
    if missed:
        found.append(
            (
                ConvergenceWarning,
                f"{missed} of {len(runs)} runs met no point with density; their zeros count in "
                f"the mean, but its error does not include them: raise n of each",
            )
        )
    result = replace(
        first,
        **common,
        log_evidence=log_evidence,
        log_evidence_stderr=error,
        ess=ess,
        khat=float(_core.khat(w)) if squares > 0 else math.nan,
        converged=common["status"] == "complete"
        and not found
        and ess >= 10 * (sample.draws.shape[-1] + 1),
        stages=tuple(stage for run in runs for stage in run.stages),
        df=math.fsum(run.df for run in runs),
        n_replicates=sum(run.n_replicates or 0 for run in runs) or None,
        sample=sample,
        sampler=joined_sampler(runs, share),
    )
    warn(found, result)
    return result
