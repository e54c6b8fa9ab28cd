"""Plots of walks: visits against the law, and errors against steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac._base.validate import real, whole
from fermiac.errors import ArgumentError
from fermiac.plotting.style import BLUE, GREY, ORANGE, new_axes, pyplot
from fermiac.plotting.subject import of_class

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fermiac.walks import WalkResult

__all__ = ["plot_convergence", "plot_visits"]

Array = NDArray[np.float64]
#: The largest number of nodes that are drawn as dots.
_DOTS = 20_000


def plot_visits(walk: WalkResult, ax: Axes | None = None) -> Axes:
    """Plot the visits of nodes divided by their expectation under the law of the walk, by degree.

    Parameters
    ----------
    walk : WalkResult
        A walk whose law is known.
    ax : matplotlib Axes, optional
        Where to draw; by default in a new figure.

    Returns
    -------
    matplotlib Axes
        The axes, with a dot for each node (for some nodes of large graphs). For each degree they
        also show the ratio of all its nodes together, with two standard errors if there are several
        walkers.

    Raises
    ------
    ArgumentError
        If the walk kept no nodes, or its law is not known.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import fermiac as fm
    >>> w = fm.walks.walk([[0, 1], [0, 2], [0, 3], [1, 2]], n_steps=1000, rng=0)
    >>> ax = w.plot_visits()
    """
    of_class("walk", walk, "fermiac.walks.WalkResult")
    nodes = walk._reachable
    law, degrees = walk._shares()[nodes], walk._degrees_at(nodes)
    expected = law * walk._n_counted * walk.n_walkers
    ratios = walk._totals[nodes] / expected
    ax = new_axes(ax)
    some = np.linspace(0, len(nodes) - 1, min(len(nodes), _DOTS)).astype(np.int64)
    ax.plot(
        degrees[some], ratios[some], ".", color=GREY, ms=3, alpha=0.5, rasterized=True,
        label="nodes",
    )  # fmt: skip
    each, which = np.unique(degrees, return_inverse=True)
    groups = np.zeros((walk.n_nodes, len(each)))
    groups[nodes, which] = 1.0
    sums = walk._visits.sums(groups) if len(each) <= 1000 else None
    shares = np.bincount(which, law)
    if sums is None:
        means, errors = np.bincount(which, ratios * law) / shares, None
    else:
        own = sums / (shares * walk._n_counted)
        means = own.mean(axis=0)
        several = walk.n_walkers > 1
        errors = 2 * own.std(axis=0, ddof=1) / np.sqrt(walk.n_walkers) if several else None
    ax.errorbar(each, means, errors, fmt="o", color=BLUE, ms=4, capsize=2, label="all of a degree")
    ax.axhline(1.0, color=ORANGE, lw=1)
    if each[-1] > 20 * each[0]:
        ax.set_xscale("log")
    ax.set_ylim(bottom=0)
    ax.set_xlabel("degree")
    ax.set_ylabel("visits over expected visits")
    ax.spines[["right", "top"]].set_visible(False)
    ax.legend(frameon=False)
    return ax


def plot_convergence(
    walks: WalkResult | Mapping[str, WalkResult],
    ax: Axes | None = None,
    *,
    f: Any = None,
    truth: float | None = None,
    n_points: int = 40,
) -> Axes:
    """Plot the error of one walker against its steps, for several walks.

    Parameters
    ----------
    walks : WalkResult or mapping of str to WalkResult
        Walks with all steps of their paths (``record="path"``, ``thin=1``); the keys label them.
    ax : matplotlib Axes, optional
        Where to draw; by default in a new figure.
    f : array_like, callable, native function or torch module, optional
        A function of the nodes; the error is the root mean squared error of its average, over the
        walkers. By default the error is the total variation distance of a walker's visits from the
        law, averaged over the walkers.
    truth : float, optional
        The true average; by default the mean of `f` under the law of the walk.
    n_points : int, default 40
        The number of points of each line.

    Returns
    -------
    matplotlib Axes
        Logarithmic axes, on which an error that falls like 1 / sqrt(steps) has the slope -1/2.

    Raises
    ------
    ArgumentError
        If a walk has no such paths, or its law is not known.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> clique = [[i, j] for i in range(6) for j in range(i)]
    >>> edges = np.array(clique + [[i + 6, j + 6] for i, j in clique] + [[0, 6]])
    >>> walks = {
    ...     f"alpha {alpha}": fm.walks.walk(
    ...         edges, base="mhrw", alpha=alpha, n_steps=1000, record="path", rng=0
    ...     )
    ...     for alpha in (0, 5)
    ... }
    >>> ax = fm.plotting.plot_convergence(walks, f=np.arange(12) < 6)
    """
    from fermiac.walks.node_functions import NodeFunction

    named = walks if isinstance(walks, Mapping) else {"": walks}
    points = whole("n_points", n_points, 2, 10_000)
    lines = {}
    for name, walk in named.items():
        of_class("walks", walk, "fermiac.walks.WalkResult")
        if walk.paths is None or walk.settings["thin"] != 1:
            raise ArgumentError(
                "walks: one without all steps of its paths given; walk with record='path', thin=1"
            )
        n = walk.paths.shape[1]
        at = np.unique(np.geomspace(1, n, points).astype(np.int64))
        if f is None:
            lines[name] = at, _distances(walk, at)
            continue
        values = NodeFunction("f", f, walk.n_nodes, walk._node_labels).at(np.arange(walk.n_nodes))
        if values.shape[1] != 1:
            raise ArgumentError("f: several functions given; one is needed")
        target = float(walk._shares() @ values[:, 0]) if truth is None else real("truth", truth)
        means = np.array([np.cumsum(values[path, 0])[at - 1] / at for path in walk.paths])
        lines[name] = at, np.sqrt(np.mean((means - target) ** 2, axis=0))
    ax = new_axes(ax)
    colors = pyplot().get_cmap("viridis")(np.linspace(0, 0.85, len(lines)))
    for (name, (at, errors)), color in zip(lines.items(), colors, strict=True):
        ax.plot(at, errors, color=color, lw=1.4, label=name or None)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("steps of a walker")
    ax.set_ylabel("total variation" if f is None else "root mean squared error")
    ax.spines[["right", "top"]].set_visible(False)
    if any(lines):
        ax.legend(frameon=False)
    return ax


def _distances(walk: WalkResult, at: NDArray[np.int64]) -> Array:
    """Return the mean total variation distance from the law after given numbers of steps."""
    assert walk.paths is not None
    law = walk._shares()
    out = np.zeros(len(at))
    for path in walk.paths:
        counts = np.zeros(walk.n_nodes)
        begin = 0
        for k, end in enumerate(at):
            counts += np.bincount(path[begin:end], minlength=walk.n_nodes)
            out[k] += 0.5 * np.abs(counts / end - law).sum()
            begin = end
    return out / len(walk.paths)
