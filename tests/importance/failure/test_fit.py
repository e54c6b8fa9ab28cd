"""Fits of proposals: shares that cover the failure points."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import fermiac as fm
from fermiac.importance.failure.fit import best_proposal, candidates
from fermiac.importance.failure.proposal import Axis, Proposal, Slab


def test_shares_choose_what_covers_the_failure_points() -> None:
    q = Proposal(2, 0.0, np.ones(1), (Slab(np.eye(2)[:, :1], [Axis("tail", 4.0)]),))
    u = q.sample(2000, rng=0)
    measure = np.full(len(u), stats.norm.sf(4) / len(u))
    some, heavy = candidates(u[::2], measure[::2], [(np.eye(2)[0], 4.0)], fm.random.Stream(0))
    fitted, second = best_proposal(
        2, u[1::2], 2 * measure[1::2], np.ones((1000, 1), bool), some, heavy
    )
    # Nearly all of the weight is constant: 1 is the best there is.
    assert 1 < second < 1.35
    assert fitted.base >= 0.05
    assert fitted.base + fitted.shares.sum() == pytest.approx(1)
