"""Runs of denoising Langevin Gibbs: resumed, interrupted, in the background and on executors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from score_gibbs_help import (
    EXACT,
    HOW,
    PARTS,
    PLAIN,
    Mixture,
    same,
)

import fermiac as fm
from fermiac.errors import CheckpointError
from fermiac.score import (
    langevin_gibbs,
)

# Short runs disagree on their levels, and few steps denoise them.
pytestmark = [
    pytest.mark.filterwarnings("ignore:the chains do not agree"),
    pytest.mark.filterwarnings("ignore:denoiser. twice the steps"),
]


def test_runs_that_were_killed_go_on_with_the_same_bits(tmp_path):
    whole = langevin_gibbs(EXACT, **(HOW | {"n_draws": 12}))
    kept = fm.Plan(store=tmp_path / "run")
    langevin_gibbs(EXACT, **(HOW | {"n_draws": 5}), plan=kept)
    longer = HOW | {"n_draws": 12, "rng": None}
    same(langevin_gibbs(EXACT, **longer, plan=kept), whole)
    same(langevin_gibbs(EXACT, **longer, plan=kept), whole)
    with pytest.raises(CheckpointError, match="more than the 3"):
        langevin_gibbs(EXACT, **(longer | {"n_draws": 3}), plan=kept)
    with pytest.raises(CheckpointError, match="its n_skip is 3"):
        langevin_gibbs(EXACT, **(longer | {"n_skip": 4}), plan=kept)
    other = fm.score.GaussianMixture([0.5, 0.5], *PARTS[1:])
    with pytest.raises(CheckpointError, match="other numbers"):
        langevin_gibbs(other, **longer, plan=kept)


def test_an_interrupt_leaves_whole_windows(tmp_path):
    how = HOW | {"n_draws": 400}

    class Stops(Mixture):
        def _denoise(self, y, sigma):
            if self.n_rows > 70 * 200:
                raise KeyboardInterrupt
            return super()._denoise(y, sigma)

    kept = fm.Plan(store=tmp_path / "run")
    with pytest.raises(KeyboardInterrupt) as caught:
        langevin_gibbs(Stops(*PARTS), **how, plan=kept)
    partial = caught.value.partial_result
    n = partial.draws.shape[1]
    assert partial.status == "interrupted"
    assert 0 < n < 400
    whole = langevin_gibbs(PLAIN, **(HOW | {"n_draws": n + 3}))
    np.testing.assert_array_equal(partial.draws, whole.draws[:, :n])
    same(langevin_gibbs(PLAIN, **(HOW | {"n_draws": n + 3}), plan=kept), whole)
    # Before there is a window nothing is left.
    early = Stops(*PARTS)
    early.n_rows = 70 * 190
    with pytest.raises(KeyboardInterrupt) as caught:
        langevin_gibbs(early, **how, plan=fm.Plan(store=tmp_path / "early"))
    assert caught.value.partial_result is None
    assert not (tmp_path / "early" / "state.safetensors").exists()


def test_handles_and_executors():
    run = fm.score.start("langevin_gibbs", EXACT, **HOW)
    whole = langevin_gibbs(EXACT, **HOW)
    same(run.result(timeout=60), whole)
    with ThreadPoolExecutor(2) as pool:
        far = langevin_gibbs(PLAIN, **HOW, plan=pool)
    np.testing.assert_array_equal(far.draws, langevin_gibbs(PLAIN, **HOW).draws)
    seen = []
    langevin_gibbs(
        EXACT, **HOW, plan=fm.Plan(progress=lambda done, total: seen.append((done, total)))
    )
    assert seen[-1] == (420, 420)
