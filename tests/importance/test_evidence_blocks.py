"""The final stage of `evidence` in blocks: the bits of the call in one piece."""

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
from fermiac.errors import ArgumentError, CheckpointError, FermiacWarning

LAW = fm.distributions.MultivariateNormal(np.zeros(2), 9 * np.eye(2))
HALF = fm.distributions.Gamma(2.0, 1.0)
#: About 13 chunks in the final stage.
N = 60_000


def two(x: Any) -> Any:
    return np.logaddexp(
        -8 * ((x - 1.5) ** 2).sum(axis=1), -3 * np.abs(x + 1).sum(axis=1), dtype=float
    )


def decay(x: Any) -> Any:
    return -3.0 * x[:, 0]


CALLS: list[tuple[Any, Any, dict[str, Any]]] = [
    (two, LAW, {"names": ["a", "b"]}),
    (two, LAW, {"scheme": "pmc"}),
    (two, LAW, {"scheme": "snis"}),
    (decay, HALF, {}),
    (fm.targets.gaussian([0.0, 1.0], np.eye(2)), LAW, {"family": "gaussian", "n_components": 2}),
]


def evidence(f: Any = two, law: Any = LAW, **given: Any) -> Any:
    return fm.importance.evidence(f, law, **{"n": N, "rng": 3, **given})


def assert_same(a: Any, b: Any) -> None:
    for name in (
        "log_evidence", "log_evidence_stderr", "ess", "khat", "converged", "scheme", "n_evals",
        "warnings", "df", "n_replicates", "status",
    ):  # fmt: skip
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), name)
    assert str(a.stages) == str(b.stages)
    assert str(a.settings) == str(b.settings)
    for name in ("draws", "log_weights", "log_densities"):
        np.testing.assert_array_equal(getattr(a.sample, name), getattr(b.sample, name), name)
    assert a.sample.names == b.sample.names
    assert (a.sampler is None) == (b.sampler is None)
    if a.sampler is not None:
        for name in ("means", "covariances", "shares"):
            np.testing.assert_array_equal(getattr(a.sampler, name), getattr(b.sampler, name))


@pytest.mark.parametrize(("f", "law", "given"), CALLS, ids=lambda x: str(x)[:20])
def test_parts_workers_and_a_store_give_the_bits_of_the_call(
    f: Any, law: Any, given: dict[str, Any], tmp_path: Path
) -> None:
    whole = evidence(f, law, **given)
    for n in (1, 3, 7):
        parts = [evidence(f, law, **given, plan=fm.Plan(part=(i, n))) for i in range(n)]
        assert_same(fm.merge(parts[::-1]).evidence(), whole)
    pairs = [parts[i].merge(parts[j]) for i, j in ((0, 4), (5, 2), (1, 3))]
    assert_same(fm.merge([*pairs, parts[6]]).evidence(), whole)
    with ThreadPoolExecutor(2) as executor:
        for how in ("auto", "whole", "points"):
            assert_same(evidence(f, law, **given, plan=by_units(executor, how)), whole)
    made = evidence(f, law, **given, plan=fm.Plan(store=tmp_path, part=(1, 3)))
    there = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with pytest.warns(FermiacWarning, match=f"of {made.n_blocks} blocks are missing: 0, 1"):
        some = fm.merge(tmp_path)
    with pytest.warns(FermiacWarning, match="blocks are missing"):
        partial = some.evidence()
    assert partial.status == "interrupted"
    assert partial.n_evals < whole.n_evals
    error = np.hypot(partial.log_evidence_stderr, whole.log_evidence_stderr)
    assert abs(partial.log_evidence - whole.log_evidence) < 6 * error
    assert_same(evidence(f, law, **given, plan=fm.Plan(store=tmp_path)), whole)
    assert all(path.stat().st_mtime_ns == at for path, at in there.items())
    assert_same(fm.merge(tmp_path).evidence(), whole)


def test_processes() -> None:
    f = worker_targets.make_gaussian()
    factory = fm.targets.factory("worker_targets:make_gaussian")
    local = evidence(f, n=20_000)
    with spawned(2) as executor:
        assert_same(evidence(f, n=20_000, plan=by_units(executor)), local)
        made_there = evidence(factory, n=20_000, plan=by_units(executor))
    assert_same(made_there, local)


def test_each_point_is_evaluated_once(tmp_path: Path) -> None:
    counts: list[int] = []

    def counted(x: Any) -> Any:
        counts.append(len(x))
        return two(x)

    whole = evidence(counted, check=False)
    assert sum(counts) == N == whole.n_evals
    counts.clear()
    for i in range(3):
        evidence(counted, check=False, plan=fm.Plan(store=tmp_path, part=(i, 3)))
    assert sum(counts) == N
    assert_same(evidence(counted, check=False, plan=fm.Plan(store=tmp_path)), whole)
    assert sum(counts) == N


def test_an_interrupted_call_has_the_blocks_so_far(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done > 0.8 * total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        evidence(plan=fm.Plan(store=tmp_path, progress=stop))
    partial = caught.value.partial_result  # type: ignore[attr-defined]
    assert partial.status == "interrupted"
    assert 0.4 * N < partial.n_evals < N
    assert_same(evidence(plan=fm.Plan(store=tmp_path)), evidence())


def test_parts_have_independent_errors_that_hold() -> None:
    """The evidence from half of the blocks is as calibrated as that from all."""
    law = fm.distributions.Normal([0.0], [3.0])
    exact = np.log(np.sqrt(np.pi / 2))
    pulls = []
    for seed in range(100):
        part = fm.importance.evidence(
            lambda x: -2.0 * (x[:, 0] - 1) ** 2, law, n=30_000, scheme="snis", rng=1000 + seed,
            plan=fm.Plan(part=(0, 2)), check=False,
        )  # fmt: skip
        with pytest.warns(FermiacWarning, match="blocks are missing"):
            z = part.evidence()
        pulls.append((z.log_evidence - exact) / z.log_evidence_stderr)
    assert 0.88 < np.mean(np.abs(pulls) < 2) <= 1


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"part": (0, 2), "gradient": "finite"}, "gradient: given with part="),
        ({"part": (0, 2), "points": "sobol"}, "points: given with part="),
        ({"part": (0, 2), "sampler": LAW}, "sampler: given with part="),
        ({"part": (0, 99)}, "this part is empty"),
        ({"store": "x", "rng": None}, "store: given without rng="),
    ],
)
def test_what_cannot_be_cut_is_refused(given: dict[str, Any], match: str) -> None:
    with pytest.raises(ArgumentError, match=match):
        evidence(**planned(**given))


def test_other_targets_laws_and_parts_are_refused(tmp_path: Path) -> None:
    part = evidence(plan=fm.Plan(store=tmp_path, part=(0, 2)))
    for other in (
        {"f": lambda x: x[:, 0]},
        {"law": fm.distributions.MultivariateNormal(np.ones(2), 9 * np.eye(2))},
        {"n": N + 1},
    ):
        with pytest.raises(CheckpointError, match="belongs to another call"):
            evidence(**other, plan=fm.Plan(store=tmp_path, part=(0, 2)))
    with pytest.raises(ArgumentError, match="two parts hold block 0"):
        part.merge(part)
    with pytest.raises(ArgumentError, match="another call"):
        part.merge(evidence(plan=fm.Plan(part=(1, 2)), rng=4))
    with pytest.raises(ArgumentError, match="parts of one call are needed"):
        part.merge(
            fm.importance.expect(lambda x: x[:, 0], LAW, n=20_000, rng=3, plan=fm.Plan(part=(0, 1)))
        )


def test_damaged_words_are_refused() -> None:
    part = evidence(plan=fm.Plan(part=(0, 1)), n=20_000)
    rng = np.random.default_rng(0)
    for name in ("_prepared", "_words"):
        words = getattr(part, name)
        for at in rng.integers(0, len(words), 100):
            damaged = words.copy()
            damaged[at] = rng.integers(0, 2**64, dtype=np.uint64)
            object.__setattr__(part, name, damaged)
            try:
                part.evidence()
            except (fm.errors.FermiacError, Warning):
                pass
        object.__setattr__(part, name, words)
