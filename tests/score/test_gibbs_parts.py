"""Chains of Langevin Gibbs in parts; `tests/runs/test_whole_calls.py` has their bits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plans import planned

import fermiac as fm
from fermiac.errors import ArgumentError, FermiacWarning

MODEL = fm.score.GaussianMixture([0.3, 0.7], [[-2.0, 0.0], [2.0, 1.0]], [0.04, 0.04])
INIT = 3 * fm.random.Stream(4).normal((20, 2))


def chains(**given: Any) -> Any:
    how: dict[str, Any] = {
        "n_chains": 20, "n_draws": 5, "n_warmup": 2, "n_skip": 2, "n_denoise": 4, "rng": 1,
        "levels": [5.0, 1.0, 0.2],
    }  # fmt: skip
    return fm.score.langevin_gibbs(MODEL, **{**how, **given})


def same(a: Any, b: Any) -> None:
    for name in ("draws", "level_counts", "passages", "level_weights", "calls", "n_evals", "bias"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    for name in a.stats:
        np.testing.assert_array_equal(a.stats[name], b.stats[name])


def test_later_chains_are_those_of_the_whole_call() -> None:
    for more in ({}, {"init": INIT, "sigma0": np.linspace(0.3, 4.0, 20)}):
        whole = chains(**planned(**more))
        rest = chains(
            n_chains=8, first_chain=12, **{name: given[12:] for name, given in more.items()}
        )
        np.testing.assert_array_equal(rest.draws, whole.draws[12:])
        same(fm.merge([chains(plan=fm.Plan(part=(i, 3)), **more) for i in (1, 2, 0)]), whole)


class Shrunk(fm.score.Model):
    """A standard normal law, by a Python function."""

    dim = 2

    def _denoise(self, y: Any, sigma: Any) -> Any:
        return y / (1 + np.broadcast_to(sigma, len(y))[:, None] ** 2)


@pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")
def test_levels_of_a_classifier_on_workers(tmp_path: Path) -> None:
    def logits(x: Any) -> Any:
        return -((np.log1p((x**2).sum(axis=1)) - 1.0)[:, None] ** 2) * [1.0, 0.5, 0.1]

    how: dict[str, Any] = {
        "n_chains": 20, "n_draws": 5, "n_warmup": 2, "n_skip": 2, "n_denoise": 4, "rng": 1,
        "levels": [5.0, 1.0, 0.2], "noise_predictor": logits,
    }  # fmt: skip
    whole = fm.score.langevin_gibbs(Shrunk(), **how)
    with ThreadPoolExecutor(2) as pool:
        there = fm.score.langevin_gibbs(
            Shrunk(), plan=fm.Plan(executor=pool, store=tmp_path), **how
        )
    same(there, whole)
    assert there.warnings == whole.warnings
    assert there.settings == whole.settings
    assert len([*tmp_path.iterdir()]) == 3
    with pytest.raises(ArgumentError, match="cannot be continued"):
        there.extend(2)


def test_missing_chains_other_calls_and_warnings() -> None:
    parts = [chains(plan=fm.Plan(part=(i, 3))) for i in range(3)]
    with pytest.warns(FermiacWarning, match="7 of 20 chains are missing: 6 to 12"):
        some = fm.merge([parts[0], parts[2]])
    assert some.draws.shape == (13, 5, 2)
    with pytest.raises(ArgumentError, match="two parts hold chain 0"):
        parts[0].merge(parts[0])


@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")
def test_chains_of_other_seeds_are_independent() -> None:
    both = chains().merge(chains(rng=2))
    assert both.draws.shape == (40, 5, 2)
    with pytest.raises(ArgumentError, match="seed"):
        chains().merge(chains())


@pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")
def test_merged_chains_are_judged() -> None:
    how = {"n_draws": 50, "step": fm.score.LangevinStep(1e8)}
    parts = [chains(plan=fm.Plan(part=(i, 2)), **how) for i in range(2)]
    merged = fm.merge(parts)
    assert any(text.startswith("20 of 20 chains stand still") for text in merged.warnings)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"part": (0, 2), "store": "x", "rng": None}, "store: given without rng="),
        ({"part": (0, 2), "executor": 3}, "executor: 3 given"),
        ({"first_chain": -1}, "first_chain"),
        ({"part": 2}, "part: 2 given"),
    ],
)
def test_refused(more: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        chains(**planned(**more))
