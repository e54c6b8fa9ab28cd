"""Error rates, two models on the same tumours, and resampling, beside known answers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import _demo_pictures as pictures
import fermiac as fm
from _demo_table import Row, Section

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Predict = Callable[[Array], Labels]

#: Images that a learner is fitted to; the others give the known error.
N_TRAIN = 200
#: Data sets on which two equal learners are compared, and the splits of each.
N_SETS, N_SPLITS, TEST = 100, 30, 0.3
#: Survival of mice in days (Efron and Tibshirani, 1993); the standard deviation of the resampled
#: mean is known exactly.
MICE = [94, 197, 16, 38, 99, 141, 23]
MICE_SD = 23.363523437299545
DOCS = Path(__file__).resolve().parents[1] / "docs"
#: The columns of the table of coverage that are drawn.
METHODS = ("auto", "SciPy percentile", "SciPy basic", "SciPy BCa")


def nearest_mean(x: Array, y: Labels) -> Predict:
    """Fit the nearest of the means of all classes."""
    kinds = np.unique(y)
    one = (y == kinds[:, None]).astype(float)
    means = one @ x / one.sum(1, keepdims=True)
    offset = (means * means).sum(1) / 2
    return lambda new: kinds[(new @ means.T - offset).argmax(1)]


def neighbour(x: Array, y: Labels) -> Predict:
    """Fit one nearest neighbour."""
    offset = (x * x).sum(1) / 2
    return lambda new: y[(new @ x.T - offset).argmax(1)]


def known_error(fit: Callable[[Array, Labels], Predict], x: Array, y: Labels) -> float:
    """Return the mean error on all other images of models that are fitted to some."""
    errors = []
    for train, test in fm.evaluate.splits.random(
        len(y), 60, test_share=1 - N_TRAIN / len(y), rng=1
    ):
        errors.append((fit(x[train], y[train])(x[test]) != y[test]).mean())
    return float(np.mean(errors))


def error_rates(x: Array, y: Labels, n_repeats: int) -> tuple[list[Row], dict[str, Any]]:
    """Return rows of the errors of two learners from 200 images each, and those of repeats."""
    rows, found = [], {}
    for name, fit in (("nearest mean", nearest_mean), ("one neighbour", neighbour)):
        truth, runs = known_error(fit, x, y), []
        for seed in range(n_repeats):
            order = np.argsort(fm.random.Stream(seed, index=9).uniform(len(y)))[:N_TRAIN]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", fm.errors.FermiacWarning)  # counted below
                e = fm.evaluate.bootstrap_error(
                    fit, x[order], y[order], n_resamples=100, rng=seed, plan=fm.Plan(n_threads=1)
                )
            runs.append(e)
        first = runs[0]
        rows.append(Row(f"{name}, .632+", first.estimate, first.stderr, truth, first.n_evals))
        found[name] = {
            "known": truth,
            "estimate": [e.estimate for e in runs],
            "stderr": [e.stderr for e in runs],
            "resubstitution": [e.resubstitution for e in runs],
            "warned": sum(bool(e.warnings) for e in runs),
        }
    return rows, found


def linear_scores(x: Array, y: Labels, new: Array) -> Array:
    """Return the scores of a linear discriminant with a shrunk covariance; 0 is the border."""
    centre, scale = x.mean(0), x.std(0)
    x, new = (x - centre) / scale, (new - centre) / scale
    a, b = x[y == 0].mean(0), x[y == 1].mean(0)
    residual = np.concatenate([x[y == 0] - a, x[y == 1] - b])
    cov = residual.T @ residual / len(x)
    normal = np.linalg.solve(0.9 * cov + 0.1 * np.diag(np.diag(cov)), b - a)
    scores: Array = new @ normal - (a + b) @ normal / 2
    return scores


def tumours(path: Path, seed: int) -> tuple[list[Row], list[str]]:
    """Return a row and lines on two models that score the same tumours."""
    with np.load(path) as data:
        x = data["values"] / 10.0 ** data["decimals"]
        y = data["malignant"].astype(np.int64)
    order = np.argsort(fm.random.Stream(seed, index=8).uniform(len(y)))
    train, test, rest = order[:100], order[100:300], order[300:]
    # All thirty measurements, or the means of five.
    of = [linear_scores(x[train][:, :k], y[train], x[:, :k]) for k in (30, 5)]
    d, known = (fm.evaluate.auc_difference(y[i], of[0][i], of[1][i]) for i in (test, rest))
    row = Row(
        "difference of areas", d.difference, math.hypot(d.stderr, known.stderr), known.difference,
        len(test),
    )  # fmt: skip
    a, b = ((s[test] > 0) == y[test] for s in of)
    right = fm.resample.bootstrap(a.astype(float), "mean", rng=seed)
    lines = [
        f"  30 and 5 measurements of {len(test)} tumours: areas {d.auc[0]:.3f} and "
        f"{d.auc[1]:.3f}, DeLong p = {d.pvalue:.3f}",
        f"  right about {a.sum()} and {b.sum()} of them: McNemar "
        f"p = {fm.evaluate.mcnemar(a, b).pvalue:.3f}; the first about a share of "
        f"{right.estimate:.3f}, 95 % from {right.lower:.3f} to {right.upper:.3f}",
    ]
    return [row], lines


def equal_learners(x: Array, y: Labels) -> dict[str, Array]:
    """Return p-values of equal learners: each example has two images, and either learner one."""
    found: dict[str, list[float]] = {"plain t": [], "corrected t": []}
    splits = fm.evaluate.splits.random(N_TRAIN, N_SPLITS, test_share=TEST, rng=1)
    for key in range(N_SETS):
        order = np.argsort(fm.random.Stream(key, index=10).uniform(len(y)))
        order = order[np.argsort(y[order], kind="stable")]
        order = order[: len(order) // 2 * 2].reshape(-1, 2)
        pairs = order[y[order[:, 0]] == y[order[:, 1]]]
        pairs = pairs[np.argsort(fm.random.Stream(key, index=11).uniform(len(pairs)))[:N_TRAIN]]
        labels, differences = y[pairs[:, 0]], []
        for train, test in splits:
            first, second = (
                (nearest_mean(x[own[train]], labels[train])(x[own[test]]) == labels[test]).mean()
                for own in pairs.T
            )
            differences.append(first - second)
        with warnings.catch_warnings():
            # The plain test warns of what is shown here.
            warnings.simplefilter("ignore", fm.errors.FermiacWarning)
            plain = fm.evaluate.resampled_ttest(differences, method="plain")
        corrected = fm.evaluate.resampled_ttest(differences, test_train_ratio=TEST / (1 - TEST))
        found["plain t"].append(plain.pvalue)
        found["corrected t"].append(corrected.pvalue)
    return {name: np.array(p) for name, p in found.items()}


def coverage_table(methods: Sequence[str]) -> tuple[list[str], dict[str, list[float]]]:
    """Return the problems of a table of the calibration of intervals, and coverage by method."""
    names: list[str] = []
    columns: dict[str, list[float]] = {method: [] for method in methods}
    heads: list[str] = []
    pages = (DOCS / name for name in ("calibration-resample.md", "resample.md"))
    page = next(path for path in pages if path.exists())
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            heads = []
        elif not heads and set(methods) <= set(cells):
            heads = cells
        elif heads and not cells[0].startswith("---"):
            parts = range(min(heads.index(method) for method in methods))
            names.append(
                cells[0]
                if len(parts) == 1
                else ", ".join(f"{heads[i]} = {cells[i]}" for i in parts)
            )
            for method in methods:
                columns[method].append(float(cells[heads.index(method)].split()[0]))
    return names, columns


def run(out: Path, data: Path, seed: int, n_repeats: int) -> Section:
    """Judge learners and models of digits and tumours, and resample mice."""
    with np.load(data / "digits.npz") as digits:
        x, y = digits["images"].astype(float), digits["labels"].astype(np.int64)
    rows, errors = error_rates(x, y, n_repeats)
    more, lines = tumours(data / "breast_cancer.npz", seed)
    n = 9999
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fm.errors.FermiacWarning)  # seven mice are few
        drawn, exact = (
            fm.resample.bootstrap(MICE, "mean", method="bca", n_resamples=n, exact=known, rng=seed)
            for known in (False, None)
        )
    rows += [
        *more,
        Row("mice: sd of the mean", drawn.stderr, MICE_SD / math.sqrt(2 * n), MICE_SD, n),
        Row("mice: upper end, BCa", drawn.upper, float(drawn.mc_error[1]), exact.upper, n),
    ]
    p = equal_learners(x, y)
    rejected = {name: int((values <= 0.05).sum()) for name, values in p.items()}
    pulls = np.concatenate([
        (np.array(e["estimate"]) - e["known"]) / e["stderr"] for e in errors.values()
    ])  # fmt: skip
    share = float(np.mean(np.abs(pulls) < 2))
    doubted = sum(e["warned"] for e in errors.values())
    pictures.evaluation(out / "evaluate.png", errors, p, *coverage_table(METHODS))
    notes = [
        f"Error rates from {N_TRAIN} of {len(y)} digits; known: the mean error on all other digits "
        f"of models fitted to {N_TRAIN}. Over {n_repeats} sets of digits {share:.0%} of the errors "
        f"lie within two standard errors; {doubted} runs warned.",
        "Two equal learners, each with one of two images of the same digits, in "
        f"{N_SPLITS} random splits: the plain t-test rejects them at 5 % in {rejected['plain t']} "
        f"of {N_SETS} data sets, the corrected one in {rejected['corrected t']}.",
        "The difference of areas is compared with that on 269 other tumours, whose error counts "
        "too; the mice with the exact law of the resampled mean.",
    ]
    record = {
        "share_within_two_stderr": share,
        "rejected_at_5_percent": rejected,
        "error_rates": errors,
    }
    title = "Digits and tumours: error rates, two models, two learners, resampling"
    return Section(title, rows, notes, record, lines)
