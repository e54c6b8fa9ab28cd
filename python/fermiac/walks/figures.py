"""Figures of walks: distances from the law, the noise of the history, and merged walks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from fermiac._base.validate import shown
from fermiac.errors import ArgumentError
from fermiac.results.reweight import PARTS
from fermiac.results.sample import Sample
from fermiac.results.summary import Summary, of_figures
from fermiac.walks.parts import joined, joined_starts, on_graph
from fermiac.walks.transient import joined_marks

if TYPE_CHECKING:
    from fermiac.walks.result import WalkResult
    from fermiac.walks.walk_data import WalkData

__all__ = ["history_noise", "merged", "spread", "summary", "tvd", "walker_tvd"]

Array = NDArray[np.float64]
W = TypeVar("W", bound="WalkData")

#: Settings in which walks that are merged may differ.
_OWN = ("seeds", "sizes", "n_walkers", "first_walker", "f", PARTS)


def tvd(walk: WalkResult) -> float:
    """Return the total variation distance of all walkers together from the law."""
    totals = walk._totals.astype(np.float64)
    return float(0.5 * np.abs(totals / totals.sum() - walk._shares()).sum())


def walker_tvd(walk: WalkResult) -> Array:
    """Return the total variation distance of each walker from the law."""
    rows, law = walk._visits, walk._shares()
    n = walk.n_walkers
    which = np.repeat(np.arange(n), np.diff(rows.indptr))
    there = law[rows.nodes]
    apart = np.abs(rows.counts / walk.lengths[which] - there)
    near = np.bincount(which, apart, n)
    # At nodes without visits the difference is their whole share.
    missed = 1.0 - np.bincount(which, there, n)
    return np.asarray(0.5 * (near + missed))


def spread(walk: WalkData) -> Array:
    """Return the relative standard deviation over walkers of the visits to each reachable node."""
    visits = walk._visits
    if walk._shares_history:
        visits = visits.joined(walk._sizes)
    matrix, n = visits.matrix().astype(np.float64), walk.n_replicas
    mean = np.asarray(matrix.mean(axis=0)).reshape(-1)
    square = np.asarray(matrix.multiply(matrix).mean(axis=0)).reshape(-1)
    law = walk._shares() * walk._steps.mean()
    variance = np.maximum(square - mean**2, 0.0) * n / (n - 1)
    reachable = walk._reachable
    out = np.sqrt(variance[reachable]) / law[reachable]
    out[mean[reachable] == 0] = np.inf
    return np.asarray(out)


def history_noise(walk: WalkResult) -> float:
    """Return alpha times the largest relative standard deviation of a node's visits."""
    if walk.n_replicas < 2:
        raise ArgumentError("history_noise: one replica has no spread; walk with 8 walkers or more")
    if not walk._kernel.has_measure or walk._alpha == 0.0:
        return 0.0
    return float(walk._alpha * walk._spread.max())


def merged(walk: W, others: tuple[Sample, ...]) -> W:
    """Return the walkers of several walks side by side."""
    seeds = [walk.settings.get("seeds", [walk.seed])]
    settings = {k: v for k, v in walk.settings.items() if k not in _OWN}
    same: list[W] = []
    for other in others:
        if not isinstance(other, type(walk)):
            raise ArgumentError(f"merge: a {type(other).__name__} given; walks go with walks")
        theirs = {k: v for k, v in other.settings.items() if k not in _OWN}
        differing = [k for k in settings if settings[k] != theirs.get(k)]
        if differing:
            k = differing[0]
            raise ArgumentError(
                f"merge: walks with {k} {shown(settings[k])} and {theirs.get(k)!r} given; one is "
                "needed"
            )
        if not _same(walk._law, other._law) or not _same(walk._degrees, other._degrees):
            raise ArgumentError("merge: walks of different laws, or on different graphs, given")
        if walk.labels != other.labels:
            raise ArgumentError("merge: walks on graphs with different labels given")
        seeds.append(other.settings.get("seeds", [other.seed]))
        same.append(other)
    flat = [seed for part in seeds for seed in part]
    everyone = [walk, *same]
    of_one = len(set(flat)) == 1 and not any("seeds" in w.settings for w in everyone)
    independent = walk._avoided is None and not walk._shares_history
    if same and of_one and walk.seed is not None and independent:
        return joined(everyone)
    if len(set(flat)) < len(flat):
        raise ArgumentError("merge: two walks of one seed given, which are the same; use others")
    if walk._avoided is not None:
        raise ArgumentError(
            "merge: self-avoiding walks given, which are of their own lengths; walk with more "
            "walkers, n_walkers="
        )
    if walk.record == "none":
        raise ArgumentError("merge: walks that kept no nodes given (record='none')")
    n = sum(w.n_walkers for w in everyone)
    sizes = [size for w in everyone for size in w.settings.get("sizes", [w.n_walkers])]
    rows = None
    paths = None
    if walk.paths is not None:
        paths = np.concatenate([w.paths for w in everyone if w.paths is not None])
    else:
        visits = walk._visits.beside([w._visits for w in same])
        rows = visits.fields()
    out = replace(
        walk,
        seed=None,
        settings={**settings, "n_walkers": n, "first_walker": 0, "seeds": flat, "sizes": sizes},
        acceptance=float(
            np.average([w.acceptance for w in everyone], weights=[w.n_walkers for w in everyone])
        ),
        wall_time=sum(w.wall_time for w in everyone),
        positions=np.concatenate([w.positions for w in everyone]),
        paths=paths,
        _rows=rows,
        _sums=None,
        _starts=joined_starts(everyone),
        _marks=joined_marks([w._marks for w in everyone]),
        _state=None,
    )
    return on_graph(out, everyone)


def _same(one: Array | NDArray[np.int64] | None, other: Array | NDArray[np.int64] | None) -> bool:
    """Return whether two tables of the nodes are equal, or both are None."""
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)


def _choices(walk: WalkResult) -> str:
    """Return the line of a summary about the burn-in and the automatic choices."""
    own = [name.replace("_", "-") for name in walk.chosen]
    by = f"; chosen by the steps per node: {', '.join(own)}" if own else ""
    settled = f", histories settle in {walk.settling}" if walk.settling else ""
    return f"  burn-in {walk.burn_in} of {walk.n_steps} steps{settled}{by}"


def summary(walk: WalkResult) -> Summary:
    """Return the table of `WalkResult.summary`."""
    lines = [walk._first_line()]
    figures = {"acceptance": walk.acceptance}
    if walk.record != "none":
        figures |= {"coverage": walk.coverage, "revisit_ratio": walk.revisit_ratio}
        lines.append(
            f"  {len(walk.visited)} nodes visited, {100 * walk.coverage:.1f} % of those in reach; "
            f"{100 * walk.revisit_ratio:.1f} % of steps to where the walker had been"
        )
        if walk.settings["weights"] != "unknown":
            each = walker_tvd(walk)
            figures |= {"tvd": tvd(walk), "walker_tvd": float(each.mean())}
            lines.append(
                f"  total variation from the law: {figures['tvd']:.4g} of all walkers together, "
                f"{each.mean():.4g} of one"
            )
        if walk.n_replicas > 1 and walk._kernel.has_measure:
            figures["history_noise"] = history_noise(walk)
            lines.append(f"  history noise {figures['history_noise']:.3g}")
    lines.append(_choices(walk))
    lines.append(f"  seed {walk.seed}, {walk.wall_time:.3g} s, {walk.status}")
    return of_figures(figures, lines, foot=[f"warning: {w}" for w in walk.warnings])
