"""The output and the picture of the README's first example, both from one run.

``make readme`` runs the example as the README has it, puts what it prints into README.md and draws
docs/_static/readme.png, whose title in the metadata is the first line of that output.
"""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

OUT = Path(__file__).with_suffix(".png")
README = Path(__file__).parents[2] / "README.md"
#: The first block of Python, and the block of text that shows its output.
EXAMPLE = re.compile(r"```python\n(?P<code>.*?)```\n\n```text\n(?P<output>.*?)```", re.DOTALL)


def main() -> None:
    """Run the example, rewrite its output in the README and draw the picture."""
    mpl.use("Agg")
    page = README.read_text(encoding="utf-8")
    found = EXAMPLE.search(page)
    assert found is not None
    names: dict[str, object] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(found["code"], names)
    output = printed.getvalue()
    README.write_text(
        page[: found.start("output")] + output + page[found.end("output") :], encoding="utf-8"
    )
    draw(names, output.splitlines()[0])


def draw(names: dict[str, object], shown: str) -> None:
    """Draw the posterior of the example, and the course of its run."""
    r, side, log_likelihood = names["r"], names["side"], names["log_likelihood"]
    line = np.linspace(0, 10 * np.pi, 300)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)

    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.6), layout="constrained")
    shade = log_likelihood(grid).reshape(300, 300)
    left.contourf(line, line, shade, levels=12, cmap="Blues", vmax=2 * shade.max())
    draws = r.posterior(1500, rng=0).draws
    left.plot(*draws.T, ".", color="#d9730d", markersize=2.5, alpha=0.6, markeredgewidth=0)
    left.set(xlabel="x", ylabel="y", aspect="equal")
    left.set_title("1500 draws from the posterior", fontsize=10)

    mass = np.exp(np.linspace(0, -12, 300))
    level = np.quantile(log_likelihood(side.sample(600_000, rng=1).reshape(-1, 2)), 1 - mass)
    prior = {"color": "#888888", "linewidth": 4, "alpha": 0.5}
    right.plot(-np.log(mass), level, label="600,000 draws of the prior", **prior)
    order = np.arange(len(r.draws))
    right.plot(
        order / 500, log_likelihood(r.draws), color="#1f5fa8", linewidth=1.2, label="dead points"
    )
    right.set(xlim=(0, 12), xlabel="− log prior mass", ylabel="log-likelihood")
    evidence = re.search(r"log Z = [\d.]+ ± [\d.]+", shown)
    right.set_title(f"{evidence[0]} (quadrature: 235.8559)", fontsize=10)
    right.legend(frameon=False, loc="lower right")
    figure.savefig(OUT, dpi=130, metadata={"Title": shown}, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main()
