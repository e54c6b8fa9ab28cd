"""Pictures of privacy posteriors."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest

import fermiac as fm


@pytest.mark.parametrize("claim", [0.2, 1.0, 2.6, 4.0])
@pytest.mark.parametrize("size", [(6.4, 4.8), (5.5, 5.0)])
def test_the_legend_covers_no_line(claim: float, size: tuple[float, float]) -> None:
    figure, ax = plt.subplots(figsize=size, layout="constrained")
    fm.privacy.epsilon_posterior(400, 100, 100, 400, delta=1e-5).plot(ax, claim=claim)
    figure.draw_without_rendering()
    legend = ax.get_legend().get_window_extent()
    assert len(ax.lines) == 3
    for line in ax.lines:
        assert not legend.overlaps(line.get_window_extent())
    assert ax.get_ylim()[0] == 0
    assert ax.lines[-1].get_label().startswith(f"claim {claim:.3g}: P(")
