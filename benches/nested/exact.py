"""Evidences and posterior means of the benchmark problems by quadrature or closed forms.

``python -m benches.nested.exact`` prints them beside the values stored in the problems. If draws
from the prior find the peak, it also prints their mean likelihood, which checks that likelihood and
integral belong to one problem.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath as mp
import numpy as np
from benches.nested.problem import Array, Problem
from benches.nested.problems import CAKE, KAPPA, NOISE, PROBLEMS, SHELL, TIMES, alias_data, problem
from numpy.polynomial.legendre import leggauss
from scipy.integrate import quad
from scipy.special import log_ndtr, logsumexp, ndtr


class Exact(NamedTuple):
    log_evidence: float
    means: Any = None


def _nodes(n: int, low: float, high: float, panels: int = 1) -> tuple[Array, Array]:
    """Gauss-Legendre nodes and weights on panels of equal length."""
    x, w = leggauss(n)
    edges = np.linspace(low, high, panels + 1)
    half = 0.5 * np.diff(edges)
    middle = 0.5 * (edges[1:] + edges[:-1])
    return (middle[:, None] + half[:, None] * x).ravel(), (half[:, None] * w).ravel()


def gauss(dim: int) -> Exact:
    """The share outside of the box, 9 sd away, is below 1e-17."""
    return Exact(-dim * math.log(20.0), np.linspace(-1.0, 1.0, dim))


def eggbox() -> Exact:
    x, w = _nodes(40, 0.0, 10.0 * math.pi, 40)
    waves = np.cos(0.5 * x)
    ell = (2.0 + np.outer(waves, waves)) ** 5
    log_z = logsumexp(ell, b=np.outer(w, w)) - 2.0 * math.log(10.0 * math.pi)
    return Exact(float(log_z), np.full(2, 5.0 * math.pi))


def shells(dim: int) -> Exact:
    """One shell over the radius; what lies outside the box is below 1e-7 of all."""
    radius, width, _ = (mp.mpf(str(v)) for v in SHELL)
    surface = 2 * mp.pi ** (mp.mpf(dim) / 2) / mp.gamma(mp.mpf(dim) / 2)
    mass = mp.quad(
        lambda r: r ** (dim - 1) * mp.npdf(r, radius, width),
        [max(mp.mpf(0), radius - k * width) for k in (20, 6, 3, 0)]
        + [radius + k * width for k in (3, 6, 20)],
    )
    return Exact(float(mp.log(2 * surface * mass) - dim * mp.log(12)), np.zeros(dim))


def rosenbrock(dim: int, panels: int = 150) -> Exact:
    """A chain of integrals of one coordinate each, from both ends for the means."""
    x, w = _nodes(40, -5.0, 5.0, panels)
    log_w = np.log(w / 10.0)
    log_step = -100.0 * (x[None, :] - x[:, None] ** 2) ** 2 - (1.0 - x[:, None]) ** 2
    top = log_step.max(axis=1)
    step = np.exp(log_step - top[:, None])  # from row to column

    def product(matrix: Array, log_v: Array) -> Array:
        peak = log_v.max()
        with np.errstate(divide="ignore"):
            out: Array = np.log(matrix @ np.exp(log_v - peak)) + peak
        return out

    forward, backward = [log_w], [np.zeros_like(x)]
    for _ in range(dim - 1):
        forward.append(product(step.T, forward[-1] + top) + log_w)
        backward.append(product(step, backward[-1] + log_w) + top)
    log_z = float(logsumexp(forward[-1]))
    means = [float(np.exp(forward[j] + backward[dim - 1 - j] - log_z) @ x) for j in range(dim)]
    return Exact(log_z, np.array(means))


def mix() -> Exact:
    """The share outside of the box, 14 sd away, is below 1e-40."""
    return Exact(-10.0 * math.log(20.0), np.full(10, 0.7 * 3.0 - 0.3 * 3.0))


def spike_and_slab() -> Exact:
    slab = mp.erf(mp.mpf(5) / mp.sqrt(2)) ** 20
    return Exact(float(mp.log((100 + slab) / 101)), np.full(20, 3.1 / 101.0))


def loggamma(dim: int = 10) -> Exact:
    """A product of truncated laws; the means leave the truncation out, 1e-6."""

    def log_gamma(loc: Any) -> Any:
        # The exponential of its draws has an exponential law.
        return mp.exp(-mp.exp((0 - loc) * 30)) - mp.exp(-mp.exp((1 - loc) * 30))

    def normal(loc: Any) -> Any:
        return mp.ncdf((1 - loc) * 30) - mp.ncdf((0 - loc) * 30)

    third = mp.mpf(1) / 3
    mass = (log_gamma(third) + log_gamma(2 * third)) / 2
    mass *= (normal(third) + normal(2 * third)) / 2
    n = dim // 2 - 1
    mass *= log_gamma(2 * third) ** n * normal(2 * third) ** n
    shift = -float(mp.euler) / 30.0
    means = [0.5 + shift, 0.5, *[2.0 / 3.0 + shift] * n, *[2.0 / 3.0] * n]
    return Exact(float(mp.log(mass)), np.array(means))


def correlated_funnel() -> Exact:
    """What a share of all 19 coordinates has in common is integrated last but one."""
    own, common = math.sqrt(0.05), math.sqrt(0.95)
    g, weights = _nodes(40, -9.0, 9.0, panels=20)
    weights = weights * np.exp(-0.5 * g * g) / math.sqrt(2.0 * math.pi)
    x, of_x = _nodes(40, -10.0, 10.0, panels=20)
    of_x = of_x * np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
    side = 10.0 * np.exp(-0.5 * x[:, None])
    inside = ndtr((side - common * g) / own) - ndtr((-side - common * g) / own)
    mass = of_x * (inside**19 @ weights)
    means = np.zeros(20)
    means[0] = (x @ mass) / mass.sum()
    return Exact(math.log(mass.sum()) - 20 * math.log(20.0), means)


def wedding_cake(dim: int) -> Exact:
    ratio, width = CAKE
    tiers = np.arange(2000.0)
    log_mass = tiers * math.log(ratio) + math.log1p(-ratio)
    ell = -np.exp(2.0 / dim * math.log(ratio) * tiers) / (8.0 * width**2)
    return Exact(float(logsumexp(log_mass + ell)), np.full(dim, 0.5))


def ordered(dim: int) -> Exact:
    """Order statistics of normal draws; what lies outside the box is below 1e-5 of all."""
    inside = float(ndtr(5.0) - ndtr(-5.0)) ** dim
    log_z = math.log(inside) - dim * math.log(10.0) - math.lgamma(dim + 1.0)

    def mean(j: int) -> float:
        def f(x: float) -> float:
            log_p = j * log_ndtr(x) + (dim - 1 - j) * log_ndtr(-x) - 0.5 * x * x
            return float(x * math.exp(log_p)) / math.sqrt(2.0 * math.pi)

        ways = dim * math.comb(dim - 1, j)
        return ways * float(quad(f, -10.0, 10.0, epsabs=1e-13)[0])

    return Exact(log_z, np.array([mean(j) for j in range(dim)]))


def von_mises(dim: int) -> Exact:
    return Exact(dim * float(mp.log(mp.besseli(0, KAPPA))), np.full(dim, math.pi))


def alias(n_frequency: int = 24, panels: int = 24, n_phase: int = 2000) -> Exact:
    """Amplitude and offset in closed form, a sum over the phase, a rule over the frequency.

    At whole times f, f + 1 and 1 - f with the mirrored phase are one curve: the seven halves of
    the unit in the range of f have one integral.
    """
    y = alias_data()
    n = len(y)
    f, w = _nodes(n_frequency, 0.0, 0.5, panels)
    phase = (np.arange(n_phase) + 0.5) * 2.0 * math.pi / n_phase
    at_all, log_parts = [], []
    log_norm = -n * math.log(NOISE * math.sqrt(2.0 * math.pi))
    for frequency, weight in zip(f, w, strict=True):
        wave = np.sin(2.0 * math.pi * frequency * TIMES + phase[:, None])
        # Minus half the square of (y - a wave - c) / noise: the offset first, then the amplitude.
        mean_wave, mean_y = wave.mean(axis=1), y.mean()
        s_ww = ((wave - mean_wave[:, None]) ** 2).sum(axis=1) / NOISE**2
        s_wy = ((wave - mean_wave[:, None]) * (y - mean_y)).sum(axis=1) / NOISE**2
        s_yy = ((y - mean_y) ** 2).sum() / NOISE**2
        at, sd = s_wy / s_ww, 1.0 / np.sqrt(s_ww)
        low, high = -at / sd, (4.0 - at) / sd  # of the amplitude, in its sd
        inside = log_ndtr(-low) + np.log1p(-np.exp(log_ndtr(-high) - log_ndtr(-low)))
        log_amplitude = 0.5 * s_wy * at + np.log(sd * math.sqrt(2.0 * math.pi)) + inside
        log_offset = 0.5 * math.log(2.0 * math.pi / n) + math.log(NOISE)
        log_part = log_norm - 0.5 * s_yy + log_offset + log_amplitude + math.log(weight)
        edge = np.exp(-0.5 * low**2 - inside) - np.exp(-0.5 * high**2 - inside)
        amplitude = at + sd * edge / math.sqrt(2.0 * math.pi)
        log_parts.append(log_part)
        offset = mean_y - amplitude * mean_wave
        at_all.append(np.column_stack([np.full(n_phase, frequency), phase, amplitude, offset]))
    log_p, values = np.concatenate(log_parts), np.concatenate(at_all)
    # Times 7 halves, over the volume 3.5 x 2 pi x 4 x 8; each phase stands for 2 pi / n_phase.
    log_z = logsumexp(log_p) + math.log(7.0) - math.log(n_phase) - math.log(3.5 * 4.0 * 8.0)
    means = np.exp(log_p - logsumexp(log_p)) @ values
    # Halves of even number hold f, the three of odd number 1 - f with the phase pi - phase.
    means[0] = (12.0 + means[0]) / 7.0
    mirrored = np.exp(log_p - logsumexp(log_p)) @ np.mod(math.pi - values[:, 1], 2.0 * math.pi)
    means[1] = (4.0 * means[1] + 3.0 * mirrored) / 7.0
    return Exact(float(log_z), means)


EXACT: dict[str, Callable[[], Exact]] = {
    "gauss5": lambda: gauss(5),
    "gauss20": lambda: gauss(20),
    "eggbox": eggbox,
    "shells2": lambda: shells(2),
    "shells10": lambda: shells(10),
    "rosenbrock2": lambda: rosenbrock(2),
    "rosenbrock10": lambda: rosenbrock(10),
    "mix10": mix,
    "loggamma10": loggamma,
    "loggamma30": lambda: loggamma(30),
    "funnel20": correlated_funnel,
    "constant": lambda: Exact(-1.5, np.full(2, 0.5)),
    "spike_and_slab": spike_and_slab,
    "alias": alias,
    "von_mises": lambda: von_mises(4),
    "wedding_cake": lambda: wedding_cake(4),
    "ordered": lambda: ordered(4),
}


def by_draws(p: Problem, blocks: int = 40, size: int = 50_000) -> tuple[float, float]:
    """The log-evidence from points of the prior, and its error."""
    rng = np.random.default_rng(5)
    ell = [p.values(p.transform(rng.uniform(size=(size, p.dim)))) for _ in range(blocks)]
    weights = np.exp(np.array(ell) - np.max(ell))
    error = weights.std() / (weights.mean() * math.sqrt(weights.size))
    return math.log(weights.mean()) + float(np.max(ell)), float(error)


def main() -> None:
    for name in PROBLEMS:
        p, exact = problem(name), EXACT[name]()
        apart = math.nan if p.means is None else np.max(np.abs(p.means - exact.means))
        off = p.log_evidence - exact.log_evidence
        line = f"{name}: log Z {exact.log_evidence:.12g}, kept {off:+.0e} and means {apart:.0e} off"
        if p.dim <= 5:
            line += ", from draws {:.4f} +- {:.4f}".format(*by_draws(p))
        print(line)


if __name__ == "__main__":
    main()
