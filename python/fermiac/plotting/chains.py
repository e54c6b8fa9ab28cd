"""Plots of Markov chains: traces, ranks, autocorrelations, energies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.config import resolve_threads
from fermiac._base.validate import shown, whole
from fermiac.diagnostics.autocorrelation import is_long_enough
from fermiac.diagnostics.convergence import MIN_DRAWS
from fermiac.errors import ArgumentError
from fermiac.plotting.overlays import known_values
from fermiac.plotting.style import BLUE, GREY, ORANGE, RED, new_axes, panels, pyplot
from fermiac.plotting.subject import Columns, Names, chosen, of_class, readable
from fermiac.results.chain_errors import (
    MOST_RHAT,
    autocorrelation_times,
    chain_shape,
    is_ensemble,
    rhat_of,
    statistic,
    walker_sizes,
    walker_times,
)
from fermiac.results.chain_summary import LEAST_BFMI, of_blocks
from fermiac.results.error_models import error_model_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fermiac.results.sample import Sample

__all__ = [
    "divergences",
    "plot_autocorrelation",
    "plot_energy",
    "plot_ranks",
    "plot_trace",
]

Array = NDArray[np.float64]
#: The number of panels for a sample with more coordinates.
_MOST = 8
#: More panels than these are hard to read, or refused.
_READABLE, _LIMIT = 24, 100


def plot_trace(
    sample: Sample,
    axes: Any = None,
    *,
    columns: Columns = None,
    var_names: Names = None,
    truths: Mapping[str, ArrayLike] | ArrayLike | None = None,
) -> NDArray[Any]:
    """Draw the traces of the chains in each coordinate, with its R-hat.

    For the walkers of an ensemble, which R-hat cannot compare, the autocorrelation time τ is shown.

    Converged chains cover the same range at all times and look alike. Divergent transitions are
    marked in red at the bottom.

    Parameters
    ----------
    sample : Sample
        A sample of chains.
    axes : array of matplotlib Axes, optional
        The axes, one for each coordinate; a new figure by default.
    columns : sequence of int or str, optional
        Positions or names of the coordinates; by default all, or the 8 with the largest R-hat.
    var_names : str or sequence of str, optional
        Names of variables or coordinates, instead of `columns`.
    truths : mapping of str to array_like, or array_like, optional
        Known values, drawn as dashed red lines: by the names of variables, or one for each drawn
        coordinate; NaN for none.

    Returns
    -------
    ndarray of matplotlib Axes, one for each coordinate

    Raises
    ------
    ArgumentError
        If the sample has no chains of at least 4 draws, for another number of axes, or for an
        unknown coordinate.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import fermiac as fm
    >>> s = fm.Sample.from_arrays(fm.random.Stream(1).normal((4, 200, 2)))
    >>> axes = s.plot_trace()
    """
    of_class("sample", sample, "fermiac.Sample")
    draws, places = _chosen(sample, columns, var_names)
    names = [sample._labels[j] for j in places]
    known = known_values(sample, places, truths)
    out = panels(len(names), axes, abreast=1, size=(7.0, 1.7))
    titles = _judgements(sample, draws)
    diverged = np.flatnonzero(divergences(sample).any(axis=0))
    for k, (ax, name) in enumerate(zip(out, names, strict=True)):
        for chain, color in zip(draws[..., k], _colors(len(draws)), strict=True):
            ax.plot(chain, color=color, lw=0.6, alpha=0.8, rasterized=True)
        if diverged.size:
            bottom = ax.get_xaxis_transform()
            ax.plot(
                diverged, np.full(diverged.size, 0.02), "|", color=RED, ms=8, transform=bottom,
                label="diverged",
            )  # fmt: skip
        if np.isfinite(known[k]):
            ax.axhline(known[k], color=RED, lw=1, ls="--")
        text, bad = titles[k]
        ax.set_title(text, fontsize="small", loc="left", color=RED if bad else GREY)
        ax.set_ylabel(name)
        ax.set_xlim(0, draws.shape[1] - 1)
        _plain(ax)
        ax.tick_params(labelbottom=k == len(names) - 1)
    out[-1].set_xlabel("draw")
    return out


def plot_ranks(
    sample: Sample, axes: Any = None, *, columns: Columns = None, var_names: Names = None
) -> NDArray[Any]:
    """Draw the ECDF difference of the ranks of each chain from the uniform law.

    A line is the distribution function of the ranks of a chain minus that of the uniform law. The
    line of a chain with low values is positive; that of a chain with too large or too small a
    spread changes its sign in the middle.

    Parameters
    ----------
    sample : Sample
        A sample of two chains or more.
    axes : array of matplotlib Axes, optional
        The axes, one for each coordinate; a new figure by default.
    columns : sequence of int or str, optional
        Positions or names of the coordinates; by default all, or the 8 with the largest R-hat.
    var_names : str or sequence of str, optional
        Names of variables or coordinates, instead of `columns`.

    Returns
    -------
    ndarray of matplotlib Axes, one for each coordinate

    Raises
    ------
    ArgumentError
        If the sample has no two chains of at least 4 draws, for another number of axes, or for an
        unknown coordinate.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    If all chains have the same law, all lines stay within the grey band with a probability of
    about 95 %. The band is the limit of Kolmogorov's statistic for as many independent draws as
    the bulk effective sample sizes of the single chains.

    References
    ----------
    .. [1] T. Säilynoja, P.-C. Bürkner, A. Vehtari, "Graphical test for discrete uniformity and its
       applications in goodness-of-fit evaluation and multiple sample comparison", Statistics and
       Computing, 2022, doi:10.1007/s11222-022-10090-6.

    Examples
    --------
    >>> import fermiac as fm
    >>> s = fm.Sample.from_arrays(fm.random.Stream(1).normal((4, 200, 2)))
    >>> axes = s.plot_ranks()
    """
    of_class("sample", sample, "fermiac.Sample")
    from scipy.special import kolmogi
    from scipy.stats import rankdata

    draws, places = _chosen(sample, columns, var_names)
    names = [sample._labels[j] for j in places]
    chains, n, _ = draws.shape
    if chains < 2:
        raise ArgumentError("one chain given: ranks compare two chains at least")
    out = panels(len(names), axes)
    # Effective sizes of single chains, since a difference between chains must not widen the band.
    each = [statistic(chain[None], "ess_bulk", resolve_threads(None)) for chain in draws]
    # The draws of a chain are among all draws, with which it is compared.
    bands = kolmogi(0.05 / chains) * np.sqrt((chains - 1) / np.sum(each, axis=0))
    level = np.repeat(np.arange(n + 1) / n, 2)
    for k, (ax, name) in enumerate(zip(out, names, strict=True)):
        ranks = (rankdata(draws[..., k]).reshape(chains, n) - 0.5) / (chains * n)
        ax.axhspan(-bands[k], bands[k], color=GREY, alpha=0.2, lw=0)
        for chain, color in zip(np.sort(ranks, axis=1), _colors(chains), strict=True):
            # The function has two values at each jump.
            at = np.concatenate([[0.0], np.repeat(chain, 2), [1.0]])
            ax.plot(at, level - at, color=color, lw=1.2)
        ax.set_title(name, fontsize="small", loc="left")
        ax.set_xlim(0, 1)
        _plain(ax)
        ax.tick_params(labelsize="small")
    out[0].set_ylabel("ECDF difference")
    out[-1].set_xlabel("rank among all draws")
    return out


def plot_autocorrelation(
    sample: Sample,
    axes: Any = None,
    *,
    columns: Columns = None,
    var_names: Names = None,
    max_lag: int | None = None,
) -> NDArray[Any]:
    """Draw the autocorrelations of each coordinate for every chain, and their mean.

    The autocorrelation time in the title is the number of draws divided by the effective sample
    size for the mean, so it is also long if the chains differ. For the walkers of an ensemble it is
    τ, as in `Sample.summary`.

    Parameters
    ----------
    sample : Sample
        A sample of chains.
    axes : array of matplotlib Axes, optional
        The axes, one for each coordinate; a new figure by default.
    columns : sequence of int or str, optional
        Positions or names of the coordinates; by default all, or the 8 with the largest R-hat.
    var_names : str or sequence of str, optional
        Names of variables or coordinates, instead of `columns`.
    max_lag : int, optional
        The largest lag; by default four times the longest autocorrelation time, at least 20.

    Returns
    -------
    ndarray of matplotlib Axes, one for each coordinate

    Raises
    ------
    ArgumentError
        If the sample has no chains of at least 4 draws, for another number of axes, for an unknown
        coordinate, or if `max_lag` is not between 1 and the number of draws of a chain minus 1.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import fermiac as fm
    >>> s = fm.Sample.from_arrays(fm.random.Stream(1).normal((4, 200, 2)))
    >>> axes = s.plot_autocorrelation()
    """
    of_class("sample", sample, "fermiac.Sample")
    draws, places = _chosen(sample, columns, var_names)
    names = [sample._labels[j] for j in places]
    n = draws.shape[1]
    times = autocorrelation_times(sample, draws, resolve_threads(None))
    if max_lag is None:
        lags = min(max(20, int(4 * times.max())), n - 1)
    else:
        lags = whole("max_lag", max_lag, 1, n - 1)
    out = panels(len(names), axes)
    correlations = _autocorrelations(draws, lags)
    for k, (ax, name) in enumerate(zip(out, names, strict=True)):
        ax.axhline(0, color=GREY, lw=0.8)
        for chain in correlations[..., k]:
            ax.plot(chain, color=GREY, lw=0.7, alpha=0.7)
        ax.plot(correlations[..., k].mean(axis=0), color=BLUE, lw=1.6)
        ax.set_title(f"{name}: time {times[k]:.3g}", fontsize="small", loc="left")
        ax.set_xlim(0, lags)
        ax.set_ylim(min(-0.1, 1.1 * correlations[..., k].min()), 1.03)
        _plain(ax)
        ax.tick_params(labelsize="small")
    out[0].set_ylabel("autocorrelation")
    out[-1].set_xlabel("lag")
    return out


def plot_energy(sample: Sample, ax: Axes | None = None, *, block: str | None = None) -> Axes:
    """Draw histograms of the energies of Hamiltonian chains and of their changes between draws.

    If the changes are much smaller than the spread of the energies, the momenta change the energy
    too little to reach the tails.

    Parameters
    ----------
    sample : Sample
        A sample with ``stats["energy"]``.
    ax : matplotlib Axes, optional
        The axes; a new figure by default.
    block : str, optional
        The block of a Gibbs kernel; required if several blocks have energies.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ArgumentError
        If the block has no finite energies.
    ImportError
        If matplotlib is not installed.

    References
    ----------
    .. [1] M. Betancourt, "Diagnosing suboptimal cotangent disintegrations in Hamiltonian Monte
       Carlo", arXiv:1604.00695, 2016.

    Examples
    --------
    >>> from dataclasses import replace
    >>> import fermiac as fm
    >>> s = fm.Sample.from_arrays(fm.random.Stream(1).normal((4, 200, 2)))
    >>> s = replace(s, stats={"energy": (s.draws**2).sum(axis=2)})
    >>> ax = s.plot_energy()
    """
    of_class("sample", sample, "fermiac.Sample")
    known = of_blocks(sample, "energy")
    if block is None and len(known) == 1:
        block = next(iter(known))
    given: object = block
    energy = known.get(block or "") if given is None or isinstance(given, str) else None
    if energy is None:
        blocks = ", ".join(map(repr, sorted(known))) or "none"
        raise ArgumentError(f"block: {shown(block)} given; of the blocks, {blocks} have energies")
    values = energy.astype(float)
    if not np.isfinite(values).all() or values.shape[1] < MIN_DRAWS:
        raise ArgumentError(
            f"stats: the energies are not all finite, or of fewer than {MIN_DRAWS} draws"
        )
    ax = new_axes(ax)
    steps = np.diff(values, axis=1).ravel()
    centred = (values - values.mean()).ravel()
    bfmi = statistic(values.T[None], "bfmi", resolve_threads(None))
    ends = np.quantile(np.concatenate([centred, steps]), [0.001, 0.999])
    reach = max(*np.abs(ends), np.finfo(float).tiny)
    edges = np.linspace(-reach, reach, 61)
    for what, color, label in (
        (centred, BLUE, "energy, less its mean"),
        (steps, ORANGE, "step from draw to draw"),
    ):
        heights = np.histogram(what, edges)[0] / (what.size * np.diff(edges))
        ax.stairs(heights, edges, fill=True, color=color, alpha=0.3, lw=0)
        ax.stairs(heights, edges, color=color, lw=1.2, label=label)
    least = float(np.nanmin(bfmi)) if np.isfinite(bfmi).any() else np.nan
    ax.set_title(
        "E-BFMI " + ", ".join(f"{b:.2f}" for b in bfmi[:8]) + (", …" if bfmi.size > 8 else ""),
        fontsize="small", loc="left", color=RED if least < LEAST_BFMI else GREY,
    )  # fmt: skip
    ax.set_yticks([])
    ax.set_ylim(bottom=0)
    ax.set_xlabel("energy")
    ax.spines[["left", "right", "top"]].set_visible(False)
    ax.legend(frameon=False)
    return ax


def divergences(sample: Sample) -> NDArray[np.bool_]:
    """Return the flags of transitions that diverged in any block, (chains, draws)."""
    out = np.zeros(chain_shape(sample), bool)
    for diverging in of_blocks(sample, "diverging").values():
        out |= diverging.astype(bool)
    return out


def _chosen(sample: Sample, columns: Columns, var_names: Names) -> tuple[Array, list[int]]:
    """Return the draws of the chosen columns, (chains, draws, columns), and their positions."""
    chains, n = chain_shape(sample)
    if not error_model_of(sample).of_chains or n < MIN_DRAWS:
        raise ArgumentError(
            f"this sample has the error model {sample.error_model!r} and {chains} x {n} draws; "
            f"chains of {MIN_DRAWS} draws at least are needed"
        )
    draws = sample.draws.reshape(chains, n, -1)
    places = chosen(sample, columns, var_names)
    if places is None and sample.dim <= _MOST:
        places = list(range(sample.dim))
    elif places is None:
        threads = resolve_threads(None)
        walkers = is_ensemble(sample)
        judged = walker_times(draws, threads) if walkers else rhat_of(sample, draws, threads)
        worst = np.argsort(-judged, kind="stable")[:_MOST]
        places = sorted(map(int, worst))
    readable(len(places), _READABLE, _LIMIT)
    return draws[..., places], places


def _judgements(sample: Sample, draws: Array) -> list[tuple[str, bool]]:
    """Return the convergence statistics of each column as text, with a flag for bad ones."""
    threads = resolve_threads(None)
    if is_ensemble(sample):
        times, sizes = walker_times(draws, threads), walker_sizes(draws, threads)
        return [
            (f"τ {time:.3g}, ESS {ess:.0f}", not is_long_enough(draws.shape[1], time))
            for time, ess in zip(times, sizes, strict=True)
        ]
    rhats, sizes = rhat_of(sample, draws, threads), statistic(draws, "ess_bulk", threads)
    return [
        (f"R-hat {rhat:.3f}, ESS {ess:.0f}", bool(rhat > MOST_RHAT))
        for rhat, ess in zip(rhats, sizes, strict=True)
    ]


def _autocorrelations(draws: Array, lags: int) -> Array:
    """Return the autocorrelations of each chain about its own mean, (chains, lags + 1, columns)."""
    n = draws.shape[1]
    centred = draws - draws.mean(axis=1, keepdims=True)
    size = 2 ** int(np.ceil(np.log2(2 * n)))
    spectrum = np.fft.rfft(centred, size, axis=1)
    products = np.fft.irfft(np.abs(spectrum) ** 2, size, axis=1)[:, : lags + 1]
    own = products[:, :1]
    # A constant chain has autocorrelation 1 at every lag.
    out: Array = np.divide(products, own, out=np.ones_like(products), where=own > 0)
    return out


def _colors(chains: int) -> Any:
    return pyplot().get_cmap("viridis")(np.linspace(0, 0.85, chains))


def _plain(ax: Axes) -> None:
    ax.spines[["right", "top"]].set_visible(False)
