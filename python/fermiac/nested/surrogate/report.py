"""How a surrogate fared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fermiac.results.result import Result

__all__ = ["SurrogateReport"]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class SurrogateReport(Result):
    """How a surrogate fared: what it cost, how it was judged, and what it was corrected by.

    Attributes
    ----------
    mode : str
        ``"two-pass"`` or ``"switch"``.
    rejected : bool
        Whether the surrogate was refused, so that the result is that of the plain run.
    reason : str
        Why; empty if it was not.
    biased : bool
        Whether the surrogate's errors were not corrected for.
    n_evals, n_true : int
        Evaluations of the likelihood, all together.
    n_genetic, n_pilot, n_gate, n_guarded, n_audit, n_corrected, n_plain : int
        How many of them were for the genetic algorithm, for the pilot and what was added to it, for
        fresh points that judge the surrogate, in the run where the surrogate is not trusted, for
        the audit, for the correction, and in the plain run after a refusal.
    n_surrogate : int
        Evaluations of the surrogate in the run on it.
    n_trainings : int
        How often it was trained.
    n_points : int
        On how many points, the last time.
    gate : mapping of str to float
        Of the errors at fresh points: ``n``, ``median``, ``sd``, ``tail`` (99 % are no farther from
        the median), ``bound`` (a fresh one is no farther, with a chance of 95 %), ``ess`` (the
        effective share of the points once they are reweighted).
    architecture : mapping
        ``widths``, ``learning_rate`` and, after a search, ``batch`` and ``loss``.
    log_evidence : float
        That of the surrogate, without correction.
    khat : float
        The tail shape of the ratios of likelihood and surrogate.
    ess_ratio : float
        The effective sample size after the correction over that before.
    ratio_stderr : float
        What the ratios add to the standard error of log Z, in quadrature.
    worst : float
        The largest log-likelihood less surrogate among the points, less their median.
    timings : mapping of str to float
        Seconds of the wall: ``pilot``, ``training``, ``gate``, ``run``, ``correction``, ``plain``;
        and ``call``, those of one evaluation of the likelihood.
    """

    mode: str
    rejected: bool = False
    reason: str = ""
    biased: bool = False
    n_genetic: int = 0
    n_pilot: int = 0
    n_gate: int = 0
    n_guarded: int = 0
    n_audit: int = 0
    n_corrected: int = 0
    n_plain: int = 0
    n_surrogate: int = 0
    n_trainings: int = 0
    n_points: int = 0
    gate: Mapping[str, float] = field(default_factory=dict)
    architecture: Mapping[str, object] = field(default_factory=dict)
    log_evidence: float = float("nan")
    khat: float = float("nan")
    ess_ratio: float = float("nan")
    ratio_stderr: float = float("nan")
    worst: float = float("nan")
    timings: Mapping[str, float] = field(default_factory=dict)

    @property
    def n_true(self) -> int:
        """Evaluations of the likelihood, all together."""
        return self.n_evals

    def _headline(self) -> str:
        if self.rejected:
            return f"SurrogateReport: refused ({self.reason})"
        error = self.gate.get("sd", float("nan"))
        return (
            f"SurrogateReport: error {error:.2g} nats at fresh points, {self.n_surrogate} "
            f"evaluations of it for {self.n_true} of the likelihood"
            + (", not corrected" if self.biased else "")
        )
