"""Nested R-hat: convergence of many short Markov chains, some of which share their start."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.exponents import exponents, scaled
from fermiac._base.validate import choice, real_numbers, whole
from fermiac.errors import ArgumentError
from fermiac.special import betainc, ndtri

__all__ = ["nested_rhat", "superchain_rhat"]

Array = NDArray[np.float64]

_METHODS = ("rank", "folded", "unsplit")
#: The numbers whose ranks are computed at once.
_BLOCK = 2**22


def nested_rhat(
    x: ArrayLike,
    n_superchains: int,
    *,
    method: Literal["rank", "folded", "unsplit"] = "rank",
) -> Any:
    r"""Compare the variance between groups of Markov chains with the variance within them.

    A superchain is a group of chains with a common start; different superchains start apart. If the
    chains have forgotten their starts, the means of the superchains differ only by chance. `rhat`
    compares single chains, and many short ones have different means even where all of them have
    converged. The mean of a superchain of many chains varies little, so that nested R-hat is near 1
    after a few draws.

    Parameters
    ----------
    x : array_like, shape (chains, draws) or (chains, draws, ...)
        The draws; further axes are separate quantities. The chains of a superchain are next to each
        other.
    n_superchains : int
        The number of superchains, at least 2. The number of chains is a multiple of it.
    method : {"rank", "folded", "unsplit"}, default "rank"
        ``"unsplit"`` takes the draws as they are, ``"folded"`` the normal scores of the distances
        from the median, which detects unequal spreads, and ``"rank"`` the larger one of the folded
        figure and that of the normal scores of the draws; it needs no moments.

    Returns
    -------
    float or ndarray, shape of the further axes
        Nested R-hat: 1 if all draws are equal, inf if each superchain is constant at another value.

    Raises
    ------
    ArgumentError
        If `x` has another shape or holds NaN or an infinity, for an unknown method, or if the
        chains cannot be divided into `n_superchains` groups.

    Notes
    -----
    Let :math:`\hat B` be the variance of the means of the superchains. Let :math:`\hat W` be the
    mean over superchains of the variance of the means of their chains plus the mean of the
    variances within their chains; a variance of a single value is 0. Then
    :math:`\mathfrak n\hat R = \sqrt{1 + \hat B / \hat W}`. For chains that have converged, with
    an effective sample size n of a superchain, it is about :math:`\sqrt{1 + 1 / n}`.

    References
    ----------
    .. [1] C. C. Margossian, M. D. Hoffman, P. Sountsov, L. Riou-Durand, A. Vehtari, A. Gelman,
       "Nested R-hat: assessing the convergence of Markov chain Monte Carlo when running many short
       chains", Bayesian Analysis, 2024, arXiv:2110.13017.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> x = fm.random.Stream(1).normal((256, 10))
    >>> bool(fm.diagnostics.rhat(x) > 1.01), bool(fm.diagnostics.nested_rhat(x, 16) < 1.01)
    (True, True)
    >>> x[:16] += 1  # The chains of the first superchain have another mean.
    >>> bool(fm.diagnostics.nested_rhat(x, 16) > 1.02)
    True
    """
    name = choice("method", method, _METHODS)
    values = real_numbers("x", x)
    if values.ndim < 2 or 0 in values.shape[:2]:
        raise ArgumentError(
            f"x: an array of shape {values.shape} given; (chains, draws) or (chains, draws, ...) "
            "is needed, with a draw at least"
        )
    chains, n, *rest = values.shape
    k = whole("n_superchains", n_superchains, 2, 2**31)
    if chains % k:
        raise ArgumentError(
            f"n_superchains: {k} given for {chains} chains; a divisor of the number of chains is "
            "needed"
        )
    columns = values.reshape(chains, n, -1)
    if not np.isfinite(columns).all():
        raise ArgumentError("x: NaN or an infinity given; finite numbers are needed")
    found = np.empty(columns.shape[2])
    for at in _blocks(columns):
        found[at] = np.max([_figures(part, k)[0] for part in _scores(columns[..., at], name)], 0)
    return found.reshape(rest) if rest else float(found[0])


def superchain_rhat(x: Array, n_superchains: int, chance: float) -> Array:
    """Return the nested R-hat of each column of (chains, draws, columns), for a warning above 1.01.

    A larger figure is returned only if differences between the starts show. The mean of a
    superchain also varies by chance, which the differences between its chains tell: under
    convergence their ratio has an F distribution. Where it is not in the upper tail of probability
    `chance`, the figure is 1.01 at most.
    """
    found = np.empty(x.shape[2])
    for at in _blocks(x):
        each = []
        for part in _scores(np.ascontiguousarray(x[..., at]), "rank"):
            figures, probabilities = _figures(part, n_superchains)
            by_chance = probabilities > chance
            each.append(np.where(by_chance, np.minimum(figures, 1.01), figures))
        found[at] = np.max(each, axis=0)
    return found


def _blocks(columns: Array) -> list[slice]:
    """Return slices of the columns whose ranks fit in memory."""
    step = max(_BLOCK // (columns.shape[0] * columns.shape[1]), 1)
    return [slice(at, at + step) for at in range(0, columns.shape[2], step)]


def _scores(x: Array, method: str) -> list[Array]:
    """Return the quantities whose figures are compared, in place of (chains, draws, columns)."""
    x = scaled(x, exponents(x, (0, 1)))
    if method == "unsplit":
        # A common factor has no influence, and squares of huge numbers would overflow.
        size = np.abs(x).max(axis=(0, 1))
        return [x / np.where(size > 0, size, 1.0)]
    far = np.abs(x - np.median(x, axis=(0, 1)))
    return [_normal(of) for of in ([far] if method == "folded" else [x, far])]


def _normal(x: Array) -> Array:
    """Return the normal scores of each column; equal values share a rank."""
    flat = x.reshape(-1, x.shape[2])
    size = len(flat)
    ranks = np.empty_like(flat)
    for column, out in zip(flat.T, ranks.T, strict=True):
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        first = np.concatenate([[True], ordered[1:] != ordered[:-1]])
        starts = np.append(np.flatnonzero(first), size)
        # The mean of the ranks from 1 on of a run of equal values.
        mean = 0.5 * (starts[:-1] + starts[1:] + 1)
        out[order] = np.repeat(mean, np.diff(starts))
    scores: Array = ndtri((ranks - 0.375) / (size + 0.25)).reshape(x.shape)
    return scores


def _figures(x: Array, k: int) -> tuple[Array, Array]:
    """Return nested R-hat, and the probability of so large a difference of the superchains."""
    chains, n, columns = x.shape
    m = chains // k
    means = x.mean(axis=1).reshape(k, m, columns)
    between = np.var(means.mean(axis=1), axis=0, ddof=1)
    among = np.var(means, axis=1, ddof=1).mean(axis=0) if m > 1 else np.zeros(columns)
    within = among + (np.var(x, axis=1, ddof=1).mean(axis=0) if n > 1 else 0.0)
    # Variances below the rounding error of the mean are those of equal draws.
    floor = 1e-28 * np.abs(x).max(axis=(0, 1)) ** 2
    between, among, within = (np.where(v > floor, v, 0.0) for v in (between, among, within))
    ratio = np.full(columns, np.inf)
    np.divide(between, within, out=ratio, where=within > 0)
    ratio[between == 0] = 0.0
    # For chains that have converged the expectation of both is the same.
    upper = k * (m - 1) * among
    lower = upper + (k - 1) * m * between
    share = np.divide(upper, lower, out=np.ones(columns), where=lower > 0)
    if m == 1:
        return np.sqrt(1 + ratio), np.zeros(columns)
    chance: Array = betainc(np.full(columns, 0.5 * k * (m - 1)), 0.5 * (k - 1), share)
    return np.sqrt(1 + ratio), chance
