"""Inference from simulators: approximate Bayesian computation, from tables and by sequences."""

from __future__ import annotations

from fermiac.runs.background import starter as _starter
from fermiac.sbi.result import AbcSample
from fermiac.sbi.smc import abc_smc
from fermiac.sbi.table import abc

__all__ = ["AbcSample", "abc", "abc_smc", "start"]

start = _starter("sbi", abc_smc)


def __dir__() -> list[str]:
    return sorted(__all__)
