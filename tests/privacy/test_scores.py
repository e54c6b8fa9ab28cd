"""Audits by attack scores: bounds, methods, refusals, results and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attacks import clustered, laplace, tied
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.privacy import (
    FixedThreshold,
    ResubstitutionThreshold,
    SimultaneousBand,
    audit_scores,
    epsilon_interval,
)

Array = NDArray[np.float64]


VALID = (FixedThreshold(0.9), SimultaneousBand())


def test_bounds_of_the_posterior() -> None:
    members, nonmembers = laplace(2.0, 150, 3)
    a = audit_scores(members, nonmembers, threshold=1.0, delta=1e-3, method="bayes")
    counts = a.counts
    law = fm.privacy.epsilon_posterior(**counts, delta=1e-3, direction="attack")
    assert (a.epsilon_lower, a.epsilon_upper) == (law.ppf(0.05), law.ppf(0.95))
    box = epsilon_interval(**counts, delta=1e-3, prob=0.95, kind="lower", direction="attack")
    assert a.epsilon_lower > box.epsilon_lower
    best = audit_scores(
        members, nonmembers, threshold=ResubstitutionThreshold(True), method="bayes"
    )
    each = [
        audit_scores(members, nonmembers, threshold=t, method="bayes").epsilon_lower
        for t in np.concatenate([members, nonmembers])
    ]
    assert best.epsilon_lower == max(each)


@pytest.mark.parametrize("epsilon", [0.0, 1.0])
@pytest.mark.parametrize("strategy", VALID, ids=repr)
def test_valid_bounds_hold(strategy: Any, epsilon: float) -> None:
    """Of a mechanism whose epsilon is known, the bound fails with probability alpha at most."""
    runs, alpha = 150, 0.2
    failed = 0
    for seed in range(runs):
        scores = laplace(epsilon, 80, 1000 + seed)
        a = audit_scores(*scores, threshold=strategy, alpha=alpha)
        failed += a.epsilon_lower > epsilon + 1e-12
    assert failed <= runs * alpha + 5 * np.sqrt(runs * alpha * (1 - alpha))


def test_valid_bounds_find_what_is_there() -> None:
    scores = laplace(2.0, 4000, 3)
    for strategy in (FixedThreshold(1.0), SimultaneousBand()):
        a = audit_scores(*scores, threshold=strategy)
        assert 1.0 < a.epsilon_lower < 2.0


def test_a_callable_bound_is_used() -> None:
    calls = []

    def bound(tp: Array, fp: Array, fn: Array, tn: Array, **keywords: Any) -> Array:
        calls.append(keywords)
        return np.log((tp + 1) / (tp + fn + 2) / ((fp + 1) / (fp + tn + 2)))

    members, nonmembers = tied(9)
    a = audit_scores(members, nonmembers, threshold=0.5, method=bound, alpha=0.1, delta=1e-3)
    c = a.counts
    assert a.epsilon_lower == pytest.approx(
        np.log((c["tp"] + 1) / 42 / ((c["fp"] + 1) / 49)), rel=1e-12
    )
    assert calls == [{"delta": 1e-3, "alpha": 0.1, "direction": "attack"}]
    assert a.method == "bound"
    assert a.epsilon_upper is None
    with pytest.raises(ArgumentError, match="one bound for each row"):
        audit_scores(members, nonmembers, method=lambda *table, **_: [1.0, 2.0, 3.0], threshold=0.0)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"clusters": 3}, "clusters"),
        ({"clusters": ([1, 1], [1, 2])}, "clusters"),
        ({"clusters": ([1, 1, 1], [1, 2, 3])}, "all of one model"),
        ({"clusters": ([1.0, 2.0, np.nan], [1, 2, 3])}, "clusters"),
        ({"clusters": (["a", "b", "c"], [1, 2, 3])}, "alike"),
        ({"clusters": ([None, 1, 2], [1, 2, 3])}, "clusters"),
        ({"cluster_adjust": True}, "cluster_adjust"),
        ({"members": []}, "members"),
        ({"members": [1.0, np.nan, 2.0]}, "members"),
        ({"nonmembers": [[1.0, 2.0]]}, "nonmembers"),
        ({"nonmembers": "scores"}, "nonmembers"),
        ({"nonmembers": [True, False]}, "nonmembers"),
        ({"threshold": np.nan}, "threshold"),
        ({"threshold": "best"}, "threshold"),
        ({"threshold": None}, "threshold"),
        ({"threshold": True}, "threshold"),
        ({"delta": 1.0}, "delta"),
        ({"delta": [0.0, 0.1]}, "delta"),
        ({"alpha": 0.0}, "alpha"),
        ({"method": "katz-log"}, "method"),
        ({"direction": "down"}, "direction"),
    ],
)
def test_bad_arguments_are_refused(given: dict[str, Any], match: str) -> None:
    good: dict[str, Any] = {"members": [1, 2, 3], "nonmembers": [0, 1, 2], "threshold": 1.0}
    good |= given
    with pytest.raises(ArgumentError, match=match):
        audit_scores(good.pop("members"), good.pop("nonmembers"), **good)


def test_results_are_saved_and_shown(tmp_path: Path) -> None:
    members, nonmembers, ids = clustered(8)
    a = audit_scores(members, nonmembers, clusters=ids, cluster_adjust=True)
    for result in (a, a.roc, a.roc.bootstrap(n=20, rng=1)):
        result.save(tmp_path / "r")
        assert fm.load(tmp_path / "r").to_dict() == result.to_dict()
        assert len(repr(result).splitlines()) <= 6
    assert "SimultaneousBand()" in str(a.summary())
    assert "correlation" in str(a.summary())


def test_curves_are_drawn() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    import matplotlib.pyplot as plt

    members, nonmembers = laplace(1.0, 100, 1)
    a = audit_scores(members, nonmembers, threshold=1.0)
    ax = a.plot()
    dot = ax.lines[-1]
    assert dot.get_xdata()[0] == a.counts["fp"] / 100  # type: ignore[index]
    region = ax.lines[2]
    x, y = np.asarray(region.get_xdata()), np.asarray(region.get_ydata())
    # Its middle corner is the best attack with equal rates.
    assert y[1] == pytest.approx(1 - x[1])
    assert fm.privacy.epsilon_of_rates(x[1], x[1]) == pytest.approx(a.epsilon_lower)
    assert len(a.roc.plot(epsilon=np.inf, delta=0.1).lines) == 3
    with pytest.raises(ArgumentError, match="epsilon"):
        a.roc.plot(epsilon=-1.0)
    plt.close("all")


def test_scores_beside_labels_are_refused_in_either_order() -> None:
    rng = np.random.default_rng(8)
    labels = np.repeat([1.0, 0.0], 500)
    noise = rng.normal(size=1000)
    for pair in ((noise, labels), (labels, noise), (labels, labels[::-1])):
        for call in (audit_scores, fm.privacy.roc):
            with pytest.raises(ArgumentError, match=r"they may be labels; .* give labels="):
                call(*pair)  # type: ignore[operator]
    # Read as labels, pure noise shows nothing.
    assert audit_scores(noise, labels=labels).epsilon_lower < 0.1


def test_labels_are_the_same_as_two_arrays() -> None:
    rng = np.random.default_rng(9)
    labels = rng.integers(0, 2, 800)
    both = rng.normal(size=800) + labels
    two = (both[labels == 1], both[labels == 0])
    expected = audit_scores(*two)
    for given in (labels, labels.astype(bool), labels.astype(float)):
        found = audit_scores(both, labels=given)
        assert found.epsilon_lower == expected.epsilon_lower
        assert dict(found.counts) == dict(expected.counts)
    assert fm.privacy.roc(both, labels=labels).auc == fm.privacy.roc(*two).auc
    # Scores that are 0 and 1 themselves are taken with labels, or where the sizes differ.
    answers = (both > 0.5).astype(float)
    binary = fm.privacy.roc(answers, labels=labels)
    assert binary.auc == fm.privacy.roc(answers[labels == 1], answers[labels == 0]).auc


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "nonmembers: not given"),
        ({"nonmembers": [1.0, 2.0], "labels": [0, 1]}, "labels: given with nonmembers"),
        ({"labels": [0, 2]}, "labels: 1 (or True)"),
        ({"labels": ["a", "b"]}, "labels: 1 (or True)"),
        ({"labels": [0, 1, 1]}, "labels: an array of shape (3,)"),
        ({"labels": [1, 1]}, "labels: all are equal"),
    ],
)
def test_bad_labels_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        audit_scores([0.5, 1.5], **given)
    assert words in str(caught.value)
