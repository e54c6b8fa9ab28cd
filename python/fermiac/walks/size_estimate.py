"""Estimates of the size of a graph, from the collisions of walks without history."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.validate import whole
from fermiac.errors import ArgumentError, ConvergenceWarning, FermiacWarning
from fermiac.results import Estimate
from fermiac.results.result import warn
from fermiac.walks.estimates import few_walkers

if TYPE_CHECKING:
    from fermiac.walks.result import WalkResult

__all__ = ["estimate_size"]

Array = NDArray[np.float64]


def estimate_size(walk: WalkResult, gap: int) -> Estimate:
    """Return the estimate of `WalkResult.estimate_size`."""
    start = time.perf_counter()
    if walk.paths is None:
        raise ArgumentError("record: the size needs the paths; walk with record='path'")
    if walk._avoids:
        raise ArgumentError(
            "alpha: a walk that avoids earlier nodes has too few collisions, and the graph would "
            "seem too large; walk with kernel='none'"
        )
    paths = walk.paths
    n_walkers, n = paths.shape
    gap = whole("gap", gap, 1, n)
    if n_walkers == 1 and gap == n:
        raise ArgumentError("gap: no two steps of the walk are so far apart; give a smaller one")
    nodes = walk.visited
    table = np.ones(walk.n_nodes)
    table[nodes] = walk._law_at(nodes)
    # All pairs of steps, except those of one walker that are too close.
    sums = np.array([table[path].sum() for path in paths])
    inverse = np.array([(1.0 / table[path]).sum() for path in paths])
    near_ratio, near_meet = np.zeros(n_walkers), np.zeros(n_walkers)
    for w, path in enumerate(paths):
        weight = table[path]
        for lag in range(gap):
            a, b = slice(0, n - lag), slice(lag, n)
            both = (weight[a] / weight[b]).sum()
            meet = float((path[a] == path[b]).sum())
            if lag:
                both += (weight[b] / weight[a]).sum()
                meet *= 2
            near_ratio[w] += both
            near_meet[w] += meet
    own = walk._visits.matrix().astype(np.float64)
    totals = walk._totals.astype(np.float64)
    cross = own @ totals
    squares = np.asarray(own.multiply(own).sum(axis=1)).reshape(-1)
    degree = walk._degrees_at(np.arange(walk.n_nodes))
    by_degree = walk._sums_of((degree / table)[nodes][:, None], nodes)[:, 0]

    def figures(left_out: int | None) -> Array:
        keep = np.ones(n_walkers) if left_out is None else np.arange(n_walkers) != left_out
        s, r = (sums * keep).sum(), (inverse * keep).sum()
        pairs = s * r - (near_ratio * keep).sum()
        meet = float(totals @ totals)
        if left_out is not None:
            meet += squares[left_out] - 2 * cross[left_out]
        meet -= (near_meet * keep).sum()
        size = pairs / meet if meet > 0 else np.inf
        return np.array([size, 0.5 * size * (by_degree * keep).sum() / r])

    mean = figures(None)
    found: list[tuple[type[FermiacWarning], str]] = []
    if not np.isfinite(mean).all():
        text = "there was no collision, so that the estimate is infinite; walk longer"
        found.append((ConvergenceWarning, text))
        cov = np.full((2, 2), np.inf)
    elif n_walkers < 2:
        text = "one walker gives no standard error of the size; use 8 or more"
        found.append((FermiacWarning, text))
        cov = np.full((2, 2), np.nan)
    else:
        # The jackknife over walkers.
        each = np.array([figures(w) for w in range(n_walkers)])
        away = each - each.mean(axis=0)
        cov = (n_walkers - 1) / n_walkers * away.T @ away
        found += few_walkers(walk)
    stderr = np.sqrt(np.diag(cov))
    with np.errstate(invalid="ignore", divide="ignore"):
        ess = (mean / stderr) ** 2
    result = Estimate(
        seed=walk.seed,
        version=_core.__version__,
        isa=_core.isa_level,
        settings={"gap": gap, "error_model": "jackknife over walkers"},
        n_evals=0,
        wall_time=time.perf_counter() - start,
        status=walk.status,
        warnings=tuple(text for _, text in found),
        mean=mean,
        stderr=stderr,
        cov=cov,
        ess=ess,
        khat=np.full(2, np.nan),
        names=("n_nodes", "n_edges"),
        method="collisions",
        df=float(max(n_walkers - 1, 1)),
    )
    warn(found, result)
    return result
