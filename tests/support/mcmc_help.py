"""The choice of a driver, and the comparison of whole samples, for tests of chains.

Users cannot choose the driver, since all give the same bits. `with driver("free"):` every worker
answers the requests of its chain (built-in and native targets only), `with driver("lock"):` the
requests of all chains are gathered into batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import fermiac as fm
from fermiac.mcmc.run import DRIVER

LAW = fm.distributions.MultivariateNormal(
    np.array([0.5, -1.0, 2.0]), np.array([[1.0, 0.4, 0.0], [0.4, 0.5, -0.3], [0.0, -0.3, 3.0]])
)


def run(target: Any = LAW, **more: Any) -> fm.mcmc.Chains:
    """A short run, which has not converged and may say so."""
    given: dict[str, Any] = {"kernel": fm.mcmc.MALA(), "n_warmup": 120, "n_draws": 90, "rng": 3}
    return fm.mcmc.sample(target, **{**given, **more})


@contextmanager
def driver(name: str) -> Iterator[None]:
    """Use this driver for all runs within: "auto", "free" or "lock"."""
    token = DRIVER.set(name)
    try:
        yield
    finally:
        DRIVER.reset(token)


def assert_same(a: fm.Sample, b: fm.Sample) -> None:
    """Assert that draws, log-densities, gradients and statistics have the same bits."""
    for name in ("draws", "log_densities", "gradients"):
        one, other = getattr(a, name), getattr(b, name)
        assert (one is None) == (other is None), name
        if one is not None:
            np.testing.assert_array_equal(one, other, err_msg=name)
    assert a.stats.keys() == b.stats.keys()
    for name, values in a.stats.items():
        np.testing.assert_array_equal(values, b.stats[name], err_msg=name)
