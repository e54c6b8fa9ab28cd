"""Ctrl-C, fork and memory of child processes."""

from __future__ import annotations

import os
import signal

import pytest
from child_processes import child, output

posix = pytest.mark.skipif(os.name != "posix", reason="signals and fork are POSIX's")


INTERRUPTED = """
    import signal
    import fermiac as fm
    events = []
    {target}
    law = fm.distributions.Normal()
    def report(done, total):
        if done > 2_000_000 and "ready" not in events:  # the adaptation has a million evaluations
            print("ready", flush=True)
            events.append("ready")
        events.append("report")
    def heard(*_):
        events.append("heard")
        raise KeyboardInterrupt
    signal.signal(signal.SIGINT, heard)
    try:
        fm.importance.expect(
            f, law, n=10**11, rng=0, method={method!r},
            plan=fm.Plan(n_threads={threads}, progress=report),
        )
    except KeyboardInterrupt as error:
        after = len(events) - 1 - events.index("heard")
        partial = error.partial_result
        print(after, partial.status, partial.mean, partial.stderr, partial.n_evals)
"""
CALLABLE = """
    def f(x):
        events.append("call")
        return x[:, 0] ** 2
"""


@posix
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("method", ["mc", "aiscv"])
@pytest.mark.parametrize(
    "target",
    ["f = fm.targets.powers(2)", CALLABLE.strip()],
    ids=["builtin", "callable"],
)
def test_ctrl_c_gives_the_partial_result(target: str, method: str, threads: int) -> None:
    process = child(INTERRUPTED.format(target=target, threads=threads, method=method))
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    process.send_signal(signal.SIGINT)
    after, status, mean, stderr, n_evals = output(process)
    # No batch, no report follows; fuzz/interrupts.py measures the time.
    assert int(after) == 0
    assert status == "interrupted"
    assert abs(float(mean) - 1) < 5 * float(stderr)
    assert 10_000 < int(n_evals) < 10**11


@posix
def test_ctrl_c_during_the_adaptation() -> None:
    process = child("""
        import time
        import fermiac as fm
        def f(x):
            print("called", flush=True)
            time.sleep(0.3)
            return x[:, 0]
        try:
            fm.importance.expect(f, fm.distributions.Normal(), n=10**9, rng=0)
        except KeyboardInterrupt as error:
            print("interrupted", error.partial_result)
    """)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "called"
    process.send_signal(signal.SIGINT)
    assert output(process)[-2:] == ["interrupted", "None"]


SERIAL = {
    "law": ("law = fm.distributions.Gamma(0.3)", "law.sample(6 * n, rng=0)"),
    "psis": ("x = fm.random.Stream(1).normal(6 * n)", "fm.diagnostics.psis(x)"),
    "ess": ("x = fm.random.Stream(1).normal((2, n))", "fm.diagnostics.ess(x)"),
    "resample": (
        "s = fm.Sample.from_arrays([0.0, 1.0, 2.0], [0.0, -1.0, -2.0])",
        "s.resample(10 * n, rng=0)",
    ),
    "quantile": (
        "s = fm.Sample.from_arrays(fm.random.Stream(1).normal((2 * n, 1)))",
        "s.quantile(0.3)",
    ),
    "sobol": (
        "from plans import on_threads",
        "on_threads(1, fm.random.sobol, 4 * n, 8, 0, 'owen')",
    ),
    "sobol on threads": (
        "from plans import on_threads",
        "on_threads(2, fm.random.sobol, 8 * n, 8, 0, 'owen')",
    ),
    "sobol of many dimensions": ("", "fm.random.sobol(1, 20 * n)"),
    "noise": (
        "m = fm.score.Gaussian([0.0] * 8, [[float(i == j) for i in range(8)] for j in range(8)])",
        "fm.score.sample(m, 2 * n, 8, n_steps=1, sigma_range=(0.1, 9.0), rng=0)",
    ),
}
#: Another thread gets its turn only where a call lets go of the interpreter, and sends two signals,
#: the second after the first was heard. A call that hears none while it works ends before the
#: second. A machine may be too fast for a call: then it gets more to do.
SERIAL_CALL = """
    import os, signal, sys, threading
    import fermiac as fm

    def press():
        asked.acquire()
        for _ in range(2):
            if not over:
                os.kill(os.getpid(), signal.SIGINT)
                heard.acquire()

    def listen(*_):
        global n_heard
        n_heard += 1
        heard.release()
        if n_heard == 2:
            raise KeyboardInterrupt

    def call(n):
        {before}
        yield
        yield {call}

    for _ in call(1000):  # what is loaded at the first call
        pass
    sys.setswitchinterval(1e3)
    signal.signal(signal.SIGINT, listen)
    for n in (10**6, 2 * 10**6, 4 * 10**6, 8 * 10**6):
        work = call(n)
        next(work)
        n_heard, over, asked, heard = 0, False, threading.Semaphore(0), threading.Semaphore(0)
        pressing = threading.Thread(target=press)
        pressing.start()
        asked.release()
        try:
            next(work)
        except KeyboardInterrupt:
            print("interrupted")
            break
        over = True
        heard.release()
        pressing.join()
"""


@posix
@pytest.mark.parametrize("case", SERIAL)
def test_ctrl_c_ends_serial_work(case: str) -> None:
    before, call = SERIAL[case]
    process = child(SERIAL_CALL.format(before=before or "pass", call=call))
    assert output(process) == ["interrupted"]


@posix
def test_a_call_that_hears_no_signals_is_told_from_one_that_does() -> None:
    before, call = "import hashlib", "hashlib.pbkdf2_hmac('sha256', b'a', b'b', n // 10)"
    assert output(child(SERIAL_CALL.format(before=before, call=call))) == []


@posix
@pytest.mark.parametrize(
    "call",
    [
        "fm.importance.expect(f, fm.distributions.Normal(), n=10**10, method='mc', rng=0)",
        "fm.mcmc.sample(f, 2, kernel='rwm', n_draws=10**8, rng=0)",
    ],
)
def test_a_daemon_thread_in_the_target_lets_the_process_end(call: str) -> None:
    process = child(f"""
        import threading, time
        import fermiac as fm
        calls = threading.Semaphore(0)

        class Slow:
            # Lets other threads run while the interpreter ends.
            def __del__(self, sleep=time.sleep):
                sleep(0.2)

        def f(x):
            calls.release()
            for i in range(200_000):
                pass
            return -(x**2).sum(axis=1)

        def run():
            {call}

        threading.Thread(target=run, daemon=True).start()
        slow = Slow()
        slow.itself = slow
        del slow
        for _ in range(20):
            calls.acquire()
    """)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (0, "")


@posix
def test_the_library_works_after_fork() -> None:
    process = child("""
        import os, warnings
        import fermiac as fm
        warnings.simplefilter("ignore")
        f, law = fm.targets.powers([2, 4]), fm.distributions.Normal()
        before = fm.importance.expect(f, law, n=50_000, rng=1, plan=fm.Plan(n_threads=2))
        pid = os.fork()
        if pid == 0:
            after = fm.importance.expect(f, law, n=50_000, rng=1, plan=fm.Plan(n_threads=2))
            os._exit(0 if (after.mean == before.mean).all() else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """)
    assert output(process, timeout=30) == ["0"]


@posix
@pytest.mark.parametrize(
    ("n", "call"),
    [
        (3, "fm.mcmc.sample(fm.distributions.Normal([0.0]), n_warmup=20, n_draws=20, rng=0)"),
        (60, "fm.mcmc.sample(fm.distributions.Normal([0.0]), n_warmup=20, n_draws=20, rng=0)"),
    ],
)
def test_a_fork_within_a_first_call_of_another_thread(n: int, call: str) -> None:
    # The thread imports its n-th module when the process forks.
    process = child(f"""
        import os, signal, sys, threading, warnings
        import fermiac as fm
        warnings.simplefilter("ignore")
        reached, found = threading.Event(), []
        class Finder:
            def find_spec(name, path=None, target=None):
                found.append(name)
                if len(found) == {n}:
                    reached.set()
        def first():
            {call}
        sys.meta_path.insert(0, Finder)
        thread = threading.Thread(target=first)
        thread.start()
        reached.wait()
        pid = os.fork()
        if pid == 0:
            signal.alarm(120)
            first()
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        thread.join()
    """)
    assert process.communicate(timeout=180) == ("0\n", "")


def test_a_long_run_needs_no_memory_for_its_points() -> None:
    process = child("""
        import resource
        import numpy as np
        import fermiac as fm
        law = fm.distributions.MultivariateNormal(np.zeros(5), np.eye(5))
        f = fm.targets.powers(np.eye(5, dtype=int))
        fm.importance.expect(f, law, n=100_000, method="mc", rng=0)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        fm.importance.expect(f, law, n=20_000_000, method="mc", rng=0)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """)
    # The points alone would take 800 MB.
    assert int(output(process)[0]) < 100_000
