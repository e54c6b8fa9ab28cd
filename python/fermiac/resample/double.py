"""The double bootstrap: percentile intervals whose levels are calibrated by a second bootstrap."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads, threads
from fermiac._base.exponents import exponents, restored, scaled
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import finish, reporter
from fermiac._base.validate import RngLike, key_of, probability, whole
from fermiac.distributions.law import subkey
from fermiac.errors import ArgumentError, FermiacWarning
from fermiac.resample.callables import Function, StatisticFunction
from fermiac.resample.data import Data, Labels, OnNan, Prepared, Units, take
from fermiac.resample.leave_one_out import full
from fermiac.resample.schemes import IID
from fermiac.resample.several_classes import OfClasses
from fermiac.resample.statistics import Statistic, StatisticName, resolved
from fermiac.resample.text import headline, table
from fermiac.results.provenance import provenance
from fermiac.results.result import Finding, Result, warn
from fermiac.results.summary import Summary
from fermiac.runs.parts import identity_of_call
from fermiac.runs.replicates import Drawing, Replicates, drawn, first_rows

if TYPE_CHECKING:
    pass

__all__ = ["DoubleBootstrap", "double_bootstrap"]

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
#: The smallest number of resamples of a partial result.
_PARTIAL = 100
#: The smallest number of observations that gives no warning.
_FEW = 20
#: Statistics whose calibrated intervals had a lower coverage than those that they started from.
_WORSE = ("skewness", "kurtosis")
#: The number of resamples whose indices are drawn together.
_TOGETHER = 64


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class DoubleBootstrap(Result):
    """A statistic with a percentile interval whose levels are calibrated.

    Attributes
    ----------
    statistic : str
        The name of the statistic, or ``"function"``.
    estimate : float or ndarray, shape (k,)
        The statistic of the data.
    stderr : float or ndarray, shape (k,)
        The standard deviation of the resampled statistic.
    lower, upper : float or ndarray, shape (k,)
        The ends of the calibrated interval.
    plain_lower, plain_upper : float or ndarray, shape (k,)
        Those of the percentile interval.
    prob : float
        Its confidence.
    levels : ndarray, shape (2,) or (2, k)
        The calibrated probabilities of the percentiles, those of the percentile interval being
        (1 - prob) / 2 and (1 + prob) / 2.
    mc_error : ndarray, shape (2,) or (2, k)
        The Monte Carlo errors (standard deviations) of the calibrated ends.
    replicates : ndarray, shape (n_resamples,) or (n_resamples, k)
        The resampled statistic.
    positions : ndarray, shape (n_resamples,) or (n_resamples, k)
        For each resample the share of its own resamples below the estimate.
    n_resamples, n_inner : int
        The number of resamples, and of resamples of each resample.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.random.Stream(1).exponential(20)
    >>> r = fm.resample.double_bootstrap(x, "mean", rng=0)
    >>> bool(r.upper > r.plain_upper), bool(r.levels[1] > 0.975)
    (True, True)
    """

    statistic: str
    estimate: float | Array
    stderr: float | Array
    lower: float | Array
    upper: float | Array
    plain_lower: float | Array
    plain_upper: float | Array
    prob: float
    levels: Array
    mc_error: Array
    replicates: Array
    positions: Array
    n_resamples: int
    n_inner: int

    #: A statistic of the caller's may be NaN.
    _numbers = ()
    _layout: ClassVar[fit.Layout] = {
        "statistic": fit.text(),
        **dict.fromkeys(
            ("estimate", "stderr", "lower", "upper", "plain_lower", "plain_upper"),
            fit.either(fit.single("outputs"), fit.array("f", "outputs")),
        ),
        "prob": fit.real,
        "levels": fit.array("f", 2, "*outputs"),
        "mc_error": fit.array("f", 2, "*outputs"),
        "replicates": fit.array("f", "resamples", "*outputs"),
        "positions": fit.array("f", "resamples", "*outputs"),
        "n_resamples": fit.whole(1),
        "n_inner": fit.whole(1),
    }

    def _headline(self) -> str:
        return headline(self, "calibrated")

    def summary(self) -> Summary:
        """Return a table: estimate, standard error, ends and their levels."""
        columns = {
            "estimate": self.estimate,
            "stderr": self.stderr,
            "lower": self.lower,
            "upper": self.upper,
            "lower_level": self.levels[0],
            "upper_level": self.levels[1],
        }
        foot = [
            f"{self.n_resamples} resamples and {self.n_inner} of each, seed {self.seed}",
        ]
        return table(self, columns, foot)


@public
def double_bootstrap(
    x: ArrayLike | tuple[ArrayLike, ...],
    statistic: StatisticName | Statistic | StatisticFunction = "mean",
    *,
    n_resamples: int = 1999,
    n_inner: int = 250,
    prob: float = 0.95,
    paired: bool = False,
    strata: Labels = None,
    replicates: Replicates | None = None,
    on_nan: OnNan = "raise",
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> DoubleBootstrap:  # with part= Replicates; the type is that of all other calls
    """Return a statistic with a calibrated percentile interval, by the double bootstrap [1]_ [2]_.

    A second bootstrap measures how often percentile intervals of resamples contain the statistic of
    the data, and moves their levels accordingly. It works for every statistic, and costs
    `n_resamples` × `n_inner` evaluations.

    Parameters
    ----------
    x, statistic, paired, strata, on_nan
        As in `bootstrap`; not a statistic of a series. A callable takes a batch of resamples.
    n_resamples : int, default 1999
        The number of resamples, at least 100.
    n_inner : int, default 250
        The number of resamples of each resample, at least 20.
    prob : float, default 0.95
        The confidence of the interval, above 0 and below 1.
    replicates : Replicates, optional
        All resamples of this call, from its parts; none are drawn.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``, ``part``); see
        `fermiac.Plan`. ``part``: (i, n): return the resamples of part i of n, counted from 0, for
        independent jobs, as `Replicates`. `fermiac.merge` joins the parts for `replicates`.
        ``store``: a folder for files of finished resamples. The same call resumes from them, and
        its parts can share the folder. It needs `rng`.

    Returns
    -------
    DoubleBootstrap
        With `part`: `Replicates`.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or data and statistic do not fit.
    NumericalError
        If a figure of huge or tiny data is out of the range of doubles.
    CheckpointError
        If a file of the store is damaged or belongs to another call, or cannot be written.
    TargetError
        If a callable returns values of another shape.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` has the resamples so far, or is None.

    Warns
    -----
    FermiacWarning
        For fewer than twenty observations, for skewness and kurtosis, for resamples in which the
        statistic is not defined, and if a calibrated level is beyond what the resamples resolve.

    Notes
    -----
    Let u be the share of the resamples of a resample whose statistic is below that of the data,
    equal values counting half. The upper end is the percentile of the resampled statistic at the
    (1 + prob) / 2 quantile of u, and the lower end that at the (1 - prob) / 2 quantile. If
    percentile intervals were exact, u would be uniform and nothing would change. The error of the
    coverage is smaller by a factor of order 1 / √n for each end [2]_. That holds for smooth
    functions of means. The intervals of skewness and kurtosis, whose bias depends on the data,
    became worse in tests.

    References
    ----------
    .. [1] R. Beran, "Prepivoting to reduce level error of confidence sets", Biometrika, 1987,
       doi:10.1093/biomet/74.3.457.
    .. [2] P. Hall, M. A. Martin, "On bootstrap resampling and iteration", Biometrika, 1988,
       doi:10.1093/biomet/75.4.661.

    Examples
    --------
    >>> import fermiac as fm
    >>> x = fm.random.Stream(1).normal((20, 2))
    >>> r = fm.resample.double_bootstrap((x[:, 0], x[:, 0] + x[:, 1]), "pearson", rng=0)
    >>> bool(r.lower < 0.5**0.5 < r.upper)
    True
    """
    where = plan_of(plan, "executor", "store", "part")
    began = time.perf_counter()
    chosen = resolved(statistic)
    if chosen is not None and chosen.kind == "series":
        raise ArgumentError(
            f"statistic: {chosen.name!r} given, which depends on the order of observations; "
            "fermiac.resample.bootstrap with scheme='series' takes it"
        )
    outer = whole("n_resamples", n_resamples, _PARTIAL, 2**31)
    inner = whole("n_inner", n_inner, 20, 2**31)
    level = probability("prob", prob)
    key = key_of(rng)
    workers = resolve_threads(where.n_threads)
    data = take(x, statistic=chosen, paired=paired, strata=strata, on_nan=on_nan)
    name = chosen.name if chosen is not None else "function"
    if chosen is not None and data.classes > 2:
        statistic, chosen = OfClasses(chosen.name, data.classes), None
    evaluate = _Called(statistic, data) if chosen is None else _Native(data, chosen)
    k = evaluate.point.size
    values, positions = np.empty((outer, k)), np.empty((outer, k))
    settings = {
        "statistic": name,
        "n_resamples": outer,
        "n_inner": inner,
        "prob": level,
        **data.labels,
    }

    def result(n: int, status: str) -> tuple[DoubleBootstrap, list[Finding]]:
        got = _Calibrated(values[:n], positions[:n], level, inner)
        doubts = got.doubts(name, data.units.n)
        one: Callable[[Array], Any] = np.asarray if evaluate.many else (lambda a: float(a[0]))
        shape: Callable[[Array], Array] = np.asarray if evaluate.many else (lambda a: a[..., 0])
        numbers = {
            "estimate": one(evaluate.point),
            "stderr": one(got.stderr),
            "lower": one(got.ends[0]),
            "upper": one(got.ends[1]),
            "plain_lower": one(got.plain[0]),
            "plain_upper": one(got.plain[1]),
            "mc_error": np.ascontiguousarray(shape(got.error)),
            "replicates": np.ascontiguousarray(shape(values[:n])),
        }
        made = DoubleBootstrap(
            statistic=name,
            **restored(name, numbers, evaluate.exponents),
            prob=level,
            levels=np.ascontiguousarray(shape(got.levels)),
            positions=np.ascontiguousarray(shape(positions[:n])),
            n_resamples=n,
            n_inner=inner,
            **provenance(settings, began, key, 0 if chosen is not None else n * (inner + 1) + 1),
            status=status,
            warnings=tuple(text for _, text in doubts),
        )
        return made, doubts

    how = Drawing(where, replicates, rng)
    how.check(False)
    work = _Resamples(evaluate, inner, key)

    def call() -> str:
        given = [chosen if chosen is not None else statistic, *data.samples, data.strata]
        sizes = {"n_resamples": outer, "n_inner": inner, "paired": data.paired}
        return identity_of_call("resample.double_bootstrap", sizes, key, *given)

    done = 0
    with reporter(where.progress, "double bootstrap", "resamples") as report:
        try:
            if how.is_plain:
                with threads(workers):
                    for rows in work.rows(0, outer):
                        values[done], positions[done] = rows
                        done += 1
                        if report is not None and done < outer and not done % _TOGETHER:
                            report(done, outer)
            else:
                found = drawn(work, outer, how, seed=key, call=call, report=report)
                if where.part is not None:
                    return found  # type: ignore[return-value]
                array = found.array
                values[:], positions[:] = array[:, :k], array[:, k:]
            made, doubts = result(outer, "complete")
        except KeyboardInterrupt as stopped:
            if where.part is not None:
                raise
            if not how.is_plain:
                array = first_rows(stopped)
                done = len(array)
                if done:
                    values[:done], positions[:done] = array[:, :k], array[:, k:]
            stopped.partial_result = (  # type: ignore[attr-defined]
                result(done, "interrupted")[0] if done >= _PARTIAL else None
            )
            raise
        finish(report, outer, made)
    warn(doubts, made)
    return made


def _below(values: Array, point: Array) -> Array:
    """Return the share of values below the point, equal ones counting half; NaN do not count."""
    with np.errstate(invalid="ignore"):
        good = np.isfinite(values).sum(0)
        low = (values < point).sum(0) + 0.5 * (values == point).sum(0)
        return np.asarray(np.where(good > 0, low / good, np.nan))


class _Resamples:
    """Resamples as rows: the statistic of each, and the position of that of the data."""

    def __init__(self, evaluate: _Native | _Called, inner: int, key: int) -> None:
        self._target, self._inner, self._key = evaluate, inner, key

    def __call__(self, start: int, stop: int) -> Array:
        """Return resamples from a start to a stop."""
        return np.stack([np.concatenate(row) for row in self.rows(start, stop)])

    def rows(self, start: int, stop: int) -> Iterator[tuple[Array, Array]]:
        """Yield the statistics and the positions of resamples from a start to a stop."""
        evaluate = self._target
        options = evaluate.data.units.core(IID)
        for first in range(start, stop, _TOGETHER):
            now = min(_TOGETHER, stop - first)
            flat, _ = _core.resample_rows(options, first, now, self._key, resolve_threads(None))
            for i, rows in enumerate(flat.reshape(now, -1)):
                yield evaluate(rows, self._inner, subkey(self._key, first + i))


class _Native:
    """A named statistic of resamples."""

    def __init__(self, data: Data, statistic: Statistic) -> None:
        self.data = data
        self.point = full(data, statistic).values
        self.exponents = data.exponents_of(statistic)
        self.many = statistic.kind == "regression" or (
            statistic.kind == "one" and data.samples[0].ndim > 1
        )
        units = data.units
        self._options = Units(units.strata, None, None, units.n).core(IID)
        self._prepared: Prepared = data.prepared(statistic)

    def __call__(self, rows: Codes, inner: int, key: int) -> tuple[Array, Array]:
        """Return the statistic of a resample, and the position of the point in its resamples."""
        core, parameters, columns = self._prepared
        # The rows of a resample are in the order of the strata, and so are its units.
        taken = [np.ascontiguousarray(column[rows]) for column in columns]
        own, _ = _core.resample_evaluate(core, parameters, taken, np.ones(len(rows)), False)
        flat, _, _, stopped = _core.resample_bootstrap(
            core,
            parameters,
            taken,
            self._options,
            0,
            inner,
            False,
            key,
            resolve_threads(None),
            None,
        )
        if stopped is not None:
            raise stopped
        return np.asarray(own), _below(flat.reshape(inner, -1), self.point)


class _Called:
    """A function of batches of resamples."""

    def __init__(self, f: Any, data: Data) -> None:
        self._function, point = Function.of(f, False, None, data)
        self.many = self._function.many
        own = exponents(point[None], 0)
        self.exponents = own if self.many else int(own[0])
        self.point = scaled(point, self.exponents)
        self.data = data
        units = data.units
        self._options = Units(units.strata, None, None, units.n).core(IID)

    def __call__(self, rows: Codes, inner: int, key: int) -> tuple[Array, Array]:
        """Return the statistic of a resample, and the position of the point in its resamples."""
        function, data, workers = self._function, self.data, resolve_threads(None)
        values = np.empty((inner, self.point.size))
        own = scaled(function.values(data.rows(rows[None]))[0], self.exponents)
        for at in range(0, inner, function.rows):
            now = min(function.rows, inner - at)
            flat, _ = _core.resample_rows(self._options, at, now, key, workers)
            values[at : at + now] = function.values(data.rows(rows[flat.reshape(now, -1)]))
        return own, _below(scaled(values, self.exponents), self.point)


class _Calibrated:
    """Calibrated ends from the replicates and the positions of all resamples."""

    def __init__(self, values: Array, positions: Array, level: float, inner: int) -> None:
        k = values.shape[1]
        self.lost = int((~np.isfinite(values) | ~np.isfinite(positions)).any(1).sum())
        self.levels, self.ends, self.plain, self.error = (np.empty((2, k)) for _ in range(4))
        self.stderr = np.empty(k)
        self.coarse = np.zeros(k, bool)
        tail = round((1 - level) / 2, 15)
        nominal = np.array([tail, 1 - tail])
        for j in range(k):
            good = np.isfinite(values[:, j]) & np.isfinite(positions[:, j])
            x, u = values[good, j], positions[good, j]
            if len(x) < 2:
                self.levels[:, j] = self.ends[:, j] = self.plain[:, j] = np.nan
                self.error[:, j] = self.stderr[j] = np.nan
                continue
            levels = np.quantile(u, nominal, method="weibull")
            # With finitely many resamples the outermost percentiles are not known.
            least = 1 / (inner + 1)
            self.coarse[j] = bool((levels < least).any() or (levels > 1 - least).any())
            self.levels[:, j] = levels = np.clip(levels, least, 1 - least)
            self.ends[:, j] = np.quantile(x, levels, method="weibull")
            self.plain[:, j] = np.quantile(x, nominal, method="weibull")
            self.stderr[j] = x.std(ddof=1)
            self.error[:, j] = _end_errors(x, u, nominal, levels, least)

    def doubts(self, name: str, n: int) -> list[Finding]:
        """Return doubts about the intervals."""
        found: list[Finding] = []
        if name in _WORSE:
            found.append((
                FermiacWarning,
                f"calibration makes intervals of {name!r} worse, since its bias depends on the "
                "data; take fermiac.resample.bootstrap",
            ))  # fmt: skip
        if n < _FEW:
            found.append((
                FermiacWarning,
                f"{n} observations are few for an interval of {name!r}: its coverage may be below "
                "the nominal one",
            ))  # fmt: skip
        if self.lost:
            found.append((
                FermiacWarning,
                f"{name!r} is not defined in {self.lost} resamples, which were left out",
            ))  # fmt: skip
        if self.coarse.any():
            found.append((
                FermiacWarning,
                "a calibrated level is beyond the resolution of the resamples of resamples, so the "
                "interval may be too narrow; raise n_inner, or use another interval",
            ))  # fmt: skip
        return found


def _end_errors(x: Array, u: Array, nominal: Array, levels: Array, least: float) -> Array:
    """Return the Monte Carlo errors of the ends, from the noise of the levels and of the ends."""
    n = len(x)
    out = np.empty(2)
    for i in range(2):
        spread = np.sqrt(nominal[i] * (1 - nominal[i]) / n)
        near = np.quantile(
            u, np.clip([nominal[i] - spread, nominal[i] + spread], 0, 1), method="weibull"
        )
        noise = 0.5 * (near[1] - near[0])
        total = np.hypot(noise, np.sqrt(levels[i] * (1 - levels[i]) / n))
        around = np.clip([levels[i] - total, levels[i] + total], least / 2, 1 - least / 2)
        ends = np.quantile(x, around, method="weibull")
        out[i] = 0.5 * (ends[1] - ends[0])
    return out
