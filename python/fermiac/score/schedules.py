"""Schedules: grids of noise levels, from the highest down to the data."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.ask import ask
from fermiac._base.calls import public
from fermiac._base.strategies import Strategies
from fermiac._base.validate import choice, numbers, whole
from fermiac.errors import ArgumentError
from fermiac.score.integrator import number, pair

__all__ = [
    "exponential",
    "karras",
    "poly_t",
    "polyexponential",
    "schedule_of",
    "vp_uniform",
]

Array = NDArray[np.float64]
Betas = tuple[float, float]
Schedule: TypeAlias = "Callable[[int, float, float], ArrayLike]"

#: A placeholder where β is not used.
_NO_BETAS = (1.0, 1.0)


@public
def karras(
    n_steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0, final: str = "min"
) -> Array:
    """Return levels that are equally spaced in s^(1/ρ) [1]_.

    Parameters
    ----------
    n_steps : int
        Steps, including the one to level 0 if there is one.
    sigma_min, sigma_max : float
        The lowest level above 0, and the highest.
    rho : float, default 7.0
        Larger values make shorter steps at low levels.
    final : {"min", "zero"}, default "min"
        Whether the last level is `sigma_min`, or 0 after `sigma_min`.

    Returns
    -------
    ndarray of shape (n_steps + 1,)
        Levels, strictly decreasing.

    Raises
    ------
    ArgumentError
        If an argument is outside of its domain, or two levels fall together.

    References
    ----------
    .. [1] T. Karras, M. Aittala, T. Aila, S. Laine, "Elucidating the design space of
       diffusion-based generative models", 2022, arXiv:2206.00364.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.karras(5, 0.05, 10.0).round(4)
    array([10.    ,  4.5579,  1.8807,  0.6825,  0.2086,  0.05  ])
    >>> fm.score.karras(3, 0.05, 10.0, final="zero").round(4)
    array([10.    ,  1.1539,  0.05  ,  0.    ])
    """
    return _grid("karras", n_steps, sigma_min, sigma_max, ("rho", rho), final)


@public
def exponential(n_steps: int, sigma_min: float, sigma_max: float, final: str = "min") -> Array:
    """Return levels that are equally spaced in log s, the logarithm of the noise-to-signal ratio.

    Parameters
    ----------
    n_steps, sigma_min, sigma_max, final
        As for `karras`.

    Returns
    -------
    ndarray of shape (n_steps + 1,)

    Raises
    ------
    ArgumentError
        As for `karras`.

    References
    ----------
    .. [1] C. Lu, Y. Zhou, F. Bao, J. Chen, C. Li, J. Zhu, "DPM-Solver: a fast ODE solver for
       diffusion probabilistic model sampling in around 10 steps", NeurIPS, 2022, arXiv:2206.00927.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.exponential(2, 0.1, 10.0).round(12)
    array([10. ,  1. ,  0.1])
    """
    return _grid("polyexponential", n_steps, sigma_min, sigma_max, ("rho", 1.0), final)


@public
def polyexponential(
    n_steps: int, sigma_min: float, sigma_max: float, rho: float = 1.0, final: str = "min"
) -> Array:
    """Return levels whose logarithms decrease like a power of a linear ramp.

    log s decreases from log `sigma_max` to log `sigma_min` like the ρ-th power of a ramp from 1 to
    0.

    Parameters
    ----------
    n_steps, sigma_min, sigma_max, final
        As for `karras`.
    rho : float, default 1.0
        Larger values make shorter steps at low levels; 1 is `exponential`.

    Returns
    -------
    ndarray of shape (n_steps + 1,)

    Raises
    ------
    ArgumentError
        As for `karras`.

    References
    ----------
    .. [1] T. Karras, M. Aittala, T. Aila, S. Laine, "Elucidating the design space of
       diffusion-based generative models", NeurIPS, 2022, arXiv:2206.00364.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.polyexponential(2, 0.1, 10.0, rho=2.0).round(4)
    array([10.    ,  0.3162,  0.1   ])
    """
    return _grid("polyexponential", n_steps, sigma_min, sigma_max, ("rho", rho), final)


@public
def poly_t(
    n_steps: int,
    sigma_min: float,
    sigma_max: float,
    kappa: float = 2.0,
    beta_range: Betas = (0.1, 20.0),
    final: Literal["min", "zero"] = "min",
) -> Array:
    """Return levels equally spaced in t^(1/κ), with t of a variance-preserving process [1]_.

    Parameters
    ----------
    n_steps, sigma_min, sigma_max, final
        As for `karras`.
    kappa : float, default 2.0
        Larger values make shorter steps at low levels.
    beta_range : tuple of float, default (0.1, 20.0)
        β of the process at times 0 and 1; s² = exp(∫β) - 1.

    Returns
    -------
    ndarray of shape (n_steps + 1,)

    Raises
    ------
    ArgumentError
        As for `karras`.

    References
    ----------
    .. [1] Q. Zhang, Y. Chen, "Fast sampling of diffusion models with exponential integrator", 2023,
       arXiv:2204.13902.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.poly_t(2, 0.02, 80.0).round(4)
    array([8.0000e+01, 1.0102e+00, 2.0000e-02])
    """
    power = ("kappa", kappa)
    return _grid("poly_t", n_steps, sigma_min, sigma_max, power, final, beta_range)


@public
def vp_uniform(
    n_steps: int,
    sigma_min: float,
    sigma_max: float,
    beta_range: Betas = (0.1, 20.0),
    final: Literal["min", "zero"] = "min",
) -> Array:
    """Return levels that are equally spaced in the time of a variance-preserving process.

    Parameters
    ----------
    n_steps, sigma_min, sigma_max, final
        As for `karras`.
    beta_range : tuple of float, default (0.1, 20.0)
        As for `poly_t`.

    Returns
    -------
    ndarray of shape (n_steps + 1,)

    Raises
    ------
    ArgumentError
        As for `karras`.

    References
    ----------
    .. [1] Y. Song, J. Sohl-Dickstein, D. P. Kingma, A. Kumar, S. Ermon, B. Poole, "Score-based
       generative modeling through stochastic differential equations", ICLR, 2021, arXiv:2011.13456.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.vp_uniform(2, 0.02, 80.0).round(4)
    array([8.000e+01, 2.879e+00, 2.000e-02])
    """
    power = ("kappa", 1.0)
    return _grid("poly_t", n_steps, sigma_min, sigma_max, power, final, beta_range)


#: The names of the schedules.
ScheduleName: TypeAlias = Literal[
    "exponential", "karras", "poly_t", "polyexponential", "vp_uniform"
]
_NAMED: dict[str, Schedule] = {
    "exponential": exponential,
    "karras": karras,
    "poly_t": poly_t,
    "polyexponential": polyexponential,
    "vp_uniform": vp_uniform,
}
SCHEDULES: Strategies[Any] = Strategies(
    "schedule",
    Callable,  # type: ignore[arg-type]  # any function is a schedule
    {name: partial(lambda schedule: schedule, schedule) for name, schedule in _NAMED.items()},
    "fermiac.score.karras",
)


def schedule_of(
    given: str | Schedule,
    n_steps: int,
    sigma_min: float,
    sigma_max: float,
    zero: bool,
    name: str = "schedule",
) -> Array:
    """Return the grid of `n_steps` steps of a schedule, which is given by name or as a function."""
    schedule = SCHEDULES.resolve(given, name)
    positive_steps = n_steps - zero
    if positive_steps == 0:
        return np.array([sigma_max, 0.0])
    ends = positive_steps, sigma_min, sigma_max
    levels = ask(schedule, ends, name, f"for {positive_steps} steps")
    grid = numbers(name, levels)
    if grid.shape != (positive_steps + 1,):
        raise ArgumentError(
            f"{name}: it gave shape {grid.shape}; ({positive_steps + 1},) is needed, the ends of "
            f"{positive_steps} steps"
        )
    return np.append(grid, 0.0) if zero else grid


def _grid(
    kind: str,
    n_steps: int,
    sigma_min: float,
    sigma_max: float,
    power: tuple[str, Any],
    final: str,
    beta_range: Any = _NO_BETAS,
) -> Array:
    n = whole("n_steps", n_steps, 1, 10**7)
    zero = choice("final", final, ("min", "zero")) == "zero"
    low, high = number("sigma_min", sigma_min), number("sigma_max", sigma_max)
    betas = pair("beta_range", beta_range, "β at times 0 and 1")

    def spread(n_steps: int, low: float, high: float) -> Array:
        return _core.score_grid(kind, n_steps, low, high, number(*power), betas)

    # A single step to 0 has no levels in between, but the arguments are checked.
    spread(1, low, high)
    return schedule_of(spread, n, low, high, zero)
