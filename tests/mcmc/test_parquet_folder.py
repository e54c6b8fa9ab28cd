"""Folders of runs with files of Parquet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forms import DIM, formula
from mcmc_help import run
from numpy.typing import NDArray

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.mcmc import parquet_folder

Array = NDArray[np.float64]


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match="pip install pyarrow"):
        run(path=tmp_path / "run.parquet")
    assert not (tmp_path / "run.parquet").exists()


def table(path: Path) -> Any:
    dataset = pytest.importorskip("pyarrow.dataset")
    found = dataset.dataset(path, format="parquet").to_table()
    return found.sort_by([("chain", "ascending"), ("draw", "ascending")])


def columns(found: Any, n_chains: int) -> Array:
    names = [name for name in found.column_names if name not in ("chain", "draw", "lp")]
    x = np.stack([found[name].to_numpy() for name in names], axis=-1)
    return x.reshape(n_chains, -1, x.shape[-1])


@pytest.mark.parametrize("section", [2**25, 8 * DIM * 37])
def test_files_have_the_draws(
    section: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(parquet_folder, "_SECTION", section)
    here, path = run(n_draws=203), tmp_path / "run.parquet"
    there = run(n_draws=203, path=path)
    for sample in (there, fm.mcmc.open(path, verify="full")):
        np.testing.assert_array_equal(sample.draws, here.draws)
    found = table(path)
    np.testing.assert_array_equal(columns(found, 4), here.draws)
    assert here.log_densities is not None
    np.testing.assert_array_equal(found["lp"].to_numpy(), here.log_densities.reshape(-1))
    with pytest.raises(ArgumentError, match="not an empty folder"):
        run(path=path)
    path.rename(tmp_path / "renamed")
    np.testing.assert_array_equal(fm.mcmc.open(tmp_path / "renamed").draws, here.draws)


def test_files_of_a_run_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(parquet_folder, "_SECTION", 8 * DIM * 7)
    path, calls = tmp_path / "run.parquet", 0

    def breaks(x: Array) -> Array:
        nonlocal calls
        calls += 1
        if calls > 190:
            raise LookupError("mine")
        return formula(x)

    given: dict[str, Any] = {"dim": DIM, "kernel": fm.mcmc.RWM(), "pool": False}
    where = {"path": path, "plan": fm.Plan(store=tmp_path / "state")}
    with pytest.raises(LookupError):
        run(breaks, **given, **where)
    part, calls = columns(table(path), 4), -(10**9)
    longer = run(breaks, n_draws=500, **given, **where)
    assert 0 < part.shape[1] < 500
    np.testing.assert_array_equal(part, longer.draws[:, : part.shape[1]])
    np.testing.assert_array_equal(longer.draws, run(formula, n_draws=500, **given).draws)
    np.testing.assert_array_equal(columns(table(path), 4), longer.draws)


def test_a_run_without_draws_leaves_no_files(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")

    def broken(x: Array) -> Array:
        if len(x) == 4 and np.all(x == 1.0):
            return np.zeros(4)
        raise LookupError("mine")

    with pytest.raises(LookupError):
        run(broken, dim=2, kernel=fm.mcmc.RWM(), init=np.ones(2), path=tmp_path / "vain.parquet")
    assert not (tmp_path / "vain.parquet").exists()
