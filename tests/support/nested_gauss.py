"""A Gaussian problem with a closed-form evidence, and a comparison of runs, for tests."""

from __future__ import annotations

import numpy as np

import fermiac as fm
from fermiac.nested import NestedResult

DIM = 5
MEANS = np.linspace(-1, 1, DIM)
COVARIANCE = 0.4 + 0.6 * np.eye(DIM)
#: A Gaussian in a box that holds all of it: log Z = -d log 20.
LAW = fm.distributions.MultivariateNormal(MEANS, COVARIANCE)
PRIOR = fm.distributions.Uniform([-10.0] * DIM, [10.0] * DIM)
EXACT = -DIM * np.log(20)
ARRAYS = (
    "draws unit_draws log_weights log_densities log_likelihoods births lineages families n_alive "
    "log_x log_prior_masses"
).split()


def assert_same_run(a: NestedResult, b: NestedResult) -> None:
    """The same to the last bit, but for its times."""
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert a.trace.keys() == b.trace.keys()
    for name in a.trace:
        np.testing.assert_array_equal(a.trace[name], b.trace[name], err_msg=name)
    for name in ("log_evidence", "log_evidence_stderr", "n_evals", "rank_z", "status", "settings"):
        assert getattr(a, name) == getattr(b, name), name
    assert (a.converged, a.warnings, a.seed) == (b.converged, b.warnings, b.seed)
