"""Laws of rows: one law for each row of a batch of points, for priors that depend on parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core, special
from fermiac._base.validate import real_numbers
from fermiac.errors import ArgumentError

__all__ = ["RowLaws", "support_of"]

Array = NDArray[np.float64]

#: The logarithm of the square root of 2 pi.
_LOG_ROOT = 0.5 * np.log(2.0 * np.pi)


class RowLaws:
    """The laws of the rows of a batch of points, independent coordinates of one kind each.

    The classmethod ``rows`` of the univariate laws makes them, for the functions of a
    `fermiac.distributions.Joint`.

    Attributes
    ----------
    shape : tuple of int
        The shape (n, ...) to which the parameters broadcast.
    """

    __slots__ = ("_arrays", "_kind", "shape")

    def __init__(self, kind: str, parameters: dict[str, Any]) -> None:
        arrays = {name: real_numbers(name, value) for name, value in parameters.items()}
        try:
            self.shape = np.broadcast_shapes(*(a.shape for a in arrays.values()))
        except ValueError as error:
            given = ", ".join(f"{name} {a.shape}" for name, a in arrays.items())
            raise ArgumentError(
                f"{kind}.rows: the shapes {given} do not broadcast; give arrays (n, ...), with an "
                "axis of length 1 for parameters that all coordinates share: tau[:, None]"
            ) from error
        self._kind, self._arrays = kind, arrays

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {a.shape}" for name, a in self._arrays.items())
        return f"{self._kind}.rows({shapes})"

    def log_density(self, x: Array) -> Array:
        """Return the log-densities of an array, elementwise; its shape is that of the laws."""
        parameters = self._parameters(x.shape)
        known = _LOG_DENSITIES.get(self._kind)
        if known is None:
            return self._one_by_one(x, lambda law, part: law.log_density(part))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            values = np.asarray(known(x, **parameters), dtype=np.float64)
        return np.where(np.isnan(x), np.nan, values)

    def ppf(self, u: Array) -> Array:
        """Return the quantiles of an array of probabilities, elementwise."""
        parameters = self._parameters(u.shape)
        known = _QUANTILES.get(self._kind)
        if known is None:
            return self._one_by_one(u, lambda law, part: law.from_unit(part)[:, 0])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.asarray(known(u, **parameters), dtype=np.float64)

    def _parameters(self, shape: tuple[int, ...]) -> dict[str, Array]:
        """Return the checked parameters, each of which broadcasts to the shape."""
        arrays = {}
        for name, array in self._arrays.items():
            if array.ndim and array.ndim < len(shape):  # one for each row
                array = array.reshape(*array.shape, *[1] * (len(shape) - array.ndim))
            arrays[name] = array
        try:
            full = np.broadcast_shapes(shape, *(a.shape for a in arrays.values()))
        except ValueError:
            full = ()
        if full != shape:
            raise ArgumentError(
                f"{self!r} was given for values of shape {shape}; parameters whose first axis has "
                f"length 1 or {shape[0]}, and that broadcast to this shape, are needed"
            )
        good = _is_valid(self._kind, arrays)
        if not good.all():
            row = np.argmin(np.broadcast_to(good, shape).ravel())
            values = [float(np.broadcast_to(a, shape).ravel()[row]) for a in arrays.values()]
            _core.Law.independent(
                [(self._kind, values, None)]
            )  # raises the error for invalid parameters
        return arrays

    def _one_by_one(self, x: Array, evaluate: Callable[[_core.Law, Array], Array]) -> Array:
        """Return values of a law without a formula here, by the core's law of each parameter."""
        arrays = self._parameters(x.shape).values()
        columns = [np.broadcast_to(array, x.shape).ravel() for array in arrays]
        different, where = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
        order = np.argsort(where.ravel(), kind="stable")
        ends = np.cumsum(np.bincount(where.ravel(), minlength=len(different)))[:-1]
        out = np.empty(x.size)
        flat = x.reshape(-1, 1)
        for row, members in zip(different.tolist(), np.split(order, ends), strict=True):
            law = _core.Law.independent([(self._kind, row, None)])
            out[members] = evaluate(law, np.ascontiguousarray(flat[members]))
        return out.reshape(x.shape)


def support_of(kind: str) -> tuple[float, float]:
    """Return bounds of the support for all parameters of a law; infinite if there are none."""
    return _SUPPORTS.get(kind, (-np.inf, np.inf))


def _is_valid(kind: str, arrays: dict[str, Array]) -> NDArray[np.bool_]:
    """Return where the parameters are valid; the core checks those of unknown kinds later."""
    if kind not in _LOG_DENSITIES:
        return np.array(True)
    good = np.array(True)
    for name, array in arrays.items():
        good = good & np.isfinite(array)
        if name in _POSITIVE:
            good = good & (array > 0)
    if kind == "Uniform":
        good = good & (arrays["low"] < arrays["high"])
    return np.asarray(good)


_POSITIVE = {"sd", "sigma", "df", "scale", "shape", "a", "b"}
_SUPPORTS = {
    "LogNormal": (0.0, np.inf),
    "Gamma": (0.0, np.inf),
    "Exponential": (0.0, np.inf),
    "HalfNormal": (0.0, np.inf),
    "HalfCauchy": (0.0, np.inf),
    "Weibull": (0.0, np.inf),
    "InverseGamma": (0.0, np.inf),
    "Chi2": (0.0, np.inf),
    "Beta": (0.0, 1.0),
}


def _power(exponent: Array, log: Array) -> Array:
    """Return exponent * log, with 0 for an exponent of 0 even if the logarithm is infinite."""
    return np.where(exponent == 0.0, 0.0, exponent * log)


def _normal(x: Array, mean: Array, sd: Array) -> Array:
    z: Array = (x - mean) / sd
    return np.asarray(-0.5 * z**2 - np.log(sd) - _LOG_ROOT)


def _log_normal(x: Array, mu: Array, sigma: Array) -> Array:
    log = np.log(np.where(x > 0, x, 1.0))
    return np.where((x > 0) & (x < np.inf), _normal(log, mu, sigma) - log, -np.inf)


def _uniform(x: Array, low: Array, high: Array) -> Array:
    return np.where((x >= low) & (x <= high), -np.log(high - low), -np.inf)


def _student_t(x: Array, df: Array, loc: Array, scale: Array) -> Array:
    half = 0.5 * (df + 1.0)
    constant: Array = special.gammaln(half) - special.gammaln(0.5 * df) - 0.5 * np.log(df * np.pi)
    return constant - np.log(scale) - half * np.log1p(((x - loc) / scale) ** 2 / df)


def _gamma(x: Array, shape: Array, scale: Array) -> Array:
    z = np.where(x >= 0, x, 1.0) / scale
    inside = _power(shape - 1.0, np.log(z)) - z - special.gammaln(shape) - np.log(scale)
    return np.where((x >= 0) & (x < np.inf), inside, -np.inf)


def _beta(x: Array, a: Array, b: Array) -> Array:
    inside = (x >= 0) & (x <= 1)
    z = np.where(inside, x, 0.5)
    value = _power(a - 1.0, np.log(z)) + _power(b - 1.0, np.log1p(-z)) - special.betaln(a, b)
    return np.where(inside, value, -np.inf)


def _student_t_quantile(u: Array, df: Array, loc: Array, scale: Array) -> Array:
    standard = RowLaws("StudentT", {"df": df, "loc": 0.0, "scale": 1.0})
    return loc + scale * standard._one_by_one(u, lambda law, part: law.from_unit(part)[:, 0])


def _exponential(x: Array, scale: Array) -> Array:
    return np.where(x >= 0, -x / scale - np.log(scale), -np.inf)


#: Formulas of whole arrays, by the name of the law in the core. Other laws are evaluated by the
#: core, once for every combination of parameters.
_LOG_DENSITIES: dict[str, Callable[..., Array]] = {
    "Normal": _normal,
    "LogNormal": _log_normal,
    "Uniform": _uniform,
    "StudentT": _student_t,
    "Gamma": _gamma,
    "Beta": _beta,
    "Exponential": _exponential,
}
_QUANTILES: dict[str, Callable[..., Array]] = {
    "Normal": lambda u, mean, sd: mean + sd * special.ndtri(u),
    "LogNormal": lambda u, mu, sigma: np.exp(mu + sigma * special.ndtri(u)),
    "Uniform": lambda u, low, high: np.minimum(low + u * (high - low), high),
    "StudentT": _student_t_quantile,
    "Gamma": lambda u, shape, scale: scale * special.gammaincinv(shape, u),
    "Beta": lambda u, a, b: special.betaincinv(a, b, u),
    "Exponential": lambda u, scale: -scale * np.log1p(-u),
}
