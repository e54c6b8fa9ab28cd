"""Audits in one run: lower bounds on epsilon from guesses about canaries in the data."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.validate import choice, columns, numbers, require, taken, unwrapped
from fermiac.errors import ArgumentError
from fermiac.privacy.checks import Array, at_least_zero, fraction, provenance, whole_counts
from fermiac.privacy.trade_off import TradeOff
from fermiac.results.result import Result
from fermiac.runs.executor import rows_by

if TYPE_CHECKING:
    from fermiac.runs.executor import ExecutorLike

__all__ = ["OneRunAudit", "audit_one_run", "audit_one_run_scores", "guesses_from_scores"]

#: The methods, and the most guesses of each, which take about a second.
Method: TypeAlias = Literal["binomial", "f-dp"]
_METHODS = {"binomial": 1e12, "f-dp": 1e7}


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class OneRunAudit(Result):
    """The result of an audit in one run; see `audit_one_run`.

    Attributes
    ----------
    epsilon_lower : float or numpy.ndarray
        The lower bound on epsilon: claims below it are rejected at level `alpha`.
    mu_lower : float or numpy.ndarray
        For the method ``"f-dp"`` the lower bound on mu of Gaussian differential privacy; else NaN.
    n_canaries, n_guesses, n_correct : int or numpy.ndarray
        The counts.
    delta, alpha : float or numpy.ndarray
        The arguments; with several simultaneous tests, `alpha` is the level of each.
    method : str
        ``"binomial"`` or ``"f-dp"``.

    Examples
    --------
    >>> import fermiac as fm
    >>> audit = fm.privacy.audit_one_run(1000, 100, 95, delta=1e-5)
    >>> audit
    OneRunAudit: epsilon >= 2.16518 at delta 1e-05, confidence 0.95 (binomial)
      95 of 100 guesses right, 1000 canaries
    """

    epsilon_lower: Any
    mu_lower: Any
    n_canaries: Any
    n_guesses: Any
    n_correct: Any
    delta: Any
    alpha: Any
    method: str

    _layout: ClassVar[fit.Layout] = {
        "settings": fit.record({"alpha": fit.figures()}),
        "epsilon_lower": fit.figures("*shape"),
        "mu_lower": fit.figures("*shape"),
        "n_canaries": fit.figures(),
        "n_guesses": fit.figures(),
        "n_correct": fit.figures(),
        "delta": fit.figures(),
        "alpha": fit.figures(),
        "method": fit.text(),
    }

    def p_value(self, claim: ArrayLike | TradeOff) -> Any:
        """Return the largest probability of at least as many correct guesses under a claim.

        Parameters
        ----------
        claim : array_like or TradeOff
            The claimed epsilon at `delta`, nonnegative, which broadcasts with the fields; or a
            trade-off curve. The `TradeOff.symmetric` form of a curve is tested with the recursion
            for curves, for both methods.

        Returns
        -------
        float or numpy.ndarray
            The p-value, from 0 to 1. The claim is rejected at every level above it.

        Raises
        ------
        ArgumentError
            If `claim` is negative, NaN or not a number, or its shape does not broadcast.

        Examples
        --------
        >>> import fermiac as fm
        >>> audit = fm.privacy.audit_one_run(1000, 100, 95, delta=1e-5)
        >>> bool(audit.p_value(2.0) < 0.05 < audit.p_value(2.5))
        True
        >>> bool(audit.p_value(fm.privacy.TradeOff.from_gdp(0.7)) < 0.05)
        True
        """
        fields = {k: np.asarray(getattr(self, k), np.float64) for k in (*_COUNTS, "delta")}
        if isinstance(claim, TradeOff):
            curve = claim.symmetric()
            flat, shape, n = columns("p_value", **fields, claim=np.zeros(()))
            values = _core.privacy_one_run_curve_p_values(
                curve.fpr, curve.fnr, flat, n, resolve_threads(None)
            )
            return unwrapped(values.reshape(shape))
        x = at_least_zero("claim", claim)
        flat, shape, n = columns("p_value", **fields, claim=x)
        values = _core.privacy_one_run_p_values(self.method, flat, n, resolve_threads(None))
        return unwrapped(values.reshape(shape))

    def _headline(self) -> str:
        bounds = np.asarray(self.epsilon_lower)
        if bounds.ndim:
            span = f"from {bounds.min():.6g} to {bounds.max():.6g}" if bounds.size else "none"
            return f"OneRunAudit: {bounds.size} lower bounds on epsilon, {span} ({self.method})"
        confidence = 1 - self.settings["alpha"]
        return (
            f"OneRunAudit: epsilon >= {self.epsilon_lower:.6g} at delta {self.delta:g}, "
            f"confidence {confidence:g} ({self.method})"
        )

    def __repr__(self) -> str:
        if np.ndim(self.epsilon_lower):
            return self._first_line()
        return (
            f"{self._first_line()}\n  {self.n_correct} of {self.n_guesses} guesses right, "
            f"{self.n_canaries} canaries"
        )


_COUNTS = ("n_canaries", "n_guesses", "n_correct")


@public
def audit_one_run(
    n_canaries: ArrayLike,
    n_guesses: ArrayLike,
    n_correct: ArrayLike,
    *,
    delta: ArrayLike = 0.0,
    alpha: ArrayLike = 0.05,
    method: Method = "binomial",
    plan: PlanLike | None = None,
) -> OneRunAudit:
    r"""Return a lower bound on epsilon from one training run with canaries.

    Each of m canaries is put into the training data with probability ½, independently. From the
    trained model an auditor guesses for r freely chosen canaries whether they were included, and v
    of the guesses are correct. If training is (epsilon, delta)-differentially private, then by [1]_

    .. math:: P(V \ge v) \le P(W \ge v) + 2 m \delta \max_{1 \le i \le v}
              \frac{P(v > W \ge v - i)}{i}, \qquad
              W \sim \mathrm{Bin}\bigl(r, 1 / (1 + e^{-\varepsilon})\bigr).

    The bound is the largest epsilon for which this is below `alpha`.

    Parameters
    ----------
    n_canaries : array_like of whole numbers
        m, at least 1. All canaries count, including those without a guess.
    n_guesses : array_like of whole numbers
        r, from 0 to m, and at most 1e12, or 1e7 for ``"f-dp"``. It must not depend on which
        canaries were included; `audit_one_run_scores` corrects for a choice among several values.
    n_correct : array_like of whole numbers
        v, from 0 to r.
    delta : array_like, default 0
        In [0, 1); above 0 for ``"f-dp"``.
    alpha : array_like, default 0.05
        The probability that the bound is too high, in (0, 1). All arrays broadcast.
    method : {"binomial", "f-dp"}, default "binomial"
        The theorem above; or the recursion of [2]_ for trade-off curves, with the curve of Gaussian
        differential privacy that has `delta` at epsilon. The second method bounds mu, and
        `gdp_epsilon` converts this to a bound on epsilon. It is often much higher, but assumes that
        the curve is Gaussian.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``); see `fermiac.Plan`.

    Returns
    -------
    OneRunAudit
        ``epsilon_lower``, ``mu_lower``, and the method ``p_value(epsilon)``; numbers for numbers,
        arrays for arrays.

    Raises
    ------
    ArgumentError
        For counts that are not whole, or not v <= r <= m; another argument outside its domain;
        booleans, text or NaN; shapes that do not broadcast.

    Notes
    -----
    Without delta the bound is the logit of a quantile of the beta law. The term of delta is
    computed in one pass down from v - 1, in a time of the order of the standard deviation of W. The
    recursion takes at most v steps for each of about ten trial values of mu. At a fixed share of
    correct guesses its bound stops growing with their number, so a few confident guesses are best.

    References
    ----------
    .. [1] T. Steinke, M. Nasr, M. Jagielski, "Privacy auditing with one (1) training run", NeurIPS
       2023, arXiv:2305.08846.
    .. [2] S. Mahloujifar, L. Melis, K. Chaudhuri, "Auditing f-differential privacy in one run",
       2024, arXiv:2410.22235.

    Examples
    --------
    >>> import fermiac as fm
    >>> round(fm.privacy.audit_one_run(1000, 100, 95, delta=1e-5).epsilon_lower, 8)
    2.1651758
    >>> fm.privacy.audit_one_run(1000, 100, [80, 90, 100]).epsilon_lower.round(4).tolist()
    [0.9584, 1.6308, 3.493]
    >>> fm.privacy.audit_one_run(1000, 100, 95, delta=1e-5, method="f-dp")
    OneRunAudit: epsilon >= 3.3233 at delta 1e-05, confidence 0.95 (f-dp)
      95 of 100 guesses right, 1000 canaries
    """
    where = plan_of(plan, "executor")
    return _audit(
        n_canaries,
        n_guesses,
        n_correct,
        delta,
        alpha,
        method,
        where.n_threads,
        executor=where.executor,
    )


class _Bounds:
    """The bounds of some rows, as the work of a shard."""

    def __init__(self, method: str) -> None:
        self._target = method

    def __call__(self, flat: list[Array], n: int) -> Array:
        """Return epsilon and mu of each row."""
        # Arrays in the messages of some engines are not aligned.
        aligned = [np.require(column, np.float64, ["C", "A"]) for column in flat]
        bounds = _core.privacy_one_run_bounds(self._target, aligned, n, 1)
        return np.stack(bounds, axis=1)


def _audit(
    n_canaries: ArrayLike,
    n_guesses: ArrayLike,
    n_correct: ArrayLike,
    delta: ArrayLike,
    alpha: ArrayLike,
    method: str,
    n_threads: int | None,
    n_tests: int = 1,
    executor: ExecutorLike | None = None,
) -> OneRunAudit:
    start = time.perf_counter()
    method = choice("method", method, tuple(_METHODS))
    threads = resolve_threads(n_threads)
    m, r, v = (
        whole_counts(name, given)
        for name, given in zip(_COUNTS, (n_canaries, n_guesses, n_correct), strict=True)
    )
    d, a = fraction("delta", delta, zero=True), fraction("alpha", alpha)
    require("n_canaries", m, m >= 1, "at least one canary is needed")
    most = _METHODS[method]
    require("n_guesses", r, r <= most, f"{most:g} at most are needed for {method!r}")
    if method == "f-dp":
        needed = "delta > 0 is needed for 'f-dp': a Gaussian trade-off has no epsilon at delta 0"
        require("delta", d, d > 0, needed)
    flat, shape, n = columns(
        "audit_one_run", n_canaries=m, n_guesses=r, n_correct=v, delta=d, alpha=a / n_tests
    )
    for low, high in ((1, 0), (2, 1)):
        bad = flat[low] > flat[high]
        if bad.any():
            i = int(np.argmax(bad))
            few, many = (flat[k][i if len(flat[k]) > 1 else 0] for k in (low, high))
            raise ArgumentError(
                f"{_COUNTS[low]}: {few:g} was given, more than {_COUNTS[high]} = {many:g}"
            )
    if executor is None:
        epsilon, mu = _core.privacy_one_run_bounds(method, flat, n, threads)
    else:
        epsilon, mu = rows_by(_Bounds(method), flat, n, 2, executor, None).reshape(n, 2).T.copy()
    counts = {
        name: unwrapped(array.astype(np.int64))
        for name, array in zip(_COUNTS, (m, r, v), strict=True)
    }
    settings = {"method": method, "alpha": unwrapped(a), "n_tests": n_tests}
    return OneRunAudit(
        **provenance(settings, time.perf_counter() - start),
        epsilon_lower=unwrapped(epsilon.reshape(shape)),
        mu_lower=unwrapped(mu.reshape(shape)),
        **counts,
        delta=unwrapped(d),
        alpha=unwrapped(a / n_tests),
        method=method,
    )


@public
def guesses_from_scores(
    scores: ArrayLike, included: ArrayLike, n_high: ArrayLike, n_low: ArrayLike = 0
) -> tuple[Any, Any]:
    """Return the numbers of guesses and of correct guesses, from the extreme scores.

    Parameters
    ----------
    scores : array_like, shape (m,)
        A score for each canary, high for canaries that seem to be included; infinite scores are
        allowed. The canaries with the highest scores are guessed to be included, those with the
        lowest to be excluded. Among equal scores at the edge of the guesses, wrong guesses are
        taken first. The counts then do not depend on the order of the scores, and ties cannot make
        a bound too high.
    included : array_like of bool, shape (m,)
        Whether each canary was included.
    n_high : array_like of whole numbers
        The number of highest scores that are guessed to be included.
    n_low : array_like of whole numbers, default 0
        The number of lowest scores that are guessed to be excluded; it broadcasts with `n_high`.

    Returns
    -------
    n_guesses, n_correct : int or numpy.ndarray of int64
        For `audit_one_run`, together with m.

    Raises
    ------
    ArgumentError
        If the scores are empty, NaN, or not as many as `included`; if `included` is not boolean;
        if the numbers of guesses are not whole, or their sum exceeds m.

    Examples
    --------
    >>> import fermiac as fm
    >>> scores, included = [0.9, 0.1, 0.7, 0.4], [True, False, False, True]
    >>> fm.privacy.guesses_from_scores(scores, included, 2, 1)
    (3, 2)
    """
    x = numbers("scores", scores)
    if x.ndim != 1 or x.size == 0:
        raise ArgumentError(f"scores: shape {x.shape} was given; (m,) with m > 0 is needed")
    inside = taken("included", included)
    if inside.dtype != np.bool_ or inside.shape != x.shape:
        raise ArgumentError(
            f"included: an array of {inside.dtype} of shape {inside.shape} was given; booleans of "
            f"shape {x.shape} are needed, one for each score"
        )
    high, low = whole_counts("n_high", n_high), whole_counts("n_low", n_low)
    flat, shape, _ = columns("guesses_from_scores", n_high=high, n_low=low)
    guesses = flat[0] + flat[1]
    require("n_high + n_low", guesses, guesses <= len(x), f"there are only {len(x)} canaries")
    # Ties are counted as wrong guesses first.
    right_high = np.concatenate([[0], np.cumsum(inside[_ordered(-x, inside)])])
    right_low = np.concatenate([[0], np.cumsum(~inside[_ordered(x, ~inside)])])
    right = right_high[flat[0].astype(np.int64)] + right_low[flat[1].astype(np.int64)]
    return (
        unwrapped(guesses.astype(np.int64).reshape(shape)),
        unwrapped(right.astype(np.int64).reshape(shape)),
    )


def _ordered(x: NDArray[np.float64], is_right: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the positions by increasing value; among equal values wrong guesses come first."""
    wrong_first = np.concatenate([np.flatnonzero(~is_right), np.flatnonzero(is_right)])
    return wrong_first[_core.sorted_indices(x[wrong_first])]


@public
def audit_one_run_scores(
    scores: ArrayLike,
    included: ArrayLike,
    n_high: ArrayLike,
    n_low: ArrayLike = 0,
    *,
    delta: float = 0.0,
    alpha: float = 0.05,
    method: Method = "binomial",
    plan: PlanLike | None = None,
) -> OneRunAudit:
    """Audit in one run from scores, with the best of several numbers of guesses.

    Every pair of `n_high` and `n_low` is a test at level `alpha` divided by the number of pairs.
    The largest bound is therefore too high with probability at most `alpha`.

    Parameters
    ----------
    scores, included, n_high, n_low
        As in `guesses_from_scores`. The pairs must be fixed before the scores are known.
    delta, alpha : float
        As in `audit_one_run`.
    method
        As in `audit_one_run`; the rows of workers are pairs.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``); see `fermiac.Plan`.

    Returns
    -------
    OneRunAudit
        The audit of the pair with the largest bound; ``alpha`` is the level of one test,
        ``settings["n_tests"]`` their number.

    Raises
    ------
    ArgumentError
        As for `guesses_from_scores` and `audit_one_run`.

    References
    ----------
    .. [1] T. Steinke, M. Nasr, M. Jagielski, "Privacy auditing with one (1) training run", NeurIPS,
       2023, arXiv:2305.08846.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> rng = np.random.default_rng(0)
    >>> included = rng.random(1000) < 0.5
    >>> scores = rng.normal(2.0 * included)
    >>> audit = fm.privacy.audit_one_run_scores(scores, included, [50, 100, 200], 100)
    >>> audit.n_guesses, audit.settings["n_tests"]
    (200, 3)
    """
    where = plan_of(plan, "executor")
    guesses, right = guesses_from_scores(scores, included, n_high, n_low)
    m, n_tests = np.size(scores), np.size(guesses)
    if n_tests == 0:
        raise ArgumentError("n_high, n_low: no pairs were given; at least one is needed")
    for name, value in (("delta", delta), ("alpha", alpha)):
        if taken(name, value).ndim:
            raise ArgumentError(f"{name}: an array was given; a number is needed")
    r, v = np.ravel(guesses), np.ravel(right)
    all_of = _audit(m, r, v, delta, alpha, method, where.n_threads, n_tests, where.executor)
    best = int(np.argmax(all_of.epsilon_lower))
    return _audit(m, int(r[best]), int(v[best]), delta, alpha, method, where.n_threads, n_tests)
