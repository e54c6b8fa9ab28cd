"""Pictures of samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def weighted(d: int = 3, n: int = 4000) -> fm.Sample:
    """N(0, 1) from N(0, 1.5²)."""
    x = 1.5 * fm.random.Stream(0).normal((n, d))
    log_weights = np.sum((x / 1.5) ** 2 - x**2, axis=1) / 2
    return fm.Sample.from_arrays(x, log_weights, names=[f"p{j}" for j in range(d)])


def test_marginals_are_weighted_histograms() -> None:
    s = weighted()
    axes = s.plot_marginals()
    assert axes.shape == (3,)
    assert [ax.get_xlabel() for ax in axes] == ["p0", "p1", "p2"]
    heights, edges, _ = axes[0].patches[-1].get_data()
    # A density, of mass one but for the outermost 0.1 %.
    mass = np.sum(heights * np.diff(edges))
    assert 0.998 <= mass <= 1
    # The weighted variance, not that of the points.
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
    # A Pareto tail of shape 1/2: the fitted line has its slope, -2, far out.
    uniform = fm.random.Stream(1).uniform((20_000,))
    heavy = fm.Sample.from_arrays(np.zeros(20_000), -0.5 * np.log(uniform))
    line = heavy.plot_weights().lines[-1]
    x, y = np.log(line.get_xdata()), np.log(line.get_ydata())
    assert (y[-1] - y[-20]) / (x[-1] - x[-20]) == pytest.approx(-2, abs=0.4)
    even = fm.Sample.from_arrays(np.zeros(100), np.zeros(100))
    assert even.plot_weights().get_ylabel() == "share of points above"


def chains(d: int = 3, n: int = 300) -> fm.Sample:
    """Four chains of correlations 0.6^t; the first is apart in the second coordinate."""
    x = fm.random.Stream(0).normal((4, n, d))
    x[:, 1:] *= 0.8
    for t in range(1, n):
        x[:, t] += 0.6 * x[:, t - 1]
    x[0, :, 1] += 2
    flags = np.zeros((4, n), bool)
    flags[2, [10, 20]] = True
    s = fm.Sample.from_arrays(x, names=[f"p{j}" for j in range(d)])
    return replace(s, stats={"energy": (x**2).sum(axis=2), "diverging": flags})


def test_traces() -> None:
    s = chains()
    axes = s.plot_trace()
    assert [ax.get_ylabel() for ax in axes] == ["p0", "p1", "p2"]
    np.testing.assert_array_equal(axes[0].lines[2].get_ydata(), s.draws[2, :, 0])
    assert axes[0].lines[4].get_xdata().tolist() == [10, 20]
    rhat = fm.diagnostics.rhat(s.draws)
    assert [ax.get_title("left").split(",")[0] for ax in axes] == [f"R-hat {r:.3f}" for r in rhat]
    assert [ax.get_ylabel() for ax in s.plot_trace(columns=["p2", 0])] == ["p2", "p0"]
    # Of many, those of the largest R-hat.
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
    # The distribution function of a chain among all draws, less the uniform one.
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


def test_divergences_in_pairs() -> None:
    s = chains()
    axes = s.plot_pairs()
    np.testing.assert_array_equal(axes[2, 0].lines[0].get_xydata(), s.draws[2, [10, 20]][:, [0, 2]])
    two = s.plot_pairs(columns=["p2", "p1"])
    assert [ax.get_xlabel() for ax in two[1]] == ["p2", "p1"]
    np.testing.assert_array_equal(two[1, 0].lines[0].get_xydata(), s.draws[2, [10, 20]][:, [2, 1]])


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


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ArgumentError, match="37 coordinates given, of which 36"):
        weighted(d=37, n=100).plot_marginals()
    with pytest.raises(ArgumentError, match=r"9 coordinates given, of which 8 .* by columns="):
        weighted(d=9, n=100).plot_pairs()
    with pytest.raises(ArgumentError, match="columns: 3 given; a sequence"):
        weighted(d=9, n=100).plot_pairs(columns=3)  # type: ignore[arg-type]
    _, given = plt.subplots(2)
    with pytest.raises(ArgumentError, match="axes: 2 given for 3 coordinates"):
        weighted().plot_marginals(given)
    with pytest.raises(ArgumentError, match="axes: 2 given for 3 x 3"):
        weighted().plot_pairs(given)
    with pytest.raises(ArgumentError, match="no weights"):
        fm.Sample.from_arrays([1.0, 2.0]).plot_weights()


def test_complex_estimates_are_refused() -> None:
    s = fm.Sample.from_arrays(fm.random.Stream(0).normal((100,)))
    e = s.expect(lambda x: np.exp(1j * x))
    for plot in (e.plot_estimates, e.plot_correlation):
        with pytest.raises(ArgumentError, match="give real and imaginary parts"):
            plot()
