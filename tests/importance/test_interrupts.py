"""Interrupts and progress of `expect` and `evidence`."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from evidence_targets import LOG_2PI, Array, run_evidence, small, wide

import fermiac as fm

LAW = fm.distributions.MultivariateNormal(np.zeros(2), np.eye(2))


def f(x: Array) -> Array:
    return x[:, 0] ** 2


def test_progress_is_reported() -> None:
    import time

    seen: list[tuple[int, int]] = []

    def slow(x: Array) -> Array:
        time.sleep(0.15)
        return f(x)

    fm.importance.expect(
        slow,
        LAW,
        n=300_000,
        method="mc",
        rng=0,
        plan=fm.Plan(progress=lambda *state: seen.append(state)),
    )
    assert seen
    assert all(total == 300_000 and 0 <= done <= total for done, total in seen)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (300_000, 300_000)


def test_an_interrupt_hands_out_what_was_done() -> None:
    calls = 0

    def f(x: Array) -> Array:
        nonlocal calls
        calls += 1
        if calls == 30:
            signal.raise_signal(signal.SIGINT)
        return small().log_density(x)

    assert threading.current_thread() is threading.main_thread()
    with pytest.raises(KeyboardInterrupt) as caught:
        run_evidence(small()._replace(log_density=f), n=2_000_000, rng=0)
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    assert partial.status == "interrupted"
    assert not partial.converged
    assert 0 < partial.n_evals < 2_000_000
    assert abs(partial.log_evidence - small().log_evidence) < 5 * partial.log_evidence_stderr


def test_an_interrupt_among_the_gradients_hands_out_the_evidence() -> None:
    def gradient(x: Array) -> Array:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        run_evidence(small(), n=5000, rng=0, gradient=gradient)
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    assert partial.status == "interrupted"
    assert partial.log_evidence == run_evidence(small(), n=5000, rng=0).log_evidence
    assert partial.sample.gradients is None


def test_an_interrupt_that_does_not_cease_keeps_the_final_stage() -> None:
    """Each report of the second stage raises, the one after the interrupt too."""
    n = 400_000

    def slow(x: Array) -> Array:
        time.sleep(0.15)  # a report comes every 50 ms, so one falls into each batch
        return -0.5 * np.sum(x * x, axis=1) - 10 * LOG_2PI

    def stop(done: int, total: int) -> None:
        if done > 0.6 * total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        fm.importance.evidence(
            slow,
            wide(20, 1.5),
            n=n,
            n_components=4,
            n_stages=1,
            rng=0,
            plan=fm.Plan(n_threads=1, progress=stop),
        )
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    assert 0.6 * n < partial.n_evals < n
    assert partial.status == "interrupted"
    assert len(partial.stages) == 2
    assert abs(partial.log_evidence) < 5 * partial.log_evidence_stderr


@pytest.mark.parametrize("verb", ["evidence", "expect"])
def test_an_interrupt_of_the_last_report_hands_out_the_whole_result(verb: str) -> None:
    def stop(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    def call(progress: Callable[[int, int], None] | bool) -> Any:
        function = getattr(fm.importance, verb)
        return function(
            lambda x: -0.5 * np.sum(x**2, axis=1),
            wide(2, 1.5),
            n=5000,
            rng=0,
            plan=fm.Plan(progress=progress),
        )

    with pytest.raises(KeyboardInterrupt) as caught:
        call(stop)
    whole, plain = caught.value.partial_result, call(False)  # type: ignore[attr-defined]
    assert whole.status == "complete"
    name = "log_evidence" if verb == "evidence" else "mean"
    assert getattr(whole, name) == getattr(plain, name)


def test_progress_of_an_evidence_is_reported() -> None:
    seen: list[tuple[int, int]] = []
    run_evidence(
        small(),
        n=5000,
        rng=0,
        plan=fm.Plan(progress=lambda done, total: seen.append((done, total))),
    )
    assert seen[-1] == (5000, 5000)
