"""Lower bounds of epsilon from the scores of an attack."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.validate import choice, numbers, yes
from fermiac.errors import ArgumentError, ClusterWarning
from fermiac.privacy.bands import local_level
from fermiac.privacy.checks import Array, provenance, single, two_groups, warned
from fermiac.privacy.clusters import (
    LARGE_EFFECT,
    Clusters,
    copies,
    design_effect,
    take_clusters,
)
from fermiac.privacy.intervals import limits
from fermiac.privacy.rates import DIRECTIONS, Direction
from fermiac.privacy.roc_curve import RocCurve, curve_of
from fermiac.privacy.thresholds import (
    THRESHOLDS,
    FixedThreshold,
    SimultaneousBand,
    Threshold,
    ThresholdName,
)
from fermiac.results.result import Result
from fermiac.results.summary import Summary, of_figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ScoreAudit", "audit_scores"]

Table: TypeAlias = tuple[Array, Array, Array, Array]
Bound: TypeAlias = Callable[..., ArrayLike]
"""``bound(tp, fp, fn, tn, *, delta, alpha, direction)``: lower bounds that fail with probability
`alpha`, for arrays of counts."""


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ScoreAudit(Result):
    """A lower bound of epsilon from the scores of an attack.

    Attributes
    ----------
    epsilon_lower : float
        The bound.
    epsilon_upper : float or None
        A one-sided upper bound of the epsilon of *this attack at this threshold*; that of the
        mechanism may be larger. None if the threshold was chosen from the scores, or if the method
        gives only lower bounds.
    alpha : float
        The largest probability that a bound fails; for ``"jeffreys"`` and ``"bayes"`` an average
        over a prior.
    delta : float
        The delta of the bound.
    threshold : float
        The threshold of the bound.
    counts : mapping
        ``tp``, ``fp``, ``fn``, ``tn``, from which the bound is computed. With
        ``cluster_adjust=True`` they are divided by design effects.
    valid : bool
        Whether the bound is valid after the choice of the threshold: False with
        `ResubstitutionThreshold`.
    strategy : str
        The choice of the threshold.
    method, direction : str
        The method of the bound, and the ratios that are included.
    clusters : mapping or None
        With clusters, for ``fnr`` and ``fpr``: ``rho``, the intraclass correlation of the errors;
        ``effect``, the design effect; ``n_clusters``; ``mean_size``.
    roc : RocCurve
        The curve of all scores.

    Examples
    --------
    >>> import fermiac as fm
    >>> stream = fm.random.Stream(1)
    >>> a = fm.privacy.audit_scores(stream.normal(1000) + 1.0, stream.normal(1000))
    >>> a.valid, 0.3 < a.epsilon_lower < 3.0
    (True, True)
    """

    epsilon_lower: float
    epsilon_upper: float | None
    alpha: float
    delta: float
    threshold: float
    counts: Mapping[str, float]
    valid: bool
    strategy: str
    method: str
    direction: str
    clusters: Mapping[str, Mapping[str, float]] | None
    roc: RocCurve

    _layout: ClassVar[fit.Layout] = {
        "epsilon_lower": fit.real,
        "epsilon_upper": fit.maybe(fit.real),
        "alpha": fit.real,
        "delta": fit.real,
        "threshold": fit.real,
        "counts": fit.mapping(fit.real),
        "valid": fit.flag,
        "strategy": fit.text(),
        "method": fit.text(),
        "direction": fit.text(),
        "clusters": fit.maybe(fit.mapping(fit.record({"rho": fit.real, "effect": fit.real}))),
        "roc": fit.instance("RocCurve"),
    }

    def _headline(self) -> str:
        note = "" if self.valid else ", not valid: chosen on the same scores"
        return (
            f"ScoreAudit: epsilon >= {self.epsilon_lower:.6g} at delta {self.delta:.3g} "
            f"({100 * (1 - self.alpha):.6g} %, {self.method}{note})"
        )

    def _picture(self) -> str:
        return self.roc._picture()

    def summary(self) -> Summary:
        """Return the bound, its counts and its threshold."""
        counts = ", ".join(f"{name} {value:.6g}" for name, value in self.counts.items())
        lines = [
            self._first_line(),
            f"threshold {self.threshold:.6g} by {self.strategy}; {counts}",
            f"AUC {self.roc.auc:.6g}, advantage {self.roc.advantage:.6g}",
        ]
        for rate, found in (self.clusters or {}).items():
            lines.append(f"{rate}: correlation {found['rho']:.3g}, effect {found['effect']:.3g}")
        figures = {**self._figures(), **self.counts, "auc": self.roc.auc}
        return of_figures(figures, lines, foot=[f"warning: {w}" for w in self.warnings])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the curve, the threshold and the bound; see `fermiac.plotting.plot_roc`."""
        return self.roc.plot(ax, self.threshold, self.epsilon_lower, self.delta)


class Scores(NamedTuple):
    """The scores of an attack."""

    members: Array
    nonmembers: Array
    clusters: Clusters | None


class Bounded(NamedTuple):
    """A bound, with its threshold and its counts."""

    lower: float
    threshold: float
    table: Table
    alpha: float
    effects: Mapping[str, Mapping[str, float]] | None


class Auditor(NamedTuple):
    """The settings of an audit."""

    bound: Bound
    delta: float
    direction: str
    adjust: bool
    #: The name of the method of the bound.
    method: str

    def lower(self, table: Table, alpha: float) -> Array:
        """Return lower bounds for rows of counts."""
        given = self.bound(*table, delta=self.delta, alpha=alpha, direction=self.direction)
        values = numbers("method", given)
        if values.shape != table[0].shape:
            raise ArgumentError(
                f"method: values of shape {values.shape} came back for counts of shape "
                f"{table[0].shape}; one bound for each row of counts is needed"
            )
        return values

    def at(self, data: Scores, threshold: float, alpha: float) -> Bounded:
        """Return the bound at a threshold that does not depend on these scores."""
        hits, alarms = data.members >= threshold, data.nonmembers >= threshold
        tp, fp = float(hits.sum()), float(alarms.sum())
        return self.of((tp, fp, hits.size - tp, alarms.size - fp), data, threshold, alpha)

    def of(
        self,
        counts: tuple[float, float, float, float],
        data: Scores,
        threshold: float,
        alpha: float,
    ) -> Bounded:
        """Return the bound of these counts, adjusted for clusters if `adjust` is set."""
        tp, fp, fn, tn = counts
        effects = None
        if data.clusters is not None:
            effects = {
                "fnr": design_effect(data.members < threshold, data.clusters.members),
                "fpr": design_effect(data.nonmembers >= threshold, data.clusters.nonmembers),
            }
            if self.adjust:
                of_fnr, of_fpr = effects["fnr"]["effect"], effects["fpr"]["effect"]
                tp, fn, fp, tn = tp / of_fnr, fn / of_fnr, fp / of_fpr, tn / of_fpr
        table = (np.asarray(tp), np.asarray(fp), np.asarray(fn), np.asarray(tn))
        lower = float(self.lower(_column(table), alpha)[0])
        return Bounded(lower, threshold, table, alpha, effects)

    def best(self, data: Scores, alpha: float) -> float:
        """Return the threshold with the best bound, among equals the largest advantage."""
        curve = curve_of(data.members, data.nonmembers)
        # A threshold that another one beats in both rates cannot be the best.
        more, wider = np.diff(curve.tp) > 0, np.diff(curve.fp) > 0
        keep = np.append(False, more) & np.append(wider, True)
        if self.direction == "both":
            keep |= np.append(False, wider) & np.append(more, True)
        rows = np.flatnonzero(keep)
        tp, fp = curve.tp[rows].astype(np.float64), curve.fp[rows].astype(np.float64)
        table = (tp, fp, curve.n_members - tp, curve.n_nonmembers - fp)
        lower = self.lower(table, alpha)
        advantage = curve.tpr[rows] - curve.fpr[rows]
        return float(curve.thresholds[rows[np.lexsort((advantage, lower))[-1]]])

    def in_band(self, data: Scores, alpha: float) -> Bounded:
        """Return the best bound over all thresholds, by simultaneous limits of the rates."""
        if self.method != "clopper-pearson":
            raise ArgumentError(
                f"method: {self.method!r} was given, which bounds epsilon at one threshold; give "
                'one that was fixed beforehand, threshold=0.5, or method="clopper-pearson"'
            )
        curve = curve_of(data.members, data.nonmembers)
        # Each rate has its share of alpha, and each direction, which has limits of its own.
        share = alpha / (4 if self.direction == "both" else 2)
        each = 2 * min(local_level(n, share) for n in (curve.n_members, curve.n_nonmembers))
        tp, fp = curve.tp.astype(np.float64), curve.fp.astype(np.float64)
        table = (tp, fp, curve.n_members - tp, curve.n_nonmembers - fp)
        k = int(np.argmax(self.lower(table, each)))
        counts = tuple(float(column[k]) for column in table)
        return self.of(counts, data, float(curve.thresholds[k]), each)  # type: ignore[arg-type]


def _column(table: Table) -> Table:
    tp, fp, fn, tn = (np.atleast_1d(count) for count in table)
    return tp, fp, fn, tn


def _box(method: str) -> Bound:
    """Return the bound from a box of limits."""

    def bound(*table: Array, delta: float, alpha: float, direction: str) -> ArrayLike:
        lower, _ = limits(
            table,  # type: ignore[arg-type]
            delta=np.asarray(delta),
            alpha=np.asarray(alpha),
            sides=(True, False),
            method=method,
            direction=direction,
        )
        return np.asarray(lower)

    return bound


def _posterior() -> Bound:
    """Return the bound from the quantile of the posterior under Jeffreys' prior."""
    from fermiac.privacy.posterior import epsilon_posterior

    def bound(*table: Array, delta: float, alpha: float, direction: Direction) -> ArrayLike:
        law = epsilon_posterior(*table, delta=delta, direction=direction)
        return np.asarray(law.ppf(alpha))

    return bound


_BOXES = ("clopper-pearson", "jeffreys")
#: Makers of bounds by name.
_BOUNDS: dict[str, Callable[[], Bound]] = {name: partial(_box, name) for name in _BOXES}
_BOUNDS["bayes"] = _posterior


@public
def audit_scores(
    members: ArrayLike,
    nonmembers: ArrayLike | None = None,
    *,
    labels: ArrayLike | None = None,
    threshold: Threshold | ThresholdName | float = SimultaneousBand(),  # noqa: B008 - frozen
    delta: float = 0.0,
    alpha: float = 0.05,
    method: str | Bound = "clopper-pearson",
    direction: Direction = "attack",
    clusters: tuple[ArrayLike, ArrayLike] | None = None,
    cluster_adjust: bool = False,
) -> ScoreAudit:
    r"""Return a lower bound of epsilon from the scores of a membership-inference attack.

    A threshold converts the scores to counts, and `epsilon_interval` converts the counts to a
    bound. By default the bound is the best one over all thresholds, with limits of the rates that
    hold at all thresholds together. Nothing is random: the same scores give the same bound.

    Parameters
    ----------
    members, nonmembers : array_like, shape (n,)
        Scores of examples that were in the training set, and of others; a score at or above the
        threshold means "member". Infinities are allowed.
    labels : array_like, shape (n,), optional
        Whether each score is that of a member, 1 or 0 (or booleans), in place of `nonmembers`: the
        first argument then has the scores of both, as scikit-learn has them. Without it, arrays of
        equal size of which one holds only 0 and 1 are refused, as they may be scores and labels.
    threshold : float, str or threshold object, default SimultaneousBand()
        The best of all thresholds, with limits that hold at all of them together
        (`SimultaneousBand`, ``"band"``); a threshold that was fixed before the scores were seen (a
        number, `FixedThreshold`); or the best one without a correction, which gives no valid bound
        (`ResubstitutionThreshold`).
    delta : float, default 0
        In [0, 1).
    alpha : float, default 0.05
        The probability that the bound exceeds epsilon, in (0, 1).
    method : {"clopper-pearson", "jeffreys", "bayes"} or callable, default "clopper-pearson"
        The limits of the rates, see `epsilon_interval`; or the quantile of the posterior of
        epsilon under Jeffreys' prior, see `epsilon_posterior`. The latter is a larger bound, which
        is valid on average over that prior. (The prior gives an epsilon of 0 no weight: with
        ``direction="both"`` the bound is never 0, even if nothing leaks.) A callable ``bound(tp,
        fp, fn, tn, *, delta, alpha, direction)`` returns lower bounds for arrays of counts. All but
        the first bound epsilon at one threshold, and need one that was fixed beforehand.
    direction : {"both", "attack", "forward", "reverse"}, default "attack"
        The ratios that are included; see `epsilon_of_rates`. Only ``"both"`` uses scores that are
        smaller for members.
    clusters : pair of array_like, optional
        The model of each score, for members and for non-members, as numbers or strings. If given,
        the correlation of errors within models is estimated.
    cluster_adjust : bool, default False
        Divide the counts of each rate by its design effect.

    Returns
    -------
    ScoreAudit

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, `method` does not bound epsilon at all thresholds
        together and `threshold` is not fixed, or `cluster_adjust` is given without clusters.

    Warns
    -----
    ClusterWarning
        If a design effect is above 1.2 and is not adjusted for, or if many scores occur more than
        twice and `clusters` is not given.

    Notes
    -----
    The bounds assume independent scores, but scores of several examples in one model are dependent.
    To treat them as independent is a heuristic [1]_, not a theorem. So is the adjustment, which
    divides counts by the increase of the variance due to the correlation. Copies of a record have
    equal scores. They are suspected if there are more than 20 different scores, and more than 5 %
    of the scores of a kind occur more than twice, unless the scores are rounded to four decimals or
    of half precision.

    References
    ----------
    .. [1] S. Zanella-Béguelin et al., "Bayesian estimation of differential privacy", ICML, 2023,
       arXiv:2206.05199.
    .. [2] M. Nasr et al., "Tight auditing of differentially private machine learning", USENIX
       Security, 2023, arXiv:2302.07956.

    Examples
    --------
    >>> import fermiac as fm
    >>> stream = fm.random.Stream(1)
    >>> members, nonmembers = stream.normal(2000) + 1.0, stream.normal(2000)
    >>> a = fm.privacy.audit_scores(members, nonmembers)
    >>> b = fm.privacy.audit_scores(members, nonmembers, threshold=1.0)
    >>> a.valid, b.strategy
    (True, 'FixedThreshold(threshold=1.0)')
    """
    began = time.perf_counter()
    some, others = two_groups(members, nonmembers, labels)
    if isinstance(threshold, Threshold | str | type):
        strategy = THRESHOLDS.resolve(threshold)
    else:
        strategy = FixedThreshold(threshold)
    delta, alpha = single("delta", delta, zero=True), single("alpha", alpha)
    direction = choice("direction", direction, DIRECTIONS)
    name = getattr(method, "__name__", "callable") if callable(method) else method
    if callable(method):
        bound = method
    else:
        bound = _BOUNDS[choice("method", method, tuple(_BOUNDS))]()
    cluster_adjust = yes("cluster_adjust", cluster_adjust)
    if cluster_adjust and clusters is None:
        raise ArgumentError("cluster_adjust: True was given without clusters; give both or none")
    models = None if clusters is None else take_clusters(clusters, some.size, others.size)
    auditor = Auditor(bound, delta, direction, cluster_adjust, name)
    found = strategy._bound(auditor, Scores(some, others, models), alpha)
    upper = None
    if strategy.has_upper and method == "bayes":
        upper = auditor.lower(_column(found.table), 1.0 - alpha)[0]
    elif strategy.has_upper and method in _BOXES:
        _, upper = limits(
            found.table,
            delta=np.asarray(delta),
            alpha=np.asarray(alpha),
            sides=(False, True),
            method=name,
            direction=direction,
        )
    notes = [] if models is not None else copies(some, others)
    for rate, effect in (found.effects or {}).items():
        if effect["effect"] > LARGE_EFFECT and not cluster_adjust:
            notes.append(
                f"the errors of the {rate} are correlated within models (correlation "
                f"{effect['rho']:.2g}, design effect {effect['effect']:.3g}); cluster_adjust=True "
                "takes that into account"
            )
    settings = {"alpha": alpha, "delta": delta, "method": name, "direction": direction}
    settings |= {"threshold": repr(strategy), "cluster_adjust": cluster_adjust}
    result = ScoreAudit(
        epsilon_lower=found.lower,
        epsilon_upper=None if upper is None else float(upper),
        alpha=alpha,
        delta=delta,
        threshold=found.threshold,
        counts=dict(zip(("tp", "fp", "fn", "tn"), map(float, found.table), strict=True)),
        valid=strategy.valid,
        strategy=repr(strategy),
        method=name,
        direction=direction,
        clusters=found.effects,
        roc=curve_of(some, others),
        warnings=tuple(notes),
        **provenance(settings, time.perf_counter() - began),
    )
    return warned(result, ClusterWarning)
