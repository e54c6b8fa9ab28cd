"""Results of guided sampling: points with rewards, and errors of particles by their ancestors."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac.errors import ArgumentError, ConvergenceWarning, FermiacWarning, WeightWarning
from fermiac.results.error_models import (
    Average,
    Controls,
    control_findings,
    degrees_of_freedom,
    effective_size,
    is_exact,
    register,
    regressed,
)
from fermiac.results.result import Finding
from fermiac.results.sample import Sample

__all__ = ["Guided", "effective_lines", "is_collapsed", "log_normalizer_of", "step_findings"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
#: The fewest ancestral lines from which an error can be estimated.
LEAST_LINES = 10.0


def _none() -> Array:
    return np.empty(0)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Guided(Sample):
    r"""A sample of points guided by a reward.

    Candidates give points of equal weight (error model ``"iid"``). Particles give weighted points,
    with the error model ``"particles"`` if some share ancestors, else ``"weighted"``.

    Attributes
    ----------
    rewards : ndarray, shape (n,)
        The rewards of the points; for an interrupted run, their soft values so far.
    log_normalizer : float
        The logarithm of :math:`E\,e^{r(x)/\alpha}` under the model's own law; NaN for alpha = 0.
        Its exponential is unbiased for the law of the steps of the model.
    log_normalizer_stderr : float
        Its standard error.
    ess_history : ndarray, shape (n_steps + 1,)
        The effective sample size of the weights at the start, after each step (before resampling)
        and at the end. With candidates, the effective sample size of the weights that would correct
        for their number.
    candidate_ess : ndarray, shape (n_steps - 1,)
        The effective number of the candidates of a point, averaged over the points.
    sigmas : ndarray, shape (n_steps + 1,)
        The noise levels, decreasing to 0.
    ancestors : ndarray, shape (n,)
        The number of the starting point from which each point descends.
    n_resamplings : int
        The number of resamplings of the particles.
    mode : str
        ``"candidates"``, ``"particles"``, or the method of a posterior.
    bias : tuple of str
        The reasons why the law of the weighted points differs from the target.
    residuals : ndarray, shape (n, m)
        For draws given an observation: the observed numbers minus the predictions of the points.

    References
    ----------
    .. [1] J. Ho, T. Salimans, "Classifier-free diffusion guidance", 2022, arXiv:2207.12598.

    Examples
    --------
    `svdd` returns such samples. For standard normal data and the reward x, the mean of
    :math:`e^x` is :math:`e^{1/2}`:

    >>> import fermiac as fm
    >>> g = fm.score.svdd(
    ...     fm.score.Gaussian([0.0], 1.0),
    ...     lambda x: x[:, 0],
    ...     2000,
    ...     mode="particles",
    ...     sigma_range=(0.01, 20.0),
    ...     rng=0,
    ... )
    >>> g.mode, g.rewards.shape, g.sigmas.shape
    ('particles', (2000,), (101,))
    >>> bool(abs(g.log_normalizer - 0.5) < 0.1)
    True
    """

    rewards: Array = field(default_factory=_none)
    log_normalizer: float = float("nan")
    log_normalizer_stderr: float = float("nan")
    ess_history: Array = field(default_factory=_none)
    candidate_ess: Array = field(default_factory=_none)
    sigmas: Array = field(default_factory=_none)
    ancestors: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    n_resamplings: int = 0
    mode: str = "candidates"
    bias: tuple[str, ...] = ()
    residuals: Array = field(default_factory=lambda: np.empty((0, 0)))

    _layout: ClassVar[fit.Layout] = {
        "draws": fit.array("fiu", "n", "d", finite=True, least=1),
        "log_weights": fit.maybe(fit.array("f", "n")),
        "rewards": fit.array("f", "n"),
        "log_normalizer": fit.real,
        "log_normalizer_stderr": fit.real,
        "ess_history": fit.array("f", "history"),
        "candidate_ess": fit.array("f", "steps"),
        "sigmas": fit.array("f", "levels"),
        "ancestors": fit.array("i", "n", low=0, below="n"),
        "n_resamplings": fit.whole(0),
        "mode": fit.text(),
        "bias": fit.texts,
        "residuals": fit.array("f", "points", "m"),
    }

    @property
    def is_biased(self) -> bool:
        """Whether the law of the points is known to differ from the target: see `bias`."""
        return bool(self.bias)

    @property
    def log_evidence(self) -> float:
        """The log-density of the observation, for draws given an observation."""
        return self.log_normalizer

    @property
    def log_evidence_stderr(self) -> float:
        """Its standard error."""
        return self.log_normalizer_stderr

    def _headline(self) -> str:
        doubt = ", biased: see `bias`" if self.bias else ""
        lines = [super()._headline() + doubt, f"  {self.mode}"]
        if self.rewards.any():
            lines[1] += f", mean reward {float(self._weights() @ self.rewards):.4g}"
        if np.isfinite(self.log_normalizer):
            error = self.log_normalizer_stderr
            lines.append(f"  log normaliser {self.log_normalizer:.4g} +- {error:.2g}")
        return "\n".join(lines)


def shares_of(ancestors: Ints, weights: Array) -> Array:
    """Return the total weight of the descendants of each starting point."""
    return np.asarray(np.bincount(ancestors, weights), dtype=np.float64)


def effective_lines(ancestors: Ints, weights: Array) -> float:
    """Return the effective number of lines of descent, the inverse of the sum of squared shares."""
    return float(1 / np.sum(shares_of(ancestors, weights) ** 2))


def log_normalizer_of(log_total: float, log_weights: Array, ancestors: Ints) -> tuple[float, float]:
    """Return the logarithm of the mean weight, and its standard error by lines of descent.

    Lines count as independent. Systematic resampling adds hardly any noise to them, so the
    correction for independent draws in the reference of `_particles` is not needed.
    """
    weights, log_mean = _core.normalize_weights(log_weights)
    n = weights.size
    if n < 2:
        return log_total + log_mean, float("nan")
    squares = float(np.sum(shares_of(ancestors, weights) ** 2))
    return log_total + log_mean, float(np.sqrt(max(n * squares - 1, 0.0) / (n - 1)))


def _particles(
    sample: Sample, values: Array, controls: Controls | None, law: int, n_threads: int
) -> Average:
    """Return averages of particles, with one term of the error for each ancestor.

    Reference: A. Lee, N. Whiteley (2018), "Variance estimation in the particle filter",
    Biometrika 105(3).
    """
    if not isinstance(sample, Guided):
        raise ArgumentError(
            f"error_model: 'particles' given for a {type(sample).__name__}; it is that of guided "
            "samples, which know the ancestors of their points"
        )
    weights = sample._weights(law)
    got = regressed(sample, values, controls, weights, n_threads)
    raw, n = got.raw, sample.n_draws
    findings = list(got.findings)
    lines = effective_lines(sample.ancestors, weights)
    if lines < LEAST_LINES:
        findings.append((WeightWarning, few_lines(lines, n)))
    sums = np.array([np.bincount(sample.ancestors, part) for part in raw["parts"].T])
    cov = n / (n - 1) * (sums @ sums.T)
    error = np.diag(cov)
    exact = is_exact(raw, got.variance, error)
    if controls is not None and not exact.all():
        findings += control_findings(raw, error, raw["plain_variance"], lines)
    squares = sums**2
    total = squares.sum(axis=1)
    shapes = [_core.khat(s[s > 0] / s.sum()) if s.any() else -np.inf for s in np.abs(sums)]
    return Average(
        mean=raw["mean"],
        cov=cov,
        ess=effective_size(got.variance, error, 1 / got.squares),
        khat=np.where(exact, -np.inf, shapes),
        findings=tuple(findings),
        largest=np.divide(squares.max(axis=1), total, out=np.zeros_like(total), where=total > 0),
        df=degrees_of_freedom(lines, raw, controls),
    )


register("particles", _particles)


def few_lines(lines: float, n: int) -> str:
    """Return the warning of particles with too few lines of descent."""
    return (
        f"the {n} particles descend from {lines:.1f} effective starting points, too few to tell an "
        "error; use more particles or steps, a flatter target (a larger alpha), or values nearer "
        "to the exact ones"
    )


def is_collapsed(sample: Guided) -> bool:
    """Return whether twice as many particles would still have too few lines of descent."""
    lines = effective_lines(sample.ancestors, sample._weights())
    return lines < max(LEAST_LINES / 2, 2.0)


def step_findings(
    sample: Guided, coarse: Guided, steps: tuple[int, int]
) -> tuple[float, list[Finding]]:
    """Return the error of a log normaliser with that of its steps, and the warning if it is large.

    The error is of the order of the length of a step, so that a run with half the steps differs by
    about as much. It cannot be told from 0 below the noise of this difference.
    """
    own, other = sample.log_normalizer_stderr, coarse.log_normalizer_stderr
    away = abs(sample.log_normalizer - coarse.log_normalizer)
    noise = math.hypot(own, other)
    stderr = math.hypot(own, max(away, noise))
    if not away > 3 * noise:
        return stderr, []
    text = (
        f"n_steps: the log normaliser is {sample.log_normalizer:.4g} with {steps[0]} steps and "
        f"{coarse.log_normalizer:.4g} with {steps[1]}, more than three errors apart, so that "
        "averages are off as well; take more steps"
    )
    return stderr, [(ConvergenceWarning, text)]


def collapse(sample: Guided) -> list[tuple[type[FermiacWarning], str]]:
    """Return the warnings about the weights of particles."""
    if sample.mode != "particles" or sample.n_draws < 2 * LEAST_LINES:
        return []
    lines = effective_lines(sample.ancestors, sample._weights())
    return [(WeightWarning, few_lines(lines, sample.n_draws))] if lines < LEAST_LINES else []
