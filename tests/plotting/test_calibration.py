"""Pictures of simulation-based calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError


def simulate(theta: Any, stream: Any) -> Any:
    return theta + stream.normal(theta.size)


def sample(y: Any, rng: int) -> Any:
    return y / 2 + 0.5**0.5 * fm.random.Stream(rng).normal((99, 2))


RESULT = fm.evaluate.sbc(
    fm.distributions.Normal([0.0, 0.0]), simulate, sample, 200, names=["a", "b"], rng=0
)


def test_distribution_function() -> None:
    ax = RESULT.plot(output=1)
    line = ax.lines[-1]
    at, gap = line.get_data()
    np.testing.assert_allclose(gap[1:-1], RESULT.ecdf()[:, 1] - RESULT.at)
    assert at[0] == gap[0] == gap[-1] == 0.0
    assert "rank of b" in ax.get_xlabel()
    assert "95 % band" in ax.get_legend_handles_labels()[1]


def test_histogram() -> None:
    ax = fm.plotting.plot_calibration(RESULT, kind="histogram")
    bars = list(ax.containers[0])
    counts = np.bincount(RESULT.ranks[:, 0] // 5, minlength=20)
    assert [bar.get_height() for bar in bars] == counts.tolist()
    # The binomial quantiles of 200 ranks in a bin of probability 1/20.
    assert ax.patches[0].get_y() == 4
    assert ax.patches[0].get_y() + ax.patches[0].get_height() == 16


def test_wrong_arguments() -> None:
    for arguments in ({"output": 2}, {"kind": "bars"}, {"ax": 3}):
        with pytest.raises(ArgumentError):
            RESULT.plot(**arguments)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError):
        fm.plotting.plot_calibration(3)  # type: ignore[arg-type]
