"""Tokens that go on from where they were: states, stores, interrupts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from clock import until
from token_help import data, optimize, pull, quadratic, ring

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError


def equal(a: fm.walks.OptimizeResult, b: fm.walks.OptimizeResult) -> None:
    np.testing.assert_array_equal(a.thetas, b.thetas)
    np.testing.assert_array_equal(a.averages, b.averages)
    np.testing.assert_array_equal(a.visits, b.visits)
    assert a.n_steps == b.n_steps


def calls() -> dict[str, dict[str, Any]]:
    x, y, nodes = data(9, 2)
    return {
        "full": {"loss": fm.walks.Quadratic(*quadratic(9, 2)), "momentum": 0.5},
        "batches": {"loss": fm.walks.LeastSquares(x, y, nodes), "batch_size": 2, "sync": 13},
        "python": {"loss": pull, "dim": 2, "kernel": "hdt", "base": "mhda", "a": 0.6},
        "plain": {"loss": pull, "dim": 2, "kernel": "none", "base": "srw"},
    }


@pytest.mark.parametrize("name", calls())
def test_two_parts_are_one_run(name: str, tmp_path: Any) -> None:
    call = {"graph": ring(9), "n_tokens": 11, "average": 5, **calls()[name]}
    whole = optimize(n_steps=400, **call)
    part = optimize(n_steps=150, **call)
    part.save(tmp_path / "part.safetensors")
    state = fm.walks.OptimizeResult.load(tmp_path / "part.safetensors").state
    again = optimize(n_steps=250, state=state, **call)
    equal(again, whole)
    assert again.n_evals == 11 * 250
    np.testing.assert_array_equal(again.trace.theta[:, 0], part.thetas)
    assert again.trace.steps[[0, -1]].tolist() == [150, 400]


def test_an_interrupt_leaves_a_state_to_go_on_from() -> None:
    def interrupted(theta: Any, nodes: Any) -> Any:
        seen.append(None)
        if len(seen) == 100:
            raise KeyboardInterrupt
        return pull(theta, nodes)

    seen: list[None] = []
    call: dict[str, Any] = {"graph": ring(7), "n_tokens": 3, "dim": 2, "average": True}
    with pytest.raises(KeyboardInterrupt) as info:
        optimize(interrupted, n_steps=500, **call)
    partial: Any = info.value.partial_result  # type: ignore[attr-defined]
    assert partial.visits.sum() == 3 * 99  # and not what walkers have drawn ahead
    equal(
        optimize(pull, n_steps=401, state=partial.state, **call),
        optimize(pull, n_steps=500, **call),
    )


def test_an_interrupt_of_code_without_python_leaves_a_state() -> None:
    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    loss = fm.walks.Quadratic(*quadratic(9, 3))
    call: dict[str, Any] = {"graph": ring(9), "n_tokens": 5, "average": True}
    with pytest.raises(KeyboardInterrupt) as info:
        optimize(
            loss,
            n_steps=10**7,
            plan=fm.Plan(n_threads=2, progress=stop),
            record_every=10**6,
            **call,
        )
    partial: Any = info.value.partial_result  # type: ignore[attr-defined]
    done = partial.n_steps
    assert 0 < done < 10**7
    assert partial.visits.sum() == 5 * done
    whole = optimize(loss, n_steps=done + 500, **call)
    equal(optimize(loss, n_steps=500, state=partial.state, **call), whole)


def test_runs_in_the_background() -> None:
    loss = fm.walks.Quadratic(1.0, np.arange(5.0))
    run = fm.walks.start("optimize", loss, ring(5), n_steps=100, rng=0)
    assert run.result(timeout=60).theta == optimize(loss, ring(5), n_steps=100).theta


@pytest.mark.parametrize("a", [1.0, 0.7])
def test_a_shared_history_is_reproducible(a: float, thread_counts: tuple[int, ...]) -> None:
    loss = fm.walks.Quadratic(1.0, np.arange(9.0))
    call: dict[str, Any] = {"graph": ring(9), "n_tokens": 20, "a": a, "average": True}
    call |= {"history": "shared_sync", "alpha": 2.0, "step_sizes": np.full(300, 0.05)}
    whole = optimize(loss, n_steps=300, plan=fm.Plan(n_threads=1), **call)
    assert whole.visits.sum() == 20 * 300
    for n_threads in thread_counts[1:]:
        equal(optimize(loss, n_steps=300, plan=fm.Plan(n_threads=n_threads), **call), whole)
    part = optimize(loss, n_steps=120, **call)
    equal(optimize(loss, n_steps=180, state=part.state, **call), whole)
    assert whole.stderr is None  # tokens of one history are not independent


def test_a_stored_run_goes_on(tmp_path: Any) -> None:
    def failing(theta: Any, nodes: Any) -> Any:
        seen.append(None)
        if len(seen) == 300:
            raise OSError("the disk is full")
        return pull(theta, nodes)

    seen: list[None] = []
    kept = fm.Plan(store=tmp_path)
    call: dict[str, Any] = {"graph": ring(7), "n_tokens": 3, "dim": 2, "average": True}
    call |= {"record_every": 7, "rng": 5}
    with pytest.raises(OSError, match="disk") as info:
        optimize(failing, n_steps=500, plan=kept, **call)
    assert any("299 steps" in note for note in info.value.__notes__)
    whole = optimize(pull, n_steps=500, **call)
    resumed = optimize(failing, n_steps=500, plan=kept, **call)
    assert len(seen) == 501
    equal(resumed, whole)
    np.testing.assert_array_equal(resumed.trace.theta, whole.trace.theta)
    np.testing.assert_array_equal(resumed.trace.steps, whole.trace.steps)
    equal(optimize(failing, n_steps=500, plan=kept, **call), whole)
    assert len(seen) == 501
    longer = optimize(pull, n_steps=600, plan=kept, **{**call, "rng": None})
    equal(longer, optimize(pull, n_steps=600, **call))
    with pytest.raises(CheckpointError, match="momentum"):
        optimize(pull, n_steps=600, plan=kept, momentum=0.5, **call)
    with pytest.raises(CheckpointError, match="600 steps"):
        optimize(pull, n_steps=500, plan=kept, **call)


def test_a_run_that_fails_at_once_leaves_no_file(tmp_path: Any) -> None:
    kept = fm.Plan(store=tmp_path)

    def wrong(theta: Any, nodes: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        optimize(wrong, ring(5), n_steps=10, dim=2, plan=kept)
    assert not (tmp_path / "state.safetensors").exists()


def test_states_that_are_refused(tmp_path: Any) -> None:
    call: dict[str, Any] = {"loss": pull, "graph": ring(5), "dim": 2, "n_steps": 10}
    o = optimize(**call)
    with pytest.raises(ArgumentError, match="clip"):
        optimize(state=o.state, **call, clip=1.0)
    with pytest.raises(ArgumentError, match="state"):
        optimize(state={"theta": o.theta}, **call)
    with pytest.raises(ArgumentError, match="a store"):
        optimize(state=o.state, plan=fm.Plan(store=tmp_path / "x"), **call)


def test_a_handle_shows_parameters_while_tokens_move() -> None:
    run = fm.start(fm.walks.optimize, pull, ring(5), n_steps=10**8, dim=2, rng=3, average=True)
    shown = until(run.inspect, "parameters")
    assert shown.status == "running"
    trace = shown.trace.theta.copy()
    partial = run.abort(timeout=20)
    assert partial.n_steps >= shown.n_steps
    np.testing.assert_array_equal(shown.trace.theta, trace)
