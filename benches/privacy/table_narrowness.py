"""The table of the docs: widths of credible intervals of epsilon and of boxes of limits.

``python -m benches.privacy.table_narrowness`` prints the table of docs/privacy.md.
Zanella-Béguelin et al., "Bayesian estimation of differential privacy" (ICML, 2023), report
"around 40 %". The attack here is the best one on a mechanism that is just (epsilon, delta)-private,
with equal error rates, and with the errors that are expected of it.
"""

from __future__ import annotations

import math

import fermiac as fm

DELTA, PROB = 1e-5, 0.9
#: Members (and as many non-members), and epsilon.
CASES = (
    (1_000_000, 0.1),
    (2_000, 0.5),
    (20_000, 0.5),
    (100, 1),
    (500, 1),
    (1_000, 1),
    (10_000, 1),
    (500, 2),
    (1_000, 2),
    (10_000, 2),
    (100, 4),
    (1_000, 4),
    (5_000, 4),
    (100_000, 4),
)
#: An attack that missed no member: tp, fp, fn, tn.
NO_MISSES = (1000, 20, 0, 980)
HEAD = (
    "members, non-members",
    "epsilon",
    "errors of each kind",
    "posterior",
    "Clopper-Pearson box",
    "narrower by",
    "than the Jeffreys box",
)


def intervals(counts: tuple[int, int, int, int]) -> list[tuple[float, float]]:
    """The intervals of the posterior, the Clopper-Pearson box and the Jeffreys box."""
    found = [fm.privacy.epsilon_posterior(*counts, delta=DELTA).interval(PROB)]
    for method in ("clopper-pearson", "jeffreys"):
        box = fm.privacy.epsilon_interval(*counts, delta=DELTA, prob=PROB, method=method)
        found.append((box.epsilon_lower, box.epsilon_upper))
    return found


def narrower(some: tuple[float, float], than: tuple[float, float]) -> float:
    """The share of its width that an interval lacks beside another."""
    return 1 - (some[1] - some[0]) / (than[1] - than[0])


def errors(n: int, epsilon: float) -> int:
    """The errors of each kind of the best attack with equal rates."""
    return round(n * (1 - DELTA) / (1 + math.exp(epsilon)))


def table() -> str:
    """The table in Markdown."""
    lines = [f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
    for n, epsilon in CASES:
        k = errors(n, epsilon)
        lines.append(_line(f"{n:,}", f"{epsilon:g}", f"{k:,}", (n - k, k, k, n - k)))
    tp, fp, fn, _ = NO_MISSES
    lines.append(_line(f"{tp + fn:,}", "–", f"{fn} missed, {fp} false alarms", NO_MISSES))
    return "\n".join(lines)


def _line(n: str, epsilon: str, wrong: str, counts: tuple[int, int, int, int]) -> str:
    bayes, exact, jeffreys = intervals(counts)
    words = [n, epsilon, wrong, *(f"{low:.3f} to {high:.3f}" for low, high in (bayes, exact))]
    for box in (exact, jeffreys):
        words.append("–" if math.isinf(box[1]) else f"{100 * narrower(bayes, box):.1f} %")
    return f"| {' | '.join(words)} |"


if __name__ == "__main__":
    print(table())
