"""The moves of denoising Langevin Gibbs: steps of points, and draws of their levels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fermiac._base.strategies import Strategies
from fermiac._base.validate import positive, probability, shown, yes
from fermiac.errors import ArgumentError

__all__ = [
    "STEPS",
    "LangevinStep",
    "LevelEstimate",
    "LevelRegression",
    "OUStep",
    "ScaledStep",
    "Step",
]


class Step:
    """Base class of the moves of points."""

    def _core(self) -> tuple[str, float]:
        """Return the name and the size of the move in the core."""
        raise NotImplementedError


@dataclass(frozen=True)
class OUStep(Step):
    """Moves that replace a share of the noise, the same share at every level.

    A point x at level s, whose denoised point is D, becomes D + √(1 - c) (x - D) + √c s z. For
    small c this is a Langevin step of size c s². If the data are one point, the noisy law is
    invariant for any c, so chains do not diverge.

    Parameters
    ----------
    c : float, default 0.3
        The share of new noise, above 0 and below 1.

    Raises
    ------
    ArgumentError
        If `c` is out of range.

    References
    ----------
    .. [1] B. Kim, J. C. Ye, "Denoising MCMC for accelerating diffusion-based generative models",
       2022, arXiv:2209.14593 (such chains, with another step).

    Examples
    --------
    >>> import fermiac as fm
    >>> m = fm.score.GaussianMixture([0.3, 0.7], [[-2.0], [2.0]], [0.25, 0.25])
    >>> step = fm.score.OUStep(0.3)
    >>> r = fm.score.langevin_gibbs(
    ...     m, sigma_range=(0.2, 5.0), step=step, n_draws=50, n_skip=20, rng=0
    ... )
    >>> r.draws.shape
    (64, 50, 1)
    """

    c: float = 0.3

    def __post_init__(self) -> None:
        object.__setattr__(self, "c", probability("c", self.c))

    def _core(self) -> tuple[str, float]:
        return "ou", self.c


@dataclass(frozen=True)
class ScaledStep(Step):
    """Langevin steps of size c s²: x + (c / 2) (D - x) + √c s z.

    Without a correction, if the data are one point, the variance of the noise grows by the share
    c²/4 with each step; `OUStep` does not have this drift.

    Parameters
    ----------
    c : float
        The size, relative to the variance of the noise; above 0.

    Raises
    ------
    ArgumentError
        If `c` is not positive.

    References
    ----------
    .. [1] B. Kim, J. C. Ye, "Denoising MCMC for accelerating diffusion-based generative models",
       2022, arXiv:2209.14593 (such chains, with another step).

    Examples
    --------
    >>> import fermiac as fm
    >>> m = fm.score.GaussianMixture([0.3, 0.7], [[-2.0], [2.0]], [0.25, 0.25])
    >>> step = fm.score.ScaledStep(0.1)
    >>> r = fm.score.langevin_gibbs(
    ...     m, sigma_range=(0.2, 5.0), step=step, n_draws=50, n_skip=20, rng=0
    ... )
    >>> r.draws.shape
    (64, 50, 1)
    """

    c: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "c", positive("c", self.c))

    def _core(self) -> tuple[str, float]:
        return "scaled", self.c


@dataclass(frozen=True)
class LangevinStep(Step):
    """Langevin steps of one size for all levels, x + (η / 2) score + √η z, as published [1]_.

    They are unstable at levels with s² below η / 4, and hardly move at levels far above.

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
       2022, arXiv:2209.14593.

    Examples
    --------
    >>> import fermiac as fm
    >>> m = fm.score.GaussianMixture([0.3, 0.7], [[-2.0], [2.0]], [0.25, 0.25])
    >>> step = fm.score.LangevinStep(0.1)
    >>> r = fm.score.langevin_gibbs(
    ...     m, sigma_range=(0.2, 5.0), step=step, n_draws=50, n_skip=20, rng=0
    ... )
    >>> r.draws.shape
    (64, 50, 1)
    """

    eta: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "eta", positive("eta", self.eta))

    def _core(self) -> tuple[str, float]:
        return "langevin", self.eta


@dataclass(frozen=True)
class LevelRegression:
    """Levels drawn from a log-normal law whose moments a function gives for each point.

    Parameters
    ----------
    predict : callable
        A function of points (n, d) that returns (n, 2): mean and standard deviation of log s. A
        standard deviation of 0 gives the mean itself.
    nearest : bool, default False
        Whether the nearest of `levels` is taken, instead of any level in their range.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> def predict(x):  # of standard normal data in many dimensions
    ...     square = (x**2).mean(axis=1)
    ...     mean = 0.5 * np.log(np.maximum(square - 1, 1e-4))
    ...     return np.column_stack([mean, np.full(len(x), 0.1)])
    >>> fm.score.LevelRegression(predict).nearest
    False
    """

    predict: Callable[[Any], Any]
    nearest: bool = False

    def __post_init__(self) -> None:
        if not callable(self.predict):
            raise ArgumentError(
                f"predict: {shown(self.predict)} was given; a callable that takes points (n, d) "
                "and gives (n, 2), mean and deviation of log s, is needed"
            )
        object.__setattr__(self, "nearest", yes("nearest", self.nearest))


@dataclass(frozen=True)
class LevelEstimate:
    """Levels estimated from the denoised point: s² = ‖x - D‖² / d.

    The estimate needs no classifier, but is not a draw. In d dimensions its relative error is about
    1/√(2d), so it can replace a draw only if d is large.

    Parameters
    ----------
    nearest : bool, default False
        Whether the nearest of `levels` is taken, instead of any level in their range.
    force : bool, default False
        Allow it below 256 dimensions.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.LevelEstimate(nearest=True)
    LevelEstimate(nearest=True, force=False)
    """

    nearest: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        for name in ("nearest", "force"):
            object.__setattr__(self, name, yes(name, getattr(self, name)))


_MOVES = "OUStep(0.3), ScaledStep(0.1) or LangevinStep(0.1)"
#: The moves that need no size.
STEPS: Strategies[Step] = Strategies("step", Step, {"ou": OUStep}, _MOVES)
