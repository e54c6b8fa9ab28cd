"""Choices of the threshold of an attack, each with a bound that accounts for the choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from fermiac._base.strategies import Strategies
from fermiac._base.validate import numbers, shown, whole
from fermiac.errors import ArgumentError
from fermiac.privacy.checks import single

if TYPE_CHECKING:
    from fermiac.privacy.scores import Auditor, Bounded, Scores

__all__ = [
    "THRESHOLDS",
    "Bonferroni",
    "FixedThreshold",
    "HoldOutThreshold",
    "MultiSplit",
    "ResubstitutionThreshold",
    "SimultaneousBand",
    "Threshold",
]


class Threshold:
    """Base class of the choices of a threshold: frozen settings."""

    #: Whether the bound is valid, whether scores are split at random, and whether the counts have
    #: an upper bound as well.
    valid: ClassVar[bool] = True
    random: ClassVar[bool] = False
    has_upper: ClassVar[bool] = False

    def _bound(self, audit: Auditor, data: Scores, alpha: float) -> Bounded:
        """Return the bound of these scores."""
        raise NotImplementedError


@dataclass(frozen=True)
class FixedThreshold(Threshold):
    """A threshold that was fixed before the scores were seen.

    Parameters
    ----------
    threshold : float
        A score at or above it means "member".

    Raises
    ------
    ArgumentError
        If it is not a number, or NaN.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.privacy.FixedThreshold(0.5)
    FixedThreshold(threshold=0.5)
    """

    has_upper = True

    threshold: float

    def __post_init__(self) -> None:
        value = numbers("threshold", self.threshold)
        if value.ndim:
            raise ArgumentError(
                f"threshold: {shown(self.threshold)} was given; a number, or HoldOutThreshold, "
                "MultiSplit, Bonferroni or ResubstitutionThreshold, is needed"
            )
        object.__setattr__(self, "threshold", float(value))

    def _bound(self, audit: Auditor, data: Scores, alpha: float) -> Bounded:
        return audit.at(data, self.threshold, alpha)


@dataclass(frozen=True)
class HoldOutThreshold(Threshold):
    """The threshold with the best bound on one part of the scores; the bound comes from the other.

    Parameters
    ----------
    frac : float, default 0.5
        The share of the scores on which the threshold is chosen, in (0, 1).

    Raises
    ------
    ArgumentError
        If `frac` is out of range.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.privacy.HoldOutThreshold(0.3)
    HoldOutThreshold(frac=0.3)
    """

    random = True
    has_upper = True

    frac: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "frac", single("frac", self.frac))

    def _bound(self, audit: Auditor, data: Scores, alpha: float) -> Bounded:
        return audit.held_out(data, self.frac, 0, alpha)


@dataclass(frozen=True)
class MultiSplit(Threshold):
    """The median of the bounds of many splits, each at half of the error probability.

    If each of k bounds fails with probability at most alpha / 2, then half of them fail with
    probability at most alpha (Markov's inequality), under any dependence. The result hardly depends
    on the splits; the price is the factor 2.

    Parameters
    ----------
    k : int, default 100
        The number of splits.
    frac : float, default 0.5
        The share of the scores on which each threshold is chosen, in (0, 1).

    Raises
    ------
    ArgumentError
        If an argument is out of range.

    References
    ----------
    .. [1] N. Meinshausen, L. Meier, P. Bühlmann, "p-values for high-dimensional regression",
       Journal of the American Statistical Association, 2009, doi:10.1198/jasa.2009.tm08647.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.privacy.MultiSplit(k=20)
    MultiSplit(k=20, frac=0.5)
    """

    random = True

    k: int = 100
    frac: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", whole("k", self.k, 1, 2**31))
        object.__setattr__(self, "frac", single("frac", self.frac))

    def _bound(self, audit: Auditor, data: Scores, alpha: float) -> Bounded:
        found = [audit.held_out(data, self.frac, i, alpha / 2) for i in range(self.k)]
        # At most half of the bounds, rounded up, are as large as this one.
        return sorted(found, key=lambda f: f.lower)[self.k // 2]


@dataclass(frozen=True)
class Bonferroni(Threshold):
    """The best bound over all thresholds, each at its share of the error probability.

    The thresholds are all scores and one above all of them. alpha is divided by the number of
    thresholds, which does not depend on the scores. A score that serves as the threshold is left
    out of the counts; the other scores are independent of it.

    References
    ----------
    .. [1] O. J. Dunn, "Multiple comparisons among means", Journal of the American Statistical
       Association, 1961, doi:10.1080/01621459.1961.10482090.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.privacy.Bonferroni()
    Bonferroni()
    """

    def _bound(self, audit: Auditor, data: Scores, alpha: float) -> Bounded:
        return audit.over_all(data, alpha)


@dataclass(frozen=True)
class SimultaneousBand(Threshold):
    """The best bound over all thresholds, by limits of the rates that hold at all of them together.

    The rates at neighbouring thresholds are from almost the same scores, and their limits hold or
    fail together. The level of the limits at one threshold is therefore much larger than that of
    `Bonferroni`: with 500 scores of each kind and alpha = 0.05 it is 6.4e-4 for each rate in place
    of 2.5e-5. It is exact for continuous scores: the same for all thresholds, and such that one of
    the limits fails with probability alpha / 2 for each rate. For members and non-members the
    smaller one of the two levels is used. It needs ``method="clopper-pearson"``.

    Raises
    ------
    ArgumentError
        If there are more than 20,000 scores of one kind: the time for the level grows with the
        square of their number.

    References
    ----------
    .. [1] S. Aldor-Noiman, L. D. Brown, A. Buja, W. Rolke, R. A. Stine, "The power to see: a new
       graphical test of normality", The American Statistician, 2013,
       doi:10.1080/00031305.2013.847865.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.privacy.SimultaneousBand()
    SimultaneousBand()
    """

    def _bound(self, audit: Auditor, data: Scores, alpha: float) -> Bounded:
        return audit.in_band(data, alpha)


@dataclass(frozen=True)
class ResubstitutionThreshold(Threshold):
    """The best bound over all thresholds without a correction: *not* a valid bound.

    Parameters
    ----------
    invalid_ok : bool, default False
        Must be True: the bound overstates epsilon.

    Raises
    ------
    ArgumentError
        If `invalid_ok` is not True.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.privacy.ResubstitutionThreshold(invalid_ok=True)
    ResubstitutionThreshold(invalid_ok=True)
    """

    valid = False

    invalid_ok: bool = False

    def __post_init__(self) -> None:
        if self.invalid_ok is not True:
            raise ArgumentError(
                f"invalid_ok: {shown(self.invalid_ok)} was given; a bound over thresholds that "
                "were chosen on the same scores is not valid: use HoldOutThreshold, MultiSplit or "
                "Bonferroni, or give True to get it nonetheless"
            )

    def _bound(self, audit: Auditor, data: Scores, alpha: float) -> Bounded:
        return audit.at(data, audit.best(data, alpha, audit.bound), alpha)


ThresholdName: TypeAlias = Literal["holdout", "multisplit", "bonferroni", "band"]
THRESHOLDS: Strategies[Threshold] = Strategies(
    "threshold",
    Threshold,
    {
        "holdout": HoldOutThreshold,
        "multisplit": MultiSplit,
        "bonferroni": Bonferroni,
        "band": SimultaneousBand,
    },
    "fm.privacy.HoldOutThreshold(0.3), or a number",
)
