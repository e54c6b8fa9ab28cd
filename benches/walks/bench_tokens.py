"""Token optimisation: fermiac's forms of losses, beside the loop that numba compiles.

``pytest benches/walks/bench_tokens.py --benchmark-group-by=group``. The losses are quadratic in ten
parameters, on the nodes of a random graph. A row's time is that of the wall; its extra_info has
nanoseconds of the process (one thread of ours) for a step of a token, and the root-mean-square
distance from the optimum at the end: repellence costs time and saves steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
from numba import types
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]
DIM, NODES = 10, 2000
NUMBERS = types.CPointer(types.double)
NODE_GRADIENT = types.void(NUMBERS, types.int64, NUMBERS, NUMBERS)


def problem() -> tuple[fm.walks.Graph, Array, Array]:
    """A graph, matrices and centers."""
    rng = np.random.default_rng(0)
    ring = np.column_stack([np.arange(NODES), (np.arange(NODES) + 1) % NODES])
    more = rng.integers(0, NODES, (5 * NODES, 2))
    graph = fm.walks.Graph.from_edges(np.vstack([ring, more[more[:, 0] != more[:, 1]]]))
    root = rng.normal(size=(NODES, DIM, DIM)) / np.sqrt(DIM)
    matrices = 0.2 * np.eye(DIM) + root @ np.swapaxes(root, 1, 2)
    return graph, matrices, rng.normal(size=(NODES, DIM))


@numba.njit
def loop(indptr, indices, a, b, n_tokens, n_steps, rng):  # type: ignore[no-untyped-def]
    """Tokens on a Metropolis walk without history, one after the other."""
    thetas = np.zeros((n_tokens, DIM))
    for token in range(n_tokens):
        at, theta = int(rng.random() * len(b)), thetas[token]
        for n in range(n_steps):
            degree = indptr[at + 1] - indptr[at]
            to = indices[indptr[at] + int(rng.random() * degree)]
            if rng.random() * (indptr[to + 1] - indptr[to]) < degree:
                at = to
            theta -= (n + 2.0) ** -0.9 * (a[at] @ (theta - b[at]))
    return thetas


@numba.cfunc(NODE_GRADIENT)
def native(theta: Any, node: Any, out: Any, user: Any) -> None:
    """The gradient, of matrices and then centers at `user`."""
    at, centers = node * DIM * DIM, NODES * DIM * DIM + node * DIM
    for i in range(DIM):
        out[i] = 0.0
        for j in range(DIM):
            out[i] += user[at + i * DIM + j] * (theta[j] - user[centers + j])


def methods(n_tokens: int, n_steps: int) -> dict[str, Callable[[int], Array]]:
    """The functions that run the methods, by name."""
    graph, a, b = problem()
    user = np.concatenate([a.reshape(-1), b.reshape(-1)])

    def gradient(theta: Array, nodes: Any) -> Array:
        return np.einsum("nij,nj->ni", a[nodes], theta - b[nodes])

    def ours(loss: Any, kernel: str) -> Callable[[int], Array]:
        how: dict[str, Any] = {"kernel": kernel, "n_tokens": n_tokens, "n_steps": n_steps}
        how |= {"dim": DIM, "plan": fm.Plan(n_threads=1)}
        return lambda seed: fm.walks.optimize(loss, graph, rng=seed, **how).thetas

    built_in = fm.walks.Quadratic(a, b)
    return {
        "fermiac": ours(built_in, "none"),
        "fermiac, srrw": ours(built_in, "srrw"),
        "fermiac, native": ours(fm.walks.NativeLoss(native, DIM, user), "none"),
        "fermiac, python": ours(gradient, "none"),
        "numba": lambda seed: loop(
            graph.indptr, graph.indices, a, b, n_tokens, n_steps, np.random.default_rng(seed)
        ),
    }


@pytest.mark.parametrize(
    "method", ["fermiac", "fermiac, srrw", "fermiac, native", "fermiac, python", "numba"]
)
@pytest.mark.parametrize("n_tokens", [1, 64])
def bench_tokens(benchmark: Any, n_tokens: int, method: str) -> None:
    benchmark.group = f"tokens-{n_tokens}"
    n_steps = (200_000 // n_tokens) if benchmark.enabled else 50
    run = methods(n_tokens, n_steps)[method]
    run(1000)
    spent: list[float] = []
    thetas: list[Array] = []

    def call() -> None:
        begun = time.process_time()
        thetas.append(run(len(thetas)))
        spent.append(time.process_time() - begun)

    benchmark.pedantic(call, rounds=5)
    _, a, b = problem()
    away = np.concatenate(thetas) - fm.walks.Quadratic(a, b).minimum()
    nanoseconds = 1e9 * np.median(spent) / (n_tokens * n_steps)
    benchmark.extra_info["nanoseconds_per_step"] = float(f"{nanoseconds:.3g}")
    error = np.sqrt((away**2).sum(axis=1).mean())
    benchmark.extra_info["rms_distance"] = float(f"{error:.3g}")
