"""How chains over noise levels move, and how they draw their levels: what users choose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fermiac._base.validate import positive, yes
from fermiac.errors import ArgumentError

__all__ = ["LangevinStep", "LevelEstimate", "LevelRegression", "OUStep", "ScaledStep", "Step"]


def _share(name: str, value: Any) -> float:
    number = positive(name, value)
    if number >= 1:
        raise ArgumentError(f"{name}: {number:g} was given; a number above 0 and below 1 is needed")
    return number


@dataclass(frozen=True)
class OUStep:
    """Moves that shrink what is noise and add as much anew, the same at every level.

    A point x at level s, whose denoised point is D, becomes D + √(1 - c) (x - D) + √c s z. For
    small c this is a Langevin step of size c s². Where the data are one point it keeps the noisy
    law as it is, for any c: there is nothing that runs away.

    Parameters
    ----------
    c : float, default 0.3
        The share of the noise that is new, above 0 and below 1.

    Raises
    ------
    ArgumentError
        If `c` is out of range.
    """

    c: float = 0.3

    def __post_init__(self) -> None:
        object.__setattr__(self, "c", _share("c", self.c))

    def _core(self) -> tuple[str, float]:
        return "ou", self.c


@dataclass(frozen=True)
class ScaledStep:
    """Langevin steps of size c s²: x + (c / 2) (D - x) + √c s z.

    Without a correction the noise grows by c²/4 of its variance with each step where the data are
    one point; `OUStep` does not have this drift.

    Parameters
    ----------
    c : float
        The size, relative to the variance of the noise; above 0.

    Raises
    ------
    ArgumentError
        If `c` is not positive.
    """

    c: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "c", positive("c", self.c))

    def _core(self) -> tuple[str, float]:
        return "scaled", self.c


@dataclass(frozen=True)
class LangevinStep:
    """Langevin steps of one size for all levels, x + (η / 2) score + √η z, as published [1]_.

    They are unstable where s² is below η / 4, and hardly move where it is far above.

    Parameters
    ----------
    eta : float
        The size η, a variance; above 0.

    Raises
    ------
    ArgumentError
        If `eta` is not positive.

    References
    ----------
    .. [1] B. Kim, J. C. Ye, "Denoising MCMC for accelerating diffusion-based generative models",
       2022.
    """

    eta: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "eta", positive("eta", self.eta))

    def _core(self) -> tuple[str, float]:
        return "langevin", self.eta


@dataclass(frozen=True)
class LevelRegression:
    """Levels drawn from a log-normal law that a function gives for each point.

    Parameters
    ----------
    predict : callable
        Takes points (n, d), gives (n, 2): mean and standard deviation of log s. A deviation of 0
        gives the mean itself.
    nearest : bool, default False
        Whether the nearest of `levels` is taken; else any level of their range.
    """

    predict: Callable[[Any], Any]
    nearest: bool = False

    def __post_init__(self) -> None:
        if not callable(self.predict):
            raise ArgumentError(
                f"predict: {self.predict!r:.60} was given; a callable that takes points (n, d) and "
                "gives (n, 2), mean and deviation of log s, is needed"
            )
        object.__setattr__(self, "nearest", yes("nearest", self.nearest))


@dataclass(frozen=True)
class LevelEstimate:
    """Levels read off the denoised point: s² = ‖x - D‖² / d.

    It needs no classifier, and is no draw: in d dimensions its relative error is about 1/√(2d), so
    it stands for the law of the level only where d is large.

    Parameters
    ----------
    nearest : bool, default False
        Whether the nearest of `levels` is taken; else any level of their range.
    force : bool, default False
        Use it below 256 dimensions too.
    """

    nearest: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        for name in ("nearest", "force"):
            object.__setattr__(self, name, yes(name, getattr(self, name)))


Step = OUStep | ScaledStep | LangevinStep
"""How the points of chains over noise levels move."""
