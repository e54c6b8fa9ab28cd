"""Ctrl-C, fork and memory of child processes."""

from __future__ import annotations

import os
import signal
import time

import pytest
from child_processes import child, output

posix = pytest.mark.skipif(os.name != "posix", reason="signals and fork are POSIX's")


INTERRUPTED = """
    import time
    import fermiac as fm
    {target}
    law = fm.distributions.Normal()
    print("ready", flush=True)
    try:
        fm.importance.expect(f, law, n=10**11, rng=0, n_threads={threads}, method={method!r})
    except KeyboardInterrupt as error:
        caught = time.time()
        partial = error.partial_result
        print(caught, partial.status, partial.mean, partial.stderr, partial.n_evals)
"""


@posix
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("method", ["mc", "aiscv"])
@pytest.mark.parametrize(
    "target",
    ["f = fm.targets.powers(2)", "f = lambda x: x[:, 0] ** 2"],
    ids=["builtin", "callable"],
)
def test_ctrl_c_gives_the_partial_result(target: str, method: str, threads: int) -> None:
    process = child(INTERRUPTED.format(target=target, threads=threads, method=method))
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    # The adaptation of such a run has a million evaluations.
    time.sleep(6.0 if method == "aiscv" else 1.0)
    sent = time.time()
    process.send_signal(signal.SIGINT)
    caught, status, mean, stderr, n_evals = output(process)
    # 0.2 s plus the present call; the rest is for a busy machine.
    assert float(caught) - sent < 2.0
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


@posix
def test_the_library_works_after_fork() -> None:
    process = child("""
        import os, warnings
        import fermiac as fm
        warnings.simplefilter("ignore")
        f, law = fm.targets.powers([2, 4]), fm.distributions.Normal()
        before = fm.importance.expect(f, law, n=50_000, rng=1, n_threads=2)
        pid = os.fork()
        if pid == 0:
            after = fm.importance.expect(f, law, n=50_000, rng=1, n_threads=2)
            os._exit(0 if (after.mean == before.mean).all() else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """)
    assert output(process, timeout=30) == ["0"]


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
