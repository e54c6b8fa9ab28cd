"""Differential privacy: posteriors of epsilon, audits, adaptive data analysis, watermark tests."""

from __future__ import annotations

from fermiac.privacy.accountants import EpsilonGap, compare, epsilon_upper
from fermiac.privacy.answers import GaussianAnswers, LaplaceAnswers, SplitAnswers
from fermiac.privacy.columns import PosteriorRows
from fermiac.privacy.gaussian import gdp_delta, gdp_epsilon, gdp_mu
from fermiac.privacy.intervals import EpsilonInterval, GdpBound, epsilon_interval, gdp_bound
from fermiac.privacy.mechanism import Answer
from fermiac.privacy.one_run import (
    OneRunAudit,
    audit_one_run,
    audit_one_run_scores,
    guesses_from_scores,
)
from fermiac.privacy.posterior import (
    DeltaPosterior,
    EpsilonPosterior,
    MuPosterior,
    delta_posterior,
    epsilon_posterior,
    mu_posterior,
)
from fermiac.privacy.rank_audit import RankAudit, audit_ranks
from fermiac.privacy.rates import advantage_bound, delta_of_rates, epsilon_of_rates, privacy_region
from fermiac.privacy.roc_curve import RocBootstrap, RocCurve, roc
from fermiac.privacy.scores import ScoreAudit, audit_scores
from fermiac.privacy.sequential import SequentialAudit, audit_sequential
from fermiac.privacy.streaming import scan
from fermiac.privacy.thresholdout import Thresholdout
from fermiac.privacy.thresholds import (
    FixedThreshold,
    ResubstitutionThreshold,
    SimultaneousBand,
)
from fermiac.privacy.trade_off import TradeOff, violation_probability
from fermiac.privacy.watermark import (
    WatermarkReference,
    WatermarkTest,
    detect_watermark,
    watermark_reference,
)
from fermiac.privacy.watermark_keys import ExponentialKey, InverseTransformKey

__all__ = [
    "Answer",
    "DeltaPosterior",
    "EpsilonGap",
    "EpsilonInterval",
    "EpsilonPosterior",
    "ExponentialKey",
    "FixedThreshold",
    "GaussianAnswers",
    "GdpBound",
    "InverseTransformKey",
    "LaplaceAnswers",
    "MuPosterior",
    "OneRunAudit",
    "PosteriorRows",
    "RankAudit",
    "ResubstitutionThreshold",
    "RocBootstrap",
    "RocCurve",
    "ScoreAudit",
    "SequentialAudit",
    "SimultaneousBand",
    "SplitAnswers",
    "Thresholdout",
    "TradeOff",
    "WatermarkReference",
    "WatermarkTest",
    "advantage_bound",
    "audit_one_run",
    "audit_one_run_scores",
    "audit_ranks",
    "audit_scores",
    "audit_sequential",
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
    "scan",
    "violation_probability",
    "watermark_reference",
]


def __dir__() -> list[str]:
    return sorted(__all__)
