"""Rows of posteriors on the workers of an executor."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fermiac as fm
from fermiac.errors import ArgumentError

N = 48
COUNTS = np.random.default_rng(0).integers(0, 300, size=(4, N)).astype(float)
DELTA = np.linspace(0.0, 0.3, N)


def posterior(kind: str, **given: Any) -> Any:
    if kind == "mu":
        return fm.privacy.mu_posterior(*COUNTS, **given)
    at = {"delta": DELTA} if kind == "epsilon" else {"epsilon": 0.5}
    return getattr(fm.privacy, f"{kind}_posterior")(*COUNTS, **at, **given)


def asked(p: Any) -> list[Any]:
    return [p.interval(0.9), p.mean, p.ppf([[0.05], [0.5]]), p.cdf(0.3)]


@pytest.mark.parametrize("kind", ["epsilon", "delta", "mu"])
def test_the_same_bits_on_workers(kind: str) -> None:
    local = asked(posterior(kind))
    for n in (1, 2, 8):
        with ThreadPoolExecutor(n) as threads:
            for executor in (threads, fm.executor.Sharded(threads, rows=7)):
                there = asked(posterior(kind, plan=executor))
                for a, b in zip(local, there, strict=True):
                    np.testing.assert_array_equal(a, b)


def test_processes_and_files(tmp_path: Path) -> None:
    local = posterior("epsilon")
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        there = posterior("epsilon", plan=pool)
        np.testing.assert_array_equal(there.interval(0.9), local.interval(0.9))
        there.save(tmp_path / "p.safetensors")
    # A file does not know the pool.
    again = fm.load(tmp_path / "p.safetensors")
    np.testing.assert_array_equal(again.mean, local.mean)  # type: ignore[attr-defined]
    one = fm.privacy.epsilon_posterior(400, 100, 100, 400, plan=pool)
    with pytest.raises(fm.errors.WorkerError, match="must stay open"):
        one.ppf(0.5)


def test_audits_in_one_run_and_intervals_by_rows() -> None:
    guesses = np.arange(10, 10 + N)
    calls: list[Any] = [
        lambda **given: fm.privacy.audit_one_run(200, guesses, guesses - 5, delta=1e-5, **given),
        lambda **given: fm.privacy.audit_one_run_scores(
            np.arange(60.0), np.arange(60) > 25, [5, 10, 20], [5, 10, 20], **given
        ),
        lambda **given: fm.privacy.epsilon_interval(*COUNTS, delta=DELTA, **given),
        lambda **given: fm.privacy.epsilon_interval(*COUNTS, method="bayes", **given),
        lambda **given: fm.privacy.epsilon_interval(40, 10, 10, 40, kind="lower", **given),
    ]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        for call in calls:
            local, there = call(), call(plan=pool)
            np.testing.assert_array_equal(there.epsilon_lower, local.epsilon_lower)
            for name in ("mu_lower", "epsilon_upper"):
                np.testing.assert_array_equal(getattr(there, name, 0.0), getattr(local, name, 0.0))


def test_the_replicates_of_a_curve(tmp_path: Path) -> None:
    stream = fm.random.Stream(3)
    curve = fm.privacy.roc(stream.normal(50) + 1.0, stream.normal(60))

    def limits(**given: Any) -> Any:
        return curve.bootstrap("tpr_at_fpr", 500, fpr=0.1, rng=1, **given)

    local = limits()

    def same(other: Any) -> None:
        for name in ("replicates", "estimate", "lower", "upper", "stderr", "acceleration"):
            np.testing.assert_array_equal(getattr(other, name), getattr(local, name))

    for n in (1, 2, 8):
        with ThreadPoolExecutor(n) as threads:
            same(limits(plan=threads))
            same(limits(plan=fm.executor.Sharded(threads, rows=3)))
    for n in (1, 3, 16):
        same(limits(replicates=fm.merge([limits(plan=fm.Plan(part=(i, n))) for i in range(n)])))
    limits(plan=fm.Plan(store=tmp_path, part=(0, 2)))
    some = [*tmp_path.iterdir()]
    same(limits(plan=fm.Plan(store=tmp_path)))
    assert len(some) == 4
    assert len([*tmp_path.iterdir()]) == 8
    same(limits(replicates=fm.merge(tmp_path)))
    with pytest.raises(ArgumentError, match="replicates: 3 given"):
        limits(replicates=3)


def test_what_is_no_executor() -> None:
    with pytest.raises(ArgumentError, match="plan: 3 given"):
        posterior("epsilon", plan=3)
