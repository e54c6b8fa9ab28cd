"""The walk that drives tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.validate import choice
from fermiac.errors import ArgumentError
from fermiac.walks.api import MOST_STEPS
from fermiac.walks.chains import base_of
from fermiac.walks.graph import Graph
from fermiac.walks.job import Job, check_kernel, schedule_of, starts
from fermiac.walks.visit_law import law_of, prior_of

__all__ = ["job_of", "weights_of"]


def job_of(
    graph: Graph,
    *,
    kernel: Any,
    base: Any,
    alpha: Any,
    weights: Any,
    pseudo_counts: Any,
    start: Any,
    history: Any,
    step_exponent: float,
    n_walkers: int,
    n_steps: int,
    key: int,
) -> Job:
    """The walk, checked; `n_steps` are those of the whole run."""
    chain = base_of(base)
    name = choice("kernel", kernel, ("none", "srrw", "hdt"))
    check_kernel(name, chain, graph)
    choice("history", history, ("private", "shared_sync"))
    if n_steps > MOST_STEPS:
        raise ArgumentError(f"n_steps: {n_steps} in all; histories count up to {MOST_STEPS}")
    if name == "none" and graph.directed and not graph.is_symmetric:
        raise ArgumentError(
            "graph: some edges lead one way only, and the law of a walk along them is not known; "
            "make the graph undirected"
        )
    schedule = schedule_of(alpha)
    nodes = None if start is None else starts(start, n_walkers, None, graph, 0)
    allowed, _ = graph._check_walkable(nodes, "error", "error")
    law = law_of(graph, chain, weights, allowed)
    return Job(
        graph=graph,
        kernel=name,
        base=chain,
        alpha=schedule if name != "none" else schedule_of(0.0),
        law=law,
        prior=prior_of(law, pseudo_counts),
        pseudo_counts=pseudo_counts if isinstance(pseudo_counts, str) else "given",
        # Where nothing remembers, the measure has no say.
        step_exponent=step_exponent if name != "none" else 1.0,
        history=history,
        start=starts(start, n_walkers, law, graph, key),
        n_steps=n_steps,
        record="visits",
        key=key,
    )


def weights_of(job: Job) -> NDArray[np.float64]:
    """How much each node counts for tokens."""
    assert job.law is not None
    weights = job.law.weights
    return np.ones(job.graph.n_nodes) if weights is None else weights
