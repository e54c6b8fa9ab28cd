"""The call `fermiac.walks.walk`, which walks on a graph."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.plan import PlanLike, alone, plan_of
from fermiac._base.progress import reporter
from fermiac._base.validate import RngLike, choice, key_of, real, shown, whole
from fermiac.errors import ArgumentError, FermiacWarning
from fermiac.runs.checkpoint import RunCheckpoint
from fermiac.runs.loop import run_and_warn
from fermiac.runs.parts import keeps_state
from fermiac.walks.chains import CHAINS, Base
from fermiac.walks.conversions import as_graph
from fermiac.walks.graph import Graph
from fermiac.walks.job import Job, check_ways_back, initial_nodes, restart_of
from fermiac.walks.kernels import (
    SRRW,
    WALK_KERNELS,
    Alpha,
    HistoryKernel,
    Kernel,
    Plain,
    exponent,
    kernel_of,
)
from fermiac.walks.memory import BLOCK as STREAM
from fermiac.walks.memory import require_room
from fermiac.walks.node_functions import NodeFunction, NodeFunctionLike
from fermiac.walks.oracle import Crawler, Oracle, crawl
from fermiac.walks.parts import CALL, OF_CALL, walk_in_parts
from fermiac.walks.result import WalkResult
from fermiac.walks.run import KIND, OnBlock, WalkLoop, identity_of
from fermiac.walks.self_avoiding import avoiding
from fermiac.walks.settling import burn_in_of, is_auto, pays, settling_of
from fermiac.walks.stop import StopAtStderr
from fermiac.walks.visit_law import Law, law_of, prior_of

__all__ = ["BLOCK", "MOST_STEPS", "walk"]

_HISTORIES = ("private", "shared_sync", "shared_async")
#: Nodes in a block of steps.
BLOCK = 2**18
#: The largest number of steps that histories count.
MOST_STEPS = 2**32 - 1


@public
def walk(
    graph: Any,
    kernel: Kernel | Literal["auto"] = "auto",
    base: Base | Literal["auto"] = "auto",
    alpha: Alpha | None = None,
    weights: str | NodeFunctionLike | None = None,
    init: ArrayLike | None = None,
    n_steps: int = 10**6,
    n_walkers: int = 64,
    rng: RngLike = None,
    *,
    f: NodeFunctionLike | None = None,
    record: Literal["visits", "path", "none"] = "visits",
    burn_in: int | str = "auto",
    thin: int = 1,
    step_exponent: float = 1.0,
    pseudo_counts: str | ArrayLike | Mapping[Any, float] = "target",
    history: Literal["private", "shared_sync", "shared_async"] = "private",
    memory_size: int | None = None,
    component: Literal["error", "start", "largest"] = "error",
    on_stuck: Literal["error", "stop", "restart"] = "error",
    restart: float = 0.0,
    stop: StopAtStderr | None = None,
    on_block: OnBlock | None = None,
    block_size: int | None = None,
    first_walker: int = 0,
    plan: PlanLike | None = None,
) -> WalkResult:
    r"""Walk on a graph, with walkers that remember their visits.

    Every walker has its own history, which keeps it away from nodes that it has visited too often.
    Averages along its path therefore converge faster than those of the base chain.

    Parameters
    ----------
    graph : graph
        A `Graph`, a sparse matrix of SciPy, a graph of networkx or igraph, arrays (indptr, indices)
        or an array of edges; see `as_graph`. For an `Oracle` the walk is made by a `Crawler`, with
        its limitations.
    kernel : str or kernel, default "auto"
        The effect of history; a name, or an object such as ``SRRW(alpha=10)``. ``"hdt"`` (`HDT`):
        the target is reduced at nodes that were visited too often [1]_; for any base with a target,
        and without extra cost per step. ``"srrw"`` (`SRRW`): the probabilities of the base are
        multiplied by (visits / target) to the power of -alpha [2]_; each step reads all neighbours.
        ``"tsaw"`` (`TSAW`): they are multiplied by exp(-alpha (visits - expected visits)); errors
        fall like 1 / n [3]_. ``"none"`` (`Plain`): the base chain. ``"rotor"`` (`Rotor`): the edges
        of each node in turn. ``"saw"`` (`SAW`): to nodes not yet visited. ``"auto"``: ``"srrw"`` if
        there are enough steps per node for a gain from history (see the notes), else ``"none"``;
        for an `Oracle` always ``"none"``. With a setting of the history (`alpha`, `step_exponent`,
        `pseudo_counts`, `history`, `memory_size`) it is ``"hdt"``.
    base : str or base chain, default "auto"
        The base chain; a name, or an object such as ``MTM(n_tries=4)``. ``"auto"`` is ``"mhrw"``
        for ``"srrw"`` and ``"tsaw"``, else ``"mhda"``. Towards a target:
        ``"mhda"`` (`MHDA`: Metropolis–Hastings with delayed acceptance, which seldom turns back),
        ``"mhrw"`` (`MHRW`: Metropolis–Hastings), ``"barker"`` (`Barker`), ``"mtm"`` (`MTM`). With a
        fixed law, given after the semicolon: ``"srw"`` (`SRW`: uniform neighbours; by degree),
        ``"weighted"`` (`Weighted`: by the weights of edges; by strength), ``"nbrw"`` (`NBRW`: never
        back; by degree), ``"maxdeg"`` (`MaxDegree`; uniform), ``"node2vec"`` (`Node2Vec`; unknown).
        `Lazy` stays with some probability. With ``"hdt"``, ``"srw"`` and ``"nbrw"`` mean the chains
        ``"mhrw"`` and ``"mhda"`` towards the degrees, which without history accept all moves.
    alpha : float or tuple, optional
        The strength of repellence: a number; ``("linear", a0, a1, n1)``, which rises until step n1;
        or ``("log", a, a1)``, a ln(e + n) up to a1. The default is that of the kernel, 5.0. The
        variance of averages is proportional to 1 / (2 alpha + 1).
    weights : None, "degree", array_like, mapping or callable, default None
        The target, up to a factor: positive numbers for all nodes, a mapping, or a function that
        returns them for an array of nodes (labels if the graph has labels, see
        `WalkResult.expect`). The default is uniform. Bases with a fixed law accept no target.
    init : None, a node or array_like of nodes, shape (n_walkers,), default None
        The first node of each walker, for instance ``["a", "b"]``; by default drawn from the law of
        the walk. If the graph has labels, nodes are given by labels, or by number if no label is a
        whole number.
    n_steps : int, default 1_000_000
        The number of steps of each walker.
    n_walkers : int, default 64
        The number of walkers. Errors come from their spread, so take at least 8.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
    f : array_like, mapping, callable, native function or torch module, optional
        The function of the nodes that ``walk.expect()`` averages; see `WalkResult.expect`.
        ``stop=`` and ``record="none"`` need it.
    record : {"visits", "path", "none"}, default "visits"
        The record of the walk: the visits of each walker to each node, the whole paths, or, with
        `f` or `on_block`, neither.
    burn_in : int or "auto", default "auto"
        The number of first steps of each walker that do not count in averages. They remain in the
        history. ``"auto"`` waits until histories have settled (see the notes); 0 for ``"none"`` and
        ``"saw"``.
    thin : int, default 1
        Keep every `thin`-th node of the paths.
    step_exponent : float, default 1.0
        The exponent of the step size of the history's measure, (n + 1)^-step_exponent, above 0.5
        and up to 1. Below 1 the history forgets the first steps sooner, but stays noisy: averages
        have a bias that falls only like that power of n.
    pseudo_counts : {"target", "uniform", "degree"}, array_like or mapping, default "target"
        The initial visits of a history, one per node on average; by default proportional to the
        target, so that no node is preferred at first.
    history : {"private", "shared_sync", "shared_async"}, default "private"
        Each walker has its own history; or all walkers share one, which is updated after each step
        of all walkers (``"shared_sync"``), or immediately, in no fixed order (``"shared_async"``).
        With ``"shared_async"`` results are not reproducible. Walkers that share a history are not
        replicas, so they give no standard error.
    memory_size : int, optional
        The number of last visited nodes that a history stores; the visits of other nodes are
        estimated from neighbours. It saves memory, but has no theory, and the law only approximates
        the target; ``expect`` warns about this. For ``kernel="hdt"``.
    component : {"error", "start", "largest"}, default "error"
        The treatment of a graph with several components: refuse it, or walk in the component of
        `init`, or in the largest one. The law is then that of the component.
    on_stuck : {"error", "stop", "restart"}, default "error"
        The treatment of nodes without outgoing edges: refuse such graphs, stay, or go back to the
        first node.
    restart : float, default 0.0
        The probability of going back to the first node instead of making a step.
    stop : StopAtStderr, optional
        A rule that ends the walk before `n_steps`, once the averages of `f` are accurate enough.
    on_block : callable, optional
        A function that is called with the nodes of the paths, in blocks of shape (n_walkers,
        block_size), for your own statistics or files.
    block_size : int, optional
        The number of steps of a block; by default about 260 000 divided by the number of walkers.
    first_walker : int, default 0
        The index of the first walker, a multiple of 8. Walkers 8 to 15 of a call with 16 walkers
        are those of a call with 8 walkers and ``first_walker=8``, if kernel and burn-in are given.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``, ``part``); see
        `fermiac.Plan`. ``part``: (i, n): compute part i, counted from 0, of n parts of this call.
        Each part has its own walkers, and `fermiac.merge` joins the parts. ``store``: a folder for
        the positions and histories of the walkers. The same call resumes a walk that was killed, to
        the same bits; with a larger `n_steps` it extends a finished one. `on_block` gets the blocks
        after the last write again. With an executor or a part the folder has files of finished
        walkers instead, which parts can share; these need `rng`. See `fermiac.merge`.

    Returns
    -------
    WalkResult
        A `fermiac.Sample` over the nodes: ``visits``, ``walker_visits``, ``paths``, ``acceptance``,
        and the methods ``expect``, ``stderr``, ``estimate_size``, ``degree_distribution``.

    Raises
    ------
    ArgumentError
        For an argument outside its domain, a kernel that does not fit the base or the graph, a
        graph with several components, or a first node without edges.
    MemoryLimitError
        If the visits or paths would take more memory than the machine has.
    TargetError
        If `f` or `weights` returns a wrong shape, a NaN or an infinity.
    CheckpointError
        If a file in the store is damaged, belongs to another walk, or cannot be written.
    KeyboardInterrupt
        On Ctrl-C. This and every other exception has the walk so far as ``partial_result``, or
        None.

    Warns
    -----
    FermiacWarning
        If the graph is bipartite and the walk has period 2, or if nodes have no edges.

    Notes
    -----
    The history of walker w is the measure :math:`x = (c^0 + c_w) / (|c^0| + n)`, with the visits
    :math:`c_w` and pseudo-counts :math:`c^0`. HDT runs its base towards :math:`w_i (x_i /
    w_i)^{-\alpha}`; only ratios between neighbours are used. Without repellence it makes the same
    steps as its base. Every 8 walkers share a stream of random numbers. Walks do not depend on
    threads, on the record, or on interruptions. With more walkers and the same key, the first
    complete groups of 8 walkers make the same steps.

    A short history is mostly noise, and makes walkers prefer nodes of high degree. The time until
    histories have settled is proportional to the number of nodes and to the mean time :math:`\tau`
    that the base stays at a node drawn from its law (1 if degrees are equal, 2 to 5 on most
    networks, 100 on stars). It is :math:`(4 + \alpha / 4) \tau` steps per node for ``"srrw"`` and
    ``"tsaw"``, :math:`(15 + \alpha) \tau` for ``"hdt"`` and 4 for ``"rotor"``. If the number of
    nodes N times the number of walkers W exceeds 64000, it is multiplied by :math:`(N W /
    64000)^{1/4}`. The automatic burn-in is twice this time, but at least a sixteenth and at most
    half of the steps; for ``"hdt"`` it is always half of them. The automatic kernel is ``"srrw"``
    if the walk is at least eight times as long as this time and nodes have at most 32 neighbours on
    average. `WalkResult.kernel`, `burn_in`, `settling`, `chosen` and ``summary()`` show the
    choices, and ``expect`` warns about histories that had not settled.

    References
    ----------
    .. [1] J. Hu, Y.-T. Ma, D. Y. Eun, "Beyond self-repellent kernels: history-driven target towards
       efficient nonlinear MCMC on general graphs", ICML, 2025, arXiv:2505.18300.
    .. [2] V. Doshi, J. Hu, D. Y. Eun, "Self-repellent random walks on general graphs", ICML, 2023,
       arXiv:2305.05097.
    .. [3] D. J. Amit, G. Parisi, L. Peliti, "Asymptotic behavior of the 'true' self-avoiding walk",
       Physical Review B, 1983, doi:10.1103/PhysRevB.27.1635.
    .. [4] C.-H. Lee, X. Xu, D. Y. Eun, "Beyond random walk and Metropolis-Hastings samplers: why
       you should not backtrack for unbiased graph sampling", SIGMETRICS, 2012,
       doi:10.1145/2254756.2254795.

    Examples
    --------
    The share of the nodes 0 to 5 on two cliques joined by a bridge, with and without history:

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
    where = plan_of(plan, "executor", "store", "part")
    given = {name: value for name, value in locals().items() if name not in OF_CALL}
    begun = time.perf_counter()
    is_set = {
        "alpha": alpha is not None,
        "step_exponent": real("step_exponent", step_exponent) != 1.0,
        "pseudo_counts": not isinstance(pseudo_counts, str) or pseudo_counts != "target",
        "history": choice("history", history, _HISTORIES) != "private",
        "memory_size": memory_size is not None,
    }
    # A setting of the history excludes the plain walk.
    free = is_auto(kernel) and not any(is_set.values())
    strategy = Plain() if free else kernel_of(kernel, alpha, known=WALK_KERNELS)
    own_base: Base = strategy.default_base if is_auto(base) else base  # type: ignore[assignment]
    if isinstance(graph, Oracle):
        crawler = Crawler(
            graph,
            strategy,
            own_base,
            None,
            weights,
            init,
            n_walkers,
            rng,
            restart=restart,
            on_stuck="stop" if on_stuck == "error" else on_stuck,
        )
        unfit = {
            "f": f is not None,
            **{name: given for name, given in is_set.items() if name != "alpha"},
            "component": component != "error",
            "stop": stop is not None,
            "on_block": on_block is not None,
            "first_walker": whole("first_walker", first_walker, 0, 2**48) != 0,
            "executor": where.executor is not None,
            "part": where.part is not None,
            "store": where.store is not None,
        }
        return crawl(
            crawler,
            n_steps,
            unfit,
            record=record,
            burn_in=burn_in,
            thin=thin,
            plan=alone(n_threads=where.n_threads, progress=where.progress),
        )
    in_parts = where.executor is not None or where.part is not None or where.store is not None
    if in_parts and not keeps_state(where):
        if strategy.ends:
            raise ArgumentError(
                f"kernel: {strategy.name!r} given with executor=, part= or store=, but "
                "self-avoiding walks have random lengths; make separate calls with other seeds"
            )
        return walk_in_parts(
            graph,
            given,
            n_walkers=n_walkers,
            first_walker=first_walker,
            part=where.part,
            store=where.store,
            rng=rng,
            executor=where.executor,
            n_threads=where.n_threads,
            progress=where.progress,
        )
    net = as_graph(graph)
    chain = strategy.base(CHAINS.resolve(own_base))
    check_ways_back(strategy, chain, net)
    steps = whole("n_steps", n_steps, 1, MOST_STEPS)
    many = whole("n_walkers", n_walkers, 1, 2**40)
    first = whole("first_walker", first_walker, 0, 2**48)
    if first % STREAM:
        raise ArgumentError(
            f"first_walker: {first} given; a multiple of {STREAM} is needed, the number of walkers "
            "that share a stream of random numbers"
        )
    # A part of a call makes the same choices as the whole call.
    around = CALL.get()
    origin, all_of_call = (first, many) if around is None else around
    choice("record", record, ("visits", "path", "none"))
    choice("on_stuck", on_stuck, ("error", "stop", "restart"))
    if not is_auto(burn_in):
        whole("burn_in", burn_in, 0, steps - 1)
    every = whole("thin", thin, 1, steps)
    if every > 1 and record != "path":
        raise ArgumentError(f"thin: {every} was given with record={shown(record)}; it thins paths")
    forgetting = _step_exponent(step_exponent, strategy)
    size = _memory_size(memory_size, strategy, history, forgetting)
    workers = resolve_threads(where.n_threads)
    function = None if f is None else NodeFunction("f", f, net.n_nodes, net._node_labels)
    _check_streams(record, function, stop, on_block, many)
    if stop is not None and history != "private" and strategy.repels:
        raise ArgumentError(
            f"stop: given with history={shown(history)}, under which walkers are not "
            "independent and their standard error is unknown; use history='private'"
        )
    nodes = None if init is None else initial_nodes(init, all_of_call, None, net, 0)
    allowed, notes = net._check_walkable(nodes, component, on_stuck)
    homeward = restart_of(restart, strategy, chain)
    known = strategy.has_closed_law and chain.has_closed_law and homeward == 0.0
    if strategy.is_base and net.directed:
        known = known and net.is_symmetric
    law = law_of(net, chain, weights, allowed) if known else None
    if law is None and weights is not None:
        raise ArgumentError("weights: given for a walk whose law cannot be chosen; leave them out")
    prior = None if law is None else prior_of(law, pseudo_counts)
    kept = RunCheckpoint.of(where, KIND)
    key = key_of(rng) if kept is None else kept.key(rng)
    if free and law is not None and not net.directed and homeward == 0.0:
        longer = SRRW()
        bent = CHAINS.resolve(longer.default_base) if is_auto(base) else chain
        known_kernel = None if kept is None else kept.recorded("kernel")
        if bent.scans and (
            known_kernel == longer.name
            if isinstance(known_kernel, str)
            else pays(longer, bent, net, law, all_of_call, steps)
        ):
            strategy, chain = longer, bent
    settling = settling_of(strategy, chain, net, law, all_of_call, history != "private")
    if kept is None or not is_auto(burn_in):
        burned = burn_in_of(burn_in, strategy, settling, steps)
    else:
        with kept.decoding():
            burned = burn_in_of(kept.recorded("burn_in", burn_in), strategy, settling, steps)
    job = Job(
        graph=net,
        kernel=strategy,
        base=chain,
        law=law,
        prior=prior,
        pseudo_counts=pseudo_counts if isinstance(pseudo_counts, str) else "given",
        step_exponent=forgetting,
        history=history,
        memory_size=size,
        restart=homeward,
        on_stuck=on_stuck,
        start=_starts(init, first, many, origin, all_of_call, law, net, key),
        first_walker=first,
        n_steps=steps,
        burn_in=burned,
        thin=every,
        record=record,
        key=key,
        settling=settling,
        drawn=init is None and law is not None,
        chosen=tuple(
            name
            for name, argument in (("kernel", kernel), ("base", base), ("burn_in", burn_in))
            if is_auto(argument)
        ),
    )
    if strategy.ends:
        refused = {
            "burn_in": not is_auto(burn_in) and burned,
            "thin": every - 1,
            "f": f is not None,
            "stop": stop is not None,
            "on_block": on_block is not None,
            "store": kept is not None,
            "first_walker": first,
        }
        return avoiding(job, refused, workers, where.progress, begun)
    walkers = job.walkers()
    block = (
        max(BLOCK // all_of_call, 1)
        if block_size is None
        else whole("block_size", block_size, 1, MOST_STEPS)
    )
    room = 8 * many * min(block, steps)
    require_room(room, f"a block of {many} walkers", "give a smaller block_size")
    with reporter(where.progress, "walk", "steps") as report:
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
            # Walkers that are a part of a call are not extended.
            keep_state=around is None,
            report=report,
            start=begun,
        )
        found = [(FermiacWarning, text) for text in [*notes, *_notes(job)]]
        return run_and_warn(loop.run, lambda _: found)


def _starts(
    init: Any,
    first: int,
    n: int,
    origin: int,
    all_of_call: int,
    law: Law | None,
    graph: Graph,
    key: int,
) -> NDArray[np.int64]:
    """Return the first nodes of walkers `first` to `first` + n - 1."""
    if init is None:
        return initial_nodes(None, first + n, law, graph, key)[first:]
    return initial_nodes(init, all_of_call, law, graph, key)[first - origin :][:n]


def _step_exponent(given: Any, kernel: HistoryKernel) -> float:
    value = exponent("step_exponent", given)
    if value < 1.0 and not kernel.has_measure:
        raise ArgumentError(
            f"step_exponent: {value:g} was given with kernel={kernel.name!r}, which has no measure "
            "that forgets; take 'hdt' or 'srrw'"
        )
    return value


def _memory_size(
    given: Any, kernel: HistoryKernel, history: str, step_exponent: float
) -> int | None:
    if history == "shared_async" and step_exponent < 1.0:
        raise ArgumentError(
            "history: 'shared_async' was given with a step_exponent below 1, for which visits must "
            "come in order; take 'shared_sync'"
        )
    if given is None:
        return None
    size = whole("memory_size", given, 1, 2**31)
    if not kernel.allows_memory_size or history != "private" or step_exponent < 1.0:
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
            raise ArgumentError(
                f"stop: {shown(stop)} given; a fermiac.walks.StopAtStderr is needed"
            )
        if f is None:
            raise ArgumentError("stop: given without f=, the function to average")
        if n_walkers < 2:
            raise ArgumentError("stop: one walker gives no standard error; use more")
    if on_block is not None and not callable(on_block):
        raise ArgumentError(f"on_block: {shown(on_block)} given; a callable is needed")
    if record == "none" and f is None and on_block is None:
        raise ArgumentError(
            "record: 'none' was given without f= or on_block=, so that the walk would return "
            "nothing; give one of them, or record='visits' or 'path'"
        )


def _notes(job: Job) -> list[str]:
    """Return the warnings that are given before the walk."""
    alternates = job.base.always_moves and job.restart == 0.0 and job.kernel.is_plain
    if alternates and job.law is not None and job.graph.components.bipartite.all():
        return [
            "the graph is bipartite, so that a walk without repellence is at one side in every "
            "second step; averages are right, but the law of the last node does not converge; "
            "with fm.walks.Lazy(base) it does"
        ]
    return []
