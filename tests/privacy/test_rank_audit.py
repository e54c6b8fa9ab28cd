"""Rank audits: p-values against exact ones, validity of bounds, forms, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from plans import on_threads
from scipy import stats

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.privacy import TradeOff, audit_ranks


def _scores(mu: float, n: int, m: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    stream = fm.random.Stream(seed)
    return stream.normal(n) + mu, stream.normal(m)


@pytest.mark.parametrize(("n", "m", "mu"), [(6, 9, 0.0), (8, 8, 1.0), (15, 4, 0.6)])
def test_the_p_value_of_no_leak_is_that_of_mann_and_whitney(n: int, m: int, mu: float) -> None:
    members, others = _scores(mu, n, m, 5)
    audit = audit_ranks(members, others, n_replicates=40_000, rng=1)
    exact = stats.mannwhitneyu(members, others, alternative="greater", method="exact").pvalue
    found = audit.p_value(TradeOff.from_epsilon(0.0))
    assert abs(found - exact) < 5 * np.sqrt(exact * (1 - exact) / 40_000) + 1e-4


def test_one_pair_has_the_area_of_the_curve_as_its_p_value() -> None:
    audit = audit_ranks([1.0], [0.0], alpha=0.5, n_replicates=40_000, rng=2)
    claim = TradeOff.from_epsilon(1.0, delta=0.1)
    area = 1 - np.trapezoid(claim.fnr, claim.fpr)
    assert abs(audit.p_value(claim) - area) < 5 * 0.5 / 200


def test_the_bound_is_the_claim_with_p_value_alpha() -> None:
    audit = audit_ranks(*_scores(1.0, 200, 150, 3), n_replicates=4999, rng=4)
    # Two simulations, each with an error of 0.003.
    assert abs(audit.p_value(TradeOff.from_gdp(audit.mu_lower)) - 0.05) < 0.022
    assert audit.epsilon_lower == fm.privacy.gdp_epsilon(1e-5, mu=audit.mu_lower)


@pytest.mark.parametrize("mu", [0.0, 0.5, 3.0])
def test_bounds_are_too_high_as_often_as_they_may(mu: float) -> None:
    found = [
        audit_ranks(*_scores(mu, 40, 60, 100 + i), n_replicates=199, rng=i).mu_lower
        for i in range(600)
    ]
    share = np.mean(np.array(found) > mu)
    assert abs(share - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 600)


def test_attacks_above_the_curve_are_not_rejected_more_often() -> None:
    claim = TradeOff.from_epsilon(1.0)
    stream = fm.random.Stream(9)
    p = np.e / (1 + np.e)
    rejected = 0
    for i in range(400):
        # Randomised response with noise that no threshold sees: on the curve at one point.
        members = (stream.uniform(50) < p) + 0.5 * stream.uniform(50)
        others = (stream.uniform(50) < 1 - p) + 0.5 * stream.uniform(50)
        audit = audit_ranks(members, others, n_replicates=199, rng=i)
        rejected += audit.p_value(claim) <= 0.05
    assert rejected / 400 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


def test_ties_count_as_wrong() -> None:
    audit = audit_ranks(np.full(30, 2.0), np.full(20, 2.0), rng=0)
    assert (audit.auc, audit.n_ordered, audit.mu_lower, audit.epsilon_lower) == (0.0, 0, 0.0, 0.0)
    assert audit.p_value(TradeOff.from_epsilon(0.0)) == 1.0


def test_forms_and_threads_give_the_same_bits(tmp_path: Path) -> None:
    members, others = _scores(1.0, 300, 200, 6)
    members[:2], others[0] = np.inf, -np.inf
    audit = on_threads(1, audit_ranks, members, others, rng=7)
    both, inside = np.concatenate([members, others]), np.arange(500) < 300
    labelled = on_threads(3, audit_ranks, both, labels=inside, rng=7)
    assert (labelled.mu_lower, labelled.n_ordered) == (audit.mu_lower, audit.n_ordered)
    claim = TradeOff.from_gdp(0.8)
    assert on_threads(1, audit.p_value, claim) == on_threads(3, audit.p_value, claim)
    audit.save(tmp_path / "audit")
    again = fm.load(tmp_path / "audit")
    assert repr(again) == repr(audit)
    assert again.p_value(claim) == audit.p_value(claim)
    # Increasing maps of all scores change nothing.
    mapped = audit_ranks(np.exp(np.minimum(members, 50)), np.exp(others), rng=7)
    assert mapped.mu_lower == audit.mu_lower


def test_perfect_attacks_have_finite_bounds() -> None:
    audit = audit_ranks(np.arange(50.0) + 100, np.arange(50.0), rng=0)
    assert audit.auc == 1.0
    assert 3.0 < audit.mu_lower < 10.0


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"members": [np.nan, 1.0]}, "members"),
        ({"members": []}, "members"),
        ({"delta": 0.0}, "delta"),
        ({"alpha": 1.0}, "alpha"),
        ({"alpha": 0.001}, "999 or more are needed"),
        ({"n_replicates": 0}, "n_replicates"),
    ],
)
def test_bad_arguments_are_refused(change: dict, text: str) -> None:
    given = {"members": [1.0, 2.0], "nonmembers": [0.0], "n_replicates": 99} | change
    with pytest.raises(ArgumentError, match=text):
        audit_ranks(**given)


def test_claims_must_be_curves() -> None:
    with pytest.raises(ArgumentError, match="TradeOff"):
        audit_ranks([1.0], [0.0], alpha=0.5, rng=0).p_value(1.0)
