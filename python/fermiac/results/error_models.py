"""Error models: how averages over a sample and their errors are computed, by what it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.config import resolve_threads
from fermiac.errors import ArgumentError, FermiacWarning, WeightWarning

if TYPE_CHECKING:
    from fermiac.results.sample import Sample

__all__ = ["Average", "Controls", "average", "register"]

Array = NDArray[np.float64]
#: Standard errors with controls above this times those without are announced.
_HARM = 1.1
#: Above this leverage a point decides its own fit.
_LEVERAGE = 0.99
#: A standard error below this share of the values is rounding.
_ROUNDING = 1e-13
#: Means of controls this many standard errors from zero are not zero.
DRIFT = 6.0
#: Fewer effective points than this tell nothing of an error.
_LEAST_ESS = 5.0


@dataclass(frozen=True)
class Average:
    """Averages of K columns: what an error model gives."""

    mean: Array
    cov: Array
    ess: Array
    khat: Array
    findings: tuple[tuple[type[FermiacWarning], str], ...] = ()
    #: The largest share that one of the independent parts has of a squared error, where these are
    #: not the points.
    largest: Array | None = None
    #: Of chains: R-hat, 1 where the average is exact.
    rhat: Array | None = None


@dataclass(frozen=True)
class Controls:
    """Given values (n, m), or the degree of Stein controls from the sample's gradients."""

    given: Array | None = None
    degree: int | None = None


@dataclass(frozen=True)
class Regressed:
    """Weighted averages before any error model."""

    #: Figures of the core.
    raw: dict[str, Any]
    #: The sum of the squared weights.
    squares: float
    #: Of the columns, under the law.
    variance: Array
    findings: tuple[tuple[type[FermiacWarning], str], ...]


ErrorModel = Callable[["Sample", Array, "Controls | None", int, int], Average]
_MODELS: dict[str, ErrorModel] = {}


def register(error_model: str, compute: ErrorModel) -> None:
    """Say how samples of an error model are averaged.

    `compute` takes the sample, values (n, K), controls or None, the law and the threads; the rows
    of chains come one chain after the other.
    """
    _MODELS[error_model] = compute


def average(
    sample: Sample,
    values: Array,
    controls: Controls | None = None,
    law: int = 0,
    n_threads: int | None = None,
) -> Average:
    """Averages of the columns of `values`, by the sample's error model; warns of nothing."""
    model = _MODELS.get(sample.error_model)
    if model is None:
        known = ", ".join(sorted(_MODELS))
        raise ArgumentError(
            f"error_model: {sample.error_model!r} given, for which no errors are known; it must "
            f"be one of {known}"
        )
    return model(sample, values, controls, law, resolve_threads(n_threads))


def regressed(
    sample: Sample, values: Array, controls: Controls | None, weights: Array, n_threads: int
) -> Regressed:
    """The weighted averages of the columns, with controls regressed out."""
    n = sample.n_draws
    stein = None
    if controls is not None and controls.degree is not None:
        assert sample.gradients is not None
        gradients = np.ascontiguousarray(sample.gradients.reshape(n, -1))
        stein = (sample._points, gradients, controls.degree)
    given = None if controls is None else controls.given
    if controls is None and np.count_nonzero(weights) < 2:
        raise ArgumentError(
            f"{np.count_nonzero(weights)} draw of positive weight cannot tell an error; at least 2 "
            "are needed"
        )
    raw = _core.weighted_average(
        weights, np.ascontiguousarray(values), n_threads, given=given, stein=stein
    )
    squares = sum_of_squares(weights)
    findings: list[tuple[type[FermiacWarning], str]] = []
    if 1 / squares <= min(_LEAST_ESS, n / 2):
        findings.append(
            (
                WeightWarning,
                f"the weights leave {1 / squares:.1f} effective points of {n}, too few to tell an "
                "error: use more points or a sampler nearer to the target",
            )
        )
    return Regressed(raw, squares, np.diag(raw["scatter"]) / (1 - squares), tuple(findings))


def is_exact(raw: dict[str, Any], variance: Array, error: Array) -> NDArray[np.bool_]:
    """Where a squared error is what rounding leaves of a constant, or of what controls explain."""
    exact: NDArray[np.bool_] = np.sqrt(error) <= _ROUNDING * np.hypot(
        raw["mean"], np.sqrt(variance)
    )
    return exact


def effective_size(variance: Array, error: Array, constant: float) -> Array:
    """The variance over the squared error; of what does not vary, `constant`."""
    ess = np.where(variance > 0, np.inf, constant)
    np.divide(variance, error, out=ess, where=(error > 0) & (variance > 0))
    return ess


def _independent(
    sample: Sample, values: Array, controls: Controls | None, law: int, n_threads: int
) -> Average:
    """Independent points, weighted or not."""
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
    # Of a constant the weights alone say how many points average it.
    return Average(
        mean=raw["mean"],
        cov=cov,
        ess=effective_size(got.variance, error, 1 / got.squares),
        khat=np.where(exact, -np.inf, raw["khat"]),
        findings=tuple(findings),
    )


register("iid", _independent)
register("weighted", _independent)


def sum_of_squares(weights: Array) -> float:
    """The sum of the squared weights; refuses a point that is alone to within rounding."""
    squares = float(np.sum(weights**2))
    if squares >= 1 - 1e-12:
        raise ArgumentError(
            "all weight rests on one draw, which cannot tell an error; use more points or a "
            "sampler nearer to the target"
        )
    return squares


def drift_finding(drift: float, controls: Controls) -> tuple[type[FermiacWarning], str]:
    what = f"the mean of the controls is {drift:.0f} standard errors from zero, so that the average"
    if controls.degree is None:
        return FermiacWarning, f"{what} is biased; give functions of mean zero, or no controls"
    return (
        FermiacWarning,
        f"{what} is biased: the gradients are not those of the law of the draws, or its density "
        "does not vanish at a bound; correct them, map the draws to the whole space, or leave "
        "the controls out",
    )


def control_findings(
    raw: dict[str, Any], variance: Array, plain: Array, ess: float
) -> list[tuple[type[FermiacWarning], str]]:
    found: list[tuple[type[FermiacWarning], str]] = []
    if raw["rank"] > ess / 10:
        found.append(
            (
                FermiacWarning,
                f"{raw['rank']} controls for {ess:.0f} effective points, of which a tenth is what "
                "a regression carries well; use fewer controls, a lower degree or more points",
            )
        )
    if raw["max_leverage"] > _LEVERAGE:
        found.append(
            (
                WeightWarning,
                "a single point all but fixes a coefficient of the controls by itself, so that "
                "its error cannot be told; use fewer controls, a lower degree or more points",
            )
        )
    harmed = variance > _HARM**2 * plain
    if harmed.any():
        found.append(
            (
                FermiacWarning,
                f"the controls do harm: of {int(harmed.sum())} of {plain.size} averages the error "
                "is larger than without them; leave them out, or use a lower degree",
            )
        )
    return found
