"""Frequentist intervals of epsilon, and the lower bound of Gaussian differential privacy."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from fermiac import _core, special
from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.plan import PlanLike, alone, plan_of
from fermiac._base.validate import choice, columns, unwrapped
from fermiac.privacy.checks import Array, Layout, confusion_counts, fraction, provenance
from fermiac.privacy.gaussian import gdp_epsilon
from fermiac.privacy.posterior import epsilon_posterior
from fermiac.privacy.rates import DIRECTIONS, Direction
from fermiac.results.result import Result
from fermiac.runs.executor import rows_by

if TYPE_CHECKING:
    from fermiac.runs.executor import ExecutorLike

__all__ = ["METHODS", "EpsilonInterval", "GdpBound", "epsilon_interval", "gdp_bound", "limits"]

Method: TypeAlias = Literal["clopper-pearson", "jeffreys", "katz-log", "bayes"]
METHODS: tuple[str, ...] = get_args(Method)
Kind: TypeAlias = Literal["two-sided", "lower", "upper"]
_KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class EpsilonInterval(Result):
    """Intervals of epsilon.

    Attributes
    ----------
    epsilon_lower : float or ndarray
        The lower ends; 0 if only the upper ends were requested.
    epsilon_upper : float or ndarray
        The upper ends; +inf if only the lower ends were requested, or the counts allow no bound.
    prob : float or ndarray
        The probability of the interval.
    kind, method, direction : str
        The arguments of the call.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.privacy.epsilon_interval(40, 10, 10, 40)
    EpsilonInterval: 0.675873 to 2.19387 (two-sided 90 %, clopper-pearson)
    """

    epsilon_lower: float | Array
    epsilon_upper: float | Array
    prob: float | Array
    kind: str
    method: str
    direction: str

    _layout: ClassVar[fit.Layout] = {
        "epsilon_lower": fit.figures("*shape"),
        "epsilon_upper": fit.figures("*shape"),
        "prob": fit.figures(),
        "kind": fit.text(),
        "method": fit.text(),
        "direction": fit.text(),
    }

    def _headline(self) -> str:
        how = f"{self.kind} {_percent(self.prob)}, {self.method}"
        if np.ndim(self.epsilon_lower):
            least, most = (
                (np.min(self.epsilon_lower), np.max(self.epsilon_upper))
                if np.size(self.epsilon_lower)
                else (0, 0)
            )
            ends = f"{np.size(self.epsilon_lower)} intervals within {least:.6g} to {most:.6g}"
        else:
            ends = f"{self.epsilon_lower:.6g} to {self.epsilon_upper:.6g}"
        return f"EpsilonInterval: {ends} ({how})"


def _percent(prob: float | Array) -> str:
    return f"{100 * prob:.6g} %" if np.ndim(prob) == 0 else "various"


@public
def epsilon_interval(
    tp: ArrayLike | None = None,
    fp: ArrayLike | None = None,
    fn: ArrayLike | None = None,
    tn: ArrayLike | None = None,
    *,
    table: ArrayLike | None = None,
    layout: Layout | None = None,
    delta: ArrayLike = 0.0,
    prob: ArrayLike = 0.9,
    kind: Kind = "two-sided",
    method: Method = "clopper-pearson",
    direction: Direction = "both",
    plan: PlanLike | None = None,
) -> EpsilonInterval:
    r"""Return confidence intervals of epsilon from the counts of an attack.

    A box of limits of both error rates has the required probability. The ends are the smallest and
    the largest epsilon in the box (see `epsilon_of_rates`). The epsilon of the attack decreases in
    both rates and that of the flipped attack increases, so both ends lie at corners of the box. If
    the box contains rates with an epsilon of 0, the interval begins at 0. All arguments broadcast.

    Parameters
    ----------
    tp, fp, fn, tn : array_like
        True positives, false positives, false negatives, true negatives: numbers of at least 0,
        which need not be whole. This is not the order of scikit-learn, whose
        ``confusion_matrix(truth, answer).ravel()`` is (tn, fp, fn, tp): give its table by
        ``table=``, or the counts by keyword.
    table : array_like, shape (..., 2, 2), optional
        The counts as a table, instead of single counts; needs `layout`.
    layout : {"sklearn", "members-first"}, optional
        The cells of `table`: ``[[tn, fp], [fn, tp]]``, or ``[[tp, fn], [fp, tn]]``.
    delta : array_like, default 0
        In [0, 1).
    prob : array_like, default 0.9
        The probability of an interval, in (0, 1).
    kind : {"two-sided", "lower", "upper"}, default "two-sided"
        Two-sided limits leave a probability of (1 - prob) / 4 beyond each end of each rate,
        one-sided limits leave (1 - prob) / 2.
    method : {"clopper-pearson", "jeffreys", "katz-log", "bayes"}, default "clopper-pearson"
        ``"clopper-pearson"``: limits of the rates with guaranteed coverage for every rate and size.
        ``"jeffreys"``: quantiles of their posteriors under Jeffreys' prior, with correct coverage
        on average. ``"katz-log"``: no box, but the delta method on the logarithm of the ratio that
        is the largest at the observed rates. It is valid only for large counts; if a count is 0,
        the interval is 0 to +inf. ``"bayes"``: quantiles of the posterior of epsilon itself under
        Jeffreys' prior; see `epsilon_posterior`.
    direction : {"both", "attack", "forward", "reverse"}, default "both"
        The ratios that count; see `epsilon_of_rates`.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``); see `fermiac.Plan`.

    Returns
    -------
    EpsilonInterval
        ``lower`` and ``upper`` with the broadcast shape of the arguments. Without members or
        without non-members they are 0 and +inf.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or the shapes do not broadcast.

    Notes
    -----
    A Clopper-Pearson interval has a coverage of at least `prob`, by the union bound over its
    limits. The exception is a lower bound with ``direction="both"``: it needs four limits, and the
    union bound covers two. In an enumeration of all outcomes for some pairs of sizes, its failure
    probability was at most 0.6 of the allowed one. If you need a proven bound, fix the direction
    beforehand with ``"attack"``.

    References
    ----------
    .. [1] C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in
       the case of the binomial", Biometrika, 1934, doi:10.1093/biomet/26.4.404.
    .. [2] D. Katz, J. Baptista, S. P. Azen, M. C. Pike, "Obtaining confidence intervals for the
       risk ratio in cohort studies", Biometrics, 1978, doi:10.2307/2530610.
    .. [3] S. Zanella-Béguelin et al., "Bayesian estimation of differential privacy", ICML, 2023,
       arXiv:2206.05199.

    Examples
    --------
    >>> import fermiac as fm
    >>> i = fm.privacy.epsilon_interval(400, 100, 100, 400, delta=1e-5)
    >>> round(i.epsilon_lower, 6), round(i.epsilon_upper, 6)
    (1.164811, 1.615678)
    >>> many = fm.privacy.epsilon_interval(
    ...     [40, 400], [10, 100], [10, 100], [40, 400], kind="lower"
    ... )
    >>> many.epsilon_lower.round(4)
    array([0.7741, 1.1986])
    """
    where = plan_of(plan, "executor")
    began = time.perf_counter()
    kind = choice("kind", kind, _KINDS)
    method = choice("method", method, METHODS)
    direction = choice("direction", direction, DIRECTIONS)
    of_delta, of_prob = fraction("delta", delta, zero=True), fraction("prob", prob)
    cells = confusion_counts((tp, fp, fn, tn), table, layout)
    if method == "bayes":
        posterior = epsilon_posterior(
            *cells,
            delta=of_delta,
            direction=direction,
            plan=alone(executor=where.executor, n_threads=where.n_threads),
        )
        lower, upper = posterior.interval(of_prob, kind="equal" if kind == "two-sided" else kind)
    else:
        lower, upper = limits(
            cells,
            delta=of_delta,
            alpha=1.0 - of_prob,
            sides=(kind != "upper", kind != "lower"),
            method=method,
            direction=direction,
            executor=where.executor,
            n_threads=where.n_threads,
        )
    settings = {
        "delta": unwrapped(of_delta),
        "prob": unwrapped(of_prob),
        "kind": kind,
        "method": method,
    }
    return EpsilonInterval(
        epsilon_lower=lower,
        epsilon_upper=upper,
        prob=unwrapped(of_prob),
        kind=kind,
        method=method,
        direction=direction,
        **provenance(settings | {"direction": direction}, time.perf_counter() - began),
    )


class _Limits:
    """The ends of intervals of some rows, as the work of a shard."""

    def __init__(self, method: str, direction: str, sides: tuple[bool, bool]) -> None:
        self._target = (method, direction, sides)

    def __call__(self, flat: list[Array], n: int) -> Array:
        """Return the lower and the upper end of each row."""
        # Arrays in the messages of some engines are not aligned.
        aligned = [np.require(column, np.float64, ["C", "A"]) for column in flat]
        return np.stack(_core.privacy_intervals(*self._target, aligned, n, 1), axis=1)


def limits(
    table: tuple[Array, Array, Array, Array],
    *,
    delta: Array,
    alpha: Array,
    sides: tuple[bool, bool],
    method: str,
    direction: str,
    executor: ExecutorLike | None = None,
    n_threads: int | None = None,
) -> tuple[Any, Any]:
    """Return the ends of intervals that fail with probability at most `alpha`."""
    parts = sum(sides) * (1 if method == "katz-log" else 2)
    tp, fp, fn, tn = table
    tail = np.asarray(alpha / parts)
    flat, shape, n = columns("counts", tp=tp, fp=fp, fn=fn, tn=tn, delta=delta, alpha=tail)
    threads = resolve_threads(n_threads)
    if executor is None:
        lower, upper = _core.privacy_intervals(method, direction, sides, flat, n, threads)
    else:
        work = _Limits(method, direction, sides)
        lower, upper = rows_by(work, flat, n, 2, executor, None).reshape(n, 2).T.copy()
    return unwrapped(lower.reshape(shape)), unwrapped(upper.reshape(shape))


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class GdpBound(Result):
    """Lower bounds of mu of Gaussian differential privacy, and of epsilon under it.

    Attributes
    ----------
    mu_lower : float or ndarray
        The lower bounds of mu, at least 0.
    epsilon_lower : float, ndarray or None
        The epsilon at `delta` of a mechanism with these mu; None if no delta was given.
    prob : float or ndarray
        The probability that a bound holds.
    delta : float, ndarray or None
        The delta of `epsilon_lower`.

    Examples
    --------
    >>> import fermiac as fm
    >>> round(fm.privacy.gdp_bound(400, 100, 100, 400).mu_lower, 4)
    1.4268
    """

    mu_lower: float | Array
    epsilon_lower: float | Array | None
    prob: float | Array
    delta: float | Array | None

    _layout: ClassVar[fit.Layout] = {
        "mu_lower": fit.figures("*shape"),
        "epsilon_lower": fit.maybe(fit.figures()),
        "prob": fit.figures(),
        "delta": fit.maybe(fit.figures()),
    }

    def _headline(self) -> str:
        if np.ndim(self.mu_lower):
            return f"GdpBound: {np.size(self.mu_lower)} lower bounds of mu"
        epsilon = ""
        if self.epsilon_lower is not None and isinstance(self.delta, float):
            epsilon = f", epsilon >= {self.epsilon_lower:.6g} at delta {self.delta:.3g}"
        return f"GdpBound: mu >= {self.mu_lower:.6g}{epsilon} ({_percent(self.prob)})"


@public
def gdp_bound(
    tp: ArrayLike | None = None,
    fp: ArrayLike | None = None,
    fn: ArrayLike | None = None,
    tn: ArrayLike | None = None,
    *,
    table: ArrayLike | None = None,
    layout: Layout | None = None,
    prob: ArrayLike = 0.95,
    delta: ArrayLike | None = None,
) -> GdpBound:
    r"""Return lower bounds of mu of Gaussian differential privacy from the counts of an attack.

    Let :math:`\bar x` and :math:`\bar y` be the upper Clopper-Pearson limits of the false-negative
    and the false-positive rate, each with the error probability (1 - prob) / 2. The bound is
    :math:`\max\{0, \Phi^{-1}(1 - \bar y) - \Phi^{-1}(\bar x)\}`.

    Parameters
    ----------
    tp, fp, fn, tn : array_like
        True positives, false positives, false negatives, true negatives: numbers of at least 0,
        which need not be whole. This is not the order of scikit-learn, whose
        ``confusion_matrix(truth, answer).ravel()`` is (tn, fp, fn, tp): give its table by
        ``table=``, or the counts by keyword.
    table : array_like, shape (..., 2, 2), optional
        The counts as a table, instead of single counts; needs `layout`.
    layout : {"sklearn", "members-first"}, optional
        The cells of `table`: ``[[tn, fp], [fn, tp]]``, or ``[[tp, fn], [fp, tn]]``.
    prob : array_like, default 0.95
        The probability that a bound holds, in (0, 1).
    delta : array_like, optional
        In (0, 1). If given, the bound of mu is converted to a bound of epsilon.

    Returns
    -------
    GdpBound
        The bounds, with the broadcast shape of the arguments.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or the shapes do not broadcast.

    Notes
    -----
    The bound of epsilon *extrapolates*: it assumes that the trade-off curve of the mechanism is
    Gaussian. At a small delta it is therefore larger than the counts alone would justify. The
    formula has no absolute value, which would report an inverted attack, or pure noise, as a loss
    of privacy.

    References
    ----------
    .. [1] M. Nasr et al., "Tight auditing of differentially private machine learning", USENIX
       Security, 2023, arXiv:2302.07956.
    .. [2] J. Dong, A. Roth, W. J. Su, "Gaussian differential privacy", Journal of the Royal
       Statistical Society B, 2022, arXiv:1905.02383.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.privacy.gdp_bound(250, 250, 250, 250).mu_lower
    0.0
    """
    began = time.perf_counter()
    of_prob = fraction("prob", prob)
    cells = confusion_counts((tp, fp, fn, tn), table, layout)
    flat, shape, n = columns(
        "counts",
        **dict(zip(("tp", "fp", "fn", "tn"), cells, strict=True)),
        tail=np.asarray((1.0 - of_prob) / 2),
    )
    hits, false_alarms, misses, rejections, tail = flat
    at = [
        special.ndtri(_above(errors, others, tail))
        for errors, others in ((misses, hits), (false_alarms, rejections))
    ]
    mu = np.broadcast_to(np.maximum(0.0, -(at[0] + at[1])), n)
    mu_lower = unwrapped(mu.reshape(shape))
    of_delta = None if delta is None else fraction("delta", delta)
    epsilon_lower = None
    if of_delta is not None:
        epsilon_lower = gdp_epsilon(of_delta, mu=mu_lower)
    return GdpBound(
        mu_lower=mu_lower,
        epsilon_lower=epsilon_lower,
        prob=unwrapped(of_prob),
        delta=None if of_delta is None else unwrapped(of_delta),
        **provenance({"prob": unwrapped(of_prob)}, time.perf_counter() - began),
    )


def _above(errors: Array, others: Array, tail: Array) -> Array:
    """Return the upper Clopper-Pearson limits of a rate."""
    some = np.where(others > 0, others, 1.0)
    limit = special.betainccinv(errors + 1.0, some, tail)
    return np.where(others > 0, limit, 1.0)
