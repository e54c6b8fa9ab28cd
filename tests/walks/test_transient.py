"""Warnings of averages that have not settled, and the theory of walks with a burn-in."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from walk_runs import BARBELL, BELOW, walk

import fermiac as fm
from fermiac.errors import ArgumentError, ConvergenceWarning

TREE = fm.walks.graphs.barabasi_albert(40, 2, rng=3)
DEGREE = TREE.degrees.astype(float)
FEW = (np.arange(40) < 7) * 1.0


def share_of_warnings(n: int, values: Any, kernel: str, base: str, **how: Any) -> float:
    found = 0
    for seed in range(n):
        w = fm.walks.walk(TREE, kernel, base, rng=seed, n_walkers=16, **how)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            found += bool(w.expect(None if w.record == "none" else values).warnings)
    return found / n


@pytest.mark.parametrize("record", ["visits", "path", "none"])
def test_young_histories_warn_whatever_is_recorded(record: str) -> None:
    how = {"n_steps": 2000, "record": record, "f": DEGREE}
    assert share_of_warnings(10, DEGREE, "hdt", "mhda", **how) == 1.0


@pytest.mark.parametrize(
    ("kernel", "base", "how"),
    [
        ("none", "mhrw", {}),
        ("srrw", "mhrw", {"burn_in": 500}),
        ("srrw", "mhrw", {"burn_in": 3000}),
        ("tsaw", "mhrw", {"alpha": 1.0, "burn_in": 500}),
        ("rotor", "srw", {"burn_in": 200}),
    ],
)
def test_settled_averages_do_not(kernel: str, base: str, how: dict[str, Any]) -> None:
    # One step short of a power of two: the first part is then as short as it may be.
    how = {"n_steps": how.get("burn_in", 0) + 2047, **how}
    assert share_of_warnings(40, FEW, kernel, base, **how) <= 2 / 40


def test_few_walkers_do_not_warn_by_chance() -> None:
    found = 0
    for seed in range(60):
        w = walk(BARBELL, "none", "mhrw", n_steps=2047, n_walkers=2, rng=seed)
        with pytest.warns(fm.errors.FermiacWarning, match="with 2 walkers") as seen:
            w.expect(BELOW)
        found += len(seen) - 1
    assert found <= 2


@pytest.mark.filterwarnings("ignore:the histories of the walkers had not settled")
@pytest.mark.parametrize(("kernel", "base"), [("tsaw", "mhrw"), ("rotor", "srw")])
def test_the_start_of_walks_with_errors_of_order_one_over_n(kernel: str, base: str) -> None:
    law = DEGREE if base == "srw" else np.ones(40)
    truth = law @ DEGREE / law.sum()

    def score(burn_in: int) -> Any:
        how = {"n_steps": 4000, "burn_in": burn_in, "rng": 5}
        w = fm.walks.walk(TREE, kernel, base, 1.0, **how)
        e = w.expect(DEGREE)
        # The error holds what the first part of the walk shows of the bias.
        assert abs(e.mean - truth) < 4 * e.stderr
        return (e.mean - truth) / w.stderr(DEGREE)

    with pytest.warns(ConvergenceWarning, match="pass burn_in="):
        assert abs(score(0)) > 4
    assert abs(score(1000)) < 4


@pytest.mark.parametrize(
    ("kernel", "alpha", "burned"),
    [("srrw", 5.0, 1000), ("srrw", 5.0, 3000), ("hdt", 1.0, 3000), ("none", 0.0, 3000)],
)
def test_theory_knows_the_burn_in(kernel: str, alpha: float, burned: int) -> None:
    how = {"alpha": alpha, "n_steps": 4000, "burn_in": burned, "n_walkers": 400, "rng": 0}
    w = walk(BARBELL, kernel, "mhrw", **how)
    f = np.column_stack([BELOW, np.arange(12) == 2])
    ratio = w.stderr(f) / w.stderr(f, "theory")
    # The history's noise is no part of the limit.
    assert np.abs(ratio - 1).max() < 5 / np.sqrt(800) + 0.05
    constant = w.stderr(np.ones(12), "theory")
    assert constant == pytest.approx(0.0, abs=1e-12)


def test_theory_of_an_even_share_is_that_of_its_parts() -> None:
    n, m, limit = 4000, 1000, fm.walks.asymptotic_variance(BARBELL, BELOW, "hdt", "mhrw", 2.0)
    w = walk(BARBELL, "hdt", "mhrw", 2.0, n_steps=n, burn_in=m, n_walkers=16)
    told = limit * (n + m - 2 * n * (m / n) ** 3) / (n - m) ** 2 / 16
    assert w.stderr(BELOW, "theory") == pytest.approx(np.sqrt(told))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"kernel": "none", "base": "srw", "restart": 0.3}, "restart"),
        ({"kernel": "none", "base": "srw", "thin": 2, "record": "path"}, "thin"),
        ({"alpha": ("linear", 0.0, 5.0, 400)}, "constant alpha"),
        ({"alpha": ("log", 1.0, 20.0)}, "constant alpha"),
    ],
)
def test_theory_refuses_what_it_does_not_cover(how: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        walk(**how).stderr(BELOW, "theory")


def test_stops_in_a_store(tmp_path: Path) -> None:
    enough = fm.walks.StopAtStderr(stderr=0.03, every=100)
    how = {"f": BELOW, "stop": enough, "n_steps": 10**5, "plan": fm.Plan(store=tmp_path)}
    first = walk(BARBELL, "srrw", "mhrw", **how)
    assert first.n_steps < 10**5
    again = walk(BARBELL, "srrw", "mhrw", **how)
    assert again.n_steps == first.n_steps
    with pytest.raises(ArgumentError, match="stop: given with history"):
        walk(BARBELL, f=BELOW, stop=enough, history="shared_sync")


def test_merges_of_walks_without_a_law() -> None:
    node2vec = fm.walks.Node2Vec(0.5, 2.0)
    two = [walk(BARBELL, "none", node2vec, rng=seed) for seed in (0, 1)]
    assert (two[0].merge(two[1]).visits == two[0].visits + two[1].visits).all()
    paths = [walk(BARBELL, "saw", record="path", init=0, rng=seed) for seed in (0, 1)]
    with pytest.raises(ArgumentError, match="self-avoiding"):
        paths[0].merge(paths[1])


@pytest.mark.parametrize(
    ("kernel", "base"),
    [("hdt", "maxdeg"), ("hdt", "weighted"), ("srrw", "mtm"), ("hdt", fm.walks.Lazy("weighted"))],
)
def test_variances_are_of_walks_that_there_are(kernel: str, base: Any) -> None:
    told = []
    for call in (
        lambda: walk(BARBELL, kernel, base),
        lambda: fm.walks.asymptotic_variance(BARBELL, BELOW, kernel, base),
    ):
        with pytest.raises(ArgumentError) as error:
            call()
        told.append(str(error.value))
    assert told[0] == told[1]


def test_variances_of_sets() -> None:
    sets = fm.walks.asymptotic_variance(BARBELL, BELOW > 0.5)
    assert sets == fm.walks.asymptotic_variance(BARBELL, BELOW)
    with pytest.raises(ArgumentError, match="whose law is uniform"):
        fm.walks.asymptotic_variance(BARBELL, BELOW, "srrw", "maxdeg", weights="degree")


def test_gaps_below_rounding_are_refused() -> None:
    path = np.array([[0, 1], [1, 2]])
    for low in 1e-6, 1e-9:
        # Between the ends through a node of weight w: l = 1 - w / 2 for the odd mode.
        v = fm.walks.asymptotic_variance(
            path, [1.0, 0.0, -1.0], "none", "mhrw", weights=[1.0, low, 1.0]
        )
        assert v == pytest.approx(4 / low, rel=10 * low + 1e-5)
    with pytest.raises(fm.errors.NumericalError, match="mixes too slowly"):
        fm.walks.asymptotic_variance(
            path, [1.0, 0.0, -1.0], "none", "mhrw", weights=[1.0, 1e-14, 1.0]
        )


@pytest.mark.filterwarnings("ignore:the history is still noisy")
def test_measures_that_forget_are_never_quiet() -> None:
    w = walk(BARBELL, "hdt", "mhrw", step_exponent=0.7, n_steps=2000, burn_in=500)
    with pytest.warns(ConvergenceWarning, match="use step_exponent=1"):
        w.expect(BELOW)


def test_walkers_that_met_a_part_of_the_graph_are_told():
    g = fm.walks.graphs.ring_of_cliques(1000, 10)
    walk = fm.walks.walk(
        g, "srrw", n_steps=200_000, n_walkers=8, rng=0, plan=fm.Plan(progress=False)
    )
    with pytest.warns(fm.errors.ConvergenceWarning, match="met only"):
        walk.expect(g.degrees)
    g = fm.walks.graphs.random_regular(1000, 6, rng=1)
    walk = fm.walks.walk(
        g, "srrw", n_steps=20_000, n_walkers=8, rng=0, plan=fm.Plan(progress=False)
    )
    assert not any("met only" in text for text in walk.expect(np.arange(1000) % 7).warnings)
