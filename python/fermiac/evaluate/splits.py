"""Splits of examples into training and test sets, as arrays of row indices.

Each function returns a list of pairs (train, test), which scikit-learn takes as ``cv=``.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.calls import public
from fermiac._base.validate import RngLike, key_of, probability, taken, whole, yes
from fermiac.distributions.law import subkey
from fermiac.errors import ArgumentError, MemoryLimitError
from fermiac.random.stream import Stream

__all__ = [
    "NestedSplit",
    "five_by_two",
    "k_fold",
    "nested",
    "out_of_bag",
    "random",
    "time_series",
]

Rows: TypeAlias = NDArray[np.int64]
Splits: TypeAlias = list[tuple[Rows, Rows]]
#: The parts of the key for splits and for resamples.
SPLITS, RESAMPLES = 0x5350, 0x4F4F
#: The largest number of indices in all sets of one call.
_MOST = 2**28
#: The largest number of examples.
_EXAMPLES = 2**31 - 1


class NestedSplit(NamedTuple):
    """An outer split, and the inner splits of its training set.

    Attributes
    ----------
    train, test : ndarray of int
        The examples of the outer training set and test set.
    inner : list of (ndarray of int, ndarray of int)
        Splits of the outer training set. Their indices count its rows, so they can be ``cv=`` of a
        search that is fitted to ``X[train]``.

    Examples
    --------
    >>> import fermiac as fm
    >>> outer = fm.evaluate.splits.nested(60, 3, 2, rng=0)[0]
    >>> len(outer.train), len(outer.test), len(outer.inner), len(outer.inner[0][0])
    (40, 20, 2, 20)
    """

    train: Rows
    test: Rows
    inner: Splits


def _require_room(sets: int, n: int) -> None:
    if sets * n > _MOST:
        raise MemoryLimitError(
            f"n: {n} examples given in {sets} splits, {sets * n} numbers in all; at most {_MOST} "
            "are possible"
        )


def _codes(name: str, given: ArrayLike, n: int) -> Rows:
    """Return labels as numbers from 0 on."""
    array = taken(name, given)
    if array.ndim != 1 or array.size != n:
        raise ArgumentError(
            f"{name}: an array of shape {array.shape} given for {n} examples; ({n},) is needed"
        )
    try:
        return np.unique(array, return_inverse=True)[1].reshape(-1).astype(np.int64)
    except TypeError as error:
        raise ArgumentError(f"{name}: labels that have an order are needed ({error})") from error


def _both(strata: Any, groups: Any, n: int) -> tuple[Rows | None, Rows | None]:
    """Return the labels of strata and groups as numbers."""
    return (
        None if strata is None else _codes("strata", strata, n),
        None if groups is None else _codes("groups", groups, n),
    )


def _pair(test: Rows, n: int) -> tuple[Rows, Rows]:
    """Return the sorted examples outside and inside a test set."""
    outside = np.ones(n, bool)
    outside[test] = False
    return np.flatnonzero(outside).astype(np.int64), np.flatnonzero(~outside).astype(np.int64)


def _shuffled(n: int, stream: Stream) -> Rows:
    return np.argsort(stream.uniform(n), kind="stable").astype(np.int64)


def _sets(fold: Rows, k: int) -> Splits:
    """Return k splits; each example is in exactly one of the test sets."""
    order = np.argsort(fold, kind="stable").astype(np.int64)
    ends = np.cumsum(np.bincount(fold, minlength=k))
    tests = np.split(order, ends[:-1])
    return [_pair(test, fold.size) for test in tests]


def _folds_of_groups(groups: Rows, k: int, stream: Stream | None) -> Rows:
    """Return the folds of all examples, with the examples of a group in the same one."""
    sizes = np.bincount(groups)
    if sizes.size < k:
        raise ArgumentError(
            f"groups: {sizes.size} groups given; at least {k} are needed, one for each fold"
        )
    order = np.arange(sizes.size) if stream is None else _shuffled(sizes.size, stream)
    # From the largest group on, each goes to the fold that has the fewest examples.
    order = order[np.argsort(-sizes[order], kind="stable")]
    held, fold = np.zeros(k, np.int64), np.empty(sizes.size, np.int64)
    for group in order:
        fold[group] = np.argmin(held)
        held[fold[group]] += sizes[group]
    return np.asarray(fold[groups])


def _folds(n: int, k: int, strata: Rows | None, groups: Rows | None, stream: Stream | None) -> Rows:
    """Return the fold of each example."""
    if groups is not None:
        return _folds_of_groups(groups, k, stream)
    order = np.arange(n) if stream is None else _shuffled(n, stream)
    if strata is not None:
        order = order[np.argsort(strata[order], kind="stable")]
    fold = np.empty(n, np.int64)
    # Examples are dealt out in turn, so that fold sizes differ by at most one, in each stratum and
    # in total. Folds of unshuffled examples without strata are runs of examples.
    in_runs = stream is None and strata is None
    fold[order] = np.arange(n) * k // n if in_runs else np.arange(n) % k
    return fold


@public
def k_fold(
    n: int,
    k: int = 10,
    *,
    repeats: int = 1,
    strata: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    shuffle: bool = True,
    rng: RngLike = None,
) -> Splits:
    """Return the splits of k-fold cross-validation [1]_, repeated, stratified or by groups.

    Parameters
    ----------
    n : int
        The number of examples, at least k.
    k : int, default 10
        The number of folds, at least 2. k = n is leave-one-out.
    repeats : int, default 1
        How often the examples are divided into folds.
    strata : array_like, shape (n,), optional
        A label for each example, such as its class. The counts of a label in any two folds differ
        by at most one.
    groups : array_like, shape (n,), optional
        A label for each example. Examples with the same label are in the same fold. Folds are
        filled from the largest group on. Cannot be combined with `strata`.
    shuffle : bool, default True
        Whether the examples are assigned in random order. Otherwise folds are runs of examples.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.

    Returns
    -------
    list of (ndarray of int, ndarray of int)
        k times `repeats` pairs of the sorted indices of the training and of the test examples.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.
    MemoryLimitError
        If the sets together have more than 2**28 numbers.

    References
    ----------
    .. [1] M. Stone, "Cross-validatory choice and assessment of statistical predictions", Journal of
       the Royal Statistical Society B, 1974, doi:10.1111/j.2517-6161.1974.tb00994.x.

    Examples
    --------
    >>> import fermiac as fm
    >>> splits = fm.evaluate.splits.k_fold(6, 3, shuffle=False)
    >>> [test.tolist() for train, test in splits]
    [[0, 1], [2, 3], [4, 5]]
    >>> y = [0] * 8 + [1] * 4
    >>> splits = fm.evaluate.splits.k_fold(12, 4, strata=y, rng=0)
    >>> [sum(y[i] for i in test) for train, test in splits]
    [1, 1, 1, 1]
    """
    size = whole("n", n, 2, _EXAMPLES)
    folds = whole("k", k, 2, size)
    times = whole("repeats", repeats, 1, 2**31)
    mixed = yes("shuffle", shuffle)
    if strata is not None and groups is not None:
        raise ArgumentError("groups: given with strata=; one of them is needed")
    if times > 1 and not mixed:
        raise ArgumentError(
            f"repeats: {times} given with shuffle=False, which would repeat the same folds"
        )
    _require_room(folds * times, size)
    labels, members = _both(strata, groups, size)
    key = subkey(key_of(rng), SPLITS)
    found: Splits = []
    for r in range(times):
        stream = Stream(key, index=r) if mixed else None
        found += _sets(_folds(size, folds, labels, members, stream), folds)
    return found


@public
def five_by_two(n: int, *, strata: ArrayLike | None = None, rng: RngLike = None) -> Splits:
    """Return the ten splits of five random halvings, for `five_by_two_cv` [1]_.

    Parameters
    ----------
    n : int
        The number of examples.
    strata : array_like, shape (n,), optional
        A label for each example, such as its class. Both halves have each label equally often, up
        to one example.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.

    Returns
    -------
    list of (ndarray of int, ndarray of int)
        The pairs 2 r and 2 r + 1 are those of halving r.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.

    References
    ----------
    .. [1] T. G. Dietterich, "Approximate statistical tests for comparing supervised classification
       learning algorithms", Neural Computation, 1998, doi:10.1162/089976698300017197.

    Examples
    --------
    >>> import fermiac as fm
    >>> splits = fm.evaluate.splits.five_by_two(100, rng=0)
    >>> len(splits), len(splits[0][0]), len(splits[0][1])
    (10, 50, 50)
    """
    return k_fold(n, 2, repeats=5, strata=strata, rng=rng)


@public
def random(
    n: int,
    n_splits: int = 10,
    *,
    test_share: float = 0.1,
    strata: ArrayLike | None = None,
    rng: RngLike = None,
) -> Splits:
    """Return independent random splits, for `fermiac.evaluate.resampled_ttest` [1]_.

    Parameters
    ----------
    n : int
        The number of examples.
    n_splits : int, default 10
        The number of splits.
    test_share : float, default 0.1
        The share of test examples, above 0 and below 1. The number of test examples is rounded, and
        is at least 1 and at most n - 1.
    strata : array_like, shape (n,), optional
        A label for each example. Each label has the same share of test examples, up to one example.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.

    Returns
    -------
    list of (ndarray of int, ndarray of int)

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.
    MemoryLimitError
        If the sets together have more than 2**28 numbers.

    References
    ----------
    .. [1] C. Nadeau, Y. Bengio, "Inference for the generalization error", Machine Learning, 2003,
       doi:10.1023/A:1024068626366.

    Examples
    --------
    >>> import fermiac as fm
    >>> train, test = fm.evaluate.splits.random(50, test_share=0.2, rng=0)[0]
    >>> len(train), len(test)
    (40, 10)
    """
    size = whole("n", n, 2, _EXAMPLES)
    count = whole("n_splits", n_splits, 1, 2**31)
    share = probability("test_share", test_share)
    _require_room(count, size)
    labels, _ = _both(strata, None, size)
    n_test = min(max(round(share * size), 1), size - 1)
    key = subkey(key_of(rng), SPLITS)
    found = []
    for r in range(count):
        order = _shuffled(size, Stream(key, index=r, block=1))
        if labels is not None:
            order = order[np.argsort(labels[order], kind="stable")]
            # Evenly spaced places of an order by labels, whose beginning is random.
            start = float(Stream(key, index=r, block=2).uniform())
            places = np.minimum((np.arange(n_test) + start) * (size / n_test), size - 1).astype(int)
        else:
            places = np.arange(n_test)
        found.append(_pair(order[places], size))
    return found


@public
def out_of_bag(n: int, n_resamples: int = 200, *, rng: RngLike = None) -> Splits:
    """Return bootstrap resamples, and the examples that each resample leaves out [1]_.

    These are the resamples that `fermiac.evaluate.bootstrap_error` draws with the same seed.

    Parameters
    ----------
    n : int
        The number of examples.
    n_resamples : int, default 200
        The number of resamples.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.

    Returns
    -------
    list of (ndarray of int, ndarray of int)
        Training sets have n indices, with repetitions, and test sets about 0.37 n. A resample with
        all examples is drawn again.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.
    MemoryLimitError
        If the sets together have more than 2**28 numbers.

    References
    ----------
    .. [1] B. Efron, R. Tibshirani, "Improvements on cross-validation: the .632+ bootstrap method",
       Journal of the American Statistical Association, 1997, doi:10.1080/01621459.1997.10474007.

    Examples
    --------
    >>> import fermiac as fm
    >>> train, test = fm.evaluate.splits.out_of_bag(100, rng=0)[0]
    >>> len(train), bool(set(train) & set(test))
    (100, False)
    """
    size = whole("n", n, 2, _EXAMPLES)
    count = whole("n_resamples", n_resamples, 1, 2**31)
    _require_room(count, size)
    key = key_of(rng)
    found = []
    for b in range(count):
        rows = resample(key, b, size)
        found.append(
            (rows, np.flatnonzero(np.bincount(rows, minlength=size) == 0).astype(np.int64))
        )
    return found


def resample(key: int, b: int, n: int) -> Rows:
    """Return the examples of resample b, which leaves at least one out."""
    own = subkey(key, RESAMPLES)
    for block in range(2**32):
        rows = np.asarray(Stream(own, index=b, block=block).integers(n, n), dtype=np.int64)
        if np.bincount(rows, minlength=n).min() == 0:
            break
    return rows


@public
def time_series(
    n: int,
    k: int = 5,
    *,
    gap: int = 0,
    n_test: int | None = None,
    most_train: int | None = None,
) -> Splits:
    """Return splits of a series whose test sets follow their training sets [1]_.

    Parameters
    ----------
    n : int
        The number of examples, in the order of time.
    k : int, default 5
        The number of splits.
    gap : int, default 0
        The number of examples that are left out between the training set and the test set, because
        they depend on both.
    n_test : int, optional
        The number of examples of each test set. Default: n // (k + 1).
    most_train : int, optional
        The largest number of examples of a training set; the last ones are kept. Default: no limit.

    Returns
    -------
    list of (ndarray of int, ndarray of int)
        The test sets are the last k runs of `n_test` examples.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or no training set is left.
    MemoryLimitError
        If the sets together have more than 2**28 numbers.

    References
    ----------
    .. [1] C. Bergmeir, J. M. Benítez, "On the use of cross-validation for time series predictor
       evaluation", Information Sciences, 2012, doi:10.1016/j.ins.2011.12.028.

    Examples
    --------
    >>> import fermiac as fm
    >>> splits = fm.evaluate.splits.time_series(8, 2, gap=1)
    >>> [(train.tolist(), test.tolist()) for train, test in splits]
    [([0, 1, 2], [4, 5]), ([0, 1, 2, 3, 4], [6, 7])]
    """
    size = whole("n", n, 2, _EXAMPLES)
    count = whole("k", k, 1, size - 1)
    between = whole("gap", gap, 0, size)
    length = size // (count + 1) if n_test is None else whole("n_test", n_test, 1, size)
    most = size if most_train is None else whole("most_train", most_train, 1, 2**63 - 1)
    _require_room(count, size)
    first = size - count * length
    if length < 1 or first - between < 1:
        raise ArgumentError(
            f"n: {size} examples given for {count} test sets of {length} after a gap of {between}; "
            f"at least {count * max(length, 1) + between + 1} are needed"
        )
    found = []
    for start, stop in pairwise(range(first, size + 1, length)):
        end = start - between
        found.append((np.arange(max(0, end - most), end), np.arange(start, stop)))
    return found


@public
def nested(
    n: int,
    k: int = 5,
    k_inner: int = 5,
    *,
    strata: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    rng: RngLike = None,
) -> list[NestedSplit]:
    """Return the splits of nested cross-validation: inner folds select, outer folds test [1]_.

    Parameters
    ----------
    n : int
        The number of examples.
    k, k_inner : int, default 5
        The numbers of outer and of inner folds.
    strata, groups : array_like, shape (n,), optional
        Labels of the examples, as in `k_fold`, for outer and inner folds.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.

    Returns
    -------
    list of NestedSplit

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.
    MemoryLimitError
        If the sets together have more than 2**28 numbers.

    References
    ----------
    .. [1] S. Varma, R. Simon, "Bias in error estimation when using cross-validation for model
       selection", BMC Bioinformatics, 2006, doi:10.1186/1471-2105-7-91.

    Examples
    --------
    >>> import fermiac as fm
    >>> splits = fm.evaluate.splits.nested(100, 5, 3, rng=0)
    >>> train, test, inner = splits[0]
    >>> len(train), len(test), [len(rows) for rows, _ in inner]
    (80, 20, [53, 53, 54])
    """
    key = key_of(rng)
    folds = whole("k_inner", k_inner, 2, _EXAMPLES)
    size = whole("n", n, 2, _EXAMPLES)
    _require_room(folds * whole("k", k, 2, size), size)
    found = []
    labels, members = _both(strata, groups, size)
    for i, (train, test) in enumerate(k_fold(size, k, strata=labels, groups=members, rng=key)):
        if folds > len(train):
            raise ArgumentError(
                f"k_inner: {folds} given for outer training sets of {len(train)} examples; at most "
                "that many are possible"
            )
        inner = k_fold(
            len(train),
            folds,
            strata=None if labels is None else labels[train],
            groups=None if members is None else members[train],
            rng=subkey(key, i + 1),
        )
        found.append(NestedSplit(train, test, inner))
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
