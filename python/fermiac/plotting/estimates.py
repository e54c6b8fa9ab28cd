"""Pictures of estimates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fermiac._base.validate import real_numbers
from fermiac.errors import ArgumentError
from fermiac.plotting.style import BLUE, GREY, ORANGE, new_axes, tick_labels
from fermiac.plotting.subject import of_class

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fermiac.results import Estimate

__all__ = ["plot_correlation", "plot_estimates", "plot_stages"]


def plot_estimates(
    estimate: Estimate, ax: Axes | None = None, truth: ArrayLike | None = None
) -> Axes:
    """Draw each estimate with a bar of two standard errors.

    Parameters
    ----------
    estimate : Estimate
        The estimates.
    ax : matplotlib Axes, optional
        The axes; of a new figure by default.
    truth : array_like, shape (J,), optional
        Known answers. With them the errors are drawn instead, in standard errors.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ArgumentError
        If the length of `truth` is not the number of estimates, or the estimates are complex.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Normal()
    >>> e = fm.importance.expect(lambda x: x**2, law, n=1000, rng=0)
    >>> ax = e.plot_estimates()
    """
    of_class("estimate", estimate, "fermiac.Estimate")
    _real(estimate)
    ax = new_axes(ax)
    mean, stderr = np.atleast_1d(estimate.mean), np.atleast_1d(estimate.stderr)
    at = np.arange(mean.size)
    if truth is None:
        ax.errorbar(at, mean, 2 * stderr, fmt="o", ms=4, color=BLUE, capsize=2)
        ax.set_ylabel("estimate ± 2 standard errors")
    else:
        known = real_numbers("truth", truth).ravel()
        if known.size != mean.size:
            raise ArgumentError(f"truth: {known.size} numbers given for {mean.size} estimates")
        pull = np.divide(mean - known, stderr, out=np.zeros_like(mean), where=stderr > 0)
        ax.axhspan(-2, 2, color=GREY, alpha=0.15, lw=0)
        ax.axhline(0, color=GREY, lw=1)
        ax.plot(at, pull, "o", ms=4, color=BLUE)
        ax.set_ylabel("error / standard error")
    ax.set_xlabel("expectation")
    tick_labels(ax, estimate.names)
    return ax


def plot_stages(estimate: Estimate, ax: Axes | None = None) -> Axes:
    """Draw the forecast of the criterion over the stages of the adaptation.

    Parameters
    ----------
    estimate : Estimate
        An estimate of an adaptive method.
    ax : matplotlib Axes, optional
        The axes; of a new figure by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ArgumentError
        If the estimate has no adaptation, as for plain Monte Carlo.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.distributions.Normal()
    >>> e = fm.importance.expect(lambda x: x**2, law, n=1000, rng=0)
    >>> ax = e.plot_stages()
    """
    of_class("estimate", estimate, "fermiac.Estimate")
    if not estimate.stages:
        raise ArgumentError("this estimate has no stages; only adaptive runs have them")
    ax = new_axes(ax)
    forecast = np.array([stage["forecast"] for stage in estimate.stages], float)
    stages = np.arange(forecast.size)
    ax.plot(stages, forecast, "o-", color=BLUE, label="forecast of each stage")
    chosen = estimate.chosen_stage
    if chosen is not None:
        ax.plot(chosen, forecast[chosen], "s", ms=10, mfc="none", color=ORANGE, label="chosen")
    if np.all(forecast > 0):
        ax.set_yscale("log")
    ax.set_xticks(stages)
    ax.set_xlabel("stage (0 samples the law itself)")
    ax.set_ylabel("forecast of the criterion")
    ax.legend(frameon=False)
    return ax


def plot_correlation(estimate: Estimate, ax: Axes | None = None) -> Axes:
    """Draw the correlation matrix of the estimates.

    Parameters
    ----------
    estimate : Estimate
        An estimate with a full covariance.
    ax : matplotlib Axes, optional
        The axes; of a new figure by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ArgumentError
        If the covariance is not full, or the estimates are complex.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> law = fm.distributions.Normal()
    >>> e = fm.importance.expect(lambda x: np.hstack([x, x**2]), law, n=1000, rng=0)
    >>> ax = e.plot_correlation()
    """
    of_class("estimate", estimate, "fermiac.Estimate")
    _real(estimate)
    cov = np.asarray(estimate.cov, float)
    if cov.ndim != 2:
        raise ArgumentError("the covariance of this estimate is not a full matrix")
    ax = new_axes(ax)
    scale = np.sqrt(np.diag(cov))
    outer = np.outer(scale, scale)
    correlation = np.divide(cov, outer, out=np.zeros_like(cov), where=outer > 0)
    image: Any = ax.imshow(correlation, vmin=-1, vmax=1, cmap="RdBu_r")
    ax.figure.colorbar(image, ax=ax, label="correlation")
    tick_labels(ax, estimate.names)
    tick_labels(ax, estimate.names, "y")
    return ax


def _real(estimate: Estimate) -> None:
    if np.iscomplexobj(estimate.mean):
        raise ArgumentError(
            "the estimates are complex, and pictures are of real ones; give real and imaginary "
            "parts as two expectations"
        )
