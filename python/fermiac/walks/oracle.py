"""Graphs that are accessed through an oracle for neighbours, and walkers that crawl over them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.ask import ask
from fermiac._base.plan import Plan, PlanLike, plan_of
from fermiac._base.progress import finish, reporter
from fermiac._base.validate import RngLike, choice, key_of, shown, taken, whole
from fermiac.errors import ArgumentError, ConvergenceWarning, TargetError
from fermiac.results.result import warn
from fermiac.walks.chains import CHAINS, Base, BaseChain, named_chains
from fermiac.walks.crawl import Crawl
from fermiac.walks.graph import Graph
from fermiac.walks.job import Job, check_ways_back, restart_of
from fermiac.walks.kernels import Alpha, Kernel, kernel_of
from fermiac.walks.memory import require_room
from fermiac.walks.node_functions import NodeFunction, NodeFunctionLike, called
from fermiac.walks.settling import is_auto
from fermiac.walks.visit_law import Law, refused_target
from fermiac.walks.visits import Visits

if TYPE_CHECKING:
    pass

__all__ = ["Crawler", "Neighbors", "Oracle", "crawl"]

Ids = NDArray[np.int64]

Neighbors: TypeAlias = "Callable[[Ids], tuple[ArrayLike, ArrayLike] | Sequence[ArrayLike]]"
"""A function that returns the neighbours of nodes; see `Oracle`."""

#: A placeholder for the unknown graph.
_ANY = Graph.from_csr([0, 1, 2], [1, 0])
#: With this many steps of a walker per node, the history leaves little bias.
_FEW = 100


class Oracle:
    """A graph that is accessed through a function, for instance of a web site or a data base.

    Parameters
    ----------
    neighbors : callable
        A function of nodes, an int64 array (n,) without repetition, that returns their neighbours:
        a tuple (indptr, indices) of n + 1 limits and the neighbours node by node, or a list of n
        arrays. Nodes are any int64 numbers. Edges must lead in both directions, and a node must
        always have the same neighbours. A crawl requests no node twice.

    Raises
    ------
    ArgumentError
        If it is not callable.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> ring = fm.walks.Oracle(lambda nodes: [[i - 1, i + 1] for i in nodes])
    >>> crawler = fm.walks.Crawler(ring, init=0, n_walkers=8, rng=0)
    >>> w = crawler.run(100)
    >>> bool(set(w.nodes[w.visited]) <= set(range(-100, 101)))
    True
    """

    def __init__(self, neighbors: Neighbors) -> None:
        if not callable(neighbors):
            raise ArgumentError(f"neighbors: {shown(neighbors)} given; a callable is needed")
        self.neighbors = neighbors

    def __repr__(self) -> str:
        """Name the function."""
        return f"Oracle({getattr(self.neighbors, '__name__', self.neighbors)!s:.60})"

    def _rows(self, nodes: Ids) -> tuple[Ids, Ids]:
        """Return the checked rows of nodes."""
        on = f"for {len(nodes)} nodes, of them {nodes[0]}"
        given = ask(self.neighbors, (nodes,), "neighbors", on)
        if isinstance(given, tuple):
            if len(given) != 2:
                raise TargetError(
                    f"neighbors: gave a tuple of {len(given)}; (indptr, indices) or a list with an "
                    "array for each node is needed"
                )
            return _ids("limits", given[0]), _ids("neighbours", given[1])
        if not isinstance(given, Iterable):
            raise TargetError(
                f"neighbors: gave a {type(given).__name__}; (indptr, indices) or a list with an "
                "array for each node is needed"
            )
        rows = [_ids("neighbours", row) for row in given]
        if len(rows) != len(nodes):
            raise TargetError(
                f"neighbors: gave {len(rows)} arrays for {len(nodes)} nodes; one for each is needed"
            )
        starts = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=starts[1:])
        return starts, np.concatenate(rows)


def _ids(what: str, given: Any) -> Ids:
    try:
        array = taken("neighbors", given)
    except ArgumentError as error:
        raise TargetError(f"neighbors: gave {what} that are none; {error}") from None
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise TargetError(
            f"neighbors: gave {what} of shape {array.shape} and type {array.dtype}; whole numbers "
            "in one dimension are needed"
        )
    return np.ascontiguousarray(array, dtype=np.int64)


class Crawler:
    """Walkers on a graph that is accessed through an oracle; each run continues the last one.

    Parameters
    ----------
    graph : Oracle or callable
        The graph, or the function of an `Oracle`.
    kernel : {"none", "hdt", "srrw"} or kernel, default "none"
        As in `walk`. ``"srrw"`` requests all neighbours of the current nodes. History is useful
        only if walkers return to nodes many times. With few visits per node it drives them to
        unvisited nodes, and most edges lead to nodes of high degree.
    base : str or base chain, default "mhda"
        As in `walk`, but neither ``"weighted"`` nor ``"maxdeg"``, which need the whole graph.
    alpha : float or tuple, optional
        The strength of repellence, as in `walk`.
    weights : None, "degree" or callable, default None
        The target, up to a factor, as in `walk`; a callable is called once for each node that a
        walker may move to.
    init : int or array_like of int, shape (n_walkers,)
        The first node of each walker.
    n_walkers : int, default 64
        The number of walkers. Each step makes one request for all of them together.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
    restart : float, default 0.0
        The probability to go back to the first node instead of a step.
    on_stuck : {"stop", "restart"}, default "stop"
        The treatment of nodes without outgoing edges: stay, or go back to the first node.

    Attributes
    ----------
    n_done : int
        The number of steps that each walker has made.
    n_asked : int
        The number of nodes that were requested.

    Raises
    ------
    ArgumentError
        For an argument outside its domain, or a walk that needs the whole graph.

    Notes
    -----
    Nodes are numbered in the order of their discovery; ``nodes`` of the results has their original
    numbers. If `neighbors` or `weights` raises an exception, all walkers return to the end of the
    last step that all of them finished, and `run` may be called again. With the same seed the steps
    are those of `walk` on the whole graph with the same rows. Pseudo-counts are proportional to the
    target, with 1 for the first node.

    References
    ----------
    .. [1] M. Gjoka, M. Kurant, C. T. Butts, A. Markopoulou, "Walking in Facebook: a case study of
       unbiased sampling of OSNs", INFOCOM, 2010, doi:10.1109/INFCOM.2010.5462078.

    Examples
    --------
    The mean degree of a graph, from a crawl over a part of it:

    >>> import numpy as np, fermiac as fm
    >>> g = fm.walks.graphs.barabasi_albert(2000, 3, rng=0)
    >>> crawler = fm.walks.Crawler(
    ...     lambda nodes: [g.neighbors(i) for i in nodes], init=0, rng=0
    ... )
    >>> _ = crawler.run(50)  # a burn-in
    >>> w = crawler.run(300)
    >>> e = w.expect(lambda nodes: g.degrees[nodes])
    >>> bool(abs(e.mean - g.degrees.mean()) < 5 * e.stderr)
    True
    """

    def __init__(
        self,
        graph: Oracle | Neighbors,
        kernel: Kernel = "none",
        base: Base = "mhda",
        alpha: Alpha | None = None,
        weights: str | NodeFunctionLike | None = None,
        init: ArrayLike | None = None,
        n_walkers: int = 64,
        rng: RngLike = None,
        *,
        restart: float = 0.0,
        on_stuck: Literal["stop", "restart"] = "stop",
    ) -> None:
        self._oracle = graph if isinstance(graph, Oracle) else Oracle(graph)
        strategy = kernel_of(kernel, alpha, "local")
        chain = strategy.base(CHAINS.resolve(base))
        check_ways_back(strategy, chain, _ANY)
        if not chain.local:
            raise ArgumentError(
                f"base: {chain.spec!r} was given for a crawl, which knows no weights of edges, nor "
                f"the largest degree; take one of {named_chains('local')}"
            )
        choice("on_stuck", on_stuck, ("stop", "restart"))
        self._weigh, self._kind = _target(weights, chain)
        many = whole("n_walkers", n_walkers, 1, 2**40)
        self._burns = False
        self._job = Job(
            graph=_ANY,
            kernel=strategy,
            base=chain,
            start=_initial_nodes(init, many),
            n_steps=1,
            key=key_of(rng),
            restart=restart_of(restart, strategy, chain),
            on_stuck=on_stuck,
            record="visits",
        )
        if self._job.restart:
            self._kind = "unknown"
        core = {"degree": "degree", "table": "unknown"}.get(self._kind, "uniform")
        pseudo = np.nan if self._kind == "degree" else 1.0
        settings = {**self._job.settings(), "target": (core, pseudo, np.nan)}
        self._core = _core.Crawlers(settings, self._job.start, self._job.key)

    def __repr__(self) -> str:
        """Show the steps so far."""
        return (
            f"Crawler: {self._job.n_walkers} walkers × {self.n_done} steps, {self.n_asked} nodes "
            f"asked for, {len(self.nodes)} discovered"
        )

    @property
    def n_done(self) -> int:
        """The number of steps that each walker has made."""
        return self._core.n_done

    @property
    def n_asked(self) -> int:
        """The number of nodes that were requested."""
        return self._core.n_asked

    @property
    def nodes(self) -> Ids:
        """The discovered nodes, in the order of their discovery."""
        return self._core.names()

    @property
    def graph(self) -> Graph:
        """The known part of the graph; nodes that were not requested have empty rows."""
        return Graph.from_csr(
            *self._core.known(), directed=True, labels=self.nodes.tolist(), validate="none"
        )

    def run(
        self,
        n_steps: int,
        *,
        record: Literal["visits", "path"] = "visits",
        thin: int = 1,
        plan: PlanLike | None = None,
    ) -> Crawl:
        """Move all walkers.

        Parameters
        ----------
        n_steps : int
            Steps of each walker.
        record : {"visits", "path"}, default "visits"
            The record of these steps, as in `walk`.
        thin : int, default 1
            Keep every `thin`-th node of the paths.
        plan : Plan or executor, optional
            Where the call runs and what is kept; see `fermiac.Plan`.

        Returns
        -------
        Crawl
            The result of these steps; earlier ones are its burn-in.

        Raises
        ------
        ArgumentError
            For an argument outside its domain.
        TargetError
            If `neighbors` or `weights` returns an unusable value, or a walker is at a node without
            edges.
        KeyboardInterrupt
            On Ctrl-C. This and every other exception has the steps so far as ``partial_result``,
            or None.

        Warns
        -----
        ConvergenceWarning
            If walkers with history have made few steps per node.
        """
        where = plan_of(plan)
        begun = time.perf_counter()
        steps = whole("n_steps", n_steps, 1, 2**32 - 1 - self.n_done)
        choice("record", record, ("visits", "path"))
        every = whole("thin", thin, 1, steps)
        if every > 1 and record != "path":
            raise ArgumentError(
                f"thin: {every} was given with record={shown(record)}; it thins paths"
            )
        first, moves, many = self.n_done, self._core.n_moves, self._job.n_walkers
        before = self._core.visited() if first else None
        paths = None
        if record == "path":
            what = f"the paths of {many} walkers"
            require_room(4 * many * (steps // every), what, "give thin=")
            paths = np.zeros((many, steps // every), dtype=np.uint32)
        job = replace(self._job, n_steps=steps, thin=every, record=record)

        def result(status: str) -> Crawl:
            return self._result(job, status, begun, (first, moves, before), paths)

        with reporter(where.progress, "crawl", "steps") as report:
            until, total = first + steps, many * (first + steps)
            rows = self._oracle._rows
            try:
                how = (until, paths, first + every, every, None, total, report)
                _, error = self._core.run(rows, self._weigh, *how)
                if error is not None:
                    raise error
            except BaseException as error:
                partial = result("interrupted") if self.n_done > first else None
                error.partial_result = partial  # type: ignore[attr-defined]
                raise
            found = result("complete")
            few = [(ConvergenceWarning, text) for text in self._notes()]
            warn(few, found)
            finish(report, total, found)
            return found

    def _burn(self, n_steps: int, plan: Plan) -> None:
        """Make steps that are not part of a result, without warnings."""
        self._burns = True
        try:
            self.run(n_steps, plan=plan)
        except BaseException as error:
            error.partial_result = None  # type: ignore[attr-defined]
            raise
        finally:
            self._burns = False

    def _notes(self) -> list[str]:
        """Return the warnings of a crawl."""
        if self._burns:
            return []
        each = self.n_done / len(self.nodes)
        if not self._job.kernel.uses_history or each >= _FEW:
            return []
        return [
            f"walkers with history have made {each:.2g} steps for each node discovered; with fewer "
            f"than {_FEW} averages are biased towards nodes of high degree; walk on, or use "
            "kernel='none'"
        ]

    def _result(
        self, job: Job, status: str, begun: float, since: tuple[int, int, Any], paths: Any
    ) -> Crawl:
        first, moves, before = since
        graph, done = self.graph, self.n_done - first
        seen = None
        if job.record == "visits":
            starts, nodes, counts = self._core.visited()
            seen = Visits(starts, nodes, counts, graph.n_nodes)
            if before is not None:
                starts, nodes, counts = before
                seen = seen.minus(Visits(starts, nodes, counts, graph.n_nodes))
        if paths is not None:
            paths = paths[:, : done // job.thin]
        law = None
        if self._kind != "unknown":
            table = self._core.weights() if self._kind == "table" else None
            law = Law(graph, None, self._kind, table)
        order = np.argsort(self.nodes)
        start = order[np.searchsorted(self.nodes, job.start, sorter=order)]
        out = Crawl.of_run(
            replace(job, graph=graph, law=law, start=start),
            n_steps=done,
            status=status,
            wall_time=time.perf_counter() - begun,
            rows=None if seen is None else seen.fields(),
            paths=paths,
            sums=None,
            state=None,
            n_moves=self._core.n_moves - moves,
            positions=self._core.positions(),
            f=None,
            burned=None,
        )
        # The crawler continues, not the result, and knows only a part of the graph.
        out.__dict__.update(_of_job=None, _of_graph=None)
        return out

    @property
    def state(self) -> NDArray[np.uint64]:
        """The graph, positions and histories as an array of words, for `restore`."""
        return self._core.save()

    def restore(self, state: NDArray[np.uint64]) -> None:
        """Continue from the state of another crawler with the same arguments.

        Parameters
        ----------
        state : ndarray of uint64
            The `state` of the other crawler.

        Raises
        ------
        ArgumentError
            If it is not the state of such a crawler.
        """
        words = taken("state", state)
        if words.dtype != np.uint64:
            raise ArgumentError(
                f"state: numbers of type {words.dtype} were given; the state of a Crawler is needed"
            )
        self._core.load(np.ascontiguousarray(words))


def _target(weights: Any, base: BaseChain) -> tuple[Callable[[Ids], Any] | None, str]:
    """Return the function of the weights, and the kind of the law."""
    if base.own_law is not None:
        if weights is not None:
            raise refused_target(base)
        return None, "degree" if base.has_closed_law else "unknown"
    if weights is None or (isinstance(weights, str) and weights == "degree"):
        return None, "uniform" if weights is None else "degree"
    call = called("weights", weights)
    if call is None:
        raise ArgumentError(
            f"weights: {shown(weights)} was given for a crawl; None, 'degree' or a callable is "
            "needed, as nodes are not known before"
        )

    def weigh(nodes: Ids) -> Any:
        found = NodeFunction("weights", lambda some: call(nodes[some]), len(nodes))
        values = found.at(np.arange(len(nodes)))
        if not found.scalar:
            raise TargetError(f"weights: gave {values.shape[1]} columns; one is needed")
        return np.ascontiguousarray(values[:, 0])

    return weigh, "table"


def _initial_nodes(init: Any, n_walkers: int) -> Ids:
    if init is None:
        raise ArgumentError("init: a crawl needs a node to start from")
    nodes = np.atleast_1d(taken("init", init))
    if nodes.dtype.kind not in "iu" or nodes.ndim != 1 or len(nodes) not in (1, n_walkers):
        raise ArgumentError(
            f"init: {shown(init)} was given; a node, or one for each of {n_walkers} walkers, is "
            "needed"
        )
    return np.ascontiguousarray(np.broadcast_to(nodes, n_walkers), dtype=np.int64)


def crawl(
    crawler: Crawler,
    n_steps: int,
    refused: dict[str, bool],
    *,
    record: Literal["visits", "path", "none"],
    burn_in: int | str,
    thin: int,
    plan: Plan,
) -> Crawl:
    """Return the walk on an oracle, with the arguments of `walk`."""
    for name, given in refused.items():
        if given:
            raise ArgumentError(
                f"{name}: given for a graph that is known by asking; leave it out, or drive a "
                "fermiac.walks.Crawler"
            )
    steps = whole("n_steps", n_steps, 1, 2**32 - 1)
    if is_auto(burn_in):  # the number of nodes is not known, so that a history may be young
        burned = steps // 2 if crawler._job.kernel.settling > 0.0 else 0
    else:
        burned = whole("burn_in", burn_in, 0, steps - 1)
    if burned:
        crawler._burn(burned, plan)
    # `run` refuses the settings that it does not support.
    return crawler.run(
        steps - burned,
        record=record,  # type: ignore[arg-type]
        thin=thin,
        plan=plan,
    )
