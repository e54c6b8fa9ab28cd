"""Samples as DataFrames of pandas and polars, and as datasets of xarray; tables on the way in."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError

NAMES = ["mu", "theta[0]", "theta[1]"]
X = np.arange(2 * 5 * 3.0).reshape(2, 5, 3)


def chains() -> fm.Sample:
    return fm.Sample.from_arrays(
        X, names=NAMES, coords={"school": ["a", "b"]}, dims={"theta": ["school"]}, seed=2**64 - 1
    )


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_row_for_each_draw(library: Any) -> None:
    module = pytest.importorskip(library)
    table = chains().to_dataframe(library=library)
    assert isinstance(table, module.DataFrame)
    assert list(table.columns) == ["chain", "draw", *NAMES]
    np.testing.assert_array_equal(table["chain"], np.repeat([0, 1], 5))
    np.testing.assert_array_equal(table["draw"], [0, 1, 2, 3, 4] * 2)
    np.testing.assert_array_equal(table["theta[1]"], X[..., 2].ravel())
    weighted = fm.Sample.from_arrays(X[0], np.arange(5.0), names=NAMES)
    np.testing.assert_array_equal(
        weighted.to_dataframe(library=library)["log_weight"], np.arange(5.0)
    )
    several = fm.Sample.from_arrays(X[0], np.zeros((5, 2)), names=NAMES)
    assert "log_weight[1]" in several.to_dataframe(library=library).columns


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_columns_become_names(library: Any) -> None:
    module = pytest.importorskip(library)
    table = module.DataFrame({"mu": [1.0, 2.0, 4.0], "tau": [3, 4, 5]})
    s = fm.Sample.from_arrays(table)
    assert s.names == ("mu", "tau")
    np.testing.assert_array_equal(s["tau"], [3.0, 4.0, 5.0])
    assert fm.Sample.from_arrays(table, names=["a", "b"]).names == ("a", "b")
    assert s.expect(table).names == ("mu", "tau")
    with pytest.raises(ArgumentError, match="draws: "):
        fm.Sample.from_arrays(module.DataFrame({"mu": ["a", "b"]}))


def test_other_columns_are_no_names() -> None:
    pandas = pytest.importorskip("pandas")
    assert fm.Sample.from_arrays(pandas.DataFrame(np.eye(3))).names == ()
    twice = pandas.DataFrame(np.eye(3), columns=["a", "a", "b"])
    with pytest.raises(ArgumentError, match="3 different names"):
        fm.Sample.from_arrays(twice)


def test_the_library_that_is_imported_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas")
    monkeypatch.setitem(sys.modules, "polars", None)
    assert isinstance(chains().to_dataframe(), pandas.DataFrame)
    with pytest.raises(ImportError, match="pip install polars"):
        chains().to_dataframe(library="polars")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="needs pandas or polars"):
        chains().to_dataframe()
    with pytest.raises(ArgumentError, match="did you mean 'pandas'"):
        chains().to_dataframe(library="panda")


def test_names_of_axes_are_refused() -> None:
    for name in ("chain", "draw"):
        s = fm.Sample.from_arrays(np.eye(2), names=["a", name])
        with pytest.raises(ArgumentError, match=f"{name!r} is the name of an axis"):
            s.to_dataframe()


def test_datasets_have_labels() -> None:
    pytest.importorskip("xarray")
    data = chains().to_xarray()
    assert data["theta"].dims == ("chain", "draw", "school")
    np.testing.assert_array_equal(data["theta"].sel(school="b"), X[..., 2])
    assert data.attrs["seed"] == str(2**64 - 1)
    weighted = fm.Sample.from_arrays(X[0], np.arange(5.0))
    data = weighted.to_xarray()
    assert set(data.data_vars) == {"x"}
    assert data["x"].dims == ("chain", "draw", "x_dim_0")
    np.testing.assert_array_equal(data["log_weight"], np.arange(5.0)[None])
    several = fm.Sample.from_arrays(X[0], np.zeros((5, 2))).to_xarray()
    assert several["log_weight"].dims == ("chain", "draw", "law")
    matrix = fm.Sample.from_arrays(
        np.zeros((3, 4)), names=["m[0, 0]", "m[0, 1]", "m[1, 0]", "m[1, 1]"],
        dims={"m": ["i", "i"]}, coords={"i": ["a", "b"]},
    )  # fmt: skip
    assert matrix.to_xarray()["m"].dims == ("chain", "draw", "i", "i_")


def test_corner_and_arviz_take_the_dataset_and_chains() -> None:
    arviz = pytest.importorskip("arviz")
    corner = pytest.importorskip("corner")
    rng = fm.random.Stream(0)
    s = fm.Sample.from_arrays(rng.normal((4, 100, 3)), names=NAMES)
    convert = getattr(arviz, "convert_to_datatree", None) or arviz.convert_to_inference_data
    assert set(convert(s.to_xarray())["posterior"].data_vars) == {"mu", "theta"}
    np.testing.assert_array_equal(convert(s)["posterior"]["x"], s.draws)
    for given in (s, s.to_xarray()):
        assert len(corner.corner(given).axes) == 9


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_tables_come_back(library: Any) -> None:
    pytest.importorskip(library)
    weighted = fm.Sample.from_arrays(X[0], np.arange(5.0), names=NAMES)
    for s in (chains(), weighted, fm.Sample.from_arrays(X[0]), chains()[:1, :]):
        t = fm.Sample.from_arrays(s.to_dataframe(library=library))
        np.testing.assert_array_equal(t.draws, s.draws)
        assert (t.names, t.error_model) == (s._labels, s.error_model)
        if s.log_weights is not None:
            np.testing.assert_array_equal(t.log_weights, s.log_weights)
    table = chains().to_dataframe(library=library)
    if library == "pandas":
        shuffled = table.sample(frac=1.0, random_state=0)
        np.testing.assert_array_equal(fm.Sample.from_arrays(shuffled).draws, X)
    with pytest.raises(ArgumentError, match="chains of 4 to 5 draws"):
        fm.Sample.from_arrays(table[1:])
    with pytest.raises(ArgumentError, match="without a column"):
        fm.Sample.from_arrays(table[["chain", "draw"]])
