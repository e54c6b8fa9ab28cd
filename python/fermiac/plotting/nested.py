"""Plots of nested sampling: the run, the trace of its points, the posterior, the live points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.validate import real
from fermiac.errors import ArgumentError
from fermiac.nested.exports import running
from fermiac.plotting.marginals import edges_of, histogram
from fermiac.plotting.overlays import known_values
from fermiac.plotting.samples import plot_pairs
from fermiac.plotting.style import BLUE, GREY, ORANGE, RED, panels, pyplot
from fermiac.plotting.subject import Columns, Names, chosen, of_class, positions

if TYPE_CHECKING:
    from fermiac.distributions import Law
    from fermiac.nested import NestedResult
    from fermiac.results.sample import Sample

__all__ = ["plot_corner", "plot_live", "plot_nested_trace", "plot_run"]

Array = NDArray[np.float64]
#: The largest number of coordinates in a figure, and of points drawn one by one.
_MOST, _DOTS = 8, 20_000


def plot_run(result: NestedResult, axes: Any = None, *, truth: float | None = None) -> NDArray[Any]:
    """Draw live points, likelihood, posterior mass and evidence against the remaining prior mass.

    Parameters
    ----------
    result : NestedResult
        The result.
    axes : array of 4 matplotlib Axes, optional
        The axes to draw in; a new figure by default.
    truth : float, optional
        The known logarithm of the evidence, drawn as a line.

    Returns
    -------
    ndarray of matplotlib Axes, shape (4,)

    Raises
    ------
    ArgumentError
        For another number of axes.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    The band about the evidence so far is two standard errors of its logarithm wide on each side.
    The error bar at the end contains 95 % of the evidences under simulated prior masses.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Uniform([-5.0, -5.0], [5.0, 5.0])
    >>> r = fm.nested.sample(lambda x: -0.5 * (x**2).sum(axis=1), law, n_live=100, rng=0)
    >>> axes = fm.plotting.plot_run(r)  # doctest: +SKIP
    """
    of_class("result", result, "fermiac.nested.NestedResult")
    out = panels(4, axes, abreast=1, size=(6.4, 1.6))
    assert result.log_densities is not None
    gone, weights = -result.log_x, result._weights()
    used = result.log_densities > -np.inf
    out[0].step(gone, result.n_alive, where="pre", color=BLUE, lw=1.2)
    out[0].set_ylim(0, 1.1 * result.n_alive.max())
    out[0].set_ylabel("live points")
    _likelihood(out[1], gone[used], result.log_densities[used])
    # The trapezoid rule gives each point half of the steps on both sides.
    steps = np.diff(gone, prepend=0.0)
    height = 2 * weights / (steps + np.append(steps[1:], steps[-1:]))
    out[2].fill_between(gone, height, color=BLUE, alpha=0.35, lw=0)
    out[2].plot(gone, height, color=BLUE, lw=1.2)
    out[2].set_ylim(bottom=0)
    out[2].set_ylabel("posterior mass\nper unit of $-\\log X$")
    _evidence(out[3], result, gone, truth)
    for ax in out:
        ax.set_xlim(0, gone[-1])
        ax.spines[["right", "top"]].set_visible(False)
        ax.tick_params(labelbottom=ax is out[-1], labelsize="small")
        ax.yaxis.label.set_size("small")
    out[-1].set_xlabel("$-\\log X$, X the remaining prior mass")
    out[0].set_title(result._first_line().partition(": ")[2], fontsize="small", loc="left")
    return out


def _likelihood(ax: Any, gone: Array, ell: Array) -> None:
    """Draw the log-likelihoods over the range above the first tenth of the points."""
    ax.plot(gone, ell, color=BLUE, lw=1.2)
    low = float(np.quantile(ell, 0.1)) if ell.size else 0.0
    high = float(ell.max(initial=low))
    ax.set_ylim(low - 0.05 * (high - low or 1.0), high + 0.15 * (high - low or 1.0))
    ax.set_ylabel("log-likelihood")


def _evidence(ax: Any, result: NestedResult, gone: Array, truth: float | None) -> None:
    """Draw the evidence so far as a share of the whole, with its error."""
    log_z, _, variance = running(result)
    share = np.exp(log_z - result.log_evidence)
    # For the first points the share is negligible, and its logarithm has a huge error.
    seen = share > 1e-3
    spread = np.exp(2 * np.sqrt(variance[seen]))
    ax.fill_between(
        gone[seen], share[seen] / spread, share[seen] * spread, color=BLUE, alpha=0.2, lw=0
    )
    ax.plot(gone, share, color=BLUE, lw=1.2)
    ends = np.quantile(result.log_evidence_samples, [0.025, 0.975]) - result.log_evidence
    low, high = np.exp(ends)
    top = max(1.0, high, float(share[-1] * spread[-1]))
    at = 0.985 * gone[-1]
    ax.errorbar([at], [1.0], [[max(1 - low, 0)], [max(high - 1, 0)]], color=BLUE, capsize=3, lw=1.2)
    if truth is not None:
        truth = real("truth", truth)
        known = float(np.exp(truth - result.log_evidence))
        ax.axhline(known, color=RED, lw=1, ls="--", label=f"known: {truth:.6g}")
        ax.legend(frameon=False, fontsize="small", loc="upper left")
        top = max(top, min(known, 10.0))
    ax.set_ylim(0, 1.1 * top)
    ax.set_ylabel("evidence so far\n(share of all)")


def plot_nested_trace(
    result: NestedResult,
    axes: Any = None,
    *,
    columns: Columns = None,
    var_names: Names = None,
    truths: Mapping[str, ArrayLike] | ArrayLike | None = None,
) -> NDArray[Any]:
    """Draw the coordinates of the points against the remaining prior mass, beside their marginals.

    Parameters
    ----------
    result : NestedResult
        The result.
    axes : (d, 2) array of matplotlib Axes, optional
        The axes to draw in; a new figure by default.
    columns : sequence of int or str, optional
        Positions or names of the coordinates; by default the first 8.
    var_names : str or sequence of str, optional
        Names of variables or coordinates, instead of `columns`.
    truths : mapping of str to array_like, or array_like, optional
        Known values by the names of variables, or of the coordinates that are drawn, NaN for none.
        They are red lines.

    Returns
    -------
    ndarray of matplotlib Axes, shape (d, 2)

    Raises
    ------
    ArgumentError
        If there are more than 8 coordinates, another number of axes, or no such coordinate.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    Darker points have more weight in the posterior; lines are its median and 90 % interval.
    Parallel bands are modes, and a band that ends is a mode that died out. The first points may lie
    outside of the axes, whose range follows from that of the posterior.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Uniform([-5.0, -5.0], [5.0, 5.0])
    >>> r = fm.nested.sample(lambda x: -0.5 * (x**2).sum(axis=1), law, n_live=100, rng=0)
    >>> axes = fm.plotting.plot_nested_trace(r)  # doctest: +SKIP
    """
    of_class("result", result, "fermiac.nested.NestedResult")
    places = chosen(result, columns, var_names)
    if places is None:
        places = list(range(min(result.dim, _MOST)))
    some, known = _some(result, places), known_values(result, places, truths)
    d = some.dim
    if axes is None:
        axes = pyplot().subplots(
            d,
            2,
            figsize=(7.5, 1.7 * d + 0.5),
            squeeze=False,
            sharey="row",
            width_ratios=[4, 1],
            layout="constrained",
        )[1]
    grid = panels(2 * d, axes).reshape(d, 2)
    gone, weights, points = -some.log_x, some._weights(), some._points
    quantiles = np.asarray(some.quantile([0.05, 0.5, 0.95]))
    # A subset if there are very many points; heavy points come last, on top.
    shown = np.linspace(0, len(gone) - 1, min(len(gone), _DOTS)).astype(np.int64)
    shown = shown[np.argsort(weights[shown], kind="stable")]
    shade = weights[shown] / weights.max()
    for (left, right), x, name, bounds, lines, truth in zip(
        grid, points.T, some._labels, some.bounds, quantiles.T, known, strict=True
    ):
        left.scatter(
            gone[shown], x[shown], c=shade, s=3, lw=0, cmap=_shades(), vmin=0, vmax=1,
            rasterized=True,
        )  # fmt: skip
        left.set_ylabel(name)
        left.set_xlim(0, gone[-1])
        edges = edges_of(x, weights, bounds)
        histogram(right, x, weights, edges, across=True)
        right.autoscale_view()
        right.set_xlim(left=0)
        right.set_xticks([])
        reach = 0.75 * (edges[-1] - edges[0])
        left.set_ylim(max(edges[0] - reach, x.min()), min(edges[-1] + reach, x.max()))
        right.tick_params(labelleft=False)
        for ax in (left, right):
            for line, style in zip(lines, (":", "-", ":"), strict=True):
                ax.axhline(line, color=ORANGE, lw=1, ls=style)
            if np.isfinite(truth):
                ax.axhline(truth, color=RED, lw=1)
            ax.spines[["right", "top"]].set_visible(False)
            ax.tick_params(labelsize="small")
    for left in grid[:-1, 0]:
        left.tick_params(labelbottom=False)
    grid[-1, 0].set_xlabel("$-\\log X$, X the remaining prior mass")
    grid[-1, 1].set_xlabel("posterior")
    return grid


def plot_corner(
    result: NestedResult,
    axes: Any = None,
    *,
    columns: Columns = None,
    var_names: Names = None,
    truths: Mapping[str, ArrayLike] | ArrayLike | None = None,
    prior: Law | Sample | None = None,
    labels: str | Sequence[str] | None = None,
) -> NDArray[Any]:
    """Draw the posterior of the coordinates, and of each pair below the diagonal.

    Parameters
    ----------
    result : NestedResult
        The result.
    axes : (d, d) array of matplotlib Axes, optional
        The axes to draw in; a new figure by default.
    columns : sequence of int or str, optional
        Positions or names of the coordinates; by default all.
    var_names : str or sequence of str, optional
        Names of variables or coordinates, instead of `columns`.
    truths : mapping of str to array_like, or array_like of shape (d,), optional
        Known values by the names of variables, or of the coordinates that are drawn, NaN for none.
        They are red lines.
    prior : law or Sample, optional
        The prior of all coordinates, whose densities are dashed lines on the diagonal.
    labels : str or sequence of str, optional
        The name of the result in the legend.

    Returns
    -------
    ndarray of matplotlib Axes, shape (d, d)
        Those above the diagonal are empty.

    Raises
    ------
    ArgumentError
        If there are more than 40 coordinates, another number of axes or truths, or no such
        coordinate.
    ImportError
        If matplotlib is not installed.

    Warns
    -----
    FermiacWarning
        If there are more than 8 coordinates.

    Notes
    -----
    Titles show the median and the distances of the quantiles at 16 % and 84 %, the dotted lines.
    Contours of pairs enclose 50 % (thick) and 90 % (thin) of the mass.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Uniform([-5.0, -5.0], [5.0, 5.0])
    >>> r = fm.nested.sample(lambda x: -0.5 * (x**2).sum(axis=1), law, n_live=100, rng=0)
    >>> fm.plotting.plot_corner(r).shape  # doctest: +SKIP
    (2, 2)
    """
    of_class("result", result, "fermiac.nested.NestedResult")
    places = chosen(result, columns, var_names)
    some = result if places is None else result._coordinates(places)
    grid = plot_pairs(
        result, axes, columns=places, truths=truths, prior=prior, labels=labels
    )  # fmt: skip
    quantiles = np.asarray(some.quantile([0.16, 0.5, 0.84]))
    for i in range(some.dim):
        low, middle, high = quantiles[:, i]
        ax = grid[i, i]
        for x, style in ((low, ":"), (middle, "-"), (high, ":")):
            ax.axvline(x, color=ORANGE, lw=1, ls=style)
        ax.set_title(_interval(low, middle, high), fontsize="small")
    return grid


def _interval(low: float, middle: float, high: float) -> str:
    """Return a median and its interval as text, to two digits of the smaller half."""
    least = min(high - middle, middle - low)
    if not least > 0:
        return f"{middle:.3g}"
    places = 1 - int(np.floor(np.log10(least)))
    if not 0 <= places <= 5:
        return f"{middle:.3g} (+{high - middle:.2g}, −{middle - low:.2g})"
    up, down = f"{high - middle:.{places}f}", f"{middle - low:.{places}f}"
    return f"${middle:.{places}f}^{{+{up}}}_{{-{down}}}$"


def plot_live(
    result: NestedResult, level: float, axes: Any = None, *, columns: Columns = None
) -> NDArray[Any]:
    """Draw the points that were alive at a level of the log-likelihood.

    Parameters
    ----------
    result : NestedResult
        The result.
    level : float
        The log-likelihood. A point is alive if it was drawn above a lower level and its own
        log-likelihood is not below this level.
    axes : (d, d) array of matplotlib Axes, optional
        The axes to draw in; a new figure by default.
    columns : sequence of int or str, optional
        Positions or names of the coordinates; by default all.

    Returns
    -------
    ndarray of matplotlib Axes, shape (d, d)
        Those above the diagonal are empty.

    Raises
    ------
    ArgumentError
        If no point was alive there, for more than 8 coordinates, another number of axes, or if
        there is no such coordinate.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    If the sampler is correct, they are independent draws from the prior above the level. All other
    points of the run are grey.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Uniform([-5.0, -5.0], [5.0, 5.0])
    >>> r = fm.nested.sample(lambda x: -0.5 * (x**2).sum(axis=1), law, n_live=100, rng=0)
    >>> fm.plotting.plot_live(r, level=-2.0).shape  # doctest: +SKIP
    (2, 2)
    """
    of_class("result", result, "fermiac.nested.NestedResult")
    level = real("level", level, "a log-likelihood is needed", lambda x: not np.isnan(x))
    alive = (result.births < level) & (result.log_likelihoods >= level)
    if not alive.any():
        raise ArgumentError(
            f"level: {level} given, at which no point was alive; log-likelihoods go up to "
            f"{result.log_likelihoods[-1]:.6g}"
        )
    some = result if columns is None else _some(result, columns)
    d = some.dim
    if d > _MOST:
        raise ArgumentError(
            f"{d} coordinates given, of which {_MOST} can be read in one picture; choose some by "
            "columns="
        )
    if axes is None:
        side = 1.9 * d + 0.8
        axes = pyplot().subplots(
            d, d, figsize=(max(side, 3.2), max(side, 3.2)), squeeze=False, layout="constrained"
        )[1]
    grid = panels(d * d, axes).reshape(d, d)
    points, names = some._points, some._labels
    others = np.flatnonzero(~alive)
    others = others[np.linspace(0, len(others) - 1, min(len(others), _DOTS)).astype(np.int64)]
    equal = np.full(int(alive.sum()), 1 / alive.sum())
    for i in range(d):
        for j in range(d):
            ax = grid[i, j]
            if j > i:
                ax.set_axis_off()
                continue
            if i == j:
                x = points[alive, i]
                histogram(ax, x, equal, edges_of(x, equal, some.bounds[i]))
                ax.set_yticks([])
                ax.set_ylim(bottom=0)
            else:
                for rows, color, size in ((others, GREY, 2), (alive, BLUE, 7)):
                    ax.scatter(
                        points[rows, j], points[rows, i], s=size, color=color, lw=0,
                        alpha=0.3 if color == GREY else 0.8, rasterized=True,
                    )  # fmt: skip
            ax.spines[["right", "top"]].set_visible(False)
            ax.tick_params(labelbottom=i == d - 1, labelleft=j == 0 and i > 0, labelsize="small")
            if i == d - 1:
                ax.set_xlabel(names[j])
            if j == 0 and i > 0:
                ax.set_ylabel(names[i])
    shrunk = float(np.interp(level, result.log_likelihoods, result.log_x))
    grid[0, 0].set_title(
        f"{alive.sum()} alive at {level:.4g},\n$-\\log X$ = {-shrunk:.3g}", fontsize="small"
    )
    return grid


def _some(result: NestedResult, columns: Sequence[int | str]) -> NestedResult:
    """Return the result restricted to some coordinates."""
    chosen = positions(result, columns)
    if len(chosen) > _MOST:
        raise ArgumentError(
            f"columns: {len(chosen)} given, of which {_MOST} can be read in one picture"
        )
    return result._coordinates(chosen)


def _shades() -> Any:
    """Return the colour map of weights, from light grey to dark blue."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("weights", ["#c9cdd2", BLUE, "#0b2545"])
