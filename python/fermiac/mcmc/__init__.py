"""Markov chain Monte Carlo: Langevin and other kernels over many chains, on any target."""

from __future__ import annotations

from fermiac.mcmc import conditionals
from fermiac.mcmc._compose import Cycle, Gibbs, Mixture, Repeat
from fermiac.mcmc._conditional import Conditional
from fermiac.mcmc._discrete import Discrete
from fermiac.mcmc._generator import RowGenerator
from fermiac.mcmc._kernels import RWM, Kernel
from fermiac.mcmc._langevin import MALA, ULA
from fermiac.mcmc._run import sample
from fermiac.mcmc._steps import State
from fermiac.mcmc._tempering import Tempered, log_evidence
from fermiac.mcmc._user import PythonKernel

__all__ = [
    "MALA",
    "RWM",
    "ULA",
    "Conditional",
    "Cycle",
    "Discrete",
    "Gibbs",
    "Kernel",
    "Mixture",
    "PythonKernel",
    "Repeat",
    "RowGenerator",
    "State",
    "Tempered",
    "conditionals",
    "log_evidence",
    "sample",
]
