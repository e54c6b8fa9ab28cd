"""The wanted figures of importance sampling, and what comes out of this library.

Each line has a figure, the aim, the number of seeds, what came out, and whether it is right. The
parts are: A, `expect`; B, Sobol' points; C, trained samplers; D, the engine of
`integrate`, whose accuracy has a page of its own; E, `failure_probability`; F, `sobol_indices`; G,
`multifidelity` and `multilevel`.

``error`` of failure probabilities is the relative root mean square error times the square root of
all evaluations. ``held`` is the share of 95 % intervals that hold the truth. A ``silent`` run is
wrong by more than five reported errors (4.5 in part A) without a warning. Times are CPU times of
one thread, without calls of Python code for each point. Constants of the library were chosen on
seeds below 1000, and the figures are from seeds from 1000 on.

Sobol' indices without polynomial controls have no aim: their replicates are nets of a tenth of the
points of SciPy's one net, which costs a factor of 3 to 16 for smooth models, and SciPy's one net
has no error that holds.

The exponents of costs are regressions over tolerances of a factor of four, for each seed; their
standard error is that of the mean over the seeds. At larger tolerances the exponent of the Asian
option is about -2.12, also for the least cost that its levels allow: its last levels still matter.

``python -m benches.importance.wanted`` prints the table; ``--seeds``, ``--parts`` and ``--only``
restrict it, and ``--join`` keeps the other lines of the page. NumPy's BLAS has one thread.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# Before NumPy is imported: threads of its BLAS spin while they wait, and that is CPU time.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
from benches.importance import calibrate, calibrate_failure, calibrate_sensitivity
from benches.importance.failure_problems import PROBLEMS
from benches.importance.options import EXACT, PAYOFFS, TOLERANCES, level
from numpy.typing import NDArray
from scipy import stats

import fermiac as fm
from fermiac.importance.allocation import allocate

Array = NDArray[np.float64]
d = fm.distributions
#: The band for the share of errors below two reported ones, and for the coverage of intervals.
WITHIN, HELD = (0.90, 0.99), (0.92, 0.98)
#: Standard deviations by which a share may miss its band by chance.
CHANCE = 2.0


class Line(NamedTuple):
    """A figure beside its aim."""

    part: str
    figure: str
    aim: str
    seeds: int
    found: str
    #: None without an aim.
    right: bool | None

    def __str__(self) -> str:
        cells = (self.part, self.figure, self.aim, str(self.seeds), self.found)
        word = "–" if self.right is None else "yes" if self.right else "NO"
        return f"| {' | '.join(cells)} | {word} |"


def in_band(share: float, band: tuple[float, float], count: int) -> bool:
    """Return whether a share of `count` runs is in a band, up to chance."""
    slack = CHANCE * math.sqrt(0.05 * 0.95 / count)
    return band[0] - slack <= share <= min(band[1] + slack, 1.0)


def cpu(call: Callable[[], Any], repeats: int = 3) -> float:
    """Return the least CPU time of a call."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def quiet(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return the result of a call whose warnings are on the result."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fm.errors.FermiacWarning)
        return call(*args, **kwargs)


def of_expect(seeds: range) -> Iterator[Line]:
    """Part A: errors of `expect` that hold, or a warning; speed."""
    silent = zero = runs = 0
    for name, problem in calibrate.hard().items():
        got = calibrate.measure(problem, seeds, 20_000)
        silent, zero, runs = silent + got.silent, zero + got.zero, runs + len(seeds)
        found = f"{got.wrong} wrong, {got.silent} silent, mean error {got.bias:+.3f}"
        yield Line("A", name, "none silent", len(seeds), found, got.silent == 0)
        if name == "half-space":
            right = got.zero == 0
            yield Line("A", f"{name}: 0 ± 0", "never", len(seeds), f"{got.zero} runs", right)
        if name == "t moments":
            right = in_band(got.within, WITHIN, len(seeds))
            aim, found = "within 2 errors: .90 to .99", f"{got.within:.3f} of the worse one"
            yield Line("A", name, aim, len(seeds), found, right)
    few = range(seeds.start, seeds.start + min(len(seeds), 5))
    fired = sum(calibrate.announced(p, few, 20_000) for p in calibrate.innocent().values())
    count = len(few) * len(calibrate.innocent())
    found = f"{fired} of {count} runs"
    yield Line("A", "unseen mass of innocent problems", "none", len(few), found, fired == 0)
    pair = calibrate.innocent()["constant and exponential"]
    off = max(abs(calibrate.run(pair, s, 20_000)[0].mean[0] - 1) for s in seeds)
    aim = "exact"
    yield Line("A", "constant of [1, e^x]", aim, len(seeds), f"off by {off:.0e}", off < 1e-12)
    peak = fm.targets.genz("gaussian", np.full(8, 1.5), np.full(8, 0.5))
    box = d.Uniform(np.zeros(8), np.ones(8))

    def of_peak(method: Any, n: int) -> Callable[[], Any]:
        return lambda: fm.importance.expect(
            peak, box, n, method=method, rng=0, plan=fm.Plan(n_threads=1)
        )

    for method, n, most in (("mc", 10**6, 40), ("aiscv", 10**6, 120), ("aiscv", 4 * 10**6, 120)):
        ns = 1e9 / n * cpu(of_peak(method, n))
        figure = f"`{method}` under Uniform, d = 8, n = {n:.0e}, an evaluation"
        yield Line("A", figure, f"at most {most} ns", 1, f"{ns:.0f} ns", ns <= most)


def with_nets() -> dict[str, calibrate.Problem]:
    """Return problems for Sobol' points with their expectations."""
    return {
        "exponential and squares, d = 5": calibrate.Problem(
            lambda x: np.stack([np.exp(0.3 * x.sum(axis=1)), (x**2).sum(axis=1)], axis=1),
            calibrate.normal(5),
            np.array([math.exp(0.225), 5.0]),
        ),
        "indicator, d = 2": calibrate.Problem(
            lambda x: (x.sum(axis=1) > 2 * math.sqrt(2)).astype(float),
            calibrate.normal(2),
            stats.norm.sf([2.0]),
        ),
        "indicator, d = 1": calibrate.Problem(
            lambda x: (x[:, 0] > 1.234).astype(float), d.Normal(), stats.norm.sf([1.234])
        ),
        "call option, d = 1": calibrate.Problem(
            lambda x: np.maximum(x[:, 0] - 1.5, 0.0),
            d.Normal(),
            stats.norm.pdf([1.5]) - 1.5 * stats.norm.sf([1.5]),
        ),
        "product of powers, d = 3": calibrate.Problem(
            lambda x: x[:, 0] ** 1.5 * np.exp(0.3 * x[:, 1]) * x[:, 2],
            d.Product([d.Gamma(2.0), d.Normal(), d.Exponential()]),
            np.array([1.875 * math.sqrt(math.pi) * math.exp(0.045)]),
        ),
    }


def of_nets(seeds: range) -> Iterator[Line]:
    """Part B: Sobol' points and errors from replicates."""
    size = 2**18
    with fm.Plan(n_threads=1):
        seconds = cpu(lambda: fm.random.sobol(size, 8, rng=0), 5)
    ns = 1e9 * seconds / (8 * size)
    yield Line("B", "Sobol' points, a coordinate", "at most 1 ns", 1, f"{ns:.2f} ns", ns <= 1)
    silent = runs = 0
    for name, problem in with_nets().items():
        for n in (8_000, 30_000):
            held, pulls = [], []
            for seed in seeds:
                e = quiet(fm.importance.expect, problem.f, problem.law, n, points="sobol", rng=seed)
                low, high = e.interval(0.95)
                held.append((low <= problem.truth) & (problem.truth <= high))
                pulls.append(np.abs(e.mean - problem.truth) / e.stderr)
                silent += bool(np.any(pulls[-1] > 5) and not e.warnings)
                runs += 1
            share = float(np.mean(held, axis=0).min())
            figure, right = f"`expect`, {name}, n = {n}", in_band(share, HELD, len(seeds))
            yield Line("B", figure, "held: .92 to .98", len(seeds), f"{share:.3f}", right)

    def bump(x: Array) -> Array:
        value: Array = -0.5 * ((x - 0.5) ** 2).sum(axis=1)
        return value

    law = d.MultivariateNormal(np.zeros(3), 4 * np.eye(3))
    exact, hits = 1.5 * math.log(2 * math.pi), 0
    for seed in seeds:
        z = quiet(fm.importance.evidence, bump, law, 6000, points="sobol", rng=seed)
        low, high = z.interval(0.95)
        hits += bool(low <= exact <= high)
        silent += bool(abs(z.log_evidence - exact) > 5 * z.log_evidence_stderr and not z.warnings)
        runs += 1
    share = hits / len(seeds)
    right = in_band(share, HELD, len(seeds))
    yield Line("B", "`evidence`, n = 6000", "held: .92 to .98", len(seeds), f"{share:.3f}", right)
    found, right = f"{silent} of {runs}", silent <= 0.01 * runs
    yield Line("B", "silent runs with Sobol' points", "at most 1 %", len(seeds), found, right)


def of_samplers(seeds: range) -> Iterator[Line]:
    """Part C: densities of trained samplers, and their reuse."""
    law = calibrate.normal(2)
    peak = lambda x: np.exp(-8 * ((x - 1) ** 2).sum(axis=1))  # noqa: E731
    wide = d.Product([d.StudentT(3.0, 0.0, 2.0)] * 2)
    trained: dict[str, Callable[[int], Any]] = {
        "expect": lambda s: fm.importance.expect(peak, law, 5000, rng=s).sampler,
        "expect, mixture": lambda s: (
            fm.importance.expect(peak, law, 5000, family="mixture", rng=s).sampler
        ),
        "evidence": lambda s: (
            fm.importance.evidence(lambda x: np.log(peak(x)), law, 5000, rng=s).sampler
        ),
        "integrate": lambda s: (
            fm.importance.integrate(peak, [(-np.inf, np.inf)] * 2, 10_000, rng=s).sampler
        ),
        "failure_probability": lambda s: (
            fm.importance.failure_probability(lambda x: 3 - x.sum(axis=1), law, 5000, rng=s).sampler
        ),
    }
    few = range(seeds.start, seeds.start + min(len(seeds), 20))
    for name, train in trained.items():
        pulls = []
        for seed in few:
            q = quiet(train, seed)
            ratio = lambda x, q=q: np.exp(q.log_density(x) - wide.log_density(x))  # noqa: E731
            e = quiet(fm.importance.expect, ratio, wide, 20_000, points="sobol", rng=seed)
            pulls.append(abs(float(e.mean) - 1) / float(e.stderr))
        aim, found = "1, within 5 errors", f"largest difference {max(pulls):.1f} errors"
        figure = f"integral of the density of a sampler of `{name}`"
        yield Line("C", figure, aim, len(few), found, max(pulls) <= 5)
    told, held, false = 0, 0, 0
    exact = (1 / 17) * math.exp(-16 / 17)
    for seed in seeds:
        q = quiet(fm.importance.expect, peak, law, 5000, rng=seed).sampler
        e = quiet(fm.importance.expect, peak, law, 5000, sampler=q, rng=seed + 10_000)
        low, high = e.interval(0.95)
        held += bool(low <= exact <= high)
        false += bool(e.warnings)
        far = lambda x: np.exp(-8 * ((x + 2) ** 2).sum(axis=1))  # noqa: E731
        told += bool(quiet(fm.importance.expect, far, law, 5000, sampler=q, rng=seed).warnings)
    count = len(seeds)
    right = in_band(held / count, HELD, count)
    yield Line(
        "C", "reuse for the same problem", "held: .92 to .98", count, f"{held / count:.3f}", right
    )
    yield Line(
        "C", "warnings of it", "at most 2 %", count, f"{false / count:.3f}", false <= 0.02 * count
    )
    figure, right = "warnings of reuse for another problem", told >= 0.95 * count
    yield Line("C", figure, "at least 95 %", count, f"{told / count:.3f}", right)


def of_integrals(_seeds: range) -> Iterator[Line]:
    """Part D: the engine of `integrate`, without the integrand."""
    dim, n = 8, 1_000_000
    built_in = fm.targets.genz("gaussian", np.full(dim, 0.9), np.full(dim, 0.5))
    common: dict[str, Any] = {"dim": dim, "check": False, "plan": fm.Plan(n_threads=1), "rng": 0}
    x = np.random.default_rng(0).random((2**14, dim))

    def batched(x: Array) -> Array:
        off = x - 0.5
        return np.asarray(np.exp(-0.81 * np.einsum("ij,ij->i", off, off)))

    forms = (("native", built_in, 30), ("batched", batched, 45))
    trained = fm.importance.integrate(built_in, (0, 1), n=n, method="map", **common).sampler
    for form, f, most in forms:
        own = cpu(lambda f=f: f(x), 40) / len(x)
        for how, settings in (
            ("with training", {"method": "map"}),
            ("trained before", {"sampler": trained}),
        ):
            done: list[int] = []

            def run(f: Any = f, settings: Any = settings, done: list[int] = done) -> None:
                done.append(fm.importance.integrate(f, (0, 1), n=n, **settings, **common).n_evals)

            ns = 1e9 * (cpu(run, 15) / done[0] - own)
            figure = f"engine of the map, d = 8, {form}, {how}, without the integrand"
            aim = f"at most {most} ns an evaluation"
            yield Line("D", figure, aim, 1, f"{ns:.0f} ns", ns <= most)


def of_failure(seeds: range) -> Iterator[Line]:
    """Part E: failure probabilities."""
    within, silent, runs = [], 0, 0
    for name, problem in PROBLEMS.items():
        got = calibrate_failure.measure(problem, 20_000, seeds, "auto")
        silent, runs = silent + got.silent, runs + len(seeds)
        if name.startswith("Breitung"):
            found = f"warned {got.warned:.2f}, held {got.held:.2f} of the others"
            left = max((1 - got.warned) * len(seeds), 1)
            right = got.held >= HELD[0] - CHANCE * math.sqrt(0.05 * 0.95 / left)
            yield Line("E", name, "announced, or solved", len(seeds), found, right)
            continue
        within.append(got.within)
        most = 6.0 if "sphere" in name or "d=100" in name else 3.0
        yield Line(
            "E", name, f"error at most {most:g}", len(seeds), f"{got.error:.2f}", got.error <= most
        )
        band, aim = (WITHIN[0], 1.0), "within 2 errors: at least .90"
        right = in_band(got.within, band, len(seeds))
        yield Line("E", name, aim, len(seeds), f"{got.within:.3f}", right)
    share = float(np.mean(within))
    right = WITHIN[0] <= share <= WITHIN[1]
    aim = "within 2 errors: .90 to .99"
    yield Line("E", "all but Breitung's pair", aim, len(seeds), f"{share:.3f}", right)
    found, right = f"{silent} of {runs}", silent <= 0.02 * runs
    yield Line("E", "silent runs", "at most 1 in 50", len(seeds), found, right)
    problem = PROBLEMS["half-space d=10, beta=4"]
    law = d.Normal(np.zeros(10), np.ones(10))
    x = law.sample(4096, rng=0)
    model = cpu(lambda: problem.g(x), 20) / len(x)
    for n in (200_000, 1_000_000):
        done: list[int] = []

        def run(n: int = n, done: list[int] = done) -> None:
            p = quiet(
                fm.importance.failure_probability,
                problem.g,
                law,
                n,
                rng=0,
                plan=fm.Plan(n_threads=1),
            )
            done.append(p.n_evals)

        ns = 1e9 * (cpu(run) / done[0] - model)
        figure, aim = f"engine, half-space, d = 10, n = {n}", "at most 300 ns an evaluation"
        yield Line("E", figure, aim, 1, f"{ns:.0f} ns", ns <= 300)


def of_sensitivity(seeds: range) -> Iterator[Line]:
    """Part F: Sobol' indices."""
    cases = {
        "Ishigami": calibrate_sensitivity.ishigami(),
        "g-function": calibrate_sensitivity.g_function(),
    }
    for name, case in cases.items():
        for n in calibrate_sensitivity.RUNS:
            peer = calibrate_sensitivity.scipy_errors(case, n, seeds)
            for controls in ("auto", "none"):
                got = calibrate_sensitivity.ours(case, n, seeds, controls)
                figure = f"{name}, n = {n}, controls={controls!r}"
                # SciPy's runs are a power of two of rows; its error falls at least like runs^-1/2.
                ratio = max(a / b for a, b in zip(got.error, peer[:2], strict=True))
                ratio *= math.sqrt(got.runs * n / peer[2])
                right, aim = None, "RMSE over SciPy's at equal runs"
                if controls == "auto":
                    right, aim = ratio <= 1.5, f"{aim}, at most 1.5"
                yield Line("F", figure, aim, len(seeds), f"{ratio:.2f}", right)
                # Indices of a run are correlated, so that its intervals count as one.
                right = all(in_band(c, HELD, len(seeds)) for c in got.cover)
                found = f"{got.cover[0]:.3f} first, {got.cover[1]:.3f} total"
                yield Line("F", figure, "held: .92 to .98", len(seeds), found, right)
                found = f"{100 * got.runs:.0f} %"
                yield Line("F", figure, "at least 85 % of n used", 1, found, got.runs >= 0.85)


def of_fidelities(seeds: range) -> Iterator[Line]:
    """Part G: models of several fidelities, and levels."""
    powers, costs = np.arange(5.0, 0.0, -1.0), 10.0 ** -np.arange(5.0)
    models = [lambda x, p=p: x[:, 0] ** p for p in powers]
    unit = d.Uniform(0.0, 1.0)
    for method in ("mfmc", "acv", "auto"):
        for atol in (0.01, 0.003):
            errors, held = [], []
            for seed in seeds:
                m = quiet(
                    fm.importance.multifidelity, models, unit, costs=costs, atol=atol,
                    method=method, check=False, rng=seed,
                )  # fmt: skip
                errors.append(float(m.mean) - 1 / 6)
                low, high = m.interval(0.95)
                held.append(bool(low <= 1 / 6 <= high))
            yield from tolerance_lines(f"monomials, `{method}`", atol, np.array(errors), 2.0)
            share, count = float(np.mean(held)), len(seeds)
            figure, right = f"monomials, `{method}`, atol {atol:g}", in_band(share, HELD, count)
            yield Line("G", figure, "held: .92 to .98", count, f"{share:.3f}", right)
    generator = np.random.default_rng(1)
    wide = generator.standard_normal((8, 3)) * 0.2 + 1
    eight = wide @ wide.T + 0.01 * np.eye(8)
    for method in ("mfmc", "acv", "auto"):
        ms = 1e3 * cpu(lambda m=method: allocate(eight, 4.0 ** -np.arange(8.0), m))
        yield Line(
            "G", f"allocation to 8 models, `{method}`", "at most 10 ms", 1, f"{ms:.1f} ms", ms <= 10
        )
    for name, payoff in PAYOFFS.items():
        f, atol = level(payoff), TOLERANCES[name]
        errors = np.array(
            [
                float(quiet(fm.importance.multilevel, f, atol, rng=s).mean) - EXACT[name]
                for s in seeds
            ]
        )
        yield from tolerance_lines(f"{name} option", atol, errors, 2.0)
    yield from exponents(range(seeds.start, seeds.start + min(len(seeds), 4)))


def exponents(seeds: range) -> Iterator[Line]:
    """Yield the exponents of costs in the tolerance where theory says -2, and the costs needed.

    By Milstein's scheme the variances of these options fall faster than the costs rise. (Those of
    the minimum and of a step fall like the costs rise, or more slowly.) The cost is that of
    (sum of sqrt(variance * cost))**2, which grows with each level until the terms of the last ones
    are small. The terms of the average of a path fall by a factor of 0.7 only. The tolerances are
    therefore 2**-3 to 2**-5 times those of the other figures, over which two levels are added.
    """
    for name in ("european", "asian"):
        f = level(PAYOFFS[name], milstein=True)
        steps = TOLERANCES[name] * 2.0 ** -np.arange(3, 5.1, 0.5)
        runs = [
            [quiet(fm.importance.multilevel, f, t, n_start=200, rng=s) for t in steps.tolist()]
            for s in seeds
        ]
        logs = np.log([[m.cost for m in of_seed] for of_seed in runs])
        slopes = np.polyfit(np.log(steps), logs.T, 1)[0]
        slope, error = float(slopes.mean()), float(slopes.std(ddof=1) / math.sqrt(len(seeds)))
        figure = f"{name} option by Milstein's scheme, exponent of the cost"
        right = abs(slope + 2) <= 0.1
        yield Line("G", figure, "-2 ± 0.1", len(seeds), f"{slope:.3f} ± {error:.3f}", right)
        least = [
            [least_cost(m, t) for m, t in zip(of_seed, steps.tolist(), strict=True)]
            for of_seed in runs
        ]
        over = float(np.exp(np.mean(logs - np.log(least))))
        figure = f"{name} option by Milstein's scheme, cost over the least for its levels"
        yield Line("G", figure, "at most 1.1", len(seeds), f"{over:.2f}", over <= 1.1)


def least_cost(m: Any, atol: float) -> float:
    """Return the least cost of the levels of a run for half of the squared tolerance."""
    whole = np.sqrt(m.level_variances.ravel() * m.level_costs).sum()
    return float(whole**2 / (0.5 * atol**2))


def tolerance_lines(name: str, atol: float, errors: Array, factor: float) -> Iterator[Line]:
    """Yield the lines of a root mean square error and of the errors that are within a tolerance."""
    count = len(errors)
    figure, size = f"{name}, atol {atol:g}", float(np.sqrt(np.mean(errors**2))) / atol
    # The root of a mean square of `count` errors varies by 1 / sqrt(2 count).
    right = size <= 1 + CHANCE / math.sqrt(2 * count)
    yield Line("G", figure, "RMSE at most atol", count, f"{size:.2f} atol", right)
    share = float(np.mean(np.abs(errors) <= factor * atol))
    right = share >= 0.95 - CHANCE * math.sqrt(0.05 * 0.95 / count)
    aim = f"errors within {factor:g} atol: .95"
    yield Line("G", figure, aim, count, f"{share:.3f}", right)


PARTS: dict[str, Callable[[range], Iterator[Line]]] = {
    "A": of_expect,
    "B": of_nets,
    "C": of_samplers,
    "D": of_integrals,
    "E": of_failure,
    "F": of_sensitivity,
    "G": of_fidelities,
}


def main() -> None:
    """Print the table, or write it to a page of the documentation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--start", type=int, default=1000, help="the first seed")
    parser.add_argument("--parts", nargs="+", choices=sorted(PARTS), default=sorted(PARTS))
    parser.add_argument("--only", default="", help="a part of the names of figures")
    parser.add_argument("--out", type=Path, help="write Markdown to this file as well")
    parser.add_argument("--join", action="store_true", help="keep the other lines of that file")
    given = parser.parse_args()
    seeds = range(given.start, given.start + given.seeds)
    print("\n".join(HEAD), flush=True)
    lines = []
    for part in given.parts:
        for line in PARTS[part](seeds):
            if given.only in line.figure:
                print(line, flush=True)
                lines.append(str(line))
    print("\n" + judged(lines))
    if given.out is not None:
        intro = (__doc__ or "").replace("``", "`").strip()
        if given.join:
            lines = joined(given.out.read_text(encoding="utf-8").splitlines(), lines)
            intro += "\n\nThe lines of this page are from several runs."
        page = ["# Calibration of importance sampling", "", intro, "", *HEAD, *lines, ""]
        given.out.write_text("\n".join([*page, judged(lines)]) + "\n", encoding="utf-8")
    sys.exit(any(line.endswith("| NO |") for line in lines))


HEAD = ("| part | figure | aim | seeds | found | right |", "|---|---|---|---|---|---|")


def judged(lines: Sequence[str]) -> str:
    """Return how many figures are right."""
    words = [line.split("|")[-2].strip() for line in lines]
    return f"{words.count('yes')} of {len(words) - words.count('–')} figures are right."


def joined(page: Sequence[str], lines: Sequence[str]) -> list[str]:
    """Return the lines of a table, new ones in the place of those with the same figure and aim."""

    def figure(line: str) -> tuple[str, ...]:
        return tuple(line.split("|")[1:4])

    out = [line for line in page if line.startswith("| ") and line not in HEAD]
    for line in lines:
        places = [i for i, old in enumerate(out) if figure(old) == figure(line)]
        if places:
            out[places[0]] = line
        else:
            own = [i for i, old in enumerate(out) if figure(old)[0] <= figure(line)[0]]
            out.insert(own[-1] + 1 if own else 0, line)
    return out


if __name__ == "__main__":
    main()
