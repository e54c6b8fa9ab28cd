"""A short run and a comparison of whole results, for tests of nested sampling."""

from __future__ import annotations

from typing import Any

import numpy as np
from forms import DIM, formula
from numpy.typing import NDArray
from plans import planned

import fermiac as fm

Array = NDArray[np.float64]
PRIOR = fm.distributions.Uniform([-8.0] * DIM, [10.0] * DIM)
#: All that the bits of a run are in.
ARRAYS = (
    *("draws", "unit_draws", "log_likelihoods", "births", "lineages", "families", "n_alive"),
    *("log_weights", "log_x", "blobs"),
)
NUMBERS = ("log_evidence", "log_evidence_stderr", "information", "rank_z", "n_evals", "status")


def run(f: Any = formula, prior: Any = PRIOR, **how: Any) -> fm.nested.NestedResult:
    """A short run, whose calls of the likelihood are those of the method alone."""
    usual = {"n_live": 60, "rng": 5, "dlogz": 0.5, "check": False}
    return fm.nested.sample(f, prior, **planned(**{**usual, **how}))


def assert_same(
    a: fm.nested.NestedResult, b: fm.nested.NestedResult, but: tuple[str, ...] = ()
) -> None:
    """Both have the same bits."""
    for name in ARRAYS:
        one, other = getattr(a, name), getattr(b, name)
        assert (one is None) == (other is None), name
        if one is not None:
            np.testing.assert_array_equal(one, other, err_msg=name)
    for name in NUMBERS:
        if name not in but:
            one, other = getattr(a, name), getattr(b, name)
            assert one == other or (one != one and other != other), (name, one, other)
    assert a.trace.keys() == b.trace.keys()
    for name, values in a.trace.items():
        np.testing.assert_array_equal(values, b.trace[name], err_msg=name)
