"""Options under geometric Brownian motion by Euler or Milstein steps, as levels, and exact prices.

They are the tests of M. B. Giles, "Multilevel Monte Carlo path simulation", Operations Research,
2008, with a geometric average in place of the arithmetic one, which has no closed form.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from fermiac.random import Stream

Array = NDArray[np.float64]

SPOT = STRIKE = 100.0
RATE, SIGMA, TIME = 0.05, 0.2, 1.0
#: The shift of a minimum over steps to that over time, in units of the deviation of a step.
SHIFT = 0.5826


class Path(NamedTuple):
    """The end of a path, the mean of its logarithm, its minimum, and the length of its steps."""

    end: Array
    log_mean: Array
    low: Array
    step: float


def european(path: Path) -> Array:
    """Return the discounted payoff of a call option."""
    return math.exp(-RATE * TIME) * np.maximum(path.end - STRIKE, 0.0)


def asian(path: Path) -> Array:
    """Return the discounted payoff of a call option on the geometric average."""
    return math.exp(-RATE * TIME) * np.maximum(np.exp(path.log_mean) - STRIKE, 0.0)


def lookback(path: Path) -> Array:
    """Return the discounted difference of the end and the minimum over time."""
    low = path.low * (1 - SHIFT * SIGMA * math.sqrt(path.step))
    return math.exp(-RATE * TIME) * (path.end - low)


def digital(path: Path) -> Array:
    """Return the discounted payoff of the strike if the end is above it."""
    return math.exp(-RATE * TIME) * STRIKE * (path.end > STRIKE)


def level(
    payoff: Callable[[Path], Array],
    milstein: bool = False,
) -> Callable[[int, int, Stream], tuple[Array, Array | None]]:
    """Return the level function of a payoff: 2**l steps at level l.

    The variance of the differences of a Lipschitz payoff falls like the step by Euler's scheme, as
    fast as the cost rises, and like its square by Milstein's.
    """

    def both(l: int, n: int, stream: Stream) -> tuple[Array, Array | None]:  # noqa: E741
        steps = 2**l
        h = TIME / steps
        fine, coarse = _Paths(n, h, milstein), _Paths(n, 2 * h, milstein)
        for k in range(steps):
            noise = math.sqrt(h) * stream.normal(n)
            fine.advance(noise)
            if k % 2 == 0:
                first = noise
            else:
                coarse.advance(first + noise)
        return payoff(fine.path()), payoff(coarse.path()) if l else None

    return both


class _Paths:
    """Paths that advance by steps of one length."""

    def __init__(self, n: int, h: float, milstein: bool) -> None:
        self._h = h
        self._second = 0.5 * SIGMA**2 if milstein else 0.0
        self._x = np.full(n, SPOT)
        self._low = self._x
        self._log = np.full(n, 0.5 * h * math.log(SPOT))

    def advance(self, noise: Array) -> None:
        """Take a step with these Brownian increments."""
        growth = 1 + RATE * self._h + SIGMA * noise
        if self._second:
            growth = growth + self._second * (noise * noise - self._h)
        self._x = self._x * growth
        self._low = np.minimum(self._low, self._x)
        self._log = self._log + self._h * np.log(np.maximum(self._x, 1e-300))

    def path(self) -> Path:
        """Return the paths so far."""
        log = self._log - 0.5 * self._h * np.log(np.maximum(self._x, 1e-300))
        return Path(self._x, log / TIME, self._low, self._h)


def _calls() -> dict[str, float]:
    """Return the exact prices."""
    spread = SIGMA * math.sqrt(TIME)
    discount = math.exp(-RATE * TIME)
    d1 = (math.log(SPOT / STRIKE) + (RATE + SIGMA**2 / 2) * TIME) / spread
    d2 = d1 - spread
    k = 0.5 * SIGMA**2 / RATE
    even1, even2 = (RATE + SIGMA**2 / 2) * TIME / spread, (RATE - SIGMA**2 / 2) * TIME / spread
    mean = spread / math.sqrt(3)
    drift = (RATE - SIGMA**2 / 6) * TIME / 2
    g1 = (math.log(SPOT / STRIKE) + (RATE + SIGMA**2 / 6) * TIME / 2) / mean
    return {
        "european": SPOT * norm.cdf(d1) - STRIKE * discount * norm.cdf(d2),
        "asian": discount * (SPOT * math.exp(drift) * norm.cdf(g1) - STRIKE * norm.cdf(g1 - mean)),
        "lookback": SPOT
        * (
            norm.cdf(even1)
            - norm.cdf(-even1) * k
            - discount * (norm.cdf(even2) - norm.cdf(even2) * k)
        ),
        "digital": STRIKE * discount * norm.cdf(d2),
    }


EXACT = {name: float(price) for name, price in _calls().items()}
PAYOFFS = {"european": european, "asian": asian, "lookback": lookback, "digital": digital}
#: Tolerances of benchmarks and tests.
TOLERANCES = {"european": 0.1, "asian": 0.05, "lookback": 0.15, "digital": 0.8}
