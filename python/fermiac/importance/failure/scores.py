"""Derivatives of log-densities with respect to the parameters of built-in laws."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac.distributions import GaussianCopula, MultivariateNormal, Product
from fermiac.distributions.law import Law
from fermiac.distributions.univariate import UnivariateLaw
from fermiac.errors import ArgumentError

__all__ = ["Scores"]

Array = NDArray[np.float64]
Rebuild = Callable[[float], Law]

#: Dimensions up to which a covariance matrix counts as parameters.
_MOST_COVARIANCES = 20


class Scores:
    """The derivatives of a law's log-density with respect to its parameters, at points.

    Central differences of the log-density: exact to about nine digits, for any built-in law.

    Parameters
    ----------
    law : Law
        A univariate law, `MultivariateNormal`, or a product or copula of such laws.

    Raises
    ------
    ArgumentError
        For any other law, or if the support of the law depends on all of its parameters; the
        derivatives of probabilities are then no averages of these derivatives.
    """

    def __init__(self, law: Law) -> None:
        self.names: list[str] = []
        self.values: list[float] = []
        self._pairs: list[tuple[Law, Law, float]] = []
        for name, value, rebuild in _parameters(law, ""):
            step = 6e-6 * max(abs(value), 1e-3)
            try:
                up, down = rebuild(value + step), rebuild(value - step)
            except ArgumentError:
                continue  # the step leaves the domain of the parameter
            # If a bound of the support moves, the derivative has a term that the density does not
            # give.
            if up._support() != law._support() or down._support() != law._support():
                continue
            self.names.append(name)
            self.values.append(value)
            self._pairs.append((up, down, (value + step) - (value - step)))
        if not self.names:
            raise ArgumentError(
                f"sensitivities: {type(law).__name__} has no parameter that they can be taken by; "
                "univariate laws of fermiac.distributions whose support is fixed, "
                "MultivariateNormal, and a Product or GaussianCopula of such laws have them"
            )

    def __call__(self, x: Array) -> Array:
        """Return the derivatives at the rows of `x`, shape (n, p)."""
        columns = [
            (np.asarray(up.log_density(x)) - np.asarray(down.log_density(x))) / width
            for up, down, width in self._pairs
        ]
        return np.stack(columns, axis=1)


def _parameters(law: Law, prefix: str) -> Iterator[tuple[str, float, Rebuild]]:
    """Yield for each parameter its name, its value, and the law as a function of the value."""
    if isinstance(law, UnivariateLaw):
        yield from _numbers(law, prefix, list(law._values))
    elif isinstance(law, MultivariateNormal):
        yield from _numbers(law, prefix, ["mean"])
        if law.dim <= _MOST_COVARIANCES:
            yield from _covariances(law, prefix)
    elif isinstance(law, Product | GaussianCopula):
        for i, part in enumerate(law.laws):
            for name, value, rebuild in _parameters(part, f"{prefix}laws[{i}]."):
                yield name, value, _inside(law, i, rebuild)


def _inside(law: Any, i: int, rebuild: Rebuild) -> Rebuild:
    def build(value: float) -> Law:
        laws = list(law.laws)
        laws[i] = rebuild(value)
        if isinstance(law, GaussianCopula):
            return GaussianCopula(laws, law.correlation)
        return Product(laws)

    return build


def _numbers(law: Any, prefix: str, names: list[str]) -> Iterator[tuple[str, float, Rebuild]]:
    for name in names:
        given = np.asarray(law._values[name], np.float64)
        for index in np.ndindex(given.shape):

            def build(value: float, name: str = name, index: tuple[int, ...] = index) -> Law:
                changed = np.array(law._values[name], np.float64)
                changed[index] = value
                values = {**law._values, name: changed[()]}
                built: Law = type(law)(*values.values())
                return built

            at = f"[{index[0]}]" if index else ""
            yield f"{prefix}{name}{at}", float(given[index]), build


def _covariances(law: MultivariateNormal, prefix: str) -> Iterator[tuple[str, float, Rebuild]]:
    for i in range(law.dim):
        for j in range(i + 1):

            def build(value: float, i: int = i, j: int = j) -> Law:
                cov = law.cov
                cov[i, j] = cov[j, i] = value
                return MultivariateNormal(law.mean, cov)

            yield f"{prefix}cov[{i}, {j}]", float(law.cov[i, j]), build
