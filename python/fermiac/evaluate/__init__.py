"""Model evaluation: areas under ROC curves, tests of two models, proportions, many p-values."""

from __future__ import annotations

from fermiac.evaluate.areas import AreaDifference, AreaEstimate, auc, auc_difference
from fermiac.evaluate.model_tests import (
    ModelTest,
    cochran_q,
    five_by_two_cv,
    mcnemar,
    resampled_ttest,
)
from fermiac.evaluate.proportions import proportion_interval
from fermiac.evaluate.pvalues import adjust

__all__ = [
    "AreaDifference",
    "AreaEstimate",
    "ModelTest",
    "adjust",
    "auc",
    "auc_difference",
    "cochran_q",
    "five_by_two_cv",
    "mcnemar",
    "proportion_interval",
    "resampled_ttest",
]


def __dir__() -> list[str]:
    return sorted(__all__)
