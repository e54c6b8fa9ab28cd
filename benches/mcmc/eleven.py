"""Samplers at their defaults on eleven ordinary posteriors, and the coverage of our errors there.

``python -m benches.mcmc.eleven`` measures the samplers that are installed, in one run: 4 chains of
1000 draws on one thread, each with its own default warm-up (nutpie 400 transitions, 800 with its
low-rank metric, blackjax and NumPyro 1000, fermiac 200 to 1000). fermiac and nutpie call the same
compiled function, blackjax and NumPyro the same density in JAX, compiled before. The figures are
the least bulk or tail ESS of a coordinate per CPU second of the process, and per 1000 gradients,
with the warm-up: medians over seeds, for each of which the samplers take their turn. Slow ones have
fewer seeds.

``--coverage N`` measures the errors of our estimates instead, over N seeds of 4 chains of 250
draws: the shares of means, 5 % quantiles and second moments within two errors. Known values are
those of `EXACT`, and the averages over all seeds for the other targets. ``--shares`` says where the
CPU time of fermiac goes. ``--keep FILE`` keeps the runs, so that a later call goes on, and ``--out
PAGE`` writes the table into a page.
"""

from __future__ import annotations

import argparse
import os

if __name__ == "__main__":  # before the libraries are loaded, which read it then
    _KINDS = ("OMP", "OPENBLAS", "MKL", "NUMBA")
    os.environ.update({f"{kind}_NUM_THREADS": "1" for kind in _KINDS})

import json
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from benches.mcmc import peers
from benches.mcmc.eleven_targets import EXACT, TARGETS, target
from benches.mcmc.peers import Run
from benches.mcmc.problem import Problem
from benches.pages import into_page
from numpy.typing import NDArray

import fermiac as fm
from fermiac.mcmc import checks

Array = NDArray[np.float64]
#: The first seed of the tables; settings were chosen with seeds below.
FIRST = 1000
ROUNDS = 9


def fermiac(p: Problem, **settings: Any) -> Run:
    """Return a run of fermiac on the compiled function; settings are those of the call."""

    def run(seed: int) -> tuple[Array, int]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fm.errors.FermiacWarning)
            s = fm.mcmc.sample(p.native, rng=seed, plan=fm.Plan(n_threads=1), **settings)
        return s.draws, s.n_evals

    return run


def _nutpie(**settings: Any) -> Callable[[Problem], Run]:
    return lambda p: peers.nutpie_native(p, tune=None, cores=1, **settings)


SAMPLERS: dict[str, tuple[str, Callable[[Problem], Run]]] = {
    "fermiac": ("numba", fermiac),
    "nutpie": ("nutpie", _nutpie()),
    "nutpie, low rank": ("nutpie", _nutpie(low_rank_modified_mass_matrix=True)),
    "blackjax": ("blackjax", lambda p: peers.blackjax_nuts(p, batched=False)),
    "NumPyro": ("numpyro", peers.numpyro_nuts),
}

#: The most seeds of slow samplers.
FEWER = {"nutpie, low rank": 3, "blackjax": 1, "NumPyro": 1}
#: The most coordinates for a low-rank metric of nutpie, which takes minutes for more.
MOST_LOW_RANK = 500


def measure(run: Run, seed: int) -> dict[str, float]:
    """Return the least ESS, the gradients and the CPU seconds of a run."""
    start = time.process_time()
    draws, n_evals = run(seed)
    seconds = time.process_time() - start
    draws = np.ascontiguousarray(draws)
    kinds: tuple[Literal["bulk", "tail"], ...] = ("bulk", "tail")
    least = [float(np.min(fm.diagnostics.ess(draws, kind=kind))) for kind in kinds]
    return {"bulk": least[0], "tail": least[1], "n_evals": n_evals, "seconds": seconds}


class Kept:
    """Runs by their names, in a file with a line for each."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.runs: dict[str, Any] = {}
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                self.runs |= json.loads(line)

    def get(self, key: str, make: Callable[[], Any]) -> Any:
        if key not in self.runs:
            self.runs[key] = make()
            if self.path is not None:
                with self.path.open("a") as file:
                    file.write(json.dumps({key: self.runs[key]}) + "\n")
        return self.runs[key]


def _median(runs: Sequence[dict[str, float]], per: str) -> float:
    return float(np.median([min(r["bulk"], r["tail"]) / r[per] for r in runs]))


def speed_row(name: str, kept: Kept, given: argparse.Namespace) -> str:
    """Return the row of a target."""
    first, rounds = given.first, given.rounds
    chosen = [s for s, (module, _) in SAMPLERS.items() if s in given.only and find_spec(module)]
    if given.kept_only:
        chosen = [s for s in chosen if f"{name} {s} {first}" in kept.runs]
    if target(name).dim > MOST_LOW_RANK:
        chosen = [s for s in chosen if s != "nutpie, low rank"]
    made: dict[str, Run] = {}
    runs: dict[str, list[dict[str, float]]] = {sampler: [] for sampler in chosen}

    def one(sampler: str, seed: int) -> dict[str, float]:
        if sampler not in made:
            made[sampler] = SAMPLERS[sampler][1](target(name))
            if FEWER.get(sampler) != 1:
                made[sampler](0)  # loads what is loaded on the first call
        return measure(made[sampler], seed)

    for seed in range(first, first + rounds):
        for sampler in [s for s in chosen if seed - first < FEWER.get(s, rounds)]:
            key = f"{name} {sampler} {seed}"
            runs[sampler].append(kept.get(key, lambda s=sampler, k=seed: one(s, k)))
    speed = {s: _median(r, "seconds") for s, r in runs.items()}
    yields = {s: 1000.0 * _median(r, "n_evals") for s, r in runs.items()}
    rivals = [speed[s] for s in chosen if s.startswith("nutpie")]
    ratio = f"{speed['fermiac'] / max(rivals):.2f}" if rivals and "fermiac" in speed else ""
    cells = [name, *(f"{speed[s]:,.0f} ({yields[s]:.1f})" if s in speed else "–" for s in SAMPLERS)]
    return "| " + " | ".join([*cells, ratio]) + " |"


SPEED_HEAD = "| target | " + " | ".join(SAMPLERS) + " | fermiac to the better nutpie |"


def speed_table(names: Sequence[str], kept: Kept, given: argparse.Namespace) -> str:
    """Return the table of speeds."""
    rows = []
    for name in names:
        rows.append(speed_row(name, kept, given))
        print(rows[-1], flush=True)
    ratios = [float(row.split("|")[-2]) for row in rows if row.split("|")[-2].strip()]
    if ratios:
        median = f"{np.median(ratios):.2f}"
        rows.append(f"| median | {' | '.join('' for _ in SAMPLERS)} | {median} |")
    return "\n".join([SPEED_HEAD, "|---" * (len(SAMPLERS) + 2) + "|", *rows])


SHARES_HEAD = (
    "| target | µs for each gradient | the gradient itself | checks of the draws | all the rest | "
    "ms of a run |"
)


def _gradient_seconds(name: str, points: Array) -> float:
    """Return the least CPU time of a gradient at these points, in a compiled loop."""
    import numba

    f = target(name).compiled

    @numba.njit  # type: ignore[untyped-decorator]
    def loop(points, gradient):  # type: ignore[no-untyped-def]
        total = 0.0
        for i in range(len(points)):
            total += f(points[i], gradient)
        return total

    gradient, seconds = np.empty(points.shape[1]), []
    loop(points[:2], gradient)
    for _ in range(5):
        start = time.process_time()
        loop(points, gradient)
        seconds.append(time.process_time() - start)
    return min(seconds) / len(points)


def shares_row(name: str, first: int, rounds: int) -> str:
    """Return the row of a target: medians of runs with these seeds."""
    run, found = fermiac(target(name)), []
    draws, _ = run(0)
    gradient = _gradient_seconds(name, draws.reshape(-1, draws.shape[-1]))
    for seed in range(first, first + rounds):
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fm.errors.FermiacWarning)
            s = fm.mcmc.sample(target(name).native, rng=seed, plan=fm.Plan(n_threads=1))
        middle = time.process_time()
        checks.findings(s)
        end = time.process_time()
        each = np.array([middle - start, gradient * s.n_evals, end - middle]) / s.n_evals
        found.append([*each, each[0] - each[1] - each[2], 1e-3 * (middle - start)])
    whole, *parts, run_time = 1e6 * np.median(found, axis=0)
    cells = [name, f"{whole:.2f}", *(f"{x:.2f} ({x / whole:.0%})" for x in parts)]
    return "| " + " | ".join([*cells, f"{run_time:.0f}"]) + " |"


def shares_table(names: Sequence[str], _: Kept, given: argparse.Namespace) -> str:
    """Return the table of the shares of the CPU time."""
    fm.set_num_threads(1)
    rows = []
    for name in names:
        rows.append(shares_row(name, given.first, given.rounds))
        print(rows[-1], flush=True)
    return "\n".join([SHARES_HEAD, "|---" * (SHARES_HEAD.count("|") - 1) + "|", *rows])


#: The most coordinates that are judged, and the draws of each of four chains.
JUDGED, SHORT = 25, 250


def estimates(name: str, seed: int) -> dict[str, Any]:
    """Return the estimates of a run and their errors, and whether heavy tails were said."""
    p = target(name)
    step = -(-p.dim // JUDGED)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        s = fm.mcmc.sample(p.native, n_draws=SHORT, rng=seed, plan=fm.Plan(n_threads=1))
    n_warnings = len(caught)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        square = s.expect(lambda x: x[..., ::step] ** 2)
    x = np.ascontiguousarray(s.draws[..., ::step])
    low = np.quantile(x, 0.05, axis=(0, 1))
    errors = [
        fm.diagnostics.mcse(x),
        fm.diagnostics.mcse(x, kind="quantile", prob=0.05),
        square.stderr,
    ]
    return {
        "values": [v.tolist() for v in (x.mean(axis=(0, 1)), low, np.asarray(square.mean))],
        "errors": [np.asarray(e).tolist() for e in errors],
        "warned": n_warnings > 0,
        "heavy": any(issubclass(w.category, fm.errors.HeavyTailWarning) for w in caught),
    }


def coverage_row(name: str, kept: Kept, first: int, n: int) -> str:
    """Return the row of a target."""
    runs = [
        kept.get(f"{name} {seed}", lambda k=seed: estimates(name, k))
        for seed in range(first, first + n)
    ]
    values, errors = (np.array([r[key] for r in runs]) for key in ("values", "errors"))
    truth = values.mean(axis=0)
    if name in EXACT:
        scale, (mean, low, square) = EXACT[name]
        step = -(-target(name).dim // JUDGED)
        sd = np.broadcast_to(scale(), target(name).dim)[::step]
        truth = np.stack([mean * sd, low * sd, square * sd**2])
    within = np.abs(values - truth) < 2.0 * errors
    cells = [name, "exact" if name in EXACT else "average"]
    cells += [f"{within[:, k].mean():.3f}" for k in range(3)]
    cells += [f"{np.mean([r[key] for r in runs]):.2f}" for key in ("heavy", "warned")]
    return "| " + " | ".join(cells) + " |"


COVERAGE_HEAD = (
    "| target | known values | means | 5 % quantiles | second moments | heavy tails said | "
    "runs with a warning |"
)


def coverage_table(names: Sequence[str], kept: Kept, given: argparse.Namespace) -> str:
    """Return the table of coverages."""
    rows = []
    for name in names:
        rows.append(coverage_row(name, kept, given.first, given.coverage))
        print(rows[-1], flush=True)
    return "\n".join([COVERAGE_HEAD, "|---" * (COVERAGE_HEAD.count("|") - 1) + "|", *rows])


def main() -> None:
    """Print the table of speeds, or that of coverages or shares of time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="*", default=(), help="words of names of targets")
    parser.add_argument("--only", nargs="*", default=list(SAMPLERS))
    parser.add_argument("--first", type=int, default=FIRST)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--coverage", type=int, default=0)
    parser.add_argument("--shares", action="store_true")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--kept-only", action="store_true", help="leave out what was not kept")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    names = [n for n in TARGETS if not given.rows or any(word in n for word in given.rows)]
    kept = Kept(given.keep)
    part, table = ("coverage", coverage_table) if given.coverage else ("speeds", speed_table)
    if given.shares:
        part, table = "shares", shares_table
    text = table(names, kept, given)
    if given.out is not None:
        into_page(given.out, part, text)


if __name__ == "__main__":
    main()
