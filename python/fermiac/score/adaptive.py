"""Adaptive integrators: each row chooses its own steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.validate import choice, real, whole
from fermiac.errors import InternalError, TargetError
from fermiac.score.integrator import AnyIntegrator
from fermiac.score.model import Model

if TYPE_CHECKING:
    from fermiac._base.progress import Report

__all__ = ["Adaptive", "Solution", "integrate_adaptive"]

Array = NDArray[np.float64]

#: Below this tolerance rounding decides which steps are accepted.
_MIN_RTOL = 1e-14


class Solution(NamedTuple):
    """The points that `Adaptive.solve` reaches, and the evaluations and steps of each.

    Attributes
    ----------
    y : ndarray or torch.Tensor, shape of the points given
        The points.
    sigma : ndarray, shape (n,)
        The level of each point: the last one, except for rows that were frozen.
    n_evals, n_accepted, n_rejected : ndarray, shape (n,)
        Evaluations of the model, and steps, of each row.

    Examples
    --------
    >>> import fermiac as fm
    >>> m = fm.score.Gaussian([0.0], [[1.0]])
    >>> found = fm.score.Adaptive("dop853").solve(m, [[2.0], [1.0]], [10.0, 0.1])
    >>> found.y.shape, found.sigma
    ((2, 1), array([0.1, 0.1]))
    """

    y: Any
    sigma: Array
    n_evals: NDArray[np.int64]
    n_accepted: NDArray[np.int64]
    n_rejected: NDArray[np.int64]


@dataclass(frozen=True)
class Adaptive(AnyIntegrator):
    """A Runge-Kutta pair with steps in log s that keep an error estimate within tolerances.

    Every row has its own steps and its own error estimate, so its result does not depend on the
    other rows; `solve` also returns the numbers of steps. The integrators ``"rk45"`` and
    ``"dop853"`` are ``Adaptive("dopri5")`` and ``Adaptive("dop853")``.

    Parameters
    ----------
    method : {"dop853", "dopri5"}
        Hairer, Nørsett and Wanner's pair of order 8(5, 3), 12 evaluations a step; or Dormand and
        Prince's of order 5(4), 6 evaluations a step, for loose tolerances.
    rtol, atol : float
        The tolerances. A step is accepted if the root mean square over the coordinates of
        ``error / (atol + rtol |y|)`` is at most 1.
    max_steps : int
        The largest number of steps that a row may try before a `NumericalError`.

    Notes
    -----
    In t = log s the probability-flow equation is dy/dt = y - D(y, eᵗ). In this variable steps have
    a similar size from the largest level to the smallest. The errors of single steps add up: at the
    end they are about ten to a hundred times the tolerance. Steps end at every level of the grid.
    For a last level of 0 the result is the denoised point of the level before it.

    References
    ----------
    .. [1] J. R. Dormand, P. J. Prince, "A family of embedded Runge-Kutta formulae", Journal of
       Computational and Applied Mathematics, 1980, doi:10.1016/0771-050X(80)90013-3.
    .. [2] E. Hairer, S. P. Nørsett, G. Wanner, "Solving Ordinary Differential Equations I: Nonstiff
       Problems", Springer, 1993, doi:10.1007/978-3-540-78862-1.

    Examples
    --------
    >>> import fermiac as fm
    >>> fm.score.Adaptive(rtol=1e-8)
    Adaptive(method='dop853', rtol=1e-08, atol=1e-08, max_steps=10000)
    """

    method: str = "dop853"
    rtol: float = 1e-6
    atol: float = 1e-8
    max_steps: int = 10_000

    def __post_init__(self) -> None:
        """Refuse settings outside of their domains."""
        choice("method", self.method, ("dop853", "dopri5"))
        low, high = _MIN_RTOL, np.inf
        real("rtol", self.rtol, f"from {low:g} to below 1 is needed", lambda x: low <= x < 1)
        real("atol", self.atol, "a finite number, at least 0, is needed", lambda x: 0 <= x < high)
        whole("max_steps", self.max_steps, 1, 2**32 - 1)

    def solve(
        self,
        model: Model,
        y0: Any,
        sigmas: ArrayLike,
        *,
        on_nan: str = "raise",
    ) -> Solution:
        """Carry points through levels as `integrate` does, and count evaluations and steps.

        Parameters
        ----------
        model, y0, sigmas, on_nan
            As for `integrate`.

        Returns
        -------
        Solution

        Raises
        ------
        ArgumentError, TargetError, NumericalError
            As for `integrate`.

        Examples
        --------
        >>> import numpy as np, fermiac as fm
        >>> m = fm.score.Gaussian([0.0], [[1.0]])
        >>> found = fm.score.Adaptive(rtol=1e-8).solve(m, np.ones((2, 1)), [4.0, 0.5])
        >>> found.y.shape, bool((found.n_evals >= 12 * found.n_accepted).all())
        ((2, 1), True)
        """
        # Calls import this module.
        from fermiac.score.arguments import Call

        call = Call(model, y0, sigmas, self, None, 0, False, None, on_nan, None)
        with call.model._held():
            raw, error = integrate_adaptive(
                call.model._core(call.dim),
                call.y,
                call.grid,
                self,
                on_nan=on_nan,
                n_threads=call.workers,
            )
        if error is not None or raw is None:
            raise error or InternalError("a run ended without a result")
        counts = (raw[name] for name in ("sigma", "n_evals", "n_accepted", "n_rejected"))
        return Solution(call.shaped(raw["y"]), *counts)


def integrate_adaptive(
    model: Any,
    y: Array,
    sigmas: Array,
    integrator: Adaptive,
    *,
    trace: Any = None,
    on_nan: str | None = None,
    return_trajectory: bool = False,
    n_threads: int = 1,
    report: Report | None = None,
) -> tuple[dict[str, Any] | None, BaseException | None]:
    """Carry rows through levels, up or down; no step goes beyond the next level.

    Parameters
    ----------
    model : Model or object
        A model, or its form for the bindings.
    y : ndarray, shape (n, d)
        C-contiguous points at the first level.
    sigmas : ndarray, shape (L,) or (n, L)
        Levels of all rows, or of each row, strictly decreasing or increasing; the last may be 0 if
        they decrease.
    integrator : Adaptive
    trace : tuple, optional
        (None, 1) to integrate the change of the log-density with the model's own traces of ∂D/∂y,
        or (callable, count), where ``callable(rows, y, sigma)`` gives D and (n, count) estimates.
    on_nan : {"raise", "freeze"}, optional
        The treatment of values of the model that are not finite: they end the call, or stop their
        row. None ends the call, too, for calls without this option.
    return_trajectory : bool
    n_threads : int
    report : callable, optional
        Called with (done, total) rows.

    Returns
    -------
    raw : dict or None
        ``y`` (n, d), ``sigma`` (n,) the levels reached, ``log_change`` (n, count),
        ``trajectory`` (n, L, d) or (n, 0, d), ``n_evals``, ``n_accepted``, ``n_rejected`` (n,).
    error : BaseException or None
        The error that ended the call early; `raw` then has the points reached, or is None.

    Raises
    ------
    ArgumentError
        If levels or settings are out of range.
    """
    if on_nan is not None:
        choice("on_nan", on_nan, ("raise", "freeze"))
    levels = np.ascontiguousarray(np.atleast_2d(sigmas))
    core = model
    if isinstance(model, Model):
        core = model._core(y.shape[1])
        levels = model._within(levels)
    options = {
        "method": integrator.method,
        "rtol": float(integrator.rtol),
        "atol": float(integrator.atol),
        "max_steps": int(integrator.max_steps),
        "freeze": on_nan == "freeze",
    }
    raw, error = _core.score_adaptive(
        core, y, levels, options, trace, return_trajectory, n_threads, report
    )
    if on_nan is None and isinstance(error, TargetError):
        # The advice of the core names an argument that this call does not have.
        error.args = (str(error).partition(", or on_nan=")[0], *error.args[1:])
    return raw, error
