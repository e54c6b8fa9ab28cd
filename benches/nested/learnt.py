"""`fermiac.nested.Learnt` on known evidences, beside nautilus, and the coverage of its errors.

``python -m benches.nested.learnt runs.jsonl fermiac corner12 --seeds 1000:1005`` adds runs to a
file, and ``nautilus`` in place of ``fermiac`` runs of nautilus at its defaults. With
``--n-effective 80000`` runs of ours have so many effective points. Without a program, and with
``--page docs/calibration-nested.md``, the table of the file is put into that page.
``--coverage 200`` runs two problems from so many seeds, at small settings and at the defaults, and
puts that table into the page.
"""

from __future__ import annotations

import argparse
import json
import math
import warnings
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from benches.nested.calibration import ALL
from benches.nested.peers import Found, nautilus, timed
from benches.nested.problem import Problem
from benches.pages import into_page

import fermiac as fm

#: Problems of the table of coverage, with the settings of the runs.
COVERAGE: dict[str, tuple[str, dict[str, Any]]] = {
    "normal, d = 5": ("gauss5", {}),
    "expansion rates, d = 3": ("expansion", {}),
}
#: The settings of these runs: short ones, and the defaults.
SETTINGS: dict[str, tuple[int, int]] = {"short": (500, 200), "defaults": (10_000, 500)}
FIRST = 1000


def learnt(p: Problem, **settings: Any) -> Any:
    """Return the function of a seed that makes a run, and notes whether it was warned."""
    given = {"sampler": "learnt"} | settings

    def run(seed: int) -> Found:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fm.errors.FermiacWarning)
            r = fm.nested.sample(
                p.values,
                p.prior,
                p.dim,
                rng=seed,
                plan=fm.Plan(n_threads=1),
                periodic=p.periodic,
                **given,
            )
        warned.append(bool(r.warnings))
        return Found(r.log_evidence, r.log_evidence_stderr, r.n_evals, float(r.ess))

    warned: list[bool] = []
    run.warned = warned  # type: ignore[attr-defined]
    return run


def measure(path: Path, program: str, name: str, seeds: range, n_effective: int | None) -> None:
    """Add the runs of a program on a problem to a file."""
    p = ALL[name]()
    settings = {}
    if n_effective is not None:
        settings["sampler"] = fm.nested.Learnt(n_effective=n_effective)
    run = learnt(p, **settings) if program == "fermiac" else nautilus(p)
    for seed in seeds:
        found, cpu, _ = timed(run, seed)
        row: dict[str, Any] = {"program": program, "problem": name, "seed": seed, "cpu": cpu}
        row |= found._asdict()
        row["error"] = found.log_evidence - p.log_evidence
        row["warned"] = bool(getattr(run, "warned", [False])[-1])
        if n_effective is not None:
            row["program"] += f", n_effective={n_effective}"
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)


def table(path: Path) -> str:
    """The runs of a file as a table in Markdown."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    lines = [
        "| problem | program | runs | rms error | claimed | calls | ESS | ESS / call | CPU s "
        "| warned |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, program in dict.fromkeys((row["problem"], row["program"]) for row in rows):
        mine = [row for row in rows if (row["problem"], row["program"]) == (name, program)]
        of = {key: np.array([row[key] for row in mine]) for key in ("error", "stderr", "cpu")}
        calls, ess = (float(np.mean([row[key] for row in mine])) for key in ("n_evals", "ess"))
        warned = sum(row["warned"] for row in mine)
        lines.append(
            f"| {name} | {program} | {len(mine)} | {math.sqrt(np.mean(of['error'] ** 2)):.4f} "
            f"| {of['stderr'].mean():.4f} | {calls / 1000:.1f} k | {ess:.0f} | {ess / calls:.2f} "
            f"| {np.median(of['cpu']):.1f} | {warned} |"
        )
    return "\n".join(lines)


def coverage(n: int) -> str:
    """Runs from many seeds: the share of pulls within 2, their mean and deviation."""
    lines = [
        "| problem | runs | within 2 | mean pull | sd of pulls | claimed | calls | warned |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (label, (name, settings)), (size, (n_effective, n_live)) in product(
        COVERAGE.items(), SETTINGS.items()
    ):
        p = ALL[name]()
        sampler = fm.nested.Learnt(n_effective=n_effective)
        run = learnt(p, sampler=sampler, n_live=n_live, **settings)
        runs = [run(seed) for seed in range(FIRST, FIRST + n)]
        pulls = np.array([(r.log_evidence - p.log_evidence) / r.stderr for r in runs])
        claimed = float(np.mean([r.stderr for r in runs]))
        calls = float(np.mean([r.n_evals for r in runs]))
        lines.append(
            f"| {label}, {size} | {n} | {np.mean(np.abs(pulls) < 2):.1%} | {pulls.mean():+.2f} "
            f"| {pulls.std(ddof=1):.2f} | {claimed:.4f} | {calls:.0f} | {sum(run.warned)} |"
        )
        print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Learnt densities on known evidences.")
    parser.add_argument("out", type=Path)
    parser.add_argument("program", nargs="?", choices=("fermiac", "nautilus"))
    parser.add_argument("problem", nargs="?", choices=list(ALL))
    parser.add_argument("--seeds", default="1000:1005", help="first:last+1")
    parser.add_argument("--n-effective", type=int, help="effective points of our runs")
    parser.add_argument("--coverage", type=int, default=0, help="runs of each short problem")
    parser.add_argument("--page", type=Path, help="the page to put the table into")
    given = parser.parse_args()
    if given.program is not None and given.problem is not None:
        seeds = range(*map(int, given.seeds.split(":")))
        measure(given.out, given.program, given.problem, seeds, given.n_effective)
        return
    text = coverage(given.coverage) if given.coverage else table(given.out)
    print(text)
    if given.page is not None:
        into_page(given.page, "learnt coverage" if given.coverage else "learnt", text)


if __name__ == "__main__":
    main()
