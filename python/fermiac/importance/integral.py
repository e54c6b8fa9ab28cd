"""The estimate of an integral from the replicates of the core, with its warnings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.errors import ConvergenceWarning, FermiacWarning, HeavyTailWarning, WeightWarning
from fermiac.importance.checks import OUTLIER, Findings, _some, outliers, unmet
from fermiac.importance.sampler import sampler_of
from fermiac.results import Estimate, Sample
from fermiac.results.averages import join_complex
from fermiac.results.result import tolerant, warn
from fermiac.results.unseen import equal_finding

__all__ = ["to_integral"]

Array = NDArray[np.float64]

#: The largest difference of two estimates of one run, in standard errors.
_APART = 4.0
#: Replicates of Sobol' points can have harmless outliers. Only outliers from single points give a
#: warning: a point has at least this many times the mean value, and the replicate deviates by at
#: least this many times the change of a mean that such a point makes.
_LARGE = 20.0
_STEPS = 0.3
#: The fewest replicates for a standard error.
_FEWEST = 4


def to_integral(
    raw: dict[str, Any],
    settings: dict[str, Any],
    key: int,
    scalar: bool,
    is_complex: bool,
    names: tuple[str, ...] | None,
    interrupted: bool,
    wall_time: float,
    coordinates: tuple[str, ...],
) -> Estimate:
    """Return the estimate of a run, after its warnings."""
    means: Array = raw["replicates"]
    count, k = means.shape
    median = settings["combine"] == "median"
    mean = np.median(means, axis=0) if median else means.mean(axis=0)
    cov = _covariance(means, settings["covariance"] == "full")
    if median:
        stderr = _median_stderr(means)
        cov = np.diag(stderr**2) if cov.ndim == 2 else stderr**2
    else:
        # Not from the covariance, whose squares may be beyond the range of doubles.
        stderr = _deviations(means) / np.sqrt(count)
    unseen: Array = raw["unseen"]
    nothing = _in_both_parts(raw["all_zero"], is_complex)
    if count < _FEWEST:
        stderr = np.full(k, np.inf)
    # Equal means of varying values are equal by chance; the error is then one step of the mean.
    stuck = (stderr == 0) & (raw["resolution"] > 0) & _differ(raw, means)
    stderr = np.where(stuck, raw["resolution"] / np.sqrt(count), stderr)
    # In one dimension replicates may have equal numbers of points beyond a jump by chance.
    steps = raw["jump"] / np.sqrt(count) if raw["is_net"] else 0.0
    stuck |= stderr < steps
    stderr = np.maximum(stderr, steps)
    # Rule of three: an event without a hit in N points has a probability below 3 / N; |f| is taken
    # as 1.
    bound = 3 * _volume(raw) / max(raw["n_base"], 1.0)
    unseen = np.where(nothing, bound, unseen)
    stderr = np.where(nothing, bound, stderr)
    _put_variances(cov, stderr, stuck | nothing)
    ess, khat = raw["ess"], raw["khat"]
    stages = [{"stage": i, **stage} for i, stage in enumerate(raw["stages"])]
    replicates: NDArray[Any] = means
    if is_complex:
        mean, stderr, cov, ess, khat = join_complex(mean, stderr, cov, ess, khat)
        unseen = np.hypot(*np.split(unseen, 2))
        replicates = means[:, : k // 2] + 1j * means[:, k // 2 :]
        for stage in stages:
            half = stage["mean"].size // 2
            stage["mean"] = stage["mean"][:half] + 1j * stage["mean"][half:]
            stage["stderr"] = np.hypot(stage["stderr"][:half], stage["stderr"][half:])
    labels = names or tuple(f"I[{i}]" for i in range(mean.size))
    found = tolerant(_findings, raw, labels, settings, is_complex, interrupted, nothing)
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
        sample = Sample(
            **common,
            draws=raw["draws"],
            log_weights=raw["log_weights"],
            names=coordinates,
            error_model="weighted",
        )

    def shape(a: NDArray[Any]) -> Any:
        return a.ravel()[0].item() if scalar else a

    looks = raw["n_looks"]
    result = Estimate(
        **common,
        mean=shape(mean),
        stderr=shape(stderr),
        cov=shape(cov),
        ess=shape(ess),
        khat=shape(khat),
        names=labels,
        method=raw["chosen"],
        stages=tuple(stages),
        sample=sample,
        df=float(max(count - 1, 1)),
        n_replicates=count,
        converged=bool(raw["converged"]) if looks else None,
        unseen=shape(unseen),
        n_looks=looks or None,
        replicates=replicates,
        combine=settings["combine"],
        sampler=sampler_of(raw["sampler"], **common),
    )
    warn(found, result)
    return result


def _put_variances(cov: Array, stderr: Array, which: NDArray[np.bool_]) -> None:
    """Replace some variances by squared errors."""
    rows = np.flatnonzero(which)
    with np.errstate(over="ignore", under="ignore"):
        cov[(rows, rows) if cov.ndim == 2 else (rows,)] = stderr[rows] ** 2


def _volume(raw: Mapping[str, Any]) -> float:
    """Return the product of the lengths, or units, of the axes."""
    return float(np.prod(np.abs(raw["sampler"]["scale"])))


def _deviations(means: Array) -> Array:
    """Return the standard deviations of the replicates, of values of any size."""
    if len(means) < 2:
        return np.full(means.shape[1], np.inf)
    size = np.abs(means).max(axis=0)
    size = np.where(size > 0, size, 1.0)
    out: Array = (means / size).std(axis=0, ddof=1) * size
    return out


def _covariance(means: Array, full: bool) -> Array:
    count, k = means.shape
    if count < 2:
        return np.full((k, k) if full else k, np.inf)
    with np.errstate(over="ignore", under="ignore"):
        centred = means - means.mean(axis=0)
        if not full:
            return np.asarray((centred**2).sum(axis=0) / (count * (count - 1)))
        return np.asarray(centred.T @ centred / (count * (count - 1)))


def _median_stderr(means: Array) -> Array:
    """Return half the width of the central order statistics that contain 68 % of medians."""
    from scipy.special import ndtr

    count = len(means)
    if count < 2:
        return np.full(means.shape[1], np.inf)
    spread = np.sqrt(count) / 2
    # Positions half a spread of the binomial law below and above the middle, interpolated.
    at = np.clip((count - 1) / 2 + np.array([-spread, spread]), 0, count - 1)
    ordered = np.sort(means, axis=0)
    low, high = (
        ordered[int(p)] + (p - int(p)) * (ordered[min(int(p) + 1, count - 1)] - ordered[int(p)])
        for p in at.tolist()
    )
    return np.asarray((high - low) / 2 * (0.6826894921370859 / (2 * ndtr(1.0) - 1)))


def _differ(raw: Mapping[str, Any], means: Array) -> NDArray[np.bool_]:
    """Return where the values differ by more than rounding."""
    differ: NDArray[np.bool_] = raw["resolution"] * raw["n_per_replicate"] > 1e-12 * np.abs(
        means
    ).max(axis=0)
    return differ


def _in_both_parts(which: NDArray[np.bool_], is_complex: bool) -> NDArray[np.bool_]:
    """Return which estimates have a property in both parts, if they are complex."""
    if not is_complex:
        return which
    half = which.size // 2
    return np.tile(which[:half] & which[half:], 2)


def _findings(
    raw: dict[str, Any],
    labels: tuple[str, ...],
    settings: Mapping[str, Any],
    is_complex: bool,
    interrupted: bool,
    nothing: NDArray[np.bool_],
) -> Findings:
    found: Findings = []
    means: Array = raw["replicates"]
    count = len(means)
    mean = means.mean(axis=0)
    stderr = _deviations(means) / np.sqrt(count)
    # Differences below this are rounding errors.
    floor = 1e-12 * np.abs(mean)

    def some(which: NDArray[np.bool_]) -> str:
        half = which.size // 2
        return _some(labels, which[:half] | which[half:] if is_complex else which)

    if count < _FEWEST:
        found.append(
            (
                ConvergenceWarning,
                f"{count} complete replicate{'s' if count > 1 else ''}: too few for an error, "
                f"which needs {_FEWEST}; stderr is infinite",
            )
        )
        return found
    if raw["n_non_finite"]:
        found.append(
            (
                FermiacWarning,
                f"{raw['n_non_finite']} values of f were not finite and counted as 0",
            )
        )
    if nothing.any():
        found.append(
            (
                FermiacWarning,
                f"f was 0 at every point of the final sample for {some(nothing)}; the estimate is "
                "exactly 0: either f is 0 everywhere, or the region where it is not was never met, "
                "and no sample can tell which. For the second case the error is 3 V / N, with N "
                "uniform points, V the volume and |f| of size 1",
            )
        )
    equal = (stderr <= 1e-12 * np.abs(mean)) & ~_differ(raw, means)
    equal = _in_both_parts(equal, is_complex) & ~nothing
    # A polynomial that fits exactly leaves no spread either.
    fitted = any(stage["purpose"].startswith("polynomials") for stage in raw["stages"])
    if equal.any() and not fitted:
        found.append(equal_finding(max(raw["n_base"], 1.0), f"f for {some(equal)}", "volume"))
    found += _tail_findings(raw, some)
    found += _disagreements(raw, mean, stderr, floor, some)
    outlying = outliers(means, np.maximum(_STEPS * raw["resolution"], floor))
    outlying &= raw["max_share"] * raw["n_per_replicate"] * count > _LARGE
    if outlying.any():
        found.append(
            (
                HeavyTailWarning,
                f"one of the {count} replicates of {some(outlying)} is more than {OUTLIER:g} "
                "deviations of the others from their mean: a region that few points meet makes "
                "much of the integral; raise n",
            )
        )
    tolerated = np.maximum(2 * stderr, 0.05 * np.abs(mean))
    hidden = (raw["zero_share"] > 0.5) & (raw["unseen"] > tolerated) & ~nothing
    if hidden.any():
        found.append(
            (
                ConvergenceWarning,
                f"f is 0 at most of the {raw['n_base']:.0f} uniform points for {some(hidden)}, so "
                "that regions worth up to the field unseen may hide where none of them fell; their "
                "error is not in stderr: raise n, or give bounds that are nearer",
            )
        )
    if raw["n_looks"] and not raw["converged"] and not interrupted:
        found.append((ConvergenceWarning, unmet(raw, settings, mean, stderr, count - 1)))
    return found


def _tail_findings(raw: dict[str, Any], some: Any) -> Findings:
    found: Findings = []
    n = raw["n_per_replicate"] * len(raw["replicates"])
    # The three signs of a heavy tail together; see the warnings of `expect`.
    heavy = (raw["khat"] > 0.5) & (raw["max_variance_share"] > 0.1)
    # Weights of strata are nearly equal, so a large point is a sign of a heavy tail as well.
    large = raw["max_share"] * n > _LARGE if raw["chosen"] == "stratified" else False
    heavy &= (raw["max_share"] > 0.5 / np.sqrt(n)) | large
    if heavy.any():
        found.append(
            (
                WeightWarning,
                f"the weighted values of {some(heavy)} have a heavy tail (k-hat up to "
                f"{np.nanmax(raw['khat'][heavy]):.2f}) and a single point makes up to "
                f"{100 * raw['max_variance_share'][heavy].max():.0f} % of their variance; such "
                "error bars are too small: raise n, or remove the singularity by a substitution",
            )
        )
    unbounded = (raw["khat"] > 0.4) & (raw["max_share"] * n > _LARGE) & ~heavy
    if raw["is_net"] and unbounded.any():
        found.append(
            (
                WeightWarning,
                f"the weighted values of {some(unbounded)} look unbounded (k-hat up to "
                f"{np.nanmax(raw['khat'][unbounded]):.2f}); means of nets then have a heavy tail, "
                "and errors from few of them may be too small: use method='stratified', or remove "
                "the singularity by a substitution",
            )
        )
    large = raw["max_share"] > 0.1
    if large.any():
        found.append(
            (
                HeavyTailWarning,
                f"a single point makes {100 * raw['max_share'].max():.0f} % of the estimate of "
                f"{some(large)}; raise n, or give bounds that are nearer to where f is large",
            )
        )
    return found


def _disagreements(
    raw: dict[str, Any], mean: Array, stderr: Array, floor: Array, some: Any
) -> Findings:
    found: Findings = []
    name = raw["chosen"].split(",")[0]
    pilot = [s for s in raw["stages"] if s["purpose"] == f"forecast of {name}" and s["mean"].size]
    if pilot:
        # The error of the forecast is from few replicates: t quantiles of the level of 4 errors.
        error = np.hypot(stderr, 2.2 * pilot[-1]["stderr"])
        apart = np.abs(pilot[-1]["mean"] - mean) > np.maximum(_APART * error, floor)
        if apart.any():
            found.append(
                (
                    ConvergenceWarning,
                    f"the final sample contradicts the pilot by more than {_APART:g} errors for "
                    f"{some(apart)}; part of the mass was missed: raise n or pilot_fraction",
                )
            )
    # With a few effective points the error is too rough for a comparison.
    error = np.hypot(raw["base_stderr"], stderr)
    apart = np.abs(raw["base_mean"] - mean) > np.maximum(_APART * error, floor)
    apart &= raw["base_ess"] > 100
    if apart.any():
        found.append(
            (
                ConvergenceWarning,
                f"the uniform points of the sampler contradict the others by more than {_APART:g} "
                f"errors for {some(apart)}; the sampler misses part of the mass: raise n",
            )
        )
    return found
