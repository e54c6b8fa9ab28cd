"""Write src/qmc/joe_kuo.bin: the polynomials and initial numbers of Sobol' points, packed.

The numbers are those of S. Joe and F. Y. Kuo (2008), "Constructing Sobol sequences with better
two-dimensional projections", SIAM Journal on Scientific Computing 30(5), in their file
new-joe-kuo-6.21201, here read from the copy that SciPy ships. Their licence is in
src/qmc/LICENSE-joe-kuo.

The file is a string of bits, the lowest bit of a byte first. For each dimension from the second on,
whose polynomial has degree s, it holds

    s - 1 bits        the coefficients of the polynomial between the first and the last, which are 1
    i - 1 bits each   (m_i - 1) / 2 for i = 1, ..., s, as m_i is odd and below 2^i

The degrees never fall, so their counts, which this prints, tell where each dimension begins.
Run with scipy installed:  python tools/joe_kuo.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.stats import _sobol

FOLDER = Path(__file__).parent.parent / "src" / "qmc"


def packed(polynomials: list[int], initial: list[list[int]]) -> bytes:
    """Give the bits of all dimensions as bytes."""
    bits: list[str] = []
    for polynomial, numbers in zip(polynomials, initial, strict=True):
        s = polynomial.bit_length() - 1
        assert polynomial & 1
        fields = [(polynomial >> 1 & (1 << s - 1) - 1, s - 1)]
        for i, m in enumerate(numbers[:s], 1):
            assert m & 1
            assert m < 1 << i
            fields.append((m >> 1, i - 1))
        assert not any(numbers[s:])
        bits += [f"{value:0{width}b}"[::-1] for value, width in fields if width]
    text = "".join(bits)
    return int(text[::-1], 2).to_bytes((len(text) + 7) // 8, "little")


def main() -> None:
    """Write the table and print the number of polynomials of each degree."""
    given = np.load(Path(_sobol.__file__).parent / "_sobol_direction_numbers.npz")
    # The first dimension has no polynomial.
    polynomials = [int(p) for p in given["poly"][1:]]
    degrees = [p.bit_length() - 1 for p in polynomials]
    assert degrees == sorted(degrees)
    FOLDER.joinpath("joe_kuo.bin").write_bytes(packed(polynomials, given["vinit"][1:].tolist()))
    print(np.bincount(degrees)[1:].tolist())


if __name__ == "__main__":
    main()
