"""Write src/simd/normal_tables.rs: piecewise polynomials for the normal law.

Three functions are cut into pieces so short that a polynomial of degree 9, interpolated in
Chebyshev's points, is exact to 1e-18. The constant term is kept in two doubles, so that the sum
of a piece is rounded once. Run with mpmath and scipy installed:
python tools/normal_tables.py > src/simd/normal_tables.rs
"""

from __future__ import annotations

from collections.abc import Callable

from mpmath import cos, erfc, erfinv, exp, fsum, log, mp, mpf, pi, sqrt
from scipy.special import ndtri

mp.dps = 60
DEGREE = 9

Function = Callable[[mpf], mpf]


def polynomial(f: Function, centre: mpf, half: mpf) -> list[mpf]:
    """Give the coefficients in x - centre of the polynomial through Chebyshev's points."""
    n = DEGREE + 1
    nodes = [half * cos(pi * (2 * k + 1) / (2 * n)) for k in range(n)]
    table = [f(centre + u) for u in nodes]
    for level in range(1, n):
        for i in range(n - 1, level - 1, -1):
            table[i] = (table[i] - table[i - 1]) / (nodes[i] - nodes[i - level])
    coefficients = [mpf(0)] * n
    for i in range(n - 1, -1, -1):
        shifted = [mpf(0), *coefficients[:-1]]
        coefficients = [s - nodes[i] * c for s, c in zip(shifted, coefficients, strict=True)]
        coefficients[0] += table[i]
    test = [centre + half * mpf(j) / 7 for j in range(-7, 8)]
    for x in test:
        value = fsum(c * (x - centre) ** k for k, c in enumerate(coefficients))
        assert abs(value / f(x) - 1) < mpf(10) ** -17, (centre, x, value / f(x) - 1)
    return coefficients


def row(f: Function, centre: mpf, half: mpf, *extra: mpf) -> list[float]:
    """Give one piece: centre, extra numbers, low part of the constant, coefficients."""
    c = polynomial(f, centre, half)
    low = c[0] - mpf(float(c[0]))
    return [float(centre), *map(float, extra), float(low), *map(float, c)]


def octaves(first: int, last: int) -> list[tuple[mpf, mpf]]:
    """Give centres and half-widths of the pieces from one to another upper 16 bits of a double."""
    pieces = []
    for bits in range(first, last + 1):
        exponent, part = (bits >> 4) - 0x3FF, bits & 15
        width = mpf(2) ** exponent / 16
        pieces.append((mpf(2) ** exponent + (part + mpf(1) / 2) * width, width / 2))
    return pieces


def mills(z: mpf) -> mpf:
    """Give Q(z) exp(z²/2)."""
    return erfc(z / sqrt(mpf(2))) / 2 * exp(z * z / 2)


def quantile(p: mpf) -> mpf:
    """Give the point with probability p < 1/2 above it, by Newton's method."""
    x = mpf(float(-ndtri(float(p)))) if p > mpf(10) ** -300 else sqrt(-2 * log(p))
    for _ in range(100):
        ratio = mills(x)
        step = (log(ratio) - x * x / 2 - log(p)) * ratio * sqrt(2 * pi)
        x += step
        if abs(step) < mpf(10) ** -45:
            return x
    raise ArithmeticError(p)


def central(v: mpf) -> mpf:
    """Give the quantile of 1/2 + q, divided by q, at v = q²."""
    q = sqrt(v)
    return sqrt(mpf(2)) * erfinv(2 * q) / q


def table(name: str, doc: str, rows: list[list[float]]) -> str:
    """Format one Rust table, a row a line."""
    lines = "\n".join("    [" + ", ".join(map(repr, r)) + "]," for r in rows)
    size = f"[[f64; {len(rows[0])}]; {len(rows)}]"
    return f"\n/// {doc}\n#[rustfmt::skip]\npub(super) static {name}: {size} = [\n{lines}\n];\n"


def main() -> None:
    """Print the Rust file."""
    tail = []
    for y, half in octaves(0x3FF0, 0x3FF0 + 84):
        z = y - 1
        root = z / sqrt(mpf(2))
        high = mpf(float(root))
        tail.append(row(mills, z, half, high, root - high))
    far = [row(lambda s: quantile(exp(-s)), *piece) for piece in octaves(0x3FF9, 0x4087)]
    near = []
    for i in range(16):
        centre = mpf(float((i + mpf(1) / 2) / 176))
        near.append(row(central, centre, mpf(1) / 352))
    print("//! Pieces of the normal law. Written by tools/normal_tables.py; do not edit.")
    print("#![allow(clippy::unreadable_literal, clippy::excessive_precision)]")
    text = table(
        "MILLS",
        "Q(z) exp(z²/2): centre, the same over √2 in two parts, low part, coefficients; pieces of\n"
        "/// 1 + z by its upper 16 bits.",
        tail,
    )
    text += table(
        "QUANTILE_TAIL",
        "The quantile's size over s = -ln p: centre, low part, coefficients; pieces of s by its\n"
        "/// upper 16 bits, from 1.5625.",
        far,
    )
    text += table(
        "QUANTILE_CENTRE",
        "The quantile of ½ + q over q, in q²: centre, low part, coefficients; pieces of 1/176.",
        near,
    )
    print(text, end="")


if __name__ == "__main__":
    main()
