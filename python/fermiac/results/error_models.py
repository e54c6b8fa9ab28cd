"""Error models of samples: the registry, and the model of independent points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.config import resolve_threads
from fermiac.errors import ArgumentError, FermiacWarning, WeightWarning
from fermiac.results.result import Finding

if TYPE_CHECKING:
    from fermiac.distributions.law import BuiltInLaw
    from fermiac.results.sample import Sample

__all__ = [
    "DRIFT",
    "Average",
    "Controls",
    "ErrorModel",
    "Regressed",
    "average",
    "control_findings",
    "degrees_of_freedom",
    "drift_finding",
    "effective_size",
    "error_model_of",
    "is_exact",
    "register",
    "regressed",
    "sum_of_squares",
]

Array = NDArray[np.float64]
#: Controls do harm where the standard error with them is above this times the one without.
_HARM = 1.1
#: Above this leverage a point determines a coefficient by itself.
_LEVERAGE = 0.99
#: A standard error below this share of the values is rounding.
_ROUNDING = 1e-13
#: The mean of a control is not zero if it is this many standard errors away from it.
DRIFT = 6.0
#: The least effective sample size for which an error is estimated without a warning.
_LEAST_ESS = 5.0


@dataclass(frozen=True)
class Average:
    """The averages of K columns with their errors."""

    mean: Array
    cov: Array
    ess: Array
    khat: Array
    findings: tuple[Finding, ...] = ()
    #: The largest share of one independent part in a squared error, if the parts are not single
    #: points.
    largest: Array | None = None
    #: R-hat of chains, 1 where the average is exact.
    rhat: Array | None = None
    #: The degrees of freedom of the errors, for intervals by Student's t.
    df: Array | float = np.inf


@dataclass(frozen=True)
class Controls:
    """Control variates: their values (n, m), or a degree of Stein controls or polynomials.

    Attributes
    ----------
    given : ndarray, shape (n, m), optional
        The values.
    degree : int, optional
        The degree of the polynomials.
    kind : {"given", "stein", "polynomial"}
        What they are.
    penalty : {"ridge", "lasso"}, optional
        The penalty of the regression.
    law : BuiltInLaw, optional
        The law whose polynomials they are.
    """

    given: Array | None = None
    degree: int | None = None
    kind: Literal["given", "stein", "polynomial"] = "given"
    penalty: Literal["ridge", "lasso"] | None = None
    law: BuiltInLaw | None = None

    @property
    def by_folds(self) -> bool:
        """Whether their coefficients come from a pilot, judged by its folds."""
        return self.kind == "polynomial" or self.penalty is not None


@dataclass(frozen=True)
class Regressed:
    """Weighted averages with controls regressed out, before an error model is applied."""

    #: The output of the core.
    raw: dict[str, Any]
    #: The sum of the squared weights.
    squares: float
    #: The variance of each column under the law.
    variance: Array
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class ErrorModel:
    """The method for averages over samples of one kind, and properties of such samples.

    Attributes
    ----------
    average : callable
        A function of the sample, values (n, K), controls or None, the law and the threads that
        returns an `Average`. The rows of chains are ordered chain by chain.
    of_chains : bool
        Whether the draws are those of Markov chains, each depending on the one before.
    reweighted : str or None
        The error model after reweighting. None if single points have no weights, so that the sample
        can be neither reweighted nor merged point by point.
    """

    average: Callable[[Sample, Array, Controls | None, int, int], Average]
    of_chains: bool = False
    reweighted: str | None = None


_MODELS: dict[str, ErrorModel] = {}


def register(
    name: str,
    average: Callable[[Sample, Array, Controls | None, int, int], Average],
    *,
    of_chains: bool = False,
    reweighted: str | None = None,
) -> None:
    """Add an error model under its name; the arguments are the attributes of `ErrorModel`."""
    _MODELS[name] = ErrorModel(average, of_chains, reweighted)


def error_model_of(sample: Sample) -> ErrorModel:
    """Return the error model of a sample; an unknown name refuses to average."""
    return _MODELS.get(sample._error_model_name, _UNKNOWN)


def _unknown(sample: Sample, *_: object) -> Average:
    known = ", ".join(sorted(_MODELS))
    raise ArgumentError(
        f"error_model: {sample.error_model!r} given, which is not registered; it must be one of "
        f"{known}"
    )


_UNKNOWN = ErrorModel(_unknown)


def average(
    sample: Sample,
    values: Array,
    controls: Controls | None = None,
    law: int = 0,
    n_threads: int | None = None,
) -> Average:
    """Return the averages of the columns of `values` by the sample's error model.

    Findings are returned; no warning is given.
    """
    threads = resolve_threads(n_threads)
    return error_model_of(sample).average(sample, values, controls, law, threads)


def regressed(
    sample: Sample, values: Array, controls: Controls | None, weights: Array, n_threads: int
) -> Regressed:
    """Return the weighted averages of the columns, with controls regressed out."""
    n = sample.n_draws
    stein = None
    if controls is not None and controls.degree is not None:
        assert sample.gradients is not None
        gradients = np.ascontiguousarray(sample.gradients.reshape(n, -1))
        stein = (sample._points, gradients, controls.degree)
    given = None if controls is None else controls.given
    if controls is None and np.count_nonzero(weights) < 2:
        raise ArgumentError(
            f"{np.count_nonzero(weights)} draw of positive weight is too few to estimate an error; "
            "at least 2 are needed"
        )
    raw = _core.weighted_average(
        weights, np.ascontiguousarray(values), n_threads, given=given, stein=stein
    )
    squares = sum_of_squares(weights)
    findings: list[Finding] = []
    if 1 / squares <= min(_LEAST_ESS, n / 2):
        findings.append(
            (
                WeightWarning,
                f"the weights leave {1 / squares:.1f} effective points of {n}, too few to "
                "estimate an error: use more points or a sampler nearer to the target",
            )
        )
    return Regressed(raw, squares, np.diag(raw["scatter"]) / (1 - squares), tuple(findings))


def is_exact(raw: dict[str, Any], variance: Array, error: Array) -> NDArray[np.bool_]:
    """Return which errors are rounding: for constants, or functions that controls explain."""
    exact: NDArray[np.bool_] = np.sqrt(error) <= _ROUNDING * np.hypot(
        raw["mean"], np.sqrt(variance)
    )
    return exact


def effective_size(variance: Array, error: Array, constant: float) -> Array:
    """Return the variance divided by the squared error, or `constant` if nothing varies."""
    ess = np.where(variance > 0, np.inf, constant)
    np.divide(variance, error, out=ess, where=(error > 0) & (variance > 0))
    return ess


def _independent(
    sample: Sample, values: Array, controls: Controls | None, law: int, n_threads: int
) -> Average:
    """Average over independent points, weighted or not."""
    n = sample.n_draws
    got = regressed(sample, values, controls, sample._weights(law), n_threads)
    raw, cov = got.raw, got.raw["cov"]
    if sample.log_weights is None and controls is None:
        cov = cov * (n / (n - 1))
    error = np.diag(cov)
    exact = is_exact(raw, got.variance, error)
    findings = list(got.findings)
    if controls is not None:
        if raw["drift"] > DRIFT:
            findings.append(drift_finding(raw["drift"], controls))
        if not exact.all():
            findings += control_findings(raw, error, raw["plain_variance"], 1 / got.squares)
    # The effective sample size of a constant is that of the weights.
    return Average(
        mean=raw["mean"],
        cov=cov,
        ess=effective_size(got.variance, error, 1 / got.squares),
        khat=np.where(exact, -np.inf, raw["khat"]),
        findings=tuple(findings),
        df=degrees_of_freedom(1 / got.squares, raw, controls),
    )


def degrees_of_freedom(
    size: Array | float, raw: dict[str, Any], controls: Controls | None
) -> Array | float:
    """Return the effective number of values minus that of fitted coefficients, at least 1."""
    fitted = 1 if controls is None else 1 + raw["rank"]
    left: Array = np.maximum(np.asarray(size, dtype=float) - fitted, 1.0)
    return left


def _replicates(
    sample: Sample, values: Array, controls: Controls | None, law: int, n_threads: int
) -> Average:
    """Average over independent replicates of dependent points, such as Sobol' points."""
    if sample.draws.ndim != 3 or len(sample.draws) < 2:
        raise ArgumentError(
            f"error_model: 'replicas' given for draws of shape {sample.draws.shape}; (R, n, d) is "
            "needed, with at least 2 replicates, whose spread gives the error"
        )
    if controls is not None:
        raise ArgumentError(
            "controls: given for a sample of replicates, whose spread gives the error; give them "
            "to the call that draws the sample"
        )
    weights = sample._weights(law)
    count = len(sample.draws)
    mean = weights @ values
    # The error of a ratio of sums, by the delta method.
    centred = weights[:, None] * (values - mean)
    residuals = centred.reshape(count, -1, mean.size).sum(axis=1)
    cov: Array = residuals.T @ residuals * (count / (count - 1))
    spread = weights @ (values - mean) ** 2
    raw = _core.weighted_average(weights, np.ascontiguousarray(values), n_threads)
    return Average(
        mean=mean,
        cov=cov,
        ess=effective_size(spread, np.diag(cov), 1 / sum_of_squares(weights)),
        khat=raw["khat"],
        df=float(count - 1),
    )


register("iid", _independent, reweighted="weighted")
register("weighted", _independent, reweighted="weighted")
register("replicas", _replicates, reweighted="replicas")


def sum_of_squares(weights: Array) -> float:
    """Return the sum of the squared weights; one point with all the weight is an error."""
    squares = float(np.sum(weights**2))
    if squares >= 1 - 1e-12:
        raise ArgumentError(
            "one draw has all the weight, so that the standard error is unknown; use more points "
            "or a sampler nearer to the target"
        )
    return squares


def drift_finding(drift: float, controls: Controls) -> Finding:
    """Return the warning that the mean of the controls is not zero."""
    what = f"the mean of the controls is {drift:.0f} standard errors from zero, so that the average"
    if controls.kind == "given":
        return FermiacWarning, f"{what} is biased; give functions of mean zero, or no controls"
    if controls.kind == "polynomial":
        return FermiacWarning, f"{what} is biased: the draws are not from the law that was given"
    return (
        FermiacWarning,
        f"{what} is biased: the gradients are not those of the law of the draws, or its density "
        "does not vanish at a bound; correct them, map the draws to the whole space, or leave "
        "the controls out",
    )


def control_findings(
    raw: dict[str, Any], variance: Array, plain: Array, ess: float
) -> list[Finding]:
    """Return the warnings about controls: too many, one decisive point, a larger error."""
    found: list[Finding] = []
    if raw["rank"] > ess / 10:
        found.append(
            (
                FermiacWarning,
                f"{raw['rank']} controls for an effective sample size of {ess:.0f}, which allows a "
                "tenth of that; use fewer controls, a lower degree or more points",
            )
        )
    if raw["max_leverage"] > _LEVERAGE:
        found.append(
            (
                WeightWarning,
                "a single point nearly determines a coefficient of the controls, so that the "
                "standard error is unknown; use fewer controls, a lower degree or more points",
            )
        )
    harmed = variance > _HARM**2 * plain
    if harmed.any():
        found.append(
            (
                FermiacWarning,
                f"the controls increase the standard error of {int(harmed.sum())} of {plain.size} "
                "averages; leave them out, or use a lower degree",
            )
        )
    return found
