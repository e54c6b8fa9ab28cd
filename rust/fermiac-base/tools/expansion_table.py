"""Writes src/special/expansion_table.rs: the series behind tails at large parameters.

Let z be the signed root of twice the log-density's fall from the mode. For the beta law, X = x - p
with p = a / n obeys X X' = u (p + X) (q - X) in u = z / sqrt(n), which is the differential equation
of the law over its logit. Scaled by sqrt(kappa), kappa = a b / n, it reads

    Y Y' = z (1 + delta Y - w Y^2 / 4),    delta = (b - a) / n,    w = 4 a b / n^2 = 1 - delta^2

and the density over the logit becomes phi(z) r(z), r = z / Y = sum of rho_k z^k, where rho_k is
delta^(k mod 2) times a polynomial in w with rational coefficients. The gamma law is delta = 1.
"""

from fractions import Fraction
from pathlib import Path

TERMS = 32


def times(p, q):
    """Multiply polynomials in (c, e): dicts from powers to coefficients."""
    out = {}
    for (i, j), a in p.items():
        for (k, m), b in q.items():
            out[i + k, j + m] = out.get((i + k, j + m), 0) + a * b
    return out


def plus(p, q, factor=1):
    """Give p + factor q."""
    out = dict(p)
    for key, b in q.items():
        out[key] = out.get(key, 0) + factor * b
    return out


def series():
    """Give rho_1 .. rho_TERMS as polynomials in (delta, w / 4)."""
    one = {(0, 0): Fraction(1)}
    delta, quarter = {(1, 0): Fraction(1)}, {(0, 1): Fraction(1)}
    y, square = {0: {}, 1: one}, {0: {}, 1: {}, 2: one}
    for m in range(3, TERMS + 3):
        right = plus(times(delta, y[m - 2]), times(quarter, square[m - 2]), -1)
        square[m] = {key: 2 * v / m for key, v in right.items()}
        rest = square[m]
        for i in range(2, m - 1):
            rest = plus(rest, times(y[i], y[m - i]), -1)
        y[m - 1] = {key: v / 2 for key, v in rest.items()}
    r = [one]
    for k in range(1, TERMS + 1):
        total = {}
        for j in range(1, k + 1):
            total = plus(total, times(y[j + 1], r[k - j]), -1)
        r.append(total)
    return r[1:]


def in_w(polynomial):
    """Write a polynomial in (delta, w / 4) as delta^(0 or 1) times one in w: its coefficients."""
    out = [Fraction(0)] * (TERMS // 2 + 1)
    for (i, j), value in polynomial.items():
        half = i // 2  # delta^2 = 1 - w
        binomial = Fraction(1)
        for m in range(half + 1):
            out[m + j] += value * binomial * (-1) ** m / Fraction(4) ** j
            binomial = binomial * (half - m) / (m + 1)
    return out


def main():
    """Write the table."""
    rows = list(zip(*map(in_w, series()), strict=True))
    lines = [
        "//! The series of `expansion.rs`, written by tools/expansion_table.py.",
        "#![allow(clippy::unreadable_literal, clippy::excessive_precision)]",
        "",
        "use crate::simd::V;",
        "",
        "/// The number of terms.",
        f"pub(super) const TERMS: usize = {TERMS};",
        "",
        "/// Row j: the coefficients of wʲ in ρ₁ … ρ₃₂ (at odd index without their factor δ).",
        "#[rustfmt::skip]",
        f"pub(super) static RHO: [[V; {TERMS // 8}]; {len(rows)}] = [",
    ]
    for row in rows:
        lines.append("    [")
        for k in range(0, TERMS, 8):
            values = [repr(float(v)) for v in row[k : k + 8]]
            lines.append(f"        V([{', '.join(values)}]),")
        lines.append("    ],")
    lines.append("];")
    target = Path(__file__).resolve().parents[1] / "src" / "special" / "expansion_table.rs"
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
