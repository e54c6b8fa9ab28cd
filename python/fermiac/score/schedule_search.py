"""Search of the noise levels for a model, an integrator and a number of steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.progress import Report, finish, reporter
from fermiac._base.tensors import to_numpy
from fermiac._base.validate import RngLike, choice, key_of, shown, whole
from fermiac.errors import ArgumentError, InternalError, TargetError
from fermiac.score.adaptive import Adaptive, integrate_adaptive
from fermiac.score.arguments import as_model, levels_within, range_of
from fermiac.score.integration import event_of, integrate, start_noise
from fermiac.score.integrator import Integrator
from fermiac.score.methods import FIXED_GRID, FixedName
from fermiac.score.model import Model, points_of, rows_of
from fermiac.score.schedules import ScheduleName, schedule_of

__all__ = ["searched"]

Array = NDArray[np.float64]

#: The distance of the first trials from the first grid, in log-lengths of steps.
_REACH = 0.3
#: The search ends when lengths of steps, or the logarithm of the loss, differ by less.
_TOLERANCE = 1e-3
#: The largest distance of log-lengths of steps from their mean.
_MOST = 20.0


@public
def searched(
    model: Model,
    n_steps: int,
    sigma_range: tuple[float, float] | None = None,
    integrator: FixedName | Integrator = "dpmpp_2m",
    *,
    final: Literal["min", "zero"] = "min",
    start: ScheduleName | Callable[[int, float, float], ArrayLike] = "karras",
    probes: int | ArrayLike | None = None,
    loss: Callable[[Array], float] | None = None,
    n_trials: int | None = None,
    rng: RngLike = None,
    n_threads: int | None = None,
    progress: bool | Report | None = None,
) -> Array:
    """Search for the levels with which an integrator is closest to the exact solution.

    The mean squared distance between the end of the integrator and that of the probability-flow
    equation, at probes, is minimised over the lengths of the steps in log s.

    Parameters
    ----------
    model : Model
        The denoiser.
    n_steps : int
        Steps, including the one to level 0 if there is one.
    sigma_range : tuple of float, optional
        The lowest level above 0, and the highest; by default the model's.
    integrator : str or Integrator, default "dpmpp_2m"
        The integrator of the levels; it must have no noise unless there is a `loss`.
    final : {"min", "zero"}, default "min"
        Whether the last level is the lowest of the range, or 0 after it.
    start : str or callable, default "karras"
        The schedule with which the search begins, as for `sample`.
    probes : int or array_like of shape (m, d) or (m, *event), optional
        Points at the highest level, or the number of normal points to draw, 128 by default; not
        with a `loss`.
    loss : callable, optional
        A function of levels, (n_steps + 1,), that is minimised instead. Its values are nonnegative;
        inf excludes levels.
    n_trials : int, optional
        The number of grids to try, by default 100 for each step. A trial integrates all probes.
    rng : int, SeedSequence, Generator or None
        The seed of the probes that are drawn.
    n_threads : int, optional
        Threads for a model that runs in Rust. They do not change the result.
    progress : bool or callable, optional
        Show a progress bar (default: terminals, notebooks), or call this with (done, total) trials.

    Returns
    -------
    ndarray of shape (n_steps + 1,)
        Levels, strictly decreasing. At the probes they are never worse than those of `start`.

    Raises
    ------
    ArgumentError
        If an argument is outside of its domain.
    TargetError
        If the model gives a wrong shape, or numbers that are not finite during the exact solution,
        or if the loss does not return a nonnegative number.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` is the best levels so far.

    Notes
    -----
    The search is the simplex method of Nelder and Mead [1]_ over the logarithms of the lengths of
    the steps, so levels always decrease. With more than about twenty steps it is slow, and
    schedules without a search are good.

    Levels can overfit the probes: if a few probes contribute most of the error, other points may
    gain nothing. Increase the number of probes until points outside the search gain, too.

    References
    ----------
    .. [1] J. A. Nelder, R. Mead, "A simplex method for function minimization", The Computer
       Journal, 1965, doi:10.1093/comjnl/7.4.308.

    Examples
    --------
    >>> import fermiac as fm
    >>> m = fm.score.Gaussian([0.5], [[0.04]])
    >>> levels = fm.score.searched(m, 4, (0.02, 20.0), "euler", rng=0)
    >>> levels.shape, bool((levels[1:] < levels[:-1]).all())
    ((5,), True)
    """
    model = as_model(model)
    n = whole("n_steps", n_steps, 1, 1000)
    low, high = range_of(model, sigma_range)
    method = FIXED_GRID.resolve(integrator)
    zero = choice("final", final, ("min", "zero")) == "zero"
    trials = 100 * n if n_trials is None else whole("n_trials", n_trials, 1, 10**9)
    first = levels_within("start", model, schedule_of(start, n, low, high, zero, "start"))
    # A start that does not decrease is refused, with the index.
    method._program(first)
    if loss is not None and not callable(loss):
        raise ArgumentError(f"loss: {shown(loss)} given; a function of the levels is needed")
    if loss is not None and probes is not None:
        raise ArgumentError("probes: given with a loss, which has none; give one of them")
    if n - zero < 2:
        return first
    with reporter(progress, "searched", "trials") as report:
        if loss is None:
            least = _distance(model, method, first, probes, rng, n_threads)
        else:
            least = _checked(loss)
        found = _minimized(least, first[: len(first) - zero], zero, trials, report)
        finish(report, trials, found)
    return found


def _checked(loss: Callable[[Array], float]) -> Callable[[Array], float]:
    """Return the loss of a user with checked values and a note on its errors."""

    def checked(levels: Array) -> float:
        try:
            given: Any = loss(levels.copy())
        except Exception as error:
            error.add_note(f"raised by the loss of levels {levels.tolist()!s:.200}")
            raise
        number = np.asarray(to_numpy(given))
        if number.shape != () or number.dtype.kind not in "iuf" or not number >= 0:
            raise TargetError(
                f"loss: it gave {shown(given)} for levels {levels.tolist()!s:.200}; a number from "
                "0 on is needed"
            )
        return float(number)

    return checked


def _minimized(
    loss: Callable[[Array], float], first: Array, zero: bool, trials: int, report: Report | None
) -> Array:
    """Return the best levels of a search that begins with `first`."""
    total = math.log(first[0] / first[-1])
    lengths = np.log(np.log(first[:-1] / first[1:]))

    def levels(free: Array) -> Array:
        steps = np.append(free, 0.0)
        shares = np.exp(np.clip(steps - steps.mean(), -_MOST, _MOST))
        taken = np.cumsum(shares[:-1]) / shares.sum()
        inner = first[0] * np.exp(-total * taken)
        return np.concatenate([first[:1], inner, first[-1:], np.zeros(int(zero))])

    best, least, done = np.append(first, np.zeros(int(zero))), np.inf, 0

    def value(free: Array) -> float:
        nonlocal best, least, done
        # The first trial is the grid itself, without the rounding of its lengths.
        grid = levels(free) if done else best
        given = loss(grid) if (grid[1:] < grid[:-1]).all() else np.inf
        if given < least:
            best, least = grid, given
        done += 1
        if report is not None and done < trials:
            report(done, trials)
        return math.log(given) if 0 < given < np.inf else -np.inf if given == 0 else np.inf

    # Imported here: the import takes a tenth of a second.
    from scipy.optimize import minimize

    start = lengths[:-1] - lengths[-1]
    simplex = start + np.concatenate([np.zeros((1, len(start))), _REACH * np.eye(len(start))])
    try:
        minimize(
            value,
            start,
            method="Nelder-Mead",
            options={
                "initial_simplex": simplex,
                "adaptive": True,
                "maxfev": trials,
                "xatol": _TOLERANCE,
                "fatol": _TOLERANCE,
            },
        )
    except KeyboardInterrupt as error:
        error.partial_result = best  # type: ignore[attr-defined]
        raise
    return best


def _distance(
    model: Model,
    method: Integrator,
    first: Array,
    probes: Any,
    rng: RngLike,
    n_threads: int | None,
) -> Callable[[Array], float]:
    """Return the function of levels that is minimised: the error at probes."""
    if method.needs_noise:
        raise ArgumentError(
            f"integrator: {shown(method, 100)} draws noise, and so has no distance from the "
            "solution of the equation without; give a loss, or take another"
        )
    probes = 128 if probes is None else probes
    if isinstance(probes, (int, np.integer)):
        m, event = whole("probes", probes, 1, 10**9), event_of(model, None)
        y0 = start_noise(key_of(rng), 0, m, math.prod(event)) * first[0]
        y0 = y0.reshape(m, *event)
    else:
        y0 = points_of("probes", to_numpy(probes))
        if not len(y0):
            raise ArgumentError("probes: no point was given; one at least is needed")
    rows = rows_of("probes", y0.reshape(len(y0), -1), model.dim)
    ends = first[[0, -2, -1]] if first[-1] == 0 else first[[0, -1]]
    raw, error = integrate_adaptive(
        model._shaped(y0.shape[1:])._core(rows.shape[1]),
        rows,
        ends,
        Adaptive("dop853", rtol=1e-8, atol=1e-8 * float(first[0])),
        n_threads=resolve_threads(n_threads),
    )
    if error is not None or raw is None:
        error = error or InternalError("a run ended without a result")
        if isinstance(error, KeyboardInterrupt):
            error.partial_result = first  # type: ignore[attr-defined]
        raise error
    truth = raw["y"].reshape(y0.shape)

    def distance(levels: Array) -> float:
        end = integrate(
            model, y0, levels, method, on_nan="ignore", n_threads=n_threads, progress=False
        )
        mean = float(np.square(to_numpy(end) - truth).sum() / len(truth))
        # NaN: the model fails at these levels.
        return mean if mean >= 0 else np.inf

    return distance
