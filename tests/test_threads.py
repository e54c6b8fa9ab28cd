"""The threads that calls leave behind."""

from __future__ import annotations

import sys

import pytest
from child_processes import child, output

linux = pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")

COUNT = """
    import os
    import numpy as np
    import fermiac as fm
    from clock import until
    from plans import on_threads

    def n_threads():
        return len(os.listdir("/proc/self/task"))

    def settle(most):  # threads need a moment to end
        until(lambda: n_threads() <= most, f"at most {most} threads")

    x = np.linspace(1, 2, 20_000)
    first = on_threads(1, fm.special.gammaln, x)
    before = n_threads()
"""


@linux
def test_a_sweep_over_thread_counts_leaves_few_threads() -> None:
    made = output(
        child(
            COUNT
            + """
    for n in range(6, 40):
        assert (on_threads(n, fm.special.gammaln, x) == first).all()
    spare = 2 * len(os.sched_getaffinity(0))
    settle(before + 39 + spare)
    on_threads(2, fm.special.gammaln, x)
    settle(before + 2 + spare)
    print("few")
    """
        )
    )
    assert made == ["few"]


@linux
def test_a_pool_in_use_is_kept() -> None:
    made = output(
        child(
            COUNT
            + """
    def f(points):  # is called within a run of 5 threads, and asks for pools of its own
        for n in range(2, 12):
            on_threads(n, fm.special.gammaln, x)
        return points[:, 0]

    def run(n):
        law = fm.distributions.Normal()
        return fm.importance.expect(f, law, n=20_000, rng=0, plan=fm.Plan(n_threads=n)).mean

    print(float(run(5)) == float(run(1)))
    """
        )
    )
    assert made == ["True"]


@linux
def test_threads_that_cannot_be_started_are_an_error_and_the_next_call_works() -> None:
    made = output(
        child(
            COUNT
            + """
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
    for n in (1024, 1000):
        try:
            on_threads(n, fm.special.gammaln, x)
        except fm.errors.ArgumentError as error:
            print(str(error).split(":")[0].split("=")[0])
    assert (on_threads(2, fm.special.gammaln, x) == first).all()
    print("works")
    """
        )
    )
    assert made == ["n_threads", "n_threads", "works"]
