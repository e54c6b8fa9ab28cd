"""The results of importance sampling: `Evidence`, and conversion of the numbers of the core."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.validate import real
from fermiac.distributions import Law
from fermiac.importance.checks import (
    drawing_findings,
    estimate_findings,
    evidence_findings,
    nothing_met,
    reuse_findings,
)
from fermiac.importance.merging import merge_evidences
from fermiac.importance.sampler import Sampler, components_of
from fermiac.importance.settings import Drawing
from fermiac.results import Estimate, Result, Sample
from fermiac.results.averages import join_complex
from fermiac.results.result import texts, tolerant, warn
from fermiac.results.sample import OTHER_SPACE
from fermiac.results.summary import Summary
from fermiac.results.unseen import equal_finding
from fermiac.targets.model import ModelTarget

__all__ = ["Evidence", "to_estimate", "to_evidence"]

Array = NDArray[np.float64]
#: The smallest number of replicates for a standard error.
_FEWEST = 4
#: Errors of an evidence below this are rounding of equal weights.
_ROUNDING = 1e-13


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Evidence(Result):
    """The evidence of an unnormalised density, with weighted points from it.

    Attributes
    ----------
    log_evidence : float
        log Z, where Z is the integral of the density; -inf if no point with positive density was
        found.
    log_evidence_stderr : float
        Its standard error: the relative standard error of the estimate of Z. If all n weights are
        equal it is 3/n, because a region of probability 3/n may have been missed.
    ess : float
        The effective sample size (Σw)² / Σw² of the weights.
    khat : float
        The tail shape of the weights; see `fermiac.diagnostics.psis`.
    converged : bool
        Whether the effective sample size is at least 10 (d + 1).
    scheme : str
        The adaptation of the sampler: ``"amis"``, ``"pmc"`` or ``"snis"``.
    stages : tuple of dict
        The stages, the final one last: ``n_evals``, ``used``, ``shares`` of the components of its
        sampler (none for the law), ``log_evidence`` and ``efficiency`` (ESS per evaluation) of its
        own points alone. For the fit that followed: the ``power`` of its weights (1 for a fit to
        the target itself) and its ESS ``fit_ess``.
    sample : Sample
        The points of the final stage, in the law's space, with log-weights on their absolute scale:
        the logarithm of the mean of their exponentials is `log_evidence`.
    df : float
        The degrees of freedom of the error; see `interval`.
    n_replicates : int or None
        The number of independent replicates of the final points, from whose spread the error is
        computed; None if the points themselves are independent.
    sampler : Law or None
        The trained sampler, a `fermiac.importance.Sampler`; None if nothing was trained.

    Examples
    --------
    Two runs with different seeds, whose errors are independent, give the logarithm of a Bayes
    factor. The observation y = 0.5 with an error of 1 prefers a prior of width 1 to one of width
    10:

    >>> import numpy as np, fermiac as fm
    >>> def run(width, seed):
    ...     prior = fm.distributions.Normal(0.0, width)
    ...     likelihood = fm.distributions.Normal(0.5, 1.0)
    ...     return fm.importance.evidence(
    ...         lambda x: prior.log_density(x) + likelihood.log_density(x),
    ...         prior,
    ...         n=4000,
    ...         rng=seed,
    ...     )
    >>> a, b = run(1.0, 0), run(10.0, 1)
    >>> log_factor = a.log_evidence - b.log_evidence
    >>> stderr = np.hypot(a.log_evidence_stderr, b.log_evidence_stderr)
    >>> exact = 0.5 * np.log(101 / 2) - 0.125 * (1 / 2 - 1 / 101)
    >>> bool(abs(log_factor - exact) < 5 * stderr)
    True
    """

    log_evidence: float
    log_evidence_stderr: float
    ess: float
    khat: float
    converged: bool
    scheme: str
    stages: tuple[Mapping[str, Any], ...]
    sample: Sample
    df: float = float("inf")
    n_replicates: int | None = None
    sampler: Law | None = None

    _layout: ClassVar[fit.Layout] = {
        "log_evidence": fit.real,
        "log_evidence_stderr": fit.real,
        "ess": fit.real,
        "khat": fit.real,
        "converged": fit.flag,
        "scheme": fit.text(),
        "stages": fit.listed(
            fit.record(
                {
                    "n_evals": fit.whole(0),
                    "shares": fit.array("f", "components"),
                    "log_evidence": fit.real,
                    "efficiency": fit.real,
                    "power": fit.real,
                },
                own=("components",),
            )
        ),
        "sample": fit.instance("Sample"),
        "df": fit.real,
        "n_replicates": fit.maybe(fit.whole(1)),
        "sampler": fit.maybe(fit.instance("Sampler")),
    }

    def interval(self, prob: float = 0.95) -> tuple[float, float]:
        """Return a confidence interval for log Z.

        Parameters
        ----------
        prob : float, default 0.95
            Its confidence, above 0 and below 1.

        Returns
        -------
        low, high : float
            log Z ± t times its error, with t the quantile of Student's t with `df` degrees of
            freedom.

        Raises
        ------
        ArgumentError
            If `prob` is outside its domain.
        """
        from scipy.special import stdtrit

        level = real("prob", prob, "a number above 0 and below 1 is needed", lambda p: 0 < p < 1)
        if self.log_evidence == -np.inf:
            return -np.inf, np.inf
        half = float(-stdtrit(self.df, (1 - level) / 2)) * self.log_evidence_stderr
        return self.log_evidence - half, self.log_evidence + half

    def _headline(self) -> str:
        return (
            f"Evidence: log Z = {self.log_evidence:.6g} ± {self.log_evidence_stderr:.2g}, "
            f"ESS {self.ess:.0f}, k-hat {self.khat:.2f}"
        )

    def summary(self) -> Summary:
        """Return the result and a table of the stages."""
        lines = [
            f"{'stage':>5}  {'evaluations':>11}  {'components':>10}  {'log Z':>12}  "
            f"{'efficiency':>10}  {'power':>8}",
        ]
        for i, stage in enumerate(self.stages):
            components = str(len(stage["shares"])) if len(stage["shares"]) else "law"
            power = f"{stage['power']:.2g}" if stage["power"] > 0 else "-"
            lines.append(
                f"{i:>5}  {stage['n_evals']:>11}  {components:>10}  {stage['log_evidence']:>12.6g}"
                f"  {stage['efficiency']:>10.2e}  {power:>8}"
            )
        foot = [f"scheme {self.scheme}, {self.n_evals} evaluations, seed {self.seed}"]
        columns = {
            name: np.array([stage[name] for stage in self.stages])
            for name in ("n_evals", "log_evidence", "efficiency", "power")
        }
        return Summary(
            [f"stage[{i}]" for i in range(len(self.stages))],
            columns,
            head=[self._first_line()],
            lines=lines,
            foot=[*foot, *(f"warning: {w}" for w in self.warnings)],
            figures=self._figures(),
        )

    def merge(self, *others: Evidence, weights: ArrayLike | None = None) -> Evidence:
        """Join evidences of the same target from independent calls into one.

        Parameters
        ----------
        *others : Evidence
            Evidences of the same target, from other seeds.
        weights : array_like, shape (K,), optional
            The weights of the evidences, this one first. They must have been fixed before the
            calls. The default is the requested number of points of each call.

        Returns
        -------
        Evidence
            Z is the weighted mean of the Z of all calls; their order changes no bit of it. `sample`
            has the points of all calls, with weights whose mean is Z. `stages` are those of all
            calls, `sampler` is the mixture of their components, and ``settings["seeds"]`` lists the
            seeds.

        Raises
        ------
        ArgumentError
            If the evidences do not match, two have the same seed, or no weights were fixed, because
            a run was interrupted or its requested number of points is not known.

        Warns
        -----
        ConvergenceWarning
            If the evidences differ by more than their errors allow.

        Notes
        -----
        Each Z is unbiased, and so is their mean, since its weights do not depend on them. The mean
        of log Z would be biased. So would a mean with weights from the errors, which are correlated
        with Z.

        Examples
        --------
        >>> import fermiac as fm
        >>> law = fm.distributions.Normal()
        >>> f = lambda x: law.log_density(x) + 3.0
        >>> a, b = (fm.importance.evidence(f, law, n=2000, rng=k) for k in (1, 2))
        >>> z = a.merge(b)
        >>> bool(abs(z.log_evidence - 3) < 5 * z.log_evidence_stderr + 1e-12), z.n_evals
        (True, 4000)
        """
        return merge_evidences(self, others, weights)


def to_estimate(
    raw: dict[str, Any],
    settings: dict[str, Any],
    key: int,
    scalar: bool | None,
    is_complex: bool,
    names: tuple[str, ...] | None,
    interrupted: bool,
    wall_time: float,
    coordinates: tuple[str, ...] = (),
    how: Drawing | None = None,
) -> Estimate:
    """Return the estimate of a run, after its warnings; `coordinates` are the names of a point."""
    mean, stderr, cov = raw["mean"], raw["stderr"], raw["cov"]
    ess, khat = raw["ess"], raw["khat"]
    means: NDArray[Any] = raw["replicates"]
    of_nets = len(means) > 0
    if of_nets and len(means) < _FEWEST:
        stderr[:] = np.inf
        cov[...] = np.inf
    df = float(max((len(means) if of_nets else raw["n_final"]) - 1, 1))
    stages = [{"stage": i, **stage} for i, stage in enumerate(raw["stages"])]
    unseen, nothing = raw["unseen"], nothing_met(raw, is_complex)
    always = raw["always"] & ~nothing & (stderr < unseen) & (raw["n_from_law"] > 0)
    equal = always
    if raw["equal"].any():
        # A constant beside functions that are no indicators keeps its error.
        same = raw["equal"] & (stderr <= _ROUNDING * np.abs(mean))
        equal = same & (raw["n_from_law"] > 0) | always
    if always.any():
        # The same rule for points where an event does not happen. Noise of the weights adds to it.
        noise = np.where(stderr > _ROUNDING * np.abs(mean), stderr, 0.0)
        stderr[always] = np.hypot(noise, unseen)[always]
        cov = with_errors(cov, always, stderr)
    if nothing.any():
        # The rule of three: an event without a hit in m draws has a probability below 3/m. If the
        # stages have no value other than 0 either, |f| is taken as 1.
        drawn = np.where(raw["no_weight"], raw["n_final"], np.maximum(raw["n_from_law"], 1))
        bound = np.where(raw["no_weight"] | (unseen == 0), 3 / drawn, unseen)
        stderr[nothing] = unseen[nothing] = bound[nothing]
        cov = with_errors(cov, nothing, stderr)
    if is_complex:
        mean, stderr, cov, ess, khat = join_complex(mean, stderr, cov, ess, khat)
        unseen = np.hypot(*np.split(unseen, 2))
        means = means[:, : mean.size] + 1j * means[:, mean.size :]
        for stage in stages:
            _join_stage(stage)
    labels = names or tuple(f"E[{i}]" for i in range(mean.size))
    found = tolerant(estimate_findings, raw, labels, khat, is_complex, settings, equal)
    if how is not None and not interrupted:
        told = (raw, labels, khat, is_complex, how, mean, stderr, df)
        found += tolerant(drawing_findings, *told)
    common: dict[str, Any] = {
        "seed": key,
        "version": _core.__version__,
        "isa": _core.isa_level,
        "settings": settings,
        "n_evals": raw["n_evals"],
        "wall_time": wall_time,
        "status": "interrupted" if interrupted else "complete",
    }
    sample = None
    if len(raw["draws"]):
        log_weights = raw["log_weights"]
        if log_weights.shape[1] == 1:
            log_weights = log_weights[:, 0]
        # Plain Monte Carlo from one law draws from the law itself.
        iid = settings["method"] == "mc" and log_weights.ndim == 1
        sample = Sample(
            **common,
            draws=_by_replicates(raw["draws"], raw),
            log_weights=None if iid else _by_replicates(log_weights, raw),
            names=coordinates,
            error_model="replicas" if of_nets else "iid" if iid else "weighted",
        )

    def shape(a: NDArray[Any]) -> Any:
        return a.ravel()[0].item() if scalar else a

    estimate = Estimate(
        **common,
        mean=shape(mean),
        stderr=shape(stderr),
        cov=shape(cov),
        ess=shape(ess),
        khat=shape(khat),
        names=labels,
        method=settings["method"],
        stages=tuple(stages),
        chosen_stage=raw["chosen_stage"] if stages else None,
        sample=sample,
        df=df,
        n_replicates=len(means) if of_nets else None,
        converged=bool(raw["converged"]) if raw["n_looks"] else None,
        unseen=shape(unseen),
        n_looks=raw["n_looks"] or None,
        replicates=means if of_nets else None,
        sampler=_trained(raw, common, None if how is None else how.sampler),
    )
    warn(found, estimate)
    return estimate


def with_errors(cov: Array, which: NDArray[np.bool_], stderr: Array) -> Array:
    """Return a covariance, or variances, with the squares of some standard errors."""
    if cov.ndim < 2:
        return np.where(which, stderr**2, cov)
    np.fill_diagonal(cov, np.where(which, stderr**2, np.diagonal(cov)))
    return cov


def _trained(
    raw: Mapping[str, Any], common: Mapping[str, Any], given: Law | None
) -> Sampler | None:
    """Return the trained sampler of a run, or the given one if none was trained."""
    if raw["trained"] is not None:
        return components_of(raw["trained"], **common)
    return given if isinstance(given, Sampler) else None


def _by_replicates(rows: Array, raw: Mapping[str, Any]) -> Array:
    """Return rows as (R, n, ...); at each look the replicates are extended in turn."""
    count = len(raw["replicates"])
    if count == 0:
        return rows
    parts, start, before = [], 0, 0
    while before < raw["n_per_replicate"]:
        grown = before or raw["n_first"]
        part = rows[start : start + grown * count]
        parts.append(part.reshape(count, grown, *rows.shape[1:]))
        start, before = start + grown * count, before + grown
    return np.concatenate(parts, axis=1)


def _join_stage(stage: dict[str, Any]) -> None:
    k = stage["mean"].size // 2
    stage["mean"] = stage["mean"][:k] + 1j * stage["mean"][k:]
    stage["stderr"] = np.hypot(stage["stderr"][:k], stage["stderr"][k:])
    stage["degenerate"] = sorted({j % k for j in stage["degenerate"]})


def to_evidence(
    raw: dict[str, Any],
    gradients: Array | None,
    settings: dict[str, Any],
    key: int,
    names: tuple[str, ...],
    interrupted: bool,
    wall_time: float,
    model: ModelTarget | None = None,
    given: Law | None = None,
    check: Callable[[Array], tuple[float, float]] | None = None,
) -> Evidence:
    """Return the evidence of a run, after its warnings.

    `given` is the sampler that was given to the run. If it was used without refinement, `check`
    returns the mean weight of the law at the draws, with its error.
    """
    found = [] if interrupted else tolerant(evidence_findings, raw, settings)
    if check is not None and not interrupted and raw["log_evidence"] > -np.inf:
        found += tolerant(lambda: reuse_findings(raw["khat"], *check(raw["draws"])))
    count = raw["n_replicates"]
    if raw["n_per_replicate"] and count < _FEWEST:
        raw["log_evidence_stderr"] = np.inf
    if raw["log_evidence_stderr"] < _ROUNDING:
        # The ratio of the target and the sampler may differ where the sampler has a probability
        # below 3 / n.
        raw["log_evidence_stderr"] = 3 / len(raw["draws"])
        found.append(equal_finding(len(raw["draws"]), "the weights"))
    common: dict[str, Any] = {
        "seed": key,
        "version": _core.__version__,
        "isa": _core.isa_level,
        "settings": settings,
        "n_evals": raw["n_evals"],
        "wall_time": wall_time,
        "status": "interrupted" if interrupted else "complete",
        "warnings": texts(found),
    }
    labelled: dict[str, Any] = {"names": names}
    draws, of_sample = raw["draws"], settings
    if model is not None:
        draws, labelled = model.constrain(draws), model._labelled
        of_sample = settings | {OTHER_SPACE: "of unconstrained points"}

    def by_replicate(rows: Array) -> Array:
        return rows.reshape(count, -1, *rows.shape[1:]) if count else rows

    sample = Sample(
        **{**common, "settings": of_sample},
        draws=by_replicate(draws),
        log_weights=by_replicate(raw["log_weights"]),
        log_densities=by_replicate(raw["log_densities"]),
        gradients=None if gradients is None else by_replicate(gradients),
        **labelled,
        error_model="replicas" if count else "weighted",
    )
    object.__setattr__(sample, "_model", model)
    result = Evidence(
        **common,
        log_evidence=raw["log_evidence"],
        log_evidence_stderr=raw["log_evidence_stderr"],
        ess=raw["ess"],
        khat=raw["khat"],
        converged=raw["converged"] and not interrupted,
        scheme=settings["scheme"],
        stages=tuple({"stage": i, **stage} for i, stage in enumerate(raw["stages"])),
        sample=sample,
        df=float(max((count or raw["stages"][-1]["n_evals"]) - 1, 1)),
        n_replicates=count or None,
        sampler=_trained(raw, common, given),
    )
    warn(found, result)
    return result
