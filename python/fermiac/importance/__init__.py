"""Importance sampling: expectations, rare events, and the evidence of a density."""

from __future__ import annotations

from fermiac.importance.api import expect
from fermiac.importance.evidence import evidence
from fermiac.importance.failure import failure_probability
from fermiac.importance.failure_result import FailureProbability
from fermiac.importance.result import Evidence
from fermiac.runs.background import starter as _starter

__all__ = [
    "Evidence",
    "FailureProbability",
    "evidence",
    "expect",
    "failure_probability",
    "start",
]

start = _starter("importance", expect, evidence, failure_probability)


def __dir__() -> list[str]:
    return sorted(__all__)
