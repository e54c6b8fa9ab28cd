"""Tests and intervals of mlxtend, scikit-learn and SciPy, beside those of fermiac.

The data sets are those of [the tables of fermiac](calibration-evaluate.md), with seeds from 1000
on. The first table has the share of data sets in which equal models are rejected. mlxtend's tests
have their defaults, and fit the same learners with random splits of their own. There are {sets}
data sets for predictions and {few} for learners; the standard error of a share of 0.05 is {error}
and {few_error}.

The second table has nominal 95 % intervals: the share ``held`` of data sets whose interval holds
the truth, and the mean ``length`` of the interval. The truth of error rates is the mean error of
models that are fitted to other data sets of the same size. The intervals of mlxtend are those of
its manual: 2.5 and 97.5 % quantiles of the scores of ``bootstrap_point632_score``, which are the
scores of single resamples. ``cross_val_score`` stands for the mean of its ten folds and 1.96
standard deviations over √10 on each side. Areas have the same quantiles of ``roc_auc_score`` in 199
resamples of ``sklearn.utils.resample``. There are {errors} data sets for each row, so that the
standard error of a share of 0.95 is {errors_error}. The .632+ score of mlxtend is left out for 100
examples, because it takes a second for each data set. fermiac's rows for error rates are the
estimate and two standard errors on each side, and ``warned`` is the share of data sets with a typed
warning.

``python -m benches.evaluate.calibrate_peers --sets {sets}`` prints the tables; it needs mlxtend and
scikit-learn.
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benches.evaluate import calibrate as own
from numpy.typing import NDArray
from scipy import stats

try:
    from mlxtend import evaluate as mlxtend
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import cross_val_score
    from sklearn.utils import resample
except ImportError:
    print("mlxtend and scikit-learn are needed, and not installed: nothing is compared")
    sys.exit(0)

Array = NDArray[np.float64]
Ends = Callable[[int], tuple[float, float]]
FIRST, RESAMPLES = 1000, 199


class Learner(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A learner of `benches.evaluate.calibrate` as a classifier of scikit-learn."""

    def __init__(self, learn: Any, first: int = 0, last: int | None = None) -> None:
        #: The learner, and the features that it sees.
        self.learn, self.first, self.last = learn, first, last

    def fit(self, x: Array, y: Any) -> Learner:
        """Fit the learner."""
        self.classes_ = np.unique(y)
        self.model_ = self.learn(x[:, self.first : self.last], y)
        return self

    def predict(self, x: Array) -> Any:
        """Return classes."""
        return self.model_(x[:, self.first : self.last])


def _right(model: Any, x: Array, y: Any) -> float:
    """Return the accuracy; the scorer of the tests of learners."""
    return float((model.predict(x) == y).mean())


def _test(name: str, where: str, call: Callable[..., Any], **more: Any) -> own.Test:
    """Return a test of mlxtend that fits a learner to either half of the features."""

    def pvalue(key: int) -> float:
        x, y = own.examples(key)
        pair = Learner(own.nearest_mean, 0, own.HALF), Learner(own.nearest_mean, own.HALF)
        return float(call(*pair, x, y, scoring=_right, random_seed=key, **more)[1])

    return own.Test(f"mlxtend, {name}", where, pvalue)


def _mcnemar(key: int, n: int, exact: bool) -> float:
    return float(mlxtend.mcnemar(np.array(own.table(key, n)), exact=exact)[1])


def _cochran(key: int, n: int) -> float:
    right = own.right(key, n, 5, 0.8).T.astype(float)
    return float(mlxtend.cochrans_q(np.ones(n), *right)[1])


def tests() -> Iterator[own.Test]:
    """Yield the tests of the peers, after those of fermiac that do the same."""
    ours = own.tests()

    def of(*names: str) -> Iterator[own.Test]:
        yield from (test for test in ours if test.name in names)

    yield from of("McNemar, mid-p", "McNemar, exact", "McNemar, chi2")
    for exact in (False, True):
        for n in (50, 500):
            name = f"mlxtend, mcnemar{', exact' * exact}"
            call = partial(_mcnemar, n=n, exact=exact)
            yield own.Test(name, f"accuracy 0.8, n = {n}", call)
    yield from of("Cochran's Q")
    for n in (50, 500):
        where = f"five models, accuracy 0.8, n = {n}"
        yield own.Test("mlxtend, cochrans_q", where, partial(_cochran, n=n))
    yield from of("Friedman, F", "Friedman, chi2")
    yield own.Test(
        "SciPy, friedmanchisquare",
        "4 learners, 20 data sets",
        lambda key: float(stats.friedmanchisquare(*own.ranks(key).T).pvalue),
    )
    where = next(of("5x2cv F")).setting
    yield from of("Nadeau-Bengio, ten folds")
    yield _test("paired_ttest_kfold_cv", where, mlxtend.paired_ttest_kfold_cv, cv=10, shuffle=True)
    yield from of("Nadeau-Bengio, 30 random splits")
    yield _test("paired_ttest_resampled, 30 splits", where, mlxtend.paired_ttest_resampled)
    yield from of("5x2cv F")
    yield _test("combined_ftest_5x2cv", where, mlxtend.combined_ftest_5x2cv)
    yield from of("5x2cv t")
    yield _test("paired_ttest_5x2cv", where, mlxtend.paired_ttest_5x2cv)


def levels(sets: int) -> Iterator[list[str]]:
    """Yield the rows of the table of tests."""
    yield ["test", "data", *(f"p ≤ {at}" for at in own.LEVELS)]
    for test in tests():
        count = counts(sets)["few" if "halves" in test.setting else "sets"]
        shares = own.level(test, count, FIRST)
        yield [test.name, test.setting, *(f"{share:.3f}" for share in shares)]


def _area(key: int, n: int) -> tuple[float, float]:
    y, s = own.scores(key, n)
    found = []
    for i in range(RESAMPLES):
        labels, drawn = resample(y, s[:, 0], random_state=key * RESAMPLES + i)
        if 0 < labels.sum() < len(labels):
            found.append(roc_auc_score(labels, drawn))
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def _point632(
    key: int, fit: Any, n: int, shift: float, method: str, count: int
) -> tuple[float, float]:
    x, y = own.examples(key, n, shift)
    scores = mlxtend.bootstrap_point632_score(
        Learner(fit), x, y, n_splits=count, method=method, random_seed=key
    )
    low, high = np.percentile(1 - scores, [2.5, 97.5])
    return float(low), float(high)


def _folds(key: int, fit: Any, n: int, shift: float) -> tuple[float, float]:
    errors = 1 - cross_val_score(Learner(fit), *own.examples(key, n, shift), cv=10)
    half = 1.96 * errors.std(ddof=1) / math.sqrt(10)
    return float(errors.mean() - half), float(errors.mean() + half)


def problems() -> Iterator[own.Problem]:
    """Yield the intervals of the peers, after those of fermiac for the same data sets."""
    ours = own.problems()
    for n in (20, 200):
        where = f"area 0.73, n = {n}"
        yield from (p for p in ours if p.setting == where)
        name = "area, scikit-learn resample"
        yield own.Problem(name, where, partial(_area, n=n), own.true_area)
    for fit, label in own.LEARNERS:
        for n, shift, count in own.SIZES[:2]:
            where = f"{label}, n = {n}, B = {count}"
            yield from (p for p in ours if p.setting == where)
            truth = partial(own.mean_error, fit, n, shift)
            same = {"fit": fit, "n": n, "shift": shift}
            for method in (".632+", ".632", "oob") if n < 100 else (".632", "oob"):
                ends: Ends = partial(_point632, **same, method=method, count=count)
                yield own.Problem(f"error rate, mlxtend {method}", where, ends, truth)
            name = "error rate, scikit-learn cross_val_score"
            yield own.Problem(name, f"{label}, n = {n}", partial(_folds, **same), truth)


def coverages(sets: int) -> Iterator[list[str]]:
    """Yield the rows of the table of intervals."""
    yield ["interval", "data", "held", "length", "warned"]
    for problem in problems():
        count = counts(sets)["errors"]
        held, warned, length = 0, 0, 0.0
        for key in range(FIRST, FIRST + count):
            with warnings.catch_warnings(record=True) as given:
                warnings.simplefilter("always")
                low, high = problem.ends(key)
            held += low <= problem.truth() <= high
            length += high - low
            warned += bool(given)
        theirs = "mlxtend" in problem.name or "scikit" in problem.name
        told = "–" if theirs else f"{warned / count:.3f}"
        yield [problem.name, problem.setting, f"{held / count:.3f}", f"{length / count:.3f}", told]


def counts(sets: int) -> dict[str, int]:
    """Return the numbers of data sets."""
    parts = {"sets": 1, "few": 3, "errors": 25}
    return {name: max(sets // part, 1) for name, part in parts.items()}


def text(sets: int) -> str:
    """Return the text of the page."""
    words = {name: str(count) for name, count in counts(sets).items()}
    errors = {
        ("error" if name == "sets" else f"{name}_error"): f"{math.sqrt(0.05 * 0.95 / count):.3f}"
        for name, count in counts(sets).items()
    }
    return str(__doc__).replace("``", "`").format(**words, **errors)


def main() -> None:
    """Print the tables, or write them to a page of the documentation."""
    parser = argparse.ArgumentParser(description="Tests and intervals of other packages.")
    parser.add_argument("--sets", type=int, default=2000, help="data sets of tests of predictions")
    parser.add_argument("--out", type=Path, help="write Markdown to this file as well")
    given = parser.parse_args()
    lines = []
    for rows in (levels(given.sets), coverages(given.sets)):
        for i, row in enumerate(rows):
            new = ["| " + " | ".join(row) + " |", *(["|---" * len(row) + "|"] if i == 0 else [])]
            print("\n".join(new), flush=True)
            lines += new
        lines.append("")
    if given.out is not None:
        head = "# Model evaluation of other packages\n\n" + text(given.sets)
        given.out.write_text(head + "\n" + "\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
