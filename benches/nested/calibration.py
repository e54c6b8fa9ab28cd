"""Calibration of the errors of log-evidences by nested sampling.

``python -m benches.nested.calibration gauss5 --seeds 100 --n-live 500 --sampler slice`` runs a
problem of `benches.nested` from many seeds and prints one row: the share of runs within
three reported errors of the exact log-evidence, the mean error with its standard error, the
standard deviation of the errors beside the mean reported error, the mean and standard deviation of
the rank statistic, evaluations, and CPU seconds of a run. ``all`` runs every problem; ``--each``
prints each run. ``table`` runs the cases of `CASES` with the default settings and prints a table in
Markdown, with ``--many`` seeds for those that take less than half a second;
``--page docs/calibration-nested.md`` puts it into that page, and ``--keep`` keeps the runs, so that
a later call goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from benches.nested.posteriors import POSTERIORS
from benches.nested.problem import Array, Problem
from benches.nested.problems import PROBLEMS
from benches.pages import into_page

import fermiac as fm


class Ran(NamedTuple):
    """The figures of one run."""

    log_evidence: float
    stderr: float
    rank_z: float
    n_evals: int
    ess: float
    mean_z: float  # the worst mean, in standard errors from sd and effective sample size
    cpu_seconds: float
    status: str
    from_masses: float  # the estimate from prior masses
    its_stderr: float
    is_from_points: bool  # whether the log-evidence is that from all points of bounds
    is_warned: bool


def run_once(p: Problem, form: str, seed: int, **settings: Any) -> Ran:
    likelihood = p.form(form)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fm.errors.FermiacWarning)
        r = fm.nested.sample(likelihood, p.prior, p.dim, rng=seed, periodic=p.periodic, **settings)
    seconds = time.process_time() - start
    return Ran(
        float(r.log_evidence),
        float(r.log_evidence_stderr),
        float(r.rank_z),
        int(r.n_evals),
        *_weighted(p, np.asarray(r.draws), np.asarray(r.log_weights)),
        seconds,
        str(r.status),
        float(r.log_evidence_volumes),
        float(r.log_evidence_volumes_stderr),
        r.importance is not None and r.importance.log_evidence == r.log_evidence,
        bool(r.warnings),
    )


def _weighted(p: Problem, draws: Array, log_w: Array) -> tuple[float, float]:
    """Return Kish's effective sample size, and the largest error of a mean in standard errors."""
    w = np.exp(log_w - log_w.max())
    w /= w.sum()
    ess = 1.0 / float(w @ w)
    if p.means is None:
        return ess, math.nan
    mean = w @ draws
    sd = np.sqrt(w @ (draws - mean) ** 2)
    return ess, float(np.max(np.abs(mean - p.means) / sd) * math.sqrt(ess))


def summary(p: Problem, runs: list[Ran]) -> dict[str, float]:
    """Return the statistics of the runs of one problem."""
    errors = np.array([r.log_evidence for r in runs]) - p.log_evidence
    claimed = np.array([r.stderr for r in runs])
    n = len(runs)
    with np.errstate(divide="ignore", invalid="ignore"):
        pulls = np.where(errors == 0.0, 0.0, errors / claimed)
    sd = float(errors.std(ddof=1)) if n > 1 else math.nan
    ranks = np.array([r.rank_z for r in runs])
    return {
        "runs": n,
        "within_3": float(np.mean(np.abs(pulls) < 3.0)),
        "worst_pull": float(np.max(np.abs(pulls))),
        "mean_error": float(errors.mean()),
        "its_error": sd / math.sqrt(n),
        "sd": sd,
        "rms_error": float(np.sqrt(np.mean(errors**2))),
        "claimed": float(claimed.mean()),
        "sd_over_claimed": sd / float(claimed.mean()) if claimed.any() else math.nan,
        "rank_z": float(ranks.mean()),
        "rank_z_sd": float(ranks.std(ddof=1)) if n > 1 else math.nan,
        "worst_mean": float(np.max([r.mean_z for r in runs])),
        "n_evals": float(np.mean([r.n_evals for r in runs])),
        "ess": float(np.mean([r.ess for r in runs])),
        "cpu_seconds": float(np.mean([r.cpu_seconds for r in runs])),
        "incomplete": float(np.mean([r.status == "stopped" for r in runs])),
    }


ALL = PROBLEMS | POSTERIORS
#: The rows of the table: names, problems, and settings that are not the defaults.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "linear regression, d = 6": ("regression6", {}),
    "expansion rates, d = 3": ("expansion", {}),
    "normal, d = 5": ("gauss5", {}),
    "normal, d = 20": ("gauss20", {}),
    "narrow, d = 10": ("narrow10", {}),
    "banana, d = 8": ("banana8", {}),
    "corner, d = 12": ("corner12", {}),
    "two Student's t, d = 8": ("student8", {}),
    "funnel, d = 7": ("funnel7", {}),
    "seven aliases, d = 4": ("alias", {}),
    "five modes, d = 4": ("five_modes", {}),
    "two normals, d = 10": ("mix10", {}),
    "log-gamma, d = 10": ("loggamma10", {}),
    "spike and slab, d = 20, `dlogz=1e-12`": ("spike_and_slab", {"dlogz": 1e-12}),
    "wedding cake, d = 4": ("wedding_cake", {}),
    "von Mises, d = 4": ("von_mises", {}),
    "eggbox": ("eggbox", {}),
    "eggbox, 100 live points": ("eggbox", {"n_live": 100}),
    "shells, d = 2": ("shells2", {}),
}
#: Problems whose runs take more than half a second.
LONG = {
    "gauss20",
    "banana8",
    "corner12",
    "student8",
    "alias",
    "loggamma10",
    "spike_and_slab",
}
HEAD = (
    "| problem | runs | from points | rms error | claimed | within 2 | sd of pulls | "
    "rms by masses | calls | ESS | warned | CPU s |\n" + "|---" * 12 + "|"
)


def row(label: str, runs: list[Ran], exact: float) -> tuple[str, Array]:
    """Return a row of the table, and the pulls of its runs."""
    errors = np.array([r.log_evidence for r in runs]) - exact
    claimed = np.array([r.stderr for r in runs])
    masses = np.array([r.from_masses for r in runs]) - exact
    pulls = errors / claimed

    def mean(name: str) -> float:
        return float(np.mean([getattr(r, name) for r in runs]))

    cells = [
        label,
        str(len(runs)),
        f"{mean('is_from_points'):.0%}",
        f"{np.sqrt(np.mean(errors**2)):.4f}",
        f"{claimed.mean():.4f}",
        f"{np.mean(np.abs(pulls) < 2):.0%}",
        f"{pulls.std(ddof=1):.2f}",
        f"{np.sqrt(np.mean(masses**2)):.3f}",
        f"{mean('n_evals') / 1000:.1f} k",
        f"{mean('ess'):.0f}",
        f"{mean('is_warned'):.0%}",
        f"{mean('cpu_seconds'):.2f}",
    ]
    return f"| {' | '.join(cells)} |", pulls


def table(options: argparse.Namespace) -> str:
    """Return the table of all cases, and a sentence on all runs without a warning."""
    kept = options.keep
    known = json.loads(kept.read_text()) if kept is not None and kept.exists() else {}
    lines, pooled = [HEAD], []
    for label, (name, settings) in CASES.items():
        p = ALL[name]()
        runs = [Ran(*figures) for figures in known.get(label, ())]
        n = options.seeds if name in LONG else max(options.seeds, options.many)
        for seed in range(options.first_seed + len(runs), options.first_seed + n):
            runs.append(
                run_once(
                    p, options.form, seed, plan=fm.Plan(n_threads=options.n_threads), **settings
                )
            )
        if kept is not None:
            kept.write_text(json.dumps(known | {label: runs}))
            known[label] = runs
        line, pulls = row(label, runs, p.log_evidence)
        print(line, file=sys.stderr, flush=True)
        lines.append(line)
        # As many of each problem.
        quiet = [
            pull for pull, r in zip(pulls[: options.seeds], runs, strict=False) if not r.is_warned
        ]
        pooled += quiet
    z = np.array(pooled)
    lines += [
        "",
        f"Of the {len(z)} runs without a warning among the first {options.seeds} of each problem "
        f"{np.mean(np.abs(z) < 2):.1%} are within two claimed errors; the "
        f"standard deviation of the pulls is {z.std():.2f}.",
    ]
    return "\n".join(lines)


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="How far off the evidences of nested sampling are."
    )
    parser.add_argument("problem", nargs="+", choices=[*ALL, "all", "table"])
    parser.add_argument("--page", type=Path, help="the page to put the table into")
    parser.add_argument("--keep", type=Path, help="a JSON file of the runs of the table")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--many", type=int, default=0, help="seeds of short cases of the table")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--n-live", type=int, default=500)
    parser.add_argument("--sampler", default="auto")
    parser.add_argument("--bound", default="multi")
    parser.add_argument("--batch", type=int, help="points replaced at a time")
    parser.add_argument("--dlogz", type=float, default=0.01)
    parser.add_argument("--form", default="batch", choices=["batch", "native", "builtin"])
    parser.add_argument("--n-threads", type=int, default=1)
    parser.add_argument("--slices", type=int, help="slices of a chain, with --sampler slice")
    parser.add_argument("--direction", help="directions of slices, with --sampler slice")
    parser.add_argument("--steps", type=int, help="steps of a chain, with --sampler rwalk")
    parser.add_argument("--each", action="store_true", help="print every run")
    parser.add_argument("--out", type=Path, help="a JSON file to add the rows to")
    return parser.parse_args(given)


def _sampler(options: argparse.Namespace) -> Any:
    """Return the sampler, as an object if options were given."""
    if options.sampler == "slice" and (options.slices or options.direction):
        chosen = {"n_slices": options.slices, "direction": options.direction}
        return fm.nested.Slice(**{k: v for k, v in chosen.items() if v is not None})
    if options.sampler == "rwalk" and options.steps:
        return fm.nested.RandomWalk(n_steps=options.steps)
    return options.sampler


def main(given: list[str] | None = None) -> None:
    options = _arguments(given)
    if "table" in options.problem:
        text = table(options)
        print(text)
        if options.page is not None:
            into_page(options.page, "evidences", text)
        return
    settings = {
        "n_live": options.n_live,
        "sampler": _sampler(options),
        "bound": options.bound,
        "batch": options.batch,
        "dlogz": options.dlogz,
        "plan": fm.Plan(n_threads=options.n_threads),
    }
    names = list(ALL) if "all" in options.problem else options.problem
    for name in names:
        p = ALL[name]()
        runs = []
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            runs.append(run_once(p, options.form, seed, **settings))
            if options.each:
                row = runs[-1]._asdict() | {"error": runs[-1].log_evidence - p.log_evidence}
                print(seed, _short(row), file=sys.stderr, flush=True)
        found = summary(p, runs)
        print(name, _short(found), flush=True)
        if options.out is not None:
            rows = json.loads(options.out.read_text()) if options.out.exists() else []
            arguments = {k: v for k, v in vars(options).items() if k not in ("problem", "out")}
            rows.append({"problem": name} | arguments | found)
            options.out.write_text(json.dumps(rows, indent=1))


def _short(row: dict[str, Any]) -> str:
    return "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())


if __name__ == "__main__":
    main()
