"""Calls with executors, for tests."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

import fermiac as fm

LAW = fm.distributions.MultivariateNormal(np.zeros(2), [[1.0, 0.3], [0.3, 1.0]])


def expect(f: Any, **arguments: Any) -> fm.Estimate:
    return fm.importance.expect(f, LAW, **{"n": 3000, "rng": 3, **arguments})


def spawned(n_workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(n_workers, multiprocessing.get_context("spawn"))


def same(a: fm.Estimate, b: fm.Estimate) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True)
        for name in ("mean", "stderr", "cov", "ess", "khat", "n_evals")
    )
