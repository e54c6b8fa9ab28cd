"""Allocation of the points of dynamic runs: the importance of samples, and where to add more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac._base.validate import positive, probability, whole

__all__ = ["Dynamic", "Volumes", "joined", "seeds_above"]

Array = NDArray[np.float64]
#: Points are added between the levels where the importance is above this share of its maximum.
_SHARE = 0.8
#: Families of seeds are numbered from here during a run, new families from 0.
_SEEDS = 1 << 40


@dataclass(frozen=True, kw_only=True)
class Dynamic:
    r"""Targets of dynamic nested sampling, and the allocation of its points.

    After a run with ``n_live`` points, batches of points are added where they gain most. The
    importance of a sample is :math:`G` times its share of the posterior, plus :math:`1 - G` times
    its share of the noise of the evidence, which is the remaining evidence divided by the number of
    live points [1]_. Each batch is a separate run between the levels where the importance is above
    0.8 of its maximum. It starts from existing points above the lower level, and is merged with the
    other runs.

    Parameters
    ----------
    posterior_share : float, default 0.8
        :math:`G`, from 0 (points for the evidence alone) to 1 (for the posterior alone).
    target_ess : float, default 10_000
        The target for the effective sample size of the posterior.
    target_stderr : float, default 0.1
        The target for the standard error of log Z. The run ends when
        :math:`G\,t_{ess} / ess + (1 - G)\,\sigma / t_\sigma \le 1`.
    n_batch : int, optional
        The number of live points of a batch; `n_live` by default.
    max_batches : int, optional
        The largest number of batches.
    explore_every : int or None, default 4
        Every batch with this number starts with draws from the prior, whatever the importance. Only
        such a batch can find a mode that the first run has missed. None for never.

    References
    ----------
    .. [1] E. Higson, W. Handley, M. Hobson, A. Lasenby, "Dynamic nested sampling: an improved
       algorithm for parameter estimation and evidence calculation", Statistics and Computing, 2019,
       doi:10.1007/s11222-018-9844-0.

    Examples
    --------
    >>> import fermiac as fm
    >>> prior = fm.distributions.Uniform([-9.0, -9.0], [9.0, 9.0])
    >>> aim = fm.nested.Dynamic(posterior_share=1.0, target_ess=3000)
    >>> law = fm.distributions.Normal([0.0, 0.0])
    >>> r = fm.nested.sample(law, prior, n_live=100, dynamic=aim, rng=0)
    >>> bool(r.ess >= 3000)
    True
    """

    posterior_share: float = 0.8
    target_ess: float = 10_000
    target_stderr: float = 0.1
    n_batch: int | None = None
    max_batches: int | None = None
    explore_every: int | None = 4

    def __post_init__(self) -> None:
        probability("posterior_share", self.posterior_share, zero=True, one=True)
        positive("target_ess", self.target_ess)
        positive("target_stderr", self.target_stderr)
        for name, least in (("n_batch", 1), ("max_batches", 0), ("explore_every", 1)):
            given = getattr(self, name)
            if given is not None:
                whole(name, given, least, 2**31)

    def measure(self, ess: float, stderr: float) -> float:
        """Return the distance from the targets; at 1 or below they are reached."""
        g = self.posterior_share
        return g * self.target_ess / ess + (1 - g) * stderr / self.target_stderr


class Volumes:
    """The prior masses of the points so far, and the levels between which to add more."""

    def __init__(self, points: dict[str, Any]) -> None:
        self._order = np.argsort(points["log_likelihoods"], kind="stable")
        self.ell: Array = points["log_likelihoods"][self._order]
        self._got = _core.nested_volumes(self.ell, points["births"][self._order])
        self.ess, self.stderr = float(self._got["ess"]), float(self._got["log_evidence_stderr"])

    def importance(self, posterior_share: float) -> Array:
        """Return the importance of each sample, in the order of their levels."""
        got = self._got
        with np.errstate(invalid="ignore"):
            p = np.exp(got["log_prior_masses"] + self.ell - got["log_evidence"])
        z = np.cumsum(p[::-1])[::-1] / got["n_alive"]
        out: Array = posterior_share * p / p.sum() + (1 - posterior_share) * z / z.sum()
        return out

    def between(self, posterior_share: float, n_least: int, births: Array) -> tuple[float, float]:
        """Return the levels to add points between, one sample beyond the important ones.

        At least `n_least` points are alive at the lower level, to start from. The lower level is
        -inf, which means the whole prior, if there is no such level.
        """
        importance = self.importance(posterior_share)
        wanted = np.flatnonzero(importance > _SHARE * importance.max())
        first, last = int(wanted[0]) - 1, int(wanted[-1]) + 1
        high = float(self.ell[last]) if last < len(self.ell) else np.inf
        births = births[self._order]
        while first >= 1:
            low = float(self.ell[first])
            if np.count_nonzero((births <= low) & (self.ell > low)) >= n_least:
                return low, high
            # On a plateau, or at the end of the run, there are few live points.
            first = min(int(np.searchsorted(self.ell, low)) - 1, first - n_least)
        return -np.inf, high

    def below(self, level: float) -> tuple[float, float]:
        """Return the logarithms of the prior mass above a level and of the evidence below it."""
        n, got = int(np.searchsorted(self.ell, level, side="right")), self._got
        parts = got["log_prior_masses"][:n] + self.ell[:n]
        return float(got["log_x"][n - 1]), float(np.logaddexp.reduce(parts))


def seeds_above(points: dict[str, Any], level: float, volumes: Volumes) -> dict[str, Any]:
    """Return the points from which a run above a level starts, as the core takes them."""
    ell = points["log_likelihoods"]
    # The points alive at the level are uniform above it.
    alive = np.flatnonzero((points["births"] <= level) & (ell > level))
    alive = alive[np.argsort(ell[alive], kind="stable")]
    log_x, log_evidence = volumes.below(level)
    return {
        "run_draws": np.ascontiguousarray(points["run_draws"][alive]),
        "log_likelihoods": ell[alive],
        "families": points["families"][alive] + _SEEDS,
        "level": level,
        "log_x": log_x,
        "log_evidence": log_evidence,
    }


def joined(first: dict[str, Any] | None, more: dict[str, Any]) -> dict[str, Any]:
    """Return the points of two runs, the second of which may have started from the first.

    The second run has new lineages. Points drawn from the prior or a bound have new families;
    chains keep the families of their seeds.
    """
    if first is None:
        return more
    own = more["families"] < _SEEDS
    shift = 1 + int(first["families"].max(initial=-1))
    new = {
        **more,
        "lineages": more["lineages"] + 1 + int(first["lineages"].max(initial=-1)),
        "families": np.where(own, more["families"] + shift, more["families"] - _SEEDS),
    }
    return {name: np.concatenate([values, new[name]]) for name, values in first.items()}
