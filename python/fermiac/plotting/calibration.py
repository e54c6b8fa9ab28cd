"""Pictures of simulation-based calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from fermiac._base.validate import choice, whole
from fermiac.plotting.style import BLUE, GREY, new_axes
from fermiac.plotting.subject import of_class

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fermiac.evaluate import RankCalibration

__all__ = ["plot_calibration"]

#: The smallest expected count in a bin, and the largest number of bins.
_EXPECTED, _BINS = 5, 20


def plot_calibration(
    result: RankCalibration,
    ax: Axes | None = None,
    output: int = 0,
    *,
    kind: Literal["ecdf", "histogram"] = "ecdf",
) -> Axes:
    """Draw the ranks of one parameter, with the band of the ranks of a right sampler.

    Parameters
    ----------
    result : RankCalibration
        The result.
    ax : matplotlib Axes, optional
        The axes; of a new figure by default.
    output : int, default 0
        The number of the parameter.
    kind : {"ecdf", "histogram"}, default "ecdf"
        ``"ecdf"``: the distribution function of the ranks less the uniform one, with the
        simultaneous band of the result. ``"histogram"``: the counts of the ranks in equal bins,
        with the band that contains each single count with the probability of the result.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ArgumentError
        If there is no such parameter or kind.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    Draws that are too narrow raise the histogram at both ends, and draws that are too wide raise it
    in the middle. Draws that are too large raise it at the left.

    Examples
    --------
    >>> import fermiac as fm
    >>> def simulate(theta, stream):
    ...     return theta + stream.normal(1)
    >>> def sample(y, rng):
    ...     return y / 2 + 0.5**0.5 * fm.random.Stream(rng).normal((99, 1))
    >>> c = fm.evaluate.sbc(fm.distributions.Normal(), simulate, sample, 200, rng=0)
    >>> ax = fm.plotting.plot_calibration(c, kind="histogram")
    """
    of_class("result", result, "fermiac.evaluate.RankCalibration")
    j = whole("output", output, 0, result.ranks.shape[1] - 1)
    drawn = choice("kind", kind, ("ecdf", "histogram"))
    ax = new_axes(ax)
    label = f"{100 * result.prob:.6g} % band"
    if drawn == "ecdf":
        at = np.concatenate([[0.0], result.at, [1.0]])
        shares = np.concatenate([[0.0], result.ecdf()[:, j], [1.0]])
        lower, upper = (np.concatenate([[0.0], c, [1.0]]) for c in (result.lower, result.upper))
        ax.fill_between(at, lower - at, upper - at, color=GREY, alpha=0.3, lw=0, label=label)
        ax.axhline(0.0, color=GREY, lw=0.8)
        ax.plot(at, shares - at, color=BLUE, label=f"ranks, p = {result.pvalue[j]:.2g}")
        ax.set_xlabel(f"rank of {result.names[j]} over {result.n_draws + 1}")
        ax.set_ylabel("distribution function less the uniform one")
    else:
        from scipy.special import bdtrik

        n, ranks = len(result.ranks), result.n_draws + 1
        most = max(1, min(n // _EXPECTED, _BINS, ranks))
        bins = next(b for b in range(most, 0, -1) if ranks % b == 0)
        counts = np.bincount(result.ranks[:, j] * bins // ranks, minlength=bins)
        tail = (1 - result.prob) / 2
        # bdtrik is the inverse of the distribution function between whole numbers.
        low, high = (np.ceil(max(float(bdtrik(p, n, 1 / bins)), 0)) for p in (tail, 1 - tail))
        if bins > 1:
            ax.axhspan(low, high, color=GREY, alpha=0.3, lw=0, label=f"{label} of each bin")
        ax.axhline(n / bins, color=GREY, lw=0.8)
        ax.bar(
            (np.arange(bins) + 0.5) / bins * ranks,
            counts,
            width=ranks / bins,
            color=BLUE,
            alpha=0.6,
            edgecolor="white",
            label=f"ranks, p = {result.chi2_pvalue[j]:.2g}",
        )
        ax.set_xlabel(f"rank of {result.names[j]}")
        ax.set_ylabel("simulations")
    ax.legend(frameon=False)
    return ax
