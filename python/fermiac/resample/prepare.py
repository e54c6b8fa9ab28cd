"""Named statistics in the form of the core: parameters and columns of samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fermiac.errors import ArgumentError
from fermiac.resample.statistics import Statistic

__all__ = ["check_samples", "core_columns", "core_parameters", "design"]

Array = NDArray[np.float64]
#: The ratio of the standard deviation to the median absolute deviation of a normal distribution.
_NORMAL = 1.4826022185056018
#: The largest number of columns of a design matrix.
_MOST_COLUMNS = 64
#: The largest number of Newton steps of a logistic fit, and the decrement at convergence.
_STEPS, _CONVERGED = 100, 1e-20


def check_samples(statistic: Statistic, samples: Sequence[Array]) -> None:
    """Refuse samples whose values are outside the domain of a statistic."""
    name = statistic.name
    if name in ("brier", "log_loss"):
        truth, p = samples
        inside = (p >= 0) & (p <= 1) if name == "brier" else (p > 0) & (p < 1)
        if not (((truth == 0) | (truth == 1)).all() and inside.all()):
            bounds = "from 0 to 1" if name == "brier" else "above 0 and below 1"
            raise ArgumentError(
                f"x: {name!r} takes pairs (truth, probability), where truth is 0 or 1 and the "
                f"probability {bounds}"
            )
    elif name == "logistic":
        if not ((samples[1] == 0) | (samples[1] == 1)).all():
            raise ArgumentError("x[1]: 'logistic' takes outcomes of 0 and 1, or False and True")
        if np.ptp(samples[1]) == 0:
            raise ArgumentError("x[1]: all outcomes are equal; both 0 and 1 are needed")
    elif name == "concordance":
        if len(samples) == 3 and not ((samples[2] == 0) | (samples[2] == 1)).all():
            raise ArgumentError("x[2]: 'concordance' takes events of 0 and 1, or False and True")
        events = samples[0] if len(samples) == 2 else samples[0][samples[2] == 1]
        if not (events.size and events.min() < samples[0].max()):
            raise ArgumentError("x: no pair of outcomes can be compared; others are needed")
    elif statistic.core == "autocorrelation" and statistic.parameters[0] >= len(samples[0]):
        raise ArgumentError(
            f"lag: {statistic.parameters[0]:g} given for {len(samples[0])} observations; a smaller "
            "lag is needed"
        )


def design(x: Array, ndim: int) -> list[Array]:
    """Return the columns of a design, ones first; `ndim` is the number of axes of one sample."""
    columns = [x[..., j] for j in range(x.shape[-1])] if ndim == 2 else [x]
    return [np.ones(columns[0].shape), *columns]


def core_parameters(
    statistic: Statistic, samples: Sequence[Array], exponent: int = 0
) -> list[float]:
    """Return the parameters of the core; some are computed from the data.

    A scale that was given is divided by 2**exponent, as the data were.
    """
    if statistic.core == "huber":
        if len(statistic.parameters) == 2:
            with np.errstate(over="ignore", under="ignore"):
                own = float(np.ldexp(statistic.parameters[1], -exponent))
            limits = np.finfo(float)
            own = min(max(own, float(limits.tiny)), float(limits.max))
            return [min(statistic.parameters[0] * own, float(limits.max))]
        x = samples[0]
        if x.ndim > 1:
            raise ArgumentError(
                f"x: an array of shape {x.shape} given to {statistic.name!r} without a scale; give "
                "scale=, or one column at a time"
            )
        scale = _NORMAL * float(np.median(np.abs(x - np.median(x))))
        if not scale > 0:
            raise ArgumentError(
                "scale: not given, but half of the data are equal, so the median absolute "
                "deviation is zero; give a scale"
            )
        return [statistic.parameters[0] * scale]
    if statistic.core != "regression":
        return list(statistic.parameters)
    x, y = samples
    matrix = np.stack(design(x, x.ndim), axis=-1)
    n, p = matrix.shape
    if p > _MOST_COLUMNS or n <= p:
        raise ArgumentError(
            f"x: {n} observations of {p} coefficients given to {statistic.name!r}; more "
            f"observations than coefficients are needed, and at most {_MOST_COLUMNS} coefficients"
        )
    scale = np.abs(matrix).max(0)
    scale[scale == 0] = 1.0
    if np.linalg.matrix_rank(matrix / scale) < p:
        raise ArgumentError(
            f"x: the columns of X with a constant have less than the full rank {p}; leave out "
            "linear combinations of other columns (a constant column is added)"
        )
    if statistic.name == "ols":
        return [float(b) for b in np.linalg.lstsq(matrix / scale, y, rcond=None)[0] / scale]
    return [float(b) for b in _logistic(matrix / scale, y) / scale]


def _logistic(x: Array, y: Array) -> Array:
    """Return the coefficients of a logistic regression by Newton's method."""
    from scipy.special import expit

    b = np.zeros(x.shape[1])

    def loss(b: Array) -> float:
        eta = x @ b
        return float(np.logaddexp(0.0, eta).sum() - y @ eta)

    value = loss(b)
    for _ in range(_STEPS):
        p = expit(x @ b)
        gradient = x.T @ (y - p)
        try:
            step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x, gradient)
        except np.linalg.LinAlgError:
            break
        if float(gradient @ step) <= _CONVERGED * x.shape[0]:
            return np.asarray(b + step)
        share = 1.0
        while share > 1e-8 and not loss(b + share * step) <= value:
            share /= 2
        b = b + share * step
        value = loss(b)
        if np.abs(x @ b).min() > 30:
            break
    raise ArgumentError(
        "x: 'logistic' has no finite coefficients, because X separates the outcomes 0 and 1; leave "
        "out columns, or use more observations"
    )


def core_columns(
    statistic: Statistic, parameters: Sequence[float], samples: Sequence[Array], ndim: int
) -> list[Array]:
    """Return the columns of the core, with observations on the last axis.

    The samples may have a first axis of replicates; `ndim` is the number of axes of the first
    sample of the data.
    """
    name = statistic.name
    found: list[Array]
    if statistic.kind == "two":
        first, second = samples
        labels = np.repeat([1.0, 0.0], [first.shape[-1], second.shape[-1]])
        found = [np.concatenate([first, second], axis=-1), labels]
    elif statistic.kind == "regression":
        x, y = samples
        columns = design(x, ndim)
        eta = sum(b * column for b, column in zip(parameters, columns, strict=True))
        if name == "ols":
            found = [*columns, np.ones(y.shape), y - eta]
        else:
            from scipy.special import expit

            p = expit(eta)
            found = [*columns, p * (1 - p), y - p]
    elif statistic.kind == "survival":
        events = samples[2] if len(samples) == 3 else np.ones(samples[0].shape)
        found = [samples[0], samples[1], events]
    elif name == "slope_through_origin":
        found = [samples[0] * samples[1], samples[0] ** 2]
    elif name == "brier":
        found = [(samples[1] - samples[0]) ** 2]
    elif name == "log_loss":
        y, p = samples
        found = [-(y * np.log(p) + (1 - y) * np.log1p(-p))]
    else:
        found = [
            column
            for sample in samples
            for column in (
                [sample[..., j] for j in range(sample.shape[-1])]
                if ndim == 2 and statistic.kind == "one"
                else [sample]
            )
        ]
    return [np.ascontiguousarray(column) for column in found]
