"""Values of a statistic with one unit left out, in closed form if one is known."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.resample.data import Data
from fermiac.resample.schemes import IID
from fermiac.resample.statistics import Statistic

__all__ = ["Full", "acceleration", "bias_of", "full", "leave_one_out", "stderr_of"]

Array = NDArray[np.float64]


class Full(NamedTuple):
    """A statistic of the whole data."""

    #: The values, shape (k,).
    values: Array
    #: For each output the influence of each observation over the size of its sample, or None.
    influence: list[Array | None]


def full(data: Data, statistic: Statistic) -> Full:
    """Return a named statistic of the whole data."""
    core, parameters, columns = data.prepared(statistic)
    if core == "autocorrelation":
        d = columns[0] - columns[0].mean()
        lag = int(parameters[0])
        squares = d @ d
        value = float(d[lag:] @ d[:-lag] / squares) if squares else np.nan
        return Full(np.array([value]), [None])
    if core == "quantile":
        # The formula of the core, after the faster sort of NumPy.
        at = [_type_7(np.sort(x), parameters[0]) for x in columns]
        return Full(np.array(at), [None] * len(at))
    values, influence = _core.resample_evaluate(
        core, parameters, columns, np.ones(data.units.n), True
    )
    return Full(np.asarray(values), influence)


def _type_7(ordered: Array, q: float) -> float:
    """Return the quantile of a sample in order."""
    place = (ordered.size - 1) * q
    k = math.floor(place)
    low, high = ordered[k], ordered[min(k + 1, ordered.size - 1)]
    return float(low + (place - k) * (high - low)) if place > k else float(low)


def leave_one_out(data: Data, statistic: Statistic, whole: Full, n_threads: int) -> Array:
    """Return the values with each unit left out, shape (units, k), in the order of the units."""
    units = data.units
    core, parameters, columns = data.prepared(statistic)
    closed = _CLOSED.get(core) if units.single else None
    if closed is None:
        values = _core.resample_leave_one_out(core, parameters, columns, units.core(IID), n_threads)
        return np.asarray(values).reshape(-1, len(whole.values))
    found = closed(data, statistic, whole, columns)
    return found if units.members is None else found[units.members]


def _linear(data: Data, statistic: Statistic, whole: Full, columns: list[Array]) -> Array:
    """Return the values of a statistic that is linear in the weights of each sample."""
    sizes = [data.units.n] if statistic.kind != "two" else list(data.sizes)
    factor = np.repeat([n / (n - 1) for n in sizes], sizes)
    return np.stack([
        value - factor * influence
        for value, influence in zip(whole.values, whole.influence, strict=True)
        if influence is not None
    ], axis=1)  # fmt: skip


def _variance(data: Data, statistic: Statistic, whole: Full, columns: list[Array]) -> Array:
    found = []
    for x in columns:
        n, d = x.size, x - x.mean()
        left = np.maximum((d @ d) - n / (n - 1) * d * d, 0.0) / (n - 2)
        found.append(np.sqrt(left) if statistic.core == "sd" else left)
    return np.stack(found, axis=1)


def _product(data: Data, statistic: Statistic, whole: Full, columns: list[Array]) -> Array:
    x, y = (column - column.mean() for column in columns)
    n = x.size
    factor = n / (n - 1)
    xy = x @ y - factor * x * y
    if statistic.core == "cov":
        return np.asarray(xy / (n - 2))[:, None]
    xx, yy = x @ x - factor * x * x, y @ y - factor * y * y
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(np.maximum(xx, 0) * np.maximum(yy, 0))
        return np.asarray(np.clip(xy / root, -1, 1))[:, None]


def _ratio(data: Data, statistic: Statistic, whole: Full, columns: list[Array]) -> Array:
    x, y = columns
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((x.sum() - x) / (y.sum() - y))[:, None]


def _regression(data: Data, statistic: Statistic, whole: Full, columns: list[Array]) -> Array:
    *x, curvature, residual = columns
    rows = np.stack(x, axis=1)
    solved = np.linalg.solve((rows * curvature[:, None]).T @ rows, rows.T).T
    leverage = curvature * (rows * solved).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = solved * (residual / (1 - leverage))[:, None]
    return np.asarray(whole.values - steps)


def _quantile(data: Data, statistic: Statistic, whole: Full, columns: list[Array]) -> Array:
    q = statistic.parameters[0]
    found = []
    for x in columns:
        order = np.argsort(x, kind="stable")
        ordered, n = x[order], x.size
        place = (n - 2) * q
        k = min(int(place), n - 2)
        share = place - k
        at = np.arange(n)

        def rest(j: int, ordered: Array = ordered, at: NDArray[np.int64] = at) -> Array:
            """Return the value at position j after the removal of each value."""
            j = min(j, ordered.size - 2)
            return np.asarray(np.where(at > j, ordered[j], ordered[j + 1]))

        low, high = rest(k), rest(k + 1)
        values = np.empty(n)
        values[order] = low + share * (high - low) if share else low
        found.append(values)
    return np.stack(found, axis=1)


_CLOSED = {
    "mean": _linear,
    "mean_difference": _linear,
    "auc": _linear,
    "var": _variance,
    "sd": _variance,
    "pearson": _product,
    "cov": _product,
    "ratio_of_means": _ratio,
    "quantile": _quantile,
    "regression": _regression,
}


def _by_stratum(values: Array, data: Data, groups: int | None) -> list[Array]:
    """Return the values of each stratum, of all its units or of its groups of them."""
    sizes = data.units.sizes if groups is None else np.minimum(data.units.sizes, groups)
    return np.split(values, np.cumsum(sizes)[:-1])


def acceleration(values: Array, data: Data, groups: int | None = None) -> Array:
    """Return the acceleration of BCa for each output; NaN where leaving out changes nothing."""
    cubes = squares = np.zeros(values.shape[1])
    for part in _by_stratum(values, data, groups):
        n = len(part)
        u = (n - 1) * (part.mean(0) - part)
        # Equal values differ from their mean by rounding alone.
        u[np.abs(u) <= 1e-13 * n * np.abs(part).max(0, initial=0.0)] = 0.0
        square = u * u
        cubes = cubes + (square * u).sum(0) / n**3
        squares = squares + square.sum(0) / n**2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(cubes / squares**1.5 / 6)


def bias_of(values: Array, whole: Array, data: Data, groups: int | None = None) -> Array:
    """Return the bias by the jackknife."""
    parts = [(len(p) - 1) * (p.mean(0) - whole) for p in _by_stratum(values, data, groups)]
    return np.asarray(np.sum(parts, axis=0))


def stderr_of(values: Array, data: Data, groups: int | None = None) -> Array:
    """Return the standard error by the jackknife."""
    parts = [
        (len(p) - 1) / len(p) * ((p - p.mean(0)) ** 2).sum(0)
        for p in _by_stratum(values, data, groups)
    ]
    return np.asarray(np.sqrt(np.sum(parts, axis=0)))
