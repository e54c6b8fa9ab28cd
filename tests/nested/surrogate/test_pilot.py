"""Test of the genetic search before the pilot."""

from __future__ import annotations

from nested_surrogates import EXACT, WIDTH, Counted, gaussian, sampled


def test_genetic_points_do_not_shift_the_evidence() -> None:
    f = Counted(gaussian)
    r = sampled(f, n_live=150, init="genetic")
    s = r.surrogate
    assert s.n_genetic > 0
    assert f.n == s.n_true
    assert abs(r.log_evidence - EXACT) < 5 * r.log_evidence_stderr
    e = r.expect(lambda x: x[:, 0] ** 2)
    assert abs(e.mean - WIDTH**2) < 5 * e.stderr
