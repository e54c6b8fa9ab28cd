"""Permutation tests: exact if the law can be computed, otherwise sampled."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base import layout as fit
from fermiac._base.binomial import clopper_pearson
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.exponents import exponents, is_ordinary, restored, scaled
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import finish, reporter
from fermiac._base.validate import RngLike, choice, key_of, taken, whole, yes
from fermiac.errors import ArgumentError
from fermiac.resample import permutation_laws as laws
from fermiac.resample.data import Data, Labels, OnNan, take
from fermiac.resample.permutation_draws import Called, Draws, Sums, exceedances
from fermiac.results.provenance import provenance
from fermiac.results.result import Result
from fermiac.results.summary import Summary, of_figures
from fermiac.runs.parts import identity_of_call
from fermiac.runs.replicates import Drawing, Replicates

if TYPE_CHECKING:
    pass

__all__ = ["PermutationTest", "permutation_test"]

Array = NDArray[np.float64]
Kind: TypeAlias = Literal["independent", "signs", "pairs"]
Alternative: TypeAlias = Literal["two-sided", "less", "greater"]
Adjust: TypeAlias = Literal["none", "max-t"]
ScoreName: TypeAlias = Literal["mean", "rank", "ansari_bradley", "median", "pearson", "spearman"]
_KINDS: tuple[Kind, ...] = ("independent", "signs", "pairs")
_ALTERNATIVES: tuple[Alternative, ...] = ("two-sided", "less", "greater")
#: The named statistics of each kind; the first is the default.
_STATISTICS: dict[str, tuple[str, ...]] = {
    "independent": ("mean", "rank", "ansari_bradley", "median"),
    "signs": ("mean", "rank"),
    "pairs": ("pearson", "spearman"),
}
#: The share of the scale of a statistic below which a difference is rounding.
_SAME = 1e-12
#: The confidence of the limits of sampled p-values.
_LIMITS = 0.95


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class PermutationTest(Result):
    """A p-value by permutations.

    Attributes
    ----------
    statistic : float or ndarray, shape (k,)
        The observed statistic: the difference of the means for ``"mean"`` and two samples, the mean
        for signs, the correlation for pairs, the sum of the scores of the first sample for ranks.
    pvalue : float or ndarray, shape (k,)
        The p-value; for sampled permutations (exceedances + 1) / (n_resamples + 1).
    pvalue_lower, pvalue_upper : float or ndarray, shape (k,)
        Limits of the 95 % interval for the p-value of all permutations; equal to `pvalue` if that
        is exact.
    log_pvalue : float or ndarray, shape (k,)
        The logarithm of the p-value, finite even if the p-value underflows.
    exact : bool
        Whether the p-value is that of all permutations.
    method : str
        ``"enumeration"``, ``"shift"``, ``"series"``, ``"counting"`` or ``"sampled"``.
    kind, alternative : str
        The kind of permutation, and the side of the test.
    n_resamples : int
        The number of sampled permutations.
    pvalue_adjusted : ndarray, shape (k,), or None
        Step-down p-values adjusted for all columns, with ``adjust="max-t"``.
    null : ndarray
        The sampled statistics of a single column; with ``adjust="max-t"`` the largest statistic of
        each permutation. Empty if the law is exact.

    Examples
    --------
    >>> import fermiac as fm
    >>> p = fm.resample.permutation_test(([1, 2, 2, 3, 5], [2, 3, 3, 4, 6, 6]), "rank")
    >>> p.exact, round(p.pvalue * 462, 9)
    (True, 80.0)
    """

    statistic: float | Array
    pvalue: float | Array
    pvalue_lower: float | Array
    pvalue_upper: float | Array
    log_pvalue: float | Array
    exact: bool
    method: str
    kind: str
    alternative: str
    n_resamples: int
    pvalue_adjusted: Array | None
    null: Array

    _layout: ClassVar[fit.Layout] = {
        **{
            name: fit.either(fit.single("outputs"), fit.array("f", "outputs"))
            for name in ("statistic", "pvalue", "pvalue_lower", "pvalue_upper", "log_pvalue")
        },
        "exact": fit.flag,
        "method": fit.text(),
        "kind": fit.text(),
        "alternative": fit.text(),
        "n_resamples": fit.whole(0),
        "pvalue_adjusted": fit.maybe(fit.array("f", "outputs")),
        "null": fit.array("f", "*rows"),
    }

    def _headline(self) -> str:
        p = np.atleast_1d(self.pvalue)
        shown = ", ".join(f"{v:.4g}" for v in p[:3])
        more = f", … ({p.size} in all)" if p.size > 3 else ""
        how = "exact" if self.exact else f"{self.n_resamples} permutations"
        return f"PermutationTest: p = {shown}{more} ({self.alternative}, {how} by {self.method})"

    def summary(self) -> Summary:
        """Return the statistics and p-values."""
        lines = [self._first_line()]
        foot = [f"warning: {w}" for w in self.warnings]
        if np.ndim(self.pvalue) == 0:
            return of_figures(self._figures(), lines, foot=foot)
        columns = {"statistic": self.statistic, "pvalue": self.pvalue}
        if self.pvalue_adjusted is not None:
            columns["adjusted"] = self.pvalue_adjusted
        numbers = {name: np.asarray(c, float) for name, c in columns.items()}
        names = tuple(f"x[{j}]" for j in range(numbers["pvalue"].size))
        return Summary(names, numbers, foot=[*lines, *foot])


class _Design(NamedTuple):
    """The design of a test: observations in the order of their blocks."""

    kind: str
    #: The kind, blocks, size of the first group in each block and other variable, for the core.
    core: tuple[str, list[int], list[int], Array | None]
    #: The data, shape (n, k).
    y: Array
    first: int

    @property
    def plain(self) -> bool:
        """Whether there is one block."""
        return len(self.core[1]) == 2


@public
def permutation_test(
    x: ArrayLike | tuple[ArrayLike, ...],
    statistic: ScoreName | Callable[..., Any] | None = None,
    *,
    kind: Kind | None = None,
    alternative: Alternative = "two-sided",
    n_resamples: int = 9999,
    blocks: Labels = None,
    studentise: bool = False,
    adjust: Adjust = "none",
    exact: bool | None = None,
    batch: int | None = None,
    replicates: Replicates | None = None,
    on_nan: OnNan = "raise",
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> PermutationTest:  # with part= Replicates; the type is that of all other calls
    """Return the p-value of a permutation test, exact if the law can be computed.

    Parameters
    ----------
    x : array_like, shape (n,) or (n, k), or tuple of them
        Two samples (a, b) whose labels are permuted; one sample whose signs are flipped; or with
        ``kind="pairs"`` the pairs (x, y). Columns of an (n, k) array are tested side by side.
    statistic : str or callable, optional
        For two samples: ``"mean"`` (the default), the difference of the means, or the sums of
        scores ``"rank"`` (Mann-Whitney), ``"ansari_bradley"`` and ``"median"``. For signs:
        ``"mean"`` or ``"rank"`` (Wilcoxon; zeros are left out). For pairs: ``"pearson"`` or
        ``"spearman"``. Ties get their mean score. A callable takes batches, ``f(a, b)``, ``f(d)``
        or ``f(x, y)`` of shape (b, n), and returns (b,).
    kind : {"independent", "signs", "pairs"}, optional
        The kind of permutation. Default: labels for a tuple, signs for a single sample.
    alternative : {"two-sided", "less", "greater"}, default "two-sided"
        Two-sided p-values are twice the smaller tail, at most 1.
    n_resamples : int, default 9999
        The number of permutations, if the law is not exact.
    blocks : array_like, optional
        A label for each observation (a tuple of labels for two samples). Only observations with the
        same label are permuted.
    studentise : bool, default False
        Whether means are divided by their standard errors in each permutation [3]_ [4]_, which is
        valid for different sizes and variances. Such tests are sampled.
    adjust : {"none", "max-t"}, default "none"
        Whether the p-values of several columns are adjusted for multiplicity, by the step-down law
        of the largest statistic [5]_. The statistics are then standardised.
    exact : bool, optional
        False samples permutations even if the law is known; True raises an error if it is not
        known.
    batch : int, optional
        The number of permutations in one call of a callable. Default: as many as fit into the
        cache.
    replicates : Replicates, optional
        All permutations of this call, from its parts; none are sampled.
    on_nan : {"raise", "omit"}, default "raise"
        Whether NaN is an error, or its observations are left out.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``, ``part``); see
        `fermiac.Plan`. ``part``: (i, n): return the sampled permutations of part i of n, counted
        from 0, for independent jobs, as `Replicates`. `fermiac.merge` joins the parts for
        `replicates`. `part`, `store` and `replicates` are for one column, and not for
        ``adjust="max-t"``. ``store``: a folder for files of sampled permutations. The same call
        resumes from them, and its parts can share the folder. It needs `rng`.

    Returns
    -------
    PermutationTest
        With `part`: `Replicates`.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or data and statistic do not fit.
    NumericalError
        If the statistic of huge data overflows.
    TargetError
        If a callable returns values of another shape.
    CheckpointError
        If a file of the store is damaged or belongs to another call, or cannot be written.

    Notes
    -----
    Up to a million outcomes are enumerated. For signs and for groups of up to 40 observations a
    meet-in-the-middle search over the sums of both halves counts all outcomes. Integer scores and
    ranks have the exact law of the shift algorithm [1]_. For sign flips of more observations, few
    outcomes beyond the observed one are counted; otherwise a tilted Fourier series gives the
    p-value with a small relative error, even at 10⁻²⁶. The same is true of the difference of two
    means, by a transform of the number and the sum of independent choices, given their number [6]_;
    its relative error was at most 1.2e-4 where all groups could be counted. Everything else is
    sampled; the + 1 in the p-value makes the test valid for any number of permutations [2]_.

    References
    ----------
    .. [1] B. Streitberg, J. Röhmel, "Exact distributions for permutation and rank tests: an
       introduction to some recently published algorithms", Statistical Software Newsletter, 1986.
    .. [2] B. Phipson, G. K. Smyth, "Permutation P-values should never be zero", Statistical
       Applications in Genetics and Molecular Biology, 2010, doi:10.2202/1544-6115.1585.
    .. [3] A. Janssen, "Studentized permutation tests for non-i.i.d. hypotheses and the generalized
       Behrens-Fisher problem", Statistics & Probability Letters, 1997,
       doi:10.1016/S0167-7152(97)00043-6.
    .. [4] E. Chung, J. P. Romano, "Exact and asymptotically robust permutation tests", Annals of
       Statistics, 2013, doi:10.1214/13-AOS1090.
    .. [5] P. H. Westfall, S. S. Young, "Resampling-Based Multiple Testing", Wiley, 1993.
    .. [6] J. Robinson, "Saddlepoint approximations for permutation tests and confidence intervals",
       Journal of the Royal Statistical Society B 44, 1982.

    Examples
    --------
    Darwin's maize data, with all 32768 sign flips:

    >>> import fermiac as fm
    >>> d = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    >>> p = fm.resample.permutation_test(d)
    >>> p.pvalue * 32768, p.exact
    (1726.0, True)
    """
    where = plan_of(plan, "executor", "store", "part")
    began = time.perf_counter()
    side = choice("alternative", alternative, _ALTERNATIVES)
    n = whole("n_resamples", n_resamples, 1, 2**40)
    rows = None if batch is None else whole("batch", batch, 1, 2**31)
    adjusted = choice("adjust", adjust, ("none", "max-t")) == "max-t"
    standardised = yes("studentise", studentise)
    known = None if exact is None else yes("exact", exact)
    key = key_of(rng)
    workers = resolve_threads(where.n_threads)
    kind = _kind_of(x, kind)
    named = None if callable(statistic) else _named(statistic, kind)
    data = take(x, statistic=None, paired=kind == "pairs", strata=None, on_nan=on_nan)
    design = _design(data, kind, _codes(data, kind, blocks))
    unit: Any = 0
    if named in ("mean", "median", "pearson"):
        # Ranks need no unit, and functions take the data as they are.
        design, unit = _ordinary(design)
    settings = {
        "statistic": named or "function",
        "kind": kind,
        "alternative": side,
        "n_resamples": n,
        "studentise": standardised,
        "adjust": "max-t" if adjusted else "none",
        "exact": known,
    }
    if rows is not None and named is not None:
        raise ArgumentError(
            f"batch: {rows} given with the statistic {named!r}; it is for callables"
        )
    if standardised and named not in ("mean", None):
        raise ArgumentError(f"studentise: True given with {named!r}; it is for 'mean'")
    wide = design.y.shape[1] > 1
    if (wide or adjusted or standardised) and named is None:
        raise ArgumentError(
            "statistic: a callable was given with several columns, adjust= or studentise=; a name "
            "is needed for those"
        )
    how = Drawing(where, replicates, rng)
    how.check(False)

    def call() -> str:
        given = (design.y, design.core[1:], statistic if named is None else named)
        return identity_of_call(
            "resample.permutation_test", {**settings, "batch": rows}, key, *given
        )

    with reporter(where.progress, "permutation_test", "permutations") as report:
        draws = Draws(n, key, workers, report, how, call)
        if named is None:
            assert callable(statistic)
            found = _of_function(statistic, design, side, rows, draws, known)
        elif wide or adjusted or standardised:
            found = _of_columns(design, named, side, standardised, adjusted, draws, known)
        else:
            found = _of_column(design, named, side, draws, known)
        if isinstance(found, Replicates):
            made: Any = found
            return made  # type: ignore[no-any-return]
        if named == "mean" and not (standardised and kind == "independent"):
            # Of several columns, and of studentised means, no sums are kept.
            names = ["statistic"] if wide or adjusted or standardised else ["statistic", "null"]
            found |= restored("mean", {name: found[name] for name in names}, unit)
        result = PermutationTest(
            kind=kind,
            alternative=side,
            **provenance(settings, began, key, found.pop("n_evals", 0)),
            **found,
        )
        finish(report, n, result)
    return result


def _kind_of(x: Any, kind: Any) -> Kind:
    if kind is not None:
        found = choice("kind", kind, _KINDS)
        needs = {"independent": True, "signs": False, "pairs": None}[found]
        if needs is not None and needs != isinstance(x, tuple):
            wanted = "a tuple of two samples (a, b)" if needs else "one sample, and no tuple,"
            raise ArgumentError(f"x: {wanted} is needed for kind={found!r}")
        return cast(Kind, found)
    return "independent" if isinstance(x, tuple) else "signs"


def _named(statistic: Any, kind: str) -> str:
    known = _STATISTICS[kind]
    return known[0] if statistic is None else choice("statistic", statistic, known)


def _codes(data: Data, kind: str, blocks: Any) -> NDArray[np.int64] | None:
    """Return the codes of blocks, which are shared by the samples."""
    if blocks is None:
        return None
    sizes = [len(data.samples[0])] if kind != "independent" else list(data.sizes)
    parts = list(blocks) if isinstance(blocks, tuple) and len(sizes) > 1 else [blocks]
    labels: list[Any] = []
    for part, size in zip(parts, sizes, strict=False):
        array = taken("blocks", part)
        if array.shape != (size,):
            labels = []
            break
        labels += array.tolist()
    if len(parts) != len(sizes) or len(labels) != sum(sizes):
        raise ArgumentError(
            f"blocks: labels that do not fit given; {' and '.join(map(str, sizes))} are needed, "
            "one for each observation that is kept"
        )
    texts = np.array([repr(label) for label in labels])
    return np.unique(texts, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _design(data: Data, kind: str, codes: NDArray[np.int64] | None) -> _Design:
    """Return the design of checked data."""
    samples = data.samples
    shapes = ", ".join(str(sample.shape) for sample in samples)
    n_samples = {"independent": 2, "signs": 1, "pairs": 2}[kind]
    if kind == "pairs" and len(samples) == 1 and samples[0].shape[1:] == (2,):
        samples = (samples[0][:, 0], samples[0][:, 1])
    widths = {sample.reshape(len(sample), -1).shape[1] for sample in samples}
    good = len(samples) == n_samples and all(sample.ndim <= 2 for sample in samples)
    if not good or (kind == "independent" and len(widths) > 1):
        raise ArgumentError(
            f"x: samples of shapes {shapes} given for kind={kind!r}; it takes "
            + {"independent": "two samples of shape (n,) or (n, k)", "signs": "one sample",
               "pairs": "pairs (x, y)"}[kind]
        )  # fmt: skip
    if kind == "pairs" and samples[0].ndim > 1:
        raise ArgumentError(f"x: shapes {shapes} given; the first of the pairs must be (n,)")
    tables = [np.ascontiguousarray(sample.reshape(len(sample), -1)) for sample in samples]
    y = tables[-1] if kind != "independent" else np.concatenate(tables)
    n = len(y)
    order = np.arange(n) if codes is None else np.argsort(codes, kind="stable")
    counts = np.array([n]) if codes is None else np.bincount(codes)
    edges = np.cumsum([0, *counts])
    first = len(tables[0]) if kind == "independent" else 0
    firsts = [int((order[a:b] < first).sum()) for a, b in itertools.pairwise(edges)]
    other = samples[0][order] if kind == "pairs" else None
    core = {"independent": "groups", "signs": "signs", "pairs": "pairs"}[kind]
    return _Design(kind, (core, edges.tolist(), firsts, other), y[order], first)


def _ordinary(design: _Design) -> tuple[_Design, Any]:
    """Return the design of data in their own unit, and the exponents of the columns."""
    kind, blocks, firsts, other = design.core
    unit = exponents(design.y, 0) if design.y.shape[1] > 1 else exponents(design.y)
    of_other = 0 if other is None else exponents(other)
    if is_ordinary(unit) and not of_other:
        return design, unit
    if other is not None:
        other = scaled(other, of_other)
    return design._replace(core=(kind, blocks, firsts, other), y=scaled(design.y, unit)), unit


def _of_column(
    design: _Design,
    name: str,
    side: str,
    draws: Draws,
    known: bool | None,
) -> dict[str, Any] | Replicates:
    """Return the fields of a test of one column by a named statistic."""
    problem = laws.problem_of(design.kind, name, design.core, design.y[:, 0], design.first)
    found = None if known is False else laws.exact_tails(problem, design.plain)
    if found is not None:
        draws.require_drawn()
        logs = {"less": found.log_lower, "greater": found.log_upper}
        log_p = logs.get(side, min(found.log_lower, found.log_upper) + math.log(2))
        log_p = min(log_p, 0.0)
        p = _round_trip(found, side)
        return {
            "statistic": problem.shown,
            "pvalue": p,
            "pvalue_lower": p,
            "pvalue_upper": p,
            "log_pvalue": log_p,
            "exact": True,
            "method": found.method,
            "n_resamples": 0,
            "pvalue_adjusted": None,
            "null": np.empty(0),
        }
    if known:
        raise ArgumentError(
            "exact: True given, but the exact law of this test is not known or too large; leave "
            "exact= out to sample"
        )
    rows = draws.rows(Sums(design.core, problem.x, [problem.y], draws.key))
    if isinstance(rows, Replicates):
        return rows
    n, sums = draws.n, np.ascontiguousarray(rows[:, 0])
    upper = int((sums >= problem.observed - problem.near).sum())
    lower = int((sums <= problem.observed + problem.near).sum())
    return _sampled(problem.shown, upper, lower, side, n, problem.show(sums))


def _round_trip(found: laws.LogTails, side: str) -> float:
    if side == "less":
        return found.lower
    if side == "greater":
        return found.upper
    return min(2 * min(found.lower, found.upper), 1.0)


def _sampled(
    statistic: Any, upper: Any, lower: Any, side: str, n: int, null: Array
) -> dict[str, Any]:
    """Return the fields of a sampled test from the counts of both tails."""
    upper, lower = np.asarray(upper, float), np.asarray(lower, float)
    count = {"greater": upper, "less": lower}.get(side, np.minimum(upper, lower))
    double = 2.0 if side == "two-sided" else 1.0
    p = np.minimum(double * (count + 1) / (n + 1), 1.0)
    low, high = clopper_pearson(count, n, (1 - _LIMITS) / 2)
    one: Callable[[Any], Any] = (lambda a: float(a)) if p.ndim == 0 else np.asarray
    return {
        "statistic": statistic,
        "pvalue": one(p),
        "pvalue_lower": one(np.minimum(double * low, 1.0)),
        "pvalue_upper": one(np.minimum(double * high, 1.0)),
        "log_pvalue": one(np.log(p)),
        "exact": False,
        "method": "sampled",
        "n_resamples": n,
        "pvalue_adjusted": None,
        "null": null,
    }


def _of_columns(
    design: _Design,
    name: str,
    side: str,
    standardised: bool,
    adjusted: bool,
    draws: Draws,
    known: bool | None,
) -> dict[str, Any] | Replicates:
    """Return the fields of a test of several columns, or of studentised means."""
    if known:
        raise ArgumentError("exact: True given with several columns; they are sampled")
    if standardised and design.kind == "independent":
        return _welch(design, side, adjusted, draws)
    problems = [
        laws.problem_of(design.kind, name, design.core, column, design.first)
        for column in design.y.T
    ]
    y = np.stack([problem.y for problem in problems], axis=1)
    if y.shape[0] != design.core[1][-1]:
        raise ArgumentError("statistic: 'rank' of several columns of signs with zeros is not known")
    squares = np.empty(0)
    shifts = np.array([problem.centre for problem in problems])
    if design.kind == "signs":
        # |Σ ±d| is converted to a t statistic, an increasing function of it.
        total = (y**2).sum(0)
        scales = np.full(y.shape[1], 1 / math.sqrt(len(y)))
        squares = total
    else:
        with np.errstate(divide="ignore"):
            scales = 1 / np.array([problem.sd for problem in problems])
        scales[~np.isfinite(scales)] = 0.0
    observed = np.array([problem.observed for problem in problems])
    t = (observed - shifts) * scales
    if squares.size:
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(squares > 0, t / np.sqrt(np.maximum(squares - t * t, 0.0)), 0.0)
    sign = -1.0 if side == "less" else 1.0
    size = np.abs(t) if side == "two-sided" else sign * t
    order = np.argsort(size, kind="stable")
    kind, blocks, firsts, _ = design.core
    arguments = (
        kind,
        blocks,
        firsts,
        problems[0].x,
        np.ascontiguousarray((sign * y)[:, order]).ravel(),
        np.ascontiguousarray(size[order]),
        np.ascontiguousarray((sign * shifts)[order]),
        np.ascontiguousarray(scales[order]),
        np.ascontiguousarray(squares[order]) if squares.size else squares,
        side == "two-sided",
        1e-9,
    )
    raw = exceedances(draws, arguments)
    return _of_counts(np.array([p.shown for p in problems]), raw, order, side, draws.n, adjusted)


def _of_counts(
    shown: Array, raw: Any, order: NDArray[np.int64], side: str, n: int, adjusted: bool
) -> dict[str, Any]:
    at_least, _, largest, maxima = raw
    back = np.argsort(order, kind="stable")
    # Absolute values of two-sided statistics are counted, so one count has both tails.
    fields = _sampled(shown, at_least[back], at_least[back], "greater", n, np.empty(0))
    if adjusted:
        # A column further down the order cannot have a smaller p-value than those above it.
        steps = (largest.astype(float) + 1) / (n + 1)
        falling = np.maximum.accumulate(steps[::-1])[::-1]
        fields["pvalue_adjusted"] = np.minimum(falling, 1.0)[back]
        fields["null"] = maxima
    if shown.size == 1:
        for field in ("statistic", "pvalue", "pvalue_lower", "pvalue_upper", "log_pvalue"):
            fields[field] = float(np.asarray(fields[field]).reshape(-1)[0])
    return fields


def _welch(
    design: _Design,
    side: str,
    adjusted: bool,
    draws: Draws,
) -> dict[str, Any] | Replicates:
    """Return the fields of a test by Welch's t statistic of each permutation."""
    if design.y.shape[1] > 1 or adjusted:
        raise ArgumentError(
            "studentise: True given for two samples with several columns; one column is needed"
        )
    _, blocks, firsts, _ = design.core
    y, m = design.y[:, 0] - design.y.mean(), design.first
    rest = len(y) - m
    rows = draws.rows(Sums(design.core, None, [y, y * y], draws.key))
    if isinstance(rows, Replicates):
        return rows
    n, (sums, squares) = draws.n, np.ascontiguousarray(rows.T)

    def t_of(s: Any, q: Any) -> Any:
        a, b = s / m, (y.sum() - s) / rest
        va = np.maximum(q - m * a * a, 0) / (m - 1) / m
        vb = np.maximum(y @ y - q - rest * b * b, 0) / (rest - 1) / rest
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(a == b, 0.0, (a - b) / np.sqrt(va + vb))

    chosen = np.zeros(len(y), bool)
    at = 0
    for (a, b), first in zip(itertools.pairwise(blocks), firsts, strict=True):
        chosen[a : a + first] = True
        at = b
    assert at == len(y)
    observed = float(t_of(y[chosen].sum(), (y[chosen] ** 2).sum()))
    null = np.asarray(t_of(sums, squares))
    near = 1e-9 * max(abs(observed), 1e-300)
    upper, lower = int((null >= observed - near).sum()), int((null <= observed + near).sum())
    return _sampled(observed, upper, lower, side, n, null)


def _of_function(
    f: Callable[..., Any],
    design: _Design,
    side: str,
    rows: int | None,
    draws: Draws,
    known: bool | None,
) -> dict[str, Any] | Replicates:
    """Return the fields of a test by a callable statistic."""
    if known:
        raise ArgumentError("exact: True given with a callable; those are sampled")
    y = design.y[:, 0]
    batch = rows or max(1, min(4096, 2**20 // len(y)))
    work = Called(f, design.core, y, design.first, batch, draws.key)
    observed = work.observed()
    # Batches of a given size are those of a local call.
    found = draws.rows(work, 1 if rows is None else rows)
    if isinstance(found, Replicates):
        return found
    n, null = draws.n, np.ascontiguousarray(found[:, 0])
    near = _SAME * max(abs(observed), float(np.abs(null).max()))
    upper, lower = int((null >= observed - near).sum()), int((null <= observed + near).sum())
    fields = _sampled(observed, upper, lower, side, n, null)
    return {**fields, "n_evals": n + 1}
