"""Checks of data and results: the warnings that a result carries."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.errors import FermiacWarning, HeavyTailWarning
from fermiac.resample.intervals import WITHOUT_DRAWS, Method
from fermiac.resample.series import FEW, FEW_FOR_BLOCKS
from fermiac.resample.statistics import Statistic
from fermiac.results.result import Finding

if TYPE_CHECKING:
    from fermiac.resample.problem import Problem

__all__ = ["doubts"]

Array = NDArray[np.float64]
#: Observations from which on the tail of a sample is judged, the shape that is too heavy for a
#: variance, and the least that is too heavy for any moment: estimates of shapes are rough.
_FROM, _HEAVY, _LEAST_HEAVY = 100, 0.7, 0.5
#: Observations below which intervals are not to be relied on.
_FEW = 10


def doubts(problem: Problem, method: Method) -> list[Finding]:
    """Return the reasons for doubt in the data."""
    found: list[Finding] = []
    data, statistic = problem.data, problem.statistic
    n = int(min(data.units.sizes))
    moment = statistic.moment if isinstance(statistic, Statistic) else 0
    least = FEW_FOR_BLOCKS if problem.scheme.is_blocks and method != "fixed_b" else FEW
    if problem.scheme.is_series and problem.effective < least:
        found.append((
            FermiacWarning,
            f"the effective sample size of the series is {problem.effective:.2g}, too small for a "
            f"reliable interval of {problem.name!r} by {problem.scheme.name!r}; at least {least} "
            "is needed; use a longer series"
            + (", or the scheme 'series' for means" if problem.scheme.is_blocks else ""),
        ))  # fmt: skip
    if n < _FEW and method not in WITHOUT_DRAWS:
        what = "observations" if data.units.single else "clusters"
        found.append((
            FermiacWarning,
            f"{n} {what} are few for an interval of {problem.name!r}: its coverage may be below "
            f"the nominal one",
        ))  # fmt: skip
    if moment and method not in WITHOUT_DRAWS and problem.scheme.name != "m_out_of_n":
        for sample in data.samples:
            for column in sample.reshape(len(sample), -1).T[:64]:
                if len(column) < _FROM:
                    continue
                shape = _tail(column)
                if shape > max(2 * _HEAVY / moment, _LEAST_HEAVY):
                    found.append((
                        HeavyTailWarning,
                        f"{problem.name!r} needs moments of order {moment}, which may not exist: "
                        f"the tail of the data has the shape {shape:.2f}; use 'median' or "
                        "'trimmed_mean'",
                    ))  # fmt: skip
                    return found
    return found


def _tail(x: Array) -> float:
    """Return the larger shape of the two tails of a sample; -inf if it has no tail."""
    d = x - np.partition(x, x.size // 2)[x.size // 2]
    shapes = []
    for side in (d, -d):
        positive = side[side > 0]
        if positive.size >= 50:
            shapes.append(_core.khat(np.ascontiguousarray(positive)))
    finite = [s for s in shapes if math.isfinite(s)]
    return max(finite, default=-math.inf)
