"""Averages over walks, with errors from the spread of independent walkers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.validate import shown, texts, yes
from fermiac.errors import ArgumentError, ConvergenceWarning, FermiacWarning
from fermiac.results import Estimate
from fermiac.results.error_models import Average, Controls, register
from fermiac.results.result import warn
from fermiac.results.unseen import equal_finding
from fermiac.walks.node_functions import NodeFunction, called
from fermiac.walks.transient import (
    early_average,
    early_average_of_sums,
    far_from,
    remaining,
    unsettled,
    young,
)

if TYPE_CHECKING:
    from fermiac.results.sample import Sample
    from fermiac.walks.result import WalkResult

__all__ = ["Parts", "expect", "few_walkers", "parts_of", "ratio", "ratios_under"]

Array = NDArray[np.float64]

#: A larger share of a function at nodes that were not visited makes its error doubtful.
_HIDDEN = 0.1
#: With fewer walkers an error is rough.
_FEW = 8


class Parts:
    """Weighted sums over each replica, (R, k), and sums of the weights, (R,)."""

    def __init__(self, walk: WalkResult, sums: Array, weights: Array, variance: Array) -> None:
        self.shared = walk._shares_history
        self.sums = sums
        self.weights = weights
        #: The variance of the function under the law of the average.
        self.variance = variance
        #: The steps of the first part of the walk, and its averages, if known.
        self.early: tuple[int, Array] | None = None


def ratio(parts: Parts) -> tuple[Array, Array]:
    """Return the ratio of the sums to those of the weights, and its covariance over replicas."""
    n = len(parts.sums)
    if n < 2 and not parts.shared:
        raise ArgumentError(
            "n_walkers: one walker gives no standard error; use at least 2, better 8 or more, or "
            "stderr(f, method='batch') of a path without repellence"
        )
    mean = parts.sums.sum(axis=0) / parts.weights.sum()
    if n < 2:
        return mean, np.full((mean.size, mean.size), np.inf)
    # The delta method: the influence of each replica on the ratio.
    moved = (parts.sums - parts.weights[:, None] * mean) / parts.weights.mean()
    return mean, moved.T @ moved / (n * (n - 1))


def expect(
    walk: WalkResult, f: Any, under: Any, include_prior: bool, names: Sequence[str] | None
) -> Estimate:
    """Return the estimate of `WalkResult.expect`."""
    start = time.perf_counter()
    function = f if isinstance(f, NodeFunction) else None
    if f is None:
        parts, scalar = _of_run(walk, under, include_prior)
        function, n_evals = walk._f, 0
    else:
        if function is None:
            function = NodeFunction("f", f, walk.n_nodes, walk._node_labels)
        parts = parts_of(walk, function, under, include_prior)
        scalar, n_evals = function.scalar, len(walk.visited) if callable(f) else 0
    settings = {
        "error_model": "replicas",
        "under": under if under is None or isinstance(under, str) else "given",
        "prior": include_prior,
    }
    result, found = _estimate(walk, parts, function, under, scalar, names, settings, n_evals, start)
    warn(found, result)
    return result


def _estimate(
    walk: WalkResult,
    parts: Parts,
    function: NodeFunction | None,
    under: Any,
    scalar: bool,
    names: Sequence[str] | None,
    settings: dict[str, Any],
    n_evals: int,
    start: float,
) -> tuple[Estimate, list[tuple[type[FermiacWarning], str]]]:
    """Return the estimate of a ratio, and its warnings."""
    mean, cov = ratio(parts)
    spread = np.sqrt(np.diag(cov))
    if parts.early is not None:
        left = remaining(walk, parts.early, mean, spread)
        cov = cov + np.outer(left, left)
    variance = np.diag(cov)
    labels = tuple(f"E[{j}]" for j in range(mean.size))
    if names is not None:
        labels = texts("names", names, mean.size) or ()
    if len(labels) != mean.size or len(set(labels)) != mean.size:
        raise ArgumentError(
            f"names: {shown(names)} given; {mean.size} different ones are needed, in a sequence"
        )
    ess = np.full(mean.size, np.inf)
    np.divide(parts.variance, variance, out=ess, where=variance > 0)
    biased = young(walk) or walk._arrival
    if parts.early is not None:
        biased = biased + unsettled(walk, parts.early, mean, spread)
    if function is not None and not (biased or settings["prior"]):
        biased = _unseen(walk, function, under, mean, np.sqrt(variance))
    found = few_walkers(walk) + (biased or _equal(walk, labels, mean, variance))
    exponent = walk.settings["step_exponent"]
    if exponent < 1.0 and walk._alpha > 0.0 and not settings["prior"]:
        text = (
            f"with step_exponent={exponent:g} averages have a bias of the order n^-{exponent:g}, "
            "which the standard error does not include; use step_exponent=1"
        )
        found.append((ConvergenceWarning, text))
    if not walk.exact_target:
        text = (
            f"with a history of {walk.settings['memory_size']} nodes (memory_size=) the walk only "
            "approximates the target, and the standard error does not include the difference"
        )
        found.append((FermiacWarning, text))

    def shape(a: NDArray[Any]) -> Any:
        return a.ravel()[0].item() if scalar else a

    result = Estimate(
        seed=walk.seed,
        version=_core.__version__,
        isa=_core.isa_level,
        settings=settings,
        n_evals=n_evals,
        wall_time=time.perf_counter() - start,
        status=walk.status,
        mean=shape(mean),
        stderr=shape(np.sqrt(variance)),
        cov=shape(cov),
        ess=shape(ess),
        khat=shape(np.full(mean.size, np.nan)),
        names=labels,
        method="mean" if settings["under"] is None else "ratio",
        df=float(max(walk.n_replicas - 1, 1)),
    )
    return result, found


def _equal(
    walk: WalkResult, labels: tuple[str, ...], mean: Array, variance: Array
) -> list[tuple[type[FermiacWarning], str]]:
    """Return a warning about errors of 0 while there are nodes that were not visited."""
    flat = np.sqrt(variance) <= 1e-12 * np.abs(mean)
    # Without a record the nodes are not known, but the walkers are independent.
    n_seen = walk.n_walkers if walk.record == "none" else len(walk.visited)
    if not flat.any() or n_seen >= len(walk._reachable):
        return []
    which = ", ".join(label for label, f in zip(labels, flat, strict=True) if f)
    return [equal_finding(n_seen, f"f at visited nodes for {which:.200}", "nodes")]


def few_walkers(walk: WalkResult) -> list[tuple[type[FermiacWarning], str]]:
    """Return the warning about errors from the spread of few replicas."""
    n = walk.n_replicas
    if n >= _FEW:
        return []
    if n == 1:
        text = (
            "walkers that share a history are not independent, so that the standard error is "
            f"unknown; merge {_FEW} walks or more of different seeds, or use history='private'"
        )
    else:
        text = (
            f"with {n} {'walks' if walk._shares_history else 'walkers'} the standard error itself "
            f"is uncertain by {100 / np.sqrt(2 * n - 2):.0f} %; use {_FEW} or more"
        )
    return [(FermiacWarning, text)]


def parts_of(walk: WalkResult, f: NodeFunction, under: Any, include_prior: bool) -> Parts:
    """Return the sums of a function over the walkers."""
    if yes("include_prior", include_prior):
        if under is not None:
            raise ArgumentError(
                "include_prior: given with under=, but pseudo-counts belong to the law of the "
                "walk; leave one of them out"
            )
        return _with_prior(walk, f)
    nodes = walk.visited
    values = f.at(nodes)
    ratios = ratios_under(walk, under, nodes)
    shares = walk._totals[nodes].astype(np.float64)
    if ratios is None:
        weights = walk._steps
        sums = walk._sums_of(values, nodes)
    else:
        shares *= ratios
        columns = np.column_stack([values * ratios[:, None], ratios])
        both = walk._sums_of(columns, nodes)
        sums, weights = both[:, :-1], both[:, -1]
        if not (weights.sum() > 0 and np.isfinite(weights).all()):
            raise ArgumentError(
                "under: its law has no weight at any node that was visited; walk towards it, or "
                "longer"
            )
    shares /= shares.sum()
    centred = values - shares @ values
    parts = Parts(walk, sums, weights, shares @ centred**2)
    parts.early = early_average(walk, nodes, values, ratios)
    return parts


def ratios_under(walk: WalkResult, under: Any, nodes: NDArray[Any]) -> Array | None:
    """Return the ratios of another law to that of the walk at nodes; None for the same law."""
    if under is None:
        return None
    if isinstance(under, str):
        if under not in ("uniform", "degree"):
            raise ArgumentError(
                f"under: {shown(under)} was given; None, 'uniform', 'degree', an array or a "
                "callable is needed"
            )
        new = np.ones(len(nodes)) if under == "uniform" else walk._degrees_at(nodes)
    else:
        function = NodeFunction("under", under, walk.n_nodes, walk._node_labels)
        new = function.at(nodes)
        if not function.scalar:
            raise ArgumentError("under: a row of numbers a node given; one number is needed")
        new = new[:, 0]
        if (new < 0).any():
            at = int(np.flatnonzero(new < 0)[0])
            raise ArgumentError(
                f"under: {new[at]:g} was given for node {nodes[at]}; numbers from 0 on are needed"
            )
    return new / walk._law_at(nodes)


def _unseen(
    walk: WalkResult, f: NodeFunction, under: Any, mean: Array, stderr: Array
) -> list[tuple[type[FermiacWarning], str]]:
    """Return a warning if averages of an array are far from their known values under the law."""
    values, of_run = f.table, walk.settings
    is_known = of_run["weights"] != "unknown" and walk.exact_target and walk._knows_all
    is_table = under is None or isinstance(under, str) or called("under", under) is None
    if values is None or not (is_table and is_known) or walk.record == "none":
        return []
    weights = walk._law
    if under is not None:
        nodes = walk._reachable
        ratios = ratios_under(walk, under, nodes)
        assert ratios is not None
        weights = np.zeros(walk.n_nodes)
        weights[nodes] = walk._law_at(nodes) * ratios
    right = np.average(values, axis=0, weights=weights)
    if not far_from(walk, mean, right, stderr, 3.0).any():
        return []
    away = np.abs(values - right)
    if weights is not None:
        away *= weights[:, None]
    held = 1.0 - away[walk.visited].sum(axis=0) / np.maximum(away.sum(axis=0), 1e-300)
    hides = held > _HIDDEN
    far = far_from(walk, mean, right, stderr, np.where(hides, 3.0, 4.0))
    if not far.any():
        return []
    at = int(np.argmax(far))
    told = (
        f"nodes not seen hold {held[at]:.0%} of f"
        if hides[at]
        else "the walkers have not spread over the graph as their law has it"
    )
    which = "" if len(mean) == 1 else f" (average {at} of {len(mean)})"
    text = (
        f"{told}: its average under the law is {right[at]:.6g}, and that of the walk is "
        f"{mean[at]:.6g} ± {stderr[at]:.2g}{which}; the error is not valid; use more steps"
    )
    return [(ConvergenceWarning, text)]


def _of_run(walk: WalkResult, under: Any, include_prior: bool) -> tuple[Parts, bool]:
    """Return the sums of the function ``f=`` of the walk, and whether it is scalar."""
    if walk._f is not None and walk.record != "none":
        f = walk._f
        return parts_of(walk, f, under, include_prior), f.scalar
    if walk._sums is None:
        raise ArgumentError(
            "f: none was given, neither here nor to walk(f=...); give the function to average"
        )
    if under is not None or include_prior:
        raise ArgumentError(
            "under, include_prior: the walk kept sums of f alone (record='none'), which are under "
            "its own law; walk with record='visits'"
        )
    sums = walk._joined(walk._sums)
    spread = np.full(sums.shape[1], np.nan)
    scalar = bool(walk.settings.get("f") == "scalar")
    parts = Parts(walk, sums, walk._steps, spread)
    parts.early = early_average_of_sums(walk)
    return parts, scalar


def _with_prior(walk: WalkResult, f: NodeFunction) -> Parts:
    """Return the sums under the measure of the theory: pseudo-counts plus visits or masses."""
    nodes = walk._reachable
    prior = np.zeros(walk.n_nodes)
    prior[nodes] = 1.0 if walk._prior is None else walk._prior[nodes]
    at = f.at(nodes)
    values = np.zeros((walk.n_nodes, at.shape[1]))
    values[nodes] = at
    rows, logs = walk._histories()
    matrix = rows.matrix().astype(np.float64)
    # Relative to the largest mass of each walker, as masses overflow.
    scale = np.ones(walk.n_walkers)
    if logs is not None:
        top = np.maximum.reduceat(logs, rows.indptr[:-1])
        scale = np.exp(-top)
        which = np.repeat(np.arange(walk.n_walkers), np.diff(rows.indptr))
        matrix.data = np.exp(logs - top[which]) - scale[which] * prior[rows.nodes]
    sums = scale[:, None] * (prior @ values) + matrix @ values
    weights = scale * prior.sum() + np.asarray(matrix.sum(axis=1)).reshape(-1)
    sums /= weights[:, None]
    shares = (scale / weights).mean() * prior + matrix.T @ (1.0 / weights) / walk.n_walkers
    centred = values - shares @ values
    return Parts(walk, sums, np.ones(len(sums)), shares @ centred**2)


def _replicas(
    sample: Sample, values: Array, controls: Controls | None, law: int, n_threads: int
) -> Average:
    """Return averages by the error model of walks, for the methods of all samples."""
    from fermiac.walks.result import WalkResult

    assert isinstance(sample, WalkResult)
    if controls is not None:
        raise ArgumentError("controls: not for walks; the spread of walkers is their error")
    if sample.record == "path":
        if sample.log_weights is not None:  # what comes after the end of a path
            values = np.where(sample.log_weights.reshape(-1, 1) > -np.inf, values, 0.0)
        sums = values.reshape(sample.n_walkers, -1, values.shape[1]).sum(axis=1)
        sums = sample._joined(sums)
    else:
        sums = sample._sums_of(values, sample.visited)
    mean, cov = ratio(Parts(sample, sums, sample._steps, np.empty(0)))
    shares = sample._weights()
    spread = shares @ (values - shares @ values) ** 2
    ess = np.full(mean.size, np.inf)
    np.divide(spread, np.diag(cov), out=ess, where=np.diag(cov) > 0)
    nan = np.full(mean.size, np.nan)
    found = tuple(few_walkers(sample) + (young(sample) or sample._arrival))
    return Average(mean, cov, ess, nan, found, df=float(max(sample.n_replicas - 1, 1)))


register("walkers", _replicas)
