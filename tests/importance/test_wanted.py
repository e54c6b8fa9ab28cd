"""The table of wanted figures: shares up to chance, and its lines."""

from __future__ import annotations

from benches.importance.wanted import WITHIN, in_band, of_samplers


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
