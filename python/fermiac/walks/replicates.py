"""Replicates of a token optimisation: independent runs of one call, and the best of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.plan import alone
from fermiac._base.validate import RngLike, key_of, numbered, numbers, shown, whole
from fermiac.distributions.law import subkey
from fermiac.errors import ArgumentError, FermiacWarning
from fermiac.results.result import Finding, Result, told, warn
from fermiac.results.reweight import PARTS
from fermiac.results.summary import Summary
from fermiac.runs.parts import Part, gathered, identity_of_call, part_of, store_of
from fermiac.walks.conversions import as_graph
from fermiac.walks.losses import Loss

if TYPE_CHECKING:
    from fermiac._base.progress import Report
    from fermiac.runs.executor import ExecutorLike
    from fermiac.walks.token_result import OptimizeResult

__all__ = ["OF_CALL", "OptimizeReplicates", "optimize_replicates"]

Array = NDArray[np.float64]

#: Arguments of the call that a replicate does not take.
OF_CALL = (
    "loss", "graph", "rng", "init", "replicates", "plan", "where",
)  # fmt: skip
#: Arguments of a single run alone.
_REFUSED = ("state", "callback")
#: Replicates of a call, and rows of a summary, at most.
_MOST, _SHOWN = 2**24, 20


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class OptimizeReplicates(Result):
    """Replicates of `fermiac.walks.optimize`: independent runs of one call.

    Attributes
    ----------
    numbers : ndarray of int64, shape (m,)
        The numbers of the replicates, in ascending order.
    thetas : ndarray of shape (m, d)
        The optimum of each replicate: the average over steps if there is one, else the last
        parameters; the mean over tokens.
    objectives : ndarray of shape (m,)
        The objective at `thetas`.
    visits : ndarray of shape (n_nodes,)
        The number of visits of all tokens of all replicates to each node.
    trace_steps : ndarray of int64, shape (n_records,)
        The recorded steps.
    trace_theta : ndarray of shape (m, n_records, d)
        The parameters after them, the mean over tokens.
    trace_loss : ndarray of shape (m, n_records)
        The objective there, the mean over tokens.
    n_replicates : int
        The number of replicates of the whole call.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> ring = fm.walks.graphs.ring_of_cliques(5, 5)
    >>> loss = fm.walks.Quadratic(1.0, np.arange(25.0))
    >>> given = {"n_steps": 2000, "replicates": 6, "rng": 0}
    >>> o = fm.walks.optimize(loss, ring, **given)
    >>> plans = [fm.Plan(part=(i, 3)) for i in range(3)]
    >>> parts = [fm.walks.optimize(loss, ring, plan=plan, **given) for plan in plans]
    >>> bool((fm.merge(parts).thetas == o.thetas).all())
    True
    >>> o.objective == float(o.objectives.min())
    True
    """

    numbers: NDArray[np.int64]
    thetas: Array
    objectives: Array
    visits: NDArray[np.int64]
    trace_steps: NDArray[np.int64]
    trace_theta: Array
    trace_loss: Array
    n_replicates: int

    _layout: ClassVar[fit.Layout] = {
        "numbers": fit.array("i", "replicates", low=0, rising=True, least=1),
        "thetas": fit.array("f", "replicates", "d"),
        "objectives": fit.array("f", "replicates"),
        "visits": fit.array("i", "nodes", low=0),
        "trace_steps": fit.array("i", "recorded", low=0, rising=True),
        "trace_theta": fit.array("f", "replicates", "recorded", "d"),
        "trace_loss": fit.array("f", "replicates", "recorded"),
        "n_replicates": fit.whole(1),
    }

    @property
    def best(self) -> int:
        """The row of the smallest objective; the first of equal ones."""
        return int(np.argmin(self.objectives))

    @property
    def theta(self) -> Array:
        """The parameters with the smallest objective, shape (d,)."""
        return np.asarray(self.thetas[self.best])

    @property
    def objective(self) -> float:
        """The smallest objective."""
        return float(self.objectives[self.best])

    def _headline(self) -> str:
        shown_values = ", ".join(f"{x:.6g}" for x in self.theta[:3])
        more = ", …" if self.thetas.shape[1] > 3 else ""
        m = len(self.numbers)
        of_all = "" if m == self.n_replicates else f" of {self.n_replicates}"
        return (
            f"Optimum: ({shown_values}{more}), objective {self.objective:.6g}, the best of {m}"
            f"{of_all} replicates"
        )

    def summary(self) -> Summary:
        """Return a table of the replicates, those with the smallest objectives first."""
        order = np.argsort(self.objectives, kind="stable")
        d = self.thetas.shape[1]
        parameters = numbered("theta", d)[:3]
        columns = {"objective": self.objectives[order]}
        columns |= {name: self.thetas[order, j] for j, name in enumerate(parameters)}
        lines = ["", "".join(f"{name:>13}" for name in ("replicate", *columns))]
        for i, row in enumerate(order[:_SHOWN]):
            cells = "".join(f"{column[i]:>13.6g}" for column in columns.values())
            lines.append(f"{self.numbers[row]:>13}{cells}")
        if len(order) > _SHOWN:
            lines.append(f"and {len(order) - _SHOWN} more")
        names = tuple(f"replicate {self.numbers[row]}" for row in order)
        return Summary(names, columns, head=repr(self).split("\n"), lines=lines)

    @public
    def merge(self, *others: OptimizeReplicates) -> OptimizeReplicates:
        """Join replicates of one call.

        Parameters
        ----------
        *others : OptimizeReplicates
            Other replicates of the same call.

        Returns
        -------
        OptimizeReplicates
            All replicates, in the order of their numbers.

        Raises
        ------
        ArgumentError
            If replicates are of different calls, or are given twice.
        """
        parts = (self, *others)
        for i, part in enumerate(parts):
            if not isinstance(part, OptimizeReplicates):
                raise ArgumentError(f"merge: {shown(part)} given; replicates of one call needed")
            if part._call() != self._call():
                raise ArgumentError(
                    f"merge: part {i} is of another call than part 0 ({shown(part._call())} and "
                    f"{shown(self._call())})"
                )
        numbers_of_all = np.concatenate([part.numbers for part in parts])
        order = np.argsort(numbers_of_all, kind="stable")
        in_order = numbers_of_all[order]
        twice = in_order[1:][in_order[1:] == in_order[:-1]]
        if twice.size:
            raise ArgumentError(f"merge: two parts hold replicate {twice[0]} of the call")

        rows: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts])[order]
            for name in _BY_REPLICATE
        }
        return replace(
            self,
            numbers=in_order,
            **rows,
            visits=np.sum([part.visits for part in parts], axis=0),
            n_evals=sum(part.n_evals for part in parts),
            wall_time=sum(part.wall_time for part in parts),
            status=next((p.status for p in parts if p.status != "complete"), "complete"),
            warnings=tuple(dict.fromkeys(text for part in parts for text in part.warnings)),
        )

    def _call(self) -> tuple[Any, ...]:
        of_call = self.settings.get(PARTS)
        return self.seed, self.n_replicates, of_call, self.version, self.isa

    def _missing(self) -> list[Finding]:
        left = np.setdiff1d(np.arange(self.n_replicates), self.numbers)
        if not left.size:
            return []
        text = f"{left.size} of {self.n_replicates} replicates are missing: "
        some = ", ".join(map(str, left[:10]))
        return [(FermiacWarning, f"{text}{some}{', ...' if left.size > 10 else ''}")]


#: Fields with a row for each replicate, besides their numbers.
_BY_REPLICATE = ("thetas", "objectives", "trace_theta", "trace_loss")


class _Replicate:
    """One replicate of a call, as the work of a unit."""

    progress: bool | Report | None = False

    def __init__(
        self,
        loss: Any,
        graph: Any,
        settings: Mapping[str, Any],
        init: Any,
        seed: int,
        n: int,
        call: str,
    ) -> None:
        self._target = (loss, graph)
        self._settings, self._init = dict(settings), init
        self._seed, self._n, self._call = seed, n, call
        self.n_threads: int | None = None

    def __call__(self, unit: int) -> OptimizeReplicates:
        """Return the replicate with this number."""
        from fermiac.walks.token_api import optimize

        loss, graph = self._target
        init = self._init
        made = optimize(
            loss,
            graph,
            **self._settings,
            init=init[unit] if np.ndim(init) == 3 else init,
            rng=subkey(self._seed, unit),
            plan=alone(n_threads=self.n_threads, progress=self.progress),
        )
        return self._of_one(made, unit)

    def _of_one(self, made: OptimizeResult, unit: int) -> OptimizeReplicates:
        best, _ = made._best()
        trace = made.trace
        assert trace.loss is not None
        return OptimizeReplicates(
            seed=self._seed,
            version=made.version,
            isa=made.isa,
            settings={**made.settings, "replicates": self._n, PARTS: self._call},
            n_evals=made.n_evals,
            wall_time=made.wall_time,
            warnings=made.warnings,
            numbers=np.array([unit]),
            thetas=best[None],
            objectives=np.array([made.objective]),
            visits=made.visits,
            trace_steps=trace.steps,
            trace_theta=trace.theta.mean(axis=0)[None],
            trace_loss=trace.loss.mean(axis=0)[None],
            n_replicates=self._n,
        )


def optimize_replicates(
    loss: Any,
    graph: Any,
    settings: dict[str, Any],
    *,
    init: Any,
    replicates: Any,
    part: Part | None,
    store: str | os.PathLike[str] | None,
    rng: RngLike,
    executor: ExecutorLike | None,
    n_threads: int | None,
    progress: bool | Report | None,
) -> OptimizeReplicates:
    """Return replicates of a call; see `fermiac.walks.optimize`."""
    n = whole("replicates", replicates, 1, _MOST)
    for name in _REFUSED:
        if settings.pop(name) is not None:
            raise ArgumentError(f"{name}: given with replicates={n}; it is for a single run")
    if settings["objective"] in (None, True, False) and not isinstance(loss, Loss):
        raise ArgumentError(
            "objective: not given with replicates= for a loss whose values are not known; the best "
            "replicate has the smallest objective: give a function of parameters (n, d) that "
            "returns (n,)"
        )
    if settings["objective"] is False:
        raise ArgumentError(
            "objective: False given with replicates=, of which the best has the smallest objective"
        )
    if settings["objective"] is None:
        settings["objective"] = True
    first = None if init is None else numbers("init", init)
    if first is not None and first.ndim == 3 and len(first) != n:
        raise ArgumentError(
            f"init: shape {first.shape} was given for {n} replicates; ({n}, n_tokens, d) is "
            "needed, or parameters for all replicates"
        )
    key = key_of(rng)
    # A path is passed on; each worker maps the graph into its memory.
    by_path = isinstance(graph, str | os.PathLike)
    net = os.fspath(graph) if by_path else as_graph(graph)
    call = identity_of_call("walks.optimize", {**settings, "init": first}, key, loss, net)
    work = _Replicate(loss, net, settings, first, key, n, call)
    if executor is None:
        work.n_threads = n_threads

    def join(done: dict[int, OptimizeReplicates]) -> OptimizeReplicates:
        one, *more = done.values()
        return one.merge(*more)

    result = gathered(
        work, part_of(part, n), join, executor=executor,
        store=store_of(store, rng, lambda: call, n), progress=progress,
        label="optimize", name="replicates",
    )  # fmt: skip
    warn(told(result), result)
    return result
