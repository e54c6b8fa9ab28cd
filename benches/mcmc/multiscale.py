"""WALNUTS beside NUTS: errors on multi-scale targets, and the cost on others.

The first table has expectations with known values: P(v < -5), E v and E v² of funnels, and
E (x1 - 1)², E x1 and E x2 of Rosenbrock's density. ``mean`` and ``rms error`` (relative to the true
value) are those of the first of them. ``within 5`` is the share of the seeds in which all three are
within five reported errors, and ``pulls < 2`` the share of single expectations within two.
``R-hat > 1.05`` and ``warned`` are the shares of the seeds with such a value and with any warning.
Chains: 4 of 4000 draws, or of 10,000 for the funnel in 100 dimensions.

The second table has the least of bulk and tail effective sample sizes over the coordinates per 1000
gradients, warm-up included, for 4 chains of 1000 draws: the mean over seeds, and the ratio to NUTS
with its standard error.

Constants were chosen on these targets with seeds below 1000; the tables have seeds from 1000 on.

``python -m benches.mcmc.multiscale --out docs/calibration-multiscale.md`` makes the page;
``--rows`` restricts it to targets whose names contain a word, and ``--keep FILE`` keeps the runs,
so that a later call goes on.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from benches.mcmc.problems import problem
from numpy.typing import NDArray

import fermiac as fm

Array = NDArray[np.float64]
Function = Callable[[Array], Array]
FIRST = 1000
KERNELS: dict[str, Callable[[], Any]] = {
    "`WALNUTS()`": lambda: fm.mcmc.WALNUTS(),
    "`NUTS()`": lambda: fm.mcmc.NUTS(),
    "`NUTS(target_accept=0.99)`": lambda: fm.mcmc.NUTS(target_accept=0.99),
    "`WALNUTS(step_size=2.0)`": lambda: fm.mcmc.WALNUTS(step_size=2.0),
}
ALL = ("`WALNUTS()`", "`NUTS()`", "`NUTS(target_accept=0.99)`")


class Hard(NamedTuple):
    """A target with known expectations, and the kernels that are compared on it."""

    target: Callable[[], Any]
    n_draws: int
    known: tuple[tuple[Function, float], ...]
    kernels: tuple[str, ...]
    n_seeds: int = 20


def _below(x: Array) -> Array:
    return (x[..., 0] < -5.0).astype(float)


def _first(x: Array) -> Array:
    return x[..., 0]


FUNNEL = ((_below, 0.0477904), (_first, 0.0), (lambda x: x[..., 0] ** 2, 9.0))
ROSENBROCK = (
    (lambda x: (x[..., 0] - 1.0) ** 2, 10.0),
    (_first, 1.0),
    (lambda x: x[..., 1], 11.0),
)
HARD = {
    "funnel, d = 10": Hard(lambda: fm.targets.funnel(10), 4000, FUNNEL, ALL),
    "funnel, d = 100": Hard(lambda: fm.targets.funnel(100), 10_000, FUNNEL, ALL[:1]),
    "Rosenbrock, d = 2": Hard(
        fm.targets.rosenbrock, 4000, ROSENBROCK, (*ALL, "`WALNUTS(step_size=2.0)`")
    ),
}


def _law(law: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: fm.targets.law_density(law())


def _correlated(dim: int, covariance: Array) -> Any:
    return fm.distributions.MultivariateNormal(np.zeros(dim), covariance)


def _autoregression() -> Any:
    lags = np.abs(np.subtract.outer(np.arange(100), np.arange(100)))
    return _correlated(100, 0.9**lags)


def _wishart() -> Any:
    """Return a normal law in 100 dimensions with the covariance of 150 random points."""
    points = np.random.default_rng(1).standard_normal((150, 100))
    return _correlated(100, points.T @ points / 150)


ORDINARY: dict[str, Callable[[], Any]] = {
    "iid normal, d = 199": _law(lambda: fm.distributions.Normal(np.zeros(199), np.ones(199))),
    "scales 0.01 to 100, d = 150": _law(
        lambda: fm.distributions.Normal(np.zeros(150), np.geomspace(0.01, 100, 150))
    ),
    "AR(1) of 0.9, d = 100": _law(_autoregression),
    "iid t4, d = 100": _law(lambda: fm.distributions.Product([fm.distributions.StudentT(4)] * 100)),
    "correlated normal, d = 100": _law(_wishart),
    "eight schools, non-centred": fm.targets.eight_schools,
    "logistic regression, d = 31": lambda: problem("logistic 31").builtin(),
}
#: The seeds of the second table.
SEEDS = 6


@cache
def _target(name: str) -> Any:
    return HARD[name].target() if name in HARD else ORDINARY[name]()


def run(name: str, kernel: str, seed: int) -> dict[str, Any]:
    """Return what the tables need of a run."""
    hard = HARD.get(name)
    start = time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        s = fm.mcmc.sample(
            _target(name),
            kernel=KERNELS[kernel](),
            n_draws=1000 if hard is None else hard.n_draws,
            rng=seed,
            plan=fm.Plan(n_threads=1),
        )
    found: dict[str, Any] = {"n_evals": s.n_evals, "seconds": time.process_time() - start}
    found["warned"] = bool(caught)
    if hard is None:
        kinds: tuple[Literal["bulk", "tail"], ...] = ("bulk", "tail")
        found["ess"] = min(float(np.min(fm.diagnostics.ess(s.draws, kind=k))) for k in kinds)
        return found
    found["rhat"] = float(np.max(fm.diagnostics.rhat(s.draws)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the same findings
        estimates = [s.expect(f) for f, _ in hard.known]
    found["means"] = [float(e.mean) for e in estimates]
    found["errors"] = [float(e.stderr) for e in estimates]
    return found


def hard_row(name: str, kernel: str, runs: Sequence[dict[str, Any]]) -> str:
    hard = HARD[name]
    truth = np.array([value for _, value in hard.known])
    means, errors = (np.array([r[key] for r in runs]) for key in ("means", "errors"))
    # An expectation of a set that no draw is in has the error 0.
    pulls = np.abs(means - truth) / np.maximum(errors, 1e-300)
    rms = float(np.sqrt(np.mean((means[:, 0] / truth[0] - 1.0) ** 2)))
    cells = [
        name,
        kernel,
        len(runs),
        f"{means[:, 0].mean():.4f}",
        f"{rms:.1%}",
        f"{(pulls < 5).all(axis=1).mean():.2f}",
        f"{(pulls < 2).mean():.2f}",
        f"{np.mean([r['rhat'] > 1.05 for r in runs]):.2f}",
        f"{np.mean([r['warned'] for r in runs]):.2f}",
        f"{np.mean([r['n_evals'] for r in runs]) / 1000:,.0f} k",
        f"{np.median([r['seconds'] for r in runs]):.2f}",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def _rates(runs: Sequence[dict[str, Any]]) -> Array:
    return np.array([1000.0 * r["ess"] / r["n_evals"] for r in runs])


def ordinary_row(name: str, each: dict[str, list[dict[str, Any]]]) -> str:
    walnuts, nuts = (_rates(each[kernel]) for kernel in ("`WALNUTS()`", "`NUTS()`"))
    ratio = walnuts.mean() / nuts.mean()
    spread = ratio * np.hypot(
        *(rates.std(ddof=1) / np.sqrt(len(rates)) / rates.mean() for rates in (walnuts, nuts))
    )
    cells = [name, len(walnuts), f"{walnuts.mean():.1f}", f"{nuts.mean():.1f}"]
    return "| " + " | ".join(map(str, [*cells, f"{ratio:.2f} ± {spread:.2f}"])) + " |"


PARTS = ("multi-scale targets", "other targets")
HEADS = {
    PARTS[
        0
    ]: "| target | kernel | seeds | mean | rms error | within 5 | pulls < 2 | R-hat > 1.05 | "
    "warned | gradients | CPU s |",
    PARTS[1]: "| target | seeds | WALNUTS | NUTS | ratio |",
}


def tables(keep: Path | None, words: Sequence[str]) -> dict[str, str]:
    """Return both tables; finished runs are read from a file and added to it."""
    kept = {} if keep is None or not keep.exists() else json.loads(keep.read_text())

    def get(name: str, kernel: str, seed: int) -> dict[str, Any]:
        key = f"{name} {kernel} {seed}"
        if key not in kept:
            kept[key] = run(name, kernel, seed)
            if keep is not None:
                keep.write_text(json.dumps(kept))
        found: dict[str, Any] = kept[key]
        return found

    def every(name: str, kernel: str, n: int) -> list[dict[str, Any]]:
        return [get(name, kernel, FIRST + i) for i in range(n)]

    rows: dict[str, list[str]] = {part: [] for part in PARTS}
    for name in (*HARD, *ORDINARY):
        if words and not any(word in name for word in words):
            continue
        if name in HARD:
            for kernel in HARD[name].kernels:
                row = hard_row(name, kernel, every(name, kernel, HARD[name].n_seeds))
                rows[PARTS[0]].append(row)
                print(row, flush=True)
        else:
            row = ordinary_row(name, {k: every(name, k, SEEDS) for k in ALL[:2]})
            rows[PARTS[1]].append(row)
            print(row, flush=True)
    return {
        part: "\n".join([HEADS[part], "|---" * (HEADS[part].count("|") - 1) + "|", *rows[part]])
        for part in PARTS
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--rows", nargs="*", default=())
    given = parser.parse_args()
    made = tables(given.keep, given.rows)
    if given.out is not None:
        intro = (__doc__ or "").replace("``", "`").strip()
        parts = "\n\n".join(f"## {part.capitalize()}\n\n{table}" for part, table in made.items())
        given.out.write_text(f"# Calibration of WALNUTS\n\n{intro}\n\n{parts}\n")


if __name__ == "__main__":
    main()
