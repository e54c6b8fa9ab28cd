"""NUTS at its defaults on the posteriors of posteriordb, compared with the reference draws.

posteriordb has posteriors of statistical models with 10,000 reference draws each. A row repeats
`fermiac.mcmc.sample(target, transforms=...)` with other seeds; the log-densities are written in
JAX. In each run the mean of every parameter, and that of its square, is compared with the reference
draws: z is the difference in units of the joint standard error of both. A run is `right` if all z
are below 5 in size and all R-hat below 1.05; z alone does not see chains in different places, whose
standard errors are large. With right errors one of the table's 4600 z is above 5 in one of 400
tables. `silent` is the number of runs that are wrong without a warning. A parameter whose square
has a heavy tail, for which no standard error is reliable (a Pareto shape above 0.5 among the
reference draws), is compared by its logarithm: two of one_comp_mm_elim_abs.

`warned` is the number of runs with any warning, `max |z|` and `R-hat` are the largest of all runs,
and `diverged` is the number of transitions that diverged, of all runs. `warm-up` is the mean number
of gradients in the warm-up, `per draw` the mean number per draw after it, and `ESS` the least of
bulk and tail effective sample sizes over the parameters per 1000 gradients, warm-up included; the
median of the runs, like `CPU s`. `density` tests the density itself at the reference draws: the
gradient g of the unconstrained log-density has the mean 0, and the mean of the coordinate times g
is -1. The column has the largest z of these.

Two posteriors are not always right. In bball_drive_event_0-hmm_drive_0 all four chains of a run can
be at one local mode, with a log-density lower by 60, when the warm-up ends; they leave it later,
with warnings. In one_comp_mm_elim_abs the narrow upper tail of K_m, where V_m is proportional to
it, is visited too seldom in 1000 draws, so that standard errors of squares are too small. The
Poisson process gp_pois_regr is right, but its chains mix slowly and say so.

The table has the posteriors whose reference draws were in the copy of the database, all but
mcycle_gp-accel_gp. Constants of fermiac were chosen with seeds below 1000; the table has seeds from
1000 on. Before chains at local modes were moved in the warm-up (`settings["moved_chains"]`), 4 of
the 8 runs of hudson_lynx_hare-lotka_volterra were wrong, with warnings.

M. Magnusson, P. Bürkner, A. Vehtari, "posteriordb: a set of posteriors for Bayesian inference and
probabilistic programming"; the database is distributed under the BSD 3-clause licence.

``python -m benches.mcmc.posteriordb --database FOLDER --out docs/calibration-posteriordb.md`` makes
the page. ``--rows`` restricts it to posteriors whose names contain a word, ``--keep FILE`` keeps
the runs, so that a later call goes on, and ``--check`` tests the densities alone.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
import zipfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

import fermiac as fm

jax.config.update("jax_enable_x64", True)

from benches.mcmc.posteriordb_models import Posterior  # noqa: E402
from benches.mcmc.posteriordb_processes import PROCESSES  # noqa: E402
from benches.mcmc.posteriordb_regressions import REGRESSIONS  # noqa: E402

Array = NDArray[np.float64]
MODELS = {**REGRESSIONS, **PROCESSES}
#: A difference of more standard errors is wrong, and so is a larger R-hat.
LIMIT = 5.0
MOST_RHAT = 1.05
#: Squares with a larger Pareto shape have no reliable standard error.
HEAVY = 0.5


def _read(path: Path) -> Any:
    with zipfile.ZipFile(path) as packed:
        return json.loads(packed.read(packed.namelist()[0]))


def available(database: Path) -> list[str]:
    """Return the names of the posteriors with reference draws."""
    folder = database / "reference_posteriors" / "draws" / "draws"
    return sorted(path.name.removesuffix(".json.zip") for path in folder.glob("*.json.zip"))


class Problem:
    """A posterior of the database as a target, with the reference draws."""

    def __init__(self, database: Path, name: str) -> None:
        self.name = name
        about = json.loads((database / "posteriors" / f"{name}.json").read_text())
        data = _read(database / "data" / "data" / f"{about['data_name']}.json.zip")
        self.posterior: Posterior = MODELS[about["model_name"]](data)
        draws = _read(database / "reference_posteriors" / "draws" / "draws" / f"{name}.json.zip")
        self.names = list(draws[0])
        #: (chains, draws, parameters)
        self.reference = np.array([[chain[k] for k in self.names] for chain in draws])
        self.reference = np.moveaxis(self.reference, 1, 2)
        self.target = fm.targets.from_jax(self.posterior.log_density, self.posterior.dim)

    def listed(self, draws: Array) -> Array:
        """Return the parameters that the database lists at draws (chains, draws, d)."""
        flat = jax.vmap(self.posterior.listed)(jnp.asarray(draws.reshape(-1, draws.shape[-1])))
        return np.asarray(flat).reshape(*draws.shape[:2], -1)

    @cached_property
    def heavy(self) -> NDArray[np.bool_]:
        """Which parameters have squares without a reliable standard error."""
        logs = 2 * np.log(np.abs(self.reference.reshape(-1, len(self.names))))
        return np.array([fm.diagnostics.psis(column)[1] for column in logs.T]) > HEAVY

    @cached_property
    def known(self) -> tuple[Array, Array]:
        """The means of the reference draws and of their squares, with standard errors."""
        return self.moments(self.reference)

    def moments(self, draws: Array) -> tuple[Array, Array]:
        """Return the means of listed parameters and of their squares, with standard errors."""
        x = np.where(self.heavy, np.log(np.abs(draws)), draws)
        values = np.concatenate([x, x**2], axis=-1)
        return values.mean(axis=(0, 1)), np.asarray(fm.diagnostics.mcse(values, kind="mean"))

    def compile(self) -> None:
        """Compile the target for up to 4 points, so that no run is timed with that."""
        for n in (1, 2, 4):
            self.target.log_density_and_gradient(np.ones((n, self.posterior.dim)))

    def check(self) -> float:
        """Return the largest z of identities of the density at the reference draws."""
        chains, n, _ = self.reference.shape
        flat = self.reference.reshape(chains * n, -1)
        points = np.asarray(jax.vmap(self.posterior.point)(jnp.asarray(flat)))
        space = fm.targets.transformed(self.target, self.posterior.transforms)
        z = space.unconstrain(points)
        slopes = np.concatenate(
            [space.log_density_and_gradient(part)[1] for part in np.array_split(z, 10)]
        )
        values = np.concatenate([slopes, z * slopes + 1.0], axis=1).reshape(chains, n, -1)
        errors = fm.diagnostics.mcse(values, kind="mean")
        return float(np.max(np.abs(values.mean(axis=(0, 1)) / errors)))


def run(problem: Problem, seed: int) -> dict[str, Any]:
    """Return what the table needs of a run."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are in the result
        s = fm.mcmc.sample(
            problem.target,
            transforms=problem.posterior.transforms,
            rng=seed,
            plan=fm.Plan(n_threads=1),
        )
    seconds = time.process_time() - start
    draws = problem.listed(s.draws)
    known, known_errors = problem.known
    means, errors = problem.moments(draws)
    z = np.abs(means - known) / np.hypot(errors, known_errors)
    # Chains that stand still have no standard error.
    z = np.where(np.isfinite(z), z, np.inf)
    kinds = ("bulk", "tail")
    return {
        "z": float(np.max(z)),
        "worst": (problem.names * 2)[int(np.argmax(z))],
        "rhat": float(np.max(fm.diagnostics.rhat(draws))),
        "diverged": int(s.stats["diverging"].sum()),
        "warnings": [str(text) for text in s.warnings],
        "n_warmup": s.settings["n_warmup"],
        "warmup": int(s.n_evals - s.stats["n_steps"].sum()),
        "steps": float(s.stats["n_steps"].mean()),
        "n_evals": s.n_evals,
        "ess": min(float(np.min(fm.diagnostics.ess(draws, kind=k))) for k in kinds),
        "seconds": seconds,
    }


HEAD = (
    "| posterior | d | density | seeds | right | warned | silent | max |z| | R-hat | diverged "
    "| warm-up | per draw | ESS | CPU s |"
).replace("max |z|", "max \\|z\\|")


def right(found: dict[str, Any]) -> bool:
    """Whether a run agrees with the reference draws, and its chains with each other."""
    return bool(found["z"] < LIMIT and found["rhat"] < MOST_RHAT)


def row(name: str, dim: int, density: float, runs: Sequence[dict[str, Any]]) -> str:
    """Return a line of the table."""
    wrong = [not right(r) for r in runs]
    cells = [
        name,
        dim,
        f"{density:.1f}",
        len(runs),
        len(runs) - sum(wrong),
        sum(bool(r["warnings"]) for r in runs),
        sum(bad and not r["warnings"] for bad, r in zip(wrong, runs, strict=True)),
        f"{max(r['z'] for r in runs):.1f}",
        f"{max(r['rhat'] for r in runs):.3f}",
        sum(r["diverged"] for r in runs),
        f"{np.mean([r['warmup'] for r in runs]) / 1000:,.1f} k",
        f"{np.mean([r['steps'] for r in runs]):.1f}",
        f"{np.median([1000.0 * r['ess'] / r['n_evals'] for r in runs]):.1f}",
        f"{np.median([r['seconds'] for r in runs]):.1f}",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def table(
    database: Path, seeds: range, words: Sequence[str], keep: Path | None
) -> tuple[str, dict[str, list[dict[str, Any]]]]:
    """Return the table and all runs; finished runs are read from a file and added to it."""
    kept = {} if keep is None or not keep.exists() else json.loads(keep.read_text())
    lines, runs = [HEAD, "|---" * 14 + "|"], {}
    for name in available(database):
        if words and not any(word in name for word in words):
            continue
        problem = Problem(database, name)
        keys = [f"{name} {seed}" for seed in seeds]
        if any(key not in kept for key in keys):
            problem.compile()
        for key, seed in zip(keys, seeds, strict=True):
            if key not in kept:
                kept[key] = run(problem, seed)
                if keep is not None:
                    keep.write_text(json.dumps(kept))
        runs[name] = [kept[key] for key in keys]
        if name not in kept:
            kept[name] = problem.check()
            if keep is not None:
                keep.write_text(json.dumps(kept))
        lines.append(row(name, problem.posterior.dim, kept[name], runs[name]))
        print(lines[-1], flush=True)
    return "\n".join(lines), runs


def summary(runs: dict[str, list[dict[str, Any]]]) -> str:
    """Return the shares of all runs in a sentence."""
    every = [r for found in runs.values() for r in found]
    all_right = sum(all(map(right, found)) for found in runs.values())
    silent = sum(not right(r) and not r["warnings"] for r in every)
    return (
        f"{sum(map(right, every))} of {len(every)} runs are right, and {all_right} of {len(runs)} "
        f"posteriors with every seed. {sum(bool(r['warnings']) for r in every)} runs have a "
        f"warning; wrong without a warning: {silent}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--rows", nargs="*", default=())
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.check:
        for name in available(given.database):
            if not given.rows or any(word in name for word in given.rows):
                print(f"{Problem(given.database, name).check():8.2f}  {name}", flush=True)
        return
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    made, runs = table(given.database, seeds, given.rows, given.keep)
    print(summary(runs))
    if given.out is not None:
        intro = (__doc__ or "").replace("``", "`").strip()
        given.out.write_text(
            f"# NUTS on posteriordb\n\n{intro}\n\n## Results\n\n{summary(runs)}\n\n{made}\n"
        )


if __name__ == "__main__":
    main()
