"""Pictures of resampled statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fermiac._base.validate import whole
from fermiac.plotting.style import BLUE, GREY, ORANGE, new_axes
from fermiac.plotting.subject import of_class

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fermiac.resample import Bootstrap

__all__ = ["plot_bootstrap"]

#: Bins of the histogram.
_BINS = 60


def plot_bootstrap(result: Bootstrap, ax: Axes | None = None, output: int = 0) -> Axes:
    """Draw the replicates of a statistic, its estimate and its interval.

    Parameters
    ----------
    result : Bootstrap
        The result; without replicates the interval alone is drawn.
    ax : matplotlib Axes, optional
        The axes; of a new figure by default.
    output : int, default 0
        The output of a statistic with several.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ArgumentError
        If there is no such output.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.random.Stream(1).exponential(30)
    >>> ax = fm.resample.bootstrap(x, "mean", n_resamples=999, rng=0).plot()
    """
    of_class("result", result, "fermiac.resample.Bootstrap")
    estimate, lower, upper = (
        np.atleast_1d(c) for c in (result.estimate, result.lower, result.upper)
    )
    j = whole("output", output, 0, estimate.size - 1)
    ax = new_axes(ax)
    values = result.replicates
    if len(values):
        column = values[:, j] if values.ndim > 1 else values
        finite = column[np.isfinite(column)]
        ax.hist(finite, bins=_BINS, color=BLUE, alpha=0.5, density=True)
        ax.set_ylabel("density of the replicates")
    label = f"{100 * result.prob:.6g} % interval, {result.method}"
    ax.axvline(estimate[j], color=GREY, lw=1.5, label="estimate")
    for end, text in ((lower[j], label), (upper[j], None)):
        if np.isfinite(end):
            ax.axvline(end, color=ORANGE, ls="--", label=text)
    ax.set_xlabel(result.statistic)
    ax.legend(frameon=False)
    return ax
