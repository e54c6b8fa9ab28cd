"""Plots of samples: weighted histograms, pairs of coordinates, the tail of the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac.errors import ArgumentError
from fermiac.plotting.chains import divergences
from fermiac.plotting.marginals import contour_lines, density, edges_of, histogram
from fermiac.plotting.overlays import (
    Layer,
    as_samples,
    draw_prior,
    known_values,
    layers,
    legend_lines,
    prior_of,
)
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
from fermiac.plotting.subject import Columns, Names, of_class, readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fermiac.distributions import Law
    from fermiac.results.sample import Sample

__all__ = ["plot_marginals", "plot_pairs", "plot_weights"]

Array = NDArray[np.float64]
#: More coordinates than these are hard to read, and more than the limits are refused.
_MOST_MARGINALS, _MOST_PAIRS = 36, 8
_LIMIT_MARGINALS, _LIMIT_PAIRS = 200, 40
#: The largest side of a figure of pairs, in inches.
_LARGEST = 24.0


def plot_marginals(
    sample: Sample | Sequence[Sample],
    axes: Any = None,
    *,
    columns: Columns = None,
    var_names: Names = None,
    truths: Mapping[str, ArrayLike] | ArrayLike | None = None,
    prior: Law | Sample | None = None,
    labels: str | Sequence[str] | None = None,
) -> NDArray[Any]:
    """Draw a weighted histogram of every coordinate, with its median and its 90 % interval.

    Parameters
    ----------
    sample : Sample or sequence of Sample
        The sample; or several, each in its own colour and without the interval.
    axes : array of matplotlib Axes, optional
        The axes, one for each coordinate; a new figure by default.
    columns : sequence of int or str, optional
        Positions or names of the coordinates; by default all.
    var_names : str or sequence of str, optional
        Names of variables or coordinates, instead of `columns`.
    truths : mapping of str to array_like, or array_like of shape (d,), optional
        Known values by the names of variables, or of the coordinates that are drawn, NaN for none.
        They are red lines.
    prior : law or Sample, optional
        The prior of all coordinates, whose density is a dashed line.
    labels : str or sequence of str, optional
        The names of the samples in the legend.

    Returns
    -------
    ndarray of matplotlib Axes, shape (d,)

    Raises
    ------
    ArgumentError
        If there are more than 200 coordinates, another number of axes, or an unknown coordinate, or
        if truths, prior or labels do not fit.
    ImportError
        If matplotlib is not installed.

    Warns
    -----
    FermiacWarning
        If there are more than 36 coordinates.

    Examples
    --------
    >>> import fermiac as fm
    >>> s = fm.Sample.from_arrays(
    ...     fm.distributions.Normal().sample(500, rng=0), names=["mu"]
    ... )
    >>> axes = s.plot_marginals(truths={"mu": 0.0}, prior=fm.distributions.Normal(0.0, 2.0))
    """
    samples = as_samples(sample)
    some, places = layers(samples, columns, var_names, labels)
    readable(len(places), _MOST_MARGINALS, _LIMIT_MARGINALS)
    known = known_values(samples[0], places, truths)
    of_prior = prior_of(samples[0], places, prior)
    out = panels(len(places), axes)
    alone = some[0].sample if len(some) == 1 else None
    quantiles = None if alone is None else np.asarray(alone.quantile([0.05, 0.5, 0.95]))
    for j, (ax, name) in enumerate(zip(out, some[0].sample._labels, strict=True)):
        if quantiles is not None:
            ax.axvspan(quantiles[0, j], quantiles[2, j], color=ORANGE, alpha=0.12, lw=0)
        low, high = _histograms(ax, some, j)
        if quantiles is not None:
            ax.axvline(quantiles[1, j], color=ORANGE, lw=1.2)
        if of_prior is not None:
            draw_prior(ax, of_prior[0][:, j], of_prior[1], low, high)
        if np.isfinite(known[j]):
            ax.axvline(known[j], color=RED, lw=1)
        ax.set_xlabel(name)
        ax.set_yticks([])
        ax.set_ylim(bottom=0)
        ax.spines[["left", "right", "top"]].set_visible(False)
    if alone is not None:
        out[0].set_title("median and 90 % interval", fontsize="small", color=ORANGE, loc="left")
    if lines := legend_lines(some, known, of_prior is not None):
        out[-1].legend(handles=lines, fontsize="small", frameon=False)
    return out


def plot_pairs(
    sample: Sample | Sequence[Sample],
    axes: Any = None,
    *,
    columns: Columns = None,
    var_names: Names = None,
    truths: Mapping[str, ArrayLike] | ArrayLike | None = None,
    prior: Law | Sample | None = None,
    labels: str | Sequence[str] | None = None,
) -> NDArray[Any]:
    """Draw weighted histograms of the coordinates, and of each pair below the diagonal.

    Divergent transitions of chains are marked in red.

    Parameters
    ----------
    sample : Sample or sequence of Sample
        The sample; or several with the same names, each in its own colour.
    axes : (d, d) array of matplotlib Axes, optional
        The axes; a new figure by default.
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
        The names of the samples in the legend.

    Returns
    -------
    ndarray of matplotlib Axes, shape (d, d)
        Those above the diagonal are empty.

    Raises
    ------
    ArgumentError
        If there are more than 40 coordinates, another number of axes, or an unknown coordinate, or
        if truths, prior or labels do not fit.
    ImportError
        If matplotlib is not installed.

    Warns
    -----
    FermiacWarning
        If there are more than 8 coordinates.

    Notes
    -----
    The contours enclose 50 % (thick) and 90 % (thin) of the mass, as the legend above the diagonal
    says. Bars and contours end at the bounds of the coordinates (`Sample.bounds`).

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.MultivariateNormal([0, 0], [[1, 0.5], [0.5, 1]])
    >>> s = fm.Sample.from_arrays(law.sample(500, rng=0), names=["mu", "tau"])
    >>> axes = s.plot_pairs(truths={"mu": 0.0})

    Two samples in one figure:

    >>> t = fm.Sample.from_arrays(1 + law.sample(500, rng=1), names=["mu", "tau"])
    >>> axes = fm.plotting.plot_pairs([s, t], labels=["before", "after"])
    """
    samples = as_samples(sample)
    some, places = layers(samples, columns, var_names, labels)
    d = len(places)
    readable(d, _MOST_PAIRS, _LIMIT_PAIRS)
    known = known_values(samples[0], places, truths)
    of_prior = prior_of(samples[0], places, prior)
    names = some[0].sample._labels
    if axes is None:
        side = min(1.9 * d + 0.8, _LARGEST)
        axes = pyplot().subplots(
            d, d, figsize=(side, side), squeeze=False, sharex="col", layout="constrained"
        )[1]
    grid = as_array(axes)
    if grid.size != d * d:
        raise ArgumentError(f"axes: {grid.size} given for {d} x {d} pairs")
    grid = grid.reshape(d, d)
    for ax in grid.flat:
        require_axes("axes", ax)
    edges = [_edges(s) for s in some]
    ranges = [
        (min(e[j][0] for e in edges), max(e[j][-1] for e in edges)) for j in range(d)
    ]  # fmt: skip
    diverged = some[0].points[divergences(some[0].sample).ravel()]
    if len(some) > 1:
        diverged = diverged[:0]
    for i in range(d):
        for j in range(d):
            ax = grid[i, j]
            if j > i:
                ax.set_axis_off()
                continue
            if i == j:
                _histograms(ax, some, i)
                if of_prior is not None:
                    draw_prior(ax, of_prior[0][:, i], of_prior[1], *ranges[i])
                ax.set_yticks([])
                ax.set_ylim(bottom=0)
            else:
                for layer, e in zip(some, edges, strict=True):
                    density(
                        ax,
                        layer.points[:, [j, i]],
                        layer.weights,
                        (e[j], e[i]),
                        layer.sample.bounds[[j, i]],
                        layer.color if len(some) > 1 else None,
                    )
                ax.plot(diverged[:, j], diverged[:, i], ".", color=RED, ms=3, zorder=3)
                ax.set_ylim(*ranges[i])
                if np.isfinite(known[i]):
                    ax.axhline(known[i], color=RED, lw=1)
            if np.isfinite(known[j]):
                ax.axvline(known[j], color=RED, lw=1)
            ax.set_xlim(*ranges[j])
            _label_axes(ax, names, i, j)
    if d > 1:
        _name_lines(grid[0, -1], some, known, of_prior is not None, len(diverged) > 0)
    return grid


def _edges(layer: Layer) -> list[Array]:
    """Return the bins of all coordinates of a layer."""
    bounds = layer.sample.bounds
    return [
        edges_of(x, layer.weights, ends) for x, ends in zip(layer.points.T, bounds, strict=True)
    ]


def _histograms(ax: Axes, some: list[Layer], j: int) -> tuple[float, float]:
    """Draw the histograms of a coordinate in all layers, and return their common range."""
    ends = []
    for layer in some:
        x = layer.points[:, j]
        edges = edges_of(x, layer.weights, layer.sample.bounds[j])
        alpha = 0.35 if len(some) == 1 else 0.2
        histogram(ax, x, layer.weights, edges, color=layer.color, alpha=alpha)
        ends.append((float(edges[0]), float(edges[-1])))
    return min(low for low, _ in ends), max(high for _, high in ends)


def _label_axes(ax: Axes, names: tuple[str, ...], i: int, j: int) -> None:
    """Name the axes at the left and at the bottom of a grid of pairs."""
    d = len(names)
    crowded = d > _MOST_PAIRS
    ax.spines[["right", "top"]].set_visible(False)
    size = "xx-small" if crowded else "small"
    ax.tick_params(labelbottom=i == d - 1, labelleft=j == 0 and i > 0, labelsize=size)
    if crowded:
        ax.locator_params(nbins=3)
        ax.tick_params(axis="x", labelrotation=60)
    if i == d - 1:
        ax.set_xlabel(names[j])
    if j == 0 and i > 0:
        ax.set_ylabel(names[i])


def _name_lines(
    corner: Axes, some: list[Layer], known: Array, has_prior: bool, has_diverged: bool
) -> None:
    """Explain the lines and dots in the empty corner of a grid of pairs."""
    from matplotlib.lines import Line2D

    dots = Line2D([], [], color=RED, ls="", marker=".", label="divergent transitions")
    corner.legend(
        handles=[
            *contour_lines(ORANGE if len(some) == 1 else GREY),
            *legend_lines(some, known, has_prior),
            *([dots] if has_diverged else []),
        ],
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

    # A tail with negative k-hat has an end, at or beyond the largest point.
    low = np.log(max(-khat * excess.max() * (1 + 1e-9), 1e-6 * excess.mean()))
    found = minimize_scalar(
        minus_log_likelihood, bounds=(low, np.log(excess.mean()) + 5), method="bounded"
    )
    return float(np.exp(found.x))
