"""Tests of the allocation of points of dynamic runs."""

from __future__ import annotations

from typing import Any

import nested_reference as reference
import numpy as np
import pytest

from fermiac.errors import ArgumentError
from fermiac.nested import Dynamic
from fermiac.nested.allocation import Volumes, joined, seeds_above


def test_importance_by_hand() -> None:
    points = reference.perfect_run(reference.gaussian(3, 0.1), 50, 5, 0)
    points["run_draws"] = points["unit_draws"] = points["draws"]
    volumes = Volumes(points)
    p = volumes.importance(1.0)
    z = volumes.importance(0.0)
    assert p.sum() == pytest.approx(1)
    assert z.sum() == pytest.approx(1)
    np.testing.assert_allclose(volumes.importance(0.3), 0.3 * p + 0.7 * z)
    # By the definition: the evidence from a point on, over the live points there.
    ell = np.sort(points["log_likelihoods"])
    n_alive = [np.sum(points["births"] < level) - i for i, level in enumerate(ell)]
    by_hand = np.array([p[i:].sum() / n_alive[i] for i in range(len(p))])
    np.testing.assert_allclose(z, by_hand / by_hand.sum(), rtol=1e-9)
    low, high = volumes.between(1.0, 10, points["births"])
    inside = (ell > low) & (ell < high)
    assert np.all(p[~inside] <= 0.8 * p.max())
    assert low == ell[np.flatnonzero(p > 0.8 * p.max())[0] - 1]
    assert volumes.between(0.0, 10, points["births"])[0] == -np.inf
    # Many are needed: lower, down to the prior.
    assert volumes.between(1.0, 10**6, points["births"])[0] == -np.inf
    seeds = seeds_above(points, low, volumes)
    assert len(seeds["run_draws"]) == len(seeds["log_likelihoods"]) >= 45
    assert np.all(np.diff(seeds["log_likelihoods"]) > 0)
    assert seeds["log_likelihoods"][0] > low
    assert -20 < seeds["log_x"] < -1


def test_joined_families() -> None:
    first = {"lineages": np.array([0, 1]), "families": np.array([0, 1])}
    # One from the bound, one from the seed of family 1.
    more = {"lineages": np.array([0, 1]), "families": np.array([0, 1 + (1 << 40)])}
    both = joined(first, more)
    assert both["lineages"].tolist() == [0, 1, 2, 3]
    assert both["families"].tolist() == [0, 1, 2, 1]
    assert joined(None, first) is first


@pytest.mark.parametrize(
    "given",
    [
        {"posterior_share": 1.5},
        {"posterior_share": float("nan")},
        {"target_ess": 0},
        {"target_stderr": -1},
        {"n_batch": 0},
        {"max_batches": -1},
        {"explore_every": 0},
    ],
)
def test_settings_are_checked(given: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(given))):
        Dynamic(**given)
