"""Pictures of trained samplers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fermiac._base.validate import listed, shown, whole
from fermiac.errors import ArgumentError
from fermiac.plotting.style import BLUE, GREY, ORANGE, new_axes
from fermiac.plotting.subject import of_class

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fermiac.importance import Sampler

__all__ = ["plot_sampler"]

#: Points that are drawn, and lines of a grid at most.
_POINTS = 1000
_LINES = 32


def plot_sampler(sampler: Sampler, ax: Axes | None = None, axes: tuple[int, int] = (0, 1)) -> Axes:
    """Draw points of a sampler in two coordinates, with the grid of its map or its components.

    Parameters
    ----------
    sampler : Sampler
        The sampler, from a result of `fermiac.importance`.
    ax : matplotlib Axes, optional
        The axes; of a new figure by default.
    axes : pair of int, default (0, 1)
        The two coordinates. For a sampler of one coordinate its density is drawn.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ArgumentError
        If a coordinate does not exist.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> def f(x):
    ...     return np.exp(-20 * ((x - 0.4) ** 2).sum(axis=1))
    >>> e = fm.importance.integrate(f, (0, 1), dim=2, n=10_000, method="map", rng=0)
    >>> ax = e.sampler.plot_sampler()
    """
    of_class("sampler", sampler, "fermiac.importance.Sampler")
    ax = new_axes(ax)
    if sampler.dim == 1:
        x = np.sort(sampler.sample(_POINTS, rng=0)[:, 0])
        ax.plot(x, sampler.pdf(x[:, None]), color=BLUE)
        ax.set(xlabel="x[0]", ylabel="density")
        return ax
    chosen = listed(axes, 2)
    if chosen is None or len(chosen) != 2:
        raise ArgumentError(f"axes: {shown(axes)} given; two coordinates are needed")
    i, j = (whole("axes", k, 0, sampler.dim - 1) for k in chosen)
    x = sampler.sample(_POINTS, rng=0)
    ax.plot(x[:, i], x[:, j], ".", ms=2, color=BLUE, alpha=0.5)
    if sampler.kind == "map":
        for k, line in ((i, ax.axvline), (j, ax.axhline)):
            knots = sampler._maps()[k]
            for t in knots[:: max(1, len(knots) // _LINES)]:
                at = float(sampler._points_of(k, t))
                if np.isfinite(at):
                    line(at, color=GREY, lw=0.5, zorder=0)
    lines = all(sampler.ends[k] == "infinite" for k in (i, j))
    if sampler.kind == "mixture" or (sampler.kind == "components" and lines):
        angle = np.linspace(0, 2 * np.pi, 100)
        circle = np.stack([np.cos(angle), np.sin(angle)])
        for mean, covariance in zip(sampler.means, sampler.covariances, strict=True):
            both = [i, j]
            factor = np.linalg.cholesky(covariance[np.ix_(both, both)])
            ring = mean[both, None] + 2 * factor @ circle
            scaled = sampler.origin[both, None] + sampler.scale[both, None] * ring
            ax.plot(*scaled, color=ORANGE)
    ax.set(xlabel=f"x[{i}]", ylabel=f"x[{j}]")
    return ax
