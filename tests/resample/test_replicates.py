"""Replicates on workers, in parts and in a store; `tests/runs/test_whole_calls.py` has the bits."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac import _core
from fermiac.errors import ArgumentError, CheckpointError, FermiacWarning
from fermiac.resample import bootstrap, permutation_test

X = fm.random.Stream(7).exponential(30)
TABLE = fm.random.Stream(8).normal((24, 5))
SERIES = fm.random.Stream(9).normal(60)


@pytest.mark.parametrize(
    ("x", "more"),
    [
        (X, {"statistic": "var"}),
        (X, {"statistic": "var", "tolerance": 0.1, "n_resamples": 300}),
        ((X, X[::-1] + 0.1 * X), {"statistic": "pearson", "strata": np.arange(30) % 2}),
        ((X, X[::-1] + 0.1 * X), {"statistic": "ols"}),
        (SERIES, {"statistic": "mean", "scheme": "sieve", "exact": False}),
        (SERIES, {"statistic": "sd", "scheme": "stationary"}),
        (X, {"statistic": "mean", "scheme": fm.resample.Parametric(lambda s: s.exponential(30))}),
        (X, {"statistic": "sd", "indices": np.arange(3000).reshape(100, 30) % 30}),
    ],
    ids=lambda x: str(x.get("statistic", "")) if isinstance(x, dict) else "",
)
@pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")
def test_all_schemes_have_the_same_bits_on_workers(x: Any, more: dict[str, Any]) -> None:
    given = {"n_resamples": 400, "rng": 3, **more}
    local = bootstrap(x, **given)
    with ThreadPoolExecutor(3) as pool:
        there = bootstrap(x, plan=pool, **given)
        longer = there.extend(50, plan=pool) if "indices" not in more else None
    for name in ("replicates", "replicate_stderrs", "lower", "upper", "stderr"):
        np.testing.assert_array_equal(getattr(there, name), getattr(local, name))
    assert there.warnings == local.warnings
    if longer is not None:
        np.testing.assert_array_equal(longer.replicates, local.extend(50).replicates)


@pytest.mark.parametrize("more", [{}, {"adjust": "max-t"}, {"alternative": "less"}])
def test_many_columns_on_workers(more: dict[str, Any]) -> None:
    x = (TABLE[:14] + 0.4, TABLE[14:])
    local = permutation_test(x, n_resamples=900, rng=1, **more)
    with ThreadPoolExecutor(3) as pool:
        there = permutation_test(x, n_resamples=900, rng=1, plan=pool, **more)
        with pytest.raises(ArgumentError, match="part: given with several columns"):
            permutation_test(x, n_resamples=900, rng=1, plan=fm.Plan(part=(0, 2)), **more)
    for name in ("pvalue", "pvalue_adjusted", "null"):
        np.testing.assert_array_equal(getattr(there, name), getattr(local, name))


def parts(n: int, **more: Any) -> list[Any]:
    return [bootstrap(X, "sd", rng=0, plan=fm.Plan(part=(i, n)), **more) for i in range(n)]


def test_parts_are_saved_and_belong_to_one_call(tmp_path: Path) -> None:
    a, b, c = parts(3)
    assert repr(a).startswith("Replicates: 3333 of 9999")
    b.save(tmp_path / "b.safetensors")
    whole = fm.merge([c, fm.load(tmp_path / "b.safetensors"), a])
    r = bootstrap(X, "sd", rng=0, replicates=whole)
    np.testing.assert_array_equal(r.replicates, bootstrap(X, "sd", rng=0).replicates)
    with pytest.warns(FermiacWarning, match="3333 of 9999 rows are missing: 3333 to 6665"):
        some = fm.merge([a, c])
    with pytest.raises(ArgumentError, match="3333 of 9999 rows are missing"):
        bootstrap(X, "sd", rng=0, replicates=some)
    for wrong in ({"rng": 1}, {"rng": 0, "n_resamples": 99}):
        with pytest.raises(ArgumentError, match="of another call"):
            bootstrap(X, "sd", replicates=whole, **wrong)
    with pytest.raises(ArgumentError, match="of another call"):
        bootstrap(X + 1e-9, "sd", rng=0, replicates=whole)


@pytest.mark.parametrize(
    "blocks", [(), ((),), ((3,),), ((0, 2, 4),), ((4, 0),), ((0, 3),), ((6, 10),), ((2, 4), (0, 2))]
)
def test_a_file_whose_address_does_not_fit_its_rows_is_refused(blocks: Any, tmp_path: Path) -> None:
    part = bootstrap(X, "sd", n_resamples=8, rng=0, plan=fm.Plan(part=(1, 2)))
    assert part.blocks == ((4, 8),)
    part.save(path := tmp_path / "part")
    text, tensors = _core.store_read(str(path), "result")
    content = json.loads(text)
    content["fields"]["blocks"] = {"tuple": [{"tuple": list(block)} for block in blocks]}
    _core.store_write(str(path), "result", json.dumps(content), tensors)
    with pytest.raises(CheckpointError, match="blocks"):
        fm.load(path)
    with pytest.raises(ArgumentError, match="it could not be read again, and is not saved: blocks"):
        replace(part, blocks=blocks).save(path)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"replicates": 3}, "the merged parts of the same call"),
        ({"replicates": 3, "plan": {"store": "x"}}, "store: given with replicates="),
        ({"plan": {"part": (0, 2)}, "tolerance": 0.1}, "part: given with tolerance="),
        ({"plan": {"part": 3}}, "part: 3 given"),
        ({"plan": {"store": "x"}, "rng": None}, "store: given without rng="),
        ({"plan": {"executor": 3}}, "executor: 3 given"),
        (
            {"plan": {"part": (0, 2)}, "n_resamples": 2**40},
            "4294967296 at most are drawn in blocks",
        ),
    ],
)
def test_refused(more: dict[str, Any], words: str) -> None:
    for call in (bootstrap, permutation_test):
        if call is permutation_test and "tolerance" in more:
            continue
        x: Any = X if call is bootstrap else (X, X[:9] + 0.5)
        how = {"exact": False} if call is permutation_test else {"statistic": "sd"}
        with pytest.raises(ArgumentError, match=words):
            call(x, **{"rng": 0, **how, **more, "plan": fm.Plan(**more.get("plan", {}))})


def test_a_known_law_has_no_parts() -> None:
    with pytest.raises(ArgumentError, match="the law of 'median' is known"):
        bootstrap(X, "median", rng=0, plan=fm.Plan(part=(0, 2)))
    with pytest.raises(ArgumentError, match="no permutations are sampled"):
        permutation_test(X[:12] - 1.0, rng=0, plan=fm.Plan(part=(0, 2)))


def test_an_interrupt_keeps_the_first_replicates(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        bootstrap(X, "sd", rng=0, plan=fm.Plan(store=tmp_path, progress=stop))
    found = stopped.value.partial_result  # type: ignore[attr-defined]
    assert found.status == "interrupted"
    n = found.n_resamples
    assert 4000 < n < 6000
    np.testing.assert_array_equal(found.replicates, bootstrap(X, "sd", rng=0).replicates[:n])


CHILD = """
import sys, fermiac as fm
def spread(b):
    return b.std(axis=1)
x = fm.random.Stream(7).exponential(30)
r = fm.resample.bootstrap(x, spread, n_resamples=200, rng=0, plan=fm.Plan(store=sys.argv[1]))
a = (x, x[:9] * 2)
kept = fm.Plan(store=sys.argv[2])
p = fm.resample.permutation_test(a, exact=False, n_resamples=200, rng=0, plan=kept)
print(r.upper, p.pvalue)
"""


def test_another_process_finds_the_files(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    command = [sys.executable, "-c", CHILD, *map(str, folders)]
    said = [subprocess.run(command, capture_output=True, text=True).stdout for _ in range(2)]
    assert said[0] == said[1] != ""
    assert [len([*folder.iterdir()]) for folder in folders] == [200, 200]
    with pytest.raises(CheckpointError, match="another call"):
        bootstrap(X, "sd", rng=0, plan=fm.Plan(store=folders[0]))
