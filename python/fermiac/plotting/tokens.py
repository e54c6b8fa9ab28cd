"""Plots of token optimisations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fermiac.plotting.style import BLUE, ORANGE, new_axes
from fermiac.plotting.subject import of_class

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from fermiac.walks import OptimizeResult

__all__ = ["plot_optimum"]


def plot_optimum(
    result: OptimizeResult, ax: Axes | None = None, optimum: ArrayLike | None = None
) -> Axes:
    """Plot the objective, or the distance from the optimum, against the steps of the tokens.

    Parameters
    ----------
    result : OptimizeResult
        The result to plot.
    ax : matplotlib Axes, optional
        Where to draw; by default in a new figure.
    optimum : array_like of shape (d,), optional
        The point from which distances are plotted. By default the objective is plotted if the trace
        has it, otherwise the distance from the last parameters.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ArgumentError
        If `optimum` has another shape.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> ring = fm.walks.as_graph(np.array([[i, (i + 1) % 10] for i in range(10)]))
    >>> loss = fm.walks.Quadratic(1.0, np.arange(10.0))
    >>> o = fm.walks.optimize(loss, ring, n_steps=1000, n_tokens=4, rng=0)
    >>> ax = o.plot(optimum=[4.5])
    """
    of_class("result", result, "fermiac.walks.OptimizeResult")
    trace = result.trace
    if optimum is None and trace.loss is not None:
        values, label = trace.loss, "objective"
    elif optimum is None:
        values, label = result.distance(result.theta), "distance from the last mean"
    else:
        values, label = result.distance(optimum), "distance from the optimum"
    ax = new_axes(ax)
    # Step 0 is not on a logarithmic axis.
    steps, values = trace.steps + 1, np.asarray(values)
    many = len(values) > 1
    ax.plot(steps, values.T, color=BLUE, lw=0.8, alpha=max(0.1, 1 / np.sqrt(len(values))))
    if many:
        ax.plot(steps, values.mean(axis=0), color=ORANGE, label=f"mean of {len(values)} tokens")
        ax.legend(frameon=False)
    ax.set_xscale("log")
    if (values > 0).all():
        ax.set_yscale("log")
    ax.set_xlabel("step + 1")
    ax.set_ylabel(label)
    return ax
