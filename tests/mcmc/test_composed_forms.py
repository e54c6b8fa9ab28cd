"""Compositions and tempering over targets of all four forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from forms import DENSITIES, DIM, MEAN, SD, Make, law
from gibbs_help import Run, z_scores

import fermiac as fm

mcmc = fm.mcmc
N = 1500


def third(x: Any, rng: Any) -> Any:
    return rng.normal(MEAN[2], SD[2])


KERNELS = {
    "gibbs": mcmc.Gibbs(
        [("a", mcmc.MALA(step_size=0.7)), ("b", mcmc.Conditional(third))],
        blocks={"a": [1, 0], "b": 2},
    ),
    "tempered": mcmc.Tempered(
        mcmc.MALA(step_size=0.7),
        reference=fm.distributions.Normal(np.array(MEAN), np.array(SD)),
        n_temperatures=3,
    ),
}


@pytest.mark.parametrize("make", DENSITIES)
@pytest.mark.parametrize("name", KERNELS)
def test_every_form_keeps_the_law_and_gives_the_same_bits(
    make: Make, name: str, thread_counts: tuple[int, ...]
) -> None:
    target = make()
    start = law().sample(N, rng=4)
    draws, values, _ = Run(KERNELS[name], start, target).go(3, driver="lock")
    last = draws[:, -1]
    assert (z_scores(last, MEAN, SD) < 5).all()
    assert (z_scores((last - MEAN) ** 2, np.square(SD), 2**0.5 * np.square(SD)) < 5).all()
    np.testing.assert_array_equal(values[:, -1], target.log_density(last))
    for n_threads in thread_counts:
        for driver in ("lock", "free"):
            some = Run(KERNELS[name], start[:5], target)
            again = some.go(3, driver=driver, n_threads=n_threads)[0]
            np.testing.assert_array_equal(again, draws[:5])
    assert draws.shape[-1] == DIM
