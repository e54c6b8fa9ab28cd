"""Token optimisation: stochastic approximation along walks over a graph."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.ask import ask, real_answer
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import reporter
from fermiac._base.validate import RngLike, choice, key_of, shown, whole
from fermiac.errors import ArgumentError, ConvergenceWarning, FermiacWarning
from fermiac.runs.checkpoint import RunCheckpoint
from fermiac.runs.loop import run_and_warn
from fermiac.walks.api import MOST_STEPS
from fermiac.walks.chains import CHAINS, Base
from fermiac.walks.conversions import as_graph
from fermiac.walks.gradients import LossLike, as_loss
from fermiac.walks.graph import Graph
from fermiac.walks.job import Job, check_ways_back, initial_nodes
from fermiac.walks.kernels import Alpha, Kernel, exponent, kernel_of
from fermiac.walks.losses import Loss
from fermiac.walks.memory import require_room
from fermiac.walks.regressions import LeastSquares, Logistic
from fermiac.walks.replicates import OF_CALL, optimize_replicates
from fermiac.walks.token_result import OptimizeResult
from fermiac.walks.token_rule import Rule, initial_parameters
from fermiac.walks.token_run import KIND, Callback, Judge, TokenLoop, before_of
from fermiac.walks.visit_law import law_of, prior_of

if TYPE_CHECKING:
    from fermiac.walks.node_functions import NodeFunctionLike

__all__ = ["optimize"]

Array = NDArray[np.float64]
#: Records of a trace, and numbers in it, at most, by default.
_RECORDS, _NUMBERS = 200, 2**24


@public
def optimize(
    loss: LossLike,
    graph: Any,
    alpha: Alpha | None = None,
    a: float = 0.7,
    b: float = 0.9,
    n_steps: int = 10**5,
    rng: RngLike = None,
    *,
    init: ArrayLike | None = None,
    dim: int | None = None,
    kernel: Kernel = "srrw",
    base: Base = "mhrw",
    weights: str | NodeFunctionLike | None = None,
    pseudo_counts: str | ArrayLike = "target",
    init_nodes: ArrayLike | None = None,
    c: float = 1.0,
    step_sizes: ArrayLike | Callable[[NDArray[np.int64]], ArrayLike] | None = None,
    momentum: float = 0.0,
    average: bool | int = False,
    clip: float | None = None,
    projection: tuple[Any, ...] | None = None,
    batch_size: int | None = None,
    local_steps: int = 1,
    n_tokens: int = 1,
    sync: int | None = None,
    history: Literal["private", "shared_sync"] = "private",
    objective: bool | Callable[[Array], ArrayLike] | None = None,
    record_every: int | None = None,
    callback: Callback | None = None,
    callback_every: int | None = None,
    state: Mapping[str, Any] | None = None,
    replicates: int | None = None,
    plan: PlanLike | None = None,
) -> OptimizeResult:  # with replicates= OptimizeReplicates; the type is that of other calls
    r"""Minimise a mean of losses on the nodes of a graph, by a token that walks over it.

    The token carries parameters :math:`\theta`. In step n + 1 it moves from its node to the next,
    :math:`X_{n+1}`, along a self-repellent walk. The measure of visits then takes a step of size
    :math:`\gamma_{n+1}`, and the parameters take a gradient step:

    .. math:: \theta_{n+1} = \theta_n - \beta_{n+1} \nabla f_{X_{n+1}}(\theta_n), \qquad
              \beta_n = c\, (n + 1)^{-b}, \quad \gamma_n = (n + 1)^{-a}.

    They converge to the zero of the mean gradient under the law of the walk, with an error of the
    order :math:`\beta_n^{1/2}`. If b > a the measure settles first, and the variance of the
    parameters falls like :math:`\alpha^{-2}` [1]_.

    Parameters
    ----------
    loss : loss, callable, native function or torch module
        A `Quadratic`, `LeastSquares` or `Logistic`, which run in Rust; a function of parameters
        (n_tokens, d) and nodes (n_tokens,), int64, that returns gradients (n_tokens, d); a C
        function pointer (`NativeLoss`); or a torch module (`TorchLoss`).
    graph : graph
        Any object that `as_graph` accepts.
    alpha : float or tuple, optional
        The strength of repellence, as for `walk`; by default that of the kernel, 5.0.
    a, b : float, default 0.7 and 0.9
        The exponents of the step sizes, above 1/2, up to 1. With b = 1 the smallest eigenvalue of
        the mean Hessian must be above 1 / (2 c).
    n_steps : int, default 10**5
        Steps of each token.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
    init : array_like of shape (d,) or (n_tokens, d), optional
        The first parameters; by default zeros.
    dim : int, optional
        The number of parameters, if neither `init` nor the loss has it.
    kernel : {"srrw", "hdt", "none"} or kernel, default "srrw"
        The effect of history, as for `walk`.
    base : str or base chain, default "mhrw"
        The base chain, as for `walk`.
    weights : None, "degree", array, mapping or callable, optional
        The weight of each node, up to a factor. By default all nodes count the same (for bases with
        a fixed law: by that law).
    pseudo_counts : {"target", "uniform", "degree"} or array_like, default "target"
        The initial visits of histories, as for `walk`.
    init_nodes : a node or array_like of nodes, shape (n_tokens,), optional
        The first node of each token, by label if the graph has labels, as in `walk`; by default
        drawn from the law of the walk.
    c : float, default 1
        The scale of step sizes.
    step_sizes : array_like of shape (n_steps,) or callable, optional
        Step sizes :math:`\beta_1, \beta_2, \ldots` instead of those from b and c, or a function
        that returns them for an array of steps 1, 2, ….
    momentum : float, default 0
        The momentum m of the heavy-ball method, in [0, 1): :math:`v \leftarrow m v + \nabla f`
        replaces the gradient.
    average : bool or int, default False
        Average parameters over all steps (Polyak and Ruppert), or over the steps after this number.
    clip : float, optional
        The largest norm of gradients; longer ones are shortened to it.
    projection : ("ball", radius) or ("box", low, high), optional
        The set onto which parameters are projected after every step.
    batch_size : int, optional
        The number of rows of a node's data that a visit draws, with replacement, instead of using
        all; for `LeastSquares` and `Logistic`.
    local_steps : int, default 1
        The number of steps of the same size at each visit.
    n_tokens : int, default 1
        The number of tokens, each with its own walker.
    sync : int, optional
        The number of steps after which all tokens take the mean of their parameters (and momenta).
        By default they never do; they are then independent, and their spread gives the error.
    history : {"private", "shared_sync"}, default "private"
        Each token's walker has its own history, or all walkers share one.
    objective : bool or callable, optional
        A function of parameters (n, d) that returns (n,), evaluated along the trace; True for the
        mean of the losses under the law of the walk, for losses that run in Rust.
    record_every : int, optional
        The number of steps between two records of the trace. By default there are 200 records, or
        fewer if these would be too many numbers.
    callback : callable, optional
        A function that is called with (step, parameters (n_tokens, d)) after every `callback_every`
        steps. If it returns True, the run ends there.
    callback_every : int, optional
        See `callback`; by default `record_every`.
    state : mapping, optional
        The ``state`` of a result of the same call. The run continues from there for `n_steps`
        further steps, with the same bits as a single run. Its trace begins there.
    replicates : int, optional
        The number of independent runs of this call, each with its own random numbers; the result
        has the best of them and the course of all. It needs an `objective`, which is that of the
        loss by default. `init` may then have the shape (replicates, n_tokens, d), for losses with
        several minima. It cannot be combined with `state` and `callback`.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``, ``part``); see
        `fermiac.Plan`. ``part``: with `replicates`: (i, n) computes the replicates of part i of n,
        counted from 0, for independent jobs. `fermiac.merge` joins the parts. ``store``: a
        folder for the state of the run, from which the same call continues, also after a kill; a
        larger `n_steps` (with the same `record_every`) extends the run. With `replicates` a folder
        for files of finished replicates, which needs `rng`. The same call resumes from them, and
        its parts can share the folder. See `fermiac.merge`.

    Returns
    -------
    OptimizeResult
        ``theta``, ``thetas`` of all tokens, averages, the trace, visits, and the state.
    OptimizeReplicates
        With `replicates`: the best ``theta`` and ``objective``, and those of all replicates.

    Raises
    ------
    ArgumentError
        For an argument outside its domain.
    DivergedError
        If parameters are no longer finite; with the step, the node, and ``partial_result``.
    TargetError
        If a gradient or `objective` has a wrong shape, or a native function leaves numbers
        unwritten.
    MemoryLimitError
        If parameters or the trace would take more memory than the machine has.

    Warns
    -----
    ConvergenceWarning
        If b is not above a; repellence then gains little or nothing.

    Notes
    -----
    `OptimizeResult.stderr` comes from the spread of the tokens. It does not include errors that all
    tokens have in common: the remaining effect of `init` after a short run, and the transient of
    their histories. The trace shows whether the former has vanished.

    `predict` computes the error after n steps for losses whose gradients are known at the minimum,
    and `token_covariance` its limit.

    References
    ----------
    .. [1] J. Hu, V. Doshi, D. Y. Eun, "Accelerating distributed stochastic optimization via
       self-repellent random walks", ICLR 2024, arXiv:2401.09665.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> ring = fm.walks.as_graph(np.array([[i, (i + 1) % 10] for i in range(10)]))
    >>> loss = fm.walks.Quadratic(1.0, np.arange(10.0))
    >>> o = fm.walks.optimize(loss, ring, n_steps=20_000, n_tokens=20, rng=0)
    >>> bool(abs(o.theta[0] - 4.5) < 5 * o.stderr[0])
    True
    """
    where = plan_of(plan, "executor", "store", "part")
    given = {name: value for name, value in locals().items() if name not in OF_CALL}
    if replicates is not None:
        made: Any = optimize_replicates(
            loss,
            graph,
            given,
            init=init,
            replicates=replicates,
            part=where.part,
            store=where.store,
            rng=rng,
            executor=where.executor,
            n_threads=where.n_threads,
            progress=where.progress,
        )
        return made  # type: ignore[no-any-return]
    for name, value in {
        "executor": where.executor,
        "part": where.part,
    }.items():
        if value is not None:
            raise ArgumentError(f"{name}: given without replicates=, the number of runs")
    begun = time.perf_counter()
    n_tokens = whole("n_tokens", n_tokens, 1, 2**31)
    n_steps = whole("n_steps", n_steps, 0, 2**32)
    before = before_of(state)
    theta, dim = initial_parameters(init, dim, n_tokens)
    handle, dim = as_loss(loss, dim)
    require_room(32 * n_tokens * dim, f"the parameters of {n_tokens} tokens", "use fewer")
    if theta is None:
        theta = np.zeros((n_tokens, dim))
    rule = Rule.of(
        dim,
        before.done + n_steps,
        n_tokens,
        b=b,
        c=c,
        step_sizes=step_sizes,
        momentum=momentum,
        average=average,
        clip=clip,
        projection=projection,
        batch_size=batch_size,
        local_steps=local_steps,
        sync=sync,
    )
    if rule.batch_size is not None and not isinstance(loss, LeastSquares | Logistic):
        raise ArgumentError(
            "batch_size: given for a loss without rows of data; LeastSquares and Logistic have "
            "them, and a function can draw its own"
        )
    if callback is not None and not callable(callback):
        raise ArgumentError(f"callback: {shown(callback)} was given; a callable is needed")
    g = as_graph(graph)
    if isinstance(loss, Loss) and loss.n_nodes != g.n_nodes:
        raise ArgumentError(f"loss: {shown(loss)} was given for a graph of {g.n_nodes} nodes")
    kept = RunCheckpoint.of(where, KIND)
    if kept is not None and state is not None:
        raise ArgumentError("state: given with a store, which has a state of its own")
    key = before.seed
    if key is None:
        key = key_of(rng) if kept is None else kept.key(rng)
    job = _job(
        g,
        kernel=kernel,
        base=base,
        alpha=alpha,
        weights=weights,
        pseudo_counts=pseudo_counts,
        init_nodes=init_nodes,
        history=history,
        step_exponent=exponent("a", a),
        n_walkers=n_tokens,
        n_steps=before.done + n_steps,
        key=key,
    )
    records = max(min(_RECORDS, _NUMBERS // theta.size), 1)
    every = _every("record_every", record_every, max(n_steps // records, 1))
    require_room(
        8 * theta.size * (n_steps // every + 2),
        f"a trace of {n_steps // every} records",
        "give a larger record_every",
    )
    found = _findings(job, float(a), rule)
    with reporter(where.progress, "tokens", "steps") as report:
        loop = TokenLoop(
            handle,
            job,
            _core.Tokens(rule.settings(), theta, key),
            settings={"a": float(a), **rule.to_dict(), "dim": dim, "record_every": every},
            every=every,
            n_steps=n_steps,
            local_steps=rule.local_steps,
            callback=callback,
            callback_every=_every("callback_every", callback_every, every),
            judge=_objective(objective, loss, job),
            before=before,
            workers=resolve_threads(where.n_threads),
            checkpoint=kept,
            report=report,
            start=begun,
        )
        return run_and_warn(loop.run, lambda _: found)


def _job(
    graph: Graph,
    *,
    kernel: Any,
    base: Any,
    alpha: Any,
    weights: Any,
    pseudo_counts: Any,
    init_nodes: Any,
    history: Any,
    step_exponent: float,
    n_walkers: int,
    n_steps: int,
    key: int,
) -> Job:
    """Return the walk of the tokens, checked; `n_steps` are those of the whole run."""
    strategy = kernel_of(kernel, alpha, "has_clt")
    chain = strategy.base(CHAINS.resolve(base))
    check_ways_back(strategy, chain, graph)
    choice("history", history, ("private", "shared_sync"))
    if n_steps > MOST_STEPS:
        raise ArgumentError(f"n_steps: {n_steps} in all; histories count up to {MOST_STEPS}")
    if strategy.is_base and graph.directed and not graph.is_symmetric:
        raise ArgumentError(
            "graph: some edges lead one way only, and the law of a walk along them is not known; "
            "make the graph undirected"
        )
    draw = (n_walkers, None, graph, 0, "init_nodes")
    nodes = None if init_nodes is None else initial_nodes(init_nodes, *draw)
    allowed, _ = graph._check_walkable(nodes, "error", "error", "init_nodes")
    law = law_of(graph, chain, weights, allowed)
    return Job(
        graph=graph,
        kernel=strategy,
        base=chain,
        law=law,
        prior=prior_of(law, pseudo_counts),
        pseudo_counts=pseudo_counts if isinstance(pseudo_counts, str) else "given",
        step_exponent=step_exponent if strategy.has_measure else 1.0,
        history=history,
        start=initial_nodes(init_nodes, n_walkers, law, graph, key, "init_nodes"),
        n_steps=n_steps,
        record="visits",
        key=key,
    )


def _weights(job: Job) -> Array:
    """Return the weight of each node in the objective."""
    assert job.law is not None
    weights = job.law.weights
    return np.ones(job.graph.n_nodes) if weights is None else weights


def _every(name: str, given: int | None, default: int) -> int:
    return default if given is None else whole(name, given, 1, 2**53)


class _OfLoss:
    """The mean of the losses under the law of the walk."""

    def __init__(self, loss: Loss, weights: Array) -> None:
        self._loss, self._weights = loss, weights

    def __call__(self, theta: Array) -> Array:
        return np.asarray(self._loss.objective(theta, self._weights))


class _Checked:
    """The user's function of parameters, with checked values."""

    def __init__(self, f: Callable[[Array], ArrayLike]) -> None:
        self._f = f

    def __call__(self, theta: Array) -> Array:
        on = f"for parameters of shape {theta.shape}"
        return real_answer(
            ask(self._f, (theta,), "objective", on), "objective", theta.shape[:1], on=on
        )


def _objective(given: Any, loss: Any, job: Job) -> Judge | None:
    """Return the objective along the trace."""
    if given is None or given is False:
        return None
    if given is True:
        if not isinstance(loss, Loss):
            raise ArgumentError(
                "objective: True was given for a loss whose values are not known; give a function "
                "of parameters (n, d) that returns (n,)"
            )
        return _OfLoss(loss, _weights(job))
    if not callable(given):
        raise ArgumentError(
            f"objective: a {type(given).__name__} was given; True, or a function of parameters "
            "(n, d) that returns (n,), is needed"
        )
    return given if isinstance(given, _OfLoss) else _Checked(given)


def _findings(job: Job, a: float, rule: Rule) -> list[tuple[type[FermiacWarning], str]]:
    if job.kernel.is_plain or rule.step_sizes is not None or rule.b > a:
        return []
    gain = "little" if rule.b == a else "nothing"
    return [
        (
            ConvergenceWarning,
            f"b = {rule.b:g} is not above a = {a:g}: in the limit repellence gains {gain}; take b "
            "above a, 0.9 and 0.7 for instance",
        )
    ]
