"""Plots of samples: weighted histograms, pairs of coordinates, the tail of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import ArgumentError
from fermiac.plotting.chains import divergences, positions
from fermiac.plotting.marginals import contour_lines, density, edges_of, histogram
from fermiac.plotting.style import (
    BLUE,
    GREY,
    ORANGE,
    RED,
    as_array,
    new_axes,
    panels,
    pyplot,
    require_axes,
)
from fermiac.plotting.subject import of_class

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fermiac.results.sample import Sample

__all__ = ["plot_marginals", "plot_pairs", "plot_weights"]

Array = NDArray[np.float64]
#: The largest numbers of panels.
_MOST_MARGINALS, _MOST_PAIRS = 36, 8


def plot_marginals(sample: Sample, axes: Any = None) -> NDArray[Any]:
    """Draw a weighted histogram of every coordinate, with its median and its 90 % interval.

    Parameters
    ----------
    sample : Sample
        The sample.
    axes : array of matplotlib Axes, optional
        The axes, one for each coordinate; a new figure by default.

    Returns
    -------
    ndarray of matplotlib Axes, shape (d,)

    Raises
    ------
    ArgumentError
        If there are more than 36 coordinates, or another number of axes.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import fermiac as fm
    >>> s = fm.Sample.from_arrays(fm.distributions.Normal().sample(500, rng=0))
    >>> axes = s.plot_marginals()
    """
    of_class("sample", sample, "fermiac.Sample")
    _readable(sample.dim, _MOST_MARGINALS, _OF_SOME)
    points, weights, names = sample._points, sample._weights(), sample._labels
    out = panels(sample.dim, axes)
    quantiles = np.asarray(sample.quantile([0.05, 0.5, 0.95]))
    for ax, x, name, bounds, (low, median, high) in zip(
        out, points.T, names, sample.bounds, quantiles.T, strict=True
    ):
        ax.axvspan(low, high, color=ORANGE, alpha=0.12, lw=0)
        histogram(ax, x, weights, edges_of(x, weights, bounds))
        ax.axvline(median, color=ORANGE, lw=1.2)
        ax.set_xlabel(name)
        ax.set_yticks([])
        ax.set_ylim(bottom=0)
        ax.spines[["left", "right", "top"]].set_visible(False)
    out[0].set_title("median and 90 % interval", fontsize="small", color=ORANGE, loc="left")
    return out


def plot_pairs(
    sample: Sample, axes: Any = None, *, columns: Sequence[int | str] | None = None
) -> NDArray[Any]:
    """Draw weighted histograms of the coordinates, and of each pair below the diagonal.

    Divergent transitions of chains are marked in red.

    Parameters
    ----------
    sample : Sample
        The sample.
    axes : (d, d) array of matplotlib Axes, optional
        The axes; a new figure by default.
    columns : sequence of int or str, optional
        Positions or names of the coordinates; by default all.

    Returns
    -------
    ndarray of matplotlib Axes, shape (d, d)
        Those above the diagonal are empty.

    Raises
    ------
    ArgumentError
        If there are more than 8 coordinates, another number of axes, or an unknown coordinate.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    The contours enclose 50 % (thick) and 90 % (thin) of the mass, as the legend above the diagonal
    says. Bars and contours end at the bounds of the coordinates (`Sample.bounds`).

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.MultivariateNormal([0, 0], [[1, 0.5], [0.5, 1]])
    >>> s = fm.Sample.from_arrays(law.sample(500, rng=0))
    >>> axes = s.plot_pairs()
    """
    of_class("sample", sample, "fermiac.Sample")
    if columns is not None:
        sample = sample._coordinates(positions(sample, columns))
    d = sample.dim
    _readable(d, _MOST_PAIRS, "choose some by columns=")
    points, weights, names = sample._points, sample._weights(), sample._labels
    if axes is None:
        side = 1.9 * d + 0.8
        axes = pyplot().subplots(
            d, d, figsize=(side, side), squeeze=False, sharex="col", layout="constrained"
        )[1]
    grid = as_array(axes)
    if grid.size != d * d:
        raise ArgumentError(f"axes: {grid.size} given for {d} x {d} pairs")
    grid = grid.reshape(d, d)
    for ax in grid.flat:
        require_axes("axes", ax)
    bounds = sample.bounds
    edges = [edges_of(x, weights, ends) for x, ends in zip(points.T, bounds, strict=True)]
    diverged = points[divergences(sample).ravel()]
    for i in range(d):
        for j in range(d):
            ax = grid[i, j]
            if j > i:
                ax.set_axis_off()
                continue
            if i == j:
                histogram(ax, points[:, i], weights, edges[i])
                ax.set_yticks([])
                ax.set_ylim(bottom=0)
            else:
                density(ax, points[:, [j, i]], weights, (edges[j], edges[i]), bounds[[j, i]])
                ax.plot(diverged[:, j], diverged[:, i], ".", color=RED, ms=3, zorder=3)
                ax.set_ylim(edges[i][0], edges[i][-1])
            ax.set_xlim(edges[j][0], edges[j][-1])
            ax.spines[["right", "top"]].set_visible(False)
            ax.tick_params(labelbottom=i == d - 1, labelleft=j == 0 and i > 0, labelsize="small")
            if i == d - 1:
                ax.set_xlabel(names[j])
            if j == 0 and i > 0:
                ax.set_ylabel(names[i])
    if d > 1:
        _name_lines(grid[0, -1], len(diverged) > 0)
    return grid


def _name_lines(corner: Axes, has_diverged: bool) -> None:
    """Say in the empty corner of a grid of pairs what its lines and dots are."""
    from matplotlib.lines import Line2D

    dots = Line2D([], [], color=RED, ls="", marker=".", label="divergent transitions")
    corner.legend(
        handles=[*contour_lines(), *([dots] if has_diverged else [])],
        loc="upper right",
        fontsize="small",
        frameon=False,
        borderaxespad=0,
    )


def plot_weights(sample: Sample, ax: Axes | None = None) -> Axes:
    """Draw the share of points above a weight, with the fitted Pareto tail.

    Parameters
    ----------
    sample : Sample
        A sample with weights.
    ax : matplotlib Axes, optional
        The axes; a new figure by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ArgumentError
        If the sample has no weights.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    Both axes are logarithmic. A tail with moments of order up to 1 / k ends as a line of slope
    -1 / k.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.distributions.Normal(0.0, 2.0).sample(1000, rng=0)
    >>> s = fm.Sample.from_arrays(x, -0.375 * x[:, 0] ** 2)
    >>> ax = s.plot_weights()
    """
    of_class("sample", sample, "fermiac.Sample")
    if sample.log_weights is None:
        raise ArgumentError("this sample has no weights: its points count equally")
    weights = np.sort(sample._weights() * sample.n_draws)
    weights = weights[weights > 0]
    ax = new_axes(ax)
    n = sample.n_draws
    above = np.arange(weights.size, 0, -1) / n
    ax.step(weights, above, where="pre", color=BLUE, lw=1.5, label="weights")
    khat = float(sample.khat)
    tail = min(_tail_length(n), weights.size - 1)
    cut, largest = weights[-tail - 1], weights[-1]
    label = f"k-hat {khat:.2f}, ESS {float(sample._ess_of_weights):.0f} of {n}"
    if np.isfinite(khat) and largest > cut:
        ax.axvline(cut, color=GREY, lw=1, ls=":", label=f"the tail: {tail} points")
        # The scale of the fitted tail follows from the excesses.
        excess = weights[-tail:] - cut
        at = np.geomspace(1e-3 * (largest - cut), 3 * (largest - cut), 200)
        scale = _scale(excess, khat)
        with np.errstate(divide="ignore", invalid="ignore"):
            survival = (
                np.exp(-at / scale)
                if abs(khat) < 1e-6
                else np.maximum(1 + khat * at / scale, 0.0) ** (-1 / khat)
            )
        shown = survival * tail > 0.2
        ax.plot(cut + at[shown], tail / n * survival[shown], color=ORANGE, label=label)
    else:
        ax.plot([], [], color=ORANGE, label=label)
    ax.set_xscale("log")
    ax.set_yscale("log")
    # Weights far below the mean do not matter for the error.
    ax.set_xlim(max(weights[0], 1e-3 * min(cut, 1.0)) / 1.5, 2 * largest)
    ax.set_ylim(0.5 / n, 2)
    ax.set_xlabel("weight (mean 1)")
    ax.set_ylabel("share of points above")
    ax.spines[["right", "top"]].set_visible(False)
    ax.legend(frameon=False, loc="lower left")
    return ax


def _tail_length(n: int) -> int:
    """Return the number of points to which k-hat is fitted."""
    return max(int(3 * np.sqrt(n)) if n > 225 else n // 5, 5)


def _scale(excess: Array, khat: float) -> float:
    """Return the maximum-likelihood scale of a Pareto tail of this shape."""
    from scipy.optimize import minimize_scalar

    if abs(khat) < 1e-6:
        return float(excess.mean())

    def minus_log_likelihood(log_scale: float) -> float:
        z = 1 + khat * excess / np.exp(log_scale)
        if z.min() <= 0:
            return 1e300
        return float(log_scale * excess.size + (1 + 1 / khat) * np.log(z).sum())

    # A tail with negative k-hat ends, but not before the largest point.
    low = np.log(max(-khat * excess.max() * (1 + 1e-9), 1e-6 * excess.mean()))
    found = minimize_scalar(
        minus_log_likelihood, bounds=(low, np.log(excess.mean()) + 5), method="bounded"
    )
    return float(np.exp(found.x))


_OF_SOME = (
    "make a sample of some: Sample.from_arrays(sample.draws[..., columns], sample.log_weights)"
)


def _readable(dim: int, most: int, advice: str) -> None:
    """Raise an error for more coordinates than fit into one figure."""
    if dim > most:
        raise ArgumentError(
            f"{dim} coordinates given, of which {most} fit into one figure; {advice}"
        )
