"""Score models: exact or learned, their integrators, and chains over noise levels."""

from __future__ import annotations

from fermiac.runs.background import starter as _starter
from fermiac.score.adaptive import Adaptive, Solution
from fermiac.score.arguments import Reached, Threshold
from fermiac.score.classifier import NoiseClassifier, train_noise_classifier
from fermiac.score.classifier_report import Calibration, ClassifierTraining
from fermiac.score.diffusers_scheduler import DiffusersScheduler
from fermiac.score.exact import Empirical, Gaussian, GaussianMixture
from fermiac.score.gibbs import langevin_gibbs
from fermiac.score.gibbs_options import (
    LangevinStep,
    LevelEstimate,
    LevelRegression,
    OUStep,
    ScaledStep,
)
from fermiac.score.gibbs_result import LangevinGibbs, LevelHistogram
from fermiac.score.guided import Guided
from fermiac.score.integration import integrate
from fermiac.score.intrinsic import IntrinsicDimension, intrinsic_dimension
from fermiac.score.likelihood import Likelihood, log_likelihood
from fermiac.score.masked import Unmasked, first_hitting
from fermiac.score.model import Model
from fermiac.score.network import ScoreModel
from fermiac.score.reward_sampling import svdd
from fermiac.score.sampling import sample
from fermiac.score.schedule_search import searched
from fermiac.score.schedules import exponential, karras, poly_t, polyexponential, vp_uniform
from fermiac.score.single_step import (
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
from fermiac.score.stepping import Stepper, stepper
from fermiac.score.training import TrainedScore, Training, load_score, train_score

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

start = _starter(
    "score",
    first_hitting,
    integrate,
    langevin_gibbs,
    log_likelihood,
    sample,
    searched,
    svdd,
    train_noise_classifier,
    train_score,
)
