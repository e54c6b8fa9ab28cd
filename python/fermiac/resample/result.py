"""The result of the bootstrap."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fermiac._base import layout as fit
from fermiac._base import registry
from fermiac._base.ask import ask
from fermiac._base.exponents import exponents, restored, scaled
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.validate import choice, probability, real_numbers, shown, whole
from fermiac.errors import ArgumentError
from fermiac.resample.intervals import METHODS, MethodName
from fermiac.resample.schemes import SERIES
from fermiac.resample.text import headline, table
from fermiac.results.result import Result
from fermiac.results.summary import Summary
from fermiac.runs.replicates import Drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fermiac.resample.problem import Problem

__all__ = ["Bootstrap", "Interval"]

Array = NDArray[np.float64]


class Interval(NamedTuple):
    """A confidence interval.

    Attributes
    ----------
    low, high : float or ndarray, shape (k,)
        Its ends.

    Examples
    --------
    >>> import fermiac as fm
    >>> low, high = fm.resample.bootstrap(
    ...     [0, 1, 1, 0, 1, 1], "mean", rng=0
    ... ).confidence_interval
    >>> round(low, 4), round(high, 4)
    (0.3, 0.9032)
    """

    low: float | Array
    high: float | Array


_SCHEMES = ("iid", "bayesian", *SERIES, "m_out_of_n", "parametric", "indices")
_NUMBERS = fit.either(fit.single("outputs"), fit.array("f", "outputs"))


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Bootstrap(Result):
    """A statistic with its standard error and confidence interval, by the bootstrap.

    Attributes
    ----------
    statistic : str
        The name of the statistic, or ``"function"``.
    estimate : float or ndarray, shape (k,)
        The statistic of the data; a number if it has a single output.
    stderr : float or ndarray, shape (k,)
        The standard deviation of the resampled statistic.
    bias : float or ndarray, shape (k,)
        The mean of the resampled statistic minus the estimate.
    lower, upper : float or ndarray, shape (k,)
        The ends of the interval.
    prob : float
        Its confidence.
    method : str
        The method of the interval; all methods if outputs have different ones.
    mc_error : ndarray, shape (2,) or (2, k)
        The Monte Carlo errors (standard deviations) of the ends; 0 if the law is exact.
    replicates : ndarray, shape (n_resamples,) or (n_resamples, k)
        The resampled statistic; empty if the law is known and nothing was drawn.
    replicate_stderrs : ndarray or None
        The standard error of each replicate by the influence function, for ``"studentised"``.
    exact : bool
        Whether stderr, bias and ends come from the exact law of the resampled statistic.
    scheme : str
        The scheme of the resampling.
    scheme_parameters : tuple of float
        Its parameters, such as the length of blocks.
    n_resamples : int
        The number of replicates.
    data : tuple of ndarray
        The samples.
    paired : bool
        Whether the samples share their indices.
    strata, clusters : ndarray or None
        Codes of the strata and clusters of the observations.
    parameters : tuple of float
        The parameters of the statistic.

    Examples
    --------
    >>> import fermiac as fm
    >>> mice = [94.0, 197.0, 16.0, 38.0, 99.0, 141.0, 23.0]
    >>> r = fm.resample.bootstrap(mice, "median", rng=0)
    >>> round(r.stderr, 6), r.exact, r.replicates.size
    (37.834674, True, 0)
    """

    statistic: str
    estimate: float | Array
    stderr: float | Array
    bias: float | Array
    lower: float | Array
    upper: float | Array
    prob: float
    method: str
    mc_error: Array
    replicates: Array
    replicate_stderrs: Array | None
    exact: bool
    scheme: str
    scheme_parameters: tuple[float, ...]
    n_resamples: int
    data: tuple[Array, ...]
    paired: bool
    strata: NDArray[np.int64] | None
    clusters: NDArray[np.int64] | None
    core: str
    parameters: tuple[float, ...]
    #: The statistic with its data, None for a loaded result, which makes it again.
    _problem: Problem | None = field(default=None, init=False)

    #: A statistic of the caller's may be NaN.
    _numbers = ()
    _layout: ClassVar[fit.Layout] = {
        "statistic": fit.text(),
        "estimate": _NUMBERS,
        "stderr": _NUMBERS,
        "bias": _NUMBERS,
        "lower": _NUMBERS,
        "upper": _NUMBERS,
        "prob": fit.real,
        "method": fit.text(),
        "mc_error": fit.array("f", 2, "*outputs"),
        "replicates": fit.array("f", "*rows"),
        "replicate_stderrs": fit.maybe(fit.array("f", "*rows")),
        "exact": fit.flag,
        "scheme": fit.text(*_SCHEMES),
        "scheme_parameters": fit.listed(fit.real),
        "n_resamples": fit.whole(0),
        "data": fit.listed(fit.array("f"), least=1),
        "paired": fit.flag,
        "strata": fit.maybe(fit.array("i", "*codes")),
        "clusters": fit.maybe(fit.array("i", "*groups")),
        "core": fit.text(),
        "parameters": fit.listed(fit.real),
    }

    def _headline(self) -> str:
        return headline(self, self.method)

    @property
    def confidence_interval(self) -> Interval:
        """The ends as a pair with `low` and `high`, as in SciPy."""
        return Interval(self.lower, self.upper)

    @property
    def cov(self) -> float | Array:
        """The covariance of the replicates, of shape (k, k), or their variance."""
        if len(self.replicates) < 2:
            if np.ndim(self.estimate) == 0:
                e = exponents(np.atleast_1d(self.stderr))
                square = scaled(np.asarray(self.stderr), e) ** 2
                return float(restored(self.statistic, {"cov": square}, 2 * e)["cov"])
            raise ArgumentError(
                "cov: there are no replicates, as the law is known exactly; extend the result first"
            )
        e = exponents(self.replicates, 0)
        values, k = scaled(self.replicates, e), np.size(self.estimate)
        one = np.ndim(self.estimate) == 0
        found = np.var(values, ddof=1) if one else np.cov(values, rowvar=False).reshape(k, k)
        cov: float | Array = restored(self.statistic, {"cov": found}, np.add.outer(e, e))["cov"]
        return cov

    def interval(self, prob: float | None = None, method: MethodName = "auto") -> Interval:
        """Return another interval from the same replicates.

        Parameters
        ----------
        prob : float, optional
            Its confidence, above 0 and below 1. Default: that of the result.
        method : str, default "auto"
            A method of `fermiac.resample.bootstrap`.

        Returns
        -------
        Interval
            With ``low`` and ``high``.

        Raises
        ------
        ArgumentError
            If an argument is outside its domain, the statistic has no such interval, or it needs
            replicates and there are none.

        Examples
        --------
        >>> import fermiac as fm
        >>> x = fm.random.Stream(1).exponential(30)
        >>> r = fm.resample.bootstrap(x, "mean", rng=0)
        >>> low, high = r.interval(0.9, "bca")
        >>> r.lower < low < high < r.upper
        True
        """
        level = self.prob if prob is None else probability("prob", prob)
        name = choice("method", method, METHODS)
        problem, errors = self._again(), self.replicate_stderrs
        e = problem.exponents
        if errors is not None:
            errors = scaled(errors, e)
        values = scaled(self.replicates, e)
        made = problem.intervals(values, errors, name, level, self.seed or 0, None)
        return Interval(**restored(self.statistic, {"low": made.lower, "high": made.upper}, e))

    def extend(
        self,
        n_resamples: int,
        *,
        plan: PlanLike | None = None,
    ) -> Bootstrap:
        """Return the result with more replicates; the bits are those of a single call with all.

        Parameters
        ----------
        n_resamples : int
            The number of replicates that are added.
        plan : Plan or executor, optional
            Where the call runs and what is kept (it takes ``executor``); see `fermiac.Plan`.

        Returns
        -------
        Bootstrap
            The ends come from the replicates if the statistic has no exact law.

        Raises
        ------
        ArgumentError
            If an argument is outside its domain, or the result was loaded and its statistic is a
            function, which is not saved.

        Examples
        --------
        >>> import fermiac as fm
        >>> x = fm.random.Stream(1).exponential(30)
        >>> a = fm.resample.bootstrap(x, "mean", n_resamples=100, rng=0).extend(100)
        >>> b = fm.resample.bootstrap(x, "mean", n_resamples=200, rng=0)
        >>> bool((a.replicates == b.replicates).all()), a.upper == b.upper
        (True, True)
        """
        where = plan_of(plan, "executor")
        from fermiac.resample.run import run

        more = whole("n_resamples", n_resamples, 1, 2**40)
        problem = self._again()
        return run(
            problem,
            n_total=self.n_resamples + more,
            start=self,
            prob=self.prob,
            method=str(self.settings["method"]),
            key=self.seed or 0,
            n_threads=where.n_threads,
            progress=where.progress,
            began=time.perf_counter(),
            settings={**self.settings, "n_resamples": self.n_resamples + more},
            how=Drawing(where),
        )

    def transform(self, g: Callable[[Any], Any]) -> Bootstrap:
        """Return a function of the statistic, from the same replicates.

        Parameters
        ----------
        g : callable
            ``g(values)`` takes values of shape (b,) or (b, k) and returns (b,) or (b, m).

        Returns
        -------
        Bootstrap
            With a percentile interval, which is equivariant under monotonic functions.

        Raises
        ------
        ArgumentError
            If there are no replicates, or `g` returns another number of values.

        Examples
        --------
        >>> import fermiac as fm
        >>> x = fm.random.Stream(1).normal(40)
        >>> r = fm.resample.bootstrap(x, "sd", method="percentile", rng=0)
        >>> v = r.transform(lambda sd: sd**2)
        >>> abs(v.upper - r.upper**2) < 1e-12
        True
        """
        if not callable(g):
            raise ArgumentError(f"g: {shown(g)} given; a callable is needed")
        if not len(self.replicates):
            raise ArgumentError(
                "transform: there are no replicates, as the law is known exactly; extend the "
                "result first"
            )
        whole_ = np.asarray(self.estimate)[None]
        values = real_numbers("g", ask(g, (self.replicates,), "g"))
        point = real_numbers("g", ask(g, (whole_,), "g"))
        b = len(self.replicates)
        if values.shape[:1] != (b,) or values.ndim > 2 or point.shape != (1, *values.shape[1:]):
            raise ArgumentError(
                f"g: values of shape {values.shape} came back for {b} replicates; ({b},) or "
                f"({b}, m) is needed"
            )
        tail = round((1 - self.prob) / 2, 15)
        low, high = (_column(values, p) for p in (tail, 1 - tail))
        error = np.sqrt(tail * (1 - tail) / b)
        mc = [
            0.5 * (_column(values, min(p + error, 1.0)) - _column(values, max(p - error, 0.0)))
            for p in (tail, 1 - tail)
        ]
        unwrap = (lambda a: float(a[0])) if values.ndim == 1 else np.asarray
        e = exponents(values, 0)
        spread = np.std(scaled(values, e), axis=0, ddof=1)
        return replace(
            self,
            statistic="function",
            estimate=unwrap(np.atleast_1d(point[0])),
            stderr=unwrap(np.atleast_1d(restored("transform", {"stderr": spread}, e)["stderr"])),
            bias=unwrap(np.atleast_1d(values.mean(0) - point[0])),
            lower=unwrap(np.atleast_1d(low)),
            upper=unwrap(np.atleast_1d(high)),
            method="percentile",
            mc_error=np.asarray(mc),
            replicates=values,
            replicate_stderrs=None,
            exact=False,
            core="",
            parameters=(),
        )

    def summary(self) -> Summary:
        """Return a table: estimate, standard error, bias, ends and their Monte Carlo errors."""
        columns = {
            "estimate": self.estimate,
            "stderr": self.stderr,
            "bias": self.bias,
            "lower": self.lower,
            "upper": self.upper,
            "lower_error": self.mc_error[0],
            "upper_error": self.mc_error[1],
        }
        how = "exact law" if self.exact else f"{self.n_resamples} resamples"
        foot = [f"method {self.method} at {self.prob:.6g}, {how}, seed {self.seed}"]
        return table(self, columns, foot)

    def plot(self, ax: Axes | None = None, output: int = 0) -> Axes:
        """Draw the replicates with the interval; see `fermiac.plotting.plot_bootstrap`."""
        drawn: Axes = registry.function("plotting", "plot_bootstrap")(self, ax, output)
        return drawn

    def _again(self) -> Problem:
        """Return the problem of the statistic with its data."""
        if self._problem is not None:
            return self._problem
        from fermiac.resample.problem import Problem

        if not self.core:
            raise ArgumentError(
                f"the statistic {shown(self.statistic)} is a function, which the result does not "
                "have any more; call fermiac.resample.bootstrap again"
            )
        return Problem.loaded(self)


def _column(values: Array, p: float) -> Any:
    return np.quantile(values, p, axis=0, method="weibull")
