"""Rank audits: tests of trade-off curves by all thresholds together."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.config import get_num_threads
from fermiac._base.validate import RngLike, key_of, whole
from fermiac.errors import ArgumentError
from fermiac.privacy.checks import Array, provenance, single, two_groups
from fermiac.privacy.gaussian import gdp_epsilon
from fermiac.privacy.trade_off import TradeOff, claimed
from fermiac.results.result import Result

__all__ = ["RankAudit", "audit_ranks"]

#: Replicates of the law of a claim.
_N_REPLICATES = 999


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class RankAudit(Result):
    """An audit by the number of pairs of scores that an attack orders correctly.

    Attributes
    ----------
    mu_lower : float
        The lower bound of mu of Gaussian differential privacy: claims below it are rejected at
        level `alpha`.
    epsilon_lower : float
        The epsilon of `mu_lower` at `delta`. It is a bound if the trade-off curve of the mechanism
        is Gaussian, and has no basis otherwise.
    n_members, n_nonmembers : int
        The numbers of scores.
    n_ordered : int
        The number of pairs of a member and a non-member in which the member has the higher score.
        Ties do not count.
    delta, alpha : float
        The arguments.
    n_replicates : int
        The number of replicates of a test. The smallest possible p-value is 1 / (n_replicates + 1).

    Examples
    --------
    >>> import fermiac as fm
    >>> stream = fm.random.Stream(1)
    >>> audit = fm.privacy.audit_ranks(stream.normal(500) + 1.0, stream.normal(500), rng=0)
    >>> audit
    RankAudit: mu >= 0.839426, epsilon >= 3.57841 at delta 1e-05 if Gaussian (95 %)
      500 members and 500 non-members, area under the curve 0.7501
    """

    mu_lower: float
    epsilon_lower: float
    n_members: int
    n_nonmembers: int
    n_ordered: int
    delta: float
    alpha: float
    n_replicates: int

    _layout: ClassVar[fit.Layout] = {
        "mu_lower": fit.real,
        "epsilon_lower": fit.real,
        "n_members": fit.whole(1),
        "n_nonmembers": fit.whole(1),
        "n_ordered": fit.whole(0),
        "delta": fit.real,
        "alpha": fit.real,
        "n_replicates": fit.whole(1),
    }

    @property
    def auc(self) -> float:
        """The area under the curve of the attack, where ties count as wrong."""
        return self.n_ordered / (self.n_members * self.n_nonmembers)

    def p_value(self, claim: TradeOff) -> float:
        """Return the p-value of a claimed trade-off curve.

        Parameters
        ----------
        claim : TradeOff
            The smallest false-negative rates at false-positive rates, where non-members are the
            null hypothesis.

        Returns
        -------
        float
            A valid p-value: under the claim it is at most x with probability at most x.

        Raises
        ------
        ArgumentError
            If `claim` is not a `TradeOff`.

        Examples
        --------
        >>> import fermiac as fm
        >>> stream = fm.random.Stream(1)
        >>> audit = fm.privacy.audit_ranks(stream.normal(500) + 1.0, stream.normal(500), rng=0)
        >>> audit.p_value(fm.privacy.TradeOff.from_gdp(0.7))
        0.001
        >>> audit.p_value(fm.privacy.TradeOff.from_epsilon(1.0)) > 0.01
        True
        """
        curve = claimed(claim)
        threads = get_num_threads()
        key = 0 if self.seed is None else self.seed
        found = _core.privacy_rank_replicates(
            (self.n_members, self.n_nonmembers),
            self.n_ordered,
            (curve.fpr, curve.fnr),
            self.n_replicates,
            key,
            threads,
        )
        return float((1 + np.count_nonzero(found >= self.n_ordered)) / (1 + self.n_replicates))

    def _headline(self) -> str:
        return (
            f"RankAudit: mu >= {self.mu_lower:.6g}, epsilon >= {self.epsilon_lower:.6g} at delta "
            f"{self.delta:g} if Gaussian ({100 * (1 - self.alpha):g} %)"
        )

    def __repr__(self) -> str:
        return (
            f"{self._first_line()}\n  {self.n_members} members and {self.n_nonmembers} "
            f"non-members, area under the curve {self.auc:.4g}"
        )


@public
def audit_ranks(
    members: ArrayLike,
    nonmembers: ArrayLike | None = None,
    *,
    labels: ArrayLike | None = None,
    delta: float = 1e-5,
    alpha: float = 0.05,
    n_replicates: int = _N_REPLICATES,
    rng: RngLike = None,
) -> RankAudit:
    r"""Test trade-off curves by the area under the curve of a membership-inference attack.

    A threshold uses one point of the curve of an attack, and its choice costs scores or a
    correction. The number of pairs of a member and a non-member in which the member has the higher
    score uses all points, and nothing is chosen. For an attack on a mechanism whose trade-off curve
    [2]_ is nowhere below a claim f, this number is stochastically at most that for two laws with
    the curve f exactly. Its distribution under these laws is simulated, and gives valid p-values
    for any f. The bound of mu tests the Gaussian curves.

    Parameters
    ----------
    members, nonmembers : array_like, shape (n,) and (m,)
        Independent scores of examples that were in the training set, and of others; members are
        expected to have higher scores. Infinities are allowed. Scores whose noise has a known
        standard deviation for each example, such as the products of noisy gradients and canaries,
        should be divided by it: then all of them have the same curve.
    labels : array_like, shape (n + m,), optional
        Whether each score of the first argument is that of a member, in place of `nonmembers`.
    delta : float, default 1e-5
        In (0, 1); for ``epsilon_lower``.
    alpha : float, default 0.05
        The probability that the bound of mu is too high; in (0, 1).
    n_replicates : int, default 999
        Simulated numbers of pairs for a test, at least ``1 / alpha - 1``. More give a slightly
        higher bound on average.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed of the simulation. An int in [0, 2**64) is the key itself; None takes one from the
        system.

    Returns
    -------
    RankAudit
        ``mu_lower``, ``epsilon_lower`` and the method ``p_value(claim)``.

    Raises
    ------
    ArgumentError
        If the scores are empty or NaN, the probabilities are outside their domains, or there are
        too few replicates for `alpha`.

    See Also
    --------
    audit_scores : Bounds of epsilon without an assumption on the curve.
    audit_sequential : Tests of curves that are valid at every look.

    Notes
    -----
    By a common increasing map the scores of non-members are uniform. At each threshold the share of
    members below it is then at least f, so that each member's score is stochastically at most that
    of a law with the curve f [2]_. The number of ordered pairs (the statistic of Mann and Whitney
    [1]_) increases with every member's score. Monte Carlo p-values, (1 + k) / (1 + n) for k of n
    replicates at or above the observed number, are valid for every n.

    The test has most power against claims whose curve has the shape of the attack's curve. An
    attack with few certain hits and otherwise no information is found by thresholds, not by ranks.

    References
    ----------
    .. [1] H. B. Mann, D. R. Whitney, "On a test of whether one of two random variables is
       stochastically larger than the other", Annals of Mathematical Statistics, 1947,
       doi:10.1214/aoms/1177730491.
    .. [2] J. Dong, A. Roth, W. J. Su, "Gaussian differential privacy", Journal of the Royal
       Statistical Society B, 2022, arXiv:1905.02383.

    Examples
    --------
    >>> import fermiac as fm
    >>> stream = fm.random.Stream(1)
    >>> members, nonmembers = stream.normal(2000) + 1.0, stream.normal(2000)
    >>> audit = fm.privacy.audit_ranks(members, nonmembers, rng=0)
    >>> 0.9 < audit.mu_lower < 1.0
    True
    """
    began = time.perf_counter()
    some, others = two_groups(members, nonmembers, labels)
    delta, alpha = single("delta", delta), single("alpha", alpha)
    n = whole("n_replicates", n_replicates, 1, 2**40)
    rejected = int(np.floor(alpha * (n + 1) * (1 + 1e-12))) - 1
    if rejected < 0:
        raise ArgumentError(
            f"n_replicates: {n} was given; {int(np.ceil(1 / alpha)) - 1} or more are needed for "
            f"alpha = {alpha:g}"
        )
    key, threads = key_of(rng), get_num_threads()
    ordered = _ordered_pairs(some, others)
    found = _core.privacy_rank_replicates((some.size, others.size), ordered, None, n, key, threads)
    mu = max(0.0, float(np.partition(found, rejected)[rejected]))
    settings: dict[str, Any] = {"alpha": alpha, "delta": delta, "n_replicates": n}
    return RankAudit(
        **provenance(settings, time.perf_counter() - began, key),
        mu_lower=mu,
        epsilon_lower=float(gdp_epsilon(delta, mu=mu)),
        n_members=some.size,
        n_nonmembers=others.size,
        n_ordered=ordered,
        delta=delta,
        alpha=alpha,
        n_replicates=n,
    )


def _ordered_pairs(members: Array, nonmembers: Array) -> int:
    """Return the number of pairs in which the member has the higher score; ties do not count."""
    return int(np.searchsorted(np.sort(nonmembers), members, "left").sum())
