"""Approximate Bayesian computation from a table of simulations."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.calls import public
from fermiac._base.validate import (
    choice,
    labels,
    numbers,
    positive,
    real_numbers,
    shown,
    taken,
    whole,
)
from fermiac.errors import ArgumentError, ConvergenceWarning, FermiacWarning
from fermiac.results.result import Finding, warn
from fermiac.sbi.distances import (
    Distance,
    DistanceFunction,
    Scale,
    observed_of,
    scale_of,
    spreads,
)
from fermiac.sbi.result import AbcSample

__all__ = ["abc"]

Array = NDArray[np.float64]
_METHODS = ("local_linear", "ridge", "rejection")
#: The smallest default number of accepted simulations, and their default share.
_LEAST, _SHARE = 100, 0.01
#: The penalties of the ridge, for standardised summaries.
_PENALTIES = np.geomspace(1e-6, 1e3, 37)
#: The smallest number of accepted simulations for each coefficient of the regression.
_EACH = 10


@public
def abc(
    table: tuple[ArrayLike, ArrayLike],
    observed: ArrayLike,
    *,
    method: Literal["local_linear", "ridge", "rejection"] = "local_linear",
    n_accept: int | None = None,
    scale: Scale = "mad",
    distance: DistanceFunction | None = None,
    penalty: float | None = None,
    bounds: ArrayLike | None = None,
    names: Sequence[str] | None = None,
) -> AbcSample:
    r"""Infer parameters from a table of simulations, by approximate Bayesian computation [1]_.

    The simulations whose summaries are closest to the observed ones are accepted. A regression of
    the parameters on the summaries then corrects for the remaining distance [2]_.

    Parameters
    ----------
    table : tuple of array_like, shapes (N, d) and (N, k)
        Parameters drawn from the prior, and the summaries of a simulation with each of them. Arrays
        (N,) have one column. A simulation that failed has NaN or infinite summaries, and is never
        accepted.
    observed : array_like, shape (k,)
        The summaries of the observation.
    method : {"local_linear", "ridge", "rejection"}, default "local_linear"
        ``"local_linear"``: least squares with the weights of Epanechnikov's kernel [2]_.
        ``"ridge"``: the same with a penalty on the coefficients, for many summaries [3]_.
        ``"rejection"``: no regression and equal weights.
    n_accept : int, optional
        The number of accepted simulations; by default a hundredth of them, and at least 100.
    scale : {"mad", "sd", "none"} or array_like, shape (k,), default "mad"
        The numbers that summaries are divided by for the distance: their median absolute
        deviations or standard deviations in the table, ones, or numbers of your own.
    distance : callable, optional
        ``distance(summaries, observed)`` takes summaries of shape (n, k) and returns (n,) numbers
        that are not negative; by default the Euclidean distance of scaled summaries.
    penalty : float, optional
        The penalty of the ridge, for standardised summaries; by default the one with the least
        generalised cross-validation error.
    bounds : array_like, shape (d, 2), optional
        The bounds of the parameters, infinite where there are none. Parameters with bounds are
        adjusted on the logarithmic or the logit scale, so that they stay within them.
    names : sequence of str, optional
        The names of the parameters.

    Returns
    -------
    AbcSample
        A weighted sample, closest simulations first.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, fewer simulations than `n_accept` are finite, or there
        are too few for the regression.
    TargetError
        If `distance` returns values of another shape.

    Warns
    -----
    ConvergenceWarning
        If an observed summary lies outside the range of the accepted simulations, so that the model
        may not be able to produce it.
    FermiacWarning
        If there are fewer than ten accepted simulations for each coefficient of the regression.

    Notes
    -----
    With the largest accepted distance ε, a simulation at distance t has the weight
    :math:`1 - (t / \epsilon)^2`. The regression is :math:`\theta_i \approx \alpha + \beta'(s_i -
    s_{obs})`, and the adjusted parameters are :math:`\theta_i - \beta'(s_i - s_{obs})`.

    The errors of averages over the sample are Monte Carlo errors alone. The approximation itself
    has an error as well, which falls with ε; compare several numbers of accepted simulations.

    References
    ----------
    .. [1] J. K. Pritchard, M. T. Seielstad, A. Perez-Lezaun, M. W. Feldman, "Population growth of
       human Y chromosomes: a study of Y chromosome microsatellites", Molecular Biology and
       Evolution, 1999, doi:10.1093/oxfordjournals.molbev.a026091.
    .. [2] M. A. Beaumont, W. Zhang, D. J. Balding, "Approximate Bayesian computation in population
       genetics", Genetics, 2002, doi:10.1093/genetics/162.4.2025.
    .. [3] M. G. B. Blum, M. A. Nunes, D. Prangle, S. A. Sisson, "A comparative review of dimension
       reduction methods in approximate Bayesian computation", Statistical Science, 2013,
       arXiv:1202.3819.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> stream = fm.random.Stream(1)
    >>> theta = stream.normal(20_000)  # the prior
    >>> data = theta[:, None] + stream.normal((20_000, 10))
    >>> s = fm.sbi.abc((theta, data.mean(axis=1)), 0.5, n_accept=1000)
    >>> e = s.expect(lambda x: x[:, 0])  # the posterior has the mean 0.5 · 10 / 11
    >>> bool(abs(e.mean - 0.5 * 10 / 11) < 5 * e.stderr)
    True
    """
    began = time.perf_counter()
    chosen = choice("method", method, _METHODS)
    target = observed_of(observed)
    theta, summaries = _table(table, target.size)
    n, d = theta.shape
    count = (
        min(max(_LEAST, round(_SHARE * n)), n)
        if n_accept is None
        else whole("n_accept", n_accept, 2, n)
    )
    limits = _bounds(bounds, theta)
    known = labels(names, d, "parameter")
    fixed = None if penalty is None else positive("penalty", penalty)
    sizes = spreads(summaries, scale_of(scale, target.size))
    apart = Distance(target, sizes, distance)(summaries)
    finite = int(np.isfinite(apart).sum())
    if finite < count:
        raise ArgumentError(
            f"table: {finite} simulations with finite summaries given; n_accept={count} are needed"
        )
    rows = _closest(apart, count)
    epsilon = float(apart[rows[-1]])
    gaps = (summaries[rows] - target) / sizes
    weights = np.ones(count)
    if chosen != "rejection" and epsilon > 0:
        weights = 1 - (apart[rows] / epsilon) ** 2
        if not weights.any():  # all at the same distance
            weights[:] = 1.0
    draws = theta[rows]
    settings: dict[str, Any] = {"method": chosen, "n_accept": count, "penalty": fixed}
    if chosen != "rejection":
        line = _line(draws, limits)
        slope, settings["penalty"] = _slope(gaps, line, weights, chosen == "ridge", fixed)
        draws = _back(line - gaps @ slope, limits)
    doubts = _doubts(chosen, summaries[rows], target, weights)
    with np.errstate(divide="ignore"):
        logs = np.log(weights)
    made = AbcSample(
        draws=draws,
        log_weights=None if chosen == "rejection" else logs,
        error_model="iid" if chosen == "rejection" else "weighted",
        names=known,
        distances=apart[rows],
        rows=rows,
        epsilon=epsilon,
        summaries=np.ascontiguousarray(summaries[rows]),
        observed=target,
        scale=sizes,
        n_simulations=n,
        seed=None,
        version=_core.__version__,
        isa=_core.isa_level,
        settings=settings,
        n_evals=0,
        wall_time=time.perf_counter() - began,
    )
    warn(doubts, made)
    return made


def _table(given: Any, k: int) -> tuple[Array, Array]:
    """Return the parameters and the summaries, each with rows."""
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise ArgumentError(
            f"table: {shown(given)} given; a pair (parameters, summaries) is needed, of shapes "
            "(N, d) and (N, k)"
        )
    theta = numbers("table[0]", given[0])
    summaries = real_numbers("table[1]", given[1], copy=None)
    theta = theta[:, None] if theta.ndim == 1 else theta
    summaries = summaries[:, None] if summaries.ndim == 1 else summaries
    if theta.ndim != 2 or summaries.ndim != 2 or len(theta) != len(summaries) or len(theta) < 2:
        raise ArgumentError(
            f"table: arrays of shapes {np.shape(given[0])} and {np.shape(given[1])} given; (N, d) "
            "and (N, k) are needed, with a row for each simulation"
        )
    if summaries.shape[1] != k:
        raise ArgumentError(
            f"observed: {k} summaries given, and {summaries.shape[1]} in the table; as many are "
            "needed"
        )
    if not np.isfinite(theta).all():
        raise ArgumentError("table[0]: an infinity given; finite parameters are needed")
    return theta, summaries


def _bounds(given: Any, theta: Array) -> Array | None:
    """Return the bounds of the parameters, which lie strictly between them."""
    if given is None:
        return None
    d = theta.shape[1]
    array = taken("bounds", given)
    if array.shape != (d, 2) or array.dtype.kind not in "iuf":
        raise ArgumentError(f"bounds: {shown(given)} given; numbers of shape ({d}, 2) are needed")
    pairs = np.asarray(array, float)
    if not ((theta > pairs[:, 0]) & (theta < pairs[:, 1])).all():
        raise ArgumentError("bounds: a parameter of the table lies outside of them or on one")
    return pairs


def _closest(apart: Array, count: int) -> NDArray[np.int64]:
    """Return the rows of the smallest distances in their order; the first of equal ones."""
    if count == len(apart):
        return np.argsort(apart, kind="stable")
    edge = np.partition(apart, count - 1)[count - 1]
    inner = np.flatnonzero(apart < edge)
    last = np.flatnonzero(apart == edge)[: count - len(inner)]
    rows = np.concatenate([inner, last])
    return rows[np.lexsort((rows, apart[rows]))]


def _line(theta: Array, bounds: Array | None) -> Array:
    """Return parameters on the scale on which they have no bounds."""
    if bounds is None:
        return theta
    out = theta.copy()
    for j, (low, high) in enumerate(bounds):
        x = theta[:, j]
        if np.isfinite(low) and np.isfinite(high):
            out[:, j] = np.log(x - low) - np.log(high - x)
        elif np.isfinite(low):
            out[:, j] = np.log(x - low)
        elif np.isfinite(high):
            out[:, j] = np.log(high - x)
    return out


def _back(y: Array, bounds: Array | None) -> Array:
    """Return parameters from the scale of `_line`."""
    from scipy.special import expit

    if bounds is None:
        return y
    out = y.copy()
    for j, (low, high) in enumerate(bounds):
        with np.errstate(over="ignore"):
            if np.isfinite(low) and np.isfinite(high):
                out[:, j] = low + (high - low) * expit(y[:, j])
            elif np.isfinite(low):
                out[:, j] = low + np.exp(y[:, j])
            elif np.isfinite(high):
                out[:, j] = high - np.exp(y[:, j])
    if not np.isfinite(out).all():
        raise ArgumentError(
            "bounds: the regression takes a parameter to infinity; method='ridge' or more "
            "accepted simulations are needed"
        )
    return out


def _slope(
    gaps: Array, line: Array, weights: Array, ridge: bool, penalty: float | None
) -> tuple[Array, float | None]:
    """Return the coefficients of the summaries, (k, d), and the penalty."""
    n = int((weights > 0).sum())
    k = gaps.shape[1]
    if not ridge and n < k + 1:
        raise ArgumentError(
            f"n_accept: {n} accepted simulations of positive weight for {k + 1} coefficients of "
            "the regression; more are needed, or method='ridge'"
        )
    w = weights / weights.sum()
    middle, centre = w @ gaps, w @ line
    x, y = np.sqrt(w)[:, None] * (gaps - middle), np.sqrt(w)[:, None] * (line - centre)
    spread = np.sqrt((x**2).sum(0))
    spread[spread == 0] = 1.0
    u, s, vt = np.linalg.svd(x / spread, full_matrices=False)
    kept = s > 1e-12 * max(float(s[0]), 1e-300) * max(x.shape)
    u, s, vt = u[:, kept], s[kept], vt[kept]
    along = u.T @ y
    if not ridge:
        return (vt.T @ (along / s[:, None])) / spread[:, None], None
    if penalty is None:
        # Generalised cross-validation, with the intercept among the coefficients.
        errors = []
        total = (y**2).sum()
        for value in _PENALTIES:
            shrunk = s**2 / (s**2 + value)
            rest = total - ((2 * shrunk - shrunk**2)[:, None] * along**2).sum()
            errors.append(rest / (n - 1 - min(shrunk.sum(), n - 2)) ** 2 if n > 2 else value)
        penalty = float(_PENALTIES[int(np.argmin(errors))])
    shrunk = (s / (s**2 + penalty))[:, None]
    return (vt.T @ (shrunk * along)) / spread[:, None], penalty


def _doubts(method: str, summaries: Array, observed: Array, weights: Array) -> list[Finding]:
    """Return doubts about the approximation."""
    found: list[Finding] = []
    outside = (observed < summaries.min(0)) | (observed > summaries.max(0))
    if outside.any():
        j = int(np.argmax(outside))
        found.append((
            ConvergenceWarning,
            f"the observed summary {j} is {observed[j]:.4g}, outside of the range of the accepted "
            f"simulations, {summaries[:, j].min():.4g} to {summaries[:, j].max():.4g}; the model "
            "may not be able to produce it; simulate more, or check the model",
        ))  # fmt: skip
    k, n = summaries.shape[1], int((weights > 0).sum())
    if method == "local_linear" and n < _EACH * (k + 1):
        found.append((
            FermiacWarning,
            f"{n} accepted simulations are few for {k + 1} coefficients of the regression; accept "
            "more, or give method='ridge' or fewer summaries",
        ))  # fmt: skip
    return found
