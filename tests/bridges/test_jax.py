"""Log-densities in JAX."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError, FermiacWarning, TargetError

jax.config.update("jax_enable_x64", True)


def banana(x: Any) -> Any:
    return -0.5 * x[0] ** 2 - 5 * (x[1] - x[0] ** 2) ** 2


@pytest.mark.parametrize("n", [0, 1, 3, 8, 5000])
def test_batches_of_all_sizes(n: int) -> None:
    f = fm.targets.from_jax(banana, 2)
    x = np.random.default_rng(n).normal(size=(n, 2))
    values, slopes = f.log_density_and_gradient(x)
    gap = x[:, 1] - x[:, 0] ** 2
    np.testing.assert_allclose(values, -0.5 * x[:, 0] ** 2 - 5 * gap**2, rtol=1e-12)
    np.testing.assert_allclose(slopes[:, 1], -10 * gap, rtol=1e-12)
    np.testing.assert_allclose(f.log_density(x), values, rtol=1e-12)


def test_few_programs_are_compiled() -> None:
    traced = []

    def f(x: Any) -> Any:
        traced.append(x.shape)
        return -0.5 * jnp.sum(x**2)

    target = fm.targets.from_jax(f, 3)
    before = len(traced)
    for n in range(1, 65):
        target.log_density(np.ones((n, 3)))
    assert len(traced) - before <= 7


def test_chains() -> None:
    f = fm.targets.from_jax(lambda x: -0.5 * jnp.sum((x - 1.0) ** 2), 3)
    s = fm.mcmc.sample(f, n_draws=500, rng=0)
    e = s.expect(lambda x: x)
    assert (np.abs(e.mean - 1) < 5 * e.stderr).all()
    assert s.gradients is not None


def test_points_without_density() -> None:
    f = fm.targets.from_jax(lambda x: jnp.log(x[0]) - x[0], 1)
    s = fm.mcmc.sample(f, init=[[1.0]] * 2, n_chains=2, n_warmup=200, n_draws=500, rng=0)
    assert (s.draws > 0).all()


def test_what_is_no_log_density_is_refused() -> None:
    with pytest.raises(ArgumentError, match="function of one point"):
        fm.targets.from_jax(3, 1)  # type: ignore[arg-type]
    with pytest.raises(TargetError, match="one real number"):
        fm.targets.from_jax(lambda x: x, 2)
    with pytest.raises(TypeError) as seen:
        fm.targets.from_jax(lambda x: jnp.sum("a"), 2)
    assert "as JAX traced it" in "".join(seen.value.__notes__)
    with pytest.raises(ArgumentError, match="dim"):
        fm.targets.from_jax(banana, 0)


def test_single_precision_is_told() -> None:
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.warns(FermiacWarning, match="single precision"):
            f = fm.targets.from_jax(banana, 2)
        assert f.log_density(np.zeros((1, 2))).dtype == np.float64
    finally:
        jax.config.update("jax_enable_x64", True)
