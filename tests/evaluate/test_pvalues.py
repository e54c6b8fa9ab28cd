"""Adjusted p-values: reference values, SciPy's, order, level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.evaluate import adjust

P = [0.01, 0.04, 0.03, 0.005, 0.2]


def test_reference_values() -> None:
    np.testing.assert_allclose(adjust(P, "holm"), [0.04, 0.09, 0.09, 0.025, 0.2])
    np.testing.assert_allclose(adjust(P, "bh"), [0.025, 0.05, 0.05, 0.025, 0.2])
    np.testing.assert_allclose(adjust(P, "bonferroni"), [0.05, 0.2, 0.15, 0.025, 1.0])
    np.testing.assert_allclose(adjust(P, "hochberg"), [0.04, 0.08, 0.08, 0.025, 0.2])
    np.testing.assert_allclose(adjust(P, "sidak"), 1 - (1 - np.array(P)) ** 5)
    for method in ("bh", "by"):
        np.testing.assert_allclose(
            adjust(P, method), stats.false_discovery_control(P, method=method)
        )
    # All p-values but one are below the cut: (1 + 1) / (5 / 2) hypotheses are true at most.
    low = [0.01, 0.04, 0.03, 0.005, 0.8]
    np.testing.assert_allclose(adjust(low, "storey"), 0.8 * adjust(low, "bh"))


def test_adjusted_values_keep_their_order() -> None:
    p = np.asarray(fm.random.Stream(1).uniform(50)) ** 2
    for method in ("bonferroni", "sidak", "holm", "hochberg", "bh", "by", "storey"):
        found = adjust(p, method)
        assert (np.diff(found[np.argsort(p)]) >= -1e-15).all()
        assert ((found >= 0) & (found <= 1)).all()
    assert (adjust(p, "hochberg") <= adjust(p, "holm") + 1e-15).all()
    assert adjust([0.0, 1.0], "sidak").tolist() == [0.0, 1.0]


def test_the_level_of_true_hypotheses() -> None:
    rejected = [
        adjust(np.asarray(fm.random.Stream(key).uniform(20)), "holm").min() <= 0.05
        for key in range(800)
    ]
    assert 0.02 < np.mean(rejected) < 0.075


@pytest.mark.parametrize("p", [[], [[0.1]], [1.1], [-0.1], [np.nan], "text", [None]])
def test_wrong_arguments(p: Any) -> None:
    with pytest.raises(ArgumentError):
        adjust(p)
    with pytest.raises(ArgumentError):
        adjust([0.1], "holms")  # type: ignore[arg-type]
