"""Folders of runs that are also stores of Zarr."""

from __future__ import annotations

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
from fermiac.mcmc import zarr_folder

Array = NDArray[np.float64]


def read(path: Path, group: str, name: str) -> Array:
    """The array of a store, chunk by chunk as its metadata says."""
    meta = json.loads((path / group / name / "zarr.json").read_text())
    root = json.loads((path / "zarr.json").read_text())
    assert root["consolidated_metadata"]["metadata"][f"{group}/{name}"] == meta
    shape, shard = meta["shape"], meta["chunk_grid"]["configuration"]["chunk_shape"]
    inner = meta["codecs"][0]["configuration"]["chunk_shape"]
    content = (path / group / name / "c" / "/".join("0" * len(shape))).read_bytes()
    assert all(a % b == 0 and a >= n for a, b, n in zip(shard, inner, shape, strict=True))
    grid = [a // b for a, b in zip(shard, inner, strict=True)]
    index = np.frombuffer(content[-16 * int(np.prod(grid)) :], "<u8").reshape(*grid, 2)
    out = np.empty(shard)
    for at in np.ndindex(*grid):
        start, length = (int(part) for part in index[at])
        block = tuple(slice(i * n, (i + 1) * n) for i, n in zip(at, inner, strict=True))
        out[block] = np.frombuffer(content[start : start + length], "<f8").reshape(inner)
    return out[tuple(slice(n) for n in shape)]


@pytest.mark.parametrize("section", [2**22, 8 * DIM * 100, 8])
def test_a_store_has_the_draws_of_the_folder(
    section: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zarr_folder, "_SECTION", section)
    here = run(n_draws=203)
    there = run(n_draws=203, path=tmp_path / "run.zarr")
    for sample in (there, fm.mcmc.open(tmp_path / "run.zarr", verify="full")):
        np.testing.assert_array_equal(sample.draws, here.draws)
        np.testing.assert_array_equal(sample.log_densities, here.log_densities)
    np.testing.assert_array_equal(read(tmp_path / "run.zarr", "posterior", "x"), here.draws)
    np.testing.assert_array_equal(
        read(tmp_path / "run.zarr", "sample_stats", "lp"), here.log_densities
    )
    os.rename(tmp_path / "run.zarr", tmp_path / "renamed")
    np.testing.assert_array_equal(fm.load(tmp_path / "renamed").draws, here.draws)


def test_the_store_of_a_run_that_goes_on(tmp_path: Path) -> None:
    path, kept = tmp_path / "run.zarr", fm.Plan(store=tmp_path / "state")
    calls = 0

    def breaks(x: Array) -> Array:
        nonlocal calls
        calls += 1
        if calls > 190:
            raise LookupError("mine")
        return formula(x)

    given = {"dim": DIM, "kernel": fm.mcmc.RWM(), "pool": False}
    where = {"path": path, "plan": kept}
    with pytest.raises(LookupError):
        run(breaks, **given, **where)
    part = read(path, "posterior", "x")
    calls = -(10**9)
    longer = run(breaks, n_draws=500, **given, **where)
    whole = run(formula, n_draws=500, **given)
    assert 0 < part.shape[1] < 500
    np.testing.assert_array_equal(part, whole.draws[:, : part.shape[1]])
    np.testing.assert_array_equal(longer.draws, whole.draws)
    np.testing.assert_array_equal(read(path, "posterior", "x"), whole.draws)


def test_constrained_draws_are_in_the_store(tmp_path: Path) -> None:
    law = fm.distributions.Beta([2.0, 2.0], [3.0, 3.0])
    given = {"kernel": "rwm", "n_draws": 200, "n_warmup": 100, "rng": 0, "init": [0.4, 0.6]}
    s = fm.mcmc.sample(law, path=tmp_path / "run.zarr", transforms="auto", **given)
    np.testing.assert_array_equal(read(tmp_path / "run.zarr", "posterior", "x"), s.draws)


def test_a_run_without_draws_leaves_no_store(tmp_path: Path) -> None:
    def broken(x: Array) -> Array:
        if len(x) == 4 and np.all(x == 1.0):
            return np.zeros(4)
        raise LookupError("mine")

    with pytest.raises(LookupError):
        run(broken, dim=2, kernel=fm.mcmc.RWM(), init=np.ones(2), path=tmp_path / "vain.zarr")
    assert not (tmp_path / "vain.zarr").exists()
    run(path=tmp_path / "run.zarr")
    with pytest.raises(ArgumentError, match="not an empty folder"):
        run(path=tmp_path / "run.zarr")
    zarr_folder.discard_store(tmp_path / "run.zarr")
    assert not [file for file in (tmp_path / "run.zarr").iterdir() if file.is_dir()]


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(CheckpointError, match="needs hard links"):
        run(path=tmp_path / "run.zarr")


def test_other_libraries_open_it_lazily(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zarr = pytest.importorskip("zarr", minversion="3")
    xarray = pytest.importorskip("xarray")
    monkeypatch.setattr(zarr_folder, "_SECTION", 8 * DIM * 100)
    s = run(n_draws=203, path=tmp_path / "run.zarr")
    x = zarr.open_group(tmp_path / "run.zarr", mode="r")["posterior/x"]
    assert x.chunks == (1, 100, DIM)
    np.testing.assert_array_equal(x[1, 150:203], s.draws[1, 150:203])
    with xarray.open_datatree(tmp_path / "run.zarr", engine="zarr", chunks=None) as tree:
        assert tree["posterior/x"].dims == ("chain", "draw", "x_dim_0")
        np.testing.assert_array_equal(tree["posterior/x"].isel(chain=3).values, s.draws[3])
        np.testing.assert_array_equal(tree["sample_stats/lp"].values, s.log_densities)
