"""Draws on disk: folders of runs and their index."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from forms import DIM, formula
from mcmc_help import run
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError
from fermiac.mcmc import run as mcmc_run

Array = NDArray[np.float64]


def test_the_folder_of_another_run_is_not_overwritten(tmp_path: Path) -> None:
    run(path=tmp_path / "run")
    with pytest.raises(ArgumentError, match="not an empty folder"):
        run(path=tmp_path / "run")
    with pytest.raises(ArgumentError):
        run(path=tmp_path / "other", n_chains=0)
    assert not (tmp_path / "other").exists()

    def broken(x: Array) -> Array:
        if len(x) == 4 and np.all(x == 1.0):
            return np.zeros(4)
        raise LookupError("mine")

    with pytest.raises(LookupError):
        run(broken, dim=2, kernel=fm.mcmc.RWM(), init=np.ones(2), path=tmp_path / "vain")
    assert not (tmp_path / "vain").exists()


def test_the_index_tells_how_far_a_run_is(tmp_path: Path) -> None:
    calls = 0

    def breaks(x: Array) -> Array:
        nonlocal calls
        calls += 1
        if calls > 190:
            raise LookupError("mine")
        return formula(x)

    with pytest.raises(LookupError):
        run(breaks, dim=DIM, kernel=fm.mcmc.RWM(), pool=False, path=tmp_path / "run")
    index = json.loads((tmp_path / "run" / "index.json").read_text())
    assert index["status"] == "interrupted"
    opened = fm.mcmc.open(tmp_path / "run")
    assert isinstance(opened.draws, np.memmap)
    assert opened.draws.shape == (4, index["n_draws"], DIM)
    reference = run(formula, dim=DIM, kernel=fm.mcmc.RWM(), pool=False)
    np.testing.assert_array_equal(opened.draws, reference.draws[:, : index["n_draws"]])
    with pytest.raises(CheckpointError, match=r"no index\.json"):
        fm.mcmc.open(tmp_path)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="it cannot take room in advance")
def test_a_full_disk_is_met_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(n_draws=20_000, stop=fm.mcmc.StopWhen(ess=1, rhat=None, every=10), path=tmp_path / "short")
    found = (tmp_path / "short" / "draws.npy").stat()
    assert found.st_blocks * 512 >= found.st_size > 1e6

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(CheckpointError, match="lower n_draws"):
        run(path=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_folders_have_digests_once_their_run_has_ended(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(path=folder)
    index = json.loads((folder / "index.json").read_text())
    assert sorted(index["files"]) == sorted(file.stem for file in folder.glob("*.npy"))
    assert fm.mcmc.open(folder, verify="full").draws.shape == fm.mcmc.open(folder).draws.shape
    with pytest.raises(ArgumentError, match="verify"):
        fm.mcmc.open(folder, verify="all")
    good = (folder / "draws.npy").read_bytes()
    (folder / "draws.npy").write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    for load in (fm.load, fm.mcmc.open):
        with pytest.raises(CheckpointError, match="its digest does not fit"):
            load(folder)
    fm.mcmc.open(folder, verify="none")
    (folder / "draws.npy").write_bytes(good[:-8])
    with pytest.raises(CheckpointError, match="damaged"):
        fm.mcmc.open(folder, verify="none")
    (folder / "draws.npy").write_bytes(good)
    for name, value in (("n_draws", 10**9), ("n_points", 3), ("stat_names", []), ("files", 1)):
        (folder / "index.json").write_text(json.dumps({**index, name: value}))
        with pytest.raises(CheckpointError, match="damaged"):
            fm.load(folder)


def test_a_run_on_the_disk_meets_often_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages are dropped from memory in between, also in a run that goes on."""
    monkeypatch.setattr(mcmc_run, "_FILLED", 4 * 8 * 10 * (DIM + 5))
    calls = 0

    def breaks(x: Array) -> Array:
        nonlocal calls
        calls += 1
        if calls > 300:
            raise LookupError("mine")
        return formula(x)

    given = {"dim": DIM, "kernel": fm.mcmc.RWM(), "n_draws": 400, "thin": 2}
    rule = fm.mcmc.StopWhen(ess=1, rhat=None, every=150)
    where = {"path": tmp_path / "run", "plan": fm.Plan(store=tmp_path / "state")}
    with pytest.raises(LookupError):
        run(breaks, **given, **where, stop=rule)
    calls = -(10**9)
    s = run(breaks, **given, **where, stop=rule)
    np.testing.assert_array_equal(s.draws, run(formula, **given, stop=rule).draws)
    assert s.draws.shape[1] == 150


def test_a_warm_up_that_ends_early_leaves_all_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meetings within the transitions that are left out come to no draws."""
    law = fm.distributions.Normal([0.0, 1.0])
    given = {"n_draws": 200, "rng": 0}
    whole = fm.mcmc.sample(law, **given)
    assert whole.settings["n_warmup"] < 1000
    monkeypatch.setattr(mcmc_run, "_FILLED", 4 * 8 * 10 * (2 * 2 + 8))
    s = fm.mcmc.sample(law, path=tmp_path / "run", **given)
    np.testing.assert_array_equal(s.draws, whole.draws)
