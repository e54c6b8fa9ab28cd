"""Score models: exact or learned, their integrators, and chains over noise levels."""

from __future__ import annotations

from fermiac.score._adaptive import Adaptive
from fermiac.score._base import Model
from fermiac.score._first_hitting import Unmasked, first_hitting
from fermiac.score._guided import Guided
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
from fermiac.score._likelihood import Likelihood, log_likelihood
from fermiac.score._more import start
from fermiac.score._network import ScoreModel
from fermiac.score._sample import sample
from fermiac.score._schedules import exponential, karras, poly_t, polyexponential, vp_uniform
from fermiac.score._stepper import Stepper, stepper
from fermiac.score._svdd import svdd

__all__ = [
    "DEIS",
    "GHVB",
    "Adaptive",
    "Ancestral",
    "DPMSolver",
    "Euler",
    "EulerMaruyama",
    "Guided",
    "HeavyBall",
    "Heun",
    "Integrator",
    "Langevin",
    "Likelihood",
    "Midpoint",
    "Model",
    "Reached",
    "RungeKutta",
    "ScoreModel",
    "Stepper",
    "Threshold",
    "UniPC",
    "Unmasked",
    "exponential",
    "first_hitting",
    "integrate",
    "integrators",
    "karras",
    "log_likelihood",
    "poly_t",
    "polyexponential",
    "sample",
    "start",
    "stepper",
    "svdd",
    "vp_uniform",
]
