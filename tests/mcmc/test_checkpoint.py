"""States of runs in a store: the bits of a run that is killed and resumed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forms import DIM, builtin_density, formula, slope
from mcmc_help import assert_same, driver
from numpy.typing import NDArray
from plans import planned

import fermiac as fm
from fermiac._base import store
from fermiac.errors import BudgetExhausted, CheckpointError
from fermiac.mcmc.checkpoint import KIND
from fermiac.runs import checkpoint as checkpoint_module
from fermiac.runs.checkpoint import RunCheckpoint

Array = NDArray[np.float64]
LAW = fm.distributions.MultivariateNormal(np.array([0.5, -1.0]), np.array([[1.0, 0.4], [0.4, 0.5]]))

#: The file with the state of a run in its store.
FILE = "state.safetensors"
#: A run whose target ends the process at a call; what is written is written at every look.
SCRIPT = """
    import os, sys, signal
    import numpy as np
    import fermiac as fm
    from fermiac.runs import checkpoint

    folder, last, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    checkpoint._SHARE = 1e9
    calls = 0

    def density(x):
        global calls
        calls += 1
        if calls == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return -0.5 * (x**2).sum(axis=1) - 0.1 * (x**4).sum(axis=1)

    fm.mcmc.sample(
        density,
        2,
        gradient=lambda x: -x - 0.4 * x**3,
        kernel=fm.mcmc.MALA(),
        n_warmup=60,
        n_draws=40,
        n_chains=3,
        rng=5,
        path=folder + "/draws" if path == "path" else None,
        plan=fm.Plan(store=folder + "/state", every=1e-9, progress=False),
    ).save(folder + "/result")
"""


def run(target: Any = LAW, **more: Any) -> fm.mcmc.Chains:
    given: dict[str, Any] = {"kernel": fm.mcmc.MALA(), "n_warmup": 60, "n_draws": 40, "rng": 5}
    return fm.mcmc.sample(target, **planned(**{**given, **more}))


@pytest.mark.skipif(sys.platform == "win32", reason="it kills with SIGKILL")
# In the search of a step size, in a window of the warm-up, among the draws; then not at all.
@pytest.mark.parametrize(
    ("storage", "kills"), [("memory", (13, 31, 10**9)), ("path", (45, 57, 10**9))]
)
def test_a_run_that_is_killed_again_and_again(
    tmp_path: Path, storage: str, kills: tuple[int, ...]
) -> None:
    def density(x: Array) -> Array:
        return -0.5 * (x**2).sum(axis=1) - 0.1 * (x**4).sum(axis=1)

    reference = run(density, dim=2, gradient=lambda x: -x - 0.4 * x**3, n_chains=3)
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(SCRIPT))
    source = Path(fm.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONWARNINGS": "ignore"}
    reached = []
    for last in kills:
        done = subprocess.run(
            [sys.executable, script, tmp_path, str(last), storage],
            env=environment,
            timeout=100,
            capture_output=True,
            text=True,
        )
        assert done.returncode == (0 if last == 10**9 else -9), done.stderr
        reached.append(RunCheckpoint(tmp_path / "state" / FILE, KIND).elapsed)
    assert reached == sorted(set(reached))
    result = fm.load(tmp_path / "result")
    assert isinstance(result, fm.mcmc.Chains)
    assert_same(reference, result)
    # All of it, but what was compared at the starts.
    assert result.n_evals == reference.n_evals + 3


@pytest.mark.parametrize("name", ["free", "lock"])
@pytest.mark.parametrize("on_disk", [False, True])
def test_a_run_that_is_saved_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, on_disk: bool
) -> None:
    monkeypatch.setattr(checkpoint_module, "_SHARE", 1e9)
    path = tmp_path / "draws" if on_disk else None
    given: dict[str, Any] = {"n_warmup": 25, "n_draws": 10}
    kept: dict[str, Any] = {"store": tmp_path / "state", "every": 1e-9}
    with driver(name):
        assert_same(run(**given), run(**kept, path=path, **given))
        # Complete, it is read, and only compared.
        again = run(**kept, path=path, **given)
    assert_same(run(**given), again)


def test_an_exception_in_the_warmup_is_no_end(tmp_path: Path) -> None:
    for limit in (25, 60, 10**9):
        calls = 0

        def breaks(x: Array, limit: int = limit) -> Array:
            nonlocal calls
            calls += 1
            if calls > limit:
                raise LookupError("mine")
            return formula(x)

        given: dict[str, Any] = {"dim": DIM, "gradient": slope, "store": tmp_path / "state"}
        if limit < 10**9:
            with pytest.raises(LookupError):
                run(breaks, **given)
        else:
            assert_same(run(formula, dim=DIM, gradient=slope), run(breaks, **given))


def test_a_run_is_made_longer(tmp_path: Path) -> None:
    for i, path in enumerate((None, tmp_path / "draws")):
        kept = tmp_path / f"state{i}"
        assert_same(run(n_draws=15), run(n_draws=15, store=kept, path=path))
        longer = run(n_draws=40, store=kept, path=path, plan=fm.Plan(n_threads=3))
        assert_same(run(), longer)
        with pytest.raises(CheckpointError, match="more than the 70 of this call"):
            run(n_draws=10, store=kept, path=path)
    opened = fm.load(tmp_path / "draws")
    assert isinstance(opened, fm.mcmc.Chains)
    assert_same(run(), opened)


def test_the_seed_is_in_the_file(tmp_path: Path) -> None:
    first = run(n_draws=10, rng=None, store=tmp_path / "state")
    second = run(n_draws=20, rng=None, store=tmp_path / "state")
    assert first.seed == second.seed
    np.testing.assert_array_equal(first.draws, second.draws[:, :10])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"rng": 6}, "its seed is 5"),
        ({"n_chains": 5}, "its n_chains is 4"),
        ({"n_warmup": 61}, "its n_warmup is 60"),
        ({"thin": 2}, "its thin is 1"),
        ({"pool": False}, "its pool is True"),
        ({"kernel": fm.mcmc.RWM()}, "its kernel.kind is 'MALA'"),
        ({"kernel": fm.mcmc.MALA(step_size=0.5)}, "its kernel.step_size is None"),
        ({"kernel": fm.mcmc.MALA(metric=np.ones(2))}, "its kernel.metric is 'auto'"),
        ({"target": fm.distributions.Normal(np.zeros(3))}, "its dim is 2"),
        ({"target": fm.distributions.Normal(np.zeros(2))}, "the target gives"),
        ({"transforms": {0: "log"}}, "its transforms is None"),
    ],
)
def test_the_file_of_another_run_is_refused(
    tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    kept = tmp_path / "state"
    run(store=kept)
    before = (kept / FILE).read_bytes()
    with pytest.raises(CheckpointError, match=message):
        run(**{"target": LAW, **more}, store=kept)
    assert (kept / FILE).read_bytes() == before


def test_storage_cannot_be_changed(tmp_path: Path) -> None:
    run(store=tmp_path / "state")
    with pytest.raises(CheckpointError, match="its storage is 'memory'"):
        run(store=tmp_path / "state", path=tmp_path / "draws")
    run(store=tmp_path / "other", path=tmp_path / "draws")
    (tmp_path / "draws" / "draws.npy").unlink()
    with pytest.raises(CheckpointError, match=r"draws\.npy: it is missing"):
        run(store=tmp_path / "other", path=tmp_path / "draws")


def test_a_state_and_the_folder_of_another_run(tmp_path: Path) -> None:
    for seed in (1, 2):
        run(rng=seed, store=tmp_path / f"state{seed}", path=tmp_path / f"draws{seed}")
    before = np.array(fm.mcmc.open(tmp_path / "draws2").draws)
    with pytest.raises(CheckpointError, match="draws2: its draws are not those of the run"):
        run(rng=1, n_draws=50, store=tmp_path / "state1", path=tmp_path / "draws2")
    np.testing.assert_array_equal(fm.mcmc.open(tmp_path / "draws2").draws, before)


def test_a_state_that_cannot_be_written_costs_no_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = store.write

    def full(path: Any, kind: str, node: Any, tensors: Any) -> None:
        if tensors.get("array.draws", np.empty((1, 0))).shape[1]:
            raise CheckpointError("no space left")
        write(path, kind, node, tensors)

    monkeypatch.setattr(store, "write", full)
    with pytest.raises(CheckpointError, match="no space left") as caught:
        run(store=tmp_path / "state")
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    np.testing.assert_array_equal(partial.draws, run().draws)


def test_a_random_target_is_let_through(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)

    def noisy(x: Array) -> Array:
        return formula(x) + noise.normal(size=len(x))

    given: dict[str, Any] = {"dim": DIM, "kernel": fm.mcmc.RWM()}
    run(noisy, store=tmp_path / "state", **given)
    assert run(noisy, store=tmp_path / "state", **given).n_draws == 160


def test_bad_files(tmp_path: Path) -> None:
    for name in ("noise", "result"):
        (tmp_path / name).mkdir()
    (tmp_path / "noise" / FILE).write_bytes(b"x" * 99)
    with pytest.raises(CheckpointError):
        run(store=tmp_path / "noise")
    run(n_draws=4).save(tmp_path / "result" / FILE)
    with pytest.raises(CheckpointError, match="it holds a result"):
        run(store=tmp_path / "result")
    with pytest.raises(CheckpointError):
        run(store=tmp_path / "noise" / FILE / "folder")
    # A call that comes to nothing leaves none.
    with pytest.raises(ZeroDivisionError):
        run(lambda x: 1 / 0, dim=1, kernel=fm.mcmc.RWM(), store=tmp_path / "vain")
    assert not (tmp_path / "vain" / FILE).exists()


def test_a_builtin_run_that_is_stopped_by_the_clock(tmp_path: Path) -> None:
    given: dict[str, Any] = {"target": builtin_density(), "n_draws": 30_000}
    for _ in range(3):
        with suppress(BudgetExhausted):
            run(plan=fm.Plan(max_time=0.02), store=tmp_path / "state", **given)
    assert_same(run(**given), run(store=tmp_path / "state", **given))
