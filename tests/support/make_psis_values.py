"""Script that writes psis_values.py: k-hat and smoothed weights by arviz-stats.

Run ``python tests/support/make_psis_values.py`` with arviz-stats >= 0.8.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Array = NDArray[np.float64]


class Case(NamedTuple):
    """Log-ratios by a formula, and the relative efficiency of the draws."""

    log_ratios: Callable[[], Array]
    r_eff: float = 1.0


def spread(n: int, start: float = 0.5) -> Array:
    """Return n numbers spread over (0, 1): multiples of the golden ratio modulo 1."""
    u: Array = (start + np.arange(n) * 0.6180339887498949) % 1.0
    return np.clip(u, 1e-12, 1 - 1e-12)


def _masked() -> Array:
    values = ndtri(spread(3000))
    values[::3] = -np.inf
    return values


def _tied() -> Array:
    # Each value occurs four times, with ties at the cut and in the tail.
    return np.repeat(1.5 * ndtri(spread(500)), 4)


def _outlier() -> Array:
    values = ndtri(spread(1000))
    values[17] = 60.0
    return values


def _pareto(k: float, n: int) -> Callable[[], Array]:
    return lambda: -k * np.log(spread(n))


CASES: dict[str, Case] = {
    "normal 25": Case(lambda: ndtri(spread(25))),
    "normal 225": Case(lambda: ndtri(spread(225))),
    "normal 226": Case(lambda: ndtri(spread(226))),
    "normal 4000": Case(lambda: ndtri(spread(4000))),
    "normal 4000, r_eff 0.3": Case(lambda: ndtri(spread(4000)), 0.3),
    "normal 4000, r_eff 1.7": Case(lambda: ndtri(spread(4000)), 1.7),
    "wide normal 2000": Case(lambda: 30.0 * ndtri(spread(2000))),
    "narrow normal 2000": Case(lambda: 1e-3 * ndtri(spread(2000))),
    "far normal 2000": Case(lambda: 2.0 * ndtri(spread(2000)) - 1e4),
    "pareto 0.1": Case(_pareto(0.1, 5000)),
    "pareto 0.5": Case(_pareto(0.5, 5000)),
    "pareto 0.9": Case(_pareto(0.9, 20_000)),
    "pareto 2": Case(_pareto(2.0, 1000)),
    "bounded": Case(lambda: np.log(spread(2000))),
    "exponential weights": Case(lambda: np.log(-np.log(spread(2000)))),
    "many zeros": Case(_masked),
    "ties": Case(_tied),
    "one outlier": Case(_outlier),
}


def digest(log_weights: Array) -> list[float]:
    """Return the largest log-weights and two sums, which any change of a weight changes.

    The log-weights are sorted, since the order of weights with equal ratios is arbitrary.
    """
    ordered = np.sort(log_weights)
    w = np.exp(ordered)
    return [*map(float, ordered[-8:]), float(w @ w), float(w @ np.cos(np.arange(len(w))))]


def _main() -> None:
    import arviz_stats
    from arviz_stats.base import array_stats

    lines = [
        '"""k-hat and digests of smoothed log-weights; made by make_psis_values.py: no edits."""',
        "",
        "from __future__ import annotations",
        "",
        "import math",
        "",
        f'MADE_BY = "arviz-stats {arviz_stats.__version__}"',
        "",
        "# For each case: k-hat, then the digest.",
        "VALUES: dict[str, list[float]] = {",
    ]
    for name, case in CASES.items():
        # The argument of arviz-stats is the log-likelihood, the negative log-ratio.
        log_weights, khat = array_stats.psislw(-case.log_ratios(), r_eff=case.r_eff)
        lines.append(f'    "{name}": [')
        values = [khat.item(), *digest(log_weights)]
        lines += [f"        {x!r},".replace("nan", "math.nan") for x in values]
        lines.append("    ],")
    lines += ["}", ""]
    Path(__file__).with_name("psis_values.py").write_text("\n".join(lines))


if __name__ == "__main__":
    _main()
