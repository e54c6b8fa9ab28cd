"""Write src/simd/normal_values.rs: arguments and values of the kernels, for their tests.

Each value is given as the nearest double and what it lacks. Run with mpmath installed:
python tools/normal_values.py > src/simd/normal_values.rs
"""

from __future__ import annotations

import random
from collections.abc import Callable

from mpmath import erf, erfc, erfinv, exp, log, mp, mpf, sqrt

mp.dps = 60
SIZE = 120

Function = Callable[[mpf], mpf]


def quantile(p: mpf) -> mpf:
    """Give the quantile by bisection of ln Φ, checked by Newton's steps."""
    if mpf(1) / 5 < p < mpf(4) / 5:
        return sqrt(mpf(2)) * erfinv(2 * p - 1)
    tail = min(p, 1 - p)
    low, high = mpf(0), mpf(40)
    while high - low > mpf(10) ** -12:
        middle = (low + high) / 2
        if erfc(middle / sqrt(mpf(2))) / 2 > tail:
            low = middle
        else:
            high = middle
    x = low
    for _ in range(3):
        density = exp(-x * x / 2) / sqrt(2 * mp.pi)
        x += (erfc(x / sqrt(mpf(2))) / 2 - tail) / density
    assert abs(erfc(x / sqrt(mpf(2))) / 2 / tail - 1) < mpf(10) ** -40
    return -x if p < mpf(1) / 2 else x


def table(name: str, f: Function, arguments: list[float]) -> str:
    """Format one Rust table of (argument, value, rest of the value)."""
    rows = []
    for x in arguments:
        value = f(mpf(x))
        high = float(value)
        rows.append(f"({x!r}, {high!r}, {float(value - mpf(high))!r}),")
    body = "\n".join("    " + " ".join(rows[i : i + 3]) for i in range(0, len(rows), 3))
    return (
        f"\n/// x, {name.lower()}(x), and the rest of it.\n#[rustfmt::skip]\n"
        f"pub(super) static {name}: [(f64, f64, f64); {len(rows)}] = [\n{body}\n];\n"
    )


def main() -> None:
    """Print the Rust file."""
    rng = random.Random(1)

    def spread(low: float, high: float, n: int = SIZE // 2) -> list[float]:
        return [rng.uniform(low, high) for _ in range(n)]

    def decades(low: float, high: float, n: int = SIZE // 2) -> list[float]:
        return [10.0 ** rng.uniform(low, high) for _ in range(n)]

    print("//! Known values of the kernels. Written by tools/normal_values.py; do not edit.")
    print("#![allow(clippy::unreadable_literal, clippy::excessive_precision)]")
    text = table("EXP", exp, [*spread(-708, 709), *spread(-2, 2), -745.0, -730.5, -708.4, 709.7])
    text += table("LN", log, [*decades(-307, 308), *spread(0.5, 2), 5e-324, 1e-310, 1.0 + 2**-52])
    text += table("ERF", erf, [*spread(-6, 6), *decades(-300, 0.5), 5e-324, 0.5, -0.501])
    text += table("ERFC", erfc, [*spread(-6, 6), *spread(0, 27), 26.55, 26.7, 27.2, 1e-20])
    cdf = [*spread(-38, 9), *spread(-3, 3), -38.0, -38.4, -37.6, -1e-20]
    text += table("CDF", lambda x: erfc(-x / sqrt(mpf(2))) / 2, cdf)
    p = [*spread(0, 1), *decades(-307, -1), 0.2, 0.8, 1e-320, 1.0 - 2**-53, 0.5 + 2**-53]
    print(text + table("QUANTILE", quantile, p), end="")


if __name__ == "__main__":
    main()
