"""Resampling: bootstrap intervals, jackknife, permutation tests; exact if the law is known."""

from __future__ import annotations

from fermiac.resample.api import bootstrap
from fermiac.resample.jackknife import Jackknife, jackknife
from fermiac.resample.permutation import PermutationTest, permutation_test
from fermiac.resample.result import Bootstrap, Interval
from fermiac.resample.schemes import Circular, MOutOfN, Moving, Parametric, Sieve, Stationary
from fermiac.resample.series import BlockLength, block_length
from fermiac.resample.statistics import Autocorrelation, Huber, Quantile, TrimmedMean
from fermiac.runs.background import starter as _starter

__all__ = [
    "Autocorrelation",
    "BlockLength",
    "Bootstrap",
    "Circular",
    "Huber",
    "Interval",
    "Jackknife",
    "MOutOfN",
    "Moving",
    "Parametric",
    "PermutationTest",
    "Quantile",
    "Sieve",
    "Stationary",
    "TrimmedMean",
    "block_length",
    "bootstrap",
    "jackknife",
    "permutation_test",
    "start",
]

start = _starter("resample", bootstrap, permutation_test)


def __dir__() -> list[str]:
    return sorted(__all__)
