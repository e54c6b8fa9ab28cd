"""The call that walks on a graph."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from fermiac._base.config import resolve_threads
from fermiac._base.progress import reporter
from fermiac._base.validate import RngLike, choice, key_of, whole, yes
from fermiac.errors import ArgumentError, FermiacWarning
from fermiac.runs.checkpoint import RunCheckpoint
from fermiac.runs.loop import run_and_warn
from fermiac.walks.chains import Base, Node2Vec, base_of, inner_of
from fermiac.walks.conversions import as_graph
from fermiac.walks.graph import Graph
from fermiac.walks.job import Alpha, Job, check_kernel, restart_of, schedule_of, starts
from fermiac.walks.memory import require_room
from fermiac.walks.node_functions import NodeFunction, NodeFunctionLike
from fermiac.walks.oracle import Crawler, Oracle, crawl
from fermiac.walks.result import Walk
from fermiac.walks.run import KIND, OnBlock, WalkLoop, identity_of
from fermiac.walks.self_avoiding import avoiding
from fermiac.walks.stop import StopAtStderr
from fermiac.walks.variance import exponent_of
from fermiac.walks.visit_law import law_of, prior_of

if TYPE_CHECKING:
    from os import PathLike

    from fermiac._base.progress import Report
    from fermiac.runs.checkpoint import Checkpoint

__all__ = ["BLOCK", "MOST_STEPS", "walk"]

#: Numbers of a block.
BLOCK = 2**18
#: Steps that histories count.
MOST_STEPS = 2**32 - 1


def walk(
    graph: Any,
    kernel: str = "hdt",
    base: Base = "mhda",
    alpha: Alpha = 5.0,
    weights: str | NodeFunctionLike | None = None,
    start: ArrayLike | None = None,
    n_steps: int = 10**6,
    n_walkers: int = 64,
    rng: RngLike = None,
    *,
    f: NodeFunctionLike | None = None,
    record: str = "visits",
    burn_in: int = 0,
    thin: int = 1,
    step_exponent: float = 1.0,
    pseudo_counts: str | ArrayLike = "target",
    history: str = "private",
    memory_size: int | None = None,
    component: str = "error",
    on_stuck: str = "error",
    restart: float = 0.0,
    stop: StopAtStderr | None = None,
    on_block: OnBlock | None = None,
    block_size: int | None = None,
    keep_state: bool = True,
    checkpoint: str | PathLike[str] | Checkpoint | None = None,
    n_threads: int | None = None,
    progress: bool | Report | None = None,
) -> Walk:
    r"""Walk on a graph, with walkers that know where they have been.

    Every walker has a history of its own, which keeps it from where it has been too often, so that
    averages along its way settle sooner than those of the base chain.

    Parameters
    ----------
    graph : graph
        A `Graph`, a sparse matrix of SciPy, a graph of networkx or igraph, arrays (indptr, indices)
        or an array of edges; see `as_graph`. An `Oracle` is walked on by a `Crawler`, whose
        limits it has.
    kernel : {"hdt", "srrw", "tsaw", "none", "rotor", "saw"}, default "hdt"
        What history does. ``"hdt"``: the target is bent away from nodes that were visited too often
        [1]_; any base with a target, at its own price. ``"srrw"``: the probabilities of the base
        are multiplied by (visits / target) to the power of -alpha [2]_, which takes a look at all
        neighbours in each step. ``"tsaw"``: by exp(-alpha (visits - expected visits)), whose error
        falls like 1 / n [3]_. ``"none"``: the base chain. ``"rotor"``: the exits of each node in
        turn. ``"saw"``: to nodes not yet visited.
    base : str, Lazy, MTM or Node2Vec, default "mhda"
        The chain that history bends. Towards a target: ``"mhda"`` (Metropolis and Hastings with
        delayed acceptance, which seldom turns back), ``"mhrw"`` (Metropolis and Hastings),
        ``"barker"``, ``"mtm"`` (`MTM`). With a law of its own: ``"srw"`` (a neighbour, each as
        likely; by degree), ``"weighted"`` (by the weights of edges; by strength), ``"nbrw"`` (never
        back; by degree), ``"maxdeg"`` (uniform), `Node2Vec` (unknown). `Lazy` stays now and then.
        ``"hdt"`` bends ``"srw"`` and ``"nbrw"`` as the chains ``"mhrw"`` and ``"mhda"`` towards the
        degrees, which they are while nothing is bent.
    alpha : float or tuple, default 5.0
        The strength of repellence; a number, ``("linear", a0, a1, n1)``, which rises to step n1, or
        ``("log", a, a1)``, a ln(e + n) up to a1. The variance of averages falls like
        1 / (2 alpha + 1).
    weights : None, "degree", array_like or callable, default None
        The target, up to a factor: numbers above 0 for all nodes, or a function of nodes, an int64
        array, that gives them; by default uniform. Bases with a law of their own take none.
    start : None, int or array_like of int, shape (n_walkers,), default None
        Where walkers start: numbers of nodes, or names where these are texts; by default nodes that
        are drawn from the law of the walk.
    n_steps : int, default 1_000_000
        Steps of each walker.
    n_walkers : int, default 64
        Walkers; errors come from their spread, so take 8 at least.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
    f : array_like, callable, native function or torch module, optional
        The function of the nodes that ``walk.expect()`` averages; see `Walk.expect`. ``stop=`` and
        ``record="none"`` need it.
    record : {"visits", "path", "none"}, default "visits"
        What is kept: how often each walker was at each node, the whole paths, or, with `f` or
        `on_block`, neither.
    burn_in : int, default 0
        The first steps of each walker, which do not count. The history keeps them.
    thin : int, default 1
        Steps for each node of the paths.
    step_exponent : float, default 1.0
        The measure of the history moves by (n + 1) to the power of minus this, from above 0.5 to 1.
        Below 1 it forgets the first steps sooner, but is never quiet: averages have a bias that
        falls like that power of n alone.
    pseudo_counts : {"target", "uniform", "degree"} or array_like, default "target"
        Visits that a history begins with, one a node on average: in the shape of the target, so
        that no node is preferred at first.
    history : {"private", "shared_sync", "shared_async"}, default "private"
        Whether each walker has a history of its own, or all have one, which grows once all have
        made their step, or at once, whoever comes first. With ``"shared_async"`` results are not
        reproducible. Walkers that share a history are no replicas: errors come from private ones.
    memory_size : int, optional
        Nodes that a history keeps, those of the last visits; the visits of others are guessed from
        neighbours. It saves memory, has no theory, and comes only near the target, which
        ``expect`` warns of. For ``kernel="hdt"``.
    component : {"error", "start", "largest"}, default "error"
        What to do with a graph of several components: refuse it, or walk in that of the start, or
        in the largest; the law is that of the component then.
    on_stuck : {"error", "stop", "restart"}, default "error"
        What to do where no arc leads on: refuse such graphs, stay, or go back to the start.
    restart : float, default 0.0
        The probability to go back to the start, instead of a step.
    stop : StopAtStderr, optional
        End before `n_steps`, once the averages of `f` are known well enough.
    on_block : callable, optional
        Takes the nodes after each step as they come, blocks of shape (n_walkers, block_size): for
        statistics of one's own, or to write them somewhere.
    block_size : int, optional
        Steps of a block; by default about 260 000 over the number of walkers.
    keep_state : bool, default True
        Keep what `extend` needs to go on.
    checkpoint : str, path-like or Checkpoint, optional
        A file that keeps where walkers stand and what they remember; the same call resumes a walk
        that was killed from it, to the same bits, and with a larger `n_steps` makes a finished one
        longer. `on_block` gets the blocks again that came after the last writing.
    n_threads : int, optional
        Worker threads; see `fermiac.set_num_threads`. Never changes the result, but of
        ``history="shared_async"``.
    progress : bool or callable, optional
        Show a progress bar (by default on a terminal only), or call this with (done, total) steps
        of all walkers, about ten times a second.

    Returns
    -------
    Walk
        A `fermiac.Sample` over the nodes: ``visits``, ``walker_visits``, ``paths``, ``acceptance``,
        and the methods ``expect``, ``stderr``, ``estimate_size``, ``degree_distribution``.

    Raises
    ------
    ArgumentError
        For an argument outside its domain, a kernel that does not go with the base or the graph, a
        graph of several components, a start from which no edge leads.
    MemoryLimitError
        If the visits or paths would take more memory than the machine has.
    TargetError
        If `f` or `weights` gives a wrong shape, a NaN or an infinity.
    CheckpointError
        If the checkpoint is damaged, belongs to another walk, or cannot be written.
    KeyboardInterrupt
        On Ctrl-C. This and every other exception has the walk so far as ``partial_result``, or
        None.

    Warns
    -----
    FermiacWarning
        If the graph is bipartite and nothing breaks the period of two, or has nodes without edges.

    Notes
    -----
    A history of walker w is the measure :math:`x = (c^0 + c_w) / (|c^0| + n)`, with the visits
    :math:`c_w` and pseudo-counts :math:`c^0`. HDT runs its base towards :math:`w_i (x_i /
    w_i)^{-\alpha}`; only ratios of neighbours are ever used. Without repellence it makes the same
    steps as its base. The walkers of each 8 share a stream of random numbers, so that walks do not
    depend on threads, on what is recorded, nor on how often they are interrupted and resumed; with
    more walkers of the same key the first ones, 8 by 8, walk as before.

    References
    ----------
    .. [1] J. Hu, Y.-T. Ma, D. Y. Eun, "Beyond self-repellent kernels: history-driven target towards
       efficient nonlinear MCMC on general graphs", ICML, 2025.
    .. [2] V. Doshi, J. Hu, D. Y. Eun, "Self-repellent random walks on general graphs", ICML, 2023.
    .. [3] D. J. Amit, G. Parisi, L. Peliti, "Asymptotic behavior of the 'true' self-avoiding walk",
       Physical Review B, 1983.
    .. [4] C.-H. Lee, X. Xu, D. Y. Eun, "Beyond random walk and Metropolis-Hastings samplers: why
       you should not backtrack for unbiased graph sampling", SIGMETRICS, 2012.

    Examples
    --------
    The share of nodes below 6 on two cliques and a bridge, with and without history:

    >>> import numpy as np, fermiac as fm
    >>> clique = [[i, j] for i in range(6) for j in range(i)]
    >>> edges = np.array(clique + [[i + 6, j + 6] for i, j in clique] + [[0, 6]])
    >>> below = np.arange(12) < 6
    >>> e = fm.walks.walk(edges, n_steps=5000, rng=0).expect(below)
    >>> bool(abs(e.mean - 0.5) < 5 * e.stderr)
    True
    >>> plain = fm.walks.walk(edges, "none", n_steps=5000, rng=0).expect(below)
    >>> bool(plain.stderr > 2 * e.stderr)
    True
    """
    begun = time.perf_counter()
    if isinstance(graph, Oracle):
        crawler = Crawler(
            graph,
            kernel,
            base,
            alpha,
            weights,
            start,
            n_walkers,
            rng,
            restart=restart,
            on_stuck="stop" if on_stuck == "error" else on_stuck,
        )
        unfit = {
            "f": f is not None,
            "step_exponent": step_exponent != 1.0,
            "pseudo_counts": pseudo_counts != "target",
            "history": history != "private",
            "memory_size": memory_size is not None,
            "component": component != "error",
            "stop": stop is not None,
            "on_block": on_block is not None,
            "checkpoint": checkpoint is not None,
        }
        return crawl(
            crawler,
            n_steps,
            unfit,
            record=record,
            burn_in=burn_in,
            thin=thin,
            progress=progress,
        )
    net = as_graph(graph)
    chain = base_of(base)
    name = check_kernel(kernel, chain, net)
    if name in ("rotor", "saw"):
        chain = "srw"
    schedule = schedule_of(alpha) if name in ("srrw", "hdt", "tsaw") else schedule_of(0.0)
    steps = whole("n_steps", n_steps, 1, MOST_STEPS)
    many = whole("n_walkers", n_walkers, 1, 2**40)
    choice("record", record, ("visits", "path", "none"))
    choice("history", history, ("private", "shared_sync", "shared_async"))
    choice("on_stuck", on_stuck, ("error", "stop", "restart"))
    burned = whole("burn_in", burn_in, 0, steps - 1)
    every = whole("thin", thin, 1, steps)
    keep_state = yes("keep_state", keep_state)
    if every > 1 and record != "path":
        raise ArgumentError(f"thin: {every} was given with record={record!r}; it thins paths")
    exponent = _exponent(step_exponent, name)
    size = _memory_size(memory_size, name, history, exponent)
    workers = resolve_threads(n_threads)
    function = None if f is None else NodeFunction("f", f, net.n_nodes)
    _check_streams(record, function, stop, on_block, many)
    if stop is not None and history != "private" and name in ("srrw", "hdt", "tsaw"):
        raise ArgumentError(
            f"stop: given with history={history!r}, under which walkers are no replicas, so that "
            "no error is known; take history='private'"
        )
    nodes = None if start is None else starts(start, many, None, net, 0)
    allowed, notes = net._check_walkable(nodes, component, on_stuck)
    homeward = restart_of(restart, name, chain)
    unknown = homeward > 0 or _is_unknown(name, chain, net)
    law = None if unknown else law_of(net, chain, weights, allowed)
    if law is None and weights is not None:
        raise ArgumentError("weights: given for a walk whose law cannot be chosen; leave them out")
    prior = None if law is None else prior_of(law, pseudo_counts)
    kept = None if checkpoint is None else RunCheckpoint(checkpoint, KIND)
    key = key_of(rng) if kept is None else kept.key(rng)
    job = Job(
        graph=net,
        kernel=name,
        base=chain,
        alpha=schedule,
        law=law,
        prior=prior,
        pseudo_counts=pseudo_counts if isinstance(pseudo_counts, str) else "given",
        step_exponent=exponent,
        history=history,
        memory_size=size,
        restart=homeward,
        on_stuck=on_stuck,
        start=starts(start, many, law, net, key),
        n_steps=steps,
        burn_in=burned,
        thin=every,
        record=record,
        key=key,
    )
    if name == "saw":
        refused = {
            "burn_in": burned,
            "thin": every - 1,
            "f": f is not None,
            "stop": stop is not None,
            "on_block": on_block is not None,
            "checkpoint": kept is not None,
        }
        return avoiding(job, refused, workers, progress, begun)
    walkers = job.walkers()
    block = (
        max(BLOCK // many, 1)
        if block_size is None
        else whole("block_size", block_size, 1, MOST_STEPS)
    )
    room = 8 * many * min(block, steps)
    require_room(room, f"a block of {many} walkers", "give a smaller block_size")
    with reporter(progress, "walk", "steps") as report:
        if kept is not None:
            kept.begin(identity_of(job, function))
        loop = WalkLoop(
            job,
            walkers,
            workers=workers,
            f=function,
            on_block=on_block,
            block=block,
            stop=stop,
            checkpoint=kept,
            keep_state=keep_state,
            report=report,
            start=begun,
        )
        found = [(FermiacWarning, text) for text in [*notes, *_notes(job)]]
        return run_and_warn(loop.run, lambda _: found)


def _is_unknown(kernel: str, base: Base, graph: Graph) -> bool:
    """Whether the law of a walk has no closed form."""
    if kernel == "saw" or isinstance(inner_of(base)[0], Node2Vec):
        return True
    return graph.directed and not graph.is_symmetric and kernel == "none"


def _exponent(given: Any, kernel: str) -> float:
    value = exponent_of("step_exponent", given)
    if value < 1.0 and kernel not in ("srrw", "hdt"):
        raise ArgumentError(
            f"step_exponent: {value:g} was given with kernel={kernel!r}, which has no measure that "
            "forgets; take 'hdt' or 'srrw'"
        )
    return value


def _memory_size(given: Any, kernel: str, history: str, exponent: float) -> int | None:
    if history == "shared_async" and exponent < 1.0:
        raise ArgumentError(
            "history: 'shared_async' was given with a step_exponent below 1, for which visits must "
            "come in order; take 'shared_sync'"
        )
    if given is None:
        return None
    size = whole("memory_size", given, 1, 2**31)
    if kernel != "hdt" or history != "private" or exponent < 1.0:
        raise ArgumentError(
            "memory_size: it needs kernel='hdt', history='private' and step_exponent=1; leave it "
            "out"
        )
    return size


def _check_streams(
    record: str,
    f: NodeFunction | None,
    stop: StopAtStderr | None,
    on_block: OnBlock | None,
    n_walkers: int,
) -> None:
    if stop is not None:
        if not isinstance(stop, StopAtStderr):
            raise ArgumentError(f"stop: {stop!r:.60} given; a fermiac.walks.StopAtStderr is needed")
        if f is None:
            raise ArgumentError("stop: given without f=, the function whose average is to be known")
        if n_walkers < 2:
            raise ArgumentError("stop: one walker cannot tell an error; take more")
    if on_block is not None and not callable(on_block):
        raise ArgumentError(f"on_block: {on_block!r:.60} given; a callable is needed")
    if record == "none" and f is None and on_block is None:
        raise ArgumentError(
            "record: 'none' was given without f= or on_block=, so that nothing would come of the "
            "walk; give one of them, or record='visits' or 'path'"
        )


def _notes(job: Job) -> list[str]:
    """What the user must know before the walk."""
    inner, laziness = inner_of(job.base)
    turns = inner in ("srw", "weighted", "nbrw") and laziness == 0.0 and job.restart == 0.0
    alternates = turns and job.is_plain and job.law is not None
    if alternates and job.graph.components.bipartite.all():
        return [
            "the graph is bipartite, so that a walk without repellence is at one side in every "
            "second step; averages are right, but the law of the last node never settles: "
            "fm.walks.Lazy(base) does"
        ]
    return []
