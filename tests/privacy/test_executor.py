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
                there = asked(posterior(kind, executor=executor))
                for a, b in zip(local, there, strict=True):
                    np.testing.assert_array_equal(a, b)


def test_processes_and_files(tmp_path: Path) -> None:
    local = posterior("epsilon")
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        there = posterior("epsilon", executor=pool)
        np.testing.assert_array_equal(there.interval(0.9), local.interval(0.9))
        there.save(tmp_path / "p.safetensors")
    # A file does not know the pool.
    again = fm.load(tmp_path / "p.safetensors")
    np.testing.assert_array_equal(again.mean, local.mean)  # type: ignore[attr-defined]
    one = fm.privacy.epsilon_posterior(400, 100, 100, 400, executor=pool)
    with pytest.raises(fm.errors.WorkerError, match="must stay open"):
        one.ppf(0.5)


def test_what_is_no_executor() -> None:
    with pytest.raises(ArgumentError, match="executor: 3 given"):
        posterior("epsilon", executor=3)
