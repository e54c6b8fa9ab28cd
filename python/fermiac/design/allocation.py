"""Allocation of a budget to tasks whose losses fall as powers of their sample sizes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.validate import choice, numbers, positive
from fermiac.errors import ArgumentError
from fermiac.results.result import Result
from fermiac.results.summary import Summary

__all__ = ["Allocation", "allocate"]

Array = NDArray[np.float64]
#: The largest number of tasks.
_MOST = 10**7
#: Bisections of a logarithm, which end at its rounding.
_HALVINGS = 200


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Allocation(Result):
    """Sample sizes of tasks under a budget.

    Attributes
    ----------
    sizes : ndarray, shape (k,)
        The sample size of each task, not rounded.
    losses : ndarray, shape (k,)
        The weighted loss of each task at its size.
    value : float
        The sum of the losses, or the largest of them.
    cost : float
        The cost of all tasks. It is below the budget if sizes at their upper bounds leave no way to
        reduce the objective.
    objective : str
        ``"sum"`` or ``"minimax"``.

    Examples
    --------
    >>> import fermiac as fm
    >>> a = fm.design.allocate([1.0, 2.0], 1000, objective="minimax")
    >>> a.sizes.round(6).tolist(), bool(a.losses[0] - a.losses[1] < 1e-12)
    ([200.0, 800.0], True)
    """

    sizes: Array
    losses: Array
    value: float
    cost: float
    objective: str

    _layout: ClassVar[fit.Layout] = {
        "sizes": fit.array("f", "k"),
        "losses": fit.array("f", "k"),
        "value": fit.real,
        "cost": fit.real,
        "objective": fit.text("sum", "minimax"),
    }

    def _headline(self) -> str:
        what = "sum" if self.objective == "sum" else "largest"
        return f"Allocation to {self.sizes.size} tasks: {what} of losses {self.value:.6g}"

    def summary(self) -> Summary:
        """Return a table of the sizes and losses."""
        names = [f"task[{j}]" for j in range(self.sizes.size)]
        columns = {"size": self.sizes, "loss": self.losses}
        return Summary(names, columns, foot=[self._first_line()])


@public
def allocate(
    scale: ArrayLike,
    budget: float,
    *,
    exponent: ArrayLike = 0.5,
    offset: ArrayLike = 0.0,
    cost: ArrayLike = 1.0,
    weights: ArrayLike = 1.0,
    lower: ArrayLike = 0.0,
    upper: ArrayLike = np.inf,
    objective: Literal["sum", "minimax"] = "sum",
) -> Allocation:
    r"""Divide a budget among tasks whose losses fall as powers of their sample sizes [1]_.

    The loss of task k with n observations is :math:`w_k (a_k n^{-b_k} + c_k)`: the learning curve
    of a model, the standard error of a mean (b = 1/2) or its variance (b = 1).

    Parameters
    ----------
    scale : array_like, shape (k,)
        The numbers a, positive. For the variance of a stratified mean they are the squares of the
        shares of the strata times their variances; with ``exponent=1`` the result is the allocation
        of Neyman.
    budget : float
        The total cost.
    exponent : float or array_like, shape (k,), default 0.5
        The numbers b, positive.
    offset : float or array_like, shape (k,), default 0
        The losses c that no sample size reduces.
    cost : float or array_like, shape (k,), default 1
        The cost of one observation of each task, positive.
    weights : float or array_like, shape (k,), default 1
        The weights w of the losses, positive.
    lower, upper : float or array_like, shape (k,), default 0 and infinity
        The smallest and the largest size of each task, such as the size of a stratum.
    objective : {"sum", "minimax"}, default "sum"
        Whether the sum of the losses is to be least, or the largest of them.

    Returns
    -------
    Allocation

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or the budget does not suffice for `lower`.

    Notes
    -----
    For a sum the sizes are :math:`n_k = (w_k a_k b_k / (\lambda q_k))^{1 / (1 + b_k)}` within their
    bounds, with the costs q and the λ that spends the budget. For the largest loss they are those
    at which all losses are equal, as far as the bounds allow. Sizes are not rounded; the loss is
    flat near its minimum.

    References
    ----------
    .. [1] J. Neyman, "On the two different aspects of the representative method", Journal of the
       Royal Statistical Society, 1934, doi:10.2307/2342192.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.design.allocate([1.0, 2.0], 1000).sizes.round(5).tolist()
    [386.48821, 613.51179]
    >>> shares, sds = [0.5, 0.3, 0.2], [1.0, 2.0, 10.0]
    >>> squares = [(w * s) ** 2 for w, s in zip(shares, sds)]
    >>> fm.design.allocate(squares, 310, exponent=1).sizes.round().tolist()
    [50.0, 60.0, 200.0]
    """
    began = time.perf_counter()
    chosen = choice("objective", objective, ("sum", "minimax"))
    total = positive("budget", budget)
    a = numbers("scale", scale)
    if a.ndim != 1 or not 1 <= a.size <= _MOST:
        raise ArgumentError(
            f"scale: an array of shape {a.shape} given; positive numbers of shape (k,) are needed, "
            "one for each task"
        )
    k = a.size
    a = _each("scale", a, k, "positive, finite numbers are needed", _positive)
    b = _each("exponent", exponent, k, "positive, finite numbers are needed", _positive)
    c = _each("offset", offset, k, "finite numbers are needed", np.isfinite)
    q = _each("cost", cost, k, "positive, finite numbers are needed", _positive)
    w = _each("weights", weights, k, "positive, finite numbers are needed", _positive)
    low = _each("lower", lower, k, "finite numbers from 0 on are needed", _from_zero)
    high = _each("upper", upper, k, "numbers above 0 are needed", lambda v: v > 0)
    if (low > high).any():
        raise ArgumentError("lower: a size above its upper bound given; smaller ones are needed")
    least = float(q @ low)
    if least > total:
        raise ArgumentError(
            f"budget: {total:g} given, and the smallest sizes cost {least:g}; more is needed"
        )
    log_a = np.log(a)
    if chosen == "sum":
        # The logarithm of the sizes at a price of exp(s) for a unit of cost.
        base, slope = (np.log(w) + log_a + np.log(b) - np.log(q)) / (1 + b), 1 / (1 + b)

        def sizes(s: float) -> Array:
            return _clipped(base - slope * s, low, high)

    else:
        worst = w * c

        def sizes(s: float) -> Array:
            # The loss of each task is a level above the largest offset.
            level = (worst.max() + np.exp(s)) / w - c
            with np.errstate(divide="ignore"):
                return _clipped((log_a - np.log(level)) / b, low, high)

    n = _spent(sizes, q, total)
    with np.errstate(divide="ignore", over="ignore"):
        losses = w * (a * n**-b + c)
    return Allocation(
        sizes=n,
        losses=losses,
        value=float(losses.sum() if chosen == "sum" else losses.max()),
        cost=float(q @ n),
        objective=chosen,
        seed=None,
        version=_core.__version__,
        isa=_core.isa_level,
        settings={"budget": total, "objective": chosen},
        n_evals=0,
        wall_time=time.perf_counter() - began,
    )


def _positive(v: Array) -> NDArray[np.bool_]:
    return np.asarray((v > 0) & np.isfinite(v))


def _from_zero(v: Array) -> NDArray[np.bool_]:
    return np.asarray((v >= 0) & np.isfinite(v))


def _each(
    name: str, given: Any, k: int, needed: str, good: Callable[[Array], NDArray[np.bool_]]
) -> Array:
    """Return numbers for each task."""
    array = numbers(name, given)
    if array.shape not in ((), (k,)):
        raise ArgumentError(
            f"{name}: an array of shape {array.shape} given; a number or ({k},) is needed"
        )
    if not good(array).all():
        raise ArgumentError(f"{name}: {array[~good(array)].flat[0]:g} given; {needed}")
    return np.array(np.broadcast_to(array, k), float)


def _clipped(logs: Array, low: Array, high: Array) -> Array:
    return np.asarray(np.clip(np.exp(np.clip(logs, -700.0, 700.0)), low, high))


def _spent(sizes: Callable[[float], Array], cost: Array, budget: float) -> Array:
    """Return the sizes at the argument that spends the budget; costs fall with the argument."""
    low, high = -1.0, 1.0
    with np.errstate(over="ignore"):
        for _ in range(12):
            if cost @ sizes(low) >= budget:
                break
            low *= 2
        for _ in range(12):
            if cost @ sizes(high) <= budget:
                break
            high *= 2
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            if not low < middle < high:
                break
            if cost @ sizes(middle) > budget:
                low = middle
            else:
                high = middle
        return sizes(high)
