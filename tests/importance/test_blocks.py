"""The final sample of `expect` in blocks: the bits of the call in one piece, whoever draws them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import worker_targets
from executor_help import spawned
from plans import by_units, planned

import fermiac as fm
from fermiac.errors import ArgumentError, CheckpointError, FermiacWarning, TargetError

LAW = fm.distributions.MultivariateNormal(np.zeros(2), np.eye(2))
NORMAL = fm.distributions.Normal()
#: About 12 chunks in the final sample.
N = 60_000


def three(x: Any) -> Any:
    return np.stack([x[:, 0] ** 2, (x[:, 1] > 2.5) * 1.0, x[:, 0] + x[:, 1]], axis=1)


def squares(x: Any) -> Any:
    return x[:, 0] ** 2


def turned(x: Any) -> Any:
    return np.exp(1j * x[:, 0])


CALLS: list[tuple[Any, Any, dict[str, Any]]] = [
    (three, LAW, {"names": ["a", "b", "c"]}),
    (three, LAW, {"method": "mc"}),
    (three, LAW, {"controls": "polynomial"}),
    (three, LAW, {"controls": "all"}),
    (turned, NORMAL, {}),
    (squares, [NORMAL, fm.distributions.Normal(0.3, 1.2)], {}),
    (fm.targets.powers([2, 4]), NORMAL, {"covariance": "diag"}),
]


def expect(f: Any = three, law: Any = LAW, **given: Any) -> Any:
    return fm.importance.expect(f, law, **{"n": N, "rng": 3, **given})


def assert_same(a: Any, b: Any) -> None:
    for name in ("mean", "stderr", "cov", "ess", "khat", "unseen", "n_evals", "names", "warnings"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), name)
    assert str(a.stages) == str(b.stages)
    assert (a.method, a.chosen_stage, a.status) == (b.method, b.chosen_stage, b.status)
    assert str(a.settings) == str(b.settings)
    assert_same_sampler(a.sampler, b.sampler)


def assert_same_sampler(a: Any, b: Any) -> None:
    assert (a is None) == (b is None)
    if a is not None:
        assert (a.kind, a.ends, a.df, a.seed) == (b.kind, b.ends, b.df, b.seed)
        for name in ("origin", "scale", "means", "covariances", "shares"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), name)


@pytest.mark.parametrize(("f", "law", "given"), CALLS, ids=lambda x: str(x)[:20])
def test_parts_workers_and_a_store_give_the_bits_of_the_call(
    f: Any, law: Any, given: dict[str, Any], tmp_path: Path
) -> None:
    whole = expect(f, law, **given)
    for n in (1, 3, 7):
        parts = [expect(f, law, **given, plan=fm.Plan(part=(i, n))) for i in range(n)]
        assert_same(fm.merge(parts[::-1]).estimate(), whole)
    pairs = [parts[i].merge(parts[j]) for i, j in ((0, 4), (5, 2), (1, 3))]
    assert_same(fm.merge([*pairs, parts[6]]).estimate(), whole)
    with ThreadPoolExecutor(2) as executor:
        for how in ("auto", "whole", "points"):
            assert_same(expect(f, law, **given, plan=by_units(executor, how)), whole)
    made = expect(f, law, **given, plan=fm.Plan(store=tmp_path, part=(1, 3)))
    there = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with pytest.warns(FermiacWarning, match=f"of {made.n_blocks} blocks are missing: 0, 1"):
        some = fm.merge(tmp_path)
    with pytest.warns(FermiacWarning, match="blocks are missing"):
        partial = some.estimate()
    assert partial.status == "interrupted"
    assert partial.n_evals < whole.n_evals
    assert np.all(np.abs(partial.mean - whole.mean) < 6 * partial.stderr)
    assert_same(expect(f, law, **given, plan=fm.Plan(store=tmp_path)), whole)
    assert all(path.stat().st_mtime_ns == at for path, at in there.items())
    assert_same(fm.merge(tmp_path).estimate(), whole)


def test_processes() -> None:
    f = worker_targets.moments
    factory = fm.targets.factory("worker_targets:make_moments", 1.0)
    with spawned(2) as executor:
        assert_same(expect(f, plan=by_units(executor)), expect(f))
        made_there = expect(factory, plan=by_units(executor))
    assert_same(made_there, expect(f))


def test_the_memory_of_the_driver_does_not_grow_with_the_blocks() -> None:
    """Of methods whose merge is sums."""
    import tracemalloc

    def peak(n_blocks: int) -> float:
        f = fm.targets.powers([2, 4])
        given: dict[str, Any] = {"method": "mc", "n": n_blocks * 4096}
        with ThreadPoolExecutor(1) as executor:
            tracemalloc.start()
            e = expect(f, NORMAL, plan=by_units(executor), **given)
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert e.n_evals == n_blocks * 4096
        return most / 2**20

    # From the 32 chunks on that k-hat is computed from; a block takes a thousand bytes.
    few, many = min(peak(40), peak(40)), peak(1000)
    assert many < few + 0.5, (few, many)


def test_the_sum_of_points_is_that_of_the_call(tmp_path: Path) -> None:
    """A resumed call evaluates what is missing, and nothing else."""
    counts: list[int] = []

    def counted(x: Any) -> Any:
        counts.append(len(x))
        return x[:, 0] ** 2

    whole = expect(counted, check=False)
    assert sum(counts) == N == whole.n_evals
    counts.clear()
    for i in range(3):
        expect(counted, check=False, plan=fm.Plan(store=tmp_path, part=(i, 3)))
    assert sum(counts) == N
    assert_same(expect(counted, check=False, plan=fm.Plan(store=tmp_path)), whole)
    assert sum(counts) == N


def test_an_interrupted_call_has_the_blocks_so_far(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done > 0.8 * total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        expect(plan=fm.Plan(store=tmp_path, progress=stop))
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    assert partial.status == "interrupted"
    assert 0.4 * N < partial.n_evals < N
    assert_same(expect(plan=fm.Plan(store=tmp_path)), expect())


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"part": (0, 2), "keep_draws": True}, "keep_draws: given with part="),
        ({"part": (0, 99)}, "this part is empty"),
        ({"store": "x", "rng": None}, "store: given without rng="),
    ],
)
def test_what_cannot_be_cut_is_refused(given: dict[str, Any], match: str) -> None:
    with pytest.raises(ArgumentError, match=match):
        expect(**planned(**given))


def test_other_targets_laws_and_parts_are_refused(tmp_path: Path) -> None:
    part = expect(plan=fm.Plan(store=tmp_path, part=(0, 2)))
    for other in (
        {"f": lambda x: x[:, 0]},
        {"law": fm.distributions.MultivariateNormal(np.ones(2), np.eye(2))},
        {"n": N + 1},
    ):
        with pytest.raises(CheckpointError, match="belongs to another call"):
            expect(**other, plan=fm.Plan(store=tmp_path, part=(0, 2)))
    with pytest.raises(ArgumentError, match="two parts hold block 0"):
        part.merge(part)
    with pytest.raises(ArgumentError, match="another call"):
        part.merge(expect(plan=fm.Plan(part=(1, 2)), rng=4))
    with pytest.warns(FermiacWarning, match="8 of 9 blocks are missing"):
        alone = fm.merge(sorted(tmp_path.iterdir())[:1])
    with pytest.raises(ArgumentError, match="merge all files"):
        alone.estimate()


def test_a_block_with_other_outputs_is_refused() -> None:
    calls = [0]

    def changes(x: Any) -> Any:
        calls[0] += len(x)
        return x[:, :1] if calls[0] < 45_000 else x

    with pytest.raises(TargetError):
        expect(changes, plan=fm.Plan(part=(0, 1)), check=False)


def test_damaged_words_are_refused(tmp_path: Path) -> None:
    part = expect(plan=fm.Plan(part=(0, 1)), n=20_000)
    rng = np.random.default_rng(0)
    for name in ("_prepared", "_words"):
        words = getattr(part, name)
        for at in rng.integers(0, len(words), 100):
            damaged = words.copy()
            damaged[at] = rng.integers(0, 2**64, dtype=np.uint64)
            object.__setattr__(part, name, damaged)
            try:
                part.estimate()
            except (fm.errors.FermiacError, FermiacWarning, Warning):
                pass
        object.__setattr__(part, name, words)
