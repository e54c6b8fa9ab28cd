"""Score calls in the background."""

from __future__ import annotations

import numpy as np
from score_forms import exact

import fermiac as fm


def test_handles() -> None:
    run = fm.score.start("sample", exact(), 50, sigma_range=(0.1, 10.0), rng=0)
    np.testing.assert_array_equal(
        run.result(), fm.score.sample(exact(), 50, sigma_range=(0.1, 10.0), rng=0).draws
    )
