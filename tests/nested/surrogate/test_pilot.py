"""Tests of the genetic search before the pilot."""

from __future__ import annotations

import numpy as np
import pytest
from nested_surrogates import BOX, DIM, EXACT, WIDTH, Counted, gaussian, sampled

import fermiac as fm
from fermiac.nested.surrogate.pilot import Search


@pytest.mark.parametrize("use", ["training", "audit", "mixture"])
def test_genetic_points_do_not_shift_the_evidence(use: str) -> None:
    f = Counted(gaussian)
    r = sampled(f, n_live=150, init="genetic", init_use=use)
    s = r.surrogate
    assert s.n_genetic > 0
    assert f.n == s.n_true
    assert abs(r.log_evidence - EXACT) < 5 * r.log_evidence_stderr
    e = r.expect(lambda x: x[:, 0] ** 2)
    assert abs(e.mean - WIDTH**2) < 5 * e.stderr
    assert not any("mode was missed" in w for w in r.warnings)


def test_a_missed_mode_is_told() -> None:
    r = fm.nested.sample(gaussian, BOX, n_live=50, rng=0, progress=False)
    far, near = np.full(DIM, 0.9), np.full(DIM, 3 / 8)
    for top, best, missed in ((5.0, near, True), (-0.1, far, True), (-0.1, near, False)):
        found = Search(elite=best[None], best=best, top=top).findings(r)
        assert bool(found) is missed
