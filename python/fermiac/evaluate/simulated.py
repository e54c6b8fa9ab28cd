"""Simulation-based calibration: tests that a sampler draws from the posterior."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fermiac._base import layout as fit
from fermiac._base import registry
from fermiac._base.ask import ask
from fermiac._base.calls import public
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import finish, reporter
from fermiac._base.validate import RngLike, key_of, labels, probability, shown, whole
from fermiac.diagnostics.convergence import ess
from fermiac.distributions.law import Law, subkey
from fermiac.distributions.scipy import as_law
from fermiac.errors import ArgumentError, ConvergenceWarning, TargetError
from fermiac.evaluate.ecdf import Band, band_of
from fermiac.random.stream import Stream
from fermiac.results.provenance import provenance
from fermiac.results.result import Finding, Result, warn
from fermiac.results.sample import Sample
from fermiac.results.summary import Summary
from fermiac.runs.parts import computed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["RankCalibration", "sbc"]

Array = NDArray[np.float64]
Ranks = NDArray[np.int64]
Prior: TypeAlias = "Law | Callable[[Stream], Any]"
#: The parts of the key of a simulation: its parameters, its data, its posterior, its draws, ties.
_PARAMETERS, _DATA, _POSTERIOR, _DRAWS, _TIES = range(5)
#: The share of simulations with too few effective draws that gives no warning.
_SHORT = 0.05
#: The smallest expected count in a bin of the chi-squared test, and the largest number of bins.
_EXPECTED, _BINS = 5, 20


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class RankCalibration(Result):
    """The ranks of parameters among draws from their posteriors, and tests that they are uniform.

    Attributes
    ----------
    ranks : ndarray of int, shape (n_simulations, d)
        The number of draws below the true parameter, from which the data were simulated.
    n_draws : int
        The number of draws from each posterior; ranks are from 0 to `n_draws`.
    pvalue : ndarray, shape (d,)
        The exact p-value of the largest deviation of the distribution function of the ranks.
    chi2_pvalue : ndarray, shape (d,)
        The p-value of the chi-squared test of their histogram.
    at, lower, upper : ndarray, shape (k,)
        Points between 0 and 1, and a simultaneous band: with probability `prob` it contains the
        distribution function of the ranks divided by `n_draws` + 1 at all points.
    prob : float
        The probability of the band.
    names : tuple of str
        The names of the parameters.
    n_short : int
        The number of simulations whose draws had an effective sample size below `n_draws`.

    Examples
    --------
    >>> import fermiac as fm
    >>> def simulate(theta, stream):
    ...     return theta + stream.normal(1)
    >>> def sample(y, rng):  # the posterior is normal, with mean y / 2 and variance 1/2
    ...     return y / 2 + 0.5**0.5 * fm.random.Stream(rng).normal((99, 1))
    >>> c = fm.evaluate.sbc(fm.distributions.Normal(), simulate, sample, 200, rng=0)
    >>> c.ranks.shape, bool(c.pvalue[0] > 0.01)
    ((200, 1), True)
    """

    ranks: Ranks
    n_draws: int
    pvalue: Array
    chi2_pvalue: Array
    at: Array
    lower: Array
    upper: Array
    prob: float
    names: tuple[str, ...]
    n_short: int

    _layout: ClassVar[fit.Layout] = {
        "ranks": fit.array("i", "simulations", "d", low=0),
        "n_draws": fit.whole(1),
        "pvalue": fit.array("f", "d"),
        "chi2_pvalue": fit.array("f", "d"),
        "at": fit.array("f", "k"),
        "lower": fit.array("f", "k"),
        "upper": fit.array("f", "k"),
        "prob": fit.real,
        "names": fit.texts,
        "n_short": fit.whole(0),
    }

    def _headline(self) -> str:
        worst = int(np.argmin(self.pvalue))
        return (
            f"RankCalibration: {len(self.ranks)} simulations, least p-value "
            f"{self.pvalue[worst]:.3g} ({self.names[worst]}, of {self.pvalue.size})"
        )

    def ecdf(self) -> Array:
        """Return the distribution function of the ranks at `at`, shape (k, d)."""
        shares = self.ranks[None] < np.round(self.at * (self.n_draws + 1))[:, None, None]
        return np.asarray(shares.mean(1))

    def summary(self) -> Summary:
        """Return p-values, and the mean and the spread of the ranks.

        `mean` is the mean of the ranks scaled to 0 to 1; if it is below 1/2, draws are too large.
        `spread` is their standard deviation divided by that of uniform ranks; if it is above 1, the
        draws are too narrow.
        """
        u = (self.ranks + 0.5) / (self.n_draws + 1)
        columns = {
            "pvalue": self.pvalue,
            "chi2_pvalue": self.chi2_pvalue,
            "mean": u.mean(0),
            "spread": u.std(0) * math.sqrt(12),
        }
        foot = [self._first_line(), *(f"warning: {w}" for w in self.warnings)]
        return Summary(self.names, columns, foot=foot)

    def plot(
        self,
        ax: Axes | None = None,
        output: int = 0,
        *,
        kind: Literal["ecdf", "histogram"] = "ecdf",
    ) -> Axes:
        """Draw the ranks of a parameter with a band; see `fermiac.plotting.plot_calibration`."""
        drawn: Axes = registry.function("plotting", "plot_calibration")(self, ax, output, kind=kind)
        return drawn


def _row(given: Any, what: str) -> Array:
    """Return parameters as an array of shape (d,)."""
    try:
        row = np.asarray(given, np.float64).reshape(-1)
    except Exception as error:
        raise TargetError(f"{what} gave {shown(given)}, not an array of numbers") from error
    if not row.size or not np.isfinite(row).all():
        raise TargetError(f"{what} gave {shown(given)}; finite parameters are needed")
    return row


def _posterior(given: Any, d: int, key: int, n: int) -> tuple[Array, float]:
    """Return n draws of a posterior, and their effective sample size."""
    if isinstance(given, Sample):
        draws = np.asarray(given.draws, np.float64)
        if given.log_weights is not None:
            logs = given.log_weights.ravel()  # replicates and islands have a row each
            w = np.exp(logs - logs.max())
            size = float(w.sum() ** 2 / (w @ w))
            taken = given.resample(n, rng=key, method="multinomial")
            return _table(np.asarray(taken.draws, np.float64).reshape(n, -1), d, n), size
        if draws.ndim == 3:
            table = _table(draws.reshape(-1, draws.shape[2]), d, n)
            size = float(np.min(ess(draws))) if draws.shape[1] >= 4 else float(len(table))
            return _spaced(table, n), size
    else:
        try:
            draws = np.asarray(given, np.float64)
        except Exception as error:
            raise TargetError(
                f"sample: it returned a {type(given).__name__}; draws of shape (m, {d}) or a "
                "Sample are needed"
            ) from error
    if draws.ndim == 1 and d == 1:
        draws = draws[:, None]
    table = _table(draws, d, n)
    return _spaced(table, n), float(len(table))


def _table(draws: Array, d: int, n: int) -> Array:
    if draws.ndim != 2 or draws.shape[1] != d or len(draws) < n:
        raise TargetError(
            f"sample: it returned draws of shape {draws.shape}; (m, {d}) is needed, with at least "
            f"{n} draws"
        )
    if np.isnan(draws).any():
        raise TargetError("sample: it returned NaN among its draws")
    return draws


def _spaced(table: Array, n: int) -> Array:
    """Return n of the draws, evenly spaced."""
    return np.asarray(table[((np.arange(n) + 0.5) * (len(table) / n)).astype(int)])


class _Simulations:
    """The simulations; each has its own key."""

    progress: Any = None

    def __init__(self, prior: Any, simulate: Any, sample: Any, n_draws: int, key: int) -> None:
        self._prior, self._simulate, self._sample = prior, simulate, sample
        self._n_draws, self._key = n_draws, key

    def __call__(self, unit: int) -> tuple[Ranks, float]:
        """Return the ranks of a simulation, and the effective sample size of its draws."""
        own = subkey(self._key, unit)
        on, key = f"in simulation {unit}", subkey(own, _PARAMETERS)
        if isinstance(self._prior, Law):
            drawn = ask(lambda: self._prior.sample(1, rng=key), (), "prior", on)
        else:
            drawn = ask(self._prior, (Stream(key),), "prior", on)
        theta = _row(drawn, "prior")
        data = ask(self._simulate, (theta, Stream(subkey(own, _DATA))), "simulate", on)
        given = ask(self._sample, (data, subkey(own, _POSTERIOR)), "sample", on)
        draws, size = _posterior(given, theta.size, subkey(own, _DRAWS), self._n_draws)
        below, equal = (draws < theta).sum(0), (draws == theta).sum(0)
        # Each draw that equals the parameter counts as below it with probability 1/2, at random.
        u = np.asarray(Stream(subkey(own, _TIES)).uniform(theta.size))
        return below + np.floor(u * (equal + 1)).astype(np.int64), size


def _chi2(ranks: Ranks, n_draws: int) -> float:
    """Return the p-value of the chi-squared test of a histogram with equal bins."""
    from scipy.special import chdtrc

    most = min(len(ranks) // _EXPECTED, _BINS, n_draws + 1)
    bins = next((b for b in range(most, 1, -1) if (n_draws + 1) % b == 0), 1)
    if bins == 1:
        return 1.0
    counts = np.bincount(ranks * bins // (n_draws + 1), minlength=bins)
    expected = len(ranks) / bins
    return float(chdtrc(bins - 1, ((counts - expected) ** 2).sum() / expected))


@public
def sbc(
    prior: Prior,
    simulate: Callable[[Array, Stream], Any],
    sample: Callable[[Any, int], Any],
    n_simulations: int = 200,
    *,
    n_draws: int = 99,
    prob: float = 0.95,
    names: Sequence[str] | None = None,
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> RankCalibration:
    """Check a sampler with data that are simulated from its model [1]_.

    Parameters are drawn from the prior, data are simulated from them, and the sampler draws from
    the posterior. If the sampler is right, the rank of a parameter among the draws is uniform.

    Parameters
    ----------
    prior : Law or callable
        The law of the parameters, or a function ``prior(stream)`` that returns them, shape (d,).
    simulate : callable
        ``simulate(theta, stream)`` returns data, of any kind, from parameters of shape (d,).
    sample : callable
        ``sample(data, rng)`` returns draws from the posterior, of shape (m, d), or a `Sample`.
        `rng` is the seed of the sampler, a whole number.
    n_simulations : int, default 200
        The number of simulations.
    n_draws : int, default 99
        The number of draws among which a parameter is ranked. They are evenly spaced draws of those
        that `sample` returns; weighted draws are resampled.
    prob : float, default 0.95
        The probability of the band of the distribution function, above 0 and below 1.
    names : sequence of str, optional
        The names of the parameters.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``); see `fermiac.Plan`.

    Returns
    -------
    RankCalibration

    Raises
    ------
    ArgumentError
        If an argument is outside its domain.
    TargetError
        If parameters or draws have a wrong shape or are not finite.
    WorkerError
        If workers of the executor are lost.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` has the simulations so far, or is None.

    Warns
    -----
    ConvergenceWarning
        If more than one simulation in twenty has an effective sample size below `n_draws`. Ranks
        among dependent draws lie at the ends too often.

    Notes
    -----
    The band and the p-value use the distribution function at up to 100 points and its exact joint
    distribution for uniform ranks [2]_. For several parameters use
    ``fermiac.evaluate.adjust(c.pvalue).min()``. A small p-value means an error of the sampler or of
    the simulator, or another prior in the sampler. A large one means that, averaged over the prior,
    no error larger than about 1 / √`n_simulations` was found.

    References
    ----------
    .. [1] S. Talts, M. Betancourt, D. Simpson, A. Vehtari, A. Gelman, "Validating Bayesian
       inference algorithms with simulation-based calibration", 2018, arXiv:1804.06788.
    .. [2] T. Säilynoja, P.-C. Bürkner, A. Vehtari, "Graphical test for discrete uniformity and its
       applications in goodness-of-fit evaluation and multiple sample comparison", Statistics and
       Computing, 2022, arXiv:2103.10522.

    Examples
    --------
    >>> import fermiac as fm
    >>> def simulate(theta, stream):
    ...     return theta + stream.normal(1)
    >>> def too_narrow(y, rng):  # the variance is 1/2, not 1/4
    ...     return y / 2 + 0.5 * fm.random.Stream(rng).normal((99, 1))
    >>> c = fm.evaluate.sbc(fm.distributions.Normal(), simulate, too_narrow, 400, rng=0)
    >>> bool(c.pvalue[0] < 1e-3)
    True
    """
    where = plan_of(plan, "executor")
    start = time.perf_counter()
    law: Any = prior
    if not isinstance(prior, Law):
        try:
            law = as_law(prior, "prior")
        except ArgumentError:
            if not callable(prior):
                raise
    for name, given in (("simulate", simulate), ("sample", sample)):
        if not callable(given):
            raise ArgumentError(f"{name}: {shown(given)} given; a function is needed")
    count = whole("n_simulations", n_simulations, 2, 2**31)
    n = whole("n_draws", n_draws, 1, 2**31 - 2)
    level = probability("prob", prob)
    key = key_of(rng)
    found: dict[int, tuple[Ranks, float]] = {}

    def result(status: str) -> RankCalibration | None:
        # Only those before the first missing one: which others are done depends on timing.
        done = next((i for i in range(count) if i not in found), count)
        if done < 2:
            return None
        ranks = np.stack([found[i][0] for i in range(done)])
        short = sum(found[i][1] < n for i in range(done))
        band: Band = band_of(done, n, level)
        d = ranks.shape[1]
        return RankCalibration(
            ranks=ranks,
            n_draws=n,
            pvalue=np.array([band.pvalue(ranks[:, j]) for j in range(d)]),
            chi2_pvalue=np.array([_chi2(ranks[:, j], n) for j in range(d)]),
            at=band.at,
            lower=band.lower,
            upper=band.upper,
            prob=level,
            names=labels(names, d, "parameter") or tuple(f"theta[{j}]" for j in range(d)),
            n_short=int(short),
            **provenance({"n_simulations": count, "n_draws": n, "prob": level}, start, key, done),
            status=status,
        )

    work = _Simulations(law, simulate, sample, n, key)
    units: Any = computed
    with reporter(where.progress, "sbc", "simulations") as report:

        def tick(done: int) -> None:
            if report is not None and done < count:
                report(done, count)

        try:
            for unit, (ranks, size) in units(
                work,
                range(count),
                executor=where.executor,
                store=None,
                tick=tick,
                name="simulations",
            ):
                if found and ranks.size != next(iter(found.values()))[0].size:
                    raise TargetError(
                        f"prior: it gave {ranks.size} parameters in simulation {unit}, and another "
                        "number before; the same number is needed each time"
                    )
                if not found:
                    labels(names, ranks.size, "parameter")  # a wrong number is found at once
                found[unit] = ranks, size
        except BaseException as error:
            error.partial_result = result("interrupted")  # type: ignore[attr-defined]
            raise
        made = result("complete")
        assert made is not None
        finish(report, count, made)
    doubts: list[Finding] = []
    if made.n_short > _SHORT * count:
        doubts.append((
            ConvergenceWarning,
            f"the effective sample size of {made.n_short} of {count} simulations is below {n}, so "
            "ranks lie at the ends too often; take more draws in each simulation, or a smaller "
            "n_draws",
        ))  # fmt: skip
    warn(doubts, made)
    return made
