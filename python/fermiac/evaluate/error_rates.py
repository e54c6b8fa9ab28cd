"""Error rates of learners from the losses of bootstrap resamples: out-of-bag, .632 and .632+."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.exponents import exponents, restored, scaled
from fermiac._base.validate import choice, numbers, probability, real, real_numbers, require
from fermiac.errors import ArgumentError, FermiacWarning, NumericalError
from fermiac.results.provenance import provenance
from fermiac.results.result import Finding, Result, warn
from fermiac.results.summary import Summary, of_figures

__all__ = ["ErrorMethod", "ErrorRate", "Tally", "error_from_losses", "error_rate", "findings"]

Array = NDArray[np.float64]
ErrorMethod: TypeAlias = Literal["632+", "632", "out-of-bag"]
METHODS: tuple[ErrorMethod, ...] = ("632+", "632", "out-of-bag")
#: The share of the examples that are in a large resample, and the share that it leaves out.
_IN, _OUT = 0.632, 0.368
#: The largest share of the noise of the resamples in the variance of the estimate.
_NOISY = 0.9
#: The number of errors, or of right answers, below which intervals are unreliable.
_FEW = 10
#: The relative overfitting rate above which .632 is too small.
_OVERFITTED = 0.25
#: .632+ is only a rule of thumb if the resubstitution error is below this share of the out-of-bag
#: error, or if the rule subtracts more than this number of standard errors.
_REMEMBERED, _TAKEN_OFF = 1 / 3, 1.0


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ErrorRate(Result):
    """The expected loss of a learner, by the bootstrap.

    Attributes
    ----------
    estimate : float
        The expected loss by `method`.
    stderr : float
        Its standard error by the infinitesimal jackknife, with the noise of the resamples
        subtracted.
    noise_share : float
        The share of the noise of the resamples in the squared standard error. If it is above 0.9,
        nothing was subtracted: the standard error is too large, and a warning says so.
    mc_error : float
        The Monte Carlo error of the estimate, which more resamples make smaller.
    method : str
        ``"632+"``, ``"632"`` or ``"out-of-bag"``.
    loss : str
        The name of the loss.
    resubstitution : float
        The mean loss of the model that was fitted to all examples, on the same examples.
    out_of_bag : float
        The mean over all examples of their mean loss under resamples that leave them out.
    no_information : float
        The mean loss if truths and predictions are paired at random.
    overfitting : float
        The relative overfitting rate, from 0 to 1.
    losses : ndarray, shape (n,)
        The mean out-of-bag loss of each example; NaN if no resample left it out.
    n_resamples : int
        The number of resamples.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> x = fm.random.Stream(0).normal((100, 2))
    >>> y = (x.sum(axis=1) + fm.random.Stream(1).normal(100) > 0).astype(int)
    >>> def fit(x, y):
    ...     means = np.stack([x[y == k].mean(axis=0) for k in (0, 1)])
    ...     return lambda new: ((new[:, None] - means) ** 2).sum(-1).argmin(1)
    >>> e = fm.evaluate.bootstrap_error(fit, x, y, rng=0)
    >>> e.resubstitution <= e.estimate <= e.out_of_bag
    True
    """

    estimate: float
    stderr: float
    noise_share: float
    mc_error: float
    method: str
    loss: str
    resubstitution: float
    out_of_bag: float
    no_information: float
    overfitting: float
    losses: Array
    n_resamples: int

    _layout: ClassVar[fit.Layout] = {
        **dict.fromkeys(
            (
                "estimate", "stderr", "noise_share", "mc_error", "resubstitution", "out_of_bag",
                "no_information", "overfitting",
            ),
            fit.real,
        ),
        "method": fit.text(),
        "loss": fit.text(),
        "losses": fit.array("f", "examples"),
        "n_resamples": fit.whole(1),
    }  # fmt: skip

    def _headline(self) -> str:
        return (
            f"ErrorRate: {self.estimate:.4g} ± {self.stderr:.2g} ({self.method}, {self.loss} loss, "
            f"{self.n_resamples} resamples of {self.losses.size} examples)"
        )

    def interval(self, prob: float = 0.95) -> tuple[float, float]:
        """Return the interval estimate ± z stderr.

        Parameters
        ----------
        prob : float, default 0.95
            The confidence, above 0 and below 1.

        Returns
        -------
        lower, upper : float

        Raises
        ------
        ArgumentError
            If `prob` is outside its domain.
        """
        from scipy.special import ndtri

        half = -float(ndtri((1 - probability("prob", prob)) / 2)) * self.stderr
        return self.estimate - half, self.estimate + half

    def summary(self) -> Summary:
        """Return the rates from which the estimate is computed."""
        foot = [f"warning: {w}" for w in self.warnings]
        return of_figures(self._figures(), [self._first_line()], foot=foot)


class Tally(NamedTuple):
    """Sums over resamples, in their order."""

    #: For each example: how often it was left out, the sum of its losses then, and how often it was
    #: drawn.
    left: Array
    losses: Array
    drawn: Array
    #: The draws times the loss of the resample, and that loss: its out-of-bag losses over n.
    weighted: Array
    means: list[float]
    #: The number of resamples in the sums. The list of means is shared with sums of more resamples,
    #: and may have one more that was lost in an interrupt.
    size: int

    @classmethod
    def empty(cls, n: int) -> Self:
        """Return the sums of no resample."""
        return cls(np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n), [], 0)

    def plus(self, counts: Array, losses: Array) -> Self:
        """Return the sums with one more resample; losses of drawn examples are 0."""
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(losses.sum() / losses.size)
            del self.means[self.size :]
            self.means.append(mean)
            return type(self)(
                self.left + (counts == 0),
                self.losses + losses,
                self.drawn + counts,
                self.weighted + mean * counts,
                self.means,
                self.size + 1,
            )


class _Rate(NamedTuple):
    """An error rate with its derivatives by the resubstitution and the out-of-bag error."""

    estimate: float
    by_resubstitution: float
    by_out_of_bag: float
    overfitting: float


def combined(resubstitution: float, out_of_bag: float, gamma: float, method: str) -> _Rate:
    """Return the error rate by a method, from its three components."""
    capped = min(out_of_bag, gamma)
    r = 0.0
    if out_of_bag > resubstitution and gamma > resubstitution:
        r = min(max((capped - resubstitution) / (gamma - resubstitution), 0.0), 1.0)
    if method == "out-of-bag":
        return _Rate(out_of_bag, 0.0, 1.0, r)
    plain = _OUT * resubstitution + _IN * out_of_bag
    if method == "632":
        return _Rate(plain, _OUT, _IN, r)
    share = _OUT * _IN * r / (1 - _OUT * r)
    estimate = plain + (capped - resubstitution) * share
    if r == 0.0:
        return _Rate(estimate, _OUT, _IN, r)
    # R is constant where it is capped.
    span = gamma - resubstitution
    free = out_of_bag < gamma
    slope = _OUT * _IN / (1 - _OUT * r) ** 2 * (capped - resubstitution)
    by_capped = (share + slope / span) if free else 0.0
    by_resubstitution = -share + (slope * (capped - gamma) / span**2 if free else 0.0)
    return _Rate(estimate, _OUT + by_resubstitution, _IN + by_capped, r)


def error_rate(
    tally: Tally,
    resubstitution: Array,
    gamma: float,
    method: str,
    loss: str,
    provenance: dict[str, Any],
    unit: int = 0,
) -> ErrorRate:
    """Return the error rate from sums over resamples and the losses of the fit to all examples.

    The losses were divided by 2**unit.
    """
    if not np.isfinite([tally.losses, tally.weighted]).all():
        raise NumericalError(
            f"loss: the sums of {loss!r} losses are too large for a double; give the truths in "
            "another unit"
        )
    n, b = resubstitution.size, tally.size
    e = exponents(np.append(tally.means[:b], resubstitution))
    resubstitution, gamma = scaled(resubstitution, e), float(scaled(np.array(gamma), e))
    sums, weighted = scaled(tally.losses, e), scaled(tally.weighted, e)
    known = tally.left > 0
    losses = np.full(n, np.nan)
    losses[known] = sums[known] / tally.left[known]
    out_of_bag = float(losses[known].mean())
    training = float(resubstitution.mean())
    rate = combined(training, out_of_bag, gamma, method)
    stderr, noise_share, mc_error = math.inf, math.nan, math.nan
    if b > 1:
        # The share of the examples that a resample leaves out, and for each example the covariance
        # of its number of draws with the loss of the resample.
        share = float(tally.left.mean() / b)
        means = scaled(np.array(tally.means[:b]), e)
        cov = (weighted - tally.drawn * means.mean()) / b
        off = np.where(known, losses - out_of_bag, 0.0)
        influence = rate.by_out_of_bag * ((2 + 1 / (n - 1)) * off / n + cov / share)
        influence += rate.by_resubstitution * (resubstitution - training) / n
        variance = float((influence**2).sum())
        spread = float(means.var(ddof=1))
        noise = rate.by_out_of_bag**2 * n * spread / (b * share**2)
        noise_share = min(noise / variance, 1.0) if variance > 0 else 0.0
        stderr = math.sqrt(variance if noise_share > _NOISY else variance * (1 - noise_share))
        mc_error = abs(rate.by_out_of_bag) * math.sqrt(spread / b) / share
    numbers = {
        "estimate": rate.estimate,
        "stderr": stderr,
        "mc_error": mc_error,
        "resubstitution": training,
        "out_of_bag": out_of_bag,
        "no_information": gamma,
        "losses": losses,
    }
    return ErrorRate(
        **restored("loss", numbers, e + unit),
        noise_share=noise_share,
        method=method,
        loss=loss,
        overfitting=rate.overfitting,
        n_resamples=b,
        **provenance,
    )


def findings(result: ErrorRate) -> list[Finding]:
    """Return the warnings about an error rate."""
    found: list[Finding] = []
    never = int(np.isnan(result.losses).sum())
    if never:
        found.append((
            FermiacWarning,
            f"{never} of {result.losses.size} examples are in all {result.n_resamples} resamples, "
            "so they do not contribute to the out-of-bag error; take more resamples",
        ))  # fmt: skip
    if not result.noise_share <= _NOISY:
        found.append((
            FermiacWarning,
            f"the standard error is mostly the noise of {result.n_resamples} resamples, so it is "
            "too large; take more resamples",
        ))  # fmt: skip
    n = result.losses.size
    if result.loss == "zero-one" and not _FEW <= n * result.estimate <= n - _FEW:
        found.append((
            FermiacWarning,
            f"about {n * result.estimate:.0f} errors in {n} examples are too few for a reliable "
            "standard error; more examples are needed",
        ))  # fmt: skip
    if result.method == "632" and result.overfitting > _OVERFITTED:
        found.append((
            FermiacWarning,
            f"the learner overfits (relative rate {result.overfitting:.2f}), so .632 is too "
            "small; take method='632+'",
        ))  # fmt: skip
    off = result.out_of_bag - result.estimate
    remembers = result.resubstitution < _REMEMBERED * result.out_of_bag
    if result.method == "632+" and (remembers or off > _TAKEN_OFF * result.stderr):
        found.append((
            FermiacWarning,
            f"the learner overfits (relative rate {result.overfitting:.2f}), and .632+ subtracts "
            f"{off:.2g} from the out-of-bag error of {result.out_of_bag:.2g} by a rule of thumb, "
            "whose error is not in the standard error; the truth is likely between the two",
        ))  # fmt: skip
    return found


@public
def error_from_losses(
    resubstitution: ArrayLike,
    losses: ArrayLike,
    counts: ArrayLike,
    no_information: float,
    *,
    method: ErrorMethod = "632+",
) -> ErrorRate:
    """Return the expected loss of a learner from the losses of bootstrap resamples [1]_.

    Use it for models that were fitted elsewhere; `bootstrap_error` draws and fits the resamples.

    Parameters
    ----------
    resubstitution : array_like, shape (n,)
        The loss of each example under the model that was fitted to all of them.
    losses : array_like, shape (B, n)
        The loss of each example under the model of each resample. Losses of examples that are in
        the resample are ignored and may be NaN.
    counts : array_like, shape (B, n)
        How often each example is in each resample: whole numbers.
    no_information : float
        The mean loss over all pairs of a truth and a prediction of the model that was fitted to all
        examples. For two classes and the zero-one loss it is p (1 - q) + (1 - p) q, with p the
        share of ones among the truths and q their share among the predictions.
    method : {"632+", "632", "out-of-bag"}, default "632+"
        See `bootstrap_error`.

    Returns
    -------
    ErrorRate

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or every example is in every resample.

    Warns
    -----
    FermiacWarning
        As `bootstrap_error`.

    References
    ----------
    .. [1] B. Efron, R. Tibshirani, "Improvements on cross-validation: the .632+ bootstrap method",
       Journal of the American Statistical Association, 1997, doi:10.1080/01621459.1997.10474007.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> splits = fm.evaluate.splits.out_of_bag(20, 100, rng=0)
    >>> counts = np.array([np.bincount(train, minlength=20) for train, _ in splits])
    >>> # 0.4 of the examples are always wrong
    >>> losses = np.tile(np.arange(20) % 5 < 2, (100, 1))
    >>> e = fm.evaluate.error_from_losses(0.2 + np.zeros(20), losses, counts, 0.5)
    >>> round(e.out_of_bag, 10), round(e.estimate, 6)
    (0.4, 0.367491)
    """
    began = time.perf_counter()
    chosen = choice("method", method, METHODS)
    training = numbers("resubstitution", resubstitution)
    n = training.size
    if training.ndim != 1 or n < 2 or not np.isfinite(training).all():
        raise ArgumentError(
            f"resubstitution: an array of shape {training.shape} given; at least two finite losses "
            "are needed, of shape (n,)"
        )
    table, drawn = real_numbers("losses", losses), numbers("counts", counts)
    for name, array in (("losses", table), ("counts", drawn)):
        if array.ndim != 2 or array.shape != table.shape or array.shape[1] != n or not array.size:
            raise ArgumentError(
                f"{name}: an array of shape {array.shape} given; (B, {n}) is needed, the same B "
                "for losses and counts"
            )
    good = (drawn >= 0) & (drawn <= 2**31) & (drawn == np.floor(drawn))
    require("counts", drawn, good, "whole numbers of at least 0 are needed")
    gamma = real("no_information", no_information)
    if not (drawn == 0).any():
        raise ArgumentError("counts: every example is in every resample; none is out of bag")
    left = np.where((drawn == 0) & np.isfinite(table), table, 0.0)
    unit = exponents(np.append(left, training))
    training, gamma = scaled(training, unit), float(scaled(np.array(gamma), unit))
    tally = Tally.empty(n)
    for row, count in zip(table, drawn, strict=True):
        kept = np.where(count == 0, row, 0.0)
        if not np.isfinite(kept).all():
            raise ArgumentError(
                "losses: a loss that is not finite was given for an example that the resample "
                "leaves out; finite losses are needed"
            )
        tally = tally.plus(count, scaled(kept, unit))
    settings = {"method": chosen}
    made = provenance(settings, began)
    result = error_rate(tally, training, gamma, chosen, "given", made, unit)
    found = findings(result)
    warn(found, result)
    return result
