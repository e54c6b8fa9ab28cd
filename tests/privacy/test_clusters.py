"""Scores of several examples in one model: correlation, design effects, splits."""

from __future__ import annotations

import numpy as np
import pytest
from attacks import clustered
from scipy import stats

from fermiac.errors import ClusterWarning
from fermiac.privacy import (
    ResubstitutionThreshold,
    SimultaneousBand,
    audit_scores,
)


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
    for strategy in (SimultaneousBand(), ResubstitutionThreshold(True)):
        a = audit_scores(members, nonmembers, threshold=strategy, clusters=ids, cluster_adjust=True)
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
