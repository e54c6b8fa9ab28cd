"""Checks of finished runs: warnings, each with its remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fermiac.errors import ConvergenceWarning, FermiacWarning, WeightWarning
from fermiac.nested.replicates import LEAST_FAMILIES, effective_families, has_modes
from fermiac.results.unseen import all_equal, equal_finding
from fermiac.special import gammainc

if TYPE_CHECKING:
    from fermiac.nested.result import NestedResult

__all__ = ["LEFT_OUT", "findings", "of_values"]

Finding = tuple[type[FermiacWarning], str]
#: The largest rank statistic without a warning.
_RANKS = 4.0
#: The smallest p-value of the ranks in a window without a warning.
_UNLIKELY = 1e-5
#: The least share of chains that end away from their starts.
_MOVED = 0.5
#: The largest correlation of the ends of chains with their starts without a warning. Chains of
#: adapted length aim at 0.2.
_MEMORY = 0.35
_MEMORY_TUNED = 0.6
#: The least share of the posterior in points of chains for such a warning: a run may change to
#: chains a few batches before its end, too late to adapt their length.
_CHAINED = 0.01
#: The largest ratio of the error by families to that by simulation without a warning.
_DRIFT = 1.6
#: Families are compared up to this number of points.
_MOST_POINTS = 200_000
#: The largest factor by which the bootstrap enlarges a bound without a warning.
_LOOSE = 3.0
#: The share of the level set just outside of a good bound, times the number of live points. A bound
#: reaches to its farthest point, so it is never zero; `benches/nested/guard.py` measures it.
LEFT_OUT = {"multi": 0.25, "single": 0.25, "friends": 0.5}
#: The probability of as many batches with points above the level outside of the bound, and their
#: number, without a warning.
_CHANCE = 5e-3
_FEW_BATCHES = 3
#: Standard errors by which two estimates of the evidence may differ without a warning.
_DIFFERENT = 4.0
#: The largest share of the evidence in lost modes without a warning.
_LOST = 0.02


def findings(result: NestedResult, state: dict[str, Any], max_time: float | None) -> list[Finding]:
    """Return the warnings about a run; `short` in its state is the reason it did not converge."""
    found: list[Finding] = []
    if not result.converged:
        short = state.get("short") or _ended(result, state, max_time)
        found.append((ConvergenceWarning, short))
    wrong = "the posterior draws are" if _is_of_points(result) else "the evidence is"
    z = result.rank_z
    if abs(z) > _RANKS:
        found.append(
            (
                ConvergenceWarning,
                f"the ranks of new points are not uniform (z = {z:.1f}): they are not uniform "
                f"above the level, and {wrong} probably wrong; use longer chains (for "
                "instance sampler=fermiac.nested.Slice(n_slices=...)) or a wider bound",
            )
        )
    if result.rank_p_value < _UNLIKELY:
        found.append(
            (
                ConvergenceWarning,
                "in a part of the run the ranks of new points are not uniform (p = "
                f"{result.rank_p_value:.1e}): they were not uniform above the level there; use "
                "longer chains or a wider bound",
            )
        )
    moved = result.trace.get("moved", np.empty(0))
    moved = moved[np.isfinite(moved)]
    if len(moved) and float(np.median(moved)) < _MOVED:
        found.append(
            (
                ConvergenceWarning,
                f"chains are too short: in most batches only {100 * float(np.median(moved)):.0f} % "
                "of them ended farther from their start than points lie from each other; double "
                "their length",
            )
        )
    memory = _memory(result)
    if memory > 0:
        found.append(
            (
                ConvergenceWarning,
                "chains end where they began: the correlation of their ends with their starts is "
                f"{memory:.2f} in most batches, so that {wrong} biased, or prior masses drift; "
                "make them longer, or raise n_live where the run chose their length",
            )
        )
    found += _of_all_points(result)
    found += _outside(result)
    drift = _drift(result)
    if drift > _DRIFT * result.log_evidence_volumes_stderr:
        found.append(
            (
                ConvergenceWarning,
                f"families of points disagree about log Z by {drift:.2g}, while its standard "
                f"error is {result.log_evidence_volumes_stderr:.2g}: modes drift, or were lost; "
                "raise n_live",
            )
        )
    # A wide bound is correct but slow; "auto" leaves a bound as soon as chains cost less.
    if state["radius_scale"] > _LOOSE and result.settings["sampler"] != "auto":
        found.append(
            (
                ConvergenceWarning,
                f"the bound had to be made {state['radius_scale']:.1f} times as wide as its points "
                "suggest: there are too few live points for its dimension or shape; raise n_live, "
                "or use sampler='auto' or 'slice'",
            )
        )
    return found + of_values(result, state)


def of_values(result: NestedResult, state: dict[str, Any]) -> list[Finding]:
    """Return the warnings about the values of the log-likelihood."""
    found: list[Finding] = []
    possible = result.log_likelihoods[result.log_likelihoods > -np.inf]
    if len(possible) and all_equal(possible):
        found.append(equal_finding(len(result.log_likelihoods), "the log-likelihood", "prior mass"))
    if state["n_coded"]:
        found.append(
            (
                FermiacWarning,
                f"the log-likelihood was finite and below -1e200 at {state['n_coded']} points: a "
                "number that stands for 'impossible' creates a plateau; give -inf instead",
            )
        )
    if state["n_nan"]:
        found.append(
            (
                FermiacWarning,
                f"the log-likelihood was NaN at {state['n_nan']} points, which counted as "
                f"impossible (on_nan='-inf')",
            )
        )
    return found


def _is_of_points(result: NestedResult) -> bool:
    """Return whether log Z is that of points of known densities, which do not depend on ranks."""
    second = result.importance
    return second is not None and result.log_evidence == second.log_evidence


def _of_all_points(result: NestedResult) -> list[Finding]:
    """Return the warnings about the estimate from points of known densities."""
    other = result.importance
    log_z, stderr = result.log_evidence_volumes, result.log_evidence_volumes_stderr
    if other is None or not other.converged or other.log_evidence_stderr >= stderr:
        return []
    if other.is_fitted and other._fault():
        # The prior masses know their own error.
        return []
    doubts = other.doubts(log_z, stderr)
    if doubts and not other.is_fitted:
        text = (
            f"log Z is that from the prior masses, not from all points, since {doubts}; raise "
            "n_live, or enlarge the bound (Uniform(enlarge=...))"
        )
        return [(WeightWarning, text)]
    if other.lost_share > _LOST:
        text = (
            f"chains have lost modes with {other.lost_share:.0%} of the evidence, which a search "
            "found at the end: log Z has them, and the draws do not; take importance.sample, or "
            "raise n_live"
        )
        return [(ConvergenceWarning, text)]
    apart, error = abs(other.log_evidence - log_z), np.hypot(other.log_evidence_stderr, stderr)
    if apart <= _DIFFERENT * error or error == 0:
        return []
    if other.is_fitted:
        text = (
            f"independent points give log Z = {other.log_evidence:.6g}, the prior masses "
            f"{log_z:.6g}, which differs by {apart / error:.1f} standard errors: chains are too "
            "short, or masses drifted between modes, so that the posterior may be wrong; raise "
            "n_live, or make chains longer"
        )
        return [(ConvergenceWarning, text)]
    text = (
        f"all points together give log Z = {other.log_evidence:.6g}, the prior masses "
        f"{log_z:.6g}, which differs by {apart / error:.1f} standard errors: a bound cut off a "
        "part of the region above the level, so that the posterior is wrong; raise n_live, or "
        "enlarge the bound (Uniform(enlarge=...))"
    )
    return [(ConvergenceWarning, text)]


def _outside(result: NestedResult) -> list[Finding]:
    """Return the warning about many points outside the bound that are above the level."""
    trace = result.trace
    left_out = LEFT_OUT.get(result.settings.get("bound", ""))
    if left_out is None or "missed" not in trace:
        return []
    probes, missed, expected = (
        float(np.sum(trace[name])) for name in ("probes", "missed", "expected")
    )
    by_chance = left_out / result.n_live * expected
    # Each batch counts once: a single poor bound may have left out all of its points.
    n_batches = np.count_nonzero(trace["missed"])
    if n_batches <= _FEW_BATCHES or gammainc(n_batches, by_chance) > _CHANCE:
        return []
    if _is_of_points(result):
        wrong = "the posterior draws are probably wrong, and log Z rests on points outside"
    else:
        wrong = "the evidence is probably too small and the posterior wrong"
    text = (
        "the bound cuts off a part of the prior above the level: of "
        f"{probes:.0f} points just outside of the bound {missed:.0f} lie above the level, and "
        f"about {by_chance:.1f} are expected by chance; {wrong}; use slices (sampler='slice'), or "
        "enlarge the bound (sampler=fermiac.nested.Uniform(enlarge=3))"
    )
    return [(ConvergenceWarning, text)]


def _memory(result: NestedResult) -> float:
    """Return the correlation of ends and starts of chains if it is too high, else 0."""
    memory = result.trace.get("correlation", np.empty(0))
    chained = np.isfinite(memory)
    if not chained.any():
        return 0.0
    born = result.births >= result.trace["level"][chained].min()
    if result.weights[born].sum() < _CHAINED * result.weights.sum():
        return 0.0
    # A run that adapts the length of its chains reacts after some batches.
    most = _MEMORY_TUNED if result.settings.get("tuned") else _MEMORY
    typical = float(np.median(memory[chained]))
    return typical if typical > most else 0.0


def _drift(result: NestedResult) -> float:
    """Return the error of log Z by families if chains ran among several modes, else 0."""
    if not has_modes(result) or result.n_draws > _MOST_POINTS:
        return 0.0
    if effective_families(result) < LEAST_FAMILIES:
        return 0.0  # too few for an error
    return float(result.bootstrap(50, by="family", rng=0).std(ddof=1))


def _ended(result: NestedResult, state: dict[str, Any], max_time: float | None) -> str:
    """Return the warning about a run that a limit ended."""
    what = f"max_time ({max_time:g} s)" if max_time is not None else str(state["status"])
    return (
        f"the run ended by {what} before it had converged: log Z can still grow by "
        f"{state['remaining']:.2g}; the live points are included, but the errors do not include "
        f"the missing part; continue with extend(), or raise the limit"
    )
