"""Calls under forks, threads, spawned processes, little memory, and at the end of the interpreter.

Each check runs in an interpreter of its own. It passes, fails, or says why it was not run.

    python fuzz/processes.py
    python fuzz/processes.py --only fork
"""

from __future__ import annotations

import argparse
import faulthandler
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

import fermiac as fm
from children import GIB, limit_memory

__all__ = ["CHECKS", "calls", "main"]

#: Seconds after which a check hangs.
_TIMEOUT = 240
#: Threads that may be left by a sweep over numbers of threads up to this one.
_SWEEP, _LEFT = 39, 100


def calls() -> dict[str, Callable[[int], Any]]:
    """One short call of each domain, as functions of the number of threads, which give numbers."""
    law = fm.distributions.MultivariateNormal([0.0, 1.0], [[2.0, 0.5], [0.5, 1.0]])
    box = fm.distributions.Product([fm.distributions.Uniform(-6, 6)] * 2)
    graph = fm.walks.graphs.barabasi_albert(200, 3, rng=1)
    mixture = fm.score.GaussianMixture(
        [0.4, 0.6], [[0.0, 0.0], [3.0, 1.0]], np.stack([np.eye(2)] * 2)
    )

    def square(x: Any) -> Any:
        return (x**2).sum(axis=1)

    def density(x: Any) -> Any:
        return -0.5 * square(x)

    def gradient(x: Any) -> Any:
        return -x

    return {
        "law": lambda n: law.sample(50_000, rng=0),
        "expect": lambda n: (
            fm.importance.expect(square, law, n=5000, rng=0, plan=fm.Plan(n_threads=n)).mean
        ),
        "built-in": lambda n: (
            fm.importance.expect(
                fm.targets.powers([2, 4]),
                fm.distributions.Normal(),
                n=50_000,
                rng=0,
                plan=fm.Plan(n_threads=n),
            ).mean
        ),
        "mcmc": lambda n: (
            fm.mcmc.sample(
                density,
                2,
                gradient,
                n_warmup=50,
                n_draws=50,
                rng=0,
                plan=fm.Plan(n_threads=n, progress=False),
            ).draws
        ),
        "mcmc law": lambda n: (
            fm.mcmc.sample(
                law, n_warmup=100, n_draws=200, rng=0, plan=fm.Plan(n_threads=n, progress=False)
            ).draws
        ),
        "nested": lambda n: (
            fm.nested.sample(
                law, box, n_live=50, rng=0, plan=fm.Plan(n_threads=n, progress=False)
            ).draws
        ),
        "walks": lambda n: (
            fm.walks.walk(
                graph, n_steps=2000, n_walkers=8, rng=0, plan=fm.Plan(n_threads=n, progress=False)
            ).visits
        ),
        "score": lambda n: (
            fm.score.sample(
                mixture,
                500,
                n_steps=10,
                sigma_range=(0.01, 10.0),
                rng=0,
                plan=fm.Plan(n_threads=n, progress=False),
            ).draws
        ),
        "ess": lambda n: fm.diagnostics.ess(fm.random.Stream(0).normal((4, 500, 3))),
    }


def _results(n_threads: int) -> dict[str, bytes]:
    return {name: np.ascontiguousarray(call(n_threads)).tobytes() for name, call in calls().items()}


def _same(found: dict[str, bytes], expected: dict[str, bytes]) -> None:
    other = [name for name in expected if found.get(name) != expected[name]]
    assert not other, f"other bits in {other}"


def _forked(work: Callable[[], None], seconds: float = 60) -> None:
    """Run work in a forked child, and fail where it fails or does not end."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException as error:
            print(f"in the child: {error!r:.300}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            assert status == 0, f"the forked child ended with {os.waitstatus_to_exitcode(status)}"
            return
        time.sleep(0.02)
    os.kill(pid, signal.SIGABRT)  # faulthandler writes where it stands
    time.sleep(1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError(f"the forked child did not end in {seconds} s")


def fork_after_use() -> None:
    """A child forked after calls on several threads, and its child, give the same bits."""
    expected = _results(3)

    def work() -> None:
        _same(_results(3), expected)
        _forked(lambda: _same(_results(2), expected))

    _forked(work, seconds=120)


def fork_amid_threads() -> None:
    """Children forked while two threads are within calls give the same bits."""
    expected = _results(2)
    ended = threading.Event()

    def busy() -> None:
        while not ended.is_set():
            _results(2)

    threads = [threading.Thread(target=busy) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(8):
            time.sleep(0.05)
            _forked(lambda: _same(_results(2), expected))
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def many_threads() -> None:
    """Twelve Python threads that call everything at once give the same bits."""
    expected = _results(1)
    with ThreadPoolExecutor(12) as pool:
        for found in pool.map(_results, [1 + i % 4 for i in range(24)]):
            _same(found, expected)


def spawn_and_pickle() -> None:
    """Spawned processes give the same bits; laws, kernels and results survive pickling."""
    expected = _results(1)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for found in pool.map(_results, [1, 2]):
            _same(found, expected)
    law = fm.distributions.Gamma(2.0, 3.0)
    for value in (law, fm.mcmc.NUTS(), fm.random.Stream(3), fm.nested.Slice(), fm.walks.SRRW(2.0)):
        assert pickle.dumps(pickle.loads(pickle.dumps(value))) == pickle.dumps(value), value
    result = fm.importance.expect(fm.targets.powers(2), law, n=1000, rng=0)
    assert pickle.loads(pickle.dumps(result)).mean == result.mean


def little_memory() -> None:
    """Sizes that cannot be had raise MemoryError or ArgumentError, and the next call works."""
    expected = _results(2)
    limit_memory(2 * GIB)
    law = fm.distributions.Normal()
    plane = fm.distributions.MultivariateNormal([0.0, 0.0], np.eye(2))
    graph = fm.walks.graphs.barabasi_albert(100, 2, rng=0)
    mixture = fm.score.GaussianMixture([1.0], [[0.0]], [[[1.0]]])
    stream, quiet = fm.random.Stream(0), {"plan": fm.Plan(progress=False), "rng": 0}
    large: dict[str, Callable[[int], Any]] = {
        "Normal.sample": lambda n: law.sample(n, rng=0),
        "MultivariateNormal.sample": lambda n: plane.sample(n, rng=0),
        "Stream.normal": lambda n: stream.normal(n),
        "Stream.integers": lambda n: stream.integers(5, size=n),
        "expect keep_draws": lambda n: fm.importance.expect(
            fm.targets.powers(2), law, n=n, keep_draws=True, **quiet
        ),
        "mcmc n_draws": lambda n: fm.mcmc.sample(plane, n_draws=n, n_warmup=1, **quiet),
        "mcmc n_chains": lambda n: fm.mcmc.sample(plane, n_chains=n, n_draws=1, **quiet),
        "nested n_live": lambda n: fm.nested.sample(law, law, n_live=n, **quiet),
        "nested n_batch": lambda n: fm.nested.sample(
            law, law, n_live=20, dynamic=fm.nested.Dynamic(n_batch=n), **quiet
        ),
        "walks n_walkers": lambda n: fm.walks.walk(graph, n_walkers=n, n_steps=1, **quiet),
        "walks path": lambda n: fm.walks.walk(graph, n_steps=n, record="path", **quiet),
        "tokens": lambda n: fm.walks.optimize(
            lambda theta, nodes: theta, graph, dim=1, n_tokens=n, n_steps=1, **quiet
        ),
        "graph": lambda n: fm.walks.graphs.barabasi_albert(n, 3, rng=0),
        "score.sample": lambda n: fm.score.sample(
            mixture, n, n_steps=2, sigma_range=(0.1, 1.0), **quiet
        ),
        "key": lambda n: fm.privacy.InverseTransformKey(n, 5, rng=0),
    }
    wrong = []
    for size in (10**9, 10**13, 2**62):
        for name, call in large.items():
            # Named first, because an abort leaves nothing else to read.
            print(f"last: {name} of {size:.3g}", file=sys.stderr, flush=True)
            timer = threading.Timer(5, os.kill, (os.getpid(), signal.SIGINT))
            timer.start()
            try:
                call(size)
                wrong.append(f"{name} of {size:.3g} returned")
            except (MemoryError, fm.errors.ArgumentError, KeyboardInterrupt):
                pass
            except BaseException as error:
                wrong.append(f"{name} of {size:.3g}: {type(error).__name__}")
            finally:
                timer.cancel()
                timer.join()
    _same(_results(2), expected)
    assert not wrong, "; ".join(wrong)


def threads_given_back() -> None:
    """A sweep over numbers of threads does not leave all of them behind."""
    law = fm.distributions.Normal()
    for n in range(1, _SWEEP + 1):
        fm.importance.expect(fm.targets.powers(2), law, n=20_000, rng=0, plan=fm.Plan(n_threads=n))
    left = len(os.listdir("/proc/self/task"))
    assert left <= _LEFT, f"{left} threads of the system are left, more than {_LEFT}"


#: Programs that end while a daemon thread is within a call.
_ENDS = {
    "Python target": "fm.mcmc.sample(slow, 1, n_draws=10**7, plan=quiet)",
    "built-in target": "fm.mcmc.sample(law, n_draws=10**7, n_chains=1, plan=quiet)",
    "integrand": "fm.importance.expect(lambda x: x[:, 0], law, n=10**9)",
    "nested": "fm.nested.sample(slow, law, n_live=5000, plan=quiet)",
    "walks": "fm.walks.walk(graph, n_steps=10**9, plan=quiet)",
    "tokens": "fm.walks.optimize(pull, graph, dim=1, n_steps=10**7, plan=quiet)",
    "handle": "fm.start(fm.mcmc.sample, slow, 1, n_draws=10**7).wait()",
}
_END = """
import threading, time, warnings
import fermiac as fm
warnings.simplefilter("ignore")
law = fm.distributions.Normal()
graph = fm.walks.graphs.barabasi_albert(100, 2, rng=0)
quiet = fm.Plan(progress=False)
def slow(x):
    time.sleep(0.001)
    return -0.5 * (x**2).sum(axis=1)
def pull(theta, nodes):
    return theta
threading.Thread(target=lambda: {call}, daemon=True).start()
time.sleep({seconds})
"""


def exit_within_calls() -> None:
    """The interpreter ends with status 0 while daemon threads are within calls."""
    wrong = []
    for name, call in _ENDS.items():
        for seconds in (0.1, 0.5):
            code = _END.format(call=call, seconds=seconds)
            run = [sys.executable, "-c", code]
            try:
                ended = subprocess.run(run, capture_output=True, text=True, timeout=30)
            except subprocess.TimeoutExpired:
                wrong.append(f"{name}: did not end")
                continue
            if ended.returncode or "FATAL" in ended.stderr:
                wrong.append(f"{name}: status {ended.returncode} {ended.stderr.strip()[-80:]!r}")
    assert not wrong, "; ".join(wrong)


def free_threaded() -> str | None:
    """Many threads on an interpreter without the global lock, where one is installed."""
    names = [f"python3.{minor}t" for minor in (13, 14, 15)]
    found = [path for path in map(shutil.which, names) if path]
    if not found:
        return "no free-threaded interpreter is installed"
    run = [found[0], __file__, "--one", "many_threads"]
    ended = subprocess.run(run, capture_output=True, text=True, timeout=_TIMEOUT)
    if "ModuleNotFoundError" in ended.stderr:
        return f"{found[0]} has no fermiac: {ended.stderr.strip().splitlines()[-1]}"
    assert ended.returncode == 0, ended.stderr.strip()[-300:]
    return None


CHECKS: dict[str, Callable[[], str | None]] = {
    check.__name__: check
    for check in (
        fork_after_use,
        fork_amid_threads,
        many_threads,
        spawn_and_pickle,
        little_memory,
        threads_given_back,
        exit_within_calls,
        free_threaded,
    )
}


def _judged(name: str) -> tuple[bool, str]:
    """Whether a check passes in an interpreter of its own, and what it says."""
    begun = time.monotonic()
    run = [sys.executable, __file__, "--one", name]
    try:
        ended = subprocess.run(run, capture_output=True, text=True, timeout=_TIMEOUT)
    except subprocess.TimeoutExpired:
        return False, f"FAILED: did not end in {_TIMEOUT} s"
    seconds = f"({time.monotonic() - begun:.0f} s)"
    if ended.returncode == 0:
        return True, f"{ended.stdout.strip() or 'passed'} {seconds}"
    lines = [line for line in ended.stderr.strip().splitlines() if not line.startswith(" ")]
    last = [line for line in lines if line.startswith(("last:", "memory allocation"))][-2:]
    told = last if ended.returncode < 0 else lines[-1:]
    return False, f"FAILED with status {ended.returncode}: {' | '.join(told)} {seconds}"


def main(arguments: list[str] | None = None) -> int:
    """Run the checks and print one line each; returns 1 if one fails."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", default="", help="a part of the names of the checks")
    parser.add_argument("--one", default="", help="one check, in this interpreter")
    options = parser.parse_args(arguments)
    if options.one:
        faulthandler.enable()
        warnings.simplefilter("ignore")
        reason = CHECKS[options.one]()
        if reason:
            print(f"not run: {reason}")
        return 0
    failed = 0
    for name in CHECKS:
        if options.only in name:
            passed, told = _judged(name)
            failed += not passed
            print(f"{name:<20} {told}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
