"""Workers of engines that are killed by SIGKILL at random moments.

Each call is done once without an engine. Then it runs on two workers of an engine, and one of them
is killed at a random moment of the call. The call must end without an error, with equal bits. Calls
alternate: a target that is sent points, runs of nested sampling as whole parts, chains that run
from barrier to barrier, without and with a store, and the chains of nested batches. The figures are
the number of kills, and the longest call beside one that had none.

Under MPI a lost rank ends the job. There the job has a store, of whole runs and of sections of
chains in turn; the next job must finish it with equal bits, and write nothing that was there.

    python fuzz/cluster_kills.py --n 20
    python fuzz/cluster_kills.py --n 20 --only dask mpi

The environment of `make test-cluster` has the engines; those that are missing are skipped.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import cluster_engines as engines  # noqa: E402
import worker_targets as targets  # noqa: E402

import fermiac as fm  # noqa: E402

__all__ = ["main"]

LAW = fm.distributions.MultivariateNormal(np.zeros(2), [[1.0, 0.3], [0.3, 1.0]])
PRIOR = fm.distributions.Uniform([-5.0, -5.0], [5.0, 5.0])
NAMES = ("process_pool", "dask", "ray_module", "loky_executor", "plain_loky", "parsl_executor")
#: Seconds after which a call counts as hung: twice the time after which Parsl's losses are found.
_HUNG = 300.0
#: Seconds without a result after which shards of Parsl count as lost. By default they never do
#: before the first result of a call, and Parsl's workers may wait for ever after one was killed.
_PATIENCE = 30.0
#: Pools that are broken for their user after a loss, or may have lost a whole node.
_BREAK = ("process_pool", "plain_loky", "parsl_executor")

MPI = """
import sys
from mpi4py.futures import MPIPoolExecutor
import cluster_kills
import fermiac as fm

if __name__ == "__main__":
    with MPIPoolExecutor() as executor:
        call = getattr(cluster_kills, sys.argv[3])
        call(sys.argv[2], plan=fm.Plan(executor=executor, store=sys.argv[1]))
"""


class Bowl:
    """A log-likelihood that takes a moment, and marks which processes were at work."""

    def __init__(self, folder: str | None) -> None:
        self.folder = folder

    def __call__(self, x: Any) -> Any:
        if self.folder is not None:
            (Path(self.folder) / str(os.getpid())).touch()
            time.sleep(0.002)
        return -0.5 * (x[:, 0] ** 2 + x[:, 1] ** 2)

    def __reduce__(self) -> tuple[Any, ...]:
        return Bowl, (self.folder,)


def points(folder: str | None, **given: Any) -> list[Any]:
    """A call whose workers get points."""
    f: Any = targets.moments if folder is None else targets.Slow(0.005, Path(folder))
    e = fm.importance.expect(f, LAW, n=500, method="mc", rng=3, **given)
    return [e.mean, e.stderr, e.cov, e.ess]


def runs(folder: str | None, **given: Any) -> list[Any]:
    """A call whose workers get whole runs."""
    r = fm.nested.sample(Bowl(folder), PRIOR, n_live=40, runs=10, rng=1, **given)
    return [r.draws, r.log_weights, r.log_evidence, r.log_evidence_stderr]


def slope(x: Any) -> Any:
    return -x


def chains(folder: str | None, **given: Any) -> list[Any]:
    """A call whose workers get chains that adapt together."""
    s = fm.mcmc.sample(
        Bowl(folder), 2, slope, n_chains=4, n_warmup=100, n_draws=40, rng=1, check=False, **given
    )
    return [s.draws, s.log_densities, s.n_evals]


def kept_chains(folder: str | None, plan: Any = None) -> list[Any]:
    """The same, whose workers write their sections to a store."""
    if folder is None:
        return chains(None)
    with tempfile.TemporaryDirectory() as store:
        made = chains(folder, plan=fm.Plan(executor=plan, store=store))
        assert equal(made, of_merged(fm.merge(store), chains)), "other bits in the store"
    return made


def batches(folder: str | None, **given: Any) -> list[Any]:
    """A call whose workers get the chains of one batch after the other."""
    r = fm.nested.sample(
        Bowl(folder), PRIOR, n_live=60, batch=20, sampler="slice", dlogz=0.1, rng=1, check=False,
        **given,
    )  # fmt: skip
    return [r.draws, r.log_weights, r.log_evidence, r.n_evals]


#: The calls, in turn, and those that an MPI job makes with a store.
CALLS = (points, runs, chains, kept_chains, batches)
STORED = (runs, chains)


def of_merged(result: Any, call: Any) -> list[Any]:
    """The figures of a call from its store."""
    return [getattr(result, name) for name in _FIELDS[call]]


_FIELDS = {
    runs: ("draws", "log_weights", "log_evidence", "log_evidence_stderr"),
    chains: ("draws", "log_densities", "n_evals"),
}


def equal(a: list[Any], b: list[Any]) -> bool:
    return all(
        np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in zip(a, b, strict=True)
    )


def kill_one(folder: Path, seconds: float, rng: random.Random, killed: list[int]) -> None:
    """Kill one of the processes that have marked the folder, some time after the first mark."""
    until = time.monotonic() + _HUNG
    while not (there := list(folder.iterdir())):
        if time.monotonic() > until:
            return
        time.sleep(0.005)
    time.sleep(seconds)
    there = [path for path in folder.iterdir() if int(path.name) != os.getpid()]
    with suppress(ProcessLookupError, IndexError):
        pid = int(rng.choice(sorted(there)).name)
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)


def _patient(name: str, executor: Any) -> Any:
    """Return an executor with the patience that its engine needs."""
    if name != "parsl_executor":
        return executor
    return fm.executor.Sharded(executor, patience=_PATIENCE)


def of_engine(name: str, n: int, seed: int) -> str:
    """Return the figures of an engine, in a sentence."""
    engine = getattr(engines, name)
    rng = random.Random(f"{seed} {name}")
    local = {call: call(None) for call in CALLS}
    longest, usual, kills = dict.fromkeys(CALLS, 0.0), {}, 0
    killed: list[int] = []
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        home = Path(temporary)
        own = stack.enter_context(ExitStack())
        executor = _patient(name, own.enter_context(engine(home / "engine")))
        for call in local:
            (quiet := home / call.__name__).mkdir()
            call(str(quiet), plan=executor)  # the workers start
            start = time.monotonic()
            assert equal(call(str(quiet), plan=executor), local[call])
            usual[call] = time.monotonic() - start
        for i in range(n):
            call = CALLS[i % len(CALLS)]
            (folder := home / f"marks-{i}").mkdir()
            if name in _BREAK and killed:
                own.close()
                executor = _patient(name, own.enter_context(engine(home / f"engine-{i}")))
            killed = []
            at = rng.uniform(0.0, 0.9 * usual[call])
            killer = threading.Thread(target=kill_one, args=(folder, at, rng, killed))
            killer.start()
            start = time.monotonic()
            got = call(str(folder), plan=executor)
            took = time.monotonic() - start
            killer.join()
            kills += len(killed)
            longest[call] = max(longest[call], took)
            assert equal(got, local[call]), f"{name}: other bits after kill {i}"
            assert took < _HUNG, f"{name}: {took:.0f} s after kill {i}"
    times = ", ".join(
        f"{call.__name__} {usual[call]:.1f} s, with a kill {longest[call]:.1f} s at most"
        for call in local
    )
    return f"{kills} kills in {n} calls, equal bits; {times}"


def of_mpi(n: int, seed: int) -> str:
    """Return the figures of jobs under MPI, in a sentence."""
    mpirun = shutil.which("mpirun")
    if mpirun is None or importlib.util.find_spec("mpi4py") is None:
        raise ImportError("mpirun")
    rng = random.Random(f"{seed} mpi")
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    local, n_kept, kills = {call: call(None) for call in STORED}, {c: [] for c in STORED}, 0
    for i in range(n):
        call = STORED[i % len(STORED)]
        with tempfile.TemporaryDirectory() as temporary:
            home = Path(temporary)
            (script := home / "job.py").write_text(MPI)
            (marks := home / "marks").mkdir()
            job = [
                mpirun, *root, "--oversubscribe", "-n", "3", sys.executable, "-m",
                "mpi4py.futures", str(script), str(home / "store"), str(marks), call.__name__,
            ]  # fmt: skip
            first = subprocess.Popen(job, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            killed: list[int] = []
            kill_one(marks, rng.uniform(0.0, 1.5), rng, killed)
            code = first.wait(_HUNG)
            kills += len(killed) if code != 0 else 0
            there = {path: path.stat().st_mtime_ns for path in home.glob("store/*.safetensors")}
            n_kept[call].append(len(there))
            subprocess.run(job, check=True, timeout=_HUNG, stdout=subprocess.DEVNULL)
            assert all(path.stat().st_mtime_ns == at for path, at in there.items())
            got = of_merged(fm.merge(home / "store"), call)
            assert equal(got, local[call]), "mpi: other bits"
    kept = " and ".join(
        f"{min(found)} to {max(found)} files of {call.__name__}" for call, found in n_kept.items()
    )
    kept = f"{kept} were in the store"
    return f"{kills} of {n} jobs ended by a kill, {kept}; the next jobs had equal bits"


def main() -> None:
    """Kill workers of each engine, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--n", type=int, default=20, help="kills for each engine (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the moments")
    parser.add_argument("--only", nargs="+", help="engines by a part of their names")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    options = parser.parse_args()
    # Workers that are not started by this process import the targets.
    own = [str(Path(__file__).parent), engines.PATHS]
    os.environ["PYTHONPATH"] = os.pathsep.join(own)
    scripts = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([scripts, os.environ["PATH"]])
    warnings.simplefilter("ignore")
    if options.engine is not None:
        # Under this name the workers can import the targets.
        module = importlib.import_module("cluster_kills")
        work = module.of_mpi if options.engine == "mpi" else None
        try:
            said = (
                work(options.n, options.seed)
                if work is not None
                else module.of_engine(options.engine, options.n, options.seed)
            )
        except ImportError as error:
            said = f"not installed ({error})"
        print(f"{options.engine}: {said}", flush=True)
        return
    failed = []
    for name in (*NAMES, "mpi"):
        if options.only and not any(part in name for part in options.only):
            continue
        # Each engine in a process of its own.
        call = [sys.executable, str(Path(__file__).resolve()), "--engine", name]
        with tempfile.TemporaryDirectory() as home:
            done = subprocess.run(
                [*call, "--n", str(options.n), "--seed", str(options.seed)],
                env={**os.environ, "HOME": home}, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
        if done.returncode != 0:
            failed.append(name)
            print(f"{name}: failed\n{done.stderr[-3000:]}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
