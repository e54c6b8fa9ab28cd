"""The results of importance sampling: `Evidence`, and conversion of the numbers of the core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac.importance.checks import estimate_findings, evidence_findings, nothing_met
from fermiac.results import Estimate, Result, Sample
from fermiac.results.averages import join_complex
from fermiac.results.result import warn
from fermiac.results.sample import OTHER_SPACE
from fermiac.results.summary import Summary
from fermiac.targets.model import ModelTarget

__all__ = ["Evidence", "to_estimate", "to_evidence"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Evidence(Result):
    """The evidence of an unnormalised density, with weighted points from it.

    Attributes
    ----------
    log_evidence : float
        log Z, where Z is the integral of the density; -inf if no point with positive density was
        found.
    log_evidence_stderr : float
        Its standard error: the relative standard error of the estimate of Z.
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
        The points of the final stage, in the space of the law, with log-weights on an absolute
        scale: the logarithm of the mean of their exponentials is `log_evidence`.

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
    ...         lambda x: prior.log_density(x) + likelihood.log_density(x), prior, n=4000, rng=seed
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
    }

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
            head=[self._headline()],
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
            calls, and ``settings["seeds"]`` lists the seeds.

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
        from fermiac.importance.merging import merge_evidences

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
) -> Estimate:
    """Return the estimate of a run, after its warnings; `coordinates` are the names of a point."""
    mean, stderr, cov = raw["mean"], raw["stderr"], raw["cov"]
    ess, khat = raw["ess"], raw["khat"]
    stages = [{"stage": i, **stage} for i, stage in enumerate(raw["stages"])]
    unseen, nothing = raw["unseen"], nothing_met(raw, is_complex)
    if nothing.any():
        # The rule of three: an event without a hit in m draws has a probability below 3/m. If the
        # stages have no value other than 0 either, |f| is taken as 1.
        drawn = np.where(raw["no_weight"], raw["n_final"], np.maximum(raw["n_from_law"], 1))
        bound = np.where(raw["no_weight"] | (unseen == 0), 3 / drawn, unseen)
        stderr[nothing] = unseen[nothing] = bound[nothing]
        diagonal = np.diagonal(cov) if cov.ndim == 2 else cov
        diagonal = np.where(nothing, stderr**2, diagonal)
        if cov.ndim == 2:
            np.fill_diagonal(cov, diagonal)
        else:
            cov = diagonal
    if is_complex:
        mean, stderr, cov, ess, khat = join_complex(mean, stderr, cov, ess, khat)
        unseen = np.hypot(*np.split(unseen, 2))
        for stage in stages:
            _join_stage(stage)
    labels = names or tuple(f"E[{i}]" for i in range(mean.size))
    found = estimate_findings(raw, labels, khat, is_complex, settings)
    common = {
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
            draws=raw["draws"],
            log_weights=None if iid else log_weights,
            names=coordinates,
            error_model="iid" if iid else "weighted",
        )

    def shape(a: NDArray[Any]) -> Any:
        return a.ravel()[0].item() if scalar else a

    estimate = Estimate(
        **common,
        warnings=tuple(text for _, text in found),
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
        df=float(max(raw["n_final"] - 1, 1)),
        unseen=shape(unseen),
    )
    warn(found, estimate)
    return estimate


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
) -> Evidence:
    """Return the evidence of a run, after its warnings."""
    found = [] if interrupted else evidence_findings(raw, settings)
    common: dict[str, Any] = {
        "seed": key,
        "version": _core.__version__,
        "isa": _core.isa_level,
        "settings": settings,
        "n_evals": raw["n_evals"],
        "wall_time": wall_time,
        "status": "interrupted" if interrupted else "complete",
        "warnings": tuple(text for _, text in found),
    }
    labelled: dict[str, Any] = {"names": names}
    draws, of_sample = raw["draws"], settings
    if model is not None:
        draws, labelled = model.constrain(draws), model._labelled
        of_sample = settings | {OTHER_SPACE: "of unconstrained points"}
    sample = Sample(
        **{**common, "settings": of_sample},
        draws=draws,
        log_weights=raw["log_weights"],
        log_densities=raw["log_densities"],
        gradients=gradients,
        **labelled,
        error_model="weighted",
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
    )
    warn(found, result)
    return result
