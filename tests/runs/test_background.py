"""Runs in the background: waiting, pausing, aborting, and what is left of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from child_processes import child, output
from clock import LIMIT, steady, until
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError

Array = NDArray[np.float64]
LAW = fm.distributions.Normal()
ENDLESS = 10**12


def endless(**arguments: Any) -> fm.Run:
    given = {"n": ENDLESS, "method": "mc", "rng": 0, **arguments}
    return fm.importance.start("expect", fm.targets.powers(2), LAW, **given)


@pytest.mark.parametrize("verb", ["expect", fm.importance.expect])
def test_the_result_is_that_of_the_call(verb: Any) -> None:
    def f(x: Array) -> Array:
        return x[:, 0] ** 2

    run = fm.importance.start(verb, f, LAW, n=5000, rng=1)
    assert isinstance(run, fm.Run)
    assert run.result().mean == fm.importance.expect(f, LAW, n=5000, rng=1).mean
    assert run.wait()
    assert run.state == "finished"
    assert run.progress == (5000, 5000)
    assert run.elapsed > 0
    assert repr(run).startswith("Run of expect: finished, 100 % of 5000, ")
    assert run.abort().mean == run.result().mean


def test_pause_and_resume() -> None:
    run = endless()
    until(lambda: run.progress[0], "evaluations")
    assert run.state == "running"
    run.pause()
    until(lambda: run.state == "paused", "the pause")
    done = run.progress
    assert steady(lambda: (run.progress, run.elapsed))
    run.resume()
    until(lambda: run.progress > done, "further evaluations")
    assert run.state == "running"
    assert run.abort().status == "interrupted"
    assert run.state == "aborted"


def test_abort_gives_the_partial_result() -> None:
    run = endless(plan=fm.Plan(n_threads=2))
    until(lambda: run.progress[0], "evaluations")
    with pytest.raises(TimeoutError, match="it goes on"):
        run.result(timeout=0.01)
    partial = run.abort()
    assert partial.status == "interrupted"
    assert 0 < partial.n_evals < ENDLESS
    assert abs(partial.mean - 1) < 5 * partial.stderr
    assert run.result() is partial
    assert run.wait()


def test_a_paused_run_can_be_aborted() -> None:
    run = endless()
    run.pause()
    until(lambda: run.state == "paused", "the pause")
    assert run.abort() is not None
    assert run.state == "aborted"


def test_abort_during_the_adaptation_leaves_nothing() -> None:
    called = threading.Event()

    def f(x: Array) -> Array:
        called.set()
        time.sleep(0.2)
        return x[:, 0]

    run = fm.importance.start("expect", f, LAW, n=10**9, rng=0)
    assert called.wait(20)
    assert run.abort() is None


def test_an_error_is_raised_by_the_handle() -> None:
    def f(x: Array) -> Array:
        raise LookupError("mine")

    run = fm.importance.start("expect", f, LAW, n=1000, rng=0)
    assert run.wait()
    assert run.state == "failed"
    for ask in (run.result, run.abort):
        with pytest.raises(LookupError, match="mine"):
            ask()


def test_the_callback_of_the_user_is_called() -> None:
    seen: list[tuple[int, int]] = []
    run = endless(plan=fm.Plan(progress=lambda *counts: seen.append(counts)))
    until(lambda: len(seen) > 1, "reports")
    run.abort()
    assert seen == sorted(seen)
    assert all(total == ENDLESS for _, total in seen)


@pytest.mark.parametrize("verb", ["explain", print, None, []])
def test_what_cannot_be_started(verb: Any) -> None:
    with pytest.raises(ArgumentError, match=r"fermiac\.importance starts 'expect'"):
        fm.importance.start(verb, None)


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_ctrl_c_ends_the_waiting_and_not_the_run() -> None:
    process = child("""
        import sys, threading
        import fermiac as fm
        from clock import until

        def is_waiting(thread):
            frame = sys._current_frames()[thread]
            while frame is not None and frame.f_code is not fm.Run.wait.__code__:
                frame = frame.f_back
            return frame is not None

        def tell(thread):
            until(lambda: is_waiting(thread), "the waiting")
            print("ready", flush=True)

        run = fm.importance.start(
            "expect", fm.targets.powers(2), fm.distributions.Normal(), n=10**12, method="mc", rng=0
        )
        threading.Thread(target=tell, args=(threading.get_ident(),)).start()
        try:
            run.wait()
        except KeyboardInterrupt:
            print(run.state, run.abort().status, run.state)
    """)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    process.send_signal(signal.SIGINT)
    assert output(process) == ["running", "interrupted", "aborted"]


def test_the_interpreter_can_end_during_a_run() -> None:
    process = child("""
        import fermiac as fm
        from clock import until
        for n_threads in (1, 2):
            run = fm.importance.start(
                "expect", fm.targets.powers(2), fm.distributions.Normal(), n=10**12,
                method="mc", rng=0, plan=fm.Plan(n_threads=n_threads),
            )
            until(lambda: run.progress[0], "evaluations")
        paused = fm.importance.start(
            "expect", lambda x: x, fm.distributions.Normal(), n=10**12, method="mc", rng=0
        )
        paused.pause()
        until(lambda: paused.state == "paused", "the pause")
        print(paused.state)
    """)
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err
    assert (out.strip(), err) == ("paused", "")


def test_a_run_can_be_aborted_within_its_first_batch() -> None:
    def slow(x: Array) -> Array:
        time.sleep(0.01)
        return x[:, 0]

    with ThreadPoolExecutor(1) as pool:
        shards = fm.executor.Sharded(pool, rows=1)
        run = fm.importance.start("expect", slow, LAW, n=4096, rng=0, method="mc", plan=shards)
        until(lambda: run.progress[0], "rows")
        # The first batch has all 4096 rows: 40 s.
        assert run.abort() is None
        assert run.state == "aborted"


def test_the_callback_may_abort_the_run_and_not_wait_for_it() -> None:
    runs: list[fm.Run] = []

    def abort(done: int, total: int) -> None:
        if runs:
            runs[0].abort()

    runs.append(endless(plan=fm.Plan(progress=abort)))
    assert runs[0].result().status == "interrupted"
    assert runs[0].state == "aborted"

    def wait(done: int, total: int) -> None:
        if len(runs) > 1:
            runs[1].wait()

    runs.append(endless(plan=fm.Plan(progress=wait)))
    with pytest.raises(RuntimeError, match="the run waits for itself"):
        runs[1].result()


def test_aborting_in_the_last_report_leaves_the_result() -> None:
    runs: list[fm.Run] = []

    def abort(done: int, total: int) -> None:
        until(lambda: runs, "the handle")
        if done == total:
            runs[0].abort()

    f = fm.targets.powers(2)
    runs.append(fm.importance.start("expect", f, LAW, n=5000, rng=0, plan=fm.Plan(progress=abort)))
    assert runs[0].result().status == "complete"
    assert runs[0].state == "finished"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX's")
def test_a_fork_has_no_runs_to_wait_for() -> None:
    code = """
        import os, warnings
        import fermiac as fm
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        def held(done, total):
            pass
        law = fm.distributions.Normal()
        run = fm.importance.start(
            "expect", fm.targets.powers(2), law, n=10**12, method="mc", rng=0,
            plan=fm.Plan(progress=held),
        )
        run._lock.acquire()
        child = os.fork()
        if child:
            run._lock.release()
            run.abort()
            print(os.waitpid(child, 0)[1])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout.strip(), done.stderr) == ("0", "")


@pytest.mark.filterwarnings("ignore::fermiac.errors.ConvergenceWarning")
def test_any_long_verb_can_be_started() -> None:
    law = fm.distributions.Normal([0.0, 0.0])
    run = fm.start(fm.mcmc.sample, law, kernel=fm.mcmc.RWM(), n_draws=40, n_warmup=40, rng=0)
    sample = run.result(60)
    same = fm.mcmc.sample(law, kernel=fm.mcmc.RWM(), n_draws=40, n_warmup=40, rng=0)
    np.testing.assert_array_equal(sample.draws, same.draws)
    assert fm.start(fm.mcmc.extend, sample, 10).result(60).draws.shape[1] == 50
    ring = np.column_stack([np.arange(9), (np.arange(9) + 1) % 9])
    assert fm.start(fm.walks.walk, ring, n_steps=100, rng=0).result(60).n_steps == 100
    m = fm.score.GaussianMixture([1.0], [[0.0]], [1.0])
    run = fm.start(fm.score.sample, m, 100, sigma_range=(0.1, 10.0))
    assert run.result(60).draws.shape == (100, 1)


DEEP: Any = []
for _ in range(3000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "verb",
    ["mcmc.sample", "sample", print, None, [], DEEP, fm.mcmc.open, fm.walks.corpus],
    ids=lambda verb: "deep" if verb is DEEP else None,
)
def test_what_is_no_long_verb_is_refused(verb: Any) -> None:
    with pytest.raises(ArgumentError, match=r"functions is needed: .*fermiac\.walks\.optimize"):
        fm.start(verb, None)


def test_the_start_of_a_domain_takes_its_own_verbs() -> None:
    for domain, name in [(fm.nested, "sample"), (fm.score, "searched"), (fm.walks, "optimize")]:
        with pytest.raises(ArgumentError, match=f"starts .*'{name}'"):
            domain.start(fm.importance.expect)
        assert domain.start.__module__ == domain.__name__
        assert "fermiac.start" in domain.start.__doc__
