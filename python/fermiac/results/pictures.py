"""The small pictures of results in notebooks."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from fermiac import _core
from fermiac.results import html

if TYPE_CHECKING:
    from fermiac.results.estimate import Estimate
    from fermiac.results.sample import Sample

__all__ = ["of_estimate", "of_sample"]

#: The most rows, and the most draws behind a histogram, so that a picture takes milliseconds.
_ROWS, _DRAWS = 6, 20_000


def of_sample(sample: Sample) -> str:
    """Return histograms of the first coordinates; for long samples of evenly spaced draws."""
    if sample.n_draws < 2:
        return ""
    every = -(-sample.n_draws // _DRAWS)
    some = sample.draws[..., ::every, :_ROWS]
    points = np.asarray(some, np.float64).reshape(-1, some.shape[-1])
    weights = None
    if sample.log_weights is not None:
        # Those of the first law, of several.
        columns = sample.log_weights.reshape(*sample.draws.shape[:-1], -1)[..., ::every, 0]
        weights = _core.normalize_weights(np.ascontiguousarray(columns.ravel()))[0]
        points, weights = points[weights > 0], weights[weights > 0]
        if not len(points):
            return ""
    names = sample._labels
    cells = [(escape(names[j]), html.histogram(x, weights)) for j, x in enumerate(points.T)]
    if sample.dim > _ROWS:
        cells.append((f"and {sample.dim - _ROWS} more", ""))
    return html.rows(("", ""), cells)


def of_estimate(estimate: Estimate) -> str:
    """Return the first estimates with their intervals, on one scale."""
    means = np.atleast_1d(np.asarray(estimate.mean))
    errors = np.atleast_1d(estimate.stderr)
    if means.dtype.kind == "c":
        return ""
    n = min(means.size, _ROWS)
    low, high = (np.atleast_1d(end)[:n] for end in estimate.interval(0.95))
    finite = np.isfinite(low) & np.isfinite(high)
    # A single interval needs a scale, which zero gives.
    span = [np.min(low, where=finite, initial=0.0 if n == 1 else np.inf),
            np.max(high, where=finite, initial=0.0 if n == 1 else -np.inf)]  # fmt: skip
    cells = [
        (
            escape(estimate.names[j]),
            html.number(means[j]),
            f"± {errors[j]:.2g}",
            html.bar(means[j], low[j], high[j], span),
        )
        for j in range(n)
    ]
    if means.size > n:
        cells.append((f"and {means.size - n} more", "", "", ""))
    return html.rows(("", "estimate", "stderr", "95 % interval"), cells)
