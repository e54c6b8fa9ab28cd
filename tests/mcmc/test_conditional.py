"""Exact draws of blocks by users' functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError

mcmc = fm.mcmc


of = mcmc.conditionals


Array = NDArray[np.float64]


def test_bad_draws_are_told() -> None:
    def run(draw: Any) -> None:
        mcmc.sample(None, 2, kernel=mcmc.Conditional(draw), n_draws=2, n_warmup=0, rng=0)

    with pytest.raises(TargetError, match=r"shape \(4,\)"):
        run(lambda x, rng: rng.normal())
    with pytest.raises(TargetError, match="finite"):
        run(lambda x, rng: np.full((4, 2), np.nan))
    with pytest.raises(TargetError, match="real numbers"):
        run(lambda x, rng: np.full((4, 2), 1j))
    with pytest.raises(ArgumentError, match="draw"):
        mcmc.Conditional(3)  # type: ignore[arg-type]
    with pytest.raises(TargetError, match="tuple"):
        mcmc.sample(None, 1, kernel=of.Normal(lambda x: 0.0), n_draws=1, rng=0)

    class OddError(Exception):
        pass

    def odd(x: Array, rng: Any) -> Any:
        rng.normal()
        raise OddError("mine")

    with pytest.raises(OddError, match="mine") as caught:
        run(odd)
    assert "conditional draw" in caught.value.__notes__[0]
