"""Nested sampling: evidences and posteriors from prior draws above rising likelihood levels."""

from __future__ import annotations

from fermiac.nested.allocation import Dynamic
from fermiac.nested.api import sample
from fermiac.nested.exports import read_dead_birth
from fermiac.nested.extension import extend
from fermiac.nested.importance_evidence import ImportanceEvidence
from fermiac.nested.learnt import LearntResult
from fermiac.nested.result import NestedResult
from fermiac.nested.samplers import Galilean, Learnt, RandomWalk, Sampler, Slice, Uniform
from fermiac.nested.surrogate.options import Surrogate, SurrogateReport
from fermiac.runs.background import starter as _starter

__all__ = [
    "Dynamic",
    "Galilean",
    "ImportanceEvidence",
    "Learnt",
    "LearntResult",
    "NestedResult",
    "RandomWalk",
    "Sampler",
    "Slice",
    "Surrogate",
    "SurrogateReport",
    "Uniform",
    "extend",
    "read_dead_birth",
    "sample",
    "start",
]

start = _starter("nested", sample, extend)


def __dir__() -> list[str]:
    return sorted(__all__)
