"""The plan of the final sample."""

from __future__ import annotations

from fermiac.importance.failure import final


def test_replicates_use_what_is_left() -> None:
    for n in (4096, 5000, 12_345, 10**6):
        made = final.plan(n, False)
        assert 8 <= made.n_replicates <= 15
        assert 8 / 9 * n <= made.n <= n
    small = final.plan(1000, False)
    assert 16 <= small.n_replicates <= 31
    assert len(final.plan(10**9, True).powers) <= 12
