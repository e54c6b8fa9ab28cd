"""Calibration of `integrate`: errors, coverage and the regret of the choice, for all methods.

Each cell integrates a function with a known integral by one method, with many seeds. ``error`` is
the root mean square of the relative error, and ``held`` the share of the 95 % intervals that hold
the truth. ``pull`` is the mean of the errors in units of the reported errors. ``silent`` is the
number of seeds that are more than 5 errors off without a warning, and ``warned`` the share of the
seeds with a warning. For ``auto`` the table has its choice and its regret: its error divided by the
smallest error of all methods, which have fewer seeds. Intervals with a warning need not hold. With
200 intervals and a coverage of 0.95, ``held`` falls below 0.91 by chance in one row in 100.

``python -m benches.importance.calibrate_integrate`` prints the table, in a quarter of an hour;
``--rows`` restricts it, ``--peers`` adds vegas and SciPy's ``qmc_quad`` where they are installed.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from benches.importance.integrals import Integral, rows
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr

import fermiac as fm

Array = NDArray[np.float64]
Integrand = Callable[[Array], Array]
METHODS = ("sobol", "map", "mixture", "rotated", "stratified", "auto")


class Run(NamedTuple):
    """One estimate: what calibration needs of it."""

    mean: float
    stderr: float
    df: float
    warned: bool
    chosen: str
    seconds: float


def ours(problem: Integral, seed: int, n: int, method: str) -> Run:
    """Return a run of `integrate`; the method ends with ~ for random points."""
    start = time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        e = fm.importance.integrate(
            problem.f,
            problem.bounds,
            n,
            method=method.rstrip("~"),
            points="random" if method.endswith("~") else "sobol",
            rng=seed,
            check=False,
        )
    return Run(
        float(e.mean),
        float(e.stderr),
        float(e.df),
        bool(caught),
        e.method,
        time.process_time() - start,
    )


def vegas(problem: Integral, seed: int, n: int) -> Run:
    """Return a run of vegas: 5 iterations of adaptation, and 10 for the result."""
    import gvar
    import vegas as peer

    start = time.process_time()
    gvar.ranseed(seed)
    f = peer.batchintegrand(problem.f) if hasattr(peer, "batchintegrand") else problem.f
    integrator = peer.Integrator(problem.bounds.tolist())
    integrator(f, nitn=5, neval=n // 15)
    result = integrator(f, nitn=10, neval=n // 15)
    return Run(
        float(result.mean),
        float(result.sdev),
        np.inf,
        result.Q < 0.05,
        "",
        time.process_time() - start,
    )


def qmc_quad(problem: Integral, seed: int, n: int) -> Run:
    """Return a run of SciPy's quadrature with 16 replicates."""
    from scipy.integrate import qmc_quad as quadrature
    from scipy.stats import qmc

    start = time.process_time()
    low, high = problem.bounds.T
    result = quadrature(
        lambda x: problem.f(np.ascontiguousarray(np.atleast_2d(x.T))),
        low,
        high,
        n_estimates=16,
        n_points=1 << int(np.log2(n / 16)),
        qrng=qmc.Sobol(problem.dim, rng=np.random.default_rng(seed)),
    )
    return Run(
        float(result.integral),
        float(result.standard_error),
        15.0,
        False,
        "",
        time.process_time() - start,
    )


def pulls(problem: Integral, runs: list[Run]) -> Array:
    """Return the errors in reported ones, as normal quantiles of the t law of each."""
    out = []
    for run in runs:
        off = run.mean - problem.truth
        if off == 0 or abs(off) < 1e-14 * abs(problem.truth):
            out.append(0.0)
        elif run.stderr == 0:
            out.append(np.inf)
        else:
            t = off / run.stderr
            tail = stdtr(run.df, -abs(t)) if np.isfinite(run.df) else None
            size = -ndtri(max(tail, 1e-300)) if tail is not None else abs(t)
            out.append(np.sign(t) * size)
    return np.array(out)


class Cell(NamedTuple):
    """What the runs of one method say."""

    error: float
    pulls: Array
    silent: int
    warned: float
    counts: Counter[str]

    @property
    def held(self) -> float:
        """The share of the 95 % intervals that hold the truth."""
        return float(np.mean(np.abs(self.pulls) < ndtri(0.975)))


def cell(problem: Integral, runs: list[Run]) -> Cell:
    """Return the errors of runs, and how they were reported."""
    error = np.sqrt(np.mean([(run.mean / problem.truth - 1) ** 2 for run in runs]))
    z = pulls(problem, runs)
    silent = sum(abs(p) > 5 and not run.warned for p, run in zip(z, runs, strict=True))
    warned = float(np.mean([run.warned for run in runs]))
    return Cell(float(error), z, silent, warned, Counter(run.chosen for run in runs))


def measure(
    problem: Integral, methods: Sequence[str], n: int, seeds: int, auto_seeds: int
) -> Iterator[tuple[str, Cell]]:
    """Yield the cells of a row, those of ``auto`` last."""
    for method in sorted(methods, key=lambda m: m == "auto"):
        peer = {"vegas": vegas, "qmc_quad": qmc_quad}.get(method)
        count = auto_seeds if method == "auto" else seeds
        try:
            runs = [
                peer(problem, seed, n) if peer else ours(problem, seed, n, method)
                for seed in range(count)
            ]
        except fm.errors.ArgumentError:
            continue  # one axis cannot be rotated
        yield method, cell(problem, runs)


def table(
    names: Sequence[str], methods: Sequence[str], n: int, seeds: int, auto_seeds: int
) -> Iterator[str]:
    """Yield the lines of the table, as Markdown."""
    start = time.process_time()
    yield "| integral | method | seeds | error | held | pull | silent | warned | chosen | regret |"
    yield "|" + "---|" * 10
    pooled: dict[str, list[Cell]] = {method: [] for method in methods}
    for name, problem in rows().items():
        if names and not any(part in name for part in names):
            continue
        least = np.inf
        for method, got in measure(problem, methods, n, seeds, auto_seeds):
            chosen = regret = ""
            if method == "auto":
                chosen = ", ".join(f"{k} {v}" for k, v in got.counts.most_common())
                regret = f"{got.error / least:.2f}" if np.isfinite(least) else ""
            elif method in METHODS:
                least = min(least, got.error)
            pooled[method].append(got)
            yield (
                f"| {name} | {method} | {got.pulls.size} | {got.error:.1e} | {got.held:.3f} | "
                f"{got.pulls.clip(-9, 9).mean():+.2f} | {got.silent} | {got.warned:.2f} | "
                f"{chosen} | {regret} |"
            )
    yield ""
    for method, cells in pooled.items():
        if not cells:
            continue
        z = np.concatenate([got.pulls for got in cells])
        silent = sum(got.silent for got in cells)
        share = np.mean(np.abs(z) < ndtri(0.975))
        yield (
            f"- `{method}`: {share:.3f} of {z.size} intervals hold the truth; {silent} runs are "
            "more than 5 errors off without a warning."
        )
    yield ""
    yield f"{n} evaluations each; {(time.process_time() - start) / 60:.1f} CPU minutes."


def main() -> None:
    """Print the table, or write it to a page of the documentation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--auto-seeds", type=int, default=200)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--rows", nargs="+", default=[], help="parts of names of integrals")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--out", type=Path, help="write Markdown to this file as well")
    given = parser.parse_args()
    methods = given.methods + (["vegas", "qmc_quad"] if given.peers else [])
    lines = []
    for line in table(given.rows, methods, given.n, given.seeds, given.auto_seeds):
        print(line, flush=True)
        lines.append(line)
    if given.out is not None:
        intro = (__doc__ or "").replace("``", "`").strip()
        text = "# Calibration of integrals\n\n" + intro + "\n\n"
        given.out.write_text(text + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
