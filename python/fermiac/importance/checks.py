"""Checks of finished runs: the warnings that a result carries."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import ConvergenceWarning, FermiacWarning, HeavyTailWarning, WeightWarning
from fermiac.results.unseen import equal_finding

if TYPE_CHECKING:
    from fermiac.importance.settings import Drawing

__all__ = [
    "OUTLIER",
    "drawing_findings",
    "estimate_findings",
    "evidence_findings",
    "nothing_met",
    "outliers",
    "reuse_findings",
    "unmet",
]

Findings = list[tuple[type[FermiacWarning], str]]

#: The largest distance of one replicate from the others, in leave-one-out deviations.
OUTLIER = 5.0
#: The largest difference of the estimates from all stages and from the last one, in errors.
_POOLED = 3.0
#: The largest k-hat of a sampler that was trained for another problem.
_REUSE_KHAT = 0.7
#: Conditions for a warning about an outlying replicate: the number of replicates, the size of its
#: largest point in multiples of the mean, and its distance in multiples of the change that such a
#: point makes. In one dimension the replicates of an indicator differ by only a point or two.
_FEWEST_TOLD, _LARGE, _STEPS = 8, 20.0, 3.0

#: The advice on heavy tails, for an adaptive run, for plain Monte Carlo and for a given sampler.
_ADVICE = {
    "adaptive": "raise n, or try family='t', family='mixture' or a larger defensive_base",
    "plain": "raise n, or use method='aiscv'",
    "given": "train a sampler for this problem, or refine this one by pilot_fraction",
}


def _some(labels: tuple[str, ...], which: NDArray[np.bool_]) -> str:
    chosen = [label for label, w in zip(labels, which, strict=True) if w]
    more = f" and {len(chosen) - 5} more" if len(chosen) > 5 else ""
    return ", ".join(chosen[:5]) + more


def nothing_met(raw: dict[str, Any], is_complex: bool) -> NDArray[np.bool_]:
    """Return which of the J estimates come from zeros alone.

    A real or imaginary part that is 0 everywhere is no reason for doubt if the other part is not.
    """
    zero: NDArray[np.bool_] = raw["all_zero"]
    if is_complex:
        zero = np.tile(zero[: zero.size // 2] & zero[zero.size // 2 :], 2)
    nothing: NDArray[np.bool_] = zero | raw["no_weight"]
    return nothing


def estimate_findings(
    raw: dict[str, Any],
    labels: tuple[str, ...],
    khat: NDArray[Any],
    is_complex: bool,
    settings: dict[str, Any],
    equal: NDArray[np.bool_],
) -> Findings:
    """Return the warnings of an estimate of `expect`."""
    found: Findings = []

    def per_label(which: NDArray[np.bool_]) -> NDArray[np.bool_]:
        half = which.size // 2
        return which[:half] | which[half:] if is_complex else which

    given = settings.get("pilot_fraction") == 0
    advice = _ADVICE["given" if given else "adaptive" if raw["stages"] else "plain"]
    heavy_tail = (raw["khat"] > 0.5) & (raw["max_variance_share"] > 0.1)
    bad = per_label(heavy_tails(raw))
    if bad.any():
        found.append(
            (
                WeightWarning,
                f"the weighted values of {_some(labels, bad)} have a heavy tail (k-hat up to "
                f"{np.nanmax(khat[bad]):.2f}) and a single point makes up to "
                f"{100 * raw['max_variance_share'][heavy_tail].max():.0f} % of a variance; such "
                f"error bars are too small: {advice}",
            )
        )
    heavy = per_label(raw["max_share"] > 0.1)
    if heavy.any():
        found.append(
            (
                HeavyTailWarning,
                f"a single point makes {100 * raw['max_share'].max():.0f} % of the estimate of "
                f"{_some(labels, heavy)}; raise n, or check that the law reaches where f is large",
            )
        )
    if raw["n_non_finite"]:
        found.append(
            (
                FermiacWarning,
                f"{raw['n_non_finite']} values of f were not finite and counted as 0",
            )
        )
    if raw["n_at_bound"] and raw["stages"]:
        found.append(
            (
                ConvergenceWarning,
                f"{raw['n_at_bound']} coordinates drawn from the law lie within rounding of a "
                "bound of its support: mass that a density cannot resolve there is missing from "
                "the estimates; use method='mc', which has no such limit",
            )
        )
    no_weight = per_label(raw["no_weight"])
    if no_weight.any():
        found.append(
            (
                WeightWarning,
                f"the law of {_some(labels, no_weight)} is 0 at every point of the final sample; "
                "its estimate is 0 and its error 3/n, for |f| of size 1",
            )
        )
    nothing = nothing_met(raw, is_complex)
    zero = per_label(nothing & ~raw["no_weight"])
    if zero.any():
        found.append(
            (
                FermiacWarning,
                f"f was 0 at every point of the final sample for {_some(labels, zero)}; the "
                "estimate is exactly 0: either f is 0 everywhere, or the region where it is not "
                "was never met, and no sample can tell which. For the second case the error is "
                f"3 / N = {raw['stderr'][nothing].max():.2g}, with N points drawn from the law and "
                "|f| of size 1: a probability is below it with 95 % confidence. For an indicator "
                "of a rare event g <= t, fermiac.importance.failure_probability follows g to it",
            )
        )
    equal = equal & ~raw["no_weight"]
    if equal.any():
        n = float(raw["n_from_law"][equal].min())
        found.append(equal_finding(n, f"f for {_some(labels, per_label(equal))}"))
    found += _unseen_findings(raw, labels, per_label(_hidden(raw) & ~nothing))
    if raw["too_few_for_all"]:
        found.append(
            (
                FermiacWarning,
                "too few points for controls='all' (10 for each component are needed in the "
                "adaptation); controls='own' was used",
            )
        )
    found += _stage_findings(raw, labels, per_label)
    # Without a share of the law the weights are unbounded and their mean is unreliable. A given
    # sampler has a separate warning.
    if settings.get("defensive_base", 0.0) > 0 and settings.get("pilot_fraction") != 0:
        found += _weight_findings(raw)
    return found


def _hidden(raw: dict[str, Any]) -> NDArray[np.bool_]:
    """Return the estimates for which more mass may be unseen than their errors allow for."""
    # If the integrand is not 0 at most points of the law, the points show where its mass is.
    tolerated = np.maximum(2 * raw["stderr"], 0.05 * np.abs(raw["mean"]))
    hidden: NDArray[np.bool_] = raw["sparse"] & (raw["unseen"] > tolerated)
    return hidden


def _unseen_findings(
    raw: dict[str, Any], labels: tuple[str, ...], hidden: NDArray[np.bool_]
) -> Findings:
    if not hidden.any():
        return []
    # The real and the imaginary parts are the two halves of the arrays.
    which = np.tile(hidden, raw["mean"].size // hidden.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(which, raw["unseen"] / np.abs(raw["mean"]), 0.0)
    drawn = int(raw["n_from_law"][which].min())
    # The largest observed value is 1, so f may be an indicator.
    indicator = np.isclose(raw["unseen"] * np.maximum(raw["n_from_law"], 1), 3.0)[which].any()
    instead = "; fermiac.importance.failure_probability is for rare events g <= t" * bool(indicator)
    return [
        (
            ConvergenceWarning,
            f"f is 0 at most of the {drawn} points drawn from the law for {_some(labels, hidden)}, "
            f"so that regions worth up to {100 * np.nanmax(share):.3g} % of the estimate (the "
            "field unseen) may hide where none of these points fell; their error is not in "
            f"stderr. A region of probability p is met with chance 1 - (1 - p)^{drawn}: raise n or "
            f"defensive_base{instead}",
        )
    ]


def drawing_findings(
    raw: dict[str, Any],
    labels: tuple[str, ...],
    khat: NDArray[Any],
    is_complex: bool,
    drawn: Drawing,
    mean: NDArray[Any],
    stderr: NDArray[np.float64],
    df: float,
) -> Findings:
    """Return the warnings about the points of `expect`: tolerances, replicates, pools, samplers."""
    found: Findings = []

    def per_label(which: NDArray[np.bool_]) -> NDArray[np.bool_]:
        half = which.size // 2
        return which[:half] | which[half:] if is_complex else which

    if raw["n_looks"] and not raw["converged"]:
        rtol, atol = drawn.tolerance or (0.0, 0.0)
        settled = {
            "n_looks": raw["n_looks"],
            "all_zero": raw["all_zero"][: mean.size],
            "n_evals": raw["n_evals"],
            "is_net": drawn.points == "sobol",
        }
        settings = {"rtol": rtol, "atol": atol}
        found.append((ConvergenceWarning, unmet(settled, settings, mean, stderr, df)))
    means = raw["replicates"]
    if len(means) >= _FEWEST_TOLD:
        # Only outliers from single points are reported; other outliers of nets are harmless.
        step = np.abs(means).sum(axis=0) * raw["max_share"]
        apart = outliers(means, np.maximum(_STEPS * step, 1e-12 * np.abs(raw["mean"])))
        apart = per_label(apart & (raw["max_share"] * raw["n_final"] > _LARGE))
        if apart.any():
            found.append(
                (
                    HeavyTailWarning,
                    f"one of the {len(means)} replicates of {_some(labels, apart)} is more than "
                    f"{OUTLIER:g} deviations of the others from their mean: a region with few "
                    "points contributes much of the estimate; raise n",
                )
            )
    if len(raw["final_mean"]):
        error = np.hypot(raw["final_stderr"], raw["stderr"])
        difference = np.abs(raw["final_mean"] - raw["mean"])
        apart = difference > np.maximum(_POOLED * error, 1e-12 * np.abs(raw["mean"]))
        apart = per_label(apart)
        if apart.any():
            found.append(
                (
                    ConvergenceWarning,
                    f"the points of all stages contradict those of the final sample by more than "
                    f"{_POOLED:g} errors for {_some(labels, apart)}: the samplers followed chance "
                    "features of earlier points, or part of the mass was missed; use pool='final', "
                    "or raise n",
                )
            )
    if drawn.keeps:
        law = int(np.argmax(np.abs(raw["weight_mean"] - 1) / (raw["weight_stderr"] + 1e-3)))
        weight = raw["weight_mean"][law], raw["weight_stderr"][law]
        # Heavy tails that make the error too small have a separate warning. A large k-hat is
        # harmless if no point contributes much of the variance, as the share of the law bounds the
        # weights.
        doubtful = per_label(raw["max_variance_share"] > 0.1) & ~per_label(heavy_tails(raw))
        others = np.atleast_1d(khat)[doubtful]
        found += reuse_findings(float(np.nanmax(others, initial=-np.inf)), *weight)
    return found


def heavy_tails(raw: dict[str, Any]) -> NDArray[np.bool_]:
    """Return which weighted values have tails so heavy that their errors are too small."""
    # No single criterion is enough. A share of the law bounds the weights, so the tail that k-hat
    # measures ends; in a sample with a narrow bulk one point may contribute most of a small
    # variance. If the variance is infinite, the largest point also contributes more than 1/sqrt(n)
    # of the sum. Together the criteria find the runs whose errors are too small, and few others.
    heavy: NDArray[np.bool_] = (
        (raw["khat"] > 0.5)
        & (raw["max_variance_share"] > 0.1)
        & (raw["max_share"] > 0.5 / math.sqrt(raw["n_final"]))
    )
    return heavy


def outliers(means: NDArray[np.float64], least: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the estimates with a replicate at least `least` away from the mean of the others."""
    count = len(means)
    if count < 8:
        return np.zeros(means.shape[1], bool)
    size = np.abs(means).max(axis=0)
    scaled = means / np.where(size > 0, size, 1.0)
    total, squares = scaled.sum(axis=0), (scaled**2).sum(axis=0)
    others = (total - scaled) / (count - 1)
    spread = np.maximum(squares - scaled**2 - (count - 1) * others**2, 0.0) / (count - 2)
    bound = np.maximum(OUTLIER * np.sqrt(spread), least / np.where(size > 0, size, 1.0))
    apart = np.abs(scaled - others) > bound
    return np.asarray(apart.any(axis=0))


def unmet(
    raw: dict[str, Any],
    settings: Mapping[str, Any],
    mean: NDArray[Any],
    stderr: NDArray[np.float64],
    df: float,
) -> str:
    """Return the text for a tolerance that was not met, with the n that the rate forecasts."""
    from scipy.special import stdtrit

    factor = -stdtrit(df, 0.025 / raw["n_looks"])
    wanted = np.maximum(settings["atol"] or 0.0, (settings["rtol"] or 0.0) * np.abs(mean))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.nanmax(np.where(raw["all_zero"], 0.0, factor * stderr / wanted))
    # Errors of nets decrease at least as fast as those of independent points, usually as n^-1.
    power = 1.0 if raw["is_net"] else 2.0
    needed = raw["n_evals"] * max(ratio, 1.0) ** power
    return (
        f"the tolerance was not met within n: the largest half-width is {ratio:.2g} times the "
        f"tolerance; about n = {needed:.2g} evaluations are forecast to meet it"
    )


def reuse_findings(khat: float, weight: float, weight_stderr: float) -> Findings:
    """Return the warnings of a sampler that was trained for another problem.

    `weight` is the mean weight of the law, which is 1 if the density of the sampler is that of its
    points.
    """
    found: Findings = []
    if khat > _REUSE_KHAT:
        found.append(
            (
                WeightWarning,
                f"the given sampler does not fit this problem: the tail of the weighted values "
                f"has a k-hat of {khat:.2f}, above the limit of {_REUSE_KHAT:g} for a reliable "
                "error; train one for it, or refine this one by pilot_fraction",
            )
        )
    if abs(weight - 1) > max(6 * weight_stderr, 0.01):
        found.append(
            (
                ConvergenceWarning,
                f"the mean weight of the law under the given sampler is {weight:.4g} instead of 1: "
                "the sampler misses part of the law, or its density does not match its points; "
                "train one for this law",
            )
        )
    return found


def _weight_findings(raw: dict[str, Any]) -> Findings:
    off = np.abs(raw["weight_mean"] - 1)
    off[raw["weight_mean"] == 0] = 0.0
    worst = int(np.argmax(off - 6 * raw["weight_stderr"]))
    if off[worst] <= max(6 * raw["weight_stderr"][worst], 0.01):
        return []
    which = "the law" if off.size == 1 else f"law {worst}"
    return [
        (
            ConvergenceWarning,
            f"the mean weight f / g of {which} is {raw['weight_mean'][worst]:.4g} where 1 is "
            "right: its log_density is not normalised, or does not fit its sampler",
        )
    ]


def _stage_findings(
    raw: dict[str, Any],
    labels: tuple[str, ...],
    per_label: Callable[[NDArray[np.bool_]], NDArray[np.bool_]],
) -> Findings:
    found: Findings = []
    if not raw["stages"]:
        return found
    chosen = raw["stages"][raw["chosen_stage"]]
    stage_error = np.hypot(raw["stderr"], chosen["stderr"])
    difference = np.abs(chosen["mean"] - raw["mean"])
    # Below this the difference is rounding.
    apart = difference > np.maximum(6 * stage_error, 1e-12 * np.abs(raw["mean"]))
    # With a few effective points the error of a stage is too rough for a comparison.
    apart &= raw["ess"] > 100
    apart = per_label(apart & (stage_error > 0))
    if apart.any():
        found.append(
            (
                ConvergenceWarning,
                f"the final sample contradicts the stage from which its sampler was chosen, for "
                f"{_some(labels, apart)}; part of the mass was missed: raise n, or try "
                "family='mixture'",
            )
        )
    which = np.zeros(raw["mean"].size, bool)
    which[chosen["degenerate"]] = raw["chosen_stage"] > 0
    # Functions that are 0 everywhere have their own warning.
    which &= ~raw["all_zero"]
    if which.any():
        found.append(
            (
                WeightWarning,
                f"too few points carried weight to fit a component to "
                f"{_some(labels, per_label(which))}; an older or wider one was used: raise n",
            )
        )
    return found


def evidence_findings(raw: dict[str, Any], settings: dict[str, Any]) -> Findings:
    """Return the warnings of an evidence."""
    found: Findings = []
    n, dim = raw["draws"].shape
    if raw["log_evidence"] == -np.inf:
        found.append(
            (
                ConvergenceWarning,
                f"the target is 0 at all {n} points; log_evidence is -inf: start from a law whose "
                "mass meets that of the target, or raise n",
            )
        )
        return found
    fits = [stage["power"] for stage in raw["stages"][:-1]]
    if not raw["converged"] and fits and fits[-1] < 1:
        found.append(
            (
                ConvergenceWarning,
                "the adaptation ended before it reached the target (its last fit used the weights "
                f"to the power {fits[-1]:.2g}); the estimate may miss most of the mass: raise n or "
                "n_stages, or start from a law nearer to the target",
            )
        )
        # Bad weights are then a consequence.
        return found
    if not raw["converged"]:
        found.append(
            (
                WeightWarning,
                f"the ESS of the weights is {raw['ess']:.0f}, but at least 10 (d + 1) = "
                f"{10 * (dim + 1)} is needed; the estimate and its error are in doubt: raise n"
                + (", or use scheme='amis'" if settings["scheme"] == "snis" else ""),
            )
        )
    # k-hat alone gives false alarms for bounded but uneven weights. If the variance is infinite,
    # the share of the largest point does not fall with the number of points. If most weights are 0
    # there is no k-hat (NaN), and only the share is used.
    khat, share = raw["khat"], raw["max_variance_share"]
    if not khat <= 0.5 and share > 0.05:
        shape = "has no fit, since most weights are 0," if np.isnan(khat) else f"is {khat:.2f},"
        found.append(
            (
                WeightWarning,
                f"the weights have a heavy tail: k-hat {shape} and one point makes "
                f"{100 * share:.0f} % of the variance; the error is probably too small: raise n or "
                "n_components, or start from a law with wider tails",
            )
        )
    if raw["n_at_bound"]:
        found.append(
            (
                ConvergenceWarning,
                f"{raw['n_at_bound']} coordinates drawn from the law lie within rounding of a "
                "bound of its support: mass that a density cannot resolve there is missing from "
                "the estimate",
            )
        )
    return found
