"""Calibration of `integrate`: errors, their calibration and the regret of the choice, by method.

For every integral of `integrals.rows` and every method it prints the root mean square of the
relative error over seeds, the share of pulls below 2 (by the t distribution of the error), the mean
pull, and the numbers of runs that are more than 5 errors off without and with a warning. The last
columns are the choice of ``method="auto"``, and its regret: its error divided by the smallest error
of all methods.

``python -m benches.importance.calibrate_integrate --seeds 50`` prints the table; `--peers` adds
vegas and SciPy's ``qmc_quad`` where they are installed.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from benches.importance.integrals import Integral, rows
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr

import fermiac as fm

Array = NDArray[np.float64]
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


def line(problem: Integral, runs: list[Run]) -> tuple[float, str, Array, int]:
    """Return the error, its text, the pulls and the number of silent failures."""
    error = np.sqrt(np.mean([(run.mean / problem.truth - 1) ** 2 for run in runs]))
    z = pulls(problem, runs)
    silent = sum(abs(p) > 5 and not run.warned for p, run in zip(z, runs, strict=True))
    warned = sum(run.warned for run in runs)
    text = f"{error:8.1e} {np.mean(np.abs(z) < 2):.2f} {z.clip(-9, 9).mean():+.1f}"
    return float(error), text + f" {silent:2d}/{warned:2d}", z, silent


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--rows", default="")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--peers", action="store_true")
    options = parser.parse_args()
    chosen = options.methods.split(",")
    columns: dict[str, Callable[[Integral, int, int], Run]] = {
        m: lambda problem, seed, n, m=m: ours(problem, seed, n, m)  # type: ignore[misc]
        for m in chosen
    }
    if options.peers:
        columns |= {"vegas": vegas, "qmc_quad": qmc_quad}
    print(f"{'':22}" + "".join(f"| {name:28}" for name in columns))
    print("each: relative RMSE, share |pull| < 2, mean pull, silent failures / runs with a warning")
    pooled: dict[str, list[Array]] = {name: [] for name in columns}
    silent_in_all: Counter[str] = Counter()
    for name, problem in rows().items():
        if options.rows and not any(part in name for part in options.rows.split(",")):
            continue
        texts, errors, word = [], {}, ""
        for column, call in columns.items():
            try:
                runs = [call(problem, seed, options.n) for seed in range(options.seeds)]
            except fm.errors.ArgumentError:
                texts.append(f"| {'-':28}")
                continue
            errors[column], text, z, silent = line(problem, runs)
            pooled[column].append(z)
            silent_in_all[column] += silent
            texts.append(f"| {text:28}")
            if column == "auto":
                counts = Counter(run.chosen for run in runs)
                word = ", ".join(f"{k} {v}" for k, v in counts.most_common())
        if "auto" in errors:
            others = [e for k, e in errors.items() if k in METHODS and k != "auto"]
            if others:
                word += f"; regret {errors['auto'] / min(others):.2f}"
        print(f"{name:22}" + "".join(texts) + word, flush=True)
    for column, parts in pooled.items():
        if parts:
            z = np.concatenate(parts)
            print(
                f"{column}: |pull| < 2 in {np.mean(np.abs(z) < 2):.3f} of {z.size} runs, "
                f"{silent_in_all[column]} silent failures"
            )


if __name__ == "__main__":
    main()
