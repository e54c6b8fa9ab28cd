"""Diagnostics of samples: convergence of Markov chains, smoothed importance weights."""

from __future__ import annotations

from fermiac.diagnostics.autocorrelation import autocorr_time
from fermiac.diagnostics.convergence import bfmi, ess, mcse, rhat
from fermiac.diagnostics.nested import nested_rhat
from fermiac.diagnostics.psis import khat_threshold, psis

__all__ = ["autocorr_time", "bfmi", "ess", "khat_threshold", "mcse", "nested_rhat", "psis", "rhat"]


def __dir__() -> list[str]:
    return sorted(__all__)
