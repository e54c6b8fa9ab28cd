"""Densities of one and of two coordinates in pictures: histograms, and contours of known mass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fermiac.plotting.style import BLUE, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

__all__ = ["MASSES", "contour_lines", "density", "edges_of", "histogram"]

Array = NDArray[np.float64]
#: The shares of the mass inside of the contours, with the widths of their lines.
MASSES = {0.5: 1.6, 0.9: 0.8}
#: The share of the mass beyond the bins on each side.
_BEYOND = 5e-4
#: Bins reach to a bound that is nearer to them than this share of their range.
_NEAR = 0.02
_UNBOUNDED = (-np.inf, np.inf)
#: The least and the largest number of cells of a density along an axis.
_CELLS = 48, 200
#: The factors on the typical widths of kernels.
_FACTORS = tuple(0.7 * 2 ** (k / 2) for k in range(7))


def edges_of(x: Array, weights: Array, bounds: Any = _UNBOUNDED) -> Array:
    """Return the edges of bins over all but the outermost 0.05 % of the mass on each side.

    They end at the outermost of these points or at a nearby bound, never beyond a bound. Each bar
    therefore covers an interval in which the law has mass.
    """
    order = np.argsort(x)
    reached = np.cumsum(weights[order])
    ends = np.minimum(np.searchsorted(reached, [_BEYOND, 1 - _BEYOND]), x.size - 1)
    low, high = (float(at) for at in x[order[ends]])
    if not high > low:
        pad = max(abs(low), 1.0) * 0.5
        return np.linspace(max(low - pad, bounds[0]), min(high + pad, bounds[1]), 4)
    # The cube-root rule for the effective sample size.
    n = int(np.clip(2 * (1 / np.sum(weights**2)) ** (1 / 3), 8, 80))
    near = _NEAR * (high - low)
    if low - bounds[0] < near:
        low = float(bounds[0])
    if bounds[1] - high < near:
        high = float(bounds[1])
    return np.linspace(low, high, n + 1)


def histogram(
    ax: Axes,
    x: Array,
    weights: Array,
    edges: Array,
    *,
    across: bool = False,
    color: str = BLUE,
    alpha: float = 0.35,
) -> None:
    """Draw a weighted histogram as a density; with `across` its bars are horizontal."""
    heights = np.histogram(x, edges, weights=weights)[0] / np.diff(edges)
    turned: Literal["horizontal", "vertical"] = "horizontal" if across else "vertical"
    ax.stairs(heights, edges, fill=True, color=color, alpha=alpha, lw=0, orientation=turned)
    ax.stairs(heights, edges, color=color, lw=1.2, orientation=turned)


def contour_lines(color: str = ORANGE) -> list[Line2D]:
    """Return the entries of a legend that name the contours."""
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=color, lw=width, label=f"{100 * mass:.0f} % of the mass inside")
        for mass, width in MASSES.items()
    ]


def density(
    ax: Axes,
    points: Array,
    weights: Array,
    edges: tuple[Array, Array],
    bounds: Array,
    color: str | None = None,
) -> None:
    """Draw the density of two coordinates, and the contours that enclose `MASSES`.

    Parameters
    ----------
    ax : matplotlib Axes
        The axes.
    points : ndarray, shape (n, 2)
        The points.
    weights : ndarray, shape (n,)
        Their weights, which sum to one.
    edges : pair of ndarray
        The bins of the two coordinates, which set the ranges.
    bounds : ndarray, shape (2, 2)
        The bounds of the coordinates.
    color : str, optional
        The colour of the contours if several samples are drawn; they have no shades then.

    Notes
    -----
    Points are counted in fine cells, and smoothed by normal kernels that are wider where a first
    estimate of the density is low [1]_, so that narrow modes are not smeared and broad ones are not
    ragged. Kernels are reflected at a bound, so that the density does not fall towards the end of
    the support [2]_. The levels of the contours are weighted quantiles of the density at the
    points. The contours therefore enclose the stated mass for any smoothing of the density [3]_.

    References
    ----------
    .. [1] I. S. Abramson, "On bandwidth variation in kernel estimates - a square root law", Annals
       of Statistics, 1982, doi:10.1214/aos/1176345986.
    .. [2] B. W. Silverman, "Density Estimation for Statistics and Data Analysis", 1986, section
       2.10, doi:10.1201/9781315140919.
    .. [3] R. J. Hyndman, "Computing and graphing highest density regions", The American
       Statistician, 1996, doi:10.1080/00031305.1996.10474359.
    """
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm

    widths = _bandwidths(points, weights)
    grids = [_cells(e, w, of) for e, w, of in zip(edges, widths, bounds, strict=True)]
    mass = _smoothed(points, weights, grids, widths)
    # The square-root law, in classes of kernels.
    at = np.maximum(_at(mass, points, grids), 1e-12 * mass.max())
    typical = np.exp(weights @ np.log(at))
    factors = np.clip(np.sqrt(typical / at), _FACTORS[0], _FACTORS[-1])
    classes = np.rint(np.log(factors / _FACTORS[0]) / np.log(_FACTORS[1] / _FACTORS[0]))
    mass = np.zeros_like(mass)
    for k, factor in enumerate(_FACTORS):
        rows = classes == k
        mass += _smoothed(points[rows], weights[rows], grids, [factor * w for w in widths])
    if color is None:
        shades: Any = LinearSegmentedColormap.from_list("shades", ["white", BLUE])
        ax.pcolormesh(*grids, mass.T, cmap=shades, norm=PowerNorm(0.6), rasterized=True)
    levels = _levels(mass, points, weights, grids)
    if levels[0] > 0 and np.all(np.diff(levels) > 0) and levels[-1] < mass.max():
        # The density is 0 beyond the cells, so that contours close at a bound of the law.
        lines = ([g[0], *(g[1:] + g[:-1]) / 2, g[-1]] for g in grids)
        ax.contour(
            *lines, np.pad(mass, 1).T, levels=levels, colors=color or ORANGE,
            linewidths=[MASSES[mass] for mass in sorted(MASSES, reverse=True)],
        )  # fmt: skip


def _smoothed(points: Array, weights: Array, grids: list[Array], widths: list[float]) -> Array:
    """Return the mass in every cell, smoothed by a normal kernel that is reflected at the ends."""
    from scipy.ndimage import gaussian_filter1d

    x, y = points.T
    mass: Any = np.histogram2d(x, y, (grids[0], grids[1]), weights=weights)[0]
    for axis, (grid, width) in enumerate(zip(grids, widths, strict=True)):
        mass = gaussian_filter1d(mass, width / (grid[1] - grid[0]), axis=axis, mode="reflect")
    out: Array = mass
    return out


def _at(mass: Array, points: Array, grids: list[Array]) -> Array:
    """Return the smoothed mass at the points; 0 beyond the cells."""
    from scipy.interpolate import RegularGridInterpolator

    middles = [(g[1:] + g[:-1]) / 2 for g in grids]
    inside = [np.clip(x, m[0], m[-1]) for x, m in zip(points.T, middles, strict=True)]
    beyond = [(x < g[0]) | (x > g[-1]) for x, g in zip(points.T, grids, strict=True)]
    values = RegularGridInterpolator(middles, mass)(np.column_stack(inside))
    out: Array = np.where(beyond[0] | beyond[1], 0.0, values)
    return out


def _bandwidths(points: Array, weights: Array) -> list[float]:
    """Return the typical standard deviations of kernels, by Scott's rule in two dimensions."""
    shrunk = float(np.sum(weights**2) ** (1 / 6))
    centred = points - weights @ points
    cov = (centred * weights[:, None]).T @ centred
    spread = np.sqrt(np.diag(cov))
    correlation = cov[0, 1] / np.prod(spread) if np.all(spread > 0) else 0.0
    # A ridge is as narrow as one coordinate given the other.
    narrow = float(np.sqrt(max(1 - correlation**2, 1e-3)))
    return [
        shrunk * narrow * min(float(sd), _scale(x, weights)) or 1.0
        for x, sd in zip(points.T, spread, strict=True)
    ]


def _scale(x: Array, weights: Array) -> float:
    """Return the standard deviation of a normal law whose densest half has the same width."""
    order = np.argsort(x)
    reached, ordered = np.cumsum(weights[order]), x[order]
    last = np.searchsorted(reached, reached + 0.5)
    inside = last < x.size
    shortest = np.min(ordered[last[inside]] - ordered[inside], initial=np.inf)
    return float(shortest) / 1.349


def _cells(edges: Array, width: float, bounds: Array) -> Array:
    """Return the edges of cells of about half the width of the kernel.

    They end at bounds. Elsewhere they go so far beyond the bins that the smoothed density is 0.
    """
    near = 1e-9 * (edges[-1] - edges[0])
    low = edges[0] if edges[0] - bounds[0] <= near else max(edges[0] - 3 * width, bounds[0])
    high = edges[-1] if bounds[1] - edges[-1] <= near else min(edges[-1] + 3 * width, bounds[1])
    n = int(np.clip(2 * (high - low) / width, *_CELLS))
    return np.linspace(low, high, n + 1)


def _levels(mass: Array, points: Array, weights: Array, grids: list[Array]) -> list[float]:
    """Return the levels above which the density holds `MASSES`, in ascending order."""
    at = _at(mass, points, grids)
    order = np.argsort(-at)
    held = np.cumsum(weights[order])
    ranks = np.minimum(np.searchsorted(held, sorted(MASSES, reverse=True)), len(at) - 1)
    return [float(level) for level in at[order[ranks]]]
