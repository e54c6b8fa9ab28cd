"""Markov chain Monte Carlo: Langevin and other kernels over many chains, on any target."""

from __future__ import annotations

from fermiac.mcmc._kernels import RWM, Kernel
from fermiac.mcmc._langevin import MALA, ULA, Barker
from fermiac.mcmc._microcanonical import MCLMC
from fermiac.mcmc._run import sample
from fermiac.mcmc._underdamped import UnderdampedLangevin

__all__ = ["MALA", "MCLMC", "RWM", "ULA", "Barker", "Kernel", "UnderdampedLangevin", "sample"]
