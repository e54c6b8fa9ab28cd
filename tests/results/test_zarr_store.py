"""Samples as Zarr: raw files with the values of the sample, also as other libraries read them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError
from fermiac.results import zarr_store


def sample() -> Any:
    x = fm.random.Stream(1).normal((3, 50, 5))
    made = fm.Sample.from_arrays(
        x,
        names=["mu", "w[0, 0]", "w[0, 1]", "w[1, 0]", "w[1, 1]"],
        log_densities=-0.5 * (x**2).sum(axis=2),
        coords={"letter": ["a", "b"]},
        dims={"w": ["letter", "k"]},
    )
    return replace(made, stats={"diverging": x[..., 0] > 2.0})


def read(folder: Path, name: str) -> Any:
    """An array of a group, read without any library."""
    meta = json.loads((folder / name / ".zarray").read_text())
    shape, chunks = meta["shape"], meta["chunks"]
    out = np.empty(shape, meta["dtype"])
    for at in np.ndindex(*(-(-s // c) for s, c in zip(shape, chunks, strict=True))):
        raw = (folder / name / ".".join(map(str, at))).read_bytes()
        part = np.frombuffer(raw, meta["dtype"]).reshape(chunks)
        here = tuple(
            slice(i * c, min((i + 1) * c, s)) for i, c, s in zip(at, chunks, shape, strict=True)
        )
        out[here] = part[tuple(slice(0, s.stop - s.start) for s in here)]
    return out


@pytest.mark.parametrize("section", [2**22, 7 * 5 * 8])
def test_the_files(section: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zarr_store, "_SECTION", section)
    s = sample()
    folder = s.to_zarr(tmp_path / "x.zarr")
    np.testing.assert_array_equal(read(folder / "posterior", "mu"), s["mu"])
    np.testing.assert_array_equal(read(folder / "posterior", "w"), s["w"])
    np.testing.assert_array_equal(read(folder / "posterior", "letter"), ["a", "b"])
    np.testing.assert_array_equal(read(folder / "sample_stats", "lp"), s.log_densities)
    np.testing.assert_array_equal(read(folder / "sample_stats", "diverging"), s.stats["diverging"])
    n_sections = len(list((folder / "posterior" / "mu").glob("[0-9]*")))
    assert n_sections == (3 if section == 2**22 else 3 * 8)
    with pytest.raises(ArgumentError, match="is there"):
        s.to_zarr(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["x.zarr"]


def test_draws_on_the_disk_and_points_without_chains(tmp_path: Path) -> None:
    f = fm.targets.gaussian(np.zeros(2), np.eye(2))
    s = fm.mcmc.sample(
        f, 2, kernel="mala", n_chains=2, n_warmup=500, n_draws=3000, rng=0, path=tmp_path / "run"
    )
    folder = s.to_zarr(tmp_path / "x.zarr")
    (name,) = s.variables.shapes
    np.testing.assert_array_equal(read(folder / "posterior", name), s.draws)
    points = fm.Sample.from_arrays(s.draws[0], log_weights=s.log_densities[0])
    folder = points.to_zarr(tmp_path / "y.zarr")
    np.testing.assert_array_equal(read(folder / "posterior", name), s.draws[:1])
    np.testing.assert_array_equal(
        read(folder / "sample_stats", "log_weight"), points.log_weights[None]
    )


def test_xarray_opens_it(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    xarray = pytest.importorskip("xarray")
    s = sample()
    folder = s.to_zarr(tmp_path / "x.zarr")
    data = xarray.open_zarr(folder, group="posterior", chunks=None)
    assert dict(data.sizes) == {"chain": 3, "draw": 50, "letter": 2, "k": 2}
    np.testing.assert_array_equal(data["w"].values, s["w"])
    np.testing.assert_array_equal(data["w"].sel(letter="b", draw=3).values, s["w"][:, 3, 1])
    stats = xarray.open_zarr(folder, group="sample_stats", chunks=None)
    np.testing.assert_array_equal(stats["lp"].values, s.log_densities)
