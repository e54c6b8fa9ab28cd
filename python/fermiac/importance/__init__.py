"""Importance sampling: many expectations from one sample, and the evidence of a density."""

from __future__ import annotations

from fermiac.importance.api import expect
from fermiac.importance.evidence import evidence
from fermiac.importance.result import Evidence
from fermiac.runs.background import starter as _starter

__all__ = ["Evidence", "evidence", "expect", "start"]

start = _starter("importance", expect, evidence)


def __dir__() -> list[str]:
    return sorted(__all__)
