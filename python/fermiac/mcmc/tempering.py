"""Parallel tempering, and its estimate of the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fermiac import _core, special
from fermiac._base.calls import public
from fermiac._base.validate import numbers, shown, whole
from fermiac.distributions import Law
from fermiac.errors import ArgumentError
from fermiac.mcmc.hamiltonian import NUTS
from fermiac.mcmc.kernel import Kernel, Oracles, Spec
from fermiac.mcmc.python_kernel import as_kernel
from fermiac.mcmc.slice import Slice
from fermiac.results import Estimate, Sample
from fermiac.targets import as_target
from fermiac.targets.density import LogDensity
from fermiac.targets.transformed_density import TransformedDensity

__all__ = ["Tempered", "log_evidence"]

Array = NDArray[np.float64]

#: The first inverse temperatures are this power of equal steps: dense near the reference.
_POWER = 3
#: The number of temperatures where no pilot run chooses it: in a part of another kernel.
_DEFAULT = 8
#: The halvings of the interval of a logarithm of a ratio of integrals.
_BISECTIONS = 60


@dataclass(frozen=True, eq=False)
class Tempered(Kernel):
    r"""Parallel tempering: chains between a reference law and the target that swap their points.

    Chain j samples the log-density :math:`\beta_j \log p + (1 - \beta_j) \log r`. The inverse
    temperatures run from :math:`\beta = 1` for the target p, whose points are the draws, to
    :math:`\beta = 0` for the reference r. After every transition neighbours propose to swap their
    points, even and odd pairs in turn [1]_. The draws can thus move between modes by way of the
    reference.

    Parameters
    ----------
    kernel : Kernel or str, optional
        The kernel of every chain. It is adapted at each temperature separately. By default `NUTS`
        for a target with a gradient, otherwise `Slice`.
    reference : Law or LogDensity, optional
        A law that covers the target, with a gradient if the kernel needs one: the prior, or a
        normal law as wide as the target. By default a mixture of normal laws, or a law of discrete
        blocks, that pilot runs fit to the target (see Notes).
    n_temperatures : int, optional
        The number of temperatures, both ends included. By default a pilot run chooses it: about
        2Λ + 1 are best, where Λ is the sum of the rejection rates of the pairs (1 minus the means
        of ``swap_rate.0``, ...) [1]_. As a part of another kernel it is 8.
    betas : sequence of float, optional
        Fixed inverse temperatures, from 1 down to 0; by default the warm-up adapts them until all
        pairs have the same rejection rate.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain. `sample` raises it if the kernel is an ensemble,
        treats the target as a likelihood, has parts that cannot be tempered (exact draws), or moves
        only a block of the coordinates.

    See Also
    --------
    log_evidence : The integral of the target's density, from a tempered run.

    Notes
    -----
    Statistics of a transition, in addition to those of the kernel at the target: ``beta.j``;
    ``log_ratio.j``, log p - log r at the point of chain j; ``swap_rate.j``, the acceptance
    probability of the pair j, j + 1 (NaN if it was not its turn), ``swap_rate``, their mean; and
    ``round_trips``, the number of points that have come from the reference to the target since the
    warm-up.

    A transition costs an evaluation of target and reference for every step of each chain; those of
    all chains are requested together. The points of a reference that is a built-in law of the
    coordinates in which the chains move are independent draws.

    Without a reference, climbs by a quasi-Newton method from dispersed points look for modes. The
    reference begins as a mixture of normal approximations there, with a wide component, and is
    fitted to the draws of three pilot runs of 4 chains and 100, 200 and 400 transitions, in the
    spirit of [2]_. The pilot costs about as much as 700 transitions; its evaluations count in
    ``n_evals``. A mode that neither the climbs nor the pilot runs meet is missing from the draws,
    and nothing can tell: use a reference that covers it, or nested sampling, where this may happen.

    References
    ----------
    .. [1] S. Syed, A. Bouchard-Côté, G. Deligiannidis, A. Doucet, "Non-reversible parallel
       tempering: a scalable highly parallel MCMC scheme", Journal of the Royal Statistical Society
       B, 2022, doi:10.1111/rssb.12464.
    .. [2] N. Surjanovic, S. Syed, A. Bouchard-Côté, T. Campbell, "Parallel tempering with a
       variational reference", Advances in Neural Information Processing Systems 35, 2022,
       arXiv:2206.00080.

    Examples
    --------
    Two modes that are 20 standard deviations apart:

    >>> import numpy as np
    >>> import fermiac as fm
    >>> def log_density(x):
    ...     return np.logaddexp(-0.5 * (x[:, 0] - 10) ** 2, -0.5 * (x[:, 0] + 10) ** 2)
    >>> s = fm.mcmc.sample(log_density, 1, kernel=fm.mcmc.Tempered(fm.mcmc.RWM()), rng=0)
    >>> bool(abs((s.draws > 0).mean() - 0.5) < 0.1)
    True

    The same with a reference of one's own:

    >>> kernel = fm.mcmc.Tempered(
    ...     fm.mcmc.RWM(), reference=fm.distributions.Normal(0.0, 15.0)
    ... )
    >>> s = fm.mcmc.sample(log_density, 1, kernel=kernel, rng=0)
    >>> s.settings["n_temperatures"] >= 4
    True
    """

    _moves_finitely: ClassVar[bool] = False

    can_be_tempered: ClassVar[bool] = False
    _asks_many: ClassVar[bool] = True

    kernel: Any = None
    reference: Any = None
    n_temperatures: int | None = None
    betas: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if self.n_temperatures is not None:
            whole("n_temperatures", self.n_temperatures, 2, 10_000)
        self._betas()
        if self.kernel is None:
            return
        kernel = as_kernel(self.kernel)
        if not kernel.can_be_tempered:
            raise ArgumentError(
                f"kernel: {type(kernel).__name__} cannot be tempered; a kernel that is not written "
                "in Python, nor tempered itself, is needed"
            )
        if kernel._adds_prior():
            raise ArgumentError(
                "kernel: EllipticalSlice with target='likelihood' adds its prior at every "
                "temperature; give the posterior's log-density, and use EllipticalSlice(prior, "
                "'posterior')"
            )
        object.__setattr__(self, "kernel", kernel)
        object.__setattr__(self, "needs_gradient", kernel.needs_gradient)
        object.__setattr__(self, "needs_volume", kernel.needs_volume)

    @property
    def _is_tuned(self) -> bool:
        """Whether no pilot is needed."""
        known = self.n_temperatures is not None or self.betas is not None
        return known and self.reference is not None

    def _for_target(self, target: LogDensity) -> Kernel:
        if self.kernel is not None:
            return self
        return replace(self, kernel=NUTS() if target.has_gradient else Slice())

    def _betas(self) -> list[float]:
        n = self.n_temperatures or _DEFAULT
        if self.betas is None:
            return [(1 - j / (n - 1)) ** _POWER for j in range(n)]
        betas = numbers("betas", self.betas)
        good = betas.ndim == 1 and betas.size > 1 and betas[0] == 1 and betas[-1] >= 0
        if not good or not (np.diff(betas) < 0).all():
            raise ArgumentError(
                f"betas: {np.array2string(betas, threshold=8)} given; two or more numbers that "
                "descend from 1, to 0 or above, are needed"
            )
        out: list[float] = betas.tolist()
        return out

    def _spec(self, dim: int, oracles: Oracles) -> Spec:
        if dim != oracles.target.dim:
            raise ArgumentError(
                f"kernel: Tempered for a block of {dim} of {oracles.target.dim} coordinates; it "
                "moves whole points: temper the composition instead"
            )
        if self.kernel is None or self.reference is None:
            raise ArgumentError(
                "kernel: Tempered without kernel or reference learns them only as the kernel of a "
                "whole run; give both where it is a part of another kernel"
            )
        self.kernel._check_part()
        before = len(oracles)
        spec = self.kernel._spec(dim, oracles)
        if len(oracles) != before:
            raise ArgumentError(
                f"kernel: {type(self.kernel).__name__} has parts beside the log-density (exact "
                "draws, tables), which are valid at one temperature only; temper a kernel without "
                "them"
            )
        reference = self._reference(oracles.target)
        return "tempered", {
            "kernel": spec,
            "betas": self._betas(),
            "oracle": oracles.add("density", reference._handle),
            "adapt": self.betas is None,
            "law": self._law(oracles.target),
        }

    def _uses_gradient(self, dim: int, oracles: Oracles) -> NDArray[np.bool_]:
        kernel: Kernel = self.kernel
        return kernel._uses_gradient(dim, oracles)

    def _place_starts(self, x: Array, oracles: Oracles) -> None:
        if self.kernel is not None:
            self.kernel._place_starts(x, oracles)

    #: Whether the reference is a law of the unconstrained coordinates in any case.
    _is_free: ClassVar[bool] = False

    def _law(self, target: LogDensity) -> _core.Law | None:
        """Return the reference if its points can be drawn independently."""
        if isinstance(target, TransformedDensity) and not self._is_free:
            return None
        law = self.reference if isinstance(self.reference, Law) else None
        return None if law is None else law._handle

    def _reference(self, target: LogDensity) -> LogDensity:
        """Return the reference over the coordinates in which the chain moves."""
        if isinstance(target, TransformedDensity) and not self._is_free:
            inner = as_target(self.reference, target.constrained_dim)
            reference: LogDensity = TransformedDensity(inner, target.transforms, None)
        else:
            reference = as_target(self.reference, target.dim)
        if self.needs_gradient and not reference.has_gradient:
            raise ArgumentError(
                f"reference: {shown(self.reference)} has no gradient, which "
                f"{type(self.kernel).__name__} needs; give a law that has one (Normal, Student-t, "
                "...), or use a kernel without gradients: RWM()"
            )
        return reference

    def _settings(self) -> dict[str, Any]:
        return {
            "kernel": "Tempered",
            "tempered": self.kernel._settings(),
            "reference": repr(self.reference),
            "n_temperatures": len(self._betas()),
            "betas": None if self.betas is None else self._betas(),
        }


def _logistic(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)), 0 at -inf."""
    out: Array = 1 / (1 + special.exp(-x))
    return out


def _bridge(hot: Array, cold: Array) -> Array:
    """Return log(Z of the colder density / Z of the hotter one) for each chain.

    `hot` and `cold` are the differences of their log-densities, (chains, n), at the draws of
    either. The result c solves sum(logistic(hot - c)) = sum(logistic(c - cold)), by bisection: the
    left side falls with c, and the right side grows.
    """
    known = [np.where(np.isfinite(each), each, np.nan) for each in (hot, cold)]
    low = np.fmin(np.nanmin(known[0], axis=1), np.nanmin(known[1], axis=1)) - 50
    high = np.fmax(np.nanmax(known[0], axis=1), np.nanmax(known[1], axis=1)) + 50
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        left = _logistic(hot - middle[:, None]).sum(axis=1)
        right = _logistic(middle[:, None] - cold).sum(axis=1)
        low, high = np.where(left > right, middle, low), np.where(left > right, high, middle)
    met = _logistic(hot - high[:, None]).sum(axis=1) > 0
    return np.where(met, (low + high) / 2, np.nan)


@public
def log_evidence(sample: Sample) -> Estimate:
    r"""Estimate the logarithm of the integral of a tempered target's density.

    Neighbouring temperatures are joined by bridge sampling [1]_ [2]_. With the difference Δ of
    their log-densities, the logarithm c of the ratio of their integrals solves
    :math:`\sum_h (1 + e^{c - \Delta_h})^{-1} = \sum_k (1 + e^{\Delta_k - c})^{-1}`, where h are the
    draws of the hotter and k those of the colder one. All terms are below 1, so that the error
    holds also for a reference with lighter tails than the target. The estimate is averaged over the
    chains of the run. The reference must be normalised, as laws are.

    Parameters
    ----------
    sample : Sample
        A result of `fermiac.mcmc.sample` with a `Tempered` kernel.

    Returns
    -------
    Estimate
        ``mean`` and ``stderr`` of log Z. The error accounts for the autocorrelation of the draws.

    Raises
    ------
    ArgumentError
        If the sample is from another kernel, or its temperatures do not end at the reference.

    References
    ----------
    .. [1] C. H. Bennett, "Efficient estimation of free energy differences from Monte Carlo data",
       Journal of Computational Physics, 1976, doi:10.1016/0021-9991(76)90078-4.
    .. [2] X.-L. Meng, W. H. Wong, "Simulating ratios of normalizing constants via a simple
       identity: a theoretical exploration", Statistica Sinica, 1996.

    Examples
    --------
    >>> import fermiac as fm
    >>> kernel = fm.mcmc.Tempered(
    ...     fm.mcmc.RWM(), reference=fm.distributions.Normal(0.0, 3.0)
    ... )
    >>> s = fm.mcmc.sample(lambda x: -0.5 * x[:, 0] ** 2, 1, kernel=kernel, rng=0)
    >>> z = fm.mcmc.log_evidence(s)
    >>> bool(abs(z.mean - 0.9189385) < 5 * z.stderr)
    True
    """
    from fermiac import diagnostics

    stats = getattr(sample, "stats", {})
    if "beta.1" not in stats:
        raise ArgumentError(
            "sample: it has no statistics of temperatures; give one of fermiac.mcmc.sample with "
            "kernel=fermiac.mcmc.Tempered(...)"
        )
    n = sum(name.startswith("beta.") for name in stats)
    betas, ratios = (
        np.stack([np.asarray(stats[f"{name}.{j}"]) for j in range(n)])
        for name in ("beta", "log_ratio")
    )
    if betas[-1].any():
        raise ArgumentError(
            f"sample: its last inverse temperature is {betas[-1].flat[0]:g}; 0, the reference "
            "itself, is needed there"
        )
    # Every chain has its own temperatures, and so its own estimate.
    total = np.zeros(betas.shape[1:])
    values = np.zeros(len(total))
    for j in range(1, n):
        step = betas[j - 1] - betas[j]
        hot, cold = step * ratios[j], step * ratios[j - 1]
        shift = _bridge(hot, cold)
        if not np.isfinite(shift).all():
            raise ArgumentError(
                f"sample: the densities of temperatures {j - 1} and {j} do not overlap; give more "
                "temperatures, or a reference that covers the target"
            )
        values += shift
        up, down = _logistic(hot - shift[:, None]), _logistic(shift[:, None] - cold)
        total += up / up.mean(axis=1, keepdims=True) - down / down.mean(axis=1, keepdims=True)
    # The terms of a chain have the mean 0; with its estimate, differences of chains count as well.
    total += values[:, None]
    stderr = float(diagnostics.mcse(total, kind="mean"))
    ess = float(diagnostics.ess(total, kind="mean"))
    return Estimate(
        seed=sample.seed,
        version=sample.version,
        isa=sample.isa,
        settings=dict(sample.settings),
        n_evals=sample.n_evals,
        wall_time=sample.wall_time,
        mean=float(values.mean()),
        stderr=stderr,
        cov=stderr**2,
        ess=ess,
        khat=float("nan"),
        names=("log_evidence",),
        method="bridge",
        df=max(ess - 1, 1.0),
    )
