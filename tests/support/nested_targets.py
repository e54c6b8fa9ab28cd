"""Likelihoods that workers import."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def bowl(x: Any) -> Any:
    """Return a Gaussian log-likelihood, row by row."""
    return -0.5 * (x[:, 0] ** 2 + x[:, 1] ** 2)


def make_bowl() -> Any:
    return bowl


def make_slope() -> Any:
    """Return the log-density with its gradient, as a worker makes it."""
    import fermiac as fm

    return fm.targets.as_target(bowl, 2, slope)


class Counts:
    """Counts its calls."""

    n = 0

    def __call__(self, x: Any) -> Any:
        self.n += 1
        return bowl(x)


def interrupts_after(n: int) -> Callable[[int, int], None]:
    """Return a progress callback that acts as Ctrl-C after some runs."""

    def progress(done: int, total: int) -> None:
        if done >= n:
            raise KeyboardInterrupt

    return progress


def slope(x: Any) -> Any:
    """Return the gradient of the bowl."""
    return -x


def slow_bowl(x: Any) -> Any:
    """Return the same, after a while."""
    time.sleep(0.05)
    return bowl(x)
