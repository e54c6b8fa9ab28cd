"""The base chains of walks: a class for each chain, with its properties for walks and theory."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fermiac._base.strategies import Strategies
from fermiac._base.validate import choice, positive, probability, shown, whole
from fermiac.errors import ArgumentError
from fermiac.walks.graph import Graph
from fermiac.walks.markov_chains import Chain, EdgeChain, NodeChain, metropolis
from fermiac.walks.multiple_try import acceptances
from fermiac.walks.visit_law import Law

__all__ = [
    "CHAINS",
    "MHDA",
    "MHRW",
    "MTM",
    "NBRW",
    "SRW",
    "Barker",
    "Base",
    "BaseChain",
    "Lazy",
    "MaxDegree",
    "Node2Vec",
    "Weighted",
    "named_chains",
]

Array = NDArray[np.float64]
Ids = NDArray[Any]


@dataclass(frozen=True)
class BaseChain:
    """Base class of the base chains: frozen settings, and the properties that walks need.

    A new chain is a subclass with its `name`, the facts that differ from those here, and `moves`,
    the probabilities of its transition matrix. It is registered in `CHAINS`.

    Examples
    --------
    >>> import fermiac as fm
    >>> isinstance(fm.walks.MHRW(), fm.walks.BaseChain), fm.walks.MHRW().name
    (True, 'mhrw')
    """

    #: The name of the chain with its default settings.
    name: ClassVar[str]
    #: The description of a fixed stationary law; None if the chain takes any target.
    own_law: ClassVar[str | None] = None
    #: Whether the stationary law has a closed form.
    has_closed_law: ClassVar[bool] = True
    #: Whether the chain on the nodes is reversible.
    reversible: ClassVar[bool] = True
    #: Whether proposals are accepted or refused, so that the target can depend on the history.
    accepts: ClassVar[bool] = False
    #: Whether the probabilities are known neighbour by neighbour, as ``srrw`` and ``tsaw`` need.
    scans: ClassVar[bool] = False
    #: Whether edges must lead both ways.
    needs_symmetric: ClassVar[bool] = True
    #: Whether the weights of edges count.
    uses_weights: ClassVar[bool] = False
    #: Whether every step goes along an edge.
    always_moves: ClassVar[bool] = False
    #: Whether a step needs only the neighbourhood of the walker, so that crawls can make it.
    local: ClassVar[bool] = True
    #: Whether the acceptance is smooth, so that noise of the target acts only in second order.
    is_smooth: ClassVar[bool] = False

    @property
    def inner(self) -> BaseChain:
        """The chain that moves, without laziness."""
        return self

    @property
    def laziness(self) -> float:
        """The probability of staying, which is decided before the move."""
        return 0.0

    @property
    def spec(self) -> str | BaseChain:
        """The shortest form of the chain: its name, or the object if it has settings."""
        return self if fields(self) else self.name

    @property
    def bent(self) -> BaseChain | None:
        """The chain that ``hdt`` runs towards the modified target, or None."""
        return self if self.accepts else None

    def law(self, graph: Graph, allowed: NDArray[np.bool_] | None) -> Law | None:
        """Return the stationary law; None if the target determines it."""
        return None

    def shares(self, law: Law) -> Array:
        """Return the stationary law, normalised."""
        return law.shares

    def moves(self, graph: Graph, mu: Array, rows: Ids, columns: Ids) -> Array:
        """Return the probability of a move along each edge."""
        raise NotImplementedError

    def transition(self, graph: Graph, law: Law, laziness: float = 0.0) -> Chain:
        """Return the chain as a transition matrix with its stationary law."""
        mu = self.shares(law)
        rows = np.repeat(np.arange(graph.n_nodes), graph.degrees)
        columns = np.asarray(graph.indices, dtype=np.int64)
        moves = self.moves(graph, mu, rows, columns)
        return NodeChain.of_moves(moves, rows, columns, mu, laziness, self.always_moves)

    def core(self, graph: Graph) -> dict[str, Any]:
        """Return the settings of the chain in the core, which knows it by the same name."""
        return {"name": self.name}


def uniform_moves(graph: Graph, rows: Ids) -> Array:
    """Return the probability of each edge if all neighbours are equally likely."""
    return np.asarray(1.0 / graph.degrees[rows])


@dataclass(frozen=True)
class SRW(BaseChain):
    """The simple random walk: to a neighbour, each equally likely.

    Its stationary law is that of the degrees.

    References
    ----------
    .. [1] D. A. Levin, Y. Peres, "Markov Chains and Mixing Times", American Mathematical Society,
       2017, doi:10.1090/mbk/107.

    Examples
    --------
    >>> import fermiac as fm
    >>> round(fm.walks.spectral_gap([[0, 1], [1, 2], [2, 0]], fm.walks.SRW()), 12)
    1.5
    """

    name = "srw"
    own_law = "that of the degrees"
    scans = True
    needs_symmetric = False
    always_moves = True

    @property
    def bent(self) -> BaseChain:
        """The Metropolis chain towards the degrees, which accepts all moves without history."""
        return MHRW()

    def law(self, graph: Graph, allowed: NDArray[np.bool_] | None) -> Law:
        """Return the law of the degrees."""
        return Law(graph, allowed, "degree")

    def moves(self, graph: Graph, mu: Array, rows: Ids, columns: Ids) -> Array:
        """Return the probability of a move along each edge."""
        return uniform_moves(graph, rows)


@dataclass(frozen=True)
class Weighted(BaseChain):
    """The walk to a neighbour with probabilities proportional to the weights of the edges.

    Its stationary law is that of the strengths, the sums of the weights at each node.

    References
    ----------
    .. [1] D. A. Levin, Y. Peres, "Markov Chains and Mixing Times", American Mathematical Society,
       2017, doi:10.1090/mbk/107.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.Weighted()
    Weighted()
    """

    name = "weighted"
    own_law = "that of the strengths"
    scans = True
    needs_symmetric = False
    uses_weights = True
    always_moves = True
    local = False

    def law(self, graph: Graph, allowed: NDArray[np.bool_] | None) -> Law:
        """Return the law of the strengths."""
        if not np.isfinite(graph.strengths.max()):
            raise ArgumentError(
                "graph: the weights of the edges of a node add up to infinity; give weights "
                "that are smaller by a common factor"
            )
        return Law(graph, allowed, "table", graph.strengths / graph.strengths.max())

    def shares(self, law: Law) -> Array:
        """Return the strengths, normalised."""
        return np.asarray(law.graph.strengths / law.graph.strengths.sum())

    def moves(self, graph: Graph, mu: Array, rows: Ids, columns: Ids) -> Array:
        """Return the probability of a move along each edge."""
        if graph.weights is None:
            return uniform_moves(graph, rows)
        weights = np.asarray(graph.weights, dtype=np.float64)
        return np.asarray(weights / np.bincount(rows, weights, graph.n_nodes)[rows])


@dataclass(frozen=True)
class MaxDegree(BaseChain):
    """The maximum-degree walk: to each neighbour with probability 1 / the largest degree.

    It stays otherwise. Its stationary law is uniform.

    References
    ----------
    .. [1] S. Boyd, P. Diaconis, L. Xiao, "Fastest mixing Markov chain on a graph", SIAM Review,
       2004, doi:10.1137/S0036144503423264.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.MaxDegree()
    MaxDegree()
    """

    name = "maxdeg"
    own_law = "uniform"
    scans = True
    local = False

    def law(self, graph: Graph, allowed: NDArray[np.bool_] | None) -> Law:
        """Return the uniform law."""
        return Law(graph, allowed, "uniform")

    def moves(self, graph: Graph, mu: Array, rows: Ids, columns: Ids) -> Array:
        """Return the probability of a move along each edge."""
        return np.asarray(metropolis(mu, rows, columns) / graph.degrees.max())

    def core(self, graph: Graph) -> dict[str, Any]:
        """Return the settings of the chain in the core."""
        return {"name": self.name, "largest": int(graph.degrees.max())}


@dataclass(frozen=True)
class MHRW(BaseChain):
    """The Metropolis–Hastings walk: uniform proposals among neighbours, accepted by the target.

    References
    ----------
    .. [1] N. Metropolis, A. W. Rosenbluth, M. N. Rosenbluth, A. H. Teller, E. Teller, "Equation of
       state calculations by fast computing machines", Journal of Chemical Physics, 1953,
       doi:10.1063/1.1699114.
    .. [2] W. K. Hastings, "Monte Carlo sampling methods using Markov chains and their
       applications", Biometrika, 1970, doi:10.1093/biomet/57.1.97.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.MHRW().reversible
    True
    """

    name = "mhrw"
    accepts = True
    scans = True

    def moves(self, graph: Graph, mu: Array, rows: Ids, columns: Ids) -> Array:
        """Return the probability of a move along each edge."""
        accept = metropolis(mu / graph.degrees, rows, columns)
        return np.asarray(uniform_moves(graph, rows) * accept)


@dataclass(frozen=True)
class Barker(BaseChain):
    """The walk with Barker's acceptance probability R / (1 + R), which is smooth in R.

    References
    ----------
    .. [1] A. A. Barker, "Monte Carlo calculations of the radial distribution functions for a
       proton-electron plasma", Australian Journal of Physics, 1965, doi:10.1071/PH650119.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.Barker().reversible
    True
    """

    name = "barker"
    accepts = True
    scans = True
    is_smooth = True

    def moves(self, graph: Graph, mu: Array, rows: Ids, columns: Ids) -> Array:
        """Return the probability of a move along each edge."""
        density = mu / graph.degrees
        proposed = uniform_moves(graph, rows) * density[columns]
        return np.asarray(proposed / (density[rows] + density[columns]))


@dataclass(frozen=True)
class MHDA(BaseChain):
    """The Metropolis–Hastings walk with delayed acceptance, which seldom turns back.

    References
    ----------
    .. [1] C.-H. Lee, X. Xu, D. Y. Eun, "Beyond random walk and Metropolis-Hastings samplers: why
       you should not backtrack for unbiased graph sampling", SIGMETRICS, 2012,
       doi:10.1145/2254756.2254795.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.MHDA().reversible
    False
    """

    name = "mhda"
    accepts = True
    reversible = False

    def transition(self, graph: Graph, law: Law, laziness: float = 0.0) -> Chain:
        """Return the chain on the directed edges."""
        return EdgeChain.of_graph(graph, self.shares(law), laziness)


@dataclass(frozen=True)
class NBRW(BaseChain):
    """The non-backtracking walk: to a neighbour other than the last node, each equally likely.

    It goes back if there is no other neighbour. Its stationary law is that of the degrees.

    References
    ----------
    .. [1] N. Alon, I. Benjamini, E. Lubetzky, S. Sodin, "Non-backtracking random walks mix faster",
       Communications in Contemporary Mathematics, 2007, doi:10.1142/S0219199707002551.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.NBRW().reversible
    False
    """

    name = "nbrw"
    own_law = "that of the degrees"
    reversible = False
    needs_symmetric = False
    always_moves = True

    @property
    def bent(self) -> BaseChain:
        """The chain with delayed acceptance towards the degrees."""
        return MHDA()

    def law(self, graph: Graph, allowed: NDArray[np.bool_] | None) -> Law:
        """Return the law of the degrees."""
        return Law(graph, allowed, "degree")

    def transition(self, graph: Graph, law: Law, laziness: float = 0.0) -> Chain:
        """Return the chain on the directed edges."""
        return EdgeChain.of_graph(graph, self.shares(law), laziness)


@dataclass(frozen=True)
class MTM(BaseChain):
    """Multiple-try Metropolis: a locally balanced choice among several neighbours.

    Parameters
    ----------
    n_tries : int, default 2
        The number of neighbours proposed in each step, from 1 to 64.
    balance : {"barker", "sqrt"}, default "barker"
        The weight of a neighbour as a function of the ratio u of the target's values, corrected by
        the degrees: u / (1 + u), or the square root of u.

    Raises
    ------
    ArgumentError
        For a number of tries out of range, or an unknown balance.

    References
    ----------
    .. [1] J. S. Liu, F. Liang, W. H. Wong, "The multiple-try method and local optimization in
       Metropolis sampling", Journal of the American Statistical Association, 2000,
       doi:10.1080/01621459.2000.10473908.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.MTM(n_tries=4).balance
    'barker'
    """

    name = "mtm"
    accepts = True

    n_tries: int = 2
    balance: str = "barker"

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_tries", whole("n_tries", self.n_tries, 1, 64))
        choice("balance", self.balance, ("barker", "sqrt"))

    @property
    def by_root(self) -> bool:
        """Whether the weight of a try is the square root."""
        return self.balance == "sqrt"

    def moves(self, graph: Graph, mu: Array, rows: Ids, columns: Ids) -> Array:
        """Return the probability of a move along each edge, by enumeration of all tries."""
        density = mu / graph.degrees
        sums = acceptances(graph.indptr, rows, columns, density, self.n_tries, self.by_root)
        return np.asarray(uniform_moves(graph, rows) * sums)

    def core(self, graph: Graph) -> dict[str, Any]:
        """Return the settings of the chain in the core."""
        return {"name": self.name, "tries": self.n_tries, "root": self.by_root}


@dataclass(frozen=True)
class Node2Vec(BaseChain):
    """The second-order walk of node2vec, which has no stationary law in closed form.

    Parameters
    ----------
    p : float, default 1
        The return parameter: the weight of going back is 1 / p.
    q : float, default 1
        The in-out parameter: the weight of leaving the neighbourhood of the last node is 1 / q.

    Raises
    ------
    ArgumentError
        For a parameter that is not positive and finite.

    References
    ----------
    .. [1] A. Grover, J. Leskovec, "node2vec: Scalable feature learning for networks", KDD 2016,
       doi:10.1145/2939672.2939754.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.walks.Node2Vec(p=0.5, q=2.0)
    Node2Vec(p=0.5, q=2.0)
    """

    name = "node2vec"
    own_law = "not known"
    has_closed_law = False
    reversible = False
    needs_symmetric = False
    always_moves = True

    p: float = 1.0
    q: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "p", positive("p", self.p))
        object.__setattr__(self, "q", positive("q", self.q))

    def core(self, graph: Graph) -> dict[str, Any]:
        """Return the settings of the chain in the core."""
        return {"name": self.name, "back": self.p, "out": self.q}


@dataclass(frozen=True)
class Lazy(BaseChain):
    """A base chain that stays at its node with some probability in each step.

    Parameters
    ----------
    base : str or base chain, default "srw"
        The chain that moves otherwise; it must be of first order and not lazy itself.
    eps : float, default 0.5
        The probability of staying, in [0, 1).

    Raises
    ------
    ArgumentError
        For a probability outside [0, 1), or a base of another kind.

    References
    ----------
    .. [1] D. A. Levin, Y. Peres, "Markov Chains and Mixing Times", American Mathematical Society,
       2017, doi:10.1090/mbk/107.

    Examples
    --------
    >>> import fermiac as fm
    >>> triangle = [[0, 1], [1, 2], [2, 0]]
    >>> round(fm.walks.spectral_gap(triangle, fm.walks.Lazy("srw", 0.5)), 12)
    0.75
    """

    name = "lazy"

    base: Base = "srw"
    eps: float = 0.5

    def __post_init__(self) -> None:
        inner = CHAINS.resolve(self.base, "base of Lazy")
        if isinstance(inner, Lazy) or not inner.has_closed_law:
            raise ArgumentError(
                f"base of Lazy: {shown(self.base)} was given; a chain that is not lazy itself, and "
                "of first order, is needed"
            )
        put = object.__setattr__
        put(self, "base", inner.spec)
        put(self, "eps", probability("eps", self.eps, zero=True))
        # All attributes except the name are those of the inner chain.
        for fact in BaseChain.__annotations__:
            if fact != "name":
                put(self, fact, getattr(inner, fact))
        put(self, "always_moves", inner.always_moves and self.eps == 0.0)

    @property
    def inner(self) -> BaseChain:
        """The chain that moves."""
        return CHAINS.resolve(self.base)

    @property
    def laziness(self) -> float:
        """The probability of staying, which is decided before the move."""
        return self.eps

    @property
    def bent(self) -> BaseChain | None:
        """The chain that ``hdt`` runs, with the same laziness."""
        return self.inner.bent

    def law(self, graph: Graph, allowed: NDArray[np.bool_] | None) -> Law | None:
        """Return the law of the chain that moves."""
        return self.inner.law(graph, allowed)

    def transition(self, graph: Graph, law: Law, laziness: float = 0.0) -> Chain:
        """Return the lazy chain as a transition matrix."""
        return self.inner.transition(graph, law, self.eps)

    def core(self, graph: Graph) -> dict[str, Any]:
        """Return the settings of the chain that moves; laziness is a setting of the walk."""
        return self.inner.core(graph)


ChainName: TypeAlias = Literal[
    "srw", "weighted", "mhrw", "mhda", "nbrw", "maxdeg", "barker", "lazy", "mtm", "node2vec"
]
"""The names of the base chains."""

Base: TypeAlias = "ChainName | BaseChain"
"""The type of every ``base=`` argument."""

#: All base chains by name.
CHAINS: Strategies[BaseChain] = Strategies(
    "base",
    BaseChain,
    {
        chain.name: chain
        for chain in (SRW, Weighted, MHRW, MHDA, NBRW, MaxDegree, Barker, Lazy, MTM, Node2Vec)
    },
    "fermiac.walks.MHDA()",
)


def named_chains(*facts: str) -> str:
    """Return the names of the chains with all of these properties, for messages."""
    chains = map(CHAINS.resolve, CHAINS.names)
    fit = [chain for chain in chains if all(getattr(chain, fact) for fact in facts)]
    return ", ".join(repr(chain.name) for chain in fit if not isinstance(chain, Lazy))
