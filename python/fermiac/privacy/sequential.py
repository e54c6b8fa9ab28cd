"""Sequential audits: lower bounds of epsilon that are valid at every look at the scores."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import special
from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.validate import real, taken
from fermiac.errors import ArgumentError
from fermiac.privacy.checks import Array, provenance, single
from fermiac.privacy.checks import scores as scores_of
from fermiac.privacy.trade_off import TradeOff
from fermiac.results.result import Result

if TYPE_CHECKING:
    pass

__all__ = ["SequentialAudit", "audit_sequential"]

Integers = NDArray[np.int64]

#: The claims that are tested, in increasing order of epsilon. A bound is one of these numbers.
_CLAIMS = np.concatenate(
    [np.arange(0.0, 6.0, 0.02), np.arange(6.0, 12.0, 0.1), np.arange(12.0, 31)]
)
#: The same for mu.
_MU_CLAIMS = np.concatenate([np.arange(0.0, 4.0, 0.02), np.arange(4.0, 10.01, 0.1)])
#: The size of a block as a share of the number of scores before it.
_GROWTH = 1 / 16
#: The number of thresholds that are compared before a block.
_N_THRESHOLDS = 48
#: Before the first scores the bets expect an attack with this many times the epsilon of the claim,
#: or of `_EXPECTED` if there is no claim.
_TIMES, _EXPECTED = 2.0, 0.5
#: The weight of this expectation in scores, for a given threshold and for a chosen one.
_GIVEN, _CHOSEN = 16.0, 6.0
_BISECTIONS = 52


class Region(NamedTuple):
    """The rates that a claim allows: TPR at most a concave function of FPR."""

    #: The largest true-positive rate at a false-positive rate, and its slope.
    height: Callable[[Array], Array]
    slope: Callable[[Array], Array]


def epsilon_region(epsilon: Array, delta: float) -> Region:
    """Return the region of (epsilon, delta)-differential privacy, for an array of epsilons."""
    steep, flat = np.exp(epsilon), np.exp(-epsilon)

    def height(q: Array) -> Array:
        return np.minimum(np.minimum(steep * q + delta, 1 - flat * (1 - q - delta)), 1.0)

    def slope(q: Array) -> Array:
        first, second = steep * q + delta, 1 - flat * (1 - q - delta)
        return np.where(np.minimum(first, second) >= 1, 0.0, np.where(first < second, steep, flat))

    return Region(height, slope)


def gaussian_region(mu: Array) -> Region:
    """Return the region of mu-Gaussian differential privacy, for an array of mus."""

    def height(q: Array) -> Array:
        return np.asarray(special.ndtr(special.ndtri(q) + mu))

    def slope(q: Array) -> Array:
        z = special.ndtri(q)
        return np.asarray(special.exp(-mu * (z + 0.5 * mu)))

    return Region(height, slope)


def curve_region(curve: TradeOff) -> Region:
    """Return the region above a trade-off curve."""
    slopes = -np.diff(curve.fnr) / np.diff(curve.fpr)

    def height(q: Array) -> Array:
        return 1.0 - np.interp(q, curve.fpr, curve.fnr)

    def slope(q: Array) -> Array:
        at = np.searchsorted(curve.fpr, q, "right") - 1
        return slopes[np.clip(at, 0, len(slopes) - 1)]

    return Region(height, slope)


def nearest(p: Array, q: Array, n: Array, m: Array, region: Region) -> tuple[Array, Array]:
    """Return the rates of a region with the smallest relative entropy to given rates.

    The entropy is that of `n` answers about members at the rate p and `m` answers about non-members
    at the rate q. All arrays broadcast. Rates inside the region are returned unchanged.
    """
    # Along the edge of the region the entropy falls and then rises.
    shape = np.broadcast_shapes(p.shape, q.shape, n.shape, region.height(np.asarray(q)).shape)
    inside = region.height(q) >= p
    low, high = np.broadcast_to(q, shape).copy(), np.ones(shape)
    for _ in range(_BISECTIONS):
        x = 0.5 * (low + high)
        h = region.height(x)
        with np.errstate(divide="ignore", invalid="ignore"):
            rises = n * region.slope(x) * (h - p) / (h * (1 - h)) + m * (x - q) / (x * (1 - x))
        up = ~(rises < 0)  # also where h is 1
        high = np.where(up, x, high)
        low = np.where(up, low, x)
    x = 0.5 * (low + high)
    return np.where(inside, p, region.height(x)), np.where(inside, q, x)


class Bets(NamedTuple):
    """The counts of each block of scores, and the rates of its bets; arrays (k,)."""

    n: Array
    hits: Array
    m: Array
    alarms: Array
    tpr: Array
    fpr: Array

    def log_e(self, region: Region) -> Array:
        """Return the logarithms of the e-values of the blocks, shape (k, claims)."""
        n, hits, m, alarms, p, q = (column[:, None] for column in self)
        p0, q0 = nearest(p, q, n, m, region)
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = (
                (hits, p, p0),
                (n - hits, 1 - p, 1 - p0),
                (alarms, q, q0),
                (m - alarms, 1 - q, 1 - q0),
            )
            each = [np.where(count > 0, count * np.log(a / b), 0.0) for count, a, b in terms]
        return np.asarray(sum(each))


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class SequentialAudit(Result):
    """An audit with a bound that is valid at every look; see `audit_sequential`.

    Attributes
    ----------
    epsilon_lower : float
        The lower bound at the last look; the bounds never decrease.
    alpha : float
        The probability that any of the bounds is too high.
    delta : float
        The delta of the bound.
    bounds : ndarray, shape (k,)
        The lower bound after each of the k looks.
    n_members, n_nonmembers : ndarray of int, shape (k,)
        The number of scores up to each look.
    thresholds : ndarray, shape (k,)
        The threshold of the scores between two looks, chosen from the scores before them.
    hits, alarms : ndarray of int, shape (k,)
        The number of scores between two looks that are at or above the threshold, of members and of
        non-members.
    bets : ndarray, shape (k, 2)
        The true-positive and the false-positive rate that the bets expect between two looks.
    claim : float or None
        The epsilon that the audit tests.
    rejected : bool
        Whether the claim was rejected. The audit stops at the rejection.
    members, nonmembers : ndarray
        The scores that were used, for `extend`.

    Examples
    --------
    >>> import fermiac as fm
    >>> stream = fm.random.Stream(1)
    >>> a = fm.privacy.audit_sequential(
    ...     stream.normal(5000) + 1.0, stream.normal(5000), claim=0.5
    ... )
    >>> a.rejected, a.members.size < 500
    (True, True)
    """

    epsilon_lower: float
    alpha: float
    delta: float
    bounds: Array
    n_members: Integers
    n_nonmembers: Integers
    thresholds: Array
    hits: Integers
    alarms: Integers
    bets: Array
    claim: float | None
    rejected: bool
    members: Array
    nonmembers: Array

    _layout: ClassVar[fit.Layout] = {
        "epsilon_lower": fit.real,
        "alpha": fit.real,
        "delta": fit.real,
        "bounds": fit.array("f", "looks", low=0.0),
        "n_members": fit.array("i", "looks", low=0, rising=True),
        "n_nonmembers": fit.array("i", "looks", low=0, rising=True),
        "thresholds": fit.array("f", "looks"),
        "hits": fit.array("i", "looks", low=0),
        "alarms": fit.array("i", "looks", low=0),
        "bets": fit.array("f", "looks", 2, low=0.0, high=1.0),
        "claim": fit.maybe(fit.real),
        "rejected": fit.flag,
        "members": fit.array("f", "members"),
        "nonmembers": fit.array("f", "nonmembers"),
    }

    def _headline(self) -> str:
        end = ""
        if self.claim is not None:
            end = f"; the claim {self.claim:.6g} is {'' if self.rejected else 'not '}rejected"
        return (
            f"SequentialAudit: epsilon >= {self.epsilon_lower:.6g} at delta {self.delta:.3g} "
            f"after {self.members.size} + {self.nonmembers.size} scores "
            f"({100 * (1 - self.alpha):.6g} % at every look{end})"
        )

    def _records(self) -> Bets:
        n, m = (
            np.diff(total, prepend=0).astype(float) for total in (self.n_members, self.n_nonmembers)
        )
        return Bets(n, self.hits.astype(float), m, self.alarms.astype(float), *self.bets.T)

    @property
    def mu_lower(self) -> float:
        """The lower bound of mu of Gaussian differential privacy, from the same scores."""
        path = np.cumsum(self._records().log_e(gaussian_region(_MU_CLAIMS)), axis=0)
        first = _first_kept(path.max(axis=0, initial=-np.inf), self.alpha)
        return float(_MU_CLAIMS[first - 1]) if first else 0.0

    def log_e_values(self, claim: float | TradeOff) -> Array:
        """Return the evidence against a claim at each look.

        Parameters
        ----------
        claim : float or TradeOff
            An epsilon, which is combined with the delta of the audit, or a trade-off curve.

        Returns
        -------
        ndarray, shape (k,)
            The logarithm of an e-process. If the claim is true, the probability that it ever
            exceeds log(1 / a) is at most a.

        Raises
        ------
        ArgumentError
            If the claim is negative, NaN, or neither a number nor a curve.

        Examples
        --------
        >>> import fermiac as fm
        >>> stream = fm.random.Stream(1)
        >>> a = fm.privacy.audit_sequential(stream.normal(500) + 1.0, stream.normal(500))
        >>> true = fm.privacy.TradeOff.from_gdp(1.0)
        >>> bool(a.log_e_values(0.5)[-1] > 3 > a.log_e_values(true)[-1])
        True
        """
        if isinstance(claim, TradeOff):
            region = curve_region(claim)
        else:
            region = epsilon_region(np.array([_claimed(claim)]), self.delta)
        return np.asarray(np.cumsum(self._records().log_e(region)[:, 0]))

    def extend(self, members: ArrayLike, nonmembers: ArrayLike) -> SequentialAudit:
        """Return the audit with additional scores; its bound stays valid at every look.

        Parameters
        ----------
        members, nonmembers : array_like
            The scores that follow those of this audit.

        Returns
        -------
        SequentialAudit

        Raises
        ------
        ArgumentError
            As in `audit_sequential`.

        Examples
        --------
        >>> import fermiac as fm
        >>> stream = fm.random.Stream(1)
        >>> a = fm.privacy.audit_sequential(stream.normal(50) + 1.0, stream.normal(50))
        >>> b = a.extend(stream.normal(500) + 1.0, stream.normal(500))
        >>> b.members.size, a.epsilon_lower <= b.epsilon_lower
        (550, True)
        """
        began = time.perf_counter()
        some, others = scores_of("members", members), scores_of("nonmembers", nonmembers)
        fixed = self.settings["threshold"]
        state = _State(self.delta, self.alpha, self.claim, fixed, self)
        state.run(some, others)
        return state.result(time.perf_counter() - began)


@public
def audit_sequential(
    members: ArrayLike,
    nonmembers: ArrayLike,
    *,
    claim: float | None = None,
    threshold: float | None = None,
    delta: float = 0.0,
    alpha: float = 0.05,
) -> SequentialAudit:
    r"""Bound epsilon from below by scores that arrive one after the other.

    The bounds are valid at all looks simultaneously. An audit can therefore stop as soon as the
    bound is high enough, and continue otherwise [1]_ [2]_.

    Parameters
    ----------
    members, nonmembers : array_like, shapes (n,) and (m,)
        The scores of an attack in the order of arrival. High scores indicate members. Each block
        takes the same share of both arrays.
    claim : float, optional
        The epsilon that is claimed for the mechanism, together with `delta`. The audit stops when
        the claim is rejected. Without a claim it uses all scores.
    threshold : float, optional
        A score at or above it means "member". By default the threshold of each block is the best
        one for the scores before the block.
    delta : float, default 0
        In [0, 1).
    alpha : float, default 0.05
        The probability that any of the bounds is too high; in (0, 1).

    Returns
    -------
    SequentialAudit
        ``epsilon_lower``, the ``bounds`` at all looks, and the method ``extend`` for more scores.
        Bounds are multiples of 0.02 up to 6, of 0.1 up to 12, and whole numbers up to 30.

    Raises
    ------
    ArgumentError
        If the scores are empty or NaN, the probabilities are outside their domains, or the claim is
        negative.

    Notes
    -----
    Scores are used in blocks. Each block has a sixteenth of the number of scores before it. Before
    a block the rates :math:`\hat p` of hits and :math:`\hat q` of false alarms are estimated from
    the scores before it. A claim allows a convex set of rates. Let :math:`(p_0, q_0)` be the rates
    in this set with the smallest relative entropy to the estimates, weighted by the numbers of
    scores in the block. With h hits among n members and a alarms among m non-members,

    .. math:: E = \left(\frac{\hat p}{p_0}\right)^{h}
              \left(\frac{1 - \hat p}{1 - p_0}\right)^{n - h}
              \left(\frac{\hat q}{q_0}\right)^{a}
              \left(\frac{1 - \hat q}{1 - q_0}\right)^{m - a}

    has an expectation of at most 1 at all rates that the claim allows [3]_: the logarithm of the
    expectation is concave in the rates, and its gradient at :math:`(p_0, q_0)` points out of the
    set. The product over blocks ever exceeds 1/alpha with probability at most alpha. The bound is
    the largest claim such that all smaller claims are rejected.

    The scores must be independent, given the threshold, and all runs of the attack must be on the
    same mechanism. The order must not depend on the scores.

    References
    ----------
    .. [1] T. González, M. Dulce-Rubio, A. Ramdas, M. Ribero, "Sequentially auditing differential
       privacy", 2025, arXiv:2509.07055.
    .. [2] A. Ramdas, P. Grünwald, V. Vovk, G. Shafer, "Game-theoretic statistics and safe
       anytime-valid inference", Statistical Science, 2023, arXiv:2210.01948.
    .. [3] R. J. Turner, A. Ly, P. D. Grünwald, "Generic E-variables for exact sequential k-sample
       tests that allow for optional stopping", Journal of Statistical Planning and Inference,
       2024, arXiv:2106.02693.

    Examples
    --------
    >>> import fermiac as fm
    >>> stream = fm.random.Stream(1)
    >>> members, nonmembers = stream.normal(5000) + 1.0, stream.normal(5000)
    >>> a = fm.privacy.audit_sequential(members, nonmembers)
    >>> 1.0 < a.epsilon_lower < 3.0
    True
    """
    began = time.perf_counter()
    some, others = scores_of("members", members), scores_of("nonmembers", nonmembers)
    delta, alpha = single("delta", delta, zero=True), single("alpha", alpha)
    wanted = None if claim is None else _claimed(claim)
    fixed = None if threshold is None else _number("threshold", taken("threshold", threshold))
    state = _State(delta, alpha, wanted, fixed)
    state.run(some, others)
    return state.result(time.perf_counter() - began)


def _claimed(claim: float) -> float:
    return real("claim", claim, "a number of at least 0 is needed", lambda x: x >= 0)


def _number(name: str, array: Array) -> float:
    if array.ndim or array.dtype.kind not in "iuf" or np.isnan(array):
        raise ArgumentError(f"{name}: {array} was given; one number is needed")
    return float(array)


class _State:
    """A sequence of looks, which may continue an earlier audit."""

    def __init__(
        self,
        delta: float,
        alpha: float,
        claim: float | None,
        threshold: float | None,
        before: SequentialAudit | None = None,
    ) -> None:
        self.delta, self.alpha, self.claim, self.fixed = delta, alpha, claim, threshold
        self._log_e = np.zeros(len(_CLAIMS))
        self._most = np.full(len(_CLAIMS), -np.inf)
        self._claimed = None if claim is None else epsilon_region(np.array([claim]), delta)
        self._claim_e = 0.0
        self.rejected = False
        self.members = self.nonmembers = np.empty(0)
        self._rows: list[tuple[float, ...]] = []
        if before is not None:
            self._restore(before)

    def _restore(self, before: SequentialAudit) -> None:
        self.members, self.nonmembers = before.members, before.nonmembers
        self.rejected = before.rejected
        columns = (
            before.n_members, before.n_nonmembers, before.thresholds, before.hits, before.alarms,
            *before.bets.T, before.bounds,
        )  # fmt: skip
        self._rows = list(zip(*(column.tolist() for column in columns), strict=True))
        path = np.cumsum(before._records().log_e(epsilon_region(_CLAIMS, self.delta)), axis=0)
        if len(path):
            self._log_e, self._most = path[-1].copy(), path.max(axis=0)
        if self.claim is not None:
            self._claim_e = float(before.log_e_values(self.claim)[-1]) if len(path) else 0.0

    @property
    def bound(self) -> float:
        """The largest claim such that all smaller claims are rejected."""
        first = self._first()
        return float(_CLAIMS[first - 1]) if first else 0.0

    def _first(self) -> int:
        """Return the index of the first claim that is not rejected."""
        return _first_kept(self._most, self.alpha)

    def run(self, members: Array, nonmembers: Array) -> None:
        """Use scores block by block until all are used or the claim is rejected."""
        total = max(len(members), len(nonmembers))
        seen, done = max(len(self.members), len(self.nonmembers)), 0
        begun = (self.members, self.nonmembers)
        at = (0, 0)
        while done < total and not self.rejected:
            done = min(done + max(1, int((seen + done) * _GROWTH)), total)
            to = (done * len(members) // total, done * len(nonmembers) // total)
            self._look(members[at[0] : to[0]], nonmembers[at[1] : to[1]])
            at = to
            self.members = np.concatenate([begun[0], members[: to[0]]])
            self.nonmembers = np.concatenate([begun[1], nonmembers[: to[1]]])

    def _look(self, some: Array, others: Array) -> None:
        threshold, p, q = self._expected(len(some), len(others))
        hits, alarms = float((some >= threshold).sum()), float((others >= threshold).sum())
        row = (len(some), hits, len(others), alarms, p, q)
        bets = Bets(*(np.array([float(x)]) for x in row))
        # Rejected claims stay rejected, and there are no bets against claims that allow the rates.
        first = self._first()
        last = first + int(
            (epsilon_region(_CLAIMS[first:], self.delta).height(np.array(q)) < p).sum()
        )
        if last > first:
            region = epsilon_region(_CLAIMS[first:last], self.delta)
            self._log_e[first:last] += bets.log_e(region)[0]
        np.maximum(self._most, self._log_e, out=self._most)
        if self._claimed is not None:
            self._claim_e += float(bets.log_e(self._claimed)[0, 0])
            self.rejected = bool(self._claim_e >= -np.log(self.alpha))
        n, m = (self._rows[-1][0], self._rows[-1][1]) if self._rows else (0, 0)
        now = (n + len(some), m + len(others), threshold, hits, alarms, p, q, self.bound)
        self._rows.append(now)

    def _expected(self, n: int, m: int) -> tuple[float, float, float]:
        """Return the threshold of the next block and the rates expected at it."""
        epsilon = _TIMES * (_EXPECTED if self.claim is None else self.claim)
        first = 1.0 / (1.0 + np.exp(-epsilon))
        if self.fixed is not None:
            x = np.array([self.fixed])
        elif not len(self.members) or not len(self.nonmembers):
            return np.inf, 0.5, 0.5
        else:
            both = np.concatenate([self.members, self.nonmembers])
            x = np.unique(np.quantile(both, np.linspace(0, 1, _N_THRESHOLDS), method="nearest"))
        prior = _CHOSEN if self.fixed is None else _GIVEN
        p, q = (
            ((seen[:, None] >= x).sum(axis=0) + prior * rate) / (len(seen) + prior)
            for seen, rate in ((self.members, first), (self.nonmembers, 1 - first))
        )
        if len(x) == 1:
            return float(x[0]), float(p[0]), float(q[0])
        # The threshold maximises the evidence against the first claim that is not rejected.
        aim = self.claim if self.claim is not None else self.bound + 0.02
        region = epsilon_region(np.array([aim]), self.delta)
        weights = np.array([float(n)]), np.array([float(m)])
        p0, q0 = nearest(p, q, *weights, region)
        gain = n * _entropy(p, p0) + m * _entropy(q, q0)
        best = int(np.argmax(gain))
        return float(x[best]), float(p[best]), float(q[best])

    def result(self, seconds: float) -> SequentialAudit:
        """Return the result of the looks so far."""
        columns = np.array(self._rows, float).reshape(-1, 8).T
        n, m, thresholds, hits, alarms, p, q, bounds = columns
        whole = [column.astype(np.int64) for column in (n, m, hits, alarms)]
        settings = {"alpha": self.alpha, "delta": self.delta, "threshold": self.fixed}
        return SequentialAudit(
            **provenance(settings, seconds, None),
            epsilon_lower=float(bounds[-1]) if bounds.size else 0.0,
            alpha=self.alpha,
            delta=self.delta,
            bounds=bounds,
            n_members=whole[0],
            n_nonmembers=whole[1],
            thresholds=thresholds,
            hits=whole[2],
            alarms=whole[3],
            bets=np.column_stack([p, q]),
            claim=self.claim,
            rejected=self.rejected,
            members=self.members,
            nonmembers=self.nonmembers,
        )


def _first_kept(most: Array, alpha: float) -> int:
    """Return the index of the first claim that was never rejected."""
    kept = most < -np.log(alpha)
    return int(np.argmax(kept)) if kept.any() else len(kept)


def _entropy(p: Array, p0: Array) -> Array:
    """Return the relative entropy of two probabilities."""
    with np.errstate(divide="ignore", invalid="ignore"):
        one = np.where(p > 0, p * np.log(p / p0), 0.0)
        other = np.where(p < 1, (1 - p) * np.log((1 - p) / (1 - p0)), 0.0)
    return np.asarray(one + other)
