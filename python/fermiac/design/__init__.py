"""Design of experiments and of samples: surveys, budgets over tasks, rows of a matrix."""

from __future__ import annotations

from fermiac.design.allocation import Allocation, allocate
from fermiac.design.rows import RowSample, row_scores, sample_rows
from fermiac.design.survey import SurveySample, SurveyTotal, sample

__all__ = [
    "Allocation",
    "RowSample",
    "SurveySample",
    "SurveyTotal",
    "allocate",
    "row_scores",
    "sample",
    "sample_rows",
]


def __dir__() -> list[str]:
    return sorted(__all__)
