"""Score models: exact or learned, their integrators, and chains over noise levels."""

from __future__ import annotations

from fermiac.score._adaptive import Adaptive
from fermiac.score._base import Model
from fermiac.score._chains_result import LangevinGibbs, LevelHistogram
from fermiac.score._gibbs_options import (
    LangevinStep,
    LevelEstimate,
    LevelRegression,
    OUStep,
    ScaledStep,
)
from fermiac.score._integrate import Reached, Threshold, integrate
from fermiac.score._integrators import (
    DEIS,
    GHVB,
    Ancestral,
    DPMSolver,
    Euler,
    EulerMaruyama,
    HeavyBall,
    Heun,
    Integrator,
    Langevin,
    Midpoint,
    RungeKutta,
    UniPC,
    integrators,
)
from fermiac.score._langevin_gibbs import langevin_gibbs
from fermiac.score._likelihood import Likelihood, log_likelihood
from fermiac.score._more import start
from fermiac.score._network import ScoreModel
from fermiac.score._sample import sample
from fermiac.score._schedules import exponential, karras, poly_t, polyexponential, vp_uniform
from fermiac.score._stepper import Stepper, stepper

__all__ = [
    "DEIS",
    "GHVB",
    "Adaptive",
    "Ancestral",
    "DPMSolver",
    "Euler",
    "EulerMaruyama",
    "HeavyBall",
    "Heun",
    "Integrator",
    "Langevin",
    "LangevinGibbs",
    "LangevinStep",
    "LevelEstimate",
    "LevelHistogram",
    "LevelRegression",
    "Likelihood",
    "Midpoint",
    "Model",
    "OUStep",
    "Reached",
    "RungeKutta",
    "ScaledStep",
    "ScoreModel",
    "Stepper",
    "Threshold",
    "UniPC",
    "exponential",
    "integrate",
    "integrators",
    "karras",
    "langevin_gibbs",
    "log_likelihood",
    "poly_t",
    "polyexponential",
    "sample",
    "start",
    "stepper",
    "vp_uniform",
]
