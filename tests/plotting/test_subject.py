"""Plots refuse what they cannot draw, and axes that are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError

pytest.importorskip("matplotlib")
SAMPLE = fm.Sample.from_arrays(fm.random.Stream(0).normal((4, 200, 2)))
ESTIMATE = fm.importance.expect(lambda x: x**2, fm.distributions.Normal(), n=500, rng=0)
CURVE = fm.privacy.roc([3, 5, 6, 8], [1, 2, 4, 7])

OF_RESULTS = (
    "autocorrelation convergence corner correlation energy estimates live marginals nested_trace "
    "optimum pairs posterior ranks region roc run stages trace visits weights levels"
).split()


@pytest.mark.parametrize("name", OF_RESULTS)
@pytest.mark.parametrize("value", [None, 3, np.ones((3, 2)), type(SAMPLE)])
def test_other_objects_are_refused(name: str, value: Any) -> None:
    more = {"level": 0.0} if name == "live" else {}
    with pytest.raises(ArgumentError, match=r"given; a fermiac\."):
        getattr(fm.plotting, f"plot_{name}")(value, **more)


@pytest.mark.parametrize("ax", [3, "axes", np.ones(2), object()])
def test_axes_are_of_matplotlib(ax: Any) -> None:
    with pytest.raises(ArgumentError, match="ax: "):
        ESTIMATE.plot_estimates(ax)
    with pytest.raises(ArgumentError, match="ax: "):
        CURVE.plot(ax=ax)
    with pytest.raises(ArgumentError, match="axes: "):
        SAMPLE.plot_marginals([ax, ax])
    with pytest.raises(ArgumentError, match="axes: "):
        SAMPLE.plot_pairs([[ax, ax], [ax, ax]])


@pytest.mark.parametrize("value", ["x", [1], 1j, np.nan])
def test_numbers_are_checked(value: Any) -> None:
    with pytest.raises(ArgumentError, match="threshold: "):
        CURVE.plot(threshold=value)
    with pytest.raises(ArgumentError, match="epsilon: "):
        CURVE.plot(epsilon=value)
    with pytest.raises(ArgumentError, match="delta: "):
        CURVE.plot(epsilon=1.0, delta=value)


@pytest.mark.parametrize("columns", [0, np.array(1.0), "x", [[0], [1]]])
def test_columns_are_a_flat_sequence(columns: Any) -> None:
    with pytest.raises(ArgumentError, match="columns: "):
        SAMPLE.plot_trace(columns=columns)
    with pytest.raises(ArgumentError, match="columns: "):
        fm.plotting.plot_trajectory(np.zeros((3, 2, 2)), columns=columns)
