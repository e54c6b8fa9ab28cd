"""Quantiles of samples with their standard errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.config import resolve_threads
from fermiac._base.validate import choice, numbers, shown, yes
from fermiac.errors import ArgumentError
from fermiac.results.chain_errors import chain_shape, is_ensemble, statistic
from fermiac.results.error_models import average, error_model_of

if TYPE_CHECKING:
    from fermiac.results.sample import Sample

__all__ = ["quantile"]

Array = NDArray[np.float64]
_numpy_quantile: Callable[..., Array] = np.quantile


def quantile(
    sample: Sample, q: ArrayLike, kind: str, return_stderr: bool
) -> Array | tuple[Array, Array]:
    """Return the quantiles of `Sample.quantile`, optionally with their standard errors."""
    wanted, return_stderr = numbers("q", q), yes("return_stderr", return_stderr)
    if wanted.ndim > 1 or not np.all((wanted >= 0) & (wanted <= 1)):
        raise ArgumentError(
            f"q: {shown(q)} given; a number from 0 to 1 is needed, or a vector of such numbers"
        )
    kind = choice("kind", kind, ("linear", "inverted_cdf"))
    if return_stderr and not np.all((wanted > 0) & (wanted < 1)):
        raise ArgumentError(
            "q: the ends, 0 and 1, have no standard error; leave them out or use "
            "return_stderr=False"
        )
    points, weights = sample._points, sample._weights()
    at = np.atleast_1d(wanted)
    if not at.size:
        empty = np.empty((0, sample.dim))
        return (empty, empty.copy()) if return_stderr else empty
    chains = None
    # For walkers of an ensemble, as for weighted points, the error of an average is used.
    plain = sample.log_weights is None and not is_ensemble(sample)
    if error_model_of(sample).of_chains and plain:
        chains = sample.draws.reshape(*chain_shape(sample), sample.dim)
    out = np.empty((at.size, sample.dim))
    error = np.empty_like(out)
    for j, x in enumerate(points.T):
        column = _Column(x, weights, kind)
        out[:, j] = column.at(at)
        if return_stderr and chains is not None:
            error[:, j] = _chain_errors(chains[..., j : j + 1], at)
        elif return_stderr:
            below = (x[:, None] <= out[:, j]).astype(float)
            spread = np.sqrt(np.diag(average(sample, below).cov))
            low, high = (column.at(np.clip(at + s * spread, 0, 1)) for s in (-1, 1))
            # The quantile function is unknown beyond the outermost points.
            seen = np.minimum(at, 1 - at) - spread >= 0.5 * np.sum(weights**2)
            error[:, j] = np.where(seen, (high - low) / 2, np.inf)
    out, error = (a.reshape(*wanted.shape, sample.dim) for a in (out, error))
    return (out, error) if return_stderr else out


def _chain_errors(draws: Array, q: Array) -> Array:
    """Return the errors of one coordinate, (chains, draws, 1), from the ESS of each quantile."""
    threads = resolve_threads(None)
    error = np.empty(q.size)
    for k, p in enumerate(q):
        ess = statistic(draws, "ess_quantile", threads, (p, 0.0))[0]
        # As for independent points, quantiles near the ends have no known error.
        seen = min(p, 1 - p) - np.sqrt(p * (1 - p) / ess) >= 0.5 / ess
        error[k] = statistic(draws, "mcse_quantile", threads, (p, 0.0))[0] if seen else np.inf
    return error


class _Column:
    """The sorted points of one coordinate with their weights."""

    def __init__(self, x: Array, weights: Array, kind: str) -> None:
        used = weights > 0
        x, weights = x[used], weights[used]
        # NumPy's own sorting cannot be interrupted.
        order = _core.sorted_indices(np.ascontiguousarray(x))
        self._x, self._w, self._kind = x[order], weights[order], kind
        self._equal = bool(np.all(weights == weights[0]))
        self._reached = np.cumsum(self._w)
        self._reached /= self._reached[-1]
        self._ess = 1 / float(np.sum(weights**2))

    def at(self, q: Array) -> Array:
        """Return the quantiles at `q`."""
        # NumPy avoids the rounding of cumulated weights.
        if self._equal:
            return _numpy_quantile(self._x, q, method=self._kind)
        if self._kind == "inverted_cdf":
            return self._x[np.minimum(np.searchsorted(self._reached, q), self._x.size - 1)]
        return np.array([self._window(p) for p in q])

    def _window(self, q: float) -> float:
        """Return the mean of the quantile function from (n - 1) q / n to ((n - 1) q + 1) / n."""
        low = (self._ess - 1) * q / self._ess
        high = low + 1 / self._ess
        first = int(np.searchsorted(self._reached, low, side="right"))
        last = min(int(np.searchsorted(self._reached, high)), self._x.size - 1)
        first = min(first, last)
        share = self._w[first : last + 1].copy()
        share[0] = self._reached[first] - low
        share[-1] = min(high, 1.0) - (self._reached[last - 1] if last > first else low)
        return float(np.sum(share * self._x[first : last + 1]) / np.sum(share))
