"""The data of a walk: the fields of its result, and plain figures of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac.errors import ArgumentError
from fermiac.results.sample import Sample
from fermiac.walks.kernels import KERNELS, HistoryKernel
from fermiac.walks.labels import Labels, array_of, stored
from fermiac.walks.transient import MARKS, SUMS
from fermiac.walks.visits import WALKERS, LateArrays, LateVisits, Visits, visited

if TYPE_CHECKING:
    from fermiac.walks.graph import Graph
    from fermiac.walks.job import Job
    from fermiac.walks.node_functions import NodeFunction

__all__ = ["WalkData"]

Array = NDArray[np.float64]
Ids = NDArray[np.int64]


def _sizes_of_replicas(value: Any, sizes: fit.Sizes) -> None:
    """Accept numbers of walkers that add up to all."""
    fit.listed(fit.whole(1))(value, sizes)
    if sum(value) != sizes.get("walkers"):
        raise fit.Misfit(f"they add up to {sum(value)}, and not to the number of walkers")


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class WalkData(Sample):
    """The fields of `fermiac.walks.WalkResult`, which describes them."""

    #: Computed when they are first read, as short walks do not take longer.
    draws: Array = field(init=False)
    log_weights: Array | None = field(init=False)
    error_model: str = "replicas"
    n_steps: int
    n_nodes: int
    acceptance: float
    positions: Ids
    paths: NDArray[Any] | None = None
    #: The labels of all nodes: an array if all are whole numbers, else a tuple, or None.
    _names: Labels | tuple[Any, ...] | None = None
    #: The weights of all nodes in the law; None if all are 1.
    _law: Array | None = None
    _degrees: NDArray[np.int64] | None = None
    _prior: Array | None = None
    #: The visits that count; None where the state has them.
    _rows: Mapping[str, NDArray[Any]] | None = None
    _sums: Array | None = None
    #: The different nodes where walkers began; None if these were drawn from the law.
    _starts: Ids | None = None
    #: Visits of all nodes at two earlier steps.
    _marks: Mapping[str, NDArray[Any]] | None = None
    _state: Mapping[str, Any] | None = None
    #: The lengths, log_weights and trapped of self-avoiding walks.
    _avoided: Mapping[str, NDArray[Any]] | None = None

    #: Whether the numbers of nodes are those of the whole graph.
    _knows_all: ClassVar[bool] = True
    _layout: ClassVar[fit.Layout] = {
        "settings": fit.record(
            {
                "kernel": fit.text(*KERNELS.names),
                "base": fit.text(),
                "alpha": fit.either(fit.real, fit.listed(fit.real, least=3)),
                "weights": fit.text(),
                "step_exponent": fit.real,
                "history": fit.text("private", "shared_sync", "shared_async"),
                "memory_size": fit.maybe(fit.whole(0)),
                "n_nodes": fit.size("nodes"),
                "n_walkers": fit.size("walkers"),
                "n_steps": fit.whole(0),
                "burn_in": fit.whole(0),
                "thin": fit.whole(1),
                "record": fit.text("visits", "path", "none"),
            },
            {
                "seeds": fit.listed(fit.maybe(fit.whole())),
                "sizes": _sizes_of_replicas,
                "first_walker": fit.whole(0),
                "chosen": fit.texts,
                "settling": fit.whole(0),
            },
        ),
        "n_steps": fit.whole(0, 2**63 - 1),
        "n_nodes": fit.size("nodes"),
        "acceptance": fit.real,
        "positions": fit.array("iu", "walkers", low=0, below="nodes"),
        "paths": fit.maybe(fit.array("iu", "walkers", "recorded", low=0, below="nodes")),
        "_names": fit.maybe(stored),
        "_law": fit.maybe(fit.array("f", "nodes", low=0.0, finite=True)),
        "_degrees": fit.array("iu", "nodes", low=0),
        "_prior": fit.maybe(fit.array("f", "nodes", low=0.0, finite=True)),
        "_rows": fit.maybe(visited),
        "_sums": fit.maybe(SUMS),
        "_starts": fit.maybe(fit.array("iu", "starts", low=0, below="nodes")),
        "_marks": fit.maybe(MARKS),
        "_state": fit.maybe(WALKERS),
        "_avoided": fit.maybe(
            fit.record(
                {
                    "lengths": fit.array("iu", "walkers", low=0, high="recorded"),
                    "log_weights": fit.array("f", "walkers"),
                    "trapped": fit.array("b", "walkers"),
                }
            )
        ),
    }

    @classmethod
    def of_run(
        cls,
        job: Job,
        *,
        n_steps: int,
        status: str,
        wall_time: float,
        rows: Mapping[str, NDArray[Any]] | None,
        paths: NDArray[Any] | None,
        sums: Array | None,
        state: Mapping[str, Any] | None,
        n_moves: int,
        positions: Ids,
        f: NodeFunction | None,
        burned: LateVisits | None,
        marks: Mapping[str, NDArray[Any]] | None = None,
        avoided: dict[str, NDArray[Any]] | None = None,
    ) -> Self:
        """Return the result of a run."""
        law = job.law
        settings = {**job.to_dict(), "n_steps": n_steps}
        labels = job.graph._node_labels
        if f is not None:
            settings["f"] = "scalar" if f.scalar else "vector"
        result = cls(
            seed=job.key,
            version=_core.__version__,
            isa=_core.isa_level,
            settings=settings,
            n_evals=0,
            wall_time=wall_time,
            status=status,
            n_steps=n_steps,
            n_nodes=job.graph.n_nodes,
            acceptance=n_moves / (n_steps * job.n_walkers) if n_steps else 0.0,
            positions=positions,
            paths=paths,
            _names=job.graph.labels if labels is None or labels.dtype == object else labels,
            _law=None if law is None else law.weights,
            _degrees=job.graph.degrees,
            _prior=job.prior,
            _rows=rows,
            _sums=sums,
            _starts=None if job.drawn else np.unique(job.start),
            _marks=marks,
            _state=state,
            _avoided=avoided,
        )
        result.__dict__.update(_of_job=job, _of_f=f, _of_burned=burned, _of_graph=job.graph)
        return result

    @property
    def _error_model_name(self) -> str:
        return "walkers" if self.error_model == "replicas" else self.error_model

    @property
    def _job(self) -> Job | None:
        """The description of the walk, in the process where it ran."""
        job: Job | None = self.__dict__.get("_of_job")
        return job

    @property
    def _f(self) -> NodeFunction | None:
        """The function ``f=`` of the walk."""
        f: NodeFunction | None = self.__dict__.get("_of_f")
        return f

    @property
    def _graph(self) -> Graph | None:
        """The graph, in the process where the walk ran."""
        graph: Graph | None = self.__dict__.get("_of_graph")
        return graph

    def __post_init__(self) -> None:
        has_rows = self._rows is not None or "indptr" in (self._state or {})
        if (self.paths is None) == (self.record == "path") or (
            self.record == "visits" and not has_rows
        ):
            raise ArgumentError(f"record: {self.record!r} given, and nothing of that kind recorded")

    def _draws_of(self) -> Array:
        """Return the nodes, as `draws`."""
        if self.paths is not None:
            return self.paths[:, :, None]
        if self.record == "visits":
            return self.visited[:, None].astype(np.float64)
        return np.empty((0, 1))

    def _log_weights_of(self) -> Array | None:
        """Return the logarithms of visits, or what ends paths, as `log_weights`."""
        if self.paths is None and self.record == "visits":
            return np.log(self._totals[self.visited].astype(np.float64))
        if self.paths is not None and self._avoided is not None:
            after = np.arange(self.paths.shape[1]) >= self.lengths[:, None]
            return np.where(after, -np.inf, 0.0)
        return None

    def _picture(self) -> str:
        return ""  # a histogram of node numbers is useless

    @property
    def state(self) -> Mapping[str, NDArray[Any]] | None:
        """The positions and histories of the walkers, for `extend`; or None."""
        return self._state

    @property
    def labels(self) -> tuple[Any, ...] | None:
        """The labels of the nodes, or None."""
        names = self._names
        return tuple(names.tolist()) if isinstance(names, np.ndarray) else names

    @property
    def nodes(self) -> Labels:
        """The labels of all nodes in an array, or their numbers; shape (n_nodes,).

        ``nodes[paths]`` and ``nodes[positions]`` are paths and positions by label.
        """
        return np.arange(self.n_nodes) if self._node_labels is None else self._node_labels

    @cached_property
    def _node_labels(self) -> Labels | None:
        names = self._names
        return array_of(names) if isinstance(names, tuple) else names

    def _more_columns(self) -> dict[str, list[Any]]:
        labels = self._node_labels
        if labels is None:
            return {}
        return {"label": labels[self.draws.reshape(-1).astype(np.int64)].tolist()}

    @property
    def record(self) -> str:
        """The record of the walk: ``"visits"``, ``"path"`` or ``"none"``."""
        return str(self.settings["record"])

    @property
    def n_walkers(self) -> int:
        """The number of walkers."""
        return int(self.settings["n_walkers"])

    @property
    def kernel(self) -> str:
        """The name of the kernel, also if the walk chose it."""
        return str(self.settings["kernel"])

    @property
    def burn_in(self) -> int:
        """The number of first steps of each walker that do not count, also if the walk chose it."""
        return int(self.settings["burn_in"])

    @property
    def chosen(self) -> tuple[str, ...]:
        """The names of the arguments that were ``"auto"``: "kernel", "base", "burn_in"."""
        return tuple(self.settings.get("chosen", ()))

    @property
    def settling(self) -> int:
        """The steps after which the histories of this walk have settled; 0 without histories."""
        return int(self.settings.get("settling", 0))

    @property
    def _shares_history(self) -> bool:
        """Whether the walkers of one seed share a history."""
        return self.settings["history"] != "private" and self._kernel.repels

    @property
    def _kernel(self) -> HistoryKernel:
        """The kernel, by the name in the settings."""
        return KERNELS.resolve(self.settings["kernel"])

    @property
    def _avoids(self) -> bool:
        """Whether steps avoid earlier nodes."""
        return self._kernel.avoids or self._alpha > 0.0

    @cached_property
    def _sizes(self) -> Ids:
        """The number of walkers of each replica: 1, or all of a seed that share a history."""
        if not self._shares_history:
            return np.ones(self.n_walkers, dtype=np.int64)
        return np.asarray(self.settings.get("sizes", [self.n_walkers]), dtype=np.int64)

    @property
    def n_replicas(self) -> int:
        """The number of independent walkers, or of seeds if walkers share a history."""
        return len(self._sizes)

    @property
    def _steps(self) -> Array:
        """The number of counted steps of each replica."""
        if self._avoided is not None:
            return self.lengths.astype(np.float64)
        return np.asarray(self._sizes, dtype=np.float64) * self._n_counted

    def _joined(self, sums: Array) -> Array:
        """Return sums of replicas, from those of walkers."""
        if not self._shares_history:
            return sums
        return np.add.reduceat(sums, np.cumsum(self._sizes) - self._sizes, axis=0)

    @property
    def _n_counted(self) -> int:
        """The number of counted steps of each walker."""
        if self.paths is not None:
            return int(self.paths.shape[1])
        return max(self.n_steps - int(self.settings["burn_in"]), 0)

    @property
    def lengths(self) -> Ids:
        """The counted steps of each walker, which differ only in self-avoiding walks."""
        if self._avoided is None:
            return np.full(self.n_walkers, self._n_counted)
        return np.asarray(self._avoided["lengths"])

    @property
    def trapped(self) -> NDArray[np.bool_]:
        """Whether each self-avoiding walk ended because all neighbours had been visited."""
        return np.asarray(self._of_avoided("trapped"))

    @property
    def log_path_weights(self) -> Array:
        """The log of the product of the numbers of choices along each self-avoiding walk.

        The exponential is the inverse of the probability of the path. Its mean over walkers, with 0
        for those that ended sooner, estimates the number of self-avoiding paths from the start (M.
        N. Rosenbluth, A. W. Rosenbluth, "Monte Carlo calculation of the average extension of
        molecular chains", Journal of Chemical Physics, 1955).
        """
        return np.asarray(self._of_avoided("log_weights"))

    def _of_avoided(self, name: str) -> NDArray[Any]:
        if self._avoided is None:
            raise ArgumentError(f"{name}: known of self-avoiding walks only (kernel='saw')")
        return self._avoided[name]

    # Visits

    @cached_property
    def _visits(self) -> Visits:
        if self.paths is not None:
            lengths = None if self._avoided is None else self.lengths
            return Visits.of_paths(self.paths, self.n_nodes, lengths)
        if self.record == "none":
            raise ArgumentError(
                "record: 'none' was given to walk, so that nodes are not known; walk with "
                "record='visits' or 'path'"
            )
        rows = self._state if self._rows is None else self._rows
        assert rows is not None
        return Visits.named(rows, self.n_nodes)

    @cached_property
    def _totals(self) -> NDArray[np.uint64]:
        if self.paths is not None and self._avoided is None:
            out = np.zeros(self.n_nodes, dtype=np.uint64)
            for path in np.array_split(self.paths.reshape(-1), -(-self.paths.size // 2**22)):
                out += np.bincount(path, minlength=self.n_nodes).astype(np.uint64)
            return out
        rows = self._state if self._rows is None else self._rows
        if isinstance(rows, LateArrays) and rows.totals is not None:
            return rows.totals
        return self._visits.totals()

    @property
    def visits(self) -> NDArray[np.uint64]:
        """The number of visits of all walkers to each node, shape (n_nodes,)."""
        return self._totals

    def visit_counts(self) -> dict[Any, int]:
        """Return the visits of all walkers to each visited node, by its label or number.

        Returns
        -------
        dict
            The number of visits for each node that was visited.

        Examples
        --------
        >>> import fermiac as fm
        >>> g = fm.walks.Graph.from_edges([("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")])
        >>> w = fm.walks.walk(g, "none", "srw", init="d", n_steps=1, n_walkers=8, rng=0)
        >>> w.visit_counts()
        {'c': 8}
        """
        seen = self.visited
        return dict(zip(self.nodes[seen].tolist(), self.visits[seen].tolist(), strict=True))

    @cached_property
    def visited(self) -> Ids:
        """The nodes that were visited, in ascending order."""
        return np.flatnonzero(self._totals)

    @property
    def walker_visits(self) -> Any:
        """The number of visits of each walker to each node: a sparse array (walkers, n_nodes)."""
        return self._visits.matrix()

    def _sums_of(self, values: Array, nodes: Ids) -> Array:
        """Return the sums of values at the visited nodes over each replica: (replicas, k)."""
        whole = values
        if len(nodes) < self.n_nodes:
            whole = np.zeros((self.n_nodes, values.shape[1]))
            whole[nodes] = values
        return self._joined(self._visits.sums(whole))

    def _law_at(self, nodes: Ids) -> Array:
        """Return the weights of nodes in the law of the walk."""
        if self.settings["weights"] == "unknown":
            raise ArgumentError(
                "under: the law of this walk (node2vec, self-avoiding, or along arcs) has no "
                "closed form, so that nothing can be reweighted from it"
            )
        return np.ones(len(nodes)) if self._law is None else self._law[nodes]

    def _degrees_at(self, nodes: Ids) -> Array:
        assert self._degrees is not None
        return np.asarray(self._degrees[nodes], dtype=np.float64)

    @property
    def _reachable(self) -> Ids:
        """The nodes that the walk may visit."""
        return np.arange(self.n_nodes) if self._law is None else np.flatnonzero(self._law)

    def _weights(self, law: int | None = None) -> Array:
        if self.paths is None:
            counts = self._totals[self.visited].astype(np.float64)
            return np.asarray(counts / counts.sum())
        return super()._weights(law)

    @property
    def _burned(self) -> Visits | None:
        """The visits of the burn-in, if known."""
        burned: LateVisits | None = self.__dict__.get("_of_burned")
        return None if burned is None else burned()

    @property
    def _alpha(self) -> float:
        """The last strength of repellence."""
        alpha = self.settings["alpha"]
        return float(alpha[2] if isinstance(alpha, list | tuple) else alpha)

    def _shares(self) -> Array:
        """Return the normalised law of the walk."""
        law = self._law_at(np.arange(self.n_nodes))
        return np.asarray(law / law.sum())

    @cached_property
    def _spread(self) -> Array:
        """The relative standard deviation over walkers of the visits to each reachable node."""
        from fermiac.walks import figures

        return figures.spread(self)

    def _histories(self) -> tuple[Visits, Array | None]:
        """Return all visits of each walker, and the logarithms of their masses if they have any."""
        state = self._state
        if state is None or self._shares_history or self.settings["memory_size"] is not None:
            raise ArgumentError(
                "include_prior: the walk does not know its histories; walk with history='private', "
                "without memory_size= and not in parts"
            )
        if "indptr" not in state:  # a walk without history
            return self._visits, None
        logs = state["logs"]
        return Visits.named(state, self.n_nodes), logs if len(logs) else None


# A dataclass takes what stands in its body for a default.
for _name, _function in (("draws", WalkData._draws_of), ("log_weights", WalkData._log_weights_of)):
    _late = cached_property(_function)
    _late.__set_name__(WalkData, _name)
    setattr(WalkData, _name, _late)
