"""The bias of kernels without an accept step: found where it is beyond the errors."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ConvergenceWarning
from fermiac.mcmc.bias import biases
from fermiac.random import Stream

NORMAL = fm.distributions.Normal([0.0])


def told(law: fm.distributions.Law, kernel: object, seed: int, **how: object) -> list[str]:
    """The warnings about a bias, of a run of 4 chains."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        s = fm.mcmc.sample(
            law, kernel=kernel, n_draws=2000, rng=seed, plan=fm.Plan(n_threads=1), **how
        )
    return [text for text in s.warnings if "biased by the step size" in text]


def test_exact_draws_have_no_bias_and_wide_ones_do() -> None:
    x = Stream(1).normal((4, 2000, 20))
    assert biases(x, -x, [f"x[{j}]" for j in range(20)]) == []
    # One coordinate alone, and a small bias that all have in common.
    wide = x * np.where(np.arange(20) == 7, 1.1, 1.0)
    ((kind, text),) = biases(wide, -wide, [f"x[{j}]" for j in range(20)])
    assert kind is ConvergenceWarning
    assert "the variance of x[7] is 19" in text
    ((_, text),) = biases(0.99 * x, -0.99 * x, [f"x[{j}]" for j in range(20)])
    assert "the 20 coordinates on average is 2" in text
    assert "too small" in text


@pytest.mark.parametrize("seed", range(5))
def test_the_default_step_of_ula_is_warned_of(seed: int) -> None:
    (text,) = told(NORMAL, fm.mcmc.ULA(), seed)
    assert "% too large" in text


@pytest.mark.parametrize(
    "kernel",
    [
        fm.mcmc.ULA(step_size=0.1),
        fm.mcmc.ULA(step_size=0.3),
        fm.mcmc.UnderdampedLangevin(),
        fm.mcmc.MALA(),
    ],
)
def test_small_steps_and_exact_kernels_are_not(kernel: object) -> None:
    law = fm.distributions.Normal([0.0, 3.0], [1.0, 5.0])
    assert [told(law, kernel, seed) for seed in range(3)] == [[], [], []]


def test_microcanonical_steps_that_are_too_long_are_warned_of() -> None:
    law = fm.distributions.Normal(np.zeros(20))
    (text,) = told(law, fm.mcmc.MCLMC(step_size=8.0), 0)
    assert "too small" in text
    assert told(law, fm.mcmc.MCLMC(step_size=8.0, adjusted=True), 0) == []


def test_transformed_and_composed_runs_are_judged() -> None:
    law = fm.distributions.Gamma(3.0, np.ones(6))
    assert told(law, fm.mcmc.ULA(step_size=0.9), 0, transforms="auto")
    assert told(law, fm.mcmc.MALA(step_size=0.9), 0, transforms="auto") == []
    half = fm.distributions.Normal([0.0, 0.0])
    parts = [("a", fm.mcmc.ULA()), ("b", fm.mcmc.Slice())]
    kernel = fm.mcmc.Gibbs(parts, blocks={"a": [0], "b": [1]})
    (text,) = told(half, kernel, 0)
    assert "the variance of x[0]" in text
