"""Design of experiments and of samples: budgets over tasks, and rows of a matrix."""

from __future__ import annotations

from fermiac.design.allocation import Allocation, allocate
from fermiac.design.rows import RowSample, row_scores, sample_rows

__all__ = ["Allocation", "RowSample", "allocate", "row_scores", "sample_rows"]


def __dir__() -> list[str]:
    return sorted(__all__)
