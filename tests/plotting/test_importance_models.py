"""Plots of Sobol' indices, of samplers and of levels."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError

UNIT = fm.distributions.Uniform([0.0] * 2, [1.0] * 2)


def test_indices() -> None:
    s = fm.importance.sobol_indices(lambda x: x @ [1.0, 2.0], UNIT, 500, names=["a", "b"], rng=0)
    ax = s.plot_indices(truth=[[0.2, 0.8], [0.2, 0.8]])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b"]
    assert ax.get_ylabel() == "share of the variance"
    assert len(ax.patches) == 4
    _, other = plt.subplots()
    assert s.plot_indices(other) is other
    with pytest.raises(ArgumentError, match=r"truth: .*\(2, 2\) is needed"):
        s.plot_indices(truth=[0.2, 0.8])
    with pytest.raises(ArgumentError, match="output: 1 was given"):
        s.plot_indices(output=1)
    two = fm.importance.sobol_indices(lambda x: x, UNIT, 500, rng=0)
    ax = two.plot_indices(output=1)
    heights = [patch.get_height() for patch in ax.patches]
    np.testing.assert_allclose(heights, [0, 1, 0, 1], atol=1e-6)
    with pytest.raises(ArgumentError, match="SobolIndices is needed"):
        fm.plotting.plot_indices(3)  # type: ignore[arg-type]
    plt.close("all")


def test_samplers() -> None:
    law = fm.distributions.Normal([0.0, 0.0], [1.0, 1.0])
    q = fm.importance.expect(lambda x: x**2, law, n=2000, rng=0).sampler
    assert isinstance(q, fm.importance.Sampler)
    ax = q.plot_sampler()
    assert len(ax.lines) == 1 + len(q.shares)  # points, and a ring for each component
    half = fm.distributions.Product([fm.distributions.Gamma(2.0)] * 2)
    other = fm.importance.expect(lambda x: x**2, half, n=2000, rng=0).sampler
    assert isinstance(other, fm.importance.Sampler)
    assert len(other.plot_sampler().lines) == 1
    with pytest.raises(ArgumentError, match="axes: 2 was given"):
        q.plot_sampler(axes=(0, 2))
    plt.close("all")


def test_levels() -> None:
    def level(l: int, n: int, stream: Any) -> Any:  # noqa: E741
        x, y = stream.normal(n), stream.normal(n)
        return x + 2.0**-l * y, x if l else None

    m = fm.importance.multilevel(level, 0.05, alpha=1.0, rng=0)
    axes = m.plot_multilevel()
    assert [ax.get_xlabel() for ax in axes] == ["level", "level"]
    assert len(axes[1].patches) == len(m.n_paths)
    with pytest.raises(ArgumentError, match="axes"):
        m.plot_multilevel(axes[0])
    with pytest.raises(ArgumentError, match="Multilevel is needed"):
        fm.plotting.plot_multilevel(3)  # type: ignore[arg-type]
    plt.close("all")
