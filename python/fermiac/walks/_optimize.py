"""Token optimisation: parameters that walk over a graph and improve at every node."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._config import resolve_threads
from fermiac._progress import Report, finish, reporter
from fermiac._result import warn
from fermiac._rng import RngLike, key_of, whole
from fermiac.errors import ArgumentError, ConvergenceWarning, DivergedError, FermiacWarning
from fermiac.walks._conversions import as_graph
from fermiac.walks._gradients import LossLike, as_loss
from fermiac.walks._losses import LeastSquares, Logistic, Loss
from fermiac.walks._optimum import Optimum
from fermiac.walks._token_plan import Plan, exponent, starts_of
from fermiac.walks._token_walk import Drive, drive_of

if TYPE_CHECKING:
    from fermiac.walks._bases import Base

__all__ = ["optimize"]

Array = NDArray[np.float64]
Callback = Callable[[int, Array], object]

#: Nodes of paths that are drawn ahead, and seconds that a block takes at most, about.
_AHEAD = 2**16
_SLICE = 0.2
#: Records of a trace, if nothing is said.
_RECORDS = 200
#: Seconds between two reports of progress.
_REPORT = 0.1


def optimize(
    loss: LossLike,
    graph: Any,
    alpha: Any = 5.0,
    a: float = 0.7,
    b: float = 0.9,
    n_steps: int = 10**5,
    rng: RngLike = 0,
    *,
    theta0: ArrayLike | None = None,
    dim: int | None = None,
    kernel: str = "srrw",
    base: Base = "mhrw",
    weights: Any = None,
    start: ArrayLike | None = None,
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
    objective: bool | Callable[[Array], ArrayLike] | None = None,
    record_every: int | None = None,
    callback: Callback | None = None,
    callback_every: int | None = None,
    state: Mapping[str, Any] | None = None,
    n_threads: int | None = None,
    progress: bool | Report | None = None,
) -> Optimum:
    r"""Minimise a mean of losses that lie on the nodes of a graph, by a token that walks over it.

    The token carries parameters :math:`\theta`. In step n + 1 it moves from its node to the next,
    :math:`X_{n+1}`, along a self-repellent walk whose measure of visits then takes a step of size
    :math:`\gamma_{n+1}`, and the parameters take theirs:

    .. math:: \theta_{n+1} = \theta_n - \beta_{n+1} \nabla f_{X_{n+1}}(\theta_n), \qquad
              \beta_n = c\, (n + 1)^{-b}, \quad \gamma_n = (n + 1)^{-a}.

    They tend to where the mean of the gradients under the walk's law is 0, with an error of the
    order :math:`\beta_n^{1/2}`. If b > a the measure settles first, and repellence brings the
    variance of the parameters down with :math:`\alpha^{-2}` [1]_.

    Parameters
    ----------
    loss : loss, callable, native function or torch module
        A `Quadratic`, `LeastSquares` or `Logistic`, which run in Rust; a function of parameters
        (n_tokens, d) and nodes (n_tokens,), int64, that gives gradients (n_tokens, d); a C function
        pointer (`NativeLoss`); or a torch module (`TorchLoss`).
    graph : graph
        As `as_graph` takes it.
    alpha : float or schedule, default 5
        The strength of repellence.
    a, b : float, default 0.7 and 0.9
        The exponents of the step sizes, above 1/2, up to 1. With b = 1 the smallest eigenvalue of
        the mean Hessian must be above 1 / (2 c).
    n_steps : int, default 10**5
        Steps of each token.
    rng : int, SeedSequence, Generator or None, default 0
        See `fermiac.random.key_of`.
    theta0 : array_like of shape (d,) or (n_tokens, d), optional
        The first parameters; by default zeros.
    dim : int, optional
        The number of parameters, where neither `theta0` nor the loss tells it.
    kernel : {"srrw", "hdt", "none"}, default "srrw"
        How history bends the walk, as for `walk`.
    base : str, Lazy or MTM, default "mhrw"
        The chain that is bent.
    weights : None, "degree", array or callable, optional
        How much each node counts, up to a factor. By default all count the same (for the bases
        that visit by degree: as much as their degree).
    start : int or array_like of shape (n_tokens,), optional
        Where tokens start; by default nodes are drawn.
    c : float, default 1
        The scale of step sizes.
    step_sizes : array_like of shape (n_steps,) or callable, optional
        Sizes :math:`\beta_1, \beta_2, \ldots` in place of those of b and c, or a function that
        gives them for an array of steps 1, 2, ….
    momentum : float, default 0
        m in [0, 1) of the heavy ball: :math:`v \leftarrow m v + \nabla f` takes the place of the
        gradient.
    average : bool or int, default False
        Average parameters over all steps (Polyak and Ruppert), or over those after so many.
    clip : float, optional
        Gradients of a larger norm are cut to this norm.
    projection : ("ball", radius) or ("box", low, high), optional
        The set that parameters are brought back to after every step.
    batch_size : int, optional
        Rows of a node's data that a visit draws, with replacement, instead of looking at all; for
        `LeastSquares` and `Logistic`.
    local_steps : int, default 1
        Steps of the same size that are taken at each visit.
    n_tokens : int, default 1
        Tokens, each with a walker and a history of its own.
    sync : int, optional
        After every so many steps all tokens take the mean of their parameters (and momenta). By
        default they never meet: then they are independent, and their spread tells the error.
    objective : bool or callable, optional
        A function of parameters (n, d) that gives (n,), evaluated along the trace; True for the
        mean of the losses under the walk's law, of losses that run in Rust.
    record_every : int, optional
        Steps between two records of the trace; by default such that there are 200.
    callback : callable, optional
        Called with (step, parameters (n_tokens, d)) after every `callback_every` steps, by default
        those of the trace. If it returns True the run ends there.
    callback_every : int, optional
        See `callback`.
    state : mapping, optional
        ``state`` of a result of the same call, which goes on from there for n_steps more steps,
        as one run would have.
    n_threads : int, optional
        Threads; the result does not depend on them.
    progress : bool or callable, optional
        A bar, or a function of (done, total); by default a bar on a terminal.

    Returns
    -------
    Optimum
        ``theta``, ``thetas`` of all tokens, averages, the trace, visits, and the state.

    Raises
    ------
    ArgumentError
        For arguments outside of their domains.
    DivergedError
        If parameters are no longer finite; with the step, the node, and ``partial_result``.
    TargetError
        If a gradient has another shape, or a native function leaves numbers unwritten.

    Warns
    -----
    ConvergenceWarning
        If b is not above a, where repellence gains little or nothing.

    Notes
    -----
    The error that is left after n steps is what `predict` computes for losses whose gradients are
    known at the minimum, and `token_covariance` its limit.

    References
    ----------
    .. [1] J. Hu, V. Doshi, D. Y. Eun, "Accelerating distributed stochastic optimization via
       self-repellent random walks", ICLR 2024.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> ring = fm.walks.as_graph(np.array([[i, (i + 1) % 10] for i in range(10)]))
    >>> loss = fm.walks.Quadratic(1.0, np.arange(10.0))
    >>> o = fm.walks.optimize(loss, ring, n_steps=20_000, n_tokens=20, rng=0)
    >>> bool(abs(o.theta[0] - 4.5) < 5 * o.stderr[0])
    True
    """
    begun = time.perf_counter()
    n_tokens = whole("n_tokens", n_tokens, 1, 2**31)
    n_steps = whole("n_steps", n_steps, 0, 2**53)
    before = 0 if state is None else int(state["n_steps"])
    theta, dim = starts_of(theta0, dim, n_tokens)
    handle, dim = as_loss(loss, dim)
    if theta is None:
        theta = np.zeros((n_tokens, dim))
    plan = Plan.of(
        dim,
        before + n_steps,
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
    if plan.batch_size is not None and not isinstance(loss, LeastSquares | Logistic):
        raise ArgumentError(
            "batch_size: given for a loss without rows of data; LeastSquares and Logistic have "
            "them, and a function can draw its own"
        )
    g = as_graph(graph)
    if isinstance(loss, Loss) and loss.n_nodes != g.n_nodes:
        raise ArgumentError(f"loss: {loss!r} was given for a graph of {g.n_nodes} nodes")
    key = key_of(rng)
    drive = drive_of(
        g,
        kernel=kernel,
        base=base,
        alpha=alpha,
        weights=weights,
        start=start,
        step_exponent=exponent("a", a),
        n_walkers=n_tokens,
        key=key,
    )
    every = _every(record_every, n_steps)
    run = _Run(
        handle,
        drive,
        _core.Tokens(plan.settings(), theta, key),
        every=every,
        n_steps=n_steps,
        callback=callback,
        callback_every=every
        if callback_every is None
        else whole("callback_every", callback_every, 1, 2**53),
        workers=resolve_threads(n_threads),
        provenance={
            "seed": key,
            "settings": {
                **drive.settings,
                "a": float(a),
                **plan.to_dict(),
                "n_tokens": n_tokens,
                "n_steps": n_steps,
            },
        },
        local_steps=plan.local_steps,
        begun=begun,
    )
    judge = _objective(objective, loss, drive)
    with reporter(progress, "tokens", "steps") as report:
        result = run.run(report, judge)
    found = _findings(drive, float(a), plan)
    object.__setattr__(result, "warnings", tuple(text for _, text in found))
    warn(found, result)
    return result


class _Run:
    """A run: blocks of paths, and the tokens that follow them."""

    def __init__(
        self,
        loss: Any,
        drive: Drive,
        tokens: _core.Tokens,
        *,
        every: int,
        n_steps: int,
        callback: Callback | None,
        callback_every: int,
        workers: int,
        provenance: dict[str, Any],
        local_steps: int,
        begun: float,
    ) -> None:
        self._loss = loss
        self._drive = drive
        self._tokens = tokens
        self._every = every
        self._callback = callback
        self._callback_every = callback_every
        self._workers = workers
        self._provenance = provenance
        self._local_steps = local_steps
        self._begun = begun
        theta = tokens.theta()
        self._n = len(theta)
        self._first = tokens.n_done
        self._end = self._first + n_steps
        # The last step has a record of its own where it is none of the others.
        records = -(-n_steps // every) + 1
        self._trace = np.empty((self._n, records, theta.shape[1]))
        self._trace[:, 0] = theta
        self._paths: NDArray[Any] = np.empty((self._n, 0), dtype=np.uint32)
        #: The step before the paths.
        self._base = self._first
        self._block = max(min(256, _AHEAD // self._n), 1)
        self._reported = begun

    def run(self, report: Report | None, judge: Callable[[Array], Array] | None) -> Optimum:
        try:
            stopped = False
            while self._tokens.n_done < self._end and not stopped:
                stopped = self._go(report)
            result = self._result("complete", judge)
        except BaseException as error:
            self._leave(error)
            raise
        finish(report, self._total, result)
        return result

    @property
    def _total(self) -> int:
        return self._n * self._end

    def _go(self, report: Report | None) -> bool:
        """One block; whether the callback ends the run."""
        done = self._tokens.n_done
        if done == self._base + self._paths.shape[1]:
            self._draw(done)
        begun = time.perf_counter()
        trace = (self._trace, self._first, self._every)
        error = self._tokens.run(
            self._loss, self._paths, self._base, *trace, self._workers, self._total, report
        )
        if error is not None:
            raise self._placed(error)
        done = self._tokens.n_done
        now = time.perf_counter()
        if now - begun < _SLICE / 4:
            self._block = min(2 * self._block, max(_AHEAD // self._n, 1))
        elif now - begun > _SLICE:
            self._block = max(self._block // 2, 1)
        if report is not None and now - self._reported > _REPORT:
            self._reported = now
            report(self._n * done, self._total)
        if self._callback is None or done % self._callback_every:
            return False
        return self._callback(done, self._tokens.theta()) is True

    def _draw(self, done: int) -> None:
        """Draw the paths of the next block."""
        steps = min(self._block, self._end - done)
        if self._callback is not None:
            steps = min(steps, self._callback_every - done % self._callback_every)
        size = np.uint32 if self._drive.settings["n_nodes"] <= 2**32 else np.uint64
        self._paths, self._base = np.empty((self._n, steps), dtype=size), done
        self._walk()

    def _walk(self) -> None:
        """Bring walkers to the end of the paths, which an interrupt may have cut short."""
        until = self._base + self._paths.shape[1]
        reached, error = self._drive.walkers.run(
            until, self._paths, self._base + 1, 1, None, self._workers, self._total
        )
        if error is not None:
            raise error
        assert reached

    def _placed(self, error: BaseException) -> BaseException:
        """The error, with where it was if parameters diverged."""
        if self._tokens.lost is None:
            return error
        diverged = DivergedError(str(error))
        diverged.step, diverged.token, diverged.node = self._tokens.lost
        return diverged

    def _leave(self, error: BaseException) -> None:
        """Keep what there is, when an error ends the run."""
        try:
            error.partial_result = self._result("interrupted", None)  # type: ignore[attr-defined]
        except Exception as failure:
            error.add_note(f"and what the run had could not be kept: {failure}")

    def _result(self, status: str, judge: Callable[[Array], Array] | None) -> Optimum:
        tokens, every = self._tokens, self._every
        done = tokens.n_done - self._first
        thetas, averages = tokens.theta(), tokens.mean()
        steps = self._first + np.arange(0, done + 1, every)
        trace = self._trace[:, : len(steps) + (done % every > 0)]
        if done % every:
            steps = np.append(steps, self._first + done)
            trace[:, -1] = thetas
        losses = None
        if judge is not None:
            losses = judge(trace.reshape(-1, trace.shape[2])).reshape(trace.shape[:2])
        return Optimum(
            **self._provenance,
            version=_core.__version__,
            isa=_core.isa_level,
            n_evals=self._n * done * self._local_steps,
            wall_time=time.perf_counter() - self._begun,
            status=status,
            thetas=thetas,
            averages=averages if len(averages) else None,
            visits=self._visits(),
            n_steps=tokens.n_done,
            trace_steps=steps,
            trace_theta=trace,
            trace_loss=losses,
            state=None,
        )

    def _visits(self) -> NDArray[np.int64]:
        visits = np.zeros(self._drive.settings["n_nodes"], dtype=np.int64)
        for i in range(self._n):
            counted = self._drive.walkers.visits(i)
            assert counted is not None
            visits += counted
        return visits


def _every(record_every: int | None, n_steps: int) -> int:
    if record_every is None:
        return max(n_steps // _RECORDS, 1)
    return whole("record_every", record_every, 1, 2**53)


def _objective(given: Any, loss: Any, drive: Drive) -> Callable[[Array], Array] | None:
    """The function that the trace is judged by."""
    if given is None or given is False:
        return None
    if given is True:
        if not isinstance(loss, Loss):
            raise ArgumentError(
                "objective: True was given for a loss whose values are not known; give a function "
                "of parameters (n, d) that gives (n,)"
            )
        weights = drive.weights
        return lambda theta: np.asarray(loss.objective(theta, weights))
    if not callable(given):
        raise ArgumentError(
            f"objective: a {type(given).__name__} was given; True, or a function of parameters "
            "(n, d) that gives (n,), is needed"
        )

    def judge(theta: Array) -> Array:
        values = np.asarray(given(theta), dtype=np.float64)
        if values.shape != (len(theta),):
            raise ArgumentError(
                f"objective: it gave shape {values.shape} for parameters of shape {theta.shape}; "
                f"({len(theta)},) is needed"
            )
        return values

    return judge


def _findings(drive: Drive, a: float, plan: Plan) -> list[tuple[type[FermiacWarning], str]]:
    if not drive.repels or plan.step_sizes is not None or plan.b > a:
        return []
    gain = "little" if plan.b == a else "nothing"
    return [
        (
            ConvergenceWarning,
            f"b = {plan.b:g} is not above a = {a:g}: in the limit repellence gains {gain}; take b "
            "above a, 0.9 and 0.7 for instance",
        )
    ]
