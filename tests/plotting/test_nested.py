"""Figures of nested sampling: the run, its trace, the posterior, the live points."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import nested_reference as reference
import numpy as np
import pytest
from nested_help import result_of

from fermiac.errors import ArgumentError
from fermiac.nested import NestedResult

GAUSSIAN = reference.gaussian(3, 0.1)


NAMES = ("alpha", "b_1", "c[2]")


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def run() -> NestedResult:
    return result_of(GAUSSIAN, 1, 100, 10, names=NAMES)


@pytest.fixture(scope="module")
def forbidden() -> NestedResult:
    return result_of(reference.half_forbidden(), 2, 50, 5)


def test_pictures_of_the_run(run: NestedResult, forbidden: NestedResult) -> None:
    axes = run.plot_run(truth=GAUSSIAN.log_evidence)
    assert axes.shape == (4,)
    alive, ell, mass, evidence = axes
    np.testing.assert_array_equal(alive.lines[0].get_ydata(), run.n_alive)
    np.testing.assert_array_equal(ell.lines[0].get_ydata(), run.log_likelihoods)
    # A density of the posterior over -log X.
    x, y = mass.lines[0].get_data()
    assert np.trapezoid(y, x) == pytest.approx(1, abs=0.02)
    assert evidence.lines[0].get_ydata()[-1] == pytest.approx(1)
    assert axes[0].get_title("left") == repr(run).splitlines()[0].removeprefix("NestedResult: ")
    given = plt.subplots(4)[1]
    assert forbidden.plot_run(given)[2] is given[2]
    with pytest.raises(ArgumentError, match="axes: 2 given"):
        run.plot_run(plt.subplots(2)[1])


def test_pictures_of_the_points(run: NestedResult) -> None:
    axes = run.plot_trace()
    assert axes.shape == (3, 2)
    assert [ax.get_ylabel() for ax in axes[:, 0]] == list(NAMES)
    shown = np.asarray(axes[1, 0].collections[0].get_offsets())
    heaviest = int(np.argmax(run.weights))
    np.testing.assert_allclose(shown[-1], [-run.log_x[heaviest], run.draws[heaviest, 1]])
    assert run.plot_trace(columns=["b_1"]).shape == (1, 2)
    with pytest.raises(ArgumentError, match="not a name"):
        run.plot_trace(columns=["none"])
    wide = result_of(reference.gaussian(10, 0.1), 1, 30, 3)
    assert wide.plot_trace().shape == (8, 2)
    with pytest.raises(ArgumentError, match="9 given, of which 8"):
        wide.plot_trace(columns=range(9))


def test_corners(run: NestedResult) -> None:
    axes = run.plot_corner(columns=["c[2]", 0], truths=[0.05, np.nan])
    assert axes.shape == (2, 2)
    assert axes[1, 0].get_xlabel() == "c[2]"
    known = [line for line in axes[1, 0].lines if line.get_color() == "#c0182b"]
    assert [line.get_xdata()[0] for line in known if len(line.get_xdata())] == [0.05]
    lines = [line.get_xdata()[0] for line in axes[1, 1].lines]
    np.testing.assert_array_equal(lines, run.quantile([0.16, 0.5, 0.84])[:, 0])
    assert axes[0, 0].get_title().startswith("$")
    with pytest.raises(ArgumentError, match="3 numbers are needed"):
        run.plot_corner(truths=[0.0])


def test_live_points(run: NestedResult) -> None:
    level = run.log_likelihoods[200]
    axes = run.plot_live(level)
    assert axes.shape == (3, 3)
    n = int(run.n_alive[200])
    assert axes[0, 0].get_title().startswith(f"{n} alive")
    others, alive = axes[1, 0].collections
    assert len(alive.get_offsets()) == n
    assert len(others.get_offsets()) == run.n_draws - n
    assert run.plot_live(level, columns=[1]).shape == (1, 1)
    with pytest.raises(ArgumentError, match="no point was alive"):
        run.plot_live(1.0)
