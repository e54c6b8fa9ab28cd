"""From the raw numbers of `importance.expect` to its result, with what the user must be told."""

from __future__ import annotations

import math
import warnings as _warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.errors import (
    ArgumentError,
    ConvergenceWarning,
    FermiacWarning,
    HeavyTailWarning,
    WeightWarning,
)
from fermiac.results import Estimate, Sample

__all__ = ["to_estimate"]


def to_estimate(
    raw: dict[str, Any],
    settings: dict[str, Any],
    key: int,
    scalar: bool | None,
    is_complex: bool,
    names: Sequence[str] | None,
    interrupted: bool,
    wall_time: float,
) -> Estimate:
    """The result of a run, after warning of what is wrong with it."""
    mean, cov = raw["mean"], raw["cov"]
    ess, khat = raw["ess"], raw["khat"]
    variance = np.diag(cov).copy() if cov.ndim == 2 else cov.copy()
    unseen = raw["no_weight"]
    if unseen.any():
        # The rule of three: what has not been seen in m draws has probability below 3/m.
        variance[unseen] = (3 / raw["n_final"]) ** 2
        if cov.ndim == 2:
            np.fill_diagonal(cov, variance)
        else:
            cov = variance
    if is_complex:
        mean, cov, variance, ess, khat = _join_complex(mean, cov, variance, ess, khat)
    labels = _names(names, mean.size)
    found = _findings(raw, labels, khat, is_complex)
    # Two frames up is the call of the user.
    for category, text in found:
        _warnings.warn(text, category, stacklevel=3)
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
        sample = Sample(
            **common,
            draws=raw["draws"],
            log_weights=log_weights[:, 0] if log_weights.shape[1] == 1 else log_weights,
            error_model="weighted",
        )
    stages = tuple({"stage": i, **stage} for i, stage in enumerate(raw["stages"]))

    def shape(a: NDArray[Any]) -> Any:
        return a.ravel()[0].item() if scalar else a

    return Estimate(
        **common,
        warnings=tuple(text for _, text in found),
        mean=shape(mean),
        stderr=shape(np.sqrt(np.maximum(variance, 0.0))),
        cov=shape(cov),
        ess=shape(ess),
        khat=shape(khat),
        names=labels,
        method=settings["method"],
        stages=stages,
        chosen_stage=raw["chosen_stage"] if stages else None,
        sample=sample,
    )


def _join_complex(
    mean: NDArray[Any],
    cov: NDArray[Any],
    variance: NDArray[Any],
    ess: NDArray[Any],
    khat: NDArray[Any],
) -> tuple[NDArray[Any], ...]:
    k = mean.size // 2
    joined = mean[:k] + 1j * mean[k:]
    total = variance[:k] + variance[k:]
    if cov.ndim == 2:
        re, im, cross = cov[:k, :k], cov[k:, k:], cov[k:, :k]
        full: NDArray[Any] = (re + im) + 1j * (cross - cross.T)
    else:
        full = total
    return joined, full, total, np.minimum(ess[:k], ess[k:]), np.fmax(khat[:k], khat[k:])


def _names(names: Sequence[str] | None, j: int) -> tuple[str, ...]:
    if names is None:
        return tuple(f"E[{i}]" for i in range(j))
    labels = tuple(str(name) for name in names)
    if isinstance(names, str) or len(labels) != j or len(set(labels)) != j:
        raise ArgumentError(
            f"names: {names!r} given; {j} different names are needed, one for each expectation"
        )
    return labels


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
    heavy_tail = (raw["khat"] > 0.5) & (raw["max_variance_share"] > 0.1)
    bad = per_label(heavy_tail & (raw["max_share"] > 0.5 / math.sqrt(raw["n_final"])))
    if bad.any():
        found.append(
            (
                WeightWarning,
                f"the weighted values of {_some(labels, bad)} have a heavy tail (k-hat up to "
                f"{np.nanmax(khat[bad]):.2f}) and a single point makes up to "
                f"{100 * raw['max_variance_share'].max():.0f} % of a variance; such error bars are "
                "too small: raise n, or try family='t', family='mixture' or a larger "
                "defensive_base",
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
                "estimate is exactly 0, and says nothing of where f was not evaluated",
            )
        )
    if raw["too_few_for_all"]:
        found.append(
            (
                FermiacWarning,
                "too few points for controls='all' (10 for each component and expectation are "
                "needed); controls='own' was used",
            )
        )
    found += _stage_findings(raw, labels, per_label)
    return found


def _stage_findings(
    raw: dict[str, Any],
    labels: tuple[str, ...],
    per_label: Callable[[NDArray[np.bool_]], NDArray[np.bool_]],
) -> list[tuple[type[FermiacWarning], str]]:
    found: list[tuple[type[FermiacWarning], str]] = []
    if not raw["stages"]:
        return found
    cov = raw["cov"]
    variance = np.diag(cov) if cov.ndim == 2 else cov
    chosen = raw["stages"][raw["chosen_stage"]]
    stage_error = np.sqrt(variance + chosen["stderr"] ** 2)
    apart = np.abs(chosen["mean"] - raw["mean"]) > 6 * stage_error
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
