"""Write src/rng/ziggurat_tables.rs: the layers of the normal and the exponential ziggurat.

The density is covered by 256 layers of equal area v. Layer 0 is the base strip, v = r f(r) + the
tail beyond r; the layer above layer i has its right edge where the area v says:
f(x[i + 1]) = f(x[i]) + v / x[i]. The edge r is the one for which the top layer closes at f(0).
Run with mpmath installed:  python tools/ziggurat_tables.py > src/rng/ziggurat_tables.rs

References: G. Marsaglia and W. W. Tsang (2000), "The ziggurat method for generating random
variables", Journal of Statistical Software 5(8).
"""

from __future__ import annotations

from collections.abc import Callable

from mpmath import erfc, exp, log, mp, mpf, pi, sqrt

LAYERS = 256
mp.dps = 60

Function = Callable[[mpf], mpf]


def edges(r: mpf, density: Function, inverse: Function, tail: Function) -> list[mpf] | None:
    """Give the edges x[0..256] for the tail's start r; None if the layers pass the top."""
    area = r * density(r) + tail(r)
    x = [area / density(r), r]
    while len(x) < LAYERS:
        height = density(x[-1]) + area / x[-1]
        if height >= 1:
            return None
        x.append(inverse(height))
    return [*x, mpf(0)]


def solve(
    density: Function, inverse: Function, tail: Function, low: float, high: float
) -> list[mpf]:
    """Bisect for the r whose top layer has just the area of the others."""
    low, high = mpf(low), mpf(high)
    for _ in range(190):
        r = (low + high) / 2
        x = edges(r, density, inverse, tail)
        if x is None or density(x[-2]) + (r * density(r) + tail(r)) / x[-2] > 1:
            low = r
        else:
            high = r
    x = edges(high, density, inverse, tail)
    assert x is not None
    assert abs(density(x[-2]) + (high * density(high) + tail(high)) / x[-2] - 1) < mpf(10) ** -50
    return x


def table(name: str, doc: str, values: list[mpf]) -> str:
    """Format one Rust table, eight numbers a line, each the double nearest to the true value."""
    numbers = [repr(float(v)) for v in values]
    lines = [", ".join(numbers[i : i + 8]) + "," for i in range(0, len(numbers), 8)]
    body = "\n".join("    " + line for line in lines)
    return (
        f"\n/// {doc}\n#[rustfmt::skip]\n"
        f"pub(super) static {name}: [f64; {len(values)}] = [\n{body}\n];\n"
    )


def main() -> None:
    """Print the Rust file."""
    normal = solve(
        lambda x: exp(-x * x / 2),
        lambda y: sqrt(-2 * log(y)),
        lambda x: sqrt(pi / 2) * erfc(x / sqrt(mpf(2))),
        3.6,
        3.7,
    )
    exponential = solve(lambda x: exp(-x), lambda y: -log(y), lambda x: exp(-x), 7.6, 7.8)
    print("//! Layers of the ziggurats. Written by tools/ziggurat_tables.py; do not edit.")
    print("#![allow(clippy::unreadable_literal, clippy::excessive_precision)]")
    text = table("NORMAL_X", "Right edges of the layers of exp(-x²/2), widest first.", normal)
    text += table("NORMAL_F", "exp(-x²/2) at the edges.", [exp(-x * x / 2) for x in normal])
    text += table(
        "EXPONENTIAL_X", "Right edges of the layers of exp(-x), widest first.", exponential
    )
    text += table("EXPONENTIAL_F", "exp(-x) at the edges.", [exp(-x) for x in exponential])
    print(text, end="")


if __name__ == "__main__":
    main()
