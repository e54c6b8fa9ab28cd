"""Choices of the threshold of an attack, and the bounds that they leave valid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from attacks import laplace, tied
from scipy import stats

from fermiac import _core
from fermiac.errors import ArgumentError
from fermiac.privacy import (
    Bonferroni,
    HoldOutThreshold,
    MultiSplit,
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


def test_bonferroni_leaves_the_threshold_out() -> None:
    members, nonmembers = (np.round(x, 1) for x in laplace(3.0, 120, 7))
    a = audit_scores(members, nonmembers, threshold=Bonferroni())
    best = 0.0
    for side, scores in enumerate((members, nonmembers)):
        for i, t in enumerate(scores):
            parts = [members, nonmembers]
            parts[side] = np.delete(scores, i)
            tp, fp = (parts[0] >= t).sum(), (parts[1] >= t).sum()
            table = (tp, fp, parts[0].size - tp, parts[1].size - fp)
            prob = 1 - 0.05 / (members.size + nonmembers.size + 1)
            one = epsilon_interval(*table, prob=prob, kind="lower", direction="attack")
            best = max(best, float(one.epsilon_lower))
    assert a.epsilon_lower == pytest.approx(best, rel=1e-9)
    assert best > 0
    assert sum(a.counts.values()) == members.size + nonmembers.size - 1


def test_hold_out_bounds_the_part_that_did_not_choose() -> None:
    members, nonmembers = laplace(2.0, 200, 1)
    a = audit_scores(members, nonmembers, threshold=HoldOutThreshold(0.3), rng=5)
    first = _core.privacy_split(5, 0, 0, 200, 60)
    others = _core.privacy_split(5, 0, 1, 200, 60)
    chosen = audit_scores(
        members[first], nonmembers[others], threshold=ResubstitutionThreshold(True)
    )
    assert a.threshold == chosen.threshold
    tp, fp = (members[~first] >= a.threshold).sum(), (nonmembers[~others] >= a.threshold).sum()
    assert a.counts == {"tp": tp, "fp": fp, "fn": 140 - tp, "tn": 140 - fp}
    assert a.seed == 5
    assert a.epsilon_upper is not None
    assert a.epsilon_upper > a.epsilon_lower
    assert audit_scores(members, nonmembers, rng=5).to_dict()["counts"]["tp"] >= 0


def test_multi_split_is_the_median_at_half_alpha() -> None:
    members, nonmembers = laplace(2.0, 150, 2)
    a = audit_scores(members, nonmembers, threshold=MultiSplit(k=8), rng=3, alpha=0.1)
    bounds = []
    for index in range(8):
        first, others = (_core.privacy_split(3, index, block, 150, 75) for block in (0, 1))
        t = audit_scores(
            members[first], nonmembers[others], threshold=ResubstitutionThreshold(True), alpha=0.05
        ).threshold
        bounds.append(
            audit_scores(
                members[~first], nonmembers[~others], threshold=t, alpha=0.05
            ).epsilon_lower
        )
    assert a.epsilon_lower == sorted(bounds)[4]
    one, two = (
        audit_scores(members, nonmembers, threshold=MultiSplit(k=3), rng=3, n_threads=n)
        for n in (1, 3)
    )
    assert one.epsilon_lower == two.epsilon_lower


def test_splits_are_pinned() -> None:
    np.testing.assert_array_equal(np.flatnonzero(_core.privacy_split(2024, 3, 1, 12, 5)), PINNED)


PINNED = [0, 3, 5, 9, 11]


def test_same_data_overstates() -> None:
    """With nothing to be found, the best threshold finds something far more often than alpha."""
    alpha, failed = 0.4, dict.fromkeys(("same", "split"), 0)
    for seed in range(200):
        scores = laplace(0.0, 400, 5000 + seed)
        for name, strategy in (
            ("same", ResubstitutionThreshold(True)),
            ("split", HoldOutThreshold()),
        ):
            a = audit_scores(*scores, threshold=strategy, alpha=alpha, rng=seed)
            failed[name] += a.epsilon_lower > 0
    assert failed["same"] > 200 * alpha + 5 * np.sqrt(200 * alpha * (1 - alpha))
    assert failed["split"] <= 200 * alpha


def test_bad_strategies_are_refused() -> None:
    with pytest.raises(ArgumentError, match="invalid_ok"):
        ResubstitutionThreshold()
    for frac in (0.0, 1.0, "half", [0.5]):
        with pytest.raises(ArgumentError, match="frac"):
            HoldOutThreshold(frac)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="k:"):
        MultiSplit(k=0)


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


def test_a_band_is_above_a_correction_for_all_thresholds() -> None:
    members, nonmembers = laplace(1.0, 500, 4)
    band, each = (
        audit_scores(members, nonmembers, threshold=t).epsilon_lower for t in ("band", "bonferroni")
    )
    assert band > each


def test_a_band_refuses_other_methods_and_too_many_scores() -> None:
    with pytest.raises(ArgumentError, match="clopper-pearson"):
        audit_scores([1.0, 2.0], [0.5, 0.7, 3.0], threshold="band", method="jeffreys")
    with pytest.raises(ArgumentError, match="20000 at most"):
        audit_scores(np.arange(20_001.0), np.arange(10.0), threshold="band")
