"""ChEES beside lock-step NUTS, and beside the ChEES of blackjax, with 256 chains.

The targets are functions of batches in NumPy, and the same densities in JAX for blackjax, in double
precision. A run has 256 chains and one thread. The first number of draws per chain, from 8 on, at
which the least of bulk and tail effective sample sizes over all coordinates is 1000 is sought in a
run of 60 draws (`never`: not within them). ``gradients`` are those of a chain up to there, warm-up
included, and ``warm-up`` those of the warm-up. ``CPU`` is in seconds, the share of the CPU time of
the run that these gradients are. All figures are means over the seeds (``--seeds``, one by
default); ``ratio`` is that of the CPU times of `NUTS()` and the row. `NUTS()` ends its warm-up
where the chains agree. A warm-up of 100 transitions is shorter than users would choose without
knowing the result, and shows how much of the gain is that of the warm-up.

blackjax has no rule for the length of the warm-up. Its rows have the one of 150 and 400
transitions with the fewest gradients in all, which is known only afterwards, with Adam at a rate of
0.05 and a first step of 0.1; starts are uniform between -2 and 2 as here. Its time is without that
of compilation.

The second table has errors of `ChEES()` with 256 chains of 20 draws: the share of the pulls within
two, over 40 seeds, for the means of all coordinates and of their squares, against exact values, or
those of a run of `WALNUTS()` with 200,000 draws. ``nested R-hat`` and ``R-hat`` are the shares of
the runs in which these are above 1.01 somewhere, and ``warned`` that of runs with a warning.

Constants of `ChEES` were chosen with seeds below 1000 on targets of the same kinds with other data;
the table has seeds from 1000 on.

``python -m benches.mcmc.many_chains --out docs/calibration-many-chains.md`` makes the page, with
blackjax where it is installed. ``--keep FILE`` keeps the runs, so that a later call goes on, and
``--only`` restricts the call to rows whose name contains a word.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benches.mcmc.many_problems import MANY, Many

import fermiac as fm

FIRST, CHAINS, DRAWS, WANTED = 1000, 256, 60, 1000.0
GRID = (8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 50, 60)
ROWS: dict[str, Callable[[Many, int], dict[str, float]]] = {}


def _needed(draws: Any) -> int | None:
    """Return the number of draws per chain at which the effective sample sizes suffice."""
    for n in GRID:
        sizes = [fm.diagnostics.ess(draws[:, :n], kind=kind).min() for kind in ("bulk", "tail")]
        if min(sizes) >= WANTED:
            return n
    return None


def _row(draws: Any, warmup: float, per_draw: float, cpu: float) -> dict[str, float]:
    n = _needed(draws)
    if n is None:
        return {"draws": np.nan, "warmup": warmup, "gradients": np.nan, "cpu": np.nan}
    gradients = warmup + n * per_draw
    share = gradients / (warmup + DRAWS * per_draw)
    return {"draws": n, "warmup": warmup, "gradients": gradients, "cpu": cpu * share}


def _ours(kernel: Any, n_warmup: int | None = None) -> Callable[[Many, int], dict[str, float]]:
    def run(problem: Many, seed: int) -> dict[str, float]:
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fm.errors.FermiacWarning)
            s = fm.mcmc.sample(
                problem.pair, problem.dim, True, kernel=kernel, n_chains=CHAINS, n_warmup=n_warmup,
                n_draws=DRAWS, keep_gradients=False, rng=seed, check=False, check_gradient=False,
                plan=fm.Plan(n_threads=1, progress=False),
            )  # fmt: skip
        cpu = time.process_time() - start
        per_draw = float(s.stats["n_steps"].mean())
        return _row(s.draws, s.n_evals / CHAINS - DRAWS * per_draw, per_draw, cpu)

    return run


def _blackjax(metric: str | None) -> Callable[[Many, int], dict[str, float]]:
    def run(problem: Many, seed: int) -> dict[str, float]:
        import blackjax
        import jax
        import jax.numpy as jnp
        import optax

        jax.config.update("jax_enable_x64", True)

        def density(x: Any) -> Any:
            return problem.of_point(jnp, x)

        rows = []
        for n_warmup in (150, 400):
            adaptation = blackjax.chees_adaptation(
                density, CHAINS, mass_matrix_estimation=metric,
                adaptation_info_fn=lambda state, info, adaptation: info.num_integration_steps,
            )  # fmt: skip

            functions: dict[str, Any] = {}  # of the kernel, which cannot leave a compiled function

            def warm(
                key: Any, x: Any, n: int = n_warmup, run: Any = adaptation.run, of: Any = functions
            ) -> Any:
                (states, found), steps = run(key, x, 0.1, optax.adam(0.05), n)
                of.update({k: v for k, v in found.items() if callable(v)})
                plain = {k: v for k, v in found.items() if not callable(v)}
                return states, plain, steps._wrapped_info

            def draw(key: Any, states: Any, found: Any) -> Any:
                kernel = blackjax.dynamic_hmc(density, **found).step

                def move(states: Any, key: Any) -> Any:
                    keys = jax.random.split(key, CHAINS)
                    states, info = jax.vmap(kernel)(keys, states)
                    return states, (states.position, info.num_integration_steps)

                return jax.lax.scan(move, states, jax.random.split(key, DRAWS))

            keys = jax.random.split(jax.random.PRNGKey(seed), 3)
            x = jax.random.uniform(keys[0], (CHAINS, problem.dim), minval=-2.0, maxval=2.0)
            compiled = jax.jit(warm)
            sampling = jax.jit(lambda key, s, p, f=functions: draw(key, s, {**p, **f}))
            for _ in range(2):  # the first one compiles
                start = time.process_time()
                states, plain, steps = compiled(keys[1], x)
                _, (draws, more) = sampling(keys[2], states, plain)
                draws = np.asarray(draws).swapaxes(0, 1)
                cpu = time.process_time() - start
            warmup = float(np.asarray(steps).sum(axis=0).mean())
            rows.append(_row(draws, warmup, float(np.asarray(more).mean()), cpu))
        return min(rows, key=lambda row: np.nan_to_num(row["gradients"], nan=np.inf))

    return run


ROWS |= {
    "`ChEES()`": _ours(fm.mcmc.ChEES()),
    '`ChEES(criterion="snaper")`': _ours(fm.mcmc.ChEES(criterion="snaper")),
    "`NUTS()`": _ours(fm.mcmc.NUTS()),
    "`NUTS()`, `n_warmup=100`": _ours(fm.mcmc.NUTS(), 100),
    "blackjax, unit metric": _blackjax(None),
    "blackjax, diagonal metric": _blackjax("diagonal"),
}


def table(runs: dict[str, dict[str, list[dict[str, float]]]]) -> list[str]:
    """Return the lines of the table."""
    lines = [
        "| target | kernel | draws | warm-up | gradients | CPU | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for target, of in runs.items():
        base = np.mean([row["cpu"] for row in of.get("`NUTS()`", [])] or [np.nan])
        for name in (name for name in ROWS if name in of):
            mean = {key: np.mean([row[key] for row in of[name]]) for key in of[name][0]}
            draws, warmup, gradients, cpu = mean.values()
            if np.isnan(draws):
                lines.append(f"| {target} | {name} | never | {warmup:.0f} | | | |")
            else:
                lines.append(
                    f"| {target} | {name} | {draws:.0f} | {warmup:.0f} | {gradients:.0f} | "
                    f"{cpu:.2g} | {base / cpu:.1f} |"
                )
    return lines


def _calibrated(target: Any, exact: Any) -> list[float]:
    """Return the share of pulls within two, and the shares of runs with a large R-hat or warned."""
    pulls, flags = [], []
    for seed in range(FIRST, FIRST + 40):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fm.errors.FermiacWarning)
            s = fm.mcmc.sample(
                target, kernel="chees", n_chains=CHAINS, n_draws=20, rng=seed,
                plan=fm.Plan(n_threads=1, progress=False),
            )  # fmt: skip
            got = s.expect(lambda x: np.hstack([x, x**2]))
        pulls.append((got.mean - exact) / got.stderr)
        nested = fm.diagnostics.nested_rhat(s.draws, s.settings["n_superchains"])
        plain = fm.diagnostics.rhat(s.draws)
        flags.append([(nested > 1.01).any(), (plain > 1.01).any(), bool(s.warnings)])
    return [float((np.abs(pulls) < 2).mean()), *map(float, np.mean(flags, axis=0))]


def calibration() -> list[str]:
    """Return the lines of the second table."""
    d = 100
    covariance = 0.9 ** np.abs(np.arange(d)[:, None] - np.arange(d))
    normal = fm.targets.gaussian(np.zeros(d), np.linalg.inv(covariance))
    schools = fm.targets.eight_schools()
    long = fm.mcmc.sample(
        schools, kernel="walnuts", n_draws=50_000, rng=0, plan=fm.Plan(progress=False)
    ).draws
    known = {
        "correlated normal, d = 100": (normal, np.r_[np.zeros(d), np.ones(d)]),
        "eight schools, d = 10": (
            schools,
            np.r_[long.mean(axis=(0, 1)), (long**2).mean(axis=(0, 1))],
        ),
    }
    lines = ["| target | pulls < 2 | nested R-hat | R-hat | warned |", "|---|---|---|---|---|"]
    for name, (target, exact) in known.items():
        cells = " | ".join(f"{share:.3f}" for share in _calibrated(target, exact))
        lines.append(f"| {name} | {cells} |")
    return lines


def main() -> None:
    """Make the runs and print the table, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    kept = options.keep
    runs: Any = json.loads(kept.read_text()) if kept and kept.exists() else {}
    for target, make in MANY.items():
        problem, of = make(), runs.setdefault(target, {})
        for name, row in ROWS.items():
            if options.only not in name:
                continue
            done = of.setdefault(name, [])
            for seed in range(FIRST + len(done), FIRST + options.seeds):
                done.append(row(problem, seed))
                if kept:
                    kept.write_text(json.dumps(runs))
    lines = [*table(runs), "", *calibration()]
    if options.out is None:
        print("\n".join(lines))
        return
    head = "# Many chains\n\n" + (__doc__ or "").replace("``", "`").strip()
    options.out.write_text("\n".join([head, "", *lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
