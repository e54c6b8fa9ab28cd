"""Importance nested sampling: an estimate of the evidence from all evaluated points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from fermiac import _core
from fermiac._base import layout as fit
from fermiac.results.result import Result
from fermiac.results.sample import Sample

if TYPE_CHECKING:
    from fermiac.nested.job import Job

__all__ = ["ImportanceEvidence", "importance_of"]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ImportanceEvidence(Result):
    r"""The evidence from all points that a rejection run evaluated, also those below its levels.

    The field ``importance`` of `fermiac.nested.NestedResult`, after a run with
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
        The number of bounds that points were drawn from, including the unit cube.
    sample : Sample
        All points of the bounds in the order of the draws, with log-weights on an absolute scale:
        the mean of their exponentials is the evidence.

    Notes
    -----
    Of the N points, :math:`N_b` were drawn from bound b, whose volume within the unit cube is
    :math:`V_b`. All of them are weighted as if they came from the mixture

    .. math:: g(u) = \frac{1}{N} \sum_b \frac{N_b}{V_b} 1[u \in b],

    and the mean of :math:`L / g` estimates the evidence [1]_ [2]_. Unknown volumes are estimated
    from more than 10 000 draws each.

    The variance is that of a mixture with a fixed number of draws from each part [3]_. It is the
    sum over bounds of the variance of the weights about the mean of their bound, plus the variance
    due to the volumes. It treats the bounds as fixed, although they depend on the same points. This
    matters more than for the run, because the error is far smaller. A mode that the bounds have
    lost is missing from both evidences, and the error does not cover it. Use more live points if
    modes are small.

    References
    ----------
    .. [1] E. Cameron, A. Pettitt, "Recursive pathways to marginal likelihood estimation with
       prior-sensitivity analysis", Statistical Science, 2014, doi:10.1214/13-STS465.
    .. [2] F. Feroz, M. P. Hobson, E. Cameron, A. N. Pettitt, "Importance nested sampling and the
       MultiNest algorithm", Open Journal of Astrophysics, 2019, doi:10.21105/astro.1306.2144.
    .. [3] A. Owen, Y. Zhou, "Safe and effective importance sampling", Journal of the American
       Statistical Association, 2000, doi:10.1080/01621459.2000.10473909.

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
    log_evidence_tests: float
    log_evidence_tests_stderr: float
    n_tests: int
    cut_share: float
    n_cut: int
    ess: float
    khat: float
    n_bounds: int
    sample: Sample

    _layout: ClassVar[fit.Layout] = {
        "log_evidence": fit.real,
        "log_evidence_stderr": fit.real,
        "log_evidence_tests": fit.real,
        "log_evidence_tests_stderr": fit.real,
        "n_tests": fit.whole(0),
        "cut_share": fit.real,
        "n_cut": fit.whole(0),
        "ess": fit.real,
        "khat": fit.real,
        "n_bounds": fit.whole(0),
        "sample": fit.instance("Sample"),
    }

    def doubts(self, log_evidence: float, stderr: float) -> str:
        """Return why the error may not hold, beside an estimate from prior masses; "" if it does."""
        return ""

    def _headline(self) -> str:
        from fermiac.nested.result import with_error

        return (
            f"ImportanceEvidence: log Z = {with_error(self.log_evidence, self.log_evidence_stderr)}"
            f", ESS {self.ess:.0f}, k-hat {self.khat:.2f}"
        )


def importance_of(raw: Mapping[str, Any], job: Job) -> ImportanceEvidence:
    """Return the estimate of a run from what the core gave."""
    raw = job.shown(dict(raw))
    common: dict[str, Any] = {
        "seed": job.key,
        "version": _core.__version__,
        "isa": _core.isa_level,
        "settings": {},
        "n_evals": len(raw["log_weights"]),
        "wall_time": 0.0,
    }
    sample = Sample(
        **common,
        draws=raw["draws"],
        log_weights=raw["log_weights"],
        log_densities=raw["log_likelihoods"],
        **job.labelled(),
        error_model="weighted",
    )
    object.__setattr__(sample, "_model", job.model)
    return ImportanceEvidence(
        **common,
        log_evidence=float(raw["log_evidence"]),
        log_evidence_stderr=float(raw["log_evidence_stderr"]),
        log_evidence_tests=float(raw["log_evidence_tests"]),
        log_evidence_tests_stderr=float(raw["log_evidence_tests_stderr"]),
        n_tests=int(raw["test_counts"].sum()),
        cut_share=float(raw["cut_share"]),
        n_cut=int(raw["n_cut"]),
        ess=float(sample.ess),
        khat=float(sample.khat),
        n_bounds=int((raw["counts"] > 0).sum()),
        sample=sample,
    )
