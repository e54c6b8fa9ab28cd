"""Walks on three real networks, and a regression by tokens on a graph."""

from __future__ import annotations

from typing import Any, NamedTuple

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.spatial import cKDTree
from scipy.special import expit

import fermiac as fm

Array = NDArray[np.float64]

#: Independent walkers of each chain; the numbers of steps at which errors are computed.
N_WALKERS = 200
CHECKED = np.unique(np.geomspace(100, 30_000, 13).astype(int))
#: The steps of each of the 64 walkers behind the averages in the table.
AVERAGED = 40_000
#: The number of neighbours of each image of a digit.
N_NEAREST = 8
#: Steps per node after which visits are drawn.
STEPS_PER_NODE = 30

#: Repellences of the tokens; their number, their steps, and the scale of the step size.
ALPHAS = (0.0, 1.0, 5.0, 20.0)
N_TOKENS, TOKEN_STEPS, SCALE = 40, 30_000, 3.0
RIDGE = 0.3
MEASURED = 10


class Network(NamedTuple):
    """A graph and a function of its nodes, whose mean is estimated."""

    title: str
    graph: fm.walks.Graph
    f: Array

    @property
    def known(self) -> float:
        """The mean over all nodes."""
        return float(self.f.mean())


class Chain(NamedTuple):
    """A walk: a kernel, a base chain, a repellence."""

    name: str
    kernel: str
    base: str
    alpha: float

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of the walk."""
        return {"kernel": self.kernel, "base": self.base, "alpha": self.alpha}


class Course(NamedTuple):
    """Mean square errors of averages of one walker after `CHECKED` steps, and V by theory."""

    chain: Chain
    mse: Array
    variance: float


CHAINS = (
    Chain("MHRW", "none", "mhrw", 0.0),
    Chain("MHDA", "none", "mhda", 0.0),
    Chain("HDT on MHDA, α = 5", "hdt", "mhda", 5.0),
    Chain("SRRW on MHRW, α = 5", "srrw", "mhrw", 5.0),
    Chain("SRRW on MHRW, α = 20", "srrw", "mhrw", 20.0),
)
#: The chains whose visits are drawn.
DRAWN = (CHAINS[0], CHAINS[2], CHAINS[3])


def miserables() -> Network:
    """Return the characters of Les Misérables, linked by shared chapters; f is the degree."""
    graph = fm.walks.Graph.from_networkx(nx.les_miserables_graph())
    return Network("Les Misérables: mean degree", graph, graph.degrees.astype(float))


def karate() -> Network:
    """Return the members of a karate club; f is 1 for those who stayed with the instructor."""
    club = nx.karate_club_graph()
    stayed = [club.nodes[node]["club"] == "Mr. Hi" for node in club]
    graph = fm.walks.Graph.from_networkx(club, weight=None)
    return Network("Karate club: the instructor's part", graph, np.array(stayed, dtype=float))


def digits(images: NDArray[Any], labels: NDArray[Any]) -> Network:
    """Return handwritten digits, linked to their nearest neighbours; f is 1 for odd digits."""
    points = images.astype(float)
    near = cKDTree(points).query(points, N_NEAREST + 1)[1]
    here = np.repeat(np.arange(len(points)), N_NEAREST)
    graph = fm.walks.Graph.from_edges(np.column_stack([here, near[:, 1:].ravel()]))
    return Network("Handwritten digits: share of odd ones", graph, (labels % 2).astype(float))


def courses(network: Network, seed: int) -> list[Course]:
    """Run all chains on one network; the variance of HDT is that of its base / (2 alpha + 1)."""
    found: list[Course] = []
    for chain in CHAINS:
        plain = [
            c.variance for c in found if (c.chain.kernel, c.chain.base) == ("none", chain.base)
        ]
        if chain.kernel == "hdt" and plain:
            variance = plain[0] / (2 * chain.alpha + 1)
        else:
            variance = fm.walks.asymptotic_variance(network.graph, network.f, **chain.settings)
        found.append(Course(chain, errors(network, chain, seed), variance))
    return found


def errors(network: Network, chain: Chain, seed: int) -> Array:
    """Return the mean square errors of single walkers by the number of steps."""
    graph, f = network.graph, network.f
    walk, mse = None, []
    for n in CHECKED:
        if walk is None:
            walk = fm.walks.walk(
                graph, **chain.settings, n_steps=n, n_walkers=N_WALKERS, burn_in=0, rng=seed,
                plan=fm.Plan(progress=False),
            )  # fmt: skip
        else:
            walk = fm.walks.extend(walk, n - walk.n_steps, plan=fm.Plan(progress=False))
        means = walk.walker_visits @ f / walk.n_steps
        mse.append(np.mean((means - network.known) ** 2))
    return np.array(mse)


def average(network: Network, chain: Chain, seed: int, under: str | None = None) -> Any:
    """Return an average and its error from 64 walkers with a short burn-in."""
    walk = fm.walks.walk(
        network.graph,
        **chain.settings,
        n_steps=AVERAGED,
        rng=seed,
        plan=fm.Plan(progress=False),
    )
    return walk.expect(network.f, under)


def visits(network: Network, chain: Chain, seed: int) -> tuple[Array, Array]:
    """Return visits of one walker over those expected, and the TVD of 200 walkers by steps."""
    n = network.graph.n_nodes
    walk, distances = None, []
    for per_node in range(1, STEPS_PER_NODE + 1):
        if walk is None:
            walk = fm.walks.walk(
                network.graph, **chain.settings, n_steps=n, n_walkers=N_WALKERS, burn_in=0, init=0,
                rng=seed, plan=fm.Plan(progress=False),
            )  # fmt: skip
        else:
            walk = fm.walks.extend(walk, n, plan=fm.Plan(progress=False))
        distances.append(walk.walker_tvd.mean())
        if per_node == STEPS_PER_NODE:
            first = walk.walker_visits[[0]].toarray()[0] / per_node
    return first, np.array(distances)


def places(graph: fm.walks.Graph) -> Array:
    """Return the positions of the nodes in a figure, (n_nodes, 2)."""
    net = nx.from_scipy_sparse_array(graph.to_scipy())
    where = nx.kamada_kawai_layout(net, weight=None)
    return np.array([where[node] for node in range(graph.n_nodes)])


HEAD = (
    f"  {'chain':<24}{'n MSE':>11}{'theory':>11}{'ratio':>8}{'MHRW / it':>11}"
    f"   (n = {CHECKED[-1]:,}, {N_WALKERS} walkers)"
)


def lines(network: Network, courses: list[Course]) -> list[str]:
    """Return the table of one network."""
    last = CHECKED[-1]
    plain = courses[0].mse[-1]
    return [f"  {network.title}"] + [
        f"    {c.chain.name:<22}{last * c.mse[-1]:>11.2f}{c.variance:>11.2f}"
        f"{last * c.mse[-1] / c.variance:>8.2f}{plain / c.mse[-1]:>11.1f}"
        for c in courses
    ]


class Task(NamedTuple):
    """A loss on the nodes, the minimum of its mean, and the derivatives there."""

    graph: fm.walks.Graph
    loss: fm.walks.Logistic
    optimum: Array
    difference: float
    gradients: Array
    hessian: Array


class Descent(NamedTuple):
    """Tokens of one repellence: their record, mean square distances, and those by theory."""

    alpha: float
    result: Any
    steps: NDArray[np.int64]
    excess: Array
    square: Array
    moments: Array

    @property
    def predicted(self) -> Array:
        """The standard error of the mean square distance."""
        return np.trace(self.moments, axis1=1, axis2=2)


def task(x: Array, y: Array, graph: fm.walks.Graph) -> Task:
    """Return tumours on the nodes of a graph, with similar tumours on near nodes."""
    x = x[:, : MEASURED + 1]
    laplacian = np.diag(graph.degrees.astype(float)) - (graph.to_scipy().toarray() > 0)
    line = np.linalg.eigh(laplacian)[1][:, 1]
    component = np.linalg.svd(x[:, 1:], full_matrices=False)[0][:, 0]
    node = np.empty(len(y), dtype=int)
    node[np.argsort(component)] = np.argsort(line)[np.arange(len(y)) * graph.n_nodes // len(y)]
    loss = fm.walks.Logistic(x, y, node, ridge=RIDGE)
    optimum = loss.minimum()
    # The optimum by SciPy, from the objective alone.
    other = minimize(lambda theta: loss.objective(theta), np.zeros(loss.dim), tol=1e-12).x
    gradients = loss.gradient(
        np.broadcast_to(optimum, (graph.n_nodes, loss.dim)), np.arange(graph.n_nodes)
    )
    share = expit(loss.X @ optimum)
    weight = share * (1 - share) / np.repeat(loss.sizes, loss.sizes) / graph.n_nodes
    hessian = (loss.X.T * weight) @ loss.X + RIDGE * np.eye(loss.dim)
    return Task(graph, loss, optimum, float(np.abs(other - optimum).max()), gradients, hessian)


def descend(job: Task, alpha: float, seed: int) -> Descent:
    """Run tokens from zero towards the optimum."""
    result = fm.walks.optimize(
        job.loss,
        job.graph,
        alpha,
        n_steps=TOKEN_STEPS,
        rng=seed,
        c=SCALE,
        n_tokens=N_TOKENS,
        record_every=50,
        plan=fm.Plan(progress=False),
    )
    at = np.unique(np.geomspace(1, len(result.trace.steps) - 1, 40).astype(int))
    losses = job.loss.objective(result.trace.theta[:, at].reshape(-1, job.loss.dim))
    predicted = fm.walks.predict(
        job.graph,
        job.gradients,
        job.hessian,
        result.trace.steps[at],
        alpha,
        c=SCALE,
        start_error=-job.optimum,
    )
    return Descent(
        alpha,
        result,
        result.trace.steps[at],
        losses.reshape(N_TOKENS, -1).mean(axis=0) - job.loss.objective(job.optimum),
        (result.distance(job.optimum) ** 2).mean(axis=0)[at],
        predicted,
    )


TOKEN_HEAD = (
    f"  {'alpha':<12}{'distance² × 10⁶':>18}{'predicted':>12}{'ratio':>8}{'limit':>12}"
    f"{'loss − least, × 10⁶':>22}   (after {TOKEN_STEPS:,} steps, {N_TOKENS} tokens)"
)


def token_line(job: Task, run: Descent) -> str:
    """Return a line of the table of repellences."""
    law = fm.walks.token_covariance(job.graph, job.gradients, job.hessian, run.alpha, c=SCALE)
    limit = np.trace(law) * SCALE * (TOKEN_STEPS + 1.0) ** -0.9
    square, predicted = run.square[-1], run.predicted[-1]
    return (
        f"  {run.alpha:<12g}{1e6 * square:>18.2f}{1e6 * predicted:>12.2f}{square / predicted:>8.2f}"
        f"{1e6 * limit:>12.2f}{1e6 * run.excess[-1]:>22.2f}"
    )
