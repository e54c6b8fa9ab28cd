"""Measurements chosen one by one: each where the posterior of a score model knows least."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.ask import ask as asked
from fermiac._base.calls import public
from fermiac._base.plan import Plan, PlanLike, alone, plan_of
from fermiac._base.progress import finish, reporter
from fermiac._base.tensors import to_numpy
from fermiac._base.validate import (
    RngLike,
    choice,
    key_of,
    labels,
    numbers,
    positive,
    shown,
    taken,
    whole,
)
from fermiac.distributions.law import subkey
from fermiac.errors import ArgumentError, TargetError
from fermiac.score.arguments import as_model
from fermiac.score.exact import Gaussian, GaussianMixture
from fermiac.score.guided_result import Guided
from fermiac.score.integration import event_of, integrate, start_noise
from fermiac.score.inverse import MethodName, posterior
from fermiac.score.inverse_methods import METHODS, InverseMethod, prior_variance_of, pulled
from fermiac.score.model import Model
from fermiac.score.observations import Linear
from fermiac.score.particles import denoised_at
from fermiac.score.schedules import ScheduleName
from fermiac.score.steering import Schedule, levels_of

__all__ = ["ActiveSample", "measure"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Way: TypeAlias = Literal["exact", "running"] | MethodName

#: The most distances between particles that are held at once.
_AT_ONCE = 1 << 20
#: The factor of the usual bandwidth of a normal kernel, for n points of deviation 1.
_BANDWIDTH, _RATE = 1.06, -0.2
#: Bins within a width of a kernel, and the logarithm to base 2 of the most bins.
_PER_WIDTH, _MOST_BINS = 16, 20
#: With one reverse process: the share of the steps before the first measurement. At higher levels
#: all denoised points are near the mean of the data.
_BEFORE = 0.25
_RUNNING_BIAS = (
    "the particles take one reverse process, guided as by PiGDM, which measurements join on the "
    "way; denoised points at high levels are too close to each other"
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ActiveSample(Guided):
    """Draws given measurements that were chosen one by one, made by `measure`.

    Attributes
    ----------
    chosen : ndarray of int, shape (k,)
        The numbers of the candidates, in the order in which they were measured.
    values : ndarray, shape (k, m)
        What was measured.
    scores : ndarray, shape (k, n_candidates)
        The entropies or variances of the predictions before each measurement; NaN for candidates
        that had been measured.

    References
    ----------
    .. [1] O. Nolan, T. S. W. Stevens, W. L. van Nierop, R. J. G. van Sloun, "Active diffusion
       subsampling", 2024, arXiv:2406.14388.

    Examples
    --------
    >>> import fermiac as fm
    >>> law = fm.score.Gaussian([0.0, 0.0], [0.1, 2.0])
    >>> s = fm.score.measure(law, lambda i: 0.5, [0, 1], 1, noise=0.1, rng=0)
    >>> s.chosen, s.values, s.scores.shape
    (array([1]), array([[0.5]]), (1, 2))
    """

    chosen: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    values: Array = field(default_factory=lambda: np.empty((0, 0)))
    scores: Array = field(default_factory=lambda: np.empty((0, 0)))

    _layout: ClassVar[fit.Layout] = {
        **Guided._layout,
        "chosen": fit.array("i", "measured", low=0),
        "values": fit.array("f", "measured", "width"),
        "scores": fit.array("f", "measured", "candidates"),
    }

    def _headline(self) -> str:
        return f"{super()._headline()}\n  {len(self.chosen)} measurements"


@public
def measure(
    model: Model,
    ask: Callable[[int], ArrayLike],
    candidates: ArrayLike,
    n_measurements: int,
    *,
    noise: float,
    rule: Literal["entropy", "variance"] = "entropy",
    method: Way | InverseMethod | None = None,
    n_particles: int = 256,
    n_steps: int = 50,
    schedule: ScheduleName | Schedule = "karras",
    sigma_range: tuple[float, float] | None = None,
    names: Sequence[str] | None = None,
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> ActiveSample:
    r"""Measure one candidate after the other, each where the posterior knows least.

    A measurement of candidate i is :math:`A_i x + \sigma\varepsilon` for one unknown x. Before each
    measurement, particles of the law given all earlier ones predict every candidate. The candidate
    whose prediction has the largest entropy is measured [1]_.

    Parameters
    ----------
    model : Model
        The score model of x.
    ask : callable
        The measurement: a function of the number of a candidate that returns its value, a number or
        (m,).
    candidates : array_like
        The candidates: whole numbers or a mask of booleans for coordinates of x; or rows A_i,
        (n, d), or matrices, (n, m, d).
    n_measurements : int
        The number of measurements, at most that of the candidates; none is measured twice.
    noise : float
        The standard deviation σ of the noise.
    rule : {"entropy", "variance"}, default "entropy"
        The largest entropy of the mixture of normal laws around the predictions of the particles,
        or the largest total variance of the predictions.
    method : str or InverseMethod, optional
        The particles. ``"exact"``: draws of the exact posterior of a mixture. ``"running"``: one
        reverse process, in which measurements are made on the way, as published [1]_. Or a method
        of `posterior`, which starts again after each measurement. The default is ``"exact"`` for
        mixtures, else ``"pigdm"``, and ``"ddrm"`` for models without a derivative.
    n_particles : int, default 256
        The number of particles.
    n_steps, schedule, sigma_range, names
        As for `posterior`.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed.
    plan : Plan or executor, optional
        Where the call runs and what is kept; see `fermiac.Plan`.

    Returns
    -------
    ActiveSample
        Draws of the law given all measurements, with `chosen`, `values` and `scores`. For methods
        that are not exact, `bias` says so.

    Raises
    ------
    ArgumentError
        If an argument is invalid, or the model lacks something that the method needs.
    TargetError
        If `ask` returns something else than finite numbers, or another number of them.
    NumericalError
        If the noise is too small for exact particles in double precision.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` has the measurements so far, and the particles before the
        last of them; None before the first.

    Notes
    -----
    Let :math:`f_i` be the predictions of N particles. The entropy is estimated as
    :math:`-\frac1N\sum_i\log\frac1N\sum_j N(f_i; f_j, h^2)`. The paper leaves h open. Here
    :math:`h^2` is :math:`\sigma^2` plus the square of the usual bandwidth :math:`1.06\,N^{-1/5}`
    times the standard deviation of the predictions.

    For a normal law the posterior variances do not depend on the values, and both rules choose the
    candidate with the largest conditional variance.

    References
    ----------
    .. [1] O. Nolan, T. S. W. Stevens, W. L. van Nierop, R. J. G. van Sloun, "Active diffusion
       subsampling", 2024, arXiv:2406.14388.

    Examples
    --------
    Two coordinates of three; the second is known from the first.

    >>> import fermiac as fm
    >>> law = fm.score.Gaussian(
    ...     [0.0] * 3, [[3.0, 2.9, 0.0], [2.9, 4.0, 0.0], [0.0, 0.0, 2.0]]
    ... )
    >>> truth = [1.0, 1.1, -0.5]
    >>> s = fm.score.measure(law, lambda i: truth[i], range(3), 2, noise=0.1, rng=0)
    >>> s.chosen.tolist(), bool(abs(s.draws.mean(axis=0) - truth).max() < 0.2)
    ([1, 2], True)
    """
    where = plan_of(plan)
    start = time.perf_counter()
    model = as_model(model)
    event = event_of(model, None)
    d = math.prod(event)
    if not callable(ask):
        raise ArgumentError(f"ask: {shown(ask)} was given; a function of a number is needed")
    matrices = _candidates(candidates, d)
    named = labels(names, d)
    wanted = whole("n_measurements", n_measurements, 1, len(matrices))
    deviation = positive("noise", noise)
    entropies = choice("rule", rule, ("entropy", "variance")) == "entropy"
    count = whole("n_particles", n_particles, 2, 2**31)
    key = key_of(rng)
    way = _way(method, model)
    options = {"schedule": schedule, "sigma_range": sigma_range}
    inner = alone(n_threads=where.n_threads, progress=False)
    job = _Job(model, event, matrices, deviation, count, key, way, n_steps, options, inner)
    if way != "exact":
        job.grid()
    chosen: list[int] = []
    values: list[Array] = []
    scores: list[Array] = []
    held: _Held | None = None

    def result(held: _Held, status: str) -> ActiveSample:
        fields_of = held.fields
        n = len(chosen)
        return ActiveSample(
            **{
                **fields_of,
                "draws": held.draws,
                "seed": key,
                "version": _core.__version__,
                "isa": _core.isa_level,
                "mode": str(way if isinstance(way, str) else way.name),
                "names": named,
                "n_evals": job.n_evals,
                "settings": {"rule": rule, "noise": deviation, "n_steps": n_steps},
                "status": status,
                "wall_time": time.perf_counter() - start,
                "bias": held.bias,
                "chosen": np.array(chosen, dtype=np.int64),
                "values": np.array(values[:n]).reshape(n, matrices.shape[1]),
                "scores": np.array(scores[:n]).reshape(n, len(matrices)),
            }
        )

    def next_one(predictions: Array, weights: Array) -> None:
        """Choose a candidate by the predictions (n_particles, n, m), and measure it."""
        # Candidates of huge numbers overflow, which is told below.
        with np.errstate(over="ignore", invalid="ignore"):
            found = _variances(predictions, weights)
        if not np.isfinite(found + deviation * deviation).all():
            raise ArgumentError(
                "candidates: the predictions or the noise are too large for their variance; give "
                "candidates and noise in smaller units"
            )
        if entropies:
            found = _entropies(predictions, weights, deviation)
        found[chosen] = np.nan
        at = int(np.nanargmax(found))
        value = _asked(ask, at, matrices.shape[1])
        # All three lists, or none of them, even if Ctrl-C comes in between.
        scores.append(found)
        values.append(value)
        chosen.append(at)

    with reporter(where.progress, "measure", "measurements") as report:

        def told() -> None:
            if report is not None and len(chosen) < wanted:
                report(len(chosen), wanted)

        try:
            if way == "running":
                for stage in job.running(wanted, chosen, values):
                    held = stage
                    if stage.done:
                        break
                    next_one(job.predictions(stage.draws), stage.weights)
                    told()
            else:
                held = job.held(chosen, values)
                for _ in range(wanted):
                    next_one(job.predictions(held.draws), held.weights)
                    told()
                    held = job.held(chosen, values)
        except KeyboardInterrupt as stop:
            stop.partial_result = None if held is None else result(held, "interrupted")  # type: ignore[attr-defined]
            raise
        assert held is not None
        made = result(held, "complete")
        finish(report, wanted, made)
    return made


class _Held(NamedTuple):
    """Particles, their weights, and the fields of their result."""

    draws: Array
    weights: Array
    fields: dict[str, Any]
    bias: tuple[str, ...] = ()
    done: bool = False


@dataclass
class _Job:
    """The checked arguments of a call."""

    model: Model
    event: tuple[int, ...]
    matrices: Array
    noise: float
    count: int
    key: int
    way: str | InverseMethod
    n_steps: int
    options: dict[str, Any]
    plan: Plan
    n_evals: int = 0

    def grid(self) -> Array:
        """Return the levels of the steps."""
        schedule, ends = self.options["schedule"], self.options["sigma_range"]
        return levels_of(self.model, self.n_steps, schedule, ends)

    def predictions(self, x: Array) -> Array:
        """Return the predictions of all candidates, (n, n_candidates, m)."""
        k, m, d = self.matrices.shape
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(x @ self.matrices.reshape(k * m, d).T).reshape(len(x), k, m)

    def observed(self, chosen: list[int], values: list[Array]) -> tuple[Linear, Array]:
        """Return all measurements together."""
        rows = self.matrices[chosen].reshape(-1, self.matrices.shape[2])
        return Linear(rows, self.noise), np.concatenate(values)

    def held(self, chosen: list[int], values: list[Array]) -> _Held:
        """Return particles given the measurements so far."""
        seed, even = subkey(self.key, len(chosen)), np.full(self.count, 1 / self.count)
        if not chosen:
            if self.way == "exact":
                return _Held(self.model.sample(self.count, rng=seed), even, {})  # type: ignore[attr-defined]
            grid = self.grid()
            y0 = grid[0] * start_noise(seed, 0, self.count, self.matrices.shape[2])
            x = integrate(
                self.model,
                y0.reshape(self.count, *self.event),
                grid,
                "dpmpp_2m",
                plan=self.plan,
            )
            self.n_evals += self.count * (len(grid) - 1)
            flat = np.ascontiguousarray(to_numpy(x).reshape(self.count, -1))
            return _Held(flat, even, {})
        o, y = self.observed(chosen, values)
        if self.way == "exact":
            assert isinstance(self.model, (GaussianMixture, Gaussian))
            law = o.posterior_of(self.model, y)[0]
            return _Held(law.sample(self.count, rng=seed), even, {})
        s = posterior(
            self.model, o, y, self.count, method=self.way, n_steps=self.n_steps,  # type: ignore[arg-type]
            rng=seed, plan=self.plan, **self.options,
        )  # fmt: skip
        self.n_evals += s.n_evals
        kept = {f.name: getattr(s, f.name) for f in fields(Guided)}
        weights = even
        if s.log_weights is not None:
            weights = np.exp(s.log_weights - np.logaddexp.reduce(s.log_weights))
        return _Held(s.draws, weights, kept, s.bias)

    def running(self, wanted: int, chosen: list[int], values: list[Array]) -> Any:
        """Yield the denoised particles of one reverse process where measurements are due."""
        model, even = self.model, np.full(self.count, 1 / self.count)
        grid = self.grid()
        steps, d = len(grid) - 1, self.matrices.shape[2]
        first = min(int(_BEFORE * steps), steps - 1)
        due = np.floor(np.linspace(first, steps - 1, wanted)).astype(int).tolist()
        variance, extra = prior_variance_of(model, None, d)
        self.n_evals += extra
        y = grid[0] * start_noise(self.key, 0, self.count, d)
        for i in range(steps):
            s, to = float(grid[i]), float(grid[i + 1])
            denoised = denoised_at(model, y, s)
            self.n_evals += self.count
            led = self._led(denoised, y, s, variance, chosen, values)
            for _ in range(due.count(i)):
                yield _Held(led, even, {}, (_RUNNING_BIAS,))
                led = self._led(denoised, y, s, variance, chosen, values)
            if to == 0:
                yield _Held(led, even, {}, (_RUNNING_BIAS,), True)
                return
            z = _core.score_noise(self.key, 0, 0, self.count, i, d, 0)[0]
            mean = led + (to / s) ** 2 * (y - led)
            y = mean + to / s * math.sqrt(s**2 - to**2) * z

    def _led(
        self, x: Array, y: Array, s: float, variance: float, chosen: list[int], values: list[Array]
    ) -> Array:
        """Return denoised points that follow the measurements so far."""
        if not chosen:
            return x
        o, seen = self.observed(chosen, values)
        return np.asarray(x + s**2 * pulled(self.model, o, seen, y, x, s, variance))


def _way(method: Any, model: Model) -> str | InverseMethod:
    exact = isinstance(model, (GaussianMixture, Gaussian))
    if method is None or (isinstance(method, str) and method == "auto"):
        return "exact" if exact else METHODS.resolve("pigdm" if model.has_vjp else "ddrm")
    word = method if isinstance(method, str) else ""
    if word == "exact":
        if not exact:
            raise ArgumentError(
                f"method: 'exact' was given for a {type(model).__name__}; it is for a "
                "GaussianMixture or Gaussian"
            )
        return "exact"
    if word == "running":
        METHODS.resolve("pigdm")._require_derivative(model)
        return "running"
    chosen = METHODS.resolve(method)
    chosen._require_derivative(model)
    return chosen


def _candidates(given: Any, d: int) -> Array:
    """Return the matrices of the candidates, (n, m, d)."""
    array = taken("candidates", given)
    if array.dtype == bool:
        if array.size != d or not array.any():
            raise ArgumentError(
                f"candidates: a mask of {array.size} was given; one of {d} coordinates with at "
                "least one True is needed"
            )
        return np.eye(d)[np.flatnonzero(array), None, :]
    values = numbers("candidates", given)
    if values.ndim == 1:
        rows = np.where(np.isfinite(values), values, -1.0).astype(np.int64)
        if not rows.size or (rows != values).any() or (rows < 0).any() or (rows >= d).any():
            raise ArgumentError(
                f"candidates: {shown(given)} was given; numbers of coordinates from 0 to {d - 1}, "
                "a mask, rows (n, d) or matrices (n, m, d) are needed"
            )
        return np.eye(d)[rows, None, :]
    if values.ndim == 2:
        values = values[:, None, :]
    if values.ndim != 3 or values.shape[2] != d or 0 in values.shape:
        raise ArgumentError(
            f"candidates: shape {np.shape(given)} was given; (n, {d}) or (n, m, {d}) is needed"
        )
    if not np.isfinite(values).all():
        raise ArgumentError("candidates: infinity was given; finite numbers are needed")
    return np.ascontiguousarray(values)


def _asked(ask: Callable[[int], ArrayLike], at: int, m: int) -> Array:
    """Return the checked measurement of a candidate."""
    given = asked(ask, (at,), "ask", f"for candidate {at}")
    try:
        value = np.asarray(to_numpy(given), dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        value = np.empty(0)
    if value.shape != (m,) or not np.isfinite(value).all():
        raise TargetError(
            f"ask: it gave {shown(given)} for candidate {at}; {m} finite number(s) are needed"
        )
    return value


def _variances(predictions: Array, weights: Array) -> Array:
    """Return the total variances of the predictions of each candidate."""
    away = predictions - np.einsum("n,nkm->km", weights, predictions)
    return np.asarray(np.einsum("n,nkm,nkm->k", weights, away, away))


def _entropies(predictions: Array, weights: Array, noise: float) -> Array:
    """Return the entropies of mixtures of normal laws around the predictions of each candidate."""
    n, k, m = predictions.shape
    spread = _variances(predictions, weights) / m
    effective = 1 / float(np.square(weights).sum())
    squares = noise**2 + spread * (_BANDWIDTH * effective**_RATE) ** 2
    # A variance that is too small for its square root, and no spread.
    squares = np.maximum(squares, np.finfo(float).tiny)
    found = np.empty(k)
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights)
    rows = max(_AT_ONCE // n, 1)
    for i in range(k):
        x = predictions[:, i, :]
        if m == 1:
            found[i] = _entropy_of_one(x[:, 0], weights, math.sqrt(squares[i]))
            continue
        log_mean = np.empty(n)
        for first in range(0, n, rows):
            part = x[first : first + rows]
            far = sum(np.subtract.outer(part[:, j], x[:, j]) ** 2 for j in range(m))
            logs = log_weights - 0.5 * far / squares[i]
            top = logs.max(axis=1)
            log_mean[first : first + rows] = top + np.log(np.exp(logs - top[:, None]).sum(axis=1))
        found[i] = 0.5 * m * math.log(2 * math.pi * squares[i]) - weights @ log_mean
    return found


def _entropy_of_one(x: Array, weights: Array, width: float) -> float:
    """Return the same for single numbers, by binning instead of all distances."""
    low, reach = float(x.min()) - 5 * width, float(np.ptp(x)) + 10 * width
    n_bins = 1 << min(math.ceil(math.log2(_PER_WIDTH * reach / width)), _MOST_BINS)
    step = reach / n_bins
    at = (x - low) / step
    left = at.astype(np.int64)
    right_share = at - left
    mass = np.bincount(left, weights * (1 - right_share), n_bins)
    mass += np.bincount(left + 1, weights * right_share, n_bins)
    # The kernel is far below rounding at the distance at which the bins wrap around.
    wave = np.fft.rfftfreq(n_bins) * (width / step)
    density = np.fft.irfft(np.fft.rfft(mass) * np.exp(-2 * (np.pi * wave) ** 2), n_bins)
    smooth = np.interp(at, np.arange(n_bins), density) / step
    return float(-weights @ np.log(np.maximum(smooth, np.finfo(float).tiny)))
