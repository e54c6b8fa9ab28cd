"""Jumps of a log-density, which no step size can follow."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ConvergenceWarning
from fermiac.mcmc.jumps import share_with_jumps
from fermiac.random import Stream
from fermiac.targets import as_target

Array = NDArray[np.float64]


def stepped(dim: int, height: float) -> fm.targets.LogDensity:
    """A normal law with a jump of its log-density where the first coordinate changes its sign."""
    return as_target(
        lambda x: -0.5 * (x**2).sum(axis=1) - height * (x[:, 0] > 0), dim, gradient=lambda x: -x
    )


@pytest.mark.parametrize("height", [1.0, 10.0, 30.0])
def test_a_jump_is_seen(height: float) -> None:
    assert share_with_jumps(stepped(10, height), Stream(1).normal((500, 10)), 2) > 0.25


@pytest.mark.parametrize("condition", [1.0, 1e4, 1e8, 1e12])
def test_correlated_normal_laws_have_no_jumps(condition: float) -> None:
    dim, stream = 20, Stream(3)
    q = np.linalg.qr(stream.normal((dim, dim)))[0]
    variances = np.logspace(0, 1, dim, base=condition) / condition
    precision = (q / variances) @ q.T
    target = as_target(
        lambda x: -0.5 * ((x @ precision) * x).sum(axis=1), dim, gradient=lambda x: -x @ precision
    )
    draws = (stream.normal((500, dim)) * np.sqrt(variances)) @ q.T
    assert share_with_jumps(target, draws, 4) == 0


def test_kinks_and_narrow_necks_are_no_jumps() -> None:
    stream = Stream(5)
    laplace = as_target(lambda x: -np.abs(x).sum(axis=1), 10, gradient=lambda x: -np.sign(x))
    draws = np.log(stream.uniform((500, 10))) * np.sign(stream.normal((500, 10)))
    assert share_with_jumps(laplace, draws, 6) == 0

    def bent(x: Array) -> tuple[Array, Array]:
        off = x[:, 1] - x[:, 0] ** 2
        slope = np.column_stack([-(x[:, 0] - 1) / 10 + 20 * x[:, 0] * off, -10 * off])
        return -((x[:, 0] - 1) ** 2) / 20 - 5 * off**2, slope

    first = 1 + np.sqrt(10) * stream.normal(500)
    draws = np.column_stack([first, first**2 + np.sqrt(0.1) * stream.normal(500)])
    assert share_with_jumps(as_target(bent, 2, gradient=True), draws, 7) == 0


def test_a_run_at_the_largest_depth_says_that_the_density_jumps() -> None:
    with pytest.warns(ConvergenceWarning, match="did not fall with the step size"):
        s = fm.mcmc.sample(stepped(10, 10.0), n_warmup=200, n_draws=100, rng=0)
    assert s.stats["reached_max_depth"].mean() > 0.5


def test_a_narrow_target_at_the_largest_depth_has_no_jumps() -> None:
    kernel = fm.mcmc.NUTS(max_depth=3, metric="unit")
    scales = np.geomspace(1, 30, 30)
    target = as_target(
        lambda x: -0.5 * ((x / scales) ** 2).sum(axis=1), 30, gradient=lambda x: -x / scales**2
    )
    with pytest.warns(ConvergenceWarning) as caught:
        s = fm.mcmc.sample(target, kernel=kernel, n_warmup=200, n_draws=2000, rng=0)
    assert s.stats["reached_max_depth"].mean() > 0.1
    assert not any("did not fall" in str(w.message) for w in caught)
