"""Pictures of ROC curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fermiac._base.validate import real
from fermiac.plotting.style import BLUE, GREY, ORANGE, new_axes
from fermiac.plotting.subject import of_class

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fermiac.privacy import RocCurve

__all__ = ["plot_roc"]


def plot_roc(
    curve: RocCurve,
    ax: Axes | None = None,
    threshold: float | None = None,
    epsilon: float | None = None,
    delta: float = 0.0,
) -> Axes:
    """Draw a ROC curve, a threshold on it, and the region that differential privacy allows.

    Parameters
    ----------
    curve : RocCurve
        The curve.
    ax : matplotlib Axes, optional
        The axes; of a new figure by default.
    threshold : float, optional
        Marked on the curve.
    epsilon : float, optional
        If given, the largest true-positive rates under (epsilon, delta) are drawn.
    delta : float, default 0
        In [0, 1).

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ArgumentError
        If `epsilon` is below 0, or `delta` is not in [0, 1).
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import fermiac as fm
    >>> curve = fm.privacy.roc([3, 5, 6, 8], [1, 2, 4, 7])
    >>> ax = curve.plot(threshold=5, epsilon=1.0)
    """
    of_class("curve", curve, "fermiac.privacy.RocCurve")
    if epsilon is not None:
        epsilon = real("epsilon", epsilon, "a number of at least 0 is needed", lambda x: x >= 0)
        delta = real("delta", delta, "a number in [0, 1) is needed", lambda x: 0 <= x < 1)
    if threshold is not None:
        threshold = real("threshold", threshold, "a number is needed", lambda x: not np.isnan(x))
    ax = new_axes(ax)
    ax.plot([0, 1], [0, 1], color=GREY, lw=1)
    ax.plot(curve.fpr, curve.tpr, color=BLUE, label=f"attack, AUC {curve.auc:.3f}")
    if epsilon is not None:
        # The corners of the region; an infinite epsilon allows all.
        shrink = np.exp(-epsilon)
        turn = (1.0 - delta) * shrink / (1.0 + shrink)
        corners = [0.0, turn, 1.0 - delta], [delta, 1.0 - turn, 1.0]
        label = f"most under ε = {epsilon:.3g}, δ = {delta:.3g}"
        ax.plot(*corners, color=ORANGE, ls="--", label=label)
    if threshold is not None:
        at = np.flatnonzero(curve.thresholds >= threshold)
        # Beyond all scores the curve is at its first point.
        k = at[-1] if at.size else 0
        ax.plot(curve.fpr[k], curve.tpr[k], "o", color=ORANGE, label=f"threshold {threshold:.4g}")
    ax.set_xlabel("false-positive rate")
    ax.set_ylabel("true-positive rate")
    ax.set_aspect("equal")
    ax.legend(frameon=False, loc="lower right")
    return ax
