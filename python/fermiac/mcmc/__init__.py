"""Markov chain Monte Carlo: Langevin and other kernels over many chains, on any target."""

from __future__ import annotations

from fermiac.mcmc._chains import Chains
from fermiac.mcmc._ensemble import DE, DESnooker, Ensemble, Stretch
from fermiac.mcmc._hamiltonian import HMC, NUTS
from fermiac.mcmc._kernels import RWM, Kernel
from fermiac.mcmc._langevin import MALA, ULA, Barker
from fermiac.mcmc._microcanonical import MCLMC
from fermiac.mcmc._more import extend, open, start
from fermiac.mcmc._run import sample
from fermiac.mcmc._slice import EllipticalSlice, Slice
from fermiac.mcmc._stop import StopWhen
from fermiac.mcmc._underdamped import UnderdampedLangevin

__all__ = [
    "DE",
    "HMC",
    "MALA",
    "MCLMC",
    "NUTS",
    "RWM",
    "ULA",
    "Barker",
    "Chains",
    "DESnooker",
    "EllipticalSlice",
    "Ensemble",
    "Kernel",
    "Slice",
    "StopWhen",
    "Stretch",
    "UnderdampedLangevin",
    "extend",
    "open",
    "sample",
    "start",
]
