"""The samplers of fermiac in simulation-based calibration: a part of ``benches.evaluate.sbc``."""

from __future__ import annotations

import warnings

import pytest
from benches.evaluate.sbc import NAMES, PRIOR, samplers, simulate

import fermiac as fm

RIGHT = [name for name in samplers() if "corrected" not in name and "narrow" not in name]


@pytest.mark.parametrize("name", RIGHT)
def test_ranks_are_uniform(name: str) -> None:
    sample, fewer = samplers()[name]
    with warnings.catch_warnings():
        # Short chains warn of their convergence in a few simulations.
        warnings.simplefilter("ignore", fm.errors.FermiacWarning)
        count = (20 if "DE" in name else 60) // fewer  # many walkers
        c = fm.evaluate.sbc(PRIOR, simulate, sample, count, names=NAMES, rng=7)
    assert fm.evaluate.adjust(c.pvalue).min() > 1e-3
    assert c.n_short <= 0.05 * len(c.ranks)


def test_draws_that_are_too_narrow_are_found() -> None:
    sample, _ = samplers()["NUTS, 20 % too narrow"]
    c = fm.evaluate.sbc(PRIOR, simulate, sample, 400, names=NAMES, rng=7)
    assert fm.evaluate.adjust(c.pvalue).min() < 0.01
    assert (c.summary()["spread"] > 1.1).all()
