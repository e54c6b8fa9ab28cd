"""Markov chain Monte Carlo: Langevin and other kernels over many chains, on any target."""

from __future__ import annotations

from fermiac.mcmc._chains import Chains
from fermiac.mcmc._hamiltonian import HMC, NUTS
from fermiac.mcmc._kernels import RWM, Kernel
from fermiac.mcmc._langevin import MALA, ULA
from fermiac.mcmc._more import extend, open, start
from fermiac.mcmc._run import sample
from fermiac.mcmc._stop import StopWhen

__all__ = [
    "HMC",
    "MALA",
    "NUTS",
    "RWM",
    "ULA",
    "Chains",
    "Kernel",
    "StopWhen",
    "extend",
    "open",
    "sample",
    "start",
]
