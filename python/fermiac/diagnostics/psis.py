"""Pareto-smoothed importance weights and the shape k-hat of their tail."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.config import get_num_threads
from fermiac._base.validate import real_numbers, whole, yes
from fermiac.errors import ArgumentError, WeightWarning

__all__ = ["khat_threshold", "psis"]

Array = NDArray[np.float64]
#: The logarithm of a ratio of weights that is 0 as a double.
_NOTHING = -746.0


def psis(
    log_ratios: ArrayLike,
    r_eff: ArrayLike = 1.0,
    normalize: bool = True,
) -> tuple[Array, Any]:
    r"""Smooth importance weights by a generalised Pareto law, and return its shape k-hat.

    The :math:`3 \sqrt{n / r_\mathrm{eff}}` largest weights are replaced by the order statistics of
    a fitted generalised Pareto law, none beyond the largest raw weight. The shape k-hat of the law
    shows whether averages over the weights are reliable.

    Parameters
    ----------
    log_ratios : array_like, shape (n,) or (n, columns)
        Logarithms of the raw weights, up to a constant; -inf for a weight of 0. For leave-one-out
        cross-validation these are the negative pointwise log-likelihoods. Each column is a
        separate set of weights.
    r_eff : float or array_like, shape (columns,), default 1
        The effective sample size of the draws divided by their number: 1 for independent draws,
        less for a Markov chain. The tail is longer for a smaller value.
    normalize : bool, default True
        Make the weights of each column sum to 1; False keeps the scale of the ratios.

    Returns
    -------
    log_weights : ndarray, shape of `log_ratios`
        Logarithms of the smoothed weights.
    khat : float or ndarray, shape (columns,)
        The shape: the fitted tail has moments of order below 1 / k-hat. Averages are unreliable
        above `khat_threshold`, and their mean does not exist above 1. The shape is -inf if all
        weights of the tail are equal, and inf if one weight has all of the sum, up to rounding. It
        is NaN if no Pareto law is fitted: for fewer than 30
        values, or if a quarter of the tail lies at its lower end, as when most weights are 0. In
        these cases nothing is smoothed.

    Raises
    ------
    ArgumentError
        If `log_ratios` has another shape, holds NaN or +inf, or has a column of -inf alone, or if
        `r_eff` is not positive.

    Warns
    -----
    WeightWarning
        If one weight has all of the sum.

    Notes
    -----
    The fit is the empirical Bayes estimate of [2]_ with the weak prior for the shape of [1]_ (ten
    observations at 0.5). The tail is a fifth of the values if n r_eff is at most 225, and never
    fewer than five values.

    References
    ----------
    .. [1] A. Vehtari, D. Simpson, A. Gelman, Y. Yao, J. Gabry, "Pareto smoothed importance
       sampling", Journal of Machine Learning Research, 2024, arXiv:1507.02646.
    .. [2] J. Zhang, M. Stephens, "A new and efficient estimation method for the generalized Pareto
       distribution", Technometrics, 2009, doi:10.1198/tech.2009.08017.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> u = fm.random.Stream(1).uniform(10_000)
    >>> log_weights, khat = fm.diagnostics.psis(-0.4 * np.log(u))
    >>> bool(abs(np.exp(log_weights).sum() - 1) < 1e-12), bool(abs(khat - 0.4) < 0.15)
    (True, True)
    >>> fm.diagnostics.psis(np.zeros(4000))[1]
    -inf
    """
    values = real_numbers("log_ratios", log_ratios, copy=None)
    if values.ndim not in (1, 2) or values.size == 0:
        raise ArgumentError(
            f"log_ratios: an array of shape {values.shape} given; (n,) or (n, columns) is needed, "
            "with a value at least"
        )
    columns = np.atleast_2d(values.T)
    if not columns.flags.c_contiguous:
        # One by one, as a single copy of all could not be interrupted.
        strided, columns = columns, np.empty(columns.shape)
        for column, given in zip(columns, strided, strict=True):
            column[:] = given
    size = real_numbers("r_eff", r_eff)
    if size.shape not in ((), (len(columns),)):
        raise ArgumentError(
            f"r_eff: an array of shape {size.shape} given for {len(columns)} columns; one number, "
            "or one for each column, is needed"
        )
    each = np.ascontiguousarray(np.broadcast_to(size, len(columns)))
    threads = get_num_threads()
    log_weights, khat = _core.diagnostics_psis(columns, each, yes("normalize", normalize), threads)
    # A sum is NaN if any term is.
    if columns.shape[1] > 1 and math.isnan(sum(khat.tolist())) and _find_alone(columns, khat):
        warnings.warn(
            "log_ratios: one weight has all of the sum, so an average over the weights is one "
            "value; draw from a law closer to the target",
            WeightWarning,
            stacklevel=2,
        )
    if values.ndim == 1:
        return log_weights[0], float(khat[0])
    return log_weights.T, khat


def _find_alone(columns: Array, khat: Array) -> bool:
    """Set k-hat to inf where one weight has all of the sum, and return whether any has."""
    for j in np.flatnonzero(np.isnan(khat)):
        second, first = np.partition(columns[j], -2)[-2:] / 2
        if second - first < _NOTHING / 2:
            khat[j] = np.inf
    return bool(np.isposinf(khat).any())


def khat_threshold(n: int) -> float:
    """Return the k-hat above which averages over `n` weights are unreliable.

    Parameters
    ----------
    n : int
        The number of weights, at least 2.

    Returns
    -------
    float
        min(1 - 1 / log10(n), 0.7): small samples need lighter tails. It is not positive for n up
        to 10.

    Raises
    ------
    ArgumentError
        If `n` is not a whole number of at least 2.

    References
    ----------
    .. [1] A. Vehtari, D. Simpson, A. Gelman, Y. Yao, J. Gabry, "Pareto smoothed importance
       sampling", Journal of Machine Learning Research, 2024, arXiv:1507.02646.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.diagnostics.khat_threshold(100), fm.diagnostics.khat_threshold(10_000)
    (0.5, 0.7)
    """
    return _core.diagnostics_khat_threshold(whole("n", n, 2, 2**62))
