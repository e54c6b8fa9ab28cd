"""Plots of estimates."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError


@pytest.fixture(scope="module")
def estimate() -> fm.Estimate:
    law = fm.distributions.Normal(3.0, 2.0)
    return fm.importance.expect(
        fm.targets.powers([1, 2, 3]), law, n=10_000, rng=0, names=["x", "x2", "x3"]
    )


def test_estimates_stages_and_correlations(estimate: fm.Estimate) -> None:
    for draw in (
        estimate.plot_estimates,
        lambda: estimate.plot_estimates(truth=[3.0, 13.0, 63.0]),
        estimate.plot_stages,
        estimate.plot_correlation,
    ):
        ax = draw()
        assert ax.get_ylabel() or ax.images
        plt.close(ax.figure)
    _, ax = plt.subplots()
    assert estimate.plot_estimates(ax) is ax
    plt.close(ax.figure)
    with pytest.raises(ArgumentError, match="truth: 2 numbers"):
        estimate.plot_estimates(truth=[1.0, 2.0])
    plain = fm.importance.expect(
        fm.targets.powers(2), fm.distributions.Normal(), n=100, method="mc", rng=0
    )
    with pytest.raises(ArgumentError, match="no stages"):
        plain.plot_stages()
    with pytest.raises(ArgumentError, match="not a full matrix"):
        plain.plot_correlation()
    plt.close("all")


def test_complex_estimates_are_refused() -> None:
    s = fm.Sample.from_arrays(fm.random.Stream(0).normal((100,)))
    e = s.expect(lambda x: np.exp(1j * x))
    for plot in (e.plot_estimates, e.plot_correlation):
        with pytest.raises(ArgumentError, match="give real and imaginary parts"):
            plot()
