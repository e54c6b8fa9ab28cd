"""Walks that are made longer: the same bits as those of one walk."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from walk_runs import BARBELL, BELOW, KERNELS, named, same, walk

import fermiac as fm
from fermiac.errors import ArgumentError

# These walks are about the estimators and the machinery, on histories as young as they are.
pytestmark = [
    pytest.mark.filterwarnings("ignore:the histories of the walkers had not settled"),
    pytest.mark.filterwarnings("ignore:the history is still noisy"),
]


@pytest.mark.parametrize("record", ["visits", "path"])
@pytest.mark.parametrize("how", KERNELS, ids=named)
def test_a_longer_walk_is_one_walk(how: dict[str, Any], record: str) -> None:
    how = {**how, "record": record, "n_walkers": 19, "burn_in": 60}
    how |= {"thin": 3} if record == "path" else {}
    whole = walk(BARBELL, n_steps=500, **how)
    part = walk(BARBELL, n_steps=97, **how)
    longer = fm.walks.extend(fm.walks.extend(part, 203), 200)
    same(whole, longer)
    assert longer.n_steps == 500
    np.testing.assert_array_equal(longer.positions, whole.positions)
    # What was extended is as it was.
    same(part, walk(BARBELL, n_steps=97, **how))
    same(fm.walks.extend(part, 403), whole)
    prior = {"include_prior": True}
    if record == "visits" and whole.n_replicas > 1 and whole.exact_target:
        assert whole.expect(BELOW, **prior).cov == longer.expect(BELOW, **prior).cov


def test_sums_of_a_longer_walk() -> None:
    how = {"record": "none", "f": BELOW, "n_walkers": 20}
    part = walk(n_steps=150, **how)
    longer = fm.walks.extend(part, 350)
    assert longer.expect().mean == pytest.approx(walk(n_steps=500, **how).expect().mean, rel=1e-13)


def test_what_cannot_be_extended() -> None:
    for w in (walk(plan=fm.Plan(part=(0, 1))), walk().merge(walk(rng=2)), None):
        with pytest.raises(ArgumentError, match="cannot be continued"):
            fm.walks.extend(w, 10)
    with pytest.raises(ArgumentError, match="n_steps: 0"):
        fm.walks.extend(walk(), 0)
