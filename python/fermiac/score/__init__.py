"""Score models: exact or learned, their integrators, and chains over noise levels."""

from __future__ import annotations

from fermiac.score._adaptive import Adaptive
from fermiac.score._base import Model
from fermiac.score._likelihood import Likelihood, log_likelihood
from fermiac.score._network import ScoreModel

__all__ = ["Adaptive", "Likelihood", "Model", "ScoreModel", "log_likelihood"]
