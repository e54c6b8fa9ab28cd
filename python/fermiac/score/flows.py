"""Transport of points from one law to another along a flow model."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.ask import ask
from fermiac._base.calls import public
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import finish, reporter
from fermiac._base.validate import RngLike, key_of, real, shown, whole, yes
from fermiac.errors import ArgumentError, TargetError
from fermiac.score.interpolants import FlowModel
from fermiac.score.model import rows_of
from fermiac.score.noise import INTEGRATE

__all__ = ["PartialTransport", "transport"]

Array = NDArray[np.float64]


class PartialTransport(NamedTuple):
    """The points of a transport that was stopped: the ``partial_result`` of its exception.

    Attributes
    ----------
    x : ndarray, shape (n, d)
        The points.
    t : float
        The time of the points.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> fm.score.PartialTransport(np.zeros((2, 1)), 0.5).t
    0.5
    """

    x: Array
    t: float


@public
def transport(
    model: FlowModel,
    x0: ArrayLike,
    n_steps: int = 50,
    diffusion: float | Callable[[float], float] | None = None,
    reverse: bool = False,
    *,
    return_log_change: bool = False,
    return_trajectory: bool = False,
    rng: RngLike = None,
    first_row: int = 0,
    plan: PlanLike | None = None,
) -> Any:
    r"""Transport points from the first law of a flow model to the last, or back.

    Points follow :math:`dx = b\,dt`, or with a diffusion :math:`\epsilon(t)` the equation
    :math:`dx = (b + \epsilon\,s)\,dt + \sqrt{2\epsilon}\,dW`, where s is the score; both have the
    same laws at all times [1]_.

    Parameters
    ----------
    model : FlowModel
        The velocity, and for a diffusion its score.
    x0 : array_like, shape (n, d)
        Points of the first law; of the last one in reverse.
    n_steps : int, default 50
        The number of equal steps in time. Without a diffusion they are steps of Heun's rule, with
        two evaluations each and an error of second order; otherwise of the Euler-Maruyama rule.
    diffusion : float or callable, optional
        The diffusion ε, a number or a function of the time, at least 0.
    reverse : bool, default False
        Go from time 1 to time 0.
    return_log_change : bool, default False
        Also return the change of log-density along each path, which is minus the integral of the
        divergence. This needs a model with a divergence, and no diffusion.
    return_trajectory : bool, default False
        Return the points at all times, (n_steps + 1, n, d), instead of the last ones.
    rng : int, SeedSequence, Generator or None
        The seed of the noise. The noise of a row depends only on the seed, the row and the step.
    first_row : int, default 0
        The number of the first row.
    plan : Plan or executor, optional
        Where the call runs and what is kept; see `fermiac.Plan`.

    Returns
    -------
    ndarray, shape (n, d), or (n_steps + 1, n, d) with `return_trajectory`
        The points; with `return_log_change` a pair of the points and the changes, (n,).

    Raises
    ------
    ArgumentError
        If an argument is invalid, or the model lacks a score or a divergence that is needed.
    TargetError
        If a function returns another shape, or numbers that are not finite.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` is a `PartialTransport`.

    References
    ----------
    .. [1] M. S. Albergo, N. M. Boffi, E. Vanden-Eijnden, "Stochastic interpolants: a unifying
       framework for flows and diffusions", 2023, arXiv:2303.08797.
    .. [2] X. Liu, C. Gong, Q. Liu, "Flow straight and fast: learning to generate and transfer data
       with rectified flow", ICLR, 2023, arXiv:2209.03003.

    Examples
    --------
    >>> import fermiac as fm
    >>> ring = fm.score.GaussianMixture([0.5, 0.5], [[-2.0], [2.0]], 0.1)
    >>> flow = fm.score.ExactInterpolant(fm.score.Gaussian([0.0], 1.0), ring)
    >>> x = fm.score.transport(flow, fm.random.Stream(0).normal((4000, 1)), 40)
    >>> bool(abs(x.var() - 4.1) < 0.2)
    True
    """
    where = plan_of(plan)
    if not isinstance(model, FlowModel):
        raise ArgumentError(
            f"model: {type(model).__name__} given; a FlowModel is needed; score models go to "
            "integrate and sample"
        )
    x = rows_of("x0", x0, model.dim)
    n = whole("n_steps", n_steps, 1, 10**7)
    backwards = yes("reverse", reverse)
    with_change = yes("return_log_change", return_log_change)
    if diffusion is not None and not callable(diffusion):
        needed = "a finite number of at least 0, or a function of the time, is needed"
        constant = real("diffusion", diffusion, needed, lambda e: 0 <= e < math.inf)
        diffusion = None if constant == 0 else constant
    if diffusion is not None and not model.has_score:
        raise ArgumentError(
            "diffusion: given for a model without a score; make it with a denoiser, a score, or "
            "from_normal=True"
        )
    if with_change and (diffusion is not None or not model.has_divergence):
        raise ArgumentError(
            "return_log_change: it needs a model with a divergence, and no diffusion"
        )
    keep_path = yes("return_trajectory", return_trajectory)
    key, first = key_of(rng), whole("first_row", first_row, 0, 2**48)
    times = np.linspace(0.0, 1.0, n + 1)
    if backwards:
        times = times[::-1]
    change, path = np.zeros(len(x)), [x]
    with reporter(where.progress, "transport", "steps") as report:
        at = float(times[0])
        try:
            for i in range(n):
                t, to = float(times[i]), float(times[i + 1])
                if diffusion is None:
                    x, change = _heun(model, x, change, t, to, with_change)
                else:
                    amount = _amount(diffusion, t)
                    z = _core.score_noise(key, INTEGRATE, first, len(x), i, x.shape[1], 0)[0]
                    x = _maruyama(model, x, t, to, amount, z)
                at = to
                if keep_path:
                    path.append(x)
                if report is not None:
                    report(i + 1, n)
        except KeyboardInterrupt as stop:
            stop.partial_result = PartialTransport(x, at)  # type: ignore[attr-defined]
            raise
        points = np.stack(path) if keep_path else x
        result = (points, change) if with_change else points
        finish(report, n, result)
    return result


def _heun(
    model: FlowModel, x: Array, change: Array, t: float, to: float, with_change: bool
) -> tuple[Array, Array]:
    """Return the points after a step of Heun's rule, and the change of log-density."""
    h = to - t
    start = model._velocity(x, t)
    there = x + h * start
    moved = x + 0.5 * h * (start + model._velocity(there, to))
    if with_change:
        both = model._divergence(x, t) + model._divergence(there, to)
        change = change - 0.5 * h * both
    return moved, change


def _maruyama(model: FlowModel, x: Array, t: float, to: float, amount: float, z: Array) -> Array:
    h = abs(to - t)
    forward = 1.0 if to > t else -1.0
    velocity = model._velocity(x, t)
    score = model._score(x, t) if amount else None
    if score is None:
        # Without a score the step is one of the equation without noise.
        return x + h * forward * velocity
    return x + h * (forward * velocity + amount * score) + math.sqrt(2 * amount * h) * z


def _amount(diffusion: float | Callable[[float], float], t: float) -> float:
    if not callable(diffusion):
        return diffusion
    given = ask(diffusion, (t,), "diffusion", f"at time {t:g}")
    try:
        amount = float(given)
    except (TypeError, ValueError):
        raise TargetError(
            f"diffusion: the function gave {shown(given)} at time {t:g}; a number is needed"
        ) from None
    if not 0 <= amount < math.inf:
        raise TargetError(
            f"diffusion: the function gave {amount} at time {t:g}; a finite number of at least 0 "
            "is needed"
        )
    return amount
