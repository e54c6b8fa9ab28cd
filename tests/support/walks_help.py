"""Small graphs, and base chains of walks by their definitions, state by state."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def adjacency(n: int, edges: Any) -> Array:
    matrix = np.zeros((n, n))
    for i, j in edges:
        matrix[i, j] = matrix[j, i] = 1.0
    return matrix


def complete(n: int) -> Array:
    return np.ones((n, n)) - np.eye(n)


def cycle(n: int) -> Array:
    return adjacency(n, [(i, (i + 1) % n) for i in range(n)])


def path(n: int) -> Array:
    return adjacency(n, [(i, i + 1) for i in range(n - 1)])


def star(leaves: int) -> Array:
    return adjacency(leaves + 1, [(0, i) for i in range(1, leaves + 1)])


def petersen() -> Array:
    ring = [(i, (i + 1) % 5) for i in range(5)]
    spokes = [(i, i + 5) for i in range(5)]
    return adjacency(10, ring + spokes + [(5 + i, 5 + (i + 2) % 5) for i in range(5)])


def barbell(size: int, bridge: int) -> Array:
    n = 2 * size + bridge
    bells = [*itertools.combinations(range(size), 2)]
    bells += itertools.combinations(range(size + bridge, n), 2)
    return adjacency(n, bells + [(i, i + 1) for i in range(size - 1, size + bridge)])


def random_graph(n: int, extra: int, seed: int, loops: bool = False) -> Array:
    """A random tree with further edges, so that it is connected."""
    rng = np.random.default_rng(seed)
    edges = [(i, int(rng.integers(i))) for i in range(1, n)]
    edges += [tuple(rng.choice(n, 2, replace=False)) for _ in range(extra)]
    matrix = adjacency(n, edges)
    if loops:
        matrix[0, 0] = matrix[n - 1, n - 1] = 1.0
    return matrix


def base_covariance(matrix: Array, mu: Array) -> Array:
    """That of visits: D Z + Z^T D - D - mu mu^T, with the fundamental matrix Z."""
    z = np.linalg.inv(np.eye(len(mu)) - matrix + np.outer(np.ones(len(mu)), mu))
    d = np.diag(mu)
    return d @ z + z.T @ d - d - np.outer(mu, mu)


def law_of(matrix: Array) -> Array:
    """The stationary law, by least squares."""
    n = len(matrix)
    system = np.vstack([matrix.T - np.eye(n), np.ones(n)])
    return np.linalg.lstsq(system, np.append(np.zeros(n), 1.0), rcond=None)[0]


def metropolis(graph: Array, w: Array, rule: Callable[[float], float]) -> Array:
    """Propose a uniform neighbour, accept by a rule of the ratio."""
    n, d = len(graph), graph.sum(axis=1)
    matrix = np.zeros((n, n))
    for i in range(n):
        for j in np.flatnonzero(graph[i]):
            if j != i:
                matrix[i, j] = rule(w[j] * d[i] / (w[i] * d[j])) / d[i]
        matrix[i, i] = 1.0 - matrix[i].sum()
    return matrix


def delayed_acceptance(graph: Array, w: Array) -> tuple[Array, NDArray[np.int64]]:
    """The walk that seldom goes back, on (node before, node of now); where each state is."""
    d = graph.sum(axis=1)
    near = [np.flatnonzero(row) for row in graph]
    states = [(j, i) for j in range(len(graph)) for i in near[j]]
    number = {state: k for k, state in enumerate(states)}
    matrix = np.zeros((len(states), len(states)))

    def accept(i: int, k: int) -> float:
        return min(1.0, w[k] * d[i] / (w[i] * d[k]))

    for (j, i), s in number.items():
        for k in near[i]:
            p = accept(i, k) / d[i]
            matrix[s, s] += 1.0 / d[i] - p
            if k != j or d[i] == 1:
                matrix[s, number[i, k]] += p
                continue
            others = [m for m in near[i] if m != j]
            for m in others:
                turn = min(1.0, (accept(i, m) / accept(i, j)) ** 2)
                matrix[s, number[i, m]] += p * turn / len(others)
                matrix[s, number[i, j]] += p * (1.0 - turn) / len(others)
    return matrix, np.array([i for _, i in states])


def multiple_try(graph: Array, w: Array, n_tries: int, h: Callable[[float], float]) -> Array:
    """Multiple-try Metropolis, try by try."""
    n, d = len(graph), graph.sum(axis=1)
    near = [np.flatnonzero(row) for row in graph]

    def weight(i: int, j: int) -> float:
        return h(w[j] * d[i] / (w[i] * d[j]))

    matrix = np.zeros((n, n))
    for i in range(n):
        for tries in itertools.product(near[i], repeat=n_tries):
            weights = [weight(i, y) for y in tries]
            for y, chosen in zip(tries, weights, strict=True):
                p = chosen / sum(weights) / len(near[i]) ** n_tries
                for others in itertools.product(near[y], repeat=n_tries - 1):
                    back = sum(weight(y, x) for x in others) + weight(y, i)
                    matrix[i, y] += p * min(1.0, sum(weights) / back) / d[y] ** (n_tries - 1)
        matrix[i, i] += 1.0 - matrix[i].sum()
    return matrix
