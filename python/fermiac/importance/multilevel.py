"""The call that estimates an expectation by levels of refinement: multilevel Monte Carlo."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.progress import Report, finish, reporter
from fermiac._base.validate import choice, positive, real, real_numbers, require, shown, whole, yes
from fermiac.distributions.law import subkey
from fermiac.errors import ArgumentError, ConvergenceWarning, TargetError, WorkerError
from fermiac.importance.fidelity_results import Multilevel
from fermiac.importance.level_points import LevelPoints
from fermiac.importance.moments import Moments
from fermiac.importance.outputs import same_everywhere
from fermiac.importance.settings import expectation_names
from fermiac.random import RngLike, Stream, key_of
from fermiac.results.result import Finding, warn
from fermiac.runs.checkpoint import Checkpoint, Log
from fermiac.runs.shards import evaluation

if TYPE_CHECKING:
    from os import PathLike

    from fermiac.runs.executor import ExecutorLike
    from fermiac.targets.factories import Factory

__all__ = ["multilevel"]

Array = NDArray[np.float64]
Level = Callable[[int, int, Stream], Any]

#: Paths of a batch, which has its own stream, and batches requested at a time.
_BATCH, _BATCHES = 4096, 64
#: Replicates of Sobol' points, as in the paper, and points of a replicate in a batch. Above the
#: level of the third number batches are smaller, because paths take more coordinates.
_REPLICATES, _NET, _LONG = 32, 128, 9
#: Numbers of a batch for each output: the moments of the difference, and means and sums of squares
#: of fine and coarse values.
_NUMBERS = 8
#: The share of the squared error that the bias may have.
_THETA = 0.5
#: Levels of the first round, and of the pilot of the randomised form.
_FIRST = 3
#: The largest rate; differences of 0 fall at any.
_FASTEST = 100.0
#: The kurtosis above which variances are in doubt, and the errors by which means may disagree.
_KURTOSIS, _DISAGREE = 100.0, 5.0


@public
def multilevel(
    level: Level,
    atol: ArrayLike,
    *,
    max_level: int = 12,
    n_start: int = 1000,
    costs: Callable[[int], float] | Sequence[float] | None = None,
    alpha: float | None = None,
    beta: float | None = None,
    debias: bool = False,
    points: Literal["random", "sobol"] = "random",
    names: Sequence[str] | None = None,
    rng: RngLike = None,
    n_threads: int | None = None,
    executor: ExecutorLike | None = None,
    target_factory: str | Factory | None = None,
    checkpoint: str | PathLike[str] | Checkpoint | None = None,
    progress: bool | Report | None = None,
) -> Multilevel:
    r"""Estimate the expectation of a quantity that is computed at levels of refinement.

    The expectation at the finest level is the sum over levels of the expected differences between
    a level and the one below. Most paths are drawn at the coarse, cheap levels.

    Parameters
    ----------
    level : callable
        ``level(l, n, stream)`` returns (fine, coarse), each of shape (n,) or (n, K), for n paths:
        the quantity at level l and at level l - 1 from the same random numbers, which it draws from
        `stream`, a `fermiac.random.Stream`. At level 0 coarse is not used and may be None.
    atol : float or array_like, shape (K,)
        The target for the root mean square error, which includes bias and noise. Over many runs
        about two thirds of the errors are smaller.
    max_level : int, default 12
        The finest level that may be used, from 2 to 60.
    n_start : int, default 1000
        The number of paths in the first batch of a level.
    costs : callable or sequence of float, optional
        The cost of a path of each level, ``costs(l)`` or ``costs[l]``; 2**l by default.
    alpha, beta : float, optional
        The rates, if they are known, at which the means and variances of differences fall: like
        2**(-alpha l) and 2**(-beta l). By default they are estimated, as at least 0.5.
    debias : bool, default False
        Draw the level of each path at random, without a finest level, which leaves no bias. It
        needs beta above gamma, the rate of the costs.
    points : {"random", "sobol"}, default "random"
        ``"sobol"``: the draws of `level` are coordinates of scrambled Sobol' points, in the order
        of the draws, and the error is from 32 replicates [4]_. The stream then has only
        ``uniform``, ``normal`` and ``exponential``, for n or (n, k) numbers. This reduces the cost
        if the quantity is smooth in the first coordinates. Draw the most important coordinates
        first, for instance by a Brownian bridge. It cannot be combined with ``debias=True``.
    names : sequence of str, optional
        Names of the K outputs.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
    n_threads : int, optional
        Not used by a `level` in Python; see `fermiac.set_num_threads`.
    executor : object, optional
        The engine whose workers run `level`: a `concurrent.futures.Executor`, a dask Client,
        the module ray and others; see `fermiac.runs.executor.Sharded`.
    target_factory : str or Factory, optional
        Not supported here: `level` must be a function that can be pickled.
    checkpoint : str, path-like or Checkpoint, optional
        A file that keeps the sums of all batches, and from which a run that was killed is resumed;
        see `fermiac.Checkpoint`.
    progress : bool or callable, optional
        Show a progress bar (default: terminals, notebooks), or call this with (done, total) paths.

    Returns
    -------
    Multilevel
        An `Estimate` with ``n_paths``, ``level_means``, ``level_variances``, ``bias``, ``alpha``,
        ``beta``, ``gamma``, ``cost``, ``converged``, and `Multilevel.plot_multilevel`.

    Raises
    ------
    ArgumentError
        For an argument outside its domain, and for ``debias=True`` if beta is not above gamma.
    TargetError
        If `level` gives a wrong shape or type, a NaN or an infinity.
    CheckpointError
        If the file of the checkpoint is damaged, belongs to another run, or cannot be written.
    WorkerError
        If a worker of the executor dies twice on the same batch, or does not match the driver.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` is a `Multilevel` from the batches that were done, or
        None. A `WorkerError` has one as well.

    Warns
    -----
    ConvergenceWarning
        If the bias is above its share of `atol` at `max_level`; if alpha is below 0.5, so that the
        bias cannot be judged; if the kurtosis of a difference is above 100, so that its variance is
        in doubt; or if the mean of the coarse values of a level differs from that of the fine
        values of the level below, which is an error in `level`.

    Notes
    -----
    Paths are allocated as :math:`N_l \propto \sqrt{V_l / C_l}`, with the variances V of the
    differences and the costs C, so that the variance is half of ``atol**2``. A level is added while
    the bias, :math:`\max_{i \le 2} |m_{L-i}| 2^{-\alpha i} / (2^\alpha - 1)` with the means m of
    the last differences, is above ``atol / sqrt(2)`` [1]_ [2]_. Batch b of level l draws from the
    stream with the address (key, b, l).

    With ``debias=True`` the level of a path is random, with probabilities
    :math:`p_l \propto 2^{-(\beta + \gamma) l / 2}`, and the estimate is the mean of the difference
    divided by its probability [3]_. It is unbiased, but has a larger variance.

    With ``points="sobol"`` the variance of a level is the variance of the mean of its replicates.
    The number of points of the level with the largest ratio of variance to cost is doubled until
    the sum of the variances is half of ``atol**2``. `level_variances` are still those of single
    paths.

    References
    ----------
    .. [1] M. B. Giles, "Multilevel Monte Carlo path simulation", Operations Research, 2008,
       doi:10.1287/opre.1070.0496.
    .. [2] M. B. Giles, "Multilevel Monte Carlo methods", Acta Numerica, 2015,
       doi:10.1017/S096249291500001X.
    .. [3] C.-H. Rhee, P. W. Glynn, "Unbiased estimation with square root convergence for SDE
       models", Operations Research, 2015, doi:10.1287/opre.2015.1404.
    .. [4] M. B. Giles, B. J. Waterhouse, "Multilevel quasi-Monte Carlo path simulation", in
       Advanced Financial Modelling, Radon Series on Computational and Applied Mathematics 8,
       de Gruyter, 2009, pages 165-181.

    Examples
    --------
    A call option under geometric Brownian motion, by Euler steps. The exact price is 10.4506:

    >>> import numpy as np, fermiac as fm
    >>> def level(l, n, stream):
    ...     steps = 2**l
    ...     h = 1 / steps
    ...     fine = coarse = np.full(n, 100.0)
    ...     for k in range(0, steps, 2 if l else 1):
    ...         total = 0.0
    ...         for _ in range(2 if l else 1):
    ...             dw = np.sqrt(h) * stream.normal(n)
    ...             fine = fine * (1 + 0.05 * h + 0.2 * dw)
    ...             total = total + dw
    ...         coarse = coarse * (1 + 0.05 * 2 * h + 0.2 * total)
    ...     pay = lambda s: np.exp(-0.05) * np.maximum(s - 100, 0.0)
    ...     return pay(fine), pay(coarse) if l else None
    >>> m = fm.importance.multilevel(level, atol=0.2, rng=0)
    >>> bool(abs(m.mean - 10.4506) < 0.6), m.converged
    (True, True)
    """
    start = time.perf_counter()
    if not callable(level):
        raise ArgumentError(
            f"level: {shown(level)} given; a function level(l, n, stream) -> (fine, coarse) is "
            "needed"
        )
    tolerance = np.atleast_1d(real_numbers("atol", atol)).astype(float)
    if tolerance.ndim > 1 or not tolerance.size:
        raise ArgumentError(f"atol: an array of shape {tolerance.shape} given; (K,) is needed")
    good = (tolerance > 0) & np.isfinite(tolerance)
    require("atol", tolerance, good, "positive, finite numbers are needed")
    if target_factory is not None:
        raise ArgumentError("target_factory: given; multilevel takes none: pass level itself")
    finest = whole("max_level", max_level, 2, 60)
    settings: dict[str, Any] = {
        "atol": tolerance.tolist(),
        "max_level": finest,
        "n_start": whole("n_start", n_start, 10, 2**40),
        "costs": _costs(costs, finest),
        "alpha": None if alpha is None else _rate("alpha", alpha),
        "beta": None if beta is None else _rate("beta", beta),
        "debias": yes("debias", debias),
        "points": choice("points", points, ("random", "sobol")),
    }
    if debias and points == "sobol":
        raise ArgumentError(
            "points: 'sobol' given with debias=True, whose levels are random; leave one of them out"
        )
    labels = expectation_names(names)
    log = None if checkpoint is None else Log(checkpoint)
    key = log.seed if rng is None and log is not None and log.seed is not None else key_of(rng)
    workers = resolve_threads(n_threads)

    def identity() -> dict[str, Any]:
        return {
            "version": _core.__version__,
            "isa": _core.isa_level,
            "method": "importance.multilevel",
            "seed": key,
            **settings,
        }

    with (
        reporter(progress, "multilevel", "paths") as bar,
        evaluation(
            _Batches(level, key),
            executor=executor,
            target_factory=None,
            log=log,
            identity=identity,
            n_threads=workers,
            report=bar,
            integrand=True,
        ) as (evaluated, _),
    ):
        job = _Job(evaluated, settings, key, labels, bar, start)
        try:
            if settings["debias"]:
                job.run_randomised()
            elif settings["points"] == "sobol":
                job.run_nets()
            else:
                job.run()
            result = job.result("complete")
        except (KeyboardInterrupt, WorkerError) as error:
            error.partial_result = job.partial()  # type: ignore[union-attr]
            raise
        finish(bar, job.paths, result)
    warn(job.findings, result)
    return result


def _rate(name: str, value: Any) -> float:
    """Return a rate, for which powers of two stay within the range of doubles."""
    return real(name, value, "a number above 0, up to 16, is needed", lambda x: 0 < x <= 16)


def _costs(costs: Any, finest: int) -> list[float]:
    """Return the costs of a path of all levels."""
    if costs is None:
        return [2.0**i for i in range(finest + 1)]
    if callable(costs):
        given = [costs(i) for i in range(finest + 1)]
    else:
        array = real_numbers("costs", costs)
        if array.ndim != 1 or len(array) <= finest:
            raise ArgumentError(
                f"costs: an array of shape {array.shape} given; {finest + 1} numbers, one for each "
                "level up to max_level, or a function of the level, are needed"
            )
        given = array[: finest + 1].tolist()
    return [positive("costs", cost) for cost in given]


class _Batches:
    """A level function as a target: rows (level, batch, paths) give moments of the batches.

    For Sobol' points a row has a fourth number, the index of the first point, and the moments are
    those of each replicate.
    """

    def __init__(self, level: Level, key: int) -> None:
        self._level = level
        self._key = key

    def __call__(self, x: Array) -> Array:
        """Return for each row whether values are scalar, then `_NUMBERS` for each output."""
        return np.array([self._row(*(int(v) for v in row)) for row in x])

    def _row(self, at: int, batch: int, n: int, first: int | None = None) -> Array:
        stream: Any = Stream(self._key, batch, at)
        replicates = 1
        if first is not None:
            replicates = _REPLICATES
            stream = LevelPoints(n, replicates, subkey(self._key, at), first)
            n *= replicates
        try:
            given = self._level(at, n, stream)
        except Exception as error:
            error.add_note(f"raised by level({at}, {n}, stream), batch {batch}")
            raise
        if not isinstance(given, tuple | list) or len(given) != 2:
            raise TargetError(
                f"level({at}, {n}, stream) gave a {type(given).__name__}; a pair (fine, coarse) is "
                "needed"
            )
        fine = _values(given[0], at, n, "fine")
        # There is no level below the first, so its coarse values are ignored.
        coarse = np.zeros_like(fine) if at == 0 else _values(given[1], at, n, "coarse")
        if coarse.shape != fine.shape:
            raise TargetError(
                f"level({at}, {n}, stream) gave arrays of shapes {fine.shape} and {coarse.shape}; "
                "they must be equal"
            )
        scalar, fine, coarse = fine.ndim == 1, fine.reshape(n, -1), coarse.reshape(n, -1)
        rows = [np.array([float(scalar)])]
        for own in np.split(np.arange(n), replicates):
            parts = [Moments.of(y[own]) for y in (fine - coarse, fine, coarse)]
            d = parts[0]
            rows += [d.mean, d.m2, d.m3, d.m4, parts[1].mean, parts[1].m2]
            rows += [parts[2].mean, parts[2].m2]
        return np.concatenate(rows)


def _values(given: Any, at: int, n: int, what: str) -> Array:
    """Return the values of n paths, checked."""
    try:
        values = np.asarray(given)
    except Exception as error:
        raise TargetError(f"level({at}, {n}, stream): its {what} values make no array") from error
    if values.dtype.kind not in "biuf" or values.ndim not in (1, 2) or len(values) != n:
        raise TargetError(
            f"level({at}, {n}, stream) gave {what} values of shape {values.shape} and type "
            f"{values.dtype}; real numbers of shape ({n},) or ({n}, K) are needed"
        )
    if not values.size or not np.isfinite(values).all():
        raise TargetError(
            f"level({at}, {n}, stream) gave {what} values that are not finite, or none at all"
        )
    return values.astype(np.float64)


class _LevelSums:
    """The moments of one level so far."""

    def __init__(self, outputs: int) -> None:
        self.difference = Moments.none(outputs)
        self.fine = Moments.none(outputs)
        self.coarse = Moments.none(outputs)
        #: Batches that were drawn.
        self.batches = 0
        #: For Sobol' points: the points of each replicate, and the sums of the differences.
        self.points = 0
        self.sums = np.zeros((_REPLICATES, outputs))

    @property
    def n(self) -> int:
        """The number of paths."""
        return int(self.difference.n)

    @property
    def square(self) -> Array:
        """The squared error of the mean difference."""
        if not self.points:
            return self.difference.variance / max(self.n, 1)
        means = self.sums / self.points
        out: Array = means.var(axis=0, ddof=1) / len(means)
        return out


class _Job:
    """The state of one call."""

    def __init__(
        self,
        batches: Callable[[Array], Any],
        settings: dict[str, Any],
        key: int,
        names: tuple[str, ...] | None,
        report: Report | None,
        start: float,
    ) -> None:
        self._evaluate = batches
        self._settings = settings
        self._key = key
        self._names = names
        self._report = report
        self._start = start
        self._levels: list[_LevelSums] = []
        self._scalar = True
        self._atol: Array = np.array(settings["atol"])
        self._costs: list[float] = settings["costs"]
        self._alpha, self._beta = settings["alpha"] or 1.0, settings["beta"] or 1.0
        self._raw_alpha = math.inf
        self._converged: bool | None = False
        self._chances: Array | None = None
        self.findings: list[Finding] = []

    @property
    def paths(self) -> int:
        """The paths that were drawn."""
        return sum(one.n for one in self._levels)

    def _draw(self, wanted: Sequence[float]) -> None:
        """Draw paths of the levels until each has the required number."""
        if not all(math.isfinite(n) and n < 2**62 for n in wanted):
            raise ArgumentError(
                f"atol: {self._settings['atol']} given; more than 2**62 paths would be "
                "needed; raise it"
            )
        total = max(self.paths, sum(int(n) for n in wanted))
        for at, n in enumerate(wanted):
            while at < len(self._levels) or at == 0:
                have = self._levels[at].n if at < len(self._levels) else 0
                rows = list(self._rows(at, int(n) - have))
                if not rows:
                    break
                self._take(at, rows)
                if self._report is not None:
                    self._report(min(self.paths, total), total)

    def _rows(self, at: int, missing: int) -> Iterator[tuple[int, int, int]]:
        """Yield some rows of batches that are missing at a level."""
        first = self._levels[at].batches if at < len(self._levels) else 0
        for k in range(_BATCHES):
            if missing <= 0:
                return
            yield at, first + k, min(missing, _BATCH)
            missing -= _BATCH

    def _draw_nets(self, at: int, stop: int) -> None:
        """Draw Sobol' points of a level until each replicate has `stop` points."""
        first = self._levels[at].points if at < len(self._levels) else 0
        if stop * _REPLICATES >= 2**62:
            raise ArgumentError(
                f"atol: {self._settings['atol']} given; more than 2**62 paths would be "
                "needed; raise it"
            )
        size = max(_NET >> max(at - _LONG, 0), 1)
        rows = ((at, 0, min(size, stop - k), k) for k in range(first, stop, size))
        while some := list(islice(rows, _BATCHES)):
            self._take(at, some)
            if self._report is not None:
                missing = max(stop - self._levels[at].points, 0) * _REPLICATES
                self._report(self.paths, self.paths + missing)

    def _take(self, at: int, rows: Sequence[tuple[int, ...]]) -> None:
        """Evaluate batches and add them to the moments of their level."""
        given = np.asarray(self._evaluate(np.array(rows, np.float64)))
        replicates = _REPLICATES if self._settings["points"] == "sobol" else 1
        outputs = (given.shape[1] - 1) // (_NUMBERS * replicates)
        if not self._levels:
            self._begin(outputs, bool(given[0, 0]))
        known = len(self._levels[0].difference.mean)
        if outputs != known or (given[:, 0] != self._scalar).any():
            raise TargetError(
                f"level({at}, n, stream) gave {outputs} numbers for a path; earlier batches had "
                f"{known}, in arrays of {1 if self._scalar else 2} axes"
            )
        sums = self._levels[at]
        difference, fine, coarse = sums.difference, sums.fine, sums.coarse
        nothing = np.zeros(outputs)
        for (_, _, n, *_), row in zip(rows, given, strict=True):
            for r, d in enumerate(row[1:].reshape(replicates, _NUMBERS, outputs)):
                difference = difference.merged(Moments(n, *d[:4]))
                fine = fine.merged(Moments(n, d[4], d[5], nothing, nothing))
                coarse = coarse.merged(Moments(n, d[6], d[7], nothing, nothing))
                if replicates > 1:
                    sums.sums[r] += n * d[0]
            sums.points += n * (replicates > 1)
        sums.difference, sums.fine, sums.coarse = difference, fine, coarse
        sums.batches += len(rows)

    def _begin(self, outputs: int, scalar: bool) -> None:
        """Set the number of outputs after the first batch."""
        if self._atol.size not in (1, outputs):
            raise ArgumentError(f"atol: {self._atol.size} numbers given for {outputs} outputs")
        if self._names is not None and len(self._names) != outputs:
            raise ArgumentError(f"names: {len(self._names)} given for {outputs} outputs")
        self._scalar = scalar
        self._levels = [_LevelSums(outputs) for _ in range(_FIRST)]

    def _scaled(self, errors: float = 1.0) -> tuple[Array, Array]:
        """Return the largest mean and variance of each level, in units of the tolerance.

        One standard error is added to each mean, since a mean that is small by chance would end the
        run.
        """
        noise = [np.sqrt(s.square) for s in self._levels]
        means = [
            float(((np.abs(s.difference.mean) + errors * error) / self._atol).max())
            for s, error in zip(self._levels, noise, strict=True)
        ]
        with np.errstate(over="ignore"):
            spread = [np.sqrt(s.difference.variance) / self._atol for s in self._levels]
            variances = [float((s**2).max()) for s in spread]
        return np.array(means), np.array(variances)

    def _rates(self, errors: float = 1.0) -> tuple[Array, Array]:
        """Estimate the rates, and return means and variances that are not 0 by chance."""
        means, variances = self._scaled(errors)
        for at in range(2, len(means)):
            means[at] = max(means[at], 0.5 * means[at - 1] / 2**self._alpha)
            variances[at] = max(variances[at], 0.5 * variances[at - 1] / 2**self._beta)
        self._raw_alpha = _slope(means[1:])
        if self._settings["alpha"] is None:
            self._alpha = min(max(0.5, self._raw_alpha), _FASTEST)
        if self._settings["beta"] is None:
            self._beta = min(max(0.5, _slope(variances[1:])), _FASTEST)
        return means, variances

    def run(self) -> None:
        """Draw paths and add levels until variance and bias have their shares of the tolerance."""
        start = self._settings["n_start"]
        wanted: list[float] = [start] * _FIRST
        while True:
            self._draw(wanted)
            means, variances = self._rates()
            costs = np.array(self._costs[: len(self._levels)])
            allotted = self._allotted(variances, costs)
            have = np.array([s.n for s in self._levels])
            if (allotted - have > 0.01 * have).any():
                wanted = np.maximum(allotted, have).tolist()
                continue
            self._converged = bool(self._remaining(means) <= math.sqrt(_THETA))
            if self._converged or len(self._levels) > self._settings["max_level"]:
                return
            self._levels.append(_LevelSums(len(self._levels[0].difference.mean)))
            longer = np.append(variances, variances[-1] / 2**self._beta)
            costs = np.array(self._costs[: len(self._levels)])
            allotted = self._allotted(longer, costs)
            allotted[-1] = max(allotted[-1], start)
            wanted = np.maximum(allotted, np.append(have, 0)).tolist()

    def run_nets(self) -> None:
        """Double points and add levels until variance and bias are within their shares."""
        least = 1 << max(math.ceil(math.log2(self._settings["n_start"] / _REPLICATES)), 1)
        for at in range(_FIRST):
            self._draw_nets(at, least)
        while True:
            with np.errstate(over="ignore"):
                squares = np.array([float((s.square / self._atol**2).max()) for s in self._levels])
            if squares.sum() > 1 - _THETA:
                # A doubling costs as much as all points so far.
                spent = [s.n * c for s, c in zip(self._levels, self._costs, strict=False)]
                at = int(np.argmax(squares / np.array(spent)))
                self._draw_nets(at, 2 * self._levels[at].points)
                continue
            enough = self._remaining(self._rates(0.0)[0]) <= math.sqrt(_THETA)
            self._converged = bool(self._remaining(self._rates()[0]) <= math.sqrt(_THETA))
            if self._converged:
                return
            if enough:
                # Only the noise of the last levels puts the bias in doubt. They may have most of
                # the variance.
                at = len(squares) - 3 + int(np.argmax(squares[-3:] * 4.0 ** np.arange(-2, 1)))
                self._draw_nets(at, 2 * self._levels[at].points)
                continue
            if len(self._levels) > self._settings["max_level"]:
                return
            self._levels.append(_LevelSums(len(self._levels[0].difference.mean)))
            self._draw_nets(len(self._levels) - 1, least)

    def _allotted(self, variances: Array, costs: Array) -> Array:
        """Return the numbers of paths that bring the variance to its share, at the least cost."""
        with np.errstate(over="ignore", invalid="ignore"):
            whole = np.sqrt(variances * costs).sum()
            out: Array = np.ceil(np.sqrt(variances / costs) * whole / (1 - _THETA))
        return out

    def _remaining(self, means: Array) -> float:
        """Return the bias that is left, in units of the tolerance."""
        last = means[::-1][:3] * 2.0 ** (-self._alpha * np.arange(min(3, len(means))))
        if len(means) == _FIRST:
            last = last[:2]  # level 0 is no difference
        return float(last.max() / (2**self._alpha - 1))

    def run_randomised(self) -> None:
        """Draw the levels of paths at random, until the variance is that of the tolerance."""
        start = self._settings["n_start"]
        pilot = _Job(
            self._evaluate, self._settings, self._key, self._names, self._report, self._start
        )
        pilot._draw([start] * _FIRST)
        pilot._levels.append(_LevelSums(len(pilot._levels[0].difference.mean)))
        pilot._draw([start] * (_FIRST + 1))
        pilot._rates()
        self._begin(len(pilot._levels[0].difference.mean), pilot._scalar)
        self._alpha, self._beta = pilot._alpha, pilot._beta
        self._raw_alpha = pilot._raw_alpha
        gamma = self._gamma(self._settings["max_level"] + 1)
        if not self._beta > gamma:
            raise ArgumentError(
                f"debias: True given, but the variance falls like 2^(-{self._beta:.2f} l) while "
                f"the cost rises like 2^({gamma:.2f} l), so that variance or cost is infinite; "
                "couple fine and coarse paths more closely, or use debias=False"
            )
        count = self._settings["max_level"] + 1
        falls = 2.0 ** (-(self._beta + gamma) / 2 * np.arange(count))
        # The first levels by their measured variances, the others by the estimated rates.
        seen = [s.difference.variance + s.difference.mean**2 for s in pilot._levels]
        squares = np.array([(x / self._atol**2).max() for x in seen])
        seen_chances = np.sqrt(squares / np.array(self._costs[: len(squares)]))
        if not seen_chances.any():
            seen_chances = falls[: len(squares)]
        floor = seen_chances.max() * falls[: len(squares)] * 0.1
        chances = falls * np.maximum(seen_chances, floor)[-1] / falls[len(squares) - 1]
        chances[: len(squares)] = np.maximum(seen_chances, floor)
        tail = chances[-1] * falls[1] / (1 - falls[1])
        self._chances = chances / (chances.sum() + tail)
        self._levels = [_LevelSums(len(pilot._levels[0].difference.mean)) for _ in range(count)]
        # The streams of the pilot's batches are not used again.
        for own, first in zip(self._levels, pilot._levels, strict=False):
            own.batches = first.batches
        n = max(int(min(np.ceil((squares / self._chances[: len(squares)]).sum()), 2.0**61)), start)
        drawn = np.zeros(count, np.int64)
        beyond, total, stream = 0, 0, Stream(self._key, 2**63, 2**32 - 1)
        while True:
            more, lost = _labels(stream, self._chances, n - total)
            drawn, beyond, total = drawn + more, beyond + lost, n
            self._total = total
            self._draw(drawn.tolist())
            spread = np.sqrt(np.diag(self._random_cov())) / self._atol
            if (spread <= 1).all():
                break
            n = max(int(1.02 * n * min(float((spread**2).max()), 4.0)), n + start)
        self._converged = True
        if beyond:
            self._converged = False
            self.findings.append(
                (
                    ConvergenceWarning,
                    f"{beyond} of {total} paths drew a level above max_level = "
                    f"{self._settings['max_level']} and count as 0, so that the estimate is "
                    "biased by about the differences there; raise max_level",
                )
            )

    def _gamma(self, count: int) -> float:
        """Return the rate of the costs of the first levels."""
        return -_slope(np.array(self._costs[1 : max(count, 3)]))

    def _random_mean(self) -> Array:
        assert self._chances is not None
        parts = [
            s.difference.mean * (s.n / p / self._total)
            for s, p in zip(self._levels, self._chances, strict=True)
        ]
        out: Array = np.sum(parts, axis=0)
        return out

    def _random_cov(self) -> Array:
        """Return the variances of the randomised estimate, as a diagonal matrix."""
        assert self._chances is not None
        squares = [
            (s.difference.m2 + s.n * s.difference.mean**2) / p**2
            for s, p in zip(self._levels, self._chances, strict=True)
        ]
        n = self._total
        variance = np.sum(squares, axis=0) / n - self._random_mean() ** 2
        return np.diag(np.maximum(variance, 0.0) / max(n - 1, 1))

    def partial(self) -> Multilevel | None:
        """Return the result so far, None if a level has no paths or levels are random."""
        if self._settings["debias"] or not self._levels:
            return None
        if self._levels[-1].n == 0 and len(self._levels) > 1:
            self._levels.pop()
        if any(s.n < 2 for s in self._levels):
            return None
        self._converged = False
        return self.result("interrupted")

    def result(self, status: str) -> Multilevel:
        """Return the result."""
        levels = [s for s in self._levels if s.n] if self._settings["debias"] else self._levels
        outputs = len(levels[0].difference.mean)
        if self._settings["debias"]:
            mean, cov, bias = self._random_mean(), self._random_cov(), np.zeros(outputs)
        else:
            mean = np.sum([s.difference.mean for s in levels], axis=0)
            cov = np.diag(np.sum([s.square for s in levels], axis=0))
            means, _ = self._rates()
            bias = np.minimum(self._remaining(means), 1e300) * self._atol * np.ones(outputs)
        self._doubts(levels, bias)
        stderr = np.sqrt(np.diag(cov))
        unseen = self._unseen(levels, mean, stderr)
        if unseen is not None:
            stderr = np.where(unseen > 0, unseen, stderr)
            cov = np.diag(stderr**2)
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = [np.where(stderr > 0, s.difference.variance / s.n, 0.0) for s in levels]
            # Welch's degrees of freedom, with the kurtosis of each level.
            noise = np.sum(
                [
                    v**2 * np.maximum(s.difference.kurtosis - 1, 1) / s.n
                    for v, s in zip(spread, levels, strict=True)
                ],
                axis=0,
            )
            df = np.where(noise > 0, 2 * np.diag(cov) ** 2 / noise, np.inf)
            nets = self._settings["points"] == "sobol"
            if nets:
                squares = np.sum([s.square**2 for s in levels], axis=0)
                df = np.where(squares > 0, np.diag(cov) ** 2 * (_REPLICATES - 1) / squares, np.inf)
            ess = np.where(stderr > 0, levels[0].fine.variance / stderr**2, np.inf)

        def shape(a: Array) -> Any:
            return float(a.ravel()[0]) if self._scalar else a

        paths = np.array([s.n for s in levels])
        return Multilevel(
            seed=self._key,
            version=_core.__version__,
            isa=_core.isa_level,
            settings=self._settings,
            n_evals=self.paths,
            wall_time=time.perf_counter() - self._start,
            status=status,
            warnings=tuple(text for _, text in self.findings),
            mean=shape(mean),
            stderr=shape(stderr),
            cov=shape(cov),
            ess=shape(ess),
            khat=shape(np.full(outputs, np.nan)),
            names=self._names or tuple(f"E[{k}]" for k in range(outputs)),
            method=self._method(),
            df=shape(np.maximum(df, 1.0)),
            converged=self._converged,
            n_replicates=_REPLICATES if nets else None,
            unseen=None if unseen is None else shape(unseen),
            n_paths=paths,
            level_means=np.array([s.difference.mean for s in levels]),
            level_variances=np.array([s.difference.variance for s in levels]),
            level_kurtosis=np.array([s.difference.kurtosis for s in levels]),
            level_costs=np.array(self._costs[: len(levels)]),
            cost=float(paths @ np.array(self._costs[: len(levels)])),
            bias=shape(bias),
            alpha=float(self._alpha),
            beta=float(self._beta),
            gamma=float(self._gamma(len(levels))),
        )

    def _unseen(self, levels: list[_LevelSums], mean: Array, stderr: Array) -> Array | None:
        """Return errors by the rule of three of outputs with one value at all paths, or None.

        Constants beside outputs that vary are taken as exact, unless they are 0.
        """
        same = (stderr == 0) & ((mean == 0) | (stderr == 0).all())
        if not same.any():
            return None
        out = np.where(same, np.where(mean == 0, 1.0, np.abs(mean)) * (3 / levels[0].n), 0.0)
        self.findings.append(same_everywhere("the quantity", levels[0].n, float(out.max())))
        return out

    def _method(self) -> str:
        if self._settings["debias"]:
            return "randomised multilevel"
        return "multilevel" + (" Sobol'" if self._settings["points"] == "sobol" else "")

    def _doubts(self, levels: list[_LevelSums], bias: Array) -> None:
        """Collect the warnings of a result."""

        def say(text: str) -> None:
            self.findings.append((ConvergenceWarning, text))

        random = self._settings["debias"]
        if not self._converged and not random:
            say(
                f"the bias at the finest level {len(levels) - 1} is about {bias.max():.2g}, above "
                f"its share of atol; raise max_level = {self._settings['max_level']} or atol"
            )
        if self._raw_alpha < 0.5 and self._settings["alpha"] is None:
            say(
                f"the means of the differences fall like 2^({-self._raw_alpha:.2f} l) only, too "
                "slowly for the bias to be judged; give alpha= if the rate is known, raise "
                "n_start, or check that the levels converge"
            )
        worst = [float(s.difference.kurtosis.max()) for s in levels]
        at = int(np.argmax(worst))
        if worst[at] > _KURTOSIS:
            say(
                f"the difference of level {at} has the kurtosis {worst[at]:.0f}: few paths make "
                "most of its variance, and the numbers of paths and the error may be too small; "
                "raise n_start, or smooth the quantity"
            )
        for at in range(1, len(levels)):
            below, here = levels[at - 1].fine, levels[at].coarse
            if min(below.n, here.n) < 2:
                continue
            gap = np.abs(here.mean - below.mean)
            error = np.sqrt(below.variance / below.n + here.variance / here.n)
            scale = 1e-9 * (np.abs(here.mean) + np.abs(below.mean))
            if (gap > _DISAGREE * error + scale).any():
                say(
                    f"the coarse values of level {at} have another mean than the fine values of "
                    f"level {at - 1}, by more than {_DISAGREE:.0f} errors, so that the sum over "
                    "levels is wrong; make both the same computation"
                )
                break


def _slope(values: Array) -> float:
    """Return the rate by which values fall from one to the next, in powers of two."""
    found = np.flatnonzero(values > 0)
    if len(found) < 2:
        return math.inf if len(values) > 1 else 1.0
    return float(-np.polyfit(found, np.log2(values[found]), 1)[0])


def _labels(stream: Stream, chances: Array, n: int) -> tuple[NDArray[np.int64], int]:
    """Return how many of n paths draw each level, and how many one beyond the last."""
    edges = np.cumsum(chances)
    counts = np.zeros(len(chances) + 1, np.int64)
    while n > 0:
        some = min(n, 2**20)
        drawn = np.searchsorted(edges, stream.uniform(some), side="right")
        counts += np.bincount(drawn, minlength=len(counts))
        n -= some
    return counts[:-1], int(counts[-1])
