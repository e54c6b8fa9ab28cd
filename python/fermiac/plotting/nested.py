"""Pictures of nested sampling: the run, the way of its points, the posterior, the live points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac.errors import ArgumentError
from fermiac.nested.exports import running
from fermiac.plotting.chains import positions
from fermiac.plotting.samples import edges_of, histogram, plot_pairs
from fermiac.plotting.style import BLUE, GREY, ORANGE, RED, panels, pyplot

if TYPE_CHECKING:
    from fermiac.nested import Nested

__all__ = ["plot_corner", "plot_live", "plot_nested_trace", "plot_run"]

Array = NDArray[np.float64]
Columns = Sequence[int | str] | None
#: Coordinates that can be read in one picture, and points that are drawn one by one.
_MOST, _DOTS = 8, 20_000


def plot_run(result: Nested, axes: Any = None, *, truth: float | None = None) -> NDArray[Any]:
    """Draw live points, likelihood, posterior mass and evidence against the prior mass left.

    Parameters
    ----------
    result : Nested
        What is drawn.
    axes : array of 4 matplotlib Axes, optional
        Where; a new figure by default.
    truth : float, optional
        The logarithm of the evidence, if it is known: a line beside the estimate.

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
    The band about the evidence so far is two standard errors wide at each side, those of its
    logarithm; the bar at its end holds 95 % of the evidences under simulated prior masses.
    """
    out = panels(4, axes, abreast=1, size=(6.4, 1.6))
    assert result.log_densities is not None
    gone, weights = -result.log_x, result._weights()
    used = result.log_densities > -np.inf
    out[0].step(gone, result.n_alive, where="pre", color=BLUE, lw=1.2)
    out[0].set_ylim(0, 1.1 * result.n_alive.max())
    out[0].set_ylabel("live points")
    _likelihood(out[1], gone[used], result.log_densities[used])
    # The trapezoid rule gives a point half of the step before it and half of the one after it.
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
    out[-1].set_xlabel("$-\\log X$, X the prior mass left")
    out[0].set_title(result._headline().partition(": ")[2], fontsize="small", loc="left")
    return out


def _likelihood(ax: Any, gone: Array, ell: Array) -> None:
    """The logarithm of the likelihood, over the range that tells of more than the first points."""
    ax.plot(gone, ell, color=BLUE, lw=1.2)
    low = float(np.quantile(ell, 0.1)) if ell.size else 0.0
    high = float(ell.max(initial=low))
    ax.set_ylim(low - 0.05 * (high - low or 1.0), high + 0.15 * (high - low or 1.0))
    ax.set_ylabel("log-likelihood")


def _evidence(ax: Any, result: Nested, gone: Array, truth: float | None) -> None:
    log_z, _, variance = running(result)
    share = np.exp(log_z - result.log_evidence)
    # Of the first points the logarithm is uncertain beyond all measure, and the share nothing.
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
        known = float(np.exp(truth - result.log_evidence))
        ax.axhline(known, color=RED, lw=1, ls="--", label=f"known: {truth:.6g}")
        ax.legend(frameon=False, fontsize="small", loc="upper left")
        top = max(top, min(known, 10.0))
    ax.set_ylim(0, 1.1 * top)
    ax.set_ylabel("evidence so far\n(share of all)")


def plot_nested_trace(result: Nested, axes: Any = None, *, columns: Columns = None) -> NDArray[Any]:
    """Draw the coordinates of the points against the prior mass left, and beside it their marginal.

    Parameters
    ----------
    result : Nested
        What is drawn.
    axes : (d, 2) array of matplotlib Axes, optional
        Where; a new figure by default.
    columns : sequence of int or str, optional
        Positions or names of the coordinates; by default the first 8.

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
    The darker a point, the more weight it has in the posterior; lines are its median and the 90 %
    interval. Bands that go on beside each other are modes, and those that end have died out. The
    first points may lie beyond the range, which is that of the posterior with as much beside it.
    """
    some = _some(result, range(min(result.dim, _MOST)) if columns is None else columns)
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
    # A subset where there are more points than can be told apart; heavy points come last, on top.
    shown = np.linspace(0, len(gone) - 1, min(len(gone), _DOTS)).astype(np.int64)
    shown = shown[np.argsort(weights[shown], kind="stable")]
    shade = weights[shown] / weights.max()
    for (left, right), x, name, lines in zip(
        grid, points.T, some._labels, quantiles.T, strict=True
    ):
        left.scatter(
            gone[shown], x[shown], c=shade, s=3, lw=0, cmap=_shades(), vmin=0, vmax=1,
            rasterized=True,
        )  # fmt: skip
        left.set_ylabel(name)
        left.set_xlim(0, gone[-1])
        edges = edges_of(x, weights)
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
            ax.spines[["right", "top"]].set_visible(False)
            ax.tick_params(labelsize="small")
    for left in grid[:-1, 0]:
        left.tick_params(labelbottom=False)
    grid[-1, 0].set_xlabel("$-\\log X$, X the prior mass left")
    grid[-1, 1].set_xlabel("posterior")
    return grid


def plot_corner(
    result: Nested,
    axes: Any = None,
    *,
    columns: Columns = None,
    truths: ArrayLike | None = None,
) -> NDArray[Any]:
    """Draw the posterior of the coordinates, and of each pair below the diagonal.

    Parameters
    ----------
    result : Nested
        What is drawn.
    axes : (d, d) array of matplotlib Axes, optional
        Where; a new figure by default.
    columns : sequence of int or str, optional
        Positions or names of the coordinates; by default all.
    truths : array_like, shape (d,), optional
        Known values of the coordinates that are drawn, NaN for none: red lines.

    Returns
    -------
    ndarray of matplotlib Axes, shape (d, d)
        Those above the diagonal are empty.

    Raises
    ------
    ArgumentError
        If there are more than 8 coordinates, another number of axes or truths, or no such
        coordinate.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    Titles have the median and what the quantiles at 16 % and 84 % differ by, which are the dotted
    lines. The lines of pairs hold half and 90 % of the mass.
    """
    some = result if columns is None else _some(result, columns)
    known = np.full(some.dim, np.nan)
    if truths is not None:
        known = np.asarray(truths, dtype=float)
        if known.shape != (some.dim,):
            raise ArgumentError(
                f"truths: an array of shape {known.shape} given; {some.dim} numbers are needed, "
                "one for each coordinate that is drawn"
            )
    grid = plot_pairs(some, axes)
    quantiles = np.asarray(some.quantile([0.16, 0.5, 0.84]))
    for i in range(some.dim):
        low, middle, high = quantiles[:, i]
        ax = grid[i, i]
        for x, style in ((low, ":"), (middle, "-"), (high, ":")):
            ax.axvline(x, color=ORANGE, lw=1, ls=style)
        ax.set_title(_interval(low, middle, high), fontsize="small")
        if not np.isfinite(known[i]):
            continue
        for ax in grid[i:, i]:
            ax.axvline(known[i], color=RED, lw=1)
        for ax in grid[i, :i]:
            ax.axhline(known[i], color=RED, lw=1)
    return grid


def _interval(low: float, middle: float, high: float) -> str:
    """A median with the ends of an interval, to two digits of the smaller half."""
    least = min(high - middle, middle - low)
    if not least > 0:
        return f"{middle:.3g}"
    places = 1 - int(np.floor(np.log10(least)))
    if not 0 <= places <= 5:
        return f"{middle:.3g} (+{high - middle:.2g}, −{middle - low:.2g})"
    up, down = f"{high - middle:.{places}f}", f"{middle - low:.{places}f}"
    return f"${middle:.{places}f}^{{+{up}}}_{{-{down}}}$"


def plot_live(
    result: Nested, level: float, axes: Any = None, *, columns: Columns = None
) -> NDArray[Any]:
    """Draw the points that were alive when the likelihood had risen to a level.

    Parameters
    ----------
    result : Nested
        What is drawn.
    level : float
        The log-likelihood: points born below it that were not.
    axes : (d, d) array of matplotlib Axes, optional
        Where; a new figure by default.
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
    They are independent draws from the prior above the level, so far as the sampler was right. All
    other points of the run are grey.
    """
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
                histogram(ax, x, equal, edges_of(x, equal))
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


def _some(result: Nested, columns: Sequence[int | str]) -> Nested:
    """Of some coordinates."""
    chosen = positions(result, columns)
    if len(chosen) > _MOST:
        raise ArgumentError(
            f"columns: {len(chosen)} given, of which {_MOST} can be read in one picture"
        )
    return result._coordinates(chosen)


def _shades() -> Any:
    """From what can just be seen to the colour of the library."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("weights", ["#c9cdd2", BLUE, "#0b2545"])
