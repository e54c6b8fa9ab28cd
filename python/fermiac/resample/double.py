"""The double bootstrap: percentile intervals whose levels are calibrated by a second bootstrap."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.progress import Report, finish, reporter
from fermiac._base.validate import RngLike, key_of, probability, whole
from fermiac.distributions.law import subkey
from fermiac.errors import ArgumentError, FermiacWarning
from fermiac.resample.callables import Function, StatisticFunction
from fermiac.resample.data import Data, Labels, OnNan, Prepared, Units, take
from fermiac.resample.leave_one_out import full
from fermiac.resample.schemes import IID
from fermiac.resample.statistics import Statistic, StatisticName, resolved
from fermiac.resample.text import headline, table
from fermiac.results.result import Finding, Result, warn
from fermiac.results.summary import Summary

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
    on_nan: OnNan = "raise",
    rng: RngLike = None,
    n_threads: int | None = None,
    progress: bool | Report | None = None,
) -> DoubleBootstrap:
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
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
    n_threads : int, optional
        Worker threads; see `fermiac.set_num_threads`. Never changes the result.
    progress : bool or callable, optional
        True for a progress bar, or a function of (done, total).

    Returns
    -------
    DoubleBootstrap

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or data and statistic do not fit.
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
    workers = resolve_threads(n_threads)
    data = take(x, statistic=chosen, paired=paired, strata=strata, on_nan=on_nan)
    evaluate: _Native | _Called
    if chosen is not None:
        evaluate = _Native(data, chosen, workers)
    else:
        evaluate = _Called(statistic, data, workers)
    name = chosen.name if chosen is not None else "function"
    point = evaluate.point
    k = point.size
    values, positions = np.empty((outer, k)), np.empty((outer, k))
    settings = {"statistic": name, "n_resamples": outer, "n_inner": inner, "prob": level}

    def result(n: int, status: str) -> tuple[DoubleBootstrap, list[Finding]]:
        got = _Calibrated(values[:n], positions[:n], level, inner)
        doubts = got.doubts(name, data.units.n)
        one: Callable[[Array], Any] = np.asarray if evaluate.many else (lambda a: float(a[0]))
        shape: Callable[[Array], Array] = np.asarray if evaluate.many else (lambda a: a[..., 0])
        made = DoubleBootstrap(
            statistic=name,
            estimate=one(point),
            stderr=one(got.stderr),
            lower=one(got.ends[0]),
            upper=one(got.ends[1]),
            plain_lower=one(got.plain[0]),
            plain_upper=one(got.plain[1]),
            prob=level,
            levels=np.ascontiguousarray(shape(got.levels)),
            mc_error=np.ascontiguousarray(shape(got.error)),
            replicates=np.ascontiguousarray(shape(values[:n])),
            positions=np.ascontiguousarray(shape(positions[:n])),
            n_resamples=n,
            n_inner=inner,
            seed=key,
            version=_core.__version__,
            isa=_core.isa_level,
            settings=settings,
            n_evals=0 if chosen is not None else n * (inner + 1) + 1,
            wall_time=time.perf_counter() - began,
            status=status,
            warnings=tuple(text for _, text in doubts),
        )
        return made, doubts

    done = 0
    with reporter(progress, "double bootstrap", "resamples") as report:
        try:
            options = data.units.core(IID)
            while done < outer:
                now = min(_TOGETHER, outer - done)
                flat, _ = _core.resample_rows(options, done, now, key, workers)
                for rows in flat.reshape(now, -1):
                    own, below = evaluate(rows, inner, subkey(key, done), point)
                    values[done], positions[done] = own, below
                    done += 1
                if report is not None and done < outer:
                    report(done, outer)
            made, doubts = result(outer, "complete")
        except KeyboardInterrupt as stopped:
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


class _Native:
    """A named statistic of resamples."""

    def __init__(self, data: Data, statistic: Statistic, workers: int) -> None:
        self._data, self._statistic, self._workers = data, statistic, workers
        self.point = full(data, statistic).values
        self.many = statistic.kind == "regression" or (
            statistic.kind == "one" and data.samples[0].ndim > 1
        )
        units = data.units
        self._options = Units(units.strata, None, None, units.n).core(IID)
        self._prepared: Prepared = data.prepared(statistic)

    def __call__(self, rows: Codes, inner: int, key: int, point: Array) -> tuple[Array, Array]:
        """Return the statistic of a resample, and the position of the point in its resamples."""
        core, parameters, columns = self._prepared
        # The rows of a resample are in the order of the strata, and so are its units.
        taken = [np.ascontiguousarray(column[rows]) for column in columns]
        own, _ = _core.resample_evaluate(core, parameters, taken, np.ones(len(rows)), False)
        flat, _, _, stopped = _core.resample_bootstrap(
            core, parameters, taken, self._options, 0, inner, False, key, self._workers, None
        )
        if stopped is not None:
            raise stopped
        return np.asarray(own), _below(flat.reshape(inner, -1), point)


class _Called:
    """A function of batches of resamples."""

    def __init__(self, f: Any, data: Data, workers: int) -> None:
        self._function, self.point = Function.of(f, False, None, data)
        self.many = self._function.many
        self._data, self._workers = data, workers
        units = data.units
        self._options = Units(units.strata, None, None, units.n).core(IID)

    def __call__(self, rows: Codes, inner: int, key: int, point: Array) -> tuple[Array, Array]:
        """Return the statistic of a resample, and the position of the point in its resamples."""
        function, data = self._function, self._data
        values = np.empty((inner, point.size))
        own = function.values(data.rows(rows[None]))[0]
        for at in range(0, inner, function.rows):
            now = min(function.rows, inner - at)
            flat, _ = _core.resample_rows(self._options, at, now, key, self._workers)
            values[at : at + now] = function.values(data.rows(rows[flat.reshape(now, -1)]))
        return own, _below(values, point)


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
