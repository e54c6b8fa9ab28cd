"""Choices of the threshold of an attack, each with a bound that accounts for the choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from fermiac._base.strategies import Strategies
from fermiac._base.validate import numbers, shown
from fermiac.errors import ArgumentError

if TYPE_CHECKING:
    from fermiac.privacy.scores import Auditor, Bounded, Scores

__all__ = [
    "THRESHOLDS",
    "FixedThreshold",
    "ResubstitutionThreshold",
    "SimultaneousBand",
    "Threshold",
]


class Threshold:
    """Base class of the choices of a threshold: frozen settings."""

    #: Whether the bound is valid, and whether the counts have an upper bound as well.
    valid: ClassVar[bool] = True
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
                f"threshold: {shown(self.threshold)} was given; a number, SimultaneousBand or "
                "ResubstitutionThreshold is needed"
            )
        object.__setattr__(self, "threshold", float(value))

    def _bound(self, audit: Auditor, data: Scores, alpha: float) -> Bounded:
        return audit.at(data, self.threshold, alpha)


@dataclass(frozen=True)
class SimultaneousBand(Threshold):
    """The best bound over all thresholds, by limits of the rates that hold at all of them together.

    The rates at neighbouring thresholds are from almost the same scores, and their limits hold or
    fail together. The level of the limits at one threshold is therefore much larger than alpha
    divided by the number of thresholds (Bonferroni): with 500 scores of each kind and alpha = 0.05
    it is 6.4e-4 for each rate in place of 2.5e-5. It is exact for continuous scores: the same for
    all thresholds, and such that one of the limits fails with probability alpha / 2 for each rate.
    Above 5,000 scores of one kind it is slightly smaller than that. For members and non-members the
    smaller one of the two levels is used. It needs ``method="clopper-pearson"``.

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
                "were chosen on the same scores is not valid: use SimultaneousBand, or give True "
                "to get it nonetheless"
            )

    def _bound(self, audit: Auditor, data: Scores, alpha: float) -> Bounded:
        return audit.at(data, audit.best(data, alpha), alpha)


ThresholdName: TypeAlias = Literal["band"]
THRESHOLDS: Strategies[Threshold] = Strategies(
    "threshold",
    Threshold,
    {"band": SimultaneousBand},
    "a number that was fixed beforehand",
)
