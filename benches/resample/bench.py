"""Bootstrap and permutation tests on one thread, beside SciPy, arch and wildboottest.

``pytest benches/resample/bench.py --benchmark-group-by=group``, or ``python -m
benches.resample.bench``, which prints CPU times and their ratios.

Each row's extra_info has the difference of the upper end to that of SciPy, in standard errors,
which has the noise of SciPy's resamples. SciPy's times are scaled where it takes fewer resamples.
The difference of tests is that of the p-values. wildboottest computes the p-value of one
coefficient, and fermiac those of all with their intervals.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter

import fermiac as fm

_RNG = np.random.default_rng(1)
X = _RNG.exponential(size=10_000)
Y = _RNG.exponential(size=10_000)
SIGNS = _RNG.normal(0.02, 1.0, 5000)
DESIGN = _RNG.normal(size=(10_000, 3))
TRUTH = (_RNG.uniform(size=10_000) < 0.5) * 1.0
GUESS = np.where(_RNG.uniform(size=10_000) < 0.8, TRUTH, 1 - TRUTH)
SERIES = lfilter([1.0], [1.0, -0.5], _RNG.normal(size=1500))[500:]
A, B = _RNG.normal(size=5000), _RNG.normal(0.02, size=5000)
#: Twenty clusters of fifty observations.
CLUSTERS = np.repeat(np.arange(20), 50)
REGRESSOR = _RNG.normal(size=20)[CLUSTERS] + 0.5 * _RNG.normal(size=1000)
RESPONSE = 0.2 * REGRESSOR + _RNG.normal(size=20)[CLUSTERS] + _RNG.normal(size=1000)


class Case(NamedTuple):
    """A call of ours and one of SciPy's with the same work, or the same answer."""

    ours: Callable[[], Any]
    theirs: Callable[[], Any] | None
    #: Resamples of a call, by which SciPy's time is scaled where it takes fewer.
    scale: float = 1.0


def _ours(x: Any, statistic: Any, method: str, n: int = 9999, exact: bool | None = None) -> Any:
    return lambda: fm.resample.bootstrap(
        x, statistic, method=method, n_resamples=n, exact=exact, rng=0, plan=fm.Plan(n_threads=1)
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


def _ratio(a: Any, b: Any, axis: int = -1) -> Any:
    return a.mean(axis=axis) / b.mean(axis=axis)


def _ols(*columns: Any) -> Any:
    *x, y = columns
    design = np.column_stack([np.ones(len(y)), *x])
    return np.linalg.lstsq(design, y, rcond=None)[0][1]


def _series(scheme: str, n: int) -> Any:
    return lambda: fm.resample.bootstrap(
        SERIES, "mean", scheme=scheme, n_resamples=n, rng=0, plan=fm.Plan(n_threads=1)
    )


def _arch() -> Any:
    kinds = importlib.import_module("arch.bootstrap")
    length = float(kinds.optimal_block_length(SERIES)["stationary"].iloc[0])
    made = kinds.StationaryBootstrap(length, SERIES, seed=np.random.default_rng(0))
    return made.conf_int(np.mean, 999, method="percentile")


class _Tested(NamedTuple):
    """The p-value of a slope."""

    pvalue: float


def _wild() -> Any:
    made = fm.resample.wild_bootstrap((REGRESSOR, RESPONSE), clusters=CLUSTERS, rng=0)
    return _Tested(float(made.pvalue[1]))


def _wildboottest() -> Any:
    pandas, models = importlib.import_module("pandas"), importlib.import_module("statsmodels.api")
    test = importlib.import_module("wildboottest.wildboottest").wildboottest
    design = pandas.DataFrame({"constant": 1.0, "slope": REGRESSOR})
    found = test(
        models.OLS(RESPONSE, design),
        param="slope",
        cluster=pandas.Series(CLUSTERS, name="cluster"),
        B=9999,
        seed=1,
        show=False,
    )
    return _Tested(float(found["p-value"].iloc[0]))


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
    "mean, BCa, n = 10⁶": Case(_ours(np.tile(X, 100), "mean", "bca"), None),
    "ratio of means, percentile": Case(
        _ours((X, Y), "ratio_of_means", "percentile"),
        _scipy((X, Y), _ratio, "percentile", paired=True),
        TEN,
    ),
    "sd, studentised, 999": Case(_ours(X, "sd", "studentised", 999), None),
    "least squares, 4 columns, 999": Case(
        _ours((DESIGN, Y), "ols", "percentile", 999),
        _scipy(
            (DESIGN.T[0], DESIGN.T[1], DESIGN.T[2], Y),
            _ols,
            "percentile",
            99,
            paired=True,
            vectorized=False,
        ),
        999 / 99,
    ),
    "Kendall, 999": Case(_ours((X, Y), "kendall", "percentile", 999), None),
    "accuracy of cells, F1, 9999": Case(_ours((TRUTH, GUESS), "f1", "percentile"), None),
    "series, sieve, n = 1000, 999": Case(_series("sieve", 999), None),
    "series, stationary, n = 1000, 999": Case(
        _series("stationary", 999), _arch if importlib.util.find_spec("arch") else None
    ),
    "regression, 20 clusters, wild, 9999": Case(
        _wild, _wildboottest if importlib.util.find_spec("wildboottest") else None
    ),
    "two samples of 5000, 9999 drawn": Case(
        lambda: fm.resample.permutation_test((A, B), exact=False, rng=0, plan=fm.Plan(n_threads=1)),
        None,
    ),
    "two samples of 5000, exact law": Case(
        lambda: fm.resample.permutation_test((A, B), rng=0, plan=fm.Plan(n_threads=1)),
        lambda: stats.permutation_test(
            (A, B), _difference, n_resamples=999, rng=np.random.default_rng(0)
        ),
        TEN,
    ),
    "signs of 5000": Case(
        lambda: fm.resample.permutation_test(SIGNS, rng=0, plan=fm.Plan(n_threads=1)),
        lambda: stats.permutation_test(
            (SIGNS,),
            _sum,
            permutation_type="samples",
            n_resamples=999,
            rng=np.random.default_rng(0),
        ),
        TEN,
    ),
    "signs of 30": Case(
        lambda: fm.resample.permutation_test(SIGNS[:30], plan=fm.Plan(n_threads=1)), None
    ),
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
        pytest.skip("no other library that is installed has such a call")
    benchmark.group = f"resample: {name}"
    if side == "ours" and case.theirs is not None:
        ours, other = call(), case.theirs()
        if isinstance(ours, fm.resample.Bootstrap):
            # The slope of the first column, where there are coefficients; arch returns both ends.
            upper, stderr = (np.atleast_1d(v)[-1 if np.size(v) == 1 else 1]
                             for v in (ours.upper, ours.stderr))  # fmt: skip
            ends = getattr(other, "confidence_interval", other)
            benchmark.extra_info["difference"] = float(upper - np.ravel(ends[1])[0]) / float(stderr)
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
