"""Convergence of Markov chains: R-hat, effective sample sizes, Monte Carlo standard errors."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.config import get_num_threads
from fermiac._base.validate import choice, real_numbers, shown
from fermiac.errors import ArgumentError, FermiacWarning

__all__ = ["MIN_DRAWS", "bfmi", "ess", "mcse", "rhat", "statistic"]

Array = NDArray[np.float64]
Prob = float | tuple[float, float]

_METHODS = ("rank", "split", "folded", "unsplit")
_ESS = ("bulk", "tail", "mean", "sd", "median", "mad", "quantile", "local", "unsplit")
_MCSE = ("mean", "sd", "median", "quantile")
#: The numbers of a chunked array that are in memory at once, if a single quantity has fewer.
_MOST = 2**22
#: The least number of draws of a chain for which a statistic is defined.
MIN_DRAWS = 4


def rhat(x: ArrayLike, *, method: str = "rank") -> Any:
    r"""Compare the variance between Markov chains with the variance within them.

    R-hat is near 1 if the chains have mixed. Draws with an R-hat above 1.01 should not be used.

    Parameters
    ----------
    x : array_like, shape (chains, draws) or (chains, draws, ...)
        The draws; further axes are separate quantities. Chunked arrays of dask and xarray are
        computed a few quantities at a time.
    method : {"rank", "split", "folded", "unsplit"}, default "rank"
        ``"unsplit"`` compares the chains as they are. ``"split"`` compares the halves of the
        chains, which detects trends. ``"folded"`` compares halves in the normal scores of the
        distances from the median, which detects unequal spreads. ``"rank"`` is the larger one of
        the folded R-hat and the R-hat of the normal scores of the draws; it needs no moments.

    Returns
    -------
    float or ndarray, shape of the further axes
        R-hat: 1 if all draws are equal, inf if each chain is constant at another value, NaN for a
        single chain or fewer than 4 draws.

    Raises
    ------
    ArgumentError
        If `x` has another shape or holds NaN or an infinity, or for an unknown method.

    Warns
    -----
    FermiacWarning
        If there are too few chains or draws.

    Notes
    -----
    Let m chains (or halves) have n draws each, W be the mean of their variances and B / n the
    variance of their means. Then :math:`\hat R = \sqrt{(n - 1) / n + B / (n W)}`. The normal score
    of the value of rank r among S is :math:`\Phi^{-1}((r - 3/8) / (S + 1/4))`; equal values share a
    rank. If the number of draws is odd, the middle draw is in neither half.

    References
    ----------
    .. [1] A. Vehtari, A. Gelman, D. Simpson, B. Carpenter, P.-C. Bürkner, "Rank-normalization,
       folding, and localization: an improved R-hat for assessing convergence of MCMC", Bayesian
       Analysis, 2021, doi:10.1214/20-BA1221.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> x = fm.random.Stream(1).normal((4, 1000))
    >>> bool(fm.diagnostics.rhat(x) < 1.01)
    True
    >>> x[0] += 2  # One chain has another mean.
    >>> bool(fm.diagnostics.rhat(x) > 1.1)
    True
    """
    name = choice("method", method, _METHODS)
    return statistic("x", x, f"rhat_{name}", min_chains=2)


def ess(x: ArrayLike, *, kind: str = "bulk", prob: Prob = 0.9) -> Any:
    r"""Return the effective sample size of Markov chains.

    It is the number of independent draws with the same error of an estimate.

    Parameters
    ----------
    x : array_like, shape (chains, draws), (draws,) or (chains, draws, ...)
        The draws; further axes are separate quantities. Chunked arrays of dask and xarray are
        computed a few quantities at a time.
    kind : str, default "bulk"
        The estimate: ``"mean"``, ``"sd"``, ``"median"``, ``"mad"`` (the median absolute
        deviation); ``"quantile"``, that of probability `prob`; ``"local"``, the probability
        between two quantiles; ``"tail"``, the worse one of two quantiles; ``"bulk"``, the mean of
        the normal scores, a measure of mixing that needs no moments. All of them split the chains
        into halves except ``"unsplit"``, which is for the mean.
    prob : float or (float, float), default 0.9
        The probability of ``"quantile"``. For ``"tail"`` and ``"local"`` the probability between
        two quantiles with equal tails, or the probabilities of both quantiles: 0.9 stands for
        (0.05, 0.95). The other kinds ignore it.

    Returns
    -------
    float or ndarray, shape of the further axes
        The effective sample size. It exceeds the number of draws S if these alternate about the
        mean, but never S log10 S. It is S if all draws are equal, and NaN for fewer than 4 draws of
        a chain.

    Raises
    ------
    ArgumentError
        If `x` has another shape or holds NaN or an infinity, for an unknown kind, or if `prob` is
        not between 0 and 1.

    Warns
    -----
    FermiacWarning
        If there are too few draws.

    Notes
    -----
    It is S divided by the integrated autocorrelation time. The autocorrelations combine the
    autocovariances within the chains with the variance between them, and are summed over Geyer's
    initial monotone sequence. Short lags are computed directly if that is faster than a Fourier
    transform.

    References
    ----------
    .. [1] A. Vehtari, A. Gelman, D. Simpson, B. Carpenter, P.-C. Bürkner, "Rank-normalization,
       folding, and localization: an improved R-hat for assessing convergence of MCMC", Bayesian
       Analysis, 2021, doi:10.1214/20-BA1221.
    .. [2] C. J. Geyer, "Practical Markov chain Monte Carlo", Statistical Science, 1992,
       doi:10.1214/ss/1177011137.

    Examples
    --------
    For correlations 0.9^t the ratio to the number of draws is (1 - 0.9) / (1 + 0.9):

    >>> import numpy as np, fermiac as fm
    >>> noise = fm.random.Stream(1).normal((4, 20_000))
    >>> x = np.zeros_like(noise)
    >>> for t in range(1, 20_000):
    ...     x[:, t] = 0.9 * x[:, t - 1] + noise[:, t]
    >>> bool(abs(fm.diagnostics.ess(x, kind="mean") / (80_000 / 19) - 1) < 0.2)
    True
    >>> fm.diagnostics.ess(np.ones((4, 100)))
    400.0
    """
    name = choice("kind", kind, _ESS)
    pair = _pair(prob) if name in ("tail", "local") else (0.0, 0.0)
    if name in ("median", "quantile"):
        name, pair = "quantile", (0.5 if name == "median" else _single(prob), 0.0)
    return statistic("x", x, f"ess_{name}", pair)


def mcse(x: ArrayLike, *, kind: str = "mean", prob: float = 0.9) -> Any:
    """Return the Monte Carlo standard error of an estimate from the draws of Markov chains.

    Parameters
    ----------
    x : array_like, shape (chains, draws), (draws,) or (chains, draws, ...)
        The draws; further axes are separate quantities. Chunked arrays of dask and xarray are
        computed a few quantities at a time.
    kind : {"mean", "sd", "median", "quantile"}, default "mean"
        The estimate.
    prob : float, default 0.9
        The probability of the quantile. The other kinds ignore it.

    Returns
    -------
    float or ndarray, shape of the further axes
        The standard error: 0 if all draws are equal, NaN for fewer than 4 draws of a chain.

    Raises
    ------
    ArgumentError
        If `x` has another shape or holds NaN or an infinity, for an unknown kind, or if `prob` is
        not between 0 and 1.

    Warns
    -----
    FermiacWarning
        If there are too few draws.

    Notes
    -----
    Each kind uses its effective sample size from `ess`. The error of a quantile is half the
    distance between two order statistics, one standard deviation of its rank below and above it.

    References
    ----------
    .. [1] A. Vehtari, A. Gelman, D. Simpson, B. Carpenter, P.-C. Bürkner, "Rank-normalization,
       folding, and localization: an improved R-hat for assessing convergence of MCMC", Bayesian
       Analysis, 2021, doi:10.1214/20-BA1221.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> x = fm.random.Stream(1).normal((4, 2500, 3))
    >>> error = fm.diagnostics.mcse(x)  # About 1 / sqrt(10_000) each.
    >>> error.shape, bool(np.all(abs(error - 0.01) < 0.002))
    ((3,), True)
    """
    name = choice("kind", kind, _MCSE)
    p = _single(prob) if name == "quantile" else 0.5
    name = "quantile" if name == "median" else name
    return statistic("x", x, f"mcse_{name}", (p, 0.0))


def bfmi(energy: ArrayLike) -> Any:
    """Estimate the fraction of missing information from the energies of Hamiltonian chains.

    Parameters
    ----------
    energy : array_like, shape (chains, draws) or (draws,)
        The total energy, potential and kinetic, at each draw.

    Returns
    -------
    ndarray, shape (chains,), or float
        The mean square of the changes of the energy divided by its variance, for each chain. Below
        0.3 the momenta change the energy too little to reach the tails. NaN if the energy is
        constant, or for fewer than 4 draws.

    Raises
    ------
    ArgumentError
        If `energy` has another shape or holds NaN or an infinity.

    Warns
    -----
    FermiacWarning
        If there are too few draws.

    References
    ----------
    .. [1] M. Betancourt, "Diagnosing suboptimal cotangent disintegrations in Hamiltonian Monte
       Carlo", arXiv:1604.00695, 2016.

    Examples
    --------
    >>> import fermiac as fm
    >>> # Independent: changes of variance 2.
    >>> energy = fm.random.Stream(1).normal((4, 1000))
    >>> bool(abs(fm.diagnostics.bfmi(energy) - 2).max() < 0.3)
    True
    """
    values = real_numbers("energy", energy)
    if values.ndim not in (1, 2):
        raise ArgumentError(
            f"energy: an array of shape {values.shape} given; (chains, draws) or (draws,) is needed"
        )
    bad = np.argwhere(~np.isfinite(values))
    if bad.size:
        place = tuple(map(int, bad[0]))
        raise ArgumentError(f"energy: {values[place]} given at {place}; finite numbers are needed")
    # Each chain is a quantity with a single chain.
    return statistic("energy", values.T[None] if values.ndim == 2 else values, "bfmi")


def statistic(
    name: str,
    x: ArrayLike,
    statistic: str,
    probabilities: tuple[float, float] = (0.0, 0.0),
    min_chains: int = 1,
) -> Any:
    """Return a statistic of the core for every quantity."""
    threads = get_num_threads()
    chunked = is_chunked(x)
    values: Any = x if chunked else real_numbers(name, x)
    if len(values.shape) == 1:
        values = values[None]
    if len(values.shape) < 2 or 0 in values.shape[:2]:
        raise ArgumentError(
            f"{name}: an array of shape {np.shape(x)} given; (chains, draws) or (chains, draws, "
            "...) is needed, with a draw at least"
        )
    chains, draws, *rest = map(int, values.shape)
    if chains < min_chains or draws < MIN_DRAWS:
        needed = f"{min_chains} chains" if chains < min_chains else f"{MIN_DRAWS} draws of each"
        warnings.warn(
            f"{name}: chains {chains}, draws {draws}; at least {needed} are needed, so that the "
            "result is NaN",
            FermiacWarning,
            stacklevel=3,
        )
        found = np.full(rest, np.nan)
    else:
        found = np.empty(rest)
        for at in _blocks(values) if chunked else [(...,)]:
            part = real_numbers(name, values[:, :, *at]) if chunked else values
            columns = np.ascontiguousarray(part.reshape(chains, draws, -1))
            got = _core.diagnostics_convergence(columns, statistic, probabilities, threads)
            found[at] = got.reshape(part.shape[2:])
    return found if rest else float(found)


def is_chunked(x: Any) -> bool:
    """Return whether an array is computed in chunks, as those of dask and of xarray with dask."""
    chunks, shape = getattr(x, "chunks", None), getattr(x, "shape", None)
    if not isinstance(chunks, tuple) or not isinstance(shape, tuple) or not hasattr(x, "compute"):
        return False
    # Sizes may be unknown until all is computed.
    return len(chunks) == len(shape) > 1 and all(isinstance(size, int) for size in shape)


def _blocks(x: Any) -> Iterator[tuple[slice, ...]]:
    """Yield the places of blocks of quantities: chunks, or parts of those that are large."""
    rest = tuple(map(int, x.shape[2:]))
    steps = [max(map(int, sizes), default=1) or 1 for sizes in x.chunks[2:]]
    while (
        int(x.shape[0]) * int(x.shape[1]) * math.prod(steps) > _MOST and max(steps, default=1) > 1
    ):
        widest = steps.index(max(steps))
        steps[widest] = -(-steps[widest] // 2)
    grid = [range(0, size, step) for size, step in zip(rest, steps, strict=True)]
    for starts in itertools.product(*grid):
        yield tuple(slice(i, i + step) for i, step in zip(starts, steps, strict=True))


def _probabilities(prob: Prob) -> Array:
    given = real_numbers("prob", prob)
    boolean = np.asarray(prob).dtype.kind == "b"
    if boolean or not np.all((given > 0) & (given < 1)):
        raise ArgumentError(
            f"prob: {shown(prob)} given; probabilities above 0 and below 1 are needed"
        )
    return given


def _single(prob: Prob) -> float:
    given = _probabilities(prob)
    if given.ndim != 0:
        raise ArgumentError(f"prob: {shown(prob)} given; one probability is needed")
    return float(given)


def _pair(prob: Prob) -> tuple[float, float]:
    given = _probabilities(prob)
    if given.ndim == 0:
        # Rounding gives the nearest double: 0.05, not 0.04999999999999999.
        return round((1 - float(given)) / 2, 15), round((1 + float(given)) / 2, 15)
    if given.shape != (2,) or not given[0] < given[1]:
        raise ArgumentError(
            f"prob: {shown(prob)} given; a probability, or two that rise, are needed"
        )
    return float(given[0]), float(given[1])
