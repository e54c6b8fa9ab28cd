"""Choices of the threshold of an attack, and the bounds that they leave valid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from attacks import laplace, tied
from scipy import stats

from fermiac.errors import ArgumentError, CallError, ClusterWarning
from fermiac.privacy import (
    ResubstitutionThreshold,
    SimultaneousBand,
    audit_scores,
    epsilon_interval,
)
from fermiac.privacy.bands import _crossing, local_level


def test_explicit_thresholds_give_the_interval_of_their_counts() -> None:
    members, nonmembers = tied(5, 200)
    for direction in ("attack", "both"):
        a = audit_scores(members, nonmembers, threshold=0.7, delta=1e-4, direction=direction)
        tp, fp = (members >= 0.7).sum(), (nonmembers >= 0.7).sum()
        assert a.counts == {"tp": tp, "fp": fp, "fn": 200 - tp, "tn": 207 - fp}
        table = (tp, fp, 200 - tp, 207 - fp)
        keywords: Any = {"delta": 1e-4, "prob": 0.95, "direction": direction}
        low = epsilon_interval(*table, kind="lower", **keywords).epsilon_lower
        high = epsilon_interval(*table, kind="upper", **keywords).epsilon_upper
        assert (a.epsilon_lower, a.epsilon_upper) == (pytest.approx(low), pytest.approx(high))
        assert a.valid
        assert a.seed is None
        assert a.clusters is None


def test_same_data_is_the_best_of_all_thresholds() -> None:
    for seed, direction in [(1, "attack"), (2, "both"), (3, "forward"), (4, "reverse")]:
        members, nonmembers = tied(seed, 60)
        if direction == "both":
            members, nonmembers = nonmembers, members
        a = audit_scores(
            members, nonmembers, threshold=ResubstitutionThreshold(True), direction=direction
        )
        each = [
            audit_scores(members, nonmembers, threshold=t, direction=direction).epsilon_lower
            for t in np.unique(np.concatenate([members, nonmembers]))
        ]
        assert a.epsilon_lower == max(each)
        assert not a.valid
        assert a.epsilon_upper is None
        assert "not valid" in repr(a)


def test_same_data_overstates() -> None:
    """With nothing to be found, the best threshold finds something far more often than alpha."""
    alpha, failed = 0.4, dict.fromkeys(("same", "band"), 0)
    for seed in range(200):
        scores = laplace(0.0, 400, 5000 + seed)
        for name, strategy in (
            ("same", ResubstitutionThreshold(True)),
            ("band", SimultaneousBand()),
        ):
            a = audit_scores(*scores, threshold=strategy, alpha=alpha)
            failed[name] += a.epsilon_lower > 0
    assert failed["same"] > 200 * alpha + 5 * np.sqrt(200 * alpha * (1 - alpha))
    assert failed["band"] <= 200 * alpha


def test_bad_strategies_are_refused() -> None:
    with pytest.raises(ArgumentError, match="invalid_ok"):
        ResubstitutionThreshold()


@pytest.mark.parametrize(("direction", "share"), [("attack", 2), ("both", 4)])
def test_a_band_has_the_best_bound_at_its_level(direction: Any, share: int) -> None:
    members, nonmembers = tied(8, 150)
    a = audit_scores(members, nonmembers, threshold=SimultaneousBand(), direction=direction)
    level = 2 * min(local_level(n, 0.05 / share) for n in (members.size, nonmembers.size))
    each = [
        audit_scores(
            members, nonmembers, threshold=t, alpha=level, direction=direction
        ).epsilon_lower
        for t in np.unique(np.concatenate([members, nonmembers]))
    ]
    assert a.epsilon_lower == pytest.approx(max(each), rel=1e-12)
    assert a.valid


@pytest.mark.parametrize(("n", "level"), [(1, 0.05), (2, 0.05), (7, 0.02), (60, 0.002)])
def test_the_level_of_a_band_has_its_probability(n: int, level: float) -> None:
    u = np.sort(np.random.default_rng(n).random((40_000, n)), axis=1)
    i = np.arange(1, n + 1)
    share = (u > stats.beta.ppf(1 - level, i, n - i + 1)).any(axis=1).mean()
    exact = _crossing(n, level)
    assert abs(share - exact) < 5 * np.sqrt(exact * (1 - exact) / 40_000)
    assert 0.998 * 0.05 < _crossing(n, local_level(n, 0.05)) <= 0.05


def test_bounds_by_a_band_are_too_high_as_rarely_as_they_may() -> None:
    # At epsilon 0 every threshold could give a bound that is too high.
    stream = np.random.default_rng(3)
    bounds = [
        audit_scores(stream.random(60), stream.random(80), threshold="band").epsilon_lower
        for _ in range(600)
    ]
    share = np.mean(np.array(bounds) > 0)
    assert share < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 600)


def test_the_bound_of_the_scores_of_a_page() -> None:
    bounds = []
    for seed in range(20):
        scores = np.random.default_rng(seed)
        members, others = scores.normal(1, 1, 500), scores.normal(0, 1, 500)
        bounds.append(audit_scores(members, others, delta=1e-5).epsilon_lower)
        assert bounds[-1] == audit_scores(members, others, delta=1e-5).epsilon_lower
    assert np.median(bounds) >= 0.95
    assert max(bounds) < 4.377


def test_the_level_of_many_scores_is_slightly_too_small() -> None:
    # The exact levels at 2 and 4 times the largest number of scores that it is computed for.
    for n, exact in EXACT.items():
        assert 0.93 * exact < local_level(n, 0.025) < exact
    assert audit_scores(np.arange(30_000.0) + 9000, np.arange(30_000.0)).epsilon_lower > 3


EXACT = {10_000: 3.3300681540853920e-4, 20_000: 2.9752559750162770e-4}


@pytest.mark.parametrize("method", ["jeffreys", "bayes", lambda *counts, **_: counts[0]])
def test_methods_for_one_threshold_need_one(method: Any) -> None:
    with pytest.raises(ArgumentError, match="fixed beforehand"):
        audit_scores([1.0, 2.0], [0.5, 0.7, 3.0], method=method)


def test_copies_of_records_are_warned_of() -> None:
    for seed in range(20):
        stream = np.random.default_rng(seed)
        members, others = stream.laplace(1, 1, 300), stream.laplace(0, 1, 300)
        audit_scores(members, others)  # warnings are errors
        with pytest.warns(ClusterWarning, match="clusters=") as caught:
            audit_scores(np.repeat(members[:50], 10), others)
        assert len(caught) == 1
    votes, rounded = stream.binomial(20, 0.5, (2, 300)), np.round(stream.normal(0, 1, (2, 300)), 1)
    audit_scores(*votes)
    audit_scores(*rounded)
    records = np.repeat(np.arange(50), 10)
    a = audit_scores(
        np.repeat(members[:50], 10), np.repeat(others[:50], 10), clusters=(records, records),
        cluster_adjust=True,
    )  # fmt: skip
    assert not a.warnings


@pytest.mark.parametrize("name", ["holdout", "multisplit", "bonferroni"])
def test_deleted_choices_name_their_successor(name: Any) -> None:
    with pytest.raises(ArgumentError, match="'band'"):
        audit_scores([1.0, 2.0], [0.5, 0.7, 3.0], threshold=name)
    with pytest.raises(CallError, match="deterministic"):
        audit_scores([1.0, 2.0], [0.5, 0.7, 3.0], rng=0)  # type: ignore[call-arg]
