"""Times of resampling and evaluation beside those that were wanted of them.

``python -m benches.resample.wanted`` prints the least CPU time of several calls on one thread. The
last row is the ratio to mlxtend, if that is installed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from benches.evaluate import bench as evaluation
from benches.resample.bench import CASES, X, Y, _cpu, _ours

#: Calls of a case, for the least time of them.
ROUNDS = 9


def _difference(method: str) -> Callable[[], Any]:
    return _ours((X, Y), "mean_difference", method)


#: The call, the wanted time, the unit, and the parts of a call that take this time.
WANTED: dict[str, tuple[Callable[[], Any], float, str, float]] = {
    "mean, percentile": (CASES["mean, percentile"].ours, 2.0, "ms", 1),
    "mean, BCa": (CASES["mean, BCa"].ours, 2.0, "ms", 1),
    "difference of means, percentile": (_difference("percentile"), 2.0, "ms", 1),
    "difference of means, basic": (_difference("basic"), 2.0, "ms", 1),
    "difference of means, BCa": (_difference("bca"), 2.0, "ms", 1),
    "median": (CASES["median"].ours, 1.0, "ms", 1),
    "90 % quantile": (CASES["90 % quantile, percentile"].ours, 1.0, "ms", 1),
    "F1 of cells, 9999": (CASES["accuracy of cells, F1, 9999"].ours, 1.0, "ms", 1),
    "mean, BCa, n = 10⁶": (_ours(np.tile(X, 100), "mean", "bca"), 300.0, "ms", 1),
    "AUC, a replicate": (CASES["AUC, 5000 against 5000, 999"].ours, 25.0, "µs", 999),
    "Pearson, BCa, 999": (CASES["Pearson, 999"].ours, 20.0, "ms", 1),
    "mean, one draw of one observation": (
        CASES["mean, percentile, drawn"].ours,
        1.5,
        "ns",
        999 * 10_000,
    ),
    "two samples of 5000, 9999 permutations": (
        CASES["two samples of 5000, 9999 drawn"].ours,
        120.0,
        "ms",
        1,
    ),
    "two samples of 5000, their law": (
        CASES["two samples of 5000, exact law"].ours,
        20.0,
        "ms",
        1,
    ),
    "signs of 5000, their law": (CASES["signs of 5000"].ours, 30.0, "ms", 1),
    "signs of 30": (CASES["signs of 30"].ours, 5.0, "ms", 1),
}
_FACTORS = {"ms": 1.0, "µs": 1e3, "ns": 1e6}


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    print("| case | wanted | measured | |")
    print("|---|---|---|---|")
    for name, (call, wanted, unit, parts) in WANTED.items():
        call()
        found = _cpu(call, ROUNDS) * _FACTORS[unit] / parts
        word = "yes" if found <= wanted else "NO"
        print(f"| {name} | {wanted:g} {unit} | {found:.2f} {unit} | {word} |", flush=True)
    case = next(iter(evaluation._cases().values()))
    if case.theirs is not None:
        ratio = _cpu(case.ours, 2) / _cpu(case.theirs, 2)
        word = "yes" if ratio <= 0.5 else "NO"
        print(f"| .632+ of one neighbour, share of mlxtend's | 0.5 | {ratio:.2f} | {word} |")


if __name__ == "__main__":
    main()
