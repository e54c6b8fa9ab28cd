"""Estimates of the size of a graph, from the collisions of independent walks without history."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.errors import ArgumentError, ConvergenceWarning, FermiacWarning
from fermiac.results import Estimate
from fermiac.results.result import warn
from fermiac.walks.estimates import few_walkers
from fermiac.walks.visits import Visits

if TYPE_CHECKING:
    from fermiac.walks.result import WalkResult

__all__ = ["estimate_size"]

Array = NDArray[np.float64]

#: With a larger relative error, or collisions worth fewer pairs of walkers, errors are not valid.
_ROUGH, _FEW = 0.5, 30.0
#: If walkers move in a smaller share of the steps, most of them may never have moved.
_LAZY = 0.1
#: Sizes from the two halves of a walk that differ by so many errors are not of one law.
_FAR = 3.0


class _Collisions(NamedTuple):
    """Estimates of the numbers of nodes and edges, their covariance, the effective pairs."""

    mean: Array
    cov: Array
    n_pairs: float


def estimate_size(walk: WalkResult) -> Estimate:
    """Return the estimate of `WalkResult.estimate_size`."""
    start = time.perf_counter()
    if walk._avoids:
        raise ArgumentError(
            "alpha: a walk that avoids earlier nodes has too few collisions, and the graph would "
            "seem too large; walk with kernel='none'"
        )
    if walk.n_walkers < 2:
        raise ArgumentError(
            "n_walkers: 1 given; two at least are needed, better 64, as only collisions of "
            "different walkers count"
        )
    mean, cov, n_pairs = _collisions(walk, walk._visits)
    found = few_walkers(walk) + _doubts(walk, mean, cov, n_pairs)
    stderr = np.sqrt(np.diag(cov))
    with np.errstate(invalid="ignore", divide="ignore"):
        ess = (mean / stderr) ** 2
    result = Estimate(
        seed=walk.seed,
        version=_core.__version__,
        isa=_core.isa_level,
        settings={"error_model": "pairs of walkers"},
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
        df=float(walk.n_walkers - 1),
    )
    warn(found, result)
    return result


def _collisions(walk: WalkResult, visits: Visits) -> _Collisions:
    """Return the estimates from pairs of different walkers.

    H counts the collisions of each pair of walkers, and P is the sum over their pairs of steps of
    the mean ratio of the weights, both without the diagonal. E[P] = n E[H] for starts of the law.
    """
    nodes = np.arange(walk.n_nodes)
    law = walk._law_at(nodes)
    inverse = np.divide(1.0, law, out=np.zeros_like(law), where=law > 0)
    counts = visits.matrix().astype(np.float64)
    s, r, edges = (
        counts @ np.column_stack([law, inverse, 0.5 * walk._degrees_at(nodes) * inverse])
    ).T
    own = counts.multiply(counts).sum(axis=1)
    n = len(own)
    # Sums over the rows of H and P.
    h = counts @ counts.sum(axis=0) - own
    p = 0.5 * (s * (r.sum() - r) + r * (s.sum() - s))
    meet = h.sum()
    if not meet > 0:
        return _Collisions(np.full(2, np.inf), np.full((2, 2), np.inf), 0.0)
    size = p.sum() / meet
    mean = np.array([size, size * edges.sum() / r.sum()])
    # Sums of the squares and products of H and P.
    step, turned = max(2**22 // n, 1), counts.T.tocsr()
    squares = sum(np.square((counts[i : i + step] @ turned).data).sum() for i in range(0, n, step))
    hh = squares - own @ own
    hp = (s @ counts) @ (r @ counts) - (s * r) @ own
    pp = 0.5 * ((s @ s) * (r @ r) + (s @ r) ** 2) - (s * s) @ (r * r)
    degenerate = 2.0 * max(hh - 2.0 * hp / size + pp / size**2, 0.0) / meet**2
    with np.errstate(divide="ignore", invalid="ignore"):
        each = (p.sum() - 2.0 * p) / (meet - 2.0 * h)
        each = np.column_stack([each, each * (edges.sum() - edges) / (r.sum() - r)])
    if n < 3 or not np.isfinite(each).all():
        return _Collisions(mean, np.full((2, 2), np.inf), meet**2 / hh)
    away = each - each.mean(axis=0)
    cov = (n - 1) / n * away.T @ away + degenerate * np.outer(mean, mean)
    return _Collisions(mean, cov, meet**2 / hh)


def _doubts(
    walk: WalkResult, mean: Array, cov: Array, n_pairs: float
) -> list[tuple[type[FermiacWarning], str]]:
    """Return warnings where the error does not show how far the estimate is off."""
    told = []
    if not n_pairs > 0:
        told.append("there was no collision, so that the estimate is infinite; walk longer")
    elif n_pairs < _FEW or cov[0, 0] > (_ROUGH * mean[0]) ** 2:
        told.append(
            f"the collisions are worth those of {n_pairs:.2g} pairs of walkers, and the relative "
            f"error is {np.sqrt(cov[0, 0]) / mean[0]:.2g}: at least {_FEW:.0f} and at most "
            f"{_ROUGH} are needed for a valid error; use more walkers, or more steps"
        )
    if walk.acceptance < _LAZY:
        told.append(
            f"only {walk.acceptance:.1%} of the steps moved, so that most walkers may know the "
            "surroundings of their starts alone; use base='srw', which moves in every step"
        )
    found = list(walk._arrival)
    found += [(ConvergenceWarning, text) for text in told]
    if walk.paths is None or walk._starts is None or walk._arrival or not n_pairs > 0:
        return found
    half = walk.paths.shape[1] // 2
    early, late = (
        _collisions(walk, Visits.of_paths(steps, walk.n_nodes))
        for steps in (walk.paths[:, :half], walk.paths[:, half:])
    )
    # Ratios are compared, as sizes that are far too small have small errors.
    with np.errstate(invalid="ignore"):
        error = np.hypot(*(np.sqrt(part.cov[0, 0]) / part.mean[0] for part in (early, late)))
    if abs(np.log(late.mean[0] / early.mean[0])) > _FAR * error:
        text = (
            f"the first half of the walk gives {early.mean[0]:.6g} nodes, and the second half "
            f"{late.mean[0]:.6g}: the walkers were still spreading from their starts; use more "
            "steps, or a longer burn_in="
        )
        found.append((ConvergenceWarning, text))
    return found
