"""Nested sampling: evidences and posteriors from points drawn above rising likelihoods."""

from __future__ import annotations

from fermiac.nested._allocation import Dynamic
from fermiac.nested._extend import extend
from fermiac.nested._files import read_dead_birth
from fermiac.nested._importance import ImportanceEvidence
from fermiac.nested._more import start
from fermiac.nested._result import Nested
from fermiac.nested._samplers import Galilean, RandomWalk, Sampler, Slice, Uniform
from fermiac.nested._sampling import sample
from fermiac.nested._surrogate.options import Surrogate
from fermiac.nested._surrogate.report import SurrogateReport

__all__ = [
    "Dynamic",
    "Galilean",
    "ImportanceEvidence",
    "Nested",
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
