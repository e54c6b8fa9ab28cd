"""Plots of samples: marginals, pairs, weights."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from plot_samples import chains, weighted

import fermiac as fm
from fermiac.errors import ArgumentError


def test_marginals_are_weighted_histograms() -> None:
    s = weighted()
    axes = s.plot_marginals()
    assert axes.shape == (3,)
    assert [ax.get_xlabel() for ax in axes] == ["p0", "p1", "p2"]
    heights, edges, _ = axes[0].patches[-1].get_data()
    # The density has mass one except for the outermost 0.1 %.
    mass = np.sum(heights * np.diff(edges))
    assert 0.998 <= mass <= 1
    # The variance is that of the weighted points.
    centres = (edges[1:] + edges[:-1]) / 2
    assert 0.85 < np.sum(heights * np.diff(edges) * centres**2) < 1.1
    assert axes[0].lines[0].get_xdata()[0] == s.quantile(0.5)[0]
    _, given = plt.subplots(3)
    assert s.plot_marginals(given)[1] is given[1]
    assert weighted(d=5).plot_marginals().shape == (5,)
    constant = fm.Sample.from_arrays(np.full(10, 3.0))
    assert constant.plot_marginals()[0].get_xlim()[0] < 3


def test_pairs() -> None:
    axes = weighted().plot_pairs()
    assert axes.shape == (3, 3)
    assert [ax.get_xlabel() for ax in axes[2]] == ["p0", "p1", "p2"]
    assert not axes[0, 2].axison
    assert axes[2, 0].collections
    assert weighted(d=1).plot_pairs().shape == (1, 1)


def test_the_tail_of_the_weights() -> None:
    s = weighted(d=1)
    ax = s.plot_weights()
    _, labels = ax.get_legend_handles_labels()
    assert any(f"k-hat {s.khat:.2f}" in label for label in labels)
    # For a Pareto tail of shape 1/2 the fitted line ends with the slope -2.
    uniform = fm.random.Stream(1).uniform((20_000,))
    heavy = fm.Sample.from_arrays(np.zeros(20_000), -0.5 * np.log(uniform))
    line = heavy.plot_weights().lines[-1]
    x, y = np.log(line.get_xdata()), np.log(line.get_ydata())
    assert (y[-1] - y[-20]) / (x[-1] - x[-20]) == pytest.approx(-2, abs=0.4)
    even = fm.Sample.from_arrays(np.zeros(100), np.zeros(100))
    assert even.plot_weights().get_ylabel() == "share of points above"


def test_divergences_in_pairs() -> None:
    s = chains()
    axes = s.plot_pairs()
    np.testing.assert_array_equal(axes[2, 0].lines[0].get_xydata(), s.draws[2, [10, 20]][:, [0, 2]])
    two = s.plot_pairs(columns=["p2", "p1"])
    assert [ax.get_xlabel() for ax in two[1]] == ["p2", "p1"]
    np.testing.assert_array_equal(two[1, 0].lines[0].get_xydata(), s.draws[2, [10, 20]][:, [2, 1]])


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ArgumentError, match="201 coordinates given, of which 200"):
        weighted(d=201, n=100).plot_marginals()
    with pytest.raises(ArgumentError, match=r"41 coordinates given, of which 40 .* by var_names="):
        weighted(d=41, n=100).plot_pairs()
    with pytest.raises(ArgumentError, match="columns: 3 given; a sequence"):
        weighted(d=9, n=100).plot_pairs(columns=3)  # type: ignore[arg-type]
    _, given = plt.subplots(2)
    with pytest.raises(ArgumentError, match="axes: 2 given for 3 coordinates"):
        weighted().plot_marginals(given)
    with pytest.raises(ArgumentError, match="axes: 2 given for 3 x 3"):
        weighted().plot_pairs(given)
    with pytest.raises(ArgumentError, match="no weights"):
        fm.Sample.from_arrays([1.0, 2.0]).plot_weights()
