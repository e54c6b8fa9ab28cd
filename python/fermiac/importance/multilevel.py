"""The call that estimates an expectation by levels of refinement: multilevel Monte Carlo."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from fermiac import _core
from fermiac._base.ask import ask
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import finish, reporter
from fermiac._base.validate import choice, positive, real, real_numbers, require, shown, whole, yes
from fermiac.errors import ArgumentError, WorkerError
from fermiac.importance.fidelity_results import Multilevel
from fermiac.importance.level_batches import Level, LevelBatches
from fermiac.importance.multilevel_job import MultilevelJob
from fermiac.importance.settings import expectation_names
from fermiac.random import RngLike, key_of
from fermiac.results.result import warn
from fermiac.runs.checkpoint import Log
from fermiac.runs.shards import evaluation

__all__ = ["multilevel"]


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
    plan: PlanLike | None = None,
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
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``); see `fermiac.Plan`.
        ``store``: a folder for a file with the values of `levels`, from which the same call
        resumes.

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
        If a file in the store is damaged, belongs to another run, or cannot be written.
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
    where = plan_of(plan, "executor", "store")
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
    log = Log.of(where, rows=1)
    key = log.seed if rng is None and log is not None and log.seed is not None else key_of(rng)
    workers = resolve_threads(where.n_threads)

    def identity() -> dict[str, Any]:
        return {
            "version": _core.__version__,
            "isa": _core.isa_level,
            "method": "importance.multilevel",
            "seed": key,
            **settings,
        }

    with (
        reporter(where.progress, "multilevel", "paths") as bar,
        evaluation(
            LevelBatches(level, key),
            executor=where.executor,
            log=log,
            identity=identity,
            n_threads=workers,
            report=bar,
            integrand=True,
        ) as (evaluated, _),
    ):
        job = MultilevelJob(evaluated, settings, key, labels, bar, start)
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
        given = [ask(costs, (i,), "costs", f"for level {i}") for i in range(finest + 1)]
    else:
        array = real_numbers("costs", costs)
        if array.ndim != 1 or len(array) <= finest:
            raise ArgumentError(
                f"costs: an array of shape {array.shape} given; {finest + 1} numbers, one for each "
                "level up to max_level, or a function of the level, are needed"
            )
        given = array[: finest + 1].tolist()
    return [positive("costs", cost) for cost in given]
