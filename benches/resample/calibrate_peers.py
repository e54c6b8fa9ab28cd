"""Coverage of bootstrap intervals of mlxtend, scikit-learn and resample, beside those of fermiac.

The problems are those of [the table of fermiac](calibration-resample.md), and the data sets the
first ones of each problem there: 400 of them (the standard error of a coverage of 0.95 is 0.011),
or 100 for scikit-learn (0.022). All nominal 95 % intervals have 999 resamples; ``auto`` is the
default of fermiac.

mlxtend's ``bootstrap`` returns the percentile interval and a standard error, which is shown with
1.96 standard errors on each side. It takes one array, so that two samples are values with the label
of their sample, and resamples change the sizes of the samples. The package resample has its BCa
interval, for one sample and for pairs. The intervals of scikit-learn are the 2.5 and 97.5 %
quantiles of its metric in resamples of ``sklearn.utils.resample``, without the resamples that have
one class alone. pingouin calls SciPy's bootstrap, so that it has no column of its own.

``python -m benches.resample.calibrate_peers`` prints the table, in a quarter of an hour. Columns of
packages that are not installed are left out, and named.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from benches.resample.calibrate import METHODS, PROBLEMS, Data, Interval, Problem, drawn, share
from numpy.typing import NDArray

Array = NDArray[np.float64]
NONE = (float("nan"), float("nan"))
#: The largest number of data sets of scikit-learn, whose metrics take a millisecond each.
FEW = 100


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

    if problem.metric is None:
        return NONE
    function = getattr(metrics, problem.metric)
    labels = data[0] if problem.paired else np.repeat([1, 0], [len(x) for x in data])
    values = data[1] if problem.paired else np.concatenate(data)
    found = []
    for i in range(n):
        y, guess = resample(labels, values, random_state=key * n + i)
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


def table(sets: int, wanted: str, columns: dict[str, Interval]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield f"| problem | {' | '.join(columns)} |"
    yield "|" + "---|" * (len(columns) + 1)
    for name, problem in PROBLEMS.items():
        if wanted not in name:
            continue
        cells = [
            share(problem, interval, min(sets, FEW) if label == "scikit-learn" else sets, 999)[0]
            for label, interval in columns.items()
        ]
        _both.cache_clear()
        yield f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table, or write it to a page of the documentation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=400, help="data sets of each problem")
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
            __doc__.replace("``", "`").strip(),
            *([left] if left else []),
            "\n".join(lines),
        ]
        given.out.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
