"""Pictures of privacy posteriors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fermiac._base.validate import probability, real
from fermiac.errors import ArgumentError
from fermiac.plotting.style import BLUE, GREY, ORANGE, new_axes
from fermiac.plotting.subject import of_class

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fermiac.privacy.posterior import EpsilonPosterior
    from fermiac.privacy.posterior_base import Posterior

__all__ = ["plot_posterior", "plot_region"]

#: The height of a legend and of each of its lines, as shares of the axes of usual figures.
_HEADROOM = 0.05, 0.065


def plot_posterior(
    posterior: Posterior,
    ax: Axes | None = None,
    *,
    prob: float = 0.9,
    claim: float | None = None,
) -> Axes:
    """Draw a posterior's density with its equal-tailed interval, and a claimed value.

    Parameters
    ----------
    posterior : EpsilonPosterior, DeltaPosterior or MuPosterior
        One posterior.
    ax : matplotlib Axes, optional
        The axes; of a new figure by default.
    prob : float, default 0.9
        The probability of the interval.
    claim : float, optional
        A claimed value; the legend shows the posterior probability of a larger value.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ArgumentError
        If there is more than one posterior.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import fermiac as fm
    >>> p = fm.privacy.epsilon_posterior(400, 100, 100, 400, delta=1e-5)
    >>> ax = p.plot(claim=1.5)
    """
    of_class("posterior", posterior, "fermiac.privacy.posterior_base.Posterior")
    _single(posterior)
    ax = new_axes(ax)
    symbol = posterior._symbol
    least, most = float(posterior.ppf(1e-4)), float(posterior.isf(1e-4))
    x = np.linspace(least, most, 401)
    density = posterior.pdf(x)
    prob = probability("prob", prob)
    low, high = posterior.interval(prob)
    inside = (x >= low) & (x <= high)
    ax.plot(x, density, color=BLUE)
    ax.fill_between(
        x, density, where=inside, color=BLUE, alpha=0.25, lw=0,
        label=f"{100 * prob:g} %: {low:.3g} to {high:.3g}",
    )  # fmt: skip
    # Lines end above the density and below the legend.
    top = 1.05 * float(np.max(density))
    middle = float(posterior.median)
    ax.plot([middle, middle], [0, top], color=GREY, lw=1, label=f"median {middle:.3g}")
    if posterior.prob_zero > 1e-3:
        ax.plot([0], [0], "o", color=BLUE, label=f"P({symbol} = 0) = {posterior.prob_zero:.2g}")
    if claim is not None:
        claim = real("claim", claim)
        above = posterior.prob_above(claim)
        label = f"claim {claim:.3g}: P({symbol} > claim) = {above:.2g}"
        ax.plot([claim, claim], [0, top], color=ORANGE, label=label)
    ax.set_xlabel(symbol)
    ax.set_ylabel("posterior density")
    legend = ax.legend(frameon=False, loc="upper right")
    ax.set_ylim(0, top / (1 - _HEADROOM[0] - _HEADROOM[1] * len(legend.get_texts())))
    return ax


def plot_region(
    posterior: EpsilonPosterior, ax: Axes | None = None, *, epsilon: float | None = None
) -> Axes:
    """Draw the posterior of the error rates and the region that (epsilon, delta) allows.

    Contours hold 50 and 95 % of the posterior.

    Parameters
    ----------
    posterior : EpsilonPosterior
        One posterior.
    ax : matplotlib Axes, optional
        The axes; of a new figure by default.
    epsilon : float, optional
        The epsilon of the region; the posterior median by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ArgumentError
        If there is more than one posterior.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import fermiac as fm
    >>> ax = fm.privacy.epsilon_posterior(400, 100, 100, 400, delta=1e-5).plot_region()
    """
    of_class("posterior", posterior, "fermiac.privacy.EpsilonPosterior")
    from fermiac.privacy import privacy_region

    _single(posterior)
    ax = new_axes(ax)
    at = float(posterior.median) if epsilon is None else real("epsilon", epsilon)
    delta = float(posterior.delta)
    corners = privacy_region(at, delta=delta)
    ax.fill(
        *corners.T, color=GREY, alpha=0.2, lw=0, label=f"allowed by ε = {at:.3g}, δ = {delta:g}"
    )
    x, y, density, levels = _contours(posterior)
    ax.contour(x, y, density, levels=levels, colors=BLUE)
    rates = posterior._laws
    mean = [rates[f"{k}_a"] / (rates[f"{k}_a"] + rates[f"{k}_b"]) for k in ("fpr", "fnr")]
    ax.plot(*mean, "o", ms=4, color=BLUE, label="posterior of the rates: 50 and 95 %")
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    ax.set_xlabel("false-positive rate")
    ax.set_ylabel("false-negative rate")
    ax.legend(frameon=False)
    return ax


def _contours(posterior: EpsilonPosterior) -> tuple[Any, Any, Any, list[float]]:
    """Return a grid of rates, the log-density on it, and the levels of 95 and 50 %."""
    from fermiac.distributions import Beta

    rates = posterior._laws
    fnr, fpr = (Beta(float(rates[f"{k}_a"]), float(rates[f"{k}_b"])) for k in ("fnr", "fpr"))
    ends = [np.ravel(law.ppf(np.array([1e-4, 1 - 1e-4]))) for law in (fpr, fnr)]
    # Inside the square, where densities of parameters below 1 are finite.
    x, y = (np.clip(np.linspace(e[0], e[1], 201), 1e-9, 1 - 1e-9) for e in ends)
    density = fnr.log_density(y[:, None])[:, None] + fpr.log_density(x[:, None])[None, :]
    draws = posterior.sample_rates(20_000, rng=0)
    at = fnr.log_density(draws[0][:, None]) + fpr.log_density(draws[1][:, None])
    return x, y, density, sorted({float(level) for level in np.quantile(at, [0.05, 0.5])})


def _single(posterior: Posterior) -> None:
    if posterior.shape:
        raise ArgumentError(
            f"a posterior of shape {posterior.shape} was given; a picture shows one: give numbers "
            "instead of arrays"
        )
