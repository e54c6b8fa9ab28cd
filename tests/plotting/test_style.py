"""Axes, panels and tick labels of plots; plots without matplotlib."""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.plotting import style


def test_given_axes_are_returned() -> None:
    _, ax = plt.subplots()
    assert style.new_axes(ax) is ax
    assert style.new_axes(None) is not ax
    _, grid = plt.subplots(2, 2)
    assert list(style.panels(4, grid)) == list(grid.ravel())


@pytest.mark.parametrize(("n", "rows", "columns"), [(1, 1, 1), (4, 1, 4), (5, 2, 3), (9, 3, 3)])
def test_panels_of_a_new_figure(n: int, rows: int, columns: int) -> None:
    out = style.panels(n, None)
    assert out.shape == (n,)
    figure = out[0].figure
    assert len(figure.axes) == n
    assert out[0].get_gridspec().get_geometry() == (rows, columns)


def test_another_number_of_axes_is_refused() -> None:
    _, given = plt.subplots(2)
    with pytest.raises(ArgumentError, match="axes: 2 given for 3 coordinates"):
        style.panels(3, given)


def test_ticks_have_the_names_if_there_is_room() -> None:
    _, ax = plt.subplots()
    style.tick_labels(ax, ("a", "b"), "y")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    style.tick_labels(ax, tuple(f"x[{j}]" for j in range(10)))
    assert {label.get_rotation() for label in ax.get_xticklabels()} == {60.0}
    before = list(ax.get_xticks())
    style.tick_labels(ax, tuple(map(str, range(41))))
    assert list(ax.get_xticks()) == before


def test_without_matplotlib_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install 'fermiac\[plot\]'"):
        fm.Sample.from_arrays(np.zeros(3)).plot_marginals()
