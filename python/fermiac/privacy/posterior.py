"""Posteriors of epsilon, delta and mu from the errors of an attack."""

from __future__ import annotations

import time
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from fermiac import special
from fermiac._base import layout as fit
from fermiac._base import registry
from fermiac._base.calls import public
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.validate import choice, numbers, taken, unwrapped
from fermiac.privacy.checks import (
    Array,
    Layout,
    at_least_zero,
    confusion_counts,
    fraction,
    provenance,
)
from fermiac.privacy.gaussian import gdp_epsilon
from fermiac.privacy.posterior_base import Posterior, laws, on, rows_of_part
from fermiac.privacy.rates import DIRECTIONS, Direction, delta_of_rates, epsilon_of_rates

if TYPE_CHECKING:
    from matplotlib.axes import Axes


__all__ = [
    "DeltaPosterior",
    "EpsilonPosterior",
    "MuPosterior",
    "delta_posterior",
    "epsilon_posterior",
    "mu_posterior",
]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class EpsilonPosterior(Posterior):
    """The posterior of epsilon at a delta; see `epsilon_posterior`.

    Attributes
    ----------
    tp, fp, fn, tn : float or ndarray
        The counts.
    prior : str or tuple
        The prior laws of the error rates.
    direction : str
        The ratios that are included.
    delta : float or ndarray
        The delta of the definition.

    Examples
    --------
    >>> import fermiac as fm
    >>> p = fm.privacy.epsilon_posterior(400, 100, 100, 400, delta=1e-5)
    >>> bool(p.ppf(0.05) < p.mean < p.ppf(0.95))
    True
    """

    _measure: ClassVar[str] = "epsilon"
    _symbol: ClassVar[str] = "ε"

    delta: float | Array

    _layout: ClassVar[fit.Layout] = {
        "delta": fit.figures(),
    }

    def __post_init__(self) -> None:
        fraction("delta", self.delta, zero=True)

    @property
    def _given(self) -> Array:
        return np.asarray(self.delta, dtype=np.float64)

    def _at(self) -> str:
        return f" at delta {self.delta:g}" if np.ndim(self.delta) == 0 else " at several deltas"

    def _of_rates(self, fnr: Array, fpr: Array) -> Array:
        return np.asarray(epsilon_of_rates(fnr, fpr, delta=self.delta, direction=self.direction))

    @property
    def plugin_map(self) -> Any:
        """Epsilon at the posterior modes of the rates; +inf if the mode of an error rate is 0.

        A point estimate for comparison. Use `median` or `mode` to summarise the posterior.
        """
        rates = self._laws
        modes = [
            _mode(rates["fnr_a"], rates["fnr_b"]),
            _mode(rates["fpr_a"], rates["fpr_b"]),
        ]
        return epsilon_of_rates(*modes, delta=self.delta, direction=self.direction)

    def privacy_curve(self, delta: ArrayLike, q: ArrayLike = (0.05, 0.5, 0.95)) -> Array:
        """Return quantiles of epsilon over delta: the privacy curve of the attack.

        Parameters
        ----------
        delta : array_like, shape (m,)
            The deltas, in [0, 1).
        q : array_like, shape (k,)
            Probabilities, by default 5, 50 and 95 %.

        Returns
        -------
        ndarray, shape (k, m, ...)

        Raises
        ------
        ArgumentError
            If a delta or a probability is outside its range.

        Examples
        --------
        >>> import fermiac as fm
        >>> p = fm.privacy.epsilon_posterior(400, 100, 100, 400)
        >>> p.privacy_curve([0.0, 0.1]).round(3)
        array([[1.285, 1.146],
               [1.422, 1.287],
               [1.569, 1.436]])
        """
        grid, p = (
            fraction("delta", np.atleast_1d(taken("delta", delta)), zero=True),
            np.atleast_1d(numbers("q", q)),
        )
        tail = (1,) * len(self.shape)
        given = grid.reshape(1, -1, *tail)
        return np.asarray(
            epsilon_posterior(
                self.tp, self.fp, self.fn, self.tn, delta=given, prior=self.prior,
                direction=self.direction,
            ).ppf(p.reshape(-1, 1, *tail))
        )  # fmt: skip

    def delta_posterior(self, epsilon: ArrayLike) -> DeltaPosterior:
        """Return the posterior of delta at an epsilon, for the same attack."""
        return delta_posterior(
            self.tp, self.fp, self.fn, self.tn, epsilon=epsilon, prior=self.prior,
            direction=self.direction,
        )  # fmt: skip

    def mu_posterior(self) -> MuPosterior:
        """Return the posterior of mu for the same attack; it assumes a Gaussian trade-off curve."""
        return mu_posterior(
            self.tp, self.fp, self.fn, self.tn, prior=self.prior,
            direction="both" if self.direction == "both" else "attack",
        )  # fmt: skip

    def plot_region(self, ax: Axes | None = None, *, epsilon: float | None = None) -> Axes:
        """Draw the posterior of the error rates and the region that an epsilon allows.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            The axes; of a new figure by default.
        epsilon : float, optional
            The epsilon of the region; the posterior median by default.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ArgumentError
            If there is more than one posterior here.
        ImportError
            If matplotlib is not installed.
        """
        drawn: Axes = registry.function("plotting", "plot_region")(self, ax, epsilon=epsilon)
        return drawn


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class DeltaPosterior(Posterior):
    """The posterior of delta at an epsilon; see `delta_posterior`.

    Attributes
    ----------
    tp, fp, fn, tn : float or ndarray
        The counts.
    prior : str or tuple
        The prior laws of the error rates.
    direction : str
        The ratios that are included.
    epsilon : float or ndarray
        The epsilon of the definition.

    Examples
    --------
    >>> import fermiac as fm
    >>> p = fm.privacy.delta_posterior(400, 100, 100, 400, epsilon=1.0)
    >>> bool(p.interval(0.9)[0] < p.mean < p.interval(0.9)[1])
    True
    """

    _measure: ClassVar[str] = "delta"
    _symbol: ClassVar[str] = "δ"

    epsilon: float | Array

    _layout: ClassVar[fit.Layout] = {
        "epsilon": fit.figures(),
    }

    @property
    def _given(self) -> Array:
        return np.asarray(self.epsilon, dtype=np.float64)

    def _at(self) -> str:
        one = np.ndim(self.epsilon) == 0
        return f" at epsilon {self.epsilon:g}" if one else " at several epsilons"

    def _of_rates(self, fnr: Array, fpr: Array) -> Array:
        return np.asarray(delta_of_rates(fnr, fpr, epsilon=self.epsilon, direction=self.direction))


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class MuPosterior(Posterior):
    """The posterior of mu of Gaussian differential privacy; see `mu_posterior`.

    Attributes
    ----------
    tp, fp, fn, tn : float or ndarray
        The counts.
    prior : str or tuple
        The prior laws of the error rates.
    direction : str
        ``"both"`` if the attack with flipped answers is included, else ``"attack"``.

    Examples
    --------
    >>> import fermiac as fm
    >>> p = fm.privacy.mu_posterior(400, 100, 100, 400)
    >>> bool(p.ppf(0.05) < p.mean < p.ppf(0.95))
    True
    """

    _measure: ClassVar[str] = "mu"
    _symbol: ClassVar[str] = "μ"

    def _of_rates(self, fnr: Array, fpr: Array) -> Array:
        mu = -(special.ndtri(fnr) + special.ndtri(fpr))
        return np.asarray(np.abs(mu) if self.direction == "both" else np.maximum(mu, 0.0))

    def epsilon_quantile(self, q: ArrayLike, *, delta: ArrayLike) -> Any:
        """Return quantiles of the epsilon at `delta` that belongs to mu.

        Epsilon increases with mu, so they are the epsilons of the quantiles of mu.
        """
        return gdp_epsilon(fraction("delta", delta), mu=np.maximum(self.ppf(q), 1.0e-300))


@public
def epsilon_posterior(
    tp: ArrayLike | None = None,
    fp: ArrayLike | None = None,
    fn: ArrayLike | None = None,
    tn: ArrayLike | None = None,
    *,
    table: ArrayLike | None = None,
    layout: Layout | None = None,
    delta: ArrayLike = 0.0,
    prior: Any = "jeffreys",
    direction: Direction = "both",
    plan: PlanLike | None = None,
) -> EpsilonPosterior:
    r"""Return the posterior of epsilon from the counts of an attack.

    The false-negative rate X and the false-positive rate Y have independent beta posteriors. The
    epsilon of the attack is a function of both,

    .. math:: \varepsilon^* = \max\Bigl\{0, \ln\frac{1-\delta-Y}{X}, \ln\frac{1-\delta-X}{Y},
       \ln\frac{Y-\delta}{1-X}, \ln\frac{X-\delta}{1-Y}\Bigr\},

    and the result is its law, with exact probabilities, quantiles, intervals and moments. It bounds
    the epsilon of the mechanism only from below: a better attack may find a larger epsilon. All
    arguments broadcast; equal rows are computed once.

    Parameters
    ----------
    tp, fp, fn, tn : array_like
        True positives, false positives, false negatives, true negatives: numbers of at least 0,
        which need not be whole. This is not the order of scikit-learn, whose
        ``confusion_matrix(truth, answer).ravel()`` is (tn, fp, fn, tp): give its table by
        ``table=``, or the counts by keyword.
    table : array_like, shape (..., 2, 2), optional
        The counts as a table, in their place; needs `layout`.
    layout : {"sklearn", "members-first"}, optional
        The cells of `table`: ``[[tn, fp], [fn, tp]]``, or ``[[tp, fn], [fp, tn]]``.
    delta : array_like, default 0
        In [0, 1).
    prior : {"jeffreys", "uniform", "joint-dirichlet"} or two pairs, default "jeffreys"
        Beta(1/2, 1/2) or Beta(1, 1) for both rates, or ``((a, b), (a, b))`` for the false-negative
        rate and the false-positive rate, with each parameter from 0.05 to 1e15.
        ``"joint-dirichlet"``, a Dirichlet law with 1/2 for all four cells, gives the rates the same
        law as Jeffreys' prior.
    direction : {"both", "attack", "forward", "reverse"}, default "both"
        The ratios that are included: all four, which are those of the attack and of the same attack
        with flipped answers; the first two, of the attack alone; the second, true positives over
        false positives; or the first, true negatives over false negatives.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``part``); see `fermiac.Plan`.
        ``part``: (i, n): the posterior of part i, counted from 0, of n parts of the rows, along one
        axis. `fermiac.merge` joins the `columns` of all parts.

    Returns
    -------
    EpsilonPosterior
        A posterior with `cdf`, `sf`, `pdf`, `ppf`, `interval`, `mean`, `mode`, `prob_above`,
        `prob_zero` and more.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or the shapes do not broadcast.

    Notes
    -----
    Probabilities have absolute errors of about 1e-13. Small upper tails also have relative errors
    of this size, as far as double precision resolves the argument. With delta > 0 the posterior has
    an atom at 0, `prob_zero`. Quantiles may be large but are finite.

    References
    ----------
    .. [1] S. Zanella-Béguelin, L. Wutschitz, S. Tople, A. Salem, V. Rühle, A. Paverd, M. Naseri, B.
       Köpf, D. Jones, "Bayesian estimation of differential privacy", ICML, 2023, arXiv:2206.05199.

    Examples
    --------
    >>> import fermiac as fm
    >>> p = fm.privacy.epsilon_posterior(400, 100, 100, 400, delta=1e-5)
    >>> p
    EpsilonPosterior: 1.42241, 90 % interval 1.28491 to 1.56898 at delta 1e-05
    ...
    >>> round(p.mean, 6), round(p.prob_above(1.5), 6)
    (1.424089, 0.187815)
    >>> # sklearn.metrics.confusion_matrix(is_member, answer)
    >>> table = [[400, 100], [100, 400]]
    >>> q = fm.privacy.epsilon_posterior(table=table, layout="sklearn", delta=1e-5)
    >>> q.mean == p.mean
    True
    >>> many = fm.privacy.epsilon_posterior([100, 487], [0, 512], 0, [100, 1], delta=1e-5)
    >>> many.ppf(0.05).round(6)
    array([4.896377, 0.143895])
    """
    where = plan_of(plan, "executor", "part")
    start = time.perf_counter()
    at = fraction("delta", delta, zero=True).copy()
    cells = confusion_counts((tp, fp, fn, tn), table, layout)
    given, _ = laws("epsilon_posterior", cells, prior, delta=at)
    given, prior, at, address = rows_of_part("epsilon_posterior", where.part, given, prior, at)
    side = choice("direction", direction, DIRECTIONS)
    fields = _common(given, prior, side, start, address)
    return on(where.executor, EpsilonPosterior(**fields, delta=unwrapped(at)))


@public
def delta_posterior(
    tp: ArrayLike | None = None,
    fp: ArrayLike | None = None,
    fn: ArrayLike | None = None,
    tn: ArrayLike | None = None,
    *,
    table: ArrayLike | None = None,
    layout: Layout | None = None,
    epsilon: ArrayLike,
    prior: Any = "jeffreys",
    direction: Direction = "both",
    plan: PlanLike | None = None,
) -> DeltaPosterior:
    r"""Return the posterior of delta at an epsilon, from the counts of an attack.

    The function is like `epsilon_posterior`, but for

    .. math:: \delta^* = \max\{0, 1-Y-e^\varepsilon X, 1-X-e^\varepsilon Y,
       Y-e^\varepsilon(1-X), X-e^\varepsilon(1-Y)\}.

    Parameters
    ----------
    tp, fp, fn, tn : array_like
        The counts; see `epsilon_posterior`. This is not the order of scikit-learn, whose
        ``confusion_matrix(truth, answer).ravel()`` is (tn, fp, fn, tp): give its table by
        ``table=``, or the counts by keyword.
    table : array_like, shape (..., 2, 2), optional
        The counts as a table, in their place; needs `layout`.
    layout : {"sklearn", "members-first"}, optional
        The cells of `table`: ``[[tn, fp], [fn, tp]]``, or ``[[tp, fn], [fp, tn]]``.
    epsilon : array_like
        At least 0.
    prior, direction
        See `epsilon_posterior`.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``part``); see `fermiac.Plan`.
        ``part``: see `epsilon_posterior`.

    Returns
    -------
    DeltaPosterior
        A posterior on [0, 1) with the methods of `EpsilonPosterior`. `prob_zero` is the probability
        that the attack does not contradict pure differential privacy at `epsilon`.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or the shapes do not broadcast.

    References
    ----------
    .. [1] S. Zanella-Béguelin et al., "Bayesian estimation of differential privacy", ICML, 2023,
       arXiv:2206.05199.

    Examples
    --------
    >>> import fermiac as fm
    >>> d = fm.privacy.delta_posterior(400, 100, 100, 400, epsilon=1.0)
    >>> p = fm.privacy.epsilon_posterior(400, 100, 100, 400, delta=0.2)
    >>> bool(abs(d.cdf(0.2) - p.cdf(1.0)) < 1e-12)  # the same event
    True
    """
    where = plan_of(plan, "executor", "part")
    start = time.perf_counter()
    at = at_least_zero("epsilon", epsilon).copy()
    cells = confusion_counts((tp, fp, fn, tn), table, layout)
    given, _ = laws("delta_posterior", cells, prior, epsilon=at)
    given, prior, at, address = rows_of_part("delta_posterior", where.part, given, prior, at)
    side = choice("direction", direction, DIRECTIONS)
    fields = _common(given, prior, side, start, address)
    return on(where.executor, DeltaPosterior(**fields, epsilon=unwrapped(at)))


@public
def mu_posterior(
    tp: ArrayLike | None = None,
    fp: ArrayLike | None = None,
    fn: ArrayLike | None = None,
    tn: ArrayLike | None = None,
    *,
    table: ArrayLike | None = None,
    layout: Layout | None = None,
    prior: Any = "jeffreys",
    direction: Literal["both", "attack"] = "both",
    plan: PlanLike | None = None,
) -> MuPosterior:
    r"""Return the posterior of mu of Gaussian differential privacy, from the counts of an attack.

    It is the law of :math:`\mu^* = |\Phi^{-1}(1-Y) - \Phi^{-1}(X)|`. The trade-off curve of the
    mechanism is assumed to be that of two normal laws with distance mu, so one point determines the
    curve. This is an extrapolation: with the counts 400, 100, 100, 400 the median of epsilon at
    delta = 1e-5 is 8.09 from mu, and 1.42 from `epsilon_posterior`, which does not assume it.

    Parameters
    ----------
    tp, fp, fn, tn : array_like
        The counts; see `epsilon_posterior`. This is not the order of scikit-learn, whose
        ``confusion_matrix(truth, answer).ravel()`` is (tn, fp, fn, tp): give its table by
        ``table=``, or the counts by keyword.
    table : array_like, shape (..., 2, 2), optional
        The counts as a table, in their place; needs `layout`.
    layout : {"sklearn", "members-first"}, optional
        The cells of `table`: ``[[tn, fp], [fn, tp]]``, or ``[[tp, fn], [fp, tn]]``.
    prior
        See `epsilon_posterior`.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``part``); see `fermiac.Plan`.
        ``part``: see `epsilon_posterior`.
    direction : {"both", "attack"}, default "both"
        Whether the attack with flipped answers is included. Without it the posterior has the mass
        of negative mu as an atom at 0.

    Returns
    -------
    MuPosterior
        A posterior with the methods of `EpsilonPosterior`, and `epsilon_quantile`.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or the shapes do not broadcast.

    References
    ----------
    .. [1] J. Dong, A. Roth, W. J. Su, "Gaussian differential privacy", Journal of the Royal
       Statistical Society B, 2022, arXiv:1905.02383.
    .. [2] M. Nasr et al., "Tight auditing of differentially private machine learning", USENIX
       Security, 2023, arXiv:2302.07956.

    Examples
    --------
    >>> import fermiac as fm
    >>> m = fm.privacy.mu_posterior(400, 100, 100, 400)
    >>> m.ppf([0.05, 0.5, 0.95]).round(6)
    array([1.534343, 1.682101, 1.831417])
    >>> round(m.epsilon_quantile(0.5, delta=1e-5), 3)
    8.093
    """
    where = plan_of(plan, "executor", "part")
    start = time.perf_counter()
    cells = confusion_counts((tp, fp, fn, tn), table, layout)
    given, _ = laws("mu_posterior", cells, prior)
    given, prior, _, address = rows_of_part("mu_posterior", where.part, given, prior, None)
    side = choice("direction", direction, ("both", "attack"))
    return on(where.executor, MuPosterior(**_common(given, prior, side, start, address)))


def _common(
    given: dict[str, Array],
    prior: Any,
    side: str,
    start: float,
    address: dict[str, Any],
) -> dict[str, Any]:
    """Return the fields that all posteriors have."""
    prior = deepcopy(prior)
    return {
        **provenance({"prior": prior, "direction": side, **address}, time.perf_counter() - start),
        **{name: unwrapped(value) for name, value in given.items()},
        "prior": prior,
        "direction": side,
    }


def _mode(a: Array, b: Array) -> Array:
    """Return the mode of a beta law: an end if the mode is there, ½ if both ends are modes."""
    a, b = np.broadcast_arrays(a, b)
    with np.errstate(divide="ignore", invalid="ignore"):
        inner = (a - 1) / (a + b - 2)
    ends = np.where(a < b, 0.0, np.where(a > b, 1.0, 0.5))
    return np.where((a > 1) & (b > 1), inner, np.where((a <= 1) & (b <= 1), ends, a > 1))
