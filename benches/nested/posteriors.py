"""Likelihoods of the kinds that users have, with known evidences, for `benches.nested.calibration`.

`POSTERIORS` has a function for each: a regression, laws that are bent, narrow, in a corner or heavy
in the tails, modes of unequal width, and expansion rates of a universe.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from benches.nested.problem import Array, Problem
from numpy.polynomial.legendre import leggauss
from scipy.integrate import quad
from scipy.special import erf, logsumexp
from scipy.stats import t as student_t

LOG_2PI = math.log(2.0 * math.pi)


def _box(dim: int, low: float, high: float) -> tuple[Array, Array]:
    return np.full(dim, low), np.full(dim, high)


def regression() -> Problem:
    """Six coefficients of a polynomial from 40 observations, in closed form."""
    dim, n, noise = 6, 40, 0.5
    rng = np.random.default_rng(11)
    design = np.linspace(-1.0, 1.0, n)[:, None] ** np.arange(dim)
    y = design @ np.array([1.0, -2.0, 0.5, 1.5, -1.0, 0.7]) + noise * rng.normal(size=n)
    precision = design.T @ design / noise**2
    best = np.linalg.solve(precision, design.T @ y / noise**2)
    left = y - design @ best
    top = -0.5 * float(left @ left) / noise**2 - n * (0.5 * LOG_2PI + math.log(noise))
    exact = top + 0.5 * (dim * LOG_2PI - np.linalg.slogdet(precision)[1]) - dim * math.log(40.0)

    def values(x: Array) -> Array:
        out: Array = top - 0.5 * np.einsum("ij,jk,ik->i", x - best, precision, x - best)
        return out

    def scalar(x):  # type: ignore[no-untyped-def]
        total = 0.0
        for j in range(dim):
            for k in range(dim):
                total += (x[j] - best[j]) * precision[j, k] * (x[k] - best[k])
        return top - 0.5 * total

    return Problem("regression 6", *_box(dim, -20.0, 20.0), values, scalar, float(exact), best)


def banana() -> Problem:
    """A normal law with the sds 10 and 1, bent along a parabola."""
    dim, bend = 8, 0.03
    low, high = np.full(dim, -10.0), np.full(dim, 10.0)
    low[0], high[0], low[1], high[1] = -60.0, 60.0, -30.0, 150.0
    log_norm = -0.5 * dim * LOG_2PI - math.log(10.0)

    def values(x: Array) -> Array:
        across = x[:, 1] - bend * (x[:, 0] ** 2 - 100.0)
        out: Array = log_norm - 0.5 * ((x[:, 0] / 10.0) ** 2 + across**2)
        return out - 0.5 * np.einsum("ij,ij->i", x[:, 2:], x[:, 2:])

    def scalar(x):  # type: ignore[no-untyped-def]
        across = x[1] - bend * (x[0] * x[0] - 100.0)
        total = 0.01 * x[0] * x[0] + across * across
        for j in range(2, dim):
            total += x[j] * x[j]
        return log_norm - 0.5 * total

    # The parabola leaves the box where |x[0]| > 78, at 8 sd.
    exact = -float(np.sum(np.log(high - low)))
    return Problem("banana 8", low, high, values, scalar, exact)


def narrow() -> Problem:
    """A normal law whose sds fall from a tenth to a ten-thousandth of the box."""
    dim = 10
    sd = np.geomspace(0.1, 1e-4, dim)
    log_norm = -0.5 * dim * LOG_2PI - float(np.log(sd).sum())

    def values(x: Array) -> Array:
        z = (x - 0.3) / sd
        out: Array = log_norm - 0.5 * np.einsum("ij,ij->i", z, z)
        return out

    def scalar(x):  # type: ignore[no-untyped-def]
        total = 0.0
        for j in range(dim):
            z = (x[j] - 0.3) / sd[j]
            total += z * z
        return log_norm - 0.5 * total

    exact = -dim * math.log(2.0)
    return Problem("narrow 10", *_box(dim, -1.0, 1.0), values, scalar, exact, np.full(dim, 0.3))


def corner() -> Problem:
    """Exponential decay from a corner of the cube."""
    dim, scale = 12, 0.05

    def values(x: Array) -> Array:
        out: Array = -x.sum(axis=1) / scale
        return out

    def scalar(x):  # type: ignore[no-untyped-def]
        total = 0.0
        for j in range(dim):
            total -= x[j] / scale
        return total

    exact = dim * math.log(scale * -math.expm1(-1.0 / scale))
    return Problem("corner 12", *_box(dim, 0.0, 1.0), values, scalar, exact, np.full(dim, scale))


def student() -> Problem:
    """Two products of Student's t with three degrees of freedom."""
    dim, df, half = 8, 3.0, 30.0
    log_norm = math.lgamma(0.5 * (df + 1.0)) - math.lgamma(0.5 * df) - 0.5 * math.log(df * math.pi)
    parts = ((0.6, 5.0), (0.4, -5.0))

    def values(x: Array) -> Array:
        logs = [
            math.log(share)
            + (log_norm - 0.5 * (df + 1.0) * np.log1p((x - at) ** 2 / df)).sum(axis=1)
            for share, at in parts
        ]
        out: Array = np.logaddexp(*logs)
        return out

    def scalar(x):  # type: ignore[no-untyped-def]
        a, b = math.log(0.6), math.log(0.4)
        for j in range(dim):
            a += log_norm - 0.5 * (df + 1.0) * math.log1p((x[j] - 5.0) ** 2 / df)
            b += log_norm - 0.5 * (df + 1.0) * math.log1p((x[j] + 5.0) ** 2 / df)
        return max(a, b) + math.log1p(math.exp(-abs(a - b)))

    inside = [student_t.cdf(half - at, df) - student_t.cdf(-half - at, df) for _, at in parts]
    masses = [share * mass**dim for (share, _), mass in zip(parts, inside, strict=True)]
    exact = math.log(sum(masses)) - dim * math.log(2.0 * half)
    return Problem("student 8", *_box(dim, -half, half), values, scalar, exact)


def funnel(v: float = 9.0, side: float = 20.0) -> Problem:
    """Neal's funnel in seven dimensions, in the box of half-widths `v` and `side`."""
    dim = 7
    low, high = np.full(dim, -side), np.full(dim, side)
    low[0], high[0] = -v, v
    log_norm = -0.5 * dim * LOG_2PI - math.log(3.0)

    def values(x: Array) -> Array:
        squares = np.einsum("ij,ij->i", x[:, 1:], x[:, 1:])
        out: Array = log_norm - x[:, 0] ** 2 / 18.0 - 0.5 * (dim - 1) * x[:, 0]
        return out - 0.5 * squares * np.exp(-x[:, 0])

    def scalar(x):  # type: ignore[no-untyped-def]
        squares = 0.0
        for j in range(1, dim):
            squares += x[j] * x[j]
        flat = log_norm - x[0] * x[0] / 18.0 - 0.5 * (dim - 1) * x[0]
        return flat - 0.5 * squares * math.exp(-x[0])

    def slice_of(at: float) -> float:
        inside = erf(side / math.exp(at / 2) / math.sqrt(2)) ** (dim - 1)
        return float(math.exp(-at * at / 18) / math.sqrt(18 * math.pi) * inside)

    exact = math.log(quad(slice_of, -v, v, limit=500)[0]) - float(np.sum(np.log(high - low)))
    return Problem("funnel 7", low, high, values, scalar, exact)


def five_modes() -> Problem:
    """Five normal laws; the one with 30 % of the mass is narrow, and 500 points rarely see it."""
    dim = 4
    shares = np.array([0.3, 0.25, 0.2, 0.15, 0.1])
    sds = np.array([0.012, 0.05, 0.04, 0.05, 0.03])
    centres = np.array([[2, 8, 3, 7], [3, 3, 3, 3], [7, 7, 7, 7], [3, 7, 7, 3], [7, 3, 3, 7]]) / 10
    logs = np.log(shares) - 0.5 * dim * LOG_2PI - dim * np.log(sds)

    def values(x: Array) -> Array:
        z = (x[:, None, :] - centres) / sds[:, None]
        out: Array = np.logaddexp.reduce(logs - 0.5 * np.einsum("ijk,ijk->ij", z, z), axis=1)
        return out

    def scalar(x):  # type: ignore[no-untyped-def]
        parts = np.empty(5)
        for k in range(5):
            total = logs[k]
            for j in range(dim):
                total -= 0.5 * ((x[j] - centres[k, j]) / sds[k]) ** 2
            parts[k] = total
        top = parts.max()
        return top + math.log(np.exp(parts - top).sum())

    return Problem("five modes 4", *_box(dim, 0.0, 1.0), values, scalar, 0.0, shares @ centres)


REDSHIFTS = np.linspace(0.07, 2.3, 30)


def expansion() -> Problem:
    """Expansion rates H(z) at 30 redshifts; H0, the share of matter, and w of dark energy."""
    error = 8.0 + 12.0 * REDSHIFTS
    cube, log_z1 = (1.0 + REDSHIFTS) ** 3, np.log1p(REDSHIFTS)
    truth = 70.0 * np.sqrt(0.3 * cube + 0.7)
    observed = truth + error * np.random.default_rng(5).normal(size=len(REDSHIFTS))
    constant = -float(np.log(error).sum()) - 0.5 * len(REDSHIFTS) * LOG_2PI
    low, high = np.array([50.0, 0.0, -3.0]), np.array([100.0, 1.0, 0.0])

    def values(x: Array) -> Array:
        dark = (1.0 - x[:, 1:2]) * np.exp(3.0 * (1.0 + x[:, 2:3]) * log_z1)
        left = (observed - x[:, :1] * np.sqrt(x[:, 1:2] * cube + dark)) / error
        out: Array = constant - 0.5 * np.einsum("ij,ij->i", left, left)
        return out

    def scalar(x):  # type: ignore[no-untyped-def]
        total = 0.0
        for j in range(len(REDSHIFTS)):
            dark = (1.0 - x[1]) * math.exp(3.0 * (1.0 + x[2]) * log_z1[j])
            left = (observed[j] - x[0] * math.sqrt(x[1] * cube[j] + dark)) / error[j]
            total += left * left
        return constant - 0.5 * total

    nodes, weights = leggauss(80)
    axes = [a + 0.5 * (b - a) * (nodes + 1.0) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    shares = np.einsum("i,j,k->ijk", weights, weights, weights).ravel() / 8.0
    exact = float(logsumexp(np.concatenate([values(p) for p in np.split(grid, 80)]), b=shares))
    return Problem("expansion 3", low, high, values, scalar, exact)


POSTERIORS: dict[str, Callable[[], Problem]] = {
    "regression6": regression,
    "banana8": banana,
    "narrow10": narrow,
    "corner12": corner,
    "student8": student,
    "funnel7": funnel,
    "five_modes": five_modes,
    "expansion": expansion,
}
