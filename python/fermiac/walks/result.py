"""The result of a walk: visits of its walkers, and estimates from them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from fermiac._base import registry
from fermiac._base.calls import public
from fermiac.errors import ArgumentError
from fermiac.results.result import Finding
from fermiac.results.summary import Summary
from fermiac.walks import figures
from fermiac.walks.parts import missing_walkers
from fermiac.walks.walk_data import WalkData

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fermiac._base.validate import RngLike
    from fermiac.results import Estimate
    from fermiac.results.sample import Sample
    from fermiac.walks.node_functions import NodeFunctionLike

__all__ = ["WalkResult"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class WalkResult(WalkData):
    """The visits of walkers on a graph: a `fermiac.Sample` over its nodes.

    Attributes
    ----------
    n_steps : int
        The number of steps of each walker, including the burn-in.
    n_nodes : int
        The number of nodes of the graph.
    acceptance : float
        The share of the steps that moved.
    positions : ndarray of int64, shape (walkers,)
        The last nodes of the walkers.
    paths : ndarray of uint32 or uint64, shape (walkers, steps), or None
        The node after each recorded step; with ``record="path"``.
    draws : ndarray
        The nodes: (walkers, steps, 1) with ``record="path"``; else the visited nodes, (m, 1), with
        the logarithms of their visits as `log_weights`.

    Notes
    -----
    Errors come from the spread of the walkers, which are independent. They need neither a theory
    nor long runs, and are valid with and without history. The first node of a walker does not count
    as a visit; a step that stays does.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> clique = [[i, j] for i in range(10) for j in range(i)]
    >>> edges = np.array(clique + [[i + 10, j + 10] for i, j in clique] + [[0, 10]])
    >>> w = fm.walks.walk(edges, n_steps=2000, rng=0)
    >>> bool(w.visits.sum() == w.n_walkers * (w.n_steps - w.burn_in))
    True
    >>> e = w.expect(np.arange(20.0))
    >>> bool(abs(e.mean - 9.5) < 5 * e.stderr)
    True
    """

    def expect(  # type: ignore[override]  # of a function of nodes, not of points
        self,
        f: NodeFunctionLike | None = None,
        under: str | NodeFunctionLike | None = None,
        *,
        include_prior: bool = False,
        names: Sequence[str] | None = None,
    ) -> Estimate:
        r"""Average functions of the nodes over the walk, with errors.

        Parameters
        ----------
        f : array_like, mapping, callable, native function or torch module, optional
            Values of all nodes in the order of `nodes`, shape (n_nodes,), or (n_nodes, K) for K
            functions; a mapping or a pandas Series from nodes to values; or a function of nodes
            (n,): a callable of an array, a torch module of a LongTensor, or a native function
            ``double f(int64_t node, void *user)`` of numba's ``cfunc`` or ctypes. It is evaluated
            once at each visited node. If the graph has labels, mappings and callables take these
            (values of `nodes`), otherwise the numbers of the nodes as int64. Torch modules and
            native functions take labels only if they are whole numbers. The default is the ``f`` of
            `walk`.
        under : None, "uniform", "degree", array_like, mapping or callable, default None
            The law of the average, up to a factor; by default that of the walk. For another law
            nodes are weighted by the ratio of the two laws.
        include_prior : bool, default False
            Average under the measure of the theory, which includes the pseudo-counts, and in which
            later visits have more weight for a `step_exponent` below 1. With False all steps count
            the same.
        names : sequence of str, optional
            The names of the averages.

        Returns
        -------
        Estimate
            The averages. Errors come from the spread of walkers, and from the bias that the first
            part of the walk shows, if it is more than two standard deviations. ``ess`` is the
            variance of `f` divided by the squared error, and ``khat`` is NaN.

        Raises
        ------
        ArgumentError
            If there is only one walker, the law of the walk is not known, or an argument is outside
            its domain.
        TargetError
            If `f` returns a wrong shape, a NaN or an infinity.

        Warns
        -----
        FermiacWarning
            If there are fewer than 8 walkers, so that errors are inaccurate; with `memory_size`, if
            the law of the walk only approximates the target.
        ConvergenceWarning
            If the average begins before the histories of the walkers have settled (`settling`), or
            with ``"hdt"`` while they are noisy. If walkers that were given starts are closer to
            these, or farther, than their law has it. If `f` is an array and its average is more
            than four errors from the one under the law, or three if over 10 % of it is at nodes
            that were not visited. Also if the average of the first part of the walk
            differs significantly from that of the whole: the bias of the start is then larger than
            the error, or not much smaller. With the kernels ``"tsaw"`` and ``"rotor"`` this is
            always possible without a burn-in.

        Notes
        -----
        With weights :math:`r_i = \nu_i / \mu_i` and the visits :math:`c_{wi}` of walker w, the
        average is :math:`A / B = \sum_{wi} c_{wi} r_i f_i / \sum_{wi} c_{wi} r_i`. Its variance is
        that of :math:`(A_w - (A / B) B_w) / \bar B` divided by the number of walkers (the delta
        method).

        Examples
        --------
        The mean degree, from a walk that visits nodes in proportion to their degree:

        >>> import fermiac as fm
        >>> g = fm.walks.as_graph([[0, 1], [0, 2], [0, 3], [1, 2]])
        >>> w = fm.walks.walk(g, "none", "srw", n_steps=1000, rng=0)
        >>> e = w.expect(g.degrees, under="uniform")
        >>> bool(abs(e.mean - 2.0) < 5 * e.stderr)
        True

        A mapping by the labels of a graph:

        >>> g = fm.walks.Graph.from_edges([("a", "b"), ("b", "c"), ("c", "a")])
        >>> w = fm.walks.walk(g, "none", n_steps=1000, rng=0)
        >>> e = w.expect({"a": 0.0, "b": 1.0, "c": 5.0})
        >>> bool(abs(e.mean - 2.0) < 5 * e.stderr)
        True
        """
        from fermiac.walks import estimates

        return estimates.expect(self, f, under, include_prior, names)

    def stderr(
        self,
        f: NodeFunctionLike,
        method: str = "replica",
        *,
        under: str | NodeFunctionLike | None = None,
        batch_size: int | None = None,
    ) -> float | Array:
        r"""Return the standard error of an average, by a chosen method.

        Parameters
        ----------
        f : array_like, mapping, callable, native function or torch module
            As in `expect`.
        method : {"replica", "batch", "overlapping", "theory"}, default "replica"
            The method: the spread of walkers, as in `expect`; batch means of each path, separate or
            overlapping; or `asymptotic_variance`.
        under : None, "uniform", "degree", array_like, mapping or callable, default None
            As in `expect`.
        batch_size : int, optional
            The number of steps of a batch; by default the square root of the number of a path.

        Returns
        -------
        float or ndarray, shape (K,)
            The error of ``expect(f, under).mean``, without the contribution of a bias.

        Raises
        ------
        ArgumentError
            For batches of a walk with history, whose means show the error of a walk without it; if
            there are no paths for batches; or if the theory does not cover the walk (`restart`,
            `memory_size`, `thin`, a `step_exponent` below 1, an alpha that rises late).

        Warns
        -----
        ConvergenceWarning
            With ``method="theory"``, if the history is too noisy for the limit (`history_noise`).

        Notes
        -----
        After a burn-in of m of n steps the theory has the variance
        :math:`V [n + m - 2 n (m / n)^q] / (n - m)^2`, mode by mode with
        :math:`q = 1 + \alpha (1 + \lambda)` for ``"srrw"``, and :math:`q = 1 + \alpha` for
        ``"hdt"``. In the counted steps the history partly compensates for the burn-in. Without
        history the variance is :math:`V / (n - m)`.

        References
        ----------
        .. [1] J. M. Flegal, G. L. Jones, "Batch means and spectral variance estimators in Markov
           chain Monte Carlo", Annals of Statistics, 2010, doi:10.1214/09-AOS735.

        Examples
        --------
        >>> import numpy as np, fermiac as fm
        >>> ring = np.column_stack([np.arange(9), (np.arange(9) + 1) % 9])
        >>> w = fm.walks.walk(ring, "none", "mhrw", n_steps=4000, record="path", rng=0)
        >>> f = np.arange(9.0)
        >>> bool(0.6 < w.stderr(f) / w.stderr(f, "batch") < 1.6)
        True
        """
        from fermiac.walks import standard_errors

        error: float | Array
        error, found = standard_errors.stderr(self, f, method, under, batch_size)
        if found is not None:
            category, text = found
            warnings.warn(category(text), stacklevel=2)
        return error

    @public
    def estimate_size(self) -> Estimate:
        r"""Estimate the numbers of nodes and of edges, from collisions of walkers.

        Only steps of different walkers count, as steps of one walker depend on each other.

        Returns
        -------
        Estimate
            The estimates ``n_nodes`` and ``n_edges``.

        Raises
        ------
        ArgumentError
            If the walk has a history or one walker only, or its law is not known.

        Warns
        -----
        ConvergenceWarning
            If there was no collision, so that the estimates are infinite; if collisions are worth
            those of fewer than 30 pairs of walkers, or the relative error is above 0.5; if fewer
            than 10 % of the steps moved; or if walkers that were given starts are still close to
            them: by their distance from these, as in `expect`, and by the two halves of paths.
        FermiacWarning
            If there are fewer than 8 walkers, so that errors are inaccurate.

        Notes
        -----
        Let :math:`c_{wi}` be the visits of walker w to node i, :math:`\pi_i` the weights of the
        law, :math:`S_w = \sum_i c_{wi} \pi_i` and :math:`R_w = \sum_i c_{wi} / \pi_i`. For
        walkers v and w there are :math:`H_{vw} = \sum_i c_{vi} c_{wi}` collisions, and
        :math:`P_{vw} = (S_v R_w + S_w R_v) / 2`. The number of nodes is estimated by
        :math:`\hat n = \sum_{v \neq w} P_{vw} / \sum_{v \neq w} H_{vw}`. Where walkers start
        from the law, as they do without ``init=``, the expectation of the denominator times the
        number of nodes is that of the numerator, however slowly the walk mixes. The squared error
        is that of the jackknife over walkers plus :math:`2 \hat n^2 \sum (H_{vw} - P_{vw} / \hat
        n)^2 / (\sum H_{vw})^2`, the second-order part of a U-statistic. With two walkers it is
        infinite. With given starts use a sufficiently long ``burn_in``.

        References
        ----------
        .. [1] L. Katzir, E. Liberty, O. Somekh, "Estimating sizes of social networks via biased
           sampling", WWW, 2011, doi:10.1145/1963405.1963489.
        .. [2] W. Hoeffding, "A class of statistics with asymptotically normal distribution", Annals
           of Mathematical Statistics, 1948, doi:10.1214/aoms/1177730196.

        Examples
        --------
        >>> import numpy as np, fermiac as fm
        >>> ring = np.column_stack([np.arange(25), (np.arange(25) + 1) % 25])
        >>> w = fm.walks.walk(ring, "none", "mhrw", n_steps=2000, rng=0)
        >>> e = w.estimate_size()
        >>> bool(abs(e.mean[0] - 25) < 5 * e.stderr[0])
        True
        """
        from fermiac.walks import size_estimate

        return size_estimate.estimate_size(self)

    def estimate_mean_degree(self) -> Estimate:
        """Estimate the mean degree of the nodes, with equal weights.

        Returns
        -------
        Estimate
            The estimate ``mean degree``.

        Raises
        ------
        ArgumentError
            If there is only one walker, or the law of the walk is not known.
        """
        from fermiac.walks import estimates
        from fermiac.walks.node_functions import NodeFunction

        degrees = NodeFunction("f", self._degrees_at, self.n_nodes)
        return estimates.expect(self, degrees, "uniform", False, ["mean degree"])

    def degree_distribution(self) -> Estimate:
        """Estimate the shares of the nodes with each degree, with equal weights.

        Returns
        -------
        Estimate
            An average for each observed degree, which is its name.

        Raises
        ------
        ArgumentError
            If there is only one walker, or the law of the walk is not known.

        Examples
        --------
        >>> import fermiac as fm
        >>> star = [[0, 1], [0, 2], [0, 3], [0, 4]]
        >>> w = fm.walks.walk(star, "srrw", "srw", n_steps=1000, rng=0)
        >>> e = w.degree_distribution()
        >>> e.names
        ('1', '4')
        >>> bool((abs(e.mean - [0.8, 0.2]) < 0.02).all())
        True
        """
        from fermiac.walks import estimates
        from fermiac.walks.node_functions import NodeFunction

        seen = np.unique(self._degrees_at(self.visited))
        has_degree = NodeFunction(
            "f", lambda nodes: self._degrees_at(nodes)[:, None] == seen, self.n_nodes
        )
        names = [f"{degree:.0f}" for degree in seen]
        return estimates.expect(self, has_degree, "uniform", False, names)

    # Figures

    @property
    def tvd(self) -> float:
        """The total variation distance of the visits of all walkers from the law."""
        return figures.tvd(self)

    @property
    def walker_tvd(self) -> Array:
        """The total variation distance for each walker, shape (walkers,)."""
        return figures.walker_tvd(self)

    @property
    def coverage(self) -> float:
        """The share of visited nodes among those that the walk may visit."""
        return len(self.visited) / len(self._reachable)

    @property
    def revisit_ratio(self) -> float:
        """The share of steps to a node that the walker had visited before, or that stayed."""
        return 1.0 - len(self._visits.nodes) / max(float(self._steps.sum()), 1.0)

    @property
    def history_noise(self) -> float:
        """The largest fluctuation of a node's log-weight that comes from the history.

        Alpha times the largest relative standard deviation of the visits to a node over walkers. If
        it is small, errors agree with the theory. With Metropolis acceptance (bases ``"mhrw"`` and
        ``"mhda"``), which is not smooth and therefore sensitive to noise in first order, errors
        exceed the theory by about 1.3 times this noise. Errors from the spread of walkers are
        always valid. The fluctuation is infinite if a node was not visited.
        """
        return figures.history_noise(self)

    @property
    def exact_target(self) -> bool:
        """Whether visits converge to the law: not with `memory_size` below `n_nodes`."""
        size = self.settings["memory_size"]
        return size is None or bool(size >= self.n_nodes)

    @cached_property
    def _arrival(self) -> list[Finding]:
        """A warning if the walkers have not left the surroundings of their starts."""
        from fermiac.walks import arrival

        return arrival.arrived(self)

    @property
    def reproducible(self) -> bool:
        """Whether the same call gives the same bits: not with ``history="shared_async"``."""
        return not self._shares_history or self.settings["history"] != "shared_async"

    @property
    def ess(self) -> NoReturn:
        """Not for walks; see ``expect(f).ess``."""
        raise ArgumentError("ess: it differs from function to function; ask walk.expect(f).ess")

    @property
    def khat(self) -> NoReturn:
        """Not for walks: their log-weights are visits."""
        raise ArgumentError("khat: the weights of a walk are visits, which have no tail to judge")

    # Samples

    def merge(self, *others: Sample) -> Self:
        """Merge the walkers of several walks.

        Parameters
        ----------
        *others : WalkResult
            Walks on the same graph, with the same settings and steps, and other seeds, or other
            walkers of the same seed (``part=``, ``first_walker=``).

        Returns
        -------
        WalkResult
            The result of all walkers; ``settings["seeds"]`` lists their seeds, if there are
            several. It cannot be extended. All parts of a call together give the result of the
            call.

        Raises
        ------
        ArgumentError
            If the walks do not match, or two of them have the same walkers of one seed.
        """
        return figures.merged(self, others)

    def _missing(self) -> list[Finding]:
        return missing_walkers(self)

    def resample(
        self, n: int | None = None, *, rng: RngLike = None, method: str = "systematic"
    ) -> NoReturn:
        """Not for walks: resampled nodes would look independent."""
        raise ArgumentError(
            "resample: the steps of a walker depend on each other, and resampled nodes would look "
            "independent; numpy's choice(n_nodes, p=visits / visits.sum()) draws them"
        )

    def reweight(self, new: Any, *, old: Any = None) -> NoReturn:
        """Not for walks: ``expect(f, under=...)`` averages under another law."""
        raise ArgumentError("reweight: ask walk.expect(f, under=...) for averages under a law")

    def to_arviz(
        self, *, resample: bool = True, n: int | None = None, rng: RngLike = 0, **groups: Any
    ) -> Any:
        """Convert paths for ArviZ; see `fermiac.Sample.to_arviz`.

        Raises
        ------
        ArgumentError
            Without paths, since ArviZ has no visits.
        """
        if self.paths is None:
            raise ArgumentError("to_arviz: ArviZ has no visits; walk with record='path'")
        return super().to_arviz(resample=resample, n=n, rng=rng, **groups)

    def plot_visits(self, ax: Axes | None = None) -> Axes:
        """Plot visits against the law; see `fermiac.plotting.plot_visits`."""
        drawn: Axes = registry.function("plotting", "plot_visits")(self, ax)
        return drawn

    def summary(self) -> Summary:  # type: ignore[override]  # nodes have no coordinates
        """Return a table of the walk: its visits, and their distance from the law."""
        return figures.summary(self)

    def _headline(self) -> str:
        s = self.settings
        alpha = f", alpha {s['alpha']}" if self._kernel.repels else ""
        return (
            f"Walk: {self.n_walkers} walkers × {self.n_steps} steps on {self.n_nodes} nodes, "
            f"kernel {s['kernel']}, base {s['base']}{alpha}: {100 * self.acceptance:.1f} % moved"
        )
