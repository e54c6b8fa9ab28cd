"""Search of the noise levels for a model, an integrator and a number of steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac._base.ask import ask
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.plan import PlanLike, alone, plan_of
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

__all__ = ["Searched", "searched"]

Array = NDArray[np.float64]

#: The distance of the first trials from the first grid, in log-lengths of steps.
_REACH = 0.3
#: The search ends when lengths of steps, or the logarithm of the loss, differ by less.
_TOLERANCE = 1e-3
#: The largest distance of log-lengths of steps from their mean.
_MOST = 20.0
#: Probes of exact models and of others: fewer are overfitted, and evaluations of networks are dear.
_PROBES, _FEW_PROBES = 1024, 128
#: Levels of the fine grid of a dynamic programme, for each step and at least; and the factors of
#: errors that are carried along, of which the published one is the second.
_FINE, _LEAST_FINE, _CARRIED = 6, 60, (1.0, 1.15, 1.3)
#: The powers of the errors of a jump that are added.
_POWERS = (1.0, 2.0)


class Searched(np.ndarray[Any, np.dtype[np.float64]]):
    """Levels found by `searched`: an array of levels, with their error at unseen points.

    Attributes
    ----------
    error : float
        The root mean square distance per point from the exact solution with these levels, at check
        points that the search has not seen; NaN without any.
    error_start, error_found : float
        The same with the levels of the start, and with those that the search found.
    n_trials : int
        The number of grids that were tried.

    References
    ----------
    .. [1] J. A. Nelder, R. Mead, "A simplex method for function minimization", The Computer
       Journal, 1965, doi:10.1093/comjnl/7.4.308.

    Examples
    --------
    >>> import fermiac as fm
    >>> m = fm.score.Gaussian([0.5], [[0.04]])
    >>> levels = fm.score.searched(m, 4, (0.02, 20.0), "euler", rng=0)
    >>> isinstance(levels, fm.score.Searched), bool(levels.error < levels.error_start)
    (True, True)
    """

    error_start: float
    error_found: float
    n_trials: int

    def __array_finalize__(self, made_from: Any) -> None:
        """Keep the errors in copies and views of all levels."""
        self.error_start = getattr(made_from, "error_start", math.nan)
        self.error_found = getattr(made_from, "error_found", math.nan)
        self.n_trials = getattr(made_from, "n_trials", 0)

    @property
    def error(self) -> float:
        """The error of these levels at the check points."""
        return float(np.fmin(self.error_start, self.error_found))


def _with_errors(levels: Array, start: float, found: float, n_trials: int) -> Searched:
    made = np.array(levels).view(Searched)
    made.error_start, made.error_found, made.n_trials = start, found, n_trials
    return made


@public
def searched(
    model: Model,
    n_steps: int,
    sigma_range: tuple[float, float] | None = None,
    integrator: FixedName | Integrator = "dpmpp_2m",
    *,
    method: Literal["simplex", "dynamic"] = "simplex",
    final: Literal["min", "zero"] = "min",
    start: ScheduleName | Callable[[int, float, float], ArrayLike] = "karras",
    probes: int | ArrayLike | None = None,
    loss: Callable[[Array], float] | None = None,
    n_check: int | None = None,
    n_trials: int | None = None,
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> Searched:
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
    method : {"simplex", "dynamic"}, default "simplex"
        The search: over all levels by the simplex method [1]_; or among the levels of a fine grid
        by dynamic programming over the errors of single Euler jumps [2]_, which takes seconds for
        any number of steps.
    final : {"min", "zero"}, default "min"
        Whether the last level is the lowest of the range, or 0 after it.
    start : str or callable, default "karras"
        The schedule with which the search begins, as for `sample`.
    probes : int or array_like of shape (m, d) or (m, *event), optional
        Points at the highest level, or the number of normal points to draw; not with a `loss`. By
        default 1024 for exact models, and 128 for others.
    loss : callable, optional
        A function of levels, (n_steps + 1,), that is minimised instead. Its values are nonnegative;
        inf excludes levels.
    n_check : int, optional
        The number of further normal points, unseen by the search, at which the found levels are
        compared with those of `start`; the better ones are returned. By default as many as probes
        that are drawn, and 0 if they are given. 0 for no check.
    n_trials : int, optional
        The number of grids to try, by default 100 for each step. A trial integrates all probes.
    rng : int, SeedSequence, Generator or None
        The seed of the probes that are drawn.
    plan : Plan or executor, optional
        Where the call runs and what is kept; see `fermiac.Plan`.

    Returns
    -------
    Searched
        An array of levels, (n_steps + 1,), strictly decreasing, with both errors at the check
        points. There, and at the probes, they are never worse than those of `start`.

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
    ``method="dynamic"`` is quick. It tries a few grids of the programme, with different weights of
    early errors, and keeps the best one for the integrator. Its costs are those of Euler jumps: for
    `Euler` its levels are as good as those of the simplex method, and for multistep methods it
    often keeps the start.

    Levels can overfit the probes, if a few of them contribute most of the error: for ten steps of
    `DPMSolver` 128 probes were too few on a mixture, and 1024 were enough. The check at unseen
    points shows this, and keeps the start if it is better.

    References
    ----------
    .. [1] J. A. Nelder, R. Mead, "A simplex method for function minimization", The Computer
       Journal, 1965, doi:10.1093/comjnl/7.4.308.
    .. [2] D. Chen, Z. Zhou, C. Wang, C. Shen, S. Lyu, "On the trajectory regularity of ODE-based
       diffusion sampling", 2024, arXiv:2405.11326.

    Examples
    --------
    >>> import fermiac as fm
    >>> m = fm.score.Gaussian([0.5], [[0.04]])
    >>> levels = fm.score.searched(m, 4, (0.02, 20.0), "euler", rng=0)
    >>> levels.shape, bool((levels[1:] < levels[:-1]).all())
    ((5,), True)
    """
    where = plan_of(plan)
    model = as_model(model)
    n = whole("n_steps", n_steps, 1, 1000)
    low, high = range_of(model, sigma_range)
    solver = FIXED_GRID.resolve(integrator)
    choice("method", method, ("simplex", "dynamic"))
    zero = choice("final", final, ("min", "zero")) == "zero"
    trials = 100 * n if n_trials is None else whole("n_trials", n_trials, 1, 10**9)
    first = levels_within("start", model, schedule_of(start, n, low, high, zero, "start"))
    # A start that does not decrease is refused, with the index.
    solver._program(first)
    if loss is not None and not callable(loss):
        raise ArgumentError(f"loss: {shown(loss)} given; a function of the levels is needed")
    asked = None if n_check is None else whole("n_check", n_check, 0, 10**9)
    for name, given in (("probes", probes is not None), ("n_check", bool(asked))):
        if loss is not None and given:
            raise ArgumentError(f"{name}: given with a loss, which has none; give one of them")
    if loss is not None and method == "dynamic":
        raise ArgumentError("method: 'dynamic' was given with a loss; it is for exact solutions")
    drawn = probes is None or isinstance(probes, (int, np.integer))
    most = _PROBES if model.has_log_density else _FEW_PROBES
    m = whole("probes", most if probes is None else probes, 1, 10**9) if drawn else 0
    checks = m if asked is None else asked
    if n - zero < 2:
        return _with_errors(first, math.nan, math.nan, 0)
    key = key_of(rng)
    task = _Task(model, solver, first, zero, resolve_threads(where.n_threads))
    with reporter(where.progress, "searched", "trials") as report:
        if loss is not None:
            found, done = _minimized(_checked(loss), first, zero, trials, report)
            made = _with_errors(found, math.nan, math.nan, done)
        else:
            _refuse_noise(solver)
            y0 = task.points(key, 0, m) if drawn else task.given(probes)
            if method == "dynamic":
                found, done = task.dynamic(y0)
            else:
                found, done = _minimized(task.distance(y0), first, zero, trials, report)
            made = task.judged(found, done, task.points(key, m, checks) if checks else None)
        finish(report, trials, made)
    return made


def _refuse_noise(solver: Integrator) -> None:
    """Refuse integrators that draw noise."""
    if solver.needs_noise:
        raise ArgumentError(
            f"integrator: {shown(solver, 100)} draws noise, and so has no distance from the "
            "solution of the equation without; give a loss, or take another"
        )


def _checked(loss: Callable[[Array], float]) -> Callable[[Array], float]:
    """Return the loss of a user with checked values and a note on its errors."""

    def checked(levels: Array) -> float:
        given = ask(loss, (levels,), "the loss", f"of levels {levels.tolist()!s:.200}")
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
) -> tuple[Array, int]:
    """Return the best levels of a search that begins with `first`, and the number of trials."""
    first = first[: len(first) - zero]
    total = math.log(first[0] / first[-1])
    lengths = np.log(np.log(first[:-1] / first[1:]))

    def levels(free: Array) -> Array:
        steps = np.append(free, 0.0)
        shares = np.exp(np.clip(steps - steps.mean(), -_MOST, _MOST))
        taken = np.cumsum(shares[:-1]) / shares.sum()
        inner = first[0] * np.exp(-total * taken)
        made: Array = np.concatenate([first[:1], inner, first[-1:], np.zeros(int(zero))])
        return made

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
        error.partial_result = _with_errors(best, math.nan, math.nan, done)  # type: ignore[attr-defined]
        raise
    return best, done


class _Task:
    """The distances of the ends of an integrator from exact solutions."""

    def __init__(
        self, model: Model, solver: Integrator, first: Array, zero: bool, n_threads: int
    ) -> None:
        self._model, self._solver, self._first = model, solver, first
        self._zero, self._n_threads = zero, n_threads

    def points(self, key: int, start: int, m: int) -> Array:
        """Return normal points at the highest level."""
        event = event_of(self._model, None)
        y0 = start_noise(key, start, m, math.prod(event)) * self._first[0]
        return np.asarray(y0.reshape(m, *event))

    @staticmethod
    def given(probes: Any) -> Array:
        """Return the points of a user."""
        y0: Array = points_of("probes", to_numpy(probes))
        if not len(y0):
            raise ArgumentError("probes: no point was given; one at least is needed")
        return y0

    def solved(self, y0: Array, levels: Array, path: bool = False) -> Array:
        """Return the exact solutions at the last level, or at all levels."""
        rows = rows_of("probes", y0.reshape(len(y0), -1), self._model.dim)
        raw, error = integrate_adaptive(
            self._model._shaped(y0.shape[1:])._core(rows.shape[1]),
            rows,
            levels,
            Adaptive("dop853", rtol=1e-8, atol=1e-8 * float(self._first[0])),
            return_trajectory=path,
            n_threads=self._n_threads,
        )
        if error is not None or raw is None:
            error = error or InternalError("a run ended without a result")
            if isinstance(error, KeyboardInterrupt):
                error.partial_result = _with_errors(self._first, math.nan, math.nan, 0)  # type: ignore[attr-defined]
            raise error
        return np.asarray(raw["trajectory"] if path else raw["y"])

    def distance(self, y0: Array) -> Callable[[Array], float]:
        """Return the function of levels that is minimised: the mean squared error at points."""
        ends = self._first[[0, -2, -1]] if self._zero else self._first[[0, -1]]
        truth = self.solved(y0, ends).reshape(y0.shape)

        def distance(levels: Array) -> float:
            end = integrate(
                self._model, y0, levels, self._solver, on_nan="ignore",
                plan=alone(n_threads=self._n_threads, progress=False),
            )  # fmt: skip
            mean = float(np.square(to_numpy(end) - truth).sum() / len(truth))
            # NaN: the model fails at these levels.
            return mean if mean >= 0 else np.inf

        return distance

    def judged(self, found: Array, done: int, checks: Array | None) -> Searched:
        """Return the better levels at check points, with both errors."""
        if checks is None:
            return _with_errors(found, math.nan, math.nan, done)
        least = self.distance(checks)
        before, after = (math.sqrt(least(levels)) for levels in (self._first, found))
        return _with_errors(found if after <= before else self._first, before, after, done)

    def dynamic(self, y0: Array) -> tuple[Array, int]:
        """Return the best levels of dynamic programmes over a fine grid."""
        ends = self._first[: len(self._first) - self._zero]
        n = len(ends) - 1
        # The levels of the start, subdivided evenly in log s.
        each = max(_FINE, math.ceil(_LEAST_FINE / n))
        at = np.interp(np.arange(n * each + 1) / each, np.arange(n + 1), np.log(ends))
        fine = np.exp(at)
        fine[[0, -1]] = ends[[0, -1]]
        errors = self._jumps(y0, fine)
        least = self.distance(y0)
        best, smallest, done = self._first, least(self._first), 1
        for power in _POWERS:
            for carried in _CARRIED:
                rows = _shortest(errors**power, n, carried)
                levels = np.append(fine[rows], np.zeros(int(self._zero)))
                value, done = least(levels), done + 1
                if value < smallest:
                    best, smallest = levels, value
        return best, done

    def _jumps(self, y0: Array, fine: Array) -> Array:
        """Return the root mean square errors of Euler jumps between all levels of a grid."""
        path = self.solved(y0, fine, path=True)
        size = len(fine)
        errors = np.full((size, size), np.inf)
        for i in range(size - 1):
            y = np.ascontiguousarray(path[:, i])
            slope = (y - self._model.denoise(y, float(fine[i]))) / fine[i]
            for j in range(i + 1, size):
                end = y + (fine[j] - fine[i]) * slope
                errors[i, j] = math.sqrt(float(np.square(end - path[:, j]).sum(axis=1).mean()))
        return errors


def _shortest(costs: Array, n_steps: int, carried: float) -> list[int]:
    """Return the levels of the cheapest path from the first level to the last in n steps.

    The cost of what follows a step counts `carried` times less than that of the step itself, since
    early errors are carried along.
    """
    size = len(costs)
    ahead = np.full((n_steps + 1, size), np.inf)
    ahead[0, -1] = 0.0
    chosen = np.zeros((n_steps + 1, size), dtype=np.int64)
    for k in range(1, n_steps + 1):
        total = carried ** (k - 1) * costs + ahead[k - 1]
        chosen[k] = np.argmin(total, axis=1)
        ahead[k] = total[np.arange(size), chosen[k]]
    rows = [0]
    for k in range(n_steps, 0, -1):
        rows.append(int(chosen[k, rows[-1]]))
    return rows
