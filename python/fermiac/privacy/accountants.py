"""The gap between the epsilon of an accountant and the epsilon of an attack."""

from __future__ import annotations

import math
import numbers
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np

from fermiac._base import layout as fit
from fermiac._base.ask import ask
from fermiac._base.calls import public
from fermiac._base.validate import probability, real
from fermiac.errors import ArgumentError
from fermiac.privacy.checks import Array, provenance
from fermiac.results.result import Result

__all__ = ["EpsilonGap", "compare", "epsilon_upper"]

Bounds: TypeAlias = float | Sequence[float]
"""A bound, or (lower bound, estimate, upper bound)."""


class PrivacyCurve(Protocol):
    """A privacy loss distribution."""

    def get_epsilon_for_delta(self, delta: float, /) -> float:
        """Return epsilon."""


class PrivacyAccountant(Protocol):
    """An accountant that keeps its compositions."""

    def get_epsilon(self, target_delta: float, /) -> float:
        """Return epsilon."""


class CompositionAccountant(Protocol):
    """An accountant that takes the numbers of compositions with each call."""

    def compute_delta(self, epsilon: float, compositions: Any, /) -> Any:
        """Return bounds of delta."""

    def compute_epsilon(self, delta: float, compositions: Any, /) -> Any:
        """Return bounds of epsilon."""


Source: TypeAlias = (
    Bounds | PrivacyCurve | PrivacyAccountant | CompositionAccountant | Callable[[float], Bounds]
)
"""Sources of an upper bound of epsilon; see `epsilon_upper`."""


class Posterior(Protocol):
    """A posterior of epsilon."""

    @property
    def delta(self) -> Any:
        """Delta."""

    def ppf(self, q: Any, /) -> Any:
        """Return quantiles."""

    def prob_above(self, epsilon: Any, /) -> Any:
        """Return the probability of more than `epsilon`."""


_KINDS = (
    "a number, (lower, estimate, upper), an accountant or privacy loss distribution of "
    "dp_accounting, a PRVAccountant, or a function of delta is needed"
)


def _known(number: float) -> bool:
    return not math.isnan(number)


def _bound(given: object) -> float:
    """Return the upper bound from an accountant's answer: the last number of a triple."""
    if isinstance(given, tuple | list):
        if len(given) != 3:
            raise ArgumentError(
                f"source: {len(given)} numbers were given; one is needed, or three: "
                "(lower, estimate, upper)"
            )
        lower, estimate, upper = (real("source", v, _KINDS, _known) for v in given)
        if not lower <= estimate <= upper:
            raise ArgumentError(
                f"source: ({lower:g}, {estimate:g}, {upper:g}) was given; "
                "(lower, estimate, upper) in this order is needed"
            )
        return upper
    return real("source", given, _KINDS, _known)


def _ask(source: Any, delta: float, compositions: int | Sequence[int] | None) -> object:
    """Return the bound at delta of a source that is not a number."""
    if isinstance(source, type):
        raise ArgumentError(f"source: the class {source.__name__} was given; {_KINDS}")
    if callable(getattr(source, "get_epsilon_for_delta", None)):
        return source.get_epsilon_for_delta(delta)
    if callable(getattr(source, "get_epsilon", None)):
        return source.get_epsilon(delta)
    # An accountant without compute_delta has its own delta, which may differ.
    if callable(getattr(source, "compute_epsilon", None)) and hasattr(source, "compute_delta"):
        if compositions is None:
            raise ArgumentError(
                f"compositions: not given; {type(source).__name__} needs how often each of its "
                "mechanisms is composed with itself"
            )
        return source.compute_epsilon(delta, np.atleast_1d(compositions).tolist())
    if callable(source):
        return ask(source, (delta,), "source", f"at delta = {delta:g}")
    raise ArgumentError(f"source: a {type(source).__name__} was given; {_KINDS}")


@public
def epsilon_upper(
    source: Source, delta: float, *, compositions: int | Sequence[int] | None = None
) -> float:
    """Return the upper bound of epsilon that an accountant promises at delta.

    No accountant is imported: the methods of `source` decide.

    Parameters
    ----------
    source : number, tuple, accountant or callable
        A number is the bound itself. In a tuple (lower, estimate, upper), as from prv_accountant,
        the last number is the bound. Other sources are called: a ``PrivacyLossDistribution`` of
        dp_accounting by ``get_epsilon_for_delta(delta)``, its accountants (``RdpAccountant``,
        ``PLDAccountant``) by ``get_epsilon(delta)``, a ``PRVAccountant`` of prv_accountant by
        ``compute_epsilon(delta, compositions)``. For anything else, give a function of delta that
        returns the number or the tuple.
    delta : float
        In [0, 1). A number or a tuple must be the bound at this delta.
    compositions : int or sequence of int, optional
        The number of compositions of each mechanism of a ``PRVAccountant`` with itself; no other
        source needs it.

    Returns
    -------
    float
        Epsilon, at least 0; infinite if there is no guarantee. The bounds of `RdpAccountant` and
        `PRVAccountant` are not tight.

    Raises
    ------
    ArgumentError
        If `source` is none of these, if its bound is negative, NaN or not a number, if `delta`
        is not in [0, 1), or if `compositions` are missing.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.privacy.epsilon_upper((4.3, 4.4, 4.5), 1e-5)
    4.5
    >>> fm.privacy.epsilon_upper(lambda delta: 0.5 if delta < 0.01 else 0.4, 1e-5)
    0.5
    """
    at = probability("delta", delta, zero=True)
    plain = isinstance(source, numbers.Real | str | tuple | list)
    bound = _bound(source if plain else _ask(source, at, compositions))
    if plain and bound < 0:
        raise ArgumentError(f"source: {bound:g} was given; an epsilon of 0 or more is needed")
    # For a large delta accountants may give a negative epsilon; then 0 is valid too.
    return max(bound, 0.0)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class EpsilonGap(Result):
    """The gap between an upper bound of epsilon and a posterior of it; see `compare`.

    Attributes
    ----------
    epsilon_upper : float or numpy.ndarray
        The bound of the accountant.
    epsilon_lower : float or numpy.ndarray
        The value that epsilon exceeds with posterior probability `prob`.
    gap : float or numpy.ndarray
        `epsilon_upper` - `epsilon_lower`. It is negative if the attack contradicts the guarantee.
    prob_above : float or numpy.ndarray
        The posterior probability of more than `epsilon_upper`.
    delta : float or numpy.ndarray
        The delta of the posterior and of the bound.
    prob : float
        As given.

    Examples
    --------
    >>> import fermiac as fm
    >>> p = fm.privacy.epsilon_posterior(400, 100, 100, 400, delta=1e-5)
    >>> found = fm.privacy.compare(p, fm.privacy.gdp_epsilon(1e-5, mu=1.0))
    >>> bool(found.gap > 0), bool(found.prob_above < 1e-3)
    (True, True)
    """

    epsilon_upper: Any
    epsilon_lower: Any
    gap: Any
    prob_above: Any
    delta: Any
    prob: float

    _layout: ClassVar[fit.Layout] = {
        "epsilon_upper": fit.figures("*shape"),
        "epsilon_lower": fit.figures("*shape"),
        "gap": fit.figures("*shape"),
        "prob_above": fit.figures("*shape"),
        "delta": fit.figures("*shape"),
        "prob": fit.real,
    }

    def _headline(self) -> str:
        gaps = np.asarray(self.gap)
        if gaps.ndim:
            span = f"from {gaps.min():.6g} to {gaps.max():.6g}" if gaps.size else "none"
            return f"EpsilonGap: {gaps.size} gaps, {span}"
        return (
            f"EpsilonGap: {self.gap:.6g}, from {self.epsilon_lower:.6g} (probability "
            f"{self.prob:g}) to {self.epsilon_upper:.6g} at delta {self.delta:g}"
        )

    def __repr__(self) -> str:
        if np.ndim(self.gap):
            return self._first_line()
        return f"{self._first_line()}\n  probability of more: {self.prob_above:.3g}"


@public
def compare(
    posterior: Posterior,
    source: Source,
    *,
    prob: float = 0.95,
    compositions: int | Sequence[int] | None = None,
) -> EpsilonGap:
    """Compare the epsilon that an attack shows with the epsilon that an accountant guarantees.

    A wide gap means that the attack or the accounting is weak. If the gap is negative, the attack
    contradicts the guarantee with probability `prob`: the implementation or the accounting is
    wrong.

    Parameters
    ----------
    posterior : EpsilonPosterior
        The result of `epsilon_posterior`, for one attack or many. Any object with `delta`,
        ``ppf(q)`` and ``prob_above(epsilon)`` will do.
    source : number, tuple, accountant or callable
        The source of the upper bound at the posterior's delta; see `epsilon_upper`.
    prob : float, default 0.95
        The probability of the posterior's lower bound, in (0, 1).
    compositions : int or sequence of int, optional
        For a ``PRVAccountant``; see `epsilon_upper`.

    Returns
    -------
    EpsilonGap
        Both bounds, the gap, and the probability that epsilon is above the upper bound.

    Raises
    ------
    ArgumentError
        If `posterior` or `source` is not understood, or `prob` is not in (0, 1).

    Examples
    --------
    The tight epsilon of the Gaussian mechanism with noise equal to the sensitivity, and an attack:

    >>> import fermiac as fm
    >>> p = fm.privacy.epsilon_posterior(400, 100, 100, 400, delta=1e-5)
    >>> fm.privacy.compare(p, fm.privacy.gdp_epsilon(1e-5, mu=1.0))
    EpsilonGap: 3.09227, from 1.28491 (probability 0.95) to 4.37718 at delta 1e-05
      probability of more: ...
    """
    start = time.perf_counter()
    share = probability("prob", prob)
    for name in ("delta", "ppf", "prob_above"):
        if not hasattr(posterior, name):
            raise ArgumentError(
                f"posterior: a {type(posterior).__name__} without {name} was given; what "
                "epsilon_posterior returns is needed"
            )
    quantiles, delta = (
        np.asarray(v, np.float64) for v in (posterior.ppf(1 - share), posterior.delta)
    )
    lower, deltas = np.broadcast_arrays(quantiles, delta)
    # Accountants are slow, so each delta is computed once.
    each, where = np.unique(deltas, return_inverse=True)
    bounds = np.array([epsilon_upper(source, float(d), compositions=compositions) for d in each])
    upper: Array = bounds[where].reshape(lower.shape)
    finite = np.isfinite(upper)
    # A posterior has no mass at infinity.
    above = np.where(finite, posterior.prob_above(np.where(finite, upper, 0.0)[()]), 0.0)
    return EpsilonGap(
        **provenance({"prob": share, "compositions": compositions}, time.perf_counter() - start),
        epsilon_upper=upper[()],
        epsilon_lower=np.array(lower)[()],
        gap=(upper - lower)[()],
        prob_above=above[()],
        delta=np.array(deltas)[()],
        prob=share,
    )
