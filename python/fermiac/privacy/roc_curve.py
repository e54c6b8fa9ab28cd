"""The ROC curve of attack scores: areas, rates, advantage and bootstrap limits."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base import registry
from fermiac._base.bca import ends as bca_ends
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.validate import RngLike, choice, key_of, shown, unwrapped, whole, yes
from fermiac.errors import ArgumentError, FermiacWarning
from fermiac.privacy.checks import Array, fraction, provenance, single, two_groups, warned
from fermiac.results import html
from fermiac.results.result import Result
from fermiac.runs.parts import identity_of_call
from fermiac.runs.replicates import Drawing, Replicates, drawn, given_replicates

if TYPE_CHECKING:
    from matplotlib.axes import Axes


__all__ = ["RocBootstrap", "RocCurve", "curve_of", "roc"]

Integers = NDArray[np.int64]
_STATISTICS = ("auc", "tpr_at_fpr", "advantage")
#: The replicates of a block are a multiple of this number, as each block sorts the scores.
_TOGETHER = 64


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class RocBootstrap(Result):
    """A statistic of a ROC curve with its bootstrap limits.

    Attributes
    ----------
    statistic : str
        The name of the statistic.
    estimate : float
        The statistic of the scores.
    lower, upper : float
        The bias-corrected and accelerated (BCa) limits.
    stderr : float
        The standard deviation of the replicates.
    prob : float
        The probability between the limits.
    bias : float
        The normal quantile of the share of replicates below the estimate; a tie counts half.
    acceleration : float
        The rate of change of the standard error, from the jackknife of both samples.
    replicates : ndarray, shape (n,)
        The statistic of each resample.

    Examples
    --------
    >>> import fermiac as fm
    >>> b = fm.privacy.roc([3, 5, 6, 8], [1, 2, 4, 7]).bootstrap("auc", rng=0)
    >>> b.estimate, len(b.replicates)
    (0.75, 1000)
    """

    statistic: str
    estimate: float
    lower: float
    upper: float
    stderr: float
    prob: float
    bias: float
    acceleration: float
    replicates: Array

    _layout: ClassVar[fit.Layout] = {
        "statistic": fit.text(),
        "estimate": fit.real,
        "lower": fit.real,
        "upper": fit.real,
        "stderr": fit.real,
        "prob": fit.real,
        "bias": fit.real,
        "acceleration": fit.real,
        "replicates": fit.array("f", "replicates"),
    }

    def _headline(self) -> str:
        return (
            f"RocBootstrap: {self.statistic} = {self.estimate:.6g}, "
            f"{self.lower:.6g} to {self.upper:.6g} ({100 * self.prob:.6g} %)"
        )


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class RocCurve(Result):
    """The ROC curve of an attack: its rates at every threshold.

    Attributes
    ----------
    fpr, tpr : ndarray, shape (k + 1,)
        False-positive and true-positive rates, from 0 to 1.
    thresholds : ndarray, shape (k + 1,)
        First +inf, a threshold above all scores, then the k distinct scores in decreasing order. A
        score at or above the threshold means "member".
    fp, tp : ndarray of int, shape (k + 1,)
        The counts.
    hull : ndarray of int
        The points of the upper convex hull, as positions in the curve.
    auc : float
        The area: the probability that a member scores above a non-member; a tie counts half.
    hull_auc : float
        The area below the hull.
    n_members, n_nonmembers : int
        The numbers of scores.

    Examples
    --------
    >>> import fermiac as fm
    >>> curve = fm.privacy.roc([3, 5, 6, 8], [1, 2, 4, 7])
    >>> curve.auc, curve.advantage, curve.tpr_at_fpr(0.25)
    (0.75, 0.5, 0.75)
    """

    fpr: Array
    tpr: Array
    thresholds: Array
    fp: Integers
    tp: Integers
    hull: Integers
    auc: float
    hull_auc: float
    n_members: int
    n_nonmembers: int

    _layout: ClassVar[fit.Layout] = {
        "fpr": fit.array("f", "points", low=0.0, high=1.0, rising=True, least=1),
        "tpr": fit.array("f", "points", low=0.0, high=1.0, rising=True),
        "thresholds": fit.array("f", "points"),
        "fp": fit.array("i", "points", low=0, rising=True),
        "tp": fit.array("i", "points", low=0, rising=True),
        "hull": fit.array("i", "corners", low=0, below="points", rising=True),
        "auc": fit.real,
        "hull_auc": fit.real,
        "n_members": fit.whole(1),
        "n_nonmembers": fit.whole(1),
    }

    def _headline(self) -> str:
        return (
            f"RocCurve: AUC = {self.auc:.6g}, advantage {self.advantage:.6g} "
            f"({self.n_members} members, {self.n_nonmembers} non-members)"
        )

    def _picture(self) -> str:
        return html.rates(self.fpr, self.tpr)

    @property
    def advantage(self) -> float:
        """The largest TPR - FPR; for the bound by epsilon see `fermiac.privacy.advantage_bound`."""
        # Products of counts are exact below 2**53.
        members, nonmembers = float(self.n_members), float(self.n_nonmembers)
        rise = self.tp * nonmembers - self.fp * members
        return float(rise.max() / (members * nonmembers))

    @property
    def accuracy(self) -> float:
        """The largest accuracy if members and non-members are equally likely."""
        return 0.5 * (1.0 + self.advantage)

    def tpr_at_fpr(self, fpr: ArrayLike, *, interpolate: bool = True) -> Any:
        """Return the true-positive rate at false-positive rates.

        Parameters
        ----------
        fpr : array_like
            In [0, 1].
        interpolate : bool, default True
            Interpolate between the neighbouring points, which is the rate of an attack that chooses
            randomly between their thresholds. False takes the last threshold whose false-positive
            rate is at most `fpr`.

        Returns
        -------
        float or ndarray, shape of `fpr`

        Raises
        ------
        ArgumentError
            If `fpr` is out of range.

        Examples
        --------
        >>> import fermiac as fm
        >>> curve = fm.privacy.roc([3, 5, 6, 8], [1, 2, 4, 7])
        >>> curve.tpr_at_fpr([0.0, 0.3, 1.0])
        array([0.25, 0.75, 1.  ])
        """
        wanted = fraction("fpr", fpr, zero=True, one=True)
        at = np.searchsorted(self.fpr, wanted, side="right") - 1
        low, after = self.tpr[at], np.minimum(at + 1, len(self.fpr) - 1)
        if not yes("interpolate", interpolate):
            return unwrapped(low)
        width = self.fpr[after] - self.fpr[at]
        share = np.divide(wanted - self.fpr[at], width, out=np.zeros(at.shape), where=width > 0)
        return unwrapped(low + share * (self.tpr[after] - low))

    def bootstrap(
        self,
        statistic: str = "auc",
        n: int = 1000,
        *,
        fpr: float | None = None,
        prob: float = 0.95,
        rng: RngLike = None,
        replicates: Replicates | None = None,
        plan: PlanLike | None = None,
    ) -> RocBootstrap:  # with part= Replicates; the type is that of all other calls
        """Return BCa limits of a statistic, from resamples of members and non-members.

        Parameters
        ----------
        statistic : {"auc", "tpr_at_fpr", "advantage"}, default "auc"
            The area; the interpolated true-positive rate at `fpr`; the largest TPR - FPR.
        n : int, default 1000
            The number of resamples.
        fpr : float, optional
            The false-positive rate of ``"tpr_at_fpr"``, in [0, 1).
        prob : float, default 0.95
            The probability between the limits, in (0, 1).
        rng : None, int, numpy SeedSequence or Generator, default None
            The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
        replicates : Replicates, optional
            All replicates of this call, from its parts; none are drawn.
        plan : Plan or executor, optional
            Where the call runs and what is kept (it takes ``executor``, ``store``, ``part``); see
            `fermiac.Plan`. ``part``: (i, n): return the replicates of part i of n, counted from 0,
            for independent jobs, as `fermiac.resample.Replicates`. `fermiac.merge` joins the parts
            for `replicates`. ``store``: a folder for files of finished replicates. The same call
            resumes from them, and its parts can share the folder. It needs `rng`.

        Returns
        -------
        RocBootstrap
            With `part`: `fermiac.resample.Replicates`.

        Raises
        ------
        ArgumentError
            If an argument is outside its domain, or there are not two scores of each kind.
        CheckpointError
            If a file of the store is damaged or belongs to another call, or cannot be written.

        Warns
        -----
        FermiacWarning
            If all replicates are equal: both limits are then the same meaningless number. If BCa
            limits are undefined, because all replicates are on one side of the estimate or no
            left-out score changes the statistic: the limits are then percentiles.

        References
        ----------
        .. [1] B. Efron, "Better bootstrap confidence intervals", Journal of the American
           Statistical Association, 1987, doi:10.1080/01621459.1987.10478410.

        Examples
        --------
        >>> import fermiac as fm
        >>> curve = fm.privacy.roc([3, 5, 6, 8], [1, 2, 4, 7])
        >>> b = curve.bootstrap("tpr_at_fpr", fpr=0.1, rng=0)
        >>> b.lower <= b.estimate <= b.upper
        True
        """
        where = plan_of(plan, "executor", "store", "part")
        began = time.perf_counter()
        statistic = choice("statistic", statistic, _STATISTICS)
        n = whole("n", n, 1, 2**40)
        level = single("prob", prob)
        if (fpr is None) == (statistic == "tpr_at_fpr"):
            raise ArgumentError(
                f"fpr: {shown(fpr)} was given for the statistic {shown(statistic)}; a rate in [0, "
                "1) goes with 'tpr_at_fpr', and with nothing else"
            )
        rate = 0.0 if fpr is None else single("fpr", fpr, zero=True)
        if min(self.n_members, self.n_nonmembers) < 2:
            raise ArgumentError(
                f"members: {self.n_members} members and {self.n_nonmembers} non-members cannot be "
                "resampled; two scores of each kind are needed"
            )
        key = key_of(rng)
        members, nonmembers = (
            np.repeat(self.thresholds[1:], np.diff(c)) for c in (self.tp, self.fp)
        )
        how = Drawing(where, replicates, rng)
        how.check(False)
        drawn_now = _replicates(
            (members, nonmembers, statistic, rate), n, key, where.n_threads, how
        )
        if isinstance(drawn_now, Replicates):
            rows: Any = drawn_now
            return rows  # type: ignore[no-any-return]
        estimate, values, acceleration = drawn_now
        tail = round((1 - level) / 2, 15)
        lower, upper, bias, known = bca_ends(np.sort(values), estimate, acceleration, tail)
        found = []
        if values.min() == values.max():
            found.append(
                f"all {n} replicates of {statistic} are equal, so that the bootstrap gives no "
                "standard error; use `epsilon_interval` of the counts, or more scores"
            )
        elif not known:
            found.append(
                f"all replicates of {statistic} are on one side of the estimate, or no score "
                "changes it when it is left out, so BCa limits are undefined; the limits are "
                "percentiles"
            )
        settings = {"statistic": statistic, "n": n, "fpr": fpr, "prob": level}
        result = RocBootstrap(
            statistic=statistic,
            estimate=estimate,
            lower=lower,
            upper=upper,
            stderr=float(np.std(values, ddof=1)) if n > 1 else float("inf"),
            prob=level,
            bias=bias,
            acceleration=acceleration,
            replicates=values,
            warnings=tuple(found),
            **provenance(settings, time.perf_counter() - began, key),
        )
        return warned(result, FermiacWarning)

    def plot(
        self,
        ax: Axes | None = None,
        threshold: float | None = None,
        epsilon: float | None = None,
        delta: float = 0.0,
    ) -> Axes:
        """Draw the curve; see `fermiac.plotting.plot_roc`."""
        drawn: Axes = registry.function("plotting", "plot_roc")(self, ax, threshold, epsilon, delta)
        return drawn


_Arguments: TypeAlias = tuple[Array, Array, str, float]


class _Replicates:
    """Replicates of a statistic of scores, one row each."""

    def __init__(self, arguments: _Arguments, key: int) -> None:
        self._target, self._key = arguments, key

    def __call__(self, start: int, stop: int) -> Array:
        """Return replicates from a start to a stop."""
        workers = resolve_threads(None)
        return _core.privacy_bootstrap(*self._target, start, stop - start, self._key, workers)[1]


def _replicates(
    arguments: _Arguments, n: int, key: int, n_threads: int | None, how: Drawing
) -> tuple[float, Array, float] | Replicates:
    """Return the estimate, its replicates and the acceleration; those of a part as they are."""
    workers = resolve_threads(n_threads)
    if how.is_plain:
        return _core.privacy_bootstrap(*arguments, 0, n, key, workers)

    def call() -> str:
        return identity_of_call("privacy.RocCurve.bootstrap", {"n": n}, key, *arguments)

    if how.replicates is not None:
        values = given_replicates(how.replicates, n, key, call)
    else:
        made = drawn(
            _Replicates(arguments, key), n, how, seed=key, call=call, report=None,
            multiple=_TOGETHER,
        )  # fmt: skip
        if how.plan.part is not None:
            return made
        values = made.array
    estimate, _, acceleration = _core.privacy_bootstrap(*arguments, 0, 0, key, workers)
    return estimate, values, acceleration


@public
def roc(
    members: ArrayLike, nonmembers: ArrayLike | None = None, *, labels: ArrayLike | None = None
) -> RocCurve:
    """Return the ROC curve of attack scores.

    Parameters
    ----------
    members, nonmembers : array_like, shape (n,)
        Scores of examples that were in the training set, and of others; a larger score points to
        a member. Infinities are allowed, and equal scores are one threshold.
    labels : array_like, shape (n,), optional
        Whether each score is that of a member, 1 or 0 (or booleans), instead of `nonmembers`. The
        first argument then has the scores of both, as in scikit-learn. Without `labels`, arrays of
        equal size are refused if one contains only 0 and 1, since it may be labels.

    Returns
    -------
    RocCurve

    Raises
    ------
    ArgumentError
        If one of the two is empty, contains NaN, is not one-dimensional, or may be labels.

    References
    ----------
    .. [1] T. Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters, 2006,
       doi:10.1016/j.patrec.2005.10.010.

    Examples
    --------
    >>> import fermiac as fm
    >>> curve = fm.privacy.roc([3.0, 2.0], [2.0, 1.0])
    >>> curve.thresholds, curve.tpr, curve.fpr
    (array([inf,  3.,  2.,  1.]), array([0. , 0.5, 1. , 1. ]), array([0. , 0. , 0.5, 1. ]))
    """
    return curve_of(*two_groups(members, nonmembers, labels))


def curve_of(some: Array, others: Array) -> RocCurve:
    """Return the curve of checked scores of members and of others."""
    began = time.perf_counter()
    thresholds, tp, fp, hull, auc, hull_auc = _core.privacy_roc(some, others)
    return RocCurve(
        fpr=fp / others.size,
        tpr=tp / some.size,
        thresholds=thresholds,
        fp=fp,
        tp=tp,
        hull=hull,
        auc=auc,
        hull_auc=hull_auc,
        n_members=some.size,
        n_nonmembers=others.size,
        **provenance({}, time.perf_counter() - began),
    )
