"""Pictures of multilevel estimates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fermiac.plotting.style import BLUE, GREY, ORANGE, panels
from fermiac.plotting.subject import of_class

if TYPE_CHECKING:
    from fermiac.importance import Multilevel

__all__ = ["plot_multilevel"]


def plot_multilevel(estimate: Multilevel, axes: Any = None) -> NDArray[Any]:
    """Draw means and variances of the differences by level, and paths and cost.

    Parameters
    ----------
    estimate : Multilevel
        The estimate; with several outputs, the one with the largest variance is drawn.
    axes : array of two matplotlib Axes, optional
        Of a new figure by default.

    Returns
    -------
    ndarray of matplotlib Axes, shape (2,)
        The left axes show the means and variances with their fitted rates, both as powers of two.
        The right axes show the paths and the share of the cost.

    Raises
    ------
    ArgumentError
        If `axes` are not two axes.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> def level(l, n, stream):
    ...     x, y = stream.normal(n), stream.normal(n)
    ...     return x + 2.0**-l * y, x if l else None
    >>> axes = fm.importance.multilevel(level, 0.05, alpha=1.0, rng=0).plot_multilevel()
    """
    of_class("estimate", estimate, "fermiac.importance.Multilevel")
    both: NDArray[Any] = panels(2, axes, size=(3.6, 2.8))
    left, right = both
    k = int(np.argmax(estimate.level_variances[0]))
    at = np.arange(len(estimate.n_paths))
    rows = (
        ("mean", np.abs(estimate.level_means[:, k]), estimate.alpha, BLUE, "o"),
        ("variance", estimate.level_variances[:, k], estimate.beta, ORANGE, "s"),
    )
    for label, values, rate, colour, marker in rows:
        seen = values > 0
        left.plot(at[seen], values[seen], marker, ms=4, color=colour, label=label)
        fitted = at[1:]
        if seen[1:].any():
            logs = np.log2(values[1:][seen[1:]]) + rate * fitted[seen[1:]]
            line = 2.0 ** (logs.mean() - rate * fitted)
            left.plot(fitted, line, "--", lw=1, color=colour)
    left.set_yscale("log", base=2)
    left.set_xlabel("level")
    left.set_ylabel("difference")
    left.legend(frameon=False)
    right.bar(at, estimate.n_paths, color=BLUE, alpha=0.75)
    right.set_yscale("log")
    right.set_xlabel("level")
    right.set_ylabel("paths")
    share = estimate.n_paths * estimate.level_costs / estimate.cost
    beside = right.twinx()
    beside.plot(at, share, "o-", ms=4, color=ORANGE)
    beside.set_ylim(0, 1)
    beside.set_ylabel("share of the cost", color=ORANGE)
    for ax in both:
        ax.set_xticks(at)
        ax.grid(color=GREY, alpha=0.2)
    return both
