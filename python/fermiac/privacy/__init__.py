"""Differential privacy: posteriors of epsilon, audits, adaptive data analysis, watermark tests."""

from __future__ import annotations

from fermiac.privacy._adaptive import Answer
from fermiac.privacy._answers import GaussianAnswers, LaplaceAnswers
from fermiac.privacy._gaussian import gdp_delta, gdp_epsilon, gdp_mu
from fermiac.privacy._interop import EpsilonGap, compare, epsilon_upper
from fermiac.privacy._intervals import EpsilonInterval, GdpBound, epsilon_interval, gdp_bound
from fermiac.privacy._one_run import (
    OneRunAudit,
    audit_one_run,
    audit_one_run_scores,
    guesses_from_scores,
)
from fermiac.privacy._posterior import (
    DeltaPosterior,
    EpsilonPosterior,
    MuPosterior,
    delta_posterior,
    epsilon_posterior,
    mu_posterior,
)
from fermiac.privacy._rates import advantage_bound, delta_of_rates, epsilon_of_rates, privacy_region
from fermiac.privacy._roc import RocBootstrap, RocCurve, roc
from fermiac.privacy._scores import ScoreAudit, audit_scores
from fermiac.privacy._split import SplitAnswers
from fermiac.privacy._thresholdout import Thresholdout
from fermiac.privacy._thresholds import Bonferroni, Explicit, HoldOut, MultiSplit, SameData
from fermiac.privacy._watermark import (
    WatermarkReference,
    WatermarkTest,
    detect_watermark,
    watermark_reference,
)
from fermiac.privacy._watermark_keys import ExponentialKey, InverseTransformKey

__all__ = [
    "Answer",
    "Bonferroni",
    "DeltaPosterior",
    "EpsilonGap",
    "EpsilonInterval",
    "EpsilonPosterior",
    "Explicit",
    "ExponentialKey",
    "GaussianAnswers",
    "GdpBound",
    "HoldOut",
    "InverseTransformKey",
    "LaplaceAnswers",
    "MuPosterior",
    "MultiSplit",
    "OneRunAudit",
    "RocBootstrap",
    "RocCurve",
    "SameData",
    "ScoreAudit",
    "SplitAnswers",
    "Thresholdout",
    "WatermarkReference",
    "WatermarkTest",
    "advantage_bound",
    "audit_one_run",
    "audit_one_run_scores",
    "audit_scores",
    "compare",
    "delta_of_rates",
    "delta_posterior",
    "detect_watermark",
    "epsilon_interval",
    "epsilon_of_rates",
    "epsilon_posterior",
    "epsilon_upper",
    "gdp_bound",
    "gdp_delta",
    "gdp_epsilon",
    "gdp_mu",
    "guesses_from_scores",
    "mu_posterior",
    "privacy_region",
    "roc",
    "watermark_reference",
]
