"""The picture of the README: the posterior of its first example, and the course of its run.

``python docs/_static/readme.py`` writes docs/_static/readme.png.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]
OUT = Path(__file__).with_suffix(".png")


def log_likelihood(x: Array) -> Array:
    """Return the log-likelihood of points, (n, 2) -> (n,)."""
    return (2 + np.cos(x[:, 0] / 2) * np.cos(x[:, 1] / 2)) ** 5


def main() -> None:
    """Run the example and draw it."""
    mpl.use("Agg")
    side = fm.distributions.Uniform(0, 10 * np.pi)
    r = fm.nested.sample(log_likelihood, [side, side], names=["x", "y"], rng=0)
    line = np.linspace(0, 10 * np.pi, 300)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)

    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.6), layout="constrained")
    shade = log_likelihood(grid).reshape(300, 300)
    left.contourf(line, line, shade, levels=12, cmap="Blues", vmax=2 * shade.max())
    draws = r.posterior(1500, rng=0).draws
    left.plot(*draws.T, ".", color="#d9730d", markersize=2.5, alpha=0.6, markeredgewidth=0)
    left.set(xlabel="x", ylabel="y", aspect="equal", title="1500 draws from the posterior")

    mass = np.exp(np.linspace(0, -12, 300))
    level = np.quantile(log_likelihood(side.sample(600_000, rng=1).reshape(-1, 2)), 1 - mass)
    prior = {"color": "#888888", "linewidth": 4, "alpha": 0.5}
    right.plot(-np.log(mass), level, label="600,000 draws of the prior", **prior)
    order = np.arange(len(r.draws))
    right.plot(
        order / 500, log_likelihood(r.draws), color="#1f5fa8", linewidth=1.2, label="dead points"
    )
    right.set(xlim=(0, 12), xlabel="− log prior mass", ylabel="log-likelihood")
    shown = f"log Z = {r.log_evidence:.2f} ± {r.log_evidence_stderr:.2f}"
    right.set_title(f"{shown} (quadrature: 235.86)")
    right.legend(frameon=False, loc="lower right")
    figure.savefig(OUT, dpi=130, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main()
