"""Ctrl-C, fork, threads, memory: on real child processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

posix = pytest.mark.skipif(os.name != "posix", reason="signals and fork are POSIX's")


def child(code: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def output(process: subprocess.Popen[str], timeout: float = 60) -> list[str]:
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, err
    return out.split()


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
    # The adaptation of a run of this size takes a million evaluations.
    time.sleep(6.0 if method == "aiscv" else 1.0)
    sent = time.time()
    process.send_signal(signal.SIGINT)
    caught, status, mean, stderr, n_evals = output(process)
    # 0.2 s and the call under way; the rest is the scheduling of a busy machine.
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


@pytest.mark.parametrize("level", ["baseline", "avx2"])
def test_levels_agree(level: str) -> None:
    code = """
        import numpy as np
        import fermiac as fm
        law = fm.distributions.Uniform(np.zeros(3), np.ones(3))
        f = fm.targets.genz("oscillatory", np.array([1.0, 2.0, 3.0]), np.full(3, 0.3))
        e = fm.importance.expect(f, law, n=20_000, method="mc", rng=0)
        print(fm.isa_level(), repr(e.mean), repr(e.stderr))
    """
    name, mean, stderr = output(child(code, FERMIAC_ISA=level))
    best, best_mean, best_stderr = output(child(code, FERMIAC_ISA=""))
    order = ["baseline", "avx2", "avx512"]
    assert order.index(name) <= order.index(best)
    assert float(mean) == pytest.approx(float(best_mean), rel=1e-13)
    assert float(stderr) == pytest.approx(float(best_stderr), rel=1e-12)


def test_an_unknown_level_is_refused() -> None:
    process = child("import fermiac", FERMIAC_ISA="avx1024")
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "FERMIAC_ISA: 'avx1024' in the environment; the levels are" in err


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"FERMIAC_NUM_THREADS": "3"}, "3"),
        ({"RAYON_NUM_THREADS": "5"}, "5"),
        ({"FERMIAC_NUM_THREADS": "3", "RAYON_NUM_THREADS": "5"}, "3"),
    ],
)
def test_threads_from_the_environment(environment: dict[str, str], expected: str) -> None:
    code = "import fermiac; print(fermiac.get_num_threads())"
    assert output(child(code, **environment)) == [expected]


def test_a_bad_number_of_threads_in_the_environment() -> None:
    process = child("import fermiac; fermiac.get_num_threads()", FERMIAC_NUM_THREADS="many")
    _, err = process.communicate(timeout=60)
    assert "FERMIAC_NUM_THREADS: 'many' in the environment" in err


def test_a_worker_of_a_process_pool_uses_one_thread() -> None:
    process = child(
        """
        import multiprocessing
        import fermiac as fm
        def count():
            return fm.get_num_threads()
        if __name__ == "__main__":
            with multiprocessing.get_context("fork").Pool(1) as pool:
                print(pool.apply(count))
    """,
        FERMIAC_NUM_THREADS="",
        RAYON_NUM_THREADS="",
    )
    assert output(process) == ["1"]
