"""Importance nested sampling: a second estimate of the evidence, from all points evaluated."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fermiac import _core
from fermiac.results.result import Result
from fermiac.results.sample import Sample

if TYPE_CHECKING:
    from fermiac.nested.job import Job

__all__ = ["ImportanceEvidence", "importance_of"]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ImportanceEvidence(Result):
    r"""The evidence by all points that a run of rejection evaluated, also those below its levels.

    What ``importance`` of `fermiac.nested.Nested` is, after a run with
    ``sampler=fermiac.nested.Uniform(importance=True)``.

    Attributes
    ----------
    log_evidence : float
        The logarithm of the evidence.
    log_evidence_stderr : float
        Its standard error; see the notes.
    ess : float
        The effective sample size (Σw)² / Σw² of the weights.
    khat : float
        The tail shape of the weights; see `fermiac.diagnostics.psis`.
    n_bounds : int
        Bounds that points were drawn from, the unit cube among them.
    sample : Sample
        All points, in the order in which they were drawn, with log-weights on their absolute scale:
        the mean of their exponentials is the evidence.

    Notes
    -----
    Of the N points, :math:`N_b` were drawn from bound b, whose volume within the unit cube is
    :math:`V_b`. All of them are weighted as if they came from the mixture

    .. math:: g(u) = \frac{1}{N} \sum_b \frac{N_b}{V_b} 1[u \in b],

    and the mean of :math:`L / g` estimates the evidence [1]_ [2]_. Volumes are estimated by more
    than 10 000 draws each, where they are not known.

    The variance is that of a mixture whose parts are drawn a fixed number of times each [3]_, the
    sum over bounds of the variance of the weights of their points about their own mean, with that
    of the volumes. It takes the bounds as given. They follow from points that are weighted with
    them, though, which the error does not know; and it is far smaller than that of the run, so that
    this matters sooner. A mode that the bounds have lost is missing from both evidences, and only
    the error of the run is wide enough to hide it: use more live points where modes are small.

    References
    ----------
    .. [1] E. Cameron, A. Pettitt, "Recursive pathways to marginal likelihood estimation with
       prior-sensitivity analysis", Statistical Science, 2014.
    .. [2] F. Feroz, M. P. Hobson, E. Cameron, A. N. Pettitt, "Importance nested sampling and the
       MultiNest algorithm", Open Journal of Astrophysics, 2019.
    .. [3] A. Owen, Y. Zhou, "Safe and effective importance sampling", Journal of the American
       Statistical Association, 2000.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> prior = fm.distributions.Uniform([-9.0, -9.0], [9.0, 9.0])
    >>> sampler = fm.nested.Uniform(importance=True)
    >>> r = fm.nested.sample(fm.distributions.Normal([0.0, 0.0]), prior, sampler=sampler, rng=0)
    >>> second = r.importance
    >>> bool(abs(second.log_evidence + np.log(18.0**2)) < 5 * second.log_evidence_stderr)
    True
    >>> bool(second.log_evidence_stderr < r.log_evidence_stderr)
    True
    """

    log_evidence: float
    log_evidence_stderr: float
    ess: float
    khat: float
    n_bounds: int
    sample: Sample

    def _headline(self) -> str:
        from fermiac.nested.result import with_error

        return (
            f"ImportanceEvidence: log Z = {with_error(self.log_evidence, self.log_evidence_stderr)}"
            f", ESS {self.ess:.0f}, k-hat {self.khat:.2f}"
        )


def importance_of(run: _core.NestedRun, job: Job, n_threads: int) -> ImportanceEvidence | None:
    """The estimate of a run; None where it does not keep its points."""
    start = time.perf_counter()
    raw = run.importance(*job.ports, n_threads)
    if raw is None:
        return None
    common: dict[str, Any] = {
        "seed": job.key,
        "version": _core.__version__,
        "isa": _core.isa_level,
        "settings": {},
        "n_evals": len(raw["log_weights"]),
        "wall_time": time.perf_counter() - start,
    }
    sample = Sample(
        **common,
        draws=raw["draws"],
        log_weights=raw["log_weights"],
        log_densities=raw["log_likelihoods"],
        names=job.names,
        error_model="weighted",
    )
    return ImportanceEvidence(
        **common,
        log_evidence=raw["log_evidence"],
        log_evidence_stderr=raw["log_evidence_stderr"],
        ess=float(sample.ess),
        khat=float(sample.khat),
        n_bounds=int((raw["counts"] > 0).sum()),
        sample=sample,
    )
