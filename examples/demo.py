"""Demo of integrals, chains, walks, audits, evaluation, resampling, nested sampling, scores.

``python examples/demo.py --out demo`` prints one table, and writes its pictures, results.json and a
page with all of them, index.html.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import _demo_beam as beam
import _demo_chains as chains
import _demo_evaluate as evaluate
import _demo_integrals as integrals
import _demo_nested as nested
import _demo_oring as oring
import _demo_page as page
import _demo_pictures as pictures
import _demo_privacy as privacy
import _demo_resample as resample
import _demo_schools as schools
import _demo_score as score
import _demo_steering as steering
import _demo_walks as walks
import fermiac as fm
from _demo_table import Row, Section, format_table

Array = NDArray[np.float64]
DATA = Path(__file__).resolve().parent / "data"
N = 20_000
SEED = 1986
N_REPEATS = 20


def mean_square_error(estimates: Sequence[Array], known: Array) -> Array:
    """Return the mean square error over repeated runs, (n_repeats, J) and (J,) -> (J,)."""
    error: Array = np.mean((np.asarray(estimates) - known) ** 2, axis=0)
    return error


def run_oring(out: Path) -> tuple[Section, Any]:
    """Compute evidence, posterior moments and distress probabilities of the O-ring model."""
    launches = oring.load(DATA / "challenger.csv")
    known = oring.quadrature(launches)
    integrals = oring.estimate(launches, N, SEED)
    answer = oring.derive(integrals)
    # The posterior means are ratios, which the result computes with their errors.
    ratio = integrals.ratio(range(oring.DISTRESS.start, oring.DISTRESS.stop), oring.EVIDENCE)

    repeats = [oring.derive(oring.estimate(launches, N, s)) for s in range(N_REPEATS)]
    plain = [oring.derive(oring.estimate(launches, N, s, "mc")) for s in range(N_REPEATS)]
    gain = mean_square_error([r.mean for r in plain], known) / mean_square_error(
        [r.mean for r in repeats], known
    )
    pulls = np.array([(r.mean - known) / r.stderr for r in repeats])

    line = np.linspace(30.0, 86.0, 113)
    pictures.distress_curve(
        out / "oring_distress.png",
        oring.TEMPERATURES,
        ratio.mean,
        ratio.stderr,
        known[6:],
        (line, oring.quadrature(launches, line)[6:]),
        (launches.temperature, launches.distress),
        N,
    )
    pictures.correlation_matrix(out / "oring_correlation.png", oring.QUANTITIES, answer.cov)
    rows = [
        Row(name, estimate, stderr, exact, integrals.n_evals)
        for name, estimate, stderr, exact in zip(
            oring.QUANTITIES, answer.mean, answer.stderr, known, strict=True
        )
    ]
    at_31 = float(gain[6])
    notes = [
        f"Known answers: two-dimensional quadrature. Over {N_REPEATS} seeds "
        f"{np.mean(np.abs(pulls) < 2):.0%} of the errors lie within two standard errors.",
        f"Plain Monte Carlo with the same {N:,} points has {at_31:.0f} times the variance at 31 F, "
        f"{np.median(gain):.0f} times in the median over the {len(gain)} quantities.",
    ]
    record = {
        "variance_ratio_plain_mc": dict(zip(oring.QUANTITIES, gain.tolist(), strict=True)),
        "share_within_two_stderr": float(np.mean(np.abs(pulls) < 2)),
        "warnings": list(integrals.warnings),
    }
    title = "O-ring distress, 23 launches: 17 integrals from one sample of the prior law"
    return Section(title, rows, notes, record), integrals


def run_beam(out: Path) -> tuple[Section, Any]:
    """Compute the mean deflection under 100 input laws."""
    problem = beam.load(DATA / "beam_laws.csv")
    known = problem.exact
    result = beam.estimate(problem, N, SEED)
    repeats = [beam.estimate(problem, N, s) for s in range(N_REPEATS)]
    variance = mean_square_error([r.mean for r in repeats], known)
    plain = [beam.separate(problem, N, s) for s in range(N_REPEATS)]
    separate = mean_square_error([r.mean for r in plain], known)
    # Twenty errors of one law are too few; the reported variances are far less noisy.
    gain = np.mean([r.stderr**2 for r in plain], axis=0) / np.mean(
        [r.stderr**2 for r in repeats], axis=0
    )
    pulls = np.array([(r.mean - known) / r.stderr for r in repeats])

    pictures.beam_errors(
        out / "beam_expectations.png",
        known,
        result.mean,
        result.stderr,
        gain,
        separate.sum() / variance.sum(),
    )
    order = np.argsort(known)
    shown = order[np.linspace(0, len(order) - 1, 6).astype(int)]
    rows = [
        Row(f"E[deflection], law {j + 1}", result.mean[j], result.stderr[j], known[j],
            result.n_evals)
        for j in shown
    ]  # fmt: skip
    pull = np.abs(result.mean - known) / result.stderr
    notes = [
        f"Six of {len(known)} laws, by size; the run gave all {len(known)}: "
        f"{np.sum(pull < 2)} within two standard errors, largest error {pull.max():.1f}.",
        f"Known answers: quadrature. Over {N_REPEATS} seeds {np.mean(np.abs(pulls) < 2):.0%} of "
        "the errors lie within two standard errors.",
        f"Sum of the {len(known)} variances at {N:,} model calls: {variance.sum():.2e}; separate "
        f"Monte Carlo, {N // len(known)} calls per law: {separate.sum():.2e}, "
        f"{separate.sum() / variance.sum():.0f} times as much.",
    ]
    record = {
        "sum_of_variances": float(variance.sum()),
        "sum_of_variances_separate_mc": float(separate.sum()),
        "share_within_two_stderr": float(np.mean(np.abs(pulls) < 2)),
        "mean": result.mean.tolist(),
        "stderr": result.stderr.tolist(),
        "known": known.tolist(),
        "warnings": list(result.warnings),
    }
    title = "Cantilever beam: 100 expectations from one run of one model"
    return Section(title, rows, notes, record), result


def run_schools(out: Path) -> Section:
    """Compute evidence and posterior of the eight schools, in ten dimensions."""
    known = schools.quadrature()
    target = fm.targets.eight_schools()
    z, estimate, stderr = schools.estimate(target, N, SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fm.errors.WeightWarning)  # counted below
        repeats = [schools.estimate(target, N, seed) for seed in range(N_REPEATS)]
    pulls = np.array([(mean - known.answers) / error for _, mean, error in repeats])
    doubted = sum(bool(run.warnings) for run, *_ in repeats)
    in_python = fm.targets.as_target(schools.python_log_density, target.dim)
    other = schools.estimate(in_python, N, SEED)[1]

    pictures.schools(
        out / "schools.png",
        (schools.EFFECT, schools.ERROR),
        estimate[3:],
        stderr[3:],
        known.answers[3:],
        (z.sample.draws[:, 1], z.sample.weights),
        (known.log_tau, known.density),
    )
    rows = [
        Row(name, *values, z.n_evals)
        for name, *values in zip(
            schools.QUANTITIES, estimate, stderr, known.answers, strict=True
        )
    ]  # fmt: skip
    share = np.mean(np.abs(pulls) < 2)
    notes = [
        f"The adaptation took {len(z.stages) - 1} stages and {z.stages[-2]['used']:,} evaluations; "
        f"the weights of the rest are worth {z.ess:,.0f} points (k-hat {z.khat:.2f}).",
        f"Known answers: two-dimensional quadrature. Over {N_REPEATS} seeds {share:.0%} of the "
        f"errors lie within two standard errors; {doubted} runs warned of their weights.",
        "The same model written in NumPy, the same seed: the largest difference is "
        f"{np.max(np.abs(other - estimate)):.0e}.",
    ]
    record = {
        "share_within_two_stderr": float(share),
        "khat": z.khat,
        "ess": z.ess,
        "warnings": list(z.warnings),
    }
    title = "Eight schools: log evidence and posterior means in ten dimensions, from one run"
    return Section(title, rows, notes, record)


def run_chains(out: Path) -> Section:
    """Sample the eight schools by chains, with one density in three forms."""
    known = schools.quadrature().answers[1:]
    made = chains.forms(fm.targets.eight_schools(), chains.schools_pointer, chains.schools_pair)
    runs = [chains.run(form, SEED) for form in made]
    sample = runs[0].sample
    answer = sample.expect(schools.functions)
    rows = [
        Row(name, *values, sample.n_evals)
        for name, *values in zip(
            schools.QUANTITIES[1:], answer.mean, answer.stderr, known, strict=True
        )
    ]
    repeats = [chains.run(made[0], seed).sample for seed in range(N_REPEATS)]
    pulls = np.array([(e.mean - known) / e.stderr for e in map(_school_means, repeats)])
    centred = chains.run(chains.Form("centred", fm.targets.eight_schools(centered=True)), SEED)
    pictures.traces(out / "schools_traces.png", sample)
    lines = [chains.HEAD, *map(chains.line, runs)]
    notes = [
        f"Known answers: quadrature. Over {N_REPEATS} seeds {np.mean(np.abs(pulls) < 2):.0%} of "
        "the errors lie within two standard errors.",
        "Table: 4 chains of 1000 draws after 1000 of warm-up, on one thread; CPU time of the whole "
        "call. The forms differ by rounding, and so in time their chains.",
        "The centred form, which no sampler explores well, gives the warning: "
        + (centred.sample.warnings[0].split(";")[0] if centred.sample.warnings else "converged")
        + ".",
    ]
    record = {
        "share_within_two_stderr": float(np.mean(np.abs(pulls) < 2)),
        "forms": {r.form: {"ess": r.ess, "cpu_seconds": r.seconds} for r in runs},
        "warnings_centred": list(centred.sample.warnings),
    }
    title = "Eight schools by Markov chains (NUTS): posterior means"
    return Section(title, rows, notes, record, lines)


def _school_means(sample: Any) -> Any:
    return sample.expect(schools.functions)


def run_regression(out: Path) -> Section:
    """Fit a logistic regression of 569 tumours on 30 measurements by chains."""
    data = chains.load(DATA / "breast_cancer.npz")
    builtin = fm.targets.logistic_regression(data.x[:, 1:], data.y)
    made = chains.forms(
        builtin, lambda: chains.regression_pointer(data), chains.regression_pair(data)
    )
    runs = [chains.run(form, SEED) for form in made]
    sample = runs[0].sample
    answer = sample.expect(lambda x: x[:, :5])
    stein = sample.expect(lambda x: x[:, :5], controls="stein", degree=1)
    rows = [
        Row(f"coefficient, {name}", mean, float(np.hypot(error, reference)), known, sample.n_evals)
        for name, mean, error, known, reference in zip(
            ("intercept", *(f"mean {m}" for m in chains.MEASUREMENTS)),
            answer.mean,
            answer.stderr,
            chains.REFERENCE,
            chains.REFERENCE_STDERR,
            strict=True,
        )
    ]
    pictures.energies(out / "tumours_energy.png", sample)
    gain = float(np.min((answer.stderr / stein.stderr) ** 2))
    lines = [chains.HEAD, *map(chains.line, runs)]
    notes = [
        "Known answers: importance sampling with four million draws; their errors count too.",
        f"Stein controls of degree 1 divide the variances of these means by {gain:.0f} or more.",
        "Table: as above, with 31 coordinates and 569 observations.",
    ]
    record = {
        "forms": {r.form: {"ess": r.ess, "cpu_seconds": r.seconds} for r in runs},
        "variance_ratio_stein": gain,
        "warnings": list(sample.warnings),
    }
    title = "Tumours: a logistic regression with 31 coefficients by Markov chains (NUTS)"
    return Section(title, rows, notes, record, lines)


def run_privacy(out: Path) -> Section:
    """Compare privacy claims of training with the results of attacks."""
    digits = privacy.load(DATA / "digits.npz", SEED)
    n = privacy.N_REFERENCE + privacy.N_MODELS
    findings: list[privacy.Finding] = []
    rows, right, clipped = [], {}, {}
    for index, setting in enumerate(privacy.settings()):
        models = privacy.train(digits, setting, n, SEED, index + 1)
        findings += privacy.attack(digits, setting, models, SEED)
        some = models.weights[:, :, :50]
        right[setting.name] = float(
            privacy.confidence(some, digits.x_other, digits.y_other)[1].mean()
        )
        if setting.sigma and setting.clips:
            mean, std = privacy.mu_of_gradients(models)
            rows.append(Row(f"mu, {setting.name}", mean, std, setting.mu, n))
            clipped[setting.name] = models.clipped
    errors = privacy.reference_errors()

    by_name = {(f.setting.name, f.attack): f for f in findings}
    pictures.privacy(
        out / "privacy.png",
        by_name["epsilon 1", "all gradients"],
        by_name["epsilon 1, no clipping", "all gradients"],
        by_name["epsilon 8", "all gradients"],
    )
    shares = " and ".join(f"{share:.0%} of the steps ({name})" for name, share in clipped.items())
    refuted = "; ".join(
        f"{f.setting.name}, {f.attack}" for f in findings if f.audit.epsilon_lower > f.setting.claim
    )
    notes = [
        f"mu: posterior from the errors of the attack that sees all gradients, on {n:,} models; "
        f"known while the mislabelled image's gradient is clipped, {shares}.",
        f"Table: epsilon at delta {privacy.DELTA:g}, counts of one half of {privacy.N_MODELS:,} "
        "models at the threshold that the other half chose; the bound fails with probability 5 %.",
        "A claim is an upper bound, and an attack that sees less shows less. Contradicted by a "
        f"bound: {refuted or 'none'}.",
        "Right on other images: "
        + "; ".join(f"{name} {share:.0%}" for name, share in right.items())
        + ".",
        f"Reference quantiles of {len(errors)} posteriors, counts of 0 to a million: largest error "
        f"{max(errors.values()):.0e}, in the digits given.",
    ]
    record = {
        "attacks": [
            {
                "training": f.setting.name,
                "attack": f.attack,
                "claim": f.setting.claim if f.setting.sigma else None,
                "auc": f.audit.roc.auc,
                "counts": dict(f.audit.counts),
                "epsilon_lower": f.audit.epsilon_lower,
                "median": f.posterior.median,
                "interval": f.posterior.interval(0.9),
                "prob_above_claim": (
                    f.posterior.prob_above(f.setting.claim) if f.setting.sigma else None
                ),
            }
            for f in findings
        ],
        "accuracy": right,
        "largest_reference_error": max(errors.values()),
    }
    title = "Digits: does private training keep its claim? Attacks on classifiers"
    return Section(title, rows, notes, record, privacy.table(findings))


def run_walks(out: Path) -> Section:
    """Average over the nodes of three networks by walks with and without history."""
    with np.load(DATA / "digits.npz") as data:
        digits = walks.digits(data["images"], data["labels"])
    characters, club = walks.miserables(), walks.karate()
    asked = [
        ("degree, MHRW", characters, walks.Chain("", "none", "mhrw", 0.0), None),
        ("degree, HDT on Barker", characters, walks.Chain("", "hdt", "barker", 5.0), None),
        ("degree, SRRW", characters, walks.Chain("", "srrw", "mhrw", 5.0), None),
        ("degree, by weights", characters, walks.Chain("", "srrw", "weighted", 5.0), "uniform"),
        ("instructor's part, SRRW", club, walks.Chain("", "srrw", "mhrw", 5.0), None),
        ("odd digits, SRRW", digits, walks.Chain("", "srrw", "mhrw", 5.0), None),
    ]
    rows = []
    for name, network, chain, under in asked:
        answer = walks.average(network, chain, SEED, under)
        n_evals = 64 * walks.AVERAGED
        rows.append(Row(name, float(answer.mean), float(answer.stderr), network.known, n_evals))
    courses = {network.title: walks.courses(network, SEED) for network in (characters, digits)}
    pictures.walk_errors(out / "walks_errors.png", courses, walks.CHECKED)
    seen = {chain.name: walks.visits(characters, chain, SEED) for chain in walks.DRAWN}
    pictures.walk_visits(
        out / "walks_visits.png", characters.graph, walks.places(characters.graph), seen
    )
    lines = [walks.HEAD]
    for network in (characters, digits):
        lines += walks.lines(network, courses[network.title])
    notes = [
        f"Rows: 64 walkers, {walks.AVERAGED:,} steps each, after the automatic burn-in; alpha 5. "
        "Known answers: means over all nodes. By weights: along chapters shared, reweighted.",
        "Table: n times the mean square error of one walker, from its first step on; theory is "
        "asymptotic_variance. HDT comes down to its limit late where degrees differ much.",
    ]
    record = {
        "checked": walks.CHECKED.tolist(),
        "mean_square_errors": {
            title: {c.chain.name: c.mse.tolist() for c in found} for title, found in courses.items()
        },
        "asymptotic_variances": {
            title: {c.chain.name: c.variance for c in found} for title, found in courses.items()
        },
    }
    title = "Three networks: averages over nodes by walks that know where they have been"
    return Section(title, rows, notes, record, lines)


def run_tokens(out: Path) -> Section:
    """Fit a logistic regression by tokens that walk over the nodes with the data."""
    data = chains.load(DATA / "breast_cancer.npz")
    job = walks.task(data.x, data.y, walks.miserables().graph)
    runs = [walks.descend(job, alpha, SEED) for alpha in walks.ALPHAS]
    pictures.tokens(out / "walks_tokens.png", runs)
    shown = runs[walks.ALPHAS.index(5.0)]
    errors = np.sqrt(np.diag(shown.moments[-1]))
    rows = [
        Row(f"coefficient, {name}", *values, walks.TOKEN_STEPS)
        for name, *values in zip(
            ("intercept", *(f"mean {m}" for m in chains.MEASUREMENTS)),
            shown.result.thetas[0],
            errors,
            job.optimum,
            strict=False,
        )
    ]
    notes = [
        "Rows: one token, alpha 5; its error is that of the theory (predict). Known "
        f"answers: Newton's method, {job.difference:.0e} from SciPy's at most.",
        f"{len(data.y)} tumours on {job.graph.n_nodes} nodes, alike ones near each other, so that "
        "a token sees much of one kind before it sees another; a = 0.7, b = 0.9.",
        "The theory is linear about the optimum and leaves out the effects of early, long steps, "
        "which last longest with large alphas.",
    ]
    record = {
        "alphas": list(walks.ALPHAS),
        "square_distances": [float(r.square[-1]) for r in runs],
        "predicted": [float(r.predicted[-1]) for r in runs],
        "excess_losses": [float(r.excess[-1]) for r in runs],
    }
    lines = [walks.TOKEN_HEAD, *(walks.token_line(job, r) for r in runs)]
    title = "Tumours again: a regression by tokens that walk from node to node"
    return Section(title, rows, notes, record, lines)


def progress(done: int, total: int, name: str) -> None:
    """Show on a terminal how far the demo is; the line is overwritten, and removed at the end."""
    if sys.stderr.isatty():
        bar = "█" * done + "·" * (total - done)
        line = f"demo {bar} {done} of {total}: {name}" if done < total else ""
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


def main() -> None:
    """Run the problems, print the table, write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the pictures")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    start = time.perf_counter()
    results: dict[str, Any] = {}

    def kept(name: str, run: Callable[[Path], tuple[Section, Any]]) -> Callable[[], Section]:
        def call() -> Section:
            section, results[name] = run(out)
            return section

        return call

    tasks: dict[str, Callable[[], Section]] = {
        "oring": kept("O-ring distress", run_oring),
        "beam": kept("Beam, 100 laws", run_beam),
        "integrals": lambda: integrals.run(out, SEED, N_REPEATS),
        "schools": lambda: run_schools(out),
        "chains": lambda: run_chains(out),
        "regression": lambda: run_regression(out),
        "walks": lambda: run_walks(out),
        "tokens": lambda: run_tokens(out),
        "privacy": lambda: run_privacy(out),
        "evaluate": lambda: evaluate.run(out, DATA, SEED, N_REPEATS),
        "resample": lambda: resample.run(out, DATA, SEED, N_REPEATS),
        "nested": lambda: nested.run(out, DATA, SEED, N_REPEATS),
        "score": lambda: score.run(out, DATA, SEED),
        "steering": lambda: steering.run(out, DATA, SEED),
    }
    sections = {}
    for count, (name, task) in enumerate(tasks.items()):
        progress(count, len(tasks), name)
        sections[name] = task()
    progress(len(tasks), len(tasks), "")
    pictures.stage_history(out / "stages.png", results)
    print(format_table(list(sections.values())))
    for result in results.values():
        for warning in result.warnings:
            print(f"warning: {warning}")

    record = {
        "version": fm.__version__,
        "seed": SEED,
        "n": N,
        "repeats": N_REPEATS,
        **{
            name: {
                "rows": [{**row._asdict(), "error_in_stderr": row.pull} for row in section.rows],
                **section.record,
            }
            for name, section in sections.items()
        },
    }
    (out / "results.json").write_text(json.dumps(record, indent=1, default=float) + "\n")
    page.write(out / "index.html", sections, fm.__version__)
    names = ", ".join(sorted(path.name for path in out.iterdir()))
    print(f"{time.perf_counter() - start:.1f} s; in {out}/: {names}")


if __name__ == "__main__":
    main()
