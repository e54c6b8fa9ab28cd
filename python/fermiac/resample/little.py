"""The bag of little bootstraps, for data that do not fit in memory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from mmap import mmap
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads, threads
from fermiac._base.exponents import exponents, restored, scaled
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import finish, reporter
from fermiac._base.validate import RngLike, key_of, probability, real, shown, taken, whole
from fermiac.distributions.law import subkey
from fermiac.errors import ArgumentError, FermiacWarning
from fermiac.resample.callables import Function
from fermiac.resample.data import MOST_SAMPLES, Data, take
from fermiac.resample.leave_one_out import full
from fermiac.resample.schemes import IID
from fermiac.resample.statistics import Statistic, StatisticName, resolved
from fermiac.resample.text import headline, table
from fermiac.results.provenance import provenance
from fermiac.results.result import Finding, Result, warn
from fermiac.results.summary import Summary
from fermiac.runs.parts import identity_of_call
from fermiac.runs.replicates import Drawing, Replicates, drawn, first_rows

if TYPE_CHECKING:
    pass

__all__ = ["LittleBootstraps", "little_bootstraps"]

Array = NDArray[np.float64]
#: The bytes of the data that are hashed at once.
_HASHED = 2**24
#: The bytes of a run of neighbouring rows: disks read this much at once.
_RUN_BYTES = 2**16
#: The smallest number of runs of a subset.
_RUNS = 64
#: The smallest number of observations of a subset, and the number below which it is too small.
_LEAST, _SMALL = 20, 100
#: The smallest number of subsets for an error of the ends.
_FEW = 4


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class LittleBootstraps(Result):
    """A statistic with its standard error and interval, by the bag of little bootstraps.

    Attributes
    ----------
    statistic : str
        The name of the statistic, or ``"function"``.
    estimate : float or ndarray, shape (k,)
        The mean of the statistic over the subsets.
    stderr : float or ndarray, shape (k,)
        The standard deviation of the resampled statistic, averaged over the subsets.
    lower, upper : float or ndarray, shape (k,)
        The ends of the interval.
    prob : float
        Its confidence.
    mc_error : ndarray, shape (2,) or (2, k)
        The errors of the ends (standard deviations), from the spread of the subsets; NaN for fewer
        than 4 subsets.
    subset_estimates : ndarray, shape (n_subsets,) or (n_subsets, k)
        The statistic of each subset.
    subset_stderrs : ndarray, shape (n_subsets,) or (n_subsets, k)
        The standard deviation of the resampled statistic of each subset.
    n_used : int
        The number of observations in all subsets, to which the error and the interval refer.
    n_subsets, subset_size, n_resamples : int
        The number of subsets, the observations of the largest one, and the resamples of each.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.random.Stream(1).normal(20_000)
    >>> r = fm.resample.little_bootstraps(x, "mean", rng=0)
    >>> r.n_subsets, bool(0.9 < r.stderr * 20_000**0.5 < 1.1)
    (19, True)
    """

    statistic: str
    estimate: float | Array
    stderr: float | Array
    lower: float | Array
    upper: float | Array
    prob: float
    mc_error: Array
    subset_estimates: Array
    subset_stderrs: Array
    n_used: int
    n_subsets: int
    subset_size: int
    n_resamples: int

    #: A statistic of the caller's may be NaN.
    _numbers = ()
    _layout: ClassVar[fit.Layout] = {
        "statistic": fit.text(),
        **dict.fromkeys(
            ("estimate", "stderr", "lower", "upper"),
            fit.either(fit.single("outputs"), fit.array("f", "outputs")),
        ),
        "prob": fit.real,
        "mc_error": fit.array("f", 2, "*outputs"),
        "subset_estimates": fit.array("f", "subsets", "*outputs"),
        "subset_stderrs": fit.array("f", "subsets", "*outputs"),
        "n_used": fit.whole(1),
        "n_subsets": fit.whole(1),
        "subset_size": fit.whole(1),
        "n_resamples": fit.whole(1),
    }

    def _headline(self) -> str:
        return headline(self, f"{self.n_subsets} subsets")

    def summary(self) -> Summary:
        """Return a table: estimate, standard error, ends and their errors."""
        columns = {
            "estimate": self.estimate,
            "stderr": self.stderr,
            "lower": self.lower,
            "upper": self.upper,
            "lower_error": self.mc_error[0],
            "upper_error": self.mc_error[1],
        }
        foot = [
            f"{self.n_used} observations in {self.n_subsets} subsets, {self.n_resamples} resamples "
            f"of each, seed {self.seed}",
        ]
        return table(self, columns, foot)


@public
def little_bootstraps(
    x: ArrayLike | tuple[ArrayLike, ...],
    statistic: StatisticName | Statistic | Callable[[Any, Array], ArrayLike] = "mean",
    *,
    exponent: float = 0.7,
    n_subsets: int | None = None,
    n_resamples: int = 100,
    prob: float = 0.95,
    replicates: Replicates | None = None,
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> LittleBootstraps:  # with part= Replicates; the type is that of all other calls
    """Return a statistic with its error, from small subsets of large data [1]_.

    The data may be an array on disk (`numpy.memmap`), of which one subset at a time is in memory.

    Parameters
    ----------
    x : array_like, shape (n,) or (n, d), or tuple of them
        The observations, on the first axis. Several arrays are columns of the same observations.
    statistic : str, Statistic or callable, default "mean"
        A statistic of one sample, of pairs or of a regression, as in `bootstrap`; or a function
        ``f(x, w)`` of a subset and weights w of shape (b, size) that returns (b,) or (b, k). The
        weights of each row sum to the number of all observations.
    exponent : float, default 0.7
        A subset has n to this power observations, from 0.5 to 0.95, and at least 20.
    n_subsets : int, optional
        The number of subsets that are used, at least 2; by default all, so that every observation
        is in one. With fewer, the result is that of the observations that were used.
    n_resamples : int, default 100
        The number of resamples of each subset, at least 20.
    prob : float, default 0.95
        The confidence of the interval, above 0 and below 1.
    replicates : Replicates, optional
        The replicates of all subsets of this call, from its parts; nothing is computed anew.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``, ``part``); see
        `fermiac.Plan`. ``part``: (i, n): return the replicates of the subsets of part i of n,
        counted from 0, for independent jobs, as `Replicates`. `fermiac.merge` joins the parts for
        `replicates`. ``store``: a folder for files of finished subsets. The same call resumes from
        them, and its parts can share the folder. It needs `rng`.

    Returns
    -------
    LittleBootstraps
        With `part`: `Replicates`.

    Raises
    ------
    CheckpointError
        If a file of the store is damaged or belongs to another call, or cannot be written.
    ArgumentError
        If an argument is outside its domain, data and statistic do not fit, or a subset has NaN or
        an infinity.
    TargetError
        If a callable returns values of another shape.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` has the subsets so far, or is None.

    Warns
    -----
    FermiacWarning
        For subsets below 100 observations, for quantiles, whose error is too large, or if the
        subsets differ by more than their errors allow, so that the order of the data matters.

    Notes
    -----
    A resample of a subset has as many observations as all subsets together, so that its spread is
    that of the statistic of all observations. Only the counts of the observations of the subset are
    drawn, whose cost depends on the size of the subset alone. The estimate is the mean over the
    subsets. The ends are the estimate plus the mean of the percentiles of the resampled statistic
    less the statistic of its subset.

    Subset j of s has runs j, j + s, j + 2 s, ... of neighbouring observations, which a disk reads
    together. Each subset spans all of the data, so that a slow drift does no harm. Data that are
    sorted by value, or that have a period of s runs, must be shuffled; a warning is given if the
    subsets differ too much. The cost is about 60 ns for each observation and resample.

    The mean over subsets has the bias of the statistic for the size of a subset. For a biased
    statistic, such as a ratio, choose a larger exponent.

    References
    ----------
    .. [1] A. Kleiner, A. Talwalkar, P. Sarkar, M. I. Jordan, "A scalable bootstrap for massive
       data", Journal of the Royal Statistical Society B, 2014, arXiv:1112.5016.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.random.Stream(1).exponential((10_000, 2))
    >>> r = fm.resample.little_bootstraps((x[:, 0], x[:, 1]), "ratio_of_means", rng=0)
    >>> bool(r.lower < 1 < r.upper)
    True
    >>> means = lambda x, w: (w @ x) / w.sum(axis=1, keepdims=True)
    >>> fm.resample.little_bootstraps(x, means, n_resamples=50, rng=0).estimate.shape
    (2,)
    """
    where = plan_of(plan, "executor", "store", "part")
    began = time.perf_counter()
    chosen = resolved(statistic)
    if chosen is not None and chosen.kind in ("two", "series"):
        raise ArgumentError(
            f"statistic: {chosen.name!r} given, which takes "
            f"{'independent samples' if chosen.kind == 'two' else 'a series'}; a statistic of one "
            "sample or of pairs is needed"
        )
    power = real(
        "exponent", exponent, "a number from 0.5 to 0.95 is needed", lambda v: 0.5 <= v <= 0.95
    )
    resamples = whole("n_resamples", n_resamples, 20, 2**31)
    level = probability("prob", prob)
    key = key_of(rng)
    arrays = _arrays(x)
    n = len(arrays[0])
    if n < 4 * _LEAST:
        raise ArgumentError(f"x: {n} observations given; {4 * _LEAST} are needed at least")
    size = min(max(math.ceil(n**power), _LEAST), n // 2)
    count = n // size
    most = count if n_subsets is None else whole("n_subsets", n_subsets, 2, count)
    row = sum(array[0].nbytes for array in arrays)
    run = max(1, min(_RUN_BYTES // max(row, 1), size // _RUNS))
    division = _Division(n, run, count)
    used = sum(division.rows(j).size for j in range(most))
    workers = resolve_threads(where.n_threads)
    settings = {
        "statistic": chosen.name if chosen is not None else "function",
        "exponent": power,
        "n_subsets": most,
        "n_resamples": resamples,
        "prob": level,
    }
    is_quantile = chosen is not None and chosen.core in ("quantile", "iqr", "mad")
    work = _Subsets(arrays, statistic if chosen is None else chosen, division)
    work.draws = _Draws(used, resamples, key)
    how = Drawing(where, replicates, rng)
    how.check(False)

    def call() -> str:
        known = {name: value for name, value in settings.items() if name != "prob"}
        given = (work.statistic, *map(_known, arrays))
        return identity_of_call("resample.little_bootstraps", known, key, *given)

    found: list[tuple[Array, Array]] = []
    many = False

    def add(rows: Array) -> None:
        """Take the subsets in rows of `_Subsets`."""
        nonlocal many
        for row in rows:
            many = bool(row[0])
            table = row[1:].reshape(resamples + 1, -1)
            found.append((table[0].copy(), table[1:].copy()))

    def result(status: str) -> tuple[LittleBootstraps, list[Finding]]:
        common = {**provenance(settings, began, key), "status": status}
        return _result(found, many, division, used, level, common, is_quantile)

    with reporter(where.progress, "little bootstraps", "subsets") as report:
        try:
            if how.is_plain:
                with threads(workers):
                    for j in range(most):
                        add(work(j, j + 1))
                        if report is not None and j + 1 < most:
                            report(j + 1, most)
            else:
                made_in_parts = drawn(work, most, how, seed=key, call=call, report=report)
                if where.part is not None:
                    return made_in_parts  # type: ignore[return-value]
                add(made_in_parts.array)
        except KeyboardInterrupt as stopped:
            if where.part is not None:
                raise
            if not how.is_plain and not found:
                add(first_rows(stopped))
            partial = result("interrupted")[0] if len(found) >= 2 else None
            stopped.partial_result = partial  # type: ignore[attr-defined]
            raise
        made, doubts = result("complete")
        finish(report, most, made)
    warn(doubts, made)
    return made


def _arrays(x: Any) -> list[NDArray[Any]]:
    """Return the samples without a copy: rows are converted subset by subset."""
    given = list(x) if isinstance(x, tuple) else [x]
    if not 1 <= len(given) <= MOST_SAMPLES:
        raise ArgumentError(
            f"x: a tuple of {len(given)} samples given; 1 to {MOST_SAMPLES} are needed"
        )
    arrays = [taken("x", array) for array in given]
    for array in arrays:
        if array.ndim == 0 or array.size == 0 or len(array) != len(arrays[0]):
            shapes = ", ".join(str(a.shape) for a in arrays)
            raise ArgumentError(
                f"x: arrays of shapes {shapes} given; (n,) or (n, d) are needed, with as many "
                "observations in each"
            )
        if array.dtype.kind not in "biuf":
            raise ArgumentError(f"x: {shown(array)} given; numbers are needed")
    return arrays


class _Division(NamedTuple):
    """The division of n observations into subsets of runs of neighbouring rows."""

    n: int
    #: The rows of a run.
    run: int
    n_subsets: int

    def rows(self, j: int) -> NDArray[np.int64]:
        """Return the observations of subset j: every count-th run."""
        starts = np.arange(j * self.run, self.n, self.n_subsets * self.run)
        rows = (starts[:, None] + np.arange(self.run)).ravel()
        return rows[rows < self.n]


class _Draws(NamedTuple):
    """The observations of a resample, the resamples of a subset, and the seed."""

    used: int
    resamples: int
    key: int


class _Subsets:
    """Subsets as rows: whether there are outputs, the statistic of a subset, and its replicates."""

    draws: _Draws

    def __init__(self, arrays: list[NDArray[Any]], statistic: Any, division: _Division) -> None:
        self._target, self.statistic = [_Stored.of(array) for array in arrays], statistic
        self._division = division

    def __call__(self, start: int, stop: int) -> Array:
        """Return subsets from a start to a stop."""
        rows = [self._subset(j) for j in range(start, stop)]
        return np.stack([np.concatenate([[many], point, v.ravel()]) for many, point, v in rows])

    def _subset(self, j: int) -> tuple[bool, Array, Array]:
        """Return whether there are outputs, the statistic of a subset, and its replicates."""
        rows = self._division.rows(j)
        samples = tuple(np.array(array.opened()[rows]) for array in self._target)
        chosen = self.statistic if isinstance(self.statistic, Statistic) else None
        try:
            data = take(
                samples if len(samples) > 1 else samples[0],
                statistic=chosen,
                paired=len(samples) > 1,
                coded=True,
            )
        except ArgumentError as error:
            error.add_note(
                f"raised by the observations of subset {j} of {self._division.n_subsets}"
            )
            raise
        used, n, key = self.draws
        options = {**data.units.core(IID), "draws": np.array([used])}
        options |= {"shares": np.full(rows.size, 1 / rows.size)}
        own, workers = subkey(key, j), resolve_threads(None)
        if chosen is None:
            return self._of_function(data, options, own, workers)
        core, parameters, columns = data.prepared(chosen)
        flat, _, _, stopped = _core.resample_bootstrap(
            core, parameters, columns, options, 0, n, False, own, workers, None
        )
        if stopped is not None:
            raise stopped
        point = full(data, chosen).values
        many = chosen.kind == "regression" or (chosen.kind == "one" and data.samples[0].ndim > 1)
        numbers = {"estimate": point, "replicates": flat.reshape(n, point.size)}
        made = restored(chosen.name, numbers, data.exponents_of(chosen))
        return many, made["estimate"], made["replicates"]

    def _of_function(
        self, data: Data, options: dict[str, Any], key: int, workers: int
    ) -> tuple[bool, Array, Array]:
        """Return the same for a function of a subset and weights."""
        function, first = Function.of(self.statistic, True, None, data)
        n = self.draws.resamples
        values = np.empty((n, first.size))
        step = function.rows
        for at in range(0, n, step):
            now = min(step, n - at)
            weights = _core.resample_weights(options, at, now, key, workers).reshape(now, -1)
            values[at : at + now] = function.values((weights,))
        return function.many, first, values


class _Stored:
    """An array, or the file that has it, which other processes open themselves."""

    def __init__(self, array: NDArray[Any] | None, file: tuple[Any, ...] | None = None) -> None:
        self._array, self._file = array, file

    @classmethod
    def of(cls, array: NDArray[Any]) -> _Stored:
        """Return an array, with its file if it is all of a `numpy.memmap`."""
        # A slice of a map has the file of the map, but not its own place there.
        if not isinstance(array, np.memmap) or not isinstance(array.base, mmap):
            return cls(array)
        order = "C" if array.flags.c_contiguous else "F"
        file = (str(array.filename), array.dtype.str, array.offset, array.shape, order)
        return cls(array, None if array.filename is None else file)

    def opened(self) -> NDArray[Any]:
        """Return the array."""
        if self._array is None:
            assert self._file is not None
            name, dtype, offset, shape, order = self._file
            self._array = np.memmap(name, dtype, "r", offset, shape, order)
        return self._array

    def __reduce__(self) -> tuple[Any, ...]:
        return _Stored, (self._array, None) if self._file is None else (None, self._file)


def _known(array: NDArray[Any]) -> tuple[Any, ...]:
    """Return what identifies an array, which may not fit in memory."""
    digest = blake2b(digest_size=16)
    step = max(_HASHED // max(array[0].nbytes, 1), 1)
    for first in range(0, len(array), step):
        digest.update(np.ascontiguousarray(array[first : first + step]).data)
    return array.dtype.str, array.shape, digest.hexdigest()


def _result(
    found: list[tuple[Array, Array]],
    many: bool,
    division: _Division,
    used: int,
    level: float,
    common: dict[str, Any],
    is_quantile: bool,
) -> tuple[LittleBootstraps, list[Finding]]:
    """Return the result of some subsets with its provenance, and doubts about it."""
    sizes = np.array([division.rows(j).size for j in range(len(found))], float)
    # A partial result has fewer observations than the resamples.
    share = math.sqrt(used / sizes.sum())
    raw = np.stack([point for point, _ in found])
    e: Any = exponents(raw, 0) if many else exponents(raw)
    points, found = scaled(raw, e), [(scaled(a, e), scaled(b, e)) for a, b in found]
    weights = sizes / sizes.sum()
    estimate = weights @ points
    spreads = share * np.stack([np.std(values, axis=0, ddof=1) for _, values in found])
    tail = round((1 - level) / 2, 15)
    ends = share * np.stack([
        np.quantile(values - point, [tail, 1 - tail], axis=0, method="weibull")
        for point, values in found
    ])  # fmt: skip
    offsets = np.tensordot(weights, ends, 1)
    s = len(found)
    error = ends.std(0, ddof=1) / math.sqrt(s) if s >= _FEW else np.full(offsets.shape, np.nan)
    stderr = weights @ spreads
    doubts: list[Finding] = []
    if is_quantile:
        doubts.append((
            FermiacWarning,
            "a subset has few observations near a quantile, so that its error is too large, by a "
            "tenth or two; fermiac.resample.bootstrap needs no resamples for a quantile",
        ))  # fmt: skip
    if sizes.max() < _SMALL:
        doubts.append((
            FermiacWarning,
            f"subsets of {int(sizes.max())} observations are small for a bag of little bootstraps; "
            "fermiac.resample.bootstrap takes all of the data at once",
        ))  # fmt: skip
    # The variance of the statistic of a subset is that of all, times the number of subsets.
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (weights @ (points - estimate) ** 2) / (stderr**2 * s)
    # A sum of squares of s - 1 normal variables, at five standard deviations.
    if s >= _FEW and (ratio > 1 + 5 * math.sqrt(2 / s)).any():
        doubts.append((
            FermiacWarning,
            f"the subsets differ by {math.sqrt(float(np.nanmax(ratio))):.2g} times the expected "
            "error, so the observations depend on each other; the interval is too narrow",
        ))  # fmt: skip
    one: Callable[[Array], Any] = np.asarray if many else (lambda a: float(a[0]))
    shape: Callable[[Array], Array] = np.asarray if many else (lambda a: a[..., 0])
    numbers = {
        "estimate": one(estimate),
        "stderr": one(stderr),
        "lower": one(estimate + offsets[0]),
        "upper": one(estimate + offsets[1]),
        "mc_error": np.ascontiguousarray(shape(error)),
        "subset_estimates": np.ascontiguousarray(shape(points)),
        "subset_stderrs": np.ascontiguousarray(shape(spreads)),
    }
    name = str(common["settings"]["statistic"])
    made = LittleBootstraps(
        statistic=name,
        **restored(name, numbers, e),
        prob=level,
        n_used=int(sizes.sum()),
        n_subsets=s,
        subset_size=int(sizes.max()),
        n_resamples=len(found[0][1]),
        **common,
        warnings=tuple(text for _, text in doubts),
    )
    return made, doubts
