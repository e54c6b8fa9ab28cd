"""Scores: derivatives of log-densities by parameters."""

from __future__ import annotations

import numpy as np

import fermiac as fm
from fermiac.importance.failure.scores import Scores


def test_scores_are_derivatives_of_log_densities() -> None:
    law = fm.distributions.Normal(np.array([1.0, 2.0]), np.array([2.0, 0.5]))
    scores = Scores(law)
    assert scores.names == ["mean[0]", "mean[1]", "sd[0]", "sd[1]"]
    x = np.array([[2.0, 2.5], [0.0, 1.0]])
    z = (x - [1.0, 2.0]) / [2.0, 0.5]
    exact = np.hstack([z / [2.0, 0.5], (z**2 - 1) / [2.0, 0.5]])
    np.testing.assert_allclose(scores(x), exact, rtol=1e-7, atol=1e-8)
