"""Standard errors of averages of walks: from replicas, from batch means, from the theory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.validate import choice, whole
from fermiac.errors import ArgumentError, ConvergenceWarning
from fermiac.walks.estimates import parts_of, ratio, ratios_under
from fermiac.walks.node_functions import NodeFunction

if TYPE_CHECKING:
    from fermiac.walks.result import WalkResult

__all__ = ["stderr"]

Array = NDArray[np.float64]

METHODS = ("replica", "batch", "overlapping", "theory")


def stderr(
    walk: WalkResult, f: Any, method: str, under: Any, batch_size: int | None
) -> tuple[Any, tuple[type[ConvergenceWarning], str] | None]:
    """Return the standard error of `WalkResult.stderr`, and a warning if there is one."""
    choice("method", method, METHODS)
    function = NodeFunction("f", f, walk.n_nodes, walk._node_labels)
    found = None
    if method == "replica":
        variance = np.diag(ratio(parts_of(walk, function, under, False))[1])
    elif method == "theory":
        variance, found = _theory(walk, f, under)
    else:
        variance = _batches(walk, function, under, batch_size, method == "overlapping")
    error = np.sqrt(variance)
    return (float(error[0]) if function.scalar else error), found


def _batches(
    walk: WalkResult, f: NodeFunction, under: Any, batch_size: int | None, overlapping: bool
) -> Array:
    """Return the variance by batch means of each path."""
    if walk._avoids:
        raise ArgumentError(
            "method: batch means given for a walk with history. Within a batch its steps are like "
            "those of the base chain, and the history reduces the error only over the whole walk, "
            "so that batches show the error of a walk without history; take "
            "method='replica'"
        )
    if walk.paths is None:
        raise ArgumentError("method: batch means need the paths; walk with record='path'")
    n = walk.paths.shape[1]
    size = int(np.sqrt(n)) if batch_size is None else whole("batch_size", batch_size, 1, n)
    if n < 4 * size or size < 1:
        raise ArgumentError(
            f"batch_size: batches of {size} steps given for paths of {n}; at least 4 are needed"
        )
    parts = parts_of(walk, f, under, False)
    mean = parts.sums.sum(axis=0) / parts.weights.sum()
    # The influence of each node on the ratio.
    nodes = walk.visited
    ratios = ratios_under(walk, under, nodes)
    moved = f.at(nodes) - mean
    if ratios is not None:
        moved *= ratios[:, None]
    moved /= parts.weights.sum() / (n * walk.n_walkers)
    table = np.zeros((walk.n_nodes, moved.shape[1]))
    table[nodes] = moved
    total = np.zeros(moved.shape[1])
    for path in walk.paths:
        steps = table[path]
        sums = np.vstack([np.zeros(steps.shape[1]), np.cumsum(steps, axis=0)])
        starts = np.arange(0, n - size + 1, 1 if overlapping else size)
        means = (sums[starts + size] - sums[starts]) / size
        if overlapping:
            centre, scale = steps.mean(axis=0), n * size / ((n - size) * (n - size + 1))
        else:
            centre, scale = means.mean(axis=0), size / (len(starts) - 1)
        total += scale * np.sum((means - centre) ** 2, axis=0) / n
    return np.asarray(total / walk.n_walkers**2)


def _theory(
    walk: WalkResult, f: Any, under: Any
) -> tuple[Array, tuple[type[ConvergenceWarning], str] | None]:
    """Return the variance by the limit theorem, and a warning if the history is noisy."""
    from fermiac.walks import asymptotic_variance
    from fermiac.walks.poisson import late_covariance, late_share
    from fermiac.walks.transition import chain_of

    job = walk._job
    if job is None:
        raise ArgumentError(
            "method: 'theory' needs the graph, which only the process knows where the walk ran; "
            "fermiac.walks.asymptotic_variance takes it"
        )
    if under is not None:
        raise ArgumentError("method: 'theory' is of averages under the law of the walk itself")
    settings = walk.settings
    for name, given in (
        ("restart", settings["restart"] > 0.0),
        ("memory_size", settings["memory_size"] is not None),
        ("thin", settings["thin"] > 1),
    ):
        if given:
            raise ArgumentError(
                f"method: 'theory' does not cover walks with {name}=; take method='replica'"
            )
    if settings["step_exponent"] < 1.0:
        raise ArgumentError(
            "method: with a step_exponent below 1 the theory is about the weighted measure, not "
            "about plain averages; take method='replica'"
        )
    weights: Any = None
    if job.base.own_law is None and job.law is not None and job.law.kind != "uniform":
        weights = "degree" if job.law.kind == "degree" else job.law.table
    values = NodeFunction("f", f, walk.n_nodes, walk._node_labels).at(np.arange(walk.n_nodes))
    alpha, n, burned = walk._alpha, walk.n_steps, int(settings["burn_in"])
    if job.kernel.schedule.arrival > (burned or n) / 2:
        raise ArgumentError(
            "method: 'theory' is about a constant alpha, and this one rose for too large a part of "
            "the walk; take method='replica'"
        )
    if burned and job.kernel.by_modes:
        chain = chain_of(job.graph, job.base, weights, job.kernel)
        matrix = late_covariance(chain, values, alpha, n, burned)
        variance = np.maximum(np.diagonal(matrix), 0.0) / walk.n_walkers
    else:
        limit = asymptotic_variance(job.graph, values, job.kernel, job.base, None, weights)
        pull = job.kernel.pull(alpha)
        variance = np.asarray(limit) * late_share(pull, n, burned) / walk.n_walkers
    found = None
    noise = walk.history_noise if job.kernel.feels_noise and walk.n_replicas > 1 else 0.0
    if noise > 0.3:
        found = (
            ConvergenceWarning,
            f"the history is still noisy (history_noise {noise:.2g}, should be below 0.3), so that "
            "errors are larger than the theory predicts; use more steps, alpha of at most 10, or "
            "base='barker'",
        )
    return variance, found
