"""What every integrator on a grid of noise levels is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.validate import choice, positive, whole, yes
from fermiac.errors import ArgumentError

__all__ = ["Integrator", "Langevin", "pair", "real"]

Array = NDArray[np.float64]

#: From here on, each step of a grid costs as many evaluations as the one before.
_SETTLED = 12


@dataclass(frozen=True)
class Langevin:
    """Langevin steps at every level that an integrator reaches: the corrector of [1]_.

    With the score g and normal numbers z, a step is y + ζ g + √(2ζ) z, where ζ = 2 (snr a)².

    Parameters
    ----------
    n_steps : int, default 1
        Steps at each level. Each costs an evaluation of the model.
    snr : float, default 0.16
        How long they are.
    norm : {"level", "row", "batch"}, default "level"
        What a is: the level s; ‖z‖ / ‖g‖ of each row; or the ratio of the averages of both norms
        over all rows of the call, as published. All three agree in many dimensions where noise
        prevails.

    Notes
    -----
    A step whose length depends on the row does not keep its law: with ``"row"`` points of small
    score make steps without bound, and the variance of a standard normal law came out as 101 in 2
    dimensions, 1.32 in 16 and 1.05 in 256 (100 levels, snr 0.16). With ``"batch"`` the result of a
    row depends on the rows beside it.

    References
    ----------
    .. [1] Y. Song, J. Sohl-Dickstein, D. P. Kingma, A. Kumar, S. Ermon, B. Poole, "Score-based
       generative modeling through stochastic differential equations", 2021.

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
        """Hold the settings to their domains."""
        whole("langevin.n_steps", self.n_steps, 1, 10**6)
        positive("langevin.snr", self.snr)
        choice("langevin.norm", self.norm, ("level", "row", "batch"))


@dataclass(frozen=True)
class Integrator:
    """The base of the integrators: recipes that carry points down a grid of noise levels.

    Wherever an integrator is asked for, its name will do: `fermiac.score.integrators` lists them.

    Parameters
    ----------
    start : {"low", "rk"}, default "low"
        How a method that uses evaluations of earlier steps begins: with lower orders, or with
        single-step DPM-Solver++ of order 3 (three evaluations a step) until it has them. Orders
        above 2 are only reached with "rk", but for `UniPC`. Methods that need no earlier
        evaluations ignore it.
    lower_order_final : bool, default False
        Take the last step with order 1, the one before with order 2 at most, and so on; steadier
        with very few steps to level 0; on grids that end above it, it costs the order. Methods of
        order 1 ignore it.
    langevin : Langevin, optional
        Langevin steps after each step.

    Attributes
    ----------
    order : int or float
        The order of convergence that the method is made for: the error falls as this power of the
        length of the steps.
    needs_noise : bool
        Whether it draws random numbers.
    """

    start: str = field(default="low", kw_only=True)
    lower_order_final: bool = field(default=False, kw_only=True)
    langevin: Langevin | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Hold the settings to their domains."""
        choice("start", self.start, ("low", "rk"))
        yes("lower_order_final", self.lower_order_final)
        if self.langevin is not None and not isinstance(self.langevin, Langevin):
            raise ArgumentError(
                f"langevin: {self.langevin!r:.60} was given; fermiac.score.Langevin(...) or None "
                "is needed"
            )
        self._check()
        # The compiler judges what is left.
        self._program(np.array([2.0, 1.0]))

    @property
    def order(self) -> float:
        """The order of convergence that the method is made for."""
        return 1

    @property
    def needs_noise(self) -> bool:
        """Whether it draws random numbers."""
        return self.langevin is not None or self._is_stochastic()

    def n_evals(self, n_steps: int, zero: bool = True) -> int:
        """Count the evaluations of the model on a grid, for every row.

        Parameters
        ----------
        n_steps : int
            Steps of the grid.
        zero : bool, default True
            Whether its last level is 0.

        Returns
        -------
        int

        Examples
        --------
        >>> import fermiac as fm
        >>> fm.score.Heun().n_evals(5), fm.score.Heun().n_evals(5, zero=False)
        (9, 10)
        """
        n = whole("n_steps", n_steps, 1, 2**62)
        few = self._count(min(n, _SETTLED), zero)
        if n <= _SETTLED:
            return few
        return few + (n - _SETTLED) * (self._count(_SETTLED + 1, zero) - few)

    def _count(self, n: int, zero: bool) -> int:
        grid = np.exp2(-np.arange(n + 1.0))
        if zero:
            grid[-1] = 0.0
        return int(self._program(grid).n_evals)

    # What a method implements.

    def _check(self) -> None:
        """Refuse settings of wrong types."""

    def _is_stochastic(self) -> bool:
        return False

    def _most_churned(self, top: float) -> float:
        """The highest level up to `top` from which a step would go up before it goes down."""
        return top

    def _method(self) -> tuple[Any, ...]:
        """The name and the settings that the compiler takes."""
        raise NotImplementedError

    # What others ask of it.

    def _options(self) -> tuple[str, bool, int | None]:
        """What all methods can be asked for."""
        steps = None if self.langevin is None else int(self.langevin.n_steps)
        return self.start, bool(self.lower_order_final), steps

    def _spec(self) -> tuple[tuple[Any, ...], tuple[str, bool, int | None]]:
        return self._method(), self._options()

    def _langevin(self) -> tuple[float, str]:
        """How long Langevin steps are."""
        given = self.langevin or Langevin()
        return float(given.snr), given.norm

    def _program(self, grid: Array) -> _core.Program:
        """The instructions on a grid, (N + 1,), or on one for each row, (n, N + 1)."""
        return _core.score_compile(self._method(), self._options(), grid)


def real(name: str, value: Any) -> float:
    """Take `value` as a float; its range is the compiler's to judge."""
    if isinstance(value, (bool, np.bool_, str, bytes)):
        raise ArgumentError(f"{name}: {value!r:.60} was given; a number is needed")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ArgumentError(f"{name}: {value!r:.60} was given; a number is needed") from None


def pair(name: str, value: Any, needed: str) -> tuple[float, float]:
    """Take `value` as two floats."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ArgumentError(f"{name}: {value!r:.60} was given; {needed} is needed")
    return real(name, value[0]), real(name, value[1])
