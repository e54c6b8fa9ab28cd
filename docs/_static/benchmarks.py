"""The picture of the page on benchmarks: ratios to the fastest other implementation in its tables.

``python docs/_static/benchmarks.py`` writes docs/_static/benchmarks.png.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

OUT = Path(__file__).with_suffix(".png")


class Ratio(NamedTuple):
    """A row of a table: the start of its task, both figures as they are there, and a label."""

    task: str
    ours: str
    theirs: str
    label: str
    #: Whether a larger figure is the better one.
    rate: bool = False

    @property
    def value(self) -> float:
        """How many times better fermiac is."""
        ours, theirs = (float(x.replace(",", "")) for x in (self.ours, self.theirs))
        return ours / theirs if self.rate else theirs / ours


RATIOS = (
    Ratio("x² and x⁴", "9", "9.7", "moments, beside plain Monte Carlo in NumPy"),
    Ratio("Pareto smoothing", "60", "333", "Pareto smoothing, beside arviz-stats"),
    Ratio("R-hat, bulk", "32", "302", "R-hat and ESS, beside ArviZ"),
    Ratio("incomplete beta", "21", "232", "incomplete beta function, beside SciPy"),
    Ratio("a uniform", "1.8", "9.4", "normal random numbers, beside NumPy"),
    Ratio(
        "the same densities as C", "92,300", "41,400", "NUTS, eight schools, beside nutpie", True
    ),
    Ratio("compiled C functions", "46,800", "19,100", "NUTS, d = 100, beside nutpie", True),
    Ratio("an ensemble", "9,090", "1,940", "ensemble of 64 walkers, beside emcee", True),
    Ratio("nested sampling, 500", "0.048", "0.22", "nested sampling, d = 5, beside blackjax"),
    Ratio("Gaussian, d = 20", "0.97", "2.0", "nested sampling, d = 20, beside blackjax"),
    Ratio("score models", "11", "36", "DPM-Solver++ on a mixture, beside k-diffusion"),
    Ratio("64 walkers", "167", "4.8", "simple walks, beside graph-walker", True),
    Ratio("the same, history", "81", "70", "history-driven walks, beside numba, interleaved", True),
    Ratio("one 90 % interval", "0.33", "27", "interval of epsilon, beside SciPy"),
)


def main() -> None:
    """Draw the ratios."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    mpl.use("Agg")
    rows = sorted(RATIOS, key=lambda row: row.value)
    values = [row.value for row in rows]
    colors = ["#1f5fa8" if value >= 1 else "#d9730d" for value in values]
    figure, ax = plt.subplots(figsize=(8.0, 4.6), layout="constrained")
    ax.barh(range(len(rows)), [value - 1 for value in values], left=1, color=colors)
    for at, value in enumerate(values):
        side = "left" if value >= 1 else "right"
        ax.annotate(
            f"{value:.2g}", (value, at), (4 if value >= 1 else -4, 0), ha=side, va="center",
            textcoords="offset points", fontsize=8,
        )  # fmt: skip
    ax.set(xscale="log", xlim=(0.4, 200), xlabel="times faster than the fastest other (log scale)")
    ax.set_yticks(range(len(rows)), [row.label for row in rows], fontsize=8)
    ax.axvline(1, color="#444444", linewidth=0.8)
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(OUT, dpi=120, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main()
