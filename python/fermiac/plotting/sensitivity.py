"""Pictures of Sobol' indices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from fermiac._base.validate import real_numbers, whole
from fermiac.errors import ArgumentError
from fermiac.plotting.style import BLUE, GREY, ORANGE, RED, new_axes, tick_labels
from fermiac.plotting.subject import of_class

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fermiac.importance import SobolIndices

__all__ = ["plot_indices"]


def plot_indices(
    indices: SobolIndices,
    ax: Axes | None = None,
    truth: ArrayLike | None = None,
    *,
    output: int = 0,
) -> Axes:
    """Draw the indices of first order and the total ones as bars with 95 % intervals.

    Parameters
    ----------
    indices : SobolIndices
        The indices.
    ax : matplotlib Axes, optional
        The axes; of a new figure by default.
    truth : array_like, shape (2, d), optional
        Known first-order and total indices, which are marked.
    output : int, default 0
        The output to draw, for a model with several outputs.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ArgumentError
        If `truth` has another shape, or there is no such output.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import fermiac as fm
    >>> model = fm.targets.g_function([0.0, 1.0, 9.0])
    >>> law = fm.distributions.Uniform([0.0] * 3, [1.0] * 3)
    >>> ax = fm.importance.sobol_indices(model, law, n=2_000, rng=0).plot_indices()
    """
    of_class("indices", indices, "fermiac.importance.SobolIndices")
    k = whole("output", output, 0, indices.n_outputs - 1)
    count = len(indices.names)
    known = None if truth is None else real_numbers("truth", truth)
    if known is not None and known.shape != (2, count):
        raise ArgumentError(
            f"truth: an array of shape {known.shape} given; (2, {count}) is needed: first order, "
            "then total"
        )
    ax = new_axes(ax)
    at = np.arange(count)
    rows = (
        ("first", "first order", BLUE, -0.2, indices.first_order),
        ("total", "total", ORANGE, 0.2, indices.total_order),
    )
    for j, (kind, label, colour, shift, values) in enumerate(rows):
        low, high = indices.interval(0.95, kind)  # type: ignore[arg-type]
        if values.ndim == 2:
            values, low, high = values[k], low[k], high[k]
        ax.bar(at + shift, values, 0.38, color=colour, alpha=0.75, label=label)
        ax.errorbar(
            at + shift, values, (high - low) / 2, fmt="none", ecolor="black", capsize=2, lw=1
        )
        if known is not None:
            ax.plot(at + shift, known[j], "_", color=RED, ms=14, mew=2, label="known" * (j == 0))
    ax.axhline(0, color=GREY, lw=0.8)
    ax.set_ylabel("share of the variance")
    tick_labels(ax, indices.names)
    ax.legend(frameon=False)
    return ax
