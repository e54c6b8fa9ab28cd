"""Script that writes special_values.npz: incomplete beta and gamma functions by mpmath.

The arguments are random. Every tail is computed twice with 50 digits: by a continued fraction or a
series, and by Gauss-Legendre quadrature of the density over the logit or logarithm of the argument.
The script stops if the two differ by more than 1e-25. Run it as
``python tests/support/make_special_values.py``.
"""

from __future__ import annotations

import math
from pathlib import Path

import mpmath as mp
import numpy as np
from mpmath import mpf

mp.mp.dps = 50
N_BETA, N_GAMMA = 3000, 1500
AGREE = mpf(10) ** -25


def gauss_legendre(n: int) -> list[tuple[mpf, mpf]]:
    """Return nodes and weights on [0, 1]."""
    rule = []
    for i in range(n):
        x = mp.cos(mp.pi * (i + mpf(3) / 4) / (n + mpf(1) / 2))
        for _ in range(8):
            before, value = mpf(1), x
            for k in range(2, n + 1):
                before, value = value, ((2 * k - 1) * x * value - (k - 1) * before) / k
            slope = n * (x * value - before) / (x * x - 1)
            x -= value / slope
        rule.append(((1 + x) / 2, 1 / ((1 - x * x) * slope**2)))
    return rule


RULE = gauss_legendre(36)


def quadrature(exponent) -> mpf:
    """Return the integral of exp(-exponent(s)) over s >= 0 for a convex increasing exponent."""
    length = mpf(1)
    while exponent(length) > 75:
        length /= 2
    while exponent(length) < 75:
        length *= 2
    low, high = length / 2, length
    for _ in range(12):
        middle = (low + high) / 2
        if exponent(middle) < 75:
            low = middle
        else:
            high = middle
    panels = 8
    # Panels of about the same change of the exponent separate steep from flat parts.
    step = high / panels
    total = mpf(0)
    for i in range(panels):
        for node, weight in RULE:
            total += weight * mp.exp(-exponent((i + node) * step))
    return total * step


def lentz(first, terms) -> mpf:
    """Return 1 / (first + a_1 / (b_1 + ...)) for the terms (a_k, b_k)."""
    value = c = first
    d = mpf(0)
    for a, b in terms:
        d = 1 / (b + a * d)
        c = b + a / c
        value *= c * d
        if abs(c * d - 1) < mpf(10) ** -46:
            return 1 / value
    raise ArithmeticError("no convergence")


def beta_terms(a, b, x):
    """Return the terms of the even part of the continued fraction of I_x(a, b)."""
    n = a + b
    k = 0
    while True:
        k += 1
        alpha = (a + k - 1) * (n + k - 1) * k * (b - k) * x * x / (a + 2 * k - 1) ** 2
        beta = k + k * (b - k) * x / (a + 2 * k - 1)
        beta += (a + k) / (a + 2 * k + 1) * (a - n * x + 1 + k * (2 - x))
        yield alpha, beta


def ln_beta_tail(a: mpf, b: mpf, x: mpf) -> mpf:
    """Return ln I_x(a, b) for x below about the mean."""
    n = a + b
    density = a * mp.log(x) + b * mp.log1p(-x)
    density += mp.loggamma(n) - mp.loggamma(a) - mp.loggamma(b)
    if a < 1:
        with mp.workdps(80):
            ratio = mp.hyp2f1(n, 1, a + 1, x) / a
            other = mp.hyp2f1(a, 1 - b, a + 1, x) / a * (1 - x) ** -b
    else:
        ratio = lentz(a / (a + 1) * (a - n * x + 1), beta_terms(a, b, x))
        other = quadrature(lambda s: a * s + n * mp.log1p(x * mp.expm1(-s)))
    assert abs(ratio / other - 1) < AGREE, (a, b, x, ratio / other - 1)
    return density + mp.log(ratio)


def ln_gamma_tail(a: mpf, x: mpf, lower: bool) -> mpf:
    """Return ln P(a, x) below the mean and ln Q(a, x) above it."""
    density = a * mp.log(x) - x - mp.loggamma(a)
    if lower:
        term = total = mpf(1)
        k = a
        while term > total * mpf(10) ** -48:
            k += 1
            term *= x / k
            total += term
        ratio = total / a
        if a < 1:
            other = mp.hyp1f1(a, a + 1, -x) / a * mp.exp(x)
        else:
            other = quadrature(lambda s: a * s + x * mp.expm1(-s))
    else:
        terms = ((k * (a - k), x + 1 - a + 2 * k) for k in range(1, 200_000))
        ratio = lentz(x + 1 - a, terms)
        other = quadrature(lambda s: x * mp.expm1(s) - a * s)
    assert abs(ratio / other - 1) < AGREE, (a, x, lower, ratio / other - 1)
    return density + mp.log(ratio)


def both(ln_tail: mpf, is_lower: bool) -> list[float]:
    """Return the lower and the upper tail and their logarithms."""
    tail = mp.exp(ln_tail)
    # Of two forms of the complement, the one that does not cancel.
    other = -mp.expm1(ln_tail)
    ln_other = mp.log1p(-tail) if tail < 0.5 else mp.log(other)
    pairs = [(tail, ln_tail), (other, ln_other)]
    (low, ln_low), (up, ln_up) = pairs if is_lower else pairs[::-1]
    return [float(low), float(up), float(ln_low), float(ln_up)]


def beta_rows(rng: np.random.Generator) -> np.ndarray:
    """Return rows of random arguments of all sizes with their tails."""
    rows = []
    while len(rows) < N_BETA:
        a, b = 10.0 ** rng.uniform(-3, 8, 2)
        if rng.random() < 0.3:
            a, b = np.round(a + 1), np.round(b + 1)
        kind = rng.integers(3)
        if kind == 0:  # near the mean, in units of the spread
            w = math.log(a / b) + rng.uniform(-38, 38) * math.sqrt(1 / a + 1 / b)
            if abs(w) > 600:
                continue
            x = 1 / (1 + math.exp(-w))
        elif kind == 1:  # next to 0
            x = 10.0 ** -rng.uniform(0, 300)
        else:  # next to 1
            x = 1.0 - 10.0 ** -rng.uniform(0, 16)
        if not 0.0 < x < 1.0:
            continue
        ma, mb, mx = mpf(a), mpf(b), mpf(x)
        is_lower = (
            mx * (mb + 1) <= (1 - mx) * (ma + 1) if min(a, b) < 1 else mx * mb <= (1 - mx) * ma
        )
        parts = (ma, mb, mx) if is_lower else (mb, ma, 1 - mx)
        if parts[0] < 1 and parts[2] * parts[1] > 40:
            continue
        value = ln_beta_tail(*parts)
        if value > -20_000:
            rows.append([a, b, x, *both(value, is_lower)])
    return np.array(rows)


def gamma_rows(rng: np.random.Generator) -> np.ndarray:
    """Return rows of random arguments of all sizes with their tails."""
    rows = []
    while len(rows) < N_GAMMA:
        a = 10.0 ** rng.uniform(-3, 8)
        if rng.random() < 0.7:
            x = (
                a * math.exp(rng.uniform(-38, 38) / math.sqrt(a))
                if a > 30
                else a * 10.0 ** rng.uniform(-3, 2.5)
            )
        else:
            x = 10.0 ** rng.uniform(-300, 3)
        ma, mx = mpf(a), mpf(x)
        is_lower = x <= a + 1 if a < 1 else x <= a
        if not is_lower and x < a + 1e-3 * math.sqrt(a):
            continue
        if abs(mx - ma) > 2000 * mp.sqrt(ma) + 20000:
            continue
        value = ln_gamma_tail(ma, mx, is_lower)
        if value > -20_000:
            rows.append([a, x, *both(value, is_lower)])
    return np.array(rows)


def main() -> None:
    """Write the table."""
    rng = np.random.default_rng(20)
    beta, gamma = beta_rows(rng), gamma_rows(rng)
    path = Path(__file__).with_name("special_values.npz")
    np.savez_compressed(path, beta=beta, gamma=gamma)


if __name__ == "__main__":
    main()
