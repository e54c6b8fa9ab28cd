"""Differential privacy: posteriors of epsilon, audits, adaptive data analysis, watermark tests."""

from __future__ import annotations

from fermiac.privacy._adaptive import Answer
from fermiac.privacy._answers import GaussianAnswers, LaplaceAnswers
from fermiac.privacy._gaussian import gdp_delta, gdp_epsilon, gdp_mu
from fermiac.privacy._one_run import (
    OneRunAudit,
    audit_one_run,
    audit_one_run_scores,
    guesses_from_scores,
)
from fermiac.privacy._split import SplitAnswers
from fermiac.privacy._thresholdout import Thresholdout

__all__ = [
    "Answer",
    "GaussianAnswers",
    "LaplaceAnswers",
    "OneRunAudit",
    "SplitAnswers",
    "Thresholdout",
    "audit_one_run",
    "audit_one_run_scores",
    "gdp_delta",
    "gdp_epsilon",
    "gdp_mu",
    "guesses_from_scores",
]
