"""Resampling: bootstrap intervals that hold, jackknife and permutation tests, exact where the law
is known."""

from __future__ import annotations

from fermiac.resample.api import bootstrap
from fermiac.resample.result import Bootstrap, Interval
from fermiac.resample.statistics import Quantile, Statistic, TrimmedMean
from fermiac.runs.background import starter as _starter

__all__ = ["Bootstrap", "Interval", "Quantile", "Statistic", "TrimmedMean", "bootstrap", "start"]

start = _starter("resample", bootstrap)


def __dir__() -> list[str]:
    return sorted(__all__)
