"""Markov chain Monte Carlo: Langevin and other kernels over many chains, on any target."""

from __future__ import annotations

from fermiac.mcmc import conditionals
from fermiac.mcmc.api import sample
from fermiac.mcmc.composition import Cycle, Gibbs, Mixture, Repeat
from fermiac.mcmc.conditional import Conditional
from fermiac.mcmc.discrete import Discrete
from fermiac.mcmc.ensemble import DE, DESnooker, Ensemble, Stretch
from fermiac.mcmc.extension import extend, open
from fermiac.mcmc.hamiltonian import HMC, NUTS
from fermiac.mcmc.kernel import RWM, Kernel
from fermiac.mcmc.langevin import MALA, ULA, Barker
from fermiac.mcmc.microcanonical import MCLMC
from fermiac.mcmc.python_kernel import PythonKernel
from fermiac.mcmc.result import Chains
from fermiac.mcmc.row_generator import RowGenerator
from fermiac.mcmc.slice import EllipticalSlice, Slice
from fermiac.mcmc.state import State
from fermiac.mcmc.stop import StopWhen
from fermiac.mcmc.tempering import Tempered, log_evidence
from fermiac.mcmc.underdamped import UnderdampedLangevin
from fermiac.runs.background import starter as _starter

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

start = _starter("mcmc", sample, extend)
