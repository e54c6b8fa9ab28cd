"""Regenerates beam_laws.csv: the fixed design of 100 input laws and their exact mean deflections.

Run ``python examples/data/make_beam_laws.py > beam_laws.csv``; README.md beside it says what the
columns mean. Takes about half a minute.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import qmc

COLUMNS = (
    "mean_fx", "mean_fy", "mean_e", "mean_w", "mean_t", "mean_l", "rho_wt", "rho_wl", "rho_tl",
)  # fmt: skip
LOWER = np.array([525.0, 425.0, 175.0, 0.06, 0.09, 4.0, -0.6, 0.0, 0.0])
UPPER = np.array([575.0, 475.0, 225.0, 0.07, 0.10, 5.0, 0.0, 0.5, 0.5])
CV_FORCE, CV_MODULUS, CV_SIZE = 0.08, 0.06, 0.1
N_LAWS = 100
SEED = 0


def correlation(law: np.ndarray) -> np.ndarray:
    """Correlation matrix (3, 3) of (w, t, L) from one row of the design."""
    wt, wl, tl = law[6:9]
    return np.array([[1.0, wt, wl], [wt, 1.0, tl], [wl, tl, 1.0]])


def design() -> np.ndarray:
    """Latin hypercube of N_LAWS rows, rounded as the file states them."""
    unit = qmc.LatinHypercube(d=len(COLUMNS), rng=SEED).random(N_LAWS)
    laws = qmc.scale(unit, LOWER, UPPER)
    laws = np.array([[float(f"{x:.12g}") for x in law] for law in laws])
    smallest = min(np.linalg.eigvalsh(correlation(law))[0] for law in laws)
    # The box of correlations has corners where the matrix is not positive definite.
    if smallest < 0.05:
        raise RuntimeError(f"seed {SEED} gives a correlation matrix with eigenvalue {smallest:.3g}")
    return laws


def mean_deflection(law: np.ndarray, n_size: int = 120, n_force: int = 16) -> float:
    """Expected tip deflection under one law, by quadrature.

    E is independent of the rest and L^3 is a polynomial, so both are integrated exactly; what is
    left is smooth in four variables: Gauss-Hermite over the logs of the forces, Gauss-Legendre over
    (w, t). Both are conditioned on lying within six standard deviations (probability 1 - 4e-9): the
    deflection has a pole at w = 0, so the uncut moment does not exist.
    """
    mean_fx, mean_fy, mean_e, mean_w, mean_t, mean_l = law[:6]
    rho = correlation(law)
    inverse_e = (1.0 + CV_MODULUS**2) / mean_e

    node, weight = np.polynomial.hermite_e.hermegauss(n_force)
    weight = weight / weight.sum()
    s = np.sqrt(np.log1p(CV_FORCE**2))
    lognormal = np.exp(s * node - 0.5 * s * s)
    fx2, fy2 = (mean_fx * lognormal) ** 2, (mean_fy * lognormal) ** 2

    x, omega = np.polynomial.legendre.leggauss(n_size)
    x, omega = 6.0 * x, 6.0 * omega
    a, b = np.meshgrid(x, x, indexing="ij")
    det = 1.0 - rho[0, 1] ** 2
    density = np.exp(-(a * a - 2.0 * rho[0, 1] * a * b + b * b) / (2.0 * det))
    density *= np.outer(omega, omega)
    density /= density.sum()
    w, t = mean_w * (1.0 + CV_SIZE * a), mean_t * (1.0 + CV_SIZE * b)

    slope = np.linalg.solve(rho[:2, :2], rho[:2, 2])
    l_mean = mean_l * (1.0 + CV_SIZE * (slope[0] * a + slope[1] * b))
    l_var = (mean_l * CV_SIZE) ** 2 * (1.0 - rho[:2, 2] @ slope)
    l_cubed = l_mean**3 + 3.0 * l_mean * l_var

    bending = np.zeros_like(w)
    for i in range(n_force):
        for j in range(n_force):
            bending += weight[i] * weight[j] * np.sqrt(fx2[i] / w**4 + fy2[j] / t**4)
    return float(4e-9 * inverse_e * np.sum(density * l_cubed / (w * t) * bending))


def main() -> None:
    """Print the file."""
    print(",".join((*COLUMNS, "mean_deflection")))
    for law in design():
        row = (*law, mean_deflection(law))
        print(",".join(f"{x:.12g}" for x in row))


if __name__ == "__main__":
    main()
