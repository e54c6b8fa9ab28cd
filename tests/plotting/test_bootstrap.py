"""Pictures of resampled statistics."""

from __future__ import annotations

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError

X = np.asarray(fm.random.Stream(1).exponential((30, 2)))


def test_the_ends_are_drawn() -> None:
    r = fm.resample.bootstrap(X, "mean", n_resamples=200, rng=0)
    ax = r.plot(output=1)
    drawn = [float(line.get_xdata()[0]) for line in ax.lines]
    assert drawn == [np.asarray(c)[1] for c in (r.estimate, r.lower, r.upper)]
    assert len(ax.patches) == 60


def test_exact_results_have_no_histogram() -> None:
    ax = fm.plotting.plot_bootstrap(fm.resample.bootstrap(X[:, 0], "median", rng=0))
    assert not ax.patches
    assert len(ax.lines) == 3


def test_wrong_arguments() -> None:
    r = fm.resample.bootstrap(X, "mean", n_resamples=20, rng=0)
    with pytest.raises(ArgumentError):
        r.plot(output=2)
    with pytest.raises(ArgumentError):
        fm.plotting.plot_bootstrap(3)  # type: ignore[arg-type]
