"""Integrators on executors and with stores: the same bits as local runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from executor_help import spawned
from numpy.typing import NDArray
from score_forms import LEVELS, Numbers, each, exact, points

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError

Array = NDArray[np.float64]


def test_executors_give_the_bits_of_a_local_run() -> None:
    y0 = points(64)
    local = fm.score.integrate(Numbers(), y0, LEVELS, "heun", rng=1)
    with ThreadPoolExecutor(2) as pool:
        sharded = fm.executor.Sharded(pool, rows=16)
        far = fm.score.integrate(Numbers(), y0, LEVELS, "heun", rng=1, plan=sharded)
        np.testing.assert_array_equal(far, local)
        ours = fm.score.integrate(exact(), y0, LEVELS, "heun", plan=sharded)
        np.testing.assert_array_equal(ours, fm.score.integrate(exact(), y0, LEVELS, "heun"))
    with spawned(2) as processes:
        made = fm.score.integrate(
            fm.targets.factory("score_forms:made"), y0, LEVELS, "heun", rng=1, plan=processes
        )
    np.testing.assert_array_equal(made, local)
    with ThreadPoolExecutor(1) as pool, pytest.raises(ArgumentError, match="score model"):
        fm.score.integrate(
            fm.targets.factory("fermiac.distributions:Normal"), y0, LEVELS, plan=pool
        )


@each
def test_a_store_resumes(tmp_path: Path, integrator: Any) -> None:
    y0, kept = points(30), fm.Plan(store=tmp_path)
    whole = fm.score.integrate(Numbers(), y0, LEVELS, integrator, rng=9)
    for stop in (3, 2):
        with pytest.raises(KeyboardInterrupt) as caught:
            fm.score.integrate(Numbers(stop_at=stop), y0, LEVELS, integrator, rng=9, plan=kept)
        assert caught.value.partial_result.y.shape == y0.shape  # type: ignore[attr-defined]
    model = Numbers()
    again = fm.score.integrate(model, y0, LEVELS, integrator, plan=kept)
    np.testing.assert_array_equal(again, whole)
    spent = Numbers()
    fm.score.integrate(spent, y0, LEVELS, integrator, plan=kept)
    assert spent.calls == 1  # the comparison with the log
    with pytest.raises(CheckpointError, match="integrator"):
        fm.score.integrate(model, y0, LEVELS, "dpm2", rng=9, plan=kept)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
def test_a_killed_run_resumes_with_the_same_bits(tmp_path: Path) -> None:
    path, out = tmp_path / "kept", tmp_path / "out.npy"
    script = textwrap.dedent(
        f"""
        import sys, time
        import numpy as np, fermiac as fm
        from score_forms import LEVELS, Numbers, each, exact, points
        class Slow(Numbers):
            def _denoise(self, y, sigma):
                time.sleep(float(sys.argv[1]))
                print("call", flush=True)
                return super()._denoise(y, sigma)
        kept = fm.Plan(store={str(path)!r}, every=0.001)
        x = fm.score.integrate(Slow(), points(20), LEVELS, "ancestral", rng=2, plan=kept)
        np.save({str(out)!r}, x)
        """
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script]
    with subprocess.Popen([*command, "0.2"], env=env, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for _ in range(4):
            run.stdout.readline()
        run.kill()
    done = subprocess.run([*command, "0"], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.count("call") < len(LEVELS) + 1
    whole = fm.score.integrate(Numbers(), points(20), LEVELS, "ancestral", rng=2)
    np.testing.assert_array_equal(np.load(out), whole)
