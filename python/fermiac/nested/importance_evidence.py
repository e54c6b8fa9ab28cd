"""An importance estimate of the evidence: from all points of bounds, or from a fitted density."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.validate import real
from fermiac.results.result import Result
from fermiac.results.sample import Sample

if TYPE_CHECKING:
    from fermiac.nested.job import Job

Array = NDArray[np.float64]
__all__ = ["ImportanceEvidence", "importance_of"]

#: The least number of test points whose evidence is compared, since fewer do not know their error,
#: and the standard errors by which it may differ.
_FEW = 1000
_APART = 5.0
#: The largest k-hat, and the largest share of the weights in one point, where the error holds.
#: Equal weights, as on plateaus, may have any k-hat.
_HEAVY = 0.7
_DOMINANT = 0.05
#: The least effective sample size of points of a fitted density, and as a share of them.
_LEAST = 100
_SPARSE = 0.02
#: The largest share of the posterior where a fitted density may be too low.
_UNCOVERED = 0.05
#: Standard errors by which it may be below the estimate from prior masses.
_DIFFERENT = 4.0


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ImportanceEvidence(Result):
    r"""The evidence from points of known densities, as an importance sample.

    The field ``importance`` of `fermiac.nested.NestedResult`. After a run whose points came from
    bounds these are all points, also those below the levels. After a run with chains they are
    independent points from a density fitted to the posterior. With `fermiac.nested.Learnt` they are
    the last sample; its tests are the rounds before it, as draws from the mixture of their
    densities, which are slightly too low on average. ``importance=False`` of a sampler,
    such as ``fermiac.nested.Slice(importance=False)``, makes a run without it.

    Attributes
    ----------
    log_evidence : float
        The logarithm of the evidence.
    log_evidence_stderr : float
        Its standard error; see the notes.
    log_evidence_tests : float
        The logarithm of the evidence from the test points alone, to which no bound was fitted; for
        a fitted density, from the last pilot's points.
    log_evidence_tests_stderr : float
        Its standard error.
    n_tests : int
        The number of test points, or of the last pilot's.
    cut_share : float
        The share of the evidence where test points alone count, since bounds cut it off. For a
        fitted density: the share of the posterior, by prior masses, where the density is so low
        that one draw would have 2 % of the weights.
    n_cut : int
        The number of test points there; for a fitted density, of points of the posterior.
    lost_share : float
        For a fitted density: the share of the evidence in modes that a search found and of which
        the chains have lost more than half, less the share that they kept. The draws of the run
        lack it; the points of `sample` have it. 0 for points of bounds.
    ess : float
        The effective sample size (Σw)² / Σw² of the weights.
    khat : float
        The tail shape of the weights; see `fermiac.diagnostics.psis`.
    n_bounds : int
        The number of bounds that points were drawn from, including the unit cube; 0 if they were
        drawn from a fitted density.
    converged : bool
        Whether the run went on until it had converged; before, the weights lack their peak.
    runs : mapping of str to ndarray
        The figures of each of the runs, if several were merged.
    sample : Sample
        All points of the bounds in the order of the draws, test points last, with log-weights on an
        absolute scale: the mean of their exponentials is the evidence. A point before the last
        bound that cut it off has none. For a fitted density, its points without those of pilots.

    Notes
    -----
    *Points of bounds.* Of the N points, :math:`N_b` were drawn from bound b, whose volume within
    the unit cube is :math:`V_b`. All of them are weighted as if they came from the mixture

    .. math:: g(u) = \frac{1}{N} \sum_b \frac{N_b}{V_b} 1[u \in b],

    and the mean of :math:`L / g` estimates the evidence [1]_ [2]_. Unknown volumes are estimated
    from more than 10 000 draws each.

    A bound depends on the points before it, and contains those above its level. What it cuts off
    above its level has therefore none of them, however much of the evidence lies there, and the
    plain mean would be too small. So points of bounds up to the last one that cut off a place do
    not count there, neither in the sum nor in g. Points of later bounds do, and test points: one
    for ten proposals, drawn from the bound with 1.25 times its volume, to which no bound is fitted.

    The variance is that of a mixture with a fixed number of draws from each part [3]_. It is the
    sum over bounds of the variance of the weights about the mean of their bound, plus the variance
    due to the volumes, plus the square of `cut_share`, since more may have been cut off than test
    points have seen. A mode of which neither live points nor test points have seen anything is
    missing from all evidences, and no error covers it. Use more live points if modes are small.

    *Points of a fitted density.* The ends of chains have no known density. So a mixture is fitted
    to the posterior points of the run: Student's t laws, split in two as long as that pays; for
    each cluster a normal copula with the margins of its points; and, as a defence, wider laws, some
    of them about points by powers of the likelihood, and the prior itself [4]_.

    Chains may have lost modes. So the points of the run, of which at most 4096 are looked at, are
    first searched for tops that valleys part from higher points. From those of modes with few
    points climbs lead to the peaks, and the mixture has the normal law about each peak. If there
    are several modes and no survey was made (see `Uniform`), up to 6,144 more draws from the prior
    join the search, 4 % of the evaluations at most.

    Pilots of 2 % of the evaluations each (500 to 4000 draws) adapt the weights of the parts [5]_.
    After each the mixture is also fitted again to all points so far, and the better of both is
    kept. There are at most eight pilots, and no other one once the effective sample size is a
    fifth of the draws. If the error will be less than half of that by prior masses, points are
    then drawn until it is expected to be 0.01, up to 10 % of the evaluations. The mean of their
    weights estimates the evidence, with the error of independent draws.

    `doubts` are raised if few points carry the weights, or if the density is too low at points of
    the run. There is no such estimate with less than 30 live points for each cluster of points.

    References
    ----------
    .. [1] E. Cameron, A. Pettitt, "Recursive pathways to marginal likelihood estimation with
       prior-sensitivity analysis", Statistical Science, 2014, doi:10.1214/13-STS465.
    .. [2] F. Feroz, M. P. Hobson, E. Cameron, A. N. Pettitt, "Importance nested sampling and the
       MultiNest algorithm", Open Journal of Astrophysics, 2019, doi:10.21105/astro.1306.2144.
    .. [3] A. Owen, Y. Zhou, "Safe and effective importance sampling", Journal of the American
       Statistical Association, 2000, doi:10.1080/01621459.2000.10473909.
    .. [4] T. Hesterberg, "Weighted average importance sampling and defensive mixture
       distributions", Technometrics, 1995, doi:10.1080/00401706.1995.10484303.
    .. [5] O. Cappé, R. Douc, A. Guillin, J.-M. Marin, C. P. Robert, "Adaptive importance sampling
       in general mixture classes", Statistics and Computing, 2008,
       doi:10.1007/s11222-008-9059-x.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> prior = fm.distributions.Uniform([-9.0, -9.0], [9.0, 9.0])
    >>> r = fm.nested.sample(fm.distributions.Normal([0.0, 0.0]), prior, rng=0)
    >>> second = r.importance
    >>> bool(abs(second.log_evidence + np.log(18.0**2)) < 5 * second.log_evidence_stderr)
    True
    >>> r.log_evidence == second.log_evidence
    True
    >>> bool(second.log_evidence_stderr < 0.3 * r.log_evidence_volumes_stderr)
    True
    """

    log_evidence: float
    log_evidence_stderr: float
    log_evidence_tests: float
    log_evidence_tests_stderr: float
    n_tests: int
    cut_share: float
    n_cut: int
    lost_share: float
    ess: float
    khat: float
    n_bounds: int
    converged: bool
    runs: Mapping[str, Array]
    sample: Sample

    _layout: ClassVar[fit.Layout] = {
        "log_evidence": fit.real,
        "log_evidence_stderr": fit.real,
        "log_evidence_tests": fit.real,
        "log_evidence_tests_stderr": fit.real,
        "n_tests": fit.whole(0),
        "cut_share": fit.real,
        "n_cut": fit.whole(0),
        "lost_share": fit.real,
        "ess": fit.real,
        "khat": fit.real,
        "n_bounds": fit.whole(0),
        "converged": fit.flag,
        "runs": fit.mapping(fit.array("fiu", "runs")),
        "sample": fit.instance("Sample"),
    }

    @property
    def is_fitted(self) -> bool:
        """Whether the points were drawn from a density fitted to the posterior, not from bounds.

        Returns
        -------
        bool
            The answer.
        """
        return self.n_bounds == 0

    def doubts(self, log_evidence: float, stderr: float) -> str:
        """Return why the error may not hold, or "" if nothing speaks against it.

        Parameters
        ----------
        log_evidence, stderr : float
            The estimate from prior masses, and its standard error.

        Returns
        -------
        str
            A reason: the run ended early; few points carry the weights; a fitted density is too low
            at points of the run; the test points alone, or, for points of bounds, the prior masses
            give another evidence.

        Raises
        ------
        ArgumentError
            If an argument is not a number.
        """
        log_evidence = real("log_evidence", log_evidence, "a number is needed", lambda x: True)
        stderr = real("stderr", stderr, "a number is needed", lambda x: True)
        fault = self._fault()
        if fault:
            return fault
        if self.is_fitted:
            # Where the density covers all points of the run, the masses have drifted instead.
            if self.cut_share > _UNCOVERED:
                return f"the fitted density is too low at {self.cut_share:.0%} of the posterior"
            return ""
        below = log_evidence - self.log_evidence
        error = float(np.hypot(stderr, self.log_evidence_stderr))
        if below > _DIFFERENT * error > 0:
            return f"it is {below / error:.1f} standard errors below that from the prior masses"
        return ""

    def _fault(self) -> str:
        """Return what is wrong with the points themselves, or ""."""
        if not self.converged:
            return "the run ended before it had converged"
        weights = self.sample._weights()
        if self.is_fitted and self.ess < max(_LEAST, _SPARSE * len(weights)):
            return (
                f"the {len(weights)} points of the fitted density have an ESS of {self.ess:.0f}: "
                "it fits badly, and may miss modes"
            )
        if self.khat > _HEAVY and weights.max() > _DOMINANT:
            return (
                f"one point has {weights.max():.0%} of the weight of all, and k-hat is "
                f"{self.khat:.2f}"
            )
        apart = abs(self.log_evidence_tests - self.log_evidence)
        error = self.log_evidence_tests_stderr
        if self.is_fitted:
            # The pilot is independent of the estimate.
            error = float(np.hypot(error, self.log_evidence_stderr))
        if self.n_tests >= _FEW and error > 0 and apart > _APART * error:
            return (
                f"the test points alone give log Z = {self.log_evidence_tests:.6g}, which differs "
                f"by {apart / error:.1f} standard errors"
            )
        return ""

    def _joined(self, *others: ImportanceEvidence) -> ImportanceEvidence:
        """Return the estimate from the points of several independent runs."""
        parts = [self, *others]
        columns = {name: np.concatenate([part.runs[name] for part in parts]) for name in self.runs}
        # An order that does not depend on how runs were merged before.
        ends = np.cumsum(columns["n_points"]).astype(int)[:-1]
        order = np.lexsort((columns["n_points"], columns["log_evidence"]))

        def rows(name: str) -> Any:
            pieces = np.split(np.concatenate([getattr(part.sample, name) for part in parts]), ends)
            return np.concatenate([pieces[k] for k in order])

        columns = {name: column[order] for name, column in columns.items()}
        arrays = {name: rows(name) for name in ("draws", "log_weights", "log_densities")}
        sample = replace(
            self.sample,
            **arrays,
            n_evals=sum(part.sample.n_evals for part in parts),
            wall_time=0.0,
            log_likelihood={},
        )
        return _estimate(columns, sample, self)

    def _headline(self) -> str:
        from fermiac.nested.result import with_error

        return (
            f"ImportanceEvidence: log Z = {with_error(self.log_evidence, self.log_evidence_stderr)}"
            f", ESS {self.ess:.0f}, k-hat {self.khat:.2f}"
        )


def importance_of(raw: Mapping[str, Any], job: Job, converged: bool) -> ImportanceEvidence:
    """Return the estimate of a run, which has converged or not, from what the core gave."""
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
    figures = {name: float(raw[name]) for name in _FIGURES}
    figures |= {
        "n_points": len(raw["log_weights"]),
        "n_tests": int(raw["test_counts"].sum()),
        "n_bounds": int((raw["counts"] > 0).sum()),
        "converged": converged,
    }
    return _estimate({name: np.array([float(x)]) for name, x in figures.items()}, sample, sample)


#: The figures of a run that the core gives.
_FIGURES = (
    "log_evidence", "log_evidence_stderr", "log_evidence_tests", "log_evidence_tests_stderr",
    "cut_share", "n_cut", "lost_share",
)  # fmt: skip


def _estimate(runs: Mapping[str, Array], sample: Sample, of: Result) -> ImportanceEvidence:
    """Return the estimate of runs, each with the weight of its number of points."""
    log_z, stderr = _mean(runs, "n_points", "log_evidence")
    log_tests, tests_stderr = _mean(runs, "n_tests", "log_evidence_tests")
    shares = runs["n_points"] * np.exp(runs["log_evidence"] - log_z)
    return ImportanceEvidence(
        seed=of.seed,
        version=of.version,
        isa=of.isa,
        settings={},
        n_evals=sample.n_evals,
        wall_time=0.0,
        log_evidence=log_z,
        log_evidence_stderr=stderr,
        log_evidence_tests=log_tests,
        log_evidence_tests_stderr=tests_stderr,
        n_tests=int(runs["n_tests"].sum()),
        cut_share=float(shares @ runs["cut_share"] / shares.sum()),
        n_cut=int(runs["n_cut"].sum()),
        lost_share=float(shares @ runs["lost_share"] / shares.sum()),
        ess=float(sample.ess),
        khat=float(sample.khat),
        n_bounds=int(runs["n_bounds"].sum()),
        converged=bool(runs["converged"].all()),
        runs=runs,
        sample=sample,
    )


def _mean(runs: Mapping[str, Array], counts: str, name: str) -> tuple[float, float]:
    """Return the logarithm of the weighted mean of independent evidences, and its error."""
    if len(runs[name]) == 1:
        return float(runs[name][0]), float(runs[name + "_stderr"][0])
    n, logs = runs[counts], runs[name]
    if not np.isfinite(logs.max()):  # no test points
        return float("-inf"), float("nan")
    terms = n * np.exp(logs - logs.max())
    error = np.sqrt(np.nansum((terms * runs[name + "_stderr"]) ** 2)) / terms.sum()
    return float(logs.max() + np.log(terms.sum() / n.sum())), float(error)
