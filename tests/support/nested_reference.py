"""Nested sampling in plain NumPy: its formulas one by one, and runs whose prior masses are known.

Every function follows its definition, with loops where the definition has them, and nothing here
is shared with the engine. `perfect_run` replaces points by the law of order statistics alone, so
that its runs are exact: what an estimate is off by is the estimate's doing.

After J. Skilling, "Nested sampling for general Bayesian computation", Bayesian Analysis, 2006, and
E. Higson, W. Handley, M. Hobson, A. Lasenby, "Sampling errors in nested sampling parameter
estimation", Bayesian Analysis, 2018.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import logsumexp

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


def n_alive(ell: Array, birth: Array) -> Ints:
    """Return the number of live points at each death; initial points are born at -inf."""
    alive = np.empty(len(ell), np.int64)
    for i, level in enumerate(ell):
        born = sum(1 for b in birth if b == -np.inf or b < level)
        alive[i] = born - i
    return alive


def prior_masses(shrinkage: Array) -> Array:
    """Weights by the trapezoid rule, of the logarithms of the factors by which masses shrink."""
    n = len(shrinkage)
    if n == 1:
        return np.ones(1)
    x = np.exp(np.cumsum(shrinkage))
    w = np.empty(n)
    w[0] = 1 - (x[0] + x[1]) / 2
    w[1:-1] = (x[:-2] - x[2:]) / 2
    w[-1] = (x[-2] + x[-1]) / 2
    return w


def posterior(log_w: Array, ell: Array) -> tuple[float, Array]:
    """Log Z, and the posterior masses of the points."""
    log_z = float(logsumexp(log_w + ell))
    return log_z, np.exp(log_w + ell - log_z)


def volumes(ell: Array, alive: Ints) -> dict[str, Any]:
    """Everything that follows from the order of the points and the numbers of live ones."""
    shrinkage = -1.0 / alive
    log_w = np.log(prior_masses(shrinkage))
    log_z, p = posterior(log_w, ell)
    used = p > 0
    return {
        "log_x": np.cumsum(shrinkage),
        "log_prior_masses": log_w,
        "log_evidence": log_z,
        # -log t of n live points is exponential: its variance is 1 / n^2.
        "log_evidence_stderr": float(np.sqrt(np.sum((sensitivities(ell, alive) / alive) ** 2))),
        "information": float(np.sum(p[used] * ell[used]) - log_z),
        "ess": float(1 / np.sum(p**2)),
    }


def sensitivities(ell: Array, alive: Ints) -> Array:
    """By how much log Z grows with the logarithm of each shrinkage, by finite differences."""
    shrinkage, step = -1.0 / alive, 1e-6
    out = np.empty(len(ell))
    for i in range(len(ell)):
        ends = []
        for sign in (-1, 1):
            shifted = shrinkage.copy()
            shifted[i] += sign * step
            ends.append(posterior(np.log(prior_masses(shifted)), ell)[0])
        out[i] = (ends[1] - ends[0]) / (2 * step)
    return out


def simulate(ell: Array, alive: Ints, n_sets: int, seed: int, values: Array) -> dict[str, Array]:
    """Volumes drawn from their law: log Z, and the means of the columns of `values`."""
    rng = np.random.default_rng(seed)
    log_z, means = [], []
    for _ in range(n_sets):
        factors = np.log(rng.random(len(ell))) / alive
        z, p = posterior(np.log(prior_masses(factors)), ell)
        log_z.append(z)
        means.append(p @ values)
    return {"log_evidence": np.array(log_z), "means": np.array(means)}


def bootstrap(
    ell: Array, birth: Array, groups: Ints, n_sets: int, seed: int, values: Array
) -> dict[str, Array]:
    """Groups of points drawn with replacement, with mean shrinkage."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    log_z, means = [], []
    for _ in range(n_sets):
        rows = np.concatenate([members[g] for g in rng.integers(len(members), size=len(members))])
        rows = rows[np.argsort(ell[rows], kind="stable")]
        alive = sorted_n_alive(ell[rows], birth[rows])
        z, p = posterior(np.log(prior_masses(-1.0 / alive)), ell[rows])
        log_z.append(z)
        means.append(p @ values[rows])
    return {"log_evidence": np.array(log_z), "means": np.array(means)}


def sorted_n_alive(ell: Array, birth: Array) -> Ints:
    """The same as `n_alive`, by bisection."""
    initial = birth == -np.inf
    later = np.sort(birth[~initial])
    born: Ints = initial.sum() + np.searchsorted(later, ell, side="left")
    return born - np.arange(len(ell))


@dataclass(frozen=True)
class Problem:
    """A log-likelihood that falls with the prior mass above it, in a ball of `dim` dimensions.

    The prior is uniform in the unit ball, so that the mass within radius r is r^dim.
    `mass_above` gives the prior mass of what is strictly above the level at a mass; on a plateau
    it is less than that mass.
    """

    dim: int
    ell: Callable[[Array], Array]
    log_evidence: float
    mass_above: Callable[[float], float] = float


def gaussian(dim: int = 3, sigma: float = 0.1) -> Problem:
    """A Gaussian likelihood, of maximum 1: the posterior is N(0, sigma^2), cut far out."""

    def ell(x: Array) -> Array:
        return -0.5 * (x ** (1 / dim) / sigma) ** 2

    z = quad(
        lambda r: dim * r ** (dim - 1) * np.exp(-0.5 * (r / sigma) ** 2),
        0,
        1,
        epsabs=0,
        limit=200,
        points=[sigma, 5 * sigma],
    )[0]
    return Problem(dim, ell, float(np.log(z)))


def terraces(dim: int = 2, n_levels: int = 8, ratio: float = 0.4) -> Problem:
    """Plateaus one within the other, each of `ratio` of the mass of the one before."""

    def level(x: Array) -> Array:
        return np.clip(np.floor(np.log(x) / np.log(ratio)), 0, n_levels - 1)

    edges = ratio ** np.arange(n_levels)
    masses = edges - np.append(edges[1:], 0.0)
    log_z = float(logsumexp(np.arange(n_levels), b=masses))

    def mass_above(x: float) -> float:
        k = int(level(np.array([x]))[0])
        return 0.0 if k == n_levels - 1 else float(ratio ** (k + 1))

    return Problem(dim, level, log_z, mass_above)


def half_forbidden(dim: int = 2, sigma: float = 0.1, allowed: float = 0.3) -> Problem:
    """The same Gaussian, with the likelihood 0 beyond the mass `allowed`."""
    whole = gaussian(dim, sigma)

    def ell(x: Array) -> Array:
        return np.where(x < allowed, whole.ell(x), -np.inf)

    return Problem(dim, ell, whole.log_evidence, lambda x: min(x, allowed))


def perfect_run(
    problem: Problem, n_live: int, batch: int, seed: int, dlogz: float = 1e-3
) -> dict[str, NDArray[Any]]:
    """A run with exact draws above each level: arrays in the order of death.

    Returns
    -------
    dict
        ``draws``, ``unit_draws``, ``log_likelihoods``, ``births``, ``lineages``, ``families``, and
        ``masses``, the true prior masses.
    """
    rng = np.random.default_rng(seed)
    ell_of = problem.ell
    x = np.empty(0)
    while np.sum(ell_of(x) > -np.inf) < n_live:
        x = np.append(x, rng.random(n_live))
    first = len(x)
    live = {
        "x": x,
        "birth": np.full(first, -np.inf),
        "lineage": np.arange(first),
        "family": np.arange(first),
    }
    dead: dict[str, list[NDArray[Any]]] = {name: [] for name in live}

    def die(rows: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
        for name, array in live.items():
            dead[name].append(array[rows])
        return {name: array[~rows] for name, array in live.items()}

    live = die(ell_of(live["x"]) == -np.inf)
    log_z, log_mass = -np.inf, 0.0
    while True:
        ell = ell_of(live["x"])
        # A rough count of what is done; the estimates are computed from all points afterwards.
        if ell.max() + log_mass < log_z + np.log(np.expm1(dlogz)):
            break
        star = np.sort(ell)[min(batch, len(ell)) - 1]
        dying = ell <= star
        if dying.all():
            break
        n_dead = int(dying.sum())
        log_z = float(np.logaddexp(log_z, logsumexp(ell[dying]) + log_mass - np.log(len(ell))))
        log_mass += np.log1p(-n_dead / len(ell))
        freed = live["lineage"][dying]
        edge = problem.mass_above(float(live["x"][dying].min()))
        live = die(dying)
        n_new = max(0, n_live - len(live["x"]))
        parents = rng.integers(len(live["x"]), size=n_new)
        new = {
            "x": edge * rng.random(n_new),
            "birth": np.full(n_new, star),
            "lineage": freed[:n_new],
            "family": live["family"][parents],
        }
        live = {name: np.append(array, new[name]) for name, array in live.items()}
    live = die(np.ones(len(live["x"]), bool))
    joined = {name: np.concatenate(parts) for name, parts in dead.items()}
    ell = ell_of(joined["x"])
    order = np.argsort(ell, kind="stable")
    z = rng.standard_normal((len(order), problem.dim))
    draws = z / np.linalg.norm(z, axis=1)[:, None] * joined["x"][order, None] ** (1 / problem.dim)
    return {
        "draws": draws,
        "unit_draws": (draws + 1) / 2,
        "log_likelihoods": ell[order],
        "births": joined["birth"][order],
        "lineages": joined["lineage"][order].astype(np.int64),
        "families": joined["family"][order].astype(np.int64),
        "masses": joined["x"][order],
    }
