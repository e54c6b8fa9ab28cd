"""The result of a crawl: a walk over the discovered part of a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from fermiac._base import layout as fit
from fermiac._base.validate import yes
from fermiac.errors import ArgumentError
from fermiac.results.summary import Summary, of_figures
from fermiac.walks.result import WalkResult

if TYPE_CHECKING:
    from fermiac.results import Estimate
    from fermiac.results.summary import Summary, of_figures
from fermiac.walks.node_functions import NodeFunctionLike

__all__ = ["Crawl"]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Crawl(WalkResult):
    """The result of a walk on a graph behind an oracle: a `WalkResult`.

    Nodes are numbered in the order of their discovery: ``visits``, ``visited`` and ``paths`` use
    these numbers, and ``nodes`` has the original ones, which callable functions of the nodes take.

    Attributes
    ----------
    nodes : ndarray of int64, shape (n_nodes,)
        The discovered nodes by their original numbers, in the order of their discovery.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> ring = fm.walks.Oracle(lambda nodes: [[(i - 1) % 9, (i + 1) % 9] for i in nodes])
    >>> w = fm.walks.Crawler(ring, init=4, n_walkers=16, rng=0).run(500)
    >>> e = w.expect(lambda nodes: nodes)
    >>> bool(abs(e.mean - 4.0) < 5 * e.stderr)
    True
    """

    _knows_all: ClassVar[bool] = False
    _layout: ClassVar[fit.Layout] = {
        "_names": fit.array("i", "nodes"),
    }

    def expect(  # type: ignore[override]  # as in WalkResult
        self,
        f: NodeFunctionLike | None = None,
        under: str | NodeFunctionLike | None = None,
        *,
        include_prior: bool = False,
        names: Sequence[str] | None = None,
    ) -> Estimate:
        """Average functions of the nodes over the crawl, with errors.

        Parameters
        ----------
        f, under, names
            As in `WalkResult.expect`; callables take nodes by their original numbers.
        include_prior : bool, default False
            Not for crawls.

        Returns
        -------
        Estimate
            As for `WalkResult.expect`.

        Raises
        ------
        ArgumentError
            As in `WalkResult.expect`; with `include_prior`, which needs the pseudo-counts of the
            whole graph.
        """
        if yes("include_prior", include_prior):
            raise ArgumentError("include_prior: a crawl does not know all nodes that have a prior")
        return super().expect(f, under, names=names)

    def stderr(
        self,
        f: NodeFunctionLike,
        method: str = "replica",
        *,
        under: str | NodeFunctionLike | None = None,
        batch_size: int | None = None,
    ) -> Any:
        """Return the standard error of an average; see `WalkResult.stderr`."""
        if method == "theory":
            raise ArgumentError("method: 'theory' needs the whole graph; take 'replica'")
        return super().stderr(f, method, under=under, batch_size=batch_size)

    @property
    def tvd(self) -> NoReturn:
        """Not for crawls: the law of the whole graph is not known."""
        raise ArgumentError("tvd: a crawl does not know the law of the whole graph")

    @property
    def walker_tvd(self) -> NoReturn:
        """Not for crawls: the law of the whole graph is not known."""
        raise ArgumentError("walker_tvd: a crawl does not know the law of the whole graph")

    @property
    def coverage(self) -> NoReturn:
        """Not for crawls: the number of nodes is not known; see `estimate_size`."""
        raise ArgumentError("coverage: a crawl does not know how many nodes there are")

    @property
    def history_noise(self) -> NoReturn:
        """Not for crawls: the law of the whole graph is not known."""
        raise ArgumentError("history_noise: a crawl does not know the law of the whole graph")

    def summary(self) -> Summary:  # type: ignore[override]  # nodes have no coordinates
        """Return a table of the crawl."""
        n_visited = len(self.visited)
        return of_figures(
            {"n_visited": n_visited, "n_nodes": self.n_nodes, "acceptance": self.acceptance},
            [
                self._first_line(),
                f"  {n_visited} of {self.n_nodes} nodes that were discovered were visited",
                f"  seed {self.seed}, {self.wall_time:.3g} s, {self.status}",
            ],
            foot=[f"warning: {w}" for w in self.warnings],
        )

    def _headline(self) -> str:
        return super()._headline().replace("Walk:", "Crawl:", 1)
