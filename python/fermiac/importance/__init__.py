"""Importance sampling: expectations, integrals, evidences, rare events and sensitivities."""

from __future__ import annotations

from fermiac.importance.api import expect
from fermiac.importance.bridge import BridgeEvidence, bridge
from fermiac.importance.evidence import evidence
from fermiac.importance.evidence_blocks import PartialEvidence
from fermiac.importance.expect_blocks import PartialEstimate
from fermiac.importance.failure.api import failure_probability
from fermiac.importance.failure.result import FailureProbability
from fermiac.importance.failure.sampler import FailureSampler
from fermiac.importance.fidelity_results import Multifidelity, Multilevel
from fermiac.importance.integrate import integrate
from fermiac.importance.multifidelity import multifidelity
from fermiac.importance.multilevel import multilevel
from fermiac.importance.result import Evidence
from fermiac.importance.sampler import Sampler
from fermiac.importance.sensitivity import sobol_indices
from fermiac.importance.sensitivity_result import SobolIndices
from fermiac.runs.background import starter as _starter

__all__ = [
    "BridgeEvidence",
    "Evidence",
    "FailureProbability",
    "FailureSampler",
    "Multifidelity",
    "Multilevel",
    "PartialEstimate",
    "PartialEvidence",
    "Sampler",
    "SobolIndices",
    "bridge",
    "evidence",
    "expect",
    "failure_probability",
    "integrate",
    "multifidelity",
    "multilevel",
    "sobol_indices",
    "start",
]

start = _starter(
    "importance",
    expect,
    integrate,
    evidence,
    bridge,
    failure_probability,
    sobol_indices,
    multifidelity,
    multilevel,
)


def __dir__() -> list[str]:
    return sorted(__all__)
