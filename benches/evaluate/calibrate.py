"""Calibration of model evaluation: type I error rates of tests, and coverage of intervals.

Tests of *fitted* models (McNemar, Cochran, DeLong) get predictions of equal accuracy or equal
area. Tests of *learners* (t-tests of splits, 5x2cv) compare nearest means on the first five and on
the last five of ten features. Both classes are normal with unit variances, and their means differ
by 0.5 in each feature, so that the expected accuracies are equal. The data sets have 200 examples,
and random splits use 30 % of them as test examples. Each row gives the share of data sets in which
the p-value is at most 0.01, 0.05 and 0.10. A test is right if the share at 0.05 is at most 0.06, or
0.10 for 5x2cv. The plain t-test is shown for comparison.

The intervals are nominal 95 % intervals. Those of error rates are the estimate and two standard
errors on each side, and the truth is the mean error of models that are fitted to other data sets of
the same size. ``held`` is the share of data sets whose interval holds the truth, ``warned`` the
share with a typed warning, and ``quiet`` the coverage among the data sets without a warning. A row
is right if ``held`` or ``quiet`` is at least 0.93, up to two standard errors of the share.

``python -m benches.evaluate.calibrate`` prints the tables, in five minutes. [Tests and intervals of
mlxtend, scikit-learn and SciPy](calibration-evaluate-peers.md) have a page of their own.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

import fermiac as fm

Array = NDArray[np.float64]
LEVELS = (0.01, 0.05, 0.10)
#: Examples of a data set of the learners, features of each, and the shift of the means.
N, HALF, SHIFT = 200, 5, 0.5
#: The largest share of rejections at 0.05 that is right.
MOST, MOST_FIVE_BY_TWO = 0.06, 0.10


class Test(NamedTuple):
    """A test and its p-value on one data set."""

    name: str
    setting: str
    pvalue: Callable[[int], float]
    most: float | None = MOST


def right(key: int, n: int, k: int, accuracy: float) -> NDArray[np.bool_]:
    """Return whether k models of equal accuracy are right; they find the same examples hard."""
    stream = fm.random.Stream(key, index=1)
    hard = stream.normal((n, 1))
    noise = stream.normal((n, k))
    # A normal sum of unit variance, half of which the models share.
    return np.asarray(ndtr((hard + noise) / np.sqrt(2)) < accuracy)


def table(key: int, n: int) -> list[list[int]]:
    """Return the counts of McNemar's test."""
    a, b = right(key, n, 2, 0.8).T
    return [
        [int((a & b).sum()), int((a & ~b).sum())],
        [int((~a & b).sum()), int((~a & ~b).sum())],
    ]


def scores(key: int, n: int) -> tuple[Array, Array]:
    """Return labels and the scores of two models of equal area."""
    stream = fm.random.Stream(key, index=2)
    y = (np.arange(n) % 2).astype(float)
    return y, (1.2 * y + stream.normal(n))[:, None] + stream.normal((n, 2))


def examples(key: int, n: int = N, shift: float = SHIFT) -> tuple[Array, NDArray[np.int64]]:
    """Return examples of ten features, and their classes."""
    y = np.arange(n) % 2
    return fm.random.Stream(key, index=3).normal((n, 2 * HALF)) + shift * y[:, None], y


def nearest_mean(x: Array, y: NDArray[np.int64]) -> Callable[[Array], NDArray[np.int64]]:
    """Fit the nearest of the means of two classes."""
    a, b = x[y == 0].mean(0), x[y == 1].mean(0)
    normal, middle = b - a, (b - a) @ (a + b) / 2
    return lambda new: (new @ normal > middle).astype(np.int64)


def nearest(x: Array, y: NDArray[np.int64]) -> Callable[[Array], NDArray[np.int64]]:
    """Fit one nearest neighbour."""
    squares = (x * x).sum(1)
    return lambda new: np.asarray(y[(squares - 2 * (new @ x.T)).argmin(1)])


def differences(key: int, splits: list[Any]) -> Array:
    """Return the accuracies of one learner less those of the other, split by split."""
    x, y = examples(key)
    found = []
    for train, test in splits:
        accuracy = [
            (nearest_mean(x[train][:, part], y[train])(x[test][:, part]) == y[test]).mean()
            for part in (slice(None, HALF), slice(HALF, None))
        ]
        found.append(accuracy[0] - accuracy[1])
    return np.array(found)


def _folds(key: int) -> list[Any]:
    return fm.evaluate.splits.k_fold(N, 10, strata=np.arange(N) % 2, rng=key)


def _random(key: int) -> list[Any]:
    return fm.evaluate.splits.random(N, 30, test_share=0.3, rng=key)


def _halves(key: int) -> list[Any]:
    return fm.evaluate.splits.five_by_two(N, strata=np.arange(N) % 2, rng=key)


def _corrected(splits: Callable[[int], list[Any]], ratio: float) -> Callable[[int], float]:
    def pvalue(key: int) -> float:
        d = differences(key, splits(key))
        return fm.evaluate.resampled_ttest(d, test_train_ratio=ratio).pvalue

    return pvalue


def _plain(key: int) -> float:
    return fm.evaluate.resampled_ttest(differences(key, _random(key)), method="plain").pvalue


def _five_by_two(method: Any) -> Callable[[int], float]:
    def pvalue(key: int) -> float:
        d = differences(key, _halves(key)).reshape(5, 2)
        return fm.evaluate.five_by_two_cv(d, method=method).pvalue

    return pvalue


def ranks(key: int, ties: bool = False) -> Array:
    """Return scores of four learners on twenty data sets."""
    drawn = fm.random.Stream(key, index=4).normal((20, 4))
    return np.round(drawn) if ties else np.asarray(drawn)


def _adjusted(method: Any) -> Callable[[int], float]:
    """Return the least adjusted p-value of twenty true hypotheses."""

    def pvalue(key: int) -> float:
        p = np.asarray(fm.random.Stream(key, index=5).uniform(20))
        return float(fm.evaluate.adjust(p, method).min())

    return pvalue


def _delong(n: int) -> Callable[[int], float]:
    def pvalue(key: int) -> float:
        y, s = scores(key, n)
        return fm.evaluate.auc_difference(y, s[:, 0], s[:, 1]).pvalue

    return pvalue


def tests() -> tuple[Test, ...]:
    """Return all tests with their settings."""
    halves = "ten features by halves, n = 200"
    return (
        *(
            Test(f"McNemar, {method}", f"accuracy 0.8, n = {n}",
                 lambda key, m=method, n=n: fm.evaluate.mcnemar(table(key, n), method=m).pvalue)
            for method in ("mid-p", "exact", "chi2") for n in (50, 500)
        ),
        *(
            Test("Cochran's Q", f"five models, accuracy 0.8, n = {n}",
                 lambda key, n=n: fm.evaluate.cochran_q(right(key, n, 5, 0.8)).pvalue)
            for n in (50, 500)
        ),
        *(
            Test("DeLong", f"area 0.73, n = {n}", _delong(n)) for n in (40, 100, 500)
        ),
        Test("Nadeau-Bengio, ten folds", halves, _corrected(_folds, 1 / 9)),
        Test("Nadeau-Bengio, 30 random splits", halves, _corrected(_random, 3 / 7)),
        Test("5x2cv F", halves, _five_by_two("f"), MOST_FIVE_BY_TWO),
        Test("5x2cv t", halves, _five_by_two("t"), MOST_FIVE_BY_TWO),
        Test("plain t, 30 random splits", halves, _plain, None),
        Test("Friedman, F", "4 learners, 20 data sets",
             lambda key: fm.evaluate.friedman(ranks(key)).pvalue),
        Test("Friedman, F, ties", "4 learners, 20 data sets",
             lambda key: fm.evaluate.friedman(ranks(key, True)).pvalue),
        Test("Friedman, chi2", "4 learners, 20 data sets",
             lambda key: fm.evaluate.friedman(ranks(key), method="chi2").pvalue),
        Test("Nemenyi, least of the pairs", "4 learners, 20 data sets",
             lambda key: float(fm.evaluate.nemenyi(ranks(key)).pvalue.min())),
        *(
            Test(f"adjust, {method}, least of 20", "independent, all true", _adjusted(method))
            for method in ("bonferroni", "sidak", "holm", "hochberg", "bh", "by", "storey")
        ),
    )  # fmt: skip


#: Tests that take longer have fewer data sets.
SLOW = ("Nadeau", "5x2cv", "plain", "Nemenyi")


def level(test: Test, sets: int, first: int = 0) -> list[float]:
    """Return the shares of data sets in which equal models are rejected, at all levels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        p = np.array([test.pvalue(key) for key in range(first, first + sets)])
    # P-values on a lattice may miss a level by rounding.
    return [float((p <= at + 1e-12).mean()) for at in LEVELS]


def levels(sets: int, wanted: str) -> Iterator[list[str]]:
    """Yield the rows of the table of tests."""
    yield ["test", "data", "sets", *(f"p ≤ {at}" for at in LEVELS), "right"]
    for test in (test for test in tests() if wanted in test.name):
        count = max(sets // 2, 1) if test.name.startswith(SLOW) else sets
        shares = level(test, count)
        good = "–" if test.most is None else "yes" if shares[1] <= test.most else "no"
        yield [test.name, test.setting, str(count), *(f"{s:.3f}" for s in shares), good]


class Problem(NamedTuple):
    """An interval of a data set, and its truth."""

    name: str
    setting: str
    ends: Callable[[int], tuple[float, float]]
    truth: Callable[[], float]


@cache
def mean_error(fit: Any, n: int, shift: float) -> float:
    """Return the mean error of models of many data sets."""
    x, y = examples(10**9, 4000, shift)
    return float(np.mean([
        (fit(*examples(10**8 + key, n, shift))(x) != y).mean() for key in range(300)
    ]))  # fmt: skip


def _error(fit: Any, n: int, shift: float, method: Any, resamples: int) -> Any:
    def ends(key: int) -> tuple[float, float]:
        x, y = examples(key, n, shift)
        e = fm.evaluate.bootstrap_error(
            fit, x, y, method=method, n_resamples=resamples, rng=key, plan=fm.Plan(n_threads=1)
        )
        return e.estimate - 2 * e.stderr, e.estimate + 2 * e.stderr

    return ends


def _area(n: int) -> Callable[[int], tuple[float, float]]:
    def ends(key: int) -> tuple[float, float]:
        y, s = scores(key, n)
        a = fm.evaluate.auc(y, s[:, 0])
        return float(a.lower), float(a.upper)

    return ends


def true_area() -> float:
    """Return the area under the ROC curve of the scores."""
    return float(ndtr(1.2 / 2))


#: Learners, and the sizes, shifts and resamples of the data sets whose errors are estimated.
LEARNERS = ((nearest_mean, "nearest mean"), (nearest, "one neighbour"))
SIZES = ((40, 0.5, 200), (100, 0.5, 200), (200, 0.25, 400))


def problems() -> tuple[Problem, ...]:
    """Return all intervals with their settings."""
    return (
        *(Problem("area, DeLong on the logit", f"area 0.73, n = {n}", _area(n), true_area)
          for n in (20, 40, 200)),
        *(
            Problem(f"error rate, {method}", f"{name}, n = {n}, B = {resamples}",
                    _error(fit, n, shift, method, resamples), partial(mean_error, fit, n, shift))
            for fit, name in LEARNERS
            for n, shift, resamples in SIZES
            for method in ("632+", "632", "out-of-bag")
        ),
    )  # fmt: skip


def coverages(sets: int, wanted: str) -> Iterator[list[str]]:
    """Yield the rows of the table of intervals."""
    yield ["interval", "data", "sets", "held", "warned", "quiet", "right"]
    for problem in problems():
        if wanted not in problem.name:
            continue
        count = sets if problem.name.startswith("area") else max(sets // 10, 1)
        held, warned = np.zeros(count, bool), np.zeros(count, bool)
        for key in range(count):
            with warnings.catch_warnings(record=True) as given:
                warnings.simplefilter("always")
                low, high = problem.ends(key)
            held[key] = low <= problem.truth() <= high
            warned[key] = bool(given)
        silent = held[~warned]
        share = float(silent.mean()) if silent.size else 1.0
        good = any(
            part >= 0.93 - 2 * np.sqrt(0.95 * 0.05 / max(n, 1))
            for part, n in ((share, silent.size), (held.mean(), count))
        )
        cells = [problem.name, problem.setting, str(count)]
        cells += [f"{held.mean():.3f}", f"{warned.mean():.3f}"]
        yield [*cells, f"{share:.3f}" if silent.size else "–", "yes" if good else "no"]


def written(sets: int, wanted: str) -> Iterator[str]:
    """Yield the lines of the tables."""
    for rows in (levels(sets, wanted), coverages(sets, wanted)):
        for i, row in enumerate(rows):
            yield "| " + " | ".join(row) + " |"
            if i == 0:
                yield "|---" * len(row) + "|"
        yield ""


def main() -> None:
    """Print the tables, and write them to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=3000, help="data sets of each row")
    parser.add_argument("--only", default="", help="rows whose names hold this text")
    parser.add_argument("--out", type=Path, help="file for the tables, in Markdown")
    given = parser.parse_args()
    lines = []
    for line in written(given.sets, given.only):
        print(line, flush=True)
        lines.append(line)
    if given.out is not None:
        head = "# Calibration of model evaluation\n\n" + str(__doc__).replace("``", "`")
        given.out.write_text(head + "\n" + "\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
