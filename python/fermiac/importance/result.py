"""From the raw numbers of `importance.expect` to its result, with what the user must be told."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.errors import ConvergenceWarning, FermiacWarning, HeavyTailWarning, WeightWarning
from fermiac.results import Estimate, Sample
from fermiac.results.averages import join_complex
from fermiac.results.result import warn

__all__ = ["to_estimate"]


def to_estimate(
    raw: dict[str, Any],
    settings: dict[str, Any],
    key: int,
    scalar: bool | None,
    is_complex: bool,
    names: tuple[str, ...] | None,
    interrupted: bool,
    wall_time: float,
) -> Estimate:
    """The result of a run, after warning of what is wrong with it."""
    mean, stderr, cov = raw["mean"], raw["stderr"], raw["cov"]
    ess, khat = raw["ess"], raw["khat"]
    stages = [{"stage": i, **stage} for i, stage in enumerate(raw["stages"])]
    unseen = raw["no_weight"]
    if unseen.any():
        # The rule of three: what has not been seen in m draws has probability below 3/m.
        stderr[unseen] = 3 / raw["n_final"]
        diagonal = np.diagonal(cov) if cov.ndim == 2 else cov
        diagonal = np.where(unseen, stderr**2, diagonal)
        if cov.ndim == 2:
            np.fill_diagonal(cov, diagonal)
        else:
            cov = diagonal
    if is_complex:
        mean, stderr, cov, ess, khat = join_complex(mean, stderr, cov, ess, khat)
        for stage in stages:
            _join_stage(stage)
    labels = names or tuple(f"E[{i}]" for i in range(mean.size))
    found = _findings(raw, labels, khat, is_complex)
    # A share of the law bounds the weights; without one their mean is not to be relied on.
    if settings.get("defensive_base", 0.0) > 0:
        found += _weight_findings(raw)
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
    )
    warn(found, estimate)
    return estimate


def _join_stage(stage: dict[str, Any]) -> None:
    k = stage["mean"].size // 2
    stage["mean"] = stage["mean"][:k] + 1j * stage["mean"][k:]
    stage["stderr"] = np.hypot(stage["stderr"][:k], stage["stderr"][k:])
    stage["degenerate"] = sorted({j % k for j in stage["degenerate"]})


#: What to do about heavy tails, for an adaptive run and for plain Monte Carlo.
_ADVICE = {
    False: "raise n, or try family='t', family='mixture' or a larger defensive_base",
    True: "raise n, or use method='aiscv'",
}


def _some(labels: tuple[str, ...], which: NDArray[np.bool_]) -> str:
    chosen = [label for label, w in zip(labels, which, strict=True) if w]
    more = f" and {len(chosen) - 5} more" if len(chosen) > 5 else ""
    return ", ".join(chosen[:5]) + more


def _findings(
    raw: dict[str, Any], labels: tuple[str, ...], khat: NDArray[Any], is_complex: bool
) -> list[tuple[type[FermiacWarning], str]]:
    """What the user must know of the result."""
    found: list[tuple[type[FermiacWarning], str]] = []

    def per_label(which: NDArray[np.bool_]) -> NDArray[np.bool_]:
        half = which.size // 2
        return which[:half] | which[half:] if is_complex else which

    # No sign tells by itself. A mixture with a share of the law bounds the weights, and the tail
    # that k-hat sees then ends; a sample with a narrow bulk may owe its small variance to one
    # point. But where the variance is infinite, the largest point is a larger share of the sum
    # than 1/sqrt(n), too. Together they mark the runs whose error bars fail, and hardly any other.
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
    unseen = per_label(raw["no_weight"])
    if unseen.any():
        found.append(
            (
                WeightWarning,
                f"the law of {_some(labels, unseen)} is 0 at every point of the final sample; its "
                "estimate is 0 and its error 3/n, for |f| of size 1",
            )
        )
    zero = raw["all_zero"] & ~raw["no_weight"]
    zero = zero[: zero.size // 2] & zero[zero.size // 2 :] if is_complex else zero
    if zero.any():
        found.append(
            (
                FermiacWarning,
                f"f was 0 at every point of the final sample for {_some(labels, zero)}; the "
                "estimate is exactly 0; if f is an indicator, its probability is below "
                f"{3 / raw['n_final']:.2g} with 95 % confidence under the final sampler",
            )
        )
    if raw["too_few_for_all"]:
        found.append(
            (
                FermiacWarning,
                "too few points for controls='all' (10 for each component are needed in the "
                "adaptation); controls='own' was used",
            )
        )
    found += _stage_findings(raw, labels, per_label)
    return found


def _weight_findings(raw: dict[str, Any]) -> list[tuple[type[FermiacWarning], str]]:
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
) -> list[tuple[type[FermiacWarning], str]]:
    found: list[tuple[type[FermiacWarning], str]] = []
    if not raw["stages"]:
        return found
    chosen = raw["stages"][raw["chosen_stage"]]
    stage_error = np.hypot(raw["stderr"], chosen["stderr"])
    difference = np.abs(chosen["mean"] - raw["mean"])
    # Below this the difference is rounding.
    apart = difference > np.maximum(6 * stage_error, 1e-12 * np.abs(raw["mean"]))
    # A stage with a handful of effective points has no error bar worth comparing.
    apart &= raw["ess"] > 100
    apart = per_label(apart & (stage_error > 0))
    if apart.any():
        found.append(
            (
                ConvergenceWarning,
                f"the final sample contradicts the stage that its sampler was chosen by, for "
                f"{_some(labels, apart)}; part of the mass was missed: raise n, or try "
                "family='mixture'",
            )
        )
    which = np.zeros(raw["mean"].size, bool)
    which[chosen["degenerate"]] = raw["chosen_stage"] > 0
    # What was 0 everywhere has been said already.
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
