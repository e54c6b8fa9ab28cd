"""Markov chain Monte Carlo: Langevin and other kernels over many chains, on any target."""

from __future__ import annotations

from fermiac.mcmc import conditionals
from fermiac.mcmc._chains import Chains
from fermiac.mcmc._compose import Cycle, Gibbs, Mixture, Repeat
from fermiac.mcmc._conditional import Conditional
from fermiac.mcmc._discrete import Discrete
from fermiac.mcmc._ensemble import DE, DESnooker, Ensemble, Stretch
from fermiac.mcmc._generator import RowGenerator
from fermiac.mcmc._hamiltonian import HMC, NUTS
from fermiac.mcmc._kernels import RWM, Kernel
from fermiac.mcmc._langevin import MALA, ULA, Barker
from fermiac.mcmc._microcanonical import MCLMC
from fermiac.mcmc._more import extend, open, start
from fermiac.mcmc._run import sample
from fermiac.mcmc._slice import EllipticalSlice, Slice
from fermiac.mcmc._steps import State
from fermiac.mcmc._stop import StopWhen
from fermiac.mcmc._tempering import Tempered, log_evidence
from fermiac.mcmc._underdamped import UnderdampedLangevin
from fermiac.mcmc._user import PythonKernel

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
    "Conditional",
    "Cycle",
    "DESnooker",
    "Discrete",
    "EllipticalSlice",
    "Ensemble",
    "Gibbs",
    "Kernel",
    "Mixture",
    "PythonKernel",
    "Repeat",
    "RowGenerator",
    "Slice",
    "State",
    "StopWhen",
    "Stretch",
    "Tempered",
    "UnderdampedLangevin",
    "conditionals",
    "extend",
    "log_evidence",
    "open",
    "sample",
    "start",
]
