"""Walks on graphs in plain NumPy: exact laws of a step and of a path, and the same walks by dice.

Every function follows the textbook form of its walk, one node at a time, and nothing here is
shared with the engine. Matrices come from formulas, `simulate` from the procedure in words: each
checks the other.

A base chain is a name or a tuple: "srw", "weighted", "maxdeg", "mhrw", "barker", "nbrw", "mhda",
("lazy", base, eps), ("mtm", n_tries, balance), ("node2vec", p, q). A history is an array (N,) of
visits with the pseudo-counts in it; the start of a walk is not a visit.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations, permutations, product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Base = str | tuple[Any, ...]
State = tuple[int, int]  # the node before, or -1, and the node

SECOND_ORDER = ("nbrw", "mhda", "node2vec")
NO_TARGET = ("srw", "weighted", "nbrw", "node2vec")  # their own degrees or strengths


class Graph(NamedTuple):
    """Compressed rows; a loop stands once in its row."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int64]
    weights: Array | None = None

    @property
    def n(self) -> int:
        return len(self.indptr) - 1

    @property
    def degrees(self) -> Array:
        return np.diff(self.indptr).astype(float)

    def neighbors(self, i: int) -> list[int]:
        return [int(j) for j in self.indices[self.indptr[i] : self.indptr[i + 1]]]

    def edge_weights(self, i: int) -> Array:
        if self.weights is None:
            return np.ones(len(self.neighbors(i)))
        return self.weights[self.indptr[i] : self.indptr[i + 1]]


def graph_of(n: int, edges: dict[tuple[int, int], float] | list[tuple[int, int]]) -> Graph:
    """The undirected graph of these edges, with weights where they are a dictionary."""
    weighted = isinstance(edges, dict)
    matrix = np.zeros((n, n))
    for i, j in edges:
        matrix[i, j] = matrix[j, i] = edges[i, j] if isinstance(edges, dict) else 1.0
    rows, columns = np.nonzero(matrix)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))])
    return Graph(indptr, columns, matrix[rows, columns] if weighted else None)


def connected_graphs(n: int) -> Iterator[Graph]:
    """Every connected graph on n nodes, once up to the names of the nodes."""
    pairs = list(combinations(range(n), 2))
    place = {pair: k for k, pair in enumerate(pairs)}
    images = [
        [place[min(p[i], p[j]), max(p[i], p[j])] for i, j in pairs] for p in permutations(range(n))
    ]
    seen = np.zeros(1 << len(pairs), dtype=bool)
    for code in range(1 << len(pairs)):
        if seen[code]:
            continue
        chosen = [k for k in range(len(pairs)) if code >> k & 1]
        for image in images:
            seen[sum(1 << image[k] for k in chosen)] = True
        graph = graph_of(n, [pairs[k] for k in chosen])
        reached = {0}
        for _ in range(n):
            reached |= {j for i in reached for j in graph.neighbors(i)}
        if len(reached) == n:
            yield graph


# --- Targets ---


def parts(base: Base) -> tuple[Any, ...]:
    return (base,) if isinstance(base, str) else base


def target(graph: Graph, base: Base, weights: Array | None) -> Array:
    """The law that the base chain keeps, unnormalised."""
    name = parts(base)[0]
    if name == "lazy":
        return target(graph, parts(base)[1], weights)
    if name in NO_TARGET and weights is not None:
        raise ValueError(f"{name} has a law of its own")
    if name == "weighted":
        return np.array([graph.edge_weights(i).sum() for i in range(graph.n)])
    if name in NO_TARGET:
        return graph.degrees
    return np.ones(graph.n) if weights is None else np.asarray(weights, dtype=float)


def log_tilted(target: Array, alpha: float, history: Array) -> Array:
    """Logarithm of the history-driven target w (c / w)^(-alpha)."""
    return np.log(target) - alpha * (np.log(history) - np.log(target))


# --- Laws of one step ---


def log_ratio(graph: Graph, log_w: Array, i: int, j: int) -> float:
    """Logarithm of R(i, j) = w_j d_i / (w_i d_j)."""
    d_i, d_j = len(graph.neighbors(i)), len(graph.neighbors(j))
    return float(log_w[j] - log_w[i]) + math.log(d_i) - math.log(d_j)


def accept(graph: Graph, log_w: Array, i: int, j: int, rule: str = "mhrw") -> float:
    """Probability that Metropolis' or Barker's rule takes a proposal of j at i."""
    log_r = log_ratio(graph, log_w, i, j)
    if rule == "mhrw":
        return math.exp(min(0.0, log_r))
    return 1.0 / (1.0 + math.exp(-log_r)) if log_r > -700.0 else math.exp(log_r)


def log_sum(logs: Iterable[float]) -> float:
    """Logarithm of a sum of exponentials."""
    logs = list(logs)
    top = max(logs)
    return top + math.log(math.fsum(math.exp(x - top) for x in logs))


def log_balance(balance: str, log_r: float) -> float:
    """Logarithm of h(R), where h(u) = u h(1/u)."""
    if balance == "sqrt":
        return log_r / 2
    return -math.log1p(math.exp(-log_r)) if log_r > 0 else log_r - math.log1p(math.exp(log_r))


def multiple_try_row(graph: Graph, log_w: Array, n_tries: int, balance: str, i: int) -> Array:
    """Enumerate all tries, all choices among them and all references."""
    row = np.zeros(graph.n)
    here = graph.neighbors(i)
    log_h = {
        (a, b): log_balance(balance, log_ratio(graph, log_w, a, b))
        for a in (i, *here)
        for b in graph.neighbors(a)
    }
    for tries in product(here, repeat=n_tries):
        scores = [log_h[i, y] for y in tries]
        total = log_sum(scores)
        for y, score in zip(tries, scores, strict=True):
            chosen = math.exp(score - total) / len(here) ** n_tries
            there = graph.neighbors(y)
            for references in product(there, repeat=n_tries - 1):
                back = log_sum([log_h[y, x] for x in (*references, i)])
                taken = math.exp(min(0.0, total - back)) / len(there) ** (n_tries - 1)
                row[y] += chosen * taken
                row[i] += chosen * (1.0 / len(there) ** (n_tries - 1) - taken)
    return row


def base_row(graph: Graph, base: Base, log_w: Array, i: int) -> Array:
    """Row i of a chain without memory whose target has this logarithm."""
    name, *options = parts(base)
    row = np.zeros(graph.n)
    here, d = graph.neighbors(i), graph.degrees
    if name == "lazy":
        row = (1.0 - options[1]) * base_row(graph, options[0], log_w, i)
        row[i] += options[1]
    elif name == "srw":
        row[here] = 1.0 / d[i]
    elif name == "weighted":
        row[here] = graph.edge_weights(i) / graph.edge_weights(i).sum()
    elif name == "maxdeg":
        row[here] = 1.0 / d.max()
        row[i] += 1.0 - d[i] / d.max()
    elif name in ("mhrw", "barker"):
        for j in here:
            taken = accept(graph, log_w, i, j, name)
            row[j] += taken / d[i]
            row[i] += (1.0 - taken) / d[i]
    elif name == "mtm":
        row = multiple_try_row(graph, log_w, options[0], options[1], i)
    else:
        raise ValueError(f"{name} has a memory")
    return row


def reweighted_row(row: Array, scores: Array) -> Array:
    """The row with weights exp(scores), over what the row can reach, in logarithms."""
    reached = row > 0
    logs = np.log(row[reached]) + scores[reached]
    out = np.zeros_like(row)
    out[reached] = np.exp(logs - log_sum(logs))
    return out


def node_row(
    graph: Graph,
    base: Base,
    weights: Array | None,
    kernel: str,
    alpha: float,
    history: Array | None,
    i: int,
) -> Array:
    """The law of the node after i, for chains whose state is the node."""
    w = target(graph, base, weights)
    if kernel == "none":
        return base_row(graph, base, np.log(w), i)
    assert history is not None
    if kernel == "hdt":
        return base_row(graph, base, log_tilted(w, alpha, history), i)
    row = base_row(graph, base, np.log(w), i)
    if kernel == "srrw":
        return reweighted_row(row, -alpha * (np.log(history) - np.log(w)))
    if kernel == "tsaw":
        return reweighted_row(row, -alpha * (history - history.sum() * w / w.sum()))
    raise ValueError(kernel)


# --- Chains whose state is the node and the one before ---


def states(graph: Graph) -> list[State]:
    """First the nodes without a past, so that node i starts in state i, then every arc."""
    return [(-1, i) for i in range(graph.n)] + [
        (j, i) for j in range(graph.n) for i in graph.neighbors(j)
    ]


def delayed_steps(graph: Graph, log_w: Array, before: int, i: int) -> dict[State, float]:
    """Metropolis with delayed acceptance: the law of the state after (before, i)."""
    here = graph.neighbors(i)
    law: dict[State, float] = defaultdict(float)
    a = {k: accept(graph, log_w, i, k) for k in here}
    for k in here:
        law[before, i] += (1.0 - a[k]) / len(here)
        taken = a[k] / len(here)
        if k != before or len(here) == 1:
            law[i, k] += taken
            continue
        others = [m for m in here if m != before]
        for m in others:
            # The quotient of two acceptances, where each alone may be too small for a double.
            log_a = [min(0.0, log_ratio(graph, log_w, i, t)) for t in (m, before)]
            turned = math.exp(min(0.0, 2.0 * (log_a[0] - log_a[1])))
            law[i, m] += taken * turned / len(others)
            law[i, before] += taken * (1.0 - turned) / len(others)
    return law


def state_steps(graph: Graph, base: Base, log_w: Array, before: int, i: int) -> dict[State, float]:
    """The law of the state after (before, i)."""
    name, *options = parts(base)
    here = graph.neighbors(i)
    if name == "mhda":
        return delayed_steps(graph, log_w, before, i)
    if name == "nbrw":
        onward = [k for k in here if k != before] or here
        return {(i, k): 1.0 / len(onward) for k in onward}
    if name == "node2vec":
        p, q = options
        near = graph.neighbors(before) if before >= 0 else here
        bias = [1 / p if k == before else 1.0 if k in near else 1 / q for k in here]
        mass = np.array(bias) * graph.edge_weights(i)
        return {(i, k): m / mass.sum() for k, m in zip(here, mass, strict=True)}
    raise ValueError(f"{name} has no memory")


def arc_row(
    graph: Graph,
    base: Base,
    weights: Array | None,
    kernel: str,
    alpha: float,
    history: Array | None,
    k: int,
) -> Array:
    """The law of the state after the kth of `states`."""
    log_w = np.log(target(graph, base, weights))
    if kernel == "hdt":
        assert history is not None
        log_w = log_tilted(np.exp(log_w), alpha, history)
    elif kernel != "none":
        raise ValueError(f"{kernel} needs a chain whose state is the node")
    names = states(graph)
    row = np.zeros(len(names))
    for state, mass in state_steps(graph, base, log_w, *names[k]).items():
        row[names.index(state)] += mass
    return row


def chain_row(graph: Graph, base: Base, *arguments: Any) -> Array:
    """`node_row` or `arc_row`; node i starts in state i in both."""
    row = arc_row if parts(base)[0] in SECOND_ORDER else node_row
    return row(graph, base, *arguments)


def heads(graph: Graph, base: Base) -> NDArray[np.int64]:
    """The node of every state."""
    if parts(base)[0] in SECOND_ORDER:
        return np.array([i for _, i in states(graph)])
    return np.arange(graph.n)


def transition(
    graph: Graph,
    base: Base,
    weights: Array | None = None,
    kernel: str = "none",
    alpha: float = 0.0,
    history: Array | None = None,
) -> Array:
    """The matrix over the states, which are the nodes themselves where nothing else matters."""
    how = (graph, base, weights, kernel, alpha, history)
    return np.array([chain_row(*how, k) for k in range(len(heads(graph, base)))])


def to_nodes(law: Array, nodes: NDArray[np.int64]) -> Array:
    """The law of the node, from that of the state."""
    return np.bincount(nodes, weights=law)


# --- Long runs ---


def stationary(matrix: Array) -> Array:
    """The law that a chain with one closed class keeps, by linear algebra."""
    n = len(matrix)
    return np.linalg.solve(np.eye(n) - matrix.T + np.ones((n, n)), np.ones(n))


def base_variance(matrix: Array, law: Array) -> Array:
    """Asymptotic covariance of the visits of a chain's states, D Z + (D Z)' - D - law law'."""
    d = np.diag(law)
    z = np.linalg.inv(np.eye(len(law)) - matrix + np.outer(np.ones(len(law)), law))
    return d @ z + z.T @ d - d - np.outer(law, law)


# --- Whole paths ---


def alpha_at(alpha: Any, n: int) -> float:
    """Alpha of the step from x_n to x_(n+1)."""
    if not isinstance(alpha, tuple):
        return float(alpha)
    if alpha[0] == "linear":
        _, a0, a1, n1 = alpha
        return a0 + (a1 - a0) * min(n, n1) / n1
    _, a0, a1 = alpha
    return min(a1, a0 * math.log(math.e + n))


def visited(history: Array, node: int, n: int, step_exponent: float) -> Array:
    """The history after visit n = 1, 2, …: counts, or a measure moved by (n + 1)^(-a)."""
    new = history.copy()
    if step_exponent == 1.0:
        new[node] += 1.0
        return new
    gamma = (n + 1) ** -step_exponent
    new *= (1.0 - gamma) / history.sum()
    new[node] += gamma
    return new


def path_law(
    graph: Graph,
    base: Base,
    weights: Array | None,
    kernel: str,
    alpha: Any,
    pseudo_counts: Array,
    start: int,
    n_steps: int,
    step_exponent: float = 1.0,
) -> Array:
    """Joint law of the first nodes after the start, an array of shape (N,) * n_steps."""
    law, nodes = np.zeros((graph.n,) * n_steps), heads(graph, base)

    def follow(state: int, history: Array, path: tuple[int, ...], mass: float) -> None:
        n = len(path)
        if n == n_steps:
            law[path] += mass
            return
        how = (graph, base, weights, kernel, alpha_at(alpha, n), history)
        row = chain_row(*how, state)
        for k in np.flatnonzero(row):
            node = int(nodes[k])
            later = visited(history, node, n + 1, step_exponent)
            follow(int(k), later, (*path, node), mass * row[k])

    follow(start, np.asarray(pseudo_counts, dtype=float), (), 1.0)
    return law


# --- By dice ---


def roll(rng: np.random.Generator, base: Base, graph: Graph, log_w: Array, state: State) -> State:
    """One step of a base chain as its description in words goes, without a matrix."""
    name, *options = parts(base)
    before, i = state
    here = graph.neighbors(i)
    k = here[rng.integers(len(here))]
    if name == "lazy":
        stays = rng.random() < options[1]
        return state if stays else roll(rng, options[0], graph, log_w, state)
    if name == "srw":
        return i, k
    if name == "weighted":
        cumulative = np.cumsum(graph.edge_weights(i))
        return i, here[int(np.searchsorted(cumulative, rng.random() * cumulative[-1]))]
    if name == "maxdeg":
        return (i, k) if rng.random() < len(here) / graph.degrees.max() else (before, i)
    if name == "nbrw":
        while k == before and len(here) > 1:
            k = here[rng.integers(len(here))]
        return i, k
    if name == "node2vec":
        p, q = options
        bound = max(1 / p, 1.0, 1 / q) * graph.edge_weights(i).max()
        while True:
            slot = rng.integers(len(here))
            k = here[slot]
            far = before >= 0 and k not in graph.neighbors(before)
            mass = graph.edge_weights(i)[slot] * (1 / p if k == before else 1 / q if far else 1.0)
            if rng.random() * bound < mass:
                return i, k
    if name == "mtm":
        n_tries, balance = options
        tries = [here[rng.integers(len(here))] for _ in range(n_tries)]
        scores = [log_balance(balance, log_ratio(graph, log_w, i, y)) for y in tries]
        y = tries[int(np.argmax(np.array(scores) + rng.gumbel(size=n_tries)))]
        there = graph.neighbors(y)
        others = [there[rng.integers(len(there))] for _ in range(n_tries - 1)] + [i]
        back = [log_balance(balance, log_ratio(graph, log_w, y, x)) for x in others]
        taken = math.log(1.0 - rng.random()) < log_sum(scores) - log_sum(back)
        return (i, y) if taken else (before, i)
    if rng.random() >= accept(graph, log_w, i, k, "barker" if name == "barker" else "mhrw"):
        return before, i
    if name == "mhda" and k == before and len(here) > 1:
        others = [m for m in here if m != before]
        m = others[rng.integers(len(others))]
        log_a = [min(0.0, log_ratio(graph, log_w, i, t)) for t in (m, before)]
        if math.log(1.0 - rng.random()) < 2.0 * (log_a[0] - log_a[1]):
            k = m
    return i, k


def simulate(
    graph: Graph,
    base: Base,
    weights: Array | None,
    kernel: str,
    alpha: Any,
    pseudo_counts: Array,
    start: int,
    n_steps: int,
    n_walkers: int,
    rng: np.random.Generator,
    step_exponent: float = 1.0,
) -> NDArray[np.int64]:
    """Paths (n_walkers, n_steps) without the start, each walker with a history of its own."""
    w = target(graph, base, weights)
    paths = np.empty((n_walkers, n_steps), dtype=np.int64)
    for path in paths:
        history, state = np.asarray(pseudo_counts, dtype=float), (-1, start)
        for n in range(n_steps):
            a = alpha_at(alpha, n)
            if kernel in ("srrw", "tsaw"):
                row = node_row(graph, base, weights, kernel, a, history, state[1])
                state = state[1], int(np.searchsorted(np.cumsum(row), rng.random() * row.sum()))
            else:
                log_w = np.log(w) if kernel == "none" else log_tilted(w, a, history)
                state = roll(rng, base, graph, log_w, state)
            path[n] = state[1]
            history = visited(history, state[1], n + 1, step_exponent)
    return paths
