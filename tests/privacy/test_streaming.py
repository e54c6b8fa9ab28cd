"""Posteriors of tables block by block: the values of the posteriors, from every source."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrow_streams import ArrowTable
from plans import planned

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError

N = 30
TABLE: dict[str, Any] = {
    "tp": np.arange(50, 50 + N, dtype=np.int32),
    "fp": np.linspace(20.0, 40.0, N),
    "fn": np.full(N, 50, dtype=np.uint8),
    "tn": np.full(N, 60, dtype=np.int64),
    "d": np.linspace(0.0, 0.1, N, dtype=np.float32),
    "id": np.array([f"row {i}" * (1 + i % 4) for i in range(N)], dtype=object),
    "good": np.arange(N) % 3 == 0,
}
COUNTS = {name: TABLE[name].astype(float) for name in ("tp", "fp", "fn", "tn")}


def joined(blocks: Any) -> dict[str, Any]:
    made = list(blocks)
    return {name: np.concatenate([block[name] for block in made]) for name in made[0]}


def expected() -> dict[str, Any]:
    p = fm.privacy.epsilon_posterior(**COUNTS, delta=TABLE["d"].astype(float))
    low, high = p.interval(0.8)
    return {"median": p.median, "lower": low, "upper": high, "risk": p.prob_above(1.0)}


WHAT = {"median": "median", "lower": "lower", "upper": "upper", "risk": ("prob_above", 1.0)}


def scan(source: Any, **given: Any) -> Any:
    return fm.privacy.scan(source, WHAT, delta="d", prob=0.8, **given)


def assert_expected(got: dict[str, Any], rows: Any = slice(None)) -> None:
    for name, values in expected().items():
        np.testing.assert_array_equal(got[name], values[rows], name)


@pytest.mark.parametrize("block_rows", [1, 7, 1000])
def test_blocks_of_a_mapping(block_rows: int) -> None:
    got = joined(scan(TABLE, block_rows=block_rows, keep=["id", "good"]))
    assert_expected(got)
    np.testing.assert_array_equal(got["id"], TABLE["id"])


@pytest.mark.parametrize("block_rows", [4, 1000])
def test_a_stream_without_any_library(block_rows: int) -> None:
    """Batches of 11 rows, each with an offset, as slices of larger arrays have."""
    source = ArrowTable(TABLE, batch=11, offset=3)
    got = joined(scan(source, block_rows=block_rows, keep=["id", "good"]))
    assert_expected(got)
    np.testing.assert_array_equal(got["id"], TABLE["id"])
    np.testing.assert_array_equal(got["good"], TABLE["good"])
    assert source.released == source.made == 3


def test_a_stream_whose_source_has_no_other_owner() -> None:
    blocks = scan(ArrowTable(TABLE, batch=11), keep=["id"])
    gc.collect()
    got = joined(blocks)
    assert_expected(got)
    np.testing.assert_array_equal(got["id"], TABLE["id"])


def test_nulls_and_other_types_of_a_stream() -> None:
    with pytest.raises(ArgumentError, match="'fp' has no value in row 12"):
        list(scan(ArrowTable(TABLE, batch=11, null=("fp", 12))))
    with pytest.raises(ArgumentError, match="'id' has the Arrow type 'u'; numbers are supported"):
        fm.privacy.scan(ArrowTable(TABLE), counts=("tp", "fp", "fn", "id"))
    with pytest.raises(ArgumentError, match="no column 'none'"):
        fm.privacy.scan(ArrowTable(TABLE), counts=("tp", "fp", "fn", "none"))
    with pytest.raises(ArgumentError, match="its stream failed: it broke"):
        list(scan(ArrowTable(TABLE, breaks=True)))


@pytest.mark.parametrize("library", ["pyarrow", "polars", "duckdb", "pandas"])
def test_the_sources_of_libraries(library: str) -> None:
    made: Any = pytest.importorskip(library)
    if library == "pyarrow":
        table = made.table(TABLE)
        source = made.RecordBatchReader.from_batches(table.schema, table.to_batches(8))
    elif library == "duckdb":
        frame = pytest.importorskip("pyarrow").table(TABLE)  # noqa: F841
        source = made.sql("select * from frame")
    elif library == "pandas":
        pytest.importorskip("pyarrow")
        source = made.DataFrame(TABLE)
    else:
        source = made.DataFrame(TABLE)
    got = joined(scan(source, block_rows=9, keep=["id"]))
    assert_expected(got)
    np.testing.assert_array_equal(got["id"], TABLE["id"])


def test_files_parts_and_a_second_call(tmp_path: Path) -> None:
    out = tmp_path / "rows"
    for i in range(2):
        assert scan(TABLE, block_rows=8, out=out, plan=fm.Plan(part=(i, 2)), keep=["id"]) == N
    files = sorted(out.iterdir())
    assert len(files) == 4
    there = {path: path.stat().st_mtime_ns for path in files}
    files[1].unlink()
    assert scan(TABLE, block_rows=8, out=out, keep=["id"]) == N
    assert sorted(out.iterdir()) == files
    assert files[1].stat().st_mtime_ns > there[files[1]]
    assert all(p.stat().st_mtime_ns == there[p] for p in files if p != files[1])
    got = joined(dict(np.load(path)) for path in files)
    assert_expected(got)
    np.testing.assert_array_equal(got["id"], TABLE["id"].astype(str))
    with pytest.raises(CheckpointError, match="which another call wrote"):
        scan(TABLE, block_rows=9, out=out)


def test_parquet_files(tmp_path: Path) -> None:
    if not any(_has(name) for name in ("pyarrow", "polars")):
        with pytest.raises(ImportError, match="need pyarrow or polars"):
            scan(TABLE, out=tmp_path / "x.parquet")
        return
    out = tmp_path / "x.parquet"
    assert scan(TABLE, block_rows=8, out=out, keep=["id"]) == N
    pyarrow = pytest.importorskip("pyarrow.parquet")
    got = pyarrow.read_table(out)
    assert_expected({name: got[name].to_numpy() for name in WHAT})
    assert got["id"].to_pylist() == TABLE["id"].tolist()
    # A row group at a time, as for a table that is larger than memory.
    again = joined(
        fm.privacy.scan(
            pyarrow.ParquetFile(sorted(out.iterdir())[0]).read(), ["mean"],
            counts=("median", "lower", "upper", "upper"),
        )
    )  # fmt: skip
    assert len(again["mean"]) == 8


def _has(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def test_a_function_takes_the_blocks() -> None:
    blocks: list[dict[str, Any]] = []
    assert scan(TABLE, block_rows=8, out=blocks.append) == N
    assert_expected(joined(blocks))


def test_the_memory_does_not_grow_with_the_rows() -> None:
    def peak(n_batches: int) -> float:
        small = {name: values[:20] for name, values in TABLE.items()}
        source = ArrowTable(small, batch=20, repeats=n_batches)
        tracemalloc.start()
        seen = sum(len(block["mean"]) for block in fm.privacy.scan(source, ["mean"]))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert seen == 20 * n_batches
        return most / 2**20

    few, many = min(peak(3), peak(3)), peak(30)
    assert many < few + 0.3, (few, many)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"columns": "mean"}, "columns: 'mean' given"),
        ({"columns": []}, "columns"),
        ({"columns": ["mean", "medien"]}, "columns: 'medien' given"),
        ({"columns": {"a": ("ppf", "x")}}, "columns"),
        ({"columns": {"a": ("ppf", 2.0)}}, "q: "),
        ({"columns": {"a": (np.ones(2), 2.0)}}, "columns"),
        ({"columns": {"a": ("ppf", np.timedelta64(1, "s"))}}, "columns"),
        ({"columns": [np.ones(2)]}, "columns"),
        ({"counts": ("tp", "fp", "fn")}, "counts"),
        ({"keep": ["median"]}, "keep"),
        ({"measure": "rho"}, "measure"),
        ({"measure": "delta"}, "epsilon: not given"),
        ({"epsilon": 1.0}, "epsilon: given without"),
        ({"prob": 2.0}, "prob"),
        ({"block_rows": 0}, "block_rows"),
        ({"part": (3, 2)}, "part"),
        ({"delta": 2.0}, "delta"),
        ({"source": 3}, "source: 3 given"),
        ({"source": {**TABLE, "tp": TABLE["tp"][:3]}}, "equal lengths"),
        ({"source": {**TABLE, "tp": TABLE["id"]}}, "numbers are needed"),
    ],
)
def test_refused(given: dict[str, Any], match: str) -> None:
    with pytest.raises(ArgumentError, match=match):
        fm.privacy.scan(**planned(**{"source": TABLE, **given}))


@pytest.mark.parametrize("measure", ["epsilon", "delta", "mu"])
def test_parts_of_posteriors_and_their_columns(measure: str, tmp_path: Path) -> None:
    call: Any = getattr(fm.privacy, f"{measure}_posterior")
    given: dict[str, Any] = dict(COUNTS)
    given["tp"] = given["tp"].reshape(N, 1) + np.array([0.0, 5.0])
    given |= {name: given[name][:, None] for name in ("fp", "fn", "tn")}
    if measure != "mu":
        given["delta" if measure == "epsilon" else "epsilon"] = np.array([0.01, 0.2])
    given["prior"] = ((0.5, 0.5), (np.array([0.5, 1.0]), 0.5))
    what = {"m": "median", "low": "lower", "q": ("isf", 0.01)}
    whole = call(**given)
    rows = whole.columns(what, prob=0.8)
    assert rows.array.shape == (2 * N, 3)
    np.testing.assert_array_equal(rows["m"], whole.median.ravel())
    np.testing.assert_array_equal(rows["low"], whole.interval(0.8)[0].ravel())
    np.testing.assert_array_equal(rows["q"], whole.isf(0.01).ravel())
    for n in (1, 3, 16):
        for i in range(n):
            part = call(**given, plan=fm.Plan(part=(i, n)))
            part.columns(what, prob=0.8).save(tmp_path / f"{n}-{i}.safetensors")
        parts = [fm.load(tmp_path / f"{n}-{i}.safetensors") for i in range(n)]
        merged = fm.merge(parts[::-1])
        assert merged.names == ("m", "low", "q")
        np.testing.assert_array_equal(merged.array, rows.array)
    with pytest.warns(fm.errors.FermiacWarning, match="60 rows are missing: 0 to 2"):
        fm.merge(parts[1:])
    with pytest.raises(ArgumentError, match="another call"):
        fm.merge([parts[0], call(**given, plan=fm.Plan(part=(1, 16))).columns(what, prob=0.7)])
    with pytest.raises(ArgumentError, match="two parts hold row"):
        fm.merge([parts[0], parts[0]])
    with pytest.raises(fm.errors.UnknownNameError, match="the columns are"):
        rows["x"]
    with pytest.raises(fm.errors.UnknownNameError, match="the columns are"):
        rows[np.ones(2)]  # type: ignore[index]
    for prob in (np.ones(3), "0.5", 1.5):
        with pytest.raises(ArgumentError, match="prob: "):
            whole.columns(prob=prob)
    with pytest.raises(ArgumentError, match="kind: "):
        whole.columns(["mean"], kind="widest")
    with pytest.raises(ArgumentError, match="this part is empty"):
        call(
            10,
            2,
            3,
            4,
            **({"epsilon": 1.0} if measure == "delta" else {}),
            plan=fm.Plan(part=(0, 2)),
        )


def test_a_posterior_of_one_row() -> None:
    p = fm.privacy.epsilon_posterior(400, 100, 100, 400)
    assert p.columns(["mean"]).array.tolist() == [[p.mean]]
