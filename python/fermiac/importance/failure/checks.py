"""Checks of failure probabilities: convergence, warnings, comparison of both estimates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import ConvergenceWarning, FermiacWarning, WeightWarning
from fermiac.importance.failure.run import Outcome, is_heavy
from fermiac.special import ndtr

__all__ = ["verdict"]

Array = NDArray[np.float64]
Findings = list[tuple[type[FermiacWarning], str]]

#: Combined standard errors, on the log scale, by which two estimates may differ.
_APART = 4.0
#: The least c.o.v. of the second estimate: chains that never moved give too small a value.
_LEAST_COV = 0.05
#: The smallest share of the estimate for which a lost region is relevant.
_MATTERS, _MATTERS_LINES = 0.1, 1e-3
#: The largest share of an estimate that the checks of lines may add.
_SURPRISES = 0.02


#: Texts of the warning about a lost region, for methods without a given sampler.
_LOST_BY = {
    "subset": ("the walk has", "use method='auto'"),
    "line": ("the lines have", "use method='auto'"),
}


def _some(names: tuple[str, ...], which: NDArray[np.bool_]) -> str:
    chosen = [name for name, w in zip(names, which, strict=True) if w]
    more = f" and {len(chosen) - 5} more" if len(chosen) > 5 else ""
    return ", ".join(chosen[:5]) + more


def verdict(
    outcome: Outcome, names: tuple[str, ...], settings: dict[str, Any], n_non_finite: int
) -> tuple[bool, Findings]:
    """Return whether a run converged, and its warnings; replace estimates that missed regions.

    If the walk finds much more probability than the final sample, the sampler missed regions, and
    the estimate of the walk is used. If it finds much less, the walk lost regions that the sampler
    has. Importance sampling does not invent probability, so its estimate is kept.
    """
    found: Findings = []
    mean, stderr = outcome.mean, outcome.stderr
    if n_non_finite:
        found.append(
            (
                FermiacWarning,
                f"{n_non_finite} values of g were not finite and counted as no failure",
            )
        )
    none = mean == 0
    if none.any():
        found.append(
            (
                ConvergenceWarning,
                f"no point failed for {_some(names, none)}; either g never reaches the threshold, "
                f"or no point met the region, and no sample can tell which. The error 3 / N = "
                f"{stderr[none].max():.2g}, with N points drawn from the law, bounds the "
                "probability with 95 % confidence; raise n",
            )
        )
    if outcome.certain:
        return not none.any(), found
    doubtful = none.copy()
    if outcome.second is not None and settings["method"] != "subset":
        doubtful |= _compare(outcome, names, found)
    if outcome.lost is not None:
        doubtful |= _lost(outcome, names, found, settings)
    if outcome.surprises is not None:
        bent = (outcome.surprises > _SURPRISES) & ~none & ~doubtful
        if bent.any():
            found.append(
                (
                    ConvergenceWarning,
                    f"some failures on the lines for {_some(names, bent)} are not beyond the root; "
                    f"they are {100 * outcome.surprises[bent].max():.2g} % of the estimate, but "
                    "only few lines have them, so the error may be too small: use method='auto'",
                )
            )
        doubtful |= bent
    if outcome.apart:
        doubtful |= _apart(outcome, names, found)
    heavy = is_heavy(outcome) & ~none & ~doubtful
    if heavy.any():
        found.append(
            (
                ConvergenceWarning,
                f"a failure point of {_some(names, heavy)} has up to "
                f"{np.max(outcome.heaviest[heavy]):.0f} times the mean weight of such points: the "  # type: ignore[index]
                "sampler misses a part of the failure region; raise n",
            )
        )
    doubtful |= heavy
    if outcome.variance_share is not None and outcome.largest_share is not None:
        tail = (outcome.khat > 0.5) & (outcome.variance_share > 0.1) & ~none
        tail &= outcome.largest_share > 0.5 / math.sqrt(max(outcome.n_final, 1))
        if tail.any():
            found.append(
                (
                    WeightWarning,
                    f"the weights of {_some(names, tail)} have a heavy tail (k-hat up to "
                    f"{np.nanmax(outcome.khat[tail]):.2f}) and a single point makes up to "
                    f"{100 * outcome.variance_share[tail].max():.0f} % of a variance; such error "
                    "bars are too small: raise n",
                )
            )
        doubtful |= tail
    if outcome.second is not None:
        tolerated = np.maximum(2 * stderr, 0.05 * mean)
        hidden = (outcome.unseen > tolerated) & ~none & ~doubtful
        if hidden.any():
            share = 100 * float((outcome.unseen[hidden] / mean[hidden]).max())
            found.append(
                (
                    ConvergenceWarning,
                    f"the last level of the walk for {_some(names, hidden)} has so few points "
                    f"that it may have missed regions with up to {share:.2g} % of "
                    "the estimate (the field unseen); raise n",
                )
            )
        doubtful |= hidden
    if outcome.met is False:
        relative = float(np.max(np.where(none, np.inf, stderr / np.where(none, 1.0, mean))))
        target = settings["rtol"]
        factor = 2.6 * relative / target
        needed = f"about {settings['n'] * factor**2:.2g}" if math.isfinite(factor) else "more"
        found.append(
            (
                ConvergenceWarning,
                f"rtol={target:g} was not reached with n = {settings['n']}: the relative error is "
                f"{relative:.2g}; {needed} evaluations would be needed",
            )
        )
    return not doubtful.any() and outcome.met is not False, found


def _lost(
    outcome: Outcome, names: tuple[str, ...], found: Findings, settings: dict[str, Any]
) -> NDArray[np.bool_]:
    """Warn about relevant regions that a walk, lines or a given sampler lost."""
    assert outcome.lost is not None
    # Lines have almost no noise, so that small regions are relevant as well.
    matters = _MATTERS if outcome.surprises is None else _MATTERS_LINES
    worth = np.asarray(ndtr(-outcome.lost))
    lost: NDArray[np.bool_] = worth > np.maximum(2 * outcome.stderr, matters * outcome.mean)
    lost |= np.isfinite(outcome.lost) & (outcome.mean == 0)
    if lost.any():
        j = int(np.argmax(np.where(lost, worth, -1.0)))
        where, cure = _LOST_BY.get(settings["method"], ("the sample has", "leave sampler out"))
        found.append(
            (
                ConvergenceWarning,
                f"failure of {_some(names, lost)} was found at the distance {outcome.lost[j]:.3g} "
                f"from the origin of standard normal space, in a direction in which {where} none. "
                f"Such a region has a probability of about {worth[j]:.2g}, which may be "
                f"missing: {cure}",
            )
        )
    return lost


def _apart(outcome: Outcome, names: tuple[str, ...], found: Findings) -> NDArray[np.bool_]:
    """Warn about walks with a wrong mass beyond a design point."""
    apart = np.isin(np.arange(outcome.mean.size), list(outcome.apart))
    sampled, walked = next(iter(outcome.apart.values()))
    found.append(
        (
            ConvergenceWarning,
            f"beyond a design point of {_some(names, apart)} a sample gives the probability "
            f"{sampled:.2g} and the walk {walked:.2g}; few of its chains reached that region, so "
            "the error is too small: use method='auto', or raise n",
        )
    )
    return apart


def _compare(outcome: Outcome, names: tuple[str, ...], found: Findings) -> NDArray[np.bool_]:
    """Compare both estimates, and replace those that are too small."""
    assert outcome.second is not None
    walked, error = outcome.second
    mean, stderr = outcome.mean, outcome.stderr
    both = (mean > 0) & (walked > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = np.log(walked) - np.log(mean)
        spread = np.sqrt((stderr / mean) ** 2 + np.maximum(error / walked, _LEAST_COV) ** 2)
        apart = both & (np.abs(difference) > _APART * spread)
    # The walk found failures, and the final sample did not.
    missed = (mean == 0) & (walked > 0)
    low = (apart & (difference > 0)) | missed
    high = apart & ~low
    if low.any():
        worst = int(np.argmax(np.where(low, np.nan_to_num(difference, posinf=1e9), -1.0)))
        found.append(
            (
                ConvergenceWarning,
                f"the final sample gives {mean[worst]:.3g} for {_some(names, low)} where the walk "
                f"gives {walked[worst]:.3g} ± {error[worst]:.1g}; the sampler misses a part of the "
                "failure region, and the estimate is that of the walk, with its larger error: "
                "raise n",
            )
        )
        outcome.mean = np.where(low, walked, mean)
        outcome.stderr = np.where(low, error, stderr)
        outcome.df = np.where(low, np.inf, outcome.df)
        outcome.cov = outcome.cov.copy()
        outcome.cov[low] = 0.0
        outcome.cov[:, low] = 0.0
        outcome.cov[np.diag_indices_from(outcome.cov)] = outcome.stderr**2
    if high.any():
        worst = int(np.argmax(np.where(high, -difference, -1.0)))
        found.append(
            (
                ConvergenceWarning,
                f"the walk gives {walked[worst]:.3g} ± {error[worst]:.1g} for "
                f"{_some(names, high)} where the final sample gives {mean[worst]:.3g}; it lost a "
                "region that the sampler has found by design points, and there may be others: "
                "compare runs of several seeds, and raise n",
            )
        )
    doubtful: NDArray[np.bool_] = low | high
    return doubtful
