"""Exact draws of blocks from laws by their parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats

import fermiac as fm

mcmc = fm.mcmc


of = mcmc.conditionals


@pytest.mark.parametrize(
    ("kernel", "cdfs"),
    [
        (of.Normal(lambda x: (np.zeros(len(x)), [[1.0, 2.0]])), ["norm", "norm2"]),
        (of.MultivariateNormal(lambda x: ([0.0, 0.0], np.diag([1.0, 0.25]))), ["norm", "norm2"]),
        (of.Gamma(lambda x: (2.0, 0.5)), ["gamma", "gamma"]),
        (of.Beta(lambda x: (2.0, np.full((len(x), 1), 3.0))), ["beta", "beta"]),
        (of.Dirichlet(lambda x: [2.0, 3.0]), ["beta", None]),
        (of.TruncatedNormal(lambda x: (0.0, 1.0, 0.0, np.inf)), ["half", "half"]),
    ],
)
def test_laws_by_parameters(kernel: Any, cdfs: list[str | None]) -> None:
    laws = {
        "norm": scipy.stats.norm(),
        "norm2": scipy.stats.norm(0, 2),
        "gamma": scipy.stats.gamma(2, scale=0.5),
        "beta": scipy.stats.beta(2, 3),
        "half": scipy.stats.halfnorm(),
    }
    s = mcmc.sample(None, 2, kernel=kernel, n_chains=100, n_warmup=0, n_draws=20, rng=1)
    for i, name in enumerate(cdfs):
        if name is not None:
            assert scipy.stats.kstest(s.draws[..., i].ravel(), laws[name].cdf).pvalue > 1e-6
    again = mcmc.sample(None, 2, kernel=kernel, n_chains=7, n_warmup=0, n_draws=20, rng=1)
    np.testing.assert_array_equal(again.draws, s.draws[:7])
