"""The reference law and the number of temperatures of `Tempered`, learned in short pilot runs.

The reference is a mixture of normal laws. It begins as normal approximations at the modes that
climbs from dispersed points find, and is fitted to the draws of pilot runs that double in length.
Kernels of `Discrete` blocks have a law of independent blocks in its place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fermiac.distributions import Mixture, MultivariateNormal, Normal
from fermiac.distributions.law import subkey
from fermiac.mcmc.init import starts
from fermiac.mcmc.init_search import climbed
from fermiac.mcmc.tempering import Tempered
from fermiac.mcmc.tempering_discrete import BlocksFit, blocks_of
from fermiac.targets.density import LogDensity
from fermiac.targets.finite import FiniteDensity

if TYPE_CHECKING:
    from fermiac._base.progress import Report
    from fermiac.mcmc.job import Job

__all__ = ["tuned"]

Array = NDArray[np.float64]

#: The address of the random numbers of the pilot.
_PILOT = 0x70696C6F
#: The chains of the pilot runs, the lengths of their warm-ups and of their samples, and the number
#: of temperatures of the first.
_CHAINS, _ROUNDS, _FIRST = 4, (50, 100, 200), 8
#: Climbs begin at dispersed points, which are spread by each of these factors. Further waves begin
#: around the modes so far, until some of them find no new ones.
_CLIMBS, _SPREADS = 32, (1.0, 3.0, 10.0, 30.0)
_WAVE, _MOST_WAVES, _IDLE = 128, 10, 2
#: Climbs from the draws of a pilot run at which the reference is lowest.
_LOWEST = 8
#: A climb that ends less than this from a mode, in standard deviations, has found it again.
_SAME = 0.5
#: The largest number of modes, by their mass.
_MOST_MODES = 32
#: The weight of the wide component, and its standard deviations relative to those of all modes.
_WIDE, _WIDENING = 0.1, 2.0
#: The standard deviations of the other components, relative to those that are fitted.
_MARGIN = 1.1
#: The numbers of temperatures; about 2 Λ + 1 are best.
_LEAST, _MOST = 4, 64
#: The largest dimension for which the covariance of a mode is a whole matrix.
_DENSE = 200
#: The step of the differences of the gradient, in units of max(|x|, 1).
_STEP = 1e-5


@dataclass(frozen=True, eq=False)
class _FittedTempered(Tempered):
    """`Tempered` with a reference of the unconstrained coordinates, which the pilot has fitted."""

    _is_free: ClassVar[bool] = True

    said: str = ""

    def _settings(self) -> dict[str, Any]:
        return super()._settings() | {"reference": self.said}


def tuned(job: Job, workers: int, report: Report | None) -> tuple[Tempered, int]:
    """Return the kernel of a job with a reference and a number of temperatures, and its cost.

    The pilot is the same for any number of chains and for any part of them.

    Parameters
    ----------
    job : Job
        A job whose kernel is a `Tempered` kernel without a reference or without a number of
        temperatures.
    workers : int
        The number of threads.
    report : callable, optional
        The progress callback.

    Returns
    -------
    kernel : Tempered
        The kernel.
    n_evals : int
        The evaluations of the target, without those that the target counts itself.

    References
    ----------
    S. Syed, A. Bouchard-Côté, G. Deligiannidis, A. Doucet, "Non-reversible parallel tempering: a
    scalable highly parallel MCMC scheme", Journal of the Royal Statistical Society B, 2022,
    doi:10.1111/rssb.12464 (rounds that double, the number of temperatures).

    N. Surjanovic, S. Syed, A. Bouchard-Côté, T. Campbell, "Parallel tempering with a variational
    reference", Advances in Neural Information Processing Systems 35, 2022, arXiv:2206.00080.
    """
    kernel = job.kernel
    assert isinstance(kernel, Tempered)
    key = subkey(job.key, _PILOT)
    settings = replace(job.settings, n_chains=_CHAINS, thin=1, early=False, pool=True)
    pilot = replace(job, settings=settings, key=key, first=0, n_all=None)
    x0, n_evals = starts(None, pilot)
    fit: _Fit | BlocksFit | None = None
    if kernel.reference is None:
        blocks = blocks_of(kernel.kernel, job.target.dim, job.oracles())
        fit, more = (BlocksFit(blocks), 0) if blocks else _Fit.of_climbs(pilot, key)
        n_evals += more
    n = kernel.n_temperatures or (_FIRST if kernel.betas is None else len(kernel.betas))
    for number, length in enumerate(_ROUNDS):
        trial = _kernel(kernel, fit, n)
        draws, rejection, more = _run(
            pilot, trial, x0, length, subkey(key, number), workers, report
        )
        n_evals += more
        if fit is not None:
            n_evals += fit.learn(pilot.target, draws.reshape(-1, draws.shape[2]))
        if kernel.n_temperatures is None and kernel.betas is None:
            n = int(np.clip(np.ceil(2 * rejection) + 1, _LEAST, _MOST))
        x0 = draws[:, -1].copy()
    return _kernel(kernel, fit, n), n_evals


def _kernel(kernel: Tempered, fit: _Fit | BlocksFit | None, n: int) -> Tempered:
    if fit is None:
        return replace(kernel, n_temperatures=n)
    return _FittedTempered(kernel.kernel, fit.law(), n, kernel.betas, fit.said)


def _run(
    job: Job,
    kernel: Tempered,
    x0: Array,
    length: int,
    key: int,
    workers: int,
    report: Report | None,
) -> tuple[Array, float, int]:
    """Return the draws of a pilot run, the sum of its rejection rates, and its evaluations."""
    settings = replace(job.settings, n_warmup=length, n_draws=length)
    sampler, oracles = replace(job, kernel=kernel, settings=settings, key=key).sampler(x0)
    names, dim = sampler.stat_names, job.target.dim
    draws = np.empty((_CHAINS, length, dim))
    stats = np.empty((_CHAINS, length, len(names)))
    record = {
        "first": length,
        "thin": 1,
        "n_slots": length,
        "draws": draws,
        "log_densities": np.empty((_CHAINS, length)),
        "gradients": None,
        "stats": stats,
    }
    none = record | {"first": 0, "draws": None, "log_densities": None, "stats": None}
    total = 2 * length * _CHAINS
    for until, kept in ((length, none), (2 * length, record)):
        reached, error = False, None
        while not reached:
            reached, error = sampler.run(oracles, until, kept, None, workers, total, report, "auto")
            if error is not None:
                raise error
    pairs = [i for i, name in enumerate(names) if name.startswith("swap_rate.")]
    rates = np.nanmean(stats[:, :, pairs], axis=(0, 1))
    return draws, float((1 - rates).sum()), sampler.n_evals[0]


class _Fit:
    """A mixture of normal laws in the making: means, covariances and weights of its components."""

    def __init__(self, means: Array, covariances: Array, weights: Array) -> None:
        self.means, self.covariances, self.weights = means, covariances, weights

    @property
    def said(self) -> str:
        """What the settings of a run say of it."""
        return f"fitted: a mixture of {len(self.means) + 1} normal laws"

    @classmethod
    def of_climbs(cls, job: Job, key: int) -> tuple[_Fit, int]:
        """Return the normal approximations at the modes that climbs find, and the evaluations."""
        points, n_evals = starts(
            None, replace(job, settings=replace(job.settings, n_chains=_CLIMBS))
        )
        centre = 0.0 if job.model is None else job.model.initial_point
        wide = np.concatenate([centre + spread * (points - centre) for spread in _SPREADS])
        slopes = _with_gradient(job.target)
        modes = _Modes(slopes)
        modes.add(wide[_usable(slopes, wide)])
        idle = 0
        for wave in range(_MOST_WAVES):
            n_modes = len(modes.means)
            if not n_modes:
                modes.means, modes.covariances = list(points), [np.eye(points.shape[1])] * _CLIMBS
                modes.values = [0.0] * _CLIMBS
                break
            around = _Fit.of_modes(modes).round().sample(_WAVE, rng=subkey(key, wave))
            modes.add(around[_usable(slopes, around)])
            n_evals += _WAVE
            idle = idle + 1 if len(modes.means) == n_modes else 0
            if idle == _IDLE:
                break
        return cls.of_modes(modes), n_evals + modes.n_evals + len(wide)

    @classmethod
    def of_modes(cls, modes: _Modes) -> _Fit:
        """Return the normal approximations at the modes of the largest mass."""
        means, covariances = np.array(modes.means), np.array(modes.covariances)
        logs = np.array(modes.values) + 0.5 * np.linalg.slogdet(covariances)[1]
        kept = np.argsort(-logs)[:_MOST_MODES]
        mass = np.exp(logs[kept] - logs[kept[0]])
        # Half by mass and half alike: the mass of a mode by its curvature is a rough guess.
        weights = 0.5 * mass / mass.sum() + 0.5 / len(kept)
        return cls(means[kept], covariances[kept], weights)

    def law(self) -> Mixture:
        """Return the mixture, with a wide component that covers all others."""
        laws = [
            MultivariateNormal(m, _MARGIN**2 * c)
            for m, c in zip(self.means, self.covariances, strict=True)
        ]
        return Mixture([*((1 - _WIDE) * self.weights), _WIDE], [*laws, self._wide()])

    def round(self) -> Normal:
        """Return a law of independent coordinates that covers all components.

        Modes that are not known yet need not lie in the directions of the known ones.
        """
        wide = self._wide()
        return Normal(wide.mean, np.sqrt(np.diag(wide.cov)))

    def _wide(self) -> MultivariateNormal:
        """Return a normal law that covers all components."""
        mean = self.weights @ self.means
        apart = self.means - mean
        spread = np.einsum("k,kij->ij", self.weights, self.covariances)
        spread += (self.weights[:, None] * apart).T @ apart
        return MultivariateNormal(mean, _WIDENING**2 * spread)

    def learn(self, target: LogDensity, draws: Array) -> int:
        """Fit the components to draws of the target, and return the number of evaluations.

        Climbs from the draws at which the mixture is lowest look for modes that are missing. A
        component without draws keeps its place, with a small weight.
        """
        logs = self._logs(draws)
        slopes = _with_gradient(target)
        modes = _Modes(slopes)
        modes.means, modes.covariances = list(self.means), list(self.covariances)
        modes.values = [0.0] * len(self.means)
        before = len(self.means)
        modes.add(draws[np.argsort(logs.max(axis=1))[:_LOWEST]])
        self.means = np.array(modes.means[:_MOST_MODES])
        self.covariances = np.array(modes.covariances[:_MOST_MODES])
        new = len(self.means) - before
        self.weights = np.concatenate([self.weights, np.full(new, 1 / len(self.means))])
        self.weights /= self.weights.sum()
        owner = self._logs(draws).argmax(axis=1)
        counts = np.bincount(owner, minlength=len(self.means)).astype(float)
        prior = draws.shape[1] + 10.0
        for k in np.flatnonzero(counts > 1):
            own = draws[owner == k]
            mean = own.mean(axis=0)
            moments = (own - mean).T @ (own - mean)
            old = self.covariances[k]
            self.covariances[k] = (moments + prior * old) / (counts[k] + prior)
            self.means[k] = mean
        self.weights = (counts + 2) / (counts + 2).sum()
        return modes.n_evals

    def _logs(self, x: Array) -> Array:
        """Return the log-densities (n, k) of the components, with their weights."""
        laws = (
            MultivariateNormal(m, _MARGIN**2 * c)
            for m, c in zip(self.means, self.covariances, strict=True)
        )
        return np.stack(
            [law.log_density(x) + np.log(w) for law, w in zip(laws, self.weights, strict=True)],
            axis=1,
        )


class _Modes:
    """The modes that climbs have found, with normal approximations there."""

    def __init__(self, target: LogDensity) -> None:
        self.target = target
        self.means: list[Array] = []
        self.covariances: list[Array] = []
        self.values: list[float] = []
        self.n_evals = 0

    def add(self, points: Array) -> None:
        """Climb from points, and add the modes that are new."""
        if not len(points):
            return
        with np.errstate(all="ignore"):
            paths, n_evals = climbed(self.target, points)
            ends = np.array([path[-1][0] for path in paths])
            values, _ = self.target._evaluate(ends, False)
        self.n_evals += n_evals + len(ends)
        for i in np.argsort(-values):
            if np.isfinite(values[i]) and not self._known(ends[i]):
                covariance = self._curvature(ends[i])
                if covariance is not None:
                    self.means.append(ends[i])
                    self.covariances.append(covariance)
                    self.values.append(float(values[i]))

    def _known(self, x: Array) -> bool:
        for mean, covariance in zip(self.means, self.covariances, strict=True):
            off = x - mean
            if off @ np.linalg.solve(covariance, off) < _SAME**2:
                return True
        return False

    def _curvature(self, x: Array) -> Array | None:
        """Return the covariance of the normal approximation, from differences of the gradient."""
        dim = len(x)
        steps = _STEP * np.maximum(np.abs(x), 1.0)
        shifts = np.diag(steps)
        with np.errstate(all="ignore"):
            _, slopes = self.target._evaluate(np.concatenate([x + shifts, x - shifts]), True)
        self.n_evals += 2 * dim
        assert slopes is not None
        hessian = (slopes[:dim] - slopes[dim:]) / (2 * steps[:, None])
        if not np.isfinite(hessian).all():
            return None
        precision = -(hessian + hessian.T) / 2
        if dim > _DENSE:
            precision = np.diag(np.diag(precision))
        values, vectors = np.linalg.eigh(precision)
        largest = values[-1]
        if not largest > 0:
            return None
        # Flat directions are at most a thousand times as wide as the narrowest one.
        values = np.maximum(values, 1e-6 * largest)
        return np.asarray((vectors / values) @ vectors.T)


def _with_gradient(target: LogDensity) -> LogDensity:
    return target if target.has_gradient else FiniteDensity(target)


def _usable(target: LogDensity, x: Array) -> NDArray[np.bool_]:
    with np.errstate(all="ignore"):
        values, slopes = target._evaluate(x, True)
    assert slopes is not None
    return np.isfinite(values) & np.isfinite(slopes).all(axis=1)
