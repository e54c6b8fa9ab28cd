"""Checks of finished runs: the warnings that a result carries."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import ConvergenceWarning, FermiacWarning, HeavyTailWarning, WeightWarning

__all__ = ["estimate_findings", "evidence_findings", "nothing_met"]

Findings = list[tuple[type[FermiacWarning], str]]

#: The advice on heavy tails, for an adaptive run and for plain Monte Carlo.
_ADVICE = {
    False: "raise n, or try family='t', family='mixture' or a larger defensive_base",
    True: "raise n, or use method='aiscv'",
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
) -> Findings:
    """Return the warnings of an estimate of `expect`."""
    found: Findings = []

    def per_label(which: NDArray[np.bool_]) -> NDArray[np.bool_]:
        half = which.size // 2
        return which[:half] | which[half:] if is_complex else which

    # No criterion suffices alone. A mixture with a share of the law bounds the weights, so the tail
    # that k-hat measures is cut off. In a sample with a narrow bulk one point may dominate a small
    # variance. If the variance is infinite, however, the share of the largest point in the sum also
    # exceeds 1/sqrt(n). Together the criteria find the runs with invalid errors, and few others.
    plain = not raw["stages"]
    heavy_tail = (raw["khat"] > 0.5) & (raw["max_variance_share"] > 0.1)
    bad = per_label(heavy_tail & (raw["max_share"] > 0.5 / math.sqrt(raw["n_final"])))
    if bad.any():
        found.append(
            (
                WeightWarning,
                f"the weighted values of {_some(labels, bad)} have a heavy tail (k-hat up to "
                f"{np.nanmax(khat[bad]):.2f}) and a single point makes up to "
                f"{100 * raw['max_variance_share'][heavy_tail].max():.0f} % of a variance; such "
                f"error bars are too small: {_ADVICE[plain]}",
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
    # A share of the law bounds the weights; without it their mean is unreliable.
    if settings.get("defensive_base", 0.0) > 0:
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
                f"the weights are worth {raw['ess']:.0f} points only, where 10 (d + 1) = "
                f"{10 * (dim + 1)} are needed; the estimate and its error are in doubt: raise n"
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
