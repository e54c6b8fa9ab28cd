"""How the threshold of an attack is chosen, so that the bound stays one."""

from __future__ import annotations

from dataclasses import dataclass

from fermiac._base.validate import numbers, whole
from fermiac.errors import ArgumentError
from fermiac.privacy.inputs import single

__all__ = ["Bonferroni", "Explicit", "HoldOut", "MultiSplit", "SameData", "Threshold"]


@dataclass(frozen=True)
class Explicit:
    """A threshold that was fixed before the scores were seen.

    Parameters
    ----------
    threshold : float
        A score at or above it means "member".

    Raises
    ------
    ArgumentError
        If it is no number, or NaN.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.privacy.Explicit(0.5)
    Explicit(threshold=0.5)
    """

    threshold: float

    def __post_init__(self) -> None:
        value = numbers("threshold", self.threshold)
        if value.ndim:
            raise ArgumentError(
                f"threshold: {self.threshold!r:.60} was given; a number, or HoldOut, MultiSplit, "
                "Bonferroni or SameData, is needed"
            )
        object.__setattr__(self, "threshold", float(value))


@dataclass(frozen=True)
class HoldOut:
    """The threshold with the best bound on one part of the scores; the bound is of the other part.

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
    >>> fm.privacy.HoldOut(0.3)
    HoldOut(frac=0.3)
    """

    frac: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "frac", single("frac", self.frac))


@dataclass(frozen=True)
class MultiSplit:
    """The median of the bounds of many splits, each at half of the error probability.

    If each of k bounds fails with probability at most alpha / 2, half of them fail with probability
    at most alpha (Markov's inequality), whatever their dependence. The answer hardly depends on the
    splits, at the price of that factor 2.

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
       Journal of the American Statistical Association, 2009.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.privacy.MultiSplit(k=20)
    MultiSplit(k=20, frac=0.5)
    """

    k: int = 100
    frac: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", whole("k", self.k, 1, 2**31))
        object.__setattr__(self, "frac", single("frac", self.frac))


@dataclass(frozen=True)
class Bonferroni:
    """The best bound over all thresholds, each at its share of the error probability.

    Every score is a threshold, and one lies above all of them: alpha is divided by their number,
    which does not depend on the scores. A threshold that is a score depends on it, so that score is
    left out of its counts; the others are independent of it.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.privacy.Bonferroni()
    Bonferroni()
    """


@dataclass(frozen=True)
class SameData:
    """The best bound over all thresholds, taken as if there had been one: *not* a valid bound.

    Parameters
    ----------
    invalid_ok : bool, default False
        Must be True: what comes out overstates epsilon.

    Raises
    ------
    ArgumentError
        If `invalid_ok` is not True.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.privacy.SameData(invalid_ok=True)
    SameData(invalid_ok=True)
    """

    invalid_ok: bool = False

    def __post_init__(self) -> None:
        if self.invalid_ok is not True:
            raise ArgumentError(
                f"invalid_ok: {self.invalid_ok!r} was given; a bound over thresholds that were "
                "chosen on the same scores is not valid: take HoldOut, MultiSplit or Bonferroni, "
                "or give True to get it nonetheless"
            )


Threshold = Explicit | HoldOut | MultiSplit | Bonferroni | SameData
