"""Score models: exact or learned, their integrators, and chains over noise levels."""

from __future__ import annotations

from fermiac.runs.background import starter as _starter
from fermiac.score import methods
from fermiac.score.active import ActiveSample, measure
from fermiac.score.adaptive import Adaptive, Solution
from fermiac.score.arguments import PartialSolution, Threshold
from fermiac.score.classifier import (
    Calibration,
    ClassifierTraining,
    NoiseClassifier,
    train_noise_classifier,
)
from fermiac.score.diffusers_guider import diffusers_guider
from fermiac.score.diffusers_scheduler import DiffusersScheduler
from fermiac.score.exact import Empirical, Gaussian, GaussianMixture
from fermiac.score.flow_times import FlowTimes, flow_shift
from fermiac.score.flow_training import TrainedFlow, reflow, train_flow
from fermiac.score.flows import PartialTransport, transport
from fermiac.score.gibbs import langevin_gibbs
from fermiac.score.gibbs_moves import (
    LangevinStep,
    LevelEstimate,
    LevelRegression,
    OUStep,
    ScaledStep,
)
from fermiac.score.gibbs_result import LangevinGibbs, LevelHistogram
from fermiac.score.guidance import Guidance, GuidedModel, guided
from fermiac.score.guided_result import Guided
from fermiac.score.integration import integrate, sample
from fermiac.score.integrator import Integrator, Langevin
from fermiac.score.interpolants import ExactInterpolant, FlowModel, Interpolant
from fermiac.score.intrinsic import IntrinsicDimension, intrinsic_dimension
from fermiac.score.inverse import observed, posterior
from fermiac.score.inverse_methods import (
    DAPS,
    DDRM,
    InverseMethod,
    Particles,
    PiGDM,
)
from fermiac.score.likelihood import Likelihood, log_likelihood
from fermiac.score.masked import Unmasked, first_hitting
from fermiac.score.methods import *  # noqa: F403  # the table of integrators exports its classes
from fermiac.score.model import Model
from fermiac.score.network import ScoreModel
from fermiac.score.observations import Linear, Measured, Observation
from fermiac.score.reward_sampling import svdd
from fermiac.score.rows import Rows
from fermiac.score.schedule_search import Searched, searched
from fermiac.score.schedules import exponential, karras, poly_t, polyexponential, vp_uniform
from fermiac.score.steering import sample_power, steer
from fermiac.score.stepping import Stepper, stepper
from fermiac.score.training import TrainedScore, Training, load_score, train_score
from fermiac.score.unmasking import unmask

__all__ = [
    "DAPS",
    "DDRM",
    "ActiveSample",
    "Adaptive",
    "Calibration",
    "ClassifierTraining",
    "DiffusersScheduler",
    "Empirical",
    "ExactInterpolant",
    "FlowModel",
    "FlowTimes",
    "Gaussian",
    "GaussianMixture",
    "Guidance",
    "Guided",
    "GuidedModel",
    "Integrator",
    "Interpolant",
    "IntrinsicDimension",
    "InverseMethod",
    "Langevin",
    "LangevinGibbs",
    "LangevinStep",
    "LevelEstimate",
    "LevelHistogram",
    "LevelRegression",
    "Likelihood",
    "Linear",
    "Measured",
    "Model",
    "NoiseClassifier",
    "OUStep",
    "Observation",
    "PartialSolution",
    "PartialTransport",
    "Particles",
    "PiGDM",
    "Rows",
    "ScaledStep",
    "ScoreModel",
    "Searched",
    "Solution",
    "Stepper",
    "Threshold",
    "TrainedFlow",
    "TrainedScore",
    "Training",
    "Unmasked",
    "diffusers_guider",
    "exponential",
    "first_hitting",
    "flow_shift",
    "guided",
    "integrate",
    "intrinsic_dimension",
    "karras",
    "langevin_gibbs",
    "load_score",
    "log_likelihood",
    "measure",
    "observed",
    "poly_t",
    "polyexponential",
    "posterior",
    "reflow",
    "sample",
    "sample_power",
    "searched",
    "start",
    "steer",
    "stepper",
    "svdd",
    "train_flow",
    "train_noise_classifier",
    "train_score",
    "transport",
    "unmask",
    "vp_uniform",
]
__all__ += methods.__all__

start = _starter(
    "score",
    first_hitting,
    integrate,
    langevin_gibbs,
    log_likelihood,
    measure,
    posterior,
    sample,
    sample_power,
    searched,
    steer,
    svdd,
    train_flow,
    train_noise_classifier,
    train_score,
    transport,
    unmask,
)


def __dir__() -> list[str]:
    return sorted(__all__)
