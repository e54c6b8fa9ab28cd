"""Markov chain Monte Carlo: Langevin and other kernels over many chains, on any target."""

from __future__ import annotations

from fermiac.mcmc import conditionals, kernels
from fermiac.mcmc.api import sample
from fermiac.mcmc.extension import extend, open
from fermiac.mcmc.kernel import Kernel, State
from fermiac.mcmc.kernels import *  # noqa: F403
from fermiac.mcmc.python_kernel import PythonKernel
from fermiac.mcmc.result import Chains
from fermiac.mcmc.row_generator import RowGenerator
from fermiac.mcmc.smc import smc
from fermiac.mcmc.smc_result import SmcSample
from fermiac.mcmc.stop import StopWhen
from fermiac.mcmc.tempering import log_evidence
from fermiac.runs.background import starter as _starter

__all__ = [
    "Chains",
    "Kernel",
    "PythonKernel",
    "RowGenerator",
    "SmcSample",
    "State",
    "StopWhen",
    "conditionals",
    "extend",
    "log_evidence",
    "open",
    "sample",
    "smc",
    "start",
]
__all__ += kernels.__all__

start = _starter("mcmc", sample, extend, smc)


def __dir__() -> list[str]:
    return sorted(__all__)
