"""Kernels and burn-ins that walks choose for themselves, and the warnings of young histories."""

from __future__ import annotations

import warnings
from typing import Any

import networkx
import numpy as np
import pytest
from walk_runs import BARBELL, same, walk

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError, ConvergenceWarning, FermiacWarning
from fermiac.walks.chains import CHAINS
from fermiac.walks.settling import mean_sojourn
from fermiac.walks.visit_law import Law

KARATE = fm.walks.Graph.from_networkx(networkx.karate_club_graph(), weight=None)
DEGREE = KARATE.degrees.astype(float)
POWER = fm.walks.graphs.barabasi_albert(1000, 3, rng=1)


def average(w: fm.walks.WalkResult, f: Any) -> fm.Estimate:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FermiacWarning)
        return w.expect(f)


@pytest.mark.parametrize(
    ("n_steps", "kernel", "base", "burn_in"),
    [(1000, "none", "mhda", 0), (5000, "srrw", "mhrw", 1212), (50_000, "srrw", "mhrw", 3125)],
)
def test_choices_are_reported(n_steps: int, kernel: str, base: str, burn_in: int) -> None:
    w = fm.walks.walk(KARATE, n_steps=n_steps, n_walkers=16, rng=0)
    assert (w.kernel, w.settings["base"], w.burn_in) == (kernel, base, burn_in)
    assert w.chosen == ("kernel", "base", "burn_in")
    assert w.settling == (606 if kernel == "srrw" else 0)
    told = f"burn-in {burn_in} of {n_steps} steps"
    assert told in str(w.summary())
    assert "chosen by the steps per node: kernel, base, burn-in" in str(w.summary())
    # They are those of a walk that is told.
    same(w, fm.walks.walk(KARATE, kernel, base, n_steps=n_steps, n_walkers=16, rng=0))
    told_all = {"n_steps": n_steps, "n_walkers": 16, "burn_in": burn_in, "rng": 0}
    same(w, fm.walks.walk(KARATE, kernel, base, **told_all))
    assert not average(w, DEGREE).warnings


def test_choices_of_base_and_burn_in() -> None:
    assert walk(KARATE, "srrw").settings["base"] == "mhrw"
    assert walk(KARATE, "hdt").settings["base"] == "mhda"
    assert walk(KARATE, "hdt", burn_in="auto").burn_in == 250
    assert walk(KARATE, "hdt", alpha=0.0, burn_in="auto").burn_in == 0
    assert walk(KARATE, "none", burn_in="auto").burn_in == 0
    # Walkers that share a history fill it together.
    shared = walk(KARATE, "srrw", burn_in="auto", history="shared_sync")
    assert shared.settling == -(-walk(KARATE, "srrw").settling // 16)
    with pytest.raises(ArgumentError, match="burn_in"):
        walk(KARATE, burn_in="half")


def test_no_history_where_it_does_not_pay() -> None:
    dense = fm.walks.graphs.complete(40)
    arcs = fm.walks.Graph.from_edges([[0, 1], [1, 2], [2, 0]], directed=True)
    long = {"n_steps": 10_000, "n_walkers": 8, "rng": 0}
    assert fm.walks.walk(dense, **long).kernel == "none"
    assert fm.walks.walk(arcs, base="srw", **long).kernel == "none"
    assert fm.walks.walk(BARBELL, base="srw", restart=0.1, **long).kernel == "none"
    assert fm.walks.walk(BARBELL, base="mhda", **long).kernel == "none"
    assert fm.walks.walk(BARBELL, base="maxdeg", **long).kernel == "srrw"
    assert fm.walks.walk(BARBELL, memory_size=5, **long).kernel == "hdt"


def test_sojourns() -> None:
    star = fm.walks.graphs.star(9)
    law = Law(star, None, "uniform")
    # A leaf is left with the probability 1 / 9, the hub with 1.
    told = (9 * 9 + 1) / 10
    assert mean_sojourn(star, CHAINS.resolve("mhrw"), law) == pytest.approx(told)
    assert mean_sojourn(star, CHAINS.resolve("mhda"), law) == pytest.approx(told)
    assert mean_sojourn(star, fm.walks.Lazy("mhrw", 0.5), law) == pytest.approx(2 * told)
    # The graph keeps them for a uniform law alone.
    assert list(star._sojourns) == [CHAINS.resolve("mhrw"), CHAINS.resolve("mhda")]
    heavy = Law(star, None, "table", np.where(star.degrees > 1, 5.0, 1.0))
    assert mean_sojourn(star, CHAINS.resolve("mhrw"), heavy) < told
    assert mean_sojourn(star, CHAINS.resolve("srw"), Law(star, None, "degree")) == 1.0
    ring = fm.walks.graphs.cycle(7)
    assert mean_sojourn(ring, CHAINS.resolve("maxdeg"), Law(ring, None, "uniform")) == 1.0


@pytest.mark.parametrize(
    ("kernel", "each"), [("srrw", 0.2), ("tsaw", 0.2), ("hdt", 0.2), ("hdt", 10), ("rotor", 1)]
)
def test_young_histories_warn(kernel: str, each: float) -> None:
    for seed in range(3):
        w = fm.walks.walk(POWER, kernel, n_steps=int(1000 * each), n_walkers=16, rng=seed)
        with pytest.warns(ConvergenceWarning, match="had not settled"):
            w.expect(POWER.degrees)


def test_a_burn_in_that_is_too_short_warns() -> None:
    with pytest.warns(ConvergenceWarning, match="had not settled"):
        walk(KARATE, "srrw", n_steps=20_000, burn_in=100).expect(np.arange(34) < 17)


def test_noise_warns_where_the_acceptance_has_a_kink() -> None:
    long = {"n_steps": 6000, "burn_in": 3000}
    with pytest.warns(ConvergenceWarning, match="still noisy"):
        walk(KARATE, "hdt", "mhrw", **long).expect(DEGREE)
    walk(KARATE, "hdt", "barker", n_steps=8000, burn_in=4000).expect(DEGREE)
    walk(BARBELL, "hdt", "mhrw", n_steps=40_000, burn_in=20_000).expect(np.arange(12) < 6)


def test_the_default_is_better_than_the_plain_walk() -> None:
    # 147 steps per node: where histories were chosen too early, errors were three times as large.
    square = {"auto": 0.0, "none": 0.0}
    held = 0
    for kernel in square:
        for seed in range(8):
            e = average(fm.walks.walk(KARATE, kernel, n_steps=5000, rng=seed), DEGREE)
            square[kernel] += (e.mean - DEGREE.mean()) ** 2
            held += abs(e.mean - DEGREE.mean()) < 3 * e.stderr
    assert square["auto"] < square["none"]
    assert held >= 15


def test_rotors_know_their_error() -> None:
    ring = fm.walks.graphs.ring_of_cliques(20, 5)
    f = (np.arange(100) < 50) * 1.0
    law = ring.degrees / ring.degrees.sum()
    for n_steps in 2000, 20_000:
        e = average(fm.walks.walk(ring, "rotor", n_steps=n_steps, rng=3), f)
        assert abs(e.mean - law @ f) < 3 * e.stderr < 0.1


def test_longer_walks_keep_the_choices(tmp_path: Any) -> None:
    kept = fm.Plan(store=tmp_path / "walk")
    how = {"n_walkers": 8, "rng": 0}
    short = fm.walks.walk(KARATE, n_steps=1000, plan=kept, **how)
    # As long a walk would have a history, had it been planned so.
    longer = fm.walks.walk(KARATE, n_steps=20_000, plan=kept, **how)
    assert (longer.kernel, longer.burn_in) == ("none", 0)
    same(longer, fm.walks.extend(short, 19_000))
    kept = fm.Plan(store=tmp_path / "history")
    fm.walks.walk(KARATE, n_steps=5000, plan=kept, **how)
    longer = fm.walks.walk(KARATE, n_steps=6000, plan=kept, **how)
    assert (longer.kernel, longer.burn_in) == ("srrw", 1212)
    with pytest.raises(CheckpointError, match="burn_in"):
        fm.walks.walk(KARATE, n_steps=7000, burn_in=0, plan=kept, **how)
