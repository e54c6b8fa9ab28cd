"""Central moments of several outputs that are merged from batches of any size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Moments"]

Array = NDArray[np.float64]


@dataclass
class Moments:
    """The number, mean and sums of the second to fourth powers of deviations of K outputs.

    The formulas of the merge are those of P. Pébay, "Formulas for robust, one-pass parallel
    computation of covariances and arbitrary-order statistical moments", Sandia National
    Laboratories, 2008, doi:10.2172/1028931.
    """

    n: float
    mean: Array
    m2: Array
    m3: Array
    m4: Array

    @classmethod
    def none(cls, outputs: int) -> Moments:
        """Return the moments of no values."""
        return cls(0.0, *(np.zeros(outputs) for _ in range(4)))

    @classmethod
    def of(cls, values: Array) -> Moments:
        """Return the moments of values, shape (n, K)."""
        mean = values.mean(axis=0)
        d = values - mean
        square = d * d
        return cls(
            len(values),
            mean,
            square.sum(axis=0),
            (square * d).sum(axis=0),
            (square * square).sum(axis=0),
        )

    def merged(self, other: Moments) -> Moments:
        """Return the moments of both sets of values."""
        if not self.n or not other.n:
            return other if not self.n else self
        a, b = self.n, other.n
        n = a + b
        d = other.mean - self.mean
        m2 = self.m2 + other.m2 + d**2 * (a * b / n)
        m3 = self.m3 + other.m3 + d**3 * (a * b * (a - b) / n**2)
        m3 = m3 + 3 * d * (a * other.m2 - b * self.m2) / n
        m4 = self.m4 + other.m4 + d**4 * (a * b * (a * a - a * b + b * b) / n**3)
        m4 = m4 + 6 * d**2 * (a * a * other.m2 + b * b * self.m2) / n**2
        m4 = m4 + 4 * d * (a * other.m3 - b * self.m3) / n
        return Moments(n, self.mean + d * (b / n), m2, m3, m4)

    @property
    def variance(self) -> Array:
        """The variances, with n - 1 in the denominator."""
        return self.m2 / max(self.n - 1, 1)

    @property
    def kurtosis(self) -> Array:
        """The fourth central moment divided by the squared variance; 0 if the variance is 0."""
        spread = self.m2 > 0
        square = np.where(spread, self.m2, 1.0)
        # In two steps, since the square of a small sum may be 0.
        return np.where(spread, self.n * (self.m4 / square) / square, 0.0)
