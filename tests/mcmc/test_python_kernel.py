"""Kernels that users write in Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gibbs_help import RHO, Run, conditional, gradient, log_density, z_scores
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError
from fermiac.random import Stream
from fermiac.targets import as_target

mcmc = fm.mcmc


Array = NDArray[np.float64]


TARGET = as_target(log_density, 2, gradient)


class Metropolis:
    """Keeps its target, as a careless user would."""

    def init(self, target: Any, x0: Array) -> Any:
        self.target = target
        return {"x": x0, "value": target(x0[None])[0]}

    def step(self, rng: Stream, state: Any) -> Any:
        y = state["x"] + rng.normal(len(state["x"]))
        value = self.target(y[None])[0]
        if np.log(rng.uniform()) < value - state["value"]:
            state = {"x": y, "value": value}
        return state, None


@pytest.mark.parametrize("blocks", [False, True])
def test_a_kernel_in_python_keeps_the_law(blocks: bool) -> None:
    kernel: Any = Metropolis()
    if blocks:
        kernel = mcmc.Gibbs(
            [("x", kernel), ("y", mcmc.Conditional(conditional(1)))], blocks={"x": 0, "y": 1}
        )
    n = 800
    start = np.random.default_rng(5).multivariate_normal([0, 0], [[1, RHO], [RHO, 1]], size=n)
    draws = Run(kernel, start, TARGET).go(3)[0]
    last = draws[:, -1]
    assert (z_scores(last, 0, 1) < 5).all()
    products = np.stack([last[:, 0] ** 2, last[:, 0] * last[:, 1]], axis=1)
    assert (z_scores(products, [1, RHO], [2**0.5, (1 + RHO**2) ** 0.5]) < 5).all()
    free = Run(kernel, start[:4], TARGET).go(3, driver="free", n_threads=2)[0]
    np.testing.assert_array_equal(free, draws[:4])


def test_bad_kernels_in_python() -> None:
    class Wrong(Metropolis):
        def step(self, rng: Stream, state: Any) -> Any:
            return state

    class Broken(Metropolis):
        def step(self, rng: Stream, state: Any) -> Any:
            raise KeyError("mine")

    class Short(Metropolis):
        def step(self, rng: Stream, state: Any) -> Any:
            return np.zeros(1), None

    with pytest.raises(TargetError, match="pair"):
        mcmc.sample(TARGET, kernel=Wrong(), rng=0)
    with pytest.raises(TargetError, match=r"shape \(1,\)"):
        mcmc.sample(TARGET, kernel=Short(), rng=0)
    with pytest.raises(KeyError, match="mine") as caught:
        mcmc.sample(TARGET, kernel=Broken(), rng=0)
    assert "in chain 0" in caught.value.__notes__[0]
    with pytest.raises(ArgumentError, match="init"):
        mcmc.PythonKernel(3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="init"):
        mcmc.sample(TARGET, kernel=object(), rng=0)  # type: ignore[arg-type]
