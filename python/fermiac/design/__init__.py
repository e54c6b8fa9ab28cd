"""Design of experiments and of samples: surveys, budgets over tasks, rows of a matrix."""

from __future__ import annotations

from fermiac.design.allocation import Allocation, allocate
from fermiac.design.rows import RowSample, row_scores, sample_rows
from fermiac.design.streams import StreamSample, sample_stream
from fermiac.design.survey import SurveySample, SurveyTotal, sample

__all__ = [
    "Allocation",
    "RowSample",
    "StreamSample",
    "SurveySample",
    "SurveyTotal",
    "allocate",
    "row_scores",
    "sample",
    "sample_rows",
    "sample_stream",
]


def __dir__() -> list[str]:
    return sorted(__all__)
