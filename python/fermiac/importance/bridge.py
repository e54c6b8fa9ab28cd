"""Bridge sampling: the evidence of a density from draws of Markov chains."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fermiac import _core
from fermiac._base import layout as fit
from fermiac._base.calls import public
from fermiac._base.config import resolve_threads
from fermiac._base.plan import PlanLike, plan_of
from fermiac._base.progress import finish, reporter
from fermiac._base.validate import choice, probability, real, shown, taken, whole
from fermiac._base.variables import Params
from fermiac.distributions.law import Law, subkey
from fermiac.errors import ArgumentError, ConvergenceWarning, TargetError, WeightWarning
from fermiac.importance.sampler import Sampler, components_of
from fermiac.random import RngLike, key_of
from fermiac.results import Result, Sample
from fermiac.results.chain_errors import MOST_RHAT, chain_shape, is_ensemble, rank_rhat
from fermiac.results.error_models import Average, average, error_model_of
from fermiac.results.result import Finding, warn
from fermiac.runs.checkpoint import Log, identity_of
from fermiac.runs.shards import evaluation
from fermiac.targets import as_target
from fermiac.targets.conversion import Gradient
from fermiac.targets.model import ModelTarget
from fermiac.targets.models import is_model

if TYPE_CHECKING:
    from fermiac.targets.density import LogDensity

__all__ = ["BridgeEvidence", "bridge"]

Array = NDArray[np.float64]
#: The smallest number of draws of a chain on either side of the cut.
_LEAST = 8
#: The largest R-hat of a coordinate without a warning. Chains that have mixed badly within one mode
#: still give a right error; chains in different modes have a far larger R-hat.
_APART = 1.05
#: The smallest effective sample size of a chain that gives no warning.
_LEAST_ESS = 100.0
#: The smallest number of proposals that carry the estimate without a warning.
_FEW = 50.0
#: The largest error of log Z at which the delta method holds.
_LARGE = 0.3
#: The number of bisections of the equation of log Z, which end at its rounding.
_HALVINGS = 200
#: The rows of a batch: as many as a run of `evidence` asks at once.
_BATCH = 16 * _core.CHUNK


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class BridgeEvidence(Result):
    """The evidence of a density, from draws of it and draws from a fitted proposal.

    Attributes
    ----------
    log_evidence : float
        log Z, where Z is the integral of the density.
    log_evidence_stderr : float
        Its standard error: the relative standard error of the estimate of Z.
    df : float
        The degrees of freedom of the error; see `interval`.
    ess : float
        The effective sample size of the draws that are not used for the fit, for the average that
        enters the estimate.
    ess_proposal : float
        The number of proposals that carry the estimate: (Σa)² / Σa², where a is the function of
        the proposals that is averaged.
    overlap : float
        The overlap of the normalised density and the proposal, from 0 to 1: their harmonic mean,
        with shares in proportion to the effective numbers of draws, integrated. At 1 they are
        equal.
    rhat : float
        The largest R-hat of a coordinate over all draws; 1 for independent draws, NaN if it is not
        defined.
    converged : bool
        Whether no warning was given.
    n_draws, n_proposal : int
        The number of draws that are not used for the fit, and the number of proposals.
    sampler : Sampler
        The proposal; `evidence` takes it as ``sampler=``.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> f = lambda x: -0.5 * (x**2).sum(axis=1)
    >>> s = fm.mcmc.sample(f, 2, gradient=lambda x: -x, n_draws=500, rng=0)
    >>> z = fm.importance.bridge(s, f, rng=1)
    >>> low, high = z.interval(0.999)
    >>> bool(low < np.log(2 * np.pi) < high)
    True
    """

    log_evidence: float
    log_evidence_stderr: float
    df: float
    ess: float
    ess_proposal: float
    overlap: float
    rhat: float
    converged: bool
    n_draws: int
    n_proposal: int
    sampler: Sampler

    _layout: ClassVar[fit.Layout] = {
        "log_evidence": fit.real,
        "log_evidence_stderr": fit.real,
        "df": fit.real,
        "ess": fit.real,
        "ess_proposal": fit.real,
        "overlap": fit.real,
        "rhat": fit.real,
        "converged": fit.flag,
        "n_draws": fit.whole(1),
        "n_proposal": fit.whole(1),
        "sampler": fit.instance("Sampler"),
    }

    def interval(self, prob: float = 0.95) -> tuple[float, float]:
        """Return a confidence interval for log Z.

        Parameters
        ----------
        prob : float, default 0.95
            Its confidence, above 0 and below 1.

        Returns
        -------
        low, high : float
            log Z ± t times its error, with t the quantile of Student's t with `df` degrees of
            freedom.

        Raises
        ------
        ArgumentError
            If `prob` is outside its domain.
        """
        from scipy.special import stdtrit

        half = -float(stdtrit(self.df, (1 - probability("prob", prob)) / 2))
        half *= self.log_evidence_stderr
        return self.log_evidence - half, self.log_evidence + half

    def _headline(self) -> str:
        return (
            f"BridgeEvidence: log Z = {self.log_evidence:.6g} ± {self.log_evidence_stderr:.2g}, "
            f"ESS {self.ess:.0f}, overlap {self.overlap:.2f}"
        )


@public
def bridge(
    sample: Sample | ArrayLike,
    log_density: LogDensity | Law | Callable[..., ArrayLike] | Any,
    *,
    gradient: Gradient = None,
    params: Params | None = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    n_proposal: int | None = None,
    fit_share: float = 0.5,
    family: Literal["t", "gaussian"] = "gaussian",
    df: float = 8.0,
    bounds: ArrayLike | None = None,
    check: bool = True,
    rng: RngLike = None,
    plan: PlanLike | None = None,
) -> BridgeEvidence:
    r"""Estimate the evidence of a density from draws of Markov chains, by bridge sampling [1]_.

    A proposal is fitted to the first draws of every chain. The other draws and points from the
    proposal give the evidence.

    Parameters
    ----------
    sample : Sample or array_like, shape (chains, n, d) or (n, d)
        Draws from the density after the warm-up, unweighted. An array (n, d) is one chain, and a
        `Sample` with the error model ``"iid"`` has independent draws.
    log_density : log-density, law, or callable
        The unnormalised density of the draws, in any form that `fermiac.targets.as_target`
        accepts; for a model of PyMC, Stan or NumPyro the model. For a posterior it is log-prior
        plus log-likelihood, with all constants that the evidence is to have.
    gradient : None, True, "finite" or callable, default None
        As in `fermiac.targets.as_target`; True if the function returns a pair (value, gradient).
        Gradients are not used.
    params, args, kwargs
        The parameters that the target takes by name, and its further arguments; see
        `fermiac.targets.as_target`.
    n_proposal : int, optional
        The number of points from the proposal; by default as many as there are draws besides those
        of the fit.
    fit_share : float, default 0.5
        The share of the draws of every chain for the fit, above 0 and below 1.
    family : {"t", "gaussian"}, default "gaussian"
        The proposal: a normal or a Student-t density, with the mean and the covariance of the
        draws. A t proposal is for heavy tails.
    df : float, default 8
        The degrees of freedom of a t proposal, above 2.
    bounds : array_like, shape (d, 2), optional
        The bounds of the support, infinite where there are none; by default those that the sample
        has. A coordinate with bounds is fitted on the whole line, as the logarithm of its distance
        from the end or as the normal quantile of its place in the interval.
    check : bool, default True
        Compare a batch of two points with the two points alone at the first call of a target in
        Python; see `fermiac.targets.as_target`.
    rng : None, int, numpy SeedSequence or Generator, default None
        The seed. An int in [0, 2**64) is the key itself; None takes one from the system.
    plan : Plan or executor, optional
        Where the call runs and what is kept (it takes ``executor``, ``store``); see `fermiac.Plan`.
        ``store``: a folder for a file with the values of `log_density`, from which the same call
        resumes.

    Returns
    -------
    BridgeEvidence
        ``log_evidence``, ``log_evidence_stderr``, ``df``, ``ess``, ``ess_proposal``, ``overlap``,
        ``rhat``, ``converged``, ``sampler``, and the method ``interval``.

    Raises
    ------
    ArgumentError
        For an argument outside its domain, for weighted draws, for fewer than 8 draws of a chain on
        either side of the cut, or if the draws lie in a subspace.
    TargetError
        If the target gives a wrong shape or type, a NaN or +inf, or is 0 at a draw.
    CheckpointError
        If a file in the store is damaged, belongs to another run, or cannot be written.
    WorkerError
        If workers of the executor are lost again and again with the same points.
    KeyboardInterrupt
        On Ctrl-C; a partial result does not exist.

    Warns
    -----
    ConvergenceWarning
        If the chains do not agree (an R-hat above 1.05 for a coordinate, or above 1.01 for the
        average that gives log Z), or if the effective sample size of the draws is below 100 for
        each chain.
    WeightWarning
        If fewer than 50 proposals carry the estimate, or if the error of log Z exceeds 0.3. The
        error is then too small. A better proposal is needed: ``family="t"``, or
        `fermiac.importance.evidence`, which adapts a mixture.

    Notes
    -----
    With the density p of the draws, the normalised proposal q, and shares
    :math:`s_1 + s_2 = 1` of draws and proposals, Z is the root of the equation

    .. math:: s_2 \operatorname{mean}_q \frac{s_1 p / Z}{s_1 p / Z + s_2 q}
              = s_1 \operatorname{mean}_p \frac{s_2 q}{s_1 p / Z + s_2 q}.

    Both sides are monotonic in log Z, so that the root is unique. Both averages are of functions
    between 0 and 1, so that they have all moments, whatever the tails of p and q. This bridge has
    the smallest error for independent draws [1]_. The number of draws counts as its effective
    sample size [2]_. The squared error of log Z is the sum of the squared relative errors of both
    averages [2]_. That of the draws comes from the autocorrelations of the chains. The proposal is
    fitted to other draws, so that it does not follow those of the average.

    Chains that have missed a mode give the evidence of the other modes, without a warning. A normal
    proposal overlaps little with a posterior that is curved or has several modes; the error is then
    larger, and still right.

    References
    ----------
    .. [1] X.-L. Meng, W. H. Wong, "Simulating ratios of normalizing constants via a simple
       identity: a theoretical exploration", Statistica Sinica, 1996.
    .. [2] S. Frühwirth-Schnatter, "Estimating marginal likelihoods for mixture and Markov switching
       models using bridge sampling techniques", The Econometrics Journal, 2004,
       doi:10.1111/j.1368-423X.2004.00125.x.

    Examples
    --------
    >>> import numpy as np, fermiac as fm
    >>> f = lambda x: -0.5 * x[:, 0] ** 2 - 0.25 * x[:, 0] ** 4
    >>> g = lambda x: -x - x**3
    >>> s = fm.mcmc.sample(f, 1, gradient=g, n_draws=500, rng=2)
    >>> z = fm.importance.bridge(s, f, rng=1)
    >>> bool(abs(z.log_evidence - 0.6602353899) < 5 * z.log_evidence_stderr)
    True
    """
    where = plan_of(plan, "executor", "store")
    start = time.perf_counter()
    chains = _chains_of(sample)
    found: Any = log_density
    if is_model(log_density):
        found, args, kwargs = as_target(log_density, args=args, kwargs=kwargs), (), None
    model = found if isinstance(found, ModelTarget) else None
    if model is not None:
        if bounds is not None:
            raise ArgumentError(f"bounds: given with {model!r}, which has its own; leave it out")
        free = Sample.from_arrays(model.unconstrain(chains.draws))
        chains = replace(free, settings={"ensemble": is_ensemble(chains)})
    dim = chains.dim
    target = as_target(found, dim, gradient, params=params, args=args, kwargs=kwargs, check=check)
    share = probability("fit_share", fit_share)
    n = chains.draws.shape[-2]
    cut = round(share * n)
    if min(cut, n - cut) < _LEAST:
        raise ArgumentError(
            f"sample: {n} draws of a chain given with fit_share={share:g}; at least {_LEAST} draws "
            "on either side of the cut are needed"
        )
    second = chains[..., cut:]
    size = second.n_draws
    settings: dict[str, Any] = {
        "n_proposal": size
        if n_proposal is None
        else whole("n_proposal", n_proposal, _LEAST, 2**40),
        "fit_share": share,
        "family": choice("family", family, ("t", "gaussian")),
        "df": real("df", df, "a finite number above 2 is needed", lambda v: 2 < v < np.inf),
    }
    degrees = settings["df"] if family == "t" else np.inf
    log = Log.of(where)
    key = log.seed if rng is None and log is not None and log.seed is not None else key_of(rng)
    assert key is not None
    common: dict[str, Any] = {
        "seed": key,
        "version": _core.__version__,
        "isa": _core.isa_level,
        "settings": settings,
    }
    proposal = _fitted(chains.draws[..., :cut, :], _bounds(bounds, chains), degrees, common)
    m = settings["n_proposal"]
    proposed = proposal.sample(m, rng=subkey(key, 0))
    workers = resolve_threads(where.n_threads)
    with (
        reporter(where.progress, "bridge", "evaluations") as bar,
        evaluation(
            target,
            executor=where.executor,
            log=log,
            identity=lambda: identity_of("importance.bridge", key, [proposal], settings),
            n_threads=workers,
            report=bar,
            total=size + m,
        ) as (evaluated, report),
    ):
        ratios = []
        done = 0
        for points in (second._points, proposed):
            logs = np.empty(len(points))
            for i in range(0, len(points), _BATCH):
                rows = np.ascontiguousarray(points[i : i + _BATCH])
                logs[i : i + _BATCH] = evaluated.log_density(rows)
                logs[i : i + _BATCH] -= proposal.log_density(rows)
                done += len(rows)
                if report is not None and done < size + m:
                    report(done, size + m)
            ratios.append(logs)
        if not np.isfinite(ratios[0]).all():
            raise TargetError(
                f"log_density: it is {ratios[0].min():g} at a draw of the sample, less the "
                "log-density of the proposal; draws of this density are needed"
            )
        made, doubts = _result(second, chains, ratios, proposal, workers, common, start)
        finish(report, size + m, made)
    warn(doubts, made)
    return made


def _chains_of(given: Any) -> Sample:
    """Return the draws as a sample of chains or of independent draws."""
    if isinstance(given, Sample):
        model = error_model_of(given)
        if given.log_weights is not None or not (model.of_chains or given.error_model == "iid"):
            raise ArgumentError(
                f"sample: a sample with the error model {given.error_model!r} given; unweighted "
                "draws are needed (Sample.resample draws them from weighted points)"
            )
        return given
    array = taken("sample", given)
    if array.ndim not in (2, 3):
        raise ArgumentError(
            f"sample: an array of shape {array.shape} given; draws (chains, n, d) or (n, d) are "
            "needed"
        )
    return Sample.from_arrays(array if array.ndim == 3 else array[None])


def _bounds(given: Any, sample: Sample) -> Array:
    """Return the bounds of each coordinate, shape (d, 2), which contain the draws."""
    if given is None:
        return sample.bounds
    array = taken("bounds", given)
    if array.shape != (sample.dim, 2) or array.dtype.kind not in "iuf":
        raise ArgumentError(
            f"bounds: {shown(given)} given; numbers of shape ({sample.dim}, 2) are needed"
        )
    pairs = np.asarray(array, float)
    low, high = pairs.T
    if not (low < high).all():
        raise ArgumentError(f"bounds: {shown(given)} given; each lower end must be below the upper")
    points = sample._points
    if not ((points >= low).all() and (points <= high).all()):
        raise ArgumentError("bounds: a draw lies outside of them; bounds of the support are needed")
    return pairs


def _fitted(draws: Array, bounds: Array, df: float, common: Mapping[str, Any]) -> Sampler:
    """Return the proposal: one component with the moments of the draws on the whole line."""
    from scipy.special import ndtri

    d = draws.shape[-1]
    y = np.array(draws.reshape(-1, d), float)
    low, high = bounds.T
    ends, origin, scale = [], np.zeros(d), np.ones(d)
    tiny, most = np.finfo(float).tiny, 1 - np.finfo(float).epsneg
    for j in range(d):
        below, above = np.isfinite(low[j]), np.isfinite(high[j])
        ends.append("finite" if below and above else "half" if below or above else "infinite")
        if below and above:
            origin[j], scale[j] = low[j], high[j] - low[j]
            y[:, j] = ndtri(np.clip((y[:, j] - low[j]) / scale[j], tiny, most))
        elif below or above:
            origin[j], scale[j] = (low[j], 1.0) if below else (high[j], -1.0)
            y[:, j] = np.log(np.maximum(scale[j] * (y[:, j] - origin[j]), tiny))
    mean = y.mean(0)
    cov = np.atleast_2d(np.cov(y, rowvar=False))
    deviations = np.sqrt(np.diag(cov))
    least = 0.0
    if (deviations > 0).all() and np.isfinite(deviations).all():
        least = float(np.linalg.eigvalsh(cov / np.outer(deviations, deviations))[0])
    if not least > d * np.finfo(float).eps:
        raise ArgumentError(
            f"sample: the {len(y)} draws for the fit have a singular covariance; more draws are "
            "needed, and coordinates that do not depend on each other"
        )
    return components_of(
        {
            "ends": ends,
            "origin": origin,
            "scale": scale,
            "df": df,
            "shares": np.ones(1),
            "means": mean[None],
            "covariances": (cov if np.isinf(df) else cov * (df - 2) / df)[None],
        },
        **common,
        n_evals=0,
        wall_time=0.0,
    )


def _root(draws: Array, proposals: Array, share: float) -> tuple[float, Array, Array]:
    """Return log Z, and the functions that are averaged over draws and proposals.

    `draws` and `proposals` are log-ratios of density and proposal, and `share` is that of the
    draws. With c = log(s₁ / (s₂ Z)) the equation is s₂ mean σ(l + c) = s₁ mean σ(-l - c), where σ
    is the logistic function; its left side rises with c, and its right side falls.
    """
    from scipy.special import expit

    ratio = np.log(share) - np.log1p(-share)
    low, high = -float(draws.max()), -float(draws.min())
    finite = proposals[np.isfinite(proposals)]
    if finite.size:
        low, high = min(low, -float(finite.max())), max(high, -float(finite.min()))
    low, high = low - abs(ratio) - 1, high + abs(ratio) + 1
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        left = (1 - share) * expit(proposals + middle).mean()
        if left < share * expit(-draws - middle).mean():
            low = middle
        else:
            high = middle
    c = 0.5 * (low + high)
    return float(ratio - c), expit(-draws - c), expit(proposals + c)


def _result(
    second: Sample,
    chains: Sample,
    ratios: list[Array],
    proposal: Sampler,
    workers: int,
    common: Mapping[str, Any],
    start: float,
) -> tuple[BridgeEvidence, list[Finding]]:
    """Return the result, and doubts about it."""
    draws, proposals = ratios
    n, m = draws.size, proposals.size
    if not np.isfinite(proposals).any():
        raise TargetError(
            "log_density: it is 0 at all proposals; a proposal closer to the draws is needed, or "
            "the bounds of the support"
        )
    # The weights of the bridge depend a little on the effective number of draws, which only a first
    # bridge tells.
    size = float(n)
    for _ in range(2):
        share = size / (size + m)
        log_z, of_draws, of_proposals = _root(draws, proposals, share)
        averaged: Average = average(second, of_draws[:, None], n_threads=workers)
        ess = float(np.atleast_1d(averaged.ess)[0])
        size = min(max(ess, 1.0), float(n)) if np.isfinite(ess) else float(n)
    mean, of_chains = float(of_draws.mean()), float(np.atleast_2d(averaged.cov)[0, 0])
    squares = [of_chains / mean**2, float(of_proposals.var(ddof=1)) / m / of_proposals.mean() ** 2]
    carried = float(of_proposals.sum() ** 2 / (of_proposals**2).sum())
    stderr = float(np.sqrt(sum(squares)))
    degrees = [float(np.atleast_1d(averaged.df)[0]), m - 1.0]
    terms = sum(s**2 / max(k, 1.0) for s, k in zip(squares, degrees, strict=True))
    rhat = 1.0
    count, _ = chain_shape(chains)
    if error_model_of(chains).of_chains and not is_ensemble(chains):
        whole_chains = np.asarray(chains.draws, float).reshape(count, -1, chains.dim)
        rhat = float(np.max(rank_rhat(whole_chains, workers)))
    doubts: list[Finding] = []
    of_average = 1.0 if averaged.rhat is None else float(np.atleast_1d(averaged.rhat)[0])
    if rhat > _APART or of_average > MOST_RHAT:
        doubts.append((
            ConvergenceWarning,
            f"R-hat is {rhat:.3f} for a coordinate and {of_average:.3f} for the average that gives "
            "log Z, so the chains have not mixed; run longer chains",
        ))  # fmt: skip
    if ess < _LEAST_ESS * count:
        doubts.append((
            ConvergenceWarning,
            f"the effective sample size of the draws is {ess:.0f}, below {_LEAST_ESS:.0f} for "
            "each chain, so the error of log Z is itself uncertain; run longer chains",
        ))  # fmt: skip
    if carried < _FEW or stderr > _LARGE:
        doubts.append((
            WeightWarning,
            f"{carried:.0f} of {m} proposals carry the estimate and its error is {stderr:.2g}, "
            "which is probably too small; give family='t' or more proposals, or use "
            "fermiac.importance.evidence",
        ))  # fmt: skip
    made = BridgeEvidence(
        **common,
        n_evals=n + m,
        wall_time=time.perf_counter() - start,
        log_evidence=log_z,
        log_evidence_stderr=stderr,
        df=sum(squares) ** 2 / terms if terms > 0 else float("inf"),
        ess=ess,
        ess_proposal=carried,
        overlap=float(of_proposals.mean() / share),
        rhat=rhat,
        converged=not doubts,
        n_draws=n,
        n_proposal=m,
        sampler=proposal,
    )
    return made, doubts
