"""Diagnostics of chunked arrays: the values of arrays in memory, a few quantities at a time."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.diagnostics import convergence
from fermiac.errors import ArgumentError, FermiacWarning

dask = pytest.importorskip("dask.array")

CALLS: list[Any] = [
    fm.diagnostics.rhat,
    lambda x: fm.diagnostics.ess(x, kind="tail"),
    lambda x: fm.diagnostics.mcse(x, kind="quantile", prob=0.3),
]


@pytest.mark.parametrize("most", [1, 2**22])
@pytest.mark.parametrize("chunks", [(2, 30, 2, 3), (4, 100, 5, 1), (1, 7, 1, 1)])
def test_the_values_are_those_of_the_array(
    most: int, chunks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convergence, "_MOST", most)
    x = fm.random.Stream(1).normal((4, 100, 5, 3))
    y = dask.from_array(x, chunks=chunks)
    for call in CALLS:
        np.testing.assert_array_equal(call(y), call(x))
        np.testing.assert_array_equal(call(y[:, :, 0]), call(x[:, :, 0]))
        assert call(y[:, :, 0, 0]) == call(x[:, :, 0, 0])
    assert fm.diagnostics.ess(y[0, :, 0, 0]) == fm.diagnostics.ess(x[0, :, 0, 0])
    np.testing.assert_array_equal(
        fm.diagnostics.bfmi(y[..., 0, 0]), fm.diagnostics.bfmi(x[..., 0, 0])
    )


def test_xarray() -> None:
    xarray = pytest.importorskip("xarray")
    x = fm.random.Stream(1).normal((4, 100, 5))
    given = xarray.DataArray(x, dims=["chain", "draw", "k"])
    for one in (given, given.chunk({"k": 2})):
        np.testing.assert_array_equal(fm.diagnostics.rhat(one), fm.diagnostics.rhat(x))


def test_few_draws_and_bad_numbers() -> None:
    x = dask.zeros((1, 100, 5), chunks=(1, 10, 2))
    with pytest.warns(FermiacWarning, match="at least 2 chains"):
        assert np.isnan(fm.diagnostics.rhat(x)).all()
    with pytest.raises(ArgumentError):
        fm.diagnostics.ess(x + np.nan)
    with pytest.raises(ArgumentError, match=r"of shape \(1, 0, 5\)"):
        fm.diagnostics.ess(x[:, :0])
    unknown = dask.zeros((4, 100), chunks=10)
    with pytest.raises(ArgumentError):
        fm.diagnostics.ess(unknown[unknown[:, 0] > 1])


def test_a_few_quantities_are_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The array would take 64 MB."""
    monkeypatch.setattr(convergence, "_MOST", 2**18)
    x = dask.map_blocks(
        lambda block_info: np.random.default_rng(0).normal(
            size=[b - a for a, b in block_info[None]["array-location"]]
        ),
        chunks=((1,) * 4, (5000,) * 4, (2,) * 50), dtype=float,
    )  # fmt: skip
    tracemalloc.start()
    assert fm.diagnostics.ess(x).shape == (100,)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    assert peak < 25, peak
