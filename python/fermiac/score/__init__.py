"""Score models: exact or learned, their integrators, and chains over noise levels."""

from __future__ import annotations

from fermiac.score._adaptive import Adaptive, Solution
from fermiac.score._base import Model
from fermiac.score._call import Reached, Threshold
from fermiac.score._chains_result import LangevinGibbs, LevelHistogram
from fermiac.score._classifier import NoiseClassifier, train_noise_classifier
from fermiac.score._classifier_report import Calibration, ClassifierTraining
from fermiac.score._diffusers import DiffusersScheduler
from fermiac.score._exact import Empirical, Gaussian, GaussianMixture
from fermiac.score._first_hitting import Unmasked, first_hitting
from fermiac.score._gibbs_options import (
    LangevinStep,
    LevelEstimate,
    LevelRegression,
    OUStep,
    ScaledStep,
)
from fermiac.score._guided import Guided
from fermiac.score._integrate import integrate
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
from fermiac.score._intrinsic import IntrinsicDimension, intrinsic_dimension
from fermiac.score._langevin_gibbs import langevin_gibbs
from fermiac.score._likelihood import Likelihood, log_likelihood
from fermiac.score._more import start
from fermiac.score._network import ScoreModel
from fermiac.score._sample import sample
from fermiac.score._schedules import exponential, karras, poly_t, polyexponential, vp_uniform
from fermiac.score._searched import searched
from fermiac.score._stepper import Stepper, stepper
from fermiac.score._svdd import svdd
from fermiac.score._training import TrainedScore, Training, load_score, train_score

__all__ = [
    "DEIS",
    "GHVB",
    "Adaptive",
    "Ancestral",
    "Calibration",
    "ClassifierTraining",
    "DPMSolver",
    "DiffusersScheduler",
    "Empirical",
    "Euler",
    "EulerMaruyama",
    "Gaussian",
    "GaussianMixture",
    "Guided",
    "HeavyBall",
    "Heun",
    "Integrator",
    "IntrinsicDimension",
    "Langevin",
    "LangevinGibbs",
    "LangevinStep",
    "LevelEstimate",
    "LevelHistogram",
    "LevelRegression",
    "Likelihood",
    "Midpoint",
    "Model",
    "NoiseClassifier",
    "OUStep",
    "Reached",
    "RungeKutta",
    "ScaledStep",
    "ScoreModel",
    "Solution",
    "Stepper",
    "Threshold",
    "TrainedScore",
    "Training",
    "UniPC",
    "Unmasked",
    "exponential",
    "first_hitting",
    "integrate",
    "integrators",
    "intrinsic_dimension",
    "karras",
    "langevin_gibbs",
    "load_score",
    "log_likelihood",
    "poly_t",
    "polyexponential",
    "sample",
    "searched",
    "start",
    "stepper",
    "svdd",
    "train_noise_classifier",
    "train_score",
    "vp_uniform",
]
