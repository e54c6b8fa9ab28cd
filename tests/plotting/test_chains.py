"""Plots of chains: traces, ranks, autocorrelations, energies."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from plot_samples import chains, weighted

import fermiac as fm
from fermiac.errors import ArgumentError


def test_traces() -> None:
    s = chains()
    axes = s.plot_trace()
    assert [ax.get_ylabel() for ax in axes] == ["p0", "p1", "p2"]
    np.testing.assert_array_equal(axes[0].lines[2].get_ydata(), s.draws[2, :, 0])
    assert axes[0].lines[4].get_xdata().tolist() == [10, 20]
    rhat = fm.diagnostics.rhat(s.draws)
    assert [ax.get_title("left").split(",")[0] for ax in axes] == [f"R-hat {r:.3f}" for r in rhat]
    assert [ax.get_ylabel() for ax in s.plot_trace(columns=["p2", 0])] == ["p2", "p0"]
    # Of many coordinates, those with the largest R-hat are drawn.
    many = chains(d=12)
    shown = [ax.get_ylabel() for ax in many.plot_trace()]
    worst = np.sort(np.argsort(-fm.diagnostics.rhat(many.draws))[:8])
    assert shown == [f"p{j}" for j in worst]
    _, given = plt.subplots(3)
    assert s.plot_trace(given)[1] is given[1]


def test_ranks() -> None:
    s = chains()
    axes = s.plot_ranks()
    line = axes[1].lines[0]
    x, y = line.get_data()
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 0)
    # The distribution function of the ranks of a chain, minus the uniform one.
    pooled = np.sort(s.draws[..., 1].ravel())
    middle = np.mean(s.draws[0, :, 1] <= pooled[599]) - 0.5
    assert np.interp(0.5, x, y) == pytest.approx(middle, abs=2 / 300)
    assert middle < -0.2
    out = [
        max(abs(line.get_ydata()).max() for line in ax.lines) > ax.patches[0].get_height() / 2
        for ax in axes
    ]
    assert out == [False, True, False]
    with pytest.raises(ArgumentError, match="ranks compare two chains"):
        fm.Sample.from_arrays(s.draws[:1]).plot_ranks()


def test_autocorrelations() -> None:
    s = chains(n=2000)
    axes = s.plot_autocorrelation(max_lag=5)
    mean = axes[0].lines[-1].get_ydata()
    np.testing.assert_allclose(mean, 0.6 ** np.arange(6), atol=0.1)
    x = s.draws[1, :, 2] - s.draws[1, :, 2].mean()
    own = axes[2].lines[2].get_ydata()
    assert own[3] == pytest.approx(np.sum(x[3:] * x[:-3]) / np.sum(x * x), abs=1e-12)
    still = fm.Sample.from_arrays(np.repeat(np.arange(4.0)[:, None, None], 50, axis=1))
    assert (still.plot_autocorrelation()[0].lines[1].get_ydata() == 1).all()
    with pytest.raises(ArgumentError, match="max_lag"):
        s.plot_autocorrelation(max_lag=2000)


def test_the_times_of_walkers_are_those_of_the_table() -> None:
    draws = np.cumsum(fm.random.Stream(3).normal((6, 2000, 2)), axis=1) * 0.02
    s = replace(fm.Sample.from_arrays(np.sin(draws)), settings={"ensemble": True})
    table = str(s.summary()).splitlines()
    assert table[1].split()[-1] == "tau"
    shown = [float(line.split()[-1]) for line in table[2:4]]
    titles = [ax.get_title(loc="left") for ax in s.plot_autocorrelation()]
    times = [float(title.split("time ")[1]) for title in titles]
    np.testing.assert_allclose(times, shown, rtol=5e-3)


def test_energies() -> None:
    s = chains()
    ax = s.plot_energy()
    shown = ", ".join(f"{b:.2f}" for b in fm.diagnostics.bfmi(s.stats["energy"]))
    assert ax.get_title("left") == f"E-BFMI {shown}"
    blocks = replace(s, stats={f"{b}.energy": s.stats["energy"] for b in "xy"})
    assert blocks.plot_energy(block="y").get_xlabel() == "energy"
    with pytest.raises(ArgumentError, match="block: None given; of the blocks, 'x', 'y' have"):
        blocks.plot_energy()
    with pytest.raises(ArgumentError, match="of the blocks, none have energies"):
        replace(s, stats={}).plot_energy()
    with pytest.raises(ArgumentError, match="not all finite"):
        replace(s, stats={"energy": np.full((4, 300), np.nan)}).plot_energy()


def test_chains_that_cannot_be_drawn_are_refused() -> None:
    s = chains()
    for columns, message in [
        ("p0", "a sequence of positions or names"),
        ([], "a sequence of positions or names"),
        (["q"], "'q' given, which is not a name"),
        ([3], "columns"),
        ([0, "p0"], "comes twice"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            s.plot_trace(columns=columns)
    for other in (weighted(), fm.Sample.from_arrays(np.zeros((2, 3, 1)))):
        with pytest.raises(ArgumentError, match="chains of 4 draws at least are needed"):
            other.plot_autocorrelation()
    _, given = plt.subplots(2)
    with pytest.raises(ArgumentError, match="axes: 2 given for 3 coordinates"):
        s.plot_ranks(given)
