"""Graphs and losses that the tests of tokens share, and the recursion in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]
NUMBERS = types.CPointer(types.double)


def barbell() -> fm.walks.Graph:
    """Two complete graphs of five nodes, and a path of two nodes between them."""
    cliques = [(i + k, j + k) for k in (0, 7) for i in range(5) for j in range(i)]
    return fm.walks.as_graph(np.array([*cliques, (4, 5), (5, 6), (6, 7)]))


def ring(n: int) -> fm.walks.Graph:
    return fm.walks.as_graph(np.array([(i, (i + 1) % n) for i in range(n)]))


def optimize(*args: Any, **how: Any) -> fm.walks.OptimizeResult:
    """Call `fermiac.walks.optimize` with the seed 0 where none is given."""
    return fm.walks.optimize(*args, **{"rng": 0, **how})


class Recorded:
    """A gradient that remembers what it was asked for."""

    def __init__(self, f: Callable[[Array, Any], Array]) -> None:
        self.f = f
        self.thetas: list[Array] = []
        self.nodes: list[Any] = []

    def __call__(self, theta: Array, nodes: Any) -> Array:
        self.thetas.append(theta.copy())
        self.nodes.append(nodes.copy())
        return self.f(theta, nodes)


def quadratic(n: int, d: int, seed: int = 0) -> tuple[Array, Array]:
    """Matrices, well conditioned, and centers."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n, d, d)) / np.sqrt(d)
    return 0.2 * np.eye(d) + root @ np.swapaxes(root, 1, 2), rng.normal(size=(n, d))


def data(n_nodes: int, d: int, seed: int = 0) -> tuple[Array, Array, NDArray[np.int64]]:
    """Rows, what they give, and their nodes."""
    rng = np.random.default_rng(seed)
    nodes = np.concatenate([np.arange(n_nodes), rng.integers(0, n_nodes, 9 * n_nodes)])
    x = rng.normal(size=(len(nodes), d))
    y = x @ np.linspace(-1, 1, d) + 0.5 * rng.normal(size=len(nodes))
    return x, y, nodes


@numba.cfunc(types.void(NUMBERS, types.int64, NUMBERS, types.voidptr))
def native_pull(theta: Any, node: Any, out: Any, user: Any) -> None:
    """The gradient of (theta - (node, -node))² / 2 in two coordinates."""
    out[0] = theta[0] - node
    out[1] = theta[1] + node


def pull(theta: Array, nodes: Any) -> Array:
    """The same."""
    return theta - np.column_stack([nodes, -nodes]).astype(float)
