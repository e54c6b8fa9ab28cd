"""Model evaluation: areas under ROC curves, error rates, splits, tests of models, proportions."""

from __future__ import annotations

from fermiac.evaluate import splits
from fermiac.evaluate.areas import AreaDifference, AreaEstimate, auc, auc_difference
from fermiac.evaluate.bayes import LearnerPosterior, correlated_posterior
from fermiac.evaluate.bootstrap_error import bootstrap_error
from fermiac.evaluate.error_rates import ErrorRate, error_from_losses
from fermiac.evaluate.model_tests import (
    ModelTest,
    cochran_q,
    five_by_two_cv,
    mcnemar,
    resampled_ttest,
)
from fermiac.evaluate.proportions import proportion_interval
from fermiac.evaluate.pvalues import adjust
from fermiac.evaluate.rank_tests import RankComparison, friedman, nemenyi
from fermiac.evaluate.simulated import RankCalibration, sbc
from fermiac.runs.background import starter as _starter

__all__ = [
    "AreaDifference",
    "AreaEstimate",
    "ErrorRate",
    "LearnerPosterior",
    "ModelTest",
    "RankCalibration",
    "RankComparison",
    "adjust",
    "auc",
    "auc_difference",
    "bootstrap_error",
    "cochran_q",
    "correlated_posterior",
    "error_from_losses",
    "five_by_two_cv",
    "friedman",
    "mcnemar",
    "nemenyi",
    "proportion_interval",
    "resampled_ttest",
    "sbc",
    "splits",
    "start",
]

start = _starter("evaluate", bootstrap_error, sbc)


def __dir__() -> list[str]:
    return sorted(__all__)
