"""The posterior of epsilon in NumPy and SciPy: the same integrals, by the same rule."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import betainc, betaln

Array = NDArray[np.float64]


class Law(NamedTuple):
    """A beta law."""

    a: float
    b: float

    @property
    def sd(self) -> float:
        n = self.a + self.b
        return float(np.sqrt(self.a * self.b / (n * n * (n + 1))))

    def below(self, x: Array, rest: Array) -> Array:
        """P(X <= x) from the smaller of x and 1 - x."""
        return np.where(x < 0.5, betainc(self.a, self.b, x), 1 - betainc(self.b, self.a, rest))

    def log_density(self, x: Array, rest: Array) -> Array:
        return (self.a - 1) * np.log(x) + (self.b - 1) * np.log(rest) - betaln(self.a, self.b)


def _grid(end: float, e: float, delta: float, weight: object, step: float) -> tuple[Array, ...]:
    """Nodes where the weight is not negligible: log-Jacobian, x, 1 - x, y, 1 - y."""

    def nodes(t: Array) -> tuple[Array, ...]:
        s, r = 1 / (1 + np.exp(-t)), 1 / (1 + np.exp(t))
        x, y = end * s, end * (1 + e * r)
        return np.log(end) + np.log(s) + np.log(r), x, 1 - x, y, delta + e * x

    coarse = np.linspace(-90, 45, 541)
    for _ in range(3):
        height = weight(*nodes(coarse))  # type: ignore[operator]
        top = np.argmax(height)
        seen = np.flatnonzero(height > height[top] - 42)
        low, high = coarse[max(seen[0] - 1, 0)], coarse[min(seen[-1] + 1, coarse.size - 1)]
        coarse = np.linspace(low, high, 201)
    spread = (high - low) / 18.3
    h = step * min(spread, 0.6)
    return (*nodes(np.arange(low, high, h)), np.array(h))


def _corner(x: Law, y: Law, e: float, delta: float, step: float) -> float:
    """The integral of one law's density times the other one's distribution function."""
    end = (1 - delta) / (1 + e)
    if x.sd <= y.sd / e:

        def weight(jacobian: Array, u: Array, ru: Array, v: Array, rv: Array) -> Array:
            return x.log_density(u, ru) + jacobian

        jacobian, u, ru, v, rv, h = _grid(end, e, delta, weight, step)
        return float(h * np.sum(np.exp(weight(jacobian, u, ru, v, rv)) * y.below(v, rv)))

    def other(jacobian: Array, u: Array, ru: Array, v: Array, rv: Array) -> Array:
        return y.log_density(v, rv) + jacobian + np.log(e)

    jacobian, u, ru, v, rv, h = _grid(end, e, delta, other, step)
    both = betainc(x.a, x.b, end) * betainc(y.a, y.b, end)
    return float(both + h * np.sum(np.exp(other(jacobian, u, ru, v, rv)) * x.below(u, ru)))


def survival(fnr: Law, fpr: Law, epsilon: float, delta: float, step: float = 0.3) -> float:
    """P(epsilon* > epsilon)."""
    e = np.exp(epsilon)
    end = (1 - delta) / (1 + e)
    total = 0.0
    for x, y in ((fnr, fpr), (Law(fnr.b, fnr.a), Law(fpr.b, fpr.a))):
        total += _corner(x, y, e, delta, step) + _corner(y, x, e, delta, step)
        total -= betainc(x.a, x.b, end) * betainc(y.a, y.b, end)
    return total


def interval(
    tp: float, fp: float, fn: float, tn: float, delta: float, prob: float = 0.9
) -> tuple[float, float]:
    """The equal-tailed interval under Jeffreys' prior."""
    fnr, fpr = Law(fn + 0.5, tp + 0.5), Law(fp + 0.5, tn + 0.5)
    ends = []
    for q in ((1 - prob) / 2, (1 + prob) / 2):
        high = 1.0
        while 1 - survival(fnr, fpr, high, delta) < q:
            high *= 2
        ends.append(
            brentq(lambda e, q=q: 1 - survival(fnr, fpr, e, delta) - q, 0, high, xtol=1e-12)
        )
    return ends[0], ends[1]
