"""Sections of chains in a store: the bits of a call without one, after any kill."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import nested_targets as targets
import numpy as np
import pytest
from clock import some_moment, until
from mcmc_help import assert_same
from plans import planned

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError
from fermiac.mcmc import section_files
from fermiac.mcmc.stop import StopWhen

pytestmark = pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")

LAW = fm.distributions.Normal([0.0, 0.0], 4.0)


#: In a store of one process alone, chains that adapt together keep their state.
ONE = ThreadPoolExecutor(1)


def run(target: Any = targets.bowl, **given: Any) -> Any:
    settings: dict[str, Any] = {"n_chains": 5, "n_draws": 60, "kernel": "nuts", "rng": 3}
    gradient = () if isinstance(target, fm.targets.LogDensity) else (2, targets.slope)
    return fm.mcmc.sample(target, *gradient, **{**settings, **given})


def check(a: Any, b: Any) -> None:
    """Assert that two runs are the same to the last bit."""
    assert_same(a, b)
    assert a.warmup_draws is b.warmup_draws or np.array_equal(a.warmup_draws, b.warmup_draws)
    for name in a.warmup_stats:
        np.testing.assert_array_equal(a.warmup_stats[name], b.warmup_stats[name])
    assert a.adaptation["step_sizes"] == b.adaptation["step_sizes"]
    assert (a.n_evals, a.seed, a.warnings, a.status) == (b.n_evals, b.seed, b.warnings, b.status)
    assert a.settings == b.settings


def files(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}


def content(path: Path) -> str:
    return repr(fm.load(path).to_dict())


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_a_store_is_filled_by_any_process(tmp_path: Path, threads: Any) -> None:
    whole = run(keep_warmup=True)
    assert whole.settings["n_warmup"] < 1000  # all chains decide where the warm-up ends
    how = {"keep_warmup": True}
    given = {**how, "plan": fm.Plan(executor=ONE, store=tmp_path)}
    check(run(**given), whole)
    first = files(tmp_path)
    assert len(first) > 5 * 5
    check(run(**given), whole)
    check(run(**how, plan=fm.Plan(executor=threads, store=tmp_path)), whole)
    assert files(tmp_path) == first  # nothing is written again
    check(fm.merge(tmp_path), whole)
    # The content does not depend on the engine, the shards, or what was there.
    contents = {name: content(tmp_path / name) for name in first if "whole" not in name}
    gone = random.Random(1).sample(sorted(contents), len(contents) // 2)
    for name in gone:
        (tmp_path / name).unlink()
    check(run(**how, plan=fm.Plan(n_threads=1, store=tmp_path)), whole)
    assert {name: content(tmp_path / name) for name in contents} == contents
    for name in gone[::2]:
        (tmp_path / name).unlink()
    left = files(tmp_path)
    check(run(**how, plan=fm.Plan(executor=threads, store=tmp_path)), whole)
    now = files(tmp_path)
    assert {name: now[name] for name in left} == left
    assert {name: content(tmp_path / name) for name in contents} == contents


def test_workers_write_to_the_store(tmp_path: Path) -> None:
    whole = run(keep_warmup=True)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        for n_shards in (1, 3, 16):
            shards = fm.executor.Sharded(pool, rows=max(5 // n_shards, 1))
            store = tmp_path / str(n_shards)
            check(run(keep_warmup=True, plan=fm.Plan(executor=shards, store=store)), whole)
            check(fm.merge(store), whole)
        store = tmp_path / "made"
        target = fm.targets.as_target(fm.targets.factory("nested_targets:make_slope"))
        made = run(target, plan=fm.Plan(executor=pool, store=store))
        check(made, run())


KERNELS: list[tuple[Any, dict[str, Any]]] = [
    (fm.mcmc.MALA(), {}),
    (fm.mcmc.RWM(), {"thin": 7, "n_draws": 20}),
    (fm.mcmc.Tempered(fm.mcmc.RWM()), {"n_warmup": 60}),
    (fm.mcmc.DE(), {"n_chains": 6, "pool": False}),
    (fm.mcmc.DE(n_walkers=6), {"n_chains": 18}),
    (fm.mcmc.NUTS(), {"stop": StopWhen(ess=100, rhat=None, every=40), "n_draws": 400}),
    (fm.mcmc.NUTS(), {"stop": StopWhen(ess=10**9, rhat=None, every=40), "pool": False}),
    (fm.mcmc.NUTS(), {"gradient": "finite"}),
]


@pytest.mark.parametrize(("kernel", "more"), KERNELS, ids=lambda x: type(x).__name__)
def test_kernels(kernel: Any, more: dict[str, Any], threads: Any, tmp_path: Path) -> None:
    given = {
        "kernel": kernel,
        "n_warmup": 130,
        "keep_warmup": True,
        "rng": 3,
        "n_draws": 60,
        **more,
    }
    gradient = {"gradient": more.get("gradient", targets.slope)}

    def call(**how: Any) -> Any:
        settings = {"n_chains": 3, **given, **gradient, **how}
        return fm.mcmc.sample(targets.bowl, 2, **settings)

    whole = call()
    check(call(plan=fm.Plan(executor=ONE, store=tmp_path / "here")), whole)
    check(call(plan=fm.Plan(executor=threads, store=tmp_path / "there")), whole)
    names = {"here": files(tmp_path / "here"), "there": files(tmp_path / "there")}
    assert names["here"].keys() == names["there"].keys()
    for path in sorted((tmp_path / "here").iterdir())[::2]:
        path.unlink()
    check(call(plan=fm.Plan(store=tmp_path / "here")), whole)


def test_targets_in_other_spaces(tmp_path: Path, threads: Any) -> None:
    gamma = fm.distributions.Gamma([3.0, 2.0])
    given: dict[str, Any] = {"transforms": "auto", "rng": 1, "n_draws": 50, "n_warmup": 100}
    whole = fm.mcmc.sample(gamma, **given)
    check(fm.mcmc.sample(gamma, **given, plan=fm.Plan(executor=ONE, store=tmp_path)), whole)
    for path in sorted(tmp_path.iterdir())[5:]:
        path.unlink()
    check(fm.mcmc.sample(gamma, **given, plan=fm.Plan(executor=threads, store=tmp_path)), whole)
    assert fm.merge(tmp_path).draws.min() > 0


def test_many_chains_are_in_few_blocks(tmp_path: Path) -> None:
    law = fm.distributions.Normal(np.zeros(2))
    given: dict[str, Any] = {"n_chains": 130, "n_warmup": 10, "n_draws": 20, "rng": 5}
    whole = fm.mcmc.sample(law, **given)
    check(fm.mcmc.sample(law, **given, plan=fm.Plan(executor=ONE, store=tmp_path)), whole)
    starts = {name.split("-")[-1] for name in files(tmp_path)}
    assert len(starts) == 44 + 2  # blocks of three chains, the starts, and the result


def test_the_result_can_be_continued(tmp_path: Path) -> None:
    law = fm.distributions.Normal([0.0, 1.0])
    whole = fm.mcmc.sample(law, rng=1, n_draws=200)
    kept = fm.mcmc.sample(law, rng=1, n_draws=200, plan=fm.Plan(executor=ONE, store=tmp_path))
    check(fm.mcmc.extend(kept, 50), fm.mcmc.extend(whole, 50))


def test_ctrl_c_keeps_the_finished_sections(tmp_path: Path) -> None:
    whole = run(rng=1, keep_warmup=True)

    def stops(done: int, total: int) -> None:
        if done > 0.95 * total:  # of a warm-up of 1000 transitions, which ends early
            raise KeyboardInterrupt

    for n_workers in (2, 4):
        executor = ThreadPoolExecutor(n_workers)
        store = tmp_path / str(n_workers)
        given = {"rng": 1, "keep_warmup": True}
        with pytest.raises(KeyboardInterrupt) as caught:
            run(slower, **given, plan=fm.Plan(executor=executor, store=store, progress=stops))
        partial = caught.value.partial_result  # type: ignore[attr-defined]
        assert partial.status == "interrupted"
        made = partial.warmup_draws.shape[1]
        assert np.array_equal(partial.warmup_draws, whole.warmup_draws[:, :made])
        if not any("in a warm-up" in said for said in partial.warnings):
            n = partial.draws.shape[1]
            assert n < 60
            assert np.array_equal(partial.draws, whole.draws[:, :n])
        with pytest.raises(CheckpointError, match=r"5 chains have come to transition.* of 1060"):
            fm.merge(store)
        left = files(store)
        assert_same(run(slower, **given, plan=fm.Plan(store=store)), whole)
        assert {name: at for name, at in files(store).items() if name in left} == left
        executor.shutdown()


def slow(x: Any) -> Any:
    time.sleep(0.0005)
    return targets.bowl(x)


def slower(x: Any) -> Any:
    """Return the values so late that the last sections are reported."""
    time.sleep(0.002)
    return targets.bowl(x)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"part": (0, 2)}, "part: given for chains that wait for each other"),
        ({"first_chain": 3}, "first_chain: given for chains that wait for each other"),
        ({"rng": None, "executor": ONE}, "store: given without rng="),
        ({"n_chains": 0}, "n_chains: 0"),
    ],
)
def test_refused(more: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=words):
        run(**planned(**{"store": tmp_path / "x", **more}))
    assert not (tmp_path / "x").exists()


def test_a_store_with_sections_refuses_what_has_none(tmp_path: Path) -> None:
    run(plan=fm.Plan(executor=ONE, store=tmp_path), n_draws=20)
    for more, words in (
        ({"path": tmp_path / "draws"}, "path: given for a store with sections"),
        ({"max_time": 3.0}, "max_time: given for a store with sections"),
        ({"kernel": fm.mcmc.ChEES()}, "of ChEES wait for each other"),
    ):
        with pytest.raises(ArgumentError, match=words):
            run(**planned(store=tmp_path, **more))


def test_a_store_of_one_process_has_a_state(tmp_path: Path) -> None:
    for how in ({}, {"kernel": fm.mcmc.ChEES()}, {"path": tmp_path / "draws"}, {"pool": False}):
        store = tmp_path / str(len(list(tmp_path.iterdir())))
        run(**how, n_draws=20, plan=fm.Plan(store=store))
        assert [path.name for path in store.iterdir()] == ["state.safetensors"]
        # It ends as it has begun, whatever its executor.
        assert_same(
            run(**how, plan=fm.Plan(executor=ONE, store=store)), run(**{**how, "path": None})
        )
        assert [path.name for path in store.iterdir()] == ["state.safetensors"]


def test_a_kernel_in_python_is_refused(tmp_path: Path) -> None:
    class Stays:
        def init(self, target: Any, x0: Any) -> Any:
            return x0, target(x0[None])[0]

        def step(self, rng: Any, state: Any) -> Any:
            return state, False

    with pytest.raises(ArgumentError, match="a part written in Python"):
        run(kernel=Stays(), plan=fm.Plan(executor=ONE, store=tmp_path))


def test_files_of_other_calls_and_damaged_ones(tmp_path: Path) -> None:
    law = fm.distributions.Normal([0.0, 1.0])
    given: dict[str, Any] = {"n_warmup": 50, "n_draws": 40, "rng": 1}
    given["plan"] = fm.Plan(executor=ONE, store=tmp_path)
    fm.mcmc.sample(law, **given)
    for other in ({"rng": 2}, {"n_draws": 41}, {"kernel": "mala"}):
        with pytest.raises(CheckpointError, match="belongs to another call"):
            fm.mcmc.sample(law, **{**given, **other})
    with pytest.raises(CheckpointError, match="belongs to another call"):
        fm.mcmc.sample(fm.distributions.Normal([0.0, 1.1]), **given)
    first = min(tmp_path.iterdir())
    first.write_bytes(first.read_bytes()[:-9] + b"x" * 9)
    with pytest.raises(CheckpointError):
        fm.mcmc.sample(law, **given)
    # A section after another state, as of a target that is not the same everywhere.
    section = fm.load(sorted(tmp_path.iterdir())[7])
    assert isinstance(section, section_files.Section)
    assert repr(section).startswith("chains 3 to 3 from transition ")
    first.write_bytes(sorted(tmp_path.iterdir())[4].read_bytes())
    with pytest.raises(CheckpointError, match="chains with another state"):
        fm.mcmc.sample(law, **given)
    first.write_bytes((tmp_path / first.name.replace("000000000000-0000000", "whole")).read_bytes())
    with pytest.raises(CheckpointError, match="it holds a Chains"):
        fm.mcmc.sample(law, **given)


def test_a_store_with_one_section_alone(tmp_path: Path) -> None:
    run(plan=fm.Plan(executor=ONE, store=tmp_path), n_draws=20)
    for path in sorted(tmp_path.iterdir())[1:]:
        path.unlink()
    with pytest.raises(CheckpointError, match="an unfinished call"):
        fm.merge(tmp_path)


DRIVER = """
    import sys
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context
    import fermiac as fm
    import test_section_files as test

    if __name__ == "__main__":
        if sys.argv[1] == "here":
            test.run(test.slow, plan=fm.Plan(executor=test.ONE, store=sys.argv[2]))
        else:
            with ProcessPoolExecutor(2, get_context("spawn")) as pool:
                test.run(test.slow, plan=fm.Plan(executor=pool, store=sys.argv[2]))
"""


@pytest.mark.parametrize("where", ["here", "workers"])
def test_calls_that_are_killed_again_and_again(where: str, tmp_path: Path) -> None:
    """The next call runs what is missing, writes nothing that was there, and has equal bits."""
    script, store = tmp_path / "driver.py", tmp_path / "store"
    script.write_text(textwrap.dedent(DRIVER))
    paths = [*sys.path, str(Path(__file__).parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    rng = random.Random(where)
    kept: dict[str, int] = {}
    kills = 0
    for _ in range(3 if where == "here" else 2):
        driver = subprocess.Popen(
            [sys.executable, str(script), where, str(store)], env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        has_ended, n = driver.poll, len(kept)
        until(
            lambda ends=has_ended, n=n: ends() is not None or len(files(store)) > n, "a new section"
        )
        some_moment(rng, 0.3)
        kills += driver.poll() is None
        with suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)  # with its workers
        driver.wait()
        now = files(store)
        assert kept.items() <= now.items()
        kept = now
    assert kills >= 1
    whole = run(slow)
    check(run(slow, plan=fm.Plan(store=store)), whole)
    assert kept.items() <= files(store).items()
    check(fm.merge(store), whole)


def test_two_calls_at_the_same_time_do_no_harm(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as calls:
        both = [
            calls.submit(run, slow, plan=fm.Plan(executor=ONE, store=tmp_path)) for _ in range(2)
        ]
        made = [one.result() for one in both]
    whole = run(slow)
    for one in (*made, fm.merge(tmp_path)):
        check(one, whole)
