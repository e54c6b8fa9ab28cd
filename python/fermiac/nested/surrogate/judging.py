"""How good a surrogate is: at fresh points that it drew itself, and where it rejected points."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fermiac import _core
from fermiac.nested.job import Job
from fermiac.nested.result import Nested
from fermiac.nested.samplers import Slice
from fermiac.nested.surrogate.frames import Frame
from fermiac.nested.surrogate.models import Model, alone, window
from fermiac.nested.surrogate.options import Surrogate
from fermiac.nested.surrogate.truth import Asked, Cube, Truth

__all__ = ["Fresh", "audit", "draw", "effective", "judge"]

Array = NDArray[np.float64]
#: Distances of errors from their median are cut here, in nats: beyond it the tail has the say, not
#: the standard deviation.
_FAR = 1.5
#: The share of fresh points that must count once they are reweighted.
_ESS = 0.5
#: How far below a level the audit looks, and how far above it the likelihood must not be.
_NEAR, _ABOVE = 10.0, 3.0
#: Proposals for each point of the audit.
_TRIES = 30


def effective(log_p: Array, log_ratios: Array) -> float:
    """The effective number of points with the weights p r over that with the weights p."""
    top = log_ratios.max(initial=-np.inf)
    if not np.isfinite(top):
        return 0.0
    p = np.exp(log_p - log_p.max())
    r = np.exp(log_ratios - top)
    return float((p @ r) ** 2 * (p @ p) / (p.sum() ** 2 * ((p * r) @ (p * r))))


@dataclass(frozen=True)
class Fresh:
    """Points that a surrogate drew, its values there, and the logarithms of their masses."""

    u: Array
    values: Array
    log_p: Array


def draw(
    model: Model, truth: Truth, job: Job, key: int, workers: int, n_points: int
) -> Fresh | None:
    """Points by nested sampling of the surrogate alone, where its posterior is; in random order.

    They lie where the run will go, and where the surrogate is wrong about there being anything.
    None where it is trusted nowhere.
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
        target=Asked(alone(model, dim)),
        sampler=Slice(),
        bound="multi",
        n_live=max(n_points // 4, 2 * dim + 2),
        batch=max(1, n_points // 32),
        dlogz=0.01,
        max_evals=None,
        max_iter=None,
        periodic=(),
        reflective=(),
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
    """What fresh points say of a surrogate."""
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
    told: dict[str, Any] = _core.nested_gate(cut, ell, top, dim, options.tol)
    told["ess"] = effective(fresh.log_p, -errors)
    told["passed"] = bool(told["passed"] and told["ess"] >= _ESS)
    return told


def audit(
    model: Model,
    truth: Truth,
    frame: Frame,
    result: Nested,
    options: Surrogate,
    offset: float,
    key: int,
) -> bool:
    """Whether the likelihood agrees, at some points that the surrogate rejected.

    They are points of the run moved by differences of others of about the same level, as chains
    move. `offset` is what the surrogate's values are above the likelihood.
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
    density = frame.log_density(moved)
    f -= density
    near = np.flatnonzero(trusted & (f <= levels) & (f > levels - _NEAR))[:n_points]
    if not len(near):
        return True
    ell = truth.at(moved[near]) - density[near] + offset
    return not (ell > levels[near] + _ABOVE + options.tol).any()
