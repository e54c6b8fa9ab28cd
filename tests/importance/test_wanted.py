"""The table of wanted figures: shares up to chance, and its lines."""

from __future__ import annotations

from benches.importance.options import PAYOFFS, level
from benches.importance.wanted import (
    HEAD,
    WITHIN,
    in_band,
    joined,
    judged,
    least_cost,
    of_samplers,
)

import fermiac as fm


def test_shares_are_judged_up_to_chance() -> None:
    assert in_band(0.90, WITHIN, 1000)
    assert not in_band(0.85, WITHIN, 1000)
    assert in_band(0.85, WITHIN, 50)
    assert not in_band(0.80, WITHIN, 50)
    assert in_band(1.0, WITHIN, 50)
    assert not in_band(1.0, (0.5, 0.9), 1000)


def test_trained_samplers_are_densities_and_serve_again() -> None:
    lines = list(of_samplers(range(1000, 1004)))
    assert len(lines) == 8
    assert all(line.right for line in lines), "\n".join(map(str, lines))
    assert str(lines[0]).startswith("| C | integral of the density of a sampler of `expect` |")


def test_lines_of_several_runs_are_joined() -> None:
    page = [*HEAD, "| A | one | x | 1 | 2 | NO |", "| B | two | x | 1 | 3 | yes |", "", "1 of 2"]
    lines = joined(page, ["| A | one | x | 9 | 4 | yes |", "| A | new | x | 9 | 5 | – |"])
    assert [line.split("|")[5].strip() for line in lines] == ["4", "5", "3"]
    assert judged(lines) == "2 of 2 figures are right."


def test_the_least_cost_is_that_of_the_levels() -> None:
    f = level(PAYOFFS["european"], milstein=True)
    m = fm.importance.multilevel(f, 0.1, n_start=200, rng=0)
    assert 0.95 < m.cost / least_cost(m, 0.1) < 1.3
