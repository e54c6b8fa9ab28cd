"""Score models: exact or learned, their integrators, and chains over noise levels."""

from __future__ import annotations

from fermiac.score._adaptive import Adaptive
from fermiac.score._base import Model
from fermiac.score._likelihood import Likelihood, log_likelihood

__all__ = ["Adaptive", "Likelihood", "Model", "log_likelihood"]
