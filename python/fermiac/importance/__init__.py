"""Importance sampling: many expectations from one sample, and the evidence of a density."""

from __future__ import annotations

from fermiac.importance.api import expect, start
from fermiac.importance.evidence import evidence
from fermiac.importance.result import Evidence

__all__ = ["Evidence", "evidence", "expect", "start"]
