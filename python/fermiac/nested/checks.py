"""What is wrong with a run, each with what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fermiac.errors import ConvergenceWarning, FermiacWarning
from fermiac.nested.replicates import LEAST_FAMILIES, effective_families, has_modes

if TYPE_CHECKING:
    from fermiac.nested.result import Nested

__all__ = ["findings"]

Finding = tuple[type[FermiacWarning], str]
#: A rank test beyond this is warned of.
_RANKS = 4.0
#: A p-value of the ranks of a part below this is.
_UNLIKELY = 1e-5
#: The share of chains that must end away from their starts.
_MOVED = 0.5
#: A correlation of ends and starts above this is warned of; runs that adapt aim at 0.2.
_MEMORY = 0.35
_MEMORY_ADAPTED = 0.6
#: Errors by families that are so many times larger than by simulation are warned of.
_DRIFT = 1.6
#: Points up to which families are looked at.
_MOST_POINTS = 200_000
#: Bounds that the bootstrap enlarges by more than this hardly bound.
_LOOSE = 3.0
#: Standard errors by which two estimates of the evidence may differ.
_DIFFERENT = 4.0


def findings(result: Nested, state: dict[str, Any], max_time: float | None) -> list[Finding]:
    """What the user must know of a run; its state may have as `short` why it fell short."""
    found: list[Finding] = []
    if not result.converged:
        short = state.get("short") or _ended(result, state, max_time)
        found.append((ConvergenceWarning, short))
    z = result.rank_z
    if abs(z) > _RANKS:
        found.append(
            (
                ConvergenceWarning,
                f"new points did not come in at random ranks (z = {z:.1f}): they are not uniform "
                "above the level, and the evidence is probably wrong; use longer chains (for "
                "instance sampler=fermiac.nested.Slice(n_slices=...)) or a wider bound",
            )
        )
    if result.rank_p_value < _UNLIKELY:
        found.append(
            (
                ConvergenceWarning,
                "in a part of the run new points did not come in at random ranks (p = "
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
                f"{memory:.2f} in most batches, so that the evidence is biased or drifts; make "
                "them longer, or raise n_live where the run chose their length",
            )
        )
    other = result.importance
    if other is not None:
        apart = other.log_evidence - result.log_evidence
        error = float(np.hypot(other.log_evidence_stderr, result.log_evidence_stderr))
        if abs(apart) > _DIFFERENT * error:
            found.append(
                (
                    ConvergenceWarning,
                    f"all points together give log Z = {other.log_evidence:.6g}, which differs by "
                    f"{abs(apart) / error:.1f} standard errors from that of the run: a bound cut "
                    "off what lies above the level, or few points carry the weights; raise n_live, "
                    "or enlarge the bound (Uniform(enlarge=...))",
                )
            )
    drift = _drift(result)
    if drift > _DRIFT * result.log_evidence_stderr:
        found.append(
            (
                ConvergenceWarning,
                f"families of points disagree about log Z by {drift:.2g}, where its error is said "
                f"to be {result.log_evidence_stderr:.2g}: modes drift, or were lost; raise n_live",
            )
        )
    # A bound that was left for chains is told of no more; rejection has no tries.
    rejecting = bool(np.isnan(result.trace.get("tries", np.empty(0))[-1:]).all())
    if state["radius_scale"] > _LOOSE and rejecting:
        found.append(
            (
                ConvergenceWarning,
                f"the bound had to be made {state['radius_scale']:.1f} times as wide as its points "
                "suggest: there are too few live points for so many dimensions; raise n_live, or "
                "use sampler='slice'",
            )
        )
    if state["n_coded"]:
        found.append(
            (
                FermiacWarning,
                f"the log-likelihood was finite and below -1e200 at {state['n_coded']} points: a "
                "number that stands for 'impossible' makes a plateau of them; give -inf instead",
            )
        )
    if state["n_nan"]:
        found.append(
            (
                FermiacWarning,
                f"the log-likelihood was NaN at {state['n_nan']} points, which were taken for "
                "impossible (nan='-inf')",
            )
        )
    return found


def _memory(result: Nested) -> float:
    """The correlation of the ends of chains with their starts, where it is too high; else 0."""
    memory = result.trace.get("correlation", np.empty(0))
    chained = np.isfinite(memory)
    if not chained.any():
        return 0.0
    # A run that makes chains longer follows what it finds, some batches late.
    sampler = str(result.settings.get("sampler"))
    most = _MEMORY_ADAPTED if sampler == "auto" or "=None" in sampler else _MEMORY
    typical = float(np.median(memory[chained]))
    return typical if typical > most else 0.0


def _drift(result: Nested) -> float:
    """The error of log Z by families, where there were modes that could drift apart."""
    if not has_modes(result) or result.n_draws > _MOST_POINTS:
        return 0.0
    if effective_families(result) < LEAST_FAMILIES:
        return 0.0  # so few tell nothing
    return float(result.bootstrap(50, by="family", rng=0).std(ddof=1))


def _ended(result: Nested, state: dict[str, Any], max_time: float | None) -> str:
    what = f"max_time ({max_time:g} s)" if max_time is not None else str(state["status"])
    return (
        f"the run ended by {what} before it had converged: log Z can still grow by "
        f"{state['remaining']:.2g}; the points that were alive are counted in, and the errors do "
        "not know what was not reached. Go on with extend(), or raise the limit"
    )
