"""The call `fermiac.mcmc.smc`: waste-free sequential Monte Carlo from a prior to a posterior."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import reporter
from fermiac._base.validate import labels, probability, whole, yes
from fermiac.distributions import Law, Product, as_law
from fermiac.distributions.law import refuse_points
from fermiac.errors import ArgumentError
from fermiac.mcmc.smc_loop import KIND, SmcLoop
from fermiac.mcmc.smc_result import SmcSample
from fermiac.random import RngLike, key_of
from fermiac.runs.checkpoint import RunCheckpoint
from fermiac.runs.loop import run_and_warn
from fermiac.runs.shards import evaluated
from fermiac.targets import as_target
from fermiac.targets.named import named_law, names_of

if TYPE_CHECKING:
    from fermiac._base.variables import Params
    from fermiac.targets.density import LogDensity

__all__ = ["smc"]

Array = NDArray[np.float64]


@public
def smc(
    log_likelihood: LogDensity | Callable[..., ArrayLike] | Any,
    prior: Law | Sequence[Any] | Mapping[str, Any],
    n_particles: int = 8192,
    *,
    params: Params | None = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    n_islands: int = 8,
    n_steps: int = 16,
    ess: float = 0.5,
    names: Sequence[str] | None = None,
    check: bool = True,
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> SmcSample:
    r"""Sample a posterior and its evidence by waste-free sequential Monte Carlo [1]_ [2]_.

    Particles from the prior are carried to the posterior through laws proportional to the prior
    times a power of the likelihood. In each stage the next power is chosen, the particles are
    reweighted and resampled, and chains from them move; all points of the chains are the particles
    of the next stage. All particles of a step are evaluated in one batch, which suits likelihoods
    that are fast in large batches.

    Parameters
    ----------
    log_likelihood : log-density, torch module, native function or callable
        The log-likelihood, in any form that `fermiac.targets.as_target` accepts. A function takes a
        batch of points, shape (n, d), and returns (n,) values, -inf where the likelihood is 0. With
        `params`, or a prior by names, it takes the parameters by name.
    prior : law, sequence of laws, or mapping
        A law with a map from the unit cube; a list of laws for the coordinates in order; or a
        mapping from names of parameters to their laws (see `fermiac.distributions.Joint`).
    n_particles : int, default 8192
        The number of particles. It is rounded down to a multiple of ``n_islands * n_steps``, of
        which at least two are needed.
    params : sequence or mapping, optional
        Names of the parameters, with their shapes; see `fermiac.targets.as_target`.
    args, kwargs : tuple, mapping
        Further arguments of the function.
    n_islands : int, default 8
        The islands, at least 2. Particles are resampled within an island, so that the spread of the
        islands gives the errors.
    n_steps : int, default 16
        The points of a chain in each stage, at least 2.
    ess : float, default 0.5
        The effective sample size of the reweighted particles in a stage, as a share of their
        number, above 0 and below 1. The powers of the likelihood follow from it.
    names : sequence of str, optional
        The names of the parameters; by default those of the prior.
    check : bool, default True
        Whether the rows of a Python function are compared at its first call.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``); see `fermiac.Plan`.
        ``store``: a folder for the state of the run, from which the same call goes on.

    Returns
    -------
    SmcSample
        The particles, ``log_evidence`` and ``log_evidence_stderr``.

    Raises
    ------
    ArgumentError
        If an argument is outside its domain, or the prior has no map from the unit cube.
    TargetError
        If the likelihood fails, is 0 at all particles, or is +inf.
    CheckpointError
        If a file in the store is damaged, belongs to another run, or cannot be written.
    WorkerError
        If workers of the executor are lost.
    KeyboardInterrupt
        On Ctrl-C; its ``partial_result`` is None, because no particle is a draw of the posterior
        before the end.

    Warns
    -----
    ConvergenceWarning
        If the islands disagree about the evidence by more than e in standard deviation, if the
        moves of the last stage were hardly ever accepted, if the chains of a stage forget their
        starts so slowly that regions may be lost, or if the likelihood was NaN at more than one of
        a thousand points.

    See Also
    --------
    fermiac.nested.sample : Nested sampling, with the same arguments.
    fermiac.mcmc.Tempered : Parallel tempering.

    Notes
    -----
    Chains move in coordinates in which the prior is a standard normal law. With the mean m and the
    covariance C of all particles before resampling, a proposal is
    :math:`z' = m + \rho (z - m) + \sqrt{1 - \rho^2}\, \sqrt{(\nu + \delta) / \chi^2_{\nu + d}}\, L
    \xi`, where :math:`\delta = (z - m)^\top C^{-1} (z - m)`, :math:`C = L L^\top` and
    :math:`\nu = 5`. It leaves Student's t-law with these parameters as it is, so that its
    acceptance depends on how far the law of the stage is from that, and not on the dimension [3]_.
    The step :math:`\sqrt{1 - \rho^2}` follows the acceptance rate of the stage before.

    The evidence of an island is unbiased up to the adaptation, which all islands share. The
    estimate is the mean over the islands, and averages of the draws weight the islands by their
    evidences.

    References
    ----------
    .. [1] P. Del Moral, A. Doucet, A. Jasra, "Sequential Monte Carlo samplers", Journal of the
       Royal Statistical Society B, 2006, doi:10.1111/j.1467-9868.2006.00553.x.
    .. [2] H.-D. Dau, N. Chopin, "Waste-free sequential Monte Carlo", Journal of the Royal
       Statistical Society B, 2022, arXiv:2011.02328.
    .. [3] K. Kamatani, "Efficient strategy for the Markov chain Monte Carlo in high-dimension with
       heavy-tailed target probability distribution", Bernoulli, 2018, arXiv:1412.6231.

    Examples
    --------
    >>> import numpy as np
    >>> import fermiac as fm
    >>> def log_likelihood(x):
    ...     return np.logaddexp(
    ...         *(-0.5 * ((x - m) ** 2).sum(axis=1) / 0.01 for m in (-1, 1))
    ...     )
    >>> prior = fm.distributions.Uniform([-2.0, -2.0], [2.0, 2.0])
    >>> s = fm.mcmc.smc(log_likelihood, prior, rng=0)
    >>> exact = np.log(2 * 2 * np.pi * 0.01 / 16)
    >>> bool(abs(s.log_evidence - exact) < 5 * s.log_evidence_stderr)
    True
    """
    where = plan_of(plan, "executor", "store")
    start = time.perf_counter()
    law, by_prior = named_law(prior, params)
    law = _prior(law)
    target = as_target(
        log_likelihood,
        law.dim,
        params=by_prior,
        args=args,
        kwargs=kwargs,
        check=yes("check", check),
    )
    islands = whole("n_islands", n_islands, 2, 10_000)
    length = whole("n_steps", n_steps, 2, 10**6)
    given = whole("n_particles", n_particles, 1, 2**40)
    chains = given // (islands * length)
    if chains < 2:
        raise ArgumentError(
            f"n_particles: {given} given; {2 * islands * length} or more are needed, for two "
            f"chains of {length} points in each of {islands} islands"
        )
    share = probability("ess", ess)
    known = labels(names_of(names, by_prior), law.dim, "parameter")
    workers = resolve_threads(where.n_threads)
    settings: dict[str, Any] = {
        "n_particles": chains * islands * length,
        "n_islands": islands,
        "n_steps": length,
        "ess": share,
        "prior": repr(law),
    }
    kept = RunCheckpoint.of(where, KIND)
    key = key_of(rng) if kept is None else kept.key(rng)
    if kept is not None:
        identity = {"version": _core.__version__, "isa": _core.isa_level, "seed": key}
        kept.begin({**identity, "dim": law.dim, **settings})
    with (
        reporter(where.progress, "smc", "thousandths") as report,
        evaluated(target, where.executor, workers, report) as (asked, report),
    ):
        loop = SmcLoop(
            start=start,
            report=report,
            checkpoint=kept,
            target=asked,
            law=law,
            shape=(islands, chains, length),
            share=share,
            key=key,
            names=known,
            settings=settings,
        )
        return run_and_warn(loop.run, loop.findings)


def _prior(given: Any) -> Law:
    """Return the prior as a law with a map from the unit cube."""
    if isinstance(given, Sequence) and not isinstance(given, str):
        if not given:
            raise ArgumentError("prior: no law was given; at least one is needed")
        law: Law = Product([as_law(one, "prior") for one in given])
    else:
        law = as_law(given, "prior")
    refuse_points("prior", law._measure(), "smc", "use fermiac.nested.sample for such parameters")
    if not math.isfinite(float(np.sum(law.from_unit(np.full((1, law.dim), 0.5))))):
        raise ArgumentError(f"prior: {law!r} maps the centre of the unit cube to infinity")
    return law
