"""The verdict on failure probabilities, and each of its doubts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ConvergenceWarning
from fermiac.importance.failure.checks import verdict
from fermiac.importance.failure.run import Outcome


def outcome(p: float, walked: float, **change: Any) -> Outcome:
    one = np.array([1.0])
    given: dict[str, Any] = {
        "mean": p * one,
        "stderr": 0.02 * p * one,
        "cov": (0.02 * p * one[:, None]) ** 2,
        "df": 9 * one,
        "ess": 5000 * one,
        "khat": 0 * one,
        "unseen": 0.01 * p * one,
        "n_from_law": 1000,
        "heaviest": 3 * one,
        "largest_share": 1e-3 * one,
        "variance_share": 1e-3 * one,
        "n_final": 10_000,
        "second": (walked * one, 0.2 * walked * one),
        **change,
    }
    return Outcome(**given)


def judged(made: Outcome, **settings: Any) -> tuple[bool, list[str]]:
    converged, found = verdict(made, ("p",), {"method": "auto", "n": 20_000, **settings}, 0)
    assert all(issubclass(kind, fm.errors.FermiacWarning) for kind, _ in found)
    return converged, [text for _, text in found]


def test_two_opinions_that_agree() -> None:
    assert judged(outcome(1e-4, 1.2e-4)) == (True, [])


def test_a_larger_second_opinion_stands() -> None:
    made = outcome(1e-5, 1e-4)
    converged, (text,) = judged(made)
    assert not converged
    assert "misses a part" in text
    assert made.mean == 1e-4
    assert made.stderr == pytest.approx(2e-5)
    assert made.cov[0, 0] == pytest.approx(4e-10)


def test_a_lost_region_far_out_does_not_matter() -> None:
    assert judged(outcome(1e-4, 1e-4, lost=np.array([6.0]))) == (True, [])


def test_a_smaller_second_opinion_is_announced() -> None:
    made = outcome(1e-4, 1e-5)
    converged, (text,) = judged(made)
    assert not converged
    assert "lost a region" in text
    assert made.mean == 1e-4


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"heaviest": np.array([80.0])}, "80 times the mean weight"),
        (
            {
                "khat": np.array([0.8]),
                "variance_share": np.array([0.3]),
                "largest_share": np.array([0.1]),
            },
            "heavy tail",
        ),
        ({"unseen": np.array([2e-5])}, "so few points"),
        ({"stderr": np.array([1e-3]), "mean": np.zeros(1), "second": None}, "no point failed"),
        ({"met": False}, "was not reached"),
        ({"lost": np.array([3.5])}, "none. Such a region has a probability of about 0.00023"),
        (
            {"lost": np.array([5.0]), "surprises": np.zeros(1), "stderr": np.array([1e-9])},
            "found at the distance 5 from the origin",
        ),
        ({"surprises": np.array([0.1])}, "not beyond the root; they are 10 %"),
        ({"apart": {0: (1e-4, 1e-5)}}, "gives the probability 0.0001 and the walk 1e-05"),
    ],
)
def test_each_doubt_is_said(change: dict[str, Any], match: str) -> None:
    converged, texts = judged(outcome(1e-4, 1e-4, **change), rtol=0.01)
    assert not converged
    assert match in texts[0]


def test_expect_names_failure_probability_for_indicators() -> None:
    law = fm.distributions.Normal()
    with pytest.warns(ConvergenceWarning, match="failure_probability"):
        fm.importance.expect(lambda x: x[:, 0] > 3.5, law, n=20_000, rng=0)
    with pytest.warns(ConvergenceWarning) as caught:
        fm.importance.expect(lambda x: 2.0 * (x[:, 0] > 3.5), law, n=20_000, rng=0)
    assert not any("failure_probability" in str(w.message) for w in caught)
