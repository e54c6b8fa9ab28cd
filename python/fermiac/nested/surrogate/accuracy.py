"""The accuracy of a surrogate: its test at fresh points, its audit, and its correction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.diagnostics import psis
from fermiac.errors import FermiacWarning, WeightWarning
from fermiac.nested.job import Job
from fermiac.nested.result import NestedResult
from fermiac.nested.samplers import Slice
from fermiac.nested.surrogate.models import Cube, HandleTarget, Model, Truth, window
from fermiac.nested.surrogate.options import Surrogate
from fermiac.nested.surrogate.work import Refused
from fermiac.nested.volumes import from_points, kept, points_of

__all__ = [
    "Correction",
    "Fresh",
    "audit",
    "correct",
    "corrected",
    "correction_findings",
    "draw",
    "effective",
    "inclusion",
    "judge",
    "systematic",
    "usable",
]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
#: Errors are clipped at this distance from their median, in nats. Otherwise the tail, which has its
#: own test, would dominate the standard deviation.
_FAR = 1.5
#: The least effective share of the fresh points after reweighting.
_LEAST_ESS = 0.5
#: The audit takes points up to so many nats below a level, and fails if the likelihood is so many
#: above it.
_NEAR, _ABOVE = 10.0, 3.0
#: Proposals for each point of the audit.
_TRIES = 30
#: The tail shape of the ratios from which on the correction is unreliable.
_KHAT = 0.7
#: The relative effective sample size below which the correction gives a warning.
_ESS = 0.3
#: Draws of the posterior from which the tail shape of the ratios is estimated.
_DRAWS = 4000


def effective(log_p: Array, log_ratios: Array) -> float:
    """Return the ratio of the effective sample sizes with the weights p r and p."""
    top = log_ratios.max(initial=-np.inf)
    if not np.isfinite(top):
        return 0.0
    p = np.exp(log_p - log_p.max())
    r = np.exp(log_ratios - top)
    return float((p @ r) ** 2 * (p @ p) / (p.sum() ** 2 * ((p * r) @ (p * r))))


@dataclass(frozen=True)
class Fresh:
    """Draws from the posterior of a surrogate: points, its values, and their log-masses."""

    u: Array
    values: Array
    log_p: Array


def draw(
    model: Model, truth: Truth, job: Job, key: int, workers: int, n_points: int
) -> Fresh | None:
    """Return points from nested sampling of the surrogate alone, in random order.

    They cover the region of the run, and also modes of the surrogate that the likelihood does not
    have. None if the surrogate is trusted nowhere.
    """
    dim = job.dim
    u, _ = truth.known()
    values, trusted = model.predict(u)
    values = np.where(trusted, values, -np.inf)
    level = float(values.max()) - window(dim)
    seeds = values > level
    if seeds.sum() < 2:
        return None
    alone_job = replace(
        job,
        prior=Cube(dim),
        target=HandleTarget(model.alone),
        sampler=Slice(),
        bound="multi",
        n_live=max(n_points // 4, 2 * dim + 2),
        batch=max(1, n_points // 32),
        dlogz=0.01,
        max_evals=None,
        max_iter=None,
        periodic=(),
        reflective=(),
        keeps_points=False,
        key=key,
    )
    above = {
        "run_draws": np.ascontiguousarray(u[seeds]),
        "log_likelihoods": values[seeds],
        "families": np.arange(int(seeds.sum())),
        "level": level,
        "log_x": 0.0,
        "log_evidence": -np.inf,
    }
    run = alone_job.make(above)
    error = run.run(*alone_job.ports, None, workers)
    if error is not None:
        raise error
    points = run.points(*alone_job.ports)
    f, births = points["log_likelihoods"], points["births"]
    masses = _core.nested_volumes(f, np.where(births <= level, -np.inf, births))
    log_p = masses["log_prior_masses"] + f
    rows = np.random.default_rng(key).permutation(len(f))[:n_points]
    return Fresh(points["unit_draws"][rows], f[rows], log_p[rows])


def judge(
    model: Model, truth: Truth, job: Job, options: Surrogate, key: int, workers: int
) -> dict[str, Any]:
    """Return the errors of a surrogate at fresh points, and whether they pass the test."""
    dim = job.dim
    fresh = draw(model, truth, job, key, workers, max(200, 20 * dim))
    if fresh is None:
        return {"n": 0, "passed": False}
    ell = truth.at(fresh.u)
    errors = fresh.values - ell
    top = float(truth.known()[1].max())
    near = errors[ell > top - window(dim)]
    middle = float(np.median(near)) if len(near) else 0.0
    cut = np.clip(errors, middle - _FAR, middle + _FAR)
    gate: dict[str, Any] = _core.nested_gate(cut, ell, top, dim, options.tol)
    gate["ess"] = effective(fresh.log_p, -errors)
    gate["passed"] = bool(gate["passed"] and gate["ess"] >= _LEAST_ESS)
    return gate


def audit(
    model: Model,
    truth: Truth,
    result: NestedResult,
    options: Surrogate,
    offset: float,
    key: int,
) -> bool:
    """Return whether the likelihood is low, too, at some points that the surrogate rejected.

    The points are points of the run, displaced by differences of other points of about the same
    level, as by chains. `offset` is the median of the surrogate minus the likelihood.
    """
    n_points = int(np.ceil(options.audit * result.n_draws))
    if n_points == 0:
        return True
    rng = np.random.default_rng(key)
    u, g, births = result.unit_draws, result.log_likelihoods, result.births
    assert u is not None
    dim = u.shape[1]
    rows = np.flatnonzero(births > g.max() - window(dim))
    if len(rows) < 3 * dim:
        return True
    picked = rng.choice(rows, _TRIES * n_points)
    # Others that died not long before or after.
    others = (picked[:, None] + rng.integers(-result.n_live, result.n_live, (len(picked), 2))).clip(
        rows[0], len(u) - 1
    )
    step = 2.38 / np.sqrt(2 * dim) * (u[others[:, 0]] - u[others[:, 1]])
    moved, levels = u[picked] + step, births[picked]
    inside = ((moved > 0) & (moved < 1)).all(axis=1)
    moved, levels = moved[inside], levels[inside]
    f, trusted = model.predict(moved)
    near = np.flatnonzero(trusted & (f <= levels) & (f > levels - _NEAR))[:n_points]
    if not len(near):
        return True
    ell = truth.at(moved[near]) + offset
    return not (ell > levels[near] + _ABOVE + options.tol).any()


@dataclass(frozen=True)
class Correction:
    """The log-likelihoods of the points of a run on a surrogate.

    Attributes
    ----------
    target : ndarray, shape (n,)
        Log-likelihoods minus the logarithm of the selection probability, -inf if not selected.
    ell : ndarray, shape (n,)
        The log-likelihoods as far as they are known.
    ratios : dict of str to float
        Statistics of the ratios of likelihood and surrogate, as in `SurrogateReport`.
    """

    target: Array
    ell: Array
    ratios: dict[str, float]


def correct(
    result: NestedResult, model: Model, truth: Truth, options: Surrogate, key: int
) -> Correction:
    """Return the likelihood at the points of a run on the surrogate, or at some of them.

    Points at which the run evaluated the likelihood are not evaluated again.
    """
    u, g = result.unit_draws, result.log_likelihoods
    assert u is not None
    unknown = np.flatnonzero(model.predict(u)[1])
    log_p = result.log_prior_masses + g - result.log_evidence
    rng = np.random.default_rng(key)
    chances = np.ones(len(g))
    if options.correct == "subsample" and options.n_corrected < len(unknown):
        chances[unknown] = 0.0
        probabilities = inclusion(np.exp(log_p[unknown]), options.n_corrected)
        rows = systematic(probabilities, rng)
        unknown = unknown[rows]
        chances[unknown] = probabilities[rows]
    ell = g.copy()
    if len(unknown):
        ell[unknown] = truth.at(u[unknown])
    used = chances > 0
    target = np.full(len(g), -np.inf)
    target[used] = ell[used] - np.log(chances[used])
    used &= g > -np.inf
    ratios = _ratios(log_p[used] - np.log(chances[used]), ell[used] - g[used], rng)
    return Correction(target, ell, ratios)


def inclusion(p: Array, n: int) -> Array:
    """Return inclusion probabilities in proportion to `p`, at most one, that sum to `n`."""
    chances = np.zeros(len(p))
    certain = np.zeros(len(p), bool)
    while True:
        rest = p[~certain].sum()
        if not rest > 0:
            chances[certain] = 1.0
            return chances
        chances = np.where(certain, 1.0, p * ((n - certain.sum()) / rest))
        more = (chances >= 1.0) & ~certain
        if not more.any():
            return chances
        certain |= more


def systematic(chances: Array, rng: np.random.Generator) -> Ints:
    """Return rows from systematic sampling with these inclusion probabilities."""
    ends = np.cumsum(chances)
    steps = np.floor(ends - rng.random())
    out: Ints = np.flatnonzero(np.diff(steps, prepend=-1.0) > 0)
    return out


def _ratios(log_q: Array, ratios: Array, rng: np.random.Generator) -> dict[str, float]:
    """Return statistics of the ratios of likelihood and surrogate, under its posterior."""
    q = np.exp(log_q - log_q.max())
    q /= q.sum()
    top = float(ratios.max())
    if top == -np.inf:
        return {"khat": np.nan, "ess_ratio": 0.0, "ratio_stderr": np.inf, "worst": np.nan}
    r = np.exp(ratios - top)
    mean = float(q @ r)
    drawn = rng.choice(len(q), _DRAWS, p=q)
    finite = ratios[ratios > -np.inf]
    return {
        "khat": float(psis(ratios[drawn])[1]),
        "ess_ratio": effective(log_q, ratios),
        "ratio_stderr": float(np.sqrt(np.sum((q * (r / mean - 1)) ** 2))),
        "worst": float((finite - np.median(finite)).max()),
    }


def corrected(result: NestedResult, correction: Correction) -> NestedResult:
    """Return the result with the likelihood in place of the surrogate."""
    raw = {**points_of(result), "log_densities": correction.target}
    made = from_points(raw, names=result.names, **kept(result))
    error = float(np.hypot(made.log_evidence_volumes_stderr, correction.ratios["ratio_stderr"]))
    masses = made.log_prior_masses + correction.target - made.log_evidence
    used = masses > -np.inf
    information = float(np.exp(masses[used]) @ correction.ell[used]) - made.log_evidence
    return replace(
        made,
        log_evidence_stderr=error,
        log_evidence_volumes_stderr=error,
        information=max(information, 0.0),
    )


def usable(ratios: dict[str, float]) -> None:
    """Refuse a correction whose weight is concentrated on a few points."""
    if not (ratios["khat"] < _KHAT or ratios["ess_ratio"] >= _ESS):
        raise Refused(
            f"a few points carry the correction: k-hat {ratios['khat']:.2f}, and "
            f"{100 * ratios['ess_ratio']:.0f} % of the effective sample size are left"
        )


def correction_findings(ratios: dict[str, float]) -> list[tuple[type[FermiacWarning], str]]:
    """Return the warnings about the correction."""
    found: list[tuple[type[FermiacWarning], str]] = []
    if ratios["ess_ratio"] < _ESS:
        text = (
            f"the surrogate's posterior is not that of the likelihood: of the effective sample "
            f"size {100 * ratios['ess_ratio']:.0f} % are left after the correction; train it on "
            "more points (a smaller start_dlogz), or raise pilot_live"
        )
        found.append((WeightWarning, text))
    return found
