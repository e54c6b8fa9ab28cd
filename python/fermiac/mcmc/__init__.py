"""Markov chain Monte Carlo: Langevin and other kernels over many chains, on any target."""

from __future__ import annotations

from fermiac.mcmc._hamiltonian import HMC, NUTS
from fermiac.mcmc._kernels import RWM, Kernel
from fermiac.mcmc._langevin import MALA, ULA
from fermiac.mcmc._run import sample

__all__ = ["HMC", "MALA", "NUTS", "RWM", "ULA", "Kernel", "sample"]
