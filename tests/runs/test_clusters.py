"""Engines that are installed beside fermiac, with two workers on this machine.

`make test-cluster` runs them in an environment of their own. A test is skipped where its engine is
not installed. FERMIAC_TEST_KILLS says how many workers are killed in turn.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nested_targets
import numpy as np
import pytest
import worker_targets as targets
from clock import some_moment, until
from cluster_engines import (
    ENGINES,
    ONCE,
    PACKAGES,
    PATHS,
    RECOVER,
    Engine,
    dask_client,
    plain_loky,
    process_pool,
)
from executor_help import expect, same
from plans import by_units

import fermiac as fm

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300),
    # Engines leave sockets and processes to the collector, and warn of their own settings.
    pytest.mark.filterwarnings("ignore"),
]


@contextmanager
def started(engine: Engine, tmp_path: Path) -> Iterator[Any]:
    """An engine, if it is installed."""
    if engine in PACKAGES:
        pytest.importorskip(PACKAGES[engine])
    with engine(tmp_path) as executor:
        yield executor


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that are not started by this process import the targets."""
    monkeypatch.setenv("PYTHONPATH", PATHS)
    scripts = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", os.pathsep.join([scripts, os.environ["PATH"]]))


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.__name__)
def test_bits_errors_and_large_targets(engine: Any, tmp_path: Path) -> None:
    (tmp_path / "loads").mkdir()
    local = expect(targets.moments)
    with started(engine, tmp_path) as executor:
        assert same(expect(targets.moments, plan=executor), local)
        for n_workers, rows in [(1, None), (8, None), (None, 97)]:
            shards = fm.executor.Sharded(executor, n_workers, rows)
            assert same(expect(targets.moments, plan=shards), local)
        heavy = targets.Heavy(50, tmp_path / "loads")
        shards = fm.executor.Sharded(executor, rows=100)
        assert same(expect(heavy, plan=shards), local)
        built_in = fm.targets.powers([[1, 1], [0, 4]])
        assert same(expect(built_in, plan=executor), expect(built_in))
        with pytest.raises(RuntimeError, match="too high") as caught:
            expect(targets.FailsAbove(2.0), plan=executor)
        assert any("rows " in note for note in caught.value.__notes__)
        assert same(expect(targets.moments, plan=executor), local)
    # A target of 50 MB has crossed once a worker, and not with each of its shards.
    processes = [path.name.partition("-")[0] for path in (tmp_path / "loads").iterdir()]
    assert 1 <= len(processes) <= (2 if engine in ONCE else 4)
    assert len(set(processes)) == len(processes)


def nested_batches(f: Any = nested_targets.bowl, **given: Any) -> list[Any]:
    """Arrays of a nested run whose workers get the chains of a batch, each to its end."""
    short = fm.nested.Slice(n_slices=1)  # after few batches from the prior
    r = fm.nested.sample(f, PRIOR, n_live=40, batch=20, sampler=short, max_iter=4, rng=1, **given)
    assert np.isfinite(r.trace["n_moves"]).sum() >= 3
    return [r.draws, r.log_weights, r.log_evidence, r.n_evals, r.trace["correlation"]]


def whole_calls(**given: Any) -> list[Any]:
    """Arrays of the calls whose parts are whole runs, chains, rows."""
    runs = fm.nested.sample(nested_targets.bowl, PRIOR, n_live=40, runs=5, rng=1, **given)
    chains = fm.mcmc.sample(
        nested_targets.bowl, 2, nested_targets.slope, kernel="mala", n_chains=5, n_warmup=50,
        n_draws=50, pool=False, rng=1, **given,
    )  # fmt: skip
    pooled = fm.mcmc.sample(
        nested_targets.bowl, 2, nested_targets.slope, n_chains=5, n_warmup=50, n_draws=50, rng=1,
        **given,
    )  # fmt: skip
    rows = fm.score.sample(
        MODEL, 700, n_steps=5, sigma_range=(0.01, 50.0), rng=1,
        plan=fm.Plan(executor=given.get("plan"), part=(0, 1)),
    )  # fmt: skip
    p = fm.privacy.epsilon_posterior(np.arange(1.0, 20.0), 5, 3, 9, **given)
    walk = fm.walks.walk(GRAPH, "none", n_steps=500, n_walkers=40, rng=1, **given)
    tokens = fm.walks.optimize(LOSS, GRAPH, n_steps=200, replicates=12, rng=1, **given)
    resamples = fm.resample.bootstrap(
        np.arange(30.0) ** 0.5, targets.spread, n_resamples=300, rng=1, **given
    )
    double = fm.resample.double_bootstrap(
        np.arange(30.0) ** 0.5, targets.spread, n_resamples=120, n_inner=20, rng=1, **given
    )
    wild = fm.resample.wild_bootstrap(
        (np.arange(40.0) % 7, np.sin(np.arange(40.0))), n_resamples=1500, rng=1, **given
    )
    little = fm.resample.little_bootstraps(
        np.arange(300.0) ** 0.5 % 1.0, "sd", exponent=0.5, n_resamples=20, rng=1, **given
    )
    hitting = fm.score.first_hitting(targets.token_logits, 40, 9, n_tokens=4, rng=1, **given)
    unmasked = fm.score.unmask(
        targets.token_logits, 40, 9, 4, order="margin", n_steps=4, rng=1, **given
    )
    e = fm.importance.expect(
        targets.moments, LAW, n=40_000, rng=1, check=False, plan=by_units(given.get("plan"))
    )
    z = fm.importance.evidence(
        nested_targets.bowl, LAW, n=40_000, rng=1, check=False, plan=by_units(given.get("plan"))
    )
    return [
        z.sample.draws,
        z.sample.log_weights,
        walk.visits,
        walk.positions,
        e.mean,
        e.cov,
        runs.draws,
        runs.log_weights,
        chains.draws,
        chains.log_densities,
        pooled.draws,
        pooled.log_densities,
        rows.array,
        tokens.thetas,
        resamples.replicates,
        double.replicates,
        double.positions,
        wild.upper,
        little.upper,
        hitting.tokens,
        hitting.times,
        unmasked.tokens,
        p.ppf(0.5),
    ]


GRAPH = fm.walks.graphs.grid([8, 8])
LOSS = fm.walks.Quadratic(1.0, np.arange(64.0))
LAW = fm.distributions.MultivariateNormal([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]])
PRIOR = fm.distributions.Uniform([-5.0, -5.0], [5.0, 5.0])
MODEL = fm.score.GaussianMixture([0.3, 0.7], [[-2.0, 0.0], [2.0, 1.0]], [0.04, 0.04])


@contextmanager
def submitit_executor(tmp_path: Path) -> Iterator[Any]:
    submitit = pytest.importorskip("submitit")
    executor = submitit.AutoExecutor(folder=tmp_path / "jobs", cluster="local")
    executor.update_parameters(timeout_min=5)
    yield fm.executor.Sharded(executor, n_workers=2)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "engine", [*ENGINES, submitit_executor], ids=lambda engine: engine.__name__
)
def test_whole_parts(engine: Any, tmp_path: Path) -> None:
    local = whole_calls()
    with started(engine, tmp_path) as executor:
        there = whole_calls(plan=executor)
        pooled = kept_chains(plan=fm.Plan(executor=executor, store=tmp_path / "store"))
    for a, b in zip(local, there, strict=True):
        np.testing.assert_array_equal(a, b)
    whole, merged = kept_chains(), fm.merge(tmp_path / "store")
    for name in ("draws", "log_densities", "n_evals"):
        np.testing.assert_array_equal(getattr(pooled, name), getattr(whole, name))
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))


def kept_chains(**given: Any) -> Any:
    """Chains that adapt together, whose workers may write their sections to a store."""
    return fm.mcmc.sample(
        nested_targets.bowl, 2, nested_targets.slope, n_chains=3, n_draws=40, rng=1, **given
    )


@pytest.mark.parametrize(
    "engine", [*ENGINES, submitit_executor], ids=lambda engine: engine.__name__
)
def test_chains_of_nested_batches(engine: Any, tmp_path: Path) -> None:
    local = nested_batches()
    with started(engine, tmp_path) as executor:
        there = nested_batches(plan=by_units(executor))
        inner = getattr(executor, "executor", executor)
        again = nested_batches(plan=fm.executor.Sharded(inner, 2, rows=8))
        made = fm.targets.factory("nested_targets:make_slope")
        by_factory = nested_batches(made, plan=executor)
    for arrays in (there, again, by_factory):
        for a, b in zip(local, arrays, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("engine", RECOVER, ids=lambda engine: engine.__name__)
def test_killed_workers(engine: Engine, tmp_path: Path) -> None:
    local = expect(targets.moments, n=400, method="mc")
    rng = random.Random(0)
    with started(engine, tmp_path) as executor:
        for i in range(int(os.environ.get("FERMIAC_TEST_KILLS", "2"))):
            folder = tmp_path / f"seen-{i}"
            folder.mkdir()
            stop = threading.Thread(target=kill_one, args=(folder, rng))
            stop.start()
            slow = targets.Slow(0.005, folder)
            given = executor
            if engine in (process_pool, plain_loky) and i:
                with started(engine, tmp_path) as given:  # the one before is broken for its user
                    got = expect(slow, n=400, method="mc", plan=given)
            else:
                got = expect(slow, n=400, method="mc", plan=given)
            assert same(got, local)
            stop.join()


def kill_one(folder: Path, rng: random.Random) -> None:
    """Kill a process that works, some time after it was seen first."""
    until(lambda: list(folder.iterdir()), "a process at work")
    some_moment(rng, 0.5)
    os.kill(int(next(folder.iterdir()).name), signal.SIGKILL)


@pytest.mark.parametrize(
    ("first", "then", "whole"), [(0, 4, False), (1, 4, False), (4, 1, False), (1, 4, True)]
)
def test_a_dask_cluster_that_grows_or_shrinks(
    first: int, then: int, whole: bool, tmp_path: Path
) -> None:
    """All workers that come get work, for which the first ones wait."""
    pytest.importorskip("distributed")

    def call(seconds: float, **given: Any) -> Any:
        slow = (targets.SlowBowl if whole else targets.Slow)(
            seconds, tmp_path if given else None, max(first, then) if given else 0
        )
        if whole:
            return fm.nested.sample(slow, PRIOR, n_live=40, runs=60, rng=1, **given).draws
        return expect(slow, n=1500, method="mc", **given).mean

    def scale() -> None:
        if first:
            until(lambda: len(list(tmp_path.iterdir())) == first, "the first workers at work")
        client.cluster.scale(then)

    with dask_client(n_workers=first) as client:
        scaling = threading.Thread(target=scale)
        scaling.start()
        there = call(0.004 if whole else 0.02, plan=client)
        scaling.join()
    np.testing.assert_array_equal(there, call(0.0))
    assert len(list(tmp_path.iterdir())) >= max(first, then)


def test_an_adaptive_dask_cluster(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    with dask_client(n_workers=0) as client:
        client.cluster.adapt(minimum=0, maximum=3)
        got = expect(targets.Slow(0.002, tmp_path), plan=client)
    assert same(got, expect(targets.moments))


def test_submitit_takes_no_points(tmp_path: Path) -> None:
    submitit = pytest.importorskip("submitit")
    executor = submitit.AutoExecutor(folder=tmp_path, cluster="local")
    with pytest.raises(fm.errors.ArgumentError, match="starts a job for every task"):
        expect(targets.moments, plan=executor)


MPI = """
    import sys
    from mpi4py.futures import MPIPoolExecutor, MPICommExecutor
    import worker_targets as targets
    from executor_help import expect, same
    import fermiac as fm

    def main():
        local = expect(targets.moments)
        with MPIPoolExecutor() as executor:
            assert fm.executor.Sharded(executor).n_workers == 2
            assert same(expect(targets.moments, plan=executor), local)
            assert same(expect(targets.Large(), plan=executor), expect(targets.Large()))
        print("equal bits", flush=True)

    def common():
        with MPICommExecutor() as executor:
            if executor is not None:
                assert same(expect(targets.moments, plan=executor), expect(targets.moments))
                print("equal bits", flush=True)

    if __name__ == "__main__":
        common() if "common" in sys.argv else main()
"""


@pytest.mark.parametrize("how", ["pool", "common"])
def test_mpi(how: str, tmp_path: Path) -> None:
    pytest.importorskip("mpi4py")
    mpirun = shutil.which("mpirun")
    if mpirun is None:
        pytest.skip("no mpirun")
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(MPI))
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    module = ["-m", "mpi4py.futures"] if how == "pool" else ["-m", "mpi4py"]
    done = subprocess.run(
        [mpirun, *root, "--oversubscribe", "-n", "3", sys.executable, *module, str(script), how],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n").count("equal bits") == 1


DRIVER = """
    import sys
    from pathlib import Path
    from multiprocessing import get_context
    from concurrent.futures import ProcessPoolExecutor
    import worker_targets as targets
    import fermiac as fm

    PRIOR = fm.distributions.Uniform([-5.0, -5.0], [5.0, 5.0])

    def solve(executor, store):
        plan = fm.Plan(executor=executor, store=store)
        return fm.nested.sample(targets.slow_bowl, PRIOR, n_live=40, runs=12, rng=1, plan=plan)

    def main(engine, store):
        if engine == "process_pool":
            with ProcessPoolExecutor(2, get_context("spawn")) as executor:
                solve(executor, store)
        else:
            from distributed import Client, LocalCluster
            with LocalCluster(2, threads_per_worker=1, dashboard_address=":0") as cluster:
                with Client(cluster) as client:
                    solve(client, store)

    if __name__ == "__main__":
        main(*sys.argv[1:])
"""


def runs_in(store: Path) -> dict[str, int]:
    """The finished runs of a store, with the times of their files."""
    return {path.name: path.stat().st_mtime_ns for path in store.glob("*.safetensors")}


@pytest.mark.parametrize("engine", ["process_pool", "dask"])
def test_a_driver_that_is_killed_again_and_again(engine: str, tmp_path: Path) -> None:
    """The next driver makes what is missing, and nothing else; all together have equal bits."""
    if engine == "dask":
        pytest.importorskip("distributed")
    script, store = tmp_path / "driver.py", tmp_path / "store"
    script.write_text(textwrap.dedent(DRIVER))
    rng = random.Random(0)
    made: dict[str, int] = {}
    kills = 0
    while len(made) < 12:
        # A session of its own: an end of the machine takes the workers, too.
        driver = subprocess.Popen(
            [sys.executable, str(script), engine, str(store)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        # Some time after it has made something new.
        has_ended, n = driver.poll, len(made)
        until(
            lambda ends=has_ended, n=n: ends() is not None or len(runs_in(store)) > n, "a new run"
        )
        some_moment(rng, 0.1)
        kills += driver.poll() is None
        # The driver first: its workers may finish what they are at.
        with suppress(ProcessLookupError):
            os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        some_moment(rng, 0.3)
        with suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)
        now = runs_in(store)
        assert made.items() < now.items()
        made = now
    assert len(made) == 12
    assert kills >= 1
    whole = fm.nested.sample(targets.slow_bowl, PRIOR, n_live=40, runs=12, rng=1)
    merged = fm.merge(store)
    for name in ("draws", "log_weights", "log_evidence"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))


SCRIPTS = Path(__file__).parents[2] / "examples" / "cluster"
#: What the scripts print: the same bits with every engine.
SAID = "log Z = -2.773 ± 0.009, exact -2.767"


@pytest.mark.parametrize(
    ("script", "package", "times"),
    [
        ("process_pool", "fermiac", 1),
        ("dask_cluster", "distributed", 1),
        ("ray_cluster", "ray", 1),
        ("mpi", "mpi4py", 1),
        ("loky_joblib", "loky", 2),
        ("parsl_pool", "parsl", 1),
        ("submitit_jobs", "submitit", 1),
        ("job_array", "fermiac", 1),
    ],
)
def test_the_scripts_of_the_documentation(
    script: str, package: str, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(package)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(SCRIPTS), os.environ["PYTHONPATH"]]))
    monkeypatch.chdir(tmp_path)
    path = str(SCRIPTS / f"{script}.py")
    commands = [[sys.executable, path]]
    if script == "mpi":
        commands = [[*mpirun(), sys.executable, "-m", "mpi4py.futures", path]]
    if script == "job_array":
        monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "4")
        commands = [[sys.executable, path, "store"]] * 4 + [
            [sys.executable, path, "store", "merge"]
        ]
    said = ""
    for i, command in enumerate(commands):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", str(i))
        done = subprocess.run(command, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        said += done.stdout
    assert said.count(SAID) == times, said


def mpirun() -> list[str]:
    found = shutil.which("mpirun")
    if found is None:
        pytest.skip("no mpirun")
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    return [found, *root, "--oversubscribe", "-n", "3"]


def test_a_job_that_was_killed_goes_on_from_its_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under MPI one lost rank ends all; the next job makes what is missing."""
    pytest.importorskip("mpi4py")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(SCRIPTS), os.environ["PYTHONPATH"]]))
    store = tmp_path / "store"
    slow = tmp_path / "slow.py"
    slow.write_text(
        textwrap.dedent(
            """
            import sys, time
            from mpi4py.futures import MPIPoolExecutor
            import problem
            import fermiac as fm
            from fermiac.nested import NestedResult

            save = NestedResult.save

            def slow(self, path):  # not the target: another one would be refused
                time.sleep(0.5)
                save(self, path)

            NestedResult.save = slow

            if __name__ == "__main__":
                with MPIPoolExecutor() as executor:
                    problem.solve(fm.Plan(executor=executor, store=sys.argv[1]))
            """
        )
    )
    run = [*mpirun(), sys.executable, "-m", "mpi4py.futures", str(slow), str(store)]
    job = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    until(lambda: job.poll() is not None or len(runs_in(store)) >= 2, "two runs")
    workers = subprocess.run(
        ["pgrep", "-P", str(job.pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    job.communicate(timeout=60)
    assert job.returncode != 0
    there = runs_in(store)
    assert 2 <= len(there) < 8
    script = str(SCRIPTS / "mpi.py")
    command = [*mpirun(), sys.executable, "-m", "mpi4py.futures", script, str(store)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert SAID in done.stdout, done.stderr
    assert all((store / name).stat().st_mtime_ns == at for name, at in there.items())
