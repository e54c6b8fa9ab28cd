"""Calibration of sequential audits: error rates of bounds, and numbers of scores to a rejection.

A mechanism answers by randomised response with a known epsilon, or adds Gaussian noise with a known
mu. The first table gives the share of audits with a bound above the truth at any look, which should
be at most alpha = 0.05, and the mean of the last bound. If the threshold is chosen, the scores are
normal. For Gaussian noise the claim is its trade-off curve, and the share is that of audits that
ever reject it. The second table gives the number of scores of each kind until a claim of half the
true epsilon is rejected. For comparison it has the number that an audit of fixed size needs for a
power of nine tenths with Clopper-Pearson limits.

``python -m benches.privacy.calibrate_sequential`` prints both, in ten minutes; with ``--page`` it
puts them into a page.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from benches.pages import into_page
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]
ALPHA = 0.05


def answers(epsilon: float, n: int, seed: int) -> tuple[Array, Array]:
    """Return answers of randomised response, 1 for "member", to members and to others."""
    stream = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-epsilon))
    return (stream.random(n) < p) * 1.0, (stream.random(n) < 1 - p) * 1.0


def normals(mu: float, n: int, seed: int) -> tuple[Array, Array]:
    """Return scores that are normal, of members with the mean mu."""
    stream = np.random.default_rng(seed)
    return stream.normal(size=n) + mu, stream.normal(size=n)


def coverage(n_audits: int, n: int) -> list[str]:
    """Return the rows of the table of bounds that were ever too high."""
    rows = []
    for epsilon in (0.0, 0.5, 1.0, 3.0):
        found = [
            fm.privacy.audit_sequential(*answers(epsilon, n, i), threshold=0.5).epsilon_lower
            for i in range(n_audits)
        ]
        wrong = np.mean(np.array(found) > epsilon)
        rows.append(
            f"| randomised response, epsilon {epsilon:g} | {wrong:.4f} | {np.mean(found):.2f} |"
        )
    for mu in (0.5, 2.0):
        claim = fm.privacy.TradeOff.from_gdp(mu)
        found, ever = [], []
        for i in range(n_audits // 4):
            a = fm.privacy.audit_sequential(*normals(mu, n, i))
            ever.append(a.log_e_values(claim).max() >= -np.log(ALPHA))
            found.append(a.epsilon_lower)
        rows.append(
            f"| normal scores, mu {mu:g}, its curve | {np.mean(ever):.4f} | {np.mean(found):.2f} |"
        )
    return rows


def fixed_size(epsilon: float, claim: float) -> int:
    """Return the least size of each group at which nine in ten audits reject the claim."""
    stream = np.random.default_rng(0)
    p = 1 / (1 + np.exp(-epsilon))
    n = 4
    while True:
        hits, alarms = stream.binomial(n, p, 4000), stream.binomial(n, 1 - p, 4000)
        bound = fm.privacy.epsilon_interval(
            hits, alarms, n - hits, n - alarms, prob=1 - ALPHA, kind="lower", direction="attack"
        ).epsilon_lower
        if np.mean(bound > claim) >= 0.9:
            return n
        n += max(1, n // 30)


def stopping(n_audits: int) -> list[str]:
    """Return the rows of the table of scores until a rejection."""
    rows = []
    for epsilon in (0.5, 1.0, 2.0, 4.0):
        claim = 0.5 * epsilon
        fixed = fixed_size(epsilon, claim)
        stops = []
        for i in range(n_audits):
            scores = answers(epsilon, 8 * fixed, i)
            a = fm.privacy.audit_sequential(*scores, claim=claim, threshold=0.5)
            stops.append(a.members.size if a.rejected else np.inf)
        low, median, high = np.quantile(stops, [0.1, 0.5, 0.9], method="nearest")
        rows.append(
            f"| {epsilon:g} | {claim:g} | {fixed} | {median:.0f} | {median / fixed:.2f} "
            f"| {low:.0f} to {high:.0f} |"
        )
    return rows


def main() -> None:
    """Print the tables, and put them into a page if one is given."""
    parser = argparse.ArgumentParser(description="Calibration of sequential audits.")
    parser.add_argument("--audits", type=int, default=2000)
    parser.add_argument("--scores", type=int, default=200)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    first = [
        f"{options.audits} audits a row (a quarter of them for normal scores), of "
        f"{options.scores} scores of each kind:",
        "",
        "| scores | ever too high | mean bound |",
        "|---|---|---|",
        *coverage(options.audits, options.scores),
    ]
    second = [
        f"{options.audits // 4} audits a row:",
        "",
        "| epsilon | claim | fixed size | median stop | ratio | 10 % to 90 % |",
        "|---|---|---|---|---|---|",
        *stopping(options.audits // 4),
    ]
    for name, lines in (("bounds", first), ("stops", second)):
        text = "\n".join(lines)
        print(text, end="\n\n")
        if options.page:
            into_page(options.page, name, text)


if __name__ == "__main__":
    main()
