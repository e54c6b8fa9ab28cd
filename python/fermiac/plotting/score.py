"""Plots of score models: images, trajectories from noise to data, levels of chains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.validate import numbers, real_numbers, whole
from fermiac.errors import ArgumentError
from fermiac.plotting.style import BLUE, GREY, ORANGE, RED, new_axes, panels
from fermiac.plotting.subject import of_class

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fermiac.score import LangevinGibbs

__all__ = ["plot_images", "plot_levels", "plot_schedules", "plot_trajectory"]

Array = NDArray[np.float64]
#: The most bars of a histogram of levels, and the most chains or trajectories drawn.
_BARS, _FEW, _TRAJECTORIES = 40, 6, 60


def plot_images(
    images: Any,
    shape: Sequence[int] | None = None,
    ax: Axes | None = None,
    *,
    n_columns: int | None = None,
    limits: tuple[float, float] | None = None,
    cmap: str = "gray_r",
) -> Axes:
    """Draw images in a grid.

    Parameters
    ----------
    images : array_like or torch.Tensor, shape (n, d), (n, h, w) or (n, channels, h, w)
        The images, row by row; one channel, or three for red, green and blue.
    shape : sequence of int, optional
        (h, w) or (channels, h, w) of images that are rows of d numbers; a square by default.
    ax : matplotlib Axes, optional
        The axes; a new figure by default.
    n_columns : int, optional
        Images in a row; by default the grid is nearly square.
    limits : (float, float), optional
        The values at the ends of the colour map; those of the images by default.
    cmap : str
        The colour map of images with one channel.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ArgumentError
        If the shape does not fit, or there are no images.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import fermiac as fm
    >>> ax = fm.plotting.plot_images(fm.random.Stream(0).normal((12, 64)))
    """
    pixels = _as_images(images, shape)
    n, height, width, n_channels = pixels.shape
    across = int(np.ceil(np.sqrt(n))) if n_columns is None else whole("n_columns", n_columns, 1, n)
    down = -(-n // across)
    ends = real_numbers("limits", (pixels.min(), pixels.max()) if limits is None else limits)
    if ends.shape != (2,):
        raise ArgumentError(f"limits: shape {ends.shape} given; two numbers are needed")
    low, high = map(float, ends)
    if not low < high:
        low, high = low - 0.5, low + 0.5
    # A margin of one pixel separates the images.
    whole_picture = np.full((down * (height + 1) - 1, across * (width + 1) - 1, n_channels), np.nan)
    for k, image in enumerate(np.clip((pixels - low) / (high - low), 0.0, 1.0)):
        top, left = (k // across) * (height + 1), (k % across) * (width + 1)
        whole_picture[top : top + height, left : left + width] = image
    ax = new_axes(ax)
    if n_channels == 1:
        shown: Array = np.ma.masked_invalid(whole_picture[..., 0])
    else:
        shown = np.where(np.isnan(whole_picture), 1.0, whole_picture)
    # The colour map has no effect on three channels.
    try:
        ax.imshow(shown, vmin=0.0, vmax=1.0, interpolation="nearest", cmap=cmap)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"cmap: no colour map of matplotlib ({error})") from error
    ax.set_axis_off()
    return ax


def plot_trajectory(
    trajectory: ArrayLike,
    sigmas: ArrayLike | None = None,
    ax: Axes | None = None,
    *,
    columns: tuple[int, int] = (0, 1),
) -> Axes:
    """Draw trajectories of points from noise to data, in two of their coordinates.

    Parameters
    ----------
    trajectory : array_like, shape (N + 1, n, d)
        The points at all levels, as `fermiac.score.integrate` returns them with
        ``return_trajectory=True``.
    sigmas : array_like, shape (N + 1,), optional
        The levels: points are divided by (1 + s²)^½, so that the whole trajectory is visible.
    ax : matplotlib Axes, optional
        The axes; a new figure by default.
    columns : (int, int)
        The two coordinates.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ArgumentError
        If a shape does not fit, or there is no such coordinate.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    At most 60 trajectories are drawn, and the first and last points of all.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> s = np.array([10.0, 1.0, 0.1])
    >>> z = fm.random.Stream(0).normal((50, 2))
    >>> ax = fm.plotting.plot_trajectory(s[:, None, None] * z, s)
    """
    from fermiac._base.tensors import to_numpy

    points = numbers("trajectory", to_numpy(trajectory))
    if points.ndim != 3 or 0 in points.shape:
        raise ArgumentError(
            f"trajectory: shape {points.shape} given; (N + 1, n, d) is needed, as "
            "return_trajectory=True gives it"
        )
    chosen: Any = columns
    flat = isinstance(chosen, Sequence) or np.ndim(chosen) == 1
    listed = chosen if flat else [chosen]
    pair = [whole("columns", column, 0, points.shape[2] - 1) for column in listed]
    if len(pair) != 2:
        raise ArgumentError(f"columns: {len(pair)} given; two are needed")
    paths = points[:, :, pair]
    if sigmas is not None:
        levels = numbers("sigmas", to_numpy(sigmas))
        if levels.shape != (len(paths),):
            raise ArgumentError(
                f"sigmas: shape {levels.shape} given; the trajectory has {len(paths)} levels"
            )
        paths = paths / np.sqrt(1 + levels**2)[:, None, None]
    ax = new_axes(ax)
    few = np.linspace(0, paths.shape[1] - 1, min(paths.shape[1], _TRAJECTORIES)).astype(np.int64)
    for path in paths[:, few].swapaxes(0, 1):
        ax.plot(path[:, 0], path[:, 1], color=BLUE, lw=0.6, alpha=0.4)
    for at, colour, label in ((0, GREY, "first level"), (-1, ORANGE, "last level")):
        x, y = paths[at].T
        ax.scatter(x, y, s=6, color=colour, lw=0, zorder=3, label=label)
    over = "" if sigmas is None else " / $\\sqrt{1 + s^2}$"
    ax.set_xlabel(f"x{pair[0]}{over}")
    ax.set_ylabel(f"x{pair[1]}{over}")
    ax.spines[["right", "top"]].set_visible(False)
    ax.legend(frameon=False, fontsize="small")
    return ax


def plot_schedules(schedules: Mapping[str, ArrayLike] | ArrayLike, ax: Axes | None = None) -> Axes:
    """Draw the levels of schedules against the share of the steps.

    Parameters
    ----------
    schedules : array_like, shape (N + 1,), or mapping of str to them
        Levels, from the highest to the lowest; a final level of 0 is left out.
    ax : matplotlib Axes, optional
        The axes; a new figure by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ArgumentError
        If levels are not one row of positive numbers.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> ax = fm.plotting.plot_schedules({"exponential": np.geomspace(10, 0.01, 11)})
    """
    given = schedules if isinstance(schedules, Mapping) else {"": schedules}
    ax = new_axes(ax)
    for name, levels in given.items():
        s = numbers("schedules", levels)
        if s.ndim != 1 or len(s) < 2 or not (s[:-1] > 0).all() or s[-1] < 0:
            raise ArgumentError(
                f"schedules: shape {s.shape} given{f' for {name!r}' if name else ''}; levels in "
                "one row, positive but for the last, are needed"
            )
        share = np.arange(len(s)) / (len(s) - 1)
        ax.semilogy(share[s > 0], s[s > 0], "o-", ms=3, lw=1, label=name or None)
    ax.set_xlabel("share of the steps")
    ax.set_ylabel("noise level s")
    ax.spines[["right", "top"]].set_visible(False)
    if isinstance(schedules, Mapping):
        ax.legend(frameon=False, fontsize="small")
    return ax


def plot_levels(result: LangevinGibbs, axes: Any = None) -> NDArray[Any]:
    """Draw the levels of chains: their frequencies, and their traces.

    Parameters
    ----------
    result : LangevinGibbs
        The result of `fermiac.score.langevin_gibbs`.
    axes : array of 2 matplotlib Axes, optional
        The axes; a new figure by default.

    Returns
    -------
    ndarray of matplotlib Axes, shape (2,)
        The first axes show the shares of the levels and their target. The second axes show the mean
        of log s over the sweeps of each draw, for some chains and for all chains together.

    Raises
    ------
    ArgumentError
        For another number of axes.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    Chains that mix cover the whole range of the levels repeatedly. A rising or falling mean is a
    drift; the plain Langevin step drifts upwards.

    Examples
    --------
    >>> import fermiac as fm
    >>> m = fm.score.GaussianMixture([0.3, 0.7], [[-2.0], [2.0]], [0.25, 0.25])
    >>> r = fm.score.langevin_gibbs(m, sigma_range=(0.05, 20.0), n_draws=20, rng=0)
    >>> fm.plotting.plot_levels(r).shape  # doctest: +SKIP
    (2,)
    """
    of_class("result", result, "fermiac.score.LangevinGibbs")
    shares, trace = panels(2, axes, size=(5.0, 3.2))
    seen = result.level_histogram()
    logs = np.log(seen.levels)
    # All bars but the last have the same number of levels.
    ordered = np.sort(logs)
    gaps = np.diff(ordered) if len(logs) > 1 else np.ones(1)
    ends = ordered[0] - gaps[0] / 2, ordered[-1] + gaps[-1] / 2
    every = -(-len(logs) // _BARS)
    edges = np.r_[ends[0], (ordered[:-1] + gaps / 2)[every - 1 :: every], ends[1]]
    for weights, style in (
        (seen.shares, {"fill": True, "color": BLUE, "alpha": 0.4, "label": "met"}),
        (seen.expected, {"color": ORANGE, "lw": 1.4, "label": "meant"}),
    ):
        height = np.histogram(logs, edges, weights=weights)[0]
        shares.stairs(height / np.diff(edges), edges, **style)
    shares.set_ylim(bottom=0)
    shares.set_xlabel("log s")
    shares.set_ylabel("density of sweeps")
    shares.legend(frameon=False, fontsize="small")
    shares.set_title(f"{int(result.round_trips.sum())} round trips", fontsize="small", loc="left")
    paths = np.asarray(result.stats["log_sigma"])
    for path in paths[:_FEW]:
        trace.plot(np.arange(1, paths.shape[1] + 1), path, color=GREY, lw=0.7, alpha=0.7)
    trace.plot(np.arange(1, paths.shape[1] + 1), paths.mean(axis=0), color=BLUE, lw=1.6,
               label="mean of all chains")  # fmt: skip
    trace.axhline(result.log_sigma_expected, color=RED, lw=1, ls="--", label="meant")
    trace.set_ylim(logs.min(), logs.max())
    trace.set_xlabel("draw of a chain")
    trace.set_ylabel("log s")
    trace.set_title(f"R-hat {result.log_sigma_rhat:.3f}", fontsize="small", loc="left")
    trace.legend(frameon=False, fontsize="small")
    for ax in (shares, trace):
        ax.spines[["right", "top"]].set_visible(False)
    return np.array([shares, trace], dtype=object)


def _as_images(images: Any, shape: Sequence[int] | None) -> Array:
    """Return images as (n, height, width, channels)."""
    from fermiac._base.tensors import to_numpy

    array = numbers("images", to_numpy(images))
    if array.ndim == 2:
        if shape is None:
            side = round(np.sqrt(array.shape[1]))
            shape = (side, side)
        given: Any = shape
        flat = isinstance(given, Sequence) or np.ndim(given) == 1
        lengths = given if flat else [given]
        sizes = tuple(whole("shape", size, 1, 2**31) for size in lengths)
        if len(sizes) not in (2, 3) or np.prod(sizes) != array.shape[1]:
            raise ArgumentError(
                f"shape: {sizes} given for rows of {array.shape[1]} numbers; (h, w) or (channels, "
                "h, w) with as many is needed"
            )
        array = array.reshape(len(array), *sizes)
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or array.shape[1] not in (1, 3) or 0 in array.shape:
        raise ArgumentError(
            f"images: shape {array.shape} given; (n, d), (n, h, w) or (n, channels, h, w) with one "
            "channel or three, and at least one image, is needed"
        )
    return np.moveaxis(array, 1, -1)
