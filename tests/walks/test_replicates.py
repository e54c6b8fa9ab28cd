"""Replicates of a token optimisation: their keys, the best of them, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from plans import planned
from token_help import pull, ring

import fermiac as fm
from fermiac.distributions.law import subkey
from fermiac.errors import ArgumentError, ConvergenceWarning, FermiacWarning

Array = NDArray[np.float64]
GRAPH = ring(9)
LOSS = fm.walks.Quadratic(1.0, np.arange(9.0))


def replicated(*args: Any, **how: Any) -> Any:
    return fm.walks.optimize(*args, **{"rng": 0, "n_steps": 200, "replicates": 5, **how})


def test_a_replicate_is_the_run_of_its_own_key() -> None:
    o = replicated(LOSS, GRAPH, n_tokens=3, record_every=50)
    for r in range(5):
        one = fm.walks.optimize(
            LOSS, GRAPH, n_tokens=3, record_every=50, n_steps=200, rng=subkey(0, r), objective=True
        )
        np.testing.assert_array_equal(o.thetas[r], one.theta)
        np.testing.assert_array_equal(o.trace_theta[r], one.trace_theta.mean(axis=0))
        np.testing.assert_array_equal(o.trace_loss[r], one.trace_loss.mean(axis=0))
        assert o.objectives[r] == one.objective == LOSS.objective(one.theta)
    assert o.visits.sum() == 5 * 3 * 200
    assert o.n_evals == 5 * 3 * 200
    assert o.objective == o.objectives.min() == LOSS.objective(o.theta)
    assert o.best == np.argmin(o.objectives)


def test_the_objective_of_a_single_run_is_that_of_its_average() -> None:
    o = fm.walks.optimize(LOSS, GRAPH, n_steps=200, average=True, rng=0, objective=True)
    assert o.theta_average is not None
    assert o.objective == LOSS.objective(o.theta_average)
    assert fm.walks.optimize(LOSS, GRAPH, n_steps=20, rng=0).objective is None


def _wells(theta: Array) -> Array:
    """A double well whose left minimum, near -1, is the lower one."""
    x = theta[:, 0]
    return np.asarray((x**2 - 1) ** 2 + 0.3 * x)


def _slope(theta: Array, nodes: NDArray[np.int64]) -> Array:
    return 4 * theta * (theta**2 - 1) + 0.3 + 0.01 * (nodes[:, None] - 4.0)


def test_the_best_of_several_minima_by_their_starts() -> None:
    init = np.array([1.5, 0.8, -0.7, 1.1, 0.6])[:, None, None]
    o = replicated(_slope, GRAPH, init=init, objective=_wells, c=0.1, n_steps=2000)
    lower, upper = np.sort(np.roots([4, 0, -4, 0.3]).real)[[0, 2]]
    assert o.best == 2
    assert abs(o.theta[0] - lower) < 0.02
    np.testing.assert_allclose(np.delete(o.thetas[:, 0], 2), upper, atol=0.02)
    summary = str(o.summary())
    assert "best of 5 replicates" in summary
    assert o.summary()["objective"][0] == o.objective


def test_parts_of_other_calls_and_missing_ones(tmp_path: Any) -> None:
    parts = [replicated(LOSS, GRAPH, plan=fm.Plan(part=(i, 3))) for i in range(3)]
    assert [list(p.numbers) for p in parts] == [[0], [1, 2], [3, 4]]
    parts[2].save(tmp_path / "part.safetensors")
    merged = fm.merge([fm.load(tmp_path / "part.safetensors"), parts[0], parts[1]])
    np.testing.assert_array_equal(merged.thetas, replicated(LOSS, GRAPH).thetas)
    with pytest.raises(ArgumentError, match="two parts hold replicate 1"):
        parts[1].merge(parts[1])
    with pytest.raises(ArgumentError, match="part 1 is of another call"):
        parts[0].merge(replicated(LOSS, GRAPH, plan=fm.Plan(part=(1, 3)), c=0.5))
    with pytest.raises(ArgumentError, match="replicates of one call"):
        parts[0].merge(LOSS)
    with pytest.warns(FermiacWarning, match="2 of 5 replicates are missing: 1, 2"):
        fm.merge([parts[0], parts[2]])


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"callback": print}, "callback: given with replicates=5"),
        ({"objective": False}, "objective: False given"),
        ({"replicates": 0}, "replicates"),
        ({"replicates": 2**60}, "replicates"),
        ({"init": np.zeros((4, 1, 1))}, r"init: shape \(4, 1, 1\) was given for 5 replicates"),
        ({"store": "x", "rng": None}, "store: given without rng="),
        ({"replicates": None, "part": (0, 2)}, "part: given without replicates="),
        ({"part": (0, 6)}, "this part is empty"),
    ],
)
def test_refused(how: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        replicated(LOSS, GRAPH, **planned(**how))


def test_a_loss_without_values_needs_an_objective() -> None:
    with pytest.raises(ArgumentError, match="objective: not given with replicates="):
        replicated(pull, GRAPH, dim=1)


def test_warnings_are_given_once() -> None:
    with pytest.warns(ConvergenceWarning) as found:
        o = replicated(LOSS, GRAPH, b=0.6)
    assert len(found) == 1
    assert len(o.warnings) == 1
