"""Resampling: bootstrap intervals, jackknife, permutation tests; exact if the law is known."""

from __future__ import annotations

from fermiac.resample.api import bootstrap
from fermiac.resample.double import DoubleBootstrap, double_bootstrap
from fermiac.resample.jackknife import Jackknife, jackknife
from fermiac.resample.little import LittleBootstraps, little_bootstraps
from fermiac.resample.permutation import PermutationTest, permutation_test
from fermiac.resample.result import Bootstrap, Interval
from fermiac.resample.schemes import MOutOfN, Parametric, Sieve, Stationary
from fermiac.resample.series import BlockLength, block_length
from fermiac.resample.statistics import Autocorrelation, Huber, Quantile, TrimmedMean
from fermiac.resample.wild import WildBootstrap, wild_bootstrap
from fermiac.runs.background import starter as _starter
from fermiac.runs.replicates import Replicates

__all__ = [
    "Autocorrelation",
    "BlockLength",
    "Bootstrap",
    "DoubleBootstrap",
    "Huber",
    "Interval",
    "Jackknife",
    "LittleBootstraps",
    "MOutOfN",
    "Parametric",
    "PermutationTest",
    "Quantile",
    "Replicates",
    "Sieve",
    "Stationary",
    "TrimmedMean",
    "WildBootstrap",
    "block_length",
    "bootstrap",
    "double_bootstrap",
    "jackknife",
    "little_bootstraps",
    "permutation_test",
    "start",
    "wild_bootstrap",
]

start = _starter(
    "resample", bootstrap, permutation_test, wild_bootstrap, little_bootstraps, double_bootstrap
)


def __dir__() -> list[str]:
    return sorted(__all__)
