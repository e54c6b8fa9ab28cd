"""A vectorised NumPy implementation of ME-aISCV, independent of the library: peer and reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integrand = Callable[[Array], Array]
LogDensity = Callable[[Array], Array]
Sampler = Callable[[np.random.Generator, int, int], Array]

_BLOCK_DOUBLES = 1 << 18  # a density table's block: 2 MiB, so that it stays in cache
_LOG_2PI = float(np.log(2.0 * np.pi))


class Mixture(NamedTuple):
    """Gaussian components with their weights."""

    mean: Array  # (L, d)
    chol: Array  # (L, d, d), lower
    inv_chol: Array  # (L, d, d)
    log_norm: Array  # (L,)
    alpha: Array  # (L,)


class Stage(NamedTuple):
    """One sampler that was tried: what it costs to keep it, and what it promises."""

    mixture: Mixture | None  # None: the input laws themselves
    beta: Array  # (J,)
    variance: Array  # (J,), per draw
    used: int


def log_components(x: Array, mix: Mixture) -> Array:
    """Log-densities of all components at all points, (n, L), by one product per block of points."""
    n, d = x.shape
    n_comp = len(mix.alpha)
    # Centring first keeps the product accurate when means are large beside standard deviations.
    centre = mix.mean.mean(axis=0)
    flat = np.ascontiguousarray(mix.inv_chol.transpose(2, 0, 1).reshape(d, n_comp * d))
    shift = np.einsum("lab,lb->la", mix.inv_chol, mix.mean - centre).reshape(n_comp * d)
    out = np.empty((n, n_comp))
    step = max(64, _BLOCK_DOUBLES // (n_comp * d))
    for lo in range(0, n, step):
        z = (x[lo : lo + step] - centre) @ flat
        z -= shift
        z *= z
        quad = z.reshape(-1, n_comp, d).sum(axis=2) if d > 1 else z
        np.multiply(quad, -0.5, out=out[lo : lo + step])
    out += mix.log_norm
    return out


def log_mean(log_terms: Array, alpha: Array | None = None) -> Array:
    """Row-wise log of the weighted mean of exponentials, (n, L) -> (n,)."""
    top = log_terms.max(axis=1)
    scaled = np.exp(log_terms - np.where(np.isfinite(top), top, 0.0)[:, None])
    total = scaled.mean(axis=1) if alpha is None else scaled @ alpha
    with np.errstate(divide="ignore"):
        result: Array = top + np.log(total)
    return result


def log_sampler(log_comp: Array, alpha: Array, base: float, log_base: Array) -> Array:
    """Log-density of (1 - base) * mixture + base * mean of the input laws, (n,)."""
    log_mix = log_mean(log_comp, alpha)
    if base == 0.0:
        return log_mix
    total: Array = np.logaddexp(np.log1p(-base) + log_mix, np.log(base) + log_base)
    return total


def systematic_counts(alpha: Array, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Integer counts summing to n with expectation n * alpha, from one uniform."""
    edges = np.floor(np.cumsum(alpha / alpha.sum()) * n + rng.random()).astype(np.int64)
    edges[-1] = n
    return np.diff(np.minimum(edges, n), prepend=0)


def sample_mixture(mix: Mixture, n: int, rng: np.random.Generator) -> Array:
    """Draw n points, stratified over the components."""
    label = np.repeat(np.arange(len(mix.alpha)), systematic_counts(mix.alpha, n, rng))
    z = rng.standard_normal((n, mix.mean.shape[1]))
    points: Array = mix.mean[label] + np.einsum("nab,nb->na", mix.chol[label], z)
    return points


def fit_components(x: Array, weights: Array, previous: Mixture | None) -> Mixture:
    """Weighted Gaussian fit of every column of weights (n, J), by two matrix products."""
    d = x.shape[1]
    n_comp = weights.shape[1]
    centre, scale = x.mean(axis=0), x.std(axis=0)
    y = (x - centre) / scale
    total = weights.sum(axis=0)
    degenerate = total <= 0.0
    share = weights / np.where(degenerate, 1.0, total)
    share[:, degenerate] = 1.0 / len(x)

    rows, cols = np.tril_indices(d)
    mean = share.T @ y
    second = share.T @ (y[:, rows] * y[:, cols])
    cov = np.empty((n_comp, d, d))
    cov[:, rows, cols] = cov[:, cols, rows] = second - mean[:, rows] * mean[:, cols]
    # The ridge is relative to each coordinate's own scale: inputs may be in newtons and in metres.
    diagonal = np.maximum(np.einsum("jaa->ja", cov), 1e-12)
    n_eff = 1.0 / np.einsum("nj,nj->j", share, share)
    cov[n_eff < 2 * d] = 0.0
    cov[:, np.arange(d), np.arange(d)] = diagonal * (1.0 + 1e-6)

    mean = centre + mean * scale
    chol = np.linalg.cholesky(cov) * scale[:, None]
    if previous is not None and degenerate.any():
        mean[degenerate], chol[degenerate] = previous.mean[degenerate], previous.chol[degenerate]
    log_norm = -np.log(np.einsum("jaa->ja", chol)).sum(axis=1) - 0.5 * d * _LOG_2PI
    return Mixture(mean, chol, np.linalg.inv(chol), log_norm, np.full(n_comp, 1.0 / n_comp))


def optimise_alpha(
    numerator: Array,
    rho: Array,
    floor: Array,
    start: Array,
    tolerance: float = 1e-3,
    max_sweeps: int = 500,
) -> Array:
    """Minimise F = mean(numerator / (rho @ alpha + floor)) over the simplex, to a relative gap.

    F is convex with gradient -G, so max_l G_l - alpha . G bounds F - min F from above.
    """
    # Where no component has mass alpha decides nothing, and the quotient overflows.
    covered = rho.max(axis=1) + floor > 1e-100
    if not covered.all():
        numerator, rho, floor = numerator[covered], rho[covered], floor[covered]
    alpha = start.copy()
    n = len(numerator)
    for _ in range(max_sweeps):
        density = rho @ alpha + floor
        ratio = numerator / density
        objective = ratio.sum() / n
        ratio /= density
        gradient = (ratio @ rho) / n
        if gradient.max() - gradient @ alpha <= tolerance * objective:
            break
        alpha *= np.sqrt(gradient)
        alpha /= alpha.sum()
    return alpha


def residual_moments(v: Array, r: Array, beta: Array) -> tuple[Array, Array]:
    """Estimate and per-row residuals of the control-variate estimator with frozen beta."""
    z = v - beta * r
    return beta + z.mean(axis=0), z


def regression_slope(v: Array, r: Array) -> Array:
    """Least-squares slope of each v_j on its own r_j; 0 where the control does not vary."""
    centred = r - r.mean(axis=0)
    var = np.einsum("nj,nj->j", centred, centred)
    cov = np.einsum("nj,nj->j", centred, v)
    void = var <= 1e-14 * len(r)
    return np.where(void, 0.0, cov / np.where(void, 1.0, var))


def pooled_variance(stage: Stage, x: Array, balance: Array, log_h: Array, log_q: Array) -> Array:
    """Variance per draw of an earlier stage's sampler, judged on all points drawn so far.

    Its own points may have missed the tail that makes its variance, and then it looks better than
    the later sampler that found the tail.
    """
    residual = balance
    if stage.mixture is not None:
        residual = balance - stage.beta * np.exp(log_components(x, stage.mixture) - log_h[:, None])
    second = np.mean(residual**2 * np.exp(log_h - log_q)[:, None], axis=0)
    variance: Array = np.maximum(second - residual.mean(axis=0) ** 2, 0.0)
    return variance


def _evaluate(f: Integrand, x: Array) -> Array:
    values = np.asarray(f(x), dtype=np.float64)
    return values[:, None] if values.ndim == 1 else values


def expect(
    f: Integrand,
    log_density: LogDensity,
    sample: Sampler,
    n: int,
    weights: Sequence[float] | Array | None = None,
    seed: int = 0,
    keep_best: bool = True,
    defensive: float = 0.1,
    defensive_base: float = 0.0,
    n_stages: int = 5,
    adapt_fraction: float = 0.5,
) -> dict[str, Any]:
    """Estimate J expectations from one adaptive importance sample.

    Parameters
    ----------
    f
        Integrand, (n, d) -> (n, J) or (n,).
    log_density
        Log-densities of the input law(s), (n, d) -> (n, 1) or (n, J).
    sample
        ``sample(rng, n, j)`` draws (n, d) from law j (0 when there is one law).
    n
        Budget of evaluations, adaptation included.
    weights
        Weights of the J variances; default 1 / estimate^2, refreshed at every stage.
    seed
        Seed of the generator.
    keep_best
        Use the better of the last two samplers (the stopping rule itself keeps the last).
    defensive
        Share of the mixture that is spread evenly over the components.
    defensive_base
        Share of the points that is drawn from the input laws themselves. It bounds the weights
        where an integrand's tails are heavier than those of the Gaussians.
    n_stages, adapt_fraction
        At most ``adapt_fraction * n`` evaluations in at most ``n_stages`` stages adapt.

    Returns
    -------
    dict
        mean (J,), cov (J, J), stderr (J,), n_evals, n_stages, stages.

    References
    ----------
    Demange-Chryst, Bachoc, Morio, "Efficient estimation of multiple expectations with the same
    sample by adaptive importance sampling and control variates", Statistics and Computing, 2023.
    """
    rng = np.random.default_rng(seed)
    n_stage = int(n * adapt_fraction) // n_stages

    def draw_laws(count: int) -> Array:
        shares = systematic_counts(np.ones(n_laws), count, rng)
        return np.concatenate([sample(rng, int(c), j) for j, c in enumerate(shares) if c])

    n_laws = log_density(sample(np.random.default_rng(seed), 1, 0)).shape[1]
    x = draw_laws(n_stage)
    phi = _evaluate(f, x)
    log_f = log_density(x)
    log_base = log_mean(log_f)
    u = phi * np.exp(log_f - log_base[:, None])
    n_out = u.shape[1]

    def draw_sampler(mix: Mixture, count: int) -> Array:
        from_laws = round(defensive_base * count)
        fitted = sample_mixture(mix, count - from_laws, rng)
        return np.concatenate([fitted, draw_laws(from_laws)]) if from_laws else fitted

    def criterion_weights(estimate: Array) -> Array:
        if weights is not None:
            return np.asarray(weights, dtype=np.float64)
        square = estimate**2
        return np.where(square > 0.0, 1.0 / np.where(square > 0.0, square, 1.0), 0.0)

    balance = u
    beta = u.mean(axis=0)
    w = criterion_weights(beta)
    alpha = np.sqrt(w) * np.abs(beta) + 1e-300
    alpha /= alpha.sum()
    used = n_stage
    stages = [Stage(None, beta, u.var(axis=0, ddof=1), used)]
    # One row per sampler used so far: the log-density of everything drawn, under each of them.
    log_q = [log_base]
    base = defensive_base
    mixture: Mixture | None = None
    log_h = log_base

    while len(stages) <= n_stages and used + n_stage <= int(n * adapt_fraction):
        mixture = fit_components(x, np.abs(balance), mixture)
        log_old = log_components(x, mixture)
        rho = np.exp(log_old - log_h[:, None])
        numerator = ((balance - beta * rho) ** 2) @ w
        floor = base * np.exp(log_q[0] - log_h)
        alpha = optimise_alpha(numerator, (1.0 - base) * rho, floor, 0.5 * alpha + 0.5 / n_out)
        alpha = (1.0 - defensive) * alpha + defensive / n_out
        mixture = mixture._replace(alpha=alpha)

        fresh = draw_sampler(mixture, n_stage)
        phi_new, log_f_new = _evaluate(f, fresh), log_density(fresh)
        log_new = log_components(fresh, mixture)
        base_new = log_mean(log_f_new)
        log_g_new = log_sampler(log_new, alpha, base, base_new)
        v = phi_new * np.exp(log_f_new - log_g_new[:, None])
        r = np.exp(log_new - log_g_new[:, None])
        beta = regression_slope(v, r)
        _, z = residual_moments(v, r, beta)

        past = [base_new]
        past += [
            log_sampler(log_components(fresh, q), q.alpha, base, base_new)
            for s in stages
            if (q := s.mixture) is not None
        ]
        log_q_old = log_sampler(log_old, alpha, base, log_q[0])
        log_q = [np.concatenate(pair) for pair in zip(log_q, past, strict=True)]
        log_q.append(np.concatenate([log_q_old, log_g_new]))
        x, phi = np.concatenate([x, fresh]), np.concatenate([phi, phi_new])
        log_f = np.concatenate([log_f, log_f_new])
        log_h = log_mean(np.stack(log_q, axis=1))  # stages are equally large

        balance = phi * np.exp(log_f - log_h[:, None])
        w = criterion_weights(balance.mean(axis=0))
        if keep_best:
            pooled = pooled_variance(stages[-1], x, balance, log_h, log_q[-2])
            stages[-1] = stages[-1]._replace(variance=pooled)
        used += n_stage
        stages.append(Stage(mixture, beta, z.var(axis=0, ddof=1), used))
        before, now = (s.variance @ w / (n - s.used) for s in stages[-2:])
        if before <= now:
            break

    chosen = stages[-1]
    if keep_best:
        # The number of remaining draws is the same for both, so the variance per draw decides.
        chosen = min(stages[-2:], key=lambda s: s.variance @ w)
    m = n - used
    if chosen.mixture is None:
        fresh = draw_laws(m)
        log_f = log_density(fresh)
        z = _evaluate(f, fresh) * np.exp(log_f - log_mean(log_f)[:, None])
        mean = z.mean(axis=0)
    else:
        fresh = draw_sampler(chosen.mixture, m)
        log_f = log_density(fresh)
        log_g = log_components(fresh, chosen.mixture)
        log_mix = log_sampler(log_g, chosen.mixture.alpha, base, log_mean(log_f))[:, None]
        v = _evaluate(f, fresh) * np.exp(log_f - log_mix)
        mean, z = residual_moments(v, np.exp(log_g - log_mix), chosen.beta)
    z = z - z.mean(axis=0)
    cov = z.T @ z / ((m - 1.0) * m)
    table = [
        {"stage": k, "n_evals": s.used, "forecast": float(s.variance @ w / (n - s.used)),
         "alpha": None if s.mixture is None else s.mixture.alpha}
        for k, s in enumerate(stages)
    ]  # fmt: skip
    return {
        "mean": mean,
        "cov": cov,
        "stderr": np.sqrt(np.diag(cov)),
        "n_evals": n,
        "n_stages": len(stages),
        "stages": table,
    }
