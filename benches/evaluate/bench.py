"""Model evaluation on one thread, beside scikit-learn, mlxtend and SciPy.

``pytest benches/evaluate/bench.py --benchmark-group-by=group``, or ``python -m
benches.evaluate.bench``, which prints CPU times and their ratios.

Each row's extra_info has the difference of our answer to that of the peer. Packages that are not
installed are left out.
"""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy import stats

import fermiac as fm

_RNG = np.random.default_rng(1)
Y = _RNG.integers(0, 2, 10_000)
SCORES = _RNG.normal(size=(10_000, 2)) + Y[:, None]
RIGHT = _RNG.random((2000, 5)) < 0.7
P = _RNG.random(10_000)
#: Three classes of 50 flowers in four dimensions.
LABELS = np.repeat([0, 1, 2], 50)
FLOWERS = _RNG.normal(size=(150, 4)) + 1.2 * LABELS[:, None]
TABLES = _RNG.normal(size=(30, 8))


class Case(NamedTuple):
    """A call of ours and one of a peer that answers the same question."""

    ours: Callable[[], Any]
    peer: str
    theirs: Callable[[], Any] | None
    #: The numbers that are compared.
    of_ours: Callable[[Any], float]
    of_theirs: Callable[[Any], float]


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _neighbour(x: Any, y: Any) -> Any:
    """Fit one nearest neighbour, in NumPy."""
    squares = (x * x).sum(1)
    return lambda new: y[(squares - 2 * (new @ x.T)).argmin(1)]


def _table() -> list[list[int]]:
    a, b = RIGHT[:, 0], RIGHT[:, 1]
    return [
        [int((a & b).sum()), int((a & ~b).sum())],
        [int((~a & b).sum()), int((~a & ~b).sum())],
    ]


def _cases() -> dict[str, Case]:
    metrics, neighbours = _module("sklearn.metrics"), _module("sklearn.neighbors")
    selection, mlxtend = _module("sklearn.model_selection"), _module("mlxtend.evaluate")
    one = None if neighbours is None else neighbours.KNeighborsClassifier(1)

    def error(fit: Any) -> Callable[[], Any]:
        return lambda: fm.evaluate.bootstrap_error(fit, FLOWERS, LABELS, n_resamples=200, rng=0)

    def point632() -> Any:
        return mlxtend.bootstrap_point632_score(
            one, FLOWERS, LABELS, n_splits=200, method=".632+", random_seed=1, clone_estimator=True
        )

    def loss(found: Any) -> float:
        return 1 - float(np.mean(found))

    cases = {
        ".632+, one neighbour of scikit-learn, B = 200": Case(
            error(one) if one is not None else error(_neighbour),
            "mlxtend",
            None if mlxtend is None or one is None else point632,
            lambda e: e.estimate,
            loss,
        ),
        ".632+, one neighbour in NumPy, B = 200": Case(
            error(_neighbour),
            "mlxtend",
            None if mlxtend is None or one is None else point632,
            lambda e: e.estimate,
            loss,
        ),
        "area, 10,000, with its error": Case(
            lambda: fm.evaluate.auc(Y, SCORES[:, 0]),
            "scikit-learn, no error",
            None if metrics is None else lambda: metrics.roc_auc_score(Y, SCORES[:, 0]),
            lambda a: a.auc,
            float,
        ),
        "difference of two areas, 10,000": Case(
            lambda: fm.evaluate.auc_difference(Y, SCORES[:, 0], SCORES[:, 1]),
            "SciPy's bootstrap, 999",
            _bootstrap_areas,
            lambda d: d.stderr,
            lambda r: float(r.standard_error),
        ),
        "McNemar, exact": Case(
            lambda: fm.evaluate.mcnemar(_table(), method="exact"),
            "mlxtend",
            None if mlxtend is None else lambda: mlxtend.mcnemar(np.array(_table()), exact=True),
            lambda t: t.pvalue,
            lambda t: float(t[1]),
        ),
        "Cochran's Q, 2000 by 5": Case(
            lambda: fm.evaluate.cochran_q(RIGHT),
            "mlxtend",
            None
            if mlxtend is None
            else lambda: mlxtend.cochrans_q(np.ones(2000), *RIGHT.T.astype(float)),
            lambda t: t.pvalue,
            lambda t: float(t[1]),
        ),
        "Friedman, 30 by 8": Case(
            lambda: fm.evaluate.friedman(TABLES, method="chi2"),
            "SciPy",
            lambda: stats.friedmanchisquare(*TABLES.T),
            lambda t: t.pvalue,
            lambda t: float(t.pvalue),
        ),
        "Benjamini-Hochberg, 10,000": Case(
            lambda: fm.evaluate.adjust(P, "bh"),
            "SciPy",
            lambda: stats.false_discovery_control(P),
            lambda p: float(p.sum()),
            lambda p: float(p.sum()),
        ),
        "Wilson, 1000 intervals": Case(
            lambda: fm.evaluate.proportion_interval(np.arange(1000), 1000),
            "SciPy, a loop",
            lambda: [stats.binomtest(k, 1000).proportion_ci(method="wilson") for k in range(1000)],
            lambda ends: float(ends[0].sum()),
            lambda ends: float(sum(end.low for end in ends)),
        ),
        "ten stratified folds, 10,000": Case(
            lambda: fm.evaluate.splits.k_fold(10_000, 10, strata=Y, rng=0),
            "scikit-learn",
            None
            if selection is None
            else lambda: list(
                selection.StratifiedKFold(10, shuffle=True, random_state=0).split(Y, Y)
            ),
            lambda s: float(len(s[0][1])),
            lambda s: float(len(s[0][1])),
        ),
    }
    return cases


def _bootstrap_areas() -> Any:
    """Return SciPy's bootstrap of the difference of two areas."""

    def difference(rows: Any) -> float:
        y = Y[rows]
        n = int(y.sum())
        areas = [
            (stats.rankdata(SCORES[rows, k])[y == 1].sum() - n * (n + 1) / 2) / (n * (y.size - n))
            for k in (0, 1)
        ]
        return float(areas[0] - areas[1])

    rows = (np.arange(Y.size),)
    return stats.bootstrap(
        rows, difference, vectorized=False, n_resamples=999, method="percentile",
        rng=np.random.default_rng(0),
    )  # fmt: skip


CASES = _cases()


# One neighbour remembers its examples, of which the error rate warns.
@pytest.mark.filterwarnings("ignore::fermiac.errors.FermiacWarning")
@pytest.mark.parametrize("side", ["ours", "theirs"])
@pytest.mark.parametrize("name", list(CASES))
def bench_evaluate(benchmark: Any, name: str, side: str) -> None:
    case = CASES[name]
    if case.theirs is None and side == "theirs":
        pytest.skip(f"{case.peer} is not installed")
    call = case.ours if side == "ours" else case.theirs
    benchmark.group = f"evaluate: {name}"
    benchmark.extra_info["peer"] = case.peer
    if side == "ours" and case.theirs is not None:
        gap = case.of_ours(case.ours()) - case.of_theirs(case.theirs())
        benchmark.extra_info["difference"] = gap
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
    """Print CPU times, ratios, and differences of the answers."""
    print("| case | ours, ms | peer | its, ms | ratio | difference |")
    print("|---|---|---|---|---|---|")
    for name, case in CASES.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            known = case.of_ours(case.ours())
            ours = _cpu(case.ours, 5)
            if case.theirs is None:
                print(f"| {name} | {ours:.2f} | {case.peer} | – | – | – |", flush=True)
                continue
            gap = known - case.of_theirs(case.theirs())
            theirs = _cpu(case.theirs, 2)
        ratio = f"{theirs / ours:.2g}" if theirs < 10 * ours else f"{theirs / ours:.0f}"
        cells = f"{name} | {ours:.2f} | {case.peer} | {theirs:.2f} | {ratio} | {gap:.1e}"
        print(f"| {cells} |", flush=True)


if __name__ == "__main__":
    main()
