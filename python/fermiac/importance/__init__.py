"""Importance sampling: many expectations from one sample, and the evidence of a density."""

from __future__ import annotations

from fermiac.importance.api import expect, start
from fermiac.importance.evidence import Evidence, evidence

__all__ = ["Evidence", "evidence", "expect", "start"]
