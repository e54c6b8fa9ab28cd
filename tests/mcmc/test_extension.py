"""Chains that are made longer: the same bits as those of one run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mcmc_help import assert_same, run
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def whole() -> fm.mcmc.Chains:
    return run()


def test_a_run_goes_on(whole: fm.mcmc.Chains) -> None:
    first = run(n_draws=40, keep_warmup=True)
    second = fm.mcmc.extend(first, 30)
    third = fm.mcmc.extend(second, 20, plan=fm.Plan(n_threads=3))
    assert_same(whole, third)
    assert third.n_evals == whole.n_evals
    assert third.settings["n_draws"] == 90
    assert third.warmup_draws is first.warmup_draws
    assert_same(run(n_draws=30, thin=3), fm.mcmc.extend(run(n_draws=10, thin=3), 20))


def test_only_what_knows_its_state_goes_on(whole: fm.mcmc.Chains, tmp_path: Path) -> None:
    whole.save(tmp_path / "sample")
    loaded = fm.mcmc.Chains.load(tmp_path / "sample")
    assert_same(whole, loaded)
    for sample in (loaded, fm.Sample.from_arrays(np.ones((4, 9, 3)))):
        with pytest.raises(ArgumentError, match="cannot be continued"):
            fm.mcmc.extend(sample, 10)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="n_draws: 0 was given"):
        fm.mcmc.extend(whole, 0)
