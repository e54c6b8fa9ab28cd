"""Results from the points of runs: their order, prior masses and evidence; reweighting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.diagnostics import khat_threshold
from fermiac.errors import ArgumentError, FermiacWarning, WeightWarning
from fermiac.nested.result import NestedResult
from fermiac.results import reweight as reweight_module
from fermiac.results.result import warn

if TYPE_CHECKING:
    from fermiac.nested.importance_evidence import ImportanceEvidence

__all__ = ["from_points", "points_of", "reweight", "sensitivities", "threads_of"]

Array = NDArray[np.float64]
#: Further arrays with a row for each point.
_BY_POINT = ("unit_draws", "births", "lineages", "families", "blobs", "log_densities")


def from_points(
    raw: Mapping[str, Any],
    *,
    names: tuple[str, ...] = (),
    importance: ImportanceEvidence | None = None,
    **provenance: Any,
) -> NestedResult:
    """Return the result of a run from its points, given in any order.

    Parameters
    ----------
    raw : mapping
        ``draws`` (n, d), ``log_likelihoods`` (n,), ``births`` (n,), and, if known, ``unit_draws``
        (n, d), ``lineages`` and ``families`` (n,), ``blobs`` (n, B), and ``log_densities`` (n,) of
        a target other than the likelihood that ordered the points; ``log_likelihood``, a mapping
        of log-likelihoods by observation.
    names : tuple of str, optional
        Names of the coordinates.
    importance : ImportanceEvidence, optional
        The estimate from all points of bounds; `log_evidence` is this one if its error holds.
    **provenance
        Other fields of `NestedResult`; ``version`` and ``isa`` default to those of this process.

    Raises
    ------
    ArgumentError
        If the arrays do not fit, or a point is not above the level of its birth.
    """
    draws = np.asarray(raw["draws"], dtype=np.float64)
    n = len(draws)
    columns: dict[str, Any] = {name: raw.get(name) for name in _BY_POINT}
    ell = _floats("log_likelihoods", raw["log_likelihoods"], n)
    births = columns["births"] = _floats("births", columns["births"], n)
    by_level = np.argsort(ell, kind="stable")
    levels = ell[by_level]
    # Raises for points that no run can produce.
    got = _core.nested_volumes(levels, births[by_level])
    if columns["lineages"] is None:
        columns["lineages"] = threads_of(ell, births)
    if columns["families"] is None:
        columns["families"] = columns["lineages"]
    # No lineage has two points at one level, so that the given order does not matter.
    ties = (levels[1:] == levels[:-1]).any()
    order = np.lexsort((columns["lineages"], ell)) if ties else by_level
    chosen: dict[str, Any] = {
        k: None if v is None else np.take(v, order, axis=0) for k, v in columns.items()
    }
    by_observation = raw.get("log_likelihood") or {}
    ell, target = ell[order], chosen.pop("log_densities")
    if target is None:
        target = ell
        figures = {k: got[k] for k in ("log_evidence", "log_evidence_stderr", "information")}
    else:
        figures = _evidence(got["log_x"], got["log_prior_masses"], target, got["n_alive"])
    log_z, stderr = figures.pop("log_evidence"), figures.pop("log_evidence_stderr")
    best = (log_z, stderr)
    is_smaller = importance is not None and importance.log_evidence_stderr < stderr
    if importance is not None and is_smaller and not importance.doubts(log_z, stderr):
        best = (importance.log_evidence, importance.log_evidence_stderr)
    return NestedResult(
        **{"version": _core.__version__, "isa": _core.isa_level, **provenance},
        log_evidence=best[0],
        log_evidence_stderr=best[1],
        log_evidence_volumes=log_z,
        log_evidence_volumes_stderr=stderr,
        importance=importance,
        **figures,
        **chosen,
        draws=draws[order],
        log_likelihoods=ell,
        log_densities=target,
        log_weights=got["log_prior_masses"] + target + (np.log(n) + (best[0] - log_z)),
        n_alive=got["n_alive"],
        log_prior_masses=got["log_prior_masses"],
        log_x=got["log_x"],
        log_likelihood={name: array[order] for name, array in by_observation.items()},
        names=names,
        error_model="nested",
    )


def points_of(result: NestedResult) -> dict[str, Any]:
    """Return the arrays from which `from_points` makes the result again."""
    raw = {name: getattr(result, name) for name in ("draws", "log_likelihoods", *_BY_POINT)}
    if not result.is_reweighted:
        del raw["log_densities"]
    return raw


def threads_of(ell: Array, births: Array) -> NDArray[np.int64]:
    """Return lineages from births: a new point succeeds the last dead point without a successor.

    After E. Higson, W. Handley, M. Hobson, A. Lasenby, "Dynamic nested sampling: an improved
    algorithm for parameter estimation and evidence calculation", Statistics and Computing, 2019.
    """
    lineages = np.empty(len(ell), np.int64)
    ended: list[int] = []
    deaths = np.argsort(ell, kind="stable")
    died, n_lineages = 0, 0
    for row in np.argsort(births, kind="stable"):
        while died < len(ell) and ell[deaths[died]] <= births[row] > -np.inf:
            ended.append(int(lineages[deaths[died]]))
            died += 1
        if ended:
            lineages[row] = ended.pop()
        else:
            lineages[row] = n_lineages
            n_lineages += 1
    return lineages


def reweight(result: NestedResult, new: Any, old: Any) -> NestedResult:
    """Return the run reweighted to another target; see `NestedResult.reweight`."""
    everywhere = np.ones(result.n_draws, bool)
    target = reweight_module.log_densities(result, new, everywhere, "new")
    assert result.log_densities is not None
    if old is not None:
        present = reweight_module.log_densities(result, old, everywhere, "old")
        impossible = (present == -np.inf) & (target > -np.inf)
        if impossible.any():
            row = int(np.argmax(impossible))
            raise ArgumentError(
                f"old: its density is 0 at point {row}, x = {result._points[row][:6]}, where the "
                "new one is not; it is not the density that the new one replaces"
            )
        lives = target > -np.inf
        change = np.where(lives, target, 0.0) - np.where(lives, present, 0.0)
        target = np.where(lives, result.log_densities + change, -np.inf)
    if not (target > -np.inf).any():
        raise ArgumentError(
            "new: its density is 0 at every point; sample it itself, from the prior that it needs"
        )
    by_observation = result.log_likelihood
    raw = {**points_of(result), "log_densities": target, "log_likelihood": by_observation}
    reweighted = from_points(raw, names=result.names, **kept(result))
    found: list[tuple[type[FermiacWarning], str]] = []
    khat, limit = reweighted.khat, khat_threshold(max(result.n_draws, 2))
    if khat > limit:
        text = (
            f"a few lineages carry the new weights: k-hat {khat:.2f}, above {limit:.2f}; there are "
            "too few points where the new target is large: sample it, or a target nearer to it"
        )
        found.append((WeightWarning, text))
    reweighted = replace(reweighted, warnings=result.warnings)
    warn(found, reweighted)
    return reweighted


def kept(result: NestedResult) -> dict[str, Any]:
    """Return the fields of provenance, labels and diagnostics of a result."""
    fields = (
        "seed version isa settings n_evals wall_time status warnings converged rank_z rank_p_value "
        "trace timings coords dims observed_data"
    )
    return {name: getattr(result, name) for name in fields.split()}


def sensitivities(log_x: Array, ell: Array, log_z: float) -> Array:
    """Return the derivatives of log Z by the log prior masses that remain above the points.

    The trapezoid rule, summed by parts, is the sum of these masses times half the difference of the
    likelihoods of the next point and of the one before.
    """
    after, before = np.append(ell[1:], ell[-1]), np.append(ell[:1], ell[:-1])
    out: Array = (np.exp(log_x + after - log_z) - np.exp(log_x + before - log_z)) / 2
    return out


def _evidence(log_x: Array, log_w: Array, ell: Array, alive: NDArray[np.int64]) -> dict[str, float]:
    """Return evidence, error and information of a target that did not order the points."""
    weights, log_mean = _core.normalize_weights(log_w + ell)
    log_z = log_mean + float(np.log(len(ell)))
    used = weights > 0
    # The shrinkage at a death scales all later masses.
    onwards = np.cumsum(sensitivities(log_x, ell, log_z)[::-1])[::-1]
    return {
        "log_evidence": log_z,
        "log_evidence_stderr": float(np.sqrt(np.sum((onwards / alive) ** 2))),
        "information": max(float(weights[used] @ ell[used] - log_z), 0.0),
    }


def _floats(name: str, given: Any, n: int) -> Array:
    """Return an array with one number for each point."""
    array = np.asarray(given, dtype=np.float64)
    if array.shape != (n,):
        raise ArgumentError(
            f"{name}: an array of shape {array.shape} given; ({n},) is needed to fit the draws"
        )
    return array
