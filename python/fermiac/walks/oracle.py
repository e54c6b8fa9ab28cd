"""Graphs that are known by asking, and walkers that crawl over them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.progress import finish, reporter
from fermiac._base.validate import RngLike, choice, key_of, whole
from fermiac.errors import ArgumentError, ConvergenceWarning, TargetError
from fermiac.results.result import warn
from fermiac.walks.arrays import taken
from fermiac.walks.chains import Base, Node2Vec, base_of, inner_of, takes_target
from fermiac.walks.crawl import Crawl
from fermiac.walks.graph import Graph
from fermiac.walks.job import Alpha, Job, check_kernel, restart_of, schedule_of
from fermiac.walks.memory import require_room
from fermiac.walks.node_functions import NodeFunction, NodeFunctionLike, called
from fermiac.walks.visit_law import Law
from fermiac.walks.visits import Visits

if TYPE_CHECKING:
    from fermiac._base.progress import Report

__all__ = ["Crawler", "Neighbors", "Oracle", "crawl"]

Ids = NDArray[np.int64]

Neighbors: TypeAlias = "Callable[[Ids], tuple[ArrayLike, ArrayLike] | Sequence[ArrayLike]]"
"""What gives the neighbours of nodes; see `Oracle`."""

#: Stands for a graph of which nothing is known.
_ANY = Graph.from_csr([0, 1, 2], [1, 0])
#: Steps of a walker for each node, from which on history leaves little bias.
_FEW = 100
#: Bases that see no more of the graph than what is near.
_LOCAL = ("srw", "nbrw", "mhrw", "mhda", "barker")


class Oracle:
    """A graph that is known by asking for neighbours: of a web site, a service, a data base.

    Parameters
    ----------
    neighbors : callable
        Takes nodes, an int64 array (n,) without repetition, and gives their neighbours: a tuple
        (indptr, indices), n + 1 limits and the neighbours of one node after the other, or a list of
        n arrays. Nodes are any numbers of an int64. Edges must lead both ways, and the same node
        must always have the same neighbours; no node is asked for twice in a crawl.

    Raises
    ------
    ArgumentError
        For what cannot be called.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> ring = fm.walks.Oracle(lambda nodes: [[i - 1, i + 1] for i in nodes])
    >>> crawler = fm.walks.Crawler(ring, start=0, n_walkers=8, rng=0)
    >>> w = crawler.run(100)
    >>> bool(set(w.nodes[w.visited]) <= set(range(-100, 101)))
    True
    """

    def __init__(self, neighbors: Neighbors) -> None:
        if not callable(neighbors):
            raise ArgumentError(f"neighbors: {neighbors!r:.60} given; a callable is needed")
        self.neighbors = neighbors

    def __repr__(self) -> str:
        """Name the function."""
        return f"Oracle({getattr(self.neighbors, '__name__', self.neighbors)!s:.60})"

    def _rows(self, nodes: Ids) -> tuple[Ids, Ids]:
        """What the core asks for, checked."""
        try:
            given = self.neighbors(nodes.copy())
        except Exception as error:
            error.add_note(f"raised where {len(nodes)} nodes were asked for, of them {nodes[0]}")
            raise
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
    """Walkers on a graph that is known by asking, which go on where they stopped.

    Parameters
    ----------
    graph : Oracle or callable
        What knows the graph, or the function of an `Oracle`.
    kernel : {"none", "hdt", "srrw"}, default "none"
        As in `walk`. ``"srrw"`` asks for all neighbours of the nodes where walkers are. History is
        for walkers that come back to nodes many times: with few visits a node it drives them to
        those not yet visited, of which most edges lead to nodes of high degree.
    base : str, Lazy, MTM or Node2Vec, default "mhda"
        As in `walk`: ``"srw"``, ``"nbrw"``, ``"mhrw"``, ``"mhda"``, ``"barker"``, an `MTM`, a
        `Node2Vec`, or a `Lazy` of one of them.
    alpha : float or tuple, default 5.0
        The strength of repellence, as in `walk`.
    weights : None, "degree" or callable, default None
        The target, up to a factor, as in `walk`; a callable is asked once for each node that a
        walker looks at.
    start : int or array_like of int, shape (n_walkers,)
        Where walkers start.
    n_walkers : int, default 64
        Walkers. Each step asks once, for all of them together.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
    restart : float, default 0.0
        The probability to go back to the start, instead of a step.
    on_stuck : {"stop", "restart"}, default "stop"
        Whether walkers stay where no arc leads on, or go back to the start.

    Attributes
    ----------
    n_done : int
        Steps that each walker has made.
    n_asked : int
        Nodes that were asked for.

    Raises
    ------
    ArgumentError
        For an argument outside its domain, or a walk that needs to know the whole graph.

    Notes
    -----
    Nodes are numbered as they are discovered; ``nodes`` of the results has their own numbers. If
    `neighbors` or `weights` raises, all walkers stand where the last step that all of them finished
    has led, and `run` may be called again. With the same seed the steps are those of `walk` on the
    whole graph with the same rows. Pseudo-counts are in proportion to the target, 1 for the first
    start.

    Examples
    --------
    The mean degree of a graph from a crawl that has seen a part of it:

    >>> import numpy as np, fermiac as fm
    >>> g = fm.walks.graphs.barabasi_albert(2000, 3, rng=0)
    >>> crawler = fm.walks.Crawler(lambda nodes: [g.neighbors(i) for i in nodes], start=0, rng=0)
    >>> _ = crawler.run(50)  # away from the start
    >>> w = crawler.run(300)
    >>> e = w.expect(lambda nodes: g.degrees[nodes])
    >>> bool(abs(e.mean - g.degrees.mean()) < 5 * e.stderr)
    True
    """

    def __init__(
        self,
        graph: Oracle | Neighbors,
        kernel: str = "none",
        base: Base = "mhda",
        alpha: Alpha = 5.0,
        weights: str | NodeFunctionLike | None = None,
        start: ArrayLike | None = None,
        n_walkers: int = 64,
        rng: RngLike = None,
        *,
        restart: float = 0.0,
        on_stuck: str = "stop",
    ) -> None:
        self._oracle = graph if isinstance(graph, Oracle) else Oracle(graph)
        chain = base_of(base)
        name = check_kernel(choice("kernel", kernel, ("hdt", "srrw", "none")), chain, _ANY)
        _check_local(chain)
        choice("on_stuck", on_stuck, ("stop", "restart"))
        self._weigh, self._kind = _target(weights, chain)
        many = whole("n_walkers", n_walkers, 1, 2**40)
        self._burns = False
        self._job = Job(
            graph=_ANY,
            kernel=name,
            base=chain,
            alpha=schedule_of(alpha if name != "none" else 0.0),
            start=_starts(start, many),
            n_steps=1,
            key=key_of(rng),
            restart=restart_of(restart, name, chain),
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
        """Say how far it has come."""
        return (
            f"Crawler: {self._job.n_walkers} walkers × {self.n_done} steps, {self.n_asked} nodes "
            f"asked for, {len(self.nodes)} discovered"
        )

    @property
    def n_done(self) -> int:
        """Steps that each walker has made."""
        return self._core.n_done

    @property
    def n_asked(self) -> int:
        """Nodes that were asked for."""
        return self._core.n_asked

    @property
    def nodes(self) -> Ids:
        """The nodes that were discovered, in that order."""
        return self._core.names()

    @property
    def graph(self) -> Graph:
        """What is known of the graph; nodes that were not asked for have empty rows."""
        return Graph.from_csr(
            *self._core.known(), directed=True, labels=self.nodes.tolist(), validate="none"
        )

    def run(
        self,
        n_steps: int,
        *,
        record: str = "visits",
        thin: int = 1,
        progress: bool | Report | None = None,
    ) -> Crawl:
        """Move all walkers.

        Parameters
        ----------
        n_steps : int
            Steps of each walker.
        record : {"visits", "path"}, default "visits"
            What is kept of these steps, as in `walk`.
        thin : int, default 1
            Steps for each node of the paths.
        progress : bool or callable, optional
            As in `walk`.

        Returns
        -------
        Crawl
            Of these steps alone; the steps of calls before are its burn-in.

        Raises
        ------
        ArgumentError
            For an argument outside its domain.
        TargetError
            If `neighbors` or `weights` gives what cannot be used, or a walker is where no edge
            leads on.
        KeyboardInterrupt
            On Ctrl-C. This and every other exception has the steps so far as ``partial_result``,
            or None.

        Warns
        -----
        ConvergenceWarning
            If walkers with history have made few steps for each node.
        """
        begun = time.perf_counter()
        steps = whole("n_steps", n_steps, 1, 2**32 - 1 - self.n_done)
        choice("record", record, ("visits", "path"))
        every = whole("thin", thin, 1, steps)
        if every > 1 and record != "path":
            raise ArgumentError(f"thin: {every} was given with record={record!r}; it thins paths")
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

        with reporter(progress, "crawl", "steps") as report:
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
            object.__setattr__(found, "warnings", tuple(text for _, text in few))
            warn(few, found)
            finish(report, total, found)
            return found

    def _burn(self, n_steps: int, progress: bool | Report | None) -> None:
        """Steps that are no part of a result, of which nobody is warned."""
        self._burns = True
        try:
            self.run(n_steps, progress=progress)
        except BaseException as error:
            error.partial_result = None  # type: ignore[attr-defined]
            raise
        finally:
            self._burns = False

    def _notes(self) -> list[str]:
        """What the user must know of a crawl."""
        if self._burns:
            return []
        each = self.n_done / len(self.nodes)
        if self._job.kernel == "none" or each >= _FEW:
            return []
        return [
            f"walkers with history have made {each:.2g} steps for each node discovered; with fewer "
            f"than {_FEW} the averages lean to nodes of high degree; walk on, or take kernel='none'"
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
        out = Crawl.of_run(
            replace(job, graph=graph, law=law),
            n_steps=done,
            status=status,
            wall_time=time.perf_counter() - begun,
            seen=seen,
            paths=paths,
            sums=None,
            state=None,
            n_moves=self._core.n_moves - moves,
            positions=self._core.positions(),
            f=None,
            burned=None,
        )
        # It is this that goes on, not the result.
        out.__dict__["_of_job"] = None
        object.__setattr__(out, "_names", self.nodes)
        return out

    @property
    def state(self) -> NDArray[np.uint64]:
        """All that is known and remembered, in words, for `restore`."""
        return self._core.save()

    def restore(self, state: NDArray[np.uint64]) -> None:
        """Go on where another crawler with the same arguments was.

        Parameters
        ----------
        state : ndarray of uint64
            What its `state` was.

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


def _check_local(base: Base) -> None:
    """Refuse chains that need to know all of the graph."""
    inner = inner_of(base)[0]
    if isinstance(inner, str) and inner not in _LOCAL:
        raise ArgumentError(
            f"base: {base!r} was given for a crawl, which knows no weights of edges, nor the "
            f"largest degree; take one of {', '.join(map(repr, _LOCAL))}, an MTM or a Node2Vec"
        )


def _target(weights: Any, base: Base) -> tuple[Callable[[Ids], Any] | None, str]:
    """What gives weights, and the kind of the law."""
    if not takes_target(base):
        if weights is not None:
            raise ArgumentError(
                f"weights: given with base={base!r}, whose law cannot be chosen; leave them out, "
                "or take the base 'mhrw' or 'mhda'"
            )
        return None, "unknown" if isinstance(inner_of(base)[0], Node2Vec) else "degree"
    if weights is None or (isinstance(weights, str) and weights == "degree"):
        return None, "uniform" if weights is None else "degree"
    call = called(weights)
    if call is None:
        raise ArgumentError(
            f"weights: {weights!r:.60} was given for a crawl; None, 'degree' or a callable is "
            "needed, as nodes are not known before"
        )

    def weigh(nodes: Ids) -> Any:
        found = NodeFunction("weights", lambda some: call(nodes[some]), len(nodes))
        values = found.at(np.arange(len(nodes)))
        if not found.scalar:
            raise TargetError(f"weights: gave {values.shape[1]} columns; one is needed")
        return np.ascontiguousarray(values[:, 0])

    return weigh, "table"


def _starts(start: Any, n_walkers: int) -> Ids:
    if start is None:
        raise ArgumentError("start: a crawl needs to know a node where to start")
    nodes = np.atleast_1d(taken("start", start))
    if nodes.dtype.kind not in "iu" or nodes.ndim != 1 or len(nodes) not in (1, n_walkers):
        raise ArgumentError(
            f"start: {start!r:.60} was given; a node, or one for each of {n_walkers} walkers, is "
            "needed"
        )
    return np.ascontiguousarray(np.broadcast_to(nodes, n_walkers), dtype=np.int64)


def crawl(
    crawler: Crawler,
    n_steps: int,
    refused: dict[str, bool],
    *,
    record: str,
    burn_in: int,
    thin: int,
    progress: bool | Report | None,
) -> Crawl:
    """What `walk` does on an oracle."""
    for name, given in refused.items():
        if given:
            raise ArgumentError(
                f"{name}: given for a graph that is known by asking; leave it out, or drive a "
                "fermiac.walks.Crawler"
            )
    steps = whole("n_steps", n_steps, 1, 2**32 - 1)
    burned = whole("burn_in", burn_in, 0, steps - 1)
    if burned:
        crawler._burn(burned, progress)
    return crawler.run(steps - burned, record=record, thin=thin, progress=progress)
