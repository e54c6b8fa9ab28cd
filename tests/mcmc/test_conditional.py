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


class Odd:
    """No array at all."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("no numbers")


def test_tensors_are_draws_and_parameters() -> None:
    torch = pytest.importorskip("torch")

    def run(kernel: Any) -> Array:
        s = mcmc.sample(None, 1, kernel=kernel, n_chains=50, n_draws=20, n_warmup=0, rng=0)
        return s.draws

    def draw(x: Array, rng: Any) -> Any:
        return rng.normal(0.5 * x[:, 0], 1.0)

    plain = run(mcmc.Conditional(draw))
    for change in (torch.as_tensor, lambda y: torch.as_tensor(y)[:, None].requires_grad_()):
        kernel = mcmc.Conditional(lambda x, rng, change=change: change(draw(x, rng)))
        np.testing.assert_array_equal(run(kernel), plain)
    half = mcmc.Conditional(lambda x, rng: torch.as_tensor(draw(x, rng)).bfloat16())
    assert np.abs(run(half) - plain).max() < 0.2
    law = of.Normal(lambda x: (0.5 * torch.as_tensor(x[:, 0]).requires_grad_(), torch.ones(len(x))))
    np.testing.assert_array_equal(run(law), plain)
    with pytest.raises(TargetError, match="must be real"):
        run(mcmc.Conditional(lambda x, rng: torch.zeros((50, 1), dtype=torch.complex64)))


def test_bad_draws_are_told() -> None:
    def run(draw: Any) -> None:
        mcmc.sample(None, 2, kernel=mcmc.Conditional(draw), n_draws=2, n_warmup=0, rng=0)

    with pytest.raises(TargetError, match=r"shape \(4,\)"):
        run(lambda x, rng: rng.normal())
    with pytest.raises(TargetError, match="finite"):
        run(lambda x, rng: np.full((4, 2), np.nan))
    with pytest.raises(TargetError, match="must be real"):
        run(lambda x, rng: np.full((4, 2), 1j))
    with pytest.raises(ArgumentError, match="draw"):
        mcmc.Conditional(3)  # type: ignore[arg-type]
    with pytest.raises(TargetError, match="tuple"):
        mcmc.sample(None, 1, kernel=of.Normal(lambda x: 0.0), n_draws=1, rng=0)

    with pytest.raises(TargetError, match="take as an array"):
        run(lambda x, rng: Odd())

    class OddError(Exception):
        pass

    def odd(x: Array, rng: Any) -> Any:
        rng.normal()
        raise OddError("mine")

    with pytest.raises(OddError, match="mine") as caught:
        run(odd)
    assert "conditional draw" in caught.value.__notes__[0]
