"""Results of denoising Langevin Gibbs: draws of chains, and statistics of their levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fermiac._base import layout as fit
from fermiac._base.plan import PlanLike, plan_of
from fermiac.diagnostics.convergence import ess, mcse, rhat
from fermiac.errors import ConvergenceWarning, FermiacWarning
from fermiac.results.result import Finding
from fermiac.results.sample import Sample
from fermiac.results.summary import Summary
from fermiac.runs.loop import run_and_warn
from fermiac.score.gibbs_chains import Windows
from fermiac.score.gibbs_parts import are_parts, joined, missing_chains

if TYPE_CHECKING:
    pass

__all__ = ["LangevinGibbs", "LevelHistogram", "findings"]

Array = NDArray[np.float64]

#: The fewest draws of a chain for diagnostics.
_MIN_DRAWS = 4
#: A chain with a lower acceptance rate over this many moves stands still.
_LEAST_ACCEPTANCE, _MIN_MOVES = 1e-3, 100
#: A shift of the mean of log σ over the second half of a run is a drift above this size and this
#: many standard errors.
_DRIFT, _CLEAR = 0.5, 3.0
#: Chains are stuck at an end of the levels with more than this share of the visits, unless its
#: target probability is high.
_STUCK = 0.5
#: The R-hat of log σ above which chains disagree on the levels.
_MOST_RHAT = 1.1


class LevelHistogram(NamedTuple):
    """The frequencies of the levels.

    Attributes
    ----------
    levels : ndarray, shape (L,)
        The levels, from the highest to the lowest.
    shares : ndarray, shape (L,)
        The shares of the sweeps, over all chains, that ended at each level or nearest to it.
    expected : ndarray, shape (L,)
        The shares under the target law.

    Examples
    --------
    >>> import fermiac as fm
    >>> m = fm.score.GaussianMixture([0.3, 0.7], [[-2.0], [2.0]], [0.25, 0.25])
    >>> r = fm.score.langevin_gibbs(m, sigma_range=(0.05, 20.0), n_draws=50, rng=0)
    >>> histogram = r.level_histogram()
    >>> round(float(histogram.shares.sum()), 6)
    1.0
    """

    levels: Array
    shares: Array
    expected: Array


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class LangevinGibbs(Sample):
    """The denoised draws of chains over points and noise levels.

    A `fermiac.Sample` with the error model ``"chains"``: errors of averages account for the
    autocorrelation of the draws of a chain. Chains that seldom change the mode have a high R-hat.

    Attributes
    ----------
    draws : ndarray, shape (n_chains, n_draws, d)
        The denoised points.
    stats : mapping of str to ndarray, shape (n_chains, n_draws)
        ``sigma``, the level of the state that was denoised; ``log_sigma``, the mean of log σ over
        the sweeps of the draw; ``acceptance_rate``, the share of accepted moves in them.
    levels : ndarray, shape (L,)
        The noise levels, from the highest to the lowest.
    level_weights : ndarray, shape (L,)
        The target probabilities of the levels.
    level_counts : ndarray of int64, shape (L,)
        The number of sweeps after the warm-up that ended at each level or nearest to it.
    passages : ndarray of int64, shape (n_chains,)
        The number of passages of each chain from one end of the levels to the other.
    calls : mapping of str to int
        The calls of the model for each chain: ``start``, ``warmup``, ``sweeps``, ``denoise``,
        without calls of log-densities and of a classifier.
    bias : tuple of str
        The reasons why the law of the draws differs from that of the model. They include the
        denoising integrator if it shifts averages by more than their standard errors.
    state : mapping of str to ndarray, or None
        The state of the chains, for `extend`.

    Examples
    --------
    >>> import fermiac as fm
    >>> m = fm.score.GaussianMixture([0.3, 0.7], [[-2.0], [2.0]], [0.25, 0.25])
    >>> r = fm.score.langevin_gibbs(m, sigma_range=(0.05, 20.0), n_draws=50, rng=0)
    >>> r.draws.shape, r.bias
    ((64, 50, 1), ())
    """

    levels: Array
    level_weights: Array
    level_counts: NDArray[np.int64]
    passages: NDArray[np.int64]
    calls: Mapping[str, int]
    bias: tuple[str, ...] = ()
    state: Mapping[str, NDArray[Any]] | None = None

    _layout: ClassVar[fit.Layout] = {
        "draws": fit.array("fiu", "chains", "draws", "d", finite=True, least=1),
        "stats": fit.record(
            {
                name: fit.array("f", "chains", "draws")
                for name in ("sigma", "log_sigma", "acceptance_rate")
            }
        ),
        "levels": fit.array("f", "levels", low=0.0, finite=True),
        "level_weights": fit.array("f", "levels", low=0.0, finite=True),
        "level_counts": fit.array("i", "levels", low=0),
        "passages": fit.array("i", "chains", low=0),
        "calls": fit.record(
            {name: fit.whole(0) for name in ("start", "warmup", "sweeps", "denoise")}
        ),
        "bias": fit.texts,
        "state": fit.maybe(fit.mapping(fit.array("biuf"))),
    }

    @property
    def is_biased(self) -> bool:
        """Whether the law of the draws is known to differ from that of the model: see `bias`."""
        return bool(self.bias)

    @property
    def calls_per_draw(self) -> float:
        """Calls of the model for each draw, without start and warm-up."""
        return float((self.calls["sweeps"] + self.calls["denoise"]) / self.draws.shape[1])

    @property
    def calls_per_draw_in_all(self) -> float:
        """Calls of the model for each draw, including a share of start and warm-up."""
        return float(sum(self.calls.values()) / self.draws.shape[1])

    @property
    def round_trips(self) -> NDArray[np.int64]:
        """Round trips of each chain between the ends of the levels."""
        return self.passages // 2

    @property
    def log_sigma_mean(self) -> float:
        """The mean of log σ over all sweeps."""
        return float(self.stats["log_sigma"].mean())

    @property
    def log_sigma_mcse(self) -> float:
        """The Monte Carlo standard error of `log_sigma_mean`; NaN for fewer than 4 draws."""
        logs = self.stats["log_sigma"]
        return float("nan") if logs.shape[1] < _MIN_DRAWS else float(mcse(logs))

    @property
    def log_sigma_expected(self) -> float:
        """The mean of log σ under the target law."""
        return float(self.level_weights @ np.log(self.levels))

    @property
    def log_sigma_rhat(self) -> float:
        """The rank-normalised R-hat of log σ; NaN for one chain, or fewer than 4 draws."""
        logs = self.stats["log_sigma"]
        short = logs.shape[1] < _MIN_DRAWS or len(logs) < 2
        return float("nan") if short else float(rhat(logs))

    @property
    def log_sigma_ess(self) -> float:
        """The effective sample size for the mean of log σ; NaN for fewer than 4 draws."""
        logs = self.stats["log_sigma"]
        return float("nan") if logs.shape[1] < _MIN_DRAWS else float(ess(logs, kind="mean"))

    def level_histogram(self) -> LevelHistogram:
        """Compare the frequencies of the levels with their target probabilities.

        Returns
        -------
        LevelHistogram
            ``levels``, ``shares`` and ``expected``.
        """
        total = max(int(self.level_counts.sum()), 1)
        return LevelHistogram(self.levels, self.level_counts / total, self.level_weights)

    def extend(
        self,
        n_draws: int,
        *,
        plan: PlanLike | None = None,
    ) -> LangevinGibbs:
        """Continue the chains.

        Parameters
        ----------
        n_draws : int
            Additional draws of each chain.
        plan : Plan or executor, optional
            Where the call runs and what is kept; see `fermiac.Plan`.

        Returns
        -------
        LangevinGibbs
            All draws, with the same bits as one call of `langevin_gibbs` with as many draws.

        Raises
        ------
        ArgumentError
            If an argument is outside of its domain, or the result was loaded from a file or derived
            from another, and cannot be continued.

        Examples
        --------
        >>> import fermiac as fm
        >>> m = fm.score.GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], [0.25, 0.25])
        >>> r = fm.score.langevin_gibbs(m, sigma_range=(0.05, 20.0), n_draws=100, rng=0)
        >>> r.extend(100).draws.shape
        (64, 200, 1)
        """
        where = plan_of(plan)
        from fermiac.score.gibbs import extension, warnings_of

        return run_and_warn(extension(self, n_draws, where.n_threads, where.progress), warnings_of)

    def merge(self, *others: Sample) -> Sample:
        """Join parts of one call, or independent chains of the same target.

        Parameters
        ----------
        *others : Sample
            Chains of the same length. Parts of one call, from ``part=`` of
            `fermiac.score.langevin_gibbs`, give the chains of the whole call, without the state for
            `extend`.

        Returns
        -------
        LangevinGibbs, or Sample for chains of several calls
            All chains; see `fermiac.Sample.merge`.

        Raises
        ------
        ArgumentError
            If the samples do not match, or contain the same chains.

        Warns
        -----
        ConvergenceWarning
            If the levels of the chains, taken together, are in doubt; see
            `fermiac.score.langevin_gibbs`.
        """
        parts = (self, *others)
        if not are_parts(parts) or not all(isinstance(part, LangevinGibbs) for part in parts):
            return super().merge(*others)
        chains: Any = parts
        return run_and_warn(lambda: joined(chains), findings)

    def _missing(self) -> list[Finding]:
        return missing_chains(self)

    def summary(
        self,
        *,
        prob: float = 0.9,
        kind: str = "equal",
        var_names: str | Sequence[str] | None = None,
    ) -> Summary:
        """Return a table of the coordinates, the statistics of the levels, and the cost.

        The arguments are those of `fermiac.Sample.summary`.
        """
        table = super().summary(prob=prob, kind=kind, var_names=var_names)
        biases = [f"biased: {text}" for text in self.bias]
        return table.extended([self._level_line(), self._cost_line(), *biases])

    def _level_line(self) -> str:
        trips = self.round_trips
        return (
            f"mean log σ {self.log_sigma_mean:.3f} ± {self.log_sigma_mcse:.2g} (target "
            f"{self.log_sigma_expected:.3f}), R-hat {self.log_sigma_rhat:.3f}, ESS "
            f"{self.log_sigma_ess:.0f}; {int(trips.sum())} round trips between the ends"
        )

    def _cost_line(self) -> str:
        return (
            f"{self.calls_per_draw:.3g} model calls for a draw, {self.calls_per_draw_in_all:.3g} "
            "with start and warm-up"
        )

    def _windows(self) -> Windows:
        stats = self.stats
        return Windows(self.draws, stats["sigma"], stats["log_sigma"], stats["acceptance_rate"])


def findings(result: LangevinGibbs) -> list[tuple[type[FermiacWarning], str]]:
    """Return the warnings of a run."""
    found: list[tuple[type[FermiacWarning], str]] = []
    logs, rates = result.stats["log_sigma"], result.stats["acceptance_rate"].mean(axis=1)
    still = int(np.count_nonzero(rates < _LEAST_ACCEPTANCE))
    if still and logs.shape[1] * result.settings["n_skip"] >= _MIN_MOVES:
        found.append(
            (
                ConvergenceWarning,
                f"{still} of {len(rates)} chains stand still: hardly a move is accepted; take a "
                "smaller step, or OUStep",
            )
        )
    if logs.shape[1] >= 2 * _MIN_DRAWS:
        drift, error = _drift(logs)
        if abs(drift) > _DRIFT and abs(drift) > _CLEAR * error:
            found.append(
                (
                    ConvergenceWarning,
                    f"the levels drift: over the second half of the run the mean of log σ moved "
                    f"by {drift:+.2f}; use OUStep, a smaller step, a correction (metropolis=) or "
                    "a longer warm-up",
                )
            )
        if result.log_sigma_rhat > _MOST_RHAT:
            found.append(
                (
                    ConvergenceWarning,
                    f"the chains do not agree on the levels: R-hat of log σ is "
                    f"{result.log_sigma_rhat:.2f}; draw more, or raise n_skip",
                )
            )
    shares = result.level_histogram().shares
    for at, name in ((0, "highest"), (-1, "lowest")):
        meant = result.level_weights[at]
        if len(shares) > 2 and shares[at] > max(_STUCK, 3 * meant):
            found.append(
                (
                    ConvergenceWarning,
                    f"the chains are stuck at the {name} level, with {100 * shares[at]:.0f} % of "
                    f"the sweeps instead of {100 * meant:.2g} %; use OUStep, a smaller step "
                    "or a correction (metropolis=), or check the levels against the data",
                )
            )
    return found


def _drift(logs: Array) -> tuple[float, float]:
    """Return the shift of the mean of log σ over the second half of a run, and its error."""
    half, last = logs.shape[1] // 2, logs.shape[1] - logs.shape[1] // 4
    # The centres of the third and the fourth quarter are a quarter of the run apart, so double
    # their difference.
    moved = 2 * (logs[:, last:].mean(axis=1) - logs[:, half:last].mean(axis=1))
    if len(moved) < 2:
        return float(moved.mean()), 0.0
    return float(moved.mean()), float(moved.std(ddof=1) / np.sqrt(len(moved)))
