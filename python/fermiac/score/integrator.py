"""The base of the integrators: their options, their settings and the compiled program."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.validate import choice, positive, real, shown, whole, yes
from fermiac.errors import ArgumentError

__all__ = ["AnyIntegrator", "Integrator", "Langevin", "number", "pair"]

Array = NDArray[np.float64]

#: Beyond this many steps of a grid, each further step costs as many evaluations as the one before.
_SETTLED = 12


@dataclass(frozen=True)
class Langevin:
    """Langevin steps at every level that an integrator reaches: the corrector of [1]_.

    With the score g and normal numbers z, a step is y + ζ g + √(2ζ) z, where ζ = 2 (snr a)².

    Parameters
    ----------
    n_steps : int, default 1
        The number of steps at each level. Each costs an evaluation of the model.
    snr : float, default 0.16
        The relative length of the steps.
    norm : {"level", "row", "batch"}, default "level"
        The length a: the level s; ‖z‖ / ‖g‖ of each row; or the ratio of the averages of both norms
        over all rows of the call, as published. All three agree in many dimensions if noise
        dominates.

    Notes
    -----
    A step whose length depends on the row does not keep its law. With ``"row"`` the steps of points
    with a small score are unbounded: the variance of a standard normal law was 101 in 2 dimensions,
    1.32 in 16 and 1.05 in 256 (100 levels, snr 0.16). With ``"batch"`` the result of a row depends
    on the other rows.

    References
    ----------
    .. [1] Y. Song, J. Sohl-Dickstein, D. P. Kingma, A. Kumar, S. Ermon, B. Poole, "Score-based
       generative modeling through stochastic differential equations", 2021, arXiv:2011.13456.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.EulerMaruyama(langevin=fm.score.Langevin(snr=0.1)).n_evals(10)
    19
    """

    n_steps: int = 1
    snr: float = 0.16
    norm: str = "level"

    def __post_init__(self) -> None:
        """Refuse settings outside of their domains."""
        whole("langevin.n_steps", self.n_steps, 1, 10**6)
        positive("langevin.snr", self.snr)
        choice("langevin.norm", self.norm, ("level", "row", "batch"))


class AnyIntegrator:
    """Base class of the integrators on fixed grids and of the adaptive ones."""


@dataclass(frozen=True)
class Integrator(AnyIntegrator):
    """Base class of the integrators on a fixed grid of noise levels.

    An argument that takes an integrator also takes its name; `fermiac.score.integrators` lists the
    names.

    Parameters
    ----------
    start : {"low", "rk"}, default "low"
        The first steps of a method that uses evaluations of earlier steps: lower orders, or
        single-step DPM-Solver++ of order 3 (three evaluations a step). Orders above 2 are only
        reached with "rk", except by `UniPC`. Methods that need no earlier evaluations ignore it.
    lower_order_final : bool, default False
        Take the last step with order 1, the one before with order at most 2, and so on. This is
        more stable with very few steps to level 0, but reduces the order on grids that end above
        it. Methods of order 1 ignore it.
    langevin : Langevin, optional
        Langevin steps after each step.

    Attributes
    ----------
    order : int or float
        The order of convergence: the error is proportional to this power of the step length.
    needs_noise : bool
        Whether it draws random numbers.

    Examples
    --------
    >>> import fermiac as fm
    >>> isinstance(fm.score.DPMSolver(2), fm.score.Integrator)
    True
    """

    #: The name of the method in the core.
    method: ClassVar[str]

    start: str = field(default="low", kw_only=True)
    lower_order_final: bool = field(default=False, kw_only=True)
    langevin: Langevin | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse settings outside of their domains."""
        choice("start", self.start, ("low", "rk"))
        yes("lower_order_final", self.lower_order_final)
        if self.langevin is not None and not isinstance(self.langevin, Langevin):
            raise ArgumentError(
                f"langevin: {shown(self.langevin)} was given; fermiac.score.Langevin(...) or None "
                "is needed"
            )
        self._check()
        # The core checks the ranges.
        self._program(np.array([2.0, 1.0]))

    @property
    def order(self) -> float:
        """The order of convergence."""
        return 1

    @property
    def needs_noise(self) -> bool:
        """Whether it draws random numbers."""
        return self.langevin is not None or self._is_stochastic()

    def n_evals(self, n_steps: int, zero: bool = True) -> int:
        """Return the number of evaluations of the model on a grid, for every row.

        Parameters
        ----------
        n_steps : int
            Steps of the grid.
        zero : bool, default True
            Whether the last level of the grid is 0.

        Returns
        -------
        int

        Examples
        --------
        >>> import fermiac as fm
        >>> fm.score.Heun().n_evals(5), fm.score.Heun().n_evals(5, zero=False)
        (9, 10)
        """
        n, zero = whole("n_steps", n_steps, 1, 2**62), yes("zero", zero)
        few = self._count(min(n, _SETTLED), zero)
        if n <= _SETTLED:
            return few
        return few + (n - _SETTLED) * (self._count(_SETTLED + 1, zero) - few)

    def _count(self, n: int, zero: bool) -> int:
        grid = np.exp2(-np.arange(n + 1.0))
        if zero:
            grid[-1] = 0.0
        return int(self._program(grid).n_evals)

    # Overridden by the methods.

    def _check(self) -> None:
        """Refuse settings of wrong types."""

    def _is_stochastic(self) -> bool:
        return False

    def _pairs(self) -> bool:
        """Whether the integrator needs both denoisers of a guided model."""
        return False

    def _most_churned(self, top: float) -> float:
        """Return the highest level up to `top` at which a step first adds noise."""
        return top

    def _method(self) -> tuple[str, dict[str, Any]]:
        """Return the name and the settings of the method in the core: all its own fields."""
        own = {name: value for name, value in vars(self).items() if name not in _SHARED}
        return self.method, own

    # Used by the calls.

    def _options(self) -> tuple[str, bool, int | None]:
        """Return the options that are common to all methods."""
        steps = None if self.langevin is None else int(self.langevin.n_steps)
        return self.start, bool(self.lower_order_final), steps

    def _langevin(self) -> tuple[float, str]:
        """Return the relative length and the norm of Langevin steps."""
        given = self.langevin or Langevin()
        return float(given.snr), given.norm

    def _program(self, grid: Array) -> _core.Program:
        """Return the program on a grid, (N + 1,), or on one grid for each row, (n, N + 1)."""
        return _core.score_compile(self._method(), self._options(), grid)


#: The fields of all methods, which are no settings of one.
_SHARED = ("start", "lower_order_final", "langevin")


def number(name: str, value: Any) -> float:
    """Return `value` as a float, whose range the core checks."""
    return real(name, value, "a number is needed", lambda _: True)


def pair(name: str, value: Any, needed: str) -> tuple[float, float]:
    """Return `value` as two floats, whose range the core checks."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ArgumentError(f"{name}: {shown(value)} was given; {needed} is needed")
    return number(name, value[0]), number(name, value[1])
