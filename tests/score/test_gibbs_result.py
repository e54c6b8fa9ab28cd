"""Results of denoising Langevin Gibbs: extended, saved, merged and averaged."""

from __future__ import annotations

import numpy as np
import pytest
from score_gibbs_help import (
    EXACT,
    HOW,
    PARTS,
    Mixture,
    same,
)

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning
from fermiac.score import (
    langevin_gibbs,
)

# Short runs disagree on their levels, and few steps denoise them.
pytestmark = [
    pytest.mark.filterwarnings("ignore:the chains do not agree"),
    pytest.mark.filterwarnings("ignore:denoiser. twice the steps"),
]


def test_calls_are_counted():
    m = Mixture(*PARTS)
    r = langevin_gibbs(m, **HOW, metropolis="exact", n_denoise=4, tweedie_step=0.2)
    assert r.calls == {"start": 20, "warmup": 16, "sweeps": 36, "denoise": 30}
    # The check of the denoiser asks a few more.
    assert r.n_evals == 70 * 102 < m.n_rows < 70 * 110
    assert r.calls_per_draw == 11
    assert r.calls_per_draw_in_all == 17
    r = langevin_gibbs(m, **HOW, metropolis=None, init=np.zeros((70, 3)), sigma0=0.5, n_denoise=5)
    assert r.calls == {"start": 0, "warmup": 8, "sweeps": 18, "denoise": 30}


def test_results_go_on():
    whole = langevin_gibbs(EXACT, **(HOW | {"n_draws": 9}))
    r = langevin_gibbs(EXACT, **HOW).extend(3)
    same(r, whole)
    assert r.status == "complete"


def test_results_are_saved_merged_and_averaged(tmp_path):
    r = langevin_gibbs(EXACT, **HOW, names=["a", "b", "c"])
    r.save(tmp_path / "r")
    back = fm.load(tmp_path / "r")
    assert isinstance(back, fm.score.LangevinGibbs)
    same(back, r)
    assert back.bias == r.bias
    assert back.names == ("a", "b", "c")
    with pytest.raises(ArgumentError, match="cannot be continued"):
        back.extend(2)
    with pytest.warns(ConvergenceWarning):
        merged = r.merge(langevin_gibbs(EXACT, **(HOW | {"rng": 18}), names=["a", "b", "c"]))
    assert merged.draws.shape == (140, 6, 3)
    text = str(r.summary())
    assert "mean log σ" in text
    assert "model calls for a draw" in text
    assert np.isfinite([r.log_sigma_mcse, r.log_sigma_rhat, r.log_sigma_ess]).all()
    one = langevin_gibbs(EXACT, **(HOW | {"n_draws": 1, "n_chains": 1}))
    assert np.isnan([one.log_sigma_mcse, one.log_sigma_rhat, one.log_sigma_ess]).all()
