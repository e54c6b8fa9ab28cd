"""Text of results that have an estimate with an interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from fermiac.results.summary import Summary

__all__ = ["headline", "table"]


class WithInterval(Protocol):
    """A result with an estimate of a statistic, or several, and an interval of each."""

    @property
    def statistic(self) -> str:
        """Return the name of the statistic."""

    @property
    def estimate(self) -> Any:
        """Return the estimates."""

    @property
    def stderr(self) -> Any:
        """Return their standard errors."""

    @property
    def lower(self) -> Any:
        """Return the lower ends of their intervals."""

    @property
    def upper(self) -> Any:
        """Return the upper ends."""

    @property
    def prob(self) -> float:
        """Return the probability of each interval."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return the warnings about them."""


def headline(result: WithInterval, how: str) -> str:
    """Return one line: the first three estimates with their intervals, and how these were made."""
    parts = (result.estimate, result.stderr, result.lower, result.upper)
    rows = [
        f"{e:.6g} ± {s:.2g} [{a:.6g}, {b:.6g}]"
        for e, s, a, b in zip(*(np.atleast_1d(part)[:3] for part in parts), strict=True)
    ]
    k = np.size(result.estimate)
    more = f", … ({k} in all)" if k > 3 else ""
    return (
        f"{type(result).__name__}: {result.statistic} = {', '.join(rows)}{more} "
        f"({100 * result.prob:.6g} %, {how})"
    )


def table(result: WithInterval, columns: Mapping[str, Any], foot: Iterable[str]) -> Summary:
    """Return a table with a row for each estimate, and a foot that ends with the warnings."""
    numbers = {name: np.atleast_1d(np.asarray(c, float)) for name, c in columns.items()}
    k, name = np.size(result.estimate), result.statistic
    names = (name,) if k == 1 else tuple(f"{name}[{j}]" for j in range(k))
    return Summary(names, numbers, foot=[*foot, *(f"warning: {w}" for w in result.warnings)])
