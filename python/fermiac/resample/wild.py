"""The wild bootstrap of regressions: unequal variances, and few clusters."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.exponents import restored, scaled
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import finish, reporter
from fermiac._base.strategies import Strategies
from fermiac._base.validate import (
    RngLike,
    key_of,
    labels,
    numbers,
    probability,
    shown,
    whole,
)
from fermiac.errors import ArgumentError, FermiacWarning
from fermiac.random.stream import Stream
from fermiac.resample.data import Data, Labels, take
from fermiac.resample.statistics import STATISTICS
from fermiac.results.provenance import provenance
from fermiac.results.result import Finding, Result, warn
from fermiac.results.summary import Summary
from fermiac.runs.parts import identity_of_call
from fermiac.runs.replicates import Drawing, Replicates, drawn, first_rows

if TYPE_CHECKING:
    pass

__all__ = ["WildBootstrap", "wild_bootstrap"]

Array = NDArray[np.float64]
#: The block of the streams of multipliers.
_BLOCK = 3
#: The number of multipliers that are held at once.
_AT_ONCE = 2**20
#: The most replicates of a batch. Blocks of workers consist of whole batches, whose sums are those
#: of a call without workers.
_TOGETHER = 256
#: Up to this number of clusters the scores are computed one by one, which rounds less.
_DIRECT = 256
#: Below this number of clusters the two signs have too few combinations.
_FEW = 12
#: Below this number of clusters the interval is not reliable.
_LEAST_CLUSTERS = 8
#: Below this number of observations without clusters the interval is not reliable.
_LEAST_ROWS = 20
#: Above this share of the leverage in one cluster the variance of a coefficient is not known.
_ALONE = 0.75
#: Two t-statistics that differ by less than this share are equal: rounding.
_EQUAL = 1e-9
#: The first step and the factor of the search for an end, in standard errors; the number of steps.
_STEP, _FACTOR, _STEPS, _HALVINGS = 0.5, 1.5, 40, 60
#: The smallest number of replicates of a partial result.
_PARTIAL = 99


@dataclass(frozen=True)
class Multipliers:
    """A distribution of multipliers with mean 0 and variance 1."""

    name: str
    #: A function of a stream and a number that returns multipliers.
    draw: Callable[[Stream, int], Array]


def _rademacher(stream: Stream, n: int) -> Array:
    return np.asarray(2.0 * stream.integers(2, n) - 1.0, np.float64)


def _mammen(stream: Stream, n: int) -> Array:
    root = math.sqrt(5.0)
    low = stream.uniform(n) < (root + 1) / (2 * root)
    return np.where(low, (1 - root) / 2, (1 + root) / 2)


_SIX = np.sqrt([0.5, 1.0, 1.5])


def _webb(stream: Stream, n: int) -> Array:
    return np.concatenate([-_SIX, _SIX])[stream.integers(6, n)]


#: The names of the distributions of the multipliers.
MultiplierName: TypeAlias = Literal["auto", "rademacher", "mammen", "webb"]
_MULTIPLIERS = Strategies(
    "multipliers",
    Multipliers,
    {
        "auto": lambda: Multipliers("auto", _rademacher),
        "rademacher": lambda: Multipliers("rademacher", _rademacher),
        "mammen": lambda: Multipliers("mammen", _mammen),
        "webb": lambda: Multipliers("webb", _webb),
    },
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class WildBootstrap(Result):
    """The coefficients of a regression, with tests and intervals by the wild bootstrap.

    Attributes
    ----------
    estimate : ndarray, shape (k,)
        The coefficients of least squares, the constant first.
    stderr : ndarray, shape (k,)
        Their standard errors for unequal variances, or for clusters.
    statistic : ndarray, shape (k,)
        The t-statistics of the null hypotheses.
    pvalue : ndarray, shape (k,)
        The two-sided p-values of the null hypotheses.
    lower, upper : ndarray, shape (k,)
        The ends of the intervals; infinite if no value in this direction is rejected.
    prob : float
        Their confidence.
    mc_error : ndarray, shape (2, k)
        The Monte Carlo errors (standard deviations) of the ends; 0 if all signs were enumerated.
    names : tuple of str
        The names of the coefficients.
    multipliers : str
        Their distribution.
    exact : bool
        Whether all combinations of signs were enumerated.
    n_clusters : int
        The number of clusters; without clusters that of the observations.
    n_resamples : int
        The number of resamples.

    Examples
    --------
    >>> import fermiac as fm
    >>> x, noise = fm.random.Stream(1).normal((2, 40))
    >>> r = fm.resample.wild_bootstrap((x, 2 * x + abs(x) * noise), n_resamples=999, rng=0)
    >>> r.estimate.shape, bool(r.lower[1] < 2 < r.upper[1])
    ((2,), True)
    """

    estimate: Array
    stderr: Array
    statistic: Array
    pvalue: Array
    lower: Array
    upper: Array
    prob: float
    mc_error: Array
    names: tuple[str, ...]
    multipliers: str
    exact: bool
    n_clusters: int
    n_resamples: int

    #: A statistic of the caller's may be NaN.
    _numbers = ()
    _layout: ClassVar[fit.Layout] = {
        "estimate": fit.array("f", "k"),
        "stderr": fit.array("f", "k"),
        "statistic": fit.array("f", "k"),
        "pvalue": fit.array("f", "k"),
        "lower": fit.array("f", "k"),
        "upper": fit.array("f", "k"),
        "prob": fit.real,
        "mc_error": fit.array("f", 2, "k"),
        "names": fit.texts,
        "multipliers": fit.text(),
        "exact": fit.flag,
        "n_clusters": fit.whole(1),
        "n_resamples": fit.whole(1),
    }

    def _headline(self) -> str:
        rows = [
            f"{e:.6g} ± {s:.2g} [{a:.6g}, {b:.6g}]"
            for e, s, a, b in zip(
                self.estimate[:3], self.stderr, self.lower, self.upper, strict=False
            )
        ]
        more = f", … ({self.estimate.size} in all)" if self.estimate.size > 3 else ""
        return f"WildBootstrap: {', '.join(rows)}{more} ({100 * self.prob:.6g} %)"

    def summary(self) -> Summary:
        """Return a table: coefficients, standard errors, t-statistics, p-values and ends."""
        names = ("estimate", "stderr", "statistic", "pvalue", "lower", "upper")
        how = "all signs" if self.exact else f"{self.n_resamples} resamples"
        foot = [f"{self.multipliers} multipliers, {how}, seed {self.seed}"]
        foot += [f"warning: {w}" for w in self.warnings]
        return Summary(self.names, {name: getattr(self, name) for name in names}, foot=foot)


class _Fit(NamedTuple):
    """A regression by least squares, and sums over its clusters, whose rows are in order."""

    estimate: Array
    #: (X'X)⁻¹, shape (k, k).
    inverse: Array
    #: The weights of the observations in the coefficients, shape (n, k).
    leverage: Array
    residuals: Array
    #: The first row of each cluster.
    starts: NDArray[np.int64]
    x: Array

    def sums(self, rows: Array) -> Array:
        """Return sums over clusters of rows, (n, ...) to (G, ...)."""
        if len(self.starts) == len(rows):
            return rows
        return np.asarray(np.add.reduceat(rows, self.starts, axis=0))


class _Parts(NamedTuple):
    """The t-statistic of a coefficient in each resample, for any null hypothesis.

    If the null hypothesis is the estimate less d, the numerator is first + second d, and the sum of
    squares of the denominator is zero + 2 one d + two d²; each has shape (B,).
    """

    first: Array
    second: Array
    zero: Array
    one: Array
    two: Array

    def exceed(self, d: float, square: float) -> NDArray[np.bool_]:
        """Return which resamples are at least as extreme as the data; `square` is their sum."""
        own = d * d
        top = self.first + self.second * d
        bottom = self.zero + (2 * self.one + self.two * d) * d
        return np.asarray(top * top * square >= own * bottom * (1 - _EQUAL))


@public
def wild_bootstrap(
    x: tuple[ArrayLike, ArrayLike],
    *,
    clusters: Labels = None,
    multipliers: MultiplierName | Multipliers = "auto",
    null: ArrayLike = 0.0,
    n_resamples: int = 9999,
    prob: float = 0.95,
    names: Sequence[str] | None = None,
    replicates: Replicates | None = None,
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> WildBootstrap:  # with part= Replicates; the type is that of all other calls
    r"""Return tests and intervals of the coefficients of a regression, by the wild bootstrap [1]_.

    It allows for errors with unequal variances, and with `clusters` for errors that depend on each
    other within a cluster [2]_. With few clusters it keeps its level where standard errors for
    clusters with normal quantiles do not.

    Parameters
    ----------
    x : tuple of array_like
        ``(X, y)``, of shapes (n,) or (n, p), and (n,). A constant column is added first.
    clusters : array_like, shape (n,), optional
        A label for each observation. All residuals of a cluster get the same multiplier.
    multipliers : {"auto", "rademacher", "mammen", "webb"}, default "auto"
        ``"rademacher"``: 1 or -1. ``"mammen"`` [1]_: two points with the third moment 1.
        ``"webb"`` [4]_: six points, for few clusters, of which signs have few combinations.
        ``"auto"`` takes ``"webb"`` for fewer than 12 clusters and ``"rademacher"`` otherwise.
    null : float or array_like, shape (k,), default 0
        The values of the coefficients under the null hypotheses.
    n_resamples : int, default 9999
        The number of resamples. If signs have at most as many combinations, all are enumerated.
    prob : float, default 0.95
        The confidence of the intervals, above 0 and below 1.
    names : sequence of str, optional
        The names of the coefficients, the constant first.
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
    WildBootstrap
        With `part`: `Replicates`.

    Raises
    ------
    CheckpointError
        If a file of the store is damaged or belongs to another call, or cannot be written.
    ArgumentError
        If an argument is outside its domain, the columns of X with a constant are linearly
        dependent, or there are at most as many observations as coefficients.
    NumericalError
        If a coefficient or its interval is out of the range of doubles.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` has the replicates so far, or is None.

    Warns
    -----
    FermiacWarning
        For fewer than 8 clusters, for fewer than 20 observations without clusters, of an interval
        without an end, and if more than three quarters of the leverage of a coefficient lie in one
        cluster, so that its variance cannot be estimated.

    Notes
    -----
    The residuals of a resample are those of the regression under the null hypothesis [2]_ times the
    multiplier of their cluster. The interval has the values that are not rejected.
    The t-statistic of each coefficient is that of the standard errors of White or, with clusters,
    of Liang and Zeger. Its square is a ratio of quadratic functions of the value under the null
    hypothesis [3]_, so that the interval needs no further resamples. The p-value is the share of
    resamples whose t-statistic is at least as large in absolute value as that of the data; if they
    are drawn, the data count as one of them. Replicate b has its own random stream.

    References
    ----------
    .. [1] E. Mammen, "Bootstrap and wild bootstrap for high dimensional linear models", Annals of
       Statistics, 1993, doi:10.1214/aos/1176349025.
    .. [2] A. C. Cameron, J. B. Gelbach, D. L. Miller, "Bootstrap-based improvements for inference
       with clustered errors", Review of Economics and Statistics, 2008, doi:10.1162/rest.90.3.414.
    .. [3] D. Roodman, M. Ø. Nielsen, J. G. MacKinnon, M. D. Webb, "Fast and wild: bootstrap
       inference in Stata using boottest", The Stata Journal, 2019, doi:10.1177/1536867X19830877.
    .. [4] M. D. Webb, "Reworking wild bootstrap-based inference for clustered errors", Canadian
       Journal of Economics, 2023, doi:10.1111/caje.12661.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> stream = fm.random.Stream(1)
    >>> school = np.repeat(np.arange(8), 20)
    >>> x = stream.normal(8)[school]  # the same for all of a school
    >>> y = 0.5 * x + stream.normal(8)[school] + stream.normal(160)
    >>> r = fm.resample.wild_bootstrap((x, y), clusters=school, n_resamples=999, rng=0)
    >>> r.multipliers, r.n_clusters
    ('webb', 8)
    >>> bool(r.lower[1] < 0.5 < r.upper[1])
    True
    """
    where = plan_of(plan, "executor", "store", "part")
    began = time.perf_counter()
    given: object = x
    if not isinstance(given, tuple) or len(given) != 2:
        raise ArgumentError(f"x: {shown(given)} given; a tuple (X, y) is needed")
    law = _MULTIPLIERS.resolve(multipliers)
    total = whole("n_resamples", n_resamples, 1, 2**40)
    level = probability("prob", prob)
    key = key_of(rng)
    least_squares = STATISTICS.resolve("ols")
    data = take(x, statistic=least_squares, clusters=clusters)
    fitted, unit = _fitted(data), data.exponents_of(least_squares)
    k, groups = fitted.estimate.size, len(fitted.starts)
    values = numbers("null", null)
    if values.shape not in ((), (k,)):
        raise ArgumentError(
            f"null: an array of shape {values.shape} given; a number or ({k},) is needed, one for "
            "each coefficient"
        )
    if not np.isfinite(values).all():
        raise ArgumentError("null: an infinity given; finite numbers are needed")
    known = labels(names, k, "coefficient") or (
        "constant",
        *(f"x[{j}]" for j in range(k - 1)),
    )
    if law.name == "auto":
        law = _MULTIPLIERS.resolve("webb" if groups < _FEW else "rademacher")
    exact = law.name == "rademacher" and groups < 40 and 2 ** (groups - 1) <= total
    if exact:
        total = 2 ** (groups - 1)  # of v and -v the t-statistics are the same
    scores = fitted.sums(fitted.leverage * fitted.residuals[:, None])
    squares = (scores**2).sum(0)
    n = len(fitted.residuals)
    factor = groups / (groups - 1) * (n - 1) / (n - k) if clusters is not None else n / (n - k)
    settings = {
        "n_resamples": total,
        "prob": level,
        "multipliers": law.name,
        "null": np.broadcast_to(values, k).tolist(),
        "clusters": clusters is not None,
    }
    distances = fitted.estimate - scaled(np.broadcast_to(values, k), unit)

    def result(parts: list[_Parts], status: str) -> tuple[WildBootstrap, list[Finding]]:
        count = len(parts[0].first)
        stderr = np.sqrt(factor * squares)
        with np.errstate(divide="ignore", invalid="ignore"):
            statistic = np.asarray(distances / stderr)
        ends = lower, upper = np.empty(k), np.empty(k)
        pvalue, error = np.empty(k), np.zeros((2, k))
        for j, part in enumerate(parts):
            test = _Test(part, float(squares[j]), 0.0 if exact else 1.0, count)
            pvalue[j] = test.pvalue(float(distances[j]))
            for end, side in enumerate((1.0, -1.0)):
                away, error[end, j] = test.end(side, float(stderr[j]), 1 - level)
                ends[end][j] = fitted.estimate[j] - side * away
        if exact:
            error[:] = 0.0
        doubts = _doubts(known, stderr, fitted, groups, clusters is not None, lower, upper)
        numbers = {
            "estimate": fitted.estimate,
            "stderr": stderr,
            "lower": lower,
            "upper": upper,
            "mc_error": error,
        }
        made = WildBootstrap(
            **restored("coefficients", numbers, unit),
            statistic=statistic,
            pvalue=pvalue,
            prob=level,
            names=known,
            multipliers=law.name,
            exact=exact,
            n_clusters=groups,
            n_resamples=count,
            **provenance(settings, began, key),
            status=status,
            warnings=tuple(text for _, text in doubts),
        )
        return made, doubts

    how = Drawing(where, replicates, rng)
    how.check(False)
    step = max(1, min(_TOGETHER, _AT_ONCE // groups))

    def call() -> str:
        sizes = {"n": total, "exact": exact}
        given = (law, fitted.x, fitted.residuals, fitted.starts)
        return identity_of_call("resample.wild_bootstrap", sizes, key, *given)

    with reporter(where.progress, "wild bootstrap", "resamples") as report:
        done: list[Array] = []
        try:
            sums = _cluster_sums(fitted, scores)
            work = _Work(sums, None if exact else law, key, total, step)
            if how.is_plain:
                for first in range(0, total, step):
                    last = min(first + step, total)
                    done.append(work(first, last))
                    if report is not None and last < total:
                        report(last, total)
            else:
                found = drawn(work, total, how, seed=key, call=call, report=report, multiple=step)
                if where.part is not None:
                    return found  # type: ignore[return-value]
                done.append(found.array)
            made, doubts = result(_columns(np.concatenate(done)), "complete")
        except KeyboardInterrupt as stopped:
            if where.part is not None:
                raise
            if not how.is_plain and not done:
                done.append(first_rows(stopped))
            enough = not exact and sum(map(len, done)) >= _PARTIAL
            stopped.partial_result = (  # type: ignore[attr-defined]
                result(_columns(np.concatenate(done)), "interrupted")[0] if enough else None
            )
            raise
        finish(report, total, made)
    warn(doubts, made)
    return made


def _fitted(data: Data) -> _Fit:
    """Return the regression, with the observations in the order of their clusters."""
    given, y = data.samples
    n = len(y)
    x = np.column_stack([np.ones(n), given.reshape(n, -1)])
    k = x.shape[1]
    if n <= k:
        raise ArgumentError(
            f"x: {n} observations of {k} coefficients given; more observations than coefficients "
            "are needed"
        )
    units = data.units
    starts = np.arange(n)
    if units.starts is not None and units.members is not None:
        x, y = x[units.members], y[units.members]
        starts = units.starts[:-1]
    scale = np.abs(x).max(0)
    q, r = np.linalg.qr(x / np.where(scale > 0, scale, 1.0))
    diagonal = np.abs(np.diag(r))
    if not diagonal.min() > n * np.finfo(float).eps * diagonal.max():
        raise ArgumentError(
            f"x: the columns of X with a constant have less than the full rank {k}; leave out "
            "linear combinations of other columns (a constant column is added)"
        )
    half = np.linalg.inv(r) / scale[:, None]
    estimate = half @ (q.T @ y)
    return _Fit(
        estimate=estimate,
        inverse=half @ half.T,
        leverage=q @ half.T,
        residuals=y - x @ estimate,
        starts=starts,
        x=x,
    )


class _Work:
    """Replicates as rows: the parts of the t-statistic of each coefficient."""

    def __init__(
        self, sums: _Sums, law: Multipliers | None, key: int, total: int, step: int
    ) -> None:
        self._target, self._key, self._total, self._step = sums, key, total, step
        self._law = law

    def __call__(self, start: int, stop: int) -> Array:
        """Return replicates from a start to a stop; without a law all combinations of signs."""
        groups = len(self._target.scores[0])
        made = []
        # Batches begin at multiples of the step for every start: a product of matrices may round a
        # row differently in another batch.
        for first in range(start - start % self._step, stop, self._step):
            last = min(first + self._step, self._total)
            if self._law is None:
                rows = _signs(first, last, groups)
            else:
                rows = _drawn(self._law, self._key, first, last, groups)
            parts = _replicates(self._target, rows)
            table = np.column_stack([column for part in parts for column in part])
            made.append(table[max(start - first, 0) : stop - first])
        return np.concatenate(made)


def _columns(rows: Array) -> list[_Parts]:
    """Return the parts of the t-statistics in rows of `_Work`."""
    columns = np.ascontiguousarray(rows.T)
    n = len(_Parts._fields)
    return [_Parts(*columns[at : at + n]) for at in range(0, len(columns), n)]


class _Sums(NamedTuple):
    """Sums over clusters for the replicates; the second of each pair is per unit of distance."""

    #: z'u for each coefficient, (G, k).
    scores: tuple[Array, Array]
    #: X'u, (G, k), and for each coefficient (k, G, k).
    normal: tuple[Array, Array]
    #: X'z for each coefficient, (k, G, k), times (X'X)⁻¹.
    cross: Array


def _cluster_sums(fitted: _Fit, scores: Array) -> _Sums:
    """Return the sums for the replicates.

    The residuals under a null hypothesis at a distance d from the estimate of coefficient j are
    those of the regression plus d times the residuals of column j regressed on the other columns.
    """
    z, x = fitted.leverage, fitted.x
    k = z.shape[1]
    cross = np.stack([fitted.sums(z[:, [j]] * x) @ fitted.inverse for j in range(k)])
    normal = fitted.sums(x * fitted.residuals[:, None])
    # The rest of column j is its leverage, divided by the j-th entry of the diagonal.
    rest = z / np.diag(fitted.inverse)
    more = np.stack([fitted.sums(x * rest[:, [j]]) for j in range(k)])
    return _Sums((scores, fitted.sums(z * rest)), (normal, more), cross)


def _drawn(law: Multipliers, key: int, first: int, last: int, groups: int) -> Array:
    """Return the multipliers of some replicates, one row each."""
    return np.stack([law.draw(Stream(key, b, _BLOCK), groups) for b in range(first, last)])


def _signs(first: int, last: int, groups: int) -> Array:
    """Return some combinations of signs, one row each; that of the first cluster is 1."""
    number = np.arange(first, last)[:, None] << 1
    return np.asarray(1.0 - 2.0 * ((number >> np.arange(groups)) & 1), np.float64)


def _replicates(sums: _Sums, v: Array) -> list[_Parts]:
    """Return the t-statistics of all coefficients for rows of multipliers, (b, G).

    The score of cluster g is v_g d_g - c'p_g, where c = (X'X)⁻¹X'u has the multipliers of all
    clusters.
    """
    plain = v @ sums.normal[0]
    found = []
    for j in range(plain.shape[1]):
        p, d0, d1 = sums.cross[j], sums.scores[0][:, j], sums.scores[1][:, j]
        products = _products(v, p, (d0, d1), (plain, v @ sums.normal[1][j]))
        found.append(_Parts(v @ d0, v @ d1, *products))
    return found


def _products(v: Array, p: Array, d: tuple[Array, ...], c: tuple[Array, ...]) -> list[Array]:
    """Return the products of two scores, summed over clusters: 00, 01 and 11."""
    pairs = [(0, 0), (0, 1), (1, 1)]
    if len(p) <= _DIRECT:
        scores = [v * own - rest @ p.T for own, rest in zip(d, c, strict=True)]
        return [np.einsum("bg,bg->b", scores[i], scores[j]) for i, j in pairs]
    # For many clusters matrix products are faster than the scores themselves.
    squares = (v * v) @ np.column_stack([d[i] * d[j] for i, j in pairs])
    crossed = [np.asarray(v @ (own[:, None] * p)) for own in d]
    gram = p.T @ p
    return [
        squares[:, n]
        - np.einsum("bk,bk->b", c[i], crossed[j])
        - np.einsum("bk,bk->b", c[j], crossed[i])
        + np.einsum("bk,bk->b", c[i] @ gram, c[j])
        for n, (i, j) in enumerate(pairs)
    ]


class _Test(NamedTuple):
    """The test of one coefficient."""

    parts: _Parts
    #: The sum of squares of the scores of the data.
    square: float
    #: How often the data count among the resamples.
    own: float
    n: int

    def pvalue(self, d: float) -> float:
        """Return the p-value of the estimate less d."""
        if self.square == 0:
            return 1.0
        count = np.count_nonzero(self.parts.exceed(d, self.square))
        return float((count + self.own) / (self.n + self.own))

    def end(self, side: float, stderr: float, level: float) -> tuple[float, float]:
        """Return the distance of an end from the estimate, and its Monte Carlo error."""
        if not stderr > 0:
            return math.inf, 0.0
        low, high = 0.0, _STEP * stderr
        for _ in range(_STEPS):
            if self.pvalue(side * high) <= level:
                break
            low, high = high, high * _FACTOR
        else:
            return math.inf, 0.0
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            if not low < middle < high:
                break
            if self.pvalue(side * middle) <= level:
                high = middle
            else:
                low = middle
        # The error of the p-value, divided by its slope over the range of that error.
        spread = math.sqrt(level * (1 - level) / self.n)
        near = high
        for _ in range(_STEPS):
            near -= 0.02 * stderr
            if near <= 0 or self.pvalue(side * near) >= level + 2 * spread:
                break
        return high, 0.5 * (high - max(near, 0.0))


def _doubts(
    names: Sequence[str],
    stderr: Array,
    fitted: _Fit,
    groups: int,
    clustered: bool,
    lower: Array,
    upper: Array,
) -> list[Finding]:
    """Return doubts about the intervals."""
    found: list[Finding] = []
    if not clustered and groups < _LEAST_ROWS:
        found.append((
            FermiacWarning,
            f"{groups} observations are few for errors of unequal variance: the coverage may be "
            "below the nominal one",
        ))  # fmt: skip
    if clustered and groups < _LEAST_CLUSTERS:
        found.append((
            FermiacWarning,
            f"{groups} clusters are too few for a reliable interval; {_LEAST_CLUSTERS} are needed "
            "at least",
        ))  # fmt: skip
    parts = fitted.sums(fitted.leverage**2)
    shares = parts.max(0) / parts.sum(0)
    for j in np.flatnonzero(shares > _ALONE)[:1]:
        what = "cluster" if clustered else "observation"
        found.append((
            FermiacWarning,
            f"{names[j]}: {shares[j]:.0%} of its leverage lies in one {what}, as for an indicator "
            f"of one {what}, so its variance cannot be estimated; more of its kind are needed",
        ))  # fmt: skip
    open_ends = ~(np.isfinite(lower) & np.isfinite(upper)) & (stderr > 0)
    if open_ends.any():
        j = int(np.argmax(open_ends))
        found.append((
            FermiacWarning,
            f"{names[j]}: no value in one direction is rejected, so that the interval has no end "
            "there; more clusters, or multipliers='webb', may give one",
        ))  # fmt: skip
    return found
