"""Audits by attack scores: bounds that stay valid however the threshold is chosen; clusters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attacks import laplace, tied
from numpy.typing import NDArray
from scipy import stats

import fermiac as fm
from fermiac import _core
from fermiac.errors import ArgumentError, ClusterWarning
from fermiac.privacy import (
    Bonferroni,
    FixedThreshold,
    HoldOutThreshold,
    MultiSplit,
    ResubstitutionThreshold,
    audit_scores,
    epsilon_interval,
)

Array = NDArray[np.float64]
VALID = (FixedThreshold(0.9), HoldOutThreshold(), MultiSplit(k=9), Bonferroni())


# --- audits --------------------------------------------------------------------------------------


def test_explicit_thresholds_give_the_interval_of_their_counts() -> None:
    members, nonmembers = tied(5, 200)
    for direction in ("attack", "both"):
        a = audit_scores(members, nonmembers, threshold=0.7, delta=1e-4, direction=direction)
        tp, fp = (members >= 0.7).sum(), (nonmembers >= 0.7).sum()
        assert a.counts == {"tp": tp, "fp": fp, "fn": 200 - tp, "tn": 207 - fp}
        table = (tp, fp, 200 - tp, 207 - fp)
        keywords: Any = {"delta": 1e-4, "prob": 0.95, "direction": direction}
        low = epsilon_interval(*table, kind="lower", **keywords).lower
        high = epsilon_interval(*table, kind="upper", **keywords).upper
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


def test_bounds_of_the_posterior() -> None:
    members, nonmembers = laplace(2.0, 150, 3)
    a = audit_scores(members, nonmembers, threshold=1.0, delta=1e-3, method="bayes")
    counts = a.counts
    law = fm.privacy.epsilon_posterior(**counts, delta=1e-3, direction="attack")
    assert (a.epsilon_lower, a.epsilon_upper) == (law.ppf(0.05), law.ppf(0.95))
    box = epsilon_interval(**counts, delta=1e-3, prob=0.95, kind="lower", direction="attack")
    assert a.epsilon_lower > box.lower
    # The held-out choice is that of the box under the same prior; the bound is the posterior's.
    one, other = (
        audit_scores(members, nonmembers, method=name, rng=4) for name in ("bayes", "jeffreys")
    )
    assert (one.threshold, one.counts) == (other.threshold, other.counts)
    assert one.epsilon_lower > other.epsilon_lower
    one, other = (
        audit_scores(members, nonmembers, threshold=Bonferroni(), method=name)
        for name in ("bayes", "jeffreys")
    )
    assert (one.threshold, one.counts) == (other.threshold, other.counts)
    law = fm.privacy.epsilon_posterior(**one.counts, direction="attack")
    assert one.epsilon_lower == law.ppf(0.05 / 301) > other.epsilon_lower
    best = audit_scores(
        members, nonmembers, threshold=ResubstitutionThreshold(True), method="bayes"
    )
    each = [
        audit_scores(members, nonmembers, threshold=t, method="bayes").epsilon_lower
        for t in np.concatenate([members, nonmembers])
    ]
    assert best.epsilon_lower == max(each)


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
            best = max(best, float(one.lower))
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


@pytest.mark.parametrize("epsilon", [0.0, 1.0])
@pytest.mark.parametrize("strategy", VALID, ids=repr)
def test_valid_bounds_hold(strategy: Any, epsilon: float) -> None:
    """Of a mechanism whose epsilon is known, the bound fails with probability alpha at most."""
    runs, alpha = 150, 0.2
    failed = 0
    for seed in range(runs):
        scores = laplace(epsilon, 80, 1000 + seed)
        a = audit_scores(*scores, threshold=strategy, alpha=alpha, rng=seed)
        failed += a.epsilon_lower > epsilon + 1e-12
    assert failed <= runs * alpha + 5 * np.sqrt(runs * alpha * (1 - alpha))


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


def test_valid_bounds_find_what_is_there() -> None:
    scores = laplace(2.0, 4000, 3)
    for strategy in (FixedThreshold(1.0), HoldOutThreshold(), MultiSplit(k=9), Bonferroni()):
        a = audit_scores(*scores, threshold=strategy, rng=1)
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


# --- clusters ------------------------------------------------------------------------------------


def clustered(seed: int, models: int = 60, each: int = 8) -> tuple[Array, Array, Any]:
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.arange(models), each)
    shift = rng.normal(0, 1.5, models)[ids]
    return shift + rng.normal(1, 1, ids.size), shift + rng.normal(0, 1, ids.size), (ids, ids)


def test_correlation_is_that_of_the_analysis_of_variance() -> None:
    members, nonmembers, _ = clustered(1)
    rng = np.random.default_rng(2)
    # Models of different sizes, named by strings.
    names = np.array([f"m{k}" for k in rng.integers(0, 40, members.size)])
    order = np.argsort(members + rng.normal(0, 1, members.size))
    names = np.array(sorted(names))[np.argsort(order)]
    a = audit_scores(
        members, nonmembers, threshold=0.5, clusters=(names, names), cluster_adjust=True
    )
    assert a.clusters is not None
    assert a.clusters["fnr"]["rho"] > 0.1
    for rate, errors in (("fnr", members < 0.5), ("fpr", nonmembers >= 0.5)):
        groups = [errors[names == name].astype(float) for name in np.unique(names)]
        sizes = np.array([len(g) for g in groups])
        n, k = sizes.sum(), sizes.size
        f = stats.f_oneway(*groups).statistic
        n0 = (n - (sizes**2).sum() / n) / (k - 1)
        rho = (f - 1) / (f - 1 + n0)
        found = a.clusters[rate]
        assert found["rho"] == pytest.approx(rho, rel=1e-10, abs=1e-12)
        effect = 1 + ((sizes**2).sum() / n - 1) * max(rho, 0)
        assert found["effect"] == pytest.approx(effect, rel=1e-10)
        assert (found["n_clusters"], found["mean_size"]) == (k, n / k)


def test_adjustment_divides_the_counts_and_the_bound_falls() -> None:
    members, nonmembers, ids = clustered(3)
    with pytest.warns(ClusterWarning, match="design effect") as caught:
        plain = audit_scores(members, nonmembers, threshold=0.5, clusters=ids)
    assert len(caught) == 2 == len(plain.warnings)
    assert caught[0].message.result is plain
    assert caught[0].filename == __file__
    adjusted = audit_scores(members, nonmembers, threshold=0.5, clusters=ids, cluster_adjust=True)
    assert adjusted.clusters == plain.clusters
    assert not adjusted.warnings
    effect = adjusted.clusters["fnr"]["effect"]  # type: ignore[index]
    assert effect > 2
    assert adjusted.counts["tp"] == pytest.approx(plain.counts["tp"] / effect)
    assert adjusted.epsilon_lower < plain.epsilon_lower
    for strategy in (
        HoldOutThreshold(),
        MultiSplit(k=3),
        Bonferroni(),
        ResubstitutionThreshold(True),
    ):
        a = audit_scores(
            members, nonmembers, threshold=strategy, clusters=ids, cluster_adjust=True, rng=1
        )
        assert a.clusters is not None
        assert a.epsilon_lower < 5


def test_independent_scores_are_worth_what_they_are() -> None:
    rng = np.random.default_rng(6)
    ids = np.repeat(np.arange(200), 3)
    a = audit_scores(rng.normal(size=600), rng.normal(size=600), threshold=0.0, clusters=(ids, ids))
    assert a.clusters is not None
    # The correlation of independent errors is 0 within 1 / √(N (n - 1)).
    assert all(abs(c["rho"]) < 5 / np.sqrt(1200) for c in a.clusters.values())
    lone = np.arange(600)
    b = audit_scores(
        rng.normal(size=600), rng.normal(size=600), threshold=0.0, clusters=(lone, lone)
    )
    assert b.clusters is not None
    assert b.clusters["fnr"]["effect"] == 1.0 == b.clusters["fpr"]["effect"]


def test_names_of_models_may_be_objects() -> None:
    names = np.array(["a", "b", "a", "c"])
    some = [0.9, 0.1, 0.8, 0.7]
    found = [
        audit_scores(some, some, threshold=0.5, clusters=(ids, ids), cluster_adjust=True).clusters
        for ids in (names, names.astype(object))
    ]
    assert found[0] == found[1]


def test_splits_keep_models_whole() -> None:
    members, nonmembers, (ids, _) = clustered(4, 20, 5)
    seen: list[int] = []
    for others in (ids, ids + 1000):
        a = audit_scores(
            members,
            nonmembers,
            clusters=(ids, others),
            rng=2,
            threshold=HoldOutThreshold(0.5),
            cluster_adjust=True,
        )
        assert a.clusters is not None
        seen.append(int(a.clusters["fnr"]["n_clusters"]))
    assert seen == [10, 10]


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
        ({"members": [1.0], "threshold": HoldOutThreshold(), "clusters": None}, "split"),
        ({"rng": 1.5, "threshold": HoldOutThreshold()}, "rng"),
    ],
)
def test_bad_arguments_are_refused(given: dict[str, Any], match: str) -> None:
    good: dict[str, Any] = {"members": [1, 2, 3], "nonmembers": [0, 1, 2], "threshold": 1.0}
    good |= given
    with pytest.raises(ArgumentError, match=match):
        audit_scores(good.pop("members"), good.pop("nonmembers"), **good)


def test_bad_strategies_are_refused() -> None:
    with pytest.raises(ArgumentError, match="invalid_ok"):
        ResubstitutionThreshold()
    for frac in (0.0, 1.0, "half", [0.5]):
        with pytest.raises(ArgumentError, match="frac"):
            HoldOutThreshold(frac)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="k:"):
        MultiSplit(k=0)


# --- results -------------------------------------------------------------------------------------


def test_results_are_saved_and_shown(tmp_path: Path) -> None:
    members, nonmembers, ids = clustered(8)
    a = audit_scores(members, nonmembers, clusters=ids, cluster_adjust=True, rng=1)
    for result in (a, a.roc, a.roc.bootstrap(n=20, rng=1)):
        result.save(tmp_path / "r")
        assert fm.load(tmp_path / "r").to_dict() == result.to_dict()
        assert len(repr(result).splitlines()) <= 6
    assert "HoldOutThreshold(frac=0.5)" in a.summary()
    assert "correlation" in a.summary()


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
