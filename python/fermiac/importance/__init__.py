"""Importance sampling: expectations, integrals and the evidence of a density."""

from __future__ import annotations

from fermiac.importance.api import expect
from fermiac.importance.evidence import evidence
from fermiac.importance.integrate import integrate
from fermiac.importance.result import Evidence
from fermiac.importance.sampler import Sampler
from fermiac.runs.background import starter as _starter

__all__ = ["Evidence", "Sampler", "evidence", "expect", "integrate", "start"]

start = _starter("importance", expect, evidence, integrate)


def __dir__() -> list[str]:
    return sorted(__all__)
