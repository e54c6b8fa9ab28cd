"""Blocks with finitely many states."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gibbs_help import Run
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, TargetError
from fermiac.targets import as_target

mcmc = fm.mcmc


Array = NDArray[np.float64]


P = np.array([[0.1, 0.2, 0.05], [0.3, 0.05, 0.3]])


def table(x: Array) -> Array:
    """Log-probabilities of the pair (i, j)."""
    return np.log(P[x[:, 0].astype(int), x[:, 1].astype(int)])


@pytest.mark.parametrize("metropolised", [False, True])
@pytest.mark.parametrize("tables", [False, True])
@pytest.mark.parametrize("joint", [False, True])
def test_discrete_blocks_keep_their_law(metropolised: bool, tables: bool, joint: bool) -> None:
    pairs = np.array([(i, j) for i in range(2) for j in range(3)], float)

    def discrete(support: Any, f: Any) -> Any:
        return mcmc.Discrete(support, f if tables else None, metropolised)

    if joint:
        kernel = discrete(pairs, lambda x: np.tile(np.log(P.ravel()) + 7, (len(x), 1)))
    else:
        kernel = mcmc.Gibbs(
            [
                ("i", discrete([0, 1], lambda x: np.log(P[:, x[:, 1].astype(int)]).T)),
                ("j", discrete([0, 1, 2], lambda x: np.log(P[x[:, 0].astype(int)]))),
            ],
            blocks={"i": 0, "j": 1},
        )
    n = 3000
    start = pairs[np.random.default_rng(1).choice(6, size=n, p=P.ravel())]
    target = as_target(table, 2)
    draws, values, stats = Run(kernel, start, target).go(4)
    share = np.array(
        [[(draws[:, -1] == (i, j)).all(axis=1).mean() for j in range(3)] for i in range(2)]
    )
    assert (np.abs(share - P) < 5 * np.sqrt(P * (1 - P) / n)).all()
    known = ~np.isnan(values)
    assert known.all() != tables
    np.testing.assert_array_equal(values[known], table(draws[known]))
    free = Run(kernel, start[:5], target).go(4, driver="free", n_threads=2)[0]
    np.testing.assert_array_equal(free, draws[:5])
    name = "changed" if joint else "j.changed"
    assert set(np.unique(stats[name])) == {0.0, 1.0}


def test_a_known_state_is_not_asked_again() -> None:
    run = Run(mcmc.Discrete([0, 1, 2]), np.zeros((4, 1)), as_target(lambda x: 0.0 * x[:, 0], 1))
    run.go(1)
    assert run.sampler.n_evals == (12, 0)
    run.go(10)
    assert run.sampler.n_evals == (12 + 10 * 8, 0)


def test_a_metropolised_block_of_two_states_always_proposes_the_other() -> None:
    run = Run(
        mcmc.Discrete([0, 1], None, True), np.zeros((3, 1)), as_target(lambda x: 0.0 * x[:, 0], 1)
    )
    draws = run.go(6)[0][..., 0]
    np.testing.assert_array_equal(draws, np.tile([1, 0, 1, 0, 1, 0], (3, 1)))


def test_starts_are_on_the_support() -> None:
    def density(x: Array) -> Array:
        assert np.isin(x[:, 1], [3.0, 5.0]).all()
        return -0.5 * (x[:, 0] - x[:, 1]) ** 2

    kernel = mcmc.Gibbs([("x", mcmc.RWM()), ("k", mcmc.Discrete([3, 5]))], blocks={"x": 0, "k": 1})
    s = mcmc.sample(density, 2, kernel=kernel, n_chains=20, n_warmup=100, n_draws=100, rng=0)
    assert abs((s.draws[..., 1] == 3).mean() - 0.5) < 0.2


def test_bad_discrete_blocks() -> None:
    with pytest.raises(ArgumentError, match="twice"):
        mcmc.Discrete([1, 1])
    with pytest.raises(ArgumentError, match="support"):
        mcmc.Discrete([])
    with pytest.raises(ArgumentError, match="rows of 1"):
        mcmc.sample(lambda x: x[:, 0], 1, kernel=mcmc.Discrete([[1, 2]]), rng=0)
    with pytest.raises(TargetError, match="column for every state"):
        mcmc.sample(None, 1, kernel=mcmc.Discrete([0, 1], lambda x: x), n_draws=1, rng=0)
    bad = mcmc.Discrete([0, 1], lambda x: np.full((len(x), 2), -np.inf))
    with pytest.raises(TargetError, match="all -inf"):
        mcmc.sample(None, 1, kernel=bad, n_draws=1, rng=0)
