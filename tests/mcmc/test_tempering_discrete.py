"""The reference of `Tempered` for `Discrete` blocks: sums over all states, sameness, errors."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from plans import by_units

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.mcmc.tempering_discrete import BlocksFit, blocks_of

Array = NDArray[np.float64]
mcmc = fm.mcmc
PAIRS = np.array([[0, 1], [1, 2], [2, 3], [3, 0]])
FIELD = np.array([0.4, 0.0, -0.2])


def ring(x: Array) -> Array:
    """Four sites of three states in a ring, of which neighbours are mostly equal."""
    bonds = 4.0 * (x[:, PAIRS[:, 0]] == x[:, PAIRS[:, 1]]).sum(axis=1)
    total: Array = bonds + FIELD[x.astype(int)].sum(axis=1)
    return total


EVERY = np.array(list(itertools.product(range(3), repeat=4)), dtype=float)


def truth() -> tuple[Array, float]:
    """The share of each state at a site, and the logarithm of the sum of the density."""
    logs = ring(EVERY)
    p = np.exp(logs - logs.max())
    log_z = float(logs.max() + np.log(p.sum()))
    p /= p.sum()
    return np.array([(p * (EVERY[:, 0] == k)).sum() for k in range(3)]), log_z


def sites(**more: Any) -> mcmc.Gibbs:
    pairs = [(f"x{i}", mcmc.Discrete([0, 1, 2], **more)) for i in range(4)]
    return mcmc.Gibbs(pairs, blocks={f"x{i}": i for i in range(4)})


def pairs() -> mcmc.Gibbs:
    """Two blocks of two sites."""
    states = list(itertools.product(range(3), repeat=2))
    return mcmc.Gibbs(
        [("a", mcmc.Discrete(states)), ("b", mcmc.Discrete(states))],
        blocks={"a": [0, 2], "b": [3, 1]},
    )


@pytest.mark.parametrize(
    "explorer",
    [sites, pairs, lambda: sites(metropolised=True), lambda: mcmc.Cycle([sites()])],
    ids=["sites", "pairs", "metropolised", "cycle"],
)
def test_shares_and_evidence_are_sums_over_all_states(explorer: Callable[[], Any]) -> None:
    shares, log_z = truth()
    s = mcmc.sample(ring, 4, kernel=mcmc.Tempered(explorer()), n_warmup=200, rng=1)
    for k in range(3):
        mine = (s.draws[..., 0] == k).astype(float)
        error = float(fm.diagnostics.mcse(mine, kind="mean"))
        assert abs(mine.mean() - shares[k]) < 5 * error
        assert error < 0.05
    z = mcmc.log_evidence(s)
    assert abs(z.mean - log_z) < 5 * z.stderr
    assert z.stderr < 0.1


def test_the_reference_is_normalised_and_zero_outside_of_the_support() -> None:
    target = fm.targets.as_target(ring, 4)
    for kernel in (sites(), pairs()):
        fit = BlocksFit(blocks_of(kernel, 4, mcmc.kernel.Oracles(target)))
        np.testing.assert_allclose(np.exp(fit.law()(EVERY)), 1 / 81)
        fit.learn(target, EVERY[:30])
        law = pickle.loads(pickle.dumps(fit.law()))
        np.testing.assert_allclose(np.exp(law(EVERY)).sum(), 1)
        assert law(EVERY[:1])[0] > law(EVERY[-1:])[0]
        assert (law(np.array([[0.0, 1.0, 2.0, 0.5]])) == -np.inf).all()


def test_runs_are_equal_for_threads_and_workers() -> None:
    options: dict[str, Any] = {
        "kernel": mcmc.Tempered(sites()),
        "n_warmup": 30,
        "n_draws": 30,
        "rng": 2,
    }
    here = mcmc.sample(ring, 4, **options, plan=fm.Plan(n_threads=1))
    again = mcmc.sample(ring, 4, **options, plan=fm.Plan(n_threads=3))
    with ThreadPoolExecutor(2) as engine:
        there = mcmc.sample(ring, 4, **options, plan=by_units(engine))
    np.testing.assert_array_equal(here.draws, again.draws)
    np.testing.assert_array_equal(here.draws, there.draws)
    assert here.settings["reference"] == "fitted: a law of 4 independent blocks"


def test_other_blocks_beside_discrete_ones_need_a_reference() -> None:
    def density(x: Array) -> Array:
        value: Array = -0.5 * (x[:, 0] - 3 * x[:, 1]) ** 2
        return value

    mixed = mcmc.Gibbs([("x", mcmc.RWM()), ("k", mcmc.Discrete([-1, 1]))], blocks={"x": 0, "k": 1})
    with pytest.raises(ArgumentError, match="give reference="):
        mcmc.sample(density, 2, kernel=mcmc.Tempered(mixed), rng=0)

    def reference(x: Array) -> Array:
        value: Array = -0.5 * (x[:, 0] / 5) ** 2 - np.log(10 * np.sqrt(2 * np.pi))
        return value

    s = mcmc.sample(density, 2, kernel=mcmc.Tempered(mixed, reference=reference), rng=0)
    mine = (s.draws[..., 1] > 0).astype(float)
    assert abs(mine.mean() - 0.5) < 5 * float(fm.diagnostics.mcse(mine, kind="mean"))
    z = mcmc.log_evidence(s)
    assert abs(z.mean - np.log(2 * np.sqrt(2 * np.pi))) < 5 * z.stderr


def test_blocks_that_share_coordinates_need_a_reference() -> None:
    states = list(itertools.product(range(3), repeat=2))
    shared = mcmc.Gibbs(
        [(f"x{i}", mcmc.Discrete(states)) for i in range(3)],
        blocks={f"x{i}": [i, i + 1] for i in range(3)},
        overlap=True,
    )
    with pytest.raises(ArgumentError, match="share coordinates"):
        mcmc.sample(ring, 4, kernel=mcmc.Tempered(shared), rng=0)
