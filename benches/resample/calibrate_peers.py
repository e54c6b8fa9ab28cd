"""Coverage of bootstrap intervals of mlxtend, scikit-learn and resample, beside those of fermiac.

Most problems are those of [the table of fermiac](calibration-resample.md), whose intervals are in
the column ``auto``. The others are the F1 score and the accuracy of 50 guesses of two equally
likely classes. Each row has {sets} data sets (the standard error of a coverage of 0.95 is {error}),
or {few} for scikit-learn ({few_error}), whose metrics take a millisecond for each resample. The
seeds of the data sets are from 1000 on. All intervals are nominal 95 % intervals from 999
resamples, or 199 for scikit-learn.

mlxtend's ``bootstrap`` returns the percentile interval and a standard error, which is shown with
1.96 standard errors on each side. It takes one array, so that two samples are values with the label
of their sample, and resamples change the sizes of the samples. The package resample has its BCa
interval, for one sample and for pairs. The intervals of scikit-learn are the 2.5 and 97.5 %
quantiles of its metric in resamples of ``sklearn.utils.resample``, without the resamples that have
one class alone. pingouin calls SciPy's bootstrap, so that it has no column of its own.

``python -m benches.resample.calibrate_peers --sets {sets}`` prints the table. Columns of packages
that are not installed are left out, and named.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from benches.resample.calibrate import (
    METHODS,
    PROBLEMS,
    Data,
    Interval,
    Problem,
    cell,
    coverage,
    drawn,
)
from numpy.typing import NDArray

Array = NDArray[np.float64]
NONE = (float("nan"), float("nan"))
FIRST = 1000
#: The resamples of scikit-learn.
FEW_RESAMPLES = 199


def _f1(y: Array, guess: Array, axis: int = -1) -> Any:
    return 2 * (y * guess).sum(-1) / (y + guess).sum(-1)


def _accuracy(y: Array, guess: Array, axis: int = -1) -> Any:
    return (y == guess).mean(-1)


def _labels(rng: np.random.Generator, right: float) -> Data:
    """Return labels, and guesses that are right with a probability."""
    y = (rng.random(50) < 0.5) * 1.0
    return y, np.where(rng.random(50) < right, y, 1 - y)


OWN = {
    "F1 0.8, n = 50": Problem(lambda g: _labels(g, 0.8), "f1", _f1, 0.8, True),
    "accuracy 0.9, n = 50": Problem(lambda g: _labels(g, 0.9), "accuracy", _accuracy, 0.9, True),
}
#: The statistics that are metrics of scikit-learn.
METRICS = {"auc": "roc_auc_score", "f1": "f1_score", "accuracy": "accuracy_score"}


def _rows(data: Data, paired: bool, function: Callable[..., Any]) -> tuple[Array, Any]:
    """Return one array with a row for each observation, and the statistic of such rows.

    Independent samples become values with the label of their sample, as a table of data has them.
    """
    if len(data) == 1:
        return data[0], lambda x: float(function(x, axis=-1))
    if paired:
        return np.column_stack(data), lambda x: float(function(*x.T, axis=-1))
    labels = np.repeat(np.arange(len(data)), [len(x) for x in data])

    def labelled(x: Array) -> float:
        return float(function(*(x[x[:, 1] == i, 0] for i in range(len(data))), axis=-1))

    return np.column_stack([np.concatenate(data), labels]), labelled


@lru_cache(maxsize=4000)
def _both(problem: Problem, key: int, n: int) -> Any:
    """Return the interval of mlxtend, and its estimate with 1.96 standard errors on each side."""
    from mlxtend.evaluate import bootstrap

    x, statistic = _rows(drawn(problem, key), problem.paired, problem.function)
    estimate, stderr, ends = bootstrap(x, statistic, num_rounds=n, seed=key)
    return ends, (estimate - 1.96 * stderr, estimate + 1.96 * stderr)


def _mlxtend(which: int) -> Interval:
    def interval(problem: Problem, data: Data, key: int, n: int) -> tuple[float, float]:
        low, high = _both(problem, key, n)[which]
        return float(low), float(high)

    return interval


def _resample(problem: Problem, data: Data, key: int, n: int) -> tuple[float, float]:
    from resample.bootstrap import confidence_interval

    if len(data) > 1 and not problem.paired:
        return NONE
    low, high = confidence_interval(
        lambda *x: float(problem.function(*x, axis=-1)), *data, size=n, random_state=key
    )
    return float(low), float(high)


def _scikit_learn(problem: Problem, data: Data, key: int, n: int) -> tuple[float, float]:
    from sklearn import metrics
    from sklearn.utils import resample

    if problem.statistic not in METRICS:
        return NONE
    function = getattr(metrics, METRICS[problem.statistic])
    labels = data[0] if problem.paired else np.repeat([1, 0], [len(x) for x in data])
    values = data[1] if problem.paired else np.concatenate(data)
    found = []
    for i in range(FEW_RESAMPLES):
        y, guess = resample(labels, values, random_state=key * FEW_RESAMPLES + i)
        if len(np.unique(y)) > 1:
            found.append(function(y, guess))
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


#: The columns, and the module that each needs.
COLUMNS: dict[str, tuple[Interval, str]] = {
    "auto": (METHODS["auto"], "fermiac"),
    "SciPy percentile": (METHODS["SciPy percentile"], "scipy"),
    "SciPy BCa": (METHODS["SciPy BCa"], "scipy"),
    "mlxtend": (_mlxtend(0), "mlxtend"),
    "mlxtend ± 1.96 se": (_mlxtend(1), "mlxtend"),
    "resample BCa": (_resample, "resample"),
    "scikit-learn": (_scikit_learn, "sklearn"),
}


def few_of(sets: int) -> int:
    """Return the number of data sets of scikit-learn."""
    return max(2 * sets // 5, 1)


def table(sets: int, wanted: str, columns: dict[str, Interval]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield f"| problem | {' | '.join(columns)} |"
    yield "|" + "---|" * (len(columns) + 1)
    for name, problem in (PROBLEMS | OWN).items():
        if wanted not in name:
            continue
        cells = []
        for label, interval in columns.items():
            count = few_of(sets) if label == "scikit-learn" else sets
            cells.append(cell(*coverage(problem, interval, count, 999, FIRST)))
        _both.cache_clear()
        yield f"| {name} | {' | '.join(cells)} |"


def text(sets: int) -> str:
    """Return the text of the page."""
    error, few_error = (f"{math.sqrt(0.05 * 0.95 / n):.3f}" for n in (sets, few_of(sets)))
    words = str(__doc__).replace("``", "`").strip()
    return words.format(sets=sets, few=few_of(sets), error=error, few_error=few_error)


def main() -> None:
    """Print the table, or write it to a page of the documentation."""
    parser = argparse.ArgumentParser(description="Coverage of bootstrap intervals.")
    parser.add_argument("--sets", type=int, default=200, help="data sets of each problem")
    parser.add_argument("--only", default="", help="problems whose names hold this text")
    parser.add_argument("--out", type=Path, help="write Markdown to this file as well")
    given = parser.parse_args()
    gone = [k for k, (_, module) in COLUMNS.items() if importlib.util.find_spec(module) is None]
    left = f"Not installed, and left out: {', '.join(gone)}." if gone else ""
    print(left)
    chosen = {k: interval for k, (interval, _) in COLUMNS.items() if k not in gone}
    lines = []
    for line in table(given.sets, given.only, chosen):
        print(line, flush=True)
        lines.append(line)
    if given.out is not None:
        parts = [
            "# Bootstrap intervals of other packages",
            text(given.sets),
            *([left] if left else []),
            "\n".join(lines),
        ]
        given.out.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
