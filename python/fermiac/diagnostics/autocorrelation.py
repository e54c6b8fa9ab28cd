"""Autocorrelation times of the walkers of an ensemble."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fermiac._base.validate import positive
from fermiac.diagnostics.convergence import statistic
from fermiac.errors import ConvergenceWarning

__all__ = ["LEAST_TIMES", "WINDOW", "autocorr_time", "is_long_enough"]

#: Estimates from runs shorter than this many autocorrelation times are too small.
LEAST_TIMES = 50
#: The length of the window of lags, in autocorrelation times.
WINDOW = 5.0


def autocorr_time(x: ArrayLike, *, window: float = WINDOW) -> Any:
    r"""Estimate the integrated autocorrelation time of the walkers of an ensemble.

    The walkers of `fermiac.mcmc.DE` depend on each other, so that
    R-hat and `ess`, which compare independent chains, are invalid for them. The variance of an
    average over a run of n transitions is that of n / τ independent ensembles.

    Parameters
    ----------
    x : array_like, shape (walkers, draws), (draws,) or (walkers, draws, ...)
        The draws; further axes are separate quantities.
    window : float, default 5
        Autocorrelations are summed up to the first lag that is at least this many times the sum.

    Returns
    -------
    float or ndarray, shape of the further axes
        The time τ, in draws; NaN for fewer than 4 draws of a walker.

    Raises
    ------
    ArgumentError
        If `x` has another shape or holds NaN or an infinity, or if `window` is not positive.

    Warns
    -----
    ConvergenceWarning
        If a walker has fewer than 50 τ draws; τ is probably larger than the estimate then.

    Notes
    -----
    :math:`\tau = 1 + 2 \sum_{t=1}^{M} \rho(t)`, where ρ is the mean of the autocorrelations of the
    walkers, each about its own mean, and M is the least lag with :math:`M \ge c \tau(M)`.

    References
    ----------
    .. [1] A. Sokal, "Monte Carlo methods in statistical mechanics: foundations and new algorithms",
       in: Functional Integration, 1997, doi:10.1007/978-1-4899-0319-8_6.
    .. [2] J. Goodman, J. Weare, "Ensemble samplers with affine invariance", Communications in
       Applied Mathematics and Computational Science, 2010, doi:10.2140/camcos.2010.5.65.

    Examples
    --------
    >>> import fermiac as fm
    >>> s = fm.mcmc.sample(
    ...     fm.targets.law_density(fm.distributions.Normal([0.0, 0.0])),
    ...     kernel=fm.mcmc.DE(), n_chains=16, n_draws=5000, rng=0,
    ... )
    >>> tau = fm.diagnostics.autocorr_time(s.draws)
    >>> tau.shape, bool((tau < 50).all())
    ((2,), True)
    """
    length = positive("window", window)
    time = statistic("x", x, "windowed_time", (length, 0.0))
    draws = np.shape(x)[min(1, np.ndim(x) - 1)]
    if not is_long_enough(draws, time):
        warnings.warn(
            f"x: {draws} draws of a walker are fewer than {LEAST_TIMES} autocorrelation times, the "
            f"longest of which seems to be {np.max(time):.3g}; run longer",
            ConvergenceWarning,
            stacklevel=2,
        )
    return time


def is_long_enough(n_draws: int, time: Any) -> bool:
    """Return whether `n_draws` draws of a walker suffice for an autocorrelation time."""
    return not bool(np.any(n_draws < LEAST_TIMES * np.asarray(time)))
