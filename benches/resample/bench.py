"""Bootstrap and permutation tests on one thread, beside SciPy.

``pytest benches/resample/bench.py --benchmark-group-by=group``, or ``python -m
benches.resample.bench``, which prints CPU times and their ratios.

Each row's extra_info has the difference of the upper end to that of SciPy, in standard errors,
which has the noise of SciPy's resamples. SciPy's times are scaled where it takes fewer resamples.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy import stats

import fermiac as fm

_RNG = np.random.default_rng(1)
X = _RNG.exponential(size=10_000)
Y = _RNG.exponential(size=10_000)
SIGNS = _RNG.normal(0.02, 1.0, 5000)
A, B = _RNG.normal(size=5000), _RNG.normal(0.02, size=5000)


class Case(NamedTuple):
    """A call of ours and one of SciPy's with the same work, or the same answer."""

    ours: Callable[[], Any]
    theirs: Callable[[], Any] | None
    #: Resamples of a call, by which SciPy's time is scaled where it takes fewer.
    scale: float = 1.0


def _ours(x: Any, statistic: Any, method: str, n: int = 9999, exact: bool | None = None) -> Any:
    return lambda: fm.resample.bootstrap(
        x, statistic, method=method, n_resamples=n, exact=exact, rng=0, n_threads=1
    )


def _scipy(x: Any, statistic: Any, method: str, n: int = 999, **more: Any) -> Any:
    return lambda: stats.bootstrap(
        x, statistic, method=method, n_resamples=n, rng=np.random.default_rng(0), **more
    )


def _pearson(a: Any, b: Any, axis: int = -1) -> Any:
    a, b = a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)
    return (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))


def _sum(d: Any, axis: int = -1) -> Any:
    return d.sum(axis=axis)


def _difference(a: Any, b: Any, axis: int = -1) -> Any:
    return a.mean(axis=axis) - b.mean(axis=axis)


TEN = 9999 / 999
CASES: dict[str, Case] = {
    "mean, percentile": Case(
        _ours(X, "mean", "percentile"), _scipy((X,), np.mean, "percentile"), TEN
    ),
    "mean, BCa": Case(_ours(X, "mean", "bca"), _scipy((X,), np.mean, "BCa")),
    "mean, percentile, drawn": Case(
        _ours(X, "mean", "percentile", 999, False), _scipy((X,), np.mean, "percentile")
    ),
    "mean, studentised, 999": Case(_ours(X, "mean", "studentised", 999), None),
    "mean difference, percentile": Case(
        _ours((X, Y), "mean_difference", "percentile"),
        _scipy((X, Y), _difference, "percentile"),
        TEN,
    ),
    "median": Case(_ours(X, "median", "order"), _scipy((X,), np.median, "percentile"), TEN),
    "90 % quantile, percentile": Case(
        _ours(X, fm.resample.Quantile(0.9), "percentile"),
        _scipy((X,), lambda x, axis: np.quantile(x, 0.9, axis=axis), "percentile"),
        TEN,
    ),
    "Pearson, 999": Case(
        _ours((X, Y), "pearson", "bca", 999), _scipy((X, Y), _pearson, "BCa", paired=True)
    ),
    "AUC, 5000 against 5000, 999": Case(
        _ours((X[:5000], Y[:5000]), "auc", "percentile", 999), None
    ),
    "AUC, studentised, 999": Case(_ours((X[:5000], Y[:5000]), "auc", "studentised", 999), None),
    "two samples of 5000, 9999": Case(
        lambda: fm.resample.permutation_test((A, B), rng=0, n_threads=1),
        lambda: stats.permutation_test(
            (A, B), _difference, n_resamples=999, rng=np.random.default_rng(0)
        ),
        TEN,
    ),
    "signs of 5000": Case(
        lambda: fm.resample.permutation_test(SIGNS, rng=0, n_threads=1),
        lambda: stats.permutation_test(
            (SIGNS,),
            _sum,
            permutation_type="samples",
            n_resamples=999,
            rng=np.random.default_rng(0),
        ),
        TEN,
    ),
    "signs of 30": Case(lambda: fm.resample.permutation_test(SIGNS[:30], n_threads=1), None),
    "ranks, 60 against 70, ties": Case(
        lambda: fm.resample.permutation_test((np.round(A[:60]), np.round(B[:70])), "rank"), None
    ),
}


@pytest.mark.parametrize("side", ["ours", "theirs"])
@pytest.mark.parametrize("name", list(CASES))
def bench_resample(benchmark: Any, name: str, side: str) -> None:
    case = CASES[name]
    call = case.ours if side == "ours" else case.theirs
    if call is None:
        pytest.skip("SciPy has no such call")
    benchmark.group = f"resample: {name}"
    if side == "ours" and case.theirs is not None:
        ours, other = call(), case.theirs()
        if isinstance(ours, fm.resample.Bootstrap):
            gap = float(ours.upper) - float(other.confidence_interval.high)
            benchmark.extra_info["difference"] = gap / float(ours.stderr)
        else:
            benchmark.extra_info["difference"] = ours.pvalue - other.pvalue
    if side == "theirs":
        benchmark.extra_info["scale"] = case.scale
    benchmark.pedantic(call, rounds=3, warmup_rounds=1)


def _cpu(call: Callable[[], Any], rounds: int) -> float:
    """Return the least CPU time of a call in milliseconds."""
    found = []
    for _ in range(rounds):
        began = time.process_time()
        call()
        found.append(time.process_time() - began)
    return 1e3 * min(found)


def main() -> None:
    """Print CPU times and ratios."""
    print("| case | ours, ms | SciPy, ms | ratio |")
    print("|---|---|---|---|")
    for name, case in CASES.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            case.ours()
            ours = _cpu(case.ours, 5)
            if case.theirs is None:
                print(f"| {name} | {ours:.2f} | – | – |", flush=True)
                continue
            theirs = _cpu(case.theirs, 1) * case.scale
        print(f"| {name} | {ours:.2f} | {theirs:.0f} | {theirs / ours:.0f} |", flush=True)


if __name__ == "__main__":
    main()
