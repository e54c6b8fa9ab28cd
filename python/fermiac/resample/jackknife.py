"""The jackknife."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.exponents import restored, scaled
from fermiac._base.plan import Plan, PlanLike, plan_of
from fermiac._base.validate import whole, yes
from fermiac.errors import ArgumentError
from fermiac.resample.callables import Function, StatisticFunction
from fermiac.resample.data import Labels, OnNan, take
from fermiac.resample.leave_one_out import acceleration, bias_of, stderr_of
from fermiac.resample.problem import Problem
from fermiac.resample.schemes import IID
from fermiac.resample.several_classes import OfClasses
from fermiac.resample.statistics import Statistic, StatisticName, resolved
from fermiac.results.provenance import provenance
from fermiac.results.result import Result
from fermiac.results.summary import Summary
from fermiac.runs.replicates import Drawing, drawn

if TYPE_CHECKING:
    pass

__all__ = ["Jackknife", "jackknife"]

Array = NDArray[np.float64]
_NUMBERS = fit.either(fit.single("outputs"), fit.array("f", "outputs"))


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Jackknife(Result):
    """A statistic with one unit left out at a time.

    Attributes
    ----------
    estimate : float or ndarray, shape (k,)
        The statistic of the data.
    values : ndarray, shape (n,) or (n, k)
        The statistic without each unit, which is an observation or a cluster.
    stderr, bias : float or ndarray, shape (k,)
        The jackknife estimates of its standard error and bias.
    acceleration : float or ndarray, shape (k,)
        The acceleration of BCa intervals, a sixth of the skewness of the influences; NaN if leaving
        out a unit changes nothing.
    influence : ndarray, shape (n,) or (n, k)
        The influence function at each observation, if the statistic has one; else (n - 1) times the
        difference of the estimate and each value.

    Examples
    --------
    >>> import fermiac as fm
    >>> j = fm.resample.jackknife([1.0, 2.0, 4.0, 9.0], "mean")
    >>> j.bias, j.values
    (0.0, array([5.        , 4.66666667, 4.        , 2.33333333]))
    """

    statistic: str
    estimate: float | Array
    values: Array
    stderr: float | Array
    bias: float | Array
    acceleration: float | Array
    influence: Array

    #: A statistic of the caller's may be NaN.
    _numbers = ()
    _layout: ClassVar[fit.Layout] = {
        "statistic": fit.text(),
        "estimate": _NUMBERS,
        "values": fit.array("f", "*rows"),
        "stderr": _NUMBERS,
        "bias": _NUMBERS,
        "acceleration": _NUMBERS,
        "influence": fit.array("f", "*seen"),
    }

    def _headline(self) -> str:
        rows = [
            f"{e:.6g} ± {s:.2g}"
            for e, s in zip(
                np.atleast_1d(self.estimate)[:3], np.atleast_1d(self.stderr), strict=False
            )
        ]
        return f"Jackknife: {self.statistic} = {', '.join(rows)}"

    def summary(self) -> Summary:
        """Return a table: estimate, standard error, bias, acceleration."""
        columns = {
            "estimate": self.estimate,
            "stderr": self.stderr,
            "bias": self.bias,
            "acceleration": self.acceleration,
        }
        numbers = {name: np.atleast_1d(np.asarray(c, float)) for name, c in columns.items()}
        k = numbers["estimate"].size
        names = (self.statistic,) if k == 1 else tuple(f"{self.statistic}[{j}]" for j in range(k))
        return Summary(names, numbers, foot=[f"{len(self.values)} units left out one by one"])


class _LeftOut:
    """The values of a function with some units left out, as the work of a shard."""

    def __init__(self, function: Function) -> None:
        self._target = function

    def __call__(self, start: int, stop: int) -> Array:
        """Return the values from a start to a stop."""
        return self._target.leave_one_out(start, stop)


def _on_workers(function: Function, plan: Plan) -> Array:
    """Return the values with each unit left out, which workers compute."""
    n, how = len(function.left_out()), Drawing(plan)
    try:
        return drawn(
            _LeftOut(function), n, how, seed=0, call=lambda: "resample.jackknife", report=None
        ).array
    except KeyboardInterrupt as stopped:
        stopped.partial_result = None  # type: ignore[attr-defined]
        raise


@public
def jackknife(
    x: ArrayLike | tuple[ArrayLike, ...],
    statistic: StatisticName | Statistic | StatisticFunction = "mean",
    *,
    paired: bool = False,
    strata: Labels = None,
    clusters: Labels = None,
    weights: bool = False,
    positive: Any = None,
    jackknife_groups: int | None = None,
    plan: PlanLike | None = None,
    on_nan: OnNan = "raise",
) -> Jackknife:
    """Return a statistic without each observation, with its standard error and bias [1]_.

    Parameters
    ----------
    x : array_like, shape (n,) or (n, d), or tuple of them
        The observations; see `bootstrap`.
    statistic : str, Statistic or callable, default "mean"
        The statistic; see `bootstrap`. Means, variances, correlations, ratios of means, quantiles
        and areas have closed forms in O(n); a callable is called n times.
    paired : bool, default False
        Whether the samples are columns of the same observations.
    strata, clusters : array_like, shape (n,), optional
        A label for each observation; the observations of a cluster are left out together.
    weights : bool, default False
        Whether a callable takes the data and weights, ``f(x, w)`` with w of shape (b, n).
    positive : label, optional
        The class that counts in ``"precision"``, ``"recall"`` and ``"f1"``; see `bootstrap`.
    jackknife_groups : int, optional
        The number of groups of observations in each sample or stratum, at least 2, that are left
        out one at a time; for slow callables. Default: each observation alone.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``); see `fermiac.Plan`.
    on_nan : {"raise", "omit"}, default "raise"
        Whether NaN is an error, or its observations are left out.

    Returns
    -------
    Jackknife

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or data and statistic do not fit.
    NumericalError
        If a figure of huge or tiny data is out of the range of doubles.
    TargetError
        If a callable returns values of another shape.

    References
    ----------
    .. [1] B. Efron, C. Stein, "The jackknife estimate of variance", Annals of Statistics, 1981,
       doi:10.1214/aos/1176345462.

    Examples
    --------
    >>> import fermiac as fm
    >>> lsat = [576, 635, 558, 578, 666, 580, 555, 661, 651, 605, 653, 575, 545, 572, 594]
    >>> gpa = [339, 330, 281, 303, 344, 307, 300, 343, 336, 313, 312, 274, 276, 288, 296]
    >>> j = fm.resample.jackknife((lsat, gpa), "pearson")
    >>> round(j.stderr, 9), round(j.bias, 9), round(j.acceleration, 9)
    (0.142518619, -0.006473623, -0.075671565)
    """
    where = plan_of(plan, "executor")
    began = time.perf_counter()
    chosen = resolved(statistic)
    weighted = yes("weights", weights)
    groups = (
        None if jackknife_groups is None else whole("jackknife_groups", jackknife_groups, 2, 2**31)
    )
    if groups is not None and chosen is not None:
        raise ArgumentError(
            f"jackknife_groups: {groups} given with the statistic {chosen.name!r}; it is for "
            "callables"
        )
    data = take(
        x, statistic=chosen, paired=paired, strata=strata, clusters=clusters, on_nan=on_nan,
        positive=positive,
    )  # fmt: skip
    if chosen is not None and data.classes > 2:
        statistic, chosen = OfClasses(chosen.name, data.classes), None
        weighted = False
    if chosen is not None:
        problem = Problem(data, chosen, IID, None)
    else:
        function, first = Function.of(statistic, weighted, None, data, groups)
        if not function.shortens:
            raise ArgumentError(
                "statistic: a C pointer or a torch module needs as many numbers as the data have, "
                "so no observation can be left out; weights=True is needed"
            )
        problem = Problem(data, function, IID, None, first)
    all_of_it = problem.full
    if where.executor is None or chosen is not None:
        left = problem.left_out
    else:
        left = scaled(_on_workers(function, where), problem.exponents)
    n = len(left)
    influence = []
    for j, own in enumerate(all_of_it.influence):
        if own is None:
            influence.append((n - 1) * (all_of_it.values[j] - left[:, j]))
        else:
            sizes = [data.units.n] if data.paired or len(data.sizes) == 1 else list(data.sizes)
            influence.append(own * np.repeat(sizes, sizes))
    one: Callable[[Array], Any] = (lambda a: float(a[0])) if problem.scalar else np.asarray
    table: Callable[[Array], Array] = (
        (lambda a: np.ascontiguousarray(a[:, 0])) if problem.scalar else np.asarray
    )
    if data.units.members is not None and data.units.single and groups is None:
        # In the order of the observations.
        back = np.empty(n, np.int64)
        back[data.units.members] = np.arange(n)
        shown = left[back]
    else:
        shown = left
    numbers = {
        "estimate": one(all_of_it.values),
        "values": table(shown),
        "stderr": one(stderr_of(left, data, groups)),
        "bias": one(bias_of(left, all_of_it.values, data, groups)),
        "influence": table(np.stack(influence, axis=1)),
    }
    return Jackknife(
        statistic=problem.name,
        **restored(problem.name, numbers, problem.exponents),
        acceleration=one(acceleration(left, data, groups)),
        **provenance(
            {"statistic": problem.name, **data.labels},
            began,
            n_evals=0 if chosen is not None else n + 1,
        ),
    )
