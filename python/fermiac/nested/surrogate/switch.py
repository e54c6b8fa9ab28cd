"""Surrogates of mode "switch": runs that continue on a surrogate from their last level."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac.nested.checks import findings
from fermiac.nested.result import NestedResult
from fermiac.nested.surrogate.accuracy import correct, correction_findings, usable
from fermiac.nested.surrogate.models import Frame, Model
from fermiac.nested.surrogate.pilot import Pilot
from fermiac.nested.surrogate.work import Finding, Refused, Work
from fermiac.nested.volumes import from_points, kept

__all__ = ["joined", "switched"]

Array = NDArray[np.float64]
#: The least share of old points that the surrogate must put above the level, and of new ones that
#: the likelihood must.
_SHARE = 0.5
#: The columns of `from_points`, one entry a point.
_COLUMNS = ("draws", "unit_draws", "log_likelihoods", "births", "lineages", "families")


def switched(work: Work) -> tuple[NestedResult, list[Finding]]:
    """Return a run with the likelihood up to a level, and on the surrogate above it."""
    pilot = Pilot(work)
    model = pilot.trained()
    first = pilot.loop.result()
    levels = first.trace["level"]
    if not len(levels) or pilot.n_runs > 1:
        raise Refused("the likelihood had to be evaluated until the end")
    level = float(levels[-1])
    alive = first.log_likelihoods > level
    old = np.where(alive, _values(model, first), -np.inf)
    share = float((old[alive] > level).mean())
    if share < _SHARE:
        raise Refused(f"it puts {100 * share:.0f} % of the live points below their level")
    loop = work.loop(
        model.handle,
        {"key": work.key(70)},
        above=_seeds(work, model, level, pilot.loop.info, share),
        biased=True,
    )
    second = work.on_surrogate(loop)
    told = findings(second, loop.info, work.max_time)
    if work.options.correct is False:
        true = second.log_likelihoods
    else:
        with work.stage("correction", "n_corrected"):
            frame = Frame(work.job.dim)
            correction = correct(second, model, work.truth, frame, work.options, work.key(50))
        work.told |= correction.ratios
        usable(correction.ratios)
        told += correction_findings(correction.ratios)
        true = correction.target
    fresh = second.births <= level
    share = float((true[fresh] > level).mean())
    if share < _SHARE:
        raise Refused(f"{100 * share:.0f} % of new points are above the level of the switch")
    raw = joined(_columns(first), old, _columns(second), true, level)
    result = from_points(raw, names=first.names, **kept(second))
    if work.options.correct is not False:
        error = np.hypot(result.log_evidence_volumes_stderr, correction.ratios["ratio_stderr"])
        for name in ("log_evidence_stderr", "log_evidence_volumes_stderr"):
            object.__setattr__(result, name, float(error))
    return result, told


def joined(
    first: dict[str, Array], old: Array, second: dict[str, Array], true: Array, level: float
) -> dict[str, Any]:
    """Join two runs: of the likelihood up to a level, and of the surrogate above it.

    Points above the level for both functions, old or new, are draws from the prior there. They are
    alive together, and continue with the prior mass of the old points above the level. Old points
    for which the surrogate is below the level die at the level. New points for which the likelihood
    is below the level lie in a region that the first run has summed already, and do not count.

    Parameters
    ----------
    first, second : dict of str to ndarray
        The points of the runs, as `from_points` takes them.
    old, true : ndarray
        The surrogate at the points of the first run, and the likelihood at those of the second.
    level : float
        The levels: of the likelihood for the first run, of the surrogate for the second.
    """
    above = np.nextafter(level, np.inf)
    both = true > level
    second = {name: values[both] for name, values in second.items()}
    ell = first["log_likelihoods"]
    keys = np.where(ell > level, np.maximum(old, above), ell)
    births = np.where(second["births"] <= level, above, second["births"])
    n_lineages = int(first["lineages"].max()) + 1
    return {
        "draws": np.concatenate([first["draws"], second["draws"]]),
        "unit_draws": np.concatenate([first["unit_draws"], second["unit_draws"]]),
        "log_likelihoods": np.concatenate([keys, second["log_likelihoods"]]),
        "births": np.concatenate([first["births"], births]),
        "lineages": np.concatenate([first["lineages"], second["lineages"] + n_lineages]),
        "families": np.concatenate([first["families"], second["lineages"] + n_lineages]),
        "log_densities": np.concatenate([ell, true[both]]),
    }


def _columns(result: NestedResult) -> dict[str, Any]:
    return {name: getattr(result, name) for name in _COLUMNS}


def _values(model: Model, result: NestedResult) -> Array:
    """Return the surrogate at points of known likelihood, which replaces it where not trusted."""
    assert result.unit_draws is not None
    values, trusted = model.predict(result.unit_draws)
    out: Array = np.where(trusted, values, result.log_likelihoods)
    return out


def _seeds(
    work: Work, model: Model, level: float, state: dict[str, Any], share: float
) -> dict[str, Any]:
    """Return the start of the run on the surrogate: all points where it is above the level."""
    u, ell = work.truth.known()
    values, trusted = model.predict(u)
    values = np.where(trusted, values, ell)
    rows = np.flatnonzero(values > level)
    return {
        "run_draws": np.ascontiguousarray(u[rows]),
        "log_likelihoods": values[rows],
        "families": np.arange(len(rows)),
        "level": level,
        "log_x": state["log_x"] + np.log(share),
        "log_evidence": state["log_evidence"],
    }
