"""Markov chain Monte Carlo: Langevin and other kernels over many chains, on any target."""

from __future__ import annotations

from fermiac.mcmc._ensemble import DE, DESnooker, Ensemble, Stretch
from fermiac.mcmc._kernels import RWM, Kernel
from fermiac.mcmc._langevin import MALA, ULA
from fermiac.mcmc._run import sample
from fermiac.mcmc._slice import EllipticalSlice, Slice

__all__ = [
    "DE",
    "MALA",
    "RWM",
    "ULA",
    "DESnooker",
    "EllipticalSlice",
    "Ensemble",
    "Kernel",
    "Slice",
    "Stretch",
    "sample",
]
