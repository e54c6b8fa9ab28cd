"""Rules that end a run: the draws at which they do, and settings that are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mcmc_help import assert_same, run
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning

Array = NDArray[np.float64]


def test_a_run_ends_when_its_draws_are_enough() -> None:
    stop = fm.mcmc.StopWhen(ess=300, every=100)
    s = run(n_draws=10_000, stop=stop)
    n = s.draws.shape[1]
    assert n % 100 == 0
    assert n < 10_000
    assert s.status == "complete"
    assert_same(s, run(n_draws=n))
    assert_same(run(n_draws=n + 50), fm.mcmc.extend(s, 50))

    def least(n: int) -> float:
        x = s.draws[:, :n]
        return float(min(fm.diagnostics.ess(x).min(), fm.diagnostics.ess(x, kind="tail").min()))

    assert least(n) >= 300
    earlier = s.draws[:, : n - 100]
    assert n == 100 or least(n - 100) < 300 or fm.diagnostics.rhat(earlier).max() > 1.01
    with pytest.warns(ConvergenceWarning, match=r"stop: all 90 draws .* an ESS of .* 1e\+06"):
        run(stop=fm.mcmc.StopWhen(ess=1e6, rhat=None, every=40))


@pytest.mark.parametrize(
    "more", [{"ess": None, "rhat": None}, {"ess": -1}, {"rhat": 1.0}, {"every": 3}, {"ess": True}]
)
def test_stop_rules_are_checked(more: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        fm.mcmc.StopWhen(**more)
